#pragma once
#include <clarkia/diffusion.h>
#include <clarkia/file.h>

/*
  CkSpectrum: eigenvalues of D by routes that check each other, with statistics.
    dense  - D assembled, d x d, ScaLAPACK or ELPA: all d eigenvalues
    gram   - N x N Gram matrix: the min(d, N - 1) eigenvalues that can be non-zero (second moment: min(d, N))
    krylov - SLEPc, without any matrix: the leading -spectrum_nev, at most as many as the gram route gives, by a block
             solver in weight space (vectors of length d, products with D) or in sample space (length N, with K)
    density - stochastic Lanczos quadrature, without any matrix: density and counts of all eigenvalues with standard
             errors, and the largest eigenvalue (CkSpectrumGetDensity()); never taken by auto
  auto: the smaller complete one (dense if d <= N, else gram) if it fits the memory limit, else krylov.
  A route is one file and one line in spectrum_methods.c. Calls are collective on the loss's communicator.
*/
typedef struct _p_CkSpectrum *CkSpectrum;

typedef enum {
  CK_SPECTRUM_AUTO,
  CK_SPECTRUM_DENSE,
  CK_SPECTRUM_GRAM,
  CK_SPECTRUM_KRYLOV,
  CK_SPECTRUM_DENSITY
} CkSpectrumMethod;

/* A rank that the computed eigenvalues do not determine: all of them lie above the threshold, and there are more. */
#define CK_RANK_UNKNOWN (-1)

/* Theory: docs/theory.md, section "Statistics of the spectrum". Implicit zeros count in everything "over d". What needs
   all non-zero eigenvalues is NaN where complete is false; -spectrum_frobenius exact makes frobenius, std and
   participation_ratio known all the same. */
typedef struct {
  PetscInt  n; /* eigenvalues computed */
  PetscInt  dimension, samples;
  PetscBool complete; /* all that can be non-zero are among them */
  double    trace;    /* of D, from an independent pass over the data */
  double    frobenius, lambda_max;
  double    threshold_float32, threshold_float64, threshold_gram32,
    threshold_1e3; /* lambda_max * (d eps32, d eps64, min(d,N) eps32, 1e-3) */
  PetscInt rank_float32, rank_float64, rank_gram32, rank_1e3; /* eigenvalues above; CK_RANK_UNKNOWN */
  double   mean, std;                 /* over all d, true; std with 1/d. Not complete: mean = trace/d */
  double   clipped_mean, clipped_std; /* of eigenvalues clipped from below at threshold_float32, eq. (T.4) */
  double   participation_ratio;       /* (sum lambda)^2 / sum lambda^2; 0 for D = 0 */
  double   stable_rank;               /* trace / lambda_max; 0 for D = 0 */
  double   score;                     /* rank/d + var(lambda), rank_gram32 when d eps32 > 0.01 else rank_float32 */
  double   passes, seconds;           /* set by CkSpectrumSolve() */
  double   sweeps;                    /* over gradients kept in memory; likewise */
} CkSpectrumStatistics;

/* Pure function of n >= 1 descending eigenvalues and the trace; tested on its own. bound: the greatest rank the matrix
 * can have, which no rank exceeds; complete is n >= bound, the other dimension - n eigenvalues then being 0. passes,
 * seconds and sweeps are set to 0. PETSC_ERR_ARG_WRONG: not finite or not descending. Not collective. */
PetscErrorCode CkSpectrumComputeStatistics(PetscInt n, const double values[], PetscInt dimension, PetscInt samples,
                                           PetscInt bound, double trace, CkSpectrumStatistics *statistics);

/* What |D|_F^2 alone gives beside the trace, where not all eigenvalues are known: frobenius, std, participation_ratio.
 * Not collective. */
void CkSpectrumStatisticsSetSquare(CkSpectrumStatistics *statistics, double square);

#define CK_DENSITY_RANKS 4
/*
  Estimates from -spectrum_probes random vectors; docs/theory.md, section "Spectral density". Every `_error` is the
  standard error over the probes. Ranks stand in the order float32, float64, gram32, 1e-3.
*/
typedef struct {
  PetscInt  order;           /* of the matrix of the recurrences: d, in sample space N */
  PetscInt  probes, steps;   /* steps: most nodes of a probe */
  PetscInt *taken;           /* [probes] nodes of each */
  double   *nodes, *weights; /* [probes x steps], nodes descending; 0 behind the taken ones */
  PetscInt  points;
  double   *grid, *density, *density_error;                       /* [points] eigenvalue; eigenvalues per decade */
  double    trace, trace_error, square, square_error;             /* tr D, tr D^2 */
  double    threshold[CK_DENSITY_RANKS];                          /* those of CkSpectrumStatistics */
  double    rank[CK_DENSITY_RANKS], rank_error[CK_DENSITY_RANKS]; /* eigenvalues above */
  double    rank_lower[CK_DENSITY_RANKS], rank_upper[CK_DENSITY_RANKS]; /* what any rule of these steps leaves */
} CkSpectrumDensity;

