/* Part of lanes_kernels.h: linear layers. Register blocks of UNITS x LANES_WIDTH accumulators; block sizes are
   constants after inlining, so that accumulators stay in registers. */

/* Calls body(units, width) with constants for the narrower blocks at the edges. */
#define FOR_UNITS(units, width, call)                                                                                  \
  switch (units) {                                                                                                     \
  case 4:                                                                                                              \
    call(4, width);                                                                                                    \
    break;                                                                                                             \
  case 3:                                                                                                              \
    call(3, width);                                                                                                    \
    break;                                                                                                             \
  case 2:                                                                                                              \
    call(2, width);                                                                                                    \
    break;                                                                                                             \
  default:                                                                                                             \
    call(1, width);                                                                                                    \
  }
#if LANES_WIDTH == 6
#define FOR_BLOCK(units, width, call)                                                                                  \
  switch (width) {                                                                                                     \
  case 6:                                                                                                              \
    FOR_UNITS(units, 6, call) break;                                                                                   \
  case 5:                                                                                                              \
    FOR_UNITS(units, 5, call) break;                                                                                   \
  case 4:                                                                                                              \
    FOR_UNITS(units, 4, call) break;                                                                                   \
  case 3:                                                                                                              \
    FOR_UNITS(units, 3, call) break;                                                                                   \
  case 2:                                                                                                              \
    FOR_UNITS(units, 2, call) break;                                                                                   \
  default:                                                                                                             \
    FOR_UNITS(units, 1, call)                                                                                          \
  }
#else
#define FOR_BLOCK(units, width, call)                                                                                  \
  switch (width) {                                                                                                     \
  case 3:                                                                                                              \
    FOR_UNITS(units, 3, call) break;                                                                                   \
  case 2:                                                                                                              \
    FOR_UNITS(units, 2, call) break;                                                                                   \
  default:                                                                                                             \
    FOR_UNITS(units, 1, call)                                                                                          \
  }
#endif

/* Half a pack as doubles; written out, because gcc makes better code of this than of __builtin_convertvector(). */
INLINE Doubles ToDoubles(const float *x)
{
  Doubles y;

  for (int k = 0; k < LANES / 2; ++k) y[k] = (double)x[k];
  return y;
}

/* sums[lane] += x */
INLINE void AddLanes(double *sums, const Pack *x)
{
  for (int k = 0; k < 2; ++k) {
    const Doubles half = ToDoubles((const float *)x + k * (LANES / 2));

    for (int l = 0; l < LANES / 2; ++l) sums[k * (LANES / 2) + l] += half[l];
  }
}

INLINE int Least(int a, int b)
{
  return a < b ? a : b;
}

INLINE void ProductBlock(const CkLanesMap *map, int units, int width, PetscBool add, int unit, int position,
                         const float *w, const float *b, const Pack *x, Pack *y)
{
  const int   taps = map->taps;
  const int  *tap = map->tap;
  const Pack *from[LANES_WIDTH];
  Pack        sum[UNITS][LANES_WIDTH];

  for (int p = 0; p < width; ++p) {
    const Pack *to = y + map->to[position + p] + (size_t)unit * (size_t)map->unit_stride;

    from[p] = x + map->from[position + p];
    for (int o = 0; o < units; ++o)
      sum[o][p] = add ? to[(size_t)o * (size_t)map->unit_stride] : (Pack){0} + (b ? b[unit + o] : 0);
  }
  w += (size_t)unit * (size_t)taps;
  for (int t = 0; t < taps; ++t, w += units) {
    const int at = tap[t];
    Pack      value[LANES_WIDTH];

    for (int p = 0; p < width; ++p) value[p] = from[p][at];
    for (int o = 0; o < units; ++o)
      for (int p = 0; p < width; ++p) sum[o][p] += w[o] * value[p];
  }
  for (int p = 0; p < width; ++p) {
    Pack *to = y + map->to[position + p] + (size_t)unit * (size_t)map->unit_stride;

    for (int o = 0; o < units; ++o) to[(size_t)o * (size_t)map->unit_stride] = sum[o][p];
  }
}

KERNEL void Product(const CkLanesMap *map, PetscBool add, const float *w, const float *b, const float *x, float *y)
{
  const Pack *in = (const Pack *)x;
  Pack       *out = (Pack *)y;

#define PRODUCT(units, width) ProductBlock(map, units, width, add, o, p, w, b, in, out)
  if (map->positions > 4 * LANES_WIDTH) {
    for (int p = 0; p < map->positions; p += LANES_WIDTH)
      for (int o = 0; o < map->units; o += UNITS)
        FOR_BLOCK(Least(UNITS, map->units - o), Least(LANES_WIDTH, map->positions - p), PRODUCT)
  } else { /* few positions, as in a dense layer: pass over the weights once */
    for (int o = 0; o < map->units; o += UNITS)
      for (int p = 0; p < map->positions; p += LANES_WIDTH)
        FOR_BLOCK(Least(UNITS, map->units - o), Least(LANES_WIDTH, map->positions - p), PRODUCT)
  }
#undef PRODUCT
}

