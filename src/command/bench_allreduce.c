/* bench_allreduce.c: times of MPI_Allreduce, of the kind and the sizes of messages that exact sums send. */
#include "bench.h"
#include <clarkia/exactsum.h>

enum { GROWTH = 8, MOST_CALLS = 100 }; /* from size to size */
static const double ENOUGH = 1e-3;     /* s */

/* Seconds of one of so many calls in a row, the slowest rank's. */
static PetscErrorCode Calls(MPI_Comm comm, PetscInt calls, PetscMPIInt n, int64_t data[], double *seconds)
{
  double start;

  PetscFunctionBeginUser;
  PetscCall(PetscArrayzero(data, n));
  PetscCallMPI(MPI_Barrier(comm));
  start = MPI_Wtime();
  for (PetscInt i = 0; i < calls; ++i) PetscCallMPI(MPI_Allreduce(MPI_IN_PLACE, data, n, MPI_INT64_T, MPI_SUM, comm));
  *seconds = (MPI_Wtime() - start) / (double)calls;
  PetscCallMPI(MPI_Allreduce(MPI_IN_PLACE, seconds, 1, MPI_DOUBLE, MPI_MAX, comm));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Median of the repeats, each as many calls as take ENOUGH by a first one: short ones are below the clock's grain. */
static PetscErrorCode Time(MPI_Comm comm, PetscInt repeats, PetscMPIInt n, int64_t data[], double *seconds)
{
  double  *times, first;
  PetscInt calls;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc1(repeats, &times));
  PetscCall(Calls(comm, 1, n, data, &first));
  calls = (PetscInt)PetscMax(1, PetscMin(MOST_CALLS, ENOUGH / PetscMax(first, 1e-9)));
  for (PetscInt r = 0; r < repeats; ++r) PetscCall(Calls(comm, calls, n, data, &times[r]));
  PetscCall(CkBenchMedian(repeats, times, seconds));
  PetscCall(PetscFree(times));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The largest number of the first ranks that are on one node; network: whether there are others. */
static PetscErrorCode FirstNode(MPI_Comm comm, PetscMPIInt *ranks, PetscBool *network)
{
  MPI_Comm    node;
  PetscMPIInt size, all;

  PetscFunctionBeginUser;
  PetscCallMPI(MPI_Comm_split_type(comm, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &node));
  PetscCallMPI(MPI_Comm_size(node, &size));
  PetscCallMPI(MPI_Comm_free(&node));
  PetscCallMPI(MPI_Comm_size(comm, &all));
  PetscCallMPI(MPI_Bcast(&size, 1, MPI_INT, 0, comm));
  *ranks = size;
  *network = (PetscBool)(size < all);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* All sizes over the first `ranks` ranks; the times of rank 0 go to everybody. */
static PetscErrorCode TimeRanks(MPI_Comm comm, PetscMPIInt ranks, PetscInt repeats, CkBenchAllreduce *times)
{
  PetscMPIInt rank;
  MPI_Comm    some;
  int64_t    *data;
  PetscInt    first = times->n;

  PetscFunctionBeginUser;
  PetscCallMPI(MPI_Comm_rank(comm, &rank));
  PetscCallMPI(MPI_Comm_split(comm, rank < ranks ? 0 : MPI_UNDEFINED, rank, &some));
  PetscCall(PetscMalloc1(CK_EXACTSUM_CHUNK, &data));
  for (size_t n = 1; n <= CK_EXACTSUM_CHUNK; n *= GROWTH, ++times->n) {
    times->ranks[times->n] = ranks;
    times->bytes[times->n] = sizeof(int64_t) * (double)n;
    if (some != MPI_COMM_NULL) PetscCall(Time(some, repeats, (PetscMPIInt)n, data, &times->seconds[times->n]));
  }
  PetscCall(PetscFree(data));
  if (some != MPI_COMM_NULL) PetscCallMPI(MPI_Comm_free(&some));
  PetscCallMPI(MPI_Bcast(times->seconds + first, (PetscMPIInt)(times->n - first), MPI_DOUBLE, 0, comm));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkBenchAllreduceMeasure(MPI_Comm comm, PetscInt repeats, CkBenchAllreduce *times, PetscBool *network)
{
  PetscMPIInt all, node = 1;
  PetscInt    sizes = 0, groups = 1;

  PetscFunctionBeginUser;
  PetscCallMPI(MPI_Comm_size(comm, &all));
  PetscCall(FirstNode(comm, &node, network));
  for (size_t n = 1; n <= CK_EXACTSUM_CHUNK; n *= GROWTH) ++sizes;
  for (PetscMPIInt ranks = 2; ranks < all; ranks *= 2) ++groups;
  times->n = 0;
  PetscCall(
    PetscMalloc3(sizes * groups, &times->ranks, sizes * groups, &times->bytes, sizes * groups, &times->seconds));
  for (PetscMPIInt ranks = 2; ranks < all; ranks *= 2)
    if (!*network || ranks > node) PetscCall(TimeRanks(comm, ranks, repeats, times));
  if (all > 1) PetscCall(TimeRanks(comm, all, repeats, times));
  PetscFunctionReturn(PETSC_SUCCESS);
}
