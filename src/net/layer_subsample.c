#include "netimpl.h"

/* The identity shortcut between stages of a residual net (its "option A"): every stride-th row and column from the
   first on, in the middle of `units` channels, the others zero: floor((units - channels)/2) of them come before. */
static void Shape(CkNet net, CkLayer *layer, const CkShape inputs[], CkVerdict *verdict)
{
  const CkLayerAttributes *a = &layer->a;

  if (a->stride[0] < 1 || a->stride[1] < 1) {
    CkLayerFail(net, layer, verdict, "needs strides of at least 1, got %" PetscInt_FMT " and %" PetscInt_FMT,
                a->stride[0], a->stride[1]);
    return;
  }
  if (a->units < inputs[0].c)
    CkLayerFail(net, layer, verdict,
                "needs at least as many output channels as it has inputs, %" PetscInt_FMT ", got %" PetscInt_FMT,
                inputs[0].c, a->units);
  layer->out.c = a->units;
  layer->out.h = (inputs[0].h - 1) / a->stride[0] + 1;
  layer->out.w = (inputs[0].w - 1) / a->stride[1] + 1;
}

static double Flops(const CkLayer *layer)
{
  (void)layer;
  return 0;
}

const CkLayerKind CkLayerKindSubsample = {
  .type = CK_LAYER_SUBSAMPLE, .name = "subsample", .min_inputs = 1, .max_inputs = 1, .shape = Shape, .flops = Flops};
