#pragma once
#include <clarkia/dynamics.h>

/*
  CkCheckpoint: a run of dynamics that can be stopped and gone on with, bit for bit, on any number of ranks
  (docs/formats.md, "Training checkpoint"). The file holds the weights and all else that the next update depends on;
  what the numbers are of (net, data, schedule, ..) stands in it as keys, which must be the same for a run to go on.

  A checkpoint is written to a name of its own, read back, ended by a checksum, and renamed; then the former one is
  FILE.1, the one before FILE.2, .. as many as -train_checkpoint_keep says.

  All calls are collective on the dynamics's communicator.
*/
typedef struct _p_CkCheckpoint *CkCheckpoint;

/* -train_checkpoint, _interval, _keep, _force, -max_seconds, -stop_file */
PetscErrorCode CkCheckpointRegisterOptions(void);
/* Reads the options; NULL without -train_checkpoint. User error: keys that have no effect without it. The dynamics are
   borrowed, and need not be set up yet. */
PetscErrorCode CkCheckpointCreate(CkDynamics dynamics, CkCheckpoint *checkpoint);
PetscErrorCode CkCheckpointDestroy(CkCheckpoint *checkpoint);

/* A key beside those of the dynamics: name and value as text. always: not even -train_checkpoint_force passes over a
   difference. Keys, and numbers that the caller keeps, come before CkCheckpointBegin(). Not collective. */
PetscErrorCode CkCheckpointAddKey(CkCheckpoint checkpoint, PetscBool always, const char name[], const char format[],
                                  ...) PETSC_ATTRIBUTE_FORMAT(4, 5);
/* values [n], the same on all ranks: written with the checkpoint, filled by CkCheckpointBegin(); borrowed. */
PetscErrorCode CkCheckpointAddNumbers(CkCheckpoint checkpoint, const char name[], PetscInt n, double values[]);
/* Called before a checkpoint is written: what must be on the disk by then. */
PetscErrorCode CkCheckpointSetFlush(CkCheckpoint checkpoint, PetscErrorCode (*flush)(void *), void *context);

/* Goes on from the file, or from FILE.1 where only that is left, if it is there (resumed); from now on signals are
   heeded and the dynamics pause for checkpoints. User errors: the file is damaged; or of another run, naming the key
   and both values. */
PetscErrorCode CkCheckpointBegin(CkCheckpoint checkpoint, PetscBool *resumed);
PetscErrorCode CkCheckpointWrite(CkCheckpoint checkpoint);
/* The last one that was written or gone on from, and its number of updates (-1: there is none); borrowed. */
PetscErrorCode CkCheckpointGetLast(CkCheckpoint checkpoint, const char **file, PetscInt *step);
/* The file of -train_checkpoint, borrowed. */
PetscErrorCode CkCheckpointGetFile(CkCheckpoint checkpoint, const char **file);
