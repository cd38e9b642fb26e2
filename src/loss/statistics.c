/* statistics.c: squared norms of all samples and their mean gradient, one pass per point, or in one with sums. */
#include "lossimpl.h"
#include <math.h>

/* out_j, and the last sum to loss->mean. */
static PetscErrorCode ReduceWithMean(CkPass pass, PetscInt m, Vec out[])
{
  const CkLoss loss = pass->loss;
  Vec         *all;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc1(m + 1, &all));
  PetscCall(PetscArraycpy(all, out, m));
  PetscCall(CkLossCreateVec(loss, &all[m]));
  PetscCall(CkPassReduce(pass, all));
  PetscCall(CkLossGather(loss, all[m], loss->mean));
  PetscCall(VecDestroy(&all[m]));
  PetscCall(PetscFree(all));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* One sweep over all samples: pairs [N x 2] = |g_k|^2, |g'_k|^2 on every rank, and out_j = sum_k W_kj g_k, W [N x m].
 */
static PetscErrorCode SweepNorms(CkLoss loss, PetscInt m, const double W[], Vec out[], double pairs[])
{
  const CkBatch all = CkBatchAll(loss->N);
  const size_t  columns = (size_t)m + 1;
  double       *bounds, *mine, *weights, *scratch;
  CkPass        pass;
  CkTile        tile;

  PetscFunctionBeginUser;
  PetscCall(CkPassBegin(loss, &all, &pass));
  PetscCall(PetscMalloc4(m + 1, &bounds, 2 * CkBlocksCount(&pass->blocks, loss->rank), &mine,
                         (size_t)loss->tile * columns, &weights, 2 * loss->tile, &scratch));
  CkWideBounds(loss->N, m, W, bounds); /* nothing is known yet */
  bounds[m] = CK_LOSS_WIDE;
  PetscCall(CkPassSetSum(pass, m + 1, bounds, 2));
  while (PETSC_TRUE) {
    double *original = scratch, *folded = scratch + loss->tile, *at;

    PetscCall(CkPassNext(pass, &tile));
    if (!tile.more) break;
    for (size_t k = 0; k < (size_t)tile.n; ++k) {
      for (size_t j = 0; j < (size_t)m; ++j) weights[k * columns + j] = W[((size_t)tile.first + k) * (size_t)m + j];
      weights[k * columns + (size_t)m] = 1. / (double)loss->N;
    }
    PetscCall(CkPassSquaredNorms(pass, original, folded));
    PetscCall(CkPassAccumulate(pass, weights));
    at = mine + 2 * (size_t)CkBlocksLocal(&pass->blocks, tile.first);
    for (PetscInt k = 0; k < tile.n; ++k) {
      at[2 * k] = original[k];
      at[2 * k + 1] = folded[k];
    }
  }
  PetscCall(CkBlocksGather(&pass->blocks, loss->comm, 2, mine, pairs));
  PetscCall(PetscFree4(bounds, mine, weights, scratch));
  PetscCall(ReduceWithMean(pass, m, out));
  PetscCall(CkPassEnd(&pass));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkLossCacheWith(CkLoss loss, PetscInt m, const double W[], Vec out[])
{
  double *pairs;

  PetscFunctionBeginUser;
  PetscCheck(loss->setup, loss->comm, PETSC_ERR_ORDER, "Call CkLossSetUp() first");
  if (!loss->norms) PetscCall(PetscMalloc3(loss->N, &loss->norms, loss->N, &loss->folded, loss->d, &loss->mean));
  PetscCall(PetscMalloc1(2 * (size_t)loss->N, &pairs));
  PetscCall(SweepNorms(loss, m, W, out, pairs));
  for (size_t k = 0; k < (size_t)loss->N; ++k) {
    loss->norms[k] = pairs[2 * k];
    loss->folded[k] = pairs[2 * k + 1];
  }
  PetscCall(PetscFree(pairs));
  loss->cached = PETSC_TRUE;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Cache(CkLoss loss)
{
  PetscFunctionBeginUser;
  if (!loss->cached) PetscCall(CkLossCacheWith(loss, 0, NULL, NULL));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkLossSampleMean(CkLoss loss, PetscInt most, double mean[])
{
  const PetscInt n = PetscMin(loss->N, most);
  CkBatch        batch = CkBatchAll(n);
  PetscInt      *index;
  double        *ones;
  Vec            sum;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc2(n, &index, n, &ones));
  for (PetscInt k = 0; k < n; ++k) {
    index[k] = (PetscInt)((PetscInt64)k * loss->N / n);
    ones[k] = 1;
  }
  batch.index = index;
  PetscCall(CkLossCreateVec(loss, &sum));
  PetscCall(CkLossGradientBlock(loss, &batch, 1, ones, &sum));
  PetscCall(CkLossGather(loss, sum, mean));
  for (PetscInt i = 0; i < loss->d; ++i) mean[i] /= (double)n;
  PetscCall(VecDestroy(&sum));
  PetscCall(PetscFree2(index, ones));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkLossSquaredNorms(CkLoss loss, const double **norms)
{
  PetscFunctionBeginUser;
  PetscCall(Cache(loss));
  *norms = loss->norms;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkLossFoldedNorms(CkLoss loss, const double **norms)
{
  PetscFunctionBeginUser;
  PetscCall(Cache(loss));
  *norms = loss->folded;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkLossMeanGradient(CkLoss loss, const double **mean)
{
  PetscFunctionBeginUser;
  PetscCall(Cache(loss));
  *mean = loss->mean;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkLossGradientBounds(CkLoss loss, double *original, double *folded)
{
  PetscFunctionBeginUser;
  PetscCall(Cache(loss));
  *original = *folded = 0;
  for (PetscInt k = 0; k < loss->N; ++k) {
    *original = PetscMax(*original, loss->norms[k]);
    *folded = PetscMax(*folded, loss->folded[k]);
  }
  *original = sqrt(*original);
  *folded = sqrt(*folded);
  PetscFunctionReturn(PETSC_SUCCESS);
}
