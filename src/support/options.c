#include "optionsimpl.h"
#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static const CkOption common_options[] = {
  {"help", CK_OPTION_BOOL, "false", 0, 0, NULL, "show the keys of this command with defaults and meaning, and stop"},
  {"seed", CK_OPTION_INT, "1", 0, 2147483647, NULL, "seed of all random numbers"},
  {"output", CK_OPTION_STRING, NULL, 0, 0, NULL, "file to write the result to (HDF5)"},
  {"memory_limit", CK_OPTION_REAL, NULL, 1e-6, 1e9, NULL,
   "memory in GB (1e9 bytes) that one rank may use; without it, the node's memory divided by its ranks"},
  {"memory_share", CK_OPTION_BOOL, "true", 0, 0, NULL,
   "weights and the vectors of a product once per node, in shared memory; false: a private copy for each rank"},
  {"dry_run", CK_OPTION_BOOL, "false", 0, 0, NULL,
   "print sizes, memory, operations and the chosen method, then stop; headers and labels are read, nothing else"},
  {"error_traceback", CK_OPTION_BOOL, "false", 0, 0, NULL, "show the calling functions below an error message"},
  {0}};

static struct {
  PetscInt      n;
  CkOptionTable tables[CK_MAX_TABLES];

  const char    *command, *other; /* that runs; whose tables are being registered, NULL: of that which runs */
  PetscInt       nothers;
  CkOptionOthers others[CK_MAX_OTHERS];
} registry;

void CkOptionsSetCommand(const char command[], PetscBool runs)
{
  if (runs) registry.command = command;
  registry.other = runs ? NULL : command;
}

PetscInt CkOptionsGetOthers_Private(const CkOptionOthers **others, const char **command)
{
  *others = registry.others;
  *command = registry.command;
  return registry.nothers;
}

static const CkOption *FindOption(const char key[], PetscBool **read)
{
  for (PetscInt t = 0; t < registry.n; ++t) {
    const CkOption *table = registry.tables[t].table;

    for (PetscInt i = 0; table[i].key; ++i) {
      if (strcasecmp(table[i].key, key) != 0) continue;
      if (read) *read = &registry.tables[t].read[i];
      return &table[i];
    }
  }
  return NULL;
}

