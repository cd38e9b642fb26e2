#include "minibatches.h"
#include "testing.h"

/* Minibatches without replacement have no sample twice, all subsets are as likely, and the covariance of their mean is
   that of all subsets by enumeration, (N - B)/(N - 1) of that with replacement. */

enum { N = 6, DRAWS = 20000 };
static const double value[N] = {1, -2, 4, 0.5, 7, -3};

/* Variance of the mean of B numbers about the mean of all N, over all ordered draws. */
static double Enumerate(PetscInt B, PetscBool replacement)
{
  double   mean = 0, square = 0;
  PetscInt all = 1, count = 0;

  for (int k = 0; k < N; ++k) mean += value[k] / N;
  for (PetscInt i = 0; i < B; ++i) all *= N;
  for (PetscInt code = 0; code < all; ++code) {
    double   sum = 0;
    unsigned seen = 0;

    for (PetscInt i = 0, rest = code; i < B; ++i, rest /= N) {
      sum += value[rest % N] / (double)B;
      seen |= 1u << (rest % N);
    }
    if (!replacement && __builtin_popcount(seen) < B) continue;
    square += (sum - mean) * (sum - mean);
    ++count;
  }
  return square / (double)count;
}

static void variances(void **state)
{
  (void)state;
  for (PetscInt B = 1; B < N; ++B) {
    const double with = Enumerate(B, PETSC_TRUE), without = Enumerate(B, PETSC_FALSE);
    double       mean = 0;

    assert_close(without / with, (double)(N - B) / (N - 1), 1e-12, 1);
    for (int k = 0; k < N; ++k) mean += value[k] / N;
    for (int replacement = 0; replacement < 2; ++replacement) {
      const double  exact = replacement ? with : without;
      double        square = 0;
      PetscInt      samples[N];
      CkMinibatches batches;

      OK(CkMinibatchesCreate(N, B, 5, (PetscBool)replacement, &batches));
      for (PetscInt b = 0; b < DRAWS; ++b) {
        double   sum = 0;
        unsigned seen = 0;

        OK(CkMinibatchesDraw(&batches, b, samples));
        for (PetscInt i = 0; i < B; ++i) {
          assert_true(samples[i] >= 0 && samples[i] < N);
          sum += value[samples[i]] / (double)B;
          seen |= 1u << samples[i];
        }
        if (!replacement) assert_int_equal(__builtin_popcount(seen), B);
        square += (sum - mean) * (sum - mean) / DRAWS;
      }
      assert_close(square, exact, 5 * 1.5 / sqrt(DRAWS),
                   exact); /* five deviations; kurtosis of these numbers is small */
      OK(CkMinibatchesDestroy(&batches));
    }
  }
}

/* Minibatch b is the same whatever was drawn before. */
static void any_order(void **state)
{
  PetscInt      one[3], two[3];
  CkMinibatches batches;

  (void)state;
  for (int replacement = 0; replacement < 2; ++replacement) {
    OK(CkMinibatchesCreate(50, 3, 5, (PetscBool)replacement, &batches));
    OK(CkMinibatchesDraw(&batches, 7, one));
    OK(CkMinibatchesDraw(&batches, 3, two));
    assert_true(memcmp(one, two, sizeof(one)) != 0);
    OK(CkMinibatchesDraw(&batches, 7, two));
    assert_memory_equal(one, two, sizeof(one));
    OK(CkMinibatchesDestroy(&batches));
  }
}

static const struct CMUnitTest tests[] = {cmocka_unit_test(variances), cmocka_unit_test(any_order)};

CK_TEST_MAIN(tests, PetscInitialize, PetscFinalize)
