#include "network.h"

/* Training of a net with batch norm and dropout. */

static const char *const options = "-data synthetic -data_shape 6 -data_classes 3 -data_count 53 -data_separation 6 "
                                   "-net mlp -net_widths 9,7 -net_batchnorm -net_dropout 0.2 -loss_sum_block 4 "
                                   "-dynamics_batch 12 -dynamics_momentum 0.9 -dynamics_nesterov -dynamics_l2 1e-3 "
                                   "-dynamics_rate 0.02";

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

/* Weights and running statistics after two epochs are the same bits for one rank and for all; batches of 12 make three
 * sum blocks, the last batch of 53 samples is one of 5. */
static void same_bits_on_any_number_of_ranks(void **state)
{
  const char *const engines[] = {"-engine reference", "-engine onednn"};

  (void)state;
  for (int e = 0; e < 2; ++e) {
    Network alone, together;

    set_options(options, engines[e]);
    create_network(PETSC_COMM_SELF, &alone);
    create_network(PETSC_COMM_WORLD, &together);
    for (int step = 0; step < 10; ++step) {
      OK(CkDynamicsStep(alone.dynamics));
      OK(CkDynamicsStep(together.dynamics));
      assert_on_all_ranks(same_state(&alone, &together));
    }
    destroy_network(&alone);
    destroy_network(&together);
  }
}

/* Flipped and shifted images: the same bits on any number of ranks, and other weights than without. */
static void augmented_images(void **state)
{
  const char *const task = "-data synthetic -data_shape 2,5,5 -data_classes 3 -data_count 53 -net mlp -net_widths 9 "
                           "-net_batchnorm -engine onednn -loss_sum_block 4 -dynamics_batch 12 -dynamics_rate 0.05 ";
  Network           alone, together, plain;

  (void)state;
  set_options(task, "-data_augment flip,crop -data_augment_pad 1");
  create_network(PETSC_COMM_SELF, &alone);
  create_network(PETSC_COMM_WORLD, &together);
  set_options(task, "-dynamics_fused off");
  create_network(PETSC_COMM_SELF, &plain);
  for (int step = 0; step < 7; ++step) {
    OK(CkDynamicsStep(alone.dynamics));
    OK(CkDynamicsStep(together.dynamics));
    OK(CkDynamicsStep(plain.dynamics));
    assert_on_all_ranks(same_state(&alone, &together));
    assert_on_all_ranks(!same_state(&alone, &plain));
  }
  destroy_network(&alone);
  destroy_network(&together);
  destroy_network(&plain);
}

/* r <- (1 - m) r + m s with the statistics s of the batch just used, m = 0.1 or as chosen. */
static void running_statistics(void **state)
{
  const struct {
    const char *option;
    double      m;
  } cases[] = {{"", 0.1}, {"-dynamics_bn_momentum 0.3", 0.3}};

  (void)state;
  for (int c = 0; c < 2; ++c) {
    Network       n;
    PetscInt      buffers;
    const double *statistics;
    double       *weights, *running, before[64];
    PetscBool     right = PETSC_TRUE;

    set_options(options, cases[c].option);
    create_network(PETSC_COMM_WORLD, &n);
    OK(CkNetGetBuffers(n.net, &buffers));
    assert_int_equal(buffers, 2 * (9 + 7));
    OK(CkStateGetArrays(n.state, &weights, &running));
    for (int step = 0; step < 3; ++step) {
      memcpy(before, running, (size_t)buffers * sizeof(double));
      OK(CkDynamicsStep(n.dynamics));
      OK(CkLossGetBatchStatistics(n.loss, &statistics));
      for (PetscInt i = 0; i < buffers; ++i)
        right = (PetscBool)(right && running[i] == (1 - cases[c].m) * before[i] + cases[c].m * statistics[i]);
      assert_on_all_ranks(right && memcmp(before, running, (size_t)buffers * sizeof(double)) != 0);
    }
    destroy_network(&n);
  }
}

