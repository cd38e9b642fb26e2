/* Fused training, with the kernels of every instruction set this processor has: its updates against the reference
   engine's gradient in double precision and the formulas of the dynamics, its head against long double. */
#include "fused/fusedimpl.h"
#include "head.h"
#include "nets.h"
#include <clarkia/engine.h>
#include <stdlib.h>

/* Relative to the norm of the gradient: some 50 float32 roundings, enough for sums of 128 terms through 3 layers. */
#define ROUNDING 3e-6

static size_t Tables(const CkFusedKernels *tables[3])
{
  size_t n = 0;

  tables[n++] = &CkFusedPortable;
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) tables[n++] = &CkFusedAVX2;
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
      __builtin_cpu_supports("avx512dq"))
    tables[n++] = &CkFusedAVX512;
#endif
  return n;
}

/* Widths on both sides of a pack, with and without biases, norms and ReLU. */
static void BuildTiny(CkNet net)
{
  PetscInt l = Norm(net, "bn1", Dense(net, "fc1", Plain(net, CK_LAYER_FLATTEN, "flatten", 0), 16, PETSC_TRUE));

  Dense(net, "fc2", Plain(net, CK_LAYER_RELU, "relu1", l), 5, PETSC_TRUE);
}

static void BuildPlain(CkNet net)
{
  PetscInt l = Plain(net, CK_LAYER_RELU, "relu1", Dense(net, "fc1", 0, 33, PETSC_TRUE));

  l = Plain(net, CK_LAYER_RELU, "relu2", Dense(net, "fc2", l, 7, PETSC_FALSE));
  Dense(net, "fc3", l, 3, PETSC_TRUE);
}

static void BuildDeep(CkNet net)
{
  PetscInt l = Plain(net, CK_LAYER_RELU, "relu1", Norm(net, "bn1", Dense(net, "fc1", 0, 20, PETSC_FALSE)));

  l = Plain(net, CK_LAYER_RELU, "relu2", Dense(net, "fc2", l, 18, PETSC_TRUE));
  Norm(net, "bn3", Dense(net, "fc3", l, 17, PETSC_TRUE));
}

static void BuildLinear(CkNet net)
{
  Dense(net, "fc", 0, 2, PETSC_FALSE);
}

static const TestNet nets[] = {
  {"tiny", {1, 7, 7}, PETSC_FALSE, BuildTiny},
  {"plain", {19, 1, 1}, PETSC_FALSE, BuildPlain},
  {"deep", {5, 1, 1}, PETSC_FALSE, BuildDeep},
  {"linear", {3, 1, 1}, PETSC_FALSE, BuildLinear},
};

enum { NETS = sizeof(nets) / sizeof(nets[0]) };

/* What the fused path and its twin move. */
typedef struct {
  PetscInt d, nbuffers;
  double  *x, *v, *running;
} Point;

static Point NewStart(CkNet net)
{
  Point p;

  OK(CkNetGetDimension(net, &p.d));
  OK(CkNetGetBuffers(net, &p.nbuffers));
  NewPoint(net, 11, &p.x, &p.running);
  p.v = NewNormals(13, (size_t)p.d);
  return p;
}

static void FreePoint(Point *p)
{
  OK(PetscFree(p->x));
  OK(PetscFree(p->v));
  OK(PetscFree(p->running));
}

static PetscBool SameBits(const Point *a, const Point *b)
{
  return (PetscBool)(memcmp(a->x, b->x, (size_t)a->d * sizeof(double)) == 0 &&
                     memcmp(a->v, b->v, (size_t)a->d * sizeof(double)) == 0 &&
                     (a->nbuffers == 0 || memcmp(a->running, b->running, (size_t)a->nbuffers * sizeof(double)) == 0));
}

