/* blockeps.c: the EPS type "ckblock"; docs/theory.md, section "Krylov solvers". */
#include "blockeps.h"
#include <limits.h>
#include <math.h>
#include <petscblaslapack.h>
#include <slepc/private/epsimpl.h>

typedef struct {
  PetscInt     size; /* vectors of a product */
  CkBlockHook  hook;
  CkBlockFill  fill; /* NULL: start afresh */
  void        *hook_context, *fill_context;
  CkBlockState state;
  PetscInt     constraints;
  double     **columns;  /* the deflation space, then the basis and room for a block */
  double      *in, *out; /* [rows x size] of a product */
  double      *ritz;     /* [projected x projected] eigenvectors of T, in eps->which order */
} Block;

static Block *Data(EPS eps)
{
  return eps->data;
}

static PetscErrorCode SetUpSort(EPS eps)
{
  PetscFunctionBeginUser;
  eps->sc->comparison = eps->which == EPS_LARGEST_REAL ? SlepcCompareLargestReal : SlepcCompareLargestMagnitude;
  eps->sc->comparisonctx = NULL;
  eps->sc->map = NULL;
  eps->sc->mapobj = NULL;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode CheckSupported(EPS eps)
{
  PetscScalar shift;
  PetscBool   plain;

  PetscFunctionBeginUser;
  EPSCheckHermitianDefinite(eps);
  EPSCheckStandard(eps);
  EPSCheckUnsupported(eps, EPS_FEATURE_BALANCE | EPS_FEATURE_ARBITRARY | EPS_FEATURE_REGION | EPS_FEATURE_EXTRACTION |
                             EPS_FEATURE_TWOSIDED);
  PetscCheck(eps->which == EPS_LARGEST_REAL || eps->which == EPS_LARGEST_MAGNITUDE, PetscObjectComm((PetscObject)eps),
             PETSC_ERR_SUP, "The solver '%s' computes the largest eigenvalues only", ((PetscObject)eps)->type_name);
  PetscCall(PetscObjectTypeCompare((PetscObject)eps->st, STSHIFT, &plain));
  PetscCall(STGetShift(eps->st, &shift));
  PetscCheck(plain && shift == 0., PetscObjectComm((PetscObject)eps), PETSC_ERR_SUP,
             "The solver '%s' takes no spectral transformation", ((PetscObject)eps)->type_name);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* ncv >= nev + size, unless the basis can be complete; a product's array below 2^31 entries. */
static PetscErrorCode SetUp(EPS eps)
{
  Block   *block = Data(eps);
  PetscInt most = eps->nloc;

  PetscFunctionBeginUser;
  if (!eps->which) eps->which = EPS_LARGEST_REAL;
  PetscCall(CheckSupported(eps));
  PetscCallMPI(MPI_Allreduce(MPI_IN_PLACE, &most, 1, MPIU_INT, MPI_MAX, PetscObjectComm((PetscObject)eps)));
  block->size = PetscMin(block->size, PetscMin(eps->n, PetscMax(1, INT_MAX / PetscMax(1, most))));
  if (eps->ncv == PETSC_DEFAULT) eps->ncv = PetscMin(eps->n, PetscMax(2 * eps->nev, eps->nev + 6 * block->size));
  if (eps->ncv < eps->n) {
    PetscCheck(eps->ncv > eps->nev, PetscObjectComm((PetscObject)eps), PETSC_ERR_USER_INPUT,
               "The basis of -eps_ncv %" PetscInt_FMT " vectors must be larger than nev, %" PetscInt_FMT, eps->ncv,
               eps->nev);
    block->size = PetscMin(block->size, eps->ncv - eps->nev);
  }
  PetscCheck(eps->ncv <= 46340, PetscObjectComm((PetscObject)eps), PETSC_ERR_ARG_OUTOFRANGE,
             "The projected matrix of %" PetscInt_FMT " basis vectors has more than 2^31 entries: lower -eps_ncv",
             eps->ncv);
  eps->mpd = eps->ncv;
  if (eps->max_it == PETSC_DEFAULT) eps->max_it = 1000;
  if (!eps->V) PetscCall(EPSGetBV(eps, &eps->V));
  PetscCall(BVSetType(eps->V, BVVECS));
  PetscCall(EPSAllocateSolution(eps, block->size));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Arrays of the vectors: they stay where they are while the BV lives. Called once more at the end, it tells PETSc that
   the numbers have changed. */
static PetscErrorCode GetColumns(EPS eps)
{
  Block         *block = Data(eps);
  const PetscInt n = eps->ncv + block->size;

  PetscFunctionBeginUser;
  block->constraints = PetscMax(0, eps->nds);
  if (!block->columns) PetscCall(PetscMalloc1(block->constraints + n, &block->columns));
  for (PetscInt j = -block->constraints; j < n; ++j) {
    Vec          v;
    PetscScalar *array;

    PetscCall(BVGetColumn(eps->V, j, &v));
    PetscCall(VecGetArray(v, &array));
    block->columns[block->constraints + j] = array;
    PetscCall(VecRestoreArray(v, &array));
    PetscCall(BVRestoreColumn(eps->V, j, &v));
  }
  block->state.basis = block->columns + block->constraints;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Allocate(EPS eps)
{
  Block       *block = Data(eps);
  const size_t n = (size_t)eps->ncv, b = (size_t)block->size;
  PetscInt     first;
  Vec          v;

  PetscFunctionBeginUser;
  block->state = (CkBlockState){.projected = 0};
  PetscCall(GetColumns(eps));
  PetscCall(BVGetColumn(eps->V, 0, &v));
  PetscCall(VecGetOwnershipRange(v, &first, NULL));
  PetscCall(BVRestoreColumn(eps->V, 0, &v));
  block->state.range =
    (CkRowRange){.comm = PetscObjectComm((PetscObject)eps), .rows = eps->nloc, .first = (PetscInt64)first};
  PetscCall(PetscMalloc2((size_t)eps->nloc * b, &block->in, (size_t)eps->nloc * b, &block->out));
  PetscCall(PetscCalloc3((n + b) * (n + b), &block->state.T, (n + b) * (n + b), &block->state.M, n * n, &block->ritz));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Free(EPS eps)
{
  Block *block = Data(eps);

  PetscFunctionBeginUser;
  PetscCall(PetscFree(block->columns));
  PetscCall(PetscFree2(block->in, block->out));
  PetscCall(PetscFree3(block->state.T, block->state.M, block->ritz));
  block->state.basis = NULL;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Vectors that the basis can still take, beyond `have`. */
static PetscInt Room(EPS eps, PetscInt have)
{
  return PetscMax(0, eps->n - Data(eps)->constraints - have);
}

/* The initial vectors, summed into the block where there are more; random ones make it up. */
static PetscErrorCode Start(EPS eps)
{
  Block         *block = Data(eps);
  CkBlockState  *state = &block->state;
  const PetscInt width = PetscMin(block->size, Room(eps, 0)), given = PetscMin(eps->nini, width);
  double        *H, *R, unit = 1;

  PetscFunctionBeginUser;
  PetscCheck(width > 0, PetscObjectComm((PetscObject)eps), PETSC_ERR_ARG_SIZ, "The deflation space is the whole space");
  for (PetscInt j = width; j < eps->nini; ++j) {
    double *sum = state->basis[j % width];

    for (PetscInt i = 0; i < eps->nloc; ++i) sum[i] += state->basis[j][i];
  }
  PetscCall(PetscMalloc2((size_t)block->constraints * (size_t)given, &H, (size_t)width * (size_t)given, &R));
  PetscCall(CkBasisExtend(&state->range, block->constraints, block->columns, given, state->basis, width, &unit,
                          &state->randoms, H, R));
  PetscCall(PetscFree2(H, R));
  state->pending = width;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* out = A in, for m columns. */
static PetscErrorCode Product(EPS eps, PetscInt m)
{
  const MPI_Comm comm = PetscObjectComm((PetscObject)eps);
  Block         *block = Data(eps);
  Mat            A, X, W;

  PetscFunctionBeginUser;
  PetscCall(STGetMatrix(eps->st, 0, &A));
  PetscCall(MatCreateDense(comm, eps->nloc, PETSC_DECIDE, eps->n, m, block->in, &X));
  PetscCall(MatCreateDense(comm, eps->nloc, PETSC_DECIDE, eps->n, m, block->out, &W));
  PetscCall(MatProductCreateWithMat(A, X, NULL, W));
  PetscCall(MatProductSetType(W, MATPRODUCT_AB));
  PetscCall(MatProductSetFromOptions(W));
  PetscCall(MatProductSymbolic(W));
  PetscCall(MatProductNumeric(W));
  PetscCall(MatProductClear(W));
  PetscCall(MatDestroy(&W));
  PetscCall(MatDestroy(&X));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscInt Stride(EPS eps)
{
  return eps->ncv + Data(eps)->size;
}

/* T gains the diagonal block of the last `b` of `k` vectors, from H [stride x b] whose first row is that of the basis,
   and below it what leads to the `width` pending vectors, R [width x b]. All else is zero but for rounding: D Q leads
   from a block to its neighbours only. The rounding of a product in single precision is left out of T, as in any
   Lanczos method, or no tolerance below it could be met; it is in M, the symmetric part of all that was measured, from
   which the eigenvalues come in the end. */
static void AddToProjection(EPS eps, PetscInt k, PetscInt b, PetscInt stride, const double H[], PetscInt width,
                            const double R[])
{
  const size_t ld = (size_t)Stride(eps);
  double      *T = Data(eps)->state.T, *M = Data(eps)->state.M;

  for (size_t j = 0; j < (size_t)b; ++j) {
    const size_t column = (size_t)(k - b) + j;

    for (size_t i = 0; i < (size_t)b; ++i) {
      const size_t row = (size_t)(k - b) + i;

      T[column * ld + row] = (H[j * (size_t)stride + row] + H[i * (size_t)stride + column]) / 2;
    }
    for (size_t i = 0; i < (size_t)k; ++i) {
      const double other = i < (size_t)(k - b) ? H[j * (size_t)stride + i] : T[column * ld + i];

      M[column * ld + i] = M[i * ld + column] = (T[column * ld + i] + other) / 2;
    }
    for (size_t i = 0; i < (size_t)width; ++i)
      T[column * ld + (size_t)k + i] = T[((size_t)k + i) * ld + column] = R[j * (size_t)width + i];
  }
}

/* One product with the pending vectors: they join the basis, and what leads out of it is pending. */
static PetscErrorCode Pass(EPS eps)
{
  Block         *block = Data(eps);
  CkBlockState  *state = &block->state;
  const PetscInt b = state->pending, k = state->projected + b, nc = block->constraints;
  const PetscInt width = PetscMin(block->size, Room(eps, k));
  const size_t   bytes = (size_t)eps->nloc * sizeof(double);
  double        *H, *R;

  PetscFunctionBeginUser;
  for (PetscInt j = 0; j < b; ++j)
    PetscCall(PetscMemcpy(block->in + (size_t)j * (size_t)eps->nloc, state->basis[state->projected + j], bytes));
  PetscCall(Product(eps, b));
  for (PetscInt j = 0; j < b; ++j)
    PetscCall(PetscMemcpy(state->basis[k + j], block->out + (size_t)j * (size_t)eps->nloc, bytes));
  PetscCall(PetscMalloc2((size_t)(nc + k) * (size_t)b, &H, (size_t)width * (size_t)b, &R));
  PetscCall(CkBasisExtend(&state->range, nc + k, block->columns, b, state->basis + k, width, &state->scale,
                          &state->randoms, H, R));
  AddToProjection(eps, k, b, nc + k, H + nc, width, R);
  PetscCall(PetscFree2(H, R));
  state->projected = k;
  state->pending = width;
  ++state->iterations;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Eigenvalues of T to eps->eigr, in the order asked for, and its eigenvectors; by rank 0 for all, so that processors
   that differ cannot disagree. */
static PetscErrorCode SolveProjected(EPS eps)
{
  Block             *block = Data(eps);
  const PetscInt     k = block->state.projected;
  const PetscBLASInt n = (PetscBLASInt)k, lwork = 34 * (PetscBLASInt)k + 1;
  PetscBLASInt       info;
  double            *A, *values, *work;
  PetscInt           low = 0, high = k - 1;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc3((size_t)k * (size_t)k, &A, k, &values, lwork, &work));
  for (PetscInt j = 0; j < k; ++j)
    PetscCall(PetscArraycpy(A + (size_t)j * (size_t)k, block->state.T + (size_t)j * (size_t)Stride(eps), k));
  PetscCallBLAS("LAPACKsyev", LAPACKsyev_("V", "L", &n, A, &n, values, work, &lwork, &info));
  PetscCheck(info == 0, PETSC_COMM_SELF, PETSC_ERR_LIB, "LAPACK dsyev failed with info %d", (int)info);
  for (PetscInt j = 0; j < k; ++j) {
    const PetscBool at_high = (PetscBool)(eps->which == EPS_LARGEST_REAL || fabs(values[high]) >= fabs(values[low]));
    const PetscInt  from = at_high ? high-- : low++;

    eps->eigr[j] = values[from];
    eps->eigi[j] = 0;
    PetscCall(PetscArraycpy(block->ritz + (size_t)j * (size_t)k, A + (size_t)from * (size_t)k, k));
  }
  PetscCall(PetscFree3(A, values, work));
  PetscCallMPI(MPI_Bcast(eps->eigr, (PetscMPIInt)k, MPIU_SCALAR, 0, block->state.range.comm));
  PetscCallMPI(MPI_Bcast(block->ritz, (PetscMPIInt)(k * k), MPI_DOUBLE, 0, block->state.range.comm));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* |A Q y - theta Q y|: the rows of T that lead out of the basis, times y; the rest lies in the basis and vanishes. */
static double ResidualNorm(EPS eps, PetscInt j)
{
  const Block *block = Data(eps);
  const size_t k = (size_t)block->state.projected, ld = (size_t)Stride(eps);
  double       square = 0;

  for (size_t i = k; i < k + (size_t)block->state.pending; ++i) {
    double entry = 0;

    for (size_t l = 0; l < k; ++l) entry += block->state.T[i * ld + l] * block->ritz[(size_t)j * k + l];
    square += entry * entry;
  }
  return sqrt(square);
}

static PetscErrorCode Test(EPS eps)
{
  const Block *block = Data(eps);
  PetscBool    all = PETSC_TRUE;

  PetscFunctionBeginUser;
  eps->nconv = 0;
  for (PetscInt j = 0; j < block->state.projected; ++j) {
    PetscCall((*eps->converged)(eps, eps->eigr[j], 0, ResidualNorm(eps, j), &eps->errest[j], eps->convergedctx));
    if (!(eps->errest[j] < eps->tol)) all = PETSC_FALSE;
    if (all) ++eps->nconv;
  }
  PetscCall(EPSMonitor(eps, eps->its, eps->nconv, eps->eigr, eps->eigi, eps->errest, block->state.projected));
  PetscCall((*eps->stopping)(eps, eps->its, eps->max_it, eps->nconv, eps->nev, &eps->reason, eps->stoppingctx));
  if (block->state.pending == 0) eps->reason = EPS_CONVERGED_TOL; /* the whole space */
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* out [m x m] = Y'M Y for the first m Ritz vectors. */
static PetscErrorCode MeasuredProjection(EPS eps, PetscInt m, double out[])
{
  const Block *block = Data(eps);
  const size_t k = (size_t)block->state.projected, ld = (size_t)Stride(eps);
  double      *product;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc1(k, &product));
  for (size_t j = 0; j < (size_t)m; ++j) {
    for (size_t i = 0; i < k; ++i) {
      product[i] = 0;
      for (size_t l = 0; l < k; ++l) product[i] += block->state.M[i * ld + l] * block->ritz[j * k + l];
    }
    for (size_t i = 0; i < (size_t)m; ++i) {
      double sum = 0;

      for (size_t l = 0; l < k; ++l) sum += block->ritz[i * k + l] * product[l];
      out[j * (size_t)m + i] = sum;
    }
  }
  PetscCall(PetscFree(product));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* T of the Ritz vectors that are kept: their values, and what leads from them to the pending vectors; and M. */
static PetscErrorCode RestartProjection(EPS eps, PetscInt keep)
{
  Block       *block = Data(eps);
  const size_t k = (size_t)block->state.projected, pending = (size_t)block->state.pending, ld = (size_t)Stride(eps);
  double      *T = block->state.T, *out, *measured;

  PetscFunctionBeginUser;
  PetscCall(PetscCalloc2(pending * (size_t)keep, &out, (size_t)keep * (size_t)keep, &measured));
  PetscCall(MeasuredProjection(eps, keep, measured));
  for (size_t i = 0; i < pending; ++i) {
    for (size_t j = 0; j < (size_t)keep; ++j) {
      for (size_t l = 0; l < k; ++l) out[i * (size_t)keep + j] += T[(k + i) * ld + l] * block->ritz[j * k + l];
    }
  }
  PetscCall(PetscArrayzero(T, ld * ld));
  for (size_t j = 0; j < (size_t)keep; ++j) {
    T[j * ld + j] = eps->eigr[j];
    for (size_t i = 0; i < pending; ++i)
      T[((size_t)keep + i) * ld + j] = T[j * ld + (size_t)keep + i] = out[i * (size_t)keep + j];
  }
  PetscCall(PetscArrayzero(block->state.M, ld * ld));
  for (size_t j = 0; j < (size_t)keep; ++j)
    PetscCall(PetscArraycpy(block->state.M + j * ld, measured + j * (size_t)keep, keep));
  PetscCall(PetscFree2(out, measured));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Keeps the Ritz vectors that matter, and the pending vectors behind them. */
static PetscErrorCode Restart(EPS eps)
{
  Block         *block = Data(eps);
  CkBlockState  *state = &block->state;
  const PetscInt k = state->projected, room = eps->ncv - block->size;
  const PetscInt keep = PetscMin(k, eps->nev + (room - eps->nev) / 2);

  PetscFunctionBeginUser;
  PetscCall(RestartProjection(eps, keep));
  PetscCall(CkBasisRotate(&state->range, k, state->basis, keep, block->ritz));
  for (PetscInt j = 0; j < state->pending; ++j)
    PetscCall(PetscArraycpy(state->basis[keep + j], state->basis[k + j], eps->nloc));
  state->projected = keep;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* T and M without the gaps between their columns, or back. */
static PetscErrorCode Pack(EPS eps, const CkBlockState *packed, PetscBool back)
{
  const CkBlockState *state = &Data(eps)->state;
  const size_t        n = (size_t)(packed->projected + packed->pending), ld = (size_t)Stride(eps);

  PetscFunctionBeginUser;
  for (size_t j = 0; j < n; ++j) {
    double *t[2] = {state->T + j * ld, packed->T + j * n}, *m[2] = {state->M + j * ld, packed->M + j * n};

    PetscCall(PetscArraycpy(t[!back], t[back], n));
    PetscCall(PetscArraycpy(m[!back], m[back], n));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Resume(EPS eps)
{
  Block         *block = Data(eps);
  CkBlockState  *state = &block->state, asked = *state;
  const PetscInt n = state->projected + state->pending;

  PetscFunctionBeginUser;
  PetscCheck(state->projected >= 0 && state->projected <= eps->ncv && state->pending >= 1 &&
               state->pending <= block->size,
             state->range.comm, PETSC_ERR_ARG_SIZ, "%" PetscInt_FMT " + %" PetscInt_FMT " vectors to go on from",
             state->projected, state->pending);
  PetscCall(PetscMalloc2((size_t)n * (size_t)n, &asked.T, (size_t)n * (size_t)n, &asked.M));
  PetscCall((*block->fill)(eps, &asked, block->fill_context));
  PetscCall(Pack(eps, &asked, PETSC_TRUE));
  PetscCall(PetscFree2(asked.T, asked.M));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode CallHook(EPS eps)
{
  Block         *block = Data(eps);
  CkBlockState   shown = block->state;
  const PetscInt n = shown.projected + shown.pending;
  PetscBool      stop = PETSC_FALSE;

  PetscFunctionBeginUser;
  if (!block->hook) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(PetscMalloc2((size_t)n * (size_t)n, &shown.T, (size_t)n * (size_t)n, &shown.M));
  PetscCall(Pack(eps, &shown, PETSC_FALSE));
  PetscCall((*block->hook)(eps, &shown, block->hook_context, &stop));
  PetscCall(PetscFree2(shown.T, shown.M));
  if (stop) eps->reason = EPS_CONVERGED_USER;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The converged Ritz vectors to the front of the BV, their eigenvalues from what was measured. */
static PetscErrorCode Finish(EPS eps)
{
  Block  *block = Data(eps);
  double *measured;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc1((size_t)eps->nconv * (size_t)eps->nconv, &measured));
  PetscCall(MeasuredProjection(eps, eps->nconv, measured));
  for (size_t j = 0; j < (size_t)eps->nconv; ++j) eps->eigr[j] = measured[j * (size_t)(eps->nconv + 1)];
  PetscCall(PetscFree(measured));
  PetscCall(CkBasisRotate(&block->state.range, block->state.projected, block->state.basis, eps->nconv, block->ritz));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Solve(EPS eps)
{
  Block             *block = Data(eps);
  const CkBlockState resume = block->state; /* Allocate() clears it */

  PetscFunctionBeginUser;
  PetscCall(Allocate(eps));
  if (block->fill) {
    block->state.iterations = resume.iterations;
    block->state.projected = resume.projected;
    block->state.pending = resume.pending;
    block->state.randoms = resume.randoms;
    block->state.scale = resume.scale;
    PetscCall(Resume(eps));
  } else PetscCall(Start(eps));
  while (eps->reason == EPS_CONVERGED_ITERATING) {
    PetscCall(Pass(eps));
    eps->its = block->state.iterations;
    PetscCall(SolveProjected(eps));
    PetscCall(Test(eps));
    if (eps->reason != EPS_CONVERGED_ITERATING) break;
    if (block->state.projected + block->state.pending > eps->ncv) PetscCall(Restart(eps));
    PetscCall(CallHook(eps));
  }
  if (eps->reason != EPS_CONVERGED_USER) PetscCall(Finish(eps));
  PetscCall(GetColumns(eps));
  PetscCall(Free(eps));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode SetFromOptions(EPS eps, PetscOptionItems *PetscOptionsObject)
{
  Block *block = Data(eps);

  PetscFunctionBeginUser;
  PetscOptionsHeadBegin(PetscOptionsObject, "EPS ckblock Options");
  PetscCall(PetscOptionsRangeInt("-eps_ckblock_size", "Vectors of a product", "CkBlockEPSSetSize", block->size,
                                 &block->size, NULL, 1, 4096));
  PetscOptionsHeadEnd();
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode View(EPS eps, PetscViewer viewer)
{
  PetscBool ascii;

  PetscFunctionBeginUser;
  PetscCall(PetscObjectTypeCompare((PetscObject)viewer, PETSCVIEWERASCII, &ascii));
  if (ascii) PetscCall(PetscViewerASCIIPrintf(viewer, "  vectors of a product: %" PetscInt_FMT "\n", Data(eps)->size));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Eigenvalues are those of the matrix itself, and the vectors are there. */
static PetscErrorCode NothingToDo(EPS eps)
{
  PetscFunctionBeginUser;
  (void)eps;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Destroy(EPS eps)
{
  PetscFunctionBeginUser;
  PetscCall(PetscFree(eps->data));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Create(EPS eps)
{
  Block *block;

  PetscFunctionBeginUser;
  PetscCall(PetscNew(&block));
  block->size = 32;
  eps->data = block;
  eps->useds = PETSC_FALSE;
  eps->categ = EPS_CATEGORY_OTHER;
  eps->ops->solve = Solve;
  eps->ops->setup = SetUp;
  eps->ops->setupsort = SetUpSort;
  eps->ops->setfromoptions = SetFromOptions;
  eps->ops->view = View;
  eps->ops->destroy = Destroy;
  eps->ops->backtransform = NothingToDo;
  eps->ops->computevectors = NothingToDo;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkBlockEPSRegister(void)
{
  PetscFunctionBeginUser;
  PetscCall(EPSRegister(CK_EPS_BLOCK, Create)); /* once more does no harm */
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode CheckType(EPS eps)
{
  PetscBool same;

  PetscFunctionBeginUser;
  PetscCall(PetscObjectTypeCompare((PetscObject)eps, CK_EPS_BLOCK, &same));
  PetscCheck(same, PetscObjectComm((PetscObject)eps), PETSC_ERR_ARG_WRONG, "The solver is not of type %s",
             CK_EPS_BLOCK);
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkBlockEPSSetSize(EPS eps, PetscInt size)
{
  PetscFunctionBeginUser;
  PetscCall(CheckType(eps));
  PetscCheck(size >= 1, PetscObjectComm((PetscObject)eps), PETSC_ERR_ARG_OUTOFRANGE, "Block of %" PetscInt_FMT, size);
  Data(eps)->size = size;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkBlockEPSSetHook(EPS eps, CkBlockHook hook, void *context)
{
  PetscFunctionBeginUser;
  PetscCall(CheckType(eps));
  Data(eps)->hook = hook;
  Data(eps)->hook_context = context;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkBlockEPSSetResume(EPS eps, const CkBlockState *state, CkBlockFill fill, void *context)
{
  Block *block = Data(eps);

  PetscFunctionBeginUser;
  PetscCall(CheckType(eps));
  block->state = *state;
  block->fill = fill;
  block->fill_context = context;
  PetscFunctionReturn(PETSC_SUCCESS);
}
