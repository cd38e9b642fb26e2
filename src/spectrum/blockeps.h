#pragma once
#include "blockbasis.h"
#include <slepceps.h>

/*
  blockeps.h: block Lanczos with full orthogonalisation and thick restart as an EPS type of SLEPc; private to
  src/spectrum. docs/theory.md, section "Krylov solvers".

  For the largest eigenvalues of a symmetric matrix with a block product (MATPRODUCT_AB with MATDENSE). One iteration
  (EPSGetIterationNumber(), -eps_max_it, -eps_monitor) is one product with a block of -eps_ckblock_size vectors; the
  residual norms handed to the convergence test are those of the recurrence and cost no product. -eps_ncv bounds the
  basis before a restart; the initial space (any number of vectors: they are summed into the block) and a deflation
  space are taken. -eps_mpd, spectral transformations, regions and target values are not. Vectors stand in a BV of type
  "vecs": no 32-bit limit on dimension times vectors. Of an eigenvalue with more copies than the block has vectors some
  may be missed, as by any Krylov method. Missing directions are made up of random vectors, the same on any
  number of ranks.
*/
#define CK_EPS_BLOCK "ckblock"

PetscErrorCode CkBlockEPSRegister(void);
/* Most vectors of a product; before EPSSetUp(). Another type: error. */
PetscErrorCode CkBlockEPSSetSize(EPS eps, PetscInt size);

/* All that the iteration knows between two products. */
typedef struct {
  PetscInt   iterations;
  PetscInt   projected; /* vectors of the basis whose products are known */
  PetscInt   pending;   /* and those that come next */
  PetscInt64 randoms;   /* random vectors drawn */
  double     scale;     /* largest entry of T so far: what rounding errors are relative to */
  double    *T;         /* [n x n], n = projected + pending, column-major: the projected matrix, as far as known */
  double    *M;         /* [n x n]: the same with the rounding of the products, symmetric part */
  double   **basis;     /* [projected + pending] this rank's rows of the vectors */
  CkRowRange range;
} CkBlockState;

/* Called between two products, where the iteration goes on; stop: it shall not (EPS_CONVERGED_USER). Collective. */
typedef PetscErrorCode (*CkBlockHook)(EPS eps, const CkBlockState *state, void *context, PetscBool *stop);
PetscErrorCode CkBlockEPSSetHook(EPS eps, CkBlockHook hook, void *context);
/* Where to go on instead of starting afresh: the numbers of a former state, whose T and rows of the vectors `fill`
   writes into those it is given, once, at the start of EPSSolve(). Iterations of before count. */
typedef PetscErrorCode (*CkBlockFill)(EPS eps, const CkBlockState *state, void *context);
PetscErrorCode CkBlockEPSSetResume(EPS eps, const CkBlockState *state, CkBlockFill fill, void *context);
