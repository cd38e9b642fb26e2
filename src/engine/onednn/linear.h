#pragma once
#include "primitives.h"

/*
  linear.h: dense layers and convolutions, step->data of CkStepDense and CkStepConv. Weights are folded ones, cast once
  and packed for the kernels that read them; vectors of columns take their place in factored contractions.
*/
typedef enum {
  CK_BY_LANES,    /* product(), scatter(), outer() of lanes.h */
  CK_BY_WINOGRAD, /* winograd_product(), winograd_gradient() */
  CK_BY_PRIMITIVE /* oneDNN */
} CkLinearMeans;

typedef struct {
  PetscBool       dense;
  CkLanesMap      map;     /* one chunk */
  CkLanesMap      tile;    /* dense: the chunks of a tile as positions; conv: as map */
  PetscBool       reverse; /* the input's derivative is a product with the transposed weights, else scattered */
  CkLanesMap      back;    /* reverse: its map */
  PetscBool       framed;  /* padding: the kernels see the image in a frame of zeros */
  CkLanesWindow   frame;
  float          *framed_x, *framed_d;
  CkPrimitives   *primitives;           /* oneDNN's, NULL: none */
  CkLinearMeans   means[CK_PRIMITIVES]; /* of each of forward, input, weights */
  CkLanesWinograd winograd, mirrored;   /* geometry, and that of the input's derivative, where one is CK_BY_WINOGRAD */

  /* sparse derivatives (CkTensor): the reader, and the sample's image, framed, numbers in the places of packs */
  const CkStep *pool;
  CkLanesPooled pooled;
  float        *image;

  size_t packed;                        /* numbers in packed weights */
  float *weights, *transposed, *shifts; /* of the point; shifts [units], zeros where the layer has none */

  /* gradients of batches */
  float *block_gradient;       /* training: conv, [entries] packs: sums over a block's chunks lane by lane; dense: some
                                  rows of the block's sum */
  double *block_sums;          /* training: conv, [entries] of a block; dense, [units] */
  float  *matrix_x, *matrix_d; /* dense: [taps x n] and [units x n], n = lanes of the gathered chunks */
} CkLinear;

/* linear_create.c: maps, arrays, which means; and weights of the point, for CkStepKind. */
PetscErrorCode CkLinearCreate(CkPlan *plan, CkStep *step);
PetscErrorCode CkLinearDestroy(CkStep *step);
PetscErrorCode CkLinearPoint(CkPlan *plan, CkStep *step);
/* w [units x taps], float64, to weights as CkLinearApply() wants them: `packed` numbers. */
PetscErrorCode CkLinearPack(const CkLinear *l, const double w[], float packed[]);
/* y = W x + b for `count` chunks from `chunk` on: one for a convolution. y: [count] chunks of the output's size. */
PetscErrorCode CkLinearApply(CkPlan *plan, const CkStep *step, PetscInt chunk, PetscInt count, const float weights[],
                             const float shifts[], float *y);
/* Per-sample gradients of a chunk: entry i of weights and shifts in pack i of g, `stride` numbers apart; d: derivatives
   of the output; add: g += ; slopes: of these gradients, where CkLinearHasSlopes(); NULL: none. */
PetscErrorCode CkLinearGradients(CkPlan *plan, const CkStep *step, PetscInt chunk, PetscBool add, const float *d,
                                 float *g, size_t stride, const CkLanesSlopes *slopes);
static inline PetscBool CkLinearHasSlopes(const CkLinear *l)
{
  return (PetscBool)(!l->pool && l->means[CK_PRIMITIVE_WEIGHTS] != CK_BY_PRIMITIVE);
}

/* The input and the output's derivative of a dense layer as matrices: matrix_x and matrix_d of those chunks. */
PetscErrorCode CkDenseGather(CkPlan *plan, const CkStep *step, PetscInt chunk, PetscInt count);
