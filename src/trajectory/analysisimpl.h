#pragma once
#include "circulation.h"
#include "prediction.h"
#include <clarkia/analysis.h>
#include <clarkia/progress.h>

/* analysisimpl.h: the parts of an analysis. analysis.c: options and frame; analysis_columns.c: the sweep over columns;
   analysis_directions.c: directions and matrices in them; analysis_current.c: circulation and what theory expects;
   analysis_scalars.c: numbers of the snapshots; analysis_stationarity.c: (M.4) in them; analysis_report.c,
   analysis_write.c: table and file. */

enum {
  CK_ANALYSIS_GROUP = 32,  /* columns whose sums are added first: part of what the bits depend on */
  CK_ANALYSIS_BINS = 2000, /* of autocorrelations in -1 .. 1, for quantiles */
  CK_ANALYSIS_QUANTILES = 5,
  CK_ANALYSIS_BANDS = 100, /* of frequencies, at most */
  CK_ANALYSIS_BLOCKS = 16, /* for the drift of a column's mean */
  CK_ANALYSIS_LEAST = 32   /* snapshots after the burn-in */
};
extern const double ck_analysis_quantiles[CK_ANALYSIS_QUANTILES];

typedef enum {
  CK_DIRECTIONS_AUTO,
  CK_DIRECTIONS_SPECTRUM,
  CK_DIRECTIONS_RECORDED,
  CK_DIRECTIONS_RANDOM,
  CK_DIRECTIONS_COORDINATES
} CkDirectionsKind;
const char *CkDirectionsName(CkDirectionsKind kind);

typedef enum {
  CK_VERDICT_YES,
  CK_VERDICT_NO,
  CK_VERDICT_SHORT,
  CK_VERDICT_DRIFT,
  CK_VERDICT_SINGULAR, /* directions that are not independent */
  CK_VERDICT_NONE      /* a single direction */
} CkVerdictKind;

typedef struct {
  PetscInt64 series, constant, drifting; /* columns times replicas; that never move; whose halves differ at 1% */
  double     white_level;                /* mean of sigma sqrt(pi (n-1))/2 over the series */
  double     low, high; /* mean amplitude of the lowest and the highest tenth of the frequencies, over that level */
  double     drift;     /* mean over the series of |difference of halves| / deviation of the series */
  PetscInt   bound95, bound99;   /* lags outside that white positions surpass with probability 1% */
  double     beyond95, beyond99; /* share of the series that do */
  double     share95, share99;   /* lags outside the bands, share of all lags >= 1 and series */
} CkColumnStatistics;

typedef struct {
  PetscBool measured[CK_SCALARS];
  double *norm, *smooth; /* [all snapshots] |grad f|/sqrt(d), mean over replicas, and its moving average; NULL: none */
  double  first, last;   /* mean over the first and last tenth of the window of what is measured */
} CkScalarStatistics;

typedef enum {
  CK_STATIONARITY_YES, /* no difference from (M.4) is seen */
  CK_STATIONARITY_NO,
  CK_STATIONARITY_SHORT,
  CK_STATIONARITY_REFUSED /* (M.4) does not hold for the process, or something was not measured: why */
} CkStationarityKind;

typedef struct {
  CkStationarityKind kind;
  char               why[160];
  PetscInt           blocks;
  double             ratio, error; /* (V.11), and its standard error by the block bootstrap; NaN where refused */
  double             p;            /* of so large a difference from 1 in a stationary process; NaN without a verdict */
} CkStationarity;

struct _p_CkAnalysis {
  MPI_Comm         comm;
  CkTrajectory     trajectory;
  CkTrajectoryInfo info;

  /* Options. */
  PetscInt         burn_in, lags_wanted, modes, draws, block, slab;
  double           level, span;
  CkDirectionsKind asked, kind;
  char             spectrum[PETSC_MAX_PATH_LEN], hessian[PETSC_MAX_PATH_LEN];
  uint64_t         seed;

  /* The window: snapshots burn_in .. burn_in + n - 1. */
  PetscInt    n;
  PetscInt64 *step; /* [all snapshots] */
  double     *time;
  PetscInt64  spacing; /* updates between snapshots */
  double      dt;

  /* Directions: k rows over the columns. */
  PetscInt k;
  double  *U;             /* [k x columns] */
  double  *D, *H, *value; /* [k x k] in the directions, or NULL; [k] eigenvalues of the spectrum's vectors, or NULL */
  double   retained;      /* share of tr D in the spectrum file's pairs */

  /* Results. */
  PetscInt           frequencies, nlags;
  PetscInt          *lag;                       /* [nlags] */
  double            *amplitude, *amplitude_std; /* [frequencies] */
  PetscInt           nbands, *band;             /* [nbands + 1] frequencies at which bands begin */
  double            *band_quantiles; /* [nbands x CK_ANALYSIS_QUANTILES] of the series' mean amplitude in a band */
  double            *r, *r_std, *quantiles; /* [nlags], [nlags], [nlags x CK_ANALYSIS_QUANTILES] */
  double            *outside95, *outside99; /* [nlags] share of the series that move */
  double            *y;                     /* [n x replicas x k] */
  CkColumnStatistics columns;
  CkScalarStatistics scalars;
  CkStationarity     stationarity;
  CkBlockAreas       blocks;
  CkCirculation      circulation;        /* where the verdict is yes, no or drift */
  PetscBool          expected, stable;   /* A_expected is there */
  double            *A_expected;         /* [k x k] (V.9) */
  double            *rotation_expected;  /* [k / 2] (V.5) of it */
  char               from[96];           /* what it was made from, or why it was not */
  double             slope, correlation; /* of measured against expected, over pairs */
  CkVerdictKind      verdict;
  char               why[256]; /* no verdict is given, and what to do; else "" */
  double             seconds;
  PetscBool          done;
};

PetscErrorCode CkAnalysisChooseDirections(CkAnalysis a); /* kind and k; reads headers only */
PetscErrorCode CkAnalysisMakeDirections(CkAnalysis a);   /* U, D, H, value */
double         CkAnalysisDirectionsMemory(CkAnalysis a);
PetscErrorCode CkAnalysisSweep(CkAnalysis a);
double         CkAnalysisSweepMemory(CkAnalysis a);
PetscInt       CkAnalysisSlab(CkAnalysis a); /* groups of a slab */
PetscErrorCode CkAnalysisCurrent(CkAnalysis a);
PetscErrorCode CkAnalysisScalars(CkAnalysis a);
PetscErrorCode CkAnalysisStationarity(CkAnalysis a);
double         CkAnalysisStationarityMemory(CkAnalysis a);
/* Whether the process is a Markov chain in x alone, as (V.8) wants; else why not. */
PetscBool CkAnalysisIsMarkov(CkAnalysis a, const char **why);
