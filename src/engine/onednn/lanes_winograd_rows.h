/* Part of lanes_kernels.h: F(2 x 2, 3 x 3) of few channels (CkLanesWinogradByRows), one row of the transform at a time:
   its four points of ROW_TILES tiles in all channels, and what has been added up of their outputs, stay in the
   first-level cache; sums over channels leave the registers as sums of outputs. */

enum { ROW_TILES = 3, ROW_UNITS = LANES_WIDTH / ROW_TILES, ROW_PACKS = CK_WINOGRAD_ROW_PACKS };

/* One column of row `a` of B' d; p and q: the two rows of the image that it combines. */
INLINE Pack RowCombination(const CkLanesWinograd *m, int a, PetscBool inside, const Pack *p, const Pack *q, int column)
{
  if (!inside && (column < 0 || column >= m->in[1])) return (Pack){0};
  return a == 1 ? p[column] + q[column] : p[column] - q[column];
}

/* Row `a` of B' d B for n tiles of one tile row, to [point][ROW_TILES]. */
INLINE void RowSpan(const CkLanesWinograd *m, int a, PetscBool inside, const Pack *p, const Pack *q, int column, int n,
                    Pack *to)
{
  Pack e0 = RowCombination(m, a, inside, p, q, column), e1 = RowCombination(m, a, inside, p, q, column + 1);

  for (int t = 0; t < n; ++t, column += 2, ++to) {
    const Pack e2 = RowCombination(m, a, inside, p, q, column + 2);
    const Pack e3 = RowCombination(m, a, inside, p, q, column + 3);

    to[0] = e0 - e2;
    to[ROW_TILES] = e1 + e2;
    to[2 * ROW_TILES] = e2 - e1;
    to[3 * ROW_TILES] = e1 - e3;
    e0 = e2;
    e1 = e3;
  }
}

/* The same of all channels, to [channel][point][ROW_TILES]; zeros: a row of them, for rows outside the image. */
INLINE void RowInputs(const CkLanesWinograd *m, int a, const Pack *x, const Pack *zeros, int row, int column, int n,
                      Pack *to)
{
  static const int combined[4][2] = {{0, 2}, {1, 2}, {2, 1}, {1, 3}};
  const int        h = m->in[0], w = m->in[1], first = row + combined[a][0], second = row + combined[a][1];
  int              from = 0, end = n; /* tiles from..end-1 are inside */

  while (from < n && column + 2 * from < 0) ++from;
  while (end > from && column + 2 * end + 2 > w) --end;
  for (int c = 0; c < m->channels; ++c, x += m->in_plane, to += ROW_PACKS) {
    const Pack *p = first >= 0 && first < h ? x + (ptrdiff_t)first * w : zeros;
    const Pack *q = second >= 0 && second < h ? x + (ptrdiff_t)second * w : zeros;

    if (from == 0 && end == ROW_TILES) { /* most: a constant number */
      RowSpan(m, a, PETSC_TRUE, p, q, column, ROW_TILES, to);
      continue;
    }
    if (from > 0) RowSpan(m, a, PETSC_FALSE, p, q, column, from, to);
    if (end > from) RowSpan(m, a, PETSC_TRUE, p, q, column + 2 * from, end - from, to + from);
    if (end < n) RowSpan(m, a, PETSC_FALSE, p, q, column + 2 * end, n - end, to + end);
  }
}

/* Adds row `a` of `units` units to the sums of outputs, [unit][tile][2 x 2]; w: [channel][point][wide]. */
INLINE void RowBlock(int a, int units, int wide, int channels, const float *w, const Pack *v, Pack *outputs)
{
  Pack sum[ROW_UNITS][4][ROW_TILES];

  for (int o = 0; o < units; ++o)
    for (int b = 0; b < 4; ++b)
      for (int t = 0; t < ROW_TILES; ++t) sum[o][b][t] = (Pack){0};
  for (int c = 0; c < channels; ++c, w += 4 * wide, v += ROW_PACKS)
    for (int b = 0; b < 4; ++b) {
      Pack value[ROW_TILES];

      for (int t = 0; t < ROW_TILES; ++t) {
        value[t] = v[b * ROW_TILES + t];
        KEEP(value[t]);
      }
      for (int o = 0; o < units; ++o)
        for (int t = 0; t < ROW_TILES; ++t) sum[o][b][t] += w[b * wide + o] * value[t];
    }
  for (int o = 0; o < units; ++o)
    for (int t = 0; t < ROW_TILES; ++t, outputs += 4) {
      const Pack u[2] = {sum[o][0][t] + sum[o][1][t] + sum[o][2][t], sum[o][1][t] - sum[o][2][t] - sum[o][3][t]};

      for (int k = 0; k < 2; ++k) {
        if (a < 3) outputs[k] = a == 0 ? u[k] : outputs[k] + u[k];
        if (a > 0) outputs[2 + k] = a == 1 ? u[k] : outputs[2 + k] - u[k];
      }
    }
}

