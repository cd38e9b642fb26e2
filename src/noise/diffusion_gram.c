/*
  diffusion_gram.c: K = (1/N) P G G' P, N x N. Each rank keeps the gradients of its own samples for a range of weights,
  one pass over the data a range; then slices of weights go to the ranks whose blocks of K need them. The mean gradient
  is subtracted before the products, so that they do not cancel, and P applied to K afterwards takes away what that mean
  lacks of the mean of the rows: docs/theory.md, section 3. Ranges and slices are whole chunks of CkBlockProduct, so the
  bits do not depend on them, nor on the number of ranks, nor on where a run was interrupted.
*/
#include "noiseimpl.h"
#include <clarkia/blockproduct.h>
#include <clarkia/interrupt.h>
#include <clarkia/progress.h>
#include <petsctime.h>

enum { SHIFT_SAMPLES = 256 }; /* their mean is that of all up to 1/16 of a gradient's deviation: (G.6) takes any */

typedef struct {
  PetscInt    slice;   /* weights exchanged at a time */
  PetscInt    range;   /* weights kept at a time: a multiple of slice */
  PetscInt    samples; /* of this rank */
  CkPrecision precision;
} GramPlan;

typedef struct {
  GramPlan         plan;
  CkDiffusionSizes sizes;
  CkBlockMatrix    K;
  CkBlockProduct   product;
  CkGramCheckpoint checkpoint; /* NULL: none */
  double          *shift;      /* [d] what is subtracted from each gradient, or NULL */
  char            *store;      /* [range x samples] this rank's gradients, weight by weight */
  const char      *stopped;    /* why the assembly ends early; NULL: it does not */
  double           seconds;    /* of exchanges and products */
} Gram;

/* Below this many operations, about a minute of one core, products in double precision cost little. Not a matter of the
   number of ranks: the bits depend on it. */
static const double CHEAP = 2e12;

CkPrecision CkDiffusionGramChoice(CkDiffusion D, const CkDiffusionSizes *sizes)
{
  const double operations = (double)sizes->N * (double)sizes->N * (double)sizes->d;

  if (D->gram_precision != CK_GRAM_AUTO) return D->gram_precision == CK_GRAM_SINGLE ? CK_FLOAT32 : CK_FLOAT64;
  return sizes->precision == CK_FLOAT64 || operations <= CHEAP ? CK_FLOAT64 : CK_FLOAT32;
}

static PetscInt WholeChunks(double weights)
{
  return PetscMax(1, (PetscInt)(weights / CK_PRODUCT_CHUNK)) * CK_PRODUCT_CHUNK;
}

/* What is not the store: buffers of the products, the shift. */
static double BufferMemory(CkDiffusion D, const CkDiffusionSizes *sizes, PetscInt slice)
{
  return sizeof(double) * (double)sizes->d +
         CkBlockProductMemory(sizes->comm, sizes->N, slice, sizes->precision, CkDiffusionGramChoice(D, sizes));
}

/* Buffers of the products take an eighth of the memory at most, the gradients what is left. The most samples of a rank
   are those of rank 0. */
static GramPlan MakePlan(CkDiffusion D, const CkDiffusionSizes *sizes)
{
  const double   row = (double)CkBlocksCount(&sizes->blocks, 0) * (double)sizes->bytes, d = (double)sizes->d;
  const double   chunk = BufferMemory(D, sizes, CK_PRODUCT_CHUNK) - BufferMemory(D, sizes, 0);
  const PetscInt last = (sizes->d + CK_PRODUCT_CHUNK - 1) / CK_PRODUCT_CHUNK * CK_PRODUCT_CHUNK;
  GramPlan       plan;
  double         fit, ranges;

  plan.slice = WholeChunks(PetscMin(4096., CK_PRODUCT_CHUNK * D->memory / 8 / chunk));
  fit = PetscMin(PetscMax(0, D->memory - BufferMemory(D, sizes, plan.slice)) / row, d);
  plan.range = fit >= d ? last : WholeChunks(fit);
  ranges = ceil(d / (double)plan.range);
  plan.range = PetscMin(plan.range, WholeChunks(d / ranges + CK_PRODUCT_CHUNK - 1)); /* all ranges about alike */
  plan.slice = PetscMin(plan.range, plan.slice);
  plan.samples = CkBlocksCount(&sizes->blocks, sizes->blocks.rank);
  plan.precision = CkDiffusionGramChoice(D, sizes);
  return plan;
}

double CkDiffusionGramMemory(CkDiffusion D, const CkDiffusionSizes *sizes)
{
  const GramPlan plan = MakePlan(D, sizes);

  return BufferMemory(D, sizes, plan.slice) +
         (double)PetscMin(plan.range, sizes->d) * (double)CkBlocksCount(&sizes->blocks, 0) * (double)sizes->bytes;
}

