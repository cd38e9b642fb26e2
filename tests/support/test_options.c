#include "messages.h"
#include <stdlib.h>
#include <unistd.h>

static const CkOption table[] = {
  {"toy_count", CK_OPTION_INT, "10", 1, 60000, NULL, "number of samples"},
  {"toy_rate", CK_OPTION_REAL, "0.1", 0, 1e300, NULL, "learning rate"},
  {"toy_offset", CK_OPTION_INT, "-3", 0, 0, NULL, "any integer"},
  {"toy_save", CK_OPTION_REALS, "0.2,0.4,1.0", 0, 1, NULL, "fractions of the run at which to save"},
  {"toy_widths", CK_OPTION_INTS, NULL, 1, 4096, NULL, "units of each layer"},
  {"toy_method", CK_OPTION_STRING, "auto", 0, 0, "dense|gram|krylov|auto", "route to the spectrum"},
  {"toy_flag", CK_OPTION_BOOL, "false", 0, 0, NULL, "a switch"},
  {"toy", CK_OPTION_STRING, NULL, 0, 0, NULL, "name or file"},
  {0}};

/* Puts options into an empty database, checks them, and gives the message ("" if they are fine). */
static char message[1200];

static const char *check(const char options[])
{
  PetscErrorCode ierr;
  char          *base = NULL;

  OK(PetscOptionsClear(NULL));
  OK(PetscOptionsInsertString(NULL, options));
  OK(PetscPushErrorHandler(PetscReturnErrorHandler, NULL));
  ierr = CkOptionsCheck();
  OK(PetscPopErrorHandler());
  message[0] = '\0';
  if (ierr) {
    OK(PetscErrorMessage(ierr, NULL, &base));
    snprintf(message, sizeof(message), "%s", base);
  }
  return message;
}

/* An error whose message has all the given pieces. */
static void refused(const char options[], const char a[], const char b[])
{
  const char *text = check(options);

  if (!strstr(text, a) || !strstr(text, b))
    fprintf(stderr, "%s: message '%s' without '%s' or '%s'\n", options, text, a, b);
  assert_on_all_ranks(text[0] && strstr(text, a) && strstr(text, b));
}

static void accepted(const char options[])
{
  const char *text = check(options);

  if (text[0]) fprintf(stderr, "%s: %s\n", options, text);
  assert_on_all_ranks(text[0] == '\0');
}

static void unknown_keys_name_the_nearest(void **state)
{
  (void)state;
  refused("-toy_cuont 3", "-toy_cuont", "did you mean -toy_count?");
  refused("-toy_learning_rate 3", "-toy_learning_rate", "did you mean -toy_");
  refused("-TOY_COUMT 3", "-TOY_COUMT", "did you mean -toy_count?");
  refused("-ty_count 3", "-ty_count", "did you mean -toy_count?");
  refused("-toycount 3", "-toycount", "did you mean -toy_count?");
  refused("-sed 3", "-sed", "did you mean -seed?");
  refused("-seed_first 3", "-seed_first", "did you mean");
  refused("-outptu x.h5", "-outptu", "did you mean -output?");
  refused("-eps_nev 3 -toy_x", "-toy_x", "did you mean");
}

static void foreign_keys_pass(void **state)
{
  (void)state;
  accepted("");
  accepted("-eps_nev 3 -st_type sinvert -mat_view -log_view_memory -on_error_abort -svd_type cross -pc_type none");
  accepted("-TOY_Count 3 -toy_rate 1e-3");
  accepted("-memory_view -citations a.bib -use_gpu_aware_mpi 0 -get_total_flops -no_signal_handler -sub_pc_type ilu");
}

