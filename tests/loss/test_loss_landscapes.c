/* The analytic losses against their formulas, in numbers and by differences. */
#include "losses.h"

/* theory, T12: data (1,1), (2,1); f(p) = ((p - 1)^2 + (2p - 1)^2)/4, f'(p) = (5p - 3)/2. */
static void two_weight_network_numbers(void **state)
{
  const double  x[] = {1, 2}, y[] = {1, 1};
  const CkBatch all = CkBatchAll(2);
  CkLoss        loss;
  double        f[2], mean, *g, *rows;
  PetscInt      correct;
  Vec           w, gradient;

  (void)state;
  OK(CkLossCreate(PETSC_COMM_WORLD, &loss));
  OK(CkLossSetTwoWeight(loss, 2, x, y));
  OK(CkLossSetUp(loss));
  OK(CkLossCreateVec(loss, &w));
  OK(VecDuplicate(w, &gradient));
  OK(VecSet(w, 1));
  OK(CkLossSetPoint(loss, w));
  OK(CkLossValues(loss, &all, f, &correct));
  assert_on_all_ranks(f[0] == 0 && f[1] == 0.5 && correct == 0);
  OK(CkLossGradient(loss, &all, NULL, gradient, &mean, NULL));
  g = GetTestEntries(gradient);
  assert_on_all_ranks(mean == 0.25 && g[0] == 1 && g[1] == 1);
  rows = GetTestRows(loss, &all);
  assert_on_all_ranks(rows[0] == 0 && rows[1] == 0 && rows[2] == 2 && rows[3] == 2);
  OK(PetscFree(rows));
  OK(PetscFree(g));
  OK(VecDestroy(&gradient));
  OK(VecDestroy(&w));
  OK(CkLossDestroy(&loss));
}

/* theory, T14: a = (1,0), (0,1), (1,1), y = 0, 0, 1: at x = 0, g = 0, 0, (-1,-1). */
static void linear_regression_numbers(void **state)
{
  const double  a[] = {1, 0, 0, 1, 1, 1}, y[] = {0, 0, 1}, expected[] = {0, 0, 0, 0, -1, -1};
  const CkBatch all = CkBatchAll(3);
  CkLoss        loss;
  double        f[3], *rows;

  (void)state;
  OK(CkLossCreate(PETSC_COMM_WORLD, &loss));
  OK(CkLossSetLinearRegression(loss, 2, 3, a, y));
  OK(CkLossSetUp(loss)); /* starts at 0 */
  OK(CkLossValues(loss, &all, f, NULL));
  assert_on_all_ranks(f[0] == 0 && f[1] == 0 && f[2] == 0.5);
  rows = GetTestRows(loss, &all);
  for (int i = 0; i < 6; ++i) assert_on_all_ranks(rows[i] == expected[i]);
  OK(PetscFree(rows));
  OK(CkLossDestroy(&loss));
}

/* g_k = H x + xi_k by explicit loops. */
static void quadratic_gradients(void **state)
{
  enum { d = 3, N = 20 };
  const double  H[d * d] = {2, 1, 0, 1, 3, -1, 0, -1, 1}, point[d] = {0.5, -1, 2};
  const CkBatch all = CkBatchAll(N);
  double       *xi = NewNormals(3, N * d), *rows, f[N];
  CkLoss        loss;
  Vec           x;

  (void)state;
  OK(CkLossCreate(PETSC_COMM_WORLD, &loss));
  OK(CkLossSetQuadratic(loss, d, N, H, xi));
  OK(CkLossSetUp(loss));
  OK(CkLossCreateVec(loss, &x));
  for (PetscInt i = 0; i < d; ++i) OK(VecSetValue(x, i, point[i], INSERT_VALUES));
  OK(VecAssemblyBegin(x));
  OK(VecAssemblyEnd(x));
  OK(CkLossSetPoint(loss, x));
  OK(CkLossValues(loss, &all, f, NULL));
  rows = GetTestRows(loss, &all);
  for (int k = 0; k < N; ++k) {
    double value = 0;

    for (int i = 0; i < d; ++i) {
      double g = xi[k * d + i];

      for (int j = 0; j < d; ++j) g += H[i * d + j] * point[j];
      assert_close(rows[k * d + i], g, 1e-14, 10);
      value += point[i] * (g + xi[k * d + i]) / 2; /* x'Hx/2 + xi.x */
    }
    assert_close(f[k], value, 1e-14, 10);
  }
  OK(PetscFree(rows));
  OK(PetscFree(xi));
  OK(VecDestroy(&x));
  OK(CkLossDestroy(&loss));
}

/* Bad numbers of the user are named. */
static void bad_landscapes_are_refused(void **state)
{
  const double a[] = {1, NAN, 3, 4}, H[] = {1, 2, 3, 4}, good[] = {1, 2, 3, 4};
  CkLoss       loss;

  (void)state;
  OK(CkLossCreate(PETSC_COMM_WORLD, &loss));
  assert_error_says("number 1 is nan", CkLossSetLinearRegression(loss, 2, 2, a, good));
  OK(CkLossDestroy(&loss));
  OK(CkLossCreate(PETSC_COMM_WORLD, &loss));
  assert_error_says("both must be positive", CkLossSetTwoWeight(loss, 0, good, good));
  OK(CkLossDestroy(&loss));
  OK(CkLossCreate(PETSC_COMM_WORLD, &loss));
  OK(CkLossSetQuadratic(loss, 2, 2, H, good));
  assert_error_says("entry (1, 0) is 3, its mirror 2", CkLossSetUp(loss));
  OK(CkLossDestroy(&loss));
  OK(CkLossCreate(PETSC_COMM_WORLD, &loss));
  assert_error_says("no loss type \"cubic\"", CkLossSetType(loss, "cubic"));
  OK(CkLossDestroy(&loss));
}

static const struct CMUnitTest tests[] = {
  cmocka_unit_test(two_weight_network_numbers),
  cmocka_unit_test(linear_regression_numbers),
  cmocka_unit_test(quadratic_gradients),
  cmocka_unit_test(bad_landscapes_are_refused),
};
CK_TEST_MAIN(tests, PetscInitialize, PetscFinalize)
