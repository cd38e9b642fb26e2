/* bench_convolution.c: the machine's own rate for the convolutions of the net. */
#include "bench.h"
#include <stdlib.h>

/* Samples of a call: what the engine runs through a layer at a time, so that numbers stay in the cache. */
enum { SAMPLES = 16 };
/* Shapes beyond this share of the operations are left out. */
static const double COVERED = 0.98;

static PetscBool SameShape(const CkLayer *a, const CkLayer *b)
{
  PetscBool same = (PetscBool)(a->in.c == b->in.c && a->in.h == b->in.h && a->in.w == b->in.w && a->out.c == b->out.c &&
                               a->out.h == b->out.h && a->out.w == b->out.w);

  for (int i = 0; i < 2; ++i)
    same = (PetscBool)(same && a->a.kernel[i] == b->a.kernel[i] && a->a.stride[i] == b->a.stride[i] &&
                       a->a.padding[i] == b->a.padding[i] && a->a.trailing[i] == b->a.trailing[i]);
  return same;
}

/* For qsort: most operations first. */
static int Compare(const void *a, const void *b)
{
  const double x = ((const CkBenchShape *)a)->operations, y = ((const CkBenchShape *)b)->operations;

  return (x < y) - (x > y);
}

PetscErrorCode CkBenchFindShapes(CkBench *bench)
{
  const CkLayer *layers;
  CkBenchShape  *shapes;
  PetscInt       nlayers, n = 0;
  double         all = 0, some = 0;

  PetscFunctionBeginUser;
  PetscCall(CkNetGetLayers(bench->problem.net, &nlayers, &layers));
  PetscCall(PetscCalloc1(nlayers, &shapes));
  for (PetscInt l = 0; l < nlayers; ++l) {
    PetscInt s = 0;
    double   operations;

    if (layers[l].type != CK_LAYER_CONV) continue;
    PetscCall(CkNetGetLayerFlops(bench->problem.net, l, &operations));
    while (s < n && !SameShape(shapes[s].layer, &layers[l])) ++s;
    if (s == n) shapes[n++].layer = &layers[l];
    ++shapes[s].count;
    shapes[s].operations += operations;
    all += operations;
  }
  qsort(shapes, (size_t)n, sizeof(*shapes), Compare);
  bench->nshapes = 0;
  while (bench->nshapes < PetscMin(n, CK_BENCH_SHAPES) && some < COVERED * all) {
    some += shapes[bench->nshapes].operations;
    bench->shapes[bench->nshapes] = shapes[bench->nshapes];
    ++bench->nshapes;
  }
  bench->covered = all > 0 ? some / all : 0;
  PetscCall(PetscFree(shapes));
  PetscFunctionReturn(PETSC_SUCCESS);
}

double CkBenchConvolutionOperations(const CkBench *bench)
{
  double operations = 0;

  for (PetscInt s = 0; s < bench->nshapes; ++s) operations += bench->shapes[s].operations;
  return operations * SAMPLES * bench->ranks;
}

/* Nobody asks for the derivative of the samples; a net with nothing else has it measured all the same. */
static PetscBool LeftOut(const CkBench *bench, PetscInt shape, CkPrimitiveKind kind)
{
  PetscInt others = 0;

  for (PetscInt s = 0; s < bench->nshapes; ++s) others += bench->shapes[s].layer->inputs[0] > 0;
  return (PetscBool)(kind == CK_PRIMITIVE_INPUT && others > 0 && bench->shapes[shape].layer->inputs[0] == 0);
}

static PetscErrorCode Prepare(CkBench *bench, PetscInt samples, CkPrimitiveKind kind, CkBenchAmount *amount)
{
  PetscFunctionBeginUser;
  for (PetscInt s = 0; s < bench->nshapes; ++s) {
    if (LeftOut(bench, s, kind)) continue;
    PetscCall(CkMachineConvolutionCreate(bench->shapes[s].layer, samples, kind, &bench->convolutions[s]));
    amount->operations += bench->shapes[s].operations * SAMPLES * bench->ranks;
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkBenchPrepareForward(CkBench *bench, CkBenchAmount *amount)
{
  PetscFunctionBeginUser;
  PetscCall(Prepare(bench, SAMPLES, CK_PRIMITIVE_FORWARD, amount));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkBenchPrepareInput(CkBench *bench, CkBenchAmount *amount)
{
  PetscFunctionBeginUser;
  PetscCall(Prepare(bench, SAMPLES, CK_PRIMITIVE_INPUT, amount));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkBenchPrepareWeights(CkBench *bench, CkBenchAmount *amount)
{
  PetscFunctionBeginUser;
  PetscCall(Prepare(bench, SAMPLES, CK_PRIMITIVE_WEIGHTS, amount));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkBenchPrepareSampleWeights(CkBench *bench, CkBenchAmount *amount)
{
  PetscFunctionBeginUser;
  PetscCall(Prepare(bench, 1, CK_PRIMITIVE_WEIGHTS, amount));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Each shape as often as it occurs in the net, times `calls`. */
static PetscErrorCode Convolve(const CkBench *bench, PetscInt calls)
{
  PetscFunctionBeginUser;
  for (PetscInt s = 0; s < bench->nshapes; ++s)
    for (PetscInt i = 0; i < bench->shapes[s].count * calls && bench->convolutions[s]; ++i)
      PetscCall(CkMachineConvolutionRun(bench->convolutions[s]));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkBenchConvolve(CkBench *bench)
{
  PetscFunctionBeginUser;
  PetscCall(Convolve(bench, 1));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkBenchConvolveSamples(CkBench *bench)
{
  PetscFunctionBeginUser;
  PetscCall(Convolve(bench, SAMPLES));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkBenchFinishConvolutions(CkBench *bench)
{
  PetscFunctionBeginUser;
  for (PetscInt s = 0; s < bench->nshapes; ++s) PetscCall(CkMachineConvolutionDestroy(&bench->convolutions[s]));
  PetscFunctionReturn(PETSC_SUCCESS);
}
