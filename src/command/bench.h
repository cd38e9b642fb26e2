#pragma once
#include "problem.h"
#include <clarkia/diffusion.h>
#include <clarkia/dynamics.h>
#include <clarkia/file.h>

/*
  bench.h: what `clarkia bench` measures. A task is one entry in bench_tasks.c; bench.c times it and reports.
*/
typedef struct {
  MPI_Comm    comm;
  CkProblem   problem;
  CkDiffusion D;
  CkDynamics  dynamics;
  PetscInt    N, d, repeats, columns, order;
  /* of the task that is being measured */
  double       *a, *b, *c;
  Vec          *V, *Y;
  CkBlockMatrix matrix;
} CkBench;

/* Work of one call of a task on all ranks together. */
typedef struct {
  double samples;    /* samples gone through; 0: none */
  double products;   /* per sample: 1, or the columns of a block */
  double operations; /* floating-point operations if they are what the task is about; else 0 */
} CkBenchAmount;

typedef struct {
  const char *key;                                                  /* of its dataset in the file */
  const char *title;                                                /* of its row in the table */
  const char *peer;                                                 /* key of the like figure in -bench_peer, or NULL */
  PetscErrorCode (*prepare)(CkBench *bench, CkBenchAmount *amount); /* collective, as the others */
  PetscErrorCode (*work)(CkBench *bench);                           /* what is timed */
  PetscErrorCode (*finish)(CkBench *bench);
} CkBenchTask;

extern const CkBenchTask ck_bench_tasks[]; /* ended by an entry with key NULL */
