#include "plan.h"
#include <stdlib.h>

typedef struct Block {
  struct Block *next;
} Block;

enum { ALIGNMENT = 64 };

static PetscErrorCode Allocate(CkArena *arena, size_t bytes, void **array)
{
  const size_t header = ALIGNMENT + sizeof(Block);
  Block       *block;
  char        *start;

  PetscFunctionBeginUser;
  PetscCheck(bytes < SIZE_MAX / 2, PETSC_COMM_SELF, PETSC_ERR_MEM, "Array of %zu bytes", bytes);
  block = (Block *)calloc(1, bytes + header + ALIGNMENT); /* pages that nobody touches take no memory */
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

    free(block);
    block = next;
  }
  *arena = (CkArena){NULL, 0};
  PetscFunctionReturn(PETSC_SUCCESS);
}
