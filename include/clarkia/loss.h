#pragma once
#include <clarkia/batch.h>
#include <clarkia/data.h>
#include <clarkia/engine.h>
#include <clarkia/state.h>
#include <petscvec.h>

/*
  CkLoss: a finite sum f(x) = (1/N) sum_k f_k(x) with its derivative contractions. docs/theory.md, section 1.
  Types: `network` (a net on a data set), `quadratic` (f_k = x'H x/2 + xi_k.x), `linear-regression` (f_k = (a_k.x -
  y_k)^2/2), `two-weight` (f_k = (w1 w2 x_k - y_k)^2/2). A type is one file and one line in loss_types.c, written
  against the private vtable in src/loss/lossimpl.h; sum blocks, exact sums and reductions are shared by all.

  Collective on the loss's communicator unless said otherwise. x and vectors are PETSc Vec of length d as made by
  CkLossCreateVec() (PETSC_DECIDE layout; another one is PETSC_ERR_ARG_SIZ). Results are the same bits on any number of
  ranks (decision 2). Weight decay (l2/2)|x|^2 (-loss_l2), over all d weights as PyTorch's weight_decay, belongs to
  every f_k in Values and Gradient; slopes, norms and passes hold data gradients only (decision 6).
  A NaN or infinity in a sample's value or gradient is a user error that names the sample.

  Batches: indices out of 0..N-1 are PETSC_ERR_ARG_OUTOFRANGE. Training mode (batch statistics, dropout) is accepted by
  Values and Gradient; everything else refuses it (user error PETSC_ERR_SUP). For the landscapes it means nothing.
*/
typedef struct _p_CkLoss *CkLoss;

PetscErrorCode CkLossCreate(MPI_Comm comm, CkLoss *loss);
PetscErrorCode CkLossSetType(CkLoss loss, const char type[]); /* default: that of the CkLossSet...() below */
PetscErrorCode CkLossSetFromOptions(CkLoss loss);             /* -loss_sum_block, -loss_l2, -loss_reproducible, -seed */
/* Type `network`: net, data and state are borrowed until Destroy. The point starts at the state's weights; every
 * SetPoint takes the buffers (running statistics) the state has then. The engine is made by CkLossSetUp() from the
 * -engine keys, its tile the largest divisor of the sum block that is no larger than -engine_tile. */
PetscErrorCode CkLossSetNetwork(CkLoss loss, CkNet net, CkData data, CkState state);
/* Landscapes: N samples of the numbers they need; copied; the point starts at 0. quadratic: H [d x d] symmetric, xi [N
 * x d]; linear-regression: a [N x d], y [N]; two-weight: x [N], y [N]. */
PetscErrorCode CkLossSetQuadratic(CkLoss loss, PetscInt d, PetscInt N, const double H[], const double xi[]);
PetscErrorCode CkLossSetLinearRegression(CkLoss loss, PetscInt d, PetscInt N, const double a[], const double y[]);
PetscErrorCode CkLossSetTwoWeight(CkLoss loss, PetscInt N, const double x[], const double y[]);
/* Training mode: samples that batch norm normalises together; 0 (default): the whole batch (decision 11). A batch whose
 * last group would hold a single sample is refused by CkLossGradient() (user error). */
PetscErrorCode CkLossSetBatchNormGroup(CkLoss loss, PetscInt group);
PetscErrorCode CkLossSetUp(CkLoss loss);
PetscErrorCode CkLossView(CkLoss loss);
PetscErrorCode CkLossDestroy(CkLoss *loss);
PetscErrorCode CkLossRegisterOptions(void);

PetscErrorCode CkLossGetComm(CkLoss loss, MPI_Comm *comm);
PetscErrorCode CkLossGetDimension(CkLoss loss, PetscInt *d);
PetscErrorCode CkLossGetSamples(CkLoss loss, PetscInt *N);
PetscErrorCode CkLossGetNet(CkLoss loss, CkNet *net);          /* NULL for landscapes */
PetscErrorCode CkLossGetEngine(CkLoss loss, CkEngine *engine); /* NULL for landscapes */
PetscErrorCode CkLossGetData(CkLoss loss, CkData *data);       /* NULL for landscapes; borrowed */
PetscErrorCode CkLossGetBatchNormGroup(CkLoss loss, PetscInt *group);
PetscErrorCode CkLossGetSumBlock(CkLoss loss, PetscInt *block);
PetscErrorCode CkLossGetL2(CkLoss loss, double *l2);
/* What per-sample gradients are computed in: float64 for landscapes and the reference engine. */
PetscErrorCode CkLossGetPrecision(CkLoss loss, CkPrecision *precision);
PetscErrorCode CkLossCreateVec(CkLoss loss, Vec *x);
PetscErrorCode CkLossGetPoint(CkLoss loss, Vec x); /* copies the current point */
/* The current point [d] on every rank; borrowed, until the next SetPoint. Not collective. */
PetscErrorCode CkLossGetPointArray(CkLoss loss, const double **x);

