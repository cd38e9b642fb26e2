#pragma once
#include "datasettings.h"

/*
  reader.h: the contract of a reader, one file format. A reader is one file reader_<name>.c and one line in readers.c.

  A reader knows headers, labels and rows; it does not know selections, transforms or where samples are kept. Failures
  of a file are recorded in the verdict, never returned: the caller reduces it over the ranks. Returned error codes are
  bugs, or user errors that a collective callee has already reported on all ranks.
*/
typedef struct _p_CkReader *CkReader;

typedef struct {
  const char *name;    /* -data_format */
  const char *summary; /* what it reads, for messages */
  const char *keys;    /* those of -data_<key> for single formats that it heeds, " labels test "; others are refused */
  const char
    *files[2]; /* what it looks for in a folder, training and test split, for messages; NULL: reads no folder */
  /* Does this source look like the format? A look at names and first bytes, on rank 0 only; never fails. */
  PetscBool (*probe)(const CkDataSettings *settings);
  /* Fills the header below. Collective. */
  PetscErrorCode (*open)(CkReader reader, CkVerdict *verdict);
  /* Class numbers, or features [count x shape] of the header's type, of rows first .. first+count. Collective: ranks
     ask for different rows, and count may be 0. Features are asked for in increasing order. */
  PetscErrorCode (*labels)(CkReader reader, PetscInt64 first, PetscInt64 count, int32_t labels[], CkVerdict *verdict);
  PetscErrorCode (*features)(CkReader reader, PetscInt64 first, PetscInt64 count, void *features, CkVerdict *verdict);
  /* After all rows are read: what only the rest of the file can show, checksum and length. Collective; may be NULL. */
  PetscErrorCode (*verify)(CkReader reader, CkVerdict *verdict);
  /* Frees reader->context; collective. */
  PetscErrorCode (*close)(CkReader reader);
} CkReaderOps;

struct _p_CkReader {
  const CkReaderOps    *ops;
  MPI_Comm              comm;
  const CkDataSettings *settings; /* borrowed */
  PetscBool             test;     /* which split to open */
  /* header, set by open */
  PetscBool  exists; /* false: the source has no such split, and the rest is not set */
  PetscInt64 samples;
  CkShape    shape;
  CkType     type; /* CK_U8 or CK_F32 */
  PetscInt   classes;
  char     **names; /* [classes], owned; NULL: numbers */
  char       title[256];
  char       noun[16];      /* "images", "rows" */
  char       checksum[32];  /* of the whole split, as CkDataComputeChecksum(), stored with it; "": not known */
  PetscInt64 rows_per_read; /* 0: any; a reader that cannot seek wants few large reads */
  PetscBool  transformed;   /* the file says which transforms stand behind its numbers: CkDataReadTransforms() */
  void      *context;
};

/* readers.c. All collective on reader->comm. */
PetscErrorCode CkReaderCreate(MPI_Comm comm, const CkDataSettings *settings, PetscBool test, CkReader *reader);
PetscErrorCode CkReaderDestroy(CkReader *reader);
/* List "idx, cifar10, ..." of the registered readers, for messages. */
PetscErrorCode CkReaderNames(char text[], size_t length);

/* Helpers of several readers. */

/* Records the first label outside 0..classes-1; first is the number of labels[0] in `file`. */
void CkReaderCheckLabels(const char file[], PetscInt64 first, PetscInt64 count, const int32_t labels[],
                         PetscInt classes, CkVerdict *verdict);
/* Samples, and numbers in a sample, must be positive and countable in a PetscInt. shape[] are the axes of a sample. */
void CkReaderCheckSizes(const char file[], PetscInt64 samples, int rank, const PetscInt64 shape[], CkVerdict *verdict);
/* Copies n names into the header. */
PetscErrorCode CkReaderSetNames(CkReader reader, PetscInt n, const char *const names[]);
/* "dir/name"; false where that is too long or no regular file */
PetscBool CkReaderFileIn(const char dir[], const char name[], char path[PETSC_MAX_PATH_LEN]);
PetscBool CkReaderIsDirectory(const char path[]);
/* Last part of a path, without trailing slashes; borrowed, static. */
void CkReaderBaseName(const char path[], char name[256]);

/* reader_idx.c: the four MNIST-named files of a directory; also the whole of the fashion-mnist reader. */
#define CK_IDX_TRAINING_FILES "train-images-idx3-ubyte and train-labels-idx1-ubyte, plain or .gz"
#define CK_IDX_TEST_FILES "t10k-images-idx3-ubyte and t10k-labels-idx1-ubyte, plain or .gz"
PetscErrorCode CkIdxOpenDirectory(CkReader reader, const char dir[], CkVerdict *verdict);
PetscErrorCode CkIdxLabels(CkReader reader, PetscInt64 first, PetscInt64 count, int32_t labels[], CkVerdict *verdict);
PetscErrorCode CkIdxFeatures(CkReader reader, PetscInt64 first, PetscInt64 count, void *features, CkVerdict *verdict);
PetscErrorCode CkIdxVerify(CkReader reader, CkVerdict *verdict);
PetscErrorCode CkIdxClose(CkReader reader);
/* reader_fashion_mnist.c, with the place of the package's files for tests */
PetscErrorCode CkFashionMnistOpenIn(CkReader reader, const char dir[], CkVerdict *verdict);

extern const CkReaderOps CkReaderIdx, CkReaderCifar10, CkReaderCifar100, CkReaderTable, CkReaderSvhn, CkReaderHdf5,
  CkReaderSynthetic, CkReaderFashionMnist;
