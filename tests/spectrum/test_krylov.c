#include "folder.h"
#include "losses.h"
#include "messages.h"
#include "problem.h"
#include "spectrumimpl.h"
#include <clarkia/interrupt.h>
#include <float.h>
#include <stdlib.h>
#include <unistd.h>

/* The block solver in weight and in sample space: against the complete routes and SLEPc's Krylov-Schur, on matrices
   without full rank and with multiple eigenvalues, in pieces, and on other numbers of ranks. */

#define MLP "-data synthetic -data_shape 6 -data_classes 3 -net mlp -net_widths 5 "
#define TINY "-data synthetic -data_shape 1,7,7 -data_classes 5 -net tiny-fc -data_count 300 "
#define KRYLOV " -spectrum_method krylov "

static const char *const forms[] = {"-spectrum_krylov weight", "-spectrum_krylov sample -spectrum_keep true",
                                    "-spectrum_krylov sample -spectrum_keep false"};
enum { FORMS = 3 };

/* What a run gives, copied, whole on every rank; vectors [k x d]. */
typedef struct {
  PetscInt n, k, d;
  double  *values, *residuals, *vectors;
  double   passes, sweeps;
} Result;

static Result Copy(Problem *p)
{
  Result               r;
  const double        *values, *residuals;
  const Vec           *V;
  CkSpectrumStatistics s;

  OK(CkSpectrumGetValues(p->spectrum, &r.n, &values, &residuals));
  OK(CkSpectrumGetVectors(p->spectrum, &r.k, &V));
  OK(CkSpectrumGetStatistics(p->spectrum, &s));
  r.passes = s.passes;
  r.sweeps = s.sweeps;
  r.d = 0;
  if (r.k > 0) OK(VecGetSize(V[0], &r.d));
  OK(PetscMalloc3(r.n, &r.values, r.n, &r.residuals, (size_t)r.k * (size_t)r.d, &r.vectors));
  OK(PetscArraycpy(r.values, values, r.n));
  OK(PetscArraycpy(r.residuals, residuals, r.n));
  for (PetscInt j = 0; j < r.k; ++j) {
    double *entries = GetTestEntries(V[j]);

    OK(PetscArraycpy(r.vectors + (size_t)j * (size_t)r.d, entries, r.d));
    OK(PetscFree(entries));
  }
  return r;
}

static void Free(Result *r)
{
  OK(PetscFree3(r->values, r->residuals, r->vectors));
}

static Result Solve(MPI_Comm comm, const char options[], const char form[], const char more[])
{
  char    all[1024];
  Problem p;
  Result  r;

  OK(PetscSNPrintf(all, sizeof(all), "%s %s %s", options, form, more));
  p = NewProblem(comm, all);
  OK(CkSpectrumSolve(p.spectrum));
  r = Copy(&p);
  FreeProblem(&p);
  return r;
}

static PetscBool SameBits(const Result *a, const Result *b)
{
  if (a->n != b->n || a->k != b->k || a->d != b->d) return PETSC_FALSE;
  return (PetscBool)(memcmp(a->values, b->values, (size_t)a->n * sizeof(double)) == 0 &&
                     memcmp(a->residuals, b->residuals, (size_t)a->n * sizeof(double)) == 0 &&
                     (a->k == 0 || memcmp(a->vectors, b->vectors, (size_t)a->k * (size_t)a->d * sizeof(double)) == 0));
}

/* 1e-6 of each eigenvalue; in single precision products round to eps32 of the largest. */
static void AssertFormsAgree(const char options[], const char nev[], double rounding)
{
  Result exact = Solve(PETSC_COMM_WORLD, options, "-spectrum_method gram", "");

  for (int f = 0; f <= FORMS; ++f) {
    const char *form = f < FORMS ? forms[f] : "-eps_type krylovschur";
    char        more[256];
    Result      r;

    OK(PetscSNPrintf(more, sizeof(more), KRYLOV "-spectrum_nev %s", nev));
    r = Solve(PETSC_COMM_WORLD, options, form, more);
    for (PetscInt i = 0; i < r.n; ++i)
      assert_close(r.values[i], exact.values[i], 1, 1e-6 * fabs(exact.values[i]) + rounding * exact.values[0]);
    Free(&r);
  }
  Free(&exact);
}