double CkDiffusionGramPasses(CkDiffusion D, const CkDiffusionSizes *sizes)
{
  const GramPlan plan = MakePlan(D, sizes);
  const PetscInt ranges = (sizes->d + plan.range - 1) / plan.range;

  return (double)ranges + (D->centred && sizes->N > SHIFT_SAMPLES ? SHIFT_SAMPLES / (double)sizes->N : 0);
}

PetscErrorCode CkDiffusionGramGradients(CkDiffusion D, const CkDiffusionSizes *sizes, double *operations)
{
  const GramPlan plan = MakePlan(D, sizes);
  CkEngine       engine;

  PetscFunctionBeginUser;
  *operations = 0;
  PetscCall(CkLossGetEngine(D->loss, &engine));
  for (PetscInt first = 0; engine && first < sizes->d; first += plan.range) {
    double load, rows;

    PetscCall(CkEngineSetRange(engine, first, PetscMin(plan.range, sizes->d - first)));
    PetscCall(CkEngineGetCost(engine, NULL, &load, &rows, NULL, NULL));
    *operations += (double)sizes->N * (load + rows);
  }
  if (engine) PetscCall(CkEngineSetRange(engine, 0, sizes->d));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkDiffusionGramTakesMean(CkDiffusion D, PetscBool *mean)
{
  CkDiffusionSizes sizes;

  PetscFunctionBeginUser;
  PetscCall(CkDiffusionGetSizes(D, &sizes));
  *mean = (PetscBool)(D->centred && sizes.N <= SHIFT_SAMPLES);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Of each gradient: a mean, or the opposite of what the second moment adds. */
static PetscErrorCode MakeShift(CkDiffusion D, Gram *g)
{
  const double *mean;
  PetscBool     known = PETSC_FALSE;

  PetscFunctionBeginUser;
  PetscCall(CkDiffusionGetShift(D, &g->shift));
  for (PetscInt i = 0; g->shift && i < g->sizes.d; ++i) g->shift[i] = -g->shift[i];
  if (!D->centred) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(PetscMalloc1(g->sizes.d, &g->shift));
  PetscCall(CkDiffusionGramTakesMean(D, &known));
  if (known) {
    PetscCall(CkLossMeanGradient(D->loss, &mean));
    PetscCall(PetscArraycpy(g->shift, mean, g->sizes.d));
  } else PetscCall(CkLossSampleMean(D->loss, SHIFT_SAMPLES, g->shift));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode MakeProduct(Gram *g)
{
  const CkBlocks      *blocks = &g->sizes.blocks;
  CkBlockProductLayout layout = {
    .terms = g->plan.slice, .given = g->sizes.precision, .precision = g->plan.precision, .nmine = g->plan.samples};
  PetscInt *mine;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc1(g->plan.samples, &mine));
  for (PetscInt k = 0; k < g->plan.samples; ++k)
    mine[k] = (k / blocks->block * blocks->size + blocks->rank) * blocks->block + k % blocks->block;
  layout.mine = mine;
  PetscCall(CkBlockProductCreate(g->K, &layout, &g->product));
  PetscCall(PetscFree(mine));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode GramCreate(CkDiffusion D, Gram *g)
{
  const CkDiffusionSizes *sizes = &g->sizes;

  PetscFunctionBeginUser;
  PetscCall(MakeShift(D, g));
  PetscCall(
    PetscMalloc1((size_t)PetscMin(g->plan.range, sizes->d) * (size_t)g->plan.samples * sizes->bytes + 1, &g->store));
  PetscCall(CkBlockMatrixCreate(sizes->comm, sizes->N, &g->K));
  PetscCall(MakeProduct(g));
  PetscCall(CkGramCheckpointCreate(D, sizes, g->plan.precision, g->shift, &g->checkpoint));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode GramDestroy(Gram *g)
{
  PetscFunctionBeginUser;
  PetscCall(CkGramCheckpointDestroy(&g->checkpoint));
  PetscCall(CkBlockProductDestroy(&g->product));
  PetscCall(PetscFree(g->shift));
  PetscCall(PetscFree(g->store));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Without a file to go on from there is no stopping. */
static PetscErrorCode Ask(CkDiffusion D, Gram *g)
{
  PetscFunctionBeginUser;
  if (D->checkpoint[0]) PetscCall(CkInterruptRequested(g->sizes.comm, &g->stopped));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* One pass: keeps weights first .. first+count of this rank's gradients. */
static PetscErrorCode FillStore(CkDiffusion D, Gram *g, PetscInt first, PetscInt count)
{
  const CkBatch all = CkBatchAll(g->sizes.N);
  const size_t  samples = (size_t)g->plan.samples;
  CkPass        pass;
  CkTile        tile;

  PetscFunctionBeginUser;
  PetscCall(CkPassBegin(D->loss, &all, &pass));
  PetscCall(CkPassSetRange(pass, first, count));
  while (!g->stopped) {
    const CkBlocks *blocks = &g->sizes.blocks;

    PetscCall(CkPassNext(pass, &tile));
    if (!tile.more) break;
    PetscCall(CkPassEntries(pass, g->store + (size_t)CkBlocksLocal(blocks, tile.first) * g->sizes.bytes, samples));
    PetscCall(Ask(D, g));
  }
  PetscCall(CkPassEnd(&pass));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Adds weights first .. first+count, which stand at `offset` in the stores. */
static PetscErrorCode AddSlice(Gram *g, PetscInt first, PetscInt offset, PetscInt count)
{
  PetscLogDouble before, after;

  PetscFunctionBeginUser;
  PetscCall(PetscTime(&before));
  PetscCall(CkBlockProductAdd(g->product, count, g->store + (size_t)offset * (size_t)g->plan.samples * g->sizes.bytes,
                              g->shift ? g->shift + first : NULL));
  PetscCall(PetscTime(&after));
  g->seconds += after - before;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Weights first .. first+range; *done: how far K has come. */
static PetscErrorCode AddRange(CkDiffusion D, Gram *g, PetscInt first, PetscInt range, PetscInt *done,
                               CkProgress progress)
{
  PetscFunctionBeginUser;
  PetscCall(FillStore(D, g, first, range));
  for (PetscInt offset = 0; offset < range && !g->stopped; offset += g->plan.slice) {
    const PetscInt count = PetscMin(g->plan.slice, range - offset);

    PetscCall(AddSlice(g, first + offset, offset, count));
    *done = first + offset + count;
    PetscCall(CkProgressUpdate(progress, (double)*done));
    if (*done < g->sizes.d) PetscCall(Ask(D, g));
    if (!g->stopped && *done < g->sizes.d) PetscCall(CkGramCheckpointUpdate(g->checkpoint, g->K, *done));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Assemble(CkDiffusion D, Gram *g)
{
  const double operations = (double)g->sizes.N * (double)g->sizes.N;
  PetscInt     start = 0, done;
  CkProgress   progress;

  PetscFunctionBeginUser;
  PetscCall(CkGramCheckpointResume(g->checkpoint, g->K, &start));
  PetscCall(CkProgressCreate(g->sizes.comm, "assembling the Gram matrix", "weights", (double)g->sizes.d, &progress));
  done = start;
  while (done < g->sizes.d && !g->stopped)
    PetscCall(AddRange(D, g, done, PetscMin(g->plan.range, g->sizes.d - done), &done, progress));
  PetscCall(CkProgressDestroy(&progress));
  if (done > start) PetscCall(CkGramCheckpointWrite(g->checkpoint, g->K, done));
  if (g->stopped)
    PetscCall(CkLog(g->sizes.comm, "Gram matrix: stopped after %" PetscInt_FMT " of %" PetscInt_FMT " weights", done,
                    g->sizes.d));
  else if (done > start)
    PetscCall(CkLog(g->sizes.comm, "Gram matrix: exchange and products in %s precision %.3g s, %.4g GFLOP/s of N^2 d",
                    g->plan.precision == CK_FLOAT32 ? "single" : "double", g->seconds,
                    1e-9 * operations * (double)(done - start) / PetscMax(g->seconds, 1e-9)));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* 1/N, and what is left of the mean of the rows. */
static PetscErrorCode Finish(CkDiffusion D, Gram *g)
{
  PetscFunctionBeginUser;
  PetscCall(CkBlockMatrixScale(g->K, 1. / (double)g->sizes.N));
  if (D->centred) PetscCall(CkBlockMatrixCentre(g->K));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkDiffusionGram(CkDiffusion D, CkBlockMatrix *K)
{
  Gram   g = {.stopped = NULL};
  double matrix, work, buffers;

  PetscFunctionBeginUser;
  PetscCall(CkDiffusionGetSizes(D, &g.sizes));
  buffers = CkDiffusionGramMemory(D, &g.sizes);
  PetscCall(CkBlockMatrixMemory(g.sizes.comm, g.sizes.N, PETSC_FALSE, CK_SOLVER_SCALAPACK, &matrix, &work));
  PetscCall(CkMemoryCheck(g.sizes.comm, matrix + buffers, "the Gram matrix",
                          "use more ranks, fewer samples (-data_count), -spectrum_method krylov, a smaller "
                          "-noise_memory, or raise -memory_limit"));
  g.plan = MakePlan(D, &g.sizes);
  PetscCall(GramCreate(D, &g));
  if (D->checkpoint[0]) PetscCall(CkInterruptBegin());
  PetscCall(Assemble(D, &g));
  PetscCall(CkInterruptEnd());
  PetscCall(GramDestroy(&g));
  if (g.stopped) PetscCall(CkBlockMatrixDestroy(&g.K));
  CkCheckAll(g.sizes.comm, !g.stopped, CK_ERR_REQUEUE,
             "stopped (%s) before the Gram matrix was complete: the same command goes on from %s", g.stopped,
             D->checkpoint);
  PetscCall(Finish(D, &g));
  *K = g.K;
  PetscFunctionReturn(PETSC_SUCCESS);
}
