#include "netimpl.h"

/* [c, h, w] to [c h w, 1, 1]; the numbers stay in C,H,W order. */
static void Shape(CkNet net, CkLayer *layer, const CkShape inputs[], CkVerdict *verdict)
{
  (void)net;
  (void)verdict;
  layer->out = (CkShape){CkShapeSize(inputs[0]), 1, 1};
}

static double Flops(const CkLayer *layer)
{
  (void)layer;
  return 0;
}

const CkLayerKind CkLayerKindFlatten = {
  .type = CK_LAYER_FLATTEN, .name = "flatten", .min_inputs = 1, .max_inputs = 1, .shape = Shape, .flops = Flops};
