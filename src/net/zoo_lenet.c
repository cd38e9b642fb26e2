#include "zoo.h"

/* 13,338 weights for 1 x 28 x 28 and 10 classes: two blocks of 5x5 convolution, batch norm, ReLU, max pool; then a
   hidden dense layer of 128. Dropout, where chosen, ends each of the three. */
static PetscErrorCode Build(CkNet net, CkShape input, PetscInt classes, const CkZooChoices *c)
{
  static const PetscInt channels[2] = {8, 16}, pool[2] = {3, 2};
  CkChain               chain;

  PetscFunctionBeginUser;
  net->made_for = (CkShape){1, 28, 28};
  PetscCall(CkChainBegin(&chain, net, input));
  for (int i = 0; i < 2; ++i) {
    PetscCall(CkChainConv(&chain, channels[i], 5, 1, 0));
    PetscCall(CkChainBatchNorm(&chain));
    PetscCall(CkChainActivation(&chain, CK_LAYER_RELU));
    PetscCall(CkChainPool(&chain, CK_LAYER_MAXPOOL, pool[i]));
    PetscCall(CkChainDropout(&chain, c->dropout));
  }
  PetscCall(CkChainDense(&chain, 128, PETSC_TRUE));
  PetscCall(CkChainBatchNorm(&chain));
  PetscCall(CkChainActivation(&chain, CK_LAYER_RELU));
  PetscCall(CkChainDropout(&chain, c->dropout));
  PetscCall(CkChainDense(&chain, classes, PETSC_TRUE));
  PetscFunctionReturn(PETSC_SUCCESS);
}

const CkZooEntry CkZooSmallLenet = {"small-lenet", CK_ZOO_DROPOUT, Build};
