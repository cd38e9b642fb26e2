#include "landscape.h"
#include <float.h>
#include <stdlib.h>

/* Stochastic gradient descent on landscapes, where the path is known in closed form. */

/* Statistics of many short runs say nothing about ranks. */
static void only_on_one_rank(void)
{
  int size;

  MPI_Comm_size(PETSC_COMM_WORLD, &size);
  if (size > 1) skip();
}

/* Full batch: x_{t+1} = (1 + mu)(1 - eta H) x_t - mu (1 - eta H) x_{t-1} (Nesterov) or, without it, x_{t+1} =
 * (1 + mu - eta H) x_t - mu x_{t-1}, about the minimum: two-term recurrences that know no velocity. With mu = 0 both
 * are K^t x_0, K = 1 - eta H (T8). Weight decay adds l2 to H. */
static void full_batch_recurrences(void **state)
{
  const struct {
    double      mu, l2;
    int         nesterov;
    const char *options;
  } cases[] = {{0, 0, 0, ""},
               {0.9, 0, 0, "-dynamics_momentum 0.9"},
               {0.9, 0, 1, "-dynamics_momentum 0.9 -dynamics_nesterov"},
               {0.5, 0.3, 0, "-dynamics_momentum 0.5 -dynamics_l2 0.3"},
               {0.5, 0.3, 1, "-dynamics_momentum 0.5 -dynamics_nesterov -dynamics_l2 0.3"}};
  const double eta = 0.05;
  double       xi[N * D];

  (void)state;
  draw_xi(N, xi);
  for (size_t c = 0; c < sizeof(cases) / sizeof(cases[0]); ++c) {
    const double mu = cases[c].mu;
    double       last[D] = {0}, now[D], next[D], g[D], g_last[D] = {0};
    char         options[256];
    CkLoss       loss;
    CkDynamics   dynamics;

    snprintf(options, sizeof(options), "-dynamics_batch 0 -dynamics_rate 0.05 -dynamics_epochs 1000 %s",
             cases[c].options);
    create(PETSC_COMM_WORLD, N, options, &loss, &dynamics);
    memcpy(now, x0, sizeof(now));
    for (int t = 0; t < 40; ++t) {
      gradient(N, NULL, xi, now, g);
      for (int i = 0; i < D; ++i) {
        g[i] += cases[c].l2 * now[i];
        if (t == 0) next[i] = now[i] - eta * (1 + (cases[c].nesterov ? mu : 0)) * g[i];
        else if (cases[c].nesterov)
          next[i] = now[i] - eta * (1 + mu) * g[i] + mu * (now[i] - last[i]) + mu * eta * g_last[i];
        else next[i] = now[i] - eta * g[i] + mu * (now[i] - last[i]);
      }
      memcpy(last, now, sizeof(now));
      memcpy(now, next, sizeof(now));
      memcpy(g_last, g, sizeof(g));
      OK(CkDynamicsStep(dynamics));
      compare(loss, now, 1e-13);
    }
    destroy(&loss, &dynamics);
  }
}

/* Minibatches: the permutation of each epoch is that of the stream (seed, shuffle, epoch), its last piece is ragged,
 * the rate falls after epochs 2 and 3. */
