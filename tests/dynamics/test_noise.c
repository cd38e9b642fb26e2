/* One update of gd, sde, sgd_gaussian and sgld against the equations, with gradients and square roots of D formed here
   sample by sample. */
#include "landscape.h"

enum { ROWS = 7 };

static const double rows[ROWS * D] = {1, 0, 2, -1, 1, 0.5, 0.3, 2, 1, 0, -1, 1, 2, 1, -1, 0.5, 0.5, 0, -2, 0.1, 1};
static const double targets[ROWS] = {0.5, 1, -1, 2, 0, 0.3, -0.7};

/* Least squares, whose D depends on x, and dynamics on it at x0. */
static void create_regression(MPI_Comm comm, const char options[], CkLoss *loss, CkDynamics *dynamics)
{
  OK(CkLossRegisterOptions());
  OK(CkDynamicsRegisterOptions());
  OK(PetscOptionsClear(NULL));
  OK(PetscOptionsInsertString(NULL, options));
  OK(CkOptionsCheck());
  OK(CkLossCreate(comm, loss));
  OK(CkLossSetFromOptions(*loss));
  OK(CkLossSetLinearRegression(*loss, D, ROWS, rows, targets));
  OK(CkLossSetUp(*loss));
  set_point(*loss, x0);
  OK(CkDynamicsCreate(*loss, NULL, dynamics));
  OK(CkDynamicsSetFromOptions(*dynamics));
}

/* G [ROWS x D] at x and its mean. */
static void regression_gradients(const double x[], double G[], double mean[])
{
  memset(mean, 0, D * sizeof(double));
  for (int k = 0; k < ROWS; ++k) {
    double r = -targets[k];

    for (int i = 0; i < D; ++i) r += rows[k * D + i] * x[i];
    for (int i = 0; i < D; ++i) {
      G[k * D + i] = r * rows[k * D + i];
      mean[i] += G[k * D + i] / ROWS;
    }
  }
}

/* noise = ROWS^-1/2 sum_k z_k (g_k - mean) at x, with the normals of an update. */
static void square_root(const double x[], uint64_t step, double noise[])
{
  const CkRandom stream = {.seed = 4, .purpose = CK_RANDOM_NOISE, .replica = 0, .step = step};
  double         G[ROWS * D], mean[D], z[ROWS];

  regression_gradients(x, G, mean);
  CkRandomNormals(&stream, 0, ROWS, z);
  for (int i = 0; i < D; ++i) {
    noise[i] = 0;
    for (int k = 0; k < ROWS; ++k) noise[i] += z[k] * (G[k * D + i] - mean[i]) / sqrt(ROWS);
  }
}

/* x <- x - step (grad f + l2 x) - amplitude sqrt(D(origin)) z */
static void move(double x[], double step, double l2, double amplitude, const double origin[], uint64_t update)
{
  double G[ROWS * D], mean[D], noise[D];

  regression_gradients(x, G, mean);
  square_root(origin, update, noise);
  for (int i = 0; i < D; ++i) x[i] -= step * (mean[i] + l2 * x[i]) + amplitude * noise[i];
}

/* (N.4): Euler and Maruyama with its own time step, D at every update or at every third. */
static void sde(void **state)
{
  const struct {
    const char *options;
    double      dt, l2;
    int         refresh;
  } cases[] = {{"", 0.03, 0, 1},
               {"-dynamics_dt 0.01 -dynamics_l2 0.2", 0.01, 0.2, 1},
               {"-dynamics_dt 0.02 -dynamics_refresh 3", 0.02, 0, 3}};

  (void)state;
  for (size_t c = 0; c < sizeof(cases) / sizeof(cases[0]); ++c) {
    double     x[D], origin[D], time;
    char       options[256];
    CkLoss     loss;
    CkDynamics dynamics;

    snprintf(options, sizeof(options),
             "-dynamics_type sde -dynamics_rate 0.03 -dynamics_batch 2 -seed 4 -loss_sum_block 2 %s", cases[c].options);
    create_regression(PETSC_COMM_WORLD, options, &loss, &dynamics);
    memcpy(x, x0, sizeof(x));
    for (int k = 0; k < 10; ++k) { /* two ragged ends among them, which change nothing */
      if (k % cases[c].refresh == 0) memcpy(origin, x, sizeof(x));
      move(x, cases[c].dt, cases[c].l2, sqrt(0.03 / 2 * cases[c].dt), origin, (uint64_t)k);
      OK(CkDynamicsStep(dynamics));
      compare(loss, x, 1e-13);
    }
    OK(CkDynamicsGetTime(dynamics, &time));
    assert_close(time, 10 * cases[c].dt, 1e-14, 1);
    destroy(&loss, &dynamics);
  }
}

/* (N.3): covariance (N - B)/(B (N - 1)) D without replacement, D/B with, B the size of each batch; momentum works on
 * the sum of gradient and noise. */
