/* ONNX files: what becomes of their nodes, and which files are refused, by what message. */
#include "onnx_models.h"

static const CkShape data = {2, 6, 7};

static CkNet Imported(Model m, CkShape shape)
{
  CkNet net;

  OK(ReadModel(m, shape, &net));
  return net;
}

static void CheckLayers(CkNet net, size_t n, const CkLayerType types[])
{
  const CkLayer *layers;
  PetscInt       count;

  OK(CkNetGetLayers(net, &count, &layers));
  assert_int_equal(count, n);
  for (size_t l = 0; l < n; ++l) assert_int_equal(layers[l].type, types[l]);
}

/* The numbers of a tensor of the net. */
static const double *Tensor(CkNet net, const char name[], PetscInt size)
{
  const CkParameter *p;
  const double      *w, *b;
  PetscInt           n;

  OK(CkNetGetParameters(net, &n, &p));
  OK(CkNetGetInitial(net, &w, &b));
  for (PetscInt t = 0; t < n; ++t)
    if (!strcmp(p[t].name, name)) {
      assert_int_equal(p[t].size, size);
      return (p[t].trainable ? w : b) + p[t].offset;
    }
  fail_msg("no tensor %s", name);
  return NULL;
}

static void CheckNote(CkNet net, const char words[])
{
  const char *const *notes;
  PetscInt           n, found = 0;

  OK(CkNetGetNotes(net, &n, &notes));
  for (PetscInt i = 0; i < n; ++i) found += strstr(notes[i], words) != NULL;
  if (!found) fprintf(stderr, "no note says '%s'\n", words);
  assert_on_all_ranks(found);
}

/* Weight number i of NewFloats(). */
static double Weight(PetscInt i)
{
  return (double)((float)(i % 2 ? -0.01 : 0.01) * (float)(i + 1));
}

static void layers_and_tensors_are_those_of_the_file(void **state)
{
  const CkLayerType types[] = {CK_LAYER_INPUT,   CK_LAYER_CONV,    CK_LAYER_BATCHNORM, CK_LAYER_RELU,
                               CK_LAYER_MAXPOOL, CK_LAYER_FLATTEN, CK_LAYER_DENSE};
  CkNet             net = Imported(LenetModel(), data);
  const CkLayer    *layers;
  const double     *w;
  PetscInt          n, d;

  (void)state;
  CheckLayers(net, sizeof(types) / sizeof(types[0]), types);
  OK(CkNetGetLayers(net, &n, &layers));
  OK(CkNetGetDimension(net, &d));
  assert_string_equal(layers[1].name, "conv");
  assert_int_equal(layers[1].out.h, 5); /* padding at the top and left alone */
  assert_int_equal(layers[1].a.padding[0], 1);
  assert_int_equal(layers[1].a.trailing[0], -1);
  assert_int_equal(d, 4 * 2 * 9 + 4 + 8 + 3 * 16 + 3);
  w = Tensor(net, "fc.weight", 48);
  for (PetscInt i = 0; i < 48; ++i) assert_close(w[i], Weight(i), 0, 1);
  assert_close(Tensor(net, "bn.running_var", 4)[2], 3, 0, 1);
  assert_close(Tensor(net, "conv.bias", 4)[1], Weight(1), 0, 1);
  CheckNote(net, "softmax");
  OK(CkNetDestroy(&net));
}

/* A Pad goes into the next convolution, a Mul into the one before, an Add behind a MatMul is its bias. */
static void nodes_are_merged_and_that_is_said(void **state)
{
  const CkLayerType types[] = {CK_LAYER_INPUT,         CK_LAYER_CONV,    CK_LAYER_TANH,   CK_LAYER_CONV,
                               CK_LAYER_ADD,           CK_LAYER_SIGMOID, CK_LAYER_CONCAT, CK_LAYER_AVGPOOL,
                               CK_LAYER_GLOBALAVGPOOL, CK_LAYER_DENSE};
  CkNet             net = Imported(ResidualModel(), data);
  const CkLayer    *layers;
  const double     *w;
  PetscInt          n;

  (void)state;
  CheckLayers(net, sizeof(types) / sizeof(types[0]), types);
  OK(CkNetGetLayers(net, &n, &layers));
  assert_int_equal(layers[1].out.h, 3); /* SAME_UPPER: ceil(6/2), ceil(7/2) */
  assert_int_equal(layers[1].out.w, 4);
  assert_int_equal(layers[1].a.padding[0], 0);
  assert_int_equal(layers[1].a.trailing[0], 1);
  assert_int_equal(layers[3].a.padding[1], 1);
  w = Tensor(net, "a.weight", 54);
  for (PetscInt i = 0; i < 54; ++i) assert_close(w[i], Weight(i) * Weight(i / 18), 1e-15, 1);
  w = Tensor(net, "fc.weight", 18); /* [out, in] of a matrix [in, out] */
  for (PetscInt i = 0; i < 18; ++i) assert_close(w[i], Weight(i % 6 * 3 + i / 6), 0, 1);
  assert_close(Tensor(net, "fc.bias", 3)[2], Weight(2), 0, 1);
  CheckNote(net, "Mul_e");
  CheckNote(net, "'factor'");
  OK(CkNetDestroy(&net));
}

