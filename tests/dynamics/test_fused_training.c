/* Fused updates of small dense nets against the same process update by update. */
#include "messages.h"
#include "network.h"

#define DATA "-data synthetic -data_shape 6 -data_classes 3 -data_count 53 -data_separation 6 "

static const char *const options =
  DATA "-net mlp -net_widths 19,7 -net_batchnorm -dynamics_batch 12 -dynamics_epochs 3 -dynamics_rate 0.05";

static PetscErrorCode keep_report(CkDynamics dynamics, const CkEpochReport *report, void *context)
{
  (void)dynamics;
  *(CkEpochReport *)context = *report;
  return PETSC_SUCCESS;
}

/* A whole run with these options added. */
static void run(MPI_Comm comm, const char a[], const char b[], Network *n, CkEpochReport *report)
{
  char all[1024];

  snprintf(all, sizeof(all), "%s %s", a, b);
  set_options(options, all);
  create_network(comm, n);
  OK(CkDynamicsSetMonitor(n->dynamics, keep_report, report));
  OK(CkDynamicsRun(n->dynamics));
}

static PetscBool fused(const Network *n)
{
  double bytes;

  OK(CkDynamicsGetFusedMemory(n->dynamics, &bytes));
  return (PetscBool)(bytes > 0);
}

static PetscBool same_state(const Network *a, const Network *b)
{
  PetscInt d, n;
  double  *x, *y, *r, *s;

  OK(CkNetGetDimension(a->net, &d));
  OK(CkNetGetBuffers(a->net, &n));
  OK(CkStateGetArrays(a->state, &x, &r));
  OK(CkStateGetArrays(b->state, &y, &s));
  return (PetscBool)(memcmp(x, y, (size_t)d * sizeof(double)) == 0 && memcmp(r, s, (size_t)n * sizeof(double)) == 0);
}

/* Normwise difference of the weights; largest difference of running statistics. */
static void differences(const Network *a, const Network *b, double *weights, double *running)
{
  PetscInt d, n;
  double  *x, *y, *r, *s, square = 0, norm = 0;

  OK(CkNetGetDimension(a->net, &d));
  OK(CkNetGetBuffers(a->net, &n));
  OK(CkStateGetArrays(a->state, &x, &r));
  OK(CkStateGetArrays(b->state, &y, &s));
  for (PetscInt i = 0; i < d; ++i) {
    square += (x[i] - y[i]) * (x[i] - y[i]);
    norm += y[i] * y[i];
  }
  *weights = sqrt(square / norm);
  *running = 0;
  for (PetscInt i = 0; i < n; ++i) *running = PetscMax(*running, fabs(r[i] - s[i]) / (1 + fabs(s[i])));
}

/*
  Three epochs of four batches of 12 and one of 5, each with other options of the process: the two paths see the same
  samples in the same order at the same rates, and differ by float32 rounding, 6e-8 an operation, that 15 updates have
  carried on; another order of samples makes differences of 1e-2.
*/
static void the_process_is_the_same(void **state)
{
  const char *const cases[] = {"",
                               "-dynamics_momentum 0.9",
                               "-dynamics_momentum 0.8 -dynamics_nesterov -dynamics_l2 0.01",
                               "-dynamics_replacement -dynamics_l2 0.1",
                               "-dynamics_schedule step -dynamics_steps 1,2 -dynamics_factor 0.5",
                               "-dynamics_schedule cosine -dynamics_warmup 0.5 -dynamics_momentum 0.5",
                               "-net_loss mse -dynamics_bn_momentum 0.3",
                               "-net_batchnorm false -dynamics_mode evaluation",
                               "-dynamics_batch 0"};

  (void)state;
  for (size_t c = 0; c < sizeof(cases) / sizeof(cases[0]); ++c) {
    Network       a, b;
    CkEpochReport fast, slow;
    double        weights, running, times[2];

    run(PETSC_COMM_WORLD, cases[c], "-dynamics_fused on", &a, &fast);
    run(PETSC_COMM_WORLD, cases[c], "-dynamics_fused off", &b, &slow);
    assert_on_all_ranks(fused(&a) && !fused(&b));
    differences(&a, &b, &weights, &running);
    assert_close(weights, 0, 1e-5, 1);
    assert_close(running, 0, 1e-5, 1);
    assert_close(fast.loss, slow.loss, 1e-5, slow.loss);
    assert_on_all_ranks(fast.error == slow.error && fast.rate == slow.rate && fast.step == slow.step);
    OK(CkDynamicsGetTime(a.dynamics, &times[0]));
    OK(CkDynamicsGetTime(b.dynamics, &times[1]));
    assert_on_all_ranks(times[0] == times[1]);
    destroy_network(&a);
    destroy_network(&b);
  }
}

