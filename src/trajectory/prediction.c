#include "prediction.h"
#include "smallmatrix.h"
#include <math.h>

/* In the eigenvectors of Sigma, Q_ij = D_ij (s_j - s_i)/(s_j + s_i): eq. (V.10) for a symmetric F. */
PetscErrorCode CkPredictDrift(PetscInt k, const double Sigma[], const double D[], double temperature, double F[],
                              double Q[])
{
  double *values, *V, *turned, *left;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc4(k, &values, k * k, &V, k * k, &turned, k * k, &left));
  PetscCall(CkSmallEigen(k, Sigma, values, V));
  PetscCall(CkSmallProduct(k, V, D, PETSC_FALSE, left));
  PetscCall(CkSmallProduct(k, left, V, PETSC_TRUE, turned));
  for (PetscInt i = 0; i < k; ++i)
    for (PetscInt j = 0; j < k; ++j) {
      const double q = turned[i * k + j] * (values[j] - values[i]) / (values[j] + values[i]);

      left[i * k + j] = (turned[i * k + j] + q) * temperature / values[j]; /* (D + Q) (beta Sigma)^-1 */
      turned[i * k + j] = q;
    }
  for (PetscInt i = 0; i < k; ++i)
    for (PetscInt j = 0; j < k; ++j) {
      double f = 0, q = 0;

      for (PetscInt a = 0; a < k; ++a)
        for (PetscInt b = 0; b < k; ++b) {
          f += V[a * k + i] * left[a * k + b] * V[b * k + j];
          q += V[a * k + i] * turned[a * k + b] * V[b * k + j];
        }
      F[i * k + j] = f;
      if (Q) Q[i * k + j] = q;
    }
  PetscCall(PetscFree4(values, V, turned, left));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Stable(PetscInt k, const double F[], double rate, PetscBool *stable)
{
  double *symmetric, *values, *V;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc3(k * k, &symmetric, k, &values, k * k, &V));
  for (PetscInt i = 0; i < k; ++i)
    for (PetscInt j = 0; j < k; ++j) symmetric[i * k + j] = rate * (F[i * k + j] + F[j * k + i]) / 2;
  PetscCall(CkSmallEigen(k, symmetric, values, V));
  *stable = (PetscBool)(values[k - 1] <= 2);
  PetscCall(PetscFree3(symmetric, values, V));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkPredictCurrent(PetscInt k, const double F[], const double Sigma[], const CkUpdate *update, double A[],
                                PetscBool *stable)
{
  const double rate = update->rate / (1 - update->momentum), time = update->rate * (double)update->steps;
  double      *K, *power;

  PetscFunctionBeginUser;
  PetscCall(Stable(k, F, rate, stable));
  PetscCall(PetscMalloc2(k * k, &K, k * k, &power));
  for (PetscInt i = 0; i < k * k; ++i) K[i] = (i % (k + 1) == 0) - rate * F[i];
  PetscCall(CkSmallPower(k, K, update->steps, power));
  PetscCall(CkSmallProduct(k, power, Sigma, PETSC_FALSE, K)); /* K_ij = <y_i(t + steps) y_j(t)> */
  for (PetscInt i = 0; i < k; ++i)
    for (PetscInt j = 0; j < k; ++j) A[i * k + j] = *stable ? (K[j * k + i] - K[i * k + j]) / time : NAN;
  PetscCall(PetscFree2(K, power));
  PetscFunctionReturn(PETSC_SUCCESS);
}
