#pragma once
#include "testing.h"
#include <clarkia/net.h>
#include <clarkia/random.h>

/*
  Small nets for tests of engines: between them every layer kind, both ways of joining layers, strides, paddings,
  missing biases, rectangular kernels. Built layer by layer, so no net of the zoo is needed.
*/
typedef struct {
  const char *name;
  CkShape     input;
  PetscBool   smooth; /* no kinks: any step of a finite difference will do */
  void (*build)(CkNet net);
} TestNet;

static inline PetscInt Layer(CkNet net, CkLayerType type, const char name[], PetscInt input, const CkLayerAttributes a)
{
  PetscInt layer;

  OK(CkNetAddLayer(net, type, name, 1, &input, &a, &layer));
  return layer;
}

static inline PetscInt Dense(CkNet net, const char name[], PetscInt input, PetscInt units, PetscBool bias)
{
  return Layer(net, CK_LAYER_DENSE, name, input, (CkLayerAttributes){.units = units, .bias = bias});
}

static inline PetscInt Conv(CkNet net, const char name[], PetscInt input, PetscInt units, PetscInt kernel,
                            PetscInt stride, PetscInt padding)
{
  return Layer(net, CK_LAYER_CONV, name, input,
               (CkLayerAttributes){.units = units,
                                   .kernel = {kernel, kernel},
                                   .stride = {stride, stride},
                                   .padding = {padding, padding},
                                   .bias = PETSC_TRUE});
}

static inline PetscInt Pool(CkNet net, CkLayerType type, const char name[], PetscInt input, PetscInt kernel,
                            PetscInt stride, PetscInt padding)
{
  return Layer(
    net, type, name, input,
    (CkLayerAttributes){.kernel = {kernel, kernel}, .stride = {stride, stride}, .padding = {padding, padding}});
}

static inline PetscInt Norm(CkNet net, const char name[], PetscInt input)
{
  return Layer(net, CK_LAYER_BATCHNORM, name, input, (CkLayerAttributes){.epsilon = 1e-5});
}

static inline PetscInt Plain(CkNet net, CkLayerType type, const char name[], PetscInt input)
{
  return Layer(net, type, name, input, (CkLayerAttributes){0});
}

static inline void BuildDense(CkNet net)
{
  Dense(net, "fc", Plain(net, CK_LAYER_FLATTEN, "flatten", 0), 3, PETSC_TRUE);
}

static inline void BuildTanh(CkNet net)
{
  PetscInt l = Dense(net, "fc1", 0, 5, PETSC_FALSE);

  l = Dense(net, "fc2", Plain(net, CK_LAYER_TANH, "tanh", l), 4, PETSC_TRUE);
  Dense(net, "fc3", Plain(net, CK_LAYER_SIGMOID, "sigmoid", l), 3, PETSC_FALSE);
}

static inline void BuildRelu(CkNet net)
{
  PetscInt l = Dense(net, "fc1", 0, 6, PETSC_TRUE);

  Dense(net, "fc2", Plain(net, CK_LAYER_RELU, "relu", l), 3, PETSC_TRUE);
}

/* Stride, padding, no bias, rectangular kernel. */
static inline void BuildConv(CkNet net)
{
  const CkLayerAttributes a = {.units = 4, .kernel = {3, 2}, .stride = {1, 2}, .padding = {1, 0}};
  PetscInt                l = Conv(net, "conv1", 0, 3, 3, 2, 1);

  l = Layer(net, CK_LAYER_CONV, "conv2", Plain(net, CK_LAYER_SOFTPLUS, "softplus", l), a);
  l = Plain(net, CK_LAYER_FLATTEN, "flatten", Plain(net, CK_LAYER_TANH, "tanh", l));
  Dense(net, "fc", l, 3, PETSC_TRUE);
}

