#pragma once
#include <clarkia/blockmatrix.h>
#include <clarkia/loss.h>
#include <petscmat.h>

/*
  CkDiffusion: D(x) = (1/N) sum_k g_k g_k' - gbar gbar' of a loss at its current point (docs/theory.md, eq. (D.1)), or
  with -noise_centred false the second moment M = (1/N) sum_k (g_k + l2 x)(g_k + l2 x)', for which the formulas below
  hold with g_k + l2 x in place of the centred gradient (decision 6). Collective; nothing is cached beyond the loss's
  norms and gbar. Vectors have the layout of CkLossCreateVec(). With -loss_reproducible everything is the same bits on
  any number of ranks.
*/
typedef struct _p_CkDiffusion *CkDiffusion;

PetscErrorCode CkDiffusionCreate(CkLoss loss, CkDiffusion *D); /* the loss is borrowed, and set up before use */
PetscErrorCode CkDiffusionSetFromOptions(CkDiffusion D);       /* the -noise_ keys */
PetscErrorCode CkDiffusionSetCentred(CkDiffusion D, PetscBool centred);
PetscErrorCode CkDiffusionDestroy(CkDiffusion *D);
PetscErrorCode CkDiffusionRegisterOptions(void);
PetscErrorCode CkDiffusionGetLoss(CkDiffusion D, CkLoss *loss);
PetscErrorCode CkDiffusionGetCentred(CkDiffusion D, PetscBool *centred);

/* Y_j = D v_j, Y not V: one pass for all m (decision 3), cut into groups of columns by -noise_columns and
 * -noise_memory; one pass more where the norms of this point are not known yet. */
PetscErrorCode CkDiffusionApply(CkDiffusion D, PetscInt m, const Vec V[], Vec Y[]);
/* A PETSc shell matrix with MatMult, MatMultTranspose, MATPRODUCT_AB and _AtB with MATDENSE, MatGetDiagonal; symmetric,
 * positive semi-definite. Holds a borrowed D; the caller destroys it. */
PetscErrorCode CkDiffusionGetMat(CkDiffusion D, Mat *A);
/* tr D = (1/N) sum |g_k|^2 - |gbar|^2 from the squared norms; no pass where they are known, else one. Never below zero
 * by rounding errors alone. */
PetscErrorCode CkDiffusionTrace(CkDiffusion D, double *trace);
/* gbar without weight decay; no pass where the norms are known, else one. */
PetscErrorCode CkDiffusionMean(CkDiffusion D, Vec gbar);
/* D_ii, one pass and that of the norms. */
PetscErrorCode CkDiffusionDiagonal(CkDiffusion D, Vec diagonal);
/* Trace of the diagonal block of each trainable tensor of the net, in table order (landscapes: one number). traces:
 * room for all (NULL: only count); n out. Passes as for the diagonal. */
PetscErrorCode CkDiffusionLayerTraces(CkDiffusion D, PetscInt *n, double traces[]);
/* out = sqrt(D) xi as N^-1/2 Gc' z, z_k = standard normal number k of (seed, CK_RANDOM_NOISE, replica, step):
 * covariance exactly D. One pass. */
PetscErrorCode CkDiffusionSample(CkDiffusion D, uint64_t seed, PetscInt replica, PetscInt step, Vec out);
/* The same linear map for given z [N], the same on all ranks. */
PetscErrorCode CkDiffusionApplyRoot(CkDiffusion D, const double z[], Vec out);
/* Dense D, d x d, lower triangle, float64 sums; one pass. Too large for the memory limit: user error. */
PetscErrorCode CkDiffusionDense(CkDiffusion D, CkBlockMatrix *A);
/*
  K = (1/N) P G G' P, N x N, lower triangle; same non-zero spectrum. G is kept in float32 (float64 for a double engine)
  for as many weights at a time as -noise_memory allows beside the buffers of the products: about N d 4 / (P memory)
  passes, each of which goes back no further than its weights, and a sweep for the mean of 256 samples, which is
  subtracted from the gradients. Products in the precision of -noise_gram_precision: docs/theory.md, eqs. (G.6) to
  (G.8). Of dense layers that the engine has factored (CkEngineGetFactors()) their inputs and derivatives are kept in
  place of gradients, and (G.10) is taken; not for a second moment with weight decay. With -noise_checkpoint FILE the
  sums are saved every -noise_checkpoint_interval seconds, at SIGTERM and SIGUSR1, after -max_seconds and at the end; a
  file that is there is gone on from, with the bits of an uninterrupted run, on any number of ranks; one of another
  problem is a user error that names the difference. Errors: CK_ERR_REQUEUE (interrupt.h); too large for the memory
  limit, as for the dense one.
*/
PetscErrorCode CkDiffusionGram(CkDiffusion D, CkBlockMatrix *K);
/* Whether it subtracts the mean of all samples, few as they are: their norms are known after it. Not collective. */
PetscErrorCode CkDiffusionGramTakesMean(CkDiffusion D, PetscBool *mean);
/* What the products of CkDiffusionGram() are of: a function of the network, N and options, not of the ranks. */
typedef struct {
  PetscInt    formed;    /* weights whose gradients are formed; of the other weights, */
  PetscInt    layers;    /* dense layers, there are products of factors, in double precision */
  CkPrecision precision; /* of the products of formed gradients */
} CkGramForm;
PetscErrorCode CkDiffusionGetGramForm(CkDiffusion D, CkGramForm *form);
PetscErrorCode CkDiffusionGetCheckpoint(CkDiffusion D, const char **file); /* "": none; borrowed */
/*
  |D|_F^2 = |K|_F^2, exactly but for rounding: the entries of K, as CkDiffusionGram() has them but with gbar subtracted
  (a pass where it is not known), pair by pair of panels of samples, so that no matrix is larger than half of
  -noise_memory; docs/theory.md, eq. (G.9). Errors: too large for the memory limit, as above.
*/
PetscErrorCode CkDiffusionFrobenius(CkDiffusion D, double *square);
/* Eigenvectors of D from those of K: v = Gc'u / sqrt(N lambda); U [m x N] one vector a row, lambda [m] > 0 (user error
 * where not), one pass for all m (in groups as above). */
