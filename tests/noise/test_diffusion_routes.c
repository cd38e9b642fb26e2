/* Every way to D gives the same matrix: explicit loops over rows are the oracle. For every type of loss, centred and
   not, with weight decay, in one or many groups of columns, ranges of weights and chunks of samples. */
#include "matrices.h"

/* More weights than a slice of the Gram assembly holds; more samples than a chunk of the dense one. */
static void BuildWide(CkLoss loss, PetscInt N)
{
  BuildWideLandscape(loss, N, 1100);
}

static const TestLossKind wide = {"wide", PETSC_TRUE, NULL, {0, 0, 0}, CK_HEAD_MSE, NULL, BuildWide};

typedef struct {
  TestLoss    t;
  CkDiffusion D;
  PetscInt    d, N;
  PetscBool   centred;
  double      tolerance;
  double     *rows;     /* [N x d] with l2 x added where not centred, less their mean where centred */
  double     *expected; /* [d x d] */
} Problem;

static Problem NewProblem(const TestLossKind *kind, PetscInt N, PetscBool centred)
{
  const CkBatch all = CkBatchAll(N);
  Problem       p = {.N = N, .centred = centred, .tolerance = kind->exact ? 1e-12 : 1e-5};
  const double *x;

  SetTestOption("-loss_l2", "0.2");
  SetTestOption("-noise_centred", centred ? "true" : "false");
  p.t = NewTestLoss(PETSC_COMM_WORLD, kind, N);
  OK(PetscOptionsClearValue(NULL, "-loss_l2"));
  OK(CkDiffusionCreate(p.t.loss, &p.D));
  OK(CkDiffusionSetFromOptions(p.D));
  OK(CkLossGetDimension(p.t.loss, &p.d));
  OK(CkLossGetPointArray(p.t.loss, &x));
  p.rows = GetTestRows(p.t.loss, &all);
  for (PetscInt i = 0; i < p.d; ++i) {
    double shift = centred ? 0 : 0.2 * x[i];

    for (PetscInt k = 0; centred && k < N; ++k) shift -= p.rows[k * p.d + i] / (double)N;
    for (PetscInt k = 0; k < N; ++k) p.rows[k * p.d + i] += shift;
  }
  p.expected = NewExplicitD(N, p.d, p.rows, PETSC_FALSE, NULL);
  return p;
}

static void FreeProblem(Problem *p)
{
  OK(PetscFree(p->rows));
  OK(PetscFree(p->expected));
  OK(CkDiffusionDestroy(&p->D));
  FreeTestLoss(&p->t);
}

static void CheckAssembled(const Problem *p)
{
  double *dense = NewDense(p->D), *gram = NewGram(p->D), *expected, before, after;

  assert_on_all_ranks(RelativeDifference((size_t)p->d * (size_t)p->d, dense, p->expected) <= p->tolerance);
  OK(PetscMalloc1(p->N * p->N, &expected));
  for (PetscInt i = 0; i < p->N * p->N; ++i) {
    const double *a = p->rows + i / p->N * p->d, *b = p->rows + i % p->N * p->d;

    expected[i] = 0;
    for (PetscInt j = 0; j < p->d; ++j) expected[i] += a[j] * b[j] / (double)p->N;
  }
  assert_on_all_ranks(RelativeDifference((size_t)p->N * (size_t)p->N, gram, expected) <= p->tolerance);
  OK(CkLossGetPasses(p->t.loss, &before));
  OK(PetscFree(dense));
  dense = NewDense(p->D);
  OK(CkLossGetPasses(p->t.loss, &after));
  assert_close(after - before, 1, 1e-12, before); /* sweeps over parts of the samples came before */
  OK(PetscFree(expected));
  OK(PetscFree(gram));
  OK(PetscFree(dense));
}

/* |D|_F^2, with the passes that were announced. */
static PetscInt CheckFrobenius(const Problem *p)
{
  CkAssemblyCost cost;
  PetscInt       panels;
  double         square, expected = 0, before, after;

  for (PetscInt i = 0; i < p->d * p->d; ++i) expected += p->expected[i] * p->expected[i];
  OK(CkDiffusionTrace(p->D, &square)); /* the norms */
  OK(CkDiffusionFrobeniusCost(p->D, &cost, &panels));
  OK(CkLossGetPasses(p->t.loss, &before));
  OK(CkDiffusionFrobenius(p->D, &square));
  OK(CkLossGetPasses(p->t.loss, &after));
  assert_close(square, expected, 2 * p->tolerance, expected);
  assert_close(after - before, cost.passes, 1e-12, after);
  return panels;
}

