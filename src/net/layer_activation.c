#include "netimpl.h"

/* Element by element, output of the input's shape: the four kinds differ in name and in what engines compute. */
static void Shape(CkNet net, CkLayer *layer, const CkShape inputs[], CkVerdict *verdict)
{
  (void)net;
  (void)verdict;
  layer->out = inputs[0];
}

static double Flops(const CkLayer *layer)
{
  return (double)CkShapeSize(layer->out);
}

#define ACTIVATION(symbol, layer_type, text)                                                                           \
  const CkLayerKind symbol = {                                                                                         \
    .type = layer_type, .name = text, .min_inputs = 1, .max_inputs = 1, .shape = Shape, .flops = Flops}

ACTIVATION(CkLayerKindRelu, CK_LAYER_RELU, "relu");
ACTIVATION(CkLayerKindTanh, CK_LAYER_TANH, "tanh");
ACTIVATION(CkLayerKindSigmoid, CK_LAYER_SIGMOID, "sigmoid");
ACTIVATION(CkLayerKindSoftplus, CK_LAYER_SOFTPLUS, "softplus"); /* log(1 + e^a) */
