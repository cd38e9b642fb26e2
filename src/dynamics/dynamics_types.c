/* dynamics_types.c: one line a type. */
#include "dynamicsimpl.h"
#include <string.h>

static const CkDynamicsType *const types[] = {&CkDynamicsSGD};

const CkDynamicsType *CkDynamicsFindType(const char name[])
{
  for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); ++i)
    if (strcmp(types[i]->name, name) == 0) return types[i];
  return NULL;
}
