#pragma once
#include "nets.h"
#include "testing.h"
#include <clarkia/engine.h>

/*
  What every engine must satisfy, against the reference engine and against identities. A test program defines

    #define CONFORMANCE_ENGINE    "onednn"
    #define CONFORMANCE_TOLERANCE 1e-5

  includes this file, and puts CONFORMANCE_TESTS into its list of tests. The tolerance is normwise: float32 kernels have
  a relative error of some 1e-6 on each vector, and so have contractions of them. -engine_* keys in the options database
  reach the engine under test, not the reference.
*/
#define CONFORMANCE_SAMPLES 5
#define CONFORMANCE_COLUMNS 4

typedef struct {
  CkNet       net;
  CkEngine    engine, reference;
  PetscInt    d, de, n;
  double     *weights, *buffers;
  double     *G; /* rows of the engine, float64 [n x d] */
  double     *R; /* rows of the reference */
  double     *f, *f_reference;
  TestSamples samples;
} Conformance;

static CkEngine NewEngine(CkNet net, const char type[], PetscInt tile)
{
  CkEngine engine;

  OK(CkEngineCreate(net, &engine));
  if (!strcmp(type, "reference")) {
    OK(CkEngineSetType(engine, type));
  } else {
    OK(PetscOptionsSetValue(NULL, "-engine", type));
    OK(CkEngineSetFromOptions(engine));
    OK(PetscOptionsClearValue(NULL, "-engine"));
  }
  OK(CkEngineSetTile(engine, tile));
  OK(CkEngineSetUp(engine));
  return engine;
}

static Conformance NewConformance(const TestNet *t, CkHead head)
{
  const PetscInt n = CONFORMANCE_SAMPLES;
  Conformance    c = {.n = n};
  int           *correct, *correct_reference;

  c.net = NewTestNet(t, head);
  OK(CkNetGetDimension(c.net, &c.d));
  NewPoint(c.net, 41, &c.weights, &c.buffers);
  c.samples = NewSamples(c.net, 51, n);
  c.engine = NewEngine(c.net, CONFORMANCE_ENGINE, n);
  c.reference = NewEngine(c.net, "reference", n);
  OK(CkEngineGetSize(c.engine, &c.de));
  OK(PetscMalloc4(n * c.d, &c.G, n * c.d, &c.R, n, &c.f, n, &c.f_reference));
  OK(PetscMalloc2(n, &correct, n, &correct_reference));
  OK(CkEngineSetPoint(c.engine, c.weights, c.buffers));
  OK(CkEngineSetPoint(c.reference, c.weights, c.buffers));
  OK(CkEngineLoad(c.engine, n, c.samples.features, c.samples.labels, c.f, correct));
  OK(CkEngineLoad(c.reference, n, c.samples.features, c.samples.labels, c.f_reference, correct_reference));
  OK(CkEngineRows(c.engine, CK_FLOAT64, c.G, (size_t)c.d));
  OK(CkEngineRows(c.reference, CK_FLOAT64, c.R, (size_t)c.d));
  for (PetscInt k = 0; k < n; ++k) assert_on_all_ranks(correct[k] == correct_reference[k]);
  OK(PetscFree2(correct, correct_reference));
  return c;
}

static void FreeConformance(Conformance *c)
{
  OK(PetscFree4(c->G, c->R, c->f, c->f_reference));
  FreeSamples(&c->samples);
  OK(PetscFree(c->weights));
  OK(PetscFree(c->buffers));
  OK(CkEngineDestroy(&c->engine));
  OK(CkEngineDestroy(&c->reference));
  OK(CkNetDestroy(&c->net));
}

static double Inner(PetscInt n, const double a[], const double b[])
{
  double sum = 0;

  for (PetscInt i = 0; i < n; ++i) sum += a[i] * b[i];
  return sum;
}

static double Distance(PetscInt n, const double a[], const double b[])
{
  double sum = 0;

  for (PetscInt i = 0; i < n; ++i) sum += (a[i] - b[i]) * (a[i] - b[i]);
  return sqrt(sum);
}

