/* test_stationarity.c: the ratio (V.11) of runs for which theory tells it: T13's data with replacement, in a shuffled
   order, and far from the minimum; and each reason not to test. */
#include "analysisimpl.h"
#include "folder.h"
#include <clarkia/random.h>
#include <string.h>

enum { T = 20000, R = 2 };

/* T13: f_k = (a_k x - y_k)^2/2 of four samples; f = 2.5 x^2/2 + const, D = 2.25 x^2 + 2.5. */
static const double ax[] = {1, 1, 2, 2}, ay[] = {1, -1, 1, -1};

typedef struct {
  PetscBool shuffled;  /* each sample once in four updates; else drawn anew */
  double    l2, start; /* decay of the dynamics; x_0 */
  PetscBool silent;    /* nothing is measured */
} Run;

/* Updates at eta = 0.1 with a sample each, and a snapshot before each of them. */
static void Simulate(const Run *run, PetscInt replica, double x[], double scalars[])
{
  double now = run->start;

  for (PetscInt t = 0; t < T; ++t) {
    const CkRandom epoch = {5, CK_RANDOM_SHUFFLE, (uint32_t)replica, (uint64_t)(t / 4)};
    double        *s = scalars + (size_t)t * CK_SCALARS * R + replica, u;
    PetscInt       order[4], k;

    OK(CkRandomPermutation(&epoch, 4, order));
    CkRandomUniforms(&epoch, (uint64_t)(1000 + t % 4), 1, &u);
    k = run->shuffled ? order[t % 4] : PetscMin(3, (PetscInt)(4 * u));
    x[t * R + replica] = now;
    s[CK_SCALAR_GRADIENT_NORM * R] = 2.5 * fabs(now);
    s[CK_SCALAR_WEIGHTS_NORM * R] = fabs(now);
    s[CK_SCALAR_WEIGHTS_DOT_GRADIENT * R] = 2.5 * now * now;
    s[CK_SCALAR_NOISE_TRACE * R] = run->silent ? NAN : 2.25 * now * now + 2.5;
    now -= 0.1 * (ax[k] * (ax[k] * now - ay[k]) + run->l2 * now);
  }
}

static CkTrajectoryInfo Info(void)
{
  return (CkTrajectoryInfo){.content = CK_CONTENT_ALL,
                            .type = CK_F64,
                            .snapshots = T,
                            .columns = 1,
                            .replicas = R,
                            .dimension = 1,
                            .samples = 4,
                            .batch = 1,
                            .rate = 0.1,
                            .replacement = PETSC_TRUE,
                            .dynamics_type = "sgd",
                            .mode = "training"};
}

/* The run's first info->snapshots snapshots, analysed on all ranks; info is what its file claims. */
static CkStationarity Analyse(const Run *run, const CkTrajectoryInfo *info)
{
  const PetscInt64 column = 0;
  CkTrajectoryPart part = {0, R, 0, 1, PETSC_TRUE};
  CkTrajectory     trajectory;
  CkStationarity   result;
  CkAnalysis       a;
  PetscMPIInt      rank;
  double          *x, *scalars;

  MPI_Comm_rank(PETSC_COMM_WORLD, &rank);
  if (rank > 0) part = (CkTrajectoryPart){.replicas = 0}; /* the first rank hands over all */
  OK(PetscCalloc2((size_t)T * R, &x, (size_t)T * CK_SCALARS * R, &scalars));
  for (PetscInt r = 0; r < R; ++r) Simulate(run, r, x, scalars);
  OK(CkTrajectoryCreate(PETSC_COMM_WORLD, Path("run.h5"), info, &part, &column, NULL, &trajectory));
  for (PetscInt t = 0; t < info->snapshots; ++t)
    OK(CkTrajectoryAppend(trajectory, t, 0.1 * (double)t, x + (size_t)t * R,
                          rank ? NULL : scalars + (size_t)t * CK_SCALARS * R));
  OK(CkTrajectoryFinish(trajectory));
  OK(CkTrajectoryDestroy(&trajectory));
  OK(PetscFree2(x, scalars));
  OK(CkTrajectoryOpen(PETSC_COMM_WORLD, Path("run.h5"), &trajectory));
  OK(CkAnalysisCreate(PETSC_COMM_WORLD, trajectory, &a));
  OK(CkAnalysisSetFromOptions(a));
  OK(CkAnalysisRun(a));
  result = a->stationarity;
  OK(CkAnalysisDestroy(&a));
  OK(CkTrajectoryDestroy(&trajectory));
  return result;
}

/* With replacement the ratio is 1, with and without decay, which f of (M.4) contains. 40,000 snapshots: an error of
   about a percent. */