static void constants_are_followed(void **state)
{
  CkNet         net = Imported(ShapesModel(), data);
  const double *w = Tensor(net, "fc.weight", 252);

  (void)state;
  for (PetscInt i = 0; i < 252; ++i) assert_close(w[i], 0.01f * Weight(i % 84 * 3 + i / 84), 1e-12, 1);
  CheckNote(net, "dropout");
  CheckNote(net, "Mul_out0");
  OK(CkNetDestroy(&net));
}

/* A dense layer on a vector of four numbers, and whatever node is put before it. */
static Model Vector(const char op[], const char inputs[])
{
  Model m = NewModel(13, 2, (const int64_t[]){-1, 4}, "z");

  Floats(m, "w", 2, 4, 3);
  Floats(m, "b", 1, 4);
  Ints(m, "i", 1, 1);
  if (op) Node(m, op, inputs, "y");
  Node(m, "MatMul", op ? "y w" : "x w", "z");
  return m;
}

static PetscErrorCode Read(Model m)
{
  const CkShape  vector = {4, 1, 1};
  CkNet          net;
  PetscErrorCode ierr = ReadModel(m, m.m->graph->input[0]->type->tensor_type->shape->n_dim == 2 ? vector : data, &net);

  OK(CkNetDestroy(&net));
  return ierr;
}

static void unknown_operators_are_named(void **state)
{
  Model m = Vector("Erf", "x");

  (void)state;
  assert_message(Read(m), "test.onnx", "Erf_y", "(Erf)", "not supported");
  m = Vector("Relu", "x");
  m.m->graph->node[0]->domain = strdup("com.example");
  assert_message(Read(m), "Relu_y", "com.example");
  assert_message(Read(Vector("Mul", "x b")), "Mul_y", "constant");
  assert_message(Read(Vector("Mul", "x x")), "Mul_y", "depend on the samples");
  assert_message(Read(Vector("Softmax", "x")), "MatMul_z", "softmax");
  assert_message(Read(Vector("Clip", "x b")), "Clip_y", "4 numbers");
  assert_message(Read(Vector("Conv", "x w")), "Conv_y", "needs an image");
  assert_message(Read(Vector("Relu", "x x")), "Relu_y", "2 inputs");
}

static void bad_values_are_named(void **state)
{
  Model m = Vector("Relu", "absent");

  (void)state;
  assert_message(Read(m), "Relu_y", "'absent'", "no input");
  assert_message(Read(Vector("Relu", "z")), "cycle");
  m = Vector(NULL, NULL);
  Node(m, "Relu", "x", "z");
  assert_message(Read(m), "two things", "'z'");
  m = Vector(NULL, NULL);
  Floats(m, "w", 1, 2);
  assert_message(Read(m), "two things", "'w'");
  m = Vector(NULL, NULL);
  m.m->graph->initializer[0]->data_type = ONNX__TENSOR_PROTO__DATA_TYPE__DOUBLE;
  assert_message(Read(m), "'w'", "DOUBLE", "FLOAT");
  m = Vector(NULL, NULL);
  m.m->graph->initializer[0]->dims[0] = 5;
  assert_message(Read(m), "'w'", "[5, 3]", "15 numbers", "48 bytes");
  m = Vector(NULL, NULL);
  m.m->graph->initializer[0]->dims[0] = INT64_C(1) << 62;
  assert_message(Read(m), "'w'", "more than");
  m = Vector(NULL, NULL);
  m.m->graph->initializer[0]->dims[1] = -3;
  assert_message(Read(m), "'w'", "-3");
  m = Vector(NULL, NULL);
  m.m->graph->initializer[0]->has_data_location = 1;
  m.m->graph->initializer[0]->data_location = ONNX__TENSOR_PROTO__DATA_LOCATION__EXTERNAL;
  assert_message(Read(m), "'w'", "external data");
  m = Vector(NULL, NULL);
  ((float *)(void *)m.m->graph->initializer[0]->raw_data.data)[5] = NAN;
  assert_message(Read(m), "weight[", "nan");
}

