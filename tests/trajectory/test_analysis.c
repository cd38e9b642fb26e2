/* test_analysis.c: the analysis of trajectory files whose properties are known: an Ornstein-Uhlenbeck process that
   circulates, one that does not, white noise; the same bits on any number of ranks and for any slab. */
#include "analysisimpl.h"
#include "folder.h"
#include "process.h"
#include <clarkia/probability.h>

enum { N_WHITE = 70, T = 3000, LEAD = 2 };

static void Set(const char key[], const char value[])
{
  OK(PetscOptionsSetValue(NULL, key, value));
}

static void Clear(void)
{
  static const char *const keys[] = {"burn_in", "lags",  "directions", "modes", "spectrum", "hessian",
                                     "block",   "draws", "level",      "slab",  "average"};

  for (size_t i = 0; i < PETSC_STATIC_ARRAY_LENGTH(keys); ++i) {
    char key[64];

    OK(PetscSNPrintf(key, sizeof(key), "-trajectory_%s", keys[i]));
    OK(PetscOptionsClearValue(NULL, key));
  }
  OK(CkOptionsRegisterCommon());
  OK(CkAnalysisRegisterOptions());
  Set("-trajectory_draws", "200");
}

/* Snapshots [n x replicas x m], every 10 updates at the learning rate 0.01. Each rank writes a file of its own, and
   that of rank 0 stays: an append is a message to all ranks of a file, and of appends there are many. */
static void WriteRun(const char name[], CkTrajectoryContent content, PetscInt n, PetscInt replicas, PetscInt m,
                     const double y[], PetscInt jump)
{
  const CkTrajectoryInfo info = {.content = content,
                                 .type = CK_F64,
                                 .snapshots = n,
                                 .columns = m,
                                 .replicas = replicas,
                                 .dimension = m,
                                 .samples = 100,
                                 .batch = 1,
                                 .rate = 0.01,
                                 .replacement = PETSC_TRUE,
                                 .dynamics_type = "sgd"};
  const CkTrajectoryPart part = {0, replicas, 0, m, PETSC_TRUE};
  CkTrajectory           trajectory;
  PetscInt64            *columns;
  double                *scalars, *directions;
  PetscMPIInt            rank;
  char                   mine[512];

  MPI_Comm_rank(PETSC_COMM_WORLD, &rank);
  OK(PetscMalloc1(m, &columns));
  OK(PetscCalloc2(m * m, &directions, replicas * CK_SCALARS, &scalars));
  for (PetscInt i = 0; i < m; ++i) {
    columns[i] = i;
    directions[i * m + i] = 1;
  }
  OK(PetscStrncpy(mine, Path(name), sizeof(mine)));
  if (rank > 0) OK(PetscSNPrintf(mine, sizeof(mine), "%s-%d", Path(name), rank));
  OK(CkTrajectoryCreate(PETSC_COMM_SELF, mine, &info, &part, columns,
                        content == CK_CONTENT_PROJECTIONS ? directions : NULL, &trajectory));
  for (PetscInt t = 0; t < n; ++t) {
    const PetscInt step = 10 * t + (jump && t >= jump);

    for (PetscInt i = 0; i < CK_SCALARS * replicas; ++i) scalars[i] = 2 + (double)(t % 2);
    OK(CkTrajectoryAppend(trajectory, step, 0.01 * (double)step, y + t * replicas * m, scalars));
  }
  OK(CkTrajectoryFinish(trajectory));
  OK(CkTrajectoryDestroy(&trajectory));
  if (rank > 0) unlink(mine);
  OK(PetscFree(columns));
  OK(PetscFree2(directions, scalars));
  MPI_Barrier(PETSC_COMM_WORLD);
}

/* The first two columns are the process of process.h sampled every 0.1, the others white. */
static double *NewRun(double off, PetscInt n, PetscInt replicas)
{
  const PetscInt m = LEAD + N_WHITE;
  double        *y, *lead;
  Process        p;

  SetOrnsteinUhlenbeck(&p, off, 0.1);
  lead = NewPaths(&p, 21, n, replicas);
  OK(PetscMalloc1(n * replicas * m, &y));
  for (PetscInt t = 0; t < n * replicas; ++t) {
    const CkRandom stream = {31, CK_RANDOM_NOISE, 9, (uint64_t)t};

    OK(PetscArraycpy(y + t * m, lead + t * LEAD, LEAD));
    CkRandomNormals(&stream, 0, N_WHITE, y + t * m + LEAD);
  }
  OK(PetscFree(lead));
  return y;
}

static CkAnalysis Analyse(MPI_Comm comm, const char name[], CkTrajectory *trajectory)
{
  CkAnalysis a;

  OK(CkTrajectoryOpen(comm, Path(name), trajectory));
  OK(CkAnalysisCreate(comm, *trajectory, &a));
  OK(CkAnalysisSetFromOptions(a));
  OK(CkAnalysisRun(a));
  return a;
}

