/* run.c: from wherever a process stands to the end of its run, with what is to be done between updates. */
#include "dynamicsimpl.h"
#include <clarkia/progress.h>
#include <math.h>

/* ---- between updates ---- */

PetscErrorCode CkDynamicsAddWatch(CkDynamics dynamics, PetscInt (*next)(void *, PetscInt),
                                  PetscErrorCode (*act)(CkDynamics, void *), void *context)
{
  PetscFunctionBeginUser;
  PetscCheck(dynamics->nwatches < CK_MAX_WATCHES, dynamics->comm, PETSC_ERR_ARG_OUTOFRANGE, "At most %d watches",
             CK_MAX_WATCHES);
  dynamics->watches[dynamics->nwatches++] = (CkWatch){next, act, context};
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkDynamicsSetPause(CkDynamics dynamics, PetscErrorCode (*pause)(CkDynamics, void *), void *context)
{
  PetscFunctionBeginUser;
  dynamics->pause = pause;
  dynamics->pause_context = context;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscInt Updates(const CkDynamics dynamics)
{
  return dynamics->updates * dynamics->epochs; /* CkDynamicsSetUp() has checked that it fits */
}

static PetscInt MarkStep(const CkDynamics dynamics, PetscInt i)
{
  return (PetscInt)llround(dynamics->marks[i] * (double)Updates(dynamics));
}

static PetscInt NextMark(void *context, PetscInt from)
{
  const CkDynamics dynamics = (const CkDynamics)context;
  PetscInt         next = PETSC_MAX_INT;

  for (PetscInt i = 0; i < dynamics->nmarks; ++i) {
    const PetscInt step = MarkStep(dynamics, i);

    if (step >= from) next = PetscMin(next, step);
  }
  return next;
}

static PetscErrorCode CallMarks(CkDynamics dynamics, void *context)
{
  PetscFunctionBeginUser;
  (void)context;
  for (PetscInt i = 0; i < dynamics->nmarks; ++i) {
    if (MarkStep(dynamics, i) != dynamics->step) continue;
    PetscCall(dynamics->mark(dynamics, dynamics->marks[i], dynamics->mark_context));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkDynamicsSetMarks(CkDynamics dynamics, PetscInt n, const double fractions[],
                                  PetscErrorCode (*mark)(CkDynamics, double, void *), void *context)
{
  PetscFunctionBeginUser;
  PetscCheck(n >= 0 && n <= CK_MAX_MARKS, dynamics->comm, PETSC_ERR_ARG_SIZ, "At most %d marks", CK_MAX_MARKS);
  PetscCall(PetscArraycpy(dynamics->marks, fractions, n));
  dynamics->nmarks = n;
  dynamics->mark = mark;
  dynamics->mark_context = context;
  PetscCall(CkDynamicsAddWatch(dynamics, NextMark, CallMarks, dynamics));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* ---- running ---- */

PetscErrorCode CkDynamicsGetNextStop(CkDynamics dynamics, PetscInt *step)
{
  const PetscInt from = dynamics->step + 1;

  PetscFunctionBeginUser;
  PetscCheck(dynamics->setup, dynamics->comm, PETSC_ERR_ORDER, "Call CkDynamicsSetUp() first");
  *step = dynamics->step + 1 + (dynamics->N - dynamics->position - 1) / dynamics->batch; /* this epoch's end */
  *step = PetscMax(from, PetscMin(*step, Updates(dynamics)));
  for (PetscInt i = 0; i < dynamics->nwatches; ++i)
    *step = PetscMin(*step, dynamics->watches[i].next(dynamics->watches[i].context, from));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode CallWatches(CkDynamics dynamics)
{
  PetscFunctionBeginUser;
  for (PetscInt i = 0; i < dynamics->nwatches; ++i) {
    const CkWatch *watch = &dynamics->watches[i];

    if (watch->next(watch->context, dynamics->step) != dynamics->step) continue;
    PetscCall(watch->act(dynamics, watch->context));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkDynamicsRun(CkDynamics dynamics)
{
  CkProgress progress;
  MPI_Comm   all;
  PetscInt   total, stop;

  PetscFunctionBeginUser;
  PetscCall(CkDynamicsSetUp(dynamics));
  PetscCall(CkReplicasGetComms(dynamics->replicas, &all, NULL));
  total = Updates(dynamics);
  PetscCall(CkProgressCreate(all, "training", "updates", (double)total, &progress));
  if (dynamics->step == 0) PetscCall(CallWatches(dynamics));
  while (dynamics->step < total) {
    PetscCall(CkDynamicsGetNextStop(dynamics, &stop));
    PetscCall(CkDynamicsAdvance(dynamics, stop));
    if (dynamics->step == stop) PetscCall(CallWatches(dynamics));
    PetscCall(CkProgressUpdate(progress, (double)dynamics->step));
    if (dynamics->pause) PetscCall(dynamics->pause(dynamics, dynamics->pause_context));
  }
  PetscCall(CkProgressDestroy(&progress));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* ---- stopping and going on ---- */

/* A long double is two doubles, exactly. */
static PetscErrorCode KeepSum(CkKeeper keeper, long double *sum)
{
  double parts[2] = {(double)*sum, (double)(*sum - (double)*sum)};

  PetscFunctionBeginUser;
  PetscCall(CkKeepArray(keeper, "loss_sum", 2, parts));
  *sum = (long double)parts[0] + parts[1];
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode KeepCount(CkKeeper keeper, const char name[], PetscInt64 *count)
{
  double real = (double)*count;

  PetscFunctionBeginUser;
  PetscCall(CkKeepReal(keeper, name, &real));
  *count = (PetscInt64)real;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode KeepRunning(CkDynamics dynamics, CkKeeper keeper)
{
  double *weights, *running;

  PetscFunctionBeginUser;
  if (!dynamics->state) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(CkStateGetArrays(dynamics->state, &weights, &running));
  PetscCall(CkKeepArray(keeper, "running_statistics", dynamics->buffers, running));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The member that is chosen. */
static PetscErrorCode KeepMember(CkDynamics dynamics, CkKeeper keeper)
{
  PetscFunctionBeginUser;
  PetscCall(CkKeeperSetReplica(keeper, dynamics->replica));
  PetscCall(CkKeepInt(keeper, "epoch", &dynamics->epoch));
  PetscCall(CkKeepInt(keeper, "step", &dynamics->step));
  PetscCall(CkKeepInt(keeper, "position", &dynamics->position));
  PetscCall(CkKeepReal(keeper, "time", &dynamics->time));
  PetscCall(KeepSum(keeper, &dynamics->now->loss_sum));
  PetscCall(KeepCount(keeper, "correct", &dynamics->now->correct));
  PetscCall(KeepCount(keeper, "seen", &dynamics->now->seen));
  PetscCall(CkKeepReal(keeper, "seconds", &dynamics->seconds));
  PetscCall(CkKeepVec(keeper, "weights", dynamics->x));
  PetscCall(KeepRunning(dynamics, keeper));
  if (dynamics->consensus) PetscCall(CkKeepVec(keeper, "consensus", dynamics->consensus));
  if (dynamics->type->keep) PetscCall(dynamics->type->keep(dynamics, keeper));
  if (!CkKeeperReads(keeper)) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(CkDynamicsPublish(dynamics, dynamics->x));
  if (dynamics->position > 0) PetscCall(CkDynamicsDrawOrder(dynamics));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkDynamicsKeep(CkDynamics dynamics, CkKeeper keeper)
{
  PetscFunctionBeginUser;
  PetscCheck(dynamics->setup, dynamics->comm, PETSC_ERR_ORDER, "Call CkDynamicsSetUp() first");
  for (PetscInt m = 0; m < dynamics->nmembers; ++m) {
    PetscCall(CkDynamicsSelect(dynamics, m));
    PetscCall(KeepMember(dynamics, keeper));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}