static void forms_agree_with_the_gram_matrix(void **state)
{
  (void)state;
  AssertFormsAgree(MLP "-data_count 40 -engine reference", "12", 0);
  AssertFormsAgree(MLP "-data_count 70 -engine onednn", "12", FLT_EPSILON);
  AssertFormsAgree(TINY "-engine reference", "20", 0);
  AssertFormsAgree(TINY "-engine onednn", "20", FLT_EPSILON);
  AssertFormsAgree(TINY "-engine reference -noise_centred false -loss_l2 0.01", "5", 0);
}

/* Few vectors a product and a short basis: many restarts. */
static void restarts_and_narrow_blocks(void **state)
{
  (void)state;
  AssertFormsAgree(MLP "-data_count 40 -engine reference -eps_ncv 14 -noise_columns 4", "6", 0);
  AssertFormsAgree(MLP "-data_count 40 -engine reference -eps_ncv 10 -eps_ckblock_size 1", "6", 0);
  AssertFormsAgree(TINY "-engine reference -eps_ncv 24 -noise_columns 6", "8", 0);
}

static void AssertOrthonormal(const Vec V[], PetscInt k, double tolerance)
{
  for (PetscInt i = 0; i < k; ++i) {
    for (PetscInt j = 0; j <= i; ++j) {
      PetscScalar dot;

      OK(VecDot(V[i], V[j], &dot));
      assert_close(dot, i == j, tolerance, 1);
    }
  }
}

static void AssertPairs(const char options[], const char form[], double tolerance)
{
  char          all[512];
  const double *values, *residuals;
  const Vec    *V;
  PetscInt      n, k;
  Problem       p;

  OK(PetscSNPrintf(all, sizeof(all), "%s %s " KRYLOV "-spectrum_vectors all", options, form));
  p = NewProblem(PETSC_COMM_WORLD, all);
  OK(CkSpectrumSolve(p.spectrum));
  OK(CkSpectrumGetValues(p.spectrum, &n, &values, &residuals));
  OK(CkSpectrumGetVectors(p.spectrum, &k, &V));
  assert_int_equal(k, n);
  AssertOrthonormal(V, k, 1e-6);
  for (PetscInt i = 0; i < n; ++i) assert_on_all_ranks(residuals[i] <= tolerance);
  FreeProblem(&p);
}

static void vectors_are_orthonormal_with_small_residuals(void **state)
{
  (void)state;
  for (int f = 0; f < FORMS; ++f) {
    AssertPairs(TINY "-engine reference -spectrum_nev 15", forms[f], 1.1e-8);
    AssertPairs(TINY "-engine onednn -spectrum_nev 15", forms[f], 1e-5);
    AssertPairs(MLP "-data_count 5 -engine reference -spectrum_nev 5", forms[f], 1e-8); /* rank 4, no more pairs */
    AssertPairs(MLP "-data_count 5 -engine onednn -spectrum_nev 5", forms[f], 1e-5);
  }
}

static void AssertLandscape(Problem *p, PetscInt d, const double exact[])
{
  const double *values;
  PetscInt      n;

  OK(CkSpectrumSolve(p->spectrum));
  OK(CkSpectrumGetValues(p->spectrum, &n, &values, NULL));
  assert_on_all_ranks(n <= d);
  for (PetscInt i = 0; i < n; ++i) assert_close(values[i], exact[i], 1e-13, exact[0]);
}

/* T12: rank 1, whatever the block and the number of pairs. */
static void rank_one(void **state)
{
  const double x[] = {1, 2}, y[] = {1, 1}, w[] = {1, 1}, exact[] = {2, 0};

  (void)state;
  for (int f = 0; f < FORMS; ++f) {
    char    options[128];
    Problem p;

    OK(PetscSNPrintf(options, sizeof(options), KRYLOV "-spectrum_nev 2 %s", forms[f]));
    p = NewLandscape(PETSC_COMM_WORLD, options);
    OK(CkLossSetTwoWeight(p.loss, 2, x, y));
    FinishProblem(&p);
    SetPoint(&p, w);
    AssertLandscape(&p, 2, exact);
    FreeProblem(&p);
  }
}

/* Ten copies of each eigenvalue, D = diag(c_i^2)/d: a block of ten finds them all; one of three does where the basis
   must become the whole space. */
