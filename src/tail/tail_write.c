#include "tailimpl.h"
#include <clarkia/error.h>
#include <clarkia/probability.h>
#include <stddef.h>

/* tail_write.c: datasets and attributes of docs/formats.md, "Tails". */

typedef struct {
  const char *name;
  size_t      offset;
  const char *description;
} Column;

/* One number of each of n structures of `size` bytes. */
static PetscErrorCode WriteColumns(CkFile file, const char group[], PetscInt n, const void *items, size_t size,
                                   size_t count, const Column columns[])
{
  const PetscInt64 shape = n;
  double          *values;
  char             path[128];

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc1(n, &values));
  for (size_t c = 0; c < count; ++c) {
    for (PetscInt i = 0; i < n; ++i)
      values[i] = *(const double *)((const char *)items + (size_t)i * size + columns[c].offset);
    PetscCall(PetscSNPrintf(path, sizeof(path), "%s/%s", group, columns[c].name));
    PetscCall(CkFileWriteAll(file, path, CK_F64, 1, &shape, values, "1", columns[c].description));
  }
  PetscCall(PetscFree(values));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode WriteBatches(CkTail t, CkFile file)
{
  static const Column columns[] = {
    {"mean", offsetof(CkTailSeries, normality.mean), "of the noise over the minibatches"},
    {"deviation", offsetof(CkTailSeries, normality.deviation), "standard deviation, 1/n"},
    {"skewness", offsetof(CkTailSeries, normality.skewness), "third moment over deviation^3"},
    {"kurtosis", offsetof(CkTailSeries, normality.kurtosis), "excess: fourth moment over deviation^4, less 3"},
    {"sample_kurtosis", offsetof(CkTailSeries, kurtosis), "excess kurtosis of single samples"},
    {"anderson_darling", offsetof(CkTailSeries, normality.statistic), "A^2 with its correction for n"},
    {"p", offsetof(CkTailSeries, normality.p), "its significance"},
    {"p_adjusted", offsetof(CkTailSeries, adjusted), "for all series together"},
    {"alpha", offsetof(CkTailSeries, index.alpha), "stable index"},
    {"alpha_lower", offsetof(CkTailSeries, index.lower), "95% interval"},
    {"alpha_upper", offsetof(CkTailSeries, index.upper), "95% interval; may be infinite"}};
  const PetscInt64 m = t->m, shape[] = {t->m, CK_TAIL_QUANTILES}, q = CK_TAIL_QUANTILES;
  PetscInt64      *numbers;
  double           normal[CK_TAIL_QUANTILES];

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc1(t->m, &numbers));
  for (PetscInt j = 0; j < t->m; ++j) numbers[j] = t->series[j].coordinate;
  PetscCall(CkFileWriteAll(file, "/minibatches/direction", CK_I64, 1, &m, numbers, "1",
                           "number of the weight, of the eigenvector or of the random direction"));
  PetscCall(PetscFree(numbers));
  PetscCall(WriteColumns(file, "/minibatches", t->m, t->series, sizeof(CkTailSeries),
                         PETSC_STATIC_ARRAY_LENGTH(columns), columns));
  for (int i = 0; i < CK_TAIL_QUANTILES; ++i) normal[i] = CkNormalQuantile((i + 1.) / (CK_TAIL_QUANTILES + 1.));
  PetscCall(CkFileWriteAll(file, "/minibatches/quantiles", CK_F64, 2, shape, t->quantiles, "1",
                           "1% to 99% of each series, less its mean, over its deviation"));
  PetscCall(
    CkFileWriteAll(file, "/minibatches/normal_quantiles", CK_F64, 1, &q, normal, "1", "of the normal distribution"));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode WriteWeights(CkTail t, CkFile file)
{
  static const Column columns[] = {
    {"alpha", offsetof(CkTailFlat, index.alpha), "stable index across the weights"},
    {"alpha_lower", offsetof(CkTailFlat, index.lower), "95% interval"},
    {"alpha_upper", offsetof(CkTailFlat, index.upper), "95% interval; may be infinite"},
    {"kurtosis", offsetof(CkTailFlat, kurtosis), "excess kurtosis across the weights"},
    {"alpha_standardised", offsetof(CkTailFlat, standardised.alpha), "each weight over its own deviation"},
    {"kurtosis_standardised", offsetof(CkTailFlat, standardised_kurtosis), "likewise"}};
  const size_t count = PETSC_STATIC_ARRAY_LENGTH(columns);

  PetscFunctionBeginUser;
  PetscCall(WriteColumns(file, "/weights/minibatch", t->flats, t->flat, sizeof(CkTailFlat), count, columns));
  PetscCall(WriteColumns(file, "/weights/normal", t->flats, t->gaussian, sizeof(CkTailFlat), count, columns));
  PetscCall(CkFileWriteReal(file, "/weights", "alpha_expected", t->alpha_expected));
  PetscCall(CkFileWriteInt(file, "/weights", "moving", t->moving));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkTailWrite(CkTail t, CkFile file)
{
  PetscFunctionBeginUser;
  PetscCheck(t->done, t->comm, PETSC_ERR_ORDER, "Call CkTailRun() first");
  PetscCall(CkFileWriteString(file, "/", "kind", "tail"));
  PetscCall(CkFileWriteInt(file, "/", "dimension", t->d));
  PetscCall(CkFileWriteInt(file, "/", "samples", t->N));
  PetscCall(CkFileWriteInt(file, "/", "batch", t->B));
  PetscCall(CkFileWriteInt(file, "/", "batches", t->batches));
  PetscCall(CkFileWriteInt(file, "/", "replacement", t->replacement));
  PetscCall(CkFileWriteReal(file, "/", "level", t->level));
  PetscCall(CkFileWriteInt(file, "/", "rejected", t->rejected));
  PetscCall(CkFileWriteReal(file, "/", "variance_ratio", t->ratio));
  PetscCall(CkFileWriteReal(file, "/", "variance_ratio_error", t->ratio_error));
  PetscCall(CkFileWriteReal(file, "/", "passes", t->passes));
  PetscCall(CkFileWriteReal(file, "/", "seconds", t->seconds));
  PetscCall(WriteBatches(t, file));
  PetscCall(WriteWeights(t, file));
  PetscFunctionReturn(PETSC_SUCCESS);
}
