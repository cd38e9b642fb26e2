#include "analysisimpl.h"
#include "counts.h"
#include "groupsum.h"
#include "series.h"
#include <clarkia/error.h>
#include <clarkia/probability.h>
#include <math.h>
#include <petscblaslapack.h>

/*
  analysis_columns.c: one sweep over the columns. A round deals the next slabs out to the ranks, rank 0 first; a slab is
  a number of groups of CK_ANALYSIS_GROUP columns. Each group makes one vector of sums (Layout), which are added in the
  order of the groups.
*/
#define SLAB_BYTES 256e6
#define LEAST_LEVEL (-30) /* powers of ten: amplitudes below this are counted as this */
#define LEVEL_WIDTH 0.005
#define LEVELS 10000

/* Where the sums of a group stand in its vector of `length` numbers. */
typedef struct {
  PetscInt64 amplitude, square;                                    /* [frequencies] */
  PetscInt64 r, r_square, outside95, outside99;                    /* [nlags] */
  PetscInt64 constant, drifting, drift, level, beyond95, beyond99; /* [1] */
  PetscInt64 y;                                                    /* [n x replicas x k] */
  PetscInt64 length;
} Layout;

typedef struct {
  CkAnalysis a;
  Layout     at;
  CkSeries   series;
  double     band95, band99;
  double    *x;            /* [n] one series */
  double    *amplitude;    /* [frequencies] of it */
  double    *r;            /* [nlags] of it */
  CkCounts   correlations; /* [nlags] of the series that move */
  CkCounts   levels;       /* [nbands] logarithm of their amplitude, mean over the band */
} Sweep;

static Layout MakeLayout(CkAnalysis a)
{
  const PetscInt64 nf = CkSeriesFrequencies(a->n), nl = a->nlags;
  Layout           at = {.amplitude = 0, .square = nf};

  at.r = 2 * nf;
  at.r_square = at.r + nl;
  at.outside95 = at.r_square + nl;
  at.outside99 = at.outside95 + nl;
  at.constant = at.outside99 + nl;
  at.drifting = at.constant + 1;
  at.drift = at.constant + 2;
  at.level = at.constant + 3;
  at.beyond95 = at.constant + 4;
  at.beyond99 = at.constant + 5;
  at.y = at.constant + 6;
  at.length = at.y + (PetscInt64)a->n * a->info.replicas * a->k;
  return at;
}

static PetscInt64 Groups(CkAnalysis a)
{
  return (a->info.columns + CK_ANALYSIS_GROUP - 1) / CK_ANALYSIS_GROUP;
}

PetscInt CkAnalysisSlab(CkAnalysis a)
{
  const double bytes = 8. * (double)a->n * CK_ANALYSIS_GROUP;
  PetscMPIInt  size = 1;
  PetscInt64   groups;

  (void)MPI_Comm_size(a->comm, &size);
  groups = a->slab ? (a->slab + CK_ANALYSIS_GROUP - 1) / CK_ANALYSIS_GROUP
                   : (PetscInt64)(SLAB_BYTES / (bytes + 8. * (double)MakeLayout(a).length));
  return (PetscInt)PetscMax(1, PetscMin(groups, (Groups(a) + size - 1) / size));
}

double CkAnalysisSweepMemory(CkAnalysis a)
{
  const double slab = CkAnalysisSlab(a), length = (double)MakeLayout(a).length;

  return 8. * slab * ((double)a->n * CK_ANALYSIS_GROUP + length) +
         CkGroupSumMemory(a->comm, (PetscInt64)length, (PetscInt)slab) + 8. * length + CkSeriesMemory(a->n) +
         8. * ((double)a->nlags * CK_ANALYSIS_BINS + (double)CK_ANALYSIS_BANDS * LEVELS) +
         16. * (double)a->info.snapshots;
}

/* Means of the halves of a series that moves by Student's t from block means; in its own unit, as squares are taken. */
static void AddDrift(Sweep *s, double terms[])
{
  const PetscInt n = s->a->n, blocks = CK_ANALYSIS_BLOCKS;
  const double   unit = CkSeriesUnit(n, s->x);
  double         mean[CK_ANALYSIS_BLOCKS] = {0}, half[2] = {0, 0}, within = 0, variance = 0, difference;

  for (PetscInt b = 0; b < blocks; ++b) {
    const PetscInt first = (PetscInt)((PetscInt64)n * b / blocks), last = (PetscInt)((PetscInt64)n * (b + 1) / blocks);

    for (PetscInt t = first; t < last; ++t) mean[b] += (s->x[t] - s->x[0]) / unit / (double)(last - first);
    half[2 * b / blocks] += mean[b] / (blocks / 2.);
  }
  for (PetscInt b = 0; b < blocks; ++b) within += pow(mean[b] - half[2 * b / blocks], 2) / (blocks - 2);
  for (PetscInt t = 0; t < n; ++t) variance += pow((s->x[t] - s->x[0]) / unit - (half[0] + half[1]) / 2, 2) / (double)n;
  difference = half[1] - half[0];
  terms[s->at.drift] += fabs(difference) / sqrt(variance);
  terms[s->at.drifting] += CkStudentTail(difference / sqrt(within * 4. / blocks), blocks - 2) < 0.01;
}

