#include "spectrumimpl.h"
#include <clarkia/error.h>
#include <float.h>
#include <math.h>
#include <string.h>

/* Self-checks (decision 13): each compares two numbers that were come by in different ways. */

double CkSpectrumRounding(PetscInt n, double lambda_max)
{
  return 10 * (double)PetscMax(n, 10) * DBL_EPSILON * fabs(lambda_max);
}

void CkSpectrumCheckAdd(CkSpectrumChecks *checks, const char name[], double measured, double bound)
{
  if (checks->n < CK_SPECTRUM_CHECKS) {
    checks->list[checks->n] = (CkSpectrumCheck){.name = name, .measured = fabs(measured), .bound = bound};
  }
  ++checks->n;
}

/* Discrepancies are shown relative to `unit`; for D = 0 they must vanish as they are. */
static double Relative(double difference, double unit)
{
  return unit > 0 ? difference / unit : difference;
}

/* The larger of two discrepancies; NaN is the largest of all. */
static double Worse(double a, double b)
{
  return isnan(a) || a > b ? a : b;
}

void CkSpectrumCheckAssembly(CkSpectrumChecks *checks, double assembled, double trace, double scale, double precision)
{
  CkSpectrumCheckAdd(checks, "trace of the assembled matrix = trace of D", Relative(assembled - trace, scale),
                     precision);
}

void CkSpectrumCheckValues(CkSpectrumChecks *checks, PetscInt n, const double values[], double trace, double frobenius,
                           double noise)
{
  const double largest = PetscMax(fabs(values[0]), fabs(values[n - 1]));
  const double rounding = CkSpectrumRounding(n, Relative(largest, largest));
  double       sum = 0, squares = 0, absolute = 0;

  for (PetscInt i = 0; i < n; ++i) {
    sum += values[i];
    absolute += fabs(values[i]);
    squares += values[i] * values[i];
  }
  CkSpectrumCheckAdd(checks, "sum of eigenvalues = trace of the assembled matrix", Relative(sum - trace, largest),
                     rounding);
  /* an error e in lambda changes lambda^2 by 2 lambda e */
  CkSpectrumCheckAdd(checks, "sum of squares = |.|_F^2 of the assembled matrix",
                     Relative(squares - frobenius * frobenius, largest * largest),
                     2 * rounding * PetscMax(1, Relative(absolute, largest)));
  CkSpectrumCheckAdd(checks, "no eigenvalue below zero", Relative(PetscMin(0., values[n - 1]), largest),
                     rounding + Relative(noise, largest));
}

void CkSpectrumCheckTrace(CkSpectrumChecks *checks, PetscInt n, const double values[], PetscBool complete, double trace,
                          double scale, double precision)
{
  double sum = 0;

  for (PetscInt i = 0; i < n; ++i) sum += values[i];
  if (complete) {
    CkSpectrumCheckAdd(checks, "sum of eigenvalues = trace of D", Relative(sum - trace, scale), precision);
  } else {
    CkSpectrumCheckAdd(checks, "sum of leading eigenvalues <= trace of D", Relative(PetscMax(0., sum - trace), scale),
                       precision);
  }
}

void CkSpectrumCheckSquare(CkSpectrumChecks *checks, PetscInt n, const double values[], PetscBool complete,
                           double square, double bound)
{
  const double unit = values[0] * values[0];
  double       squares = 0;

  for (PetscInt i = 0; i < n; ++i) squares += values[i] * values[i];
  if (complete) {
    CkSpectrumCheckAdd(checks, "sum of squares = |D|_F^2", Relative(squares - square, unit), bound);
  } else {
    CkSpectrumCheckAdd(checks, "sum of squares of leading eigenvalues <= |D|_F^2",
                       Relative(PetscMax(0., squares - square), unit), bound);
  }
}

/* The first of the n descending values from `start` on that is x up to `tolerance`; else the nearest one. */
static PetscInt Nearest(PetscInt start, PetscInt n, const double values[], double x, double tolerance)
{
  PetscInt best = start;

  for (PetscInt j = start + 1; j < n && fabs(values[best] - x) > tolerance; ++j) {
    if (fabs(values[j] - x) < fabs(values[best] - x)) best = j;
  }
  return best;
}

void CkSpectrumCheckLeading(CkSpectrumChecks *checks, PetscInt m, const double leading[], PetscInt n,
                            const double values[], PetscInt index[])
{
  double worst = 0;

  /* A Krylov solver may miss copies of a multiple eigenvalue, so one of `values` may be passed over (the sums would
     notice one too many); every eigenvalue it does find must be there, and a second time for the second copy. */
  for (PetscInt i = 0; i < m; ++i) {
    const PetscInt start = PetscMin(i > 0 ? index[i - 1] + 1 : 0, n - 1);
    const PetscInt j = Nearest(start, n, values, leading[i], CkSpectrumRounding(n, values[0]));

    index[i] = j;
    worst = Worse(worst, fabs(values[j] - leading[i]));
  }
  CkSpectrumCheckAdd(checks, "leading eigenvalues = those of a Krylov solver", Relative(worst, values[0]),
                     CkSpectrumRounding(n, Relative(values[0], values[0])));
}

void CkSpectrumCheckResiduals(CkSpectrumChecks *checks, PetscInt m, const double residual[], double bound)
{
  double worst = 0;

  for (PetscInt i = 0; i < m; ++i) worst = Worse(worst, residual[i]);
  CkSpectrumCheckAdd(checks, "|D v - lambda v| / lambda_max, D v from the data", worst, bound);
}

static PetscBool IsWorse(const CkSpectrumCheck *a, const CkSpectrumCheck *b)
{
  return (PetscBool)(isnan(a->measured) || a->measured * b->bound > b->measured * a->bound);
}

void CkSpectrumChecksMerge(CkSpectrumChecks *to, const CkSpectrumChecks *from)
{
  for (PetscInt i = 0; i < from->n; ++i) {
    PetscInt at = 0;

    while (at < to->n && strcmp(to->list[at].name, from->list[i].name) != 0) ++at;
    if (at == to->n) CkSpectrumCheckAdd(to, from->list[i].name, from->list[i].measured, from->list[i].bound);
    else if (IsWorse(&from->list[i], &to->list[at])) to->list[at] = from->list[i];
  }
}

PetscErrorCode CkSpectrumChecksVerify(MPI_Comm comm, const CkSpectrumChecks *checks)
{
  PetscFunctionBeginUser;
  PetscCheck(checks->n <= CK_SPECTRUM_CHECKS, comm, PETSC_ERR_PLIB, "%" PetscInt_FMT " self-checks, room for %d",
             checks->n, CK_SPECTRUM_CHECKS);
  for (PetscInt i = 0; i < checks->n; ++i) {
    const CkSpectrumCheck *c = &checks->list[i];

    CkCheckAll(
      comm, c->measured <= c->bound, PETSC_ERR_CONV_FAILED,
      "self-check of the spectrum failed: %s: discrepancy %.3g, bound %.3g. The eigenvalues cannot be trusted; "
      "compare with -spectrum_method krylov, another -spectrum_solver and -engine reference",
      c->name, c->measured, c->bound);
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}
