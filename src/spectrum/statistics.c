#include <clarkia/spectrum.h>
#include <float.h>
#include <math.h>

/* Numbers of a spectrum; docs/theory.md, section "Statistics of the spectrum". */

static void SetThresholds(CkSpectrumStatistics *s)
{
  s->threshold_float32 = s->lambda_max * (double)s->dimension * FLT_EPSILON;
  s->threshold_float64 = s->lambda_max * (double)s->dimension * DBL_EPSILON;
  s->threshold_gram32 = s->lambda_max * (double)PetscMin(s->dimension, s->samples) * FLT_EPSILON;
  s->threshold_1e3 = s->lambda_max * 1e-3;
}

/* Eigenvalues above the threshold, or CK_RANK_UNKNOWN where those that were not computed might lie above it too. From
   number `bound` on they are zero but for rounding errors, which may lie above a threshold. */
static PetscInt Rank(PetscInt n, const double values[], PetscInt bound, double threshold)
{
  const PetscInt most = PetscMin(n, bound);
  PetscInt       above = 0;

  while (above < most && values[above] > threshold) ++above;
  return above == n && n < bound ? CK_RANK_UNKNOWN : above;
}

/* Mean and standard deviation over all d eigenvalues, each raised to at least `floor`; the d - n that are not listed
   are zeros. Two sweeps, so that nothing cancels. */
static void Moments(PetscInt n, const double values[], PetscInt d, double floor, double *mean, double *std)
{
  const double zero = PetscMax(0., floor), zeros = (double)(d - n);
  double       sum = zeros * zero, squares;

  for (PetscInt i = 0; i < n; ++i) sum += PetscMax(values[i], floor);
  *mean = sum / (double)d;
  squares = zeros * (zero - *mean) * (zero - *mean);
  for (PetscInt i = 0; i < n; ++i) squares += PetscSqr(PetscMax(values[i], floor) - *mean);
  *std = sqrt(squares / (double)d);
}

/* What needs every non-zero eigenvalue. */
static void SetComplete(CkSpectrumStatistics *s, const double values[])
{
  const PetscBool coarse = (PetscBool)((double)s->dimension * FLT_EPSILON > 0.01);
  const PetscInt  rank = coarse ? s->rank_gram32 : s->rank_float32;
  double          sum = 0, squares = 0;

  for (PetscInt i = 0; i < s->n; ++i) {
    sum += values[i];
    squares += values[i] * values[i];
  }
  s->frobenius = sqrt(squares);
  Moments(s->n, values, s->dimension, -HUGE_VAL, &s->mean, &s->std);
  Moments(s->n, values, s->dimension, s->threshold_float32, &s->clipped_mean, &s->clipped_std);
  s->participation_ratio = squares > 0 ? sum * sum / squares : 0;
  s->score = (double)rank / (double)s->dimension + s->std * s->std;
}

void CkSpectrumStatisticsSetSquare(CkSpectrumStatistics *s, double square)
{
  const double mean = s->trace / (double)s->dimension;

  s->frobenius = sqrt(square);
  s->std = sqrt(PetscMax(0, square / (double)s->dimension - mean * mean));
  s->participation_ratio = square > 0 ? s->trace * s->trace / square : 0;
}

PetscErrorCode CkSpectrumComputeStatistics(PetscInt n, const double values[], PetscInt dimension, PetscInt samples,
                                           PetscInt bound, double trace, CkSpectrumStatistics *s)
{
  const PetscBool complete = (PetscBool)(n >= bound);

  PetscFunctionBeginUser;
  PetscCheck(n >= 1 && n <= dimension && samples >= 1, PETSC_COMM_SELF, PETSC_ERR_ARG_OUTOFRANGE,
             "%" PetscInt_FMT " eigenvalues of dimension %" PetscInt_FMT ", %" PetscInt_FMT " samples", n, dimension,
             samples);
  for (PetscInt i = 0; i < n; ++i) {
    PetscCheck(isfinite(values[i]) && (i == 0 || values[i] <= values[i - 1]), PETSC_COMM_SELF, PETSC_ERR_ARG_WRONG,
               "Eigenvalue %" PetscInt_FMT " is %g: they must be finite and in descending order", i, values[i]);
  }
  *s = (CkSpectrumStatistics){.n = n, .dimension = dimension, .samples = samples, .complete = complete};
  s->trace = trace;
  s->lambda_max = values[0];
  SetThresholds(s);
  s->rank_float32 = Rank(n, values, bound, s->threshold_float32);
  s->rank_float64 = Rank(n, values, bound, s->threshold_float64);
  s->rank_gram32 = Rank(n, values, bound, s->threshold_gram32);
  s->rank_1e3 = Rank(n, values, bound, s->threshold_1e3);
  s->mean = trace / (double)dimension;
  s->stable_rank = s->lambda_max > 0 ? trace / s->lambda_max : 0;
  s->std = NAN;
  s->clipped_mean = NAN;
  s->clipped_std = NAN;
  s->frobenius = NAN;
  s->participation_ratio = NAN;
  s->score = NAN;
  if (complete) SetComplete(s, values);
  PetscFunctionReturn(PETSC_SUCCESS);
}
