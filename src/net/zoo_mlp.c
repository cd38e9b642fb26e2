#include "zoo.h"

/* Fully connected: for each width dense, batch norm (if chosen), activation, dropout; then dense to the classes. */
static PetscErrorCode Build(CkNet net, CkShape input, PetscInt classes, const CkZooChoices *c)
{
  CkChain chain;

  PetscFunctionBeginUser;
  PetscCall(CkChainBegin(&chain, net, input));
  for (PetscInt i = 0; i < c->nwidths; ++i) {
    PetscCall(CkChainDense(&chain, c->widths[i], c->bias));
    if (c->batchnorm) PetscCall(CkChainBatchNorm(&chain));
    PetscCall(CkChainActivation(&chain, c->activation));
    PetscCall(CkChainDropout(&chain, c->dropout));
  }
  PetscCall(CkChainDense(&chain, classes, c->bias));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode BuildLogistic(CkNet net, CkShape input, PetscInt classes, const CkZooChoices *c)
{
  const CkZooChoices none = {.bias = c->bias};

  PetscFunctionBeginUser;
  PetscCall(Build(net, input, classes, &none));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* One hidden layer of `width` with batch norm and ReLU. */
static PetscErrorCode BuildHidden(CkNet net, CkShape input, PetscInt classes, PetscInt width, double dropout)
{
  const CkZooChoices one = {.nwidths = 1,
                            .widths = {width},
                            .activation = CK_LAYER_RELU,
                            .batchnorm = PETSC_TRUE,
                            .bias = PETSC_TRUE,
                            .dropout = dropout};

  PetscFunctionBeginUser;
  PetscCall(Build(net, input, classes, &one));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* 3,978 weights for 49 inputs and 10 classes. */
static PetscErrorCode BuildSmallFc(CkNet net, CkShape input, PetscInt classes, const CkZooChoices *c)
{
  PetscFunctionBeginUser;
  PetscCall(BuildHidden(net, input, classes, 64, c->dropout));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* 917 weights for 49 inputs and 5 classes. */
static PetscErrorCode BuildTinyFc(CkNet net, CkShape input, PetscInt classes, const CkZooChoices *c)
{
  PetscFunctionBeginUser;
  PetscCall(BuildHidden(net, input, classes, 16, c->dropout));
  PetscFunctionReturn(PETSC_SUCCESS);
}

const CkZooEntry CkZooMlp = {"mlp", CK_ZOO_WIDTHS | CK_ZOO_ACTIVATION | CK_ZOO_BATCHNORM | CK_ZOO_BIAS | CK_ZOO_DROPOUT,
                             Build};
const CkZooEntry CkZooLogistic = {"logistic", CK_ZOO_BIAS, BuildLogistic};
const CkZooEntry CkZooSmallFc = {"small-fc", CK_ZOO_DROPOUT, BuildSmallFc};
const CkZooEntry CkZooTinyFc = {"tiny-fc", CK_ZOO_DROPOUT, BuildTinyFc};
