#include "testing.h"
#include <clarkia/progress.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void human_bytes(void **state)
{
  const struct {
    double      bytes;
    const char *text;
  } cases[] = {{0, "0 B"},           {999, "999 B"},       {1000, "1.00 kB"},   {1420000000., "1.42 GB"},
               {9995000, "10.0 MB"}, {99.94e6, "99.9 MB"}, {99.96e6, "100 MB"}, {999.6e6, "1.00 GB"},
               {2.5e12, "2.50 TB"},  {3e18, "3000 PB"}};

  (void)state;
  for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); ++i) {
    char text[32];

    CkFormatBytes(cases[i].bytes, text);
    assert_string_equal(text, cases[i].text);
  }
}

static void human_seconds(void **state)
{
  const struct {
    double      seconds;
    const char *text;
  } cases[] = {{0.0123, "12.3 ms"},    {1, "1.0 s"},        {59.94, "59.9 s"},
               {59.97, "1 min 00 s"},  {192, "3 min 12 s"}, {3599.4, "59 min 59 s"},
               {3599.6, "1 h 00 min"}, {7384, "2 h 03 min"}};

  (void)state;
  for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); ++i) {
    char text[32];

    CkFormatSeconds(cases[i].seconds, text);
    assert_string_equal(text, cases[i].text);
  }
}

static void capture(void (*call)(void), char text[], size_t length)
{
  FILE  *file = tmpfile();
  int    saved = dup(STDOUT_FILENO);
  size_t got;

  fflush(stdout);
  if (!file || saved < 0 || dup2(fileno(file), STDOUT_FILENO) < 0) abort();
  call();
  fflush(stdout);
  dup2(saved, STDOUT_FILENO);
  close(saved);
  rewind(file);
  got = fread(text, 1, length - 1, file);
  text[got] = '\0';
  fclose(file);
}

static void make_table(void)
{
  CkTable table;

  OK(CkTableCreate(PETSC_COMM_WORLD, "Spectrum", &table));
  OK(CkTableRow(table, "trace", "sum of eigenvalues", "%.3f", 1.5));
  OK(CkTableRow(table, "eigenvalues", "", "%d", 12345));
  OK(CkTableRow(table, "lambda_max", "largest", "%.6g", 0.25));
  OK(CkTableDestroy(&table));
  OK(CkTableDestroy(&table));
}

static void table_is_aligned_on_rank_0(void **state)
{
  char text[1000];
  int  rank;

  (void)state;
  MPI_Comm_rank(PETSC_COMM_WORLD, &rank);
  capture(make_table, text, sizeof(text));
  assert_on_all_ranks(strcmp(text, rank ? ""
                                        : "\nSpectrum\n--------\n"
                                          "  trace        1.500  sum of eigenvalues\n"
                                          "  eigenvalues  12345\n"
                                          "  lambda_max   0.25   largest\n\n") == 0);
}

static void log_twice(void)
{
  OK(CkLog(PETSC_COMM_WORLD, "loss %.2f", 0.5));
  OK(CkLog(PETSC_COMM_WORLD, "100%% done"));
}

static void log_lines(void **state)
{
  char text[1000], *second;
  int  rank;

  (void)state;
  MPI_Comm_rank(PETSC_COMM_WORLD, &rank);
  capture(log_twice, text, sizeof(text));
  second = strchr(text, '\n');
  assert_on_all_ranks(rank ? text[0] == '\0'
                           : strncmp(text, "clarkia: [", 10) == 0 && second &&
                               strncmp(second + 1, "clarkia: [", 10) == 0 && strstr(text, "] loss 0.50\n") &&
                               strstr(second, "] 100% done\n"));
}

/* Into a file, work that is over at once leaves no line: one a minute is the rule. */
static void short_work(void)
{
  CkProgress progress;

  OK(CkProgressCreate(PETSC_COMM_WORLD, "gradients", "samples", 1e6, &progress));
  for (int i = 0; i < 1000; ++i) OK(CkProgressUpdate(progress, i * 1e3));
  OK(CkProgressDestroy(&progress));
  OK(CkProgressDestroy(&progress));
}

