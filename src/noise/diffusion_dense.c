/*
  diffusion_dense.c: D as a d x d matrix. Every rank computes the gradients of its own sum blocks; block after block is
  broadcast in batch order, and rows are added CHUNK at a time, so that the updates, and with them the bits, are the
  same on any number of ranks.
*/
#include "noiseimpl.h"
#include <clarkia/progress.h>

enum { CHUNK = 512 }; /* rows of an update: enough for a matrix product at full rate */

typedef struct {
  CkBlockMatrix A;
  size_t        d;
  PetscInt      N;
  double       *c;              /* what the second moment adds to each gradient, or NULL */
  char         *own, *incoming; /* [sum block x d] gradients as the engine gives them: of this rank, of any other */
  double       *chunk;          /* [CHUNK x d] */
  double       *mean;           /* [d] sum of all rows so far, in batch order */
  PetscInt      filled;         /* rows in the chunk */
} Assembly;

double CkDiffusionDenseMemory(const CkDiffusionSizes *sizes)
{
  const double row = (double)sizes->d;

  return 2. * (double)sizes->blocks.block * row * (double)sizes->bytes +
         ((double)PetscMin(CHUNK, sizes->N) + 1) * row * sizeof(double);
}

static PetscErrorCode AssemblyCreate(CkDiffusion D, const CkDiffusionSizes *sizes, Assembly *assembly)
{
  const size_t d = (size_t)sizes->d, block = (size_t)sizes->blocks.block * d * sizes->bytes;
  const size_t chunk = (size_t)PetscMin(CHUNK, sizes->N) * d;

  PetscFunctionBeginUser;
  assembly->d = d;
  assembly->N = sizes->N;
  assembly->filled = 0;
  PetscCall(CkDiffusionGetShift(D, &assembly->c));
  PetscCall(
    PetscMalloc4(block, &assembly->own, block, &assembly->incoming, chunk, &assembly->chunk, d, &assembly->mean));
  PetscCall(PetscArrayzero(assembly->mean, d));
  PetscCall(CkBlockMatrixCreate(sizes->comm, sizes->d, &assembly->A));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode AssemblyDestroy(Assembly *assembly)
{
  PetscFunctionBeginUser;
  PetscCall(PetscFree(assembly->c));
  PetscCall(PetscFree4(assembly->own, assembly->incoming, assembly->chunk, assembly->mean));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* A += (1/N) sum of the chunk's rows' outer products. */
static PetscErrorCode FlushChunk(Assembly *assembly)
{
  PetscFunctionBeginUser;
  if (assembly->filled == 0) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(PetscLogEventBegin(CK_Gram, 0, 0, 0, 0));
  PetscCall(CkBlockMatrixAddOuter(assembly->A, assembly->filled, assembly->chunk, (PetscInt)assembly->d,
                                  1. / (double)assembly->N));
  PetscCall(PetscLogEventEnd(CK_Gram, 0, 0, 0, 0));
  assembly->filled = 0;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Appends `count` gradients to the chunk, which is added to A whenever it is full. */
static PetscErrorCode Append(Assembly *assembly, PetscInt count, CkPrecision precision, const char *rows)
{
  const size_t d = assembly->d;

  PetscFunctionBeginUser;
  for (size_t k = 0; k < (size_t)count; ++k) {
    double *row = assembly->chunk + (size_t)assembly->filled * d;

    if (precision == CK_FLOAT64) PetscCall(PetscArraycpy(row, (const double *)(const void *)rows + k * d, d));
    else
      for (size_t i = 0; i < d; ++i) row[i] = (double)((const float *)(const void *)rows)[k * d + i];
    for (size_t i = 0; assembly->c && i < d; ++i) row[i] += assembly->c[i];
    for (size_t i = 0; i < d; ++i) assembly->mean[i] += row[i];
    if (++assembly->filled == CHUNK) PetscCall(FlushChunk(assembly));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* All ranks have finished their sum block number `number`: appends these blocks, rank after rank. */
static PetscErrorCode AppendBlocks(Assembly *assembly, const CkDiffusionSizes *sizes, PetscInt number)
{
  const CkBlocks *blocks = &sizes->blocks;

  PetscFunctionBeginUser;
  for (PetscMPIInt r = 0; r < blocks->size; ++r) {
    const PetscInt first = (number * blocks->size + r) * blocks->block;
    const PetscInt count = PetscMin(blocks->block, blocks->n - first);
    char          *rows = r == blocks->rank ? assembly->own : assembly->incoming;
    PetscMPIInt    numbers;

    if (count <= 0) break;
    PetscCall(PetscMPIIntCast(count * sizes->d, &numbers));
    if (blocks->size > 1) {
      PetscCall(PetscLogEventBegin(CK_Reduce, 0, 0, 0, 0));
      PetscCallMPI(MPI_Bcast(rows, numbers, sizes->precision == CK_FLOAT64 ? MPI_DOUBLE : MPI_FLOAT, r, sizes->comm));
      PetscCall(PetscLogEventEnd(CK_Reduce, 0, 0, 0, 0));
    }
    PetscCall(Append(assembly, count, sizes->precision, rows));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Assemble(CkDiffusion D, const CkDiffusionSizes *sizes, Assembly *assembly)
{
  const CkBatch  all = CkBatchAll(sizes->N);
  const PetscInt per = sizes->blocks.tiles_per_block;
  CkPass         pass;
  CkTile         tile;
  CkProgress     progress;

  PetscFunctionBeginUser;
  PetscCall(CkProgressCreate(sizes->comm, "assembling D", "samples", sizes->N, &progress));
  PetscCall(CkPassBegin(D->loss, &all, &pass));
  while (PETSC_TRUE) {
    PetscInt number;

    PetscCall(CkPassNext(pass, &tile));
    if (!tile.more) break;
    PetscCall(CkPassRows(pass, sizes->precision,
                         assembly->own + (size_t)(tile.round % per * sizes->blocks.tile) * assembly->d * sizes->bytes,
                         assembly->d));
    if ((tile.round + 1) % per) continue;
    number = tile.round / per;
    PetscCall(AppendBlocks(assembly, sizes, number));
    PetscCall(
      CkProgressUpdate(progress, PetscMin(sizes->N, (double)(number + 1) * sizes->blocks.block * sizes->blocks.size)));
  }
  PetscCall(CkPassEnd(&pass));
  PetscCall(CkProgressDestroy(&progress));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkDiffusionDense(CkDiffusion D, CkBlockMatrix *A)
{
  CkDiffusionSizes sizes;
  Assembly         assembly;
  double           matrix, work, buffers;

  PetscFunctionBeginUser;
  PetscCall(CkDiffusionGetSizes(D, &sizes));
  buffers = CkDiffusionDenseMemory(&sizes);
  PetscCall(CkBlockMatrixMemory(sizes.comm, sizes.d, PETSC_FALSE, CK_SOLVER_SCALAPACK, &matrix, &work));
  PetscCall(CkMemoryCheck(sizes.comm, matrix + buffers, "the dense diffusion matrix",
                          "use more ranks, -spectrum_method gram or krylov, or raise -memory_limit"));
  PetscCall(AssemblyCreate(D, &sizes, &assembly));
  PetscCall(Assemble(D, &sizes, &assembly));
  PetscCall(FlushChunk(&assembly));
  if (D->centred) {
    for (size_t i = 0; i < assembly.d; ++i) assembly.mean[i] /= sizes.N;
    PetscCall(CkBlockMatrixAddOuter(assembly.A, 1, assembly.mean, sizes.d, -1));
  }
  *A = assembly.A;
  PetscCall(AssemblyDestroy(&assembly));
  PetscFunctionReturn(PETSC_SUCCESS);
}
