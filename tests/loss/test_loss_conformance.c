/* One suite for every type of loss: what include/clarkia/loss.h promises, whatever the type. */
#include "losses.h"

/* Sums in float32 kernels: 1e-5 normwise; float64 ones keep 1e-12. */
static double Tolerance(const TestLossKind *kind)
{
  return kind->exact ? 1e-12 : 1e-5;
}

/* Fewer samples than ranks, one short sum block, several of them. */
static const PetscInt counts[] = {2, 7, 45};

#define COUNTS (sizeof(counts) / sizeof(counts[0]))

static void ForEach(void (*check)(const TestLossKind *, PetscInt))
{
  for (size_t i = 0; i < TEST_LOSSES; ++i) {
    for (size_t j = 0; j < COUNTS; ++j) check(&test_losses[i], counts[j]);
  }
}

/* Repeats and any order: values and slopes of a batch are those of its samples, in batch order. */
static void CheckBatchOrder(const TestLossKind *kind, PetscInt N)
{
  TestLoss t = NewTestLoss(PETSC_COMM_WORLD, kind, N);
  Vec      V[2] = {NewTestVec(t.loss, 51), NewTestVec(t.loss, 52)};
  PetscInt index[30];
  double   f[45], S[90], fb[30], Sb[60], expected[90];
  CkBatch  all = CkBatchAll(N), batch;

  for (PetscInt i = 0; i < 30; ++i) index[i] = (5 * i * i + 3) % N;
  batch = CkBatchAll(30);
  batch.index = index;
  OK(CkLossValues(t.loss, &all, f, NULL));
  OK(CkLossValues(t.loss, &batch, fb, NULL));
  OK(CkLossSlopes(t.loss, &all, 2, V, S));
  OK(CkLossSlopes(t.loss, &batch, 2, V, Sb));
  for (PetscInt i = 0; i < 30; ++i) {
    expected[i] = f[index[i]];
    for (int j = 0; j < 2; ++j) expected[30 + 2 * i + j] = S[2 * index[i] + j];
  }
  assert_on_all_ranks(RelativeDifference(30, fb, expected) <= Tolerance(kind));
  assert_on_all_ranks(RelativeDifference(60, Sb, expected + 30) <= Tolerance(kind));
  OK(VecDestroy(&V[0]));
  OK(VecDestroy(&V[1]));
  FreeTestLoss(&t);
}

static void batches_come_back_in_order(void **state)
{
  (void)state;
  ForEach(CheckBatchOrder);
}

/* Every contraction is what explicit rows say. */
static void CheckContractions(const TestLossKind *kind, PetscInt N)
{
  enum { m = 3 };
  const double  tol = Tolerance(kind);
  const CkBatch all = CkBatchAll(N);
  TestLoss      t = NewTestLoss(PETSC_COMM_WORLD, kind, N);
  double       *rows = GetTestRows(t.loss, &all), *W = NewNormals(61, (size_t)N * m), *S, *expected, *got, *v;
  const double *norms, *mean;
  double        largest = 0, original, folded, slopes[45 * m], squares[45];
  PetscInt      d;
  Vec           V[m], out[m];

  OK(CkLossGetDimension(t.loss, &d));
  OK(PetscMalloc2((size_t)N * m, &S, d, &expected));
  for (int j = 0; j < m; ++j) V[j] = NewTestVec(t.loss, 53 + (uint64_t)j);
  for (int j = 0; j < m; ++j) OK(VecDuplicate(V[j], &out[j]));

  OK(CkLossSlopes(t.loss, &all, m, V, S));
  OK(CkLossSquaredNorms(t.loss, &norms));
  OK(CkLossGradientBounds(t.loss, &original, &folded));
  for (int j = 0; j < m; ++j) {
    v = GetTestEntries(V[j]);
    for (PetscInt k = 0; k < N; ++k) {
      slopes[k * m + j] = squares[k] = 0;
      for (PetscInt i = 0; i < d; ++i) {
        slopes[k * m + j] += rows[k * d + i] * v[i];
        squares[k] += rows[k * d + i] * rows[k * d + i];
      }
      largest = fmax(largest, norms[k]);
    }
    OK(PetscFree(v));
  }
  assert_on_all_ranks(RelativeDifference((size_t)N * m, S, slopes) <= tol);
  assert_on_all_ranks(RelativeDifference((size_t)N, norms, squares) <= tol);
  assert_on_all_ranks(original == sqrt(largest) && folded > 0);

  OK(CkLossGradientBlock(t.loss, &all, m, W, out));
  for (int j = 0; j < m; ++j) {
    for (PetscInt i = 0; i < d; ++i) {
      expected[i] = 0;
      for (PetscInt k = 0; k < N; ++k) expected[i] += W[k * m + j] * rows[k * d + i];
    }
    got = GetTestEntries(out[j]);
    assert_on_all_ranks(RelativeDifference((size_t)d, got, expected) <= 3 * tol);
    OK(PetscFree(got));
  }

  OK(CkLossMeanGradient(t.loss, &mean));
  OK(CkLossGradient(t.loss, &all, NULL, out[0], NULL, NULL));
  got = GetTestEntries(out[0]);
  for (PetscInt i = 0; i < d; ++i) {
    expected[i] = 0;
    for (PetscInt k = 0; k < N; ++k) expected[i] += rows[k * d + i] / (double)N;
  }
  assert_on_all_ranks(RelativeDifference((size_t)d, got, expected) <= 3 * tol);
  assert_on_all_ranks(!memcmp(got, mean, (size_t)d * sizeof(double)));
  OK(PetscFree(got));
  for (int j = 0; j < m; ++j) {
    OK(VecDestroy(&V[j]));
    OK(VecDestroy(&out[j]));
  }
  OK(PetscFree2(S, expected));
  OK(PetscFree(rows));
  OK(PetscFree(W));
  FreeTestLoss(&t);
}

