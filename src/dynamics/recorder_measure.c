/* recorder_measure.c: loss, error, gradient and noise of a snapshot, in evaluation mode; sums in the order of samples
   and weights, so that they have the same bits on any number of ranks. */
#include "fusedpath.h"
#include "recorder.h"
#include <math.h>

static double Norm(PetscInt n, const double a[])
{
  long double sum = 0;

  for (PetscInt i = 0; i < n; ++i) sum += (long double)a[i] * a[i];
  return (double)sqrtl(sum);
}

/* |grad f|, |x| and x.grad f, with loss and error from the same pass. */
static PetscErrorCode MeasureGradient(CkRecorder r, double scalars[])
{
  const CkDynamics p = r->dynamics;
  const CkBatch    all = CkBatchAll(p->N);
  double           square, weights;
  PetscInt         correct;
  CkNet            net;

  PetscFunctionBeginUser;
  if (!r->g) PetscCall(CkLossCreateVec(p->loss, &r->g));
  if (p->fused && CkFusedPathTaken(p->fused))
    PetscCall(CkFusedPathGradient(p->fused, p, r->g, &scalars[CK_SCALAR_LOSS], &correct));
  else PetscCall(CkLossGradient(p->loss, &all, NULL, r->g, &scalars[CK_SCALAR_LOSS], &correct));
  PetscCall(CkLossDot(p->loss, r->g, r->g, &square));
  PetscCall(CkLossDot(p->loss, p->x, p->x, &weights));
  PetscCall(CkLossDot(p->loss, p->x, r->g, &scalars[CK_SCALAR_WEIGHTS_DOT_GRADIENT]));
  PetscCall(CkLossGetNet(p->loss, &net));
  if (net) scalars[CK_SCALAR_ERROR] = 1 - (double)correct / (double)p->N;
  scalars[CK_SCALAR_GRADIENT_NORM] = sqrt(square);
  scalars[CK_SCALAR_WEIGHTS_NORM] = sqrt(weights);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* |grad f|, |x| and x.grad f of grad f = mean + l2 x. */
static void Products(PetscInt n, const double mean[], double l2, const double x[], double scalars[])
{
  long double gradient = 0, product = 0;

  for (PetscInt i = 0; i < n; ++i) {
    const double entry = mean[i] + l2 * x[i];

    gradient += (long double)entry * entry;
    product += (long double)entry * x[i];
  }
  scalars[CK_SCALAR_GRADIENT_NORM] = (double)sqrtl(gradient);
  scalars[CK_SCALAR_WEIGHTS_NORM] = Norm(n, x);
  scalars[CK_SCALAR_WEIGHTS_DOT_GRADIENT] = (double)product;
}

/* tr D = (1/N) sum_k |g_k|^2 - |(1/N) sum_k g_k|^2, with what is measured of grad f from the same pass. */
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
  centre = Norm(p->d, mean);
  scalars[CK_SCALAR_NOISE_TRACE] = (double)(sum / p->N - (long double)centre * centre);
  Products(p->d, mean, l2, x, scalars);
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
