/*
  diffusion_gram.c: K = (1/N) P G G' P, N x N. Each rank keeps the gradients of its own samples for a range of weights;
  then slices of weights are gathered, centred over the samples and added to K. Slices start at multiples of their size
  whatever the ranges, so that the updates, and with them the bits, are the same on any number of ranks.
*/
#include "noiseimpl.h"
#include <clarkia/progress.h>

typedef struct {
  PetscInt slice;   /* weights gathered at a time: a function of N alone */
  PetscInt range;   /* weights kept at a time: a multiple of slice */
  PetscInt samples; /* of this rank */
} GramPlan;

typedef struct {
  GramPlan     plan;
  double      *c;        /* what the second moment adds to each gradient, or NULL */
  char        *rows;     /* [tile x d] gradients as the engine gives them */
  char        *store;    /* [range x samples] the same numbers, weight by weight */
  char        *gathered; /* rank after rank [slice x samples of the rank] */
  double      *R;        /* [slice x N] */
  PetscMPIInt *counts, *starts;
} GramBuffers;

/* The most samples of a rank are those of rank 0. */
static GramPlan MakePlan(const CkDiffusionSizes *sizes, double memory)
{
  const double most = (double)CkBlocksCount(&sizes->blocks, 0);
  const double fit = PetscMin(memory / (most * (double)sizes->bytes), (double)sizes->d);
  GramPlan     plan;

  plan.slice = PetscMax(64, PetscMin(512, (PetscInt)(64e6 / (8. * (double)sizes->N))));
  plan.range = PetscMax(1, (PetscInt)fit / plan.slice) * plan.slice;
  plan.samples = CkBlocksCount(&sizes->blocks, sizes->blocks.rank);
  if (fit >= (double)sizes->d) plan.range = (sizes->d - 1) / plan.slice * plan.slice + plan.slice; /* all at once */
  return plan;
}

double CkDiffusionGramMemory(const CkDiffusionSizes *sizes, double memory)
{
  const GramPlan plan = MakePlan(sizes, memory);
  const double   size = (double)sizes->bytes;

  return (double)sizes->blocks.tile * (double)sizes->d * size +
         (double)PetscMin(plan.range, sizes->d) * (double)CkBlocksCount(&sizes->blocks, 0) * size +
         (double)PetscMin(plan.slice, sizes->d) * (double)sizes->N * (size + sizeof(double));
}

double CkDiffusionGramPasses(const CkDiffusionSizes *sizes, double memory)
{
  const GramPlan plan = MakePlan(sizes, memory);
  const PetscInt ranges = (sizes->d + plan.range - 1) / plan.range;

  return (double)ranges;
}