/* Blocks of `units` taps (named so because weights are packed as for Product) times `width` positions. */
INLINE void ScatterBlock(const CkLanesMap *map, int units, int width, int tap, int position, const float *w,
                         const Pack *d, Pack *x)
{
  const Pack *from[LANES_WIDTH];
  Pack        sum[UNITS][LANES_WIDTH];

  for (int p = 0; p < width; ++p) {
    from[p] = d + map->to[position + p];
    for (int t = 0; t < units; ++t) sum[t][p] = (Pack){0};
  }
  w += (size_t)tap * (size_t)map->units;
  for (int o = 0; o < map->units; ++o, w += units) {
    Pack value[LANES_WIDTH];

    for (int p = 0; p < width; ++p) value[p] = from[p][(size_t)o * (size_t)map->unit_stride];
    for (int t = 0; t < units; ++t)
      for (int p = 0; p < width; ++p) sum[t][p] += w[t] * value[p];
  }
  for (int p = 0; p < width; ++p) /* windows overlap: one after the other */
    for (int t = 0; t < units; ++t) x[map->from[position + p] + map->tap[tap + t]] += sum[t][p];
}

KERNEL void Scatter(const CkLanesMap *map, const float *w, const float *d, float *x)
{
  const Pack *out = (const Pack *)d;
  Pack       *in = (Pack *)x;

#define SCATTER(units, width) ScatterBlock(map, units, width, t, p, w, out, in)
  for (int p = 0; p < map->positions; p += LANES_WIDTH)
    for (int t = 0; t < map->taps; t += UNITS)
      FOR_BLOCK(Least(UNITS, map->taps - t), Least(LANES_WIDTH, map->positions - p), SCATTER)
#undef SCATTER
}

/* Positions first .. first+n of `units` units times `width` taps; slopes: these positions complete them. */
INLINE void OuterBlock(const CkLanesMap *map, int units, int width, PetscBool add, int first, int n, int unit, int tap,
                       const Pack *x, const Pack *d, float *g, size_t stride, const CkLanesSlopes *slopes)
{
  const int  *from = map->from + first, *to = map->to + first;
  const Pack *in[LANES_WIDTH], *out[UNITS];
  Pack        sum[UNITS][LANES_WIDTH];

  for (int t = 0; t < width; ++t) in[t] = x + map->tap[tap + t];
  for (int o = 0; o < units; ++o) {
    out[o] = d + (size_t)(unit + o) * (size_t)map->unit_stride;
    for (int t = 0; t < width; ++t)
      sum[o][t] =
        add ? *(Pack *)(g + ((size_t)(unit + o) * (size_t)map->taps + (size_t)(tap + t)) * stride) : (Pack){0};
  }
  for (int p = 0; p < n; ++p) {
    const int at = from[p], to_p = to[p];
    Pack      value[LANES_WIDTH];

    for (int t = 0; t < width; ++t) value[t] = in[t][at];
    for (int o = 0; o < units; ++o) {
      const Pack delta = out[o][to_p];

      for (int t = 0; t < width; ++t) sum[o][t] += delta * value[t];
    }
  }
  for (int o = 0; o < units; ++o)
    for (int t = 0; t < width; ++t)
      *(Pack *)(g + ((size_t)(unit + o) * (size_t)map->taps + (size_t)(tap + t)) * stride) = sum[o][t];
  if (slopes) {
    Pack product[UNITS], total;

    for (int o = 0; o < units; ++o) {
      const float *v = slopes->v + (size_t)(unit + o) * (size_t)map->taps + tap;

      product[o] = (Pack){0};
      for (int t = 0; t < width; ++t) product[o] += v[t] * sum[o][t];
    }
    total = product[0];
    for (int o = 1; o < units; ++o) total += product[o];
    AddLanes(slopes->sums, &total);
  }
}

INLINE void UnitTotals(const CkLanesMap *map, PetscBool add, const Pack *d, float *g, size_t stride,
                       const CkLanesSlopes *slopes)
{
  for (int o = 0; o < map->units; ++o) {
    const Pack *out = d + (size_t)o * (size_t)map->unit_stride;
    Pack       *total = (Pack *)(g + (size_t)o * stride), sum = add ? *total : (Pack){0};

    for (int p = 0; p < map->positions; ++p) sum += out[map->to[p]];
    *total = sum;
    if (slopes) {
      sum *= slopes->v[map->units * map->taps + o];
      AddLanes(slopes->sums, &sum);
    }
  }
}

enum { OUTER_POSITIONS = 128 }; /* so that derivatives of UNITS units stay in the first-level cache */

