#include "reference.h"
#include "../head.h"
#include <clarkia/progress.h>

static PetscErrorCode SetUp(CkEngine engine)
{
  Reference *r;
  PetscInt   n;

  PetscFunctionBeginUser;
  PetscCall(PetscNew(&r));
  engine->data = r;
  r->d = engine->d;
  PetscCall(CkNetGetBuffers(engine->net, &r->nbuffers));
  PetscCall(CkNetGetLayers(engine->net, &r->nlayers, &r->layers));
  PetscCall(CkNetGetParameters(engine->net, &n, &r->parameters));
  for (PetscInt l = 1; l < r->nlayers; ++l) {
    const ReferenceKind *kind;

    PetscCall(ReferenceKindGet(r->layers[l].type, &kind));
  }
  PetscCall(PetscMalloc2(r->d, &r->weights, r->nbuffers, &r->buffers));
  PetscCall(PetscCalloc5(r->nlayers, &r->out, r->nlayers, &r->delta, r->nlayers, &r->factors, r->nlayers, &r->mean,
                         r->nlayers, &r->variance));
  PetscCall(ReferenceReserve(r, engine->capacity, 1));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Destroy(CkEngine engine)
{
  Reference *r = (Reference *)engine->data;

  PetscFunctionBeginUser;
  if (!r) PetscFunctionReturn(PETSC_SUCCESS);
  for (PetscInt l = 0; r->out && l < r->nlayers; ++l) {
    PetscCall(PetscFree(r->out[l]));
    PetscCall(PetscFree(r->delta[l]));
    PetscCall(PetscFree(r->factors[l]));
    PetscCall(PetscFree(r->mean[l]));
    PetscCall(PetscFree(r->variance[l]));
  }
  PetscCall(PetscFree5(r->out, r->delta, r->factors, r->mean, r->variance));
  PetscCall(PetscFree2(r->weights, r->buffers));
  PetscCall(PetscFree(r));
  engine->data = NULL;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Grow(size_t size, double **array)
{
  PetscFunctionBeginUser;
  PetscCall(PetscFree(*array));
  PetscCall(PetscMalloc1(size, array));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode ReferenceReserve(Reference *r, PetscInt n, PetscInt groups)
{
  PetscFunctionBeginUser;
  for (PetscInt l = 0; l < r->nlayers; ++l) {
    const size_t size = (size_t)n * (size_t)CkShapeSize(r->layers[l].out);

    if (n > r->room) {
      PetscCall(Grow(size, &r->out[l]));
      PetscCall(Grow(size, &r->delta[l]));
      if (r->layers[l].type == CK_LAYER_DROPOUT) PetscCall(Grow(size, &r->factors[l]));
    }
    if (groups > r->group_room && r->layers[l].type == CK_LAYER_BATCHNORM) {
      PetscCall(Grow((size_t)groups * (size_t)r->layers[l].in.c, &r->mean[l]));
      PetscCall(Grow((size_t)groups * (size_t)r->layers[l].in.c, &r->variance[l]));
    }
  }
  r->room = PetscMax(r->room, n);
  r->group_room = PetscMax(r->group_room, groups);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode SetPoint(CkEngine engine, const double weights[], const double buffers[])
{
  Reference *r = (Reference *)engine->data;

  PetscFunctionBeginUser;
  PetscCall(PetscArraycpy(r->weights, weights, r->d));
  PetscCall(PetscArraycpy(r->buffers, buffers, r->nbuffers));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode ReferenceForward(CkEngine engine, PetscInt n, const float features[], const PetscInt labels[],
                                const double scale[], double values[], int correct[])
{
  const Reference *r = (const Reference *)engine->data;
  const PetscInt   last = r->nlayers - 1;
  const size_t     size = (size_t)n * (size_t)CkShapeSize(r->layers[0].out);
  CkHeadCall       call = {.n = n,
                           .classes = r->layers[last].out.c,
                           .precision = CK_FLOAT64,
                           .logits = r->out[last],
                           .labels = labels,
                           .scale = scale,
                           .values = values,
                           .correct = correct,
                           .delta = r->delta[last]};
  double           flops;

  PetscFunctionBeginUser;
  PetscCall(CkNetGetHead(engine->net, &call.head));
  PetscCall(CkNetGetFlops(engine->net, &flops));
  PetscCall(PetscLogEventBegin(CK_Forward, 0, 0, 0, 0));
  for (size_t i = 0; i < size; ++i) r->out[0][i] = features[i];
  for (PetscInt l = 1; l < r->nlayers; ++l) {
    const ReferenceKind *kind;

    PetscCall(ReferenceKindGet(r->layers[l].type, &kind));
    PetscCall(kind->forward(engine, l, n));
  }
  PetscCall(CkHeadEvaluate(&call));
  PetscCall(PetscLogFlops(flops * (double)n));
  PetscCall(PetscLogEventEnd(CK_Forward, 0, 0, 0, 0));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode ReferenceBackward(CkEngine engine, PetscInt n)
{
  const Reference *r = (const Reference *)engine->data;
  double           flops;

  PetscFunctionBeginUser;
  PetscCall(CkNetGetFlops(engine->net, &flops));
  PetscCall(PetscLogEventBegin(CK_Backward, 0, 0, 0, 0));
  for (PetscInt l = 0; l + 1 < r->nlayers; ++l)
    PetscCall(PetscArrayzero(r->delta[l], (size_t)n * (size_t)CkShapeSize(r->layers[l].out)));
  for (PetscInt l = r->nlayers - 1; l > 0; --l) {
    const ReferenceKind *kind;

    PetscCall(ReferenceKindGet(r->layers[l].type, &kind));
    PetscCall(kind->backward(engine, l, n));
  }
  PetscCall(PetscLogFlops(flops * (double)n));
  PetscCall(PetscLogEventEnd(CK_Backward, 0, 0, 0, 0));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode ReferenceRow(const Reference *r, PetscInt k, double g[])
{
  PetscFunctionBeginUser;
  for (PetscInt l = 1; l < r->nlayers; ++l) {
    const ReferenceKind *kind;

    PetscCall(ReferenceKindGet(r->layers[l].type, &kind));
    if (kind->row) kind->row(r, l, k, g);
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Run(CkEngine engine, PetscBool backward, PetscInt n, const float features[],
                          const PetscInt labels[], double values[], int correct[])
{
  PetscFunctionBeginUser;
  PetscCall(ReferenceForward(engine, n, features, labels, NULL, values, correct));
  if (backward) PetscCall(ReferenceBackward(engine, n));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Rows(CkEngine engine, CkPrecision precision, void *G, size_t ld)
{
  const Reference *r = (const Reference *)engine->data;
  double          *g;
  double           flops;

  PetscFunctionBeginUser;
  PetscCall(CkNetGetFlops(engine->net, &flops));
  PetscCall(PetscMalloc1(r->d, &g));
  for (PetscInt k = 0; k < engine->loaded; ++k) {
    const size_t at = (size_t)k * ld;

    PetscCall(PetscArrayzero(g, r->d));
    PetscCall(ReferenceRow(r, k, g));
    for (PetscInt i = 0; i < r->d; ++i) {
      if (precision == CK_FLOAT64) ((double *)G)[at + (size_t)i] = g[i];
      else ((float *)G)[at + (size_t)i] = (float)g[i];
    }
  }
  PetscCall(PetscFree(g));
  PetscCall(PetscLogFlops(flops * (double)engine->loaded));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Forward and backward cost a forward pass each, the rows another; contractions run on rows of d numbers. */
static PetscErrorCode GetCost(CkEngine engine, double *bytes, double *load, double *rows, double *dot,
                              double *accumulate)
{
  const Reference *r = (const Reference *)engine->data;
  double           numbers = 0, flops;

  PetscFunctionBeginUser;
  PetscCall(CkNetGetFlops(engine->net, &flops));
  for (PetscInt l = 0; l < r->nlayers; ++l)
    numbers += (r->layers[l].type == CK_LAYER_DROPOUT ? 3.0 : 2.0) * (double)CkShapeSize(r->layers[l].out);
  *bytes = 8 * ((double)r->room * numbers + (double)r->d * (double)(engine->capacity + 1) + (double)r->nbuffers);
  *load = 2 * flops;
  *rows = flops;
  *dot = 2 * (double)r->d;
  *accumulate = 2 * (double)r->d;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode View(CkEngine engine, MPI_Comm comm)
{
  PetscFunctionBeginUser;
  (void)engine;
  PetscCall(PetscPrintf(comm, "  every layer: explicit gradients, plain loops in double precision\n"));
  PetscFunctionReturn(PETSC_SUCCESS);
}

const CkEngineType CkEngineReference = {.name = "reference",
                                        .precision = CK_FLOAT64,
                                        .setup = SetUp,
                                        .destroy = Destroy,
                                        .view = View,
                                        .getcost = GetCost,
                                        .setpoint = SetPoint,
                                        .run = Run,
                                        .rows = Rows,
                                        .train = ReferenceTrain};
