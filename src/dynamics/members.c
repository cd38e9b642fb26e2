/* members.c: a group's replicas take turns at one loss and one state. */
#include "dynamicsimpl.h"
#include <string.h>

PetscErrorCode CkDynamicsMakeMembers(CkDynamics dynamics)
{
  PetscErrorCode ierr;

  PetscFunctionBeginUser;
  PetscCall(CkReplicasGetCounts(dynamics->replicas, NULL, NULL, &dynamics->nmembers, NULL));
  PetscCall(PetscCalloc1(dynamics->nmembers, &dynamics->members));
  for (PetscInt m = 0; m < dynamics->nmembers; ++m) {
    dynamics->data = NULL;
    ierr = dynamics->type->setfromoptions(dynamics);
    dynamics->members[m].data = dynamics->data;
    dynamics->members[m].proximal = CkNoProximal(); /* a run that goes on may be within an epoch */
    PetscCall(ierr);
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Its fields in the dynamics; loss and state are left alone. */
static PetscErrorCode Choose(CkDynamics dynamics, PetscInt m)
{
  PetscInt first;

  PetscFunctionBeginUser;
  PetscCall(CkReplicasGetCounts(dynamics->replicas, NULL, &first, NULL, NULL));
  dynamics->member = m;
  dynamics->replica = first + m;
  dynamics->now = &dynamics->members[m];
  dynamics->x = dynamics->now->x;
  dynamics->data = dynamics->now->data;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* NULL without a state */
static PetscErrorCode GetRunning(CkDynamics dynamics, double **running)
{
  double *weights;

  PetscFunctionBeginUser;
  *running = NULL;
  if (dynamics->state) PetscCall(CkStateGetArrays(dynamics->state, &weights, running));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static void CopyRunning(const CkDynamics dynamics, const double from[], double to[])
{
  if (from && to) memcpy(to, from, (size_t)dynamics->buffers * sizeof(double));
}

PetscErrorCode CkDynamicsSetUpMembers(CkDynamics dynamics)
{
  PetscInt R;
  double  *running;
  CkNet    net;

  PetscFunctionBeginUser;
  if (dynamics->state) {
    PetscCall(CkStateGetNet(dynamics->state, &net));
    PetscCall(CkNetGetBuffers(net, &dynamics->buffers));
  }
  PetscCall(GetRunning(dynamics, &running));
  PetscCall(CkReplicasGetCounts(dynamics->replicas, &R, NULL, NULL, NULL));
  PetscCall(PetscCalloc1(R * CK_NUMBERS, &dynamics->numbers));
  if (dynamics->type->meets) {
    PetscCall(CkLossCreateVec(dynamics->loss, &dynamics->consensus));
    PetscCall(CkLossGetPoint(dynamics->loss, dynamics->consensus));
  }
  for (PetscInt m = dynamics->nmembers - 1; m >= 0; --m) {
    CkMember *member = &dynamics->members[m];

    PetscCall(CkLossCreateVec(dynamics->loss, &member->x));
    PetscCall(CkLossGetPoint(dynamics->loss, member->x));
    PetscCall(PetscMalloc1(dynamics->buffers, &member->running));
    CopyRunning(dynamics, running, member->running);
    if (dynamics->type->sampling == CK_SAMPLING_DRAWN) PetscCall(PetscMalloc1(dynamics->N, &member->order));
    PetscCall(Choose(dynamics, m));
    PetscCall(dynamics->type->setup(dynamics));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkDynamicsDestroyMembers(CkDynamics dynamics)
{
  PetscFunctionBeginUser;
  for (PetscInt m = 0; m < dynamics->nmembers; ++m) {
    CkMember *member = &dynamics->members[m];

    dynamics->data = member->data;
    PetscCall(dynamics->type->destroy(dynamics));
    PetscCall(VecDestroy(&member->x));
    PetscCall(PetscFree(member->order));
    PetscCall(PetscFree(member->running));
  }
  PetscCall(PetscFree(dynamics->members));
  PetscCall(PetscFree(dynamics->numbers));
  PetscCall(VecDestroy(&dynamics->consensus));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkDynamicsPublish(CkDynamics dynamics, Vec x)
{
  const double *point;
  double       *weights, *running;

  PetscFunctionBeginUser;
  PetscCall(CkLossSetPoint(dynamics->loss, x));
  if (!dynamics->state) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(CkLossGetPointArray(dynamics->loss, &point));
  PetscCall(CkStateGetArrays(dynamics->state, &weights, &running));
  PetscCall(PetscArraycpy(weights, point, dynamics->d));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Keeps what the chosen member has in the state. */
static PetscErrorCode Leave(CkDynamics dynamics)
{
  double *running;

  PetscFunctionBeginUser;
  if (dynamics->member < 0) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(GetRunning(dynamics, &running));
  CopyRunning(dynamics, running, dynamics->now->running);
  dynamics->member = -1;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkDynamicsSelect(CkDynamics dynamics, PetscInt m)
{
  double *running;

  PetscFunctionBeginUser;
  if (dynamics->member == m) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(Leave(dynamics));
  PetscCall(Choose(dynamics, m));
  PetscCall(GetRunning(dynamics, &running));
  CopyRunning(dynamics, dynamics->now->running, running);
  PetscCall(CkDynamicsPublish(dynamics, dynamics->x));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkDynamicsSelectReplica(CkDynamics dynamics, PetscInt m, Vec *x)
{
  PetscFunctionBeginUser;
  PetscCheck(dynamics->setup, dynamics->comm, PETSC_ERR_ORDER, "Call CkDynamicsSetUp() first");
  PetscCheck(m >= 0 && m < dynamics->nmembers, dynamics->comm, PETSC_ERR_ARG_OUTOFRANGE,
             "This group has %" PetscInt_FMT " replicas, there is no number %" PetscInt_FMT, dynamics->nmembers, m);
  PetscCall(CkDynamicsSelect(dynamics, m));
  if (x) *x = dynamics->x;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkDynamicsMeet(CkDynamics dynamics)
{
  Vec *all;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc1(dynamics->nmembers, &all));
  for (PetscInt m = 0; m < dynamics->nmembers; ++m) all[m] = dynamics->members[m].x;
  PetscCall(CkReplicasMean(dynamics->replicas, all, dynamics->consensus));
  PetscCall(PetscFree(all));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The state's running statistics become the means over all replicas. */
static PetscErrorCode MeanRunning(CkDynamics dynamics)
{
  const double **all;
  double        *running;

  PetscFunctionBeginUser;
  PetscCall(GetRunning(dynamics, &running));
  PetscCall(PetscMalloc1(dynamics->nmembers, &all));
  for (PetscInt m = 0; m < dynamics->nmembers; ++m) all[m] = dynamics->members[m].running;
  PetscCall(CkReplicasMeanArrays(dynamics->replicas, dynamics->buffers, all, running));
  PetscCall(PetscFree(all));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* What the first rank of all has in its state goes to all. */
static PetscErrorCode CopyFirst(CkDynamics dynamics)
{
  MPI_Comm    all;
  PetscMPIInt d, buffers;
  double     *weights, *running;

  PetscFunctionBeginUser;
  if (!dynamics->state) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(CkReplicasGetComms(dynamics->replicas, &all, NULL));
  PetscCall(CkStateGetArrays(dynamics->state, &weights, &running));
  PetscCall(PetscMPIIntCast(dynamics->d, &d));
  PetscCall(PetscMPIIntCast(dynamics->buffers, &buffers));
  PetscCallMPI(MPI_Bcast(weights, d, MPI_DOUBLE, 0, all));
  PetscCallMPI(MPI_Bcast(running, buffers, MPI_DOUBLE, 0, all));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkDynamicsShowResult(CkDynamics dynamics)
{
  PetscFunctionBeginUser;
  if (!dynamics->consensus) {
    PetscCall(CkDynamicsSelect(dynamics, 0));
    PetscCall(Leave(dynamics));
    PetscCall(CopyFirst(dynamics));
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  PetscCall(Leave(dynamics));
  PetscCall(MeanRunning(dynamics));
  PetscCall(CkDynamicsPublish(dynamics, dynamics->consensus));
  PetscFunctionReturn(PETSC_SUCCESS);
}
