#include "dataimpl.h"
#include <clarkia/progress.h>
#include <stdio.h>
#include <string.h>

/* setup.c: from an opened data set to one that can be fetched; the other split of the same source. */

static PetscErrorCode CheckMemory(CkData data)
{
  PetscMPIInt ranks;
  char        bytes[32];

  PetscFunctionBeginUser;
  PetscCall(CkNodeRanks(data->comm, &ranks));
  PetscCall(CkMemoryCheck(data->comm, data->per_rank + data->per_node / ranks, "the samples",
                          "use fewer with -data_count, or pool them with -data_pool"));
  CkFormatBytes(data->per_rank, bytes);
  if (data->short_of_shared)
    PetscCall(CkLog(data->comm, "shared memory (/dev/shm) is short: every rank keeps a private copy of the samples, %s",
                    bytes));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* A test split opened by itself: its transforms are fitted on the training split all the same. */
static PetscErrorCode FitOnTraining(CkData data)
{
  PetscBool      ready = PETSC_TRUE;
  CkData         training;
  PetscErrorCode failed;

  PetscFunctionBeginUser;
  for (PetscInt i = 0; i < data->ntransforms; ++i) ready = (PetscBool)(ready && data->transforms[i]->ready);
  if (!data->test || ready) PetscFunctionReturn(PETSC_SUCCESS);
  failed = CkDataCompanion(data, PETSC_FALSE, &training);
  if (!failed && training) failed = CkDataSetUp(training);
  if (failed) {
    PetscCall(CkDataDestroy(&training));
    PetscCall(failed);
  }
  CkCheckAll(data->comm, training, PETSC_ERR_USER_INPUT,
             "%.256s: the transforms asked for are fitted on the training split, which this source does not have; take "
             "them from an imported file with -data_transform_from",
             data->settings.path);
  PetscCall(CkDataBorrowTransforms(data, training));
  PetscCall(CkDataDestroy(&training));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The checksum that the file stores with a split, where all of it has been read. The one computed here is that of the
   data set, too, unless transforms are still to come. */
static PetscErrorCode CheckStoredSum(CkData data)
{
  const char     *stored = data->reader->checksum;
  const PetscBool whole = (PetscBool)(data->selection.n == data->reader->samples && data->settings.nkeep == 0);
  char            now[32];

  PetscFunctionBeginUser;
  if (!stored[0] || !whole) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(CkDataComputeChecksum(data));
  snprintf(now, sizeof(now), "%016llx", (unsigned long long)data->checksum);
  CkCheckAll(
    data->comm, strcmp(stored, now) == 0, PETSC_ERR_FILE_UNEXPECTED,
    "%.512s: the %s samples do not give the checksum stored with them (%s, not %s): the file is damaged; import "
    "the data again, or, if it was edited on purpose, delete the attribute 'data_checksum' of %s",
    data->settings.path, data->test ? "test" : "training", now, stored, data->test ? "/test" : "/");
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkDataSetUp(CkData data)
{
  PetscBool summed;

  PetscFunctionBeginUser;
  if (data->setup) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(CkDataOpen(data));
  PetscCall(FitOnTraining(data));
  PetscCall(CheckMemory(data));
  data->source_shape = data->stored_shape = data->reader->shape;
  data->source_type = data->stored_type = data->reader->type;
  PetscCall(CkDataLoad(data));
  PetscCall(CkDataInitializeMap(data));
  PetscCall(CheckStoredSum(data));
  PetscCall(CkReaderDestroy(&data->reader));
  summed = (PetscBool)(data->checksum != 0 && data->napplied == data->ntransforms);
  PetscCall(CkDataTransform(data));
  if (!summed) PetscCall(CkDataComputeChecksum(data));
  PetscCall(PetscFree(data->selection.rows));
  data->setup = PETSC_TRUE;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* A test split must be of the training split's kind. */
static PetscErrorCode CheckSameKind(CkData data, CkData test)
{
  const CkShape   have = test->reader->shape, need = data->source_shape;
  const PetscBool same = (PetscBool)(have.c == need.c && have.h == need.h && have.w == need.w &&
                                     test->reader->type == data->source_type && test->classes == data->classes);

  PetscFunctionBeginUser;
  CkCheckAll(data->comm, same, PETSC_ERR_FILE_UNEXPECTED,
             "%s: samples are %s [%" PetscInt_FMT ", %" PetscInt_FMT ", %" PetscInt_FMT "] of %" PetscInt_FMT
             " classes, those of the training split %s [%" PetscInt_FMT ", %" PetscInt_FMT ", %" PetscInt_FMT
             "] of %" PetscInt_FMT "; name files that belong together",
             test->description, CkTypeName(test->reader->type), have.c, have.h, have.w, test->classes,
             CkTypeName(data->source_type), need.c, need.h, need.w, data->classes);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode SetUpTest(CkData data, CkData test)
{
  PetscFunctionBeginUser;
  PetscCall(CheckSameKind(data, test));
  PetscCall(CkDataBorrowTransforms(test, data));
  PetscCall(CkDataSetUp(test));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkDataCreateTest(CkData data, CkData *test)
{
  CkData         other;
  PetscErrorCode failed;

  PetscFunctionBeginUser;
  PetscCheck(data->setup, PETSC_COMM_SELF, PETSC_ERR_ORDER, "Call CkDataSetUp() on the training split first");
  *test = NULL;
  if (data->test) PetscFunctionReturn(PETSC_SUCCESS);
  failed = CkDataCompanion(data, PETSC_TRUE, &other);
  if (!failed && other) failed = SetUpTest(data, other);
  if (failed) {
    PetscCall(CkDataDestroy(&other));
    PetscCall(failed);
  }
  *test = other;
  PetscFunctionReturn(PETSC_SUCCESS);
}