static void CheckVectors(const Problem *p)
{
  enum { m = 5 };
  Vec      V[m], Y[m], diagonal;
  double  *got, *v, *expected, trace, sum = 0, *traces, total = 0;
  PetscInt n;

  OK(PetscMalloc1(p->d, &expected));
  for (int j = 0; j < m; ++j) {
    V[j] = NewTestVec(p->t.loss, 90 + (uint64_t)j);
    OK(VecDuplicate(V[j], &Y[j]));
  }
  OK(CkDiffusionApply(p->D, m, V, Y));
  for (int j = 0; j < m; ++j) {
    v = GetTestEntries(V[j]);
    MultiplyFull(p->d, p->expected, v, expected);
    got = GetTestEntries(Y[j]);
    assert_on_all_ranks(RelativeDifference((size_t)p->d, got, expected) <= 5 * p->tolerance);
    OK(PetscFree(got));
    OK(PetscFree(v));
  }
  OK(VecDuplicate(V[0], &diagonal));
  OK(CkDiffusionDiagonal(p->D, diagonal));
  got = GetTestEntries(diagonal);
  for (PetscInt i = 0; i < p->d; ++i) {
    expected[i] = p->expected[i * p->d + i];
    sum += expected[i];
  }
  assert_on_all_ranks(RelativeDifference((size_t)p->d, got, expected) <= p->tolerance);
  OK(CkDiffusionTrace(p->D, &trace));
  assert_close(trace, sum, p->tolerance, sum);
  OK(CkDiffusionLayerTraces(p->D, &n, NULL));
  OK(PetscMalloc1(n, &traces));
  OK(CkDiffusionLayerTraces(p->D, &n, traces));
  for (PetscInt i = 0; i < n; ++i) total += traces[i];
  assert_close(total, sum, p->tolerance, sum);
  for (int j = 0; j < m; ++j) {
    OK(VecDestroy(&V[j]));
    OK(VecDestroy(&Y[j]));
  }
  OK(PetscFree(traces));
  OK(PetscFree(expected));
  OK(PetscFree(got));
  OK(VecDestroy(&diagonal));
}

/* The shell matrix: products with vectors and dense matrices, transposed too, and the diagonal. */
static void CheckMat(const Problem *p)
{
  enum { m = 3 };
  Mat      A, B, C, T;
  Vec      x = NewTestVec(p->t.loss, 95), y, z;
  PetscInt local, first, last;
  double  *got, *v, *expected;

  OK(PetscMalloc1(p->d, &expected));
  OK(CkDiffusionGetMat(p->D, &A));
  OK(VecDuplicate(x, &y));
  OK(VecDuplicate(x, &z));
  OK(MatMult(A, x, y));
  OK(MatMultTranspose(A, x, z));
  v = GetTestEntries(x);
  MultiplyFull(p->d, p->expected, v, expected);
  got = GetTestEntries(y);
  assert_on_all_ranks(RelativeDifference((size_t)p->d, got, expected) <= 5 * p->tolerance);
  OK(PetscFree(got));
  got = GetTestEntries(z);
  assert_on_all_ranks(RelativeDifference((size_t)p->d, got, expected) <= 5 * p->tolerance);
  OK(PetscFree(got));
  OK(MatGetDiagonal(A, y));
  OK(CkDiffusionDiagonal(p->D, z));
  OK(VecAXPY(y, -1, z));
  OK(VecNorm(y, NORM_INFINITY, expected));
  assert_on_all_ranks(expected[0] == 0);

  OK(VecGetLocalSize(x, &local));
  OK(VecGetOwnershipRange(x, &first, &last));
  OK(MatCreateDense(PETSC_COMM_WORLD, local, PETSC_DECIDE, p->d, m, NULL, &B));
  for (PetscInt i = first; i < last; ++i) {
    for (PetscInt j = 0; j < m; ++j) OK(MatSetValue(B, i, j, v[i] * (double)(j + 1), INSERT_VALUES));
  }
  OK(MatAssemblyBegin(B, MAT_FINAL_ASSEMBLY));
  OK(MatAssemblyEnd(B, MAT_FINAL_ASSEMBLY));
  OK(MatMatMult(A, B, MAT_INITIAL_MATRIX, PETSC_DEFAULT, &C));
  OK(MatTransposeMatMult(A, B, MAT_INITIAL_MATRIX, PETSC_DEFAULT, &T));
  MultiplyFull(p->d, p->expected, v, expected);
  for (PetscInt j = 0; j < m; ++j) {
    OK(MatGetColumnVector(C, y, j));
    OK(VecScale(y, 1 / (double)(j + 1)));
    got = GetTestEntries(y);
    assert_on_all_ranks(RelativeDifference((size_t)p->d, got, expected) <= 5 * p->tolerance);
    OK(PetscFree(got));
    OK(MatGetColumnVector(T, z, j));
    OK(VecAXPY(z, -(double)(j + 1), y));
    OK(VecNorm(z, NORM_INFINITY, expected + p->d - 1));
    assert_on_all_ranks(expected[p->d - 1] <= p->tolerance);
    MultiplyFull(p->d, p->expected, v, expected);
  }
  OK(MatDestroy(&A));
  OK(MatDestroy(&B));
  OK(MatDestroy(&C));
  OK(MatDestroy(&T));
  OK(VecDestroy(&x));
  OK(VecDestroy(&y));
  OK(VecDestroy(&z));
  OK(PetscFree(v));
  OK(PetscFree(expected));
}

