/* The reference engine against finite differences of its own values: every layer kind, both heads, both modes. */
#include "nets.h"
#include "testing.h"
#include <clarkia/engine.h>

#define SAMPLES 3
#define STEP 1e-4

/* Values of a point in evaluation or training mode; the training gradient is left in gradient where that is not NULL.
 */
typedef struct {
  CkNet       net;
  CkEngine    engine;
  PetscInt    d;
  double     *weights, *buffers, *w;
  TestSamples samples;
} Problem;

static Problem NewProblem(const TestNet *t, CkHead head)
{
  Problem p;

  p.net = NewTestNet(t, head);
  OK(CkNetGetDimension(p.net, &p.d));
  NewPoint(p.net, 11, &p.weights, &p.buffers);
  p.samples = NewSamples(p.net, 21, SAMPLES);
  p.w = NewNormals(31, SAMPLES);
  OK(CkEngineCreate(p.net, &p.engine));
  OK(CkEngineSetType(p.engine, "reference"));
  OK(CkEngineSetTile(p.engine, SAMPLES));
  OK(CkEngineSetUp(p.engine));
  return p;
}

static void FreeProblem(Problem *p)
{
  OK(CkEngineDestroy(&p->engine));
  FreeSamples(&p->samples);
  OK(PetscFree(p->w));
  OK(PetscFree(p->weights));
  OK(PetscFree(p->buffers));
  OK(CkNetDestroy(&p->net));
}

static void EvaluationValues(Problem *p, double f[])
{
  OK(CkEngineSetPoint(p->engine, p->weights, p->buffers));
  OK(CkEngineValues(p->engine, SAMPLES, p->samples.features, p->samples.labels, f, NULL));
}

/* Every rank trains on the same three samples by itself: two blocks, of two samples and of one. */
static void TrainingValues(Problem *p, double f[], double gradient[])
{
  const CkBatch          batch = {.n = SAMPLES, .mode = CK_TRAINING, .step = 5, .replica = 1};
  const PetscInt         first[2] = {0, 2}, size[2] = {2, 1};
  const double           bound = 1e6;
  const CkTrainingBlocks blocks = {.comm = PETSC_COMM_SELF,
                                   .seed = 17,
                                   .batch = &batch,
                                   .group = SAMPLES,
                                   .nblocks = 2,
                                   .first = first,
                                   .size = size,
                                   .features = p->samples.features,
                                   .labels = p->samples.labels,
                                   .weights = p->w};
  CkExactSum             sum;

  OK(CkEngineSetPoint(p->engine, p->weights, p->buffers));
  OK(CkExactSumCreate(PETSC_COMM_SELF, p->d, 1, &bound, 2, &sum));
  OK(CkEngineTrain(p->engine, &blocks, f, NULL, NULL, sum));
  if (gradient) OK(CkExactSumReduce(sum, gradient));
  OK(CkExactSumDestroy(&sum));
}

static double WeightedSum(const Problem *p, const double f[])
{
  double sum = 0;

  for (int k = 0; k < SAMPLES; ++k) sum += p->w[k] * f[k];
  return sum;
}

/* Fourth-order central difference of each sample's value with respect to weight i. */
static void Difference(Problem *p, PetscInt i, int training, double out[])
{
  static const double factor[4] = {1. / 12, -8. / 12, 8. / 12, -1. / 12}, at[4] = {-2, -1, 1, 2};
  const double        x = p->weights[i];
  double              f[SAMPLES];

  for (int k = 0; k < SAMPLES; ++k) out[k] = 0;
  for (int j = 0; j < 4; ++j) {
    p->weights[i] = x + at[j] * STEP;
    if (training) TrainingValues(p, f, NULL);
    else EvaluationValues(p, f);
    for (int k = 0; k < SAMPLES; ++k) out[k] += factor[j] * f[k] / STEP;
  }
  p->weights[i] = x;
}

/* |difference| of each tensor within 1e-7 of the tensor's own gradient; tensors without effect (a bias before batch
   norm in training mode) within 1e-7 of the whole gradient. */
