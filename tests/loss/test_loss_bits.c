/* The same bits on any number of ranks: everything is compared with a serial twin on PETSC_COMM_SELF (decision 2). */
#include "losses.h"
#include <clarkia/nodearray.h>

enum { N = 83, m = 3 };

static void assert_same_vec(Vec parallel, Vec serial)
{
  double  *a = GetTestEntries(parallel);
  double  *b = GetTestEntries(serial);
  PetscInt n;

  OK(VecGetSize(serial, &n));
  assert_on_all_ranks(!memcmp(a, b, (size_t)n * sizeof(double)));
  OK(PetscFree(a));
  OK(PetscFree(b));
}

static void CheckGradients(TestLoss *t, TestLoss *s, const CkBatch *batch)
{
  double *w = NewNormals(71, (size_t)batch->n), *W = NewNormals(72, (size_t)batch->n * m), *f, *fs, mean[2];
  Vec     out[m], outs[m];

  OK(PetscMalloc2(batch->n, &f, batch->n, &fs));
  for (int j = 0; j < m; ++j) {
    OK(CkLossCreateVec(t->loss, &out[j]));
    OK(CkLossCreateVec(s->loss, &outs[j]));
  }
  OK(CkLossValues(t->loss, batch, f, NULL));
  OK(CkLossValues(s->loss, batch, fs, NULL));
  assert_on_all_ranks(!memcmp(f, fs, (size_t)batch->n * sizeof(double)));
  OK(CkLossGradient(t->loss, batch, NULL, out[0], &mean[0], NULL));
  OK(CkLossGradient(s->loss, batch, NULL, outs[0], &mean[1], NULL));
  assert_same_vec(out[0], outs[0]);
  assert_on_all_ranks(mean[0] == mean[1]);
  OK(CkLossGradient(t->loss, batch, w, out[1], NULL, NULL));
  OK(CkLossGradient(s->loss, batch, w, outs[1], NULL, NULL));
  assert_same_vec(out[1], outs[1]);
  OK(CkLossGradientBlock(t->loss, batch, m, W, out));
  OK(CkLossGradientBlock(s->loss, batch, m, W, outs));
  for (int j = 0; j < m; ++j) {
    assert_same_vec(out[j], outs[j]);
    OK(VecDestroy(&out[j]));
    OK(VecDestroy(&outs[j]));
  }
  OK(PetscFree2(f, fs));
  OK(PetscFree(w));
  OK(PetscFree(W));
}

static void CheckSlopesAndNorms(TestLoss *t, TestLoss *s, const CkBatch *batch)
{
  double       *S, *Ss, dot[2];
  const double *norms, *serial;
  Vec           V[m], Vs[m];

  OK(PetscMalloc2(batch->n * m, &S, batch->n * m, &Ss));
  for (int j = 0; j < m; ++j) {
    V[j] = NewTestVec(t->loss, 80 + (uint64_t)j);
    Vs[j] = NewTestVec(s->loss, 80 + (uint64_t)j);
  }
  OK(CkLossSlopes(t->loss, batch, m, V, S));
  OK(CkLossSlopes(s->loss, batch, m, Vs, Ss));
  assert_on_all_ranks(!memcmp(S, Ss, (size_t)batch->n * m * sizeof(double)));
  OK(CkLossDot(t->loss, V[0], V[1], &dot[0]));
  OK(CkLossDot(s->loss, Vs[0], Vs[1], &dot[1]));
  assert_on_all_ranks(dot[0] == dot[1]);
  OK(CkLossSquaredNorms(t->loss, &norms));
  OK(CkLossSquaredNorms(s->loss, &serial));
  assert_on_all_ranks(!memcmp(norms, serial, N * sizeof(double)));
  OK(CkLossFoldedNorms(t->loss, &norms));
  OK(CkLossFoldedNorms(s->loss, &serial));
  assert_on_all_ranks(!memcmp(norms, serial, N * sizeof(double)));
  for (int j = 0; j < m; ++j) {
    OK(VecDestroy(&V[j]));
    OK(VecDestroy(&Vs[j]));
  }
  OK(PetscFree2(S, Ss));
}

static void CheckKind(const TestLossKind *kind)
{
  PetscInt      index[50];
  const CkBatch all = CkBatchAll(N);
  CkBatch       some = CkBatchAll(50);
  TestLoss      t = NewTestLoss(PETSC_COMM_WORLD, kind, N), s = NewTestLoss(PETSC_COMM_SELF, kind, N);

  for (PetscInt i = 0; i < 50; ++i) index[i] = (7 * i * i + 1) % N;
  some.index = index;
  CheckGradients(&t, &s, &all);
  CheckGradients(&t, &s, &some);
  CheckSlopesAndNorms(&t, &s, &all);
  FreeTestLoss(&s);
  FreeTestLoss(&t);
}

static void any_number_of_ranks_gives_the_same_bits(void **state)
{
  (void)state;
  SetTestOption("-loss_l2", "0.01");
  for (size_t i = 0; i < TEST_LOSSES; ++i) CheckKind(&test_losses[i]);
  for (size_t i = 0; i < TEST_DEEP_LOSSES; ++i) CheckKind(&test_deep_losses[i]);
  OK(PetscOptionsClearValue(NULL, "-loss_l2"));
}

