#pragma once
#include <clarkia/checkpoint.h>
#include <clarkia/dynamics.h>

/*
  CkRecorder: snapshots of a run of dynamics into a trajectory file (trajectory.h, docs/formats.md): which numbers,
  when, and what is measured beside them, by the -record keys. All calls are collective on the dynamics's communicator.
*/
typedef struct _p_CkRecorder *CkRecorder;

PetscErrorCode CkRecorderRegisterOptions(void);
/* Reads the -record keys; NULL without -record. dynamics: borrowed; its options have been read. User errors: keys that
   contradict each other or have no effect. */
PetscErrorCode CkRecorderCreate(CkDynamics dynamics, CkRecorder *recorder);
PetscErrorCode CkRecorderDestroy(CkRecorder *recorder);
/* Chooses columns and times; the dynamics are set up. User errors: a weight that there is not, no snapshot in the run,
   a spectrum of another net, a measure that there is nothing for. */
PetscErrorCode CkRecorderSetUp(CkRecorder recorder);
PetscErrorCode CkRecorderDescribe(CkRecorder recorder, CkTable rows); /* row "trajectory"; after set-up */
/* Bytes a rank of buffer and directions; after set-up. */
PetscErrorCode CkRecorderMemory(CkRecorder recorder, double *bytes);
/* The trajectory is flushed before each checkpoint, and what is recorded is among the keys of the run. */
PetscErrorCode CkRecorderSetCheckpoint(CkRecorder recorder, CkCheckpoint checkpoint);
/* Makes the file, or with resumed cuts it back to where the dynamics stand; from now on they are watched. */
PetscErrorCode CkRecorderBegin(CkRecorder recorder, PetscBool resumed);
PetscErrorCode CkRecorderFinish(CkRecorder recorder); /* after the run: the file gets its name */
