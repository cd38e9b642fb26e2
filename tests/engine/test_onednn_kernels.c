/* The engine's own kernels, for every instruction set this processor has, against plain loops in double precision. */
#include "onednn/lanes.h"
#include "testing.h"
#include <clarkia/random.h>
#include <stdlib.h>

#define ROUNDING 1e-6 /* relative to the sums of absolute values: some 10 float32 roundings */

static uint64_t drawn = 0;

/* Integers from first to last, and numbers between -1 and 1. */
static int Draw(int first, int last)
{
  const CkRandom stream = {.seed = 1, .purpose = CK_RANDOM_PROBE};
  double         u;

  CkRandomUniforms(&stream, drawn++, 1, &u);
  return first + (int)(u * (last - first + 1));
}

static float *Packs(size_t n)
{
  const CkRandom stream = {.seed = 2, .purpose = CK_RANDOM_PROBE};
  double        *values;
  float         *packs = (float *)aligned_alloc(64, (n * sizeof(float) / 64 + 1) * 64);

  OK(PetscMalloc1(n, &values));
  CkRandomUniforms(&stream, drawn, n, values);
  drawn += n;
  for (size_t i = 0; i < n; ++i) packs[i] = (float)(2 * values[i] - 1);
  OK(PetscFree(values));
  return packs;
}

static size_t Tables(const CkLanes *tables[3])
{
  size_t n = 0;

  tables[n++] = &CkLanesPortable;
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) tables[n++] = &CkLanesAVX2;
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
      __builtin_cpu_supports("avx512dq"))
    tables[n++] = &CkLanesAVX512;
#endif
  return n;
}

static void ForEachTable(void (*body)(const CkLanes *k))
{
  const CkLanes *tables[3];
  const size_t   n = Tables(tables);

  for (size_t i = 0; i < n; ++i) body(tables[i]);
}

/* A convolution of random shape (often 1x1 of stride 2 with few channels) as a map. */
typedef struct {
  CkLanesMap map;
  int        channels, h, w, kernel[2], stride[2], out[2];
  size_t     in_plane, in_size, out_size; /* packs */
  int       *tap, *from, *to;
} Shape;

static Shape NewShape(int largest_kernel)
{
  Shape s = {.channels = Draw(1, 9), .h = Draw(1, 12), .w = Draw(1, 12)};

  for (int i = 0; i < 2; ++i) {
    s.kernel[i] = Draw(1, PetscMin(largest_kernel, i ? s.w : s.h));
    s.stride[i] = Draw(1, 3);
    s.out[i] = ((i ? s.w : s.h) - s.kernel[i]) / s.stride[i] + 1;
  }
  s.in_plane = (size_t)(s.h * s.w + Draw(0, 2));
  s.map = (CkLanesMap){.units = Draw(1, 19), .taps = s.channels * s.kernel[0] * s.kernel[1]};
  s.map.positions = s.out[0] * s.out[1];
  s.map.unit_stride = s.map.positions + Draw(0, 2);
  s.in_size = (size_t)s.channels * s.in_plane;
  s.out_size = (size_t)s.map.units * (size_t)s.map.unit_stride;
  OK(PetscMalloc3(s.map.taps, &s.tap, s.map.positions, &s.from, s.map.positions, &s.to));
  for (int t = 0; t < s.map.taps; ++t) {
    const int c = t / (s.kernel[0] * s.kernel[1]), at = t % (s.kernel[0] * s.kernel[1]);

    s.tap[t] = c * (int)s.in_plane + at / s.kernel[1] * s.w + at % s.kernel[1];
  }
  for (int p = 0; p < s.map.positions; ++p) {
    s.from[p] = p / s.out[1] * s.stride[0] * s.w + p % s.out[1] * s.stride[1];
    s.to[p] = p;
  }
  s.map.tap = s.tap;
  s.map.from = s.from;
  s.map.to = s.to;
  return s;
}

static void FreeShape(Shape *s)
{
  OK(PetscFree3(s->tap, s->from, s->to));
}

static double Worst(double worst, double got, double expected, double scale)
{
  const double error = fabs(got - expected) / (scale + 1e-30);

  return error > worst || isnan(error) ? error : worst;
}

static void CheckProduct(const CkLanes *k)
{
  double worst = 0;

  for (int trial = 0; trial < 150; ++trial) {
    Shape           s = NewShape(5);
    const int       L = k->lanes, taps = s.map.taps, units = s.map.units;
    const PetscBool add = (PetscBool)(trial % 3 == 0);
    float *w = Packs((size_t)(units * taps)), *packed = Packs((size_t)(units * taps)), *b = Packs((size_t)units);
    float *x = Packs(s.in_size * (size_t)L), *y = Packs(s.out_size * (size_t)L),
          *before = Packs(s.out_size * (size_t)L);

    memcpy(y, before, s.out_size * (size_t)L * sizeof(float));
    for (int o = 0; o < units; ++o)
      for (int t = 0; t < taps; ++t)
        packed[CkLanesPackedIndex((size_t)units, (size_t)taps, (size_t)o, (size_t)t)] = w[o * taps + t];
    k->product(&s.map, add, packed, b, x, y);
    for (int o = 0; o < units; ++o)
      for (int p = 0; p < s.map.positions; ++p)
        for (int j = 0; j < L; ++j) {
          const int at = (o * s.map.unit_stride + p) * L + j;
          double    sum = add ? (double)before[at] : (double)b[o], scale = 1;

          for (int t = 0; t < taps; ++t) {
            const double term = (double)w[o * taps + t] * (double)x[(s.from[p] + s.tap[t]) * L + j];

            sum += term;
            scale += fabs(term);
          }
          worst = Worst(worst, (double)y[at], sum, scale);
        }
    free(w), free(packed), free(b), free(x), free(y), free(before);
    FreeShape(&s);
  }
  assert_close(worst, 0, ROUNDING, 1);
}