/* Mean gradient, batch statistics and losses of the samples index[n], by the reference engine. */
static void Oracle(CkNet net, const Point *p, const TestSamples *s, PetscInt n, const PetscInt index[], double g[],
                   double statistics[], double values[], int correct[])
{
  const double   bound = 1e6;
  const PetscInt zero = 0;
  const CkBatch  batch = {.n = n, .mode = CK_TRAINING};
  CkShape        shape;
  CkEngine       engine;
  CkExactSum     sum;
  size_t         size;
  float         *features;
  PetscInt      *labels;
  double        *weights;

  OK(CkNetGetInput(net, &shape));
  size = (size_t)CkShapeSize(shape);
  OK(PetscMalloc3((size_t)n * size, &features, n, &labels, n, &weights));
  for (PetscInt k = 0; k < n; ++k) {
    OK(PetscArraycpy(features + (size_t)k * size, s->features + (size_t)index[k] * size, size));
    labels[k] = s->labels[index[k]];
    weights[k] = 1. / (double)n;
  }
  OK(CkEngineCreate(net, &engine));
  OK(CkEngineSetType(engine, "reference"));
  OK(CkEngineSetTile(engine, 1));
  OK(CkEngineSetUp(engine));
  OK(CkEngineSetPoint(engine, p->x, p->running));
  OK(CkExactSumCreate(PETSC_COMM_SELF, p->d, 1, &bound, 2, &sum));
  OK(CkEngineTrain(engine,
                   &(CkTrainingBlocks){.comm = PETSC_COMM_SELF,
                                       .batch = &batch,
                                       .group = n,
                                       .nblocks = 1,
                                       .first = &zero,
                                       .size = &n,
                                       .features = features,
                                       .labels = labels,
                                       .weights = weights},
                   values, correct, statistics, sum));
  OK(CkExactSumReduce(sum, g));
  OK(CkExactSumDestroy(&sum));
  OK(CkEngineDestroy(&engine));
  OK(PetscFree3(features, labels, weights));
}

static double Norm2(PetscInt n, const double a[], const double b[])
{
  double sum = 0;

  for (PetscInt i = 0; i < n; ++i) sum += (a[i] - (b ? b[i] : 0)) * (a[i] - (b ? b[i] : 0));
  return sqrt(sum);
}

static CkFusedRun NewRun(const Point *p, PetscInt batch, PetscInt n, const PetscInt index[], const double rates[])
{
  return (CkFusedRun){.batch = batch,
                      .n = n,
                      .index = index,
                      .rates = rates,
                      .momentum = 0.9,
                      .l2 = 0.01,
                      .bn_momentum = 0.1,
                      .x = p->x,
                      .v = p->v,
                      .running = p->running};
}

static CkFused NewFused(const CkFusedKernels *k, CkNet net, PetscInt batch, const TestSamples *s)
{
  CkFused f;

  OK(CkFusedCreateWith(k, net, batch, s->n, &f));
  OK(CkFusedSetSamples(f, 0, s->n, s->features, s->labels));
  return f;
}

/* One update of one net with n samples, repeats among them, against (M.1) or (M.2) with the reference gradient. */
static void CheckUpdate(const CkFusedKernels *k, const TestNet *t, CkHead head, PetscInt n, PetscBool nesterov)
{
  const double rate = 0.25;
  CkNet        net = NewTestNet(t, head);
  TestSamples  s = NewSamples(net, 7, 50);
  Point        p = NewStart(net), q = NewStart(net);
  CkFused      f = NewFused(k, net, n, &s);
  CkFusedRun   run;
  double      *g, *statistics, *values, loss = 0;
  PetscInt    *index, right = 0;
  int         *correct;

  OK(PetscMalloc5(p.d, &g, p.nbuffers, &statistics, n, &values, n, &index, n, &correct));
  for (PetscInt i = 0; i < n; ++i) index[i] = (31 * i + 5) % s.n;
  Oracle(net, &q, &s, n, index, g, statistics, values, correct);
  run = NewRun(&p, n, n, index, &rate);
  run.nesterov = nesterov;
  OK(CkFusedUpdate(f, &run));
  for (PetscInt i = 0; i < q.d; ++i) {
    g[i] += 0.01 * q.x[i];
    q.v[i] = 0.9 * q.v[i] + g[i];
    q.x[i] -= rate * (nesterov ? g[i] + 0.9 * q.v[i] : q.v[i]);
  }
  for (PetscInt i = 0; i < q.nbuffers; ++i) q.running[i] = 0.9 * q.running[i] + 0.1 * statistics[i];
  for (PetscInt i = 0; i < n; ++i) {
    loss += values[i];
    right += correct[i];
  }
  assert_true(run.updates == 1 && run.bad == -1);
  assert_int_equal(run.correct, right);
  assert_close((double)run.loss, loss, ROUNDING, loss);
  assert_close(Norm2(p.d, p.v, q.v), 0, ROUNDING, Norm2(p.d, g, NULL));
  assert_close(Norm2(p.d, p.x, q.x), 0, 2 * rate * ROUNDING, Norm2(p.d, g, NULL));
  for (PetscInt i = 0; i < p.nbuffers; ++i) assert_close(p.running[i], q.running[i], ROUNDING, 1 + q.running[i]);
  OK(PetscFree5(g, statistics, values, index, correct));
  OK(CkFusedDestroy(&f));
  FreePoint(&p);
  FreePoint(&q);
  FreeSamples(&s);
  OK(CkNetDestroy(&net));
}

