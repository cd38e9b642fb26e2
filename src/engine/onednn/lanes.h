#pragma once
#include <clarkia/base.h>

/*
  lanes.h: the engine's own kernels. A *chunk* is a group of `lanes` samples that run side by side, sample k of the
  chunk in lane k of the SIMD registers; a *pack* is one number (a feature, a derivative, an entry of a gradient) of
  each of them. An array of a chunk holds packs in the order (channel, row, column). Every number of channels and every
  window then fills the registers, and per-sample weight gradients cost no more than batched ones.

  Measured on one core (AVX2, peak 110 GFLOP/s) against oneDNN 2.6.3 in its own blocked layouts: 90-100 GFLOP/s forward,
  backward and for per-sample gradients of all shapes with weights up to half a megabyte, where oneDNN has 20-90
  forward, 6-100 backward and 6-72 for per-sample gradients. With larger weights oneDNN is faster (linear_create.c).

  Arithmetic of a lane never depends on another lane, nor on how many positions a call brings.
  Counts and offsets are in packs unless said otherwise. Arrays of packs are aligned to 64 bytes.
*/
enum { CK_LANES_MAX = 16, CK_LANES_UNITS = 4 };

/*
  A linear layer as the kernels see it: unit o at position p reads the packs from[p] + tap[t] of its input and stands in
  pack to[p] + o*unit_stride of its output. Weights are packed: blocks of CK_LANES_UNITS units (the last one may be
  narrower), within a block tap by tap; CkLanesPackedIndex().
*/
typedef struct {
  int        units, taps, positions;
  const int *tap;  /* [taps] */
  const int *from; /* [positions] */
  const int *to;   /* [positions] */
  int        unit_stride;
} CkLanesMap;

static inline size_t CkLanesPackedIndex(size_t rows, size_t columns, size_t row, size_t column)
{
  const size_t block = row - row % CK_LANES_UNITS;
  const size_t width = rows - block < CK_LANES_UNITS ? rows - block : CK_LANES_UNITS;

  return block * columns + column * width + (row - block);
}

/*
  Channels of an image stand `plane` packs apart, which is more than height times width where that is a multiple of
  1 kB: else the same pixel of many channels falls into the same few sets of the first-level cache (measured: a factor
  1.2 to 1.6 in scatter(); a gap of nine lines, which keeps stretches of eight apart as well, 1.05 in
  winograd_product()). The gap holds finite numbers of no meaning, zero in arrays of derivatives.
*/
static inline size_t CkLanesPlane(size_t pixels, int lanes)
{
  const size_t bytes = 4 * (size_t)lanes, lines = pixels < 256 ? 1 : 9;

  return pixels > 1 && pixels * bytes % 1024 == 0 ? pixels + lines * 64 / bytes : pixels;
}

/* Pooling: `planes` images of in[0] x in[1] to out[0] x out[1] (height, width), in_plane and out_plane packs apart. */
typedef struct {
  int    planes, in[2], out[2], kernel[2], stride[2], padding[2];
  size_t in_plane, out_plane;
} CkLanesWindow;

typedef struct {
  int    channels;
  size_t pixels, plane;
} CkLanesChannels;

typedef struct {
  int    windows, run;
  size_t plane;
} CkLanesPooled;

/*
  A 3 x 3 convolution of stride 1, computed by Winograd's F(2 x 2, 3 x 3): 16 products where 36 are in the definition.
  Measured on one core (AVX-512, peak 190 GFLOP/s), operations of the definition: 225 GFLOP/s with 16 channels, 275 with
  32, 315 with 64 and more, against 150 to 170 of product(); its results are as accurate (2e-7 to 7e-7, norms). As the
  derivative of the input, with mirrored weights, against 119 to 165 of scatter(). Per-sample gradients by F(2, 3) along
  the rows: with AVX2 97 to 112 GFLOP/s against 81 to 84 of outer(); with AVX-512, where writing them takes the time,
  the same 130 within a pass.
  Images are read and written where they are, padding is zeros. Weights are packed by CkLanesWinogradPack(), point by
  point of the transform (0 .. 15), in each as [units x channels], or by rows: CkLanesWinogradIndex().
*/
typedef struct {
  int    units, channels, in[2], out[2], padding[2]; /* height, width; padding: above, to the left */
  int    tiles[2];                                   /* of 2 x 2 outputs */
  size_t in_plane, out_plane;
} CkLanesWinograd;

enum {
  CK_WINOGRAD_CHANNELS = 64,  /* transformed at a time */
  CK_WINOGRAD_ROW_PACKS = 12, /* by rows: packs of a channel, or of a unit, at a time */
};

