#include "reader.h"
#include <limits.h>
#include <matio.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <zlib.h>

/*
  reader_svhn.c: the cropped digits of SVHN, MATLAB files (through libmatio) with X [H, W, C, N] uint8 and y [N, 1], in
  which label 10 is the digit 0. A folder holds train_32x32.mat and test_32x32.mat.
*/
#define SVHN_CLASSES 10
#define MAT5_HEADER 128

typedef struct {
  mat_t     *file;
  matvar_t  *x; /* header only */
  int32_t   *labels;
  char       name[PETSC_MAX_PATH_LEN];
  PetscInt64 shape[4]; /* H, W, C, N */
} SvhnContext;

/* What libmatio said last; it knows no other way to tell. */
static char matio_message[160];

static void KeepMessage(int level, char *message)
{
  (void)level;
  snprintf(matio_message, sizeof(matio_message), " (%.120s)", message);
  matio_message[strcspn(matio_message, "\n")] = '\0';
}

static PetscBool SvhnPath(const CkDataSettings *settings, PetscBool test, char path[PETSC_MAX_PATH_LEN])
{
  const char *named = test && settings->test[0] ? settings->test : settings->path;

  if (CkReaderIsDirectory(named)) return CkReaderFileIn(named, test ? "test_32x32.mat" : "train_32x32.mat", path);
  if (test && !settings->test[0]) return PETSC_FALSE;
  if (strlen(named) >= PETSC_MAX_PATH_LEN) return PETSC_FALSE;
  memcpy(path, named, strlen(named) + 1);
  return PETSC_TRUE;
}

static PetscBool Probe(const CkDataSettings *settings)
{
  char   path[PETSC_MAX_PATH_LEN], head[7] = "";
  FILE  *file;
  size_t n;

  if (!SvhnPath(settings, PETSC_FALSE, path) && !SvhnPath(settings, PETSC_TRUE, path)) return PETSC_FALSE;
  if (CkReaderIsDirectory(path) || !(file = fopen(path, "rb"))) return PETSC_FALSE;
  n = fread(head, 1, 6, file);
  fclose(file);
  return (PetscBool)(n == 6 && strcmp(head, "MATLAB") == 0);
}

/* X must be uint8 with three or four axes: MATLAB drops a last axis of length 1. */
static void SvhnCheckImages(SvhnContext *context, CkVerdict *verdict)
{
  const matvar_t *x = context->x;

  if (x->class_type != MAT_C_UINT8 || x->isComplex || (x->rank != 3 && x->rank != 4)) {
    CkVerdictFail(verdict, PETSC_ERR_FILE_UNEXPECTED,
                  "%s: X must be uint8 [height, width, channels, samples]; it has %d axes and MATLAB class %d",
                  context->name, x->rank, (int)x->class_type);
    return;
  }
  for (int i = 0; i < 4; ++i) {
    const size_t length = i < x->rank ? x->dims[i] : 1;

    /* libmatio counts in int */
    context->shape[i] = length > INT_MAX ? -1 : (PetscInt64)length;
  }
  CkReaderCheckSizes(context->name, context->shape[3], 3, context->shape, verdict);
}

/* Digit of label i; -1 where it is none of 1 .. 10. */
static int32_t SvhnDigit(const matvar_t *y, size_t i)
{
  const double value = y->class_type == MAT_C_UINT8 ? ((const uint8_t *)y->data)[i] : ((const double *)y->data)[i];

  if (!(value >= 1 && value <= SVHN_CLASSES) || value != (double)(int32_t)value) return -1;
  return (int32_t)value % SVHN_CLASSES;
}