static void product_is_the_convolution(void **state)
{
  (void)state;
  ForEachTable(CheckProduct);
}

/* A vector of slopes and where they go: a number that is there already. */
static CkLanesSlopes NewSlopes(int entries, double sums[CK_LANES_MAX])
{
  for (int k = 0; k < CK_LANES_MAX; ++k) sums[k] = 0.5 * k;
  return (CkLanesSlopes){.v = Packs((size_t)entries), .sums = sums};
}

/* Added were the products with the gradients that a kernel has made; frees the vector. */
static void CheckSlopes(const CkLanesSlopes *slopes, int L, int entries, const float *g, size_t stride)
{
  for (int j = 0; j < L; ++j) {
    double sum = 0.5 * j, scale = 1;

    for (int e = 0; e < entries; ++e) {
      const double term = (double)slopes->v[e] * (double)g[(size_t)e * stride + (size_t)j];

      sum += term;
      scale += fabs(term);
    }
    assert_close(slopes->sums[j], sum, ROUNDING, scale);
  }
  free((void *)(uintptr_t)slopes->v);
}

/* A 3 x 3 convolution of stride 1 with any padding, images of odd and even sizes, more channels than are transformed at
   a time. */
static CkLanesWinograd NewWinograd(int trial)
{
  CkLanesWinograd m = {.units = Draw(1, 19), .channels = trial % 10 ? Draw(1, 19) : Draw(60, 90)};

  for (int i = 0; i < 2; ++i) {
    m.padding[i] = Draw(0, 2);
    m.in[i] = Draw(1, 13);
    m.out[i] = m.in[i] + m.padding[i] + Draw(0, 2) - 2;
    while (m.out[i] < 1) ++m.in[i], ++m.out[i];
    m.tiles[i] = (m.out[i] + 1) / 2;
  }
  m.in_plane = (size_t)(m.in[0] * m.in[1] + Draw(0, 2));
  m.out_plane = (size_t)(m.out[0] * m.out[1] + Draw(0, 2));
  return m;
}

/* Weight (o, c, r, k) of the convolution; mirrored: it is that of the derivative of another one's input. */
static double WinogradWeight(const CkLanesWinograd *m, PetscBool mirrored, const double *w, int o, int c, int k)
{
  return mirrored ? w[(c * m->units + o) * 9 + 8 - k] : w[(o * m->channels + c) * 9 + k];
}

/* The output (o, row, column) of lane j by definition; *scale: the sum of absolute values. */
static double ByDefinition(const CkLanesWinograd *m, PetscBool mirrored, const double *w, const float *x, int L, int o,
                           int row, int column, int j, double *scale)
{
  double sum = 0;

  for (int c = 0; c < m->channels; ++c)
    for (int k = 0; k < 9; ++k) {
      const int h = row + k / 3 - m->padding[0], v = column + k % 3 - m->padding[1];
      double    term;

      if (h < 0 || h >= m->in[0] || v < 0 || v >= m->in[1]) continue;
      term = WinogradWeight(m, mirrored, w, o, c, k) *
             (double)x[((size_t)c * m->in_plane + (size_t)(h * m->in[1] + v)) * (size_t)L + (size_t)j];
      sum += term;
      *scale += fabs(term);
    }
  return sum;
}

static void CheckWinogradOnce(const CkLanes *k, int trial, double *worst)
{
  const CkLanesWinograd m = NewWinograd(trial);
  const PetscBool       add = (PetscBool)(trial % 3 == 0), mirrored = (PetscBool)(trial % 2);
  const int             L = k->lanes;
  const size_t          weights = 9 * (size_t)m.units * (size_t)m.channels, size = (size_t)m.units * m.out_plane;
  float                *drawn_w = Packs(weights), *packed = Packs(weights / 9 * 16), *b = Packs((size_t)m.units);
  float                *x = Packs((size_t)m.channels * m.in_plane * (size_t)L), *y = Packs(size * (size_t)L);
  float                *before = Packs(size * (size_t)L), *scratch = Packs(CkLanesWinogradScratch(&m) * (size_t)L);
  double               *w;

  OK(PetscMalloc1(weights, &w));
  for (size_t i = 0; i < weights; ++i) w[i] = (double)drawn_w[i];
  memcpy(y, before, size * (size_t)L * sizeof(float));
  CkLanesWinogradPack(&m, mirrored, w, packed);
  k->winograd_product(&m, add, packed, b, x, y, scratch);
  for (size_t at = 0; at < size * (size_t)L; ++at) {
    const int o = (int)(at / ((size_t)L * m.out_plane)), p = (int)(at / (size_t)L % m.out_plane), j = (int)at % L;
    double    scale = 1, sum = add ? (double)before[at] : (double)b[o];

    if (p >= m.out[0] * m.out[1]) { /* nothing is written between channels */
      assert_on_all_ranks(y[at] == before[at]);
      continue;
    }
    sum += ByDefinition(&m, mirrored, w, x, L, o, p / m.out[1], p % m.out[1], j, &scale);
    *worst = Worst(*worst, (double)y[at], sum, scale);
  }
  OK(PetscFree(w));
  free(drawn_w), free(packed), free(b), free(x), free(y), free(before), free(scratch);
}

