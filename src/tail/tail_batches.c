#include "minibatches.h"
#include "tailimpl.h"
#include <clarkia/error.h>
#include <clarkia/probability.h>
#include <clarkia/random.h>
#include <math.h>

/* tail_batches.c: some directions across many minibatches. Slopes g_k.v_j of all samples take the passes; after that a
   minibatch is a mean of B rows. */

double CkTailBatchesMemory(CkTail t)
{
  PetscInt    columns = 1;
  PetscMPIInt size = 1;
  double      bytes = 0, passes;

  (void)MPI_Comm_size(t->comm, &size);
  (void)CkDiffusionGetColumns(t->D, t->wanted, &columns);
  (void)CkDiffusionProductCost(t->D, columns, &bytes, &passes);
  return bytes + 8. * ((double)t->wanted * ((double)t->N + (double)t->batches) +
                       (double)columns * ((double)t->N + (double)t->d / size) + (double)t->d);
}

/* Weights at random among those that move, ascending. */
static PetscErrorCode ChooseCoordinates(CkTail t)
{
  const CkRandom stream = {.seed = t->seed, .purpose = CK_RANDOM_PROBE, .replica = 11, .step = 0};
  PetscInt      *order, *chosen;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc2(t->d, &order, t->m, &chosen));
  PetscCall(CkRandomPermutation(&stream, t->d, order));
  for (PetscInt i = 0, n = 0; n < t->m; ++i)
    if (t->variance[order[i]] > 0) chosen[n++] = order[i];
  PetscCall(PetscSortInt(t->m, chosen));
  for (PetscInt j = 0; j < t->m; ++j) t->series[j].coordinate = chosen[j];
  PetscCall(PetscFree2(order, chosen));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode FillDirection(CkTail t, CkFile file, PetscInt j, double row[], Vec v)
{
  PetscScalar *mine;
  PetscInt     first, last;

  PetscFunctionBeginUser;
  if (file) PetscCall(CkFileReadRows(file, "/eigenvectors", CK_F64, j, 1, row));
  PetscCall(VecSet(v, 0));
  PetscCall(VecGetOwnershipRange(v, &first, &last));
  PetscCall(VecGetArray(v, &mine));
  if (file) PetscCall(PetscArraycpy(mine, row + first, last - first));
  else if (t->directions == CK_TAIL_RANDOM) {
    const CkRandom stream = {.seed = t->seed, .purpose = CK_RANDOM_PROBE, .replica = 12, .step = (uint64_t)j};

    CkRandomNormals(&stream, (uint64_t)first, (size_t)(last - first), mine);
    for (PetscInt i = 0; i < last - first; ++i) mine[i] /= sqrt((double)t->d);
  } else if (t->series[j].coordinate >= first && t->series[j].coordinate < last) {
    mine[t->series[j].coordinate - first] = 1;
  }
  PetscCall(VecRestoreArray(v, &mine));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* S [m x N] = g_k.v_j - gbar.v_j */
static PetscErrorCode Slopes(CkTail t, double S[])
{
  const CkBatch all = CkBatchAll(t->N);
  CkFile        file = NULL;
  PetscInt      columns;
  double       *block, *row;
  Vec          *V;

  PetscFunctionBeginUser;
  if (t->directions == CK_TAIL_SPECTRUM) PetscCall(CkFileOpen(t->comm, t->spectrum, &file));
  PetscCall(CkDiffusionGetColumns(t->D, t->m, &columns));
  PetscCall(PetscMalloc3((size_t)columns * (size_t)t->N, &block, t->d, &row, columns, &V));
  for (PetscInt j = 0; j < columns; ++j) PetscCall(CkLossCreateVec(t->loss, V + j));
  for (PetscInt first = 0; first < t->m; first += columns) {
    const PetscInt count = PetscMin(columns, t->m - first);

    for (PetscInt j = 0; j < count; ++j) PetscCall(FillDirection(t, file, first + j, row, V[j]));
    PetscCall(CkLossSlopes(t->loss, &all, count, V, block));
    for (PetscInt j = 0; j < count; ++j) {
      double     *mine = S + (size_t)(first + j) * (size_t)t->N;
      long double sum = 0;

      for (PetscInt k = 0; k < t->N; ++k) sum += mine[k] = block[(size_t)k * (size_t)count + (size_t)j];
      for (PetscInt k = 0; k < t->N; ++k) mine[k] -= (double)(sum / t->N);
    }
  }
  for (PetscInt j = 0; j < columns; ++j) PetscCall(VecDestroy(V + j));
  PetscCall(PetscFree3(block, row, V));
  PetscCall(CkFileDestroy(&file));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Noise x [m x batches]; sizes[batches]: its square over the variance of single samples, mean over the directions. */
static PetscErrorCode Noise(CkTail t, PetscBool replacement, const double S[], const double variance[], double x[],
                            double sizes[])
{
  CkMinibatches batches;
  PetscInt     *samples;

  PetscFunctionBeginUser;
  PetscCall(CkMinibatchesCreate(t->N, t->B, t->seed, replacement, &batches));
  PetscCall(PetscMalloc1(t->B, &samples));
  for (PetscInt b = 0; b < t->batches; ++b) {
    PetscCall(CkMinibatchesDraw(&batches, b, samples));
    sizes[b] = 0;
    for (PetscInt j = 0; j < t->m; ++j) {
      const double *mine = S + (size_t)j * (size_t)t->N;
      double        sum = 0;

      for (PetscInt i = 0; i < t->B; ++i) sum += mine[samples[i]];
      sum /= (double)t->B;
      if (x) x[(size_t)j * (size_t)t->batches + (size_t)b] = sum;
      sizes[b] += sum * sum / variance[j] / (double)t->m;
    }
  }
  PetscCall(PetscFree(samples));
  PetscCall(CkMinibatchesDestroy(&batches));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static void MeanAndError(PetscInt n, const double x[], double *mean, double *error)
{
  double square = 0;

  *mean = 0;
  for (PetscInt i = 0; i < n; ++i) *mean += x[i] / (double)n;
  for (PetscInt i = 0; i < n; ++i) square += (x[i] - *mean) * (x[i] - *mean) / (double)(n - 1);
  *error = sqrt(square / (double)n);
}

static PetscErrorCode Test(CkTail t, PetscInt j, const double x[])
{
  CkTailSeries *s = t->series + j;
  double       *sorted, *quantiles = t->quantiles + j * CK_TAIL_QUANTILES;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc1(t->batches, &sorted));
  PetscCall(CkNormalityTest(t->batches, x, &s->normality, sorted));
  PetscCall(CkStableEstimate(t->batches, x, 0, &s->index));
  for (PetscInt q = 0; q < CK_TAIL_QUANTILES; ++q) { /* between the two numbers next to (n - 1) p */
    const double   at = (double)(q + 1) / (CK_TAIL_QUANTILES + 1) * (double)(t->batches - 1);
    const PetscInt below = (PetscInt)at;

    quantiles[q] = sorted[below] + (at - (double)below) * (sorted[below + 1] - sorted[below]);
  }
  PetscCall(PetscFree(sorted));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Corrected for the number of series. */
static PetscErrorCode Adjust(CkTail t)
{
  double *p, *adjusted;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc2(t->m, &p, t->m, &adjusted));
  for (PetscInt j = 0; j < t->m; ++j) p[j] = t->series[j].normality.p;
  if (t->hochberg) PetscCall(CkAdjustBenjaminiHochberg(t->m, p, adjusted));
  else PetscCall(CkAdjustHolm(t->m, p, adjusted));
  for (PetscInt j = 0; j < t->m; ++j) {
    t->series[j].adjusted = adjusted[j];
    t->rejected += adjusted[j] <= t->level;
    t->heavy += t->series[j].index.upper < 2;
  }
  PetscCall(PetscFree2(p, adjusted));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Variance and kurtosis of single samples: the slopes are all there are. */
static PetscErrorCode SingleSamples(CkTail t, const double S[], double variance[])
{
  PetscFunctionBeginUser;
  for (PetscInt j = 0; j < t->m; ++j) {
    const double *mine = S + (size_t)j * (size_t)t->N;
    long double   square = 0, fourth = 0;

    for (PetscInt k = 0; k < t->N; ++k) {
      square += mine[k] * mine[k];
      fourth += mine[k] * mine[k] * mine[k] * mine[k];
    }
    variance[j] = (double)(square / t->N);
    CkCheckAll(t->comm, variance[j] > 0, PETSC_ERR_ARG_OUTOFRANGE,
               "direction %lld has no noise: all samples have the same slope there",
               (long long)t->series[j].coordinate);
    t->series[j].kurtosis = (double)(fourth / t->N) / (variance[j] * variance[j]) - 3;
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Ratio(CkTail t, const double with[], const double without[])
{
  double mean[2], error[2];

  PetscFunctionBeginUser;
  MeanAndError(t->batches, with, mean, error);
  MeanAndError(t->batches, without, mean + 1, error + 1);
  t->ratio = mean[1] / mean[0];
  t->ratio_error = t->ratio * hypot(error[0] / mean[0], error[1] / mean[1]);
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkTailAcrossBatches(CkTail t)
{
  double *S, *x, *sizes[2], *variance;

  PetscFunctionBeginUser;
  t->m = t->directions == CK_TAIL_COORDINATES ? PetscMin(t->wanted, t->moving) : t->wanted;
  PetscCall(PetscCalloc2(t->m, &t->series, t->m * CK_TAIL_QUANTILES, &t->quantiles));
  for (PetscInt j = 0; j < t->m; ++j) t->series[j].coordinate = j;
  if (t->directions == CK_TAIL_COORDINATES) PetscCall(ChooseCoordinates(t));
  PetscCall(PetscMalloc5((size_t)t->m * (size_t)t->N, &S, (size_t)t->m * (size_t)t->batches, &x, t->batches, &sizes[0],
                         t->batches, &sizes[1], t->m, &variance));
  PetscCall(Slopes(t, S));
  PetscCall(SingleSamples(t, S, variance));
  for (int without = 0; without < 2; ++without) {
    const PetscBool studied = (PetscBool)(t->replacement != (PetscBool)without);

    PetscCall(Noise(t, (PetscBool)!without, S, variance, studied ? x : NULL, sizes[without]));
  }
  PetscCall(Ratio(t, sizes[0], sizes[1]));
  for (PetscInt j = 0; j < t->m; ++j) PetscCall(Test(t, j, x + (size_t)j * (size_t)t->batches));
  PetscCall(Adjust(t));
  PetscCall(PetscFree5(S, x, sizes[0], sizes[1], variance));
  PetscFunctionReturn(PETSC_SUCCESS);
}
