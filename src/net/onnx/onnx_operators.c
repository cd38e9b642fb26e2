#include "onnx.h"
#include <ctype.h>
#include <stdio.h>
#include <string.h>

enum { MANY = 1 << 20 };

/* Operators that become layers, or change the form of a layer's outputs. */
static const OnnxOperator operators[] = {
  {"Conv", 2, 3, OnnxConv},
  {"Gemm", 2, 3, OnnxGemm},
  {"MatMul", 2, 2, OnnxMatMul},
  {"BatchNormalization", 5, 5, OnnxBatchNormalization},
  {"Relu", 1, 1, OnnxActivation},
  {"Tanh", 1, 1, OnnxActivation},
  {"Sigmoid", 1, 1, OnnxActivation},
  {"Softplus", 1, 1, OnnxActivation},
  {"Clip", 1, 3, OnnxClip},
  {"MaxPool", 1, 1, OnnxMaxPool},
  {"AveragePool", 1, 1, OnnxAveragePool},
  {"GlobalAveragePool", 1, 1, OnnxGlobalAveragePool},
  {"ReduceMean", 1, 1, OnnxReduceMean},
  {"Pad", 1, 4, OnnxPad},
  {"Add", 2, 2, OnnxAdd},
  {"Sum", 1, CK_MAX_INPUTS, OnnxAdd},
  {"Sub", 2, 2, OnnxScale},
  {"Mul", 2, 2, OnnxScale},
  {"Div", 2, 2, OnnxScale},
  {"Concat", 1, CK_MAX_INPUTS, OnnxConcat},
  {"Flatten", 1, 1, OnnxReshape},
  {"Reshape", 1, 2, OnnxReshape},
  {"Squeeze", 1, 2, OnnxReshape},
  {"Unsqueeze", 1, 2, OnnxReshape},
  {"Transpose", 1, 1, OnnxTranspose},
  {"Identity", 1, 1, OnnxIdentity},
  {"Cast", 1, 1, OnnxIdentity},
  {"Dropout", 1, 3, OnnxDropout},
  {"Softmax", 1, 1, OnnxSoftmax},
  {"LogSoftmax", 1, 1, OnnxSoftmax},
};

#define NOPERATORS (sizeof(operators) / sizeof(operators[0]))

