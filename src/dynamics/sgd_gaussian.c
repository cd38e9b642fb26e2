/* sgd_gaussian.c: SGD whose batch noise is replaced by Gaussian noise of the same covariance; theory, eq. (N.3). */
#include "dynamicsimpl.h"
#include "momentum.h"
#include <math.h>

typedef struct {
  CkMomentum momentum;
  Vec        g, v;
} Gaussian;

static PetscErrorCode GaussianSetFromOptions(CkDynamics dynamics)
{
  Gaussian *p;

  PetscFunctionBeginUser;
  PetscCall(PetscNew(&p));
  dynamics->data = p;
  PetscCall(CkMomentumSetFromOptions(dynamics->comm, &p->momentum));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode GaussianSetUp(CkDynamics dynamics)
{
  Gaussian *p = (Gaussian *)dynamics->data;

  PetscFunctionBeginUser;
  PetscCall(VecDuplicate(dynamics->x, &p->g));
  PetscCall(VecDuplicate(dynamics->x, &p->v));
  PetscCall(VecZeroEntries(p->v));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Covariance of the mean gradient of B samples, as a multiple of D: (D.5), (D.6). */
static double Share(const CkDynamics dynamics, PetscInt B)
{
  const double N = (double)dynamics->N, b = (double)B;

  if (dynamics->replacement) return 1 / b;
  return N > 1 ? (N - b) / (b * (N - 1)) : 0;
}

static PetscErrorCode GaussianStep(CkDynamics dynamics, const CkBatch *batch, CkUpdate *update)
{
  const Gaussian *p = (const Gaussian *)dynamics->data;

  PetscFunctionBeginUser;
  PetscCall(CkDynamicsNoisyGradient(dynamics, sqrt(Share(dynamics, batch->n)), p->g, update));
  PetscCall(CkMomentumMove(&p->momentum, dynamics->rate, p->g, p->v, dynamics->x));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode GaussianKeep(CkDynamics dynamics, CkKeeper keeper)
{
  PetscFunctionBeginUser;
  PetscCall(CkKeepVec(keeper, "velocity", ((const Gaussian *)dynamics->data)->v));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode GaussianView(CkDynamics dynamics, char text[], size_t length)
{
  const Gaussian *p = (const Gaussian *)dynamics->data;

  PetscFunctionBeginUser;
  CkMomentumFormat(&p->momentum, text, length);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode GaussianDestroy(CkDynamics dynamics)
{
  Gaussian *p = (Gaussian *)dynamics->data;

  PetscFunctionBeginUser;
  if (!p) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(VecDestroy(&p->g));
  PetscCall(VecDestroy(&p->v));
  PetscCall(PetscFree(dynamics->data));
  PetscFunctionReturn(PETSC_SUCCESS);
}

const CkDynamicsType CkDynamicsSGDGaussian = {.name = "sgd_gaussian",
                                              .keys = "batch replacement momentum nesterov l2",
                                              .sampling = CK_SAMPLING_COUNT,
                                              .evaluation = PETSC_TRUE,
                                              .vectors = 2,
                                              .setfromoptions = GaussianSetFromOptions,
                                              .setup = GaussianSetUp,
                                              .step = GaussianStep,
                                              .view = GaussianView,
                                              .destroy = GaussianDestroy,
                                              .keep = GaussianKeep};
