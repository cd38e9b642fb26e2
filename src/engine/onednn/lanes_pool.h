/* Part of lanes_kernels.h: images. */

/* Rows or columns of the window of output i that lie on the image. */
typedef struct {
  int first, last;
} Span;

INLINE Span SpanOf(const CkLanesWindow *w, int axis, int i)
{
  const int start = i * w->stride[axis] - w->padding[axis], end = start + w->kernel[axis];

  return (Span){start < 0 ? 0 : start, end > w->in[axis] ? w->in[axis] : end};
}

/* Place of a window in the output. */
INLINE size_t OutPlace(const CkLanesWindow *w, int plane, int oh, int ow)
{
  return (size_t)plane * w->out_plane + (size_t)(oh * w->out[1] + ow);
}

#define FOR_WINDOWS(w)                                                                                                 \
  for (int plane = 0; plane < (w)->planes; ++plane)                                                                    \
    for (int oh = 0; oh < (w)->out[0]; ++oh)                                                                           \
      for (int ow = 0; ow < (w)->out[1]; ++ow)

/* f, s NULL: largest of x; else of f x + s, and `before` gets the x it comes from. */
INLINE void MaxPoolPlane(const CkLanesWindow *w, int plane, const Pack *f, const Pack *s, const Pack *in, Pack *out,
                         Mask *place, Pack *before)
{
  const Pack factor = f ? f[plane] : (Pack){0}, shift = f ? s[plane] : (Pack){0};

  for (int oh = 0; oh < w->out[0]; ++oh)
    for (int ow = 0; ow < w->out[1]; ++ow) {
      const Span rows = SpanOf(w, 0, oh), columns = SpanOf(w, 1, ow);
      const int  start = rows.first * w->in[1] + columns.first;
      Mask       best = (Mask){0} + start;
      Pack       source = in[start], most = f ? source * factor + shift : source;

      for (int r = rows.first; r < rows.last; ++r)
        for (int c = columns.first; c < columns.last; ++c) {
          const int  at = r * w->in[1] + c;
          const Pack x = in[at], value = f ? x * factor + shift : x;
          const Mask better = (value > most) | (value != value);

          most = SELECT(better, value, most);
          best = (better & at) | (~better & best);
          if (f) source = SELECT(better, x, source);
        }
      out[OutPlace(w, plane, oh, ow)] = most;
      place[OutPlace(w, plane, oh, ow)] = best;
      if (f) before[OutPlace(w, plane, oh, ow)] = source;
    }
}

KERNEL void MaxPool(const CkLanesWindow *w, const float *x, float *y, int32_t *arg)
{
  for (int plane = 0; plane < w->planes; ++plane)
    MaxPoolPlane(w, plane, NULL, NULL, (const Pack *)x + (size_t)plane * w->in_plane, (Pack *)y, (Mask *)arg, NULL);
}

KERNEL void MaxPoolAffine(const CkLanesWindow *w, const float *f, const float *s, const float *x, float *y,
                          int32_t *arg, float *before)
{
  for (int plane = 0; plane < w->planes; ++plane)
    MaxPoolPlane(w, plane, (const Pack *)f, (const Pack *)s, (const Pack *)x + (size_t)plane * w->in_plane, (Pack *)y,
                 (Mask *)arg, (Pack *)before);
}

/* Windows that touch nothing twice and leave nothing out. */
INLINE PetscBool AreTiles(const CkLanesWindow *w)
{
  return (PetscBool)(w->padding[0] == 0 && w->padding[1] == 0 && w->kernel[0] == w->stride[0] &&
                     w->kernel[1] == w->stride[1] && w->out[0] * w->stride[0] == w->in[0] &&
                     w->out[1] * w->stride[1] == w->in[1]);
}

