#pragma once
#include "losses.h"
#include <clarkia/diffusion.h>

/* Matrices of tests, [n x n] on every rank, made by plain loops from the rows of per-sample gradients. */

/* D = (1/N) sum (g_k - gbar)(g_k - gbar)' from rows [N x d]; with shift c (may be NULL) and not centred
   (1/N) sum (g_k + c)(g_k + c)'. To be freed. */
static inline double *NewExplicitD(PetscInt N, PetscInt d, const double rows[], PetscBool centred, const double c[])
{
  double *D, *mean;

  OK(PetscCalloc1((size_t)d * (size_t)d, &D));
  OK(PetscCalloc1(d, &mean));
  for (PetscInt i = 0; i < d; ++i) {
    for (PetscInt k = 0; centred && k < N; ++k) mean[i] += rows[k * d + i] / (double)N;
    if (!centred && c) mean[i] = -c[i];
  }
  for (PetscInt k = 0; k < N; ++k) {
    for (PetscInt i = 0; i < d; ++i) {
      for (PetscInt j = 0; j < d; ++j)
        D[i * d + j] += (rows[k * d + i] - mean[i]) * (rows[k * d + j] - mean[j]) / (double)N;
    }
  }
  OK(PetscFree(mean));
  return D;
}

/* The whole symmetric matrix; A stays usable. To be freed. */
static inline double *NewFullMatrix(CkBlockMatrix A)
{
  CkBlockMatrix copy;
  PetscInt      n;
  double       *full;

  OK(CkBlockMatrixGetSize(A, &n));
  OK(PetscMalloc1((size_t)n * (size_t)n, &full));
  OK(CkBlockMatrixDuplicate(A, &copy));
  OK(CkBlockMatrixSymmetrize(copy));
  OK(CkBlockMatrixGetRows(copy, 0, n, full));
  OK(CkBlockMatrixDestroy(&copy));
  return full;
}

static inline double *NewDense(CkDiffusion D)
{
  CkBlockMatrix A;
  double       *full;

  OK(CkDiffusionDense(D, &A));
  full = NewFullMatrix(A);
  OK(CkBlockMatrixDestroy(&A));
  return full;
}

static inline double *NewGram(CkDiffusion D)
{
  CkBlockMatrix K;
  double       *full;

  OK(CkDiffusionGram(D, &K));
  full = NewFullMatrix(K);
  OK(CkBlockMatrixDestroy(&K));
  return full;
}

/* A landscape with many weights: H = 1, gradients x + xi_k with independent normal numbers. */
static inline void BuildWideLandscape(CkLoss loss, PetscInt N, PetscInt d)
{
  double *H, *xi = NewNormals(13, (size_t)N * (size_t)d);

  OK(PetscCalloc1(d * d, &H));
  for (PetscInt i = 0; i < d; ++i) H[i * d + i] = 1;
  OK(CkLossSetQuadratic(loss, d, N, H, xi));
  OK(PetscFree(H));
  OK(PetscFree(xi));
}

/* y = M v */
static inline void MultiplyFull(PetscInt n, const double M[], const double v[], double y[])
{
  for (PetscInt i = 0; i < n; ++i) {
    y[i] = 0;
    for (PetscInt j = 0; j < n; ++j) y[i] += M[i * n + j] * v[j];
  }
}

static inline void SetTestVec(Vec x, const double values[])
{
  PetscInt     first, last;
  PetscScalar *mine;

  OK(VecGetOwnershipRange(x, &first, &last));
  OK(VecGetArrayWrite(x, &mine));
  OK(PetscArraycpy(mine, values + first, last - first));
  OK(VecRestoreArrayWrite(x, &mine));
}

/* The loss moved to given coordinates. */
static inline void MoveTo(CkLoss loss, const double x[])
{
  Vec point;

  OK(CkLossCreateVec(loss, &point));
  SetTestVec(point, x);
  OK(CkLossSetPoint(loss, point));
  OK(VecDestroy(&point));
}
