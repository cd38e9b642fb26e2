/* The layer graph: weight counts and names of the zoo, shapes, costs, and what is refused. */
#include "messages.h"
#include "testing.h"
#include <clarkia/net.h>

static CkNet ZooNet(const char name[], CkShape input, PetscInt classes)
{
  CkNet net;

  OK(CkNetCreate(PETSC_COMM_WORLD, &net));
  OK(CkNetSetZoo(net, name, input, classes));
  OK(CkNetSetUp(net));
  return net;
}

static const CkShape mnist = {1, 28, 28}, pooled = {1, 7, 7}, cifar = {3, 32, 32};

/* Deep nets are built by each rank for itself where no message is looked for: a thousand checks less to agree upon. */
static MPI_Comm building = MPI_COMM_NULL;

static PetscErrorCode BuildFromOptions(const char text[], CkShape input, PetscInt classes, CkNet *net)
{
  PetscErrorCode ierr;

  OK(PetscOptionsClear(NULL));
  OK(PetscOptionsInsertString(NULL, text));
  OK(CkNetCreate(building == MPI_COMM_NULL ? PETSC_COMM_WORLD : building, net));
  ierr = CkNetSetFromOptions(*net, input, classes);
  if (!ierr) ierr = CkNetSetUp(*net);
  if (ierr) OK(CkNetDestroy(net));
  OK(PetscOptionsClear(NULL));
  return ierr;
}

/* docs/theory.md, section "Networks": counts by the formulas k^2 ci co + co, 2 c, ci co + co. */
static void zoo_has_the_published_counts(void **state)
{
  const struct {
    const char *name;
    CkShape     input;
    PetscInt    classes, weights, buffers, tensors;
  } cases[] = {
    {"small-lenet", mnist, 10, 13338, 2 * (8 + 16 + 128), 20},
    {"small-fc", pooled, 10, 3978, 128, 8},
    {"small-fc", pooled, 2, 3458, 128, 8},
    {"tiny-fc", pooled, 5, 917, 32, 8},
    {"small-allcnn", cifar, 10, 26982, 332, 54},
    {"small-allcnn", cifar, 100, 29412, 512, 54},
    {"logistic", mnist, 10, 7850, 0, 2},
    {"mlp", pooled, 10, 5610, 0, 6},
    {"lenet", mnist, 10, 132220, 2 * (20 + 50 + 500), 20},
    {"tiny-lenet", mnist, 10, 1266, 2 * (4 + 8), 14},
    {"allcnn", cifar, 10, 1667166, 2 * (3 * 96 + 5 * 192 + 10), 54},
  };

  (void)state;
  for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); ++i) {
    CkNet              net = ZooNet(cases[i].name, cases[i].input, cases[i].classes);
    const CkParameter *p;
    const char        *name;
    PetscInt           d, buffers, n, classes, trainable = 0;

    OK(CkNetGetDimension(net, &d));
    OK(CkNetGetBuffers(net, &buffers));
    OK(CkNetGetParameters(net, &n, &p));
    OK(CkNetGetClasses(net, &classes));
    OK(CkNetGetName(net, &name));
    assert_int_equal(d, cases[i].weights);
    assert_int_equal(buffers, cases[i].buffers);
    assert_int_equal(n, cases[i].tensors);
    assert_int_equal(classes, cases[i].classes);
    assert_string_equal(name, cases[i].name);
    for (PetscInt t = 0; t < n; ++t) trainable += p[t].trainable ? p[t].size : 0;
    assert_int_equal(trainable, d);
    OK(CkNetDestroy(&net));
  }
}

