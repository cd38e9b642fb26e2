#include "netimpl.h"

/* Convolution (cross-correlation, as everywhere in deep learning) with zero padding: W [units, channels, kh, kw]. */
static void Shape(CkNet net, CkLayer *layer, const CkShape inputs[], CkVerdict *verdict)
{
  (void)inputs;
  if (layer->a.units < 1)
    CkLayerFail(net, layer, verdict, "needs at least 1 output channel, got %" PetscInt_FMT, layer->a.units);
  layer->out.c = layer->a.units;
  CkLayerWindow(net, layer, verdict);
}

static PetscErrorCode Parameters(CkNet net, PetscInt number)
{
  const CkLayer  *layer = &net->layers[number];
  const PetscInt  units = layer->a.units, shape[] = {units, layer->in.c, layer->a.kernel[0], layer->a.kernel[1]};
  const PetscBool bias = layer->a.bias;

  PetscFunctionBeginUser;
  PetscCall(CkNetAddParameter(net, number, CK_ROLE_WEIGHT, 4, shape));
  if (bias) PetscCall(CkNetAddParameter(net, number, CK_ROLE_BIAS, 1, &units));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static double Flops(const CkLayer *layer)
{
  const double window = (double)layer->a.kernel[0] * (double)layer->a.kernel[1] * (double)layer->in.c;

  return 2 * window * (double)layer->out.c * (double)layer->out.h * (double)layer->out.w;
}

const CkLayerKind CkLayerKindConv = {.type = CK_LAYER_CONV,
                                     .name = "conv",
                                     .min_inputs = 1,
                                     .max_inputs = 1,
                                     .shape = Shape,
                                     .parameters = Parameters,
                                     .flops = Flops};
