#pragma once
#include <clarkia/base.h>
#include <hdf5.h>

/*
  CkFile: a self-describing HDF5 file, written or read in parallel (docs/formats.md).

  Writing goes to "<name>.tmp-<machine>-<pid of rank 0>"; CkFileCommit() flushes, closes, reads everything back, syncs
  and renames, so a name that exists is a complete file. A failed call removes the temporary file at once;
  CkFileDestroy() and PetscFinalize() remove that of a file that was not committed. Every dataset carries `units` and
  `description`; the root carries the provenance. All calls but CkFileGetName() are collective on the file's
  communicator, with the same path, type and name on all ranks.

  Failures (missing, not HDF5, truncated, wrong type or shape, folder not writable, disk full) are user errors that name
  file and object. After a failed write the file can only be destroyed. Open MPI's OMPIO loses data silently on a full
  disk: free space is checked before each write, raw data are written independently (its errors are reported), and each
  rank's rows and all attributes are read back and compared before the rename.
*/
typedef struct _p_CkFile *CkFile;

typedef enum { CK_U8, CK_I32, CK_I64, CK_F32, CK_F64 } CkType;
#define CK_MAX_RANK 5

/* name: where the committed file will stand; one that stands there already is replaced by CkFileCommit(). */
PetscErrorCode CkFileCreate(MPI_Comm comm, const char name[], CkFile *file);
PetscErrorCode CkFileOpen(MPI_Comm comm, const char name[], CkFile *file); /* read-only */
/* Every row of every dataset has been written once, else PETSC_ERR_ORDER. Then only CkFileDestroy(). */
PetscErrorCode CkFileCommit(CkFile file);
PetscErrorCode CkFileDestroy(CkFile *file);
PetscErrorCode CkFileGetName(CkFile file, const char **name); /* the final name; owned by the file; not collective */

/* CkFileCommit() will end this file with a checksum of all its bytes, which HDF5 does not mind; the checksum of a file
   so made, before it is opened: any bit that has changed is a user error, and so is a file without one. */
PetscErrorCode CkFileSeal(CkFile file);
PetscErrorCode CkFileCheckSeal(MPI_Comm comm, const char name[]);
/* Gives a closed file, that is on the disk then, another name in the same folder at once; one that stands there is
   replaced. */
PetscErrorCode CkFileRename(MPI_Comm comm, const char from[], const char to[]);

/* Notes a file that this run reads (nothing happens if it is no regular file); not collective. Options
   of kind CK_OPTION_FILE do so by themselves; what a run has written itself it may read and write again. */
void CkFileNoteInput(const char path[]);
/* User error if a rank has noted the file that stands under this name, or a link to it. CkFileCreate() checks too;
   call this where the file is created only after long work. */
PetscErrorCode CkFileCheckOutput(MPI_Comm comm, const char name[]);

/* From now on SIGINT, SIGTERM and SIGHUP remove what this process is writing and end it with 128 + signal; a signal
   that was ignored stays so. Call it after MPI_Init() and again after PetscInitialize(), which sets handlers of its
   own. */
PetscErrorCode CkFileHandleSignals(void);
/* Removes the temporary files of this process; for what ends a run out of order. Safe in a signal handler. */
void CkFileRemoveTemporaries(void);

/* Root attributes of docs/formats.md, "Provenance": program and version, git revision, command line, options in force,
   library versions, BLAS, oneDNN instruction set, ranks, threads, hosts, seed, Slurm job, start and end time. The end
   time is that of this call: make it last. */
PetscErrorCode CkFileWriteProvenance(CkFile file);

/* Attributes of an object (path "/": the root), the value of rank 0; an attribute that exists is replaced. */
PetscErrorCode CkFileWriteString(CkFile file, const char path[], const char name[], const char value[]);
PetscErrorCode CkFileWriteReal(CkFile file, const char path[], const char name[], double value);
PetscErrorCode CkFileWriteInt(CkFile file, const char path[], const char name[], PetscInt64 value);
PetscErrorCode CkFileWriteReals(CkFile file, const char path[], const char name[], PetscInt n, const double values[]);
/* found (may be NULL: then a missing one is an error): whether the attribute is there; else value stays as it was.
   length: room of value in bytes; n: in, room of values; out, numbers read. Too little room is an error. */
PetscErrorCode CkFileReadString(CkFile file, const char path[], const char name[], char value[], size_t length,
                                PetscBool *found);
PetscErrorCode CkFileReadReal(CkFile file, const char path[], const char name[], double *value, PetscBool *found);
PetscErrorCode CkFileReadInt(CkFile file, const char path[], const char name[], PetscInt64 *value, PetscBool *found);
PetscErrorCode CkFileReadReals(CkFile file, const char path[], const char name[], PetscInt *n, double values[],
                               PetscBool *found);

