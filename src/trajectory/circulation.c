#include "circulation.h"
#include "smallmatrix.h"
#include <clarkia/error.h>
#include <clarkia/probability.h>
#include <clarkia/random.h>
#include <math.h>
#include <stdlib.h>

/* circulation.c: from the areas of blocks to errors, significance, rotation frequencies and entropy production. */

typedef struct {
  const CkBlockAreas      *blocks;
  const CkCirculationPlan *plan;
  CkCirculation           *result;
  double                   total;            /* time */
  double                  *whiten;           /* [k x k] Sigma^(-1/2) */
  double                  *area;             /* [pairs] sums of a draw */
  double                  *matrix, *product; /* [k x k] */
  double                  *planes;           /* [k/2] of a draw */
} Work;

/* Of directions that are not independent the one with the largest share in the eigenvector V[0 .. k-1] of the least
   eigenvalue is the one to leave out. */
static void FindSingular(PetscInt k, const double values[], const double V[], CkCirculation *r)
{
  PetscInt share = 0;

  for (PetscInt i = 1; i < k; ++i)
    if (fabs(V[i]) > fabs(V[share])) share = i;
  r->least = values[0];
  r->largest = values[k - 1];
  r->singular = values[0] > 1e-12 * values[k - 1] ? 0 : share + 1;
}

static PetscErrorCode Whitening(Work *w)
{
  const PetscInt k = w->blocks->k;
  double        *values, *V;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc2(k, &values, k * k, &V));
  PetscCall(CkSmallEigen(k, w->blocks->covariance, values, V));
  FindSingular(k, values, V, w->result);
  if (!w->result->singular)
    for (PetscInt i = 0; i < k; ++i)
      for (PetscInt j = 0; j < k; ++j) {
        w->whiten[i * k + j] = 0;
        for (PetscInt l = 0; l < k; ++l) w->whiten[i * k + j] += V[l * k + i] * V[l * k + j] / sqrt(values[l]);
      }
  PetscCall(PetscFree2(values, V));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The antisymmetric matrix of sums over pairs, divided by a time. */
static void Unfold(const Work *w, const double area[], double time, double A[])
{
  const PetscInt k = w->blocks->k;
  PetscInt       pair = 0;

  for (PetscInt i = 0; i < k; ++i) {
    A[i * k + i] = 0;
    for (PetscInt j = i + 1; j < k; ++j, ++pair) {
      A[i * k + j] = area[pair] / time;
      A[j * k + i] = -A[i * k + j];
    }
  }
}

