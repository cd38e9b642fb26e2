#include "reader.h"
#include <stdio.h>
#include <string.h>

/*
  reader_hdf5.c: data sets as written by CkDataWrite() (docs/formats.md, "Data set"): the training split at the root,
  the test split under /test. Each rank reads only the rows it is asked for.
*/
typedef struct {
  CkFile file;
  char   features[32], labels[32];
  char   names[CK_CLASS_NAMES_LENGTH], **lines;
} Hdf5Context;

static PetscBool Probe(const CkDataSettings *settings)
{
  static const unsigned char signature[8] = {0x89, 'H', 'D', 'F', '\r', '\n', 0x1a, '\n'};
  unsigned char              bytes[8] = {0};
  FILE                      *file = fopen(settings->path, "rb");
  size_t                     n;

  if (!file) return PETSC_FALSE;
  n = fread(bytes, 1, sizeof(bytes), file);
  fclose(file);
  return (PetscBool)(n == sizeof(bytes) && memcmp(bytes, signature, sizeof(bytes)) == 0);
}

static void Hdf5CheckFeatures(CkReader reader, const char name[], CkType type, int rank, const PetscInt64 shape[],
                              CkVerdict *verdict)
{
  if (rank != 4 || (type != CK_U8 && type != CK_F32)) {
    CkVerdictFail(verdict, PETSC_ERR_FILE_UNEXPECTED,
                  "%s: %s must be uint8 or float32 [N, C, H, W]; it has %d axes and another type or shape", name,
                  ((Hdf5Context *)reader->context)->features, rank);
    return;
  }
  CkReaderCheckSizes(name, shape[0], 3, shape + 1, verdict);
  reader->samples = shape[0];
  reader->shape = (CkShape){(PetscInt)shape[1], (PetscInt)shape[2], (PetscInt)shape[3]};
  reader->type = type;
}

