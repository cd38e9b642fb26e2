#include "process.h"
#include "series.h"
#include <clarkia/probability.h>
#include <complex.h>

/* Spectra and autocorrelations against their definitions, and against what white noise and AR(1) must give. */

static void definitions(void **state)
{
  const PetscInt lengths[] = {3, 4, 17, 64, 100};

  (void)state;
  for (size_t l = 0; l < PETSC_STATIC_ARRAY_LENGTH(lengths); ++l) {
    const PetscInt n = lengths[l], frequencies = CkSeriesFrequencies(n);
    const CkRandom stream = {3, CK_RANDOM_NOISE, 0, (uint64_t)n};
    PetscInt       lags[100];
    double         x[100], amplitude[51], r[100], deviation, mean = 0, c0 = 0;
    PetscBool      constant;
    CkSeries       series;

    CkRandomNormals(&stream, 0, (size_t)n, x);
    for (PetscInt t = 0; t < n; ++t) {
      lags[t] = t;
      mean += x[t] / (double)n;
    }
    OK(CkSeriesCreate(n, &series));
    OK(CkSeriesIncrementSpectrum(series, x, amplitude, &deviation));
    OK(CkSeriesAutocorrelation(series, x, n, lags, r, &constant));
    assert_false(constant);
    assert_int_equal(frequencies, (n - 1) / 2 + 1);
    for (PetscInt k = 0; k < frequencies; ++k) {
      double complex sum = 0;

      for (PetscInt t = 0; t < n - 1; ++t)
        sum += (x[t + 1] - x[t]) * cexp(-2 * PETSC_PI * I * (double)(k * t) / (double)(n - 1));
      assert_close(amplitude[k], cabs(sum), 1e-13 * sqrt((double)n), 10);
    }
    for (PetscInt t = 0; t < n; ++t) c0 += (x[t] - mean) * (x[t] - mean);
    for (PetscInt h = 0; h < n; ++h) {
      double sum = 0;

      for (PetscInt t = 0; t + h < n; ++t) sum += (x[t] - mean) * (x[t + h] - mean);
      assert_close(r[h], sum / c0, 1e-13, 1);
    }
    OK(CkSeriesDestroy(&series));
  }
}

/* White increments: mean level sigma sqrt(pi n)/2 at every frequency but the first and the last, sigma sqrt(2n/pi) at
   those two; |rfft| is Rayleigh distributed with the deviation sigma sqrt(n (1 - pi/4)). */
static void white_increments(void **state)
{
  enum { n = 512, weights = 400, bands = 8 };
  const double sigma = 0.7, level = sigma * sqrt(PETSC_PI * n) / 2, spread = sigma * sqrt(n * (1 - PETSC_PI / 4));
  const double real_level = sigma * sqrt(2 * n / PETSC_PI), real_spread = sigma * sqrt(n * (1 - 2 / PETSC_PI));
  double       band[bands] = {0}, ends[2] = {0}, x[n + 1], z[n], amplitude[n / 2 + 1], deviation, sum = 0;
  PetscInt     count[bands] = {0};
  CkSeries     series;

  (void)state;
  OK(CkSeriesCreate(n + 1, &series));
  for (PetscInt j = 0; j < weights; ++j) {
    const CkRandom stream = {5, CK_RANDOM_NOISE, 0, (uint64_t)j};

    CkRandomNormals(&stream, 0, n, z);
    x[0] = 0;
    for (PetscInt t = 0; t < n; ++t) x[t + 1] = x[t] + sigma * z[t];
    OK(CkSeriesIncrementSpectrum(series, x, amplitude, &deviation));
    sum += deviation / weights;
    ends[0] += amplitude[0] / weights;
    ends[1] += amplitude[n / 2] / weights;
    for (PetscInt k = 1; k < n / 2; ++k) {
      band[(k - 1) * bands / (n / 2 - 1)] += amplitude[k];
      ++count[(k - 1) * bands / (n / 2 - 1)];
    }
  }
  OK(CkSeriesDestroy(&series));
  for (int i = 0; i < bands; ++i) /* four standard errors */
    assert_close(band[i] / count[i], level, 4 * spread / sqrt(count[i]), 1);
  for (int i = 0; i < 2; ++i) assert_close(ends[i], real_level, 4 * real_spread / sqrt(weights), 1);
  assert_close(sum, sigma, 4 / sqrt(2. * n * weights) + 1. / n, sigma);
}

