/* Wasserstein steps of independent normal weights: T20, the equations of a step on landscapes that are not quadratic,
   and a network. */
#include "landscape.h"
#include "network.h"
#include <dynamicsimpl.h>

static const double T = 0.3, tau = 0.1;

/* s of the replica chosen, on every rank. */
static void get_deviations(CkDynamics dynamics, double s[])
{
  OK(CkLossGather(dynamics->loss, dynamics->type->getdeviations(dynamics), s));
}

static PetscErrorCode keep_report(CkDynamics dynamics, const CkEpochReport *report, void *context)
{
  (void)dynamics;
  *(CkEpochReport *)context = *report;
  return PETSC_SUCCESS;
}

/* T20: s' of curvature h. */
static double shrink(double h, double s)
{
  return (s + sqrt(s * s + 4 * tau * (1 + tau * h) * T)) / (2 * (1 + tau * h));
}

/* f = sum of h_i (x_i - best_i)^2/2, up to a constant. */
enum { WEIGHTS = 7 };
static const double h[WEIGHTS] = {2, 0.25, 0.5, 1, 3, 4, 1.5}, best[WEIGHTS] = {0, 1, -1, 0.5, 2, 0, -0.25};

static void create_separate(MPI_Comm comm, const char options[], CkLoss *loss, CkDynamics *dynamics)
{
  double full[WEIGHTS * WEIGHTS] = {0}, xi[2 * WEIGHTS], start[WEIGHTS];

  for (int i = 0; i < WEIGHTS; ++i) {
    full[i * WEIGHTS + i] = h[i];
    xi[i] = 1 - h[i] * best[i];
    xi[WEIGHTS + i] = -1 - h[i] * best[i];
    start[i] = 1 - 0.5 * i;
  }
  OK(CkLossRegisterOptions());
  OK(CkDynamicsRegisterOptions());
  OK(PetscOptionsClear(NULL));
  OK(PetscOptionsInsertString(NULL, "-dynamics_type jko -dynamics_temperature 0.3 -dynamics_tolerance 1e-15 "
                                    "-dynamics_rate 0.1 -dynamics_deviation 1.5"));
  OK(PetscOptionsInsertString(NULL, options));
  OK(CkOptionsCheck());
  OK(CkLossCreate(comm, loss));
  OK(CkLossSetFromOptions(*loss));
  OK(CkLossSetQuadratic(*loss, WEIGHTS, 2, full, xi));
  OK(CkLossSetUp(*loss));
  set_point(*loss, start);
  OK(CkDynamicsCreate(*loss, NULL, dynamics));
  OK(CkDynamicsSetFromOptions(*dynamics));
}

/* T20, its number and 12 steps; f is separate, so that one pair of points is exact whatever their signs. */
static void closed_form(void **state)
{
  const char *const points[] = {"-dynamics_pairs 1", "-dynamics_pairs 2", "-dynamics_points normal -dynamics_pairs 3"};

  (void)state;
  for (int p = 0; p < 3; ++p) {
    double        m[WEIGHTS], s[WEIGHTS], found[WEIGHTS], time;
    const double *x;
    CkLoss        loss;
    CkDynamics    dynamics;

    create_separate(PETSC_COMM_WORLD, points[p], &loss, &dynamics);
    for (int i = 0; i < WEIGHTS; ++i) {
      m[i] = 1 - 0.5 * i;
      s[i] = 1.5;
    }
    for (int k = 0; k < 12; ++k) {
      OK(CkDynamicsStep(dynamics));
      OK(CkLossGetPointArray(loss, &x));
      get_deviations(dynamics, found);
      if (k == 0) assert_close(found[0], 1.26968985, 5e-9, 1);
      for (int i = 0; i < WEIGHTS; ++i) {
        m[i] = best[i] + (m[i] - best[i]) / (1 + tau * h[i]);
        s[i] = shrink(h[i], s[i]);
        assert_close(x[i], m[i], 1e-15, k + 10); /* roundings add up */
        assert_close(found[i], s[i], 1e-15, k + 10);
      }
    }
    OK(CkDynamicsGetTime(dynamics, &time));
    assert_close(time, 1.2, 1e-14, 1);
    destroy(&loss, &dynamics);
  }
}