/* Batch norm after a convolution with bias, one without, and a dense layer: all can be folded. */
static inline void BuildNorm(CkNet net)
{
  const CkLayerAttributes a = {.units = 3, .kernel = {3, 3}, .stride = {1, 1}, .padding = {0, 0}};
  PetscInt                l = Norm(net, "bn1", Conv(net, "conv1", 0, 3, 2, 1, 0));

  l = Norm(net, "bn2", Layer(net, CK_LAYER_CONV, "conv2", Plain(net, CK_LAYER_TANH, "tanh1", l), a));
  l = Plain(net, CK_LAYER_FLATTEN, "flatten", Plain(net, CK_LAYER_SOFTPLUS, "softplus", l));
  l = Norm(net, "bn3", Dense(net, "fc1", l, 4, PETSC_TRUE));
  Dense(net, "fc2", Plain(net, CK_LAYER_TANH, "tanh2", l), 3, PETSC_TRUE);
}

/* Batch norm, ReLU and max pooling, twice, then dense: a small image of small-lenet, with dropout. */
static inline void BuildLenet(CkNet net)
{
  PetscInt l = Norm(net, "bn1", Conv(net, "conv1", 0, 3, 3, 1, 0));

  l = Pool(net, CK_LAYER_MAXPOOL, "pool1", Plain(net, CK_LAYER_RELU, "relu1", l), 3, 2, 1);
  l = Layer(net, CK_LAYER_DROPOUT, "dropout1", l, (CkLayerAttributes){.rate = 0.25});
  l = Norm(net, "bn2", Dense(net, "fc1", Plain(net, CK_LAYER_FLATTEN, "flatten", l), 6, PETSC_TRUE));
  l = Plain(net, CK_LAYER_RELU, "relu2", l);
  l = Layer(net, CK_LAYER_DROPOUT, "dropout2", l, (CkLayerAttributes){.rate = 0.5});
  Dense(net, "fc2", l, 3, PETSC_TRUE);
}

/* Average pool with padding, then over the whole image; the classes come from a 1x1 convolution with batch norm. */
static inline void BuildAllConv(CkNet net)
{
  PetscInt l = Conv(net, "conv1", 0, 4, 3, 1, 1);

  l = Pool(net, CK_LAYER_AVGPOOL, "avgpool", Plain(net, CK_LAYER_SIGMOID, "sigmoid", l), 3, 2, 1);
  l = Norm(net, "bn", Conv(net, "conv2", l, 3, 1, 1, 0));
  Plain(net, CK_LAYER_GLOBALAVGPOOL, "global", Plain(net, CK_LAYER_SOFTPLUS, "softplus", l));
}

/* A residual block with a skip, batch norm after the addition (not foldable), fan-out of an activation. */
static inline void BuildResidual(CkNet net)
{
  PetscInt start = Plain(net, CK_LAYER_TANH, "tanh1", Norm(net, "bn1", Conv(net, "conv1", 0, 4, 3, 1, 1)));
  PetscInt inner = Plain(net, CK_LAYER_TANH, "tanh2", Norm(net, "bn2", Conv(net, "conv2", start, 4, 3, 1, 1)));
  PetscInt both[3], sum, l;

  inner = Conv(net, "conv3", inner, 4, 3, 1, 1);
  both[0] = inner;
  both[1] = start;
  both[2] = inner;
  OK(CkNetAddLayer(net, CK_LAYER_ADD, "add", 3, both, NULL, &sum));
  l = Plain(net, CK_LAYER_SOFTPLUS, "softplus", Norm(net, "bn3", sum));
  Dense(net, "fc", Plain(net, CK_LAYER_GLOBALAVGPOOL, "global", l), 3, PETSC_TRUE);
}

/* Dense connections: concatenation of an activation with its input (twice), batch norm behind it, ReLU. */
static inline void BuildConcat(CkNet net)
{
  PetscInt first = Conv(net, "conv1", 0, 3, 3, 1, 1);
  PetscInt inner = Conv(net, "conv2", Plain(net, CK_LAYER_RELU, "relu1", Norm(net, "bn1", first)), 2, 3, 1, 1);
  PetscInt all[3] = {first, inner, first}, joined, l;

  OK(CkNetAddLayer(net, CK_LAYER_CONCAT, "concat", 3, all, NULL, &joined));
  l = Plain(net, CK_LAYER_RELU, "relu2", Norm(net, "bn2", joined));
  l = Pool(net, CK_LAYER_AVGPOOL, "avgpool", l, 2, 2, 0);
  Dense(net, "fc", Plain(net, CK_LAYER_FLATTEN, "flatten", l), 3, PETSC_TRUE);
}