static void Release(CkAnalysis *a, CkTrajectory *trajectory)
{
  OK(CkAnalysisDestroy(a));
  OK(CkTrajectoryDestroy(trajectory));
}

static uint64_t Bits(CkAnalysis a)
{
  uint64_t hash = 0;

  hash = CkChecksum(hash, a->amplitude, sizeof(double) * (size_t)a->frequencies);
  hash = CkChecksum(hash, a->amplitude_std, sizeof(double) * (size_t)a->frequencies);
  hash = CkChecksum(hash, a->r, sizeof(double) * (size_t)a->nlags);
  hash = CkChecksum(hash, a->r_std, sizeof(double) * (size_t)a->nlags);
  hash = CkChecksum(hash, a->quantiles, sizeof(double) * (size_t)a->nlags * CK_ANALYSIS_QUANTILES);
  hash = CkChecksum(hash, a->band_quantiles, sizeof(double) * (size_t)a->nbands * CK_ANALYSIS_QUANTILES);
  hash = CkChecksum(hash, a->outside95, sizeof(double) * (size_t)a->nlags);
  hash = CkChecksum(hash, a->y, sizeof(double) * (size_t)(a->n * a->info.replicas * a->k));
  hash = CkChecksum(hash, a->circulation.A, sizeof(double) * (size_t)(a->k * a->k));
  hash = CkChecksum(hash, a->circulation.A_error, sizeof(double) * (size_t)(a->k * a->k));
  hash = CkChecksum(hash, &a->circulation.p, sizeof(double));
  return CkChecksum(hash, &a->columns, sizeof(a->columns));
}

/* On all ranks with several slabs, and on each rank alone. */
static void same_bits_on_any_ranks_and_slabs(void **state)
{
  static const char *const slabs[] = {"0", "1", "33"};
  double                  *y = NewRun(0.5, 400, 2);
  CkTrajectory             trajectory;
  CkAnalysis               a;
  uint64_t                 alone;

  (void)state;
  WriteRun("bits.h5", CK_CONTENT_ALL, 400, 2, LEAD + N_WHITE, y, 0);
  OK(PetscFree(y));
  Clear();
  Set("-trajectory_burn_in", "10");
  Set("-trajectory_directions", "random");
  a = Analyse(PETSC_COMM_SELF, "bits.h5", &trajectory);
  alone = Bits(a);
  Release(&a, &trajectory);
  for (size_t i = 0; i < PETSC_STATIC_ARRAY_LENGTH(slabs); ++i) {
    Set("-trajectory_slab", slabs[i]);
    a = Analyse(PETSC_COMM_WORLD, "bits.h5", &trajectory);
    assert_on_all_ranks(Bits(a) == alone);
    Release(&a, &trajectory);
  }
}

/* What the columns are made of is found; dt = 0.1, off-diagonal 0.5: A_12 = 0.2 (e^-0.4 - e^-0.1)/0.1. */
static void circulation_of_a_file(void **state)
{
  double      *y = NewRun(0.5, T, 4);
  CkTrajectory trajectory;
  CkAnalysis   a;

  (void)state;
  WriteRun("turns.h5", CK_CONTENT_ALL, T, 4, LEAD + N_WHITE, y, 0);
  Clear();
  Set("-trajectory_directions", "coordinates");
  Set("-trajectory_modes", "3");
  a = Analyse(PETSC_COMM_WORLD, "turns.h5", &trajectory);
  assert_int_equal(a->verdict, CK_VERDICT_YES);
  assert_int_equal(a->k, 3);
  assert_close(a->dt, 0.1, 1e-12, 1);
  for (PetscInt t = 0; t < T * 4; ++t)
    for (PetscInt i = 0; i < 3; ++i) assert_true(a->y[t * 3 + i] == y[t * (LEAD + N_WHITE) + i]);
  assert_close(a->circulation.A[1], 0.2 * (exp(-0.4) - exp(-0.1)) / 0.1, 4, a->circulation.A_error[1]);
  /* of 72 * 4 series 8 are correlated, the others white: 1% of those surpass the bound by chance */
  assert_int_equal(a->columns.series, 288);
  assert_true(a->columns.beyond95 <= (8. + (double)CkBinomialBound(280, 0.01, 1e-4)) / 288);
  assert_true(a->columns.share99 < 0.02 && a->r[0] == 1);
  /* increments of white positions: spectrum rises with the frequency */
  assert_true(a->columns.low < 0.5 && a->columns.high > 1.2);
  assert_true(a->scalars.measured[CK_SCALAR_GRADIENT_NORM]);
  assert_close(a->scalars.first * sqrt(LEAD + N_WHITE), 2.5, 1e-12, 1);
  Release(&a, &trajectory);
  OK(PetscFree(y));
}

