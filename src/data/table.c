#include "table.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- columns ---- */

static char *TableTrim(char *begin, char *end)
{
  while (begin < end && strchr(" \t", *begin)) ++begin;
  while (end > begin && strchr(" \t", end[-1])) --end;
  if (end - begin >= 2 && *begin == '"' && end[-1] == '"') {
    ++begin;
    --end;
  }
  *end = '\0';
  return begin;
}

PetscInt TableSplit(char delimiter, char *line, PetscInt room, char *fields[])
{
  const char stops[3] = {delimiter, delimiter == ' ' ? '\t' : '\0', '\0'};
  PetscInt   n = 0;

  for (PetscBool more = PETSC_TRUE; more;) {
    size_t length;

    if (delimiter == ' ') line += strspn(line, stops);
    if (delimiter == ' ' && *line == '\0') break;
    length = strcspn(line, stops);
    more = (PetscBool)(line[length] != '\0');
    if (n < room) fields[n] = TableTrim(line, line + length);
    ++n;
    line += length + (more ? 1 : 0);
  }
  return n;
}

static PetscBool IsNumber(const char text[], double *value)
{
  char *end;

  *value = strtod(text, &end);
  return (PetscBool)(end != text && *end == '\0');
}

/* A column by its name in the header, else by its number from 1; -1: none. */
static PetscInt TableColumn(const TableLayout *layout, const char text[])
{
  char *end;
  long  number;

  for (PetscInt c = 0; layout->names && c < layout->columns; ++c)
    if (strcmp(layout->names[c], text) == 0) return c;
  number = strtol(text, &end, 10);
  return end != text && *end == '\0' && number >= 1 && number <= layout->columns ? (PetscInt)number - 1 : -1;
}

static void TableColumnFail(const TableLayout *layout, const char name[], const char option[], const char text[],
                            CkVerdict *verdict)
{
  char list[512] = "";

  for (PetscInt c = 0; layout->names && c < layout->columns; ++c) {
    const size_t used = strlen(list);

    snprintf(list + used, sizeof(list) - used, "%s%s", c ? ", " : "; the header names ", layout->names[c]);
  }
  CkVerdictFail(verdict, PETSC_ERR_USER_INPUT,
                "%s: has no column '%s' (%s); it is neither a name of the header nor a number from 1 to %" PetscInt_FMT
                "%s",
                name, text, option, layout->columns, list);
}

static void TableChooseColumns(TableLayout *layout, const CkDataSettings *settings, const char name[],
                               CkVerdict *verdict)
{
  const char *drop = settings->columns_drop;

  layout->class_column = layout->columns - 1;
  if (settings->class_column[0]) layout->class_column = TableColumn(layout, settings->class_column);
  if (layout->class_column < 0) {
    TableColumnFail(layout, name, "-data_class_column", settings->class_column, verdict);
    return;
  }
  layout->skip[layout->class_column] = PETSC_TRUE;
  while (*drop && !verdict->code) {
    const size_t length = strcspn(drop, ",");
    char         text[128] = "";
    PetscInt     column;

    snprintf(text, sizeof(text), "%.*s", (int)PetscMin(length, sizeof(text) - 1), drop);
    column = TableColumn(layout, text);
    if (column < 0) TableColumnFail(layout, name, "-data_columns_drop", text, verdict);
    else layout->skip[column] = PETSC_TRUE;
    drop += length + (drop[length] == ',');
  }
  for (PetscInt c = 0; c < layout->columns; ++c) layout->features += !layout->skip[c];
  if (layout->features == 0)
    CkVerdictFail(verdict, PETSC_ERR_FILE_UNEXPECTED,
                  "%s: has no column of features: %" PetscInt_FMT " columns, of which the class is one", name,
                  layout->columns);
}

/* A header has names only: a first line with a number in it is a sample, though other fields of it may be letters (its
   class) or broken (which is then said of that line). */
