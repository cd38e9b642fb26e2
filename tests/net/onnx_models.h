#pragma once
#include "messages.h"
#include "testing.h"
#include <clarkia/state.h>
#include <stdlib.h>

#include "onnx/onnx.h"

/*
  ONNX files for tests, made node by node. A Model owns everything; PackModel() gives the bytes. Weights are the numbers
  0.01, -0.02, 0.03, .. so that no two are alike.
*/
#define NEW(type, name, init)                                                                                          \
  type *name = malloc(sizeof(*name));                                                                                  \
  init(name)

typedef struct {
  Onnx__ModelProto *m;
} Model;

/* Appends to a repeated field of messages or strings. */
#define APPEND(list, count, item)                                                                                      \
  do {                                                                                                                 \
    (list) = realloc((void *)(list), ((count) + 1) * sizeof(*(list)));                                                 \
    (list)[(count)++] = (item);                                                                                        \
  } while (0)

static inline Onnx__ValueInfoProto *NewValueInfo(const char name[], int rank, const int64_t dims[])
{
  NEW(Onnx__ValueInfoProto, v, onnx__value_info_proto__init);
  NEW(Onnx__TypeProto, type, onnx__type_proto__init);
  NEW(Onnx__TypeProto__Tensor, tensor, onnx__type_proto__tensor__init);
  NEW(Onnx__TensorShapeProto, shape, onnx__tensor_shape_proto__init);

  for (int i = 0; i < rank; ++i) {
    NEW(Onnx__TensorShapeProto__Dimension, d, onnx__tensor_shape_proto__dimension__init);

    d->value_case = dims[i] < 0 ? ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_PARAM
                                : ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_VALUE;
    if (dims[i] < 0) d->dim_param = strdup("N");
    else d->dim_value = dims[i];
    APPEND(shape->dim, shape->n_dim, d);
  }
  tensor->has_elem_type = 1;
  tensor->elem_type = ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT;
  tensor->shape = shape;
  type->value_case = ONNX__TYPE_PROTO__VALUE_TENSOR_TYPE;
  type->tensor_type = tensor;
  v->name = strdup(name);
  v->type = type;
  return v;
}

/* dims < 0: left open. */
static inline Model NewModel(int64_t opset, int rank, const int64_t dims[], const char output[])
{
  NEW(Onnx__ModelProto, m, onnx__model_proto__init);
  NEW(Onnx__GraphProto, g, onnx__graph_proto__init);
  NEW(Onnx__OperatorSetIdProto, set, onnx__operator_set_id_proto__init);
  const int64_t out[2] = {1, 3};

  m->has_ir_version = 1;
  m->ir_version = 6;
  set->has_version = 1;
  set->version = opset;
  APPEND(m->opset_import, m->n_opset_import, set);
  m->graph = g;
  APPEND(g->input, g->n_input, NewValueInfo("x", rank, dims));
  APPEND(g->output, g->n_output, NewValueInfo(output, 2, out));
  return (Model){m};
}

/* A tensor of floats, in raw_data or float_data. */
static inline Onnx__TensorProto *NewFloats(const char name[], int rank, const int64_t dims[], int raw)
{
  NEW(Onnx__TensorProto, t, onnx__tensor_proto__init);
  size_t n = 1;

  t->name = strdup(name);
  t->has_data_type = 1;
  t->data_type = ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT;
  for (int i = 0; i < rank; ++i) {
    APPEND(t->dims, t->n_dims, dims[i]);
    n *= (size_t)dims[i];
  }
  t->float_data = malloc(n * sizeof(float) + 1);
  for (size_t i = 0; i < n; ++i) t->float_data[i] = (float)(i % 2 ? -0.01 : 0.01) * (float)(i + 1);
  t->n_float_data = n;
  if (!raw) return t;
  t->has_raw_data = 1;
  t->raw_data.len = n * sizeof(float); /* tests run on little-endian machines */
  t->raw_data.data = (uint8_t *)t->float_data;
  t->float_data = NULL;
  t->n_float_data = 0;
  return t;
}

static inline Onnx__TensorProto *NewInts(const char name[], int64_t n, const int64_t values[])
{
  NEW(Onnx__TensorProto, t, onnx__tensor_proto__init);

  t->name = strdup(name);
  t->has_data_type = 1;
  t->data_type = ONNX__TENSOR_PROTO__DATA_TYPE__INT64;
  if (n >= 0) APPEND(t->dims, t->n_dims, n);
  for (int64_t i = 0; i < (n < 0 ? 1 : n); ++i) APPEND(t->int64_data, t->n_int64_data, values[i]);
  return t;
}

static inline Onnx__TensorProto *Initialiser(Model m, Onnx__TensorProto *t)
{
  APPEND(m.m->graph->initializer, m.m->graph->n_initializer, t);
  return t;
}

#define Floats(m, name, rank, ...) Initialiser(m, NewFloats(name, rank, (const int64_t[]){__VA_ARGS__}, 1))
#define Ints(m, name, n, ...) Initialiser(m, NewInts(name, n, (const int64_t[]){__VA_ARGS__}))

