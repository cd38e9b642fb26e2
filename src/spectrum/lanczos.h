#pragma once
#include <clarkia/base.h>

/*
  lanczos.h: Gauss quadrature for z'f(A)z of a symmetric matrix by the Lanczos recurrence, for many start vectors z at
  once; docs/theory.md, section "Spectral density"; private to src/spectrum.
  Every rank has the whole vectors and runs the same recurrences, so the results have the same bits on any number of
  ranks if the products have; coefficients are those of rank 0.
*/

/* Y = A Z, Z and Y [m x n], one vector a row. */
typedef PetscErrorCode (*CkLanczosApply)(void *context, PetscInt m, const double Z[], double Y[]);

typedef struct {
  PetscInt   n, probes, steps; /* order; start vectors; most nodes of one, at most n */
  PetscInt  *taken;            /* [probes] nodes of each */
  PetscBool *exact;            /* [probes] the recurrence came to an end: the quadrature is exact for any f */
  double    *nodes, *weights;  /* [probes x steps], nodes descending, weights of a probe summing to 1; 0 behind */
  double    *residual;         /* [probes] |A v - theta v| of the largest node's Ritz vector v */
  double    *square;           /* [probes] |A z|^2, z of unit length, as measured */
} CkLanczosRule;

PetscErrorCode CkLanczosRuleCreate(PetscInt n, PetscInt probes, PetscInt steps, CkLanczosRule *rule);
PetscErrorCode CkLanczosRuleDestroy(CkLanczosRule *rule);
/* Fills the rule from random unit vectors, numbers of (seed, CK_RANDOM_PROBE, probe): the product of all probes is one
   call. Every vector of the recurrences is kept and the new one orthogonalised against all of its probe's: 8 n steps
   probes bytes (CkLanczosMemory()). Collective. */
PetscErrorCode CkLanczosRun(MPI_Comm comm, uint64_t seed, CkLanczosApply apply, void *context, CkLanczosRule *rule);
double         CkLanczosMemory(PetscInt n, PetscInt probes, PetscInt steps);
