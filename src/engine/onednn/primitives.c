#include "primitives.h"
#include <clarkia/onednn.h>

/* An array that a primitive reads or writes in its own layout, with the reorder from or to packs. */
typedef struct {
  dnnl_memory_t    packs, own; /* packs: handle set at each call */
  dnnl_primitive_t reorder;
} Side;

typedef struct {
  dnnl_primitive_desc_t description;
  dnnl_primitive_t      primitive;
  dnnl_memory_t         scratch, weights, shifts;
  Side                  input, output; /* x or its derivative; y or its derivative */
  int                  *place;         /* [units x taps] where a weight stands in the primitive's layout */
  size_t                packed;        /* numbers in that layout */
} Operation;

struct CkPrimitives {
  dnnl_engine_t         engine;
  dnnl_stream_t         stream;
  dnnl_primitive_attr_t attributes; /* scratchpads are ours */
  const CkLanes        *lanes;
  size_t                units, taps, input_size; /* input_size: packs of a chunk */
  float                *back;                    /* [input_size] packs, on the way to a sum */
  Operation             operation[CK_PRIMITIVES];
  CkArena               arena;
};

CkConvolutionSizes CkConvolutionSizesOf(const CkLayer *l, PetscInt samples)
{
  return (CkConvolutionSizes){.x = {samples, l->in.c, l->in.h, l->in.w},
                              .w = {l->out.c, l->in.c, l->a.kernel[0], l->a.kernel[1]},
                              .b = {l->out.c},
                              .y = {samples, l->out.c, l->out.h, l->out.w},
                              .stride = {l->a.stride[0], l->a.stride[1]},
                              .padding = {l->a.padding[0], l->a.padding[1]},
                              .behind = {l->a.padding[0] + l->a.trailing[0], l->a.padding[1] + l->a.trailing[1]}};
}

