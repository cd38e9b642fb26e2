/* replicafile.c: the weights of a run, or of all of its replicas, in one file. */
#include "dynamicsimpl.h"

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
  const char *const names[CK_NUMBERS] = {"training_loss", "training_error", "test_loss", "test_error"};
  const PetscInt64  shape = R;
  double           *column;

  PetscFunctionBeginUser;
  if (dynamics->epoch == 0) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(PetscMalloc1(R, &column));
  for (int i = 0; i < CK_NUMBERS; ++i) {
    char path[64];

    if (i >= CK_TEST_LOSS && !dynamics->test) continue;
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
static PetscErrorCode WriteReplicas(CkFile file, void *context)
{
  CkDynamics    dynamics = (CkDynamics)context;
  PetscInt      R;
  PetscInt64    shape[2];
  const double *x;

  PetscFunctionBeginUser;
  PetscCall(CkReplicasGetCounts(dynamics->replicas, &R, NULL, NULL, NULL));
  PetscCall(CkFileCreateGroup(file, "/replicas"));
  shape[0] = R;
  shape[1] = dynamics->d;
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

PetscErrorCode CkDynamicsWrite(CkDynamics dynamics, const char file[])
{
  PetscErrorCode ierr;
  PetscInt       R;

  PetscFunctionBeginUser;
  PetscCheck(dynamics->setup && dynamics->state, dynamics->comm, PETSC_ERR_ORDER,
             "Only networks are written, after CkDynamicsSetUp()");
  PetscCall(CkReplicasGetCounts(dynamics->replicas, &R, NULL, NULL, NULL));
  if (R > 1 || dynamics->consensus) PetscCall(CkDynamicsShowResult(dynamics));
  ierr =
    CkStateWriteWith(dynamics->state, file, dynamics->epoch, dynamics->step, R > 1 ? WriteReplicas : NULL, dynamics);
  PetscCall(CkDynamicsSelect(dynamics, 0));
  PetscCall(ierr);
  PetscFunctionReturn(PETSC_SUCCESS);
}
