/* machine.c: oneDNN's own rate for a convolution: nothing but the primitive is run. */
#include "onednn.h"
#include "primitives.h"

enum { ARGUMENTS = 5 };

struct _p_CkMachineConvolution {
  dnnl_engine_t         engine;
  dnnl_stream_t         stream;
  dnnl_primitive_attr_t attributes;
  dnnl_primitive_desc_t description;
  dnnl_primitive_t      primitive;
  dnnl_exec_arg_t       arguments[ARGUMENTS];
  CkArena               arena;
};

static const int arguments[CK_PRIMITIVES][ARGUMENTS] = {
  [CK_PRIMITIVE_FORWARD] = {DNNL_ARG_SRC, DNNL_ARG_WEIGHTS, DNNL_ARG_BIAS, DNNL_ARG_DST, DNNL_ARG_SCRATCHPAD},
  [CK_PRIMITIVE_INPUT] = {DNNL_ARG_DIFF_DST, DNNL_ARG_WEIGHTS, DNNL_ARG_DIFF_SRC, DNNL_ARG_SCRATCHPAD},
  [CK_PRIMITIVE_WEIGHTS] = {DNNL_ARG_SRC, DNNL_ARG_DIFF_DST, DNNL_ARG_DIFF_WEIGHTS, DNNL_ARG_DIFF_BIAS,
                            DNNL_ARG_SCRATCHPAD}};

/* The argument's memory, filled with numbers of ordinary size. */
static PetscErrorCode AddArgument(CkMachineConvolution c, int argument, dnnl_exec_arg_t *to)
{
  const dnnl_memory_desc_t *layout = dnnl_primitive_desc_query_md(c->description, dnnl_query_exec_arg_md, argument);
  const size_t              n = dnnl_memory_desc_get_size(layout) / sizeof(float) + 1;
  float                    *numbers;

  PetscFunctionBeginUser;
  PetscCall(CkArenaFloats(&c->arena, n, &numbers));
  for (size_t i = 0; i < n; ++i) numbers[i] = 1 / (float)(1 + i % 97);
  to->arg = argument;
  CkCallDNN(dnnl_memory_create(&to->memory, layout, c->engine, numbers));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkMachineConvolutionCreate(const CkLayer *layer, PetscInt samples, CkPrimitiveKind kind,
                                          CkMachineConvolution *convolution)
{
  const CkConvolutionSizes sizes = CkConvolutionSizesOf(layer, samples);
  CkMachineConvolution     c;

  PetscFunctionBeginUser;
  PetscCheck(layer->type == CK_LAYER_CONV, PETSC_COMM_SELF, PETSC_ERR_ARG_WRONG, "Layer %s is no convolution",
             layer->name);
  CkOnednnUseOneThread();
  PetscCall(PetscNew(&c));
  *convolution = c;
  CkCallDNN(dnnl_engine_create(&c->engine, dnnl_cpu, 0));
  CkCallDNN(dnnl_stream_create(&c->stream, c->engine, dnnl_stream_default_flags));
  CkCallDNN(dnnl_primitive_attr_create(&c->attributes));
  CkCallDNN(dnnl_primitive_attr_set_scratchpad_mode(c->attributes, dnnl_scratchpad_mode_user));
  PetscCall(CkPrimitivesDescribe(c->engine, c->attributes, &sizes, kind, &c->description));
  CkCallDNN(dnnl_primitive_create(&c->primitive, c->description));
  for (int i = 0; i < ARGUMENTS && arguments[kind][i]; ++i)
    PetscCall(AddArgument(c, arguments[kind][i], &c->arguments[i]));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkMachineConvolutionRun(CkMachineConvolution c)
{
  int n = 0;

  PetscFunctionBeginUser;
  while (n < ARGUMENTS && c->arguments[n].memory) ++n;
  CkCallDNN(dnnl_primitive_execute(c->primitive, c->stream, n, c->arguments));
  CkCallDNN(dnnl_stream_wait(c->stream));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkMachineConvolutionDestroy(CkMachineConvolution *convolution)
{
  CkMachineConvolution c = *convolution;

  PetscFunctionBeginUser;
  *convolution = NULL;
  if (!c) PetscFunctionReturn(PETSC_SUCCESS);
  for (int i = 0; i < ARGUMENTS; ++i)
    if (c->arguments[i].memory) CkCallDNN(dnnl_memory_destroy(c->arguments[i].memory));
  if (c->primitive) CkCallDNN(dnnl_primitive_destroy(c->primitive));
  if (c->description) CkCallDNN(dnnl_primitive_desc_destroy(c->description));
  if (c->attributes) CkCallDNN(dnnl_primitive_attr_destroy(c->attributes));
  if (c->stream) CkCallDNN(dnnl_stream_destroy(c->stream));
  if (c->engine) CkCallDNN(dnnl_engine_destroy(c->engine));
  PetscCall(CkArenaFree(&c->arena));
  PetscCall(PetscFree(c));
  PetscFunctionReturn(PETSC_SUCCESS);
}
