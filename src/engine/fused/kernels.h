#pragma once
#include <clarkia/net.h>

/*
  kernels.h: the arithmetic of fused training. Arrays of a batch are *rows*, one a sample, of `ld` numbers: the units of
  a layer side by side in SIMD lanes, filled up with zeros to a multiple of `lanes`. Nothing is transposed, a layer of
  few units needs few registers, and sums over the samples are sums of rows.

  Arrays are aligned to 64 bytes. Rows beyond the batch may be computed on: they hold numbers of no meaning.
*/
enum { CK_FUSED_ROWS = 8 }; /* product() and head() take their rows in groups of up to so many */

/* One entry of the state: g <- g + l2 x, v <- mu v + g, x <- x - eta v, or with Nesterov x <- x - eta (g + mu v). */
typedef struct {
  double    rate, momentum, l2;
  PetscBool nesterov;
} CkFusedMove;

/* The loss head of n rows of logits, in float64 (head.h); delta: rows of the same ld, scale times the derivative. All
   arrays have room for a multiple of CK_FUSED_ROWS samples. */
typedef struct {
  CkHead         head;
  size_t         n, classes, ld;
  const float   *logits;
  const int32_t *labels;
  double         scale;
  double        *values; /* [n] f_k */
  float         *delta;
  double        *work; /* [classes x lanes] */
} CkFusedHead;

typedef struct {
  const char *name;
  size_t      lanes;

  /* y[k] = x[index[k]], whole rows */
  void (*gather)(size_t rows, size_t ld, const PetscInt *index, const float *x, float *y);
  /* y[k, o] = b[o] + sum_i x[k, i] w[i, o] for at least `rows` rows; w [in x ldy], b [ldy] or NULL: 0. */
  void (*product)(size_t rows, size_t in, const float *x, size_t ldx, const float *w, const float *b, float *y,
                  size_t ldy);
  /* g[a, b] = sum_k x[k, a] y[k, b], g [m x ldy]; float32 over CK_FUSED_SUM rows, float64 beyond. */
  void (*outer)(size_t rows, size_t m, const float *x, size_t ldx, const float *y, size_t ldy, double *g);
  /* first[u] = sum_k e[k, u], second[u] = sum_k e[k, u] x[k, u], float64 */
  void (*moments)(size_t rows, size_t ld, const float *e, const float *x, double *first, double *second);
  /* sums[u] = sum_k e[k, u], float64 */
  void (*sums)(size_t rows, size_t ld, const float *e, double *sums);
  /* y = f x + s, then max(y, 0) if relu */
  void (*affine)(size_t rows, size_t ld, const float *f, const float *x, const float *s, PetscBool relu, float *y);
  /* d = f e + g x + s; d may be e */
  void (*affine2)(size_t rows, size_t ld, const float *f, const float *e, const float *g, const float *x,
                  const float *s, float *d);
  /* n numbers, a multiple of lanes: x = max(x, 0); e = 0 where y <= 0 */
  void (*relu)(size_t n, float *x);
  void (*relu_back)(size_t n, const float *y, float *e);
  /* n entries, a multiple of lanes; w: x in single precision */
  void (*move)(const CkFusedMove *move, size_t n, const double *g, double *v, double *x, float *w);
  /* sum: of the values, not finite if one of them is not; correct: right predictions, which rows with a NaN are not. */
  void (*head)(const CkFusedHead *head, double *sum, PetscInt *correct);
} CkFusedKernels;

/* Rows added in single precision: half their number times 2^-24 bounds the relative error of a sum. */
enum { CK_FUSED_SUM = 128 };

/* The widest that CkLanesGet() allows. */
const CkFusedKernels *CkFusedKernelsGet(void);

extern const CkFusedKernels CkFusedPortable;
#if defined(__x86_64__)
extern const CkFusedKernels CkFusedAVX2, CkFusedAVX512;
#endif
