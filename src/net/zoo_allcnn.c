#include "zoo.h"

/* 1,667,166 weights (small-allcnn: 26,982) for 3 x 32 x 32 and 10 classes: eight 3x3 convolutions of padding 1 (the
   third and the sixth of stride 2) and a 1x1 convolution to the classes, each with batch norm and ReLU; average pool 8.
   Dropout, where chosen, follows the two convolutions of stride 2. */
static PetscErrorCode BuildWidth(CkNet net, CkShape input, PetscInt classes, PetscInt width, double dropout)
{
  static const PetscInt stride[8] = {1, 1, 2, 1, 1, 2, 1, 1};
  CkChain               chain;

  PetscFunctionBeginUser;
  net->made_for = (CkShape){3, 32, 32};
  PetscCall(CkChainBegin(&chain, net, input));
  for (int i = 0; i < 8; ++i) {
    PetscCall(CkChainConv(&chain, i < 3 ? width : 2 * width, 3, stride[i], 1));
    PetscCall(CkChainBatchNorm(&chain));
    PetscCall(CkChainActivation(&chain, CK_LAYER_RELU));
    if (stride[i] == 2) PetscCall(CkChainDropout(&chain, dropout));
  }
  PetscCall(CkChainConv(&chain, classes, 1, 1, 0));
  PetscCall(CkChainBatchNorm(&chain));
  PetscCall(CkChainActivation(&chain, CK_LAYER_RELU));
  PetscCall(CkChainPool(&chain, CK_LAYER_AVGPOOL, 8));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Build(CkNet net, CkShape input, PetscInt classes, const CkZooChoices *c)
{
  PetscFunctionBeginUser;
  PetscCall(BuildWidth(net, input, classes, 96, c->dropout));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode BuildSmall(CkNet net, CkShape input, PetscInt classes, const CkZooChoices *c)
{
  PetscFunctionBeginUser;
  PetscCall(BuildWidth(net, input, classes, 12, c->dropout));
  PetscFunctionReturn(PETSC_SUCCESS);
}

const CkZooEntry CkZooAllcnn = {"allcnn", CK_ZOO_DROPOUT, Build};
const CkZooEntry CkZooSmallAllcnn = {"small-allcnn", CK_ZOO_DROPOUT, BuildSmall};
