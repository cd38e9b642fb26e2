#pragma once
#include <clarkia/diffusion.h>
#include <clarkia/error.h>
#include <clarkia/progress.h>

typedef enum { CK_GRAM_AUTO, CK_GRAM_SINGLE, CK_GRAM_DOUBLE } CkGramPrecision;

struct _p_CkDiffusion {
  CkLoss          loss;
  PetscBool       centred;
  double          memory;  /* bytes per rank that buffers of the loss's choice of columns or weights may take */
  PetscInt        columns; /* most vectors of one pass */
  CkGramPrecision gram_precision;
  char            checkpoint[PETSC_MAX_PATH_LEN]; /* of the Gram assembly; empty: none */
  double          interval;                       /* seconds from checkpoint to checkpoint */
  char           *kept;                           /* [samples of this rank x d] gradients, or NULL */
  double          sweeps;                         /* over them */
};

/* Filled by CkDiffusionGetSizes(): the loss must be set up. */
typedef struct {
  MPI_Comm    comm;
  PetscInt    d, N;
  CkPrecision precision; /* of rows */
  size_t      bytes;     /* of one number of a row */
  CkBlocks    blocks;    /* of all N samples */
  PetscBool   direct;    /* CkLossSumsDirectly() */
} CkDiffusionSizes;

PetscErrorCode CkDiffusionGetSizes(CkDiffusion D, CkDiffusionSizes *sizes);
/* c = l2 x [d] that the second moment adds to every gradient; NULL: nothing to add (centred, or no weight decay). To be
   freed by the caller. */
PetscErrorCode CkDiffusionGetShift(CkDiffusion D, double **c);
/* c.v on every rank, 0 for c = NULL. */
PetscErrorCode CkDiffusionDotShift(CkDiffusion D, const double c[], Vec v, double *dot);
/* A rank's bytes per weight and vector of a product, beside the vectors themselves: the exact sum, in single precision
   its two limbs where norms are not known yet, else one and the engine's column, float32; in double precision two limbs
   and the column. And sums of a block where they are not made directly. */
static inline double CkDiffusionColumnBytes(const CkDiffusionSizes *sizes)
{
  return (sizes->precision == CK_FLOAT32 ? 16. : 24.) + (sizes->direct ? 0. : 8.);
}
/* Vectors of one pass whose buffers on a rank fit `memory`, between 1 and -noise_columns. */
PetscInt CkDiffusionGroup(CkDiffusion D, const CkDiffusionSizes *sizes, PetscInt m);
/* out_j = N^-1/2 sum_k Z_kj (centred gradient k, or g_k + l2 x); Z [N x m]. One pass for each group of columns. */
PetscErrorCode CkDiffusionRootBlock(CkDiffusion D, PetscInt m, const double Z[], Vec out[]);
/* W [N x m] = Z/sqrt(N), Z [N x stride], centred by columns so that its products with G are those of Z with the centred
   G. sums[j]: of column j of Z/sqrt(N). */
void CkDiffusionRootWeights(CkDiffusion D, const CkDiffusionSizes *sizes, PetscInt m, PetscInt stride, const double Z[],
                            double W[], double sums[]);
/* Bytes of the buffers of the dense assembly, on the rank with most samples. */
double         CkDiffusionDenseMemory(const CkDiffusionSizes *sizes);
PetscErrorCode CkDiffusionGramCost(CkDiffusion D, CkAssemblyCost *cost);
/* Precision of the products of gradients of `weights` weights, the same on any number of ranks. */
CkPrecision CkDiffusionGramChoice(CkDiffusion D, const CkDiffusionSizes *sizes, PetscInt weights);
/* What makes the products of gradients small: gbar, or the opposite of what the second moment adds; [d] from
   PetscMalloc, or NULL. A pass where the mean is wanted and not known yet. */
PetscErrorCode CkDiffusionGramShift(CkDiffusion D, double **shift);

/*
  gram_sweep.c: S += X X', lower triangle, of the samples of a batch; x_k = g_k - shift for weights whose gradients are
  formed, with products as in (G.6), and g_k for those of factored layers, (G.10). Layers come last.
*/
typedef struct {
  CkDiffusion      D;
  CkDiffusionSizes sizes; /* N, blocks: of the batch */
  CkBatch          batch;
  PetscInt         nlayers;   /* factored */
  const CkFactors *layers;    /* the engine's */
  CkPrecision      precision; /* of the products of formed gradients */
  double           memory;    /* bytes a rank that what is kept and buffers may take */
  /* Not needed for the plan: */
  const double *shift;    /* [d] or NULL */
  PetscBool     part;     /* of a larger sum: the sweep says nothing about itself */
  CkProgress    progress; /* in weights, of which */
  double        before;   /* were done before the sweep */
} CkGramSweep;

/* How far S has come. */
typedef struct {
  PetscInt weights, layers; /* formed weights; factored layers */
} CkGramDone;

/* diffusion_gram.c: of all samples, without shift. */
PetscErrorCode CkGramSweepOfAll(CkDiffusion D, CkGramSweep *sweep);
/* Weights whose gradients are formed; weights that are done, those of layers included. */
PetscInt CkGramSweepFormed(const CkGramSweep *sweep);
double   CkGramSweepWeights(const CkGramSweep *sweep, const CkGramDone *done);
/* passes: over the batch, each of which makes the gradients of a range of weights. The engine's loaded tile is lost. */
PetscErrorCode CkGramSweepCost(const CkGramSweep *sweep, CkAssemblyCost *cost);

/*
  gram_checkpoint.c: S, before 1/N and centring, and how far it has come. All collective; NULL is a checkpoint that does
  nothing. Create makes one where -noise_checkpoint is given; the sweep is borrowed. Resume fills S from the file where
  there is one, a user error where it is of another problem. Update writes where the interval has passed.
*/
typedef struct _p_CkGramCheckpoint *CkGramCheckpoint;
PetscErrorCode                      CkGramCheckpointCreate(const CkGramSweep *sweep, CkGramCheckpoint *checkpoint);
PetscErrorCode CkGramCheckpointResume(CkGramCheckpoint checkpoint, CkBlockMatrix S, CkGramDone *done);
PetscErrorCode CkGramCheckpointUpdate(CkGramCheckpoint checkpoint, CkBlockMatrix S, const CkGramDone *done);
PetscErrorCode CkGramCheckpointWrite(CkGramCheckpoint checkpoint, CkBlockMatrix S, const CkGramDone *done);
PetscErrorCode CkGramCheckpointDestroy(CkGramCheckpoint *checkpoint);

/* S of the batch's order; goes on from the checkpoint (or NULL), and leaves early where stopped is not NULL then.
   Collective. */
PetscErrorCode CkGramSweepRun(const CkGramSweep *sweep, CkBlockMatrix S, CkGramCheckpoint checkpoint,
                              const char **stopped);
