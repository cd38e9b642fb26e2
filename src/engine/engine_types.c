#include "engineimpl.h"

static const CkEngineType *const types[] = {
  &CkEngineReference,
  &CkEngineOnednn,
};

PetscErrorCode CkEngineFindType(const char name[], const CkEngineType **type)
{
  PetscFunctionBeginUser;
  *type = NULL;
  for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); ++i)
    if (!strcmp(types[i]->name, name)) *type = types[i];
  PetscFunctionReturn(PETSC_SUCCESS);
}
