#include "plan.h"
#include <math.h>

/*
  Batch norm in evaluation mode that no convolution or dense layer precedes: y = gamma xhat + beta channel by channel,
  xhat = (x - mean)/sqrt(variance + epsilon). Always explicit: two numbers a channel and sample.
*/
typedef struct {
  CkLanesChannels channels;
  float          *factor, *shift; /* [channels] packs: y = factor x + shift */
  double         *mean, *inverse; /* [channels]; inverse: 1/sqrt(variance + epsilon) */
  double         *first, *second; /* [channels x lanes] */
} Norm;

static PetscErrorCode Create(CkPlan *plan, CkStep *step)
{
  const CkLayer *layer = &plan->layers[step->layer];
  const size_t   channels = (size_t)layer->in.c, lanes = (size_t)plan->lanes->lanes;
  CkWeighted    *w = &plan->weighted[plan->fold->of_layer[step->layer]];
  Norm          *n;

  PetscFunctionBeginUser;
  PetscCall(PetscNew(&n));
  step->data = n;
  n->channels = (CkLanesChannels){.channels = (int)layer->in.c,
                                  .pixels = (size_t)layer->in.h * (size_t)layer->in.w,
                                  .plane = CkTensorPlane(plan, step->output, layer->in)};
  PetscCall(CkArenaFloats(&plan->arena, channels * lanes, &n->factor));
  PetscCall(CkArenaFloats(&plan->arena, channels * lanes, &n->shift));
  PetscCall(
    PetscMalloc4(channels, &n->mean, channels, &n->inverse, channels * lanes, &n->first, channels * lanes, &n->second));
  PetscCall(CkArenaFloats(&plan->arena, w->entries * lanes * (size_t)plan->capacity, &w->G));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Destroy(CkStep *step)
{
  Norm *n = (Norm *)step->data;

  PetscFunctionBeginUser;
  PetscCall(PetscFree4(n->mean, n->inverse, n->first, n->second));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Point(CkPlan *plan, CkStep *step)
{
  const CkFoldLayer *f = &plan->fold->layers[plan->fold->of_layer[step->layer]];
  const double      *gamma = plan->fold->point + f->first, *beta = gamma + f->units;
  const int          lanes = plan->lanes->lanes;
  Norm              *n = (Norm *)step->data;

  PetscFunctionBeginUser;
  for (int c = 0; c < n->channels.channels; ++c) {
    n->mean[c] = plan->buffers[f->mean + c];
    n->inverse[c] = 1 / sqrt(plan->buffers[f->variance + c] + f->epsilon);
    for (int k = 0; k < lanes; ++k) {
      n->factor[c * lanes + k] = (float)(gamma[c] * n->inverse[c]);
      n->shift[c * lanes + k] = (float)(beta[c] - gamma[c] * n->inverse[c] * n->mean[c]);
    }
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Forward(CkPlan *plan, CkStep *step, PetscInt chunk, PetscInt count)
{
  const Norm *n = (const Norm *)step->data;

  PetscFunctionBeginUser;
  (void)count;
  plan->lanes->affine(&n->channels, PETSC_FALSE, n->factor, CkTensorX(plan, step->inputs[0], chunk), n->shift,
                      CkTensorX(plan, step->output, chunk));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Gradients of gamma and beta. */
static PetscErrorCode Gradients(CkPlan *plan, const CkStep *step, PetscInt chunk)
{
  const Norm  *n = (const Norm *)step->data;
  const size_t lanes = (size_t)plan->lanes->lanes;
  float       *g = CkPlanGradients(plan, plan->fold->of_layer[step->layer], chunk);
  float       *h = g + (size_t)n->channels.channels * lanes;

  PetscFunctionBeginUser;
  plan->lanes->moments(&n->channels, CkTensorD(plan, step->output, chunk), CkTensorX(plan, step->inputs[0], chunk),
                       n->first, n->second);
  for (size_t c = 0; c < (size_t)n->channels.channels; ++c)
    for (size_t k = 0; k < lanes; ++k) {
      const double sum = n->first[c * lanes + k];

      g[c * lanes + k] = (float)((n->second[c * lanes + k] - n->mean[c] * sum) * n->inverse[c]);
      h[c * lanes + k] = (float)sum;
    }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Backward(CkPlan *plan, CkStep *step, PetscInt chunk, PetscInt count)
{
  const Norm *n = (const Norm *)step->data;

  PetscFunctionBeginUser;
  (void)count;
  if (!plan->weighted[plan->fold->of_layer[step->layer]].idle) PetscCall(Gradients(plan, step, chunk));
  if (plan->tensors[step->inputs[0]].wanted)
    plan->lanes->affine(&n->channels, step->add[0], n->factor, CkTensorD(plan, step->output, chunk), NULL,
                        CkTensorD(plan, step->inputs[0], chunk));
  PetscFunctionReturn(PETSC_SUCCESS);
}

const CkStepKind CkStepAffine = {.name = "affine",
                                 .same_planes = PETSC_TRUE,
                                 .needs_input = PETSC_TRUE,
                                 .create = Create,
                                 .destroy = Destroy,
                                 .point = Point,
                                 .forward = Forward,
                                 .backward = Backward};
