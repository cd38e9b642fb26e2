#pragma once
#include "../engineimpl.h"
#include "../trainingsum.h"

/*
  reference.h: the engine `reference`: double precision, plain loops, batch norm as its own layer. Slow and obvious on
  purpose: it is the oracle of the others, so it shares no arithmetic with them but the loss head and the sums of
  training mode.
*/
typedef struct {
  PetscInt           nlayers, d, nbuffers;
  const CkLayer     *layers;
  const CkParameter *parameters;
  double            *weights, *buffers; /* the point */

  PetscInt room;    /* samples the arrays below hold */
  double **out;     /* [nlayers] outputs, [room x size] */
  double **delta;   /* [nlayers] derivatives of the loss with respect to them */
  double **factors; /* [nlayers] dropout layers in training mode: 0 or 1/(1 - rate), [room x size] */

  PetscInt group_room; /* normalisation groups the arrays below hold */
  double **mean;       /* [nlayers] batch norm layers: [groups x channels], running or of the batch */
  double **variance;   /* biased */

  const CkTrainingBlocks *blocks; /* NULL: evaluation mode */
  const CkTrainingGroups *groups;
} Reference;

/* What a layer kind does with n samples. backward adds to the inputs' deltas; row adds sample k's gradient to g [d]. */
typedef struct {
  CkLayerType type;
  PetscErrorCode (*forward)(CkEngine engine, PetscInt layer, PetscInt n);
  PetscErrorCode (*backward)(CkEngine engine, PetscInt layer, PetscInt n);
  void (*row)(const Reference *r, PetscInt layer, PetscInt k, double g[]); /* NULL: no parameters */
} ReferenceKind;

/* reference_kinds.c */
PetscErrorCode             ReferenceKindGet(CkLayerType type, const ReferenceKind **kind);
extern const ReferenceKind ReferenceDense, ReferenceConv, ReferenceBatchNorm, ReferenceRelu, ReferenceTanh,
  ReferenceSigmoid, ReferenceSoftplus, ReferenceMaxPool, ReferenceAvgPool, ReferenceGlobalAvgPool, ReferenceDropout,
  ReferenceFlatten, ReferenceAdd, ReferenceConcat, ReferenceSubsample;

/* Shared by evaluation and training mode (reference.c). Room for n samples and so many normalisation groups. */
PetscErrorCode ReferenceReserve(Reference *r, PetscInt n, PetscInt groups);
/* Forward pass and head; scale: factors of the samples' deltas (NULL: 1). */
PetscErrorCode ReferenceForward(CkEngine engine, PetscInt n, const float features[], const PetscInt labels[],
                                const double scale[], double values[], int correct[]);
PetscErrorCode ReferenceBackward(CkEngine engine, PetscInt n);
/* g [d] += gradient of sample k */
PetscErrorCode ReferenceRow(const Reference *r, PetscInt k, double g[]);

/* reference_train.c */
PetscErrorCode ReferenceTrain(CkEngine engine, const CkTrainingBlocks *blocks, double values[], int correct[],
                              double statistics[], CkExactSum gradient);

/* Where the layer's tensor (0: weight or scale, 1: bias or shift) begins in x; -1 where there is no bias. */
static inline PetscInt ReferenceOffset(const Reference *r, PetscInt layer, PetscInt which)
{
  const CkLayer *l = &r->layers[layer];

  return which < l->nparameters ? r->parameters[l->first_parameter + which].offset : -1;
}

/* Sample k of layer's outputs or deltas. */
static inline double *ReferenceSample(const Reference *r, double *const arrays[], PetscInt layer, PetscInt k)
{
  return arrays[layer] + (size_t)k * (size_t)CkShapeSize(r->layers[layer].out);
}
