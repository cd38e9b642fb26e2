/* schedule.c: constant, by steps, along a cosine; each after a warm-up. */
#include "schedule.h"
#include <clarkia/error.h>
#include <clarkia/options.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

static const char *const names[] = {"constant", "step", "cosine"};

static const CkOption table[] = {
  {"dynamics_rate", CK_OPTION_REAL, "0.1", 0, 1e300, NULL, "learning rate"},
  {"dynamics_schedule", CK_OPTION_STRING, "constant", 0, 0, "constant|step|cosine", "course of the learning rate"},
  {"dynamics_steps", CK_OPTION_INTS, NULL, 1, 2147483647, NULL,
   "schedule step: numbers of finished epochs after which the rate is multiplied by the factor"},
  {"dynamics_factor", CK_OPTION_REAL, "0.1", 0, 1e300, NULL, "schedule step: factor of the learning rate"},
  {"dynamics_final", CK_OPTION_REAL, "0", 0, 1e300, NULL, "schedule cosine: learning rate at the end of the run"},
  {"dynamics_warmup", CK_OPTION_REAL, "0", 0, 2147483647, NULL,
   "epochs (0.5, say) in which the rate grows from near zero to its first value, update by update"},
  {0}};

PetscErrorCode CkScheduleRegisterOptions(void)
{
  PetscFunctionBeginUser;
  PetscCall(CkOptionsRegister("Learning rate", table));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* A key of one schedule is given beside another one. */
static PetscErrorCode RefuseKey(MPI_Comm comm, const CkSchedule *schedule, const char key[], CkScheduleKind owner)
{
  char      option[64];
  PetscBool given;

  PetscFunctionBeginUser;
  PetscCall(PetscSNPrintf(option, sizeof(option), "-dynamics_%s", key));
  PetscCall(PetscOptionsHasName(NULL, NULL, option, &given));
  CkCheckAll(comm, !given || schedule->kind == owner, PETSC_ERR_ARG_INCOMP,
             "%s has no effect with -dynamics_schedule %s: leave it out, or give -dynamics_schedule %s", option,
             names[schedule->kind], names[owner]);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode ReadMilestones(MPI_Comm comm, CkSchedule *schedule)
{
  PetscFunctionBeginUser;
  schedule->nmilestones = CK_MAX_MILESTONES;
  PetscCall(CkOptionsGetInts("dynamics_steps", schedule->milestones, &schedule->nmilestones, NULL));
  CkCheckAll(comm, schedule->nmilestones > 0, PETSC_ERR_ARG_INCOMP,
             "-dynamics_schedule step needs -dynamics_steps, the epochs at which the rate changes: 30,60,90 say");
  for (PetscInt i = 0; i < schedule->nmilestones; ++i) {
    CkCheckAll(comm, schedule->milestones[i] < schedule->epochs, PETSC_ERR_ARG_OUTOFRANGE,
               "-dynamics_steps %" PetscInt_FMT " has no effect in a run of -dynamics_epochs %" PetscInt_FMT
               ": the rate changes after as many epochs; take fewer, or more epochs",
               schedule->milestones[i], schedule->epochs);
    CkCheckAll(comm, i == 0 || schedule->milestones[i] > schedule->milestones[i - 1], PETSC_ERR_ARG_OUTOFRANGE,
               "-dynamics_steps must increase, but %" PetscInt_FMT " follows %" PetscInt_FMT, schedule->milestones[i],
               schedule->milestones[PetscMax(i - 1, 0)]);
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkScheduleSetFromOptions(MPI_Comm comm, PetscInt epochs, CkSchedule *schedule)
{
  char name[32];

  PetscFunctionBeginUser;
  *schedule = (CkSchedule){.kind = CK_SCHEDULE_CONSTANT, .epochs = epochs};
  PetscCall(CkOptionsGetString("dynamics_schedule", name, sizeof(name), NULL));
  while (strcmp(names[schedule->kind], name) != 0) ++schedule->kind; /* one of the choices */
  PetscCall(CkOptionsGetReal("dynamics_rate", &schedule->first, NULL));
  PetscCall(CkOptionsGetReal("dynamics_factor", &schedule->factor, NULL));
  PetscCall(CkOptionsGetReal("dynamics_final", &schedule->final, NULL));
  PetscCall(CkOptionsGetReal("dynamics_warmup", &schedule->warmup, NULL));
  PetscCall(RefuseKey(comm, schedule, "steps", CK_SCHEDULE_STEP));
  PetscCall(RefuseKey(comm, schedule, "factor", CK_SCHEDULE_STEP));
  PetscCall(RefuseKey(comm, schedule, "final", CK_SCHEDULE_COSINE));
  if (schedule->kind == CK_SCHEDULE_STEP) PetscCall(ReadMilestones(comm, schedule));
  CkCheckAll(comm, schedule->final <= schedule->first, PETSC_ERR_ARG_OUTOFRANGE,
             "-dynamics_final %g is above -dynamics_rate %g, from which the cosine falls", schedule->final,
             schedule->first);
  CkCheckAll(comm, schedule->warmup == 0 || schedule->warmup < (double)epochs, PETSC_ERR_ARG_OUTOFRANGE,
             "-dynamics_warmup %g epoch%s is not shorter than the run of -dynamics_epochs %" PetscInt_FMT
             ": shorten it, or raise -dynamics_epochs",
             schedule->warmup, schedule->warmup == 1 ? "" : "s", epochs);
  PetscFunctionReturn(PETSC_SUCCESS);
}

double CkScheduleRate(const CkSchedule *schedule, PetscInt step, PetscInt updates)
{
  const double warm = schedule->warmup * (double)updates, all = (double)schedule->epochs * (double)updates;
  const double k = (double)step;
  double       rate = schedule->first;

  if (k + 1 < warm) return rate * (k + 1) / warm;
  if (schedule->kind == CK_SCHEDULE_COSINE) {
    const double t = PetscMin(PetscMax(k - warm, 0) / (all - warm), 1);

    return schedule->final + (rate - schedule->final) * (1 + cos(PETSC_PI * t)) / 2;
  }
  for (PetscInt i = 0; i < schedule->nmilestones; ++i)
    if (step / updates >= schedule->milestones[i]) rate *= schedule->factor;
  return rate;
}

void CkScheduleFormat(const CkSchedule *schedule, char text[], size_t length)
{
  size_t used = (size_t)snprintf(text, length, "%g", schedule->first);

  if (schedule->kind == CK_SCHEDULE_COSINE && used < length)
    used += (size_t)snprintf(text + used, length - used, ", falling to %g along a cosine", schedule->final);
  for (PetscInt i = 0; i < schedule->nmilestones && used < length; ++i) {
    if (i == 0)
      used += (size_t)snprintf(text + used, length - used, ", times %g after epoch%s ", schedule->factor,
                               CkPlural(schedule->nmilestones));
    if (used < length)
      used += (size_t)snprintf(text + used, length - used, "%s%" PetscInt_FMT, i ? "," : "", schedule->milestones[i]);
  }
  if (schedule->warmup > 0 && used < length)
    snprintf(text + used, length - used, ", warm-up of %g epoch%s", schedule->warmup, schedule->warmup == 1 ? "" : "s");
}
