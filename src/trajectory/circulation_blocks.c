/* circulation_blocks.c: centres, covariance, correlation time and the areas that blocks of transitions sweep. */
#include "circulation.h"
#include "series.h"
#include <clarkia/error.h>
#include <math.h>

static const double *Point(const CkPaths *paths, PetscInt t, PetscInt replica)
{
  return paths->y + ((size_t)t * (size_t)paths->replicas + (size_t)replica) * (size_t)paths->k;
}

static PetscErrorCode Moments(const CkPaths *paths, CkBlockAreas *b)
{
  const PetscInt k = b->k;
  double         count = (double)paths->n * (double)paths->replicas;

  PetscFunctionBeginUser;
  for (PetscInt r = 0; r < paths->replicas; ++r) {
    double *centre = b->centre + r * k;

    for (PetscInt t = 0; t < paths->n; ++t)
      for (PetscInt i = 0; i < k; ++i) centre[i] += Point(paths, t, r)[i];
    for (PetscInt i = 0; i < k; ++i) centre[i] /= (double)paths->n;
    for (PetscInt t = 0; t < paths->n; ++t) {
      const double *y = Point(paths, t, r);

      for (PetscInt i = 0; i < k; ++i)
        for (PetscInt j = 0; j <= i; ++j) b->covariance[i * k + j] += (y[i] - centre[i]) * (y[j] - centre[j]) / count;
    }
  }
  for (PetscInt i = 0; i < k; ++i)
    for (PetscInt j = 0; j < i; ++j) b->covariance[j * k + i] = b->covariance[i * k + j];
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode CorrelationTime(const CkPaths *paths, CkBlockAreas *b)
{
  double  *x;
  CkSeries series;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc1(paths->n, &x));
  PetscCall(CkSeriesCreate(paths->n, &series));
  b->tau = 1;
  for (PetscInt r = 0; r < paths->replicas; ++r) {
    for (PetscInt i = 0; i < paths->k; ++i) {
      double tau;

      for (PetscInt t = 0; t < paths->n; ++t) x[t] = Point(paths, t, r)[i];
      PetscCall(CkSeriesCorrelationTime(series, x, &tau));
      b->tau = fmax(b->tau, tau);
    }
  }
  PetscCall(CkSeriesDestroy(&series));
  PetscCall(PetscFree(x));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Transitions first .. last of one replica into block `block`. */
static void AddBlock(const CkPaths *paths, CkBlockAreas *b, PetscInt block, PetscInt replica, PetscInt first,
                     PetscInt last)
{
  const PetscInt k = b->k;
  const double  *centre = b->centre + replica * k;
  double        *area = b->area + (size_t)block * (size_t)b->pairs, *mean = b->mean + (size_t)block * (size_t)k;

  for (PetscInt t = first; t < last; ++t) {
    const double *y = Point(paths, t, replica), *next = Point(paths, t + 1, replica);
    PetscInt      pair = 0;

    for (PetscInt i = 0; i < k; ++i) {
      mean[i] += (y[i] - centre[i]) / (double)(last - first);
      for (PetscInt j = i + 1; j < k; ++j, ++pair)
        area[pair] += (y[i] - centre[i]) * (next[j] - y[j]) - (next[i] - y[i]) * (y[j] - centre[j]);
    }
  }
  b->duration[block] = (double)(last - first) * paths->dt;
}

PetscErrorCode CkBlockAreasCreate(const CkPaths *paths, PetscInt length, CkBlockAreas *b)
{
  const PetscInt k = paths->k, transitions = paths->n - 1;

  PetscFunctionBeginUser;
  PetscCheck(paths->n >= 3 && paths->replicas >= 1 && k >= 2 && paths->dt > 0, PETSC_COMM_SELF,
             PETSC_ERR_ARG_OUTOFRANGE, "Paths of %" PetscInt_FMT " points in %" PetscInt_FMT " directions", paths->n,
             k);
  *b = (CkBlockAreas){.k = k, .pairs = k * (k - 1) / 2, .n = paths->n, .replicas = paths->replicas, .dt = paths->dt};
  PetscCall(PetscCalloc2(paths->replicas * k, &b->centre, k * k, &b->covariance));
  PetscCall(Moments(paths, b));
  PetscCall(CorrelationTime(paths, b));
  if (length == 0) {
    length = (PetscInt)ceil(fmin(5 * b->tau, (double)transitions));
    length = PetscMax(length, transitions * b->replicas / CK_CIRCULATION_MAX_BLOCKS);
  }
  b->per = PetscMax(1, transitions / PetscMax(1, length));
  b->length = transitions / b->per;
  b->count = b->per * b->replicas;
  PetscCall(PetscCalloc3((size_t)b->count * (size_t)b->pairs, &b->area, b->count, &b->duration,
                         (size_t)b->count * (size_t)k, &b->mean));
  for (PetscInt r = 0; r < b->replicas; ++r)
    for (PetscInt i = 0; i < b->per; ++i)
      AddBlock(paths, b, r * b->per + i, r, (PetscInt)((PetscInt64)transitions * i / b->per),
               (PetscInt)((PetscInt64)transitions * (i + 1) / b->per));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkBlockAreasDestroy(CkBlockAreas *b)
{
  PetscFunctionBeginUser;
  PetscCall(PetscFree2(b->centre, b->covariance));
  PetscCall(PetscFree3(b->area, b->duration, b->mean));
  PetscFunctionReturn(PETSC_SUCCESS);
}
