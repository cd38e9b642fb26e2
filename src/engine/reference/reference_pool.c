#include "reference.h"
#include <math.h>

/* The part of output pixel (oh, ow)'s window that lies on the image: rows first[0]..last[0]-1, columns likewise. */
typedef struct {
  PetscInt first[2], last[2];
} Window;

static Window WindowOf(const CkLayer *l, PetscInt oh, PetscInt ow)
{
  const PetscInt out[2] = {oh, ow}, size[2] = {l->in.h, l->in.w};
  Window         w;

  for (int i = 0; i < 2; ++i) {
    const PetscInt start = out[i] * l->a.stride[i] - l->a.padding[i];

    w.first[i] = PetscMax(start, 0);
    w.last[i] = PetscMin(start + l->a.kernel[i], size[i]);
  }
  return w;
}

/* Index on the image of the window's first largest number (a NaN is largest, as in PyTorch). */
static size_t Largest(const CkLayer *l, const Window *w, const double image[])
{
  size_t best = (size_t)w->first[0] * (size_t)l->in.w + (size_t)w->first[1];

  for (PetscInt h = w->first[0]; h < w->last[0]; ++h)
    for (PetscInt v = w->first[1]; v < w->last[1]; ++v) {
      const size_t at = (size_t)h * (size_t)l->in.w + (size_t)v;

      if (image[at] > image[best] || (isnan(image[at]) && !isnan(image[best]))) best = at;
    }
  return best;
}

static double MaxOut(const CkLayer *l, const Window *w, const double image[])
{
  return image[Largest(l, w, image)];
}

static void MaxIn(const CkLayer *l, const Window *w, const double image[], double dy, double da[])
{
  da[Largest(l, w, image)] += dy;
}

static double AvgOut(const CkLayer *l, const Window *w, const double image[])
{
  double sum = 0;

  for (PetscInt h = w->first[0]; h < w->last[0]; ++h)
    for (PetscInt v = w->first[1]; v < w->last[1]; ++v) sum += image[(size_t)h * (size_t)l->in.w + (size_t)v];
  return sum / ((double)l->a.kernel[0] * (double)l->a.kernel[1]);
}

static void AvgIn(const CkLayer *l, const Window *w, const double image[], double dy, double da[])
{
  (void)image;
  for (PetscInt h = w->first[0]; h < w->last[0]; ++h)
    for (PetscInt v = w->first[1]; v < w->last[1]; ++v)
      da[(size_t)h * (size_t)l->in.w + (size_t)v] += dy / ((double)l->a.kernel[0] * (double)l->a.kernel[1]);
}

/* Walks over samples, channels and output pixels; out NULL means backward. */
static void Walk(const Reference *r, PetscInt layer, PetscInt n,
                 double (*out)(const CkLayer *, const Window *, const double[]),
                 void (*in)(const CkLayer *, const Window *, const double[], double, double[]))
{
  const CkLayer *l = &r->layers[layer];
  const size_t   image = (size_t)l->in.h * (size_t)l->in.w, pixels = (size_t)l->out.h * (size_t)l->out.w;

  for (PetscInt k = 0; k < n; ++k)
    for (PetscInt c = 0; c < l->in.c; ++c) {
      const double *a = ReferenceSample(r, r->out, l->inputs[0], k) + (size_t)c * image;
      const size_t  y = (size_t)c * pixels;

      for (PetscInt oh = 0; oh < l->out.h; ++oh)
        for (PetscInt ow = 0; ow < l->out.w; ++ow) {
          const Window w = WindowOf(l, oh, ow);
          const size_t at = y + (size_t)oh * (size_t)l->out.w + (size_t)ow;

          if (out) ReferenceSample(r, r->out, layer, k)[at] = out(l, &w, a);
          else
            in(l, &w, a, ReferenceSample(r, r->delta, layer, k)[at],
               ReferenceSample(r, r->delta, l->inputs[0], k) + (size_t)c * image);
        }
    }
}

#define POOL(name, out, in)                                                                                            \
  static PetscErrorCode Forward##name(CkEngine engine, PetscInt layer, PetscInt n)                                     \
  {                                                                                                                    \
    PetscFunctionBeginUser;                                                                                            \
    Walk((const Reference *)engine->data, layer, n, out, NULL);                                                        \
    PetscFunctionReturn(PETSC_SUCCESS);                                                                                \
  }                                                                                                                    \
  static PetscErrorCode Backward##name(CkEngine engine, PetscInt layer, PetscInt n)                                    \
  {                                                                                                                    \
    PetscFunctionBeginUser;                                                                                            \
    Walk((const Reference *)engine->data, layer, n, NULL, in);                                                         \
    PetscFunctionReturn(PETSC_SUCCESS);                                                                                \
  }

POOL(Max, MaxOut, MaxIn)
POOL(Avg, AvgOut, AvgIn)

static PetscErrorCode ForwardGlobal(CkEngine engine, PetscInt layer, PetscInt n)
{
  const Reference *r = (const Reference *)engine->data;
  const CkLayer   *l = &r->layers[layer];
  const size_t     pixels = (size_t)l->in.h * (size_t)l->in.w;

  PetscFunctionBeginUser;
  for (PetscInt k = 0; k < n; ++k)
    for (PetscInt c = 0; c < l->in.c; ++c) {
      const double *a = ReferenceSample(r, r->out, l->inputs[0], k) + (size_t)c * pixels;
      double        sum = 0;

      for (size_t i = 0; i < pixels; ++i) sum += a[i];
      ReferenceSample(r, r->out, layer, k)[c] = sum / (double)pixels;
    }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode BackwardGlobal(CkEngine engine, PetscInt layer, PetscInt n)
{
  const Reference *r = (const Reference *)engine->data;
  const CkLayer   *l = &r->layers[layer];
  const size_t     pixels = (size_t)l->in.h * (size_t)l->in.w;

  PetscFunctionBeginUser;
  for (PetscInt k = 0; k < n; ++k)
    for (PetscInt c = 0; c < l->in.c; ++c) {
      const double dy = ReferenceSample(r, r->delta, layer, k)[c];
      double      *da = ReferenceSample(r, r->delta, l->inputs[0], k) + (size_t)c * pixels;

      for (size_t i = 0; i < pixels; ++i) da[i] += dy / (double)pixels;
    }
  PetscFunctionReturn(PETSC_SUCCESS);
}

const ReferenceKind ReferenceMaxPool = {CK_LAYER_MAXPOOL, ForwardMax, BackwardMax, NULL};
const ReferenceKind ReferenceAvgPool = {CK_LAYER_AVGPOOL, ForwardAvg, BackwardAvg, NULL};
const ReferenceKind ReferenceGlobalAvgPool = {CK_LAYER_GLOBALAVGPOOL, ForwardGlobal, BackwardGlobal, NULL};
