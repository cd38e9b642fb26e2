#include <clarkia/command.h>
#include <clarkia/error.h>
#include <clarkia/options.h>
#include <clarkia/progress.h>
#include <clarkia/provenance.h>
#include <stdio.h>
#include <string.h>

static const CkCommand *const commands[] = {&ck_command_import, &ck_command_train, &ck_command_evaluate,
                                            &ck_command_spectrum, &ck_command_bench};
static const size_t           ncommands = sizeof(commands) / sizeof(commands[0]);

const CkCommand *CkCommandFind(const char name[], const char **nearest)
{
  PetscInt best = 4; /* letters; farther names are no help */

  if (nearest) *nearest = NULL;
  for (size_t i = 0; i < ncommands; ++i) {
    const PetscInt distance = CkOptionsDistance(name, commands[i]->name);

    if (strcmp(name, commands[i]->name) == 0) return commands[i];
    if (nearest && distance < best) *nearest = commands[i]->name;
    best = PetscMin(best, distance);
  }
  return NULL;
}

PetscErrorCode CkCommandHelp(MPI_Comm comm)
{
  PetscMPIInt rank;

  PetscFunctionBeginUser;
  PetscCallMPI(MPI_Comm_rank(comm, &rank));
  if (rank != 0) PetscFunctionReturn(PETSC_SUCCESS);
  printf("Clarkia %s: the diffusion matrix of stochastic gradient descent and its spectrum, for real networks.\n\n"
         "  clarkia COMMAND -key value ...              run a command\n"
         "  mpiexec -n 4 clarkia COMMAND -key value ... on four processes\n"
         "  clarkia COMMAND -options_file_yaml FILE ... with keys from a file of lines \"key: value\"\n"
         "  clarkia COMMAND -help                       all keys of a command, with defaults and meaning\n"
         "  clarkia -version                            version and libraries\n"
         "\nOptions in ~/.petscrc are not read, those in PETSC_OPTIONS are.\n\nCommands\n",
         CK_VERSION);
  for (size_t i = 0; i < ncommands; ++i)
    printf("  %-10s %s\n             e.g. %s\n", commands[i]->name, commands[i]->summary, commands[i]->example);
  fflush(stdout);
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkCommandRegisterCommon(void)
{
  PetscFunctionBeginUser;
  PetscCall(CkOptionsRegisterCommon());
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkCommandPrintHelp(const CkCommand *command, MPI_Comm comm)
{
  PetscMPIInt rank;

  PetscFunctionBeginUser;
  PetscCall(CkCommandRegisterCommon());
  PetscCall(command->register_options());
  PetscCallMPI(MPI_Comm_rank(comm, &rank));
  if (rank == 0) printf("clarkia %s: %s\n  e.g. %s\n\n", command->name, command->summary, command->example);
  PetscCall(CkOptionsHelp(comm));
  if (rank == 0)
    printf("\nPETSc's and SLEPc's own keys (-log_view, -eps_monitor, -options_file_yaml FILE, ...) work as well.\n");
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode LogHeader(const CkCommand *command, MPI_Comm comm)
{
  PetscMPIInt ranks;

  PetscFunctionBeginUser;
  PetscCallMPI(MPI_Comm_size(comm, &ranks));
  PetscCall(CkLog(comm, "Clarkia %s (revision %s), %s on %d rank%s", CK_VERSION, CkRevision(), command->name, ranks,
                  ranks > 1 ? "s" : ""));
  PetscCall(CkLog(comm, "BLAS: %s; oneDNN: %s", CkBLASName(), CkDNNInstructionSet()));
  if (CkBLASAdvice()) PetscCall(CkLog(comm, "warning: %s", CkBLASAdvice()));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkCommandRun(const CkCommand *command, MPI_Comm comm)
{
  PetscBool help = PETSC_FALSE, traceback = PETSC_FALSE, dry_run = PETSC_FALSE; /* help: from an options file */

  PetscFunctionBeginUser;
  CkProvenanceStart();
  PetscCall(CkEventsRegister());
  PetscCall(CkCommandRegisterCommon());
  PetscCall(command->register_options());
  PetscCall(CkOptionsGetBool("help", &help, NULL));
  if (help) {
    PetscCall(CkCommandPrintHelp(command, comm));
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  PetscCall(CkOptionsCheck());
  PetscCall(CkOptionsGetBool("error_traceback", &traceback, NULL));
  CkErrorSetTraceback(traceback);
  PetscCall(LogHeader(command, comm));
  PetscCall(command->run(comm));
  PetscCall(CkOptionsGetBool("dry_run", &dry_run, NULL));
  if (!dry_run) PetscCall(CkOptionsWarnLeft(comm)); /* a plan reads few of them */
  PetscFunctionReturn(PETSC_SUCCESS);
}