static int TensorsAgree(const Problem *p, const double g[], const double fd[])
{
  const CkParameter *t;
  PetscInt           n;
  double             whole = 0;
  int                fine = 1;

  OK(CkNetGetParameters(p->net, &n, &t));
  for (PetscInt i = 0; i < p->d; ++i) whole += g[i] * g[i];
  for (PetscInt j = 0; j < n && t[j].trainable; ++j) {
    double difference = 0, norm = 0;

    for (PetscInt i = t[j].offset; i < t[j].offset + t[j].size; ++i) {
      difference += (g[i] - fd[i]) * (g[i] - fd[i]);
      norm += g[i] * g[i];
    }
    norm = norm > 1e-20 * whole ? norm : whole;
    if (sqrt(difference) <= 1e-7 * sqrt(norm)) continue;
    fprintf(stderr, "%s: |difference| %g, |gradient| %g\n", t[j].name, sqrt(difference), sqrt(norm));
    fine = 0;
  }
  return fine && whole > 0;
}

static void rows_agree_with_finite_differences(void **state)
{
  (void)state;
  for (size_t t = 0; t < 2 * TEST_NETS; ++t) {
    Problem p = NewProblem(&test_nets[t / 2], t % 2 ? CK_HEAD_MSE : CK_HEAD_CROSS_ENTROPY);
    double *G, *fd, f[SAMPLES], column[SAMPLES];

    OK(PetscMalloc2(SAMPLES * p.d, &G, SAMPLES * p.d, &fd));
    OK(CkEngineSetPoint(p.engine, p.weights, p.buffers));
    OK(CkEngineLoad(p.engine, SAMPLES, p.samples.features, p.samples.labels, f, NULL));
    OK(CkEngineRows(p.engine, CK_FLOAT64, G, (size_t)p.d));
    for (PetscInt i = 0; i < p.d; ++i) {
      Difference(&p, i, 0, column);
      for (int k = 0; k < SAMPLES; ++k) fd[k * p.d + i] = column[k];
    }
    for (int k = 0; k < SAMPLES; ++k) {
      const int fine = TensorsAgree(&p, G + k * p.d, fd + k * p.d);

      if (!fine) fprintf(stderr, "net %s, sample %d\n", test_nets[t / 2].name, k);
      assert_on_all_ranks(fine);
    }
    OK(PetscFree2(G, fd));
    FreeProblem(&p);
  }
}

/* Batch statistics depend on the weights and dropout masks are fixed by (seed, replica, step, position). */
static void training_gradient_agrees_with_finite_differences(void **state)
{
  (void)state;
  for (size_t t = 0; t < 2 * TEST_NETS; ++t) {
    Problem p = NewProblem(&test_nets[t / 2], t % 2 ? CK_HEAD_MSE : CK_HEAD_CROSS_ENTROPY);
    double *g, *fd, f[SAMPLES], column[SAMPLES];
    int     fine;

    OK(PetscMalloc2(p.d, &g, p.d, &fd));
    TrainingValues(&p, f, g);
    for (PetscInt i = 0; i < p.d; ++i) {
      Difference(&p, i, 1, column);
      fd[i] = WeightedSum(&p, column);
    }
    fine = TensorsAgree(&p, g, fd);
    if (!fine) fprintf(stderr, "net %s in training mode\n", test_nets[t / 2].name);
    assert_on_all_ranks(fine);
    OK(PetscFree2(g, fd));
    FreeProblem(&p);
  }
}

/* Without batch norm and dropout both modes are one function: the batch gradient is the weighted sum of the rows. */
static void rows_sum_to_the_batch_gradient(void **state)
{
  (void)state;
  for (size_t t = 0; t < TEST_NETS; ++t) {
    Problem  p = NewProblem(&test_nets[t], CK_HEAD_CROSS_ENTROPY);
    PetscInt nlayers;
    double  *g, *G, f[SAMPLES], f_training[SAMPLES], worst = 0;
    int      same = 1;

    const CkLayer *layers;

    OK(CkNetGetLayers(p.net, &nlayers, &layers));
    for (PetscInt l = 0; l < nlayers; ++l)
      if (layers[l].type == CK_LAYER_BATCHNORM || layers[l].type == CK_LAYER_DROPOUT) same = 0;
    if (same) {
      OK(PetscMalloc2(p.d, &g, SAMPLES * p.d, &G));
      TrainingValues(&p, f_training, g);
      OK(CkEngineLoad(p.engine, SAMPLES, p.samples.features, p.samples.labels, f, NULL));
      OK(CkEngineRows(p.engine, CK_FLOAT64, G, (size_t)p.d));
      for (int k = 0; k < SAMPLES; ++k) assert_close(f[k], f_training[k], 1e-14, 1);
      for (PetscInt i = 0; i < p.d; ++i) {
        double sum = 0;

        for (int k = 0; k < SAMPLES; ++k) sum += p.w[k] * G[k * p.d + i];
        worst = fmax(worst, fabs(sum - g[i]));
      }
      assert_close(worst, 0, 1e-13, 1);
      OK(PetscFree2(g, G));
    }
    FreeProblem(&p);
  }
}

