/* The loss heads against their definitions in long double, and where float32 or a naive formula would fail. */
#include "head.h"
#include "testing.h"

#define CLASSES 4

static CkHeadCall NewCall(CkHead head, PetscInt n, const double z[], const PetscInt labels[], double f[],
                          double delta[])
{
  return (CkHeadCall){.head = head,
                      .n = n,
                      .classes = CLASSES,
                      .precision = CK_FLOAT64,
                      .logits = z,
                      .labels = labels,
                      .values = f,
                      .delta = delta};
}

static void heads_follow_their_definitions(void **state)
{
  const double   z[2 * CLASSES] = {0.3, -1.2, 2.5, 0.1, -3, 0.7, 0.7, 1.1};
  const PetscInt labels[2] = {1, 3};
  double         f[2], delta[2 * CLASSES];
  CkHeadCall     call = NewCall(CK_HEAD_CROSS_ENTROPY, 2, z, labels, f, delta);

  (void)state;
  OK(CkHeadEvaluate(&call));
  for (int k = 0; k < 2; ++k) {
    long double sum = 0;

    for (int c = 0; c < CLASSES; ++c) sum += expl((long double)z[k * CLASSES + c]);
    assert_close(f[k], (double)(logl(sum) - (long double)z[k * CLASSES + labels[k]]), 4e-16, fabs(f[k]));
    for (int c = 0; c < CLASSES; ++c) {
      const double p = (double)(expl((long double)z[k * CLASSES + c]) / sum);

      assert_close(delta[k * CLASSES + c], p - (c == labels[k]), 4e-16, 1);
    }
  }
  call.head = CK_HEAD_MSE;
  OK(CkHeadEvaluate(&call));
  for (int k = 0; k < 2; ++k) {
    double sum = 0;

    for (int c = 0; c < CLASSES; ++c) {
      const double difference = z[k * CLASSES + c] - (c == labels[k]);

      assert_close(delta[k * CLASSES + c], difference, 1e-16, 1);
      sum += difference * difference;
    }
    assert_close(f[k], sum / 2, 4e-16, f[k]);
  }
}

/* A sample learnt well: p_y = 1 - 3e-18, where p_y - 1 is 0 in float64 already; f and delta keep their digits. */
static void small_losses_keep_their_digits(void **state)
{
  const double   z[CLASSES] = {40, 0, 0, 0};
  const PetscInt label = 0;
  const double   other = exp(-40.);
  double         f, delta[CLASSES];
  CkHeadCall     call = NewCall(CK_HEAD_CROSS_ENTROPY, 1, z, &label, &f, delta);

  (void)state;
  OK(CkHeadEvaluate(&call));
  assert_close(f, 3 * other, 1e-15, 3 * other);
  assert_close(delta[0], -3 * other, 1e-15, 3 * other);
  for (int c = 1; c < CLASSES; ++c) assert_close(delta[c], other, 1e-15, other);
}

static void large_logits_do_not_overflow(void **state)
{
  const double   z[CLASSES] = {1000, -1000, 999, 0};
  const PetscInt label = 1;
  double         f, delta[CLASSES], sum = 0;
  CkHeadCall     call = NewCall(CK_HEAD_CROSS_ENTROPY, 1, z, &label, &f, delta);

  (void)state;
  OK(CkHeadEvaluate(&call));
  assert_close(f, 2000 + log1p(exp(-1.)), 1e-15, 2000);
  for (int c = 0; c < CLASSES; ++c) sum += delta[c];
  assert_close(delta[label], -1, 1e-15, 1);
  assert_close(sum, 0, 1e-15, 1);
}

/* float32 logits are computed with in float64, and deltas scaled there before they are rounded. */
static void float32_is_only_for_transport(void **state)
{
  const float    z[2 * CLASSES] = {1.25F, -0.5F, 0.75F, 2, 0, 0.5F, -1, 3};
  const double   scale[2] = {1. / 3, -7};
  const PetscInt labels[2] = {0, 3};
  double         wide[2 * CLASSES], f[2], f_wide[2], delta_wide[2 * CLASSES];
  float          delta[2 * CLASSES];
  CkHeadCall     call = NewCall(CK_HEAD_CROSS_ENTROPY, 2, wide, labels, f_wide, delta_wide);

  (void)state;
  for (int i = 0; i < 2 * CLASSES; ++i) wide[i] = z[i];
  OK(CkHeadEvaluate(&call));
  call.precision = CK_FLOAT32;
  call.logits = z;
  call.values = f;
  call.delta = delta;
  call.scale = scale;
  OK(CkHeadEvaluate(&call));
  for (int k = 0; k < 2; ++k) {
    assert_on_all_ranks(f[k] == f_wide[k]);
    for (int c = 0; c < CLASSES; ++c)
      assert_on_all_ranks(delta[k * CLASSES + c] == (float)(scale[k] * delta_wide[k * CLASSES + c]));
  }
}

static void predictions_are_counted(void **state)
{
  const double   z[5 * CLASSES] = {0, 1, 0, 0, 2, 1, 2, 0, 2, 1, 2, 0, 0, NAN, 0, 0, 0, INFINITY, 0, 0};
  const PetscInt labels[5] = {1, 0, 2, 1, 0};
  const int      expected[5] = {1, 1, 0, 0, 0}; /* the first of equals; NaN is never right */
  double         f[5];
  int            correct[5];
  CkHeadCall     call = NewCall(CK_HEAD_CROSS_ENTROPY, 5, z, labels, f, NULL);

  (void)state;
  call.correct = correct;
  for (int head = 0; head < 2; ++head) {
    call.head = head ? CK_HEAD_MSE : CK_HEAD_CROSS_ENTROPY;
    OK(CkHeadEvaluate(&call));
    for (int k = 0; k < 5; ++k) {
      assert_on_all_ranks(correct[k] == expected[k]);
      assert_on_all_ranks(!isfinite(f[k]) == (k >= 3));
    }
  }
}

static const struct CMUnitTest tests[] = {
  cmocka_unit_test(heads_follow_their_definitions), cmocka_unit_test(small_losses_keep_their_digits),
  cmocka_unit_test(large_logits_do_not_overflow),   cmocka_unit_test(float32_is_only_for_transport),
  cmocka_unit_test(predictions_are_counted),
};

CK_TEST_MAIN(tests, PetscInitialize, PetscFinalize)
