#include "zoo.h"

/* 26,982 weights for 3 x 32 x 32 and 10 classes: eight 3x3 convolutions of padding 1 (the third and the sixth of stride
   2) and a 1x1 convolution to the classes, each with batch norm and ReLU; average pool 8. Dropout, where chosen,
   follows the two convolutions of stride 2. */
static PetscErrorCode Build(CkNet net, CkShape input, PetscInt classes, const CkZooChoices *c)
{
  static const PetscInt channels[8] = {12, 12, 12, 24, 24, 24, 24, 24}, stride[8] = {1, 1, 2, 1, 1, 2, 1, 1};
  CkChain               chain;

  PetscFunctionBeginUser;
  net->made_for = (CkShape){3, 32, 32};
  PetscCall(CkChainBegin(&chain, net, input));
  for (int i = 0; i < 8; ++i) {
    PetscCall(CkChainConv(&chain, channels[i], 3, stride[i], 1));
    PetscCall(CkChainBatchNorm(&chain));
    PetscCall(CkChainActivation(&chain, CK_LAYER_RELU));
    if (stride[i] == 2) PetscCall(CkChainDropout(&chain, c->dropout));
  }
  PetscCall(CkChainConv(&chain, classes, 1, 1, 0));
  PetscCall(CkChainBatchNorm(&chain));
  PetscCall(CkChainActivation(&chain, CK_LAYER_RELU));
  PetscCall(CkChainPool(&chain, CK_LAYER_AVGPOOL, 8));
  PetscFunctionReturn(PETSC_SUCCESS);
}

const CkZooEntry CkZooSmallAllcnn = {"small-allcnn", CK_ZOO_DROPOUT, Build};
