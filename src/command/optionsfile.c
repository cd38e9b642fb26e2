/* optionsfile.c: option files are read here once before PETSc reads them, for messages that name the file and the
   line, and for what no such file may hold. */
#include "arguments.h"
#include <clarkia/file.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <yaml.h>

#define FORM "an options file has lines of the form key: value"

typedef struct {
  const char    *name;
  yaml_parser_t  parser;
  CkOptionsFile *file;
  CkVerdict     *verdict;
  size_t         nkeys;
  char         **keys;
} Reader;

/* The next event; on failure false, and told. */
static PetscBool Next(Reader *r, yaml_event_t *event)
{
  if (yaml_parser_parse(&r->parser, event)) return PETSC_TRUE;
  CkVerdictFail(r->verdict, PETSC_ERR_FILE_UNEXPECTED, "%s, line %zu: %s; " FORM, r->name,
                r->parser.problem_mark.line + 1, r->parser.problem ? r->parser.problem : "unreadable");
  return PETSC_FALSE;
}

static void Refuse(Reader *r, const yaml_event_t *event, const char why[])
{
  CkVerdictFail(r->verdict, PETSC_ERR_FILE_UNEXPECTED, "%s, line %zu: %s; " FORM, r->name, event->start_mark.line + 1,
                why);
}

/* A key of which the file may have one, and which it may have at all. */
static void TakeKey(Reader *r, const yaml_event_t *event)
{
  const char *const key = (const char *)event->data.scalar.value;
  const size_t      line = event->start_mark.line + 1;
  char            **grown;

  if (key[0] == '-')
    CkVerdictFail(r->verdict, PETSC_ERR_FILE_UNEXPECTED, "%s, line %zu: '%s': keys in a file have no dash", r->name,
                  line, key);
  if (!key[0] || strpbrk(key, " \t")) Refuse(r, event, "a key is one word");
  if (strncasecmp(key, "options_file", 12) == 0 || strncasecmp(key, "prefix_p", 8) == 0 ||
      strcasecmp(key, "options_string_yaml") == 0)
    CkVerdictFail(r->verdict, PETSC_ERR_FILE_UNEXPECTED, "%s, line %zu: %s belongs on the command line, not in a file",
                  r->name, line, key);
  for (size_t i = 0; i < r->nkeys; ++i)
    if (strcasecmp(r->keys[i], key) == 0)
      CkVerdictFail(r->verdict, PETSC_ERR_FILE_UNEXPECTED, "%s, line %zu: %s stands in this file twice", r->name, line,
                    key);
  grown = realloc(r->keys, (r->nkeys + 1) * sizeof(*grown));
  if (!grown) CkVerdictFail(r->verdict, PETSC_ERR_MEM, "%s: no memory for its keys", r->name);
  else {
    r->keys = grown;
    r->keys[r->nkeys++] = strdup(key);
  }
}

/* A number, a word, or a list of those. What -help and -version are on the command line. */
static void TakeValue(Reader *r, const char key[], yaml_event_t *event)
{
  if (event->type == YAML_SEQUENCE_START_EVENT) {
    while (!r->verdict->code && event->type != YAML_SEQUENCE_END_EVENT) {
      yaml_event_delete(event);
      if (!Next(r, event)) return;
      if (event->type != YAML_SCALAR_EVENT && event->type != YAML_SEQUENCE_END_EVENT)
        Refuse(r, event, "a list may hold numbers and words only");
    }
    return;
  }
  if (event->type != YAML_SCALAR_EVENT) {
    Refuse(r, event, "keys are flat, without keys below them and without references");
    return;
  }
  if (event->start_mark.line != event->end_mark.line) Refuse(r, event, "this value goes on in the next line");
  if (strcasecmp(key, "help") == 0 || strcasecmp(key, "h") == 0) r->file->help = PETSC_TRUE;
  if (strcasecmp(key, "version") == 0 || strcasecmp(key, "v") == 0) r->file->version = PETSC_TRUE;
  if ((r->file->help || r->file->version) && strcasecmp((const char *)event->data.scalar.value, "false") == 0)
    Refuse(r, event, "leave this key out instead of setting it to false");
}

