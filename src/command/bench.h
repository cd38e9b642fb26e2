#pragma once
#include "bench_model.h"
#include "problem.h"
#include <clarkia/diffusion.h>
#include <clarkia/dynamics.h>
#include <clarkia/file.h>
#include <clarkia/onednn.h>

/*
  bench.h: what `clarkia bench` measures. A task is one entry in bench_tasks.c; bench.c times it and reports. Then come
  the phases of a pass (bench_phases.c), Allreduce (bench_allreduce.c) and what follows from both for other numbers of
  ranks (bench_prediction.c).
*/

/* Work of one call of a task on all ranks together. */
typedef struct {
  double samples;    /* samples gone through; 0: none */
  double products;   /* per sample: 1, or the columns of a block */
  double operations; /* floating-point operations if they are what the task is about; else 0 */
} CkBenchAmount;

typedef struct {
  CkBenchAmount amount;
  double        median; /* seconds of a call, slowest rank; 0: the task does not apply to this net */
} CkBenchResult;

/* Convolutions of one shape in the net. */
typedef struct {
  const CkLayer *layer;      /* one of them */
  PetscInt       count;      /* how many there are */
  double         operations; /* of all of them, forward, one sample */
} CkBenchShape;

#define CK_BENCH_SHAPES 16

typedef struct {
  MPI_Comm       comm;
  PetscMPIInt    ranks;
  CkProblem      problem;
  CkDiffusion    D;
  CkDynamics     dynamics;
  PetscInt       N, d, repeats, columns, order;
  PetscInt       nshapes; /* bench_convolution.c: those that matter, the largest first */
  CkBenchShape   shapes[CK_BENCH_SHAPES];
  double         covered; /* share of the net's convolutions that they make up */
  CkBenchResult *results; /* [tasks] in the order of ck_bench_tasks */
  /* of the task that is being measured */
  double              *a, *b, *c;
  Vec                 *V, *Y;
  CkBlockMatrix        matrix;
  CkMachineConvolution convolutions[CK_BENCH_SHAPES];
} CkBench;

typedef struct {
  const char *key;                                                  /* of its dataset in the file */
  const char *title;                                                /* of its row in the table */
  const char *peer;                                                 /* key of the like figure in -bench_peer, or NULL */
  PetscBool   convolution;                                          /* only for a net that has convolutions */
  PetscErrorCode (*prepare)(CkBench *bench, CkBenchAmount *amount); /* collective, as the others */
  PetscErrorCode (*work)(CkBench *bench);                           /* what is timed */
  PetscErrorCode (*finish)(CkBench *bench);
} CkBenchTask;

extern const CkBenchTask ck_bench_tasks[]; /* ended by an entry with key NULL */

/* bench.c. Median of n > 0 times. */
PetscErrorCode CkBenchMedian(PetscInt n, const double seconds[], double *median);
/* Operations per second and rank of a measured task; 0: it was not. */
double CkBenchRate(const CkBench *bench, const char key[]);
/* Task of that key. */
const CkBenchTask *CkBenchFindTask(const char key[]);

/* bench_convolution.c: shapes, and the tasks that run them by oneDNN alone. */
PetscErrorCode CkBenchFindShapes(CkBench *bench);
PetscErrorCode CkBenchPrepareForward(CkBench *bench, CkBenchAmount *amount);
PetscErrorCode CkBenchPrepareInput(CkBench *bench, CkBenchAmount *amount);
PetscErrorCode CkBenchPrepareWeights(CkBench *bench, CkBenchAmount *amount);
PetscErrorCode CkBenchPrepareSampleWeights(CkBench *bench, CkBenchAmount *amount);
PetscErrorCode CkBenchConvolve(CkBench *bench);
PetscErrorCode CkBenchConvolveSamples(CkBench *bench);
PetscErrorCode CkBenchFinishConvolutions(CkBench *bench);
double         CkBenchConvolutionOperations(const CkBench *bench); /* of a call forward, on all ranks */

/*
  bench_phases.c: where the time of a call of a task goes, on each rank. Times are those of the repeat with the median
  time; the last phase is what no event accounts for, so phases add up to the rank's own time of the call.
*/
enum {
  CK_BENCH_COLUMNS,
  CK_BENCH_SAMPLES,
  CK_BENCH_FORWARD,
  CK_BENCH_BACKWARD,
  CK_BENCH_GRADIENT,
  CK_BENCH_DOT,
  CK_BENCH_ACCUMULATE,
  CK_BENCH_FLUSH,
  CK_BENCH_WAIT,
  CK_BENCH_REDUCE,
  CK_BENCH_OTHER,
  CK_BENCH_PHASES
};

typedef struct {
  const CkBenchTask *task;
  CkBenchAmount      amount;
  double             passes;                      /* of a call */
  double             seconds;                     /* of a call, slowest rank */
  double            *phase;                       /* [ranks x CK_BENCH_PHASES] seconds of a call; on every rank */
  double             operations[CK_BENCH_PHASES]; /* of a call on all ranks together */
} CkBenchPass;

PetscErrorCode CkBenchPassMeasure(CkBench *bench, const char task[], CkBenchPass *pass);
PetscErrorCode CkBenchPassDestroy(CkBenchPass *pass);
PetscErrorCode CkBenchPassPrint(const CkBench *bench, const CkBenchPass *pass);
PetscErrorCode CkBenchPassWrite(const CkBench *bench, const CkBenchPass *pass, CkFile file);
/* Rank-seconds of what is divided among ranks with the samples, on all ranks and on the one with most of it. */
void CkBenchPassWork(const CkBench *bench, const CkBenchPass *pass, double *all, double *busiest);

/* bench_allreduce.c: a table of times on every number of ranks from 2 to all of them (powers of two and all), as exact
   sums reduce; on several nodes only those that span nodes. network: whether they do. Empty on one rank. Collective. */
PetscErrorCode CkBenchAllreduceMeasure(MPI_Comm comm, PetscInt repeats, CkBenchAllreduce *times, PetscBool *network);

/* bench_prediction.c: -bench_latency, -bench_bandwidth, -bench_predict_*. */
PetscErrorCode CkBenchPredictionRegisterOptions(void);
PetscErrorCode CkBenchPredictionCheck(void); /* user errors, before anything is measured */
/* Measures Allreduce, prints the table and, with a file, writes all of it. Collective. */
PetscErrorCode CkBenchPredictionRun(CkBench *bench, const CkBenchPass *pass, CkFile file);
