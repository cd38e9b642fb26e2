#include "netimpl.h"

/* y = gamma (a - mean)/sqrt(variance + epsilon) + beta, one of each a channel; mean and variance are buffers. */
static void Shape(CkNet net, CkLayer *layer, const CkShape inputs[], CkVerdict *verdict)
{
  if (!(layer->a.epsilon > 0)) CkLayerFail(net, layer, verdict, "needs epsilon > 0, got %g", layer->a.epsilon);
  layer->out = inputs[0];
}

static PetscErrorCode Parameters(CkNet net, PetscInt number)
{
  const PetscInt channels = net->layers[number].in.c;

  PetscFunctionBeginUser;
  PetscCall(CkNetAddParameter(net, number, CK_ROLE_SCALE, 1, &channels));
  PetscCall(CkNetAddParameter(net, number, CK_ROLE_SHIFT, 1, &channels));
  PetscCall(CkNetAddParameter(net, number, CK_ROLE_MEAN, 1, &channels));
  PetscCall(CkNetAddParameter(net, number, CK_ROLE_VARIANCE, 1, &channels));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static double Flops(const CkLayer *layer)
{
  return 2.0 * (double)CkShapeSize(layer->out); /* one multiplication and one addition a number */
}

const CkLayerKind CkLayerKindBatchNorm = {.type = CK_LAYER_BATCHNORM,
                                          .name = "batchnorm",
                                          .min_inputs = 1,
                                          .max_inputs = 1,
                                          .shape = Shape,
                                          .parameters = Parameters,
                                          .flops = Flops};
