/* blockmatrix_sums.c: exact sums over the rows of a symmetric matrix and of the squares in them. */
#include "blockmatriximpl.h"
#include <clarkia/exactsum.h>

enum { WIDEST = 64 }; /* blocks of a matrix are no larger */

typedef struct {
  CkBlockMatrix     A;
  const CkRowParts *parts;
  CkExactSum        sums;
} Adding;

/* A piece of a block, within one part by rows and by columns. */
typedef struct {
  int row, col, height, width; /* local */
} Piece;

static int PartOf(const CkRowParts *parts, PetscInt g)
{
  return g >= parts->cut;
}

/* values [count] and their squares to the entries of rows g .. */
static PetscErrorCode Add(const Adding *a, PetscInt g, PetscInt count, const double values[])
{
  const int      part = PartOf(a->parts, g);
  const PetscInt at = a->parts->first[part] + (part ? g - a->parts->cut : g);
  double         squares[WIDEST];

  PetscFunctionBeginUser;
  for (PetscInt i = 0; i < count; ++i) squares[i] = values[i] * values[i];
  PetscCall(CkExactSumAdd(a->sums, 0, at, count, values));
  PetscCall(CkExactSumAdd(a->sums, 1, at, count, squares));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The lower triangle: entries of a column belong to the sums of their rows; below the diagonal they are also those of
   the column's row, by symmetry. */
static PetscErrorCode AddPiece(const Adding *a, const Piece *p)
{
  const PetscInt g = CkBlockGlobal(a->A, 0, p->row), h = CkBlockGlobal(a->A, 1, p->col);
  const size_t   lead = (size_t)CkBlockLeading(a->A);
  const double  *entries = a->A->a + (size_t)p->col * lead + (size_t)p->row;
  const int      part = PartOf(a->parts, g);
  double         across[WIDEST];

  PetscFunctionBeginUser;
  if (g < h || (part == PartOf(a->parts, h) && !a->parts->own[part])) PetscFunctionReturn(PETSC_SUCCESS);
  for (int j = 0; j < p->width; ++j) {
    const int from = g == h ? j : 0;

    PetscCall(Add(a, g + from, p->height - from, entries + (size_t)j * lead + from));
  }
  for (int i = 0; i < p->height; ++i) {
    const int count = g == h ? PetscMin(i, p->width) : p->width;

    for (int j = 0; j < count; ++j) across[j] = entries[(size_t)j * lead + (size_t)i];
    if (count > 0) PetscCall(Add(a, h, count, across));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* How much of `length` rows from global row g on is in g's part. */
static int Within(const CkRowParts *parts, PetscInt g, int length)
{
  return g < parts->cut ? (int)PetscMin(length, parts->cut - g) : length;
}

/* A block, cut where the parts meet. */
static PetscErrorCode AddBlock(const Adding *a, int row, int col)
{
  const int height = PetscMin(a->A->nb, a->A->rows - row), width = PetscMin(a->A->nb, a->A->cols - col);
  const int top = Within(a->parts, CkBlockGlobal(a->A, 0, row), height);
  const int left = Within(a->parts, CkBlockGlobal(a->A, 1, col), width);

  PetscFunctionBeginUser;
  for (int lower = 0; lower < 2; ++lower) {
    for (int right = 0; right < 2; ++right) {
      const Piece piece = {.row = row + (lower ? top : 0),
                           .col = col + (right ? left : 0),
                           .height = lower ? height - top : top,
                           .width = right ? width - left : left};

      if (piece.height > 0 && piece.width > 0) PetscCall(AddPiece(a, &piece));
    }
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkBlockMatrixAddSums(CkBlockMatrix A, const CkRowParts *parts, CkExactSum sums)
{
  const Adding a = {.A = A, .parts = parts, .sums = sums};

  PetscFunctionBeginUser;
  for (int col = 0; col < A->cols; col += A->nb)
    for (int row = CkBlockFirst(A, 0, CkBlockGlobal(A, 1, col)); row < A->rows; row += A->nb)
      PetscCall(AddBlock(&a, row, col));
  PetscFunctionReturn(PETSC_SUCCESS);
}
