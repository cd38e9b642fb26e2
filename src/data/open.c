#include "dataimpl.h"
#include <clarkia/progress.h>
#include <stdio.h>
#include <string.h>

/* open.c: headers and labels: everything that is known of a data set before its features are read. */

/* Rank r reads its part of the labels, and all get all: four bytes a sample. */
static PetscErrorCode ReadLabels(CkData data, PetscInt rows, int32_t labels[])
{
  const PetscInt64 first = CkPartStart(rows, data->ranks, data->rank);
  const PetscInt64 count = CkPartStart(rows, data->ranks, data->rank + 1) - first;
  CkVerdict        verdict = {0};
  PetscMPIInt     *counts, *starts;

  PetscFunctionBeginUser;
  PetscCall((*data->reader->ops->labels)(data->reader, first, count, labels + first, &verdict));
  PetscCall(CkCheckVerdict(data->comm, &verdict));
  PetscCall(PetscMalloc2((size_t)data->ranks, &counts, (size_t)data->ranks, &starts));
  for (PetscMPIInt r = 0; r < data->ranks; ++r) {
    PetscCall(PetscMPIIntCast((PetscInt)CkPartStart(rows, data->ranks, r), &starts[r]));
    PetscCall(PetscMPIIntCast((PetscInt)(CkPartStart(rows, data->ranks, r + 1) - starts[r]), &counts[r]));
  }
  PetscCallMPI(MPI_Allgatherv(MPI_IN_PLACE, 0, MPI_DATATYPE_NULL, labels, counts, starts, MPI_INT32_T, data->comm));
  PetscCall(PetscFree2(counts, starts));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* "classes 0,1, images 0-3999 of 12000" */
static void DescribePart(CkData data, size_t length, char text[])
{
  const CkSelection *s = &data->selection;
  const PetscInt     offset = data->companion ? 0 : data->settings.offset;
  char               classes[128];
  size_t             used = 0;

  classes[0] = '\0';
  for (PetscInt k = 0; k < data->settings.nkeep && used + 32 < sizeof(classes); ++k)
    used += (size_t)snprintf(classes + used, sizeof(classes) - used, "%s%" PetscInt_FMT, k ? "," : "classes ",
                             data->settings.keep[k]);
  if (used + 32 >= sizeof(classes)) snprintf(classes + used, sizeof(classes) - used, ",...");
  snprintf(text, length, "%s%s%s %" PetscInt_FMT "-%" PetscInt_FMT " of %" PetscInt_FMT, classes,
           classes[0] ? ", " : "", data->reader->noun, offset, offset + s->n - 1, s->available);
}

/* "Fashion-MNIST train, images 0-3999 of 60000"; the title of a part, for a file that holds no more, names the part. */
static PetscErrorCode Describe(CkData data)
{
  const char *title = data->reader->title;
  char        part[256], text[640];

  PetscFunctionBeginUser;
  DescribePart(data, sizeof(part), part);
  snprintf(text, sizeof(text), "%s %s, %s", title, data->test ? "test" : "train", part);
  PetscCall(PetscStrallocpy(text, &data->description));
  if (data->selection.n < data->reader->samples) snprintf(text, sizeof(text), "%s (%s)", title, part);
  else snprintf(text, sizeof(text), "%s", title);
  PetscCall(PetscStrncpy(data->title, text, sizeof(data->title)));
  PetscCall(PetscStrncpy(data->noun, data->reader->noun, sizeof(data->noun)));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Header of the split; data->reader->exists is false where the source has no such split. */
static PetscErrorCode OpenReader(CkData data)
{
  CkVerdict verdict = {0};

  PetscFunctionBeginUser;
  PetscCall(CkReaderCreate(data->comm, &data->settings, data->test, &data->reader));
  PetscCall((*data->reader->ops->open)(data->reader, &verdict));
  PetscCall(CkCheckVerdict(data->comm, &verdict));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode SelectSamples(CkData data)
{
  const PetscInt rows = (PetscInt)data->reader->samples;
  CkVerdict      verdict = {0};
  int32_t       *labels;
  PetscErrorCode failed;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc1((size_t)rows, &labels));
  failed = ReadLabels(data, rows, labels);
  if (!failed) failed = CkDataSelect(data, rows, labels, &verdict);
  PetscCall(PetscFree(labels));
  PetscCall(failed);
  PetscCall(CkCheckVerdict(data->comm, &verdict));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkDataPlan(CkData data)
{
  double      stores, numbers, fitting, room;
  PetscMPIInt ranks;

  PetscFunctionBeginUser;
  CkDataTransformMemory(data, &stores, &numbers, &fitting);
  PetscCall(CkNodeArrayPlan(data->comm, data->settings.shared, stores + numbers, &data->shared, &room));
  PetscCall(CkNodeRanks(data->comm, &ranks));
  data->short_of_shared = (PetscBool)(data->settings.shared && ranks > 1 && !data->shared);
  data->per_node = data->shared ? stores + numbers : 0;
  data->per_rank = (data->shared ? 0 : stores + numbers) + fitting;
  data->per_rank += (double)sizeof(int32_t) * ((double)data->reader->samples + (double)data->selection.n);
  if (data->selection.rows)
    data->per_rank += (double)sizeof(PetscInt) * (double)data->selection.n + PetscMin(stores, (double)CK_PIECE_BYTES);
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkDataOpenSplit(CkData data, PetscBool *exists)
{
  PetscFunctionBeginUser;
  PetscCall(OpenReader(data));
  *exists = data->reader->exists;
  if (!*exists) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(SelectSamples(data));
  PetscCall(Describe(data));
  PetscCall(CkDataChooseTransforms(data));
  PetscCall(CkDataPlan(data));
  data->opened = PETSC_TRUE;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* A split that the source does not have: what was looked for, or how it would be named. */
static void FailMissing(CkData data, CkVerdict *verdict)
{
  const CkReaderOps *ops = data->reader->ops;
  const char        *path = data->settings.path, *split = data->test ? "test" : "training";
  const char        *other = data->test ? "train" : "test";

  if (CkReaderIsDirectory(path))
    CkVerdictFail(verdict, PETSC_ERR_USER_INPUT,
                  "%.256s has no %s split of format %s: the folder has no %s; check the path, or take the other split "
                  "(-data_split %s)",
                  path, split, ops->name, ops->files[data->test] ? ops->files[data->test] : "such files", other);
  else
    CkVerdictFail(verdict, PETSC_ERR_USER_INPUT,
                  "%.256s has no %s split (format %s); %stake the other one (-data_split %s)", path, split, ops->name,
                  data->test && strstr(ops->keys, " test ") ? "name its file with -data_test, or " : "", other);
}

PetscErrorCode CkDataOpen(CkData data)
{
  CkVerdict verdict = {0};
  PetscBool exists;

  PetscFunctionBeginUser;
  if (data->opened) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(CkDataOpenSplit(data, &exists));
  if (!exists) FailMissing(data, &verdict);
  PetscCall(CkCheckVerdict(data->comm, &verdict));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkDataCompanion(CkData data, PetscBool test, CkData *companion)
{
  CkData    other;
  PetscBool exists;

  PetscFunctionBeginUser;
  *companion = NULL;
  PetscCall(CkDataCreate(data->comm, &other));
  other->settings = data->settings;
  other->test = test;
  other->companion = PETSC_TRUE;
  *companion = other; /* so that the caller can destroy it where opening fails */
  PetscCall(CkDataOpenSplit(other, &exists));
  if (!exists) PetscCall(CkDataDestroy(companion));
  PetscFunctionReturn(PETSC_SUCCESS);
}
