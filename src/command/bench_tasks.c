/* bench_tasks.c: the pieces that `clarkia bench` times, each prepared once and then called as often as is measured. */
#include "bench.h"
#include <clarkia/random.h>
#include <petscblaslapack.h>

extern void sgemm_(const char *, const char *, const PetscBLASInt *, const PetscBLASInt *, const PetscBLASInt *,
                   const float *, const float *, const PetscBLASInt *, const float *, const PetscBLASInt *,
                   const float *, float *, const PetscBLASInt *);

/* Rows of one update of an assembled matrix: as many as two sum blocks. */
enum { OUTER_ROWS = 128 };

static PetscErrorCode FreeArrays(CkBench *bench)
{
  PetscFunctionBeginUser;
  PetscCall(PetscFree3(bench->a, bench->b, bench->c));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Three order x order matrices of random numbers on every rank; sgemm uses half of each. */
static PetscErrorCode PrepareMatrices(CkBench *bench, CkBenchAmount *amount)
{
  const CkRandom stream = {.seed = 1, .purpose = CK_RANDOM_PROBE};
  const size_t   n = (size_t)bench->order * (size_t)bench->order;
  PetscMPIInt    ranks;

  PetscFunctionBeginUser;
  PetscCallMPI(MPI_Comm_size(bench->comm, &ranks));
  PetscCall(PetscMalloc3(n, &bench->a, n, &bench->b, n, &bench->c));
  CkRandomUniforms(&stream, 0, n, bench->a);
  CkRandomUniforms(&stream, n, n, bench->b);
  PetscCall(PetscArrayzero(bench->c, n));
  amount->operations = 2 * PetscPowRealInt((PetscReal)bench->order, 3) * ranks;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode PrepareFloats(CkBench *bench, CkBenchAmount *amount)
{
  const size_t n = (size_t)bench->order * (size_t)bench->order;
  float       *a, *b;

  PetscFunctionBeginUser;
  PetscCall(PrepareMatrices(bench, amount));
  a = (float *)bench->a;
  b = (float *)bench->b;
  for (size_t i = 0; i < n; ++i) a[i] = b[i] = 1.f / (float)(1 + i % 97);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode MultiplyDoubles(CkBench *bench)
{
  const PetscScalar one = 1, zero = 0;
  PetscBLASInt      n;

  PetscFunctionBeginUser;
  PetscCall(PetscBLASIntCast(bench->order, &n));
  PetscCallBLAS("BLASgemm", BLASgemm_("N", "N", &n, &n, &n, &one, bench->a, &n, bench->b, &n, &zero, bench->c, &n));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode MultiplyFloats(CkBench *bench)
{
  const float  one = 1, zero = 0;
  PetscBLASInt n;

  PetscFunctionBeginUser;
  PetscCall(PetscBLASIntCast(bench->order, &n));
  sgemm_("N", "N", &n, &n, &n, &one, (const float *)bench->a, &n, (const float *)bench->b, &n, &zero, (float *)bench->c,
         &n);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode PrepareOuter(CkBench *bench, CkBenchAmount *amount)
{
  const CkRandom stream = {.seed = 1, .purpose = CK_RANDOM_PROBE};
  const PetscInt n = 2 * bench->order;
  const size_t   size = (size_t)OUTER_ROWS * (size_t)n;

  PetscFunctionBeginUser;
  PetscCall(CkBlockMatrixCreate(bench->comm, n, &bench->matrix));
  PetscCall(PetscMalloc3(size, &bench->a, 1, &bench->b, 1, &bench->c));
  CkRandomUniforms(&stream, 0, size, bench->a);
  amount->operations = (double)OUTER_ROWS * (double)n * ((double)n + 1);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode AddOuter(CkBench *bench)
{
  PetscFunctionBeginUser;
  PetscCall(CkBlockMatrixAddOuter(bench->matrix, OUTER_ROWS, bench->a, 2 * bench->order, 1));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode FinishOuter(CkBench *bench)
{
  PetscFunctionBeginUser;
  PetscCall(FreeArrays(bench));
  PetscCall(CkBlockMatrixDestroy(&bench->matrix));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode PrepareValues(CkBench *bench, CkBenchAmount *amount)
{
  PetscFunctionBeginUser;
  PetscCall(PetscMalloc3(bench->N, &bench->a, 1, &bench->b, 1, &bench->c));
  amount->samples = (double)bench->N;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Values(CkBench *bench)
{
  const CkBatch all = CkBatchAll(bench->N);

  PetscFunctionBeginUser;
  PetscCall(CkLossValues(bench->problem.loss, &all, bench->a, NULL));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* One tile of explicit float32 gradients, overwritten by the next. */
static PetscErrorCode PrepareRows(CkBench *bench, CkBenchAmount *amount)
{
  CkBlocks blocks;

  PetscFunctionBeginUser;
  PetscCall(CkLossGetBlocks(bench->problem.loss, bench->N, &blocks));
  PetscCall(PetscMalloc3(((size_t)blocks.tile * (size_t)bench->d + 1) / 2, &bench->a, 1, &bench->b, 1, &bench->c));
  amount->samples = (double)bench->N;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Rows(CkBench *bench)
{
  const CkBatch all = CkBatchAll(bench->N);
  CkPass        pass;
  CkTile        tile;

  PetscFunctionBeginUser;
  PetscCall(CkPassBegin(bench->problem.loss, &all, &pass));
  PetscCall(CkPassNext(pass, &tile));
  while (tile.more) {
    if (tile.n > 0) PetscCall(CkPassRows(pass, CK_FLOAT32, bench->a, (size_t)bench->d));
    PetscCall(CkPassNext(pass, &tile));
  }
  PetscCall(CkPassEnd(&pass));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The vectors are random, the same on any number of ranks. */
static PetscErrorCode PrepareColumns(CkBench *bench, PetscInt m, CkBenchAmount *amount)
{
  Vec x;

  PetscFunctionBeginUser;
  PetscCall(CkLossCreateVec(bench->problem.loss, &x));
  PetscCall(VecDuplicateVecs(x, m, &bench->V));
  PetscCall(VecDuplicateVecs(x, m, &bench->Y));
  PetscCall(VecDestroy(&x));
  for (PetscInt j = 0; j < m; ++j) {
    const CkRandom stream = {.seed = 1, .purpose = CK_RANDOM_PROBE, .step = (uint64_t)j};
    PetscScalar   *v;
    PetscInt       first, last;

    PetscCall(VecGetOwnershipRange(bench->V[j], &first, &last));
    PetscCall(VecGetArrayWrite(bench->V[j], &v));
    CkRandomNormals(&stream, (uint64_t)first, (size_t)(last - first), v);
    PetscCall(VecRestoreArrayWrite(bench->V[j], &v));
  }
  amount->samples = (double)bench->N;
  amount->products = (double)m;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode PrepareOne(CkBench *bench, CkBenchAmount *amount)
{
  PetscFunctionBeginUser;
  PetscCall(PrepareColumns(bench, 1, amount));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode PrepareBlock(CkBench *bench, CkBenchAmount *amount)
{
  PetscFunctionBeginUser;
  PetscCall(PrepareColumns(bench, bench->columns, amount));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode ApplyOne(CkBench *bench)
{
  PetscFunctionBeginUser;
  PetscCall(CkDiffusionApply(bench->D, 1, bench->V, bench->Y));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode ApplyBlock(CkBench *bench)
{
  PetscFunctionBeginUser;
  PetscCall(CkDiffusionApply(bench->D, bench->columns, bench->V, bench->Y));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode FinishOne(CkBench *bench)
{
  PetscFunctionBeginUser;
  PetscCall(VecDestroyVecs(1, &bench->V));
  PetscCall(VecDestroyVecs(1, &bench->Y));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode FinishBlock(CkBench *bench)
{
  PetscFunctionBeginUser;
  PetscCall(VecDestroyVecs(bench->columns, &bench->V));
  PetscCall(VecDestroyVecs(bench->columns, &bench->Y));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The updates of one epoch: full batches and what remains. What training moves is kept, for the passes that follow. */
static PetscErrorCode PrepareTraining(CkBench *bench, CkBenchAmount *amount)
{
  double  *weights, *buffers;
  PetscInt n;

  PetscFunctionBeginUser;
  PetscCall(CkNetGetBuffers(bench->problem.net, &n));
  PetscCall(CkStateGetArrays(bench->problem.state, &weights, &buffers));
  PetscCall(PetscMalloc3(bench->d, &bench->a, n, &bench->b, 1, &bench->c));
  PetscCall(PetscArraycpy(bench->a, weights, bench->d));
  PetscCall(PetscArraycpy(bench->b, buffers, n));
  PetscCall(CkDynamicsCreate(bench->problem.loss, bench->problem.state, &bench->dynamics));
  PetscCall(CkDynamicsSetFromOptions(bench->dynamics));
  PetscCall(CkDynamicsSetUp(bench->dynamics));
  amount->samples = (double)bench->N;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Train(CkBench *bench)
{
  PetscInt batch, updates;

  PetscFunctionBeginUser;
  PetscCall(CkDynamicsGetBatches(bench->dynamics, &batch, &updates));
  for (PetscInt i = 0; i < updates; ++i) PetscCall(CkDynamicsStep(bench->dynamics));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode FinishTraining(CkBench *bench)
{
  double      *weights, *buffers;
  PetscInt     n, first, last;
  PetscScalar *mine;
  Vec          x;

  PetscFunctionBeginUser;
  PetscCall(CkDynamicsDestroy(&bench->dynamics));
  PetscCall(CkNetGetBuffers(bench->problem.net, &n));
  PetscCall(CkStateGetArrays(bench->problem.state, &weights, &buffers));
  PetscCall(PetscArraycpy(weights, bench->a, bench->d));
  PetscCall(PetscArraycpy(buffers, bench->b, n));
  PetscCall(CkLossCreateVec(bench->problem.loss, &x));
  PetscCall(VecGetOwnershipRange(x, &first, &last));
  PetscCall(VecGetArrayWrite(x, &mine));
  PetscCall(PetscArraycpy(mine, weights + first, last - first));
  PetscCall(VecRestoreArrayWrite(x, &mine));
  PetscCall(CkLossSetPoint(bench->problem.loss, x));
  PetscCall(VecDestroy(&x));
  PetscCall(FreeArrays(bench));
  PetscFunctionReturn(PETSC_SUCCESS);
}

#define YES PETSC_TRUE
#define NO PETSC_FALSE
/* Training comes last: its memory comes on top of that of the others. */
const CkBenchTask ck_bench_tasks[] = {
  {"dgemm", "dgemm, all ranks", NULL, NO, PrepareMatrices, MultiplyDoubles, FreeArrays},
  {"sgemm", "sgemm, all ranks", NULL, NO, PrepareFloats, MultiplyFloats, FreeArrays},
  {"convolution_forward", "oneDNN: forward, all ranks", NULL, YES, CkBenchPrepareForward, CkBenchConvolve,
   CkBenchFinishConvolutions},
  {"convolution_input", "oneDNN: inputs", NULL, YES, CkBenchPrepareInput, CkBenchConvolve, CkBenchFinishConvolutions},
  {"convolution_weights", "oneDNN: weights", NULL, YES, CkBenchPrepareWeights, CkBenchConvolve,
   CkBenchFinishConvolutions},
  {"convolution_sample_weights", "oneDNN: weights, one sample", NULL, YES, CkBenchPrepareSampleWeights,
   CkBenchConvolveSamples, CkBenchFinishConvolutions},
  {"outer", "R'R into an assembled matrix", NULL, NO, PrepareOuter, AddOuter, FinishOuter},
  {"values", "losses (forward)", "values", NO, PrepareValues, Values, FreeArrays},
  {"rows", "per-sample gradients", "per_sample_gradients", NO, PrepareRows, Rows, FreeArrays},
  {"product", "D v", "diffusion_product", NO, PrepareOne, ApplyOne, FinishOne},
  {"block", "D V, a column of a block", "diffusion_product", NO, PrepareBlock, ApplyBlock, FinishBlock},
  {"training", "training", "training_step", NO, PrepareTraining, Train, FinishTraining},
  {0}};