/* Whether winograd_product() goes row by row of the transform: few channels, so that what it holds of one row fits the
   first-level cache. All points of more channels pass through the second-level cache: with 16 channels 1.17 times
   slower, with 32 1.03, with 48 the same. */
static inline PetscBool CkLanesWinogradByRows(const CkLanesWinograd *m)
{
  return (PetscBool)(m->channels <= 32 && m->channels <= m->units);
}

/* Place of a packed weight. By rows: blocks of two units (the last one may be narrower) in each of the four rows,
   within a block channel by channel the row's four points. */
static inline size_t CkLanesWinogradIndex(const CkLanesWinograd *m, size_t point, size_t unit, size_t channel)
{
  const size_t units = (size_t)m->units, channels = (size_t)m->channels, block = unit - unit % 2;
  const size_t width = units - block < 2 ? 1 : 2;

  if (!CkLanesWinogradByRows(m)) return point * units * channels + CkLanesPackedIndex(units, channels, unit, channel);
  return ((point / 4 * units + block) * channels + channel * width) * 4 + point % 4 * width + (unit - block);
}

/* Packs from point to point of transformed numbers: an odd number, so that the points do not fall into one set. */
static inline size_t CkLanesWinogradStep(int rows, int width)
{
  return (size_t)rows * (size_t)width | 1;
}

/* Tiles at a time: so few that their transforms (numbers of channels and units) stay in the second-level cache. */
static inline int CkLanesWinogradTiles(const CkLanesWinograd *m)
{
  return m->channels + m->units > 85 ? 6 : 12;
}

/* Gradients of windows: channels and units at a time, pairs of output columns and rows of a band. */
enum { CK_GRADIENT_GROUP = 32, CK_GRADIENT_PAIRS = 32, CK_GRADIENT_BAND = 64 };

static inline int CkLanesGradientRows(const CkLanesWinograd *m)
{
  const int pairs = m->tiles[1] < CK_GRADIENT_PAIRS ? m->tiles[1] : CK_GRADIENT_PAIRS, rows = CK_GRADIENT_BAND / pairs;

  return rows < m->out[0] ? rows : m->out[0];
}

/* Products of per-sample gradients with one vector, taken while the gradients are in the registers: sums[lane] += sum
   over entries i of v[i] times pack i. */
typedef struct {
  const float *v;    /* [entries] */
  double      *sums; /* [lanes] */
} CkLanesSlopes;

