#include "testing.h"
#include <clarkia/exactsum.h>
#include <clarkia/random.h>
#include <float.h>

enum { LENGTH = 37, TERMS = 60 };

/* Term k of entry i: signs and magnitudes over eight decades, below 1. */
static double term(int k, int i)
{
  const CkRandom stream = {.seed = 5, .purpose = CK_RANDOM_PROBE, .replica = 0, .step = (uint64_t)k};
  double         u[2];

  CkRandomUniforms(&stream, (uint64_t)(2 * i), 2, u);
  return (u[0] - 0.5) * pow(10, -8 * u[1]);
}

static int ranks(int *rank)
{
  int size;

  MPI_Comm_rank(PETSC_COMM_WORLD, rank);
  MPI_Comm_size(PETSC_COMM_WORLD, &size);
  return size;
}

/* The sum of integers round(term / unit), by 128-bit arithmetic, in double. */
static double reference(int i, double unit)
{
  __int128 sum = 0;

  for (int k = 0; k < TERMS; ++k) {
    const double scaled = term(k, i) / unit, whole = rint(scaled * 0x1p-40); /* both exact but for the rounding */

    sum += ((__int128)whole * ((__int128)1 << 40)) + (__int128)rint(scaled - whole * 0x1p40);
  }
  return (double)sum * unit;
}

/* Terms dealt out to ranks by rule, added in an order by stride (coprime to TERMS), as double or float. */
static void sum_up(int limbs, int stride, int rule, PetscBool single, double bound, double out[LENGTH])
{
  const double bounds[1] = {bound};
  CkExactSum   sum;
  int          rank, size = ranks(&rank);

  OK(CkExactSumCreate(PETSC_COMM_WORLD, LENGTH, 1, bounds, limbs, &sum));
  for (int s = 0; s < TERMS; ++s) {
    const int k = s * stride % TERMS;
    const int owner = rule == 0 ? k % size : (rule == 1 ? k * size / TERMS : size - 1);
    double    values[LENGTH];
    float     floats[LENGTH];

    if (owner != rank) continue;
    for (int i = 0; i < LENGTH; ++i) {
      values[i] = term(k, i);
      floats[i] = (float)values[i];
    }
    if (single) OK(CkExactSumAddFloat(sum, 0, 0, LENGTH, floats));
    else {
      OK(CkExactSumAdd(sum, 0, 0, 10, values));
      OK(CkExactSumAdd(sum, 0, 10, LENGTH - 10, values + 10));
    }
  }
  OK(CkExactSumReduce(sum, out));
  OK(CkExactSumDestroy(&sum));
}

static void same_bits_in_any_order(void **state)
{
  const int strides[] = {1, 7, 59};

  (void)state;
  for (int limbs = 1; limbs <= 2; ++limbs) {
    const double bound = 40, unit = CkExactSumUnit(bound, limbs - 1);

    assert_true(unit == ldexp(64, limbs == 1 ? -62 : -102));
    for (int s = 0; s < 3; ++s) {
      for (int rule = 0; rule < 3; ++rule) {
        double    out[LENGTH];
        PetscBool same = PETSC_TRUE;

        sum_up(limbs, strides[s], rule, PETSC_FALSE, bound, out);
        for (int i = 0; i < LENGTH; ++i) same = (PetscBool)(same && out[i] == reference(i, unit));
        assert_on_all_ranks(same);
      }
    }
  }
}

/* Floats enter with all their 24 bits: the same sum as of the floats turned into doubles. */
static void floats(void **state)
{
  double out[LENGTH];

  (void)state;
  for (int limbs = 1; limbs <= 2; ++limbs) {
    const double unit = CkExactSumUnit(40, limbs - 1);

    sum_up(limbs, 1, 0, PETSC_TRUE, 40, out);
    for (int i = 0; i < LENGTH; ++i) {
      long double sum = 0; /* 64 bits: exact to 2^-58 here, against units of 2^-56 and rounding of each term */

      for (int k = 0; k < TERMS; ++k) sum += (long double)(float)term(k, i);
      assert_close(out[i], (double)sum, 1, TERMS * (limbs == 1 ? unit : 0x1p-58) + 0x1p-53 * fabs((double)sum));
    }
  }
}

