#include "head.h"
#include <math.h>

/* Largest logit's class (the first of equals); n if one is NaN. */
static PetscInt ArgMax(PetscInt n, const double z[])
{
  PetscInt best = 0;

  for (PetscInt c = 0; c < n; ++c) {
    if (isnan(z[c])) return n;
    if (z[c] > z[best]) best = c;
  }
  return best;
}

/* f = (z_max - z_y) + log(1 + sum of the others' e^(z_c - z_max)); z is overwritten with delta. */
static double CrossEntropy(PetscInt n, PetscInt label, double z[])
{
  const PetscInt best = ArgMax(n, z);
  const double   top = best < n ? z[best] : NAN;
  const double   gap = top - z[label];
  double         others = 0, wrong = 0;

  for (PetscInt c = 0; c < n; ++c) {
    z[c] = c == best ? 1 : exp(z[c] - top);
    if (c != best) others += z[c];
  }
  for (PetscInt c = 0; c < n; ++c) {
    z[c] /= 1 + others;
    if (c != label) wrong += z[c];
  }
  z[label] = -wrong; /* p_y - 1 without cancellation */
  return gap + log1p(others);
}

static double SquaredError(PetscInt n, PetscInt label, double z[])
{
  double sum = 0;

  for (PetscInt c = 0; c < n; ++c) {
    if (c == label) z[c] -= 1;
    sum += z[c] * z[c];
  }
  return sum / 2;
}

PetscErrorCode CkHeadEvaluate(const CkHeadCall *call)
{
  const PetscInt n = call->classes;
  double        *work;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc1(n, &work));
  for (PetscInt k = 0; k < call->n; ++k) {
    const size_t   at = (size_t)k * (size_t)n;
    const PetscInt label = call->labels[k];
    const double   scale = call->scale ? call->scale[k] : 1;

    for (PetscInt c = 0; c < n; ++c)
      work[c] = call->precision == CK_FLOAT64 ? ((const double *)call->logits)[at + (size_t)c]
                                              : (double)((const float *)call->logits)[at + (size_t)c];
    if (call->correct) call->correct[k] = ArgMax(n, work) == label;
    call->values[k] = call->head == CK_HEAD_MSE ? SquaredError(n, label, work) : CrossEntropy(n, label, work);
    if (!call->delta) continue;
    for (PetscInt c = 0; c < n; ++c) {
      if (call->precision == CK_FLOAT64) ((double *)call->delta)[at + (size_t)c] = scale * work[c];
      else ((float *)call->delta)[at + (size_t)c] = (float)(scale * work[c]);
    }
  }
  PetscCall(PetscFree(work));
  PetscFunctionReturn(PETSC_SUCCESS);
}
