#include "netimpl.h"

/* The input layer: its shape is given by CkNetAddInput() in layer->in. */
static void Shape(CkNet net, CkLayer *layer, const CkShape inputs[], CkVerdict *verdict)
{
  (void)inputs;
  if (layer->in.c < 1 || layer->in.h < 1 || layer->in.w < 1)
    CkLayerFail(net, layer, verdict,
                "needs at least one channel, row and column, got %" PetscInt_FMT " x %" PetscInt_FMT
                " x %" PetscInt_FMT,
                layer->in.c, layer->in.h, layer->in.w);
  layer->out = layer->in;
}

static double Flops(const CkLayer *layer)
{
  (void)layer;
  return 0;
}

const CkLayerKind CkLayerKindInput = {.type = CK_LAYER_INPUT, .name = "input", .shape = Shape, .flops = Flops};
