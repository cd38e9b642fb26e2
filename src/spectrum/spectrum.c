#include "spectrumimpl.h"
#include <clarkia/error.h>
#include <clarkia/interrupt.h>
#include <clarkia/options.h>
#include <errno.h>
#include <math.h>
#include <petsctime.h>
#include <stdlib.h>

/* spectrum.c: the object, its options and the frame of a solve. */

static const CkOption table[] = {
  {.key = "spectrum_method",
   .kind = CK_OPTION_STRING,
   .fallback = "auto",
   .choices = "auto|dense|gram|krylov|density",
   .help = "route: dense (d x d), gram (N x N), krylov (leading pairs), density (all in outline, with errors), auto "
           "(the smaller complete one that fits)"},
  {.key = "spectrum_solver",
   .kind = CK_OPTION_STRING,
   .fallback = "auto",
   .choices = "auto|scalapack|elpa",
   .help = "dense eigensolver; auto: elpa for values only, scalapack with eigenvectors"},
  {.key = "spectrum_nev",
   .kind = CK_OPTION_INT,
   .fallback = "20",
   .minimum = 1,
   .maximum = 1e9,
   .help = "krylov: number of leading eigenpairs"},
  {.key = "spectrum_vectors",
   .kind = CK_OPTION_STRING,
   .fallback = "0",
   .help = "eigenvectors to compute and store: a number of leading ones, or all"},
  {.key = "spectrum_residuals",
   .kind = CK_OPTION_INT,
   .fallback = "20",
   .minimum = 0,
   .maximum = 1000,
   .help = "leading pairs with a residual in a dense or gram run without eigenvectors"},
  {.key = "spectrum_check",
   .kind = CK_OPTION_BOOL,
   .fallback = "true",
   .help = "self-checks: traces, sums, residuals; one that fails is an error"},
  {.key = "spectrum_partial",
   .kind = CK_OPTION_BOOL,
   .fallback = "false",
   .help = "krylov: take the pairs that converged where not all did"},
  {.key = "spectrum_krylov",
   .kind = CK_OPTION_STRING,
   .fallback = "auto",
   .choices = "auto|weight|sample",
   .help = "krylov, density: vectors of length d (weight) or of length N (sample); auto: the cheaper one that fits; "
           "density: the shorter"},
  {.key = "spectrum_keep",
   .kind = CK_OPTION_STRING,
   .fallback = "auto",
   .choices = "auto|true|false",
   .help = "sample space: keep all gradients in memory; auto: if they fit -noise_memory and that is cheaper"},
  {.key = "spectrum_probes",
   .kind = CK_OPTION_INT,
   .fallback = "10",
   .minimum = 2,
   .maximum = 10000,
   .help = "density: random vectors; errors fall as their root"},
  {.key = "spectrum_steps",
   .kind = CK_OPTION_INT,
   .fallback = "80",
   .minimum = 2,
   .maximum = 10000,
   .help = "density: products with each random vector; resolution"},
  {.key = "spectrum_width",
   .kind = CK_OPTION_REAL,
   .fallback = "0.1",
   .minimum = 0.001,
   .maximum = 2,
   .help = "density: standard deviation of the smoothing, decades"},
  {.key = "spectrum_frobenius",
   .kind = CK_OPTION_STRING,
   .fallback = "none",
   .choices = "exact|none",
   .help = "krylov, density: |D|_F from the Gram matrix in pieces, about N^2 d operations; none: not at all"},
  {.key = "spectrum_start", .kind = CK_OPTION_FILE, .help = "krylov: spectrum file whose eigenvectors are the start"},
  {.key = "spectrum_checkpoint",
   .kind = CK_OPTION_STRING,
   .help = "krylov: file to keep the solver's state in; if it is there, the run goes on from it"},
  {.key = "spectrum_checkpoint_interval",
   .kind = CK_OPTION_REAL,
   .fallback = "0",
   .minimum = 0,
   .maximum = 1e9,
   .help = "seconds between checkpoints; 0: one after every product"},
  {.key = NULL},
};

