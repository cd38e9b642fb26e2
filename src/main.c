#include <clarkia/command.h>
#include <clarkia/error.h>
#include <clarkia/file.h>
#include <clarkia/provenance.h>
#include <signal.h>
#include <slepcsys.h>
#include <stdlib.h>

static PetscErrorCode RunCommand(const CkArguments *arguments)
{
  const MPI_Comm   comm = PETSC_COMM_WORLD;
  const char      *name = arguments->argv[1], *nearest;
  const CkCommand *command = CkCommandFind(name, &nearest);

  PetscFunctionBeginUser;
  CkCheckAll(comm, command, PETSC_ERR_ARG_UNKNOWN_TYPE, "'%s' is no command%s%s%s (clarkia -help lists them)", name,
             nearest ? "; did you mean " : "", nearest ? nearest : "", nearest ? "?" : "");
  if (arguments->help) PetscCall(CkCommandPrintHelp(command, comm));
  else PetscCall(CkCommandRun(command, comm));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Run(const CkArguments *arguments)
{
  PetscFunctionBeginUser;
  PetscCall(CkFileHandleSignals()); /* PETSc has set its own */
  (void)signal(SIGPIPE, SIG_DFL);   /* clarkia -help | head: no error of PETSc's */
  if (arguments->version) PetscCall(CkProvenancePrintVersions(PETSC_COMM_WORLD));
  else if (arguments->argc == 2) PetscCall(CkCommandHelp(PETSC_COMM_WORLD)); /* the program and -skip_petscrc */
  else PetscCall(RunCommand(arguments));
  PetscCall(CkCommandCheckPrinted(PETSC_COMM_WORLD));
  PetscFunctionReturn(PETSC_SUCCESS);
}

int main(int argc, char **argv)
{
  CkArguments    arguments = {.help = PETSC_FALSE};
  PetscErrorCode ierr;
  int            code, provided;

  CkProvenanceStart();
  if (MPI_Init_thread(&argc, &argv, MPI_THREAD_FUNNELED, &provided) != MPI_SUCCESS) return EXIT_FAILURE;
  PETSC_COMM_WORLD = MPI_COMM_WORLD;
  ierr = CkErrorInitialize();
  if (!ierr) ierr = CkFileHandleSignals();
  if (!ierr) ierr = CkArgumentsRead(argc, argv, &arguments);
  if (!ierr) ierr = SlepcInitialize(&arguments.argc, &arguments.argv, NULL, NULL);
  if (!ierr) ierr = Run(&arguments);
  CkErrorReport(ierr);
  code = CkErrorExitCode(ierr);
  if (code && !CkErrorWasCollective()) {
    CkFileRemoveTemporaries();
    MPI_Abort(MPI_COMM_WORLD, code);
  }
  if (PetscInitializeCalled && SlepcFinalize() && !code) code = EXIT_FAILURE;
  CkArgumentsFree(&arguments);
  (void)MPI_Finalize();
  return code;
}
