#include "spectrumimpl.h"
#include <clarkia/error.h>
#include <float.h>
#include <math.h>

/* What the dense and the gram route share: the eigenproblem of an assembled block-cyclic matrix with the spectrum of D.
 */

/* Below this an eigenvector of the Gram matrix does not give one of D: v = G'u / sqrt(N lambda) carries the relative
   error `precision` of G amplified by sqrt(lambda_max / lambda), and u is known to 10 n eps and the noise of the
   products only. */
double CkSpectrumVectorFloor(CkSpectrum s, PetscInt order, double lambda_max)
{
  const double floor = PetscMax(CkSpectrumRounding(order, lambda_max), 100 * s->precision * s->precision * lambda_max);

  return PetscMax(floor, CkSpectrumProductNoise(s));
}

static PetscErrorCode Keep(CkSpectrum s, PetscInt order, const double values[])
{
  PetscFunctionBeginUser;
  /* the Gram matrix has zeros of its own: that of centring, and N - d that D does not have */
  s->n = s->method == CK_SPECTRUM_GRAM ? CkSpectrumMaximalRank(s) : order;
  PetscCall(PetscMalloc2(s->n, &s->values, s->n, &s->residual));
  for (PetscInt i = 0; i < s->n; ++i) {
    s->values[i] = values[i];
    s->residual[i] = NAN;
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Compares m leading pairs of a Krylov solver with the values, and D applied from the data with them. */
static PetscErrorCode CheckLeading(CkSpectrum s, PetscInt m, const double lambda[], const double U[], PetscInt order,
                                   const double values[], CkSpectrumMap map)
{
  const double floor = CkSpectrumVectorFloor(s, order, values[0]);
  PetscInt    *index, usable = 0;
  Vec         *V;
  double      *residual;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc2(m, &index, m, &residual));
  CkSpectrumCheckLeading(&s->checks, m, lambda, order, values, index);
  while (usable < m && index[usable] < s->n && lambda[usable] > floor) ++usable;
  if (usable > 0) {
    PetscCall(CkSpectrumCreateVectors(s, usable, &V));
    PetscCall(map(s, usable, U, lambda, V));
    PetscCall(CkSpectrumIndependentTrace(s));
    PetscCall(CkSpectrumPhaseBegin(s, CK_PHASE_CHECK));
    PetscCall(CkSpectrumNormalize(s, usable, V, NULL));
    PetscCall(CkSpectrumResiduals(s, usable, V, lambda, values[0], residual));
    for (PetscInt j = 0; j < usable; ++j) s->residual[index[j]] = residual[j];
    CkSpectrumCheckResiduals(&s->checks, usable, residual, CkSpectrumResidualBound(s));
    PetscCall(CkSpectrumDestroyVectors(usable, &V));
  }
  PetscCall(PetscFree2(index, residual));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The wanted eigenvectors of D from the columns of Z. */
static PetscErrorCode KeepVectors(CkSpectrum s, CkBlockMatrix Z, PetscInt order, CkSpectrumMap map)
{
  const PetscInt group = PetscMin(s->nvectors, CK_RESIDUAL_GROUP);
  double        *U;

  PetscFunctionBeginUser;
  PetscCall(CkSpectrumCreateVectors(s, s->nvectors, &s->vectors));
  PetscCall(PetscMalloc1((size_t)group * (size_t)order, &U));
  for (PetscInt first = 0; first < s->nvectors; first += group) {
    const PetscInt count = PetscMin(group, s->nvectors - first);

    PetscCall(CkBlockMatrixGetColumns(Z, first, count, U));
    PetscCall(map(s, count, U, s->values + first, s->vectors + first));
    PetscCall(CkSpectrumNormalize(s, count, s->vectors + first, NULL));
  }
  PetscCall(PetscFree(U));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* How many of the wanted eigenvectors there are: all of them for dense, those above the floor for gram. */
static PetscErrorCode CountVectors(CkSpectrum s, PetscInt order)
{
  const double floor = s->method == CK_SPECTRUM_GRAM ? CkSpectrumVectorFloor(s, order, s->values[0]) : -HUGE_VAL;
  PetscInt     usable = 0;

  PetscFunctionBeginUser;
  while (usable < s->n && s->values[usable] > floor) ++usable;
  CkCheckAll(s->comm, s->wanted <= usable, PETSC_ERR_ARG_OUTOFRANGE,
             "-spectrum_vectors %" PetscInt_FMT ": the Gram matrix gives only %" PetscInt_FMT
             " eigenvectors, those with an eigenvalue above %.3g; ask for fewer, or for -spectrum_method dense",
             s->wanted, usable, floor);
  s->nvectors = s->wanted == CK_SPECTRUM_ALL ? usable : s->wanted;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Rounding errors of an assembled matrix: each entry is a sum of N or d terms, whose errors are relative to the
   uncentred moment and add up as random ones do. */
double CkSpectrumAssemblyNoise(CkSpectrum s, PetscInt order)
{
  return 10 * ((double)order + sqrt((double)PetscMax(s->N, s->d))) * DBL_EPSILON * s->scale;
}

/* Of the assembled matrix. */
typedef struct {
  PetscInt order;
  double   trace, frobenius;
} Matrix;

/* Trace and norm are taken, and the leading pairs found, before the solver destroys the matrix: no copy is needed. */
static PetscErrorCode SolveValues(CkSpectrum s, CkBlockMatrix A, PetscInt m, double lambda[], double **U,
                                  double values[], CkBlockMatrix *Z, Matrix *matrix)
{
  PetscFunctionBeginUser;
  PetscCall(CkSpectrumPhaseBegin(s, CK_PHASE_CHECK));
  PetscCall(CkBlockMatrixGetSize(A, &matrix->order));
  PetscCall(CkBlockMatrixTrace(A, &matrix->trace));
  PetscCall(CkBlockMatrixFrobenius(A, &matrix->frobenius));
  if (m > 0) PetscCall(CkSpectrumLeading(A, s->comm, m, lambda, U));
  PetscCall(CkSpectrumPhaseBegin(s, CK_PHASE_SOLVE));
  PetscCall(CkLog(s->comm, "all eigenvalues of a matrix of order %" PetscInt_FMT, matrix->order));
  PetscCall(CkBlockMatrixEigen(A, s->solver, values, Z));
  PetscCall(CkSpectrumPhaseBegin(s, CK_PHASE_CHECK));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static void CheckMatrix(CkSpectrum s, const Matrix *matrix, const double values[])
{
  CkSpectrumCheckAssembly(&s->checks, matrix->trace, s->trace, s->scale, s->precision);
  CkSpectrumCheckTrace(&s->checks, matrix->order, values, PETSC_TRUE, s->trace, s->scale, s->precision);
  CkSpectrumCheckValues(&s->checks, matrix->order, values, matrix->trace, matrix->frobenius,
                        CkSpectrumAssemblyNoise(s, matrix->order) + CkSpectrumProductNoise(s));
}

/* The wanted eigenvectors, from those of the matrix, with their residuals. */
static PetscErrorCode SolveVectors(CkSpectrum s, CkBlockMatrix *Z, PetscInt order, CkSpectrumMap map)
{
  PetscFunctionBeginUser;
  PetscCall(CkSpectrumPhaseBegin(s, CK_PHASE_VECTORS));
  PetscCall(CountVectors(s, order));
  PetscCall(KeepVectors(s, *Z, order, map));
  PetscCall(CkBlockMatrixDestroy(Z));
  PetscCall(CkSpectrumIndependentTrace(s));
  PetscCall(CkSpectrumPhaseBegin(s, CK_PHASE_CHECK));
  if (!s->check) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(CkSpectrumResiduals(s, s->nvectors, s->vectors, s->values, s->values[0], s->residual));
  CkSpectrumCheckResiduals(&s->checks, s->nvectors, s->residual, CkSpectrumResidualBound(s));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkSpectrumSolveAssembled(CkSpectrum s, CkBlockMatrix *A, CkSpectrumMap map)
{
  const PetscBool vectors = (PetscBool)(s->wanted != 0);
  CkBlockMatrix   Z = NULL;
  Matrix          matrix;
  PetscInt        order, m = 0;
  double         *values, *lambda, *U = NULL;

  PetscFunctionBeginUser;
  PetscCall(CkBlockMatrixGetSize(*A, &order));
  if (s->check && !vectors && s->scale > 0) m = PetscMin(s->residuals, PetscMin(order, s->d));
  PetscCall(PetscMalloc2(order, &values, m, &lambda));
  PetscCall(SolveValues(s, *A, m, lambda, &U, values, vectors ? &Z : NULL, &matrix));
  PetscCall(CkBlockMatrixDestroy(A)); /* its room is wanted for the eigenvectors */
  PetscCall(Keep(s, order, values));
  if (m > 0) PetscCall(CheckLeading(s, m, lambda, U, order, values, map));
  if (vectors) PetscCall(SolveVectors(s, &Z, order, map));
  PetscCall(CkSpectrumIndependentTrace(s)); /* where nothing above has needed it */
  PetscCall(CkSpectrumPhaseBegin(s, CK_PHASE_CHECK));
  if (s->check) CheckMatrix(s, &matrix, values);
  PetscCall(PetscFree2(values, lambda));
  PetscCall(PetscFree(U));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Pairs with a residual in a run without eigenvectors. */
static PetscInt Leading(CkSpectrum s, const CkSpectrumEstimate *e)
{
  return s->check && s->wanted == 0 ? PetscMin(s->residuals, e->values) : 0;
}

/* Passes and columns of the checks, and of the vectors that are kept. */
static PetscErrorCode EstimateProducts(CkSpectrum s, PetscBool gram, CkSpectrumEstimate *e, double *columns)
{
  const PetscInt kept = CkSpectrumVectorCount(s, e->values);
  const PetscInt leading = Leading(s, e);
  const PetscInt m = kept + leading; /* one of them is zero */
  double         bytes, passes;

  PetscFunctionBeginUser;
  *columns = 0;
  if (m == 0) PetscFunctionReturn(PETSC_SUCCESS);
  for (PetscInt first = 0; first < m; first += CK_RESIDUAL_GROUP) {
    PetscCall(CkDiffusionProductCost(s->D, PetscMin(CK_RESIDUAL_GROUP, m - first), &bytes, &passes));
    e->stream = PetscMax(e->stream, bytes);
    e->passes += (gram ? passes : 0) + (s->check ? passes : 0);
  }
  *columns = (gram ? 1. : 0.) * m + (s->check ? 2. : 0.) * m;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Bytes of the vectors: kept ones and a group of products, both distributed, and a group of eigenvectors of the matrix
   on every rank; with the Krylov basis where leading pairs are checked. */
static double VectorBytes(CkSpectrum s, const CkSpectrumEstimate *e, PetscMPIInt size)
{
  const PetscInt kept = CkSpectrumVectorCount(s, e->values);
  const PetscInt leading = Leading(s, e);
  const double   group = PetscMin(CK_RESIDUAL_GROUP, kept + leading);
  const double   basis = leading > 0 ? (double)CkKrylovBasisSize(e->order, leading) + 1 : 0;

  return sizeof(double) * (((double)(kept + leading) + group) * ceil((double)s->d / size) + group * (double)e->order +
                           basis * ceil((double)e->order / size));
}

PetscErrorCode CkSpectrumEstimateAssembled(CkSpectrum s, PetscBool gram, CkSpectrumEstimate *e)
{
  const double    n = (double)e->order;
  const PetscBool vectors = (PetscBool)(s->wanted != 0);
  PetscBool       mean = PETSC_FALSE;
  PetscMPIInt     size;
  CkAssemblyCost  cost;
  double          load, row, column, columns;

  PetscFunctionBeginUser;
  PetscCallMPI(MPI_Comm_size(s->comm, &size));
  PetscCall(CkSpectrumGradientCost(s, &load, &row, &column));
  e->values = gram ? CkSpectrumMaximalRank(s) : e->order;
  PetscCall(CkBlockMatrixMemory(s->comm, e->order, vectors, s->solver, &e->matrix, &e->work));
  PetscCall(CkDiffusionAssemblyCost(s->D, gram, &cost));
  e->stream = cost.bytes;
  PetscCall(CkDiffusionGramTakesMean(s->D, &mean));
  /* norms and mean: of many samples gram has them from the pass of the first vectors that are mapped */
  e->passes = cost.passes + (gram && !mean && CkSpectrumVectorCount(s, e->values) + Leading(s, e) > 0 ? 0 : 1);
  PetscCall(EstimateProducts(s, gram, e, &columns));
  e->vectors = VectorBytes(s, e, size);
  if (!vectors) e->apart = PetscMin(e->work, e->stream); /* buffers of the assembly are gone when the solver begins */
  e->gradient = cost.gradients + (double)s->N * ((e->passes - cost.passes) * load + columns * column);
  e->assembly = cost.products;
  /* reduction to tridiagonal form; with vectors divide and conquer (worst case) and back-transformation */
  e->solve = vectors ? (4. / 3 + 8. / 3 + 2) * n * n * n : 4. / 3 * n * n * n;
  PetscFunctionReturn(PETSC_SUCCESS);
}
