#include "train.h"
#include "linear.h"
#include "onednn.h"
#include <clarkia/onednn.h>
#include <clarkia/progress.h>

/* Numbers of a batched gradient formed at a time: half the second-level cache. */
static const PetscInt FLUSH_NUMBERS = 1 << 16;

PetscInt CkTrainRows(PetscInt fan_in)
{
  return PetscMax(1, FLUSH_NUMBERS / fan_in);
}

/* One convolution, one chunk: lane by lane into the block's sums; after the block's last chunk across the lanes. */
static PetscErrorCode TrainConv(CkPlan *plan, CkStep *step, PetscInt chunk)
{
  const CkLinear    *l = (const CkLinear *)step->data;
  const CkTraining  *t = plan->training;
  const CkFoldLayer *f = &plan->fold->layers[plan->fold->of_layer[step->layer]];
  const PetscInt     block = t->chunk_block[chunk], weights = f->units * f->fan_in;
  const PetscBool    add = (PetscBool)(chunk > t->block_chunk[block]);

  PetscFunctionBeginUser;
  PetscCall(CkLinearGradients(plan, step, chunk, add, CkTensorD(plan, step->output, chunk), l->block_gradient,
                              (size_t)plan->lanes->lanes, NULL));
  if (chunk + 1 < t->block_chunk[block + 1]) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(PetscArrayzero(l->block_sums, weights + f->units * f->shift));
  plan->lanes->lane_sums((size_t)(weights + f->units * f->shift), l->block_gradient, l->block_sums);
  PetscCall(CkExactSumAdd(t->gradient, 0, f->weight, weights, l->block_sums));
  if (f->shift) PetscCall(CkExactSumAdd(t->gradient, 0, f->bias, f->units, l->block_sums + weights));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* One dense layer, one block of n numbers (lanes of its chunks) a feature: D X' and the row sums of D. */
static PetscErrorCode TrainDense(CkPlan *plan, CkStep *step, PetscInt n)
{
  const CkLinear    *l = (const CkLinear *)step->data;
  const CkTraining  *t = plan->training;
  const CkFoldLayer *f = &plan->fold->layers[plan->fold->of_layer[step->layer]];
  const PetscInt     in = f->fan_in, rows = CkTrainRows(in);

  PetscFunctionBeginUser;
  for (PetscInt o = 0; o < f->units; o += rows) {
    const PetscInt m = PetscMin(rows, f->units - o);

    CkCallDNN(dnnl_sgemm('N', 'T', m, in, n, 1, l->matrix_d + (size_t)o * (size_t)n, n, l->matrix_x, n, 0,
                         l->block_gradient, in));
    PetscCall(
      CkExactSumAddFloat(t->gradient, 0, f->weight + (PetscInt64)o * in, (PetscInt64)m * in, l->block_gradient));
  }
  for (PetscInt o = 0; o < f->units && f->shift; ++o) {
    l->block_sums[o] = 0;
    for (PetscInt k = 0; k < n; ++k) l->block_sums[o] += (double)l->matrix_d[(size_t)o * (size_t)n + (size_t)k];
  }
  if (f->shift) PetscCall(CkExactSumAdd(t->gradient, 0, f->bias, f->units, l->block_sums));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkTrainLinear(CkPlan *plan, CkStep *step, PetscInt chunk, PetscInt count)
{
  const CkTraining *t = plan->training;

  PetscFunctionBeginUser;
  if (!((const CkLinear *)step->data)->dense) {
    for (PetscInt c = chunk; c < chunk + count; ++c) PetscCall(TrainConv(plan, step, c));
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  for (PetscInt b = 0; b < t->blocks->nblocks; ++b) {
    const PetscInt chunks = t->block_chunk[b + 1] - t->block_chunk[b];

    PetscCall(CkDenseGather(plan, step, t->block_chunk[b], chunks));
    PetscCall(TrainDense(plan, step, chunks * plan->lanes->lanes));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* A training plan for at least so many chunks, at the engine's point. */
static PetscErrorCode Reserve(CkEngine engine, PetscInt chunks)
{
  CkOnednn     *o = (CkOnednn *)engine->data;
  CkPlanChoices choices = {
    .net = engine->net, .training = PETSC_TRUE, .convolution = o->convolution, .chunks = PetscMax(chunks, 1)};

  PetscFunctionBeginUser;
  if (!o->training || o->training->capacity < choices.chunks) {
    PetscCall(CkPlanDestroy(&o->training));
    PetscCall(CkPlanCreate(&choices, &o->training));
    o->training_stale = PETSC_TRUE;
  }
  if (o->training_stale) PetscCall(CkPlanSetPoint(o->training, o->weights, o->buffers));
  o->training_stale = PETSC_FALSE;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Which chunks the blocks take; returns their number. */
static PetscErrorCode LayOut(CkTraining *t, PetscInt lanes, PetscInt *chunks)
{
  const CkTrainingBlocks *blocks = t->blocks;
  PetscInt                sample = 0;

  PetscFunctionBeginUser;
  *chunks = 0;
  for (PetscInt b = 0; b < blocks->nblocks; ++b) *chunks += (blocks->size[b] + lanes - 1) / lanes;
  PetscCall(PetscMalloc3(blocks->nblocks + 1, &t->block_chunk, *chunks, &t->chunk_block, t->groups.nsamples, &t->slot));
  *chunks = 0;
  for (PetscInt b = 0; b < blocks->nblocks; ++b) {
    t->block_chunk[b] = *chunks;
    for (PetscInt k = 0; k < blocks->size[b]; ++k) t->slot[sample++] = *chunks * lanes + k;
    for (PetscInt left = blocks->size[b]; left > 0; left -= lanes) t->chunk_block[(*chunks)++] = b;
  }
  t->block_chunk[blocks->nblocks] = *chunks;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Forward and, where every value of the batch is finite, backward. */
static PetscErrorCode Run(CkPlan *plan, const CkTrainingBlocks *blocks, double values[], int correct[])
{
  double    flops;
  PetscBool finite;

  PetscFunctionBeginUser;
  PetscCall(CkNetGetFlops(plan->net, &flops));
  PetscCall(PetscLogEventBegin(CK_Forward, 0, 0, 0, 0));
  PetscCall(CkPlanSetSamples(plan, blocks->nblocks, blocks->size, blocks->features));
  PetscCall(CkPlanForward(plan));
  PetscCall(CkPlanHead(plan, blocks->labels, blocks->weights, values, correct, PETSC_TRUE));
  PetscCall(PetscLogFlops(flops * (double)plan->n));
  PetscCall(PetscLogEventEnd(CK_Forward, 0, 0, 0, 0));
  PetscCall(CkTrainingFinite(blocks->comm, plan->n, values, &finite));
  if (!finite) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(PetscLogEventBegin(CK_Backward, 0, 0, 0, 0));
  PetscCall(CkPlanBackward(plan));
  PetscCall(PetscLogFlops(2 * flops * (double)plan->n));
  PetscCall(PetscLogEventEnd(CK_Backward, 0, 0, 0, 0));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkOnednnTrain(CkEngine engine, const CkTrainingBlocks *blocks, double values[], int correct[],
                             double statistics[], CkExactSum gradient)
{
  CkOnednn  *o = (CkOnednn *)engine->data;
  CkTraining t = {.blocks = blocks, .statistics = statistics, .gradient = gradient};
  PetscInt   chunks;

  PetscFunctionBeginUser;
  PetscCall(CkTrainingGroupsCreate(blocks, &t.groups));
  PetscCall(LayOut(&t, CkLanesGet()->lanes, &chunks));
  PetscCall(Reserve(engine, chunks));
  o->training->training = &t;
  PetscCall(Run(o->training, blocks, values, correct));
  o->training->training = NULL;
  PetscCall(PetscFree3(t.block_chunk, t.chunk_block, t.slot));
  PetscCall(CkTrainingGroupsDestroy(&t.groups));
  PetscFunctionReturn(PETSC_SUCCESS);
}
