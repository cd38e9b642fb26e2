#include "reader.h"
#include <dirent.h>
#include <errno.h>
#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/*
  reader_cifar.c: CIFAR binary files: records of one label byte (CIFAR-10) or a coarse and a fine one (CIFAR-100), then
  the red, green and blue planes of 32 x 32. One file, a list FILE,FILE,... or a folder: its training split is
  data_batch_*.bin or train*.bin, its test split test_batch*.bin or test*.bin.
*/
#define PIXELS 3072
#define MAX_FILES 64
#define CIFAR_TRAINING_FILES "data_batch_*.bin or train*.bin"
#define CIFAR_TEST_FILES "test_batch*.bin or test*.bin"
/* Records read at once where labels have to be picked out of them. */
#define BATCH 256

typedef struct {
  char       name[PETSC_MAX_PATH_LEN];
  FILE      *file;
  PetscInt64 first, records; /* number of its first record in the whole split */
} CifarFile;

typedef struct {
  PetscInt  nfiles, label_bytes, label_at;
  CifarFile files[MAX_FILES];
} CifarContext;

static const char *const cifar10_names[] = {"airplane", "automobile", "bird",  "cat",  "deer",
                                            "dog",      "frog",       "horse", "ship", "truck"};

static void CifarAddFile(CifarContext *context, const char name[], size_t length, CkVerdict *verdict)
{
  if (context->nfiles == MAX_FILES)
    CkVerdictFail(verdict, PETSC_ERR_USER_INPUT, "more than %d CIFAR files; use clarkia import in parts", MAX_FILES);
  else if (length == 0 || length >= PETSC_MAX_PATH_LEN)
    CkVerdictFail(verdict, PETSC_ERR_USER_INPUT, "CIFAR file %" PetscInt_FMT " of the list has a name of %zu letters",
                  context->nfiles + 1, length);
  if (verdict->code) return;
  snprintf(context->files[context->nfiles].name, PETSC_MAX_PATH_LEN, "%.*s", (int)length, name);
  ++context->nfiles;
}

static int CompareNames(const void *a, const void *b)
{
  return strcmp(((const CifarFile *)a)->name, ((const CifarFile *)b)->name);
}

/* Files of a folder, by name; none is no failure. */
static void CifarListFolder(CifarContext *context, const char dir[], PetscBool test, CkVerdict *verdict)
{
  const char *const patterns[2][2] = {{"data_batch_*.bin", "train*.bin"}, {"test_batch*.bin", "test*.bin"}};
  DIR              *folder = opendir(dir);
  struct dirent    *entry;

  while (folder && !verdict->code && (entry = readdir(folder))) {
    char path[PETSC_MAX_PATH_LEN];

    if (fnmatch(patterns[test][0], entry->d_name, 0) && fnmatch(patterns[test][1], entry->d_name, 0)) continue;
    if (CkReaderFileIn(dir, entry->d_name, path)) CifarAddFile(context, path, strlen(path), verdict);
  }
  if (folder) closedir(folder);
  qsort(context->files, (size_t)context->nfiles, sizeof(CifarFile), CompareNames);
}

static void CifarListPaths(CifarContext *context, const CkDataSettings *settings, PetscBool test, CkVerdict *verdict)
{
  const char *text = test && settings->test[0] ? settings->test : settings->path;

  if (CkReaderIsDirectory(text)) {
    CifarListFolder(context, text, test, verdict);
    return;
  }
  if (test && !settings->test[0]) return;
  while (text[0]) {
    const size_t length = strcspn(text, ",");

    CifarAddFile(context, text, length, verdict);
    text += length + (text[length] == ',');
  }
}

/* Sizes of the files must be whole numbers of records. */
static void CifarOpenFiles(CifarContext *context, PetscInt64 *records, CkVerdict *verdict)
{
  const PetscInt64 record = PIXELS + context->label_bytes;

  *records = 0;
  for (PetscInt i = 0; i < context->nfiles && !verdict->code; ++i) {
    CifarFile  *f = &context->files[i];
    struct stat status;

    if (stat(f->name, &status)) {
      CkVerdictFail(verdict, PETSC_ERR_FILE_OPEN, "%s: %s; check the path", f->name, strerror(errno));
    } else if (!S_ISREG(status.st_mode) || status.st_size == 0) {
      CkVerdictFail(verdict, PETSC_ERR_FILE_UNEXPECTED, "%s: %s", f->name,
                    S_ISREG(status.st_mode) ? "the file is empty" : "is no regular file; name a file");
    } else if (status.st_size % record) {
      CkVerdictFail(verdict, PETSC_ERR_FILE_UNEXPECTED,
                    "%s: truncated or over-long: %lld bytes are not a whole number of CIFAR-%s records of %lld bytes "
                    "(%lld too many)",
                    f->name, (long long)status.st_size, context->label_bytes == 1 ? "10" : "100", (long long)record,
                    (long long)(status.st_size % record));
    } else if (!(f->file = fopen(f->name, "rb"))) {
      CkVerdictFail(verdict, PETSC_ERR_FILE_OPEN, "%s: cannot be opened: %s", f->name, strerror(errno));
    }
    if (verdict->code) return;
    CkFileNoteInput(f->name);
    f->first = *records;
    f->records = status.st_size / record;
    *records += f->records;
  }
}