/* F = E f - T entropy, less its value at the minimum of f. */
static double free_energy(const double m[], const double s[])
{
  double F = 0;

  for (int i = 0; i < WEIGHTS; ++i)
    F += h[i] * (pow(m[i] - best[i], 2) + s[i] * s[i]) / 2 - T * (0.5 + 0.5 * log(2 * PETSC_PI) + log(s[i]));
  return F;
}

/* F falls in each step, from narrow and from wide densities, to -T ln of the integral of exp(-f/T), where m is the
   minimum and s^2 = T/h. */
static void free_energy_falls_to_its_minimum(void **state)
{
  const char *const options[] = {"-dynamics_rate 1 -dynamics_pairs 1 -dynamics_deviation 0.01",
                                 "-dynamics_rate 1 -dynamics_pairs 1 -dynamics_deviation 30"};
  double            bottom = 0, least = 0;

  (void)state;
  for (int i = 0; i < WEIGHTS; ++i) bottom -= h[i] * best[i] * best[i] / 2;
  for (int i = 0; i < WEIGHTS; ++i) least -= T * log(2 * PETSC_PI * T / h[i]) / 2;
  for (int o = 0; o < 2; ++o) {
    double        m[WEIGHTS], s[WEIGHTS], last = PETSC_INFINITY;
    const double *x;
    CkLoss        loss;
    CkDynamics    dynamics;
    CkEpochReport report;

    create_separate(PETSC_COMM_SELF, options[o], &loss, &dynamics);
    OK(CkDynamicsSetMonitor(dynamics, keep_report, &report));
    OK(CkDynamicsSetUp(dynamics));
    for (int k = 0; k < 160; ++k) {
      double F;

      OK(CkLossGetPointArray(loss, &x));
      memcpy(m, x, sizeof(m));
      get_deviations(dynamics, s);
      F = free_energy(m, s);
      OK(CkDynamicsStep(dynamics)); /* reports what it began with */
      assert_close(report.free_energy, bottom + F, 1e-14, 1 + fabs(bottom) + fabs(F));
      assert_on_all_ranks(report.free_energy < last + (k < 50 ? 0 : 1e-13)); /* then it has arrived */
      assert_on_all_ranks(report.iterations >= 1 && report.residual <= 1e-15);
      last = report.free_energy;
    }
    assert_close(last, bottom + least, 1e-13, 10);
    for (int i = 0; i < WEIGHTS; ++i) assert_close(m[i], best[i], 1e-13, 1);
    for (int i = 0; i < WEIGHTS; ++i) assert_close(s[i], sqrt(T / h[i]), 1e-12, 1);
    destroy(&loss, &dynamics);
  }
}

/* Coupled weights: the means move as if there were no deviations, s_i by T20 with H_ii. Four pairs of signs are exact
   for three weights. */
static void coupled_quadratic(void **state)
{
  double        m[D], s[D] = {0.7, 0.7, 0.7}, next[D], found[D];
  const double *x;
  CkLoss        loss;
  CkDynamics    dynamics;

  (void)state;
  create(PETSC_COMM_WORLD, N,
         "-dynamics_type jko -dynamics_temperature 0.3 -dynamics_rate 0.1 -dynamics_deviation 0.7 -dynamics_pairs 4 "
         "-dynamics_tolerance 1e-15",
         &loss, &dynamics);
  memcpy(m, x0, sizeof(m));
  for (int k = 0; k < 12; ++k) {
    OK(CkDynamicsStep(dynamics));
    OK(CkLossGetPointArray(loss, &x));
    get_deviations(dynamics, found);
    proximal_point(1 / tau, m, next);
    memcpy(m, next, sizeof(m));
    for (int i = 0; i < D; ++i) {
      s[i] = shrink(H[i * D + i], s[i]);
      assert_close(x[i], m[i], 1e-15, k + 10);
      assert_close(found[i], s[i], 1e-15, k + 10);
    }
  }
  destroy(&loss, &dynamics);
}

