#include "dataimpl.h"

/*
  transform_standardise.c: mean 0 and standard deviation 1 (1/N) over the training split, per channel (per feature of a
  table); a constant one becomes 0. With -data_mean and -data_deviation those numbers instead, as published with a net.
*/
typedef struct {
  double *mean, *deviation; /* [c] */
} StandardiseContext;

static PetscErrorCode Allocate(CkTransform t)
{
  StandardiseContext *context;

  PetscFunctionBeginUser;
  if (t->context) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(PetscNew(&context));
  PetscCall(PetscMalloc2((size_t)t->in.c, &context->mean, (size_t)t->in.c, &context->deviation));
  t->context = context;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode SetUp(CkTransform t, const CkDataSettings *settings, CkVerdict *verdict)
{
  const PetscInt      nmean = settings->nmean, ndeviation = settings->ndeviation;
  StandardiseContext *context;

  PetscFunctionBeginUser;
  t->out = t->in;
  t->bytes_out = PETSC_FALSE;
  if (nmean == 0 && ndeviation == 0) PetscFunctionReturn(PETSC_SUCCESS);
  if ((nmean != 1 && nmean != t->in.c) || (ndeviation != 1 && ndeviation != t->in.c)) {
    CkVerdictFail(verdict, PETSC_ERR_USER_INPUT,
                  "-data_mean and -data_deviation give %" PetscInt_FMT " and %" PetscInt_FMT
                  " numbers; give one of each, or one of each for every channel (%" PetscInt_FMT ")",
                  nmean, ndeviation, t->in.c);
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  PetscCall(Allocate(t));
  context = t->context;
  for (PetscInt c = 0; c < t->in.c; ++c) {
    context->mean[c] = settings->mean[nmean == 1 ? 0 : c];
    context->deviation[c] = settings->deviation[ndeviation == 1 ? 0 : c];
  }
  t->ready = PETSC_TRUE;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Fit(CkTransform t, CkData data)
{
  StandardiseContext *context;

  PetscFunctionBeginUser;
  PetscCall(Allocate(t));
  context = t->context;
  PetscCall(CkDataMoments(data, PETSC_FALSE, context->mean, context->deviation, NULL, NULL));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Map(CkTransform t, double scale[], double shift[])
{
  const StandardiseContext *context = t->context;

  PetscFunctionBeginUser;
  for (PetscInt c = 0; c < t->in.c; ++c) {
    scale[c] = context->deviation[c] > 0 ? 1 / context->deviation[c] : 1;
    shift[c] = -context->mean[c] * scale[c];
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Write(CkTransform t, CkFile file, const char group[])
{
  const StandardiseContext *context = t->context;
  const PetscInt64          shape[] = {t->in.c};

  PetscFunctionBeginUser;
  PetscCall(CkTransformWriteArray(file, group, "mean", 1, shape, context->mean,
                                  "mean of the training split (or as given), per channel"));
  PetscCall(CkTransformWriteArray(file, group, "deviation", 1, shape, context->deviation,
                                  "standard deviation (1/N) of the training split (or as given), per channel"));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Read(CkTransform t, CkFile file, const char group[])
{
  const PetscInt64    shape[] = {t->in.c};
  StandardiseContext *context;

  PetscFunctionBeginUser;
  PetscCall(Allocate(t));
  context = t->context;
  PetscCall(CkTransformReadArray(file, t->comm, group, "mean", 1, shape, context->mean));
  PetscCall(CkTransformReadArray(file, t->comm, group, "deviation", 1, shape, context->deviation));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Destroy(CkTransform t)
{
  StandardiseContext *context = t->context;

  PetscFunctionBeginUser;
  if (context) PetscCall(PetscFree2(context->mean, context->deviation));
  PetscCall(PetscFree(t->context));
  PetscFunctionReturn(PETSC_SUCCESS);
}

const CkTransformOps CkTransformStandardise = {.name = "standardise",
                                               .summary = "mean 0, standard deviation 1",
                                               .affine = PETSC_TRUE,
                                               .fitted = PETSC_TRUE,
                                               .setup = SetUp,
                                               .fit = Fit,
                                               .map = Map,
                                               .write = Write,
                                               .read = Read,
                                               .destroy = Destroy};
