#include <clarkia/probability.h>
#include <math.h>

double CkNormalTail(double z)
{
  return erfc(z / sqrt(2)) / 2;
}

/* A rough start by P(Z > z) < exp(-z^2/2)/2, then Halley's iteration, which triples the digits each time. */
double CkNormalQuantile(double p)
{
  const double q = fmin(p, 1 - p);
  double       z;

  if (!(p > 0)) return -INFINITY;
  if (!(p < 1)) return INFINITY;
  z = sqrt(-2 * log(2 * q));
  for (int i = 0; i < 50; ++i) {
    const double density = exp(-z * z / 2) / sqrt(2 * PETSC_PI), step = (CkNormalTail(z) - q) / density;
    const double change = step / (1 - z * step / 2);

    z += change;
    if (fabs(change) <= 1e-15 * fabs(z)) break;
  }
  return p < 0.5 ? -z : z;
}

/* Abramowitz and Stegun, 26.7.3 and 26.7.4. */
double CkStudentTail(double t, PetscInt dof)
{
  const double angle = atan(fabs(t) / sqrt((double)dof)), sine = sin(angle), cosine = cos(angle);
  const int    odd = dof % 2;
  double       term = odd ? cosine : 1, sum = 0;

  for (PetscInt i = odd ? 3 : 2; i <= dof; i += 2) { /* term has the power i - 2 of the cosine */
    sum += term;
    term *= cosine * cosine * (double)(i - 1) / (double)i;
  }
  sum *= sine;
  if (odd) sum = 2 / PETSC_PI * (angle + sum);
  return fmax(0, 1 - sum);
}

PetscInt CkBinomialBound(PetscInt n, double p, double tail)
{
  double above = 1; /* P(X >= k) */

  if (p >= 1) return n;
  if (p <= 0) return 0;
  for (PetscInt k = 0; k < n; ++k) {
    above -= exp(lgamma((double)n + 1) - lgamma((double)k + 1) - lgamma((double)(n - k) + 1) + (double)k * log(p) +
                 (double)(n - k) * log1p(-p));
    if (above <= tail) return k;
  }
  return n;
}

/* Places of the numbers in ascending order. */
static PetscErrorCode Ranks(PetscInt n, const double p[], PetscInt **order)
{
  PetscReal *keys;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc1(n, order));
  PetscCall(PetscMalloc1(n, &keys));
  for (PetscInt i = 0; i < n; ++i) {
    (*order)[i] = i;
    keys[i] = p[i];
  }
  PetscCall(PetscSortRealWithArrayInt(n, keys, *order));
  PetscCall(PetscFree(keys));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkAdjustHolm(PetscInt n, const double p[], double adjusted[])
{
  PetscInt *order;
  double    largest = 0;

  PetscFunctionBeginUser;
  PetscCall(Ranks(n, p, &order));
  for (PetscInt i = 0; i < n; ++i) {
    largest = fmax(largest, fmin(1, (double)(n - i) * p[order[i]]));
    adjusted[order[i]] = largest;
  }
  PetscCall(PetscFree(order));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkAdjustBenjaminiHochberg(PetscInt n, const double p[], double adjusted[])
{
  PetscInt *order;
  double    smallest = 1;

  PetscFunctionBeginUser;
  PetscCall(Ranks(n, p, &order));
  for (PetscInt i = n - 1; i >= 0; --i) {
    smallest = fmin(smallest, (double)n / (double)(i + 1) * p[order[i]]);
    adjusted[order[i]] = smallest;
  }
  PetscCall(PetscFree(order));
  PetscFunctionReturn(PETSC_SUCCESS);
}
