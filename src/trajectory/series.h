#pragma once
#include <clarkia/base.h>

/*
  CkSeries: Fourier transforms of real series of one length by FFTW, planned without measuring: the same bits in every
  run. docs/theory.md, section 16. Local to the rank.
*/
typedef struct _p_CkSeries *CkSeries;

PetscErrorCode CkSeriesCreate(PetscInt n, CkSeries *series); /* series of n >= 3 points */
PetscErrorCode CkSeriesDestroy(CkSeries *series);
/* Frequencies 0 .. (n-1)/2 of n - 1 increments. */
PetscInt CkSeriesFrequencies(PetscInt n);
/* amplitude[k] = |sum_t (x_{t+1} - x_t) exp(-2 pi i k t/(n-1))|, eq. (V.1); deviation: standard deviation of the
   increments, 1/(n-1), about their mean. */
PetscErrorCode CkSeriesIncrementSpectrum(CkSeries series, const double x[], double amplitude[], double *deviation);
/* The power of two next below the largest |x_t - x_0|; 0 for a constant series. */
double CkSeriesUnit(PetscInt n, const double x[]);
/* r[j] at lag lags[j] in 0 .. n-1, biased, eq. (V.2); all 0 for a constant series, whose `constant` is true. */
PetscErrorCode CkSeriesAutocorrelation(CkSeries series, const double x[], PetscInt nlags, const PetscInt lags[],
                                       double r[], PetscBool *constant);
/* Integrated autocorrelation time 1 + 2 sum r(h), summed to the first lag that is five times the sum so far, eq. (V.6),
   in points; 1 for a constant series, never below 1. */
PetscErrorCode CkSeriesCorrelationTime(CkSeries series, const double x[], double *tau);
double         CkSeriesMemory(PetscInt n); /* bytes */
