#include "spectrumimpl.h"
#include <math.h>
#include <stdio.h>

/* series.c: spectra at several points of one loss beside one another; docs/theory.md, (H.7) to (H.9). */

typedef struct {
  char                 name[128];
  CkSpectrumStatistics statistics;
  double              *values; /* [statistics.n] */
  PetscInt             k;
  Vec                 *vectors; /* [k] */
} Entry;

struct _p_CkSpectrumSeries {
  CkSpectrum  s;
  PetscInt    n, room;
  Entry      *list;
  double     *distance, *shape; /* [n x n]; NULL: not compared yet */
  CkSubspaces subspaces;
};

PetscErrorCode CkSpectrumSeriesCreate(CkSpectrum s, CkSpectrumSeries *series)
{
  PetscFunctionBeginUser;
  PetscCall(PetscNew(series));
  (*series)->s = s;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode DropComparison(CkSpectrumSeries t)
{
  PetscFunctionBeginUser;
  PetscCall(PetscFree2(t->distance, t->shape));
  PetscCall(CkSubspacesDestroy(&t->subspaces));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkSpectrumSeriesDestroy(CkSpectrumSeries *series)
{
  PetscFunctionBeginUser;
  if (!*series) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(DropComparison(*series));
  for (PetscInt i = 0; i < (*series)->n; ++i) {
    PetscCall(PetscFree((*series)->list[i].values));
    PetscCall(CkSpectrumDestroyVectors((*series)->list[i].k, &(*series)->list[i].vectors));
  }
  PetscCall(PetscFree((*series)->list));
  PetscCall(PetscFree(*series));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode MakeRoom(CkSpectrumSeries t)
{
  Entry *grown;

  PetscFunctionBeginUser;
  if (t->n < t->room) PetscFunctionReturn(PETSC_SUCCESS);
  t->room = 2 * t->room + 8;
  PetscCall(PetscCalloc1(t->room, &grown));
  PetscCall(PetscArraycpy(grown, t->list, t->n));
  PetscCall(PetscFree(t->list));
  t->list = grown;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkSpectrumSeriesAdd(CkSpectrumSeries t, const char name[])
{
  CkSpectrum s = t->s;
  Entry     *e;

  PetscFunctionBeginUser;
  PetscCheck(s->solved, s->comm, PETSC_ERR_ORDER, "Call CkSpectrumSolve() first");
  PetscCall(DropComparison(t));
  PetscCall(MakeRoom(t));
  e = &t->list[t->n++];
  PetscCall(PetscStrncpy(e->name, name, sizeof(e->name)));
  e->statistics = s->statistics;
  e->k = s->nvectors;
  PetscCall(PetscMalloc1(s->n, &e->values));
  PetscCall(PetscArraycpy(e->values, s->values, s->n));
  if (e->k > 0) PetscCall(CkSpectrumCreateVectors(s, e->k, &e->vectors));
  for (PetscInt j = 0; j < e->k; ++j) PetscCall(VecCopy(s->vectors[j], e->vectors[j]));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkSpectrumSeriesGetLast(CkSpectrumSeries t, PetscInt *k, const Vec **vectors)
{
  PetscFunctionBeginUser;
  *k = t->n > 0 ? t->list[t->n - 1].k : 0;
  *vectors = t->n > 0 ? t->list[t->n - 1].vectors : NULL;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* |a/unit_a - b/unit_b|_2 over the larger norm. Complete lists go on with zeros; of others only the numbers that both
   have count. */
static double Distance(const Entry *a, const Entry *b, double unit_a, double unit_b)
{
  const PetscInt m = a->statistics.n, n = b->statistics.n;
  PetscInt       last = PetscMin(m, n);
  double         difference = 0, norm_a = 0, norm_b = 0;

  if (a->statistics.complete && b->statistics.complete) last = PetscMax(m, n);
  for (PetscInt i = 0; i < last; ++i) {
    const double x = i < m && unit_a > 0 ? a->values[i] / unit_a : 0,
                 y = i < n && unit_b > 0 ? b->values[i] / unit_b : 0;

    difference += (x - y) * (x - y);
    norm_a += x * x;
    norm_b += y * y;
  }
  return difference > 0 ? sqrt(difference / PetscMax(norm_a, norm_b)) : 0;
}

static PetscErrorCode CompareValues(CkSpectrumSeries t)
{
  PetscFunctionBeginUser;
  PetscCall(PetscMalloc2(t->n * t->n, &t->distance, t->n * t->n, &t->shape));
  for (PetscInt a = 0; a < t->n; ++a) {
    for (PetscInt b = 0; b < t->n; ++b) {
      const Entry *x = &t->list[a], *y = &t->list[b];

      t->distance[a * t->n + b] = Distance(x, y, 1, 1);
      t->shape[a * t->n + b] = Distance(x, y, x->statistics.trace, y->statistics.trace);
    }
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Products of all vectors with one another. */
static PetscErrorCode CompareVectors(CkSpectrumSeries t, PetscInt m)
{
  Vec    *all;
  double *products, *tolerance;

  PetscFunctionBeginUser;
  PetscCall(CkSubspacesCreate(t->n, &t->subspaces));
  PetscCall(PetscMalloc3(m, &all, m * m, &products, m, &tolerance));
  m = 0;
  for (PetscInt a = 0; a < t->n; ++a) {
    PetscCall(PetscStrncpy(t->subspaces.name[a], t->list[a].name, sizeof(t->subspaces.name[a])));
    t->subspaces.dimension[a] = t->list[a].k;
    for (PetscInt j = 0; j < t->list[a].k; ++j) all[m++] = t->list[a].vectors[j];
  }
  for (PetscInt i = 0; i < m; ++i) {
    PetscCall(VecMDot(all[i], m, all, products + i * m));
    tolerance[i] = 1;
  }
  PetscCall(CkSubspacesCompute(&t->subspaces, products, tolerance));
  PetscCall(PetscFree3(all, products, tolerance));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkSpectrumSeriesCompare(CkSpectrumSeries t)
{
  PetscInt m = 0;

  PetscFunctionBeginUser;
  PetscCall(DropComparison(t));
  PetscCall(CompareValues(t));
  for (PetscInt a = 0; a < t->n; ++a) m += t->list[a].k;
  if (m > 0) PetscCall(CompareVectors(t, m));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkSpectrumSeriesGet(CkSpectrumSeries t, PetscInt *n, const double **distance, const double **shape,
                                   const CkSubspaces **subspaces)
{
  PetscFunctionBeginUser;
  PetscCheck(t->distance, t->s->comm, PETSC_ERR_ORDER, "Call CkSpectrumSeriesCompare() first");
  *n = t->n;
  *distance = t->distance;
  *shape = t->shape;
  *subspaces = t->subspaces.n > 0 ? &t->subspaces : NULL;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* A number of a spectrum, or "-" where the spectrum does not determine it. */
static void Number(double x, int digits, char text[32])
{
  if (isnan(x)) (void)snprintf(text, 32, "-");
  else (void)snprintf(text, 32, "%.*f", digits, x);
}

static PetscErrorCode EntryRow(CkSpectrumSeries t, PetscInt a, CkTable table)
{
  const CkSpectrumStatistics *s = &t->list[a].statistics;
  const PetscInt              before = a * t->n + a - 1;
  char                        rank[32], distance[32], shape[32], overlap[32];

  PetscFunctionBeginUser;
  Number(s->rank_1e3 == CK_RANK_UNKNOWN ? NAN : (double)s->rank_1e3, 0, rank);
  Number(a > 0 ? t->distance[before] : NAN, 4, distance);
  Number(a > 0 ? t->shape[before] : NAN, 4, shape);
  Number(a > 0 && t->subspaces.n > 0 ? t->subspaces.overlap[before] : NAN, 4, overlap);
  PetscCall(CkTableRow(table, t->list[a].name, "", "%11.5g %11.5g %7s %9.4g %7.4g %9s %9s %9s", s->trace, s->lambda_max,
                       rank, s->stable_rank, s->passes, distance, shape, overlap));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkSpectrumSeriesView(CkSpectrumSeries t)
{
  CkTable table;

  PetscFunctionBeginUser;
  PetscCheck(t->distance, t->s->comm, PETSC_ERR_ORDER, "Call CkSpectrumSeriesCompare() first");
  PetscCall(CkTableCreate(t->s->comm, "Series of spectra; distance, shape, overlap: to the one before", &table));
  PetscCall(CkTableRow(table, "weights", "", "%11s %11s %7s %9s %7s %9s %9s %9s", "trace", "lambda_max", ">1e-3",
                       "tr/l_max", "passes", "distance", "shape", "overlap"));
  for (PetscInt a = 0; a < t->n; ++a) PetscCall(EntryRow(t, a, table));
  PetscCall(CkTableDestroy(&table));
  if (t->subspaces.n > 0) PetscCall(CkSubspacesView(t->s->comm, &t->subspaces, "Leading eigenspaces"));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* One number a spectrum, for pictures; NaN where it is not known. */
static PetscErrorCode WriteNumbers(CkSpectrumSeries t, CkFile file)
{
  static const char *const names[] = {"/trace", "/lambda_max", "/rank_1e-3", "/passes"};
  const PetscInt64         shape[] = {t->n};
  double                  *numbers;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc1(t->n, &numbers));
  for (size_t i = 0; i < PETSC_STATIC_ARRAY_LENGTH(names); ++i) {
    for (PetscInt a = 0; a < t->n; ++a) {
      const CkSpectrumStatistics *s = &t->list[a].statistics;
      const double all[] = {s->trace, s->lambda_max, s->rank_1e3 == CK_RANK_UNKNOWN ? NAN : (double)s->rank_1e3,
                            s->passes};

      numbers[a] = all[i];
    }
    PetscCall(CkFileWriteAll(file, names[i], CK_F64, 1, shape, numbers, "1", "of each spectrum; NaN where not known"));
  }
  PetscCall(PetscFree(numbers));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkSpectrumSeriesWrite(CkSpectrumSeries t, CkFile file)
{
  const PetscInt64 pairs[] = {t->n, t->n};

  PetscFunctionBeginUser;
  PetscCheck(t->distance, t->s->comm, PETSC_ERR_ORDER, "Call CkSpectrumSeriesCompare() first");
  PetscCall(CkFileWriteString(file, "/", "kind", "spectrum series"));
  PetscCall(CkFileWriteInt(file, "/", "spectra", t->n));
  PetscCall(WriteNumbers(t, file));
  PetscCall(CkFileWriteAll(file, "/distance", CK_F64, 2, pairs, t->distance, "1",
                           "difference of the eigenvalues over the larger norm"));
  PetscCall(CkFileWriteAll(file, "/shape_distance", CK_F64, 2, pairs, t->shape, "1",
                           "the same with eigenvalues over the trace of each"));
  if (t->subspaces.n > 0) PetscCall(CkSubspacesWrite(&t->subspaces, file));
  PetscFunctionReturn(PETSC_SUCCESS);
}
