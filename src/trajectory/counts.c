#include "counts.h"
#include <math.h>

#define MESSAGE 20000000 /* numbers of a message: below 2^31 bytes */

PetscErrorCode CkCountsCreate(PetscInt rows, PetscInt bins, double low, double width, CkCounts *c)
{
  PetscFunctionBeginUser;
  *c = (CkCounts){.rows = rows, .bins = bins, .low = low, .width = width};
  PetscCall(PetscCalloc1((size_t)rows * (size_t)bins, &c->count));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkCountsDestroy(CkCounts *c)
{
  PetscFunctionBeginUser;
  PetscCall(PetscFree(c->count));
  PetscFunctionReturn(PETSC_SUCCESS);
}

void CkCountsAdd(CkCounts *c, PetscInt row, double value)
{
  const double bin = fmax(0, fmin(floor((value - c->low) / c->width), (double)(c->bins - 1)));

  ++c->count[(size_t)row * (size_t)c->bins + (size_t)bin];
}

PetscErrorCode CkCountsReduce(MPI_Comm comm, CkCounts *c)
{
  const size_t n = (size_t)c->rows * (size_t)c->bins;

  PetscFunctionBeginUser;
  for (size_t first = 0; first < n; first += MESSAGE)
    PetscCallMPI(MPI_Allreduce(MPI_IN_PLACE, c->count + first, (PetscMPIInt)PetscMin(MESSAGE, n - first), MPI_INT64_T,
                               MPI_SUM, comm));
  PetscFunctionReturn(PETSC_SUCCESS);
}

void CkCountsQuantiles(const CkCounts *c, PetscInt row, PetscInt n, const double share[], double values[])
{
  const PetscInt64 *count = c->count + (size_t)row * (size_t)c->bins;
  double            total = 0;

  for (PetscInt b = 0; b < c->bins; ++b) total += (double)count[b];
  for (PetscInt i = 0; i < n; ++i) {
    const double wanted = share[i] * total;
    double       below = 0;
    PetscInt     b = 0;

    while (b < c->bins - 1 && below + (double)count[b] < wanted) below += (double)count[b++];
    values[i] = c->low + c->width * ((double)b + (wanted - below) / fmax(1, (double)count[b]));
  }
}