/* Neither ours nor PETSc's: without what it was meant to change, a run would be another. */
static void keys_of_nobody_are_refused(void **state)
{
  (void)state;
  refused("-count 3", "unknown option -count;", "did you mean -toy_count?");
  refused("-counts 3", "unknown option -counts;", "did you mean -toy_count?");
  refused("-tov 3", "unknown option -tov;", "did you mean -toy?");
  refused("-flag", "unknown option -flag;", "did you mean -toy_flag?");
  refused("-learning_rate 3", "unknown option -learning_rate;", "did you mean -toy_rate?");
  refused("--rate 3", "unknown option --rate;", "did you mean -toy_rate?");
  refused("-something_else entirely", "unknown option -something_else (-help lists all)", "");
  refused("-ep_tol 1e-9", "unknown option -ep_tol;", "did you mean PETSc's or SLEPc's -eps_tol?");
  refused("-q 4", "unknown option -q (-help lists all)", "");
}

static void bad_values_name_key_value_and_bounds(void **state)
{
  (void)state;
  refused("-toy_count 3x", "-toy_count: '3x' is no integer", "1 .. 60000");
  refused("-toy_count 2.5", "-toy_count: '2.5' is no integer", "number of samples");
  refused("-toy_count 0", "'0' is out of bounds", "1 .. 60000");
  refused("-toy_count 60001", "'60001' is out of bounds", "1 .. 60000");
  refused("-toy_count 99999999999999999999999", "is too large", "1 .. 60000");
  refused("-toy_offset 99999999999999999999999", "is too large", "any integer");
  refused("-toy_count", "-toy_count needs a value", "number of samples");
  refused("-toy_count -toy_flag", "-toy_count needs a value", "");
  refused("-toy_rate nan", "'nan' is not a finite number", "at least 0");
  refused("-toy_rate inf", "'inf' is not a finite number", "at least 0");
  refused("-toy_rate 0.1.2", "'0.1.2' is no number", "at least 0");
  refused("-toy_rate -0.1", "'-0.1' is out of bounds", "at least 0");
  refused("-toy_rate fast", "'fast' is no number", "at least 0");
  refused("-toy_save 0.2,0.4,2", "'0.2,0.4,2' is out of bounds", "0 .. 1, each");
  refused("-toy_save 0.2,,1", "is no number", "0 .. 1");
  refused("-toy_save 0.2,", "is no number", "0 .. 1");
  refused("-toy_widths 10,2x", "is no integer", "1 .. 4096");
  refused("-toy_method gramm", "'gramm' is none of its choices: dense|gram|krylov|auto", "did you mean gram?");
  refused("-toy_method den", "dense|gram|krylov|auto", "did you mean dense?");
  refused("-toy_flag maybe", "-toy_flag: 'maybe' is neither true nor false", "");
  refused("-toy", "-toy needs a value", "name or file");
  refused("-memory_limit 0", "-memory_limit: '0' is out of bounds", "GB");
  accepted(
    "-toy_count 1 -toy_rate 0 -toy_offset -7 -toy_save 0,1 -toy_widths 4096 -toy_method gram -toy_flag -toy x.h5");
  accepted("-toy_count 60000 -toy_rate 1e299 -toy_flag no");
}

