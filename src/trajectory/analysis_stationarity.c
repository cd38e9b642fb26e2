/* analysis_stationarity.c: does the mean of |x|^2 stand still, by eq. (M.4)? Blocks, errors and refusals of (V.11). */
#include "analysisimpl.h"
#include "series.h"
#include <clarkia/error.h>
#include <clarkia/probability.h>
#include <clarkia/random.h>
#include <math.h>
#include <string.h>

/* What (M.4) compares, of all replicas, and their sums over blocks. */
typedef struct {
  double  *work, *noise; /* [replicas x n] x.grad f; (eta/2) |g_B|^2 */
  double  *block;        /* [blocks x 2] */
  PetscInt per;          /* blocks of a replica */
  double   tau;          /* correlation time, in snapshots */
} Balance;

/* ---- conditions ---- */

/* Reasons of the process; why stays "" where there is none. */
static PetscErrorCode Conditions(const CkTrajectoryInfo *info, char why[], size_t length)
{
  PetscFunctionBeginUser;
  why[0] = '\0';
  if (strcmp(info->dynamics_type, "sgd") != 0)
    PetscCall(PetscSNPrintf(why, length, "the process is %s: holds for -dynamics_type sgd", info->dynamics_type));
  else if (info->momentum != 0)
    PetscCall(PetscSNPrintf(why, length, "momentum %g: holds without, -dynamics_momentum 0", info->momentum));
  else if (!info->replacement)
    PetscCall(PetscSNPrintf(why, length, "batches without replacement: holds with -dynamics_replacement"));
  else if (!info->mode[0])
    PetscCall(PetscSNPrintf(why, length, "the file does not say in which mode gradients were: record it anew"));
  else if (strcmp(info->mode, "training") == 0 && info->mode_matters)
    PetscCall(PetscSNPrintf(why, length,
                            "gradients of training mode with batch norm, dropout or augmentation: holds with "
                            "-dynamics_mode evaluation"));
  else if (info->batch < 1 || info->samples % info->batch != 0)
    PetscCall(PetscSNPrintf(
      why, length, "an epoch's last batch is smaller: holds where -dynamics_batch (%lld) divides the %lld samples",
      (long long)info->batch, (long long)info->samples));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* ---- series and blocks ---- */

/* Of one replica, from what was measured of f without the l2 of the dynamics: eq. (V.11). FALSE: not everything was. */
static PetscErrorCode ReadReplica(CkAnalysis a, PetscInt replica, double *work, double *noise, PetscBool *measured)
{
  enum { DOT, GRADIENT, WEIGHTS, TRACE, SERIES };
  static const CkTrajectoryScalar names[SERIES] = {CK_SCALAR_WEIGHTS_DOT_GRADIENT, CK_SCALAR_GRADIENT_NORM,
                                                   CK_SCALAR_WEIGHTS_NORM, CK_SCALAR_NOISE_TRACE};
  const double                    eta = a->dt / (double)a->spacing, l2 = a->info.l2, B = (double)a->info.batch;
  const size_t                    T = (size_t)a->info.snapshots;
  double                         *values;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc1(T * SERIES, &values));
  for (int s = 0; s < SERIES; ++s)
    PetscCall(CkTrajectoryReadScalar(a->trajectory, names[s], replica, values + (size_t)s * T));
  for (PetscInt t = 0; t < a->n; ++t) {
    const double *at = values + a->burn_in + t;
    const double  dot = at[DOT * T], gradient = at[GRADIENT * T], weights = at[WEIGHTS * T], trace = at[TRACE * T];
    const double  square = gradient * gradient + 2 * l2 * dot + l2 * l2 * weights * weights;

    work[t] = dot + l2 * weights * weights;
    noise[t] = eta / 2 * (square + trace / B);
    if (isnan(work[t]) || isnan(noise[t])) *measured = PETSC_FALSE;
  }
  PetscCall(PetscFree(values));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode CorrelationTime(CkAnalysis a, Balance *b)
{
  CkSeries series;

  PetscFunctionBeginUser;
  PetscCall(CkSeriesCreate(a->n, &series));
  b->tau = 1;
  for (PetscInt r = 0; r < a->info.replicas; ++r) {
    double work, noise;

    PetscCall(CkSeriesCorrelationTime(series, b->work + (size_t)r * (size_t)a->n, &work));
    PetscCall(CkSeriesCorrelationTime(series, b->noise + (size_t)r * (size_t)a->n, &noise));
    b->tau = fmax(b->tau, fmax(work, noise));
  }
  PetscCall(CkSeriesDestroy(&series));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Blocks of -trajectory_block snapshots, or of five correlation times, as those of circulation. */
static PetscErrorCode MakeBlocks(CkAnalysis a, Balance *b)
{
  const PetscInt R = a->info.replicas;
  PetscInt       length = a->block;

  PetscFunctionBeginUser;
  if (length == 0) {
    length = (PetscInt)ceil(fmin(5 * b->tau, (double)a->n));
    length = PetscMax(length, (PetscInt)((PetscInt64)a->n * R / CK_CIRCULATION_MAX_BLOCKS));
  }
  b->per = PetscMax(1, a->n / length);
  a->stationarity.blocks = b->per * R;
  PetscCall(PetscCalloc1((size_t)a->stationarity.blocks * 2, &b->block));
  for (PetscInt r = 0; r < R; ++r)
    for (PetscInt t = 0; t < a->n; ++t) {
      const PetscInt at = r * b->per + (PetscInt)((PetscInt64)t * b->per / a->n);

      b->block[2 * at] += b->work[(size_t)r * (size_t)a->n + (size_t)t];
      b->block[2 * at + 1] += b->noise[(size_t)r * (size_t)a->n + (size_t)t];
    }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Block bootstrap of the ratio of sums. */
static PetscErrorCode Errors(CkAnalysis a, const Balance *b)
{
  CkStationarity *s = &a->stationarity;
  double         *uniform, work = 0, noise = 0, sum = 0, square = 0;

  PetscFunctionBeginUser;
  for (PetscInt i = 0; i < s->blocks; ++i) {
    work += b->block[2 * i];
    noise += b->block[2 * i + 1];
  }
  s->ratio = work / noise;
  PetscCall(PetscMalloc1(s->blocks, &uniform));
  for (PetscInt draw = 0; draw < a->draws; ++draw) {
    const CkRandom stream = {a->seed, CK_RANDOM_BOOTSTRAP, 2, (uint64_t)draw};

    CkRandomUniforms(&stream, 0, (size_t)s->blocks, uniform);
    work = noise = 0;
    for (PetscInt i = 0; i < s->blocks; ++i) {
      const PetscInt chosen = PetscMin((PetscInt)(uniform[i] * (double)s->blocks), s->blocks - 1);

      work += b->block[2 * chosen];
      noise += b->block[2 * chosen + 1];
    }
    sum += work / noise - s->ratio;
    square += (work / noise - s->ratio) * (work / noise - s->ratio);
  }
  s->error = sqrt(fmax(0, (square - sum * sum / a->draws) / (a->draws - 1)));
  PetscCall(PetscFree(uniform));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Judge(CkAnalysis a, Balance *b)
{
  CkStationarity *s = &a->stationarity;
  double          noise = 0;

  PetscFunctionBeginUser;
  for (size_t i = 0; i < (size_t)a->info.replicas * (size_t)a->n; ++i) noise += b->noise[i];
  if (!(noise > 0)) {
    PetscCall(PetscStrncpy(s->why, "the gradients are 0", sizeof(s->why)));
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  PetscCall(CorrelationTime(a, b));
  PetscCall(MakeBlocks(a, b));
  PetscCall(Errors(a, b));
  PetscCall(PetscFree(b->block));
  s->kind = CK_STATIONARITY_SHORT;
  if (s->blocks < CK_CIRCULATION_MIN_BLOCKS) PetscFunctionReturn(PETSC_SUCCESS);
  s->p = s->error > 0 ? CkStudentTail((s->ratio - 1) / s->error, s->blocks - 1) : (double)(s->ratio == 1);
  s->kind = s->p <= a->level ? CK_STATIONARITY_NO : CK_STATIONARITY_YES;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The two series of all replicas, and four of one. */
double CkAnalysisStationarityMemory(CkAnalysis a)
{
  return 16 * (double)a->n * (double)a->info.replicas + 32 * (double)a->info.snapshots;
}

PetscErrorCode CkAnalysisStationarity(CkAnalysis a)
{
  const size_t    n = (size_t)a->n, R = (size_t)a->info.replicas;
  CkStationarity *s = &a->stationarity;
  PetscBool       measured = PETSC_TRUE;
  Balance         b = {0};

  PetscFunctionBeginUser;
  *s = (CkStationarity){.kind = CK_STATIONARITY_REFUSED, .ratio = NAN, .error = NAN, .p = NAN};
  PetscCall(Conditions(&a->info, s->why, sizeof(s->why)));
  if (s->why[0]) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(PetscMalloc2(R * n, &b.work, R * n, &b.noise));
  for (PetscInt r = 0; r < a->info.replicas; ++r)
    PetscCall(ReadReplica(a, r, b.work + (size_t)r * n, b.noise + (size_t)r * n, &measured));
  if (measured) PetscCall(Judge(a, &b));
  else PetscCall(PetscStrncpy(s->why, "tr D was not recorded: train with -record_measure noise", sizeof(s->why)));
  PetscCall(PetscFree2(b.work, b.noise));
  PetscFunctionReturn(PETSC_SUCCESS);
}