/* A block of a residual net that halves the image: the shortcut takes every second pixel (and, of the width, every
   third), among more channels. */
static inline void BuildShortcut(CkNet net)
{
  const CkLayerAttributes strided = {.units = 6, .kernel = {3, 3}, .stride = {2, 3}, .padding = {1, 1}};
  const CkLayerAttributes shortcut = {.units = 6, .stride = {2, 3}};
  PetscInt start = Plain(net, CK_LAYER_TANH, "tanh1", Norm(net, "bn1", Conv(net, "conv1", 0, 3, 3, 1, 1)));
  PetscInt inner = Norm(net, "bn2", Layer(net, CK_LAYER_CONV, "conv2", start, strided));
  PetscInt both[2], l;

  both[1] = Norm(net, "bn3", Conv(net, "conv3", Plain(net, CK_LAYER_TANH, "tanh2", inner), 6, 3, 1, 1));
  both[0] = Layer(net, CK_LAYER_SUBSAMPLE, "downsample", start, shortcut);
  OK(CkNetAddLayer(net, CK_LAYER_ADD, "add", 2, both, NULL, &l));
  l = Plain(net, CK_LAYER_GLOBALAVGPOOL, "global", Plain(net, CK_LAYER_SOFTPLUS, "softplus", l));
  Dense(net, "fc", l, 3, PETSC_TRUE);
}

/* Pre-activated: a norm that follows a convolution whose output is read twice; a convolution as the shortcut, from the
   activation; norms after additions. */
static inline void BuildPreactivated(CkNet net)
{
  const CkLayerAttributes shortcut = {.units = 5, .kernel = {1, 1}, .stride = {2, 2}};
  PetscInt                both[2], start = Conv(net, "conv1", 0, 3, 3, 1, 1), l;

  l = Plain(net, CK_LAYER_TANH, "tanh1", Norm(net, "bn1", start));
  l = Plain(net, CK_LAYER_TANH, "tanh2", Norm(net, "bn2", Conv(net, "conv2", l, 3, 3, 1, 1)));
  both[0] = start;
  both[1] = Conv(net, "conv3", l, 3, 3, 1, 1);
  OK(CkNetAddLayer(net, CK_LAYER_ADD, "add1", 2, both, NULL, &l));
  start = Plain(net, CK_LAYER_TANH, "tanh3", Norm(net, "bn3", l));
  l = Plain(net, CK_LAYER_SOFTPLUS, "softplus1", Norm(net, "bn4", Conv(net, "conv4", start, 5, 3, 2, 1)));
  both[1] = Conv(net, "conv5", l, 5, 3, 1, 1);
  both[0] = Layer(net, CK_LAYER_CONV, "shortcut", start, shortcut);
  OK(CkNetAddLayer(net, CK_LAYER_ADD, "add2", 2, both, NULL, &l));
  l = Plain(net, CK_LAYER_SOFTPLUS, "softplus2", Norm(net, "bn5", l));
  Dense(net, "fc", Plain(net, CK_LAYER_GLOBALAVGPOOL, "global", l), 3, PETSC_TRUE);
}

/* One more layer of a dense block: norm, activation, convolution to two channels, behind those it reads. */
static inline PetscInt DenselyConnected(CkNet net, PetscInt number, PetscInt input)
{
  char     name[4][16];
  PetscInt both[2] = {input, 0}, joined;

  for (int i = 0; i < 4; ++i)
    snprintf(name[i], sizeof(name[i]), "%s%d", (const char *[]){"norm", "tanh", "conv", "concat"}[i], (int)number);
  both[1] = Conv(net, name[2], Plain(net, CK_LAYER_TANH, name[1], Norm(net, name[0], input)), 2, 3, 1, 1);
  OK(CkNetAddLayer(net, CK_LAYER_CONCAT, name[3], 2, both, NULL, &joined));
  return joined;
}

