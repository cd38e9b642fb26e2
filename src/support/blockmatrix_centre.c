/* blockmatrix_centre.c: A <- Q A Q, where Q takes the mean over its group from each entry of a vector. */
#include "blockmatriximpl.h"
#include <clarkia/exactsum.h>

enum { WIDEST = 64 }; /* blocks of a matrix are no larger */

/* The lower triangle of one block: entries of a column belong to the sums of their rows over the column's group; below
   the diagonal they are also those of the column's row, by symmetry. */
static PetscErrorCode AddBlock(CkBlockMatrix A, int row, int col, const PetscInt group[], CkExactSum sums)
{
  const int      height = PetscMin(A->nb, A->rows - row), width = PetscMin(A->nb, A->cols - col);
  const PetscInt g = CkBlockGlobal(A, 0, row), h = CkBlockGlobal(A, 1, col);
  const size_t   lead = (size_t)CkBlockLeading(A);
  const double  *a = A->a + (size_t)col * lead + (size_t)row;
  double         across[WIDEST];

  PetscFunctionBeginUser;
  for (int j = 0; j < width; ++j) {
    const int from = g == h ? j : 0;

    PetscCall(CkExactSumAdd(sums, group[h + j], g + from, height - from, a + (size_t)j * lead + from));
  }
  for (int i = 0; i < height; ++i) {
    const int count = g == h ? PetscMin(i, width) : width;

    for (int j = 0; j < count; ++j) across[j] = a[(size_t)j * lead + (size_t)i];
    if (count > 0) PetscCall(CkExactSumAdd(sums, group[g + i], h, count, across));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* sums [m x n] on every rank: entry (c, i) is that of A_ij over the j of group c. |A_ij| <= the largest of the
   diagonal: A is positive semi-definite, up to rounding. */
static PetscErrorCode RowSums(CkBlockMatrix A, PetscInt m, const PetscInt group[], double sums[])
{
  CkExactSum exact;
  double     bound = 0, *bounds;

  PetscFunctionBeginUser;
  PetscCall(CkBlockMatrixDiagonal(A, sums));
  for (PetscInt i = 0; i < A->n; ++i) bound = PetscMax(bound, PetscAbsReal(sums[i]));
  PetscCall(PetscMalloc1(m, &bounds));
  for (PetscInt c = 0; c < m; ++c) bounds[c] = 2 * (double)A->n * bound;
  PetscCall(CkExactSumCreate(A->comm, A->n, m, bounds, 2, &exact));
  for (int col = 0; col < A->cols; col += A->nb)
    for (int row = CkBlockFirst(A, 0, CkBlockGlobal(A, 1, col)); row < A->rows; row += A->nb)
      PetscCall(AddBlock(A, row, col, group, exact));
  PetscCall(CkExactSumReduce(exact, sums));
  PetscCall(CkExactSumDestroy(&exact));
  PetscCall(PetscFree(bounds));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* means [m x n] from sums: over the members of each group; both [m x m]: over the members of two groups. */
static PetscErrorCode Means(PetscInt n, PetscInt m, const PetscInt group[], double means[], double both[])
{
  long double *sums;
  double      *members;

  PetscFunctionBeginUser;
  PetscCall(PetscCalloc2(m * m, &sums, m, &members));
  for (PetscInt i = 0; i < n; ++i) members[group[i]] += 1;
  for (PetscInt c = 0; c < m; ++c) {
    double *row = means + (size_t)c * (size_t)n;

    for (PetscInt i = 0; i < n; ++i) {
      sums[c * m + group[i]] += row[i];
      row[i] /= PetscMax(1, members[c]);
    }
  }
  for (PetscInt b = 0; b < m; ++b) {
    for (PetscInt c = 0; c < m; ++c)
      both[b * m + c] = (double)sums[b * m + c] / PetscMax(1, members[b]) / PetscMax(1, members[c]);
  }
  PetscCall(PetscFree2(sums, members));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkBlockMatrixCentreGroups(CkBlockMatrix A, PetscInt m, const PetscInt group[])
{
  const size_t n = (size_t)A->n;
  double      *means, *both;

  PetscFunctionBeginUser;
  for (size_t i = 0; i < n; ++i)
    PetscCheck(group[i] >= 0 && group[i] < m, A->comm, PETSC_ERR_ARG_OUTOFRANGE,
               "Entry %zu in group %" PetscInt_FMT " of %" PetscInt_FMT, i, group[i], m);
  PetscCall(PetscMalloc2((size_t)m * n, &means, (size_t)m * (size_t)m, &both));
  PetscCall(RowSums(A, m, group, means));
  PetscCall(Means(A->n, m, group, means, both));
  for (int j = 0; j < A->cols; ++j) {
    const PetscInt h = CkBlockGlobal(A, 1, j), c = group[h];
    double        *a = A->a + (size_t)j * (size_t)CkBlockLeading(A);

    for (int i = CkBlockFirst(A, 0, h); i < A->rows; ++i) {
      const PetscInt g = CkBlockGlobal(A, 0, i), b = group[g];

      a[i] -= means[(size_t)c * n + (size_t)g] + means[(size_t)b * n + (size_t)h] - both[b * m + c];
    }
  }
  PetscCall(PetscFree2(means, both));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkBlockMatrixCentre(CkBlockMatrix A)
{
  PetscInt *group;

  PetscFunctionBeginUser;
  PetscCall(PetscCalloc1(A->n, &group));
  PetscCall(CkBlockMatrixCentreGroups(A, 1, group));
  PetscCall(PetscFree(group));
  PetscFunctionReturn(PETSC_SUCCESS);
}
