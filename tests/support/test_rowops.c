/* Contractions of explicit rows against plain loops in long double. */
#include "testing.h"
#include <clarkia/random.h>
#include <clarkia/rowops.h>

#define N 5
#define D 7
#define LD 9
#define M 3

static void Fill(uint64_t seed, size_t n, double values[])
{
  const CkRandom stream = {.seed = seed, .purpose = CK_RANDOM_PROBE};

  CkRandomNormals(&stream, 0, n, values);
}

static void contractions_follow_their_definitions(void **state)
{
  double       G[N * LD], V[M * D], W[N * M], norms[N], S[N * M], A[M * D];
  const CkRows rows = {.n = N, .d = D, .ld = LD, .G = G};

  (void)state;
  Fill(1, N * LD, G); /* numbers between the rows as well: they must not count */
  Fill(2, M * D, V);
  Fill(3, N * M, W);
  Fill(4, M * D, A);
  OK(CkRowsSquaredNorms(&rows, norms));
  OK(CkRowsDot(&rows, M, V, S));
  for (int k = 0; k < N; ++k) {
    long double norm = 0;

    for (int i = 0; i < D; ++i) norm += (long double)G[k * LD + i] * G[k * LD + i];
    assert_close(norms[k], (double)norm, 1e-15, 10);
    for (int j = 0; j < M; ++j) {
      long double dot = 0;

      for (int i = 0; i < D; ++i) dot += (long double)G[k * LD + i] * V[j * D + i];
      assert_close(S[k * M + j], (double)dot, 1e-15, 10);
    }
  }
  for (int j = 0; j < M; ++j)
    for (int i = 0; i < D; ++i) {
      long double sum = A[j * D + i];
      double      before[M * D];

      for (int k = 0; k < N; ++k) sum += (long double)W[k * M + j] * G[k * LD + i];
      memcpy(before, A, sizeof(A));
      OK(CkRowsAccumulate(&rows, M, W, A));
      assert_close(A[j * D + i], (double)sum, 1e-15, 10);
      memcpy(A, before, sizeof(A));
    }
}

static void nothing_to_do_is_fine(void **state)
{
  const double G[D] = {1}, V[D] = {1};
  double       S[1] = {7}, A[D] = {7};
  const CkRows none = {.n = 0, .d = D, .ld = D, .G = G}, one = {.n = 1, .d = D, .ld = D, .G = G};

  (void)state;
  OK(CkRowsDot(&none, 1, V, S));
  OK(CkRowsAccumulate(&none, 1, S, A));
  OK(CkRowsDot(&one, 0, V, S));
  OK(CkRowsAccumulate(&one, 0, S, A));
  assert_true(S[0] == 7 && A[0] == 7);
}

static void bad_strides_are_refused(void **state)
{
  const double G[D] = {1};
  double       norms[1];
  const CkRows narrow = {.n = 1, .d = D, .ld = D - 1, .G = G};
  const CkRows wide = {.n = 1, .d = D, .ld = (size_t)1 << 40, .G = G};

  (void)state;
  assert_user_error(CkRowsSquaredNorms(&narrow, norms));
  if (sizeof(PetscBLASInt) == 4) assert_user_error(CkRowsSquaredNorms(&wide, norms));
}

static const struct CMUnitTest tests[] = {
  cmocka_unit_test(contractions_follow_their_definitions),
  cmocka_unit_test(nothing_to_do_is_fine),
  cmocka_unit_test(bad_strides_are_refused),
};

CK_TEST_MAIN(tests, PetscInitialize, PetscFinalize)
