#pragma once
#include <clarkia/base.h>

/*
  rowops.h: contractions of explicit per-sample gradients G [n x d], one sample a row, float64, row stride ld >= d.
  Used by whatever has rows and nothing faster: engines without their own contractions, analytic landscapes.
  Local to the rank. Sizes beyond the BLAS index type are an error (PETSC_ERR_ARG_OUTOFRANGE).
*/
typedef struct {
  PetscInt      n, d;
  size_t        ld;
  const double *G;
} CkRows;

/* norms[k] = |g_k|^2, [n] */
PetscErrorCode CkRowsSquaredNorms(const CkRows *rows, double norms[]);
/* S [n x m] = g_k.v_j, V [m x d] one vector a row */
PetscErrorCode CkRowsDot(const CkRows *rows, PetscInt m, const double V[], double S[]);
/* A [m x d] += sum_k S_kj g_k, S [n x m] */
PetscErrorCode CkRowsAccumulate(const CkRows *rows, PetscInt m, const double S[], double A[]);
