/* trajectory_write.c: the life of a trajectory file that is written: made for all snapshots planned, filled, named. */
#include "trajectoryimpl.h"
#include <clarkia/error.h>
#include <math.h>
#include <string.h>

/* Shape of the pieces in which the weights lie: about a megabyte, so that neither a snapshot nor a slab of columns over
   all snapshots is scattered into small parts. */
#define PIECE_BYTES 1048576
#define PIECE_COLUMNS 32768
#define PIECE_ROWS 8192 /* of step, time and scalars */

#define BUFFER_BYTES 67108864. /* of a rank */
#define BUFFER_SECONDS 5.
#define COPY_BYTES 33554432 /* of a rank, at a time */

/* ---- creation ---- */

static PetscErrorCode WriteInfo(CkTrajectory t, CkFile file)
{
  const CkTrajectoryInfo *info = &t->info;

  PetscFunctionBeginUser;
  PetscCall(CkFileWriteString(file, "/", "kind", "trajectory"));
  PetscCall(CkFileWriteString(file, "/", "content", CkTrajectoryContentName(info->content)));
  PetscCall(CkFileWriteInt(file, "/", "dimension", info->dimension));
  PetscCall(CkFileWriteInt(file, "/", "samples", info->samples));
  PetscCall(CkFileWriteInt(file, "/", "batch", info->batch));
  PetscCall(CkFileWriteInt(file, "/", "replicas", info->replicas));
  PetscCall(CkFileWriteInt(file, "/", "replacement", info->replacement));
  PetscCall(CkFileWriteReal(file, "/", "learning_rate", info->rate));
  PetscCall(CkFileWriteReal(file, "/", "momentum", info->momentum));
  PetscCall(CkFileWriteReal(file, "/", "l2", info->l2));
  PetscCall(CkFileWriteString(file, "/", "dynamics_type", info->dynamics_type));
  PetscCall(CkFileWriteString(file, "/", "mode", info->mode));
  PetscCall(CkFileWriteInt(file, "/", "mode_matters", info->mode_matters));
  PetscCall(CkFileWriteProvenance(file));
  PetscCall(CkFileWriteInt(file, "/", "seed", info->seed));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Which weight, or which projection, each column is. Written by the ranks whose part begins at replica 0. */
static PetscErrorCode WriteColumns(CkTrajectory t, CkFile file, const PetscInt64 columns[], const double directions[])
{
  const PetscInt64 n = t->mine.replicas > 0 && t->mine.replica == 0 ? t->mine.columns : 0;
  const PetscInt64 shape[] = {t->info.columns, t->info.dimension};

  PetscFunctionBeginUser;
  if (t->info.content == CK_CONTENT_PROJECTIONS) {
    PetscCall(CkFileCreateDataset(file, "/directions", CK_F64, 2, shape, "1",
                                  "direction of each column of /weights, which is the scalar product with it"));
    PetscCall(CkFileWriteRows(file, "/directions", CK_F64, n ? t->mine.column : 0, n, directions));
  } else {
    PetscCall(CkFileCreateDataset(file, "/columns", CK_I64, 1, shape, "1",
                                  "which weight each column of /weights is, in the order of the parameter table"));
    PetscCall(CkFileWriteRows(file, "/columns", CK_I64, n ? t->mine.column : 0, n, columns));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode CreateWeights(CkTrajectory t, CkFile file)
{
  const CkTrajectoryInfo *info = &t->info;
  const int               axes = CkTrajectoryAxes(info);
  PetscInt64              shape[3] = {info->snapshots, info->replicas}, chunk[3] = {1, 1};

  PetscFunctionBeginUser;
  shape[1 + axes] = info->columns;
  chunk[1 + axes] = PetscMin(info->columns, PIECE_COLUMNS);
  chunk[0] = PIECE_BYTES / (chunk[1 + axes] * (PetscInt64)CkTypeSize(info->type));
  chunk[0] = PetscMax(1, PetscMin(chunk[0], info->snapshots));
  PetscCall(CkFileCreateGrowing(file, "/weights", info->type, 2 + axes, shape, chunk, "1",
                                info->content == CK_CONTENT_PROJECTIONS
                                  ? "projections of the weights at each snapshot, by replica where there are several"
                                  : "weights at each snapshot, by replica where there are several"));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static const char *ScalarMeaning(int scalar)
{
  static const char *const meanings[CK_SCALARS] = {
    "mean of f_k over all training samples, NaN where not measured",
    "share of training samples whose largest score is not that of their class, NaN where not measured",
    "mean of f_k over the test samples, NaN where not measured",
    "share of wrong predictions of the test samples, NaN where not measured",
    "norm of the gradient of the training loss, NaN where not measured",
    "trace of the diffusion matrix D, NaN where not measured",
    "norm of all the weights, NaN where not measured",
    "scalar product of all the weights with the gradient of the training loss, NaN where not measured"};

  return meanings[scalar];
}

static PetscErrorCode CreateSeries(CkTrajectory t, CkFile file)
{
  const int        axes = CkTrajectoryAxes(&t->info);
  const PetscInt64 shape[] = {t->info.snapshots, t->info.replicas};
  const PetscInt64 chunk[] = {PetscMin(t->info.snapshots, PIECE_ROWS), t->info.replicas};
  char             path[64];

  PetscFunctionBeginUser;
  PetscCall(CkFileCreateGrowing(file, "/step", CK_I64, 1, shape, chunk, "1", "updates done at each snapshot"));
  PetscCall(
    CkFileCreateGrowing(file, "/time", CK_F64, 1, shape, chunk, "1", "sum of the learning rates of these updates"));
  for (int s = 0; s < CK_SCALARS; ++s) {
    PetscCall(PetscSNPrintf(path, sizeof(path), "/%s", CkTrajectoryScalarName((CkTrajectoryScalar)s)));
    PetscCall(CkFileCreateGrowing(file, path, CK_F64, 1 + axes, shape, chunk, "1", ScalarMeaning(s)));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The first `count` rows of a dataset of another file. */
static PetscErrorCode CopyRows(CkTrajectory t, CkFile from, CkFile to, const char path[], PetscInt64 count)
{
  PetscInt64  shape[CK_MAX_RANK], rows, rounds, piece, row;
  size_t      bytes;
  int         rank;
  CkType      type;
  PetscMPIInt ranks;
  void       *data;

  PetscFunctionBeginUser;
  PetscCallMPI(MPI_Comm_size(t->comm, &ranks));
  PetscCall(CkFileGetDataset(from, path, &type, &rank, shape));
  bytes = CkTypeSize(type);
  for (int i = 1; i < rank; ++i) bytes *= (size_t)shape[i];
  piece = PetscMax(1, COPY_BYTES / (PetscInt64)PetscMax(bytes, 1));
  rounds = (count + piece * ranks - 1) / (piece * ranks);
  PetscCall(PetscMalloc((size_t)PetscMin(piece, PetscMax(count, 1)) * bytes, &data));
  for (PetscInt64 round = 0; round < rounds; ++round) {
    row = PetscMin(count, (round * ranks + t->rank) * piece);
    rows = PetscMin(piece, count - row);
    PetscCall(CkFileReadRows(from, path, type, row, rows, data));
    PetscCall(CkFileWriteRows(to, path, type, row, rows, data));
  }
  PetscCall(PetscFree(data));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode CopySnapshots(CkTrajectory t, CkFile from, CkFile to, PetscInt64 count)
{
  char path[64];

  PetscFunctionBeginUser;
  PetscCall(CopyRows(t, from, to, "/weights", count));
  PetscCall(CopyRows(t, from, to, "/step", count));
  PetscCall(CopyRows(t, from, to, "/time", count));
  for (int s = 0; s < CK_SCALARS; ++s) {
    PetscCall(PetscSNPrintf(path, sizeof(path), "/%s", CkTrajectoryScalarName((CkTrajectoryScalar)s)));
    PetscCall(CopyRows(t, from, to, path, count));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The file with room for all snapshots, the first `count` of them from another one. */
static PetscErrorCode MakeFile(CkTrajectory t, const PetscInt64 columns[], const double directions[], CkFile from,
                               PetscInt64 count)
{
  const PetscInt64 one = 1;
  CkFile           file;
  PetscErrorCode   ierr;

  PetscFunctionBeginUser;
  PetscCall(CkFileCreate(t->comm, t->part, &file));
  PetscCall(WriteInfo(t, file));
  PetscCall(WriteColumns(t, file, columns, directions));
  PetscCall(CkFileWriteAll(file, "/recorded", CK_I64, 1, &one, &count, "1",
                           "snapshots that are complete in the other datasets"));
  PetscCall(CreateWeights(t, file));
  PetscCall(CreateSeries(t, file));
  if (from) PetscCall(CopySnapshots(t, from, file, count));
  ierr = CkFileCommit(file);
  PetscCall(CkFileDestroy(&file));
  PetscCall(ierr);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode BeginWriting(MPI_Comm comm, const char name[], const CkTrajectoryInfo *info,
                                   const CkTrajectoryPart *part, CkTrajectory *trajectory)
{
  CkTrajectory t;

  PetscFunctionBeginUser;
  PetscCheck(info->snapshots >= 1 && info->columns >= 1 && info->replicas >= 1, comm, PETSC_ERR_ARG_OUTOFRANGE,
             "A trajectory of %" PetscInt64_FMT " snapshots, %" PetscInt64_FMT " columns, %" PetscInt_FMT " replicas",
             info->snapshots, info->columns, info->replicas);
  PetscCall(CkTrajectoryNew(comm, name, trajectory));
  t = *trajectory;
  t->info = *info;
  t->mine = *part;
  if (t->mine.replicas == 0 || t->mine.columns == 0) {
    t->mine.columns = t->mine.column = 0;
    if (!t->mine.scalars) t->mine.replicas = t->mine.replica = 0;
  }
  t->bytes = BUFFER_BYTES;
  t->interval = BUFFER_SECONDS;
  PetscCall(CkFileCheckOutput(comm, name));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkTrajectoryCreate(MPI_Comm comm, const char name[], const CkTrajectoryInfo *info,
                                  const CkTrajectoryPart *part, const PetscInt64 columns[], const double directions[],
                                  CkTrajectory *trajectory)
{
  CkTrajectory t;

  PetscFunctionBeginUser;
  PetscCall(BeginWriting(comm, name, info, part, trajectory));
  t = *trajectory;
  PetscCall(MakeFile(t, columns, directions, NULL, 0));
  PetscCall(CkFileOpenUpdate(comm, t->part, &t->file));
  t->last = MPI_Wtime();
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* ---- going on ---- */

static PetscErrorCode CheckSame(CkTrajectory t, const CkTrajectory old, PetscInt64 count)
{
  const CkTrajectoryInfo *a = &old->info, *b = &t->info;
  const PetscInt64        found[] = {(PetscInt64)a->type, a->columns, a->replicas, a->dimension};
  const PetscInt64        wanted[] = {(PetscInt64)b->type, b->columns, b->replicas, b->dimension};
  const char *const       names[] = {"type", "number of columns", "number of replicas", "dimension"};

  PetscFunctionBeginUser;
  CkCheckAll(t->comm, a->content == b->content, PETSC_ERR_ARG_INCOMP,
             "%s is of another run: content is %s there and %s here", old->name, CkTrajectoryContentName(a->content),
             CkTrajectoryContentName(b->content));
  CkCheckAll(t->comm, found[0] == wanted[0], PETSC_ERR_ARG_INCOMP,
             "%s is of another run: weights are %s there and %s here", old->name, CkTypeName(a->type),
             CkTypeName(b->type));
  for (int i = 1; i < 4; ++i)
    CkCheckAll(t->comm, found[i] == wanted[i], PETSC_ERR_ARG_INCOMP,
               "%s is of another run: its %s is %" PetscInt64_FMT " there and %" PetscInt64_FMT " here", old->name,
               names[i], found[i], wanted[i]);
  for (int s = 0; s < CK_SCALARS; ++s)
    CkCheckAll(
      t->comm, old->there[s], PETSC_ERR_FILE_UNEXPECTED,
      "%s has no /%s: an older version began it; go on with that version, or begin anew without the checkpoint",
      old->name, CkTrajectoryScalarName((CkTrajectoryScalar)s));
  CkCheckAll(t->comm, a->snapshots >= count, PETSC_ERR_FILE_UNEXPECTED,
             "%s has %" PetscInt64_FMT " snapshots, but the run had recorded %" PetscInt64_FMT
             " at the place from which it goes on; the file is not the one it wrote",
             old->name, a->snapshots, count);
  CkCheckAll(t->comm, b->snapshots >= count, PETSC_ERR_ARG_INCOMP,
             "%s: %" PetscInt64_FMT " snapshots are recorded, the run is to have %" PetscInt64_FMT " in all", old->name,
             count, b->snapshots);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* "<name>.part", or "<name>" of a run that had come to its end. */
static PetscErrorCode FindFile(CkTrajectory t, const char **found)
{
  PetscMPIInt which = 0; /* 1: part, 2: finished */
  PetscBool   there;

  PetscFunctionBeginUser;
  if (t->rank == 0) {
    PetscCall(PetscTestFile(t->part, '\0', &there));
    if (there) which = 1;
    else PetscCall(PetscTestFile(t->name, '\0', &there));
    if (there && !which) which = 2;
  }
  PetscCallMPI(MPI_Bcast(&which, 1, MPI_INT, 0, t->comm));
  CkCheckAll(t->comm, which, PETSC_ERR_FILE_OPEN,
             "the run had a trajectory, but there is neither %s nor %s to go on with; bring it back, or begin anew "
             "without the checkpoint",
             t->part, t->name);
  *found = which == 1 ? t->part : t->name;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* columns and directions of the old file, to be written again; only where info has another number of snapshots. */
static PetscErrorCode ReadColumns(CkTrajectory t, CkTrajectory old, PetscInt64 **columns, double **directions)
{
  const PetscInt64 n = t->mine.columns, first = n ? t->mine.column : 0;

  PetscFunctionBeginUser;
  *columns = NULL;
  *directions = NULL;
  if (t->info.content == CK_CONTENT_PROJECTIONS) {
    PetscCall(PetscMalloc1((size_t)n * (size_t)t->info.dimension, directions));
    PetscCall(CkTrajectoryReadDirections(old, first, n, *directions));
  } else {
    PetscCall(PetscMalloc1(n, columns));
    PetscCall(CkFileReadRows(old->file, "/columns", CK_I64, first, n, *columns));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Remake(CkTrajectory t, CkTrajectory old, PetscInt64 count)
{
  PetscInt64 *columns;
  double     *directions;

  PetscFunctionBeginUser;
  PetscCall(ReadColumns(t, old, &columns, &directions));
  PetscCall(MakeFile(t, columns, directions, old->file, count));
  PetscCall(PetscFree(columns));
  PetscCall(PetscFree(directions));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode SetRecorded(CkTrajectory t, PetscInt64 recorded)
{
  const PetscInt64 start = 0, count = t->rank == 0;

  PetscFunctionBeginUser;
  PetscCall(CkFileUpdateBox(t->file, "/recorded", CK_I64, &start, &count, &recorded));
  t->flushed = recorded;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkTrajectoryResume(MPI_Comm comm, const char name[], const CkTrajectoryInfo *info,
                                  const CkTrajectoryPart *part, PetscInt64 snapshots, CkTrajectory *trajectory)
{
  CkTrajectory t, old = NULL;
  PetscInt64   shape[CK_MAX_RANK];
  const char  *found = NULL;

  PetscFunctionBeginUser;
  PetscCall(BeginWriting(comm, name, info, part, trajectory));
  t = *trajectory;
  PetscCall(FindFile(t, &found));
  PetscCall(CkTrajectoryOpen(comm, found, &old));
  PetscCall(CheckSame(t, old, snapshots));
  PetscCall(CkFileGetDataset(old->file, "/weights", NULL, NULL, shape));
  if (shape[0] != info->snapshots) PetscCall(Remake(t, old, snapshots));
  PetscCall(CkTrajectoryDestroy(&old));
  if (shape[0] == info->snapshots && found == t->name) PetscCall(CkFileRename(comm, t->name, t->part));
  PetscCall(CkFileOpenUpdate(comm, t->part, &t->file));
  PetscCall(SetRecorded(t, snapshots));
  t->last = MPI_Wtime();
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* ---- snapshots ---- */

PetscErrorCode CkTrajectorySetBuffer(CkTrajectory t, double bytes, double seconds)
{
  PetscFunctionBeginUser;
  PetscCheck(t->room == 0, t->comm, PETSC_ERR_ORDER, "The buffer is chosen before the first snapshot");
  t->bytes = bytes;
  t->interval = seconds;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static size_t SnapshotBytes(const CkTrajectory t)
{
  return (size_t)t->mine.replicas * (size_t)t->mine.columns * CkTypeSize(t->info.type);
}

/* Whole pieces of the file if they fit. */
static PetscErrorCode MakeBuffer(CkTrajectory t)
{
  const double per = (double)(SnapshotBytes(t) + 8 * (2 + CK_SCALARS * (size_t)PetscMax(t->mine.replicas, 1)));
  PetscInt64   room = (PetscInt64)fmin(fmax(1, t->bytes / per), 1e6);

  PetscFunctionBeginUser;
  room = PetscMin(room, t->info.snapshots - t->flushed);
  PetscCallMPI(MPI_Allreduce(&room, &t->room, 1, MPIU_INT64, MPI_MIN, t->comm));
  PetscCall(PetscMalloc((size_t)t->room * SnapshotBytes(t), &t->values));
  for (int s = 0; s < CK_SCALARS; ++s)
    PetscCall(PetscMalloc1((size_t)t->room * (size_t)t->mine.replicas, &t->scalars[s]));
  PetscCall(PetscMalloc1(t->room, &t->step));
  PetscCall(PetscMalloc1(t->room, &t->time));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkTrajectoryAppend(CkTrajectory t, PetscInt64 step, double time, const double values[],
                                  const double scalars[])
{
  const size_t n = (size_t)t->mine.replicas * (size_t)t->mine.columns, R = (size_t)t->mine.replicas;
  PetscMPIInt  due;

  PetscFunctionBeginUser;
  PetscCheck(t->file && t->flushed + t->buffered < t->info.snapshots, t->comm, PETSC_ERR_ORDER,
             "%s: no more than the %" PetscInt64_FMT " snapshots planned", t->name, t->info.snapshots);
  if (t->room == 0) PetscCall(MakeBuffer(t));
  if (t->info.type == CK_F64) {
    PetscCall(PetscArraycpy((double *)t->values + (size_t)t->buffered * n, values, n));
  } else {
    float *row = (float *)t->values + (size_t)t->buffered * n;

    for (size_t i = 0; i < n; ++i) row[i] = (float)values[i];
  }
  for (int s = 0; s < CK_SCALARS && scalars; ++s)
    PetscCall(PetscArraycpy(t->scalars[s] + (size_t)t->buffered * R, scalars + (size_t)s * R, R));
  t->step[t->buffered] = step;
  t->time[t->buffered] = time;
  ++t->buffered;
  due = t->buffered == t->room || MPI_Wtime() - t->last >= t->interval;
  PetscCallMPI(MPI_Bcast(&due, 1, MPI_INT, 0, t->comm));
  if (due) PetscCall(CkTrajectoryFlush(t));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode WriteBuffer(CkTrajectory t)
{
  const int        axes = CkTrajectoryAxes(&t->info);
  const PetscInt64 R = t->mine.replicas, n = t->buffered;
  PetscInt64       start[3] = {t->flushed, t->mine.replica}, count[3] = {R > 0 ? n : 0, R};
  char             path[64];

  PetscFunctionBeginUser;
  start[1 + axes] = t->mine.column;
  count[1 + axes] = t->mine.columns;
  PetscCall(CkFileUpdateBox(t->file, "/weights", t->info.type, start, count, t->values));
  start[1] = t->mine.replica;
  count[0] = t->mine.scalars ? n : 0;
  count[1] = R;
  for (int s = 0; s < CK_SCALARS; ++s) {
    PetscCall(PetscSNPrintf(path, sizeof(path), "/%s", CkTrajectoryScalarName((CkTrajectoryScalar)s)));
    PetscCall(CkFileUpdateBox(t->file, path, CK_F64, start, count, t->scalars[s]));
  }
  count[0] = t->rank == 0 ? n : 0;
  PetscCall(CkFileUpdateBox(t->file, "/step", CK_I64, start, count, t->step));
  PetscCall(CkFileUpdateBox(t->file, "/time", CK_F64, start, count, t->time));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkTrajectoryFlush(CkTrajectory t)
{
  PetscFunctionBeginUser;
  PetscCheck(t->file, t->comm, PETSC_ERR_ORDER, "%s is finished", t->name);
  if (t->buffered > 0) {
    PetscCall(WriteBuffer(t));
    PetscCall(CkFileSync(t->file)); /* before the count says that they are there */
    PetscCall(SetRecorded(t, t->flushed + t->buffered));
    t->buffered = 0;
  }
  t->last = MPI_Wtime();
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkTrajectoryGetCount(CkTrajectory t, PetscInt64 *count)
{
  PetscFunctionBeginUser;
  *count = t->flushed + t->buffered;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkTrajectoryFinish(CkTrajectory t)
{
  PetscFunctionBeginUser;
  PetscCall(CkTrajectoryFlush(t));
  PetscCheck(t->flushed == t->info.snapshots, t->comm, PETSC_ERR_ORDER,
             "%s: %" PetscInt64_FMT " snapshots of %" PetscInt64_FMT, t->name, t->flushed, t->info.snapshots);
  PetscCall(CkFileSync(t->file));
  PetscCall(CkFileDestroy(&t->file));
  PetscCall(CkFileRename(t->comm, t->part, t->name));
  PetscFunctionReturn(PETSC_SUCCESS);
}

double CkTrajectoryBytes(const CkTrajectoryInfo *info)
{
  const double T = (double)info->snapshots, R = (double)info->replicas, m = (double)info->columns;
  const double columns = info->content == CK_CONTENT_PROJECTIONS ? m * (double)info->dimension : m;

  return T * R * m * (double)CkTypeSize(info->type) + 8 * (T * (2 + CK_SCALARS * R) + columns);
}
