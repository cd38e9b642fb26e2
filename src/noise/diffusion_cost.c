/* diffusion_cost.c: what products and assemblies need, for plans; nothing is evaluated. */
#include "noiseimpl.h"

PetscErrorCode CkDiffusionAssemblyPasses(CkDiffusion D, PetscBool gram, double *passes)
{
  CkDiffusionSizes sizes;

  PetscFunctionBeginUser;
  PetscCall(CkDiffusionGetSizes(D, &sizes));
  *passes = gram ? CkDiffusionGramPasses(D, &sizes) : 1;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkDiffusionAssemblyGradients(CkDiffusion D, PetscBool gram, double *operations)
{
  CkDiffusionSizes sizes;
  CkEngine         engine;
  double           load = 0, rows = 0;

  PetscFunctionBeginUser;
  PetscCall(CkDiffusionGetSizes(D, &sizes));
  if (gram) {
    PetscCall(CkDiffusionGramGradients(D, &sizes, operations));
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  PetscCall(CkLossGetEngine(D->loss, &engine));
  if (engine) PetscCall(CkEngineGetCost(engine, NULL, &load, &rows, NULL, NULL));
  *operations = (double)sizes.N * (load + rows);
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkDiffusionProductCost(CkDiffusion D, PetscInt m, double *bytes, double *passes)
{
  CkDiffusionSizes sizes;
  PetscInt         group, groups;

  PetscFunctionBeginUser;
  PetscCall(CkDiffusionGetSizes(D, &sizes));
  group = CkDiffusionGroup(D, &sizes, m);
  *bytes = CkDiffusionColumnBytes(&sizes) * (double)sizes.d * ((double)group + 1); /* and one for the mean gradient */
  groups = (m + group - 1) / group;
  *passes = (double)groups;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkDiffusionGetColumns(CkDiffusion D, PetscInt most, PetscInt *columns)
{
  CkDiffusionSizes sizes;

  PetscFunctionBeginUser;
  PetscCall(CkDiffusionGetSizes(D, &sizes));
  *columns = CkDiffusionGroup(D, &sizes, most);
  PetscFunctionReturn(PETSC_SUCCESS);
}
