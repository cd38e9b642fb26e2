#pragma once
#include <clarkia/options.h>

/* optionsimpl.h: the registry of option tables, shared by options.c (values), optionscheck.c and optionshelp.c. */

#define CK_MAX_TABLES 64
#define CK_MAX_OTHERS 1024
#define CK_MESSAGE 512

typedef struct {
  const char     *title;
  const CkOption *table;
  PetscBool      *read; /* [entries]: somebody has asked for the value */
} CkOptionTable;

/* The tables of commands that do not run. */
typedef struct {
  const char     *command;
  const CkOption *table;
} CkOptionOthers;

/* command: the one that runs, NULL if that was not said. */
PetscInt CkOptionsGetOthers_Private(const CkOptionOthers **others, const char **command);
/* Whether it is a key of PETSc or SLEPc (exactly) or may be one, by its prefix. */
PetscBool CkOptionsIsForeign_Private(const char key[], PetscBool *exactly);
/* The key of PETSc or SLEPc that this one, which is none, was probably meant to be; NULL if it is one, or near none.
   unknown: it is none of a group of which all are known. */
const char *CkOptionsNearestForeign_Private(const char key[], PetscBool *unknown);
/* Whether PETSc reads this key when it starts or ends, whether or not it then counts as read. */
PetscBool CkOptionsIsReadAtEnd_Private(const char key[]);
/* The registered tables in order; the common one is always there. */
PetscErrorCode CkOptionsGetTables_Private(PetscInt *n, const CkOptionTable **tables);
/* The text given for a key on the command line or in a file (NULL: nothing after the key); set: whether it was given.
 */
PetscErrorCode CkOptionsGetText_Private(const CkOption *option, const char **text, PetscBool *set);
/* Whether text is a value of this option; if not, message says why, naming key, value and bounds. */
PetscBool CkOptionAccepts_Private(const CkOption *option, const char text[], char message[CK_MESSAGE]);
/* "1 .. 100", "at least 0", "" */
void CkOptionFormatBounds_Private(const CkOption *option, char text[96]);
/* The nearest word of a list "dense|gram|krylov", or NULL where none is near. */
PetscBool CkNearestChoice_Private(const char choices[], const char text[], char nearest[64]);
