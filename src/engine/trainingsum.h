#pragma once
#include <clarkia/engine.h>

/*
  trainingsum.h: what training mode needs of the batch as a whole, the same for every engine and the same bits on any
  number of ranks: normalisation groups and exact sums over them (batch norm), dropout factors.

  A *run* is a longest stretch of samples of one sum block of this rank that share a normalisation group (position /
  group). An engine sums over a run in its own precision; across runs and ranks the sums are exact.
*/
typedef struct {
  PetscInt group; /* normalisation group */
  PetscInt first; /* the run's first sample among those of this rank */
  PetscInt size;
} CkTrainingRun;

typedef struct {
  MPI_Comm       comm;
  PetscInt       nsamples; /* of this rank */
  PetscInt       nruns;
  CkTrainingRun *runs;
  PetscInt       ngroups;      /* of the whole batch */
  PetscInt      *group_size;   /* [ngroups] samples */
  PetscInt      *sample_group; /* [nsamples] */
  PetscInt      *position;     /* [nsamples] position in the batch */
  double         total_runs;   /* of all ranks */
} CkTrainingGroups;

/* Collective on blocks->comm. */
PetscErrorCode CkTrainingGroupsCreate(const CkTrainingBlocks *blocks, CkTrainingGroups *groups);
PetscErrorCode CkTrainingGroupsDestroy(CkTrainingGroups *groups);

/*
  CkTrainingGroupsSum - out[g*n + i] = sum over all runs r of group g, on all ranks, of partial[r*n + i].
  Collective. partial [nruns x n], out [ngroups x n]. A non-finite term anywhere makes all of out NaN on every rank.
*/
PetscErrorCode CkTrainingGroupsSum(const CkTrainingGroups *groups, PetscInt n, const double partial[], double out[]);

/* factors[i] = 0 or 1/(1 - rate) for output i of dropout layer `layer` at this batch position: a function of (seed,
   replica, step, position). */
PetscErrorCode CkTrainingDropout(CkNet net, PetscInt layer, const CkTrainingBlocks *blocks, PetscInt position,
                                 double factors[]);
/* True on all ranks where all values of all ranks are finite. Collective. */
PetscErrorCode CkTrainingFinite(MPI_Comm comm, PetscInt n, const double values[], PetscBool *finite);