/* A node; inputs and outputs are names with a space between, "-" for one left out. The name is the operator's and the
   output's. */
static inline Onnx__NodeProto *Node(Model m, const char op[], const char inputs[], const char outputs[])
{
  NEW(Onnx__NodeProto, n, onnx__node_proto__init);
  char *words[2] = {strdup(inputs), strdup(outputs)}, text[128];

  n->op_type = strdup(op);
  snprintf(text, sizeof(text), "%s_%s", op, outputs);
  n->name = strdup(text);
  for (char *rest = words[0], *word; (word = strsep(&rest, " "));)
    if (*word) APPEND(n->input, n->n_input, strdup(strcmp(word, "-") ? word : ""));
  for (char *rest = words[1], *word; (word = strsep(&rest, " "));)
    if (*word) APPEND(n->output, n->n_output, strdup(word));
  free(words[0]);
  free(words[1]);
  APPEND(m.m->graph->node, m.m->graph->n_node, n);
  return n;
}

static inline Onnx__AttributeProto *Attribute(Onnx__NodeProto *n, const char name[], int type)
{
  NEW(Onnx__AttributeProto, a, onnx__attribute_proto__init);

  a->name = strdup(name);
  a->has_type = 1;
  a->type = (Onnx__AttributeProto__AttributeType)type;
  APPEND(n->attribute, n->n_attribute, a);
  return a;
}

static inline void IntAttribute(Onnx__NodeProto *n, const char name[], int64_t value)
{
  Onnx__AttributeProto *a = Attribute(n, name, ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INT);

  a->has_i = 1;
  a->i = value;
}

static inline void FloatAttribute(Onnx__NodeProto *n, const char name[], float value)
{
  Onnx__AttributeProto *a = Attribute(n, name, ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__FLOAT);

  a->has_f = 1;
  a->f = value;
}

static inline void TextAttribute(Onnx__NodeProto *n, const char name[], const char value[])
{
  Onnx__AttributeProto *a = Attribute(n, name, ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__STRING);

  a->has_s = 1;
  a->s.len = strlen(value);
  a->s.data = (uint8_t *)strdup(value);
}

static inline void AddInts(Onnx__NodeProto *n, const char name[], int count, const int64_t values[])
{
  Onnx__AttributeProto *a = Attribute(n, name, ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INTS);

  for (int i = 0; i < count; ++i) APPEND(a->ints, a->n_ints, values[i]);
}

#define IntsAttribute(n, name, ...)                                                                                    \
  AddInts(n, name, (int)(sizeof((const int64_t[]){__VA_ARGS__}) / sizeof(int64_t)), (const int64_t[]){__VA_ARGS__})

static inline void TensorAttribute(Onnx__NodeProto *n, const char name[], Onnx__TensorProto *t)
{
  Attribute(n, name, ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__TENSOR)->t = t;
}

/* The file; frees the model. */
static inline uint8_t *PackModel(Model m, size_t *n)
{
  uint8_t *bytes;

  *n = onnx__model_proto__get_packed_size(m.m);
  bytes = malloc(*n + 1);
  onnx__model_proto__pack(m.m, bytes);
  onnx__model_proto__free_unpacked(m.m, NULL);
  return bytes;
}

/* Imports the model; *net is set up, or NULL where that fails. */
static inline PetscErrorCode ReadModel(Model m, CkShape data, CkNet *net)
{
  size_t         n;
  uint8_t       *bytes = PackModel(m, &n);
  PetscErrorCode ierr;

  OK(CkNetCreate(PETSC_COMM_WORLD, net));
  OK(CkNetSetName(*net, "test.onnx"));
  ierr = OnnxImport(*net, "test.onnx", n, bytes, data);
  free(bytes);
  if (!ierr) ierr = CkNetSetUp(*net);
  if (ierr) OK(CkNetDestroy(net));
  return ierr;
}

