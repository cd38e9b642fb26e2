#include <clarkia/error.h>
#include <clarkia/file.h>
#include <clarkia/options.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <unistd.h>

/*
  file_writer.c: what test_file_faults.sh does harm to.
    file_writer write MICROSECONDS   writes result-0.h5, result-1.h5, ... until it kills itself
    file_writer check                every result there is whole and right; prints how many there are
    file_writer limit BYTES          writes limited.h5 where no file may be larger than that
*/

enum { ROWS = 20000, COLUMNS = 10 };

static double Entry(PetscInt64 number, PetscInt64 k)
{
  return (double)(number * 1000000 + k) / 3;
}

static void Rows(PetscInt64 *first, PetscInt64 *count)
{
  PetscMPIInt rank, size;

  MPI_Comm_rank(PETSC_COMM_WORLD, &rank);
  MPI_Comm_size(PETSC_COMM_WORLD, &size);
  *first = (PetscInt64)ROWS * rank / size;
  *count = (PetscInt64)ROWS * (rank + 1) / size - *first;
}

static PetscErrorCode Write(const char name[], PetscInt64 number)
{
  const PetscInt64 shape[2] = {ROWS, COLUMNS};
  PetscInt64       first, count;
  double          *data;
  CkFile           file;

  PetscFunctionBeginUser;
  Rows(&first, &count);
  PetscCall(PetscMalloc1(count * COLUMNS, &data));
  for (PetscInt64 i = 0; i < count * COLUMNS; ++i) data[i] = Entry(number, first * COLUMNS + i);
  PetscCall(CkFileCreate(PETSC_COMM_WORLD, name, &file));
  PetscCall(CkFileCreateDataset(file, "/x", CK_F64, 2, shape, "1", "test numbers"));
  PetscCall(CkFileWriteInt(file, "/", "number", number));
  PetscCall(CkFileWriteRows(file, "/x", CK_F64, first, count, data));
  PetscCall(CkFileCommit(file));
  PetscCall(CkFileDestroy(&file));
  PetscCall(PetscFree(data));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static void Die(int signal_number)
{
  (void)signal_number;
  (void)kill(getpid(), SIGKILL);
}

static PetscErrorCode WriteUntilKilled(long microseconds)
{
  const struct itimerval when = {.it_value = {microseconds / 1000000, microseconds % 1000000}};
  char                   name[32];

  PetscFunctionBeginUser;
  (void)signal(SIGALRM, Die);
  (void)setitimer(ITIMER_REAL, &when, NULL);
  for (PetscInt64 number = 0;; ++number) {
    PetscCall(PetscSNPrintf(name, sizeof(name), "result-%d.h5", (int)number));
    PetscCall(Write(name, number));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Check(void)
{
  int        results = 0;
  PetscInt64 stored;
  double    *data;
  CkFile     file;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc1(ROWS * COLUMNS, &data));
  for (PetscBool exists = PETSC_TRUE;; ++results) {
    char name[32];

    PetscCall(PetscSNPrintf(name, sizeof(name), "result-%d.h5", results));
    PetscCall(PetscTestFile(name, 'r', &exists));
    if (!exists) break;
    PetscCall(CkFileOpen(PETSC_COMM_WORLD, name, &file));
    PetscCall(CkFileReadInt(file, "/", "number", &stored, NULL));
    PetscCall(CkFileReadAll(file, "/x", CK_F64, data));
    PetscCall(CkFileDestroy(&file));
    PetscCheck(stored == results, PETSC_COMM_SELF, PETSC_ERR_PLIB, "%s holds result %d", name, (int)stored);
    for (PetscInt64 i = 0; i < (PetscInt64)ROWS * COLUMNS; ++i)
      PetscCheck(data[i] == Entry(results, i), PETSC_COMM_SELF, PETSC_ERR_PLIB, "%s is wrong at %d", name, (int)i);
  }
  PetscCall(PetscFree(data));
  PetscCall(PetscPrintf(PETSC_COMM_WORLD, "%d\n", results));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode WriteLimited(rlim_t bytes)
{
  struct rlimit limit = {.rlim_cur = bytes, .rlim_max = RLIM_INFINITY};

  PetscFunctionBeginUser;
  (void)signal(SIGXFSZ, SIG_IGN);
  PetscCheck(!setrlimit(RLIMIT_FSIZE, &limit), PETSC_COMM_SELF, PETSC_ERR_SYS, "setrlimit failed");
  PetscCall(Write("limited.h5", 0));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Run(int argc, char **argv)
{
  PetscFunctionBeginUser;
  PetscCall(CkOptionsRegisterCommon());
  PetscCall(CkErrorInitialize());
  if (argc == 3 && !strcmp(argv[1], "write")) PetscCall(WriteUntilKilled(atol(argv[2])));
  else if (argc == 2 && !strcmp(argv[1], "check")) PetscCall(Check());
  else if (argc == 3 && !strcmp(argv[1], "limit")) PetscCall(WriteLimited((rlim_t)atol(argv[2])));
  else SETERRQ(PETSC_COMM_SELF, PETSC_ERR_ARG_WRONG, "unknown task");
  PetscFunctionReturn(PETSC_SUCCESS);
}

int main(int argc, char **argv)
{
  PetscErrorCode ierr = PetscInitialize(&argc, &argv, NULL, NULL);

  if (ierr) return 1;
  ierr = Run(argc, argv);
  CkErrorReport(ierr);
  if (ierr && !CkErrorWasCollective()) MPI_Abort(PETSC_COMM_WORLD, CkErrorExitCode(ierr));
  if (PetscFinalize() && !ierr) return 1;
  return CkErrorExitCode(ierr);
}
