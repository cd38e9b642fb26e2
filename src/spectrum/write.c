#include "spectrumimpl.h"
#include <math.h>
#include <string.h>

/* The result file: docs/formats.md, section "Spectrum". */

/* Eigenvectors are gathered to rank 0 this many bytes at a time. */
#define ROW_BYTES 67108864.

/* "/eigenvalues" in the root, "/spectra/0/eigenvalues" in "/spectra/0". */
static const char *In(const char path[], const char name[], char full[], size_t room)
{
  (void)PetscSNPrintf(full, room, "%s/%s", strcmp(path, "/") == 0 ? "" : path, name);
  return full;
}

static PetscErrorCode WriteValues(CkSpectrum s, CkFile file, const char path[])
{
  const PetscInt64 shape[] = {s->n};
  char             full[256];

  PetscFunctionBeginUser;
  PetscCall(
    CkFileWriteAll(file, In(path, "eigenvalues", full, sizeof(full)), CK_F64, 1, shape, s->values, "1",
                   "eigenvalues, descending; those of the dimension that are not listed are zero if complete = 1"));
  PetscCall(CkFileWriteAll(file, In(path, "residuals", full, sizeof(full)), CK_F64, 1, shape, s->residual, "1",
                           "|D v - lambda v|_2 / lambda_max with D v from the data; NaN where not computed"));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Rows first .. first+count on rank 0. */
static PetscErrorCode GatherRows(CkSpectrum s, VecScatter gather, Vec whole, PetscInt first, PetscInt count,
                                 double rows[])
{
  PetscInt n;

  PetscFunctionBeginUser;
  PetscCall(VecGetLocalSize(whole, &n)); /* d on rank 0, else 0 */
  for (PetscInt j = 0; j < count; ++j) {
    const PetscScalar *values;

    PetscCall(VecScatterBegin(gather, s->vectors[first + j], whole, INSERT_VALUES, SCATTER_FORWARD));
    PetscCall(VecScatterEnd(gather, s->vectors[first + j], whole, INSERT_VALUES, SCATTER_FORWARD));
    PetscCall(VecGetArrayRead(whole, &values));
    PetscCall(PetscArraycpy(rows + (size_t)j * (size_t)n, values, n));
    PetscCall(VecRestoreArrayRead(whole, &values));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode WriteVectors(CkSpectrum s, CkFile file)
{
  const PetscInt64 shape[] = {s->nvectors, s->d};
  const PetscInt   group = PetscMax(1, PetscMin(s->nvectors, (PetscInt)(ROW_BYTES / (8. * (double)s->d))));
  VecScatter       gather;
  Vec              whole;
  PetscInt         n;
  double          *rows;

  PetscFunctionBeginUser;
  PetscCall(
    CkFileCreateDataset(file, "/eigenvectors", CK_F64, 2, shape, "1",
                        "unit eigenvectors, row i to eigenvalue i; weights in the order of the parameter table"));
  PetscCall(VecScatterCreateToZero(s->vectors[0], &gather, &whole));
  PetscCall(VecGetLocalSize(whole, &n));
  PetscCall(PetscMalloc1((size_t)group * (size_t)n, &rows));
  for (PetscInt first = 0; first < s->nvectors; first += group) {
    const PetscInt count = PetscMin(group, s->nvectors - first);

    PetscCall(GatherRows(s, gather, whole, first, count, rows));
    PetscCall(CkFileWriteRows(file, "/eigenvectors", CK_F64, n > 0 ? first : 0, n > 0 ? count : 0, rows));
  }
  PetscCall(PetscFree(rows));
  PetscCall(VecScatterDestroy(&gather));
  PetscCall(VecDestroy(&whole));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode WriteProblem(CkSpectrum s, CkFile file, const char path[])
{
  CkNet       net;
  CkEngine    engine;
  const char *text;
  PetscBool   centred;

  PetscFunctionBeginUser;
  PetscCall(CkLossGetNet(s->loss, &net));
  PetscCall(CkLossGetEngine(s->loss, &engine));
  PetscCall(CkDiffusionGetCentred(s->D, &centred));
  PetscCall(CkFileWriteString(file, path, "kind", "spectrum"));
  PetscCall(CkFileWriteString(file, path, "operator", centred ? "diffusion" : "second moment"));
  PetscCall(CkFileWriteString(file, path, "method", CkSpectrumMethodName(s->method)));
  PetscCall(CkFileWriteString(file, path, "solver", CkSpectrumSolverName(s)));
  if (CkSpectrumMatrixFree(s)) {
    PetscCall(CkFileWriteString(file, path, "space", CkKrylovFormName(s->krylov.form)));
    PetscCall(CkFileWriteInt(file, path, "columns", s->krylov.block));
  }
  if (s->method == CK_SPECTRUM_GRAM) {
    PetscCall(CkFileWriteString(file, path, "products", s->form.precision == CK_FLOAT32 ? "single" : "double"));
    PetscCall(CkFileWriteReal(file, path, "product_noise", CkSpectrumProductNoise(s)));
    PetscCall(CkFileWriteInt(file, path, "factored_weights", s->d - s->form.formed));
  }
  if (net) {
    PetscCall(CkNetGetName(net, &text));
    PetscCall(CkFileWriteString(file, path, "network", text));
  }
  if (engine) {
    PetscCall(CkEngineGetType(engine, &text));
    PetscCall(CkFileWriteString(file, path, "engine", text));
  }
  PetscCall(CkFileWriteString(file, path, "weights_from", s->weights));
  PetscCall(CkFileWriteString(file, path, "samples_from", s->samples));
  PetscCall(CkFileWriteInt(file, path, "dimension", s->d));
  PetscCall(CkFileWriteInt(file, path, "samples", s->N));
  PetscCall(CkFileWriteInt(file, path, "complete", s->statistics.complete));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* A rank that is not known is left out, and so is a number that is not. */
PetscErrorCode CkSpectrumWriteStatistics(CkFile file, const char path[], const CkSpectrumStatistics *t)
{
  const struct {
    const char *name;
    double      value;
  } reals[] = {{"trace", t->trace},
               {"frobenius_norm", t->frobenius},
               {"lambda_max", t->lambda_max},
               {"threshold_float32", t->threshold_float32},
               {"threshold_float64", t->threshold_float64},
               {"threshold_gram32", t->threshold_gram32},
               {"threshold_1e-3", t->threshold_1e3},
               {"eigenvalue_mean", t->mean},
               {"eigenvalue_std", t->std},
               {"clipped_mean", t->clipped_mean},
               {"clipped_std", t->clipped_std},
               {"participation_ratio", t->participation_ratio},
               {"stable_rank", t->stable_rank},
               {"score", t->score}};
  const struct {
    const char *name;
    PetscInt    value;
  } ranks[] = {{"rank_float32", t->rank_float32},
               {"rank_float64", t->rank_float64},
               {"rank_gram32", t->rank_gram32},
               {"rank_1e-3", t->rank_1e3}};

  PetscFunctionBeginUser;
  for (size_t i = 0; i < PETSC_STATIC_ARRAY_LENGTH(reals); ++i) {
    if (!isnan(reals[i].value)) PetscCall(CkFileWriteReal(file, path, reals[i].name, reals[i].value));
  }
  for (size_t i = 0; i < PETSC_STATIC_ARRAY_LENGTH(ranks); ++i) {
    if (ranks[i].value != CK_RANK_UNKNOWN) PetscCall(CkFileWriteInt(file, path, ranks[i].name, ranks[i].value));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode WriteCosts(CkSpectrum s, CkFile file, const char path[])
{
  PetscFunctionBeginUser;
  PetscCall(CkFileWriteReal(file, path, "passes", s->statistics.passes));
  PetscCall(CkFileWriteReal(file, path, "solver_passes", s->passes[CK_PHASE_SOLVE]));
  PetscCall(CkFileWriteReal(file, path, "sweeps", s->statistics.sweeps));
  PetscCall(CkFileWriteReal(file, path, "seconds", s->statistics.seconds));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Self-checks: names in one string, a line each, with discrepancies and bounds in the same order. */
static PetscErrorCode WriteChecks(CkSpectrum s, CkFile file, const char path[])
{
  double measured[CK_SPECTRUM_CHECKS], bound[CK_SPECTRUM_CHECKS];
  char   names[CK_SPECTRUM_CHECKS * 64] = "";

  PetscFunctionBeginUser;
  if (s->checks.n == 0) PetscFunctionReturn(PETSC_SUCCESS);
  for (PetscInt i = 0; i < s->checks.n; ++i) {
    if (i > 0) PetscCall(PetscStrlcat(names, "\n", sizeof(names)));
    PetscCall(PetscStrlcat(names, s->checks.list[i].name, sizeof(names)));
    measured[i] = s->checks.list[i].measured;
    bound[i] = s->checks.list[i].bound;
  }
  PetscCall(CkFileWriteString(file, path, "check_names", names));
  PetscCall(CkFileWriteReals(file, path, "check_discrepancies", s->checks.n, measured));
  PetscCall(CkFileWriteReals(file, path, "check_bounds", s->checks.n, bound));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkSpectrumWriteIn(CkSpectrum s, CkFile file, const char path[])
{
  PetscFunctionBeginUser;
  PetscCheck(s->solved, s->comm, PETSC_ERR_ORDER, "Call CkSpectrumSolve() first");
  PetscCall(CkFileCreateGroup(file, path));
  PetscCall(WriteProblem(s, file, path));
  PetscCall(CkSpectrumWriteStatistics(file, path, &s->statistics));
  PetscCall(WriteCosts(s, file, path));
  PetscCall(WriteChecks(s, file, path));
  PetscCall(WriteValues(s, file, path));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkSpectrumWrite(CkSpectrum s, CkFile file)
{
  PetscFunctionBeginUser;
  PetscCall(CkSpectrumWriteIn(s, file, "/"));
  if (s->nvectors > 0) PetscCall(WriteVectors(s, file));
  if (CkSpectrumRouteFind(s->method)->write) PetscCall(CkSpectrumRouteFind(s->method)->write(s, file));
  if (s->groups.kind != CK_GROUP_NONE) PetscCall(CkGroupsWrite(s, file));
  PetscFunctionReturn(PETSC_SUCCESS);
}
