#include "exactsum_private.h"
#include <clarkia/error.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const PetscInt64 CARRY_EVERY = 1 << 22; /* terms of at most 2^39 in a low limb: 2^61 */

/* Range 2^e of a bound: sums below it cannot overflow, and rounding errors of 2^41 terms still fit. */
static int RangeExponent(double bound)
{
  int          e;
  const double fraction = frexp(bound, &e);

  if (bound == 0) e = -900;
  else if (fraction > 1 - 0x1p-20) ++e;
  return e < -900 ? -900 : e; /* units stay normal numbers */
}

double CkExactSumUnit(double bound, int limb)
{
  return ldexp(1, RangeExponent(bound) - HIGH_BITS - LOW_BITS * limb);
}

static inline uint64_t Bits(double x)
{
  uint64_t bits;

  memcpy(&bits, &x, sizeof(bits));
  return bits;
}

/*
  Adds round(value / unit) to high, and the rest in units of 2^-40 to low. Adding 1.5 2^52 leaves the nearest integer
  in the low bits of a double; in two steps of 31 bits this reaches 2^62 with operations that every vector unit has.
  The sign bit of the result is set if a term or a sum is not below 2^62 (or not a number).
*/
static inline __attribute__((always_inline)) uint64_t AddTerm(double value, double scale, int limbs, uint64_t *high,
                                                              uint64_t *low)
{
  const double   magic = 0x1.8p52;
  const uint64_t base = Bits(0x1.8p52);
  const double   term = value * scale, upper = term * 0x1p-31 + magic, rest = term - (upper - magic) * 0x1p31;
  const double   lower = rest + magic;
  const uint64_t sum = *high + ((Bits(upper) - base) << 31) + (Bits(lower) - base);

  *high = sum;
  if (limbs == 2) *low += Bits((rest - (lower - magic)) * 0x1p40 + magic) - base;
  return (sum ^ sum << 1) | (fabs(term) < 0x1p62 ? 0 : ~(uint64_t)0);
}

CK_CLONES static uint64_t AddDouble1(PetscInt64 n, double scale, const double values[restrict], uint64_t high[restrict])
{
  uint64_t bad = 0;

  for (PetscInt64 i = 0; i < n; ++i) bad |= AddTerm(values[i], scale, 1, &high[i], NULL);
  return bad >> 63;
}

CK_CLONES static uint64_t AddDouble2(PetscInt64 n, double scale, const double values[restrict], uint64_t high[restrict],
                                     uint64_t low[restrict])
{
  uint64_t bad = 0;

  for (PetscInt64 i = 0; i < n; ++i) bad |= AddTerm(values[i], scale, 2, &high[i], &low[i]);
  return bad >> 63;
}

CK_CLONES static uint64_t AddFloat1(PetscInt64 n, double scale, const float values[restrict], uint64_t high[restrict])
{
  uint64_t bad = 0;

  for (PetscInt64 i = 0; i < n; ++i) bad |= AddTerm((double)values[i], scale, 1, &high[i], NULL);
  return bad >> 63;
}

CK_CLONES static uint64_t AddFloat2(PetscInt64 n, double scale, const float values[restrict], uint64_t high[restrict],
                                    uint64_t low[restrict])
{
  uint64_t bad = 0;

  for (PetscInt64 i = 0; i < n; ++i) bad |= AddTerm((double)values[i], scale, 2, &high[i], &low[i]);
  return bad >> 63;
}

