#include "circulation.h"
#include "prediction.h"
#include "process.h"

/* What theory expects of SGD: the numbers of H = diag(1, 4), D = [[1, .5], [.5, 1]], and simulated SGD. */

static const double H[] = {1, 0, 0, 4}, D[] = {1, 0.5, 0.5, 1};

/* beta Sigma = [[1, .2], [.2, .25]] gives Q_12 = -0.3 and F = H back, whatever the temperature. */
static void drift_from_covariance(void **state)
{
  const double temperature[] = {1, 0.01};

  (void)state;
  for (int i = 0; i < 2; ++i) {
    const double T = temperature[i], Sigma[] = {T, 0.2 * T, 0.2 * T, 0.25 * T};
    double       F[4], Q[4];

    OK(CkPredictDrift(2, Sigma, D, T, F, Q));
    for (int j = 0; j < 4; ++j) assert_close(F[j], H[j], 1e-13, 4);
    assert_close(Q[1], -0.3, 1e-14, 1);
    assert_close(Q[2], 0.3, 1e-14, 1);
  }
}

/* Stationary covariance of x' = x - eta (H x + noise of covariance D): eta D_ij / (h_i + h_j - eta h_i h_j). */
static void Stationary(double eta, double Sigma[4])
{
  for (int i = 0; i < 2; ++i)
    for (int j = 0; j < 2; ++j)
      Sigma[2 * i + j] = eta * D[2 * i + j] / (H[3 * i] + H[3 * j] - eta * H[3 * i] * H[3 * j]);
}

/* eta (H Sigma - Sigma H)_12 = -7.8125e-4 a step at eta = 0.05; the limit 2 Q / beta = eta Q / B for small eta. */
static void current_of_a_step(void **state)
{
  double    Sigma[4], A[4];
  PetscBool stable;
  CkUpdate  update = {.rate = 0.05, .momentum = 0, .steps = 1};

  (void)state;
  Stationary(0.05, Sigma);
  assert_close(Sigma[0], 0.02564103, 1e-7, 1);
  assert_close(Sigma[1], 0.00520833, 1e-7, 1);
  OK(CkPredictCurrent(2, H, Sigma, &update, A, &stable));
  assert_true(stable);
  assert_close(update.rate * A[1], -7.8125e-4, 1e-15, 1);
  assert_close(A[2], -A[1], 1e-15, 1);
  update.rate = 1e-5;
  Stationary(1e-5, Sigma);
  OK(CkPredictCurrent(2, H, Sigma, &update, A, &stable));
  assert_close(A[1] / update.rate, -0.3, 1e-4, 1);
  update.rate = 0.51; /* eta h = 2.04 */
  OK(CkPredictCurrent(2, H, Sigma, &update, A, &stable));
  assert_true(!stable && isnan(A[1]));
}

/* Simulated SGD, snapshots every 7 updates: within four bootstrap errors of both predictions, from H and from D. */
static void simulated(void **state)
{
  enum { n = 60000, steps = 7 };
  const double            eta = 0.05;
  const CkCirculationPlan plan = {.seed = 2, .draws = 400, .level = 0.01};
  const CkUpdate          update = {.rate = eta, .momentum = 0, .steps = steps};
  const double            K[] = {pow(1 - eta, steps), 0, 0, pow(1 - 4 * eta, steps)};
  double                  Sigma[4], A[4], F[4], *y;
  PetscBool               stable;
  Process                 p;
  CkBlockAreas            blocks;
  CkCirculation           c;

  (void)state;
  Stationary(eta, Sigma);
  SetProcess(&p, 2, K, Sigma);
  y = NewPaths(&p, 3, n, 1);
  OK(CkBlockAreasCreate(&(CkPaths){.n = n, .replicas = 1, .k = 2, .y = y, .dt = eta * steps}, 0, &blocks));
  OK(CkCirculationCompute(&blocks, &plan, &c));
  assert_true(c.p < 0.01);
  OK(CkPredictCurrent(2, H, blocks.covariance, &update, A, &stable));
  assert_close(c.A[1], A[1], 4, c.A_error[1]);
  OK(CkPredictDrift(2, blocks.covariance, D, eta / 2, F, NULL));
  OK(CkPredictCurrent(2, F, blocks.covariance, &update, A, &stable));
  assert_close(c.A[1], A[1], 4 * c.A_error[1] + 0.15 * fabs(A[1]), 1); /* relative error of small eta: eta h_2 / 2 */
  OK(CkCirculationDestroy(&c));
  OK(CkBlockAreasDestroy(&blocks));
  OK(PetscFree(y));
}

static const struct CMUnitTest tests[] = {cmocka_unit_test(drift_from_covariance), cmocka_unit_test(current_of_a_step),
                                          cmocka_unit_test(simulated)};

CK_TEST_MAIN(tests, PetscInitialize, PetscFinalize)