/* Names of n classes, one a line, from a file beside the data; silently none if the file is not there or not so. */
static PetscErrorCode CifarReadNames(CkReader reader, const char beside[], const char file[])
{
  char        text[4096], path[PETSC_MAX_PATH_LEN], *names[100], *rest = text;
  const char *slash = strrchr(beside, '/');
  size_t      length;
  FILE       *stream;
  PetscInt    n = 0;

  PetscFunctionBeginUser;
  if (snprintf(path, sizeof(path), "%.*s%s", slash ? (int)(slash + 1 - beside) : 0, beside, file) >=
        (int)sizeof(path) ||
      !(stream = fopen(path, "rb")))
    PetscFunctionReturn(PETSC_SUCCESS);
  length = fread(text, 1, sizeof(text) - 1, stream);
  text[length] = '\0';
  fclose(stream);
  for (char *line; (line = strsep(&rest, "\n"));) {
    line[strcspn(line, "\r")] = '\0';
    if (line[0] && n < 100) names[n++] = line;
  }
  if (n == reader->classes) PetscCall(CkReaderSetNames(reader, n, (const char *const *)names));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode CifarOpen(CkReader reader, PetscInt label_bytes, CkVerdict *verdict)
{
  const PetscBool fine = (PetscBool)(strcmp(reader->settings->cifar_labels, "fine") == 0);
  CifarContext   *context;

  PetscFunctionBeginUser;
  PetscCall(PetscNew(&context));
  reader->context = context;
  context->label_bytes = label_bytes;
  context->label_at = label_bytes == 2 && fine ? 1 : 0;
  CifarListPaths(context, reader->settings, reader->test, verdict);
  if (context->nfiles == 0 && !reader->test)
    CkVerdictFail(verdict, PETSC_ERR_FILE_OPEN, "%.512s: has no CIFAR files (" CIFAR_TRAINING_FILES ")",
                  reader->settings->path);
  if (verdict->code || context->nfiles == 0) PetscFunctionReturn(PETSC_SUCCESS);
  CifarOpenFiles(context, &reader->samples, verdict);
  if (!verdict->code) CkReaderCheckSizes(context->files[0].name, reader->samples, 0, NULL, verdict);
  if (verdict->code) PetscFunctionReturn(PETSC_SUCCESS);
  reader->exists = PETSC_TRUE;
  reader->shape = (CkShape){3, 32, 32};
  reader->type = CK_U8;
  PetscCall(PetscStrncpy(reader->noun, "images", sizeof(reader->noun)));
  reader->classes = label_bytes == 1 ? 10 : fine ? 100 : 20;
  snprintf(reader->title, sizeof(reader->title), "%s", label_bytes == 1 ? "CIFAR-10" : "CIFAR-100");
  if (label_bytes == 1) PetscCall(CkReaderSetNames(reader, 10, cifar10_names));
  else
    PetscCall(CifarReadNames(reader, context->files[0].name, fine ? "fine_label_names.txt" : "coarse_label_names.txt"));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Open10(CkReader reader, CkVerdict *verdict)
{
  PetscFunctionBeginUser;
  PetscCall(CifarOpen(reader, 1, verdict));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Open100(CkReader reader, CkVerdict *verdict)
{
  PetscFunctionBeginUser;
  PetscCall(CifarOpen(reader, 2, verdict));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Records [first, first + count) of the split that lie in file f: out, their number in the file and how many. */
static PetscInt64 CifarOverlap(const CifarFile *f, PetscInt64 first, PetscInt64 count, PetscInt64 *start)
{
  const PetscInt64 begin = PetscMax(first, f->first), end = PetscMin(first + count, f->first + f->records);

  *start = begin - f->first;
  return end - begin;
}

/* n records from number start of a file; labels or pixels may be NULL. */
static void CifarReadRecords(const CifarContext *context, const CifarFile *f, PetscInt64 start, PetscInt64 n,
                             int32_t labels[], uint8_t pixels[], CkVerdict *verdict)
{
  const size_t record = (size_t)(PIXELS + context->label_bytes);
  uint8_t     *batch = malloc(BATCH * record);

  if (!batch) CkVerdictFail(verdict, PETSC_ERR_MEM, "%s: no memory for %d records", f->name, BATCH);
  if (!verdict->code && fseeko(f->file, (off_t)start * (off_t)record, SEEK_SET))
    CkVerdictFail(verdict, PETSC_ERR_FILE_READ, "%s: seeking failed: %s", f->name, strerror(errno));
  for (PetscInt64 done = 0; done < n && !verdict->code;) {
    const size_t piece = (size_t)PetscMin(n - done, BATCH);

    if (fread(batch, record, piece, f->file) != piece) {
      CkVerdictFail(verdict, PETSC_ERR_FILE_READ,
                    "%s: reading records %" PetscInt64_FMT " to %" PetscInt64_FMT " failed", f->name, start + done,
                    start + done + (PetscInt64)piece - 1);
      break;
    }
    for (size_t i = 0; i < piece; ++i, ++done) {
      if (labels) labels[done] = batch[i * record + (size_t)context->label_at];
      if (pixels) memcpy(pixels + (size_t)done * PIXELS, batch + (i + 1) * record - PIXELS, PIXELS);
    }
  }
  free(batch);
}

static PetscErrorCode Labels(CkReader reader, PetscInt64 first, PetscInt64 count, int32_t labels[], CkVerdict *verdict)
{
  const CifarContext *context = reader->context;

  PetscFunctionBeginUser;
  for (PetscInt i = 0; i < context->nfiles; ++i) {
    const CifarFile *f = &context->files[i];
    PetscInt64       start, n = CifarOverlap(f, first, count, &start);

    if (n <= 0) continue;
    CifarReadRecords(context, f, start, n, labels + (f->first + start - first), NULL, verdict);
    if (!verdict->code)
      CkReaderCheckLabels(f->name, start, n, labels + (f->first + start - first), reader->classes, verdict);
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Features(CkReader reader, PetscInt64 first, PetscInt64 count, void *features, CkVerdict *verdict)
{
  const CifarContext *context = reader->context;

  PetscFunctionBeginUser;
  for (PetscInt i = 0; i < context->nfiles; ++i) {
    const CifarFile *f = &context->files[i];
    PetscInt64       start, n = CifarOverlap(f, first, count, &start);

    if (n <= 0) continue;
    CifarReadRecords(context, f, start, n, NULL, (uint8_t *)features + (f->first + start - first) * PIXELS, verdict);
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Close(CkReader reader)
{
  CifarContext *context = reader->context;

  PetscFunctionBeginUser;
  if (!context) PetscFunctionReturn(PETSC_SUCCESS);
  for (PetscInt i = 0; i < context->nfiles; ++i)
    if (context->files[i].file) fclose(context->files[i].file);
  PetscCall(PetscFree(reader->context));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Which of the two it is shows in the size alone. A .bin file of neither size is taken for CIFAR-10, whose reader says
   what is wrong with it; so is one that fits both (a multiple of 9.4 MB), unless -data_format says cifar100. */
static PetscBool ProbeFor(const CkDataSettings *settings, PetscInt label_bytes)
{
  CkVerdict    verdict = {0};
  CifarContext context = {.nfiles = 0, .label_bytes = 1};
  struct stat  status;
  size_t       length;
  PetscBool    fits10, fits100;

  CifarListPaths(&context, settings, PETSC_FALSE, &verdict);
  if (context.nfiles == 0) CifarListPaths(&context, settings, PETSC_TRUE, &verdict);
  if (verdict.code || context.nfiles == 0 || stat(context.files[0].name, &status) || !S_ISREG(status.st_mode))
    return PETSC_FALSE;
  length = strlen(context.files[0].name);
  if (length < 4 || strcmp(context.files[0].name + length - 4, ".bin") != 0) return PETSC_FALSE;
  fits10 = (PetscBool)(status.st_size % (PIXELS + 1) == 0);
  fits100 = (PetscBool)(status.st_size % (PIXELS + 2) == 0);
  if (label_bytes == 2) return fits100;
  return (PetscBool)(fits10 || !fits100);
}

static PetscBool Probe10(const CkDataSettings *settings)
{
  return ProbeFor(settings, 1);
}

static PetscBool Probe100(const CkDataSettings *settings)
{
  return ProbeFor(settings, 2);
}

const CkReaderOps CkReaderCifar10 = {.name = "cifar10",
                                     .summary = "CIFAR-10 binary files",
                                     .keys = " test ",
                                     .files = {CIFAR_TRAINING_FILES, CIFAR_TEST_FILES},
                                     .probe = Probe10,
                                     .open = Open10,
                                     .labels = Labels,
                                     .features = Features,
                                     .close = Close};

const CkReaderOps CkReaderCifar100 = {.name = "cifar100",
                                      .summary = "CIFAR-100 binary files",
                                      .keys = " test cifar_labels ",
                                      .files = {CIFAR_TRAINING_FILES, CIFAR_TEST_FILES},
                                      .probe = Probe100,
                                      .open = Open100,
                                      .labels = Labels,
                                      .features = Features,
                                      .close = Close};