/* x is gathered once; everything cached for the former point is dropped. NaN: user error naming tensor (or index). */
PetscErrorCode CkLossSetPoint(CkLoss loss, Vec x);
/* f [batch n] in batch order on every rank; correct (NULL: not wanted): count of right predictions (landscapes: 0). */
PetscErrorCode CkLossValues(CkLoss loss, const CkBatch *batch, double f[], PetscInt *correct);
/* g = sum_k w_k (g_k + l2 x); w [n] in batch order on every rank, NULL: 1/n each. mean_value (NULL: not wanted): mean
 * of f_k over the batch; correct as above. In training mode the weighted sum is differentiated through the batch
 * statistics, which go to CkLossGetBatchStatistics(). Range: |g_k| < 2^40 (user error beyond), resolution 2^-62
 * sum |w_k|. */
PetscErrorCode CkLossGradient(CkLoss loss, const CkBatch *batch, const double w[], Vec g, double *mean_value,
                              PetscInt *correct);
/* Mean and unbiased variance of each batch norm in the last training-mode gradient, in buffer order; borrowed. NULL for
 * landscapes. */
PetscErrorCode CkLossGetBatchStatistics(CkLoss loss, const double **statistics);
/* S [n x m] = g_k.v_j on every rank. */
PetscErrorCode CkLossSlopes(CkLoss loss, const CkBatch *batch, PetscInt m, const Vec V[], double S[]);
/* out_j = sum_k W_kj g_k; W [n x m] on every rank. Range and resolution as CkLossGradient(); where all samples' norms
 * are known, from them. A sweep over all samples at a point whose norms are not known yet caches them. */
PetscErrorCode CkLossGradientBlock(CkLoss loss, const CkBatch *batch, PetscInt m, const double W[], Vec out[]);
/* |g_k|^2 of all N samples on every rank, cached per point (one pass the first time); borrowed. */
PetscErrorCode CkLossSquaredNorms(CkLoss loss, const double **norms);
/* |g'_k|^2 in engine coordinates, likewise: with the former, bounds of exact sums. */
PetscErrorCode CkLossFoldedNorms(CkLoss loss, const double **norms);
/* (1/N) sum_k g_k [d] on every rank, from the same pass as the norms; borrowed. */
PetscErrorCode CkLossMeanGradient(CkLoss loss, const double **mean);
/* Mean gradient [d] on every rank of at most `most` samples that are spread evenly over all; not cached. */
PetscErrorCode CkLossSampleMean(CkLoss loss, PetscInt most, double mean[]);
/* Largest |g_k| and |g'_k| (engine coordinates): bounds of exact sums. Cached with the norms. */
PetscErrorCode CkLossGradientBounds(CkLoss loss, double *original, double *folded);
/* Second and third derivatives: PETSC_ERR_SUP until a type provides them. */
PetscErrorCode CkLossBends(CkLoss loss, const CkBatch *batch, Vec u, Vec v, double q[]);           /* u'H_k v */
PetscErrorCode CkLossHessian(CkLoss loss, const CkBatch *batch, const double w[], Vec v, Vec out); /* sum w_k H_k v */
PetscErrorCode CkLossOwnHessian(CkLoss loss, const CkBatch *batch, const double w[], Vec out);     /* sum w_k H_k g_k */
PetscErrorCode CkLossThird(CkLoss loss, const CkBatch *batch, const double w[], Vec u, Vec v,
                           Vec out); /* sum w_k d3f_k[u,v] */
/* Passes over the data set since creation, in units of N samples (forward and backward; forward only counts 1/3). */
PetscErrorCode CkLossGetPasses(CkLoss loss, double *passes);
/* v [d] on every rank. */
PetscErrorCode CkLossGather(CkLoss loss, Vec v, double all[]);
/* a.b summed in index order on every rank: the same bits on any number of ranks, which VecDot() is not. */
PetscErrorCode CkLossDot(CkLoss loss, Vec a, Vec b, double *dot);

/*
  CkBlocks: how n positions are cut for one loss (CkLossGetBlocks()). What a rank keeps per sample stands in the order
  of its blocks; only the last block of all may be short. Nothing below communicates but CkBlocksGather().
*/
typedef struct {
  PetscInt    n, block, tile;
  PetscInt    nblocks;
  PetscInt    tiles_per_block; /* of the largest block */
  PetscMPIInt rank, size;
} CkBlocks;

/* How a batch of n positions is cut into sum blocks and tiles. Not collective. */
PetscErrorCode CkLossGetBlocks(CkLoss loss, PetscInt n, CkBlocks *blocks);
/* Whether a sweep adds to exact sums as its kernels make the terms: a sum block is a single tile. Else the sums of a
   block, 8 bytes a weight and vector, are made first; they do not fit a cache. */
