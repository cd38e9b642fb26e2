/* elastic_sgd.c: SGD of replicas that pull each other (Zhang, Choromanska, LeCun, arXiv:1412.6651); docs/theory.md,
   eq. (Y.7). */
#include "dynamicsimpl.h"
#include "momentum.h"
#include <clarkia/error.h>
#include <clarkia/options.h>
#include <stdio.h>
#include <string.h>

typedef struct {
  CkMomentum momentum;
  double     elasticity;
  Vec        g, v, pull;
} Elastic;

static PetscErrorCode ElasticSetFromOptions(CkDynamics dynamics)
{
  Elastic *p;

  PetscFunctionBeginUser;
  PetscCall(PetscNew(&p));
  dynamics->data = p;
  PetscCall(CkMomentumSetFromOptions(dynamics->comm, &p->momentum));
  PetscCall(CkOptionsGetReal("dynamics_elasticity", &p->elasticity, NULL));
  CkCheckAll(dynamics->comm, p->elasticity <= 2, PETSC_ERR_ARG_OUTOFRANGE,
             "-dynamics_elasticity %g is more than 2: the replicas would overshoot their mean", p->elasticity);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode ElasticSetUp(CkDynamics dynamics)
{
  Elastic *p = (Elastic *)dynamics->data;

  PetscFunctionBeginUser;
  PetscCall(VecDuplicate(dynamics->x, &p->g));
  PetscCall(VecDuplicate(dynamics->x, &p->v));
  PetscCall(VecDuplicate(dynamics->x, &p->pull));
  PetscCall(VecZeroEntries(p->v));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* pull <- a (x - mean) */
static PetscErrorCode FindPull(double a, Vec x, Vec mean, Vec pull)
{
  const PetscScalar *point, *centre;
  PetscScalar       *to;
  PetscInt           n;

  PetscFunctionBeginUser;
  PetscCall(VecGetLocalSize(x, &n));
  PetscCall(VecGetArrayRead(x, &point));
  PetscCall(VecGetArrayRead(mean, &centre));
  PetscCall(VecGetArrayWrite(pull, &to));
  for (PetscInt i = 0; i < n; ++i) to[i] = a * (point[i] - centre[i]);
  PetscCall(VecRestoreArrayWrite(pull, &to));
  PetscCall(VecRestoreArrayRead(mean, &centre));
  PetscCall(VecRestoreArrayRead(x, &point));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Subtract(Vec pull, Vec x)
{
  const PetscScalar *from;
  PetscScalar       *to;
  PetscInt           n;

  PetscFunctionBeginUser;
  PetscCall(VecGetLocalSize(x, &n));
  PetscCall(VecGetArrayRead(pull, &from));
  PetscCall(VecGetArray(x, &to));
  for (PetscInt i = 0; i < n; ++i) to[i] -= from[i];
  PetscCall(VecRestoreArray(x, &to));
  PetscCall(VecRestoreArrayRead(pull, &from));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode ElasticStep(CkDynamics dynamics, const CkBatch *batch, CkUpdate *update)
{
  const Elastic *p = (const Elastic *)dynamics->data;

  PetscFunctionBeginUser;
  PetscCall(CkLossGradient(dynamics->loss, batch, NULL, p->g, &update->mean, &update->correct));
  PetscCall(FindPull(p->elasticity, dynamics->x, dynamics->consensus, p->pull));
  PetscCall(CkMomentumMove(&p->momentum, dynamics->rate, p->g, p->v, dynamics->x));
  PetscCall(Subtract(p->pull, dynamics->x));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode ElasticKeep(CkDynamics dynamics, CkKeeper keeper)
{
  PetscFunctionBeginUser;
  PetscCall(CkKeepVec(keeper, "velocity", ((const Elastic *)dynamics->data)->v));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscBool ElasticMeets(CkDynamics dynamics)
{
  (void)dynamics;
  return PETSC_TRUE;
}

static PetscErrorCode ElasticView(CkDynamics dynamics, char text[], size_t length)
{
  const Elastic *p = (const Elastic *)dynamics->data;

  PetscFunctionBeginUser;
  CkMomentumFormat(&p->momentum, text, length);
  snprintf(text + strlen(text), length - strlen(text), ", elasticity %g", p->elasticity);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode ElasticDestroy(CkDynamics dynamics)
{
  Elastic *p = (Elastic *)dynamics->data;

  PetscFunctionBeginUser;
  if (!p) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(VecDestroy(&p->g));
  PetscCall(VecDestroy(&p->v));
  PetscCall(VecDestroy(&p->pull));
  PetscCall(PetscFree(dynamics->data));
  PetscFunctionReturn(PETSC_SUCCESS);
}

const CkDynamicsType CkDynamicsElasticSGD = {.name = "elastic_sgd",
                                             .keys = "batch replacement shuffle momentum nesterov l2 mode elasticity",
                                             .sampling = CK_SAMPLING_DRAWN,
                                             .vectors = 3,
                                             .setfromoptions = ElasticSetFromOptions,
                                             .setup = ElasticSetUp,
                                             .step = ElasticStep,
                                             .view = ElasticView,
                                             .destroy = ElasticDestroy,
                                             .keep = ElasticKeep,
                                             .meets = ElasticMeets};
