/* The same bits on any number of ranks: everything about D is compared with a serial twin on PETSC_COMM_SELF. */
#include "matrices.h"

enum { N = 83, m = 5 };

static void assert_same(const char what[], size_t n, const double a[], const double b[])
{
  for (size_t i = 0; i < n; ++i)
    if (a[i] != b[i]) {
      fprintf(stderr, "%s: entry %zu of %zu is %.17g on all ranks together, %.17g on one\n", what, i, n, a[i], b[i]);
      break;
    }
  assert_on_all_ranks(!memcmp(a, b, n * sizeof(double)));
}

static void assert_same_vec(const char what[], Vec parallel, Vec serial)
{
  double  *a = GetTestEntries(parallel);
  double  *b = GetTestEntries(serial);
  PetscInt n;

  OK(VecGetSize(serial, &n));
  assert_same(what, (size_t)n, a, b);
  OK(PetscFree(a));
  OK(PetscFree(b));
}

static void CheckProducts(CkLoss loss[2], CkDiffusion D[2])
{
  const char *const names[m] = {"product", "sample", "root", "diagonal", "mean"};
  Vec               V[2][m], Y[2][m];
  double            z[N];

  for (int j = 0; j < m; ++j) {
    for (int i = 0; i < 2; ++i) {
      V[i][j] = NewTestVec(loss[i], 60 + (uint64_t)j);
      OK(VecDuplicate(V[i][j], &Y[i][j]));
    }
  }
  for (int k = 0; k < N; ++k) z[k] = sin(k);
  for (int i = 0; i < 2; ++i) OK(CkDiffusionApply(D[i], m, V[i], Y[i]));
  for (int j = 0; j < m; ++j) assert_same_vec("block product", Y[0][j], Y[1][j]);
  for (int i = 0; i < 2; ++i) OK(CkDiffusionApply(D[i], 1, V[i], Y[i]));
  for (int i = 0; i < 2; ++i) OK(CkDiffusionSample(D[i], 7, 1, 3, Y[i][1]));
  for (int i = 0; i < 2; ++i) OK(CkDiffusionApplyRoot(D[i], z, Y[i][2]));
  for (int i = 0; i < 2; ++i) OK(CkDiffusionDiagonal(D[i], Y[i][3]));
  for (int i = 0; i < 2; ++i) OK(CkDiffusionMean(D[i], Y[i][4]));
  for (int j = 0; j < m; ++j) {
    assert_same_vec(names[j], Y[0][j], Y[1][j]);
    for (int i = 0; i < 2; ++i) {
      OK(VecDestroy(&V[i][j]));
      OK(VecDestroy(&Y[i][j]));
    }
  }
}

static void CheckNumbers(CkDiffusion D[2])
{
  double   trace[2], square[2], traces[2][32];
  PetscInt n[2];

  for (int i = 0; i < 2; ++i) {
    OK(CkDiffusionTrace(D[i], &trace[i]));
    OK(CkDiffusionFrobenius(D[i], &square[i]));
    OK(CkDiffusionLayerTraces(D[i], &n[i], traces[i]));
  }
  assert_on_all_ranks(trace[0] == trace[1] && square[0] == square[1] && n[0] == n[1]);
  assert_same("layer traces", (size_t)n[0], traces[0], traces[1]);
}

static void CheckMatrices(CkLoss loss, CkDiffusion D[2])
{
  double  *dense[2], *gram[2];
  PetscInt d;

  OK(CkLossGetDimension(loss, &d));
  for (int i = 0; i < 2; ++i) {
    dense[i] = NewDense(D[i]);
    gram[i] = NewGram(D[i]);
  }
  assert_same("dense matrix", (size_t)d * (size_t)d, dense[0], dense[1]);
  assert_same("Gram matrix", N * N, gram[0], gram[1]);
  for (int i = 0; i < 2; ++i) {
    OK(PetscFree(dense[i]));
    OK(PetscFree(gram[i]));
  }
}

static void CheckKind(const TestLossKind *kind)
{
  TestLoss    t[2] = {NewTestLoss(PETSC_COMM_WORLD, kind, N), NewTestLoss(PETSC_COMM_SELF, kind, N)};
  CkLoss      loss[2] = {t[0].loss, t[1].loss};
  CkDiffusion D[2];

  for (int i = 0; i < 2; ++i) {
    OK(CkDiffusionCreate(loss[i], &D[i]));
    OK(CkDiffusionSetFromOptions(D[i]));
  }
  CheckProducts(loss, D);
  CheckNumbers(D);
  CheckMatrices(loss[0], D);
  for (int i = 0; i < 2; ++i) {
    OK(CkDiffusionDestroy(&D[i]));
    FreeTestLoss(&t[i]);
  }
}

