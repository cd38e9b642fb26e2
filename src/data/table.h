#pragma once
#include "reader.h"
#include "stream.h"

/* table.h: columns and classes of a text table; table.c. Nothing here is collective. */

/* More than this many different values make no class column. */
#define CK_TABLE_CLASSES 1000

typedef struct {
  const char *source;    /* the file it was found in, borrowed */
  char        delimiter; /* ',' or ';', or ' ' for runs of blanks and tabs */
  PetscInt    columns, class_column, features;
  PetscBool   header; /* the first line names the columns */
  char      **names;  /* [columns], NULL without header */
  PetscBool  *skip;   /* [columns] the class column and the dropped ones */
} TableLayout;

typedef struct {
  PetscInt n, room;
  char   **names;
} TableClasses;

/* Cuts a line in place; fields beyond room are counted only. Blanks and double quotes around a field go. */
PetscInt TableSplit(char delimiter, char *line, PetscInt room, char *fields[]);
/* Delimiter, header and columns from the first line. */
PetscErrorCode TableFindLayout(TableLayout *layout, const CkDataSettings *settings, const char name[],
                               CkVerdict *verdict);
PetscErrorCode TableDestroyLayout(TableLayout *layout);

/* Provisional number of a class, in the order of appearance; numbers equal in value are one class. -1: there are too
   many, or it is new and grow is false. */
PetscErrorCode TableClassNumber(TableClasses *classes, const char text[], PetscBool grow, PetscInt *number);
void TableClassFail(const TableClasses *classes, const TableLayout *layout, const char name[], PetscInt64 line,
                    const char text[], CkVerdict *verdict);
/* Sorts the classes: by value if all are numbers, else by letters; order[provisional number] = final number. */
PetscErrorCode TableSortClasses(TableClasses *classes, int32_t order[]);
PetscErrorCode TableDestroyClasses(TableClasses *classes);