/* With fewer points than weights E f is exact on average over steps and replicas: within four standard errors. */
static void points_are_unbiased(void **state)
{
  enum { R = 3000 };
  const char *const points[] = {"-dynamics_pairs 1", "-dynamics_pairs 2", "-dynamics_points normal -dynamics_pairs 2"};
  double            xi[N * D], zero[D] = {0}, c[D], f = 0, deviation = 0;

  (void)state;
  draw_xi(N, xi);
  gradient(N, NULL, xi, zero, c);
  for (int i = 0; i < D; ++i) {
    f += c[i] * x0[i] + H[i * D + i] / 2;
    for (int j = 0; j < D; ++j) f += x0[i] * H[i * D + j] * x0[j] / 2;
    for (int j = 0; j < i; ++j) deviation += H[i * D + j] * H[i * D + j];
  }
  for (int p = 0; p < 3; ++p) {
    char          options[256];
    Ensemble      e;
    CkEpochReport report;

    snprintf(options, sizeof(options),
             "-dynamics_type jko -dynamics_temperature 0.3 -dynamics_rate 0.1 -dynamics_deviation 1 "
             "-dynamics_replicas %d %s",
             R, points[p]);
    e = new_ensemble(PETSC_COMM_WORLD, options);
    OK(CkDynamicsSetMonitor(e.dynamics, keep_report, &report));
    OK(CkDynamicsStep(e.dynamics));
    assert_close(report.loss, f, 4 / sqrt(R), sqrt(deviation));
    assert_on_all_ranks(fabs(report.loss - f) > 1e-9);
    free_ensemble(&e);
  }
}

/* ---- two weights, f = (mean of x^2 (w1 w2)^2 - 2 x y w1 w2 + y^2)/2 ---- */

static const double xs[4] = {1, 2, -1, 0.5}, ys[4] = {1, 0.5, -2, 0};
static const double w0[2] = {1.2, -0.7};

static void create_two_weight(MPI_Comm comm, const char options[], CkLoss *loss, CkDynamics *dynamics)
{
  OK(CkLossRegisterOptions());
  OK(CkDynamicsRegisterOptions());
  OK(PetscOptionsClear(NULL));
  OK(PetscOptionsInsertString(NULL, "-dynamics_type jko -dynamics_temperature 0.3 -dynamics_rate 0.1 "
                                    "-dynamics_deviation 0.8 -seed 6 -loss_sum_block 1 -dynamics_tolerance 1e-15"));
  OK(PetscOptionsInsertString(NULL, options));
  OK(CkOptionsCheck());
  OK(CkLossCreate(comm, loss));
  OK(CkLossSetFromOptions(*loss));
  OK(CkLossSetTwoWeight(*loss, 4, xs, ys));
  OK(CkLossSetUp(*loss));
  set_point(*loss, w0);
  OK(CkDynamicsCreate(*loss, NULL, dynamics));
  OK(CkDynamicsSetFromOptions(*dynamics));
}

/* mean[0..1] += weight grad f, mean[2..3] += weight z grad f at m + s z */
static void add_slopes(const double m[2], const double s[2], const double z[2], double weight, double mean[4])
{
  const double w[2] = {m[0] + s[0] * z[0], m[1] + s[1] * z[1]};
  double       outer = 0;

  for (int k = 0; k < 4; ++k) outer += xs[k] * (w[0] * w[1] * xs[k] - ys[k]) / 4;
  for (int i = 0; i < 2; ++i) {
    mean[i] += weight * outer * w[1 - i];
    mean[2 + i] += weight * z[i] * outer * w[1 - i];
  }
}

/* Two pairs of signs are all four: f is of second degree in each weight, so they give the means over the normal
   density. */
static void mean_over_signs(const double m[2], const double s[2], double mean[4])
{
  for (int corner = 0; corner < 4; ++corner) {
    const double z[2] = {corner & 1 ? 1 : -1, corner & 2 ? 1 : -1};

    add_slopes(m, s, z, 0.25, mean);
  }
}

