#pragma once
#include <clarkia/error.h>
#include <clarkia/file.h>

/* file_private.h: what the files file*.c share. Functions with a CkVerdict are rank-local and record the first failure
   in it; the others are collective. */

/* What has been written, to be read back: rows of a dataset (attribute NULL) or an attribute's bytes. */
typedef struct {
  char      *path, *attribute;
  hid_t      type; /* an attribute's type in memory, owned */
  PetscInt64 first, count;
  size_t     bytes;
  uint64_t   checksum;
} CkFileRecord;

/* A dataset created in this file; the same list on all ranks but for `written`. */
typedef struct {
  char      *path;
  PetscInt64 rows, written; /* written: by this rank */
  PetscBool  growing;       /* in pieces, rows may be written later */
  haddr_t    offset;        /* of the first byte in the file; pieces: undefined */
  hsize_t    bytes;
} CkFileDataset;

struct _p_CkFile {
  MPI_Comm       comm;
  PetscMPIInt    rank;
  hid_t          id;        /* H5I_INVALID_HID: closed */
  char          *name;      /* final name */
  char          *temporary; /* NULL when reading */
  double         growing;   /* bytes of datasets whose rows come later */
  double         reserved;  /* bytes of datasets created and not yet written */
  size_t         piece;     /* largest transfer, bytes */
  PetscBool      update;    /* opened by CkFileOpenUpdate() */
  PetscBool      sealed;    /* to be ended by a checksum */
  PetscBool      damaged;   /* HDF5 failed to flush or to close it */
  PetscInt       n_records, room_records, n_datasets, room_datasets;
  CkFileRecord  *records;
  CkFileDataset *datasets;
  CkFile         next; /* list of open files, for PetscFinalize() */
};

/* One open dataset: id, its type as stored and as CkType, shape. */
typedef struct {
  hid_t      id, stored;
  CkType     type;
  int        rank;
  PetscInt64 shape[CK_MAX_RANK];
} CkFileDatasetHandle;

/* Collective end of every call: CkCheckVerdict(), and if it failed on any rank a file being written is closed and its
   temporary file removed. */
PetscErrorCode CkFileConclude(CkFile file, const CkVerdict *verdict);
PetscErrorCode CkFileCheckOpen(CkFile file, PetscBool writing); /* usage error if it is not open that way */
/* The folder of the file's name, "." if it has none. */
void CkFileFolder(CkFile file, char folder[PETSC_MAX_PATH_LEN]);
/* Of temporary files (file_temporary.c), on rank 0: the name for this process; what a signal is to remove; removal of
   those that dead processes of this machine have left beside `file`. */
PetscErrorCode CkFileNameTemporary(CkFile file, char name[PETSC_MAX_PATH_LEN]);
void           CkFileNoteTemporary(const char name[]);
void           CkFileForgetTemporary(const char name[]);
void           CkFileRemoveStale(CkFile file);
/* Collective: user error if the folder has less than `bytes` and what is reserved free. */
PetscErrorCode CkFileCheckSpace(CkFile file, double bytes);
#define CK_FILE_BLOCK_BYTES 16384 /* unit in which metadata take room */
/* Collective: makes the metadata so far take their room on the disk; error: 0 or errno, the same on all ranks. */
PetscErrorCode CkFileOccupyMetadata(CkFile file, int *error);
/* For reading, or writing of rows alone; negative on failure. */
hid_t CkFileOpenParallel(MPI_Comm comm, const char name[], PetscBool writing);

/* Names in messages: "file.h5:/path". */
void CkFileFail(CkFile file, const char path[], CkVerdict *verdict, PetscErrorCode code, const char format[], ...)
  PETSC_ATTRIBUTE_FORMAT(5, 6);
void CkFileFailHDF5(CkFile file, const char path[], CkVerdict *verdict, PetscErrorCode code, const char what[]);
/* A read that failed: a number that the type asked for cannot hold, or the file itself. */
void CkFileFailRead(CkFile file, const char path[], CkVerdict *verdict, CkType stored, CkType wanted,
                    PetscBool inexact);

hid_t     CkTypeMemory(CkType type); /* HDF5's native type; not owned */
PetscBool CkFilePathExists(hid_t id, const char path[]);
void      CkFileOpenDataset(CkFile file, hid_t id, const char path[], CkVerdict *verdict, CkFileDatasetHandle *dataset);
void      CkFileCloseDataset(CkFileDatasetHandle *dataset);
PetscErrorCode CkFileAppendSeal(CkFile file); /* collective; the file is closed */

/* Rank-local: numbers start[i] .. start[i] + count[i] of every axis. */
herr_t CkFileTransferBox(CkFile file, const CkFileDatasetHandle *dataset, PetscBool writing, CkType type,
                         const PetscInt64 start[], const PetscInt64 count[], void *data, PetscBool *inexact);
/* Rank-local: re-reads rows or attribute and compares the checksum. id: the file, open for reading. */
void           CkFileVerifyRows(CkFile file, hid_t id, const CkFileRecord *record, CkVerdict *verdict);
void           CkFileVerifyAttribute(CkFile file, hid_t id, const CkFileRecord *record, CkVerdict *verdict);
PetscErrorCode CkFileAddRecord(CkFile file, const CkFileRecord *record); /* copies the strings */
