/* Diagonal blocks of D against those of the whole matrix, and their bits on any number of ranks. */
#include "matrices.h"
#include <string.h>

enum { N = 83 };

/* Loss number `kind` of losses.h, with further options, at the point it starts from. */
static CkDiffusion NewD(MPI_Comm comm, const TestLossKind *kind, TestLoss *loss)
{
  CkDiffusion D;

  *loss = NewTestLoss(comm, kind, N);
  OK(CkDiffusionCreate(loss->loss, &D));
  OK(CkDiffusionSetFromOptions(D));
  return D;
}

/* Cuts d weights into uneven blocks: 1, 2, 4, .. and the rest. */
static PetscInt Cut(PetscInt d, PetscInt size[])
{
  PetscInt n = 0, used = 0;

  for (PetscInt next = 1; used < d; next *= 2) {
    size[n] = PetscMin(next, d - used);
    used += size[n++];
  }
  return n;
}

static double *NextBlock(CkDiffusionBlocks blocks, PetscInt *order)
{
  CkBlockMatrix A;
  CkPrecision   products;
  double       *full;

  OK(CkDiffusionBlocksNext(blocks, &A, &products));
  OK(CkBlockMatrixGetSize(A, order));
  full = NewFullMatrix(A);
  OK(CkBlockMatrixDestroy(&A));
  return full;
}

/* Blocks of at most N weights are those of D. A landscape or a net in double precision: only the order of additions
   differs, 100 eps of the trace is room for that. */
static void blocks_are_those_of_the_whole_matrix(void **state)
{
  (void)state;
  for (int centred = 0; centred < 2; ++centred) {
    for (size_t kind = 0; kind < TEST_LOSSES; ++kind) {
      TestLoss          loss;
      CkDiffusion       D = NewD(PETSC_COMM_WORLD, &test_losses[kind], &loss);
      const double      tolerance = test_losses[kind].exact ? 1e-13 : 1e-6;
      CkDiffusionBlocks blocks;
      PetscInt          d, size[32], n, first = 0;
      double           *whole, trace = 0;

      OK(CkDiffusionSetCentred(D, (PetscBool)centred));
      OK(CkLossGetDimension(loss.loss, &d));
      n = Cut(d, size);
      whole = NewDense(D);
      for (PetscInt i = 0; i < d; ++i) trace += whole[i * d + i];
      OK(CkDiffusionBlocksCreate(D, n, size, &blocks));
      for (PetscInt l = 0; l < n; ++l) {
        PetscInt order;
        double  *block = NextBlock(blocks, &order), worst = 0;

        for (PetscInt i = 0; order == size[l] && i < order; ++i) {
          for (PetscInt j = 0; j < order; ++j)
            worst = fmax(worst, fabs(block[i * order + j] - whole[(first + i) * d + first + j]));
        }
        assert_on_all_ranks(order == PetscMin(size[l], N));
        assert_close(worst, 0, tolerance, trace);
        first += size[l];
        OK(PetscFree(block));
      }
      OK(CkDiffusionBlocksDestroy(&blocks));
      OK(PetscFree(whole));
      OK(CkDiffusionDestroy(&D));
      FreeTestLoss(&loss);
    }
  }
}

/* A landscape of 3 N weights and more, in blocks all larger than N: their Gram matrices add up to that of D. With
   little memory a block takes several passes, and the bits are the same. */
