#include "analysisimpl.h"
#include <clarkia/error.h>
#include <clarkia/options.h>
#include <math.h>
#include <string.h>

/* analysis.c: options, the window of snapshots, and the order of the work. */

const double ck_analysis_quantiles[CK_ANALYSIS_QUANTILES] = {0.05, 0.25, 0.5, 0.75, 0.95};

static const CkOption table[] = {
  {.key = "trajectory",
   .kind = CK_OPTION_FILE,
   .help = "trajectory file to analyse, of clarkia train; a .part file too"},
  {.key = "trajectory_burn_in",
   .kind = CK_OPTION_INT,
   .fallback = "0",
   .maximum = 2147483647,
   .help = "snapshots left out at the start"},
  {.key = "trajectory_lags",
   .kind = CK_OPTION_INT,
   .fallback = "100",
   .minimum = 2,
   .maximum = 1000000,
   .help = "lags of the autocorrelation, equally spaced over the snapshots"},
  {.key = "trajectory_average",
   .kind = CK_OPTION_REAL,
   .fallback = "100",
   .minimum = 0,
   .maximum = 1e9,
   .help = "snapshots over which the gradient norm is averaged: exponential weights with this centre of mass"},
  {.key = "trajectory_directions",
   .kind = CK_OPTION_STRING,
   .fallback = "auto",
   .choices = "auto|spectrum|recorded|random|coordinates",
   .help =
     "in which circulation is looked for: leading eigenvectors of -trajectory_spectrum; the projections in the file; "
     "random ones; the first columns; auto: the first of these that there is, coordinates if they are all"},
  {.key = "trajectory_modes",
   .kind = CK_OPTION_INT,
   .fallback = "8",
   .minimum = 2,
   .maximum = 64,
   .help = "directions, at most; the test is on all their pairs together"},
  {.key = "trajectory_spectrum",
   .kind = CK_OPTION_FILE,
   .help = "spectrum file with eigenvectors of D: directions, and D for what theory expects"},
  {.key = "trajectory_hessian",
   .kind = CK_OPTION_FILE,
   .help = "file with the Hessian as dataset /hessian [d, d]: then theory takes it, not D"},
  {.key = "trajectory_block",
   .kind = CK_OPTION_INT,
   .fallback = "0",
   .maximum = 2147483647,
   .help = "transitions of a block for errors and significance; 0: five correlation times, at most 200 blocks"},
  {.key = "trajectory_draws",
   .kind = CK_OPTION_INT,
   .fallback = "2000",
   .minimum = 100,
   .maximum = 1000000,
   .help = "random draws for errors and significance"},
  {.key = "trajectory_level",
   .kind = CK_OPTION_REAL,
   .fallback = "0.01",
   .minimum = 1e-6,
   .maximum = 0.5,
   .help = "level of the verdict: how often a process without circulation is called circulating"},
  {.key = "trajectory_slab",
   .kind = CK_OPTION_INT,
   .fallback = "0",
   .maximum = 2147483647,
   .help = "columns that a rank reads at once, rounded up to a multiple of 32; 0: what fits 256 MB"},
  {.key = NULL},
};

