/* blockmatrix_part.c: the rows and columns of some indices, as a block-cyclic matrix of its own. */
#include "blockmatriximpl.h"

static const double PIECE = 67108864; /* bytes of the rows that travel at a time */

/* Which of this rank's rows (axis 0) or columns are wanted: local index and place in the part. */
typedef struct {
  int       n, *local;
  PetscInt *place;
} Wanted;

static PetscErrorCode Find(CkBlockMatrix A, int axis, const PetscInt place[], Wanted *wanted)
{
  const int count = axis ? A->cols : A->rows;

  PetscFunctionBeginUser;
  wanted->n = 0;
  PetscCall(PetscMalloc2(count, &wanted->local, count, &wanted->place));
  for (int i = 0; i < count; ++i) {
    const PetscInt p = place[CkBlockGlobal(A, axis, i)];

    if (p < 0) continue;
    wanted->local[wanted->n] = i;
    wanted->place[wanted->n++] = p;
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Rows first .. first+count of the part's lower triangle, as far as this rank has them: [count x m]. */
static void Take(CkBlockMatrix A, const Wanted *rows, const Wanted *columns, PetscInt first, PetscInt count, size_t m,
                 double part[])
{
  for (int j = 0; j < columns->n; ++j) {
    const PetscInt h = CkBlockGlobal(A, 1, columns->local[j]);
    const double  *a = A->a + (size_t)columns->local[j] * (size_t)CkBlockLeading(A);

    for (int i = 0; i < rows->n; ++i) {
      const PetscInt row = PetscMax(rows->place[i], columns->place[j]);
      const PetscInt column = PetscMin(rows->place[i], columns->place[j]);

      if (row < first || row >= first + count || CkBlockGlobal(A, 0, rows->local[i]) < h) continue;
      part[(size_t)(row - first) * m + (size_t)column] = a[rows->local[i]];
    }
  }
}

/* This rank's entries of rows first .. first+count. */
static void Put(CkBlockMatrix B, PetscInt first, PetscInt count, const double part[])
{
  const int from = CkBlockFirst(B, 0, first), end = CkBlockFirst(B, 0, first + count);

  for (int j = 0; j < B->cols; ++j) {
    const PetscInt h = CkBlockGlobal(B, 1, j);
    double        *b = B->a + (size_t)j * (size_t)CkBlockLeading(B);

    for (int i = PetscMax(from, CkBlockFirst(B, 0, h)); i < end; ++i)
      b[i] = part[(size_t)(CkBlockGlobal(B, 0, i) - first) * (size_t)B->n + (size_t)h];
  }
}

PetscErrorCode CkBlockMatrixPart(CkBlockMatrix A, PetscInt m, const PetscInt index[], CkBlockMatrix *B)
{
  const PetscInt most = PetscMax(1, PetscMin(m, (PetscInt)(PIECE / (8. * PetscMax(1, (double)m)))));
  PetscInt      *place;
  double        *part;
  Wanted         rows, columns;

  PetscFunctionBeginUser;
  PetscCall(CkBlockMatrixCreate(A->comm, m, B));
  PetscCall(PetscMalloc2(A->n, &place, (size_t)most * (size_t)m, &part));
  for (PetscInt i = 0; i < A->n; ++i) place[i] = -1;
  for (PetscInt i = 0; i < m; ++i) {
    PetscCheck(index[i] >= 0 && index[i] < A->n && place[index[i]] < 0, A->comm, PETSC_ERR_ARG_OUTOFRANGE,
               "Index %" PetscInt_FMT " of a matrix of order %" PetscInt_FMT ", or twice", index[i], A->n);
    place[index[i]] = i;
  }
  PetscCall(Find(A, 0, place, &rows));
  PetscCall(Find(A, 1, place, &columns));
  for (PetscInt first = 0; first < m; first += most) {
    const PetscInt count = PetscMin(most, m - first);
    PetscMPIInt    numbers;

    PetscCall(PetscMPIIntCast(count * m, &numbers));
    PetscCall(PetscArrayzero(part, numbers));
    Take(A, &rows, &columns, first, count, (size_t)m, part);
    PetscCallMPI(MPI_Allreduce(MPI_IN_PLACE, part, numbers, MPI_DOUBLE, MPI_SUM, A->comm));
    Put(*B, first, count, part);
  }
  PetscCall(PetscFree2(rows.local, rows.place));
  PetscCall(PetscFree2(columns.local, columns.place));
  PetscCall(PetscFree2(place, part));
  PetscFunctionReturn(PETSC_SUCCESS);
}
