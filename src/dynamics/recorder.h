#pragma once
#include "dynamicsimpl.h"
#include <clarkia/recorder.h>
#include <clarkia/trajectory.h>

/* recorder.h: what the files recorder*.c share. */

typedef enum { CK_RECORD_ALL, CK_RECORD_STRIDE, CK_RECORD_LIST, CK_RECORD_RANDOM, CK_RECORD_EIGENVECTORS } CkRecordWhat;
typedef enum { CK_RECORD_UPDATES, CK_RECORD_EPOCHS, CK_RECORD_DECADE } CkRecordUnit;

#define CK_RECORD_LIST_ROOM 65536

struct _p_CkRecorder {
  MPI_Comm     comm;
  CkDynamics   dynamics;
  CkTrajectory trajectory; /* NULL before the beginning and after the end */

  /* Options. */
  char         file[PETSC_MAX_PATH_LEN], spectrum[PETSC_MAX_PATH_LEN], measured[64];
  CkRecordWhat what;
  CkRecordUnit unit;
  PetscInt     every, burn_in, stride, count, nlist, *list;
  PetscReal    flush, buffer; /* seconds; MB */
  PetscBool    loss, gradient, noise, test;

  CkTrajectoryInfo info;
  CkTrajectoryPart mine;
  PetscInt        *steps;            /* [snapshots] when; NULL: first, first + stride, .. */
  PetscInt         first, gap;       /* updates */
  PetscInt64      *columns;          /* [mine.columns] weights; NULL: projections */
  double          *directions;       /* [mine.columns x d]; NULL: weights */
  double          *values, *scalars; /* of one snapshot: as CkTrajectoryAppend() wants them */
  Vec              g;                /* gradient */
};

/* recorder_columns.c: info.columns and info.content; then this rank's columns or directions. Collective. */
PetscErrorCode CkRecorderCountColumns(CkRecorder recorder);
PetscErrorCode CkRecorderMakeColumns(CkRecorder recorder);
/* recorder_times.c: info.snapshots and when they are. User error: none. Not collective but for that. */
PetscErrorCode CkRecorderMakeTimes(CkRecorder recorder);
PetscInt       CkRecorderStep(CkRecorder recorder, PetscInt64 snapshot); /* updates done at it */
PetscInt64     CkRecorderCountUntil(CkRecorder recorder, PetscInt step); /* snapshots at no more than so many updates */
/* recorder_measure.c: the scalars of the point at which loss and state stand. Collective on the loss. */
PetscErrorCode CkRecorderMeasure(CkRecorder recorder, double scalars[CK_SCALARS]);
