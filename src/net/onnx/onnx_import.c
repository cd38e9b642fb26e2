#include "onnx.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

/* The shape that the file gives its input: sizes it leaves open are those of the data. */
static PetscErrorCode InputDims(Onnx *o, const Onnx__TypeProto__Tensor *t, OnnxValue *v)
{
  const PetscInt64 known[4] = {1, o->data.c, o->data.h, o->data.w};
  const size_t     n = t->shape ? t->shape->n_dim : 0;

  PetscFunctionBeginUser;
  OnnxCheck(o, NULL, n >= 2 && n <= ONNX_MAX_RANK,
            "input '%.100s' has %zu axes; needed are the samples' axis and at least one more", v->name, n);
  v->rank = (int)n;
  for (size_t i = 0; i < n; ++i) {
    const Onnx__TensorShapeProto__Dimension *d = t->shape->dim[i];
    const PetscBool given = (PetscBool)(d->value_case == ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_VALUE);

    v->dims[i] = given ? d->dim_value : n == 4 ? known[i] : i == 0 ? 1 : n == 2 ? CkShapeSize(o->data) : 0;
    OnnxCheck(o, NULL, v->dims[i] >= 1 && v->dims[i] <= (i == 0 ? 1 << 20 : PETSC_MAX_INT),
              "input '%.100s' has %s axis %zu", v->name, given ? "an impossible length along" : "no length along", i);
  }
  o->batch = v->dims[0];
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The one input is the net's; images must have the data's shape, other forms their count of numbers. */
static PetscErrorCode SetInput(Onnx *o, const Onnx__ValueInfoProto *info, OnnxValue *v)
{
  const Onnx__TypeProto *type = info->type;
  const CkShape          s = o->data;
  double                 n = 1;
  char                   text[200];
  PetscBool              fits;

  PetscFunctionBeginUser;
  OnnxCheck(o, NULL, type && type->value_case == ONNX__TYPE_PROTO__VALUE_TENSOR_TYPE && type->tensor_type,
            "input '%.100s' is no tensor", v->name);
  OnnxCheck(o, NULL, type->tensor_type->elem_type == ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT,
            "input '%.100s' holds numbers of type number %d; FLOAT (1) is supported", v->name,
            type->tensor_type->elem_type);
  PetscCall(InputDims(o, type->tensor_type, v));
  for (int i = 1; i < v->rank; ++i) n *= (double)v->dims[i];
  fits = (PetscBool)(n == (double)CkShapeSize(s));
  if (v->rank == 4 && (s.h > 1 || s.w > 1 || v->dims[2] > 1 || v->dims[3] > 1))
    fits = (PetscBool)(v->dims[1] == s.c && v->dims[2] == s.h && v->dims[3] == s.w);
  OnnxCheck(o, NULL, fits,
            "the net takes samples %s (after the axis of the samples); the data's are %" PetscInt_FMT
            " x %" PetscInt_FMT " x %" PetscInt_FMT,
            OnnxDims(v->rank - 1, v->dims + 1, text, sizeof(text)), s.c, s.h, s.w);
  v->kind = ONNX_LAYER;
  PetscCall(CkNetAddInput(o->net, s));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode FindInput(Onnx *o)
{
  const Onnx__ValueInfoProto *info = NULL;
  OnnxValue                  *input = NULL;

  PetscFunctionBeginUser;
  for (size_t i = 0; i < o->graph->n_input; ++i) {
    OnnxValue *v = OnnxFind(o, OnnxText(o->graph->input[i]->name));

    if (!v || !v->input) continue; /* an initialiser */
    OnnxCheck(o, NULL, !input, "the net has two inputs, '%.100s' and '%.100s'; one is supported",
              input ? input->name : "", v->name);
    input = v;
    info = o->graph->input[i];
  }
  OnnxCheck(o, NULL, input, "the net has no input");
  PetscCall(SetInput(o, info, input));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Constants first: a node may look at those of nodes behind it. */
static PetscErrorCode BuildNodes(Onnx *o)
{
  PetscFunctionBeginUser;
  for (PetscInt i = 0; i < o->nvalues; ++i) {
    OnnxValue *v = &o->values[i];

    if (!v->tensor || v->readers == 0) continue;
    PetscCall(OnnxTensor(o, NULL, v->tensor, &v->constant));
    v->kind = ONNX_CONSTANT;
  }
  for (PetscInt i = 0; i < o->norder; ++i) {
    OnnxNode *node = &o->nodes[o->order[i]];

    if (!OnnxText(node->proto->domain)[0]) PetscCall(OnnxFold(o, node, &node->done));
  }
  PetscCall(FindInput(o));
  for (PetscInt i = 0; i < o->norder; ++i) {
    OnnxNode *node = &o->nodes[o->order[i]];

    if (!node->done) PetscCall(OnnxBuild(o, node));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The last value is a vector of scores; a softmax at the end belongs to the loss. */
static PetscErrorCode Conclude(Onnx *o)
{
  OnnxValue *v = o->output;
  char       text[200];

  PetscFunctionBeginUser;
  OnnxCheck(o, NULL, v->kind == ONNX_LAYER, "the output '%.100s' does not depend on the samples", v->name);
  for (int i = 0; i < 4; ++i) OnnxCheck(o, NULL, v->pad[i] == 0, "the net ends in a Pad, which is not supported");
  for (int i = 2; i < v->rank; ++i)
    OnnxCheck(o, NULL, v->dims[i] == 1, "the net's output is %s, not one number a class",
              OnnxDims(v->rank, v->dims, text, sizeof(text)));
  OnnxCheck(o, NULL, v->rank >= 2, "the net's output is one number for all samples");
  OnnxCheck(o, NULL, v->layer == o->net->nlayers - 1, "the net's output '%.100s' is not that of its last layer, %s",
            v->name, o->net->layers[o->net->nlayers - 1].name);
  if (o->net->layers[v->layer].out.h != 1 || o->net->layers[v->layer].out.w != 1)
    PetscCall(CkNetAddLayer(o->net, CK_LAYER_FLATTEN, "flatten_output", 1, &v->layer, NULL, &v->layer));
  if (v->softmax) {
    o->net->softmax_dropped = PETSC_TRUE;
    PetscCall(CkNetAddNote(o->net, "the softmax at the end was left out: it is part of the loss"));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* What became of the initialisers and nodes that are no weights and no layers. */
static PetscErrorCode AddNotes(Onnx *o)
{
  PetscInt         idle = 0, unused = 0;
  const OnnxValue *first = NULL;

  PetscFunctionBeginUser;
  for (PetscInt i = 0; i < o->nvalues; ++i) {
    const OnnxValue *v = &o->values[i];

    if (v->tensors > 1)
      PetscCall(
        CkNetAddNote(o->net, "'%.60s' starts %" PetscInt_FMT " tensors, which are trained apart", v->name, v->tensors));
    if (!v->tensor || v->tensors || v->tensor->data_type != ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT) continue;
    if (!first) first = v;
    ++unused;
  }
  if (unused)
    PetscCall(CkNetAddNote(o->net, "%" PetscInt_FMT " real initialiser%s did not become weights: '%.60s'%s", unused,
                           CkPlural(unused), first->name, unused > 1 ? ", .." : ""));
  for (PetscInt i = 0; i < o->nnodes; ++i) idle += o->nodes[i].mark == 0;
  if (o->dropouts)
    PetscCall(
      CkNetAddNote(o->net, "dropout was left out (%" PetscInt_FMT " node%s)", o->dropouts, CkPlural(o->dropouts)));
  if (idle)
    PetscCall(CkNetAddNote(o->net, "%" PetscInt_FMT " node%s that the output does not need %s left out", idle,
                           CkPlural(idle), idle > 1 ? "were" : "was"));
  if (o->graph->n_output > 1)
    PetscCall(
      CkNetAddNote(o->net, "of %zu outputs the first one was taken, '%.60s'", o->graph->n_output, o->output->name));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* One tensor of the net from its place in the sources; finite numbers only. */
static PetscErrorCode TakeTensor(Onnx *o, const CkParameter *p, int place, double to[])
{
  const double *x = p->layer < o->nsources ? o->sources[p->layer].x[place] : NULL;

  PetscFunctionBeginUser;
  PetscCheck(x, PETSC_COMM_SELF, PETSC_ERR_PLIB, "Tensor %s has no source", p->name);
  for (PetscInt i = 0; i < p->size; ++i) {
    OnnxCheck(o, NULL, isfinite(x[i]), "tensor %s[%" PetscInt_FMT "] is %g, not a finite number", p->name, i, x[i]);
    to[p->offset + i] = x[i];
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode TakeTensors(Onnx *o)
{
  CkNet net = o->net;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc1((size_t)net->size_trainable, &net->initial_weights));
  PetscCall(PetscMalloc1((size_t)net->size_buffers, &net->initial_buffers));
  for (PetscInt t = 0; t < net->ntrainable; ++t) {
    const CkParameter *p = &net->trainable[t];

    PetscCall(TakeTensor(o, p, p->role == CK_ROLE_BIAS || p->role == CK_ROLE_SHIFT, net->initial_weights));
  }
  for (PetscInt t = 0; t < net->nbuffers; ++t)
    PetscCall(TakeTensor(o, &net->buffers[t], net->buffers[t].role == CK_ROLE_MEAN ? 2 : 3, net->initial_buffers));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Import(Onnx *o, size_t n, const uint8_t bytes[])
{
  PetscFunctionBeginUser;
  PetscCall(OnnxUnpack(o, n, bytes));
  PetscCall(BuildNodes(o));
  PetscCall(Conclude(o));
  PetscCall(AddNotes(o));
  PetscCall(TakeTensors(o));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode OnnxImport(CkNet net, const char file[], size_t n, const uint8_t bytes[], CkShape data)
{
  Onnx           o = {.net = net, .file = file, .size = n, .data = data};
  PetscErrorCode ierr;

  PetscFunctionBeginUser;
  ierr = Import(&o, n, bytes);
  PetscCall(OnnxFree(&o));
  PetscCall(ierr);
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkNetReadOnnx(CkNet net, const char file[], CkShape data)
{
  const char    *slash = strrchr(file, '/');
  uint8_t       *bytes;
  size_t         n;
  PetscErrorCode ierr;

  PetscFunctionBeginUser;
  PetscCheck(net->nlayers == 0, PETSC_COMM_SELF, PETSC_ERR_ORDER, "The net has layers already");
  PetscCall(OnnxReadFile(net->comm, file, &n, &bytes));
  PetscCall(CkNetSetName(net, slash ? slash + 1 : file));
  ierr = OnnxImport(net, file, n, bytes, data);
  PetscCall(PetscFree(bytes));
  PetscCall(ierr);
  PetscFunctionReturn(PETSC_SUCCESS);
}
