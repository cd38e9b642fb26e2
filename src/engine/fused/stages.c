/* stages.c: from a net's layers to the stages of fused training. */
#include "fusedimpl.h"
#include "onednn/lanes.h"
#include <stdio.h>

const CkFusedKernels *CkFusedKernelsGet(void)
{
#if defined(__x86_64__)
  const int lanes = CkLanesGet()->lanes;

  if (lanes == 16) return &CkFusedAVX512;
  if (lanes == 8) return &CkFusedAVX2;
#endif
  return &CkFusedPortable;
}

static size_t FillUp(size_t n, size_t lanes)
{
  return (n + lanes - 1) / lanes * lanes;
}

static void BeginStage(const CkLayer *layer, const CkParameter *parameters, size_t lanes, CkFusedStage *s)
{
  *s = (CkFusedStage){.in = (size_t)CkShapeSize(layer->in), .out = (size_t)layer->a.units, .bias = layer->a.bias};
  s->ldi = FillUp(s->in, lanes);
  s->ldo = FillUp(s->out, lanes);
  s->by_inputs = (PetscBool)(s->out * s->ldi < s->in * s->ldo);
  s->net_weight = parameters[layer->first_parameter].offset;
  if (s->bias) s->net_bias = parameters[layer->first_parameter + 1].offset;
}

static void AddNorm(const CkLayer *layer, const CkParameter *parameters, CkFusedStage *s)
{
  s->norm = PETSC_TRUE;
  s->epsilon = layer->a.epsilon;
  s->net_scale = parameters[layer->first_parameter].offset;
  s->net_shift = parameters[layer->first_parameter + 1].offset;
  s->net_mean = parameters[layer->first_buffer].offset;
  s->net_variance = parameters[layer->first_buffer + 1].offset;
}

/* Adds a layer to the chain; false: it does not fit there. */
static PetscBool TakeLayer(const CkLayer *layer, const CkParameter *parameters, size_t lanes, PetscInt *n,
                           CkFusedStage stages[])
{
  CkFusedStage *last = *n > 0 ? &stages[*n - 1] : NULL;

  switch (layer->type) {
  case CK_LAYER_INPUT:
  case CK_LAYER_FLATTEN:
    return PETSC_TRUE;
  case CK_LAYER_DENSE:
    BeginStage(layer, parameters, lanes, &stages[(*n)++]);
    return PETSC_TRUE;
  case CK_LAYER_BATCHNORM:
    if (!last || last->norm || last->relu) return PETSC_FALSE;
    AddNorm(layer, parameters, last);
    return PETSC_TRUE;
  case CK_LAYER_RELU:
    if (!last || last->relu) return PETSC_FALSE;
    last->relu = PETSC_TRUE;
    return PETSC_TRUE;
  default:
    return PETSC_FALSE;
  }
}

/* Where the parts of each stage stand in the state. */
static void LayOut(PetscInt n, CkFusedStage stages[])
{
  size_t at = 0;

  for (PetscInt i = 0; i < n; ++i) {
    CkFusedStage *s = &stages[i];

    s->weight = at;
    at += s->by_inputs ? s->out * s->ldi : s->in * s->ldo;
    s->bias_at = at;
    at += s->bias ? s->ldo : 0;
    s->scale = at;
    at += s->norm ? s->ldo : 0;
    s->shift = at;
    at += s->norm ? s->ldo : 0;
  }
}

PetscErrorCode CkFusedFindStages(CkNet net, size_t lanes, PetscInt *n, CkFusedStage **stages, char why[], size_t length)
{
  const CkLayer     *layers;
  const CkParameter *parameters;
  PetscInt           nlayers, nparameters;

  PetscFunctionBeginUser;
  PetscCall(CkNetGetLayers(net, &nlayers, &layers));
  PetscCall(CkNetGetParameters(net, &nparameters, &parameters));
  PetscCall(PetscCalloc1(nlayers, stages));
  *n = 0;
  for (PetscInt l = 0; l < nlayers; ++l) {
    const PetscBool chain = (PetscBool)(l == 0 || (layers[l].ninputs == 1 && layers[l].inputs[0] == l - 1));

    if (chain && TakeLayer(&layers[l], parameters, lanes, n, *stages)) continue;
    snprintf(why, length, "layer %s (%s) is not one of dense, batch norm, ReLU in this order", layers[l].name,
             CkLayerTypeName(layers[l].type));
    *n = 0;
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  if (*n == 0) snprintf(why, length, "it has no dense layer");
  LayOut(*n, *stages);
  PetscFunctionReturn(PETSC_SUCCESS);
}