static void sgd_gaussian(void **state)
{
  (void)state;
  for (int replacement = 0; replacement < 2; ++replacement) {
    double     x[D], v[D] = {0};
    CkLoss     loss;
    CkDynamics dynamics;

    create_regression(PETSC_COMM_WORLD,
                      replacement ? "-dynamics_type sgd_gaussian -dynamics_rate 0.03 -dynamics_batch 3 -seed 4 "
                                    "-dynamics_momentum 0.5 -dynamics_replacement"
                                  : "-dynamics_type sgd_gaussian -dynamics_rate 0.03 -dynamics_batch 3 -seed 4 "
                                    "-dynamics_momentum 0.5",
                      &loss, &dynamics);
    memcpy(x, x0, sizeof(x));
    for (int k = 0; k < 8; ++k) {
      const double B = k % 3 == 2 ? 1 : 3, share = replacement ? 1 / B : (ROWS - B) / (B * (ROWS - 1));
      double       before[D];

      memcpy(before, x, sizeof(x));
      move(x, 0.03, 0, 0.03 * sqrt(share), before, (uint64_t)k);
      for (int i = 0; i < D; ++i) { /* what a plain update does is rate g */
        v[i] = 0.5 * v[i] + (before[i] - x[i]);
        x[i] = before[i] - v[i];
      }
      OK(CkDynamicsStep(dynamics));
      compare(loss, x, 1e-13);
    }
    destroy(&loss, &dynamics);
  }
}

/* A time step of eta makes the SDE the SGD with Gaussian noise, to the last bit. */
static void one_step_of_the_sde_is_gaussian_sgd(void **state)
{
  const double *x, *y;
  CkLoss        a, b;
  CkDynamics    sde_run, gaussian;

  (void)state;
  create_regression(PETSC_COMM_WORLD, "-dynamics_type sde -dynamics_batch 4 -dynamics_rate 0.0625", &a, &sde_run);
  create_regression(PETSC_COMM_WORLD,
                    "-dynamics_type sgd_gaussian -dynamics_replacement -dynamics_batch 4 -dynamics_rate 0.0625", &b,
                    &gaussian);
  OK(CkDynamicsStep(sde_run));
  OK(CkDynamicsStep(gaussian));
  OK(CkLossGetPointArray(a, &x));
  OK(CkLossGetPointArray(b, &y));
  assert_on_all_ranks(memcmp(x, y, D * sizeof(double)) == 0 && memcmp(x, x0, D * sizeof(double)) != 0);
  destroy(&a, &sde_run);
  destroy(&b, &gaussian);
}

/* (N.5): weight i of update k takes normal number i of the stream of k; the gradient is that of the batch. */
static void sgld(void **state)
{
  const double rate = 0.02, T = 0.3, l2 = 0.1;
  double       xi[N * D], x[D], g[D];
  CkLoss       loss;
  CkDynamics   dynamics;

  (void)state;
  create(PETSC_COMM_WORLD, N,
         "-dynamics_type sgld -dynamics_rate 0.02 -dynamics_temperature 0.3 -dynamics_l2 0.1 -dynamics_batch 4 -seed 4",
         &loss, &dynamics);
  draw_xi(N, xi);
  memcpy(x, x0, sizeof(x));
  for (PetscInt k = 0; k < 7; ++k) {
    const CkRandom shuffle = {.seed = 4, .purpose = CK_RANDOM_SHUFFLE, .replica = 0, .step = (uint64_t)(k / 3)};
    const CkRandom noise = {.seed = 4, .purpose = CK_RANDOM_NOISE, .replica = 0, .step = (uint64_t)k};
    const PetscInt at = k % 3 * 4;
    PetscInt       order[N];
    double         z[D];

    OK(CkRandomPermutation(&shuffle, N, order));
    CkRandomNormals(&noise, 0, D, z);
    gradient(PetscMin(4, N - at), order + at, xi, x, g);
    for (int i = 0; i < D; ++i) x[i] += sqrt(2 * rate * T) * z[i] - rate * (g[i] + l2 * x[i]);
    OK(CkDynamicsStep(dynamics));
    compare(loss, x, 1e-13);
  }
  destroy(&loss, &dynamics);
}

/* T8 without noise: x_T - x* = K^T (x_0 - x*), K = 1 - eta H; an epoch is one update. */
static void gd(void **state)
{
  double     xi[N * D], x[D], g[D];
  PetscInt   batch, updates, epoch;
  CkLoss     loss;
  CkDynamics dynamics;

  (void)state;
  create(PETSC_COMM_WORLD, N, "-dynamics_type gd -dynamics_rate 0.1 -dynamics_epochs 25", &loss, &dynamics);
  draw_xi(N, xi);
  memcpy(x, x0, sizeof(x));
  OK(CkDynamicsRun(dynamics));
  OK(CkDynamicsGetBatches(dynamics, &batch, &updates));
  OK(CkDynamicsGetProgress(dynamics, &epoch, NULL, NULL));
  assert_on_all_ranks(batch == N && updates == 1 && epoch == 25);
  for (int k = 0; k < 25; ++k) {
    gradient(N, NULL, xi, x, g);
    for (int i = 0; i < D; ++i) x[i] -= 0.1 * g[i];
  }
  compare(loss, x, 1e-13);
  destroy(&loss, &dynamics);
}

