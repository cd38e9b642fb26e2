#pragma once
#include "normality.h"
#include "stable.h"
#include <clarkia/progress.h>
#include <clarkia/tail.h>

/* tailimpl.h: tail.c: options and frame; tail_batches.c: across minibatches; tail_weights.c: across weights;
   tail_report.c, tail_write.c: table and file. */

enum { CK_TAIL_QUANTILES = 99 }; /* 1% .. 99% */

typedef enum { CK_TAIL_COORDINATES, CK_TAIL_SPECTRUM, CK_TAIL_RANDOM } CkTailDirections;

/* One series across minibatches. */
typedef struct {
  PetscInt64    coordinate; /* number of the weight, or of the direction */
  CkNormality   normality;
  double        adjusted; /* p for all series together */
  double        kurtosis; /* of single samples, excess; /B is that of a minibatch with replacement */
  CkStableIndex index;
} CkTailSeries;

/* One minibatch across weights, or one normal vector of the same covariance. */
typedef struct {
  CkStableIndex index, standardised; /* standardised: every coordinate over its own deviation */
  double        kurtosis, standardised_kurtosis;
} CkTailFlat;

struct _p_CkTail {
  MPI_Comm    comm;
  CkDiffusion D;
  CkLoss      loss;
  PetscInt    d, N;

  /* Options. */
  PetscInt         B, batches, wanted, flats;
  PetscBool        replacement, hochberg;
  CkTailDirections directions;
  char             spectrum[PETSC_MAX_PATH_LEN];
  double           level;
  uint64_t         seed;

  /* Across minibatches. */
  PetscInt      m;
  CkTailSeries *series;             /* [m] */
  double       *quantiles;          /* [m x CK_TAIL_QUANTILES] of the standardised noise */
  PetscInt      rejected, heavy;    /* series not normal at the level; whose alpha is below 2 at 95% */
  double        ratio, ratio_error; /* variance without over with replacement */

  /* Across weights. */
  PetscInt    moving;          /* weights that some sample moves */
  double     *variance;        /* [d] D_ii, 0 of those that none moves */
  CkTailFlat *flat, *gaussian; /* [flats] */
  double      alpha_expected;  /* (W.3) */
  double      passes, seconds;
  PetscBool   done;
};

PetscErrorCode CkTailAcrossBatches(CkTail t);
PetscErrorCode CkTailAcrossWeights(CkTail t);
double         CkTailBatchesMemory(CkTail t);
double         CkTailWeightsMemory(CkTail t);
/* Mean and standard error over the minibatches that were flattened. */
void CkTailMean(PetscInt n, const CkTailFlat flats[], PetscBool standardised, double *mean, double *error);