/* Deep nets: docs/theory.md, section "Networks"; batch norms are counted by hand. */
static void deep_nets_have_the_published_counts(void **state)
{
  const struct {
    const char *options;
    PetscInt    classes, weights, channels; /* channels: of all batch norms */
  } cases[] = {
    {"-net resnet -net_depth 110", 10, 1727962, 4048},
    {"-net resnet -net_depth 110", 100, 1733812, 4048},
    {"-net resnet -net_depth 110 -net_shortcut B", 10, 1730714, 4048 + 32 + 64},
    {"-net resnet -net_depth 20", 10, 269722, 16 + 6 * (16 + 32 + 64)},
    {"-net resnet", 10, 269722, 16 + 6 * (16 + 32 + 64)},
    {"-net resnet -net_depth 32", 10, 464154, 16 + 10 * (16 + 32 + 64)},
    {"-net resnet -net_depth 56", 10, 853018, 16 + 18 * (16 + 32 + 64)},
    {"-net resnet -net_depth 164 -net_shortcut B -net_preactivation -net_bottleneck", 10, 1703258,
     16 + 32 + 17 * 96 + 64 + 64 + 17 * 192 + 128 + 128 + 17 * 384 + 256},
    {"-net wrn -net_depth 16 -net_widen 8", 10, 10961370, 16 + 3 * 128 + 128 + 3 * 256 + 256 + 3 * 512 + 512},
    {"-net wrn", 100, 11007540, 16 + 3 * 128 + 128 + 3 * 256 + 256 + 3 * 512 + 512},
    {"-net wrn -net_depth 28 -net_widen 10", 10, 36479194, 16 + 7 * 160 + 160 + 7 * 320 + 320 + 7 * 640 + 640},
    {"-net densenet", 10, 1019722, 0},
    {"-net densenet -net_depth 40 -net_growth 12", 100, 1060132, 0},
    {"-net densenet -net_depth 100 -net_growth 24", 10, 27249082, 0},
    {"-net densenet -net_depth 100 -net_growth 24", 100, 27457972, 0},
    {"-net densenet -net_depth 100 -net_growth 12", 10, 6979642, 0},
    {"-net densenet -net_depth 100 -net_growth 12 -net_bottleneck -net_compression 0.5", 10, 769162, 0},
  };

  (void)state;
  building = PETSC_COMM_SELF;
  for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); ++i) {
    CkNet    net;
    PetscInt d, buffers;

    OK(BuildFromOptions(cases[i].options, cifar, cases[i].classes, &net));
    OK(CkNetGetDimension(net, &d));
    OK(CkNetGetBuffers(net, &buffers));
    if (d != cases[i].weights) fprintf(stderr, "%s: %d weights\n", cases[i].options, (int)d);
    assert_int_equal(d, cases[i].weights);
    if (cases[i].channels) assert_int_equal(buffers, 2 * cases[i].channels);
    OK(CkNetDestroy(&net));
  }
  building = MPI_COMM_NULL;
}