/* Loads n samples for a range of entries, which must be those of their rows G [n x d]: the same numbers but for batch
   norm's gains, sums that are taken in another order. A stride beyond n leaves the gaps alone. */
static void CheckRange(CkEngine engine, const PetscInt range[2], PetscInt n, const float features[],
                       const PetscInt labels[], PetscInt d, const double G[])
{
  const PetscInt ld = n + 2;
  CkPrecision    precision;
  double        *wide, f[64];
  float         *narrow;

  OK(CkEngineGetPrecision(engine, &precision));
  OK(PetscMalloc2(range[1] * ld, &wide, range[1] * ld, &narrow));
  for (PetscInt i = 0; i < range[1] * ld; ++i) wide[i] = narrow[i] = -77;
  OK(CkEngineSetRange(engine, range[0], range[1]));
  OK(CkEngineLoad(engine, n, features, labels, f, NULL));
  OK(CkEngineEntries(engine, range[0], range[1], precision == CK_FLOAT64 ? (void *)wide : (void *)narrow, (size_t)ld));
  for (PetscInt i = 0; i < range[1] * ld && precision == CK_FLOAT32; ++i) wide[i] = (double)narrow[i];
  for (PetscInt k = 0; k < ld; ++k) {
    double error = 0, norm = 0;

    for (PetscInt i = 0; i < range[1]; ++i) {
      const double expected = k < n ? G[k * d + range[0] + i] : -77, difference = wide[i * ld + k] - expected;

      error += difference * difference;
    }
    for (PetscInt i = 0; i < d && k < n; ++i) norm += G[k * d + i] * G[k * d + i];
    assert_close(sqrt(error), 0, CONFORMANCE_TOLERANCE, sqrt(norm));
  }
  OK(CkEngineSetRange(engine, 0, d));
  OK(PetscFree2(wide, narrow));
}

/* All of the entries, and each of four parts that do not end where layers do. */
static void CheckRanges(CkEngine engine, PetscInt n, const float features[], const PetscInt labels[], PetscInt d,
                        const double G[])
{
  const PetscInt all[2] = {0, d};

  CheckRange(engine, all, n, features, labels, d, G);
  for (PetscInt part = 0; part < 4; ++part) {
    const PetscInt first = part * d / 4, range[2] = {first, (part + 1) * d / 4 - first};

    CheckRange(engine, range, n, features, labels, d, G);
  }
}

/* Runs body for every test net and both heads. */
static void ForEachNet(void (*body)(Conformance *c))
{
  for (size_t t = 0; t < 2 * TEST_NETS; ++t) {
    Conformance c = NewConformance(&test_nets[t / 2], t % 2 ? CK_HEAD_MSE : CK_HEAD_CROSS_ENTROPY);

    body(&c);
    FreeConformance(&c);
  }
}

static void CheckRows(Conformance *c)
{
  for (PetscInt k = 0; k < c->n; ++k) {
    const double *g = c->G + k * c->d, *r = c->R + k * c->d;
    const double  error = Distance(c->d, g, r), norm = sqrt(Inner(c->d, r, r));

    if (error > CONFORMANCE_TOLERANCE * norm) {
      const char *name;

      OK(CkNetGetName(c->net, &name));
      fprintf(stderr, "net %s, sample %d\n", name, (int)k);
    }
    assert_close(error, 0, CONFORMANCE_TOLERANCE, norm);
    assert_close(c->f[k], c->f_reference[k], CONFORMANCE_TOLERANCE, fabs(c->f_reference[k]) + 1);
  }
}

static void rows_and_values_agree_with_the_reference(void **state)
{
  (void)state;
  ForEachNet(CheckRows);
}

/* A float32 row is the float64 row rounded; a row stride beyond d leaves the gap alone. */
static void CheckPrecisions(Conformance *c)
{
  const size_t ld = (size_t)c->d + 3;
  float       *G;

  OK(PetscMalloc1((size_t)c->n * ld, &G));
  for (size_t i = 0; i < (size_t)c->n * ld; ++i) G[i] = -77;
  OK(CkEngineRows(c->engine, CK_FLOAT32, G, ld));
  for (PetscInt k = 0; k < c->n; ++k) {
    double worst = 0; /* relative */

    for (size_t i = 0; i < ld; ++i) {
      const double expected = i < (size_t)c->d ? c->G[(size_t)k * (size_t)c->d + i] : -77;

      worst = fmax(worst, fabs(G[(size_t)k * ld + i] - expected) / fmax(fabs(expected), 1e-30));
    }
    assert_close(worst, 0, 6e-8, 1);
  }
  OK(PetscFree(G));
}

