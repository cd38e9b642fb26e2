/* Part of lanes_kernels.h: Winograd's F(2 x 2, 3 x 3). With
     B' = [1 0 -1 0; 0 1 1 0; 0 -1 1 0; 0 1 0 -1],  G = [1 0 0; 1/2 1/2 1/2; 1/2 -1/2 1/2; 0 0 1],
     A' = [1 1 1 0; 0 1 -1 -1],
   2 x 2 outputs y of a unit are A' [sum over channels of (G g G') . (B' d B)] A, d the 4 x 4 inputs they need: a tile.
   Transformed numbers stand [point][channel or unit][tile], points 0 .. 15 of the 4 x 4 transform. With few channels
   lanes_winograd_rows.h is faster. */

enum { POINTS = 16 };

/* Column of an image's rows `row` .. row+3, zero outside; inside: all of them are in the image. */
INLINE void ImageColumn(const CkLanesWinograd *m, PetscBool inside, const Pack *x, int row, int column, Pack d[4])
{
  const int h = m->in[0], w = m->in[1];

  for (int r = 0; r < 4; ++r)
    d[r] = inside || (row + r >= 0 && row + r < h && column >= 0 && column < w) ? x[(row + r) * w + column] : (Pack){0};
}

/* B' d for one column. */
INLINE void InputCombinations(const Pack d[4], Pack u[4])
{
  u[0] = d[0] - d[2];
  u[1] = d[1] + d[2];
  u[2] = d[2] - d[1];
  u[3] = d[1] - d[3];
}

/* B' d B for n tiles of one tile row; (row, column): the first tile's upper left input. Tiles overlap by two columns.
 */
INLINE void InputSpan(const CkLanesWinograd *m, PetscBool inside, const Pack *x, int row, int column, int n,
                      size_t step, Pack *to)
{
  Pack d[4], u[4][4]; /* u: columns of the image, rows of the transform */

  for (int c = 0; c < 2; ++c) {
    ImageColumn(m, inside, x, row, column + c, d);
    InputCombinations(d, u[c + 2]);
  }
  for (int t = 0; t < n; ++t, column += 2) {
    for (int c = 0; c < 2; ++c) {
      for (int a = 0; a < 4; ++a) u[c][a] = u[c + 2][a];
      ImageColumn(m, inside, x, row, column + 2 + c, d);
      InputCombinations(d, u[c + 2]);
    }
    for (int a = 0; a < 4; ++a) {
      Pack *point = to + (size_t)(4 * a) * step + t;

      point[0] = u[0][a] - u[2][a];
      point[step] = u[1][a] + u[2][a];
      point[2 * step] = u[2][a] - u[1][a];
      point[3 * step] = u[1][a] - u[3][a];
    }
  }
}

/* The same, faster where whole tiles are in the image. */
INLINE void InputRow(const CkLanesWinograd *m, const Pack *x, int row, int column, int n, size_t step, Pack *to)
{
  const PetscBool high = (PetscBool)(row >= 0 && row + 4 <= m->in[0]);
  int             first = 0, last = n; /* tiles from first to last-1 are inside */

  while (first < n && (!high || column + 2 * first < 0)) ++first;
  while (last > first && column + 2 * last + 2 > m->in[1]) --last;
  if (first > 0) InputSpan(m, PETSC_FALSE, x, row, column, first, step, to);
  if (last > first) InputSpan(m, PETSC_TRUE, x, row, column + 2 * first, last - first, step, to + first);
  if (last < n) InputSpan(m, PETSC_FALSE, x, row, column + 2 * last, n - last, step, to + last);
}

/* Calls body(row, column, n, at) for the parts of tiles first .. first+count-1 that lie in one tile row; at: of its
   first tile from `first` on. */
#define FOR_TILE_ROWS(m, first, count, body)                                                                           \
  for (int at = 0, n; at < (count); at += n) {                                                                         \
    const int tile = (first) + at, row = tile / (m)->tiles[1], column = tile % (m)->tiles[1];                          \
                                                                                                                       \
    n = Least((count)-at, (m)->tiles[1] - column);                                                                     \
    body;                                                                                                              \
  }

