#include "analysisimpl.h"
#include <clarkia/error.h>
#include <clarkia/random.h>
#include <math.h>
#include <petscblaslapack.h>
#include <string.h>

/* analysis_directions.c: the directions in which circulation is looked for, and D and H in them. */

const char *CkDirectionsName(CkDirectionsKind kind)
{
  static const char *const names[] = {"auto", "spectrum", "recorded", "random", "coordinates"};

  return names[kind];
}

static CkDirectionsKind Automatic(CkAnalysis a)
{
  if (a->info.content == CK_CONTENT_PROJECTIONS) return CK_DIRECTIONS_RECORDED;
  if (a->spectrum[0] && a->info.content == CK_CONTENT_ALL) return CK_DIRECTIONS_SPECTRUM;
  return a->info.columns <= a->modes ? CK_DIRECTIONS_COORDINATES : CK_DIRECTIONS_RANDOM;
}

PetscErrorCode CkAnalysisChooseDirections(CkAnalysis a)
{
  const PetscBool projections = (PetscBool)(a->info.content == CK_CONTENT_PROJECTIONS);
  PetscInt64      available = a->info.columns, vectors = 0;

  PetscFunctionBeginUser;
  a->kind = a->asked == CK_DIRECTIONS_AUTO ? Automatic(a) : a->asked;
  if (a->spectrum[0])
    PetscCall(CkFileCountEigenvectors(a->comm, "trajectory_spectrum", a->spectrum, a->info.dimension, &vectors));
  CkCheckAll(a->comm, a->kind != CK_DIRECTIONS_SPECTRUM || a->spectrum[0], PETSC_ERR_ARG_INCOMP,
             "-trajectory_directions spectrum needs -trajectory_spectrum FILE, with eigenvectors");
  CkCheckAll(a->comm, a->kind != CK_DIRECTIONS_SPECTRUM || a->info.content == CK_CONTENT_ALL, PETSC_ERR_ARG_INCOMP,
             "-trajectory_directions spectrum needs all weights in the trajectory, and this one has %s",
             projections ? "projections: take recorded" : "a subset: take random or coordinates");
  CkCheckAll(a->comm, a->kind != CK_DIRECTIONS_RECORDED || projections, PETSC_ERR_ARG_INCOMP,
             "-trajectory_directions recorded needs a trajectory of projections, and this one has weights");
  CkCheckAll(
    a->comm, a->kind != CK_DIRECTIONS_RANDOM || !projections, PETSC_ERR_ARG_INCOMP,
    "-trajectory_directions random needs weights in the trajectory, and this one has projections: take recorded");
  if (a->kind == CK_DIRECTIONS_SPECTRUM) available = vectors;
  a->k = (PetscInt)PetscMin((PetscInt64)a->modes, PetscMin(available, a->info.columns));
  PetscFunctionReturn(PETSC_SUCCESS);
}

double CkAnalysisDirectionsMemory(CkAnalysis a)
{
  const PetscBool expected = (PetscBool)(a->spectrum[0] || a->hessian[0]);
  const PetscBool copied = (PetscBool)(expected && a->info.content != CK_CONTENT_ALL);

  return 8. * (double)a->k * ((double)a->info.columns + (copied ? (double)a->info.dimension : 0)) +
         (expected ? 8. * (double)a->info.dimension : 0);
}