static void CheckWinograd(const CkLanes *k)
{
  double worst = 0;

  for (int trial = 0; trial < 120; ++trial) CheckWinogradOnce(k, trial, &worst);
  assert_close(worst, 0, ROUNDING, 1);
}

static void winograd_is_the_convolution(void **state)
{
  (void)state;
  ForEachTable(CheckWinograd);
}

/* The derivative of weight (o, c, k) of lane j: the sum over the positions; *scale: of absolute values. */
static double GradientByDefinition(const CkLanesWinograd *m, const float *x, const float *d, int L, int o, int c, int k,
                                   int j, double *scale)
{
  double sum = 0;

  for (int p = 0; p < m->out[0] * m->out[1]; ++p) {
    const int h = p / m->out[1] + k / 3 - m->padding[0], v = p % m->out[1] + k % 3 - m->padding[1];
    double    term;

    if (h < 0 || h >= m->in[0] || v < 0 || v >= m->in[1]) continue;
    term = (double)d[((size_t)o * m->out_plane + (size_t)p) * (size_t)L + (size_t)j] *
           (double)x[((size_t)c * m->in_plane + (size_t)(h * m->in[1] + v)) * (size_t)L + (size_t)j];
    sum += term;
    *scale += fabs(term);
  }
  return sum;
}

static void CheckWinogradGradientOnce(const CkLanes *k, int trial, double *worst)
{
  CkLanesWinograd m = NewWinograd(trial);
  const PetscBool add = (PetscBool)(trial % 3 == 0);
  const int       L = k->lanes;
  double          sums[CK_LANES_MAX];
  CkLanesSlopes   slopes;
  size_t          stride, size;
  float          *x, *d, *g, *before, *scratch;

  if (trial % 20 == 0) { /* several bands of pairs, and of rows */
    m.in[1] = Draw(65, 80);
    m.out[1] = m.in[1] + m.padding[1] - 2;
    m.tiles[1] = (m.out[1] + 1) / 2;
    m.in_plane = (size_t)(m.in[0] * m.in[1]);
    m.out_plane = (size_t)(m.out[0] * m.out[1]);
  }
  stride = (size_t)(L * Draw(1, 3));
  size = (size_t)m.units * (size_t)(9 * m.channels + 1) * stride;
  x = Packs((size_t)m.channels * m.in_plane * (size_t)L);
  d = Packs((size_t)m.units * m.out_plane * (size_t)L);
  g = Packs(size);
  before = Packs(size);
  scratch = Packs(CkLanesWinogradScratch(&m) * (size_t)L);
  memcpy(g, before, size * sizeof(float));
  slopes = NewSlopes(m.units * (9 * m.channels + 1), sums);
  k->winograd_gradient(&m, add, PETSC_TRUE, x, d, g, stride, &slopes, scratch);
  CheckSlopes(&slopes, L, m.units * (9 * m.channels + 1), g, stride);
  for (int e = 0; e < m.units * (9 * m.channels + 1); ++e)
    for (int j = 0; j < L; ++j) {
      const int    weights = 9 * m.units * m.channels, o = e < weights ? e / (9 * m.channels) : e - weights;
      const size_t at = (size_t)e * stride + (size_t)j;
      double       scale = 1, sum = add ? (double)before[at] : 0;

      if (e < weights) sum += GradientByDefinition(&m, x, d, L, o, e / 9 % m.channels, e % 9, j, &scale);
      for (int p = 0; e >= weights && p < m.out[0] * m.out[1]; ++p) {
        const double term = (double)d[((size_t)o * m.out_plane + (size_t)p) * (size_t)L + (size_t)j];

        sum += term;
        scale += fabs(term);
      }
      *worst = Worst(*worst, (double)g[at], sum, scale);
    }
  free(x), free(d), free(g), free(before), free(scratch);
}

static void CheckWinogradGradient(const CkLanes *k)
{
  double worst = 0;

  for (int trial = 0; trial < 100; ++trial) CheckWinogradGradientOnce(k, trial, &worst);
  assert_close(worst, 0, ROUNDING, 1);
}

static void winograd_gradient_is_that_of_each_sample(void **state)
{
  (void)state;
  ForEachTable(CheckWinogradGradient);
}

/* <scatter(d), x> = <d, product(x)> for all x: entry by entry, what product() reads from x is what scatter() adds. */
static void CheckScatter(const CkLanes *k)
{
  double worst = 0;

  for (int trial = 0; trial < 150; ++trial) {
    Shape     s = NewShape(5);
    const int L = k->lanes, taps = s.map.taps, units = s.map.units;
    float    *w = Packs((size_t)(units * taps)), *packed = Packs((size_t)(units * taps));
    float    *d = Packs(s.out_size * (size_t)L), *x = Packs(s.in_size * (size_t)L);
    double   *sum, *scale;

    OK(PetscMalloc2(s.in_size * (size_t)L, &sum, s.in_size * (size_t)L, &scale));
    for (size_t i = 0; i < s.in_size * (size_t)L; ++i) {
      sum[i] = (double)x[i];
      scale[i] = 1;
    }
    for (int o = 0; o < units; ++o)
      for (int t = 0; t < taps; ++t) {
        packed[CkLanesPackedIndex((size_t)taps, (size_t)units, (size_t)t, (size_t)o)] = w[o * taps + t];
        for (int p = 0; p < s.map.positions; ++p)
          for (int j = 0; j < L; ++j) {
            const double term = (double)w[o * taps + t] * (double)d[(o * s.map.unit_stride + p) * L + j];

            sum[(s.from[p] + s.tap[t]) * L + j] += term;
            scale[(s.from[p] + s.tap[t]) * L + j] += fabs(term);
          }
      }
    k->scatter(&s.map, packed, d, x);
    for (size_t i = 0; i < s.in_size * (size_t)L; ++i) worst = Worst(worst, (double)x[i], sum[i], scale[i]);
    OK(PetscFree2(sum, scale));
    free(w), free(packed), free(d), free(x);
    FreeShape(&s);
  }
  assert_close(worst, 0, ROUNDING, 1);
}

