/* winograd.c: weights and scratch memory of Winograd's convolutions (lanes_winograd.h). */
#include "lanes.h"

size_t CkLanesWinogradScratch(const CkLanesWinograd *map)
{
  const int    width = CkLanesWinogradTiles(map), channels = PetscMin(map->channels, CK_WINOGRAD_CHANNELS);
  const int    pairs = PetscMin(map->tiles[1], CK_GRADIENT_PAIRS), rows = CkLanesGradientRows(map);
  const int    some = PetscMin(map->channels, CK_GRADIENT_GROUP), units = PetscMin(map->units, CK_GRADIENT_GROUP);
  const size_t product = 16 * (CkLanesWinogradStep(channels, width) + CkLanesWinogradStep(map->units, width));
  const size_t by_rows = (size_t)(map->channels + map->units) * CK_WINOGRAD_ROW_PACKS + (size_t)map->in[1];
  const size_t bands = 4 * (size_t)pairs * (size_t)(some * (rows + 2) + units * rows);

  return PetscMax(CkLanesWinogradByRows(map) ? by_rows : product, bands + 12 * (size_t)some * (size_t)units);
}

/* G g G' of a 3 x 3 window. */
static void Transform(const double g[9], double points[16])
{
  static const double G[4][3] = {{1, 0, 0}, {0.5, 0.5, 0.5}, {0.5, -0.5, 0.5}, {0, 0, 1}};

  for (int a = 0; a < 4; ++a)
    for (int b = 0; b < 4; ++b) {
      points[4 * a + b] = 0;
      for (int r = 0; r < 3; ++r)
        for (int c = 0; c < 3; ++c) points[4 * a + b] += G[a][r] * g[3 * r + c] * G[b][c];
    }
}

void CkLanesWinogradPack(const CkLanesWinograd *map, PetscBool mirrored, const double w[], float packed[])
{
  const size_t units = (size_t)map->units, channels = (size_t)map->channels;

  for (size_t o = 0; o < units; ++o)
    for (size_t c = 0; c < channels; ++c) {
      const double *from = w + 9 * (mirrored ? c * units + o : o * channels + c);
      double        window[9], points[16];

      for (int k = 0; k < 9; ++k) window[k] = from[mirrored ? 8 - k : k];
      Transform(window, points);
      for (size_t p = 0; p < 16; ++p) packed[CkLanesWinogradIndex(map, p, o, c)] = (float)points[p];
    }
}
