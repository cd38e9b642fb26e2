#include "plan.h"

/* Addition, and concatenation along the channels: packs of a chunk are in the order of the channels. */

/* In place: the first input's array already holds its term, and its derivative is the output's. */
static PetscErrorCode ForwardAdd(CkPlan *plan, CkStep *step, PetscInt chunk, PetscInt count)
{
  PetscFunctionBeginUser;
  (void)count;
  for (PetscInt i = step->inputs[0] == step->output ? 1 : 0; i < step->ninputs; ++i)
    plan->lanes->copy(plan->tensors[step->output].size, (PetscBool)(i > 0), CkTensorX(plan, step->inputs[i], chunk),
                      CkTensorX(plan, step->output, chunk));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode BackwardAdd(CkPlan *plan, CkStep *step, PetscInt chunk, PetscInt count)
{
  PetscFunctionBeginUser;
  (void)count;
  for (PetscInt i = 0; i < step->ninputs; ++i)
    if (plan->tensors[step->inputs[i]].wanted && step->inputs[i] != step->output)
      plan->lanes->copy(plan->tensors[step->output].size, step->add[i], CkTensorD(plan, step->output, chunk),
                        CkTensorD(plan, step->inputs[i], chunk));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode ForwardConcat(CkPlan *plan, CkStep *step, PetscInt chunk, PetscInt count)
{
  float *y = CkTensorX(plan, step->output, chunk);

  PetscFunctionBeginUser;
  (void)count;
  for (PetscInt i = 0; i < step->ninputs; ++i) {
    const size_t size = plan->tensors[step->inputs[i]].size;

    plan->lanes->copy(size, PETSC_FALSE, CkTensorX(plan, step->inputs[i], chunk), y);
    y += size * (size_t)plan->lanes->lanes;
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode BackwardConcat(CkPlan *plan, CkStep *step, PetscInt chunk, PetscInt count)
{
  const float *e = CkTensorD(plan, step->output, chunk);

  PetscFunctionBeginUser;
  (void)count;
  for (PetscInt i = 0; i < step->ninputs; ++i) {
    const size_t size = plan->tensors[step->inputs[i]].size;

    if (plan->tensors[step->inputs[i]].wanted)
      plan->lanes->copy(size, step->add[i], e, CkTensorD(plan, step->inputs[i], chunk));
    e += size * (size_t)plan->lanes->lanes;
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

const CkStepKind CkStepAdd = {
  .name = "add", .in_place = PETSC_TRUE, .same_planes = PETSC_TRUE, .forward = ForwardAdd, .backward = BackwardAdd};
const CkStepKind CkStepConcat = {
  .name = "concat", .same_planes = PETSC_TRUE, .forward = ForwardConcat, .backward = BackwardConcat};
