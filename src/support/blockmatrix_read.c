/* blockmatrix_read.c: what is read off a block-cyclic matrix: norms, products, rows and columns. */
#include "blockmatriximpl.h"
#include <math.h>
#include <petscblaslapack.h>

/* In place over ranks; counts above 2^31 in pieces. */
static PetscErrorCode SumOverRanks(MPI_Comm comm, size_t n, double values[])
{
  const size_t piece = (size_t)1 << 27;

  PetscFunctionBeginUser;
  for (size_t i = 0; i < n; i += piece) {
    const PetscMPIInt count = (PetscMPIInt)PetscMin(piece, n - i);

    PetscCallMPI(MPI_Allreduce(MPI_IN_PLACE, values + i, count, MPI_DOUBLE, MPI_SUM, comm));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkBlockMatrixDiagonal(CkBlockMatrix A, double diagonal[])
{
  PetscFunctionBeginUser;
  PetscCall(PetscArrayzero(diagonal, A->n));
  for (int j = 0; j < A->cols; ++j) {
    const PetscInt g = CkBlockGlobal(A, 1, j);
    const int      i = CkBlockFirst(A, 0, g);

    if (i < A->rows && CkBlockGlobal(A, 0, i) == g) diagonal[g] = A->a[(size_t)j * (size_t)A->rows + (size_t)i];
  }
  PetscCall(SumOverRanks(A->comm, (size_t)A->n, diagonal));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkBlockMatrixTrace(CkBlockMatrix A, double *trace)
{
  double     *diagonal;
  long double sum = 0;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc1(A->n, &diagonal));
  PetscCall(CkBlockMatrixDiagonal(A, diagonal));
  for (PetscInt i = 0; i < A->n; ++i) sum += diagonal[i];
  *trace = (double)sum;
  PetscCall(PetscFree(diagonal));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkBlockMatrixFrobenius(CkBlockMatrix A, double *norm)
{
  double sum = 0;

  PetscFunctionBeginUser;
  for (int j = 0; j < A->cols; ++j) {
    const PetscInt g = CkBlockGlobal(A, 1, j);
    const double  *column = A->a + (size_t)j * (size_t)A->rows;
    double         twice = 0, once = 0;

    for (int i = CkBlockFirst(A, 0, g); i < A->rows; ++i) {
      if (CkBlockGlobal(A, 0, i) == g) once += column[i] * column[i];
      else twice += column[i] * column[i];
    }
    sum += 2 * twice + once;
  }
  PetscCall(SumOverRanks(A->comm, 1, &sum));
  *norm = sqrt(sum);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* x [m x n] -> the entries of this rank's rows or columns, [m x count]. */
static void Gather(CkBlockMatrix A, int axis, PetscInt m, const double *x, double *local)
{
  const int count = axis ? A->cols : A->rows;

  for (PetscInt v = 0; v < m; ++v) {
    for (int i = 0; i < count; ++i)
      local[(size_t)v * (size_t)count + (size_t)i] = x[(size_t)v * (size_t)A->n + (size_t)CkBlockGlobal(A, axis, i)];
  }
}

static void ScatterAdd(CkBlockMatrix A, int axis, PetscInt m, const double *local, double *y)
{
  const int count = axis ? A->cols : A->rows;

  for (PetscInt v = 0; v < m; ++v) {
    for (int i = 0; i < count; ++i)
      y[(size_t)v * (size_t)A->n + (size_t)CkBlockGlobal(A, axis, i)] += local[(size_t)v * (size_t)count + (size_t)i];
  }
}

/* One block of columns: its diagonal block, read as symmetric, and everything below it, used twice. xr, yr [m x rows];
 * xc, yc [m x cols]. */
static PetscErrorCode MultiplyBlock(CkBlockMatrix A, int j, PetscBLASInt m, const double *xr, const double *xc,
                                    double *yr, double *yc)
{
  const double       one = 1;
  const PetscBLASInt lead = CkBlockLeading(A), width = PetscMin(A->nb, A->cols - j), ldr = A->rows, ldc = A->cols;
  const PetscInt     g = CkBlockGlobal(A, 1, j);
  const int          first = CkBlockFirst(A, 0, g);
  const PetscBLASInt below = CkBlockFirst(A, 0, g + width), height = A->rows - below;
  const double      *block = A->a + (size_t)j * (size_t)lead;

  PetscFunctionBeginUser;
  if (below > first) {
    PetscBLASInt rows = below - first;

    PetscCheck(rows == width, PETSC_COMM_SELF, PETSC_ERR_PLIB, "Diagonal block is not square");
    PetscCallBLAS("dsymm",
                  BLASsymm_("L", "L", &rows, &m, &one, block + first, &lead, xc + j, &ldc, &one, yr + first, &ldr));
  }
  if (height > 0) {
    PetscCallBLAS("dgemm", BLASgemm_("N", "N", &height, &m, &width, &one, block + below, &lead, xc + j, &ldc, &one,
                                     yr + below, &ldr));
    PetscCallBLAS("dgemm", BLASgemm_("T", "N", &width, &m, &height, &one, block + below, &lead, xr + below, &ldr, &one,
                                     yc + j, &ldc));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkBlockMatrixMultiply(CkBlockMatrix A, PetscInt m, const double *X, double *Y)
{
  const size_t nr = (size_t)m * (size_t)A->rows, nc = (size_t)m * (size_t)A->cols;
  double      *xr, *xc, *yr, *yc;
  PetscBLASInt mb;

  PetscFunctionBeginUser;
  PetscCall(PetscBLASIntCast(m, &mb));
  PetscCall(PetscMalloc2(nr, &xr, nc, &xc));
  PetscCall(PetscCalloc2(nr, &yr, nc, &yc));
  Gather(A, 0, m, X, xr);
  Gather(A, 1, m, X, xc);
  if (A->rows > 0)
    for (int j = 0; j < A->cols; j += A->nb) PetscCall(MultiplyBlock(A, j, mb, xr, xc, yr, yc));
  PetscCall(PetscArrayzero(Y, (size_t)m * (size_t)A->n));
  ScatterAdd(A, 0, m, yr, Y);
  ScatterAdd(A, 1, m, yc, Y);
  PetscCall(SumOverRanks(A->comm, (size_t)m * (size_t)A->n, Y));
  PetscCall(PetscLogFlops(2. * (double)A->rows * A->cols * (double)m));
  PetscCall(PetscFree2(xr, xc));
  PetscCall(PetscFree2(yr, yc));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkBlockMatrixGetRows(CkBlockMatrix A, PetscInt first, PetscInt count, double *rows)
{
  const size_t n = (size_t)A->n;

  PetscFunctionBeginUser;
  PetscCall(PetscArrayzero(rows, (size_t)count * n));
  for (int j = 0; j < A->cols; ++j) {
    const PetscInt c = CkBlockGlobal(A, 1, j);

    for (int i = CkBlockFirst(A, 0, c); i < A->rows; ++i) {
      const PetscInt r = CkBlockGlobal(A, 0, i);
      const double   x = A->a[(size_t)j * (size_t)A->rows + (size_t)i];

      if (r >= first && r < first + count) rows[(size_t)(r - first) * n + (size_t)c] = x;
      if (r != c && c >= first && c < first + count) rows[(size_t)(c - first) * n + (size_t)r] = x;
    }
  }
  PetscCall(SumOverRanks(A->comm, (size_t)count * n, rows));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkBlockMatrixGetColumns(CkBlockMatrix Z, PetscInt first, PetscInt count, double *columns)
{
  const size_t n = (size_t)Z->n;

  PetscFunctionBeginUser;
  PetscCall(PetscArrayzero(columns, (size_t)count * n));
  for (int j = CkBlockFirst(Z, 1, first); j < CkBlockFirst(Z, 1, first + count); ++j) {
    double *column = columns + (size_t)(CkBlockGlobal(Z, 1, j) - first) * n;

    for (int i = 0; i < Z->rows; ++i) column[CkBlockGlobal(Z, 0, i)] = Z->a[(size_t)j * (size_t)Z->rows + (size_t)i];
  }
  PetscCall(SumOverRanks(Z->comm, (size_t)count * n, columns));
  PetscFunctionReturn(PETSC_SUCCESS);
}