static PetscErrorCode Hdf5ReadNames(CkReader reader, CkFile file, CkVerdict *verdict)
{
  Hdf5Context *context = reader->context;
  char        *rest = context->names;
  PetscInt     n = 0;
  PetscBool    found;

  PetscFunctionBeginUser;
  PetscCall(CkFileReadString(file, "/", "class_names", context->names, sizeof(context->names), &found));
  if (!found) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(PetscMalloc1((size_t)reader->classes, &context->lines));
  for (char *line; (line = strsep(&rest, "\n")); ++n)
    if (n < reader->classes) context->lines[n] = line;
  if (n == reader->classes) PetscCall(CkReaderSetNames(reader, n, (const char *const *)context->lines));
  else
    CkVerdictFail(verdict, PETSC_ERR_FILE_UNEXPECTED,
                  "%s: attribute class_names has %" PetscInt_FMT " lines for %" PetscInt_FMT " classes",
                  reader->settings->path, n, reader->classes);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The checksum may be missing: an edited file. */
static PetscErrorCode Hdf5ReadAttributes(CkReader reader, CkFile file, PetscInt64 *version, PetscInt64 *classes,
                                         CkVerdict *verdict)
{
  static const char *const names[] = {"format_version", "classes", "title", "noun"};
  PetscBool                found[4], summed;

  PetscFunctionBeginUser;
  PetscCall(CkFileReadInt(file, "/", "format_version", version, &found[0]));
  PetscCall(CkFileReadInt(file, "/", "classes", classes, &found[1]));
  PetscCall(CkFileReadString(file, "/", "title", reader->title, sizeof(reader->title), &found[2]));
  PetscCall(CkFileReadString(file, "/", "noun", reader->noun, sizeof(reader->noun), &found[3]));
  PetscCall(CkFileReadString(file, reader->test ? "/test" : "/", "data_checksum", reader->checksum,
                             sizeof(reader->checksum), &summed));
  if (!summed) reader->checksum[0] = '\0';
  for (int i = 0; i < 4; ++i)
    if (!found[i])
      CkVerdictFail(verdict, PETSC_ERR_FILE_UNEXPECTED, "%s: has no attribute %s; import the data again",
                    reader->settings->path, names[i]);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Hdf5ReadHeader(CkReader reader, CkFile file, CkVerdict *verdict)
{
  const char *const name = reader->settings->path;
  Hdf5Context      *context = reader->context;
  PetscInt64        shape[CK_MAX_RANK], lshape[CK_MAX_RANK], version = 0, classes = 0;
  CkType            type, ltype;
  int               rank, lrank;

  PetscFunctionBeginUser;
  PetscCall(CkFileGetDataset(file, context->features, &type, &rank, shape));
  PetscCall(CkFileGetDataset(file, context->labels, &ltype, &lrank, lshape));
  PetscCall(Hdf5ReadAttributes(reader, file, &version, &classes, verdict));
  if (version != CK_DATA_VERSION)
    CkVerdictFail(verdict, PETSC_ERR_FILE_UNEXPECTED,
                  "%s: format_version is %" PetscInt64_FMT ", this program reads %d; import the data again", name,
                  version, CK_DATA_VERSION);
  if (!verdict->code) Hdf5CheckFeatures(reader, name, type, rank, shape, verdict);
  if (!verdict->code && (lrank != 1 || ltype != CK_I32 || lshape[0] != shape[0]))
    CkVerdictFail(verdict, PETSC_ERR_FILE_UNEXPECTED,
                  "%s: %s must be int32 [%" PetscInt64_FMT
                  "], one for each row of %s; it has %d axes, the first of %" PetscInt64_FMT,
                  name, context->labels, shape[0], context->features, lrank, lshape[0]);
  if (!verdict->code && (classes < 1 || classes > CK_CLASSES_LIMIT))
    CkVerdictFail(verdict, PETSC_ERR_FILE_UNEXPECTED, "%s: attribute classes is %" PetscInt64_FMT ", not in 1 .. %d",
                  name, classes, CK_CLASSES_LIMIT);
  if (verdict->code) PetscFunctionReturn(PETSC_SUCCESS);
  reader->classes = (PetscInt)classes;
  PetscCall(Hdf5ReadNames(reader, file, verdict));
  reader->exists = PETSC_TRUE;
  reader->transformed = PETSC_TRUE;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Open(CkReader reader, CkVerdict *verdict)
{
  const char *const prefix = reader->test ? "/test" : "";
  Hdf5Context      *context;
  char              format[64] = "";
  PetscBool         found, exists = PETSC_TRUE;

  PetscFunctionBeginUser;
  PetscCall(PetscNew(&context));
  reader->context = context;
  PetscCall(CkFileOpen(reader->comm, reader->settings->path, &context->file));
  PetscCall(CkFileReadString(context->file, "/", "format", format, sizeof(format), &found));
  if (!found || strcmp(format, CK_DATA_FORMAT) != 0) {
    CkVerdictFail(verdict, PETSC_ERR_FILE_UNEXPECTED,
                  "%s: is an HDF5 file, but no data set of Clarkia: its attribute format is '%s', not '%s'; write one "
                  "with clarkia import",
                  reader->settings->path, found ? format : "", CK_DATA_FORMAT);
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  snprintf(context->features, sizeof(context->features), "%s/features", prefix);
  snprintf(context->labels, sizeof(context->labels), "%s/labels", prefix);
  if (reader->test) PetscCall(CkFileExists(context->file, "/test", &exists));
  if (exists) PetscCall(Hdf5ReadHeader(reader, context->file, verdict));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Labels(CkReader reader, PetscInt64 first, PetscInt64 count, int32_t labels[], CkVerdict *verdict)
{
  const Hdf5Context *context = reader->context;

  PetscFunctionBeginUser;
  PetscCall(CkFileReadRows(context->file, context->labels, CK_I32, first, count, labels));
  CkReaderCheckLabels(reader->settings->path, first, count, labels, reader->classes, verdict);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Features(CkReader reader, PetscInt64 first, PetscInt64 count, void *features, CkVerdict *verdict)
{
  const Hdf5Context *context = reader->context;

  PetscFunctionBeginUser;
  (void)verdict;
  PetscCall(CkFileReadRows(context->file, context->features, reader->type, first, count, features));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Close(CkReader reader)
{
  Hdf5Context *context = reader->context;

  PetscFunctionBeginUser;
  if (!context) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(CkFileDestroy(&context->file));
  PetscCall(PetscFree(context->lines));
  PetscCall(PetscFree(reader->context));
  PetscFunctionReturn(PETSC_SUCCESS);
}

const CkReaderOps CkReaderHdf5 = {.name = "hdf5",
                                  .summary = "data sets written by clarkia import",
                                  .keys = "",
                                  .probe = Probe,
                                  .open = Open,
                                  .labels = Labels,
                                  .features = Features,
                                  .close = Close};