static void minibatches_without_replacement(void **state)
{
  const int  batch = 4, epochs = 5;
  double     xi[N * D], x[D], v[D] = {0}, g[D];
  PetscInt   order[N], epoch, total, step;
  CkLoss     loss;
  CkDynamics dynamics;

  (void)state;
  draw_xi(N, xi);
  create(PETSC_COMM_WORLD, N,
         "-dynamics_batch 4 -dynamics_rate 0.08 -dynamics_epochs 5 -dynamics_momentum 0.7 -dynamics_schedule step "
         "-dynamics_steps 2,3 -dynamics_factor 0.5 -seed 77 -loss_sum_block 1",
         &loss, &dynamics);
  memcpy(x, x0, sizeof(x));
  for (int e = 0; e < epochs; ++e) {
    const CkRandom stream = {.seed = 77, .purpose = CK_RANDOM_SHUFFLE, .replica = 0, .step = (uint64_t)e};
    const double   rate = 0.08 * (e >= 2 ? 0.5 : 1) * (e >= 3 ? 0.5 : 1);

    OK(CkRandomPermutation(&stream, N, order));
    for (int at = 0; at < N; at += batch) {
      gradient(PetscMin(batch, N - at), order + at, xi, x, g);
      for (int i = 0; i < D; ++i) {
        v[i] = 0.7 * v[i] + g[i];
        x[i] -= rate * v[i];
      }
      OK(CkDynamicsStep(dynamics));
      compare(loss, x, 1e-13);
    }
    OK(CkDynamicsGetProgress(dynamics, &epoch, &total, &step));
    assert_on_all_ranks(epoch == e + 1 && total == epochs && step == 3 * (e + 1));
  }
  destroy(&loss, &dynamics);
}

/* One order for all epochs is that of the first; or there is none but that of the data. */
static void orders_of_samples(void **state)
{
  (void)state;
  for (int never = 0; never < 2; ++never) {
    const CkRandom stream = {.seed = 77, .purpose = CK_RANDOM_SHUFFLE, .replica = 0, .step = 0};
    double         xi[N * D], x[D], g[D];
    PetscInt       order[N];
    CkLoss         loss;
    CkDynamics     dynamics;

    draw_xi(N, xi);
    OK(CkRandomPermutation(&stream, N, order));
    for (PetscInt k = 0; never && k < N; ++k) order[k] = k;
    create(PETSC_COMM_WORLD, N,
           never ? "-dynamics_batch 4 -dynamics_rate 0.08 -dynamics_shuffle never -seed 77"
                 : "-dynamics_batch 4 -dynamics_rate 0.08 -dynamics_shuffle once -seed 77",
           &loss, &dynamics);
    memcpy(x, x0, sizeof(x));
    for (int k = 0; k < 12; ++k) {
      const int at = k % 3 * 4;

      gradient(PetscMin(4, N - at), order + at, xi, x, g);
      for (int i = 0; i < D; ++i) x[i] -= 0.08 * g[i];
      OK(CkDynamicsStep(dynamics));
      compare(loss, x, 1e-13);
    }
    destroy(&loss, &dynamics);
  }
  assert_refused("-dynamics_shuffle once -dynamics_replacement", "-dynamics_shuffle", "-dynamics_replacement");
  assert_refused("-dynamics_shuffle once -dynamics_type sde", "-dynamics_shuffle has no effect", "sgld");
}

/* T28: from one point, one update with batches of two out of four samples: each of the six pairs is met equally often
 * without replacement (chi square with 5 degrees of freedom below 36: p = 1e-6); with it each of the 16 ordered draws
 * (15 degrees: 58). */
static void batches_are_uniform(void **state)
{
  const int trials = 2400;

  (void)state;
  only_on_one_rank();
  for (int replacement = 0; replacement <= 1; ++replacement) {
    double hits[4][4] = {{0}}, xi[4 * D], chi = 0;

    draw_xi(4, xi);
    for (int seed = 0; seed < trials; ++seed) {
      const double *x;
      double        best = INFINITY;
      int           found[2] = {0, 0};
      char          options[256];
      CkLoss        loss;
      CkDynamics    dynamics;

      snprintf(options, sizeof(options), "-dynamics_batch 2 -dynamics_rate 1 -seed %d -dynamics_replacement %d", seed,
               replacement);
      create(PETSC_COMM_SELF, 4, options, &loss, &dynamics);
      OK(CkDynamicsStep(dynamics));
      OK(CkLossGetPointArray(loss, &x));
      for (int a = 0; a < 4; ++a) { /* which pair moves x0 here? */
        for (int b = a; b < 4; ++b) {
          const PetscInt pair[2] = {a, b};
          double         g[D], distance = 0;

          gradient(2, pair, xi, x0, g);
          for (int i = 0; i < D; ++i) distance += pow(x0[i] - g[i] - x[i], 2);
          if (distance >= best) continue;
          best = distance;
          found[0] = a;
          found[1] = b;
        }
      }
      assert_on_all_ranks(best < 1e-24);
      hits[found[0]][found[1]] += 1;
      destroy(&loss, &dynamics);
    }
    for (int a = 0; a < 4; ++a) {
      for (int b = a; b < 4; ++b) {
        const double expected = trials * (replacement ? (a == b ? 1 / 16. : 2 / 16.) : (a == b ? 0 : 1 / 6.));

        if (expected > 0) chi += pow(hits[a][b] - expected, 2) / expected;
        else assert_on_all_ranks(hits[a][b] == 0);
      }
    }
    assert_on_all_ranks(chi < (replacement ? 50 : 36));
  }
}

