/* out = N^-1/2 Gc' z has covariance exactly D. */
#include "matrices.h"
#include <clarkia/random.h>

enum { N = 40 };

/* R e_k for all k: sum_k (R e_k)(R e_k)' = R R' = D; with E z z' = I that is the covariance. */
static void CheckRoot(const TestLossKind *kind, PetscBool centred)
{
  const CkBatch all = CkBatchAll(N);
  double        z[N] = {0}, *rows, *expected, *got, c[256], tolerance = kind->exact ? 1e-12 : 1e-5;
  const double *x;
  TestLoss      t;
  CkDiffusion   D;
  PetscInt      d;
  Vec           out;

  SetTestOption("-loss_l2", "0.2");
  t = NewTestLoss(PETSC_COMM_WORLD, kind, N);
  OK(PetscOptionsClearValue(NULL, "-loss_l2"));
  OK(CkDiffusionCreate(t.loss, &D));
  OK(CkDiffusionSetCentred(D, centred));
  OK(CkLossGetDimension(t.loss, &d));
  OK(CkLossGetPointArray(t.loss, &x));
  assert_true(d <= 256);
  for (PetscInt i = 0; i < d; ++i) c[i] = 0.2 * x[i];
  rows = GetTestRows(t.loss, &all);
  expected = NewExplicitD(N, d, rows, centred, c);
  OK(PetscCalloc1((size_t)d * (size_t)d, &got));
  OK(CkLossCreateVec(t.loss, &out));
  for (int k = 0; k < N; ++k) {
    double *column;

    z[k] = 1;
    OK(CkDiffusionApplyRoot(D, z, out));
    z[k] = 0;
    column = GetTestEntries(out);
    for (PetscInt i = 0; i < d * d; ++i) got[i] += column[i / d] * column[i % d];
    OK(PetscFree(column));
  }
  assert_on_all_ranks(RelativeDifference((size_t)d * (size_t)d, got, expected) <= tolerance);
  OK(PetscFree(rows));
  OK(PetscFree(expected));
  OK(PetscFree(got));
  OK(VecDestroy(&out));
  OK(CkDiffusionDestroy(&D));
  FreeTestLoss(&t);
}

static void the_root_squares_to_D(void **state)
{
  (void)state;
  for (size_t i = 0; i < TEST_LOSSES; ++i) {
    CheckRoot(&test_losses[i], PETSC_TRUE);
    CheckRoot(&test_losses[i], PETSC_FALSE);
  }
}

/* A sample is the root applied to the numbers of its stream; another step or replica is another sample. */
static void samples_are_the_root_of_their_stream(void **state)
{
  const CkRandom stream = {.seed = 9, .purpose = CK_RANDOM_NOISE, .replica = 2, .step = 5};
  TestLoss       t = NewTestLoss(PETSC_COMM_WORLD, &test_losses[0], N);
  double         z[N], *a, *b, *other;
  CkDiffusion    D;
  Vec            x;

  (void)state;
  OK(CkDiffusionCreate(t.loss, &D));
  OK(CkLossCreateVec(t.loss, &x));
  CkRandomNormals(&stream, 0, N, z);
  OK(CkDiffusionSample(D, 9, 2, 5, x));
  a = GetTestEntries(x);
  OK(CkDiffusionApplyRoot(D, z, x));
  b = GetTestEntries(x);
  assert_on_all_ranks(!memcmp(a, b, 7 * sizeof(double)));
  for (int i = 0; i < 2; ++i) {
    OK(CkDiffusionSample(D, 9, i ? 2 : 3, i ? 6 : 5, x));
    other = GetTestEntries(x);
    assert_on_all_ranks(RelativeDifference(7, other, a) > 1e-2);
    OK(PetscFree(other));
  }
  OK(PetscFree(a));
  OK(PetscFree(b));
  OK(VecDestroy(&x));
  OK(CkDiffusionDestroy(&D));
  FreeTestLoss(&t);
}

/* S samples: the mean of (u.s)^2 is u'D u within 4 standard errors sqrt(2/S), that of u.s zero within 4/sqrt(S). */
static void CheckDirection(CkDiffusion D, CkLoss loss, uint64_t seed)
{
  enum { S = 2000 };
  Vec    u = NewTestVec(loss, seed), s, Du;
  double expected, mean = 0, square = 0;

  OK(VecDuplicate(u, &s));
  OK(VecDuplicate(u, &Du));
  OK(CkDiffusionApply(D, 1, &u, &Du));
  OK(VecDot(u, Du, &expected));
  for (PetscInt i = 0; i < S; ++i) {
    double along;

    OK(CkDiffusionSample(D, 1, 0, i, s));
    OK(VecDot(u, s, &along));
    mean += along / S;
    square += along * along / S;
  }
  assert_close(square, expected, 4 * sqrt(2. / S), expected);
  assert_close(mean, 0, 4 / sqrt(S), sqrt(expected));
  OK(VecDestroy(&u));
  OK(VecDestroy(&s));
  OK(VecDestroy(&Du));
}

static void samples_have_the_variance_of_D(void **state)
{
  TestLoss    t = NewTestLoss(PETSC_COMM_WORLD, &test_losses[0], N);
  CkDiffusion D;

  (void)state;
  OK(CkDiffusionCreate(t.loss, &D));
  for (uint64_t seed = 1; seed <= 3; ++seed) CheckDirection(D, t.loss, seed);
  OK(CkDiffusionDestroy(&D));
  FreeTestLoss(&t);
}

static const struct CMUnitTest tests[] = {
  cmocka_unit_test(the_root_squares_to_D),
  cmocka_unit_test(samples_are_the_root_of_their_stream),
  cmocka_unit_test(samples_have_the_variance_of_D),
};
CK_TEST_MAIN(tests, PetscInitialize, PetscFinalize)