static void AddCorrelation(Sweep *s, double terms[])
{
  const CkAnalysis a = s->a;
  PetscInt         outside95 = 0, outside99 = 0;

  for (PetscInt j = 0; j < a->nlags; ++j) {
    const double r = s->r[j];

    terms[s->at.r + j] += r;
    terms[s->at.r_square + j] += r * r;
    CkCountsAdd(&s->correlations, j, r);
    if (j == 0) continue;
    outside95 += fabs(r) > s->band95;
    outside99 += fabs(r) > s->band99;
    terms[s->at.outside95 + j] += fabs(r) > s->band95;
    terms[s->at.outside99 + j] += fabs(r) > s->band99;
  }
  terms[s->at.beyond95] += outside95 > a->columns.bound95;
  terms[s->at.beyond99] += outside99 > a->columns.bound99;
}

/* Logarithms of 0, the amplitude of a constant series, do not come here. */
static void AddLevels(Sweep *s)
{
  const CkAnalysis a = s->a;

  for (PetscInt b = 0; b < a->nbands; ++b) {
    const PetscInt first = a->band[b], last = a->band[b + 1];
    double         sum = 0;

    for (PetscInt f = first; f < last; ++f) sum += s->amplitude[f];
    CkCountsAdd(&s->levels, b, log10(sum / (double)(last - first)));
  }
}