/* Three pairs of normal numbers of a step, scaled. */
static void mean_over_normals(const double m[2], const double s[2], uint64_t step, double mean[4])
{
  const CkRandom stream = {.seed = 6, .purpose = CK_RANDOM_NOISE, .replica = 0, .step = step};
  double         z[6], root[2];

  CkRandomNormals(&stream, 0, 6, z);
  for (int i = 0; i < 2; ++i)
    root[i] = sqrt((z[3 * i] * z[3 * i] + z[3 * i + 1] * z[3 * i + 1] + z[3 * i + 2] * z[3 * i + 2]) / 3);
  for (int k = 0; k < 3; ++k) {
    const double plus[2] = {z[k] / root[0], z[3 + k] / root[1]}, minus[2] = {-plus[0], -plus[1]};

    add_slopes(m, s, plus, 1. / 6, mean);
    add_slopes(m, s, minus, 1. / 6, mean);
  }
}

/* (J.3): m' - m + tau E grad f = 0, s' - s + tau (E z grad f - T/s') = 0, all at m', s'. */
static void equations_of_a_step(void **state)
{
  (void)state;
  for (int normal = 0; normal < 2; ++normal) {
    double     m[2] = {w0[0], w0[1]}, s[2] = {0.8, 0.8};
    CkLoss     loss;
    CkDynamics dynamics;

    create_two_weight(PETSC_COMM_WORLD, normal ? "-dynamics_points normal -dynamics_pairs 3" : "-dynamics_pairs 2",
                      &loss, &dynamics);
    for (uint64_t k = 0; k < 8; ++k) {
      double        mean[4] = {0}, wide[2];
      const double *x;

      OK(CkDynamicsStep(dynamics));
      OK(CkLossGetPointArray(loss, &x));
      get_deviations(dynamics, wide);
      if (normal) mean_over_normals(x, wide, k, mean);
      else mean_over_signs(x, wide, mean);
      for (int i = 0; i < 2; ++i) {
        assert_close(x[i] + tau * mean[i], m[i], 1e-14, 1);
        assert_close(wide[i] + tau * (mean[2 + i] - T / wide[i]), s[i], 1e-14, 1);
        assert_on_all_ranks(fabs(wide[i] - s[i]) > 1e-9 && wide[i] > 0);
        m[i] = x[i];
        s[i] = wide[i];
      }
    }
    destroy(&loss, &dynamics);
  }
}

static void same_bits_on_any_number_of_ranks(void **state)
{
  (void)state;
  for (int normal = 0; normal < 2; ++normal) {
    const char *const points = normal ? "-dynamics_points normal" : "-dynamics_pairs 2";
    double            s[WEIGHTS], t[WEIGHTS];
    const double     *x, *y;
    CkLoss            alone, together;
    CkDynamics        one, all;
    CkEpochReport     a, b;

    create_separate(PETSC_COMM_SELF, points, &alone, &one);
    create_separate(PETSC_COMM_WORLD, points, &together, &all);
    OK(CkDynamicsSetMonitor(one, keep_report, &a));
    OK(CkDynamicsSetMonitor(all, keep_report, &b));
    for (int k = 0; k < 5; ++k) {
      OK(CkDynamicsStep(one));
      OK(CkDynamicsStep(all));
      OK(CkLossGetPointArray(alone, &x));
      OK(CkLossGetPointArray(together, &y));
      get_deviations(one, s);
      get_deviations(all, t);
      assert_on_all_ranks(memcmp(x, y, sizeof(s)) == 0 && memcmp(s, t, sizeof(s)) == 0);
      assert_on_all_ranks(a.free_energy == b.free_energy && a.iterations == b.iterations && a.residual == b.residual);
    }
    destroy(&alone, &one);
    destroy(&together, &all);
  }
}

/* ---- a network ---- */

static const char task[] = "-data synthetic -data_shape 1,2,2 -data_classes 3 -data_count 90 -loss_sum_block 8 "
                           "-dynamics_type jko -dynamics_temperature 0.005 -dynamics_rate 0.2 ";

/* Batch norm and ReLU, in single precision: from 4.8 to about 0, while the points of a step change the estimate by 0.1;
   the error is that over the density. */
