#include "krylov.h"
#include <clarkia/error.h>
#include <math.h>

/* Route `krylov`: the leading eigenpairs by SLEPc, in weight space or in sample space; what counts is passes. */

/* Passes of a product with one block. */
static double ProductPasses(const CkKrylovPlan *plan)
{
  if (plan->form == CK_KRYLOV_WEIGHT) return 1;
  return plan->keep ? 0 : 2;
}

static PetscErrorCode Estimate(CkSpectrum s, CkSpectrumEstimate *e)
{
  const CkKrylovPlan *plan = &s->krylov;
  double              check, steps, vectors;

  PetscFunctionBeginUser;
  PetscCall(CkKrylovPlanMake(s));
  PetscCall(CkDiffusionProductCost(s->D, plan->nev, &vectors, &check));
  steps = ceil((double)plan->nev / plan->block) + 1; /* a first product finds nothing yet */
  e->order = plan->n;
  e->values = plan->nev;
  e->matrix = plan->basis;
  e->work = plan->work;
  e->vectors = plan->vectors;
  e->stream = plan->stream + plan->kept;
  e->at_least = PETSC_TRUE;
  e->passes = 1 + steps * ProductPasses(plan); /* norms first */
  if (plan->form == CK_KRYLOV_SAMPLE) e->passes += plan->keep + (s->check || s->wanted ? check : 0);
  if (s->check) e->passes += check;
  e->gradient = (double)s->N * e->passes * plan->load + steps * plan->block * plan->step;
  e->solve = 6. * (double)plan->n * (double)plan->block * (double)plan->block * steps * steps;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* What SLEPc did, or the error to act on. */
static PetscErrorCode CheckConverged(CkSpectrum s, EPS eps, PetscInt *found)
{
  EPSConvergedReason reason;
  PetscInt           iterations, nev;
  PetscReal          tolerance;
  PetscInt           most;

  PetscFunctionBeginUser;
  PetscCall(EPSGetConvergedReason(eps, &reason));
  PetscCall(EPSGetConverged(eps, found));
  PetscCall(EPSGetIterationNumber(eps, &iterations));
  PetscCall(EPSGetDimensions(eps, &nev, NULL, NULL));
  PetscCall(EPSGetTolerances(eps, &tolerance, &most));
  CkCheckAll(s->comm, (reason > 0 && *found >= nev) || (s->partial && *found > 0), PETSC_ERR_CONV_FAILED,
             "SLEPc found %" PetscInt_FMT " of %" PetscInt_FMT " eigenpairs to tolerance %g in %" PetscInt_FMT
             " iterations (reason %d): raise -eps_max_it or -eps_ncv, or loosen -eps_tol; -spectrum_partial true takes "
             "those that converged, if any",
             *found, nev, (double)tolerance, iterations, (int)reason);
  *found = PetscMin(*found, nev);
  PetscCall(CkLog(s->comm, "%" PetscInt_FMT " eigenpairs after %" PetscInt_FMT " %s", *found, iterations,
                  s->krylov.blocks ? "products" : "restarts"));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The eigenvalues, and in weight space the eigenvectors. */
static PetscErrorCode KeepValues(CkSpectrum s, EPS eps, PetscInt found)
{
  PetscFunctionBeginUser;
  s->n = found;
  PetscCall(PetscMalloc2(s->n, &s->values, s->n, &s->residual));
  for (PetscInt j = 0; j < s->n; ++j) {
    PetscCall(EPSGetEigenvalue(eps, j, &s->values[j], NULL));
    s->residual[j] = NAN;
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Random vectors in place of the null ones, of which `have` is the first: orthogonal to all others. With all non-zero
   eigenvalues found they lie in the null space. */
static PetscErrorCode CompleteVectors(CkSpectrum s, PetscInt have, Vec V[])
{
  CkRowRange range = {.comm = s->comm};
  double   **columns, *R, scale = 1;
  PetscInt   first, last;
  PetscInt64 randoms = 0;

  PetscFunctionBeginUser;
  PetscCall(VecGetOwnershipRange(V[0], &first, &last));
  range.first = first;
  range.rows = last - first;
  PetscCall(PetscMalloc2(s->n, &columns, (size_t)s->n * (size_t)have, &R));
  for (PetscInt j = 0; j < s->n; ++j) PetscCall(VecGetArray(V[j], &columns[j]));
  PetscCall(CkBasisExtend(&range, 0, NULL, have, columns, s->n, &scale, &randoms, NULL, R));
  for (PetscInt j = 0; j < s->n; ++j) PetscCall(VecRestoreArray(V[j], &columns[j]));
  PetscCall(PetscFree2(columns, R));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Eigenvectors of D from those of K (G.2). */
static PetscErrorCode MapVectors(CkSpectrum s, EPS eps, Vec V[])
{
  PetscInt have = 0;
  double  *U;
  Vec      u;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc1((size_t)s->n * (size_t)s->N, &U));
  while (have < s->n && s->values[have] > CK_NULL_VALUE * s->values[0]) ++have;
  for (PetscInt j = 0; j < have; ++j) {
    PetscCall(VecCreateSeqWithArray(PETSC_COMM_SELF, 1, s->N, U + (size_t)j * (size_t)s->N, &u));
    PetscCall(EPSGetEigenvector(eps, j, u, NULL));
    PetscCall(VecDestroy(&u));
  }
  PetscCall(CkSpectrumPhaseBegin(s, CK_PHASE_VECTORS));
  if (have > 0) PetscCall(CkDiffusionGramVectors(s->D, have, U, s->values, V));
  PetscCall(PetscFree(U));
  if (have < s->n) PetscCall(CompleteVectors(s, have, V));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Vectors are needed for the residuals, or wanted. */
static PetscErrorCode MakeVectors(CkSpectrum s, EPS eps, Vec **V)
{
  PetscFunctionBeginUser;
  *V = NULL;
  if (!s->check && s->wanted == 0) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(CkSpectrumCreateVectors(s, s->n, V));
  if (s->krylov.form == CK_KRYLOV_SAMPLE) PetscCall(MapVectors(s, eps, *V));
  else
    for (PetscInt j = 0; j < s->n; ++j) PetscCall(EPSGetEigenvector(eps, j, (*V)[j], NULL));
  PetscCall(CkSpectrumNormalize(s, s->n, *V, NULL));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Residuals of all pairs, and the bound that the solver's own tolerance adds to. */
static PetscErrorCode Check(CkSpectrum s, double tolerance, Vec V[])
{
  PetscFunctionBeginUser;
  if (!s->check) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(CkSpectrumPhaseBegin(s, CK_PHASE_CHECK));
  PetscCall(CkSpectrumResiduals(s, s->n, V, s->values, s->values[0], s->residual));
  CkSpectrumCheckTrace(&s->checks, s->n, s->values, (PetscBool)(s->n >= CkSpectrumMaximalRank(s)), s->trace, s->scale,
                       s->precision + tolerance);
  if (!isnan(s->square))
    CkSpectrumCheckSquare(&s->checks, s->n, s->values, (PetscBool)(s->n >= CkSpectrumMaximalRank(s)), s->square,
                          CkSpectrumSquareBound(s, CkSpectrumResidualBound(s) + tolerance));
  CkSpectrumCheckResiduals(&s->checks, s->n, s->residual, CkSpectrumResidualBound(s) + tolerance);
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
  if (!*V) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(PetscMalloc1(s->nvectors, &s->vectors));
  for (PetscInt j = 0; j < s->n; ++j) {
    if (j < s->nvectors) s->vectors[j] = (*V)[j];
    else PetscCall(VecDestroy(&(*V)[j]));
  }
  PetscCall(PetscFree(*V));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode RunSolver(CkSpectrum s, EPS eps)
{
  CkKrylovCheckpoint checkpoint;

  PetscFunctionBeginUser;
  PetscCall(CkKrylovSetStart(s, eps));
  PetscCall(CkKrylovCheckpointBegin(s, eps, &checkpoint));
  PetscCall(PetscLogEventBegin(CK_Eig, eps, 0, 0, 0));
  PetscCall(EPSSolve(eps));
  PetscCall(PetscLogEventEnd(CK_Eig, eps, 0, 0, 0));
  PetscCall(CkKrylovCheckpointEnd(&checkpoint));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Solve(CkSpectrum s)
{
  Mat           A;
  EPS           eps;
  Vec          *V;
  PetscInt      found;
  PetscReal     tolerance;
  CkKrylovScale scale;

  PetscFunctionBeginUser;
  PetscCall(CkSpectrumPhaseBegin(s, CK_PHASE_SOLVE));
  if (s->krylov.keep) PetscCall(CkDiffusionKeepGradients(s->D, PETSC_TRUE));
  if (s->krylov.form == CK_KRYLOV_SAMPLE) PetscCall(CkDiffusionGetGramMat(s->D, &A));
  else PetscCall(CkDiffusionGetMat(s->D, &A));
  PetscCall(CkKrylovSolverCreate(s, A, &scale, &eps));
  PetscCall(RunSolver(s, eps));
  PetscCall(CheckConverged(s, eps, &found));
  PetscCall(EPSGetTolerances(eps, &tolerance, NULL));
  PetscCall(KeepValues(s, eps, found));
  PetscCall(MakeVectors(s, eps, &V));
  PetscCall(EPSDestroy(&eps));
  PetscCall(MatDestroy(&A));
  if (s->krylov.keep) PetscCall(CkDiffusionKeepGradients(s->D, PETSC_FALSE));
  PetscCall(Check(s, (double)tolerance, V));
  PetscCall(KeepVectors(s, &V));
  PetscFunctionReturn(PETSC_SUCCESS);
}

const CkSpectrumRoute ck_spectrum_krylov = {
  .name = "krylov", .method = CK_SPECTRUM_KRYLOV, .estimate = Estimate, .solve = Solve, .solver = "slepc"};
