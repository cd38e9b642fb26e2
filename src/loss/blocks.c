/* blocks.c: positions of a batch -> sum blocks -> ranks and tiles (decision 1). */
#include "lossimpl.h"

PetscErrorCode CkLossGetBlocks(CkLoss loss, PetscInt n, CkBlocks *blocks)
{
  const PetscInt largest = PetscMin(n, loss->sum_block);

  PetscFunctionBeginUser;
  PetscCheck(loss->setup, loss->comm, PETSC_ERR_ORDER, "Call CkLossSetUp() first");
  *blocks = (CkBlocks){.n = n, .block = loss->sum_block, .tile = loss->tile, .rank = loss->rank, .size = loss->size};
  blocks->nblocks = n / loss->sum_block + (n % loss->sum_block > 0);
  blocks->tiles_per_block = largest / loss->tile + (largest % loss->tile > 0);
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscBool CkLossSumsDirectly(CkLoss loss, const CkBlocks *blocks)
{
  return (PetscBool)(loss->reproducible && loss->exact && blocks->tiles_per_block == 1);
}

PetscInt CkBlocksCount(const CkBlocks *blocks, PetscMPIInt rank)
{
  const PetscInt mine = blocks->nblocks / blocks->size + (rank < blocks->nblocks % blocks->size);
  const PetscInt last = blocks->nblocks - 1; /* the only block that may be short */

  if (mine == 0) return 0;
  if (last % blocks->size != rank) return mine * blocks->block;
  return (mine - 1) * blocks->block + blocks->n - last * blocks->block;
}

PetscInt CkBlocksRounds(const CkBlocks *blocks)
{
  return (blocks->nblocks / blocks->size + (blocks->nblocks % blocks->size > 0)) * blocks->tiles_per_block;
}

void CkBlocksTile(const CkBlocks *blocks, PetscInt round, PetscInt *first, PetscInt *n)
{
  const PetscInt number = round / blocks->tiles_per_block; /* of this rank's blocks */
  const PetscInt offset = round % blocks->tiles_per_block * blocks->tile;
  PetscInt       end;

  *first = *n = 0;
  if (number >= (blocks->nblocks - blocks->rank + blocks->size - 1) / blocks->size) return;
  *first = (number * blocks->size + blocks->rank) * blocks->block;
  end = PetscMin(blocks->block, blocks->n - *first);
  *first += offset;
  *n = PetscMax(0, PetscMin(blocks->tile, end - offset));
}

PetscInt CkBlocksLocal(const CkBlocks *blocks, PetscInt position)
{
  return position / blocks->block / blocks->size * blocks->block + position % blocks->block;
}

/* Rank after rank, each in the order of its blocks -> batch order. */
static PetscErrorCode SortBlocks(const CkBlocks *blocks, PetscInt width, const PetscMPIInt start[],
                                 const double ranked[], double all[])
{
  const size_t w = (size_t)width;

  PetscFunctionBeginUser;
  for (PetscInt t = 0; t < blocks->nblocks; ++t) {
    const PetscInt first = t * blocks->block, count = PetscMin(blocks->block, blocks->n - first);
    const PetscInt from = start[t % blocks->size] + CkBlocksLocal(blocks, first);

    PetscCall(PetscArraycpy(all + (size_t)first * w, ranked + (size_t)from * w, (size_t)count * w));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkBlocksGather(const CkBlocks *blocks, MPI_Comm comm, PetscInt width, const double mine[], double all[])
{
  PetscMPIInt *count, *start, items;
  double      *ranked;
  MPI_Datatype sample;

  PetscFunctionBeginUser;
  if (blocks->size == 1) {
    PetscCall(PetscArraycpy(all, mine, (size_t)blocks->n * (size_t)width));
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  PetscCall(PetscMPIIntCast(width, &items));
  PetscCall(PetscMalloc2(blocks->size, &count, blocks->size + 1, &start));
  PetscCall(PetscMalloc1((size_t)blocks->n * (size_t)width, &ranked));
  start[0] = 0;
  for (PetscMPIInt r = 0; r < blocks->size; ++r) {
    PetscCall(PetscMPIIntCast(CkBlocksCount(blocks, r), &count[r]));
    PetscCall(PetscMPIIntCast(start[r] + (PetscInt)count[r], &start[r + 1]));
  }
  PetscCallMPI(MPI_Type_contiguous(items, MPI_DOUBLE, &sample)); /* counts stay below 2^31 for any width */
  PetscCallMPI(MPI_Type_commit(&sample));
  PetscCallMPI(MPI_Allgatherv(mine, count[blocks->rank], sample, ranked, count, start, sample, comm));
  PetscCallMPI(MPI_Type_free(&sample));
  PetscCall(SortBlocks(blocks, width, start, ranked, all));
  PetscCall(PetscFree(ranked));
  PetscCall(PetscFree2(count, start));
  PetscFunctionReturn(PETSC_SUCCESS);
}
