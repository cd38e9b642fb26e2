/* step.c: the gradient of one batch. */
#include "fusedimpl.h"
#include <math.h>

void CkFusedTranspose(CkFused f)
{
  for (PetscInt i = 0; i < f->nstages; ++i) {
    const CkFusedStage *s = &f->stages[i];
    const float        *from = f->w + s->weight;
    const size_t        rows = s->by_inputs ? s->out : s->in, columns = s->by_inputs ? s->in : s->out;
    const size_t        ld = s->by_inputs ? s->ldi : s->ldo, ldt = s->by_inputs ? s->ldo : s->ldi;

    if (!s->copy) continue;
    for (size_t r = 0; r < rows; ++r)
      for (size_t c = 0; c < columns; ++c) s->copy[c * ldt + r] = from[r * ld + c];
  }
}

static void BatchStatistics(CkFused f, const CkFusedStage *s, size_t n)
{
  f->kernels->moments(n, s->ldo, s->before, s->before, s->first, s->second);
  for (size_t u = 0; u < s->out; ++u) {
    s->mean[u] = s->first[u] / (double)n;
    s->variance[u] = s->second[u] / (double)n - s->mean[u] * s->mean[u];
    if (s->variance[u] < 0) s->variance[u] = 0; /* by rounding; a NaN stays */
  }
}

/* y = gamma (x - mean)/sqrt(variance + epsilon) + beta, with the batch's own mean and variance or given ones. */
static void NormForward(CkFused f, const CkFusedStage *s, size_t n)
{
  const double *gamma = f->x + s->scale, *beta = f->x + s->shift;

  if (f->mode == CK_TRAINING) BatchStatistics(f, s, n);
  for (size_t u = 0; u < s->out; ++u) {
    s->inverse[u] = 1 / sqrt(s->variance[u] + s->epsilon);
    s->factor[u] = (float)(gamma[u] * s->inverse[u]);
    s->add[u] = (float)(beta[u] - s->mean[u] * gamma[u] * s->inverse[u]);
  }
  f->kernels->affine(n, s->ldo, s->factor, s->before, s->add, s->relu, s->after);
}

static void Forward(CkFused f, size_t n)
{
  const float *x = f->input;

  for (PetscInt i = 0; i < f->nstages; ++i) {
    const CkFusedStage *s = &f->stages[i];

    f->kernels->product(n, s->in, x, s->ldi, s->forward, s->bias ? f->w + s->bias_at : NULL, s->before, s->ldo);
    if (s->norm) NormForward(f, s, n);
    else if (s->relu) f->kernels->relu(n * s->ldo, s->before);
    x = s->after;
  }
}

/* delta = gamma r (e - mean(e) - xhat mean(e xhat)), xhat = (x - mean) r, as a sum of multiples of e, x and 1; in
   evaluation mode gamma r e. */
static void NormBackward(CkFused f, const CkFusedStage *s, size_t n)
{
  const double *gamma = f->x + s->scale;
  double       *gamma_gradient = f->g + s->scale, *beta_gradient = f->g + s->shift;

  f->kernels->moments(n, s->ldo, s->delta, s->before, s->first, s->second);
  for (size_t u = 0; u < s->out; ++u) {
    const double centred = (s->second[u] - s->mean[u] * s->first[u]) * s->inverse[u];
    const double factor = gamma[u] * s->inverse[u], share = f->mode == CK_TRAINING ? 1 / (double)n : 0;
    const double slope = -factor * s->inverse[u] * centred * share;

    beta_gradient[u] = s->first[u];
    gamma_gradient[u] = centred;
    s->factor[u] = (float)factor;
    s->slope[u] = (float)slope;
    s->add[u] = (float)(-factor * s->first[u] * share - s->mean[u] * slope);
  }
  f->kernels->affine2(n, s->ldo, s->factor, s->delta, s->slope, s->before, s->add, s->delta);
}

static void Backward(CkFused f, size_t n)
{
  const CkFusedKernels *k = f->kernels;

  for (PetscInt i = f->nstages - 1; i >= 0; --i) {
    const CkFusedStage *s = &f->stages[i];
    const float        *x = i > 0 ? s[-1].after : f->input;

    if (s->relu) k->relu_back(n * s->ldo, s->after, s->delta);
    if (s->norm) NormBackward(f, s, n);
    if (s->by_inputs) k->outer(n, s->out, s->delta, s->ldo, x, s->ldi, f->g + s->weight);
    else k->outer(n, s->in, x, s->ldi, s->delta, s->ldo, f->g + s->weight);
    if (s->bias) k->sums(n, s->ldo, s->delta, f->g + s->bias_at);
    if (i > 0) k->product(n, s->out, s->delta, s->ldo, s->backward, NULL, s[-1].delta, s->ldi);
  }
}

PetscBool CkFusedGradient(CkFused f, size_t n, double scale, double *loss, PetscInt *correct)
{
  const CkFusedStage *last = &f->stages[f->nstages - 1];
  const CkFusedHead   head = {.head = f->head,
                              .n = n,
                              .classes = f->classes,
                              .ld = last->ldo,
                              .logits = last->after,
                              .labels = f->targets,
                              .scale = scale,
                              .values = f->values,
                              .delta = last->delta,
                              .work = f->head_work};

  Forward(f, n);
  f->kernels->head(&head, loss, correct);
  if (!isfinite(*loss)) return PETSC_FALSE;
  Backward(f, n);
  return PETSC_TRUE;
}
