#include "zoo.h"

/* Stems of layer names, those of most PyTorch programs. */
static const char *const stems[CK_LAYER_COUNT] = {
  [CK_LAYER_DENSE] = "fc",          [CK_LAYER_CONV] = "conv",       [CK_LAYER_BATCHNORM] = "bn",
  [CK_LAYER_RELU] = "relu",         [CK_LAYER_TANH] = "tanh",       [CK_LAYER_SIGMOID] = "sigmoid",
  [CK_LAYER_SOFTPLUS] = "softplus", [CK_LAYER_MAXPOOL] = "pool",    [CK_LAYER_AVGPOOL] = "avgpool",
  [CK_LAYER_DROPOUT] = "dropout",   [CK_LAYER_FLATTEN] = "flatten",
};

static PetscErrorCode Append(CkChain *chain, CkLayerType type, const CkLayerAttributes *a)
{
  char name[64];

  PetscFunctionBeginUser;
  PetscCheck(stems[type], PETSC_COMM_SELF, PETSC_ERR_PLIB, "No layer of type %s in a chain", CkLayerTypeName(type));
  PetscCall(PetscSNPrintf(name, sizeof(name), "%s%" PetscInt_FMT, stems[type], ++chain->counts[type]));
  PetscCall(CkNetAddLayer(chain->net, type, name, 1, &chain->last, a, &chain->last));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkChainBegin(CkChain *chain, CkNet net, CkShape input)
{
  PetscFunctionBeginUser;
  PetscCall(PetscMemzero(chain, sizeof(*chain)));
  chain->net = net;
  PetscCall(CkNetAddInput(net, input));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkChainDense(CkChain *chain, PetscInt units, PetscBool bias)
{
  const CkLayerAttributes a = {.units = units, .bias = bias};
  const CkShape           shape = chain->net->layers[chain->last].out;

  PetscFunctionBeginUser;
  if (shape.h != 1 || shape.w != 1) PetscCall(Append(chain, CK_LAYER_FLATTEN, NULL));
  PetscCall(Append(chain, CK_LAYER_DENSE, &a));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkChainConv(CkChain *chain, PetscInt units, PetscInt kernel, PetscInt stride, PetscInt padding)
{
  const CkLayerAttributes a = {.units = units,
                               .kernel = {kernel, kernel},
                               .stride = {stride, stride},
                               .padding = {padding, padding},
                               .bias = PETSC_TRUE};

  PetscFunctionBeginUser;
  PetscCall(Append(chain, CK_LAYER_CONV, &a));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkChainPool(CkChain *chain, CkLayerType type, PetscInt kernel)
{
  const CkLayerAttributes a = {.kernel = {kernel, kernel}, .stride = {kernel, kernel}};

  PetscFunctionBeginUser;
  PetscCall(Append(chain, type, &a));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkChainBatchNorm(CkChain *chain)
{
  const CkLayerAttributes a = {.epsilon = CK_BATCHNORM_EPSILON};

  PetscFunctionBeginUser;
  PetscCall(Append(chain, CK_LAYER_BATCHNORM, &a));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkChainActivation(CkChain *chain, CkLayerType type)
{
  PetscFunctionBeginUser;
  PetscCall(Append(chain, type, NULL));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkChainDropout(CkChain *chain, double rate)
{
  const CkLayerAttributes a = {.rate = rate};

  PetscFunctionBeginUser;
  if (rate > 0) PetscCall(Append(chain, CK_LAYER_DROPOUT, &a));
  PetscFunctionReturn(PETSC_SUCCESS);
}
