#include "optionsimpl.h"
#include <clarkia/error.h>
#include <clarkia/file.h>
#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#define MAX_WORD 128

PetscInt CkOptionsDistance(const char a[], const char b[])
{
  PetscInt     row[3][MAX_WORD + 1]; /* of letters i-2, i-1 and i of a */
  const size_t m = strlen(a), n = strlen(b);

  if (m > MAX_WORD || n > MAX_WORD) return MAX_WORD;
  for (size_t j = 0; j <= n; ++j) row[0][j] = (PetscInt)j;
  for (size_t i = 1; i <= m; ++i) {
    PetscInt *now = row[i % 3], *last = row[(i + 2) % 3], *before = row[(i + 1) % 3];

    now[0] = (PetscInt)i;
    for (size_t j = 1; j <= n; ++j) {
      const int x = tolower((unsigned char)a[i - 1]), y = tolower((unsigned char)b[j - 1]);

      now[j] = PetscMin(PetscMin(now[j - 1], last[j]) + 1, last[j - 1] + (x != y));
      if (i > 1 && j > 1 && x == tolower((unsigned char)b[j - 2]) && y == tolower((unsigned char)a[i - 2]))
        now[j] = PetscMin(now[j], before[j - 2] + 1);
    }
  }
  return row[m % 3][n];
}

PetscBool CkNearestChoice_Private(const char choices[], const char text[], char nearest[64])
{
  PetscInt best = 4;

  nearest[0] = '\0';
  for (const char *word = choices; word;) {
    const size_t size = strcspn(word, "|");
    char         copy[64];
    PetscInt     distance;

    snprintf(copy, sizeof(copy), "%.*s", (int)size, word);
    distance = CkOptionsDistance(copy, text);
    if (distance < best) {
      best = distance;
      snprintf(nearest, 64, "%s", copy);
    }
    word = word[size] ? word + size + 1 : NULL;
  }
  return (PetscBool)(nearest[0] != '\0');
}

/* Whether both begin with the same letters before the first '_' (or the end). */
static PetscBool SamePrefix(const char a[], const char b[])
{
  const size_t n = strcspn(a, "_");

  return (PetscBool)(n == strcspn(b, "_") && strncasecmp(a, b, n) == 0);
}

/* How unlike a key is to one that a user may have meant by it: a few letters, or its last part ("epochs" and
   "num_epochs" for dynamics_epochs). PETSC_MAX_INT: they have nothing in common. */
static PetscInt Unlikeness(const char key[], const char option[])
{
  const PetscInt distance = CkOptionsDistance(key, option);
  const char    *tail = strchr(option, '_');

  if (tail && strcasecmp(key, ++tail) == 0) return 0;
  if (distance <= 2 && distance < (PetscInt)strlen(key)) return 2 * distance;
  if (!tail) return PETSC_MAX_INT;
  if (strlen(key) > 3 && CkOptionsDistance(key, tail) == 1) return 3;
  for (const char *word = key; *word;) {
    const size_t n = strcspn(word, "_");

    if (n == strlen(tail) && strncasecmp(word, tail, n) == 0) return 5;
    word += n + (word[n] != '\0');
  }
  return PETSC_MAX_INT;
}

/* The key of a table that is meant, if it is more likely than those before; NULL where none is. */
static void FindLikely(const char key[], const CkOption table[], PetscInt *best, const char **likely)
{
  for (const CkOption *option = table; option->key; ++option) {
    const PetscInt unlikeness = Unlikeness(key, option->key);

    if (unlikeness >= *best) continue;
    *best = unlikeness;
    *likely = option->key;
  }
}

/* "train and bench": the commands that do not run and have this key; "" if none has. */
static void Owners(const char key[], size_t length, char text[])
{
  const CkOptionOthers *others;
  const char           *command, *last = NULL;
  const PetscInt        n = CkOptionsGetOthers_Private(&others, &command);
  size_t                used = 0;

  text[0] = '\0';
  for (PetscInt i = 0; i <= n; ++i) { /* one step behind, to know which is the last */
    const char *owner = NULL;

    for (const CkOption *option = i < n ? others[i].table : NULL; option && option->key; ++option)
      if (strcasecmp(option->key, key) == 0) owner = others[i].command;
    if (i < n && !owner) continue;
    if (last && used < length)
      used += (size_t)snprintf(text + used, length - used, "%s%s", used ? (i == n ? " and " : ", ") : "", last);
    last = owner;
  }
}