PetscErrorCode CkDiffusionGramVectors(CkDiffusion D, PetscInt m, const double U[], const double lambda[], Vec V[]);
/* What an assembly takes, without the norms of the point. */
typedef struct {
  double bytes;     /* a rank holds beyond the matrix itself */
  double passes;    /* over the data */
  double gradients; /* floating-point operations of gradients, all ranks; 0 for landscapes */
  double products;  /* likewise of products, the lower triangle */
} CkAssemblyCost;
/* Of CkDiffusionDense() (gram: CkDiffusionGram()). Not collective; the engine's loaded tile is lost. */
PetscErrorCode CkDiffusionAssemblyCost(CkDiffusion D, PetscBool gram, CkAssemblyCost *cost);
/* Of CkDiffusionFrobenius(), bytes with the largest matrix; panels: 1 where it is all of K. Likewise. */
PetscErrorCode CkDiffusionFrobeniusCost(CkDiffusion D, CkAssemblyCost *cost, PetscInt *panels);
/* Bytes a rank holds beyond the vectors themselves, and passes over the data, of a product with m vectors
 * (CkDiffusionApply(), CkDiffusionGramVectors()), without the norms of the point. Not collective. */
PetscErrorCode CkDiffusionProductCost(CkDiffusion D, PetscInt m, double *bytes, double *passes);
/* Vectors that one pass multiplies where `most` are wanted: at most -noise_columns, and what fits -noise_memory. Not
 * collective. */
PetscErrorCode CkDiffusionGetColumns(CkDiffusion D, PetscInt most, PetscInt *columns);

/* Y = K Z with K as above, never assembled; Z, Y [m x N], one vector a row, the same on all ranks (numbers that differ
 * are a user error). Two passes for each group of columns, or with gradients kept two sweeps over memory and no pass.
 * The two differ by the rounding of the engine's contractions. */
PetscErrorCode CkDiffusionApplyGram(CkDiffusion D, PetscInt m, const double Z[], double Y[]);
/* K as a shell matrix on PETSC_COMM_SELF, for a solver that runs on every rank with the same numbers: MatMult,
 * MATPRODUCT_AB with MATDENSE, each collective on the loss's communicator. Holds a borrowed D. */
PetscErrorCode CkDiffusionGetGramMat(CkDiffusion D, Mat *K);
/* keep: one pass, after which this rank's gradients stay in memory (float32, or float64 of a double engine) for
 * CkDiffusionApplyGram(); to be dropped (false) before the point changes. Collective. */
PetscErrorCode CkDiffusionKeepGradients(CkDiffusion D, PetscBool keep);
/* Bytes that takes on the rank with most samples, and whether they fit -noise_memory. Not collective. */
PetscErrorCode CkDiffusionKeepMemory(CkDiffusion D, double *bytes, PetscBool *fits);
/* Sweeps over kept gradients since creation. Not collective. */
PetscErrorCode CkDiffusionGetSweeps(CkDiffusion D, double *sweeps);

/*
  CkDiffusionBlocks: the diagonal blocks of D (second moment: of M) that belong to consecutive weights, in order. Each
  comes as a matrix of order min(size, N): the block itself, or with size > N the Gram matrix (1/N) P G_l G_l' P of its
  weights; lower triangle, the same bits on any number of ranks, the caller's to destroy. Passes over the data: one for
  each range of weights whose gradients fit -noise_memory (a block of at most N weights is kept whole), which goes back
  no further than its weights, and one for the mean gradient where it is not known. Products are as in
  CkDiffusionGram(), precision chosen by the block's size. Collective. The point must not change between two calls.
*/
typedef struct _p_CkDiffusionBlocks *CkDiffusionBlocks;
/* size [n]: weights of each block, d in all. */
PetscErrorCode CkDiffusionBlocksCreate(CkDiffusion D, PetscInt n, const PetscInt size[], CkDiffusionBlocks *blocks);
/* products: what those of the matrix are in. */
PetscErrorCode CkDiffusionBlocksNext(CkDiffusionBlocks blocks, CkBlockMatrix *A, CkPrecision *products);
PetscErrorCode CkDiffusionBlocksDestroy(CkDiffusionBlocks *blocks);
/* Bytes a rank holds beyond the matrices, passes, without that of the norms, and floating-point operations of the
 * gradients, of all ranks; 0 for landscapes. Not collective; the engine's loaded tile is lost. */
PetscErrorCode CkDiffusionBlocksCost(CkDiffusion D, PetscInt n, const PetscInt size[], double *bytes, double *passes,
                                     double *operations);
