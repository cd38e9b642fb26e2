#include "plan.h"
#include "train.h"
#include <math.h>

/*
  Batch norm in training mode: mean and variance of the sample's normalisation group, float64 sums sample by sample,
  added up over the runs of a sum block and exactly from there on (trainingsum.h).
    forward:  xhat = (x - mean) r,  r = 1/sqrt(variance + epsilon),  y = gamma xhat + beta
    backward: d = gamma r (e - mean(e) - xhat mean(e xhat)), the means over the group's samples and pixels
*/
typedef struct {
  CkLanesChannels channels;
  PetscInt        groups;         /* room of the next three */
  double         *mean, *inverse; /* [groups x channels]; inverse: r */
  double         *sums;           /* [groups x 2 channels] */
  double         *first, *second; /* [capacity x channels x lanes] sums over the pixels of a sample */
  double         *partial;        /* [runs x 2 channels] */
  PetscInt        runs;           /* room of partial */
  float          *f, *g, *s;      /* [channels] packs of coefficients */
  double         *gamma, *beta;   /* [channels] */
} Norm;

static PetscErrorCode Create(CkPlan *plan, CkStep *step)
{
  const CkLayer *layer = &plan->layers[step->layer];
  const size_t   channels = (size_t)layer->in.c, packs = channels * (size_t)plan->lanes->lanes;
  Norm          *n;

  PetscFunctionBeginUser;
  PetscCall(PetscNew(&n));
  step->data = n;
  n->channels = (CkLanesChannels){.channels = (int)layer->in.c,
                                  .pixels = (size_t)layer->in.h * (size_t)layer->in.w,
                                  .plane = CkTensorPlane(plan, step->output, layer->in)};
  PetscCall(CkArenaFloats(&plan->arena, packs, &n->f));
  PetscCall(CkArenaFloats(&plan->arena, packs, &n->g));
  PetscCall(CkArenaFloats(&plan->arena, packs, &n->s));
  PetscCall(PetscMalloc4(channels, &n->gamma, channels, &n->beta, packs * (size_t)plan->capacity, &n->first,
                         packs * (size_t)plan->capacity, &n->second));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Destroy(CkStep *step)
{
  Norm *n = (Norm *)step->data;

  PetscFunctionBeginUser;
  PetscCall(PetscFree4(n->gamma, n->beta, n->first, n->second));
  PetscCall(PetscFree3(n->mean, n->inverse, n->sums));
  PetscCall(PetscFree(n->partial));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Point(CkPlan *plan, CkStep *step)
{
  const CkFoldLayer *f = &plan->fold->layers[plan->fold->of_layer[step->layer]];
  Norm              *n = (Norm *)step->data;

  PetscFunctionBeginUser;
  PetscCall(PetscArraycpy(n->gamma, plan->fold->point + f->first, f->units));
  PetscCall(PetscArraycpy(n->beta, plan->fold->point + f->first + f->units, f->units));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Reserve(const CkTrainingGroups *t, Norm *n)
{
  const size_t channels = (size_t)n->channels.channels;

  PetscFunctionBeginUser;
  if (t->ngroups > n->groups) {
    const size_t size = (size_t)t->ngroups * channels;

    PetscCall(PetscFree3(n->mean, n->inverse, n->sums));
    PetscCall(PetscMalloc3(size, &n->mean, size, &n->inverse, 2 * size, &n->sums));
    n->groups = t->ngroups;
  }
  if (t->nruns > n->runs) {
    PetscCall(PetscFree(n->partial));
    PetscCall(PetscMalloc1((size_t)t->nruns * 2 * channels, &n->partial));
    n->runs = t->nruns;
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* first and second of a chunk */
static void Sums(CkPlan *plan, const CkStep *step, PetscInt chunk, const float *x, const float *y)
{
  const Norm  *n = (const Norm *)step->data;
  const size_t at = (size_t)chunk * (size_t)n->channels.channels * (size_t)plan->lanes->lanes;

  plan->lanes->moments(&n->channels, x, y, n->first + at, n->second + at);
}

/* out [2 channels] += the two sums of samples first .. first+size-1 */
static void AddSamples(const CkPlan *plan, const Norm *n, PetscInt first, PetscInt size, double out[])
{
  const size_t lanes = (size_t)plan->lanes->lanes, channels = (size_t)n->channels.channels;

  for (PetscInt k = first; k < first + size; ++k) {
    const size_t slot = (size_t)plan->training->slot[k], chunk = slot / lanes, lane = slot % lanes;

    for (size_t c = 0; c < channels; ++c) {
      out[c] += n->first[(chunk * channels + c) * lanes + lane];
      out[channels + c] += n->second[(chunk * channels + c) * lanes + lane];
    }
  }
}

/* sums [groups x 2 channels] over the whole batch. Collective. */
static PetscErrorCode GroupSums(CkPlan *plan, Norm *n)
{
  const CkTrainingGroups *t = &plan->training->groups;
  const size_t            width = 2 * (size_t)n->channels.channels;

  PetscFunctionBeginUser;
  PetscCall(Reserve(t, n));
  PetscCall(PetscArrayzero(n->partial, (size_t)t->nruns * width));
  for (PetscInt r = 0; r < t->nruns; ++r)
    AddSamples(plan, n, t->runs[r].first, t->runs[r].size, n->partial + (size_t)r * width);
  PetscCall(CkTrainingGroupsSum(t, (PetscInt)width, n->partial, n->sums));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode PrepareForward(CkPlan *plan, CkStep *step, PetscInt chunk)
{
  const float *x = CkTensorX(plan, step->inputs[0], chunk);

  PetscFunctionBeginUser;
  Sums(plan, step, chunk, x, x);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static double Count(const CkPlan *plan, const Norm *n, PetscInt group)
{
  return (double)plan->training->groups.group_size[group] * (double)n->channels.pixels;
}

/* Mean and unbiased variance over the groups, weighted by their sizes, in the layout of the buffers. */
static void Collect(const CkPlan *plan, const CkStep *step, const double variance[])
{
  const Norm             *n = (const Norm *)step->data;
  const CkFoldLayer      *f = &plan->fold->layers[plan->fold->of_layer[step->layer]];
  const CkTrainingGroups *t = &plan->training->groups;
  const size_t            channels = (size_t)n->channels.channels;
  double                 *statistics = plan->training->statistics;

  for (size_t c = 0; c < channels; ++c) {
    double mean = 0, spread = 0;

    for (PetscInt g = 0; g < t->ngroups; ++g) {
      const double weight = (double)t->group_size[g] / (double)plan->training->blocks->batch->n;
      const double count = Count(plan, n, g);

      mean += weight * n->mean[(size_t)g * channels + c];
      spread += weight * variance[(size_t)g * channels + c] * count / (count - 1);
    }
    statistics[(size_t)f->mean + c] = mean;
    statistics[(size_t)f->variance + c] = spread;
  }
}

static PetscErrorCode EnterForward(CkPlan *plan, CkStep *step)
{
  const CkTrainingGroups *t = &plan->training->groups;
  Norm                   *n = (Norm *)step->data;
  const size_t            channels = (size_t)n->channels.channels;
  const double            epsilon = plan->layers[step->layer].a.epsilon;

  PetscFunctionBeginUser;
  PetscCall(GroupSums(plan, n));
  for (PetscInt g = 0; g < t->ngroups; ++g)
    for (size_t c = 0; c < channels; ++c) {
      const size_t  at = (size_t)g * channels + c;
      const double *sums = n->sums + 2 * (size_t)g * channels, count = Count(plan, n, g);
      double        variance;

      n->mean[at] = sums[c] / count;
      variance = sums[channels + c] / count - n->mean[at] * n->mean[at];
      if (variance < 0) variance = 0; /* by rounding; a NaN stays */
      n->inverse[at] = variance;
    }
  if (plan->training->statistics) Collect(plan, step, n->inverse);
  for (size_t i = 0; i < (size_t)t->ngroups * channels; ++i) n->inverse[i] = 1 / sqrt(n->inverse[i] + epsilon);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscInt GroupOf(const CkPlan *plan, PetscInt chunk, PetscInt lane)
{
  return plan->training->groups.sample_group[plan->first[chunk] + lane];
}

static PetscErrorCode Forward(CkPlan *plan, CkStep *step, PetscInt chunk, PetscInt count)
{
  const Norm    *n = (const Norm *)step->data;
  const PetscInt lanes = plan->lanes->lanes, channels = n->channels.channels;

  PetscFunctionBeginUser;
  (void)count;
  for (PetscInt c = 0; c < channels; ++c)
    for (PetscInt k = 0; k < lanes; ++k) {
      double factor = 0, shift = 0; /* lanes without a sample */

      if (k < plan->count[chunk]) {
        const size_t at = (size_t)GroupOf(plan, chunk, k) * (size_t)channels + (size_t)c;

        factor = n->gamma[c] * n->inverse[at];
        shift = n->beta[c] - n->mean[at] * factor;
      }
      n->f[c * lanes + k] = (float)factor;
      n->s[c * lanes + k] = (float)shift;
    }
  plan->lanes->affine(&n->channels, PETSC_FALSE, n->f, CkTensorX(plan, step->inputs[0], chunk), n->s,
                      CkTensorX(plan, step->output, chunk));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode PrepareBackward(CkPlan *plan, CkStep *step, PetscInt chunk)
{
  PetscFunctionBeginUser;
  Sums(plan, step, chunk, CkTensorD(plan, step->output, chunk), CkTensorX(plan, step->inputs[0], chunk));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* From sums of e and e x to sums of e and e xhat, for mean and r of the group. */
static void Centre(const Norm *n, PetscInt group, double sums[])
{
  const size_t channels = (size_t)n->channels.channels;

  for (size_t c = 0; c < channels; ++c) {
    const size_t at = (size_t)group * channels + c;

    sums[channels + c] = (sums[channels + c] - n->mean[at] * sums[c]) * n->inverse[at];
  }
}

/* The gradients with respect to gamma and beta, block by block. */
static PetscErrorCode Flush(CkPlan *plan, CkStep *step)
{
  const CkTraining  *t = plan->training;
  const CkFoldLayer *f = &plan->fold->layers[plan->fold->of_layer[step->layer]];
  Norm              *n = (Norm *)step->data;
  const PetscInt     channels = n->channels.channels;

  PetscFunctionBeginUser;
  for (PetscInt r = 0; r < t->groups.nruns; ++r) {
    double *sums = n->partial + (size_t)r * 2 * (size_t)channels;

    Centre(n, t->groups.runs[r].group, sums);
    PetscCall(CkExactSumAdd(t->gradient, 0, f->weight, channels, sums + channels));
    PetscCall(CkExactSumAdd(t->gradient, 0, f->bias, channels, sums));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode EnterBackward(CkPlan *plan, CkStep *step)
{
  Norm *n = (Norm *)step->data;

  PetscFunctionBeginUser;
  PetscCall(GroupSums(plan, n));
  for (PetscInt g = 0; g < plan->training->groups.ngroups; ++g)
    Centre(n, g, n->sums + 2 * (size_t)g * (size_t)n->channels.channels);
  PetscCall(Flush(plan, step));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Backward(CkPlan *plan, CkStep *step, PetscInt chunk, PetscInt count)
{
  const Norm    *n = (const Norm *)step->data;
  const PetscInt lanes = plan->lanes->lanes, channels = n->channels.channels;

  PetscFunctionBeginUser;
  (void)count;
  if (!plan->tensors[step->inputs[0]].wanted) PetscFunctionReturn(PETSC_SUCCESS);
  for (PetscInt c = 0; c < channels; ++c)
    for (PetscInt k = 0; k < lanes; ++k) {
      double factor = 0, slope = 0, shift = 0; /* lanes without a sample */

      if (k < plan->count[chunk]) {
        const PetscInt group = GroupOf(plan, chunk, k);
        const size_t   at = (size_t)group * (size_t)channels + (size_t)c;
        const double  *sums = n->sums + 2 * (size_t)group * (size_t)channels, size = Count(plan, n, group);

        factor = n->gamma[c] * n->inverse[at];
        slope = -factor * n->inverse[at] * sums[channels + c] / size;
        shift = -factor * sums[c] / size - n->mean[at] * slope;
      }
      n->f[c * lanes + k] = (float)factor;
      n->g[c * lanes + k] = (float)slope;
      n->s[c * lanes + k] = (float)shift;
    }
  plan->lanes->affine2(&n->channels, step->add[0], n->f, CkTensorD(plan, step->output, chunk), n->g,
                       CkTensorX(plan, step->inputs[0], chunk), n->s, CkTensorD(plan, step->inputs[0], chunk));
  PetscFunctionReturn(PETSC_SUCCESS);
}

const CkStepKind CkStepNorm = {.name = "batch norm",
                               .same_planes = PETSC_TRUE,
                               .needs_input = PETSC_TRUE,
                               .create = Create,
                               .destroy = Destroy,
                               .point = Point,
                               .forward = Forward,
                               .backward = Backward,
                               .prepare_forward = PrepareForward,
                               .enter_forward = EnterForward,
                               .prepare_backward = PrepareBackward,
                               .enter_backward = EnterBackward};
