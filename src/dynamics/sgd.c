/* sgd.c: minibatch gradient descent with momentum and weight decay; dynamics.h, eq. of type `sgd`. */
#include "dynamicsimpl.h"
#include <clarkia/error.h>
#include <clarkia/options.h>

typedef struct {
  PetscReal momentum, l2;
  PetscBool nesterov;
  Vec       g, v; /* v: the sum of past gradients; unused without momentum */
} SGD;

static PetscErrorCode SGDSetFromOptions(CkDynamics dynamics)
{
  SGD *sgd;

  PetscFunctionBeginUser;
  PetscCall(PetscNew(&sgd));
  dynamics->data = sgd;
  PetscCall(CkOptionsGetReal("dynamics_momentum", &sgd->momentum, NULL));
  PetscCall(CkOptionsGetReal("dynamics_l2", &sgd->l2, NULL));
  PetscCall(CkOptionsGetBool("dynamics_nesterov", &sgd->nesterov, NULL));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode SGDSetUp(CkDynamics dynamics)
{
  SGD *sgd = (SGD *)dynamics->data;

  PetscFunctionBeginUser;
  CkCheckAll(dynamics->comm, !sgd->nesterov || sgd->momentum > 0, PETSC_ERR_ARG_INCOMP,
             "-dynamics_nesterov needs a momentum: give -dynamics_momentum, 0.9 say");
  PetscCall(VecDuplicate(dynamics->x, &sgd->g));
  PetscCall(VecDuplicate(dynamics->x, &sgd->v));
  PetscCall(VecZeroEntries(sgd->v));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The same operations entry by entry wherever the entry lives: the same bits on any number of ranks. */
static void Move(const SGD *sgd, double rate, PetscInt n, const PetscScalar g[], PetscScalar v[], PetscScalar x[])
{
  for (PetscInt i = 0; i < n; ++i) {
    const double gradient = g[i] + sgd->l2 * x[i];

    v[i] = sgd->momentum * v[i] + gradient;
    x[i] -= rate * (sgd->nesterov ? gradient + sgd->momentum * v[i] : v[i]);
  }
}

static PetscErrorCode SGDStep(CkDynamics dynamics, const CkBatch *batch, double *mean, PetscInt *correct)
{
  const SGD         *sgd = (SGD *)dynamics->data;
  const PetscScalar *g;
  PetscScalar       *v, *x;
  PetscInt           n;

  PetscFunctionBeginUser;
  PetscCall(CkLossGradient(dynamics->loss, batch, NULL, sgd->g, mean, correct));
  PetscCall(VecGetLocalSize(dynamics->x, &n));
  PetscCall(VecGetArrayRead(sgd->g, &g));
  PetscCall(VecGetArray(sgd->v, &v));
  PetscCall(VecGetArray(dynamics->x, &x));
  Move(sgd, dynamics->rate, n, g, v, x);
  PetscCall(VecRestoreArray(dynamics->x, &x));
  PetscCall(VecRestoreArray(sgd->v, &v));
  PetscCall(VecRestoreArrayRead(sgd->g, &g));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode SGDView(CkDynamics dynamics, char text[], size_t length)
{
  const SGD *sgd = (SGD *)dynamics->data;

  PetscFunctionBeginUser;
  PetscCall(PetscSNPrintf(text, length, "%s momentum %g, l2 %g", sgd->nesterov ? "Nesterov" : "heavy-ball",
                          (double)sgd->momentum, (double)sgd->l2));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode SGDDestroy(CkDynamics dynamics)
{
  SGD *sgd = (SGD *)dynamics->data;

  PetscFunctionBeginUser;
  if (!sgd) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(VecDestroy(&sgd->g));
  PetscCall(VecDestroy(&sgd->v));
  PetscCall(PetscFree(dynamics->data));
  PetscFunctionReturn(PETSC_SUCCESS);
}

const CkDynamicsType CkDynamicsSGD = {.name = "sgd",
                                      .setfromoptions = SGDSetFromOptions,
                                      .setup = SGDSetUp,
                                      .step = SGDStep,
                                      .view = SGDView,
                                      .destroy = SGDDestroy};
