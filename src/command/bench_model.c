/* bench_model.c: fit of Allreduce times and prediction of a pass. */
#include "bench_model.h"
#include <math.h>

double CkBenchAllreduceModel(double ranks, double messages, double bytes, double latency, double per_byte)
{
  return 2 * log2(ranks) * messages * latency + 2 * (ranks - 1) / ranks * bytes * per_byte;
}

PetscErrorCode CkBenchAllreduceFree(CkBenchAllreduce *times)
{
  PetscFunctionBeginUser;
  PetscCall(PetscFree3(times->ranks, times->bytes, times->seconds));
  times->n = 0;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Relative deviation of entry i. */
static double Deviation(const CkBenchAllreduce *t, PetscInt i, double latency, double per_byte)
{
  return CkBenchAllreduceModel(t->ranks[i], 1, t->bytes[i], latency, per_byte) / t->seconds[i] - 1;
}

/* Least weighted squares of the relative deviations of p a + q b from 1 under a, b >= 0. */
static void FitWeighted(const CkBenchAllreduce *t, const double weight[], double *a, double *b)
{
  double pp = 0, pq = 0, qq = 0, p1 = 0, q1 = 0, determinant;

  for (PetscInt i = 0; i < t->n; ++i) {
    const double p = CkBenchAllreduceModel(t->ranks[i], 1, t->bytes[i], 1, 0) / t->seconds[i];
    const double q = CkBenchAllreduceModel(t->ranks[i], 1, t->bytes[i], 0, 1) / t->seconds[i];

    pp += weight[i] * p * p;
    pq += weight[i] * p * q;
    qq += weight[i] * q * q;
    p1 += weight[i] * p;
    q1 += weight[i] * q;
  }
  determinant = pp * qq - pq * pq;
  *a = determinant > 0 ? (p1 * qq - q1 * pq) / determinant : -1;
  *b = determinant > 0 ? (q1 * pp - p1 * pq) / determinant : -1;
  if (*a >= 0 && *b >= 0) return;
  /* the smallest sum lies on an edge of a, b >= 0: p1^2/pp or q1^2/qq below the sum of weights */
  if (pp > 0 && (qq <= 0 || p1 * p1 / pp >= q1 * q1 / qq)) {
    *a = p1 / pp;
    *b = 0;
  } else {
    *a = 0;
    *b = qq > 0 ? q1 / qq : 0;
  }
}

PetscErrorCode CkBenchAllreduceFit(const CkBenchAllreduce *times, double *latency, double *per_byte, double *deviation)
{
  const int    iterations = 100;
  const double least = 1e-6; /* deviations below it count as none */
  PetscReal   *weight;

  PetscFunctionBeginUser;
  *latency = *per_byte = 0;
  if (deviation) *deviation = 0;
  if (times->n == 0) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(PetscMalloc1(times->n, &weight));
  for (PetscInt i = 0; i < times->n; ++i) weight[i] = 1;
  for (int k = 0; k < iterations; ++k) { /* weights 1/|deviation|: squares become magnitudes */
    FitWeighted(times, weight, latency, per_byte);
    for (PetscInt i = 0; i < times->n; ++i) weight[i] = 1 / fmax(fabs(Deviation(times, i, *latency, *per_byte)), least);
  }
  for (PetscInt i = 0; i < times->n; ++i) weight[i] = fabs(Deviation(times, i, *latency, *per_byte));
  PetscCall(PetscSortReal(times->n, weight));
  if (deviation) *deviation = weight[times->n / 2];
  PetscCall(PetscFree(weight));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Samples of the busiest rank, number 0: it is the first to get a sum block and the last to be given a short one. */
static double Busiest(const CkBlocks *measured, PetscInt samples, PetscMPIInt ranks)
{
  CkBlocks blocks = *measured;

  blocks.n = samples;
  blocks.size = ranks;
  blocks.nblocks = samples / blocks.block + (samples % blocks.block > 0);
  return (double)CkBlocksCount(&blocks, 0);
}

double CkBenchImbalance(const CkBenchScaling *s)
{
  const double share = s->work / (double)s->blocks.n * Busiest(&s->blocks, s->blocks.n, s->blocks.size);

  return share > 0 ? s->busiest / share : 1;
}

static double Communication(const CkBenchScaling *s, PetscMPIInt ranks)
{
  return CkBenchAllreduceModel(ranks, s->messages, s->bytes, s->latency, s->per_byte);
}

static void Terms(const CkBenchScaling *s, PetscInt samples, PetscMPIInt ranks, CkBenchPrediction *p)
{
  const double sample = s->work / (double)s->blocks.n;

  p->work = sample * Busiest(&s->blocks, samples, ranks) * (ranks > 1 ? CkBenchImbalance(s) : 1);
  p->communication = Communication(s, ranks);
  p->fixed = fmax(s->seconds - s->busiest - Communication(s, s->blocks.size), 0);
  p->seconds = p->work + p->communication + p->fixed;
}

void CkBenchPredict(const CkBenchScaling *s, PetscInt samples, PetscMPIInt ranks, CkBenchPrediction *prediction)
{
  CkBenchPrediction one;

  Terms(s, samples, 1, &one);
  Terms(s, samples, ranks, prediction);
  prediction->efficiency = one.seconds / (ranks * prediction->seconds);
}
