/* Entropy-SGD, Elastic-SGD and Parle: T21, the equations written out once more, and their exact reductions. */
#include "landscape.h"

enum { STEPS = 34, MOST_REPLICAS = 6 };

/* Points [replicas x D] after some updates. */
static void run(MPI_Comm comm, const char options[], int steps, double points[])
{
  char     all[512];
  Ensemble e;

  snprintf(all, sizeof(all), "-dynamics_batch 3 -loss_sum_block 1 -dynamics_rate 0.05 -dynamics_epochs 20 -seed 11 %s",
           options);
  e = new_ensemble(comm, all);
  for (int k = 0; k < steps; ++k) OK(CkDynamicsStep(e.dynamics));
  get_points(&e, points);
  free_ensemble(&e);
}

static void assert_same_paths(int replicas, const char a[], const char b[])
{
  double x[MOST_REPLICAS * D], y[MOST_REPLICAS * D];

  for (int steps = 4; steps <= STEPS; steps += 10) {
    run(PETSC_COMM_WORLD, a, steps, x);
    run(PETSC_COMM_WORLD, b, steps, y);
    if (memcmp(x, y, (size_t)(replicas * D) * sizeof(double)) != 0) fprintf(stderr, "%s\n%s\n", a, b);
    assert_on_all_ranks(memcmp(x, y, (size_t)(replicas * D) * sizeof(double)) == 0);
    assert_on_all_ranks(memcmp(x, x0, sizeof(x0)) != 0);
  }
}

/* Theory 2.4, to the last bit. */
static void reductions(void **state)
{
  (void)state;
  assert_same_paths(1, "-dynamics_type parle -dynamics_inner 1 -dynamics_scope 0 -dynamics_elasticity 0", "");
  assert_same_paths(1,
                    "-dynamics_type parle -dynamics_inner 1 -dynamics_scope 0 -dynamics_elasticity 0 "
                    "-dynamics_momentum 0.9 -dynamics_nesterov -dynamics_l2 0.1",
                    "-dynamics_momentum 0.9 -dynamics_nesterov -dynamics_l2 0.1");
  assert_same_paths(1,
                    "-dynamics_type parle -dynamics_inner 4 -dynamics_scope 0.3 -dynamics_elasticity 0 "
                    "-dynamics_outer_rate 0.7 -dynamics_outer_momentum 0.5 -dynamics_scoping 0.5 "
                    "-dynamics_inner_noise 0.1 -dynamics_momentum 0.5",
                    "-dynamics_type entropy_sgd -dynamics_inner 4 -dynamics_scope 0.3 -dynamics_outer_rate 0.7 "
                    "-dynamics_outer_momentum 0.5 -dynamics_scoping 0.5 -dynamics_inner_noise 0.1 "
                    "-dynamics_momentum 0.5");
  assert_same_paths(3,
                    "-dynamics_type parle -dynamics_inner 1 -dynamics_scope 0 -dynamics_elasticity 0.2 "
                    "-dynamics_replicas 3 -dynamics_momentum 0.5",
                    "-dynamics_type elastic_sgd -dynamics_elasticity 0.2 -dynamics_replicas 3 -dynamics_momentum 0.5");
  assert_same_paths(3, "-dynamics_type elastic_sgd -dynamics_elasticity 0 -dynamics_replicas 3",
                    "-dynamics_replicas 3");
}

/* All replicas, whatever the ranks, are the bits of one rank that runs them in turn. */
static void same_bits_on_any_number_of_ranks(void **state)
{
  const char *const types[] = {
    "parle -dynamics_inner 3 -dynamics_scope 0.1 -dynamics_elasticity 0.3 -dynamics_outer_rate 0.5 "
    "-dynamics_outer_momentum 0.9 -dynamics_scoping 0.5 -dynamics_momentum 0.9 -dynamics_nesterov -dynamics_epochs 9",
    "elastic_sgd -dynamics_elasticity 0.3 -dynamics_momentum 0.9"};

  (void)state;
  for (int t = 0; t < 2; ++t) {
    for (int R = 1; R <= MOST_REPLICAS; ++R) {
      double alone[MOST_REPLICAS * D], together[MOST_REPLICAS * D];
      char   options[512];

      snprintf(options, sizeof(options), "-dynamics_replicas %d -dynamics_type %s", R, types[t]);
      run(PETSC_COMM_SELF, options, 17, alone);
      run(PETSC_COMM_WORLD, options, 17, together);
      assert_on_all_ranks(memcmp(alone, together, (size_t)(R * D) * sizeof(double)) == 0);
    }
  }
}