/* Eigenvectors from the Gram matrix: D v = lambda v with |v| = 1. */
static void CheckGramVectors(const Problem *p)
{
  enum { m = 3 };
  CkBlockMatrix K, Z;
  double       *values, *U, *v, *Dv;
  Vec           V[m];
  PetscInt      count;

  OK(CkDiffusionGram(p->D, &K));
  OK(PetscMalloc3(p->N, &values, m * p->N, &U, p->d, &Dv));
  OK(CkBlockMatrixEigen(K, CK_SOLVER_SCALAPACK, values, &Z));
  count = PetscMin(m, PetscMin(p->d, p->N - 1));
  while (count > 1 && values[count - 1] < 1e-3 * values[0]) --count; /* the two-weight loss has rank 1 */
  OK(CkBlockMatrixGetColumns(Z, 0, count, U));
  for (PetscInt j = 0; j < count; ++j) OK(CkLossCreateVec(p->t.loss, &V[j]));
  OK(CkDiffusionGramVectors(p->D, count, U, values, V));
  for (PetscInt j = 0; j < count; ++j) {
    double square = 0, residual = 0;

    v = GetTestEntries(V[j]);
    MultiplyFull(p->d, p->expected, v, Dv);
    for (PetscInt i = 0; i < p->d; ++i) {
      square += v[i] * v[i];
      residual += (Dv[i] - values[j] * v[i]) * (Dv[i] - values[j] * v[i]);
    }
    assert_close(square, 1, p->tolerance, values[0] / values[j]);
    assert_close(sqrt(residual), 0, 10 * p->tolerance, values[0]);
    OK(PetscFree(v));
    OK(VecDestroy(&V[j]));
  }
  OK(PetscFree3(values, U, Dv));
  OK(CkBlockMatrixDestroy(&K));
  OK(CkBlockMatrixDestroy(&Z));
}

static void CheckAll(const TestLossKind *kind, PetscInt N, PetscBool centred)
{
  Problem p = NewProblem(kind, N, centred);

  CheckAssembled(&p);
  CheckFrobenius(&p);
  CheckVectors(&p);
  CheckMat(&p);
  if (N > 2) CheckGramVectors(&p);
  FreeProblem(&p);
}

static void the_covariance_by_all_routes(void **state)
{
  (void)state;
  for (size_t i = 0; i < TEST_LOSSES; ++i) {
    CheckAll(&test_losses[i], 2, PETSC_TRUE);
    CheckAll(&test_losses[i], 45, PETSC_TRUE);
  }
}

static void the_second_moment_by_all_routes(void **state)
{
  (void)state;
  for (size_t i = 0; i < TEST_LOSSES; ++i) CheckAll(&test_losses[i], 21, PETSC_FALSE);
}

/* Little memory: one column a group, several ranges of weights; the passes are counted. */
static void little_memory_means_more_passes(void **state)
{
  Problem        p;
  double         before, after;
  CkAssemblyCost cost;
  CkBlocks       blocks;

  (void)state;
  SetTestOption("-noise_memory", "1e-6");
  CheckAll(&test_losses[0], 45, PETSC_TRUE);
  CheckAll(&test_losses[5], 45, PETSC_FALSE);
  p = NewProblem(&wide, 30, PETSC_TRUE);
  CheckAssembled(&p);
  OK(CkLossGetBlocks(p.t.loss, p.N, &blocks));
  OK(CkDiffusionAssemblyCost(p.D, PETSC_TRUE, &cost));
  OK(CkLossGetPasses(p.t.loss, &before));
  OK(PetscFree(p.expected));
  p.expected = NewGram(p.D);
  OK(CkLossGetPasses(p.t.loss, &after));
  assert_close(after - before, cost.passes, 1e-12, before);
  assert_on_all_ranks(cost.passes == 5); /* ranges of 256 weights, 1100 weights */
  FreeProblem(&p);
  OK(PetscOptionsClearValue(NULL, "-noise_memory"));
}

