#include "reference.h"

/* Layers that only move numbers: flatten, dropout, addition, concatenation along the channels, subsampling. */

static PetscErrorCode ForwardFlatten(CkEngine engine, PetscInt layer, PetscInt n)
{
  const Reference *r = (const Reference *)engine->data;
  const size_t     size = (size_t)n * (size_t)CkShapeSize(r->layers[layer].out);

  PetscFunctionBeginUser;
  PetscCall(PetscArraycpy(r->out[layer], r->out[r->layers[layer].inputs[0]], size));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode BackwardFlatten(CkEngine engine, PetscInt layer, PetscInt n)
{
  const Reference *r = (const Reference *)engine->data;
  const size_t     size = (size_t)n * (size_t)CkShapeSize(r->layers[layer].out);
  const PetscInt   input = r->layers[layer].inputs[0];

  PetscFunctionBeginUser;
  for (size_t i = 0; i < size; ++i) r->delta[input][i] += r->delta[layer][i];
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode ForwardDropout(CkEngine engine, PetscInt layer, PetscInt n)
{
  const Reference *r = (const Reference *)engine->data;
  const PetscInt   size = CkShapeSize(r->layers[layer].out);

  PetscFunctionBeginUser;
  for (PetscInt k = 0; k < n; ++k) {
    const double *a = ReferenceSample(r, r->out, r->layers[layer].inputs[0], k);
    double       *y = ReferenceSample(r, r->out, layer, k), *factor = ReferenceSample(r, r->factors, layer, k);

    if (r->blocks) PetscCall(CkTrainingDropout(engine->net, layer, r->blocks, r->groups->position[k], factor));
    for (PetscInt i = 0; i < size; ++i) {
      if (!r->blocks) factor[i] = 1;
      y[i] = a[i] * factor[i];
    }
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode BackwardDropout(CkEngine engine, PetscInt layer, PetscInt n)
{
  const Reference *r = (const Reference *)engine->data;
  const size_t     size = (size_t)n * (size_t)CkShapeSize(r->layers[layer].out);
  const PetscInt   input = r->layers[layer].inputs[0];

  PetscFunctionBeginUser;
  for (size_t i = 0; i < size; ++i) r->delta[input][i] += r->delta[layer][i] * r->factors[layer][i];
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode ForwardAdd(CkEngine engine, PetscInt layer, PetscInt n)
{
  const Reference *r = (const Reference *)engine->data;
  const CkLayer   *l = &r->layers[layer];
  const size_t     size = (size_t)n * (size_t)CkShapeSize(l->out);

  PetscFunctionBeginUser;
  PetscCall(PetscArraycpy(r->out[layer], r->out[l->inputs[0]], size));
  for (PetscInt j = 1; j < l->ninputs; ++j)
    for (size_t i = 0; i < size; ++i) r->out[layer][i] += r->out[l->inputs[j]][i];
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode BackwardAdd(CkEngine engine, PetscInt layer, PetscInt n)
{
  const Reference *r = (const Reference *)engine->data;
  const CkLayer   *l = &r->layers[layer];
  const size_t     size = (size_t)n * (size_t)CkShapeSize(l->out);

  PetscFunctionBeginUser;
  for (PetscInt j = 0; j < l->ninputs; ++j)
    for (size_t i = 0; i < size; ++i) r->delta[l->inputs[j]][i] += r->delta[layer][i];
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode ForwardConcat(CkEngine engine, PetscInt layer, PetscInt n)
{
  const Reference *r = (const Reference *)engine->data;
  const CkLayer   *l = &r->layers[layer];

  PetscFunctionBeginUser;
  for (PetscInt k = 0; k < n; ++k) {
    double *y = ReferenceSample(r, r->out, layer, k);

    for (PetscInt j = 0; j < l->ninputs; ++j) {
      const PetscInt size = CkShapeSize(r->layers[l->inputs[j]].out);

      PetscCall(PetscArraycpy(y, ReferenceSample(r, r->out, l->inputs[j], k), size));
      y += size;
    }
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode BackwardConcat(CkEngine engine, PetscInt layer, PetscInt n)
{
  const Reference *r = (const Reference *)engine->data;
  const CkLayer   *l = &r->layers[layer];

  PetscFunctionBeginUser;
  for (PetscInt k = 0; k < n; ++k) {
    const double *dy = ReferenceSample(r, r->delta, layer, k);

    for (PetscInt j = 0; j < l->ninputs; ++j) {
      const PetscInt size = CkShapeSize(r->layers[l->inputs[j]].out);
      double        *da = ReferenceSample(r, r->delta, l->inputs[j], k);

      for (PetscInt i = 0; i < size; ++i) da[i] += dy[i];
      dy += size;
    }
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Where output pixel i (of the channels that are not zero) stands in the sample's output, and where it comes from. */
static void SubsamplePlaces(const CkLayer *l, PetscInt i, PetscInt *to, PetscInt *from)
{
  const PetscInt pixels = l->out.h * l->out.w, channel = i / pixels, row = i % pixels / l->out.w, column = i % l->out.w;

  *to = (l->out.c - l->in.c) / 2 * pixels + i;
  *from = (channel * l->in.h + row * l->a.stride[0]) * l->in.w + column * l->a.stride[1];
}

static PetscErrorCode ForwardSubsample(CkEngine engine, PetscInt layer, PetscInt n)
{
  const Reference *r = (const Reference *)engine->data;
  const CkLayer   *l = &r->layers[layer];
  PetscInt         to, from;

  PetscFunctionBeginUser;
  PetscCall(PetscArrayzero(r->out[layer], n * CkShapeSize(l->out)));
  for (PetscInt k = 0; k < n; ++k)
    for (PetscInt i = 0; i < l->in.c * l->out.h * l->out.w; ++i) {
      SubsamplePlaces(l, i, &to, &from);
      ReferenceSample(r, r->out, layer, k)[to] = ReferenceSample(r, r->out, l->inputs[0], k)[from];
    }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode BackwardSubsample(CkEngine engine, PetscInt layer, PetscInt n)
{
  const Reference *r = (const Reference *)engine->data;
  const CkLayer   *l = &r->layers[layer];
  PetscInt         to, from;

  PetscFunctionBeginUser;
  for (PetscInt k = 0; k < n; ++k)
    for (PetscInt i = 0; i < l->in.c * l->out.h * l->out.w; ++i) {
      SubsamplePlaces(l, i, &to, &from);
      ReferenceSample(r, r->delta, l->inputs[0], k)[from] += ReferenceSample(r, r->delta, layer, k)[to];
    }
  PetscFunctionReturn(PETSC_SUCCESS);
}

const ReferenceKind ReferenceFlatten = {CK_LAYER_FLATTEN, ForwardFlatten, BackwardFlatten, NULL};
const ReferenceKind ReferenceDropout = {CK_LAYER_DROPOUT, ForwardDropout, BackwardDropout, NULL};
const ReferenceKind ReferenceAdd = {CK_LAYER_ADD, ForwardAdd, BackwardAdd, NULL};
const ReferenceKind ReferenceConcat = {CK_LAYER_CONCAT, ForwardConcat, BackwardConcat, NULL};
const ReferenceKind ReferenceSubsample = {CK_LAYER_SUBSAMPLE, ForwardSubsample, BackwardSubsample, NULL};
