#include <clarkia/command.h>
#include <clarkia/error.h>
#include <clarkia/options.h>
#include <clarkia/progress.h>
#include <clarkia/provenance.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

static const CkCommand *const commands[] = {&ck_command_import,   &ck_command_train,      &ck_command_evaluate,
                                            &ck_command_spectrum, &ck_command_trajectory, &ck_command_tail,
                                            &ck_command_info,     &ck_command_bench};
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
         "  clarkia COMMAND -options_file_yaml FILE ... with keys from a file of lines \"key: value\"; keys on the\n"
         "                                              command line win over it, before it and behind it\n"
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
    printf(
      "\nPETSc's and SLEPc's own keys (-log_view, -eps_monitor, ...) work as well. -options_file_yaml FILE takes keys"
      "\nfrom lines \"key: value\"; keys on the command line win over it, before it and behind it.\n");
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode LogHeader(const CkCommand *command, MPI_Comm comm)
{
  PetscMPIInt ranks;

  PetscFunctionBeginUser;
  PetscCallMPI(MPI_Comm_size(comm, &ranks));
  PetscCall(CkLog(comm, "Clarkia %s (revision %s), %s on %d rank%s", CK_VERSION, CkRevision(), command->name, ranks,
                  CkPlural(ranks)));
  PetscCall(CkLog(comm, "BLAS: %s; oneDNN: %s", CkBLASName(), CkDNNInstructionSet()));
  if (CkBLASAdvice()) PetscCall(CkLog(comm, "warning: %s", CkBLASAdvice()));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkCommandCheckPrinted(MPI_Comm comm)
{
  PetscFunctionBeginUser;
  errno = 0;
  CkCheckAll(comm, fflush(stdout) == 0 && !ferror(stdout), PETSC_ERR_FILE_WRITE,
             "not all of the output could be written to standard output: %s", errno ? strerror(errno) : "disk full?");
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The keys of the other commands are known to say whose they are. */
static PetscErrorCode RegisterKeys(const CkCommand *command)
{
  PetscFunctionBeginUser;
  for (size_t i = 0; i < ncommands; ++i) {
    CkOptionsSetCommand(commands[i]->name, PETSC_FALSE);
    if (commands[i] != command) PetscCall(commands[i]->register_options());
  }
  CkOptionsSetCommand(command->name, PETSC_TRUE);
  PetscCall(CkCommandRegisterCommon());
  PetscCall(command->register_options());
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkCommandRun(const CkCommand *command, MPI_Comm comm)
{
  PetscBool traceback = PETSC_FALSE, dry_run = PETSC_FALSE;

  PetscFunctionBeginUser;
  CkProvenanceStart();
  PetscCall(CkEventsRegister());
  PetscCall(RegisterKeys(command));
  PetscCall(CkOptionsCheck());
  PetscCall(CkOptionsGetBool("error_traceback", &traceback, NULL));
  CkErrorSetTraceback(traceback);
  PetscCall(LogHeader(command, comm));
  PetscCall(command->run(comm));
  PetscCall(CkOptionsGetBool("dry_run", &dry_run, NULL));
  if (!dry_run) PetscCall(CkOptionsWarnLeft(comm)); /* a plan reads few of them */
  PetscFunctionReturn(PETSC_SUCCESS);
}
