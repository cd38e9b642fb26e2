#include "dataimpl.h"

/* transform_pool.c: area pooling to a given height and width: the mean of each block of pixels. */

static PetscErrorCode SetUp(CkTransform t, const CkDataSettings *settings, CkVerdict *verdict)
{
  const PetscInt h = settings->pool[0], w = settings->npool == 2 ? settings->pool[1] : settings->pool[0];

  PetscFunctionBeginUser;
  t->out = (CkShape){t->in.c, h, w};
  t->bytes_out = t->bytes_in;
  if (settings->npool < 1 || settings->npool > 2)
    CkVerdictFail(verdict, PETSC_ERR_USER_INPUT,
                  "transform pool needs -data_pool SIDE or HEIGHT,WIDTH: the size to pool to; %" PetscInt_FMT
                  " numbers are given",
                  settings->npool);
  else if (h > t->in.h || w > t->in.w || t->in.h % h || t->in.w % w)
    CkVerdictFail(verdict, PETSC_ERR_USER_INPUT,
                  "-data_pool %" PetscInt_FMT ",%" PetscInt_FMT " does not divide samples of %" PetscInt_FMT
                  " x %" PetscInt_FMT "; give divisors of height and width",
                  h, w, t->in.h, t->in.w);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Sums of whole numbers up to 255 are exact in double. */
static float BlockMean(const float *block, PetscInt height, PetscInt width, PetscInt stride)
{
  double sum = 0;

  for (PetscInt i = 0; i < height; ++i)
    for (PetscInt j = 0; j < width; ++j) sum += block[i * stride + j];
  return (float)(sum / ((double)height * (double)width));
}

static PetscErrorCode Apply(CkTransform t, PetscInt n, const float *in, float *out)
{
  const PetscInt height = t->in.h / t->out.h, width = t->in.w / t->out.w;

  PetscFunctionBeginUser;
  for (PetscInt plane = 0; plane < n * t->in.c; ++plane, in += t->in.h * t->in.w)
    for (PetscInt i = 0; i < t->out.h; ++i)
      for (PetscInt j = 0; j < t->out.w; ++j)
        *out++ = BlockMean(in + i * height * t->in.w + j * width, height, width, t->in.w);
  PetscFunctionReturn(PETSC_SUCCESS);
}

const CkTransformOps CkTransformPool = {
  .name = "pool", .summary = "means of blocks of pixels", .keeps_maps = PETSC_TRUE, .setup = SetUp, .apply = Apply};
