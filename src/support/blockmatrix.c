/* blockmatrix.c: the object, its layout, and the updates that fill it. */
#include "blockmatriximpl.h"
#include <clarkia/progress.h>
#include <limits.h>
#include <math.h>
#include <petscblaslapack.h>
#include <string.h>

enum { BLOCK = 64, PANEL = 256, LEAST = 16 };

void CkBlockGridShape(int size, int grid[2])
{
  grid[0] = (int)sqrt((double)size);
  while (size % grid[0]) --grid[0];
  grid[1] = size / grid[0];
}

/* Small matrices get small blocks, so that every row and column of the grid has some. */
static int ChooseBlock(PetscInt n, const int grid[2])
{
  return (int)PetscMax(1, PetscMin(BLOCK, n / grid[1]));
}

static double LocalEntries(PetscInt n, int nb, const int grid[2])
{
  const double blocks = ceil((double)n / nb);

  return ceil(blocks / grid[0]) * nb * ceil(blocks / grid[1]) * nb;
}

static double LocalEntriesOn(int size, PetscInt n)
{
  int grid[2];

  CkBlockGridShape(size, grid);
  return LocalEntries(n, ChooseBlock(n, grid), grid);
}

PetscErrorCode CkBlockMatrixCheckSize(MPI_Comm comm, PetscInt n)
{
  PetscMPIInt size;
  double      local;
  int         enough;

  PetscFunctionBeginUser;
  PetscCallMPI(MPI_Comm_size(comm, &size));
  CkCheckAll(comm, n <= INT_MAX / 2, PETSC_ERR_ARG_OUTOFRANGE,
             "a matrix of order %" PetscInt_FMT " is beyond ScaLAPACK's 32-bit indices", n);
  local = LocalEntriesOn(size, n);
  for (enough = size; LocalEntriesOn(enough, n) > INT_MAX;) ++enough;
  CkCheckAll(comm, enough == size, PETSC_ERR_ARG_OUTOFRANGE,
             "a matrix of order %" PetscInt_FMT " has %.3g entries a rank, above the 2^31 - 1 that ScaLAPACK can "
             "address: use %d ranks, or more",
             n, local, enough);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode GridCreate(MPI_Comm comm, CkBlockGrid **grid)
{
  PetscMPIInt  size;
  CkBlockGrid *g;

  PetscFunctionBeginUser;
  PetscCallMPI(MPI_Comm_size(comm, &size));
  PetscCall(PetscNew(&g));
  PetscCallMPI(MPI_Comm_dup(comm, &g->comm));
  CkBlockGridShape(size, g->shape);
  g->handle = g->context = Csys2blacs_handle(g->comm);
  Cblacs_gridinit(&g->context, "Row", g->shape[0], g->shape[1]);
  Cblacs_gridinfo(g->context, &g->shape[0], &g->shape[1], &g->me[0], &g->me[1]);
  *grid = g;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode GridRelease(CkBlockGrid *grid)
{
  PetscFunctionBeginUser;
  if (--grid->owners > 0) PetscFunctionReturn(PETSC_SUCCESS);
  Cblacs_gridexit(grid->context);
  Cfree_blacs_system_handle(grid->handle);
  PetscCallMPI(MPI_Comm_free(&grid->comm));
  PetscCall(PetscFree(grid));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode CreateOnGrid(CkBlockGrid *grid, PetscInt n, int nb, CkBlockMatrix *matrix)
{
  const int     zero = 0, order = (int)n;
  int           lead, info;
  CkBlockMatrix A;

  PetscFunctionBeginUser;
  PetscCall(PetscNew(&A));
  ++grid->owners;
  A->shared = grid;
  A->comm = grid->comm;
  A->n = n;
  A->nb = nb;
  for (int axis = 0; axis < 2; ++axis) {
    A->grid[axis] = grid->shape[axis];
    A->me[axis] = grid->me[axis];
  }
  A->rows = numroc_(&order, &A->nb, &A->me[0], &zero, &A->grid[0]);
  A->cols = numroc_(&order, &A->nb, &A->me[1], &zero, &A->grid[1]);
  lead = CkBlockLeading(A);
  descinit_(A->desc, &order, &order, &A->nb, &A->nb, &zero, &zero, &grid->context, &lead, &info);
  CkCallScaLAPACK("descinit", info);
  PetscCall(PetscCalloc1((size_t)lead * (size_t)PetscMax(1, A->cols), &A->a));
  *matrix = A;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkBlockMatrixCreate(MPI_Comm comm, PetscInt n, CkBlockMatrix *A)
{
  PetscMPIInt  size;
  int          shape[2];
  CkBlockGrid *grid = NULL;

  PetscFunctionBeginUser;
  PetscCheck(n >= 0, comm, PETSC_ERR_ARG_OUTOFRANGE, "Negative order %" PetscInt_FMT, n);
  PetscCallMPI(MPI_Comm_size(comm, &size));
  CkBlockGridShape(size, shape);
  PetscCall(CkBlockMatrixCheckSize(comm, n));
  PetscCall(GridCreate(comm, &grid));
  PetscCall(CreateOnGrid(grid, n, ChooseBlock(n, shape), A));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkBlockMatrixCreateLike(CkBlockMatrix A, CkBlockMatrix *B)
{
  PetscFunctionBeginUser;
  PetscCall(CreateOnGrid(A->shared, A->n, A->nb, B));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkBlockMatrixDestroy(CkBlockMatrix *matrix)
{
  CkBlockMatrix A = *matrix;

  PetscFunctionBeginUser;
  if (!A) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(PetscFree(A->a));
  PetscCall(GridRelease(A->shared));
  PetscCall(PetscFree(*matrix));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkBlockMatrixDuplicate(CkBlockMatrix A, CkBlockMatrix *B)
{
  PetscFunctionBeginUser;
  PetscCall(CkBlockMatrixCreateLike(A, B));
  PetscCall(PetscArraycpy((*B)->a, A->a, (size_t)CkBlockLeading(A) * (size_t)A->cols));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkBlockMatrixGetSize(CkBlockMatrix A, PetscInt *n)
{
  PetscFunctionBeginUser;
  *n = A->n;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkBlockMatrixMemory(MPI_Comm comm, PetscInt n, PetscBool vectors, CkEigenSolver solver, double *matrix,
                                   double *work)
{
  const CkBlockSolver *type = solver == CK_SOLVER_ELPA ? &ck_block_elpa : &ck_block_scalapack;
  PetscMPIInt          size;
  int                  grid[2];
  double               local;

  PetscFunctionBeginUser;
  PetscCallMPI(MPI_Comm_size(comm, &size));
  CkBlockGridShape(size, grid);
  local = LocalEntries(n, ChooseBlock(n, grid), grid);
  *matrix = local * sizeof(double);
  *work = type->work((double)n, local, vectors) * sizeof(double);
  PetscFunctionReturn(PETSC_SUCCESS);
}

int CkBlockFirst(CkBlockMatrix A, int axis, PetscInt g)
{
  const PetscInt block = g / A->nb, cycle = block / A->grid[axis], owner = block % A->grid[axis];
  const int      local = (int)cycle * A->nb, length = axis ? A->cols : A->rows;
  int            first = local; /* me > owner: this rank's block of the cycle comes after g */

  if (A->me[axis] == owner) first = local + (int)(g % A->nb);
  else if (A->me[axis] < owner) first = local + A->nb;
  return PetscMin(first, length);
}

/* A matrix product gives an entry other bits in the ragged edge of a matrix than inside, or in a small matrix than in a
   large one. So every product here has whole panels of rows and columns, filled up with zeros, and LEAST terms at
   least: which rank holds an entry, and beside which others, then makes no difference. */
static PetscBLASInt WholePanels(int count)
{
  return (count + PANEL - 1) / PANEL * PANEL;
}

/* The columns of R [k x n] that stand in this rank's rows (axis 0) or columns (axis 1): [terms x whole panels],
   row-major, zeros beyond. */
static void Pack(CkBlockMatrix A, int axis, PetscInt k, PetscInt terms, const double *R, PetscInt ld, double *packed)
{
  const int    count = axis ? A->cols : A->rows;
  const size_t width = (size_t)WholePanels(count);

  for (PetscInt s = 0; s < k; ++s) {
    const double *row = R + (size_t)s * (size_t)ld;
    double       *mine = packed + (size_t)s * width;

    for (int i = 0; i < count; i += A->nb)
      memcpy(mine + i, row + CkBlockGlobal(A, axis, i), sizeof(double) * (size_t)PetscMin(A->nb, count - i));
    memset(mine + count, 0, sizeof(double) * (width - (size_t)count));
  }
  memset(packed + (size_t)k * width, 0, sizeof(double) * (size_t)(terms - k) * width);
}

/* One panel of columns j.. from local row `first`, a multiple of PANEL, on. Whole squares are updated in place, the
   ragged rest in `edge` [whole panels x PANEL]. */
static PetscErrorCode AddPanel(CkBlockMatrix A, PetscBLASInt k, const double *rows, const double *cols, double alpha,
                               int j, int first, double *edge)
{
  const double       one = 1;
  const PetscBLASInt panel = PANEL, lead = CkBlockLeading(A), ldr = WholePanels(A->rows), ldc = WholePanels(A->cols);
  const int          width = PetscMin(PANEL, A->cols - j), height = A->rows - first;
  const PetscBLASInt inside = width == PANEL ? height / PANEL * PANEL : 0, rest = WholePanels(height - inside);
  double            *a = A->a + (size_t)j * (size_t)lead + first;

  PetscFunctionBeginUser;
  if (inside)
    PetscCallBLAS("dgemm",
                  BLASgemm_("N", "T", &inside, &panel, &k, &alpha, rows + first, &ldr, cols + j, &ldc, &one, a, &lead));
  if (rest) {
    const size_t bytes = sizeof(double) * (size_t)(height - inside);

    memset(edge, 0, sizeof(double) * (size_t)rest * PANEL);
    for (int i = 0; i < width; ++i)
      memcpy(edge + (size_t)i * (size_t)rest, a + (size_t)i * (size_t)lead + inside, bytes);
    PetscCallBLAS("dgemm", BLASgemm_("N", "T", &rest, &panel, &k, &alpha, rows + first + inside, &ldr, cols + j, &ldc,
                                     &one, edge, &rest));
    for (int i = 0; i < width; ++i)
      memcpy(a + (size_t)i * (size_t)lead + inside, edge + (size_t)i * (size_t)rest, bytes);
  }
  PetscCall(PetscLogFlops(2. * (inside + rest) * PANEL * k));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkBlockMatrixAddOuter(CkBlockMatrix A, PetscInt k, const double *R, PetscInt ld, double alpha)
{
  const PetscInt terms = PetscMax(k, LEAST);
  PetscBLASInt   blas_terms;
  double        *rows, *cols, *edge;

  PetscFunctionBeginUser;
  PetscCheck(ld >= A->n, A->comm, PETSC_ERR_ARG_SIZ, "Leading dimension %" PetscInt_FMT " below order %" PetscInt_FMT,
             ld, A->n);
  PetscCall(PetscBLASIntCast(terms, &blas_terms));
  if (k == 0 || A->rows == 0 || A->cols == 0) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(PetscMalloc3((size_t)terms * (size_t)WholePanels(A->rows), &rows,
                         (size_t)terms * (size_t)WholePanels(A->cols), &cols, (size_t)WholePanels(A->rows) * PANEL,
                         &edge));
  Pack(A, 0, k, terms, R, ld, rows);
  Pack(A, 1, k, terms, R, ld, cols);
  for (int j = 0; j < A->cols; j += PANEL) {
    const int first =
      CkBlockFirst(A, 0, CkBlockGlobal(A, 1, j)) / PANEL * PANEL; /* the diagonal of the panel's start */

    if (first < A->rows) PetscCall(AddPanel(A, blas_terms, rows, cols, alpha, j, first, edge));
  }
  PetscCall(PetscFree3(rows, cols, edge));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkBlockMatrixScale(CkBlockMatrix A, double alpha)
{
  const size_t count = (size_t)CkBlockLeading(A) * (size_t)A->cols;

  PetscFunctionBeginUser;
  for (size_t i = 0; i < count; ++i) A->a[i] *= alpha;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkBlockMatrixSetAll(CkBlockMatrix A, const double *values)
{
  PetscFunctionBeginUser;
  for (int j = 0; j < A->cols; ++j) {
    for (int i = 0; i < A->rows; ++i)
      A->a[(size_t)j * (size_t)A->rows + (size_t)i] =
        values[(size_t)CkBlockGlobal(A, 0, i) * (size_t)A->n + (size_t)CkBlockGlobal(A, 1, j)];
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkBlockMatrixSymmetrize(CkBlockMatrix A)
{
  const double one = 1, zero = 0;
  const int    first = 1, second = 2, below = (int)A->n - 1;

  PetscFunctionBeginUser;
  /* strictly upper from strictly lower: two triangles that do not overlap, so source and target may be one matrix */
  if (A->n > 1)
    pdtradd_("U", "T", &below, &below, &one, A->a, &second, &first, A->desc, &zero, A->a, &first, &second, A->desc);
  PetscFunctionReturn(PETSC_SUCCESS);
}
