/* dynamics_types.c: one line a type. */
#include "dynamicsimpl.h"
#include <stdio.h>
#include <string.h>

static const CkDynamicsType *const types[] = {
  &CkDynamicsSGD,        &CkDynamicsGD,         &CkDynamicsSDE,   &CkDynamicsSGLD, &CkDynamicsSGDGaussian,
  &CkDynamicsEntropySGD, &CkDynamicsElasticSGD, &CkDynamicsParle, &CkDynamicsODE,  &CkDynamicsJKO,
};

enum { TYPES = sizeof(types) / sizeof(types[0]) };

const CkDynamicsType *CkDynamicsFindType(const char name[])
{
  for (size_t i = 0; i < TYPES; ++i)
    if (strcmp(types[i]->name, name) == 0) return types[i];
  return NULL;
}

PetscBool CkDynamicsHeeds(const CkDynamicsType *type, const char key[])
{
  const size_t length = strlen(key);

  for (const char *at = type->keys; (at = strstr(at, key)); at += length)
    if ((at == type->keys || at[-1] == ' ') && (at[length] == ' ' || at[length] == '\0')) return PETSC_TRUE;
  return PETSC_FALSE;
}

void CkDynamicsNameTypes(const char key[], const char between[], char text[], size_t length)
{
  size_t used = 0;

  text[0] = '\0';
  for (size_t i = 0; i < TYPES && used < length; ++i)
    if (!key || CkDynamicsHeeds(types[i], key))
      used += (size_t)snprintf(text + used, length - used, "%s%s", used ? between : "", types[i]->name);
}