static PetscErrorCode RandomDirections(CkAnalysis a)
{
  const PetscInt64 m = a->info.columns;

  PetscFunctionBeginUser;
  for (PetscInt i = 0; i < a->k; ++i) {
    const CkRandom stream = {.seed = a->seed, .purpose = CK_RANDOM_PROBE, .replica = 3, .step = (uint64_t)i};
    double        *u = a->U + i * m, square = 0;

    CkRandomNormals(&stream, 0, (size_t)m, u);
    for (PetscInt64 j = 0; j < m; ++j) square += u[j] * u[j];
    for (PetscInt64 j = 0; j < m; ++j) u[j] /= sqrt(square);
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode ReadVectors(CkAnalysis a)
{
  CkFile file;

  PetscFunctionBeginUser;
  PetscCall(CkFileOpen(a->comm, a->spectrum, &file));
  for (PetscInt i = 0; i < a->k; ++i)
    PetscCall(CkFileReadRows(file, "/eigenvectors", CK_F64, i, 1, a->U + i * a->info.columns));
  PetscCall(CkFileDestroy(&file));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The directions as vectors of all d weights; W is U where that is what it holds. */
static PetscErrorCode WholeDirections(CkAnalysis a, double **W)
{
  const PetscInt64 d = a->info.dimension, m = a->info.columns;
  PetscInt64      *columns;

  PetscFunctionBeginUser;
  *W = a->U;
  if (a->info.content == CK_CONTENT_ALL) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(PetscCalloc1((size_t)a->k * (size_t)d, W));
  if (a->info.content == CK_CONTENT_PROJECTIONS) {
    PetscCall(CkTrajectoryReadDirections(a->trajectory, 0, a->k, *W));
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  PetscCall(PetscMalloc1((size_t)m, &columns));
  PetscCall(CkTrajectoryReadColumns(a->trajectory, columns));
  for (PetscInt i = 0; i < a->k; ++i)
    for (PetscInt64 j = 0; j < m; ++j) (*W)[i * d + columns[j]] = a->U[i * m + j];
  PetscCall(PetscFree(columns));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* out[i] = w_i.v */
static void Dots(PetscInt k, PetscInt64 d, const double W[], const double v[], double out[])
{
  for (PetscInt i = 0; i < k; ++i) {
    out[i] = 0;
    for (PetscInt64 j = 0; j < d; ++j) out[i] += W[i * d + j] * v[j];
  }
}

/* M_ij = sum_l lambda_l (w_i.v_l)(w_j.v_l) over the pairs of the spectrum file. */
static PetscErrorCode ProjectPairs(CkAnalysis a, CkFile file, const double W[], double M[])
{
  const PetscInt64 d = a->info.dimension;
  CkType           type;
  int              rank;
  PetscInt64       vectors[CK_MAX_RANK], values[CK_MAX_RANK];
  double          *lambda, *v, *dots, trace, sum = 0;

  PetscFunctionBeginUser;
  PetscCall(CkFileGetDataset(file, "/eigenvectors", &type, &rank, vectors));
  PetscCall(CkFileGetDataset(file, "/eigenvalues", &type, &rank, values));
  CkCheckAll(a->comm, rank == 1 && values[0] >= vectors[0], PETSC_ERR_FILE_UNEXPECTED,
             "-trajectory_spectrum %s has %lld eigenvectors but %lld eigenvalues", a->spectrum, (long long)vectors[0],
             (long long)values[0]);
  PetscCall(PetscMalloc3((size_t)values[0], &lambda, (size_t)d, &v, a->k, &dots));
  PetscCall(CkFileReadAll(file, "/eigenvalues", CK_F64, lambda));
  PetscCall(CkFileReadReal(file, "/", "trace", &trace, NULL));
  PetscCall(PetscArrayzero(M, a->k * a->k));
  for (PetscInt64 l = 0; l < vectors[0]; ++l) {
    PetscCall(CkFileReadRows(file, "/eigenvectors", CK_F64, l, 1, v));
    Dots(a->k, d, W, v, dots);
    sum += lambda[l];
    for (PetscInt i = 0; i < a->k; ++i)
      for (PetscInt j = 0; j < a->k; ++j) M[i * a->k + j] += lambda[l] * dots[i] * dots[j];
  }
  a->retained = trace > 0 ? sum / trace : 0;
  if (a->kind == CK_DIRECTIONS_SPECTRUM) {
    PetscCall(PetscMalloc1(a->k, &a->value));
    PetscCall(PetscArraycpy(a->value, lambda, a->k));
  }
  PetscCall(PetscFree3(lambda, v, dots));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode ReadSpectrum(CkAnalysis a, const double W[])
{
  CkFile    file;
  char      operator[64] = "";
  PetscBool found;

  PetscFunctionBeginUser;
  PetscCall(CkFileOpen(a->comm, a->spectrum, &file));
  PetscCall(CkFileReadString(file, "/", "operator", operator, sizeof(operator), &found));
  CkCheckAll(a->comm, found && strcmp(operator, "diffusion") == 0, PETSC_ERR_FILE_UNEXPECTED,
             "-trajectory_spectrum %s is a spectrum of %s: one of the diffusion matrix is wanted", a->spectrum,
             found ? operator : "nothing that it names");
  PetscCall(PetscMalloc1(a->k * a->k, &a->D));
  PetscCall(ProjectPairs(a, file, W, a->D));
  PetscCall(CkFileDestroy(&file));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* H_ij = w_i' H w_j, row by row of the file. */
static PetscErrorCode ReadHessian(CkAnalysis a, const double W[])
{
  const PetscInt64 d = a->info.dimension;
  CkFile           file;
  PetscBool        exists;
  CkType           type;
  int              rank;
  PetscInt64       shape[CK_MAX_RANK];
  double          *row, *dots;

  PetscFunctionBeginUser;
  PetscCall(CkFileOpen(a->comm, a->hessian, &file));
  PetscCall(CkFileExists(file, "/hessian", &exists));
  CkCheckAll(a->comm, exists, PETSC_ERR_FILE_UNEXPECTED,
             "-trajectory_hessian %s has no dataset /hessian: give a file that has the Hessian there, [%lld, %lld] "
             "(docs/formats.md, \"Analysis\"), or leave the key out and give -trajectory_spectrum",
             a->hessian, (long long)d, (long long)d);
  PetscCall(CkFileGetDataset(file, "/hessian", &type, &rank, shape));
  CkCheckAll(a->comm, rank == 2 && shape[0] == d && shape[1] == d, PETSC_ERR_ARG_SIZ,
             "-trajectory_hessian %s: /hessian is not [%lld, %lld], weights by weights of this trajectory's net: "
             "give that of the same net",
             a->hessian, (long long)d, (long long)d);
  PetscCall(PetscCalloc1(a->k * a->k, &a->H));
  PetscCall(PetscMalloc2((size_t)d, &row, a->k, &dots));
  for (PetscInt64 l = 0; l < d; ++l) {
    PetscCall(CkFileReadRows(file, "/hessian", CK_F64, l, 1, row));
    Dots(a->k, d, W, row, dots);
    for (PetscInt i = 0; i < a->k; ++i)
      for (PetscInt j = 0; j < a->k; ++j) a->H[i * a->k + j] += W[i * d + l] * dots[j];
  }
  PetscCall(PetscFree2(row, dots));
  PetscCall(CkFileDestroy(&file));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkAnalysisMakeDirections(CkAnalysis a)
{
  double *W;

  PetscFunctionBeginUser;
  CkCheckAll(a->comm, a->info.columns <= PETSC_BLAS_INT_MAX, PETSC_ERR_ARG_OUTOFRANGE,
             "%lld columns are more than this build's BLAS can count (%lld)", (long long)a->info.columns,
             (long long)PETSC_BLAS_INT_MAX);
  PetscCall(PetscCalloc1((size_t)a->k * (size_t)a->info.columns, &a->U));
  if (a->kind == CK_DIRECTIONS_SPECTRUM) PetscCall(ReadVectors(a));
  else if (a->kind == CK_DIRECTIONS_RANDOM) PetscCall(RandomDirections(a));
  else
    for (PetscInt i = 0; i < a->k; ++i) a->U[i * a->info.columns + i] = 1;
  if (!a->spectrum[0] && !a->hessian[0]) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(WholeDirections(a, &W));
  if (a->spectrum[0]) PetscCall(ReadSpectrum(a, W));
  if (a->hessian[0]) PetscCall(ReadHessian(a, W));
  if (W != a->U) PetscCall(PetscFree(W));
  PetscFunctionReturn(PETSC_SUCCESS);
}
