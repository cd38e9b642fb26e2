/* Part of lanes_kernels.h: per-sample gradients of 3 x 3 windows by the transpose of Winograd's F(2, 3) along the rows.
   Pairs e of neighbouring derivatives and the four inputs d that they meet give, for each row of the window,
     G' [sum over pairs of (A e) . (B' d)],   A e = (e0, e0 + e1, e0 - e1, -e1),  B' d = (d0 - d2, d1 + d2, d2 - d1, d1
   - d3),  G' h = (h0 + (h1 + h2)/2, (h1 - h2)/2, (h1 + h2)/2 + h3): 4 products where there are 6, and G' only once a
   sample. Transformed numbers stand [channel or unit][point 0 .. 3] [row][pair]: bands of rows and pairs that fit the
   first-level cache. */

enum { WINDOW = 3, SUMS = 12, GRADIENT_CHANNELS = LANES_WIDTH / WINDOW };

typedef struct {
  int row, rows, pair, pairs; /* first and number; pairs of output columns */
} Band;

/* B' d of n pairs in one row of the image, from input `column` on; inside: none is beyond its edges. */
INLINE void InputPairs(PetscBool inside, const Pack *row, int columns, int column, int n, size_t step, Pack *to)
{
#define INPUT(at) (inside || ((at) >= 0 && (at) < columns) ? row[at] : (Pack){0})
  Pack d0 = INPUT(column), d1 = INPUT(column + 1);

  for (int p = 0; p < n; ++p, ++to, column += 2) {
    const Pack d2 = INPUT(column + 2), d3 = INPUT(column + 3);

    to[0] = d0 - d2;
    to[step] = d1 + d2;
    to[2 * step] = d2 - d1;
    to[3 * step] = d1 - d3;
    d0 = d2;
    d1 = d3;
  }
#undef INPUT
}

/* B' d of a channel: rows band.row - padding .. + band.rows + 2 of the image, zero outside. */
INLINE void BandInputs(const CkLanesWinograd *m, const Band *band, const Pack *x, Pack *to)
{
  const int    columns = m->in[1], n = band->pairs, column = 2 * band->pair - m->padding[1];
  const size_t step = (size_t)((band->rows + 2) * n);
  int          first = 0, last = n; /* pairs that are inside */

  while (first < n && column + 2 * first < 0) ++first;
  while (last > first && column + 2 * last + 2 > columns) --last;
  for (int r = 0; r < band->rows + 2; ++r, to += n) {
    const int   row = band->row + r - m->padding[0];
    const Pack *from = x + (ptrdiff_t)row * columns;

    if (row < 0 || row >= m->in[0]) {
      for (size_t point = 0; point < 4; ++point) memset(to + point * step, 0, (size_t)n * sizeof(Pack));
      continue;
    }
    if (first > 0) InputPairs(PETSC_FALSE, from, columns, column, first, step, to);
    if (last > first) InputPairs(PETSC_TRUE, from, columns, column + 2 * first, last - first, step, to + first);
    if (last < n) InputPairs(PETSC_FALSE, from, columns, column + 2 * last, n - last, step, to + last);
  }
}

/* A e of a unit. */
INLINE void BandDerivatives(const CkLanesWinograd *m, const Band *band, const Pack *e, Pack *to)
{
  const size_t step = (size_t)(band->rows * band->pairs);

  for (int r = 0; r < band->rows; ++r)
    for (int p = 0; p < band->pairs; ++p, ++to) {
      const int   column = 2 * (band->pair + p);
      const Pack *from = e + (size_t)(band->row + r) * (size_t)m->out[1] + column;
      const Pack  first = from[0], second = column + 1 < m->out[1] ? from[1] : (Pack){0};

      to[0] = first;
      to[step] = first + second;
      to[2 * step] = first - second;
      to[3 * step] = -second;
    }
}

/* Sums of one point: `units` units, `channels` channels, three rows of the window; h: from unit to unit h_unit packs.
 */
