#pragma once
#include "testing.h"

/*
  Least squares with Gaussian data, without sampling error: coordinates z with the values -sqrt 3, 0 (four times), sqrt
  3 have the moments of standard normal numbers up to the fifth. Inputs a = L z have the covariance A = L L', y = a.best
  +- sigma. N = 2 6^d samples.
*/
static inline void NewGaussianData(PetscInt d, const double L[], const double best[], double sigma, PetscInt *N,
                                   double **a, double **y)
{
  const double node[] = {-sqrt(3), 0, 0, 0, 0, sqrt(3)};

  *N = 2;
  for (PetscInt i = 0; i < d; ++i) *N *= 6;
  OK(PetscCalloc1(*N * d, a));
  OK(PetscMalloc1(*N, y));
  for (PetscInt k = 0; k < *N; ++k) {
    double *row = *a + k * d;

    for (PetscInt j = 0, digits = k / 2; j < d; ++j, digits /= 6)
      for (PetscInt i = 0; i < d; ++i) row[i] += L[i * d + j] * node[digits % 6];
    (*y)[k] = k % 2 ? sigma : -sigma;
    for (PetscInt i = 0; i < d; ++i) (*y)[k] += row[i] * best[i];
  }
}
