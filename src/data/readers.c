#include "reader.h"
#include <clarkia/options.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

/* In the order of probing: keywords, long magic numbers, names and sizes, IDX (its magic number may be chance), text.
 */
static const CkReaderOps *const readers[] = {&CkReaderSynthetic, &CkReaderFashionMnist, &CkReaderHdf5, &CkReaderSvhn,
                                             &CkReaderCifar10,   &CkReaderCifar100,     &CkReaderIdx,  &CkReaderTable};
static const PetscInt           nreaders = (PetscInt)(sizeof(readers) / sizeof(readers[0]));

PetscErrorCode CkReaderNames(char text[], size_t length)
{
  size_t used = 0;

  PetscFunctionBeginUser;
  text[0] = '\0';
  for (PetscInt i = 0; i < nreaders && used < length; ++i)
    used += (size_t)snprintf(text + used, length - used, "%s%s", i ? ", " : "", readers[i]->name);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* A path that is not there; of a list FILE,FILE,... the first that is not. False: all are. */
static PetscBool FailMissing(const char paths[], const char hint[], CkVerdict *verdict)
{
  struct stat status;
  char        one[PETSC_MAX_PATH_LEN];

  if (stat(paths, &status) == 0) return PETSC_FALSE;
  while (*paths) {
    const size_t length = strcspn(paths, ",");

    snprintf(one, sizeof(one), "%.*s", (int)PetscMin(length, sizeof(one) - 1), paths);
    if (stat(one, &status)) {
      CkVerdictFail(verdict, PETSC_ERR_FILE_OPEN,
                    "-data %.512s: %s; check the path, or give fashion-mnist or synthetic%s", one, strerror(errno),
                    hint);
      return PETSC_TRUE;
    }
    paths += length + (paths[length] == ',');
  }
  return PETSC_FALSE;
}

/* The first bytes of a file that no reader takes for its own, "1f 8b 08 00"; empty if it cannot be read. */
static void FirstBytes(const char path[], char text[32])
{
  unsigned char bytes[8];
  FILE         *file = fopen(path, "rb");
  size_t        n = file ? fread(bytes, 1, sizeof(bytes), file) : 0;

  text[0] = '\0';
  for (size_t i = 0; i < n; ++i) snprintf(text + 3 * i, 32 - 3 * i, "%02x%s", bytes[i], i + 1 < n ? " " : "");
  if (file) fclose(file);
}

/* Why no reader takes the source. */
static void FailUnknown(const CkDataSettings *settings, const char known[], CkVerdict *verdict)
{
  static const char plan[] = "; for a plan without data: -data synthetic -data_shape C,H,W -data_count N";
  PetscBool         dry_run = PETSC_FALSE;
  struct stat       status;
  char              bytes[32], files[512] = "";
  size_t            used = 0;

  (void)CkOptionsGetBool("dry_run", &dry_run, NULL);
  if (FailMissing(settings->path, dry_run ? plan : "", verdict)) return;
  if (CkReaderIsDirectory(settings->path)) {
    for (PetscInt i = 0; i < nreaders && used < sizeof(files); ++i)
      if (readers[i]->files[0])
        used += (size_t)snprintf(files + used, sizeof(files) - used, "%s%s (%s)", used ? "; " : "",
                                 readers[i]->files[0], readers[i]->name);
    CkVerdictFail(verdict, PETSC_ERR_FILE_UNEXPECTED, "%.256s: the folder has no files of a known name: %s",
                  settings->path, files);
  } else if (stat(settings->path, &status) == 0 && !S_ISREG(status.st_mode)) {
    CkVerdictFail(verdict, PETSC_ERR_FILE_UNEXPECTED, "%.512s: is no regular file; name a file or a folder",
                  settings->path);
  } else if (stat(settings->path, &status) == 0 && status.st_size == 0) {
    CkVerdictFail(verdict, PETSC_ERR_FILE_UNEXPECTED, "%.512s: the file is empty", settings->path);
  } else {
    FirstBytes(settings->path, bytes);
    CkVerdictFail(verdict, PETSC_ERR_FILE_UNEXPECTED,
                  "%.512s: its format is not recognised (first bytes %s); name it with -data_format (one of: %s)",
                  settings->path, bytes[0] ? bytes : "cannot be read", known);
  }
}

/* The number of the reader, decided on rank 0 so that all ranks agree. */
static PetscErrorCode CkReaderChoose(MPI_Comm comm, const CkDataSettings *settings, PetscInt *chosen)
{
  CkVerdict   verdict = {0};
  char        known[256];
  int         choice = -1;
  const int   automatic = strcmp(settings->format, "auto") == 0;
  PetscMPIInt rank;

  PetscFunctionBeginUser;
  PetscCallMPI(MPI_Comm_rank(comm, &rank));
  for (int i = 0; i < (int)nreaders && rank == 0 && choice < 0; ++i)
    if (automatic ? readers[i]->probe(settings) : strcmp(settings->format, readers[i]->name) == 0) choice = i;
  PetscCallMPI(MPI_Bcast(&choice, 1, MPI_INT, 0, comm));
  PetscCall(CkReaderNames(known, sizeof(known)));
  CkCheckAll(comm, settings->path[0], PETSC_ERR_USER_INPUT,
             "no data set is named; give -data fashion-mnist, synthetic, a file or a folder");
  CkCheckAll(comm, choice >= 0 || automatic, PETSC_ERR_USER_INPUT, "-data_format %s is unknown; one of: auto, %s",
             settings->format, known);
  if (choice < 0 && rank == 0) FailUnknown(settings, known, &verdict);
  PetscCall(CkCheckVerdict(comm, &verdict));
  *chosen = choice;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* A key that the format has no use for is a misunderstanding, and an error. */
static PetscErrorCode CkReaderCheckKeys(MPI_Comm comm, const CkReaderOps *ops, const CkDataSettings *settings)
{
  char word[64];

  PetscFunctionBeginUser;
  for (const char *key = settings->given; *key;) {
    const size_t length = strcspn(key + 1, " ");

    if (length == 0) break;
    snprintf(word, sizeof(word), " %.*s ", (int)length, key + 1);
    CkCheckAll(comm, strstr(ops->keys, word), PETSC_ERR_USER_INPUT,
               "-data_%.*s means nothing to format %s (%s); leave it out, or name another format with -data_format",
               (int)length, key + 1, ops->name, ops->summary);
    key += 1 + length;
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkReaderCreate(MPI_Comm comm, const CkDataSettings *settings, PetscBool test, CkReader *reader)
{
  PetscInt chosen;
  CkReader r;

  PetscFunctionBeginUser;
  *reader = NULL;
  PetscCall(CkReaderChoose(comm, settings, &chosen));
  PetscCall(CkReaderCheckKeys(comm, readers[chosen], settings));
  PetscCall(PetscNew(&r));
  r->ops = readers[chosen];
  r->comm = comm;
  r->settings = settings;
  r->test = test;
  PetscCall(PetscStrncpy(r->noun, "samples", sizeof(r->noun)));
  *reader = r;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkReaderDestroy(CkReader *reader)
{
  CkReader r = *reader;

  PetscFunctionBeginUser;
  if (!r) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall((*r->ops->close)(r));
  for (PetscInt i = 0; r->names && i < r->classes; ++i) PetscCall(PetscFree(r->names[i]));
  PetscCall(PetscFree(r->names));
  PetscCall(PetscFree(r));
  *reader = NULL;
  PetscFunctionReturn(PETSC_SUCCESS);
}

void CkReaderCheckLabels(const char file[], PetscInt64 first, PetscInt64 count, const int32_t labels[],
                         PetscInt classes, CkVerdict *verdict)
{
  for (PetscInt64 i = 0; i < count && !verdict->code; ++i)
    if (labels[i] < 0 || (PetscInt)labels[i] >= classes)
      CkVerdictFail(verdict, PETSC_ERR_FILE_UNEXPECTED,
                    "%s: sample %" PetscInt64_FMT " has label %d, outside 0 .. %" PetscInt_FMT, file, first + i,
                    (int)labels[i], classes - 1);
}

void CkReaderCheckSizes(const char file[], PetscInt64 samples, int rank, const PetscInt64 shape[], CkVerdict *verdict)
{
  PetscInt64 numbers = 1;

  if (samples < 1 || samples > PETSC_MAX_INT) {
    CkVerdictFail(verdict, PETSC_ERR_FILE_UNEXPECTED,
                  "%s: holds %" PetscInt64_FMT " samples; between 1 and %" PetscInt_FMT " can be used", file, samples,
                  (PetscInt)PETSC_MAX_INT);
    return;
  }
  for (int i = 0; i < rank; ++i) {
    if (shape[i] < 1 || shape[i] > PETSC_MAX_INT / numbers) {
      CkVerdictFail(verdict, PETSC_ERR_FILE_UNEXPECTED,
                    "%s: axis %d of a sample has length %" PetscInt64_FMT
                    "; lengths are at least 1 and a sample has at most %" PetscInt_FMT " numbers",
                    file, i + 1, shape[i], (PetscInt)PETSC_MAX_INT);
      return;
    }
    numbers *= shape[i];
  }
}

PetscErrorCode CkReaderSetNames(CkReader reader, PetscInt n, const char *const names[])
{
  PetscFunctionBeginUser;
  PetscCheck(n == reader->classes, PETSC_COMM_SELF, PETSC_ERR_PLIB, "%" PetscInt_FMT " names for %" PetscInt_FMT, n,
             reader->classes);
  PetscCall(PetscCalloc1((size_t)n, &reader->names));
  for (PetscInt i = 0; i < n; ++i) PetscCall(PetscStrallocpy(names[i], &reader->names[i]));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscBool CkReaderFileIn(const char dir[], const char name[], char path[PETSC_MAX_PATH_LEN])
{
  struct stat status;

  if (snprintf(path, PETSC_MAX_PATH_LEN, "%s/%s", dir, name) >= PETSC_MAX_PATH_LEN) return PETSC_FALSE;
  return (PetscBool)(stat(path, &status) == 0 && S_ISREG(status.st_mode));
}

PetscBool CkReaderIsDirectory(const char path[])
{
  struct stat status;

  return (PetscBool)(stat(path, &status) == 0 && S_ISDIR(status.st_mode));
}

void CkReaderBaseName(const char path[], char name[256])
{
  size_t end = strlen(path), begin;

  while (end > 1 && path[end - 1] == '/') --end;
  for (begin = end; begin > 0 && path[begin - 1] != '/'; --begin)
    ;
  snprintf(name, 256, "%.*s", (int)PetscMin(end - begin, (size_t)255), path + begin);
}
