#pragma once
#include <clarkia/base.h>

/*
  CkGroupSum: a sum of vectors, one a group, added in the order of the groups: the same bits on any number of ranks and
  however the groups are dealt out, as long as each round of Add() takes the next ones, rank 0 first. The sum is cut
  over the ranks; nothing but the terms of a round is in memory.
*/
typedef struct _p_CkGroupSum *CkGroupSum;

PetscErrorCode CkGroupSumCreate(MPI_Comm comm, PetscInt64 length, CkGroupSum *sum); /* all zero */
/* terms [count x length] of this rank's next `count` groups, maybe none. Collective. */
PetscErrorCode CkGroupSumAdd(CkGroupSum sum, PetscInt count, const double terms[]);
/* The sum so far, [length] on every rank. Collective. */
PetscErrorCode CkGroupSumGet(CkGroupSum sum, double values[]);
PetscErrorCode CkGroupSumDestroy(CkGroupSum *sum);
/* Bytes on a rank beyond the terms while `count` groups of each rank are added. */
double CkGroupSumMemory(MPI_Comm comm, PetscInt64 length, PetscInt count);
