#include "network.h"
#include <clarkia/random.h>
#include <stdlib.h>
#include <unistd.h>

/* Several epochs beside PyTorch's SGD in double precision: momentum, Nesterov, weight decay, schedule, ragged batches,
 * batch norm with its running statistics. */

enum { SAMPLES = 50, FEATURES = 6, CLASSES = 3, EPOCHS = 4, BATCH = 16 };

static const char *const PYTHON = "/usr/bin/python3"; /* the interpreter of Debian's python3-torch */

static char folder[64];

static void write_array(const char name[], const void *data, size_t size, size_t n)
{
  char  path[128];
  FILE *file;

  snprintf(path, sizeof(path), "%s/%s", folder, name);
  file = fopen(path, "wb");
  if (!file || fwrite(data, size, n, file) != n || fclose(file)) abort();
}

static void read_result(size_t n, double result[])
{
  char  path[128];
  FILE *file;

  snprintf(path, sizeof(path), "%s/result", folder);
  file = fopen(path, "rb");
  if (!file || fread(result, sizeof(double), n, file) != n || fclose(file)) abort();
}

static void write_problem(const Network *n, PetscInt d)
{
  float    features[SAMPLES * FEATURES];
  int32_t  order[EPOCHS * SAMPLES], labels[SAMPLES];
  PetscInt index[SAMPLES], classes[SAMPLES];
  double  *weights, *running;

  for (PetscInt k = 0; k < SAMPLES; ++k) index[k] = k;
  OK(CkDataFetch(n->data, SAMPLES, index, features, classes));
  for (int k = 0; k < SAMPLES; ++k) labels[k] = (int32_t)classes[k];
  for (int e = 0; e < EPOCHS; ++e) {
    const CkRandom stream = {.seed = 1, .purpose = CK_RANDOM_SHUFFLE, .replica = 0, .step = (uint64_t)e};

    OK(CkRandomPermutation(&stream, SAMPLES, index));
    for (int k = 0; k < SAMPLES; ++k) order[e * SAMPLES + k] = (int32_t)index[k];
  }
  OK(CkStateGetArrays(n->state, &weights, &running));
  write_array("weights", weights, sizeof(double), (size_t)d);
  write_array("features", features, sizeof(float), SAMPLES * FEATURES);
  write_array("labels", labels, sizeof(int32_t), SAMPLES);
  write_array("order", order, sizeof(int32_t), EPOCHS * SAMPLES);
}

static PetscErrorCode keep_loss(CkDynamics dynamics, const CkEpochReport *report, void *context)
{
  (void)dynamics;
  ((double *)context)[report->epoch - 1] = report->loss;
  return PETSC_SUCCESS;
}

typedef struct {
  double      rate, momentum, l2, factor;
  int         nesterov;
  const char *milestones, *options;
} Case;

static void create_case(const Case *c, const char engine[], Network *n, PetscInt *d, PetscInt *buffers)
{
  set_options("-data synthetic -data_shape 6 -data_classes 3 -data_count 50 -net mlp -net_widths 8,5 -net_batchnorm "
              "-net_activation tanh -loss_sum_block 8 -dynamics_batch 16 -dynamics_epochs 4",
              c->options);
  OK(PetscOptionsSetValue(NULL, "-engine", engine));
  create_network(PETSC_COMM_WORLD, n);
  OK(CkNetGetDimension(n->net, d));
  OK(CkNetGetBuffers(n->net, buffers));
}

/* result: weights, running statistics, mean loss of each epoch */
static void run_torch(const Case *c, double result[])
{
  char     command[1024];
  PetscInt d, buffers;
  Network  n;

  create_case(c, "reference", &n, &d, &buffers);
  write_problem(&n, d);
  snprintf(command, sizeof(command),
           "%s %s/tests/dynamics/sgd_torch.py %s %d %d %d %d %d %d %.17g %.17g %.17g %.17g '%s' 8,5", PYTHON,
           CLARKIA_SOURCE_DIR, folder, SAMPLES, FEATURES, CLASSES, BATCH, EPOCHS, c->nesterov, c->rate, c->momentum,
           c->l2, c->factor, c->milestones);
  assert_int_equal(system(command), 0);
  read_result((size_t)(d + buffers + EPOCHS), result);
  destroy_network(&n);
}

static void compare(const Case *c, const char engine[], const double result[], double tolerance)
{
  double   losses[EPOCHS], *weights, *running;
  PetscInt d, buffers;
  Network  n;

  create_case(c, engine, &n, &d, &buffers);
  OK(CkDynamicsSetMonitor(n.dynamics, keep_loss, losses));
  OK(CkDynamicsRun(n.dynamics));
  OK(CkStateGetArrays(n.state, &weights, &running));
  for (PetscInt i = 0; i < d; ++i) assert_close(weights[i], result[i], tolerance, 1);
  for (PetscInt i = 0; i < buffers; ++i) assert_close(running[i], result[d + i], tolerance, 1);
  for (PetscInt e = 0; e < EPOCHS; ++e) assert_close(losses[e], result[d + buffers + e], tolerance, 1);
  destroy_network(&n);
}

/* Double precision: rounding of 16 updates. Float engine: 16 updates of gradients with errors of 1e-5. */
static void as_pytorch(void **state)
{
  const Case cases[] = {
    {0.1, 0, 0, 1, 0, "", "-dynamics_rate 0.1"},
    {0.05, 0.9, 1e-2, 1, 0, "", "-dynamics_rate 0.05 -dynamics_momentum 0.9 -dynamics_l2 1e-2"},
    {0.05, 0.9, 1e-2, 0.5, 1, "1,3",
     "-dynamics_rate 0.05 -dynamics_momentum 0.9 -dynamics_l2 1e-2 -dynamics_nesterov -dynamics_schedule step "
     "-dynamics_steps 1,3 -dynamics_factor 0.5"}};

  (void)state;
  for (size_t c = 0; c < sizeof(cases) / sizeof(cases[0]); ++c) {
    double result[512];

    run_torch(&cases[c], result);
    compare(&cases[c], "reference", result, 1e-11);
    compare(&cases[c], "onednn", result, 3e-4);
  }
}

static int make_folder(void **state)
{
  (void)state;
  snprintf(folder, sizeof(folder), "/tmp/clarkia-torch-XXXXXX");
  return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state)
{
  const char *const names[] = {"weights", "features", "labels", "order", "result"};

  (void)state;
  for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); ++i) {
    char path[128];

    snprintf(path, sizeof(path), "%s/%s", folder, names[i]);
    unlink(path);
  }
  return rmdir(folder);
}

static const struct CMUnitTest tests[] = {cmocka_unit_test_setup_teardown(as_pytorch, make_folder, remove_folder)};

int main(int argc, char **argv)
{
  char command[256];
  int  failed;

  snprintf(command, sizeof(command), "%s -c 'import numpy, torch' 2>/dev/null", PYTHON);
  if (system(command) != 0) {
    printf("skipped: %s has no torch (Debian: python3-torch)\n", PYTHON);
    return 77;
  }
  OK(PetscInitialize(&argc, &argv, NULL, NULL));
  failed = cmocka_run_group_tests(tests, NULL, NULL);
  OK(PetscFinalize());
  return failed ? 1 : 0;
}
