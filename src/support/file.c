#include <errno.h>
#include <fcntl.h>
#include <file_private.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* file.c: the life of a file: create or open, commit, destroy. Datasets: file_dataset.c; attributes: file_attribute.c.
 */

#define PIECE_BYTES ((size_t)1 << 30) /* independent writes above 2 GiB fail */

/* "nfs:x" is file x to ROMIO, file "nfs:x" to OMPIO */
static const char colon[] = "MPI-IO takes what stands before a ':' for a type of file system; use a name without";

static CkFile open_files = NULL;

static char message[256] = "unknown error";

static herr_t CopyInnermost(unsigned n, const H5E_error2_t *error, void *context)
{
  (void)n;
  (void)context;
  (void)PetscStrncpy(message, error->desc ? error->desc : "unknown error", sizeof(message));
  return 1; /* the first one met on the way up is the innermost */
}

/* HDF5 calls this where it would print its error stack, before a later call clears it. */
static herr_t KeepMessage(hid_t stack, void *context)
{
  (void)context;
  return H5Ewalk2(stack, H5E_WALK_UPWARD, CopyInnermost, NULL) < 0 ? -1 : 0;
}

const char *CkHDF5Message(void)
{
  return message;
}

uint64_t CkChecksum(uint64_t hash, const void *data, size_t bytes)
{
  const unsigned char *byte = data;

  if (hash == 0) hash = UINT64_C(0xcbf29ce484222325);
  for (size_t i = 0; i < bytes; ++i) hash = (hash ^ byte[i]) * UINT64_C(0x100000001b3);
  return hash;
}

void CkFileFail(CkFile file, const char path[], CkVerdict *verdict, PetscErrorCode code, const char format[], ...)
{
  char    text[768];
  va_list arguments;

  va_start(arguments, format);
  (void)vsnprintf(text, sizeof(text), format, arguments);
  va_end(arguments);
  CkVerdictFail(verdict, code, "%s%s%s: %s", file->name, path ? ":" : "", path ? path : "", text);
}

void CkFileFailHDF5(CkFile file, const char path[], CkVerdict *verdict, PetscErrorCode code, const char what[])
{
  CkFileFail(file, path, verdict, code, "%s (HDF5: %s)", what, CkHDF5Message());
}

static void FileFree(CkFile file)
{
  for (PetscInt i = 0; i < file->n_records; ++i) {
    (void)PetscFree(file->records[i].path);
    (void)PetscFree(file->records[i].attribute);
    if (file->records[i].type > 0) (void)H5Tclose(file->records[i].type);
  }
  for (PetscInt i = 0; i < file->n_datasets; ++i) (void)PetscFree(file->datasets[i].path);
  (void)PetscFree(file->records);
  (void)PetscFree(file->datasets);
  file->n_records = file->n_datasets = file->room_records = file->room_datasets = 0;
}

/* Closes what is open and removes the temporary file; after that HDF5 can be shut down in order. Where even that cannot
   be had, the error has been told and the run is ended here. Collective. */