static void gram_matrices_of_blocks_add_up(void **state)
{
  enum { d = 700 };
  static const char *const memory[] = {"-noise_memory 1", "-noise_memory 1e-4"};
  const PetscInt           size[] = {100, 450, 150};
  double                  *sum[2];

  (void)state;
  for (int m = 0; m < 2; ++m) {
    CkLoss            loss;
    CkDiffusion       D;
    CkDiffusionBlocks blocks;
    double           *K, trace = 0, worst = 0, bytes, passes, operations, before, after;

    OK(PetscOptionsClear(NULL));
    OK(PetscOptionsInsertString(NULL, memory[m]));
    OK(CkLossCreate(PETSC_COMM_WORLD, &loss));
    BuildWideLandscape(loss, N, d);
    OK(CkLossSetUp(loss));
    OK(CkDiffusionCreate(loss, &D));
    OK(CkDiffusionSetFromOptions(D));
    K = NewGram(D);
    OK(PetscCalloc1(N * N, &sum[m]));
    OK(CkLossGetPasses(loss, &before));
    OK(CkDiffusionBlocksCreate(D, 3, size, &blocks));
    for (int l = 0; l < 3; ++l) {
      PetscInt order;
      double  *block = NextBlock(blocks, &order);

      assert_int_equal(order, N);
      for (PetscInt i = 0; i < N * N; ++i) sum[m][i] += block[i];
      OK(PetscFree(block));
    }
    OK(CkDiffusionBlocksDestroy(&blocks));
    OK(CkLossGetPasses(loss, &after));
    OK(CkDiffusionBlocksCost(D, 3, size, &bytes, &passes, &operations));
    assert_close(after - before, passes, 1e-12, 1);
    assert_on_all_ranks(m == 0 ? passes == 1 : passes > 1);
    for (PetscInt i = 0; i < N; ++i) trace += K[i * N + i];
    for (PetscInt i = 0; i < N * N; ++i) worst = fmax(worst, fabs(sum[m][i] - K[i]));
    assert_close(worst, 0, 1e-13, trace);
    OK(PetscFree(K));
    OK(CkDiffusionDestroy(&D));
    OK(CkLossDestroy(&loss));
  }
  OK(PetscOptionsClear(NULL));
  assert_on_all_ranks(memcmp(sum[0], sum[1], sizeof(double) * N * N) == 0);
  OK(PetscFree(sum[0]));
  OK(PetscFree(sum[1]));
}

/* All losses, with the options in force. */
static void CompareBits(void)
{
  for (size_t kind = 0; kind < TEST_LOSSES; ++kind) {
    TestLoss          loss[2];
    CkDiffusion       D[2];
    CkDiffusionBlocks blocks[2];
    PetscInt          d, size[32], n, order[2];

    for (int i = 0; i < 2; ++i) {
      D[i] = NewD(i ? PETSC_COMM_SELF : PETSC_COMM_WORLD, &test_losses[kind], &loss[i]);
      OK(CkLossGetDimension(loss[i].loss, &d));
      n = Cut(d, size);
      OK(CkDiffusionBlocksCreate(D[i], n, size, &blocks[i]));
    }
    for (PetscInt l = 0; l < n; ++l) {
      double *a = NextBlock(blocks[0], &order[0]), *b = NextBlock(blocks[1], &order[1]);

      assert_int_equal(order[0], order[1]);
      assert_on_all_ranks(memcmp(a, b, sizeof(double) * (size_t)order[0] * (size_t)order[0]) == 0);
      OK(PetscFree(a));
      OK(PetscFree(b));
    }
    for (int i = 0; i < 2; ++i) {
      OK(CkDiffusionBlocksDestroy(&blocks[i]));
      OK(CkDiffusionDestroy(&D[i]));
      FreeTestLoss(&loss[i]);
    }
  }
}

static void the_same_bits_on_any_number_of_ranks(void **state)
{
  (void)state;
  CompareBits();
  SetTestOption("-noise_centred", "false");
  SetTestOption("-loss_l2", "0.3");
  SetTestOption("-noise_memory", "1e-6");
  SetTestOption("-noise_gram_precision", "single");
  CompareBits();
  OK(PetscOptionsClear(NULL));
}

static const struct CMUnitTest tests[] = {
  cmocka_unit_test(blocks_are_those_of_the_whole_matrix),
  cmocka_unit_test(gram_matrices_of_blocks_add_up),
  cmocka_unit_test(the_same_bits_on_any_number_of_ranks),
};

CK_TEST_MAIN(tests, PetscInitialize, PetscFinalize)
