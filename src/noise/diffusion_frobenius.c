/*
  diffusion_frobenius.c: |D|_F^2 = |K|_F^2 (G.3) without a matrix of order N: the samples are cut into panels of whole
  sum blocks, and the Gram matrix of each pair of panels is assembled, summed up and dropped. Centring is done on the
  sums, (G.9). They are exact sums and the entries are those of the whole matrix, so the bits do not depend on the
  panels either.
*/
#include "noiseimpl.h"
#include <clarkia/exactsum.h>

typedef struct {
  PetscInt n;     /* 1: all samples together; else at least 3, for two are all samples together as well */
  PetscInt order; /* of the largest matrix */
} Panels;

/* First sample of a panel. */
static PetscInt PanelStart(const CkDiffusionSizes *sizes, const Panels *panels, PetscInt panel)
{
  const PetscInt block = (PetscInt)((PetscInt64)panel * sizes->blocks.nblocks / panels->n);

  return PetscMin(sizes->N, block * sizes->blocks.block);
}

static double MatrixBytes(const CkDiffusionSizes *sizes, PetscInt order)
{
  double matrix = 0, work;

  (void)CkBlockMatrixMemory(sizes->comm, order, PETSC_FALSE, CK_SOLVER_SCALAPACK, &matrix, &work);
  return matrix;
}

/* As few as there can be with a matrix in half of the memory. */
static Panels MakePanels(CkDiffusion D, const CkDiffusionSizes *sizes)
{
  Panels panels = {.n = 1, .order = sizes->N};

  while (MatrixBytes(sizes, panels.order) > D->memory / 2 && PetscMax(3, panels.n + 1) <= sizes->blocks.nblocks) {
    panels.n = PetscMax(3, panels.n + 1);
    panels.order = 2 * ((sizes->blocks.nblocks + panels.n - 1) / panels.n) * sizes->blocks.block;
  }
  return panels;
}

