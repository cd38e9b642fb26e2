#include "spectrumimpl.h"
#include <math.h>

/* Eigenvectors of D as PETSc vectors, and how well they satisfy D v = lambda v with D applied from the data. */

PetscErrorCode CkSpectrumCreateVectors(CkSpectrum s, PetscInt m, Vec **V)
{
  PetscFunctionBeginUser;
  PetscCall(PetscCalloc1(m, V));
  for (PetscInt j = 0; j < m; ++j) PetscCall(CkLossCreateVec(s->loss, &(*V)[j]));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkSpectrumDestroyVectors(PetscInt m, Vec **V)
{
  PetscFunctionBeginUser;
  if (*V) {
    for (PetscInt j = 0; j < m; ++j) PetscCall(VecDestroy(&(*V)[j]));
  }
  PetscCall(PetscFree(*V));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkSpectrumNormalize(CkSpectrum s, PetscInt m, Vec V[], double norms[])
{
  PetscFunctionBeginUser;
  for (PetscInt j = 0; j < m; ++j) {
    PetscReal smallest, largest;
    double    norm;

    PetscCall(CkLossDot(s->loss, V[j], V[j], &norm));
    norm = sqrt(norm);
    PetscCall(VecMin(V[j], NULL, &smallest));
    PetscCall(VecMax(V[j], NULL, &largest));
    if (norms) norms[j] = norm;
    if (norm > 0) PetscCall(VecScale(V[j], (largest >= -smallest ? 1 : -1) / norm));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkSpectrumResiduals(CkSpectrum s, PetscInt m, const Vec V[], const double lambda[], double lambda_max,
                                   double residual[])
{
  const PetscInt group = PetscMin(m, CK_RESIDUAL_GROUP);
  Vec           *W;

  PetscFunctionBeginUser;
  PetscCall(CkSpectrumCreateVectors(s, group, &W));
  for (PetscInt first = 0; first < m; first += group) {
    const PetscInt count = PetscMin(group, m - first);

    PetscCall(CkDiffusionApply(s->D, count, V + first, W));
    for (PetscInt j = 0; j < count; ++j) {
      PetscReal norm;

      PetscCall(VecAXPY(W[j], -lambda[first + j], V[first + j]));
      PetscCall(CkLossDot(s->loss, W[j], W[j], &norm)); /* the same bits on any number of ranks */
      norm = sqrt(norm);
      residual[first + j] = lambda_max > 0 ? norm / lambda_max : norm;
    }
  }
  PetscCall(CkSpectrumDestroyVectors(group, &W));
  PetscFunctionReturn(PETSC_SUCCESS);
}

double CkSpectrumResidualBound(CkSpectrum s)
{
  const double mean = s->scale - s->trace; /* |gbar|^2 */

  return s->precision * PetscMax(1, s->values[0] > 0 ? mean / s->values[0] : 0);
}
