/* Refusals: one message that names the sample, the tensor or the reason, on every rank, and the loss can go on. */
#include "losses.h"

/* A sample whose loss is not finite is named; a batch without it is fine. */
static void an_infinite_loss_names_its_sample(void **state)
{
  enum { N = 20 };
  double        a[N], y[N], f[N];
  const CkBatch all = CkBatchAll(N);
  CkBatch       first = CkBatchAll(17);
  CkLoss        loss;
  Vec           x, g;

  (void)state;
  for (int k = 0; k < N; ++k) {
    a[k] = 1;
    y[k] = k == 17 ? 1e200 : 0;
  }
  SetTestOption("-loss_sum_block", "4");
  OK(CkLossCreate(PETSC_COMM_WORLD, &loss));
  OK(CkLossSetFromOptions(loss));
  OK(CkLossSetLinearRegression(loss, 1, N, a, y));
  OK(CkLossSetUp(loss));
  OK(CkLossCreateVec(loss, &g));
  OK(VecDuplicate(g, &x));
  assert_error_says("loss of sample 17 is inf", CkLossValues(loss, &all, f, NULL));
  assert_error_says("loss of sample 17 is inf", CkLossGradient(loss, &all, NULL, g, NULL, NULL));
  assert_error_says("loss of sample 17 is inf", CkLossSlopes(loss, &all, 1, &x, f));
  OK(CkLossGradient(loss, &first, NULL, g, NULL, NULL));
  OK(CkLossValues(loss, &first, f, NULL));
  OK(VecDestroy(&x));
  OK(VecDestroy(&g));
  OK(CkLossDestroy(&loss));
}

/* A finite loss with a gradient beyond the range of exact sums, or none at all: with and without exact sums. */
static void a_bad_gradient_names_its_sample(void **state)
{
  enum { N = 20 };
  const char   *reproducible[] = {"true", "false"};
  double        xs[N], y[N];
  const CkBatch all = CkBatchAll(N);
  const double *norms;

  (void)state;
  SetTestOption("-loss_sum_block", "8");
  for (int k = 0; k < N; ++k) {
    xs[k] = k == 13 ? 1 : 0;
    y[k] = k == 13 ? 3 : 0;
  }
  for (int i = 0; i < 2; ++i) {
    CkLoss loss;
    Vec    w, g;

    SetTestOption("-loss_reproducible", reproducible[i]);
    OK(CkLossCreate(PETSC_COMM_WORLD, &loss));
    OK(CkLossSetFromOptions(loss));
    OK(CkLossSetTwoWeight(loss, N, xs, y));
    OK(CkLossSetUp(loss));
    OK(CkLossCreateVec(loss, &w));
    OK(VecDuplicate(w, &g));
    OK(VecSetValue(w, 0, 1.7e308, INSERT_VALUES)); /* w1 w2 = 1.7: f = 0.8 and w1 df/dp beyond double's range */
    OK(VecSetValue(w, 1, 1e-308, INSERT_VALUES));
    OK(VecAssemblyBegin(w));
    OK(VecAssemblyEnd(w));
    OK(CkLossSetPoint(loss, w));
    assert_error_says("gradient of sample 13", CkLossGradient(loss, &all, NULL, g, NULL, NULL));
    assert_error_says("gradient of sample 13", CkLossSquaredNorms(loss, &norms));
    OK(VecSet(w, 1));
    OK(CkLossSetPoint(loss, w));
    OK(CkLossGradient(loss, &all, NULL, g, NULL, NULL));
    OK(VecDestroy(&w));
    OK(VecDestroy(&g));
    OK(CkLossDestroy(&loss));
  }
  OK(PetscOptionsClearValue(NULL, "-loss_reproducible"));
}

static void a_bad_point_names_its_tensor(void **state)
{
  (void)state;
  for (size_t i = 0; i < TEST_LOSSES; ++i) {
    TestLoss t = NewTestLoss(PETSC_COMM_WORLD, &test_losses[i], 3);
    Vec      x;

    OK(CkLossCreateVec(t.loss, &x));
    OK(VecSetValue(x, 1, NAN, INSERT_VALUES));
    OK(VecAssemblyBegin(x));
    OK(VecAssemblyEnd(x));
    if (t.net) {
      const CkParameter *p;
      char               text[256];
      PetscInt           n;

      OK(CkNetGetParameters(t.net, &n, &p));
      OK(PetscSNPrintf(text, sizeof(text), "entry 1 of %s is nan", p[0].name));
      assert_error_says(text, CkLossSetPoint(t.loss, x));
    } else assert_error_says("weight 1 is nan", CkLossSetPoint(t.loss, x));
    OK(VecDestroy(&x));
    FreeTestLoss(&t);
  }
}

