/* test_trajectory.c: what is appended on any split of replicas and columns is what any slab reads; stopping, going on,
   cutting back and refusing. */
#include "folder.h"
#include "messages.h"
#include <clarkia/trajectory.h>

enum { T = 23, M = 17, D = 40 };

/* Exact in single precision. */
static double Number(PetscInt64 row, PetscInt replica, PetscInt64 column)
{
  return (double)(row * 1000 + replica * 100 + column) / 4;
}

static double ScalarNumber(int scalar, PetscInt64 row, PetscInt replica)
{
  return (double)(scalar * 10000 + row * 10 + replica) / 3;
}

static CkTrajectoryInfo Info(CkTrajectoryContent content, CkType type, PetscInt replicas)
{
  return (CkTrajectoryInfo){.content = content,
                            .type = type,
                            .snapshots = T,
                            .columns = M,
                            .replicas = replicas,
                            .dimension = content == CK_CONTENT_ALL ? M : D,
                            .samples = 1000,
                            .batch = 10,
                            .seed = 7,
                            .rate = 0.1,
                            .momentum = 0.9,
                            .l2 = 1e-4,
                            .replacement = PETSC_TRUE,
                            .dynamics_type = "sgd"};
}

/* Ranks share the replicas, or where there are fewer the columns; with more ranks than work some have nothing. */
static CkTrajectoryPart Part(PetscInt replicas)
{
  CkTrajectoryPart part = {0, replicas, 0, M, PETSC_TRUE};
  PetscMPIInt      rank, size;

  MPI_Comm_rank(PETSC_COMM_WORLD, &rank);
  MPI_Comm_size(PETSC_COMM_WORLD, &size);
  if (replicas > 1) {
    part.replica = replicas * rank / size;
    part.replicas = replicas * (rank + 1) / size - part.replica;
  } else {
    part.column = M * rank * rank / (size * size);
    part.columns = M * (rank + 1) * (rank + 1) / (size * size) - part.column;
    part.scalars = (PetscBool)(rank == size - 1);
  }
  return part;
}

static void Append(CkTrajectory trajectory, const CkTrajectoryPart *part, PetscInt64 row, double shift)
{
  double values[8 * M], scalars[CK_SCALARS * 8];

  for (PetscInt r = 0; r < part->replicas; ++r) {
    for (PetscInt64 c = 0; c < part->columns; ++c)
      values[r * part->columns + c] = Number(row, part->replica + r, part->column + c) + shift;
    for (int s = 0; s < CK_SCALARS; ++s)
      scalars[s * part->replicas + r] = ScalarNumber(s, row, part->replica + r) + shift;
  }
  OK(CkTrajectoryAppend(trajectory, 5 * row, 0.5 * (double)row, values, part->scalars ? scalars : NULL));
}

static CkTrajectory Create(const CkTrajectoryInfo *info, const CkTrajectoryPart *part, double bytes, double seconds)
{
  CkTrajectory trajectory;
  PetscInt64   columns[M];
  double       directions[M * D];

  for (PetscInt64 c = 0; c < part->columns; ++c) columns[c] = 2 * (part->column + c);
  for (PetscInt64 i = 0; i < part->columns * D; ++i) directions[i] = (double)(part->column * D + i);
  OK(CkTrajectoryCreate(PETSC_COMM_WORLD, Path("run.h5"), info, part, columns, directions, &trajectory));
  OK(CkTrajectorySetBuffer(trajectory, bytes, seconds));
  return trajectory;
}

static int CheckSlab(CkTrajectory trajectory, PetscInt replica, PetscInt64 rows, PetscInt64 column, PetscInt64 columns)
{
  double values[T * M];
  int    right = 1;

  OK(CkTrajectoryRead(trajectory, replica, T - rows, rows, column, columns, values));
  for (PetscInt64 i = 0; i < rows; ++i)
    for (PetscInt64 c = 0; c < columns; ++c)
      right = right && values[i * columns + c] == Number(T - rows + i, replica, column + c);
  return right;
}

