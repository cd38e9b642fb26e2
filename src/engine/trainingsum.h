#pragma once
#include <clarkia/engine.h>

/*
  trainingsum.h: what training mode needs of the batch as a whole, the same for every engine and the same bits on any
  number of ranks: normalisation groups and sums over them (batch norm), dropout factors.

  A *run* is a longest stretch of samples of one sum block of this rank that share a normalisation group (position /
  group). An engine sums over a run in its own precision; runs are added in float64 in the order of their positions,
  whichever rank they are on.
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
  PetscInt       total_runs;   /* of all ranks */
  PetscMPIInt   *rank_runs;    /* [ranks] runs of each */
  PetscMPIInt   *before;       /* [ranks] runs of the ranks before it */
  PetscInt      *order;        /* [total_runs] all runs, rank after rank, in the order of their positions */
  PetscInt      *order_group;  /* [total_runs] groups of the runs in that order */
} CkTrainingGroups;

/* Collective on blocks->comm. */
PetscErrorCode CkTrainingGroupsCreate(const CkTrainingBlocks *blocks, CkTrainingGroups *groups);
PetscErrorCode CkTrainingGroupsDestroy(CkTrainingGroups *groups);

/*
  CkTrainingGroupsSum - out[g*n + i] = sum over all runs r of group g, on all ranks, of partial[r*n + i].
  Collective, one gather. partial [nruns x n], out [ngroups x n], the same bits on every rank and for any number of
  ranks; a term that is not finite spoils its sum on all of them.
*/
PetscErrorCode CkTrainingGroupsSum(const CkTrainingGroups *groups, PetscInt n, const double partial[], double out[]);

/* factors[i] = 0 or 1/(1 - rate) for output i of dropout layer `layer` at this batch position: a function of (seed,
   replica, step, position). */
PetscErrorCode CkTrainingDropout(CkNet net, PetscInt layer, const CkTrainingBlocks *blocks, PetscInt position,
                                 double factors[]);
/* True on all ranks where all values of all ranks are finite. Collective. */
PetscErrorCode CkTrainingFinite(MPI_Comm comm, PetscInt n, const double values[], PetscBool *finite);
