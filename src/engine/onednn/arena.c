#include "plan.h"
#include <stdlib.h>
#include <sys/mman.h>

typedef struct Block {
  struct Block *next;
  size_t        mapped; /* bytes of a mapping of its own; 0: from calloc() */
} Block;

enum { ALIGNMENT = 64 };
static const size_t LARGE = (size_t)1 << 22; /* arrays from here on take large pages where the system has them */

/* Zeros; pages that nobody touches take no memory. Large arrays on large pages: 1 to 3% of a pass of ResNet-20. */
static Block *NewBlock(size_t bytes)
{
  Block *block;

  if (bytes < LARGE) return (Block *)calloc(1, bytes);
  block = (Block *)mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (block == MAP_FAILED) return NULL;
#if defined(MADV_HUGEPAGE)
  madvise(block, bytes, MADV_HUGEPAGE); /* advice: nothing is lost if it is not taken */
#endif
  block->mapped = bytes;
  return block;
}

static PetscErrorCode Allocate(CkArena *arena, size_t bytes, void **array)
{
  const size_t header = ALIGNMENT + sizeof(Block);
  Block       *block;
  char        *start;

  PetscFunctionBeginUser;
  PetscCheck(bytes < SIZE_MAX / 2, PETSC_COMM_SELF, PETSC_ERR_MEM, "Array of %zu bytes", bytes);
  block = NewBlock(bytes + header + ALIGNMENT);
  PetscCheck(block, PETSC_COMM_SELF, PETSC_ERR_MEM, "No memory for an array of %zu bytes", bytes);
  block->next = (Block *)arena->block;
  arena->block = block;
  arena->bytes += (double)bytes;
  start = (char *)block + sizeof(Block);
  *array = start + (ALIGNMENT - (uintptr_t)start % ALIGNMENT) % ALIGNMENT;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkArenaFloats(CkArena *arena, size_t n, float **array)
{
  PetscFunctionBeginUser;
  PetscCheck(n < SIZE_MAX / 16, PETSC_COMM_SELF, PETSC_ERR_MEM, "Array of %zu numbers", n);
  PetscCall(Allocate(arena, n * sizeof(float), (void **)array));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkArenaInts(CkArena *arena, size_t n, int **array)
{
  PetscFunctionBeginUser;
  PetscCheck(n < SIZE_MAX / 16, PETSC_COMM_SELF, PETSC_ERR_MEM, "Array of %zu numbers", n);
  PetscCall(Allocate(arena, n * sizeof(int), (void **)array));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkArenaFree(CkArena *arena)
{
  Block *block = (Block *)arena->block;

  PetscFunctionBeginUser;
  while (block) {
    Block *next = block->next;

    if (block->mapped > 0) munmap(block, block->mapped);
    else free(block);
    block = next;
  }
  *arena = (CkArena){NULL, 0};
  PetscFunctionReturn(PETSC_SUCCESS);
}
