/* recorder.c: snapshots of a run into a trajectory file. */
#include "recorder.h"
#include <clarkia/error.h>
#include <clarkia/options.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

static const CkOption table[] = {
  {"record", CK_OPTION_STRING, NULL, 0, 0, NULL,
   "trajectory file to record snapshots of the weights in; FILE.part until the run is at its end"},
  {"record_weights", CK_OPTION_STRING, "all", 0, 0, "all|stride|list|random|eigenvectors",
   "which: all weights, every so many-th, a list, or projections on random directions or on eigenvectors"},
  {"record_stride", CK_OPTION_INT, NULL, 2, 2147483647, NULL, "stride: every so many-th weight, from the first"},
  {"record_list", CK_OPTION_INTS, NULL, 0, 2147483647, NULL, "list: numbers of weights, from 0"},
  {"record_count", CK_OPTION_INT, NULL, 1, 2147483647, NULL,
   "random: number of directions; eigenvectors: how many of the file's, unset: all"},
  {"record_spectrum", CK_OPTION_FILE, NULL, 0, 0, NULL, "eigenvectors: spectrum file that holds them"},
  {"record_precision", CK_OPTION_STRING, "float64", 0, 0, "float32|float64", "numbers of the weights in the file"},
  {"record_every", CK_OPTION_INT, "1", 1, 2147483647, NULL, "a snapshot every so many updates or epochs"},
  {"record_unit", CK_OPTION_STRING, "epochs", 0, 0, "updates|epochs|decade",
   "of -record_every; decade: so many snapshots while the updates since the burn-in grow tenfold"},
  {"record_burn_in", CK_OPTION_INT, "0", 0, 2147483647, NULL,
   "updates, with unit epochs those, after which the first snapshot is taken"},
  {"record_measure", CK_OPTION_STRING, NULL, 0, 0, NULL,
   "of each snapshot also: loss (and error), gradient (its norm), noise (trace of D), test (loss and error); A,B,.."},
  {"record_flush", CK_OPTION_REAL, "5", 0, 1e6, NULL, "seconds after which what is in memory is written; 0: at once"},
  {"record_buffer", CK_OPTION_REAL, "64", 0, 1e9, NULL, "MB of memory a rank for snapshots not written yet"},
  {0}};

