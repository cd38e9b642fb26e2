#include "dataimpl.h"
#include <clarkia/progress.h>
#include <stdio.h>
#include <string.h>

/* data.c: life and properties of a data set. */

PetscErrorCode CkDataCreate(MPI_Comm comm, CkData *data)
{
  CkData d;

  PetscFunctionBeginUser;
  PetscCall(PetscNew(&d));
  PetscCall(PetscCommDuplicate(comm, &d->comm, NULL));
  PetscCallMPI(MPI_Comm_rank(d->comm, &d->rank));
  PetscCallMPI(MPI_Comm_size(d->comm, &d->ranks));
  *data = d;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkDataSetFromOptions(CkData data)
{
  PetscFunctionBeginUser;
  PetscCheck(!data->opened, PETSC_COMM_SELF, PETSC_ERR_ORDER, "Options come before CkDataOpen()");
  PetscCall(CkDataSettingsRead(&data->settings));
  data->test = (PetscBool)(strcmp(data->settings.split, "test") == 0);
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkDataDestroy(CkData *data)
{
  CkData d = *data;

  PetscFunctionBeginUser;
  if (!d) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(CkReaderDestroy(&d->reader));
  for (PetscInt i = 0; i < d->ntransforms; ++i) PetscCall(CkTransformDestroy(&d->transforms[i]));
  for (PetscInt c = 0; d->names && c < d->classes; ++c) PetscCall(PetscFree(d->names[c]));
  PetscCall(PetscFree(d->names));
  PetscCall(PetscFree(d->counts));
  PetscCall(PetscFree(d->labels));
  PetscCall(PetscFree(d->selection.rows));
  PetscCall(PetscFree(d->description));
  PetscCall(PetscFree4(d->scale, d->shift, d->fscale, d->fshift));
  PetscCall(CkNodeArrayDestroy(&d->store));
  PetscCall(PetscCommDestroy(&d->comm));
  PetscCall(PetscFree(d));
  *data = NULL;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* ---- properties ---- */

#define CheckOpened(data) PetscCheck((data)->opened, PETSC_COMM_SELF, PETSC_ERR_ORDER, "Call CkDataOpen() first")

PetscErrorCode CkDataGetSize(CkData data, PetscInt *samples)
{
  PetscFunctionBeginUser;
  CheckOpened(data);
  *samples = data->selection.n;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkDataGetShape(CkData data, CkShape *shape)
{
  PetscFunctionBeginUser;
  CheckOpened(data);
  *shape = data->shape;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkDataGetClasses(CkData data, PetscInt *classes)
{
  PetscFunctionBeginUser;
  CheckOpened(data);
  *classes = data->classes;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkDataGetClass(CkData data, PetscInt number, const char **name, PetscInt *samples)
{
  PetscFunctionBeginUser;
  CheckOpened(data);
  PetscCheck(number >= 0 && number < data->classes, PETSC_COMM_SELF, PETSC_ERR_ARG_OUTOFRANGE,
             "Class %" PetscInt_FMT " asked for; there are %" PetscInt_FMT, number, data->classes);
  if (name) *name = data->names ? data->names[number] : NULL;
  if (samples) *samples = data->counts[number];
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkDataGetLabels(CkData data, PetscInt labels[])
{
  PetscFunctionBeginUser;
  CheckOpened(data);
  for (PetscInt i = 0; i < data->selection.n; ++i) labels[i] = (PetscInt)data->labels[i];
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkDataGetDescription(CkData data, const char **text)
{
  PetscFunctionBeginUser;
  CheckOpened(data);
  *text = data->description;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkDataGetChecksum(CkData data, uint64_t *checksum)
{
  PetscFunctionBeginUser;
  PetscCheck(data->setup, PETSC_COMM_SELF, PETSC_ERR_ORDER, "Call CkDataSetUp() first");
  *checksum = data->checksum;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkDataMemory(CkData data, double *per_node, double *per_rank)
{
  PetscFunctionBeginUser;
  CheckOpened(data);
  if (per_node) *per_node = data->per_node;
  if (per_rank) *per_rank = data->per_rank;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* ---- view ---- */

#define CLASSES_SHOWN 20

/* A row a class, or, where there are many, the least and the greatest number of samples. */
static PetscErrorCode ViewClasses(CkData data, CkTable rows)
{
  PetscInt least = data->selection.n, greatest = 0;

  PetscFunctionBeginUser;
  for (PetscInt c = 0; c < data->classes; ++c) {
    least = PetscMin(least, data->counts[c]);
    greatest = PetscMax(greatest, data->counts[c]);
  }
  if (least == greatest)
    PetscCall(
      CkTableRow(rows, "classes", "", "%" PetscInt_FMT ", of %" PetscInt_FMT " samples each", data->classes, least));
  else
    PetscCall(CkTableRow(rows, "classes", "", "%" PetscInt_FMT ", of %" PetscInt_FMT " to %" PetscInt_FMT " samples",
                         data->classes, least, greatest));
  for (PetscInt c = 0; c < data->classes && data->classes <= CLASSES_SHOWN; ++c)
    PetscCall(
      CkTableRow(rows, "", data->names ? data->names[c] : "", "%" PetscInt_FMT ": %" PetscInt_FMT, c, data->counts[c]));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static void FormatTransforms(CkData data, size_t length, char text[])
{
  size_t used = 0;

  snprintf(text, length, "none");
  for (PetscInt i = 0; i < data->ntransforms && used < length; ++i)
    used += (size_t)snprintf(text + used, length - used, "%s%s", i ? ", " : "", data->transforms[i]->ops->name);
}

PetscErrorCode CkDataView(CkData data)
{
  char    transforms[128], bytes[32];
  CkTable rows;

  PetscFunctionBeginUser;
  CheckOpened(data);
  FormatTransforms(data, sizeof(transforms), transforms);
  CkFormatBytes((double)data->selection.n * (double)CkShapeSize(data->shape) * (double)CkTypeSize(data->type), bytes);
  PetscCall(CkTableCreate(data->comm, data->description, &rows));
  PetscCall(CkTableRow(rows, "samples", "", "%" PetscInt_FMT, data->selection.n));
  PetscCall(CkTableRow(rows, "shape", "channels x height x width",
                       "%" PetscInt_FMT " x %" PetscInt_FMT " x %" PetscInt_FMT, data->shape.c, data->shape.h,
                       data->shape.w));
  PetscCall(ViewClasses(data, rows));
  PetscCall(CkTableRow(rows, "transforms", "", "%s", transforms));
  PetscCall(CkTableRow(rows, "features", "", "%s, %s", CkTypeName(data->type), bytes));
  if (data->setup) PetscCall(CkTableRow(rows, "kept", "", "%s", data->store.shared ? "once per node" : "on each rank"));
  if (data->setup) PetscCall(CkTableRow(rows, "checksum", "", "%016llx", (unsigned long long)data->checksum));
  PetscCall(CkTableDestroy(&rows));
  PetscFunctionReturn(PETSC_SUCCESS);
}
