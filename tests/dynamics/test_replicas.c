/* Groups of ranks, means over replicas, and what replicas of one run have to do with each other. */
#include "landscape.h"

/* Every replica belongs to one group; groups are alike. */
static void groups(void **state)
{
  int size;

  (void)state;
  MPI_Comm_size(PETSC_COMM_WORLD, &size);
  for (PetscInt R = 1; R <= 12; ++R) {
    CkReplicas r;
    PetscInt   all, first, mine, n;
    MPI_Comm   group;
    int        ranks, total = 0;

    OK(CkReplicasCreate(PETSC_COMM_WORLD, R, &r));
    OK(CkReplicasGetComms(r, NULL, &group));
    OK(CkReplicasGetCounts(r, &all, &first, &mine, &n));
    MPI_Comm_size(group, &ranks);
    assert_on_all_ranks(all == R && mine * n == R && ranks * n == size && first % mine == 0 && first + mine <= R);
    if (R % size == 0) assert_on_all_ranks(ranks == 1);
    if (size % R == 0) assert_on_all_ranks(mine == 1);
    MPI_Allreduce(&(int){(int)mine * size / ranks}, &total, 1, MPI_INT, MPI_SUM, PETSC_COMM_WORLD);
    assert_on_all_ranks(total == size * R); /* mine of each rank, times the groups */
    OK(CkReplicasDestroy(&r));
  }
  assert_user_error(CkReplicasCreate(PETSC_COMM_WORLD, 0, &(CkReplicas){NULL}));
  assert_user_error(CkReplicasCreate(PETSC_COMM_WORLD, 65536, &(CkReplicas){NULL}));
}

/* ((x_0 + x_1) + ..)/R to the last bit, for vectors and arrays of any length. */
static void means(void **state)
{
  const PetscInt lengths[] = {1, 2, 5, 64};

  (void)state;
  for (PetscInt R = 1; R <= 12; ++R) {
    CkReplicas r;
    PetscInt   first, mine;

    OK(CkReplicasCreate(PETSC_COMM_WORLD, R, &r));
    OK(CkReplicasGetCounts(r, NULL, &first, &mine, NULL));
    for (int l = 0; l < 4; ++l) {
      const PetscInt n = lengths[l];
      double         values[12 * 64], expected[64], found[64];
      const double  *rows[12];
      CkRandom       stream = {.seed = 8, .purpose = CK_RANDOM_PROBE, .step = (uint64_t)n};
      Vec            x[12], mean;
      MPI_Comm       group;
      PetscInt       start, end;
      PetscScalar   *entries;

      CkRandomNormals(&stream, 0, (size_t)(R * n), values);
      for (PetscInt i = 0; i < n; ++i) {
        expected[i] = values[i];
        for (PetscInt a = 1; a < R; ++a) expected[i] += values[a * n + i];
        expected[i] /= (double)R;
      }
      OK(CkReplicasGetComms(r, NULL, &group));
      for (PetscInt m = 0; m < mine; ++m) {
        rows[m] = values + (first + m) * n;
        OK(VecCreateMPI(group, PETSC_DECIDE, n, &x[m]));
        OK(VecGetOwnershipRange(x[m], &start, &end));
        OK(VecGetArray(x[m], &entries));
        memcpy(entries, rows[m] + start, (size_t)(end - start) * sizeof(double));
        OK(VecRestoreArray(x[m], &entries));
      }
      OK(CkReplicasMeanArrays(r, n, rows, found));
      assert_on_all_ranks(memcmp(found, expected, (size_t)n * sizeof(double)) == 0);
      OK(VecDuplicate(x[0], &mean));
      OK(CkReplicasMean(r, x, mean));
      OK(VecGetArray(mean, &entries));
      assert_on_all_ranks(memcmp(entries, expected + start, (size_t)(end - start) * sizeof(double)) == 0);
      OK(VecRestoreArray(mean, &entries));
      OK(VecDestroy(&mean));
      for (PetscInt m = 0; m < mine; ++m) OK(VecDestroy(&x[m]));
    }
    OK(CkReplicasDestroy(&r));
  }
}