static void scatter_is_the_transpose(void **state)
{
  (void)state;
  ForEachTable(CheckScatter);
}

/* Entry e of weights, then shifts, of lane j: sum over the positions; *scale gains the absolute values. */
static double Gradient(const Shape *s, int L, int e, int j, const float *x, const float *d, double *scale)
{
  const int taps = s->map.taps, weights = taps * s->map.units;
  double    sum = 0;

  for (int p = 0; p < s->map.positions; ++p) {
    const int    o = e < weights ? e / taps : e - weights;
    const double delta = (double)d[(o * s->map.unit_stride + p) * L + j];
    const double term = e < weights ? delta * (double)x[(s->from[p] + s->tap[e % taps]) * L + j] : delta;

    sum += term;
    *scale += fabs(term);
  }
  return sum;
}

static void CheckOuter(const CkLanes *k)
{
  double worst = 0;

  for (int trial = 0; trial < 150; ++trial) {
    Shape           s = NewShape(5);
    const int       L = k->lanes, entries = s.map.units * (s.map.taps + 1);
    const PetscBool add = (PetscBool)(trial % 3 == 0);
    const size_t    stride = (size_t)(L * Draw(1, 3)), size = (size_t)entries * stride;
    float          *d = Packs(s.out_size * (size_t)L), *x = Packs(s.in_size * (size_t)L), *g = Packs(size);
    float          *before = Packs(size);
    double          sums[CK_LANES_MAX];
    CkLanesSlopes   slopes = NewSlopes(entries, sums);

    memcpy(g, before, size * sizeof(float));
    k->outer(&s.map, add, PETSC_TRUE, x, d, g, stride, &slopes);
    CheckSlopes(&slopes, L, entries, g, stride);
    for (int e = 0; e < entries; ++e)
      for (int j = 0; j < L; ++j) {
        const size_t at = (size_t)e * stride + (size_t)j;
        double       scale = 1, sum = Gradient(&s, L, e, j, x, d, &scale);

        worst = Worst(worst, (double)g[at], sum + (add ? (double)before[at] : 0), scale);
      }
    free(d), free(x), free(g), free(before);
    FreeShape(&s);
  }
  assert_close(worst, 0, ROUNDING, 1);
}

static void outer_is_the_gradient_of_each_sample(void **state)
{
  (void)state;
  ForEachTable(CheckOuter);
}

/* Lane by lane, with the derivatives spread out as max_pool_back() would. */
static void CheckOuterPooled(const CkLanes *k)
{
  double worst = 0;

  for (int trial = 0; trial < 100; ++trial) {
    Shape               s = NewShape(PetscMin(5, k->lanes));
    const int           L = k->lanes, units = s.map.units, windows = Draw(1, 9), entries = units * (s.map.taps + 1);
    const CkLanesPooled pooled = {.windows = windows, .run = s.kernel[1], .plane = (size_t)(windows + Draw(0, 2))};
    const size_t        stride = (size_t)(2 * L), size = (size_t)entries * stride;
    float *e = Packs((size_t)units * pooled.plane * (size_t)L), *x = Packs(s.in_size * (size_t)L), *g = Packs(size);
    float *d = Packs(s.out_size * (size_t)L), *image = Packs(s.in_size + (size_t)L);
    int   *arg = (int *)aligned_alloc(64, ((size_t)units * pooled.plane * (size_t)L * sizeof(int) / 64 + 1) * 64);

    memset(d, 0, s.out_size * (size_t)L * sizeof(float));
    for (int o = 0; o < units; ++o)
      for (int p = 0; p < windows; ++p)
        for (int j = 0; j < L; ++j) {
          const size_t at = ((size_t)o * pooled.plane + (size_t)p) * (size_t)L + (size_t)j;

          arg[at] = Draw(0, s.map.positions - 1);
          d[(o * s.map.unit_stride + arg[at]) * L + j] += e[at];
        }
    for (int j = 0; j < L; ++j) {
      for (size_t i = 0; i < s.in_size; ++i) image[i] = x[i * (size_t)L + (size_t)j];
      k->outer_pooled(&s.map, &pooled, j, PETSC_TRUE, image, e, arg, g, stride);
    }
    for (int i = 0; i < entries; ++i)
      for (int j = 0; j < L; ++j) {
        double scale = 1, sum = Gradient(&s, L, i, j, x, d, &scale);

        worst = Worst(worst, (double)g[(size_t)i * stride + (size_t)j], sum, scale);
      }
    free(e), free(x), free(g), free(d), free(image), free(arg);
    FreeShape(&s);
  }
  assert_close(worst, 0, ROUNDING, 1);
}

static void pooled_gradients_are_the_same(void **state)
{
  (void)state;
  ForEachTable(CheckOuterPooled);
}

