#pragma once
#include "testing.h"
#include <clarkia/random.h>

/* process.h: linear processes y' = K y + S z with standard normal z, in stationarity, for tests: [n x replicas x k]. */
typedef struct {
  PetscInt k;
  double   K[16], root[16], start[16]; /* root root' = covariance of a step's noise, start start' = Sigma; row-major */
} Process;

/* Cholesky factor of the k x k matrix. */
static inline void Cholesky(PetscInt k, const double A[], double L[])
{
  for (PetscInt i = 0; i < k * k; ++i) L[i] = 0;
  for (PetscInt j = 0; j < k; ++j) {
    for (PetscInt i = j; i < k; ++i) {
      double sum = A[i * k + j];

      for (PetscInt l = 0; l < j; ++l) sum -= L[i * k + l] * L[j * k + l];
      L[i * k + j] = i == j ? sqrt(sum) : sum / L[j * k + j];
    }
  }
}

/* K and Sigma fix the noise: Sigma - K Sigma K'. */
static inline void SetProcess(Process *p, PetscInt k, const double K[], const double Sigma[])
{
  double noise[16];

  p->k = k;
  for (PetscInt i = 0; i < k; ++i)
    for (PetscInt j = 0; j < k; ++j) {
      noise[i * k + j] = Sigma[i * k + j];
      for (PetscInt a = 0; a < k; ++a)
        for (PetscInt b = 0; b < k; ++b) noise[i * k + j] -= K[i * k + a] * Sigma[a * k + b] * K[j * k + b];
      p->K[i * k + j] = K[i * k + j];
    }
  Cholesky(k, noise, p->root);
  Cholesky(k, Sigma, p->start);
}

static inline void Multiply(PetscInt k, const double A[], const double x[], double y[])
{
  for (PetscInt i = 0; i < k; ++i)
    for (PetscInt j = 0; j < k; ++j) y[i] += A[i * k + j] * x[j];
}

static inline double *NewPaths(const Process *p, uint64_t seed, PetscInt n, PetscInt replicas)
{
  const PetscInt k = p->k;
  double        *y, z[4];

  OK(PetscCalloc1(n * replicas * k, &y));
  for (PetscInt r = 0; r < replicas; ++r) {
    const CkRandom stream = {seed, CK_RANDOM_NOISE, (uint32_t)r, 0};

    for (PetscInt t = 0; t < n; ++t) {
      double *now = y + (t * replicas + r) * k;

      CkRandomNormals(&stream, (uint64_t)(t * k), (size_t)k, z);
      Multiply(k, t ? p->root : p->start, z, now);
      if (t) Multiply(k, p->K, now - replicas * k, now);
    }
  }
  return y;
}

/* Ornstein-Uhlenbeck, exact: dx = -H x dt + sqrt(2 D) dW, H = diag(1, 4) (theory, section 11), sampled every dt.
   off = D_12 with D_11 = D_22 = 1: Q_12 = -0.6 off, Sigma = [[1, .4 off], [.4 off, .25]]. */
static inline void SetOrnsteinUhlenbeck(Process *p, double off, double dt)
{
  const double K[] = {exp(-dt), 0, 0, exp(-4 * dt)}, Sigma[] = {1, 0.4 * off, 0.4 * off, 0.25};

  SetProcess(p, 2, K, Sigma);
}
