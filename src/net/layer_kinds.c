#include "netimpl.h"

static const CkLayerKind *const kinds[] = {
  &CkLayerKindInput,   &CkLayerKindDense,   &CkLayerKindConv,          &CkLayerKindBatchNorm,
  &CkLayerKindRelu,    &CkLayerKindTanh,    &CkLayerKindSigmoid,       &CkLayerKindSoftplus,
  &CkLayerKindMaxPool, &CkLayerKindAvgPool, &CkLayerKindGlobalAvgPool, &CkLayerKindDropout,
  &CkLayerKindFlatten, &CkLayerKindAdd,     &CkLayerKindConcat,        &CkLayerKindSubsample,
};

const CkLayerKind *CkLayerKindGet(CkLayerType type)
{
  for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); ++i)
    if (kinds[i]->type == type) return kinds[i];
  return NULL;
}

const char *CkLayerTypeName(CkLayerType type)
{
  const CkLayerKind *kind = CkLayerKindGet(type);

  return kind ? kind->name : "unknown";
}
