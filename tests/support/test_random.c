#include "testing.h"
#include <clarkia/random.h>

/* Known answers published with Random123 (kat_vectors, philox4x32 with 10 rounds): counter and key all zero, all ones,
 * and digits of pi. The stream's fields are the counter's, cut as random.h says. */
static void known_answers(void **state)
{
  const struct {
    CkRandom stream;
    uint64_t index;
    uint32_t bits[4];
  } cases[] = {
    {{.seed = 0, .purpose = (CkRandomPurpose)0, .replica = 0, .step = 0},
     0,
     {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
    {{.seed = UINT64_MAX, .purpose = (CkRandomPurpose)0xff, .replica = 0xffff, .step = 0xffffffffffff},
     0xffffffffffffff,
     {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
    {{.seed = 0x299f31d0a4093822, .purpose = (CkRandomPurpose)0x85, .replica = 0x0370, .step = 0x734413198a2e},
     0xa308d3243f6a88,
     {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}}};

  (void)state;
  for (size_t c = 0; c < sizeof(cases) / sizeof(cases[0]); ++c) {
    uint32_t bits[4];

    CkRandomBits(&cases[c].stream, cases[c].index, bits);
    for (int i = 0; i < 4; ++i) assert_on_all_ranks(bits[i] == cases[c].bits[i]);
  }
}

enum { N = 200000 };
static double values[N], others[N];

/* A number depends on its index alone: any cut into pieces gives the same sequence. */
static void index_only(void **state)
{
  const CkRandom stream = {.seed = 7, .purpose = CK_RANDOM_NOISE, .replica = 2, .step = 5};
  void (*const fill[])(const CkRandom *, uint64_t, size_t, double[]) = {CkRandomUniforms, CkRandomNormals};

  (void)state;
  for (int f = 0; f < 2; ++f) {
    PetscBool same = PETSC_TRUE;

    fill[f](&stream, 1000, 1000, values);
    for (size_t at = 0, size = 1; at < 1000; at += size, size = size % 7 + 1)
      fill[f](&stream, 1000 + at, PetscMin(size, 1000 - at), others + at);
    for (int i = 0; i < 1000; ++i) same = (PetscBool)(same && values[i] == others[i]);
    assert_on_all_ranks(same);
  }
}

static void mean_and_power(const double x[], int power, double center, double *result)
{
  *result = 0;
  for (int i = 0; i < N; ++i) *result += pow(x[i] - center, power) / N;
}

/* Moments of the uniform distribution within five of their standard deviations; every twentieth is hit equally often
 * (chi square with 19 degrees of freedom below 60: p = 4e-6). */
static void uniform(void **state)
{
  const CkRandom stream = {.seed = 3, .purpose = CK_RANDOM_PROBE, .replica = 0, .step = 0};
  const double   root = sqrt(N);
  double         hits[20] = {0}, moment, chi = 0;

  (void)state;
  CkRandomUniforms(&stream, 0, N, values);
  for (int i = 0; i < N; ++i) {
    if (!(values[i] > 0 && values[i] < 1)) fail();
    hits[(int)(20 * values[i])] += 1;
  }
  mean_and_power(values, 1, 0.5, &moment);
  assert_close(moment, 0, 5 / root, sqrt(1. / 12));
  mean_and_power(values, 2, 0.5, &moment);
  assert_close(moment, 1. / 12, 5 / root, sqrt(1. / 180));
  for (int b = 0; b < 20; ++b) chi += pow(hits[b] - N / 20., 2) / (N / 20.);
  assert_on_all_ranks(chi < 60 && chi > 2);
}

/* Moments 1 to 4 of the normal distribution: standard deviations 1, sqrt 2, sqrt 15, sqrt 96 over sqrt N. Both numbers
 * of a pair, and neighbouring pairs, are uncorrelated. */
static void normal(void **state)
{
  const CkRandom stream = {.seed = 11, .purpose = CK_RANDOM_NOISE, .replica = 0, .step = 0};
  const double   expected[4] = {0, 1, 0, 3}, variance[4] = {1, 2, 15, 96};
  double         lag1 = 0, lag2 = 0;
  int            beyond = 0;

  (void)state;
  CkRandomNormals(&stream, 0, N, values);
  for (int p = 1; p <= 4; ++p) {
    double moment;

    mean_and_power(values, p, 0, &moment);
    assert_close(moment, expected[p - 1], 5 / sqrt(N), sqrt(variance[p - 1]));
  }
  for (int i = 0; i + 2 < N; ++i) {
    lag1 += values[i] * values[i + 1] / N;
    lag2 += values[i] * values[i + 2] / N;
  }
  assert_close(lag1, 0, 5 / sqrt(N), 1);
  assert_close(lag2, 0, 5 / sqrt(N), 1);
  for (int i = 0; i < N; ++i) beyond += fabs(values[i]) > 1.959963984540054; /* 5% */
  assert_close(beyond, 0.05 * N, 5, sqrt(0.05 * 0.95 * N));
}

static double correlation(const CkRandom *a, const CkRandom *b)
{
  double sum = 0;

  CkRandomNormals(a, 0, N, values);
  CkRandomNormals(b, 0, N, others);
  for (int i = 0; i < N; ++i) sum += values[i] * others[i] / N;
  return sum;
}

/* Streams that differ in one field only, by one bit, are uncorrelated. */
static void independent_streams(void **state)
{
  const CkRandom base = {.seed = 1, .purpose = CK_RANDOM_NOISE, .replica = 0, .step = 0};
  const CkRandom others_[] = {{.seed = 0, .purpose = CK_RANDOM_NOISE, .replica = 0, .step = 0},
                              {.seed = 1 | UINT64_C(1) << 40, .purpose = CK_RANDOM_NOISE, .replica = 0, .step = 0},
                              {.seed = 1, .purpose = CK_RANDOM_PROBE, .replica = 0, .step = 0},
                              {.seed = 1, .purpose = CK_RANDOM_NOISE, .replica = 1, .step = 0},
                              {.seed = 1, .purpose = CK_RANDOM_NOISE, .replica = 0, .step = 1},
                              {.seed = 1, .purpose = CK_RANDOM_NOISE, .replica = 0, .step = UINT64_C(1) << 40}};

  (void)state;
  assert_close(correlation(&base, &base), 1, 5 / sqrt(N), sqrt(2));
  for (size_t i = 0; i < sizeof(others_) / sizeof(others_[0]); ++i)
    assert_close(correlation(&base, &others_[i]), 0, 5 / sqrt(N), 1);
}

/* A permutation of any length holds every number once; all 24 orders of four occur equally often (chi square with 23
 * degrees of freedom below 70: p = 1e-6). */
static void permutations(void **state)
{
  const PetscInt sizes[] = {0, 1, 2, 3, 1000, 65536};
  double         hits[256] = {0}, chi = 0;
  const int      trials = 24000;
  int            orders = 0;
  PetscInt      *p;
  char          *seen;

  (void)state;
  OK(PetscMalloc2(65536, &p, 65536, &seen));
  for (size_t s = 0; s < sizeof(sizes) / sizeof(sizes[0]); ++s) {
    const CkRandom stream = {.seed = 1, .purpose = CK_RANDOM_SHUFFLE, .replica = 0, .step = s};
    PetscBool      once = PETSC_TRUE;

    OK(PetscArrayzero(seen, 65536));
    OK(CkRandomPermutation(&stream, sizes[s], p));
    for (PetscInt i = 0; i < sizes[s]; ++i) {
      once = (PetscBool)(once && p[i] >= 0 && p[i] < sizes[s] && !seen[p[i]]);
      if (once) seen[p[i]] = 1;
    }
    assert_on_all_ranks(once);
  }
  for (int t = 0; t < trials; ++t) {
    const CkRandom stream = {.seed = 1, .purpose = CK_RANDOM_SHUFFLE, .replica = 0, .step = (uint64_t)t};

    OK(CkRandomPermutation(&stream, 4, p));
    hits[p[0] | p[1] << 2 | p[2] << 4 | p[3] << 6] += 1;
  }
  for (int h = 0; h < 256; ++h) {
    if (hits[h] == 0) continue;
    ++orders;
    chi += pow(hits[h] - trials / 24., 2) / (trials / 24.);
  }
  assert_on_all_ranks(orders == 24);
  assert_on_all_ranks(chi < 70);
  OK(PetscFree2(p, seen));
}

/* Fisher and Yates inside out, exchange i by number i of the stream, from blocks drawn one by one: orders of samples
   that stand in files stay what they were. Indices beyond 32 bits of blocks are not reached. */
static void permutations_are_those_of_the_stream(void **state)
{
  enum { LENGTH = 1003 };
  const CkRandom stream = {.seed = 0x123456789abcdef, .purpose = CK_RANDOM_SHUFFLE, .replica = 3, .step = 0x500000007};
  PetscInt       p[LENGTH], q[LENGTH];

  (void)state;
  for (PetscInt i = 0; i < LENGTH; ++i) {
    uint32_t bits[4];
    uint64_t word;
    PetscInt j;

    CkRandomBits(&stream, (uint64_t)i / 2, bits);
    word = (uint64_t)bits[i % 2 * 2 + 1] << 32 | bits[i % 2 * 2];
    j = (PetscInt)(((unsigned __int128)word * (uint64_t)(i + 1)) >> 64);
    q[i] = i;
    q[i] = q[j];
    q[j] = i;
  }
  OK(CkRandomPermutation(&stream, LENGTH, p));
  assert_memory_equal(p, q, sizeof(p));
}

static const struct CMUnitTest tests[] = {
  cmocka_unit_test(known_answers),
  cmocka_unit_test(index_only),
  cmocka_unit_test(uniform),
  cmocka_unit_test(normal),
  cmocka_unit_test(independent_streams),
  cmocka_unit_test(permutations),
  cmocka_unit_test(permutations_are_those_of_the_stream),
};

CK_TEST_MAIN(tests, PetscInitialize, PetscFinalize)