static void rows_in_float32_are_the_rounded_ones(void **state)
{
  (void)state;
  ForEachNet(CheckPrecisions);
}

static void CheckEntries(Conformance *c)
{
  double *again;

  CheckRanges(c->engine, c->n, c->samples.features, c->samples.labels, c->d, c->G);
  OK(PetscMalloc1(c->n * c->d, &again));
  OK(CkEngineLoad(c->engine, c->n, c->samples.features, c->samples.labels, c->f, NULL));
  OK(CkEngineRows(c->engine, CK_FLOAT64, again, (size_t)c->d));
  assert_on_all_ranks(!memcmp(again, c->G, sizeof(double) * (size_t)(c->n * c->d)));
  OK(PetscFree(again));
}

static void entries_of_any_range_are_those_of_the_rows(void **state)
{
  (void)state;
  ForEachNet(CheckEntries);
}

/* Factors of a layer against the rows G [n x d]: outer products, which agree up to the rounding of one product. */
static void CheckFactor(CkEngine engine, PetscInt number, const CkFactors *layer, PetscInt n, PetscInt d,
                        const double G[])
{
  const PetscInt ld = n + 2;
  float         *a, *b;

  OK(PetscMalloc2(layer->inputs * ld, &a, layer->outputs * ld, &b));
  for (PetscInt i = 0; i < layer->inputs * ld; ++i) a[i] = -77;
  for (PetscInt i = 0; i < layer->outputs * ld; ++i) b[i] = -77;
  OK(CkEngineFactors(engine, number, a, b, (size_t)ld));
  for (PetscInt o = 0; o < layer->outputs; ++o) {
    for (PetscInt i = 0; i < layer->inputs; ++i) {
      for (PetscInt k = 0; k < n; ++k) {
        const double g = G[k * d + layer->first + o * layer->inputs + i],
                     product = (double)a[i * ld + k] * b[o * ld + k];

        assert_int_equal(fabs(product - g) <= 2e-7 * fabs(g) + 1e-37, 1);
      }
      assert_int_equal(a[i * ld + n] == -77 && a[i * ld + n + 1] == -77, 1);
    }
    assert_int_equal(b[o * ld + n] == -77 && b[o * ld + n + 1] == -77, 1);
  }
  OK(PetscFree2(a, b));
}

/* Each layer where it alone is in the range; in the order of x, and none overlaps the next. */
static void CheckFactors(Conformance *c)
{
  const CkFactors *list;
  PetscInt         n, end = 0;

  OK(CkEngineGetFactors(c->engine, &n, &list));
  for (PetscInt i = 0; i < n; ++i) {
    const PetscInt size = list[i].outputs * list[i].inputs;

    assert_int_equal(list[i].first >= end && list[i].first + size <= c->d, 1);
    end = list[i].first + size;
    OK(CkEngineSetRange(c->engine, list[i].first, size));
    OK(CkEngineLoad(c->engine, c->n, c->samples.features, c->samples.labels, c->f, NULL));
    CheckFactor(c->engine, i, &list[i], c->n, c->d, c->G);
  }
  OK(CkEngineSetRange(c->engine, 0, c->d));
}

static void factors_are_those_of_the_rows(void **state)
{
  (void)state;
  ForEachNet(CheckFactors);
}

static void CheckNorms(Conformance *c)
{
  double norms[CONFORMANCE_SAMPLES], folded[CONFORMANCE_SAMPLES], again[CONFORMANCE_SAMPLES];

  OK(CkEngineSquaredNorms(c->engine, norms, folded));
  OK(CkEngineSquaredNorms(c->engine, again, NULL));
  for (PetscInt k = 0; k < c->n; ++k) {
    const double expected = Inner(c->d, c->G + k * c->d, c->G + k * c->d);

    assert_close(norms[k], expected, CONFORMANCE_TOLERANCE, expected);
    assert_on_all_ranks(norms[k] == again[k]);
    assert_on_all_ranks(folded[k] > 0);
  }
}

