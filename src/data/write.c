#include "dataimpl.h"
#include <clarkia/progress.h>
#include <stdio.h>
#include <string.h>

/* write.c: a data set as Clarkia's HDF5: docs/formats.md, "Data set". */

static PetscErrorCode WriteSplit(CkData data, CkFile file, const char prefix[])
{
  const CkShape    s = data->stored_shape;
  const PetscInt64 n = data->selection.n, shape[4] = {n, s.c, s.h, s.w};
  const PetscInt64 first = CkPartStart(n, data->ranks, data->rank);
  const PetscInt64 count = CkPartStart(n, data->ranks, data->rank + 1) - first;
  char             path[64], text[32];

  PetscFunctionBeginUser;
  snprintf(path, sizeof(path), "%s/features", prefix);
  PetscCall(
    CkFileCreateDataset(file, path, data->stored_type, 4, shape, "1",
                        "samples [sample, channel, height, width]; used as map_scale x + map_shift of /transform"));
  PetscCall(CkFileWriteRows(file, path, data->stored_type, first, count,
                            data->store.bytes + (size_t)first * CkDataRowBytes(data)));
  snprintf(path, sizeof(path), "%s/labels", prefix);
  PetscCall(CkFileCreateDataset(file, path, CK_I32, 1, shape, "1", "class of each sample, from 0"));
  PetscCall(CkFileWriteRows(file, path, CK_I32, first, count, data->labels + first));
  snprintf(path, sizeof(path), "%s/", prefix);
  snprintf(text, sizeof(text), "%016llx", (unsigned long long)data->checksum);
  PetscCall(CkFileWriteString(file, path, "samples", data->description));
  PetscCall(CkFileWriteString(file, path, "data_checksum", text));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode WriteNames(CkData data, CkFile file)
{
  size_t length = 1;
  char  *text;

  PetscFunctionBeginUser;
  if (!data->names) PetscFunctionReturn(PETSC_SUCCESS);
  for (PetscInt c = 0; c < data->classes; ++c) length += strlen(data->names[c]) + 1;
  CkCheckAll(data->comm, length <= CK_CLASS_NAMES_LENGTH, PETSC_ERR_USER_INPUT,
             "the names of %" PetscInt_FMT " classes take %zu bytes; at most %zu fit into a file; shorten them",
             data->classes, length, CK_CLASS_NAMES_LENGTH);
  PetscCall(PetscCalloc1(length, &text));
  for (PetscInt c = 0; c < data->classes; ++c) {
    if (c) PetscCall(PetscStrlcat(text, "\n", length));
    PetscCall(PetscStrlcat(text, data->names[c], length));
  }
  PetscCall(CkFileWriteString(file, "/", "class_names", text));
  PetscCall(PetscFree(text));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode WriteContent(CkData data, CkData test, CkFile file)
{
  PetscFunctionBeginUser;
  PetscCall(CkFileWriteString(file, "/", "format", CK_DATA_FORMAT));
  PetscCall(CkFileWriteInt(file, "/", "format_version", CK_DATA_VERSION));
  PetscCall(CkFileWriteString(file, "/", "title", data->title));
  PetscCall(CkFileWriteString(file, "/", "noun", data->noun));
  PetscCall(CkFileWriteInt(file, "/", "classes", data->classes));
  PetscCall(WriteNames(data, file));
  PetscCall(WriteSplit(data, file, ""));
  if (test) PetscCall(WriteSplit(test, file, "/test"));
  PetscCall(CkDataWriteTransforms(data, file));
  PetscCall(CkFileWriteProvenance(file));
  PetscCall(CkFileCommit(file));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkDataWrite(CkData data, CkData test, const char name[])
{
  CkFile         file;
  PetscErrorCode failed;

  PetscFunctionBeginUser;
  PetscCheck(data->setup && (!test || test->setup), PETSC_COMM_SELF, PETSC_ERR_ORDER, "Call CkDataSetUp() first");
  PetscCall(PetscLogEventBegin(CK_IO, 0, 0, 0, 0));
  PetscCall(CkFileCreate(data->comm, name, &file));
  failed = WriteContent(data, test, file);
  PetscCall(CkFileDestroy(&file));
  PetscCall(failed);
  PetscCall(PetscLogEventEnd(CK_IO, 0, 0, 0, 0));
  PetscFunctionReturn(PETSC_SUCCESS);
}