static void a_network_lowers_its_free_energy(void **state)
{
  Network       n;
  CkEpochReport report;
  double        first = 0, worst = 0;

  (void)state;
  set_options(task, "-net tiny-fc");
  create_network(PETSC_COMM_WORLD, &n);
  OK(CkDynamicsSetMonitor(n.dynamics, keep_report, &report));
  for (int k = 0; k < 60; ++k) {
    OK(CkDynamicsStep(n.dynamics));
    if (k == 0) first = report.free_energy;
    worst = PetscMax(worst, report.residual);
    assert_on_all_ranks(isfinite(report.free_energy) && report.iterations >= 1);
  }
  assert_on_all_ranks(report.free_energy < first - 3 && report.error < 0.2 && worst <= 1e-3);
  destroy_network(&n);
}

/* Smooth units: the equations are solved as far as is asked for, with the same bits on any number of ranks. */
static void a_smooth_network(void **state)
{
  Network       alone, together;
  CkEpochReport a, b;
  const double *x, *y;
  PetscInt      d;

  (void)state;
  set_options(task, "-net mlp -net_widths 6 -net_activation tanh -dynamics_tolerance 1e-9 -engine reference");
  create_network(PETSC_COMM_SELF, &alone);
  create_network(PETSC_COMM_WORLD, &together);
  OK(CkNetGetDimension(alone.net, &d));
  OK(CkDynamicsSetMonitor(alone.dynamics, keep_report, &a));
  OK(CkDynamicsSetMonitor(together.dynamics, keep_report, &b));
  for (int k = 0; k < 8; ++k) {
    OK(CkDynamicsStep(alone.dynamics));
    OK(CkDynamicsStep(together.dynamics));
    OK(CkLossGetPointArray(alone.loss, &x));
    OK(CkLossGetPointArray(together.loss, &y));
    assert_on_all_ranks(memcmp(x, y, (size_t)d * sizeof(double)) == 0 && a.free_energy == b.free_energy);
    assert_on_all_ranks(a.residual <= 1e-9 && a.residual == b.residual && a.error == b.error);
  }
  destroy_network(&alone);
  destroy_network(&together);
}

/* ---- errors ---- */

static void refusals(void **state)
{
  CkLoss     loss;
  CkDynamics dynamics;

  (void)state;
  assert_refused("-dynamics_type jko", "-dynamics_temperature", "jko");
  assert_refused("-dynamics_type jko -dynamics_temperature 0", "-dynamics_temperature 0 must be above 0", "gd");
  assert_refused("-dynamics_type jko -dynamics_temperature 1 -dynamics_pairs 6", "-dynamics_pairs 6 is no power of two",
                 "normal");
  assert_refused("-dynamics_type jko -dynamics_temperature 1 -dynamics_batch 5", "-dynamics_batch has no effect",
                 "sgld");
  assert_refused("-dynamics_type jko -dynamics_temperature 1 -dynamics_l2 5", "-dynamics_l2 has no effect", "ode");
  assert_refused("-dynamics_type ode -dynamics_deviation 1", "-dynamics_deviation has no effect", "jko");

  create(PETSC_COMM_WORLD, N,
         "-dynamics_type jko -dynamics_temperature 0.3 -dynamics_rate 50 -dynamics_iterations 7 "
         "-dynamics_tolerance 1e-6",
         &loss, &dynamics);
  assert_message(CkDynamicsStep(dynamics), "-dynamics_iterations 7", "-dynamics_tolerance 1e-06", "lower the rate 50");
  destroy(&loss, &dynamics);
}

static const struct CMUnitTest tests[] = {
  cmocka_unit_test(closed_form),
  cmocka_unit_test(free_energy_falls_to_its_minimum),
  cmocka_unit_test(coupled_quadratic),
  cmocka_unit_test(points_are_unbiased),
  cmocka_unit_test(equations_of_a_step),
  cmocka_unit_test(same_bits_on_any_number_of_ranks),
  cmocka_unit_test(a_network_lowers_its_free_energy),
  cmocka_unit_test(a_smooth_network),
  cmocka_unit_test(refusals),
};

CK_TEST_MAIN(tests, PetscInitialize, PetscFinalize)
