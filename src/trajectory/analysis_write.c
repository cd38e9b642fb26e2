#include "analysisimpl.h"
#include <clarkia/error.h>
#include <clarkia/probability.h>
#include <math.h>

/* analysis_write.c: datasets and attributes of docs/formats.md, "Analysis". */

static const char *const verdicts[] = {[CK_VERDICT_YES] = "yes",           [CK_VERDICT_NO] = "no",
                                       [CK_VERDICT_SHORT] = "too short",   [CK_VERDICT_DRIFT] = "not stationary",
                                       [CK_VERDICT_SINGULAR] = "singular", [CK_VERDICT_NONE] = "not asked"};

static PetscErrorCode Vector(CkFile file, const char path[], PetscInt64 n, const double values[], const char units[],
                             const char description[])
{
  PetscFunctionBeginUser;
  PetscCall(CkFileWriteAll(file, path, CK_F64, 1, &n, values, units, description));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Square(CkFile file, const char path[], PetscInt64 k, const double values[], const char units[],
                             const char description[])
{
  const PetscInt64 shape[] = {k, k};

  PetscFunctionBeginUser;
  PetscCall(CkFileWriteAll(file, path, CK_F64, 2, shape, values, units, description));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode WriteSpectrum(CkAnalysis a, CkFile file)
{
  const double     unit = 1 / ((double)(a->n - 1) * a->dt);
  const PetscInt64 shape[] = {a->nbands, CK_ANALYSIS_QUANTILES};
  double          *frequency;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc1(PetscMax(a->frequencies, a->nbands), &frequency));
  for (PetscInt f = 0; f < a->frequencies; ++f) frequency[f] = (double)f * unit;
  PetscCall(Vector(file, "/increments/frequency", a->frequencies, frequency, "1/time",
                   "cycles per unit of time, eta x updates"));
  PetscCall(Vector(file, "/increments/amplitude", a->frequencies, a->amplitude, "weight",
                   "|rfft| of the increments, mean over the series"));
  PetscCall(Vector(file, "/increments/amplitude_std", a->frequencies, a->amplitude_std, "weight",
                   "standard deviation over the series"));
  for (PetscInt b = 0; b < a->nbands; ++b) frequency[b] = (double)(a->band[b] + a->band[b + 1] - 1) / 2 * unit;
  PetscCall(Vector(file, "/increments/band_frequency", a->nbands, frequency, "1/time", "middles of bands"));
  PetscCall(CkFileWriteAll(file, "/increments/quantiles", CK_F64, 2, shape, a->band_quantiles, "weight",
                           "mean amplitude in each band: 5, 25, 50, 75 and 95% of the series that move, to 1.2%"));
  PetscCall(CkFileWriteReal(file, "/increments", "white_level", a->columns.white_level));
  PetscCall(CkFileWriteReal(file, "/increments", "low", a->columns.low));
  PetscCall(CkFileWriteReal(file, "/increments", "high", a->columns.high));
  PetscCall(PetscFree(frequency));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode WriteCorrelation(CkAnalysis a, CkFile file)
{
  const PetscInt64 n = a->nlags, shape[] = {a->nlags, CK_ANALYSIS_QUANTILES};
  PetscInt64      *lag;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc1(a->nlags, &lag));
  for (PetscInt j = 0; j < a->nlags; ++j) lag[j] = a->lag[j];
  PetscCall(CkFileWriteAll(file, "/autocorrelation/lag", CK_I64, 1, &n, lag, "1", "lag in snapshots"));
  PetscCall(
    Vector(file, "/autocorrelation/mean", n, a->r, "1", "biased autocorrelation, mean over the series that move"));
  PetscCall(Vector(file, "/autocorrelation/std", n, a->r_std, "1", "standard deviation over the series"));
  PetscCall(CkFileWriteAll(file, "/autocorrelation/quantiles", CK_F64, 2, shape, a->quantiles, "1",
                           "5, 25, 50, 75 and 95% of the series, to 0.001"));
  PetscCall(Vector(file, "/autocorrelation/outside_95", n, a->outside95, "1",
                   "share of the series outside +-1.96/sqrt(n); 0 at lag 0, which is not looked at"));
  PetscCall(Vector(file, "/autocorrelation/outside_99", n, a->outside99, "1", "the same for +-2.58/sqrt(n)"));
  PetscCall(CkFileWriteReal(file, "/autocorrelation", "band_95", CkNormalQuantile(0.975) / sqrt((double)a->n)));
  PetscCall(CkFileWriteReal(file, "/autocorrelation", "band_99", CkNormalQuantile(0.995) / sqrt((double)a->n)));
  PetscCall(CkFileWriteReal(file, "/autocorrelation", "share_outside_95", a->columns.share95));
  PetscCall(CkFileWriteReal(file, "/autocorrelation", "share_outside_99", a->columns.share99));
  PetscCall(CkFileWriteInt(file, "/autocorrelation", "bound_95", a->columns.bound95));
  PetscCall(CkFileWriteInt(file, "/autocorrelation", "bound_99", a->columns.bound99));
  PetscCall(CkFileWriteReal(file, "/autocorrelation", "series_beyond_bound_95", a->columns.beyond95));
  PetscCall(CkFileWriteReal(file, "/autocorrelation", "series_beyond_bound_99", a->columns.beyond99));
  PetscCall(PetscFree(lag));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode WriteSnapshots(CkAnalysis a, CkFile file)
{
  const PetscInt64 T = a->info.snapshots, shape[] = {a->n, a->info.replicas, a->k};

  PetscFunctionBeginUser;
  PetscCall(
    CkFileWriteAll(file, "/step", CK_I64, 1, &T, a->step, "1", "updates done at each snapshot, burn-in included"));
  PetscCall(Vector(file, "/time", T, a->time, "time", "eta x updates"));
  PetscCall(Vector(file, "/gradient_norm", T, a->scalars.norm, "1",
                   "|grad f|/sqrt(d), mean over the replicas; NaN where not measured"));
  PetscCall(Vector(file, "/gradient_norm_average", T, a->scalars.smooth, "1", "its moving average"));
  PetscCall(CkFileWriteAll(file, "/projections", CK_F64, 3, shape, a->y, "weight",
                           "snapshots after the burn-in, replicas, directions"));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode WriteMatrices(CkAnalysis a, CkFile file)
{
  const CkCirculation *c = &a->circulation;

  PetscFunctionBeginUser;
  PetscCall(Square(file, "/circulation/current", a->k, c->A, "weight^2/time",
                   "A_ij = <y_i dy_j - dy_i y_j>/dt, twice the stochastic area per unit time"));
  PetscCall(
    Square(file, "/circulation/current_error", a->k, c->A_error, "weight^2/time", "standard error, block bootstrap"));
  PetscCall(Square(file, "/circulation/significance", a->k, c->pair_p, "1",
                   "probability of so large a current by chance, adjusted for all pairs; 0 on the diagonal"));
  PetscCall(Square(file, "/circulation/covariance", a->k, a->blocks.covariance, "weight^2", "of the projections"));
  if (a->expected) {
    PetscCall(
      Square(file, "/circulation/expected", a->k, a->A_expected, "weight^2/time", "current that theory expects"));
    PetscCall(Vector(file, "/circulation/rotation_expected", c->planes, a->rotation_expected, "1/time",
                     "rotation frequencies of that current"));
  }
  PetscCall(Vector(file, "/circulation/area_rates", c->planes, c->area_value, "weight^2/time",
                   "A has the eigenvalues +- i times these"));
  PetscCall(Vector(file, "/circulation/rotation", c->planes, c->rotation, "1/time",
                   "rotation frequencies in coordinates of covariance 1, radians per unit of time"));
  PetscCall(
    Vector(file, "/circulation/rotation_error", c->planes, c->rotation_error, "1/time", "standard error, bootstrap"));
  PetscCall(Vector(file, "/circulation/rotation_null", c->planes, c->rotation_null, "1/time",
                   "what a reversible process exceeds with probability `level`"));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode WriteCirculation(CkAnalysis a, CkFile file)
{
  const CkCirculation *c = &a->circulation;
  const char          *why;

  PetscFunctionBeginUser;
  PetscCall(WriteMatrices(a, file));
  PetscCall(CkFileWriteReal(file, "/circulation", "p", c->p));
  PetscCall(CkFileWriteReal(file, "/circulation", "rotation_p", c->rotation_p));
  PetscCall(CkFileWriteReal(file, "/circulation", "drift_p", c->drift_p));
  PetscCall(CkFileWriteInt(file, "/circulation", "pairs", a->blocks.pairs));
  PetscCall(CkFileWriteInt(file, "/circulation", "blocks", a->blocks.count));
  PetscCall(CkFileWriteInt(file, "/circulation", "block_length", a->blocks.length));
  PetscCall(CkFileWriteReal(file, "/circulation", "correlation_time", a->blocks.tau));
  if (CkAnalysisIsMarkov(a, &why)) {
    PetscCall(CkFileWriteReal(file, "/circulation", "entropy_production_bound", c->entropy));
    PetscCall(CkFileWriteReal(file, "/circulation", "entropy_production_bound_95", c->entropy_lower));
  }
  if (a->expected) {
    PetscCall(CkFileWriteReal(file, "/circulation", "expected_slope", a->slope));
    PetscCall(CkFileWriteReal(file, "/circulation", "expected_correlation", a->correlation));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode WriteStationarity(CkAnalysis a, CkFile file)
{
  static const char *const names[] = {[CK_STATIONARITY_YES] = "yes",
                                      [CK_STATIONARITY_NO] = "no",
                                      [CK_STATIONARITY_SHORT] = "too short",
                                      [CK_STATIONARITY_REFUSED] = "not tested"};
  const CkStationarity    *s = &a->stationarity;

  PetscFunctionBeginUser;
  PetscCall(CkFileCreateGroup(file, "/stationarity"));
  PetscCall(CkFileWriteString(file, "/stationarity", "stationary", names[s->kind]));
  PetscCall(CkFileWriteString(file, "/stationarity", "reason", s->why));
  PetscCall(CkFileWriteReal(file, "/stationarity", "ratio", s->ratio));
  PetscCall(CkFileWriteReal(file, "/stationarity", "ratio_error", s->error));
  PetscCall(CkFileWriteReal(file, "/stationarity", "p", s->p));
  PetscCall(CkFileWriteInt(file, "/stationarity", "blocks", s->blocks));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkAnalysisWrite(CkAnalysis a, CkFile file)
{
  PetscFunctionBeginUser;
  PetscCheck(a->done, a->comm, PETSC_ERR_ORDER, "Call CkAnalysisRun() first");
  PetscCall(CkFileWriteString(file, "/", "kind", "analysis"));
  PetscCall(CkFileWriteString(file, "/", "circulates", verdicts[a->verdict]));
  PetscCall(CkFileWriteString(file, "/", "circulates_reason", a->why));
  PetscCall(CkFileWriteReal(file, "/", "level", a->level));
  PetscCall(CkFileWriteString(file, "/", "directions", CkDirectionsName(a->kind)));
  PetscCall(CkFileWriteInt(file, "/", "snapshots", a->n));
  PetscCall(CkFileWriteInt(file, "/", "burn_in", a->burn_in));
  PetscCall(CkFileWriteInt(file, "/", "spacing", a->spacing));
  PetscCall(CkFileWriteReal(file, "/", "interval", a->dt));
  PetscCall(CkFileWriteInt(file, "/", "columns", a->info.columns));
  PetscCall(CkFileWriteInt(file, "/", "replicas", a->info.replicas));
  PetscCall(CkFileWriteInt(file, "/", "dimension", a->info.dimension));
  PetscCall(CkFileWriteInt(file, "/", "series", a->columns.series));
  PetscCall(CkFileWriteInt(file, "/", "series_constant", a->columns.constant));
  PetscCall(CkFileWriteInt(file, "/", "series_drifting", a->columns.drifting));
  PetscCall(WriteSpectrum(a, file));
  PetscCall(WriteCorrelation(a, file));
  PetscCall(WriteSnapshots(a, file));
  PetscCall(WriteStationarity(a, file));
  if (a->circulation.k) PetscCall(WriteCirculation(a, file));
  PetscFunctionReturn(PETSC_SUCCESS);
}