static void squared_norms_are_those_of_the_rows(void **state)
{
  (void)state;
  ForEachNet(CheckNorms);
}

static void CheckDot(Conformance *c)
{
  const PetscInt m = CONFORMANCE_COLUMNS;
  double        *V = NewNormals(61, (size_t)m * (size_t)c->d), S[CONFORMANCE_SAMPLES * CONFORMANCE_COLUMNS];

  for (PetscInt columns = m; columns > 0; columns -= m - 1) { /* many, then one */
    OK(CkEngineSetColumns(c->engine, columns, V));
    OK(CkEngineDot(c->engine, S));
    for (PetscInt k = 0; k < c->n; ++k)
      for (PetscInt j = 0; j < columns; ++j) {
        const double *g = c->G + k * c->d, *v = V + j * c->d;

        assert_close(S[k * columns + j], Inner(c->d, g, v), CONFORMANCE_TOLERANCE,
                     sqrt(Inner(c->d, g, g) * Inner(c->d, v, v)));
      }
  }
  OK(PetscFree(V));
}

static void dot_is_the_product_with_the_rows(void **state)
{
  (void)state;
  ForEachNet(CheckDot);
}

/* T sum_k w_k g'_k = sum_k w_k g_k, added to what was there. */
static void CheckAccumulate(Conformance *c)
{
  const PetscInt m = CONFORMANCE_COLUMNS;
  double        *S = NewNormals(71, (size_t)c->n * (size_t)m), *A, *out, *expected;

  OK(PetscMalloc3(m * c->de, &A, m * c->d, &out, c->d, &expected));
  for (PetscInt i = 0; i < m * c->de; ++i) A[i] = 0;
  OK(CkEngineAccumulate(c->engine, m, S, A));
  OK(CkEngineAccumulate(c->engine, m, S, A)); /* twice: it adds */
  OK(CkEngineUnfold(c->engine, m, A, out));
  for (PetscInt j = 0; j < m; ++j) {
    double scale = 0;

    for (PetscInt i = 0; i < c->d; ++i) {
      expected[i] = 0;
      for (PetscInt k = 0; k < c->n; ++k) expected[i] += 2 * S[k * m + j] * c->G[k * c->d + i];
    }
    for (PetscInt k = 0; k < c->n; ++k)
      scale += 2 * fabs(S[k * m + j]) * sqrt(Inner(c->d, c->G + k * c->d, c->G + k * c->d));
    assert_close(Distance(c->d, out + j * c->d, expected), 0, CONFORMANCE_TOLERANCE, scale);
  }
  OK(PetscFree3(A, out, expected));
  OK(PetscFree(S));
}

static void accumulate_is_the_weighted_sum_of_the_rows(void **state)
{
  (void)state;
  ForEachNet(CheckAccumulate);
}