/* Pooling of one lane by definition, and the derivative back. average: else the first largest number. */
static void PlainPool(const CkLanesWindow *w, PetscBool average, int L, int j, const float *x, const float *e,
                      double *y, double *d)
{
  for (int plane = 0; plane < w->planes; ++plane)
    for (int q = 0; q < w->out[0] * w->out[1]; ++q) {
      const int first[2] = {q / w->out[1] * w->stride[0] - w->padding[0], q % w->out[1] * w->stride[1] - w->padding[1]};
      const size_t place = (size_t)plane * w->out_plane + (size_t)q;
      double       best = -INFINITY, sum = 0;
      size_t       where = 0;

      for (int i = 0; i < w->kernel[0] * w->kernel[1]; ++i) {
        const int r = first[0] + i / w->kernel[1], c = first[1] + i % w->kernel[1];
        size_t    at;

        if (r < 0 || r >= w->in[0] || c < 0 || c >= w->in[1]) continue;
        at = ((size_t)plane * w->in_plane + (size_t)(r * w->in[1] + c)) * (size_t)L + (size_t)j;
        sum += (double)x[at];
        if (average) d[at] += (double)e[place * (size_t)L + (size_t)j] / (w->kernel[0] * w->kernel[1]);
        if ((double)x[at] <= best) continue;
        best = (double)x[at];
        where = at;
      }
      if (!average) d[where] += (double)e[place * (size_t)L + (size_t)j];
      y[place * (size_t)L + (size_t)j] = average ? sum / (w->kernel[0] * w->kernel[1]) : best;
    }
}

static CkLanesWindow NewWindow(void)
{
  CkLanesWindow w = {.planes = Draw(1, 3)};

  for (int i = 0; i < 2; ++i) {
    w.in[i] = Draw(1, 9);
    w.kernel[i] = Draw(1, PetscMin(4, w.in[i]));
    w.stride[i] = Draw(0, 1) ? w.kernel[i] : Draw(1, 3);
    w.padding[i] = Draw(0, w.kernel[i] / 2);
    w.out[i] = (w.in[i] + w.padding[i] + Draw(0, w.kernel[i] - 1) - w.kernel[i]) / w.stride[i] + 1;
  }
  w.in_plane = (size_t)(w.in[0] * w.in[1] + Draw(0, 2));
  w.out_plane = (size_t)(w.out[0] * w.out[1] + Draw(0, 2));
  return w;
}

static void CheckPools(const CkLanes *k)
{
  double worst = 0;

  for (int trial = 0; trial < 200; ++trial) {
    const CkLanesWindow w = NewWindow();
    const PetscBool     average = (PetscBool)(trial % 2), add = (PetscBool)(trial % 3 == 0);
    const size_t L = (size_t)k->lanes, in = (size_t)w.planes * w.in_plane * L, out = (size_t)w.planes * w.out_plane * L;
    float       *x = Packs(in), *y = Packs(out), *e = Packs(out), *d = Packs(in);
    int         *arg = (int *)aligned_alloc(64, (out * sizeof(int) / 64 + 1) * 64);
    double      *pooled, *back;

    OK(PetscCalloc2(out, &pooled, in, &back));
    for (size_t i = 0; i < in; ++i) x[i] = (float)Draw(-3, 3); /* ties: the first of equals counts */
    for (size_t i = 0; i < in && add; ++i) back[i] = (double)d[i];
    for (int j = 0; j < k->lanes; ++j) PlainPool(&w, average, k->lanes, j, x, e, pooled, back);
    if (average) {
      k->average_pool(&w, x, y);
      k->average_pool_back(&w, add, e, d);
    } else {
      k->max_pool(&w, x, y, arg);
      k->max_pool_back(&w, add, arg, e, d);
    }
    for (int plane = 0; plane < w.planes; ++plane) { /* gaps between planes mean nothing */
      for (size_t i = (size_t)plane * w.out_plane * L;
           i < ((size_t)plane * w.out_plane + (size_t)(w.out[0] * w.out[1])) * L; ++i)
        worst = Worst(worst, (double)y[i], pooled[i], 3);
      for (size_t i = (size_t)plane * w.in_plane * L;
           i < ((size_t)plane * w.in_plane + (size_t)(w.in[0] * w.in[1])) * L; ++i)
        worst = Worst(worst, (double)d[i], back[i], 3);
    }
    OK(PetscFree2(pooled, back));
    free(x), free(y), free(e), free(d), free(arg);
  }
  assert_close(worst, 0, ROUNDING, 1);
}

static void pooling_follows_its_definition(void **state)
{
  (void)state;
  ForEachTable(CheckPools);
}