/* (Y.1) to (Y.6) in plain loops, three replicas, with everything switched on. */
static void parle_written_out(void **state)
{
  enum { R = 3, L = 4, B = 3, U = 4 };
  const double rate = 0.05, mu = 0.5, a = 0.75, eps = 0.2, outer = 0.6, m = 0.4;
  double       xi[N * D], x[R][D], w[R][D], z[R][D], v[R][D] = {{0}}, V[R][D] = {{0}}, mean[D], found[R * D];

  (void)state;
  draw_xi(N, xi);
  memcpy(mean, x0, sizeof(x0));
  for (int r = 0; r < R; ++r) memcpy(x[r], x0, sizeof(x0));
  for (int k = 0; k < STEPS; ++k) {
    const double gamma = fmin(0.7 * pow(1 + 1.5 / U, k / L), 1), rho = 0.1 * pow(1 + 1.5 / U, k / L);
    const int    at = k % U * B;

    for (int r = 0; r < R; ++r) {
      const CkRandom shuffle = {
        .seed = 11, .purpose = CK_RANDOM_SHUFFLE, .replica = (uint32_t)r, .step = (uint64_t)(k / U)};
      const CkRandom noise = {.seed = 11, .purpose = CK_RANDOM_NOISE, .replica = (uint32_t)r, .step = (uint64_t)k};
      PetscInt       order[N];
      double         g[D], normal[D];

      OK(CkRandomPermutation(&shuffle, N, order));
      CkRandomNormals(&noise, 0, D, normal);
      if (k % L == 0) memcpy(w[r], x[r], sizeof(x[r]));
      gradient(PetscMin(B, N - at), order + at, xi, w[r], g);
      for (int i = 0; i < D; ++i) {
        g[i] += gamma * (w[r][i] - x[r][i]) + 0.1 * w[r][i];
        v[r][i] = mu * v[r][i] + g[i];
        w[r][i] += -rate * (g[i] + mu * v[r][i]) + sqrt(rate) * eps * normal[i];
        z[r][i] = k % L == 0 ? w[r][i] : a * z[r][i] + (1 - a) * w[r][i];
        if (k % L < L - 1) continue;
        g[i] = x[r][i] - z[r][i] + rho * (x[r][i] - mean[i]);
        V[r][i] = m * V[r][i] + g[i];
        x[r][i] -= outer * (g[i] + m * V[r][i]);
      }
    }
    for (int i = 0; i < D && k % L == L - 1; ++i) mean[i] = (x[0][i] + x[1][i] + x[2][i]) / R;
  }
  run(PETSC_COMM_WORLD,
      "-dynamics_type parle -dynamics_replicas 3 -dynamics_inner 4 -dynamics_scope 0.7 -dynamics_scoping 1.5 "
      "-dynamics_elasticity 0.1 -dynamics_inner_noise 0.2 -dynamics_momentum 0.5 -dynamics_nesterov -dynamics_l2 0.1 "
      "-dynamics_outer_rate 0.6 -dynamics_outer_momentum 0.4 -dynamics_epochs 9",
      STEPS, found);
  for (int r = 0; r < R; ++r)
    for (int i = 0; i < D; ++i) assert_close(found[r * D + i], x[r][i], 1e-12, 1);
}

/* T21: after a long round of inner updates with all samples the average is <x'> = (1 + variance H)^-1 x about the
 * minimum; with minibatches and noise its mean over replicas is, within three standard errors, for it is linear. */
