#include "reader.h"
#include "stream.h"
#include <stdio.h>
#include <string.h>

/*
  reader_idx.c: IDX files, plain or gzip: a big-endian header (two zero bytes, type, number of axes, their lengths),
  then the numbers. Images are uint8 or float32 with 2 to 4 axes: [N, n], [N, H, W] or [N, C, H, W]; labels uint8 [N].
*/
#define IDX_U8 0x08
#define IDX_F32 0x0D
#define IDX_MAX_LEN ((PetscInt64)1 << 40) /* keeps products of sizes inside int64 */

typedef struct {
  CkStream   stream;
  int        type, rank;
  PetscInt64 shape[4], row_bytes, header_bytes, total_bytes;
} IdxFile;

typedef struct {
  IdxFile  images;
  uint8_t *labels; /* of the whole split */
  char     labels_name[PETSC_MAX_PATH_LEN];
} IdxContext;

static PetscInt64 BigEndian32(const uint8_t bytes[4])
{
  return ((PetscInt64)bytes[0] << 24) | ((PetscInt64)bytes[1] << 16) | ((PetscInt64)bytes[2] << 8) | bytes[3];
}

/* Opens a file and checks its header; length in bytes as far as that is possible without reading on. */
static void IdxOpen(IdxFile *idx, const char name[], int min_rank, int max_rank, CkVerdict *verdict)
{
  uint8_t magic[4] = {0}, lengths[16] = {0};

  CkStreamOpen(&idx->stream, name, verdict);
  CkStreamRead(&idx->stream, 0, 4, magic, verdict);
  if (!verdict->code && min_rank > 1 && BigEndian32(magic) == (IDX_U8 << 8 | 1))
    CkVerdictFail(verdict, PETSC_ERR_FILE_UNEXPECTED,
                  "%s: is an IDX file of labels; give the file of images there, and this one with -data_labels (test "
                  "split: -data_test_labels)",
                  name);
  if (verdict->code) return;
  idx->type = magic[2];
  idx->rank = magic[3];
  if (magic[0] || magic[1] || (idx->type != IDX_U8 && idx->type != IDX_F32) || idx->rank < min_rank ||
      idx->rank > max_rank) {
    CkVerdictFail(verdict, PETSC_ERR_FILE_UNEXPECTED,
                  "%s: bad magic number 0x%08llx: expected 0x0000%02x%02x (IDX, type 08 uint8 or 0d float32, %d to %d "
                  "axes); is this the right file?",
                  name, (unsigned long long)BigEndian32(magic), IDX_U8, min_rank == 1 ? 1 : 3, min_rank, max_rank);
    return;
  }
  idx->header_bytes = 4 + 4 * (PetscInt64)idx->rank;
  CkStreamRead(&idx->stream, 4, 4 * (size_t)idx->rank, lengths, verdict);
  for (int i = 0; i < idx->rank; ++i) idx->shape[i] = BigEndian32(lengths + 4 * i);
  if (!verdict->code) CkReaderCheckSizes(name, idx->shape[0], idx->rank - 1, idx->shape + 1, verdict);
  if (verdict->code) return;
  idx->row_bytes = idx->type == IDX_U8 ? 1 : 4;
  for (int i = 1; i < idx->rank; ++i) idx->row_bytes *= idx->shape[i];
  if (idx->row_bytes > IDX_MAX_LEN / idx->shape[0]) {
    CkVerdictFail(verdict, PETSC_ERR_FILE_UNEXPECTED,
                  "%s: %" PetscInt64_FMT " samples of %" PetscInt64_FMT " bytes overflow the limit of 2^40 bytes", name,
                  idx->shape[0], idx->row_bytes);
    return;
  }
  idx->total_bytes = idx->header_bytes + idx->shape[0] * idx->row_bytes;
  CkStreamExpect(&idx->stream, idx->total_bytes, verdict);
}