/* Tensors by name, as the PyTorch programs named in docs/theory.md have them; each with its shape. */
static void deep_nets_are_named_as_in_pytorch(void **state)
{
  const struct {
    const char *options, *name;
    PetscInt    shape[4];
  } cases[] = {
    {"-net resnet", "conv1.weight", {16, 3, 3, 3}},
    {"-net resnet", "bn1.running_var", {16}},
    {"-net resnet", "layer1.0.conv1.weight", {16, 16, 3, 3}},
    {"-net resnet", "layer3.2.bn2.bias", {64}},
    {"-net resnet", "fc.weight", {10, 64}},
    {"-net resnet -net_shortcut B", "layer2.0.downsample.0.weight", {32, 16, 1, 1}},
    {"-net resnet -net_shortcut B", "layer2.0.downsample.1.running_mean", {32}},
    {"-net resnet -net_depth 11 -net_bottleneck -net_preactivation", "layer2.0.bn1.weight", {64}},
    {"-net resnet -net_depth 11 -net_bottleneck -net_preactivation", "layer2.0.conv3.weight", {128, 32, 1, 1}},
    {"-net resnet -net_depth 11 -net_bottleneck -net_preactivation", "bn.weight", {256}},
    {"-net wrn", "block2.layer.0.convShortcut.weight", {256, 128, 1, 1}},
    {"-net wrn", "block3.layer.1.bn2.running_mean", {512}},
    {"-net wrn", "bn1.weight", {512}},
    {"-net wrn", "fc.bias", {10}},
    {"-net densenet", "features.conv0.weight", {16, 3, 3, 3}},
    {"-net densenet", "features.denseblock1.denselayer2.norm1.weight", {28}},
    {"-net densenet", "features.denseblock3.denselayer12.conv1.weight", {12, 436, 3, 3}},
    {"-net densenet", "features.transition2.conv.weight", {304, 304, 1, 1}},
    {"-net densenet", "features.norm_final.bias", {448}},
    {"-net densenet -net_bottleneck", "features.denseblock1.denselayer1.conv1.weight", {48, 16, 1, 1}},
    {"-net densenet -net_bottleneck -net_compression 0.5",
     "features.denseblock1.denselayer1.conv2.weight",
     {12, 48, 3, 3}},
    {"-net densenet -net_bottleneck -net_compression 0.5", "features.transition1.conv.weight", {48, 96, 1, 1}},
    {"-net densenet", "classifier.weight", {10, 448}},
  };

  (void)state;
  building = PETSC_COMM_SELF;
  for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); ++i) {
    const CkParameter *p, *found = NULL;
    PetscInt           n;
    CkNet              net;

    OK(BuildFromOptions(cases[i].options, cifar, 10, &net));
    OK(CkNetGetParameters(net, &n, &p));
    for (PetscInt t = 0; t < n; ++t)
      if (!strcmp(p[t].name, cases[i].name)) found = &p[t];
    if (!found) fprintf(stderr, "%s: no tensor %s\n", cases[i].options, cases[i].name);
    assert_non_null(found);
    for (int axis = 0; axis < found->rank; ++axis) {
      if (found->shape[axis] != cases[i].shape[axis]) fprintf(stderr, "%s: axis %d\n", cases[i].name, axis);
      assert_int_equal(found->shape[axis], cases[i].shape[axis]);
    }
    for (int axis = found->rank; axis < 4; ++axis) assert_int_equal(cases[i].shape[axis], 0);
    OK(CkNetDestroy(&net));
  }
  building = MPI_COMM_NULL;
}

static void depths_and_images_that_do_not_fit_are_named(void **state)
{
  CkNet net;

  (void)state;
  assert_message(BuildFromOptions("-net resnet -net_depth 21", cifar, 10, &net), "-net_depth 21", "6n+2", "resnet",
                 "20 or 26");
  assert_message(BuildFromOptions("-net resnet -net_depth 2", cifar, 10, &net), "-net_depth 2", "6n+2", "8 or 14");
  assert_message(BuildFromOptions("-net resnet -net_depth 32 -net_bottleneck", cifar, 10, &net), "-net_depth 32",
                 "9n+2", "29 or 38");
  assert_message(BuildFromOptions("-net wrn -net_depth 20", cifar, 10, &net), "-net_depth 20", "6n+4", "16 or 22");
  assert_message(BuildFromOptions("-net densenet -net_depth 41", cifar, 10, &net), "-net_depth 41", "3n+4", "40 or 43");
  assert_message(BuildFromOptions("-net densenet -net_bottleneck -net_depth 43", cifar, 10, &net), "-net_depth 43",
                 "6n+4", "40 or 46");
  assert_message(BuildFromOptions("-net resnet", (CkShape){3, 30, 32}, 10, &net), "resnet", "multiples of 4",
                 "3 x 30 x 32");
  assert_message(BuildFromOptions("-net wrn", pooled, 10, &net), "wrn", "multiples of 4", "1 x 7 x 7");
  assert_message(BuildFromOptions("-net densenet", (CkShape){784, 1, 1}, 10, &net), "densenet", "784 x 1 x 1");
  assert_message(BuildFromOptions("-net lenet", pooled, 10, &net), "lenet", "conv2", "5 x 5", "20 x 1 x 1");
  assert_message(BuildFromOptions("-net allcnn", mnist, 10, &net), "allcnn", "avgpool1", "8 x 8", "10 x 7 x 7");
}