static void copies_of_an_eigenvalue(void **state)
{
  enum { d = 30, N = 60 };
  double H[d * d] = {0}, xi[N * d] = {0}, exact[d];

  (void)state;
  for (int i = 0; i < d; ++i) {
    const double c = 1 + (d - 1 - i) / 10;

    H[i * d + i] = 1 + i;
    xi[2 * i * d + i] = c;
    xi[(2 * i + 1) * d + i] = -c;
    exact[i] = c * c / d;
  }
  for (int f = 0; f < FORMS; ++f) {
    char    options[256];
    Problem p;

    OK(PetscSNPrintf(options, sizeof(options), KRYLOV "-spectrum_nev 30 -noise_columns %d %s", f == 0 ? 3 : 10,
                     forms[f]));
    p = NewLandscape(PETSC_COMM_WORLD, options);
    OK(CkLossSetQuadratic(p.loss, d, N, H, xi));
    FinishProblem(&p);
    AssertLandscape(&p, d, exact);
    FreeProblem(&p);
  }
}

/* Sample space runs on every rank with the same numbers: values, residuals and vectors have the bits of one rank. */
static void sample_space_has_the_same_bits_on_any_number_of_ranks(void **state)
{
  static const char *const engines[] = {TINY "-engine reference", TINY "-engine onednn",
                                        MLP "-data_count 3 -engine onednn -spectrum_nev 2"};

  (void)state;
  for (size_t e = 0; e < PETSC_STATIC_ARRAY_LENGTH(engines); ++e) {
    for (int f = 1; f < FORMS; ++f) {
      Result a = Solve(PETSC_COMM_WORLD, engines[e], forms[f], KRYLOV "-spectrum_vectors all"), b;

      b = Solve(PETSC_COMM_SELF, engines[e], forms[f], KRYLOV "-spectrum_vectors all");
      assert_on_all_ranks(a.k == a.n && a.k > 0);
      assert_on_all_ranks(SameBits(&a, &b));
      assert_close(a.passes, b.passes, 0, 1);
      Free(&a);
      Free(&b);
    }
  }
}

/* Passes are those of the products: norms, products, residuals; and in sample space the gradients or two a product, and
   the vectors. */
static void passes_are_counted(void **state)
{
  const char *more = KRYLOV "-spectrum_nev 5 -eps_tol 1e-4";
  Result      r[FORMS];
  double      products;

  (void)state;
  for (int f = 0; f < FORMS; ++f) r[f] = Solve(PETSC_COMM_WORLD, TINY "-engine reference", forms[f], more);
  products = r[1].sweeps / 2;
  assert_on_all_ranks(products >= 2 && products <= 6);
  assert_close(r[1].passes, 1 + 1 + 1 + 1, 1e-12, 1);
  assert_close(r[2].passes, 1 + 2 * products + 1 + 1, 1e-12, 1);
  assert_close(r[0].passes, 1 + products + 1, 1, 1); /* another start, one product more or fewer */
  for (int f = 0; f < FORMS; ++f) Free(&r[f]);
}

static void Remove(const char name[])
{
  PetscMPIInt rank;

  MPI_Comm_rank(PETSC_COMM_WORLD, &rank);
  MPI_Barrier(PETSC_COMM_WORLD);
  if (rank == 0) unlink(Path(name));
  MPI_Barrier(PETSC_COMM_WORLD);
}

static int RemoveFolder(void **state)
{
  static const char *const names[] = {"check.h5", "vectors.h5"};

  (void)state;
  return RemoveFolderOf(PETSC_STATIC_ARRAY_LENGTH(names), names);
}

/* Stopped after every product and gone on with: the bits and the passes of the run in one piece, and how often it was
   stopped. */