PetscBool CkLossSumsDirectly(CkLoss loss, const CkBlocks *blocks);
/* Samples of a rank. */
PetscInt CkBlocksCount(const CkBlocks *blocks, PetscMPIInt rank);
/* Rounds of tiles in a sweep, the same on all ranks; round r belongs to each rank's block number r / tiles_per_block.
 */
PetscInt CkBlocksRounds(const CkBlocks *blocks);
/* Positions first .. first+n of this rank's tile of a round; n may be 0. */
void CkBlocksTile(const CkBlocks *blocks, PetscInt round, PetscInt *first, PetscInt *n);
/* Where position p stands among the samples of the rank that owns it. */
PetscInt CkBlocksLocal(const CkBlocks *blocks, PetscInt position);
/* mine [samples of this rank x width] -> all [n x width] in batch order on every rank. Collective. */
PetscErrorCode CkBlocksGather(const CkBlocks *blocks, MPI_Comm comm, PetscInt width, const double mine[], double all[]);

/*
  CkPass: one sweep over a batch in evaluation mode, tile by tile: the fused form behind everything above.
    CkPassBegin(loss, &batch, &pass); [SetColumns] [SetAccumulator] | [SetRange]
    while (CkPassNext(pass, &tile), tile.more) {
      Rows | Entries | Factors | SquaredNorms | Dot | Accumulate on tile.n samples
    }
    [CkPassReduce(pass, out)] CkPassEnd(&pass)
  CkPassNext() runs in rounds that are the same on all ranks (so the body may communicate); a rank may get n = 0. It
  itself communicates only when the sweep ends: then a non-finite value or gradient met on any rank is the user error
  that names the sample. Until then the rank that met one gets zeros and n = 0.
  One pass at a time per loss; while it is under way nothing else of the loss that sweeps or sets the point may be
  called (PETSC_ERR_ORDER).
*/
typedef struct _p_CkPass *CkPass;

typedef struct {
  PetscBool     more;   /* false: the sweep is over */
  PetscInt      round;  /* 0, 1, .. : all ranks are in the same round */
  PetscInt      first;  /* batch position of the tile's first sample */
  PetscInt      n;      /* samples of this rank in this round, maybe 0 */
  const double *values; /* [n] f_k without weight decay */
} CkTile;

PetscErrorCode CkPassBegin(CkLoss loss, const CkBatch *batch, CkPass *pass);
PetscErrorCode CkPassSetColumns(CkPass pass, PetscInt m, const Vec V[]); /* collective: gathers */
/* |v_j| of the columns set, [m]; the same bits on any number of ranks. */
PetscErrorCode CkPassGetColumnNorms(CkPass pass, double norms[]);
/* bounds[j] >= sum_k |S_kj| |g'_k|, the same on all ranks: see CkLossFoldedNorms(). A bit is added for rounding. */
PetscErrorCode CkPassSetAccumulator(CkPass pass, PetscInt m, const double bounds[]);
/* Only entries first .. first+count of the gradients are wanted in this sweep, by CkPassEntries() and CkPassFactors()
   and nothing else: that saves what only the others need, and does not communicate. */
PetscErrorCode CkPassSetRange(CkPass pass, PetscInt first, PetscInt count);
PetscErrorCode CkPassNext(CkPass pass, CkTile *tile);
PetscErrorCode CkPassRows(CkPass pass, CkPrecision precision, void *G,
                          size_t ld); /* not collective, as the next three */
/* Entries first .. first+count, within the range, weight by weight in the precision of the gradients: G [count x ld],
   ld >= n, holds entry first + i of g_k at i ld + k. */
PetscErrorCode CkPassEntries(CkPass pass, PetscInt first, PetscInt count, void *G, size_t ld);
/* Inputs and derivatives of layer `number` of CkEngineGetFactors() of the loss's engine, as CkEngineFactors(). */
PetscErrorCode CkPassFactors(CkPass pass, PetscInt number, void *inputs, void *derivatives, size_t ld);
PetscErrorCode CkPassSquaredNorms(CkPass pass, double original[], double folded[]); /* [n]; folded may be NULL */
PetscErrorCode CkPassDot(CkPass pass, double S[]);                                  /* [n x m] */
PetscErrorCode CkPassAccumulate(CkPass pass, const double S[]);                     /* [n x m of the accumulator] */
PetscErrorCode CkPassReduce(CkPass pass, Vec out[]); /* collective, after the sweep; m vectors */
/* How this sweep is cut: its rounds, its tiles, whose position is whose. */
PetscErrorCode CkPassGetBlocks(CkPass pass, CkBlocks *blocks);
PetscErrorCode CkPassEnd(CkPass *pass);