/* small-lenet as its PyTorch state_dict lists it, and its flops by hand. */
static void lenet_is_laid_out_as_in_pytorch(void **state)
{
  const struct {
    const char *name;
    int         rank;
    PetscInt    shape[4];
  } expected[] = {
    {"conv1.weight", 4, {8, 1, 5, 5}},
    {"conv1.bias", 1, {8}},
    {"bn1.weight", 1, {8}},
    {"bn1.bias", 1, {8}},
    {"conv2.weight", 4, {16, 8, 5, 5}},
    {"conv2.bias", 1, {16}},
    {"bn2.weight", 1, {16}},
    {"bn2.bias", 1, {16}},
    {"fc1.weight", 2, {128, 64}},
    {"fc1.bias", 1, {128}},
    {"bn3.weight", 1, {128}},
    {"bn3.bias", 1, {128}},
    {"fc2.weight", 2, {10, 128}},
    {"fc2.bias", 1, {10}},
    {"bn1.running_mean", 1, {8}},
    {"bn1.running_var", 1, {8}},
    {"bn2.running_mean", 1, {16}},
    {"bn2.running_var", 1, {16}},
    {"bn3.running_mean", 1, {128}},
    {"bn3.running_var", 1, {128}},
  };
  const double       conv1 = 2. * 25 * 8 * 24 * 24, conv2 = 2. * 25 * 8 * 16 * 16, dense = 2. * (64 * 128 + 128 * 10);
  const double       norms = 3. * (8 * 24 * 24 + 16 * 16 + 128), pools = 9. * 8 * 8 * 8 + 4. * 16 * 4;
  CkNet              net = ZooNet("small-lenet", mnist, 10);
  const CkParameter *p;
  const CkLayer     *layers;
  PetscInt           n, nlayers, offset = 0;
  double             flops;

  (void)state;
  OK(CkNetGetParameters(net, &n, &p));
  assert_int_equal(n, sizeof(expected) / sizeof(expected[0]));
  for (PetscInt t = 0; t < n; ++t) {
    PetscInt size = 1;

    assert_string_equal(p[t].name, expected[t].name);
    assert_int_equal(p[t].rank, expected[t].rank);
    for (int i = 0; i < p[t].rank; ++i) {
      assert_int_equal(p[t].shape[i], expected[t].shape[i]);
      size *= expected[t].shape[i];
    }
    assert_int_equal(p[t].size, size);
    if (t == 14) offset = 0; /* buffers have a vector of their own */
    assert_int_equal(p[t].offset, offset);
    offset += size;
  }
  OK(CkNetGetLayers(net, &nlayers, &layers));
  for (PetscInt l = 0; l < nlayers; ++l) {
    for (PetscInt j = 0; j < layers[l].nparameters; ++j) assert_int_equal(p[layers[l].first_parameter + j].layer, l);
    for (PetscInt j = 0; j < layers[l].nbuffers; ++j) {
      assert_int_equal(p[layers[l].first_buffer + j].layer, l);
      assert_int_equal(p[layers[l].first_buffer + j].role, j ? CK_ROLE_VARIANCE : CK_ROLE_MEAN);
    }
  }
  OK(CkNetGetFlops(net, &flops));
  assert_close(flops, conv1 + conv2 + dense + norms + pools, 1e-15, flops);
  OK(CkNetDestroy(&net));
}

static CkShape OutputOf(CkLayerType type, CkShape input, CkLayerAttributes a)
{
  const PetscInt zero = 0;
  const CkLayer *layers;
  PetscInt       n, layer, dense;
  CkNet          net;
  CkShape        out;

  OK(CkNetCreate(PETSC_COMM_WORLD, &net));
  OK(CkNetAddInput(net, input));
  OK(CkNetAddLayer(net, type, "layer", 1, &zero, &a, &layer));
  OK(CkNetAddLayer(net, CK_LAYER_FLATTEN, "flatten", 1, &layer, NULL, &layer));
  OK(CkNetAddLayer(net, CK_LAYER_DENSE, "fc", 1, &layer, &(CkLayerAttributes){.units = 2}, &dense));
  OK(CkNetSetUp(net));
  OK(CkNetGetLayers(net, &n, &layers));
  out = layers[1].out;
  OK(CkNetDestroy(&net));
  return out;
}