/* The verdicts that withhold one, and no. Recorded projections are the directions. */
static void other_verdicts(void **state)
{
  double      *y = NewRun(0, T, 1);
  CkTrajectory trajectory;
  CkAnalysis   a;

  (void)state;
  WriteRun("still.h5", CK_CONTENT_PROJECTIONS, T, 1, LEAD + N_WHITE, y, 0);
  Clear();
  Set("-trajectory_modes", "2");
  a = Analyse(PETSC_COMM_WORLD, "still.h5", &trajectory);
  assert_int_equal(a->kind, CK_DIRECTIONS_RECORDED);
  assert_int_equal(a->verdict, CK_VERDICT_NO);
  Release(&a, &trajectory);
  Set("-trajectory_burn_in", "2960"); /* 40 snapshots of a process with a correlation time of 20 */
  a = Analyse(PETSC_COMM_WORLD, "still.h5", &trajectory);
  assert_int_equal(a->verdict, CK_VERDICT_SHORT);
  Release(&a, &trajectory);
  for (PetscInt t = 0; t < T; ++t) y[t * (LEAD + N_WHITE) + 1] += 3. * (double)t / T;
  WriteRun("moves.h5", CK_CONTENT_PROJECTIONS, T, 1, LEAD + N_WHITE, y, 0);
  Set("-trajectory_burn_in", "0");
  Set("-trajectory_block", "100");
  a = Analyse(PETSC_COMM_WORLD, "moves.h5", &trajectory);
  assert_int_equal(a->verdict, CK_VERDICT_DRIFT);
  Release(&a, &trajectory);
  OK(PetscFree(y));
}

/* A column that does not move takes the verdict away, and nothing else. */
static void directions_that_are_not_independent(void **state)
{
  const PetscInt m = LEAD + N_WHITE;
  double        *y = NewRun(0.5, T, 1);
  CkTrajectory   trajectory;
  CkAnalysis     a;

  (void)state;
  for (PetscInt t = 0; t < T; ++t) y[t * m + 2] = 0.25;
  WriteRun("constant.h5", CK_CONTENT_ALL, T, 1, m, y, 0);
  Clear();
  Set("-trajectory_directions", "coordinates");
  for (PetscInt modes = 2; modes <= 4; ++modes) {
    char text[8];

    OK(PetscSNPrintf(text, sizeof(text), "%" PetscInt_FMT, modes));
    Set("-trajectory_modes", text);
    a = Analyse(PETSC_COMM_WORLD, "constant.h5", &trajectory);
    assert_int_equal(a->verdict, modes > 2 ? CK_VERDICT_SINGULAR : CK_VERDICT_YES);
    assert_int_equal(a->circulation.singular, modes > 2 ? 3 : 0);
    assert_true((strstr(a->why, "direction 3 of") != NULL) == (modes > 2));
    assert_int_equal(a->circulation.k, modes > 2 ? 0 : 2);
    assert_int_equal(a->columns.constant, 1);
    assert_true(a->r[0] == 1 && a->y[0] == y[0] && a->columns.white_level > 0);
    Release(&a, &trajectory);
  }
  OK(PetscFree(y));
}

/* A spectrum of D with all pairs, rotated by 30 degrees, and a Hessian: in the eigenvectors of D the expected current
   is that of theory, and the measured one agrees. K = (1 - 0.01 H)^10 for H = diag(1, 4), D = [[1, .5], [.5, 1]], B
   = 1. */