KERNEL void MaxPoolBack(const CkLanesWindow *w, PetscBool add, const int32_t *arg, const float *e, float *d)
{
  const Pack     *from = (const Pack *)e;
  const Mask     *place = (const Mask *)arg;
  const PetscBool tiles = (PetscBool)(!add && AreTiles(w)); /* write instead of adding to zeros */

  if (!add && !tiles) memset(d, 0, (size_t)w->planes * w->in_plane * sizeof(Pack));
  FOR_WINDOWS(w)
  {
    Pack      *to = (Pack *)d + (size_t)plane * w->in_plane;
    const Span rows = SpanOf(w, 0, oh), columns = SpanOf(w, 1, ow);
    const Pack delta = from[OutPlace(w, plane, oh, ow)];
    const Mask best = place[OutPlace(w, plane, oh, ow)];

    for (int r = rows.first; r < rows.last; ++r)
      for (int c = columns.first; c < columns.last; ++c) {
        const int  at = r * w->in[1] + c;
        const Pack share = WHERE(best == at, delta);

        if (tiles) to[at] = share;
        else to[at] += share;
      }
  }
}

KERNEL void AveragePool(const CkLanesWindow *w, const float *x, float *y)
{
  const float part = 1 / ((float)w->kernel[0] * (float)w->kernel[1]);
  Pack       *out = (Pack *)y;

  FOR_WINDOWS(w)
  {
    const Pack *in = (const Pack *)x + (size_t)plane * w->in_plane;
    const Span  rows = SpanOf(w, 0, oh), columns = SpanOf(w, 1, ow);
    Pack        sum = {0};

    for (int r = rows.first; r < rows.last; ++r)
      for (int c = columns.first; c < columns.last; ++c) sum += in[r * w->in[1] + c];
    out[OutPlace(w, plane, oh, ow)] = sum * part;
  }
}

KERNEL void AveragePoolBack(const CkLanesWindow *w, PetscBool add, const float *e, float *d)
{
  const float part = 1 / ((float)w->kernel[0] * (float)w->kernel[1]);
  const Pack *from = (const Pack *)e;

  if (!add) memset(d, 0, (size_t)w->planes * w->in_plane * sizeof(Pack));
  FOR_WINDOWS(w)
  {
    Pack      *to = (Pack *)d + (size_t)plane * w->in_plane;
    const Span rows = SpanOf(w, 0, oh), columns = SpanOf(w, 1, ow);
    const Pack share = from[OutPlace(w, plane, oh, ow)] * part;

    for (int r = rows.first; r < rows.last; ++r)
      for (int c = columns.first; c < columns.last; ++c) to[r * w->in[1] + c] += share;
  }
}

INLINE Pack *FrameRow(const CkLanesWindow *w, float *framed, int plane, int row)
{
  return (Pack *)framed + (size_t)plane * w->out_plane + (size_t)((row + w->padding[0]) * w->out[1] + w->padding[1]);
}

KERNEL void Frame(const CkLanesWindow *w, const float *x, float *framed)
{
  for (int plane = 0; plane < w->planes; ++plane)
    for (int r = 0; r < w->in[0]; ++r) {
      const Pack *in = (const Pack *)x + (size_t)plane * w->in_plane + (size_t)(r * w->in[1]);
      Pack       *to = FrameRow(w, framed, plane, r);

      for (int c = 0; c < w->in[1]; ++c) to[c] = in[c];
    }
}

KERNEL void Unframe(const CkLanesWindow *w, PetscBool add, const float *framed, float *d)
{
  for (int plane = 0; plane < w->planes; ++plane)
    for (int r = 0; r < w->in[0]; ++r) {
      const Pack *from = FrameRow(w, (float *)framed, plane, r);
      Pack       *to = (Pack *)d + (size_t)plane * w->in_plane + (size_t)(r * w->in[1]);

      if (add)
        for (int c = 0; c < w->in[1]; ++c) to[c] += from[c];
      else
        for (int c = 0; c < w->in[1]; ++c) to[c] = from[c];
    }
}

KERNEL void Affine(const CkLanesChannels *c, PetscBool add, const float *f, const float *x, const float *s, float *y)
{
  const Pack *in = (const Pack *)x;
  Pack       *out = (Pack *)y;

  for (int k = 0; k < c->channels; ++k, in += c->plane, out += c->plane) {
    const Pack factor = ((const Pack *)f)[k], shift = s ? ((const Pack *)s)[k] : (Pack){0};

    if (add)
      for (size_t i = 0; i < c->pixels; ++i) out[i] += in[i] * factor + shift;
    else
      for (size_t i = 0; i < c->pixels; ++i) out[i] = in[i] * factor + shift;
  }
}