static void updates_follow_the_formulas(void **state)
{
  const PetscInt        sizes[] = {5, 7, 16, 131, 300}; /* a group of rows, parts of one, sums beyond CK_FUSED_SUM */
  const CkFusedKernels *tables[3];
  const size_t          n = Tables(tables);

  (void)state;
  for (size_t k = 0; k < n; ++k)
    for (int t = 0; t < NETS; ++t)
      for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); ++i)
        CheckUpdate(tables[k], &nets[t], i % 2 ? CK_HEAD_MSE : CK_HEAD_CROSS_ENTROPY, sizes[i],
                    (PetscBool)(i % 3 == 1));
}

/* Two epochs in one call, and update by update with the state put in and taken out each time: the same bits. */
static void calls_can_be_cut_anywhere(void **state)
{
  const PetscInt        N = 43, batch = 10, n = 2 * N;
  const CkFusedKernels *tables[3];
  const size_t          ntables = Tables(tables);
  CkNet                 net = NewTestNet(&nets[0], CK_HEAD_CROSS_ENTROPY);
  TestSamples           s = NewSamples(net, 3, N);
  PetscInt              index[86];
  double                rates[9];

  (void)state;
  for (PetscInt i = 0; i < n; ++i) index[i] = (i * 17 + i / N) % N;
  for (int u = 0; u < 9; ++u) rates[u] = 0.1 / (1 + u);
  for (size_t k = 0; k < ntables; ++k) {
    Point       whole = NewStart(net), cut = NewStart(net);
    CkFused     f = NewFused(tables[k], net, batch, &s);
    CkFusedRun  all = NewRun(&whole, batch, n, index, rates);
    long double loss = 0;
    PetscInt64  correct = 0;

    OK(CkFusedUpdate(f, &all));
    assert_int_equal(all.updates, 9);
    for (PetscInt first = 0; first < n; first += batch) {
      CkFusedRun one = NewRun(&cut, batch, PetscMin(batch, n - first), index + first, rates + first / batch);

      one.loss = loss;
      one.correct = correct;
      OK(CkFusedUpdate(f, &one));
      assert_int_equal(one.updates, 1);
      loss = one.loss;
      correct = one.correct;
    }
    assert_true(SameBits(&whole, &cut));
    assert_true(loss == all.loss && correct == all.correct);
    OK(CkFusedDestroy(&f));
    FreePoint(&whole);
    FreePoint(&cut);
  }
  FreeSamples(&s);
  OK(CkNetDestroy(&net));
}

/* Loss, predictions and gradient of all samples in evaluation mode: means of the reference engine's values and rows. */
static void evaluation_is_that_of_the_reference(void **state)
{
  enum { N = 77 };
  const CkFusedKernels *tables[3];
  const size_t          ntables = Tables(tables);

  (void)state;
  for (int t = 0; t < NETS; ++t) {
    CkNet       net = NewTestNet(&nets[t], t % 2 ? CK_HEAD_MSE : CK_HEAD_CROSS_ENTROPY);
    TestSamples s = NewSamples(net, 9, N);
    Point       p = NewStart(net);
    CkEngine    engine;
    double     *rows, *mean, *g, values[N], loss = 0, f;
    int         correct[N];
    PetscInt64  all = 0, right;

    OK(PetscMalloc3((size_t)N * (size_t)p.d, &rows, p.d, &mean, p.d, &g));
    OK(PetscArrayzero(mean, p.d));
    OK(CkEngineCreate(net, &engine));
    OK(CkEngineSetType(engine, "reference"));
    OK(CkEngineSetTile(engine, N));
    OK(CkEngineSetUp(engine));
    OK(CkEngineSetPoint(engine, p.x, p.running));
    OK(CkEngineLoad(engine, N, s.features, s.labels, values, correct));
    OK(CkEngineRows(engine, CK_FLOAT64, rows, (size_t)p.d));
    for (PetscInt k = 0; k < N; ++k) {
      for (PetscInt i = 0; i < p.d; ++i) mean[i] += rows[k * p.d + i] / N;
      loss += values[k] / N;
      all += correct[k];
    }
    for (size_t k = 0; k < ntables; ++k)
      for (PetscInt batch = 7; batch <= 98; batch += 91) {
        CkFused fused = NewFused(tables[k], net, batch, &s);

        OK(CkFusedEvaluate(fused, p.x, p.running, &f, &right, g));
        assert_close(f, loss, ROUNDING, loss);
        assert_true(right == all);
        assert_close(Norm2(p.d, g, mean), 0, ROUNDING, Norm2(p.d, mean, NULL));
        OK(CkFusedDestroy(&fused));
      }
    OK(CkEngineDestroy(&engine));
    OK(PetscFree3(rows, mean, g));
    FreePoint(&p);
    FreeSamples(&s);
    OK(CkNetDestroy(&net));
  }
}