/*
  Parts of D (-noise_group); docs/theory.md, section "Parts of D". layer, tensor: the diagonal blocks of D that belong
  to one layer or tensor of the net. class: D itself, its within- and between-class parts, and the D_c of each class.
*/
typedef enum { CK_GROUP_NONE, CK_GROUP_LAYER, CK_GROUP_TENSOR, CK_GROUP_CLASS } CkGroupKind;

typedef struct {
  char                 name[128];  /* "within", "class 3 (Dress)", "layer1.0.conv1" */
  double               share;      /* of tr D; of a class: its p_c tr D_c over tr D */
  double               weight;     /* of a class: p_c, samples of the class / N; else 1 */
  double              *values;     /* [statistics.n] all that can be non-zero, descending; NULL of an empty class */
  CkSpectrumStatistics statistics; /* of this part, samples: those it is of; zero of an empty class */
} CkSpectrumGroup;

/* Subspaces of weight space against each other; theory.md, (H.6) and (H.7). */
typedef struct {
  PetscInt n;              /* subspaces */
  PetscInt most;           /* the largest dimension */
  char (*name)[128];       /* [n] */
  PetscInt *dimension;     /* [n] */
  double   *overlap;       /* [n x n] |U_a'U_b|_F^2 / min(dimensions), 0 where one has none */
  double   *angle;         /* [n x n x most] principal angles, degrees, ascending; NaN behind the last */
  double    orthogonality; /* largest entry of U_a'U_a - 1, over what rounding explains */
} CkSubspaces;

/* Keys on the command line or in a file that this route does not heed: an error where it was asked for, else a warning.
 */
PetscErrorCode CkSpectrumCheckKeys(MPI_Comm comm, CkSpectrumMethod method, PetscBool asked);

PetscErrorCode CkSpectrumCreate(CkDiffusion D, CkSpectrum *spectrum); /* D is borrowed */
/* -spectrum_method, _solver, _nev, _vectors, _residuals, _check, _partial; for krylov _krylov, _keep, _frobenius,
   _start, _checkpoint, _checkpoint_interval, -max_seconds and -eps_* (SLEPc); for density _probes, _steps, _width,
   _krylov, _keep, _frobenius */
PetscErrorCode CkSpectrumSetFromOptions(CkSpectrum spectrum);
PetscErrorCode CkSpectrumSetMethod(CkSpectrum spectrum, CkSpectrumMethod method);
/* Eigenvectors to compute: the k leading ones, or CK_SPECTRUM_ALL. */
#define CK_SPECTRUM_ALL (-1)
PetscErrorCode CkSpectrumSetVectors(CkSpectrum spectrum, PetscInt k);
/* krylov: the next solve starts from these k vectors (borrowed until then; 0: none), before -spectrum_start. */
PetscErrorCode CkSpectrumSetStart(CkSpectrum spectrum, PetscInt k, const Vec vectors[]);
/* How many spectra will be solved whose eigenvectors are all kept, for the plan; 1 unless told. */
PetscErrorCode CkSpectrumSetSeries(CkSpectrum spectrum, PetscInt spectra);
/* What the table and the file say about the weights and the samples ("Fashion-MNIST train, images 0-3999"); copied. */
PetscErrorCode CkSpectrumSetDescription(CkSpectrum spectrum, const char weights[], const char samples[]);
/* Checksums as they stand in the result file; a checkpoint is refused where they differ. Copied. */
PetscErrorCode CkSpectrumSetChecksums(CkSpectrum spectrum, const char weights[], const char data[]);
/* Class of each sample, for -noise_group class: labels [N] below `classes`, the same on all ranks; names [classes] or
 * NULL, as each of them; copied. */
PetscErrorCode CkSpectrumSetClasses(CkSpectrum spectrum, PetscInt classes, const PetscInt labels[],
                                    const char *const names[]);
/* Bytes per rank that the samples take (CkDataMemory()), for the plan; 0 if never told. */
PetscErrorCode CkSpectrumSetDataMemory(CkSpectrum spectrum, double bytes_per_rank);
PetscErrorCode CkSpectrumRegisterOptions(void);
/* Method, memory per rank, operations, passes for given sizes: what -dry_run prints and what auto and the memory check
 * use. Touches no data. PETSC_ERR_ARG_SIZ: one sample, whose D is 0. */
