#pragma once
#include <clarkia/base.h>

/*
  schedule.h: the course of the learning rate, docs/theory.md, eqs. (M.5) to (M.7). Time is counted in updates, so rates
  change within an epoch; only `step` changes at the ends of epochs. Nothing here communicates but user errors.
*/
#define CK_MAX_MILESTONES 64

typedef enum { CK_SCHEDULE_CONSTANT, CK_SCHEDULE_STEP, CK_SCHEDULE_COSINE } CkScheduleKind;

typedef struct {
  CkScheduleKind kind;
  double         first;  /* rate at the start, after the warm-up */
  double         warmup; /* epochs, not necessarily whole */
  double         factor, final;
  PetscInt       epochs;
  PetscInt       nmilestones, milestones[CK_MAX_MILESTONES]; /* epochs at whose start the rate is multiplied */
} CkSchedule;

PetscErrorCode CkScheduleRegisterOptions(void);
/* -dynamics_rate, _schedule, _steps, _factor, _final, _warmup of a run of so many epochs. User errors on comm: keys or
   milestones without effect, milestones that do not increase, a warm-up longer than the run. */
PetscErrorCode CkScheduleSetFromOptions(MPI_Comm comm, PetscInt epochs, CkSchedule *schedule);
/* Rate of update number step = 0, 1, .. with so many updates in an epoch. */
double CkScheduleRate(const CkSchedule *schedule, PetscInt step, PetscInt updates);
/* "0.1, times 0.5 after 10,20 epochs" */
void CkScheduleFormat(const CkSchedule *schedule, char text[], size_t length);
