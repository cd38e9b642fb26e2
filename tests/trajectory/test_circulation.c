#include "circulation.h"
#include "process.h"
#include <clarkia/probability.h>
#include <stdlib.h>

/* Ornstein-Uhlenbeck processes with and without circulation, and the guards around the verdict. */

static const CkCirculationPlan plan = {.seed = 1, .draws = 400, .level = 0.05};

static CkCirculation Circulation(const Process *p, uint64_t seed, PetscInt n, PetscInt replicas, double dt)
{
  double       *y = NewPaths(p, seed, n, replicas);
  const CkPaths paths = {.n = n, .replicas = replicas, .k = p->k, .y = y, .dt = dt};
  CkBlockAreas  blocks;
  CkCirculation c;

  OK(CkBlockAreasCreate(&paths, 0, &blocks));
  OK(CkCirculationCompute(&blocks, &plan, &c));
  OK(CkBlockAreasDestroy(&blocks));
  OK(PetscFree(y));
  return c;
}

/* Called circulating at the 5% level no more often than the binomial bound at 1e-4 allows, over 300 seeds; and not so
   seldom that the test would be blind. */
static void reversible_process_is_not_called_circulating(void **state)
{
  enum { seeds = 300 };
  Process  p;
  PetscInt called = 0, rotating = 0, drifting = 0;

  (void)state;
  SetOrnsteinUhlenbeck(&p, 0, 0.1);
  for (uint64_t seed = 0; seed < seeds; ++seed) {
    CkCirculation c = Circulation(&p, 1000 + seed, 4000, 1, 0.1);

    called += c.p <= 0.05;
    rotating += c.rotation_p <= 0.05;
    drifting += c.drift_p <= 0.01;
    OK(CkCirculationDestroy(&c));
  }
  assert_true(called <= CkBinomialBound(seeds, 0.05, 1e-4) && called > 0);
  assert_true(rotating <= CkBinomialBound(seeds, 0.05, 1e-4) && rotating > 0);
  /* block means of five correlation times are correlated by 5%: their scatter is that much too small */
  assert_true(drifting <= CkBinomialBound(seeds, 0.015, 1e-4));
}

/* Q_12 = -0.3: A_12 = (e^-4dt - e^-dt) Sigma_12 / dt -> -0.6; rotation |Q_12| / sqrt(det Sigma) = 0.6547 for dt -> 0;
   entropy production 0.6 is not surpassed by its lower bound. */
static void circulation_is_found_with_the_right_rotation(void **state)
{
  const double  dt = 0.02, expected = 0.2 * (exp(-4 * dt) - exp(-dt)) / dt, det = 0.21;
  Process       p;
  CkCirculation c;

  (void)state;
  SetOrnsteinUhlenbeck(&p, 0.5, dt);
  c = Circulation(&p, 5, 200000, 1, dt);
  assert_true(c.p <= 1. / 400 && c.rotation_p <= 1. / 400 && c.pair_p[1] <= 1. / 400);
  assert_true(c.drift_p > 0.001);
  assert_true(c.A[1] < 0 && c.A[2] == -c.A[1] && c.A[0] == 0 && c.A[3] == 0);
  assert_close(c.A[1], expected, 4, c.A_error[1]);
  assert_close(c.A_error[1], 0.02, 0.5, 0.02); /* seen; the currents of 4000 time units have a spread like this */
  assert_close(c.area_value[0], -c.A[1], 1e-12, 1);
  assert_close(c.rotation[0], -expected / 2 / sqrt(det), 4, c.rotation_error[0]);
  assert_true(c.rotation[0] > c.rotation_null[0]);
  assert_true(c.entropy_lower > 0 && c.entropy_lower <= c.entropy && c.entropy_lower < 0.6);
  assert_close(c.entropy, 0.4, 0.2, 1);
  OK(CkCirculationDestroy(&c));
}

/* Replicas count as more time; a fourth pair of directions that does not circulate does not hide the first. */
static void replicas_and_more_directions(void **state)
{
  const double dt = 0.05,
               K[] = {exp(-dt), 0, 0, 0, 0, exp(-4 * dt), 0, 0, 0, 0, exp(-2 * dt), 0, 0, 0, 0, exp(-3 * dt)};
  const double  Sigma[] = {1, 0.2, 0, 0, 0.2, 0.25, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1};
  Process       p;
  CkCirculation c;

  (void)state;
  SetProcess(&p, 4, K, Sigma);
  c = Circulation(&p, 9, 2000, 8, dt);
  assert_true(c.p <= 0.01 && c.pair_p[1] == c.p);
  assert_close(c.A[1], 0.2 * (exp(-4 * dt) - exp(-dt)) / dt, 4, c.A_error[1]);
  for (PetscInt i = 0; i < 4; ++i)
    for (PetscInt j = i + 1; j < 4; ++j)
      if (j > 1) assert_true(fabs(c.A[i * 4 + j]) <= 4.5 * c.A_error[i * 4 + j] && c.pair_p[i * 4 + j] > 0.001);
  assert_int_equal(c.planes, 2);
  OK(CkCirculationDestroy(&c));
}

/* A process that still moves towards its mean is told from one that stays; directions of which one is the double of
   another have no coordinates of covariance 1, and the one that moves less is named. */
static void guards(void **state)
{
  enum { n = 4000 };
  Process       p;
  double       *y;
  CkPaths       paths = {.n = n, .replicas = 1, .k = 2, .dt = 0.1};
  CkBlockAreas  blocks;
  CkCirculation c;

  (void)state;
  SetOrnsteinUhlenbeck(&p, 0, 0.1);
  y = NewPaths(&p, 11, n, 1);
  for (PetscInt t = 0; t < n; ++t) y[2 * t] += 3. * (double)t / n;
  paths.y = y;
  OK(CkBlockAreasCreate(&paths, 100, &blocks));
  assert_int_equal(blocks.count, 39);
  OK(CkCirculationCompute(&blocks, &plan, &c));
  assert_true(c.drift_p < 1e-4);
  OK(CkCirculationDestroy(&c));
  OK(CkBlockAreasDestroy(&blocks));
  for (PetscInt t = 0; t < n; ++t) y[2 * t + 1] = 2 * y[2 * t];
  OK(CkBlockAreasCreate(&paths, 100, &blocks));
  OK(CkCirculationCompute(&blocks, &plan, &c));
  assert_int_equal(c.singular, 1); /* the least eigenvector is (2, -1)/sqrt 5 */
  assert_true(c.k == 0 && !c.A && fabs(c.least) <= 1e-12 * c.largest);
  OK(CkCirculationDestroy(&c));
  OK(CkBlockAreasDestroy(&blocks));
  OK(PetscFree(y));
}

static const struct CMUnitTest tests[] = {cmocka_unit_test(reversible_process_is_not_called_circulating),
                                          cmocka_unit_test(circulation_is_found_with_the_right_rotation),
                                          cmocka_unit_test(replicas_and_more_directions), cmocka_unit_test(guards)};

CK_TEST_MAIN(tests, PetscInitialize, PetscFinalize)
