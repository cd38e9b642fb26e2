#pragma once
#include <clarkia/base.h>

/* stable.h: the index alpha of a stable distribution, from sums. docs/theory.md, section 20. Local to the rank. */

typedef struct {
  PetscInt used, width;  /* K1 K2 numbers in K2 sums of K1 = width */
  double   alpha;        /* eq. (W.2); 2: normal, below: heavy tails, above: light ones */
  double   lower, upper; /* 95%; upper is infinite where 1/alpha may be 0 */
} CkStableIndex;

/* n >= 16 numbers about 0; width 0: the root of n. Numbers that are 0 have no logarithm: user error of the caller. */
PetscErrorCode CkStableEstimate(PetscInt n, const double x[], PetscInt width, CkStableIndex *index);
/* What (W.2) gives on average for independent normal numbers of these deviations > 0, eq. (W.3). */
PetscErrorCode CkStableOfGaussian(PetscInt n, const double deviation[], PetscInt width, double *alpha);
