#include "gaussian.h"
#include "messages.h"
#include "problem.h"
#include <float.h>

/* Spectra in closed form (theory T11, T12, T14, quadratic ensembles), by every route. */

static const CkSpectrumMethod routes[] = {CK_SPECTRUM_DENSE, CK_SPECTRUM_GRAM, CK_SPECTRUM_KRYLOV};

/* The eigenvalues are those of `exact` [d], descending, zeros included; what a route leaves out must be zero. Rounding
   errors are relative to the largest eigenvalue and the square of the mean gradient, which cancels. */
static void AssertSpectrum(Problem *p, PetscInt d, const double exact[], double mean)
{
  const double scale = exact[0] + mean;

  for (size_t r = 0; r < PETSC_STATIC_ARRAY_LENGTH(routes); ++r) {
    const double        *values, *residuals;
    PetscInt             n;
    CkSpectrumStatistics s;

    OK(CkSpectrumSetMethod(p->spectrum, routes[r]));
    OK(CkSpectrumSolve(p->spectrum));
    OK(CkSpectrumGetValues(p->spectrum, &n, &values, &residuals));
    OK(CkSpectrumGetStatistics(p->spectrum, &s));
    assert_on_all_ranks(n >= 1 && n <= d);
    for (PetscInt i = 0; i < (s.complete ? d : n); ++i)
      assert_close(i < n ? values[i] : 0, exact[i], 100 * DBL_EPSILON, scale);
    for (PetscInt i = 0; i < n; ++i)
      assert_on_all_ranks(isnan(residuals[i]) || residuals[i] * exact[0] <= 1e-13 * scale);
  }
}

/* T14: a = (1,0), (0,1), (1,1), y = 0, 0, 1. At x = 0 D = (2/9) [[1,1],[1,1]]; elsewhere the rank is 2 = N - 1. */
static void three_regression_data(void **state)
{
  const double a[] = {1, 0, 0, 1, 1, 1}, y[] = {0, 0, 1}, zero[] = {4. / 9, 0};
  const double x[] = {0.3, -0.7}, s = x[0] + x[1] - 1;
  const double m1 = (x[0] + s) / 3, m2 = (x[1] + s) / 3;
  const double d11 = (x[0] * x[0] + s * s) / 3 - m1 * m1, d22 = (x[1] * x[1] + s * s) / 3 - m2 * m2;
  const double d12 = s * s / 3 - m1 * m2, root = sqrt((d11 - d22) * (d11 - d22) / 4 + d12 * d12);
  const double generic[] = {(d11 + d22) / 2 + root, (d11 + d22) / 2 - root};
  Problem      p = NewLandscape(PETSC_COMM_WORLD, "");

  (void)state;
  OK(CkLossSetLinearRegression(p.loss, 2, 3, a, y));
  FinishProblem(&p);
  AssertSpectrum(&p, 2, zero, 0);
  SetPoint(&p, x);
  assert_true(generic[1] > 0.01 * generic[0]);
  AssertSpectrum(&p, 2, generic, 0);
  FreeProblem(&p);
}

/* T12: D = s2 v v', rank 1 for any N. Data (1,1), (2,1) at w = (1,1): D = [[1,1],[1,1]]. */
static void two_weights_have_rank_one(void **state)
{
  const double         x[] = {1, 2}, y[] = {1, 1}, w[] = {1, 1}, exact[] = {2, 0};
  CkSpectrumStatistics s;
  Problem              p = NewLandscape(PETSC_COMM_WORLD, "");

  (void)state;
  OK(CkLossSetTwoWeight(p.loss, 2, x, y));
  FinishProblem(&p);
  SetPoint(&p, w);
  AssertSpectrum(&p, 2, exact, 0);
  OK(CkSpectrumGetStatistics(p.spectrum, &s));
  assert_int_equal(s.rank_float64, 1);
  assert_int_equal(s.rank_float32, 1);
  assert_close(s.mean, 1, 1e-14, 1);
  assert_close(s.std, 1, 1e-14, 1);
  FreeProblem(&p);
}

/*
  T11, eq. (C.1) with x* = 0: D = A x x' A + (x'A x + sigma^2) A, diagonal as A is and x = (t, 0, 0).
*/
static void least_squares_of_gaussian_moments(void **state)
{
  enum { d = 3 };
  const double A[] = {2, 1, 0.25}, L[] = {sqrt(2), 0, 0, 0, 1, 0, 0, 0, 0.5}, best[d] = {0}, sigma = 0.7, t = 0.6;
  const double x[] = {t, 0, 0}, scale = A[0] * t * t + sigma * sigma;
  const double moving[] = {A[0] * A[0] * t * t + scale * A[0], scale * A[1], scale * A[2]};
  const double optimum[] = {sigma * sigma * A[0], sigma * sigma * A[1], sigma * sigma * A[2]};
  double      *a, *y;
  PetscInt     N;
  Problem      p = NewLandscape(PETSC_COMM_WORLD, "");

  (void)state;
  NewGaussianData(d, L, best, sigma, &N, &a, &y);
  OK(CkLossSetLinearRegression(p.loss, d, N, a, y));
  OK(PetscFree(a));
  OK(PetscFree(y));
  FinishProblem(&p);
  AssertSpectrum(&p, d, optimum, 0); /* x = x*: D = sigma^2 H */
  SetPoint(&p, x);
  AssertSpectrum(&p, d, moving, 0);
  FreeProblem(&p);
}