/* Pooling of f x + s, and the way back to x, against the kernels that go by way of f x + s itself. */
static double FusedError(const CkLanes *k, const CkLanesWindow *w, PetscBool add)
{
  const CkLanesChannels c = {.channels = w->planes, .pixels = (size_t)(w->in[0] * w->in[1]), .plane = w->in_plane};
  const size_t          L = (size_t)k->lanes, n = (size_t)w->planes * L, in = n * w->in_plane, out = n * w->out_plane;
  float                *x = Packs(in), *f = Packs(n), *s = Packs(n), *g = Packs(n), *e = Packs(out), *mid = Packs(in);
  float                *y[2] = {Packs(out), Packs(out)}, *d[2] = {Packs(in), Packs(in)}, *before = Packs(out);
  int                  *arg[2];
  double                worst = 0;

  for (int i = 0; i < 2; ++i) arg[i] = (int *)aligned_alloc(64, (out * sizeof(int) / 64 + 1) * 64);
  for (size_t i = 0; i < in; ++i) x[i] = (float)Draw(-3, 3); /* ties; exact products with f */
  for (size_t i = 0; i < n; ++i) f[i] = (float)Draw(-2, 2) / 2, s[i] = (float)Draw(-2, 2);
  memcpy(d[1], d[0], in * sizeof(float));
  k->affine(&c, PETSC_FALSE, f, x, s, mid);
  k->max_pool(w, mid, y[0], arg[0]);
  k->max_pool_affine(w, f, s, x, y[1], arg[1], before);
  k->max_pool_back(w, PETSC_FALSE, arg[0], e, mid);
  k->affine2(&c, add, f, mid, g, x, s, d[0]);
  k->affine_pooled(w, add, f, arg[1], e, g, x, s, d[1]);
  for (int plane = 0; plane < w->planes; ++plane) {
    for (size_t i = 0; i < (size_t)(w->out[0] * w->out[1]) * L; ++i) {
      const size_t at = (size_t)plane * w->out_plane * L + i;
      const size_t source = ((size_t)plane * w->in_plane + (size_t)arg[0][at]) * L + i % L;

      if (y[0][at] != y[1][at] || arg[0][at] != arg[1][at] || before[at] != x[source]) worst = 1;
    }
    for (size_t i = 0; i < c.pixels * L; ++i) {
      const size_t at = (size_t)plane * w->in_plane * L + i;

      worst = Worst(worst, (double)d[1][at], (double)d[0][at], 10);
    }
  }
  for (int i = 0; i < 2; ++i) free(y[i]), free(d[i]), free(arg[i]);
  free(x), free(f), free(s), free(g), free(e), free(mid), free(before);
  return worst;
}

static void CheckFusedPools(const CkLanes *k)
{
  for (int trial = 0; trial < 200; ++trial) {
    const CkLanesWindow w = NewWindow();

    assert_close(FusedError(k, &w, (PetscBool)(trial % 3 == 0)), 0, ROUNDING, 1);
  }
}

static void pooling_of_a_norm_follows_its_definition(void **state)
{
  (void)state;
  ForEachTable(CheckFusedPools);
}

/* A NaN wins its window, as in the reference engine: it must reach the loss. */
static void CheckNaN(const CkLanes *k)
{
  const CkLanesWindow w = {
    .planes = 1, .in = {1, 3}, .out = {1, 1}, .kernel = {1, 3}, .stride = {1, 3}, .in_plane = 3, .out_plane = 1};
  float *x = Packs(3 * (size_t)k->lanes), *y = Packs((size_t)k->lanes), *slope = Packs((size_t)k->lanes);
  int   *arg = (int *)aligned_alloc(64, 64);

  for (int at = 0; at < 3; ++at) {
    for (int i = 0; i < 3 * k->lanes; ++i) x[i] = (float)i;
    x[at * k->lanes + 1] = NAN;
    k->max_pool(&w, x, y, arg);
    assert_on_all_ranks(isnan(y[1]) && arg[1] == at && !isnan(y[0]) && arg[0] == 2);
  }
  x[0] = NAN;
  k->relu(1, x, y);
  assert_on_all_ranks(isnan(y[0]));
  k->softplus(1, x, y, slope);
  assert_on_all_ranks(isnan(y[0]));
  k->tanh(1, x, y, slope);
  assert_on_all_ranks(isnan(y[0]));
  k->sigmoid(1, x, y, slope);
  assert_on_all_ranks(isnan(y[0]));
  free(x), free(y), free(slope), free(arg);
}

static void nan_is_not_swallowed(void **state)
{
  (void)state;
  ForEachTable(CheckNaN);
}

typedef struct {
  void (*kernel)(size_t n, const float *x, float *y, float *slope);
  double (*exact)(double x);
  double (*slope)(double x);
} Activation;

static double TanhSlope(double x)
{
  return 1 / (cosh(x) * cosh(x));
}

static double Sigmoid(double x)
{
  return 1 / (1 + exp(-x));
}

static double SigmoidSlope(double x)
{
  return Sigmoid(x) * Sigmoid(-x);
}

static double Softplus(double x)
{
  return x > 0 ? x + log1p(exp(-x)) : log1p(exp(x));
}

/* Values and slopes to some units in the last place (6e-8), however saturated. */
static void CheckActivations(const CkLanes *k)
{
  const Activation all[] = {
    {k->tanh, tanh, TanhSlope}, {k->sigmoid, Sigmoid, SigmoidSlope}, {k->softplus, Softplus, Sigmoid}};
  const size_t n = 2000, numbers = n * (size_t)k->lanes;
  float       *x = Packs(numbers), *y = Packs(numbers), *slope = Packs(numbers);

  for (size_t a = 0; a < 3; ++a) {
    double value = 0, worst = 0;

    for (size_t i = 0; i < numbers; ++i) x[i] = (float)(((double)i / (double)numbers - 0.5) * 80) * (i % 3 ? 1 : 0.01F);
    all[a].kernel(n, x, y, slope);
    for (size_t i = 0; i < numbers; ++i) {
      const double exact = all[a].exact((double)x[i]), steep = all[a].slope((double)x[i]);

      value = Worst(value, (double)y[i], exact, fabs(exact));
      worst = Worst(worst, (double)slope[i], steep, steep);
    }
    assert_close(value, 0, 5 * 6e-8, 1);
    assert_close(worst, 0, 8 * 6e-8, 1);
  }
  free(x), free(y), free(slope);
}

