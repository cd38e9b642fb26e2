#include "density.h"
#include "messages.h"
#include "problem.h"
#include <clarkia/random.h>
#include <float.h>

/* Stochastic Lanczos quadrature: rules against closed forms, counts against complete spectra within their own errors,
   the same bits on any number of ranks. */

#define MLP "-data synthetic -data_shape 6 -data_classes 3 -data_count 40 -net mlp -net_widths 5 "
#define TINY "-data synthetic -data_shape 1,7,7 -data_classes 5 -net tiny-fc -data_count 300 "
#define DENSITY " -spectrum_method density "

static const char *const forms[] = {"-spectrum_krylov weight", "-spectrum_krylov sample -spectrum_keep true",
                                    "-spectrum_krylov sample -spectrum_keep false"};
enum { FORMS = 3 };

static const CkSpectrumDensity *SolveDensity(Problem *p)
{
  const CkSpectrumDensity *f;

  OK(CkSpectrumSolve(p->spectrum));
  OK(CkSpectrumGetDensity(p->spectrum, &f));
  return f;
}

static PetscErrorCode ApplyDiagonal(void *context, PetscInt m, const double Z[], double Y[])
{
  const double *diagonal = context;
  enum { n = 40 };

  PetscFunctionBeginUser;
  for (size_t i = 0; i < (size_t)m * n; ++i) Y[i] = diagonal[i % n] * Z[i];
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* As many steps as dimensions: the nodes are the eigenvalues, each once, though the leading ones converge early:
   without orthogonalisation they would come again. */
static void complete_recurrence_finds_every_eigenvalue(void **state)
{
  enum { n = 40, probes = 3 };
  double        diagonal[n];
  CkLanczosRule rule;

  (void)state;
  for (int i = 0; i < n; ++i) diagonal[i] = pow(0.6, i);
  OK(CkLanczosRuleCreate(n, probes, n, &rule));
  OK(CkLanczosRun(PETSC_COMM_WORLD, 5, ApplyDiagonal, diagonal, &rule));
  for (PetscInt p = 0; p < probes; ++p) {
    double sum = 0;

    assert_on_all_ranks(rule.taken[p] >= n - 5);
    for (PetscInt i = 0; i < rule.taken[p]; ++i) {
      if (i < 30) assert_close(rule.nodes[p * n + i], diagonal[i], 1e-14, 1);
      sum += rule.weights[p * n + i];
    }
    assert_close(sum, 1, 1e-13, 1);
  }
  OK(CkLanczosRuleDestroy(&rule));
}

/* f_k = x'Hx/2 + xi_k.x with xi = +-c_i e_i, c_i = 3, 2, 1, ten of each: D = diag(c_i^2)/d. */
enum { ENSEMBLE = 30 };
static Problem NewEnsemble(const char options[], const double c[3])
{
  enum { d = ENSEMBLE, N = 2 * d };
  double  H[d * d] = {0}, xi[N * d] = {0};
  Problem p = NewLandscape(PETSC_COMM_WORLD, options);

  for (int i = 0; i < d; ++i) {
    H[i * d + i] = 1;
    xi[2 * i * d + i] = c[i / 10];
    xi[(2 * i + 1) * d + i] = -c[i / 10];
  }
  OK(CkLossSetQuadratic(p.loss, d, N, H, xi));
  FinishProblem(&p);
  return p;
}

/* Three distinct eigenvalues are three nodes, and their weights what the probe has in each eigenspace: all moments are
   exact. In sample space N - d = 30 zeros more are a fourth. */
static void few_eigenvalues_are_the_nodes(void **state)
{
  const double c[] = {3, 2, 1};

  (void)state;
  for (int f = 0; f < FORMS; ++f) {
    char                     all[256];
    Problem                  p;
    const CkSpectrumDensity *g;

    OK(PetscSNPrintf(all, sizeof(all), DENSITY "-seed 3 -spectrum_probes 4 -spectrum_steps 9 %s", forms[f]));
    p = NewEnsemble(all, c);
    g = SolveDensity(&p);
    assert_int_equal(g->order, f == 0 ? ENSEMBLE : 2 * ENSEMBLE);
    for (PetscInt j = 0; j < g->probes; ++j) {
      const double *nodes = g->nodes + j * g->steps, *weights = g->weights + j * g->steps;

      assert_int_equal(g->taken[j], f == 0 ? 3 : 4);
      for (int i = 0; i < 3; ++i) assert_close(nodes[i], c[i] * c[i] / ENSEMBLE, 1e-14, 1);
      if (f == 0) {
        const CkRandom stream = {.seed = 3, .purpose = CK_RANDOM_PROBE, .replica = 2, .step = (uint64_t)j};
        double         z[ENSEMBLE], part[3] = {0}, sum = 0;

        CkRandomNormals(&stream, 0, ENSEMBLE, z);
        for (int i = 0; i < ENSEMBLE; ++i) part[i / 10] += z[i] * z[i];
        for (int i = 0; i < 3; ++i) sum += part[i];
        for (int i = 0; i < 3; ++i) assert_close(weights[i], part[i] / sum, 1e-13, 1);
      }
    }
    FreeProblem(&p);
  }
}

/* The smoothed density of few eigenvalues holds all of them, and each where it is. */
static void density_integrates_to_the_count(void **state)
{
  const double c[] = {10, 1, 0.1};
  Problem      p = NewEnsemble(DENSITY "-spectrum_krylov weight -spectrum_probes 5 -spectrum_width 0.05", c);
  const CkSpectrumDensity *g = SolveDensity(&p);
  double                   sum = 0, middle = 0, weight = 0;

  (void)state;
  for (PetscInt i = 0; i < g->points; ++i) {
    const double step = log10(g->grid[1] / g->grid[0]);

    sum += g->density[i] * step;
    if (g->grid[i] > 0.1 / ENSEMBLE && g->grid[i] < 10. / ENSEMBLE) middle += g->density[i] * step;
  }
  for (PetscInt j = 0; j < g->probes; ++j) weight += g->weights[j * g->steps + 1] / (double)g->probes;
  assert_close(sum, ENSEMBLE, 1e-6, ENSEMBLE);
  assert_close(middle, ENSEMBLE * weight, 1e-6, ENSEMBLE);
  FreeProblem(&p);
}

/* (L.6) is attained by a multiple of a projector: 400 probes give the standard error that it states. */
static void trace_bound_is_the_error_of_a_projector(void **state)
{
  const double             c[] = {1, 0, 0}, one = 1. / ENSEMBLE;
  Problem                  p = NewEnsemble(DENSITY "-spectrum_krylov weight -spectrum_probes 400", c);
  const CkSpectrumDensity *g = SolveDensity(&p);

  (void)state;
  assert_close(6 * g->trace_error, CkDensityTraceBound(ENSEMBLE, 400, 10 * one, one), 0.15, 6 * g->trace_error);
  assert_close(g->rank[3], 10, 4 * g->rank_error[3], 1);
  assert_close(CkDensityTraceBound(7, 3, 7, 1), 0, 0, 1); /* the unit matrix: every probe is right */
  FreeProblem(&p);
}

/* Eigenvalues of the Gram matrix above t. */
static double CountAbove(PetscInt n, const double values[], double t)
{
  PetscInt above = 0;

  while (above < n && values[above] > t) ++above;
  return (double)above;
}

/* Counts and moments of a net against all its eigenvalues; complete: the recurrences run to their end. */
static void AssertCounts(const char options[], const char more[], PetscBool complete)
{
  char                     all[512];
  Problem                  exact, p;
  const double            *values;
  PetscInt                 n;
  double                   trace = 0, square = 0;
  const CkSpectrumDensity *g;

  OK(PetscSNPrintf(all, sizeof(all), "%s %s", options, more));
  exact = NewProblem(PETSC_COMM_WORLD, options);
  OK(CkSpectrumSetMethod(exact.spectrum, CK_SPECTRUM_GRAM));
  OK(CkSpectrumSolve(exact.spectrum));
  OK(CkSpectrumGetValues(exact.spectrum, &n, &values, NULL));
  for (PetscInt i = 0; i < n; ++i) trace += values[i], square += values[i] * values[i];
  p = NewProblem(PETSC_COMM_WORLD, all);
  g = SolveDensity(&p);
  for (int i = 0; i < CK_DENSITY_RANKS; ++i) {
    const double count = CountAbove(n, values, g->threshold[i]), error = 4 * g->rank_error[i];

    if (i == 1) continue; /* the float64 threshold is below the rounding of products */
    assert_on_all_ranks(g->rank_lower[i] - error <= count && count <= g->rank_upper[i] + error);
    if (complete || i == 3) assert_on_all_ranks(fabs(g->rank[i] - count) <= error);
    assert_on_all_ranks(g->rank_lower[i] <= g->rank[i] && g->rank[i] <= g->rank_upper[i]);
  }
  assert_on_all_ranks(fabs(g->trace - trace) <= 4 * g->trace_error);
  assert_on_all_ranks(fabs(g->square - square) <= 4 * g->square_error);
  OK(CkSpectrumGetValues(p.spectrum, &n, &values, NULL));
  assert_int_equal(n, 1);
  FreeProblem(&p);
  FreeProblem(&exact);
}

static void counts_agree_with_complete_spectra(void **state)
{
  (void)state;
  for (int f = 0; f < FORMS; ++f) {
    char more[256];

    OK(PetscSNPrintf(more, sizeof(more), DENSITY "-spectrum_steps 400 -spectrum_probes 12 %s", forms[f]));
    AssertCounts(MLP "-engine reference", more, PETSC_TRUE);
    OK(PetscSNPrintf(more, sizeof(more), DENSITY "-spectrum_steps 50 %s", forms[f]));
    AssertCounts(TINY "-engine onednn", more, PETSC_FALSE);
  }
  AssertCounts(TINY "-engine reference", DENSITY "-spectrum_steps 300 -spectrum_keep true", PETSC_TRUE);
  AssertCounts(MLP "-engine reference -noise_centred false -loss_l2 0.01", DENSITY, PETSC_TRUE);
}

/* All ranks of the world against each alone. */
static void same_bits_on_any_number_of_ranks(void **state)
{
  static const char *const engines[] = {"-engine reference", "-engine onednn"};

  (void)state;
  for (int e = 0; e < 2; ++e) {
    for (int f = 0; f < FORMS; ++f) {
      char                     all[512];
      Problem                  p, q;
      const CkSpectrumDensity *a, *b;
      size_t                   size, bytes = sizeof(double);

      OK(
        PetscSNPrintf(all, sizeof(all), MLP DENSITY "-spectrum_steps 12 -noise_columns 4 %s %s", engines[e], forms[f]));
      p = NewProblem(PETSC_COMM_WORLD, all);
      a = SolveDensity(&p);
      q = NewProblem(PETSC_COMM_SELF, all);
      b = SolveDensity(&q);
      size = (size_t)a->probes * (size_t)a->steps;
      assert_on_all_ranks(memcmp(a->nodes, b->nodes, size * bytes) == 0);
      assert_on_all_ranks(memcmp(a->weights, b->weights, size * bytes) == 0);
      assert_on_all_ranks(memcmp(a->density, b->density, (size_t)a->points * bytes) == 0);
      FreeProblem(&q);
      FreeProblem(&p);
    }
  }
}

/* The plan says what the run takes, and the probes share the passes. */
static void passes_are_those_of_the_plan(void **state)
{
  static const double  expected[] = {1 + 7, 1 + 1, 1 + 2 * 7};
  CkSpectrumStatistics s;

  (void)state;
  for (int f = 0; f < FORMS; ++f) {
    char    all[512];
    Problem p;

    OK(PetscSNPrintf(all, sizeof(all), MLP DENSITY "-engine reference -spectrum_steps 7 %s", forms[f]));
    p = NewProblem(PETSC_COMM_WORLD, all);
    (void)SolveDensity(&p);
    OK(CkSpectrumGetStatistics(p.spectrum, &s));
    assert_close(s.passes, expected[f], 1e-12, 1);
    FreeProblem(&p);
  }
}

/* All gradients equal: D = 0, no node counts; one weight: D is a number, which every probe gives. */
static void smallest_matrices(void **state)
{
  const double H[] = {2, 1, 1, 3}, same[] = {1, -1, 1, -1, 1, -1}, h[] = {1}, xi[] = {1, 2, 6};

  (void)state;
  for (int f = 0; f < FORMS; ++f) {
    char                     all[256];
    Problem                  p, q;
    const CkSpectrumDensity *g;

    OK(PetscSNPrintf(all, sizeof(all), DENSITY "%s", forms[f]));
    p = NewLandscape(PETSC_COMM_WORLD, all);
    OK(CkLossSetQuadratic(p.loss, 2, 3, H, same));
    FinishProblem(&p);
    g = SolveDensity(&p);
    for (PetscInt j = 0; j < g->probes; ++j) assert_close(g->nodes[j * g->steps], 0, 100 * DBL_EPSILON, 2);
    FreeProblem(&p);
    q = NewLandscape(PETSC_COMM_WORLD, all);
    OK(CkLossSetQuadratic(q.loss, 1, 3, h, xi));
    FinishProblem(&q);
    g = SolveDensity(&q);
    for (PetscInt j = 0; j < g->probes; ++j) assert_close(g->nodes[j * g->steps], 14. / 3, 1e-14, 14. / 3);
    FreeProblem(&q);
  }
}

static void what_the_density_does_not_give_is_refused(void **state)
{
  Problem                  p = NewProblem(PETSC_COMM_WORLD, MLP DENSITY "-engine reference -spectrum_vectors 2");
  const CkSpectrumDensity *f;

  (void)state;
  assert_message(CkSpectrumSolve(p.spectrum), "-spectrum_vectors 2", "-spectrum_method krylov");
  OK(CkSpectrumSetVectors(p.spectrum, 0));
  OK(CkSpectrumSetMethod(p.spectrum, CK_SPECTRUM_GRAM));
  OK(CkSpectrumSolve(p.spectrum));
  assert_message(CkSpectrumGetDensity(p.spectrum, &f), "gram", "-spectrum_method density");
  FreeProblem(&p);
}

static const struct CMUnitTest tests[] = {
  cmocka_unit_test(complete_recurrence_finds_every_eigenvalue),
  cmocka_unit_test(few_eigenvalues_are_the_nodes),
  cmocka_unit_test(density_integrates_to_the_count),
  cmocka_unit_test(trace_bound_is_the_error_of_a_projector),
  cmocka_unit_test(counts_agree_with_complete_spectra),
  cmocka_unit_test(same_bits_on_any_number_of_ranks),
  cmocka_unit_test(passes_are_those_of_the_plan),
  cmocka_unit_test(smallest_matrices),
  cmocka_unit_test(what_the_density_does_not_give_is_refused),
};

CK_TEST_MAIN(tests, SlepcInitialize, SlepcFinalize)
