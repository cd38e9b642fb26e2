/* statistics.c: squared norms of all samples and their mean gradient, one pass per point. */
#include "lossimpl.h"
#include <math.h>

/* One sweep over all samples: pairs [N x 2] = |g_k|^2, |g'_k|^2 on every rank. */
static PetscErrorCode SweepNorms(CkLoss loss, double pairs[])
{
  const CkBatch all = CkBatchAll(loss->N);
  const double  bound = CK_LOSS_WIDE; /* of the mean; nothing is known yet */
  double       *mine, *scratch;
  const double *mean;
  CkPass        pass;
  CkTile        tile;

  PetscFunctionBeginUser;
  PetscCall(CkPassBegin(loss, &all, &pass));
  PetscCall(CkPassSetSum(pass, 1, &bound, 2));
  PetscCall(PetscMalloc2(2 * CkBlocksCount(&pass->blocks, loss->rank), &mine, 3 * loss->tile, &scratch));
  for (PetscInt k = 0; k < loss->tile; ++k) scratch[k] = 1. / (double)loss->N;
  while (PETSC_TRUE) {
    double *original = scratch + loss->tile, *folded = original + loss->tile, *at;

    PetscCall(CkPassNext(pass, &tile));
    if (!tile.more) break;
    PetscCall(CkPassSquaredNorms(pass, original, folded));
    PetscCall(CkPassAccumulate(pass, scratch));
    at = mine + 2 * (size_t)CkBlocksLocal(&pass->blocks, tile.first);
    for (PetscInt k = 0; k < tile.n; ++k) {
      at[2 * k] = original[k];
      at[2 * k + 1] = folded[k];
    }
  }
  PetscCall(CkBlocksGather(&pass->blocks, loss->comm, 2, mine, pairs));
  PetscCall(PetscFree2(mine, scratch));
  PetscCall(CkPassReduceArray(pass, &mean));
  PetscCall(PetscArraycpy(loss->mean, mean, loss->d));
  PetscCall(CkPassEnd(&pass));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Cache(CkLoss loss)
{
  double *pairs;

  PetscFunctionBeginUser;
  PetscCheck(loss->setup, loss->comm, PETSC_ERR_ORDER, "Call CkLossSetUp() first");
  if (loss->cached) PetscFunctionReturn(PETSC_SUCCESS);
  if (!loss->norms) PetscCall(PetscMalloc3(loss->N, &loss->norms, loss->N, &loss->folded, loss->d, &loss->mean));
  PetscCall(PetscMalloc1(2 * (size_t)loss->N, &pairs));
  PetscCall(SweepNorms(loss, pairs));
  for (size_t k = 0; k < (size_t)loss->N; ++k) {
    loss->norms[k] = pairs[2 * k];
    loss->folded[k] = pairs[2 * k + 1];
  }
  PetscCall(PetscFree(pairs));
  loss->cached = PETSC_TRUE;
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
