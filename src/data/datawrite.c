#include "dataimpl.h"
#include <clarkia/progress.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* datawrite.c: a data set as Clarkia's HDF5 (docs/formats.md, "Data set"): training split at the root, test split under
 * /test. */

/* The samples as they stand in the store; each rank writes its run. */
static PetscErrorCode WriteSplit(CkData data, CkFile file, const char prefix[])
{
  const PetscInt   n = data->selection.n;
  const PetscInt64 shape[4] = {n, data->stored_shape.c, data->stored_shape.h, data->stored_shape.w};
  const PetscInt64 begin = CkPartStart(n, data->ranks, data->rank), end = CkPartStart(n, data->ranks, data->rank + 1);
  char             name[64];

  PetscFunctionBeginUser;
  snprintf(name, sizeof(name), "%s/features", prefix);
  PetscCall(CkFileCreateDataset(file, name, data->stored_type, 4, shape, "1",
                                "samples x channels x height x width; /transform/map_scale and map_shift give what is used"));
  PetscCall(CkFileWriteRows(file, name, data->stored_type, begin, end - begin,
                            data->store.bytes + (size_t)begin * CkDataRowBytes(data)));
  snprintf(name, sizeof(name), "%s/labels", prefix);
  PetscCall(CkFileWriteAll(file, name, CK_I32, 1, shape, data->labels, "1", "class number of each sample"));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode WriteNames(CkData data, CkFile file)
{
  char  *text;
  size_t used = 0;

  PetscFunctionBeginUser;
  if (!data->names) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(PetscCalloc1(CK_CLASS_NAMES_LENGTH, &text));
  for (PetscInt c = 0; c < data->classes && used < CK_CLASS_NAMES_LENGTH; ++c)
    used += (size_t)snprintf(text + used, CK_CLASS_NAMES_LENGTH - used, "%s%s", c ? "\n" : "", data->names[c]);
  if (used < CK_CLASS_NAMES_LENGTH) PetscCall(CkFileWriteString(file, "/", "class_names", text));
  else PetscCall(CkLog(data->comm, "the class names are too long to be stored; classes keep their numbers"));
  PetscCall(PetscFree(text));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkDataWrite(CkData data, CkData test, const char name[])
{
  char   checksum[32];
  CkFile file;

  PetscFunctionBeginUser;
  PetscCheck(data->setup && (!test || test->setup), data->comm, PETSC_ERR_ORDER, "Call CkDataSetUp() first");
  PetscCall(CkFileCreate(data->comm, name, &file));
  PetscCall(CkFileWriteString(file, "/", "format", CK_DATA_FORMAT));
  PetscCall(CkFileWriteString(file, "/", "title", data->reader->title));
  PetscCall(CkFileWriteString(file, "/", "samples", data->description));
  PetscCall(CkFileWriteInt(file, "/", "classes", data->classes));
  snprintf(checksum, sizeof(checksum), "%016" PRIx64, data->checksum);
  PetscCall(CkFileWriteString(file, "/", "data_checksum", checksum));
  PetscCall(WriteNames(data, file));
  PetscCall(CkDataWriteTransforms(data, file));
  PetscCall(WriteSplit(data, file, ""));
  if (test) {
    PetscCall(CkFileCreateGroup(file, "/test"));
    PetscCall(WriteSplit(test, file, "/test"));
  }
  PetscCall(CkFileWriteProvenance(file));
  PetscCall(CkFileCommit(file));
  PetscCall(CkFileDestroy(&file));
  PetscFunctionReturn(PETSC_SUCCESS);
}
