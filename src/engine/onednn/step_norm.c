#include "plan.h"
#include "train.h"
#include <math.h>

/*
  Batch norm in training mode: mean and variance of the sample's normalisation group, float64 sums sample by sample,
  added up over the runs of a sum block and these in the order of their positions (trainingsum.h).
    forward:  xhat = (x - mean) r,  r = 1/sqrt(variance + epsilon),  y = gamma xhat + beta
    backward: d = gamma r (e - mean(e) - xhat mean(e xhat)), the means over the group's samples and pixels
*/
typedef struct {
  CkLanesChannels channels;
  const CkStep   *pool;           /* fused (CkTensor): the max pool that reads it */
  CkLanesChannels pooled;         /* fused: channels of the pool's output */
  PetscInt        groups;         /* room of the next four */
  double         *mean, *inverse; /* [groups x channels]; inverse: r */
  double         *sums;           /* [groups x 2 channels] */
  float          *coefficients;   /* [groups x 3 x channels]: factor, shift, slope of the pass that is on */
  double         *first, *second; /* [capacity x channels x lanes] sums over the pixels of a sample */
  double         *partial;        /* [runs x 2 channels] */
  PetscInt        runs;           /* room of partial */
  float          *f, *g, *s;      /* [channels] packs of coefficients */
  double         *gamma, *beta;   /* [channels] */
} Norm;

PetscBool CkNormFused(const CkPlan *plan, const CkStep *step, const CkStep *reader)
{
  return (PetscBool)(step->kind == &CkStepNorm && reader->kind == &CkStepMaxPool &&
                     plan->tensors[step->output].readers == 1 && step->output != plan->logits);
}

