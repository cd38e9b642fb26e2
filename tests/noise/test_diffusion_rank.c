/* The rank of D: min(d, N-1) for nets without symmetries, less what symmetries take (decision 12). Reference engine. */
#include "matrices.h"

/* Eigenvalues of the dense D, descending. */
static double *NewSpectrumOf(CkLoss loss, PetscInt *d)
{
  CkDiffusion   D;
  CkBlockMatrix A;
  double       *values;

  OK(CkDiffusionCreate(loss, &D));
  OK(CkDiffusionDense(D, &A));
  OK(CkLossGetDimension(loss, d));
  OK(PetscMalloc1(*d, &values));
  OK(CkBlockMatrixEigen(A, CK_SOLVER_SCALAPACK, values, NULL));
  OK(CkBlockMatrixDestroy(&A));
  OK(CkDiffusionDestroy(&D));
  return values;
}

static double *NewSpectrum(const TestLossKind *kind, PetscInt N, PetscInt *d)
{
  TestLoss t = NewTestLoss(PETSC_COMM_WORLD, kind, N);
  double  *values = NewSpectrumOf(t.loss, d);

  FreeTestLoss(&t);
  return values;
}

/* `rank` eigenvalues stand above `floor` lambda_max, all others are rounding errors: a gap of decades between. */
static void assert_rank(PetscInt d, const double values[], PetscInt rank, double floor)
{
  const double rounding = (double)d * PETSC_MACHINE_EPSILON * values[0];

  if (values[rank - 1] <= floor * values[0] || (rank < d && fabs(values[rank]) > rounding))
    fprintf(stderr, "d = %d: eigenvalue %d is %g, the next %g of %g\n", (int)d, (int)rank, values[rank - 1],
            rank < d ? values[rank] : 0, values[0]);
  assert_on_all_ranks(values[rank - 1] > floor * values[0]);
  assert_on_all_ranks(floor * values[0] > 10 * rounding);
  assert_on_all_ranks(rank == d || fabs(values[rank]) <= rounding);
}

/* tanh + mean squared error: no continuous symmetry. d = 4*5+4 + 3*4+3 = 39. */
static void a_generic_net_has_full_rank(void **state)
{
  const PetscInt counts[] = {2, 20, 39, 40, 41, 300};
  PetscInt       d;

  (void)state;
  for (int i = 0; i < 6; ++i) {
    double *values = NewSpectrum(&test_losses[3], counts[i], &d);

    assert_on_all_ranks(d == 39);
    assert_rank(d, values, PetscMin(d, counts[i] - 1), 1e-12);
    OK(PetscFree(values));
  }
}

static void BuildSoftmax(CkNet net)
{
  Dense(net, "fc", 0, 3, PETSC_TRUE);
}

static void BuildDenseNorm(CkNet net)
{
  PetscInt l = Plain(net, CK_LAYER_RELU, "relu", Norm(net, "bn", Dense(net, "fc1", 0, 4, PETSC_TRUE)));

  Dense(net, "fc2", l, 3, PETSC_TRUE);
}

static void BuildNoBias(CkNet net)
{
  PetscInt l = Plain(net, CK_LAYER_RELU, "relu", Norm(net, "bn", Dense(net, "fc1", 0, 4, PETSC_FALSE)));

  Dense(net, "fc2", l, 3, PETSC_TRUE);
}

/* A small image of small-lenet. */
static void BuildConvNorm(CkNet net)
{
  PetscInt l = Plain(net, CK_LAYER_RELU, "relu1", Norm(net, "bn1", Conv(net, "conv1", 0, 2, 3, 1, 0)));

  l = Plain(net, CK_LAYER_FLATTEN, "flatten", Pool(net, CK_LAYER_MAXPOOL, "pool", l, 2, 2, 0));
  l = Plain(net, CK_LAYER_RELU, "relu2", Norm(net, "bn2", Dense(net, "fc1", l, 4, PETSC_TRUE)));
  Dense(net, "fc2", l, 3, PETSC_TRUE);
}

/* Softmax: fan_in + 1. BN + ReLU unit: bias, scale and rescaling, 3 with a bias before it, 2 without. */
static void symmetries_lower_the_rank(void **state)
{
  const struct {
    TestLossKind kind;
    PetscInt     d, deficit;
  } cases[] = {
    {{"softmax", PETSC_TRUE, "reference", {5, 1, 1}, CK_HEAD_CROSS_ENTROPY, BuildSoftmax, NULL}, 18, 5 + 1},
    {{"softmax mse", PETSC_TRUE, "reference", {5, 1, 1}, CK_HEAD_MSE, BuildSoftmax, NULL}, 18, 0},
    {{"norm mse", PETSC_TRUE, "reference", {5, 1, 1}, CK_HEAD_MSE, BuildDenseNorm, NULL}, 24 + 8 + 15, 3 * 4},
    {{"norm", PETSC_TRUE, "reference", {5, 1, 1}, CK_HEAD_CROSS_ENTROPY, BuildDenseNorm, NULL}, 47, 3 * 4 + 4 + 1},
    {{"no bias", PETSC_TRUE, "reference", {5, 1, 1}, CK_HEAD_CROSS_ENTROPY, BuildNoBias, NULL}, 43, 2 * 4 + 4 + 1},
    {{"conv", PETSC_TRUE, "reference", {1, 6, 6}, CK_HEAD_CROSS_ENTROPY, BuildConvNorm, NULL},
     20 + 4 + 36 + 8 + 15,
     3 * 6 + 4 + 1},
  };

  (void)state;
  for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); ++i) {
    PetscInt d;
    double  *values = NewSpectrum(&cases[i].kind, 500, &d);

    assert_on_all_ranks(d == cases[i].d);
    assert_rank(d, values, d - cases[i].deficit, 1e-12);
    OK(PetscFree(values));
  }
}

/* A net of the zoo at its initial weights: tiny-fc, 49-16-5, d = 917, 16 BN + ReLU units and a softmax head on 16. */
static void tiny_fc_has_its_deficit(void **state)
{
  const CkShape input = {1, 7, 7};
  TestLoss      t = {NULL, NULL, NULL, NULL};
  PetscInt      d;
  double       *values;

  (void)state;
  SetTestOption("-engine", "reference");
  t.data = NewTestData(PETSC_COMM_WORLD, input, 2000);
  OK(CkNetCreate(PETSC_COMM_WORLD, &t.net));
  OK(CkNetSetZoo(t.net, "tiny-fc", input, 5));
  OK(CkNetSetUp(t.net));
  OK(CkStateCreate(PETSC_COMM_WORLD, t.net, &t.state));
  OK(CkStateInitialize(t.state, 1));
  OK(CkLossCreate(PETSC_COMM_WORLD, &t.loss));
  OK(CkLossSetFromOptions(t.loss));
  OK(CkLossSetNetwork(t.loss, t.net, t.data, t.state));
  OK(CkLossSetUp(t.loss));
  values = NewSpectrumOf(t.loss, &d);
  assert_on_all_ranks(d == 917);
  assert_rank(d, values, 917 - 3 * 16 - 17, 1e-11);
  OK(PetscFree(values));
  FreeTestLoss(&t);
}

static const struct CMUnitTest tests[] = {
  cmocka_unit_test(a_generic_net_has_full_rank),
  cmocka_unit_test(symmetries_lower_the_rank),
  cmocka_unit_test(tiny_fc_has_its_deficit),
};
CK_TEST_MAIN(tests, PetscInitialize, PetscFinalize)