PetscErrorCode CkSpectrumPlan(CkSpectrum spectrum, PetscBool print);
/*
  CkSpectrumSolve - Plans, checks the memory, solves and checks itself.

  Self-checks (-spectrum_check false leaves them out), each with its bound in the table and in the file; one that fails
  is an error: trace of the assembled matrix and sum of the eigenvalues against the trace from an independent pass; sum
  of the eigenvalues and of their squares against the assembled matrix; no eigenvalue below zero; the leading
  eigenvalues against those of a Krylov solver; |D v - lambda v|_2 / lambda_max with D v from the data.
  Errors: PETSC_ERR_CONV_FAILED (a check, or SLEPc not converged without -spectrum_partial), PETSC_ERR_MEM (limit),
  PETSC_ERR_SUP (eigenvectors from ELPA), PETSC_ERR_ARG_OUTOFRANGE (more pairs asked for than there are),
  PETSC_ERR_ARG_INCOMP (a checkpoint of another problem), CK_ERR_REQUEUE of interrupt.h (stopped by a signal or by
  -max_seconds; the checkpoint is written)
*/
PetscErrorCode CkSpectrumSolve(CkSpectrum spectrum);
PetscErrorCode CkSpectrumGetMethod(CkSpectrum spectrum, CkSpectrumMethod *method);
/* n eigenvalues, descending, and residuals [n], NaN where none was computed; borrowed, same on every rank. */
PetscErrorCode CkSpectrumGetValues(CkSpectrum spectrum, PetscInt *n, const double **values, const double **residuals);
/* The k leading eigenvectors, orthonormal, largest entry positive; borrowed. */
PetscErrorCode CkSpectrumGetVectors(CkSpectrum spectrum, PetscInt *k, const Vec **vectors);
PetscErrorCode CkSpectrumGetStatistics(CkSpectrum spectrum, CkSpectrumStatistics *statistics);
/* The score rank/d + variance of the eigenvalues, (T.6), with the rank that it counts (decision 12); by the route
 * density an estimate with its standard error, else error = 0. User error where all non-zero eigenvalues are not known.
 */
typedef struct {
  double score, error, rank, variance;
} CkSpectrumScore;
PetscErrorCode CkSpectrumGetScore(CkSpectrum spectrum, CkSpectrumScore *score);
/* User error unless the method planned (CkSpectrumPlan()) gives a score. */
PetscErrorCode CkSpectrumCheckScore(CkSpectrum spectrum);
/* Of the route density (user error for another); borrowed, the same bits on every rank and any number of ranks. */
PetscErrorCode CkSpectrumGetDensity(CkSpectrum spectrum, const CkSpectrumDensity **density);
/* The parts of -noise_group, in the order of the table (n = 0: none asked for); the leading subspaces of those of
 * class, at most -noise_group_vectors vectors each, else NULL. Borrowed, the same on every rank. */
PetscErrorCode CkSpectrumGetGroups(CkSpectrum spectrum, PetscInt *n, const CkSpectrumGroup **groups,
                                   const CkSubspaces **subspaces);
PetscErrorCode CkSpectrumView(CkSpectrum spectrum);               /* the summary table */
PetscErrorCode CkSpectrumWrite(CkSpectrum spectrum, CkFile file); /* datasets and attributes of docs/formats.md */
/* Eigenvalues, residuals and attributes alone, in a folder of the file ("/spectra/3"), for several in one file. */
PetscErrorCode CkSpectrumWriteIn(CkSpectrum spectrum, CkFile file, const char path[]);
PetscErrorCode CkSpectrumDestroy(CkSpectrum *spectrum);

/*
  CkSpectrumSeries: spectra of one loss at several points, one after the other by the same CkSpectrum (borrowed):
  distances between them and overlaps of their leading eigenspaces; docs/theory.md, (H.7) to (H.9). Collective.
*/
typedef struct _p_CkSpectrumSeries *CkSpectrumSeries;
PetscErrorCode                      CkSpectrumSeriesCreate(CkSpectrum spectrum, CkSpectrumSeries *series);
/* The spectrum as it has just been solved; values and vectors are copied. name: for tables ("epoch-10.h5"). */
PetscErrorCode CkSpectrumSeriesAdd(CkSpectrumSeries series, const char name[]);
/* The eigenvectors of the last one added; borrowed. */
PetscErrorCode CkSpectrumSeriesGetLast(CkSpectrumSeries series, PetscInt *k, const Vec **vectors);
/* All pairs; after the last CkSpectrumSeriesAdd(). */
PetscErrorCode CkSpectrumSeriesCompare(CkSpectrumSeries series);
/* n spectra; distance, shape [n x n], (H.8) and (H.9); subspaces NULL where no vectors were computed; borrowed. */
PetscErrorCode CkSpectrumSeriesGet(CkSpectrumSeries series, PetscInt *n, const double **distance, const double **shape,
                                   const CkSubspaces **subspaces);
PetscErrorCode CkSpectrumSeriesView(CkSpectrumSeries series);
PetscErrorCode CkSpectrumSeriesWrite(CkSpectrumSeries series, CkFile file);
PetscErrorCode CkSpectrumSeriesDestroy(CkSpectrumSeries *series);
