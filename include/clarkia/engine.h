#pragma once
#include <clarkia/batch.h>
#include <clarkia/exactsum.h>
#include <clarkia/net.h>

/*
  CkEngine: runs a net on a tile of samples on this rank. Serial (only CkEngineTrain() communicates, and only for batch
  norm). `reference`: double precision, plain loops, unfolded, the oracle. `onednn`: float32, batch norm folded.
  A variant is one file (or folder) and one line in engine_types.c; what it implements stands in
  src/engine/engineimpl.h.

  Evaluation mode. After CkEngineLoad() the engine holds, for its n samples, what the per-sample gradients g_k are made
  of; Rows, SquaredNorms, Dot and Accumulate contract them, each layer in the form (factored or explicit) the engine
  chose. Engine coordinates: length `de` >= 0, those of the folded layers (decision 4); for `reference` they are the
  net's own (de = d, T = identity). g = T g', hence g.v = g'.(T'v) and sum w_k g_k = T sum w_k g'_k. Sample gradients do
  not depend on which other samples share the tile (to the last bit for equal tile position sizes).
*/
typedef struct _p_CkEngine *CkEngine;

PetscErrorCode CkEngineCreate(CkNet net, CkEngine *engine);
PetscErrorCode CkEngineSetType(CkEngine engine, const char type[]); /* "reference" | "onednn" */
PetscErrorCode CkEngineSetFromOptions(
  CkEngine engine); /* -engine, -engine_tile, -engine_layer_form auto|factored|explicit */
PetscErrorCode CkEngineSetTile(
  CkEngine engine, PetscInt capacity); /* most samples a Load or Values call brings; default from options (64) */
PetscErrorCode CkEngineSetUp(CkEngine engine); /* primitives and buffers; once */
PetscErrorCode CkEngineDestroy(CkEngine *engine);
PetscErrorCode CkEngineView(CkEngine engine, MPI_Comm comm); /* per layer: form, implementation name, operations */
PetscErrorCode CkEngineGetType(CkEngine engine, const char **type);
PetscErrorCode CkEngineGetPrecision(CkEngine engine, CkPrecision *precision); /* of per-sample gradients */
PetscErrorCode CkEngineGetSize(CkEngine engine, PetscInt *de);                /* length of the engine coordinates */
/* Bytes this engine holds at this tile size, and flops of load, dot and accumulate per sample (per column for the last
 * two). */
PetscErrorCode CkEngineGetCost(CkEngine engine, double *bytes, double *load, double *rows, double *dot,
                               double *accumulate);
PetscErrorCode CkEngineRegisterOptions(void);

/* Weights [d], borrowed until the next point, and buffers: folded and cast once, when they are first used. The loaded
   tile and the columns of another point are dropped. */
PetscErrorCode CkEngineSetPoint(CkEngine engine, const double weights[], const double buffers[]);

/* n <= capacity samples, features [n x input size] float32 (C,H,W), labels [n]. values[n]: f_k (float64 head, decision
   5); correct[n] (NULL: not wanted): 1 where the arg max is the label. Non-finite f_k are returned as they are: the
   caller names the sample. */
PetscErrorCode CkEngineValues(CkEngine engine, PetscInt n, const float features[], const PetscInt labels[],
                              double values[], int correct[]); /* forward only; drops the loaded tile */
PetscErrorCode CkEngineLoad(CkEngine engine, PetscInt n, const float features[], const PetscInt labels[],
                            double values[], int correct[]); /* forward and backward */

/* Contractions of the loaded tile; n is that of the last Load. */
PetscErrorCode CkEngineRows(CkEngine engine, CkPrecision precision, void *G,
                            size_t ld); /* g_k in row k, original coordinates, [n x ld], ld >= d */
/* From the next Load on only entries first .. first+count of the gradients are wanted (drops the loaded tile): it makes
   no others and goes back no further than the layers that hold them, and CkEngineEntries() and CkEngineFactors() are
   the only contractions. (0, d): all, as after SetUp. CkEngineGetCost() tells load and rows of the range. */
PetscErrorCode CkEngineSetRange(CkEngine engine, PetscInt first, PetscInt count);
/* Entries first .. first+count, within the range, weight by weight in the engine's precision: G [count x ld], ld >= n,
   holds entry first + i of g_k at i ld + k. */
