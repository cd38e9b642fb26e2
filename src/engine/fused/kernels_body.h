/*
  kernels_body.h: the kernels of kernels.h, compiled once for each instruction set by a file that defines
    LANES         numbers of a register
    OUTER_ROWS    accumulators of outer(), at most 24
    LANES_TARGET  attribute that selects the instruction set
    LANES_TABLE   name of the table
  Vector types of the compiler, and an intrinsic where it needs help.
*/
#include "kernels.h"
#if LANES == 16
#include <immintrin.h>
#endif
#include <string.h>

typedef float   Pack __attribute__((vector_size(4 * LANES)));
typedef int32_t Mask __attribute__((vector_size(4 * LANES)));
typedef float   Half __attribute__((vector_size(2 * LANES)));
typedef double  Doubles __attribute__((vector_size(4 * LANES))); /* of half a pack */
typedef int32_t HalfInts __attribute__((vector_size(2 * LANES)));
typedef int64_t Longs __attribute__((vector_size(4 * LANES))); /* and their bits */

#define HALF (LANES / 2)
#define KERNEL static LANES_TARGET
#define INLINE static inline __attribute__((always_inline)) LANES_TARGET
#define WHERE(mask, x) ((Pack)((Mask)(x) & (mask)))
#define SELECT(mask, x, y) ((Doubles)(((Longs)(x) & (mask)) | ((Longs)(y) & ~(mask))))

INLINE Doubles Wide(Half x)
{
#if LANES == 16
  return (Doubles)_mm512_cvtps_pd((__m256)x); /* GCC 12 would convert in two halves */
#else
  return __builtin_convertvector(x, Doubles);
#endif
}

INLINE Half Narrow(Doubles x)
{
#if LANES == 16
  return (Half)_mm512_cvtpd_ps((__m512d)x);
#else
  return __builtin_convertvector(x, Half);
#endif
}

#include "kernels_head.h"

/* CK_FUSED_ROWS rows and one pack of units; `x` and `y` start at the group, w and y at the units. */
INLINE void ProductBlock(size_t in, const float *x, size_t ldx, const float *w, Pack b, float *y, size_t ldy)
{
  const float *low = x, *high = x + 4 * ldx;
  Pack         sum[8];

  for (int r = 0; r < 8; ++r) sum[r] = b;
  for (size_t i = 0; i < in; ++i, ++low, ++high, w += ldy) {
    const Pack weight = *(const Pack *)w;

    for (size_t r = 0; r < 4; ++r) {
      sum[r] += low[r * ldx] * weight;
      sum[4 + r] += high[r * ldx] * weight;
    }
  }
  for (size_t r = 0; r < 8; ++r) *(Pack *)(y + r * ldy) = sum[r];
}

KERNEL void Product(size_t rows, size_t in, const float *x, size_t ldx, const float *w, const float *b, float *y,
                    size_t ldy)
{
  for (size_t o = 0; o < ldy; o += LANES) {
    const Pack bias = b ? *(const Pack *)(b + o) : (Pack){0};

    for (size_t k = 0; k < rows; k += CK_FUSED_ROWS)
      ProductBlock(in, x + k * ldx, ldx, w + o, bias, y + k * ldy + o, ldy);
  }
}

/* g[b] = or += sum over both halves of a pack, in double */
INLINE void Widen(Pack sum, PetscBool add, double *g)
{
  const Half *half = (const Half *)&sum;
  Doubles    *out = (Doubles *)g;

  for (int h = 0; h < 2; ++h) {
    const Doubles wide = Wide(half[h]);

    out[h] = add ? out[h] + wide : wide;
  }
}

/* m (a constant) rows of g and one pack of its columns, over at most CK_FUSED_SUM samples. */
INLINE void OuterBlock(int m, size_t rows, const float *x, size_t ldx, const float *y, size_t ldy, PetscBool add,
                       double *g)
{
  Pack sum[OUTER_ROWS];

  for (int a = 0; a < m; ++a) sum[a] = (Pack){0};
  for (size_t k = 0; k < rows; ++k, x += ldx, y += ldy) {
    const Pack pack = *(const Pack *)y;

    for (int a = 0; a < m; ++a) sum[a] += x[a] * pack;
  }
  for (int a = 0; a < m; ++a) Widen(sum[a], add, g + (size_t)a * ldy);
}

#define OUTER_CASE(m)                                                                                                  \
  case m:                                                                                                              \
    OuterBlock(m, rows, x, ldx, y, ldy, add, g);                                                                       \
    break;

/* A constant number of accumulators lets them live in registers. */
KERNEL void OuterStrip(size_t m, size_t rows, const float *x, size_t ldx, const float *y, size_t ldy, PetscBool add,
                       double *g)
{
  switch (m) {
    OUTER_CASE(1)
    OUTER_CASE(2)
    OUTER_CASE(3)
    OUTER_CASE(4)
    OUTER_CASE(5)
    OUTER_CASE(6)
    OUTER_CASE(7)
    OUTER_CASE(8)
    OUTER_CASE(9)
    OUTER_CASE(10)
    OUTER_CASE(11)
    OUTER_CASE(12)
#if OUTER_ROWS > 12
    OUTER_CASE(13)
    OUTER_CASE(14)
    OUTER_CASE(15)
    OUTER_CASE(16)
    OUTER_CASE(17)
    OUTER_CASE(18)
    OUTER_CASE(19)
    OUTER_CASE(20)
    OUTER_CASE(21)
    OUTER_CASE(22)
    OUTER_CASE(23)
    OUTER_CASE(24)
#endif
  }
}

