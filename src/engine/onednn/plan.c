#include "plan.h"

/* What steps() needs while it walks over the net. */
typedef struct {
  CkPlan   *plan;
  PetscInt *readers;   /* [layers] how often a layer's output is read */
  PetscInt *reader;    /* [layers] the last of them */
  PetscInt *tensor_of; /* [layers] */
} Builder;

static PetscBool IsActivation(CkLayerType type)
{
  return (PetscBool)(type == CK_LAYER_RELU || type == CK_LAYER_TANH || type == CK_LAYER_SIGMOID ||
                     type == CK_LAYER_SOFTPLUS);
}

static const CkStepKind *KindOf(const CkPlan *plan, CkLayerType type)
{
  switch (type) {
  case CK_LAYER_DENSE:
    return &CkStepDense;
  case CK_LAYER_CONV:
    return &CkStepConv;
  case CK_LAYER_BATCHNORM:
    return plan->training_mode ? &CkStepNorm : &CkStepAffine;
  case CK_LAYER_RELU:
    return &CkStepRelu;
  case CK_LAYER_TANH:
    return &CkStepTanh;
  case CK_LAYER_SIGMOID:
    return &CkStepSigmoid;
  case CK_LAYER_SOFTPLUS:
    return &CkStepSoftplus;
  case CK_LAYER_MAXPOOL:
    return &CkStepMaxPool;
  case CK_LAYER_AVGPOOL:
  case CK_LAYER_GLOBALAVGPOOL:
    return &CkStepAveragePool;
  case CK_LAYER_SUBSAMPLE:
    return &CkStepSubsample;
  case CK_LAYER_DROPOUT:
    return &CkStepDropout;
  case CK_LAYER_ADD:
    return &CkStepAdd;
  case CK_LAYER_CONCAT:
    return &CkStepConcat;
  default:
    return NULL;
  }
}

static PetscInt AddTensor(CkPlan *plan, CkShape shape)
{
  plan->tensors[plan->ntensors] = (CkTensor){.shape = shape};
  return plan->ntensors++;
}

