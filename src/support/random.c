#include <clarkia/random.h>
#include <math.h>

#include <Random123/philox.h>

void CkRandomBits(const CkRandom *stream, uint64_t index, uint32_t bits[4])
{
  const philox4x32_key_t key = {{(uint32_t)stream->seed, (uint32_t)(stream->seed >> 32)}};
  const philox4x32_ctr_t counter = {{(uint32_t)index, (uint32_t)stream->purpose << 24 | (uint32_t)(index >> 32),
                                     (uint32_t)stream->step, stream->replica << 16 | (uint32_t)(stream->step >> 32)}};
  const philox4x32_ctr_t random = philox4x32(counter, key);

  for (int i = 0; i < 4; ++i) bits[i] = random.v[i];
}

/* The two 64-bit words of a block; number i of a stream is word i % 2 of block i / 2. */
static void RandomPair(const CkRandom *stream, uint64_t block, uint64_t pair[2])
{
  uint32_t bits[4];

  CkRandomBits(stream, block, bits);
  pair[0] = (uint64_t)bits[1] << 32 | bits[0];
  pair[1] = (uint64_t)bits[3] << 32 | bits[2];
}

/* Odd multiples of 2^-53: never 0, never 1, mean exactly 1/2. */
static double UnitInterval(uint64_t word)
{
  return (double)(word >> 11 | 1) * 0x1p-53;
}

void CkRandomUniforms(const CkRandom *stream, uint64_t start, size_t n, double values[])
{
  uint64_t pair[2] = {0, 0};

  for (size_t i = 0; i < n; ++i) {
    const uint64_t number = start + i;

    if (i == 0 || number % 2 == 0) RandomPair(stream, number / 2, pair);
    values[i] = UnitInterval(pair[number % 2]);
  }
}

void CkRandomNormals(const CkRandom *stream, uint64_t start, size_t n, double values[])
{
  double normal[2] = {0, 0};

  for (size_t i = 0; i < n; ++i) {
    const uint64_t number = start + i;

    if (i == 0 || number % 2 == 0) {
      uint64_t pair[2];
      double   radius, angle;

      RandomPair(stream, number / 2, pair);
      radius = sqrt(-2 * log(UnitInterval(pair[0])));
      angle = 2 * PETSC_PI * UnitInterval(pair[1]);
      normal[0] = radius * cos(angle);
      normal[1] = radius * sin(angle);
    }
    values[i] = normal[number % 2];
  }
}

/* Uniform in 0..n-1 up to n / 2^64. */
static uint64_t Below(uint64_t word, uint64_t n)
{
  return (uint64_t)(((unsigned __int128)word * n) >> 64);
}

PetscErrorCode CkRandomPermutation(const CkRandom *stream, PetscInt n, PetscInt permutation[])
{
  uint64_t pair[2] = {0, 0};

  PetscFunctionBeginUser;
  for (PetscInt i = 0; i < n; ++i) { /* Fisher and Yates, inside out */
    PetscInt j;

    if (i % 2 == 0) RandomPair(stream, (uint64_t)i / 2, pair);
    j = (PetscInt)Below(pair[i % 2], (uint64_t)i + 1);
    permutation[i] = i;
    permutation[i] = permutation[j];
    permutation[j] = i;
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}