/* A finite weight that single precision cannot hold is named by an engine that casts it, and by no other. */
static void a_point_beyond_single_precision_names_its_tensor(void **state)
{
  (void)state;
  for (size_t i = 0; i < TEST_LOSSES; ++i) {
    TestLoss    t = NewTestLoss(PETSC_COMM_WORLD, &test_losses[i], 3);
    CkPrecision precision;
    Vec         x;

    OK(CkLossGetPrecision(t.loss, &precision));
    OK(CkLossCreateVec(t.loss, &x));
    OK(VecSetValue(x, 1, 1e39, INSERT_VALUES));
    OK(VecAssemblyBegin(x));
    OK(VecAssemblyEnd(x));
    if (t.net && precision == CK_FLOAT32) {
      const CkParameter *p;
      PetscInt           n;

      OK(CkNetGetParameters(t.net, &n, &p));
      assert_error_says(p[0].name, CkLossSetPoint(t.loss, x));
      assert_error_says("single precision", CkLossSetPoint(t.loss, x));
    } else OK(CkLossSetPoint(t.loss, x));
    OK(VecDestroy(&x));
    FreeTestLoss(&t);
  }
}

/* What has no meaning in training mode says why; derivatives that do not exist yet say so. */
static void training_mode_is_refused_with_the_reason(void **state)
{
  (void)state;
  for (size_t i = 0; i < TEST_LOSSES; ++i) {
    TestLoss     t = NewTestLoss(PETSC_COMM_WORLD, &test_losses[i], 5);
    Vec          v = NewTestVec(t.loss, 1), out = NewTestVec(t.loss, 1);
    CkBatch      batch = CkBatchAll(5);
    const double W[5] = {1, 1, 1, 1, 1};
    double       S[5];
    CkPass       pass;

    batch.mode = CK_TRAINING;
    assert_error_says("evaluation mode", CkLossSlopes(t.loss, &batch, 1, &v, S));
    assert_error_says("evaluation mode", CkLossGradientBlock(t.loss, &batch, 1, W, &out));
    assert_error_says("evaluation mode", CkPassBegin(t.loss, &batch, &pass));
    assert_error_says("evaluation mode", CkLossBends(t.loss, &batch, v, v, S));
    batch.mode = CK_EVALUATION;
    assert_error_says("no second derivatives", CkLossBends(t.loss, &batch, v, v, S));
    assert_error_says("no second derivatives", CkLossHessian(t.loss, &batch, NULL, v, out));
    assert_error_says("no second derivatives", CkLossOwnHessian(t.loss, &batch, NULL, out));
    assert_error_says("no third derivatives", CkLossThird(t.loss, &batch, NULL, v, v, out));
    OK(VecDestroy(&v));
    OK(VecDestroy(&out));
    FreeTestLoss(&t);
  }
}

static void misuse_is_refused(void **state)
{
  TestLoss t = NewTestLoss(PETSC_COMM_WORLD, &test_losses[0], 5);
  PetscInt bad[] = {0, 5};
  CkBatch  batch = CkBatchAll(2);
  CkPass   pass, second;
  Vec      v = NewTestVec(t.loss, 1);
  double   f[6];

  (void)state;
  batch.index = bad;
  assert_error_says("sample 5 of 5", CkLossValues(t.loss, &batch, f, NULL));
  batch = CkBatchAll(6);
  assert_error_says("first 6 samples of 5", CkLossValues(t.loss, &batch, f, NULL));
  batch = CkBatchAll(5);
  OK(CkPassBegin(t.loss, &batch, &pass));
  assert_error_says("under way", CkPassBegin(t.loss, &batch, &second));
  assert_error_says("under way", CkLossSetPoint(t.loss, v));
  OK(CkPassEnd(&pass));
  OK(CkLossSetPoint(t.loss, v));
  OK(VecDestroy(&v));
  FreeTestLoss(&t);
}

/* A net, a data set that does not fit it. */
static void data_must_fit_the_net(void **state)
{
  const CkShape small = {1, 4, 4}, large = {1, 8, 8};
  CkNet         net = NewTestNetOn(PETSC_COMM_WORLD, large, CK_HEAD_CROSS_ENTROPY, BuildLenet);
  CkState       weights = NewTestState(PETSC_COMM_WORLD, net, 1);
  CkData        data = NewTestData(PETSC_COMM_WORLD, small, 10);
  CkLoss        loss;

  (void)state;
  OK(CkLossCreate(PETSC_COMM_WORLD, &loss));
  OK(CkLossSetFromOptions(loss));
  OK(CkLossSetNetwork(loss, net, data, weights));
  assert_error_says("samples of 1x4x4 do not fit the net, whose input is 1x8x8", CkLossSetUp(loss));
  OK(CkLossDestroy(&loss));
  OK(CkDataDestroy(&data));
  OK(CkStateDestroy(&weights));
  OK(CkNetDestroy(&net));
}

static const struct CMUnitTest tests[] = {
  cmocka_unit_test(an_infinite_loss_names_its_sample),
  cmocka_unit_test(a_bad_gradient_names_its_sample),
  cmocka_unit_test(a_bad_point_names_its_tensor),
  cmocka_unit_test(a_point_beyond_single_precision_names_its_tensor),
  cmocka_unit_test(training_mode_is_refused_with_the_reason),
  cmocka_unit_test(misuse_is_refused),
  cmocka_unit_test(data_must_fit_the_net),
};
CK_TEST_MAIN(tests, PetscInitialize, PetscFinalize)
