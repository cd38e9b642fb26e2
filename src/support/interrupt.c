#include <clarkia/interrupt.h>
#include <clarkia/options.h>
#include <clarkia/progress.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

static const CkOption table[] = {
  {.key = "max_seconds",
   .kind = CK_OPTION_REAL,
   .fallback = "0",
   .minimum = 0,
   .maximum = 1e9,
   .help = "after so many seconds (0: never) write the checkpoint and exit with code 85: run me again"},
  {.key = NULL},
};

static volatile sig_atomic_t caught;
static struct sigaction      before[2];
static const int             signals[2] = {SIGTERM, SIGUSR1};
static PetscBool             installed = PETSC_FALSE;

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

PetscErrorCode CkInterruptBegin(void)
{
  struct sigaction action;

  PetscFunctionBeginUser;
  if (installed) PetscFunctionReturn(PETSC_SUCCESS);
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
  int         found[2]; /* the signal, the clock */

  PetscFunctionBeginUser;
  PetscCall(CkInterruptRegisterOptions());
  PetscCall(CkOptionsGetReal("max_seconds", &limit, NULL));
  PetscCallMPI(MPI_Comm_rank(comm, &rank));
  found[0] = (int)caught;
  found[1] = rank == 0 && limit > 0 && CkElapsed() >= (double)limit;
  PetscCallMPI(MPI_Allreduce(MPI_IN_PLACE, found, 2, MPI_INT, MPI_MAX, comm));
  *why = found[0] || found[1] ? text : NULL;
  if (found[0]) snprintf(text, sizeof(text), "signal %d", found[0]);
  else if (found[1]) snprintf(text, sizeof(text), "%.4g seconds are over", (double)limit);
  PetscFunctionReturn(PETSC_SUCCESS);
}