/* Every number of a file of `rows` snapshots, each rank another slab. */
static void Check(const char file[], const CkTrajectoryInfo *wanted, PetscInt64 rows)
{
  CkTrajectory     trajectory;
  CkTrajectoryInfo info;
  PetscInt64       steps[T], columns[M];
  double           times[T], values[T];
  PetscMPIInt      rank;

  MPI_Comm_rank(PETSC_COMM_WORLD, &rank);
  OK(CkTrajectoryOpen(PETSC_COMM_WORLD, Path(file), &trajectory));
  OK(CkTrajectoryGetInfo(trajectory, &info));
  assert_on_all_ranks(info.snapshots == rows && info.columns == M && info.replicas == wanted->replicas);
  assert_on_all_ranks(info.content == wanted->content && info.type == wanted->type && info.seed == 7);
  assert_on_all_ranks(info.dimension == wanted->dimension && info.samples == 1000 && info.batch == 10);
  assert_on_all_ranks(info.rate == 0.1 && info.momentum == 0.9 && info.l2 == 1e-4 && info.replacement);
  assert_on_all_ranks(strcmp(info.dynamics_type, "sgd") == 0);
  OK(CkTrajectoryReadSteps(trajectory, steps));
  OK(CkTrajectoryReadTimes(trajectory, times));
  for (PetscInt64 i = 0; i < rows; ++i) assert_on_all_ranks(steps[i] == 5 * i && times[i] == 0.5 * (double)i);
  for (PetscInt r = 0; r < info.replicas; ++r) {
    for (int s = 0; s < CK_SCALARS; ++s) {
      OK(CkTrajectoryReadScalar(trajectory, (CkTrajectoryScalar)s, r, values));
      for (PetscInt64 i = 0; i < rows; ++i) assert_on_all_ranks(values[i] == ScalarNumber(s, i, r));
    }
    if (rows < T) continue;
    assert_on_all_ranks(CheckSlab(trajectory, r, T, 0, M));
    assert_on_all_ranks(CheckSlab(trajectory, r, rank % 2 ? 0 : 3, rank, M - 4 - rank)); /* some ask for nothing */
  }
  if (info.content != CK_CONTENT_PROJECTIONS) {
    OK(CkTrajectoryReadColumns(trajectory, columns));
    for (PetscInt64 c = 0; c < M; ++c) assert_on_all_ranks(columns[c] == 2 * c);
  } else {
    double directions[2 * D];

    OK(CkTrajectoryReadDirections(trajectory, rank, 2, directions));
    for (int i = 0; i < 2 * D; ++i) assert_on_all_ranks(directions[i] == rank * D + i);
  }
  OK(CkTrajectoryDestroy(&trajectory));
}

static void what_is_written_is_read(void **state)
{
  static const struct {
    CkTrajectoryContent content;
    CkType              type;
    PetscInt            replicas;
    double              bytes; /* of the buffer: one snapshot, a few, all */
  } cases[] = {{CK_CONTENT_ALL, CK_F64, 1, 1},
               {CK_CONTENT_SUBSET, CK_F32, 1, 1000},
               {CK_CONTENT_PROJECTIONS, CK_F64, 1, 1e9},
               {CK_CONTENT_ALL, CK_F32, 3, 1000},
               {CK_CONTENT_PROJECTIONS, CK_F64, 2, 1e9}};

  (void)state;
  for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); ++i) {
    const CkTrajectoryInfo info = Info(cases[i].content, cases[i].type, cases[i].replicas);
    const CkTrajectoryPart part = Part(info.replicas);
    CkTrajectory           trajectory = Create(&info, &part, cases[i].bytes, 1e9);

    for (PetscInt64 row = 0; row < T; ++row) Append(trajectory, &part, row, 0);
    OK(CkTrajectoryFinish(trajectory));
    OK(CkTrajectoryDestroy(&trajectory));
    Check("run.h5", &info, T);
  }
}

