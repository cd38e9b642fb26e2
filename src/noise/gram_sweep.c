/*
  gram_sweep.c: S = X X' for the samples of a batch. Each rank keeps the gradients of its own samples for a range of
  weights, one pass over the batch a range; then slices of weights go to the ranks whose blocks of S need them. Ranges
  and slices are whole chunks of CkBlockProduct, so the bits do not depend on them, nor on the number of ranks, nor on
  where a run was interrupted, nor on the other samples of the batch.
*/
#include "noiseimpl.h"
#include <clarkia/blockproduct.h>
#include <clarkia/interrupt.h>
#include <clarkia/progress.h>
#include <petsctime.h>

typedef struct {
  PetscInt slice;   /* weights exchanged at a time */
  PetscInt range;   /* weights kept at a time: a multiple of slice */
  PetscInt samples; /* of this rank */
} Plan;

typedef struct {
  const CkGramSweep *sweep;
  Plan               plan;
  CkBlockMatrix      S;
  CkBlockProduct     product;
  CkGramCheckpoint   checkpoint; /* NULL: none */
  char              *store;      /* [range x samples] this rank's gradients, weight by weight */
  const char        *stopped;    /* why the sweep ends early; NULL: it does not */
  double             seconds;    /* of exchanges and products */
} Assembly;

static PetscInt WholeChunks(double weights)
{
  return PetscMax(1, (PetscInt)(weights / CK_PRODUCT_CHUNK)) * CK_PRODUCT_CHUNK;
}

/* What is not the store: buffers of the products, the shift. */
static double BufferMemory(const CkGramSweep *sweep, PetscInt slice)
{
  const CkDiffusionSizes *sizes = &sweep->sizes;

  return sizeof(double) * (double)sizes->d +
         CkBlockProductMemory(sizes->comm, sizes->N, slice, sizes->precision, sweep->precision);
}

/* Buffers of the products take an eighth of the memory at most, the gradients what is left. The most samples of a rank
   are those of rank 0. */
static Plan MakePlan(const CkGramSweep *sweep)
{
  const CkDiffusionSizes *sizes = &sweep->sizes;
  const double            row = (double)CkBlocksCount(&sizes->blocks, 0) * (double)sizes->bytes, d = (double)sizes->d;
  const double            chunk = BufferMemory(sweep, CK_PRODUCT_CHUNK) - BufferMemory(sweep, 0);
  const PetscInt          last = (sizes->d + CK_PRODUCT_CHUNK - 1) / CK_PRODUCT_CHUNK * CK_PRODUCT_CHUNK;
  Plan                    plan;
  double                  fit, ranges;

  plan.slice = WholeChunks(PetscMin(4096., CK_PRODUCT_CHUNK * sweep->memory / 8 / chunk));
  fit = PetscMin(PetscMax(0, sweep->memory - BufferMemory(sweep, plan.slice)) / row, d);
  plan.range = fit >= d ? last : WholeChunks(fit);
  ranges = ceil(d / (double)plan.range);
  plan.range = PetscMin(plan.range, WholeChunks(d / ranges + CK_PRODUCT_CHUNK - 1)); /* all ranges about alike */
  plan.slice = PetscMin(plan.range, plan.slice);
  plan.samples = CkBlocksCount(&sizes->blocks, sizes->blocks.rank);
  return plan;
}

double CkGramSweepMemory(const CkGramSweep *sweep)
{
  const CkDiffusionSizes *sizes = &sweep->sizes;
  const Plan              plan = MakePlan(sweep);

  return BufferMemory(sweep, plan.slice) +
         (double)PetscMin(plan.range, sizes->d) * (double)CkBlocksCount(&sizes->blocks, 0) * (double)sizes->bytes;
}

PetscInt CkGramSweepRanges(const CkGramSweep *sweep)
{
  const Plan plan = MakePlan(sweep);

  return (sweep->sizes.d + plan.range - 1) / plan.range;
}