/* f_k = x'Hx/2 + xi_k.x with xi = +-c_i e_i has D = diag(c_i^2)/d, with multiple eigenvalues, far from the minimum too.
 */
static void multiple_eigenvalues(void **state)
{
  enum { d = 30, N = 60 };
  double  H[d * d] = {0}, xi[N * d] = {0}, exact[d], x[d], mean = 0;
  Problem p = NewLandscape(PETSC_COMM_WORLD, "");

  (void)state;
  for (int i = 0; i < d; ++i) {
    const double c = 1 + (d - 1 - i) / 10; /* 3 ten times, 2 ten times, 1 ten times */

    H[i * d + i] = 1 + i;
    x[i] = 0.1;
    mean += x[i] * H[i * d + i] * x[i] * H[i * d + i];
    xi[2 * i * d + i] = c;
    xi[(2 * i + 1) * d + i] = -c;
    exact[i] = c * c / d;
  }
  OK(CkLossSetQuadratic(p.loss, d, N, H, xi));
  FinishProblem(&p);
  SetPoint(&p, x);
  AssertSpectrum(&p, d, exact, mean);
  FreeProblem(&p);
}

/* All gradients equal: D = 0, by every route. */
static void equal_gradients(void **state)
{
  const double         H[] = {2, 1, 1, 3}, xi[] = {1, -1, 1, -1, 1, -1}, exact[] = {0, 0};
  CkSpectrumStatistics s;
  Problem              p = NewLandscape(PETSC_COMM_WORLD, "");

  (void)state;
  OK(CkLossSetQuadratic(p.loss, 2, 3, H, xi));
  FinishProblem(&p);
  AssertSpectrum(&p, 2, exact, 2);
  OK(CkSpectrumGetStatistics(p.spectrum, &s));
  assert_int_equal(s.rank_float32, 0);
  FreeProblem(&p);
}

/* One weight: D is a number. One sample has no D, but a second moment, g^2 = 1. */
static void smallest_sizes(void **state)
{
  const double h[] = {1}, xi[] = {1, 2, 6}, exact[] = {14. / 3}, square[] = {1};
  Problem      p = NewLandscape(PETSC_COMM_WORLD, ""), q = NewLandscape(PETSC_COMM_WORLD, "");

  (void)state;
  OK(CkLossSetQuadratic(p.loss, 1, 3, h, xi));
  FinishProblem(&p);
  AssertSpectrum(&p, 1, exact, 0);
  FreeProblem(&p);
  OK(CkLossSetQuadratic(q.loss, 1, 1, h, xi));
  FinishProblem(&q);
  assert_message(CkSpectrumSolve(q.spectrum), "at least 2 samples", "-noise_centred false");
  OK(CkDiffusionSetCentred(q.D, PETSC_FALSE));
  AssertSpectrum(&q, 1, square, 1);
  FreeProblem(&q);
}

/* auto takes the smaller complete matrix. */
static void auto_chooses_by_size(void **state)
{
  const double     xi[] = {1, 2, 3, 4, 5, 7}, H[9] = {1, 0, 0, 0, 1, 0, 0, 0, 1};
  CkSpectrumMethod method;
  Problem          p = NewLandscape(PETSC_COMM_WORLD, ""), q = NewLandscape(PETSC_COMM_WORLD, "");

  (void)state;
  OK(CkLossSetQuadratic(p.loss, 3, 2, H, xi));
  FinishProblem(&p);
  OK(CkSpectrumSolve(p.spectrum));
  OK(CkSpectrumGetMethod(p.spectrum, &method));
  assert_int_equal(method, CK_SPECTRUM_GRAM);
  FreeProblem(&p);
  OK(CkLossSetQuadratic(q.loss, 1, 6, H, xi));
  FinishProblem(&q);
  OK(CkSpectrumSolve(q.spectrum));
  OK(CkSpectrumGetMethod(q.spectrum, &method));
  assert_int_equal(method, CK_SPECTRUM_DENSE);
  FreeProblem(&q);
}

/* With -noise_centred false the mean gradient stays in: one more direction. */
static void second_moment(void **state)
{
  const double a[] = {1, 0, 0, 1, 1, 1}, y[] = {0, 0, 1}, exact[] = {2. / 3, 0}; /* g = 0, 0, (-1,-1) */
  Problem      p = NewLandscape(PETSC_COMM_WORLD, "-noise_centred false");

  (void)state;
  OK(CkLossSetLinearRegression(p.loss, 2, 3, a, y));
  FinishProblem(&p);
  AssertSpectrum(&p, 2, exact, 0);
  FreeProblem(&p);
}

static const struct CMUnitTest tests[] = {
  cmocka_unit_test(three_regression_data),
  cmocka_unit_test(two_weights_have_rank_one),
  cmocka_unit_test(least_squares_of_gaussian_moments),
  cmocka_unit_test(multiple_eigenvalues),
  cmocka_unit_test(equal_gradients),
  cmocka_unit_test(smallest_sizes),
  cmocka_unit_test(auto_chooses_by_size),
  cmocka_unit_test(second_moment),
};

CK_TEST_MAIN(tests, SlepcInitialize, SlepcFinalize)
