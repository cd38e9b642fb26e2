/* Training mode of network losses. */
#include "losses.h"

static const TestLossKind *Kind(const char name[])
{
  for (size_t i = 0; i < TEST_LOSSES; ++i)
    if (!strcmp(test_losses[i].name, name)) return &test_losses[i];
  abort();
}

static CkBatch TrainingBatch(PetscInt n)
{
  CkBatch batch = CkBatchAll(n);

  batch.mode = CK_TRAINING;
  return batch;
}

/* Sum of w_k f_k at x + h v, in training mode. */
static double WeightedValue(CkLoss loss, const CkBatch *batch, const double w[], Vec x, double h, Vec v)
{
  double f[64], sum = 0;
  Vec    moved;

  OK(VecDuplicate(x, &moved));
  OK(VecWAXPY(moved, h, v, x));
  OK(CkLossSetPoint(loss, moved));
  OK(CkLossValues(loss, batch, f, NULL));
  for (PetscInt k = 0; k < batch->n; ++k) sum += w[k] * f[k];
  OK(VecDestroy(&moved));
  return sum;
}

/* The gradient is that of sum_k w_k f_k with the batch statistics as functions of the weights. */
static void CheckDifferences(PetscInt group)
{
  const double h = 1e-3;
  TestLoss     t = NewTestLoss(PETSC_COMM_WORLD, Kind("reference norm"), 30);
  CkBatch      batch = TrainingBatch(23);
  double      *w = NewNormals(3, 23), quotient, slope;
  Vec          x, v = NewTestVec(t.loss, 9), g;

  OK(CkLossSetBatchNormGroup(t.loss, group));
  OK(VecDuplicate(v, &g));
  OK(VecDuplicate(v, &x));
  OK(VecNormalize(v, NULL));
  OK(CkLossGetPoint(t.loss, x));
  OK(CkLossGradient(t.loss, &batch, w, g, NULL, NULL));
  OK(VecDot(g, v, &slope));
  quotient = (8 * (WeightedValue(t.loss, &batch, w, x, h, v) - WeightedValue(t.loss, &batch, w, x, -h, v)) -
              WeightedValue(t.loss, &batch, w, x, 2 * h, v) + WeightedValue(t.loss, &batch, w, x, -2 * h, v)) /
             (12 * h);
  assert_close(quotient, slope, 1e-7, fabs(slope) + 0.1);
  OK(PetscFree(w));
  OK(VecDestroy(&x));
  OK(VecDestroy(&v));
  OK(VecDestroy(&g));
  FreeTestLoss(&t);
}

static void the_gradient_goes_through_the_batch_statistics(void **state)
{
  (void)state;
  CheckDifferences(0);
  CheckDifferences(7);
}

/* Statistics of the first batch norm are mean and unbiased variance of what the first layer puts out: here by hand for
   a dense layer, whose output is linear in the features. */
static void BuildNormFirst(CkNet net)
{
  Dense(net, "fc2", Plain(net, CK_LAYER_TANH, "tanh", Norm(net, "bn", Dense(net, "fc1", 0, 2, PETSC_TRUE))), 3,
        PETSC_TRUE);
}

static void statistics_are_mean_and_unbiased_variance(void **state)
{
  enum { n = 19, features = 4 };
  const TestLossKind kind = {"norm first", PETSC_TRUE,     "reference", {features, 1, 1},
                             CK_HEAD_MSE,  BuildNormFirst, NULL};
  TestLoss           t = NewTestLoss(PETSC_COMM_WORLD, &kind, n);
  CkBatch            batch = TrainingBatch(n);
  PetscInt           index[n], labels[n];
  float              x[n * features];
  double            *weights, *buffers;
  const double      *statistics;
  Vec                g;

  (void)state;
  for (PetscInt k = 0; k < n; ++k) index[k] = k;
  OK(CkDataFetch(t.data, n, index, x, labels));
  OK(CkStateGetArrays(t.state, &weights, &buffers));
  OK(CkLossCreateVec(t.loss, &g));
  OK(CkLossGradient(t.loss, &batch, NULL, g, NULL, NULL));
  OK(CkLossGetBatchStatistics(t.loss, &statistics));
  for (int u = 0; u < 2; ++u) {
    double y[n], mean = 0, variance = 0;

    for (int k = 0; k < n; ++k) {
      y[k] = weights[2 * features + u];
      for (int i = 0; i < features; ++i) y[k] += weights[u * features + i] * (double)x[k * features + i];
      mean += y[k] / n;
    }
    for (int k = 0; k < n; ++k) variance += (y[k] - mean) * (y[k] - mean) / (n - 1);
    assert_close(statistics[u], mean, 1e-12, 1);
    assert_close(statistics[2 + u], variance, 1e-12, 1);
  }
  OK(VecDestroy(&g));
  FreeTestLoss(&t);
}

/* Dropout: another step draws other factors, the same step the same ones; both engines the same. */
static void dropout_is_a_function_of_the_step(void **state)
{
  TestLoss     t = NewTestLoss(PETSC_COMM_WORLD, Kind("onednn lenet"), 30), r;
  TestLossKind twin = *Kind("onednn lenet");
  CkBatch      batch = TrainingBatch(21);
  double       f[21], again[21], other[21], reference[21];

  (void)state;
  twin.engine = "reference";
  r = NewTestLoss(PETSC_COMM_WORLD, &twin, 30);
  batch.step = 4;
  OK(CkLossValues(t.loss, &batch, f, NULL));
  OK(CkLossValues(t.loss, &batch, again, NULL));
  OK(CkLossValues(r.loss, &batch, reference, NULL));
  batch.step = 5;
  OK(CkLossValues(t.loss, &batch, other, NULL));
  assert_on_all_ranks(!memcmp(f, again, sizeof(f)));
  assert_on_all_ranks(RelativeDifference(21, f, reference) < 1e-4);
  assert_on_all_ranks(RelativeDifference(21, other, f) > 1e-2);
  FreeTestLoss(&r);
  FreeTestLoss(&t);
}