PetscErrorCode CkFileCreateGroup(CkFile file, const char path[]); /* parents are made; an existing one is fine */
PetscErrorCode CkFileExists(CkFile file, const char path[], PetscBool *exists);
/* Names of the links in a group, in name order; free each and the list with PetscFree(). */
PetscErrorCode CkFileList(CkFile file, const char path[], PetscInt *n, char ***names);

/* A dataset of the given global shape (rank 1 .. CK_MAX_RANK). Its rows are undefined until written. Parents are made.
 */
PetscErrorCode CkFileCreateDataset(CkFile file, const char path[], CkType type, int rank, const PetscInt64 shape[],
                                   const char units[], const char description[]);
/* As before, but the numbers lie in pieces of the shape `chunk`, the first axis has no limit, and rows that are not
   written before CkFileCommit() may be by CkFileUpdateBox(). CkFileCommit() takes the room of all rows on the disk,
   where the file system can: a disk too full shows then and not later. After all datasets of the other kind. */
PetscErrorCode CkFileCreateGrowing(CkFile file, const char path[], CkType type, int rank, const PetscInt64 shape[],
                                   const PetscInt64 chunk[], const char units[], const char description[]);
/* type is the smallest that holds the stored one; text, compound, complex and long double are user errors. */
PetscErrorCode CkFileGetDataset(CkFile file, const char path[], CkType *type, int *rank, PetscInt64 shape[CK_MAX_RANK]);
/* Collective: vectors in the spectrum file `name`, given by option -key, of which those of d weights are wanted; a user
   error where there are none, or of another length. Vector j is row j of /eigenvectors. */
PetscErrorCode CkFileCountEigenvectors(MPI_Comm comm, const char key[], const char name[], PetscInt64 d,
                                       PetscInt64 *count);
/* Writes or reads rows first .. first+count of the first axis (all of the others); ranks may have count 0.
   data: count x shape[1] x ... numbers of the given type, row-major. WriteRows: type is that of the dataset.
   ReadRows: numbers are converted; one that type cannot hold exactly is a user error (float64 to float32 rounds).
   Transfers are cut into pieces below 1 GiB. */
PetscErrorCode CkFileWriteRows(CkFile file, const char path[], CkType type, PetscInt64 first, PetscInt64 count,
                               const void *data);
PetscErrorCode CkFileReadRows(CkFile file, const char path[], CkType type, PetscInt64 first, PetscInt64 count,
                              void *data);
/* Numbers start[i] .. start[i] + count[i] of each axis i; ranks may ask for different boxes, or for none (a count of
   0). data: [count[0] x count[1] x ..], row-major; converted as by CkFileReadRows(). */
PetscErrorCode CkFileReadBox(CkFile file, const char path[], CkType type, const PetscInt64 start[],
                             const PetscInt64 count[], void *data);

/*
  A committed file that is opened for update takes numbers in its datasets and nothing else: since names, shapes and
  places stay as they are, a run that is killed in between leaves a file that can be read. What fails here leaves the
  file open and standing.
*/
PetscErrorCode CkFileOpenUpdate(MPI_Comm comm, const char name[], CkFile *file);
/* type: that of the dataset; box and data as in CkFileReadBox(). Handed to the operating system on return: a signal
   takes none of it back. */
PetscErrorCode CkFileUpdateBox(CkFile file, const char path[], CkType type, const PetscInt64 start[],
                               const PetscInt64 count[], const void *data);
PetscErrorCode CkFileSync(CkFile file); /* to the disk: a power failure takes nothing of what was written before */

/* Whole dataset from rank 0's array (elsewhere data may be NULL), or to every rank's array. */
PetscErrorCode CkFileWriteAll(CkFile file, const char path[], CkType type, int rank, const PetscInt64 shape[],
                              const void *data, const char units[], const char description[]);
PetscErrorCode CkFileReadAll(CkFile file, const char path[], CkType type, void *data);

size_t      CkTypeSize(CkType type); /* bytes */
const char *CkTypeName(CkType type); /* "uint8", "int32", "int64", "float32", "float64" */

/* 64-bit FNV-1a checksum of bytes, chained: start with hash = 0, then pieces one after the other give the value of the
   whole. For provenance and read-back. */
uint64_t CkChecksum(uint64_t hash, const void *data, size_t bytes);

/* Turns a failed HDF5 call (negative return) into a PETSc error carrying HDF5's own innermost message. */
#define CkCallHDF5(...)                                                                                                \
  do {                                                                                                                 \
    if (PetscUnlikely((__VA_ARGS__) < 0)) {                                                                            \
      SETERRQ(PETSC_COMM_SELF, PETSC_ERR_LIB, "HDF5: %s", CkHDF5Message());                                            \
    }                                                                                                                  \
  } while (0)
/* The innermost message of the last failed HDF5 call, once a file has been created or opened. */
const char *CkHDF5Message(void);
