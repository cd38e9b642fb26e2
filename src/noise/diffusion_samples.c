/*
  diffusion_samples.c: products with K = (1/N) Gc Gc' (G.1), which is never assembled: V = N^-1/2 Gc' Z, then N^-1/2 Gc
  V; by passes over the data, or over gradients kept in memory.
*/
#include "noiseimpl.h"
#include <clarkia/exactsum.h>
#include <clarkia/file.h>
#include <clarkia/progress.h>
#include <clarkia/rowops.h>
#include <math.h>

PetscErrorCode CkDiffusionKeepMemory(CkDiffusion D, double *bytes, PetscBool *fits)
{
  CkDiffusionSizes sizes;

  PetscFunctionBeginUser;
  PetscCall(CkDiffusionGetSizes(D, &sizes));
  *bytes = (double)CkBlocksCount(&sizes.blocks, 0) * (double)sizes.d * (double)sizes.bytes;
  *fits = (PetscBool)(*bytes <= D->memory);
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkDiffusionGetSweeps(CkDiffusion D, double *sweeps)
{
  PetscFunctionBeginUser;
  *sweeps = D->sweeps;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkDiffusionKeepGradients(CkDiffusion D, PetscBool keep)
{
  CkDiffusionSizes sizes;
  CkBatch          all;
  CkPass           pass;
  CkTile           tile;

  PetscFunctionBeginUser;
  PetscCall(PetscFree(D->kept));
  if (!keep) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(CkDiffusionGetSizes(D, &sizes));
  all = CkBatchAll(sizes.N);
  PetscCall(PetscMalloc1((size_t)CkBlocksCount(&sizes.blocks, sizes.blocks.rank) * (size_t)sizes.d * sizes.bytes + 1,
                         &D->kept));
  PetscCall(CkPassBegin(D->loss, &all, &pass));
  while (PETSC_TRUE) {
    size_t at;

    PetscCall(CkPassNext(pass, &tile));
    if (!tile.more) break;
    at = (size_t)CkBlocksLocal(&sizes.blocks, tile.first) * (size_t)sizes.d;
    PetscCall(CkPassRows(pass, sizes.precision, D->kept + at * sizes.bytes, (size_t)sizes.d));
  }
  PetscCall(CkPassEnd(&pass));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Kept gradients of positions first .. first+n, widened into G [n x d]. */
static CkRows KeptRows(CkDiffusion D, const CkDiffusionSizes *sizes, PetscInt first, PetscInt n, double G[])
{
  const size_t at = (size_t)CkBlocksLocal(&sizes->blocks, first) * (size_t)sizes->d;
  const size_t count = (size_t)n * (size_t)sizes->d;
  CkRows       rows = {.n = n, .d = sizes->d, .ld = (size_t)sizes->d, .G = G};

  if (sizes->precision == CK_FLOAT64) rows.G = (const double *)(const void *)D->kept + at;
  else
    for (size_t i = 0; i < count; ++i) G[i] = ((const float *)(const void *)D->kept)[at + i];
  return rows;
}

/* V [m x d] = W'G on every rank, W [N x m]; exact sums of the sum blocks' sums, as in a pass. */
static PetscErrorCode KeptAccumulate(CkDiffusion D, const CkDiffusionSizes *sizes, PetscInt m, const double W[],
                                     double G[], double V[])
{
  const size_t  d = (size_t)sizes->d;
  const double *norms;
  double       *bounds;
  CkExactSum    sum;

  PetscFunctionBeginUser;
  PetscCall(CkLossSquaredNorms(D->loss, &norms));
  PetscCall(PetscCalloc1(m, &bounds));
  for (size_t k = 0; k < (size_t)sizes->N; ++k) {
    for (size_t j = 0; j < (size_t)m; ++j) bounds[j] += 2 * fabs(W[k * (size_t)m + j]) * sqrt(norms[k]);
  }
  PetscCall(CkExactSumCreate(sizes->comm, sizes->d, m, bounds, 2, &sum));
  PetscCall(PetscArrayzero(V, (size_t)m * d));
  for (PetscInt round = 0; round < CkBlocksRounds(&sizes->blocks); ++round) {
    PetscInt first, n;

    CkBlocksTile(&sizes->blocks, round, &first, &n);
    if (n > 0) {
      const CkRows rows = KeptRows(D, sizes, first, n, G);

      PetscCall(CkRowsAccumulate(&rows, m, W + (size_t)first * (size_t)m, V));
    }
    if ((round + 1) % sizes->blocks.tiles_per_block > 0) continue;
    for (PetscInt j = 0; j < m; ++j) PetscCall(CkExactSumAdd(sum, j, 0, (PetscInt64)d, V + (size_t)j * d));
    PetscCall(PetscArrayzero(V, (size_t)m * d));
  }
  PetscCall(CkExactSumReduce(sum, V));
  PetscCall(CkExactSumDestroy(&sum));
  PetscCall(PetscFree(bounds));
  ++D->sweeps;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* S [N x m] = G V on every rank. */
static PetscErrorCode KeptDot(CkDiffusion D, const CkDiffusionSizes *sizes, PetscInt m, const double V[], double G[],
                              double S[])
{
  double *mine;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc1((size_t)CkBlocksCount(&sizes->blocks, sizes->blocks.rank) * (size_t)m, &mine));
  for (PetscInt round = 0; round < CkBlocksRounds(&sizes->blocks); ++round) {
    PetscInt first, n;

    CkBlocksTile(&sizes->blocks, round, &first, &n);
    if (n > 0) {
      const CkRows rows = KeptRows(D, sizes, first, n, G);

      PetscCall(CkRowsDot(&rows, m, V, mine + (size_t)CkBlocksLocal(&sizes->blocks, first) * (size_t)m));
    }
  }
  PetscCall(CkBlocksGather(&sizes->blocks, sizes->comm, m, mine, S));
  PetscCall(PetscFree(mine));
  ++D->sweeps;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* S_kj = (g_k + c).v_j for V = N^-1/2 (Gc or G + c)' Z, from memory; c NULL: nothing is added. */
static PetscErrorCode KeptSlopes(CkDiffusion D, const CkDiffusionSizes *sizes, PetscInt m, const double Z[],
                                 const double c[], double S[])
{
  const size_t N = (size_t)sizes->N, d = (size_t)sizes->d;
  double      *W, *sums, *V, *G;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc4(N * (size_t)m, &W, m, &sums, (size_t)m * d, &V, (size_t)sizes->blocks.tile * d, &G));
  CkDiffusionRootWeights(D, sizes, m, m, Z, W, sums);
  PetscCall(KeptAccumulate(D, sizes, m, W, G, V));
  for (size_t j = 0; c && j < (size_t)m; ++j) {
    for (size_t i = 0; i < d; ++i) V[j * d + i] += sums[j] * c[i];
  }
  PetscCall(KeptDot(D, sizes, m, V, G, S));
  for (size_t j = 0; c && j < (size_t)m; ++j) {
    double add = 0;

    for (size_t i = 0; i < d; ++i) add += c[i] * V[j * d + i];
    for (size_t k = 0; k < N; ++k) S[k * (size_t)m + j] += add;
  }
  PetscCall(PetscFree4(W, sums, V, G));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The same by two passes over the data. */
static PetscErrorCode PassSlopes(CkDiffusion D, const CkDiffusionSizes *sizes, PetscInt m, const double Z[],
                                 const double c[], double S[])
{
  const CkBatch all = CkBatchAll(sizes->N);
  Vec          *V;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc1(m, &V));
  for (PetscInt j = 0; j < m; ++j) PetscCall(CkLossCreateVec(D->loss, &V[j]));
  PetscCall(CkDiffusionRootBlock(D, m, Z, V));
  PetscCall(CkLossSlopes(D->loss, &all, m, V, S));
  for (PetscInt j = 0; j < m; ++j) {
    double add;

    PetscCall(CkDiffusionDotShift(D, c, V[j], &add));
    for (size_t k = 0; k < (size_t)sizes->N; ++k) S[k * (size_t)m + (size_t)j] += add;
    PetscCall(VecDestroy(&V[j]));
  }
  PetscCall(PetscFree(V));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Y [m x N] = N^-1/2 S', S [N x m] centred over the samples. */
static void CentreSlopes(CkDiffusion D, const CkDiffusionSizes *sizes, PetscInt m, const double S[], double Y[])
{
  const size_t N = (size_t)sizes->N;
  const double scale = 1 / sqrt((double)sizes->N);

  for (size_t j = 0; j < (size_t)m; ++j) {
    long double sum = 0;
    double      mean;

    for (size_t k = 0; k < N; ++k) sum += S[k * (size_t)m + j];
    mean = D->centred ? (double)(sum / sizes->N) : 0;
    for (size_t k = 0; k < N; ++k) Y[j * N + k] = scale * (S[k * (size_t)m + j] - mean);
  }
}

/* Solvers on all ranks must go the same way, or they would wait for each other for ever. */
static PetscErrorCode CheckSame(const CkDiffusionSizes *sizes, PetscInt m, const double Z[])
{
  uint64_t mine, ends[2];

  PetscFunctionBeginUser;
  mine = CkChecksum(0, &m, sizeof(m));
  mine = CkChecksum(mine, Z, (size_t)m * (size_t)sizes->N * sizeof(double));
  ends[0] = mine;
  ends[1] = ~mine;
  PetscCallMPI(MPI_Allreduce(MPI_IN_PLACE, ends, 2, MPI_UINT64_T, MPI_MIN, sizes->comm));
  CkCheckAll(sizes->comm, ends[0] == ~ends[1], PETSC_ERR_ARG_INCOMP,
             "the ranks have come to different vectors in sample space, as processors of different kinds may do: take "
             "-spectrum_krylov weight, or nodes of one kind");
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkDiffusionApplyGram(CkDiffusion D, PetscInt m, const double Z[], double Y[])
{
  CkDiffusionSizes sizes;
  PetscInt         group;
  double          *turned, *S, *c;

  PetscFunctionBeginUser;
  PetscCall(CkDiffusionGetSizes(D, &sizes));
  PetscCall(CheckSame(&sizes, m, Z));
  PetscCall(CkDiffusionGetShift(D, &c));
  group = CkDiffusionGroup(D, &sizes, m);
  PetscCall(PetscMalloc2((size_t)sizes.N * (size_t)group, &turned, (size_t)sizes.N * (size_t)group, &S));
  for (PetscInt first = 0; first < m; first += group) {
    const size_t count = (size_t)PetscMin(group, m - first), N = (size_t)sizes.N;

    for (size_t j = 0; j < count; ++j) {
      for (size_t k = 0; k < N; ++k) turned[k * count + j] = Z[((size_t)first + j) * N + k];
    }
    if (D->kept) PetscCall(KeptSlopes(D, &sizes, (PetscInt)count, turned, c, S));
    else PetscCall(PassSlopes(D, &sizes, (PetscInt)count, turned, c, S));
    CentreSlopes(D, &sizes, (PetscInt)count, S, Y + (size_t)first * N);
  }
  PetscCall(PetscFree2(turned, S));
  PetscCall(PetscFree(c));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode ShellMult(Mat K, Vec x, Vec y)
{
  CkDiffusion        D;
  const PetscScalar *in;
  PetscScalar       *out;

  PetscFunctionBeginUser;
  PetscCall(MatShellGetContext(K, &D));
  PetscCall(VecGetArrayRead(x, &in));
  PetscCall(VecGetArrayWrite(y, &out));
  PetscCall(CkDiffusionApplyGram(D, 1, in, out));
  PetscCall(VecRestoreArrayWrite(y, &out));
  PetscCall(VecRestoreArrayRead(x, &in));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode ShellMatMult(Mat K, Mat B, Mat C, void *unused)
{
  CkDiffusion        D;
  const PetscScalar *in;
  PetscScalar       *out;
  PetscInt           N, m, strides[2];

  PetscFunctionBeginUser;
  (void)unused;
  PetscCall(MatShellGetContext(K, &D));
  PetscCall(MatGetSize(B, &N, &m));
  PetscCall(MatDenseGetLDA(B, &strides[0]));
  PetscCall(MatDenseGetLDA(C, &strides[1]));
  PetscCheck(strides[0] == N && strides[1] == N, PETSC_COMM_SELF, PETSC_ERR_SUP, "Dense matrices with gaps");
  PetscCall(MatDenseGetArrayRead(B, &in));
  PetscCall(MatDenseGetArrayWrite(C, &out));
  PetscCall(CkDiffusionApplyGram(D, m, in, out));
  PetscCall(MatDenseRestoreArrayWrite(C, &out));
  PetscCall(MatDenseRestoreArrayRead(B, &in));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkDiffusionGetGramMat(CkDiffusion D, Mat *K)
{
  PetscInt N;

  PetscFunctionBeginUser;
  PetscCall(CkLossGetSamples(D->loss, &N));
  PetscCall(MatCreateShell(PETSC_COMM_SELF, N, N, N, N, D, K));
  PetscCall(MatShellSetOperation(*K, MATOP_MULT, (void (*)(void))ShellMult));
  PetscCall(MatShellSetOperation(*K, MATOP_MULT_TRANSPOSE, (void (*)(void))ShellMult));
  PetscCall(MatShellSetMatProductOperation(*K, MATPRODUCT_AB, NULL, ShellMatMult, NULL, MATDENSE, MATDENSE));
  PetscCall(MatSetOption(*K, MAT_SYMMETRIC, PETSC_TRUE));
  PetscCall(MatSetOption(*K, MAT_SYMMETRY_ETERNAL, PETSC_TRUE));
  PetscFunctionReturn(PETSC_SUCCESS);
}