/* The reference holds explicit gradients only: asking for another form is an error, not a silence. */
static void layer_form_is_refused(void **state)
{
  CkNet    net = NewTestNet(&test_nets[0], CK_HEAD_MSE);
  CkEngine engine;

  (void)state;
  OK(PetscOptionsInsertString(NULL, "-engine reference -engine_layer_form factored"));
  OK(CkEngineCreate(net, &engine));
  OK(CkEngineSetFromOptions(engine));
  assert_user_error(CkEngineSetUp(engine));
  OK(CkEngineDestroy(&engine));
  OK(PetscOptionsClearValue(NULL, "-engine_layer_form"));
  OK(PetscOptionsClearValue(NULL, "-engine"));
  OK(CkNetDestroy(&net));
}

/* Finite differences cannot see a window in the wrong place. So: outputs against sums over an explicitly padded image.
   Outputs are read off as the bias gradient of a dense layer W = I behind the layer under the squared error. */
#define IMAGE_CHANNELS 2
#define IMAGE_HEIGHT 5
#define IMAGE_WIDTH 6
#define MARGIN 2

typedef struct {
  double pixels[IMAGE_CHANNELS][IMAGE_HEIGHT + 2 * MARGIN][IMAGE_WIDTH + 2 * MARGIN];
} Padded;

static Padded Pad(const float features[], double margin)
{
  Padded p;

  for (int c = 0; c < IMAGE_CHANNELS; ++c)
    for (int h = 0; h < IMAGE_HEIGHT + 2 * MARGIN; ++h)
      for (int w = 0; w < IMAGE_WIDTH + 2 * MARGIN; ++w) {
        const int ih = h - MARGIN, iw = w - MARGIN;
        const int inside = ih >= 0 && ih < IMAGE_HEIGHT && iw >= 0 && iw < IMAGE_WIDTH;

        p.pixels[c][h][w] = inside ? features[(c * IMAGE_HEIGHT + ih) * IMAGE_WIDTH + iw] : margin;
      }
  return p;
}

/* Output o at (oh, ow) by definition; w: the convolution's weights and biases as they lie in x. */
static double WindowOutput(CkLayerType type, const CkLayerAttributes *a, const Padded *p, const double w[], PetscInt o,
                           PetscInt oh, PetscInt ow)
{
  const PetscInt kh = a->kernel[0], kw = a->kernel[1];
  double         sum = type == CK_LAYER_CONV ? w[a->units * IMAGE_CHANNELS * kh * kw + o] : 0, largest = -INFINITY;

  for (PetscInt i = 0; i < kh; ++i)
    for (PetscInt j = 0; j < kw; ++j) {
      const PetscInt h = MARGIN + oh * a->stride[0] - a->padding[0] + i;
      const PetscInt v = MARGIN + ow * a->stride[1] - a->padding[1] + j;

      if (type != CK_LAYER_CONV) {
        sum += p->pixels[o][h][v] / (double)(kh * kw);
        largest = fmax(largest, p->pixels[o][h][v]);
        continue;
      }
      for (PetscInt c = 0; c < IMAGE_CHANNELS; ++c)
        sum += w[((o * IMAGE_CHANNELS + c) * kh + i) * kw + j] * p->pixels[c][h][v];
    }
  return type == CK_LAYER_MAXPOOL ? largest : sum;
}

