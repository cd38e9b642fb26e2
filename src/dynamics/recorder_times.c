/* recorder_times.c: after which updates a snapshot is taken. */
#include "recorder.h"
#include <clarkia/error.h>
#include <math.h>

/* burn-in, then burn-in + round(10^(k/every)), k = 0, 1, .., each number once. */
static PetscErrorCode MakeDecades(CkRecorder r, PetscInt total)
{
  const double decades = log10(fmax(1, (double)(total - r->burn_in)));
  PetscInt     n = 1, room = 2 + (PetscInt)ceil(decades * (double)r->every);

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc1(room + 1, &r->steps));
  r->steps[0] = r->burn_in;
  for (PetscInt k = 0; k < room; ++k) {
    const double step = (double)r->burn_in + round(pow(10, (double)k / (double)r->every));

    if (step > (double)total) break;
    if ((PetscInt)step > r->steps[n - 1]) r->steps[n++] = (PetscInt)step;
  }
  r->info.snapshots = n;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkRecorderMakeTimes(CkRecorder r)
{
  const CkDynamics p = r->dynamics;
  const PetscInt   total = p->updates * p->epochs, unit = r->unit == CK_RECORD_EPOCHS ? p->updates : 1;

  PetscFunctionBeginUser;
  CkCheckAll(r->comm, (double)r->burn_in * (double)unit <= (double)total, PETSC_ERR_ARG_OUTOFRANGE,
             "-record_burn_in %" PetscInt_FMT ": the run has %" PetscInt_FMT
             " %s%s, and nothing would be recorded; take no more than that, or raise -dynamics_epochs",
             r->burn_in, total / unit, r->unit == CK_RECORD_EPOCHS ? "epoch" : "update", CkPlural(total / unit));
  if (r->unit == CK_RECORD_DECADE) {
    PetscCall(MakeDecades(r, total));
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  r->first = r->burn_in * unit;
  r->gap = (double)r->every * (double)unit < (double)PETSC_MAX_INT ? r->every * unit : PETSC_MAX_INT;
  r->info.snapshots = 1 + (total - r->first) / r->gap;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscInt CkRecorderStep(CkRecorder r, PetscInt64 snapshot)
{
  return r->steps ? r->steps[snapshot] : (PetscInt)(r->first + snapshot * r->gap);
}

PetscInt64 CkRecorderCountUntil(CkRecorder r, PetscInt step)
{
  PetscInt64 least = 0, most = r->info.snapshots; /* the count lies between */

  while (least < most) {
    const PetscInt64 middle = (least + most) / 2;

    if (CkRecorderStep(r, middle) <= step) least = middle + 1;
    else most = middle;
  }
  return least;
}
