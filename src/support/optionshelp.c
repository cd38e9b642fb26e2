#include "optionsimpl.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { KEY_COLUMN = 34, WIDTH = 110 };

static const char *const kind_names[] = {"true|false", "INTEGER", "NUMBER", "NUMBER,..", "INTEGER,..", "TEXT", "FILE"};

/* Appends to text [size]. */
static void Append(char text[], size_t size, const char format[], ...) PETSC_ATTRIBUTE_FORMAT(3, 4);
static void Append(char text[], size_t size, const char format[], ...)
{
  const size_t used = strlen(text);
  va_list      args;

  va_start(args, format);
  vsnprintf(text + used, size - used, format, args);
  va_end(args);
}

/* Prints words wrapped to WIDTH, continuation lines indented by KEY_COLUMN; the cursor stands at KEY_COLUMN. */
static void PrintWrapped(const char text[])
{
  size_t column = KEY_COLUMN;

  for (const char *word = text; *word;) {
    const size_t size = strcspn(word, " ");

    if (column > KEY_COLUMN && column + 1 + size > WIDTH) {
      printf("\n%*s", KEY_COLUMN, "");
      column = KEY_COLUMN;
    }
    if (column > KEY_COLUMN) {
      putchar(' ');
      ++column;
    }
    printf("%.*s", (int)size, word);
    column += size;
    word += size;
    word += strspn(word, " ");
  }
  putchar('\n');
}

static void PrintOption(const CkOption *option)
{
  char key[128], text[1024], bounds[96];

  snprintf(key, sizeof(key), "  -%s %s", option->key, option->choices ? "CHOICE" : kind_names[option->kind]);
  CkOptionFormatBounds_Private(option, bounds);
  snprintf(text, sizeof(text), "%s", option->help);
  if (option->choices) {
    Append(text, sizeof(text), ":");
    for (const char *word = option->choices; *word;) { /* spaces let a long list wrap */
      const size_t size = strcspn(word, "|");

      Append(text, sizeof(text), " %s%.*s", word == option->choices ? "" : "| ", (int)size, word);
      word += size + (word[size] == '|');
    }
  }
  if (bounds[0]) Append(text, sizeof(text), "; %s", bounds);
  if (option->fallback) Append(text, sizeof(text), " [%s]", option->fallback);
  printf("%-*s", KEY_COLUMN, key);
  if (strlen(key) >= KEY_COLUMN) printf("\n%*s", KEY_COLUMN, "");
  PrintWrapped(text);
}

PetscErrorCode CkOptionsHelp(MPI_Comm comm)
{
  PetscInt             n;
  const CkOptionTable *tables;
  PetscMPIInt          rank;

  PetscFunctionBeginUser;
  PetscCallMPI(MPI_Comm_rank(comm, &rank));
  PetscCall(CkOptionsGetTables_Private(&n, &tables));
  for (PetscInt t = 0; t < n && rank == 0; ++t) {
    printf("%s%s\n", t ? "\n" : "Defaults stand in brackets.\n\n", tables[t].title);
    for (const CkOption *option = tables[t].table; option->key; ++option) PrintOption(option);
  }
  fflush(stdout);
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkOptionsInForce(char **text)
{
  PetscInt             n;
  const CkOptionTable *tables;
  char                *buffer;
  size_t               size;
  FILE                *stream = open_memstream(&buffer, &size);

  PetscFunctionBeginUser;
  PetscCheck(stream, PETSC_COMM_SELF, PETSC_ERR_MEM, "No memory for the list of options");
  PetscCall(CkOptionsGetTables_Private(&n, &tables));
  for (PetscInt t = 0; t < n; ++t) {
    for (const CkOption *option = tables[t].table; option->key; ++option) {
      const char *value;
      PetscBool   set;

      PetscCall(CkOptionsGetText_Private(option, &value, &set));
      if (!set) value = option->fallback;
      else if (!value || !value[0]) value = option->kind == CK_OPTION_BOOL ? "true" : "";
      if (value) fprintf(stream, "-%s %s\n", option->key, value);
    }
  }
  PetscCheck(fclose(stream) == 0, PETSC_COMM_SELF, PETSC_ERR_MEM, "No memory for the list of options");
  PetscCall(PetscStrallocpy(buffer, text));
  free(buffer);
  PetscFunctionReturn(PETSC_SUCCESS);
}
