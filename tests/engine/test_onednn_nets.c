/* The onednn engine on its alternatives (forms of layers, oneDNN's primitives), on random nets, on nets of the zoo, and
   in tiles that do not divide the samples. */
#define CONFORMANCE_ENGINE "onednn"
#define CONFORMANCE_TOLERANCE 1e-5
#include "conformance.h"

static const char *const alternatives[] = {"-engine_layer_form factored",
                                           "-engine_layer_form explicit",
                                           "-engine_convolution onednn",
                                           "-engine_convolution lanes",
                                           "-engine_convolution winograd",
                                           "-engine_convolution winograd -engine_layer_form factored",
                                           "-engine_convolution onednn -engine_layer_form factored"};

#define ALTERNATIVES (sizeof(alternatives) / sizeof(alternatives[0]))

static void SetAlternative(size_t i)
{
  OK(PetscOptionsClearValue(NULL, "-engine_layer_form"));
  OK(PetscOptionsClearValue(NULL, "-engine_convolution"));
  if (i < ALTERNATIVES) OK(PetscOptionsInsertString(NULL, alternatives[i]));
}

static void alternatives_conform(void **state)
{
  static const struct CMUnitTest conformance[] = {CONFORMANCE_TESTS};

  for (size_t i = 0; i < ALTERNATIVES; ++i) {
    SetAlternative(i);
    for (size_t t = 0; t < sizeof(conformance) / sizeof(conformance[0]); ++t) conformance[t].test_func(state);
  }
  SetAlternative(ALTERNATIVES);
}

/* Weights of size 1/sqrt(fan_in) instead of NewPoint()'s 0.5: sums over hundreds of inputs then stay near 1. With 0.5
   they reach 20 and more, and what float32 rounds off there is 1e-5 of a saturated tanh's derivative. */
static void ScaleWeights(CkNet net, double weights[])
{
  const CkParameter *p;
  PetscInt           n;

  OK(CkNetGetParameters(net, &n, &p));
  for (PetscInt t = 0; t < n; ++t)
    for (PetscInt i = 0; i < p[t].size && p[t].role == CK_ROLE_WEIGHT; ++i)
      weights[p[t].offset + i] *= 2 / sqrt((double)p[t].size / (double)p[t].shape[0]);
}

static void Rescale(Conformance *c)
{
  ScaleWeights(c->net, c->weights);
  OK(CkEngineSetPoint(c->engine, c->weights, c->buffers));
  OK(CkEngineSetPoint(c->reference, c->weights, c->buffers));
  OK(CkEngineLoad(c->engine, c->n, c->samples.features, c->samples.labels, c->f, NULL));
  OK(CkEngineLoad(c->reference, c->n, c->samples.features, c->samples.labels, c->f_reference, NULL));
  OK(CkEngineRows(c->engine, CK_FLOAT64, c->G, (size_t)c->d));
  OK(CkEngineRows(c->reference, CK_FLOAT64, c->R, (size_t)c->d));
}

/* ---- random nets */

typedef struct {
  CkNet    net;
  PetscInt last, layers;
  CkShape  shape;
} Grower;

static CkRandom chance = {.purpose = CK_RANDOM_PROBE};
static uint64_t drawn;

static PetscInt Draw(PetscInt first, PetscInt last)
{
  double u;

  CkRandomUniforms(&chance, drawn++, 1, &u);
  return first + (PetscInt)(u * (double)(last - first + 1));
}

static PetscInt Add(Grower *g, CkLayerType type, PetscInt ninputs, const PetscInt inputs[], const CkLayerAttributes *a)
{
  char     name[32];
  PetscInt layer;

  OK(PetscSNPrintf(name, sizeof(name), "layer%" PetscInt_FMT, g->layers++));
  OK(CkNetAddLayer(g->net, type, name, ninputs, inputs, a, &layer));
  return layer;
}

static void Chain(Grower *g, CkLayerType type, const CkLayerAttributes *a)
{
  g->last = Add(g, type, 1, &g->last, a);
}

