#include "netimpl.h"

/* Sum of inputs of one shape; concatenation along the channels of inputs of one height and width. */
static void ShapeAdd(CkNet net, CkLayer *layer, const CkShape inputs[], CkVerdict *verdict)
{
  for (PetscInt i = 1; i < layer->ninputs; ++i)
    if (inputs[i].c != inputs[0].c || inputs[i].h != inputs[0].h || inputs[i].w != inputs[0].w)
      CkLayerFail(net, layer, verdict,
                  "needs inputs of one shape, got %" PetscInt_FMT " x %" PetscInt_FMT " x %" PetscInt_FMT
                  " and %" PetscInt_FMT " x %" PetscInt_FMT " x %" PetscInt_FMT,
                  inputs[0].c, inputs[0].h, inputs[0].w, inputs[i].c, inputs[i].h, inputs[i].w);
  layer->out = inputs[0];
}

static double FlopsAdd(const CkLayer *layer)
{
  return (double)(layer->ninputs - 1) * (double)CkShapeSize(layer->out);
}

static void ShapeConcat(CkNet net, CkLayer *layer, const CkShape inputs[], CkVerdict *verdict)
{
  PetscInt64 channels = 0;

  for (PetscInt i = 0; i < layer->ninputs; ++i) {
    if (inputs[i].h != inputs[0].h || inputs[i].w != inputs[0].w)
      CkLayerFail(net, layer, verdict,
                  "needs inputs of one height and width, got %" PetscInt_FMT " x %" PetscInt_FMT " and %" PetscInt_FMT
                  " x %" PetscInt_FMT,
                  inputs[0].h, inputs[0].w, inputs[i].h, inputs[i].w);
    channels += inputs[i].c;
  }
  if (channels > PETSC_MAX_INT)
    CkLayerFail(net, layer, verdict, "needs at most %" PetscInt_FMT " channels, got %" PetscInt64_FMT, PETSC_MAX_INT,
                channels);
  else layer->out = (CkShape){(PetscInt)channels, inputs[0].h, inputs[0].w};
}

static double FlopsConcat(const CkLayer *layer)
{
  (void)layer;
  return 0;
}

const CkLayerKind CkLayerKindAdd = {.type = CK_LAYER_ADD,
                                    .name = "add",
                                    .min_inputs = 2,
                                    .max_inputs = CK_MAX_INPUTS,
                                    .shape = ShapeAdd,
                                    .flops = FlopsAdd};
const CkLayerKind CkLayerKindConcat = {.type = CK_LAYER_CONCAT,
                                       .name = "concat",
                                       .min_inputs = 2,
                                       .max_inputs = CK_MAX_INPUTS,
                                       .shape = ShapeConcat,
                                       .flops = FlopsConcat};
