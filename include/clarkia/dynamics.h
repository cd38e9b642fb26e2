#pragma once
#include <clarkia/loss.h>
#include <clarkia/progress.h>
#include <clarkia/replicas.h>

/*
  CkDynamics: a process x_0, x_1, .. on a loss, by the equations of docs/theory.md, sections 9 and 17. With eta the
  learning rate (constant, by steps or along a cosine, after a warm-up), B the batch, g the mean gradient of a batch and
  grad f that of all samples, one update is, by -dynamics_type:
    sgd           x <- x - eta v, v <- mu v + g + l2 x, or Nesterov's form               (M.1), (M.2)
    gd            the same with grad f: an epoch is one update
    sgd_gaussian  the same with grad f + N(0, covariance of a batch's mean gradient)     (N.3)
    sde           x <- x - dt (grad f + l2 x) + sqrt(eta dt/B) D^(1/2) N(0, 1)           (N.4)
    sgld          x <- x - eta (g + l2 x) + sqrt(2 eta T) N(0, 1)                        (N.5)
    ode           x' = -grad f - l2 x by PETSc's TS, an update being the time dt         (N.7)
    entropy_sgd   L inner updates around x, then a step of x towards their average       (Y.2) to (Y.4)
    elastic_sgd   sgd of replicas x_a, and x_a <- x_a - rho (x_a - mean of the replicas) (Y.7)
    parle         entropy_sgd of replicas, pulled likewise after each L inner updates    (Y.5), (Y.6)
    jko           N(x, s^2) takes a Wasserstein proximal step of length eta on the
                  free energy E f - T entropy; x are the means of independent weights  (J.1) to (J.8)
  A type is one file and one line in dynamics_types.c.

  Batches are drawn without replacement (a fresh permutation of the samples each epoch, a function of seed and epoch) or
  with. A last batch of N mod B samples is kept, as PyTorch keeps it. Gradients are those of training mode or, where D
  is in play or -dynamics_mode says so, of evaluation mode; in training mode the running statistics of batch norm
  follow, r <- (1 - m) r + m (mean or unbiased variance of the batch), m = 0.1. Data-parallel over the ranks, the same
  bits on any number of ranks.

  With replicas (replicas.h) each call runs all of them in step, and numbers in reports are means over them.

  All calls are collective on the loss's communicator, with replicas on that of them all, but for the Get..() ones.
*/
typedef struct _p_CkDynamics *CkDynamics;

typedef struct {
  PetscInt epoch, step; /* epochs finished, updates done */
  double   loss, error; /* mean over the epoch's batches, as they were met in training mode; error: share of wrong
                           predictions in 0 .. 1, NaN for losses that predict nothing */
  double free_energy;   /* jko: of the density whose mean loss that is; other types: NaN, as the next two */
  double iterations, residual;  /* jko: inner iterations of the step, and the residual (J.5) they ended with */
  double test_loss, test_error; /* at the end of the epoch; NaN without test data */
  double rate;                  /* learning rate of the epoch's last update */
  double seconds;               /* of the epoch, without the evaluation on test data */
} CkEpochReport;

/* loss and state are borrowed. The process starts at the loss's point; state (NULL for landscapes) is the one the loss
 * was made with: its weights and running statistics are advanced in place, at every update. */
PetscErrorCode CkDynamicsCreate(CkLoss loss, CkState state, CkDynamics *dynamics);
PetscErrorCode CkDynamicsSetType(CkDynamics dynamics, const char type[]); /* default: -dynamics_type */
/* -dynamics_*, -seed; before set-up. The loss need not be set up yet. User errors: keys that the type or the schedule
 * does not heed, or that contradict each other. */
PetscErrorCode CkDynamicsSetFromOptions(CkDynamics dynamics);
PetscErrorCode CkDynamicsRegisterOptions(void);
/* Independent or coupled runs, -dynamics_replicas of them, the loss and its state being one on the group's
 * communicator; borrowed; before CkDynamicsSetFromOptions(). Replica r differs from a run alone by its random numbers:
 * those of replica 0 are the same. All start at the loss's point. Without this call there is one. */
PetscErrorCode CkDynamicsSetReplicas(CkDynamics dynamics, CkReplicas replicas);
/* Loss for evaluation on held-out data, with the same net and state; borrowed; before the first step. */
PetscErrorCode CkDynamicsSetTestLoss(CkDynamics dynamics, CkLoss test);
/* Called after every epoch, on all ranks. */
PetscErrorCode CkDynamicsSetMonitor(CkDynamics dynamics,
                                    PetscErrorCode (*monitor)(CkDynamics, const CkEpochReport *, void *),
                                    void *context);