/* A window that fits, and the image it leaves. */
static void GrowWindow(Grower *g, CkLayerType type, PetscInt units)
{
  CkLayerAttributes a = {.units = units, .bias = (PetscBool)Draw(0, 1)};
  PetscInt         *size[2] = {&g->shape.h, &g->shape.w};

  for (int i = 0; i < 2; ++i) {
    a.kernel[i] = Draw(1, PetscMin(3, *size[i]));
    a.stride[i] = Draw(0, 1) ? 1 : a.kernel[i];
    a.padding[i] = Draw(0, a.kernel[i] / 2);
    *size[i] = (*size[i] + 2 * a.padding[i] - a.kernel[i]) / a.stride[i] + 1;
  }
  if (type == CK_LAYER_CONV) g->shape.c = units;
  Chain(g, type, &a);
}

static void GrowActivation(Grower *g)
{
  static const CkLayerType types[] = {CK_LAYER_RELU, CK_LAYER_TANH, CK_LAYER_SIGMOID, CK_LAYER_SOFTPLUS};

  Chain(g, types[Draw(0, 3)], NULL);
}

/* The last output joined with a convolution of it: added or concatenated. */
static void GrowJoint(Grower *g)
{
  const CkLayerType       type = Draw(0, 1) ? CK_LAYER_ADD : CK_LAYER_CONCAT;
  const CkLayerAttributes a = {.units = type == CK_LAYER_ADD ? g->shape.c : Draw(1, 4),
                               .kernel = {3, 3},
                               .stride = {1, 1},
                               .padding = {1, 1},
                               .bias = PETSC_TRUE};
  PetscInt                inputs[3] = {g->last, g->last, g->last};

  inputs[1] = Add(g, CK_LAYER_CONV, 1, &g->last, &a);
  if (type == CK_LAYER_CONCAT) g->shape.c = 2 * g->shape.c + a.units;
  g->last = Add(g, type, 3, inputs, NULL);
}

/* Every stride-th pixel among up to three more channels. */
static void GrowSubsample(Grower *g)
{
  const CkLayerAttributes a = {.units = g->shape.c + Draw(0, 3), .stride = {Draw(1, 3), Draw(1, 3)}};

  g->shape = (CkShape){a.units, (g->shape.h - 1) / a.stride[0] + 1, (g->shape.w - 1) / a.stride[1] + 1};
  Chain(g, CK_LAYER_SUBSAMPLE, &a);
}

static void GrowRandom(Grower *g)
{
  const CkLayerAttributes norm = {.epsilon = 1e-5}, dropout = {.rate = 0.3};

  switch (Draw(0, 7)) {
  case 0:
    GrowWindow(g, CK_LAYER_MAXPOOL, 0);
    break;
  case 1:
    GrowWindow(g, CK_LAYER_AVGPOOL, 0);
    break;
  case 2:
    Chain(g, CK_LAYER_BATCHNORM, &norm);
    break;
  case 3:
    Chain(g, CK_LAYER_DROPOUT, &dropout);
    break;
  case 4:
    GrowJoint(g);
    break;
  case 5:
    GrowWindow(g, CK_LAYER_CONV, Draw(1, 9));
    break;
  case 6:
    GrowSubsample(g);
    break;
  default:
    GrowWindow(g, CK_LAYER_CONV, Draw(1, 9));
    Chain(g, CK_LAYER_BATCHNORM, &norm);
  }
  if (Draw(0, 1)) GrowActivation(g);
}

static void BuildRandom(CkNet net)
{
  const CkLayerAttributes hidden = {.units = 5, .bias = (PetscBool)Draw(0, 1)}, norm = {.epsilon = 1e-5};
  const CkLayerAttributes classes = {
    .units = TEST_CLASSES, .kernel = {1, 1}, .stride = {1, 1}, .bias = (PetscBool)Draw(0, 1)};
  Grower g = {.net = net};

  OK(CkNetGetInput(net, &g.shape));
  for (PetscInt i = Draw(1, 6); i > 0; --i) GrowRandom(&g);
  if (Draw(0, 1)) {
    Chain(&g, CK_LAYER_FLATTEN, NULL);
    Chain(&g, CK_LAYER_DENSE, &hidden);
    if (Draw(0, 1)) Chain(&g, CK_LAYER_BATCHNORM, &norm);
    GrowActivation(&g);
    Chain(&g, CK_LAYER_DENSE, &classes);
  } else {
    Chain(&g, CK_LAYER_CONV, &classes);
    Chain(&g, CK_LAYER_GLOBALAVGPOOL, NULL);
  }
}

