#include "problem.h"
#include <float.h>
#include <stdlib.h>

/* The routes against each other, solvers against each other, vectors and residuals, ranks of nets, numbers of ranks. */

#define MLP "-data synthetic -data_shape 6 -data_classes 3 -net mlp -net_widths 5 "
#define TINY "-data synthetic -data_shape 1,7,7 -data_classes 5 -net tiny-fc -data_count 300 "
#define LENET "-data synthetic -data_shape 1,28,28 -net small-lenet -data_count 150 -engine onednn "

/* Solves with further options and returns a copy of all eigenvalues; the caller frees it. */
static double *Values(MPI_Comm comm, const char options[], const char more[], PetscInt *n,
                      CkSpectrumStatistics *statistics)
{
  char          all[512];
  const double *values;
  double       *copy;
  Problem       p;

  OK(PetscSNPrintf(all, sizeof(all), "%s %s", options, more));
  p = NewProblem(comm, all);
  OK(CkSpectrumSolve(p.spectrum));
  OK(CkSpectrumGetValues(p.spectrum, n, &values, NULL));
  if (statistics) OK(CkSpectrumGetStatistics(p.spectrum, statistics));
  OK(PetscMalloc1(*n, &copy));
  OK(PetscArraycpy(copy, values, *n));
  FreeProblem(&p);
  return copy;
}

static void AssertEqual(const double a[], const double b[], PetscInt n, double relative)
{
  for (PetscInt i = 0; i < n; ++i) assert_close(a[i], b[i], relative, b[i]);
}

/* A product in single precision rounds the vector as well as the gradients: Krylov's values are then good to eps32 of
   the largest one, in double precision to 1e-6 of each. */
static void AssertKrylovEqual(const char options[], const double a[], const double b[], PetscInt n)
{
  const double rounding = strstr(options, "onednn") ? FLT_EPSILON * b[0] : 0;

  for (PetscInt i = 0; i < n; ++i) assert_close(a[i], b[i], 1, 1e-6 * b[i] + rounding);
}

/* The top 20 of the two complete routes, relative to each eigenvalue, and of Krylov. */
static void AssertRoutesAgree(const char options[], PetscBool with_dense)
{
  PetscInt             n[3];
  CkSpectrumStatistics gram, dense;
  double              *b = Values(PETSC_COMM_WORLD, options, "-spectrum_method gram", &n[1], &gram);
  double              *c = Values(PETSC_COMM_WORLD, options, "-spectrum_method krylov", &n[2], NULL);

  assert_int_equal(n[2], 20);
  AssertKrylovEqual(options, c, b, 20);
  if (with_dense) {
    double *a = Values(PETSC_COMM_WORLD, options, "-spectrum_method dense", &n[0], &dense);

    AssertEqual(a, b, 20, 1e-6);
    assert_true(gram.complete && dense.complete);
    /* the norms are the same bits, the mean gradient may come from a sweep with other columns, in float32 */
    assert_close(gram.trace, dense.trace, 1e-7, dense.trace);
    assert_close(gram.std, dense.std, 1e-6, dense.std);
    assert_close(gram.participation_ratio, dense.participation_ratio, 1e-6, dense.participation_ratio);
    assert_int_equal(gram.rank_float32, dense.rank_float32);
    assert_int_equal(gram.rank_1e3, dense.rank_1e3);
    OK(PetscFree(a));
  }
  OK(PetscFree(b));
  OK(PetscFree(c));
}

static void routes_agree_on_mlp(void **state)
{
  (void)state;
  AssertRoutesAgree(MLP "-data_count 40 -engine reference", PETSC_TRUE);
  AssertRoutesAgree(MLP "-data_count 70 -engine onednn", PETSC_TRUE);
}

static void routes_agree_on_tiny_fc(void **state)
{
  (void)state;
  AssertRoutesAgree(TINY "-engine reference", PETSC_TRUE);
  AssertRoutesAgree(TINY "-engine onednn", PETSC_TRUE);
}

static void routes_agree_on_small_lenet(void **state)
{
  (void)state;
  AssertRoutesAgree(LENET, PETSC_FALSE);
}