/* The engine's own coordinates: T g'_k = g_k, |g'_k|^2 as reported, g'_k.(T'v) = g_k.v with T from its columns. */
static void CheckFolding(Conformance *c)
{
  const PetscInt n = c->n;
  double         norms[CONFORMANCE_SAMPLES], folded[CONFORMANCE_SAMPLES], S[CONFORMANCE_SAMPLES];
  double        *unit, *g, *T, *v = NewNormals(81, (size_t)c->d), *w, *column;

  OK(PetscCalloc3(n * n, &unit, n * c->de, &g, n * c->d, &T));
  OK(PetscCalloc2(c->de, &w, c->d, &column));
  for (PetscInt k = 0; k < n; ++k) unit[k * n + k] = 1;
  OK(CkEngineAccumulate(c->engine, n, unit, g)); /* row k of g is g'_k */
  OK(CkEngineUnfold(c->engine, n, g, T));        /* row k of T is T g'_k */
  OK(CkEngineSquaredNorms(c->engine, norms, folded));
  OK(CkEngineSetColumns(c->engine, 1, v));
  OK(CkEngineDot(c->engine, S));
  for (PetscInt i = 0; i < c->de; ++i) { /* (T'v)_i = v.(T e_i) */
    double *e;

    OK(PetscCalloc1(c->de, &e));
    e[i] = 1;
    OK(CkEngineUnfold(c->engine, 1, e, column));
    w[i] = Inner(c->d, v, column);
    OK(PetscFree(e));
  }
  for (PetscInt k = 0; k < n; ++k) {
    const double *row = c->G + k * c->d, *mine = g + k * c->de;
    const double  norm = sqrt(Inner(c->d, row, row)), own = Inner(c->de, mine, mine);

    assert_close(Distance(c->d, T + k * c->d, row), 0, CONFORMANCE_TOLERANCE, norm);
    assert_close(folded[k], own, CONFORMANCE_TOLERANCE, own);
    assert_close(Inner(c->de, mine, w), S[k], CONFORMANCE_TOLERANCE, sqrt(own * Inner(c->de, w, w)));
  }
  OK(PetscFree2(w, column));
  OK(PetscFree3(unit, g, T));
  OK(PetscFree(v));
}

static void engine_coordinates_keep_their_identities(void **state)
{
  (void)state;
  ForEachNet(CheckFolding);
}

/* Sample 0's row does not change by a bit when the others are replaced, nor beyond rounding when they are left out; the
   contractions are those of the last load. */
static void CheckComposition(Conformance *c)
{
  TestSamples others = NewSamples(c->net, 91, c->n);
  CkShape     shape;
  double      f[CONFORMANCE_SAMPLES], norms[CONFORMANCE_SAMPLES], *G;
  size_t      size;

  OK(CkEngineSquaredNorms(c->engine, norms, NULL));
  OK(CkNetGetInput(c->net, &shape));
  size = (size_t)CkShapeSize(shape);
  OK(PetscMalloc1(c->n * c->d, &G));
  for (size_t i = 0; i < size; ++i) others.features[i] = c->samples.features[i];
  others.labels[0] = c->samples.labels[0];
  OK(CkEngineLoad(c->engine, c->n, others.features, others.labels, f, NULL));
  OK(CkEngineRows(c->engine, CK_FLOAT64, G, (size_t)c->d));
  assert_on_all_ranks(f[0] == c->f[0]);
  assert_on_all_ranks(!memcmp(G, c->G, (size_t)c->d * sizeof(double)));
  assert_on_all_ranks(memcmp(G + c->d, c->G + c->d, (size_t)c->d * sizeof(double)) != 0);
  OK(CkEngineSquaredNorms(c->engine, norms, NULL));
  for (PetscInt k = 0; k < c->n; ++k) {
    const double expected = Inner(c->d, G + k * c->d, G + k * c->d);

    assert_close(norms[k], expected, CONFORMANCE_TOLERANCE, expected);
  }
  for (PetscInt n = 1; n < c->n; n += 2) {
    OK(CkEngineLoad(c->engine, n, others.features, others.labels, f, NULL));
    OK(CkEngineRows(c->engine, CK_FLOAT64, G, (size_t)c->d));
    assert_close(Distance(c->d, G, c->G), 0, CONFORMANCE_TOLERANCE, sqrt(Inner(c->d, c->G, c->G)));
  }
  OK(PetscFree(G));
  FreeSamples(&others);
}

static void rows_do_not_depend_on_the_tile(void **state)
{
  (void)state;
  ForEachNet(CheckComposition);
}