/* Two panels, or the only one; index: room for `order` samples, or NULL for a plan. */
static PetscErrorCode MakeSweep(CkDiffusion D, const CkDiffusionSizes *sizes, const Panels *panels, PetscInt a,
                                PetscInt b, PetscInt index[], CkGramSweep *sweep, CkRowParts *parts)
{
  const PetscInt first[2] = {PanelStart(sizes, panels, a), PanelStart(sizes, panels, b)};
  const PetscInt count[2] = {PanelStart(sizes, panels, a + 1) - first[0],
                             a == b ? 0 : PanelStart(sizes, panels, b + 1) - first[1]};
  const PetscInt n = count[0] + count[1];

  PetscFunctionBeginUser;
  PetscCall(CkGramSweepOfAll(D, sweep));
  sweep->part = PETSC_TRUE;
  sweep->batch = CkBatchAll(n);
  sweep->sizes.N = n;
  PetscCall(CkLossGetBlocks(D->loss, n, &sweep->sizes.blocks));
  sweep->memory = PetscMax(D->memory / 2, D->memory - MatrixBytes(sizes, panels->order));
  *parts = (CkRowParts){.cut = count[0], .first = {first[0], first[1]}};
  parts->own[0] = (PetscBool)(b <= a + 1); /* each panel by itself once */
  parts->own[1] = (PetscBool)(a == panels->n - 2 && b == panels->n - 1);
  for (PetscInt k = 0; index && k < n; ++k) index[k] = k < count[0] ? first[0] + k : first[1] + k - count[0];
  sweep->batch.index = index;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The next pair; false after the last one. */
static PetscBool NextPair(const Panels *panels, PetscInt *a, PetscInt *b)
{
  if (++*b == panels->n) *b = ++*a + 1;
  return (PetscBool)(*b < panels->n);
}

PetscErrorCode CkDiffusionFrobeniusCost(CkDiffusion D, CkAssemblyCost *cost, PetscInt *n)
{
  CkDiffusionSizes sizes;
  Panels           panels;
  PetscInt         a = 0, b;

  PetscFunctionBeginUser;
  PetscCall(CkDiffusionGetSizes(D, &sizes));
  panels = MakePanels(D, &sizes);
  *cost = (CkAssemblyCost){0};
  *n = panels.n;
  b = panels.n == 1 ? 0 : 1;
  do {
    CkGramSweep    sweep;
    CkRowParts     parts;
    CkAssemblyCost pair;

    PetscCall(MakeSweep(D, &sizes, &panels, a, b, NULL, &sweep, &parts));
    PetscCall(CkGramSweepCost(&sweep, &pair));
    cost->bytes = PetscMax(cost->bytes, pair.bytes);
    cost->passes += pair.passes * (double)sweep.sizes.N / (double)sizes.N;
    cost->gradients += pair.gradients;
    cost->products += pair.products;
  } while (NextPair(&panels, &a, &b));
  cost->bytes += MatrixBytes(&sizes, panels.order) + 4. * sizeof(double) * (double)sizes.N; /* two exact sums */
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Vector 0: row sums of X X', vector 1: of the squares of its entries. */
static PetscErrorCode CreateSums(CkDiffusion D, const CkDiffusionSizes *sizes, const double shift[], CkExactSum *sums)
{
  double largest, folded, square = 0, entry, bounds[2];

  PetscFunctionBeginUser;
  PetscCall(CkLossGradientBounds(D->loss, &largest, &folded));
  for (PetscInt i = 0; shift && i < sizes->d; ++i) square += shift[i] * shift[i];
  entry = 2 * PetscSqr(largest + PetscSqrtReal(square)); /* twice: rounding */
  bounds[0] = (double)sizes->N * entry;
  bounds[1] = (double)sizes->N * entry * entry;
  PetscCall(CkExactSumCreate(sizes->comm, sizes->N, 2, bounds, 2, sums));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* (G.9) from the sums over rows [2 x N]. */
static double Square(CkDiffusion D, PetscInt N, const double sums[])
{
  const long double n = N;
  long double       squares = 0, rows = 0, all = 0;

  for (PetscInt i = 0; i < N; ++i) {
    squares += (long double)sums[N + i];
    rows += (long double)sums[i] * sums[i];
    all += (long double)sums[i];
  }
  if (D->centred) squares += (all / n) * (all / n) - 2 * rows / n;
  return (double)(squares / (n * n));
}

static PetscErrorCode AddPair(const CkGramSweep *sweep, const CkRowParts *parts, CkExactSum sums)
{
  CkBlockMatrix S;
  const char   *stopped;

  PetscFunctionBeginUser;
  PetscCall(CkBlockMatrixCreate(sweep->sizes.comm, sweep->sizes.N, &S));
  PetscCall(CkGramSweepRun(sweep, S, NULL, &stopped));
  PetscCall(CkBlockMatrixAddSums(S, parts, sums));
  PetscCall(CkBlockMatrixDestroy(&S));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* All pairs into the sums. */
static PetscErrorCode AddPairs(CkDiffusion D, const CkDiffusionSizes *sizes, const double shift[], CkExactSum sums)
{
  const Panels   panels = MakePanels(D, sizes);
  const PetscInt pairs = PetscMax(1, panels.n * (panels.n - 1) / 2);
  PetscInt       a = 0, b = panels.n == 1 ? 0 : 1, *index;
  CkProgress     progress;
  double         before = 0;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc1(panels.order, &index));
  PetscCall(CkProgressCreate(sizes->comm, "norm of D, Gram matrix in pieces", "weights",
                             (double)sizes->d * (double)pairs, &progress));
  do {
    CkGramSweep sweep;
    CkRowParts  parts;

    PetscCall(MakeSweep(D, sizes, &panels, a, b, index, &sweep, &parts));
    sweep.shift = shift;
    sweep.progress = progress;
    sweep.before = before;
    PetscCall(AddPair(&sweep, &parts, sums));
    before += (double)sizes->d;
  } while (NextPair(&panels, &a, &b));
  PetscCall(CkProgressDestroy(&progress));
  PetscCall(PetscFree(index));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkDiffusionFrobenius(CkDiffusion D, double *square)
{
  CkDiffusionSizes sizes;
  CkAssemblyCost   cost;
  CkExactSum       exact;
  double          *shift, *sums;
  PetscInt         panels;

  PetscFunctionBeginUser;
  PetscCall(CkDiffusionGetSizes(D, &sizes));
  PetscCall(CkDiffusionFrobeniusCost(D, &cost, &panels));
  PetscCall(CkMemoryCheck(sizes.comm, cost.bytes, "the norm of D from its Gram matrix in pieces",
                          "use more ranks, a smaller -noise_memory, or raise -memory_limit"));
  PetscCall(CkDiffusionGramShift(D, &shift));
  PetscCall(CreateSums(D, &sizes, shift, &exact));
  PetscCall(AddPairs(D, &sizes, shift, exact));
  PetscCall(PetscMalloc1(2 * (size_t)sizes.N, &sums));
  PetscCall(CkExactSumReduce(exact, sums));
  *square = Square(D, sizes.N, sums);
  PetscCall(PetscFree(sums));
  PetscCall(CkExactSumDestroy(&exact));
  PetscCall(PetscFree(shift));
  PetscFunctionReturn(PETSC_SUCCESS);
}