KERNEL void Affine2(const CkLanesChannels *c, PetscBool add, const float *f, const float *x, const float *g,
                    const float *e, const float *s, float *y)
{
  const Pack *a = (const Pack *)x, *b = (const Pack *)e;
  Pack       *out = (Pack *)y;

  for (int k = 0; k < c->channels; ++k, a += c->plane, b += c->plane, out += c->plane) {
    const Pack fa = ((const Pack *)f)[k], fb = ((const Pack *)g)[k], shift = ((const Pack *)s)[k];

    if (add)
      for (size_t i = 0; i < c->pixels; ++i) out[i] += a[i] * fa + (b[i] * fb + shift);
    else
      for (size_t i = 0; i < c->pixels; ++i) out[i] = a[i] * fa + (b[i] * fb + shift);
  }
}

/* Tiles: each number once, its window's derivative where it was the largest. */
INLINE void AffinePooledTiles(const CkLanesWindow *w, int plane, Pack factor, Pack slope, Pack shift, const Mask *place,
                              const Pack *e, const Pack *in, Pack *out)
{
  for (int oh = 0; oh < w->out[0]; ++oh)
    for (int ow = 0; ow < w->out[1]; ++ow) {
      const size_t window = OutPlace(w, plane, oh, ow);
      const Pack   delta = factor * e[window];
      const Mask   best = place[window];

      for (int r = oh * w->stride[0]; r < (oh + 1) * w->stride[0]; ++r)
        for (int c = ow * w->stride[1]; c < (ow + 1) * w->stride[1]; ++c) {
          const int at = r * w->in[1] + c;

          out[at] = WHERE(best == at, delta) + (in[at] * slope + shift);
        }
    }
}

KERNEL void AffinePooled(const CkLanesWindow *w, PetscBool add, const float *f, const int32_t *arg, const float *e,
                         const float *g, const float *x, const float *s, float *y)
{
  const PetscBool       tiles = (PetscBool)(!add && AreTiles(w));
  const CkLanesChannels all = {
    .channels = w->planes, .pixels = (size_t)w->in[0] * (size_t)w->in[1], .plane = w->in_plane};

  if (!tiles) Affine(&all, add, g, x, s, y);
  for (int plane = 0; plane < w->planes; ++plane) {
    const Pack *in = (const Pack *)x + (size_t)plane * w->in_plane, factor = ((const Pack *)f)[plane];
    Pack       *out = (Pack *)y + (size_t)plane * w->in_plane;

    if (tiles)
      AffinePooledTiles(w, plane, factor, ((const Pack *)g)[plane], ((const Pack *)s)[plane], (const Mask *)arg,
                        (const Pack *)e, in, out);
    else
      for (int window = 0; window < w->out[0] * w->out[1]; ++window) {
        const size_t at = OutPlace(w, plane, 0, window);

        for (int k = 0; k < LANES; ++k)
          ((float *)&out[arg[at * LANES + (size_t)k]])[k] += factor[k] * e[at * LANES + (size_t)k];
      }
  }
}

/* Adds `width` half packs. */
INLINE void AddMoments(int width, const float *x, const float *y, Doubles *sum, Doubles *product)
{
  for (int k = 0; k < width; ++k) {
    const Doubles value = ToDoubles(x + k * (LANES / 2));

    sum[k] += value;
    product[k] += value * ToDoubles(y + k * (LANES / 2));
  }
}

KERNEL void Moments(const CkLanesChannels *c, const float *x, const float *y, double first[], double second[])
{
  for (int channel = 0; channel < c->channels; ++channel, x += c->plane * LANES, y += c->plane * LANES) {
    Doubles sum[4] = {{0}, {0}, {0}, {0}}, product[4] = {{0}, {0}, {0}, {0}};
    size_t  i = 0;

    for (; i + 2 <= c->pixels; i += 2) AddMoments(4, x + i * LANES, y + i * LANES, sum, product); /* hides latency */
    if (i < c->pixels) AddMoments(2, x + i * LANES, y + i * LANES, sum, product);
    for (int k = 0; k < LANES; ++k) {
      const int part = k / (LANES / 2), at = k % (LANES / 2);

      first[channel * LANES + k] = sum[part][at] + sum[part + 2][at];
      second[channel * LANES + k] = product[part][at] + product[part + 2][at];
    }
  }
}