/* Decision 11. */
static void a_group_of_one_is_refused(void **state)
{
  TestLoss t = NewTestLoss(PETSC_COMM_WORLD, Kind("reference norm"), 30);
  TestLoss plain = NewTestLoss(PETSC_COMM_WORLD, Kind("reference tanh"), 30);
  CkBatch  one = TrainingBatch(1), ragged = TrainingBatch(21);
  Vec      g = NewTestVec(t.loss, 1), h = NewTestVec(plain.loss, 1);

  (void)state;
  assert_error_says("leaves one sample alone", CkLossGradient(t.loss, &one, NULL, g, NULL, NULL));
  OK(CkLossGradient(plain.loss, &one, NULL, h, NULL, NULL)); /* no batch norm, no coupling */
  OK(CkLossSetBatchNormGroup(t.loss, 4));
  assert_error_says("leaves one sample alone", CkLossGradient(t.loss, &ragged, NULL, g, NULL, NULL));
  OK(CkLossSetBatchNormGroup(t.loss, 5));
  assert_error_says("leaves one sample alone", CkLossGradient(t.loss, &ragged, NULL, g, NULL, NULL));
  OK(CkLossSetBatchNormGroup(t.loss, 6));
  OK(CkLossGradient(t.loss, &ragged, NULL, g, NULL, NULL));
  assert_error_says("at least 2", CkLossSetBatchNormGroup(t.loss, 1));
  OK(VecDestroy(&g));
  OK(VecDestroy(&h));
  FreeTestLoss(&plain);
  FreeTestLoss(&t);
}

/* Without batch norm and dropout training and evaluation are the same loss. */
static void without_batch_norm_training_is_evaluation(void **state)
{
  TestLoss t = NewTestLoss(PETSC_COMM_WORLD, Kind("reference tanh"), 30);
  CkBatch  batch = TrainingBatch(30);
  Vec      g = NewTestVec(t.loss, 1), h = NewTestVec(t.loss, 1);
  double   mean[2], *a, *b;
  PetscInt d, correct[2];

  (void)state;
  OK(CkLossGetDimension(t.loss, &d));
  OK(CkLossGradient(t.loss, &batch, NULL, g, &mean[0], &correct[0]));
  batch.mode = CK_EVALUATION;
  OK(CkLossGradient(t.loss, &batch, NULL, h, &mean[1], &correct[1]));
  a = GetTestEntries(g);
  b = GetTestEntries(h);
  assert_close(mean[0], mean[1], 1e-14, 1);
  assert_on_all_ranks(correct[0] == correct[1]);
  assert_on_all_ranks(RelativeDifference((size_t)d, a, b) < 1e-13);
  OK(PetscFree(a));
  OK(PetscFree(b));
  OK(VecDestroy(&g));
  OK(VecDestroy(&h));
  FreeTestLoss(&t);
}

/* Weights so large that logits overflow, or that gradients leave the range of exact sums while the loss is still
   finite: the update is named, counted from 1, on all ranks, and the loss can go on. */
static void CheckDivergence(const char engine[], double scale, const char words[])
{
  const TestLossKind kind = {"relu", PETSC_TRUE, engine, {6, 1, 1}, CK_HEAD_CROSS_ENTROPY, BuildRelu, NULL};
  TestLoss           t = NewTestLoss(PETSC_COMM_WORLD, &kind, 30);
  CkBatch            batch = TrainingBatch(30);
  Vec                g = NewTestVec(t.loss, 1), x = NewTestVec(t.loss, 1), start = NewTestVec(t.loss, 1);

  batch.step = 12;
  OK(CkLossGetPoint(t.loss, start));
  OK(VecScale(x, scale));
  OK(CkLossSetPoint(t.loss, x));
  assert_error_says(words, CkLossGradient(t.loss, &batch, NULL, g, NULL, NULL));
  assert_on_all_ranks(strstr(test_message, "update 13") != NULL);
  OK(CkLossSetPoint(t.loss, start));
  OK(CkLossGradient(t.loss, &batch, NULL, g, NULL, NULL));
  OK(VecDestroy(&g));
  OK(VecDestroy(&x));
  OK(VecDestroy(&start));
  FreeTestLoss(&t);
}

static void divergence_is_a_user_error(void **state)
{
  (void)state;
  CheckDivergence("onednn", 1e30, "the loss of sample");
  CheckDivergence("onednn", 1e14, "leaves the range");
  CheckDivergence("reference", 1e20, "leaves the range");
  CheckDivergence("reference", 1e200, "the loss of sample");
}

static const struct CMUnitTest tests[] = {
  cmocka_unit_test(the_gradient_goes_through_the_batch_statistics),
  cmocka_unit_test(statistics_are_mean_and_unbiased_variance),
  cmocka_unit_test(dropout_is_a_function_of_the_step),
  cmocka_unit_test(a_group_of_one_is_refused),
  cmocka_unit_test(without_batch_norm_training_is_evaluation),
  cmocka_unit_test(divergence_is_a_user_error),
};
CK_TEST_MAIN(tests, PetscInitialize, PetscFinalize)
