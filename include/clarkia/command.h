#pragma once
#include <clarkia/base.h>

/*
  command.h: `clarkia <command> -key value ...`. A command is one file in src/command/ and one line in command.c.
  It registers the option tables of the objects it uses, then builds them, runs and writes.
*/
typedef struct {
  const char *name;
  const char *summary;                      /* one line for `clarkia -help` */
  const char *example;                      /* a command line that runs */
  PetscErrorCode (*register_options)(void); /* tables of everything it uses */
  PetscErrorCode (*run)(MPI_Comm comm);
} CkCommand;

extern const CkCommand ck_command_import, ck_command_train, ck_command_evaluate, ck_command_spectrum,
  ck_command_trajectory, ck_command_tail, ck_command_info, ck_command_bench;

/* The command line as it is handed on: option files first, so that what is typed wins over them wherever it stands. */
typedef struct {
  PetscBool help, version; /* asked for, on the command line or in an options file */
  int       argc;
  char    **argv; /* program, command (if one was given), the other keys; ended by -skip_petscrc */
} CkArguments;

/* Between MPI_Init() and SlepcInitialize(); collective on MPI_COMM_WORLD, which PETSC_COMM_WORLD must be. Errors: an
   options file that cannot be read or holds what is not for such a file (user-guide, "Options"), with its line. */
PetscErrorCode CkArgumentsRead(int argc, char **argv, CkArguments *arguments);
void           CkArgumentsFree(CkArguments *arguments);

/* The command of that name, or NULL; with nearest (may be NULL) set to the closest name, NULL if none is close. */
const CkCommand *CkCommandFind(const char name[], const char **nearest);
/* Lists the commands, one line and an example each. */
PetscErrorCode CkCommandHelp(MPI_Comm comm);
/* Options every command takes: -help, -seed, -output, -memory_limit, -dry_run, -error_traceback. */
PetscErrorCode CkCommandRegisterCommon(void);
/* A command's summary, example and all its keys. */
PetscErrorCode CkCommandPrintHelp(const CkCommand *command, MPI_Comm comm);
/* Registers, checks the options, runs, warns of left-over options. */
PetscErrorCode CkCommandRun(const CkCommand *command, MPI_Comm comm);
/* User error if something that was printed has not arrived (a full disk). Collective. */
PetscErrorCode CkCommandCheckPrinted(MPI_Comm comm);
