/* diffusion_apply.c: Y_j = D v_j for several vectors in one pass (decision 3). */
#include "noiseimpl.h"
#include <clarkia/exactsum.h>
#include <clarkia/progress.h>
#include <math.h>

/* sum_k |g_k||g'_k|, sum_k |g'_k|, sum_k |g_k|: with |v| they bound every sum of a product (Cauchy-Schwarz). */
typedef struct {
  double product, folded, original;
} NormSums;

static PetscErrorCode GetNormSums(CkLoss loss, PetscInt N, NormSums *sums)
{
  const double *original, *folded;

  PetscFunctionBeginUser;
  PetscCall(CkLossSquaredNorms(loss, &original));
  PetscCall(CkLossFoldedNorms(loss, &folded));
  for (PetscInt k = 0; k < N; ++k) {
    sums->product += sqrt(original[k]) * sqrt(folded[k]);
    sums->folded += sqrt(folded[k]);
    sums->original += sqrt(original[k]);
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The sweep of one group: accumulator j < m is sum_k s_kj g_k, accumulator m is sum_k g_k, sbar[j] the mean of s_kj. */
typedef struct {
  CkPass     pass;
  PetscInt   m;
  double    *S;     /* [tile x m] slopes */
  double    *S1;    /* [tile x (m+1)] slopes and a one */
  double    *sbar;  /* [m] */
  CkExactSum slope; /* their sums over samples */
} Sweep;

static PetscErrorCode SweepBegin(CkDiffusion D, const CkDiffusionSizes *sizes, const NormSums *norms, PetscInt m,
                                 const Vec V[], Sweep *sweep)
{
  const CkBatch all = CkBatchAll(sizes->N);
  double       *bounds, *slope, *size;

  PetscFunctionBeginUser;
  sweep->m = m;
  PetscCall(CkPassBegin(D->loss, &all, &sweep->pass));
  PetscCall(CkPassSetColumns(sweep->pass, m, V));
  PetscCall(PetscMalloc3(m + 1, &bounds, m, &slope, m, &size));
  PetscCall(CkPassGetColumnNorms(sweep->pass, size));
  for (PetscInt j = 0; j < m; ++j) {
    bounds[j] = norms->product * size[j];
    slope[j] = 2 * norms->original * size[j];
  }
  bounds[m] = norms->folded;
  PetscCall(CkPassSetAccumulator(sweep->pass, m + 1, bounds));
  PetscCall(CkExactSumCreate(sizes->comm, 1, m, slope, 2, &sweep->slope));
  PetscCall(PetscFree3(bounds, slope, size));
  PetscCall(PetscMalloc3((size_t)sizes->blocks.tile * (size_t)m, &sweep->S,
                         (size_t)sizes->blocks.tile * (size_t)(m + 1), &sweep->S1, m, &sweep->sbar));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode SweepTile(Sweep *sweep, PetscInt n)
{
  const size_t m = (size_t)sweep->m;

  PetscFunctionBeginUser;
  if (n == 0) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(CkPassDot(sweep->pass, sweep->S));
  PetscCall(PetscArrayzero(sweep->sbar, m));
  for (size_t k = 0; k < (size_t)n; ++k) {
    for (size_t j = 0; j < m; ++j) {
      sweep->S1[k * (m + 1) + j] = sweep->S[k * m + j];
      sweep->sbar[j] += sweep->S[k * m + j];
    }
    sweep->S1[k * (m + 1) + m] = 1;
  }
  for (PetscInt j = 0; j < sweep->m; ++j) PetscCall(CkExactSumAdd(sweep->slope, j, 0, 1, &sweep->sbar[j]));
  PetscCall(CkPassAccumulate(sweep->pass, sweep->S1));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode SweepRun(const CkDiffusionSizes *sizes, Sweep *sweep)
{
  CkTile     tile;
  CkProgress progress;

  PetscFunctionBeginUser;
  PetscCall(CkProgressCreate(sizes->comm, "D times vectors", "samples", sizes->N, &progress));
  while (PETSC_TRUE) {
    PetscCall(CkPassNext(sweep->pass, &tile));
    if (!tile.more) break;
    PetscCall(SweepTile(sweep, tile.n));
    PetscCall(CkProgressUpdate(progress, tile.first + tile.n));
  }
  PetscCall(CkProgressDestroy(&progress));
  PetscCall(PetscLogEventBegin(CK_Reduce, 0, 0, 0, 0));
  PetscCall(CkExactSumReduce(sweep->slope, sweep->sbar));
  PetscCall(PetscLogEventEnd(CK_Reduce, 0, 0, 0, 0));
  for (PetscInt j = 0; j < sweep->m; ++j) sweep->sbar[j] /= sizes->N;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode SweepEnd(Sweep *sweep)
{
  PetscFunctionBeginUser;
  PetscCall(CkPassEnd(&sweep->pass));
  PetscCall(CkExactSumDestroy(&sweep->slope));
  PetscCall(PetscFree3(sweep->S, sweep->S1, sweep->sbar));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* y = A/N - gbar sbar, or for the second moment with shift c: y = A/N + (c.v) gbar + c (sbar + c.v). Entry by entry in
   the same order on any number of ranks, which VecAXPY() does not promise. */
static PetscErrorCode Combine(const CkDiffusionSizes *sizes, double sbar, const double c[], double cv,
                              PetscBool centred, Vec sum, Vec y)
{
  const PetscScalar *total;
  PetscScalar       *out;
  PetscInt           first, last;

  PetscFunctionBeginUser;
  PetscCall(VecGetOwnershipRange(y, &first, &last));
  PetscCall(VecGetArrayRead(sum, &total));
  PetscCall(VecGetArray(y, &out));
  for (PetscInt i = 0; i < last - first; ++i) {
    const double gbar = total[i] / sizes->N;

    out[i] /= sizes->N;
    if (centred) out[i] -= gbar * sbar;
    else if (c) out[i] += cv * gbar + c[first + i] * (sbar + cv);
  }
  PetscCall(VecRestoreArray(y, &out));
  PetscCall(VecRestoreArrayRead(sum, &total));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkDiffusionDotShift(CkDiffusion D, const double c[], Vec v, double *dot)
{
  Vec          shift;
  PetscScalar *mine;
  PetscInt     first, last;

  PetscFunctionBeginUser;
  *dot = 0;
  if (!c) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(VecDuplicate(v, &shift));
  PetscCall(VecGetOwnershipRange(shift, &first, &last));
  PetscCall(VecGetArrayWrite(shift, &mine));
  PetscCall(PetscArraycpy(mine, c + first, last - first));
  PetscCall(VecRestoreArrayWrite(shift, &mine));
  PetscCall(CkLossDot(D->loss, shift, v, dot));
  PetscCall(VecDestroy(&shift));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode ApplyGroup(CkDiffusion D, const CkDiffusionSizes *sizes, const NormSums *norms, PetscInt m,
                                 const Vec V[], Vec Y[])
{
  Sweep   sweep;
  Vec    *out;
  double *c, cv;

  PetscFunctionBeginUser;
  PetscCall(SweepBegin(D, sizes, norms, m, V, &sweep));
  PetscCall(SweepRun(sizes, &sweep));
  PetscCall(PetscMalloc1(m + 1, &out));
  PetscCall(PetscArraycpy(out, Y, m));
  PetscCall(CkLossCreateVec(D->loss, &out[m]));
  PetscCall(CkPassReduce(sweep.pass, out));
  PetscCall(CkDiffusionGetShift(D, &c));
  for (PetscInt j = 0; j < m; ++j) {
    PetscCall(CkDiffusionDotShift(D, c, V[j], &cv));
    PetscCall(Combine(sizes, sweep.sbar[j], c, cv, D->centred, out[m], Y[j]));
  }
  PetscCall(PetscFree(c));
  PetscCall(VecDestroy(&out[m]));
  PetscCall(PetscFree(out));
  PetscCall(SweepEnd(&sweep));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkDiffusionApply(CkDiffusion D, PetscInt m, const Vec V[], Vec Y[])
{
  CkDiffusionSizes sizes;
  NormSums         norms = {0, 0, 0};
  PetscInt         group;

  PetscFunctionBeginUser;
  PetscCall(CkDiffusionGetSizes(D, &sizes));
  PetscCall(GetNormSums(D->loss, sizes.N, &norms));
  group = CkDiffusionGroup(D, &sizes, m);
  for (PetscInt first = 0; first < m; first += group)
    PetscCall(ApplyGroup(D, &sizes, &norms, PetscMin(group, m - first), V + first, Y + first));
  PetscFunctionReturn(PETSC_SUCCESS);
}
