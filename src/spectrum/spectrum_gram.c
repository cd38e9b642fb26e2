#include "spectrumimpl.h"

/* Route `gram`: K = (1/N) P G G' P, N x N, with the non-zero spectrum of D. */

static PetscErrorCode Estimate(CkSpectrum s, CkSpectrumEstimate *e)
{
  PetscFunctionBeginUser;
  e->order = s->N;
  PetscCall(CkSpectrumEstimateAssembled(s, PETSC_TRUE, e));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Map(CkSpectrum s, PetscInt m, const double U[], const double lambda[], Vec V[])
{
  PetscFunctionBeginUser;
  PetscCall(CkDiffusionGramVectors(s->D, m, U, lambda, V));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Solve(CkSpectrum s)
{
  CkBlockMatrix K;

  PetscFunctionBeginUser;
  PetscCall(CkSpectrumPhaseBegin(s, CK_PHASE_ASSEMBLE));
  PetscCall(CkLog(s->comm, "assembling the Gram matrix, %" PetscInt_FMT " x %" PetscInt_FMT, s->N, s->N));
  PetscCall(CkDiffusionGram(s->D, &K));
  if (!s->traced) { /* until a pass that is made anyway gives the independent one */
    PetscCall(CkBlockMatrixTrace(K, &s->trace));
    s->scale = s->trace;
  }
  if (s->groups.kind == CK_GROUP_CLASS) PetscCall(CkGroupsSolveClasses(s, K));
  PetscCall(CkSpectrumSolveAssembled(s, &K, Map));
  PetscFunctionReturn(PETSC_SUCCESS);
}

const CkSpectrumRoute ck_spectrum_gram = {
  .name = "gram", .method = CK_SPECTRUM_GRAM, .estimate = Estimate, .solve = Solve};
