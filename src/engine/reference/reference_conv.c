#include "reference.h"

/* The pairs (input pixel, kernel entry) that meet at one output pixel; the same loop serves all three directions. */
typedef struct {
  const CkLayer *l;
  PetscInt       oh, ow; /* output pixel */
} Window;

/* Input row (axis 0) or column (axis 1) under kernel entry q; -1 in the padding. */
static PetscInt InputIndex(const Window *w, int axis, PetscInt q)
{
  const PetscInt out = axis == 0 ? w->oh : w->ow;
  const PetscInt size = axis == 0 ? w->l->in.h : w->l->in.w;
  const PetscInt i = out * w->l->a.stride[axis] - w->l->a.padding[axis] + q;

  return i < 0 || i >= size ? -1 : i;
}

typedef enum { FORWARD, BACKWARD, GRADIENT } Direction;

/*
  One sample, all outputs y [units, oh, ow], inputs a [channels, h, w], kernel w [units, channels, kh, kw]:
    FORWARD y += w a ;  BACKWARD a += w y ;  GRADIENT w += y a
*/
static void Convolve(const CkLayer *l, Direction direction, double y[], double a[], double w[])
{
  const PetscInt kh = l->a.kernel[0], kw = l->a.kernel[1];

  for (PetscInt o = 0; o < l->out.c; ++o)
    for (PetscInt oh = 0; oh < l->out.h; ++oh)
      for (PetscInt ow = 0; ow < l->out.w; ++ow) {
        const Window window = {l, oh, ow};
        double      *yo = y + ((size_t)o * (size_t)l->out.h + (size_t)oh) * (size_t)l->out.w + (size_t)ow;

        for (PetscInt c = 0; c < l->in.c; ++c)
          for (PetscInt p = 0; p < kh; ++p)
            for (PetscInt q = 0; q < kw; ++q) {
              const PetscInt ih = InputIndex(&window, 0, p), iw = InputIndex(&window, 1, q);
              double        *ai, *wi;

              if (ih < 0 || iw < 0) continue;
              ai = a + ((size_t)c * (size_t)l->in.h + (size_t)ih) * (size_t)l->in.w + (size_t)iw;
              wi = w + (((size_t)o * (size_t)l->in.c + (size_t)c) * (size_t)kh + (size_t)p) * (size_t)kw + (size_t)q;
              if (direction == FORWARD) *yo += *wi * *ai;
              else if (direction == BACKWARD) *ai += *wi * *yo;
              else *wi += *yo * *ai;
            }
      }
}

static PetscErrorCode Forward(CkEngine engine, PetscInt layer, PetscInt n)
{
  const Reference *r = (const Reference *)engine->data;
  const CkLayer   *l = &r->layers[layer];
  const PetscInt   weight = ReferenceOffset(r, layer, 0), bias = ReferenceOffset(r, layer, 1);
  const PetscInt   pixels = l->out.h * l->out.w;

  PetscFunctionBeginUser;
  for (PetscInt k = 0; k < n; ++k) {
    double *y = ReferenceSample(r, r->out, layer, k);

    for (PetscInt o = 0; o < l->out.c; ++o)
      for (PetscInt i = 0; i < pixels; ++i)
        y[(size_t)o * (size_t)pixels + (size_t)i] = bias >= 0 ? r->weights[bias + o] : 0;
    Convolve(l, FORWARD, y, ReferenceSample(r, r->out, l->inputs[0], k), r->weights + weight);
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Backward(CkEngine engine, PetscInt layer, PetscInt n)
{
  const Reference *r = (const Reference *)engine->data;
  const CkLayer   *l = &r->layers[layer];
  const PetscInt   weight = ReferenceOffset(r, layer, 0);

  PetscFunctionBeginUser;
  for (PetscInt k = 0; k < n; ++k)
    Convolve(l, BACKWARD, ReferenceSample(r, r->delta, layer, k), ReferenceSample(r, r->delta, l->inputs[0], k),
             r->weights + weight);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static void Row(const Reference *r, PetscInt layer, PetscInt k, double g[])
{
  const CkLayer *l = &r->layers[layer];
  const PetscInt weight = ReferenceOffset(r, layer, 0), bias = ReferenceOffset(r, layer, 1);
  const PetscInt pixels = l->out.h * l->out.w;
  double        *dy = ReferenceSample(r, r->delta, layer, k);

  Convolve(l, GRADIENT, dy, ReferenceSample(r, r->out, l->inputs[0], k), g + weight);
  for (PetscInt o = 0; bias >= 0 && o < l->out.c; ++o)
    for (PetscInt i = 0; i < pixels; ++i) g[bias + o] += dy[(size_t)o * (size_t)pixels + (size_t)i];
}

const ReferenceKind ReferenceConv = {CK_LAYER_CONV, Forward, Backward, Row};