static void local_entropy_of_a_quadratic(void **state)
{
  enum { R = 600 };
  double *points, mean[D], found[D];

  (void)state;
  proximal_point(0.8, x0, mean); /* of the local Gibbs measure */
  run(PETSC_COMM_WORLD,
      "-dynamics_type entropy_sgd -dynamics_batch 0 -dynamics_inner 500 -dynamics_epochs 500 -dynamics_scope 0.8", 500,
      found);
  for (int i = 0; i < D; ++i) assert_close(found[i], mean[i], 1e-12, 1);

  OK(PetscMalloc1(R * D, &points));
  run(PETSC_COMM_WORLD,
      "-dynamics_type entropy_sgd -dynamics_replacement -dynamics_batch 5 -dynamics_inner 160 -dynamics_epochs 80 "
      "-dynamics_scope 0.8 -dynamics_inner_noise 0.5 -dynamics_replicas 600",
      160, points);
  for (int i = 0; i < D; ++i) {
    double average = 0, square = 0;

    for (int r = 0; r < R; ++r) average += points[r * D + i] / R;
    for (int r = 0; r < R; ++r) square += pow(points[r * D + i] - average, 2) / (R - 1);
    assert_close(average, mean[i], 3 / sqrt(R), sqrt(square));
  }
  OK(PetscFree(points));
}

static PetscErrorCode keep_report(CkDynamics dynamics, const CkEpochReport *report, void *context)
{
  (void)dynamics;
  *(CkEpochReport *)context = *report;
  return PETSC_SUCCESS;
}

/* The test loss is that of the mean of the replicas, not the mean of theirs. */
static void consensus_is_tested(void **state)
{
  CkEpochReport report;
  double        points[4 * D], mean[D], xi[N * D], zero[D] = {0}, c[D], f = 0;
  Ensemble      e = new_ensemble(PETSC_COMM_WORLD, "-dynamics_type elastic_sgd -dynamics_replicas 4 -dynamics_batch 4 "
                                                        "-dynamics_epochs 2 -dynamics_rate 0.02");

  (void)state;
  OK(CkDynamicsSetTestLoss(e.dynamics, e.loss));
  OK(CkDynamicsSetMonitor(e.dynamics, keep_report, &report));
  OK(CkDynamicsRun(e.dynamics));
  get_points(&e, points);
  draw_xi(N, xi);
  gradient(N, NULL, xi, zero, c);
  for (int i = 0; i < D; ++i) mean[i] = (points[i] + points[D + i] + points[2 * D + i] + points[3 * D + i]) / 4;
  for (int i = 0; i < D; ++i) {
    f += c[i] * mean[i];
    for (int j = 0; j < D; ++j) f += mean[i] * H[i * D + j] * mean[j] / 2;
  }
  assert_close(report.test_loss, f, 1e-13, 1);
  free_ensemble(&e);
}

static void refusals(void **state)
{
  (void)state;
  assert_refused("-dynamics_type elastic_sgd -dynamics_elasticity 2.5", "-dynamics_elasticity 2.5", "mean");
  assert_refused("-dynamics_type elastic_sgd -dynamics_scope 1", "-dynamics_scope has no effect", "parle");
  assert_refused("-dynamics_type entropy_sgd -dynamics_elasticity 1", "-dynamics_elasticity has no effect",
                 "elastic_sgd, parle");
  for (int i = 0; i < 2; ++i) {
    CkLoss     loss;
    CkDynamics dynamics;

    create(PETSC_COMM_WORLD, N,
           i ? "-dynamics_type parle -dynamics_inner 31 -dynamics_batch 3 -dynamics_epochs 7"
             : "-dynamics_type parle -dynamics_inner 1 -dynamics_batch 3 -dynamics_elasticity 1 -dynamics_scoping 1 "
               "-dynamics_outer_rate 0.5",
           &loss, &dynamics);
    if (i) assert_message(CkDynamicsSetUp(dynamics), "-dynamics_inner 31", "28");
    else assert_message(CkDynamicsSetUp(dynamics), "elasticity of 10", "-dynamics_outer_rate");
    destroy(&loss, &dynamics);
  }
}

static const struct CMUnitTest tests[] = {
  cmocka_unit_test(reductions),          cmocka_unit_test(same_bits_on_any_number_of_ranks),
  cmocka_unit_test(parle_written_out),   cmocka_unit_test(local_entropy_of_a_quadratic),
  cmocka_unit_test(consensus_is_tested), cmocka_unit_test(refusals),
};

CK_TEST_MAIN(tests, PetscInitialize, PetscFinalize)