static void random_nets_conform(void **state)
{
  (void)state;
  for (uint64_t seed = 0; seed < 60; ++seed) {
    TestNet     t = {.name = "random", .build = BuildRandom};
    Conformance c;

    chance.seed = seed;
    drawn = 0;
    t.input = (CkShape){Draw(1, 4), Draw(4, 9), Draw(4, 9)};
    if (seed % 3 == 0) t.input.h = t.input.w = 8; /* 64 pixels: channels with gaps */
    SetAlternative(seed % (ALTERNATIVES + 1));
    c = NewConformance(&t, seed % 2 ? CK_HEAD_MSE : CK_HEAD_CROSS_ENTROPY);
    Rescale(&c);
    CheckRows(&c);
    CheckEntries(&c);
    CheckNorms(&c);
    CheckDot(&c);
    CheckAccumulate(&c);
    CheckFolding(&c);
    CheckComposition(&c);
    CheckTraining(&c);
    FreeConformance(&c);
  }
  SetAlternative(ALTERNATIVES);
}

/* ---- tiles */

#define TILE_SAMPLES 23

/* All samples through an engine of that tile: rows against R, and S = G v, sum_k S_k g_k against the same from R. */
static void CheckTile(CkNet net, PetscInt tile, const TestSamples *s, const double R[], const double x[],
                      const double buffers[])
{
  CkEngine     engine = NewEngine(net, CONFORMANCE_ENGINE, tile);
  PetscInt     d, de;
  CkShape      shape;
  double      *G, *A, *out, *expected, *v, S[TILE_SAMPLES], f[TILE_SAMPLES], scale = 0;
  const size_t ones = 2;

  OK(CkNetGetDimension(net, &d));
  OK(CkNetGetInput(net, &shape));
  OK(CkEngineGetSize(engine, &de));
  OK(CkEngineSetPoint(engine, x, buffers));
  v = NewNormals(17, (size_t)d);
  OK(PetscCalloc4(TILE_SAMPLES * d, &G, ones * (size_t)de, &A, ones * (size_t)d, &out, ones * (size_t)d, &expected));
  OK(CkEngineSetColumns(engine, 1, v));
  for (PetscInt first = 0; first < TILE_SAMPLES; first += tile) {
    const PetscInt n = PetscMin(tile, TILE_SAMPLES - first);
    double         both[2 * TILE_SAMPLES];

    OK(CkEngineLoad(engine, n, s->features + first * CkShapeSize(shape), s->labels + first, f + first, NULL));
    OK(CkEngineDot(engine, S + first));
    for (PetscInt k = 0; k < n; ++k) {
      both[2 * k] = S[first + k];
      both[2 * k + 1] = 1;
    }
    OK(CkEngineAccumulate(engine, 2, both, A));
    OK(CkEngineRows(engine, CK_FLOAT64, G + first * d, (size_t)d));
  }
  OK(CkEngineUnfold(engine, 2, A, out));
  CheckRanges(engine, PetscMin(tile, TILE_SAMPLES), s->features, s->labels, d, G);
  for (PetscInt k = 0; k < TILE_SAMPLES; ++k) {
    const double *r = R + k * d, norm = sqrt(Inner(d, r, r)), slope = Inner(d, r, v);

    assert_close(Distance(d, G + k * d, r), 0, CONFORMANCE_TOLERANCE, norm);
    assert_close(S[k], slope, CONFORMANCE_TOLERANCE, norm * sqrt(Inner(d, v, v)));
    for (PetscInt i = 0; i < d; ++i) {
      expected[i] += slope * r[i];
      expected[d + i] += r[i];
    }
    scale += norm * norm * sqrt(Inner(d, v, v));
  }
  assert_close(Distance(d, out, expected), 0, CONFORMANCE_TOLERANCE, scale);
  assert_close(Distance(d, out + d, expected + d), 0, CONFORMANCE_TOLERANCE, scale);
  OK(PetscFree4(G, A, out, expected));
  OK(PetscFree(v));
  OK(CkEngineDestroy(&engine));
}

