#pragma once
#include <clarkia/base.h>

/*
  CkBatch: an ordered list of global sample indices, the same on all ranks (decision 1), with its context.
  It is cut by *position* into sum blocks of `block` positions; sum block t belongs to rank t mod P. The number of ranks
  changes who computes a block, never what a block is.
*/
typedef enum { CK_EVALUATION, CK_TRAINING } CkMode;

typedef struct {
  PetscInt        n;     /* positions */
  const PetscInt *index; /* [n] global sample indices, repeats allowed; NULL: 0, 1, .. n-1. Borrowed. */
  CkMode          mode;  /* training: batch statistics and dropout; only Gradient and Values accept it */
  PetscInt        epoch, step, replica;
} CkBatch;

/* All n samples, evaluation mode. */
static inline CkBatch CkBatchAll(PetscInt n)
{
  return (CkBatch){.n = n, .index = NULL, .mode = CK_EVALUATION, .epoch = 0, .step = 0, .replica = 0};
}
