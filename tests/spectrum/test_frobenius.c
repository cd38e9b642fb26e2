#include "messages.h"
#include "problem.h"

/* -spectrum_frobenius exact: |D|_F of the routes without a matrix is that of the eigenvalues, with the passes of the
   plan, and the same bits on any number of ranks and in any number of pieces. */

#define MLP "-data synthetic -data_shape 6 -data_classes 3 -data_count 200 -net mlp -net_widths 5 "
#define EXACT " -spectrum_frobenius exact "

static const char *const routes[] = {"-spectrum_method krylov -spectrum_nev 5", "-spectrum_method density",
                                     "-spectrum_method krylov -spectrum_nev 5 -noise_memory 1e-5",
                                     "-spectrum_method density -noise_memory 1e-5"};
enum { ROUTES = 4 };

static CkSpectrumStatistics Solve(MPI_Comm comm, const char base[], const char more[])
{
  CkSpectrumStatistics t;
  char                 all[512];
  Problem              p;

  OK(PetscSNPrintf(all, sizeof(all), "%s %s", base, more));
  p = NewProblem(comm, all);
  OK(CkSpectrumSolve(p.spectrum));
  OK(CkSpectrumGetStatistics(p.spectrum, &t));
  FreeProblem(&p);
  return t;
}

static void CheckRoutes(const char base[], double tolerance)
{
  const CkSpectrumStatistics full = Solve(PETSC_COMM_WORLD, base, "-spectrum_method dense");

  for (int r = 0; r < ROUTES; ++r) {
    char                 more[256];
    CkSpectrumStatistics t;

    OK(PetscSNPrintf(more, sizeof(more), EXACT "%s", routes[r]));
    t = Solve(PETSC_COMM_WORLD, base, more);
    assert_on_all_ranks(!t.complete && isnan(t.clipped_mean) && isnan(t.score));
    assert_close(t.frobenius, full.frobenius, tolerance, full.frobenius);
    assert_close(t.std, full.std, tolerance, full.std);
    assert_close(t.participation_ratio, full.participation_ratio, tolerance, full.participation_ratio);
  }
}

static void the_norm_is_that_of_all_eigenvalues(void **state)
{
  (void)state;
  CheckRoutes(MLP "-engine reference", 1e-11);
  CheckRoutes(MLP "-engine onednn", 2e-6);
  CheckRoutes(MLP "-engine onednn -noise_centred false -loss_l2 0.1", 2e-6);
}

static void nobody_asks_and_it_is_not_known(void **state)
{
  (void)state;
  assert_on_all_ranks(isnan(Solve(PETSC_COMM_WORLD, MLP, routes[0]).frobenius));
}

static void the_same_bits_on_any_number_of_ranks(void **state)
{
  double first = 0;

  (void)state;
  for (int r = 0; r < ROUTES; ++r) {
    char   more[256];
    double together, alone;

    OK(PetscSNPrintf(more, sizeof(more), EXACT "-spectrum_check false %s", routes[r]));
    together = Solve(PETSC_COMM_WORLD, MLP "-loss_sum_block 16 -engine_tile 16", more).frobenius;
    alone = Solve(PETSC_COMM_SELF, MLP "-loss_sum_block 16 -engine_tile 16", more).frobenius;
    if (r == 0) first = alone;
    assert_on_all_ranks(together == alone && alone == first);
  }
}

/* The pass of the norms, then those of the route, and here 13 panels of one sum block: 78 pairs of 2/13 of the samples,
   or of a panel and the last, half a block. */
static void passes_are_those_of_the_plan(void **state)
{
  static const char base[] = MLP "-engine reference -loss_sum_block 16 -spectrum_method density -spectrum_steps 7 "
                                 "-spectrum_krylov weight -noise_gram_precision double -noise_memory ";
  char              one[512], many[512];

  (void)state;
  OK(PetscSNPrintf(one, sizeof(one), "%s 1 -noise_columns 10", base));
  OK(PetscSNPrintf(many, sizeof(many), "%s 1e-6 -noise_columns 1", base));
  assert_close(Solve(PETSC_COMM_WORLD, one, EXACT).passes, 1 + 7 + 1, 1e-12, 1);
  assert_close(Solve(PETSC_COMM_WORLD, many, EXACT).passes, 1 + 70 + 12, 1e-12, 1);
}

static void a_route_that_has_it_anyway_refuses_the_key(void **state)
{
  (void)state;
  SetOptions(EXACT);
  assert_message(CkSpectrumCheckKeys(PETSC_COMM_WORLD, CK_SPECTRUM_DENSE, PETSC_TRUE), "-spectrum_frobenius",
                 "-spectrum_method krylov or density");
  SetOptions(EXACT "-noise_gram_precision double"); /* of the Gram matrix that it needs */
  OK(CkSpectrumCheckKeys(PETSC_COMM_WORLD, CK_SPECTRUM_KRYLOV, PETSC_TRUE));
  SetOptions("-noise_gram_precision double");
  assert_message(CkSpectrumCheckKeys(PETSC_COMM_WORLD, CK_SPECTRUM_KRYLOV, PETSC_TRUE), "-noise_gram_precision",
                 "no effect");
}

static const struct CMUnitTest tests[] = {
  cmocka_unit_test(the_norm_is_that_of_all_eigenvalues),        cmocka_unit_test(nobody_asks_and_it_is_not_known),
  cmocka_unit_test(the_same_bits_on_any_number_of_ranks),       cmocka_unit_test(passes_are_those_of_the_plan),
  cmocka_unit_test(a_route_that_has_it_anyway_refuses_the_key),
};

CK_TEST_MAIN(tests, SlepcInitialize, SlepcFinalize)