/* What has been flushed is in the file while it is being written, and stays when the writer goes. */
static void a_stopped_run_leaves_what_was_flushed(void **state)
{
  const CkTrajectoryInfo info = Info(CK_CONTENT_ALL, CK_F64, 1);
  const CkTrajectoryPart part = Part(1);
  CkTrajectory           trajectory = NULL, other = NULL;

  (void)state;
  MPI_Barrier(PETSC_COMM_WORLD);
  unlink(Path("run.h5"));
  MPI_Barrier(PETSC_COMM_WORLD);
  trajectory = Create(&info, &part, 1e9, 1e9);
  for (PetscInt64 row = 0; row < 9; ++row) Append(trajectory, &part, row, 0);
  OK(CkTrajectoryFlush(trajectory));
  for (PetscInt64 row = 9; row < 12; ++row) Append(trajectory, &part, row, 0);
  Check("run.h5.part", &info, 9);
  assert_message(CkTrajectoryFinish(trajectory), "run.h5", "12 snapshots of 23");
  OK(CkTrajectoryDestroy(&trajectory));
  Check("run.h5.part", &info, 12); /* the attempt to finish has flushed */
  assert_message(CkTrajectoryOpen(PETSC_COMM_WORLD, Path("run.h5"), &other), "run.h5 is not there yet", "run.h5.part");
  OK(CkTrajectoryDestroy(&other));
}

static void Resume(PetscInt64 snapshots, PetscInt64 from, CkTrajectory *trajectory, CkTrajectoryPart *part)
{
  CkTrajectoryInfo info = Info(CK_CONTENT_ALL, CK_F64, 1);

  info.snapshots = snapshots;
  *part = Part(1);
  OK(CkTrajectoryResume(PETSC_COMM_WORLD, Path("run.h5"), &info, part, from, trajectory));
  OK(CkTrajectorySetBuffer(*trajectory, 1e9, 0));
}

/* Rows beyond a checkpoint, wrong here, are written again; from the unfinished file, from the finished one, and with
   more snapshots than were planned. */
static void going_on_gives_the_uninterrupted_file(void **state)
{
  CkTrajectoryInfo info = Info(CK_CONTENT_ALL, CK_F64, 1);
  CkTrajectoryPart part = Part(1);
  CkTrajectory     trajectory = NULL;
  PetscInt64       count;

  (void)state;
  info.snapshots = 15;
  trajectory = Create(&info, &part, 1e9, 0);
  for (PetscInt64 row = 0; row < 12; ++row) Append(trajectory, &part, row, row < 7 ? 0 : 1);
  OK(CkTrajectoryDestroy(&trajectory));
  Resume(15, 7, &trajectory, &part);
  OK(CkTrajectoryGetCount(trajectory, &count));
  assert_on_all_ranks(count == 7);
  for (PetscInt64 row = 7; row < 15; ++row) Append(trajectory, &part, row, row < 10 ? 0 : 1);
  OK(CkTrajectoryFinish(trajectory));
  OK(CkTrajectoryDestroy(&trajectory));
  Resume(15, 10, &trajectory, &part);
  for (PetscInt64 row = 10; row < 14; ++row) Append(trajectory, &part, row, 0);
  OK(CkTrajectoryDestroy(&trajectory));
  Resume(T, 14, &trajectory, &part);
  for (PetscInt64 row = 14; row < T; ++row) Append(trajectory, &part, row, 0);
  OK(CkTrajectoryFinish(trajectory));
  OK(CkTrajectoryDestroy(&trajectory));
  info.snapshots = T;
  Check("run.h5", &info, T);
}