/* Two independent solvers, to what both promise: 10 n eps lambda_max. */
static void solvers_agree(void **state)
{
  PetscInt n;
  double  *a, *b;

  (void)state;
  for (int gram = 0; gram < 2; ++gram) {
    const char *method =
      gram ? "-spectrum_method gram -spectrum_solver %s" : "-spectrum_method dense -spectrum_solver %s";
    char elpa[128], scalapack[128];

    OK(PetscSNPrintf(elpa, sizeof(elpa), method, "elpa"));
    OK(PetscSNPrintf(scalapack, sizeof(scalapack), method, "scalapack"));
    a = Values(PETSC_COMM_WORLD, TINY "-engine reference", elpa, &n, NULL);
    b = Values(PETSC_COMM_WORLD, TINY "-engine reference", scalapack, &n, NULL);
    assert_int_equal(n, gram ? 299 : 917); /* centring costs the Gram matrix one */
    for (PetscInt i = 0; i < n; ++i) assert_close(a[i], b[i], 10 * n * DBL_EPSILON, b[0]);
    OK(PetscFree(a));
    OK(PetscFree(b));
  }
}

/* The same problem on all ranks together and on each rank alone. */
static void ranks_do_not_change_the_values(void **state)
{
  static const char *const methods[] = {"-spectrum_method dense", "-spectrum_method gram",
                                        "-spectrum_method krylov -eps_tol 1e-12"};

  (void)state;
  for (size_t m = 0; m < PETSC_STATIC_ARRAY_LENGTH(methods); ++m) {
    CkSpectrumStatistics together, alone;
    PetscInt             n, o;
    double              *a = Values(PETSC_COMM_WORLD, MLP "-data_count 300 -engine onednn", methods[m], &n, &together);
    double              *b = Values(PETSC_COMM_SELF, MLP "-data_count 300 -engine onednn", methods[m], &o, &alone);

    assert_int_equal(n, o);
    for (PetscInt i = 0; i < n; ++i) assert_close(a[i], b[i], 10 * 53 * DBL_EPSILON, b[0]);
    assert_close(together.trace, alone.trace, 0, 1); /* exact sums: to the last bit */
    assert_int_equal(together.rank_float32, alone.rank_float32);
    OK(PetscFree(a));
    OK(PetscFree(b));
  }
}

static void AssertOrthonormal(const Vec V[], PetscInt k, double tolerance)
{
  double worst = 0;

  for (PetscInt i = 0; i < k; ++i) {
    for (PetscInt j = 0; j <= i; ++j) {
      PetscScalar dot;

      OK(VecDot(V[i], V[j], &dot));
      worst = fmax(worst, fabs(dot - (i == j)));
    }
  }
  assert_close(worst, 0, tolerance, 1);
}

/* k vectors by a route: orthonormal, with a residual each, and D v = lambda v once more by a product of the test. */
static void AssertVectors(const char options[], const char k[], PetscInt expected, double tolerance)
{
  static const char *const methods[] = {"dense", "gram", "krylov"};

  for (int m = 0; m < 3; ++m) {
    const double *values, *residuals;
    const Vec    *V;
    Vec           w;
    PetscInt      n, got;
    PetscReal     norm;
    char          all[512];
    Problem       p;

    OK(PetscSNPrintf(all, sizeof(all), "%s -spectrum_method %s -spectrum_vectors %s -spectrum_nev 12 -eps_tol 1e-11",
                     options, methods[m], k));
    p = NewProblem(PETSC_COMM_WORLD, all);
    OK(CkSpectrumSolve(p.spectrum));
    OK(CkSpectrumGetValues(p.spectrum, &n, &values, &residuals));
    OK(CkSpectrumGetVectors(p.spectrum, &got, &V));
    assert_int_equal(got, expected);
    AssertOrthonormal(V, got, tolerance * sqrt(values[0] / values[got - 1]));
    OK(CkLossCreateVec(p.loss, &w));
    for (PetscInt j = 0; j < got; ++j) {
      assert_on_all_ranks(residuals[j] <= tolerance);
      OK(CkDiffusionApply(p.D, 1, &V[j], &w));
      OK(VecAXPY(w, -values[j], V[j]));
      OK(VecNorm(w, NORM_2, &norm));
      assert_close(norm, residuals[j] * values[0], tolerance / 10, values[0]); /* one by one and all at once */
    }
    OK(VecDestroy(&w));
    FreeProblem(&p);
  }
}

static void vectors_are_orthonormal_with_small_residuals(void **state)
{
  (void)state;
  AssertVectors(MLP "-data_count 40 -engine reference", "12", 12, 1e-10);
  AssertVectors(TINY "-engine onednn", "5", 5, 1e-5);
}