static void the_covariance_has_the_same_bits(void **state)
{
  (void)state;
  for (size_t i = 0; i < TEST_LOSSES; ++i) CheckKind(&test_losses[i]);
}

static void deep_nets_have_the_same_bits(void **state)
{
  (void)state;
  for (size_t i = 0; i < TEST_DEEP_LOSSES; ++i) CheckKind(&test_deep_losses[i]);
}

/* More weights than fit one block of the distributed matrix on any grid, and no multiple of one. */
static void BuildWide(CkLoss loss, PetscInt samples)
{
  BuildWideLandscape(loss, samples, 701);
}

static void a_large_matrix_has_the_same_bits(void **state)
{
  const TestLossKind wide = {"wide", PETSC_TRUE, NULL, {0, 0, 0}, CK_HEAD_MSE, NULL, BuildWide};

  (void)state;
  CheckKind(&wide);
}

/* The same with products in single precision, several ranges of weights each. */
static void single_products_have_the_same_bits(void **state)
{
  const TestLossKind wide = {"wide", PETSC_TRUE, NULL, {0, 0, 0}, CK_HEAD_MSE, NULL, BuildWide};

  (void)state;
  SetTestOption("-noise_gram_precision", "single");
  SetTestOption("-noise_memory", "1e-6");
  CheckKind(&wide);
  CheckKind(&test_losses[TEST_LOSSES - 1]);
  CheckKind(&test_deep_losses[TEST_DEEP_LOSSES - 1]);
  OK(PetscOptionsClearValue(NULL, "-noise_gram_precision"));
  OK(PetscOptionsClearValue(NULL, "-noise_memory"));
}

/* |D|_F^2 by the whole Gram matrix and by pieces of it. */
static void pieces_of_the_norm_have_the_same_bits(void **state)
{
  static const char *const memory[] = {"2", "3e-5", "1e-6"};
  const TestLossKind       wide = {"wide", PETSC_TRUE, NULL, {0, 0, 0}, CK_HEAD_MSE, NULL, BuildWide};
  const TestLossKind      *kinds[] = {&wide, &test_losses[TEST_LOSSES - 1], &test_losses[TEST_LOSSES - 2]};

  (void)state;
  for (int k = 0; k < 3; ++k) {
    double   square[3];
    PetscInt panels = 0;

    for (int i = 0; i < 3; ++i) {
      TestLoss       t;
      CkDiffusion    D;
      CkAssemblyCost cost;
      PetscInt       pieces;

      SetTestOption("-noise_memory", memory[i]);
      t = NewTestLoss(PETSC_COMM_WORLD, kinds[k], N);
      OK(CkDiffusionCreate(t.loss, &D));
      OK(CkDiffusionSetFromOptions(D));
      OK(CkDiffusionFrobeniusCost(D, &cost, &pieces));
      assert_on_all_ranks(pieces > panels);
      panels = pieces;
      OK(CkDiffusionFrobenius(D, &square[i]));
      OK(CkDiffusionDestroy(&D));
      FreeTestLoss(&t);
    }
    assert_on_all_ranks(square[0] > 0 && square[1] == square[0] && square[2] == square[0]);
  }
  OK(PetscOptionsClearValue(NULL, "-noise_memory"));
}

/* Second moment with weight decay; little memory, so that groups and ranges differ from rank count to rank count. */
static void the_second_moment_has_the_same_bits(void **state)
{
  (void)state;
  SetTestOption("-noise_centred", "false");
  SetTestOption("-loss_l2", "0.3");
  SetTestOption("-noise_memory", "1e-6");
  for (size_t i = 0; i < TEST_LOSSES; ++i) CheckKind(&test_losses[i]);
  OK(PetscOptionsClearValue(NULL, "-noise_centred"));
  OK(PetscOptionsClearValue(NULL, "-loss_l2"));
  OK(PetscOptionsClearValue(NULL, "-noise_memory"));
}

static const struct CMUnitTest tests[] = {
  cmocka_unit_test(a_large_matrix_has_the_same_bits),    cmocka_unit_test(the_covariance_has_the_same_bits),
  cmocka_unit_test(deep_nets_have_the_same_bits),        cmocka_unit_test(single_products_have_the_same_bits),
  cmocka_unit_test(the_second_moment_has_the_same_bits), cmocka_unit_test(pieces_of_the_norm_have_the_same_bits),
};
CK_TEST_MAIN(tests, PetscInitialize, PetscFinalize)