static void CheckForwardOnly(Conformance *c)
{
  double f[CONFORMANCE_SAMPLES];
  int    correct[CONFORMANCE_SAMPLES];

  OK(CkEngineValues(c->engine, c->n, c->samples.features, c->samples.labels, f, correct));
  for (PetscInt k = 0; k < c->n; ++k) assert_close(f[k], c->f[k], CONFORMANCE_TOLERANCE, fabs(c->f[k]) + 1);
  /* nothing is loaded any more */
  OK(PetscPushErrorHandler(PetscReturnErrorHandler, NULL));
  assert_on_all_ranks(CkEngineSquaredNorms(c->engine, f, NULL) != 0);
  OK(PetscPopErrorHandler());
  for (PetscInt i = 0; i < c->d; ++i) c->weights[i] = 0;
  OK(CkEngineSetPoint(c->engine, c->weights, c->buffers));
  OK(CkEngineSetPoint(c->reference, c->weights, c->buffers));
  OK(CkEngineValues(c->engine, c->n, c->samples.features, c->samples.labels, f, correct));
  OK(CkEngineValues(c->reference, c->n, c->samples.features, c->samples.labels, c->f_reference, NULL));
  for (PetscInt k = 0; k < c->n; ++k) assert_close(f[k], c->f_reference[k], CONFORMANCE_TOLERANCE, 1);
}

static void values_follow_the_point(void **state)
{
  (void)state;
  ForEachNet(CheckForwardOnly);
}

/* One training step: positions 0..n-1 in sum blocks of three, dealt to the ranks of comm in turn. */
typedef struct {
  PetscInt n, dealt; /* positions in all; samples of this rank */
  double  *f;        /* [dealt] */
  double  *gradient, *statistics;
} Step;

#define STEP_SAMPLES 13
#define STEP_BLOCK 3

static Step TrainStep(CkNet net, CkEngine engine, MPI_Comm comm, PetscInt group, const TestSamples *s, const double w[])
{
  const CkBatch    batch = {.n = STEP_SAMPLES, .mode = CK_TRAINING, .step = 3, .replica = 2};
  const double     bound = 1e6;
  CkTrainingBlocks b = {.comm = comm, .seed = 7, .batch = &batch, .group = group};
  Step             step = {.n = STEP_SAMPLES};
  PetscInt         first[STEP_SAMPLES], size[STEP_SAMPLES], labels[STEP_SAMPLES], d, nbuffers;
  double           weights[STEP_SAMPLES];
  CkExactSum       sum;
  CkShape          shape;
  float           *features;
  int              rank, ranks;

  MPI_Comm_rank(comm, &rank);
  MPI_Comm_size(comm, &ranks);
  OK(CkNetGetDimension(net, &d));
  OK(CkNetGetBuffers(net, &nbuffers));
  OK(CkNetGetInput(net, &shape));
  OK(PetscMalloc1(STEP_SAMPLES * CkShapeSize(shape), &features));
  for (PetscInt t = rank; t * STEP_BLOCK < step.n; t += ranks) {
    first[b.nblocks] = t * STEP_BLOCK;
    size[b.nblocks] = PetscMin(STEP_BLOCK, step.n - t * STEP_BLOCK);
    for (PetscInt p = first[b.nblocks]; p < first[b.nblocks] + size[b.nblocks]; ++p, ++step.dealt) {
      OK(PetscArraycpy(features + step.dealt * CkShapeSize(shape), s->features + p * CkShapeSize(shape),
                       CkShapeSize(shape)));
      labels[step.dealt] = s->labels[p];
      weights[step.dealt] = w[p];
    }
    ++b.nblocks;
  }
  b.first = first;
  b.size = size;
  b.features = features;
  b.labels = labels;
  b.weights = weights;
  OK(PetscCalloc3(step.n, &step.f, d, &step.gradient, nbuffers + 1, &step.statistics));
  OK(CkExactSumCreate(comm, d, 1, &bound, 2, &sum));
  OK(CkEngineTrain(engine, &b, step.f, NULL, step.statistics, sum));
  OK(CkExactSumReduce(sum, step.gradient));
  OK(CkExactSumDestroy(&sum));
  OK(PetscFree(features));
  return step;
}

static void FreeStep(Step *step)
{
  OK(PetscFree3(step->f, step->gradient, step->statistics));
}

