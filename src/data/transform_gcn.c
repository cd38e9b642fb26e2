#include "dataimpl.h"
#include <math.h>

/*
  transform_gcn.c: global contrast normalisation: each sample, over all its numbers, to mean 0 and variance 1:
  y = (x - mean) / sqrt(variance + 1e-8); a constant sample becomes 0.
*/
#define GCN_EPSILON 1e-8

static PetscErrorCode SetUp(CkTransform t, const CkDataSettings *settings, CkVerdict *verdict)
{
  PetscFunctionBeginUser;
  (void)settings;
  (void)verdict;
  t->out = t->in;
  t->bytes_out = PETSC_FALSE;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Apply(CkTransform t, PetscInt n, const float *in, float *out)
{
  const PetscInt size = CkShapeSize(t->in);

  PetscFunctionBeginUser;
  for (PetscInt i = 0; i < n; ++i, in += size, out += size) {
    double mean = 0, variance = 0, scale;

    for (PetscInt j = 0; j < size; ++j) mean += in[j];
    mean /= (double)size;
    for (PetscInt j = 0; j < size; ++j) variance += (in[j] - mean) * (in[j] - mean);
    scale = 1 / sqrt(variance / (double)size + GCN_EPSILON);
    for (PetscInt j = 0; j < size; ++j) out[j] = (float)(scale * (in[j] - mean));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

const CkTransformOps CkTransformGcn = {
  .name = "gcn", .summary = "each sample to mean 0 and variance 1", .setup = SetUp, .apply = Apply};