/* A sample whose loss is not finite stops the run before its update; the state is that of the updates before it. */
static void a_bad_loss_stops_the_run(void **state)
{
  const PetscInt index[] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9};
  const double   rates[] = {0.1, 0.1, 0.1};
  CkNet          net = NewTestNet(&nets[1], CK_HEAD_CROSS_ENTROPY);
  TestSamples    s = NewSamples(net, 3, 10);
  Point          p = NewStart(net), q = NewStart(net);
  CkFused        f;
  CkFusedRun     run = NewRun(&p, 4, 10, index, rates), first = NewRun(&q, 4, 4, index, rates);

  (void)state;
  s.features[6 * 19 + 3] = INFINITY;
  f = NewFused(CkFusedKernelsGet(), net, 4, &s);
  OK(CkFusedUpdate(f, &run));
  assert_int_equal(run.updates, 1);
  assert_int_equal(run.bad, 6);
  assert_true(!isfinite(run.value));
  OK(CkFusedUpdate(f, &first));
  assert_int_equal(first.bad, -1);
  assert_true(SameBits(&p, &q) && run.loss == first.loss && run.correct == first.correct);
  OK(CkFusedDestroy(&f));
  FreePoint(&p);
  FreePoint(&q);
  FreeSamples(&s);
  OK(CkNetDestroy(&net));
}

/* A weight without gradient drives its momentum into numbers below the normal range: they become zero, not slow, and
   the caller's floating-point mode is as it was. */
static void subnormal_numbers_become_zero(void **state)
{
  const double    rate = 0.1;
  const PetscInt  index[] = {0, 1, 2, 3};
  CkNet           net = NewTestNet(&nets[1], CK_HEAD_CROSS_ENTROPY);
  TestSamples     s = NewSamples(net, 3, 4);
  Point           p = NewStart(net);
  CkFused         f = NewFused(CkFusedKernelsGet(), net, 4, &s);
  CkFusedRun      run = NewRun(&p, 4, 4, index, &rate);
  volatile double tiny = 0x1p-1022;

  (void)state;
  run.l2 = 0;
  for (PetscInt i = 0; i < p.d; ++i) p.x[i] = i < 33 * 20 ? 0 : p.x[i]; /* dead units of the first layer */
  for (PetscInt i = 0; i < p.d; ++i) p.v[i] = 0x1.08p-1022;
  OK(CkFusedUpdate(f, &run));
#if defined(__SSE__)
  assert_true(p.v[0] == 0);
#endif
  assert_true(tiny / 2 > 0);
  OK(CkFusedDestroy(&f));
  FreePoint(&p);
  FreeSamples(&s);
  OK(CkNetDestroy(&net));
}

/* Logits of all sizes, equal ones, NaN and infinity among them: the head of all engines decides. */
static void heads_agree(void **state)
{
  enum { N = 203, ROOM = 208, CLASSES = 7, LD = 16 };
  const CkFusedKernels       *tables[3];
  const size_t                ntables = Tables(tables);
  static _Alignas(64) float   logits[ROOM * LD], delta[ROOM * LD];
  static _Alignas(64) double  values[ROOM], work[CLASSES * 16], expected[N];
  double                     *normals = NewNormals(5, (size_t)N * CLASSES), *wide;
  PetscInt                    labels[N], right, all = 0;
  static _Alignas(64) int32_t targets[ROOM];
  int                         correct[N];

  (void)state;
  OK(PetscMalloc1(2 * N * CLASSES, &wide));
  for (int k = 0; k < N; ++k) {
    labels[k] = k % CLASSES;
    targets[k] = (int32_t)labels[k];
    for (int c = 0; c < CLASSES; ++c) logits[k * LD + c] = (float)(normals[k * CLASSES + c] * pow(10, k % 4 - 1));
    if (k % 5 == 0) logits[k * LD + k % 3] = logits[k * LD + 4];
    if (k == 50) logits[k * LD + 1] = NAN;
    if (k == 60) logits[k * LD + 2] = INFINITY;
    if (k == 70) logits[k * LD + 3] = -INFINITY;
    for (int c = 0; c < CLASSES; ++c) wide[k * CLASSES + c] = (double)logits[k * LD + c];
  }
  for (int head = 0; head < 2; ++head) {
    CkHeadCall  call = {.head = head ? CK_HEAD_MSE : CK_HEAD_CROSS_ENTROPY,
                        .n = N,
                        .classes = CLASSES,
                        .precision = CK_FLOAT64,
                        .logits = wide,
                        .labels = labels,
                        .values = expected,
                        .correct = correct,
                        .delta = wide + N * CLASSES};
    CkFusedHead fused = {.head = call.head,
                         .n = N,
                         .classes = CLASSES,
                         .ld = LD,
                         .logits = logits,
                         .labels = targets,
                         .scale = 0.125,
                         .values = values,
                         .delta = delta,
                         .work = work};

    OK(CkHeadEvaluate(&call));
    all = 0;
    for (int k = 0; k < N; ++k) all += correct[k];
    for (size_t t = 0; t < ntables; ++t) {
      double sum;

      tables[t]->head(&fused, &sum, &right);
      assert_int_equal(right, all);
      assert_false(isfinite(sum));
      for (int k = 0; k < N; ++k) {
        assert_true(isfinite(values[k]) == isfinite(expected[k]));
        if (!isfinite(expected[k])) continue;
        assert_close(values[k], expected[k], 5e-16, fabs(expected[k])); /* 2 roundings */
        for (int c = 0; c < CLASSES; ++c) { /* a float32 rounding, and numbers that e^-708 stands for */
          const double want = 0.125 * wide[(N + k) * CLASSES + c];

          assert_close((double)delta[k * LD + c], want, 6e-8, fabs(want) + 1e-37);
        }
      }
    }
  }
  OK(PetscFree(normals));
  OK(PetscFree(wide));
}

