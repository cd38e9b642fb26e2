#pragma once
#include <clarkia/file.h>
#include <petscvec.h>

/*
  keeper.h: what a run must keep to go on, listed once for writing and for reading. The owner of numbers hands each of
  them to the keeper, which puts it into a file or fills it from one. Calls are collective on the communicator of all
  replicas, in the same order on all ranks; those of one group hold the same replica. In the file:
    /kept/<name>  float64 [R d] of a vector, [R n] of an array, [R] of a number; replica after replica.
*/
typedef struct _p_CkKeeper *CkKeeper;

/* The file is borrowed; of R replicas this group holds, at first, number 0. group: the communicator of its ranks. */
PetscErrorCode CkKeeperCreate(CkFile file, PetscBool reads, MPI_Comm group, PetscInt replicas, CkKeeper *keeper);
PetscErrorCode CkKeeperDestroy(CkKeeper *keeper);
/* What follows is of this replica. Not collective. */
PetscErrorCode CkKeeperSetReplica(CkKeeper keeper, PetscInt replica);
PetscBool      CkKeeperReads(CkKeeper keeper); /* the numbers are being filled */

/* A vector of the group's communicator; an array that all ranks of the group hold alike; single numbers. Reading one
   that is missing or of another size is a user error. */
PetscErrorCode CkKeepVec(CkKeeper keeper, const char name[], Vec v);
PetscErrorCode CkKeepArray(CkKeeper keeper, const char name[], PetscInt n, double values[]);
PetscErrorCode CkKeepReal(CkKeeper keeper, const char name[], double *value);
PetscErrorCode CkKeepInt(CkKeeper keeper, const char name[], PetscInt *value); /* below 2^53 */
