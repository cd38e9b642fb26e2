#include "testing.h"
#include <stdlib.h>
#include <unistd.h>

static int me, size;

/* What this rank writes to stderr between capture() and captured(). */
static FILE *file;
static int   saved;

static void capture(void)
{
  fflush(stderr);
  file = tmpfile();
  saved = dup(STDERR_FILENO);
  if (!file || saved < 0 || dup2(fileno(file), STDERR_FILENO) < 0) abort();
}

static const char *captured(void)
{
  static char text[4096];
  size_t      length;

  fflush(stderr);
  dup2(saved, STDERR_FILENO);
  close(saved);
  rewind(file);
  length = fread(text, 1, sizeof(text) - 1, file);
  text[length] = '\0';
  fclose(file);
  return text;
}

/* Fails on the ranks from first_bad to last_bad, each with its own message and code. */
static PetscErrorCode inner(MPI_Comm comm, int first_bad, int last_bad)
{
  PetscFunctionBeginUser;
  CkCheckAll(comm, me < first_bad || me > last_bad, PETSC_ERR_ARG_WRONG, "value %d of rank %d is bad", 17 + me, me);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode outer(MPI_Comm comm, int first_bad, int last_bad)
{
  PetscFunctionBeginUser;
  PetscCall(inner(comm, first_bad, last_bad));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static void fine_is_silent(void **state)
{
  PetscErrorCode ierr;
  const char    *text;

  (void)state;
  capture();
  ierr = outer(PETSC_COMM_WORLD, size, size);
  text = captured();
  assert_on_all_ranks(!ierr && text[0] == '\0');
  assert_int_equal(CkErrorExitCode(ierr), 0);
}

/* One line on rank 0 with the message of the lowest failing rank; same code on all ranks; nothing elsewhere. */
static void one_line_once(void **state)
{
  (void)state;
  for (int first = 0; first < size; ++first) {
    PetscErrorCode ierr;
    const char    *text;
    char           expected[128];

    snprintf(expected, sizeof(expected), "clarkia: error: value %d of rank %d is bad\n", 17 + first, first);
    capture();
    ierr = outer(PETSC_COMM_WORLD, first, size - 1);
    text = captured();
    assert_on_all_ranks(ierr == PETSC_ERR_ARG_WRONG);
    assert_on_all_ranks(strcmp(text, me == 0 ? expected : "") == 0);
    assert_on_all_ranks(CkErrorWasCollective());
    assert_on_all_ranks(CkErrorExitCode(ierr) == PETSC_ERR_ARG_WRONG);
  }
}

static void traceback_on_request(void **state)
{
  const char *text;

  (void)state;
  capture();
  CkErrorSetTraceback(PETSC_TRUE);
  (void)outer(PETSC_COMM_WORLD, 0, 0);
  CkErrorSetTraceback(PETSC_FALSE);
  text = captured();
  assert_on_all_ranks(me > 0 || (strstr(text, "clarkia: error: ") == text && strstr(text, "\n  inner() at ") &&
                                 strstr(text, "\n  outer() at ")));
  assert_on_all_ranks(me == 0 || text[0] == '\0');
}

/* PETSc's own errors keep its trace-back, do not count as collective, also after a user error. */
static PetscErrorCode broken(void)
{
  PetscFunctionBeginUser;
  SETERRQ(PETSC_COMM_SELF, PETSC_ERR_PLIB, "a bug");
}

static PetscErrorCode calls_broken(void)
{
  PetscFunctionBeginUser;
  PetscCall(broken());
  PetscFunctionReturn(PETSC_SUCCESS);
}

static void other_errors_keep_their_trace(void **state)
{
  PetscErrorCode ierr;
  const char    *text;

  (void)state;
  capture();
  (void)outer(PETSC_COMM_WORLD, 0, 0);
  ierr = calls_broken();
  text = captured();
  assert_on_all_ranks(ierr == PETSC_ERR_PLIB);
  assert_on_all_ranks(!CkErrorWasCollective());
  assert_on_all_ranks(strstr(text, "PETSC ERROR: a bug") && strstr(text, "calls_broken"));
  capture();
  (void)outer(PETSC_COMM_WORLD, 0, 0);
  text = captured();
  assert_on_all_ranks(CkErrorWasCollective());
  assert_on_all_ranks(me > 0 || strcmp(text, "clarkia: error: value 17 of rank 0 is bad\n") == 0);
}

/* What bad input can cause in PETSc waits, and is told once where all ranks have it, by each where they differ. */
static PetscErrorCode refused_by_petsc(int number)
{
  PetscFunctionBeginUser;
  SETERRQ(PETSC_COMM_SELF, PETSC_ERR_ARG_OUTOFRANGE, "Input string x%d\nis bad", number);
}

static void errors_of_petsc_are_told_once(void **state)
{
  PetscErrorCode ierr;
  const char    *text;
  char           expected[128];

  (void)state;
  capture();
  ierr = refused_by_petsc(1);
  text = captured();
  assert_on_all_ranks(ierr == PETSC_ERR_ARG_OUTOFRANGE && text[0] == '\0');
  OK(PetscOptionsSetValue(NULL, "-some_key", "x1"));
  capture();
  ierr = refused_by_petsc(1);
  CkErrorReport(ierr);
  text = captured();
  assert_on_all_ranks(strcmp(text, me ? "" : "clarkia: error: Input string x1 is bad (-some_key x1)\n") == 0);
  assert_on_all_ranks(CkErrorWasCollective());
  OK(PetscOptionsClearValue(NULL, "-some_key"));
  capture();
  CkErrorReport(ierr); /* told already */
  CkErrorReport(PETSC_SUCCESS);
  ierr = refused_by_petsc(me);
  CkErrorReport(ierr);
  text = captured();
  snprintf(expected, sizeof(expected), "clarkia: error: on rank %d: Input string x%d is bad\n", me, me);
  if (size == 1) snprintf(expected, sizeof(expected), "clarkia: error: Input string x0 is bad\n");
  assert_on_all_ranks(strcmp(text, expected) == 0);
  assert_on_all_ranks(CkErrorWasCollective() == (size == 1));
}

static void errors_of_petsc_with_functions(void **state)
{
  PetscErrorCode ierr;
  const char    *text;

  (void)state;
  capture();
  CkErrorSetTraceback(PETSC_TRUE);
  ierr = refused_by_petsc(1);
  CkErrorReport(ierr);
  CkErrorSetTraceback(PETSC_FALSE);
  text = captured();
  assert_on_all_ranks(me ? text[0] == '\0' : strstr(text, "is bad\n  refused_by_petsc() at ") != NULL);
}

/* An error on a part of the ranks waits, is told by that part's first rank and is not collective. */
static void parts_of_the_world(void **state)
{
  const char    *text;
  MPI_Comm       part;
  PetscErrorCode ierr;

  (void)state;
  if (size == 1) skip();
  MPI_Comm_split(PETSC_COMM_WORLD, me % 2, me, &part);
  capture();
  ierr = outer(part, 1, 1); /* rank 1 is the first of the odd ones */
  text = captured();
  assert_on_all_ranks(me % 2 ? ierr == PETSC_ERR_ARG_WRONG && !CkErrorWasCollective() : !ierr);
  assert_on_all_ranks(text[0] == '\0');
  capture();
  CkErrorReport(ierr);
  text = captured();
  assert_on_all_ranks(strcmp(text, me == 1 ? "clarkia: error: value 18 of rank 1 is bad\n" : "") == 0);
  MPI_Barrier(PETSC_COMM_WORLD);
  MPI_Comm_free(&part);
}

/* Groups that know nothing of each other: the error of one, or that of the first of several, becomes everybody's. */
static void what_a_part_has_met_is_shared(void **state)
{
  PetscErrorCode bug;
  MPI_Comm       part;

  (void)state;
  MPI_Comm_split(PETSC_COMM_WORLD, me % 2, me, &part);
  for (int first = 0; first < PetscMin(size, 3); ++first) { /* one group, or with first = 1 both of three ranks */
    const int      last = first == 1 ? size - 1 : first;
    PetscErrorCode ierr;
    const char    *text;
    char           expected[128];

    snprintf(expected, sizeof(expected), "clarkia: error: value %d of rank %d is bad\n", 17 + first, first);
    capture();
    ierr = outer(part, first, last);
    if (size > 1) ierr = CkErrorShare(PETSC_COMM_WORLD, part, ierr);
    CkErrorReport(ierr); /* told already */
    text = captured();
    if (size == 3 && first == 1) snprintf(expected, sizeof(expected), "clarkia: error: value 19 of rank 2 is bad\n");
    assert_on_all_ranks(ierr == PETSC_ERR_ARG_WRONG && CkErrorWasCollective());
    assert_on_all_ranks(strcmp(text, me == 0 ? expected : "") == 0);
  }
  assert_on_all_ranks(CkErrorShare(PETSC_COMM_WORLD, part, PETSC_SUCCESS) == PETSC_SUCCESS);
  capture();
  bug = CkErrorShare(PETSC_COMM_WORLD, part, calls_broken()); /* comes back at once */
  (void)captured();
  assert_on_all_ranks(bug == PETSC_ERR_PLIB && !CkErrorWasCollective());
  MPI_Comm_free(&part);
}

static void silent_under_other_handlers(void **state)
{
  const char *text;

  (void)state;
  capture();
  assert_user_error(outer(PETSC_COMM_WORLD, size - 1, size - 1));
  text = captured();
  assert_on_all_ranks(text[0] == '\0');
}

/* A verdict keeps the first failure; the message travels from the failing rank. */
static void verdicts(void **state)
{
  CkVerdict      verdict = {.code = PETSC_SUCCESS, .message = ""};
  PetscErrorCode ierr;
  const char    *text;
  char           longest[3000];

  (void)state;
  assert_on_all_ranks(!CkCheckVerdict(PETSC_COMM_WORLD, &verdict));
  if (me == size - 1) {
    CkVerdictFail(&verdict, PETSC_ERR_FILE_READ, "line %d", 3);
    CkVerdictFail(&verdict, PETSC_ERR_MEM, "line %d", 4);
  }
  capture();
  ierr = CkCheckVerdict(PETSC_COMM_WORLD, &verdict);
  text = captured();
  assert_on_all_ranks(ierr == PETSC_ERR_FILE_READ);
  assert_on_all_ranks(strcmp(text, me == 0 ? "clarkia: error: line 3\n" : "") == 0);

  memset(longest, 'x', sizeof(longest)); /* too long a message is cut, not overrun; % stays what it is */
  longest[0] = '%', longest[1] = 's', longest[sizeof(longest) - 1] = '\0';
  verdict.code = PETSC_SUCCESS;
  CkVerdictFail(&verdict, 0, "%s", longest);
  capture();
  ierr = CkCheckVerdict(PETSC_COMM_WORLD, &verdict);
  text = captured();
  assert_on_all_ranks(ierr == PETSC_ERR_USER); /* code 0 would not be a failure */
  assert_on_all_ranks(me > 0 || (strstr(text, "clarkia: error: %sxxx") && strlen(text) <= 1024 + 32));
}

static void exit_codes(void **state)
{
  (void)state;
  for (int code = 1; code < 1000; ++code) {
    const int exit_code = CkErrorExitCode((PetscErrorCode)code);

    assert_in_range(exit_code, 1, 125);
  }
  assert_in_range(CkErrorExitCode((PetscErrorCode)-1), 1, 125);
}

static int set_up(void **state)
{
  (void)state;
  MPI_Comm_rank(PETSC_COMM_WORLD, &me);
  MPI_Comm_size(PETSC_COMM_WORLD, &size);
  return CkErrorInitialize();
}

static int tear_down(void **state)
{
  (void)state;
  return PetscPopErrorHandler();
}

#define WITH_HANDLER(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

static const struct CMUnitTest tests[] = {
  WITH_HANDLER(fine_is_silent),
  WITH_HANDLER(one_line_once),
  WITH_HANDLER(traceback_on_request),
  WITH_HANDLER(other_errors_keep_their_trace),
  WITH_HANDLER(errors_of_petsc_are_told_once),
  WITH_HANDLER(errors_of_petsc_with_functions),
  WITH_HANDLER(parts_of_the_world),
  WITH_HANDLER(what_a_part_has_met_is_shared),
  WITH_HANDLER(silent_under_other_handlers),
  WITH_HANDLER(verdicts),
  WITH_HANDLER(exit_codes),
};

CK_TEST_MAIN(tests, PetscInitialize, PetscFinalize)