KERNEL void Outer(const CkLanesMap *map, PetscBool add, PetscBool shift, const float *x, const float *d, float *g,
                  size_t stride, const CkLanesSlopes *slopes)
{
  const Pack *in = (const Pack *)x, *out = (const Pack *)d;

#define OUTER(units, width)                                                                                            \
  OuterBlock(map, units, width, (PetscBool)(add || first > 0), first, n, o, t, in, out, g, stride, complete)
  for (int first = 0; first < map->positions; first += OUTER_POSITIONS) {
    const int            n = Least(OUTER_POSITIONS, map->positions - first);
    const CkLanesSlopes *complete = first + n == map->positions ? slopes : NULL;

    for (int o = 0; o < map->units; o += UNITS)
      for (int t = 0; t < map->taps; t += LANES_WIDTH)
        FOR_BLOCK(Least(UNITS, map->units - o), Least(LANES_WIDTH, map->taps - t), OUTER)
  }
#undef OUTER
  if (shift) UnitTotals(map, add, out, g + (size_t)map->units * (size_t)map->taps * stride, stride, slopes);
}

enum { POOLED_RUNS = 6 };

/* Numbers, not packs: LANES neighbours of a sample's image at any address. */
INLINE Pack Neighbours(const float *x)
{
  Pack y;

  memcpy(&y, x, sizeof(y));
  return y;
}

/* Runs first .. first+runs-1 of a unit's taps; two windows at a time hide the latency. */
INLINE void OuterPooledBlock(const CkLanesMap *map, const CkLanesPooled *pooled, int runs, const int *tap,
                             const float *image, const float *e, const int32_t *arg, float *g, size_t stride)
{
  Pack sum[2][POOLED_RUNS];
  int  p = 0;

  for (int r = 0; r < runs; ++r) sum[0][r] = sum[1][r] = (Pack){0};
  for (; p + 2 <= pooled->windows; p += 2)
    for (int j = 0; j < 2; ++j) {
      const float *x = image + map->from[arg[(p + j) * LANES]];

      for (int r = 0; r < runs; ++r) sum[j][r] += e[(p + j) * LANES] * Neighbours(x + tap[r * pooled->run]);
    }
  if (p < pooled->windows)
    for (int r = 0; r < runs; ++r)
      sum[0][r] += e[p * LANES] * Neighbours(image + map->from[arg[p * LANES]] + tap[r * pooled->run]);
  for (int r = 0; r < runs; ++r) {
    const Pack total = sum[0][r] + sum[1][r];

    for (int t = 0; t < pooled->run; ++t) g[(size_t)(r * pooled->run + t) * stride] = total[t];
  }
}

KERNEL void OuterPooled(const CkLanesMap *map, const CkLanesPooled *pooled, int lane, PetscBool shift,
                        const float *image, const float *e, const int32_t *arg, float *g, size_t stride)
{
  const int runs = map->taps / pooled->run;

  for (int o = 0; o < map->units; ++o) {
    const size_t   at = (size_t)o * pooled->plane * LANES + (size_t)lane;
    const float   *out = e + at;
    const int32_t *places = arg + at;
    float          total = 0;

#define POOLED(count)                                                                                                  \
  OuterPooledBlock(map, pooled, count, map->tap + r * pooled->run, image, out, places,                                 \
                   g + ((size_t)o * (size_t)map->taps + (size_t)(r * pooled->run)) * stride + lane, stride)
    for (int r = 0; r < runs; r += POOLED_RUNS) switch (Least(POOLED_RUNS, runs - r)) {
      case 6:
        POOLED(6);
        break;
      case 5:
        POOLED(5);
        break;
      case 4:
        POOLED(4);
        break;
      case 3:
        POOLED(3);
        break;
      case 2:
        POOLED(2);
        break;
      default:
        POOLED(1);
      }
#undef POOLED
    if (!shift) continue;
    for (int p = 0; p < pooled->windows; ++p) total += out[p * LANES];
    g[((size_t)map->units * (size_t)map->taps + (size_t)o) * stride + (size_t)lane] = total;
  }
}

KERNEL void Dot(size_t n, const float *x, const float *y, double sums[])
{
  const Pack *a = (const Pack *)x, *b = (const Pack *)y;
  Pack        sum[4] = {{0}, {0}, {0}, {0}};
  size_t      i = 0;

  for (; i + 4 <= n; i += 4)
    for (int j = 0; j < 4; ++j) sum[j] += a[i + (size_t)j] * b[i + (size_t)j];
  for (; i < n; ++i) sum[0] += a[i] * b[i];
  sum[0] = (sum[0] + sum[1]) + (sum[2] + sum[3]);
  for (int k = 0; k < LANES; ++k) sums[k] = (double)sum[0][k];
}

KERNEL void DotSquares(size_t n, const float *x, const float *y, double sums[])
{
  const Pack *a = (const Pack *)x, *b = (const Pack *)y;
  Pack        sum = {0};

  for (size_t i = 0; i < n; ++i) {
    const Pack product = a[i] * b[i];

    sum += product * product;
  }
  for (int k = 0; k < LANES; ++k) sums[k] = (double)sum[k];
}

KERNEL void UnitSums(size_t n, const float *x, const float *w, double squares[], double products[])
{
  Pack square = {0}, product = {0};

  for (size_t i = 0; i < n; ++i) {
    const Pack value = *(const Pack *)(x + i * LANES);

    square += value * value;
    product += w[i] * value;
  }
  for (int k = 0; k < LANES; ++k) {
    squares[k] = (double)square[k];
    products[k] = (double)product[k];
  }
}