/* Shapes against PyTorch's formula floor((size + 2 padding - kernel)/stride) + 1, worked out by hand. */
static void windows_are_cut_as_in_pytorch(void **state)
{
  const CkLayerAttributes a = {.units = 4, .kernel = {3, 2}, .stride = {2, 3}, .padding = {1, 0}};
  CkShape                 s;

  (void)state;
  s = OutputOf(CK_LAYER_CONV, (CkShape){2, 8, 9}, a);
  assert_int_equal(s.c, 4);
  assert_int_equal(s.h, 4);
  assert_int_equal(s.w, 3);
  s = OutputOf(CK_LAYER_MAXPOOL, (CkShape){2, 8, 9}, a);
  assert_int_equal(s.c, 2);
  assert_int_equal(s.h, 4);
  assert_int_equal(s.w, 3);
  s = OutputOf(CK_LAYER_AVGPOOL, (CkShape){5, 9, 2}, a);
  assert_int_equal(s.c, 5);
  assert_int_equal(s.h, 5);
  assert_int_equal(s.w, 1);
  s = OutputOf(CK_LAYER_SUBSAMPLE, (CkShape){2, 8, 9}, a); /* x[:, ::2, ::3] */
  assert_int_equal(s.c, 4);
  assert_int_equal(s.h, 4);
  assert_int_equal(s.w, 3);
  s = OutputOf(CK_LAYER_GLOBALAVGPOOL, (CkShape){5, 9, 2}, a);
  assert_int_equal(CkShapeSize(s), 5);
}

static PetscErrorCode BuildZoo(const char name[], CkShape input, PetscInt classes)
{
  PetscErrorCode ierr;
  CkNet          net;

  OK(CkNetCreate(PETSC_COMM_WORLD, &net));
  ierr = CkNetSetZoo(net, name, input, classes);
  if (!ierr) ierr = CkNetSetUp(net);
  OK(CkNetDestroy(&net));
  return ierr;
}

static void shapes_that_do_not_fit_are_named(void **state)
{
  (void)state;
  assert_message(BuildZoo("small-lenet", pooled, 10), "small-lenet", "conv2", "5 x 5", "8 x 1 x 1");
  assert_message(BuildZoo("small-lenet", (CkShape){1, 4, 28}, 10), "small-lenet", "conv1", "5 x 5", "1 x 4 x 28");
  assert_message(BuildZoo("small-allcnn", mnist, 10), "small-allcnn", "avgpool1", "8 x 8", "10 x 7 x 7",
                 "-data_shape 3,32,32");
  assert_message(BuildZoo("small-allcnn", (CkShape){3, 64, 64}, 10), "avgpool1", "10 x 2 x 2", "-data_shape 3,32,32");
  assert_message(BuildZoo("small-fc", (CkShape){0, 7, 7}, 10), "small-fc", "input", "0 x 7 x 7");
  assert_message(BuildZoo("small-fc", pooled, 1), "small-fc", "fc2", "2 class scores", "1 x 1 x 1");
  if (sizeof(PetscInt) == 4) assert_message(BuildZoo("small-fc", (CkShape){1, 50000, 50000}, 10), "small-fc", "input");
}

static void unknown_nets_are_named(void **state)
{
  (void)state;
  assert_message(BuildZoo("small-lenett", mnist, 10), "small-lenett", "small-lenet,", "small-allcnn");
  assert_message(BuildZoo("", mnist, 10), "-net", "small-lenet");
}

