/* fusedpath.c: whether updates are fused, and the way of their state from and to the dynamics. */
#include "fusedpath.h"
#include <clarkia/error.h>
#include <clarkia/options.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { FETCHED = 1024 }; /* samples copied at a time */

struct _p_CkFusedPath {
  PetscBool  taken;
  char       why[256];
  double     bytes;
  CkFused    engine; /* rank 0, from the first run on */
  VecScatter gather;
  Vec        x, v; /* all entries, on every rank */
  double    *rates;
};

static PetscErrorCode Refuse(CkFusedPath path, const char format[], ...)
{
  va_list arguments;

  PetscFunctionBeginUser;
  va_start(arguments, format);
  vsnprintf(path->why, sizeof(path->why), format, arguments);
  va_end(arguments);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* What rules it out whatever the user wants. */
static PetscErrorCode FindObstacle(CkDynamics dynamics, CkFusedPath path)
{
  CkNet       net;
  CkEngine    engine;
  CkData      data;
  PetscInt    buffers, group, pad;
  double      l2;
  const char *type;
  char        why[200];
  PetscBool   can, flip;

  PetscFunctionBeginUser;
  PetscCall(CkLossGetNet(dynamics->loss, &net));
  if (!net) PetscFunctionReturn(Refuse(path, "the loss is no network"));
  PetscCall(CkFusedSupports(net, &can, why, sizeof(why)));
  if (!can) PetscFunctionReturn(Refuse(path, "%s", why));
  PetscCall(CkLossGetEngine(dynamics->loss, &engine));
  PetscCall(CkEngineGetType(engine, &type));
  if (strcmp(type, "onednn") != 0) PetscFunctionReturn(Refuse(path, "-engine %s", type));
  PetscCall(CkLossGetL2(dynamics->loss, &l2));
  if (l2 != 0) PetscFunctionReturn(Refuse(path, "-loss_l2 %g is part of the loss (-dynamics_l2 is not)", l2));
  PetscCall(CkLossGetData(dynamics->loss, &data));
  PetscCall(CkDataGetAugmentation(data, &flip, &pad));
  if (flip || pad > 0) PetscFunctionReturn(Refuse(path, "-data_augment changes the samples"));
  PetscCall(CkNetGetBuffers(net, &buffers));
  PetscCall(CkLossGetBatchNormGroup(dynamics->loss, &group));
  if (buffers > 0 && (dynamics->batch == 1 || dynamics->N % dynamics->batch == 1))
    PetscFunctionReturn(Refuse(path, "batch norm of a batch of one sample"));
  if (buffers > 0 && dynamics->mode != CK_TRAINING) PetscFunctionReturn(Refuse(path, "batch norm in evaluation mode"));
  if (buffers > 0 && group > 0 && group < dynamics->batch)
    PetscFunctionReturn(Refuse(path, "batch norm over groups of %" PetscInt_FMT, group));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* What makes `auto` leave it. */
static PetscErrorCode FindDisadvantage(CkDynamics dynamics, CkFusedPath path)
{
  PetscFunctionBeginUser;
  if (dynamics->d > CK_FUSED_WEIGHTS)
    PetscFunctionReturn(Refuse(path, "%" PetscInt_FMT " weights are more than %d", dynamics->d, (int)CK_FUSED_WEIGHTS));
  if (path->bytes > (double)CK_FUSED_BYTES)
    PetscFunctionReturn(
      Refuse(path, "its samples take %.3g GB, more than %.3g", path->bytes * 1e-9, (double)CK_FUSED_BYTES * 1e-9));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Decide(CkDynamics dynamics, CkFusedPath path)
{
  char  wanted[16];
  CkNet net;

  PetscFunctionBeginUser;
  PetscCall(CkOptionsGetString("dynamics_fused", wanted, sizeof(wanted), NULL));
  PetscCall(FindObstacle(dynamics, path));
  CkCheckAll(dynamics->comm, !path->why[0] || strcmp(wanted, "on") != 0, PETSC_ERR_SUP,
             "-dynamics_fused on is not possible here: %s; leave it out, or change that", path->why);
  if (path->why[0]) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(CkLossGetNet(dynamics->loss, &net));
  PetscCall(CkFusedGetMemory(net, dynamics->batch, dynamics->N, &path->bytes));
  if (strcmp(wanted, "off") == 0) PetscCall(Refuse(path, "-dynamics_fused off"));
  if (strcmp(wanted, "auto") == 0) PetscCall(FindDisadvantage(dynamics, path));
  path->taken = (PetscBool)!path->why[0];
  if (!path->taken) path->bytes = 0;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkFusedPathCreate(CkDynamics dynamics, CkFusedPath *path)
{
  PetscFunctionBeginUser;
  PetscCall(PetscNew(path));
  PetscCall(Decide(dynamics, *path));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkFusedPathDestroy(CkFusedPath *path)
{
  CkFusedPath p = *path;

  PetscFunctionBeginUser;
  *path = NULL;
  if (!p) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(CkFusedDestroy(&p->engine));
  PetscCall(VecScatterDestroy(&p->gather));
  PetscCall(VecDestroy(&p->x));
  PetscCall(VecDestroy(&p->v));
  PetscCall(PetscFree(p->rates));
  PetscCall(PetscFree(p));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscBool CkFusedPathTaken(CkFusedPath path)
{
  return path->taken;
}

double CkFusedPathMemory(CkFusedPath path)
{
  return path->bytes;
}

const char *CkFusedPathReason(CkFusedPath path)
{
  return path->why;
}

/* The engine with all samples, on rank 0. */
static PetscErrorCode MakeEngine(CkFusedPath path, CkDynamics dynamics)
{
  CkNet     net;
  CkData    data;
  CkShape   shape;
  float    *features;
  PetscInt *labels, *index;

  PetscFunctionBeginUser;
  PetscCall(CkLossGetNet(dynamics->loss, &net));
  PetscCall(CkLossGetData(dynamics->loss, &data));
  PetscCall(CkDataGetShape(data, &shape));
  PetscCall(CkFusedCreate(net, dynamics->batch, dynamics->N, &path->engine));
  PetscCall(PetscMalloc3((size_t)FETCHED * (size_t)CkShapeSize(shape), &features, FETCHED, &labels, FETCHED, &index));
  for (PetscInt first = 0; first < dynamics->N; first += FETCHED) {
    const PetscInt n = PetscMin(FETCHED, dynamics->N - first);

    for (PetscInt k = 0; k < n; ++k) index[k] = first + k;
    PetscCall(CkDataFetch(data, n, index, features, labels));
    PetscCall(CkFusedSetSamples(path->engine, first, n, features, labels));
  }
  PetscCall(PetscFree3(features, labels, index));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* At the first run. */
static PetscErrorCode Prepare(CkFusedPath path, CkDynamics dynamics)
{
  PetscMPIInt rank;

  PetscFunctionBeginUser;
  if (path->gather) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCallMPI(MPI_Comm_rank(dynamics->comm, &rank));
  PetscCall(VecScatterCreateToAll(dynamics->x, &path->gather, &path->x));
  PetscCall(VecDuplicate(path->x, &path->v));
  PetscCall(PetscMalloc1(dynamics->updates, &path->rates));
  if (rank == 0) PetscCall(MakeEngine(path, dynamics));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Gather(CkFusedPath path, Vec part, Vec all)
{
  PetscFunctionBeginUser;
  PetscCall(VecScatterBegin(path->gather, part, all, INSERT_VALUES, SCATTER_FORWARD));
  PetscCall(VecScatterEnd(path->gather, part, all, INSERT_VALUES, SCATTER_FORWARD));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* all [d] of rank 0 -> every rank's part */
static PetscErrorCode Deal(MPI_Comm comm, PetscInt d, double all[], Vec part)
{
  PetscScalar *mine;
  PetscInt     first, end;
  PetscMPIInt  count;

  PetscFunctionBeginUser;
  PetscCall(PetscMPIIntCast(d, &count));
  PetscCallMPI(MPI_Bcast(all, count, MPI_DOUBLE, 0, comm));
  PetscCall(VecGetOwnershipRange(part, &first, &end));
  PetscCall(VecGetArrayWrite(part, &mine));
  PetscCall(PetscArraycpy(mine, all + first, end - first));
  PetscCall(VecRestoreArrayWrite(part, &mine));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* What rank 0 tells the others of a run. */
enum { UPDATES, BAD, VALUE, LOSS, LOSS_REST, CORRECT, REPORT };

static PetscErrorCode Compute(CkFusedPath path, CkDynamics dynamics, CkFusedRun *run)
{
  PetscMPIInt rank;
  double      report[REPORT];

  PetscFunctionBeginUser;
  PetscCallMPI(MPI_Comm_rank(dynamics->comm, &rank));
  if (rank == 0) {
    PetscCall(CkFusedUpdate(path->engine, run));
    report[UPDATES] = (double)run->updates;
    report[BAD] = (double)run->bad;
    report[VALUE] = run->value;
    report[LOSS] = (double)run->loss;
    report[LOSS_REST] = (double)(run->loss - (long double)report[LOSS]);
    report[CORRECT] = (double)run->correct;
  }
  PetscCallMPI(MPI_Bcast(report, REPORT, MPI_DOUBLE, 0, dynamics->comm));
  run->updates = (PetscInt)report[UPDATES];
  run->bad = (PetscInt)report[BAD];
  run->value = report[VALUE];
  run->loss = (long double)report[LOSS] + (long double)report[LOSS_REST];
  run->correct = (PetscInt64)report[CORRECT];
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Between the dynamics and the run; the state's running statistics are moved in place. */
static PetscErrorCode Exchange(CkFusedPath path, CkDynamics dynamics, Vec v, CkFusedRun *run)
{
  CkNet    net;
  PetscInt buffers;
  double  *weights;

  PetscFunctionBeginUser;
  PetscCall(CkStateGetNet(dynamics->state, &net));
  PetscCall(CkNetGetBuffers(net, &buffers));
  PetscCall(CkStateGetArrays(dynamics->state, &weights, &run->running));
  PetscCall(Gather(path, dynamics->x, path->x));
  PetscCall(Gather(path, v, path->v));
  PetscCall(VecGetArray(path->x, &run->x));
  PetscCall(VecGetArray(path->v, &run->v));
  PetscCall(Compute(path, dynamics, run));
  PetscCall(Deal(dynamics->comm, dynamics->d, run->x, dynamics->x));
  PetscCall(Deal(dynamics->comm, dynamics->d, run->v, v));
  PetscCallMPI(MPI_Bcast(run->running, (PetscMPIInt)buffers, MPI_DOUBLE, 0, dynamics->comm));
  PetscCall(VecRestoreArray(path->v, &run->v));
  PetscCall(VecRestoreArray(path->x, &run->x));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkFusedPathRun(CkFusedPath path, CkDynamics dynamics, PetscInt updates, CkFusedRun *run)
{
  const CkMomentum *momentum;
  Vec               v;

  PetscFunctionBeginUser;
  PetscCall(Prepare(path, dynamics));
  PetscCall(dynamics->type->getmomentum(dynamics, &momentum, &v));
  run->batch = dynamics->batch;
  run->n = (PetscInt)PetscMin((PetscInt64)updates * dynamics->batch, dynamics->N - dynamics->position);
  run->rates = path->rates;
  run->momentum = momentum->momentum;
  run->l2 = momentum->l2;
  run->nesterov = momentum->nesterov;
  run->bn_momentum = dynamics->bn_momentum;
  for (PetscInt u = 0; u < updates; ++u)
    path->rates[u] = CkScheduleRate(&dynamics->schedule, dynamics->step + u, dynamics->updates);
  PetscCall(Exchange(path, dynamics, v, run));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* On rank 0, into path->v. */
static PetscErrorCode Evaluate(CkFusedPath path, CkDynamics dynamics, double *mean, PetscInt *correct)
{
  double     *x, *g, *weights, *running;
  PetscInt64  right;
  PetscMPIInt rank;

  PetscFunctionBeginUser;
  PetscCallMPI(MPI_Comm_rank(dynamics->comm, &rank));
  if (rank > 0) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(CkStateGetArrays(dynamics->state, &weights, &running));
  PetscCall(VecGetArray(path->x, &x));
  PetscCall(VecGetArray(path->v, &g));
  PetscCall(CkFusedEvaluate(path->engine, x, running, mean, &right, g));
  *correct = (PetscInt)right;
  PetscCall(VecRestoreArray(path->v, &g));
  PetscCall(VecRestoreArray(path->x, &x));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkFusedPathGradient(CkFusedPath path, CkDynamics dynamics, Vec g, double *mean, PetscInt *correct)
{
  const CkBatch all = CkBatchAll(dynamics->N);
  double       *values;

  PetscFunctionBeginUser;
  PetscCall(Prepare(path, dynamics));
  PetscCall(Gather(path, dynamics->x, path->x));
  PetscCall(Evaluate(path, dynamics, mean, correct));
  PetscCallMPI(MPI_Bcast(mean, 1, MPI_DOUBLE, 0, dynamics->comm));
  PetscCallMPI(MPI_Bcast(correct, 1, MPIU_INT, 0, dynamics->comm));
  PetscCall(VecGetArray(path->v, &values));
  PetscCall(Deal(dynamics->comm, dynamics->d, values, g));
  PetscCall(VecRestoreArray(path->v, &values));
  if (!isfinite(*mean)) PetscCall(CkLossGradient(dynamics->loss, &all, NULL, g, mean, correct)); /* names the sample */
  PetscFunctionReturn(PETSC_SUCCESS);
}
