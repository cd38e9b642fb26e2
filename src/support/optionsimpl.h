#pragma once
#include <clarkia/options.h>

/* optionsimpl.h: the registry of option tables, shared by options.c (values), optionscheck.c and optionshelp.c. */

#define CK_MAX_TABLES 32
#define CK_MESSAGE 512

typedef struct {
  const char     *title;
  const CkOption *table;
  PetscBool      *read; /* [entries]: somebody has asked for the value */
} CkOptionTable;

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