static void bad_models_are_named(void **state)
{
  Model m = Vector(NULL, NULL);

  (void)state;
  m.m->opset_import[0]->version = 7;
  assert_message(Read(m), "operator set 7", "8 to 17");
  m = Vector(NULL, NULL);
  m.m->opset_import[0]->version = 18;
  assert_message(Read(m), "operator set 18");
  m = NewModel(13, 2, (const int64_t[]){1, 4}, "x");
  assert_message(Read(m), "empty");
  m = Vector(NULL, NULL);
  m.m->graph->output[0]->name[0] = 'q';
  assert_message(Read(m), "output 'q'");
  m = NewModel(13, 2, (const int64_t[]){1, 5}, "y");
  Node(m, "Relu", "x", "y");
  assert_message(Read(m), "[5]", "4 x 1 x 1");
  m = NewModel(13, 4, (const int64_t[]){1, 2, 7, 6}, "y");
  Node(m, "Relu", "x", "y");
  assert_message(Read(m), "[2, 7, 6]", "2 x 6 x 7");
}

/* Windows that are not supported, or impossible. */
static Model Windows(const char op[], const char inputs[], const char attribute[], int64_t a, int64_t b)
{
  Model            m = NewModel(11, 4, (const int64_t[]){1, 2, 6, 7}, "y");
  Onnx__NodeProto *n;

  Floats(m, "w", 4, 3, 2, 3, 3);
  Ints(m, "pads", 8, 0, 0, 1, 1, 0, 0, 1, 1);
  Node(m, "Pad", "x pads", "p");
  n = Node(m, op, inputs, "y");
  if (strcmp(op, "Conv") != 0) IntsAttribute(n, "kernel_shape", 2, 2);
  if (attribute && b >= 0) IntsAttribute(n, attribute, a, b);
  else if (attribute) IntAttribute(n, attribute, a);
  return m;
}

static void windows_that_cannot_be_are_named(void **state)
{
  Model m;

  (void)state;
  assert_message(Read(Windows("Conv", "x w", "group", 2, -1)), "Conv_y", "2 groups");
  assert_message(Read(Windows("Conv", "x w", "dilations", 2, 1)), "Conv_y", "dilations of 2");
  assert_message(Read(Windows("Conv", "x w", "strides", 0, 1)), "Conv_y", "strides of 0");
  assert_message(Read(Windows("Conv", "x w", "kernel_shape", 2, 3)), "Conv_y", "kernel_shape");
  assert_message(Read(Windows("Conv", "x w", "pads", 1, 1)), "Conv_y", "pads of 2 integers");
  assert_message(Read(Windows("MaxPool", "p", NULL, 0, 0)), "MaxPool_y", "Pad");
  assert_message(Read(Windows("MaxPool", "x", "strides", INT64_C(1) << 40, 1)), "MaxPool_y", "strides");
  m = Windows("AveragePool", "x", NULL, 0, 0);
  IntsAttribute(m.m->graph->node[1], "pads", 1, 1, 1, 1);
  assert_message(Read(m), "AveragePool_y", "count_include_pad");
  m = Windows("Conv", "p w", NULL, 0, 0);
  m.m->graph->initializer[1]->int64_data[1] = 1;
  assert_message(Read(m), "Pad_p", "axis 1");
  m = Windows("Conv", "p w", NULL, 0, 0);
  m.m->graph->initializer[1]->int64_data[2] = -1;
  assert_message(Read(m), "Pad_p", "-1");
}

