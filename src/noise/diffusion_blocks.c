/*
  diffusion_blocks.c: diagonal blocks of D, one after the other. A block of s weights is assembled as the smaller of two
  matrices with the same non-zero eigenvalues: D_l itself, s x s, where s <= N, else the Gram matrix of its weights,
  N x N. Each rank keeps the gradients of its own samples for as many consecutive weights as -noise_memory allows, one
  pass over the data a range; then every block in that range is assembled from memory.
*/
#include "noiseimpl.h"
#include <clarkia/blockproduct.h>

enum { ROWS = 512 }; /* samples of an update of D_l, in whole sum blocks: part of the bits contract */

struct _p_CkDiffusionBlocks {
  CkDiffusion      D;
  CkDiffusionSizes sizes;
  PetscInt         n, *size;
  PetscInt         block, offset; /* the next block, its first weight */
  PetscInt         samples;       /* of this rank */
  PetscInt         first, count;  /* weights in the store */
  double          *shift;         /* [d] what is subtracted from each gradient, or NULL */
  char            *store;         /* [count x samples] this rank's gradients, weight by weight */
  PetscInt         room;          /* weights that fit the store */
};

static PetscBool IsGram(const CkDiffusionSizes *sizes, PetscInt size)
{
  return (PetscBool)(size > sizes->N);
}

/* Weights of a pass that begins with number `done` of a block: the rest of it, if it fits, and the blocks after it that
   do; a block of which the Gram matrix is taken may be cut between chunks. */
static PetscInt RangeLength(CkDiffusion D, const CkDiffusionSizes *sizes, PetscInt n, const PetscInt size[],
                            PetscInt block, PetscInt done)
{
  const double fit = D->memory / ((double)CkBlocksCount(&sizes->blocks, 0) * (double)sizes->bytes);
  PetscInt     count = size[block] - done;

  if ((double)count > fit && IsGram(sizes, size[block]))
    return PetscMin(count, PetscMax(1, (PetscInt)(fit / CK_PRODUCT_CHUNK)) * CK_PRODUCT_CHUNK);
  while (++block < n && (double)count + (double)size[block] <= fit) count += size[block];
  return count;
}

