/* trajectory.c: what a trajectory file is, and its reader. */
#include "trajectoryimpl.h"
#include <clarkia/error.h>
#include <math.h>
#include <string.h>

static const char *const contents[] = {"all", "subset", "projections"};

const char *CkTrajectoryScalarName(CkTrajectoryScalar scalar)
{
  static const char *const names[CK_SCALARS] = {"loss",          "error",       "test_loss",    "test_error",
                                                "gradient_norm", "noise_trace", "weights_norm", "weights_dot_gradient"};

  return names[scalar];
}

const char *CkTrajectoryContentName(CkTrajectoryContent content)
{
  return contents[content];
}

PetscErrorCode CkTrajectoryNew(MPI_Comm comm, const char name[], CkTrajectory *trajectory)
{
  CkTrajectory t;

  PetscFunctionBeginUser;
  *trajectory = NULL;
  CkCheckAll(comm, strlen(name) + 6 < sizeof(t->name), PETSC_ERR_FILE_OPEN, "the name of the trajectory is too long");
  PetscCall(PetscNew(&t));
  PetscCall(PetscCommDuplicate(comm, &t->comm, NULL));
  PetscCallMPI(MPI_Comm_rank(comm, &t->rank));
  PetscCall(PetscStrncpy(t->name, name, sizeof(t->name)));
  PetscCall(PetscSNPrintf(t->part, sizeof(t->part), "%s.part", name));
  *trajectory = t;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkTrajectoryDestroy(CkTrajectory *trajectory)
{
  CkTrajectory t = *trajectory;

  PetscFunctionBeginUser;
  if (!t) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(CkFileDestroy(&t->file));
  PetscCall(PetscFree(t->values));
  for (int s = 0; s < CK_SCALARS; ++s) PetscCall(PetscFree(t->scalars[s]));
  PetscCall(PetscFree(t->step));
  PetscCall(PetscFree(t->time));
  PetscCall(PetscCommDestroy(&t->comm));
  PetscCall(PetscFree(*trajectory));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkTrajectoryGetInfo(CkTrajectory trajectory, CkTrajectoryInfo *info)
{
  PetscFunctionBeginUser;
  *info = trajectory->info;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* ---- opening ---- */

static PetscErrorCode ReadContent(CkTrajectory t, CkFile file, CkTrajectoryInfo *info)
{
  char      text[32] = "";
  int       content = 0;
  PetscBool found;

  PetscFunctionBeginUser;
  PetscCall(CkFileReadString(file, "/", "kind", text, sizeof(text), &found));
  CkCheckAll(t->comm, found && strcmp(text, "trajectory") == 0, PETSC_ERR_FILE_UNEXPECTED,
             "%s is not a trajectory: its attribute kind is %s%s; train with -record FILE writes one", t->name,
             found ? "" : "missing", text);
  PetscCall(CkFileReadString(file, "/", "content", text, sizeof(text), NULL));
  while (content < 3 && strcmp(text, contents[content]) != 0) ++content;
  CkCheckAll(t->comm, content < 3, PETSC_ERR_FILE_UNEXPECTED,
             "%s: content is '%s', none of all, subset and projections", t->name, text);
  info->content = (CkTrajectoryContent)content;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Files of before they were written are silent. */
static PetscErrorCode ReadMode(CkFile file, CkTrajectoryInfo *info)
{
  PetscInt64 matters = 0;
  PetscBool  found;

  PetscFunctionBeginUser;
  PetscCall(CkFileReadString(file, "/", "mode", info->mode, sizeof(info->mode), &found));
  if (!found) info->mode[0] = '\0';
  PetscCall(CkFileReadInt(file, "/", "mode_matters", &matters, &found));
  info->mode_matters = (PetscBool)(found && matters != 0);
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkTrajectoryReadInfo(CkTrajectory t, CkFile file, CkTrajectoryInfo *info)
{
  PetscInt64 replicas, replacement;

  PetscFunctionBeginUser;
  PetscCall(ReadContent(t, file, info));
  PetscCall(CkFileReadInt(file, "/", "dimension", &info->dimension, NULL));
  PetscCall(CkFileReadInt(file, "/", "samples", &info->samples, NULL));
  PetscCall(CkFileReadInt(file, "/", "batch", &info->batch, NULL));
  PetscCall(CkFileReadInt(file, "/", "seed", &info->seed, NULL));
  PetscCall(CkFileReadInt(file, "/", "replicas", &replicas, NULL));
  PetscCall(CkFileReadInt(file, "/", "replacement", &replacement, NULL));
  PetscCall(CkFileReadReal(file, "/", "learning_rate", &info->rate, NULL));
  PetscCall(CkFileReadReal(file, "/", "momentum", &info->momentum, NULL));
  PetscCall(CkFileReadReal(file, "/", "l2", &info->l2, NULL));
  PetscCall(CkFileReadString(file, "/", "dynamics_type", info->dynamics_type, sizeof(info->dynamics_type), NULL));
  CkCheckAll(t->comm, replicas >= 1 && replicas <= 65536, PETSC_ERR_FILE_UNEXPECTED,
             "%s: %" PetscInt64_FMT " replicas, expected 1 to 65536", t->name, replicas);
  info->replicas = (PetscInt)replicas;
  info->replacement = (PetscBool)(replacement != 0);
  PetscCall(ReadMode(file, info));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* A dataset [T (, R) (, m)]; *rows: its first axis. width: m, or 0 for none; -1: any, set. */
static PetscErrorCode CheckShape(CkTrajectory t, const char path[], PetscBool replicas, PetscInt64 *width, CkType *type,
                                 PetscInt64 *rows)
{
  PetscInt64 shape[CK_MAX_RANK];
  const int  axes = 1 + (replicas ? CkTrajectoryAxes(&t->info) : 0) + (*width != 0);
  int        rank;

  PetscFunctionBeginUser;
  PetscCall(CkFileGetDataset(t->file, path, type, &rank, shape));
  CkCheckAll(t->comm, rank == axes, PETSC_ERR_FILE_UNEXPECTED, "%s:%s has %d axes, expected %d", t->name, path, rank,
             axes);
  if (*width < 0) *width = shape[rank - 1];
  CkCheckAll(t->comm, !replicas || axes < 2 || t->info.replicas == 1 || shape[1] == t->info.replicas,
             PETSC_ERR_FILE_UNEXPECTED, "%s:%s has %" PetscInt64_FMT " replicas, expected %" PetscInt_FMT, t->name,
             path, shape[1], t->info.replicas);
  CkCheckAll(t->comm, *width == 0 || shape[rank - 1] == *width, PETSC_ERR_FILE_UNEXPECTED,
             "%s:%s has %" PetscInt64_FMT " columns, expected %" PetscInt64_FMT, t->name, path, shape[rank - 1],
             *width);
  *rows = shape[0];
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Files of before they were measured do without the last two. */
static PetscErrorCode FindScalars(CkTrajectory t)
{
  char path[64];

  PetscFunctionBeginUser;
  for (int s = 0; s < CK_SCALARS; ++s) {
    t->there[s] = PETSC_TRUE;
    PetscCall(PetscSNPrintf(path, sizeof(path), "/%s", CkTrajectoryScalarName((CkTrajectoryScalar)s)));
    if (s >= CK_SCALAR_WEIGHTS_NORM) PetscCall(CkFileExists(t->file, path, &t->there[s]));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* All datasets have room for the snapshots counted. */
static PetscErrorCode CheckDatasets(CkTrajectory t)
{
  const char *const fixed[] = {"/step", "/time"};
  char              path[64];
  PetscInt64        rows, width = -1, none = 0;

  PetscFunctionBeginUser;
  PetscCall(CheckShape(t, "/weights", PETSC_TRUE, &width, &t->info.type, &rows));
  t->info.columns = width;
  CkCheckAll(t->comm, t->info.type == CK_F32 || t->info.type == CK_F64, PETSC_ERR_FILE_UNEXPECTED,
             "%s:/weights is of type %s, expected float32 or float64", t->name, CkTypeName(t->info.type));
  for (int i = -1; i < 2 + CK_SCALARS; ++i) {
    if (i >= 2 && !t->there[i - 2]) continue;
    if (i >= 2)
      PetscCall(PetscSNPrintf(path, sizeof(path), "/%s", CkTrajectoryScalarName((CkTrajectoryScalar)(i - 2))));
    else if (i >= 0) PetscCall(PetscStrncpy(path, fixed[i], sizeof(path)));
    else PetscCall(PetscStrncpy(path, "/weights", sizeof(path)));
    if (i >= 0) PetscCall(CheckShape(t, path, (PetscBool)(i >= 2), &none, NULL, &rows));
    CkCheckAll(t->comm, rows >= t->info.snapshots, PETSC_ERR_FILE_UNEXPECTED,
               "%s:%s has %" PetscInt64_FMT " snapshots, /recorded says %" PetscInt64_FMT "; the file is damaged",
               t->name, path, rows, t->info.snapshots);
  }
  if (t->info.content == CK_CONTENT_PROJECTIONS) {
    width = t->info.dimension;
    PetscCall(CheckShape(t, "/directions", PETSC_FALSE, &width, NULL, &rows));
  } else {
    PetscCall(CheckShape(t, "/columns", PETSC_FALSE, &none, NULL, &rows));
  }
  CkCheckAll(t->comm, rows == t->info.columns, PETSC_ERR_FILE_UNEXPECTED,
             "%s:/weights has %" PetscInt64_FMT " columns, /%s has %" PetscInt64_FMT, t->name, t->info.columns,
             t->info.content == CK_CONTENT_PROJECTIONS ? "directions" : "columns", rows);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* "run.h5" is still being written, or its run was stopped: then "run.h5.part" stands there. */
static PetscErrorCode CheckFinished(CkTrajectory t)
{
  PetscBool there = PETSC_TRUE, part = PETSC_FALSE;

  PetscFunctionBeginUser;
  if (t->rank == 0) {
    PetscCall(PetscTestFile(t->name, '\0', &there));
    PetscCall(PetscTestFile(t->part, '\0', &part));
  }
  CkCheckAll(t->comm, there || !part, PETSC_ERR_FILE_OPEN,
             "%s is not there yet: its run is not at its end; %s holds what has been recorded so far", t->name,
             t->part);
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkTrajectoryOpen(MPI_Comm comm, const char name[], CkTrajectory *trajectory)
{
  CkTrajectory t;

  PetscFunctionBeginUser;
  PetscCall(CkTrajectoryNew(comm, name, trajectory));
  t = *trajectory;
  PetscCall(CheckFinished(t));
  PetscCall(CkFileOpen(comm, name, &t->file));
  PetscCall(CkTrajectoryReadInfo(t, t->file, &t->info));
  PetscCall(CkFileReadAll(t->file, "/recorded", CK_I64, &t->info.snapshots));
  PetscCall(FindScalars(t));
  PetscCall(CheckDatasets(t));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* ---- reading ---- */

/* The same numbers on all ranks: rank 0's. */
static PetscErrorCode Share(CkTrajectory t, PetscInt64 n, MPI_Datatype type, void *values)
{
  int size;

  PetscFunctionBeginUser;
  PetscCallMPI(MPI_Type_size(type, &size));
  for (PetscInt64 done = 0; done < n;) { /* counts of MPI are 32 bits */
    const PetscInt64 count = PetscMin(n - done, (PetscInt64)1 << 27);

    PetscCallMPI(MPI_Bcast((char *)values + done * size, (PetscMPIInt)count, type, 0, t->comm));
    done += count;
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* A column [T] of a dataset with `axes` more axes of which `index` is taken. */
static PetscErrorCode ReadSeries(CkTrajectory t, const char path[], int axes, PetscInt64 index, CkType type,
                                 MPI_Datatype mpi, void *values)
{
  const PetscInt64 T = t->info.snapshots, start[] = {0, index}, count[] = {t->rank == 0 ? T : 0, 1};

  PetscFunctionBeginUser;
  PetscCheck(axes == 0 || (index >= 0 && index < t->info.replicas), t->comm, PETSC_ERR_ARG_OUTOFRANGE,
             "Replica %" PetscInt64_FMT " of %" PetscInt_FMT, index, t->info.replicas);
  PetscCall(CkFileReadBox(t->file, path, type, start, count, values));
  PetscCall(Share(t, T, mpi, values));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkTrajectoryReadSteps(CkTrajectory trajectory, PetscInt64 steps[])
{
  PetscFunctionBeginUser;
  PetscCall(ReadSeries(trajectory, "/step", 0, 0, CK_I64, MPIU_INT64, steps));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkTrajectoryReadTimes(CkTrajectory trajectory, double times[])
{
  PetscFunctionBeginUser;
  PetscCall(ReadSeries(trajectory, "/time", 0, 0, CK_F64, MPI_DOUBLE, times));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkTrajectoryReadScalar(CkTrajectory trajectory, CkTrajectoryScalar scalar, PetscInt replica,
                                      double values[])
{
  const int axes = CkTrajectoryAxes(&trajectory->info);
  char      path[64];

  PetscFunctionBeginUser;
  PetscCheck(replica >= 0 && replica < trajectory->info.replicas, trajectory->comm, PETSC_ERR_ARG_OUTOFRANGE,
             "Replica %" PetscInt_FMT " of %" PetscInt_FMT, replica, trajectory->info.replicas);
  if (!trajectory->there[scalar]) {
    for (PetscInt64 t = 0; t < trajectory->info.snapshots; ++t) values[t] = NAN;
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  PetscCall(PetscSNPrintf(path, sizeof(path), "/%s", CkTrajectoryScalarName(scalar)));
  PetscCall(ReadSeries(trajectory, path, axes, axes ? replica : 0, CK_F64, MPI_DOUBLE, values));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkTrajectoryReadColumns(CkTrajectory t, PetscInt64 columns[])
{
  PetscFunctionBeginUser;
  PetscCheck(t->info.content != CK_CONTENT_PROJECTIONS, t->comm, PETSC_ERR_ARG_WRONGSTATE,
             "%s holds projections, which are of no single weight", t->name);
  PetscCall(CkFileReadRows(t->file, "/columns", CK_I64, 0, t->rank == 0 ? t->info.columns : 0, columns));
  PetscCall(Share(t, t->info.columns, MPIU_INT64, columns));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkTrajectoryReadDirections(CkTrajectory t, PetscInt64 first, PetscInt64 count, double directions[])
{
  PetscFunctionBeginUser;
  PetscCheck(t->info.content == CK_CONTENT_PROJECTIONS, t->comm, PETSC_ERR_ARG_WRONGSTATE,
             "%s holds weights, not projections", t->name);
  PetscCall(CkFileReadRows(t->file, "/directions", CK_F64, first, count, directions));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkTrajectoryRead(CkTrajectory t, PetscInt replica, PetscInt64 row, PetscInt64 rows, PetscInt64 column,
                                PetscInt64 columns, double values[])
{
  const int  axes = CkTrajectoryAxes(&t->info);
  PetscInt64 start[3] = {row}, count[3] = {rows};
  PetscBool  inside;

  PetscFunctionBeginUser;
  inside = (PetscBool)(replica >= 0 && replica < t->info.replicas && row >= 0 && rows >= 0 && column >= 0 &&
                       columns >= 0 && rows <= t->info.snapshots - row && columns <= t->info.columns - column);
  CkCheckAll(t->comm, inside, PETSC_ERR_ARG_OUTOFRANGE,
             "%s: snapshots %" PetscInt64_FMT " to %" PetscInt64_FMT ", columns %" PetscInt64_FMT " to %" PetscInt64_FMT
             " of replica %" PetscInt_FMT " asked for; it has %" PetscInt64_FMT " snapshots, %" PetscInt64_FMT
             " columns, %" PetscInt_FMT " replicas",
             t->name, row, row + rows - 1, column, column + columns - 1, replica, t->info.snapshots, t->info.columns,
             t->info.replicas);
  start[1] = replica;
  count[1] = 1;
  start[1 + axes] = column;
  count[1 + axes] = columns;
  PetscCall(CkFileReadBox(t->file, "/weights", CK_F64, start, count, values));
  PetscFunctionReturn(PETSC_SUCCESS);
}
