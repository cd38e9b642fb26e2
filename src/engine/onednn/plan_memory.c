#include "plan.h"

/*
  plan_memory.c: arrays of the tensors. A kept array has room for every chunk. The others are needed from the step that
  writes the tensor to the last one that reads it, in both directions, one chunk at a time: tensors whose times do not
  overlap share an array, if their channels lie alike (gaps in arrays of derivatives stay zero).
*/
typedef struct {
  PetscInt first, last; /* steps that touch it; first > last: none */
} Time;

typedef struct {
  size_t   plane, pixels, size; /* size: the largest of its tensors */
  PetscInt last;                /* busy until this step */
  float   *array;
} Slot;

static void Extend(Time *time, PetscInt step)
{
  time->first = PetscMin(time->first, step);
  time->last = PetscMax(time->last, step);
}

/* A step whose derivative stays with the pool that reads it looks at the pool's output, and the pool at its input. */
static void FindTimes(const CkPlan *plan, Time times[])
{
  for (PetscInt t = 0; t < plan->ntensors; ++t) times[t] = (Time){plan->nsteps, -1};
  for (PetscInt s = 0; s < plan->nsteps; ++s) {
    const CkStep *step = &plan->steps[s];

    Extend(&times[step->output], s);
    for (PetscInt i = 0; i < step->ninputs; ++i) {
      const CkStep *writer = plan->tensors[step->inputs[i]].sparse ? CkStepWriting(plan, step->inputs[i]) : NULL;

      Extend(&times[step->inputs[i]], s);
      if (!writer) continue;
      Extend(&times[step->output], (PetscInt)(writer - plan->steps));
      Extend(&times[writer->inputs[0]], s);
    }
  }
}

static PetscBool IsShared(const CkTensor *t, PetscBool derivative)
{
  if (t->fused) return PETSC_FALSE;
  return (PetscBool)(derivative ? t->wanted && !t->sparse && !t->keep_d : !t->keep_x);
}

/* The slot for a tensor of this time: one that is free by then, else a new one. */
static PetscInt FindSlot(const CkTensor *t, const Time *time, Slot slots[], PetscInt *nslots)
{
  const size_t pixels = (size_t)t->shape.h * (size_t)t->shape.w;
  PetscInt     i = 0;

  while (i < *nslots && (slots[i].plane != t->plane || slots[i].pixels != pixels || slots[i].last >= time->first)) ++i;
  if (i == *nslots) slots[(*nslots)++] = (Slot){.plane = t->plane, .pixels = pixels};
  slots[i].size = PetscMax(slots[i].size, t->size);
  slots[i].last = time->last;
  return i;
}

static PetscErrorCode AllocateShared(CkPlan *plan, const Time times[], PetscBool derivative)
{
  PetscInt  *slot_of, nslots = 0;
  PetscBool *done;
  Slot      *slots;

  PetscFunctionBeginUser;
  PetscCall(PetscCalloc3(plan->ntensors, &slot_of, plan->ntensors, &done, plan->ntensors, &slots));
  for (PetscInt s = 0; s < plan->nsteps; ++s) { /* in the order of their first steps */
    for (PetscInt t = 0; t < plan->ntensors; ++t) {
      if (times[t].first != s || !IsShared(&plan->tensors[t], derivative)) continue;
      slot_of[t] = FindSlot(&plan->tensors[t], &times[t], slots, &nslots);
      done[t] = PETSC_TRUE;
    }
  }
  for (PetscInt i = 0; i < nslots; ++i)
    PetscCall(CkArenaFloats(&plan->arena, slots[i].size * (size_t)plan->lanes->lanes, &slots[i].array));
  for (PetscInt t = 0; t < plan->ntensors; ++t) {
    CkTensor *tensor = &plan->tensors[t];

    if (done[t] && derivative) tensor->d = slots[slot_of[t]].array;
    if (done[t] && !derivative) tensor->x = slots[slot_of[t]].array;
  }
  PetscCall(PetscFree3(slot_of, done, slots));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkPlanAllocateTensors(CkPlan *plan)
{
  Time *times;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc1(plan->ntensors, &times));
  FindTimes(plan, times);
  for (PetscInt t = 0; t < plan->ntensors; ++t) {
    CkTensor    *tensor = &plan->tensors[t];
    const size_t all = tensor->size * (size_t)plan->lanes->lanes * (size_t)plan->capacity;

    PetscCheck(tensor->size * (size_t)plan->lanes->lanes < (size_t)INT32_MAX, PETSC_COMM_SELF, PETSC_ERR_ARG_OUTOFRANGE,
               "A tensor of %zu numbers a sample is beyond the kernels' index type", tensor->size);
    if (times[t].first > times[t].last || tensor->fused) continue; /* no step works on it any more */
    if (tensor->keep_x) PetscCall(CkArenaFloats(&plan->arena, all, &tensor->x));
    if (tensor->keep_d && tensor->wanted && !tensor->sparse) PetscCall(CkArenaFloats(&plan->arena, all, &tensor->d));
  }
  PetscCall(AllocateShared(plan, times, PETSC_FALSE));
  PetscCall(AllocateShared(plan, times, PETSC_TRUE));
  PetscCall(PetscFree(times));
  PetscFunctionReturn(PETSC_SUCCESS);
}