/* Replica 0 is the run without replicas; no two are alike; all are the same bits on any number of ranks. */
static void replicas_of_a_run(void **state)
{
  const char *const types[] = {
    "sgd",          "sgd -dynamics_replacement",      "sde -dynamics_dt 0.01",
    "sgd_gaussian", "sgld -dynamics_temperature 0.1", "entropy_sgd -dynamics_inner_noise 0.1 -dynamics_inner 3"};

  (void)state;
  for (size_t t = 0; t < sizeof(types) / sizeof(types[0]); ++t) {
    double        points[2][6 * D];
    const double *x;
    char          options[256];
    CkLoss        loss;
    CkDynamics    single;

    for (int serial = 0; serial < 2; ++serial) {
      Ensemble e;

      snprintf(options, sizeof(options), "-dynamics_batch 3 -dynamics_replicas 6 -loss_sum_block 1 -dynamics_type %s",
               types[t]);
      e = new_ensemble(serial ? PETSC_COMM_SELF : PETSC_COMM_WORLD, options);
      for (int k = 0; k < 13; ++k) OK(CkDynamicsStep(e.dynamics));
      get_points(&e, points[serial]);
      free_ensemble(&e);
    }
    assert_on_all_ranks(memcmp(points[0], points[1], sizeof(points[0])) == 0);
    for (int a = 0; a < 6; ++a)
      for (int b = 0; b < a; ++b)
        assert_on_all_ranks(memcmp(points[0] + a * D, points[0] + b * D, D * sizeof(double)) != 0);
    snprintf(options, sizeof(options), "-dynamics_batch 3 -loss_sum_block 1 -dynamics_type %s", types[t]);
    create(PETSC_COMM_WORLD, N, options, &loss, &single);
    for (int k = 0; k < 13; ++k) OK(CkDynamicsStep(single));
    OK(CkLossGetPointArray(loss, &x));
    assert_on_all_ranks(memcmp(points[0], x, D * sizeof(double)) == 0);
    destroy(&loss, &single);
  }
}

static PetscErrorCode keep_report(CkDynamics dynamics, const CkEpochReport *report, void *context)
{
  (void)dynamics;
  *(CkEpochReport *)context = *report;
  return PETSC_SUCCESS;
}

/* A report holds the mean of what each replica alone would report. */
static void reports_are_means(void **state)
{
  CkEpochReport all;
  double        points[4 * D], mean = 0;
  Ensemble      e = new_ensemble(PETSC_COMM_WORLD, "-dynamics_replicas 4 -dynamics_batch 4 -dynamics_epochs 2");

  (void)state;
  OK(CkDynamicsSetTestLoss(e.dynamics, e.loss));
  OK(CkDynamicsSetMonitor(e.dynamics, keep_report, &all));
  OK(CkDynamicsRun(e.dynamics));
  get_points(&e, points);
  for (int r = 0; r < 4; ++r) { /* f = x'Hx/2 + average xi.x */
    double xi[N * D], zero[D] = {0}, average[D];

    draw_xi(N, xi);
    gradient(N, NULL, xi, zero, average);
    for (int i = 0; i < D; ++i) {
      mean += average[i] * points[r * D + i] / 4;
      for (int j = 0; j < D; ++j) mean += points[r * D + i] * H[i * D + j] * points[r * D + j] / 8;
    }
  }
  assert_close(all.test_loss, mean, 1e-13, 1);
  assert_on_all_ranks(all.epoch == 2 && all.step == 6 && isfinite(all.loss) && isnan(all.error));
  free_ensemble(&e);
}

/* A caller that made no groups must not run one replica in silence. */
static void replicas_without_groups(void **state)
{
  (void)state;
  assert_refused("-dynamics_replicas 3", "-dynamics_replicas 3", "leave it out");
}

static const struct CMUnitTest tests[] = {
  cmocka_unit_test(groups),
  cmocka_unit_test(means),
  cmocka_unit_test(replicas_of_a_run),
  cmocka_unit_test(reports_are_means),
  cmocka_unit_test(replicas_without_groups),
};

CK_TEST_MAIN(tests, PetscInitialize, PetscFinalize)
