#include "dataimpl.h"
#include <stdio.h>
#include <string.h>

/*
  transformfile.c: the group /transform of a data file: attribute names "pool,scale" in the order of application, a
  group for each with its numbers and shapes, and the map that each fetch applies to the stored numbers (map_scale,
  map_shift).
*/
#define GROUP "/transform"

static PetscErrorCode WriteShape(CkFile file, const char group[], const char name[], CkShape shape)
{
  const double values[3] = {(double)shape.c, (double)shape.h, (double)shape.w};

  PetscFunctionBeginUser;
  PetscCall(CkFileWriteReals(file, group, name, 3, values));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkDataWriteTransforms(CkData data, CkFile file)
{
  const PetscInt64 channels[] = {data->stored_shape.c};
  char             names[256] = "", group[64];

  PetscFunctionBeginUser;
  PetscCall(CkFileCreateGroup(file, GROUP));
  PetscCall(
    CkTransformWriteArray(file, GROUP, "map_scale", 1, channels, data->scale,
                          "y = map_scale x + map_shift is applied to features when they are used; per channel"));
  PetscCall(CkTransformWriteArray(file, GROUP, "map_shift", 1, channels, data->shift, "see map_scale"));
  for (PetscInt i = 0; i < data->ntransforms; ++i) {
    const CkTransform t = data->transforms[i];
    const size_t      used = strlen(names);

    snprintf(names + used, sizeof(names) - used, "%s%s", i ? "," : "", t->ops->name);
    snprintf(group, sizeof(group), GROUP "/%s", t->ops->name);
    PetscCall(CkFileCreateGroup(file, group));
    PetscCall(CkFileWriteString(file, group, "description", t->ops->summary));
    PetscCall(WriteShape(file, group, "input_shape", t->in));
    PetscCall(WriteShape(file, group, "output_shape", t->out));
    PetscCall(CkFileWriteInt(file, group, "input_bytes", t->bytes_in));
    PetscCall(CkFileWriteInt(file, group, "output_bytes", t->bytes_out));
    if (t->ops->write) PetscCall((*t->ops->write)(t, file, group));
  }
  PetscCall(CkFileWriteString(file, GROUP, "names", names));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode ReadShape(MPI_Comm comm, CkFile file, const char group[], const char name[], CkShape *shape)
{
  double      values[3] = {0, 0, 0};
  PetscInt    n = 3;
  PetscBool   right = PETSC_TRUE;
  const char *filename;

  PetscFunctionBeginUser;
  PetscCall(CkFileGetName(file, &filename));
  PetscCall(CkFileReadReals(file, group, name, &n, values, NULL));
  for (int i = 0; i < 3; ++i) right = (PetscBool)(right && values[i] >= 1 && values[i] <= PETSC_MAX_INT);
  right = (PetscBool)(right && n == 3 && values[0] * values[1] * values[2] <= PETSC_MAX_INT);
  CkCheckAll(comm, right, PETSC_ERR_FILE_UNEXPECTED, "%s:%s: attribute %s is no shape of a sample", filename, group,
             name);
  *shape = (CkShape){(PetscInt)values[0], (PetscInt)values[1], (PetscInt)values[2]};
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode ReadTransform(CkData data, CkFile file, const char name[])
{
  PetscInt64  bytes_in, bytes_out;
  CkTransform t = NULL;
  char        group[320];
  const char *filename;

  PetscFunctionBeginUser;
  PetscCall(CkFileGetName(file, &filename));
  snprintf(group, sizeof(group), GROUP "/%s", name);
  if (data->ntransforms < CK_MAX_TRANSFORMS) PetscCall(CkTransformCreate(data->comm, name, &t));
  CkCheckAll(data->comm, t, PETSC_ERR_FILE_UNEXPECTED,
             "%s:" GROUP ": attribute names lists '%s', which this version does not know, or too many transforms",
             filename, name);
  data->transforms[data->ntransforms++] = t;
  t->shared = data->settings.shared;
  PetscCall(ReadShape(data->comm, file, group, "input_shape", &t->in));
  PetscCall(ReadShape(data->comm, file, group, "output_shape", &t->out));
  PetscCall(CkFileReadInt(file, group, "input_bytes", &bytes_in, NULL));
  PetscCall(CkFileReadInt(file, group, "output_bytes", &bytes_out, NULL));
  t->bytes_in = (PetscBool)(bytes_in != 0);
  t->bytes_out = (PetscBool)(bytes_out != 0);
  if (t->ops->read) PetscCall((*t->ops->read)(t, file, group));
  t->ready = PETSC_TRUE;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscBool SameShape(CkShape a, CkShape b)
{
  return (PetscBool)(a.c == b.c && a.h == b.h && a.w == b.w);
}

/* Each starts where the one before it ends, pooling alone changes the shape, and by whole blocks; the last of those
   behind the numbers of a file ends at their shape. */
static PetscErrorCode CheckShapes(CkData data, const char filename[])
{
  PetscBool fits = PETSC_TRUE;

  PetscFunctionBeginUser;
  for (PetscInt i = 0; i < data->ntransforms; ++i) {
    const CkTransform t = data->transforms[i];
    const CkShape     in = t->in, out = t->out;

    if (i > 0) fits = (PetscBool)(fits && SameShape(in, data->transforms[i - 1]->out));
    if (t->ops->keeps_maps) fits = (PetscBool)(fits && in.c == out.c && in.h % out.h == 0 && in.w % out.w == 0);
    else fits = (PetscBool)(fits && SameShape(in, out));
  }
  if (data->reader->transformed && data->ntransforms)
    fits = (PetscBool)(fits && SameShape(data->transforms[data->ntransforms - 1]->out, data->reader->shape));
  CkCheckAll(data->comm, fits, PETSC_ERR_FILE_UNEXPECTED,
             "%s:" GROUP ": the shapes of its transforms do not follow from one another; import the data again",
             filename);
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkDataReadTransforms(CkData data, CkFile file)
{
  char        names[256] = "", *rest = names;
  const char *filename;
  PetscBool   exists;

  PetscFunctionBeginUser;
  PetscCall(CkFileGetName(file, &filename));
  PetscCall(CkFileExists(file, GROUP, &exists));
  CkCheckAll(data->comm, exists, PETSC_ERR_FILE_UNEXPECTED, "%s: has no group " GROUP "; write one with clarkia import",
             filename);
  PetscCall(CkFileReadString(file, GROUP, "names", names, sizeof(names), NULL));
  for (char *name; names[0] && (name = strsep(&rest, ","));) PetscCall(ReadTransform(data, file, name));
  PetscCall(CheckShapes(data, filename));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkDataInitializeMap(CkData data)
{
  const PetscInt64 channels[] = {data->stored_shape.c};
  double          *scale, *shift;
  CkFile           file;

  PetscFunctionBeginUser;
  if (!data->reader->transformed) {
    PetscCall(CkDataSetMap(data, NULL, NULL));
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  PetscCall(PetscMalloc2((size_t)channels[0], &scale, (size_t)channels[0], &shift));
  PetscCall(CkFileOpen(data->comm, data->settings.path, &file));
  PetscCall(CkTransformReadArray(file, data->comm, GROUP, "map_scale", 1, channels, scale));
  PetscCall(CkTransformReadArray(file, data->comm, GROUP, "map_shift", 1, channels, shift));
  PetscCall(CkFileDestroy(&file));
  PetscCall(CkDataSetMap(data, scale, shift));
  PetscCall(PetscFree2(scale, shift));
  PetscFunctionReturn(PETSC_SUCCESS);
}