static void options_shape_the_mlp(void **state)
{
  const CkLayerType expected[] = {CK_LAYER_INPUT, CK_LAYER_FLATTEN, CK_LAYER_DENSE, CK_LAYER_BATCHNORM,
                                  CK_LAYER_TANH,  CK_LAYER_DROPOUT, CK_LAYER_DENSE, CK_LAYER_BATCHNORM,
                                  CK_LAYER_TANH,  CK_LAYER_DROPOUT, CK_LAYER_DENSE};
  const CkLayer    *layers;
  CkNet             net;
  CkHead            head;
  PetscInt          n, d;

  (void)state;
  OK(BuildFromOptions("-net mlp -net_widths 20,8 -net_activation tanh -net_batchnorm -net_bias false -net_dropout 0.3 "
                      "-net_loss mse",
                      pooled, 10, &net));
  OK(CkNetGetLayers(net, &n, &layers));
  assert_int_equal(n, sizeof(expected) / sizeof(expected[0]));
  for (PetscInt l = 0; l < n; ++l) {
    assert_int_equal(layers[l].type, expected[l]);
    if (layers[l].type == CK_LAYER_DROPOUT) assert_close(layers[l].a.rate, 0.3, 0, 1);
    if (layers[l].type == CK_LAYER_BATCHNORM) assert_close(layers[l].a.epsilon, 1e-5, 0, 1);
  }
  OK(CkNetGetDimension(net, &d));
  assert_int_equal(d, 49 * 20 + 2 * 20 + 20 * 8 + 2 * 8 + 8 * 10);
  OK(CkNetGetHead(net, &head));
  assert_int_equal(head, CK_HEAD_MSE);
  OK(CkNetDestroy(&net));

  OK(BuildFromOptions("-net small-fc -net_classes 12", pooled, 10, &net));
  OK(CkNetGetHead(net, &head));
  assert_int_equal(head, CK_HEAD_CROSS_ENTROPY);
  OK(CkNetGetDimension(net, &d));
  assert_int_equal(d, 3978 + 2 * 65); /* two more outputs of 64 weights and a bias */
  OK(CkNetDestroy(&net));
}

static void options_of_other_nets_are_refused(void **state)
{
  CkNet net;

  (void)state;
  assert_message(BuildFromOptions("-net small-fc -net_widths 10", pooled, 10, &net), "-net_widths", "small-fc", "mlp");
  assert_message(BuildFromOptions("-net logistic -net_dropout 0.1", pooled, 10, &net), "-net_dropout", "logistic",
                 "small-lenet");
  assert_message(BuildFromOptions("-net wrn -net_shortcut B", cifar, 10, &net), "-net_shortcut", "wrn", "resnet");
  assert_message(BuildFromOptions("-net resnet -net_growth 12", cifar, 10, &net), "-net_growth", "resnet", "densenet");
  assert_message(BuildFromOptions("", pooled, 10, &net), "-net", "small-lenet");
  assert_message(BuildFromOptions("-net small-fc -net_classes 9", pooled, 10, &net), "-net_classes 9", "10 classes");
}

/* Cross-entropy needs two classes; squares do with one, and -net_classes can add some. */
static void data_of_one_class_are_refused(void **state)
{
  static const char *const good[] = {"-net logistic -net_loss mse", "-net logistic -net_classes 2"};
  CkNet                    net;

  (void)state;
  OK(PetscOptionsClear(NULL));
  OK(PetscOptionsInsertString(NULL, "-net logistic"));
  OK(CkNetCreate(PETSC_COMM_WORLD, &net));
  assert_message(CkNetSetFromOptions(net, pooled, 1), "only one class", "-data_classes_keep", "-net_classes");
  OK(CkNetDestroy(&net));
  for (int i = 0; i < 2; ++i) {
    OK(PetscOptionsClear(NULL));
    OK(PetscOptionsInsertString(NULL, good[i]));
    OK(CkNetCreate(PETSC_COMM_WORLD, &net));
    OK(CkNetSetFromOptions(net, pooled, 1));
    OK(CkNetSetUp(net));
    OK(CkNetDestroy(&net));
  }
  OK(PetscOptionsClear(NULL));
}

