#pragma once
#include <clarkia/net.h>

/*
  fold.h: batch norm in evaluation mode as a change of coordinates (decision 4; docs/theory.md, "Folding").

  A batch norm that directly follows a convolution or dense layer, its only consumer, is folded into it:
    y = s (W a + b - mu) + beta = W' a + b',   s = gamma/sigma,  sigma = sqrt(variance + epsilon),
    W' = s W,   b' = s (b - mu) + beta     (b = 0 where the layer has no bias).
  Gradients with respect to the net's parameters are g = T g', g' = (g_W', g_b'):
    g_W = s g_W',  g_b = s g_b',  g_beta = g_b',  g_gamma = (<W, g_W'> + (b - mu) g_b')/sigma,   unit by unit.
  T and its transpose stand in this file's functions and nowhere else. Every other layer with parameters keeps its own
  coordinates (T is the identity there): a batch norm by itself has gamma in the place of W, one weight a unit, and beta
  in that of b.
*/
typedef struct {
  PetscInt layer, norm;               /* numbers in the net; norm -1: no batch norm folded into the layer */
  PetscInt units, fan_in;             /* outputs (channels) and weights of each */
  PetscInt weight, bias, gamma, beta; /* offsets in x; -1: has none */
  PetscInt mean, variance;            /* offsets in the buffers, of the folded norm or of a norm by itself; else -1 */
  double   epsilon;
  PetscInt shift; /* has b' (1) or not (0) */
  PetscInt first; /* offset in folded coordinates: W' [units x fan_in], then b' [units] */
  PetscInt unit;  /* offset in arrays of one number a unit */
} CkFoldLayer;

typedef struct {
  PetscInt     nlayers; /* layers with parameters, in the net's order */
  CkFoldLayer *layers;
  PetscInt    *of_layer; /* [net layers] index into layers; -1: no parameters, or folded into another */
  PetscInt     d, de, units;
  double      *point;                    /* [de] W', b' */
  double      *scale, *inverse, *centre; /* [units] s, 1/sigma, b - mu; 1, 0, 0 where nothing is folded */
  float       *original;                 /* [de] W in the places of W' (rows need <W, g_W'>) */
} CkFold;

/* fold false: no batch norm is folded, T is a permutation at most. */
PetscErrorCode CkFoldCreate(CkNet net, PetscBool fold, CkFold **f);
PetscErrorCode CkFoldDestroy(CkFold **f);
PetscErrorCode CkFoldSetPoint(CkFold *f, const double weights[], const double buffers[]);

/* out [d] = T a, a [de] */
PetscErrorCode CkFoldApply(const CkFold *f, const double a[], double out[]);
/* out [de] = T'v, v [d] */
PetscErrorCode CkFoldTranspose(const CkFold *f, const double v[], double out[]);

/* One unit of one sample's g' as T maps it, where T is applied per sample: g_W' = factor g [fan_in], g_b' = shift.
   Writes the unit's parts of the row of g in original coordinates. */
typedef struct {
  const CkFold      *fold;
  const CkFoldLayer *layer;
  PetscInt           unit;
  float              factor, shift;
  const float       *g;
} CkFoldUnit;

void CkFoldUnitRow(const CkFoldUnit *u, CkPrecision precision, void *row);

/* |g|^2 of a unit from |g_W'|^2, <W, g_W'> and g_b' */
double CkFoldUnitNorm(const CkFold *f, const CkFoldLayer *layer, PetscInt unit, double squares, double product,
                      double shift);
