/* winograd.c: weights and scratch memory of Winograd's convolutions (lanes_winograd.h). */
#include "lanes.h"

size_t CkLanesWinogradScratch(const CkLanesWinograd *map)
{
  const int width = CkLanesWinogradTiles(map), channels = PetscMin(map->channels, CK_WINOGRAD_CHANNELS);

  return 16 * (CkLanesWinogradStep(channels, width) + CkLanesWinogradStep(map->units, width));
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
      for (size_t p = 0; p < 16; ++p) packed[CkLanesWinogradIndex(units, channels, p, o, c)] = (float)points[p];
    }
}
