#include <clarkia/command.h>
#include <clarkia/error.h>
#include <clarkia/provenance.h>
#include <signal.h>
#include <slepcsys.h>
#include <stdlib.h>
#include <string.h>

/* What the command line asks for before any library is started. */
typedef struct {
  PetscBool help, version;
  int       argc;
  char    **argv; /* without -help and -version, with -skip_petscrc at the end */
} Request;

static PetscBool IsOneOf(const char word[], const char a[], const char b[], const char c[])
{
  return (PetscBool)(strcmp(word, a) == 0 || strcmp(word, b) == 0 || strcmp(word, c) == 0);
}

/* -help is kept from PETSc, which would list hundreds of its own options; files in the home directory that silently
 * change a run are not read. */
static Request ReadArguments(int argc, char **argv)
{
  static char skip[] = "-skip_petscrc";
  Request     r = {.argv = calloc((size_t)argc + 2, sizeof(char *))};

  if (!r.argv) exit(EXIT_FAILURE);
  for (int i = 0; i < argc; ++i) {
    if (i > 0 && IsOneOf(argv[i], "-help", "--help", "-h")) r.help = PETSC_TRUE;
    else if (i > 0 && IsOneOf(argv[i], "-version", "--version", "-v")) r.version = PETSC_TRUE;
    else r.argv[r.argc++] = argv[i];
  }
  r.argv[r.argc++] = skip;
  return r;
}

static PetscErrorCode Run(const Request *request)
{
  const MPI_Comm   comm = PETSC_COMM_WORLD;
  const char      *name = request->argv[1], *nearest;
  const CkCommand *command;

  PetscFunctionBeginUser;
  if (request->version) PetscCall(CkProvenancePrintVersions(comm));
  else if (request->argc == 2) PetscCall(CkCommandHelp(comm)); /* nothing but the program and -skip_petscrc */
  else {
    command = CkCommandFind(name, &nearest);
    CkCheckAll(comm, command, PETSC_ERR_ARG_UNKNOWN_TYPE, "'%s' is no command%s%s%s (clarkia -help lists them)", name,
               nearest ? "; did you mean " : "", nearest ? nearest : "", nearest ? "?" : "");
    if (request->help) PetscCall(CkCommandPrintHelp(command, comm));
    else PetscCall(CkCommandRun(command, comm));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

int main(int argc, char **argv)
{
  Request        request = ReadArguments(argc, argv);
  PetscErrorCode ierr;
  int            code, started = 0;

  CkProvenanceStart();
  ierr = CkErrorInitialize();
  if (!ierr) ierr = SlepcInitialize(&request.argc, &request.argv, NULL, NULL);
  (void)signal(SIGPIPE, SIG_DFL); /* clarkia -help | head: no error of PETSc's */
  if (!ierr) ierr = Run(&request);
  code = CkErrorExitCode(ierr);
  (void)MPI_Initialized(&started);
  if (code && started && !CkErrorWasCollective()) MPI_Abort(MPI_COMM_WORLD, code);
  if (started && SlepcFinalize() && !code) code = EXIT_FAILURE;
  free(request.argv);
  return code;
}