static void short_work_is_silent_in_a_file(void **state)
{
  char text[1000];

  (void)state;
  capture(short_work, text, sizeof(text));
  assert_on_all_ranks(text[0] == '\0');
}

static void memory_limit(void **state)
{
  double limit;
  int    size;

  (void)state;
  MPI_Comm_size(PETSC_COMM_WORLD, &size);
  OK(CkMemoryLimit(PETSC_COMM_WORLD, &limit)); /* the machine's, shared by the ranks on this node */
  assert_on_all_ranks(limit > 1e6);
  assert_on_all_ranks(limit * size <= (double)sysconf(_SC_PHYS_PAGES) * (double)sysconf(_SC_PAGE_SIZE) * (1 + 1e-12));
  assert_user_error(CkMemoryCheck(PETSC_COMM_WORLD, 2 * limit, "the Gram matrix", "use -spectrum_method krylov"));
  OK(PetscOptionsInsertString(NULL, "-memory_limit 0.5"));
  OK(CkMemoryLimit(PETSC_COMM_WORLD, &limit));
  assert_on_all_ranks(limit == 5e8);
  OK(CkMemoryCheck(PETSC_COMM_WORLD, 5e8, "the Gram matrix", "use -spectrum_method krylov"));
  assert_user_error(CkMemoryCheck(PETSC_COMM_WORLD, 5e8 + 1, "the Gram matrix", "use -spectrum_method krylov"));
  OK(PetscOptionsClearValue(NULL, "-memory_limit"));
}

/* The message names array, both sizes and the remedy, also when one rank alone needs too much. */
static void memory_message(void **state)
{
  char          *text;
  PetscErrorCode ierr;
  int            rank, size;

  (void)state;
  MPI_Comm_rank(PETSC_COMM_WORLD, &rank);
  MPI_Comm_size(PETSC_COMM_WORLD, &size);
  OK(PetscOptionsInsertString(NULL, "-memory_limit 0.5"));
  OK(PetscPushErrorHandler(PetscReturnErrorHandler, NULL));
  ierr = CkMemoryCheck(PETSC_COMM_WORLD, rank == size - 1 ? 8e9 : 1, "the Gram matrix", "use -spectrum_method krylov");
  OK(PetscPopErrorHandler());
  OK(PetscErrorMessage(ierr, NULL, &text));
  assert_on_all_ranks(ierr == PETSC_ERR_MEM && strstr(text, "the Gram matrix needs 8.00 GB on each rank") &&
                      strstr(text, "-memory_limit allows 500 MB") && strstr(text, "use -spectrum_method krylov"));
  OK(PetscOptionsClearValue(NULL, "-memory_limit"));
}

static void memory_peak_grows(void **state)
{
  const double before = CkMemoryPeak();
  const size_t bytes = (size_t)256 << 20;
  char        *array = malloc(bytes);

  (void)state;
  assert_non_null(array);
  for (size_t i = 0; i < bytes; i += 4096) ((volatile char *)array)[i] = 1;
  assert_on_all_ranks(CkMemoryPeak() >= before + 0.5 * (double)bytes && CkMemoryPeak() < before + 2. * (double)bytes);
  free(array);
}

static void events_have_ids(void **state)
{
  PetscLogEvent id;

  (void)state;
  OK(CkEventsRegister());
  OK(CkEventsRegister());
  OK(PetscLogEventGetId("tile", &id));
  assert_int_equal(id, CK_Tile);
  OK(PetscLogEventGetId("gradient", &id));
  assert_int_equal(id, CK_Gradient);
  assert_int_not_equal(CK_Forward, CK_Backward);
  assert_int_not_equal(CK_Eig, CK_IO);
}

static const struct CMUnitTest tests[] = {
  cmocka_unit_test(human_bytes),
  cmocka_unit_test(human_seconds),
  cmocka_unit_test(table_is_aligned_on_rank_0),
  cmocka_unit_test(log_lines),
  cmocka_unit_test(short_work_is_silent_in_a_file),
  cmocka_unit_test(memory_limit),
  cmocka_unit_test(memory_message),
  cmocka_unit_test(memory_peak_grows),
  cmocka_unit_test(events_have_ids),
};

CK_TEST_MAIN(tests, PetscInitialize, PetscFinalize)