INLINE void SumsBlock(int units, int channels, PetscBool add, const Band *band, const Pack *e, size_t e_unit,
                      const Pack *v, size_t v_channel, Pack *h, size_t h_unit)
{
  const int n = band->rows * band->pairs, row = band->pairs;
  Pack      sum[UNITS][GRADIENT_CHANNELS][WINDOW];

  for (int o = 0; o < units; ++o)
    for (int c = 0; c < channels; ++c)
      for (int r = 0; r < WINDOW; ++r)
        sum[o][c][r] = add ? h[(size_t)o * h_unit + (size_t)(c * SUMS + 4 * r)] : (Pack){0};
  for (int i = 0; i < n; ++i) {
    Pack value[GRADIENT_CHANNELS][WINDOW];

    for (int c = 0; c < channels; ++c)
      for (int r = 0; r < WINDOW; ++r) value[c][r] = v[(size_t)c * v_channel + (size_t)(r * row + i)];
    for (int o = 0; o < units; ++o) {
      const Pack delta = e[(size_t)o * e_unit + (size_t)i];

      for (int c = 0; c < channels; ++c)
        for (int r = 0; r < WINDOW; ++r) sum[o][c][r] += delta * value[c][r];
    }
  }
  for (int o = 0; o < units; ++o)
    for (int c = 0; c < channels; ++c)
      for (int r = 0; r < WINDOW; ++r) h[(size_t)o * h_unit + (size_t)(c * SUMS + 4 * r)] = sum[o][c][r];
}

INLINE void SumsOf(int units, int channels, PetscBool add, const Band *band, const Pack *e, size_t e_unit,
                   const Pack *v, size_t v_channel, Pack *h, size_t h_unit)
{
#define SUMS_BLOCK(count, width) SumsBlock(count, width, add, band, e, e_unit, v, v_channel, h, h_unit)
  if (channels < GRADIENT_CHANNELS) { /* the last of an odd number */
    FOR_UNITS(units, 1, SUMS_BLOCK)
  } else {
    FOR_UNITS(units, GRADIENT_CHANNELS, SUMS_BLOCK)
  }
#undef SUMS_BLOCK
}

/* g = G' h of one unit and channel; v: part of the vector of slopes, product += g v; NULL: none. */
INLINE void Window(PetscBool add, const Pack *h, float *g, size_t stride, const float *v, Pack *product)
{
  for (size_t r = 0; r < WINDOW; ++r, h += 4) {
    const Pack plus = (h[1] + h[2]) * 0.5f, taps[WINDOW] = {h[0] + plus, (h[1] - h[2]) * 0.5f, plus + h[3]};

    for (size_t k = 0; k < WINDOW; ++k) {
      Pack *entry = (Pack *)(g + (WINDOW * r + k) * stride), value = taps[k] + (add ? *entry : (Pack){0});

      *entry = value;
      if (v) *product += v[WINDOW * r + k] * value;
    }
  }
}

/* A group of units and channels, no more than CK_GRADIENT_GROUP of each; g: of their first. */
typedef struct {
  const CkLanesWinograd *m;
  int                    units, channels;
  const Pack            *x, *e;
  PetscBool              add;
  float                 *g;
  size_t                 stride;
  const CkLanesSlopes   *slopes; /* NULL: none; v: of the group's first window */
} GradientGroup;

/* Windows of some units and channels; h: [h_unit] packs a unit, SUMS a channel. */
INLINE void Windows(const GradientGroup *q, int unit, int units, int channel, int channels, const Pack *h,
                    size_t h_unit)
{
  Pack product = {0};

  for (int i = 0; i < units; ++i)
    for (int j = 0; j < channels; ++j) {
      const size_t at = ((size_t)(unit + i) * (size_t)q->m->channels + (size_t)(channel + j)) * 9;

      Window(q->add, h + (size_t)i * h_unit + (size_t)(j * SUMS), q->g + at * q->stride, q->stride,
             q->slopes ? q->slopes->v + at : NULL, &product);
    }
  if (q->slopes) AddLanes(q->slopes->sums, &product);
}

/* The image is one band: sums are complete at once. */
INLINE void GradientWhole(const GradientGroup *q, const Band *band, const Pack *e, size_t e_unit, const Pack *v,
                          size_t v_channel)
{
  Pack h[UNITS][GRADIENT_CHANNELS * SUMS];

  for (int o = 0; o < q->units; o += UNITS)
    for (int c = 0; c < q->channels; c += GRADIENT_CHANNELS) {
      const int units = Least(UNITS, q->units - o), channels = Least(GRADIENT_CHANNELS, q->channels - c);

      for (size_t point = 0; point < 4; ++point)
        SumsOf(units, channels, PETSC_FALSE, band, e + (size_t)o * e_unit + point * (e_unit / 4), e_unit,
               v + (size_t)c * v_channel + point * (v_channel / 4), v_channel, &h[0][point],
               (size_t)(GRADIENT_CHANNELS * SUMS));
      Windows(q, o, units, c, channels, &h[0][0], (size_t)(GRADIENT_CHANNELS * SUMS));
    }
}

