/* Replicas of a network with batch norm and dropout: each has running statistics of its own, and one file holds them
   all, the same on any number of ranks. */
#include "folder.h"
#include "network.h"
#include <clarkia/file.h>

enum { R = 6, WEIGHTS = 6 * 9 + 9 + 2 * 9 + 9 * 3 + 3, BUFFERS = 2 * 9 };

static const char *const options =
  "-data synthetic -data_shape 6 -data_classes 3 -data_count 53 -net mlp -net_widths 9 -net_batchnorm -net_dropout 0.2 "
  "-engine reference -loss_sum_block 4 -dynamics_batch 12 -dynamics_epochs 3 -dynamics_rate 0.05 ";

typedef struct {
  double weights[R * WEIGHTS], statistics[R * BUFFERS], test[R], bias[3], mean[9];
} Result;

/* What one run writes; file: the same on all ranks of comm. */
static void run(MPI_Comm comm, PetscInt replicas, const char more[], const char file[], Result *result)
{
  CkReplicas groups;
  CkLoss     test;
  CkFile     read;
  Network    n;
  char       count[256];
  int        rank;

  snprintf(count, sizeof(count), "-dynamics_replicas %d %s", (int)replicas, more);
  set_options(options, count);
  OK(CkReplicasCreate(comm, replicas, &groups));
  create_replicas(comm, groups, &n);
  {
    MPI_Comm group;

    OK(CkReplicasGetComms(groups, NULL, &group));
    OK(CkLossCreate(group, &test));
    OK(CkLossSetFromOptions(test));
    OK(CkLossSetNetwork(test, n.net, n.data, n.state));
    OK(CkLossSetUp(test));
  }
  OK(CkDynamicsSetTestLoss(n.dynamics, test));
  OK(CkDynamicsRun(n.dynamics));
  OK(CkDynamicsWrite(n.dynamics, file));
  OK(CkDynamicsStep(n.dynamics)); /* writing leaves the run as it was: it can go on */
  OK(CkFileOpen(comm, file, &read));
  if (replicas > 1) {
    OK(CkFileReadAll(read, "/replicas/weights", CK_F64, result->weights));
    OK(CkFileReadAll(read, "/replicas/statistics", CK_F64, result->statistics));
    OK(CkFileReadAll(read, "/replicas/test_loss", CK_F64, result->test));
  }
  OK(CkFileReadAll(read, "/state/fc2.bias", CK_F64, result->bias));
  OK(CkFileReadAll(read, "/state/bn1.running_mean", CK_F64, result->mean));
  OK(CkFileDestroy(&read));
  for (PetscInt r = 0; r < replicas && replicas > 1; ++r) {
    double *weights, *running;

    OK(CkStateReadReplica(n.state, file, r));
    OK(CkStateGetArrays(n.state, &weights, &running));
    assert_on_all_ranks(memcmp(weights, result->weights + r * WEIGHTS, WEIGHTS * sizeof(double)) == 0);
    assert_on_all_ranks(memcmp(running, result->statistics + r * BUFFERS, BUFFERS * sizeof(double)) == 0);
  }
  MPI_Comm_rank(comm, &rank);
  if (rank == 0 && unlink(file)) abort();
  destroy_network(&n);
  OK(CkLossDestroy(&test));
  OK(CkReplicasDestroy(&groups));
}

static void one_file_on_any_number_of_ranks(void **state)
{
  const char *const types[] = {
    "", "-dynamics_type elastic_sgd -dynamics_momentum 0.9",
    "-dynamics_type parle -dynamics_inner 2 -dynamics_scope 0.2 -dynamics_elasticity 0.2 -dynamics_inner_noise 0.01"};
  int rank;

  (void)state;
  MPI_Comm_rank(PETSC_COMM_WORLD, &rank);
  for (int t = 0; t < 3; ++t) {
    char   alone[256], together[256], single[256];
    Result a, b, c;
    double mean[3] = {0};

    snprintf(alone, sizeof(alone), "%s/alone-%d-%d.h5", folder, t, rank);
    snprintf(single, sizeof(single), "%s/single-%d-%d.h5", folder, t, rank);
    snprintf(together, sizeof(together), "%s/together-%d.h5", folder, t);
    run(PETSC_COMM_SELF, R, types[t], alone, &a);
    run(PETSC_COMM_WORLD, R, types[t], together, &b);
    assert_on_all_ranks(memcmp(&a, &b, sizeof(a)) == 0);
    for (int r = 1; r < R; ++r) {
      assert_on_all_ranks(memcmp(a.weights, a.weights + r * WEIGHTS, WEIGHTS * sizeof(double)) != 0);
      assert_on_all_ranks(memcmp(a.statistics, a.statistics + r * BUFFERS, BUFFERS * sizeof(double)) != 0);
      assert_on_all_ranks(a.test[r] > 0 && a.test[r] != a.test[0]);
    }
    /* the bias of the last layer is what the weights end with */
    for (int r = 0; r < R; ++r)
      for (int i = 0; i < 3; ++i) mean[i] += a.weights[(r + 1) * WEIGHTS - 3 + i] / R;
    if (t == 0) {
      run(PETSC_COMM_SELF, 1, types[t], single, &c);
      assert_on_all_ranks(memcmp(a.bias, c.bias, sizeof(c.bias)) == 0 && memcmp(a.mean, c.mean, sizeof(c.mean)) == 0);
    } else if (t == 1) { /* every update ends with a meeting */
      for (int i = 0; i < 3; ++i) assert_close(a.bias[i], mean[i], 1e-14, 1);
    }
  }
}

static int RemoveFolder(void **state)
{
  (void)state;
  return RemoveFolderOf(0, NULL);
}

static const struct CMUnitTest tests[] = {
  cmocka_unit_test_setup_teardown(one_file_on_any_number_of_ranks, MakeFolder, RemoveFolder)};

CK_TEST_MAIN(tests, PetscInitialize, PetscFinalize)
