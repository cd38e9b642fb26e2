#include "plan.h"

/*
  plan_range.c: a range of weights whose gradients are wanted. The backward pass then ends at the lowest layer of the
  range and forms no other layer's gradients. Where a derivative is wanted at all, every step that adds to it still
  runs: what depends on a weight of the range through one reader does so through all of them.
*/
static PetscBool Meets(PetscInt at, PetscInt length, PetscInt first, PetscInt count)
{
  return (PetscBool)(at >= 0 && at < first + count && first < at + length);
}

static PetscBool InRange(const CkFoldLayer *l, PetscInt first, PetscInt count)
{
  return (PetscBool)(Meets(l->weight, l->units * l->fan_in, first, count) || Meets(l->bias, l->units, first, count) ||
                     Meets(l->gamma, l->units, first, count) || Meets(l->beta, l->units, first, count));
}

PetscErrorCode CkPlanSetRange(CkPlan *plan, PetscInt first, PetscInt count)
{
  PetscBool *depends;

  PetscFunctionBeginUser;
  for (PetscInt i = 0; i < plan->fold->nlayers; ++i)
    plan->weighted[i].idle = (PetscBool)!InRange(&plan->fold->layers[i], first, count);
  PetscCall(PetscCalloc1(plan->ntensors, &depends));
  for (PetscInt s = 0; s < plan->nsteps; ++s) {
    const CkStep  *step = &plan->steps[s];
    const PetscInt weighted = plan->fold->of_layer[step->layer];

    if (weighted >= 0 && !plan->weighted[weighted].idle) depends[step->output] = PETSC_TRUE;
    for (PetscInt i = 0; i < step->ninputs; ++i)
      if (depends[step->inputs[i]]) depends[step->output] = PETSC_TRUE;
  }
  for (PetscInt t = 0; t < plan->ntensors; ++t)
    plan->tensors[t].wanted = (PetscBool)(plan->tensors[t].wanted_ever && depends[t]);
  PetscCall(PetscFree(depends));
  PetscFunctionReturn(PETSC_SUCCESS);
}
