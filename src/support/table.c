#include <clarkia/progress.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

typedef struct Row {
  char        name[64], value[192], note[192];
  struct Row *next;
} Row;

struct _p_CkTable {
  MPI_Comm comm;
  char     title[128];
  Row     *first, **end; /* in order of arrival */
};

PetscErrorCode CkTableCreate(MPI_Comm comm, const char title[], CkTable *table)
{
  PetscFunctionBeginUser;
  PetscCall(PetscNew(table));
  (*table)->comm = comm;
  (*table)->end = &(*table)->first;
  snprintf((*table)->title, sizeof((*table)->title), "%s", title);
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkTableRow(CkTable table, const char name[], const char note[], const char format[], ...)
{
  Row    *row;
  va_list args;

  PetscFunctionBeginUser;
  PetscCall(PetscNew(&row));
  snprintf(row->name, sizeof(row->name), "%s", name);
  snprintf(row->note, sizeof(row->note), "%s", note ? note : "");
  va_start(args, format);
  vsnprintf(row->value, sizeof(row->value), format, args);
  va_end(args);
  *table->end = row;
  table->end = &row->next;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static void PrintTable(CkTable table)
{
  int name = 0, value = 0;

  for (const Row *row = table->first; row; row = row->next) {
    name = PetscMax(name, (int)strlen(row->name));
    value = PetscMax(value, row->note[0] ? (int)strlen(row->value) : 0); /* a long value without note needs no column */
  }
  printf("\n%s\n", table->title);
  for (size_t i = 0; i < strlen(table->title); ++i) putchar('-');
  putchar('\n');
  for (const Row *row = table->first; row; row = row->next) {
    if (row->note[0]) printf("  %-*s  %-*s  %s\n", name, row->name, value, row->value, row->note);
    else printf("  %-*s  %s\n", name, row->name, row->value);
  }
  printf("\n");
  fflush(stdout);
}

PetscErrorCode CkTableDestroy(CkTable *table)
{
  PetscMPIInt rank;

  PetscFunctionBeginUser;
  if (!*table) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCallMPI(MPI_Comm_rank((*table)->comm, &rank));
  if (rank == 0) PrintTable(*table);
  for (Row *row = (*table)->first, *next; row; row = next) {
    next = row->next;
    PetscCall(PetscFree(row));
  }
  PetscCall(PetscFree(*table));
  PetscFunctionReturn(PETSC_SUCCESS);
}
