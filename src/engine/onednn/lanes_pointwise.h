/* Part of lanes_kernels.h: element by element, and conversions between rows of samples and packs. */

KERNEL void Scale(size_t n, const float *x, const float *s, size_t stride, float *y)
{
  const Pack *in = (const Pack *)x, factor = *(const Pack *)s;
  Pack       *out = (Pack *)y;

  for (size_t i = 0; i < n; ++i) out[i * stride] = in[i] * factor;
}

KERNEL void LaneSums(size_t n, const float *g, double out[])
{
  for (size_t i = 0; i < n; ++i) {
    const float *x = g + i * LANES;
    float        half[LANES / 2];

    for (int k = 0; k < LANES / 2; ++k) half[k] = x[k] + x[k + LANES / 2];
    for (int width = LANES / 4; width > 0; width /= 2)
      for (int k = 0; k < width; ++k) half[k] += half[k + width];
    out[i] += (double)half[0];
  }
}

/* Exchanges the blocks beside the diagonal of 2s x 2s numbers: with s = 1, 2, 4, .. in turn a transposition. */
#define LOW_LANE(l, s) ((l) & (s) ? LANES + (l) - (s) : (l))
#define HIGH_LANE(l, s) ((l) & (s) ? LANES + (l) : (l) + (s))
#define LANES_4(f, l, s) f(l, s), f((l) + 1, s), f((l) + 2, s), f((l) + 3, s)
#if LANES == 16
#define LANES_ALL(f, s) LANES_4(f, 0, s), LANES_4(f, 4, s), LANES_4(f, 8, s), LANES_4(f, 12, s)
#elif LANES == 8
#define LANES_ALL(f, s) LANES_4(f, 0, s), LANES_4(f, 4, s)
#else
#define LANES_ALL(f, s) LANES_4(f, 0, s)
#endif
#define EXCHANGE(x, s)                                                                                                 \
  for (int i = 0; i < LANES; ++i) {                                                                                    \
    const Pack low = (x)[i & ~(s)], high = (x)[i | (s)];                                                               \
                                                                                                                       \
    if (i & (s)) continue;                                                                                             \
    (x)[i] = __builtin_shufflevector(low, high, LANES_ALL(LOW_LANE, s));                                               \
    (x)[i | (s)] = __builtin_shufflevector(low, high, LANES_ALL(HIGH_LANE, s));                                        \
  }

INLINE void Transpose(Pack x[LANES])
{
  EXCHANGE(x, 1)
  EXCHANGE(x, 2)
#if LANES >= 8
  EXCHANGE(x, 4)
#endif
#if LANES >= 16
  EXCHANGE(x, 8)
#endif
}

/* One step of the sums over the lanes of LANES packs: those of pairs s apart share a pack. */
#define FOLD_PAIRS(x, s)                                                                                               \
  for (int i = 0; i < LANES; i += 2 * (s)) {                                                                           \
    const Pack low = (x)[i], high = (x)[i + (s)];                                                                      \
                                                                                                                       \
    (x)[i] = __builtin_shufflevector(low, high, LANES_ALL(LOW_LANE, s)) +                                              \
             __builtin_shufflevector(low, high, LANES_ALL(HIGH_LANE, s));                                              \
  }

/* The sum over the lanes of x[i] in lane i. */
INLINE Pack LaneTotals(Pack x[LANES])
{
  FOLD_PAIRS(x, 1)
  FOLD_PAIRS(x, 2)
#if LANES >= 8
  FOLD_PAIRS(x, 4)
#endif
#if LANES >= 16
  FOLD_PAIRS(x, 8)
#endif
  return x[0];
}

KERNEL void WeightedSums(int m, int chunks, size_t n, size_t step, const float *g, const float *s, size_t ld,
                         float *sums)
{
  for (size_t first = 0; first < n; first += LANES) {
    const size_t count = n - first < LANES ? n - first : LANES;
    const Pack  *weight = (const Pack *)s;

    for (int j = 0; j < m; ++j, weight += chunks) {
      Pack x[LANES], total;

      for (size_t e = 0; e < LANES; ++e) x[e] = (Pack){0};
      for (int c = 0; c < chunks; ++c) {
        const Pack *from = (const Pack *)(g + (size_t)c * step) + first, w = weight[c];

        if (count == LANES)
          for (size_t e = 0; e < LANES; ++e) x[e] += w * from[e];
        else
          for (size_t e = 0; e < count; ++e) x[e] += w * from[e];
      }
      total = LaneTotals(x);
      memcpy(sums + (size_t)j * ld + first, &total, count * sizeof(float));
    }
  }
}

KERNEL void FromRows(int n, size_t width, size_t ld, const float *rows, float *packs)
{
  size_t i = 0;

  for (; n == LANES && i + LANES <= width; i += LANES) {
    Pack x[LANES];

    for (size_t k = 0; k < LANES; ++k) memcpy(&x[k], rows + k * ld + i, sizeof(Pack));
    Transpose(x);
    memcpy(packs + i * LANES, x, sizeof(x));
  }
  for (; i < width; ++i)
    for (int k = 0; k < LANES; ++k) packs[i * LANES + (size_t)k] = k < n ? rows[(size_t)k * ld + i] : 0;
}

KERNEL void ToRows(int n, size_t width, size_t ld, const float *packs, float *rows)
{
  size_t i = 0;

  for (; i + LANES <= width; i += LANES) {
    Pack x[LANES];

    memcpy(x, packs + i * LANES, sizeof(x));
    Transpose(x);
    for (size_t k = 0; k < (size_t)n; ++k) memcpy(rows + k * ld + i, &x[k], sizeof(Pack));
  }
  for (; i < width; ++i)
    for (size_t k = 0; k < (size_t)n; ++k) rows[k * ld + i] = packs[i * LANES + k];
}