PetscErrorCode CkExactSumCreate(MPI_Comm comm, PetscInt64 n, PetscInt m, const double bounds[], int limbs,
                                CkExactSum *sum)
{
  const size_t entries = (size_t)n * (size_t)m;
  CkExactSum   s;

  PetscFunctionBeginUser;
  PetscCheck(limbs == 1 || limbs == 2, PETSC_COMM_SELF, PETSC_ERR_ARG_OUTOFRANGE, "%d limbs: must be 1 or 2", limbs);
  PetscCheck(n >= 0 && m >= 0, PETSC_COMM_SELF, PETSC_ERR_ARG_OUTOFRANGE, "Negative size of an exact sum");
  PetscCall(PetscNew(&s));
  s->comm = comm;
  s->n = n;
  s->m = m;
  s->limbs = limbs;
  PetscCall(PetscMalloc2(m, &s->bounds, m, &s->terms));
  PetscCall(PetscMalloc1(entries, &s->high));
  if (limbs == 2) PetscCall(PetscMalloc1(entries, &s->low));
  PetscCall(PetscArrayzero(s->bounds, m));
  PetscCall(CkExactSumReset(s, bounds));
  *sum = s;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkExactSumReset(CkExactSum sum, const double bounds[])
{
  const size_t entries = (size_t)sum->n * (size_t)sum->m;

  PetscFunctionBeginUser;
  for (PetscInt j = 0; bounds && j < sum->m; ++j) {
    PetscCheck(isfinite(bounds[j]) && bounds[j] >= 0, PETSC_COMM_SELF, PETSC_ERR_FP,
               "Bound %g of exact sum %" PetscInt_FMT " is not finite or negative", bounds[j], j);
    sum->bounds[j] = bounds[j];
  }
  sum->spoilt = PETSC_FALSE;
  PetscCall(PetscArrayzero(sum->terms, sum->m));
  PetscCall(PetscArrayzero(sum->high, entries));
  if (sum->low) PetscCall(PetscArrayzero(sum->low, entries));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkExactSumSetHold(CkExactSum sum, PetscBool hold)
{
  PetscFunctionBeginUser;
  sum->hold = hold;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscBool CkExactSumIsSpoilt(CkExactSum sum)
{
  return sum->spoilt;
}

PetscErrorCode CkExactSumDestroy(CkExactSum *sum)
{
  PetscFunctionBeginUser;
  if (!*sum) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(PetscFree2((*sum)->bounds, (*sum)->terms));
  PetscCall(PetscFree((*sum)->high));
  PetscCall(PetscFree((*sum)->low));
  PetscCall(PetscFree((*sum)->work));
  PetscCall(PetscFree(*sum));
  PetscFunctionReturn(PETSC_SUCCESS);
}

void CkExactSumCarry(CkExactSum sum, PetscInt j)
{
  const size_t first = (size_t)j * (size_t)sum->n;

  sum->terms[j] = 0;
  for (size_t i = first; sum->low && i < first + (size_t)sum->n; ++i) {
    const int64_t low = (int64_t)sum->low[i];

    sum->high[i] += (uint64_t)(low >> LOW_BITS);
    sum->low[i] = (uint64_t)low & ((UINT64_C(1) << LOW_BITS) - 1);
  }
}

static PetscErrorCode CheckRange(CkExactSum sum, PetscInt j, PetscInt64 first, PetscInt64 count)
{
  PetscFunctionBeginUser;
  PetscCheck(j >= 0 && j < sum->m && first >= 0 && count >= 0 && first + count <= sum->n, PETSC_COMM_SELF,
             PETSC_ERR_ARG_OUTOFRANGE,
             "Entries %" PetscInt64_FMT " + %" PetscInt64_FMT " of exact sum %" PetscInt_FMT
             " do not exist: %" PetscInt_FMT " sums of length %" PetscInt64_FMT,
             first, count, j, sum->m, sum->n);
  if (sum->low && ++sum->terms[j] >= CARRY_EVERY) CkExactSumCarry(sum, j);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Says which of the terms just added, as float or double, is at fault. */
static PetscErrorCode RaiseBadTerm(CkExactSum sum, PetscInt j, PetscInt64 first, PetscInt64 count,
                                   const double values[], const float floats[])
{
  sum->spoilt = PETSC_TRUE;
  if (sum->hold) return PETSC_SUCCESS;
  for (PetscInt64 i = 0; i < count; ++i) {
    const double value = values ? values[i] : (double)floats[i];

    PetscCheck(isfinite(value), PETSC_COMM_SELF, PETSC_ERR_FP,
               "Term %g at entry %" PetscInt64_FMT " of exact sum %" PetscInt_FMT " is not finite", value, first + i,
               j);
  }
  SETERRQ(PETSC_COMM_SELF, PETSC_ERR_ARG_OUTOFRANGE,
          "A term or partial sum in entries %" PetscInt64_FMT " .. %" PetscInt64_FMT " of exact sum %" PetscInt_FMT
          " leaves the bound %g",
          first, first + count - 1, j, sum->bounds[j]);
}

PetscErrorCode CkExactSumAdd(CkExactSum sum, PetscInt j, PetscInt64 first, PetscInt64 count, const double values[])
{
  const size_t at = (size_t)j * (size_t)sum->n + (size_t)first;
  double       scale;
  uint64_t     bad;

  PetscFunctionBeginUser;
  PetscCall(CheckRange(sum, j, first, count));
  scale = 1 / CkExactSumUnit(sum->bounds[j], 0);
  if (sum->low) bad = AddDouble2(count, scale, values, sum->high + at, sum->low + at);
  else bad = AddDouble1(count, scale, values, sum->high + at);
  if (PetscUnlikely(bad)) PetscCall(RaiseBadTerm(sum, j, first, count, values, NULL));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkExactSumAddFloat(CkExactSum sum, PetscInt j, PetscInt64 first, PetscInt64 count, const float values[])
{
  const size_t at = (size_t)j * (size_t)sum->n + (size_t)first;
  double       scale;
  uint64_t     bad;

  PetscFunctionBeginUser;
  PetscCall(CheckRange(sum, j, first, count));
  scale = 1 / CkExactSumUnit(sum->bounds[j], 0);
  if (sum->low) bad = AddFloat2(count, scale, values, sum->high + at, sum->low + at);
  else bad = AddFloat1(count, scale, values, sum->high + at);
  if (PetscUnlikely(bad)) PetscCall(RaiseBadTerm(sum, j, first, count, NULL, values));
  PetscFunctionReturn(PETSC_SUCCESS);
}