static PetscErrorCode ReadBytes(size_t n, const uint8_t bytes[])
{
  CkNet          net;
  PetscErrorCode ierr;

  OK(CkNetCreate(PETSC_COMM_WORLD, &net));
  ierr = OnnxImport(net, "test.onnx", n, bytes, data);
  OK(CkNetDestroy(&net));
  return ierr;
}

static void damaged_bytes_are_refused(void **state)
{
  enum { DEPTH = 19000, ROOM = 4 * DEPTH + 8 }; /* DEPTH = 3 n + 1: the outermost is a graph */
  size_t   n;
  uint8_t *bytes = PackModel(LenetModel(), &n), *deep = calloc(1, 2 * ROOM);
  size_t   at = ROOM;

  (void)state;
  assert_message(ReadBytes(n - 1, bytes), "truncated", "at byte");
  assert_message(ReadBytes(0, bytes), "empty");
  assert_message(ReadBytes(5, (const uint8_t *)"%PDF-"), "test.onnx", "no ONNX file");
  free(bytes);
  /* graphs in attributes in nodes in graphs: each message is field g, attribute or node of what follows it */
  for (int i = 0; i < DEPTH && at > 8; ++i) {
    const uint8_t tag = i % 3 == 0 ? 0x32 : i % 3 == 1 ? 0x2a : 0x0a; /* attribute: g; node: attribute; graph: node */
    size_t        length = ROOM - at;

    bytes = deep + at - 4;
    if (length < 0x200000) {
      bytes[0] = tag;
      bytes[1] = (uint8_t)(length & 0x7f) | 0x80;
      bytes[2] = (uint8_t)(length >> 7 & 0x7f) | 0x80;
      bytes[3] = (uint8_t)(length >> 14);
      at -= 4;
    }
  }
  deep[at] = 0x3a; /* the model's graph */
  assert_message(ReadBytes(ROOM - at, deep + at), "nested too deeply");
  free(deep);
}

static PetscErrorCode FromOptions(const char text[])
{
  PetscErrorCode ierr;
  CkNet          net;

  OK(PetscOptionsClear(NULL));
  OK(PetscOptionsInsertString(NULL, text));
  OK(CkNetCreate(PETSC_COMM_WORLD, &net));
  ierr = CkNetSetFromOptions(net, data, 3);
  OK(CkNetDestroy(&net));
  OK(PetscOptionsClear(NULL));
  return ierr;
}

static void files_are_read_by_name(void **state)
{
  const char *name = "test_onnx_by_name.onnx";
  PetscMPIInt rank;
  size_t      n;
  uint8_t    *bytes = PackModel(LenetModel(), &n);
  char        text[256];

  (void)state;
  MPI_Comm_rank(PETSC_COMM_WORLD, &rank);
  if (rank == 0) {
    FILE *file = fopen(name, "wb");

    fwrite(bytes, 1, n, file);
    fclose(file);
  }
  free(bytes);
  MPI_Barrier(PETSC_COMM_WORLD);
  snprintf(text, sizeof(text), "-net %s", name);
  OK(FromOptions(text));
  snprintf(text, sizeof(text), "-net %s -net_loss mse", name);
  assert_message(FromOptions(text), "-net_loss mse", "softmax");
  snprintf(text, sizeof(text), "-net %s -net_widths 3", name);
  assert_message(FromOptions(text), "-net_widths", name);
  snprintf(text, sizeof(text), "-net %s -net_classes 5", name);
  assert_message(FromOptions(text), "-net_classes", name);
  assert_message(FromOptions("-net absent.onnx"), "absent.onnx", "No such file");
  assert_message(FromOptions("-net /dev/null.onnx"), "/dev/null.onnx");
  MPI_Barrier(PETSC_COMM_WORLD);
  if (rank == 0) remove(name);
}

static const struct CMUnitTest tests[] = {
  cmocka_unit_test(layers_and_tensors_are_those_of_the_file),
  cmocka_unit_test(nodes_are_merged_and_that_is_said),
  cmocka_unit_test(constants_are_followed),
  cmocka_unit_test(unknown_operators_are_named),
  cmocka_unit_test(bad_values_are_named),
  cmocka_unit_test(bad_models_are_named),
  cmocka_unit_test(windows_that_cannot_be_are_named),
  cmocka_unit_test(damaged_bytes_are_refused),
  cmocka_unit_test(files_are_read_by_name),
};

CK_TEST_MAIN(tests, PetscInitialize, PetscFinalize)