static void CheckRelu(const CkLanes *k)
{
  const size_t n = 50 * (size_t)k->lanes;
  float       *x = Packs(n), *y = Packs(n), *e = Packs(n), *d = Packs(n), *sum = Packs(n);

  x[0] = 0;
  memcpy(sum, x, n * sizeof(float));
  k->relu(50, x, y);
  k->relu_back(50, PETSC_FALSE, y, e, d);
  k->relu_back(50, PETSC_TRUE, y, e, sum);
  for (size_t i = 0; i < n; ++i) {
    assert_on_all_ranks(y[i] == (x[i] > 0 ? x[i] : 0));
    assert_on_all_ranks(d[i] == (x[i] > 0 ? e[i] : 0));
    assert_on_all_ranks(sum[i] == x[i] + d[i]);
  }
  free(x), free(y), free(e), free(d), free(sum);
}

static void activations_are_accurate(void **state)
{
  (void)state;
  ForEachTable(CheckActivations);
  ForEachTable(CheckRelu);
}

/* Rows to packs and back with missing lanes; frames; channel coefficients; sums. */
static void CheckLayouts(const CkLanes *k)
{
  const size_t L = (size_t)k->lanes, width = 37, ld = 41;
  float       *rows = Packs(L * ld), *packs = Packs(width * L), *again = Packs(L * ld);

  for (int n = 1; n <= k->lanes; ++n) {
    memset(again, 0, L * ld * sizeof(float));
    k->from_rows(n, width, ld, rows, packs);
    k->to_rows(n, width, ld, packs, again);
    for (size_t j = 0; j < L; ++j)
      for (size_t i = 0; i < width; ++i) {
        assert_on_all_ranks(packs[i * L + j] == (j < (size_t)n ? rows[j * ld + i] : 0));
        assert_on_all_ranks(again[j * ld + i] == (j < (size_t)n ? rows[j * ld + i] : 0));
      }
  }
  free(rows), free(packs), free(again);
}

static void layouts_are_converted(void **state)
{
  (void)state;
  ForEachTable(CheckLayouts);
}

/* Sums over chunks and lanes with weights, against double precision; nothing is written behind n. */
static void CheckWeightedSums(const CkLanes *k)
{
  double worst = 0;

  for (int trial = 0; trial < 40; ++trial) {
    const int    m = Draw(1, 4), chunks = Draw(1, 5), n = Draw(1, 70), L = k->lanes;
    const size_t step = (size_t)(Draw(n, 90) * L), ld = (size_t)Draw(n + 1, 90);
    float       *g = Packs((size_t)chunks * step), *s = Packs((size_t)(m * chunks * L)), *sums = Packs((size_t)m * ld);

    for (size_t i = 0; i < (size_t)m * ld; ++i) sums[i] = 7;
    k->weighted_sums(m, chunks, (size_t)n, step, g, s, ld, sums);
    for (int j = 0; j < m; ++j) {
      for (int i = 0; i < n; ++i) {
        double sum = 0, scale = 1;

        for (int p = 0; p < chunks * L; ++p) {
          const double term =
            (double)s[j * chunks * L + p] * (double)g[(size_t)(p / L) * step + (size_t)(i * L + p % L)];

          sum += term;
          scale += fabs(term);
        }
        worst = Worst(worst, (double)sums[(size_t)j * ld + (size_t)i], sum, scale);
      }
      assert_on_all_ranks(sums[(size_t)j * ld + (size_t)n] == 7);
    }
    free(g), free(s), free(sums);
  }
  assert_close(worst, 0, ROUNDING, 1);
}

static void weighted_sums_are_sums(void **state)
{
  (void)state;
  ForEachTable(CheckWeightedSums);
}

static void CheckChannels(const CkLanes *k)
{
  const size_t          L = (size_t)k->lanes;
  const CkLanesChannels c = {.channels = 3, .pixels = 5, .plane = 7};
  const size_t          size = 21 * L;
  float *x = Packs(size), *e = Packs(size), *f = Packs(3 * L), *g = Packs(3 * L), *s = Packs(3 * L), *y = Packs(size);
  float *one = Packs(size), *two = Packs(size);
  double first[3 * CK_LANES_MAX], second[3 * CK_LANES_MAX], squares[CK_LANES_MAX], products[CK_LANES_MAX];

  memcpy(one, y, size * sizeof(float));
  memcpy(two, y, size * sizeof(float));
  k->affine(&c, PETSC_TRUE, f, x, s, one);
  k->affine(&c, PETSC_FALSE, f, one, NULL, one);
  k->affine2(&c, PETSC_TRUE, f, x, g, e, s, two);
  k->moments(&c, x, e, first, second);
  for (size_t i = 0; i < 3; ++i)
    for (size_t j = 0; j < L; ++j) {
      const double fi = (double)f[i * L + j], gi = (double)g[i * L + j], si = (double)s[i * L + j];
      double       sum = 0, product = 0;

      for (size_t p = 0; p < 5; ++p) {
        const size_t at = (i * 7 + p) * L + j;
        const double xi = (double)x[at], ei = (double)e[at];

        assert_close((double)one[at], fi * ((double)y[at] + fi * xi + si), ROUNDING, 3);
        assert_close((double)two[at], (double)y[at] + fi * xi + gi * ei + si, ROUNDING, 4);
        sum += xi;
        product += xi * ei;
      }
      assert_close(first[i * L + j], sum, 1e-14, 5);
      assert_close(second[i * L + j], product, 1e-14, 5);
    }
  k->unit_sums(7, x, e, squares, products);
  for (size_t j = 0; j < L; ++j) {
    double square = 0, product = 0;

    for (size_t i = 0; i < 7; ++i) {
      square += (double)x[i * L + j] * (double)x[i * L + j];
      product += (double)x[i * L + j] * (double)e[i];
    }
    assert_close(squares[j], square, ROUNDING, 7);
    assert_close(products[j], product, ROUNDING, 7);
  }
  free(x), free(e), free(f), free(g), free(s), free(y), free(one), free(two);
}

