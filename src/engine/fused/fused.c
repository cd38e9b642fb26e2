/* fused.c: the object, its state in and out, and the loop over the updates. */
#include "fusedimpl.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

PetscErrorCode CkFusedSupports(CkNet net, PetscBool *can, char why[], size_t length)
{
  PetscInt      n;
  CkFusedStage *stages;
  char          reason[256];

  PetscFunctionBeginUser;
  PetscCall(CkFusedFindStages(net, 1, &n, &stages, reason, sizeof(reason)));
  PetscCall(PetscFree(stages));
  *can = (PetscBool)(n > 0);
  if (why && n == 0) PetscCall(PetscStrncpy(why, reason, length));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* All but the memory. */
static PetscErrorCode Begin(const CkFusedKernels *kernels, CkNet net, PetscInt batch, PetscInt N, CkFused f)
{
  const CkFusedStage *last;
  char                why[256] = "";

  PetscFunctionBeginUser;
  PetscCall(PetscMemzero(f, sizeof(*f)));
  f->kernels = kernels;
  PetscCall(CkNetGetHead(net, &f->head));
  PetscCall(CkFusedFindStages(net, f->kernels->lanes, &f->nstages, &f->stages, why, sizeof(why)));
  PetscCheck(f->nstages > 0, PETSC_COMM_SELF, PETSC_ERR_SUP, "No fused training of this net: %s", why);
  last = &f->stages[f->nstages - 1];
  f->classes = last->out;
  f->length = last->shift + (last->norm ? last->ldo : 0);
  f->N = (size_t)N;
  f->rows = ((size_t)batch + CK_FUSED_ROWS - 1) / CK_FUSED_ROWS * CK_FUSED_ROWS;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkFusedGetMemory(CkNet net, PetscInt batch, PetscInt N, double *bytes)
{
  struct _p_CkFused f;

  PetscFunctionBeginUser;
  PetscCall(Begin(CkFusedKernelsGet(), net, batch, N, &f));
  *bytes = CkFusedPlan(&f);
  PetscCall(PetscFree(f.stages));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkFusedCreateWith(const CkFusedKernels *kernels, CkNet net, PetscInt batch, PetscInt N, CkFused *fused)
{
  PetscFunctionBeginUser;
  PetscCall(PetscNew(fused));
  PetscCall(Begin(kernels, net, batch, N, *fused));
  PetscCall(CkFusedAllocate(*fused));
  PetscCall(CkNetGetFlops(net, &(*fused)->flops));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkFusedCreate(CkNet net, PetscInt batch, PetscInt N, CkFused *fused)
{
  PetscFunctionBeginUser;
  PetscCall(CkFusedCreateWith(CkFusedKernelsGet(), net, batch, N, fused));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkFusedDestroy(CkFused *fused)
{
  CkFused f = *fused;

  PetscFunctionBeginUser;
  *fused = NULL;
  if (!f) PetscFunctionReturn(PETSC_SUCCESS);
  free(f->memory);
  PetscCall(PetscFree(f->stages));
  PetscCall(PetscFree(f));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkFusedSetSamples(CkFused f, PetscInt first, PetscInt n, const float features[], const PetscInt labels[])
{
  const CkFusedStage *s = &f->stages[0];

  PetscFunctionBeginUser;
  PetscCheck(first >= 0 && n >= 0 && (size_t)first + (size_t)n <= f->N, PETSC_COMM_SELF, PETSC_ERR_ARG_OUTOFRANGE,
             "Samples %" PetscInt_FMT " to %" PetscInt_FMT " of %zu", first, first + n - 1, f->N);
  for (PetscInt k = 0; k < n; ++k) {
    const size_t to = (size_t)(first + k);

    PetscCheck(labels[k] >= 0 && (size_t)labels[k] < f->classes, PETSC_COMM_SELF, PETSC_ERR_ARG_OUTOFRANGE,
               "Label %" PetscInt_FMT " of sample %" PetscInt_FMT " is not in 0..%zu", labels[k], first + k,
               f->classes - 1);
    memcpy(f->features + to * s->ldi, features + (size_t)k * s->in, s->in * sizeof(float));
    f->labels[to] = (int32_t)labels[k];
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* One tensor between the net's layout and the state's. */
static void CopyVector(PetscBool in, size_t n, double *net, double *state)
{
  memcpy(in ? state : net, in ? net : state, n * sizeof(double));
}

static void CopyMatrix(PetscBool in, const CkFusedStage *s, double *net, double *state)
{
  for (size_t o = 0; o < s->out; ++o)
    for (size_t i = 0; i < s->in; ++i) {
      double *a = &net[o * s->in + i], *b = &state[s->by_inputs ? o * s->ldi + i : i * s->ldo + o];

      if (in) *b = *a;
      else *a = *b;
    }
}

/* All tensors of weights or of momentum: in, or out. */
static void CopyState(CkFused f, PetscBool in, double *net, double *state)
{
  for (PetscInt i = 0; i < f->nstages; ++i) {
    const CkFusedStage *s = &f->stages[i];

    CopyMatrix(in, s, net + s->net_weight, state + s->weight);
    if (s->bias) CopyVector(in, s->out, net + s->net_bias, state + s->bias_at);
    if (!s->norm) continue;
    CopyVector(in, s->out, net + s->net_scale, state + s->scale);
    CopyVector(in, s->out, net + s->net_shift, state + s->shift);
  }
}

static void SetPoint(CkFused f, double x[])
{
  CopyState(f, PETSC_TRUE, x, f->x);
  for (size_t i = 0; i < f->length; ++i) f->w[i] = (float)f->x[i];
  CkFusedTranspose(f);
}

static void Prefetch(CkFused f, PetscInt n, const PetscInt index[])
{
  const size_t ld = f->stages[0].ldi;

  for (PetscInt k = 0; k < n; ++k) {
    const char *row = (const char *)(f->features + (size_t)index[k] * ld);

    for (size_t byte = 0; byte < ld * sizeof(float); byte += 64) __builtin_prefetch(row + byte, 0, 2);
  }
}

static void Gather(CkFused f, PetscInt n, const PetscInt index[])
{
  f->kernels->gather((size_t)n, f->stages[0].ldi, index, f->features, f->samples);
  for (PetscInt k = 0; k < n; ++k) f->chosen[k] = f->labels[index[k]];
  f->mode = CK_TRAINING;
  f->input = f->samples;
  f->targets = f->chosen;
}

/* r <- (1 - m) r + m (mean or unbiased variance of the batch) */
static void UpdateRunning(const CkFused f, double m, size_t n, double running[])
{
  const double unbiased = (double)n / ((double)n - 1);

  for (PetscInt i = 0; i < f->nstages; ++i) {
    const CkFusedStage *s = &f->stages[i];

    for (size_t u = 0; s->norm && u < s->out; ++u) {
      double *mean = running + s->net_mean + u, *variance = running + s->net_variance + u;

      *mean = (1 - m) * *mean + m * s->mean[u];
      *variance = (1 - m) * *variance + m * s->variance[u] * unbiased;
    }
  }
}

/* Names the first sample of the batch without a finite loss. */
static void ReportBad(CkFused f, PetscInt n, const PetscInt index[], CkFusedRun *run)
{
  for (PetscInt k = 0; k < n && run->bad < 0; ++k) {
    if (isfinite(f->values[k])) continue;
    run->bad = index[k];
    run->value = f->values[k];
  }
}

static PetscBool Update(CkFused f, PetscInt n, const PetscInt index[], CkFusedRun *run)
{
  const CkFusedMove move = {
    .rate = run->rates[run->updates], .momentum = run->momentum, .l2 = run->l2, .nesterov = run->nesterov};
  double   loss;
  PetscInt correct;

  Gather(f, n, index);
  if (!CkFusedGradient(f, (size_t)n, 1 / (double)n, &loss, &correct)) {
    ReportBad(f, n, index, run);
    return PETSC_FALSE;
  }
  UpdateRunning(f, run->bn_momentum, (size_t)n, run->running);
  f->kernels->move(&move, f->length, f->g, f->v, f->x, f->w);
  CkFusedTranspose(f);
  run->loss += loss;
  run->correct += correct;
  ++run->updates;
  return PETSC_TRUE;
}

/*
  Numbers below the normal range are zero while updates run: a weight without gradient drives its momentum there, and
  the processor would take a hundred times longer over it. Returns what RestoreMode() takes.
*/
static unsigned FlushSubnormals(void)
{
#if defined(__SSE__)
  const unsigned mode = __builtin_ia32_stmxcsr();

  __builtin_ia32_ldmxcsr(mode | 0x8040); /* flush to zero, denormals are zero */
  return mode;
#else
  return 0;
#endif
}

static void RestoreMode(unsigned mode)
{
#if defined(__SSE__)
  __builtin_ia32_ldmxcsr(mode);
#else
  (void)mode;
#endif
}

PetscErrorCode CkFusedUpdate(CkFused f, CkFusedRun *run)
{
  unsigned mode;

  PetscFunctionBeginUser;
  PetscCheck(run->batch > 0 && (size_t)run->batch <= f->rows, PETSC_COMM_SELF, PETSC_ERR_ARG_SIZ,
             "Batches of %" PetscInt_FMT " samples; there is room for %zu", run->batch, f->rows);
  run->updates = 0;
  run->bad = -1;
  mode = FlushSubnormals();
  SetPoint(f, run->x);
  CopyState(f, PETSC_TRUE, run->v, f->v);
  for (PetscInt k = 0; k < run->n; k += run->batch) {
    const PetscInt n = PetscMin(run->batch, run->n - k), next = PetscMin(run->batch, run->n - k - n);

    Prefetch(f, next, run->index + k + n);
    if (!Update(f, n, run->index + k, run)) break;
  }
  CopyState(f, PETSC_FALSE, run->x, f->x);
  CopyState(f, PETSC_FALSE, run->v, f->v);
  RestoreMode(mode);
  PetscCall(PetscLogFlops(3 * f->flops * (double)run->n));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Evaluation mode: mean and variance of the stages are the running ones. */
static void SetStatistics(CkFused f, const double running[])
{
  for (PetscInt i = 0; i < f->nstages; ++i) {
    const CkFusedStage *s = &f->stages[i];

    if (!s->norm) continue;
    memcpy(s->mean, running + s->net_mean, s->out * sizeof(double));
    memcpy(s->variance, running + s->net_variance, s->out * sizeof(double));
  }
}

/* Sums over all samples, from f->total = 0 on; false: a loss is not finite. */
static PetscBool Sweep(CkFused f, double *loss, PetscInt64 *correct)
{
  f->mode = CK_EVALUATION;
  for (size_t k = 0; k < f->N; k += f->rows) {
    const size_t n = PetscMin(f->rows, f->N - k);
    double       sum;
    PetscInt     right;

    f->input = f->features + k * f->stages[0].ldi;
    f->targets = f->labels + k;
    if (!CkFusedGradient(f, n, 1 / (double)f->N, &sum, &right)) return PETSC_FALSE;
    for (size_t i = 0; i < f->length; ++i) f->total[i] += f->g[i];
    *loss += sum;
    *correct += right;
  }
  return PETSC_TRUE;
}

PetscErrorCode CkFusedEvaluate(CkFused f, double x[], const double running[], double *loss, PetscInt64 *correct,
                               double g[])
{
  const unsigned mode = FlushSubnormals();

  PetscFunctionBeginUser;
  *loss = 0;
  *correct = 0;
  memset(f->total, 0, f->length * sizeof(double));
  SetPoint(f, x);
  SetStatistics(f, running);
  if (Sweep(f, loss, correct)) *loss /= (double)f->N;
  else *loss = NAN;
  CopyState(f, PETSC_FALSE, g, f->total);
  RestoreMode(mode);
  PetscCall(PetscLogFlops(3 * f->flops * (double)f->N));
  PetscFunctionReturn(PETSC_SUCCESS);
}
