#include "minibatches.h"
#include "tailimpl.h"
#include <clarkia/error.h>
#include <clarkia/random.h>
#include <math.h>

/* tail_weights.c: the noise of one minibatch across all weights, beside normal noise of covariance D/B. */

#define SMALL 1e-14 /* of the largest variance: below, what the engine rounds, not what samples do */

typedef struct {
  double    *all;   /* [d] one vector */
  double    *x, *s; /* [moving] entries and deviations of the weights that move */
  VecScatter gather;
  Vec        whole;
} Work;

double CkTailWeightsMemory(CkTail t)
{
  PetscInt    columns = 1;
  PetscMPIInt size = 1;
  double      bytes = 0, passes;

  (void)MPI_Comm_size(t->comm, &size);
  (void)CkDiffusionGetColumns(t->D, 2 * t->flats, &columns);
  (void)CkDiffusionProductCost(t->D, columns, &bytes, &passes);
  return bytes + 8. * ((double)columns * (double)t->N + (double)columns * (double)t->d / size + 4. * (double)t->d);
}

static PetscErrorCode Gather(Work *w, Vec v)
{
  const PetscScalar *values;
  PetscInt           n;

  PetscFunctionBeginUser;
  PetscCall(VecScatterBegin(w->gather, v, w->whole, INSERT_VALUES, SCATTER_FORWARD));
  PetscCall(VecScatterEnd(w->gather, v, w->whole, INSERT_VALUES, SCATTER_FORWARD));
  PetscCall(VecGetSize(w->whole, &n));
  PetscCall(VecGetArrayRead(w->whole, &values));
  PetscCall(PetscArraycpy(w->all, values, n));
  PetscCall(VecRestoreArrayRead(w->whole, &values));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* D_ii of every weight, 0 where it is only rounding. */
static PetscErrorCode Variances(CkTail t, Work *w)
{
  Vec    diagonal;
  double largest = 0;

  PetscFunctionBeginUser;
  PetscCall(CkLossCreateVec(t->loss, &diagonal));
  PetscCall(VecScatterCreateToAll(diagonal, &w->gather, &w->whole));
  PetscCall(CkDiffusionDiagonal(t->D, diagonal));
  PetscCall(Gather(w, diagonal));
  PetscCall(VecDestroy(&diagonal));
  for (PetscInt i = 0; i < t->d; ++i) largest = fmax(largest, w->all[i]);
  t->moving = 0;
  for (PetscInt i = 0; i < t->d; ++i) {
    t->variance[i] = w->all[i] > SMALL * largest ? w->all[i] : 0;
    t->moving += t->variance[i] > 0;
  }
  CkCheckAll(t->comm, t->moving >= 16, PETSC_ERR_ARG_OUTOFRANGE,
             "samples move only %" PetscInt_FMT " of the %" PetscInt_FMT " weights: at least 16 are needed", t->moving,
             t->d);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Column j of W [N x count]: g_B - gbar of minibatch j, or the normal vector N^-1/2 Gc' z / sqrt(B). */
static PetscErrorCode Weights(CkTail t, CkMinibatches *batches, PetscInt first, PetscInt count, double W[])
{
  const double N = (double)t->N, B = (double)t->B;
  PetscInt    *samples;
  double      *z;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc2(t->B, &samples, t->N, &z));
  for (PetscInt j = 0; j < count; ++j) {
    const PetscInt column = first + j;

    if (column < t->flats) {
      PetscCall(CkMinibatchesDraw(batches, t->batches + column, samples));
      for (PetscInt k = 0; k < t->N; ++k) W[(size_t)k * (size_t)count + (size_t)j] = -1 / N;
      for (PetscInt i = 0; i < t->B; ++i) W[(size_t)samples[i] * (size_t)count + (size_t)j] += 1 / B;
    } else {
      const CkRandom stream = {
        .seed = t->seed, .purpose = CK_RANDOM_PROBE, .replica = 10, .step = (uint64_t)(column - t->flats)};
      double mean = 0;

      CkRandomNormals(&stream, 0, (size_t)t->N, z);
      for (PetscInt k = 0; k < t->N; ++k) mean += z[k] / N;
      for (PetscInt k = 0; k < t->N; ++k) W[(size_t)k * (size_t)count + (size_t)j] = (z[k] - mean) / sqrt(N * B);
    }
  }
  PetscCall(PetscFree2(samples, z));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Entries that are exactly 0 have no logarithm and are left out. */
static PetscErrorCode Look(CkTail t, Work *w, CkTailFlat *flat)
{
  const double correction = t->replacement ? 1 : (double)(t->N - t->B) / (double)(t->N - 1);
  PetscInt     n = 0;
  double      *sorted;
  CkNormality  normality;

  PetscFunctionBeginUser;
  for (PetscInt i = 0; i < t->d; ++i) {
    if (!(t->variance[i] > 0) || w->all[i] == 0) continue;
    w->x[n] = w->all[i];
    w->s[n++] = sqrt(t->variance[i] * correction / (double)t->B);
  }
  CkCheckAll(t->comm, n >= 16, PETSC_ERR_ARG_OUTOFRANGE, "a minibatch moves only %" PetscInt_FMT " weights", n);
  PetscCall(PetscMalloc1(n, &sorted));
  PetscCall(CkStableEstimate(n, w->x, 0, &flat->index));
  PetscCall(CkNormalityTest(n, w->x, &normality, sorted));
  flat->kurtosis = normality.kurtosis;
  for (PetscInt i = 0; i < n; ++i) w->x[i] /= w->s[i];
  PetscCall(CkStableEstimate(n, w->x, 0, &flat->standardised));
  PetscCall(CkNormalityTest(n, w->x, &normality, sorted));
  flat->standardised_kurtosis = normality.kurtosis;
  PetscCall(PetscFree(sorted));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Group(CkTail t, Work *w, CkMinibatches *batches, PetscInt first, PetscInt count)
{
  const CkBatch all = CkBatchAll(t->N);
  double       *W;
  Vec          *out;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc2((size_t)t->N * (size_t)count, &W, count, &out));
  for (PetscInt j = 0; j < count; ++j) PetscCall(CkLossCreateVec(t->loss, out + j));
  PetscCall(Weights(t, batches, first, count, W));
  PetscCall(CkLossGradientBlock(t->loss, &all, count, W, out));
  for (PetscInt j = 0; j < count; ++j) {
    const PetscInt column = first + j;

    PetscCall(Gather(w, out[j]));
    PetscCall(Look(t, w, column < t->flats ? t->flat + column : t->gaussian + (column - t->flats)));
    PetscCall(VecDestroy(out + j));
  }
  PetscCall(PetscFree2(W, out));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* (W.3) for the deviations of the weights that move, in their order. */
static PetscErrorCode Expected(CkTail t, Work *w)
{
  PetscInt n = 0;

  PetscFunctionBeginUser;
  for (PetscInt i = 0; i < t->d; ++i)
    if (t->variance[i] > 0) w->s[n++] = sqrt(t->variance[i]);
  PetscCall(CkStableOfGaussian(n, w->s, 0, &t->alpha_expected));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkTailAcrossWeights(CkTail t)
{
  Work          w = {NULL, NULL, NULL, NULL, NULL};
  CkMinibatches batches;
  PetscInt      columns;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc1(t->d, &t->variance));
  PetscCall(PetscMalloc2(t->flats, &t->flat, t->flats, &t->gaussian));
  PetscCall(PetscMalloc3(t->d, &w.all, t->d, &w.x, t->d, &w.s));
  PetscCall(Variances(t, &w));
  PetscCall(CkMinibatchesCreate(t->N, t->B, t->seed, t->replacement, &batches));
  PetscCall(CkDiffusionGetColumns(t->D, 2 * t->flats, &columns));
  for (PetscInt first = 0; first < 2 * t->flats; first += columns)
    PetscCall(Group(t, &w, &batches, first, PetscMin(columns, 2 * t->flats - first)));
  PetscCall(Expected(t, &w));
  PetscCall(CkMinibatchesDestroy(&batches));
  PetscCall(VecScatterDestroy(&w.gather));
  PetscCall(VecDestroy(&w.whole));
  PetscCall(PetscFree3(w.all, w.x, w.s));
  PetscFunctionReturn(PETSC_SUCCESS);
}