/* A label file is small: every rank reads all of it. */
static PetscErrorCode IdxReadLabels(const char name[], PetscInt64 *n, uint8_t **labels, CkVerdict *verdict)
{
  IdxFile idx = {0};

  PetscFunctionBeginUser;
  IdxOpen(&idx, name, 1, 1, verdict);
  if (!verdict->code && idx.type != IDX_U8)
    CkVerdictFail(verdict, PETSC_ERR_FILE_UNEXPECTED, "%s: labels must be uint8 (type 08), not float32", name);
  if (!verdict->code) {
    *n = idx.shape[0];
    PetscCall(PetscMalloc1((size_t)*n, labels));
    CkStreamRead(&idx.stream, idx.header_bytes, (size_t)*n, *labels, verdict);
    CkStreamFinish(&idx.stream, idx.total_bytes, verdict);
  }
  CkStreamClose(&idx.stream);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Number of classes: that of -data_classes, else greatest label + 1. A hole in the labels is more often a broken file
   than a class without samples, so it is accepted only if the number of classes is given. */
static void IdxCountClasses(CkReader reader, const char name[], PetscInt64 n, const uint8_t labels[],
                            CkVerdict *verdict)
{
  PetscInt counts[256] = {0}, greatest = 0, empty = 0;

  if (verdict->code) return;
  for (PetscInt64 i = 0; i < n; ++i) {
    ++counts[labels[i]];
    greatest = PetscMax(greatest, (PetscInt)labels[i]);
  }
  for (PetscInt c = 0; c <= greatest; ++c) empty += counts[c] == 0;
  reader->classes = reader->settings->classes ? reader->settings->classes : greatest + 1;
  if (empty > 0 && !reader->settings->classes)
    CkVerdictFail(verdict, PETSC_ERR_FILE_UNEXPECTED,
                  "%s: labels reach %" PetscInt_FMT ", but %" PetscInt_FMT
                  " smaller ones have no sample; if that is meant, give the number of classes with -data_classes",
                  name, greatest, empty);
}

static void IdxSetShape(CkReader reader, const IdxFile *images)
{
  const PetscInt64 *s = images->shape;

  if (images->rank == 2) reader->shape = (CkShape){(PetscInt)s[1], 1, 1};
  else if (images->rank == 3) reader->shape = (CkShape){1, (PetscInt)s[1], (PetscInt)s[2]};
  else reader->shape = (CkShape){(PetscInt)s[1], (PetscInt)s[2], (PetscInt)s[3]};
  reader->samples = s[0];
  reader->type = images->type == IDX_U8 ? CK_U8 : CK_F32;
  snprintf(reader->noun, sizeof(reader->noun), "%s", images->rank == 2 ? "rows" : "images");
  reader->exists = PETSC_TRUE;
}

/* training_labels: file that says how many classes there are, or NULL if that is the label file itself. */
static PetscErrorCode IdxOpenFiles(CkReader reader, const char images[], const char labels[],
                                   const char training_labels[], CkVerdict *verdict)
{
  IdxContext *context;
  uint8_t    *training = NULL;
  PetscInt64  n = 0, ntraining = 0;

  PetscFunctionBeginUser;
  PetscCall(PetscNew(&context));
  reader->context = context;
  PetscCall(PetscStrncpy(context->labels_name, labels, sizeof(context->labels_name)));
  IdxOpen(&context->images, images, 2, 4, verdict);
  PetscCall(IdxReadLabels(labels, &n, &context->labels, verdict));
  if (training_labels) PetscCall(IdxReadLabels(training_labels, &ntraining, &training, verdict));
  if (!verdict->code && n != context->images.shape[0])
    CkVerdictFail(verdict, PETSC_ERR_FILE_UNEXPECTED,
                  "%s has %" PetscInt64_FMT " images, but %s has %" PetscInt64_FMT " labels; name files that belong "
                  "together",
                  images, context->images.shape[0], labels, n);
  if (training_labels) IdxCountClasses(reader, training_labels, ntraining, training, verdict);
  else IdxCountClasses(reader, labels, n, context->labels, verdict);
  PetscCall(PetscFree(training));
  if (!verdict->code) IdxSetShape(reader, &context->images);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The usual spellings of one of the four files, plain before gzip. */
static PetscBool IdxFind(const char dir[], const char split[], const char what[], int axes,
                         char path[PETSC_MAX_PATH_LEN])
{
  char name[64];

  for (int form = 0; form < 4; ++form) {
    snprintf(name, sizeof(name), "%s-%s%cidx%d-ubyte%s", split, what, form < 2 ? '-' : '.', axes,
             form % 2 ? ".gz" : "");
    if (CkReaderFileIn(dir, name, path)) return PETSC_TRUE;
  }
  return PETSC_FALSE;
}

PetscErrorCode CkIdxOpenDirectory(CkReader reader, const char dir[], CkVerdict *verdict)
{
  const char *const split = reader->test ? "t10k" : "train";
  char              images[PETSC_MAX_PATH_LEN], labels[PETSC_MAX_PATH_LEN], training[PETSC_MAX_PATH_LEN];
  PetscBool         have_images, have_labels, have_training;

  PetscFunctionBeginUser;
  have_images = IdxFind(dir, split, "images", 3, images);
  have_labels = IdxFind(dir, split, "labels", 1, labels);
  have_training = IdxFind(dir, "train", "labels", 1, training);
  if (!have_images && !have_labels) PetscFunctionReturn(PETSC_SUCCESS);
  if (!have_images || !have_labels) {
    CkVerdictFail(verdict, PETSC_ERR_FILE_OPEN, "%s: has no file %s-%s-ubyte or %s-%s-ubyte.gz", dir, split,
                  have_images ? "labels-idx1" : "images-idx3", split, have_images ? "labels-idx1" : "images-idx3");
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  CkReaderBaseName(dir, reader->title);
  PetscCall(IdxOpenFiles(reader, images, labels, reader->test && have_training ? training : NULL, verdict));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Open(CkReader reader, CkVerdict *verdict)
{
  const CkDataSettings *s = reader->settings;
  const char *const     images = reader->test && s->test[0] ? s->test : s->path;
  const char *const     labels = reader->test ? s->test_labels : s->labels;

  PetscFunctionBeginUser;
  if (CkReaderIsDirectory(images)) {
    if (labels[0])
      CkVerdictFail(verdict, PETSC_ERR_USER_INPUT, "%s %.256s has no effect: %.256s is a folder, its labels are in it",
                    reader->test ? "-data_test_labels" : "-data_labels", labels, images);
    PetscCall(CkIdxOpenDirectory(reader, images, verdict));
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  if (reader->test && !s->test[0]) PetscFunctionReturn(PETSC_SUCCESS);
  CkReaderBaseName(images, reader->title);
  if (labels[0]) {
    PetscCall(IdxOpenFiles(reader, images, labels, reader->test && s->labels[0] ? s->labels : NULL, verdict));
  } else { /* a file that is none of images needs something else */
    IdxFile idx = {0};

    IdxOpen(&idx, images, 2, 4, verdict);
    CkStreamClose(&idx.stream);
    CkVerdictFail(verdict, PETSC_ERR_USER_INPUT, "%.512s: an IDX file of images needs its labels: give %s FILE", images,
                  reader->test ? "-data_test_labels" : "-data_labels");
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscBool Probe(const CkDataSettings *settings)
{
  CkVerdict     verdict = {0};
  CkStream      stream;
  unsigned char magic[4] = {1, 1, 1, 1};
  char          path[PETSC_MAX_PATH_LEN];

  if (CkReaderIsDirectory(settings->path))
    return (PetscBool)(IdxFind(settings->path, "train", "images", 3, path) ||
                       IdxFind(settings->path, "train", "labels", 1, path) ||
                       IdxFind(settings->path, "t10k", "images", 3, path));
  CkStreamOpen(&stream, settings->path, &verdict);
  CkStreamRead(&stream, 0, 4, magic, &verdict);
  CkStreamClose(&stream);
  if (verdict.code && stream.gzip) return PETSC_TRUE; /* damaged: reading it says how */
  return (PetscBool)(!verdict.code && magic[0] == 0 && magic[1] == 0 && magic[2] >= 8 && magic[2] <= 14);
}

PetscErrorCode CkIdxLabels(CkReader reader, PetscInt64 first, PetscInt64 count, int32_t labels[], CkVerdict *verdict)
{
  const IdxContext *context = reader->context;

  PetscFunctionBeginUser;
  for (PetscInt64 i = 0; i < count; ++i) labels[i] = context->labels[first + i];
  CkReaderCheckLabels(context->labels_name, first, count, labels, reader->classes, verdict);
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkIdxFeatures(CkReader reader, PetscInt64 first, PetscInt64 count, void *features, CkVerdict *verdict)
{
  IdxFile     *idx = &((IdxContext *)reader->context)->images;
  const size_t bytes = (size_t)(count * idx->row_bytes);

  PetscFunctionBeginUser;
  CkStreamRead(&idx->stream, idx->header_bytes + first * idx->row_bytes, bytes, features, verdict);
  if (idx->type == IDX_F32) {
    uint8_t *byte = features;

    for (size_t i = 0; i < bytes / 4; ++i, byte += 4) {
      const uint32_t word = (uint32_t)BigEndian32(byte);

      memcpy(byte, &word, 4);
    }
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkIdxVerify(CkReader reader, CkVerdict *verdict)
{
  IdxFile    *idx = &((IdxContext *)reader->context)->images;
  PetscMPIInt rank, size;

  PetscFunctionBeginUser;
  PetscCallMPI(MPI_Comm_rank(reader->comm, &rank));
  PetscCallMPI(MPI_Comm_size(reader->comm, &size));
  /* the last rank has read furthest already */
  if (rank == size - 1) CkStreamFinish(&idx->stream, idx->total_bytes, verdict);
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkIdxClose(CkReader reader)
{
  IdxContext *context = reader->context;

  PetscFunctionBeginUser;
  if (!context) PetscFunctionReturn(PETSC_SUCCESS);
  CkStreamClose(&context->images.stream);
  PetscCall(PetscFree(context->labels));
  PetscCall(PetscFree(reader->context));
  PetscFunctionReturn(PETSC_SUCCESS);
}

const CkReaderOps CkReaderIdx = {.name = "idx",
                                 .summary = "IDX (MNIST) files",
                                 .keys = " labels test test_labels classes ",
                                 .files = {CK_IDX_TRAINING_FILES, CK_IDX_TEST_FILES},
                                 .probe = Probe,
                                 .open = Open,
                                 .labels = CkIdxLabels,
                                 .features = CkIdxFeatures,
                                 .verify = CkIdxVerify,
                                 .close = CkIdxClose};
