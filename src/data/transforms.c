#include "transform.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

static const CkTransformOps *const transforms[] = {&CkTransformPool, &CkTransformScale, &CkTransformStandardise,
                                                   &CkTransformGcn, &CkTransformZca};
static const PetscInt              ntransforms = (PetscInt)(sizeof(transforms) / sizeof(transforms[0]));

PetscErrorCode CkTransformNames(char text[], size_t length)
{
  size_t used = 0;

  PetscFunctionBeginUser;
  text[0] = '\0';
  for (PetscInt i = 0; i < ntransforms && used < length; ++i)
    used += (size_t)snprintf(text + used, length - used, "%s%s", i ? ", " : "", transforms[i]->name);
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkTransformCreate(MPI_Comm comm, const char name[], CkTransform *t)
{
  PetscFunctionBeginUser;
  *t = NULL;
  for (PetscInt i = 0; i < ntransforms; ++i) {
    if (strcmp(transforms[i]->name, name) != 0) continue;
    PetscCall(PetscNew(t));
    (*t)->ops = transforms[i];
    PetscCall(PetscCommDuplicate(comm, &(*t)->comm, NULL)); /* a test split may outlive its training split */
    (*t)->references = 1;
    (*t)->ready = (PetscBool)!transforms[i]->fitted;
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkTransformReference(CkTransform t)
{
  PetscFunctionBeginUser;
  ++t->references;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkTransformDestroy(CkTransform *t)
{
  PetscFunctionBeginUser;
  if (*t && --(*t)->references == 0) {
    if ((*t)->ops->destroy) PetscCall((*(*t)->ops->destroy)(*t));
    PetscCall(PetscCommDestroy(&(*t)->comm));
    PetscCall(PetscFree(*t));
  }
  *t = NULL;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkTransformWriteArray(CkFile file, const char group[], const char name[], int rank,
                                     const PetscInt64 shape[], const double values[], const char description[])
{
  char path[256];

  PetscFunctionBeginUser;
  snprintf(path, sizeof(path), "%s/%s", group, name);
  PetscCall(CkFileWriteAll(file, path, CK_F64, rank, shape, values, "1", description));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkTransformReadArray(CkFile file, MPI_Comm comm, const char group[], const char name[], int rank,
                                    const PetscInt64 shape[], double values[])
{
  char        path[256];
  const char *filename;
  CkType      type;
  int         there;
  PetscInt64  dims[CK_MAX_RANK];
  PetscBool   same;
  size_t      numbers = 1;

  PetscFunctionBeginUser;
  snprintf(path, sizeof(path), "%s/%s", group, name);
  PetscCall(CkFileGetName(file, &filename));
  PetscCall(CkFileGetDataset(file, path, &type, &there, dims));
  same = (PetscBool)(there == rank && (type == CK_F64 || type == CK_F32));
  for (int i = 0; same && i < rank; ++i) same = (PetscBool)(dims[i] == shape[i]);
  CkCheckAll(comm, same, PETSC_ERR_FILE_UNEXPECTED,
             "%s:%s has %d axes, the first of %" PetscInt64_FMT "; the samples need %d, the first of %" PetscInt64_FMT
             ": it belongs to a data set of another shape",
             filename, path, there, dims[0], rank, shape[0]);
  PetscCall(CkFileReadAll(file, path, CK_F64, values));
  for (int i = 0; i < rank; ++i) numbers *= (size_t)shape[i];
  for (size_t i = 0; i < numbers && same; ++i) same = (PetscBool)(isfinite(values[i]) != 0);
  CkCheckAll(comm, same, PETSC_ERR_FP, "%s:%s holds a number that is not finite; import the data again", filename,
             path);
  PetscFunctionReturn(PETSC_SUCCESS);
}
