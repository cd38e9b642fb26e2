/* linear_create.c: dense layers and convolutions made ready: maps, frames, what does each pass, packed weights. */
#include "linear.h"
#include "train.h"

/* Packed weights that product() and scatter() handle at full rate; beyond it oneDNN is faster (measured, AVX2: 256 x
   256 x 3 x 3, 2.4 MB, 78 GFLOP/s here and 95 to 105 there; 128 x 128 x 3 x 3, 0.6 MB, 95 and 93 to 100). Winograd's
   kernels have 156 for the former. */
static const size_t PRIMITIVES_ABOVE = 1 << 20;
/* With fewer channels or units the transforms cost more than they save; in gradients with fewer positions too, where
   the time goes to writing them. */
enum { WINOGRAD_FROM = 12, WINOGRAD_POSITIONS = 128 };

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

static CkLanesWinograd WinogradOf(CkShape in, CkShape out, PetscInt above, PetscInt left, size_t in_plane,
                                  size_t out_plane)
{
  return (CkLanesWinograd){.units = (int)out.c,
                           .channels = (int)in.c,
                           .in = {(int)in.h, (int)in.w},
                           .out = {(int)out.h, (int)out.w},
                           .padding = {(int)above, (int)left},
                           .tiles = {(int)(out.h + 1) / 2, (int)(out.w + 1) / 2},
                           .in_plane = in_plane,
                           .out_plane = out_plane};
}

/* What does the forward pass and the derivatives of the input and of the weights. */
static void ChooseMeans(const CkPlan *plan, const CkStep *step, CkLinear *l)
{
  const CkLayer  *layer = &plan->layers[step->layer];
  const PetscInt *pad = layer->a.padding;
  const size_t    weights = (size_t)l->map.units * (size_t)l->map.taps;
  const PetscBool choose = (PetscBool)(plan->convolution == CK_CONVOLUTION_AUTO);
  const PetscBool fits = (PetscBool)(layer->a.kernel[0] == 3 && layer->a.kernel[1] == 3 && layer->a.stride[0] == 1 &&
                                     layer->a.stride[1] == 1 && pad[0] <= 2 && pad[1] <= 2);
  const PetscBool pays = (PetscBool)(PetscMin(layer->in.c, layer->out.c) >= WINOGRAD_FROM);
  CkLinearMeans   means = CK_BY_LANES;

  if (fits && (plan->convolution == CK_CONVOLUTION_WINOGRAD || (choose && pays))) means = CK_BY_WINOGRAD;
  else if (plan->convolution == CK_CONVOLUTION_ONEDNN || (choose && weights * sizeof(float) > PRIMITIVES_ABOVE))
    means = CK_BY_PRIMITIVE;
  l->means[CK_PRIMITIVE_FORWARD] = l->means[CK_PRIMITIVE_INPUT] = means;
  /* per-sample gradients: own kernels are faster for every shape tried (AVX2, 95 GFLOP/s; oneDNN 70 at best, batch 1)
   */
  if (means != CK_BY_PRIMITIVE || plan->convolution == CK_CONVOLUTION_ONEDNN) l->means[CK_PRIMITIVE_WEIGHTS] = means;
  if (choose && layer->out.h * layer->out.w < WINOGRAD_POSITIONS) l->means[CK_PRIMITIVE_WEIGHTS] = CK_BY_LANES;
}

static void CreateWinograd(CkPlan *plan, const CkStep *step, CkLinear *l)
{
  const CkLayer  *layer = &plan->layers[step->layer];
  const PetscInt *pad = layer->a.padding;
  const size_t    in = CkTensorPlane(plan, step->inputs[0], layer->in);
  const size_t    out = CkTensorPlane(plan, step->output, layer->out);

  l->winograd = WinogradOf(layer->in, layer->out, pad[0], pad[1], in, out);
  l->mirrored = WinogradOf(layer->out, layer->in, 2 - pad[0], 2 - pad[1], out, in);
  plan->scratch_packs = PetscMax(plan->scratch_packs, CkLanesWinogradScratch(&l->winograd));
  plan->scratch_packs = PetscMax(plan->scratch_packs, CkLanesWinogradScratch(&l->mirrored));
}