/* A key that no table of the running command has, but that of another one has (or, unless exactly, nearly has). */
static PetscBool IsOfOthers(const char key[], PetscBool exactly, CkVerdict *verdict)
{
  const CkOptionOthers *others;
  const char           *command, *nearest = NULL;
  const PetscInt        n = CkOptionsGetOthers_Private(&others, &command);
  PetscInt              best = PETSC_MAX_INT;
  char                  owners[256];

  for (PetscInt i = 0; i < n; ++i) {
    for (const CkOption *option = others[i].table; option->key; ++option) {
      const PetscInt distance = CkOptionsDistance(key, option->key);

      if (distance >= best || (distance > 0 && !SamePrefix(key, option->key))) continue;
      best = distance;
      nearest = option->key;
    }
  }
  if (!nearest || (exactly && best > 0)) return PETSC_FALSE;
  Owners(nearest, sizeof(owners), owners);
  if (best == 0)
    CkVerdictFail(verdict, PETSC_ERR_ARG_WRONG, "-%s is a key of %s, not of %s; leave it out", key, owners, command);
  else
    CkVerdictFail(verdict, PETSC_ERR_ARG_UNKNOWN_TYPE,
                  "unknown option -%s; -%s is a key of %s, not of %s (-help lists all)", key, nearest, owners, command);
  return PETSC_TRUE;
}

/* A key like none here, neither PETSc's: what may be meant by it. */
static void RefuseUnknown(const char key[], PetscInt ntables, const CkOptionTable tables[], CkVerdict *verdict)
{
  const CkOptionOthers *others;
  const char           *command, *likely = NULL;
  PetscInt              best = PETSC_MAX_INT;
  PetscBool             unknown;
  char                  owners[256];

  for (PetscInt t = 0; t < ntables; ++t) FindLikely(key, tables[t].table, &best, &likely);
  if (likely) {
    CkVerdictFail(verdict, PETSC_ERR_ARG_UNKNOWN_TYPE, "unknown option -%s; did you mean -%s? (-help lists all)", key,
                  likely);
    return;
  }
  for (PetscInt i = 0, n = CkOptionsGetOthers_Private(&others, &command); i < n; ++i)
    FindLikely(key, others[i].table, &best, &likely);
  if (!likely) {
    likely = CkOptionsNearestForeign_Private(key, &unknown);
    CkVerdictFail(verdict, PETSC_ERR_ARG_UNKNOWN_TYPE, "unknown option -%s%s%s%s (-help lists all)", key,
                  likely ? "; did you mean PETSc's or SLEPc's -" : "", likely ? likely : "", likely ? "?" : "");
    return;
  }
  Owners(likely, sizeof(owners), owners);
  CkVerdictFail(verdict, PETSC_ERR_ARG_UNKNOWN_TYPE,
                "unknown option -%s; -%s is a key of %s, not of %s (-help lists all)", key, likely, owners, command);
}

/* Judges a key that stands in no table and that nobody has read so far. */
static void CheckUnknown(const char key[], PetscInt ntables, const CkOptionTable tables[], CkVerdict *verdict)
{
  const char *nearest = NULL;
  PetscInt    best = PETSC_MAX_INT;
  PetscBool   ours = PETSC_FALSE, exactly;

  for (PetscInt t = 0; t < ntables; ++t) {
    for (const CkOption *option = tables[t].table; option->key; ++option) {
      const PetscInt distance = CkOptionsDistance(key, option->key);

      if (strcasecmp(option->key, key) == 0) return;
      if (SamePrefix(key, option->key)) ours = PETSC_TRUE;
      if (distance >= best) continue;
      best = distance;
      nearest = option->key;
    }
  }
  if (CkOptionsIsForeign_Private(key, &exactly) && (exactly || !ours)) return;
  if (IsOfOthers(key, (PetscBool)(ours || best <= 2), verdict)) return;
  if (!ours) RefuseUnknown(key, ntables, tables, verdict);
  else
    CkVerdictFail(verdict, PETSC_ERR_ARG_UNKNOWN_TYPE, "unknown option -%s; did you mean -%s? (-help lists all)", key,
                  nearest);
}

