/* loss_types.c: the types of loss, one line each. */
#include "lossimpl.h"
#include <string.h>

static const CkLossType *const types[] = {
  &CkLossNetwork,
  &CkLossQuadratic,
  &CkLossLinearRegression,
  &CkLossTwoWeight,
};

PetscErrorCode CkLossFindType(const char name[], const CkLossType **type)
{
  PetscFunctionBeginUser;
  *type = NULL;
  for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); ++i) {
    if (strcmp(name, types[i]->name) == 0) *type = types[i];
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}