typedef struct {
  const char *name;
  int         lanes;

  /* y[o, p] = b[o] + sum_t w[o, t] x[p, t]; add: += without b (which may be NULL). w packed [units x taps]. */
  void (*product)(const CkLanesMap *map, PetscBool add, const float *w, const float *b, const float *x, float *y);
  /* x[p, t] += sum_o w[o, t] d[o, p]; w packed [taps x units], that is, in blocks of taps. */
  void (*scatter)(const CkLanesMap *map, const float *w, const float *d, float *x);
  /* g[(o*taps + t)*stride] = sum_p d[o, p] x[p, t], and g[(units*taps + o)*stride] = sum_p d[o, p] if shift; add: += ;
     slopes: of these gradients, NULL: none. */
  void (*outer)(const CkLanesMap *map, PetscBool add, PetscBool shift, const float *x, const float *d, float *g,
                size_t stride, const CkLanesSlopes *slopes);

  /* The same as product() for a CkLanesWinograd; scratch: CkLanesWinogradScratch() packs. */
  void (*winograd_product)(const CkLanesWinograd *map, PetscBool add, const float *w, const float *b, const float *x,
                           float *y, float *scratch);
  /* and as outer() */
  void (*winograd_gradient)(const CkLanesWinograd *map, PetscBool add, PetscBool shift, const float *x, const float *d,
                            float *g, size_t stride, const CkLanesSlopes *slopes, float *scratch);

  /* One lane of outer(), not added, where only one position of each pooling window has a derivative: e [units x
     windows] and the positions arg, a unit's packs `plane` packs apart, of the lane alone are read. image: the sample's
     x, numbers in the places of packs and lanes - 1 more behind; taps come in runs of `run` <= lanes neighbours. */
  void (*outer_pooled)(const CkLanesMap *map, const CkLanesPooled *pooled, int lane, PetscBool shift,
                       const float *image, const float *e, const int32_t *arg, float *g, size_t stride);

  /* sums[lane] = sum_i x[i] y[i] over n packs */
  void (*dot)(size_t n, const float *x, const float *y, double sums[]);
  /* sums[lane] = sum_i (x[i] y[i])^2 */
  void (*dot_squares)(size_t n, const float *x, const float *y, double sums[]);
  /* For n packs x and n numbers w: squares[lane] = sum x[i]^2, products[lane] = sum w[i] x[i] */
  void (*unit_sums)(size_t n, const float *x, const float *w, double squares[], double products[]);
  /* y[i*stride] = x[i] s, s [lanes] */
  void (*scale)(size_t n, const float *x, const float *s, size_t stride, float *y);
  /* out[i] += sum over the lanes of g[i], n packs */
  void (*lane_sums)(size_t n, const float *g, double out[]);

  /* sums[j*ld + i] = sum over chunks c and lanes of s[j, c] g_c[i], n packs i of each chunk, `step` numbers from chunk
     to chunk; s [m x chunks] packs */
  void (*weighted_sums)(int m, int chunks, size_t n, size_t step, const float *g, const float *s, size_t ld,
                        float *sums);

  /* rows [n x width], row stride ld numbers, to width packs (missing lanes zero) and back */
  void (*from_rows)(int n, size_t width, size_t ld, const float *rows, float *packs);
  void (*to_rows)(int n, size_t width, size_t ld, const float *packs, float *rows);

  /* Element by element, in place or not; slope: the derivative. relu_back: d = e where y > 0, else 0; add: d += */
  void (*tanh)(size_t n, const float *x, float *y, float *slope);
  void (*sigmoid)(size_t n, const float *x, float *y, float *slope);
  void (*softplus)(size_t n, const float *x, float *y, float *slope);
  void (*relu)(size_t n, const float *x, float *y);
  void (*relu_back)(size_t n, PetscBool add, const float *y, const float *e, float *d);
  /* y = x f element by element; add: += */
  void (*multiply)(size_t n, PetscBool add, const float *x, const float *f, float *y);
  /* y = x; add: += */
  void (*copy)(size_t n, PetscBool add, const float *x, float *y);

  /* Images: `arg` holds the place in the plane of each window's first largest number (a NaN is largest). */
  void (*max_pool)(const CkLanesWindow *w, const float *x, float *y, int32_t *arg);
  /* The same of f x + s, a pack of each coefficient a plane; before: the x that each y comes from. */
  void (*max_pool_affine)(const CkLanesWindow *w, const float *f, const float *s, const float *x, float *y,
                          int32_t *arg, float *before);
  void (*max_pool_back)(const CkLanesWindow *w, PetscBool add, const int32_t *arg, const float *e, float *d);
  void (*average_pool)(const CkLanesWindow *w, const float *x, float *y);
  void (*average_pool_back)(const CkLanesWindow *w, PetscBool add, const float *e, float *d);
  /* The image x inside a frame of zeros, out[0] x out[1] in all, that is already there; and back (add: d += ). */
  void (*frame)(const CkLanesWindow *w, const float *x, float *framed);
  void (*unframe)(const CkLanesWindow *w, PetscBool add, const float *framed, float *d);

  /* Channel by channel, one pack of each coefficient a channel: y = f x + s (s NULL: none), or y = f x + g e +
     s; add: += */
  void (*affine)(const CkLanesChannels *c, PetscBool add, const float *f, const float *x, const float *s, float *y);
  void (*affine2)(const CkLanesChannels *c, PetscBool add, const float *f, const float *x, const float *g,
                  const float *e, const float *s, float *y);
  /* y = f e + g x + s, where e stands in each window's place `arg` alone; add: += */
  void (*affine_pooled)(const CkLanesWindow *w, PetscBool add, const float *f, const int32_t *arg, const float *e,
                        const float *g, const float *x, const float *s, float *y);
  /* Per channel and lane, float64: first = sum x, second = sum x y (y may be x). [channels x lanes] */
  void (*moments)(const CkLanesChannels *c, const float *x, const float *y, double first[], double second[]);
} CkLanes;

/* Packs of scratch memory that a map's kernels want. */
size_t CkLanesWinogradScratch(const CkLanesWinograd *map);
/* w [units x channels x 3 x 3] transformed and packed for winograd_product(): 16 numbers where there were 9. mirrored:
   the weights of the input's derivative, that is [channels x units] with both window axes turned round; map: of that
   convolution. */
void CkLanesWinogradPack(const CkLanesWinograd *map, PetscBool mirrored, const double w[], float packed[]);

/* The widest kernels that both this processor and oneDNN's limit (DNNL_MAX_CPU_ISA) allow. */
const CkLanes *CkLanesGet(void);

extern const CkLanes CkLanesPortable;
#if defined(__x86_64__)
extern const CkLanes CkLanesAVX2, CkLanesAVX512;
#endif