KERNEL void Multiply(size_t n, PetscBool add, const float *x, const float *f, float *y)
{
  const Pack *in = (const Pack *)x, *factor = (const Pack *)f;
  Pack       *out = (Pack *)y;

  if (add)
    for (size_t i = 0; i < n; ++i) out[i] += in[i] * factor[i];
  else
    for (size_t i = 0; i < n; ++i) out[i] = in[i] * factor[i];
}

KERNEL void Copy(size_t n, PetscBool add, const float *x, float *y)
{
  const Pack *in = (const Pack *)x;
  Pack       *out = (Pack *)y;

  if (add)
    for (size_t i = 0; i < n; ++i) out[i] += in[i];
  else
    for (size_t i = 0; i < n; ++i) out[i] = in[i];
}

/*
  x = k log 2 + r, |r| <= log(2)/2: e^r - 1 by its Taylor series of degree 8 (remainder 2e-10), power = 2^k.
  Arguments beyond +-87 are clamped; NaN stays NaN.
*/
INLINE Pack ExpReduced(Pack x, Pack *power)
{
  const float series[] = {1.0F / 40320, 1.0F / 5040, 1.0F / 720, 1.0F / 120, 1.0F / 24, 1.0F / 6, 0.5F};
  const Pack  low = (Pack){0} - 87, high = (Pack){0} + 87, magic = (Pack){0} + 0x1.8p23F;
  Pack        k, r, p;

  x = SELECT(x < low, low, x);
  x = SELECT(x > high, high, x);
  k = x * 1.44269504F + magic;
  *power = (Pack)(((Mask)k + 127) << 23); /* the magic number's bits leave with the shift */
  k -= magic;
  r = (x - k * 0x1.62e4p-1F) - k * 0x1.7f7d1cp-20F; /* log 2 in two parts, the first exact for |k| < 2^8 */
  p = (Pack){0} + series[0];
  for (int i = 1; i < 7; ++i) p = p * r + series[i];
  return p * r * r + r;
}

/* With u = e^-|x|, or e^-2|x| for tanh, every value and slope below is a quotient of sums of positive terms: no
   cancellation, however saturated the unit. Slopes from values (1 - y^2) would lose all digits there. */

INLINE Pack MinusMagnitude(Pack x)
{
  return SELECT(x > 0, -x, x);
}

/* tanh x = (1 - u)/(1 + u), slope 4 u/(1 + u)^2 */
INLINE Pack PackTanh(Pack x, Pack *slope)
{
  Pack       power;
  const Pack e = ExpReduced(2 * MinusMagnitude(x), &power), u = power * e + power;
  const Pack minus = (power * e + (power - 1)) / (1 + u); /* e^-2|x| - 1 without cancellation */

  *slope = 4 * u / ((1 + u) * (1 + u));
  return SELECT(x > 0, -minus, minus);
}

/* 1/(1 + u) or u/(1 + u), slope u/(1 + u)^2 */
INLINE Pack PackSigmoid(Pack x, Pack *slope)
{
  Pack       power;
  const Pack e = ExpReduced(MinusMagnitude(x), &power), u = power * e + power;

  *slope = u / ((1 + u) * (1 + u));
  return SELECT(x > 0, 1 / (1 + u), u / (1 + u));
}

/* log(1 + e^x) = max(x, 0) + log(1 + u), slope the sigmoid; log(1 + u) = 2 artanh(s), s = u/(2 + u) <= 1/3: terms below
   2e-9 are left out. */
INLINE Pack PackSoftplus(Pack x, Pack *slope)
{
  Pack       power, p = (Pack){0} + 2.0F / 17;
  const Pack e = ExpReduced(MinusMagnitude(x), &power), u = power * e + power, s = u / (2 + u), square = s * s;

  for (int i = 15; i > 0; i -= 2) p = p * square + 2.0F / (float)i;
  *slope = SELECT(x > 0, 1 / (1 + u), u / (1 + u));
  return WHERE(~(x < 0), x) + p * s;
}

#define ACTIVATION(name)                                                                                               \
  KERNEL void name(size_t n, const float *x, float *y, float *slope)                                                   \
  {                                                                                                                    \
    const Pack *in = (const Pack *)x;                                                                                  \
    Pack       *out = (Pack *)y, *slopes = (Pack *)slope;                                                              \
                                                                                                                       \
    for (size_t i = 0; i < n; ++i) out[i] = Pack##name(in[i], &slopes[i]);                                             \
  }

ACTIVATION(Tanh)
ACTIVATION(Sigmoid)
ACTIVATION(Softplus)

KERNEL void Relu(size_t n, const float *x, float *y)
{
  const Pack *in = (const Pack *)x;
  Pack       *out = (Pack *)y;

  for (size_t i = 0; i < n; ++i) out[i] = WHERE(~(in[i] < 0), in[i]); /* NaN stays NaN */
}

KERNEL void ReluBack(size_t n, PetscBool add, const float *y, const float *e, float *d)
{
  const Pack *out = (const Pack *)y, *from = (const Pack *)e;
  Pack       *to = (Pack *)d;

  if (add)
    for (size_t i = 0; i < n; ++i) to[i] += WHERE(out[i] > 0, from[i]);
  else
    for (size_t i = 0; i < n; ++i) to[i] = WHERE(out[i] > 0, from[i]);
}
