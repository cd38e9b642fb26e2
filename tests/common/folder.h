#pragma once
#include "testing.h"
#include <stdlib.h>
#include <unistd.h>

/* folder.h: a temporary folder of the test program, the same on all ranks; MakeFolder() is a set-up of a cmocka group.
 */
static char folder[64];

/* A file in it; the text is good until the next call. */
static inline const char *Path(const char name[])
{
  static char path[256];

  snprintf(path, sizeof(path), "%s/%s", folder, name);
  return path;
}

static inline int MakeFolder(void **state)
{
  char        name[64];
  PetscMPIInt rank;

  (void)state;
  MPI_Comm_rank(PETSC_COMM_WORLD, &rank);
  /* in memory where possible: files are synced to the disk, which may be busy */
  snprintf(name, sizeof(name), "%s/clarkia-test-XXXXXX", access("/dev/shm", W_OK | X_OK) ? "/tmp" : "/dev/shm");
  if (rank == 0 && mkdtemp(name)) snprintf(folder, sizeof(folder), "%s", name);
  MPI_Bcast(folder, sizeof(folder), MPI_CHAR, 0, PETSC_COMM_WORLD);
  return folder[0] ? 0 : 1;
}

/* Removes the files of these names and the folder: fails where anything else was left in it. */
static inline int RemoveFolderOf(size_t n, const char *const names[])
{
  PetscMPIInt rank;

  MPI_Barrier(PETSC_COMM_WORLD);
  MPI_Comm_rank(PETSC_COMM_WORLD, &rank);
  for (size_t i = 0; rank == 0 && i < n; ++i) unlink(Path(names[i]));
  return rank == 0 ? rmdir(folder) : 0;
}
