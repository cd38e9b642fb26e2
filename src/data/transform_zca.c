#include "dataimpl.h"
#include <clarkia/progress.h>
#include <math.h>
#include <petscblaslapack.h>
#include <slepcblaslapack.h>
#include <string.h>

/*
  transform_zca.c: zero-phase whitening, y = W (x - mean), W = U diag((lambda + eps)^(-1/2)) U', where U diag(lambda) U'
  is the covariance (1/N) of the training split: each principal direction of the result has variance
  lambda / (lambda + eps).

  The covariance is cut into tiles; tile t belongs to rank t mod P, which adds up all samples in order, in pieces that
  do not depend on P. The eigenproblem is solved by rank 0. So the bits do not depend on the number of ranks.
*/
#define TILE 256
#define PIECE_ROWS 256
/* Largest size for which LAPACK's work space, 1 + 6 n + 2 n^2, can be counted in 32 bits. */
#define MAX_SIZE 32766

typedef struct {
  double      epsilon;
  double     *mean, *eigenvalues; /* [size], eigenvalues descending */
  CkNodeArray matrix;             /* W [size x size] doubles */
} ZcaContext;

static PetscErrorCode Allocate(CkTransform t)
{
  const size_t size = (size_t)CkShapeSize(t->in);
  ZcaContext  *context;
  PetscBool    shared;

  PetscFunctionBeginUser;
  if (!t->context) {
    PetscCall(PetscNew(&context));
    t->context = context;
  }
  context = t->context;
  PetscCall(PetscMalloc2(size, &context->mean, size, &context->eigenvalues));
  PetscCall(CkNodeArrayPlan(t->comm, t->shared, 8.0 * (double)size * (double)size, &shared, NULL));
  PetscCall(CkNodeArrayCreate(t->comm, size * size * sizeof(double), shared, &context->matrix));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode SetUp(CkTransform t, const CkDataSettings *settings, CkVerdict *verdict)
{
  ZcaContext *context;

  PetscFunctionBeginUser;
  t->out = t->in;
  t->bytes_out = PETSC_FALSE;
  if (CkShapeSize(t->in) > MAX_SIZE)
    CkVerdictFail(verdict, PETSC_ERR_USER_INPUT,
                  "transform zca: samples have %" PetscInt_FMT " numbers; at most %d; pool them first (-data_pool)",
                  CkShapeSize(t->in), MAX_SIZE);
  PetscCall(PetscNew(&context));
  context->epsilon = (double)settings->zca_epsilon;
  t->context = context;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* ---- covariance ---- */

static PetscInt TileLength(PetscInt size, PetscInt tile)
{
  return PetscMin(TILE, size - tile * TILE);
}

/* Adds one piece of n samples, X [n x size] centred, to this rank's tiles of the lower triangle; tiles lie one after
   the other, column-major with leading dimension TILE. */
static PetscErrorCode AddPiece(CkData data, PetscInt n, PetscInt size, const double *X, double *tiles)
{
  const PetscInt     across = (size + TILE - 1) / TILE;
  const PetscBLASInt ld = (PetscBLASInt)size, tile_ld = TILE, k = (PetscBLASInt)n;
  const double       one = 1;
  PetscInt           t = 0;

  PetscFunctionBeginUser;
  for (PetscInt i = 0; i < across; ++i)
    for (PetscInt j = 0; j <= i; ++j, ++t) {
      const PetscBLASInt rows = (PetscBLASInt)TileLength(size, i), columns = (PetscBLASInt)TileLength(size, j);

      if (t % data->ranks != data->rank) continue;
      PetscCallBLAS("BLASgemm", BLASgemm_("N", "T", &rows, &columns, &k, &one, X + i * TILE, &ld, X + j * TILE, &ld,
                                          &one, tiles, &tile_ld));
      tiles += TILE * TILE;
    }
  PetscCall(PetscLogFlops(2.0 * (double)n * (double)size * (double)size / 2 / data->ranks));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode CovarianceTiles(CkData data, const double mean[], double *tiles)
{
  const PetscInt size = CkShapeSize(data->stored_shape), samples = data->selection.n;
  CkProgress     progress;
  float         *rows;
  double        *X;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc2((size_t)PIECE_ROWS * (size_t)size, &rows, (size_t)PIECE_ROWS * (size_t)size, &X));
  PetscCall(CkProgressCreate(data->comm, "covariance for ZCA", "samples", (double)samples, &progress));
  for (PetscInt i = 0; i < samples; i += PIECE_ROWS) {
    const PetscInt n = PetscMin(PIECE_ROWS, samples - i);

    CkDataFetchRange(data, i, n, PETSC_TRUE, rows);
    for (PetscInt k = 0; k < n; ++k)
      for (PetscInt j = 0; j < size; ++j)
        X[(size_t)k * (size_t)size + (size_t)j] = (double)rows[(size_t)k * (size_t)size + (size_t)j] - mean[j];
    PetscCall(AddPiece(data, n, size, X, tiles));
    PetscCall(CkProgressUpdate(progress, (double)(i + n)));
  }
  PetscCall(CkProgressDestroy(&progress));
  PetscCall(PetscFree2(rows, X));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Brings tile t to rank 0 and into the lower triangle of C [size x size], column-major. */
static PetscErrorCode CollectTiles(CkData data, PetscInt size, const double *tiles, double *C)
{
  const PetscInt across = (size + TILE - 1) / TILE;
  double         received[TILE];
  PetscInt       t = 0;

  PetscFunctionBeginUser;
  for (PetscInt i = 0; i < across; ++i)
    for (PetscInt j = 0; j <= i; ++j, ++t) {
      const PetscMPIInt owner = (PetscMPIInt)(t % data->ranks), rows = (PetscMPIInt)TileLength(size, i);

      for (PetscInt c = 0; c < TileLength(size, j); ++c) {
        const double *column = tiles + c * TILE;

        if (owner != 0 && data->rank == owner) PetscCallMPI(MPI_Send(column, rows, MPI_DOUBLE, 0, 0, data->comm));
        if (data->rank != 0) continue;
        if (owner != 0) PetscCallMPI(MPI_Recv(received, rows, MPI_DOUBLE, owner, 0, data->comm, MPI_STATUS_IGNORE));
        for (PetscInt r = 0; r < (PetscInt)rows; ++r)
          C[(size_t)(j * TILE + c) * (size_t)size + (size_t)(i * TILE + r)] =
            (owner ? received[r] : column[r]) / (double)data->selection.n;
      }
      if (data->rank == owner) tiles += TILE * TILE;
    }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* ---- eigenproblem, on rank 0 ---- */

/* C: lower triangle in, eigenvectors in columns out; values ascending. */
static PetscErrorCode Diagonalise(PetscInt size, double *C, double values[])
{
  PetscBLASInt n = (PetscBLASInt)size, lwork = 1 + 6 * n + 2 * n * n, liwork = 3 + 5 * n, info = 0, *iwork;
  double      *work;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc2((size_t)lwork, &work, (size_t)liwork, &iwork));
  PetscCallBLAS("LAPACKsyevd", LAPACKsyevd_("V", "L", &n, C, &n, values, work, &lwork, iwork, &liwork, &info));
  PetscCall(PetscFree2(work, iwork));
  PetscCheck(info == 0, PETSC_COMM_SELF, PETSC_ERR_LIB, "LAPACK dsyevd failed with info %d", (int)info);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* W = V V' with V = U diag((lambda + eps)^(-1/4)); a slightly negative lambda is a rounded zero. */
static PetscErrorCode WhiteningMatrix(PetscInt size, double *U, const double values[], double epsilon, double *W)
{
  const PetscBLASInt n = (PetscBLASInt)size;
  const double       one = 1, zero = 0;

  PetscFunctionBeginUser;
  for (PetscInt j = 0; j < size; ++j) {
    const double factor = pow(fmax(values[j], 0) + epsilon, -0.25);

    for (PetscInt i = 0; i < size; ++i) U[(size_t)j * (size_t)size + (size_t)i] *= factor;
  }
  PetscCallBLAS("BLASgemm", BLASgemm_("N", "T", &n, &n, &n, &one, U, &n, U, &n, &zero, W, &n));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* From rank 0's W to one copy per node, in messages that MPI can count. */
static PetscErrorCode ShareMatrix(CkTransform t, PetscInt size, const double *W)
{
  const size_t total = (size_t)size * (size_t)size, most = (size_t)1 << 24;
  ZcaContext  *context = t->context;
  double      *copy = (double *)(void *)context->matrix.bytes;
  MPI_Comm     writers;
  PetscMPIInt  rank;

  PetscFunctionBeginUser;
  PetscCallMPI(MPI_Comm_rank(t->comm, &rank));
  /* rank 0 of the communicator is part 0 of its node, hence root of the writers */
  PetscCallMPI(MPI_Comm_split(t->comm, context->matrix.part == 0 ? 0 : MPI_UNDEFINED, rank, &writers));
  if (writers != MPI_COMM_NULL) {
    if (rank == 0) PetscCall(PetscArraycpy(copy, W, total));
    for (size_t at = 0; at < total; at += most)
      PetscCallMPI(MPI_Bcast(copy + at, (PetscMPIInt)PetscMin(most, total - at), MPI_DOUBLE, 0, writers));
    PetscCallMPI(MPI_Comm_free(&writers));
  }
  PetscCall(CkNodeArraySync(&context->matrix));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Fit(CkTransform t, CkData data)
{
  const PetscInt size = CkShapeSize(t->in), across = (size + TILE - 1) / TILE, tiles = across * (across + 1) / 2;
  const size_t   square = (size_t)size * (size_t)size;
  ZcaContext    *context;
  double        *own, *C = NULL, *W = NULL;

  PetscFunctionBeginUser;
  PetscCall(Allocate(t));
  context = t->context;
  PetscCall(CkDataMoments(data, PETSC_TRUE, context->mean, NULL, NULL, NULL));
  PetscCall(PetscCalloc1((size_t)(tiles / data->ranks + 1) * TILE * TILE, &own));
  PetscCall(CovarianceTiles(data, context->mean, own));
  if (data->rank == 0) PetscCall(PetscMalloc2(square, &C, square, &W));
  PetscCall(CollectTiles(data, size, own, C));
  PetscCall(PetscFree(own));
  PetscCall(PetscLogEventBegin(CK_Eig, 0, 0, 0, 0));
  if (data->rank == 0) {
    PetscCall(Diagonalise(size, C, context->eigenvalues));
    PetscCall(WhiteningMatrix(size, C, context->eigenvalues, context->epsilon, W));
  }
  PetscCall(PetscLogEventEnd(CK_Eig, 0, 0, 0, 0));
  PetscCallMPI(MPI_Bcast(context->eigenvalues, (PetscMPIInt)size, MPI_DOUBLE, 0, data->comm));
  for (PetscInt i = 0; i < size / 2; ++i) {
    const double value = context->eigenvalues[i];

    context->eigenvalues[i] = context->eigenvalues[size - 1 - i];
    context->eigenvalues[size - 1 - i] = value;
  }
  PetscCall(ShareMatrix(t, size, W));
  if (data->rank == 0) PetscCall(PetscFree2(C, W));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Apply(CkTransform t, PetscInt n, const float *in, float *out)
{
  const ZcaContext  *context = t->context;
  const PetscInt     size = CkShapeSize(t->in);
  const size_t       numbers = (size_t)n * (size_t)size;
  const PetscBLASInt order = (PetscBLASInt)size, columns = (PetscBLASInt)n;
  const double       one = 1, zero = 0, *W = (const double *)(const void *)context->matrix.bytes;
  double            *X, *Y;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc2(numbers, &X, numbers, &Y));
  for (size_t i = 0; i < numbers; ++i) X[i] = (double)in[i] - context->mean[i % (size_t)size];
  PetscCallBLAS("BLASgemm",
                BLASgemm_("N", "N", &order, &columns, &order, &one, W, &order, X, &order, &zero, Y, &order));
  for (size_t i = 0; i < numbers; ++i) out[i] = (float)Y[i];
  PetscCall(PetscLogFlops(2.0 * (double)numbers * (double)size));
  PetscCall(PetscFree2(X, Y));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Write(CkTransform t, CkFile file, const char group[])
{
  const ZcaContext *context = t->context;
  const PetscInt64  size = CkShapeSize(t->in), shape[] = {size, size};
  const double     *W = (const double *)(const void *)context->matrix.bytes;

  PetscFunctionBeginUser;
  PetscCall(CkTransformWriteArray(file, group, "mean", 1, shape, context->mean, "mean of the training split"));
  PetscCall(CkTransformWriteArray(file, group, "eigenvalues", 1, shape, context->eigenvalues,
                                  "of the covariance (1/N) of the training split, descending"));
  PetscCall(CkTransformWriteArray(file, group, "matrix", 2, shape, W, "W of y = W (x - mean), symmetric"));
  PetscCall(CkFileWriteReal(file, group, "epsilon", context->epsilon));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Read(CkTransform t, CkFile file, const char group[])
{
  const PetscInt64 size = CkShapeSize(t->in), shape[] = {size, size};
  PetscMPIInt      rank;
  ZcaContext      *context;
  double          *W;

  PetscFunctionBeginUser;
  PetscCall(Allocate(t));
  context = t->context;
  PetscCallMPI(MPI_Comm_rank(t->comm, &rank));
  PetscCall(CkTransformReadArray(file, t->comm, group, "mean", 1, shape, context->mean));
  PetscCall(CkTransformReadArray(file, t->comm, group, "eigenvalues", 1, shape, context->eigenvalues));
  PetscCall(CkFileReadReal(file, group, "epsilon", &context->epsilon, NULL));
  PetscCall(PetscMalloc1((size_t)(size * size), &W));
  PetscCall(CkTransformReadArray(file, t->comm, group, "matrix", 2, shape, W));
  PetscCall(ShareMatrix(t, (PetscInt)size, W));
  PetscCall(PetscFree(W));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static void Memory(CkTransform t, double *shared, double *fitting)
{
  const double square = 8.0 * (double)CkShapeSize(t->in) * (double)CkShapeSize(t->in);

  *shared = square;
  *fitting = 4 * square; /* eigenvectors, W, and LAPACK's twice as much */
}

static PetscErrorCode Destroy(CkTransform t)
{
  ZcaContext *context = t->context;

  PetscFunctionBeginUser;
  if (!context) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(PetscFree2(context->mean, context->eigenvalues));
  if (context->matrix.size) PetscCall(CkNodeArrayDestroy(&context->matrix));
  PetscCall(PetscFree(t->context));
  PetscFunctionReturn(PETSC_SUCCESS);
}

const CkTransformOps CkTransformZca = {.name = "zca",
                                       .summary = "zero-phase whitening",
                                       .fitted = PETSC_TRUE,
                                       .setup = SetUp,
                                       .fit = Fit,
                                       .apply = Apply,
                                       .write = Write,
                                       .read = Read,
                                       .memory = Memory,
                                       .destroy = Destroy};