PetscErrorCode CkRecorderRegisterOptions(void)
{
  PetscFunctionBeginUser;
  PetscCall(CkOptionsRegister("Recording of a trajectory", table));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* ---- options ---- */

static PetscErrorCode CheckUnused(MPI_Comm comm)
{
  PetscFunctionBeginUser;
  for (const CkOption *option = table + 1; option->key; ++option) {
    char      key[64];
    PetscBool given;

    PetscCall(PetscSNPrintf(key, sizeof(key), "-%s", option->key));
    PetscCall(PetscOptionsHasName(NULL, NULL, key, &given));
    CkCheckAll(comm, !given, PETSC_ERR_ARG_INCOMP, "%s has no effect without -record FILE", key);
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static const char *WhatName(CkRecordWhat what)
{
  static const char *const names[] = {"all", "stride", "list", "random", "eigenvectors"};

  return names[what];
}

static const char *UnitName(CkRecordUnit unit)
{
  static const char *const names[] = {"update", "epoch", "a decade of updates"};

  return names[unit];
}

/* A key that one or two of the choices need and the others have no use for. */
static PetscErrorCode CheckKey(CkRecorder r, const char key[], PetscBool given, PetscBool used, PetscBool needed)
{
  PetscFunctionBeginUser;
  CkCheckAll(r->comm, !given || used, PETSC_ERR_ARG_INCOMP,
             "-record_%s has no effect with -record_weights %s: leave it out, or take other weights", key,
             WhatName(r->what));
  CkCheckAll(r->comm, given || !needed, PETSC_ERR_ARG_INCOMP, "-record_weights %s needs -record_%s", WhatName(r->what),
             key);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode ReadWhat(CkRecorder r)
{
  char      text[32];
  PetscBool stride, list, count;

  PetscFunctionBeginUser;
  PetscCall(CkOptionsGetString("record_weights", text, sizeof(text), NULL));
  r->what = text[0] == 'a'   ? CK_RECORD_ALL
            : text[0] == 's' ? CK_RECORD_STRIDE
            : text[0] == 'l' ? CK_RECORD_LIST
            : text[0] == 'r' ? CK_RECORD_RANDOM
                             : CK_RECORD_EIGENVECTORS;
  PetscCall(CkOptionsGetInt("record_stride", &r->stride, &stride));
  r->nlist = CK_RECORD_LIST_ROOM;
  PetscCall(PetscMalloc1(r->nlist, &r->list));
  PetscCall(CkOptionsGetInts("record_list", r->list, &r->nlist, &list));
  PetscCall(CkOptionsGetInt("record_count", &r->count, &count));
  PetscCall(CkOptionsGetString("record_spectrum", r->spectrum, sizeof(r->spectrum), NULL));
  PetscCall(CheckKey(r, "stride", stride, r->what == CK_RECORD_STRIDE, r->what == CK_RECORD_STRIDE));
  PetscCall(CheckKey(r, "list", list, r->what == CK_RECORD_LIST, r->what == CK_RECORD_LIST));
  PetscCall(CheckKey(r, "count", count, r->what >= CK_RECORD_RANDOM, r->what == CK_RECORD_RANDOM));
  PetscCall(CheckKey(r, "spectrum", r->spectrum[0] != '\0', r->what == CK_RECORD_EIGENVECTORS,
                     r->what == CK_RECORD_EIGENVECTORS));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* "loss,gradient,noise,test", any of them. */
static PetscErrorCode ReadMeasures(CkRecorder r)
{
  static const char *const names[] = {"loss", "gradient", "noise", "test"};
  PetscBool *const         flags[] = {&r->loss, &r->gradient, &r->noise, &r->test};
  char                     text[64], *rest = text, *word;

  PetscFunctionBeginUser;
  PetscCall(CkOptionsGetString("record_measure", r->measured, sizeof(r->measured), NULL));
  PetscCall(PetscStrncpy(text, r->measured, sizeof(text)));
  while ((word = strsep(&rest, ","))) {
    int i = 0;

    while (i < 4 && strcmp(word, names[i]) != 0) ++i;
    CkCheckAll(r->comm, i < 4 || !*word, PETSC_ERR_ARG_WRONG,
               "-record_measure has '%s', which is none of loss, gradient, noise and test", word);
    if (i < 4) *flags[i] = PETSC_TRUE;
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode ReadOptions(CkRecorder r)
{
  char text[32];

  PetscFunctionBeginUser;
  PetscCall(ReadWhat(r));
  PetscCall(ReadMeasures(r));
  PetscCall(CkOptionsGetString("record_precision", text, sizeof(text), NULL));
  r->info.type = strcmp(text, "float32") == 0 ? CK_F32 : CK_F64;
  PetscCall(CkOptionsGetString("record_unit", text, sizeof(text), NULL));
  r->unit = text[0] == 'u' ? CK_RECORD_UPDATES : text[0] == 'e' ? CK_RECORD_EPOCHS : CK_RECORD_DECADE;
  PetscCall(CkOptionsGetInt("record_every", &r->every, NULL));
  PetscCall(CkOptionsGetInt("record_burn_in", &r->burn_in, NULL));
  PetscCall(CkOptionsGetReal("record_flush", &r->flush, NULL));
  PetscCall(CkOptionsGetReal("record_buffer", &r->buffer, NULL));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkRecorderCreate(CkDynamics dynamics, CkRecorder *recorder)
{
  char       file[PETSC_MAX_PATH_LEN];
  CkRecorder r;

  PetscFunctionBeginUser;
  PetscCheck(dynamics->replicas, dynamics->comm, PETSC_ERR_ORDER, "Call CkDynamicsSetFromOptions() first");
  *recorder = NULL;
  PetscCall(CkOptionsGetString("record", file, sizeof(file), NULL));
  if (!file[0]) {
    PetscCall(CheckUnused(dynamics->comm));
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  PetscCall(PetscNew(&r));
  *recorder = r;
  PetscCall(CkReplicasGetComms(dynamics->replicas, &r->comm, NULL));
  r->dynamics = dynamics;
  PetscCall(PetscStrncpy(r->file, file, sizeof(r->file)));
  PetscCall(ReadOptions(r));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkRecorderDestroy(CkRecorder *recorder)
{
  CkRecorder r = *recorder;

  PetscFunctionBeginUser;
  if (!r) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(CkTrajectoryDestroy(&r->trajectory));
  PetscCall(VecDestroy(&r->g));
  PetscCall(PetscFree(r->list));
  PetscCall(PetscFree(r->steps));
  PetscCall(PetscFree(r->columns));
  PetscCall(PetscFree(r->directions));
  PetscCall(PetscFree2(r->values, r->scalars));
  PetscCall(PetscFree(*recorder));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* ---- set-up ---- */

/* Columns are shared out over the ranks of a group, each of which has all weights of its replicas; the first one has
   the scalars. */
static PetscErrorCode SharePart(CkRecorder r)
{
  PetscMPIInt rank, size;

  PetscFunctionBeginUser;
  PetscCallMPI(MPI_Comm_rank(r->dynamics->comm, &rank));
  PetscCallMPI(MPI_Comm_size(r->dynamics->comm, &size));
  PetscCall(CkReplicasGetCounts(r->dynamics->replicas, NULL, &r->mine.replica, &r->mine.replicas, NULL));
  r->mine.column = r->info.columns * rank / size;
  r->mine.columns = r->info.columns * (rank + 1) / size - r->mine.column;
  r->mine.scalars = (PetscBool)(rank == 0);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Whether gradients of training mode are others than those of evaluation mode. */
static PetscErrorCode FindMode(CkRecorder r)
{
  const CkDynamics p = r->dynamics;
  const CkLayer   *layers;
  PetscInt         n = 0, pad = 0;
  PetscBool        flip = PETSC_FALSE;
  CkData           data;
  CkNet            net;

  PetscFunctionBeginUser;
  PetscCall(PetscStrncpy(r->info.mode, p->mode == CK_TRAINING ? "training" : "evaluation", sizeof(r->info.mode)));
  PetscCall(CkLossGetNet(p->loss, &net));
  if (net) PetscCall(CkNetGetLayers(net, &n, &layers));
  for (PetscInt i = 0; i < n; ++i)
    if (layers[i].type == CK_LAYER_BATCHNORM || layers[i].a.rate > 0) r->info.mode_matters = PETSC_TRUE;
  PetscCall(CkLossGetData(p->loss, &data));
  if (data) PetscCall(CkDataGetAugmentation(data, &flip, &pad));
  if (flip || pad > 0) r->info.mode_matters = PETSC_TRUE;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkRecorderSetUp(CkRecorder r)
{
  const CkDynamics p = r->dynamics;

  PetscFunctionBeginUser;
  PetscCheck(p->setup, r->comm, PETSC_ERR_ORDER, "Call CkDynamicsSetUp() first");
  PetscCall(CkReplicasGetCounts(p->replicas, &r->info.replicas, NULL, NULL, NULL));
  r->info.dimension = p->d;
  r->info.samples = p->N;
  r->info.batch = p->batch;
  r->info.seed = (PetscInt64)p->seed;
  r->info.rate = CkScheduleRate(&p->schedule, 0, p->updates);
  r->info.replacement = p->replacement;
  PetscCall(CkOptionsGetReal("dynamics_momentum", &r->info.momentum, NULL));
  PetscCall(CkOptionsGetReal("dynamics_l2", &r->info.l2, NULL));
  PetscCall(PetscStrncpy(r->info.dynamics_type, p->type->name, sizeof(r->info.dynamics_type)));
  PetscCall(FindMode(r));
  PetscCall(CkRecorderCountColumns(r));
  PetscCall(CkRecorderMakeTimes(r));
  PetscCall(SharePart(r));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkRecorderMemory(CkRecorder r, double *bytes)
{
  const double n = (double)(r->mine.replicas * r->mine.columns);

  PetscFunctionBeginUser;
  *bytes = fmin(1e6 * r->buffer, n * (double)CkTypeSize(r->info.type) * (double)r->info.snapshots) + 16 * n;
  if (r->info.content == CK_CONTENT_PROJECTIONS) *bytes += 8 * (double)r->mine.columns * (double)r->info.dimension;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkRecorderDescribe(CkRecorder r, CkTable rows)
{
  char bytes[32], note[128] = "", replicas[64] = "";

  PetscFunctionBeginUser;
  CkFormatBytes(CkTrajectoryBytes(&r->info), bytes);
  if (r->info.replicas > 1) snprintf(replicas, sizeof(replicas), "%" PetscInt_FMT " times ", r->info.replicas);
  if (r->unit == CK_RECORD_DECADE) snprintf(note, sizeof(note), "%" PetscInt_FMT " %s", r->every, UnitName(r->unit));
  else if (r->every == 1)
    snprintf(note, sizeof(note), "every %s, from %" PetscInt_FMT " on", UnitName(r->unit), r->burn_in);
  else
    snprintf(note, sizeof(note), "every %" PetscInt_FMT " %ss, from %" PetscInt_FMT " on", r->every, UnitName(r->unit),
             r->burn_in);
  PetscCall(CkTableRow(rows, "trajectory", note,
                       "%s: %" PetscInt64_FMT " snapshot%s of %" PetscInt64_FMT " %s%s in %s, %s", r->file,
                       r->info.snapshots, CkPlural(r->info.snapshots), r->info.columns,
                       r->info.content == CK_CONTENT_PROJECTIONS ? "projection" : "weight", CkPlural(r->info.columns),
                       CkTypeName(r->info.type), bytes));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* ---- recording ---- */

/* Sixteen partial sums, so that it can be vectorised; in an order that depends on nothing. */
static double Project(PetscInt n, const double v[], const double x[])
{
  double   sums[16] = {0}, sum = 0;
  PetscInt i = 0;

  for (; i + 16 <= n; i += 16)
    for (int j = 0; j < 16; ++j) sums[j] += v[i + j] * x[i + j];
  for (; i < n; ++i) sum += v[i] * x[i];
  for (int j = 0; j < 16; ++j) sum += sums[j];
  return sum;
}

static void TakeColumns(const CkRecorder r, const double x[], double values[])
{
  const PetscInt d = r->dynamics->d;

  for (PetscInt64 j = 0; j < r->mine.columns; ++j)
    values[j] = r->directions ? Project(d, r->directions + (size_t)j * (size_t)d, x) : x[r->columns[j]];
}

static PetscInt NextSnapshot(void *context, PetscInt from)
{
  const CkRecorder r = (const CkRecorder)context;
  const PetscInt64 done = CkRecorderCountUntil(r, from - 1);

  return done < r->info.snapshots ? CkRecorderStep(r, done) : PETSC_MAX_INT;
}

/* What is recorded of this group's replicas. */
static PetscErrorCode TakeMine(CkRecorder r, CkDynamics dynamics)
{
  const PetscInt n = r->mine.replicas;
  double         scalars[CK_SCALARS];
  const double  *x;

  PetscFunctionBeginUser;
  for (PetscInt m = 0; m < n; ++m) {
    PetscCall(CkDynamicsSelect(dynamics, m));
    PetscCall(CkRecorderMeasure(r, scalars));
    for (int s = 0; s < CK_SCALARS; ++s) r->scalars[s * n + m] = scalars[s];
    PetscCall(CkLossGetPointArray(dynamics->loss, &x));
    TakeColumns(r, x, r->values + (size_t)m * (size_t)r->mine.columns);
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode TakeSnapshot(CkDynamics dynamics, void *context)
{
  CkRecorder r = (CkRecorder)context;

  PetscFunctionBeginUser;
  PetscCall(CkDynamicsAgree(dynamics, TakeMine(r, dynamics)));
  PetscCall(
    CkTrajectoryAppend(r->trajectory, dynamics->step, dynamics->time, r->values, r->mine.scalars ? r->scalars : NULL));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Flush(void *context)
{
  PetscFunctionBeginUser;
  PetscCall(CkTrajectoryFlush(((CkRecorder)context)->trajectory));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkRecorderSetCheckpoint(CkRecorder r, CkCheckpoint checkpoint)
{
  uint64_t list = 0;

  PetscFunctionBeginUser;
  for (PetscInt i = 0; i < r->nlist; ++i) list = CkChecksum(list, &r->list[i], sizeof(r->list[i]));
  PetscCall(CkCheckpointAddKey(checkpoint, PETSC_TRUE, "trajectory",
                               "%s: columns %" PetscInt64_FMT ", %s, stride %" PetscInt_FMT ", list %016llx, %s; every "
                               "%" PetscInt_FMT " of %s from %" PetscInt_FMT "; measured '%s'",
                               WhatName(r->what), r->info.columns, CkTypeName(r->info.type), r->stride,
                               (unsigned long long)list, r->spectrum, r->every, UnitName(r->unit), r->burn_in,
                               r->measured));
  PetscCall(CkCheckpointSetFlush(checkpoint, Flush, r));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkRecorderBegin(CkRecorder r, PetscBool resumed)
{
  const CkDynamics p = r->dynamics;

  PetscFunctionBeginUser;
  CkCheckAll(r->comm, !r->test || p->test, PETSC_ERR_ARG_INCOMP,
             "-record_measure test: there are no test data, or -train_test says not to use them");
  PetscCall(PetscMalloc2((size_t)(r->mine.replicas * r->mine.columns), &r->values,
                         (size_t)r->mine.replicas * CK_SCALARS, &r->scalars));
  PetscCall(CkRecorderMakeColumns(r));
  if (resumed) {
    PetscCall(
      CkTrajectoryResume(r->comm, r->file, &r->info, &r->mine, CkRecorderCountUntil(r, p->step), &r->trajectory));
  } else {
    PetscCall(CkTrajectoryCreate(r->comm, r->file, &r->info, &r->mine, r->columns, r->directions, &r->trajectory));
  }
  PetscCall(CkTrajectorySetBuffer(r->trajectory, 1e6 * r->buffer, r->flush));
  PetscCall(CkDynamicsAddWatch(p, NextSnapshot, TakeSnapshot, r));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkRecorderFinish(CkRecorder r)
{
  PetscFunctionBeginUser;
  PetscCall(CkTrajectoryFinish(r->trajectory));
  PetscCall(CkTrajectoryDestroy(&r->trajectory));
  PetscFunctionReturn(PETSC_SUCCESS);
}
