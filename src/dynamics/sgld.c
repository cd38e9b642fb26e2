/* sgld.c: gradient descent with isotropic noise of a given temperature; docs/theory.md, eq. (N.5). */
#include "dynamicsimpl.h"
#include <clarkia/error.h>
#include <clarkia/options.h>
#include <clarkia/random.h>
#include <math.h>
#include <stdio.h>

typedef struct {
  PetscReal temperature, l2;
  Vec       g;
} SGLD;

static PetscErrorCode SGLDSetFromOptions(CkDynamics dynamics)
{
  SGLD     *p;
  PetscBool given;

  PetscFunctionBeginUser;
  PetscCall(PetscNew(&p));
  dynamics->data = p;
  PetscCall(CkOptionsGetReal("dynamics_l2", &p->l2, NULL));
  PetscCall(CkOptionsGetReal("dynamics_temperature", &p->temperature, &given));
  CkCheckAll(dynamics->comm, given, PETSC_ERR_ARG_INCOMP,
             "-dynamics_type sgld needs -dynamics_temperature, half the variance of the noise per unit of time: the "
             "scale of SGD's own is rate tr(D)/(2 batch d)");
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode SGLDSetUp(CkDynamics dynamics)
{
  SGLD *p = (SGLD *)dynamics->data;

  PetscFunctionBeginUser;
  PetscCall(VecDuplicate(dynamics->x, &p->g));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode SGLDStep(CkDynamics dynamics, const CkBatch *batch, CkUpdate *update)
{
  const SGLD        *p = (const SGLD *)dynamics->data;
  const double       rate = dynamics->rate, noise = sqrt(2 * rate * p->temperature);
  const PetscScalar *g;
  PetscScalar       *x;
  PetscInt           first, last;
  double            *z;
  const CkRandom     stream = {.seed = dynamics->seed,
                               .purpose = CK_RANDOM_NOISE,
                               .replica = (uint32_t)dynamics->replica,
                               .step = (uint64_t)dynamics->step};

  PetscFunctionBeginUser;
  PetscCall(CkLossGradient(dynamics->loss, batch, NULL, p->g, &update->mean, &update->correct));
  PetscCall(VecGetOwnershipRange(dynamics->x, &first, &last));
  PetscCall(PetscMalloc1(last - first, &z));
  CkRandomNormals(&stream, (uint64_t)first, (size_t)(last - first), z);
  PetscCall(VecGetArrayRead(p->g, &g));
  PetscCall(VecGetArray(dynamics->x, &x));
  for (PetscInt i = 0; i < last - first; ++i) x[i] += noise * z[i] - rate * (g[i] + p->l2 * x[i]);
  PetscCall(VecRestoreArray(dynamics->x, &x));
  PetscCall(VecRestoreArrayRead(p->g, &g));
  PetscCall(PetscFree(z));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode SGLDView(CkDynamics dynamics, char text[], size_t length)
{
  const SGLD *p = (const SGLD *)dynamics->data;

  PetscFunctionBeginUser;
  snprintf(text, length, "temperature %g, l2 %g", (double)p->temperature, (double)p->l2);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode SGLDDestroy(CkDynamics dynamics)
{
  SGLD *p = (SGLD *)dynamics->data;

  PetscFunctionBeginUser;
  if (!p) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(VecDestroy(&p->g));
  PetscCall(PetscFree(dynamics->data));
  PetscFunctionReturn(PETSC_SUCCESS);
}

const CkDynamicsType CkDynamicsSGLD = {.name = "sgld",
                                       .keys = "batch replacement shuffle temperature l2 mode",
                                       .sampling = CK_SAMPLING_DRAWN,
                                       .vectors = 1,
                                       .setfromoptions = SGLDSetFromOptions,
                                       .setup = SGLDSetUp,
                                       .step = SGLDStep,
                                       .view = SGLDView,
                                       .destroy = SGLDDestroy};