static PetscErrorCode TableReadHeader(TableLayout *layout, char *const fields[])
{
  PetscInt numbers = 0;
  double   value;

  PetscFunctionBeginUser;
  for (PetscInt c = 0; c < layout->columns; ++c) numbers += IsNumber(fields[c], &value);
  layout->header = (PetscBool)(numbers == 0);
  if (!layout->header) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(PetscCalloc1((size_t)layout->columns, &layout->names));
  for (PetscInt c = 0; c < layout->columns; ++c) PetscCall(PetscStrallocpy(fields[c], &layout->names[c]));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode TableFindLayout(TableLayout *layout, const CkDataSettings *settings, const char name[],
                               CkVerdict *verdict)
{
  CkLines lines;
  char   *line = NULL, **fields;

  PetscFunctionBeginUser;
  PetscCall(PetscArrayzero(layout, 1));
  layout->source = name;
  PetscCall(CkLinesOpen(&lines, name, verdict));
  do PetscCall(CkLinesNext(&lines, &line, verdict));
  while (line && line[strspn(line, " \t")] == '\0');
  if (!line) CkVerdictFail(verdict, PETSC_ERR_FILE_UNEXPECTED, "%s: has no line with text", name);
  if (!verdict->code) {
    const size_t length = strlen(line);

    layout->delimiter = strchr(line, ',') ? ',' : strchr(line, ';') ? ';' : ' ';
    PetscCall(PetscMalloc1(length + 1, &fields));
    layout->columns = TableSplit(layout->delimiter, line, (PetscInt)length + 1, fields);
    PetscCall(PetscCalloc1((size_t)layout->columns, &layout->skip));
    PetscCall(TableReadHeader(layout, fields));
    PetscCall(PetscFree(fields));
    TableChooseColumns(layout, settings, name, verdict);
  }
  PetscCall(CkLinesClose(&lines));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode TableDestroyLayout(TableLayout *layout)
{
  PetscFunctionBeginUser;
  for (PetscInt c = 0; layout->names && c < layout->columns; ++c) PetscCall(PetscFree(layout->names[c]));
  PetscCall(PetscFree(layout->names));
  PetscCall(PetscFree(layout->skip));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* ---- classes ---- */

static PetscBool SameClass(const char a[], const char b[])
{
  double x, y;

  return (PetscBool)(strcmp(a, b) == 0 || (IsNumber(a, &x) && IsNumber(b, &y) && x == y));
}

PetscErrorCode TableClassNumber(TableClasses *classes, const char text[], PetscBool grow, PetscInt *number)
{
  double value;

  PetscFunctionBeginUser;
  for (*number = 0; *number < classes->n; ++*number)
    if (strcmp(classes->names[*number], text) == 0) PetscFunctionReturn(PETSC_SUCCESS);
  for (*number = 0; *number < classes->n; ++*number)
    if (SameClass(classes->names[*number], text)) PetscFunctionReturn(PETSC_SUCCESS);
  *number = -1;
  if (!grow || classes->n == CK_TABLE_CLASSES || text[0] == '\0') PetscFunctionReturn(PETSC_SUCCESS);
  if (IsNumber(text, &value) && !isfinite(value)) PetscFunctionReturn(PETSC_SUCCESS);
  if (classes->n == classes->room) {
    classes->room = 2 * classes->room + 16;
    PetscCall(PetscRealloc((size_t)classes->room * sizeof(char *), &classes->names));
  }
  PetscCall(PetscStrallocpy(text, &classes->names[classes->n]));
  *number = classes->n++;
  PetscFunctionReturn(PETSC_SUCCESS);
}

void TableClassFail(const TableClasses *classes, const TableLayout *layout, const char name[], PetscInt64 line,
                    const char text[], CkVerdict *verdict)
{
  const PetscInt column = layout->class_column + 1;
  double         value;

  if (text[0] == '\0' || (IsNumber(text, &value) && !isfinite(value)))
    CkVerdictFail(verdict, PETSC_ERR_FILE_UNEXPECTED,
                  "%s: line %" PetscInt64_FMT ", column %" PetscInt_FMT ": '%s' is no class", name, line, column, text);
  else if (classes->n == CK_TABLE_CLASSES)
    CkVerdictFail(verdict, PETSC_ERR_FILE_UNEXPECTED,
                  "%s: column %" PetscInt_FMT " has more than %d different values up to line %" PetscInt64_FMT
                  ": is it the class? Name that column with -data_class_column",
                  name, column, CK_TABLE_CLASSES, line);
  else
    CkVerdictFail(verdict, PETSC_ERR_FILE_UNEXPECTED,
                  "%s: line %" PetscInt64_FMT ", column %" PetscInt_FMT ": class '%.64s' is none of the %" PetscInt_FMT
                  " classes of the training file",
                  name, line, column, text, classes->n);
}

typedef struct {
  char    *name;
  double   value;
  PetscInt provisional;
} SortedClass;

static int CompareValues(const void *a, const void *b)
{
  const double x = ((const SortedClass *)a)->value, y = ((const SortedClass *)b)->value;

  return (x > y) - (x < y);
}

static int CompareNames(const void *a, const void *b)
{
  return strcmp(((const SortedClass *)a)->name, ((const SortedClass *)b)->name);
}

PetscErrorCode TableSortClasses(TableClasses *classes, int32_t order[])
{
  PetscBool    numeric = PETSC_TRUE;
  SortedClass *sorted;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc1((size_t)classes->n, &sorted));
  for (PetscInt i = 0; i < classes->n; ++i) {
    sorted[i].name = classes->names[i];
    sorted[i].provisional = i;
    if (!IsNumber(classes->names[i], &sorted[i].value)) numeric = PETSC_FALSE;
  }
  qsort(sorted, (size_t)classes->n, sizeof(SortedClass), numeric ? CompareValues : CompareNames);
  for (PetscInt i = 0; i < classes->n; ++i) {
    classes->names[i] = sorted[i].name;
    order[sorted[i].provisional] = (int32_t)i;
  }
  PetscCall(PetscFree(sorted));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode TableDestroyClasses(TableClasses *classes)
{
  PetscFunctionBeginUser;
  for (PetscInt i = 0; i < classes->n; ++i) PetscCall(PetscFree(classes->names[i]));
  PetscCall(PetscFree(classes->names));
  classes->n = classes->room = 0;
  PetscFunctionReturn(PETSC_SUCCESS);
}