/* 1 + 2^-90 - 1 keeps its last bit with two limbs of bound 1, and loses it with one. */
static void two_limbs_keep_100_bits(void **state)
{
  const double bounds[1] = {1.5}, terms[3] = {1, 0x1p-90, -1};
  double       out;
  int          rank;

  (void)state;
  (void)ranks(&rank);
  for (int limbs = 1; limbs <= 2; ++limbs) {
    CkExactSum sum;

    OK(CkExactSumCreate(PETSC_COMM_WORLD, 1, 1, bounds, limbs, &sum));
    for (int k = 0; k < 3 && rank == 0; ++k) OK(CkExactSumAdd(sum, 0, 0, 1, &terms[k]));
    OK(CkExactSumReduce(sum, &out));
    assert_on_all_ranks(out == (limbs == 1 ? 0 : 0x1p-90));
    OK(CkExactSumDestroy(&sum));
  }
}

/* Each entry of each vector goes where it belongs, each with its own bound; reset makes zero with new bounds. */
static void vectors_and_reset(void **state)
{
  const double bounds[3] = {1e-3, 1, 1e300}, wider[3] = {1e3, 1e3, 1e3};
  double       out[15], values[5];
  CkExactSum   sum;
  int          rank, size = ranks(&rank);

  (void)state;
  OK(CkExactSumCreate(PETSC_COMM_WORLD, 5, 3, bounds, 2, &sum));
  for (int j = 0; j < 3; ++j) {
    for (int i = 0; i < 5; ++i) values[i] = bounds[j] * (i + 1) / (32 * size);
    OK(CkExactSumAdd(sum, j, 0, 5, values));
    OK(CkExactSumAdd(sum, j, 3, 1, values));
  }
  OK(CkExactSumReduce(sum, out));
  for (int j = 0; j < 3; ++j)
    for (int i = 0; i < 5; ++i)
      assert_close(out[5 * j + i], bounds[j] * (i + 1 + (i == 3)) / 32, 4 * size * DBL_EPSILON, bounds[j]);
  OK(CkExactSumReset(sum, wider));
  values[0] = rank == 0 ? 100 : 0;
  OK(CkExactSumAdd(sum, 0, 4, 1, values));
  OK(CkExactSumReduce(sum, out));
  for (int i = 0; i < 15; ++i) assert_on_all_ranks(out[i] == (i == 4 ? 100 : 0));
  OK(CkExactSumDestroy(&sum));
}

/* More than 2^22 terms whose low limbs are all near their maximum: the carry keeps every bit. */
static void carries(void **state)
{
  const double bounds[1] = {0x1p61}, value = CkExactSumUnit(0x1p61, 0) * 0.4999;
  const int    n = (1 << 22) + 12345;
  double       out, unit = CkExactSumUnit(0x1p61, 1);
  CkExactSum   sum;
  int          size, rank;

  (void)state;
  size = ranks(&rank);
  OK(CkExactSumCreate(PETSC_COMM_WORLD, 1, 1, bounds, 2, &sum));
  for (int k = 0; k < n; ++k) OK(CkExactSumAdd(sum, 0, 0, 1, &value));
  OK(CkExactSumReduce(sum, &out));
  assert_on_all_ranks(out == (double)((__int128)rint(value / unit) * n * size) * unit);
  OK(CkExactSumDestroy(&sum));
}

static void bad_terms_are_errors(void **state)
{
  const double bounds[1] = {1}, bad[] = {NAN, INFINITY, -INFINITY, 2, -3e8, 1e300};

  (void)state;
  for (int limbs = 1; limbs <= 2; ++limbs) {
    for (size_t b = 0; b < sizeof(bad) / sizeof(bad[0]); ++b) {
      double     values[11] = {0};
      float      single[11] = {0};
      CkExactSum sum;

      values[9] = bad[b];
      single[9] = (float)bad[b];
      OK(CkExactSumCreate(PETSC_COMM_WORLD, 11, 1, bounds, limbs, &sum));
      assert_user_error(CkExactSumAdd(sum, 0, 0, 11, values));
      OK(CkExactSumReset(sum, NULL));
      assert_user_error(CkExactSumAddFloat(sum, 0, 0, 11, single));
      OK(CkExactSumDestroy(&sum));
    }
  }
}

