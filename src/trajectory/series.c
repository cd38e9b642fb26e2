#include "series.h"
#include <clarkia/error.h>
#include <complex.h> /* before fftw3.h: fftw_complex is C's */
#include <fftw3.h>
#include <math.h>

struct _p_CkSeries {
  PetscInt      n, padded;
  double       *increments; /* [n - 1] */
  double       *values;     /* [padded] */
  fftw_complex *half;       /* [padded/2 + 1] */
  fftw_plan     spectrum, forward, backward;
};

/* The smallest product of 2, 3, 5 that is at least n: lengths that FFTW is fast at. */
static PetscInt GoodLength(PetscInt n)
{
  for (;; ++n) {
    PetscInt rest = n;

    for (PetscInt f = 2; f <= 5; ++f)
      while (rest % f == 0) rest /= f;
    if (rest == 1) return n;
  }
}

PetscInt CkSeriesFrequencies(PetscInt n)
{
  return (n - 1) / 2 + 1;
}

double CkSeriesMemory(PetscInt n)
{
  return 8. * ((double)n + 4. * (double)n);
}

PetscErrorCode CkSeriesCreate(PetscInt n, CkSeries *series)
{
  CkSeries s;

  PetscFunctionBeginUser;
  PetscCheck(n >= 3 && n <= 2147483647 / 3, PETSC_COMM_SELF, PETSC_ERR_ARG_OUTOFRANGE,
             "A series of %" PetscInt_FMT " points: 3 to %d are possible", n, 2147483647 / 3);
  PetscCall(PetscNew(&s));
  s->n = n;
  s->padded = GoodLength(2 * n);
  s->increments = fftw_alloc_real((size_t)n - 1);
  s->values = fftw_alloc_real((size_t)s->padded);
  s->half = fftw_alloc_complex((size_t)s->padded / 2 + 1);
  PetscCheck(s->increments && s->values && s->half, PETSC_COMM_SELF, PETSC_ERR_MEM,
             "No memory for series of %" PetscInt_FMT " points", n);
  s->spectrum = fftw_plan_dft_r2c_1d((int)n - 1, s->increments, s->half, FFTW_ESTIMATE);
  s->forward = fftw_plan_dft_r2c_1d((int)s->padded, s->values, s->half, FFTW_ESTIMATE);
  s->backward = fftw_plan_dft_c2r_1d((int)s->padded, s->half, s->values, FFTW_ESTIMATE);
  PetscCheck(s->spectrum && s->forward && s->backward, PETSC_COMM_SELF, PETSC_ERR_LIB,
             "FFTW has no plan for %" PetscInt_FMT " points", n);
  *series = s;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkSeriesDestroy(CkSeries *series)
{
  CkSeries s = *series;

  PetscFunctionBeginUser;
  if (!s) PetscFunctionReturn(PETSC_SUCCESS);
  fftw_destroy_plan(s->spectrum);
  fftw_destroy_plan(s->forward);
  fftw_destroy_plan(s->backward);
  fftw_free(s->increments);
  fftw_free(s->values);
  fftw_free(s->half);
  PetscCall(PetscFree(*series));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkSeriesIncrementSpectrum(CkSeries s, const double x[], double amplitude[], double *deviation)
{
  const PetscInt n = s->n - 1, frequencies = CkSeriesFrequencies(s->n);
  const double   mean = (x[n] - x[0]) / (double)n;
  double         squares = 0;

  PetscFunctionBeginUser;
  for (PetscInt t = 0; t < n; ++t) {
    s->increments[t] = x[t + 1] - x[t];
    squares += (s->increments[t] - mean) * (s->increments[t] - mean);
  }
  fftw_execute(s->spectrum);
  for (PetscInt k = 0; k < frequencies; ++k) amplitude[k] = cabs(s->half[k]);
  *deviation = sqrt(squares / (double)n);
  PetscFunctionReturn(PETSC_SUCCESS);
}

double CkSeriesUnit(PetscInt n, const double x[])
{
  double largest = 0;
  int    exponent;

  for (PetscInt t = 1; t < n; ++t) largest = fmax(largest, fabs(x[t] - x[0]));
  if (largest == 0) return 0;
  (void)frexp(largest, &exponent);
  return ldexp(1, exponent - 1);
}

/* values[h] = padded sum_t (x_t - m)(x_{t+h} - m), h = 0 .. n-1 (Wiener and Khinchin; padding keeps ends apart), in the
   square of the series' own unit: that of a weight which decays to 1e-200 would be 0. */
static void Correlate(CkSeries s, const double x[])
{
  const double unit = CkSeriesUnit(s->n, x);
  long double  sum = 0;
  double       mean;

  for (PetscInt t = 0; t < s->n; ++t) sum += x[t];
  mean = (double)(sum / s->n);
  for (PetscInt t = 0; t < s->n; ++t) s->values[t] = (x[t] - mean) / unit;
  for (PetscInt t = s->n; t < s->padded; ++t) s->values[t] = 0;
  fftw_execute(s->forward);
  for (PetscInt k = 0; k <= s->padded / 2; ++k) s->half[k] *= conj(s->half[k]);
  fftw_execute(s->backward);
}

static PetscBool IsConstant(PetscInt n, const double x[])
{
  for (PetscInt t = 1; t < n; ++t)
    if (x[t] != x[0]) return PETSC_FALSE;
  return PETSC_TRUE;
}

PetscErrorCode CkSeriesAutocorrelation(CkSeries s, const double x[], PetscInt nlags, const PetscInt lags[], double r[],
                                       PetscBool *constant)
{
  PetscFunctionBeginUser;
  *constant = IsConstant(s->n, x);
  if (!*constant) Correlate(s, x);
  for (PetscInt j = 0; j < nlags; ++j) {
    PetscCheck(lags[j] >= 0 && lags[j] < s->n, PETSC_COMM_SELF, PETSC_ERR_ARG_OUTOFRANGE,
               "Lag %" PetscInt_FMT " of %" PetscInt_FMT " points", lags[j], s->n);
    r[j] = *constant ? 0 : s->values[lags[j]] / s->values[0];
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkSeriesCorrelationTime(CkSeries s, const double x[], double *tau)
{
  PetscFunctionBeginUser;
  *tau = 1;
  if (IsConstant(s->n, x)) PetscFunctionReturn(PETSC_SUCCESS);
  Correlate(s, x);
  for (PetscInt h = 1; h < s->n && (double)h < 5 * *tau; ++h) *tau = fmax(1, *tau + 2 * s->values[h] / s->values[0]);
  PetscFunctionReturn(PETSC_SUCCESS);
}
