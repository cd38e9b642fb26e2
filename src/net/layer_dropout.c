#include "netimpl.h"

/* Training mode: each number is 0 with probability `rate`, else divided by 1 - rate. Evaluation mode: identity. */
static void Shape(CkNet net, CkLayer *layer, const CkShape inputs[], CkVerdict *verdict)
{
  if (!(layer->a.rate >= 0 && layer->a.rate < 1))
    CkLayerFail(net, layer, verdict, "needs a rate in [0, 1), got %g", layer->a.rate);
  layer->out = inputs[0];
}

static double Flops(const CkLayer *layer)
{
  (void)layer;
  return 0; /* identity in evaluation mode */
}

const CkLayerKind CkLayerKindDropout = {
  .type = CK_LAYER_DROPOUT, .name = "dropout", .min_inputs = 1, .max_inputs = 1, .shape = Shape, .flops = Flops};