/* The one mapping of the file, of which the first event has been read. */
static void TakeMapping(Reader *r)
{
  while (!r->verdict->code) {
    yaml_event_t event;
    PetscBool    end;

    if (!Next(r, &event)) return;
    end = (PetscBool)(event.type == YAML_MAPPING_END_EVENT);
    if (!end && event.type == YAML_SCALAR_EVENT) TakeKey(r, &event);
    else if (!end) Refuse(r, &event, "a key is one word");
    yaml_event_delete(&event);
    if (end || r->verdict->code || !Next(r, &event)) return;
    TakeValue(r, r->keys[r->nkeys - 1], &event);
    yaml_event_delete(&event);
  }
}

static void TakeStream(Reader *r)
{
  PetscBool end = PETSC_FALSE;
  int       mappings = 0;

  while (!r->verdict->code && !end) {
    yaml_event_t event;

    if (!Next(r, &event)) return;
    end = (PetscBool)(event.type == YAML_STREAM_END_EVENT);
    if (event.type == YAML_MAPPING_START_EVENT && mappings++ == 0) TakeMapping(r);
    else if (event.type == YAML_MAPPING_START_EVENT) Refuse(r, &event, "this is a second document");
    else if (event.type == YAML_SEQUENCE_START_EVENT || event.type == YAML_ALIAS_EVENT ||
             (event.type == YAML_SCALAR_EVENT && event.data.scalar.length > 0))
      Refuse(r, &event, "this is no key with a value");
    yaml_event_delete(&event);
  }
  if (!r->verdict->code && !mappings)
    CkVerdictFail(r->verdict, PETSC_ERR_FILE_UNEXPECTED, "%s: there is no key in it; " FORM, r->name);
}

/* PETSc's own form: "-key value", "alias a b", comments. */
static void TakeLines(Reader *r, FILE *stream)
{
  char  *line = NULL;
  size_t size = 0, number = 0;

  while (getline(&line, &size, stream) >= 0) {
    const char *const word = line + strspn(line, " \t\r\n");

    ++number;
    if (strncmp(word, "-help", 5) == 0 && strspn(word + 5, " \t\r\n")) r->file->help = PETSC_TRUE;
    if (word[0] && !strchr("-#!", word[0]) && strncmp(word, "alias", 5) != 0)
      CkVerdictFail(r->verdict, PETSC_ERR_FILE_UNEXPECTED,
                    "%s, line %zu: it does not begin with a dash; this form of options file has lines of the form -key "
                    "value, and that of -options_file_yaml lines of the form key: value",
                    r->name, number);
  }
  free(line);
}

void CkOptionsFileCheck(const char name[], PetscBool yaml, CkOptionsFile *file, CkVerdict *verdict)
{
  Reader      reader = {.name = name, .file = file, .verdict = verdict};
  struct stat status;
  FILE       *stream = NULL;

  if (stat(name, &status) || (S_ISREG(status.st_mode) && !(stream = fopen(name, "rb"))))
    CkVerdictFail(verdict, PETSC_ERR_FILE_OPEN, "options file %s: %s", name, strerror(errno));
  else if (!stream) CkVerdictFail(verdict, PETSC_ERR_FILE_OPEN, "options file %s: is no regular file", name);
  if (!stream) return;
  CkFileNoteInput(name);
  if (yaml && !yaml_parser_initialize(&reader.parser)) CkVerdictFail(verdict, PETSC_ERR_MEM, "no memory for YAML");
  else if (yaml) {
    yaml_parser_set_input_file(&reader.parser, stream);
    TakeStream(&reader);
    yaml_parser_delete(&reader.parser);
  }
  if (!yaml) TakeLines(&reader, stream);
  for (size_t i = 0; i < reader.nkeys; ++i) free(reader.keys[i]);
  free(reader.keys);
  (void)fclose(stream);
}