static void CheckWindows(CkLayerType type, const CkLayerAttributes *a)
{
  CkNet          net;
  CkEngine       engine;
  const CkLayer *layers;
  TestSamples    s;
  Padded         p;
  PetscInt       zero = 0, l, n, d, size, own;
  double        *x, *g, f;

  OK(CkNetCreate(PETSC_COMM_WORLD, &net));
  OK(CkNetAddInput(net, (CkShape){IMAGE_CHANNELS, IMAGE_HEIGHT, IMAGE_WIDTH}));
  OK(CkNetAddLayer(net, type, "windows", 1, &zero, a, &l));
  size = a->units ? a->units : IMAGE_CHANNELS;
  for (int i = 0; i < 2; ++i)
    size *= ((i ? IMAGE_WIDTH : IMAGE_HEIGHT) + 2 * a->padding[i] + a->trailing[i] - a->kernel[i]) / a->stride[i] + 1;
  OK(CkNetAddLayer(net, CK_LAYER_FLATTEN, "flatten", 1, &l, NULL, &l));
  OK(CkNetAddLayer(net, CK_LAYER_DENSE, "fc", 1, &l, &(CkLayerAttributes){.units = size, .bias = PETSC_TRUE}, &l));
  OK(CkNetSetHead(net, CK_HEAD_MSE));
  OK(CkNetSetUp(net));
  OK(CkNetGetDimension(net, &d));
  OK(CkNetGetLayers(net, &n, &layers));
  own = d - size * (size + 1);
  x = NewNormals(3, (size_t)d);
  for (PetscInt i = 0; i < size * (size + 1); ++i) x[own + i] = i < size * size && i / size == i % size;
  s = NewSamples(net, 4, 1);
  OK(PetscMalloc1(d, &g));
  OK(CkEngineCreate(net, &engine));
  OK(CkEngineSetType(engine, "reference"));
  OK(CkEngineSetUp(engine));
  OK(CkEngineSetPoint(engine, x, NULL));
  OK(CkEngineLoad(engine, 1, s.features, s.labels, &f, NULL));
  OK(CkEngineRows(engine, CK_FLOAT64, g, (size_t)d));
  p = Pad(s.features, type == CK_LAYER_MAXPOOL ? -INFINITY : 0);
  for (PetscInt i = 0, o = 0; o < layers[1].out.c; ++o)
    for (PetscInt oh = 0; oh < layers[1].out.h; ++oh)
      for (PetscInt ow = 0; ow < layers[1].out.w; ++ow, ++i)
        assert_close(g[own + size * size + i] + (i == s.labels[0]), WindowOutput(type, a, &p, x, o, oh, ow), 1e-14, 10);
  OK(CkEngineDestroy(&engine));
  OK(PetscFree(g));
  OK(PetscFree(x));
  FreeSamples(&s);
  OK(CkNetDestroy(&net));
}

static void windows_lie_where_the_definition_puts_them(void **state)
{
  const CkLayerAttributes shapes[] = {
    {.kernel = {3, 2}, .stride = {2, 1}, .padding = {1, 0}},
    {.kernel = {2, 3}, .stride = {1, 3}, .padding = {0, 1}},
    {.kernel = {4, 4}, .stride = {1, 2}, .padding = {2, 1}},
    {.kernel = {1, 1}, .stride = {2, 2}, .padding = {0, 0}},
    {.kernel = {3, 4}, .stride = {1, 3}, .padding = {1, 0}, .trailing = {-1, 3}},
    {.kernel = {2, 3}, .stride = {1, 2}, .padding = {0, 1}, .trailing = {1, 1}},
  };

  (void)state;
  for (size_t i = 0; i < sizeof(shapes) / sizeof(shapes[0]); ++i) {
    CkLayerAttributes conv = shapes[i];

    conv.units = 3;
    conv.bias = PETSC_TRUE;
    CheckWindows(CK_LAYER_CONV, &conv);
    CheckWindows(CK_LAYER_MAXPOOL, &shapes[i]);
    CheckWindows(CK_LAYER_AVGPOOL, &shapes[i]);
  }
}

static const struct CMUnitTest tests[] = {
  cmocka_unit_test(rows_agree_with_finite_differences),
  cmocka_unit_test(training_gradient_agrees_with_finite_differences),
  cmocka_unit_test(rows_sum_to_the_batch_gradient),
  cmocka_unit_test(windows_lie_where_the_definition_puts_them),
  cmocka_unit_test(layer_form_is_refused),
};

CK_TEST_MAIN(tests, PetscInitialize, PetscFinalize)
