#pragma once
#include <clarkia/base.h>

/* counts.h: quantiles of numbers that are too many to be kept, from counts in bins: integers, whose sum needs no order.
 */
typedef struct {
  PetscInt rows, bins;
  double   low, width; /* bin b holds low + b width .. low + (b + 1) width; what lies beyond, the first or the last */
  PetscInt64 *count;   /* [rows x bins] */
} CkCounts;

PetscErrorCode CkCountsCreate(PetscInt rows, PetscInt bins, double low, double width, CkCounts *counts);
PetscErrorCode CkCountsDestroy(CkCounts *counts);
void           CkCountsAdd(CkCounts *counts, PetscInt row, double value);
PetscErrorCode CkCountsReduce(MPI_Comm comm, CkCounts *counts); /* sums over the ranks, on every rank; collective */
/* values[i]: what a share[i] of the numbers of this row lie below, evenly spread inside a bin. */
void CkCountsQuantiles(const CkCounts *counts, PetscInt row, PetscInt n, const double share[], double values[]);
