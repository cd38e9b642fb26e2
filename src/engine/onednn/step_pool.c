#include "plan.h"

/* Max and average pooling; the average over the whole image is a window of its size. Subsampling is an average pool of
   windows of one pixel, into the middle of the channels. */
typedef struct {
  CkLanesWindow window;
  int          *arg;    /* max pool: [capacity x size] packs */
  const CkStep *norm;   /* fused (CkTensor): the batch norm before it */
  float        *before; /* fused: [capacity x size] packs, the norm's input where the largest numbers are */
} Pooling;

static PetscErrorCode Create(CkPlan *plan, CkStep *step)
{
  const CkLayer  *layer = &plan->layers[step->layer];
  const CkTensor *out = &plan->tensors[step->output];
  const size_t    all = out->size * (size_t)plan->lanes->lanes * (size_t)plan->capacity;
  Pooling        *p;

  PetscFunctionBeginUser;
  PetscCall(PetscNew(&p));
  step->data = p;
  p->window = (CkLanesWindow){.planes = (int)layer->in.c,
                              .in = {(int)layer->in.h, (int)layer->in.w},
                              .out = {(int)layer->out.h, (int)layer->out.w},
                              .kernel = {(int)layer->a.kernel[0], (int)layer->a.kernel[1]},
                              .stride = {(int)layer->a.stride[0], (int)layer->a.stride[1]},
                              .padding = {(int)layer->a.padding[0], (int)layer->a.padding[1]},
                              .in_plane = CkTensorPlane(plan, step->inputs[0], layer->in),
                              .out_plane = CkTensorPlane(plan, step->output, layer->out)};
  if (layer->type == CK_LAYER_GLOBALAVGPOOL)
    for (int i = 0; i < 2; ++i) {
      p->window.kernel[i] = p->window.stride[i] = p->window.in[i];
      p->window.padding[i] = 0;
    }
  if (layer->type == CK_LAYER_SUBSAMPLE)
    for (int i = 0; i < 2; ++i) p->window.kernel[i] = 1;
  if (layer->type == CK_LAYER_MAXPOOL) PetscCall(CkArenaInts(&plan->arena, all, &p->arg));
  if (plan->tensors[step->inputs[0]].fused) {
    p->norm = CkStepWriting(plan, step->inputs[0]);
    PetscCall(CkArenaFloats(&plan->arena, all, &p->before));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static size_t ChunkStart(const CkPlan *plan, const CkStep *step, PetscInt chunk)
{
  return (size_t)chunk * plan->tensors[step->output].size * (size_t)plan->lanes->lanes;
}

static int *Arg(const CkPlan *plan, const CkStep *step, PetscInt chunk)
{
  return ((Pooling *)step->data)->arg + ChunkStart(plan, step, chunk);
}

const float *CkPoolBefore(const CkPlan *plan, const CkStep *step, PetscInt chunk)
{
  return ((Pooling *)step->data)->before + ChunkStart(plan, step, chunk);
}

const CkLanesWindow *CkPoolWindow(const CkStep *step)
{
  return &((Pooling *)step->data)->window;
}

const int *CkPoolPlaces(const CkPlan *plan, const CkStep *step, PetscInt chunk)
{
  return Arg(plan, step, chunk);
}

static PetscErrorCode ForwardMax(CkPlan *plan, CkStep *step, PetscInt chunk, PetscInt count)
{
  Pooling *p = (Pooling *)step->data;
  float   *y = CkTensorX(plan, step->output, chunk);

  PetscFunctionBeginUser;
  (void)count;
  if (p->norm) {
    const float *f, *s;

    CkNormCoefficients(p->norm, &f, &s);
    plan->lanes->max_pool_affine(&p->window, f, s, CkTensorX(plan, p->norm->inputs[0], chunk), y,
                                 Arg(plan, step, chunk), p->before + ChunkStart(plan, step, chunk));
  } else plan->lanes->max_pool(&p->window, CkTensorX(plan, step->inputs[0], chunk), y, Arg(plan, step, chunk));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode BackwardMax(CkPlan *plan, CkStep *step, PetscInt chunk, PetscInt count)
{
  PetscFunctionBeginUser;
  (void)count;
  if (plan->tensors[step->inputs[0]].wanted && !plan->tensors[step->inputs[0]].sparse)
    plan->lanes->max_pool_back(&((Pooling *)step->data)->window, step->add[0], Arg(plan, step, chunk),
                               CkTensorD(plan, step->output, chunk), CkTensorD(plan, step->inputs[0], chunk));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode ForwardAverage(CkPlan *plan, CkStep *step, PetscInt chunk, PetscInt count)
{
  PetscFunctionBeginUser;
  (void)count;
  plan->lanes->average_pool(&((Pooling *)step->data)->window, CkTensorX(plan, step->inputs[0], chunk),
                            CkTensorX(plan, step->output, chunk));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode BackwardAverage(CkPlan *plan, CkStep *step, PetscInt chunk, PetscInt count)
{
  PetscFunctionBeginUser;
  (void)count;
  if (plan->tensors[step->inputs[0]].wanted)
    plan->lanes->average_pool_back(&((Pooling *)step->data)->window, step->add[0], CkTensorD(plan, step->output, chunk),
                                   CkTensorD(plan, step->inputs[0], chunk));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Numbers of the zero channels in front of the others. */
static size_t Before(const CkPlan *plan, const CkStep *step)
{
  const CkLayer *layer = &plan->layers[step->layer];

  return (size_t)((layer->out.c - layer->in.c) / 2) * ((Pooling *)step->data)->window.out_plane *
         (size_t)plan->lanes->lanes;
}

static PetscErrorCode ForwardSubsample(CkPlan *plan, CkStep *step, PetscInt chunk, PetscInt count)
{
  float *y = CkTensorX(plan, step->output, chunk);

  PetscFunctionBeginUser;
  (void)count;
  PetscCall(PetscArrayzero(y, plan->tensors[step->output].size * (size_t)plan->lanes->lanes));
  plan->lanes->average_pool(&((Pooling *)step->data)->window, CkTensorX(plan, step->inputs[0], chunk),
                            y + Before(plan, step));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode BackwardSubsample(CkPlan *plan, CkStep *step, PetscInt chunk, PetscInt count)
{
  PetscFunctionBeginUser;
  (void)count;
  if (plan->tensors[step->inputs[0]].wanted)
    plan->lanes->average_pool_back(&((Pooling *)step->data)->window, step->add[0],
                                   CkTensorD(plan, step->output, chunk) + Before(plan, step),
                                   CkTensorD(plan, step->inputs[0], chunk));
  PetscFunctionReturn(PETSC_SUCCESS);
}

const CkStepKind CkStepMaxPool = {.name = "max pool", .create = Create, .forward = ForwardMax, .backward = BackwardMax};
const CkStepKind CkStepAveragePool = {
  .name = "average pool", .create = Create, .forward = ForwardAverage, .backward = BackwardAverage};
const CkStepKind CkStepSubsample = {
  .name = "subsample", .create = Create, .forward = ForwardSubsample, .backward = BackwardSubsample};
