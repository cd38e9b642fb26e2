/*
  gram_sweep.c: S = X X' for the samples of a batch. The weights of factored layers (CkFactors) stand apart from the
  others, whose gradients are formed: those come first, then layer after layer by the product of its two small Gram
  matrices, (G.10). Each rank keeps the gradients of its own samples for a range of weights, and the factors of layers
  that find room behind the last of them, one pass over the batch a range; then slices go to the ranks whose blocks of S
  need them. Ranges and slices are whole chunks of CkBlockProduct, so the bits do not depend on them, nor on the number
  of ranks, nor on where a run was interrupted, nor on the other samples of the batch.
*/
#include "noiseimpl.h"
#include <clarkia/blockproduct.h>
#include <clarkia/interrupt.h>
#include <petsctime.h>

/* Rows of a store: of a weight each, or of a factored layer's inputs and derivatives. */
typedef struct {
  PetscInt slice;   /* rows exchanged at a time */
  PetscInt rows;    /* kept at a time, at most, but for a layer that has more */
  PetscInt samples; /* of this rank */
} Plan;

/* What a pass keeps: weights first .. first+count of those that are formed, then `layers` factored layers. */
typedef struct {
  PetscInt first, count, layer, layers;
} Range;

typedef struct {
  const CkGramSweep *sweep;
  Plan               plan;
  CkBlockMatrix      S;
  PetscBool          factored;   /* what the product is for */
  CkBlockProduct     product;    /* NULL: none yet */
  CkGramCheckpoint   checkpoint; /* NULL: none */
  double            *shift;      /* [formed] or NULL */
  char              *store;      /* [rows of a range x samples] of this rank */
  CkGramDone         done;
  const char        *stopped; /* why the sweep ends early; NULL: it does not */
  double             seconds; /* of exchanges and products */
} Assembly;

static PetscInt WholeChunks(double rows)
{
  return PetscMax(1, (PetscInt)(rows / CK_PRODUCT_CHUNK)) * CK_PRODUCT_CHUNK;
}

static PetscInt LayerRows(const CkFactors *layer)
{
  return layer->inputs + layer->outputs;
}

static PetscInt LayerWeights(const CkFactors *layer)
{
  return layer->inputs * layer->outputs;
}

PetscInt CkGramSweepFormed(const CkGramSweep *sweep)
{
  PetscInt formed = sweep->sizes.d;

  for (PetscInt i = 0; i < sweep->nlayers; ++i) formed -= LayerWeights(&sweep->layers[i]);
  return formed;
}

/* Rows of all stores, terms of all products. */
static double AllRows(const CkGramSweep *sweep)
{
  double rows = (double)CkGramSweepFormed(sweep);

  for (PetscInt i = 0; i < sweep->nlayers; ++i) rows += (double)LayerRows(&sweep->layers[i]);
  return rows;
}

double CkGramSweepWeights(const CkGramSweep *sweep, const CkGramDone *done)
{
  double weights = (double)done->weights;

  for (PetscInt i = 0; i < done->layers; ++i) weights += (double)LayerWeights(&sweep->layers[i]);
  return weights;
}

/* Where weight number i of those that are formed stands in x; *run: how many follow it there one by one. */
static PetscInt PlaceOf(const CkGramSweep *sweep, PetscInt i, PetscInt *run)
{
  PetscInt l = 0;

  for (; l < sweep->nlayers && i >= sweep->layers[l].first; ++l) i += LayerWeights(&sweep->layers[l]);
  *run = (l < sweep->nlayers ? sweep->layers[l].first : sweep->sizes.d) - i;
  return i;
}

/* What is not the store: the shift, as it is given and of formed weights alone, and buffers of one product or the
   other. */
static double BufferMemory(const CkGramSweep *sweep, PetscInt slice)
{
  const CkDiffusionSizes *sizes = &sweep->sizes;
  double product = CkBlockProductMemory(sizes->comm, sizes->N, slice, sizes->precision, sweep->precision);

  for (PetscInt i = 0; i < sweep->nlayers; ++i) {
    const PetscInt terms = CkBlockProductFactoredTerms(sweep->layers[i].inputs, sweep->layers[i].outputs);

    product = PetscMax(product, CkBlockProductMemory(sizes->comm, sizes->N, terms, sizes->precision, CK_FLOAT64));
  }
  return sizeof(double) * ((double)sizes->d + (double)CkGramSweepFormed(sweep)) + product;
}

/* Buffers of the products of formed gradients take an eighth of the memory at most, what is kept the rest. The most
   samples of a rank are those of rank 0. */
