#include "spectrumimpl.h"
#include <clarkia/error.h>
#include <math.h>

/* Route `krylov`: the leading eigenpairs by SLEPc on the shell matrix; every product is a pass over the data. */

/* Pairs and basis vectors as SLEPc will take them from the options. */
static PetscErrorCode Sizes(CkSpectrum s, PetscInt *nev, PetscInt *ncv)
{
  PetscFunctionBeginUser;
  *nev = s->nev;
  PetscCall(PetscOptionsGetInt(NULL, NULL, "-eps_nev", nev, NULL));
  *nev = PetscMin(*nev, CkSpectrumMaximalRank(s));
  *ncv = CkKrylovBasisSize(s->d, *nev);
  PetscCall(PetscOptionsGetInt(NULL, NULL, "-eps_ncv", ncv, NULL));
  *ncv = PetscMin(*ncv, s->d);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Estimate(CkSpectrum s, CkSpectrumEstimate *e)
{
  PetscMPIInt size;
  PetscInt    nev, ncv;
  double      load, row, column, local, passes;

  PetscFunctionBeginUser;
  PetscCallMPI(MPI_Comm_size(s->comm, &size));
  PetscCall(Sizes(s, &nev, &ncv));
  PetscCall(CkSpectrumGradientCost(s, &load, &row, &column));
  PetscCall(CkDiffusionProductCost(s->D, s->check ? nev : 1, &e->stream, &passes));
  local = ceil((double)s->d / size) * sizeof(double);
  e->order = s->d;
  e->values = nev;
  e->matrix = (ncv + 1.) * local;
  e->work = (double)ncv * (double)ncv * 3 * sizeof(double);
  e->vectors = (nev + PetscMin(nev, CK_RESIDUAL_GROUP)) * local;
  e->at_least = PETSC_TRUE;
  e->passes = 1. + ncv + (s->check ? passes : 0); /* norms, first basis, residuals */
  e->gradient = (double)s->N * (e->passes * load + 2. * (ncv + (s->check ? nev : 0)) * column);
  e->solve = 4. * (double)s->d * (double)ncv * (double)ncv; /* orthogonalisation, twice */
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* What SLEPc did, or the error to act on. */
static PetscErrorCode CheckConverged(CkSpectrum s, EPS eps, PetscInt nev, PetscInt *found)
{
  EPSConvergedReason reason;
  PetscInt           iterations;
  PetscReal          tolerance;
  PetscInt           most;

  PetscFunctionBeginUser;
  PetscCall(EPSGetConvergedReason(eps, &reason));
  PetscCall(EPSGetConverged(eps, found));
  PetscCall(EPSGetIterationNumber(eps, &iterations));
  PetscCall(EPSGetTolerances(eps, &tolerance, &most));
  CkCheckAll(s->comm, (reason > 0 && *found >= nev) || (s->partial && *found > 0), PETSC_ERR_CONV_FAILED,
             "SLEPc found %" PetscInt_FMT " of %" PetscInt_FMT " eigenpairs to tolerance %g in %" PetscInt_FMT
             " restarts (reason %d): raise -eps_max_it or -eps_ncv, or loosen -eps_tol; -spectrum_partial true takes "
             "those that converged, if any",
             *found, nev, (double)tolerance, iterations, (int)reason);
  *found = PetscMin(*found, nev);
  PetscCall(CkLog(s->comm, "%" PetscInt_FMT " eigenpairs after %" PetscInt_FMT " restarts", *found, iterations));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode KeepPairs(CkSpectrum s, EPS eps, PetscInt found, Vec V[])
{
  PetscFunctionBeginUser;
  s->n = found;
  PetscCall(PetscMalloc2(s->n, &s->values, s->n, &s->residual));
  for (PetscInt j = 0; j < s->n; ++j) {
    PetscCall(EPSGetEigenpair(eps, j, &s->values[j], NULL, V[j], NULL));
    s->residual[j] = NAN;
  }
  PetscCall(CkSpectrumNormalize(s->n, V, NULL));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Residuals of all pairs, and the bound that the solver's own tolerance adds to. */
static PetscErrorCode Check(CkSpectrum s, EPS eps, Vec V[])
{
  PetscReal tolerance;

  PetscFunctionBeginUser;
  if (!s->check) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(CkSpectrumPhaseBegin(s, CK_PHASE_CHECK));
  PetscCall(EPSGetTolerances(eps, &tolerance, NULL));
  PetscCall(CkSpectrumResiduals(s, s->n, V, s->values, s->values[0], s->residual));
  CkSpectrumCheckTrace(&s->checks, s->n, s->values, (PetscBool)(s->n >= CkSpectrumMaximalRank(s)), s->trace, s->scale,
                       s->precision + (double)tolerance);
  CkSpectrumCheckResiduals(&s->checks, s->n, s->residual, CkSpectrumResidualBound(s) + (double)tolerance);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Hands the wanted ones of the found vectors to the object, destroys the others. */
static PetscErrorCode KeepVectors(CkSpectrum s, Vec **V)
{
  PetscFunctionBeginUser;
  s->nvectors = CkSpectrumVectorCount(s, s->n);
  CkCheckAll(s->comm, s->nvectors <= s->n, PETSC_ERR_ARG_OUTOFRANGE,
             "-spectrum_vectors %" PetscInt_FMT ": only %" PetscInt_FMT
             " eigenpairs were computed; raise -spectrum_nev, or ask for fewer",
             s->nvectors, s->n);
  PetscCall(PetscMalloc1(s->nvectors, &s->vectors));
  for (PetscInt j = 0; j < s->n; ++j) {
    if (j < s->nvectors) s->vectors[j] = (*V)[j];
    else PetscCall(VecDestroy(&(*V)[j]));
  }
  PetscCall(PetscFree(*V));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* SLEPc's own keys, as far as they leave the leading pairs what is computed. */
static PetscErrorCode SetFromOptions(CkSpectrum s, EPS eps, PetscInt *nev)
{
  const PetscInt most = CkSpectrumMaximalRank(s);
  PetscInt       ncv, mpd;
  EPSWhich       which;

  PetscFunctionBeginUser;
  PetscCall(EPSSetFromOptions(eps));
  PetscCall(EPSGetWhichEigenpairs(eps, &which));
  PetscCall(EPSGetDimensions(eps, nev, &ncv, &mpd));
  CkCheckAll(s->comm, which == EPS_LARGEST_REAL || which == EPS_LARGEST_MAGNITUDE, PETSC_ERR_ARG_WRONG,
             "the krylov route computes the largest eigenvalues: take -eps_largest_real or -eps_largest_magnitude");
  CkCheckAll(s->comm, *nev <= s->d, PETSC_ERR_ARG_OUTOFRANGE,
             "-eps_nev %" PetscInt_FMT ": D has only %" PetscInt_FMT " eigenvalues", *nev, s->d);
  if (*nev > most) PetscCall(EPSSetDimensions(eps, most, ncv, mpd));
  *nev = PetscMin(*nev, most);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Solve(CkSpectrum s)
{
  Mat      A;
  EPS      eps;
  Vec     *V;
  PetscInt nev, found;

  PetscFunctionBeginUser;
  PetscCall(CkSpectrumPhaseBegin(s, CK_PHASE_SOLVE));
  PetscCall(CkDiffusionGetMat(s->D, &A));
  PetscCall(CkKrylovCreate(A, PetscMin(s->nev, CkSpectrumMaximalRank(s)), 0, &eps));
  PetscCall(SetFromOptions(s, eps, &nev));
  PetscCall(PetscLogEventBegin(CK_Eig, eps, 0, 0, 0));
  PetscCall(EPSSolve(eps));
  PetscCall(PetscLogEventEnd(CK_Eig, eps, 0, 0, 0));
  PetscCall(CheckConverged(s, eps, nev, &found));
  PetscCall(CkSpectrumCreateVectors(s, found, &V));
  PetscCall(KeepPairs(s, eps, found, V));
  PetscCall(Check(s, eps, V));
  PetscCall(KeepVectors(s, &V));
  PetscCall(EPSDestroy(&eps));
  PetscCall(MatDestroy(&A));
  PetscFunctionReturn(PETSC_SUCCESS);
}

const CkSpectrumRoute ck_spectrum_krylov = {"krylov", CK_SPECTRUM_KRYLOV, Estimate, Solve};