static PetscErrorCode BuffersCreate(CkDiffusion D, const CkDiffusionSizes *sizes, GramBuffers *b)
{
  const size_t slice = (size_t)PetscMin(b->plan.slice, sizes->d), N = (size_t)sizes->N;

  PetscFunctionBeginUser;
  PetscCall(CkDiffusionGetShift(D, &b->c));
  PetscCall(PetscMalloc3((size_t)sizes->blocks.tile * (size_t)sizes->d * sizes->bytes, &b->rows,
                         (size_t)PetscMin(b->plan.range, sizes->d) * (size_t)b->plan.samples * sizes->bytes, &b->store,
                         slice * N * sizes->bytes, &b->gathered));
  PetscCall(PetscMalloc3(slice * N, &b->R, sizes->blocks.size, &b->counts, sizes->blocks.size, &b->starts));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode BuffersDestroy(GramBuffers *b)
{
  PetscFunctionBeginUser;
  PetscCall(PetscFree(b->c));
  PetscCall(PetscFree3(b->rows, b->store, b->gathered));
  PetscCall(PetscFree3(b->R, b->counts, b->starts));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* to[i][k] = from[k][i] for n samples and `count` weights, in squares that stay in the cache. */
#define DEFINE_TRANSPOSE(name, type)                                                                                   \
  static void name(PetscInt n, size_t from_stride, const type *from, PetscInt count, size_t to_stride, type *to)       \
  {                                                                                                                    \
    for (PetscInt first = 0; first < count; first += 32) {                                                             \
      for (PetscInt k = 0; k < n; ++k) {                                                                               \
        for (PetscInt i = first; i < PetscMin(first + 32, count); ++i)                                                 \
          to[(size_t)i * to_stride + (size_t)k] = from[(size_t)k * from_stride + (size_t)i];                           \
      }                                                                                                                \
    }                                                                                                                  \
  }
DEFINE_TRANSPOSE(TransposeFloat, float)
DEFINE_TRANSPOSE(TransposeDouble, double)

/* One pass: keeps weights first .. first+count of this rank's gradients. */
static PetscErrorCode FillStore(CkDiffusion D, const CkDiffusionSizes *sizes, GramBuffers *b, PetscInt first,
                                PetscInt count)
{
  const CkBatch all = CkBatchAll(sizes->N);
  const size_t  d = (size_t)sizes->d, samples = (size_t)b->plan.samples;
  CkPass        pass;
  CkTile        tile;

  PetscFunctionBeginUser;
  PetscCall(CkPassBegin(D->loss, &all, &pass));
  while (PETSC_TRUE) {
    size_t at;

    PetscCall(CkPassNext(pass, &tile));
    if (!tile.more) break;
    PetscCall(CkPassRows(pass, sizes->precision, b->rows, d));
    at = (size_t)CkBlocksLocal(&sizes->blocks, tile.first);
    if (sizes->precision == CK_FLOAT64)
      TransposeDouble(tile.n, d, (const double *)(const void *)b->rows + first, count, samples,
                      (double *)(void *)b->store + at);
    else
      TransposeFloat(tile.n, d, (const float *)(const void *)b->rows + first, count, samples,
                     (float *)(void *)b->store + at);
  }
  PetscCall(CkPassEnd(&pass));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Weight i of the slice for all samples in batch order: widens and sorts the blocks. */
static void SortSamples(const CkDiffusionSizes *sizes, const GramBuffers *b, PetscInt i, double row[])
{
  const CkBlocks *blocks = &sizes->blocks;

  for (PetscInt t = 0; t < blocks->nblocks; ++t) {
    const PetscMPIInt r = (PetscMPIInt)(t % blocks->size);
    const PetscInt    first = t * blocks->block, count = PetscMin(blocks->block, blocks->n - first);
    const size_t      from =
      (size_t)b->starts[r] + (size_t)i * (size_t)CkBlocksCount(blocks, r) + (size_t)CkBlocksLocal(blocks, first);

    for (size_t k = 0; k < (size_t)count; ++k)
      row[(size_t)first + k] = sizes->precision == CK_FLOAT64
                                 ? ((const double *)(const void *)b->gathered)[from + k]
                                 : (double)((const float *)(const void *)b->gathered)[from + k];
  }
}

static PetscErrorCode GatherSlice(const CkDiffusionSizes *sizes, GramBuffers *b, PetscInt offset, PetscInt count)
{
  const MPI_Datatype type = sizes->precision == CK_FLOAT64 ? MPI_DOUBLE : MPI_FLOAT;
  PetscInt           start = 0;

  PetscFunctionBeginUser;
  for (PetscMPIInt r = 0; r < sizes->blocks.size; ++r) {
    const PetscInt numbers = count * CkBlocksCount(&sizes->blocks, r);

    PetscCall(PetscMPIIntCast(numbers, &b->counts[r]));
    PetscCall(PetscMPIIntCast(start, &b->starts[r]));
    start += numbers;
  }
  PetscCall(PetscLogEventBegin(CK_Reduce, 0, 0, 0, 0));
  PetscCallMPI(MPI_Allgatherv(b->store + (size_t)offset * (size_t)b->plan.samples * sizes->bytes,
                              b->counts[sizes->blocks.rank], type, b->gathered, b->counts, b->starts, type,
                              sizes->comm));
  PetscCall(PetscLogEventEnd(CK_Reduce, 0, 0, 0, 0));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Adds weights first .. first+count, which stand at `offset` in the stores. */
static PetscErrorCode AddSlice(CkDiffusion D, const CkDiffusionSizes *sizes, GramBuffers *b, PetscInt first,
                               PetscInt offset, PetscInt count, CkBlockMatrix K)
{
  const PetscInt N = sizes->N;

  PetscFunctionBeginUser;
  PetscCall(GatherSlice(sizes, b, offset, count));
  for (PetscInt i = 0; i < count; ++i) {
    double *row = b->R + (size_t)i * (size_t)N, add = 0;

    SortSamples(sizes, b, i, row);
    if (D->centred) {
      for (PetscInt k = 0; k < N; ++k) add -= row[k];
      add /= N;
    } else if (b->c) add = b->c[first + i];
    for (PetscInt k = 0; k < N; ++k) row[k] += add;
  }
  PetscCall(PetscLogEventBegin(CK_Gram, 0, 0, 0, 0));
  PetscCall(CkBlockMatrixAddOuter(K, count, b->R, N, 1. / (double)N));
  PetscCall(PetscLogEventEnd(CK_Gram, 0, 0, 0, 0));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Assemble(CkDiffusion D, const CkDiffusionSizes *sizes, GramBuffers *b, CkBlockMatrix K)
{
  CkProgress progress;

  PetscFunctionBeginUser;
  PetscCall(CkProgressCreate(sizes->comm, "assembling the Gram matrix", "weights", sizes->d, &progress));
  for (PetscInt first = 0; first < sizes->d; first += b->plan.range) {
    const PetscInt range = PetscMin(b->plan.range, sizes->d - first);

    PetscCall(FillStore(D, sizes, b, first, range));
    for (PetscInt offset = 0; offset < range; offset += b->plan.slice) {
      const PetscInt count = PetscMin(b->plan.slice, range - offset);

      PetscCall(AddSlice(D, sizes, b, first + offset, offset, count, K));
      PetscCall(CkProgressUpdate(progress, first + offset + count));
    }
  }
  PetscCall(CkProgressDestroy(&progress));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkDiffusionGram(CkDiffusion D, CkBlockMatrix *K)
{
  CkDiffusionSizes sizes;
  GramBuffers      b;
  double           matrix, work, buffers;

  PetscFunctionBeginUser;
  PetscCall(CkDiffusionGetSizes(D, &sizes));
  buffers = CkDiffusionGramMemory(&sizes, D->memory);
  PetscCall(CkBlockMatrixMemory(sizes.comm, sizes.N, PETSC_FALSE, CK_SOLVER_SCALAPACK, &matrix, &work));
  PetscCall(CkMemoryCheck(sizes.comm, matrix + buffers, "the Gram matrix",
                          "use more ranks, fewer samples (-data_count), -spectrum_method krylov, a smaller "
                          "-noise_memory, or raise -memory_limit"));
  b.plan = MakePlan(&sizes, D->memory);
  PetscCall(BuffersCreate(D, &sizes, &b));
  PetscCall(CkBlockMatrixCreate(sizes.comm, sizes.N, K));
  PetscCall(Assemble(D, &sizes, &b, *K));
  PetscCall(BuffersDestroy(&b));
  PetscFunctionReturn(PETSC_SUCCESS);
}
