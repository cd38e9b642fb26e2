#include <clarkia/error.h>
#include <clarkia/file.h>

/* file_eigenvectors.c: /eigenvectors of a spectrum file, that several commands start from. */

PetscErrorCode CkFileCountEigenvectors(MPI_Comm comm, const char key[], const char name[], PetscInt64 d,
                                       PetscInt64 *count)
{
  CkFile     file;
  PetscBool  exists;
  int        rank;
  PetscInt64 shape[CK_MAX_RANK];

  PetscFunctionBeginUser;
  PetscCall(CkFileOpen(comm, name, &file));
  PetscCall(CkFileExists(file, "/eigenvectors", &exists));
  CkCheckAll(comm, exists, PETSC_ERR_FILE_UNEXPECTED,
             "-%s %s: the file holds no eigenvectors; compute it with -spectrum_vectors", key, name);
  PetscCall(CkFileGetDataset(file, "/eigenvectors", NULL, &rank, shape));
  PetscCall(CkFileDestroy(&file));
  CkCheckAll(comm, rank == 2 && shape[0] >= 1 && shape[1] == d, PETSC_ERR_ARG_SIZ,
             "-%s %s: its eigenvectors have dimension %" PetscInt64_FMT ", and there are %" PetscInt64_FMT
             " weights; take a spectrum of the same network",
             key, name, rank == 2 ? shape[1] : shape[0], d);
  *count = shape[0];
  PetscFunctionReturn(PETSC_SUCCESS);
}
