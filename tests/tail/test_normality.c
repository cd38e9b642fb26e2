#include "normality.h"
#include "testing.h"
#include <clarkia/probability.h>
#include <clarkia/random.h>

/* Moments against their definitions, the statistic of Anderson and Darling against SciPy and its level against
 * simulation. */

/* scipy.stats.anderson(x, "norm").statistic = 0.28826367 for x = sqrt(k), k = 1 .. 20; 0.62515128 for x = k^2. */
static void statistic(void **state)
{
  const double correction = 1 + 0.75 / 20 + 2.25 / 400;
  double       x[20], sorted[20];
  CkNormality  r;

  (void)state;
  for (int k = 0; k < 20; ++k) x[(7 * k) % 20] = sqrt(k + 1.);
  OK(CkNormalityTest(20, x, &r, sorted));
  assert_close(r.statistic / correction, 0.2882636691, 1e-7, 1);
  for (int k = 1; k < 20; ++k) assert_true(sorted[k] > sorted[k - 1]);
  for (int k = 0; k < 20; ++k) x[k] = (k + 1.) * (k + 1.);
  OK(CkNormalityTest(20, x, &r, sorted));
  assert_close(r.statistic / correction, 0.6251512842, 1e-7, 1);
  for (int k = 0; k < 20; ++k) x[k] = 3;
  OK(CkNormalityTest(20, x, &r, sorted));
  assert_true(r.deviation == 0 && isnan(r.statistic) && r.p == 0);
}

/* Critical values of Stephens: 0.752 at 5%, 0.873 at 2.5%, 1.035 at 1%; pieces meet to 1%. */
static void significance(void **state)
{
  const double at[] = {0.2, 0.34, 0.6};

  (void)state;
  assert_close(CkAndersonDarlingTail(0.752), 0.05, 0.02, 0.05);
  assert_close(CkAndersonDarlingTail(0.873), 0.025, 0.03, 0.025);
  assert_close(CkAndersonDarlingTail(1.035), 0.01, 0.05, 0.01);
  for (int i = 0; i < 3; ++i) assert_close(CkAndersonDarlingTail(at[i]), CkAndersonDarlingTail(at[i] - 1e-9), 0.01, 1);
  for (double s = 0.01; s < 400; s *= 1.1)
    assert_true(CkAndersonDarlingTail(s * 1.1) <= CkAndersonDarlingTail(s) + 1e-3 && CkAndersonDarlingTail(s) >= 0);
}

/* Normal samples are rejected at 5% about 5% of the time, uniform and Student samples nearly always. */
static void level(void **state)
{
  enum { n = 200, runs = 600 };
  double      x[n], sorted[n];
  PetscInt    rejected = 0, uniform = 0;
  CkNormality r;

  (void)state;
  for (int run = 0; run < runs; ++run) {
    const CkRandom stream = {17, CK_RANDOM_NOISE, 0, (uint64_t)run};

    CkRandomNormals(&stream, 0, n, x);
    for (int i = 0; i < n; ++i) x[i] = 5 + 3 * x[i];
    OK(CkNormalityTest(n, x, &r, sorted));
    rejected += r.p < 0.05;
    if (run == 0) { /* four standard errors */
      assert_close(r.mean, 5, 4 * 3 / sqrt(n), 1);
      assert_close(r.skewness, 0, 4 * sqrt(6. / n), 1);
      assert_close(r.kurtosis, 0, 4 * sqrt(24. / n), 1);
    }
    CkRandomUniforms(&stream, 1000, n, x);
    OK(CkNormalityTest(n, x, &r, sorted));
    uniform += r.p < 0.05;
  }
  assert_true(rejected <= CkBinomialBound(runs, 0.05, 1e-4) && runs - rejected <= CkBinomialBound(runs, 0.95, 1e-4));
  assert_true(uniform > 0.9 * runs);
}

static const struct CMUnitTest tests[] = {cmocka_unit_test(statistic), cmocka_unit_test(significance),
                                          cmocka_unit_test(level)};

CK_TEST_MAIN(tests, PetscInitialize, PetscFinalize)