static PetscErrorCode FileAbandon(CkFile file, PetscErrorCode ierr)
{
  int error = 0;

  PetscFunctionBeginUser;
  file->growing = 0; /* what is closed now needs none of it */
  if (file->temporary) {
    if (file->rank == 0) (void)truncate(file->temporary, 0); /* room for what closing will write */
    if (file->id >= 0) PetscCall(CkFileOccupyMetadata(file, &error));
    if (file->rank == 0) (void)unlink(file->temporary);
    CkFileForgetTemporary(file->temporary);
  }
  if (error || file->damaged) {
    if (file->rank == 0) PetscCallMPI(MPI_Abort(PETSC_COMM_WORLD, CkErrorExitCode(ierr)));
    PetscCallMPI(MPI_Barrier(file->comm)); /* wait for it */
  }
  if (file->id >= 0) (void)H5Fclose(file->id);
  file->id = H5I_INVALID_HID;
  PetscCall(PetscFree(file->temporary));
  FileFree(file);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode AbandonAll(void)
{
  PetscFunctionBeginUser;
  while (open_files) {
    CkFile file = open_files;

    PetscCall(CkFileDestroy(&file));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode FileNew(MPI_Comm comm, const char name[], CkFile *file)
{
  CkFile f;

  PetscFunctionBeginUser;
  PetscCall(PetscNew(&f));
  PetscCall(PetscCommDuplicate(comm, &f->comm, NULL));
  PetscCallMPI(MPI_Comm_rank(comm, &f->rank));
  PetscCall(PetscStrallocpy(name, &f->name));
  /* Our files are closed by us; at exit HDF5 would go on trying to write what a full disk has refused. Fails, and does
     no harm, where HDF5 has been opened before. */
  (void)H5dont_atexit();
  CkCallHDF5(H5open());
  CkCallHDF5(H5Eset_auto2(H5E_DEFAULT, KeepMessage, NULL)); /* failures are told once, by us */
  f->id = H5I_INVALID_HID;
  f->piece = PIECE_BYTES;
  if (!open_files) PetscCall(PetscRegisterFinalize(AbandonAll));
  f->next = open_files;
  open_files = f;
  *file = f;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkFileDestroy(CkFile *file)
{
  CkFile *link = &open_files, f = *file;

  PetscFunctionBeginUser;
  if (!f) PetscFunctionReturn(PETSC_SUCCESS);
  while (*link && *link != f) link = &(*link)->next;
  if (*link) *link = f->next;
  PetscCall(FileAbandon(f, PETSC_ERR_FILE_WRITE));
  PetscCall(PetscFree(f->name));
  PetscCall(PetscCommDestroy(&f->comm));
  PetscCall(PetscFree(f));
  *file = NULL;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkFileGetName(CkFile file, const char **name)
{
  PetscFunctionBeginUser;
  *name = file->name;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkFileConclude(CkFile file, const CkVerdict *verdict)
{
  PetscErrorCode ierr;

  PetscFunctionBeginUser;
  ierr = CkCheckVerdict(file->comm, verdict);
  if (ierr && file->temporary) PetscCall(FileAbandon(file, ierr));
  PetscCall(ierr);
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkFileCheckOpen(CkFile file, PetscBool writing)
{
  PetscFunctionBeginUser;
  PetscCheck(file->id >= 0, PETSC_COMM_SELF, PETSC_ERR_ARG_WRONGSTATE,
             "%s is closed: it was committed, or an earlier call failed", file->name);
  PetscCheck(!writing || file->temporary, PETSC_COMM_SELF, PETSC_ERR_ARG_WRONGSTATE, "%s is open for reading only",
             file->name);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static void FolderOf(const char name[], char folder[PETSC_MAX_PATH_LEN])
{
  char *slash;

  (void)PetscStrncpy(folder, name, PETSC_MAX_PATH_LEN);
  slash = strrchr(folder, '/');
  if (!slash) (void)PetscStrncpy(folder, ".", PETSC_MAX_PATH_LEN);
  else if (slash == folder) slash[1] = '\0';
  else *slash = '\0';
}

void CkFileFolder(CkFile file, char folder[PETSC_MAX_PATH_LEN])
{
  FolderOf(file->name, folder);
}

/* Rank 0: can the file be put there? */
static void CheckTarget(CkFile file, CkVerdict *verdict)
{
  char        folder[PETSC_MAX_PATH_LEN];
  struct stat status;

  if (strlen(file->name) + 40 > PETSC_MAX_PATH_LEN) {
    CkFileFail(file, NULL, verdict, PETSC_ERR_FILE_OPEN, "the name is longer than %d bytes", PETSC_MAX_PATH_LEN - 40);
    return;
  }
  CkFileFolder(file, folder);
  if (strchr(file->name, ':')) {
    CkFileFail(file, NULL, verdict, PETSC_ERR_FILE_OPEN, "%s", colon);
  } else if (!*file->name || file->name[strlen(file->name) - 1] == '/') {
    CkFileFail(file, NULL, verdict, PETSC_ERR_FILE_OPEN, "is the name of a folder, not of a file");
  } else if (stat(folder, &status)) {
    CkFileFail(file, NULL, verdict, PETSC_ERR_FILE_OPEN, "folder %s: %s; create it first", folder, strerror(errno));
  } else if (!S_ISDIR(status.st_mode)) {
    CkFileFail(file, NULL, verdict, PETSC_ERR_FILE_OPEN, "%s is not a folder", folder);
  } else if (access(folder, W_OK | X_OK)) {
    CkFileFail(file, NULL, verdict, PETSC_ERR_FILE_OPEN, "folder %s is not writable: %s", folder, strerror(errno));
  } else if (!stat(file->name, &status) && !S_ISREG(status.st_mode)) {
    CkFileFail(file, NULL, verdict, PETSC_ERR_FILE_OPEN, "exists and is not a regular file");
  }
}

/* Metadata stay in memory until the file is flushed. */
static herr_t KeepMetadata(hid_t access)
{
  H5AC_cache_config_t config = {.version = H5AC__CURR_CACHE_CONFIG_VERSION};

  if (H5Pget_mdc_config(access, &config) < 0) return -1;
  config.evictions_enabled = false;
  config.incr_mode = H5C_incr__off;
  config.flash_incr_mode = H5C_flash_incr__off;
  config.decr_mode = H5C_decr__off;
  return H5Pset_mdc_config(access, &config);
}

static hid_t ParallelAccess(MPI_Comm comm, PetscBool writing)
{
  hid_t access = H5Pcreate(H5P_FILE_ACCESS);

  /* Metadata with checksums (V110), written collectively, so that a failure shows on all ranks alike. A close that a
     forgotten handle prevents would crash MPI_Finalize(). */
  if (access < 0 || H5Pset_fapl_mpio(access, comm, MPI_INFO_NULL) < 0 ||
      H5Pset_libver_bounds(access, H5F_LIBVER_V110, H5F_LIBVER_V110) < 0 ||
      H5Pset_fclose_degree(access, H5F_CLOSE_STRONG) < 0 || H5Pset_coll_metadata_write(access, true) < 0 ||
      H5Pset_meta_block_size(access, CK_FILE_BLOCK_BYTES) < 0 || (writing && KeepMetadata(access) < 0)) {
    if (access >= 0) (void)H5Pclose(access);
    return H5I_INVALID_HID;
  }
  return access;
}

hid_t CkFileOpenParallel(MPI_Comm comm, const char name[], PetscBool writing)
{
  hid_t access = ParallelAccess(comm, writing), id;

  if (access < 0) return access;
  id = H5Fopen(name, writing ? H5F_ACC_RDWR : H5F_ACC_RDONLY, access);
  (void)H5Pclose(access);
  return id;
}

/* The temporary file with room for the first metadata, then with HDF5 in it, which begins by emptying it. */
static PetscErrorCode CreateTemporary(CkFile file)
{
  CkVerdict verdict = {0};
  hid_t     access;
  int       error;

  PetscFunctionBeginUser;
  for (int with_hdf5 = 0; with_hdf5 < 2; ++with_hdf5) {
    if (with_hdf5) {
      access = ParallelAccess(file->comm, PETSC_TRUE);
      file->id = access < 0 ? access : H5Fcreate(file->temporary, H5F_ACC_TRUNC, H5P_DEFAULT, access);
      if (file->id < 0) CkFileFailHDF5(file, NULL, &verdict, PETSC_ERR_FILE_OPEN, "cannot be created");
      if (access >= 0) (void)H5Pclose(access);
      PetscCall(CkFileConclude(file, &verdict));
    }
    PetscCall(CkFileOccupyMetadata(file, &error));
    if (error) CkFileFail(file, NULL, &verdict, PETSC_ERR_FILE_OPEN, "cannot be created: %s", strerror(error));
    PetscCall(CkFileConclude(file, &verdict));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkFileCreate(MPI_Comm comm, const char name[], CkFile *file)
{
  CkVerdict verdict = {0};
  char      temporary[PETSC_MAX_PATH_LEN] = "";
  CkFile    f;

  PetscFunctionBeginUser;
  *file = NULL;
  PetscCall(CkFileCheckOutput(comm, name));
  PetscCall(FileNew(comm, name, &f));
  *file = f;
  if (f->rank == 0) {
    CheckTarget(f, &verdict);
    PetscCall(CkFileNameTemporary(f, temporary));
  }
  PetscCall(CkFileConclude(f, &verdict));
  if (f->rank == 0) CkFileRemoveStale(f);
  PetscCall(CkFileCheckSpace(f, 0));
  PetscCallMPI(MPI_Bcast(temporary, PETSC_MAX_PATH_LEN, MPI_CHAR, 0, f->comm));
  PetscCall(PetscStrallocpy(temporary, &f->temporary));
  if (f->rank == 0) CkFileNoteTemporary(temporary);
  PetscCall(CreateTemporary(f));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Rank 0: is it there, readable and HDF5? */
static void CheckSource(CkFile file, CkVerdict *verdict)
{
  struct stat status;
  int         descriptor;

  if (strchr(file->name, ':')) {
    CkFileFail(file, NULL, verdict, PETSC_ERR_FILE_OPEN, "%s", colon);
  } else if (stat(file->name, &status)) {
    CkFileFail(file, NULL, verdict, PETSC_ERR_FILE_OPEN, "%s", strerror(errno));
  } else if (!S_ISREG(status.st_mode)) {
    CkFileFail(file, NULL, verdict, PETSC_ERR_FILE_OPEN, "is not a regular file");
  } else if ((descriptor = open(file->name, O_RDONLY | O_CLOEXEC)) < 0) {
    CkFileFail(file, NULL, verdict, PETSC_ERR_FILE_OPEN, "cannot be read: %s", strerror(errno));
  } else {
    (void)close(descriptor);
    if (H5Fis_hdf5(file->name) <= 0) {
      CkFileFail(file, NULL, verdict, PETSC_ERR_FILE_UNEXPECTED, "is not an HDF5 file (%lld bytes)",
                 (long long)status.st_size);
    }
  }
}

static PetscErrorCode FileOpen(MPI_Comm comm, const char name[], PetscBool writing, CkFile *file)
{
  CkVerdict verdict = {0};
  CkFile    f;

  PetscFunctionBeginUser;
  *file = NULL;
  PetscCall(FileNew(comm, name, &f));
  *file = f;
  f->update = writing;
  if (f->rank == 0) CheckSource(f, &verdict);
  PetscCall(CkFileConclude(f, &verdict));
  f->id = CkFileOpenParallel(f->comm, name, writing);
  if (f->id < 0) {
    CkFileFailHDF5(f, NULL, &verdict, PETSC_ERR_FILE_READ, "cannot be opened; truncated or damaged?");
  }
  PetscCall(CkFileConclude(f, &verdict));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkFileOpen(MPI_Comm comm, const char name[], CkFile *file)
{
  PetscFunctionBeginUser;
  PetscCall(FileOpen(comm, name, PETSC_FALSE, file));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkFileOpenUpdate(MPI_Comm comm, const char name[], CkFile *file)
{
  PetscFunctionBeginUser;
  PetscCall(FileOpen(comm, name, PETSC_TRUE, file));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* A dataset some rows of which nobody wrote would hold whatever the disk held; of one that grows they come later. */
static PetscErrorCode CheckComplete(CkFile file)
{
  PetscInt64 *written;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc1(file->n_datasets, &written));
  for (PetscInt i = 0; i < file->n_datasets; ++i) written[i] = file->datasets[i].written;
  PetscCall(MPIU_Allreduce(MPI_IN_PLACE, written, (PetscMPIInt)file->n_datasets, MPIU_INT64, MPI_SUM, file->comm));
  for (PetscInt i = 0; i < file->n_datasets; ++i) {
    const CkFileDataset *dataset = &file->datasets[i];

    if (dataset->growing) continue;
    PetscCheck(written[i] == dataset->rows, file->comm, PETSC_ERR_ORDER,
               "%s:%s: %" PetscInt64_FMT " rows written of %" PetscInt64_FMT, file->name, dataset->path, written[i],
               dataset->rows);
  }
  PetscCall(PetscFree(written));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Reads back what this rank wrote; rank 0 also the attributes, which all ranks wrote alike. Collective. */
static PetscErrorCode Verify(CkFile file)
{
  CkVerdict   verdict = {0};
  const hid_t id = CkFileOpenParallel(file->comm, file->temporary, PETSC_FALSE);

  PetscFunctionBeginUser;
  if (id < 0) CkFileFailHDF5(file, NULL, &verdict, PETSC_ERR_FILE_WRITE, "cannot be read back; disk full?");
  for (PetscInt i = 0; id >= 0 && !verdict.code && i < file->n_records; ++i) {
    if (!file->records[i].attribute) CkFileVerifyRows(file, id, &file->records[i], &verdict);
    else if (file->rank == 0) CkFileVerifyAttribute(file, id, &file->records[i], &verdict);
  }
  if (id >= 0) (void)H5Fclose(id);
  PetscCall(CkFileConclude(file, &verdict));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static int SyncPath(const char path[], int flags)
{
  const int descriptor = open(path, flags | O_CLOEXEC);
  int       failed;

  if (descriptor < 0) return -1;
  failed = fsync(descriptor);
  return close(descriptor) || failed ? -1 : 0;
}

/* Rank 0: file to the disk, name in place, folder to the disk. */
static void Publish(const char from[], const char to[], CkVerdict *verdict)
{
  char folder[PETSC_MAX_PATH_LEN];

  FolderOf(to, folder);
  if (SyncPath(from, O_RDWR)) {
    CkVerdictFail(verdict, PETSC_ERR_FILE_WRITE, "%s: fsync: %s", to, strerror(errno));
  } else if (rename(from, to)) {
    CkVerdictFail(verdict, PETSC_ERR_FILE_WRITE, "%s: cannot be renamed from %s: %s", to, from, strerror(errno));
  } else if (SyncPath(folder, O_RDONLY | O_DIRECTORY)) {
    CkVerdictFail(verdict, PETSC_ERR_FILE_WRITE, "%s: fsync of folder %s: %s", to, folder, strerror(errno));
  }
}

PetscErrorCode CkFileRename(MPI_Comm comm, const char from[], const char to[])
{
  CkVerdict   verdict = {0};
  PetscMPIInt rank;

  PetscFunctionBeginUser;
  PetscCallMPI(MPI_Comm_rank(comm, &rank));
  PetscCallMPI(MPI_Barrier(comm)); /* nobody has it open any more */
  if (rank == 0) Publish(from, to, &verdict);
  PetscCall(CkCheckVerdict(comm, &verdict));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Metadata to the disk, file closed. */
static PetscErrorCode FlushAndClose(CkFile file)
{
  CkVerdict verdict = {0};
  int       error;

  PetscFunctionBeginUser;
  PetscCall(CkFileOccupyMetadata(file, &error));
  if (error) CkFileFail(file, NULL, &verdict, PETSC_ERR_FILE_WRITE, "cannot be written: %s", strerror(error));
  PetscCall(CkFileConclude(file, &verdict));
  if (H5Fflush(file->id, H5F_SCOPE_GLOBAL) < 0 || H5Fclose(file->id) < 0) {
    CkFileFailHDF5(file, NULL, &verdict, PETSC_ERR_FILE_WRITE, "cannot be flushed and closed; disk full?");
    file->damaged = PETSC_TRUE;
  }
  file->id = H5I_INVALID_HID;
  PetscCall(CkFileConclude(file, &verdict));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkFileSeal(CkFile file)
{
  PetscFunctionBeginUser;
  PetscCall(CkFileCheckOpen(file, PETSC_TRUE));
  file->sealed = PETSC_TRUE;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkFileCommit(CkFile file)
{
  CkVerdict verdict = {0};

  PetscFunctionBeginUser;
  PetscCall(CkFileCheckOpen(file, PETSC_TRUE));
  PetscCall(CheckComplete(file));
  PetscCall(FlushAndClose(file));
  PetscCall(Verify(file));
  if (file->sealed) PetscCall(CkFileAppendSeal(file));
  if (file->rank == 0) Publish(file->temporary, file->name, &verdict);
  PetscCall(CkFileConclude(file, &verdict));
  CkFileForgetTemporary(file->temporary);
  PetscCall(PetscFree(file->temporary));
  PetscFunctionReturn(PETSC_SUCCESS);
}
