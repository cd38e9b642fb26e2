#include "netimpl.h"

/* Max and average pooling over windows, and the average over the whole image. An average window counts the zeros of its
   padding (PyTorch's default); a max window does not see them. */
static void ShapeWindow(CkNet net, CkLayer *layer, const CkShape inputs[], CkVerdict *verdict)
{
  for (int i = 0; i < 2; ++i) {
    const PetscInt behind = layer->a.padding[i] + layer->a.trailing[i];

    if (layer->a.padding[i] > layer->a.kernel[i] / 2 || behind >= PetscMax(layer->a.kernel[i], 1))
      CkLayerFail(net, layer, verdict,
                  "needs a padding of at most half its kernel (%" PetscInt_FMT
                  ") before and less than the kernel behind, so that no window lies in the padding alone, got "
                  "%" PetscInt_FMT " and %" PetscInt_FMT,
                  layer->a.kernel[i], layer->a.padding[i], behind);
  }
  layer->out.c = inputs[0].c;
  CkLayerWindow(net, layer, verdict);
}

static double FlopsWindow(const CkLayer *layer)
{
  return (double)layer->a.kernel[0] * (double)layer->a.kernel[1] * (double)CkShapeSize(layer->out);
}

static void ShapeGlobal(CkNet net, CkLayer *layer, const CkShape inputs[], CkVerdict *verdict)
{
  (void)net;
  (void)verdict;
  layer->out = (CkShape){inputs[0].c, 1, 1};
}

static double FlopsGlobal(const CkLayer *layer)
{
  return (double)CkShapeSize(layer->in);
}

const CkLayerKind CkLayerKindMaxPool = {.type = CK_LAYER_MAXPOOL,
                                        .name = "maxpool",
                                        .min_inputs = 1,
                                        .max_inputs = 1,
                                        .shape = ShapeWindow,
                                        .flops = FlopsWindow};
const CkLayerKind CkLayerKindAvgPool = {.type = CK_LAYER_AVGPOOL,
                                        .name = "avgpool",
                                        .min_inputs = 1,
                                        .max_inputs = 1,
                                        .shape = ShapeWindow,
                                        .flops = FlopsWindow};
const CkLayerKind CkLayerKindGlobalAvgPool = {.type = CK_LAYER_GLOBALAVGPOOL,
                                              .name = "globalavgpool",
                                              .min_inputs = 1,
                                              .max_inputs = 1,
                                              .shape = ShapeGlobal,
                                              .flops = FlopsGlobal};
