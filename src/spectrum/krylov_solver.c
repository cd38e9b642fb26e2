#include "krylov.h"
#include <clarkia/error.h>
#include <clarkia/progress.h>

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

/* How far the solver is, once a minute: its passes tell only of themselves. */
static PetscErrorCode Tell(EPS eps, PetscInt iteration, PetscInt converged, PetscScalar values[],
                           PetscScalar imaginary[], PetscReal errors[], PetscInt n, void *context)
{
  const double   minute = 60, now = CkElapsed();
  CkKrylovScale *scale = context;
  PetscReal      tolerance;
  PetscInt       nev;
  char           next[64] = "";

  PetscFunctionBeginUser;
  (void)values, (void)imaginary;
  if (now - scale->told < minute) PetscFunctionReturn(PETSC_SUCCESS);
  scale->told = now;
  PetscCall(EPSGetTolerances(eps, &tolerance, NULL));
  PetscCall(EPSGetDimensions(eps, &nev, NULL, NULL));
  if (converged < n)
    PetscCall(PetscSNPrintf(next, sizeof(next), ", residual of the next %.2g, wanted %.2g", (double)errors[converged],
                            (double)tolerance));
  PetscCall(CkLog(scale->comm,
                  "eigensolver: %" PetscInt_FMT " of %" PetscInt_FMT " pairs after iteration %" PetscInt_FMT "%s",
                  PetscMin(converged, nev), nev, iteration, next));
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
  *scale =
    (CkKrylovScale){.sample = (PetscBool)(s->krylov.form == CK_KRYLOV_SAMPLE), .comm = s->comm, .told = CkElapsed()};
  PetscCall(EPSCreate(PetscObjectComm((PetscObject)A), eps));
  PetscCall(EPSSetOperators(*eps, A, NULL));
  PetscCall(EPSSetProblemType(*eps, EPS_HEP));
  PetscCall(EPSSetType(*eps, CK_EPS_BLOCK));
  PetscCall(CkBlockEPSSetSize(*eps, s->krylov.block));
  PetscCall(EPSSetWhichEigenpairs(*eps, EPS_LARGEST_REAL));
  PetscCall(EPSSetDimensions(*eps, s->krylov.nev, s->krylov.ncv, PETSC_DEFAULT));
  PetscCall(EPSSetConvergenceTestFunction(*eps, RelativeToLargest, scale, NULL));
  PetscCall(EPSMonitorSet(*eps, Tell, scale, NULL));
  PetscCall(SetFromOptions(s, *eps));
  PetscCall(PetscObjectTypeCompare((PetscObject)*eps, CK_EPS_BLOCK, &block));
  if (!block) PetscCall(CkKrylovSetBasis(*eps, A, s->krylov.ncv, 0)); /* that type starts by itself */
  PetscFunctionReturn(PETSC_SUCCESS);
}
