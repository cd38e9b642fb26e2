#include "plan.h"

/* Activations and dropout: number by number, in place where nobody else reads the input. */

#define ACTIVATION(Name, kernel)                                                                                       \
  static PetscErrorCode Forward##Name(CkPlan *plan, CkStep *step, PetscInt chunk, PetscInt count)                      \
  {                                                                                                                    \
    PetscFunctionBeginUser;                                                                                            \
    (void)count;                                                                                                       \
    plan->lanes->kernel(plan->tensors[step->output].size, CkTensorX(plan, step->inputs[0], chunk),                     \
                        CkTensorX(plan, step->output, chunk));                                                         \
    PetscFunctionReturn(PETSC_SUCCESS);                                                                                \
  }                                                                                                                    \
                                                                                                                       \
  static PetscErrorCode Backward##Name(CkPlan *plan, CkStep *step, PetscInt chunk, PetscInt count)                     \
  {                                                                                                                    \
    PetscFunctionBeginUser;                                                                                            \
    (void)count;                                                                                                       \
    plan->lanes->kernel##_back(plan->tensors[step->output].size, step->add[0], CkTensorX(plan, step->output, chunk),   \
                               CkTensorD(plan, step->output, chunk), CkTensorD(plan, step->inputs[0], chunk));         \
    PetscFunctionReturn(PETSC_SUCCESS);                                                                                \
  }                                                                                                                    \
                                                                                                                       \
  const CkStepKind CkStep##Name = {.name = #kernel,                                                                    \
                                   .in_place = PETSC_TRUE,                                                             \
                                   .same_planes = PETSC_TRUE,                                                          \
                                   .needs_output = PETSC_TRUE,                                                         \
                                   .forward = Forward##Name,                                                           \
                                   .backward = Backward##Name};

ACTIVATION(Relu, relu)
ACTIVATION(Tanh, tanh)
ACTIVATION(Sigmoid, sigmoid)
ACTIVATION(Softplus, softplus)

/* Dropout, in training mode only: factors 0 or 1/(1 - rate), functions of the sample's position in the batch. */
typedef struct {
  float  *factors; /* [capacity x size] packs */
  double *sample;  /* [numbers of a sample] */
} Dropout;

static PetscErrorCode CreateDropout(CkPlan *plan, CkStep *step)
{
  const size_t size = plan->tensors[step->output].size * (size_t)plan->lanes->lanes;
  Dropout     *d;

  PetscFunctionBeginUser;
  PetscCall(PetscNew(&d));
  step->data = d;
  PetscCall(CkArenaFloats(&plan->arena, size * (size_t)plan->capacity, &d->factors));
  PetscCall(PetscMalloc1(CkShapeSize(plan->layers[step->layer].out), &d->sample));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode DestroyDropout(CkStep *step)
{
  PetscFunctionBeginUser;
  PetscCall(PetscFree(((Dropout *)step->data)->sample));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static float *Factors(CkPlan *plan, const CkStep *step, PetscInt chunk)
{
  return ((Dropout *)step->data)->factors +
         (size_t)chunk * plan->tensors[step->output].size * (size_t)plan->lanes->lanes;
}

static PetscErrorCode ForwardDropout(CkPlan *plan, CkStep *step, PetscInt chunk, PetscInt count)
{
  const CkShape     shape = plan->layers[step->layer].out;
  const PetscInt    pixels = shape.h * shape.w, lanes = plan->lanes->lanes;
  const size_t      plane = CkTensorPlane(plan, step->output, shape);
  const CkTraining *t = plan->training;
  double           *sample = ((Dropout *)step->data)->sample;
  float            *factors = Factors(plan, step, chunk);

  PetscFunctionBeginUser;
  (void)count;
  for (PetscInt k = 0; k < plan->count[chunk]; ++k) {
    PetscCall(CkTrainingDropout(plan->net, step->layer, t->blocks, t->groups.position[plan->first[chunk] + k], sample));
    for (PetscInt c = 0; c < shape.c; ++c)
      for (PetscInt i = 0; i < pixels; ++i)
        factors[((size_t)c * plane + (size_t)i) * (size_t)lanes + (size_t)k] = (float)sample[c * pixels + i];
  }
  plan->lanes->multiply(plan->tensors[step->output].size, PETSC_FALSE, CkTensorX(plan, step->inputs[0], chunk), factors,
                        CkTensorX(plan, step->output, chunk));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode BackwardDropout(CkPlan *plan, CkStep *step, PetscInt chunk, PetscInt count)
{
  PetscFunctionBeginUser;
  (void)count;
  plan->lanes->multiply(plan->tensors[step->output].size, step->add[0], CkTensorD(plan, step->output, chunk),
                        Factors(plan, step, chunk), CkTensorD(plan, step->inputs[0], chunk));
  PetscFunctionReturn(PETSC_SUCCESS);
}

const CkStepKind CkStepDropout = {.name = "dropout",
                                  .in_place = PETSC_TRUE,
                                  .same_planes = PETSC_TRUE,
                                  .create = CreateDropout,
                                  .destroy = DestroyDropout,
                                  .forward = ForwardDropout,
                                  .backward = BackwardDropout};
