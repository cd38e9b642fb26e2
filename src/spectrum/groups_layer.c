#include "spectrumimpl.h"
#include <string.h>

/* groups_layer.c: diagonal blocks of D that belong to the layers or tensors of a net; docs/theory.md, (H.1). */

/* "layer1.0.conv1" of "layer1.0.conv1.weight". */
static PetscErrorCode NameLayer(const CkParameter *parameter, CkGroupKind kind, char name[], size_t room)
{
  char *dot;

  PetscFunctionBeginUser;
  PetscCall(PetscStrncpy(name, parameter->name, room));
  dot = strrchr(name, '.');
  if (kind == CK_GROUP_LAYER && dot && dot > name) *dot = '\0';
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkGroupsGetLayers(CkSpectrum s, PetscInt *n, CkGroupLayer **layers)
{
  const CkParameter *parameters = NULL;
  PetscInt           count = 0, layer = -1;
  CkNet              net;

  PetscFunctionBeginUser;
  PetscCall(CkLossGetNet(s->loss, &net));
  if (net) PetscCall(CkNetGetParameters(net, &count, &parameters));
  PetscCall(PetscCalloc1(PetscMax(1, count), layers));
  *n = 0;
  for (PetscInt p = 0; p < count && parameters[p].trainable; ++p) {
    if (s->groups.kind == CK_GROUP_TENSOR || parameters[p].layer != layer) {
      PetscCall(NameLayer(&parameters[p], s->groups.kind, (*layers)[*n].name, sizeof((*layers)[*n].name)));
      ++*n;
    }
    layer = parameters[p].layer;
    (*layers)[*n - 1].size += parameters[p].size;
  }
  if (net) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(PetscStrncpy((*layers)->name, "all weights", sizeof((*layers)->name)));
  (*layers)->size = s->d;
  *n = 1;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Solve(CkSpectrum s, PetscInt n, const CkGroupLayer layers[], CkDiffusionBlocks blocks)
{
  CkProgress progress;
  PetscBool  centred;
  double     sum = 0;

  PetscFunctionBeginUser;
  PetscCall(CkDiffusionGetCentred(s->D, &centred));
  PetscCall(CkProgressCreate(s->comm, "spectra of the diagonal blocks", "blocks", (double)n, &progress));
  for (PetscInt l = 0; l < n; ++l) {
    CkGroupSizes  sizes = {.samples = s->N, .dimension = layers[l].size, .scale = 1};
    CkBlockMatrix A;
    CkPrecision   products;
    PetscInt      order;
    double        trace;

    PetscCall(CkDiffusionBlocksNext(blocks, &A, &products));
    PetscCall(CkBlockMatrixGetSize(A, &order));
    PetscCall(CkBlockMatrixTrace(A, &trace));
    sizes.rank = PetscMin(layers[l].size, s->N - (centred ? 1 : 0));
    sizes.noise = CkSpectrumAssemblyNoise(s, order) + CkProductNoise(products, trace);
    PetscCall(PetscStrncpy(s->groups.list[l].name, layers[l].name, sizeof(s->groups.list[l].name)));
    PetscCall(CkGroupsSetMatrix(s, l, &A, &sizes));
    sum += s->groups.list[l].statistics.trace;
    PetscCall(CkProgressUpdate(progress, (double)l + 1));
  }
  PetscCall(CkProgressDestroy(&progress));
  if (s->check)
    CkSpectrumCheckAdd(&s->checks, "parts: traces add up to tr D", s->scale > 0 ? (sum - s->trace) / s->scale : sum,
                       s->precision);
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkGroupsSolveLayers(CkSpectrum s)
{
  CkDiffusionBlocks blocks;
  CkGroupLayer     *layers;
  PetscInt          n, *size;

  PetscFunctionBeginUser;
  PetscCall(CkSpectrumPhaseBegin(s, CK_PHASE_GROUPS));
  PetscCall(CkGroupsGetLayers(s, &n, &layers));
  PetscCall(CkGroupsAllocate(s, n));
  PetscCall(PetscMalloc1(n, &size));
  for (PetscInt l = 0; l < n; ++l) size[l] = layers[l].size;
  PetscCall(CkLog(s->comm, "%" PetscInt_FMT " diagonal blocks of D", n));
  PetscCall(CkDiffusionBlocksCreate(s->D, n, size, &blocks));
  PetscCall(Solve(s, n, layers, blocks));
  PetscCall(CkDiffusionBlocksDestroy(&blocks));
  PetscCall(PetscFree(size));
  PetscCall(PetscFree(layers));
  PetscFunctionReturn(PETSC_SUCCESS);
}
