#pragma once
#include <clarkia/base.h>

/*
  random.h: counter-based random numbers (Random123, philox4x32-10). A number is a function of (seed, purpose, replica,
  step, index) alone, hence the same on any number of ranks, and the state to checkpoint is the step.
  Philox key = seed; counter = (index low, purpose and index high, step low, replica and step high).
*/
typedef enum {
  CK_RANDOM_INIT,    /* initial weights; step = parameter number */
  CK_RANDOM_SHUFFLE, /* order of samples; step = epoch */
  CK_RANDOM_DROPOUT, /* step = update */
  CK_RANDOM_AUGMENT,
  CK_RANDOM_NOISE,     /* xi of the SDE and of sqrt(D) xi */
  CK_RANDOM_PROBE,     /* start vectors, test vectors */
  CK_RANDOM_SYNTHETIC, /* synthetic data */
  CK_RANDOM_BOOTSTRAP
} CkRandomPurpose;

typedef struct {
  uint64_t        seed;
  CkRandomPurpose purpose;
  uint32_t        replica; /* below 2^16 */
  uint64_t        step;    /* below 2^48 */
} CkRandom;

/* Four random words of block `index` (below 2^56). */
void CkRandomBits(const CkRandom *stream, uint64_t index, uint32_t bits[4]);
/* values[i] = uniform number start + i of the stream, in (0, 1), 53 bits. */
void CkRandomUniforms(const CkRandom *stream, uint64_t start, size_t n, double values[]);
/* values[i] = standard normal number start + i of the stream (Box-Muller). */
void CkRandomNormals(const CkRandom *stream, uint64_t start, size_t n, double values[]);
/* A uniformly random permutation of 0..n-1. */
PetscErrorCode CkRandomPermutation(const CkRandom *stream, PetscInt n, PetscInt permutation[]);