static Plan MakePlan(const CkGramSweep *sweep)
{
  const CkDiffusionSizes *sizes = &sweep->sizes;
  const double            row = (double)CkBlocksCount(&sizes->blocks, 0) * (double)sizes->bytes;
  const double one = CkBlockProductMemory(sizes->comm, sizes->N, CK_PRODUCT_CHUNK, sizes->precision, sweep->precision);
  const double none = CkBlockProductMemory(sizes->comm, sizes->N, 0, sizes->precision, sweep->precision);
  const double all = AllRows(sweep);
  Plan         plan;
  double       fit;

  plan.slice = WholeChunks(PetscMin(4096., CK_PRODUCT_CHUNK * sweep->memory / 8 / (one - none)));
  fit = PetscMax(0, sweep->memory - BufferMemory(sweep, plan.slice)) / row;
  plan.rows = WholeChunks(PetscMin(fit, all) + (fit >= all ? CK_PRODUCT_CHUNK - 1 : 0));
  if (fit < all) /* all ranges about alike */
    plan.rows = PetscMin(plan.rows, WholeChunks(all / ceil(all / (double)plan.rows) + CK_PRODUCT_CHUNK - 1));
  plan.slice =
    PetscMin(PetscMin(plan.rows, plan.slice), WholeChunks((double)CkGramSweepFormed(sweep) + CK_PRODUCT_CHUNK - 1));
  plan.samples = CkBlocksCount(&sizes->blocks, sizes->blocks.rank);
  return plan;
}

/* What the next pass keeps, behind what is done; false: nothing is left. */
static PetscBool NextRange(const CkGramSweep *sweep, const Plan *plan, const CkGramDone *done, Range *range)
{
  const PetscInt left = CkGramSweepFormed(sweep) - done->weights;
  PetscInt       rows = PetscMin(plan->rows, left);

  *range = (Range){.first = done->weights, .count = rows, .layer = done->layers};
  while (range->count == left && range->layer + range->layers < sweep->nlayers) {
    rows += LayerRows(&sweep->layers[range->layer + range->layers]);
    if (rows > plan->rows && (range->count > 0 || range->layers > 0)) break;
    ++range->layers;
  }
  return (PetscBool)(range->count > 0 || range->layers > 0);
}

static PetscInt RangeRows(const CkGramSweep *sweep, const Range *range)
{
  PetscInt rows = range->count;

  for (PetscInt i = 0; i < range->layers; ++i) rows += LayerRows(&sweep->layers[range->layer + i]);
  return rows;
}

static void Pass(const Range *range, CkGramDone *done)
{
  done->weights += range->count;
  done->layers += range->layers;
}

/* Weights first .. first+count of x with all that are wanted. */
static void Hull(const CkGramSweep *sweep, const Range *range, PetscInt *first, PetscInt *count)
{
  PetscInt from = sweep->sizes.d, to = 0, run;

  if (range->count > 0) {
    from = PlaceOf(sweep, range->first, &run);
    to = PlaceOf(sweep, range->first + range->count - 1, &run) + 1;
  }
  for (PetscInt i = 0; i < range->layers; ++i) {
    const CkFactors *layer = &sweep->layers[range->layer + i];

    from = PetscMin(from, layer->first);
    to = PetscMax(to, layer->first + LayerWeights(layer));
  }
  *first = from;
  *count = to - from;
}

/* Rows of the largest store. */
static PetscInt MostRows(const CkGramSweep *sweep, const Plan *plan)
{
  CkGramDone done = {0, 0};
  Range      range;
  PetscInt   rows = 0;

  for (; NextRange(sweep, plan, &done, &range); Pass(&range, &done)) rows = PetscMax(rows, RangeRows(sweep, &range));
  return rows;
}

