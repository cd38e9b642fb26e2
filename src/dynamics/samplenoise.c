/* samplenoise.c: Gaussian noise with the covariance of the gradients, without a factorisation of D; theory, (N.2). */
#include "dynamicsimpl.h"
#include <clarkia/random.h>
#include <math.h>

/* W[k stride + column] = base + scale (z_k - mean z)/sqrt(N), z the normals of this update. */
static PetscErrorCode NoiseWeights(CkDynamics dynamics, PetscInt step, double base, double scale, PetscInt stride,
                                   PetscInt column, double W[])
{
  const PetscInt N = dynamics->N;
  const CkRandom stream = {
    .seed = dynamics->seed, .purpose = CK_RANDOM_NOISE, .replica = (uint32_t)dynamics->replica, .step = (uint64_t)step};
  const double each = scale / sqrt((double)N);
  long double  sum = 0;
  double      *z, mean;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc1(N, &z));
  CkRandomNormals(&stream, 0, (size_t)N, z);
  for (PetscInt k = 0; k < N; ++k) sum += z[k];
  mean = (double)(sum / N);
  for (PetscInt k = 0; k < N; ++k) W[(size_t)k * (size_t)stride + (size_t)column] = base + each * (z[k] - mean);
  PetscCall(PetscFree(z));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkDynamicsNoisyGradient(CkDynamics dynamics, double scale, Vec g, CkUpdate *update)
{
  const CkBatch all = CkBatchAll(dynamics->N);
  double       *w;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc1(dynamics->N, &w));
  PetscCall(NoiseWeights(dynamics, dynamics->step, 1 / (double)dynamics->N, scale, 1, 0, w));
  PetscCall(CkLossGradient(dynamics->loss, &all, w, g, &update->mean, &update->correct));
  update->n = dynamics->N;
  PetscCall(PetscFree(w));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkDynamicsNoiseBlock(CkDynamics dynamics, PetscInt first, PetscInt m, Vec noise[])
{
  const CkBatch all = CkBatchAll(dynamics->N);
  double       *W;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc1((size_t)dynamics->N * (size_t)m, &W));
  for (PetscInt j = 0; j < m; ++j) PetscCall(NoiseWeights(dynamics, first + j, 0, 1, m, j, W));
  PetscCall(CkLossGradientBlock(dynamics->loss, &all, m, W, noise));
  PetscCall(PetscFree(W));
  PetscFunctionReturn(PETSC_SUCCESS);
}