PetscErrorCode CkPrimitivesDescribe(dnnl_engine_t engine, dnnl_primitive_attr_t attributes, const CkConvolutionSizes *g,
                                    CkPrimitiveKind kind, dnnl_primitive_desc_t *description)
{
  dnnl_memory_desc_t      x, w, b, y;
  dnnl_convolution_desc_t forward, back;
  dnnl_primitive_desc_t   hint;

  PetscFunctionBeginUser;
  CkCallDNN(dnnl_memory_desc_init_by_tag(&x, 4, g->x, dnnl_f32, dnnl_format_tag_any));
  CkCallDNN(dnnl_memory_desc_init_by_tag(&w, 4, g->w, dnnl_f32, dnnl_format_tag_any));
  CkCallDNN(dnnl_memory_desc_init_by_tag(&b, 1, g->b, dnnl_f32, dnnl_a));
  CkCallDNN(dnnl_memory_desc_init_by_tag(&y, 4, g->y, dnnl_f32, dnnl_format_tag_any));
  CkCallDNN(dnnl_convolution_forward_desc_init(&forward, dnnl_forward_training, dnnl_convolution_direct, &x, &w, &b, &y,
                                               g->stride, g->padding, g->behind));
  CkCallDNN(dnnl_primitive_desc_create(&hint, &forward, attributes, engine, NULL));
  if (kind == CK_PRIMITIVE_FORWARD) {
    *description = hint;
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  if (kind == CK_PRIMITIVE_INPUT)
    CkCallDNN(dnnl_convolution_backward_data_desc_init(&back, dnnl_convolution_direct, &x, &w, &y, g->stride,
                                                       g->padding, g->behind));
  else
    CkCallDNN(dnnl_convolution_backward_weights_desc_init(&back, dnnl_convolution_direct, &x, &w, &b, &y, g->stride,
                                                          g->padding, g->behind));
  CkCallDNN(dnnl_primitive_desc_create(description, &back, attributes, engine, hint));
  CkCallDNN(dnnl_primitive_desc_destroy(hint));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Memory of the primitive's own layout, ours. */
static PetscErrorCode Own(CkPrimitives *p, const dnnl_memory_desc_t *layout, dnnl_memory_t *memory)
{
  float *array;

  PetscFunctionBeginUser;
  PetscCall(CkArenaFloats(&p->arena, dnnl_memory_desc_get_size(layout) / sizeof(float) + 1, &array));
  CkCallDNN(dnnl_memory_create(memory, layout, p->engine, array));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* inwards: packs are read; else written. */
static PetscErrorCode CreateSide(CkPrimitives *p, const dnnl_dims_t dims, size_t plane,
                                 const dnnl_memory_desc_t *layout, PetscBool inwards, Side *side)
{
  const dnnl_dim_t      lanes = p->lanes->lanes;
  const dnnl_dims_t     strides = {1, (dnnl_dim_t)plane * lanes, dims[3] * lanes, lanes};
  dnnl_memory_desc_t    packs;
  dnnl_primitive_desc_t reorder;

  PetscFunctionBeginUser;
  CkCallDNN(dnnl_memory_desc_init_by_strides(&packs, 4, dims, dnnl_f32, strides));
  CkCallDNN(dnnl_memory_create(&side->packs, &packs, p->engine, DNNL_MEMORY_NONE));
  PetscCall(Own(p, layout, &side->own));
  CkCallDNN(dnnl_reorder_primitive_desc_create(&reorder, inwards ? &packs : layout, p->engine,
                                               inwards ? layout : &packs, p->engine, NULL));
  CkCallDNN(dnnl_primitive_create(&side->reorder, reorder));
  CkCallDNN(dnnl_primitive_desc_destroy(reorder));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Where weight (o, i, h, w) stands in a blocked layout. */
static PetscErrorCode Places(CkPrimitives *p, const dnnl_memory_desc_t *layout, Operation *op)
{
  const dnnl_blocking_desc_t *b = &layout->format_desc.blocking;
  const dnnl_dim_t           *n = layout->dims;

  PetscFunctionBeginUser;
  PetscCheck(layout->format_kind == dnnl_blocked, PETSC_COMM_SELF, PETSC_ERR_SUP,
             "oneDNN chose a weight layout that is not blocked");
  op->packed = dnnl_memory_desc_get_size(layout) / sizeof(float);
  PetscCheck(op->packed <= INT32_MAX, PETSC_COMM_SELF, PETSC_ERR_ARG_OUTOFRANGE, "%zu weights in one layer",
             op->packed);
  PetscCall(CkArenaInts(&p->arena, p->units * p->taps, &op->place));
  for (size_t at = 0; at < p->units * p->taps; ++at) {
    dnnl_dim_t left = (dnnl_dim_t)at, index[4], offset = layout->offset0, step = 1;

    for (int d = 3; d >= 0; --d) {
      index[d] = left % n[d];
      left /= n[d];
    }
    for (int k = b->inner_nblks - 1; k >= 0; --k) {
      dnnl_dim_t *i = &index[b->inner_idxs[k]];

      offset += *i % b->inner_blks[k] * step;
      *i /= b->inner_blks[k];
      step *= b->inner_blks[k];
    }
    for (int d = 0; d < 4; ++d) offset += index[d] * b->strides[d];
    op->place[at] = (int)offset;
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode CreateOperation(CkPrimitives *p, const CkPlan *plan, const CkStep *step, CkPrimitiveKind kind)
{
  static const struct {
    dnnl_query_t input, weights, output;
  } queries[CK_PRIMITIVES] = {
    [CK_PRIMITIVE_FORWARD] = {dnnl_query_src_md, dnnl_query_weights_md, dnnl_query_dst_md},
    [CK_PRIMITIVE_INPUT] = {dnnl_query_diff_src_md, dnnl_query_weights_md, dnnl_query_diff_dst_md},
    [CK_PRIMITIVE_WEIGHTS] = {dnnl_query_src_md, dnnl_query_diff_weights_md, dnnl_query_diff_dst_md}};
  const CkLayer            *layer = &plan->layers[step->layer];
  const CkConvolutionSizes  g = CkConvolutionSizesOf(layer, kind == CK_PRIMITIVE_WEIGHTS ? 1 : p->lanes->lanes);
  Operation                *o = &p->operation[kind];
  const dnnl_memory_desc_t *weights;

  PetscFunctionBeginUser;
  PetscCall(CkPrimitivesDescribe(p->engine, p->attributes, &g, kind, &o->description));
  weights = dnnl_primitive_desc_query_md(o->description, queries[kind].weights, 0);
  CkCallDNN(dnnl_primitive_create(&o->primitive, o->description));
  PetscCall(CreateSide(p, g.x, CkTensorPlane(plan, step->inputs[0], layer->in),
                       dnnl_primitive_desc_query_md(o->description, queries[kind].input, 0),
                       (PetscBool)(kind != CK_PRIMITIVE_INPUT), &o->input));
  PetscCall(CreateSide(p, g.y, CkTensorPlane(plan, step->output, layer->out),
                       dnnl_primitive_desc_query_md(o->description, queries[kind].output, 0),
                       (PetscBool)(kind != CK_PRIMITIVE_FORWARD), &o->output));
  PetscCall(Own(p, dnnl_primitive_desc_query_md(o->description, dnnl_query_scratchpad_md, 0), &o->scratch));
  PetscCall(Own(p, weights, &o->weights));
  PetscCall(Places(p, weights, o));
  if (kind != CK_PRIMITIVE_INPUT)
    PetscCall(Own(p, dnnl_primitive_desc_query_md(o->description, queries[kind].weights, 1), &o->shifts));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkPrimitivesCreate(CkPlan *plan, const CkStep *step, const PetscBool wanted[CK_PRIMITIVES],
                                  CkPrimitives **made)
{
  const CkFoldLayer *f = &plan->fold->layers[plan->fold->of_layer[step->layer]];
  CkPrimitives      *p;

  PetscFunctionBeginUser;
  PetscCall(PetscNew(&p));
  *made = p;
  p->lanes = plan->lanes;
  p->units = (size_t)f->units;
  p->taps = (size_t)f->fan_in;
  p->input_size = plan->tensors[step->inputs[0]].size;
  CkCallDNN(dnnl_engine_create(&p->engine, dnnl_cpu, 0));
  CkCallDNN(dnnl_stream_create(&p->stream, p->engine, dnnl_stream_default_flags));
  CkCallDNN(dnnl_primitive_attr_create(&p->attributes));
  CkCallDNN(dnnl_primitive_attr_set_scratchpad_mode(p->attributes, dnnl_scratchpad_mode_user));
  for (int kind = 0; kind < CK_PRIMITIVES; ++kind)
    if (wanted[kind]) PetscCall(CreateOperation(p, plan, step, (CkPrimitiveKind)kind));
  if (wanted[CK_PRIMITIVE_INPUT])
    PetscCall(CkArenaFloats(&p->arena, p->input_size * (size_t)p->lanes->lanes, &p->back));
  plan->primitive_bytes += p->arena.bytes;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode DestroySide(Side *side)
{
  PetscFunctionBeginUser;
  if (side->packs) CkCallDNN(dnnl_memory_destroy(side->packs));
  if (side->own) CkCallDNN(dnnl_memory_destroy(side->own));
  if (side->reorder) CkCallDNN(dnnl_primitive_destroy(side->reorder));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode DestroyOperation(Operation *o)
{
  PetscFunctionBeginUser;
  PetscCall(DestroySide(&o->input));
  PetscCall(DestroySide(&o->output));
  if (o->scratch) CkCallDNN(dnnl_memory_destroy(o->scratch));
  if (o->weights) CkCallDNN(dnnl_memory_destroy(o->weights));
  if (o->shifts) CkCallDNN(dnnl_memory_destroy(o->shifts));
  if (o->primitive) CkCallDNN(dnnl_primitive_destroy(o->primitive));
  if (o->description) CkCallDNN(dnnl_primitive_desc_destroy(o->description));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkPrimitivesDestroy(CkPrimitives **old)
{
  CkPrimitives *p = *old;

  PetscFunctionBeginUser;
  *old = NULL;
  if (!p) PetscFunctionReturn(PETSC_SUCCESS);
  for (int kind = 0; kind < CK_PRIMITIVES; ++kind) PetscCall(DestroyOperation(&p->operation[kind]));
  if (p->attributes) CkCallDNN(dnnl_primitive_attr_destroy(p->attributes));
  if (p->stream) CkCallDNN(dnnl_stream_destroy(p->stream));
  if (p->engine) CkCallDNN(dnnl_engine_destroy(p->engine));
  PetscCall(CkArenaFree(&p->arena));
  PetscCall(PetscFree(p));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkPrimitivesName(const CkPrimitives *p, CkPrimitiveKind kind, const char **name)
{
  PetscFunctionBeginUser;
  CkCallDNN(dnnl_primitive_desc_query(p->operation[kind].description, dnnl_query_impl_info_str, 0, (void *)name));
  PetscFunctionReturn(PETSC_SUCCESS);
}

size_t CkPrimitivesPackedSize(const CkPrimitives *p, CkPrimitiveKind kind)
{
  return p->operation[kind].packed;
}

PetscErrorCode CkPrimitivesPack(const CkPrimitives *p, CkPrimitiveKind kind, const double w[], float packed[])
{
  const Operation *o = &p->operation[kind];

  PetscFunctionBeginUser;
  PetscCall(PetscArrayzero(packed, o->packed)); /* blocks are filled up with zeros */
  for (size_t i = 0; i < p->units * p->taps; ++i) packed[o->place[i]] = (float)w[i];
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Packs into the primitive's layout, or out of it. */
static PetscErrorCode Reorder(CkPrimitives *p, const Side *side, PetscBool inwards, const float *packs)
{
  const dnnl_exec_arg_t arguments[] = {{DNNL_ARG_FROM, inwards ? side->packs : side->own},
                                       {DNNL_ARG_TO, inwards ? side->own : side->packs}};

  PetscFunctionBeginUser;
  CkCallDNN(dnnl_memory_set_data_handle(side->packs, (void *)packs));
  CkCallDNN(dnnl_primitive_execute(side->reorder, p->stream, 2, arguments));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkPrimitivesForward(CkPrimitives *p, const float *x, const float weights[], const float shifts[],
                                   float *y)
{
  const Operation      *o = &p->operation[CK_PRIMITIVE_FORWARD];
  const dnnl_exec_arg_t arguments[] = {{DNNL_ARG_SRC, o->input.own},
                                       {DNNL_ARG_WEIGHTS, o->weights},
                                       {DNNL_ARG_BIAS, o->shifts},
                                       {DNNL_ARG_DST, o->output.own},
                                       {DNNL_ARG_SCRATCHPAD, o->scratch}};

  PetscFunctionBeginUser;
  PetscCall(Reorder(p, &o->input, PETSC_TRUE, x));
  CkCallDNN(dnnl_memory_set_data_handle(o->weights, (void *)weights));
  CkCallDNN(dnnl_memory_set_data_handle(o->shifts, (void *)shifts));
  CkCallDNN(dnnl_primitive_execute(o->primitive, p->stream, 5, arguments));
  PetscCall(Reorder(p, &o->output, PETSC_FALSE, y));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkPrimitivesInput(CkPrimitives *p, const float *e, const float weights[], PetscBool add, float *d)
{
  const Operation      *o = &p->operation[CK_PRIMITIVE_INPUT];
  const dnnl_exec_arg_t arguments[] = {{DNNL_ARG_DIFF_SRC, o->input.own},
                                       {DNNL_ARG_WEIGHTS, o->weights},
                                       {DNNL_ARG_DIFF_DST, o->output.own},
                                       {DNNL_ARG_SCRATCHPAD, o->scratch}};

  PetscFunctionBeginUser;
  PetscCall(Reorder(p, &o->output, PETSC_TRUE, e));
  CkCallDNN(dnnl_memory_set_data_handle(o->weights, (void *)weights));
  CkCallDNN(dnnl_primitive_execute(o->primitive, p->stream, 4, arguments));
  PetscCall(Reorder(p, &o->input, PETSC_FALSE, add ? p->back : d));
  if (add) p->lanes->copy(p->input_size, PETSC_TRUE, p->back, d);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The gradient of one sample from the primitive's memory to its lane of g. */
static PetscErrorCode Deliver(const CkPrimitives *p, PetscBool add, PetscBool shift, float *g, size_t stride)
{
  const Operation *o = &p->operation[CK_PRIMITIVE_WEIGHTS];
  const size_t     weights = p->units * p->taps;
  void            *w, *b;

  PetscFunctionBeginUser;
  CkCallDNN(dnnl_memory_get_data_handle(o->weights, &w));
  CkCallDNN(dnnl_memory_get_data_handle(o->shifts, &b));
  for (size_t i = 0; i < weights; ++i) g[i * stride] = (add ? g[i * stride] : 0) + ((float *)w)[o->place[i]];
  for (size_t i = 0; i < p->units && shift; ++i) {
    float *to = g + (weights + i) * stride;

    *to = (add ? *to : 0) + ((float *)b)[i];
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkPrimitivesWeights(CkPrimitives *p, const float *x, const float *e, PetscBool add, PetscBool shift,
                                   float *g, size_t stride)
{
  const Operation      *o = &p->operation[CK_PRIMITIVE_WEIGHTS];
  const dnnl_exec_arg_t arguments[] = {{DNNL_ARG_SRC, o->input.own},
                                       {DNNL_ARG_DIFF_DST, o->output.own},
                                       {DNNL_ARG_DIFF_WEIGHTS, o->weights},
                                       {DNNL_ARG_DIFF_BIAS, o->shifts},
                                       {DNNL_ARG_SCRATCHPAD, o->scratch}};

  PetscFunctionBeginUser;
  for (int k = 0; k < p->lanes->lanes; ++k) {
    PetscCall(Reorder(p, &o->input, PETSC_TRUE, x + k));
    PetscCall(Reorder(p, &o->output, PETSC_TRUE, e + k));
    CkCallDNN(dnnl_primitive_execute(o->primitive, p->stream, 5, arguments));
    PetscCall(Deliver(p, add, shift, g + k, stride));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}