/* CkDynamicsRun() calls mark(dynamics, fraction, context) on all ranks once update number round(fraction * updates of
 * the run) is done; fractions[n] in 0 .. 1 are copied; once. */
PetscErrorCode CkDynamicsSetMarks(CkDynamics dynamics, PetscInt n, const double fractions[],
                                  PetscErrorCode (*mark)(CkDynamics, double, void *), void *context);
/* Something to be done between updates, up to 8 of them. next(context, from): the number of updates, at least `from`,
 * at which it is to be done next, the same on all ranks; PETSC_MAX_INT: never again. act(dynamics, context) is called
 * on all ranks when so many are done; by CkDynamicsRun() alone, after the monitor, in the order of these calls. 0:
 * before the first update. */
PetscErrorCode CkDynamicsAddWatch(CkDynamics dynamics, PetscInt (*next)(void *context, PetscInt from),
                                  PetscErrorCode (*act)(CkDynamics, void *), void *context);
/* The least number of updates beyond those done at which anything must happen: a watch, the end of an epoch or of the
 * run. Until then updates may be done in any manner that leads to the same numbers. */
PetscErrorCode CkDynamicsGetNextStop(CkDynamics dynamics, PetscInt *step);
/* pause(dynamics, context) is called on all ranks by CkDynamicsRun() as often as may be between updates, at the least
 * once an epoch, after everything else that is due; it may look at the clock or at signals, write, and return an error
 * that ends the run. */
PetscErrorCode CkDynamicsSetPause(CkDynamics dynamics, PetscErrorCode (*pause)(CkDynamics, void *), void *context);
/* Checks the numbers against the loss; user errors: batch larger than the data, more updates than can be counted. */
PetscErrorCode CkDynamicsSetUp(CkDynamics dynamics);
/* One update. User error, on all ranks, where the loss or a weight of a replica is no longer finite. */
PetscErrorCode CkDynamicsStep(CkDynamics dynamics);
/* Up to the end of -dynamics_epochs epochs, counted from the first; from wherever it stands. */
PetscErrorCode CkDynamicsRun(CkDynamics dynamics);
/* Epochs finished, epochs of the run, updates done; each may be NULL. */
PetscErrorCode CkDynamicsGetProgress(CkDynamics dynamics, PetscInt *epoch, PetscInt *epochs, PetscInt *step);
/* After a user error of a run, on all ranks: the replica whose work met it (-1: it was met in work for all) and the
 * updates that replica had done. Collective on the communicator of the replicas. */
PetscErrorCode CkDynamicsGetFailure(CkDynamics dynamics, PetscInt *replica, PetscInt *step);
/* Samples of a batch and updates of an epoch; after set-up. */
PetscErrorCode CkDynamicsGetBatches(CkDynamics dynamics, PetscInt *batch, PetscInt *updates);
/* Whether gradients are those of training mode; after CkDynamicsSetFromOptions(). */
PetscErrorCode CkDynamicsGetMode(CkDynamics dynamics, CkMode *mode);
/* t: the learning rates (sde: the time steps) of all updates so far, added. */
PetscErrorCode CkDynamicsGetTime(CkDynamics dynamics, double *time);
/* Vectors of length d held over all ranks, x among them, and samples whose gradients an epoch takes (jko: an inner
 * iteration); after set-up. */
PetscErrorCode CkDynamicsGetCost(CkDynamics dynamics, double *vectors, double *samples);
/* The weights of a network's run as a state file, and where they are means their deviations; of several replicas
 * docs/formats.md, "Replicas": all of them, and as the state their consensus, or replica 0 where they have none.
 * Collective on the communicator of the replicas. */
PetscErrorCode CkDynamicsWrite(CkDynamics dynamics, const char file[]);
/* Loss and state stand at replica number m of this group, until the next step; x: its weights, borrowed. */
PetscErrorCode CkDynamicsSelectReplica(CkDynamics dynamics, PetscInt m, Vec *x);
/* Bytes that rank 0 needs for updates many at a time (docs/decisions.md, 16); 0 where they are made one by one. */
PetscErrorCode CkDynamicsGetFusedMemory(CkDynamics dynamics, double *bytes);
/* Rows "dynamics", "learning rate", "epochs" and, for sgd, "updates" of a summary table; after set-up. */
PetscErrorCode CkDynamicsDescribe(CkDynamics dynamics, CkTable table);
PetscErrorCode CkDynamicsDestroy(CkDynamics *dynamics);
