/* diffusion_cost.c: what products and assemblies need, for plans; nothing is evaluated. */
#include "noiseimpl.h"

static PetscErrorCode DenseCost(CkDiffusion D, CkAssemblyCost *cost)
{
  CkDiffusionSizes sizes;
  CkEngine         engine;
  double           load = 0, rows = 0;

  PetscFunctionBeginUser;
  PetscCall(CkDiffusionGetSizes(D, &sizes));
  PetscCall(CkLossGetEngine(D->loss, &engine));
  if (engine) PetscCall(CkEngineGetCost(engine, NULL, &load, &rows, NULL, NULL));
  cost->bytes = CkDiffusionDenseMemory(&sizes);
  cost->passes = 1;
  cost->gradients = (double)sizes.N * (load + rows);
  cost->products = (double)sizes.N * (double)sizes.d * (double)sizes.d;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkDiffusionAssemblyCost(CkDiffusion D, PetscBool gram, CkAssemblyCost *cost)
{
  PetscFunctionBeginUser;
  if (gram) PetscCall(CkDiffusionGramCost(D, cost));
  else PetscCall(DenseCost(D, cost));
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