static Result SolveInPieces(MPI_Comm last, const char options[], const char form[], const char more[], int *pieces)
{
  char           all[1024];
  PetscErrorCode ierr = CK_ERR_REQUEUE;
  Result         r = {0};

  Remove("check.h5");
  for (*pieces = 0; *pieces < 50 && ierr == CK_ERR_REQUEUE; ++*pieces) {
    const PetscBool finish = (PetscBool)(*pieces > 0 && last != PETSC_COMM_WORLD);
    Problem         p;

    OK(PetscSNPrintf(all, sizeof(all), "%s %s %s -spectrum_checkpoint %s %s", options, form, more, Path("check.h5"),
                     finish ? "-spectrum_checkpoint_interval 1e6" : "-max_seconds 1e-9"));
    p = NewProblem(finish ? last : PETSC_COMM_WORLD, all);
    OK(PetscPushErrorHandler(PetscReturnErrorHandler, NULL));
    ierr = CkSpectrumSolve(p.spectrum);
    OK(PetscPopErrorHandler());
    if (!ierr) r = Copy(&p);
    FreeProblem(&p);
  }
  assert_on_all_ranks(ierr == 0);
  return r;
}

static void pieces_give_the_bits_of_the_whole(void **state)
{
  static const char *const cases[] = {TINY "-engine reference -spectrum_vectors 5",
                                      TINY "-engine onednn -eps_ncv 16 -noise_columns 5 -spectrum_nev 6"};

  (void)state;
  for (size_t c = 0; c < PETSC_STATIC_ARRAY_LENGTH(cases); ++c) {
    for (int f = 0; f < (c == 0 ? FORMS : 1); ++f) {
      int    pieces;
      Result whole = Solve(PETSC_COMM_WORLD, cases[c], forms[f], KRYLOV "-eps_tol 1e-3");
      Result r = SolveInPieces(PETSC_COMM_WORLD, cases[c], forms[f], KRYLOV "-eps_tol 1e-3", &pieces);

      assert_on_all_ranks(pieces >= 3);
      assert_on_all_ranks(SameBits(&whole, &r));
      assert_close(r.passes, whole.passes, 1e-12, 1);
      assert_close(r.sweeps, whole.sweeps, 1e-12, 1);
      Free(&whole);
      Free(&r);
    }
  }
}

/* Begun on all ranks, finished on one. */
static void sample_space_goes_on_with_other_ranks(void **state)
{
  int    pieces;
  Result whole = Solve(PETSC_COMM_SELF, TINY "-engine onednn", forms[1], KRYLOV "-spectrum_vectors all");
  Result r = SolveInPieces(PETSC_COMM_SELF, TINY "-engine onednn", forms[1], KRYLOV "-spectrum_vectors all", &pieces);

  (void)state;
  assert_int_equal(pieces, 2);
  assert_on_all_ranks(SameBits(&whole, &r));
  Free(&whole);
  Free(&r);
}

/* A checkpoint of another problem is refused, with what differs. */
static void foreign_checkpoints_are_refused(void **state)
{
  static const struct {
    const char *options, *word;
  } cases[] = {{TINY "-engine reference -data_count 299", "samples is 300 there and 299 here"},
               {TINY "-engine reference -seed 2", "trace is"},
               {TINY "-engine onednn", "engine is reference there and onednn here"},
               {TINY "-engine reference -noise_columns 7", "columns is 32 there and 7 here"},
               {TINY "-engine reference -spectrum_krylov sample", "space is weight there and sample here"},
               {MLP "-data_count 300 -engine reference", "dimension is 917 there and 53 here"}};
  char    file[256], all[1024];
  Problem p;

  (void)state;
  Remove("check.h5");
  OK(PetscSNPrintf(file, sizeof(file), "%s -spectrum_checkpoint %s", KRYLOV, Path("check.h5")));
  OK(
    PetscSNPrintf(all, sizeof(all), "%s -spectrum_krylov weight -max_seconds 1e-9 %s", TINY "-engine reference", file));
  p = NewProblem(PETSC_COMM_WORLD, all);
  assert_message(CkSpectrumSolve(p.spectrum), "check.h5", "goes on");
  FreeProblem(&p);
  for (size_t c = 0; c < PETSC_STATIC_ARRAY_LENGTH(cases); ++c) {
    OK(PetscSNPrintf(all, sizeof(all), "-spectrum_krylov weight %s %s", cases[c].options, file));
    p = NewProblem(PETSC_COMM_WORLD, all);
    assert_message(CkSpectrumSolve(p.spectrum), "check.h5", "another problem", cases[c].word);
    FreeProblem(&p);
  }
}

static void AssertRefused(const char options[], const char word[], const char remedy[])
{
  Problem p = NewProblem(PETSC_COMM_WORLD, options);

  assert_message(CkSpectrumSolve(p.spectrum), word, remedy);
  FreeProblem(&p);
}