PetscErrorCode CkSpectrumRegisterOptions(void)
{
  PetscFunctionBeginUser;
  PetscCall(CkOptionsRegister("Spectrum", table));
  PetscCall(CkGroupsRegisterOptions());
  PetscCall(CkInterruptRegisterOptions());
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkSpectrumCreate(CkDiffusion D, CkSpectrum *spectrum)
{
  CkSpectrum  s;
  CkPrecision precision;

  PetscFunctionBeginUser;
  PetscCall(CkEventsRegister());
  PetscCall(PetscNew(&s));
  s->D = D;
  PetscCall(CkDiffusionGetLoss(D, &s->loss));
  PetscCall(CkLossGetComm(s->loss, &s->comm));
  PetscCall(CkLossGetDimension(s->loss, &s->d));
  PetscCall(CkLossGetSamples(s->loss, &s->N));
  PetscCall(CkLossGetPrecision(s->loss, &precision));
  s->precision = precision == CK_FLOAT32 ? 1e-5 : 1e-10;
  s->nev = 20;
  s->residuals = 20;
  s->probes = 10;
  s->steps = 80;
  s->width = 0.1;
  s->seed = 1;
  s->series = 1;
  s->check = PETSC_TRUE;
  s->phase = CK_PHASE_COUNT;
  *spectrum = s;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* "all" or a number of eigenvectors. */
static PetscErrorCode ParseVectors(CkSpectrum s)
{
  char text[64], *end;
  long k;

  PetscFunctionBeginUser;
  PetscCall(CkOptionsGetString("spectrum_vectors", text, sizeof(text), NULL));
  if (strcmp(text, "all") == 0) {
    s->wanted = CK_SPECTRUM_ALL;
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  errno = 0;
  k = strtol(text, &end, 10);
  CkCheckAll(s->comm, errno == 0 && end != text && *end == '\0' && k >= 0 && k <= s->d, PETSC_ERR_ARG_OUTOFRANGE,
             "-spectrum_vectors %s: give a number between 0 and the dimension %" PetscInt_FMT ", or all", text, s->d);
  s->wanted = (PetscInt)k;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode DensityFromOptions(CkSpectrum s)
{
  PetscReal width;

  PetscFunctionBeginUser;
  PetscCall(CkOptionsGetInt("spectrum_probes", &s->probes, NULL));
  PetscCall(CkOptionsGetInt("spectrum_steps", &s->steps, NULL));
  PetscCall(CkOptionsGetReal("spectrum_width", &width, NULL));
  PetscCall(CkOptionsGetInt("seed", &s->seed, NULL));
  s->width = (double)width;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode KrylovFromOptions(CkSpectrum s)
{
  char      text[32];
  PetscReal interval;

  PetscFunctionBeginUser;
  PetscCall(CkOptionsGetString("spectrum_krylov", text, sizeof(text), NULL));
  s->form_asked = CK_KRYLOV_AUTO;
  for (CkKrylovForm f = CK_KRYLOV_WEIGHT; f <= CK_KRYLOV_SAMPLE; ++f) {
    if (strcmp(text, CkKrylovFormName(f)) == 0) s->form_asked = f;
  }
  PetscCall(CkOptionsGetString("spectrum_keep", text, sizeof(text), NULL));
  s->keep_asked = strcmp(text, "auto") == 0 ? CK_KEEP_AUTO : (strcmp(text, "true") == 0 ? CK_KEEP_YES : CK_KEEP_NO);
  PetscCall(CkOptionsGetString("spectrum_start", s->start, sizeof(s->start), NULL));
  PetscCall(CkOptionsGetString("spectrum_checkpoint", s->checkpoint, sizeof(s->checkpoint), NULL));
  PetscCall(CkOptionsGetReal("spectrum_checkpoint_interval", &interval, NULL));
  s->checkpoint_interval = (double)interval;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkSpectrumSetFromOptions(CkSpectrum s)
{
  char      method[32], solver[32], frobenius[16];
  PetscBool set;

  PetscFunctionBeginUser;
  PetscCall(CkOptionsGetString("spectrum_method", method, sizeof(method), NULL));
  s->asked = CK_SPECTRUM_AUTO;
  for (CkSpectrumMethod m = CK_SPECTRUM_DENSE; m <= CK_SPECTRUM_DENSITY; ++m) {
    if (strcmp(method, CkSpectrumMethodName(m)) == 0) s->asked = m;
  }
  PetscCall(CkOptionsGetString("spectrum_solver", solver, sizeof(solver), NULL));
  s->solver_asked = (PetscBool)(strcmp(solver, "auto") != 0);
  s->solver = strcmp(solver, "elpa") == 0 ? CK_SOLVER_ELPA : CK_SOLVER_SCALAPACK;
  PetscCall(CkOptionsGetInt("spectrum_nev", &s->nev, &set));
  CkCheckAll(s->comm, !set || s->nev <= s->d, PETSC_ERR_ARG_OUTOFRANGE,
             "-spectrum_nev %" PetscInt_FMT ": D has only %" PetscInt_FMT " eigenvalues", s->nev, s->d);
  PetscCall(CkOptionsGetInt("spectrum_residuals", &s->residuals, NULL));
  PetscCall(CkOptionsGetBool("spectrum_check", &s->check, NULL));
  PetscCall(CkOptionsGetBool("spectrum_partial", &s->partial, NULL));
  PetscCall(CkOptionsGetString("spectrum_frobenius", frobenius, sizeof(frobenius), NULL));
  s->frobenius = (PetscBool)(strcmp(frobenius, "exact") == 0);
  PetscCall(KrylovFromOptions(s));
  PetscCall(DensityFromOptions(s));
  PetscCall(ParseVectors(s));
  PetscCall(CkGroupsSetFromOptions(s));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkSpectrumSetMethod(CkSpectrum s, CkSpectrumMethod method)
{
  PetscFunctionBeginUser;
  s->asked = method;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkSpectrumSetVectors(CkSpectrum s, PetscInt k)
{
  PetscFunctionBeginUser;
  PetscCheck(k == CK_SPECTRUM_ALL || (k >= 0 && k <= s->d), s->comm, PETSC_ERR_ARG_OUTOFRANGE,
             "%" PetscInt_FMT " eigenvectors of dimension %" PetscInt_FMT, k, s->d);
  s->wanted = k;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkSpectrumSetStart(CkSpectrum s, PetscInt k, const Vec vectors[])
{
  PetscFunctionBeginUser;
  s->nstart = k;
  s->start_vectors = vectors;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkSpectrumSetSeries(CkSpectrum s, PetscInt spectra)
{
  PetscFunctionBeginUser;
  s->series = spectra;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkSpectrumSetDescription(CkSpectrum s, const char weights[], const char samples[])
{
  PetscFunctionBeginUser;
  PetscCall(PetscStrncpy(s->weights, weights, sizeof(s->weights)));
  PetscCall(PetscStrncpy(s->samples, samples, sizeof(s->samples)));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkSpectrumSetChecksums(CkSpectrum s, const char weights[], const char data[])
{
  PetscFunctionBeginUser;
  PetscCall(PetscStrncpy(s->weights_checksum, weights, sizeof(s->weights_checksum)));
  PetscCall(PetscStrncpy(s->data_checksum, data, sizeof(s->data_checksum)));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkSpectrumPhaseBegin(CkSpectrum s, CkSpectrumPhase phase)
{
  PetscLogDouble now;
  double         passed;

  PetscFunctionBeginUser;
  PetscCall(PetscTime(&now));
  PetscCall(CkLossGetPasses(s->loss, &passed));
  if (s->phase != CK_PHASE_COUNT) {
    s->seconds[s->phase] += now - s->clock;
    s->passes[s->phase] += passed - s->passed;
  }
  s->phase = phase;
  s->passed = passed;
  s->clock = now;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The trace by squared norms, and what its rounding errors are relative to: tr D = mean |g_k|^2 - |gbar|^2 cancels
   where the mean gradient is large. */
PetscErrorCode CkSpectrumIndependentTrace(CkSpectrum s)
{
  PetscBool centred;
  Vec       mean;
  double    square;

  PetscFunctionBeginUser;
  if (s->traced) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(CkSpectrumPhaseBegin(s, CK_PHASE_TRACE));
  PetscCall(CkDiffusionTrace(s->D, &s->trace));
  PetscCall(CkDiffusionGetCentred(s->D, &centred));
  s->scale = s->trace;
  if (centred) {
    PetscCall(CkLossCreateVec(s->loss, &mean));
    PetscCall(CkDiffusionMean(s->D, mean));
    PetscCall(CkLossDot(s->loss, mean, mean, &square));
    PetscCall(VecDestroy(&mean));
    s->scale += square;
  }
  s->traced = PETSC_TRUE;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* |D|_F^2 where it is asked for; with the trace it gives what needs no single eigenvalue. */
static PetscErrorCode SolveFrobenius(CkSpectrum s)
{
  PetscFunctionBeginUser;
  s->square = NAN;
  if (!s->frobenius || !CkSpectrumMatrixFree(s)) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(CkSpectrumPhaseBegin(s, CK_PHASE_FROBENIUS));
  PetscCall(CkDiffusionFrobenius(s->D, &s->square));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscInt CkSpectrumMaximalRank(CkSpectrum s)
{
  PetscBool centred = PETSC_TRUE;

  (void)CkDiffusionGetCentred(s->D, &centred);
  return PetscMin(s->d, centred ? s->N - 1 : s->N);
}

static PetscErrorCode Clear(CkSpectrum s)
{
  PetscFunctionBeginUser;
  PetscCall(CkSpectrumDestroyVectors(s->nvectors, &s->vectors));
  PetscCall(PetscFree2(s->values, s->residual));
  PetscCall(CkDensityDestroy(&s->density));
  PetscCall(CkGroupsClear(s));
  PetscCall(PetscArrayzero(s->seconds, CK_PHASE_COUNT));
  PetscCall(PetscArrayzero(s->passes, CK_PHASE_COUNT));
  s->earlier_passes = s->earlier_sweeps = 0;
  s->checks.n = 0;
  s->n = s->nvectors = 0;
  s->solved = s->traced = PETSC_FALSE;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkSpectrumSolve(CkSpectrum s)
{
  double before, after, sweeps_before, sweeps_after;

  PetscFunctionBeginUser;
  PetscCall(Clear(s));
  PetscCall(CkSpectrumPlan(s, PETSC_FALSE));
  PetscCall(CkLossGetPasses(s->loss, &before));
  PetscCall(CkDiffusionGetSweeps(s->D, &sweeps_before));
  if (s->method != CK_SPECTRUM_GRAM) PetscCall(CkSpectrumIndependentTrace(s));
  PetscCall(SolveFrobenius(s));
  PetscCall(CkSpectrumRouteFind(s->method)->solve(s));
  if (s->groups.kind == CK_GROUP_LAYER || s->groups.kind == CK_GROUP_TENSOR) PetscCall(CkGroupsSolveLayers(s));
  PetscCall(CkSpectrumPhaseBegin(s, CK_PHASE_COUNT));
  PetscCall(CkLossGetPasses(s->loss, &after));
  PetscCall(CkDiffusionGetSweeps(s->D, &sweeps_after));
  s->passes[CK_PHASE_SOLVE] += s->earlier_passes;
  PetscCall(CkSpectrumChecksVerify(s->comm, &s->checks));
  PetscCall(
    CkSpectrumComputeStatistics(s->n, s->values, s->d, s->N, CkSpectrumMaximalRank(s), s->trace, &s->statistics));
  if (!s->statistics.complete && !isnan(s->square)) CkSpectrumStatisticsSetSquare(&s->statistics, s->square);
  s->statistics.passes = after - before + s->earlier_passes;
  s->statistics.sweeps = sweeps_after - sweeps_before + s->earlier_sweeps;
  for (int i = 0; i < CK_PHASE_COUNT; ++i) s->statistics.seconds += s->seconds[i];
  s->solved = PETSC_TRUE;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkSpectrumGetMethod(CkSpectrum s, CkSpectrumMethod *method)
{
  PetscFunctionBeginUser;
  *method = s->method == CK_SPECTRUM_AUTO ? s->asked : s->method;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkSpectrumGetValues(CkSpectrum s, PetscInt *n, const double **values, const double **residuals)
{
  PetscFunctionBeginUser;
  PetscCheck(s->solved, s->comm, PETSC_ERR_ORDER, "Call CkSpectrumSolve() first");
  *n = s->n;
  *values = s->values;
  if (residuals) *residuals = s->residual;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkSpectrumGetVectors(CkSpectrum s, PetscInt *k, const Vec **vectors)
{
  PetscFunctionBeginUser;
  PetscCheck(s->solved, s->comm, PETSC_ERR_ORDER, "Call CkSpectrumSolve() first");
  *k = s->nvectors;
  *vectors = s->vectors;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkSpectrumGetStatistics(CkSpectrum s, CkSpectrumStatistics *statistics)
{
  PetscFunctionBeginUser;
  PetscCheck(s->solved, s->comm, PETSC_ERR_ORDER, "Call CkSpectrumSolve() first");
  *statistics = s->statistics;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkSpectrumGetDensity(CkSpectrum s, const CkSpectrumDensity **density)
{
  PetscFunctionBeginUser;
  PetscCheck(s->solved, s->comm, PETSC_ERR_ORDER, "Call CkSpectrumSolve() first");
  CkCheckAll(s->comm, s->method == CK_SPECTRUM_DENSITY, PETSC_ERR_ARG_WRONGSTATE,
             "the method is %s, and only density gives a density: take -spectrum_method density",
             CkSpectrumMethodName(s->method));
  *density = &s->density;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkSpectrumDestroy(CkSpectrum *spectrum)
{
  PetscFunctionBeginUser;
  if (!*spectrum) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(Clear(*spectrum));
  PetscCall(CkGroupsDestroy(*spectrum));
  PetscCall(PetscFree(*spectrum));
  PetscFunctionReturn(PETSC_SUCCESS);
}
