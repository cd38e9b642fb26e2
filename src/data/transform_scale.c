#include "dataimpl.h"

/*
  transform_scale.c: numbers to [0, 1]. Bytes are divided by 255; other numbers are moved and stretched per channel (per
  feature of a table) by the least and greatest value of the training split; a constant one becomes 0.
*/
typedef struct {
  double *least, *greatest; /* [c]; of bytes 0 and 255 */
} ScaleContext;

static PetscErrorCode Allocate(CkTransform t)
{
  ScaleContext *context;

  PetscFunctionBeginUser;
  if (t->context) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(PetscNew(&context));
  PetscCall(PetscMalloc2((size_t)t->in.c, &context->least, (size_t)t->in.c, &context->greatest));
  t->context = context;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode SetUp(CkTransform t, const CkDataSettings *settings, CkVerdict *verdict)
{
  PetscFunctionBeginUser;
  (void)settings;
  (void)verdict;
  t->out = t->in;
  t->bytes_out = PETSC_FALSE;
  if (!t->bytes_in) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(Allocate(t));
  for (PetscInt c = 0; c < t->in.c; ++c) {
    ((ScaleContext *)t->context)->least[c] = 0;
    ((ScaleContext *)t->context)->greatest[c] = 255;
  }
  t->ready = PETSC_TRUE;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Fit(CkTransform t, CkData data)
{
  ScaleContext *context;

  PetscFunctionBeginUser;
  PetscCall(Allocate(t));
  context = t->context;
  PetscCall(CkDataMoments(data, PETSC_FALSE, NULL, NULL, context->least, context->greatest));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Map(CkTransform t, double scale[], double shift[])
{
  const ScaleContext *context = t->context;

  PetscFunctionBeginUser;
  for (PetscInt c = 0; c < t->in.c; ++c) {
    const double range = context->greatest[c] - context->least[c];

    scale[c] = range > 0 ? 1 / range : 1;
    shift[c] = -context->least[c] * scale[c];
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Write(CkTransform t, CkFile file, const char group[])
{
  const ScaleContext *context = t->context;
  const PetscInt64    shape[] = {t->in.c};

  PetscFunctionBeginUser;
  PetscCall(CkTransformWriteArray(file, group, "least", 1, shape, context->least, "value that becomes 0, per channel"));
  PetscCall(
    CkTransformWriteArray(file, group, "greatest", 1, shape, context->greatest, "value that becomes 1, per channel"));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Read(CkTransform t, CkFile file, const char group[])
{
  const PetscInt64 shape[] = {t->in.c};
  ScaleContext    *context;

  PetscFunctionBeginUser;
  PetscCall(Allocate(t));
  context = t->context;
  PetscCall(CkTransformReadArray(file, t->comm, group, "least", 1, shape, context->least));
  PetscCall(CkTransformReadArray(file, t->comm, group, "greatest", 1, shape, context->greatest));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Destroy(CkTransform t)
{
  ScaleContext *context = t->context;

  PetscFunctionBeginUser;
  if (context) PetscCall(PetscFree2(context->least, context->greatest));
  PetscCall(PetscFree(t->context));
  PetscFunctionReturn(PETSC_SUCCESS);
}

const CkTransformOps CkTransformScale = {.name = "scale",
                                         .summary = "to [0, 1]",
                                         .affine = PETSC_TRUE,
                                         .fitted = PETSC_TRUE,
                                         .setup = SetUp,
                                         .fit = Fit,
                                         .map = Map,
                                         .write = Write,
                                         .read = Read,
                                         .destroy = Destroy};