/* Two dense blocks, the first of three layers, and a transition. */
static inline void BuildDenseBlocks(CkNet net)
{
  PetscInt l = Conv(net, "conv0", 0, 3, 3, 1, 1);

  for (PetscInt i = 1; i <= 3; ++i) l = DenselyConnected(net, i, l);
  l = Plain(net, CK_LAYER_SOFTPLUS, "softplus", Norm(net, "transition", l));
  l = Pool(net, CK_LAYER_AVGPOOL, "pool", Conv(net, "conv_transition", l, 4, 1, 1, 0), 2, 2, 0);
  l = DenselyConnected(net, 4, l);
  l = Plain(net, CK_LAYER_TANH, "tanh_final", Norm(net, "norm_final", l));
  Dense(net, "classifier", Plain(net, CK_LAYER_GLOBALAVGPOOL, "global", l), 3, PETSC_TRUE);
}

/* More padding on one side than on the other: a convolution with strides, one behind that, pools of both kinds. */
static inline void BuildLopsided(CkNet net)
{
  const CkLayerAttributes first = {
    .units = 4, .kernel = {3, 2}, .stride = {2, 1}, .padding = {0, 1}, .trailing = {2, -1}, .bias = PETSC_TRUE};
  const CkLayerAttributes second = {.units = 3, .kernel = {2, 2}, .stride = {1, 1}, .trailing = {1, 1}};
  const CkLayerAttributes most = {.kernel = {3, 2}, .stride = {2, 1}, .padding = {1, 0}, .trailing = {1, 1}};
  const CkLayerAttributes mean = {.kernel = {2, 3}, .stride = {1, 2}, .padding = {1, 0}, .trailing = {-1, 2}};
  PetscInt                l = Layer(net, CK_LAYER_CONV, "conv1", 0, first);

  l = Layer(net, CK_LAYER_MAXPOOL, "pool", Plain(net, CK_LAYER_TANH, "tanh", l), most);
  l = Plain(net, CK_LAYER_SOFTPLUS, "softplus", Layer(net, CK_LAYER_CONV, "conv2", l, second));
  l = Plain(net, CK_LAYER_FLATTEN, "flatten", Layer(net, CK_LAYER_AVGPOOL, "avgpool", l, mean));
  Dense(net, "fc", l, 3, PETSC_TRUE);
}

/* Dropout between what works in place and the pools: after a convolution, and after a batch norm. */
static inline void BuildDropout(CkNet net)
{
  PetscInt l = Plain(net, CK_LAYER_TANH, "tanh", Conv(net, "conv1", 0, 3, 3, 1, 1));

  l = Pool(net, CK_LAYER_MAXPOOL, "pool1", Layer(net, CK_LAYER_DROPOUT, "drop1", l, (CkLayerAttributes){.rate = 0.25}),
           3, 2, 0);
  l = Plain(net, CK_LAYER_SOFTPLUS, "softplus", Norm(net, "bn", Conv(net, "conv2", l, 4, 2, 1, 1)));
  l = Pool(net, CK_LAYER_MAXPOOL, "pool2", Layer(net, CK_LAYER_DROPOUT, "drop2", l, (CkLayerAttributes){.rate = 0.5}),
           2, 2, 0);
  Dense(net, "fc", Plain(net, CK_LAYER_FLATTEN, "flatten", l), 3, PETSC_TRUE);
}