static void contractions_agree_with_rows(void **state)
{
  (void)state;
  ForEach(CheckContractions);
}

/* Slopes are derivatives of values: fourth-order central differences, whose error is far below 1e-7 for smooth f_k in
   double. */
static void CheckDifferences(const TestLossKind *kind, PetscInt N)
{
  const double  h = 1e-3, step[4] = {-2, -1, 1, 2}, weight[4] = {1, -8, 8, -1};
  const CkBatch all = CkBatchAll(N);
  TestLoss      t;
  double       *f, *S, *quotient;
  Vec           x, v, moved;

  if (!kind->exact) return; /* a float32 loss has too few digits; engines are compared with each other elsewhere */
  t = NewTestLoss(PETSC_COMM_WORLD, kind, N);
  OK(CkLossCreateVec(t.loss, &x));
  OK(CkLossGetPoint(t.loss, x));
  OK(VecDuplicate(x, &moved));
  v = NewTestVec(t.loss, 57);
  OK(VecNormalize(v, NULL));
  OK(PetscMalloc3(N, &f, N, &S, N, &quotient));
  OK(CkLossSlopes(t.loss, &all, 1, &v, S));
  OK(PetscArrayzero(quotient, N));
  for (int i = 0; i < 4; ++i) {
    OK(VecWAXPY(moved, step[i] * h, v, x));
    OK(CkLossSetPoint(t.loss, moved));
    OK(CkLossValues(t.loss, &all, f, NULL));
    for (PetscInt k = 0; k < N; ++k) quotient[k] += weight[i] * f[k] / (12 * h);
  }
  assert_on_all_ranks(RelativeDifference((size_t)N, quotient, S) <= 1e-7);
  OK(PetscFree3(f, S, quotient));
  OK(VecDestroy(&x));
  OK(VecDestroy(&v));
  OK(VecDestroy(&moved));
  FreeTestLoss(&t);
}

static void slopes_are_derivatives(void **state)
{
  (void)state;
  ForEach(CheckDifferences);
}

/* Decision 6: (l2/2)|x|^2 in values and gradients, nowhere else. */
static void CheckWeightDecay(const TestLossKind *kind, PetscInt N)
{
  const CkBatch all = CkBatchAll(N);
  TestLoss      t = NewTestLoss(PETSC_COMM_WORLD, kind, N), decayed;
  double       *f, *fd, *S, *Sd, *w, *x, *g, *gd, mean, mean_decayed, square = 0, total = 0;
  PetscInt      d;
  Vec           point, v, out;

  SetTestOption("-loss_l2", "0.125");
  decayed = NewTestLoss(PETSC_COMM_WORLD, kind, N);
  OK(PetscOptionsClearValue(NULL, "-loss_l2"));
  OK(CkLossGetDimension(t.loss, &d));
  OK(PetscMalloc4(N, &f, N, &fd, N, &S, N, &Sd));
  w = NewNormals(58, (size_t)N);
  v = NewTestVec(t.loss, 57);
  OK(VecDuplicate(v, &out));
  OK(VecDuplicate(v, &point));
  OK(CkLossGetPoint(t.loss, point));
  x = GetTestEntries(point);
  for (PetscInt i = 0; i < d; ++i) square += x[i] * x[i];
  for (PetscInt k = 0; k < N; ++k) total += w[k];

  OK(CkLossValues(t.loss, &all, f, NULL));
  OK(CkLossValues(decayed.loss, &all, fd, NULL));
  OK(CkLossSlopes(t.loss, &all, 1, &v, S));
  OK(CkLossSlopes(decayed.loss, &all, 1, &v, Sd));
  for (PetscInt k = 0; k < N; ++k) f[k] += 0.0625 * square;
  assert_on_all_ranks(RelativeDifference((size_t)N, fd, f) <= 1e-14);
  assert_on_all_ranks(!memcmp(S, Sd, (size_t)N * sizeof(double)));
  OK(CkLossGradient(t.loss, &all, w, out, &mean, NULL));
  g = GetTestEntries(out);
  OK(CkLossGradient(decayed.loss, &all, w, out, &mean_decayed, NULL));
  gd = GetTestEntries(out);
  assert_close(mean_decayed, mean + 0.0625 * square, 1e-14, mean_decayed + 1);
  for (PetscInt i = 0; i < d; ++i) g[i] += 0.125 * total * x[i];
  assert_on_all_ranks(RelativeDifference((size_t)d, gd, g) <= 1e-13);
  OK(PetscFree4(f, fd, S, Sd));
  OK(PetscFree(w));
  OK(PetscFree(x));
  OK(PetscFree(g));
  OK(PetscFree(gd));
  OK(VecDestroy(&v));
  OK(VecDestroy(&out));
  OK(VecDestroy(&point));
  FreeTestLoss(&decayed);
  FreeTestLoss(&t);
}

