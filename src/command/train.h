#pragma once
#include "journal.h"
#include "problem.h"
#include <clarkia/checkpoint.h>
#include <clarkia/recorder.h>

/* train.h: a run of `clarkia train` (train.c), and what it prints about itself (train_report.c). */
enum { CK_TRAIN_SAVES = 32, CK_TRAIN_NUMBERS = 11 };

typedef struct {
  MPI_Comm      comm;
  CkReplicas    replicas;
  CkProblem     problem;
  CkData        test_data;
  CkLoss        test;
  CkDynamics    dynamics;
  CkJournal     journal;    /* NULL: none */
  CkCheckpoint  checkpoint; /* NULL: none; so recorder */
  CkRecorder    recorder;
  char          output[PETSC_MAX_PATH_LEN];
  PetscInt      nsaves, group;
  PetscReal     saves[CK_TRAIN_SAVES];
  CkEpochReport last;
  double        report[CK_TRAIN_NUMBERS]; /* the same, for the checkpoint */
  double        start;                    /* MPI_Wtime() when this run's first epoch began */
  PetscInt      first_epoch;              /* finished then */
  double        last_line;                /* MPI_Wtime() when an epoch was last reported on */
} CkTraining;

/* "run.h5" and 0.2 -> "run-020.h5" */
void CkTrainSaveName(const char output[], double fraction, char name[PETSC_MAX_PATH_LEN + 8]);
/* t->report, read from a checkpoint -> t->last */
void CkTrainUnpackReport(CkTraining *t);
/* Monitor of the dynamics; context: the CkTraining. */
PetscErrorCode CkTrainReportEpoch(CkDynamics dynamics, const CkEpochReport *report, void *context);
/* Bytes per rank: inputs and deltas of every layer for this rank's samples of a batch, in double; weights of
 * state and loss, two limbs of the exact sum, this rank's part of the vectors of the dynamics. An estimate from above.
 */
PetscErrorCode CkTrainMemory(const CkTraining *t, double *bytes);
/* Sizes, operations and memory, known before any data is read. */
PetscErrorCode CkTrainPrintPlan(const CkTraining *t);
PetscErrorCode CkTrainPrintSummary(const CkTraining *t);
