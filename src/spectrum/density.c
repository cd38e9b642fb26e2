/* density.c: moments, counts and smoothed density from quadrature rules; docs/theory.md, section "Spectral density". */
#include "density.h"
#include "spectrumimpl.h"
#include <math.h>

/* The grid goes from lambda_max / 10^DECADES to 5 widths above lambda_max, PER_WIDTH points a width. */
enum { DECADES = 8, ABOVE = 5, PER_WIDTH = 4 };

void CkDensityMean(PetscInt n, const double x[], double *mean, double *error)
{
  double sum = 0, squares = 0;

  for (PetscInt i = 0; i < n; ++i) sum += x[i];
  *mean = sum / (double)n;
  for (PetscInt i = 0; i < n; ++i) squares += PetscSqr(x[i] - *mean);
  *error = sqrt(squares / ((double)n * ((double)n - 1)));
}

void CkDensityCount(const CkLanczosRule *rule, PetscInt p, double t, double *count, double *lower, double *upper)
{
  const double  *nodes = rule->nodes + (size_t)p * (size_t)rule->steps, n = (double)rule->n;
  const double  *weights = rule->weights + (size_t)p * (size_t)rule->steps;
  const PetscInt taken = rule->taken[p];
  PetscInt       above = 0;
  double         sum = 0;

  while (above < taken && nodes[above] > t) sum += weights[above++];
  *count = *lower = *upper = n * sum;
  if (rule->exact[p]) return;
  *lower = above > 0 ? n * PetscMax(0, sum - weights[above - 1]) : 0;
  *upper = above < taken ? n * (sum + weights[above]) : n;
}

static PetscErrorCode Ranks(const CkLanczosRule *rule, CkSpectrumDensity *f)
{
  const PetscInt probes = rule->probes;
  double        *count, *lower, *upper, unused;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc3(probes, &count, probes, &lower, probes, &upper));
  for (int i = 0; i < CK_DENSITY_RANKS; ++i) {
    for (PetscInt p = 0; p < probes; ++p) CkDensityCount(rule, p, f->threshold[i], &count[p], &lower[p], &upper[p]);
    CkDensityMean(probes, count, &f->rank[i], &f->rank_error[i]);
    CkDensityMean(probes, lower, &f->rank_lower[i], &unused);
    CkDensityMean(probes, upper, &f->rank_upper[i], &unused);
  }
  PetscCall(PetscFree3(count, lower, upper));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Moments(const CkLanczosRule *rule, CkSpectrumDensity *f)
{
  double *first, *second;

  PetscFunctionBeginUser;
  PetscCall(PetscCalloc2(rule->probes, &first, rule->probes, &second));
  for (PetscInt p = 0; p < rule->probes; ++p) {
    const size_t at = (size_t)p * (size_t)rule->steps;

    for (size_t i = 0; i < (size_t)rule->taken[p]; ++i) {
      first[p] += (double)rule->n * rule->weights[at + i] * rule->nodes[at + i];
      second[p] += (double)rule->n * rule->weights[at + i] * PetscSqr(rule->nodes[at + i]);
    }
  }
  CkDensityMean(rule->probes, first, &f->trace, &f->trace_error);
  CkDensityMean(rule->probes, second, &f->square, &f->square_error);
  PetscCall(PetscFree2(first, second));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Eigenvalues per decade at 10^x by the rule of one probe, every positive node a normal density in log10. */
static double Smooth(const CkLanczosRule *rule, PetscInt p, double width, double x)
{
  const size_t at = (size_t)p * (size_t)rule->steps;
  const double height = (double)rule->n / (width * sqrt(2 * M_PI));
  double       sum = 0;

  for (size_t i = 0; i < (size_t)rule->taken[p]; ++i) {
    double distance;

    if (rule->nodes[at + i] <= 0) break; /* they descend */
    distance = (x - log10(rule->nodes[at + i])) / width;
    sum += rule->weights[at + i] * exp(-distance * distance / 2);
  }
  return height * sum;
}

static PetscErrorCode Grid(const CkLanczosRule *rule, double width, CkSpectrumDensity *f)
{
  const double step = width / PER_WIDTH;
  double       largest = 0, *each;

  PetscFunctionBeginUser;
  for (PetscInt p = 0; p < rule->probes; ++p) largest = PetscMax(largest, rule->nodes[(size_t)p * (size_t)rule->steps]);
  if (!(largest > 0)) largest = 1; /* D = 0: the density is zero anywhere */
  PetscCall(PetscMalloc1(rule->probes, &each));
  for (PetscInt i = 0; i < f->points; ++i) {
    const double x = log10(largest) - DECADES + step * (double)i;

    f->grid[i] = pow(10, x);
    for (PetscInt p = 0; p < rule->probes; ++p) each[p] = Smooth(rule, p, width, x);
    CkDensityMean(rule->probes, each, &f->density[i], &f->density_error[i]);
  }
  PetscCall(PetscFree(each));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkDensityCreate(const CkLanczosRule *rule, double width, const double threshold[CK_DENSITY_RANKS],
                               CkSpectrumDensity *f)
{
  const size_t size = (size_t)rule->probes * (size_t)rule->steps;

  PetscFunctionBeginUser;
  *f = (CkSpectrumDensity){.order = rule->n, .probes = rule->probes, .steps = rule->steps};
  f->points = (PetscInt)ceil(DECADES * PER_WIDTH / width) + ABOVE * PER_WIDTH + 1;
  PetscCall(PetscMalloc6(f->probes, &f->taken, size, &f->nodes, size, &f->weights, f->points, &f->grid, f->points,
                         &f->density, f->points, &f->density_error));
  PetscCall(PetscArraycpy(f->taken, rule->taken, rule->probes));
  PetscCall(PetscArraycpy(f->nodes, rule->nodes, size));
  PetscCall(PetscArraycpy(f->weights, rule->weights, size));
  PetscCall(PetscArraycpy(f->threshold, threshold, CK_DENSITY_RANKS));
  PetscCall(Moments(rule, f));
  PetscCall(Ranks(rule, f));
  PetscCall(Grid(rule, width, f));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkDensityDestroy(CkSpectrumDensity *f)
{
  PetscFunctionBeginUser;
  PetscCall(PetscFree6(f->taken, f->nodes, f->weights, f->grid, f->density, f->density_error));
  *f = (CkSpectrumDensity){0};
  PetscFunctionReturn(PETSC_SUCCESS);
}

double CkDensityTraceBound(PetscInt n, PetscInt probes, double trace, double lambda_max)
{
  const double order = (double)n, excess = order * PetscMin(lambda_max, trace) * trace - trace * trace;

  return 6 * sqrt(2 * PetscMax(0, excess) / ((order + 2) * (double)probes));
}
