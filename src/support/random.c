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

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && !defined(__SANITIZE_ADDRESS__)
#define CK_CLONES __attribute__((target_clones("default", "avx2", "arch=x86-64-v4")))
#else
#define CK_CLONES
#endif

enum { GROUP = 8 }; /* blocks side by side in vector registers */

/* RandomPair() of GROUP blocks: words[2 k], words[2 k + 1] of block first + k. A round of Philox: Salmon et al., 2011.
 */
CK_CLONES static void RandomGroup(const CkRandom *stream, uint64_t first, uint64_t words[2 * GROUP])
{
  uint32_t key[2] = {(uint32_t)stream->seed, (uint32_t)(stream->seed >> 32)};
  uint64_t a[GROUP], b[GROUP], c[GROUP], d[GROUP]; /* 32 bits each */

  for (unsigned k = 0; k < GROUP; ++k) {
    a[k] = (uint32_t)(first + k);
    b[k] = (uint32_t)stream->purpose << 24 | (uint32_t)((first + k) >> 32);
    c[k] = (uint32_t)stream->step;
    d[k] = stream->replica << 16 | (uint32_t)(stream->step >> 32);
  }
  for (int round = 0; round < PHILOX4x32_DEFAULT_ROUNDS; ++round) {
    for (unsigned k = 0; k < GROUP; ++k) {
      const uint64_t p = a[k] * PHILOX_M4x32_0, q = c[k] * PHILOX_M4x32_1;

      a[k] = (q >> 32) ^ b[k] ^ key[0];
      b[k] = q & UINT32_MAX;
      c[k] = (p >> 32) ^ d[k] ^ key[1];
      d[k] = p & UINT32_MAX;
    }
    key[0] += PHILOX_W32_0;
    key[1] += PHILOX_W32_1;
  }
  for (unsigned k = 0; k < GROUP; ++k) {
    words[2 * k] = b[k] << 32 | a[k];
    words[2 * k + 1] = d[k] << 32 | c[k];
  }
}

PetscErrorCode CkRandomPermutation(const CkRandom *stream, PetscInt n, PetscInt permutation[])
{
  uint64_t words[2 * GROUP] = {0};

  PetscFunctionBeginUser;
  for (PetscInt i = 0; i < n; ++i) { /* Fisher and Yates, inside out; number i of the stream */
    PetscInt j;

    if (i % (2 * GROUP) == 0) RandomGroup(stream, (uint64_t)i / 2, words);
    j = (PetscInt)Below(words[i % (2 * GROUP)], (uint64_t)i + 1);
    permutation[i] = i;
    permutation[i] = permutation[j];
    permutation[j] = i;
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}
