#pragma once
#include <clarkia/base.h>
#include <clarkia/exactsum.h>
#include <clarkia/file.h>

/*
  CkBlockMatrix: a symmetric (or general, for eigenvectors) n x n matrix of doubles, block-cyclic over the ranks on a
  nearly square process grid, as ScaLAPACK and ELPA want it. Only entries of the lower triangle are defined until
  CkBlockMatrixSymmetrize(). Local blocks above 2^31 - 1 entries are refused with the rank count that works.
*/
typedef struct _p_CkBlockMatrix *CkBlockMatrix;

typedef enum { CK_SOLVER_SCALAPACK, CK_SOLVER_ELPA } CkEigenSolver;

PetscErrorCode CkBlockMatrixCreate(MPI_Comm comm, PetscInt n, CkBlockMatrix *A); /* all zero; collective */
/* User error, as that of Create, where a rank would have too many entries: names the number of ranks that works.
 * Collective. */
PetscErrorCode CkBlockMatrixCheckSize(MPI_Comm comm, PetscInt n);
PetscErrorCode CkBlockMatrixDestroy(CkBlockMatrix *A);
PetscErrorCode CkBlockMatrixDuplicate(CkBlockMatrix A, CkBlockMatrix *B); /* copies the values */
PetscErrorCode CkBlockMatrixGetSize(CkBlockMatrix A, PetscInt *n);
/* Bytes per rank of one matrix of order n on the communicator's grid, and of the solver's work space; for -dry_run. Not
 * collective. */
PetscErrorCode CkBlockMatrixMemory(MPI_Comm comm, PetscInt n, PetscBool vectors, CkEigenSolver solver, double *matrix,
                                   double *work);

/*
  A += alpha R'R (lower triangle): R is [k x n], row-major with leading dimension ld, the same on all ranks.
  Not collective: every rank updates its own blocks (owner computes), so the bits depend on the sequence of updates
  alone. Serves both routes: rows = samples for D (n = d), rows = weights for the Gram matrix (n = N).
*/
PetscErrorCode CkBlockMatrixAddOuter(CkBlockMatrix A, PetscInt k, const double *R, PetscInt ld, double alpha);
PetscErrorCode CkBlockMatrixScale(CkBlockMatrix A, double alpha);
PetscErrorCode CkBlockMatrixTrace(CkBlockMatrix A, double *trace);        /* collective */
PetscErrorCode CkBlockMatrixFrobenius(CkBlockMatrix A, double *norm);     /* of the symmetric matrix; collective */
PetscErrorCode CkBlockMatrixDiagonal(CkBlockMatrix A, double diagonal[]); /* all n on every rank; collective */
PetscErrorCode CkBlockMatrixSymmetrize(CkBlockMatrix A);                  /* fills the upper triangle; collective */
/* A <- P A P with P = 1 - (1/n) 1 1' (lower triangle) for A positive semi-definite but for rounding: |A_ij| <= 2 max
 * A_kk, user error beyond. Row sums are exact sums: the same bits on any grid. Collective. */
PetscErrorCode CkBlockMatrixCentre(CkBlockMatrix A);
/* The same with P the projection that takes from each entry the mean over its group: group [n], 0 .. m-1, the same on
 * all ranks. */
PetscErrorCode CkBlockMatrixCentreGroups(CkBlockMatrix A, PetscInt m, const PetscInt group[]);
/* Two parts of the rows of a matrix, which are rows of a larger one that comes pair of parts by pair of parts: rows
   0 .. cut-1 are its rows first[0].., the others its rows first[1]..; own[p]: entries that have row and column in part
   p are taken here, not with another pair. */
typedef struct {
  PetscInt  cut, first[2];
  PetscBool own[2];
} CkRowParts;
/* Adds the entries of each row of the symmetric matrix (lower triangle read) to the larger one's row in vector 0 of
   `sums`, their squares in vector 1: those on this rank. Not collective; whoever reduces the sums has those of all. */
PetscErrorCode CkBlockMatrixAddSums(CkBlockMatrix A, const CkRowParts *parts, CkExactSum sums);
/* B [m x m] (lower triangle): B_ij = A_kl with k = index[i], l = index[j]; index [m] without repeats, the same on all
 * ranks. Collective. */
PetscErrorCode CkBlockMatrixPart(CkBlockMatrix A, PetscInt m, const PetscInt index[], CkBlockMatrix *B);
/* Lower triangle to and from dataset `path`, on any grid: the file's may be another. Order differs: user error.
 * Collective. */
PetscErrorCode CkBlockMatrixWrite(CkBlockMatrix A, CkFile file, const char path[]);
PetscErrorCode CkBlockMatrixRead(CkBlockMatrix A, CkFile file, const char path[]);
/* Y = A X for the symmetric matrix (lower triangle read): X, Y [m x n], one vector a row, replicated on all ranks;
 * collective. */
PetscErrorCode CkBlockMatrixMultiply(CkBlockMatrix A, PetscInt m, const double *X, double *Y);
/* rows first..first+count of the lower-or-full matrix to all ranks: [count x n]; for tests and small matrices;
 * collective. */
PetscErrorCode CkBlockMatrixGetRows(CkBlockMatrix A, PetscInt first, PetscInt count, double *rows);
/* Entry setter for tests: every rank gives the whole matrix [n x n]. */
PetscErrorCode CkBlockMatrixSetAll(CkBlockMatrix A, const double *values);

/*
  CkBlockMatrixEigen - All eigenvalues of the symmetric matrix, descending, on every rank; A is destroyed (contents).
  Z (NULL: values only): eigenvectors, column j of Z to values[j]; scalapack: pdsyevd with vectors, pdsyev without;
  elpa: two-stage, values only (vectors: PETSC_ERR_SUP). Collective. A non-finite entry is an error before the solver is
  called.
*/
PetscErrorCode CkBlockMatrixEigen(CkBlockMatrix A, CkEigenSolver solver, double values[], CkBlockMatrix *Z);
/* columns first..first+count of Z, one vector a row: [count x n] on every rank; collective. */
PetscErrorCode CkBlockMatrixGetColumns(CkBlockMatrix Z, PetscInt first, PetscInt count, double *columns);