PetscErrorCode CkGramSweepGradients(const CkGramSweep *sweep, double *operations)
{
  const CkDiffusionSizes *sizes = &sweep->sizes;
  const Plan              plan = MakePlan(sweep);
  CkEngine                engine;

  PetscFunctionBeginUser;
  *operations = 0;
  PetscCall(CkLossGetEngine(sweep->D->loss, &engine));
  for (PetscInt first = 0; engine && first < sizes->d; first += plan.range) {
    double load, rows;

    PetscCall(CkEngineSetRange(engine, first, PetscMin(plan.range, sizes->d - first)));
    PetscCall(CkEngineGetCost(engine, NULL, &load, &rows, NULL, NULL));
    *operations += (double)sizes->N * (load + rows);
  }
  if (engine) PetscCall(CkEngineSetRange(engine, 0, sizes->d));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode MakeProduct(Assembly *a)
{
  const CkGramSweep   *sweep = a->sweep;
  const CkBlocks      *blocks = &sweep->sizes.blocks;
  CkBlockProductLayout layout = {
    .terms = a->plan.slice, .given = sweep->sizes.precision, .precision = sweep->precision, .nmine = a->plan.samples};
  PetscInt *mine;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc1(a->plan.samples, &mine));
  for (PetscInt k = 0; k < a->plan.samples; ++k)
    mine[k] = (k / blocks->block * blocks->size + blocks->rank) * blocks->block + k % blocks->block;
  layout.mine = mine;
  PetscCall(CkBlockProductCreate(a->S, &layout, &a->product));
  PetscCall(PetscFree(mine));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Without a file to go on from there is no stopping. */
static PetscErrorCode Ask(Assembly *a)
{
  PetscFunctionBeginUser;
  if (a->checkpoint) PetscCall(CkInterruptRequested(a->sweep->sizes.comm, &a->stopped));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* One pass: keeps weights first .. first+count of this rank's gradients. */
static PetscErrorCode FillStore(Assembly *a, PetscInt first, PetscInt count)
{
  const CkDiffusionSizes *sizes = &a->sweep->sizes;
  CkPass                  pass;
  CkTile                  tile;

  PetscFunctionBeginUser;
  PetscCall(CkPassBegin(a->sweep->D->loss, &a->sweep->batch, &pass));
  PetscCall(CkPassSetRange(pass, first, count));
  while (!a->stopped) {
    PetscCall(CkPassNext(pass, &tile));
    if (!tile.more) break;
    PetscCall(CkPassEntries(pass, a->store + (size_t)CkBlocksLocal(&sizes->blocks, tile.first) * sizes->bytes,
                            (size_t)a->plan.samples));
    PetscCall(Ask(a));
  }
  PetscCall(CkPassEnd(&pass));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Adds weights first .. first+count, which stand at `offset` in the stores. */
static PetscErrorCode AddSlice(Assembly *a, PetscInt first, PetscInt offset, PetscInt count)
{
  const double  *shift = a->sweep->shift;
  PetscLogDouble before, after;

  PetscFunctionBeginUser;
  PetscCall(PetscTime(&before));
  PetscCall(CkBlockProductAdd(a->product, count,
                              a->store + (size_t)offset * (size_t)a->plan.samples * a->sweep->sizes.bytes,
                              shift ? shift + first : NULL));
  PetscCall(PetscTime(&after));
  a->seconds += after - before;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Weights first .. first+range; *done: how far S has come. */
static PetscErrorCode AddRange(Assembly *a, PetscInt first, PetscInt range, PetscInt *done)
{
  const PetscInt d = a->sweep->sizes.d;

  PetscFunctionBeginUser;
  PetscCall(FillStore(a, first, range));
  for (PetscInt offset = 0; offset < range && !a->stopped; offset += a->plan.slice) {
    const PetscInt count = PetscMin(a->plan.slice, range - offset);

    PetscCall(AddSlice(a, first + offset, offset, count));
    *done = first + offset + count;
    PetscCall(CkProgressUpdate(a->sweep->progress, a->sweep->before + (double)*done));
    if (*done < d) PetscCall(Ask(a));
    if (!a->stopped && *done < d) PetscCall(CkGramCheckpointUpdate(a->checkpoint, a->S, *done));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Report(const Assembly *a, PetscInt start, PetscInt done)
{
  const CkDiffusionSizes *sizes = &a->sweep->sizes;
  const double            operations = (double)sizes->N * (double)sizes->N * (double)(done - start);

  PetscFunctionBeginUser;
  if (a->stopped)
    PetscCall(
      CkLog(sizes->comm, "Gram matrix: stopped after %" PetscInt_FMT " of %" PetscInt_FMT " weights", done, sizes->d));
  else if (done > start)
    PetscCall(CkLog(sizes->comm, "Gram matrix: exchange and products in %s precision %.3g s, %.4g GFLOP/s of N^2 d",
                    a->sweep->precision == CK_FLOAT32 ? "single" : "double", a->seconds,
                    1e-9 * operations / PetscMax(a->seconds, 1e-9)));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Assemble(Assembly *a)
{
  const CkDiffusionSizes *sizes = &a->sweep->sizes;
  PetscInt                start = 0, done;

  PetscFunctionBeginUser;
  PetscCall(CkGramCheckpointResume(a->checkpoint, a->S, &start));
  done = start;
  while (done < sizes->d && !a->stopped) PetscCall(AddRange(a, done, PetscMin(a->plan.range, sizes->d - done), &done));
  if (done > start) PetscCall(CkGramCheckpointWrite(a->checkpoint, a->S, done));
  if (!a->sweep->part) PetscCall(Report(a, start, done));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkGramSweepRun(const CkGramSweep *sweep, CkBlockMatrix S, CkGramCheckpoint checkpoint,
                              const char **stopped)
{
  const CkDiffusionSizes *sizes = &sweep->sizes;
  Assembly                a = {.sweep = sweep, .plan = MakePlan(sweep), .S = S, .checkpoint = checkpoint};

  PetscFunctionBeginUser;
  PetscCall(
    PetscMalloc1((size_t)PetscMin(a.plan.range, sizes->d) * (size_t)a.plan.samples * sizes->bytes + 1, &a.store));
  PetscCall(MakeProduct(&a));
  PetscCall(Assemble(&a));
  PetscCall(CkBlockProductDestroy(&a.product));
  PetscCall(PetscFree(a.store));
  *stopped = a.stopped;
  PetscFunctionReturn(PETSC_SUCCESS);
}
