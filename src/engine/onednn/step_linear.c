#include "linear.h"
#include "train.h"
#include <clarkia/progress.h>

/* The input as the kernels read it. */
static const float *KernelInput(CkPlan *plan, const CkStep *step, PetscInt chunk)
{
  const CkLinear *l = (const CkLinear *)step->data;
  const float    *x = CkTensorX(plan, step->inputs[0], chunk);

  if (!l->framed) return x;
  plan->lanes->frame(&l->frame, x, l->framed_x);
  return l->framed_x;
}

PetscErrorCode CkLinearApply(CkPlan *plan, const CkStep *step, PetscInt chunk, PetscInt count, const float weights[],
                             const float shifts[], float *y)
{
  const CkLinear *l = (const CkLinear *)step->data;
  CkLanesMap      map = l->tile;

  PetscFunctionBeginUser;
  if (l->dense) map.positions = (int)count;
  if (l->means[CK_PRIMITIVE_FORWARD] == CK_BY_PRIMITIVE)
    PetscCall(CkPrimitivesForward(l->primitives, CkTensorX(plan, step->inputs[0], chunk), weights, shifts, y));
  else if (l->means[CK_PRIMITIVE_FORWARD] == CK_BY_WINOGRAD)
    plan->lanes->winograd_product(&l->winograd, PETSC_FALSE, weights, shifts, CkTensorX(plan, step->inputs[0], chunk),
                                  y, plan->scratch);
  else plan->lanes->product(&map, PETSC_FALSE, weights, shifts, KernelInput(plan, step, chunk), y);
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkLinearGradients(CkPlan *plan, const CkStep *step, PetscInt chunk, PetscBool add, const float *d,
                                 float *g, size_t stride, const CkLanesSlopes *slopes)
{
  const CkLinear    *l = (const CkLinear *)step->data;
  const CkFoldLayer *f = &plan->fold->layers[plan->fold->of_layer[step->layer]];

  PetscFunctionBeginUser;
  if (l->means[CK_PRIMITIVE_WEIGHTS] == CK_BY_PRIMITIVE)
    PetscCall(CkPrimitivesWeights(l->primitives, CkTensorX(plan, step->inputs[0], chunk), d, add, (PetscBool)f->shift,
                                  g, stride));
  else if (l->means[CK_PRIMITIVE_WEIGHTS] == CK_BY_WINOGRAD)
    plan->lanes->winograd_gradient(&l->winograd, add, (PetscBool)f->shift, CkTensorX(plan, step->inputs[0], chunk), d,
                                   g, stride, slopes, plan->scratch);
  else plan->lanes->outer(&l->map, add, (PetscBool)f->shift, KernelInput(plan, step, chunk), d, g, stride, slopes);
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkDenseGather(CkPlan *plan, const CkStep *step, PetscInt chunk, PetscInt count)
{
  static const float ones[CK_LANES_MAX] __attribute__((aligned(64))) = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1};
  const CkLinear    *l = (const CkLinear *)step->data;
  const size_t       lanes = (size_t)plan->lanes->lanes;

  PetscFunctionBeginUser;
  for (PetscInt c = 0; c < count; ++c) {
    const size_t at = (size_t)c * lanes;

    plan->lanes->scale((size_t)l->map.taps, CkTensorX(plan, step->inputs[0], chunk + c), ones, (size_t)count,
                       l->matrix_x + at);
    plan->lanes->scale((size_t)l->map.units, CkTensorD(plan, step->output, chunk + c), ones, (size_t)count,
                       l->matrix_d + at);
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Forward(CkPlan *plan, CkStep *step, PetscInt chunk, PetscInt count)
{
  const CkLinear *l = (const CkLinear *)step->data;

  PetscFunctionBeginUser;
  PetscCall(CkLinearApply(plan, step, chunk, count, l->weights, l->shifts, CkTensorX(plan, step->output, chunk)));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Derivative of the input. */
static PetscErrorCode BackwardData(CkPlan *plan, CkStep *step, PetscInt chunk, PetscInt count)
{
  const CkLinear *l = (const CkLinear *)step->data;
  const CkLanes  *lanes = plan->lanes;
  const CkTensor *in = &plan->tensors[step->inputs[0]];
  const float    *e = CkTensorD(plan, step->output, chunk);
  float          *d = CkTensorD(plan, step->inputs[0], chunk);
  const size_t    pack = (size_t)lanes->lanes;
  CkLanesMap      back = l->back;

  PetscFunctionBeginUser;
  if (l->means[CK_PRIMITIVE_INPUT] == CK_BY_PRIMITIVE) {
    PetscCall(CkPrimitivesInput(l->primitives, e, l->transposed, step->add[0], d));
  } else if (l->means[CK_PRIMITIVE_INPUT] == CK_BY_WINOGRAD) {
    lanes->winograd_product(&l->mirrored, step->add[0], l->transposed, NULL, e, d, plan->scratch);
  } else if (l->reverse) {
    if (l->dense) back.positions = (int)count;
    lanes->product(&back, step->add[0], l->transposed, NULL, e, d);
  } else if (l->framed) {
    PetscCall(PetscArrayzero(l->framed_d, (size_t)l->frame.planes * l->frame.out_plane * pack));
    lanes->scatter(&l->map, l->transposed, e, l->framed_d);
    lanes->unframe(&l->frame, step->add[0], l->framed_d, d);
  } else {
    if (!step->add[0]) PetscCall(PetscArrayzero(d, in->size * pack));
    lanes->scatter(&l->map, l->transposed, e, d);
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Sample k's image at the places where the map looks for packs. */
static void CopyImage(const CkPlan *plan, const CkStep *step, PetscInt k)
{
  const CkLinear *l = (const CkLinear *)step->data;
  const CkLayer  *layer = &plan->layers[step->layer];
  const size_t    h = (size_t)layer->in.h, w = (size_t)layer->in.w, framed = l->framed ? (size_t)l->frame.out[1] : w;
  const size_t    plane = l->framed ? l->frame.out_plane : plan->tensors[0].plane;
  const size_t    corner = (size_t)layer->a.padding[0] * framed + (size_t)layer->a.padding[1];
  const float    *from = plan->features + (size_t)k * (size_t)layer->in.c * h * w;

  for (size_t c = 0; c < (size_t)layer->in.c; ++c)
    for (size_t row = 0; row < h; ++row)
      memcpy(l->image + c * plane + corner + row * framed, from + (c * h + row) * w, w * sizeof(float));
}

static PetscErrorCode SparseGradients(CkPlan *plan, const CkStep *step, PetscInt chunk, float *g, size_t stride)
{
  const CkLinear    *l = (const CkLinear *)step->data;
  const CkFoldLayer *f = &plan->fold->layers[plan->fold->of_layer[step->layer]];

  PetscFunctionBeginUser;
  for (PetscInt k = 0; k < plan->count[chunk]; ++k) {
    CopyImage(plan, step, plan->first[chunk] + k);
    plan->lanes->outer_pooled(&l->map, &l->pooled, (int)k, (PetscBool)f->shift, l->image,
                              CkTensorD(plan, l->pool->output, chunk), CkPoolPlaces(plan, l->pool, chunk), g, stride);
  }
  for (size_t e = 0; e < plan->weighted[plan->fold->of_layer[step->layer]].entries; ++e)
    for (PetscInt k = plan->count[chunk]; k < plan->lanes->lanes; ++k) g[e * stride + (size_t)k] = 0;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Explicit gradients of the chunks' samples, and their slopes if there is one column. */
static PetscErrorCode ExplicitGradients(CkPlan *plan, const CkStep *step, PetscInt chunk, PetscInt count)
{
  const CkLinear *l = (const CkLinear *)step->data;
  const PetscInt  weighted = plan->fold->of_layer[step->layer];
  const size_t    lanes = (size_t)plan->lanes->lanes;
  const float    *column = plan->weighted[weighted].column;

  PetscFunctionBeginUser;
  PetscCall(PetscLogEventBegin(CK_Gradient, 0, 0, 0, 0));
  for (PetscInt c = chunk; c < chunk + count; ++c) {
    const CkLanesSlopes slopes = {.v = column, .sums = plan->slopes + (size_t)c * lanes};
    float              *g = CkPlanGradients(plan, weighted, c);

    if (l->pool) PetscCall(SparseGradients(plan, step, c, g, lanes));
    else
      PetscCall(CkLinearGradients(plan, step, c, PETSC_FALSE, CkTensorD(plan, step->output, c), g, lanes,
                                  column ? &slopes : NULL));
    PetscCall(PetscLogFlops(2 * (double)l->map.units * (double)l->map.taps * (double)plan->count[c] *
                            (l->dense ? 1 : (double)l->map.positions)));
  }
  PetscCall(PetscLogEventEnd(CK_Gradient, 0, 0, 0, 0));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Backward(CkPlan *plan, CkStep *step, PetscInt chunk, PetscInt count)
{
  const CkWeighted *w = &plan->weighted[plan->fold->of_layer[step->layer]];

  PetscFunctionBeginUser;
  if (plan->training) PetscCall(CkTrainLinear(plan, step, chunk, count));
  else if (w->form == CK_FORM_EXPLICIT && !w->idle) PetscCall(ExplicitGradients(plan, step, chunk, count));
  if (plan->tensors[step->inputs[0]].wanted) PetscCall(BackwardData(plan, step, chunk, count));
  PetscFunctionReturn(PETSC_SUCCESS);
}

const CkStepKind CkStepDense = {.name = "dense",
                                .whole = PETSC_TRUE,
                                .needs_input = PETSC_TRUE,
                                .create = CkLinearCreate,
                                .destroy = CkLinearDestroy,
                                .point = CkLinearPoint,
                                .forward = Forward,
                                .backward = Backward};
const CkStepKind CkStepConv = {.name = "conv",
                               .needs_input = PETSC_TRUE,
                               .create = CkLinearCreate,
                               .destroy = CkLinearDestroy,
                               .point = CkLinearPoint,
                               .forward = Forward,
                               .backward = Backward};
