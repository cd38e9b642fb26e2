#include "testing.h"
#include <clarkia/spectrum.h>
#include <float.h>

/* Statistics of spectra given by hand: every number below is worked out on paper, or by another formula. */

static void Compute(PetscInt n, const double values[], PetscInt d, PetscInt N, CkSpectrumStatistics *s)
{
  double trace = 0;

  for (PetscInt i = 0; i < n; ++i) trace += values[i];
  OK(CkSpectrumComputeStatistics(n, values, d, N, n, trace, s));
}

/* Eigenvalues 6, 3, 1, 0, 0: mean 2, variance (16 + 1 + 1 + 4 + 4)/5. */
static void implicit_zeros_count(void **state)
{
  const double         values[] = {6, 3, 1};
  CkSpectrumStatistics s;

  (void)state;
  Compute(3, values, 5, 4, &s);
  assert_int_equal(s.n, 3);
  assert_int_equal(s.dimension, 5);
  assert_int_equal(s.samples, 4);
  assert_true(s.complete);
  assert_close(s.trace, 10, 1e-15, 10);
  assert_close(s.lambda_max, 6, 0, 1);
  assert_close(s.mean, 2, 1e-15, 2);
  assert_close(s.std, sqrt(5.2), 1e-15, 3);
  assert_close(s.frobenius, sqrt(46.), 1e-15, 7);
  assert_close(s.participation_ratio, 100. / 46, 1e-15, 3);
  assert_close(s.stable_rank, 10. / 6, 1e-15, 2);
  assert_int_equal(s.rank_float32, 3);
  assert_int_equal(s.rank_float64, 3);
  assert_int_equal(s.rank_gram32, 3);
  assert_int_equal(s.rank_1e3, 3);
  assert_close(s.score, 3. / 5 + 5.2, 1e-15, 6);
}

/* d = 1000, lambda_max = 1: float32 threshold t = 1000 2^-23 = 1.19e-4, with 11 samples the gram one is 11 2^-23. */
static void clipping_raises_to_the_float32_threshold(void **state)
{
  const double         values[] = {1, 1e-2, 1e-5, 1e-12}, t = 1000 * 0x1p-23;
  const double         mean = (1 + 1e-2 + 998 * t) / 1000;
  CkSpectrumStatistics s;

  (void)state;
  Compute(4, values, 1000, 11, &s);
  assert_close(s.threshold_float32, t, 1e-15, t);
  assert_close(s.threshold_float64, 1000 * 0x1p-52, 1e-15, 1e-12);
  assert_close(s.threshold_gram32, 11 * 0x1p-23, 1e-15, 1e-6);
  assert_close(s.threshold_1e3, 1e-3, 1e-15, 1e-3);
  assert_int_equal(s.rank_float32, 2);
  assert_int_equal(s.rank_float64, 4);
  assert_int_equal(s.rank_gram32, 3);
  assert_int_equal(s.rank_1e3, 2);
  assert_close(s.clipped_mean, mean, 1e-14, mean);
  assert_close(s.clipped_std,
               sqrt(((1 - mean) * (1 - mean) + (1e-2 - mean) * (1e-2 - mean) + 998 * (t - mean) * (t - mean)) / 1000),
               1e-14, 1);
  assert_close(s.mean, (1 + 1e-2 + 1e-5 + 1e-12) / 1000, 1e-14, 1e-3);
}

/* An eigenvalue that equals the threshold is not above it. */
static void threshold_is_exclusive(void **state)
{
  const double         values[] = {1, 0x1p-23 * 4};
  CkSpectrumStatistics s;

  (void)state;
  Compute(2, values, 4, 4, &s);
  assert_int_equal(s.rank_float32, 1);
  assert_int_equal(s.rank_gram32, 1);
  assert_int_equal(s.rank_float64, 2);
}

/* Beyond d eps32 = 0.01 (d = 83,887) the score counts by the gram threshold. */
static void score_changes_its_rank_with_the_dimension(void **state)
{
  const double         values[] = {1, 5e-3, 1e-6};
  CkSpectrumStatistics s;

  (void)state;
  Compute(3, values, 80000, 4, &s);
  assert_int_equal(s.rank_float32, 1); /* t = 9.5e-3 */
  assert_int_equal(s.rank_gram32, 3);  /* t = 4.8e-7 */
  assert_close(s.score, 1. / 80000 + s.std * s.std, 1e-14, s.score);
  Compute(3, values, 100000, 4, &s);
  assert_int_equal(s.rank_float32, 1);
  assert_close(s.score, 3. / 100000 + s.std * s.std, 1e-14, s.score);
}

/* var = tr D^2 / d - (tr D / d)^2 needs no eigenvalue (text 003, remark 16). */
static void variance_follows_from_two_traces(void **state)
{
  enum { n = 40, d = 57 };
  double               values[n], trace = 0, squares = 0, variance;
  CkSpectrumStatistics s;

  (void)state;
  for (int i = 0; i < n; ++i) {
    values[i] = 3. / ((i + 1) * sqrt(i + 1.));
    trace += values[i];
    squares += values[i] * values[i];
  }
  Compute(n, values, d, 41, &s);
  variance = squares / d - (trace / d) * (trace / d);
  assert_close(s.std * s.std, variance, 1e-13, variance);
  assert_close(s.frobenius * s.frobenius, squares, 1e-14, squares);
  assert_close(s.mean, trace / d, 1e-14, s.mean);
}

