/* blockmatrix_centre.c: A <- P A P with P = 1 - (1/n) 1 1'. */
#include "blockmatriximpl.h"
#include <clarkia/exactsum.h>

enum { WIDEST = 64 }; /* blocks of a matrix are no larger */

/* The lower triangle of one block: entries of a column belong to the sums of their rows; below the diagonal they are
   also those of the column's row, by symmetry. */
static PetscErrorCode AddBlock(CkBlockMatrix A, int row, int col, CkExactSum sums)
{
  const int      height = PetscMin(A->nb, A->rows - row), width = PetscMin(A->nb, A->cols - col);
  const PetscInt g = CkBlockGlobal(A, 0, row), h = CkBlockGlobal(A, 1, col);
  const size_t   lead = (size_t)CkBlockLeading(A);
  const double  *a = A->a + (size_t)col * lead + (size_t)row;
  double         across[WIDEST];

  PetscFunctionBeginUser;
  for (int j = 0; j < width; ++j) {
    const int from = g == h ? j : 0;

    PetscCall(CkExactSumAdd(sums, 0, g + from, height - from, a + (size_t)j * lead + from));
  }
  for (int i = 0; i < height; ++i) {
    const int count = g == h ? PetscMin(i, width) : width;

    for (int j = 0; j < count; ++j) across[j] = a[(size_t)j * lead + (size_t)i];
    if (count > 0) PetscCall(CkExactSumAdd(sums, 0, h, count, across));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Sums of the rows of the symmetric matrix, [n] on every rank. |A_ij| <= the largest of the diagonal: A is positive
   semi-definite, up to rounding. */
static PetscErrorCode RowSums(CkBlockMatrix A, double sums[])
{
  CkExactSum exact;
  double     bound = 0;

  PetscFunctionBeginUser;
  PetscCall(CkBlockMatrixDiagonal(A, sums));
  for (PetscInt i = 0; i < A->n; ++i) bound = PetscMax(bound, PetscAbsReal(sums[i]));
  bound *= 2 * (double)A->n;
  PetscCall(CkExactSumCreate(A->comm, A->n, 1, &bound, 2, &exact));
  for (int col = 0; col < A->cols; col += A->nb)
    for (int row = CkBlockFirst(A, 0, CkBlockGlobal(A, 1, col)); row < A->rows; row += A->nb)
      PetscCall(AddBlock(A, row, col, exact));
  PetscCall(CkExactSumReduce(exact, sums));
  PetscCall(CkExactSumDestroy(&exact));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkBlockMatrixCentre(CkBlockMatrix A)
{
  const double n = (double)A->n;
  long double  sum = 0;
  double      *means, mean;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc1(A->n, &means));
  PetscCall(RowSums(A, means));
  for (PetscInt i = 0; i < A->n; ++i) {
    sum += means[i];
    means[i] /= n;
  }
  mean = (double)sum / n / n;
  for (int j = 0; j < A->cols; ++j) {
    const PetscInt h = CkBlockGlobal(A, 1, j);
    double        *a = A->a + (size_t)j * (size_t)CkBlockLeading(A);

    for (int i = CkBlockFirst(A, 0, h); i < A->rows; ++i) a[i] -= means[CkBlockGlobal(A, 0, i)] + means[h] - mean;
  }
  PetscCall(PetscFree(means));
  PetscFunctionReturn(PETSC_SUCCESS);
}
