#pragma once
#include <clarkia/loss.h>

/*
  bench_model.h: the scaling model of docs/theory.md, eqs. (A.1) to (A.4): time of a pass on any number of ranks, from
  what was measured on one number of them. Pure functions, nothing is measured or communicated here.
*/

/* Times of Allreduce: entry i is one of bytes[i] over ranks[i] ranks. */
typedef struct {
  PetscInt n;
  double  *ranks, *bytes, *seconds; /* [n], owned: CkBenchAllreduceFree() */
} CkBenchAllreduce;

/* 2 log2(P) a + 2 (P-1)/P n b, eq. (A.3): seconds for latency a [s] and inverse bandwidth b [s/byte]. */
double CkBenchAllreduceModel(double ranks, double messages, double bytes, double latency, double per_byte);
/*
  Latency and inverse bandwidth, both >= 0, with the least sum of |relative deviations|: a few calls that something else
  held up do not count. deviation (may be NULL): median |model / measured - 1|. n = 0: both 0.
*/
PetscErrorCode CkBenchAllreduceFit(const CkBenchAllreduce *times, double *latency, double *per_byte, double *deviation);
PetscErrorCode CkBenchAllreduceFree(CkBenchAllreduce *times);

/* A measured pass, or several that make up one call. */
typedef struct {
  CkBlocks blocks;            /* of the samples; size: the ranks it was measured on */
  double   seconds;           /* the call, slowest rank */
  double   work;              /* rank-seconds on all ranks together of what is divided among them with the samples */
  double   busiest;           /* the same of the rank that has most of it */
  double   messages, bytes;   /* Allreduce equivalents of a call, on more than one rank */
  double   latency, per_byte; /* of the network */
} CkBenchScaling;

/* Terms of eq. (A.1), their sum, and the efficiency T(1)/(P T(P)). */
typedef struct {
  double work, communication, fixed, seconds, efficiency;
} CkBenchPrediction;

/* samples: in the place of those measured. On the measured ranks and samples, seconds is what was measured, unless the
   model of the communication alone takes longer than was left for it. */
void CkBenchPredict(const CkBenchScaling *scaling, PetscInt samples, PetscMPIInt ranks, CkBenchPrediction *prediction);
/* How much the busiest rank had beyond its share of the sum blocks: >= 1 up to noise; 1 where nothing was measured. */
double CkBenchImbalance(const CkBenchScaling *scaling);