KERNEL void Outer(size_t rows, size_t m, const float *x, size_t ldx, const float *y, size_t ldy, double *g)
{
  const size_t strips = (m + OUTER_ROWS - 1) / OUTER_ROWS;

  for (size_t k = 0; k < rows; k += CK_FUSED_SUM) {
    const size_t n = rows - k < CK_FUSED_SUM ? rows - k : CK_FUSED_SUM;

    for (size_t s = 0; s < strips; ++s) {
      const size_t a = s * m / strips, end = (s + 1) * m / strips; /* strips of equal height, or one less */

      for (size_t b = 0; b < ldy; b += LANES)
        OuterStrip(end - a, n, x + k * ldx + a, ldx, y + k * ldy + b, ldy, (PetscBool)(k > 0), g + a * ldy + b);
    }
  }
}

/* One pack of a row: sum += e, product (NULL: not wanted) += e x */
INLINE void AddRow(const float *e, const float *x, Doubles sum[2], Doubles product[2])
{
  for (size_t h = 0; h < 2; ++h) {
    const Doubles a = Wide(*(const Half *)(e + h * HALF));

    sum[h] += a;
    if (product) product[h] += a * Wide(*(const Half *)(x + h * HALF));
  }
}

/* Even and odd rows apart, so that additions overlap. */
INLINE void AddRows(PetscBool products, size_t rows, size_t ld, const float *e, const float *x, double *first,
                    double *second)
{
  for (size_t u = 0; u < ld; u += LANES) {
    Doubles sum[4] = {{0}}, product[4] = {{0}};
    size_t  k = 0;

    for (; k + 1 < rows; k += 2) {
      AddRow(e + k * ld + u, x + k * ld + u, sum, products ? product : NULL);
      AddRow(e + (k + 1) * ld + u, x + (k + 1) * ld + u, sum + 2, products ? product + 2 : NULL);
    }
    if (k < rows) AddRow(e + k * ld + u, x + k * ld + u, sum, products ? product : NULL);
    for (size_t h = 0; h < 2; ++h) {
      *(Doubles *)(first + u + h * HALF) = sum[h] + sum[2 + h];
      if (products) *(Doubles *)(second + u + h * HALF) = product[h] + product[2 + h];
    }
  }
}

KERNEL void Moments(size_t rows, size_t ld, const float *e, const float *x, double *first, double *second)
{
  AddRows(PETSC_TRUE, rows, ld, e, x, first, second);
}

KERNEL void Sums(size_t rows, size_t ld, const float *e, double *sums)
{
  AddRows(PETSC_FALSE, rows, ld, e, e, sums, NULL);
}

KERNEL void Gather(size_t rows, size_t ld, const PetscInt *index, const float *x, float *y)
{
  for (size_t k = 0; k < rows; ++k, y += ld) {
    const float *row = x + (size_t)index[k] * ld;

    for (size_t i = 0; i < ld; i += LANES) *(Pack *)(y + i) = *(const Pack *)(row + i);
  }
}

KERNEL void Affine(size_t rows, size_t ld, const float *f, const float *x, const float *s, PetscBool relu, float *y)
{
  for (size_t u = 0; u < ld; u += LANES) {
    const Pack factor = *(const Pack *)(f + u), shift = *(const Pack *)(s + u);

    for (size_t k = 0; k < rows; ++k) {
      const Pack out = factor * *(const Pack *)(x + k * ld + u) + shift;

      *(Pack *)(y + k * ld + u) = relu ? WHERE(~(out <= 0), out) : out; /* a NaN stays */
    }
  }
}

KERNEL void Affine2(size_t rows, size_t ld, const float *f, const float *e, const float *g, const float *x,
                    const float *s, float *d)
{
  for (size_t u = 0; u < ld; u += LANES) {
    const Pack factor = *(const Pack *)(f + u), slope = *(const Pack *)(g + u), shift = *(const Pack *)(s + u);

    for (size_t k = 0; k < rows; ++k)
      *(Pack *)(d + k * ld + u) =
        factor * *(const Pack *)(e + k * ld + u) + (slope * *(const Pack *)(x + k * ld + u) + shift);
  }
}

KERNEL void Relu(size_t n, float *x)
{
  for (size_t i = 0; i < n; i += LANES) {
    Pack *p = (Pack *)(x + i);

    *p = WHERE(~(*p <= 0), *p);
  }
}

KERNEL void ReluBack(size_t n, const float *y, float *e)
{
  for (size_t i = 0; i < n; i += LANES) {
    Pack *p = (Pack *)(e + i);

    *p = WHERE(*(const Pack *)(y + i) > 0, *p);
  }
}

KERNEL void Move(const CkFusedMove *move, size_t n, const double *g, double *v, double *x, float *w)
{
  const Doubles rate = (Doubles){0} + move->rate, momentum = (Doubles){0} + move->momentum;
  const Doubles l2 = (Doubles){0} + move->l2;

  for (size_t i = 0; i < n; i += HALF) {
    Doubles      *point = (Doubles *)(x + i), *velocity = (Doubles *)(v + i);
    const Doubles gradient = *(const Doubles *)(g + i) + l2 * *point;

    *velocity = momentum * *velocity + gradient;
    *point -= rate * (move->nesterov ? gradient + momentum * *velocity : *velocity);
    *(Half *)(w + i) = Narrow(*point);
  }
}

const CkFusedKernels LANES_TABLE = {.name = LANES_NAME,
                                    .lanes = LANES,
                                    .gather = Gather,
                                    .product = Product,
                                    .outer = Outer,
                                    .moments = Moments,
                                    .sums = Sums,
                                    .affine = Affine,
                                    .affine2 = Affine2,
                                    .relu = Relu,
                                    .relu_back = ReluBack,
                                    .move = Move,
                                    .head = Head};
