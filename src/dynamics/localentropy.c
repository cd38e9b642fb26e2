/* localentropy.c: inner updates around x, and the steps of x. */
#include "localentropy.h"
#include <clarkia/error.h>
#include <clarkia/options.h>
#include <clarkia/random.h>
#include <math.h>
#include <stdio.h>

#define MOST_SCOPE 1.

PetscErrorCode CkLocalEntropySetFromOptions(CkDynamics dynamics)
{
  CkLocalEntropy *p;

  PetscFunctionBeginUser;
  PetscCall(PetscNew(&p));
  dynamics->data = p;
  PetscCall(CkMomentumSetFromOptions(dynamics->comm, &p->momentum));
  PetscCall(CkOptionsGetInt("dynamics_inner", &p->inner, NULL));
  PetscCall(CkOptionsGetReal("dynamics_average", &p->average, NULL));
  PetscCall(CkOptionsGetReal("dynamics_scope", &p->scope, NULL));
  PetscCall(CkOptionsGetReal("dynamics_scoping", &p->scoping, NULL));
  PetscCall(CkOptionsGetReal("dynamics_inner_noise", &p->noise, NULL));
  PetscCall(CkOptionsGetReal("dynamics_outer_rate", &p->outer_rate, NULL));
  PetscCall(CkOptionsGetReal("dynamics_outer_momentum", &p->outer_momentum, NULL));
  PetscFunctionReturn(PETSC_SUCCESS);
}

double CkLocalEntropyGrow(CkDynamics dynamics, double first, PetscInt round, double most)
{
  const CkLocalEntropy *p = (const CkLocalEntropy *)dynamics->data;

  if (p->scoping == 0) return first;
  return PetscMin(first * pow(1 + p->scoping / (double)dynamics->updates, (double)round), PetscMax(most, first));
}