static const TestNet test_nets[] = {
  {"dense", {2, 2, 3}, PETSC_TRUE, BuildDense},
  {"tanh", {6, 1, 1}, PETSC_TRUE, BuildTanh},
  {"relu", {6, 1, 1}, PETSC_FALSE, BuildRelu},
  {"conv", {2, 7, 6}, PETSC_TRUE, BuildConv},
  {"norm", {2, 5, 5}, PETSC_TRUE, BuildNorm},
  {"lenet", {1, 8, 8}, PETSC_FALSE, BuildLenet},
  {"allconv", {2, 6, 6}, PETSC_TRUE, BuildAllConv},
  {"residual", {2, 4, 4}, PETSC_TRUE, BuildResidual},
  {"concat", {2, 4, 4}, PETSC_FALSE, BuildConcat},
  {"shortcut", {2, 5, 4}, PETSC_TRUE, BuildShortcut},
  {"preactivated", {2, 4, 4}, PETSC_TRUE, BuildPreactivated},
  {"dense-blocks", {2, 8, 8}, PETSC_TRUE, BuildDenseBlocks},
  {"lopsided", {2, 7, 6}, PETSC_FALSE, BuildLopsided},
  {"dropout", {2, 9, 9}, PETSC_FALSE, BuildDropout},
};

#define TEST_NETS (sizeof(test_nets) / sizeof(test_nets[0]))
#define TEST_CLASSES 3

static inline CkNet NewTestNet(const TestNet *t, CkHead head)
{
  CkNet net;

  OK(CkNetCreate(PETSC_COMM_WORLD, &net));
  OK(CkNetSetName(net, t->name));
  OK(CkNetAddInput(net, t->input));
  t->build(net);
  OK(CkNetSetHead(net, head));
  OK(CkNetSetUp(net));
  return net;
}

/* n normally distributed numbers, the same on every rank. */
static inline double *NewNormals(uint64_t seed, size_t n)
{
  const CkRandom stream = {.seed = seed, .purpose = CK_RANDOM_PROBE};
  double        *values;

  OK(PetscMalloc1(n, &values));
  CkRandomNormals(&stream, 0, n, values);
  return values;
}

/* A point at which every parameter matters: weights of size 0.5, scales near 1, variances between 1/2 and 3/2. */
static inline void NewPoint(CkNet net, uint64_t seed, double **weights, double **buffers)
{
  const CkParameter *p;
  PetscInt           n, d, nbuffers;

  OK(CkNetGetDimension(net, &d));
  OK(CkNetGetBuffers(net, &nbuffers));
  OK(CkNetGetParameters(net, &n, &p));
  *weights = NewNormals(seed, (size_t)d);
  *buffers = NewNormals(seed + 1, (size_t)nbuffers);
  for (PetscInt t = 0; t < n; ++t)
    for (PetscInt i = p[t].offset; i < p[t].offset + p[t].size; ++i) {
      if (p[t].role == CK_ROLE_SCALE) (*weights)[i] = 1 + 0.3 * (*weights)[i];
      else if (p[t].trainable) (*weights)[i] *= 0.5;
      else if (p[t].role == CK_ROLE_VARIANCE) (*buffers)[i] = 1 + 0.5 * tanh((*buffers)[i]);
      else (*buffers)[i] *= 0.3;
    }
}

typedef struct {
  PetscInt  n;
  float    *features;
  PetscInt *labels;
} TestSamples;

static inline TestSamples NewSamples(CkNet net, uint64_t seed, PetscInt n)
{
  TestSamples s = {.n = n};
  CkShape     shape;
  PetscInt    classes;
  double     *normals;
  size_t      size;

  OK(CkNetGetInput(net, &shape));
  OK(CkNetGetClasses(net, &classes));
  size = (size_t)n * (size_t)CkShapeSize(shape);
  normals = NewNormals(seed, size);
  OK(PetscMalloc2(size, &s.features, n, &s.labels));
  for (size_t i = 0; i < size; ++i) s.features[i] = (float)normals[i];
  for (PetscInt k = 0; k < n; ++k) s.labels[k] = (k * 7 + (PetscInt)(seed % 5)) % classes;
  OK(PetscFree(normals));
  return s;
}

static inline void FreeSamples(TestSamples *s)
{
  OK(PetscFree2(s->features, s->labels));
}