INLINE void RowUnits(const CkLanesWinograd *m, int a, const float *w, const Pack *v, Pack *outputs)
{
  const int channels = m->channels;

  w += 4 * a * m->units * channels;
  for (int o = 0; o < m->units; o += 2) {
    if (m->units - o < 2) {
      RowBlock(a, 1, 1, channels, w, v, outputs);
    } else if (ROW_UNITS >= 2) {
      RowBlock(a, ROW_UNITS, 2, channels, w, v, outputs);
    } else {
      RowBlock(a, 1, 2, channels, w, v, outputs);
      RowBlock(a, 1, 2, channels, w + 1, v, outputs + ROW_PACKS);
    }
    w += 8 * channels;
    outputs += 2 * ROW_PACKS;
  }
}

/* y = outputs + b of n tiles of one tile row; add: += without b. */
INLINE void RowOutputs(const CkLanesWinograd *m, PetscBool add, const float *b, const Pack *outputs, int row,
                       int column, int n, Pack *y)
{
  const int w = m->out[1], rows = Least(2, m->out[0] - row);

#define TILE(rows, columns)                                                                                            \
  for (int r = 0; r < (rows); ++r)                                                                                     \
    for (int c = 0; c < (columns); ++c) to[r * w + c] = from[2 * r + c] + (add ? to[r * w + c] : shift);
  y += row * w + column;
  for (int o = 0; o < m->units; ++o, y += m->out_plane, outputs += ROW_PACKS) {
    const Pack shift = (Pack){0} + (b && !add ? b[o] : 0);

    for (int t = 0; t < n; ++t) {
      const int   columns = Least(2, w - column - 2 * t);
      const Pack *from = outputs + 4 * t;
      Pack       *to = y + 2 * t;

      if (rows == 2 && columns == 2) {
        TILE(2, 2)
      } else {
        TILE(rows, columns)
      }
    }
  }
#undef TILE
}

INLINE void WinogradRows(const CkLanesWinograd *m, PetscBool add, const float *w, const float *b, const Pack *x,
                         Pack *y, Pack *scratch)
{
  const int tiles = m->tiles[0] * m->tiles[1];
  Pack     *v = scratch, *outputs = v + m->channels * ROW_PACKS, *zeros = outputs + m->units * ROW_PACKS;

  memset(zeros, 0, (size_t)m->in[1] * sizeof(Pack));
  for (int first = 0; first < tiles; first += ROW_TILES) {
    const int count = Least(ROW_TILES, tiles - first);

#define ROW(a)                                                                                                         \
  FOR_TILE_ROWS(m, first, count,                                                                                       \
                RowInputs(m, a, x, zeros, 2 * row - m->padding[0], 2 * column - m->padding[1], n, v + at))             \
  RowUnits(m, a, w, v, outputs); /* what it makes of tiles beyond count is not read */
    ROW(0)
    ROW(1)
    ROW(2)
    ROW(3)
#undef ROW
    FOR_TILE_ROWS(m, first, count, RowOutputs(m, add, b, outputs + 4 * at, 2 * row, 2 * column, n, y))
  }
}

KERNEL void WinogradProduct(const CkLanesWinograd *m, PetscBool add, const float *w, const float *b, const float *x,
                            float *y, float *scratch)
{
  if (CkLanesWinogradByRows(m)) WinogradRows(m, add, w, b, (const Pack *)x, (Pack *)y, (Pack *)scratch);
  else WinogradPoints(m, add, w, b, (const Pack *)x, (Pack *)y, (Pack *)scratch);
}
