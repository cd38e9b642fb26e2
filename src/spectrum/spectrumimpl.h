#pragma once
#include <clarkia/progress.h>
#include <clarkia/spectrum.h>
#include <slepceps.h>

/* Private to src/spectrum: the object, its routes, its checks. */

/* A self-check: |measured| must not exceed the bound. */
typedef struct {
  const char *name;
  double      measured, bound;
} CkSpectrumCheck;

#define CK_SPECTRUM_CHECKS 16
typedef struct {
  PetscInt        n;
  CkSpectrumCheck list[CK_SPECTRUM_CHECKS];
} CkSpectrumChecks;

/* Costs of one route for given sizes; bytes are per rank, operations those of all ranks. */
typedef struct {
  PetscInt  order;   /* of the eigenproblem */
  PetscInt  values;  /* eigenvalues it gives */
  double    matrix;  /* assembled matrix, or Krylov basis */
  double    work;    /* eigensolver, eigenvectors included while it runs */
  double    vectors; /* eigenvectors of D that are kept, or the leading ones of the residual check */
  double    stream;  /* passes over the data: stored gradients, accumulators, tiles */
  double    apart;   /* of work and stream: never there at the same time */
  double    norm;    /* before all this: |D|_F */
  PetscInt  panels;  /* of samples, likewise */
  double    passes;
  PetscBool at_least; /* passes and operations are a lower bound: the number of iterations is not known before */
  double    gradient, assembly, solve;
} CkSpectrumEstimate;

typedef struct {
  const char      *name;
  CkSpectrumMethod method;
  PetscErrorCode (*estimate)(CkSpectrum, CkSpectrumEstimate *); /* not collective */
  PetscErrorCode (*solve)(CkSpectrum);                          /* sets n, values, residuals, vectors, checks */
  const char *solver;                           /* of a route without a matrix; NULL: ScaLAPACK or ELPA */
  PetscErrorCode (*ranks)(CkSpectrum, CkTable); /* rows of the table in place of those of counted ranks; or NULL */
  PetscErrorCode (*write)(CkSpectrum, CkFile);  /* what the file has besides; or NULL */
} CkSpectrumRoute;

extern const CkSpectrumRoute ck_spectrum_dense, ck_spectrum_gram, ck_spectrum_krylov, ck_spectrum_density;

typedef enum {
  CK_PHASE_TRACE,
  CK_PHASE_FROBENIUS,
  CK_PHASE_ASSEMBLE,
  CK_PHASE_SOLVE,
  CK_PHASE_CHECK,
  CK_PHASE_VECTORS,
  CK_PHASE_GROUPS,
  CK_PHASE_COUNT
} CkSpectrumPhase;

/* Krylov and density routes: vectors of length d and D, or of length N and K. */
typedef enum { CK_KRYLOV_AUTO, CK_KRYLOV_WEIGHT, CK_KRYLOV_SAMPLE } CkKrylovForm;
typedef enum { CK_KEEP_AUTO, CK_KEEP_YES, CK_KEEP_NO } CkKrylovKeep;

typedef struct {
  CkKrylovForm form;
  PetscBool    keep;                               /* sample space: gradients stay in memory */
  PetscBool    blocks;                             /* the block solver, not another of SLEPc's */
  PetscInt     n;                                  /* order */
  PetscInt     nev, ncv, block;                    /* pairs, basis before a restart, vectors of a product */
  double       basis, work, stream, kept, vectors; /* bytes per rank */
  double       step, load, column;                 /* operations: see krylov_plan.c */
  char         reason[224];
} CkKrylovPlan;

/* Eigenvalues below this part of the largest count as zero where the eigenvector of D is had from one of K: (G.2) would
   lose half of its digits there, and any vector orthogonal to the others is as good. */
#define CK_NULL_VALUE 1e-10

/* A layer or tensor: consecutive weights. */
typedef struct {
  char     name[128];
  PetscInt size;
} CkGroupLayer;

/* -noise_group: groups.c, groups_class.c, groups_layer.c, groups_report.c */
typedef struct {
  CkGroupKind kind;
  PetscInt    vectors;                    /* leading eigenvectors of each part, for the angles */
  PetscInt    classes, *labels, *members; /* labels [N], members [classes]; NULL where not told */
  char (*class_name)[64];                 /* [classes] "" where there is none */
  PetscInt         n;
  CkSpectrumGroup *list;      /* [n] */
  CkSubspaces      subspaces; /* n = 0: none */
} CkGroups;

