#pragma once
#include <clarkia/base.h>

/*
  prediction.h: the irreversibility matrix that theory expects of SGD near a minimum, in k directions. docs/theory.md,
  section 16. Local to the rank.
*/
typedef struct {
  double     rate;     /* eta */
  double     momentum; /* mu, in 0 .. 1 */
  PetscInt64 steps;    /* updates between two snapshots */
} CkUpdate;

/* The drift matrix F = (D + Q) (beta Sigma)^-1, eq. (V.10), of covariance Sigma [k x k] and diffusion matrix D [k x k]
   at inverse temperature 1/beta = temperature; Q [k x k] too (may be NULL). */
PetscErrorCode CkPredictDrift(PetscInt k, const double Sigma[], const double D[], double temperature, double F[],
                              double Q[]);
/* A [k x k] per unit of time t = eta x updates between points that are `steps` updates apart, eq. (V.9). stable: no
   eigenvalue of the symmetric part of eta F is beyond 2; where one is, the map expands and A is NaN. */
PetscErrorCode CkPredictCurrent(PetscInt k, const double F[], const double Sigma[], const CkUpdate *update, double A[],
                                PetscBool *stable);