static PetscErrorCode SvhnReadLabels(SvhnContext *context, CkVerdict *verdict)
{
  const size_t n = (size_t)context->shape[3];
  matvar_t    *y = Mat_VarRead(context->file, "y");
  size_t       there = 1;

  PetscFunctionBeginUser;
  for (int i = 0; y && i < y->rank; ++i) there = y->dims[i] > INT_MAX ? 0 : there * y->dims[i];
  if (!y || !y->data) {
    CkVerdictFail(verdict, PETSC_ERR_FILE_UNEXPECTED, "%s: has no readable variable y (the labels)%s", context->name,
                  matio_message);
  } else if ((y->class_type != MAT_C_UINT8 && y->class_type != MAT_C_DOUBLE) || y->isComplex) {
    CkVerdictFail(verdict, PETSC_ERR_FILE_UNEXPECTED, "%s: y must be uint8 or double; it has MATLAB class %d",
                  context->name, (int)y->class_type);
  } else if (there != n) {
    CkVerdictFail(verdict, PETSC_ERR_FILE_UNEXPECTED, "%s: X has %zu images, but y has %zu labels", context->name, n,
                  there);
  } else {
    PetscCall(PetscMalloc1(n, &context->labels));
    for (size_t i = 0; i < n && !verdict->code; ++i) {
      context->labels[i] = SvhnDigit(y, i);
      if (context->labels[i] < 0)
        CkVerdictFail(verdict, PETSC_ERR_FILE_UNEXPECTED,
                      "%s: label %zu of y is %g, outside 1 .. 10 (10 is the digit 0)", context->name, i,
                      y->class_type == MAT_C_UINT8 ? ((const uint8_t *)y->data)[i] : ((const double *)y->data)[i]);
    }
  }
  if (y) Mat_VarFree(y);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* ---- what libmatio does not check: a short or corrupt read leaves it content ---- */

/* A zlib stream of that many bytes at the place where the file stands: read to its end and compared with its checksum.
 */
static PetscBool InflateAll(FILE *file, PetscInt64 bytes)
{
  unsigned char in[1 << 14], out[1 << 14];
  z_stream      z = {0};
  int           status = inflateInit(&z);

  while (status == Z_OK && bytes > 0) {
    const size_t n = fread(in, 1, (size_t)PetscMin(bytes, (PetscInt64)sizeof(in)), file);

    if (n == 0) break;
    bytes -= (PetscInt64)n;
    z.next_in = in;
    z.avail_in = (uInt)n;
    do {
      z.next_out = out;
      z.avail_out = sizeof(out);
      status = inflate(&z, Z_NO_FLUSH);
    } while (status == Z_OK && (z.avail_in > 0 || z.avail_out == 0));
    if (status == Z_BUF_ERROR) status = Z_OK; /* wants more input */
  }
  inflateEnd(&z);
  return (PetscBool)(status == Z_STREAM_END);
}

/* Version 5 (HDF5, version 7.3, sees to this itself): the chain of variables, each a tag of two words (type, bytes) and
   its bytes, must end where the file ends. content: compressed variables are also read through. */
static void SvhnCheckFile(const char name[], PetscBool content, CkVerdict *verdict)
{
  FILE         *file = fopen(name, "rb");
  unsigned char head[MAT5_HEADER] = {0}, tag[8];
  struct stat   status;
  PetscInt64    at = MAT5_HEADER;
  PetscBool     little = PETSC_TRUE;

  if (!file || stat(name, &status) || fread(head, 1, sizeof(head), file) != sizeof(head))
    CkVerdictFail(verdict, PETSC_ERR_FILE_UNEXPECTED, "%s: truncated: it has no whole header of %d bytes", name,
                  MAT5_HEADER);
  little = (PetscBool)(head[126] == 'I');
  if (head[little ? 125 : 124] != 1) at = -1;
  while (at > 0 && !verdict->code && at < (PetscInt64)status.st_size) {
    uint32_t word[2] = {0, 0};

    if (fseeko(file, (off_t)at, SEEK_SET) || fread(tag, 1, 8, file) != 8) break;
    for (int i = 0; i < 8; ++i) word[i / 4] |= (uint32_t)tag[i] << (little ? 8 * (i % 4) : 24 - 8 * (i % 4));
    if (content && word[0] == MAT_T_COMPRESSED && !InflateAll(file, word[1]))
      CkVerdictFail(verdict, PETSC_ERR_FILE_READ,
                    "%s: corrupt compressed data from byte %" PetscInt64_FMT " on; fetch "
                    "the file again",
                    name, at);
    at += 8 + (PetscInt64)word[1];
  }
  if (at > 0 && !verdict->code && at != (PetscInt64)status.st_size)
    CkVerdictFail(verdict, PETSC_ERR_FILE_UNEXPECTED,
                  "%s: truncated or over-long: its variables end at byte %" PetscInt64_FMT
                  ", the file at %" PetscInt64_FMT,
                  name, at, (PetscInt64)status.st_size);
  if (file) fclose(file);
}

static PetscErrorCode Verify(CkReader reader, CkVerdict *verdict)
{
  PetscMPIInt rank, size;

  PetscFunctionBeginUser;
  PetscCallMPI(MPI_Comm_rank(reader->comm, &rank));
  PetscCallMPI(MPI_Comm_size(reader->comm, &size));
  if (rank == size - 1) SvhnCheckFile(((SvhnContext *)reader->context)->name, PETSC_TRUE, verdict);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode SvhnOpenFile(CkReader reader, SvhnContext *context, CkVerdict *verdict)
{
  PetscFunctionBeginUser;
  SvhnCheckFile(context->name, PETSC_FALSE, verdict);
  if (verdict->code) PetscFunctionReturn(PETSC_SUCCESS);
  matio_message[0] = '\0';
  Mat_LogInitFunc("clarkia", KeepMessage);
  CkFileNoteInput(context->name);
  context->file = Mat_Open(context->name, MAT_ACC_RDONLY);
  if (!context->file) {
    CkVerdictFail(verdict, PETSC_ERR_FILE_OPEN, "%s: is no readable MATLAB file%s", context->name, matio_message);
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  context->x = Mat_VarReadInfo(context->file, "X");
  if (context->x) SvhnCheckImages(context, verdict);
  else
    CkVerdictFail(verdict, PETSC_ERR_FILE_UNEXPECTED, "%s: has no variable X (the images)%s", context->name,
                  matio_message);
  if (!verdict->code) PetscCall(SvhnReadLabels(context, verdict));
  if (verdict->code) PetscFunctionReturn(PETSC_SUCCESS);
  reader->exists = PETSC_TRUE;
  reader->samples = context->shape[3];
  reader->shape = (CkShape){(PetscInt)context->shape[2], (PetscInt)context->shape[0], (PetscInt)context->shape[1]};
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Open(CkReader reader, CkVerdict *verdict)
{
  SvhnContext *context;

  PetscFunctionBeginUser;
  PetscCall(PetscNew(&context));
  reader->context = context;
  if (!SvhnPath(reader->settings, reader->test, context->name)) {
    if (!reader->test)
      CkVerdictFail(verdict, PETSC_ERR_FILE_OPEN, "%.512s: has no file train_32x32.mat", reader->settings->path);
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  PetscCall(SvhnOpenFile(reader, context, verdict));
  reader->type = CK_U8;
  reader->classes = SVHN_CLASSES;
  PetscCall(PetscStrncpy(reader->noun, "images", sizeof(reader->noun)));
  reader->rows_per_read = PETSC_MAX_INT; /* libmatio unpacks from the start of X for each read */
  PetscCall(PetscStrncpy(reader->title, "SVHN", sizeof(reader->title)));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Labels(CkReader reader, PetscInt64 first, PetscInt64 count, int32_t labels[], CkVerdict *verdict)
{
  const SvhnContext *context = reader->context;

  PetscFunctionBeginUser;
  (void)verdict;
  PetscCall(PetscArraycpy(labels, context->labels + first, (size_t)count));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* MATLAB stores a sample as [C][W][H], H fastest. */
static void SvhnTranspose(const uint8_t *in, CkShape shape, uint8_t *out)
{
  for (PetscInt c = 0; c < shape.c; ++c)
    for (PetscInt h = 0; h < shape.h; ++h)
      for (PetscInt w = 0; w < shape.w; ++w) *out++ = in[(c * shape.w + w) * shape.h + h];
}

static PetscErrorCode Features(CkReader reader, PetscInt64 first, PetscInt64 count, void *features, CkVerdict *verdict)
{
  SvhnContext *context = reader->context;
  const size_t size = (size_t)CkShapeSize(reader->shape);
  int          start[4] = {0, 0, 0, (int)first}, stride[4] = {1, 1, 1, 1}, edge[4];
  uint8_t     *raw;

  PetscFunctionBeginUser;
  if (count == 0) PetscFunctionReturn(PETSC_SUCCESS);
  for (int i = 0; i < 3; ++i) edge[i] = (int)context->shape[i];
  edge[3] = (int)count;
  matio_message[0] = '\0';
  PetscCall(PetscMalloc1((size_t)count * size, &raw));
  if (Mat_VarReadData(context->file, context->x, raw, start, stride, edge) || matio_message[0])
    CkVerdictFail(verdict, PETSC_ERR_FILE_READ,
                  "%s: truncated or corrupt: images %" PetscInt64_FMT " to %" PetscInt64_FMT " of X cannot be read%s",
                  context->name, first, first + count - 1, matio_message);
  for (size_t i = 0; i < (size_t)count && !verdict->code; ++i)
    SvhnTranspose(raw + i * size, reader->shape, (uint8_t *)features + i * size);
  PetscCall(PetscFree(raw));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Close(CkReader reader)
{
  SvhnContext *context = reader->context;

  PetscFunctionBeginUser;
  if (!context) PetscFunctionReturn(PETSC_SUCCESS);
  if (context->x) Mat_VarFree(context->x);
  if (context->file) Mat_Close(context->file);
  PetscCall(PetscFree(context->labels));
  PetscCall(PetscFree(reader->context));
  PetscFunctionReturn(PETSC_SUCCESS);
}

const CkReaderOps CkReaderSvhn = {.name = "svhn",
                                  .summary = "SVHN cropped digits (MATLAB .mat)",
                                  .keys = " test ",
                                  .files = {"train_32x32.mat", "test_32x32.mat"},
                                  .probe = Probe,
                                  .open = Open,
                                  .labels = Labels,
                                  .features = Features,
                                  .verify = Verify,
                                  .close = Close};
