#include "netimpl.h"

/* y = W a + b on flat vectors: W [units, inputs]. */
static void Shape(CkNet net, CkLayer *layer, const CkShape inputs[], CkVerdict *verdict)
{
  if (layer->a.units < 1)
    CkLayerFail(net, layer, verdict, "needs at least 1 output, got %" PetscInt_FMT, layer->a.units);
  if (inputs[0].h != 1 || inputs[0].w != 1)
    CkLayerFail(net, layer, verdict,
                "needs a flat input (add a flatten layer before it), got %" PetscInt_FMT " x %" PetscInt_FMT
                " x %" PetscInt_FMT,
                inputs[0].c, inputs[0].h, inputs[0].w);
  layer->out = (CkShape){layer->a.units, 1, 1};
}

static PetscErrorCode Parameters(CkNet net, PetscInt number)
{
  const CkLayer  *layer = &net->layers[number];
  const PetscInt  units = layer->a.units, shape[] = {units, layer->in.c};
  const PetscBool bias = layer->a.bias;

  PetscFunctionBeginUser;
  PetscCall(CkNetAddParameter(net, number, CK_ROLE_WEIGHT, 2, shape));
  if (bias) PetscCall(CkNetAddParameter(net, number, CK_ROLE_BIAS, 1, &units));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static double Flops(const CkLayer *layer)
{
  return 2.0 * (double)layer->in.c * (double)layer->out.c;
}

const CkLayerKind CkLayerKindDense = {.type = CK_LAYER_DENSE,
                                      .name = "dense",
                                      .min_inputs = 1,
                                      .max_inputs = 1,
                                      .shape = Shape,
                                      .parameters = Parameters,
                                      .flops = Flops};
