#include "messages.h"
#include "problem.h"
#include "spectrumimpl.h"
#include <float.h>

/* Bad input ends in one message on every rank; a wrong matrix is noticed; the plan says what a run then does. */

#define MLP "-data synthetic -data_shape 6 -data_classes 3 -data_count 40 -net mlp -net_widths 5 -engine reference "

static Problem NewMlp(const char more[])
{
  char all[512];

  OK(PetscSNPrintf(all, sizeof(all), "%s %s", MLP, more));
  return NewProblem(PETSC_COMM_WORLD, all);
}

/* SetFromOptions() refuses the option. */
static void AssertOptionRefused(const char more[], const char word[], const char remedy[])
{
  Problem p = NewMlp("");

  OK(PetscOptionsInsertString(NULL, more));
  assert_message(CkSpectrumSetFromOptions(p.spectrum), word, remedy);
  FreeProblem(&p);
}

static void AssertSolveRefused(const char more[], const char word[], const char remedy[])
{
  Problem p = NewMlp(more);

  assert_message(CkSpectrumSolve(p.spectrum), word, remedy);
  assert_message(CkSpectrumView(p.spectrum), "CkSpectrumSolve", "first"); /* nothing is left to be shown or written */
  FreeProblem(&p);
}

static void numbers_out_of_range(void **state)
{
  (void)state;
  AssertOptionRefused("-spectrum_vectors many", "-spectrum_vectors many", "between 0 and");
  AssertOptionRefused("-spectrum_vectors -1", "-spectrum_vectors -1", "between 0 and");
  AssertOptionRefused("-spectrum_vectors 54", "-spectrum_vectors 54", "53");
  AssertOptionRefused("-spectrum_nev 54", "-spectrum_nev 54", "53");
  AssertSolveRefused("-spectrum_method krylov -eps_nev 54", "-eps_nev 54", "53");
  AssertSolveRefused("-spectrum_method krylov -eps_smallest_real", "largest", "-eps_largest_real");
}

static void vectors_that_do_not_exist(void **state)
{
  (void)state;
  AssertSolveRefused("-spectrum_vectors 3 -spectrum_solver elpa", "values only", "scalapack");
  AssertSolveRefused("-spectrum_vectors 6 -spectrum_nev 5 -spectrum_method krylov", "-spectrum_vectors 6",
                     "-spectrum_nev");
  AssertSolveRefused("-spectrum_vectors 40 -spectrum_method gram", "only 39", "dense"); /* K has 39 non-zero ones */
}

static void iteration_that_does_not_converge(void **state)
{
  const char   *options = "-spectrum_method krylov -spectrum_nev 5 -eps_ncv 6 -eps_max_it 1 -eps_tol 1e-15 ";
  const double *values;
  PetscInt      n;
  char          partial[256];
  Problem       p;

  (void)state;
  AssertSolveRefused(options, "of 5 eigenpairs", "-spectrum_partial");
  OK(PetscSNPrintf(partial, sizeof(partial), "%s -eps_tol 1e-3 -eps_ncv 7 -eps_max_it 4 -spectrum_partial true",
                   options));
  p = NewMlp(partial);
  OK(CkSpectrumSolve(p.spectrum));
  OK(CkSpectrumGetValues(p.spectrum, &n, &values, NULL));
  assert_on_all_ranks(n >= 1 && n < 5);
  FreeProblem(&p);
}

static void memory_limit(void **state)
{
  (void)state;
  AssertSolveRefused("-spectrum_method dense -memory_limit 0.00002", "20.0 kB", "-memory_limit");
  AssertSolveRefused("-memory_limit 0.00001", "krylov", "-memory_limit");
}

/* auto: the Gram matrix if it fits, Krylov and the reason if it just does not. */
static void auto_follows_the_memory_limit(void **state)
{
  char    limit[64];
  double  total;
  Problem p = NewProblem(PETSC_COMM_WORLD, "-data synthetic -data_shape 1,28,28 -data_count 2000 -net small-lenet "
                                           "-engine onednn -noise_memory 0.001 -spectrum_solver elpa");

  (void)state;
  OK(CkSpectrumPlan(p.spectrum, PETSC_FALSE));
  assert_int_equal(p.spectrum->method, CK_SPECTRUM_GRAM);
  total = CkSpectrumTotalMemory(p.spectrum, &p.spectrum->estimate);
  for (int fits = 0; fits < 2; ++fits) {
    OK(PetscSNPrintf(limit, sizeof(limit), "-memory_limit %.9g", 1e-9 * total * (fits ? 1.01 : 0.99)));
    OK(PetscOptionsInsertString(NULL, limit));
    OK(CkSpectrumPlan(p.spectrum, PETSC_FALSE));
    assert_int_equal(p.spectrum->method, fits ? CK_SPECTRUM_GRAM : CK_SPECTRUM_KRYLOV);
    assert_non_null(strstr(p.spectrum->reason, fits ? "N < d" : "the limit is"));
  }
  FreeProblem(&p);
}