PetscErrorCode CkAnalysisRegisterOptions(void)
{
  PetscFunctionBeginUser;
  PetscCall(CkOptionsRegister("Trajectory", table));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkAnalysisCreate(MPI_Comm comm, CkTrajectory trajectory, CkAnalysis *analysis)
{
  CkAnalysis a;

  PetscFunctionBeginUser;
  PetscCall(PetscNew(&a));
  a->comm = comm;
  a->trajectory = trajectory;
  PetscCall(CkTrajectoryGetInfo(trajectory, &a->info));
  *analysis = a;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode ReadOptions(CkAnalysis a)
{
  PetscReal level, span;
  PetscInt  seed;
  char      name[32];

  PetscFunctionBeginUser;
  PetscCall(CkOptionsGetInt("trajectory_burn_in", &a->burn_in, NULL));
  PetscCall(CkOptionsGetInt("trajectory_lags", &a->lags_wanted, NULL));
  PetscCall(CkOptionsGetReal("trajectory_average", &span, NULL));
  PetscCall(CkOptionsGetString("trajectory_directions", name, sizeof(name), NULL));
  a->asked = CK_DIRECTIONS_AUTO;
  for (CkDirectionsKind d = CK_DIRECTIONS_SPECTRUM; d <= CK_DIRECTIONS_COORDINATES; ++d)
    if (strcmp(name, CkDirectionsName(d)) == 0) a->asked = d;
  PetscCall(CkOptionsGetInt("trajectory_modes", &a->modes, NULL));
  PetscCall(CkOptionsGetString("trajectory_spectrum", a->spectrum, sizeof(a->spectrum), NULL));
  PetscCall(CkOptionsGetString("trajectory_hessian", a->hessian, sizeof(a->hessian), NULL));
  PetscCall(CkOptionsGetInt("trajectory_block", &a->block, NULL));
  PetscCall(CkOptionsGetInt("trajectory_draws", &a->draws, NULL));
  PetscCall(CkOptionsGetReal("trajectory_level", &level, NULL));
  PetscCall(CkOptionsGetInt("trajectory_slab", &a->slab, NULL));
  PetscCall(CkOptionsGetInt("seed", &seed, NULL));
  a->level = level;
  a->span = span;
  a->seed = (uint64_t)seed;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Spectra and currents need snapshots at equal distances. */
static PetscErrorCode CheckSpacing(CkAnalysis a)
{
  const PetscInt first = a->burn_in;
  const double   start = a->time[first + 1] - a->time[first];

  PetscFunctionBeginUser;
  a->spacing = a->step[first + 1] - a->step[first];
  a->dt = (a->time[first + a->n - 1] - a->time[first]) / (double)(a->n - 1);
  for (PetscInt t = first; t + 1 < first + a->n; ++t) {
    const PetscInt64 steps = a->step[t + 1] - a->step[t];
    const double     time = a->time[t + 1] - a->time[t];

    CkCheckAll(
      a->comm, steps == a->spacing, PETSC_ERR_ARG_INCOMP,
      "the snapshots are not equally spaced: number %" PetscInt_FMT " comes %lld update%s after the one before, "
      "number %" PetscInt_FMT " %lld; write them every so many updates or epochs, or raise -trajectory_burn_in",
      t + 1, (long long)steps, CkPlural(steps), first + 1, (long long)a->spacing);
    CkCheckAll(a->comm, fabs(time - start) <= 1e-6 * start, PETSC_ERR_ARG_INCOMP,
               "the learning rate changes after snapshot %" PetscInt_FMT " (%g a snapshot, then %g): a run is analysed "
               "where it is constant, say with -trajectory_burn_in %" PetscInt_FMT,
               t, start, time, t + 1);
  }
  CkCheckAll(a->comm, start > 0, PETSC_ERR_ARG_OUTOFRANGE,
             "time does not pass between the snapshots: a learning rate of 0?");
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode ReadWindow(CkAnalysis a)
{
  const PetscInt64 T = a->info.snapshots, n = T - a->burn_in;

  PetscFunctionBeginUser;
  CkCheckAll(a->comm, n >= CK_ANALYSIS_LEAST, PETSC_ERR_ARG_OUTOFRANGE,
             "%lld of the %lld snapshots are left after -trajectory_burn_in %" PetscInt_FMT ": at least %d are needed",
             (long long)PetscMax(0, n), (long long)T, a->burn_in, CK_ANALYSIS_LEAST);
  CkCheckAll(a->comm, n <= 2147483647 / 3, PETSC_ERR_ARG_OUTOFRANGE,
             "%lld snapshots are more than can be transformed (%d): raise -trajectory_burn_in", (long long)n,
             2147483647 / 3);
  a->n = (PetscInt)n;
  PetscCall(PetscMalloc2((size_t)T, &a->step, (size_t)T, &a->time));
  PetscCall(CkTrajectoryReadSteps(a->trajectory, a->step));
  PetscCall(CkTrajectoryReadTimes(a->trajectory, a->time));
  PetscCall(CheckSpacing(a));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Lags 0, n/lags, 2 n/lags, ..: each once. */
static PetscErrorCode MakeLags(CkAnalysis a)
{
  PetscFunctionBeginUser;
  PetscCall(PetscMalloc1(PetscMin(a->lags_wanted, a->n), &a->lag));
  for (PetscInt j = 0; j < a->lags_wanted; ++j) {
    const PetscInt h = (PetscInt)((PetscInt64)a->n * j / a->lags_wanted);

    if (a->nlags == 0 || h > a->lag[a->nlags - 1]) a->lag[a->nlags++] = h;
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkAnalysisSetFromOptions(CkAnalysis a)
{
  PetscFunctionBeginUser;
  PetscCheck(!a->step, a->comm, PETSC_ERR_ORDER, "Options are read once");
  PetscCall(ReadOptions(a));
  PetscCall(ReadWindow(a));
  PetscCall(MakeLags(a));
  PetscCall(CkAnalysisChooseDirections(a));
  CkCheckAll(a->comm, a->block < a->n, PETSC_ERR_ARG_OUTOFRANGE,
             "-trajectory_block %" PetscInt_FMT " is longer than the %" PetscInt_FMT " transitions there are", a->block,
             a->n - 1);
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkAnalysisPlan(CkAnalysis a, PetscBool print)
{
  const double series = (double)a->info.columns * (double)a->info.replicas, n = (double)a->n;
  const double bytes = CkAnalysisSweepMemory(a) + CkAnalysisDirectionsMemory(a) + CkAnalysisStationarityMemory(a);
  char         memory[32], reads[32];
  CkTable      rows;

  PetscFunctionBeginUser;
  if (!print) {
    PetscCall(CkMemoryCheck(a->comm, bytes, "the analysis",
                            "take fewer -trajectory_modes or a smaller -trajectory_slab, or raise -memory_limit"));
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  CkFormatBytes(bytes, memory);
  CkFormatBytes(series * n * (double)CkTypeSize(a->info.type), reads);
  PetscCall(CkTableCreate(a->comm, "Analysis", &rows));
  PetscCall(CkTableRow(rows, "snapshots", "", "%" PetscInt_FMT " of %lld, %lld update%s apart", a->n,
                       (long long)a->info.snapshots, (long long)a->spacing, CkPlural(a->spacing)));
  PetscCall(CkTableRow(rows, "series", "columns times replicas", "%.0f", series));
  PetscCall(CkTableRow(rows, "directions", CkDirectionsName(a->kind), "%" PetscInt_FMT, a->k));
  PetscCall(CkTableRow(rows, "reads", "once", "%s", reads));
  PetscCall(CkTableRow(rows, "operations", "transforms, 2.5 n log2 n each", "%.3g", series * 12.5 * n * log2(n)));
  PetscCall(CkTableRow(rows, "slab", "columns that a rank has in memory", "%" PetscInt_FMT,
                       CkAnalysisSlab(a) * CK_ANALYSIS_GROUP));
  PetscCall(CkTableRow(rows, "memory", "", "about %s a rank", memory));
  PetscCall(CkTableDestroy(&rows));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkAnalysisRun(CkAnalysis a)
{
  const double start = MPI_Wtime();

  PetscFunctionBeginUser;
  PetscCheck(a->step && !a->done, a->comm, PETSC_ERR_ORDER, "Call CkAnalysisSetFromOptions() first, and this once");
  PetscCall(CkAnalysisPlan(a, PETSC_FALSE));
  PetscCall(CkAnalysisMakeDirections(a));
  PetscCall(CkAnalysisSweep(a));
  PetscCall(CkAnalysisCurrent(a));
  PetscCall(CkAnalysisScalars(a));
  PetscCall(CkAnalysisStationarity(a));
  a->seconds = MPI_Wtime() - start;
  a->done = PETSC_TRUE;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkAnalysisDestroy(CkAnalysis *analysis)
{
  CkAnalysis a = *analysis;

  PetscFunctionBeginUser;
  if (!a) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(PetscFree2(a->step, a->time));
  PetscCall(PetscFree(a->lag));
  PetscCall(PetscFree(a->U));
  PetscCall(PetscFree(a->D));
  PetscCall(PetscFree(a->H));
  PetscCall(PetscFree(a->value));
  PetscCall(PetscFree2(a->amplitude, a->amplitude_std));
  PetscCall(PetscFree(a->band));
  PetscCall(PetscFree(a->band_quantiles));
  PetscCall(PetscFree5(a->r, a->r_std, a->quantiles, a->outside95, a->outside99));
  PetscCall(PetscFree(a->y));
  PetscCall(PetscFree2(a->scalars.norm, a->scalars.smooth));
  PetscCall(PetscFree(a->A_expected));
  PetscCall(PetscFree(a->rotation_expected));
  PetscCall(CkBlockAreasDestroy(&a->blocks));
  PetscCall(CkCirculationDestroy(&a->circulation));
  PetscCall(PetscFree(*analysis));
  PetscFunctionReturn(PETSC_SUCCESS);
}
