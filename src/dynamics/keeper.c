/* keeper.c: numbers into a file or out of it, by one list. */
#include "keeper.h"
#include <clarkia/error.h>
#include <stdio.h>

struct _p_CkKeeper {
  CkFile      file;
  PetscBool   reads;
  MPI_Comm    group;
  PetscMPIInt rank; /* in the group */
  PetscInt    replicas, replica;
};

PetscErrorCode CkKeeperCreate(CkFile file, PetscBool reads, MPI_Comm group, PetscInt replicas, CkKeeper *keeper)
{
  CkKeeper k;

  PetscFunctionBeginUser;
  PetscCall(PetscNew(&k));
  k->file = file;
  k->reads = reads;
  k->group = group;
  k->replicas = replicas;
  PetscCallMPI(MPI_Comm_rank(group, &k->rank));
  *keeper = k;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkKeeperDestroy(CkKeeper *keeper)
{
  PetscFunctionBeginUser;
  PetscCall(PetscFree(*keeper));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkKeeperSetReplica(CkKeeper keeper, PetscInt replica)
{
  PetscFunctionBeginUser;
  PetscCheck(replica >= 0 && replica < keeper->replicas, PETSC_COMM_SELF, PETSC_ERR_ARG_OUTOFRANGE,
             "Replica %" PetscInt_FMT " of %" PetscInt_FMT, replica, keeper->replicas);
  keeper->replica = replica;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscBool CkKeeperReads(CkKeeper keeper)
{
  return keeper->reads;
}

/* Numbers first .. first + count of the n of this replica. */
static PetscErrorCode Keep(CkKeeper k, const char name[], PetscInt n, PetscInt first, PetscInt count, double values[])
{
  const PetscInt64 size = (PetscInt64)k->replicas * n;
  const PetscInt64 start = count > 0 ? (PetscInt64)k->replica * n + first : 0;
  PetscInt64       shape[CK_MAX_RANK];
  char             path[128];
  PetscBool        there;
  const char      *file;

  PetscFunctionBeginUser;
  PetscCall(PetscSNPrintf(path, sizeof(path), "/kept/%s", name));
  PetscCall(CkFileGetName(k->file, &file));
  if (k->reads) {
    PetscCall(CkFileGetDataset(k->file, path, NULL, NULL, shape));
    PetscCheck(shape[0] == size, PETSC_COMM_SELF, PETSC_ERR_FILE_UNEXPECTED,
               "%s:%s has %" PetscInt64_FMT " numbers, expected %" PetscInt64_FMT, file, path, shape[0], size);
    PetscCall(CkFileReadRows(k->file, path, CK_F64, start, count, values));
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  PetscCall(CkFileExists(k->file, path, &there));
  if (!there)
    PetscCall(CkFileCreateDataset(k->file, path, CK_F64, 1, &size, "1", "of each replica: what the run goes on with"));
  PetscCall(CkFileWriteRows(k->file, path, CK_F64, start, count, values));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkKeepVec(CkKeeper keeper, const char name[], Vec v)
{
  PetscInt     n, first, last;
  PetscScalar *values;

  PetscFunctionBeginUser;
  PetscCall(VecGetSize(v, &n));
  PetscCall(VecGetOwnershipRange(v, &first, &last));
  PetscCall(VecGetArray(v, &values));
  PetscCall(Keep(keeper, name, n, first, last - first, values));
  PetscCall(VecRestoreArray(v, &values));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkKeepArray(CkKeeper keeper, const char name[], PetscInt n, double values[])
{
  PetscMPIInt count;

  PetscFunctionBeginUser;
  if (n == 0) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(PetscMPIIntCast(n, &count));
  PetscCall(Keep(keeper, name, n, 0, keeper->rank == 0 ? n : 0, values));
  if (keeper->reads) PetscCallMPI(MPI_Bcast(values, count, MPI_DOUBLE, 0, keeper->group));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkKeepReal(CkKeeper keeper, const char name[], double *value)
{
  PetscFunctionBeginUser;
  PetscCall(CkKeepArray(keeper, name, 1, value));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkKeepInt(CkKeeper keeper, const char name[], PetscInt *value)
{
  double real = (double)*value;

  PetscFunctionBeginUser;
  PetscCall(CkKeepReal(keeper, name, &real));
  *value = (PetscInt)real;
  PetscFunctionReturn(PETSC_SUCCESS);
}