/* A training step against the reference's, whole batch and groups that do not divide it, block or batch. */
static void CheckTraining(Conformance *c)
{
  TestSamples s = NewSamples(c->net, 101, STEP_SAMPLES);
  double     *w = NewNormals(111, STEP_SAMPLES);
  PetscInt    nbuffers;

  OK(CkNetGetBuffers(c->net, &nbuffers));
  for (PetscInt group = 5; group <= STEP_SAMPLES; group += 8) {
    Step   mine = TrainStep(c->net, c->engine, PETSC_COMM_WORLD, group, &s, w);
    Step   that = TrainStep(c->net, c->reference, PETSC_COMM_WORLD, group, &s, w);
    double norm = sqrt(Inner(c->d, that.gradient, that.gradient));

    assert_close(Distance(c->d, mine.gradient, that.gradient), 0, CONFORMANCE_TOLERANCE, norm);
    assert_close(Distance(nbuffers, mine.statistics, that.statistics), 0, CONFORMANCE_TOLERANCE,
                 sqrt(Inner(nbuffers, that.statistics, that.statistics)));
    assert_close(Distance(mine.n, mine.f, that.f), 0, CONFORMANCE_TOLERANCE, 1 + sqrt(Inner(mine.n, that.f, that.f)));
    FreeStep(&mine);
    FreeStep(&that);
  }
  OK(PetscFree(w));
  FreeSamples(&s);
}

static void training_agrees_with_the_reference(void **state)
{
  (void)state;
  ForEachNet(CheckTraining);
}

/* The same bits from all ranks together and from each rank alone. */
static void CheckTrainingRanks(Conformance *c)
{
  TestSamples s = NewSamples(c->net, 121, STEP_SAMPLES);
  double     *w = NewNormals(131, STEP_SAMPLES);
  PetscInt    nbuffers;

  OK(CkNetGetBuffers(c->net, &nbuffers));
  for (PetscInt group = 5; group <= STEP_SAMPLES; group += 8) {
    Step     together = TrainStep(c->net, c->engine, PETSC_COMM_WORLD, group, &s, w);
    Step     alone = TrainStep(c->net, c->engine, PETSC_COMM_SELF, group, &s, w);
    int      rank, ranks;
    PetscInt k = 0;

    MPI_Comm_rank(PETSC_COMM_WORLD, &rank);
    MPI_Comm_size(PETSC_COMM_WORLD, &ranks);
    assert_on_all_ranks(!memcmp(together.gradient, alone.gradient, (size_t)c->d * sizeof(double)));
    assert_on_all_ranks(!memcmp(together.statistics, alone.statistics, (size_t)nbuffers * sizeof(double)));
    for (PetscInt p = 0; p < STEP_SAMPLES; ++p) {
      const PetscBool mine = (PetscBool)((p / STEP_BLOCK) % ranks == rank);

      assert_on_all_ranks(!mine || together.f[k] == alone.f[p]);
      if (mine) ++k;
    }
    FreeStep(&together);
    FreeStep(&alone);
  }
  OK(PetscFree(w));
  FreeSamples(&s);
}

static void training_is_the_same_on_any_number_of_ranks(void **state)
{
  (void)state;
  ForEachNet(CheckTrainingRanks);
}

/* A NaN in one rank's sample leaves every rank's gradient alone, and the values say so. */
static void CheckNotFinite(Conformance *c)
{
  TestSamples s = NewSamples(c->net, 141, STEP_SAMPLES);
  double     *w = NewNormals(151, STEP_SAMPLES);
  Step        step;
  int         bad = 0, all;

  s.features[0] = NAN;
  step = TrainStep(c->net, c->engine, PETSC_COMM_WORLD, STEP_SAMPLES, &s, w);
  for (PetscInt k = 0; k < step.dealt; ++k) bad += !isfinite(step.f[k]);
  MPI_Allreduce(&bad, &all, 1, MPI_INT, MPI_SUM, PETSC_COMM_WORLD);
  assert_on_all_ranks(all > 0);
  assert_on_all_ranks(Inner(c->d, step.gradient, step.gradient) == 0);
  FreeStep(&step);
  OK(PetscFree(w));
  FreeSamples(&s);
}

static void training_reports_what_is_not_finite(void **state)
{
  (void)state;
  ForEachNet(CheckNotFinite);
}

