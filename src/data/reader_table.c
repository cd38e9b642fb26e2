#include "table.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

/*
  reader_table.c: text tables, plain or gzip: a line a sample, columns between commas, semicolons or blanks, one of them
  the class. Layout and classes come from the training file and hold for the test file. Each rank reads the text through
  a small buffer, twice: once for lengths and classes, once for its own rows.
*/
typedef struct {
  TableLayout  layout;
  TableClasses classes;
  int32_t     *labels; /* of all rows of the split */
  PetscInt64   rows;
  CkLines      lines; /* of the second reading */
  PetscInt64   row;   /* row that CkLinesNext() gives next; -1: not opened */
  char         name[PETSC_MAX_PATH_LEN];
} TableContext;

/* The next line that is not blank, split; *n = 0 at the end. The number of columns must be right. */
static PetscErrorCode TableNext(CkLines *lines, const TableLayout *layout, char *fields[], PetscInt *n,
                                CkVerdict *verdict)
{
  const PetscBool other = (PetscBool)(strcmp(lines->stream.name, layout->source) != 0);
  char           *line;

  PetscFunctionBeginUser;
  *n = 0;
  do {
    PetscCall(CkLinesNext(lines, &line, verdict));
    if (!line) PetscFunctionReturn(PETSC_SUCCESS);
  } while (line[strspn(line, " \t")] == '\0');
  *n = TableSplit(layout->delimiter, line, layout->columns, fields);
  if (*n != layout->columns)
    CkVerdictFail(verdict, PETSC_ERR_FILE_UNEXPECTED,
                  "%s: line %" PetscInt64_FMT " has %" PetscInt_FMT
                  " column%s, the first line of %s%.256s has %" PetscInt_FMT,
                  lines->stream.name, lines->number, *n, CkPlural(*n), other ? "the training file " : "",
                  other ? layout->source : "this file", layout->columns);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* First reading of one file: its rows, and a provisional class number of each. known: the classes may not grow. */
static PetscErrorCode TableScan(TableContext *context, const char name[], PetscBool known, PetscInt64 *rows,
                                int32_t **labels, CkVerdict *verdict)
{
  PetscInt64 room = 0;
  CkLines    lines;
  char     **fields;
  PetscInt   n;

  PetscFunctionBeginUser;
  *rows = 0;
  *labels = NULL;
  PetscCall(PetscMalloc1((size_t)context->layout.columns, &fields));
  PetscCall(CkLinesOpen(&lines, name, verdict));
  for (PetscBool header = context->layout.header;; header = PETSC_FALSE) {
    PetscInt class;

    PetscCall(TableNext(&lines, &context->layout, fields, &n, verdict));
    if (n == 0 || verdict->code) break;
    if (header) continue;
    PetscCall(TableClassNumber(&context->classes, fields[context->layout.class_column], !known, &class));
    if (class < 0) {
      TableClassFail(&context->classes, &context->layout, name, lines.number, fields[context->layout.class_column],
                     verdict);
      break;
    }
    if (*rows == room) {
      room = 2 * room + 1024;
      PetscCall(PetscRealloc((size_t)room * sizeof(int32_t), labels));
    }
    (*labels)[(*rows)++] = (int32_t) class;
  }
  PetscCall(CkLinesClose(&lines));
  PetscCall(PetscFree(fields));
  if (!verdict->code) CkReaderCheckSizes(name, *rows, 0, NULL, verdict);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Training file first, also for the test split: layout and classes are its. */
static PetscErrorCode TableOpenFiles(CkReader reader, const char training[], const char test[], CkVerdict *verdict)
{
  TableContext *context = reader->context;
  int32_t      *order;

  PetscFunctionBeginUser;
  PetscCall(TableFindLayout(&context->layout, reader->settings, training, verdict));
  if (verdict->code) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(TableScan(context, training, PETSC_FALSE, &context->rows, &context->labels, verdict));
  if (!verdict->code && test) {
    PetscCall(PetscFree(context->labels));
    PetscCall(TableScan(context, test, PETSC_TRUE, &context->rows, &context->labels, verdict));
  }
  if (verdict->code) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(PetscMalloc1((size_t)context->classes.n, &order));
  PetscCall(TableSortClasses(&context->classes, order));
  for (PetscInt64 i = 0; i < context->rows; ++i) context->labels[i] = order[context->labels[i]];
  PetscCall(PetscFree(order));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Open(CkReader reader, CkVerdict *verdict)
{
  const CkDataSettings *s = reader->settings;
  TableContext         *context;

  PetscFunctionBeginUser;
  if (reader->test && !s->test[0]) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(PetscNew(&context));
  reader->context = context;
  context->row = -1;
  PetscCall(PetscStrncpy(context->name, reader->test ? s->test : s->path, sizeof(context->name)));
  PetscCall(TableOpenFiles(reader, s->path, reader->test ? s->test : NULL, verdict));
  if (verdict->code) PetscFunctionReturn(PETSC_SUCCESS);
  reader->exists = PETSC_TRUE;
  reader->samples = context->rows;
  reader->shape = (CkShape){context->layout.features, 1, 1};
  reader->type = CK_F32;
  PetscCall(PetscStrncpy(reader->noun, "rows", sizeof(reader->noun)));
  reader->classes = context->classes.n;
  CkReaderBaseName(context->name, reader->title);
  PetscCall(CkReaderSetNames(reader, context->classes.n, (const char *const *)context->classes.names));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Labels(CkReader reader, PetscInt64 first, PetscInt64 count, int32_t labels[], CkVerdict *verdict)
{
  const TableContext *context = reader->context;

  PetscFunctionBeginUser;
  (void)verdict;
  PetscCall(PetscArraycpy(labels, context->labels + first, (size_t)count));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The numbers of one row. */
static void TableNumbers(const CkLines *lines, const TableLayout *layout, char *const fields[], float out[],
                         CkVerdict *verdict)
{
  for (PetscInt c = 0; c < layout->columns && !verdict->code; ++c) {
    char *end;
    float value;

    if (layout->skip[c]) continue;
    value = strtof(fields[c], &end);
    if (end == fields[c] || *end != '\0')
      CkVerdictFail(verdict, PETSC_ERR_FILE_UNEXPECTED,
                    "%s: line %" PetscInt64_FMT ", column %" PetscInt_FMT
                    "%s%s%s: '%.64s' is no number; complete the value, leave out the row, or leave out the column with "
                    "-data_columns_drop",
                    lines->stream.name, lines->number, c + 1, layout->names ? " (" : "",
                    layout->names ? layout->names[c] : "", layout->names ? ")" : "", fields[c]);
    else if (!isfinite(value))
      CkVerdictFail(verdict, PETSC_ERR_FP,
                    "%s: line %" PetscInt64_FMT ", column %" PetscInt_FMT "%s%s%s: '%.64s' is no finite float32 number",
                    lines->stream.name, lines->number, c + 1, layout->names ? " (" : "",
                    layout->names ? layout->names[c] : "", layout->names ? ")" : "", fields[c]);
    *out++ = value;
  }
}

static PetscErrorCode Features(CkReader reader, PetscInt64 first, PetscInt64 count, void *features, CkVerdict *verdict)
{
  TableContext *context = reader->context;
  float        *out = features;
  char        **fields;
  PetscInt      n;

  PetscFunctionBeginUser;
  if (count == 0) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(PetscMalloc1((size_t)context->layout.columns, &fields));
  if (context->row < 0 || context->row > first) {
    if (context->row >= 0) PetscCall(CkLinesClose(&context->lines));
    PetscCall(CkLinesOpen(&context->lines, context->name, verdict));
    context->row = 0;
    if (context->layout.header) PetscCall(TableNext(&context->lines, &context->layout, fields, &n, verdict));
  }
  while (context->row < first + count && !verdict->code) {
    PetscCall(TableNext(&context->lines, &context->layout, fields, &n, verdict));
    if (n == 0)
      CkVerdictFail(verdict, PETSC_ERR_FILE_UNEXPECTED,
                    "%s: has changed while it was read: only %" PetscInt64_FMT " rows now", context->name,
                    context->row);
    if (verdict->code) break;
    if (context->row >= first) {
      TableNumbers(&context->lines, &context->layout, fields, out, verdict);
      out += context->layout.features;
    }
    ++context->row;
  }
  PetscCall(PetscFree(fields));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Close(CkReader reader)
{
  TableContext *context = reader->context;

  PetscFunctionBeginUser;
  if (!context) PetscFunctionReturn(PETSC_SUCCESS);
  if (context->row >= 0) PetscCall(CkLinesClose(&context->lines));
  PetscCall(TableDestroyLayout(&context->layout));
  PetscCall(TableDestroyClasses(&context->classes));
  PetscCall(PetscFree(context->labels));
  PetscCall(PetscFree(reader->context));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Any text file: asked last. */
static PetscBool Probe(const CkDataSettings *settings)
{
  CkVerdict     verdict = {0};
  CkStream      stream;
  unsigned char bytes[512];
  size_t        n;

  CkStreamOpen(&stream, settings->path, &verdict);
  n = CkStreamReadSome(&stream, sizeof(bytes), bytes, &verdict);
  CkStreamClose(&stream);
  if (verdict.code) n = 0;
  for (size_t i = 0; i < n; ++i)
    if (bytes[i] < 0x20 && !strchr("\t\r\n", bytes[i])) return PETSC_FALSE;
  return (PetscBool)(n > 0);
}

const CkReaderOps CkReaderTable = {.name = "table",
                                   .summary = "text tables (CSV or blanks)",
                                   .keys = " test class_column columns_drop ",
                                   .probe = Probe,
                                   .open = Open,
                                   .labels = Labels,
                                   .features = Features,
                                   .close = Close};