/* T8: constant noise. After T updates from x0 the mean is K^T (x0 - x*) + x* and the covariance sum_{s<T} K^s (eta^2
 * D/B) K^s (i.i.d. batches), K = 1 - eta H; over 2000 runs each within five standard deviations of the estimates. */
static void mean_and_covariance_of_runs(void **state)
{
  enum { RUNS = 2000, STEPS = 5 };
  const double eta = 0.1, B = 2;
  double       xi[N * D], mean[D] = {0}, square[D][D] = {{0}}, expected[D], noise[D][D] = {{0}}, sigma[D][D] = {{0}};
  double       g[D], zero[D] = {0}, average[D];

  (void)state;
  only_on_one_rank();
  draw_xi(N, xi);
  gradient(N, NULL, xi, zero, average);
  memcpy(expected, x0, sizeof(expected));
  for (int i = 0; i < D; ++i)
    for (int j = 0; j < D; ++j)
      for (int k = 0; k < N; ++k)
        noise[i][j] += eta * eta / B / N * (xi[D * k + i] - average[i]) * (xi[D * k + j] - average[j]);
  for (int s = 0; s < STEPS; ++s) { /* sigma <- K sigma K + noise, mean <- mean - eta gradient */
    double half[D][D] = {{0}}, whole[D][D] = {{0}};

    for (int i = 0; i < D; ++i)
      for (int j = 0; j < D; ++j)
        for (int k = 0; k < D; ++k) half[i][j] += ((i == k) - eta * H[D * i + k]) * sigma[k][j];
    for (int i = 0; i < D; ++i)
      for (int j = 0; j < D; ++j)
        for (int k = 0; k < D; ++k) whole[i][j] += half[i][k] * ((k == j) - eta * H[D * k + j]);
    for (int i = 0; i < D; ++i)
      for (int j = 0; j < D; ++j) sigma[i][j] = whole[i][j] + noise[i][j];
    gradient(N, NULL, xi, expected, g);
    for (int i = 0; i < D; ++i) expected[i] -= eta * g[i];
  }
  for (int run = 0; run < RUNS; ++run) {
    const double *x;
    char          options[256];
    CkLoss        loss;
    CkDynamics    dynamics;

    snprintf(options, sizeof(options), "-dynamics_batch 2 -dynamics_rate 0.1 -dynamics_replacement -seed %d", run);
    create(PETSC_COMM_SELF, N, options, &loss, &dynamics);
    for (int s = 0; s < STEPS; ++s) OK(CkDynamicsStep(dynamics));
    OK(CkLossGetPointArray(loss, &x));
    for (int i = 0; i < D; ++i) {
      mean[i] += x[i] / RUNS;
      for (int j = 0; j < D; ++j) square[i][j] += (x[i] - expected[i]) * (x[j] - expected[j]) / RUNS;
    }
    destroy(&loss, &dynamics);
  }
  for (int i = 0; i < D; ++i) {
    assert_close(mean[i], expected[i], 5 / sqrt(RUNS), sqrt(sigma[i][i]));
    for (int j = 0; j < D; ++j) {
      const double spread = sqrt(sigma[i][i] * sigma[j][j] + sigma[i][j] * sigma[i][j]);

      assert_close(square[i][j], sigma[i][j], 5 / sqrt(RUNS), spread);
    }
  }
}

