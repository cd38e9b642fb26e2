/* Part of kernels_body.h: the loss head, LANES/2 samples side by side in float64. */

#define SPLAT(x) ((Doubles){0} + (x))
static const double MAGIC = 0x1.8p52; /* a sum with it has the nearest integer in its low bits */

/*
  e^x for x <= 0: x = k log 2 + r, |r| <= log(2)/2, Taylor series of degree 13 (remainder 4e-18), times 2^k. Below -708
  (2^-1021) the argument is clamped; NaN stays NaN.
*/
INLINE Doubles Exp(Doubles x)
{
  static const double series[] = {
    1. / 6227020800, 1. / 479001600, 1. / 39916800, 1. / 3628800, 1. / 362880, 1. / 40320, 1. / 5040,
    1. / 720,        1. / 120,       1. / 24,       1. / 6,       0.5,         1,          1};
  const Doubles low = SPLAT(-708);
  Doubles       k, r, p = SPLAT(series[0]), power;

  x = SELECT(x < low, low, x);
  k = x * 0x1.71547652b82fep0 + MAGIC;
  power = (Doubles)(((Longs)k + 1023) << 52); /* the magic number's bits leave with the shift */
  k -= MAGIC;
  r = (x - k * 0x1.62e42fee00000p-1) - k * 0x1.a39ef35793c76p-33; /* log 2 in two parts, the first short */
  for (int i = 1; i < 14; ++i) p = p * r + series[i];
  return p * power;
}

/*
  log(1 + x) for x >= 0: u = 1 + x = 2^k m, sqrt(1/2) < m < sqrt 2, log m = 2 atanh(w), w = (m - 1)/(m + 1), |w| <
  0.172, by its series up to w^21 (remainder 2e-18), and (x - (u - 1))/u for what u has lost of x.
*/
INLINE Doubles Log1p(Doubles x)
{
  const Doubles one = SPLAT(1.), u = one + x;
  const Longs   bits = (Longs)u;
  Doubles       k = (Doubles)((bits >> 52) - 1023 + (Longs)SPLAT(MAGIC)) - MAGIC; /* u >= 1: no sign, no borrow */
  Doubles       m = (Doubles)((bits & 0xfffffffffffff) | (Longs)one), w, w2, p = SPLAT(2. / 21);
  const Longs   large = m > SPLAT(0x1.6a09e667f3bcdp0);

  m = SELECT(large, m * 0.5, m);
  k = SELECT(large, k + one, k);
  w = (m - one) / (m + one);
  w2 = w * w;
  for (int i = 19; i > 0; i -= 2) p = p * w2 + 2. / i;
  return k * 0x1.62e42fee00000p-1 + (p * w + (k * 0x1.a39ef35793c76p-33 + (x - (u - one)) / u));
}

/* z [classes] -> derivatives, by (L.5); values f; right: where the first largest logit is the label's. */
INLINE void CrossEntropy(size_t classes, Longs label, Doubles z[], Doubles *f, Longs *right)
{
  Doubles top = z[0], at_label = z[0], others = {0}, wrong = {0}, share;
  Longs   best = {0};

  for (size_t c = 1; c < classes; ++c) {
    const Longs larger = z[c] > top, mine = label == (int64_t)c;

    top = SELECT(larger, z[c], top);
    best = (larger & (int64_t)c) | (~larger & best);
    at_label = SELECT(mine, z[c], at_label);
  }
  *f = top - at_label;
  for (size_t c = 0; c < classes; ++c) {
    const Longs   first = best == (int64_t)c;
    const Doubles e = Exp(z[c] - top);

    others += SELECT(first, SPLAT(0.), e);
    z[c] = SELECT(first, SPLAT(1.) + (z[c] - top), e); /* 1, or NaN */
  }
  share = 1 / (1 + others);
  for (size_t c = 0; c < classes; ++c) {
    z[c] *= share;
    wrong += SELECT(label == (int64_t)c, SPLAT(0.), z[c]);
  }
  for (size_t c = 0; c < classes; ++c) z[c] = SELECT(label == (int64_t)c, -wrong, z[c]);
  *f += Log1p(others);
  *right = best == label;
}

/* Likewise by (L.6). */
INLINE void SquaredError(size_t classes, Longs label, Doubles z[], Doubles *f, Longs *right)
{
  Doubles top = z[0], sum = {0};
  Longs   best = {0};

  for (size_t c = 0; c < classes; ++c) {
    const Longs larger = z[c] > top;

    top = SELECT(larger, z[c], top);
    best = (larger & (int64_t)c) | (~larger & best);
    z[c] -= SELECT(label == (int64_t)c, SPLAT(1.), SPLAT(0.));
    sum += z[c] * z[c];
  }
  *f = 0.5 * sum;
  *right = best == label;
}

/* Samples first .. first+HALF-1, of which `count` are of the batch. */
INLINE void HeadBlock(const CkFusedHead *h, size_t first, size_t count, Doubles *sum, Longs *wrong)
{
  const Longs label = __builtin_convertvector(*(const HalfInts *)(h->labels + first), Longs);
  Doubles    *z = (Doubles *)h->work, f;
  Longs       right, used;

  for (size_t j = 0; j < HALF; ++j) {
    const float *row = h->logits + (first + j) * h->ld;

    used[j] = j < count ? -1 : 0;
    for (size_t c = 0; c < h->classes; ++c) h->work[c * HALF + j] = (double)row[c];
  }
  if (h->head == CK_HEAD_MSE) SquaredError(h->classes, label, z, &f, &right);
  else CrossEntropy(h->classes, label, z, &f, &right);
  *(Doubles *)(h->values + first) = f;
  *sum += SELECT(used, f, SPLAT(0.));
  *wrong += used & ~(right & (f == f)); /* minus 1; a NaN makes it wrong */
  for (size_t c = 0; c < h->classes; ++c) z[c] *= h->scale;
  for (size_t j = 0; j < HALF; ++j) {
    float *row = h->delta + (first + j) * h->ld;

    for (size_t c = 0; c < h->classes; ++c) row[c] = (float)h->work[c * HALF + j];
  }
}

KERNEL void Head(const CkFusedHead *h, double *sum, PetscInt *correct)
{
  Doubles sums = {0};
  Longs   wrong = {0};
  size_t  k = 0;

  for (; k + HALF <= h->n; k += HALF) HeadBlock(h, k, HALF, &sums, &wrong);
  if (k < h->n) HeadBlock(h, k, h->n - k, &sums, &wrong);
  *sum = 0;
  *correct = (PetscInt)h->n;
  for (size_t j = 0; j < HALF; ++j) {
    *sum += sums[j];
    *correct += (PetscInt)wrong[j];
  }
}
