#pragma once
#include <clarkia/loss.h>

/*
  CkDynamics: a process x_0, x_1, .. on a loss. Type `sgd`: minibatches without replacement (a fresh permutation of the
  samples each epoch, a function of seed and epoch) or with; with g the mean gradient of the batch in training mode,
    g <- g + l2 x ;  v <- mu v + g, v_0 = 0 ;  x <- x - eta v,  or with Nesterov  x <- x - eta (g + mu v),
  as PyTorch's SGD without dampening. docs/theory.md, eqs. (M.1), (M.2). Learning rate eta: constant, or multiplied by
  a factor at given epochs. A last batch of N mod B samples is kept, as PyTorch keeps it. Running statistics of batch
  norm: r <- (1 - m) r + m (mean or unbiased variance of the batch), m = 0.1. Data-parallel over the ranks, the same
  bits on any number of ranks. A type is one file and one line in dynamics_types.c.

  All calls are collective on the loss's communicator, but for the Get..() ones.
*/
typedef struct _p_CkDynamics *CkDynamics;

typedef struct {
  PetscInt epoch, step; /* epochs finished, updates done */
  double   loss, error; /* mean over the epoch's batches, as they were met in training mode; error: share of wrong
                           predictions in 0 .. 1, NaN for losses that predict nothing */
  double test_loss, test_error; /* at the end of the epoch; NaN without test data */
  double rate;                  /* learning rate of the epoch */
  double seconds;               /* of the epoch, without the evaluation on test data */
} CkEpochReport;

/* loss and state are borrowed. The process starts at the loss's point; state (NULL for landscapes) is the one the loss
 * was made with: its weights and running statistics are advanced in place, at every update. */
PetscErrorCode CkDynamicsCreate(CkLoss loss, CkState state, CkDynamics *dynamics);
PetscErrorCode CkDynamicsSetType(CkDynamics dynamics, const char type[]); /* default: -dynamics_type */
PetscErrorCode CkDynamicsSetFromOptions(CkDynamics dynamics);             /* -dynamics_*, -seed; before set-up */
PetscErrorCode CkDynamicsRegisterOptions(void);
/* Loss for evaluation on held-out data, with the same net and state; borrowed; before the first step. */
PetscErrorCode CkDynamicsSetTestLoss(CkDynamics dynamics, CkLoss test);
/* Called after every epoch, on all ranks. */
PetscErrorCode CkDynamicsSetMonitor(CkDynamics dynamics,
                                    PetscErrorCode (*monitor)(CkDynamics, const CkEpochReport *, void *),
                                    void *context);
/* CkDynamicsRun() calls mark(dynamics, fraction, context) on all ranks once update number round(fraction * updates of
 * the run) is done; fractions[n] in 0 .. 1 are copied. */
PetscErrorCode CkDynamicsSetMarks(CkDynamics dynamics, PetscInt n, const double fractions[],
                                  PetscErrorCode (*mark)(CkDynamics, double, void *), void *context);
/* Checks the numbers against the loss; user errors: batch larger than the data, Nesterov without momentum, step
 * schedule without steps. */
PetscErrorCode CkDynamicsSetUp(CkDynamics dynamics);
/* One update. User error where the loss or a weight is no longer finite: it names epoch, update and batch. */
PetscErrorCode CkDynamicsStep(CkDynamics dynamics);
/* Up to the end of -dynamics_epochs epochs, counted from the first. */
PetscErrorCode CkDynamicsRun(CkDynamics dynamics);
/* Epochs finished, epochs of the run, updates done; each may be NULL. */
PetscErrorCode CkDynamicsGetProgress(CkDynamics dynamics, PetscInt *epoch, PetscInt *epochs, PetscInt *step);
/* Samples of a batch and updates of an epoch; after set-up. */
PetscErrorCode CkDynamicsGetBatches(CkDynamics dynamics, PetscInt *batch, PetscInt *updates);
PetscErrorCode CkDynamicsView(CkDynamics dynamics);
PetscErrorCode CkDynamicsDestroy(CkDynamics *dynamics);