/* Gradient flow against the classical method of Runge and Kutta in 100 steps a unit of 0.1: errors of 1e-13. */
static void ode(void **state)
{
  double     xi[N * D], x[D];
  CkLoss     loss;
  CkDynamics dynamics;

  (void)state;
  create(PETSC_COMM_WORLD, N,
         "-dynamics_type ode -dynamics_dt 0.1 -dynamics_l2 0.2 -ts_rtol 1e-11 -ts_atol 1e-12 -dynamics_epochs 6", &loss,
         &dynamics);
  draw_xi(N, xi);
  memcpy(x, x0, sizeof(x));
  for (int k = 0; k < 6; ++k) {
    for (int f = 0; f < 100; ++f) {
      const double h = 1e-3, at[] = {0, h / 2, h / 2, h}, weight[] = {h / 6, h / 3, h / 3, h / 6};
      double       slope[D] = {0}, y[D], sum[D] = {0};

      for (int stage = 0; stage < 4; ++stage) {
        for (int i = 0; i < D; ++i) y[i] = x[i] - at[stage] * slope[i];
        gradient(N, NULL, xi, y, slope);
        for (int i = 0; i < D; ++i) {
          slope[i] += 0.2 * y[i];
          sum[i] += weight[stage] * slope[i];
        }
      }
      for (int i = 0; i < D; ++i) x[i] -= sum[i];
    }
    OK(CkDynamicsStep(dynamics));
    compare(loss, x, 1e-9);
  }
  destroy(&loss, &dynamics);

  /* a first step that is not accurate enough and may not be tried again */
  create(PETSC_COMM_WORLD, N,
         "-dynamics_type ode -dynamics_dt 1 -ts_dt 0.5 -ts_max_reject 0 -ts_rtol 1e-13 -ts_atol 1e-13", &loss,
         &dynamics);
  assert_message(CkDynamicsStep(dynamics), "the integrator gave up", "-ts_rtol");
  destroy(&loss, &dynamics);
}

/* The same bits for one rank and for all. */
static void same_bits_on_any_number_of_ranks(void **state)
{
  const char *const options[] = {
    "-dynamics_type gd -dynamics_momentum 0.9", "-dynamics_type sde -dynamics_batch 2 -dynamics_dt 0.01",
    "-dynamics_type sde -dynamics_batch 2 -dynamics_refresh 4",
    "-dynamics_type sgd_gaussian -dynamics_batch 3 -dynamics_momentum 0.9 -dynamics_nesterov",
    "-dynamics_type sgld -dynamics_batch 3 -dynamics_temperature 0.1"};

  (void)state;
  for (size_t o = 0; o < sizeof(options) / sizeof(options[0]); ++o) {
    char          text[256];
    const double *x, *y;
    CkLoss        alone, together;
    CkDynamics    one, all;

    snprintf(text, sizeof(text), "-dynamics_rate 0.03 -loss_sum_block 1 %s", options[o]);
    create_regression(PETSC_COMM_SELF, text, &alone, &one);
    create_regression(PETSC_COMM_WORLD, text, &together, &all);
    for (int k = 0; k < 12; ++k) {
      OK(CkDynamicsStep(one));
      OK(CkDynamicsStep(all));
      OK(CkLossGetPointArray(alone, &x));
      OK(CkLossGetPointArray(together, &y));
      assert_on_all_ranks(memcmp(x, y, D * sizeof(double)) == 0);
    }
    destroy(&alone, &one);
    destroy(&together, &all);
  }
}

static void refusals(void **state)
{
  (void)state;
  assert_refused("-dynamics_type sgld", "-dynamics_temperature", "sgld");
  assert_refused("-dynamics_type gd -dynamics_batch 5", "-dynamics_batch has no effect", "sgd_gaussian");
  assert_refused("-dynamics_type sde -dynamics_momentum 0.9", "-dynamics_momentum has no effect", "sgd");
  assert_refused("-dynamics_type sde -dynamics_mode training", "-dynamics_mode has no effect", "sgld");
  assert_refused("-dynamics_type sde -dynamics_replacement", "-dynamics_replacement has no effect", "sgd_gaussian");
  assert_refused("-dynamics_type sgd_gaussian -dynamics_refresh 3", "-dynamics_refresh has no effect", "sde");
}

static const struct CMUnitTest tests[] = {
  cmocka_unit_test(gd),
  cmocka_unit_test(ode),
  cmocka_unit_test(sde),
  cmocka_unit_test(sgd_gaussian),
  cmocka_unit_test(one_step_of_the_sde_is_gaussian_sgd),
  cmocka_unit_test(sgld),
  cmocka_unit_test(same_bits_on_any_number_of_ranks),
  cmocka_unit_test(refusals),
};

CK_TEST_MAIN(tests, PetscInitialize, PetscFinalize)
