/* blockbasis.c: products, orthonormal extension and rotation of a basis of many long vectors. */
#include "blockbasis.h"
#include <clarkia/random.h>
#include <float.h>
#include <math.h>
#include <petscblaslapack.h>
#include <string.h>

/* Rows copied together into one array for BLAS; with some hundred columns they stay in the cache. */
#define TILE 512

static void LoadTile(PetscInt k, double *const Q[], PetscInt first, PetscInt count, double tile[])
{
  for (PetscInt j = 0; j < k; ++j) memcpy(tile + (size_t)j * TILE, Q[j] + first, (size_t)count * sizeof(double));
}

static void StoreTile(PetscInt k, double *const Q[], PetscInt first, PetscInt count, const double tile[])
{
  for (PetscInt j = 0; j < k; ++j) memcpy(Q[j] + first, tile + (size_t)j * TILE, (size_t)count * sizeof(double));
}

/* c = beta c + alpha op(a) b; ta "N" or "T". */
static PetscErrorCode Multiply(const char ta[], PetscInt m, PetscInt n, PetscInt k, double alpha, const double a[],
                               PetscInt lda, const double b[], PetscInt ldb, double beta, double c[], PetscInt ldc)
{
  PetscBLASInt bm, bn, bk, la, lb, lc;

  PetscFunctionBeginUser;
  if (m == 0 || n == 0) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(PetscBLASIntCast(m, &bm));
  PetscCall(PetscBLASIntCast(n, &bn));
  PetscCall(PetscBLASIntCast(k, &bk));
  PetscCall(PetscBLASIntCast(PetscMax(1, lda), &la));
  PetscCall(PetscBLASIntCast(PetscMax(1, ldb), &lb));
  PetscCall(PetscBLASIntCast(PetscMax(1, ldc), &lc));
  PetscCallBLAS("BLASgemm", BLASgemm_(ta, "N", &bm, &bn, &bk, &alpha, a, &la, b, &lb, &beta, c, &lc));
  PetscCall(PetscLogFlops(2. * (double)m * (double)n * (double)k));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Sums over ranks; by rank 0, so that all ranks have the same bits whatever the reduction does. */
static PetscErrorCode SumOverRanks(MPI_Comm comm, size_t n, double x[])
{
  PetscMPIInt count, rank, size;

  PetscFunctionBeginUser;
  PetscCallMPI(MPI_Comm_size(comm, &size));
  if (size == 1) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCallMPI(MPI_Comm_rank(comm, &rank));
  PetscCheck(n <= (size_t)PETSC_MPI_INT_MAX, comm, PETSC_ERR_ARG_OUTOFRANGE, "Projected matrix of %zu entries", n);
  count = (PetscMPIInt)n;
  if (rank == 0) PetscCallMPI(MPI_Reduce(MPI_IN_PLACE, x, count, MPI_DOUBLE, MPI_SUM, 0, comm));
  else PetscCallMPI(MPI_Reduce(x, NULL, count, MPI_DOUBLE, MPI_SUM, 0, comm));
  PetscCallMPI(MPI_Bcast(x, count, MPI_DOUBLE, 0, comm));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkBasisProject(const CkRowRange *range, PetscInt k, double *const Q[], PetscInt b, double *const W[],
                              const double C[], double H[])
{
  double *q, *w;

  PetscFunctionBeginUser;
  if (k == 0 || b == 0) PetscFunctionReturn(PETSC_SUCCESS);
  if (H) PetscCall(PetscArrayzero(H, (size_t)k * (size_t)b));
  PetscCall(PetscMalloc2((size_t)TILE * (size_t)k, &q, (size_t)TILE * (size_t)b, &w));
  for (PetscInt first = 0; first < range->rows; first += PetscMin(TILE, range->rows - first)) {
    const PetscInt count = PetscMin(TILE, range->rows - first);

    LoadTile(k, Q, first, count, q);
    LoadTile(b, W, first, count, w);
    if (C) {
      PetscCall(Multiply("N", count, b, k, -1, q, TILE, C, k, 1, w, TILE));
      StoreTile(b, W, first, count, w);
    }
    if (H) PetscCall(Multiply("T", k, b, count, 1, q, TILE, w, TILE, 1, H, k));
  }
  PetscCall(PetscFree2(q, w));
  if (H) PetscCall(SumOverRanks(range->comm, (size_t)k * (size_t)b, H));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Norm(const CkRowRange *range, const double w[], double *norm)
{
  double sum = 0;

  PetscFunctionBeginUser;
  for (PetscInt first = 0; first < range->rows; first += PetscMin(TILE, range->rows - first)) {
    double part = 0;

    for (PetscInt i = first; i < first + PetscMin(TILE, range->rows - first); ++i) part += w[i] * w[i];
    sum += part;
  }
  PetscCall(SumOverRanks(range->comm, 1, &sum));
  *norm = sqrt(sum);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static void Scale(PetscInt rows, double factor, double w[])
{
  for (PetscInt i = 0; i < rows; ++i) w[i] *= factor;
}

/* W -= Q (Q'W), twice; H [k x b]: what was taken, summed. `more` [k x b] is work space. */
static PetscErrorCode ProjectTwice(const CkRowRange *range, PetscInt k, double *const Q[], PetscInt b,
                                   double *const W[], double H[], double more[])
{
  PetscFunctionBeginUser;
  PetscCall(CkBasisProject(range, k, Q, b, W, NULL, H));
  PetscCall(CkBasisProject(range, k, Q, b, W, H, more));
  PetscCall(CkBasisProject(range, k, Q, b, W, more, NULL));
  for (size_t i = 0; i < (size_t)k * (size_t)b; ++i) H[i] += more[i];
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Gram-Schmidt among the b vectors of W: those longer than `drop` become orthonormal and move to the front.
   S [most x b]: W as it was = W as it is times S; at most `most` are found. smallest: least length that was left of
   those found. */
static PetscErrorCode Orthonormalize(const CkRowRange *range, PetscInt b, double *const W[], double drop, PetscInt most,
                                     double S[], PetscInt *found, double *smallest)
{
  double *h, *more;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc2(b, &h, b, &more));
  PetscCall(PetscArrayzero(S, (size_t)most * (size_t)b));
  *found = 0;
  *smallest = 1;
  for (PetscInt j = 0; j < b; ++j) {
    double after, *column = S + (size_t)j * (size_t)most;

    PetscCall(ProjectTwice(range, *found, W, 1, W + j, h, more));
    PetscCall(Norm(range, W[j], &after));
    PetscCall(PetscArraycpy(column, h, *found));
    if (*found == most || !(after > drop)) continue;
    column[*found] = after;
    *smallest = PetscMin(*smallest, after);
    Scale(range->rows, 1 / after, W[j]);
    if (*found != j) PetscCall(PetscArraycpy(W[*found], W[j], range->rows));
    ++*found;
  }
  PetscCall(PetscFree2(h, more));
  PetscFunctionReturn(PETSC_SUCCESS);
}

void CkBasisRandom(const CkRowRange *range, PetscInt64 number, double w[])
{
  const CkRandom stream = {.seed = 0, .purpose = CK_RANDOM_PROBE, .replica = 1, .step = (uint64_t)number};

  CkRandomNormals(&stream, (uint64_t)range->first, (size_t)range->rows, w);
}

/* Vectors from..to of W become random unit vectors, orthogonal to Q and the ones before up to what random vectors
   lose; the caller's next round does the rest. */
static PetscErrorCode FillRandom(const CkRowRange *range, PetscInt k, double *const Q[], PetscInt from, PetscInt to,
                                 double *const W[], PetscInt64 *randoms)
{
  double *h, *more, norm;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc2(PetscMax(k, to), &h, PetscMax(k, to), &more));
  for (PetscInt j = from; j < to; ++j) {
    CkBasisRandom(range, (*randoms)++, W[j]);
    for (int round = 0; round < 2; ++round) {
      PetscCall(ProjectTwice(range, k, Q, 1, W + j, h, more));
      PetscCall(ProjectTwice(range, j, W, 1, W + j, h, more));
      PetscCall(Norm(range, W[j], &norm));
      PetscCheck(norm > 0, range->comm, PETSC_ERR_PLIB, "No direction is left for %" PetscInt_FMT " vectors", k + to);
      Scale(range->rows, 1 / norm, W[j]);
    }
  }
  PetscCall(PetscFree2(h, more));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Another round over the whole block U (width vectors): H += (Q'U) R, R = S R. smallest as in Orthonormalize(). */
static PetscErrorCode Refine(const CkRowRange *range, PetscInt k, double *const Q[], PetscInt b, PetscInt width,
                             double *const U[], double H[], double R[], double *smallest)
{
  const size_t size = (size_t)width * (size_t)b;
  double      *taken, *S, *product;
  PetscInt     found;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc3((size_t)k * (size_t)width, &taken, (size_t)width * (size_t)width, &S, size, &product));
  PetscCall(CkBasisProject(range, k, Q, width, U, NULL, taken));
  PetscCall(CkBasisProject(range, k, Q, width, U, taken, NULL));
  PetscCall(Multiply("N", k, b, width, 1, taken, k, R, width, 1, H, k));
  PetscCall(Orthonormalize(range, width, U, 0, width, S, &found, smallest));
  PetscCheck(found == width, range->comm, PETSC_ERR_PLIB, "%" PetscInt_FMT " of %" PetscInt_FMT " unit vectors vanish",
             width - found, width);
  PetscCall(Multiply("N", width, b, width, 1, S, width, R, width, 0, product, width));
  PetscCall(PetscArraycpy(R, product, size));
  PetscCall(PetscFree3(taken, S, product));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkBasisExtend(const CkRowRange *range, PetscInt k, double *const Q[], PetscInt b, double *const W[],
                             PetscInt width, double *scale, PetscInt64 *randoms, double H[], double R[])
{
  double  *more, smallest;
  PetscInt found;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc1((size_t)k * (size_t)b, &more));
  PetscCall(ProjectTwice(range, k, Q, b, W, H, more));
  PetscCall(PetscFree(more));
  for (size_t i = 0; i < (size_t)k * (size_t)b; ++i) *scale = PetscMax(*scale, fabs(H[i]));
  if (width == 0) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(Orthonormalize(range, b, W, 100 * DBL_EPSILON * *scale, width, R, &found, &smallest));
  PetscCall(FillRandom(range, k, Q, found, width, W, randoms));
  /* A unit vector that lost much of its length is orthogonal to the rest to that many digits fewer: until none does. */
  for (int round = 0; round < 5; ++round) {
    PetscCall(Refine(range, k, Q, b, width, W, H, R, &smallest));
    if (smallest > 0.5) break;
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkBasisRotate(const CkRowRange *range, PetscInt k, double *const Q[], PetscInt m, const double Y[])
{
  double *q, *out;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc2((size_t)TILE * (size_t)k, &q, (size_t)TILE * (size_t)m, &out));
  for (PetscInt first = 0; first < range->rows; first += PetscMin(TILE, range->rows - first)) {
    const PetscInt count = PetscMin(TILE, range->rows - first);

    LoadTile(k, Q, first, count, q);
    PetscCall(Multiply("N", count, m, k, 1, q, TILE, Y, k, 0, out, TILE));
    StoreTile(m, Q, first, count, out);
  }
  PetscCall(PetscFree2(q, out));
  PetscFunctionReturn(PETSC_SUCCESS);
}
