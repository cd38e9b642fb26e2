#include "zoo.h"

/* LeNets for 1 x 28 x 28: two blocks of 5x5 convolution, batch norm, ReLU, max pool; then a hidden dense layer, if
   there is one. Dropout, where chosen, ends each of them. For 10 classes lenet has 132,220 weights, small-lenet 13,338,
   tiny-lenet 1,266. */
typedef struct {
  PetscInt channels[2], hidden;
} Widths;

static PetscErrorCode BuildWidths(CkNet net, CkShape input, PetscInt classes, const Widths *w, double dropout)
{
  static const PetscInt pool[2] = {3, 2};
  CkChain               chain;

  PetscFunctionBeginUser;
  net->made_for = (CkShape){1, 28, 28};
  PetscCall(CkChainBegin(&chain, net, input));
  for (int i = 0; i < 2; ++i) {
    PetscCall(CkChainConv(&chain, w->channels[i], 5, 1, 0));
    PetscCall(CkChainBatchNorm(&chain));
    PetscCall(CkChainActivation(&chain, CK_LAYER_RELU));
    PetscCall(CkChainPool(&chain, CK_LAYER_MAXPOOL, pool[i]));
    PetscCall(CkChainDropout(&chain, dropout));
  }
  if (w->hidden) {
    PetscCall(CkChainDense(&chain, w->hidden, PETSC_TRUE));
    PetscCall(CkChainBatchNorm(&chain));
    PetscCall(CkChainActivation(&chain, CK_LAYER_RELU));
    PetscCall(CkChainDropout(&chain, dropout));
  }
  PetscCall(CkChainDense(&chain, classes, PETSC_TRUE));
  PetscFunctionReturn(PETSC_SUCCESS);
}

#define LENET(Symbol, text, ...)                                                                                       \
  static PetscErrorCode Build##Symbol(CkNet net, CkShape input, PetscInt classes, const CkZooChoices *c)               \
  {                                                                                                                    \
    static const Widths widths = __VA_ARGS__;                                                                          \
                                                                                                                       \
    PetscFunctionBeginUser;                                                                                            \
    PetscCall(BuildWidths(net, input, classes, &widths, c->dropout));                                                  \
    PetscFunctionReturn(PETSC_SUCCESS);                                                                                \
  }                                                                                                                    \
  const CkZooEntry CkZoo##Symbol = {text, CK_ZOO_DROPOUT, Build##Symbol};

LENET(Lenet, "lenet", {{20, 50}, 500})
LENET(SmallLenet, "small-lenet", {{8, 16}, 128})
LENET(TinyLenet, "tiny-lenet", {{4, 8}, 0})
