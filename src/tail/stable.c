#include "stable.h"
#include <clarkia/probability.h>
#include <math.h>

static PetscInt Width(PetscInt n, PetscInt width)
{
  return width ? width : (PetscInt)floor(sqrt((double)n));
}

/* Each sum Y gives log|Y| - mean log|X| over its terms; their mean over log K1 is 1/alpha, their scatter its error. */
PetscErrorCode CkStableEstimate(PetscInt n, const double x[], PetscInt width, CkStableIndex *index)
{
  const PetscInt K1 = Width(n, width), K2 = n / K1;
  double        *z, mean = 0, variance = 0, margin;

  PetscFunctionBeginUser;
  PetscCheck(n >= 16 && K1 >= 2 && K2 >= 2, PETSC_COMM_SELF, PETSC_ERR_ARG_OUTOFRANGE,
             "%" PetscInt_FMT " numbers in sums of %" PetscInt_FMT, n, K1);
  PetscCall(PetscMalloc1(K2, &z));
  for (PetscInt b = 0; b < K2; ++b) {
    double sum = 0, logs = 0;

    for (PetscInt i = b * K1; i < (b + 1) * K1; ++i) {
      sum += x[i];
      logs += log(fabs(x[i])) / (double)K1;
    }
    z[b] = (log(fabs(sum)) - logs) / log((double)K1);
    mean += z[b] / (double)K2;
  }
  for (PetscInt b = 0; b < K2; ++b) variance += (z[b] - mean) * (z[b] - mean) / (double)(K2 - 1);
  margin = CkNormalQuantile(0.975) * sqrt(variance / (double)K2);
  *index = (CkStableIndex){.used = K1 * K2,
                           .width = K1,
                           .alpha = 1 / mean,
                           .lower = 1 / (mean + margin),
                           .upper = mean > margin ? 1 / (mean - margin) : INFINITY};
  PetscCall(PetscFree(z));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkStableOfGaussian(PetscInt n, const double s[], PetscInt width, double *alpha)
{
  const PetscInt K1 = Width(n, width), K2 = n / K1;
  double         excess = 0;

  PetscFunctionBeginUser;
  PetscCheck(n >= 16 && K1 >= 2 && K2 >= 2, PETSC_COMM_SELF, PETSC_ERR_ARG_OUTOFRANGE,
             "%" PetscInt_FMT " numbers in sums of %" PetscInt_FMT, n, K1);
  for (PetscInt b = 0; b < K2; ++b) {
    double square = 0, logs = 0;

    for (PetscInt i = b * K1; i < (b + 1) * K1; ++i) {
      square += s[i] * s[i] / (double)K1;
      logs += log(s[i]) / (double)K1;
    }
    excess += (log(square) / 2 - logs) / (double)K2;
  }
  *alpha = 1 / (0.5 + excess / log((double)K1));
  PetscFunctionReturn(PETSC_SUCCESS);
}