/* Partial sums on one rank, and sums over ranks that no rank exceeds alone. */
static void overflow_is_an_error(void **state)
{
  const double bounds[1] = {1}, most = 0.9;
  double       out;
  int          rank, size = ranks(&rank);

  (void)state;
  for (int sign = -1; sign <= 1; sign += 2) {
    const double value = sign * most;
    CkExactSum   sum;

    OK(CkExactSumCreate(PETSC_COMM_WORLD, 1, 1, bounds, 1, &sum));
    OK(CkExactSumAdd(sum, 0, 0, 1, &value));
    if (size == 1) OK(CkExactSumReduce(sum, &out));
    if (size > 2) assert_user_error(CkExactSumReduce(sum, &out)); /* range 2: 2.7 leaves it */
    OK(CkExactSumAdd(sum, 0, 0, 1, &value));                      /* 1.8, still below the range */
    if (size > 1) assert_user_error(CkExactSumReduce(sum, &out));
    assert_user_error(CkExactSumAdd(sum, 0, 0, 1, &value));
    OK(CkExactSumDestroy(&sum));
  }
}

/* Large terms of opposite signs on different ranks: no rank's share is small, the sum is. */
static void cancellation_over_ranks(void **state)
{
  const double bounds[1] = {1};
  double       out, value;
  CkExactSum   sum;
  int          rank, size = ranks(&rank);

  (void)state;
  OK(CkExactSumCreate(PETSC_COMM_WORLD, 1, 1, bounds, 1, &sum));
  value = rank % 2 ? -0.75 : 0.75;
  OK(CkExactSumAdd(sum, 0, 0, 1, &value));
  OK(CkExactSumReduce(sum, &out));
  assert_on_all_ranks(out == (size % 2 ? 0.75 : 0));
  OK(CkExactSumDestroy(&sum));
}

/* Each vector to one rank: the bits of the sums on every rank, for any part of the vectors and length. */
static void share(int limbs, PetscInt64 n)
{
  int        rank, size = ranks(&rank);
  const int  m = size + 2;
  double    *bounds, *values, *all, *mine;
  CkExactSum sum;

  OK(PetscMalloc4(m, &bounds, n, &values, n * m, &all, n, &mine));
  for (int j = 0; j < m; ++j) bounds[j] = 40 * (j + 1);
  OK(CkExactSumCreate(PETSC_COMM_WORLD, n, m, bounds, limbs, &sum));
  for (int j = 0; j < m; ++j) {
    for (PetscInt64 i = 0; i < n; ++i) values[i] = term(rank, (int)(i + 7 * j)) * (j + 1);
    OK(CkExactSumAdd(sum, j, 0, n, values));
  }
  OK(CkExactSumReduce(sum, all));
  for (int first = 0; first < 3; ++first)
    for (int count = 0; count <= size; ++count) {
      PetscBool same = PETSC_TRUE;

      for (PetscInt64 i = 0; i < n; ++i) mine[i] = -1;
      OK(CkExactSumReduceShare(sum, first, count, mine));
      for (PetscInt64 i = 0; i < n; ++i)
        same = (PetscBool)(same && mine[i] == (rank < count ? all[(first + rank) * n + i] : -1));
      assert_on_all_ranks(same);
    }
  OK(CkExactSumDestroy(&sum));
  OK(PetscFree4(bounds, values, all, mine));
}

static void shares_are_the_sums(void **state)
{
  (void)state;
  for (int limbs = 1; limbs <= 2; ++limbs) {
    share(limbs, LENGTH);
    share(limbs, 70001); /* pieces */
    share(limbs, 0);
  }
}