/* The same bits for one rank and for all. */
static void same_bits_on_any_number_of_ranks(void **state)
{
  const char   *options = "-dynamics_batch 7 -dynamics_rate 0.03 -dynamics_momentum 0.9 -dynamics_nesterov "
                          "-dynamics_l2 0.01 -loss_sum_block 2 -seed 5";
  CkLoss        alone, together;
  CkDynamics    one, all;
  const double *x, *y;

  (void)state;
  create(PETSC_COMM_SELF, N, options, &alone, &one);
  create(PETSC_COMM_WORLD, N, options, &together, &all);
  for (int t = 0; t < 30; ++t) {
    OK(CkDynamicsStep(one));
    OK(CkDynamicsStep(all));
    OK(CkLossGetPointArray(alone, &x));
    OK(CkLossGetPointArray(together, &y));
    assert_on_all_ranks(memcmp(x, y, D * sizeof(double)) == 0);
  }
  destroy(&alone, &one);
  destroy(&together, &all);
}

typedef struct {
  int           epochs, marks;
  CkEpochReport report;
  double        fractions[8];
  PetscInt      steps[8];
} Record;

static PetscErrorCode monitor(CkDynamics dynamics, const CkEpochReport *report, void *context)
{
  Record *record = (Record *)context;

  (void)dynamics;
  ++record->epochs;
  record->report = *report;
  return PETSC_SUCCESS;
}

static PetscErrorCode mark(CkDynamics dynamics, double fraction, void *context)
{
  Record *record = (Record *)context;

  record->fractions[record->marks] = fraction;
  return CkDynamicsGetProgress(dynamics, NULL, NULL, &record->steps[record->marks++]);
}

/* 4 epochs of 3 updates: marks at updates 0, round(0.4 * 12) = 5 and 12; one report an epoch, whose loss is the mean of
 * the losses met on the way. */
static void reports_and_marks(void **state)
{
  const double fractions[3] = {0, 0.4, 1};
  double       xi[N * D], x[D], g[D], met = 0;
  PetscInt     order[N];
  Record       record = {0};
  CkLoss       loss;
  CkDynamics   dynamics;

  (void)state;
  draw_xi(N, xi);
  create(PETSC_COMM_WORLD, N, "-dynamics_batch 4 -dynamics_rate 0.02 -dynamics_epochs 4", &loss, &dynamics);
  OK(CkDynamicsSetTestLoss(dynamics, loss));
  OK(CkDynamicsSetMonitor(dynamics, monitor, &record));
  OK(CkDynamicsSetMarks(dynamics, 3, fractions, mark, &record));
  OK(CkDynamicsRun(dynamics));
  assert_on_all_ranks(record.epochs == 4 && record.marks == 3);
  assert_on_all_ranks(record.steps[0] == 0 && record.steps[1] == 5 && record.steps[2] == 12);
  assert_on_all_ranks(record.fractions[0] == 0 && record.fractions[1] == 0.4 && record.fractions[2] == 1);
  assert_on_all_ranks(record.report.epoch == 4 && record.report.step == 12 && record.report.rate == 0.02);
  assert_on_all_ranks(record.report.seconds > 0);

  memcpy(x, x0, sizeof(x));
  for (int e = 0; e < 4; ++e) {
    const CkRandom stream = {.seed = 1, .purpose = CK_RANDOM_SHUFFLE, .replica = 0, .step = (uint64_t)e};

    met = 0;
    OK(CkRandomPermutation(&stream, N, order));
    for (int at = 0; at < N; at += 4) {
      gradient(PetscMin(4, N - at), order + at, xi, x, g);
      for (int k = at; k < PetscMin(at + 4, N); ++k) {
        for (int i = 0; i < D; ++i) {
          met += xi[D * order[k] + i] * x[i] / N;
          for (int j = 0; j < D; ++j) met += 0.5 * x[i] * H[D * i + j] * x[j] / N;
        }
      }
      for (int i = 0; i < D; ++i) x[i] -= 0.02 * g[i];
    }
  }
  assert_close(record.report.loss, met, 1e-13, 1);
  met = 0;
  gradient(N, NULL, xi, x, g);
  for (int i = 0; i < D; ++i) { /* f = (x'Hx/2 + xi.x), grad = Hx + xi: f = x.(grad + xi)/2 */
    double average = 0;

    for (int k = 0; k < N; ++k) average += xi[D * k + i] / N;
    met += 0.5 * x[i] * (g[i] + average);
  }
  assert_close(record.report.test_loss, met, 1e-13, 1);
  destroy(&loss, &dynamics);
}