PetscErrorCode OnnxBuild(Onnx *o, OnnxNode *node)
{
  const char         *domain = OnnxText(node->proto->domain);
  const OnnxOperator *operator= NULL;
  PetscBool           folded;

  PetscFunctionBeginUser;
  OnnxCheck(o, node, !domain[0] || !strcmp(domain, "ai.onnx"), "is of domain %.60s, which is not supported", domain);
  PetscCall(OnnxFold(o, node, &folded));
  if (folded) PetscFunctionReturn(PETSC_SUCCESS);
  for (size_t i = 0; i < NOPERATORS; ++i)
    if (!strcmp(operators[i].name, node->op)) operator= & operators[i];
  OnnxCheck(o, node, operator, "has an operator that is not supported (docs/user-guide.md lists those that are)");
  OnnxCheck(o, node, node->nin >= operator->min_inputs && node->nin <= operator->max_inputs,
            "has %" PetscInt_FMT " inputs; %" PetscInt_FMT " to %" PetscInt_FMT " are expected",
            node->nin, operator->min_inputs, operator->max_inputs);
  OnnxCheck(o, node, node->nout >= 1 && node->out[0], "has no output");
  for (PetscInt i = 0; i < operator->min_inputs; ++i)
    OnnxCheck(o, node, node->in[i], "lacks input %" PetscInt_FMT, i + 1);
  PetscCall(operator->build(o, node));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* ---- inputs ---- */

static PetscErrorCode CheckInput(Onnx *o, const OnnxNode *node, PetscInt i, PetscBool zeros)
{
  const OnnxValue *v = i < node->nin ? node->in[i] : NULL;

  PetscFunctionBeginUser;
  OnnxCheck(o, node, v, "lacks input %" PetscInt_FMT, i + 1);
  OnnxCheck(o, node, v->kind != ONNX_UNKNOWN, "reads '%.100s', an output that is not supported", v->name);
  OnnxCheck(o, node, v->kind == ONNX_LAYER, "needs '%.100s' to depend on the samples, but it is constant", v->name);
  OnnxCheck(o, node, !v->softmax, "reads a softmax, which is supported at the end of a net only");
  for (int k = 0; k < 4; ++k)
    OnnxCheck(o, node, zeros || v->pad[k] == 0,
              "reads an image with zeros around it (Pad), which only convolutions and average pools can");
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode OnnxLayerInput(Onnx *o, const OnnxNode *node, PetscInt i, OnnxValue **value)
{
  PetscFunctionBeginUser;
  PetscCall(CheckInput(o, node, i, PETSC_FALSE));
  *value = node->in[i];
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode OnnxRealInput(Onnx *o, const OnnxNode *node, PetscInt i, OnnxConstant **constant)
{
  const OnnxValue *v = i < node->nin ? node->in[i] : NULL;

  PetscFunctionBeginUser;
  OnnxCheck(o, node, v, "lacks input %" PetscInt_FMT, i + 1);
  OnnxCheck(o, node, v->kind == ONNX_CONSTANT, "needs '%.100s' to be constant, but it depends on the samples", v->name);
  OnnxCheck(o, node, v->constant->real, "needs '%.100s' to be real numbers, not integers", v->name);
  *constant = v->constant;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static CkShape ShapeOf(const Onnx *o, const OnnxValue *v)
{
  return o->net->layers[v->layer].out;
}

static PetscBool IsImage(const Onnx *o, const OnnxValue *v)
{
  const CkShape s = ShapeOf(o, v);

  return (PetscBool)(v->rank == 4 && v->dims[1] == s.c && v->dims[2] == s.h + v->pad[0] + v->pad[2] &&
                     v->dims[3] == s.w + v->pad[1] + v->pad[3]);
}

PetscErrorCode OnnxImageInput(Onnx *o, const OnnxNode *node, PetscInt i, PetscBool zeros, OnnxValue **value)
{
  CkShape s;
  char    text[200];

  PetscFunctionBeginUser;
  PetscCall(CheckInput(o, node, i, zeros));
  *value = node->in[i];
  s = ShapeOf(o, *value);
  OnnxCheck(o, node, IsImage(o, *value),
            "needs an image [batch, channels, height, width]; it gets %s, whose numbers are those of %" PetscInt_FMT
            " x %" PetscInt_FMT " x %" PetscInt_FMT,
            OnnxDims((*value)->rank, (*value)->dims, text, sizeof(text)), s.c, s.h, s.w);
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode OnnxFlatInput(Onnx *o, const OnnxNode *node, PetscInt i, OnnxValue **value)
{
  OnnxValue *v;
  CkShape    s;
  char       text[200], name[32];

  PetscFunctionBeginUser;
  PetscCall(CheckInput(o, node, i, PETSC_FALSE));
  *value = v = node->in[i];
  s = ShapeOf(o, v);
  OnnxCheck(o, node, v->rank == 2 && v->dims[1] == CkShapeSize(s), "needs a vector [batch, numbers]; it gets %s",
            OnnxDims(v->rank, v->dims, text, sizeof(text)));
  if (s.h == 1 && s.w == 1) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(PetscSNPrintf(name, sizeof(name), "flatten_%" PetscInt_FMT, o->net->nlayers));
  PetscCall(CkNetAddLayer(o->net, CK_LAYER_FLATTEN, name, 1, &v->layer, NULL, &v->layer));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode OnnxNaturalInput(Onnx *o, const OnnxNode *node, PetscInt i, OnnxValue **value)
{
  PetscFunctionBeginUser;
  if (i < node->nin && node->in[i] && node->in[i]->rank == 2) PetscCall(OnnxFlatInput(o, node, i, value));
  else PetscCall(OnnxImageInput(o, node, i, PETSC_FALSE, value));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* ---- layers ---- */

/* Letters that serve in names of HDF5 datasets and in shells; no name begins or ends with a full stop. */
static void MakeName(const char from[], size_t length, char name[], size_t room)
{
  size_t n = 0;

  while (length && (from[0] == '/' || from[0] == '.')) {
    ++from;
    --length;
  }
  for (size_t i = 0; i < length && n + 1 < room; ++i) {
    const unsigned char c = (unsigned char)from[i];

    name[n++] = (char)(isalnum(c) || c == '_' || c == '-' || c == '.' ? c : c == '/' ? '.' : '_');
  }
  while (n && name[n - 1] == '.') --n;
  name[n] = '\0';
}

static PetscBool IsTaken(const Onnx *o, const char name[])
{
  for (PetscInt l = 0; l < o->net->nlayers; ++l)
    if (!strcmp(o->net->layers[l].name, name)) return PETSC_TRUE;
  return PETSC_FALSE;
}

/* "layer1.0.conv1" of "layer1.0.conv1.weight", else the node's name, else kind and number. */
static void LayerName(const Onnx *o, const OnnxNode *node, CkLayerType type, const char initialiser[], char name[],
                      size_t room)
{
  const char *dot = initialiser ? strrchr(initialiser, '.') : NULL;

  name[0] = '\0';
  if (dot && (!strcmp(dot, ".weight") || !strcmp(dot, ".bias")))
    MakeName(initialiser, (size_t)(dot - initialiser), name, room);
  if (!name[0] || IsTaken(o, name)) MakeName(node->name, strlen(node->name), name, room);
  if (!name[0] || IsTaken(o, name)) snprintf(name, room, "%s_%" PetscInt_FMT, CkLayerTypeName(type), o->net->nlayers);
  for (PetscInt i = o->net->nlayers; IsTaken(o, name); ++i)
    snprintf(name, room, "%s__%" PetscInt_FMT, CkLayerTypeName(type), i);
}

PetscErrorCode OnnxAddLayer(Onnx *o, OnnxNode *node, CkLayerType type, const char initialiser[], PetscInt n,
                            OnnxValue *const in[], const CkLayerAttributes *a)
{
  OnnxValue *out = node->out[0];
  PetscInt   inputs[CK_MAX_INPUTS];
  CkShape    shape;
  char       name[160];

  PetscFunctionBeginUser;
  for (PetscInt i = 0; i < n; ++i) inputs[i] = in[i]->layer;
  LayerName(o, node, type, initialiser, name, sizeof(name));
  PetscCall(CkNetAddLayer(o->net, type, name, n, inputs, a, &out->layer));
  shape = ShapeOf(o, out);
  out->kind = ONNX_LAYER;
  out->rank = in[0]->rank == 2 ? 2 : 4;
  out->dims[0] = o->batch;
  out->dims[1] = shape.c;
  out->dims[2] = shape.h;
  out->dims[3] = shape.w;
  if (o->net->nlayers > o->nsources) {
    const PetscInt room = 2 * o->net->nlayers + 16;
    OnnxSource    *sources;

    PetscCall(OnnxAllocate(o, (size_t)room, sizeof(*sources), &sources));
    if (o->nsources) PetscCall(PetscArraycpy(sources, o->sources, o->nsources));
    o->sources = sources;
    o->nsources = room;
  }
  o->sources[out->layer].value = out;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode OnnxAlias(Onnx *o, const OnnxNode *node, const OnnxValue *value, int rank, const PetscInt64 dims[])
{
  OnnxValue *out = node->out[0];
  PetscInt64 n = o->batch;
  char       text[200];

  PetscFunctionBeginUser;
  OnnxCheck(o, node, rank >= 1 && dims[0] == o->batch,
            "makes %s: the first axis must stay that of the samples (%" PetscInt64_FMT " in this file)",
            OnnxDims(rank, dims, text, sizeof(text)), o->batch);
  out->kind = ONNX_LAYER;
  out->layer = value->layer;
  out->softmax = value->softmax;
  out->rank = rank;
  for (int i = 0; i < rank; ++i) out->dims[i] = dims[i];
  for (int i = 1; i < value->rank; ++i) n *= value->dims[i];
  for (int i = 0; i < rank && n > 0; ++i) n = dims[i] > 0 && n % dims[i] == 0 ? n / dims[i] : 0;
  OnnxCheck(o, node, n == 1, "makes %s of another number of numbers", OnnxDims(rank, dims, text, sizeof(text)));
  if (o->sources && value->layer < o->nsources && o->sources[value->layer].value == value && value->readers == 1)
    o->sources[value->layer].value = out;
  PetscFunctionReturn(PETSC_SUCCESS);
}