/* "all": each of the d pairs of a dense run. */
static void all_vectors_of_a_dense_run(void **state)
{
  const char   *options = MLP "-data_count 90 -engine reference -spectrum_method dense -spectrum_vectors all";
  const double *values, *residuals;
  const Vec    *V;
  PetscInt      n, k;
  Problem       p = NewProblem(PETSC_COMM_WORLD, options);

  (void)state;
  OK(CkSpectrumSolve(p.spectrum));
  OK(CkSpectrumGetValues(p.spectrum, &n, &values, &residuals));
  OK(CkSpectrumGetVectors(p.spectrum, &k, &V));
  assert_int_equal(n, 53);
  assert_int_equal(k, 53);
  AssertOrthonormal(V, k, 1e-12);
  for (PetscInt i = 0; i < n; ++i) assert_on_all_ranks(residuals[i] <= 1e-12);
  FreeProblem(&p);
}

/* A values-only run has residuals of the leading 20 and NaN elsewhere. */
static void leading_residuals_of_a_run_for_values(void **state)
{
  (void)state;
  for (int gram = 0; gram < 2; ++gram) {
    const double *values, *residuals;
    PetscInt      n;
    Problem       p = NewProblem(PETSC_COMM_WORLD, gram ? TINY "-engine reference -spectrum_method gram"
                                                        : TINY "-engine reference -spectrum_method dense");

    OK(CkSpectrumSolve(p.spectrum));
    OK(CkSpectrumGetValues(p.spectrum, &n, &values, &residuals));
    for (PetscInt i = 0; i < n; ++i) {
      if (i < 20) assert_on_all_ranks(residuals[i] <= 1e-10);
      else assert_on_all_ranks(isnan(residuals[i]));
    }
    FreeProblem(&p);
  }
}

/* tanh units under mean squared error have no symmetries: rank D = min(d, N - 1). */
static void generic_rank_is_min_of_d_and_samples(void **state)
{
  static const struct {
    const char *count;
    PetscInt    rank;
  } cases[] = {{"8", 7}, {"12", 11}, {"2", 1}, {"300", 22}};

  (void)state;
  for (size_t c = 0; c < PETSC_STATIC_ARRAY_LENGTH(cases); ++c) {
    CkSpectrumStatistics s;
    PetscInt             n;
    char                 options[256];
    double              *values;

    OK(PetscSNPrintf(options, sizeof(options),
                     "-data synthetic -data_shape 3 -data_classes 2 -data_count %s -net mlp -net_widths 3 "
                     "-net_activation tanh -net_loss mse -engine reference",
                     cases[c].count));
    values = Values(PETSC_COMM_WORLD, options, "", &n, &s);
    assert_int_equal(s.dimension, 20); /* 3*3 + 3 + 3*2 + 2 */
    assert_int_equal(s.rank_float64, PetscMin(cases[c].rank, s.dimension));
    OK(PetscFree(values));
  }
}

/* tiny-fc: 16 units with bias, batch norm and ReLU cost 3 dimensions each, the softmax head fan_in + 1 = 17 (theory
 * R.1). */
static void symmetries_of_tiny_fc_lower_the_rank(void **state)
{
  const char          *options = "-data synthetic -data_shape 1,7,7 -data_classes 5 -net tiny-fc -data_count 1200 "
                                 "-engine reference -spectrum_method dense";
  const PetscInt       bound = 917 - 3 * 16 - 17;
  CkSpectrumStatistics s;
  PetscInt             n;
  double              *values = Values(PETSC_COMM_WORLD, options, "", &n, &s);

  (void)state;
  assert_int_equal(n, 917);
  assert_int_equal(s.rank_float64, bound);
  assert_on_all_ranks(values[bound - 1] > 1e3 * fabs(values[bound]));
  OK(PetscFree(values));
}

static const struct CMUnitTest tests[] = {
  cmocka_unit_test(routes_agree_on_mlp),
  cmocka_unit_test(routes_agree_on_tiny_fc),
  cmocka_unit_test(routes_agree_on_small_lenet),
  cmocka_unit_test(solvers_agree),
  cmocka_unit_test(ranks_do_not_change_the_values),
  cmocka_unit_test(vectors_are_orthonormal_with_small_residuals),
  cmocka_unit_test(all_vectors_of_a_dense_run),
  cmocka_unit_test(leading_residuals_of_a_run_for_values),
  cmocka_unit_test(generic_rank_is_min_of_d_and_samples),
  cmocka_unit_test(symmetries_of_tiny_fc_lower_the_rank),
};

CK_TEST_MAIN(tests, SlepcInitialize, SlepcFinalize)