static PetscErrorCode note_step(CkDynamics dynamics, double fraction, void *context)
{
  PetscInt **next = (PetscInt **)context;

  (void)fraction;
  OK(CkDynamicsGetProgress(dynamics, NULL, NULL, (*next)++));
  return PETSC_SUCCESS;
}

/* One rank or several, a run or update by update, with marks between or without: the same bits. */
static void the_bits_do_not_depend_on_the_cut(void **state)
{
  const char *const key = "-dynamics_momentum 0.9 -dynamics_fused on";
  const double      marks[] = {0, 0.2, 0.5, 1};
  const PetscInt    expected[] = {0, 3, 8, 15};
  PetscInt          met[4] = {-1, -1, -1, -1}, *next = met;
  Network           alone, together, steps;
  CkEpochReport     reports[3];

  (void)state;
  run(PETSC_COMM_SELF, key, "", &alone, &reports[0]);
  set_options(options, key);
  create_network(PETSC_COMM_WORLD, &together);
  OK(CkDynamicsSetMonitor(together.dynamics, keep_report, &reports[1]));
  OK(CkDynamicsSetMarks(together.dynamics, 4, marks, note_step, &next));
  OK(CkDynamicsRun(together.dynamics));
  create_network(PETSC_COMM_WORLD, &steps);
  OK(CkDynamicsSetMonitor(steps.dynamics, keep_report, &reports[2]));
  for (int step = 0; step < 15; ++step) OK(CkDynamicsStep(steps.dynamics));
  assert_on_all_ranks(memcmp(met, expected, sizeof(met)) == 0);
  assert_on_all_ranks(same_state(&alone, &together) && same_state(&alone, &steps));
  for (int i = 1; i < 3; ++i) {
    assert_on_all_ranks(reports[0].loss == reports[i].loss && reports[0].error == reports[i].error);
    assert_on_all_ranks(reports[0].rate == reports[i].rate && reports[0].step == reports[i].step);
  }
  destroy_network(&alone);
  destroy_network(&together);
  destroy_network(&steps);
}

/* By itself it is taken for what it can do alone; asked for elsewhere it names what stands in the way. */
static void it_is_taken_where_it_can_be(void **state)
{
  const struct {
    const char *options, *word;
  } cases[] = {{"-net_dropout 0.5", "dropout"},
               {"-net_activation tanh", "tanh"},
               {"-engine reference", "-engine reference"},
               {"-loss_l2 0.1", "-loss_l2 0.1"},
               {"-dynamics_mode evaluation", "evaluation mode"},
               {"-dynamics_batch 13", "batch of one sample"}};

  (void)state;
  for (size_t c = 0; c < sizeof(cases) / sizeof(cases[0]); ++c) {
    Network n;

    set_options(options, cases[c].options);
    create_network(PETSC_COMM_WORLD, &n);
    OK(CkDynamicsSetUp(n.dynamics));
    assert_on_all_ranks(!fused(&n));
    destroy_network(&n);
    OK(PetscOptionsInsertString(NULL, "-dynamics_fused on"));
    create_network(PETSC_COMM_WORLD, &n);
    assert_message(CkDynamicsSetUp(n.dynamics), "-dynamics_fused on", cases[c].word);
    destroy_network(&n);
  }
  for (int wide = 0; wide < 2; ++wide) { /* 6 x 400 + 400 x 300 weights and more are too many */
    Network n;

    set_options(options, wide ? "-net_widths 400,300" : "");
    create_network(PETSC_COMM_WORLD, &n);
    OK(CkDynamicsSetUp(n.dynamics));
    assert_on_all_ranks(fused(&n) == (PetscBool)!wide);
    destroy_network(&n);
  }
}

/* The error names sample, epoch and update, counted from 1, and the updates before it are counted. */
static void divergence_is_named(void **state)
{
  Network  n;
  PetscInt step;
  char     words[32];

  (void)state;
  set_options(DATA "-net logistic -net_loss mse",
              "-dynamics_batch 12 -dynamics_rate 1 -dynamics_epochs 1000 -dynamics_fused on");
  create_network(PETSC_COMM_WORLD, &n);
  assert_message(CkDynamicsRun(n.dynamics), "the loss of sample", "in training (epoch", "lower the learning rate");
  OK(CkDynamicsGetProgress(n.dynamics, NULL, NULL, &step));
  snprintf(words, sizeof(words), "update %" PetscInt_FMT ")", step + 1);
  assert_on_all_ranks(step > 0 && strstr(last_message, words) != NULL);
  destroy_network(&n);
}

static const struct CMUnitTest tests[] = {
  cmocka_unit_test(the_process_is_the_same),
  cmocka_unit_test(the_bits_do_not_depend_on_the_cut),
  cmocka_unit_test(it_is_taken_where_it_can_be),
  cmocka_unit_test(divergence_is_named),
};

CK_TEST_MAIN(tests, PetscInitialize, PetscFinalize)