/* Of one sample's gradients, as far as the range needs them. */
static PetscErrorCode GradientCost(const CkGramSweep *sweep, CkEngine engine, const Range *range, double *operations)
{
  PetscInt first, count;
  double   load, rows;

  PetscFunctionBeginUser;
  Hull(sweep, range, &first, &count);
  PetscCall(CkEngineSetRange(engine, first, count));
  PetscCall(CkEngineGetCost(engine, NULL, &load, &rows, NULL, NULL));
  for (PetscInt i = 0; i < range->layers; ++i) rows -= (double)LayerWeights(&sweep->layers[range->layer + i]);
  *operations = load + rows;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkGramSweepCost(const CkGramSweep *sweep, CkAssemblyCost *cost)
{
  const CkDiffusionSizes *sizes = &sweep->sizes;
  const Plan              plan = MakePlan(sweep);
  const double            N = (double)sizes->N, samples = (double)CkBlocksCount(&sizes->blocks, 0);
  CkGramDone              done = {0, 0};
  Range                   range;
  CkEngine                engine;

  PetscFunctionBeginUser;
  *cost = (CkAssemblyCost){.products = N * N * AllRows(sweep)};
  cost->bytes = BufferMemory(sweep, plan.slice) + (double)MostRows(sweep, &plan) * samples * (double)sizes->bytes;
  PetscCall(CkLossGetEngine(sweep->D->loss, &engine));
  for (; NextRange(sweep, &plan, &done, &range); Pass(&range, &done)) {
    double one = 0;

    if (engine) PetscCall(GradientCost(sweep, engine, &range, &one));
    cost->gradients += N * one;
    cost->passes += 1;
  }
  if (engine) PetscCall(CkEngineSetRange(engine, 0, sizes->d));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The product that is needed now, in place of the other. */
static PetscErrorCode UseProduct(Assembly *a, PetscBool factored)
{
  const CkGramSweep   *sweep = a->sweep;
  const CkBlocks      *blocks = &sweep->sizes.blocks;
  CkBlockProductLayout layout = {
    .terms = a->plan.slice, .given = sweep->sizes.precision, .precision = sweep->precision, .nmine = a->plan.samples};
  PetscInt *mine;

  PetscFunctionBeginUser;
  if (a->product && a->factored == factored) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(CkBlockProductDestroy(&a->product));
  a->factored = factored;
  if (factored) layout.precision = CK_FLOAT64;
  for (PetscInt i = 0; factored && i < sweep->nlayers; ++i)
    layout.terms = PetscMax(i > 0 ? layout.terms : 0,
                            CkBlockProductFactoredTerms(sweep->layers[i].inputs, sweep->layers[i].outputs));
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

static char *StoreRow(const Assembly *a, PetscInt row)
{
  return a->store + (size_t)row * (size_t)a->plan.samples * a->sweep->sizes.bytes;
}

/* The tile's part of the range. */
static PetscErrorCode FillTile(Assembly *a, CkPass pass, const CkTile *tile, const Range *range)
{
  const CkGramSweep *sweep = a->sweep;
  const size_t       column = (size_t)CkBlocksLocal(&sweep->sizes.blocks, tile->first) * sweep->sizes.bytes;
  const size_t       ld = (size_t)a->plan.samples;
  PetscInt           row = 0, run;

  PetscFunctionBeginUser;
  for (; row < range->count; row += run) {
    const PetscInt at = PlaceOf(sweep, range->first + row, &run);

    run = PetscMin(run, range->count - row);
    PetscCall(CkPassEntries(pass, at, run, StoreRow(a, row) + column, ld));
  }
  for (PetscInt i = range->layer; i < range->layer + range->layers; ++i) {
    const CkFactors *layer = &sweep->layers[i];

    PetscCall(CkPassFactors(pass, i, StoreRow(a, row) + column, StoreRow(a, row + layer->inputs) + column, ld));
    row += LayerRows(layer);
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* One pass. */
static PetscErrorCode FillStore(Assembly *a, const Range *range)
{
  PetscInt first, count;
  CkPass   pass;
  CkTile   tile;

  PetscFunctionBeginUser;
  Hull(a->sweep, range, &first, &count);
  PetscCall(CkPassBegin(a->sweep->D->loss, &a->sweep->batch, &pass));
  PetscCall(CkPassSetRange(pass, first, count));
  while (!a->stopped) {
    PetscCall(CkPassNext(pass, &tile));
    if (!tile.more) break;
    PetscCall(FillTile(a, pass, &tile, range));
    PetscCall(Ask(a));
  }
  PetscCall(CkPassEnd(&pass));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* After a product: everything may be asked to stop here, or be saved. */
static PetscErrorCode Advance(Assembly *a, PetscInt weights, PetscInt layers)
{
  const CkGramSweep *sweep = a->sweep;
  double             come;

  PetscFunctionBeginUser;
  a->done.weights += weights;
  a->done.layers += layers;
  come = CkGramSweepWeights(sweep, &a->done);
  PetscCall(CkProgressUpdate(sweep->progress, sweep->before + come));
  if (come >= (double)sweep->sizes.d) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(Ask(a));
  if (!a->stopped) PetscCall(CkGramCheckpointUpdate(a->checkpoint, a->S, &a->done));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The next `count` formed weights, from `row` of the stores on. */
static PetscErrorCode AddSlice(Assembly *a, PetscInt row, PetscInt count)
{
  PetscLogDouble before, after;

  PetscFunctionBeginUser;
  PetscCall(UseProduct(a, PETSC_FALSE));
  PetscCall(PetscTime(&before));
  PetscCall(CkBlockProductAdd(a->product, count, StoreRow(a, row), a->shift ? a->shift + a->done.weights : NULL));
  PetscCall(PetscTime(&after));
  a->seconds += after - before;
  PetscCall(Advance(a, count, 0));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The next factored layer, from `row` of the stores on. */
static PetscErrorCode AddLayer(Assembly *a, PetscInt row)
{
  const CkFactors *layer = &a->sweep->layers[a->done.layers];
  PetscLogDouble   before, after;

  PetscFunctionBeginUser;
  PetscCall(UseProduct(a, PETSC_TRUE));
  PetscCall(PetscTime(&before));
  PetscCall(CkBlockProductAddFactored(a->product, layer->inputs, StoreRow(a, row), layer->outputs,
                                      StoreRow(a, row + layer->inputs)));
  PetscCall(PetscTime(&after));
  a->seconds += after - before;
  PetscCall(Advance(a, 0, 1));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode AddRange(Assembly *a, const Range *range)
{
  PetscInt row = 0;

  PetscFunctionBeginUser;
  PetscCall(FillStore(a, range));
  for (; row < range->count && !a->stopped; row += a->plan.slice)
    PetscCall(AddSlice(a, row, PetscMin(a->plan.slice, range->count - row)));
  row = range->count;
  for (PetscInt i = range->layer; i < range->layer + range->layers && !a->stopped; ++i) {
    PetscCall(AddLayer(a, row));
    row += LayerRows(&a->sweep->layers[i]);
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* start: weights that a file has brought. */
static PetscErrorCode Report(const Assembly *a, double start)
{
  const CkDiffusionSizes *sizes = &a->sweep->sizes;
  const double            come = CkGramSweepWeights(a->sweep, &a->done), N = (double)sizes->N;

  PetscFunctionBeginUser;
  if (a->stopped)
    PetscCall(CkLog(sizes->comm, "Gram matrix: stopped after %.0f of %" PetscInt_FMT " weights", come, sizes->d));
  else if (come > start)
    PetscCall(CkLog(sizes->comm, "Gram matrix: exchange and products in %s precision %.3g s, %.4g GFLOP/s of N^2 d",
                    a->sweep->precision == CK_FLOAT32 ? "single" : "double", a->seconds,
                    1e-9 * N * N * (come - start) / PetscMax(a->seconds, 1e-9)));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Assemble(Assembly *a)
{
  double start;
  Range  range;

  PetscFunctionBeginUser;
  PetscCall(CkGramCheckpointResume(a->checkpoint, a->S, &a->done));
  start = CkGramSweepWeights(a->sweep, &a->done);
  while (!a->stopped && NextRange(a->sweep, &a->plan, &a->done, &range)) PetscCall(AddRange(a, &range));
  if (CkGramSweepWeights(a->sweep, &a->done) > start) PetscCall(CkGramCheckpointWrite(a->checkpoint, a->S, &a->done));
  if (!a->sweep->part) PetscCall(Report(a, start));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* That of formed weights alone: what a factored layer lacks of its mean P takes away. */
static PetscErrorCode MakeShift(Assembly *a)
{
  const PetscInt formed = CkGramSweepFormed(a->sweep);
  PetscInt       run;

  PetscFunctionBeginUser;
  if (!a->sweep->shift) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(PetscMalloc1(formed, &a->shift));
  for (PetscInt i = 0; i < formed; i += run) {
    const PetscInt at = PlaceOf(a->sweep, i, &run);

    PetscCall(PetscArraycpy(a->shift + i, a->sweep->shift + at, run));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkGramSweepRun(const CkGramSweep *sweep, CkBlockMatrix S, CkGramCheckpoint checkpoint,
                              const char **stopped)
{
  Assembly a = {.sweep = sweep, .plan = MakePlan(sweep), .S = S, .checkpoint = checkpoint};

  PetscFunctionBeginUser;
  PetscCall(MakeShift(&a));
  PetscCall(PetscMalloc1((size_t)MostRows(sweep, &a.plan) * (size_t)a.plan.samples * sweep->sizes.bytes + 1, &a.store));
  PetscCall(Assemble(&a));
  PetscCall(CkBlockProductDestroy(&a.product));
  PetscCall(PetscFree(a.store));
  PetscCall(PetscFree(a.shift));
  *stopped = a.stopped;
  PetscFunctionReturn(PETSC_SUCCESS);
}