/* Ranks do not change under D -> c D (theory T27), for c that is no power of two. */
static void ranks_do_not_depend_on_the_scale(void **state)
{
  enum { n = 60 };
  double               values[n], scaled[n];
  CkSpectrumStatistics s, t;

  (void)state;
  for (int i = 0; i < n; ++i) {
    values[i] = exp(-0.6 * i);
    scaled[i] = 3.7e-9 * values[i];
  }
  Compute(n, values, 300, 61, &s);
  Compute(n, scaled, 300, 61, &t);
  assert_true(s.rank_1e3 < s.rank_float32 && s.rank_float32 < s.rank_gram32 && s.rank_gram32 < s.rank_float64);
  assert_true(s.rank_float64 < n);
  assert_int_equal(s.rank_float32, t.rank_float32);
  assert_int_equal(s.rank_float64, t.rank_float64);
  assert_int_equal(s.rank_gram32, t.rank_gram32);
  assert_int_equal(s.rank_1e3, t.rank_1e3);
  assert_close(s.participation_ratio, t.participation_ratio, 1e-14, s.participation_ratio);
  assert_close(3.7e-9 * s.clipped_std, t.clipped_std, 1e-13, t.clipped_std);
}

/* Leading eigenvalues only: the trace is known from elsewhere, a rank only if its threshold was passed. */
static void partial_spectrum_leaves_out_what_it_cannot_know(void **state)
{
  const double         values[] = {4, 1, 3e-3};
  CkSpectrumStatistics s;

  (void)state;
  OK(CkSpectrumComputeStatistics(3, values, 100, 50, 49, 8, &s));
  assert_false(s.complete);
  assert_int_equal(s.rank_1e3, 2); /* 3e-3 is below 4e-3 */
  assert_int_equal(s.rank_float32, CK_RANK_UNKNOWN);
  assert_int_equal(s.rank_float64, CK_RANK_UNKNOWN);
  assert_int_equal(s.rank_gram32, CK_RANK_UNKNOWN);
  assert_close(s.mean, 0.08, 1e-15, 1);
  assert_close(s.stable_rank, 2, 1e-15, 2);
  assert_true(isnan(s.std) && isnan(s.clipped_mean) && isnan(s.clipped_std) && isnan(s.frobenius) && isnan(s.score));
  assert_true(isnan(s.participation_ratio));
}

/* Rounding errors beyond min(d, N - 1) = 2 are no rank, however large they are; all there can be is known from 2 on. */
static void rank_stays_within_its_bound(void **state)
{
  const double         values[] = {1, 1e-2, 1e-4, 1e-5};
  CkSpectrumStatistics s;

  (void)state;
  OK(CkSpectrumComputeStatistics(4, values, 4, 3, 2, 1.01, &s));
  assert_true(s.complete);
  assert_int_equal(s.rank_float32, 2);
  assert_int_equal(s.rank_float64, 2);
  assert_int_equal(s.rank_gram32, 2);
  assert_int_equal(s.rank_1e3, 2);
  OK(CkSpectrumComputeStatistics(2, values, 4, 3, 2, 1.01, &s));
  assert_true(s.complete);
  assert_int_equal(s.rank_float64, 2);
  OK(CkSpectrumComputeStatistics(1, values, 4, 3, 2, 1.01, &s));
  assert_false(s.complete);
  assert_int_equal(s.rank_float64, CK_RANK_UNKNOWN);
}

/* All gradients equal: D = 0. */
static void zero_matrix_has_rank_zero(void **state)
{
  const double         values[] = {0, 0};
  CkSpectrumStatistics s;

  (void)state;
  Compute(2, values, 7, 2, &s);
  assert_int_equal(s.rank_float32, 0);
  assert_int_equal(s.rank_float64, 0);
  assert_int_equal(s.rank_1e3, 0);
  assert_close(s.std + s.mean + s.clipped_mean + s.clipped_std, 0, 0, 1);
  assert_close(s.stable_rank, 0, 0, 1);
  assert_close(s.participation_ratio, 0, 0, 1);
}

static void wrong_input_is_refused(void **state)
{
  const double         ascending[] = {1, 2}, undefined[] = {1, NAN}, good[] = {2, 1};
  CkSpectrumStatistics s;

  (void)state;
  assert_user_error(CkSpectrumComputeStatistics(2, ascending, 3, 3, 2, 3, &s));
  assert_user_error(CkSpectrumComputeStatistics(2, undefined, 3, 3, 2, 3, &s));
  assert_user_error(CkSpectrumComputeStatistics(2, good, 1, 3, 1, 3, &s));
  assert_user_error(CkSpectrumComputeStatistics(0, good, 1, 3, 1, 3, &s));
  OK(CkSpectrumComputeStatistics(2, good, 2, 3, 2, 3, &s));
}

static const struct CMUnitTest tests[] = {
  cmocka_unit_test(implicit_zeros_count),
  cmocka_unit_test(clipping_raises_to_the_float32_threshold),
  cmocka_unit_test(threshold_is_exclusive),
  cmocka_unit_test(score_changes_its_rank_with_the_dimension),
  cmocka_unit_test(variance_follows_from_two_traces),
  cmocka_unit_test(ranks_do_not_depend_on_the_scale),
  cmocka_unit_test(partial_spectrum_leaves_out_what_it_cannot_know),
  cmocka_unit_test(rank_stays_within_its_bound),
  cmocka_unit_test(zero_matrix_has_rank_zero),
  cmocka_unit_test(wrong_input_is_refused),
};

CK_TEST_MAIN(tests, PetscInitialize, PetscFinalize)