static PetscErrorCode AddStep(Builder *b, PetscInt layer, PetscInt ninputs, const PetscInt inputs[], CkShape out)
{
  CkPlan *plan = b->plan;
  CkStep *step = &plan->steps[plan->nsteps++];

  PetscFunctionBeginUser;
  step->kind = KindOf(plan, plan->layers[layer].type);
  PetscCheck(step->kind, PETSC_COMM_SELF, PETSC_ERR_SUP, "The onednn engine knows no %s layer",
             CkLayerTypeName(plan->layers[layer].type));
  step->layer = layer;
  step->again = -1;
  step->ninputs = ninputs;
  PetscCall(PetscMalloc2(ninputs, &step->inputs, ninputs, &step->add));
  for (PetscInt i = 0; i < ninputs; ++i) {
    step->inputs[i] = inputs[i];
    step->add[i] = PETSC_FALSE;
    ++plan->tensors[inputs[i]].readers;
  }
  step->output = AddTensor(plan, out);
  b->tensor_of[layer] = step->output;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* An activation whose only reader is a max pool comes after it: both keep the order of numbers, and fewer are left. */
static PetscBool Delayed(const Builder *b, PetscInt layer)
{
  const CkLayer *layers = b->plan->layers;

  return (PetscBool)(IsActivation(layers[layer].type) && b->readers[layer] == 1 &&
                     layers[b->reader[layer]].type == CK_LAYER_MAXPOOL);
}

static PetscErrorCode AddLayer(Builder *b, PetscInt number)
{
  CkPlan        *plan = b->plan;
  const CkLayer *layer = &plan->layers[number];
  PetscInt       inputs[CK_MAX_INPUTS] = {0};

  PetscFunctionBeginUser;
  for (PetscInt i = 0; i < layer->ninputs; ++i) inputs[i] = b->tensor_of[layer->inputs[i]];
  if (layer->type == CK_LAYER_INPUT) {
    b->tensor_of[number] = AddTensor(plan, layer->out);
    plan->tensors[b->tensor_of[number]].dense_planes = PETSC_TRUE;
  } else if (layer->type == CK_LAYER_FLATTEN) {
    b->tensor_of[number] = inputs[0];
    plan->tensors[inputs[0]].dense_planes = PETSC_TRUE;
  } else if ((layer->type == CK_LAYER_DROPOUT && !plan->training_mode) || Delayed(b, number) ||
             (layer->type == CK_LAYER_BATCHNORM && plan->fold->of_layer[number] < 0)) {
    b->tensor_of[number] = inputs[0];
  } else {
    PetscCall(AddStep(b, number, layer->ninputs, inputs, layer->out));
    if (layer->type == CK_LAYER_MAXPOOL && Delayed(b, layer->inputs[0])) {
      PetscCall(AddStep(b, layer->inputs[0], 1, &b->tensor_of[number], layer->out));
      b->tensor_of[number] = plan->steps[plan->nsteps - 1].output;
    }
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode BuildSteps(CkPlan *plan)
{
  const PetscInt n = plan->nlayers;
  Builder        b = {.plan = plan};

  PetscFunctionBeginUser;
  PetscCall(PetscCalloc2(n, &plan->tensors, n, &plan->steps));
  PetscCall(PetscCalloc3(n, &b.readers, n, &b.reader, n, &b.tensor_of));
  for (PetscInt l = 0; l < n; ++l)
    for (PetscInt i = 0; i < plan->layers[l].ninputs; ++i) {
      ++b.readers[plan->layers[l].inputs[i]];
      b.reader[plan->layers[l].inputs[i]] = l;
    }
  for (PetscInt l = 0; l < n; ++l) PetscCall(AddLayer(&b, l));
  plan->logits = b.tensor_of[n - 1];
  plan->tensors[plan->logits].dense_planes = PETSC_TRUE;
  PetscCall(PetscFree3(b.readers, b.reader, b.tensor_of));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Replaces tensor `old` by `kept` everywhere from step `first` on. */
static void ReplaceTensor(CkPlan *plan, PetscInt first, PetscInt old, PetscInt kept)
{
  for (PetscInt s = first; s < plan->nsteps; ++s)
    for (PetscInt i = 0; i < plan->steps[s].ninputs; ++i)
      if (plan->steps[s].inputs[i] == old) plan->steps[s].inputs[i] = kept;
  if (plan->logits == old) plan->logits = kept;
  plan->tensors[kept].readers = plan->tensors[old].readers;
  if (plan->tensors[old].dense_planes) plan->tensors[kept].dense_planes = PETSC_TRUE;
}

/* Terms of a sum that nobody else reads come first: the sum can be made in their place. */
static void OrderTerms(CkPlan *plan)
{
  for (PetscInt s = 0; s < plan->nsteps; ++s) {
    PetscInt *inputs = plan->steps[s].inputs;

    for (PetscInt i = 1; plan->steps[s].kind == &CkStepAdd && i < plan->steps[s].ninputs; ++i) {
      const PetscInt first = inputs[0];

      if (plan->tensors[first].readers == 1 || plan->tensors[inputs[i]].readers > 1) continue;
      inputs[0] = inputs[i];
      inputs[i] = first;
    }
  }
}

/* Element-by-element steps write over their input where nobody else wants it. */
static PetscErrorCode WorkInPlace(CkPlan *plan)
{
  PetscInt *writer; /* last step that writes a tensor */

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc1(plan->ntensors, &writer));
  writer[0] = -1;
  for (PetscInt s = 0; s < plan->nsteps; ++s) {
    CkStep        *step = &plan->steps[s];
    const PetscInt in = step->inputs[0];

    if (step->kind->in_place && plan->tensors[in].readers == 1 && writer[in] >= 0 &&
        !plan->steps[writer[in]].kind->needs_output) {
      ReplaceTensor(plan, s + 1, step->output, in);
      step->output = in;
    }
    writer[step->output] = s;
  }
  PetscCall(PetscFree(writer));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Which derivatives are wanted, and which step is the first to write each. */
static PetscErrorCode FollowDerivatives(CkPlan *plan)
{
  PetscBool *depends, *live, *written;

  PetscFunctionBeginUser;
  PetscCall(PetscCalloc3(plan->ntensors, &depends, plan->ntensors, &live, plan->ntensors, &written));
  for (PetscInt s = 0; s < plan->nsteps; ++s) {
    const CkStep *step = &plan->steps[s];

    if (plan->fold->of_layer[step->layer] >= 0) depends[step->output] = PETSC_TRUE;
    for (PetscInt i = 0; i < step->ninputs; ++i)
      if (depends[step->inputs[i]]) depends[step->output] = PETSC_TRUE;
  }
  live[plan->logits] = PETSC_TRUE;
  written[plan->logits] = PETSC_TRUE; /* by the loss head */
  for (PetscInt s = plan->nsteps - 1; s >= 0; --s) {
    CkStep *step = &plan->steps[s];

    step->live = live[step->output];
    for (PetscInt i = 0; i < step->ninputs && step->live; ++i) {
      const PetscInt t = step->inputs[i];

      live[t] = PETSC_TRUE;
      if (t == step->output) continue;
      step->add[i] = written[t];
      written[t] = PETSC_TRUE;
    }
  }
  for (PetscInt t = 0; t < plan->ntensors; ++t) {
    plan->tensors[t].wanted = plan->tensors[t].wanted_ever = (PetscBool)(depends[t] && live[t]);
  }
  PetscCall(PetscFree3(depends, live, written));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static void NumberSegments(CkPlan *plan)
{
  PetscInt segment = 0;

  for (PetscInt s = 0; s < plan->nsteps; ++s) {
    const CkStepKind *kind = plan->steps[s].kind;

    if (kind->whole || kind->enter_forward || (s > 0 && plan->steps[s - 1].kind->whole)) ++segment;
    plan->steps[s].forward_segment = segment;
  }
  segment = 0;
  for (PetscInt s = plan->nsteps - 1; s >= 0; --s) {
    const CkStepKind *kind = plan->steps[s].kind;

    if (kind->whole || kind->enter_backward || (s + 1 < plan->nsteps && plan->steps[s + 1].kind->whole)) ++segment;
    plan->steps[s].backward_segment = segment;
  }
}

/*
  The output of a batch norm by itself, with what works on it in place, is cheap to make again: so only its input is
  kept. Not where its input is itself made again, other terms are added to it, or steps of other segments or a factored
  contraction read it. Returns the last of its readers, else -1.
*/
static PetscInt LastReader(const CkPlan *plan, PetscInt norm)
{
  const CkStep *first = &plan->steps[norm];
  PetscInt      last = -1;

  if (first->kind != &CkStepAffine || first->output == plan->logits) return -1;
  if (plan->tensors[first->inputs[0]].recomputed) return -1;
  for (PetscInt s = norm + 1; s < plan->nsteps; ++s) {
    const CkStep  *step = &plan->steps[s];
    const PetscInt weighted = plan->fold->of_layer[step->layer];
    PetscBool      reads = PETSC_FALSE;

    for (PetscInt i = 0; i < step->ninputs; ++i)
      if (step->inputs[i] == first->output) reads = PETSC_TRUE;
    if (!reads) continue;
    if (step->kind == &CkStepAdd && step->output == first->output) return -1;
    if (step->forward_segment != first->forward_segment || step->backward_segment != first->backward_segment) return -1;
    if (step->kind->needs_input && weighted >= 0 && plan->weighted[weighted].form == CK_FORM_FACTORED) return -1;
    last = s;
  }
  return last;
}

static void ChooseRecomputed(CkPlan *plan)
{
  for (PetscInt s = 0; s < plan->nsteps; ++s) {
    const PetscInt last = LastReader(plan, s);

    if (last < 0 || plan->steps[last].output == plan->steps[s].output) continue;
    plan->steps[last].again = s;
    plan->tensors[plan->steps[s].output].keep_x = PETSC_FALSE;
    plan->tensors[plan->steps[s].output].recomputed = PETSC_TRUE;
  }
}

/* Arrays that more than one segment touches, or the backward pass or a contraction reads later, are kept. */
static PetscErrorCode ChooseKept(CkPlan *plan)
{
  PetscInt *forward, *backward; /* the segment that touches a tensor */

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc2(plan->ntensors, &forward, plan->ntensors, &backward));
  for (PetscInt t = 0; t < plan->ntensors; ++t) forward[t] = backward[t] = -1;
  plan->tensors[0].keep_x = PETSC_TRUE;
  plan->tensors[plan->logits].keep_x = plan->tensors[plan->logits].keep_d = PETSC_TRUE;
  for (PetscInt s = 0; s < plan->nsteps; ++s) {
    const CkStep  *step = &plan->steps[s];
    const PetscInt weighted = plan->fold->of_layer[step->layer];
    CkTensor      *out = &plan->tensors[step->output];

    for (PetscInt i = 0; i <= step->ninputs; ++i) {
      const PetscInt t = i < step->ninputs ? step->inputs[i] : step->output;
      CkTensor      *tensor = &plan->tensors[t];

      if (forward[t] >= 0 && forward[t] != step->forward_segment) tensor->keep_x = PETSC_TRUE;
      if (backward[t] >= 0 && backward[t] != step->backward_segment) tensor->keep_d = PETSC_TRUE;
      forward[t] = step->forward_segment;
      backward[t] = step->backward_segment;
      if (i < step->ninputs && out->wanted && step->kind->needs_input) tensor->keep_x = PETSC_TRUE;
    }
    if (out->wanted && step->kind->needs_output) out->keep_x = PETSC_TRUE;
    if (!plan->training_mode && weighted >= 0 && plan->weighted[weighted].form == CK_FORM_FACTORED)
      out->keep_d = PETSC_TRUE;
  }
  PetscCall(PetscFree2(forward, backward));
  PetscFunctionReturn(PETSC_SUCCESS);
}

const CkStep *CkStepWriting(const CkPlan *plan, PetscInt tensor)
{
  for (PetscInt s = 0; s < plan->nsteps; ++s)
    if (plan->steps[s].output == tensor) return &plan->steps[s];
  return NULL;
}

const CkStep *CkStepReading(const CkPlan *plan, const CkStep *step)
{
  for (const CkStep *s = step + 1; s < plan->steps + plan->nsteps; ++s)
    if (s->inputs[0] == step->output) return s;
  return NULL;
}

/* A step behind whose output is only a max pool can read the few derivatives there. */
static void ChooseSparse(CkPlan *plan)
{
  for (PetscInt s = 0; s < plan->nsteps; ++s) {
    const CkStep *step = &plan->steps[s];
    CkTensor     *out = &plan->tensors[step->output];

    for (PetscInt r = s + 1; r < plan->nsteps; ++r) {
      const CkStep *reader = &plan->steps[r];

      if (reader->inputs[0] != step->output) continue;
      if (reader->output == step->output) break; /* in place: readers behind it do not see this step's numbers */
      if (CkNormFused(plan, step, reader)) {
        out->sparse = out->fused = PETSC_TRUE;
        plan->tensors[reader->output].keep_d = PETSC_TRUE; /* the norm's segment reads it again */
      }
      if (CkLinearSparse(plan, step, reader)) out->sparse = PETSC_TRUE;
    }
  }
}

/* Gaps between channels where they help; not in arrays that are read flat, nor in those joined to them. */
static void ChoosePlanes(CkPlan *plan)
{
  PetscBool changed = PETSC_TRUE;

  while (changed) {
    changed = PETSC_FALSE;
    for (PetscInt s = 0; s < plan->nsteps; ++s) {
      const CkStep *step = &plan->steps[s];
      PetscBool     any = plan->tensors[step->output].dense_planes, all = any;

      if (!step->kind->same_planes) continue;
      for (PetscInt i = 0; i < step->ninputs; ++i) {
        if (plan->tensors[step->inputs[i]].dense_planes) any = PETSC_TRUE;
        else all = PETSC_FALSE;
      }
      if (!any || all) continue;
      changed = PETSC_TRUE;
      plan->tensors[step->output].dense_planes = PETSC_TRUE;
      for (PetscInt i = 0; i < step->ninputs; ++i) plan->tensors[step->inputs[i]].dense_planes = PETSC_TRUE;
    }
  }
  for (PetscInt t = 0; t < plan->ntensors; ++t) {
    CkTensor    *tensor = &plan->tensors[t];
    const size_t pixels = (size_t)tensor->shape.h * (size_t)tensor->shape.w;

    tensor->plane = tensor->dense_planes ? pixels : CkLanesPlane(pixels, plan->lanes->lanes);
    tensor->size = (size_t)tensor->shape.c * tensor->plane;
  }
}

/* Logits and their derivatives as rows, and where chunks begin. */
static PetscErrorCode AllocateRows(CkPlan *plan)
{
  const size_t rows = (size_t)plan->capacity * (size_t)plan->lanes->lanes * plan->tensors[plan->logits].size;

  PetscFunctionBeginUser;
  PetscCall(CkArenaFloats(&plan->arena, rows, &plan->logit_rows));
  PetscCall(CkArenaFloats(&plan->arena, rows, &plan->delta_rows));
  PetscCall(PetscMalloc3(plan->capacity, &plan->first, plan->capacity, &plan->count,
                         plan->capacity * plan->lanes->lanes, &plan->slopes));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode ListWeighted(CkPlan *plan)
{
  PetscFunctionBeginUser;
  PetscCall(PetscCalloc1(plan->fold->nlayers, &plan->weighted));
  for (PetscInt s = 0; s < plan->nsteps; ++s) {
    const PetscInt i = plan->fold->of_layer[plan->steps[s].layer];

    if (i < 0) continue;
    plan->weighted[i].step = s;
    plan->weighted[i].entries =
      (size_t)plan->fold->layers[i].units * (size_t)(plan->fold->layers[i].fan_in + plan->fold->layers[i].shift);
    plan->weighted[i].form = CkWeightedForm(plan, i);
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkPlanCreate(const CkPlanChoices *choices, CkPlan **made)
{
  CkPlan  *plan;
  PetscInt nparameters;

  PetscFunctionBeginUser;
  PetscCall(PetscNew(&plan));
  *made = plan;
  plan->lanes = CkLanesGet();
  plan->net = choices->net;
  plan->training_mode = choices->training;
  plan->form = choices->form;
  plan->convolution = choices->convolution;
  plan->capacity = PetscMax(choices->chunks, 1);
  PetscCall(CkNetGetLayers(plan->net, &plan->nlayers, &plan->layers));
  PetscCall(CkNetGetParameters(plan->net, &nparameters, &plan->parameters));
  PetscCall(CkFoldCreate(plan->net, (PetscBool)!choices->training, &plan->fold));
  PetscCall(BuildSteps(plan));
  OrderTerms(plan);
  PetscCall(WorkInPlace(plan));
  PetscCall(ListWeighted(plan));
  PetscCall(FollowDerivatives(plan));
  NumberSegments(plan);
  PetscCall(ChooseKept(plan));
  ChooseRecomputed(plan);
  ChooseSparse(plan);
  ChoosePlanes(plan);
  PetscCall(CkPlanAllocateTensors(plan));
  PetscCall(AllocateRows(plan));
  for (PetscInt s = 0; s < plan->nsteps; ++s)
    if (plan->steps[s].kind->create) PetscCall(plan->steps[s].kind->create(plan, &plan->steps[s]));
  PetscCall(CkArenaFloats(&plan->arena, plan->scratch_packs * (size_t)plan->lanes->lanes, &plan->scratch));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkPlanDestroy(CkPlan **old)
{
  CkPlan *plan = *old;

  PetscFunctionBeginUser;
  *old = NULL;
  if (!plan) PetscFunctionReturn(PETSC_SUCCESS);
  for (PetscInt s = 0; s < plan->nsteps; ++s) {
    CkStep *step = &plan->steps[s];

    if (step->data && step->kind->destroy) PetscCall(step->kind->destroy(step));
    PetscCall(PetscFree(step->data));
    PetscCall(PetscFree2(step->inputs, step->add));
  }
  PetscCall(PetscFree2(plan->tensors, plan->steps));
  PetscCall(PetscFree3(plan->first, plan->count, plan->slopes));
  PetscCall(PetscFree(plan->weighted));
  PetscCall(CkFoldDestroy(&plan->fold));
  PetscCall(CkArenaFree(&plan->arena));
  PetscCall(PetscFree(plan));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkPlanSetPoint(CkPlan *plan, const double weights[], const double buffers[])
{
  PetscFunctionBeginUser;
  PetscCall(CkFoldSetPoint(plan->fold, weights, buffers));
  plan->buffers = buffers;
  for (PetscInt s = 0; s < plan->nsteps; ++s)
    if (plan->steps[s].kind->point) PetscCall(plan->steps[s].kind->point(plan, &plan->steps[s]));
  plan->buffers = NULL;
  PetscFunctionReturn(PETSC_SUCCESS);
}