PetscErrorCode CkLocalEntropySetUp(CkDynamics dynamics)
{
  CkLocalEntropy *p = (CkLocalEntropy *)dynamics->data;
  const PetscInt  total = dynamics->updates * dynamics->epochs;
  Vec *const      all[] = {&p->w, &p->z, &p->g, &p->v, &p->outer};

  PetscFunctionBeginUser;
  CkCheckAll(dynamics->comm, total == 0 || p->inner <= total, PETSC_ERR_ARG_OUTOFRANGE,
             "-dynamics_inner %" PetscInt_FMT " updates are more than the %" PetscInt_FMT
             " of the run: the weights would never move; take fewer, or raise -dynamics_epochs",
             p->inner, total);
  for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); ++i) {
    PetscCall(VecDuplicate(dynamics->x, all[i]));
    PetscCall(VecZeroEntries(*all[i]));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* g <- g + scope (w - x), the pull of x on w. */
static PetscErrorCode AddPull(double scope, Vec w, Vec x, Vec g)
{
  const PetscScalar *inner, *outer;
  PetscScalar       *gradient;
  PetscInt           n;

  PetscFunctionBeginUser;
  PetscCall(VecGetLocalSize(x, &n));
  PetscCall(VecGetArrayRead(w, &inner));
  PetscCall(VecGetArrayRead(x, &outer));
  PetscCall(VecGetArray(g, &gradient));
  for (PetscInt i = 0; i < n; ++i) gradient[i] += scope * (inner[i] - outer[i]);
  PetscCall(VecRestoreArray(g, &gradient));
  PetscCall(VecRestoreArrayRead(x, &outer));
  PetscCall(VecRestoreArrayRead(w, &inner));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* w <- w + amplitude N(0, 1), a function of replica, update and weight. */
static PetscErrorCode AddNoise(CkDynamics dynamics, double amplitude, Vec w)
{
  const CkRandom stream = {.seed = dynamics->seed,
                           .purpose = CK_RANDOM_NOISE,
                           .replica = (uint32_t)dynamics->replica,
                           .step = (uint64_t)dynamics->step};
  PetscScalar   *inner;
  double        *z;
  PetscInt       first, last;

  PetscFunctionBeginUser;
  if (amplitude == 0) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(VecGetOwnershipRange(w, &first, &last));
  PetscCall(PetscMalloc1(last - first, &z));
  CkRandomNormals(&stream, (uint64_t)first, (size_t)(last - first), z);
  PetscCall(VecGetArray(w, &inner));
  for (PetscInt i = 0; i < last - first; ++i) inner[i] += amplitude * z[i];
  PetscCall(VecRestoreArray(w, &inner));
  PetscCall(PetscFree(z));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* z <- a z + (1 - a) w */
static PetscErrorCode Average(double a, Vec w, Vec z)
{
  const PetscScalar *inner;
  PetscScalar       *average;
  PetscInt           n;

  PetscFunctionBeginUser;
  PetscCall(VecGetLocalSize(w, &n));
  PetscCall(VecGetArrayRead(w, &inner));
  PetscCall(VecGetArray(z, &average));
  for (PetscInt i = 0; i < n; ++i) average[i] = a * average[i] + (1 - a) * inner[i];
  PetscCall(VecRestoreArray(z, &average));
  PetscCall(VecRestoreArrayRead(w, &inner));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The step of x, written so that a rate of 1 without momentum and elasticity takes it to z to the last bit. */
static void MoveOuter(const CkLocalEntropy *p, double rho, PetscInt n, const double z[], const double mean[],
                      double outer[], double x[])
{
  const double rate = p->outer_rate, m = p->outer_momentum;

  for (PetscInt i = 0; i < n; ++i) {
    const double away = x[i] - z[i], pull = mean ? rho * (x[i] - mean[i]) : 0;

    outer[i] = m * outer[i] + (away + pull);
    x[i] = z[i] + (1 - rate) * away - rate * (pull + m * outer[i]);
  }
}

static PetscErrorCode OuterStep(CkDynamics dynamics, CkLocalEntropy *p)
{
  const PetscInt     round = dynamics->step / p->inner;
  const double       rho = CkLocalEntropyGrow(dynamics, p->elasticity, round, CK_MOST_ELASTICITY);
  const PetscScalar *z, *mean = NULL;
  PetscScalar       *outer, *x;
  PetscInt           n;

  PetscFunctionBeginUser;
  PetscCall(VecGetLocalSize(dynamics->x, &n));
  PetscCall(VecGetArrayRead(p->z, &z));
  if (dynamics->consensus) PetscCall(VecGetArrayRead(dynamics->consensus, &mean));
  PetscCall(VecGetArray(p->outer, &outer));
  PetscCall(VecGetArray(dynamics->x, &x));
  MoveOuter(p, rho, n, z, mean, outer, x);
  PetscCall(VecRestoreArray(dynamics->x, &x));
  PetscCall(VecRestoreArray(p->outer, &outer));
  if (dynamics->consensus) PetscCall(VecRestoreArrayRead(dynamics->consensus, &mean));
  PetscCall(VecRestoreArrayRead(p->z, &z));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkLocalEntropyStep(CkDynamics dynamics, const CkBatch *batch, CkUpdate *update)
{
  CkLocalEntropy *p = (CkLocalEntropy *)dynamics->data;
  const PetscInt  round = dynamics->step / p->inner, at = dynamics->step % p->inner;

  PetscFunctionBeginUser;
  if (at == 0) PetscCall(VecCopy(dynamics->x, p->w));
  else PetscCall(CkLossSetPoint(dynamics->loss, p->w));
  PetscCall(CkLossGradient(dynamics->loss, batch, NULL, p->g, &update->mean, &update->correct));
  PetscCall(AddPull(CkLocalEntropyGrow(dynamics, p->scope, round, MOST_SCOPE), p->w, dynamics->x, p->g));
  PetscCall(CkMomentumMove(&p->momentum, dynamics->rate, p->g, p->v, p->w));
  PetscCall(AddNoise(dynamics, p->noise * sqrt(dynamics->rate), p->w));
  if (at == 0) PetscCall(VecCopy(p->w, p->z));
  else PetscCall(Average(p->average, p->w, p->z));
  if (at == p->inner - 1) PetscCall(OuterStep(dynamics, p));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkLocalEntropyKeep(CkDynamics dynamics, CkKeeper keeper)
{
  const CkLocalEntropy *p = (const CkLocalEntropy *)dynamics->data;

  PetscFunctionBeginUser;
  PetscCall(CkKeepVec(keeper, "inner", p->w));
  PetscCall(CkKeepVec(keeper, "inner_average", p->z));
  PetscCall(CkKeepVec(keeper, "velocity", p->v));
  PetscCall(CkKeepVec(keeper, "outer_velocity", p->outer));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkLocalEntropyView(CkDynamics dynamics, char text[], size_t length)
{
  const CkLocalEntropy *p = (const CkLocalEntropy *)dynamics->data;
  char                  momentum[96];
  size_t                used;

  PetscFunctionBeginUser;
  CkMomentumFormat(&p->momentum, momentum, sizeof(momentum));
  used = (size_t)snprintf(text, length, "%" PetscInt_FMT " inner update%s, %s, scope %g, noise %g; outer rate %g",
                          p->inner, CkPlural(p->inner), momentum, p->scope, p->noise, p->outer_rate);
  if (used < length && p->outer_momentum > 0)
    used += (size_t)snprintf(text + used, length - used, ", momentum %g", p->outer_momentum);
  if (used < length && dynamics->consensus) snprintf(text + used, length - used, ", elasticity %g", p->elasticity);
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkLocalEntropyDestroy(CkDynamics dynamics)
{
  CkLocalEntropy *p = (CkLocalEntropy *)dynamics->data;

  PetscFunctionBeginUser;
  if (!p) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(VecDestroy(&p->w));
  PetscCall(VecDestroy(&p->z));
  PetscCall(VecDestroy(&p->g));
  PetscCall(VecDestroy(&p->v));
  PetscCall(VecDestroy(&p->outer));
  PetscCall(PetscFree(dynamics->data));
  PetscFunctionReturn(PETSC_SUCCESS);
}