PetscErrorCode CkEngineEntries(CkEngine engine, PetscInt first, PetscInt count, void *G, size_t ld);
/* A dense layer of which no entries need be formed for a Gram matrix: weight first + o inputs + i of g_k is b_ok a_ik
   in original coordinates, docs/theory.md, eq. (G.10). */
typedef struct {
  PetscInt first, outputs, inputs;
} CkFactors;
/* All of them, in the order of x: dense layers with -engine_layer_form factored, with auto those for which products of
   factors are cheaper, with explicit none; borrowed. */
PetscErrorCode CkEngineGetFactors(CkEngine engine, PetscInt *n, const CkFactors **factors);
/* a [inputs x ld] and b [outputs x ld] of one of them, in the engine's precision, sample k in column k; a weight of the
   layer must be in the range. */
PetscErrorCode CkEngineFactors(CkEngine engine, PetscInt number, void *inputs, void *derivatives, size_t ld);
PetscErrorCode CkEngineSquaredNorms(CkEngine engine, double original[],
                                    double folded[]); /* |g_k|^2 and |g'_k|^2 [n]; folded may be NULL */
/* V [m x d], one vector a row: T'v, cast and laid out once for many Dots, in memory of the engine's own. */
PetscErrorCode CkEngineSetColumns(CkEngine engine, PetscInt m, const double V[]);
/* The same in pieces, in memory (64-byte aligned, of CkEngineColumnBytes(m), borrowed until other columns come) that
   may belong to several engines of the same net at the same point: each column is packed by one of them, and all read
   all. Packing for others and waiting for them is the caller's business. */
PetscErrorCode CkEngineColumnBytes(CkEngine engine, PetscInt m, size_t *bytes);
PetscErrorCode CkEngineUseColumns(CkEngine engine, PetscInt m, void *memory);
PetscErrorCode CkEnginePackColumn(CkEngine engine, PetscInt j, const double v[]); /* column j of those in use */
PetscErrorCode CkEngineDot(CkEngine engine, double S[]); /* S [n x m] = g_k.v_j with the columns set */
PetscErrorCode CkEngineAccumulate(CkEngine engine, PetscInt m, const double S[],
                                  double A[]); /* A [m x de] += sum_k S_kj g'_k, over this tile */
/* The same sums, one term an entry and tile, to vectors 0 .. m-1 of an exact sum of length de: without the way through
   A. PETSC_ERR_SUP where CkEngineHasExact() says no. */
PetscErrorCode CkEngineAccumulateExact(CkEngine engine, PetscInt m, const double S[], CkExactSum sum);
PetscBool      CkEngineHasExact(CkEngine engine);
PetscErrorCode CkEngineUnfold(CkEngine engine, PetscInt m, const double A[], double out[]); /* out [m x d] = T A */

/*
  Training mode. The rank's sum blocks of one batch, processed together because batch norm couples them; gradients of
  sum_k w_k f_k are flushed to `gradient` (original coordinates, vector 0) block by block, in block order.
  Batch-norm sums are added in the order of positions: the same bits on any rank count. statistics [buffers]: mean and
  unbiased variance of this batch in the layout of the buffers, averaged over the normalisation groups with their sizes
  as weights (NULL: not wanted; must be wanted by all ranks or none). Uses the point's weights; the running statistics
  do not enter. values, correct (NULL: not wanted): those of the blocks' samples, in training mode. Where any f_k of the
  batch is not finite, on any rank, the gradient is left as it was: the caller names the sample.
  Collective on comm, also for ranks with no block; `gradient` should hold bad terms (CkExactSumSetHold()), for an error
  of CkExactSumAdd() on one rank would leave the others waiting. A loaded tile is lost.
*/
typedef struct {
  MPI_Comm        comm;
  uint64_t        seed;
  const CkBatch  *batch;
  PetscInt        group;    /* samples normalised together; batch->n: all (decision 11); one is refused by the caller */
  PetscInt        nblocks;  /* sum blocks of this rank */
  const PetscInt *first;    /* [nblocks] position of the block's first sample */
  const PetscInt *size;     /* [nblocks] samples in it */
  const float    *features; /* all blocks, one after the other */
  const PetscInt *labels;
  const double   *weights; /* w_k of these samples */
} CkTrainingBlocks;

PetscErrorCode CkEngineTrain(CkEngine engine, const CkTrainingBlocks *blocks, double values[], int correct[],
                             double statistics[], CkExactSum gradient);
