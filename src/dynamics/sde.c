/*
  sde.c: dx = -grad f dt + sqrt(2D/beta) dW in Ito's sense, 1/beta = eta/(2B), by Euler and Maruyama; theory, eqs. (N.1)
  and (N.4). The square root is the exact one of (N.2), never a matrix.
*/
#include "dynamicsimpl.h"
#include "momentum.h"
#include <clarkia/error.h>
#include <clarkia/options.h>
#include <math.h>
#include <stdio.h>

typedef struct {
  CkMomentum decay; /* l2 only */
  double     dt;    /* 0: the learning rate */
  PetscInt   refresh;
  PetscInt   from; /* update for which the noise was made last; -1: none is there */
  Vec        g, v;
  Vec        origin; /* where it was made; with refresh > 1, as noise */
  Vec       *noise;  /* [refresh] D^(1/2) z of these updates */
} SDE;

static PetscErrorCode SDESetFromOptions(CkDynamics dynamics)
{
  SDE *sde;

  PetscFunctionBeginUser;
  PetscCall(PetscNew(&sde));
  dynamics->data = sde;
  sde->from = -1;
  PetscCall(CkOptionsGetReal("dynamics_l2", &sde->decay.l2, NULL));
  PetscCall(CkOptionsGetReal("dynamics_dt", &sde->dt, NULL));
  PetscCall(CkOptionsGetInt("dynamics_refresh", &sde->refresh, NULL));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode SDESetUp(CkDynamics dynamics)
{
  SDE *sde = (SDE *)dynamics->data;

  PetscFunctionBeginUser;
  PetscCall(VecDuplicate(dynamics->x, &sde->g));
  PetscCall(VecDuplicate(dynamics->x, &sde->v));
  if (sde->refresh == 1) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(VecDuplicate(dynamics->x, &sde->origin));
  PetscCall(VecZeroEntries(sde->origin));
  PetscCall(VecDuplicateVecs(dynamics->x, sde->refresh, &sde->noise));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The noise of this update in sde->noise[], of D at the point where it was refreshed last. */
static PetscErrorCode RefreshNoise(CkDynamics dynamics, SDE *sde)
{
  const PetscInt from = dynamics->step / sde->refresh * sde->refresh;

  PetscFunctionBeginUser;
  if (sde->from == from) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(VecCopy(dynamics->x, sde->origin));
  PetscCall(CkDynamicsNoiseBlock(dynamics, from, sde->refresh, sde->noise));
  sde->from = from;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* y <- y + a x, entry by entry: VecAXPY() may round an entry as its place in the array makes it. */
static PetscErrorCode Add(double a, Vec x, Vec y)
{
  const PetscScalar *from;
  PetscScalar       *to;
  PetscInt           n;

  PetscFunctionBeginUser;
  PetscCall(VecGetLocalSize(x, &n));
  PetscCall(VecGetArrayRead(x, &from));
  PetscCall(VecGetArray(y, &to));
  for (PetscInt i = 0; i < n; ++i) to[i] += a * from[i];
  PetscCall(VecRestoreArray(y, &to));
  PetscCall(VecRestoreArrayRead(x, &from));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* g = grad f + scale D^(1/2) z */
static PetscErrorCode NoisyGradient(CkDynamics dynamics, SDE *sde, double scale, CkUpdate *update)
{
  const CkBatch all = CkBatchAll(dynamics->N);

  PetscFunctionBeginUser;
  if (sde->refresh == 1) {
    PetscCall(CkDynamicsNoisyGradient(dynamics, scale, sde->g, update));
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  PetscCall(RefreshNoise(dynamics, sde));
  PetscCall(CkLossGradient(dynamics->loss, &all, NULL, sde->g, &update->mean, &update->correct));
  PetscCall(Add(scale, sde->noise[dynamics->step - sde->from], sde->g));
  update->n = dynamics->N;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode SDEStep(CkDynamics dynamics, const CkBatch *batch, CkUpdate *update)
{
  SDE         *sde = (SDE *)dynamics->data;
  const double dt = sde->dt > 0 ? sde->dt : dynamics->rate;

  PetscFunctionBeginUser;
  if (dt == 0) PetscFunctionReturn(PETSC_SUCCESS);
  (void)batch; /* the ragged last one is no reason for more noise */
  PetscCall(NoisyGradient(dynamics, sde, sqrt(dynamics->rate / ((double)dynamics->batch * dt)), update));
  PetscCall(CkMomentumMove(&sde->decay, dt, sde->g, sde->v, dynamics->x));
  update->time = dt;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Noise that is in use is made again where it was made. */
static PetscErrorCode SDEKeep(CkDynamics dynamics, CkKeeper keeper)
{
  SDE *sde = (SDE *)dynamics->data;

  PetscFunctionBeginUser;
  if (sde->refresh == 1) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(CkKeepVec(keeper, "noise_origin", sde->origin));
  PetscCall(CkKeepInt(keeper, "noise_from", &sde->from));
  if (!CkKeeperReads(keeper) || sde->from < 0) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(CkLossSetPoint(dynamics->loss, sde->origin));
  PetscCall(CkDynamicsNoiseBlock(dynamics, sde->from, sde->refresh, sde->noise));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode SDEView(CkDynamics dynamics, char text[], size_t length)
{
  const SDE *sde = (const SDE *)dynamics->data;
  char       dt[32] = "the learning rate", every[48] = "every update";

  PetscFunctionBeginUser;
  if (sde->dt > 0) snprintf(dt, sizeof(dt), "%g", sde->dt);
  if (sde->refresh > 1) snprintf(every, sizeof(every), "every %" PetscInt_FMT " updates", sde->refresh);
  snprintf(text, length, "time step %s, D %s, l2 %g", dt, every, (double)sde->decay.l2);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode SDEDestroy(CkDynamics dynamics)
{
  SDE *sde = (SDE *)dynamics->data;

  PetscFunctionBeginUser;
  if (!sde) PetscFunctionReturn(PETSC_SUCCESS);
  if (sde->noise) PetscCall(VecDestroyVecs(sde->refresh, &sde->noise));
  PetscCall(VecDestroy(&sde->origin));
  PetscCall(VecDestroy(&sde->g));
  PetscCall(VecDestroy(&sde->v));
  PetscCall(PetscFree(dynamics->data));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscInt SDEVectors(CkDynamics dynamics)
{
  const SDE *sde = (const SDE *)dynamics->data;

  return sde->refresh == 1 ? 2 : 3 + sde->refresh;
}

const CkDynamicsType CkDynamicsSDE = {.name = "sde",
                                      .keys = "batch l2 dt refresh",
                                      .sampling = CK_SAMPLING_COUNT,
                                      .evaluation = PETSC_TRUE,
                                      .setfromoptions = SDESetFromOptions,
                                      .setup = SDESetUp,
                                      .step = SDEStep,
                                      .view = SDEView,
                                      .destroy = SDEDestroy,
                                      .keep = SDEKeep,
                                      .countvectors = SDEVectors};