struct _p_CkSpectrum {
  MPI_Comm         comm;
  CkDiffusion      D; /* borrowed, as the loss */
  CkLoss           loss;
  PetscInt         d, N;
  CkSpectrumMethod asked, method; /* method: never AUTO once planned */
  char             reason[256];   /* why this method */
  CkEigenSolver    solver;
  PetscBool        solver_asked;
  PetscInt         nev;       /* krylov: pairs wanted */
  PetscInt         wanted;    /* eigenvectors wanted, or CK_SPECTRUM_ALL */
  PetscInt         residuals; /* leading pairs with a residual in a run without eigenvectors */
  PetscBool        check, partial;
  PetscBool        frobenius; /* |D|_F is wanted of the routes without a matrix */
  double           precision; /* relative accuracy of the gradients: bound of all comparisons with the data */
  CkGramForm       form;      /* of the products of the Gram matrix */
  char             weights[256], samples[256];
  char             weights_checksum[32], data_checksum[32]; /* "" where not told */

  CkKrylovForm form_asked;
  CkKrylovKeep keep_asked;
  CkKrylovPlan krylov;
  char         start[PETSC_MAX_PATH_LEN], checkpoint[PETSC_MAX_PATH_LEN];
  double       checkpoint_interval;
  PetscInt     nstart; /* vectors to start from, borrowed */
  const Vec   *start_vectors;
  PetscInt     series;        /* spectra whose eigenvectors are kept */
  PetscInt     probes, steps; /* density */
  double       width;         /* of a node in the smoothed density, decades */
  PetscInt     seed;
  double       earlier_passes, earlier_sweeps; /* of the run whose checkpoint this one goes on from */

  CkGroups             groups;
  CkSpectrumEstimate   estimate;
  double               data_bytes, fixed; /* bytes per rank besides: samples; samples, engine, point */
  PetscBool            solved;
  PetscInt             n, nvectors;
  double              *values, *residual; /* [n] */
  Vec                 *vectors;           /* [nvectors] */
  double               square;            /* |D|_F^2 by its own computation; NaN: none */
  double               trace, scale;      /* scale: what the rounding errors of the trace are relative to */
  PetscBool            traced;            /* they are independent; gram, before: those of the matrix */
  CkSpectrumChecks     checks;
  CkSpectrumDensity    density; /* of the route of that name; else zero */
  CkSpectrumStatistics statistics;
  double               seconds[CK_PHASE_COUNT], clock;
  double               passes[CK_PHASE_COUNT], passed; /* over the data, as the time */
  CkSpectrumPhase      phase;
};

/* spectrum_methods.c */
const CkSpectrumRoute *CkSpectrumRouteFind(CkSpectrumMethod method);
const char            *CkSpectrumMethodName(CkSpectrumMethod method);
/* "scalapack", "elpa", or that of a route without a matrix; of the planned method. */
const char *CkSpectrumSolverName(CkSpectrum s);
PetscBool   CkSpectrumMatrixFree(CkSpectrum s);

/* spectrum.c */
/* Ends the running phase (if any) and starts the next one; CK_PHASE_COUNT: none. */
PetscErrorCode CkSpectrumPhaseBegin(CkSpectrum s, CkSpectrumPhase phase);
/* trace and scale from squared norms, once a solve: by a pass where the norms of the point are not known yet. */
PetscErrorCode CkSpectrumIndependentTrace(CkSpectrum s);
/* min(d, N - 1), as centring takes one dimension; min(d, N) for the second moment. Whatever is above is zero. */
PetscInt CkSpectrumMaximalRank(CkSpectrum s);

/* plan.c */
/* Bound of what products in single precision change in the eigenvalues, eq. (G.8); 0 where there are none. Needs the
   trace. */
double CkSpectrumProductNoise(CkSpectrum s);
/* The same for a matrix of that trace. */
double CkProductNoise(CkPrecision products, double trace);
/* What errors of eigenvalues, `accuracy` in units of lambda_max, and those of products make of the difference between
   a sum of their squares and |D|_F^2, over lambda_max^2. Needs values, trace and square. */
double CkSpectrumSquareBound(CkSpectrum s, double accuracy);
/* Bytes per rank of a route, with what every route needs. */
double CkSpectrumTotalMemory(CkSpectrum s, const CkSpectrumEstimate *e);
/* Floating-point operations of one gradient, its row, and one column of a product with D; 0 for landscapes. */
PetscErrorCode CkSpectrumGradientCost(CkSpectrum s, double *load, double *row, double *column);
/* Eigenvectors wanted, as a number, for a route that gives `values` pairs. */
PetscInt CkSpectrumVectorCount(CkSpectrum s, PetscInt values);

