#pragma once
#include <clarkia/base.h>

/* smallmatrix.h: dense matrices [k x k] of a few directions, row-major, by LAPACK and BLAS; local to the rank. */

/* Eigenvalues of the symmetric S, ascending, and eigenvectors, row i of V to values[i]. S is left alone. */
PetscErrorCode CkSmallEigen(PetscInt k, const double S[], double values[], double V[]);
/* C = A B; transposed: C = A B'. C is neither A nor B. */
PetscErrorCode CkSmallProduct(PetscInt k, const double A[], const double B[], PetscBool transposed, double C[]);
/* The antisymmetric A has the eigenvalues +- i values[0 .. k/2), descending (and 0 where k is odd). */
PetscErrorCode CkSmallPlanes(PetscInt k, const double A[], double values[]);
/* out = A^power, power >= 0; out is not A. */
PetscErrorCode CkSmallPower(PetscInt k, const double A[], PetscInt64 power, double out[]);
