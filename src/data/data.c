#include "dataimpl.h"
#include <clarkia/progress.h>
#include <stdio.h>
#include <string.h>

/* data.c: the object: settings, header, set-up, what is known of it. */

PetscErrorCode CkDataCreate(MPI_Comm comm, CkData *data)
{
  PetscFunctionBeginUser;
  PetscCall(PetscNew(data));
  (*data)->comm = comm;
  PetscCallMPI(MPI_Comm_rank(comm, &(*data)->rank));
  PetscCallMPI(MPI_Comm_size(comm, &(*data)->ranks));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkDataSetFromOptions(CkData data)
{
  PetscFunctionBeginUser;
  PetscCall(CkDataSettingsRead(&data->settings));
  data->test = (PetscBool)(strcmp(data->settings.split, "test") == 0);
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkDataSetSplit(CkData data, const char split[])
{
  PetscFunctionBeginUser;
  PetscCheck(!data->opened, data->comm, PETSC_ERR_ORDER, "The split is chosen before the file is opened");
  CkCheckAll(data->comm, strcmp(split, "train") == 0 || strcmp(split, "test") == 0, PETSC_ERR_USER_INPUT,
             "split %s is unknown; train or test", split);
  PetscCall(PetscStrncpy(data->settings.split, split, sizeof(data->settings.split)));
  data->test = (PetscBool)(strcmp(split, "test") == 0);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Describe(CkData data)
{
  const CkSelection *s = &data->selection;
  char               part[128], classes[64] = "";

  PetscFunctionBeginUser;
  if (s->n == s->available) snprintf(part, sizeof(part), "all %" PetscInt_FMT " %s", s->n, data->reader->noun);
  else {
    const PetscInt offset = data->companion ? 0 : data->settings.offset;

    snprintf(part, sizeof(part), "%s %" PetscInt_FMT "-%" PetscInt_FMT " of %" PetscInt_FMT, data->reader->noun, offset,
             offset + s->n - 1, s->available);
  }
  if (data->settings.nkeep)
    snprintf(classes, sizeof(classes), " of %" PetscInt_FMT " of %" PetscInt_FMT " classes", data->settings.nkeep,
             data->reader->classes);
  PetscCall(PetscMalloc1(512, &data->description));
  snprintf(data->description, 512, "%s %s, %s%s", data->reader->title, data->test ? "test" : "train", part, classes);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode PlanMemory(CkData data)
{
  double      stores, numbers, fitting, room;
  PetscMPIInt ranks;

  PetscFunctionBeginUser;
  CkDataTransformMemory(data, &stores, &numbers, &fitting);
  PetscCall(CkStoreRanksOnNode(data->comm, &ranks));
  PetscCall(CkStorePlan(data->comm, data->settings.shared, stores + numbers, &data->shared, &room));
  data->short_of_shared = (PetscBool)(data->settings.shared && ranks > 1 && !data->shared);
  data->per_node = data->shared ? stores + numbers + fitting : ranks * (stores + numbers) + fitting;
  data->per_rank = (data->shared ? (stores + numbers) / ranks : stores + numbers) + fitting;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Labels of all rows, the selection among them. */
static PetscErrorCode ReadLabels(CkData data)
{
  const PetscInt rows = (PetscInt)data->reader->samples;
  CkVerdict      verdict = {0};
  int32_t       *labels;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc1((size_t)rows, &labels));
  PetscCall((*data->reader->ops->labels)(data->reader, 0, rows, labels, &verdict));
  PetscCall(CkCheckVerdict(data->comm, &verdict));
  CkReaderCheckLabels(data->settings.path, 0, rows, labels, data->reader->classes, &verdict);
  PetscCall(CkCheckVerdict(data->comm, &verdict));
  PetscCall(CkDataSelect(data, rows, labels, &verdict));
  PetscCall(CkCheckVerdict(data->comm, &verdict));
  PetscCall(PetscFree(labels));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* exists = false: the source has no such split. */
static PetscErrorCode OpenSplit(CkData data, PetscBool *exists)
{
  CkVerdict verdict = {0};

  PetscFunctionBeginUser;
  PetscCall(CkReaderCreate(data->comm, &data->settings, data->test, &data->reader));
  PetscCall((*data->reader->ops->open)(data->reader, &verdict));
  PetscCall(CkCheckVerdict(data->comm, &verdict));
  *exists = data->reader->exists;
  if (!*exists) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(ReadLabels(data));
  data->stored_shape = data->reader->shape;
  data->stored_type = data->reader->type;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkDataOpen(CkData data)
{
  PetscBool exists;

  PetscFunctionBeginUser;
  if (data->opened) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(OpenSplit(data, &exists));
  CkCheckAll(data->comm, exists, PETSC_ERR_USER_INPUT, "%.512s: has no %s split", data->settings.path,
             data->test ? "test" : "train");
  PetscCall(CkDataChooseTransforms(data));
  CkCheckAll(data->comm, !data->test || !CkDataNeedsFit(data), PETSC_ERR_USER_INPUT,
             "a transform of the test split must be fitted on the training split: import both with clarkia import "
             "(without -data_split), or give -data_transform_from FILE");
  PetscCall(Describe(data));
  PetscCall(PlanMemory(data));
  data->opened = PETSC_TRUE;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkDataSetUp(CkData data)
{
  PetscFunctionBeginUser;
  if (data->setup) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(CkDataOpen(data));
  PetscCall(CkMemoryCheck(data->comm, data->per_rank, "the data set",
                          "use fewer samples with -data_count, or more ranks or nodes"));
  if (data->short_of_shared)
    PetscCall(CkLog(data->comm, "shared memory is short: every rank keeps its own copy of the samples, %.3g MB",
                    data->per_rank / 1e6));
  PetscCall(CkDataInitializeMap(data));
  PetscCall(CkStoreCreate(data->comm, (size_t)data->selection.n * CkDataRowBytes(data), data->shared, &data->store));
  PetscCall(CkDataLoad(data));
  PetscCall(CkDataTransform(data));
  PetscCall(CkDataComputeChecksum(data));
  data->setup = PETSC_TRUE;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscBool CkDataNeedsFit(CkData data)
{
  for (PetscInt i = data->ndone; i < data->ntransforms; ++i)
    if (!data->transforms[i]->ready && data->transforms[i]->ops->fitted) return PETSC_TRUE;
  return PETSC_FALSE;
}

PetscErrorCode CkDataCreateTest(CkData data, CkData *test)
{
  PetscBool exists;
  CkData    t;

  PetscFunctionBeginUser;
  PetscCheck(data->setup && !data->test, data->comm, PETSC_ERR_ORDER,
             "A test split belongs to a set-up training split");
  PetscCall(CkDataCreate(data->comm, &t));
  t->settings = data->settings;
  t->companion = t->test = PETSC_TRUE;
  PetscCall(OpenSplit(t, &exists));
  if (!exists) {
    PetscCall(CkDataDestroy(&t));
    *test = NULL;
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  CkCheckAll(data->comm,
             t->reader->shape.c == data->reader->shape.c && t->reader->shape.h == data->reader->shape.h &&
               t->reader->shape.w == data->reader->shape.w && t->reader->type == data->reader->type,
             PETSC_ERR_FILE_UNEXPECTED,
             "%.512s: samples of the test split are not shaped as those of the training split", data->settings.path);
  PetscCall(CkDataBorrowTransforms(t, data));
  PetscCall(Describe(t));
  PetscCall(PlanMemory(t));
  t->opened = PETSC_TRUE;
  PetscCall(CkDataSetUp(t));
  *test = t;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkDataGetSize(CkData data, PetscInt *samples)
{
  PetscFunctionBeginUser;
  *samples = data->selection.n;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkDataGetShape(CkData data, CkShape *shape)
{
  PetscFunctionBeginUser;
  *shape = data->shape;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkDataGetClasses(CkData data, PetscInt *classes)
{
  PetscFunctionBeginUser;
  *classes = data->classes;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkDataGetDescription(CkData data, const char **text)
{
  PetscFunctionBeginUser;
  *text = data->description;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkDataGetChecksum(CkData data, uint64_t *checksum)
{
  PetscFunctionBeginUser;
  PetscCheck(data->setup, data->comm, PETSC_ERR_ORDER, "Call CkDataSetUp() first");
  *checksum = data->checksum;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkDataMemory(CkData data, double *per_node, double *per_rank)
{
  PetscFunctionBeginUser;
  *per_node = data->per_node;
  *per_rank = data->per_rank;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkDataView(CkData data)
{
  char    bytes[32];
  CkTable table;

  PetscFunctionBeginUser;
  CkFormatBytes((double)data->selection.n * (double)CkShapeSize(data->shape) * (double)CkTypeSize(data->type), bytes);
  PetscCall(CkTableCreate(data->comm, "Data set", &table));
  PetscCall(CkTableRow(table, "samples", data->description, "%" PetscInt_FMT, data->selection.n));
  PetscCall(CkTableRow(table, "shape", "channels x height x width",
                       "%" PetscInt_FMT " x %" PetscInt_FMT " x %" PetscInt_FMT, data->shape.c, data->shape.h,
                       data->shape.w));
  PetscCall(CkTableRow(table, "stored as", bytes, "%s", CkTypeName(data->type)));
  for (PetscInt c = 0; c < PetscMin(data->classes, 20); ++c)
    PetscCall(CkTableRow(table, c ? "" : "classes", data->names ? data->names[c] : "",
                         "%" PetscInt_FMT ": %" PetscInt_FMT, c, data->counts[c]));
  if (data->classes > 20) PetscCall(CkTableRow(table, "", "", "... %" PetscInt_FMT " classes in all", data->classes));
  for (PetscInt i = 0; i < data->ntransforms; ++i)
    PetscCall(CkTableRow(table, i ? "" : "transforms", data->transforms[i]->ops->summary, "%s",
                         data->transforms[i]->ops->name));
  PetscCall(CkTableDestroy(&table));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkDataDestroy(CkData *handle)
{
  CkData data = *handle;

  PetscFunctionBeginUser;
  if (!data) PetscFunctionReturn(PETSC_SUCCESS);
  for (PetscInt i = 0; i < data->ntransforms; ++i) PetscCall(CkTransformDestroy(&data->transforms[i]));
  PetscCall(CkReaderDestroy(&data->reader));
  for (PetscInt c = 0; data->names && c < data->classes; ++c) PetscCall(PetscFree(data->names[c]));
  PetscCall(PetscFree(data->names));
  PetscCall(PetscFree(data->counts));
  PetscCall(PetscFree(data->labels));
  PetscCall(PetscFree(data->selection.rows));
  PetscCall(PetscFree(data->description));
  PetscCall(PetscFree4(data->scale, data->shift, data->fscale, data->fshift));
  if (data->store.bytes) PetscCall(CkStoreDestroy(&data->store));
  PetscCall(PetscFree(*handle));
  PetscFunctionReturn(PETSC_SUCCESS);
}