/* Adds a band to the sums h [units x channels x SUMS]. */
INLINE void GradientBand(const GradientGroup *q, const Band *band, PetscBool add, const Pack *e, size_t e_unit,
                         const Pack *v, size_t v_channel, Pack *h)
{
  const size_t h_unit = (size_t)q->channels * SUMS;

  for (size_t point = 0; point < 4; ++point)
    for (int o = 0; o < q->units; o += UNITS)
      for (int c = 0; c < q->channels; c += GRADIENT_CHANNELS)
        SumsOf(Least(UNITS, q->units - o), Least(GRADIENT_CHANNELS, q->channels - c), add, band,
               e + (size_t)o * e_unit + point * (e_unit / 4), e_unit,
               v + (size_t)c * v_channel + point * (v_channel / 4), v_channel,
               h + (size_t)o * h_unit + (size_t)(c * SUMS) + point, h_unit);
}

INLINE void Gradient(const GradientGroup *q, Pack *scratch)
{
  const CkLanesWinograd *m = q->m;
  const int              rows = CkLanesGradientRows(m), pairs = Least(CK_GRADIENT_PAIRS, m->tiles[1]);
  const PetscBool        whole = (PetscBool)(rows == m->out[0] && pairs == m->tiles[1]);
  Pack                  *v = scratch, *e = v + (size_t)q->channels * (size_t)(4 * (rows + 2) * pairs),
       *h = e + (size_t)q->units * (size_t)(4 * rows * pairs);

  for (int row = 0; row < m->out[0]; row += rows)
    for (int pair = 0; pair < m->tiles[1]; pair += pairs) {
      const Band   band = {row, Least(rows, m->out[0] - row), pair, Least(pairs, m->tiles[1] - pair)};
      const size_t e_unit = (size_t)(4 * band.rows * band.pairs);
      const size_t v_channel = (size_t)(4 * (band.rows + 2) * band.pairs);

      for (int c = 0; c < q->channels; ++c)
        BandInputs(m, &band, q->x + (size_t)c * m->in_plane, v + (size_t)c * v_channel);
      for (int o = 0; o < q->units; ++o)
        BandDerivatives(m, &band, q->e + (size_t)o * m->out_plane, e + (size_t)o * e_unit);
      if (whole) GradientWhole(q, &band, e, e_unit, v, v_channel);
      else GradientBand(q, &band, (PetscBool)(row > 0 || pair > 0), e, e_unit, v, v_channel, h);
    }
  for (int o = 0; o < q->units && !whole; ++o)
    Windows(q, o, 1, 0, q->channels, h + (size_t)(o * q->channels) * SUMS, 0);
}

INLINE void DerivativeTotals(const CkLanesWinograd *m, PetscBool add, const Pack *e, float *g, size_t stride,
                             const CkLanesSlopes *slopes)
{
  for (int o = 0; o < m->units; ++o) {
    const Pack *from = e + (size_t)o * m->out_plane;
    Pack       *total = (Pack *)(g + (size_t)o * stride), sum = add ? *total : (Pack){0};

    for (int p = 0; p < m->out[0] * m->out[1]; ++p) sum += from[p];
    *total = sum;
    if (slopes) {
      sum *= slopes->v[9 * m->units * m->channels + o];
      AddLanes(slopes->sums, &sum);
    }
  }
}

KERNEL void WinogradGradient(const CkLanesWinograd *m, PetscBool add, PetscBool shift, const float *x, const float *d,
                             float *g, size_t stride, const CkLanesSlopes *slopes, float *scratch)
{
  GradientGroup q = {.m = m, .add = add, .stride = stride};
  CkLanesSlopes of_group;

  for (int o = 0; o < m->units; o += CK_GRADIENT_GROUP)
    for (int c = 0; c < m->channels; c += CK_GRADIENT_GROUP) {
      q.units = Least(CK_GRADIENT_GROUP, m->units - o);
      q.channels = Least(CK_GRADIENT_GROUP, m->channels - c);
      q.x = (const Pack *)x + (size_t)c * m->in_plane;
      q.e = (const Pack *)d + (size_t)o * m->out_plane;
      q.g = g + ((size_t)o * (size_t)m->channels + (size_t)c) * 9 * stride;
      if (slopes) {
        of_group =
          (CkLanesSlopes){.v = slopes->v + ((size_t)o * (size_t)m->channels + (size_t)c) * 9, .sums = slopes->sums};
        q.slopes = &of_group;
      }
      Gradient(&q, (Pack *)scratch);
    }
  if (shift)
    DerivativeTotals(m, add, (const Pack *)d, g + (size_t)m->units * (size_t)m->channels * 9 * stride, stride, slopes);
}