static void values_in_force(void **state)
{
  PetscInt  i = -1, n = 4, widths[4] = {-1};
  PetscReal r = -1, save[4] = {-1};
  PetscBool flag = PETSC_TRUE, set = PETSC_TRUE;
  char      text[16] = "before";

  (void)state;
  accepted("");
  OK(CkOptionsGetInt("toy_count", &i, &set));
  assert_on_all_ranks(i == 10 && !set);
  OK(CkOptionsGetReal("toy_rate", &r, &set));
  assert_on_all_ranks(r == 0.1 && !set);
  OK(CkOptionsGetReals("toy_save", save, &n, &set));
  assert_on_all_ranks(n == 3 && save[0] == 0.2 && save[1] == 0.4 && save[2] == 1 && !set);
  OK(CkOptionsGetInts("toy_widths", widths, &n, &set));
  assert_on_all_ranks(n == 0 && !set);
  OK(CkOptionsGetBool("toy_flag", &flag, NULL));
  assert_on_all_ranks(!flag);
  OK(CkOptionsGetString("toy", text, sizeof(text), &set));
  assert_on_all_ranks(text[0] == '\0' && !set);
  OK(CkOptionsGetReal("memory_limit", &r, &set));
  assert_on_all_ranks(r == 0.1 && !set); /* unset, no fallback: left alone */

  accepted("-toy_count 77 -toy_rate 1e-3 -toy_widths 30,20,10 -toy_flag -toy a_name -toy_offset -5 -toy_method krylov");
  n = 4;
  OK(CkOptionsGetInt("toy_count", &i, &set));
  assert_on_all_ranks(i == 77 && set);
  OK(CkOptionsGetInt("toy_offset", &i, &set));
  assert_on_all_ranks(i == -5 && set);
  OK(CkOptionsGetReal("toy_rate", &r, &set));
  assert_on_all_ranks(r == 1e-3 && set);
  OK(CkOptionsGetInts("toy_widths", widths, &n, &set));
  assert_on_all_ranks(n == 3 && widths[0] == 30 && widths[1] == 20 && widths[2] == 10 && set);
  OK(CkOptionsGetBool("toy_flag", &flag, &set));
  assert_on_all_ranks(flag && set);
  OK(CkOptionsGetString("toy", text, sizeof(text), &set));
  assert_on_all_ranks(strcmp(text, "a_name") == 0 && set);
  OK(CkOptionsGetString("toy_method", text, sizeof(text), &set));
  assert_on_all_ranks(strcmp(text, "krylov") == 0 && set);
  n = 2;
  assert_user_error(CkOptionsGetInts("toy_widths", widths, &n, NULL)); /* no room for three */
  assert_user_error(CkOptionsGetString("toy", text, 3, NULL));
}

/* Asking for what no table lists, or as another kind, is a bug that must not pass. */
static void programming_errors(void **state)
{
  static const CkOption twice[] = {{"toy_count", CK_OPTION_INT, NULL, 0, 0, NULL, "a second table with this key"}, {0}};
  static const CkOption wrong[] = {{"toy_wrong", CK_OPTION_INT, "0", 1, 2, NULL, "default out of bounds"}, {0}};
  PetscInt              i;

  (void)state;
  assert_user_error(CkOptionsGetInt("toy_unheard_of", &i, NULL));
  assert_user_error(CkOptionsGetInt("toy_rate", &i, NULL));
  assert_user_error(CkOptionsRegister("Twice", twice));
  assert_user_error(CkOptionsRegister("Wrong", wrong));
  OK(CkOptionsRegister("Toy", table)); /* the same table again is fine */
}

static void list_in_force(void **state)
{
  char *text;

  (void)state;
  accepted("-toy_count 77 -toy_flag -toy_save 0.5 -output r.h5");
  OK(CkOptionsInForce(&text));
  assert_on_all_ranks(strstr(text, "-toy_count 77\n") && strstr(text, "-toy_flag true\n"));
  assert_on_all_ranks(strstr(text, "-toy_save 0.5\n") && strstr(text, "-toy_rate 0.1\n"));
  assert_on_all_ranks(strstr(text, "-output r.h5\n") && strstr(text, "-seed 1\n"));
  assert_on_all_ranks(!strstr(text, "-toy_widths") && !strstr(text, "-memory_limit"));
  OK(PetscFree(text));
}

static void yaml_files(void **state)
{
  char        name[] = "/tmp/clarkia-options-XXXXXX";
  int         rank, descriptor;
  PetscInt    i, n = 4;
  PetscReal   save[4];
  const char *lines = "toy_count: 4000 # images\ntoy_save: [0.25, 0.5]\ntoy:\n  rate: 0.5\n";

  (void)state;
  MPI_Comm_rank(PETSC_COMM_WORLD, &rank);
  if (rank == 0) {
    descriptor = mkstemp(name);
    if (descriptor < 0 || write(descriptor, lines, strlen(lines)) != (ssize_t)strlen(lines)) abort();
    close(descriptor);
  }
  MPI_Bcast(name, (int)sizeof(name), MPI_CHAR, 0, PETSC_COMM_WORLD);
  OK(PetscOptionsClear(NULL));
  OK(PetscOptionsInsertFileYAML(PETSC_COMM_WORLD, NULL, name, PETSC_TRUE));
  OK(CkOptionsCheck());
  OK(CkOptionsGetInt("toy_count", &i, NULL));
  assert_on_all_ranks(i == 4000);
  OK(CkOptionsGetReals("toy_save", save, &n, NULL));
  assert_on_all_ranks(n == 2 && save[0] == 0.25 && save[1] == 0.5);
  OK(CkOptionsGetReal("toy_rate", &save[0], NULL));
  assert_on_all_ranks(save[0] == 0.5);
  MPI_Barrier(PETSC_COMM_WORLD);
  if (rank == 0) unlink(name);
}

