#include "reference.h"

static const ReferenceKind *const kinds[] = {
  &ReferenceDense,   &ReferenceConv,     &ReferenceBatchNorm, &ReferenceRelu,    &ReferenceTanh,
  &ReferenceSigmoid, &ReferenceSoftplus, &ReferenceMaxPool,   &ReferenceAvgPool, &ReferenceGlobalAvgPool,
  &ReferenceDropout, &ReferenceFlatten,  &ReferenceAdd,       &ReferenceConcat,  &ReferenceSubsample,
};

PetscErrorCode ReferenceKindGet(CkLayerType type, const ReferenceKind **kind)
{
  PetscFunctionBeginUser;
  *kind = NULL;
  for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); ++i)
    if (kinds[i]->type == type) *kind = kinds[i];
  PetscCheck(*kind, PETSC_COMM_SELF, PETSC_ERR_SUP, "The reference engine knows no %s layer", CkLayerTypeName(type));
  PetscFunctionReturn(PETSC_SUCCESS);
}
