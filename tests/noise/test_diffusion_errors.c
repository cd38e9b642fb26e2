/* Refusals of the diffusion matrix: on every rank, in one message, and the object can go on. */
#include "matrices.h"

static void too_much_memory_is_refused(void **state)
{
  TestLoss      t = NewTestLoss(PETSC_COMM_WORLD, &test_losses[4], 45);
  CkDiffusion   D;
  CkBlockMatrix A;

  (void)state;
  OK(CkDiffusionCreate(t.loss, &D));
  SetTestOption("-memory_limit", "1e-5");
  assert_error_says("the dense diffusion matrix needs", CkDiffusionDense(D, &A));
  assert_error_says("the Gram matrix needs", CkDiffusionGram(D, &A));
  OK(PetscOptionsClearValue(NULL, "-memory_limit"));
  OK(CkDiffusionDense(D, &A));
  OK(CkBlockMatrixDestroy(&A));
  OK(CkDiffusionDestroy(&D));
  FreeTestLoss(&t);
}

static void only_positive_eigenvalues_have_vectors(void **state)
{
  TestLoss     t = NewTestLoss(PETSC_COMM_WORLD, &test_losses[0], 3);
  const double U[3] = {1, 0, 0}, zero = 0;
  CkDiffusion  D;
  Vec          v;

  (void)state;
  OK(CkDiffusionCreate(t.loss, &D));
  OK(CkLossCreateVec(t.loss, &v));
  assert_error_says("eigenvalue 0 is 0", CkDiffusionGramVectors(D, 1, U, &zero, &v));
  OK(VecDestroy(&v));
  OK(CkDiffusionDestroy(&D));
  FreeTestLoss(&t);
}

/* Sample 17's residual overflows at this point, and only there. */
static void a_bad_sample_is_named_on_every_route(void **state)
{
  enum { N = 20 };
  const double  x = 1;
  double        a[N], y[N], trace;
  CkLoss        loss;
  CkDiffusion   D;
  CkBlockMatrix A;
  Vec           v, w;

  (void)state;
  for (int k = 0; k < N; ++k) {
    a[k] = k == 17 ? 1e180 : 1;
    y[k] = 0;
  }
  SetTestOption("-loss_sum_block", "4");
  OK(CkLossCreate(PETSC_COMM_WORLD, &loss));
  OK(CkLossSetFromOptions(loss));
  OK(CkLossSetLinearRegression(loss, 1, N, a, y));
  OK(CkLossSetUp(loss));
  OK(CkDiffusionCreate(loss, &D));
  OK(CkLossCreateVec(loss, &v));
  OK(VecDuplicate(v, &w));
  MoveTo(loss, &x);
  OK(VecSet(v, 1));
  assert_error_says("of sample 17", CkDiffusionTrace(D, &trace));
  assert_error_says("of sample 17", CkDiffusionApply(D, 1, &v, &w));
  assert_error_says("of sample 17", CkDiffusionDiagonal(D, w));
  assert_error_says("of sample 17", CkDiffusionDense(D, &A));
  assert_error_says("of sample 17", CkDiffusionGram(D, &A));
  assert_error_says("of sample 17", CkDiffusionSample(D, 1, 0, 0, w));
  OK(VecSet(v, 0));
  OK(CkLossSetPoint(loss, v));
  OK(CkDiffusionTrace(D, &trace));
  assert_on_all_ranks(trace == 0);
  OK(VecDestroy(&v));
  OK(VecDestroy(&w));
  OK(CkDiffusionDestroy(&D));
  OK(CkLossDestroy(&loss));
}

static const struct CMUnitTest tests[] = {
  cmocka_unit_test(too_much_memory_is_refused),
  cmocka_unit_test(only_positive_eigenvalues_have_vectors),
  cmocka_unit_test(a_bad_sample_is_named_on_every_route),
};
CK_TEST_MAIN(tests, PetscInitialize, PetscFinalize)
