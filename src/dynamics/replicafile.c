/* replicafile.c: the weights of a run, or of all of its replicas, in one file. */
#include "dynamicsimpl.h"
#include <math.h>

/* Row number `replica` of a dataset from each group's first rank, `mine` of this group's. */
static PetscErrorCode WriteRow(CkDynamics dynamics, CkFile file, const char path[], PetscInt m, const double row[])
{
  PetscMPIInt rank;
  PetscInt    first;

  PetscFunctionBeginUser;
  PetscCallMPI(MPI_Comm_rank(dynamics->comm, &rank));
  PetscCall(CkReplicasGetCounts(dynamics->replicas, NULL, &first, NULL, NULL));
  PetscCall(CkFileWriteRows(file, path, CK_F64, rank == 0 ? first + m : 0, rank == 0 ? 1 : 0, row));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Loss and error of each replica over the last epoch. */
static PetscErrorCode WriteNumbers(CkDynamics dynamics, CkFile file, PetscInt R)
{
  const char *const names[CK_NUMBERS] = {"training_loss", "training_error", "free_energy", "iterations",
                                         "residual",      "test_loss",      "test_error"};
  const PetscInt64  shape = R;
  double           *column;

  PetscFunctionBeginUser;
  if (dynamics->epoch == 0) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(PetscMalloc1(R, &column));
  for (int i = 0; i < CK_NUMBERS; ++i) {
    char path[64];

    if (isnan(dynamics->numbers[i])) continue;
    for (PetscInt r = 0; r < R; ++r) column[r] = dynamics->numbers[r * CK_NUMBERS + i];
    PetscCall(PetscSNPrintf(path, sizeof(path), "/replicas/%s", names[i]));
    PetscCall(CkFileWriteAll(file, path, CK_F64, 1, &shape, column, "1",
                             i < CK_TEST_LOSS ? "of each replica, mean over the batches of the last epoch"
                                              : "of each replica at the end of the last epoch"));
  }
  PetscCall(PetscFree(column));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The group /replicas; members are chosen one after the other. */
static PetscErrorCode WriteReplicas(CkDynamics dynamics, CkFile file, PetscInt R)
{
  PetscInt64    shape[2] = {R, dynamics->d};
  const double *x;

  PetscFunctionBeginUser;
  PetscCall(CkFileCreateGroup(file, "/replicas"));
  PetscCall(CkFileCreateDataset(file, "/replicas/weights", CK_F64, 2, shape, "1",
                                "weights of each replica, in the order of the tensors of /state that are trained"));
  shape[1] = dynamics->buffers;
  if (dynamics->buffers > 0)
    PetscCall(CkFileCreateDataset(file, "/replicas/statistics", CK_F64, 2, shape, "1",
                                  "running statistics of each replica, in the order of those tensors of /state"));
  for (PetscInt m = 0; m < dynamics->nmembers; ++m) {
    PetscCall(CkDynamicsSelect(dynamics, m));
    PetscCall(CkLossGetPointArray(dynamics->loss, &x));
    PetscCall(WriteRow(dynamics, file, "/replicas/weights", m, x));
    if (dynamics->buffers > 0) PetscCall(WriteRow(dynamics, file, "/replicas/statistics", m, dynamics->now->running));
  }
  PetscCall(WriteNumbers(dynamics, file, R));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The group /density, likewise. */
static PetscErrorCode WriteDensity(CkDynamics dynamics, CkFile file, PetscInt R)
{
  const PetscInt64 shape[2] = {R, dynamics->d};
  double          *row;

  PetscFunctionBeginUser;
  PetscCall(CkFileCreateGroup(file, "/density"));
  PetscCall(CkFileCreateDataset(file, "/density/deviations", CK_F64, 2, shape, "1",
                                "standard deviations of the weights of each replica, whose means are what is called "
                                "weights in this file, in the order of the tensors of /state that are trained"));
  PetscCall(PetscMalloc1(dynamics->d, &row));
  for (PetscInt m = 0; m < dynamics->nmembers; ++m) {
    PetscCall(CkDynamicsSelect(dynamics, m));
    PetscCall(CkLossGather(dynamics->loss, dynamics->type->getdeviations(dynamics), row));
    PetscCall(WriteRow(dynamics, file, "/density/deviations", m, row));
  }
  PetscCall(PetscFree(row));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode WriteMore(CkFile file, void *context)
{
  CkDynamics dynamics = (CkDynamics)context;
  PetscInt   R;

  PetscFunctionBeginUser;
  PetscCall(CkReplicasGetCounts(dynamics->replicas, &R, NULL, NULL, NULL));
  if (R > 1) PetscCall(WriteReplicas(dynamics, file, R));
  if (dynamics->type->getdeviations) PetscCall(WriteDensity(dynamics, file, R));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkDynamicsWrite(CkDynamics dynamics, const char file[])
{
  PetscErrorCode ierr;
  PetscInt       R;

  PetscFunctionBeginUser;
  PetscCheck(dynamics->setup && dynamics->state, dynamics->comm, PETSC_ERR_ORDER,
             "Only networks are written, after CkDynamicsSetUp()");
  PetscCall(CkReplicasGetCounts(dynamics->replicas, &R, NULL, NULL, NULL));
  if (R > 1 || dynamics->consensus) PetscCall(CkDynamicsShowResult(dynamics));
  ierr = CkStateWriteWith(dynamics->state, file, dynamics->epoch, dynamics->step, WriteMore, dynamics);
  PetscCall(CkDynamicsSelect(dynamics, 0));
  PetscCall(ierr);
  PetscFunctionReturn(PETSC_SUCCESS);
}
