/* Moments of ensembles of replicas against closed forms, within three standard errors at fixed seeds: T7, T8, T9, T11,
   T13 of the theory; equations (C.2), (N.6). */
#include "gaussian.h"
#include "landscape.h"

enum { MOST = 3 }; /* most weights */

/* Mean and covariance [d x d] of n points, from the mean of z z', z = point - centre. */
static void moments(PetscInt n, PetscInt d, const double x[], double mean[], double covariance[])
{
  memset(mean, 0, (size_t)d * sizeof(double));
  memset(covariance, 0, (size_t)(d * d) * sizeof(double));
  for (PetscInt r = 0; r < n; ++r)
    for (PetscInt i = 0; i < d; ++i) mean[i] += x[r * d + i] / (double)n;
  for (PetscInt r = 0; r < n; ++r)
    for (PetscInt i = 0; i < d * d; ++i)
      covariance[i] += (x[r * d + i / d] - mean[i / d]) * (x[r * d + i % d] - mean[i % d]) / (double)(n - 1);
}

/* Within three standard errors of a Gaussian law; slack: what the law is known to differ by, relative to its spread. */
static void assert_law(PetscInt n, PetscInt d, const double x[], const double m[], const double S[], double slack)
{
  double mean[MOST], covariance[MOST * MOST];

  moments(n, d, x, mean, covariance);
  for (PetscInt i = 0; i < d; ++i) {
    assert_close(mean[i], m[i], 3 / sqrt((double)n) + slack, sqrt(S[i * d + i]));
    for (PetscInt j = 0; j < d; ++j) {
      const double spread = sqrt(S[i * d + i] * S[j * d + j] + S[i * d + j] * S[i * d + j]);

      assert_close(covariance[i * d + j], S[i * d + j], 3 / sqrt((double)n) + slack, spread);
    }
  }
}

/* m <- m - step grad f(m), S <- K S K' + noise D, K = 1 - step H, on the quadratic of landscape.h. */
static void advance(double step, double noise, const double D0[], double m[], double S[])
{
  double xi[N * D], g[D], half[D * D] = {0}, K[D * D];

  draw_xi(N, xi);
  gradient(N, NULL, xi, m, g);
  for (int i = 0; i < D; ++i) m[i] -= step * g[i];
  for (int i = 0; i < D * D; ++i) K[i] = (i / D == i % D) - step * H[i];
  for (int i = 0; i < D * D; ++i)
    for (int k = 0; k < D; ++k) half[i] += K[i / D * D + k] * S[k * D + i % D];
  for (int i = 0; i < D * D; ++i) {
    S[i] = noise * D0[i];
    for (int k = 0; k < D; ++k) S[i] += half[i / D * D + k] * K[i % D * D + k];
  }
}

static void covariance_of_xi(double D0[])
{
  double xi[N * D], mean[D];

  draw_xi(N, xi);
  moments(N, D, xi, mean, D0);
  for (int i = 0; i < D * D; ++i) D0[i] *= (N - 1.) / N;
}

/* T8: m_T = K^T m_0, Sigma_T = sum_s K^s (eta^2 D/B) K^s for SGD with replacement and for its Gaussian twin, there also
 * without replacement; (N - B)/(N - 1) of the noise then. */
static void discrete_noise(void **state)
{
  enum { R = 1800, STEPS = 12 };
  const double eta = 0.1, B = 2;
  const struct {
    const char *options;
    double      share;
  } cases[] = {
    {"sgd -dynamics_replacement", 1}, {"sgd_gaussian -dynamics_replacement", 1}, {"sgd_gaussian", (N - 2.) / (N - 1)}};
  double D0[D * D], *x;

  (void)state;
  covariance_of_xi(D0);
  OK(PetscMalloc1(R * D, &x));
  for (int c = 0; c < 3; ++c) {
    char     options[256];
    double   m[D], S[D * D] = {0};
    Ensemble e;

    snprintf(options, sizeof(options),
             "-dynamics_replicas 1800 -dynamics_batch 2 -dynamics_rate 0.1 -seed 3 -dynamics_type %s",
             cases[c].options);
    e = new_ensemble(PETSC_COMM_WORLD, options);
    memcpy(m, x0, sizeof(m));
    for (int k = 0; k < STEPS; ++k) {
      OK(CkDynamicsStep(e.dynamics));
      advance(eta, cases[c].share * eta * eta / B, D0, m, S);
    }
    get_points(&e, x);
    assert_law(R, D, x, m, S, 0);
    free_ensemble(&e);
  }
  OK(PetscFree(x));
}

