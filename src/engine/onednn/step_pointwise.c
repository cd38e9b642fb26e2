#include "plan.h"

/* Activations and dropout: number by number, in place where nobody else reads the input. */

static PetscErrorCode ForwardRelu(CkPlan *plan, CkStep *step, PetscInt chunk, PetscInt count)
{
  PetscFunctionBeginUser;
  (void)count;
  plan->lanes->relu(plan->tensors[step->output].size, CkTensorX(plan, step->inputs[0], chunk),
                    CkTensorX(plan, step->output, chunk));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode BackwardRelu(CkPlan *plan, CkStep *step, PetscInt chunk, PetscInt count)
{
  PetscFunctionBeginUser;
  (void)count;
  if (plan->tensors[step->inputs[0]].wanted)
    plan->lanes->relu_back(plan->tensors[step->output].size, step->add[0], CkTensorX(plan, step->output, chunk),
                           CkTensorD(plan, step->output, chunk), CkTensorD(plan, step->inputs[0], chunk));
  PetscFunctionReturn(PETSC_SUCCESS);
}

const CkStepKind CkStepRelu = {.name = "relu",
                               .in_place = PETSC_TRUE,
                               .same_planes = PETSC_TRUE,
                               .needs_output = PETSC_TRUE,
                               .forward = ForwardRelu,
                               .backward = BackwardRelu};

/* The others keep factors of the derivative: slopes, or dropout's 0 and 1/(1 - rate). */
typedef struct {
  float  *factors; /* [capacity x size] packs */
  double *sample;  /* dropout: [numbers of a sample] */
} Factored;

static PetscErrorCode Create(CkPlan *plan, CkStep *step)
{
  const size_t size = plan->tensors[step->output].size * (size_t)plan->lanes->lanes;
  Factored    *f;

  PetscFunctionBeginUser;
  PetscCall(PetscNew(&f));
  step->data = f;
  PetscCall(CkArenaFloats(&plan->arena, size * (size_t)plan->capacity, &f->factors));
  if (step->kind == &CkStepDropout) PetscCall(PetscMalloc1(CkShapeSize(plan->layers[step->layer].out), &f->sample));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Destroy(CkStep *step)
{
  PetscFunctionBeginUser;
  PetscCall(PetscFree(((Factored *)step->data)->sample));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static float *Factors(CkPlan *plan, const CkStep *step, PetscInt chunk)
{
  return ((Factored *)step->data)->factors +
         (size_t)chunk * plan->tensors[step->output].size * (size_t)plan->lanes->lanes;
}

static PetscErrorCode Backward(CkPlan *plan, CkStep *step, PetscInt chunk, PetscInt count)
{
  PetscFunctionBeginUser;
  (void)count;
  if (plan->tensors[step->inputs[0]].wanted)
    plan->lanes->multiply(plan->tensors[step->output].size, step->add[0], CkTensorD(plan, step->output, chunk),
                          Factors(plan, step, chunk), CkTensorD(plan, step->inputs[0], chunk));
  PetscFunctionReturn(PETSC_SUCCESS);
}

#define ACTIVATION(Name, kernel)                                                                                       \
  static PetscErrorCode Forward##Name(CkPlan *plan, CkStep *step, PetscInt chunk, PetscInt count)                      \
  {                                                                                                                    \
    PetscFunctionBeginUser;                                                                                            \
    (void)count;                                                                                                       \
    plan->lanes->kernel(plan->tensors[step->output].size, CkTensorX(plan, step->inputs[0], chunk),                     \
                        CkTensorX(plan, step->output, chunk), Factors(plan, step, chunk));                             \
    PetscFunctionReturn(PETSC_SUCCESS);                                                                                \
  }                                                                                                                    \
                                                                                                                       \
  const CkStepKind CkStep##Name = {.name = #kernel,                                                                    \
                                   .in_place = PETSC_TRUE,                                                             \
                                   .same_planes = PETSC_TRUE,                                                          \
                                   .create = Create,                                                                   \
                                   .destroy = Destroy,                                                                 \
                                   .forward = Forward##Name,                                                           \
                                   .backward = Backward};

ACTIVATION(Tanh, tanh)
ACTIVATION(Sigmoid, sigmoid)
ACTIVATION(Softplus, softplus)

/* Dropout, in training mode only: factors are functions of the sample's position in the batch. */
static PetscErrorCode ForwardDropout(CkPlan *plan, CkStep *step, PetscInt chunk, PetscInt count)
{
  const CkShape     shape = plan->layers[step->layer].out;
  const PetscInt    pixels = shape.h * shape.w, lanes = plan->lanes->lanes;
  const size_t      plane = CkTensorPlane(plan, step->output, shape);
  const CkTraining *t = plan->training;
  double           *sample = ((Factored *)step->data)->sample;
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

const CkStepKind CkStepDropout = {.name = "dropout",
                                  .in_place = PETSC_TRUE,
                                  .same_planes = PETSC_TRUE,
                                  .create = Create,
                                  .destroy = Destroy,
                                  .forward = ForwardDropout,
                                  .backward = Backward};
