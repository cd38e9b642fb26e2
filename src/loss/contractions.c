/* contractions.c: values, gradients and slopes of a batch, written on CkPass or on the type's training mode. */
#include "lossimpl.h"
#include <clarkia/progress.h>
#include <math.h>

enum { LOCAL, ALL, WEIGHTS, EQUAL }; /* uses of loss->work */

static PetscErrorCode Work(CkLoss loss, int use, PetscInt n, PetscInt width, double **array)
{
  PetscFunctionBeginUser;
  PetscCall(CkGrow((size_t)n * (size_t)width, &loss->room[use], &loss->work[use]));
  *array = loss->work[use];
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Bounds for weights W [n x m] where norms are not known: |g_k| < CK_LOSS_WIDE. */
void CkWideBounds(PetscInt n, PetscInt m, const double W[], double bounds[])
{
  for (PetscInt j = 0; j < m; ++j) bounds[j] = 0;
  for (PetscInt k = 0; k < n; ++k) {
    for (PetscInt j = 0; j < m; ++j) bounds[j] += fabs(W[(size_t)k * (size_t)m + (size_t)j]);
  }
  for (PetscInt j = 0; j < m; ++j) bounds[j] *= CK_LOSS_WIDE;
}

static void PackPairs(PetscInt n, const double values[], const int correct[], double pairs[])
{
  for (size_t k = 0; k < (size_t)n; ++k) {
    pairs[2 * k] = values[k];
    pairs[2 * k + 1] = correct[k];
  }
}

/* Sweeps over the batch. pairs [n x 2], on every rank: f_k without weight decay and 1 where right. w NULL: forward
   only; else sum [d] = sum_k w_k g_k on every rank, valid until the next sweep. */
static PetscErrorCode SweepEvaluation(CkLoss loss, const CkBatch *batch, const double w[], double pairs[],
                                      const double **sum)
{
  CkPass   pass;
  CkTile   tile;
  double   bound, *mine = NULL;
  CkBlocks blocks;

  PetscFunctionBeginUser;
  PetscCall(CkPassStart(loss, batch, (PetscBool)!w, &pass));
  if (w) {
    CkWideBounds(batch->n, 1, w, &bound);
    PetscCall(CkPassSetSum(pass, 1, &bound, 2));
  }
  blocks = pass->blocks;
  PetscCall(Work(loss, LOCAL, CkBlocksCount(&blocks, loss->rank), 2, &mine));
  while (PETSC_TRUE) {
    PetscCall(CkPassNext(pass, &tile));
    if (!tile.more) break;
    PackPairs(tile.n, tile.values, pass->correct, mine + 2 * (size_t)CkBlocksLocal(&blocks, tile.first));
    if (w) PetscCall(CkPassAccumulate(pass, w + tile.first));
  }
  PetscCall(CkBlocksGather(&blocks, loss->comm, 2, mine, pairs));
  if (w) {
    PetscCall(CkPassSumOverRanks(pass));
    PetscCall(CkPassGetSum(pass, 0, sum));
  }
  PetscCall(CkPassEnd(&pass));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Batch norm of one sample is not defined (decision 11). */
static PetscErrorCode CheckGroups(CkLoss loss, const CkBatch *batch, PetscInt *group)
{
  PetscInt buffers = 0;

  PetscFunctionBeginUser;
  *group = loss->group ? loss->group : batch->n;
  if (loss->net) PetscCall(CkNetGetBuffers(loss->net, &buffers));
  if (buffers > 0 && (batch->n % *group == 1 || *group == 1))
    CkCheckAll(loss->comm, PETSC_FALSE, PETSC_ERR_ARG_SIZ,
               "a training batch of %" PetscInt_FMT " samples in groups of %" PetscInt_FMT
               " leaves one sample alone, which batch norm cannot normalise: change the batch size, the group size or "
               "the number of samples",
               batch->n, *group);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The sum blocks of this rank with weights w [n] (NULL: 0); frees with FreeBlocks(). */
static PetscErrorCode MakeTrainingBlocks(CkLoss loss, const CkBatch *batch, const double w[], CkTrainingBlocks *blocks,
                                         PetscInt **index)
{
  CkBlocks  cut;
  PetscInt *first, *size, n = 0;
  double   *weights = NULL;

  PetscFunctionBeginUser;
  PetscCall(CkLossGetBlocks(loss, batch->n, &cut));
  *blocks = (CkTrainingBlocks){.comm = loss->comm, .seed = loss->seed, .batch = batch};
  PetscCall(CheckGroups(loss, batch, &blocks->group));
  for (PetscInt t = loss->rank; t < cut.nblocks; t += loss->size) ++blocks->nblocks;
  PetscCall(Work(loss, WEIGHTS, CkBlocksCount(&cut, loss->rank), 1, &weights));
  PetscCall(PetscMalloc3(blocks->nblocks, &first, blocks->nblocks, &size, CkBlocksCount(&cut, loss->rank), index));
  for (PetscInt i = 0; i < blocks->nblocks; ++i) {
    first[i] = (i * loss->size + loss->rank) * cut.block;
    size[i] = PetscMin(cut.block, batch->n - first[i]);
    for (PetscInt k = first[i]; k < first[i] + size[i]; ++k, ++n) {
      (*index)[n] = batch->index ? batch->index[k] : k;
      weights[n] = w ? w[k] : 0;
    }
  }
  blocks->first = first;
  blocks->size = size;
  blocks->weights = weights;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode ResetTrainingSum(CkLoss loss, PetscInt n, const double w[])
{
  double bound = 0;

  PetscFunctionBeginUser;
  if (w) CkWideBounds(n, 1, w, &bound);
  if (loss->gradient) PetscCall(CkExactSumReset(loss->gradient, &bound));
  else {
    PetscCall(CkExactSumCreate(loss->comm, loss->d, 1, &bound, 2, &loss->gradient));
    PetscCall(CkExactSumSetHold(loss->gradient, PETSC_TRUE)); /* a rank must not leave training alone */
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Marks the samples of a rank whose part of the gradient left the range of exact sums; in place of 0 or 1 for right. */
static const double OUT_OF_RANGE = -1;

/* After a training-mode run every rank has all values, and finds the same fault or none. */
static PetscErrorCode CheckTrainingPairs(CkLoss loss, const CkBatch *batch, const double pairs[])
{
  const char *remedy = "if training diverges, lower the learning rate; else look at the data";

  PetscFunctionBeginUser;
  for (size_t k = 0; k < (size_t)batch->n; ++k) {
    const PetscInt sample = batch->index ? batch->index[k] : (PetscInt)k;

    if (!isfinite(pairs[2 * k]))
      CkCheckAll(loss->comm, PETSC_FALSE, PETSC_ERR_FP,
                 "the loss of sample %" PetscInt_FMT " is %g in training (epoch %" PetscInt_FMT
                 ", update %" PetscInt_FMT "): %s",
                 sample, CkPlainNan(pairs[2 * k]), batch->epoch + 1, batch->step + 1, remedy);
    if (pairs[2 * k + 1] == OUT_OF_RANGE)
      CkCheckAll(loss->comm, PETSC_FALSE, PETSC_ERR_FP,
                 "the gradient of the training batch (epoch %" PetscInt_FMT ", update %" PetscInt_FMT
                 "), sample %" PetscInt_FMT " and its neighbours, leaves the range of %g: %s",
                 batch->epoch + 1, batch->step + 1, sample, CK_LOSS_WIDE, remedy);
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Runs the type's training mode; mine [samples of this rank x 2] as pairs of Sweep...(). */
static PetscErrorCode Train(CkLoss loss, const CkBatch *batch, const double w[], PetscInt n, double mine[])
{
  CkTrainingBlocks blocks;
  PetscInt        *index;
  double          *values;
  int             *correct;
  PetscBool        spoilt;

  PetscFunctionBeginUser;
  PetscCall(MakeTrainingBlocks(loss, batch, w, &blocks, &index));
  PetscCall(ResetTrainingSum(loss, batch->n, w));
  PetscCall(PetscMalloc2(n, &values, n, &correct));
  PetscCall(loss->type->train(loss, &blocks, index, values, correct, loss->gradient));
  spoilt = CkExactSumIsSpoilt(loss->gradient);
  for (PetscInt k = 0; k < n; ++k) {
    mine[2 * k] = values[k];
    mine[2 * k + 1] = spoilt ? OUT_OF_RANGE : correct[k];
  }
  PetscCall(PetscFree2(values, correct));
  PetscCall(PetscFree3(blocks.first, blocks.size, index));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* As SweepEvaluation(), in training mode; w NULL: values only, which cost as much. */
static PetscErrorCode SweepTraining(CkLoss loss, const CkBatch *batch, const double w[], double pairs[],
                                    const double **sum)
{
  CkBlocks cut;
  PetscInt n;
  double  *mine = NULL;

  PetscFunctionBeginUser;
  PetscCheck(!loss->pass || !loss->pass->active, loss->comm, PETSC_ERR_ORDER, "A pass over this loss is under way");
  PetscCall(CkLossGetBlocks(loss, batch->n, &cut));
  n = CkBlocksCount(&cut, loss->rank);
  PetscCall(Work(loss, LOCAL, PetscMax(2 * n, loss->d), 1, &mine));
  PetscCall(Train(loss, batch, w, n, mine));
  PetscCall(CkBlocksGather(&cut, loss->comm, 2, mine, pairs));
  PetscCall(CheckTrainingPairs(loss, batch, pairs));
  loss->passes += (double)batch->n / (double)loss->N;
  if (w) {
    PetscCall(PetscLogEventBegin(CK_Reduce, 0, 0, 0, 0));
    PetscCall(CkExactSumReduce(loss->gradient, mine));
    PetscCall(PetscLogEventEnd(CK_Reduce, 0, 0, 0, 0));
    *sum = mine;
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Sweep(CkLoss loss, const CkBatch *batch, const double w[], double pairs[], const double **sum)
{
  PetscFunctionBeginUser;
  PetscCall(CkLossCheckBatch(loss, batch));
  if (batch->mode == CK_TRAINING && loss->type->train) PetscCall(SweepTraining(loss, batch, w, pairs, sum));
  else PetscCall(SweepEvaluation(loss, batch, w, pairs, sum));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static double WeightDecay(CkLoss loss)
{
  long double square = 0;

  if (loss->l2 == 0) return 0;
  for (PetscInt i = 0; i < loss->d; ++i) square += (long double)loss->x[i] * loss->x[i];
  return (double)(0.5L * loss->l2 * square);
}

static PetscInt CountCorrect(PetscInt n, const double pairs[])
{
  PetscInt count = 0;

  for (size_t k = 0; k < (size_t)n; ++k) count += pairs[2 * k + 1] > 0;
  return count;
}

PetscErrorCode CkLossValues(CkLoss loss, const CkBatch *batch, double f[], PetscInt *correct)
{
  const double decay = WeightDecay(loss);
  double      *pairs = NULL;

  PetscFunctionBeginUser;
  PetscCall(Work(loss, ALL, batch->n, 2, &pairs));
  PetscCall(Sweep(loss, batch, NULL, pairs, NULL));
  for (size_t k = 0; k < (size_t)batch->n; ++k) f[k] = pairs[2 * k] + decay;
  if (correct) *correct = CountCorrect(batch->n, pairs);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* g = sum + l2 (sum_k w_k) x on this rank's part. */
static PetscErrorCode FinishGradient(CkLoss loss, const double sum[], double total, Vec g)
{
  PetscScalar *mine;

  PetscFunctionBeginUser;
  PetscCall(CkLossToVec(loss, sum, g));
  if (loss->l2 == 0) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(VecGetArray(g, &mine));
  for (PetscInt i = 0; i < loss->local; ++i) mine[i] += loss->l2 * total * loss->x[loss->first + i];
  PetscCall(VecRestoreArray(g, &mine));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkLossGradient(CkLoss loss, const CkBatch *batch, const double w[], Vec g, double *mean_value,
                              PetscInt *correct)
{
  const double *sum = NULL;
  double       *pairs = NULL, *equal = NULL, total = 0;
  long double   values = 0;

  PetscFunctionBeginUser;
  PetscCall(Work(loss, ALL, batch->n, 2, &pairs));
  if (!w) {
    PetscCall(Work(loss, EQUAL, batch->n, 1, &equal));
    for (PetscInt k = 0; k < batch->n; ++k) equal[k] = 1. / (double)batch->n;
  }
  PetscCall(Sweep(loss, batch, w ? w : equal, pairs, &sum));
  for (PetscInt k = 0; k < batch->n; ++k) {
    values += pairs[2 * (size_t)k];
    total += w ? w[k] : 0;
  }
  PetscCall(FinishGradient(loss, sum, w ? total : 1, g));
  if (mean_value) *mean_value = (double)(values / batch->n) + WeightDecay(loss);
  if (correct) *correct = CountCorrect(batch->n, pairs);
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkLossSlopes(CkLoss loss, const CkBatch *batch, PetscInt m, const Vec V[], double S[])
{
  CkPass   pass;
  CkTile   tile;
  CkBlocks blocks;
  double  *mine = NULL;

  PetscFunctionBeginUser;
  PetscCall(CkPassBegin(loss, batch, &pass));
  PetscCall(CkPassSetColumns(pass, m, V));
  blocks = pass->blocks;
  PetscCall(Work(loss, LOCAL, CkBlocksCount(&blocks, loss->rank), m, &mine));
  while (PETSC_TRUE) {
    PetscCall(CkPassNext(pass, &tile));
    if (!tile.more) break;
    PetscCall(CkPassDot(pass, mine + (size_t)m * (size_t)CkBlocksLocal(&blocks, tile.first)));
  }
  PetscCall(CkPassEnd(&pass));
  PetscCall(CkBlocksGather(&blocks, loss->comm, m, mine, S));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Bounds from the norms, where they are known and all samples are summed; one limb then resolves enough for float32. */
static int ChooseBounds(CkLoss loss, const CkBatch *batch, PetscInt m, const double W[], double bounds[])
{
  if (batch->index || !loss->cached || batch->n != loss->N) {
    CkWideBounds(batch->n, m, W, bounds);
    return 2;
  }
  for (PetscInt j = 0; j < m; ++j) bounds[j] = 0;
  for (size_t k = 0; k < (size_t)batch->n; ++k)
    for (size_t j = 0; j < (size_t)m; ++j) bounds[j] += 2 * fabs(W[k * (size_t)m + j]) * sqrt(loss->folded[k]);
  return loss->precision == CK_FLOAT64 ? 2 : 1;
}

PetscErrorCode CkLossGradientBlock(CkLoss loss, const CkBatch *batch, PetscInt m, const double W[], Vec out[])
{
  CkPass  pass;
  CkTile  tile;
  double *bounds;
  int     limbs;

  PetscFunctionBeginUser;
  if (!loss->cached && !batch->index && batch->n == loss->N && batch->mode == CK_EVALUATION) {
    PetscCall(CkLossCacheWith(loss, m, W, out)); /* a pass that will not be needed later */
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  PetscCall(CkPassBegin(loss, batch, &pass));
  PetscCall(PetscMalloc1(m, &bounds));
  limbs = ChooseBounds(loss, batch, m, W, bounds);
  PetscCall(CkPassSetSum(pass, m, bounds, limbs));
  PetscCall(PetscFree(bounds));
  while (PETSC_TRUE) {
    PetscCall(CkPassNext(pass, &tile));
    if (!tile.more) break;
    PetscCall(CkPassAccumulate(pass, W + (size_t)m * (size_t)tile.first));
  }
  PetscCall(CkPassReduce(pass, out));
  PetscCall(CkPassEnd(&pass));
  PetscFunctionReturn(PETSC_SUCCESS);
}