static void keys_that_do_not_go_together(void **state)
{
  (void)state;
  AssertRefused(TINY KRYLOV "-max_seconds 5", "-max_seconds 5", "-spectrum_checkpoint");
  AssertRefused(TINY "-spectrum_method gram -spectrum_checkpoint a.h5", "gram", "-spectrum_method krylov");
  AssertRefused(TINY "-spectrum_start a.h5", "-spectrum_start", "-spectrum_method krylov");
  AssertRefused(TINY KRYLOV "-spectrum_start none.h5", "none.h5", "");
  AssertRefused(TINY KRYLOV "-eps_type krylovschur -spectrum_checkpoint a.h5", "ckblock", "-eps_type");
}

static void WriteSpectrum(const char options[])
{
  Problem p = NewProblem(PETSC_COMM_WORLD, options);
  CkFile  file;

  OK(CkSpectrumSolve(p.spectrum));
  OK(CkFileCreate(PETSC_COMM_WORLD, Path("vectors.h5"), &file));
  OK(CkSpectrumWrite(p.spectrum, file));
  OK(CkFileCommit(file));
  OK(CkFileDestroy(&file));
  FreeProblem(&p);
}

/* From the eigenvectors of the same matrix one product suffices, two in sample space or with fewer vectors than pairs.
 */
static void eigenvectors_of_a_file_are_a_start(void **state)
{
  char start[256];

  (void)state;
  WriteSpectrum(TINY KRYLOV "-engine reference -spectrum_vectors 10 -spectrum_nev 10 -eps_tol 1e-10");
  OK(PetscSNPrintf(start, sizeof(start), KRYLOV "-spectrum_nev 10 -eps_tol 1e-6 -spectrum_start %s",
                   Path("vectors.h5")));
  for (int f = 0; f < 2; ++f) {
    Result cold = Solve(PETSC_COMM_WORLD, TINY "-engine reference", forms[f], KRYLOV "-spectrum_nev 10 -eps_tol 1e-6");
    Result warm = Solve(PETSC_COMM_WORLD, TINY "-engine reference", forms[f], start);

    for (PetscInt i = 0; i < 10; ++i) assert_close(warm.values[i], cold.values[i], 1e-6, cold.values[0]);
    if (f == 0) assert_close(warm.passes, 3, 1e-12, 1);
    else assert_on_all_ranks(warm.sweeps < cold.sweeps && warm.sweeps <= 4);
    Free(&cold);
    Free(&warm);
  }
  OK(PetscSNPrintf(start, sizeof(start), MLP "-data_count 40" KRYLOV "-spectrum_start %s", Path("vectors.h5")));
  AssertRefused(start, "dimension 917", "53");
  WriteSpectrum(TINY KRYLOV "-engine reference");
  OK(PetscSNPrintf(start, sizeof(start), TINY KRYLOV "-spectrum_start %s", Path("vectors.h5")));
  AssertRefused(start, "no eigenvectors", "-spectrum_vectors");
}

static const struct CMUnitTest tests[] = {
  cmocka_unit_test(forms_agree_with_the_gram_matrix),
  cmocka_unit_test(restarts_and_narrow_blocks),
  cmocka_unit_test(vectors_are_orthonormal_with_small_residuals),
  cmocka_unit_test(rank_one),
  cmocka_unit_test(copies_of_an_eigenvalue),
  cmocka_unit_test(sample_space_has_the_same_bits_on_any_number_of_ranks),
  cmocka_unit_test(passes_are_counted),
  cmocka_unit_test_setup_teardown(pieces_give_the_bits_of_the_whole, MakeFolder, RemoveFolder),
  cmocka_unit_test_setup_teardown(sample_space_goes_on_with_other_ranks, MakeFolder, RemoveFolder),
  cmocka_unit_test_setup_teardown(foreign_checkpoints_are_refused, MakeFolder, RemoveFolder),
  cmocka_unit_test(keys_that_do_not_go_together),
  cmocka_unit_test_setup_teardown(eigenvectors_of_a_file_are_a_start, MakeFolder, RemoveFolder),
};

CK_TEST_MAIN(tests, SlepcInitialize, SlepcFinalize)
