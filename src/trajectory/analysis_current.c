#include "analysisimpl.h"
#include <clarkia/error.h>
#include <math.h>
#include <string.h>

/* analysis_current.c: circulation in the chosen directions, the verdict, and what theory expects. */

PetscBool CkAnalysisIsMarkov(CkAnalysis a, const char **why)
{
  *why = "";
  if (a->info.momentum != 0) *why = "momentum remembers: not a Markov chain in the weights";
  else if (strncmp(a->info.dynamics_type, "sgd", 3) == 0 && a->info.batch > 0 && !a->info.replacement)
    *why = "an epoch remembers its samples: batches are drawn without replacement";
  return (PetscBool)(*why[0] == '\0');
}

/* eta of the window, which a schedule may have made another than that of the start. */
static double Rate(CkAnalysis a)
{
  return a->dt / (double)a->spacing;
}

/* 1/beta = eta/(2B) (1 - mu)^-1, times (N - B)/(N - 1) without replacement. */
static double Temperature(CkAnalysis a)
{
  const CkTrajectoryInfo *info = &a->info;

  const double N = (double)info->samples, B = (double)info->batch;
  const double correction = info->replacement || N <= 1 ? 1 : (N - B) / (N - 1);

  return Rate(a) / (2 * B) / (1 - info->momentum) * correction;
}

/* Measured against expected over pairs: slope of a line through the origin, and correlation. */
static void Compare(CkAnalysis a)
{
  double xy = 0, xx = 0, yy = 0;

  for (PetscInt i = 0; i < a->k * a->k; ++i) {
    xy += a->A_expected[i] * a->circulation.A[i];
    xx += a->A_expected[i] * a->A_expected[i];
    yy += a->circulation.A[i] * a->circulation.A[i];
  }
  a->slope = xx > 0 ? xy / xx : 0;
  a->correlation = xx > 0 && yy > 0 ? xy / sqrt(xx * yy) : 0;
}

static PetscErrorCode Expect(CkAnalysis a)
{
  const CkUpdate update = {.rate = Rate(a), .momentum = a->info.momentum, .steps = a->spacing};
  double        *F;

  PetscFunctionBeginUser;
  PetscCall(PetscStrncpy(a->from, "", sizeof(a->from)));
  if (!a->H && !a->D)
    PetscCall(PetscStrncpy(a->from, "give -trajectory_spectrum or -trajectory_hessian", sizeof(a->from)));
  else if (!a->H && a->info.batch < 1)
    PetscCall(PetscStrncpy(a->from, "the process has no batches, so D says nothing of its noise", sizeof(a->from)));
  if (a->from[0]) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(PetscMalloc1(a->k * a->k, &a->A_expected));
  PetscCall(PetscMalloc1(a->k * a->k, &F));
  if (a->H) PetscCall(PetscArraycpy(F, a->H, a->k * a->k));
  else PetscCall(CkPredictDrift(a->k, a->blocks.covariance, a->D, Temperature(a), F, NULL));
  PetscCall(CkPredictCurrent(a->k, F, a->blocks.covariance, &update, a->A_expected, &a->stable));
  PetscCall(PetscFree(F));
  if (!a->stable)
    PetscCall(PetscSNPrintf(a->from, sizeof(a->from), "eta %s has an eigenvalue beyond 2: not a process near a minimum",
                            a->H ? "H" : "F"));
  else {
    PetscCall(PetscSNPrintf(a->from, sizeof(a->from), "%s", a->H ? "from H" : "from D, for small eta"));
    a->expected = PETSC_TRUE;
    PetscCall(PetscMalloc1(a->k / 2, &a->rotation_expected));
    PetscCall(CkCirculationRotation(&a->blocks, a->A_expected, a->rotation_expected));
    Compare(a);
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static CkVerdictKind Verdict(CkAnalysis a)
{
  const CkCirculation *c = &a->circulation;

  if (a->k < 2) return CK_VERDICT_NONE; /* one direction cannot circulate */
  if (a->blocks.count < CK_CIRCULATION_MIN_BLOCKS) return CK_VERDICT_SHORT;
  if (c->singular) return CK_VERDICT_SINGULAR;
  if (c->drift_p <= a->level) return CK_VERDICT_DRIFT;
  return c->p <= a->level ? CK_VERDICT_YES : CK_VERDICT_NO;
}

/* For the table and for the file. */
static PetscErrorCode Reason(CkAnalysis a)
{
  const CkCirculation *c = &a->circulation;
  const size_t         room = sizeof(a->why);

  PetscFunctionBeginUser;
  PetscCall(PetscStrncpy(a->why, a->verdict == CK_VERDICT_NONE ? "two directions are needed" : "", room));
  if (a->verdict == CK_VERDICT_SHORT)
    PetscCall(PetscSNPrintf(a->why, room,
                            "%" PetscInt_FMT " block%s of five correlation times (%.3g snapshots each); %d are needed",
                            a->blocks.count, CkPlural(a->blocks.count), 5 * a->blocks.tau, CK_CIRCULATION_MIN_BLOCKS));
  if (a->verdict == CK_VERDICT_DRIFT)
    PetscCall(PetscSNPrintf(a->why, room,
                            "means of first and second half differ, probability %.2g: a longer -trajectory_burn_in, or "
                            "a longer run",
                            c->drift_p));
  if (a->verdict == CK_VERDICT_SINGULAR)
    PetscCall(PetscSNPrintf(a->why, room,
                            "direction %" PetscInt_FMT " of %" PetscInt_FMT " does not move or is a combination of "
                            "others (covariance with eigenvalues %.3g to %.3g): take fewer -trajectory_modes or other "
                            "-trajectory_directions",
                            c->singular, a->k, c->least, c->largest));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkAnalysisCurrent(CkAnalysis a)
{
  const CkPaths           paths = {.n = a->n, .replicas = a->info.replicas, .k = a->k, .y = a->y, .dt = a->dt};
  const CkCirculationPlan plan = {.seed = a->seed, .draws = a->draws, .level = a->level};

  PetscFunctionBeginUser;
  if (a->k > 1) PetscCall(CkBlockAreasCreate(&paths, a->block, &a->blocks));
  if (a->blocks.count >= CK_CIRCULATION_MIN_BLOCKS) PetscCall(CkCirculationCompute(&a->blocks, &plan, &a->circulation));
  if (a->circulation.k) PetscCall(Expect(a));
  a->verdict = Verdict(a);
  PetscCall(Reason(a));
  PetscFunctionReturn(PETSC_SUCCESS);
}
