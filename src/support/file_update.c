#include <file_private.h>

/* file_update.c: boxes of numbers in and out of datasets, and files that are filled bit by bit. */

/* Rank-local: opens the dataset and checks the box. */
static void OpenBox(CkFile file, const char path[], const PetscInt64 start[], const PetscInt64 count[],
                    CkVerdict *verdict, CkFileDatasetHandle *dataset)
{
  CkFileOpenDataset(file, file->id, path, verdict, dataset);
  for (int i = 0; i < dataset->rank && !verdict->code; ++i) {
    if (start[i] >= 0 && count[i] >= 0 && count[i] <= dataset->shape[i] && start[i] <= dataset->shape[i] - count[i])
      continue;
    CkFileFail(file, path, verdict, PETSC_ERR_ARG_OUTOFRANGE,
               "axis %d: %" PetscInt64_FMT " to %" PetscInt64_FMT " asked for, it has %" PetscInt64_FMT, i, start[i],
               start[i] + count[i] - 1, dataset->shape[i]);
    CkFileCloseDataset(dataset);
  }
}

PetscErrorCode CkFileReadBox(CkFile file, const char path[], CkType type, const PetscInt64 start[],
                             const PetscInt64 count[], void *data)
{
  CkVerdict           verdict = {0};
  CkFileDatasetHandle dataset;
  PetscBool           inexact;

  PetscFunctionBeginUser;
  PetscCall(CkFileCheckOpen(file, PETSC_FALSE));
  OpenBox(file, path, start, count, &verdict, &dataset);
  if (!verdict.code && CkFileTransferBox(file, &dataset, PETSC_FALSE, type, start, count, data, &inexact) < 0)
    CkFileFailRead(file, path, &verdict, dataset.type, type, inexact);
  CkFileCloseDataset(&dataset);
  PetscCall(CkFileConclude(file, &verdict));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode CheckUpdate(CkFile file)
{
  PetscFunctionBeginUser;
  PetscCall(CkFileCheckOpen(file, PETSC_FALSE));
  PetscCheck(file->update, PETSC_COMM_SELF, PETSC_ERR_ARG_WRONGSTATE, "%s is not open for update", file->name);
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkFileUpdateBox(CkFile file, const char path[], CkType type, const PetscInt64 start[],
                               const PetscInt64 count[], const void *data)
{
  CkVerdict           verdict = {0};
  CkFileDatasetHandle dataset;
  PetscBool           inexact;

  PetscFunctionBeginUser;
  PetscCall(CheckUpdate(file));
  OpenBox(file, path, start, count, &verdict, &dataset);
  if (!verdict.code && type != dataset.type) {
    CkFileFail(file, path, &verdict, PETSC_ERR_ARG_WRONG, "is of type %s, %s given", CkTypeName(dataset.type),
               CkTypeName(type));
  }
  if (!verdict.code && CkFileTransferBox(file, &dataset, PETSC_TRUE, type, start, count, (void *)data, &inexact) < 0) {
    CkFileFailHDF5(file, path, &verdict, PETSC_ERR_FILE_WRITE, "cannot be written; disk full?");
  }
  CkFileCloseDataset(&dataset);
  PetscCall(CkFileConclude(file, &verdict));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkFileSync(CkFile file)
{
  CkVerdict verdict = {0};

  PetscFunctionBeginUser;
  PetscCall(CheckUpdate(file));
  if (H5Fflush(file->id, H5F_SCOPE_GLOBAL) < 0) {
    CkFileFailHDF5(file, NULL, &verdict, PETSC_ERR_FILE_WRITE, "cannot be written to the disk; disk full?");
  }
  PetscCall(CkFileConclude(file, &verdict));
  PetscFunctionReturn(PETSC_SUCCESS);
}
