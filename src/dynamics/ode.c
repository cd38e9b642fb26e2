/*
  ode.c: gradient flow x' = -grad f(x) - l2 x by PETSc's TS, whose options apply; docs/theory.md, eq. (N.7). Every rank
  integrates the whole of x on its own, with the same operations: error control by norms of distributed vectors would
  choose other steps on other numbers of ranks. The gradients are those of all ranks.
*/
#include "dynamicsimpl.h"
#include <clarkia/error.h>
#include <clarkia/options.h>
#include <petscts.h>
#include <stdio.h>

typedef struct {
  double    dt, l2;
  TS        ts;
  Vec       all, g, part; /* x on each rank; gradient and point in the layout of the loss */
  double    h;            /* the next step of the integrator; 0: none was made yet */
  PetscBool fixed;        /* steps that do not adapt */
} ODE;

static PetscErrorCode ODESetFromOptions(CkDynamics dynamics)
{
  ODE *ode;

  PetscFunctionBeginUser;
  PetscCall(PetscNew(&ode));
  dynamics->data = ode;
  PetscCall(CkOptionsGetReal("dynamics_l2", &ode->l2, NULL));
  PetscCall(CkOptionsGetReal("dynamics_dt", &ode->dt, NULL));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* from [d] on each rank -> this rank's part */
static PetscErrorCode ToPart(Vec all, Vec part)
{
  const PetscScalar *from;
  PetscScalar       *to;
  PetscInt           first, last;

  PetscFunctionBeginUser;
  PetscCall(VecGetOwnershipRange(part, &first, &last));
  PetscCall(VecGetArrayRead(all, &from));
  PetscCall(VecGetArrayWrite(part, &to));
  PetscCall(PetscArraycpy(to, from + first, last - first));
  PetscCall(VecRestoreArrayWrite(part, &to));
  PetscCall(VecRestoreArrayRead(all, &from));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* F = -grad f(x) - l2 x; collective, as all ranks take the same steps. */
static PetscErrorCode Slope(TS ts, PetscReal t, Vec x, Vec F, void *context)
{
  CkDynamics         dynamics = (CkDynamics)context;
  ODE               *ode = (ODE *)dynamics->data;
  const CkBatch      all = CkBatchAll(dynamics->N);
  const PetscScalar *from;
  PetscScalar       *to;

  PetscFunctionBeginUser;
  (void)ts;
  (void)t;
  PetscCall(ToPart(x, ode->part));
  PetscCall(CkLossSetPoint(dynamics->loss, ode->part));
  PetscCall(CkLossGradient(dynamics->loss, &all, NULL, ode->g, NULL, NULL));
  PetscCall(VecGetArray(F, &to));
  PetscCall(CkLossGather(dynamics->loss, ode->g, to));
  PetscCall(VecGetArrayRead(x, &from));
  for (PetscInt i = 0; i < dynamics->d; ++i) to[i] = -(to[i] + ode->l2 * from[i]);
  PetscCall(VecRestoreArrayRead(x, &from));
  PetscCall(VecRestoreArray(F, &to));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode ODESetUp(CkDynamics dynamics)
{
  ODE        *ode = (ODE *)dynamics->data;
  PetscMPIInt rank;
  TSAdapt     adapt;

  PetscFunctionBeginUser;
  PetscCallMPI(MPI_Comm_rank(dynamics->comm, &rank));
  PetscCall(VecDuplicate(dynamics->x, &ode->g));
  PetscCall(VecDuplicate(dynamics->x, &ode->part));
  PetscCall(VecCreateSeq(PETSC_COMM_SELF, dynamics->d, &ode->all));
  PetscCall(TSCreate(PETSC_COMM_SELF, &ode->ts));
  PetscCall(TSSetProblemType(ode->ts, TS_NONLINEAR));
  PetscCall(TSSetType(ode->ts, TSRK));
  PetscCall(TSRKSetType(ode->ts, TSRK5DP));
  PetscCall(TSSetRHSFunction(ode->ts, NULL, Slope, dynamics));
  PetscCall(TSSetMaxSteps(ode->ts, PETSC_MAX_INT));
  PetscCall(TSSetExactFinalTime(ode->ts, TS_EXACTFINALTIME_MATCHSTEP));
  PetscCall(TSSetErrorIfStepFails(ode->ts, PETSC_FALSE));
  PetscCall(TSSetFromOptions(ode->ts));
  PetscCall(TSGetAdapt(ode->ts, &adapt));
  PetscCall(PetscObjectTypeCompare((PetscObject)adapt, TSADAPTNONE, &ode->fixed));
  if (rank > 0) PetscCall(TSMonitorCancel(ode->ts)); /* one of them tells */
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* From t to t + dt; the first step of an integrator with memory is made as if it had none, so that a run that goes on
   from a file makes the same. */
static PetscErrorCode Integrate(CkDynamics dynamics, ODE *ode, double dt)
{
  TSConvergedReason reason;
  PetscBool         given;
  PetscReal         h;

  PetscFunctionBeginUser;
  PetscCall(PetscOptionsHasName(NULL, NULL, "-ts_dt", &given));
  if (ode->h == 0 && given) PetscCall(TSGetTimeStep(ode->ts, &ode->h));
  else if (ode->h == 0) ode->h = dt;
  PetscCall(TSSetTime(ode->ts, dynamics->time));
  PetscCall(TSSetMaxTime(ode->ts, dynamics->time + dt));
  PetscCall(TSSetTimeStep(ode->ts, PetscMin(ode->h, dt)));
  PetscCall(TSRestartStep(ode->ts));
  PetscCall(TSSolve(ode->ts, ode->all));
  PetscCall(TSGetConvergedReason(ode->ts, &reason));
  CkCheckAll(dynamics->comm, reason > 0, PETSC_ERR_NOT_CONVERGED,
             "the integrator gave up at t = %g (TS: %s): give a larger -ts_rtol or -ts_atol, or another -ts_type",
             dynamics->time, TSConvergedReasons[reason]);
  PetscCall(TSGetTimeStep(ode->ts, &h));
  if (!ode->fixed) ode->h = h;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode ODEStep(CkDynamics dynamics, const CkBatch *batch, CkUpdate *update)
{
  ODE          *ode = (ODE *)dynamics->data;
  const CkBatch all = CkBatchAll(dynamics->N);
  const double  dt = ode->dt > 0 ? ode->dt : dynamics->rate;
  double       *values;
  PetscScalar  *x;
  long double   sum = 0;

  PetscFunctionBeginUser;
  (void)batch;
  PetscCall(PetscMalloc1(dynamics->N, &values));
  PetscCall(CkLossValues(dynamics->loss, &all, values, &update->correct));
  for (PetscInt k = 0; k < dynamics->N; ++k) sum += values[k];
  PetscCall(PetscFree(values));
  update->mean = (double)(sum / dynamics->N);
  PetscCall(VecGetArray(ode->all, &x));
  PetscCall(CkLossGather(dynamics->loss, dynamics->x, x));
  PetscCall(VecRestoreArray(ode->all, &x));
  if (dt > 0) PetscCall(Integrate(dynamics, ode, dt));
  PetscCall(ToPart(ode->all, dynamics->x));
  update->time = dt;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode ODEKeep(CkDynamics dynamics, CkKeeper keeper)
{
  PetscFunctionBeginUser;
  PetscCall(CkKeepReal(keeper, "integrator_step", &((ODE *)dynamics->data)->h));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode ODEView(CkDynamics dynamics, char text[], size_t length)
{
  const ODE *ode = (const ODE *)dynamics->data;
  TSType     type;
  char       dt[32] = "the learning rate";

  PetscFunctionBeginUser;
  PetscCall(TSGetType(ode->ts, &type));
  if (ode->dt > 0) snprintf(dt, sizeof(dt), "%g", ode->dt);
  snprintf(text, length, "TS %s, an update takes %s of time, l2 %g", type, dt, ode->l2);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode ODEDestroy(CkDynamics dynamics)
{
  ODE *ode = (ODE *)dynamics->data;

  PetscFunctionBeginUser;
  if (!ode) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(TSDestroy(&ode->ts));
  PetscCall(VecDestroy(&ode->all));
  PetscCall(VecDestroy(&ode->part));
  PetscCall(VecDestroy(&ode->g));
  PetscCall(PetscFree(dynamics->data));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Ten vectors of a Runge-Kutta method of seven stages, whole on every rank, and two parts. */
static PetscInt ODEVectors(CkDynamics dynamics)
{
  PetscMPIInt ranks;

  if (MPI_Comm_size(dynamics->comm, &ranks)) ranks = 1;
  return 2 + 10 * ranks;
}

const CkDynamicsType CkDynamicsODE = {.name = "ode",
                                      .keys = "l2 dt",
                                      .sampling = CK_SAMPLING_WHOLE,
                                      .evaluation = PETSC_TRUE,
                                      .setfromoptions = ODESetFromOptions,
                                      .setup = ODESetUp,
                                      .step = ODEStep,
                                      .view = ODEView,
                                      .destroy = ODEDestroy,
                                      .countvectors = ODEVectors,
                                      .keep = ODEKeep};