static void FindPool(const CkPlan *plan, const CkStep *step, Norm *n)
{
  CkShape out;

  n->pool = CkStepReading(plan, step);
  out = plan->layers[n->pool->layer].out;
  n->pooled = (CkLanesChannels){.channels = n->channels.channels,
                                .pixels = (size_t)out.h * (size_t)out.w,
                                .plane = plan->tensors[n->pool->output].plane};
}

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
  if (plan->tensors[step->output].fused) FindPool(plan, step, n);
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
  PetscCall(PetscFree4(n->mean, n->inverse, n->sums, n->coefficients));
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

    PetscCall(PetscFree4(n->mean, n->inverse, n->sums, n->coefficients));
    PetscCall(PetscMalloc4(size, &n->mean, size, &n->inverse, 2 * size, &n->sums, 3 * size, &n->coefficients));
    n->groups = t->ngroups;
  }
  if (t->nruns > n->runs) {
    PetscCall(PetscFree(n->partial));
    PetscCall(PetscMalloc1((size_t)t->nruns * 2 * channels, &n->partial));
    n->runs = t->nruns;
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Where a group's channels have their coefficients: which 0 factor, 1 shift, 2 slope. */
static float *Coefficients(const Norm *n, PetscInt group, int which)
{
  return n->coefficients + (size_t)(3 * group + which) * (size_t)n->channels.channels;
}

/* first and second of a chunk */
static void Sums(CkPlan *plan, const Norm *n, PetscInt chunk, const CkLanesChannels *channels, const float *x,
                 const float *y)
{
  const size_t at = (size_t)chunk * (size_t)channels->channels * (size_t)plan->lanes->lanes;

  plan->lanes->moments(channels, x, y, n->first + at, n->second + at);
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
  const Norm  *n = (const Norm *)step->data;
  const float *x = CkTensorX(plan, step->inputs[0], chunk);

  PetscFunctionBeginUser;
  Sums(plan, n, chunk, &n->channels, x, x);
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
  for (PetscInt g = 0; g < t->ngroups; ++g)
    for (size_t c = 0; c < channels; ++c) {
      const size_t at = (size_t)g * channels + c;
      const double factor = n->gamma[c] * n->inverse[at];

      Coefficients(n, g, 0)[c] = (float)factor;
      Coefficients(n, g, 1)[c] = (float)(n->beta[c] - n->mean[at] * factor);
    }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Packs of a coefficient for the samples of a chunk, zero in lanes without one. */
static void Spread(const CkPlan *plan, const Norm *n, PetscInt chunk, int which, float *packs)
{
  const PetscInt *group = plan->training->groups.sample_group + plan->first[chunk];
  const PetscInt  lanes = plan->lanes->lanes, count = plan->count[chunk], channels = n->channels.channels;

  if (group[0] == group[count - 1]) { /* groups are consecutive */
    const float *one = Coefficients(n, group[0], which);

    for (PetscInt c = 0; c < channels; ++c)
      for (PetscInt k = 0; k < lanes; ++k) packs[c * lanes + k] = k < count ? one[c] : 0;
  } else
    for (PetscInt c = 0; c < channels; ++c)
      for (PetscInt k = 0; k < lanes; ++k) packs[c * lanes + k] = k < count ? Coefficients(n, group[k], which)[c] : 0;
}

void CkNormCoefficients(const CkStep *step, const float **f, const float **s)
{
  const Norm *n = (const Norm *)step->data;

  *f = n->f;
  *s = n->s;
}

static PetscErrorCode Forward(CkPlan *plan, CkStep *step, PetscInt chunk, PetscInt count)
{
  const Norm *n = (const Norm *)step->data;

  PetscFunctionBeginUser;
  (void)count;
  Spread(plan, n, chunk, 0, n->f);
  Spread(plan, n, chunk, 1, n->s);
  if (!n->pool)
    plan->lanes->affine(&n->channels, PETSC_FALSE, n->f, CkTensorX(plan, step->inputs[0], chunk), n->s,
                        CkTensorX(plan, step->output, chunk));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode PrepareBackward(CkPlan *plan, CkStep *step, PetscInt chunk)
{
  const Norm *n = (const Norm *)step->data;

  PetscFunctionBeginUser;
  if (n->pool)
    Sums(plan, n, chunk, &n->pooled, CkTensorD(plan, n->pool->output, chunk), CkPoolBefore(plan, n->pool, chunk));
  else
    Sums(plan, n, chunk, &n->channels, CkTensorD(plan, step->output, chunk), CkTensorX(plan, step->inputs[0], chunk));
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
  Norm        *n = (Norm *)step->data;
  const size_t channels = (size_t)n->channels.channels;

  PetscFunctionBeginUser;
  PetscCall(GroupSums(plan, n));
  for (PetscInt g = 0; g < plan->training->groups.ngroups; ++g) {
    double      *sums = n->sums + 2 * (size_t)g * channels;
    const double size = Count(plan, n, g);

    Centre(n, g, sums);
    for (size_t c = 0; c < channels; ++c) {
      const size_t at = (size_t)g * channels + c;
      const double factor = n->gamma[c] * n->inverse[at], slope = -factor * n->inverse[at] * sums[channels + c] / size;

      Coefficients(n, g, 0)[c] = (float)factor;
      Coefficients(n, g, 1)[c] = (float)(-factor * sums[c] / size - n->mean[at] * slope);
      Coefficients(n, g, 2)[c] = (float)slope;
    }
  }
  PetscCall(Flush(plan, step));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Backward(CkPlan *plan, CkStep *step, PetscInt chunk, PetscInt count)
{
  const Norm  *n = (const Norm *)step->data;
  const float *x = CkTensorX(plan, step->inputs[0], chunk);

  PetscFunctionBeginUser;
  (void)count;
  if (!plan->tensors[step->inputs[0]].wanted) PetscFunctionReturn(PETSC_SUCCESS);
  Spread(plan, n, chunk, 0, n->f);
  Spread(plan, n, chunk, 1, n->s);
  Spread(plan, n, chunk, 2, n->g);
  if (n->pool)
    plan->lanes->affine_pooled(CkPoolWindow(n->pool), step->add[0], n->f, CkPoolPlaces(plan, n->pool, chunk),
                               CkTensorD(plan, n->pool->output, chunk), n->g, x, n->s,
                               CkTensorD(plan, step->inputs[0], chunk));
  else
    plan->lanes->affine2(&n->channels, step->add[0], n->f, CkTensorD(plan, step->output, chunk), n->g, x, n->s,
                         CkTensorD(plan, step->inputs[0], chunk));
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
