#pragma once
#include "lanczos.h"
#include <clarkia/spectrum.h>

/* density.h: what the quadrature rules of random vectors say about a spectrum; private to src/spectrum. Local. */

/* Mean of x [n] and its standard error, sqrt(sum (x - mean)^2 / (n (n - 1))), n >= 2. */
void CkDensityMean(PetscInt n, const double x[], double *mean, double *error);
/* Eigenvalues above t by the rule of probe p, (L.4), and the least and the most that are possible with its moments. */
void CkDensityCount(const CkLanczosRule *rule, PetscInt p, double t, double *count, double *lower, double *upper);
/* The whole estimate; width: standard deviation of the smoothing, decades; threshold: as in the struct. The rule may be
   destroyed then. */
PetscErrorCode CkDensityCreate(const CkLanczosRule *rule, double width, const double threshold[CK_DENSITY_RANKS],
                               CkSpectrumDensity *density);
/* What six standard deviations of the mean of the probes' traces can be at most, from tr D and the largest eigenvalue:
   (L.6). */
double CkDensityTraceBound(PetscInt n, PetscInt probes, double trace, double lambda_max);