static PetscErrorCode keep_report(CkDynamics dynamics, const CkEpochReport *report, void *context)
{
  (void)dynamics;
  *(CkEpochReport *)context = *report;
  return PETSC_SUCCESS;
}

/* Three classes six standard deviations apart are learnt; the test numbers are those of the whole test split at the
 * final weights in evaluation mode. */
static void learns_and_evaluates(void **state)
{
  Network       n;
  CkData        test_data;
  CkLoss        test;
  CkEpochReport report;
  PetscInt      N, correct, wrong = 0;
  double       *values, mean = 0;
  CkBatch       all;

  (void)state;
  set_options(options, "-dynamics_batch 16 -dynamics_epochs 20 -data_count 300 -net_dropout 0");
  create_network(PETSC_COMM_WORLD, &n);
  OK(CkDataCreateTest(n.data, &test_data));
  assert_non_null(test_data);
  OK(CkLossCreate(PETSC_COMM_WORLD, &test));
  OK(CkLossSetFromOptions(test));
  OK(CkLossSetNetwork(test, n.net, test_data, n.state));
  OK(CkLossSetUp(test));
  OK(CkDynamicsSetTestLoss(n.dynamics, test));
  OK(CkDynamicsSetMonitor(n.dynamics, keep_report, &report));
  OK(CkDynamicsRun(n.dynamics));
  assert_on_all_ranks(report.epoch == 20 && report.step == 20 * 19);
  assert_on_all_ranks(report.error < 0.05 && report.loss < 0.2 && report.test_error < 0.1);

  OK(CkLossGetSamples(test, &N));
  OK(PetscMalloc1(N, &values));
  for (PetscInt k = 0; k < N; ++k) { /* one by one */
    all = (CkBatch){.n = 1, .index = &k, .mode = CK_EVALUATION};
    OK(CkLossValues(test, &all, values, &correct));
    mean += values[0] / (double)N;
    wrong += 1 - correct;
  }
  assert_close(report.test_loss, mean, 1e-5, 1);
  assert_on_all_ranks(fabs(report.test_error - (double)wrong / (double)N) < 1e-12);
  OK(PetscFree(values));
  OK(CkLossDestroy(&test));
  OK(CkDataDestroy(&test_data));
  destroy_network(&n);
}

/* Batch norm cannot normalise one sample: 53 = 4 * 13 + 1 and batches of 13. */
static void group_of_one_is_refused(void **state)
{
  Network n;

  (void)state;
  set_options(options, "-dynamics_batch 13 -dynamics_epochs 1");
  create_network(PETSC_COMM_WORLD, &n);
  assert_user_error(CkDynamicsRun(n.dynamics));
  destroy_network(&n);
}

/* A run that diverges ends with a user error, not with NaN in the state. */
static void divergence(void **state)
{
  Network        n;
  PetscErrorCode ierr;
  PetscInt       step;

  (void)state;
  set_options("-data synthetic -data_shape 6 -data_classes 3 -data_count 53 -net mlp -net_loss mse -dynamics_rate 1e4 "
              "-dynamics_epochs 100000 -dynamics_batch 10 -net_widths 9",
              "");
  create_network(PETSC_COMM_WORLD, &n);
  OK(CkErrorInitialize());
  OK(PetscPushErrorHandler(PetscReturnErrorHandler, NULL));
  ierr = CkDynamicsRun(n.dynamics);
  OK(PetscPopErrorHandler());
  OK(PetscPopErrorHandler());
  assert_on_all_ranks(ierr && CkErrorWasCollective());
  OK(CkDynamicsGetProgress(n.dynamics, NULL, NULL, &step));
  assert_on_all_ranks(step > 0);
  destroy_network(&n);
}

static const struct CMUnitTest tests[] = {
  cmocka_unit_test(same_bits_on_any_number_of_ranks),
  cmocka_unit_test(augmented_images),
  cmocka_unit_test(running_statistics),
  cmocka_unit_test(learns_and_evaluates),
  cmocka_unit_test(group_of_one_is_refused),
  cmocka_unit_test(divergence),
};

CK_TEST_MAIN(tests, PetscInitialize, PetscFinalize)