static void expected_currents(void **state)
{
  const double     eta = 0.01, H[] = {1, 0, 0, 4}, D[] = {1, 0.5, 0.5, 1}, r = sqrt(0.5);
  const double     vectors[] = {r, r, r, -r}, values[] = {1.5, 0.5};
  const double     K[] = {pow(1 - eta, 10), 0, 0, pow(1 - 4 * eta, 10)};
  const PetscInt64 shape[] = {2, 2};
  double           Sigma[4], *y, A, det;
  Process          p;
  CkFile           file;
  CkTrajectory     trajectory;
  CkAnalysis       a;

  (void)state;
  for (int i = 0; i < 2; ++i)
    for (int j = 0; j < 2; ++j)
      Sigma[2 * i + j] = eta * D[2 * i + j] / (H[3 * i] + H[3 * j] - eta * H[3 * i] * H[3 * j]);
  SetProcess(&p, 2, K, Sigma);
  y = NewPaths(&p, 77, 12000, 1);
  WriteRun("theory.h5", CK_CONTENT_ALL, 12000, 1, 2, y, 0);
  OK(PetscFree(y));
  OK(CkFileCreate(PETSC_COMM_WORLD, Path("matrices.h5"), &file));
  OK(CkFileWriteAll(file, "/eigenvectors", CK_F64, 2, shape, vectors, "1", "vectors"));
  OK(CkFileWriteAll(file, "/eigenvalues", CK_F64, 1, shape, values, "1", "values"));
  OK(CkFileWriteAll(file, "/hessian", CK_F64, 2, shape, H, "1", "H"));
  OK(CkFileWriteString(file, "/", "operator", "diffusion"));
  OK(CkFileWriteReal(file, "/", "trace", 2));
  OK(CkFileCommit(file));
  OK(CkFileDestroy(&file));
  /* y = (x1 + x2, x1 - x2)/sqrt 2: y1 dy2 - dy1 y2 = -(x1 dx2 - dx1 x2) */
  A = -(K[3] - K[0]) * Sigma[1] / (10 * eta);
  for (int from_hessian = 0; from_hessian < 2; ++from_hessian) {
    Clear();
    Set("-trajectory_spectrum", Path("matrices.h5"));
    if (from_hessian) Set("-trajectory_hessian", Path("matrices.h5"));
    a = Analyse(PETSC_COMM_WORLD, "theory.h5", &trajectory);
    assert_int_equal(a->kind, CK_DIRECTIONS_SPECTRUM);
    assert_int_equal(a->verdict, CK_VERDICT_YES);
    assert_true(a->expected);
    assert_close(a->retained, 1, 1e-14, 1);
    assert_close(a->circulation.A[1], A, 4, a->circulation.A_error[1]);
    det = a->blocks.covariance[0] * a->blocks.covariance[3] - pow(a->blocks.covariance[1], 2);
    assert_close(a->rotation_expected[0], fabs(a->A_expected[1]) / 2 / sqrt(det), 1e-12, a->rotation_expected[0]);
    assert_close(a->A_expected[1], A, 0.2, fabs(A)); /* covariance from 1200 time units, 5%; eta h/2, 2% */
    assert_close(a->slope, 1, 4 * a->circulation.A_error[1] / fabs(A) + 0.2, 1);
    Release(&a, &trajectory);
  }
}

static void refusals(void **state)
{
  double      *y = NewRun(0, 60, 1);
  CkTrajectory trajectory;
  static const struct {
    const char *name, *key, *value;
  } bad[] = {{"jump.h5", "-trajectory_lags", "7"},
             {"sixty.h5", "-trajectory_burn_in", "29"},
             {"sixty.h5", "-trajectory_directions", "recorded"},
             {"sixty.h5", "-trajectory_directions", "spectrum"},
             {"sixty.h5", "-trajectory_block", "60"}};

  (void)state;
  WriteRun("jump.h5", CK_CONTENT_ALL, 60, 1, LEAD + N_WHITE, y, 40);
  WriteRun("sixty.h5", CK_CONTENT_ALL, 60, 1, LEAD + N_WHITE, y, 0);
  OK(PetscFree(y));
  for (size_t i = 0; i < PETSC_STATIC_ARRAY_LENGTH(bad); ++i) {
    CkAnalysis a;

    Clear();
    Set(bad[i].key, bad[i].value);
    OK(CkTrajectoryOpen(PETSC_COMM_WORLD, Path(bad[i].name), &trajectory));
    OK(CkAnalysisCreate(PETSC_COMM_WORLD, trajectory, &a));
    assert_user_error(CkAnalysisSetFromOptions(a));
    Release(&a, &trajectory);
  }
}

static int RemoveFolder(void **state)
{
  static const char *const names[] = {"bits.h5",   "turns.h5",    "still.h5", "moves.h5", "constant.h5",
                                      "theory.h5", "matrices.h5", "jump.h5",  "sixty.h5"};

  (void)state;
  return RemoveFolderOf(PETSC_STATIC_ARRAY_LENGTH(names), names);
}

int main(int argc, char **argv)
{
  const struct CMUnitTest tests[] = {cmocka_unit_test(same_bits_on_any_ranks_and_slabs),
                                     cmocka_unit_test(circulation_of_a_file),
                                     cmocka_unit_test(other_verdicts),
                                     cmocka_unit_test(directions_that_are_not_independent),
                                     cmocka_unit_test(expected_currents),
                                     cmocka_unit_test(refusals)};
  int                     rank, failed, worst;

  OK(PetscInitialize(&argc, &argv, NULL, NULL));
  MPI_Comm_rank(PETSC_COMM_WORLD, &rank);
  if (rank > 0 && !freopen("/dev/null", "w", stdout)) return 1;
  failed = cmocka_run_group_tests(tests, MakeFolder, RemoveFolder);
  MPI_Allreduce(&failed, &worst, 1, MPI_INT, MPI_MAX, PETSC_COMM_WORLD);
  OK(PetscFinalize());
  return worst ? 1 : 0;
}
