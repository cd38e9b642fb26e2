#pragma once
#include <clarkia/error.h>

/* arguments.h: what arguments.c asks of optionsfile.c. */
typedef struct {
  PetscBool help, version; /* asked for in the file */
} CkOptionsFile;

/* Whether PETSc will read the options file (of YAML, or lines "-key value"); not collective. A YAML file may have one
   mapping of plain keys to numbers, words and lists of them, each key once, and no key that has a meaning on the
   command line only. */
void CkOptionsFileCheck(const char name[], PetscBool yaml, CkOptionsFile *file, CkVerdict *verdict);