static void channels_and_sums(void **state)
{
  (void)state;
  ForEachTable(CheckChannels);
}

static void CheckFrames(const CkLanes *k)
{
  for (int trial = 0; trial < 30; ++trial) {
    const int     L = k->lanes, h = Draw(1, 5), w = Draw(1, 5), ph = Draw(0, 2), pw = Draw(0, 2);
    const int     fh = h + ph + Draw(0, 3), fw = w + pw + Draw(0, 3);
    CkLanesWindow frame = {
      .planes = 2, .in = {h, w}, .out = {fh, fw}, .padding = {ph, pw}, .in_plane = (size_t)(h * w + 1)};
    float *x, *framed, *back;

    frame.out_plane = (size_t)(fh * fw + 2);
    x = Packs(2 * frame.in_plane * (size_t)L);
    back = Packs(2 * frame.in_plane * (size_t)L);
    framed = Packs(2 * frame.out_plane * (size_t)L);
    memset(framed, 0, 2 * frame.out_plane * (size_t)L * sizeof(float));
    k->frame(&frame, x, framed);
    k->unframe(&frame, PETSC_FALSE, framed, back);
    k->unframe(&frame, PETSC_TRUE, framed, back);
    for (int i = 0; i < 2 * fh * fw * L; ++i) {
      const int plane = i / (fh * fw * L), r = i / (fw * L) % fh - ph, c = i / L % fw - pw,
                inside = r >= 0 && r < h && c >= 0 && c < w;
      const size_t at = ((size_t)plane * frame.in_plane + (size_t)(r * w + c)) * (size_t)L + (size_t)(i % L);

      assert_on_all_ranks(framed[(size_t)plane * frame.out_plane * (size_t)L + (size_t)(i % (fh * fw * L))] ==
                          (inside ? x[at] : 0));
      if (inside) assert_on_all_ranks(back[at] == 2 * x[at]);
    }
    free(x), free(framed), free(back);
  }
}

static void frames_hold_the_image(void **state)
{
  (void)state;
  ForEachTable(CheckFrames);
}

static void CheckReductions(const CkLanes *k)
{
  const size_t L = (size_t)k->lanes, n = 23;
  float       *x = Packs(n * L), *y = Packs(n * L), *s = Packs(L), *scaled = Packs(2 * n * L);
  double       sums[CK_LANES_MAX], squares[CK_LANES_MAX], total[23];

  k->dot(n, x, y, sums);
  k->dot_squares(n, x, y, squares);
  k->scale(n, x, s, 2, scaled);
  for (size_t i = 0; i < n; ++i) total[i] = 10;
  k->lane_sums(n, x, total);
  for (size_t j = 0; j < L; ++j) {
    double sum = 0, square = 0;

    for (size_t i = 0; i < n; ++i) {
      const double term = (double)x[i * L + j] * (double)y[i * L + j];

      sum += term;
      square += term * term;
      total[i] -= (double)x[i * L + j];
      assert_on_all_ranks(scaled[2 * i * L + j] == x[i * L + j] * s[j]);
    }
    assert_close(sums[j], sum, ROUNDING, n);
    assert_close(squares[j], square, ROUNDING, n);
  }
  for (size_t i = 0; i < n; ++i) assert_close(total[i], 10, ROUNDING, L);
  k->multiply(n, PETSC_TRUE, x, y, x);
  k->copy(n, PETSC_TRUE, x, x);
  k->multiply(n, PETSC_FALSE, x, y, scaled);
  for (size_t i = 0; i < n * L; ++i) assert_on_all_ranks(scaled[i] == x[i] * y[i]);
  free(x), free(y), free(s), free(scaled);
}

static void reductions_run_over_all_packs(void **state)
{
  (void)state;
  ForEachTable(CheckReductions);
}

static const struct CMUnitTest tests[] = {cmocka_unit_test(product_is_the_convolution),
                                          cmocka_unit_test(winograd_is_the_convolution),
                                          cmocka_unit_test(winograd_gradient_is_that_of_each_sample),
                                          cmocka_unit_test(scatter_is_the_transpose),
                                          cmocka_unit_test(outer_is_the_gradient_of_each_sample),
                                          cmocka_unit_test(pooled_gradients_are_the_same),
                                          cmocka_unit_test(pooling_follows_its_definition),
                                          cmocka_unit_test(pooling_of_a_norm_follows_its_definition),
                                          cmocka_unit_test(nan_is_not_swallowed),
                                          cmocka_unit_test(activations_are_accurate),
                                          cmocka_unit_test(layouts_are_converted),
                                          cmocka_unit_test(weighted_sums_are_sums),
                                          cmocka_unit_test(channels_and_sums),
                                          cmocka_unit_test(frames_hold_the_image),
                                          cmocka_unit_test(reductions_run_over_all_packs)};

CK_TEST_MAIN(tests, PetscInitialize, PetscFinalize)
