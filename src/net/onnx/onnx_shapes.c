#include "onnx.h"
#include <string.h>

/* Operators that change the form of what they read but not the numbers, and those that work number by number. */

static PetscErrorCode ReshapedDims(Onnx *o, const OnnxNode *node, int rank, const PetscInt64 dims[], int *newrank,
                                   PetscInt64 newdims[])
{
  PetscInt64 allowzero = 0, all = 1, known = 1;
  int        open = -1;

  PetscFunctionBeginUser;
  PetscCall(OnnxIntsOf(o, node, "shape", 1, ONNX_MAX_RANK, newdims, newrank));
  OnnxCheck(o, node, *newrank >= 0, "lacks the new shape");
  PetscCall(OnnxInt(o, node, "allowzero", &allowzero));
  for (int a = 0; a < rank; ++a) all *= dims[a];
  for (int a = 0; a < *newrank; ++a) {
    if (newdims[a] == 0 && !allowzero) {
      OnnxCheck(o, node, a < rank, "keeps axis %d of %d", a + 1, rank);
      newdims[a] = dims[a];
    }
    OnnxCheck(o, node, newdims[a] >= -1 && (newdims[a] >= 0 || open < 0), "has a shape that cannot be resolved");
    if (newdims[a] < 0) open = a;
    else OnnxCheck(o, node, !__builtin_mul_overflow(known, newdims[a], &known), "has a shape that is too large");
  }
  if (open >= 0) {
    OnnxCheck(o, node, known > 0 && all % known == 0, "does not divide %" PetscInt64_FMT " numbers by %" PetscInt64_FMT,
              all, known);
    newdims[open] = all / known;
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode FlattenedDims(Onnx *o, const OnnxNode *node, int rank, const PetscInt64 dims[],
                                    PetscInt64 newdims[])
{
  PetscInt64 which = 1;
  int        axis = rank;

  PetscFunctionBeginUser;
  PetscCall(OnnxInt(o, node, "axis", &which));
  if (which != rank) PetscCall(OnnxAxis(o, node, rank, which, &axis));
  newdims[0] = newdims[1] = 1;
  for (int a = 0; a < rank; ++a) newdims[a >= axis] *= dims[a];
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* axes of a Squeeze or Unsqueeze as flags of the longer shape, which has `rank` axes; -1: none given. */
static PetscErrorCode AxisFlags(Onnx *o, const OnnxNode *node, int rank, int *flags, int *n)
{
  PetscInt64 axes[ONNX_MAX_RANK];

  PetscFunctionBeginUser;
  PetscCall(OnnxIntsOf(o, node, "axes", 1, ONNX_MAX_RANK, axes, n));
  *flags = 0;
  for (int i = 0; i < *n; ++i) {
    int axis;

    PetscCall(OnnxAxis(o, node, rank + (node->op[0] == 'U' ? *n : 0), axes[i], &axis));
    OnnxCheck(o, node, !(*flags & 1 << axis), "names axis %d twice", axis);
    *flags |= 1 << axis;
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode SqueezedDims(Onnx *o, const OnnxNode *node, int rank, const PetscInt64 dims[], int *newrank,
                                   PetscInt64 newdims[])
{
  int flags, n;

  PetscFunctionBeginUser;
  PetscCall(AxisFlags(o, node, rank, &flags, &n));
  *newrank = 0;
  for (int a = 0; a < rank; ++a) {
    const PetscBool gone = (PetscBool)(n < 0 ? dims[a] == 1 && a > 0 : flags >> a & 1); /* the samples' axis stays */

    OnnxCheck(o, node, !gone || dims[a] == 1, "removes axis %d, which has length %" PetscInt64_FMT, a, dims[a]);
    if (!gone) newdims[(*newrank)++] = dims[a];
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode UnsqueezedDims(Onnx *o, const OnnxNode *node, int rank, const PetscInt64 dims[], int *newrank,
                                     PetscInt64 newdims[])
{
  int flags, n, next = 0;

  PetscFunctionBeginUser;
  PetscCall(AxisFlags(o, node, rank, &flags, &n));
  OnnxCheck(o, node, n >= 0, "lacks the axes to insert");
  OnnxCheck(o, node, rank + n <= ONNX_MAX_RANK, "makes a tensor of %d axes, more than %d", rank + n,
            (int)ONNX_MAX_RANK);
  *newrank = rank + n;
  for (int a = 0; a < *newrank; ++a) newdims[a] = flags >> a & 1 ? 1 : dims[next++];
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode OnnxNewDims(Onnx *o, const OnnxNode *node, int rank, const PetscInt64 dims[], int *newrank,
                           PetscInt64 newdims[])
{
  PetscFunctionBeginUser;
  if (!strcmp(node->op, "Reshape")) PetscCall(ReshapedDims(o, node, rank, dims, newrank, newdims));
  else if (!strcmp(node->op, "Squeeze")) PetscCall(SqueezedDims(o, node, rank, dims, newrank, newdims));
  else if (!strcmp(node->op, "Unsqueeze")) PetscCall(UnsqueezedDims(o, node, rank, dims, newrank, newdims));
  else {
    *newrank = 2;
    PetscCall(FlattenedDims(o, node, rank, dims, newdims));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* A softmax may be looked at in another form. */
static PetscErrorCode FormInput(Onnx *o, const OnnxNode *node, OnnxValue **value)
{
  PetscFunctionBeginUser;
  if (node->in[0] && node->in[0]->kind == ONNX_LAYER && node->in[0]->softmax) *value = node->in[0];
  else PetscCall(OnnxLayerInput(o, node, 0, value));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode OnnxReshape(Onnx *o, OnnxNode *node)
{
  PetscInt64 dims[ONNX_MAX_RANK];
  OnnxValue *value;
  int        rank;

  PetscFunctionBeginUser;
  PetscCall(FormInput(o, node, &value));
  PetscCall(OnnxNewDims(o, node, value->rank, value->dims, &rank, dims));
  PetscCall(OnnxAlias(o, node, value, rank, dims));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode OnnxIdentity(Onnx *o, OnnxNode *node)
{
  PetscInt64 to = ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT;
  OnnxValue *value;

  PetscFunctionBeginUser;
  PetscCall(FormInput(o, node, &value));
  PetscCall(OnnxInt(o, node, "to", &to));
  OnnxCheck(o, node, to == ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT, "makes other numbers than FLOAT");
  PetscCall(OnnxAlias(o, node, value, value->rank, value->dims));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode OnnxDropout(Onnx *o, OnnxNode *node)
{
  PetscFunctionBeginUser;
  PetscCall(OnnxIdentity(o, node));
  ++o->dropouts;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Axes may change places as long as the order of the numbers does not. */
PetscErrorCode OnnxTranspose(Onnx *o, OnnxNode *node)
{
  PetscInt64 order[ONNX_MAX_RANK], dims[ONNX_MAX_RANK], last = -1;
  OnnxValue *value;
  int        n, seen = 0;

  PetscFunctionBeginUser;
  PetscCall(OnnxLayerInput(o, node, 0, &value));
  PetscCall(OnnxInts(o, node, "perm", -ONNX_MAX_RANK, order, &n));
  for (int a = 0; n < 0 && a < value->rank; ++a) order[a] = value->rank - 1 - a;
  OnnxCheck(o, node, n < 0 || n == value->rank, "reorders %d axes of %d", n, value->rank);
  for (int a = 0; a < value->rank; ++a) {
    OnnxCheck(o, node, order[a] >= 0 && order[a] < value->rank && !(seen & 1 << order[a]),
              "has a perm that is no order");
    seen |= 1 << order[a];
    dims[a] = value->dims[order[a]];
    if (dims[a] == 1) continue;
    OnnxCheck(o, node, order[a] > last, "changes the order of the numbers in a sample, which is not supported");
    last = order[a];
  }
  PetscCall(OnnxAlias(o, node, value, value->rank, dims));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode OnnxSoftmax(Onnx *o, OnnxNode *node)
{
  PetscInt64 which = o->opset < 13 ? 1 : -1;
  OnnxValue *value;
  int        axis;

  PetscFunctionBeginUser;
  PetscCall(OnnxLayerInput(o, node, 0, &value));
  PetscCall(OnnxInt(o, node, "axis", &which));
  PetscCall(OnnxAxis(o, node, value->rank, which, &axis));
  for (int a = 1; a < value->rank; ++a)
    OnnxCheck(o, node, a == axis || value->dims[a] == 1, "is not a softmax over all numbers of a sample");
  OnnxCheck(o, node, axis > 0, "is a softmax over the samples");
  PetscCall(OnnxAlias(o, node, value, value->rank, value->dims));
  node->out[0]->softmax = PETSC_TRUE;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode OnnxConcat(Onnx *o, OnnxNode *node)
{
  OnnxValue *in[CK_MAX_INPUTS];
  PetscInt64 which = 1;
  int        axis;

  PetscFunctionBeginUser;
  for (PetscInt i = 0; i < node->nin; ++i) {
    PetscCall(OnnxNaturalInput(o, node, i, &in[i]));
    OnnxCheck(o, node, in[i]->rank == in[0]->rank, "joins vectors and images");
  }
  PetscCall(OnnxInt(o, node, "axis", &which));
  PetscCall(OnnxAxis(o, node, in[0]->rank, which, &axis));
  OnnxCheck(o, node, axis == 1, "joins along axis %d; only the channels (1) can be joined", axis);
  if (node->nin == 1) PetscCall(OnnxAlias(o, node, in[0], in[0]->rank, in[0]->dims));
  else PetscCall(OnnxAddLayer(o, node, CK_LAYER_CONCAT, NULL, node->nin, in, NULL));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Number by number, in whatever form they are. */
static PetscErrorCode Pointwise(Onnx *o, OnnxNode *node, CkLayerType type)
{
  OnnxValue *value, *out = node->out[0];

  PetscFunctionBeginUser;
  PetscCall(OnnxLayerInput(o, node, 0, &value));
  PetscCall(OnnxAddLayer(o, node, type, NULL, 1, &value, NULL));
  out->rank = value->rank;
  for (int a = 0; a < value->rank; ++a) out->dims[a] = value->dims[a];
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode OnnxActivation(Onnx *o, OnnxNode *node)
{
  static const struct {
    const char *op;
    CkLayerType type;
  } types[] = {
    {"Relu", CK_LAYER_RELU}, {"Tanh", CK_LAYER_TANH}, {"Sigmoid", CK_LAYER_SIGMOID}, {"Softplus", CK_LAYER_SOFTPLUS}};

  PetscFunctionBeginUser;
  for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); ++i)
    if (!strcmp(types[i].op, node->op)) PetscCall(Pointwise(o, node, types[i].type));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* A bound of a Clip: attribute, or input from operator set 11 on. */
static PetscErrorCode Bound(Onnx *o, const OnnxNode *node, const char name[], PetscInt input, double *bound)
{
  OnnxConstant *c;

  PetscFunctionBeginUser;
  PetscCall(OnnxFloat(o, node, name, bound));
  if (input >= node->nin || !node->in[input]) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(OnnxRealInput(o, node, input, &c));
  OnnxCheck(o, node, c->n == 1, "has a bound of %zu numbers", c->n);
  *bound = c->x[0];
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Without bounds the identity, from 0 to infinity a Relu; float32 has nothing beyond 3.402823466e38. */
PetscErrorCode OnnxClip(Onnx *o, OnnxNode *node)
{
  double least = -PETSC_INFINITY, most = PETSC_INFINITY;

  PetscFunctionBeginUser;
  PetscCall(Bound(o, node, "min", 1, &least));
  PetscCall(Bound(o, node, "max", 2, &most));
  OnnxCheck(o, node, most >= 3.4028234e38 && (least == 0 || least <= -3.4028234e38),
            "clips to [%g, %g]; only the identity and a Relu, [0, inf], are supported", least, most);
  if (least == 0) PetscCall(Pointwise(o, node, CK_LAYER_RELU));
  else PetscCall(OnnxIdentity(o, node));
  PetscFunctionReturn(PETSC_SUCCESS);
}
