#define _GNU_SOURCE /* fallocate */
#include <clarkia/progress.h>
#include <errno.h>
#include <fcntl.h>
#include <file_private.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

/*
  file_space.c: room on the disk. A raw write that fails is reported; a metadata write that fails leaves parallel HDF5
  hanging or crashing in MPI_Finalize(). So metadata stay in memory (evictions are off, see file.c) until rank 0 has
  put plain bytes wherever they will go: a full disk or a quota then shows in a plain write(), and HDF5 only overwrites.
*/

#define RESERVE_BYTES 524288 /* taken at creation, given back when a failed file is to be closed */
/* Asked of the disk beyond data and reserve when free space is checked. */
#define METADATA_BYTES (8.0 * CK_FILE_BLOCK_BYTES)

PetscErrorCode CkFileCheckSpace(CkFile file, double bytes)
{
  CkVerdict      verdict = {0};
  struct statvfs status;
  char           folder[PETSC_MAX_PATH_LEN], need[32], available[32];

  PetscFunctionBeginUser;
  if (file->rank == 0) {
    CkFileFolder(file, folder);
    if (statvfs(folder, &status)) {
      CkFileFail(file, NULL, &verdict, PETSC_ERR_FILE_WRITE, "folder %s: %s", folder, strerror(errno));
    } else {
      const double free_bytes = (double)status.f_bavail * (double)status.f_frsize;
      const double needed = file->reserved + bytes + METADATA_BYTES + (file->temporary ? 0 : RESERVE_BYTES);

      CkFormatBytes(needed, need);
      CkFormatBytes(free_bytes, available);
      if (free_bytes < needed) {
        CkFileFail(file, NULL, &verdict, PETSC_ERR_FILE_WRITE,
                   "disk full: %s needed, %s free in folder %s; free space or write elsewhere", need, available,
                   folder);
      }
    }
  }
  PetscCall(CkFileConclude(file, &verdict));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Writes bytes [start, end) with what they hold already, zeros beyond the end of the file. 0 or errno. */
static int Occupy(int descriptor, off_t start, off_t end)
{
  char bytes[8192];

  while (start < end) {
    const size_t  length = (size_t)PetscMin(end - start, (off_t)sizeof(bytes));
    const ssize_t got = pread(descriptor, bytes, length, start);
    ssize_t       put;

    if (got < 0) return errno;
    memset(bytes + got, 0, length - (size_t)got);
    put = pwrite(descriptor, bytes, length, start);
    if (put < 0) return errno;
    if (put == 0) return ENOSPC;
    start += put;
  }
  return 0;
}

static int CompareOffsets(const void *a, const void *b)
{
  const haddr_t x = ((const CkFileDataset *)a)->offset, y = ((const CkFileDataset *)b)->offset;

  return (x > y) - (x < y);
}

/* All that lies between the datasets is metadata, and up to `behind` bytes after the last. */
static int OccupyBetweenDatasets(CkFile file, int descriptor, off_t behind)
{
  CkFileDataset *sorted;
  off_t          start = 0;
  int            error = 0;

  if (PetscMalloc1(file->n_datasets, &sorted)) return ENOMEM;
  (void)PetscArraycpy(sorted, file->datasets, file->n_datasets);
  if (sorted) qsort(sorted, (size_t)file->n_datasets, sizeof(*sorted), CompareOffsets);
  for (PetscInt i = 0; i < file->n_datasets && !error; ++i) {
    if (sorted[i].bytes == 0) continue;
    error = Occupy(descriptor, start, (off_t)sorted[i].offset);
    start = (off_t)(sorted[i].offset + sorted[i].bytes);
  }
  if (!error) error = Occupy(descriptor, start, start + behind);
  (void)PetscFree(sorted);
  return error;
}

/* A bound on how far metadata may reach behind the last dataset. MPI-IO files do not tell their end; but all metadata
   are in the cache, and HDF5 takes room for them in blocks. What is too much is cut off when the file is closed. */
static off_t MetadataBound(hid_t id)
{
  size_t size = 0;

  if (H5Fget_mdc_size(id, NULL, NULL, &size, NULL) < 0) return -1;
  return (off_t)(size + 2 * CK_FILE_BLOCK_BYTES);
}

/* Blocks for the rows that come later, wherever they lie. A file system that cannot reserve tells when it is written
   to. 0 or errno. */
static int OccupyGrowing(CkFile file, int descriptor, off_t metadata)
{
  double bytes = file->growing + (double)metadata + RESERVE_BYTES;

  for (PetscInt i = 0; i < file->n_datasets; ++i) bytes += (double)file->datasets[i].bytes;
  if (fallocate(descriptor, FALLOC_FL_KEEP_SIZE, 0, (off_t)bytes) == 0) return 0;
  return errno == EOPNOTSUPP || errno == ENOSYS ? 0 : errno;
}

PetscErrorCode CkFileOccupyMetadata(CkFile file, int *error)
{
  off_t behind = 0;

  PetscFunctionBeginUser;
  *error = 0;
  PetscCallMPI(MPI_Barrier(file->comm)); /* nobody writes */
  if (file->rank == 0) {
    const int descriptor = open(file->temporary, O_RDWR | O_CREAT | O_CLOEXEC, 0666);

    if (descriptor < 0) *error = errno;
    if (file->id >= 0) behind = MetadataBound(file->id);
    if (!*error && behind < 0) *error = EIO;
    if (file->n_datasets == 0) behind = PetscMax(behind, RESERVE_BYTES);
    if (!*error) *error = OccupyBetweenDatasets(file, descriptor, behind);
    if (!*error && file->growing > 0) *error = OccupyGrowing(file, descriptor, behind);
    if (descriptor >= 0 && close(descriptor) && !*error) *error = errno;
  }
  PetscCallMPI(MPI_Bcast(error, 1, MPI_INT, 0, file->comm));
  PetscFunctionReturn(PETSC_SUCCESS);
}