/* report.c */
/* Which part of the spectrum n eigenvalues are, "all that can be non-zero, N - 1"; static. */
const char *CkSpectrumValuesNote(CkSpectrum s, PetscInt n);
/* The table's row about the products of the Gram matrix. */
PetscErrorCode CkSpectrumProductRow(CkSpectrum s, CkTable table);

/* assembled.c: what dense and gram share. Maps m unit eigenvectors U [m x order] of the assembled matrix, with their
   eigenvalues, to vectors of D. */
typedef PetscErrorCode (*CkSpectrumMap)(CkSpectrum s, PetscInt m, const double U[], const double lambda[], Vec V[]);
/* All eigenvalues of A (destroyed), the wanted vectors, residuals and checks. */
PetscErrorCode CkSpectrumSolveAssembled(CkSpectrum s, CkBlockMatrix *A, CkSpectrumMap map);
/* Memory and operations of the eigenproblem of an assembled matrix of the estimate's order; passes of the checks. */
PetscErrorCode CkSpectrumEstimateAssembled(CkSpectrum s, PetscBool gram, CkSpectrumEstimate *e);

/* Below this an eigenvector of a Gram matrix of that order does not give one of D. */
double CkSpectrumVectorFloor(CkSpectrum s, PetscInt order, double lambda_max);
/* Rounding errors of the entries of an assembled matrix of that order, without those of products in single precision.
 */
double CkSpectrumAssemblyNoise(CkSpectrum s, PetscInt order);

/* groups.c */
PetscErrorCode CkGroupsRegisterOptions(void);
PetscErrorCode CkGroupsSetFromOptions(CkSpectrum s);
/* What is not the method's own business: the net's layers or the classes are there. User error. */
PetscErrorCode CkGroupsCheck(CkSpectrum s);
/* Adds to the costs of a route. */
PetscErrorCode CkGroupsEstimate(CkSpectrum s, CkSpectrumEstimate *e);
PetscErrorCode CkGroupsClear(CkSpectrum s);   /* results */
PetscErrorCode CkGroupsDestroy(CkSpectrum s); /* classes as well */
const char    *CkGroupKindName(CkGroupKind kind);
/* Of a part: the samples it is of, weights, its greatest rank. */
typedef struct {
  PetscInt samples, dimension, rank;
  double   scale, noise;
} CkGroupSizes;
/* Room for n parts. */
PetscErrorCode CkGroupsAllocate(CkSpectrum s, PetscInt n);
/* Part number `slot` from its eigenvalues, max(1, rank) of them; NULL: an empty part. */
PetscErrorCode CkGroupsSetValues(CkSpectrum s, PetscInt slot, const double values[], double trace,
                                 const CkGroupSizes *sizes);
/* The same from a matrix (destroyed), whose eigenvalues times `scale` they are, with checks; noise: what rounding has
   done to the matrix's eigenvalues. */
PetscErrorCode CkGroupsSetMatrix(CkSpectrum s, PetscInt slot, CkBlockMatrix *A, const CkGroupSizes *sizes);
/* groups_class.c: from the Gram matrix, which is left as it is. */
PetscErrorCode CkGroupsSolveClasses(CkSpectrum s, CkBlockMatrix K);
/* groups_layer.c: from the data; layers [n]: names and weights, in the order of x (from PetscMalloc). */
PetscErrorCode CkGroupsGetLayers(CkSpectrum s, PetscInt *n, CkGroupLayer **layers);
PetscErrorCode CkGroupsSolveLayers(CkSpectrum s);
/* groups_report.c */
PetscErrorCode CkGroupsView(CkSpectrum s);
PetscErrorCode CkGroupsWrite(CkSpectrum s, CkFile file);
/* write.c: statistics as attributes of `path`. */
PetscErrorCode CkSpectrumWriteStatistics(CkFile file, const char path[], const CkSpectrumStatistics *t);

/* subspaces.c */
/* From products of all vectors, [m x m] with the vectors of a space one after the other: names and dimensions are set.
   tolerance [m]: what rounding makes of products with vector i. */
PetscErrorCode CkSubspacesCreate(PetscInt n, CkSubspaces *spaces);
PetscErrorCode CkSubspacesCompute(CkSubspaces *spaces, const double products[], const double tolerance[]);
PetscErrorCode CkSubspacesView(MPI_Comm comm, const CkSubspaces *spaces, const char what[]);
PetscErrorCode CkSubspacesWrite(const CkSubspaces *spaces, CkFile file);
PetscErrorCode CkSubspacesDestroy(CkSubspaces *spaces);

/* krylov_plan.c: "weight", "sample" */
const char *CkKrylovFormName(CkKrylovForm form);
/* Buffers of products with plan->block vectors, whether gradients are kept, and vectors of D (nev), from form, block
   and nev. */
