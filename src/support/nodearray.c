#include <clarkia/nodearray.h>
#include <clarkia/options.h>
#include <clarkia/progress.h>
#include <stdint.h>
#include <string.h>
#include <sys/statvfs.h>

/* Where Open MPI and MPICH keep shared windows. */
#define SHARED_MEMORY_FOLDER "/dev/shm"
/* Part of the free room that may be taken: other programs of the node use it too. */
#define USABLE 0.9
/* Vector instructions and cache lines. */
enum { ALIGNMENT = 64 };

static double held; /* bytes of this rank's arrays */

double CkNodeArrayBytes(void)
{
  return held;
}

/* Mappings of a window begin at pages, so that every rank of the node finds the same distance. */
static char *Aligned(void *base)
{
  return (char *)base + (ALIGNMENT - (uintptr_t)base % ALIGNMENT) % ALIGNMENT;
}

static int (*pretended)(int rank);

void CkNodePretend(int (*node_of)(int rank))
{
  pretended = node_of;
}

PetscErrorCode CkNodeSplit(MPI_Comm comm, MPI_Comm *node)
{
  PetscMPIInt rank;

  PetscFunctionBeginUser;
  PetscCallMPI(MPI_Comm_rank(comm, &rank));
  if (pretended) PetscCallMPI(MPI_Comm_split(comm, pretended(rank), rank, node));
  else PetscCallMPI(MPI_Comm_split_type(comm, MPI_COMM_TYPE_SHARED, rank, MPI_INFO_NULL, node));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkNodeRanks(MPI_Comm comm, PetscMPIInt *ranks)
{
  MPI_Comm node;

  PetscFunctionBeginUser;
  PetscCall(CkNodeSplit(comm, &node));
  PetscCallMPI(MPI_Comm_size(node, ranks));
  PetscCallMPI(MPI_Comm_free(&node));
  PetscCallMPI(MPI_Allreduce(MPI_IN_PLACE, ranks, 1, MPI_INT, MPI_MAX, comm));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkNodeArrayPlan(MPI_Comm comm, PetscBool wanted, double size, PetscBool *shared, double *free_bytes)
{
  struct statvfs status;
  double         room = 0;
  PetscMPIInt    ranks;

  PetscFunctionBeginUser;
  PetscCall(CkNodeRanks(comm, &ranks));
  if (statvfs(SHARED_MEMORY_FOLDER, &status) == 0) room = (double)status.f_bavail * (double)status.f_frsize;
  PetscCallMPI(MPI_Allreduce(MPI_IN_PLACE, &room, 1, MPI_DOUBLE, MPI_MIN, comm));
  *shared = (PetscBool)(wanted && ranks > 1 && size <= USABLE * room);
  if (free_bytes) *free_bytes = room;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* One rank of the node owns all bytes, so that they are contiguous. A failure of the window is no failure of the
   program: *made says on every rank of comm whether all nodes have one. */
static PetscErrorCode MakeWindow(MPI_Comm comm, CkNodeArray *array, PetscBool *made)
{
  const MPI_Aint mine = array->part == 0 ? (MPI_Aint)(array->size + ALIGNMENT) : 0;
  PetscMPIInt    ok;
  MPI_Aint       size;
  int            unit;
  void          *base;

  PetscFunctionBeginUser;
  PetscCallMPI(MPI_Comm_set_errhandler(array->node, MPI_ERRORS_RETURN));
  ok = MPI_Win_allocate_shared(mine, 1, MPI_INFO_NULL, array->node, &base, &array->window) == MPI_SUCCESS;
  if (!ok) array->window = MPI_WIN_NULL;
  PetscCallMPI(MPI_Allreduce(MPI_IN_PLACE, &ok, 1, MPI_INT, MPI_MIN, comm));
  *made = (PetscBool)ok;
  if (!ok) {
    if (array->window != MPI_WIN_NULL) PetscCallMPI(MPI_Win_free(&array->window));
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  PetscCallMPI(MPI_Win_shared_query(array->window, 0, &size, &unit, &base));
  PetscCallMPI(MPI_Win_lock_all(MPI_MODE_NOCHECK, array->window));
  array->bytes = Aligned(base);
  if (array->part == 0) held += (double)array->size;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkNodeArrayCreate(MPI_Comm comm, size_t size, PetscBool shared, CkNodeArray *array)
{
  PetscFunctionBeginUser;
  memset(array, 0, sizeof(*array));
  array->size = size;
  array->window = MPI_WIN_NULL;
  array->node = MPI_COMM_NULL;
  if (shared) {
    PetscCall(CkNodeSplit(comm, &array->node));
    PetscCallMPI(MPI_Comm_rank(array->node, &array->part));
    PetscCallMPI(MPI_Comm_size(array->node, &array->parts));
    PetscCall(MakeWindow(comm, array, &array->shared));
    if (array->shared) PetscFunctionReturn(PETSC_SUCCESS);
    PetscCallMPI(MPI_Comm_free(&array->node));
    PetscCall(
      CkLog(comm, "no shared window of %.3g MB could be made: every rank keeps a private copy", (double)size / 1e6));
  }
  array->part = 0;
  array->parts = 1;
  PetscCall(PetscMalloc(size + ALIGNMENT, &array->memory));
  array->bytes = Aligned(array->memory);
  held += (double)size;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkNodeArraySync(CkNodeArray *array)
{
  PetscFunctionBeginUser;
  if (array->shared) {
    PetscCallMPI(MPI_Win_sync(array->window));
    PetscCallMPI(MPI_Barrier(array->node));
    PetscCallMPI(MPI_Win_sync(array->window));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkNodeArrayDestroy(CkNodeArray *array)
{
  PetscFunctionBeginUser;
  if (array->bytes && array->part == 0) held -= (double)array->size;
  if (array->shared) {
    PetscCallMPI(MPI_Win_unlock_all(array->window));
    PetscCallMPI(MPI_Win_free(&array->window));
    PetscCallMPI(MPI_Comm_free(&array->node));
  } else PetscCall(PetscFree(array->memory));
  memset(array, 0, sizeof(*array));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkNodeArrayReserve(MPI_Comm comm, size_t size, const char what[], CkNodeArray *array)
{
  PetscBool   wanted, shared;
  PetscMPIInt ranks;
  double      room;
  char        bytes[2][32];

  PetscFunctionBeginUser;
  if (array->bytes && size <= array->size) PetscFunctionReturn(PETSC_SUCCESS);
  if (array->bytes) PetscCall(CkNodeArrayDestroy(array));
  PetscCall(CkOptionsGetBool("memory_share", &wanted, NULL));
  PetscCall(CkNodeArrayPlan(comm, wanted, (double)size, &shared, &room));
  PetscCall(CkNodeRanks(comm, &ranks));
  CkFormatBytes((double)size, bytes[0]);
  CkFormatBytes(room, bytes[1]);
  if (wanted && !shared && ranks > 1)
    PetscCall(CkLog(comm,
                    "shared memory (/dev/shm) is short, %s are free: every rank keeps a private copy of the %s, %s",
                    bytes[1], what, bytes[0]));
  PetscCall(CkNodeArrayCreate(comm, size, shared, array));
  PetscFunctionReturn(PETSC_SUCCESS);
}
