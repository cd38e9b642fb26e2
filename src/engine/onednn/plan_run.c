#include "../head.h"
#include "plan.h"

PetscErrorCode CkPlanSetSamples(CkPlan *plan, PetscInt nblocks, const PetscInt size[], const float features[])
{
  const CkLanes *lanes = plan->lanes;
  const size_t   width = plan->tensors[0].size;

  PetscFunctionBeginUser;
  plan->n = plan->chunks = 0;
  plan->features = features;
  for (PetscInt b = 0; b < nblocks; ++b)
    for (PetscInt left = size[b]; left > 0; left -= lanes->lanes) {
      const PetscInt c = plan->chunks++, count = PetscMin(left, lanes->lanes);

      PetscCheck(c < plan->capacity, PETSC_COMM_SELF, PETSC_ERR_PLIB, "More chunks than the plan's %" PetscInt_FMT,
                 plan->capacity);
      plan->first[c] = plan->n;
      plan->count[c] = count;
      lanes->from_rows((int)count, width, width, features + (size_t)plan->n * width, CkTensorX(plan, 0, c));
      plan->n += count;
    }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* End of the run of steps that starts at `first` and goes chunk by chunk, upwards or downwards. */
static PetscInt SegmentEnd(const CkPlan *plan, PetscInt first, PetscBool backward)
{
  const PetscInt step = backward ? -1 : 1, stop = backward ? -1 : plan->nsteps;
  PetscInt       s = first;

  do s += step;
  while (s != stop && (backward ? plan->steps[s].backward_segment == plan->steps[first].backward_segment
                                : plan->steps[s].forward_segment == plan->steps[first].forward_segment));
  return s;
}

/* Steps from..to-1 for the chunk, then what the next segment wants to know of it. */
static PetscErrorCode ForwardChunk(CkPlan *plan, PetscInt from, PetscInt to, PetscInt chunk)
{
  PetscFunctionBeginUser;
  for (PetscInt s = from; s < to; ++s) PetscCall(plan->steps[s].kind->forward(plan, &plan->steps[s], chunk, 1));
  if (to < plan->nsteps && plan->steps[to].kind->prepare_forward)
    PetscCall(plan->steps[to].kind->prepare_forward(plan, &plan->steps[to], chunk));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkPlanForward(CkPlan *plan)
{
  PetscInt s = 0;

  PetscFunctionBeginUser;
  for (PetscInt c = 0; c < plan->chunks; ++c) PetscCall(ForwardChunk(plan, 0, 0, c));
  while (s < plan->nsteps) {
    CkStep        *step = &plan->steps[s];
    const PetscInt end = SegmentEnd(plan, s, PETSC_FALSE);

    if (step->kind->enter_forward) PetscCall(step->kind->enter_forward(plan, step));
    if (step->kind->whole && plan->chunks > 0) PetscCall(step->kind->forward(plan, step, 0, plan->chunks));
    for (PetscInt c = 0; c < plan->chunks; ++c) PetscCall(ForwardChunk(plan, step->kind->whole ? end : s, end, c));
    s = end;
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode BackwardStep(CkPlan *plan, CkStep *step, PetscInt chunk, PetscInt count)
{
  PetscFunctionBeginUser;
  if (step->live && plan->tensors[step->output].wanted) PetscCall(step->kind->backward(plan, step, chunk, count));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Makes the chunk's numbers again that the step's backward pass reads (CkTensor). */
static PetscErrorCode Recompute(CkPlan *plan, PetscInt step, PetscInt chunk)
{
  const PetscInt from = plan->steps[step].again;

  PetscFunctionBeginUser;
  for (PetscInt s = from; from >= 0 && s < step; ++s)
    if (plan->steps[s].output == plan->steps[from].output)
      PetscCall(plan->steps[s].kind->forward(plan, &plan->steps[s], chunk, 1));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode BackwardChunk(CkPlan *plan, PetscInt from, PetscInt to, PetscInt chunk)
{
  PetscFunctionBeginUser;
  for (PetscInt s = from; s > to; --s) {
    PetscCall(Recompute(plan, s, chunk));
    PetscCall(BackwardStep(plan, &plan->steps[s], chunk, 1));
  }
  if (to >= 0 && plan->steps[to].live && plan->steps[to].kind->prepare_backward)
    PetscCall(plan->steps[to].kind->prepare_backward(plan, &plan->steps[to], chunk));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkPlanBackward(CkPlan *plan)
{
  PetscInt s = plan->nsteps - 1;

  PetscFunctionBeginUser;
  for (PetscInt c = 0; c < plan->chunks; ++c) PetscCall(BackwardChunk(plan, s, s, c));
  while (s >= 0) {
    CkStep        *step = &plan->steps[s];
    const PetscInt end = SegmentEnd(plan, s, PETSC_TRUE);

    if (step->live && step->kind->enter_backward) PetscCall(step->kind->enter_backward(plan, step));
    if (step->kind->whole && plan->chunks > 0) PetscCall(BackwardStep(plan, step, 0, plan->chunks));
    for (PetscInt c = 0; c < plan->chunks; ++c) PetscCall(BackwardChunk(plan, step->kind->whole ? end : s, end, c));
    s = end;
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkPlanHead(CkPlan *plan, const PetscInt labels[], const double scale[], double values[], int correct[],
                          PetscBool derivatives)
{
  const CkLanes *lanes = plan->lanes;
  const size_t   classes = plan->tensors[plan->logits].size;
  CkHeadCall     call = {.n = plan->n,
                         .classes = (PetscInt)classes,
                         .precision = CK_FLOAT32,
                         .logits = plan->logit_rows,
                         .labels = labels,
                         .scale = scale,
                         .values = values,
                         .correct = correct,
                         .delta = derivatives ? plan->delta_rows : NULL};

  PetscFunctionBeginUser;
  PetscCall(CkNetGetHead(plan->net, &call.head));
  for (PetscInt c = 0; c < plan->chunks; ++c)
    lanes->to_rows((int)plan->count[c], classes, classes, CkTensorX(plan, plan->logits, c),
                   plan->logit_rows + (size_t)plan->first[c] * classes);
  PetscCall(CkHeadEvaluate(&call));
  if (!derivatives || !plan->tensors[plan->logits].wanted) PetscFunctionReturn(PETSC_SUCCESS);
  for (PetscInt c = 0; c < plan->chunks; ++c)
    lanes->from_rows((int)plan->count[c], classes, classes, plan->delta_rows + (size_t)plan->first[c] * classes,
                     CkTensorD(plan, plan->logits, c));
  PetscFunctionReturn(PETSC_SUCCESS);
}