PetscErrorCode CkKrylovPlanBuffers(CkSpectrum s, CkKrylovPlan *plan);

/* density.c */
PetscErrorCode CkDensityDestroy(CkSpectrumDensity *density);

/* leading.c: SLEPc with what all our uses share: start vector and basis type. */
/* Vectors in the Krylov basis for nev pairs of order n (without the last one). */
PetscInt CkKrylovBasisSize(PetscInt n, PetscInt nev);
/* BV type without 32-bit overflow: "svec" (one Vec of n (ncv + 1) numbers), "mat" (local array) or "vecs". */
const char *CkKrylovBasisType(PetscInt64 n, PetscInt64 nlocal, PetscInt64 ncv);
/* The BV type, and a start vector that is a function of `step` alone, the same on any number of ranks. */
PetscErrorCode CkKrylovSetBasis(EPS eps, Mat A, PetscInt ncv, PetscInt step);
/* A Krylov-Schur EPS for the nev largest eigenvalues of symmetric A; the start vector is a function of `step` alone. */
PetscErrorCode CkKrylovCreate(Mat A, PetscInt nev, PetscInt step, EPS *eps);
/* The m leading eigenpairs of A: lambda [m], U [m x n] on every rank (from PetscMalloc). A keeps its contents. */
PetscErrorCode CkSpectrumLeading(CkBlockMatrix A, MPI_Comm comm, PetscInt m, double lambda[], double **U);

/* residuals.c */
PetscErrorCode CkSpectrumCreateVectors(CkSpectrum s, PetscInt m, Vec **V);
PetscErrorCode CkSpectrumDestroyVectors(PetscInt m, Vec **V);
/* Unit length, largest entry positive, the same bits on any number of ranks. norms (may be NULL): lengths before. */
PetscErrorCode CkSpectrumNormalize(CkSpectrum s, PetscInt m, Vec V[], double norms[]);
/* residual[j] = |D v_j - lambda_j v_j|_2 / lambda_max by block products with D from the data. */
PetscErrorCode CkSpectrumResiduals(CkSpectrum s, PetscInt m, const Vec V[], const double lambda[], double lambda_max,
                                   double residual[]);
/* What rounding in the gradients may do to a residual: D v = (1/N) sum g g'v - gbar gbar'v cancels where the mean
   gradient is larger than what varies. Needs the values. */
double CkSpectrumResidualBound(CkSpectrum s);
/* Columns of one block product of CkSpectrumResiduals(). */
#define CK_RESIDUAL_GROUP 64

/* checks.c: pure functions of numbers that are the same on all ranks. */
/* 10 n eps lambda_max: what a backward stable eigensolver of order n promises. */
double CkSpectrumRounding(PetscInt n, double lambda_max);
void   CkSpectrumCheckAdd(CkSpectrumChecks *checks, const char name[], double measured, double bound);
/* Trace of the assembled matrix against the independent one; scale: tr D + |gbar|^2. */
void CkSpectrumCheckAssembly(CkSpectrumChecks *checks, double assembled, double trace, double scale, double precision);
/* Eigenvalues of the assembled matrix of order n against its trace and Frobenius norm, and none below zero by more than
   the rounding errors of the solver and those of the matrix, `noise`. */
void CkSpectrumCheckValues(CkSpectrumChecks *checks, PetscInt n, const double values[], double trace, double frobenius,
                           double noise);
/* Sum of n eigenvalues against the independent trace. */
void CkSpectrumCheckTrace(CkSpectrumChecks *checks, PetscInt n, const double values[], PetscBool complete, double trace,
                          double scale, double precision);
/* Sum of the squares of n eigenvalues against |D|_F^2 of another computation. */
void CkSpectrumCheckSquare(CkSpectrumChecks *checks, PetscInt n, const double values[], PetscBool complete,
                           double square, double bound);
/* m eigenvalues of another solver: each must be among the n values, in order. index [m]: which it is. */
void CkSpectrumCheckLeading(CkSpectrumChecks *checks, PetscInt m, const double leading[], PetscInt n,
                            const double values[], PetscInt index[]);
/* Each of the checks that `from` has, with the worse of the two where `to` has it already. */
void CkSpectrumChecksMerge(CkSpectrumChecks *to, const CkSpectrumChecks *from);
void CkSpectrumCheckResiduals(CkSpectrumChecks *checks, PetscInt m, const double residual[], double bound);
/* Error on all ranks naming the first check that fails. */
PetscErrorCode CkSpectrumChecksVerify(MPI_Comm comm, const CkSpectrumChecks *checks);
