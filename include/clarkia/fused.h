#pragma once
#include <clarkia/net.h>

/*
  CkFused: many updates of stochastic gradient descent on a small dense net in one call, for nets whose arithmetic takes
  microseconds a step. One rank, nothing allocated, communicated or written between the updates.

  Nets: a chain of dense layers, each with or without batch norm and with or without ReLU behind it, in this order; both
  heads. No dropout. Batch norm normalises the whole batch, as in training (decision 11).

  An update is that of CkEngineTrain() and the dynamics `sgd`: products in float32 with sums over at most 128 samples,
  the rest in float64, sums over batch-norm statistics in float64, the head in float64 (decision 5), weights and
  momentum in float64 (decision 7). docs/theory.md, (M.1), (M.2). It differs from the onednn engine in the order in
  which it adds: by rounding in float32. The same bits on every call pattern: how updates are dealt out over calls does
  not matter.

  Not collective.
*/
typedef struct _p_CkFused *CkFused;

/* Whether the net can be run; why (may be NULL): if not, "layer drop1 is dropout", a reason to print. */
PetscErrorCode CkFusedSupports(CkNet net, PetscBool *can, char why[], size_t length);
/* Bytes that CkFusedCreate() takes for batches of up to `batch` samples out of N. */
PetscErrorCode CkFusedGetMemory(CkNet net, PetscInt batch, PetscInt N, double *bytes);
/* The net must be one that is supported. */
PetscErrorCode CkFusedCreate(CkNet net, PetscInt batch, PetscInt N, CkFused *fused);
PetscErrorCode CkFusedDestroy(CkFused *fused);
/* Samples first .. first+n-1, copied: features [n x input size] float32 (C,H,W), labels [n] in range. */
PetscErrorCode CkFusedSetSamples(CkFused fused, PetscInt first, PetscInt n, const float features[],
                                 const PetscInt labels[]);

typedef struct {
  /* In. */
  PetscInt        batch; /* samples of an update */
  PetscInt        n;     /* samples in all; a ragged rest makes the last update */
  const PetscInt *index; /* [n] in 0 .. N-1; batch norm needs at least two samples in each update */
  const double   *rates; /* learning rate of each update */
  double          momentum, l2;
  PetscBool       nesterov;
  double          bn_momentum; /* share of a batch in the running statistics */

  /* In and out, in the layout of the net. */
  double *x;       /* [d] weights */
  double *v;       /* [d] momentum */
  double *running; /* [buffers] running mean and variance */
  /* What is added to, update by update: all samples' losses, each in its update, without weight decay; right
     predictions among them. */
  long double loss;
  PetscInt64  correct;

  /* Out. */
  PetscInt updates; /* done; fewer than asked for where a loss was not finite */
  PetscInt bad;     /* then the sample (0 .. N-1) whose loss it is, else -1; all else is that of the updates before */
  double   value;   /* and that loss */
} CkFusedRun;

/* The updates, one after the other. */
PetscErrorCode CkFusedUpdate(CkFused fused, CkFusedRun *run);

/* In evaluation mode over all N samples: loss, the mean of f_k (NaN where one is not finite; then g means nothing),
   right predictions, and g [d] = (1/N) sum_k g_k. x [d] and running [buffers] are read. */
PetscErrorCode CkFusedEvaluate(CkFused fused, double x[], const double running[], double *loss, PetscInt64 *correct,
                               double g[]);
