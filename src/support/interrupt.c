#include <clarkia/interrupt.h>
#include <clarkia/options.h>
#include <clarkia/progress.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

static const CkOption table[] = {
  {.key = "max_seconds",
   .kind = CK_OPTION_REAL,
   .fallback = "0",
   .minimum = 0,
   .maximum = 1e9,
   .help = "after so many seconds (0: never) write the checkpoint and exit with code 85: run me again"},
  {.key = "stop_file",
   .kind = CK_OPTION_STRING,
   .help = "when this file appears, or is touched, do the same: touch FILE stops a run from anywhere"},
  {.key = NULL},
};

static volatile sig_atomic_t caught;
static struct sigaction      before[2];
static const int             signals[2] = {SIGTERM, SIGUSR1};
static PetscBool             installed = PETSC_FALSE;

/* The stop file as it was when the watch began, and when it was looked for last. */
static struct timespec touched;
static double          looked;
static PetscBool       appeared;

static void Note(int number)
{
  caught = number;
}

PetscErrorCode CkInterruptRegisterOptions(void)
{
  PetscFunctionBeginUser;
  PetscCall(CkOptionsRegister("Time limit", table));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkInterruptGetOption(char text[PETSC_MAX_PATH_LEN + 32])
{
  char      file[PETSC_MAX_PATH_LEN];
  PetscReal limit;

  PetscFunctionBeginUser;
  text[0] = '\0';
  PetscCall(CkInterruptRegisterOptions());
  PetscCall(CkOptionsGetReal("max_seconds", &limit, NULL));
  PetscCall(CkOptionsGetString("stop_file", file, sizeof(file), NULL));
  if (limit > 0) snprintf(text, PETSC_MAX_PATH_LEN + 32, "-max_seconds %g", (double)limit);
  else if (file[0]) snprintf(text, PETSC_MAX_PATH_LEN + 32, "-stop_file %s", file);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* When the file was changed last; the zero of time if it is not there. */
static struct timespec Touched(const char file[])
{
  struct stat status;

  if (!file[0] || stat(file, &status)) return (struct timespec){0};
  return status.st_mtim;
}

/* Rank 0: a file that was there before says nothing. */
static PetscErrorCode LookForFile(PetscBool first)
{
  char            file[PETSC_MAX_PATH_LEN];
  struct timespec now;

  PetscFunctionBeginUser;
  if (!first && (appeared || CkElapsed() - looked < 1)) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(CkOptionsGetString("stop_file", file, sizeof(file), NULL));
  now = Touched(file);
  appeared = (PetscBool)(!first && now.tv_sec != 0 && (now.tv_sec != touched.tv_sec || now.tv_nsec != touched.tv_nsec));
  if (first) touched = now;
  looked = CkElapsed();
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkInterruptBegin(void)
{
  struct sigaction action;

  PetscFunctionBeginUser;
  if (installed) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(CkInterruptRegisterOptions());
  PetscCall(LookForFile(PETSC_TRUE));
  memset(&action, 0, sizeof(action));
  action.sa_handler = Note;
  action.sa_flags = SA_RESTART;
  sigemptyset(&action.sa_mask);
  caught = 0;
  for (int i = 0; i < 2; ++i)
    PetscCheck(sigaction(signals[i], &action, &before[i]) == 0, PETSC_COMM_SELF, PETSC_ERR_SYS, "sigaction() fails");
  installed = PETSC_TRUE;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkInterruptEnd(void)
{
  PetscFunctionBeginUser;
  for (int i = 0; installed && i < 2; ++i)
    PetscCheck(sigaction(signals[i], &before[i], NULL) == 0, PETSC_COMM_SELF, PETSC_ERR_SYS, "sigaction() fails");
  installed = PETSC_FALSE;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkInterruptRequested(MPI_Comm comm, const char **why)
{
  static char text[64];
  PetscMPIInt rank;
  PetscReal   limit;
  int         found[3]; /* the signal, the clock, the file */

  PetscFunctionBeginUser;
  PetscCall(CkInterruptRegisterOptions());
  PetscCall(CkOptionsGetReal("max_seconds", &limit, NULL));
  PetscCallMPI(MPI_Comm_rank(comm, &rank));
  found[0] = (int)caught;
  found[1] = rank == 0 && limit > 0 && CkElapsed() >= (double)limit;
  if (rank == 0) PetscCall(LookForFile(PETSC_FALSE));
  found[2] = rank == 0 && appeared;
  PetscCallMPI(MPI_Allreduce(MPI_IN_PLACE, found, 3, MPI_INT, MPI_MAX, comm));
  *why = found[0] || found[1] || found[2] ? text : NULL;
  if (found[0]) snprintf(text, sizeof(text), "%s", found[0] == SIGTERM ? "SIGTERM" : "SIGUSR1");
  else if (found[2]) snprintf(text, sizeof(text), "the stop file is there");
  else if (found[1]) snprintf(text, sizeof(text), "%.4g seconds are over", (double)limit);
  PetscFunctionReturn(PETSC_SUCCESS);
}