static void weight_decay_is_in_values_and_gradients(void **state)
{
  (void)state;
  ForEach(CheckWeightDecay);
}

/* A sweep visits each position once, in rounds that are the same everywhere. */
static void CheckRounds(const TestLossKind *kind, PetscInt N)
{
  const CkBatch all = CkBatchAll(N);
  TestLoss      t = NewTestLoss(PETSC_COMM_WORLD, kind, N);
  int           visits[45] = {0}, once = 1;
  double        f[45], before, after;
  PetscInt      rounds = 0;
  CkBlocks      blocks;
  CkPass        pass;
  CkTile        tile;

  OK(CkLossValues(t.loss, &all, f, NULL));
  OK(CkLossGetPasses(t.loss, &before));
  assert_close(before, 1. / 3, 1e-15, 1);
  OK(CkPassBegin(t.loss, &all, &pass));
  OK(CkPassGetBlocks(pass, &blocks));
  while (1) {
    int round[2], same = 1;

    OK(CkPassNext(pass, &tile));
    round[0] = (int)tile.round;
    round[1] = -round[0];
    MPI_Allreduce(MPI_IN_PLACE, round, 2, MPI_INT, MPI_MAX, PETSC_COMM_WORLD);
    assert_on_all_ranks(round[0] == -round[1] && tile.n <= blocks.tile);
    if (!tile.more) break;
    ++rounds;
    for (PetscInt k = 0; k < tile.n; ++k) {
      ++visits[tile.first + k];
      same &= fabs(tile.values[k] - f[tile.first + k]) <= Tolerance(kind) * (1 + fabs(f[tile.first + k]));
    }
    assert_on_all_ranks(same);
  }
  OK(CkPassEnd(&pass));
  OK(CkLossGetPasses(t.loss, &after));
  assert_close(after - before, 1, 1e-15, 1);
  assert_on_all_ranks(rounds == CkBlocksRounds(&blocks));
  MPI_Allreduce(MPI_IN_PLACE, visits, 45, MPI_INT, MPI_SUM, PETSC_COMM_WORLD);
  for (PetscInt p = 0; p < 45; ++p) once &= visits[p] == (p < N);
  assert_on_all_ranks(once);
  FreeTestLoss(&t);
}

static void passes_visit_each_position_once(void **state)
{
  (void)state;
  ForEach(CheckRounds);
}

/* The plain sums of -loss_reproducible false are the same numbers, in other bits. */
static void CheckPlainSums(const TestLossKind *kind, PetscInt N)
{
  const CkBatch all = CkBatchAll(N);
  TestLoss      t = NewTestLoss(PETSC_COMM_WORLD, kind, N), plain;
  double       *W = NewNormals(62, (size_t)N * 2), *a, *b;
  Vec           out[2];
  PetscInt      d;

  SetTestOption("-loss_reproducible", "false");
  plain = NewTestLoss(PETSC_COMM_WORLD, kind, N);
  OK(PetscOptionsClearValue(NULL, "-loss_reproducible"));
  OK(CkLossGetDimension(t.loss, &d));
  for (int j = 0; j < 2; ++j) OK(CkLossCreateVec(t.loss, &out[j]));
  OK(CkLossGradientBlock(t.loss, &all, 2, W, out));
  a = GetTestEntries(out[1]);
  OK(CkLossGradientBlock(plain.loss, &all, 2, W, out));
  b = GetTestEntries(out[1]);
  assert_on_all_ranks(RelativeDifference((size_t)d, b, a) <= Tolerance(kind));
  OK(PetscFree(a));
  OK(PetscFree(b));
  OK(PetscFree(W));
  for (int j = 0; j < 2; ++j) OK(VecDestroy(&out[j]));
  FreeTestLoss(&plain);
  FreeTestLoss(&t);
}

static void plain_sums_agree(void **state)
{
  (void)state;
  ForEach(CheckPlainSums);
}

static const struct CMUnitTest tests[] = {
  cmocka_unit_test(batches_come_back_in_order),      cmocka_unit_test(contractions_agree_with_rows),
  cmocka_unit_test(slopes_are_derivatives),          cmocka_unit_test(weight_decay_is_in_values_and_gradients),
  cmocka_unit_test(passes_visit_each_position_once), cmocka_unit_test(plain_sums_agree),
};
CK_TEST_MAIN(tests, PetscInitialize, PetscFinalize)
