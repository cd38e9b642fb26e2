#include "dataimpl.h"
#include <clarkia/progress.h>

/* fetch.c: samples out of the store. Minibatches of training pass here: the loops are plain so that they vectorise. */

size_t CkDataRowBytes(CkData data)
{
  return (size_t)CkShapeSize(data->stored_shape) * CkTypeSize(data->stored_type);
}

/* y = scale x + shift */
static void MapBytes(size_t n, const uint8_t *restrict x, float scale, float shift, float *restrict y)
{
  for (size_t i = 0; i < n; ++i) y[i] = scale * (float)x[i] + shift;
}

static void MapFloats(size_t n, const float *restrict x, float scale, float shift, float *restrict y)
{
  for (size_t i = 0; i < n; ++i) y[i] = scale * x[i] + shift;
}

/* One map per number: tables */
static void MapFeatures(size_t n, const float *restrict x, const float *restrict scale, const float *restrict shift,
                        float *restrict y)
{
  for (size_t i = 0; i < n; ++i) y[i] = scale[i] * x[i] + shift[i];
}

static void MapRun(CkType type, size_t n, const char *x, float scale, float shift, float *y)
{
  if (type == CK_U8) MapBytes(n, (const uint8_t *)x, scale, shift, y);
  else MapFloats(n, (const float *)(const void *)x, scale, shift, y);
}

/* n samples that lie one after the other. */
static void FetchRun(CkData data, size_t n, const char *x, float *y)
{
  const CkType type = data->stored_type;
  const size_t channels = (size_t)data->stored_shape.c, plane = (size_t)(data->stored_shape.h * data->stored_shape.w);
  const size_t bytes = CkTypeSize(type);

  if (data->uniform) {
    MapRun(type, n * channels * plane, x, data->fscale[0], data->fshift[0], y);
    return;
  }
  for (size_t i = 0; i < n; ++i, x += channels * plane * bytes, y += channels * plane) {
    if (plane == 1 && type == CK_F32) {
      MapFeatures(channels, (const float *)(const void *)x, data->fscale, data->fshift, y);
      continue;
    }
    for (size_t c = 0; c < channels; ++c)
      MapRun(type, plane, x + c * plane * bytes, data->fscale[c], data->fshift[c], y + c * plane);
  }
}

void CkDataFetchRange(CkData data, PetscInt first, PetscInt n, PetscBool mapped, float *features)
{
  const size_t row = CkDataRowBytes(data), numbers = (size_t)n * (size_t)CkShapeSize(data->stored_shape);
  const char  *x = data->store.bytes + (size_t)first * row;

  if ((!mapped || data->identity) && data->stored_type == CK_F32) memcpy(features, x, numbers * sizeof(float));
  else if (!mapped) MapBytes(numbers, (const uint8_t *)x, 1, 0, features);
  else FetchRun(data, (size_t)n, x, features);
}

PetscErrorCode CkDataFetch(CkData data, PetscInt n, const PetscInt index[], float features[], PetscInt labels[])
{
  const PetscInt samples = data->selection.n;
  size_t         size;

  PetscFunctionBeginUser;
  PetscCheck(data->setup, PETSC_COMM_SELF, PETSC_ERR_ORDER, "Call CkDataSetUp() first");
  size = (size_t)CkShapeSize(data->stored_shape);
  PetscCall(PetscLogEventBegin(CK_Samples, 0, 0, 0, 0));
  for (PetscInt i = 0; i < n; ++i) {
    PetscInt run = 1;

    PetscCheck(index[i] >= 0 && index[i] < samples, PETSC_COMM_SELF, PETSC_ERR_ARG_OUTOFRANGE,
               "Sample %" PetscInt_FMT " asked for; there are %" PetscInt_FMT, index[i], samples);
    while (i + run < n && index[i + run] == index[i] + run && index[i + run] < samples) ++run;
    CkDataFetchRange(data, index[i], run, PETSC_TRUE, features + (size_t)i * size);
    for (PetscInt j = 0; j < run; ++j) labels[i + j] = (PetscInt)data->labels[index[i] + j];
    i += run - 1;
  }
  PetscCall(PetscLogEventEnd(CK_Samples, 0, 0, 0, 0));
  PetscFunctionReturn(PETSC_SUCCESS);
}
