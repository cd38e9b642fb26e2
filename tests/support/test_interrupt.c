/* test_interrupt.c: a signal on one rank and the time limit reach all ranks; signals outside of a watch are not caught.
 */
#include "testing.h"
#include <clarkia/interrupt.h>
#include <clarkia/progress.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

static PetscBool requested(void)
{
  const char *why;

  OK(CkInterruptRequested(PETSC_COMM_WORLD, &why));
  return (PetscBool)(why != NULL);
}

static void a_signal_on_one_rank_stops_all(void **state)
{
  static const int signals[] = {SIGTERM, SIGUSR1};
  int              rank, size;

  (void)state;
  MPI_Comm_rank(PETSC_COMM_WORLD, &rank);
  MPI_Comm_size(PETSC_COMM_WORLD, &size);
  for (int i = 0; i < 2; ++i) {
    OK(CkInterruptBegin());
    assert_on_all_ranks(!requested());
    if (rank == size - 1) raise(signals[i]);
    assert_on_all_ranks(requested());
    assert_on_all_ranks(requested());
    OK(CkInterruptEnd());
  }
}

static void time_runs_out(void **state)
{
  char limit[64];

  (void)state;
  OK(CkInterruptRegisterOptions());
  OK(CkInterruptBegin());
  snprintf(limit, sizeof(limit), "-max_seconds %.9g", CkElapsed() + 1e6);
  OK(PetscOptionsInsertString(NULL, limit));
  assert_on_all_ranks(!requested());
  OK(PetscOptionsInsertString(NULL, "-max_seconds 1e-9"));
  assert_on_all_ranks(requested());
  OK(PetscOptionsClearValue(NULL, "-max_seconds"));
  assert_on_all_ranks(!requested());
  OK(CkInterruptEnd());
}

/* A file that was there before the watch says nothing until it is touched. */
static void a_stop_file_stops_all(void **state)
{
  char   option[128], name[64];
  double start;
  int    rank;

  (void)state;
  MPI_Comm_rank(PETSC_COMM_WORLD, &rank);
  snprintf(name, sizeof(name), "/tmp/clarkia-stop-%d", (int)getpid());
  MPI_Bcast(name, sizeof(name), MPI_CHAR, 0, PETSC_COMM_WORLD);
  snprintf(option, sizeof(option), "-stop_file %s", name);
  OK(PetscOptionsInsertString(NULL, option));
  for (int there = 0; there < 2; ++there) {
    if (rank == 0 && there) assert_true(close(open(name, O_CREAT | O_WRONLY, 0600)) == 0);
    OK(CkInterruptBegin());
    for (start = MPI_Wtime(); MPI_Wtime() < start + 1.1;)
      ; /* it is looked for once a second */
    assert_on_all_ranks(!requested());
    if (rank == 0) {
      assert_true(close(open(name, O_CREAT | O_WRONLY, 0600)) == 0);
      assert_true(utimensat(AT_FDCWD, name, NULL, 0) == 0);
    }
    for (start = MPI_Wtime(); MPI_Wtime() < start + 1.1;)
      ;
    assert_on_all_ranks(requested());
    OK(CkInterruptEnd());
    if (rank == 0) unlink(name);
  }
  OK(PetscOptionsClearValue(NULL, "-stop_file"));
}

static void the_former_handlers_come_back(void **state)
{
  struct sigaction now;

  (void)state;
  assert_int_equal(signal(SIGUSR1, SIG_IGN) == SIG_ERR, 0);
  OK(CkInterruptBegin());
  assert_int_equal(sigaction(SIGUSR1, NULL, &now), 0);
  assert_true(now.sa_handler != SIG_IGN);
  OK(CkInterruptEnd());
  assert_int_equal(sigaction(SIGUSR1, NULL, &now), 0);
  assert_true(now.sa_handler == SIG_IGN);
}

static const struct CMUnitTest tests[] = {
  cmocka_unit_test(a_signal_on_one_rank_stops_all),
  cmocka_unit_test(time_runs_out),
  cmocka_unit_test(a_stop_file_stops_all),
  cmocka_unit_test(the_former_handlers_come_back),
};

CK_TEST_MAIN(tests, PetscInitialize, PetscFinalize)
