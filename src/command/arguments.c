/* arguments.c: the command line before PETSc has it. */
#include "arguments.h"
#include <clarkia/command.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static PetscBool IsOneOf(const char word[], const char a[], const char b[], const char c[])
{
  return (PetscBool)(strcmp(word, a) == 0 || strcmp(word, b) == 0 || strcmp(word, c) == 0);
}

static PetscBool IsFile(const char word[])
{
  return (PetscBool)(word && (strcasecmp(word, "-options_file") == 0 || strcasecmp(word, "-options_file_yaml") == 0));
}

/* Puts the words in order: program, command, option files, the rest; -help and -version are taken out (PETSc would list
   hundreds of its own options), and files in the home directory that silently change a run are not read. */
static void Order(int argc, char **argv, CkArguments *arguments, CkVerdict *verdict)
{
  static char skip[] = "-skip_petscrc";
  int         n = 0, nrest = 0, nested = 0;
  char      **rest = calloc((size_t)argc + 1, sizeof(char *));

  arguments->argv = calloc((size_t)argc + 2, sizeof(char *));
  if (!rest || !arguments->argv) {
    CkVerdictFail(verdict, PETSC_ERR_MEM, "no memory for the command line");
    free(rest);
    return;
  }
  arguments->argv[n++] = argv[0];
  if (argc > 1 && argv[1][0] != '-') arguments->argv[n++] = argv[1];
  for (int i = n; i < argc; ++i) {
    if (strcasecmp(argv[i], "-prefix_push") == 0) ++nested;
    if (strcasecmp(argv[i], "-prefix_pop") == 0) --nested;
    if (IsOneOf(argv[i], "-help", "--help", "-h")) arguments->help = PETSC_TRUE;
    else if (IsOneOf(argv[i], "-version", "--version", "-v")) arguments->version = PETSC_TRUE;
    else if (!IsFile(argv[i])) rest[nrest++] = argv[i];
    else if (i + 1 == argc || argv[i + 1][0] == '-')
      CkVerdictFail(verdict, PETSC_ERR_ARG_WRONG, "%s needs the name of a file", argv[i]);
    else if (nested > 0)
      CkVerdictFail(verdict, PETSC_ERR_ARG_WRONG,
                    "%s %s stands between -prefix_push and -prefix_pop; files are read "
                    "first, so give it outside",
                    argv[i], argv[i + 1]);
    else {
      arguments->argv[n++] = argv[i];
      arguments->argv[n++] = argv[++i];
    }
  }
  for (int i = 0; i < nrest; ++i) arguments->argv[n++] = rest[i];
  arguments->argv[n++] = skip;
  arguments->argc = n;
  free(rest);
}

/* A request for help needs no other key than the command's name. */
static void DropKeys(CkArguments *arguments)
{
  const int keep = arguments->argc > 2 && arguments->argv[1][0] != '-' ? 2 : 1;

  arguments->argv[keep] = arguments->argv[arguments->argc - 1];
  arguments->argv[keep + 1] = NULL;
  arguments->argc = keep + 1;
}

PetscErrorCode CkArgumentsRead(int argc, char **argv, CkArguments *arguments)
{
  CkVerdict     verdict = {0};
  CkOptionsFile file = {PETSC_FALSE, PETSC_FALSE};
  int           rank, asked[2];

  PetscFunctionBeginUser;
  PetscCallMPI(MPI_Comm_rank(MPI_COMM_WORLD, &rank));
  Order(argc, argv, arguments, &verdict);
  for (int i = 1; i + 1 < arguments->argc && rank == 0 && !verdict.code; ++i)
    if (IsFile(arguments->argv[i]))
      CkOptionsFileCheck(arguments->argv[i + 1], (PetscBool)(strcasecmp(arguments->argv[i], "-options_file_yaml") == 0),
                         &file, &verdict);
  PetscCall(CkCheckVerdict(MPI_COMM_WORLD, &verdict));
  asked[0] = arguments->help || file.help;
  asked[1] = arguments->version || file.version;
  PetscCallMPI(MPI_Bcast(asked, 2, MPI_INT, 0, MPI_COMM_WORLD));
  arguments->help = (PetscBool)asked[0];
  arguments->version = (PetscBool)asked[1];
  if (arguments->help || arguments->version) DropKeys(arguments);
  PetscFunctionReturn(PETSC_SUCCESS);
}

void CkArgumentsFree(CkArguments *arguments)
{
  free(arguments->argv);
  arguments->argv = NULL;
}
