#include "testing.h"
#include <clarkia/probability.h>
#include <petscsys.h>

/* Distributions against tables (Abramowitz and Stegun, tables 26.1, 26.10), incomplete beta functions of SciPy and
 * sums, tests against their definitions.
 */

static void normal(void **state)
{
  (void)state;
  assert_close(CkNormalTail(1.959963984540054), 0.025, 1e-15, 1);
  assert_close(CkNormalTail(0), 0.5, 1e-16, 1);
  assert_close(CkNormalQuantile(0.995), 2.5758293035489004, 1e-14, 1);
  for (double p = 1e-300; p < 1; p = p < 0.1 ? p * 10 : p + 0.0999)
    assert_close(CkNormalTail(-CkNormalQuantile(p)), p, 1e-12, p); /* condition: z density / p < 40 */
  assert_true(isinf(CkNormalQuantile(0)) && isinf(CkNormalQuantile(1)));
}

/* Two-sided: 12.706 for one degree of freedom at 5%, 2.228 for ten; by the closed forms of one and two. */
static void student(void **state)
{
  (void)state;
  for (double t = 0; t < 30; t += 0.7) {
    assert_close(CkStudentTail(t, 1), 1 - 2 / PETSC_PI * atan(t), 1e-14, 1);
    assert_close(CkStudentTail(-t, 2), 1 - t / sqrt(2 + t * t), 1e-14, 1);
  }
  assert_close(CkStudentTail(2.2281388519649385, 10), 0.05000000000180867, 1e-14, 1);
  assert_close(CkStudentTail(2.1447866879169273, 14), 0.05000000000008152, 1e-14, 1);
  assert_close(CkStudentTail(2.1314495455597742, 15), 0.05000000000000015, 1e-14, 1);
  assert_close(CkStudentTail(1.96, 10000000), 2 * CkNormalTail(1.96), 1e-6, 1); /* t^3 density / dof */
}

/* P(X > k) by a sum over all outcomes. */
static void binomial(void **state)
{
  const double p = 0.3;

  (void)state;
  for (PetscInt n = 1; n <= 12; ++n) {
    for (double tail = 0.5; tail > 1e-4; tail /= 3) {
      const PetscInt k = CkBinomialBound(n, p, tail);
      double         above[2] = {0, 0}; /* k, k - 1 */

      for (int outcome = 0; outcome < 1 << n; ++outcome) {
        const int    ones = __builtin_popcount((unsigned)outcome);
        const double probability = pow(p, ones) * pow(1 - p, n - ones);

        if (ones > k) above[0] += probability;
        if (ones > k - 1) above[1] += probability;
      }
      assert_true(above[0] <= tail + 1e-12 && (k == 0 || above[1] > tail));
    }
  }
  assert_int_equal(CkBinomialBound(5, 0, 0.01), 0);
  assert_int_equal(CkBinomialBound(5, 1, 0.01), 5);
}

static void adjusted(void **state)
{
  const double p[] = {0.01, 0.04, 0.03, 0.005, 0.5}, holm[] = {0.04, 0.09, 0.09, 0.025, 0.5};
  const double hochberg[] = {0.025, 0.05, 0.05, 0.025, 0.5};
  double       out[5];

  (void)state;
  OK(CkAdjustHolm(5, p, out));
  for (int i = 0; i < 5; ++i) assert_close(out[i], holm[i], 1e-15, 1);
  OK(CkAdjustBenjaminiHochberg(5, p, out));
  for (int i = 0; i < 5; ++i) assert_close(out[i], hochberg[i], 1e-15, 1);
}

static const struct CMUnitTest tests[] = {cmocka_unit_test(normal), cmocka_unit_test(student),
                                          cmocka_unit_test(binomial), cmocka_unit_test(adjusted)};

CK_TEST_MAIN(tests, PetscInitialize, PetscFinalize)
