#include "stable.h"
#include "testing.h"
#include <clarkia/random.h>

/* Normal numbers have the index 2, Cauchy numbers 1; normal numbers of unequal variances look heavy-tailed and are not.
 */

enum { WIDTH = 1000, N = WIDTH * WIDTH };

static void normal_and_cauchy(void **state)
{
  const CkRandom stream = {23, CK_RANDOM_NOISE, 0, 0};
  double        *x;
  CkStableIndex  index;

  (void)state;
  OK(PetscMalloc1(N, &x));
  CkRandomNormals(&stream, 0, N, x);
  OK(CkStableEstimate(N, x, 0, &index));
  assert_int_equal(index.width, WIDTH);
  assert_int_equal(index.used, N);
  assert_true(index.lower < 2 && index.upper > 2 && index.lower < index.alpha && index.alpha < index.upper);
  /* log|Y| of one sum has the deviation pi/sqrt 8; 2 alpha^2 / ln K1 of it, over the root of the sums */
  assert_close(index.alpha, 2, 4 * 4 * 1.11 / log(WIDTH) / sqrt(WIDTH), 1);
  assert_close((index.upper - index.lower) / 4, 4 * 1.11 / log(WIDTH) / sqrt(WIDTH), 0.15, 0.1);
  CkRandomUniforms(&stream, 10 * N, N, x);
  for (PetscInt i = 0; i < N; ++i) x[i] = tan(PETSC_PI * (x[i] - 0.5));
  OK(CkStableEstimate(N, x, 0, &index));
  assert_true(index.lower < 1 && index.upper > 1);
  assert_close(index.alpha, 1, 4 * 1.57 / log(WIDTH) / sqrt(WIDTH), 1);
  OK(PetscFree(x));
}

/* Covers the truth in about 95% of 200 samples of 4096 numbers: no fewer than 180, five deviations. */
static void interval(void **state)
{
  enum { runs = 200, n = 4096 };
  double        x[n];
  PetscInt      covered = 0;
  CkStableIndex index;

  (void)state;
  for (int run = 0; run < runs; ++run) {
    const CkRandom stream = {29, CK_RANDOM_NOISE, 0, (uint64_t)run};

    CkRandomNormals(&stream, 0, n, x);
    OK(CkStableEstimate(n, x, 0, &index));
    covered += index.lower <= 2 && 2 <= index.upper;
  }
  assert_true(covered >= 175);
}

/* ln s normal of variance 4: alpha about 0.99 by (W.3), and that is what the estimator finds; equal scales: 2. */
static void unequal_variances(void **state)
{
  const CkRandom stream = {31, CK_RANDOM_NOISE, 0, 0};
  double        *x, *s, alpha;
  CkStableIndex  index;

  (void)state;
  OK(PetscMalloc2(N, &x, N, &s));
  CkRandomNormals(&stream, 0, N, s);
  CkRandomNormals(&stream, 10 * N, N, x);
  for (PetscInt i = 0; i < N; ++i) {
    s[i] = exp(2 * s[i]);
    x[i] *= s[i];
  }
  OK(CkStableOfGaussian(N, s, 0, &alpha));
  assert_close(alpha, 0.99, 0.02, 1);
  OK(CkStableEstimate(N, x, 0, &index));
  assert_close(index.alpha, alpha, 4 * 1.11 / log(WIDTH) / sqrt(WIDTH), 1);
  assert_true(index.upper < 1.2);
  for (PetscInt i = 0; i < N; ++i) x[i] /= s[i];
  OK(CkStableEstimate(N, x, 0, &index));
  assert_true(index.upper > 2);
  for (PetscInt i = 0; i < N; ++i) s[i] = 0.3;
  OK(CkStableOfGaussian(N, s, 0, &alpha));
  assert_close(alpha, 2, 1e-9, 1);
  OK(PetscFree2(x, s));
}

static const struct CMUnitTest tests[] = {cmocka_unit_test(normal_and_cauchy), cmocka_unit_test(interval),
                                          cmocka_unit_test(unequal_variances)};

CK_TEST_MAIN(tests, PetscInitialize, PetscFinalize)
