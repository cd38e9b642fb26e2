#include <errno.h>
#include <fcntl.h>
#include <file_private.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/*
  file_seal.c: a checksum of all bytes of a file, behind what HDF5 reads: "\nclarkia seal <16 hexadecimal digits>\n".
  Pieces of a megabyte are hashed by the ranks in turn and added, so that it is the same on any number of ranks. Each
  step of the hash is a bijection: a change within one piece never goes unseen.
*/

#define SEAL_BYTES 31 /* without the null byte */
#define PIECE (1 << 20)

static uint64_t Mix(uint64_t hash, uint64_t word)
{
  hash = (hash ^ word) * UINT64_C(0x9e3779b97f4a7c15);
  return hash ^ (hash >> 32);
}

static uint64_t HashPiece(PetscInt64 number, const unsigned char bytes[], size_t n)
{
  uint64_t hash = Mix((uint64_t)n, (uint64_t)number);

  for (size_t i = 0; i < n; i += sizeof(uint64_t)) {
    uint64_t word = 0;

    memcpy(&word, bytes + i, PetscMin(n - i, sizeof(word)));
    hash = Mix(hash, word);
  }
  return Mix(hash, 0);
}

/* Rank-local: bytes first .. first + n. */
static int ReadBytes(int descriptor, off_t first, size_t n, unsigned char bytes[])
{
  for (size_t done = 0; done < n;) {
    const ssize_t got = pread(descriptor, bytes + done, n - done, first + (off_t)done);

    if (got <= 0) return got < 0 ? errno : EIO;
    done += (size_t)got;
  }
  return 0;
}

/* Sum over this rank's pieces of the first `size` bytes. */
static void HashMine(MPI_Comm comm, const char name[], off_t size, uint64_t *sum, CkVerdict *verdict)
{
  const int      descriptor = open(name, O_RDONLY | O_CLOEXEC);
  unsigned char *bytes = NULL;
  PetscMPIInt    rank, ranks;
  int            error = descriptor < 0 ? errno : 0;

  MPI_Comm_rank(comm, &rank);
  MPI_Comm_size(comm, &ranks);
  if (!error && PetscMalloc1(PIECE, &bytes)) error = ENOMEM;
  *sum = 0;
  for (off_t piece = rank; !error && piece * PIECE < size; piece += ranks) {
    const size_t n = (size_t)PetscMin((off_t)PIECE, size - piece * PIECE);

    error = ReadBytes(descriptor, piece * PIECE, n, bytes);
    if (!error) *sum += HashPiece((PetscInt64)piece, bytes, n);
  }
  (void)PetscFree(bytes);
  if (descriptor >= 0) (void)close(descriptor);
  if (error) CkVerdictFail(verdict, PETSC_ERR_FILE_READ, "%s cannot be read: %s", name, strerror(error));
}

/* The seal that belongs behind the first `size` bytes; the same on all ranks. */
static PetscErrorCode MakeSeal(MPI_Comm comm, const char name[], off_t size, char seal[SEAL_BYTES + 1])
{
  CkVerdict verdict = {0};
  uint64_t  sum;

  PetscFunctionBeginUser;
  HashMine(comm, name, size, &sum, &verdict);
  PetscCall(CkCheckVerdict(comm, &verdict));
  PetscCallMPI(MPI_Allreduce(MPI_IN_PLACE, &sum, 1, MPI_UINT64_T, MPI_SUM, comm));
  snprintf(seal, SEAL_BYTES + 1, "\nclarkia seal %016llx\n", (unsigned long long)Mix(sum, (uint64_t)size));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Rank 0's. */
static PetscErrorCode FileSize(MPI_Comm comm, const char name[], PetscInt64 *size)
{
  PetscMPIInt rank;
  struct stat status;

  PetscFunctionBeginUser;
  PetscCallMPI(MPI_Comm_rank(comm, &rank));
  *size = rank == 0 && stat(name, &status) == 0 ? (PetscInt64)status.st_size : -1;
  PetscCallMPI(MPI_Bcast(size, 1, MPIU_INT64, 0, comm));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkFileAppendSeal(CkFile file)
{
  CkVerdict  verdict = {0};
  char       seal[SEAL_BYTES + 1];
  PetscInt64 size;

  PetscFunctionBeginUser;
  PetscCall(FileSize(file->comm, file->temporary, &size));
  PetscCall(MakeSeal(file->comm, file->temporary, (off_t)size, seal));
  if (file->rank == 0) {
    const int descriptor = open(file->temporary, O_WRONLY | O_APPEND | O_CLOEXEC);

    if (descriptor < 0 || write(descriptor, seal, SEAL_BYTES) != SEAL_BYTES || close(descriptor))
      CkFileFail(file, NULL, &verdict, PETSC_ERR_FILE_WRITE, "cannot be written: %s", strerror(errno));
  }
  PetscCall(CkFileConclude(file, &verdict));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkFileCheckSeal(MPI_Comm comm, const char name[])
{
  char        wanted[SEAL_BYTES + 1], found[SEAL_BYTES + 1] = "";
  PetscInt64  size;
  PetscMPIInt rank;
  int         descriptor;

  PetscFunctionBeginUser;
  PetscCallMPI(MPI_Comm_rank(comm, &rank));
  PetscCall(FileSize(comm, name, &size));
  CkCheckAll(comm, size > SEAL_BYTES, PETSC_ERR_FILE_UNEXPECTED, "%s: cannot be read, or is truncated", name);
  PetscCall(MakeSeal(comm, name, (off_t)(size - SEAL_BYTES), wanted));
  if (rank == 0 && (descriptor = open(name, O_RDONLY | O_CLOEXEC)) >= 0) {
    (void)ReadBytes(descriptor, (off_t)(size - SEAL_BYTES), SEAL_BYTES, (unsigned char *)found);
    (void)close(descriptor);
  }
  CkCheckAll(comm, rank > 0 || strcmp(wanted, found) == 0, PETSC_ERR_FILE_UNEXPECTED,
             "%s is damaged, or is no file of this kind: its checksum is not that of its bytes", name);
  PetscFunctionReturn(PETSC_SUCCESS);
}