/* Graphs that are no nets. */
static void broken_graphs_are_refused(void **state)
{
  const PetscInt          two[2] = {0, 1};
  const CkLayerAttributes dense = {.units = 3}, conv = {.units = 2, .kernel = {3, 3}, .stride = {1, 1}};
  PetscInt                l;
  CkNet                   net;

  (void)state;
  OK(CkNetCreate(PETSC_COMM_WORLD, &net));
  OK(CkNetAddInput(net, (CkShape){2, 4, 4}));
  assert_message(CkNetAddLayer(net, CK_LAYER_DENSE, "fc", 1, two, &dense, &l), "fc", "flat", "2 x 4 x 4");
  OK(CkNetAddLayer(net, CK_LAYER_CONV, "conv", 1, two, &conv, &l));
  assert_message(CkNetAddLayer(net, CK_LAYER_ADD, "add", 2, two, NULL, &l), "add", "2 x 4 x 4", "2 x 2 x 2");
  assert_message(CkNetAddLayer(net, CK_LAYER_CONCAT, "join", 2, two, NULL, &l), "join", "4 x 4", "2 x 2");
  assert_message(CkNetAddLayer(net, CK_LAYER_RELU, "conv", 1, two + 1, NULL, &l), "two layers", "conv");
  assert_message(CkNetAddLayer(net, CK_LAYER_DROPOUT, "drop", 1, two, &(CkLayerAttributes){.rate = 1}, &l), "drop",
                 "[0, 1)");
  assert_message(CkNetAddLayer(net, CK_LAYER_BATCHNORM, "bn", 1, two, NULL, &l), "bn", "epsilon");
  assert_message(CkNetAddLayer(net, CK_LAYER_MAXPOOL, "pool", 1, two,
                               &(CkLayerAttributes){.kernel = {3, 3}, .stride = {1, 1}, .padding = {2, 2}}, &l),
                 "pool", "half");
  assert_message(
    CkNetAddLayer(net, CK_LAYER_SUBSAMPLE, "skip", 1, two, &(CkLayerAttributes){.units = 1, .stride = {2, 2}}, &l),
    "skip", "at least as many output channels", "2, got 1");
  assert_message(CkNetAddLayer(net, CK_LAYER_SUBSAMPLE, "skip", 1, two, &(CkLayerAttributes){.units = 2}, &l), "skip",
                 "strides of at least 1");
  assert_message(CkNetSetUp(net), "conv", "2 x 2 x 2");
  OK(CkNetAddLayer(net, CK_LAYER_FLATTEN, "flat", 1, two, NULL, &l));
  OK(CkNetAddLayer(net, CK_LAYER_DENSE, "fc", 1, &l, &dense, &l));
  assert_message(CkNetSetUp(net), "conv", "not used");
  OK(CkNetDestroy(&net));
}

/* More weights than an index can count. */
static void too_many_weights_are_refused(void **state)
{
  (void)state;
  if (sizeof(PetscInt) > 4) skip();
  assert_message(BuildZoo("logistic", (CkShape){1, 30000, 30000}, 10), "logistic", "fc1", "64-bit");
}

static void owners_are_counted(void **state)
{
  CkNet       net = ZooNet("tiny-fc", pooled, 5), second = net;
  const char *name;

  (void)state;
  OK(CkNetReference(net));
  OK(CkNetDestroy(&second));
  assert_null(second);
  OK(CkNetGetName(net, &name));
  assert_string_equal(name, "tiny-fc");
  OK(CkNetView(net));
  OK(CkNetDestroy(&net));
}

static const struct CMUnitTest tests[] = {
  cmocka_unit_test(zoo_has_the_published_counts),
  cmocka_unit_test(deep_nets_have_the_published_counts),
  cmocka_unit_test(deep_nets_are_named_as_in_pytorch),
  cmocka_unit_test(depths_and_images_that_do_not_fit_are_named),
  cmocka_unit_test(lenet_is_laid_out_as_in_pytorch),
  cmocka_unit_test(windows_are_cut_as_in_pytorch),
  cmocka_unit_test(shapes_that_do_not_fit_are_named),
  cmocka_unit_test(unknown_nets_are_named),
  cmocka_unit_test(options_shape_the_mlp),
  cmocka_unit_test(options_of_other_nets_are_refused),
  cmocka_unit_test(data_of_one_class_are_refused),
  cmocka_unit_test(broken_graphs_are_refused),
  cmocka_unit_test(too_many_weights_are_refused),
  cmocka_unit_test(owners_are_counted),
};

CK_TEST_MAIN(tests, PetscInitialize, PetscFinalize)
