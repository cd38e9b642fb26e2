#include "krylov.h"
#include <clarkia/error.h>

/* krylov_solver.c: the EPS of the route, with SLEPc's own options. */

static PetscErrorCode RelativeToLargest(EPS eps, PetscScalar value, PetscScalar imaginary, PetscReal residual,
                                        PetscReal *error, void *context)
{
  CkKrylovScale *scale = context;
  const double   size = PetscAbsReal(PetscRealPart(value));

  PetscFunctionBeginUser;
  (void)eps, (void)imaginary;
  scale->largest = PetscMax(scale->largest, size);
  *error = scale->largest > 0 ? residual / scale->largest : residual;
  if (scale->sample && size > CK_NULL_VALUE * scale->largest) *error *= sqrt(scale->largest / size);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* SLEPc's own keys, as far as they leave the leading pairs what is computed. */
static PetscErrorCode SetFromOptions(CkSpectrum s, EPS eps)
{
  const PetscInt most = CkSpectrumMaximalRank(s);
  PetscInt       nev, ncv, mpd;
  EPSWhich       which;

  PetscFunctionBeginUser;
  PetscCall(EPSSetFromOptions(eps));
  PetscCall(EPSGetWhichEigenpairs(eps, &which));
  PetscCall(EPSGetDimensions(eps, &nev, &ncv, &mpd));
  CkCheckAll(s->comm, which == EPS_LARGEST_REAL || which == EPS_LARGEST_MAGNITUDE, PETSC_ERR_ARG_WRONG,
             "the krylov route computes the largest eigenvalues: take -eps_largest_real or -eps_largest_magnitude");
  CkCheckAll(s->comm, nev <= s->d, PETSC_ERR_ARG_OUTOFRANGE,
             "-eps_nev %" PetscInt_FMT ": D has only %" PetscInt_FMT " eigenvalues", nev, s->d);
  if (nev > most) PetscCall(EPSSetDimensions(eps, most, ncv, mpd));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkKrylovSolverCreate(CkSpectrum s, Mat A, CkKrylovScale *scale, EPS *eps)
{
  PetscBool block;

  PetscFunctionBeginUser;
  PetscCall(CkBlockEPSRegister());
  *scale = (CkKrylovScale){.largest = 0, .sample = (PetscBool)(s->krylov.form == CK_KRYLOV_SAMPLE)};
  PetscCall(EPSCreate(PetscObjectComm((PetscObject)A), eps));
  PetscCall(EPSSetOperators(*eps, A, NULL));
  PetscCall(EPSSetProblemType(*eps, EPS_HEP));
  PetscCall(EPSSetType(*eps, CK_EPS_BLOCK));
  PetscCall(CkBlockEPSSetSize(*eps, s->krylov.block));
  PetscCall(EPSSetWhichEigenpairs(*eps, EPS_LARGEST_REAL));
  PetscCall(EPSSetDimensions(*eps, s->krylov.nev, s->krylov.ncv, PETSC_DEFAULT));
  PetscCall(EPSSetConvergenceTestFunction(*eps, RelativeToLargest, scale, NULL));
  PetscCall(SetFromOptions(s, *eps));
  PetscCall(PetscObjectTypeCompare((PetscObject)*eps, CK_EPS_BLOCK, &block));
  if (!block) PetscCall(CkKrylovSetBasis(*eps, A, s->krylov.ncv, 0)); /* that type starts by itself */
  PetscFunctionReturn(PETSC_SUCCESS);
}