/* Eq. (V.5): eigenvalues of Sigma^(-1/2) A Sigma^(-1/2) / 2. */
static PetscErrorCode Rotation(Work *w, const double A[], double frequencies[])
{
  const PetscInt k = w->blocks->k;

  PetscFunctionBeginUser;
  PetscCall(CkSmallProduct(k, w->whiten, A, PETSC_FALSE, w->product));
  PetscCall(CkSmallProduct(k, w->product, w->whiten, PETSC_FALSE, w->matrix));
  PetscCall(CkSmallPlanes(k, w->matrix, frequencies));
  for (PetscInt i = 0; i < k / 2; ++i) frequencies[i] /= 2;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Estimate(Work *w)
{
  const CkBlockAreas *b = w->blocks;

  PetscFunctionBeginUser;
  PetscCall(PetscArrayzero(w->area, b->pairs));
  for (PetscInt i = 0; i < b->count; ++i) {
    w->total += b->duration[i];
    for (PetscInt p = 0; p < b->pairs; ++p) w->area[p] += b->area[i * b->pairs + p];
  }
  Unfold(w, w->area, w->total, w->result->A);
  PetscCall(CkSmallPlanes(b->k, w->result->A, w->result->area_value));
  PetscCall(Rotation(w, w->result->A, w->result->rotation));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Block bootstrap: as many blocks as there are, drawn with replacement. */
static PetscErrorCode Errors(Work *w)
{
  const CkBlockAreas *b = w->blocks;
  const PetscInt      k = b->k, draws = w->plan->draws, planes = k / 2;
  double             *A, *uniform, *sum, *square;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc2(k * k, &A, b->count, &uniform));
  PetscCall(PetscCalloc2(k * k + planes, &sum, k * k + planes, &square));
  for (PetscInt draw = 0; draw < draws; ++draw) {
    const CkRandom stream = {w->plan->seed, CK_RANDOM_BOOTSTRAP, 1, (uint64_t)draw};
    double         time = 0;

    CkRandomUniforms(&stream, 0, (size_t)b->count, uniform);
    PetscCall(PetscArrayzero(w->area, b->pairs));
    for (PetscInt i = 0; i < b->count; ++i) {
      const PetscInt chosen = PetscMin((PetscInt)(uniform[i] * (double)b->count), b->count - 1);

      time += b->duration[chosen];
      for (PetscInt p = 0; p < b->pairs; ++p) w->area[p] += b->area[chosen * b->pairs + p];
    }
    Unfold(w, w->area, time, A);
    PetscCall(Rotation(w, A, w->planes));
    for (PetscInt i = 0; i < k * k + planes; ++i) {
      const double centre = i < k * k ? w->result->A[i] : w->result->rotation[i - k * k];
      const double change = (i < k * k ? A[i] : w->planes[i - k * k]) - centre;

      sum[i] += change;
      square[i] += change * change;
    }
  }
  for (PetscInt i = 0; i < k * k + planes; ++i) {
    const double variance = (square[i] - sum[i] * sum[i] / (double)draws) / (double)(draws - 1);

    *(i < k * k ? w->result->A_error + i : w->result->rotation_error + (i - k * k)) = sqrt(fmax(0, variance));
  }
  PetscCall(PetscFree2(A, uniform));
  PetscCall(PetscFree2(sum, square));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Signs of a draw into the sums of w->area: block i counts forwards or backwards in time. */
static void SignedSums(Work *w, PetscInt draw)
{
  const CkBlockAreas *b = w->blocks;
  const CkRandom      stream = {w->plan->seed, CK_RANDOM_BOOTSTRAP, 0, (uint64_t)draw};
  uint32_t            bits[4] = {0, 0, 0, 0};

  (void)PetscArrayzero(w->area, b->pairs);
  for (PetscInt i = 0; i < b->count; ++i) {
    const double *area = b->area + (size_t)i * (size_t)b->pairs;

    if (i % 128 == 0) CkRandomBits(&stream, (uint64_t)i / 128, bits);
    if (bits[i / 32 % 4] >> (i % 32) & 1)
      for (PetscInt p = 0; p < b->pairs; ++p) w->area[p] += area[p];
    else
      for (PetscInt p = 0; p < b->pairs; ++p) w->area[p] -= area[p];
  }
}

static int Ascending(const void *a, const void *b)
{
  const double x = *(const double *)a, y = *(const double *)b;

  return (x > y) - (x < y);
}

/* Eq. (V.7): |sum of areas| / root of the sum of their squares, which no sign changes. */
static void Studentised(const CkBlockAreas *b, const double scale[], const double area[], double T[], double *largest)
{
  *largest = 0;
  for (PetscInt p = 0; p < b->pairs; ++p) {
    T[p] = scale[p] > 0 ? fabs(area[p]) / scale[p] : 0;
    *largest = fmax(*largest, T[p]);
  }
}

/* In a reversible process a block and its reverse are equally likely: random signs show what chance does. */
static PetscErrorCode Significance(Work *w)
{
  const CkBlockAreas *b = w->blocks;
  const PetscInt      k = b->k, draws = w->plan->draws, planes = k / 2;
  const double        margin = 1 - 1e-12; /* a draw of the same signs is as large, whatever the rounding */
  double             *scale, *T, *seen, *A, *rotation, observed, largest;
  PetscInt           *above, rotation_above = 0, all_above = 0;

  PetscFunctionBeginUser;
  PetscCall(PetscCalloc6(b->pairs, &scale, b->pairs, &T, b->pairs, &seen, k * k, &A, planes * draws, &rotation,
                         b->pairs, &above));
  for (PetscInt i = 0; i < b->count; ++i)
    for (PetscInt p = 0; p < b->pairs; ++p) scale[p] += b->area[i * b->pairs + p] * b->area[i * b->pairs + p];
  for (PetscInt p = 0, i = 0; i < k; ++i)
    for (PetscInt j = i + 1; j < k; ++j, ++p) {
      scale[p] = sqrt(scale[p]);
      w->area[p] = w->result->A[i * k + j] * w->total;
    }
  Studentised(b, scale, w->area, seen, &observed);
  for (PetscInt draw = 0; draw < draws; ++draw) {
    SignedSums(w, draw);
    Studentised(b, scale, w->area, T, &largest);
    all_above += largest >= observed * margin;
    for (PetscInt p = 0; p < b->pairs; ++p) above[p] += largest >= seen[p] * margin;
    Unfold(w, w->area, w->total, A);
    PetscCall(Rotation(w, A, w->planes));
    rotation_above += w->planes[0] >= w->result->rotation[0] * margin;
    for (PetscInt i = 0; i < planes; ++i) rotation[i * draws + draw] = w->planes[i];
  }
  w->result->p = (1. + (double)all_above) / (1. + (double)draws);
  w->result->rotation_p = (1. + (double)rotation_above) / (1. + (double)draws);
  for (PetscInt p = 0, i = 0; i < k; ++i)
    for (PetscInt j = i + 1; j < k; ++j, ++p)
      w->result->pair_p[i * k + j] = w->result->pair_p[j * k + i] = (1. + (double)above[p]) / (1. + (double)draws);
  for (PetscInt i = 0; i < planes; ++i) {
    const PetscInt at = PetscMin(draws - 1, (PetscInt)ceil((1 - w->plan->level) * (double)draws) - 1);

    qsort(rotation + i * draws, (size_t)draws, sizeof(double), Ascending);
    w->result->rotation_null[i] = rotation[i * draws + PetscMax(0, at)];
  }
  PetscCall(PetscFree6(scale, T, seen, A, rotation, above));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Which half of the time a block belongs to; of replicas of one block each, which half of them. */
static int Half(const CkBlockAreas *b, PetscInt block)
{
  const PetscInt per = b->per, replica = block / per;

  return per > 1 ? 2 * (block % per) >= per : 2 * replica >= b->replicas;
}

/* Difference of the means of the two halves against the scatter of block means within them: Student's t. */
static PetscErrorCode Drift(Work *w)
{
  const CkBlockAreas *b = w->blocks;

  PetscFunctionBeginUser;
  w->result->drift_p = 1;
  if (b->per < 2) PetscFunctionReturn(PETSC_SUCCESS); /* nothing earlier or later */
  for (PetscInt i = 0; i < b->k; ++i) {
    double   sum[2] = {0, 0}, within = 0, t;
    PetscInt n[2] = {0, 0};

    for (PetscInt block = 0; block < b->count; ++block) {
      sum[Half(b, block)] += b->mean[block * b->k + i];
      ++n[Half(b, block)];
    }
    for (PetscInt block = 0; block < b->count; ++block) {
      const int    h = Half(b, block);
      const double residual = b->mean[block * b->k + i] - sum[h] / (double)n[h];

      within += residual * residual;
    }
    within /= (double)(b->count - 2);
    t = (sum[1] / (double)n[1] - sum[0] / (double)n[0]) / sqrt(within * (1. / (double)n[0] + 1. / (double)n[1]));
    w->result->drift_p = fmin(w->result->drift_p, (double)b->k * CkStudentTail(t, b->count - 2));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Blocks of half h seen through the current whose weights are m_p / v_p of the other half, in units of its standard
   deviation: their sum is added. */
static PetscErrorCode HalfCurrent(const CkBlockAreas *b, int h, double *sum)
{
  double  *mean, *variance, *J, total = 0, square = 0;
  PetscInt n[2] = {0, 0};

  PetscFunctionBeginUser;
  PetscCall(PetscCalloc3(b->pairs, &mean, b->pairs, &variance, b->count, &J));
  for (PetscInt i = 0; i < b->count; ++i) ++n[Half(b, i) == h];
  for (int pass = 0; pass < 2; ++pass)
    for (PetscInt i = 0; i < b->count; ++i) {
      if (Half(b, i) == h) continue;
      for (PetscInt p = 0; p < b->pairs; ++p) {
        const double a = b->area[i * b->pairs + p];

        if (pass == 0) mean[p] += a / (double)n[0];
        else variance[p] += (a - mean[p]) * (a - mean[p]) / (double)n[0];
      }
    }
  for (PetscInt i = 0; i < b->count; ++i) {
    if (Half(b, i) != h) continue;
    for (PetscInt p = 0; p < b->pairs; ++p)
      if (variance[p] > 0) J[i] += b->area[i * b->pairs + p] * mean[p] / variance[p];
    total += J[i];
  }
  for (PetscInt i = 0; i < b->count; ++i)
    if (Half(b, i) == h) square += (J[i] - total / (double)n[1]) * (J[i] - total / (double)n[1]) / (double)(n[1] - 1);
  if (square > 0) *sum += total / sqrt(square);
  PetscCall(PetscFree3(mean, variance, J));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Eq. (V.8). */
static PetscErrorCode Entropy(Work *w)
{
  const CkBlockAreas *b = w->blocks;
  const double        n = (double)b->count, block_time = w->total / n, dt = b->dt;
  double              mean = 0, estimate, lower;

  PetscFunctionBeginUser;
  for (int h = 0; h < 2; ++h) PetscCall(HalfCurrent(b, h, &mean));
  mean = fmax(0, mean / n);
  estimate = fmax(0, mean * mean - 1 / n);
  lower = fmax(0, mean - CkNormalQuantile(0.95) / sqrt(n));
  w->result->entropy = log1p(dt * 2 * estimate / block_time) / dt;
  w->result->entropy_lower = log1p(dt * 2 * lower * lower / block_time) / dt;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode ComputeAll(Work *w)
{
  CkCirculation *r = w->result;
  const PetscInt k = w->blocks->k, planes = k / 2;

  PetscFunctionBeginUser;
  r->k = k;
  r->planes = planes;
  PetscCall(PetscCalloc3(k * k, &r->A, k * k, &r->A_error, k * k, &r->pair_p));
  PetscCall(
    PetscCalloc4(planes, &r->area_value, planes, &r->rotation, planes, &r->rotation_error, planes, &r->rotation_null));
  PetscCall(Estimate(w));
  PetscCall(Errors(w));
  PetscCall(Significance(w));
  PetscCall(Drift(w));
  PetscCall(Entropy(w));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkCirculationCompute(const CkBlockAreas *b, const CkCirculationPlan *plan, CkCirculation *r)
{
  const PetscInt k = b->k;
  Work           w = {.blocks = b, .plan = plan, .result = r};

  PetscFunctionBeginUser;
  PetscCheck(b->count >= CK_CIRCULATION_MIN_BLOCKS, PETSC_COMM_SELF, PETSC_ERR_ARG_OUTOFRANGE,
             "%" PetscInt_FMT " blocks; at least %d are needed", b->count, CK_CIRCULATION_MIN_BLOCKS);
  PetscCheck(plan->draws >= 2, PETSC_COMM_SELF, PETSC_ERR_ARG_OUTOFRANGE, "%" PetscInt_FMT " draws", plan->draws);
  *r = (CkCirculation){.k = 0};
  PetscCall(PetscCalloc5(k * k, &w.whiten, b->pairs, &w.area, k * k, &w.matrix, k * k, &w.product, k / 2, &w.planes));
  PetscCall(Whitening(&w));
  if (!r->singular) PetscCall(ComputeAll(&w));
  PetscCall(PetscFree5(w.whiten, w.area, w.matrix, w.product, w.planes));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkCirculationDestroy(CkCirculation *r)
{
  PetscFunctionBeginUser;
  PetscCall(PetscFree3(r->A, r->A_error, r->pair_p));
  PetscCall(PetscFree4(r->area_value, r->rotation, r->rotation_error, r->rotation_null));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkCirculationRotation(const CkBlockAreas *b, const double A[], double frequencies[])
{
  const PetscInt n = b->k * b->k;
  CkCirculation  r = {.k = 0};
  Work           w = {.blocks = b, .result = &r};

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc3(n, &w.whiten, n, &w.matrix, n, &w.product));
  PetscCall(Whitening(&w));
  PetscCheck(!r.singular, PETSC_COMM_SELF, PETSC_ERR_ARG_WRONG, "Rotations in directions that are not independent");
  PetscCall(Rotation(&w, A, frequencies));
  PetscCall(PetscFree3(w.whiten, w.matrix, w.product));
  PetscFunctionReturn(PETSC_SUCCESS);
}
