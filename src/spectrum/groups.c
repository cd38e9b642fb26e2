#include "spectrumimpl.h"
#include <clarkia/error.h>
#include <clarkia/options.h>
#include <string.h>

/* groups.c: parts of D (-noise_group): options, costs, and the spectrum of one part. */

static const CkOption table[] = {
  {.key = "noise_group",
   .kind = CK_OPTION_STRING,
   .fallback = "none",
   .choices = "none|layer|tensor|class",
   .help = "parts of D whose spectra are wanted too: diagonal blocks of layers or tensors; within and between classes, "
           "and each class (by the Gram matrix)"},
  {.key = "noise_group_vectors",
   .kind = CK_OPTION_INT,
   .fallback = "10",
   .minimum = 0,
   .maximum = 1000,
   .help = "class: leading eigenvectors of each part, for the angles between their spaces"},
  {.key = NULL},
};

static const char *const names[] = {
  [CK_GROUP_NONE] = "none", [CK_GROUP_LAYER] = "layer", [CK_GROUP_TENSOR] = "tensor", [CK_GROUP_CLASS] = "class"};

const char *CkGroupKindName(CkGroupKind kind)
{
  return names[kind];
}

PetscErrorCode CkGroupsRegisterOptions(void)
{
  PetscFunctionBeginUser;
  PetscCall(CkOptionsRegister("Parts of D", table));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkGroupsSetFromOptions(CkSpectrum s)
{
  char      kind[16];
  PetscBool given;

  PetscFunctionBeginUser;
  PetscCall(CkOptionsGetString("noise_group", kind, sizeof(kind), NULL));
  for (CkGroupKind k = CK_GROUP_NONE; k <= CK_GROUP_CLASS; ++k) {
    if (strcmp(kind, names[k]) == 0) s->groups.kind = k;
  }
  PetscCall(CkOptionsGetInt("noise_group_vectors", &s->groups.vectors, &given));
  CkCheckAll(s->comm, !given || s->groups.kind == CK_GROUP_CLASS, PETSC_ERR_ARG_INCOMP,
             "-noise_group_vectors has no effect with -noise_group %s: leave it out, or give -noise_group class",
             names[s->groups.kind]);
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkSpectrumSetClasses(CkSpectrum s, PetscInt classes, const PetscInt labels[],
                                    const char *const class_names[])
{
  CkGroups *g = &s->groups;

  PetscFunctionBeginUser;
  PetscCheck(classes >= 1, s->comm, PETSC_ERR_ARG_OUTOFRANGE, "%" PetscInt_FMT " classes", classes);
  PetscCall(PetscFree3(g->labels, g->members, g->class_name));
  g->classes = classes;
  PetscCall(PetscCalloc3(s->N, &g->labels, classes, &g->members, classes, &g->class_name));
  for (PetscInt k = 0; k < s->N; ++k) {
    PetscCheck(labels[k] >= 0 && labels[k] < classes, s->comm, PETSC_ERR_ARG_OUTOFRANGE,
               "Sample %" PetscInt_FMT " of class %" PetscInt_FMT "; there are %" PetscInt_FMT, k, labels[k], classes);
    g->labels[k] = labels[k];
    ++g->members[labels[k]];
  }
  for (PetscInt c = 0; class_names && c < classes; ++c) {
    if (class_names[c]) PetscCall(PetscStrncpy(g->class_name[c], class_names[c], sizeof(g->class_name[c])));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkGroupsCheck(CkSpectrum s)
{
  PetscInt present = 0;

  PetscFunctionBeginUser;
  if (s->groups.kind != CK_GROUP_CLASS) PetscFunctionReturn(PETSC_SUCCESS);
  CkCheckAll(s->comm, s->asked == CK_SPECTRUM_AUTO || s->asked == CK_SPECTRUM_GRAM, PETSC_ERR_ARG_INCOMP,
             "-noise_group class takes the classes from the Gram matrix, and the method asked for is %s: give "
             "-spectrum_method gram, or leave it out",
             CkSpectrumMethodName(s->asked));
  CkCheckAll(s->comm, s->groups.labels, PETSC_ERR_ARG_WRONGSTATE,
             "-noise_group class: this loss has no classes; take -noise_group layer, or leave it out");
  for (PetscInt c = 0; c < s->groups.classes; ++c) present += s->groups.members[c] > 0;
  CkCheckAll(s->comm, present >= 2, PETSC_ERR_ARG_SIZ,
             "-noise_group class: all samples are of one class, so nothing lies between classes; take samples of "
             "several (-data_count, -data_classes_keep)");
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Two matrices of order N at a time, all of whose eigenvalues are found, and the classes' own. */
static PetscErrorCode EstimateClasses(CkSpectrum s, CkSpectrumEstimate *e)
{
  const double rows = (double)s->groups.vectors * ((double)s->groups.classes + 2) + (double)s->groups.classes;
  double       largest = 0, part, work, N = (double)s->N;

  PetscFunctionBeginUser;
  for (PetscInt c = 0; c < s->groups.classes; ++c) {
    const double members = (double)s->groups.members[c];

    largest = PetscMax(largest, members);
    e->solve += 4. / 3 * members * members * members;
  }
  PetscCall(CkBlockMatrixMemory(s->comm, (PetscInt)largest, PETSC_FALSE, s->solver, &part, &work));
  e->matrix = 2 * e->matrix + part;
  e->vectors += 2 * rows * N * sizeof(double);
  e->assembly += 2 * N * N * rows;
  e->solve += 4. / 3 * N * N * N;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* One matrix at a time, after those of the route. */
static PetscErrorCode EstimateLayers(CkSpectrum s, CkSpectrumEstimate *e)
{
  CkGroupLayer *layers;
  PetscInt      n, *size;
  double        bytes, passes, gradients;

  PetscFunctionBeginUser;
  PetscCall(CkGroupsGetLayers(s, &n, &layers));
  PetscCall(PetscMalloc1(n, &size));
  for (PetscInt l = 0; l < n; ++l) {
    const PetscInt order = PetscMin(layers[l].size, s->N);
    double         matrix, work, m = (double)order;

    size[l] = layers[l].size;
    PetscCall(CkBlockMatrixMemory(s->comm, order, PETSC_FALSE, s->solver, &matrix, &work));
    e->matrix = PetscMax(e->matrix, matrix);
    e->work = PetscMax(e->work, work);
    e->assembly += m * m * (double)PetscMax(layers[l].size, s->N);
    e->solve += 4. / 3 * m * m * m;
  }
  PetscCall(CkDiffusionBlocksCost(s->D, n, size, &bytes, &passes, &gradients));
  e->stream = PetscMax(e->stream, bytes);
  e->passes += passes;
  e->gradient += gradients;
  PetscCall(PetscFree(size));
  PetscCall(PetscFree(layers));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkGroupsEstimate(CkSpectrum s, CkSpectrumEstimate *e)
{
  PetscFunctionBeginUser;
  if (s->groups.kind == CK_GROUP_CLASS) PetscCall(EstimateClasses(s, e));
  else if (s->groups.kind != CK_GROUP_NONE) PetscCall(EstimateLayers(s, e));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkGroupsAllocate(CkSpectrum s, PetscInt n)
{
  PetscFunctionBeginUser;
  PetscCall(PetscCalloc1(n, &s->groups.list));
  s->groups.n = n;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkGroupsClear(CkSpectrum s)
{
  CkGroups *g = &s->groups;

  PetscFunctionBeginUser;
  for (PetscInt i = 0; i < g->n; ++i) PetscCall(PetscFree(g->list[i].values));
  PetscCall(PetscFree(g->list));
  g->n = 0;
  PetscCall(CkSubspacesDestroy(&g->subspaces));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkGroupsDestroy(CkSpectrum s)
{
  PetscFunctionBeginUser;
  PetscCall(CkGroupsClear(s));
  PetscCall(PetscFree3(s->groups.labels, s->groups.members, s->groups.class_name));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkGroupsSetValues(CkSpectrum s, PetscInt slot, const double values[], double trace,
                                 const CkGroupSizes *sizes)
{
  CkSpectrumGroup *group = &s->groups.list[slot];
  const PetscInt   n = PetscMax(1, sizes->rank);

  PetscFunctionBeginUser;
  group->weight = 1;
  if (!values) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(PetscMalloc1(n, &group->values));
  PetscCall(PetscArraycpy(group->values, values, n));
  PetscCall(CkSpectrumComputeStatistics(n, group->values, sizes->dimension, sizes->samples, sizes->rank, trace,
                                        &group->statistics));
  group->share = s->trace > 0 ? trace / s->trace : 0;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkGroupsSetMatrix(CkSpectrum s, PetscInt slot, CkBlockMatrix *A, const CkGroupSizes *sizes)
{
  static const char *const check_names[] = {"parts: sum of eigenvalues = trace", "parts: sum of squares = |.|_F^2",
                                            "parts: no eigenvalue below zero"};
  CkSpectrumChecks         checks = {.n = 0};
  PetscInt                 order;
  double                   trace, frobenius, *values;

  PetscFunctionBeginUser;
  PetscCall(CkBlockMatrixGetSize(*A, &order));
  PetscCall(PetscMalloc1(order, &values));
  PetscCall(CkBlockMatrixTrace(*A, &trace));
  PetscCall(CkBlockMatrixFrobenius(*A, &frobenius));
  PetscCall(CkBlockMatrixEigen(*A, s->solver, values, NULL));
  PetscCall(CkBlockMatrixDestroy(A));
  CkSpectrumCheckValues(&checks, order, values, trace, frobenius, sizes->noise);
  for (size_t i = 0; i < PETSC_STATIC_ARRAY_LENGTH(check_names); ++i) checks.list[i].name = check_names[i];
  if (s->check) CkSpectrumChecksMerge(&s->checks, &checks);
  for (PetscInt i = 0; i < order; ++i) values[i] *= sizes->scale;
  PetscCall(CkGroupsSetValues(s, slot, values, sizes->scale * trace, sizes));
  PetscCall(PetscFree(values));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkSpectrumGetGroups(CkSpectrum s, PetscInt *n, const CkSpectrumGroup **groups,
                                   const CkSubspaces **subspaces)
{
  PetscFunctionBeginUser;
  PetscCheck(s->solved, s->comm, PETSC_ERR_ORDER, "Call CkSpectrumSolve() first");
  *n = s->groups.n;
  *groups = s->groups.list;
  if (subspaces) *subspaces = s->groups.subspaces.n > 0 ? &s->groups.subspaces : NULL;
  PetscFunctionReturn(PETSC_SUCCESS);
}
