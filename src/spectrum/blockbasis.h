#pragma once
#include <clarkia/base.h>

/*
  blockbasis.h: orthonormal bases of many long vectors, rows distributed over ranks; private to src/spectrum.
  A vector is the array of this rank's rows; arrays stand anywhere in memory, so that no product of rows and columns is
  ever an index: bases of any size work with 32-bit BLAS and PETSc integers. Small matrices are column-major, without
  padding, and the same bits on every rank.
*/
typedef struct {
  MPI_Comm   comm;
  PetscInt   rows;  /* of this rank */
  PetscInt64 first; /* global number of the first */
} CkRowRange;

/* W -= Q C (C NULL: W stays), then H = Q'W (H NULL: not wanted). Q: k vectors, W: b vectors, C and H [k x b].
   Collective. */
PetscErrorCode CkBasisProject(const CkRowRange *range, PetscInt k, double *const Q[], PetscInt b, double *const W[],
                              const double C[], double H[]);
/*
  CkBasisExtend - Splits W = Q H + U R: Q (k orthonormal vectors), H [k x b], U (`width` orthonormal vectors, orthogonal
  to Q, in the place of W's first ones), R [width x b].
  W holds b vectors and has room for `width`, the number of vectors of U.
  A direction of W no longer than 100 eps64 *scale counts as zero; what is missing is made up of random vectors (rows of
  zeros in R), so that the block stays wide and a start that lacks a direction is healed. scale: becomes the largest
  |H_ij| where that is larger. randoms: random vectors drawn so far.
  Q and U together must not exceed the dimension. Collective.
*/
PetscErrorCode CkBasisExtend(const CkRowRange *range, PetscInt k, double *const Q[], PetscInt b, double *const W[],
                             PetscInt width, double *scale, PetscInt64 *randoms, double H[], double R[]);
/* The first m of k vectors become Q Y, Y [k x m]; the others keep nothing of use. Local. */
PetscErrorCode CkBasisRotate(const CkRowRange *range, PetscInt k, double *const Q[], PetscInt m, const double Y[]);
/* w = standard normal numbers by global row: random vector `number`, the same on any number of ranks. Local. */
void CkBasisRandom(const CkRowRange *range, PetscInt64 number, double w[]);
