/* blockmatrix_file.c: a block-cyclic matrix in a file: the local arrays, rank after rank, with the layout that tells
   whose entries they are. A reader on the same grid reads its own array, another one picks its entries from all. */
#include "blockmatriximpl.h"
#include <math.h>

static const PetscInt64 PIECE = (PetscInt64)1 << 24; /* numbers read at a time from another rank's array */

static PetscInt64 LocalSize(CkBlockMatrix A)
{
  return (PetscInt64)A->rows * A->cols;
}

PetscErrorCode CkBlockMatrixWrite(CkBlockMatrix A, CkFile file, const char path[])
{
  PetscInt64 mine = LocalSize(A), first = 0, all;

  PetscFunctionBeginUser;
  PetscCallMPI(MPI_Exscan(&mine, &first, 1, MPIU_INT64, MPI_SUM, A->comm));
  PetscCallMPI(MPI_Allreduce(&mine, &all, 1, MPIU_INT64, MPI_SUM, A->comm));
  PetscCall(CkFileCreateDataset(file, path, CK_F64, 1, &all, "1",
                                "block-cyclic matrix: local arrays, column-major, rank after rank, row-major grid"));
  PetscCall(CkFileWriteInt(file, path, "order", A->n));
  PetscCall(CkFileWriteInt(file, path, "block", A->nb));
  PetscCall(CkFileWriteInt(file, path, "grid_rows", A->grid[0]));
  PetscCall(CkFileWriteInt(file, path, "grid_columns", A->grid[1]));
  PetscCall(CkFileWriteRows(file, path, CK_F64, first, mine, A->a));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The layout of the matrix in the file, as that of a rank at `place` of its grid. */
typedef struct {
  int nb, grid[2], place[2], rows, cols;
} Source;

static void SetPlace(PetscInt n, int rank, Source *s)
{
  const int zero = 0, order = (int)n;

  s->place[0] = rank / s->grid[1];
  s->place[1] = rank % s->grid[1];
  s->rows = numroc_(&order, &s->nb, &s->place[0], &zero, &s->grid[0]);
  s->cols = numroc_(&order, &s->nb, &s->place[1], &zero, &s->grid[1]);
}

static PetscInt SourceGlobal(const Source *s, int axis, PetscInt i)
{
  return (i / s->nb * s->grid[axis] + s->place[axis]) * s->nb + i % s->nb;
}

/* Local index of row or column g, or -1 where another rank has it. */
static PetscInt Local(CkBlockMatrix A, int axis, PetscInt g)
{
  const PetscInt block = g / A->nb;

  if (block % A->grid[axis] != A->me[axis]) return -1;
  return block / A->grid[axis] * A->nb + g % A->nb;
}

/* Columns first .. first+count of a rank's array in the file. */
static void TakeColumns(CkBlockMatrix A, const Source *s, PetscInt first, PetscInt count, const double values[])
{
  for (PetscInt j = 0; j < count; ++j) {
    const PetscInt col = Local(A, 1, SourceGlobal(s, 1, first + j));

    for (PetscInt i = 0; col >= 0 && i < s->rows; ++i) {
      const PetscInt row = Local(A, 0, SourceGlobal(s, 0, i));

      if (row >= 0) A->a[(size_t)col * (size_t)A->rows + (size_t)row] = values[(size_t)j * (size_t)s->rows + (size_t)i];
    }
  }
}

/* Every rank reads everything and keeps what is its own. */
static PetscErrorCode ReadOther(CkBlockMatrix A, CkFile file, const char path[], Source *s)
{
  PetscInt64 start = 0;
  double    *values;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc1(PetscMax(PIECE, (PetscInt64)A->n), &values));
  for (int rank = 0; rank < s->grid[0] * s->grid[1]; ++rank) {
    PetscInt step;

    SetPlace(A->n, rank, s);
    step = (PetscInt)PetscMax(1, PIECE / PetscMax(1, s->rows));
    for (PetscInt first = 0; first < s->cols; first += step) {
      const PetscInt   count = PetscMin(step, s->cols - first);
      const PetscInt64 numbers = (PetscInt64)count * s->rows;

      PetscCall(CkFileReadRows(file, path, CK_F64, start, numbers, values));
      TakeColumns(A, s, first, count, values);
      start += numbers;
    }
  }
  PetscCall(PetscFree(values));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode ReadLayout(CkFile file, const char path[], PetscInt64 *order, Source *s)
{
  PetscInt64 block, rows, columns;

  PetscFunctionBeginUser;
  PetscCall(CkFileReadInt(file, path, "order", order, NULL));
  PetscCall(CkFileReadInt(file, path, "block", &block, NULL));
  PetscCall(CkFileReadInt(file, path, "grid_rows", &rows, NULL));
  PetscCall(CkFileReadInt(file, path, "grid_columns", &columns, NULL));
  *s = (Source){.nb = (int)block, .grid = {(int)rows, (int)columns}};
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Numbers the file must hold for this layout. */
static PetscInt64 FileSize(PetscInt n, Source *s)
{
  PetscInt64 all = 0;

  for (int rank = 0; rank < s->grid[0] * s->grid[1]; ++rank) {
    SetPlace(n, rank, s);
    all += (PetscInt64)s->rows * s->cols;
  }
  return all;
}

PetscErrorCode CkBlockMatrixRead(CkBlockMatrix A, CkFile file, const char path[])
{
  PetscInt64  order, mine = LocalSize(A), first = 0, shape[CK_MAX_RANK];
  int         rank;
  CkType      type;
  Source      s;
  const char *name;

  PetscFunctionBeginUser;
  PetscCall(CkFileGetName(file, &name));
  PetscCall(CkFileGetDataset(file, path, &type, &rank, shape));
  PetscCall(ReadLayout(file, path, &order, &s));
  CkCheckAll(A->comm,
             order == A->n && s.nb > 0 && s.grid[0] > 0 && s.grid[1] > 0 && s.grid[0] < 65536 && s.grid[1] < 65536 &&
               rank == 1 && shape[0] == FileSize(A->n, &s),
             PETSC_ERR_FILE_UNEXPECTED,
             "%s: %s holds a matrix of order %" PetscInt64_FMT " in %" PetscInt64_FMT
             " numbers, not one of order %" PetscInt_FMT,
             name, path, order, shape[0], A->n);
  if (s.nb == A->nb && s.grid[0] == A->grid[0] && s.grid[1] == A->grid[1]) {
    PetscCallMPI(MPI_Exscan(&mine, &first, 1, MPIU_INT64, MPI_SUM, A->comm));
    PetscCall(CkFileReadRows(file, path, CK_F64, first, mine, A->a));
  } else PetscCall(ReadOther(A, file, path, &s));
  PetscFunctionReturn(PETSC_SUCCESS);
}
