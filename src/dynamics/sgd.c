/* sgd.c: minibatch gradient descent with momentum and weight decay; docs/theory.md, eqs. (M.1), (M.2). */
#include "dynamicsimpl.h"

typedef struct {
  CkMomentum momentum;
  Vec        g, v; /* v: the sum of past gradients; unused without momentum */
} SGD;

static PetscErrorCode SGDSetFromOptions(CkDynamics dynamics)
{
  SGD *sgd;

  PetscFunctionBeginUser;
  PetscCall(PetscNew(&sgd));
  dynamics->data = sgd;
  PetscCall(CkMomentumSetFromOptions(dynamics->comm, &sgd->momentum));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode SGDSetUp(CkDynamics dynamics)
{
  SGD *sgd = (SGD *)dynamics->data;

  PetscFunctionBeginUser;
  PetscCall(VecDuplicate(dynamics->x, &sgd->g));
  PetscCall(VecDuplicate(dynamics->x, &sgd->v));
  PetscCall(VecZeroEntries(sgd->v));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode SGDStep(CkDynamics dynamics, const CkBatch *batch, CkUpdate *update)
{
  const SGD *sgd = (SGD *)dynamics->data;

  PetscFunctionBeginUser;
  PetscCall(CkLossGradient(dynamics->loss, batch, NULL, sgd->g, &update->mean, &update->correct));
  PetscCall(CkMomentumMove(&sgd->momentum, dynamics->rate, sgd->g, sgd->v, dynamics->x));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode SGDKeep(CkDynamics dynamics, CkKeeper keeper)
{
  PetscFunctionBeginUser;
  PetscCall(CkKeepVec(keeper, "velocity", ((const SGD *)dynamics->data)->v));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode SGDGetMomentum(CkDynamics dynamics, const CkMomentum **momentum, Vec *v)
{
  SGD *sgd = (SGD *)dynamics->data;

  PetscFunctionBeginUser;
  *momentum = &sgd->momentum;
  *v = sgd->v;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode SGDView(CkDynamics dynamics, char text[], size_t length)
{
  PetscFunctionBeginUser;
  CkMomentumFormat(&((const SGD *)dynamics->data)->momentum, text, length);
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
                                      .keys = "batch replacement shuffle momentum nesterov l2 mode fused",
                                      .sampling = CK_SAMPLING_DRAWN,
                                      .vectors = 2,
                                      .setfromoptions = SGDSetFromOptions,
                                      .setup = SGDSetUp,
                                      .step = SGDStep,
                                      .view = SGDView,
                                      .destroy = SGDDestroy,
                                      .keep = SGDKeep,
                                      .getmomentum = SGDGetMomentum};

/* gd: the same with all samples in every update. */
const CkDynamicsType CkDynamicsGD = {.name = "gd",
                                     .keys = "momentum nesterov l2 mode",
                                     .sampling = CK_SAMPLING_WHOLE,
                                     .vectors = 2,
                                     .setfromoptions = SGDSetFromOptions,
                                     .setup = SGDSetUp,
                                     .step = SGDStep,
                                     .view = SGDView,
                                     .destroy = SGDDestroy,
                                     .keep = SGDKeep};