/* In training mode the samples of all ranks are coupled by batch norm, with and without ghost groups. */
static void CheckTraining(const TestLossKind *kind, PetscInt group)
{
  TestLoss      t = NewTestLoss(PETSC_COMM_WORLD, kind, N), s = NewTestLoss(PETSC_COMM_SELF, kind, N);
  CkBatch       batch = CkBatchAll(37);
  Vec           g, gs;
  double        mean[2], f[37], fs[37];
  PetscInt      correct[2], buffers;
  const double *a, *b;

  batch.mode = CK_TRAINING;
  batch.epoch = 2;
  batch.step = 9;
  OK(CkLossCreateVec(t.loss, &g));
  OK(CkLossCreateVec(s.loss, &gs));
  OK(CkLossSetBatchNormGroup(t.loss, group));
  OK(CkLossSetBatchNormGroup(s.loss, group));
  OK(CkLossGradient(t.loss, &batch, NULL, g, &mean[0], &correct[0]));
  OK(CkLossGradient(s.loss, &batch, NULL, gs, &mean[1], &correct[1]));
  assert_same_vec(g, gs);
  assert_on_all_ranks(mean[0] == mean[1] && correct[0] == correct[1]);
  if (t.net) {
    OK(CkNetGetBuffers(t.net, &buffers));
    OK(CkLossGetBatchStatistics(t.loss, &a));
    OK(CkLossGetBatchStatistics(s.loss, &b));
    assert_on_all_ranks(buffers == 0 || !memcmp(a, b, (size_t)buffers * sizeof(double)));
  }
  OK(CkLossValues(t.loss, &batch, f, NULL));
  OK(CkLossValues(s.loss, &batch, fs, NULL));
  assert_on_all_ranks(!memcmp(f, fs, sizeof(f)));
  OK(VecDestroy(&g));
  OK(VecDestroy(&gs));
  FreeTestLoss(&s);
  FreeTestLoss(&t);
}

static void training_mode_gives_the_same_bits(void **state)
{
  (void)state;
  for (size_t i = 0; i < TEST_LOSSES; ++i) {
    CheckTraining(&test_losses[i], 0);
    CheckTraining(&test_losses[i], 5);
  }
  for (size_t i = 0; i < TEST_DEEP_LOSSES; ++i) CheckTraining(&test_deep_losses[i], 0);
}

/* Pretended nodes: neighbours, and ranks dealt out one by one, which are not contiguous in a vector. */
static int pairs(int rank)
{
  return rank / 2;
}

static int dealt(int rank)
{
  return rank % 2;
}

/* Weights and columns in shared memory (as above), private on each rank, and on several nodes. */
static void shared_and_private_copies_give_the_same_bits(void **state)
{
  static int (*const nodes[])(int) = {NULL, pairs, dealt};

  (void)state;
  for (int which = 0; which < 3; ++which) {
    if (which == 0) SetTestOption("-memory_share", "false");
    CkNodePretend(nodes[which]);
    CheckKind(&test_losses[TEST_LOSSES - 1]);
    CheckTraining(&test_losses[TEST_LOSSES - 1], 0);
    CkNodePretend(NULL);
    OK(PetscOptionsClearValue(NULL, "-memory_share"));
  }
}

static double Held(void)
{
  double bytes = CkNodeArrayBytes();

  OK(MPI_Allreduce(MPI_IN_PLACE, &bytes, 1, MPI_DOUBLE, MPI_SUM, PETSC_COMM_WORLD));
  return bytes;
}

/* Bytes over all ranks, all on one node, of the point, and with m columns: 8 d for the point, 8 d a vector on its way
   to the columns (as many as ranks that pack, at most m), and the columns: what the engine packs, and three numbers
   each. */
static void what_all_ranks_need_is_there_once(void **state)
{
  const CkBatch all = CkBatchAll(N);
  double        before[2];
  PetscMPIInt   size;

  (void)state;
  OK(MPI_Comm_size(PETSC_COMM_WORLD, &size));
  for (int shared = 0; shared < 2; ++shared) {
    double   S[N * m], d;
    size_t   packed;
    PetscInt n;
    TestLoss t;
    CkEngine engine;
    Vec      V[m];

    SetTestOption("-memory_share", shared ? "true" : "false");
    t = NewTestLoss(PETSC_COMM_WORLD, &test_losses[TEST_LOSSES - 1], N);
    OK(CkLossGetDimension(t.loss, &n));
    d = (double)n;
    before[shared] = Held(); /* samples are there as well, once in any case */
    if (shared) assert_on_all_ranks(before[0] - before[1] == 8 * d * (size - 1));
    for (int j = 0; j < m; ++j) V[j] = NewTestVec(t.loss, 80 + (uint64_t)j);
    OK(CkLossSlopes(t.loss, &all, m, V, S));
    OK(CkLossGetEngine(t.loss, &engine));
    OK(CkEngineColumnBytes(engine, m, &packed));
    packed = (packed + 63) / 64 * 64 + 24 * m; /* from a cache line on */
    if (shared) assert_on_all_ranks(Held() - before[1] == 8 * d * PetscMin(size, m) + (double)packed);
    else assert_on_all_ranks(Held() - before[0] == (8 * d + (double)packed) * size);
    for (int j = 0; j < m; ++j) OK(VecDestroy(&V[j]));
    FreeTestLoss(&t);
    assert_on_all_ranks(Held() == 0);
    OK(PetscOptionsClearValue(NULL, "-memory_share"));
  }
}

static const struct CMUnitTest tests[] = {
  cmocka_unit_test(any_number_of_ranks_gives_the_same_bits),
  cmocka_unit_test(training_mode_gives_the_same_bits),
  cmocka_unit_test(shared_and_private_copies_give_the_same_bits),
  cmocka_unit_test(what_all_ranks_need_is_there_once),
};
CK_TEST_MAIN(tests, PetscInitialize, PetscFinalize)