/* Two classes: f = log(1 + e^-gap), from the label's certainty to its impossibility, within 2 roundings. */
static void losses_keep_their_digits(void **state)
{
  enum { N = 4000, LD = 16 };
  const CkFusedKernels       *tables[3];
  const size_t                ntables = Tables(tables);
  static _Alignas(64) float   logits[N * LD], delta[N * LD];
  static _Alignas(64) double  values[N], work[2 * 16];
  static _Alignas(64) int32_t targets[N];
  const CkFusedHead           head = {.head = CK_HEAD_CROSS_ENTROPY,
                                      .n = N,
                                      .classes = 2,
                                      .ld = LD,
                                      .logits = logits,
                                      .labels = targets,
                                      .scale = 1,
                                      .values = values,
                                      .delta = delta,
                                      .work = work};

  (void)state;
  for (int k = 0; k < N; ++k) logits[k * LD] = (float)(-30 + k * 0.1837); /* to 704; of class 0, the label */
  for (size_t t = 0; t < ntables; ++t) {
    double   sum, worst = 0;
    PetscInt right;

    tables[t]->head(&head, &sum, &right);
    for (int k = 0; k < N; ++k) {
      const long double f = log1pl(expl(-(long double)logits[k * LD]));

      worst = PetscMax(worst, (double)(fabsl(values[k] - f) / f));
    }
    assert_close(worst, 0, 4 * 0x1p-52, 1);
    assert_true(isfinite(sum));
  }
}

static void other_nets_are_refused_with_a_reason(void **state)
{
  const char *const reasons[][2] = {
    {"conv", "conv1"}, {"dropout", "conv1"}, {"tanh", "tanh"}, {"residual", "conv1"}, {"norm", "conv"}};

  (void)state;
  for (size_t i = 0; i < TEST_NETS; ++i)
    for (size_t r = 0; r < sizeof(reasons) / sizeof(reasons[0]); ++r) {
      CkNet     net;
      PetscBool can;
      char      why[128] = "";

      if (strcmp(test_nets[i].name, reasons[r][0]) != 0) continue;
      net = NewTestNet(&test_nets[i], CK_HEAD_MSE);
      OK(CkFusedSupports(net, &can, why, sizeof(why)));
      assert_false(can);
      assert_non_null(strstr(why, reasons[r][1]));
      OK(CkNetDestroy(&net));
    }
}

int main(int argc, char **argv)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(updates_follow_the_formulas),   cmocka_unit_test(calls_can_be_cut_anywhere),
    cmocka_unit_test(a_bad_loss_stops_the_run),      cmocka_unit_test(evaluation_is_that_of_the_reference),
    cmocka_unit_test(subnormal_numbers_become_zero), cmocka_unit_test(heads_agree),
    cmocka_unit_test(losses_keep_their_digits),      cmocka_unit_test(other_nets_are_refused_with_a_reason),
  };
  int failed;

  OK(PetscInitialize(&argc, &argv, NULL, NULL));
  failed = cmocka_run_group_tests(tests, NULL, NULL);
  OK(PetscFinalize());
  return failed ? 1 : 0;
}