static PetscErrorCode AddSeries(Sweep *s, double terms[])
{
  const CkAnalysis a = s->a;
  double           deviation;
  PetscBool        constant;

  PetscFunctionBeginUser;
  PetscCall(CkSeriesIncrementSpectrum(s->series, s->x, s->amplitude, &deviation));
  for (PetscInt f = 0; f < a->frequencies; ++f) {
    terms[s->at.amplitude + f] += s->amplitude[f];
    terms[s->at.square + f] += s->amplitude[f] * s->amplitude[f];
  }
  terms[s->at.level] += deviation * sqrt(PETSC_PI * (double)(a->n - 1)) / 2;
  PetscCall(CkSeriesAutocorrelation(s->series, s->x, a->nlags, a->lag, s->r, &constant));
  terms[s->at.constant] += constant;
  if (constant) PetscFunctionReturn(PETSC_SUCCESS);
  AddLevels(s);
  AddCorrelation(s, terms);
  AddDrift(s, terms);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* y += U x over the columns of a group, all snapshots of one replica; X [n x width] with row stride ld. */
static PetscErrorCode AddProjections(Sweep *s, PetscInt replica, PetscInt64 column, PetscInt width, const double X[],
                                     PetscInt64 ld, double terms[])
{
  const CkAnalysis a = s->a;
  const double     one = 1;
  PetscBLASInt     k, n, m, ldu, ldx, ldy;

  PetscFunctionBeginUser;
  PetscCall(PetscBLASIntCast(a->k, &k));
  PetscCall(PetscBLASIntCast(a->n, &n));
  PetscCall(PetscBLASIntCast(width, &m));
  PetscCheck(a->info.columns <= PETSC_BLAS_INT_MAX, PETSC_COMM_SELF, PETSC_ERR_ARG_OUTOFRANGE, "Too many columns");
  ldu = (PetscBLASInt)a->info.columns;
  ldx = (PetscBLASInt)ld;
  ldy = (PetscBLASInt)(a->info.replicas * a->k);
  /* row-major y [n x k] += X [n x m] U' [m x k] is column-major y' = U X' */
  PetscCallBLAS("BLASgemm", BLASgemm_("T", "N", &k, &n, &m, &one, a->U + column, &ldu, X, &ldx, &one,
                                      terms + s->at.y + replica * a->k, &ldy));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The slab that begins at this group: `count` groups into terms [count x length]. Collective: reads. */
static PetscErrorCode AddSlab(Sweep *s, PetscInt64 group, PetscInt count, double X[], double terms[])
{
  const CkAnalysis a = s->a;
  const PetscInt64 first = group * CK_ANALYSIS_GROUP;
  const PetscInt64 columns = count ? PetscMin((PetscInt64)count * CK_ANALYSIS_GROUP, a->info.columns - first) : 0;

  PetscFunctionBeginUser;
  PetscCall(PetscArrayzero(terms, (size_t)count * (size_t)s->at.length));
  for (PetscInt replica = 0; replica < a->info.replicas; ++replica) {
    PetscCall(CkTrajectoryRead(a->trajectory, replica, a->burn_in, a->n, count ? first : 0, columns, X));
    for (PetscInt g = 0; g < count; ++g) {
      const PetscInt64 begin = (PetscInt64)g * CK_ANALYSIS_GROUP, end = PetscMin(columns, begin + CK_ANALYSIS_GROUP);
      double          *mine = terms + g * s->at.length;

      for (PetscInt64 j = begin; j < end; ++j) {
        for (PetscInt t = 0; t < a->n; ++t) s->x[t] = X[t * columns + j];
        PetscCall(AddSeries(s, mine));
      }
      PetscCall(AddProjections(s, replica, first + begin, (PetscInt)(end - begin), X + begin, columns, mine));
    }
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Rounds(Sweep *s, CkGroupSum sum)
{
  const CkAnalysis a = s->a;
  const PetscInt64 groups = Groups(a);
  const PetscInt   slab = CkAnalysisSlab(a);
  PetscMPIInt      rank, size;
  double          *X, *terms;
  CkProgress       progress;

  PetscFunctionBeginUser;
  PetscCallMPI(MPI_Comm_rank(a->comm, &rank));
  PetscCallMPI(MPI_Comm_size(a->comm, &size));
  PetscCall(
    PetscMalloc2((size_t)a->n * (size_t)slab * CK_ANALYSIS_GROUP, &X, (size_t)slab * (size_t)s->at.length, &terms));
  PetscCall(CkProgressCreate(a->comm, "trajectory", "columns", (double)a->info.columns, &progress));
  for (PetscInt64 round = 0; round < groups; round += (PetscInt64)slab * size) {
    const PetscInt64 first = PetscMin(groups, round + (PetscInt64)slab * rank);
    const PetscInt   count = (PetscInt)PetscMin(slab, groups - first);

    PetscCall(AddSlab(s, first, count, X, terms));
    PetscCall(CkGroupSumAdd(sum, count, terms));
    PetscCall(CkProgressUpdate(
      progress, (double)PetscMin(a->info.columns, (round + (PetscInt64)slab * size) * CK_ANALYSIS_GROUP)));
  }
  PetscCall(CkProgressDestroy(&progress));
  PetscCall(PetscFree2(X, terms));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static void MeanAndDeviation(PetscInt n, double count, const double sum[], const double square[], double mean[],
                             double deviation[])
{
  for (PetscInt i = 0; i < n; ++i) {
    mean[i] = sum[i] / count;
    deviation[i] = sqrt(fmax(0, square[i] / count - mean[i] * mean[i]));
  }
}

/* Mean of a tenth of the frequencies, but the first and the last, over the white level. */
static double Tenth(CkAnalysis a, PetscBool high)
{
  const PetscInt inner = a->frequencies - 2, width = PetscMax(1, inner / 10);
  const PetscInt first = high ? 1 + inner - width : 1;
  double         sum = 0;

  for (PetscInt f = first; f < first + width; ++f) sum += a->amplitude[f] / (double)width;
  return a->columns.white_level > 0 ? sum / a->columns.white_level : 0;
}

/* Of the autocorrelation at each lag, and of the amplitude in each band. */
static PetscErrorCode Quantiles(Sweep *s)
{
  const CkAnalysis a = s->a;
  const PetscInt   n = CK_ANALYSIS_QUANTILES;

  PetscFunctionBeginUser;
  PetscCall(CkCountsReduce(a->comm, &s->correlations));
  PetscCall(CkCountsReduce(a->comm, &s->levels));
  for (PetscInt j = 0; j < a->nlags; ++j)
    CkCountsQuantiles(&s->correlations, j, n, ck_analysis_quantiles, a->quantiles + j * n);
  for (PetscInt b = 0; b < a->nbands; ++b) {
    CkCountsQuantiles(&s->levels, b, n, ck_analysis_quantiles, a->band_quantiles + b * n);
    for (PetscInt q = 0; q < n; ++q) a->band_quantiles[b * n + q] = pow(10, a->band_quantiles[b * n + q]);
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Finish(Sweep *s, const double sums[])
{
  const CkAnalysis    a = s->a;
  const Layout       *at = &s->at;
  CkColumnStatistics *c = &a->columns;
  double              moving;

  PetscFunctionBeginUser;
  c->series = a->info.columns * a->info.replicas;
  c->constant = (PetscInt64)sums[at->constant];
  c->drifting = (PetscInt64)sums[at->drifting];
  moving = fmax(1, (double)(c->series - c->constant));
  c->drift = sums[at->drift] / moving;
  c->white_level = sums[at->level] / (double)c->series;
  c->beyond95 = sums[at->beyond95] / moving;
  c->beyond99 = sums[at->beyond99] / moving;
  MeanAndDeviation(a->frequencies, (double)c->series, sums + at->amplitude, sums + at->square, a->amplitude,
                   a->amplitude_std);
  MeanAndDeviation(a->nlags, moving, sums + at->r, sums + at->r_square, a->r, a->r_std);
  for (PetscInt j = 1; j < a->nlags; ++j) {
    a->outside95[j] = sums[at->outside95 + j] / moving;
    a->outside99[j] = sums[at->outside99 + j] / moving;
    c->share95 += a->outside95[j] / (double)(a->nlags - 1);
    c->share99 += a->outside99[j] / (double)(a->nlags - 1);
  }
  c->low = Tenth(a, PETSC_FALSE);
  c->high = Tenth(a, PETSC_TRUE);
  PetscCall(PetscArraycpy(a->y, sums + at->y, (size_t)(at->length - at->y)));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Bands of frequencies that are equally wide on a logarithmic axis, without the first frequency and half the sampling
   rate, where white increments have other levels: band b is band[b] .. band[b+1] - 1. */
static PetscErrorCode MakeBands(CkAnalysis a)
{
  const PetscInt end = (a->n - 2) / 2 + 1;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc1(CK_ANALYSIS_BANDS + 1, &a->band));
  a->band[0] = 1;
  for (PetscInt b = 1; b <= CK_ANALYSIS_BANDS; ++b) {
    const PetscInt edge = (PetscInt)round(pow((double)end, (double)b / CK_ANALYSIS_BANDS));

    if (edge > a->band[a->nbands]) a->band[++a->nbands] = edge;
  }
  PetscCall(PetscCalloc1(a->nbands * CK_ANALYSIS_QUANTILES, &a->band_quantiles));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Allocate(Sweep *s)
{
  const CkAnalysis a = s->a;

  PetscFunctionBeginUser;
  a->frequencies = CkSeriesFrequencies(a->n);
  PetscCall(MakeBands(a));
  a->columns.bound95 = CkBinomialBound(a->nlags - 1, 0.05, 0.01);
  a->columns.bound99 = CkBinomialBound(a->nlags - 1, 0.01, 0.01);
  PetscCall(PetscMalloc2(a->frequencies, &a->amplitude, a->frequencies, &a->amplitude_std));
  PetscCall(PetscCalloc5(a->nlags, &a->r, a->nlags, &a->r_std, a->nlags * CK_ANALYSIS_QUANTILES, &a->quantiles,
                         a->nlags, &a->outside95, a->nlags, &a->outside99));
  PetscCall(PetscMalloc1((size_t)a->n * (size_t)a->info.replicas * (size_t)a->k, &a->y));
  PetscCall(PetscMalloc3(a->n, &s->x, a->frequencies, &s->amplitude, a->nlags, &s->r));
  PetscCall(CkCountsCreate(a->nlags, CK_ANALYSIS_BINS, -1, 2. / CK_ANALYSIS_BINS, &s->correlations));
  PetscCall(CkCountsCreate(a->nbands, LEVELS, LEAST_LEVEL, LEVEL_WIDTH, &s->levels));
  PetscCall(CkSeriesCreate(a->n, &s->series));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkAnalysisSweep(CkAnalysis a)
{
  Sweep      s = {.a = a,
                  .at = MakeLayout(a),
                  .band95 = CkNormalQuantile(0.975) / sqrt((double)a->n),
                  .band99 = CkNormalQuantile(0.995) / sqrt((double)a->n)};
  double    *sums;
  CkGroupSum sum;

  PetscFunctionBeginUser;
  PetscCall(Allocate(&s));
  PetscCall(CkGroupSumCreate(a->comm, s.at.length, &sum));
  PetscCall(Rounds(&s, sum));
  PetscCall(PetscMalloc1((size_t)s.at.length, &sums));
  PetscCall(CkGroupSumGet(sum, sums));
  PetscCall(CkGroupSumDestroy(&sum));
  PetscCall(Finish(&s, sums));
  PetscCall(Quantiles(&s));
  PetscCall(CkSeriesDestroy(&s.series));
  PetscCall(PetscFree(sums));
  PetscCall(PetscFree3(s.x, s.amplitude, s.r));
  PetscCall(CkCountsDestroy(&s.correlations));
  PetscCall(CkCountsDestroy(&s.levels));
  PetscFunctionReturn(PETSC_SUCCESS);
}