/* Calls out of order, too many samples, labels out of range: errors, and no harm done. */
static void misuse_is_refused(void **state)
{
  Conformance    c = NewConformance(&test_nets[0], CK_HEAD_CROSS_ENTROPY);
  CkEngine       fresh = NewEngine(c.net, CONFORMANCE_ENGINE, 2);
  const PetscInt bad[1] = {TEST_CLASSES}, good[1] = {TEST_CLASSES - 1};
  double         f[CONFORMANCE_SAMPLES];

  (void)state;
  OK(PetscPushErrorHandler(PetscReturnErrorHandler, NULL));
  assert_on_all_ranks(CkEngineValues(fresh, 1, c.samples.features, good, f, NULL) != 0);
  assert_on_all_ranks(CkEngineDot(c.engine, f) != 0); /* no columns */
  assert_on_all_ranks(CkEngineRows(c.engine, CK_FLOAT64, c.G, (size_t)c.d - 1) != 0);
  assert_on_all_ranks(CkEngineValues(c.engine, 1, c.samples.features, bad, f, NULL) != 0);
  assert_on_all_ranks(CkEngineValues(c.engine, c.n + 1, c.samples.features, c.samples.labels, f, NULL) != 0);
  OK(PetscPopErrorHandler());
  OK(CkEngineValues(c.engine, 1, c.samples.features, good, f, NULL));
  OK(CkEngineLoad(c.engine, 0, NULL, NULL, NULL, NULL));
  /* columns belong to a point */
  OK(CkEngineSetColumns(c.engine, 1, c.weights));
  OK(CkEngineSetPoint(c.engine, c.weights, c.buffers));
  OK(CkEngineLoad(c.engine, 1, c.samples.features, good, f, NULL));
  OK(PetscPushErrorHandler(PetscReturnErrorHandler, NULL));
  assert_on_all_ranks(CkEngineDot(c.engine, f) != 0);
  OK(PetscPopErrorHandler());
  OK(CkEngineSetColumns(c.engine, 1, c.weights));
  OK(CkEngineDot(c.engine, f));
  /* no other contraction of a range */
  OK(CkEngineSetRange(c.engine, 1, 2));
  OK(CkEngineLoad(c.engine, 1, c.samples.features, good, f, NULL));
  OK(PetscPushErrorHandler(PetscReturnErrorHandler, NULL));
  assert_on_all_ranks(CkEngineDot(c.engine, f) != 0);
  assert_on_all_ranks(CkEngineRows(c.engine, CK_FLOAT64, c.G, (size_t)c.d) != 0);
  assert_on_all_ranks(CkEngineSquaredNorms(c.engine, f, NULL) != 0);
  assert_on_all_ranks(CkEngineSetRange(c.engine, 1, c.d) != 0);
  assert_on_all_ranks(CkEngineEntries(c.engine, 0, 1, c.G, 1) != 0);
  assert_on_all_ranks(CkEngineEntries(c.engine, 2, 2, c.G, 1) != 0);
  assert_on_all_ranks(CkEngineFactors(c.engine, -1, c.G, c.G, 1) != 0);
  OK(PetscPopErrorHandler());
  OK(CkEngineDestroy(&fresh));
  FreeConformance(&c);
}

#define CONFORMANCE_TESTS                                                                                              \
  cmocka_unit_test(rows_and_values_agree_with_the_reference), cmocka_unit_test(rows_in_float32_are_the_rounded_ones),  \
    cmocka_unit_test(entries_of_any_range_are_those_of_the_rows), cmocka_unit_test(factors_are_those_of_the_rows),     \
    cmocka_unit_test(squared_norms_are_those_of_the_rows), cmocka_unit_test(dot_is_the_product_with_the_rows),         \
    cmocka_unit_test(accumulate_is_the_weighted_sum_of_the_rows),                                                      \
    cmocka_unit_test(engine_coordinates_keep_their_identities), cmocka_unit_test(rows_do_not_depend_on_the_tile),      \
    cmocka_unit_test(values_follow_the_point), cmocka_unit_test(training_agrees_with_the_reference),                   \
    cmocka_unit_test(training_is_the_same_on_any_number_of_ranks),                                                     \
    cmocka_unit_test(training_reports_what_is_not_finite), cmocka_unit_test(misuse_is_refused)