/* stdout or stderr of this rank while a call runs. */
static void capture(int descriptor, PetscErrorCode (*call)(MPI_Comm), char text[], size_t length)
{
  FILE  *stream = descriptor == STDOUT_FILENO ? stdout : stderr, *file = tmpfile();
  int    saved = dup(descriptor);
  size_t got;

  fflush(stream);
  if (!file || saved < 0 || dup2(fileno(file), descriptor) < 0) abort();
  OK(call(PETSC_COMM_WORLD));
  fflush(stream);
  dup2(saved, descriptor);
  close(saved);
  rewind(file);
  got = fread(text, 1, length - 1, file);
  text[got] = '\0';
  fclose(file);
}

static void help_lists_everything(void **state)
{
  static char       text[20000];
  const char *const pieces[] = {"Toy",
                                "Every command",
                                "-toy_count INTEGER",
                                "number of samples; 1 .. 60000 [10]",
                                "-toy_method CHOICE",
                                "dense | gram | krylov | auto",
                                "-toy_widths INTEGER,..",
                                "-memory_limit",
                                "-seed"};
  int               rank;

  (void)state;
  MPI_Comm_rank(PETSC_COMM_WORLD, &rank);
  capture(STDOUT_FILENO, CkOptionsHelp, text, sizeof(text));
  for (size_t i = 0; i < sizeof(pieces) / sizeof(pieces[0]); ++i) {
    if (rank == 0 && !strstr(text, pieces[i])) fprintf(stderr, "help lacks '%s'\n", pieces[i]);
    assert_on_all_ranks(rank > 0 || strstr(text, pieces[i]));
  }
  assert_on_all_ranks(rank == 0 || text[0] == '\0');
  for (const char *line = text; *line;) { /* readable: no long lines */
    const size_t length = strcspn(line, "\n");

    if (length > 120) fail();
    line += length + (line[length] == '\n');
  }
}

static void left_over_keys_are_warned_of(void **state)
{
  static char text[4000];
  PetscInt    i;
  int         rank;

  (void)state;
  MPI_Comm_rank(PETSC_COMM_WORLD, &rank);
  accepted("-toy_count 5 -toy_rate 0.3 -eps_nev 4 -eps_strange_key x -log_view_memory");
  OK(CkOptionsGetInt("toy_count", &i, NULL));
  OK(PetscOptionsGetInt(NULL, NULL, "-eps_nev", &i, NULL));
  capture(STDERR_FILENO, CkOptionsWarnLeft, text, sizeof(text));
  if (rank == 0) {
    assert_non_null(strstr(text, "-eps_strange_key"));
    assert_null(strstr(text, "-eps_nev"));
    assert_null(strstr(text, "-toy_count"));
    assert_null(strstr(text, "-log_view_memory"));
  } else assert_int_equal(text[0], '\0');
}

static PetscErrorCode check_all(MPI_Comm comm)
{
  (void)comm;
  return CkOptionsCheck();
}