/* Sum blocks of 8: 45 samples are 6 of them, 30 are 4, each a panel. */
static void the_norm_in_pieces(void **state)
{
  (void)state;
  SetTestOption("-noise_memory", "1e-6");
  for (size_t i = 0; i < TEST_LOSSES; ++i) {
    for (int centred = 0; centred < 2; ++centred) {
      Problem p = NewProblem(&test_losses[i], 45, (PetscBool)centred);

      assert_on_all_ranks(CheckFrobenius(&p) == 6);
      FreeProblem(&p);
    }
  }
  SetTestOption("-noise_gram_precision", "single");
  for (int centred = 0; centred < 2; ++centred) {
    Problem p = NewProblem(&wide, 30, (PetscBool)centred);

    p.tolerance = 1e-6; /* (G.8), some way above what is seen */
    assert_on_all_ranks(CheckFrobenius(&p) == 4);
    FreeProblem(&p);
  }
  OK(PetscOptionsClearValue(NULL, "-noise_gram_precision"));
  OK(PetscOptionsClearValue(NULL, "-noise_memory"));
}

static void many_samples_and_many_weights(void **state)
{
  Problem p;

  (void)state;
  SetTestOption("-noise_columns", "2");
  p = NewProblem(&wide, 30, PETSC_FALSE);
  CheckAssembled(&p);
  CheckVectors(&p);
  FreeProblem(&p);
  p = NewProblem(&test_losses[1], 1200, PETSC_TRUE);
  CheckAssembled(&p);
  CheckVectors(&p);
  FreeProblem(&p);
  OK(PetscOptionsClearValue(NULL, "-noise_columns"));
}

/* Traces of tensors are sums of the diagonal over their places in the table. */
static void layer_traces_follow_the_table(void **state)
{
  Problem            p;
  const CkParameter *table;
  PetscInt           n, count, at = 0;
  double             traces[32];

  (void)state;
  p = NewProblem(&test_losses[4], 45, PETSC_TRUE);
  OK(CkDiffusionLayerTraces(p.D, &count, traces));
  OK(CkNetGetParameters(p.t.net, &n, &table));
  for (PetscInt t = 0; t < n; ++t) {
    double sum = 0;

    if (!table[t].trainable) continue;
    for (PetscInt i = table[t].offset; i < table[t].offset + table[t].size; ++i) sum += p.expected[i * p.d + i];
    assert_close(traces[at], sum, 1e-12, sum);
    ++at;
  }
  assert_on_all_ranks(at == count);
  FreeProblem(&p);
}

/* Decision 6: weight decay cancels in D, to the last bit. */
static void weight_decay_cancels(void **state)
{
  (void)state;
  for (size_t i = 0; i < TEST_LOSSES; ++i) {
    double  *D[2];
    Vec      V[2], Y[2];
    PetscInt d;

    for (int decay = 0; decay < 2; ++decay) {
      TestLoss    t;
      CkDiffusion diffusion;

      if (decay) SetTestOption("-loss_l2", "0.7");
      t = NewTestLoss(PETSC_COMM_WORLD, &test_losses[i], 20);
      OK(PetscOptionsClearValue(NULL, "-loss_l2"));
      OK(CkDiffusionCreate(t.loss, &diffusion));
      V[decay] = NewTestVec(t.loss, 3);
      OK(VecDuplicate(V[decay], &Y[decay]));
      OK(CkDiffusionApply(diffusion, 1, &V[decay], &Y[decay]));
      D[decay] = GetTestEntries(Y[decay]);
      OK(CkDiffusionDestroy(&diffusion));
      FreeTestLoss(&t);
    }
    OK(VecGetSize(V[0], &d));
    assert_on_all_ranks(!memcmp(D[0], D[1], (size_t)d * sizeof(double)));
    for (int decay = 0; decay < 2; ++decay) {
      OK(VecDestroy(&V[decay]));
      OK(VecDestroy(&Y[decay]));
      OK(PetscFree(D[decay]));
    }
  }
}

static const struct CMUnitTest tests[] = {
  cmocka_unit_test(the_covariance_by_all_routes),
  cmocka_unit_test(the_second_moment_by_all_routes),
  cmocka_unit_test(little_memory_means_more_passes),
  cmocka_unit_test(many_samples_and_many_weights),
  cmocka_unit_test(layer_traces_follow_the_table),
  cmocka_unit_test(weight_decay_cancels),
  cmocka_unit_test(the_norm_in_pieces),
};
CK_TEST_MAIN(tests, PetscInitialize, PetscFinalize)