/* T7: the Ornstein-Uhlenbeck law of the SDE, m' = -H (m - x*), S' = -H S - S H + 2D/beta, from fine steps of Euler's
 * rule (1/100 of the ensemble's). The ensemble's own steps change it by less than dt |H|/2 = 1.1%. */
static void ornstein_uhlenbeck(void **state)
{
  enum { R = 1800, STEPS = 60, FINE = 100 };
  const double eta = 0.2, B = 2, dt = 0.005, beta = 2 * B / eta;
  double       D0[D * D], m[D], S[D * D] = {0}, *x;
  Ensemble     e = new_ensemble(PETSC_COMM_WORLD, "-dynamics_type sde -dynamics_replicas 1800 -dynamics_batch 2 "
                                                      "-dynamics_rate 0.2 -dynamics_dt 0.005 -seed 3");

  (void)state;
  covariance_of_xi(D0);
  OK(PetscMalloc1(R * D, &x));
  memcpy(m, x0, sizeof(m));
  for (int k = 1; k <= STEPS; ++k) {
    OK(CkDynamicsStep(e.dynamics));
    for (int f = 0; f < FINE; ++f) advance(dt / FINE, 2 / beta * dt / FINE, D0, m, S);
    if (k % 20) continue;
    get_points(&e, x);
    assert_law(R, D, x, m, S, 0.02); /* twice the bound on what the steps change */
  }
  OK(PetscFree(x));
  free_ensemble(&e);
}

/* Mean over replicas of a mean over time, and its standard error from the replicas. */
typedef struct {
  PetscInt n;
  double  *sums;
} Average;

static void compare_average(Average *a, PetscInt times, double expected, double most)
{
  double mean = 0, square = 0, error;

  for (PetscInt r = 0; r < a->n; ++r) mean += a->sums[r] / (double)times / (double)a->n;
  for (PetscInt r = 0; r < a->n; ++r) square += pow(a->sums[r] / (double)times - mean, 2) / (double)(a->n - 1);
  error = sqrt(square / (double)a->n);
  assert_on_all_ranks(error < most * fabs(expected)); /* precise enough to tell something */
  assert_close(mean, expected, 3, error);
}

/* T13: E x^2 about the minimum of the four data of the theory, for SGD at eta = 0.1 and for the SDE at dt = 0.02, which
 * (N.6) tells apart by 11%. */
static void multiplicative_noise(void **state)
{
  enum { R = 600 };
  const double a[] = {1, 1, 2, 2}, y[] = {1, -1, 1, -1}, start = 0, h = 2.5, A = 2.25, b = 2.5, eta = 0.1;
  const struct {
    const char *options;
    double      dt;
    int         burn, steps;
  } cases[] = {{"sgd -dynamics_replacement", 0.1, 30, 60}, {"sde -dynamics_dt 0.02", 0.02, 120, 240}};
  double *x, sums[R];

  (void)state;
  OK(PetscMalloc1(R, &x));
  for (int c = 0; c < 2; ++c) {
    char     options[256];
    Average  average = {R, sums};
    Ensemble e;

    snprintf(options, sizeof(options),
             "-dynamics_replicas 600 -dynamics_batch 1 -dynamics_rate 0.1 -seed 8 -dynamics_type %s", cases[c].options);
    e = begin_ensemble(PETSC_COMM_WORLD, options);
    OK(CkLossSetLinearRegression(e.loss, 1, 4, a, y));
    finish_ensemble(&e, &start);
    memset(sums, 0, sizeof(sums));
    for (int k = 0; k < cases[c].burn + cases[c].steps; ++k) {
      OK(CkDynamicsStep(e.dynamics));
      if (k < cases[c].burn) continue;
      get_points(&e, x);
      for (int r = 0; r < R; ++r) sums[r] += x[r] * x[r];
    }
    compare_average(&average, cases[c].steps, eta * b / (2 * h - cases[c].dt * h * h - eta * A), 0.02);
    free_ensemble(&e);
  }
  assert_close(eta * b / (2 * h - eta * h * h - eta * A), 0.0602410, 5e-8, 1);
  assert_close(eta * b / (2 * h - eta * A), 0.0523560, 5e-8, 1);
  OK(PetscFree(x));
}

