#pragma once
#include <clarkia/exactsum.h>

/*
  Entry i of vector j holds the integer  high 2^40 + low  in units of CkExactSumUnit(bound, 1) (two limbs), or high in
  units of CkExactSumUnit(bound, 0) (one limb): integer sums do not depend on their order. A term is rounded to the
  unit once, by arithmetic that is exact for any double, so its integer depends on the term alone.
*/
enum { HIGH_BITS = 62, LOW_BITS = 40, SHIFT = 20 };

struct _p_CkExactSum {
  MPI_Comm    comm;
  PetscInt64  n;
  PetscInt    m;
  int         limbs;
  double     *bounds; /* [m] */
  uint64_t   *high;   /* [m x n] */
  uint64_t   *low;    /* [m x n], or NULL */
  uint64_t   *work;   /* [room] messages of reductions */
  size_t      room;
  PetscInt64 *terms; /* [m]: additions to vector j since its last carry */
  PetscBool   hold, spoilt;
};

/* Moves what exceeds 40 bits from the low limbs of vector j to the high ones; the numbers stay the same. */
void CkExactSumCarry(CkExactSum sum, PetscInt j);

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && !defined(__SANITIZE_ADDRESS__)
#define CK_CLONES __attribute__((target_clones("default", "avx2", "avx512f")))
#else
#define CK_CLONES
#endif