/* Partial sums that leave the range though the sum does not are none of the user's business; one that leaves it is. */
static void shares_leave_the_bound(void **state)
{
  const double bounds[1] = {1};
  double       out, value;
  CkExactSum   sum;
  int          rank, size = ranks(&rank);

  (void)state;
  OK(CkExactSumCreate(PETSC_COMM_WORLD, 1, 1, bounds, 1, &sum));
  value = rank % 2 ? -1.9 : 1.9;
  OK(CkExactSumAdd(sum, 0, 0, 1, &value));
  OK(CkExactSumReduceShare(sum, 0, 1, &out));
  if (rank == 0) assert_true(out == (size % 2 ? 1.9 : 0));
  OK(CkExactSumReset(sum, NULL));
  value = rank < 3 && size > 2 ? (rank == 2 ? -1.9 : 1.9) : 0; /* 1.9 + 1.9 - 1.9 */
  OK(CkExactSumAdd(sum, 0, 0, 1, &value));
  OK(CkExactSumReduceShare(sum, 0, 1, &out));
  if (rank == 0) assert_true(out == (size > 2 ? 1.9 : 0));
  OK(CkExactSumReset(sum, NULL));
  value = -1.9;
  OK(CkExactSumAdd(sum, 0, 0, 1, &value));
  if (size > 1) assert_user_error(CkExactSumReduceShare(sum, 0, 1, &out));
  OK(CkExactSumDestroy(&sum));
}

static void long_vectors_and_none(void **state)
{
  const PetscInt64 n = 600001; /* three chunks */
  const double     bounds[1] = {1e7};
  double          *values, *out, sum_of_out = 0;
  CkExactSum       sum;
  int              rank, size = ranks(&rank);
  PetscBool        right = PETSC_TRUE;

  (void)state;
  OK(PetscMalloc2(n, &values, n, &out));
  for (PetscInt64 i = 0; i < n; ++i) values[i] = (double)i + 0.25;
  OK(CkExactSumCreate(PETSC_COMM_WORLD, n, 1, bounds, 1, &sum));
  OK(CkExactSumAdd(sum, 0, 0, n, values));
  OK(CkExactSumReduce(sum, out));
  for (PetscInt64 i = 0; i < n; ++i) right = (PetscBool)(right && out[i] == size * ((double)i + 0.25));
  assert_on_all_ranks(right);
  OK(CkExactSumDestroy(&sum));
  OK(CkExactSumCreate(PETSC_COMM_WORLD, 0, 1, bounds, 1, &sum));
  OK(CkExactSumAdd(sum, 0, 0, 0, values));
  OK(CkExactSumReduce(sum, &sum_of_out));
  OK(CkExactSumDestroy(&sum));
  OK(PetscFree2(values, out));
}

/* A sum that holds bad terms takes them without an error, tells so, and is as new after a reset. */
static void held_sums_are_spoilt_by_bad_terms(void **state)
{
  const double bound = 4, bad[] = {NAN, INFINITY, 1e3}, good = 1.5;
  CkExactSum   sum;
  double       out;

  (void)state;
  OK(CkExactSumCreate(PETSC_COMM_SELF, 1, 1, &bound, 2, &sum));
  OK(CkExactSumSetHold(sum, PETSC_TRUE));
  for (int i = 0; i < 3; ++i) {
    OK(CkExactSumAdd(sum, 0, 0, 1, &good));
    assert_on_all_ranks(!CkExactSumIsSpoilt(sum));
    OK(CkExactSumAdd(sum, 0, 0, 1, &bad[i]));
    assert_on_all_ranks(CkExactSumIsSpoilt(sum));
    OK(CkExactSumReset(sum, NULL));
    assert_on_all_ranks(!CkExactSumIsSpoilt(sum));
    OK(CkExactSumAdd(sum, 0, 0, 1, &good));
    OK(CkExactSumReduce(sum, &out));
    assert_on_all_ranks(out == 1.5);
    OK(CkExactSumReset(sum, NULL));
  }
  OK(CkExactSumDestroy(&sum));
}

static const struct CMUnitTest tests[] = {
  cmocka_unit_test(same_bits_in_any_order),
  cmocka_unit_test(floats),
  cmocka_unit_test(two_limbs_keep_100_bits),
  cmocka_unit_test(vectors_and_reset),
  cmocka_unit_test(carries),
  cmocka_unit_test(bad_terms_are_errors),
  cmocka_unit_test(held_sums_are_spoilt_by_bad_terms),
  cmocka_unit_test(overflow_is_an_error),
  cmocka_unit_test(cancellation_over_ranks),
  cmocka_unit_test(shares_are_the_sums),
  cmocka_unit_test(shares_leave_the_bound),
  cmocka_unit_test(long_vectors_and_none),
};

CK_TEST_MAIN(tests, PetscInitialize, PetscFinalize)
