/* recorder_measure.c: loss, error, gradient and noise of a snapshot, in evaluation mode; sums in the order of samples
   and weights, so that they have the same bits on any number of ranks. */
#include "fusedpath.h"
#include "recorder.h"
#include <math.h>

static double Norm(PetscInt n, const double a[], double l2, const double x[])
{
  long double sum = 0;

  for (PetscInt i = 0; i < n; ++i) {
    const double entry = a[i] + l2 * x[i];

    sum += (long double)entry * entry;
  }
  return (double)sqrtl(sum);
}

/* |grad f|, with loss and error from the same pass. */
static PetscErrorCode MeasureGradient(CkRecorder r, double scalars[])
{
  const CkDynamics p = r->dynamics;
  const CkBatch    all = CkBatchAll(p->N);
  double           square;
  PetscInt         correct;
  CkNet            net;

  PetscFunctionBeginUser;
  if (!r->g) PetscCall(CkLossCreateVec(p->loss, &r->g));
  if (p->fused && CkFusedPathTaken(p->fused))
    PetscCall(CkFusedPathGradient(p->fused, p, r->g, &scalars[CK_SCALAR_LOSS], &correct));
  else PetscCall(CkLossGradient(p->loss, &all, NULL, r->g, &scalars[CK_SCALAR_LOSS], &correct));
  PetscCall(CkLossDot(p->loss, r->g, r->g, &square));
  PetscCall(CkLossGetNet(p->loss, &net));
  if (net) scalars[CK_SCALAR_ERROR] = 1 - (double)correct / (double)p->N;
  scalars[CK_SCALAR_GRADIENT_NORM] = sqrt(square);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* tr D = (1/N) sum_k |g_k|^2 - |(1/N) sum_k g_k|^2, with |grad f| from the same pass. */
static PetscErrorCode MeasureNoise(CkRecorder r, double scalars[])
{
  const CkDynamics p = r->dynamics;
  const double    *norms, *mean, *x;
  double           l2, centre;
  long double      sum = 0;

  PetscFunctionBeginUser;
  PetscCall(CkLossSquaredNorms(p->loss, &norms));
  PetscCall(CkLossMeanGradient(p->loss, &mean));
  PetscCall(CkLossGetPointArray(p->loss, &x));
  PetscCall(CkLossGetL2(p->loss, &l2));
  for (PetscInt k = 0; k < p->N; ++k) sum += norms[k];
  centre = Norm(p->d, mean, 0, x);
  scalars[CK_SCALAR_NOISE_TRACE] = (double)(sum / p->N - (long double)centre * centre);
  scalars[CK_SCALAR_GRADIENT_NORM] = Norm(p->d, mean, l2, x);
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkRecorderMeasure(CkRecorder r, double scalars[CK_SCALARS])
{
  const CkDynamics p = r->dynamics;

  PetscFunctionBeginUser;
  for (int s = 0; s < CK_SCALARS; ++s) scalars[s] = NAN;
  if (r->noise) PetscCall(MeasureNoise(r, scalars));
  if (r->gradient && !r->noise) PetscCall(MeasureGradient(r, scalars));
  else if (r->loss) PetscCall(CkDynamicsEvaluate(p->loss, &scalars[CK_SCALAR_LOSS], &scalars[CK_SCALAR_ERROR]));
  if (r->test) {
    PetscCall(CkLossSetPoint(p->test, p->x));
    PetscCall(CkDynamicsEvaluate(p->test, &scalars[CK_SCALAR_TEST_LOSS], &scalars[CK_SCALAR_TEST_ERROR]));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}