/* ELPA's work space does not fit, ScaLAPACK's does. */
static void auto_solver_follows_the_memory_limit(void **state)
{
  char    limit[64];
  Problem p = NewProblem(PETSC_COMM_WORLD, "-data synthetic -data_shape 1,28,28 -data_count 2000 -net small-lenet "
                                           "-engine onednn -noise_memory 0.001");

  (void)state;
  OK(CkSpectrumPlan(p.spectrum, PETSC_FALSE));
  assert_int_equal(p.spectrum->solver, CK_SOLVER_ELPA);
  OK(PetscSNPrintf(limit, sizeof(limit), "-memory_limit %.9g",
                   0.99e-9 * CkSpectrumTotalMemory(p.spectrum, &p.spectrum->estimate)));
  OK(PetscOptionsInsertString(NULL, limit));
  OK(CkSpectrumPlan(p.spectrum, PETSC_FALSE));
  assert_int_equal(p.spectrum->method, CK_SPECTRUM_GRAM);
  assert_int_equal(p.spectrum->solver, CK_SOLVER_SCALAPACK);
  FreeProblem(&p);
}

/* Passes of the plan are those of the run. */
static void plan_counts_passes(void **state)
{
  static const struct {
    const char *options;
    double      passes;
  } cases[] = {
    {"-spectrum_method dense", 3}, /* norms, matrix, residuals */
    {"-spectrum_method gram", 4},  /* and the vectors */
    {"-spectrum_method dense -spectrum_check false", 2},
    {"-spectrum_method gram -spectrum_check false", 2},
    {"-spectrum_method dense -spectrum_vectors all", 4}, /* 53 vectors are two groups of 32 */
    {"-spectrum_method gram -spectrum_vectors 33", 6},
    {"-spectrum_method gram -net_widths 100 -noise_memory 0.00001 -spectrum_residuals 0",
     5}, /* d = 1,003: four ranges */
  };

  (void)state;
  for (size_t c = 0; c < PETSC_STATIC_ARRAY_LENGTH(cases); ++c) {
    CkSpectrumStatistics s;
    Problem              p = NewMlp(cases[c].options);

    OK(CkSpectrumPlan(p.spectrum, PETSC_TRUE));
    OK(CkSpectrumSolve(p.spectrum));
    OK(CkSpectrumGetStatistics(p.spectrum, &s));
    assert_close(p.spectrum->estimate.passes, cases[c].passes, 0, 1);
    assert_close(s.passes, cases[c].passes, 1e-12, cases[c].passes);
    FreeProblem(&p);
  }
}

/* D changes between the trace and the assembly, as a wrong kernel would make it: every route notices. */
static void foreign_trace_is_noticed(void **state)
{
  static const CkSpectrumMethod methods[] = {CK_SPECTRUM_DENSE, CK_SPECTRUM_GRAM, CK_SPECTRUM_KRYLOV};

  (void)state;
  for (int m = 0; m < 3; ++m) {
    Problem p = NewMlp("-spectrum_nev 20");
    double  trace;

    p.spectrum->asked = methods[m];
    OK(CkSpectrumPlan(p.spectrum, PETSC_FALSE));
    OK(CkDiffusionTrace(p.D, &trace));
    p.spectrum->trace = p.spectrum->scale = 0.9 * trace;
    p.spectrum->traced = PETSC_TRUE;
    OK(CkSpectrumRouteFind(methods[m])->solve(p.spectrum));
    assert_message(CkSpectrumChecksVerify(p.comm, &p.spectrum->checks), "self-check", "trace of D");
    FreeProblem(&p);
  }
}

/* A map that gives vectors of another matrix: the product with D itself notices. */
static PetscErrorCode WrongMap(CkSpectrum s, PetscInt m, const double U[], const double lambda[], Vec V[])
{
  PetscFunctionBeginUser;
  (void)U;
  (void)lambda;
  (void)s;
  for (PetscInt j = 0; j < m; ++j) PetscCall(VecSet(V[j], 1 + (double)j));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static void foreign_matrix_is_noticed(void **state)
{
  CkBlockMatrix A;
  Problem       p = NewMlp("-spectrum_method dense");
  double        trace;

  (void)state;
  OK(CkSpectrumPlan(p.spectrum, PETSC_FALSE));
  OK(CkDiffusionTrace(p.D, &trace));
  p.spectrum->trace = p.spectrum->scale = trace;
  OK(CkDiffusionDense(p.D, &A));
  OK(CkSpectrumSolveAssembled(p.spectrum, &A, WrongMap));
  assert_message(CkSpectrumChecksVerify(p.comm, &p.spectrum->checks), "self-check", "D v from the data");
  FreeProblem(&p);
}

static const struct CMUnitTest tests[] = {
  cmocka_unit_test(numbers_out_of_range),
  cmocka_unit_test(vectors_that_do_not_exist),
  cmocka_unit_test(iteration_that_does_not_converge),
  cmocka_unit_test(memory_limit),
  cmocka_unit_test(auto_follows_the_memory_limit),
  cmocka_unit_test(auto_solver_follows_the_memory_limit),
  cmocka_unit_test(plan_counts_passes),
  cmocka_unit_test(foreign_trace_is_noticed),
  cmocka_unit_test(foreign_matrix_is_noticed),
};

CK_TEST_MAIN(tests, SlepcInitialize, SlepcFinalize)
