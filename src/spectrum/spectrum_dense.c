#include "spectrumimpl.h"

/* Route `dense`: D itself, d x d. */

static PetscErrorCode Estimate(CkSpectrum s, CkSpectrumEstimate *e)
{
  PetscFunctionBeginUser;
  e->order = s->d;
  PetscCall(CkSpectrumEstimateAssembled(s, PETSC_FALSE, e));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Eigenvectors of the assembled matrix are those of D. */
static PetscErrorCode Map(CkSpectrum s, PetscInt m, const double U[], const double lambda[], Vec V[])
{
  PetscFunctionBeginUser;
  (void)lambda;
  for (PetscInt j = 0; j < m; ++j) {
    PetscInt     first, last;
    PetscScalar *mine;

    PetscCall(VecGetOwnershipRange(V[j], &first, &last));
    PetscCall(VecGetArrayWrite(V[j], &mine));
    PetscCall(PetscArraycpy(mine, U + (size_t)j * (size_t)s->d + first, last - first));
    PetscCall(VecRestoreArrayWrite(V[j], &mine));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Solve(CkSpectrum s)
{
  CkBlockMatrix A;

  PetscFunctionBeginUser;
  PetscCall(CkSpectrumPhaseBegin(s, CK_PHASE_ASSEMBLE));
  PetscCall(CkLog(s->comm, "assembling D, %" PetscInt_FMT " x %" PetscInt_FMT, s->d, s->d));
  PetscCall(CkDiffusionDense(s->D, &A));
  PetscCall(CkSpectrumSolveAssembled(s, &A, Map));
  PetscFunctionReturn(PETSC_SUCCESS);
}

const CkSpectrumRoute ck_spectrum_dense = {
  .name = "dense", .method = CK_SPECTRUM_DENSE, .estimate = Estimate, .solve = Solve};