/* Floating-point operations of a gradient's entries first .. first+count, of one sample; 0 for landscapes. */
static PetscErrorCode RangeCost(CkDiffusion D, PetscInt first, PetscInt count, double *operations)
{
  CkEngine engine;
  double   load, rows;

  PetscFunctionBeginUser;
  *operations = 0;
  PetscCall(CkLossGetEngine(D->loss, &engine));
  if (!engine) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(CkEngineSetRange(engine, first, count));
  PetscCall(CkEngineGetCost(engine, NULL, &load, &rows, NULL, NULL));
  *operations = load + rows;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The ranges one after the other: how many, the longest, and the operations of one sample's gradients in all. */
static PetscErrorCode CountPasses(CkDiffusion D, const CkDiffusionSizes *sizes, PetscInt n, const PetscInt size[],
                                  PetscInt *passes, PetscInt *longest, double *operations)
{
  PetscInt block = 0, done = 0, first = 0;
  double   one;

  PetscFunctionBeginUser;
  *passes = *longest = 0;
  *operations = 0;
  while (block < n) {
    PetscInt count = RangeLength(D, sizes, n, size, block, done);

    PetscCall(RangeCost(D, first, count, &one));
    *operations += one;
    first += count;
    *longest = PetscMax(*longest, count);
    ++*passes;
    while (block < n && count >= size[block] - done) {
      count -= size[block++] - done;
      done = 0;
    }
    done += count;
  }
  PetscCall(RangeCost(D, 0, sizes->d, &one)); /* all weights again */
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Weights exchanged at a time for the Gram matrix of a block. */
static PetscInt SliceLength(const CkDiffusionSizes *sizes, PetscInt size)
{
  const PetscInt chunks = (PetscInt)(PetscMin(4096., 16e6 / (double)sizes->N) / CK_PRODUCT_CHUNK);
  const PetscInt all = (size + CK_PRODUCT_CHUNK - 1) / CK_PRODUCT_CHUNK;

  return PetscMax(1, PetscMin(chunks, all)) * CK_PRODUCT_CHUNK;
}

/* Sum blocks in an update of D_l. */
static PetscInt BlocksAtOnce(const CkDiffusionSizes *sizes)
{
  return PetscMax(1, ROWS / sizes->blocks.block);
}

PetscErrorCode CkDiffusionBlocksCost(CkDiffusion D, PetscInt n, const PetscInt size[], double *bytes, double *passes,
                                     double *operations)
{
  CkDiffusionSizes sizes;
  PetscInt         longest, count;
  double           buffers = 0;

  PetscFunctionBeginUser;
  PetscCall(CkDiffusionGetSizes(D, &sizes));
  PetscCall(CountPasses(D, &sizes, n, size, &count, &longest, operations));
  *passes = (double)count;
  *operations *= (double)sizes.N;
  for (PetscInt l = 0; l < n; ++l) {
    const PetscInt slice = SliceLength(&sizes, size[l]);
    double         one = (double)(BlocksAtOnce(&sizes) * sizes.blocks.block + 1) * (double)size[l] * sizeof(double);

    if (IsGram(&sizes, size[l]))
      one =
        CkBlockProductMemory(sizes.comm, sizes.N, slice, sizes.precision, CkDiffusionGramChoice(D, &sizes, size[l]));
    buffers = PetscMax(buffers, one);
  }
  *bytes = (double)longest * (double)CkBlocksCount(&sizes.blocks, 0) * (double)sizes.bytes +
           sizeof(double) * (double)sizes.d + buffers;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkDiffusionBlocksCreate(CkDiffusion D, PetscInt n, const PetscInt size[], CkDiffusionBlocks *blocks)
{
  CkDiffusionBlocks b;
  PetscInt          sum = 0, passes;
  double            operations;

  PetscFunctionBeginUser;
  PetscCall(PetscNew(&b));
  b->D = D;
  b->n = n;
  PetscCall(CkDiffusionGetSizes(D, &b->sizes));
  PetscCall(PetscMalloc1(n, &b->size));
  PetscCall(PetscArraycpy(b->size, size, n));
  for (PetscInt l = 0; l < n; ++l) {
    PetscCheck(size[l] > 0, b->sizes.comm, PETSC_ERR_ARG_OUTOFRANGE, "Block %" PetscInt_FMT " has no weights", l);
    sum += size[l];
  }
  PetscCheck(sum == b->sizes.d, b->sizes.comm, PETSC_ERR_ARG_SIZ,
             "Blocks of %" PetscInt_FMT " weights in all, dimension %" PetscInt_FMT, sum, b->sizes.d);
  b->samples = CkBlocksCount(&b->sizes.blocks, b->sizes.blocks.rank);
  PetscCall(CountPasses(D, &b->sizes, n, size, &passes, &b->room, &operations));
  PetscCall(CkDiffusionGramShift(D, &b->shift));
  PetscCall(PetscMalloc1((size_t)b->room * (size_t)b->samples * b->sizes.bytes, &b->store));
  *blocks = b;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkDiffusionBlocksDestroy(CkDiffusionBlocks *blocks)
{
  CkDiffusionBlocks b = *blocks;

  PetscFunctionBeginUser;
  if (!b) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(PetscFree(b->store));
  PetscCall(PetscFree(b->shift));
  PetscCall(PetscFree(b->size));
  PetscCall(PetscFree(*blocks));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* One pass: the store holds the range that begins with number `done` of the block. */
static PetscErrorCode Load(CkDiffusionBlocks b, PetscInt done)
{
  const CkBatch all = CkBatchAll(b->sizes.N);
  CkPass        pass;
  CkTile        tile;

  PetscFunctionBeginUser;
  b->first = b->offset + done;
  b->count = RangeLength(b->D, &b->sizes, b->n, b->size, b->block, done);
  PetscCall(CkPassBegin(b->D->loss, &all, &pass));
  PetscCall(CkPassSetRange(pass, b->first, b->count));
  while (PETSC_TRUE) {
    PetscCall(CkPassNext(pass, &tile));
    if (!tile.more) break;
    PetscCall(CkPassEntries(pass, b->first, b->count,
                            b->store + (size_t)CkBlocksLocal(&b->sizes.blocks, tile.first) * b->sizes.bytes,
                            (size_t)b->samples));
  }
  PetscCall(CkPassEnd(&pass));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode CreateProduct(CkDiffusionBlocks b, CkBlockMatrix A, CkBlockProduct *product)
{
  const CkBlocks      *blocks = &b->sizes.blocks;
  const PetscInt       size = b->size[b->block];
  CkBlockProductLayout layout = {.terms = SliceLength(&b->sizes, size),
                                 .given = b->sizes.precision,
                                 .precision = CkDiffusionGramChoice(b->D, &b->sizes, size),
                                 .nmine = b->samples};
  PetscInt            *mine;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc1(b->samples, &mine));
  for (PetscInt k = 0; k < b->samples; ++k)
    mine[k] = (k / blocks->block * blocks->size + blocks->rank) * blocks->block + k % blocks->block;
  layout.mine = mine;
  PetscCall(CkBlockProductCreate(A, &layout, product));
  PetscCall(PetscFree(mine));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The Gram matrix of the block's weights. */
static PetscErrorCode AddGram(CkDiffusionBlocks b, CkBlockMatrix A)
{
  const PetscInt size = b->size[b->block], slice = SliceLength(&b->sizes, size);
  const size_t   row = (size_t)b->samples * b->sizes.bytes;
  CkBlockProduct product;

  PetscFunctionBeginUser;
  PetscCall(CreateProduct(b, A, &product));
  for (PetscInt done = 0; done < size;) {
    const PetscInt at = b->offset + done;
    PetscInt       count;

    if (at >= b->first + b->count) PetscCall(Load(b, done));
    count = PetscMin(slice, PetscMin(size - done, b->first + b->count - at));
    PetscCall(
      CkBlockProductAdd(product, count, b->store + (size_t)(at - b->first) * row, b->shift ? b->shift + at : NULL));
    done += count;
  }
  PetscCall(CkBlockProductDestroy(&product));
  PetscCall(CkBlockMatrixScale(A, 1. / (double)b->sizes.N));
  if (b->D->centred) PetscCall(CkBlockMatrixCentre(A));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* rows [count x size]: shifted gradients of stored samples at.. of this rank. */
static void Shifted(CkDiffusionBlocks b, size_t at, PetscInt count, PetscInt size, double *rows)
{
  const size_t samples = (size_t)b->samples;

  for (size_t i = 0; i < (size_t)size; ++i) {
    const size_t start = ((size_t)(b->offset - b->first) + i) * samples + at;
    const double shift = b->shift ? b->shift[(size_t)b->offset + i] : 0;

    for (size_t k = 0; k < (size_t)count; ++k) {
      const double x = b->sizes.precision == CK_FLOAT64 ? ((const double *)(const void *)b->store)[start + k]
                                                        : (double)((const float *)(const void *)b->store)[start + k];

      rows[k * (size_t)size + i] = x - shift;
    }
  }
}

/* Samples of one sum block, from its owner to all ranks: count x size numbers. */
static PetscErrorCode Share(CkDiffusionBlocks b, PetscInt number, PetscInt size, double *rows, PetscInt *count)
{
  const CkBlocks   *blocks = &b->sizes.blocks;
  const PetscInt    position = number * blocks->block;
  const PetscMPIInt owner = (PetscMPIInt)(number % blocks->size);
  PetscMPIInt       numbers;

  PetscFunctionBeginUser;
  *count = PetscMin(blocks->block, blocks->n - position);
  if (owner == blocks->rank) Shifted(b, (size_t)CkBlocksLocal(blocks, position), *count, size, rows);
  PetscCall(PetscMPIIntCast(*count * size, &numbers));
  if (blocks->size > 1) PetscCallMPI(MPI_Bcast(rows, numbers, MPI_DOUBLE, owner, b->sizes.comm));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* D_l itself, with what the shift lacks of the mean of the rows, as (D.1) has it. */
static PetscErrorCode AddDense(CkDiffusionBlocks b, CkBlockMatrix A)
{
  const PetscInt size = b->size[b->block], blocks = b->sizes.blocks.nblocks, together = BlocksAtOnce(&b->sizes);
  const double   N = (double)b->sizes.N;
  double        *rows, *mean;

  PetscFunctionBeginUser;
  if (b->offset >= b->first + b->count) PetscCall(Load(b, 0));
  PetscCall(PetscMalloc1((size_t)(together * b->sizes.blocks.block) * (size_t)size, &rows));
  PetscCall(PetscCalloc1(size, &mean));
  for (PetscInt number = 0; number < blocks;) {
    PetscInt filled = 0;

    for (PetscInt last = PetscMin(number + together, blocks); number < last; ++number) {
      PetscInt count;

      PetscCall(Share(b, number, size, rows + (size_t)filled * (size_t)size, &count));
      filled += count;
    }
    for (size_t k = 0; k < (size_t)filled; ++k)
      for (size_t i = 0; i < (size_t)size; ++i) mean[i] += rows[k * (size_t)size + i] / N;
    PetscCall(CkBlockMatrixAddOuter(A, filled, rows, size, 1 / N));
  }
  if (b->D->centred) PetscCall(CkBlockMatrixAddOuter(A, 1, mean, size, -1));
  PetscCall(PetscFree(mean));
  PetscCall(PetscFree(rows));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkDiffusionBlocksNext(CkDiffusionBlocks b, CkBlockMatrix *A, CkPrecision *products)
{
  PetscInt size;

  PetscFunctionBeginUser;
  PetscCheck(b->block < b->n, b->sizes.comm, PETSC_ERR_ORDER, "All blocks have been given");
  size = b->size[b->block];
  PetscCall(CkBlockMatrixCreate(b->sizes.comm, PetscMin(size, b->sizes.N), A));
  *products = IsGram(&b->sizes, size) ? CkDiffusionGramChoice(b->D, &b->sizes, size) : CK_FLOAT64;
  if (IsGram(&b->sizes, size)) PetscCall(AddGram(b, *A));
  else PetscCall(AddDense(b, *A));
  b->offset += size;
  ++b->block;
  PetscFunctionReturn(PETSC_SUCCESS);
}
