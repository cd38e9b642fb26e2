#include "reference.h"

static PetscErrorCode Forward(CkEngine engine, PetscInt layer, PetscInt n)
{
  const Reference *r = (const Reference *)engine->data;
  const CkLayer   *l = &r->layers[layer];
  const PetscInt   weight = ReferenceOffset(r, layer, 0), bias = ReferenceOffset(r, layer, 1);
  const PetscInt   inputs = l->in.c, outputs = l->out.c;

  PetscFunctionBeginUser;
  for (PetscInt k = 0; k < n; ++k) {
    const double *a = ReferenceSample(r, r->out, l->inputs[0], k);
    double       *y = ReferenceSample(r, r->out, layer, k);

    for (PetscInt o = 0; o < outputs; ++o) {
      const double *w = r->weights + weight + (size_t)o * (size_t)inputs;

      y[o] = bias >= 0 ? r->weights[bias + o] : 0;
      for (PetscInt i = 0; i < inputs; ++i) y[o] += w[i] * a[i];
    }
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Backward(CkEngine engine, PetscInt layer, PetscInt n)
{
  const Reference *r = (const Reference *)engine->data;
  const CkLayer   *l = &r->layers[layer];
  const PetscInt   weight = ReferenceOffset(r, layer, 0);
  const PetscInt   inputs = l->in.c, outputs = l->out.c;

  PetscFunctionBeginUser;
  for (PetscInt k = 0; k < n; ++k) {
    const double *dy = ReferenceSample(r, r->delta, layer, k);
    double       *da = ReferenceSample(r, r->delta, l->inputs[0], k);

    for (PetscInt o = 0; o < outputs; ++o)
      for (PetscInt i = 0; i < inputs; ++i)
        da[i] += dy[o] * r->weights[weight + (size_t)o * (size_t)inputs + (size_t)i];
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static void Row(const Reference *r, PetscInt layer, PetscInt k, double g[])
{
  const CkLayer *l = &r->layers[layer];
  const PetscInt weight = ReferenceOffset(r, layer, 0), bias = ReferenceOffset(r, layer, 1);
  const double  *a = ReferenceSample(r, r->out, l->inputs[0], k);
  const double  *dy = ReferenceSample(r, r->delta, layer, k);
  const PetscInt inputs = l->in.c;

  for (PetscInt o = 0; o < l->out.c; ++o) {
    for (PetscInt i = 0; i < inputs; ++i) g[weight + (size_t)o * (size_t)inputs + (size_t)i] += dy[o] * a[i];
    if (bias >= 0) g[bias + o] += dy[o];
  }
}

const ReferenceKind ReferenceDense = {CK_LAYER_DENSE, Forward, Backward, Row};