static void other_files_are_refused(void **state)
{
  CkTrajectoryInfo info = Info(CK_CONTENT_ALL, CK_F64, 1);
  CkTrajectoryPart part = Part(1);
  CkTrajectory     trajectory = NULL;
  CkFile           file;

  (void)state;
  info.snapshots = 50;
  assert_message(CkTrajectoryResume(PETSC_COMM_WORLD, Path("run.h5"), &info, &part, 30, &trajectory), "run.h5",
                 "has 23 snapshots", "recorded 30");
  OK(CkTrajectoryDestroy(&trajectory));
  info.type = CK_F32;
  assert_message(CkTrajectoryResume(PETSC_COMM_WORLD, Path("run.h5"), &info, &part, 5, &trajectory), "run.h5",
                 "float64 there and float32 here");
  OK(CkTrajectoryDestroy(&trajectory));
  info = Info(CK_CONTENT_ALL, CK_F64, 1);
  info.dimension = 99;
  assert_message(CkTrajectoryResume(PETSC_COMM_WORLD, Path("run.h5"), &info, &part, 5, &trajectory), "run.h5",
                 "dimension is 17 there and 99 here");
  OK(CkTrajectoryDestroy(&trajectory));
  assert_message(CkTrajectoryResume(PETSC_COMM_WORLD, Path("none.h5"), &info, &part, 5, &trajectory), "none.h5.part",
                 "nor");
  OK(CkTrajectoryDestroy(&trajectory));
  OK(CkFileCreate(PETSC_COMM_WORLD, Path("other.h5"), &file));
  OK(CkFileCommit(file));
  OK(CkFileDestroy(&file));
  assert_message(CkTrajectoryOpen(PETSC_COMM_WORLD, Path("other.h5"), &trajectory), "other.h5 is not a trajectory");
  OK(CkTrajectoryDestroy(&trajectory));
  OK(CkTrajectoryOpen(PETSC_COMM_WORLD, Path("run.h5"), &trajectory));
  assert_message(CkTrajectoryRead(trajectory, 0, 20, 4, 0, 1, NULL), "run.h5", "23 snapshots");
  assert_message(CkTrajectoryRead(trajectory, 0, 0, 1, 16, 2, NULL), "run.h5", "17 columns");
  OK(CkTrajectoryDestroy(&trajectory));
}

/* A file whose datasets contradict each other. */
static void a_damaged_file_is_named(void **state)
{
  const PetscInt64 start = 0;
  PetscInt64       count, recorded = T + 1;
  PetscMPIInt      rank;
  CkTrajectory     trajectory = NULL;
  CkFile           file;

  (void)state;
  MPI_Comm_rank(PETSC_COMM_WORLD, &rank);
  count = rank == 0;
  OK(CkFileOpenUpdate(PETSC_COMM_WORLD, Path("run.h5"), &file));
  OK(CkFileUpdateBox(file, "/recorded", CK_I64, &start, &count, &recorded));
  OK(CkFileDestroy(&file));
  assert_message(CkTrajectoryOpen(PETSC_COMM_WORLD, Path("run.h5"), &trajectory), "run.h5:/weights has 23 snapshots",
                 "says 24");
  OK(CkTrajectoryDestroy(&trajectory));
}

static int RemoveFolder(void **state)
{
  static const char *const names[] = {"run.h5", "run.h5.part", "other.h5"};

  (void)state;
  return RemoveFolderOf(3, names);
}

int main(int argc, char **argv)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(what_is_written_is_read),
    cmocka_unit_test(a_stopped_run_leaves_what_was_flushed),
    cmocka_unit_test(going_on_gives_the_uninterrupted_file),
    cmocka_unit_test(other_files_are_refused),
    cmocka_unit_test(a_damaged_file_is_named),
  };
  int rank, failed, worst;

  OK(PetscInitialize(&argc, &argv, NULL, NULL));
  MPI_Comm_rank(PETSC_COMM_WORLD, &rank);
  if (rank > 0 && !freopen("/dev/null", "w", stdout)) return 1;
  failed = cmocka_run_group_tests(tests, MakeFolder, RemoveFolder);
  MPI_Allreduce(&failed, &worst, 1, MPI_INT, MPI_MAX, PETSC_COMM_WORLD);
  OK(PetscFinalize());
  return worst ? 1 : 0;
}