static void CheckTiles(CkNet net)
{
  static const PetscInt tiles[] = {1, 7, 64};
  TestSamples           s = NewSamples(net, 19, TILE_SAMPLES);
  CkEngine              reference = NewEngine(net, "reference", TILE_SAMPLES);
  double               *x, *buffers, *R, f[TILE_SAMPLES];
  PetscInt              d;

  OK(CkNetGetDimension(net, &d));
  NewPoint(net, 23, &x, &buffers);
  ScaleWeights(net, x);
  OK(PetscMalloc1(TILE_SAMPLES * d, &R));
  OK(CkEngineSetPoint(reference, x, buffers));
  OK(CkEngineLoad(reference, TILE_SAMPLES, s.features, s.labels, f, NULL));
  OK(CkEngineRows(reference, CK_FLOAT64, R, (size_t)d));
  for (size_t i = 0; i <= ALTERNATIVES; ++i) {
    SetAlternative(i);
    for (size_t t = 0; t < sizeof(tiles) / sizeof(tiles[0]); ++t) CheckTile(net, tiles[t], &s, R, x, buffers);
  }
  SetAlternative(ALTERNATIVES);
  OK(PetscFree(R));
  OK(PetscFree(x));
  OK(PetscFree(buffers));
  OK(CkEngineDestroy(&reference));
  FreeSamples(&s);
}

static void tiles_of_any_size_agree(void **state)
{
  (void)state;
  for (size_t t = 0; t < TEST_NETS; ++t) {
    CkNet net = NewTestNet(&test_nets[t], CK_HEAD_CROSS_ENTROPY);

    CheckTiles(net);
    OK(CkNetDestroy(&net));
  }
}

static void zoo_nets_agree(void **state)
{
  static const struct {
    const char *options;
    CkShape     input;
  } zoo[] = {
    {"-net small-lenet", {1, 28, 28}},
    {"-net tiny-lenet", {1, 28, 28}},
    {"-net small-fc", {1, 7, 7}},
    {"-net small-allcnn", {3, 32, 32}},
    {"-net resnet -net_depth 8", {3, 8, 8}},
    {"-net resnet -net_depth 8 -net_shortcut B", {3, 8, 8}},
    {"-net resnet -net_depth 11 -net_shortcut B -net_preactivation -net_bottleneck", {3, 8, 8}},
    {"-net wrn -net_depth 10 -net_widen 1", {3, 8, 8}},
    {"-net densenet -net_depth 10 -net_growth 4", {3, 8, 8}},
    {"-net densenet -net_depth 16 -net_growth 4 -net_bottleneck -net_compression 0.5", {3, 8, 8}},
  };

  (void)state;
  OK(CkNetRegisterOptions());
  for (size_t i = 0; i < sizeof(zoo) / sizeof(zoo[0]); ++i) {
    CkNet net;

    OK(CkNetCreate(PETSC_COMM_WORLD, &net));
    OK(PetscOptionsInsertString(NULL, zoo[i].options));
    OK(CkNetSetFromOptions(net, zoo[i].input, 10));
    OK(PetscOptionsClear(NULL));
    OK(CkNetSetUp(net));
    CheckTiles(net);
    OK(CkNetDestroy(&net));
  }
}

/* The view names every layer, its form and what runs it; the costs are those of the layers. */
static void costs_and_view(void **state)
{
  CkNet       net = NewTestNet(&test_nets[0], CK_HEAD_CROSS_ENTROPY); /* dense: 12 -> 3 */
  CkEngine    engine = NewEngine(net, CONFORMANCE_ENGINE, 5);
  double      bytes, load, rows, dot, accumulate;
  const char *type;

  (void)state;
  OK(CkEngineGetCost(engine, &bytes, &load, &rows, &dot, &accumulate));
  OK(CkEngineGetType(engine, &type));
  assert_string_equal(type, "onednn");
  assert_close(load, 2 * 12 * 3, 0, 1); /* forward only: no derivative of the features, the gradient stays factored */
  assert_close(rows, 12 * 3, 0, 1);
  assert_close(dot, 2 * 12 * 3, 0, 1);
  assert_close(accumulate, 2 * 12 * 3, 0, 1);
  assert_on_all_ranks(bytes > 5 * 4 * (12 + 3) && bytes < 1e5);
  OK(CkEngineView(engine, PETSC_COMM_WORLD));
  OK(CkEngineDestroy(&engine));
  OK(CkNetDestroy(&net));
}

static const struct CMUnitTest tests[] = {cmocka_unit_test(alternatives_conform), cmocka_unit_test(random_nets_conform),
                                          cmocka_unit_test(tiles_of_any_size_agree), cmocka_unit_test(zoo_nets_agree),
                                          cmocka_unit_test(costs_and_view)};

CK_TEST_MAIN(tests, PetscInitialize, PetscFinalize)