static void one_where_the_relation_holds(void **state)
{
  CkTrajectoryInfo info = Info();
  Run              run = {.l2 = 0};

  (void)state;
  for (int decay = 0; decay < 2; ++decay) {
    CkStationarity s;

    run.l2 = info.l2 = 0.5 * decay;
    s = Analyse(&run, &info);
    assert_int_equal(s.kind, CK_STATIONARITY_YES);
    assert_true(s.blocks >= 100 && s.error > 0 && s.error < 0.05);
    assert_close(s.ratio, 1, 3, s.error);
  }
}

/* A run whose file claims what is not so is found out: in a shuffled order the ratio is 0.444064 (the exact moments of
   x under the 24 orders of the four samples, test_fluctuation_dissipation.c). */
static void not_one_where_it_does_not(void **state)
{
  const CkTrajectoryInfo info = Info();
  const Run              run = {.shuffled = PETSC_TRUE};
  const CkStationarity   s = Analyse(&run, &info);

  (void)state;
  assert_int_equal(s.kind, CK_STATIONARITY_NO);
  assert_close(s.ratio, 0.444064, 4, s.error);
}

/* Two blocks of each replica. */
static void too_short(void **state)
{
  CkTrajectoryInfo info = Info();
  const Run        run = {.l2 = 0};
  CkStationarity   s;

  (void)state;
  info.snapshots = 40;
  OK(PetscOptionsSetValue(NULL, "-trajectory_block", "20"));
  s = Analyse(&run, &info);
  OK(PetscOptionsClearValue(NULL, "-trajectory_block"));
  assert_int_equal(s.kind, CK_STATIONARITY_SHORT);
  assert_true(isnan(s.p) && s.blocks == 4);
}

static void assert_refused(const CkTrajectoryInfo *info, PetscBool silent, const char word[])
{
  const Run            run = {.silent = silent};
  const CkStationarity s = Analyse(&run, info);

  assert_int_equal(s.kind, CK_STATIONARITY_REFUSED);
  assert_true(isnan(s.ratio) && isnan(s.error) && isnan(s.p));
  if (!strstr(s.why, word)) fail_msg("'%s' is not in: %s", word, s.why);
}

/* Each with the key that mends it. */
static void refusals(void **state)
{
  CkTrajectoryInfo info, good = Info();

  (void)state;
  good.snapshots = 64;
  info = good;
  info.momentum = 0.9;
  assert_refused(&info, PETSC_FALSE, "-dynamics_momentum");
  info = good;
  info.replacement = PETSC_FALSE;
  assert_refused(&info, PETSC_FALSE, "-dynamics_replacement");
  info = good;
  info.mode_matters = PETSC_TRUE;
  assert_refused(&info, PETSC_FALSE, "-dynamics_mode evaluation");
  info = good;
  info.mode[0] = '\0';
  assert_refused(&info, PETSC_FALSE, "does not say");
  info = good;
  info.batch = 3;
  assert_refused(&info, PETSC_FALSE, "-dynamics_batch");
  info = good;
  OK(PetscStrncpy(info.dynamics_type, "sde", sizeof(info.dynamics_type)));
  assert_refused(&info, PETSC_FALSE, "-dynamics_type sgd");
  assert_refused(&good, PETSC_TRUE, "-record_measure noise");
}

/* Evaluation mode needs no look at the layers. */
static void evaluation_mode(void **state)
{
  CkTrajectoryInfo info = Info();
  const Run        run = {.l2 = 0};

  (void)state;
  OK(PetscStrncpy(info.mode, "evaluation", sizeof(info.mode)));
  info.mode_matters = PETSC_TRUE;
  assert_int_equal(Analyse(&run, &info).kind, CK_STATIONARITY_YES);
}

static int RemoveFolder(void **state)
{
  static const char *const names[] = {"run.h5"};

  (void)state;
  return RemoveFolderOf(1, names);
}

int main(int argc, char **argv)
{
  const struct CMUnitTest tests[] = {cmocka_unit_test(one_where_the_relation_holds),
                                     cmocka_unit_test(not_one_where_it_does_not), cmocka_unit_test(too_short),
                                     cmocka_unit_test(refusals), cmocka_unit_test(evaluation_mode)};
  int                     rank, failed, worst;

  OK(PetscInitialize(&argc, &argv, NULL, NULL));
  OK(CkOptionsRegisterCommon());
  OK(CkAnalysisRegisterOptions());
  OK(PetscOptionsSetValue(NULL, "-trajectory_draws", "500"));
  OK(PetscOptionsSetValue(NULL, "-trajectory_level", "0.001"));
  MPI_Comm_rank(PETSC_COMM_WORLD, &rank);
  if (rank > 0 && !freopen("/dev/null", "w", stdout)) return 1;
  failed = cmocka_run_group_tests(tests, MakeFolder, RemoveFolder);
  MPI_Allreduce(&failed, &worst, 1, MPI_INT, MPI_MAX, PETSC_COMM_WORLD);
  OK(PetscFinalize());
  return worst ? 1 : 0;
}