/* Convolution, batch norm, pool, flatten by constants, dense layers: a bit of everything. */
static inline Model LenetModel(void)
{
  Model              m = NewModel(9, 4, (const int64_t[]){1, 2, 6, 7}, "p");
  Onnx__TensorProto *variance;
  Onnx__NodeProto   *n;

  Floats(m, "conv.weight", 4, 4, 2, 3, 3);
  Floats(m, "conv.bias", 1, 4);
  Floats(m, "bn.weight", 1, 4);
  Floats(m, "bn.bias", 1, 4);
  Floats(m, "bn.running_mean", 1, 4);
  variance = Floats(m, "bn.running_var", 1, 4);
  for (int i = 0; i < 4; ++i) ((float *)(void *)variance->raw_data.data)[i] = 1 + (float)i;
  Floats(m, "fc.weight", 2, 3, 16);
  Floats(m, "fc.bias", 1, 3);
  Ints(m, "zero", -1, 0);
  Ints(m, "minus", 1, -1);
  n = Node(m, "Conv", "x conv.weight conv.bias", "c");
  IntsAttribute(n, "kernel_shape", 3, 3);
  IntsAttribute(n, "pads", 1, 1, 0, 0);
  IntsAttribute(n, "strides", 1, 1);
  Node(m, "BatchNormalization", "c bn.weight bn.bias bn.running_mean bn.running_var", "b");
  Node(m, "Relu", "b", "r");
  n = Node(m, "MaxPool", "r", "q");
  IntsAttribute(n, "kernel_shape", 2, 3);
  IntsAttribute(n, "strides", 2, 3);
  Node(m, "Shape", "q", "s");
  n = Node(m, "Gather", "s zero", "s0");
  IntAttribute(n, "axis", 0);
  n = Node(m, "Unsqueeze", "s0", "s1");
  IntsAttribute(n, "axes", 0);
  n = Node(m, "Concat", "s1 minus", "shape");
  IntAttribute(n, "axis", 0);
  Node(m, "Reshape", "q shape", "f");
  n = Node(m, "Gemm", "f fc.weight fc.bias", "z");
  FloatAttribute(n, "alpha", 1);
  IntAttribute(n, "transB", 1);
  n = Node(m, "Softmax", "z", "p");
  IntAttribute(n, "axis", 1);
  return m;
}

/* Additions, concatenation, a Pad node, average pools, a MatMul with its Add, a Mul that is folded. */
static inline Model ResidualModel(void)
{
  Model            m = NewModel(13, 4, (const int64_t[]){-1, 2, 6, 7}, "z");
  Onnx__NodeProto *n;

  Floats(m, "a.weight", 4, 3, 2, 3, 3);
  Floats(m, "b.weight", 4, 3, 3, 3, 3);
  Floats(m, "b.bias", 1, 3);
  Floats(m, "factor", 3, 3, 1, 1);
  Floats(m, "matrix", 2, 6, 3);
  Floats(m, "fc.bias", 1, 3);
  Ints(m, "pads", 8, 0, 0, 1, 1, 0, 0, 1, 1);
  Ints(m, "axes", 2, 2, 3);
  n = Node(m, "Conv", "x a.weight", "c");
  TextAttribute(n, "auto_pad", "SAME_UPPER");
  IntsAttribute(n, "strides", 2, 2);
  Node(m, "Mul", "c factor", "e");
  Node(m, "Tanh", "e", "t");
  Node(m, "Pad", "t pads", "p");
  Node(m, "Conv", "p b.weight b.bias", "d");
  Node(m, "Add", "d t", "s");
  Node(m, "Sigmoid", "s", "g");
  n = Node(m, "Concat", "g t", "j");
  IntAttribute(n, "axis", -3);
  n = Node(m, "AveragePool", "j", "v");
  IntsAttribute(n, "kernel_shape", 2, 2);
  n = Node(m, "ReduceMean", "v", "u");
  IntsAttribute(n, "axes", 2, -1);
  Node(m, "Squeeze", "u axes", "f");
  Node(m, "MatMul", "f matrix", "y");
  Node(m, "Add", "fc.bias y", "z");
  return m;
}

/* Chains of constants: slices, arithmetic, casts, a weight computed in the file. */
static inline Model ShapesModel(void)
{
  Model            m = NewModel(17, 4, (const int64_t[]){-1, 2, 6, 7}, "out");
  Onnx__NodeProto *n;

  Floats(m, "fc.weight", 2, 84, 3);
  Ints(m, "one", 1, 1);
  Ints(m, "four", 1, 4);
  Ints(m, "index", 3, 0, 1, 2);
  Ints(m, "shape2", 2, 1, -1);
  Node(m, "Shape", "x", "s");
  Node(m, "Slice", "s one four", "chw");
  n = Node(m, "Gather", "chw index", "chw2");
  IntAttribute(n, "axis", 0);
  n = Node(m, "Constant", "", "half");
  TensorAttribute(n, "value", NewFloats("", 1, (const int64_t[]){1}, 0));
  n = Node(m, "ConstantOfShape", "one", "two");
  TensorAttribute(n, "value", NewInts("", 1, (const int64_t[]){2}));
  Node(m, "Mul", "chw2 two", "twice");
  Node(m, "Div", "twice two", "again");
  n = Node(m, "Concat", "one again", "all");
  IntAttribute(n, "axis", 0);
  n = Node(m, "Cast", "all", "real");
  IntAttribute(n, "to", 1);
  n = Node(m, "Cast", "real", "whole");
  IntAttribute(n, "to", 7);
  Node(m, "Reshape", "x whole", "x2");
  n = Node(m, "Transpose", "fc.weight", "wt");
  IntsAttribute(n, "perm", 1, 0);
  n = Node(m, "Transpose", "wt", "w");
  Node(m, "Clip", "x2", "x3");
  Node(m, "Dropout", "x3", "x4");
  Node(m, "Reshape", "x4 shape2", "flat");
  Node(m, "MatMul", "flat w", "z");
  Node(m, "Mul", "half z", "out0");
  Node(m, "Identity", "out0", "out");
  return m;
}
