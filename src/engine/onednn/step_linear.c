#include "linear.h"
#include "train.h"
#include <clarkia/progress.h>

/* Packed weights that own kernels handle at full rate; beyond it oneDNN is faster (measured: 256 x 256 x 3 x 3, 2.4 MB,
   78 GFLOP/s here and 95 to 105 there; 128 x 128 x 3 x 3, 0.6 MB, 95 and 93 to 100). */
static const size_t PRIMITIVES_ABOVE = 1 << 20;

static CkShape FlatShape(const CkTensor *t)
{
  return (CkShape){.c = (PetscInt)t->size, .h = 1, .w = 1};
}

static PetscErrorCode IntCast(size_t value, int *out)
{
  PetscFunctionBeginUser;
  PetscCheck(value <= INT32_MAX, PETSC_COMM_SELF, PETSC_ERR_ARG_OUTOFRANGE,
             "%zu is beyond the kernels' index type: use a smaller -engine_tile", value);
  *out = (int)value;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Tables of a map with room for its taps and positions; unit_stride, units, taps and positions are set. */
static PetscErrorCode MapTables(CkPlan *plan, CkLanesMap *map, int **tap, int **from, int **to)
{
  PetscFunctionBeginUser;
  PetscCall(CkArenaInts(&plan->arena, (size_t)map->taps, tap));
  PetscCall(CkArenaInts(&plan->arena, (size_t)map->positions, from));
  PetscCall(CkArenaInts(&plan->arena, (size_t)map->positions, to));
  map->tap = *tap;
  map->from = *from;
  map->to = *to;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* units x taps flat numbers at `positions` chunks. */
static PetscErrorCode FlatMap(CkPlan *plan, size_t units, size_t taps, PetscInt positions, CkLanesMap *map)
{
  int *tap, *from, *to;

  PetscFunctionBeginUser;
  *map = (CkLanesMap){.positions = (int)positions, .unit_stride = 1};
  PetscCall(IntCast(units, &map->units));
  PetscCall(IntCast(taps, &map->taps));
  PetscCall(MapTables(plan, map, &tap, &from, &to));
  for (int t = 0; t < map->taps; ++t) tap[t] = t;
  for (int p = 0; p < map->positions; ++p) {
    PetscCall(IntCast((size_t)p * taps, &from[p]));
    PetscCall(IntCast((size_t)p * units, &to[p]));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode CreateDense(CkPlan *plan, CkStep *step, CkLinear *l)
{
  const CkTensor *in = &plan->tensors[step->inputs[0]], *out = &plan->tensors[step->output];

  PetscFunctionBeginUser;
  PetscCheck(FlatShape(in).c == plan->layers[step->layer].in.c, PETSC_COMM_SELF, PETSC_ERR_PLIB,
             "Dense layer reads an array with gaps");
  PetscCall(FlatMap(plan, out->size, in->size, 1, &l->map));
  PetscCall(FlatMap(plan, out->size, in->size, plan->capacity, &l->tile));
  PetscCall(FlatMap(plan, in->size, out->size, plan->capacity, &l->back));
  l->reverse = PETSC_TRUE;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Whether a step sees its image in a frame like that of l. */
static PetscBool FramedAlike(const CkPlan *plan, const CkStep *step, const CkLinear *l)
{
  const CkLayer *layer = &plan->layers[step->layer];

  return (PetscBool)(step->kind == &CkStepConv && layer->in.h == l->frame.in[0] && layer->in.w == l->frame.in[1] &&
                     layer->a.padding[0] == l->frame.padding[0] && layer->a.padding[1] == l->frame.padding[1]);
}

/* Frames of one geometry share their arrays, made by the first of these steps: what lies in them is used at once, and
   the margins stay zero. */
static PetscErrorCode CreateFrameArrays(CkPlan *plan, const CkStep *step, CkLinear *l)
{
  PetscInt channels = 0;
  size_t   size;

  PetscFunctionBeginUser;
  for (PetscInt s = 0; s < plan->nsteps; ++s) {
    const CkStep   *other = &plan->steps[s];
    const CkLinear *made = (const CkLinear *)other->data;

    if (!FramedAlike(plan, other, l)) continue;
    if (other < step) {
      l->framed_x = made->framed_x;
      l->framed_d = made->framed_d;
      PetscFunctionReturn(PETSC_SUCCESS);
    }
    channels = PetscMax(channels, plan->layers[other->layer].in.c);
  }
  size = (size_t)channels * l->frame.out_plane * (size_t)plan->lanes->lanes;
  PetscCall(CkArenaFloats(&plan->arena, size, &l->framed_x));
  PetscCall(CkArenaFloats(&plan->arena, size, &l->framed_d));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The convolution's image, framed if it is padded: width of a row, packs from channel to channel. */
static PetscErrorCode CreateFrame(CkPlan *plan, const CkStep *step, CkLinear *l, size_t *width, size_t *plane)
{
  const CkLayer *layer = &plan->layers[step->layer];
  const size_t   h = (size_t)(layer->in.h + 2 * layer->a.padding[0] + layer->a.trailing[0]);
  const size_t   w = (size_t)(layer->in.w + 2 * layer->a.padding[1] + layer->a.trailing[1]);
  const size_t   lanes = (size_t)plan->lanes->lanes;

  PetscFunctionBeginUser;
  *width = w;
  *plane = CkTensorPlane(plan, step->inputs[0], layer->in);
  l->framed = (PetscBool)(h > (size_t)layer->in.h || w > (size_t)layer->in.w);
  if (!l->framed) PetscFunctionReturn(PETSC_SUCCESS);
  l->frame = (CkLanesWindow){.planes = (int)layer->in.c,
                             .in = {(int)layer->in.h, (int)layer->in.w},
                             .out = {(int)h, (int)w},
                             .padding = {(int)layer->a.padding[0], (int)layer->a.padding[1]},
                             .in_plane = *plane,
                             .out_plane = CkLanesPlane(h * w, (int)lanes)};
  *plane = l->frame.out_plane;
  PetscCall(CreateFrameArrays(plan, step, l));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode CreateConvMap(CkPlan *plan, const CkStep *step, CkLinear *l, size_t width, size_t plane)
{
  const CkLayer  *layer = &plan->layers[step->layer];
  const PetscInt *kernel = layer->a.kernel, *stride = layer->a.stride;
  int            *tap, *from, *to, t = 0, p = 0;

  PetscFunctionBeginUser;
  PetscCall(IntCast((size_t)layer->in.c * (size_t)kernel[0] * (size_t)kernel[1], &l->map.taps));
  PetscCall(IntCast((size_t)layer->out.h * (size_t)layer->out.w, &l->map.positions));
  PetscCall(IntCast(CkTensorPlane(plan, step->output, layer->out), &l->map.unit_stride));
  PetscCall(IntCast((size_t)layer->out.c, &l->map.units));
  PetscCall(MapTables(plan, &l->map, &tap, &from, &to));
  for (PetscInt c = 0; c < layer->in.c; ++c)
    for (PetscInt h = 0; h < kernel[0]; ++h)
      for (PetscInt w = 0; w < kernel[1]; ++w)
        PetscCall(IntCast((size_t)c * plane + (size_t)h * width + (size_t)w, &tap[t++]));
  for (PetscInt h = 0; h < layer->out.h; ++h)
    for (PetscInt w = 0; w < layer->out.w; ++w, ++p) {
      PetscCall(IntCast((size_t)(h * stride[0]) * width + (size_t)(w * stride[1]), &from[p]));
      to[p] = p;
    }
  l->tile = l->map;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* A 1x1 convolution of stride 1 without padding: units and channels change places. */
static PetscErrorCode CreatePointwiseBack(CkPlan *plan, const CkStep *step, CkLinear *l, size_t plane)
{
  const CkLayer *layer = &plan->layers[step->layer];
  int           *tap, *from, *to;

  PetscFunctionBeginUser;
  l->reverse = (PetscBool)(layer->a.kernel[0] == 1 && layer->a.kernel[1] == 1 && layer->a.stride[0] == 1 &&
                           layer->a.stride[1] == 1 && !l->framed);
  if (!l->reverse) PetscFunctionReturn(PETSC_SUCCESS);
  l->back = (CkLanesMap){.units = l->map.taps, .taps = l->map.units, .positions = l->map.positions};
  PetscCall(IntCast(plane, &l->back.unit_stride));
  PetscCall(MapTables(plan, &l->back, &tap, &from, &to));
  for (int t = 0; t < l->back.taps; ++t) tap[t] = t * l->map.unit_stride;
  for (int p = 0; p < l->back.positions; ++p) from[p] = to[p] = p;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  The first convolution of a net, explicit, whose output only a max pool reads: the sums for a sample then run over the
  pool's windows instead of all positions (one in nine for small-lenet), though with `run` of all lanes in use. Measured
  there: 0.8 us a sample instead of 3.0 us with the pool's own backward pass.
*/
PetscBool CkLinearSparse(const CkPlan *plan, const CkStep *step, const CkStep *reader)
{
  const CkLayer  *layer = &plan->layers[step->layer];
  const CkTensor *out = &plan->tensors[step->output];
  const double    windows = (double)plan->layers[reader->layer].out.h * (double)plan->layers[reader->layer].out.w;
  const double    positions = (double)layer->out.h * (double)layer->out.w;
  const PetscInt  run = layer->a.kernel[1], lanes = plan->lanes->lanes;

  if (step->kind != &CkStepConv || reader->kind != &CkStepMaxPool || step->inputs[0] != 0) return PETSC_FALSE;
  if (plan->training_mode || plan->convolution == CK_CONVOLUTION_ONEDNN) return PETSC_FALSE;
  if (plan->weighted[plan->fold->of_layer[step->layer]].form != CK_FORM_EXPLICIT) return PETSC_FALSE;
  if (out->readers != 1 || step->output == plan->logits || run > lanes) return PETSC_FALSE;
  return (PetscBool)(2 * windows * (double)lanes < positions * (double)run);
}

static PetscErrorCode CreateSparse(CkPlan *plan, const CkStep *step, CkLinear *l, size_t plane)
{
  const CkLayer *layer = &plan->layers[step->layer];

  PetscFunctionBeginUser;
  l->pool = CkStepReading(plan, step);
  l->pooled = (CkLanesPooled){.windows = (int)(plan->layers[l->pool->layer].out.h * plan->layers[l->pool->layer].out.w),
                              .run = (int)layer->a.kernel[1],
                              .plane = plan->tensors[l->pool->output].plane};
  PetscCall(CkArenaFloats(&plan->arena, (size_t)layer->in.c * plane + (size_t)plan->lanes->lanes, &l->image));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode CreateConv(CkPlan *plan, CkStep *step, CkLinear *l)
{
  const size_t weights = (size_t)plan->fold->layers[plan->fold->of_layer[step->layer]].units *
                         (size_t)plan->fold->layers[plan->fold->of_layer[step->layer]].fan_in;
  const PetscBool large = (PetscBool)(weights * sizeof(float) > PRIMITIVES_ABOVE);
  size_t          width, plane;

  PetscFunctionBeginUser;
  PetscCall(CreateFrame(plan, step, l, &width, &plane));
  PetscCall(CreateConvMap(plan, step, l, width, plane));
  PetscCall(CreatePointwiseBack(plan, step, l, plane));
  if (plan->tensors[step->output].sparse) PetscCall(CreateSparse(plan, step, l, plane));
  l->by_primitives[CK_PRIMITIVE_FORWARD] =
    (PetscBool)(plan->convolution == CK_CONVOLUTION_ONEDNN || (plan->convolution == CK_CONVOLUTION_AUTO && large));
  l->by_primitives[CK_PRIMITIVE_INPUT] =
    (PetscBool)(l->by_primitives[CK_PRIMITIVE_FORWARD] && plan->tensors[step->inputs[0]].wanted);
  /* per-sample gradients: the own kernel is faster for every shape tried (95 GFLOP/s; oneDNN 70 at best, batch 1) */
  l->by_primitives[CK_PRIMITIVE_WEIGHTS] = (PetscBool)(plan->convolution == CK_CONVOLUTION_ONEDNN);
  if (l->by_primitives[CK_PRIMITIVE_FORWARD])
    PetscCall(CkPrimitivesCreate(plan, step, l->by_primitives, &l->primitives));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Arrays of gradients: of samples (evaluation mode) or of blocks. */
static PetscErrorCode CreateGradients(CkPlan *plan, const CkStep *step, CkLinear *l)
{
  CkWeighted  *w = &plan->weighted[plan->fold->of_layer[step->layer]];
  const size_t lanes = (size_t)plan->lanes->lanes, columns = lanes * (size_t)plan->capacity;
  const size_t units = (size_t)l->map.units, taps = (size_t)l->map.taps;

  PetscFunctionBeginUser;
  if (!plan->training_mode && w->form == CK_FORM_EXPLICIT) {
    PetscCall(CkArenaFloats(&plan->arena, w->entries * columns, &w->G));
  } else if (l->dense) {
    PetscCall(CkArenaFloats(&plan->arena, taps * columns, &l->matrix_x));
    PetscCall(CkArenaFloats(&plan->arena, units * columns, &l->matrix_d));
  }
  if (!plan->training_mode) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(CkArenaFloats(&plan->arena, l->dense ? (size_t)CkTrainRows(l->map.taps) * taps : w->entries * lanes,
                          &l->block_gradient));
  PetscCall(PetscMalloc1(l->dense ? units : w->entries, &l->block_sums));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Create(CkPlan *plan, CkStep *step)
{
  CkLinear *l;
  size_t    transposed;

  PetscFunctionBeginUser;
  PetscCall(PetscNew(&l));
  step->data = l;
  l->dense = step->kind->whole;
  if (l->dense) PetscCall(CreateDense(plan, step, l));
  else PetscCall(CreateConv(plan, step, l));
  l->packed = transposed = (size_t)l->map.units * (size_t)l->map.taps;
  if (l->by_primitives[CK_PRIMITIVE_FORWARD]) l->packed = CkPrimitivesPackedSize(l->primitives, CK_PRIMITIVE_FORWARD);
  if (l->by_primitives[CK_PRIMITIVE_INPUT]) transposed = CkPrimitivesPackedSize(l->primitives, CK_PRIMITIVE_INPUT);
  PetscCall(CkArenaFloats(&plan->arena, l->packed, &l->weights));
  PetscCall(CkArenaFloats(&plan->arena, (size_t)l->map.units, &l->shifts));
  if (plan->tensors[step->inputs[0]].wanted) PetscCall(CkArenaFloats(&plan->arena, transposed, &l->transposed));
  PetscCall(CreateGradients(plan, step, l));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Destroy(CkStep *step)
{
  CkLinear *l = (CkLinear *)step->data;

  PetscFunctionBeginUser;
  PetscCall(CkPrimitivesDestroy(&l->primitives));
  PetscCall(PetscFree(l->block_sums));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkLinearPack(const CkLinear *l, const double w[], float packed[])
{
  const size_t units = (size_t)l->map.units, taps = (size_t)l->map.taps;

  PetscFunctionBeginUser;
  if (l->by_primitives[CK_PRIMITIVE_FORWARD]) {
    PetscCall(CkPrimitivesPack(l->primitives, CK_PRIMITIVE_FORWARD, w, packed));
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  for (size_t o = 0; o < units; ++o)
    for (size_t t = 0; t < taps; ++t) packed[CkLanesPackedIndex(units, taps, o, t)] = (float)w[o * taps + t];
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Point(CkPlan *plan, CkStep *step)
{
  CkLinear          *l = (CkLinear *)step->data;
  const CkFoldLayer *f = &plan->fold->layers[plan->fold->of_layer[step->layer]];
  const size_t       units = (size_t)f->units, taps = (size_t)f->fan_in;
  const double      *w = plan->fold->point + f->first;

  PetscFunctionBeginUser;
  PetscCall(CkLinearPack(l, w, l->weights));
  for (size_t o = 0; o < units; ++o) l->shifts[o] = f->shift ? (float)w[units * taps + o] : 0;
  if (l->by_primitives[CK_PRIMITIVE_INPUT]) {
    PetscCall(CkPrimitivesPack(l->primitives, CK_PRIMITIVE_INPUT, w, l->transposed));
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  for (size_t o = 0; o < units && l->transposed; ++o)
    for (size_t t = 0; t < taps; ++t) l->transposed[CkLanesPackedIndex(taps, units, t, o)] = (float)w[o * taps + t];
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The input as the kernels read it. */
static const float *KernelInput(CkPlan *plan, const CkStep *step, PetscInt chunk)
{
  const CkLinear *l = (const CkLinear *)step->data;
  const float    *x = CkTensorX(plan, step->inputs[0], chunk);

  if (!l->framed) return x;
  plan->lanes->frame(&l->frame, x, l->framed_x);
  return l->framed_x;
}

PetscErrorCode CkLinearApply(CkPlan *plan, const CkStep *step, PetscInt chunk, PetscInt count, const float weights[],
                             const float shifts[], float *y)
{
  const CkLinear *l = (const CkLinear *)step->data;
  CkLanesMap      map = l->tile;

  PetscFunctionBeginUser;
  if (l->dense) map.positions = (int)count;
  if (l->by_primitives[CK_PRIMITIVE_FORWARD])
    PetscCall(CkPrimitivesForward(l->primitives, CkTensorX(plan, step->inputs[0], chunk), weights, shifts, y));
  else plan->lanes->product(&map, PETSC_FALSE, weights, shifts, KernelInput(plan, step, chunk), y);
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkLinearGradients(CkPlan *plan, const CkStep *step, PetscInt chunk, PetscBool add, const float *d,
                                 float *g, size_t stride)
{
  const CkLinear    *l = (const CkLinear *)step->data;
  const CkFoldLayer *f = &plan->fold->layers[plan->fold->of_layer[step->layer]];

  PetscFunctionBeginUser;
  if (l->by_primitives[CK_PRIMITIVE_WEIGHTS])
    PetscCall(CkPrimitivesWeights(l->primitives, CkTensorX(plan, step->inputs[0], chunk), d, add, (PetscBool)f->shift,
                                  g, stride));
  else plan->lanes->outer(&l->map, add, (PetscBool)f->shift, KernelInput(plan, step, chunk), d, g, stride);
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkDenseGather(CkPlan *plan, const CkStep *step, PetscInt chunk, PetscInt count)
{
  static const float ones[CK_LANES_MAX] __attribute__((aligned(64))) = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1};
  const CkLinear    *l = (const CkLinear *)step->data;
  const size_t       lanes = (size_t)plan->lanes->lanes;

  PetscFunctionBeginUser;
  for (PetscInt c = 0; c < count; ++c) {
    const size_t at = (size_t)c * lanes;

    plan->lanes->scale((size_t)l->map.taps, CkTensorX(plan, step->inputs[0], chunk + c), ones, (size_t)count,
                       l->matrix_x + at);
    plan->lanes->scale((size_t)l->map.units, CkTensorD(plan, step->output, chunk + c), ones, (size_t)count,
                       l->matrix_d + at);
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Forward(CkPlan *plan, CkStep *step, PetscInt chunk, PetscInt count)
{
  const CkLinear *l = (const CkLinear *)step->data;

  PetscFunctionBeginUser;
  PetscCall(CkLinearApply(plan, step, chunk, count, l->weights, l->shifts, CkTensorX(plan, step->output, chunk)));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Derivative of the input. */
static PetscErrorCode BackwardData(CkPlan *plan, CkStep *step, PetscInt chunk, PetscInt count)
{
  const CkLinear *l = (const CkLinear *)step->data;
  const CkLanes  *lanes = plan->lanes;
  const CkTensor *in = &plan->tensors[step->inputs[0]];
  const float    *e = CkTensorD(plan, step->output, chunk);
  float          *d = CkTensorD(plan, step->inputs[0], chunk);
  const size_t    pack = (size_t)lanes->lanes;
  CkLanesMap      back = l->back;

  PetscFunctionBeginUser;
  if (l->by_primitives[CK_PRIMITIVE_INPUT]) {
    PetscCall(CkPrimitivesInput(l->primitives, e, l->transposed, step->add[0], d));
  } else if (l->reverse) {
    if (l->dense) back.positions = (int)count;
    lanes->product(&back, step->add[0], l->transposed, NULL, e, d);
  } else if (l->framed) {
    PetscCall(PetscArrayzero(l->framed_d, (size_t)l->frame.planes * l->frame.out_plane * pack));
    lanes->scatter(&l->map, l->transposed, e, l->framed_d);
    lanes->unframe(&l->frame, step->add[0], l->framed_d, d);
  } else {
    if (!step->add[0]) PetscCall(PetscArrayzero(d, in->size * pack));
    lanes->scatter(&l->map, l->transposed, e, d);
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Sample k's image at the places where the map looks for packs. */
static void CopyImage(const CkPlan *plan, const CkStep *step, PetscInt k)
{
  const CkLinear *l = (const CkLinear *)step->data;
  const CkLayer  *layer = &plan->layers[step->layer];
  const size_t    h = (size_t)layer->in.h, w = (size_t)layer->in.w, framed = l->framed ? (size_t)l->frame.out[1] : w;
  const size_t    plane = l->framed ? l->frame.out_plane : plan->tensors[0].plane;
  const size_t    corner = (size_t)layer->a.padding[0] * framed + (size_t)layer->a.padding[1];
  const float    *from = plan->features + (size_t)k * (size_t)layer->in.c * h * w;

  for (size_t c = 0; c < (size_t)layer->in.c; ++c)
    for (size_t row = 0; row < h; ++row)
      memcpy(l->image + c * plane + corner + row * framed, from + (c * h + row) * w, w * sizeof(float));
}

static PetscErrorCode SparseGradients(CkPlan *plan, const CkStep *step, PetscInt chunk, float *g, size_t stride)
{
  const CkLinear    *l = (const CkLinear *)step->data;
  const CkFoldLayer *f = &plan->fold->layers[plan->fold->of_layer[step->layer]];

  PetscFunctionBeginUser;
  for (PetscInt k = 0; k < plan->count[chunk]; ++k) {
    CopyImage(plan, step, plan->first[chunk] + k);
    plan->lanes->outer_pooled(&l->map, &l->pooled, (int)k, (PetscBool)f->shift, l->image,
                              CkTensorD(plan, l->pool->output, chunk), CkPoolPlaces(plan, l->pool, chunk), g, stride);
  }
  for (size_t e = 0; e < plan->weighted[plan->fold->of_layer[step->layer]].entries; ++e)
    for (PetscInt k = plan->count[chunk]; k < plan->lanes->lanes; ++k) g[e * stride + (size_t)k] = 0;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Explicit gradients of the chunks' samples. */
static PetscErrorCode ExplicitGradients(CkPlan *plan, const CkStep *step, PetscInt chunk, PetscInt count)
{
  const CkLinear   *l = (const CkLinear *)step->data;
  const CkWeighted *w = &plan->weighted[plan->fold->of_layer[step->layer]];
  const size_t      lanes = (size_t)plan->lanes->lanes, ld = lanes * (size_t)plan->capacity;

  PetscFunctionBeginUser;
  PetscCall(PetscLogEventBegin(CK_Gradient, 0, 0, 0, 0));
  for (PetscInt c = chunk; c < chunk + count; ++c) {
    float *g = w->G + (size_t)c * lanes;

    if (l->pool) PetscCall(SparseGradients(plan, step, c, g, ld));
    else PetscCall(CkLinearGradients(plan, step, c, PETSC_FALSE, CkTensorD(plan, step->output, c), g, ld));
    PetscCall(PetscLogFlops(2 * (double)l->map.units * (double)l->map.taps * (double)plan->count[c] *
                            (l->dense ? 1 : (double)l->map.positions)));
  }
  PetscCall(PetscLogEventEnd(CK_Gradient, 0, 0, 0, 0));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Backward(CkPlan *plan, CkStep *step, PetscInt chunk, PetscInt count)
{
  const CkWeighted *w = &plan->weighted[plan->fold->of_layer[step->layer]];

  PetscFunctionBeginUser;
  if (plan->training) PetscCall(CkTrainLinear(plan, step, chunk, count));
  else if (w->form == CK_FORM_EXPLICIT && !w->idle) PetscCall(ExplicitGradients(plan, step, chunk, count));
  if (plan->tensors[step->inputs[0]].wanted) PetscCall(BackwardData(plan, step, chunk, count));
  PetscFunctionReturn(PETSC_SUCCESS);
}

const CkStepKind CkStepDense = {.name = "dense",
                                .whole = PETSC_TRUE,
                                .needs_input = PETSC_TRUE,
                                .create = Create,
                                .destroy = Destroy,
                                .point = Point,
                                .forward = Forward,
                                .backward = Backward};
const CkStepKind CkStepConv = {.name = "conv",
                               .needs_input = PETSC_TRUE,
                               .create = Create,
                               .destroy = Destroy,
                               .point = Point,
                               .forward = Forward,
                               .backward = Backward};