static PetscErrorCode CreateConv(CkPlan *plan, CkStep *step, CkLinear *l)
{
  PetscBool by_primitives[CK_PRIMITIVES];
  size_t    width, plane;

  PetscFunctionBeginUser;
  PetscCall(CreateFrame(plan, step, l, &width, &plane));
  PetscCall(CreateConvMap(plan, step, l, width, plane));
  PetscCall(CreatePointwiseBack(plan, step, l, plane));
  if (plan->tensors[step->output].sparse) PetscCall(CreateSparse(plan, step, l, plane));
  ChooseMeans(plan, step, l);
  if (l->means[CK_PRIMITIVE_FORWARD] == CK_BY_WINOGRAD) CreateWinograd(plan, step, l);
  for (int i = 0; i < CK_PRIMITIVES; ++i) by_primitives[i] = (PetscBool)(l->means[i] == CK_BY_PRIMITIVE);
  if (!plan->tensors[step->inputs[0]].wanted) by_primitives[CK_PRIMITIVE_INPUT] = PETSC_FALSE;
  if (by_primitives[CK_PRIMITIVE_FORWARD]) PetscCall(CkPrimitivesCreate(plan, step, by_primitives, &l->primitives));
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

/* Numbers that packed weights take, of the layer and of the input's derivative. */
static size_t PackedSize(const CkLinear *l, CkPrimitiveKind kind)
{
  const size_t weights = (size_t)l->map.units * (size_t)l->map.taps;

  switch (l->means[kind]) {
  case CK_BY_WINOGRAD:
    return weights / 9 * 16;
  case CK_BY_PRIMITIVE:
    return CkPrimitivesPackedSize(l->primitives, kind);
  default:
    return weights;
  }
}

PetscErrorCode CkLinearCreate(CkPlan *plan, CkStep *step)
{
  CkLinear *l;

  PetscFunctionBeginUser;
  PetscCall(PetscNew(&l));
  step->data = l;
  l->dense = step->kind->whole;
  if (l->dense) PetscCall(CreateDense(plan, step, l));
  else PetscCall(CreateConv(plan, step, l));
  l->packed = PackedSize(l, CK_PRIMITIVE_FORWARD);
  PetscCall(CkArenaFloats(&plan->arena, l->packed, &l->weights));
  PetscCall(CkArenaFloats(&plan->arena, (size_t)l->map.units, &l->shifts));
  if (plan->tensors[step->inputs[0]].wanted)
    PetscCall(CkArenaFloats(&plan->arena, PackedSize(l, CK_PRIMITIVE_INPUT), &l->transposed));
  PetscCall(CreateGradients(plan, step, l));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkLinearDestroy(CkStep *step)
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
  switch (l->means[CK_PRIMITIVE_FORWARD]) {
  case CK_BY_WINOGRAD:
    CkLanesWinogradPack(&l->winograd, PETSC_FALSE, w, packed);
    break;
  case CK_BY_PRIMITIVE:
    PetscCall(CkPrimitivesPack(l->primitives, CK_PRIMITIVE_FORWARD, w, packed));
    break;
  default:
    for (size_t o = 0; o < units; ++o)
      for (size_t t = 0; t < taps; ++t) packed[CkLanesPackedIndex(units, taps, o, t)] = (float)w[o * taps + t];
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Weights of the input's derivative. */
static PetscErrorCode PackTransposed(const CkLinear *l, const double w[], float packed[])
{
  const size_t units = (size_t)l->map.units, taps = (size_t)l->map.taps;

  PetscFunctionBeginUser;
  switch (l->means[CK_PRIMITIVE_INPUT]) {
  case CK_BY_WINOGRAD:
    CkLanesWinogradPack(&l->mirrored, PETSC_TRUE, w, packed);
    break;
  case CK_BY_PRIMITIVE:
    PetscCall(CkPrimitivesPack(l->primitives, CK_PRIMITIVE_INPUT, w, packed));
    break;
  default:
    for (size_t o = 0; o < units; ++o)
      for (size_t t = 0; t < taps; ++t) packed[CkLanesPackedIndex(taps, units, t, o)] = (float)w[o * taps + t];
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkLinearPoint(CkPlan *plan, CkStep *step)
{
  CkLinear          *l = (CkLinear *)step->data;
  const CkFoldLayer *f = &plan->fold->layers[plan->fold->of_layer[step->layer]];
  const size_t       units = (size_t)f->units, taps = (size_t)f->fan_in;
  const double      *w = plan->fold->point + f->first;

  PetscFunctionBeginUser;
  PetscCall(CkLinearPack(l, w, l->weights));
  for (size_t o = 0; o < units; ++o) l->shifts[o] = f->shift ? (float)w[units * taps + o] : 0;
  if (l->transposed) PetscCall(PackTransposed(l, w, l->transposed));
  PetscFunctionReturn(PETSC_SUCCESS);
}
