/* parle.c: replicas that descend on the local entropy and pull each other (Chaudhari et al., arXiv:1707.00424);
   docs/theory.md, eqs. (Y.5), (Y.6). */
#include "localentropy.h"
#include <clarkia/error.h>
#include <clarkia/options.h>

static PetscErrorCode ParleSetFromOptions(CkDynamics dynamics)
{
  PetscFunctionBeginUser;
  PetscCall(CkLocalEntropySetFromOptions(dynamics));
  PetscCall(CkOptionsGetReal("dynamics_elasticity", &((CkLocalEntropy *)dynamics->data)->elasticity, NULL));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode ParleSetUp(CkDynamics dynamics)
{
  const CkLocalEntropy *p = (const CkLocalEntropy *)dynamics->data;
  const PetscInt        rounds = dynamics->updates * dynamics->epochs / p->inner;
  const double          rho = CkLocalEntropyGrow(dynamics, p->elasticity, rounds, CK_MOST_ELASTICITY);

  PetscFunctionBeginUser;
  CkCheckAll(dynamics->comm, p->outer_rate * rho <= 2, PETSC_ERR_ARG_OUTOFRANGE,
             "an elasticity of %g (at the end of the run) times -dynamics_outer_rate %g is more than 2: the replicas "
             "would overshoot their mean; lower -dynamics_outer_rate, -dynamics_elasticity or -dynamics_scoping",
             rho, p->outer_rate);
  PetscCall(CkLocalEntropySetUp(dynamics));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscBool ParleMeets(CkDynamics dynamics)
{
  return (PetscBool)(dynamics->step % ((const CkLocalEntropy *)dynamics->data)->inner == 0);
}

const CkDynamicsType CkDynamicsParle = {.name = "parle",
                                        .keys = CK_LOCAL_ENTROPY_KEYS " elasticity",
                                        .sampling = CK_SAMPLING_DRAWN,
                                        .vectors = 5,
                                        .setfromoptions = ParleSetFromOptions,
                                        .setup = ParleSetUp,
                                        .step = CkLocalEntropyStep,
                                        .view = CkLocalEntropyView,
                                        .destroy = CkLocalEntropyDestroy,
                                        .keep = CkLocalEntropyKeep,
                                        .meets = ParleMeets};
