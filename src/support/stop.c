#include <clarkia/options.h>
#include <clarkia/progress.h>
#include <clarkia/stop.h>
#include <signal.h>

static const CkOption table[] = {
  {.key = "max_seconds",
   .kind = CK_OPTION_REAL,
   .fallback = "1e12",
   .minimum = 0,
   .maximum = 1e12,
   .help = "seconds since the start after which a Gram assembly saves its checkpoint and ends, exit code 85"},
  {.key = NULL},
};

static const int signals[] = {SIGTERM, SIGUSR1};
enum { SIGNALS = sizeof(signals) / sizeof(signals[0]) };

static volatile sig_atomic_t caught;
static int                   watchers;
static struct sigaction      before[SIGNALS];

static void Catch(int number)
{
  caught = number;
}

PetscErrorCode CkStopRegisterOptions(void)
{
  PetscFunctionBeginUser;
  PetscCall(CkOptionsRegister("Time limit", table));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkStopWatch(void)
{
  struct sigaction action = {.sa_handler = Catch, .sa_flags = SA_RESTART};

  PetscFunctionBeginUser;
  if (watchers++ > 0) PetscFunctionReturn(PETSC_SUCCESS);
  caught = 0;
  sigemptyset(&action.sa_mask);
  for (int i = 0; i < SIGNALS; ++i)
    PetscCheck(!sigaction(signals[i], &action, &before[i]), PETSC_COMM_SELF, PETSC_ERR_SYS, "sigaction failed");
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkStopIgnore(void)
{
  PetscFunctionBeginUser;
  PetscCheck(watchers > 0, PETSC_COMM_SELF, PETSC_ERR_ORDER, "CkStopIgnore() without CkStopWatch()");
  if (--watchers > 0) PetscFunctionReturn(PETSC_SUCCESS);
  for (int i = 0; i < SIGNALS; ++i)
    PetscCheck(!sigaction(signals[i], &before[i], NULL), PETSC_COMM_SELF, PETSC_ERR_SYS, "sigaction failed");
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkStopRequested(MPI_Comm comm, PetscBool *stop)
{
  PetscReal limit;
  int       mine, any;

  PetscFunctionBeginUser;
  PetscCall(CkStopRegisterOptions());
  PetscCall(CkOptionsGetReal("max_seconds", &limit, NULL));
  mine = caught || CkSecondsSinceStart() >= limit;
  PetscCallMPI(MPI_Allreduce(&mine, &any, 1, MPI_INT, MPI_MAX, comm));
  *stop = (PetscBool)(any > 0);
  PetscFunctionReturn(PETSC_SUCCESS);
}
