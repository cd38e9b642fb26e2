#pragma once
#include <clarkia/base.h>

/* probability.h: distributions and multiple tests; plain functions, local to the rank. */

/* P(Z > z) of a standard normal number, and the z with P(Z < z) = p, 0 < p < 1 (else infinite). */
double CkNormalTail(double z);
double CkNormalQuantile(double p);
/* P(|T| > t) of Student's t with dof >= 1 degrees of freedom. */
double CkStudentTail(double t, PetscInt dof);
/* The smallest k with P(X > k) <= tail for X binomial: n trials of probability p. */
PetscInt CkBinomialBound(PetscInt n, double p, double tail);
/* adjusted[i]: the level at which hypothesis i is rejected among all n with values p[i]. Holm: the probability of one
   wrong rejection or more; Benjamini-Hochberg: the expected share of wrong ones among the rejected. */
PetscErrorCode CkAdjustHolm(PetscInt n, const double p[], double adjusted[]);
PetscErrorCode CkAdjustBenjaminiHochberg(PetscInt n, const double p[], double adjusted[]);
