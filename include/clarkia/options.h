#pragma once
#include <clarkia/base.h>

/*
  options.h: strict options. Every object lists its keys in one static table: default, bounds, meaning stand there and
  nowhere else. CkOptionsCheck() runs before any work: a key that stands in no table and has no prefix of PETSc's or
  SLEPc's is an error that names a known key like it, if there is one; so is a key of another command, and a value that
  is no number, out of bounds, or none of the choices.
*/
typedef enum {
  CK_OPTION_BOOL,
  CK_OPTION_INT,
  CK_OPTION_REAL,
  CK_OPTION_REALS,
  CK_OPTION_INTS,
  CK_OPTION_STRING,
  CK_OPTION_FILE /* text that names a file or files A,B,.. to be read; CkOptionsGetString() */
} CkOptionKind;

typedef struct {
  const char  *key; /* without the leading dash; prefix = object: "data_count" */
  CkOptionKind kind;
  const char  *fallback;         /* default as text, shown by -help; NULL: none (the option is unset) */
  double       minimum, maximum; /* inclusive bounds of numbers; minimum = maximum = 0: none */
  const char  *choices;          /* "dense|gram|krylov" for CK_OPTION_STRING; NULL: any text */
  const char  *help;             /* one line: meaning and unit */
} CkOption;

/* Adds a table (ended by an entry with key NULL; must outlive the program). title heads it in -help ("Data set").
   Registering the same table twice is harmless. Not collective, same calls on all ranks. */
PetscErrorCode CkOptionsRegister(const char title[], const CkOption table[]);
/* Adds the keys that every command takes: help, seed, output, memory_limit, dry_run, error_traceback. The other calls
   do so by themselves. */
PetscErrorCode CkOptionsRegisterCommon(void);
/* Tables registered from now on are those of this command; runs: it is the one whose keys are read, else its keys are
   known only to say whose they are. Without any call, all tables are those of the program that runs. */
void CkOptionsSetCommand(const char command[], PetscBool runs);
/* Checks the whole options database against the registered tables, refuses keys of nobody, warns of keys that look like
   misspelt ones of PETSc or SLEPc, and notes the files that are named as inputs (CkFileNoteInput()). Collective on
   PETSC_COMM_WORLD; user error as above. */
PetscErrorCode CkOptionsCheck(void);
/* Prints all registered tables with defaults, bounds, choices and meaning on rank 0. */
PetscErrorCode CkOptionsHelp(MPI_Comm comm);
/* All registered keys with the values in force, one "-key value\n" a line; caller frees with PetscFree(). */
PetscErrorCode CkOptionsInForce(char **text);
/* Warns on rank 0 of options in the database that nobody (PETSc and SLEPc included) has read; after the work. */
PetscErrorCode CkOptionsWarnLeft(MPI_Comm comm);

/* The value in force (database, else fallback) of a registered key; it is a programming error to ask for one that is
   not, or of another kind. set (may be NULL): whether the user gave it. value (may be NULL) is left alone where the key
   is neither given nor has a fallback. Not collective. Errors: a bad value, should CkOptionsCheck() not have run. */
PetscErrorCode CkOptionsGetBool(const char key[], PetscBool *value, PetscBool *set);
PetscErrorCode CkOptionsGetInt(const char key[], PetscInt *value, PetscBool *set);
PetscErrorCode CkOptionsGetReal(const char key[], PetscReal *value, PetscBool *set);
/* n: in, room of values; out, numbers read, 0 where unset and without fallback. "0.2,0.4,1.0". More numbers than there
   is room for are an error. */
PetscErrorCode CkOptionsGetReals(const char key[], PetscReal values[], PetscInt *n, PetscBool *set);
PetscErrorCode CkOptionsGetInts(const char key[], PetscInt values[], PetscInt *n, PetscBool *set);
/* value: room of length bytes; "" where unset and without fallback. */
PetscErrorCode CkOptionsGetString(const char key[], char value[], size_t length, PetscBool *set);

/* Letters to insert, delete, replace or swap with their neighbour to turn a into b, ignoring case. */
PetscInt CkOptionsDistance(const char a[], const char b[]);