/* y = A' M A + b for n tiles of one tile row; add: += without b. */
INLINE void OutputRow(const CkLanesWinograd *m, PetscBool add, Pack b, const Pack *from, size_t step, int row,
                      int column, int n, Pack *y)
{
  const int h = m->out[0], w = m->out[1];

  for (int t = 0; t < n; ++t, column += 2) {
    Pack u[2][4], v[2][2];

    for (int c = 0; c < 4; ++c) {
      const Pack *point = from + (size_t)c * step + t, p1 = point[4 * step], p2 = point[8 * step];

      u[0][c] = point[0] + p1 + p2;
      u[1][c] = p1 - p2 - point[12 * step];
    }
    for (int r = 0; r < 2; ++r) {
      v[r][0] = u[r][0] + u[r][1] + u[r][2];
      v[r][1] = u[r][1] - u[r][2] - u[r][3];
    }
    for (int r = 0; r < 2; ++r)
      for (int c = 0; c < 2; ++c) {
        Pack *to = y + (row + r) * w + column + c;

        if (row + r < h && column + c < w) *to = v[r][c] + (add ? *to : b);
      }
  }
}

/* M[unit, tile] = sum over channels of W[unit, channel] V[channel, tile] at one point. */
INLINE void PointBlock(int units, int width, PetscBool add, int channels, int stride, const float *w, const Pack *v,
                       Pack *y)
{
  Pack sum[UNITS][LANES_WIDTH];

  for (int o = 0; o < units; ++o)
    for (int t = 0; t < width; ++t) sum[o][t] = add ? y[o * stride + t] : (Pack){0};
  for (int c = 0; c < channels; ++c, w += units, v += stride) {
    Pack value[LANES_WIDTH];

    for (int t = 0; t < width; ++t) value[t] = v[t];
    for (int o = 0; o < units; ++o)
      for (int t = 0; t < width; ++t) sum[o][t] += w[o] * value[t];
  }
  for (int o = 0; o < units; ++o)
    for (int t = 0; t < width; ++t) y[o * stride + t] = sum[o][t];
}

INLINE void WinogradPoints(const CkLanesWinograd *m, PetscBool add, const float *w, const float *b, const Pack *x,
                           Pack *y, Pack *scratch)
{
  const int    width = CkLanesWinogradTiles(m), tiles = m->tiles[0] * m->tiles[1], units = m->units;
  const int    group = Least(m->channels, CK_WINOGRAD_CHANNELS);
  const size_t in_step = CkLanesWinogradStep(group, width), out_step = CkLanesWinogradStep(units, width);
  Pack        *v = scratch, *p = v + POINTS * in_step;

  for (int first = 0; first < tiles; first += width) {
    const int count = Least(width, tiles - first);

    for (int c = 0; c < m->channels; c += group) {
      const int channels = Least(group, m->channels - c);

      for (int i = 0; i < channels; ++i)
        FOR_TILE_ROWS(m, first, count,
                      InputRow(m, x + (size_t)(c + i) * m->in_plane, 2 * row - m->padding[0],
                               2 * column - m->padding[1], n, in_step, v + i * width + at))
      for (size_t point = 0; point < POINTS; ++point) {
        const float *weights = w + point * (size_t)units * (size_t)m->channels;

#define POINT(rows, columns)                                                                                           \
  PointBlock(rows, columns, (PetscBool)(c > 0), channels, width, weights + o * m->channels + c * rows,                 \
             v + point * in_step + t, p + point * out_step + o * width + t)
        for (int t = 0; t < count; t += LANES_WIDTH)
          for (int o = 0; o < units; o += UNITS)
            FOR_BLOCK(Least(UNITS, units - o), Least(LANES_WIDTH, count - t), POINT)
#undef POINT
      }
    }
    for (int o = 0; o < units; ++o)
      FOR_TILE_ROWS(m, first, count,
                    OutputRow(m, add, (Pack){0} + (b && !add ? b[o] : 0), p + o * width + at, out_step, 2 * row,
                              2 * column, n, y + (size_t)o * m->out_plane))
  }
}
