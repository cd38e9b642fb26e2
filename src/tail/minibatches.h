#pragma once
#include <clarkia/base.h>

/* minibatches.h: which samples make minibatch b, a function of seed, b and the way of drawing. Local to the rank. */
typedef struct {
  PetscInt  N, B;
  uint64_t  seed;
  PetscBool replacement;
  PetscInt *order; /* [N] 0 .. N-1 between two calls; without replacement */
  PetscInt *swap;  /* [B] */
} CkMinibatches;

PetscErrorCode CkMinibatchesCreate(PetscInt N, PetscInt B, uint64_t seed, PetscBool replacement,
                                   CkMinibatches *batches);
PetscErrorCode CkMinibatchesDestroy(CkMinibatches *batches);
/* The B samples of minibatch b. */
PetscErrorCode CkMinibatchesDraw(CkMinibatches *batches, PetscInt b, PetscInt samples[]);
