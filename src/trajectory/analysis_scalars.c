#include "analysisimpl.h"
#include <math.h>

/* analysis_scalars.c: what was measured at the snapshots. */

/* Moving average y_t = sum (1 - w)^i x_{t-i} / sum (1 - w)^i over what is measured, w = 1/(1 + span). */
static void Smooth(PetscInt64 n, double span, const double x[], double y[])
{
  const double keep = span / (1 + span);
  double       sum = 0, weight = 0;

  for (PetscInt64 t = 0; t < n; ++t) {
    sum *= keep;
    weight *= keep;
    if (!isnan(x[t])) {
      sum += x[t];
      weight += 1;
    }
    y[t] = weight > 0 ? sum / weight : NAN;
  }
}

/* Mean over the replicas of those that are measured. */
static PetscErrorCode ReadMean(CkAnalysis a, CkTrajectoryScalar scalar, double mean[])
{
  const PetscInt64 T = a->info.snapshots;
  double          *one, *count;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc1((size_t)T, &one));
  PetscCall(PetscCalloc1((size_t)T, &count));
  PetscCall(PetscArrayzero(mean, (size_t)T));
  for (PetscInt r = 0; r < a->info.replicas; ++r) {
    PetscCall(CkTrajectoryReadScalar(a->trajectory, scalar, r, one));
    for (PetscInt64 t = 0; t < T; ++t) {
      if (isnan(one[t])) continue;
      mean[t] += one[t];
      ++count[t];
      a->scalars.measured[scalar] = PETSC_TRUE;
    }
  }
  for (PetscInt64 t = 0; t < T; ++t) mean[t] = count[t] > 0 ? mean[t] / count[t] : NAN;
  PetscCall(PetscFree(one));
  PetscCall(PetscFree(count));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static double MeanOf(PetscInt64 n, const double x[])
{
  double     sum = 0;
  PetscInt64 count = 0;

  for (PetscInt64 t = 0; t < n; ++t)
    if (!isnan(x[t])) {
      sum += x[t];
      ++count;
    }
  return count ? sum / (double)count : NAN;
}

PetscErrorCode CkAnalysisScalars(CkAnalysis a)
{
  const PetscInt64    T = a->info.snapshots, tenth = PetscMax(1, a->n / 10);
  CkScalarStatistics *s = &a->scalars;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc2((size_t)T, &s->norm, (size_t)T, &s->smooth));
  PetscCall(ReadMean(a, CK_SCALAR_GRADIENT_NORM, s->norm));
  for (PetscInt64 t = 0; t < T; ++t) s->norm[t] /= sqrt((double)a->info.dimension);
  Smooth(T, a->span, s->norm, s->smooth);
  s->first = MeanOf(tenth, s->norm + a->burn_in);
  s->last = MeanOf(tenth, s->norm + T - tenth);
  PetscFunctionReturn(PETSC_SUCCESS);
}
