#include "onnx.h"
#include <string.h>

/* Layers with weights, and constants that can be made part of them. */

/* A copy of the numbers, for a tensor of the net. */
static PetscErrorCode Copy(Onnx *o, const OnnxNode *node, const OnnxConstant *c, double **x)
{
  OnnxValue *source = c->source ? OnnxFind(o, c->source) : NULL;

  PetscFunctionBeginUser;
  PetscCall(OnnxAllocate(o, c->n, sizeof(**x), x));
  PetscCall(PetscArraycpy(*x, c->x, (PetscInt)c->n));
  if (source) ++source->tensors;
  else
    PetscCall(CkNetAddNote(o->net, "numbers computed in the file became weights (node %.60s)",
                           node->name[0] ? node->name : node->out[0]->name));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The name a tensor has in the file. */
static const char *SourceName(const OnnxNode *node, PetscInt input)
{
  const OnnxValue *v = input < node->nin ? node->in[input] : NULL;
  const char      *dot = v ? strrchr(v->name, '.') : NULL;

  if (!v) return NULL;
  if (!dot && v->constant && v->constant->source) return v->constant->source;
  return v->name;
}

/* adds: the Add behind it that brings the bias; NULL: none. */
static const char *LayerSource(const OnnxNode *node, const OnnxNode *adds)
{
  const char *weight = SourceName(node, 1), *bias = SourceName(node, 2);

  if (adds) bias = SourceName(adds, adds->in[0] == node->out[0]);
  return bias && !(weight && strchr(weight, '.')) ? bias : weight;
}

/* The numbers lie along the channels (axis 1) of a value of this rank, one a channel. */
static PetscBool IsPerChannel(const OnnxConstant *c, int rank, PetscInt64 channels)
{
  if (c->rank > rank || c->n != (size_t)channels) return PETSC_FALSE;
  for (int a = 0; a < c->rank; ++a)
    if (c->dims[a] != (rank - c->rank + a == 1 ? channels : 1)) return PETSC_FALSE;
  return PETSC_TRUE;
}

/* The bias that an Add right behind the node brings; that node is then done. */
static OnnxNode *FollowingBias(const Onnx *o, const OnnxNode *node, int rank, PetscInt64 units, OnnxConstant **bias)
{
  const OnnxValue *v = node->out[0], *other;
  OnnxNode        *next;

  if (v->readers != 1 || v->reader < 0) return NULL;
  next = &o->nodes[v->reader];
  if (strcmp(next->op, "Add") != 0 || next->nin != 2 || next->nout < 1 || !next->out[0]) return NULL;
  other = next->in[0] == v ? next->in[1] : next->in[0];
  if (!other || other->kind != ONNX_CONSTANT || !other->constant->real) return NULL;
  if (!IsPerChannel(other->constant, rank, units)) return NULL;
  *bias = other->constant;
  next->done = PETSC_TRUE;
  return next;
}

typedef struct {
  CkLayerType       type;
  OnnxValue        *input;
  CkLayerAttributes a;
  int               rank; /* of the output */
  double           *weights;
  OnnxConstant     *bias; /* NULL: none in this node */
} Linear;

static PetscErrorCode AddLinear(Onnx *o, OnnxNode *node, Linear *l)
{
  OnnxNode *adds = NULL;
  double   *bias = NULL;

  PetscFunctionBeginUser;
  if (!l->bias) adds = FollowingBias(o, node, l->rank, l->a.units, &l->bias);
  l->a.bias = (PetscBool)(l->bias != NULL);
  if (l->bias) PetscCall(Copy(o, node, l->bias, &bias));
  PetscCall(OnnxAddLayer(o, node, l->type, LayerSource(node, adds), 1, &l->input, &l->a));
  o->sources[node->out[0]->layer].x[0] = l->weights;
  o->sources[node->out[0]->layer].x[1] = bias;
  if (adds) PetscCall(OnnxAlias(o, adds, node->out[0], node->out[0]->rank, node->out[0]->dims));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode OnnxConv(Onnx *o, OnnxNode *node)
{
  Linear        l = {.type = CK_LAYER_CONV, .rank = 4};
  PetscInt64    group = 1;
  OnnxConstant *w;
  PetscBool     grown;
  char          text[200];

  PetscFunctionBeginUser;
  PetscCall(OnnxImageInput(o, node, 0, PETSC_TRUE, &l.input));
  PetscCall(OnnxRealInput(o, node, 1, &w));
  PetscCall(OnnxInt(o, node, "group", &group));
  OnnxCheck(o, node, group == 1,
            "has %" PetscInt64_FMT " groups; only convolutions over all channels (1) are supported", group);
  OnnxCheck(o, node, w->rank == 4 && w->n > 0 && w->dims[1] == l.input->dims[1],
            "has weights %s, which do not fit an image of %" PetscInt64_FMT " channels",
            OnnxDims(w->rank, w->dims, text, sizeof(text)), l.input->dims[1]);
  l.a.units = (PetscInt)w->dims[0];
  for (int i = 0; i < 2; ++i) l.a.kernel[i] = (PetscInt)w->dims[2 + i];
  PetscCall(OnnxWindow(o, node, l.input, &l.a, &grown));
  OnnxCheck(o, node, l.a.kernel[0] == w->dims[2] && l.a.kernel[1] == w->dims[3],
            "has a kernel_shape other than its weights, %s", OnnxDims(w->rank, w->dims, text, sizeof(text)));
  if (node->nin > 2 && node->in[2]) {
    PetscCall(OnnxRealInput(o, node, 2, &l.bias));
    OnnxCheck(o, node, l.bias->rank == 1 && l.bias->dims[0] == w->dims[0],
              "has a bias %s for %" PetscInt64_FMT " channels",
              OnnxDims(l.bias->rank, l.bias->dims, text, sizeof(text)), w->dims[0]);
  }
  PetscCall(Copy(o, node, w, &l.weights));
  PetscCall(AddLinear(o, node, &l));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Weights [inputs, outputs], or as ours [outputs, inputs], to ours. */
static PetscErrorCode DenseWeights(Onnx *o, const OnnxNode *node, PetscBool ours, Linear *l)
{
  OnnxConstant *w;
  PetscInt64    in, out;
  char          text[200];

  PetscFunctionBeginUser;
  PetscCall(OnnxFlatInput(o, node, 0, &l->input));
  PetscCall(OnnxRealInput(o, node, 1, &w));
  OnnxCheck(o, node, w->rank == 2 && w->n > 0 && w->dims[ours] == l->input->dims[1],
            "has weights %s, which do not fit a vector of %" PetscInt64_FMT " numbers",
            OnnxDims(w->rank, w->dims, text, sizeof(text)), l->input->dims[1]);
  in = w->dims[ours];
  out = w->dims[!ours];
  l->type = CK_LAYER_DENSE;
  l->rank = 2;
  l->a.units = (PetscInt)out;
  PetscCall(Copy(o, node, w, &l->weights));
  for (PetscInt64 i = 0; i < out && !ours; ++i)
    for (PetscInt64 j = 0; j < in; ++j) l->weights[i * in + j] = w->x[j * out + i];
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode OnnxMatMul(Onnx *o, OnnxNode *node)
{
  Linear l = {0};

  PetscFunctionBeginUser;
  PetscCall(DenseWeights(o, node, PETSC_FALSE, &l));
  PetscCall(AddLinear(o, node, &l));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The bias times beta, one number an output. */
static PetscErrorCode GemmBias(Onnx *o, const OnnxNode *node, double beta, Linear *l)
{
  const PetscInt64 units = l->a.units;
  OnnxConstant    *c;
  char             text[200];

  PetscFunctionBeginUser;
  PetscCall(OnnxRealInput(o, node, 2, &c));
  OnnxCheck(o, node, c->n == 1 || IsPerChannel(c, 2, units), "has a bias %s for %" PetscInt64_FMT " outputs",
            OnnxDims(c->rank, c->dims, text, sizeof(text)), units);
  PetscCall(OnnxNewConstant(o, node, PETSC_TRUE, 1, &units, &l->bias));
  l->bias->source = c->source;
  for (PetscInt64 i = 0; i < units; ++i) l->bias->x[i] = beta * c->x[c->n == 1 ? 0 : i];
  if (c->n == 1 && units > 1)
    PetscCall(CkNetAddNote(o->net, "node %.60s: one number as bias of all outputs became %" PetscInt64_FMT " weights",
                           node->name, units));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode OnnxGemm(Onnx *o, OnnxNode *node)
{
  Linear     l = {0};
  PetscInt64 transposed = 0, ours = 0;
  double     alpha = 1, beta = 1;

  PetscFunctionBeginUser;
  PetscCall(OnnxInt(o, node, "transA", &transposed));
  OnnxCheck(o, node, !transposed, "transposes the samples (transA), which is not supported");
  PetscCall(OnnxInt(o, node, "transB", &ours));
  PetscCall(OnnxFloat(o, node, "alpha", &alpha));
  PetscCall(OnnxFloat(o, node, "beta", &beta));
  PetscCall(DenseWeights(o, node, (PetscBool)(ours != 0), &l));
  for (size_t i = 0; alpha != 1 && i < (size_t)(l.a.units * l.input->dims[1]); ++i) l.weights[i] *= alpha;
  if (node->nin > 2 && node->in[2] && beta != 0) PetscCall(GemmBias(o, node, beta, &l));
  if (alpha != 1 || (l.bias && beta != 1))
    PetscCall(
      CkNetAddNote(o->net, "node %.60s: the factors %g and %g went into weights and bias", node->name, alpha, beta));
  PetscCall(AddLinear(o, node, &l));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode OnnxBatchNormalization(Onnx *o, OnnxNode *node)
{
  CkLayerAttributes a = {.epsilon = 1e-5};
  OnnxValue        *value;
  OnnxConstant     *c;
  PetscInt64        spatial = 1;
  double           *x[4];
  char              text[200];

  PetscFunctionBeginUser;
  PetscCall(OnnxNaturalInput(o, node, 0, &value));
  PetscCall(OnnxFloat(o, node, "epsilon", &a.epsilon));
  PetscCall(OnnxInt(o, node, "spatial", &spatial));
  OnnxCheck(o, node, spatial == 1 || value->rank == 2, "normalises each pixel (spatial 0), which is not supported");
  for (int i = 0; i < 4; ++i) {
    PetscCall(OnnxRealInput(o, node, i + 1, &c));
    OnnxCheck(o, node, c->rank == 1 && c->dims[0] == value->dims[1], "has a tensor %s for %" PetscInt64_FMT " channels",
              OnnxDims(c->rank, c->dims, text, sizeof(text)), value->dims[1]);
    PetscCall(Copy(o, node, c, &x[i]));
  }
  for (PetscInt64 i = 0; i < value->dims[1]; ++i) OnnxCheck(o, node, x[3][i] >= 0, "has a variance of %g", x[3][i]);
  PetscCall(OnnxAddLayer(o, node, CK_LAYER_BATCHNORM, LayerSource(node, NULL), 1, &value, &a));
  for (int i = 0; i < 4; ++i) o->sources[node->out[0]->layer].x[i] = x[i];
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* ---- constants ---- */

/* The layer's numbers, if a constant can become part of them. */
static PetscErrorCode Host(Onnx *o, const OnnxNode *node, const OnnxValue *v, const OnnxConstant *c,
                           OnnxSource **source)
{
  const CkLayer  *layer = &o->net->layers[v->layer];
  const PetscBool own = (PetscBool)(v->layer < o->nsources && o->sources[v->layer].value == v && v->readers == 1);

  PetscFunctionBeginUser;
  OnnxCheck(o, node, own && layer->nparameters > 0 && v->dims[1] == layer->out.c,
            "combines '%.100s' with a constant: that can be made part of a convolution, a dense layer or a batch norm "
            "right before it whose outputs nothing else reads, and of no other layer (%s)",
            v->name, layer->name);
  OnnxCheck(o, node, c->n == 1 || IsPerChannel(c, v->rank, v->dims[1]),
            "combines '%.100s' with a constant that is not one number, nor one a channel", v->name);
  *source = &o->sources[v->layer];
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* y = factor x + shift for channel i */
static void Affine(const CkNet net, const CkLayer *layer, OnnxSource *s, PetscInt i, double factor, double shift)
{
  const PetscInt each = net->trainable[layer->first_parameter].size / layer->out.c;

  for (PetscInt j = 0; j < each; ++j) s->x[0][i * each + j] *= factor;
  if (s->x[1]) s->x[1][i] = factor * s->x[1][i] + shift;
}

static PetscErrorCode FoldInto(Onnx *o, const OnnxNode *node, const OnnxValue *v, const OnnxConstant *c)
{
  const CkLayer *layer = &o->net->layers[v->layer];
  const char     op = node->op[0]; /* Add, Sub, Mul, Div */
  OnnxSource    *source = NULL;

  PetscFunctionBeginUser;
  PetscCall(Host(o, node, v, c, &source));
  OnnxCheck(o, node, op == 'M' || op == 'D' || source->x[1],
            "adds a constant to the outputs of layer %s, which has no bias", layer->name);
  for (PetscInt i = 0; i < layer->out.c; ++i) {
    const double x = c->x[c->n == 1 ? 0 : i];

    if (op == 'M' || op == 'D') Affine(o->net, layer, source, i, op == 'M' ? x : 1 / x, 0);
    else Affine(o->net, layer, source, i, 1, op == 'S' ? -x : x);
  }
  PetscCall(OnnxAlias(o, node, v, v->rank, v->dims));
  PetscCall(CkNetAddNote(o->net, "the constant of node %.60s (%s) went into the weights of layer %s",
                         node->name[0] ? node->name : node->out[0]->name, node->op, layer->name));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscBool IsConstant(const OnnxNode *node, PetscInt i)
{
  return (PetscBool)(i < node->nin && node->in[i] && node->in[i]->kind == ONNX_CONSTANT);
}

static PetscErrorCode WithConstant(Onnx *o, OnnxNode *node, PetscInt which)
{
  OnnxConstant *c;
  OnnxValue    *value;

  PetscFunctionBeginUser;
  PetscCall(OnnxRealInput(o, node, which, &c));
  PetscCall(OnnxLayerInput(o, node, 1 - which, &value));
  OnnxCheck(o, node, value->rank >= 2, "combines a list of numbers with a constant");
  PetscCall(FoldInto(o, node, value, c));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode OnnxAdd(Onnx *o, OnnxNode *node)
{
  OnnxValue *in[CK_MAX_INPUTS];

  PetscFunctionBeginUser;
  for (PetscInt i = 0; i < 2 && node->nin == 2; ++i)
    if (IsConstant(node, i)) {
      OnnxCheck(o, node, node->op[0] == 'A', "adds constants, which is supported for two inputs of an Add only");
      PetscCall(WithConstant(o, node, i));
      PetscFunctionReturn(PETSC_SUCCESS);
    }
  for (PetscInt i = 0; i < node->nin; ++i) {
    PetscCall(OnnxNaturalInput(o, node, i, &in[i]));
    OnnxCheck(o, node, in[i]->rank == in[0]->rank, "adds vectors and images");
  }
  if (node->nin == 1) PetscCall(OnnxAlias(o, node, in[0], in[0]->rank, in[0]->dims));
  else PetscCall(OnnxAddLayer(o, node, CK_LAYER_ADD, NULL, node->nin, in, NULL));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Sub, Mul, Div */
PetscErrorCode OnnxScale(Onnx *o, OnnxNode *node)
{
  const PetscInt which = node->op[0] == 'M' && IsConstant(node, 0) ? 0 : 1;

  PetscFunctionBeginUser;
  OnnxCheck(
    o, node, IsConstant(node, which),
    "combines two results that depend on the samples, or takes such a one from a constant, which is not supported");
  PetscCall(WithConstant(o, node, which));
  PetscFunctionReturn(PETSC_SUCCESS);
}
