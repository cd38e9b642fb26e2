#pragma once
#include <clarkia/net.h>

/*
  head.h: the loss head of all engines, in float64 whatever their own precision. docs/theory.md:
    cross-entropy (L.4): f = log sum_c e^(z_c) - z_y,    (L.5): delta_c = p_c, delta_y = -sum over the others of p_c
    mse           (L.6): f = (1/2) sum_c (z_c - t_c)^2,         delta_c = z_c - t_c, t one-hot
  Non-finite logits give a non-finite f and count as not correct.
*/
typedef struct {
  CkHead          head;
  PetscInt        n, classes;
  CkPrecision     precision; /* of logits and delta */
  const void     *logits;    /* [n x classes] */
  const PetscInt *labels;    /* [n], in range */
  const double   *scale;     /* [n] factors of delta, applied in float64 (weights of a training batch); NULL: 1 */
  double         *values;    /* [n] f_k, unscaled */
  int            *correct;   /* [n] 1 where the first largest logit is the label's; NULL: not wanted */
  void           *delta;     /* [n x classes] scale_k df_k/dz_k; NULL: not wanted */
} CkHeadCall;

PetscErrorCode CkHeadEvaluate(const CkHeadCall *call);
