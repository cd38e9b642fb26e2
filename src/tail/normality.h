#pragma once
#include <clarkia/base.h>

/* normality.h: is a sample normal? docs/theory.md, section 20. Local to the rank. */

typedef struct {
  double mean, deviation;    /* 1/n */
  double skewness, kurtosis; /* excess kurtosis, 0 for normal numbers */
  double statistic;          /* A^2 of Anderson and Darling, mean and variance estimated, times 1 + 0.75/n + 2.25/n^2 */
  double p;                  /* probability of so large a one */
} CkNormality;

/* n >= 8 numbers; sorted: [n], ascending, (x - mean)/deviation with the 1/(n - 1) deviation. A sample without spread:
   deviation 0, the rest NaN, p = 0. */
PetscErrorCode CkNormalityTest(PetscInt n, const double x[], CkNormality *result, double sorted[]);
/* Significance of the statistic (D'Agostino and Stephens 1986, table 4.9). */
double CkAndersonDarlingTail(double statistic);
