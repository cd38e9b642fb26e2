#include "store.h"
#include <clarkia/progress.h>
#include <string.h>
#include <sys/statvfs.h>

/* Where Open MPI and MPICH keep shared windows. */
#define SHARED_MEMORY_FOLDER "/dev/shm"
/* Part of the free room that may be taken: other programs of the node use it too. */
#define USABLE 0.9

PetscErrorCode CkStoreRanksOnNode(MPI_Comm comm, PetscMPIInt *ranks)
{
  MPI_Comm node;

  PetscFunctionBeginUser;
  PetscCallMPI(MPI_Comm_split_type(comm, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &node));
  PetscCallMPI(MPI_Comm_size(node, ranks));
  PetscCallMPI(MPI_Comm_free(&node));
  PetscCallMPI(MPI_Allreduce(MPI_IN_PLACE, ranks, 1, MPI_INT, MPI_MAX, comm));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkStorePlan(MPI_Comm comm, PetscBool wanted, double size, PetscBool *shared, double *free_bytes)
{
  struct statvfs status;
  double         room = 0;
  PetscMPIInt    ranks;

  PetscFunctionBeginUser;
  PetscCall(CkStoreRanksOnNode(comm, &ranks));
  if (statvfs(SHARED_MEMORY_FOLDER, &status) == 0) room = (double)status.f_bavail * (double)status.f_frsize;
  PetscCallMPI(MPI_Allreduce(MPI_IN_PLACE, &room, 1, MPI_DOUBLE, MPI_MIN, comm));
  *shared = (PetscBool)(wanted && ranks > 1 && size <= USABLE * room);
  if (free_bytes) *free_bytes = room;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* One rank of the node owns all bytes, so that they are contiguous. A failure of the window is no failure of the
   program: *made says on every rank of comm whether all nodes have one. */
static PetscErrorCode CkStoreMakeWindow(MPI_Comm comm, CkStore *store, PetscBool *made)
{
  const MPI_Aint mine = store->part == 0 ? (MPI_Aint)store->size : 0;
  PetscMPIInt    ok;
  MPI_Aint       size;
  int            unit;
  void          *base;

  PetscFunctionBeginUser;
  PetscCallMPI(MPI_Comm_set_errhandler(store->node, MPI_ERRORS_RETURN));
  ok = MPI_Win_allocate_shared(mine, 1, MPI_INFO_NULL, store->node, &base, &store->window) == MPI_SUCCESS;
  if (!ok) store->window = MPI_WIN_NULL;
  PetscCallMPI(MPI_Allreduce(MPI_IN_PLACE, &ok, 1, MPI_INT, MPI_MIN, comm));
  *made = (PetscBool)ok;
  if (!ok) {
    if (store->window != MPI_WIN_NULL) PetscCallMPI(MPI_Win_free(&store->window));
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  PetscCallMPI(MPI_Win_shared_query(store->window, 0, &size, &unit, &base));
  PetscCallMPI(MPI_Win_lock_all(MPI_MODE_NOCHECK, store->window));
  store->bytes = base;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkStoreCreate(MPI_Comm comm, size_t size, PetscBool shared, CkStore *store)
{
  PetscFunctionBeginUser;
  memset(store, 0, sizeof(*store));
  store->size = size;
  store->window = MPI_WIN_NULL;
  store->node = MPI_COMM_NULL;
  if (shared) {
    PetscCallMPI(MPI_Comm_split_type(comm, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &store->node));
    PetscCallMPI(MPI_Comm_rank(store->node, &store->part));
    PetscCallMPI(MPI_Comm_size(store->node, &store->parts));
    PetscCall(CkStoreMakeWindow(comm, store, &store->shared));
    if (store->shared) PetscFunctionReturn(PETSC_SUCCESS);
    PetscCallMPI(MPI_Comm_free(&store->node));
    PetscCall(
      CkLog(comm, "no shared window of %.3g MB could be made: every rank keeps a private copy", (double)size / 1e6));
  }
  store->part = 0;
  store->parts = 1;
  PetscCall(PetscMalloc1(size, &store->bytes));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkStoreSync(CkStore *store)
{
  PetscFunctionBeginUser;
  if (store->shared) {
    PetscCallMPI(MPI_Win_sync(store->window));
    PetscCallMPI(MPI_Barrier(store->node));
    PetscCallMPI(MPI_Win_sync(store->window));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkStoreDestroy(CkStore *store)
{
  PetscFunctionBeginUser;
  if (store->shared) {
    PetscCallMPI(MPI_Win_unlock_all(store->window));
    PetscCallMPI(MPI_Win_free(&store->window));
    PetscCallMPI(MPI_Comm_free(&store->node));
  } else PetscCall(PetscFree(store->bytes));
  memset(store, 0, sizeof(*store));
  PetscFunctionReturn(PETSC_SUCCESS);
}
