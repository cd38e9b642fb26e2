#pragma once
#include <clarkia/base.h>

/*
  CkExactSum: sums of vectors whose result does not depend on the order of the terms, hence not on the number of ranks
  (decision 2): int64 fixed point, one limb (62 bits below the bound) or two (102 bits).
  A term or a sum that leaves the bound (rounded up to a power of two, the range) is an error, never a wrap-around.
  docs/theory.md, section 4.
*/
typedef struct _p_CkExactSum *CkExactSum;

/*
  CkExactSumCreate - m vectors of length n, all zero.
  bounds[m]: |sum over all ranks| and every partial sum stay within bounds[j] >= 0; limbs: 1 or 2.
  The unit of a sum is range 2^-62 (one limb; eq. (S.1)) or range 2^-102; each term is rounded to it once.
  Memory: 8 n m limbs bytes. Not collective except for the stored communicator.
*/
PetscErrorCode CkExactSumCreate(MPI_Comm comm, PetscInt64 n, PetscInt m, const double bounds[], int limbs,
                                CkExactSum *sum);
/* Adds values[0..count) to entries first.. of vector j. Not collective. Errors: PETSC_ERR_FP for a term that is not
   finite, PETSC_ERR_ARG_OUTOFRANGE for a term or partial sum beyond the bound; the sum is spoilt then (Reset). */
PetscErrorCode CkExactSumAdd(CkExactSum sum, PetscInt j, PetscInt64 first, PetscInt64 count, const double values[]);
PetscErrorCode CkExactSumAddFloat(CkExactSum sum, PetscInt j, PetscInt64 first, PetscInt64 count, const float values[]);
/* hold: from now on a bad term makes no error of CkExactSumAdd() but spoils the sum until the next Reset, for callers
   that must not leave a collective call on one rank alone; CkExactSumIsSpoilt() tells, on the rank that met the term.
 */
PetscErrorCode CkExactSumSetHold(CkExactSum sum, PetscBool hold);
PetscBool      CkExactSumIsSpoilt(CkExactSum sum);
/* Collective: reduces over ranks (in chunks below 2^31) and writes vector j, rounded to double, to out[j*n .. j*n+n) on
 * every rank; the terms stay, more can be added. User error if a sum over the ranks leaves its bound. */
PetscErrorCode CkExactSumReduce(CkExactSum sum, double out[]);
/* The same of vectors first .. first+count-1, count no more than ranks, each to one rank: vector first + r to out [n]
   of rank r (NULL on ranks from count on). A rank sends what others want and rounds one vector: with P ranks a P-th of
   the work of CkExactSumReduce(). Collective; the same bits. */
PetscErrorCode CkExactSumReduceShare(CkExactSum sum, PetscInt first, PetscInt count, double out[]);
/* Entries of one message of CkExactSumReduce(), 8 bytes each and limb. */
#define CK_EXACTSUM_CHUNK ((size_t)1 << 18)
/* Back to zero, with new bounds (NULL: the old ones). */
PetscErrorCode CkExactSumReset(CkExactSum sum, const double bounds[]);
PetscErrorCode CkExactSumDestroy(CkExactSum *sum);
/* The power of two that is the unit of limb `limb` for this bound: exposed for tests. */
double CkExactSumUnit(double bound, int limb);