static PetscErrorCode AddTable(const char title[], const CkOption table[])
{
  char     message[CK_MESSAGE];
  PetscInt entries = 0;

  PetscFunctionBeginUser;
  for (PetscInt t = 0; t < registry.n; ++t)
    if (registry.tables[t].table == table) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCheck(registry.n < CK_MAX_TABLES, PETSC_COMM_SELF, PETSC_ERR_PLIB,
             "Too many option tables: raise CK_MAX_TABLES");
  for (; table[entries].key; ++entries) {
    const CkOption *option = &table[entries];

    PetscCheck(!FindOption(option->key, NULL), PETSC_COMM_SELF, PETSC_ERR_PLIB, "Option -%s stands in two tables",
               option->key);
    PetscCheck(!option->fallback || CkOptionAccepts_Private(option, option->fallback, message), PETSC_COMM_SELF,
               PETSC_ERR_PLIB, "Default of an option is not accepted: %s", message);
  }
  registry.tables[registry.n].title = title;
  registry.tables[registry.n].table = table;
  registry.tables[registry.n].read = calloc((size_t)entries + 1, sizeof(PetscBool)); /* lives as long as the program */
  PetscCheck(registry.tables[registry.n].read, PETSC_COMM_SELF, PETSC_ERR_MEM, "No memory for an option table");
  ++registry.n;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkOptionsRegister(const char title[], const CkOption table[])
{
  PetscFunctionBeginUser;
  if (registry.other) {
    PetscCheck(registry.nothers < CK_MAX_OTHERS, PETSC_COMM_SELF, PETSC_ERR_PLIB,
               "Too many option tables: raise CK_MAX_OTHERS");
    registry.others[registry.nothers++] = (CkOptionOthers){.command = registry.other, .table = table};
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  PetscCall(CkOptionsRegisterCommon());
  PetscCall(AddTable(title, table));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkOptionsRegisterCommon(void)
{
  PetscFunctionBeginUser;
  PetscCall(AddTable("Every command", common_options));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkOptionsGetTables_Private(PetscInt *n, const CkOptionTable **tables)
{
  PetscFunctionBeginUser;
  PetscCall(CkOptionsRegisterCommon());
  *n = registry.n;
  *tables = registry.tables;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkOptionsGetText_Private(const CkOption *option, const char **text, PetscBool *set)
{
  char name[128];

  PetscFunctionBeginUser;
  snprintf(name, sizeof(name), "-%s", option->key);
  *text = NULL;
  PetscCall(PetscOptionsFindPair(NULL, NULL, name, text, set));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Values from text. ParseX() returns what is wrong, or NULL. */

static const char *ParseBool(const char text[], PetscBool *value)
{
  const char *const words[2][5] = {{"false", "no", "0", "off", "f"}, {"", "true", "yes", "1", "on"}};

  for (int v = 0; v < 2; ++v) {
    for (int i = 0; i < 5; ++i) {
      if (strcasecmp(text, words[v][i]) != 0) continue;
      *value = (PetscBool)v;
      return NULL;
    }
  }
  return "is neither true nor false";
}

static const char *ParseInt(const CkOption *option, const char text[], char **end, PetscInt *value)
{
  long long parsed;

  errno = 0;
  parsed = strtoll(text, end, 10);
  if (*end == text) return "is no integer";
  if (errno == ERANGE || parsed != (long long)(PetscInt)parsed) return "is too large for an integer";
  if (option->minimum != option->maximum && !((double)parsed >= option->minimum && (double)parsed <= option->maximum))
    return "is out of bounds";
  *value = (PetscInt)parsed;
  return NULL;
}

static const char *ParseReal(const CkOption *option, const char text[], char **end, PetscReal *value)
{
  const double parsed = strtod(text, end);

  if (*end == text) return "is no number";
  if (!isfinite(parsed)) return "is not a finite number";
  if (option->minimum != option->maximum && !(parsed >= option->minimum && parsed <= option->maximum))
    return "is out of bounds";
  *value = (PetscReal)parsed;
  return NULL;
}

/* One number or a list "0.2,0.4,1.0" into ints or reals, of room *n; out, *n numbers. */
static const char *ParseNumbers(const CkOption *option, const char text[], PetscInt *n, PetscInt ints[],
                                PetscReal reals[])
{
  const PetscBool integer = (PetscBool)(option->kind == CK_OPTION_INT || option->kind == CK_OPTION_INTS);
  const PetscInt  room = *n;
  const char     *at = text;

  for (*n = 0;;) {
    const char *wrong;
    char       *end;
    PetscInt    i;
    PetscReal   r;

    if (*n == room) return "has too many numbers";
    wrong = integer ? ParseInt(option, at, &end, &i) : ParseReal(option, at, &end, &r);
    if (wrong) return wrong;
    if (integer && ints) ints[*n] = i;
    if (!integer && reals) reals[*n] = r;
    ++*n;
    while (isspace((unsigned char)*end)) ++end;
    if (*end == '\0') return NULL;
    if (*end != ',') return integer ? "is no integer" : "is no number";
    at = end + 1;
  }
}

static const char *ParseChoice(const CkOption *option, const char text[])
{
  const size_t length = strlen(text);

  for (const char *word = option->choices; word;) {
    const char  *bar = strchr(word, '|');
    const size_t size = bar ? (size_t)(bar - word) : strlen(word);

    if (size == length && strncmp(word, text, size) == 0) return NULL;
    word = bar ? bar + 1 : NULL;
  }
  return option->choices ? "is none of its choices" : NULL;
}

/* What is wrong with text as a value of option, or NULL. */
static const char *Validate(const CkOption *option, const char text[])
{
  PetscInt  n = PETSC_MAX_INT;
  PetscBool b;

  switch (option->kind) {
  case CK_OPTION_BOOL:
    return ParseBool(text, &b);
  case CK_OPTION_STRING:
  case CK_OPTION_FILE:
    return text[0] ? ParseChoice(option, text) : "needs a value";
  case CK_OPTION_INT:
  case CK_OPTION_REAL:
    n = 1;
    break;
  default:
    break;
  }
  return text[0] ? ParseNumbers(option, text, &n, NULL, NULL) : "needs a value";
}

void CkOptionFormatBounds_Private(const CkOption *option, char text[96])
{
  const PetscBool integer = (PetscBool)(option->kind == CK_OPTION_INT || option->kind == CK_OPTION_INTS);
  const double    endless = integer ? 2147483647. : 1e300;

  text[0] = '\0';
  if (option->minimum == option->maximum) return;
  if (option->maximum >= endless) snprintf(text, 96, "at least %.10g", option->minimum);
  else if (option->minimum <= -endless) snprintf(text, 96, "at most %.10g", option->maximum);
  else snprintf(text, 96, "%.10g .. %.10g", option->minimum, option->maximum);
}

PetscBool CkOptionAccepts_Private(const CkOption *option, const char text[], char message[CK_MESSAGE])
{
  const char *wrong = Validate(option, text ? text : "");
  char        bounds[96], nearest[64];

  if (!wrong) return PETSC_TRUE;
  CkOptionFormatBounds_Private(option, bounds);
  if (!text || !text[0]) snprintf(message, CK_MESSAGE, "-%s %s: %s", option->key, wrong, option->help);
  else if (option->choices) {
    snprintf(message, CK_MESSAGE, "-%s: '%.128s' %s: %s", option->key, text, wrong, option->choices);
    if (CkNearestChoice_Private(option->choices, text, nearest)) {
      const size_t used = strlen(message);

      snprintf(message + used, CK_MESSAGE - used, "; did you mean %s?", nearest);
    }
  } else {
    snprintf(message, CK_MESSAGE, "-%s: '%.128s' %s%s%s%s (%s)", option->key, text, wrong,
             bounds[0] ? "; it must be " : "", bounds, bounds[0] && strchr(text, ',') ? ", each" : "", option->help);
  }
  return PETSC_FALSE;
}

/* The text in force of a registered key, given or default; NULL where there is none. */
static PetscErrorCode GetText(const char key[], CkOptionKind kind, const CkOption **option, const char **text,
                              PetscBool *set)
{
  char                 message[CK_MESSAGE];
  PetscBool           *read, given;
  PetscInt             n;
  const CkOptionTable *tables;

  PetscFunctionBeginUser;
  PetscCall(CkOptionsGetTables_Private(&n, &tables));
  *option = FindOption(key, &read);
  PetscCheck(*option, PETSC_COMM_SELF, PETSC_ERR_PLIB, "Option -%s stands in no registered table", key);
  if ((*option)->kind == CK_OPTION_FILE && kind == CK_OPTION_STRING) kind = CK_OPTION_FILE;
  PetscCheck((*option)->kind == kind, PETSC_COMM_SELF, PETSC_ERR_PLIB, "Option -%s is read as another type", key);
  *read = PETSC_TRUE;
  PetscCall(CkOptionsGetText_Private(*option, text, &given));
  if (given && !*text) *text = "";
  PetscCheck(!given || CkOptionAccepts_Private(*option, *text, message), PETSC_COMM_SELF, PETSC_ERR_ARG_OUTOFRANGE,
             "%s", message);
  if (!given) *text = (*option)->fallback;
  if (set) *set = given;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkOptionsGetBool(const char key[], PetscBool *value, PetscBool *set)
{
  const CkOption *option;
  const char     *text;

  PetscFunctionBeginUser;
  PetscCall(GetText(key, CK_OPTION_BOOL, &option, &text, set));
  if (text && value) (void)ParseBool(text, value); /* GetText() has validated it */
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkOptionsGetInt(const char key[], PetscInt *value, PetscBool *set)
{
  const CkOption *option;
  const char     *text;
  PetscInt        n = 1;

  PetscFunctionBeginUser;
  PetscCall(GetText(key, CK_OPTION_INT, &option, &text, set));
  if (text && value) (void)ParseNumbers(option, text, &n, value, NULL);
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkOptionsGetReal(const char key[], PetscReal *value, PetscBool *set)
{
  const CkOption *option;
  const char     *text;
  PetscInt        n = 1;

  PetscFunctionBeginUser;
  PetscCall(GetText(key, CK_OPTION_REAL, &option, &text, set));
  if (text && value) (void)ParseNumbers(option, text, &n, NULL, value);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode GetNumbers(const char key[], CkOptionKind kind, PetscInt *n, PetscInt ints[], PetscReal reals[],
                                 PetscBool *set)
{
  const PetscInt  room = *n;
  const CkOption *option;
  const char     *text;
  PetscInt        count = 1;

  PetscFunctionBeginUser;
  PetscCall(GetText(key, kind, &option, &text, set));
  for (const char *at = text; at && *at; ++at) count += *at == ',';
  if (!text) *n = 0;
  else
    PetscCheck(!ParseNumbers(option, text, n, ints, reals), PETSC_COMM_SELF, PETSC_ERR_ARG_SIZ,
               "-%s: '%.64s%s' has %" PetscInt_FMT " numbers, it may have at most %" PetscInt_FMT " (%s)", key, text,
               strlen(text) > 64 ? "..." : "", count, room, option->help);
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkOptionsGetReals(const char key[], PetscReal values[], PetscInt *n, PetscBool *set)
{
  PetscFunctionBeginUser;
  PetscCall(GetNumbers(key, CK_OPTION_REALS, n, NULL, values, set));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkOptionsGetInts(const char key[], PetscInt values[], PetscInt *n, PetscBool *set)
{
  PetscFunctionBeginUser;
  PetscCall(GetNumbers(key, CK_OPTION_INTS, n, values, NULL, set));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkOptionsGetString(const char key[], char value[], size_t length, PetscBool *set)
{
  const CkOption *option;
  const char     *text;

  PetscFunctionBeginUser;
  PetscCall(GetText(key, CK_OPTION_STRING, &option, &text, set));
  if (!text) text = "";
  PetscCheck(strlen(text) < length, PETSC_COMM_SELF, PETSC_ERR_ARG_SIZ, "-%s has %zu characters, there is room for %zu",
             key, strlen(text), length - 1);
  snprintf(value, length, "%s", text);
  PetscFunctionReturn(PETSC_SUCCESS);
}
