#pragma once
#include <clarkia/diffusion.h>
#include <clarkia/error.h>

struct _p_CkDiffusion {
  CkLoss    loss;
  PetscBool centred;
  double    memory;  /* bytes per rank that buffers of the loss's choice of columns or weights may take */
  PetscInt  columns; /* most vectors of one pass */
  char     *kept;    /* [samples of this rank x d] gradients, or NULL */
  double    sweeps;  /* over them */
};

/* Filled by CkDiffusionGetSizes(): the loss must be set up. */
typedef struct {
  MPI_Comm    comm;
  PetscInt    d, N;
  CkPrecision precision; /* of rows */
  size_t      bytes;     /* of one number of a row */
  CkBlocks    blocks;    /* of all N samples */
} CkDiffusionSizes;

PetscErrorCode CkDiffusionGetSizes(CkDiffusion D, CkDiffusionSizes *sizes);
/* c = l2 x [d] that the second moment adds to every gradient; NULL: nothing to add (centred, or no weight decay). To be
   freed by the caller. */
PetscErrorCode CkDiffusionGetShift(CkDiffusion D, double **c);
/* c.v on every rank, 0 for c = NULL. */
PetscErrorCode CkDiffusionDotShift(CkDiffusion D, const double c[], Vec v, double *dot);
/* A rank's bytes per weight and vector of a product: column or result, block sums, two limbs, the engine's copy. */
#define CK_DIFFUSION_COLUMN_BYTES (5. * sizeof(double))
/* Vectors of one pass whose buffers on a rank fit `memory`, between 1 and -noise_columns. */
PetscInt CkDiffusionGroup(CkDiffusion D, const CkDiffusionSizes *sizes, PetscInt m);
/* out_j = N^-1/2 sum_k Z_kj (centred gradient k, or g_k + l2 x); Z [N x m]. One pass for each group of columns. */
PetscErrorCode CkDiffusionRootBlock(CkDiffusion D, PetscInt m, const double Z[], Vec out[]);
/* W [N x m] = Z/sqrt(N), Z [N x stride], centred by columns so that its products with G are those of Z with the centred
   G. sums[j]: of column j of Z/sqrt(N). */
void CkDiffusionRootWeights(CkDiffusion D, const CkDiffusionSizes *sizes, PetscInt m, PetscInt stride, const double Z[],
                            double W[], double sums[]);
/* Bytes of the buffers of the two assemblies, on the rank with most samples. */
double CkDiffusionDenseMemory(const CkDiffusionSizes *sizes);
double CkDiffusionGramMemory(const CkDiffusionSizes *sizes, double memory);
/* Passes over the data of the Gram assembly. */
double CkDiffusionGramPasses(const CkDiffusionSizes *sizes, double memory);