/* T11: (C.2), least squares with Gaussian inputs of covariance 1 in three dimensions. */
static void gaussian_least_squares(void **state)
{
  enum { R = 300, BURN = 60, STEPS = 60 };
  const double L[] = {1, 0, 0, 0, 1, 0, 0, 0, 1}, best[] = {1, -2, 0.5}, expected = 0.01441176;
  double      *x, *a, *y, sums[R] = {0};
  PetscInt     n;
  Average      average = {R, sums};
  Ensemble     e = begin_ensemble(PETSC_COMM_WORLD, "-dynamics_replicas 300 -dynamics_batch 2 -dynamics_rate 0.1 "
                                                        "-dynamics_replacement -seed 8");

  (void)state;
  OK(PetscMalloc1(R * 3, &x));
  NewGaussianData(3, L, best, 0.7, &n, &a, &y);
  OK(CkLossSetLinearRegression(e.loss, 3, n, a, y));
  finish_ensemble(&e, best);
  for (int k = 0; k < BURN + STEPS; ++k) {
    OK(CkDynamicsStep(e.dynamics));
    if (k < BURN) continue;
    get_points(&e, x);
    for (int r = 0; r < R; ++r)
      for (int i = 0; i < 3; ++i) sums[r] += pow(x[3 * r + i] - best[i], 2) / 3;
  }
  compare_average(&average, STEPS, expected, 0.02);
  OK(PetscFree(x));
  OK(PetscFree(a));
  OK(PetscFree(y));
  free_ensemble(&e);
}

/* T9: H = diag(1, 4), D = [[1, 0.5], [0.5, 1]], B = 1, eta = 0.05: < x_0 dx_1 - x_1 dx_0 > is -7.8125e-4 a step of SGD
 * and of its Gaussian twin, whose noise has no third moment; two coordinates whose curvatures are equal do not turn. */
static void circulation(void **state)
{
  enum { R = 400, BURN = 100, STEPS = 300 };
  const double c[2][2] = {{1, 0.5}, {0, sqrt(0.75)}}, start[2] = {0, 0}; /* D = c_0 c_0' + c_1 c_1' */
  double       xi[8], *x, *last, sums[R];

  (void)state;
  for (int k = 0; k < 4; ++k)
    for (int i = 0; i < 2; ++i) xi[2 * k + i] = (k % 2 ? -1 : 1) * sqrt(2) * c[k / 2][i];
  OK(PetscMalloc2(R * 2, &x, R * 2, &last));
  for (int equal = 0; equal < 2; ++equal) {
    const double curvature[] = {1, 0, 0, equal ? 1 : 4};
    Average      average = {R, sums};
    Ensemble     e =
      begin_ensemble(PETSC_COMM_WORLD, equal ? "-dynamics_replicas 400 -dynamics_batch 1 -dynamics_rate 0.05 -seed 8 "
                                               "-dynamics_replacement"
                                             : "-dynamics_replicas 400 -dynamics_batch 1 -dynamics_rate 0.05 -seed 8 "
                                               "-dynamics_type sgd_gaussian -dynamics_replacement");

    OK(CkLossSetQuadratic(e.loss, 2, 4, curvature, xi));
    finish_ensemble(&e, start);
    memset(sums, 0, sizeof(sums));
    for (int k = 0; k < BURN + STEPS; ++k) {
      if (k > 0) memcpy(last, x, 2 * R * sizeof(double));
      OK(CkDynamicsStep(e.dynamics));
      get_points(&e, x);
      for (int r = 0; r < R && k >= BURN; ++r) sums[r] += last[2 * r] * x[2 * r + 1] - last[2 * r + 1] * x[2 * r];
    }
    if (!equal) compare_average(&average, STEPS, -7.8125e-4, 0.1);
    else {
      double mean = 0, square = 0;

      for (int r = 0; r < R; ++r) mean += sums[r] / R;
      for (int r = 0; r < R; ++r) square += pow(sums[r] - mean, 2) / (R - 1);
      assert_close(mean, 0, 3 / sqrt(R), sqrt(square));
    }
    free_ensemble(&e);
  }
  OK(PetscFree2(x, last));
}

static const struct CMUnitTest tests[] = {
  cmocka_unit_test(discrete_noise),       cmocka_unit_test(ornstein_uhlenbeck),
  cmocka_unit_test(multiplicative_noise), cmocka_unit_test(gaussian_least_squares),
  cmocka_unit_test(circulation),
};

CK_TEST_MAIN(tests, PetscInitialize, PetscFinalize)