static void misspelt_foreign_keys_are_warned_of(void **state)
{
  static char text[4000];
  int         rank;

  (void)state;
  MPI_Comm_rank(PETSC_COMM_WORLD, &rank);
  OK(PetscOptionsClear(NULL));
  OK(PetscOptionsInsertString(
    NULL,
    "-log_vew -eps_tl 3 -eps_tol 3 -log_view -malloc_whatever -eps_anything -st_ksp_type x -pc_type lu -memory_view"));
  capture(STDERR_FILENO, check_all, text, sizeof(text));
  if (rank == 0) {
    assert_non_null(
      strstr(text, "-log_vew is unknown to PETSc and SLEPc and will have no effect; did you mean -log_view?"));
    assert_non_null(strstr(text, "did you mean -eps_tol?"));
    assert_non_null(strstr(text, "-malloc_whatever is unknown"));
    assert_null(strstr(text, "-eps_anything"));
    assert_null(strstr(text, "-st_ksp_type"));
    assert_null(strstr(text, "-pc_type"));
    assert_null(strstr(text, "-memory_view"));
  } else assert_int_equal(text[0], '\0');
}

/* Keys of commands that do not run */
static void keys_of_others_say_whose(void **state)
{
  static const CkOption first[] = {{"other_rate", CK_OPTION_INT, NULL, 0, 0, NULL, "a key of two"}, {0}};
  static const CkOption second[] = {{"other_size", CK_OPTION_INT, NULL, 0, 0, NULL, "a key of one"}, {0}};

  (void)state;
  CkOptionsSetCommand("walk", PETSC_FALSE);
  OK(CkOptionsRegister("First", first));
  CkOptionsSetCommand("run", PETSC_FALSE);
  OK(CkOptionsRegister("First", first));
  OK(CkOptionsRegister("Second", second));
  CkOptionsSetCommand("sleep", PETSC_TRUE);
  OK(CkOptionsRegister("Toy", table));
  refused("-other_rate 3", "-other_rate is a key of walk and run, not of sleep", "");
  refused("-other_size 3", "-other_size is a key of run, not of sleep", "");
  refused("-other_sizes 3", "unknown option -other_sizes", "-other_size is a key of run");
  refused("-size 3", "unknown option -size; -other_size is a key of run, not of sleep", "");
  refused("-toy_cuont 3", "did you mean -toy_count?", "");
  accepted("-toy_count 3");
}

static void too_many_numbers(void **state)
{
  PetscInt n = 2, widths[2];

  (void)state;
  accepted("-toy_widths 1,2,3");
  assert_message(CkOptionsGetInts("toy_widths", widths, &n, NULL), "-toy_widths: '1,2,3' has 3 numbers", "at most 2");
}

static void distances(void **state)
{
  (void)state;
  assert_int_equal(CkOptionsDistance("", ""), 0);
  assert_int_equal(CkOptionsDistance("abc", ""), 3);
  assert_int_equal(CkOptionsDistance("kitten", "sitting"), 3);
  assert_int_equal(CkOptionsDistance("data_count", "dta_count"), 1);
  assert_int_equal(CkOptionsDistance("data_count", "data_conut"), 1);
  assert_int_equal(CkOptionsDistance("Data", "dATA"), 0);
}

static int register_table(void **state)
{
  (void)state;
  return CkOptionsRegister("Toy", table);
}

static const struct CMUnitTest tests[] = {
  cmocka_unit_test_setup(unknown_keys_name_the_nearest, register_table),
  cmocka_unit_test_setup(foreign_keys_pass, register_table),
  cmocka_unit_test_setup(keys_of_nobody_are_refused, register_table),
  cmocka_unit_test_setup(bad_values_name_key_value_and_bounds, register_table),
  cmocka_unit_test_setup(values_in_force, register_table),
  cmocka_unit_test_setup(programming_errors, register_table),
  cmocka_unit_test_setup(list_in_force, register_table),
  cmocka_unit_test_setup(yaml_files, register_table),
  cmocka_unit_test_setup(help_lists_everything, register_table),
  cmocka_unit_test_setup(left_over_keys_are_warned_of, register_table),
  cmocka_unit_test_setup(misspelt_foreign_keys_are_warned_of, register_table),
  cmocka_unit_test_setup(too_many_numbers, register_table),
  cmocka_unit_test_setup(keys_of_others_say_whose, register_table),
  cmocka_unit_test(distances),
};

CK_TEST_MAIN(tests, PetscInitialize, PetscFinalize)