/* PETSc skips words of the command line that are neither a key nor follow one; the first is the command's name. */
static PetscErrorCode CheckWords(CkVerdict *verdict)
{
  int       argc;
  char    **argv;
  PetscBool key, after_key = PETSC_FALSE;

  PetscFunctionBeginUser;
  PetscCall(PetscGetArgs(&argc, &argv));
  for (int i = 1; i < argc; ++i) {
    PetscCall(PetscOptionsValidKey(argv[i], &key));
    if (!key && !after_key && i > 1)
      CkVerdictFail(verdict, PETSC_ERR_ARG_WRONG, "'%s' on the command line follows no option: -key value ...",
                    argv[i]);
    after_key = key;
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode CheckValues(PetscInt ntables, const CkOptionTable tables[], CkVerdict *verdict)
{
  char message[CK_MESSAGE];

  PetscFunctionBeginUser;
  for (PetscInt t = 0; t < ntables; ++t) {
    for (const CkOption *option = tables[t].table; option->key; ++option) {
      const char *text;
      PetscBool   set;

      PetscCall(CkOptionsGetText_Private(option, &text, &set));
      if (set && !CkOptionAccepts_Private(option, text, message))
        CkVerdictFail(verdict, PETSC_ERR_ARG_OUTOFRANGE, "%s", message);
    }
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Files named as inputs, one or several with commas between them. */
static PetscErrorCode NoteInputs(PetscInt ntables, const CkOptionTable tables[])
{
  PetscFunctionBeginUser;
  for (PetscInt t = 0; t < ntables; ++t) {
    for (const CkOption *option = tables[t].table; option->key; ++option) {
      const char *text;
      PetscBool   set;

      if (option->kind != CK_OPTION_FILE) continue;
      PetscCall(CkOptionsGetText_Private(option, &text, &set));
      while (set && *text) {
        const size_t length = strcspn(text, ",");
        char         path[PETSC_MAX_PATH_LEN];

        snprintf(path, sizeof(path), "%.*s", (int)length, text);
        CkFileNoteInput(path);
        text += length + (text[length] == ',');
      }
    }
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static void WarnMisspelt(const char key[])
{
  PetscBool   unknown, exactly;
  const char *nearest = CkOptionsNearestForeign_Private(key, &unknown);

  if (CkOptionsIsForeign_Private(key, &exactly) && (nearest || unknown))
    fprintf(stderr, "clarkia: warning: option -%s is unknown to PETSc and SLEPc and will have no effect%s%s%s\n", key,
            nearest ? "; did you mean -" : "", nearest ? nearest : "", nearest ? "?" : "");
}

PetscErrorCode CkOptionsCheck(void)
{
  CkVerdict            verdict = {.code = PETSC_SUCCESS, .message = ""};
  PetscInt             ntables, nleft;
  const CkOptionTable *tables;
  char               **keys, **values;
  PetscMPIInt          rank;

  PetscFunctionBeginUser;
  PetscCall(CkOptionsGetTables_Private(&ntables, &tables));
  PetscCall(CheckWords(&verdict));
  PetscCall(PetscOptionsLeftGet(NULL, &nleft, &keys, &values));
  PetscCallMPI(MPI_Comm_rank(PETSC_COMM_WORLD, &rank));
  for (PetscInt i = 0; i < nleft; ++i) {
    CheckUnknown(keys[i], ntables, tables, &verdict);
    if (rank == 0 && !verdict.code) WarnMisspelt(keys[i]);
  }
  PetscCall(PetscOptionsLeftRestore(NULL, &nleft, &keys, &values));
  PetscCall(CheckValues(ntables, tables, &verdict));
  if (!verdict.code) PetscCall(NoteInputs(ntables, tables));
  PetscCall(CkCheckVerdict(PETSC_COMM_WORLD, &verdict));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkOptionsWarnLeft(MPI_Comm comm)
{
  PetscInt             ntables, nleft;
  const CkOptionTable *tables;
  char               **keys, **values;
  PetscMPIInt          rank;

  PetscFunctionBeginUser;
  PetscCallMPI(MPI_Comm_rank(comm, &rank));
  PetscCall(CkOptionsGetTables_Private(&ntables, &tables));
  for (PetscInt t = 0; t < ntables; ++t) {
    for (PetscInt i = 0; tables[t].table[i].key; ++i) {
      const char *text;
      PetscBool   set;

      PetscCall(CkOptionsGetText_Private(&tables[t].table[i], &text, &set));
      if (rank == 0 && set && !tables[t].read[i])
        fprintf(stderr, "clarkia: warning: option -%s had no effect here\n", tables[t].table[i].key);
    }
  }
  PetscCall(PetscOptionsLeftGet(NULL, &nleft, &keys, &values));
  for (PetscInt i = 0; i < nleft && rank == 0; ++i) {
    PetscBool   unknown;
    const char *nearest = CkOptionsNearestForeign_Private(keys[i], &unknown);

    if (!nearest && !unknown && !CkOptionsIsReadAtEnd_Private(keys[i]))
      fprintf(stderr, "clarkia: warning: option -%s had no effect here: nothing in this run has read it\n", keys[i]);
  }
  PetscCall(PetscOptionsLeftRestore(NULL, &nleft, &keys, &values));
  PetscFunctionReturn(PETSC_SUCCESS);
}
