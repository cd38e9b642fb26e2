#include "normality.h"
#include <clarkia/probability.h>
#include <math.h>

double CkAndersonDarlingTail(double s)
{
  s = fmin(s, 150); /* where the parabola of the first line turns */
  if (s >= 0.6) return exp(1.2937 - 5.709 * s + 0.0186 * s * s);
  if (s >= 0.34) return exp(0.9177 - 4.279 * s - 1.38 * s * s);
  if (s >= 0.2) return 1 - exp(-8.318 + 42.796 * s - 59.938 * s * s);
  return 1 - exp(-13.436 + 101.14 * s - 223.73 * s * s);
}

static void Moments(PetscInt n, const double x[], CkNormality *r)
{
  long double sum = 0, square = 0, cube = 0, fourth = 0;

  for (PetscInt i = 0; i < n; ++i) sum += x[i];
  r->mean = (double)(sum / n);
  for (PetscInt i = 0; i < n; ++i) {
    const double d = x[i] - r->mean;

    square += d * d;
    cube += d * d * d;
    fourth += d * d * d * d;
  }
  r->deviation = sqrt((double)(square / n));
  r->skewness = (double)(cube / n) / (r->deviation * r->deviation * r->deviation);
  r->kurtosis = (double)(fourth / n) / (r->deviation * r->deviation * r->deviation * r->deviation) - 3;
}

PetscErrorCode CkNormalityTest(PetscInt n, const double x[], CkNormality *r, double sorted[])
{
  const double count = (double)n;
  long double  sum = 0;
  double       scale;

  PetscFunctionBeginUser;
  PetscCheck(n >= 8, PETSC_COMM_SELF, PETSC_ERR_ARG_OUTOFRANGE, "%" PetscInt_FMT " numbers; at least 8 are needed", n);
  Moments(n, x, r);
  r->p = 0;
  if (!(r->deviation > 0)) {
    r->skewness = r->kurtosis = r->statistic = NAN;
    PetscCall(PetscArrayzero(sorted, n));
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  scale = r->deviation * sqrt(count / (count - 1));
  for (PetscInt i = 0; i < n; ++i) sorted[i] = (x[i] - r->mean) / scale;
  PetscCall(PetscSortReal(n, sorted));
  /* logarithms of both tails from the tail functions themselves: nothing cancels */
  for (PetscInt i = 0; i < n; ++i)
    sum += (2 * (double)i + 1) *
           (log(fmax(CkNormalTail(-sorted[i]), 1e-300)) + log(fmax(CkNormalTail(sorted[n - 1 - i]), 1e-300)));
  r->statistic = (-count - (double)(sum / n)) * (1 + 0.75 / count + 2.25 / (count * count));
  r->p = CkAndersonDarlingTail(r->statistic);
  PetscFunctionReturn(PETSC_SUCCESS);
}