/* White positions: lags outside the bands are no more than the binomial bound at 1e-4; a constant series is told. */
static void white_positions(void **state)
{
  enum { n = 2000, nlags = 500 };
  const CkRandom stream = {7, CK_RANDOM_NOISE, 0, 0};
  double         x[n], r[nlags];
  PetscInt       lags[nlags], outside95 = 0, outside99 = 0;
  PetscBool      constant;
  CkSeries       series;

  (void)state;
  CkRandomNormals(&stream, 0, n, x);
  for (PetscInt j = 0; j < nlags; ++j) lags[j] = j + 1;
  OK(CkSeriesCreate(n, &series));
  OK(CkSeriesAutocorrelation(series, x, nlags, lags, r, &constant));
  for (PetscInt j = 0; j < nlags; ++j) {
    outside95 += fabs(r[j]) > CkNormalQuantile(0.975) / sqrt(n);
    outside99 += fabs(r[j]) > CkNormalQuantile(0.995) / sqrt(n);
  }
  assert_true(outside95 > 0 && outside95 <= CkBinomialBound(nlags, 0.05, 1e-4));
  assert_true(outside99 <= CkBinomialBound(nlags, 0.01, 1e-4));
  for (PetscInt t = 0; t < n; ++t) x[t] = 0.1;
  OK(CkSeriesAutocorrelation(series, x, nlags, lags, r, &constant));
  assert_true(constant && r[0] == 0);
  OK(CkSeriesDestroy(&series));
}

/* Squares of these numbers are below and above all that a double holds; powers of two change no bit. */
static void any_unit(void **state)
{
  enum { n = 50 };
  static const int powers[] = {-700, 700};
  const CkRandom   stream = {13, CK_RANDOM_NOISE, 0, 0};
  double           x[n], scaled[n], r[n], same[n], tau, again;
  PetscInt         lags[n];
  PetscBool        constant;
  CkSeries         series;

  (void)state;
  CkRandomNormals(&stream, 0, n, x);
  for (PetscInt t = 0; t < n; ++t) lags[t] = t;
  OK(CkSeriesCreate(n, &series));
  OK(CkSeriesAutocorrelation(series, x, n, lags, r, &constant));
  OK(CkSeriesCorrelationTime(series, x, &tau));
  for (size_t i = 0; i < PETSC_STATIC_ARRAY_LENGTH(powers); ++i) {
    for (PetscInt t = 0; t < n; ++t) scaled[t] = ldexp(x[t], powers[i]);
    OK(CkSeriesAutocorrelation(series, scaled, n, lags, same, &constant));
    OK(CkSeriesCorrelationTime(series, scaled, &again));
    assert_false(constant);
    assert_memory_equal(r, same, sizeof(r));
    assert_true(tau == again);
    assert_true(CkSeriesUnit(n, scaled) == ldexp(CkSeriesUnit(n, x), powers[i]));
  }
  OK(CkSeriesDestroy(&series));
}

/* AR(1) with coefficient a: r(h) = a^h, correlation time (1 + a)/(1 - a); 20 runs leave an error of tau sqrt(2 (2M + 1)
   / (20 n)), M = 5 tau the window (Sokal 1997). */
static void correlation_time(void **state)
{
  enum { n = 20000, runs = 20 };
  const double a = 0.8, Sigma = 1, tau = (1 + a) / (1 - a);
  double       mean = 0, one;
  Process      p;
  CkSeries     series;

  (void)state;
  SetProcess(&p, 1, &a, &Sigma);
  OK(CkSeriesCreate(n, &series));
  for (uint64_t seed = 0; seed < runs; ++seed) {
    double *x = NewPaths(&p, 100 + seed, n, 1);

    OK(CkSeriesCorrelationTime(series, x, &one));
    mean += one / runs;
    OK(PetscFree(x));
  }
  assert_close(mean, tau, 4 * sqrt(2 * (10 * tau + 1) / (runs * n)), tau);
  OK(CkSeriesDestroy(&series));
}

static const struct CMUnitTest tests[] = {cmocka_unit_test(definitions), cmocka_unit_test(white_increments),
                                          cmocka_unit_test(white_positions), cmocka_unit_test(any_unit),
                                          cmocka_unit_test(correlation_time)};

CK_TEST_MAIN(tests, PetscInitialize, PetscFinalize)