static void bad_numbers_are_user_errors(void **state)
{
  const char *const options[] = {"-dynamics_batch 11", "-dynamics_batch 1 -dynamics_epochs 2000000000"};
  CkLoss            loss;
  CkDynamics        dynamics;

  (void)state;
  for (size_t i = 0; i < sizeof(options) / sizeof(options[0]) - (sizeof(PetscInt) > 4); ++i) { /* the last: 32 bits */
    create(PETSC_COMM_WORLD, N, options[i], &loss, &dynamics);
    assert_user_error(CkDynamicsSetUp(dynamics));
    destroy(&loss, &dynamics);
  }
  create(PETSC_COMM_WORLD, N, "", &loss, &dynamics);
  OK(CkDynamicsDestroy(&dynamics));
  OK(CkDynamicsCreate(loss, NULL, &dynamics));
  assert_user_error(CkDynamicsSetType(dynamics, "sdg"));
  destroy(&loss, &dynamics);
  assert_refused("-dynamics_nesterov", "-dynamics_nesterov", "-dynamics_momentum");
  assert_refused("-dynamics_dt 0.1", "-dynamics_dt", "sde");
  assert_refused("-dynamics_temperature 1", "-dynamics_type sgd", "sgld");
}

/* A rate above 2 / lambda_max: the weights grow until they leave the range of numbers, and the run stops there. */
static void divergence_is_a_user_error(void **state)
{
  const double  *x;
  PetscInt       step;
  PetscErrorCode ierr;
  CkLoss         loss;
  CkDynamics     dynamics;

  (void)state;
  create(PETSC_COMM_WORLD, N, "-dynamics_batch 5 -dynamics_rate 1e3 -dynamics_epochs 1000", &loss, &dynamics);
  OK(CkErrorInitialize());
  OK(PetscPushErrorHandler(PetscReturnErrorHandler, NULL));
  ierr = CkDynamicsRun(dynamics);
  OK(PetscPopErrorHandler());
  OK(PetscPopErrorHandler());
  assert_on_all_ranks(ierr && CkErrorWasCollective());
  OK(CkDynamicsGetProgress(dynamics, NULL, NULL, &step));
  assert_on_all_ranks(step > 0 && step < 2000);
  OK(CkLossGetPointArray(loss, &x));
  assert_on_all_ranks(fabs(x[2]) > 1e3);
  destroy(&loss, &dynamics);
}

static const struct CMUnitTest tests[] = {
  cmocka_unit_test(full_batch_recurrences),      cmocka_unit_test(minibatches_without_replacement),
  cmocka_unit_test(orders_of_samples),           cmocka_unit_test(batches_are_uniform),
  cmocka_unit_test(mean_and_covariance_of_runs), cmocka_unit_test(same_bits_on_any_number_of_ranks),
  cmocka_unit_test(reports_and_marks),           cmocka_unit_test(bad_numbers_are_user_errors),
  cmocka_unit_test(divergence_is_a_user_error),
};

CK_TEST_MAIN(tests, PetscInitialize, PetscFinalize)
