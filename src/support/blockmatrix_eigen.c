/* blockmatrix_eigen.c: all eigenvalues of a block-cyclic matrix, by the solver asked for. */
#include "blockmatriximpl.h"
#include <clarkia/progress.h>
#include <math.h>
#include <petscblaslapack.h>

static const CkBlockSolver *const solvers[] = {
  [CK_SOLVER_SCALAPACK] = &ck_block_scalapack, [CK_SOLVER_ELPA] = &ck_block_elpa};

static PetscErrorCode CheckFinite(CkBlockMatrix A)
{
  PetscInt row = -1, column = -1;

  PetscFunctionBeginUser;
  for (int j = 0; j < A->cols && row < 0; ++j) {
    const PetscInt g = CkBlockGlobal(A, 1, j);

    for (int i = CkBlockFirst(A, 0, g); i < A->rows; ++i) {
      if (isfinite(A->a[(size_t)j * (size_t)A->rows + (size_t)i])) continue;
      row = CkBlockGlobal(A, 0, i);
      column = g;
      break;
    }
  }
  CkCheckAll(A->comm, row < 0, PETSC_ERR_FP,
             "entry (%" PetscInt_FMT ", %" PetscInt_FMT ") of the matrix of order %" PetscInt_FMT
             " is not finite: its eigenvalues do not exist",
             row, column, A->n);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Matrices with fewer rows than the process grid: every rank has the whole matrix and calls LAPACK. */
static PetscErrorCode SolveWhole(CkBlockMatrix A, double values[], CkBlockMatrix Z)
{
  const PetscBLASInt n = (PetscBLASInt)A->n, lwork = 3 * n + 1;
  PetscBLASInt       info;
  double            *whole, *work;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc2((size_t)n * (size_t)n, &whole, lwork, &work));
  PetscCall(CkBlockMatrixGetRows(A, 0, A->n, whole));
  if (n > 0) {
    PetscCallBLAS("dsyev", LAPACKsyev_(Z ? "V" : "N", "L", &n, whole, &n, values, work, &lwork, &info));
    CkCallScaLAPACK("dsyev", info);
  }
  for (int j = 0; Z && j < Z->cols; ++j) {
    for (int i = 0; i < Z->rows; ++i)
      Z->a[(size_t)j * (size_t)Z->rows + (size_t)i] =
        whole[(size_t)CkBlockGlobal(Z, 1, j) * (size_t)n + (size_t)CkBlockGlobal(Z, 0, i)];
  }
  PetscCall(PetscFree2(whole, work));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Ascending to descending: columns change places with their mirror images, which may live on other ranks. */
static PetscErrorCode ReverseColumns(CkBlockMatrix Z)
{
  const PetscInt width = PetscMax(1, PetscMin(Z->n, 64));
  double        *left, *right;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc2((size_t)width * (size_t)Z->n, &left, (size_t)width * (size_t)Z->n, &right));
  for (PetscInt first = 0; first < Z->n / 2; first += width) {
    const PetscInt count = PetscMin(width, Z->n / 2 - first), mirror = Z->n - first - count;

    PetscCall(CkBlockMatrixGetColumns(Z, first, count, left));
    PetscCall(CkBlockMatrixGetColumns(Z, mirror, count, right));
    for (int j = 0; j < Z->cols; ++j) {
      const PetscInt g = CkBlockGlobal(Z, 1, j);
      const double  *source = NULL;

      if (g >= first && g < first + count) source = right + (size_t)(first + count - 1 - g) * (size_t)Z->n;
      if (g >= mirror && g < mirror + count) source = left + (size_t)(mirror + count - 1 - g) * (size_t)Z->n;
      for (int i = 0; source && i < Z->rows; ++i)
        Z->a[(size_t)j * (size_t)Z->rows + (size_t)i] = source[CkBlockGlobal(Z, 0, i)];
    }
  }
  PetscCall(PetscFree2(left, right));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkBlockMatrixEigen(CkBlockMatrix A, CkEigenSolver solver, double values[], CkBlockMatrix *Z)
{
  const CkBlockSolver *type = solvers[solver];
  const PetscBool      whole = (PetscBool)(A->n < A->grid[1] || A->n < 2);

  PetscFunctionBeginUser;
  PetscCheck(!Z || type->vectors, A->comm, PETSC_ERR_SUP, "Solver %s gives eigenvalues only: use scalapack for vectors",
             type->name);
  PetscCall(CheckFinite(A));
  PetscCall(PetscLogEventBegin(CK_Eig, 0, 0, 0, 0));
  if (Z) PetscCall(CkBlockMatrixCreateLike(A, Z));
  if (type->full && !whole) PetscCall(CkBlockMatrixSymmetrize(A));
  PetscCall((whole ? SolveWhole : type->solve)(A, values, Z ? *Z : NULL));
  for (PetscInt i = 0; i < A->n / 2; ++i) {
    const double small = values[i];

    values[i] = values[A->n - 1 - i];
    values[A->n - 1 - i] = small;
  }
  if (Z) PetscCall(ReverseColumns(*Z));
  PetscCall(PetscLogFlops(4. / 3 * (Z ? 7 : 1) * PetscPowRealInt((PetscReal)A->n, 3) / (A->grid[0] * A->grid[1])));
  PetscCall(PetscLogEventEnd(CK_Eig, 0, 0, 0, 0));
  PetscFunctionReturn(PETSC_SUCCESS);
}
