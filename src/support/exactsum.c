#include <clarkia/error.h>
#include <clarkia/exactsum.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/*
  Entry i of vector j holds the integer  high 2^40 + low  in units of CkExactSumUnit(bound, 1) (two limbs), or high in
  units of CkExactSumUnit(bound, 0) (one limb): integer sums do not depend on their order. A term is rounded to the
  unit once, by arithmetic that is exact for any double, so its integer depends on the term alone.
*/
enum { HIGH_BITS = 62, LOW_BITS = 40, SHIFT = 20 };
static const PetscInt64 CARRY_EVERY = 1 << 22; /* terms of at most 2^39 in a low limb: 2^61 */

struct _p_CkExactSum {
  MPI_Comm    comm;
  PetscInt64  n;
  PetscInt    m;
  int         limbs;
  double     *bounds; /* [m] */
  uint64_t   *high;   /* [m x n] */
  uint64_t   *low;    /* [m x n], or NULL */
  uint64_t   *work;   /* one message: see ReduceEntries() */
  PetscInt64 *terms;  /* [m]: additions to vector j since its last carry */
  PetscBool   hold, spoilt;
};

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

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && !defined(__SANITIZE_ADDRESS__)
#define CK_CLONES __attribute__((target_clones("default", "avx2", "avx512f")))
#else
#define CK_CLONES
#endif

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
  PetscCall(PetscMalloc1((size_t)limbs * PetscMin(entries, CK_EXACTSUM_CHUNK) + 1, &s->work));
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

/* Moves what exceeds 40 bits from the low limbs of vector j to the high ones; the numbers stay the same. */
static void Carry(CkExactSum sum, PetscInt j)
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
  if (sum->low && ++sum->terms[j] >= CARRY_EVERY) Carry(sum, j);
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

/* Whether the sums over ranks of these numbers below 2^62 stay below 2^62 themselves: sums of their upper 42 bits
 * cannot overflow. Collective; the same answer on all ranks. */
static PetscErrorCode SumsFit(MPI_Comm comm, PetscMPIInt count, const uint64_t values[], PetscBool *fit)
{
  const int64_t range = INT64_C(1) << (HIGH_BITS - SHIFT);
  int64_t      *upper;

  PetscFunctionBeginUser;
  *fit = PETSC_TRUE;
  PetscCall(PetscMalloc1(count, &upper));
  for (PetscMPIInt i = 0; i < count; ++i) upper[i] = (int64_t)values[i] >> SHIFT;
  PetscCallMPI(MPI_Allreduce(MPI_IN_PLACE, upper, count, MPI_INT64_T, MPI_SUM, comm));
  for (PetscMPIInt i = 0; i < count; ++i)
    if (upper[i] >= range || upper[i] < -range) *fit = PETSC_FALSE;
  PetscCall(PetscFree(upper));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* work = sums over ranks of entries at .. at+count, high limbs, then low ones; one message. Its last number is the sum
 * of the ranks' largest entries: where that is below the range, no sum can have left it. */
static PetscErrorCode ReduceEntries(CkExactSum sum, size_t at, PetscMPIInt count)
{
  uint64_t   *work = sum->work;
  PetscMPIInt n = sum->limbs * count;
  int64_t     largest = 0;
  PetscBool   fit = PETSC_TRUE;

  PetscFunctionBeginUser;
  PetscCall(PetscArraycpy(work, sum->high + at, count));
  if (sum->low) PetscCall(PetscArraycpy(work + count, sum->low + at, count));
  for (PetscMPIInt i = 0; i < count; ++i) largest = PetscMax(largest, llabs((int64_t)work[i] >> SHIFT) + 1);
  work[n] = (uint64_t)largest;
  PetscCallMPI(MPI_Allreduce(MPI_IN_PLACE, work, n + 1, MPI_INT64_T, MPI_SUM, sum->comm));
  if (work[n] >= UINT64_C(1) << (HIGH_BITS - SHIFT)) PetscCall(SumsFit(sum->comm, count, sum->high + at, &fit));
  if (!fit)
    CkCheckAll(sum->comm, PETSC_FALSE, PETSC_ERR_ARG_OUTOFRANGE,
               "the sum over all ranks leaves the bound %g of exact sum %" PetscInt_FMT " or a following one",
               sum->bounds[at / (size_t)sum->n], (PetscInt)(at / (size_t)sum->n));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The double nearest to high 2^40 + low: two parts of at most 51 bits are exact, so their sum is rounded once. */
static inline double RoundedPair(int64_t high, int64_t low)
{
  const int64_t carried = high + (low >> LOW_BITS), below = INT64_C(1) << (HIGH_BITS - 51);
  const int64_t rest = (carried & (below - 1)) << LOW_BITS | (low & ((INT64_C(1) << LOW_BITS) - 1));

  return (double)(carried & ~(below - 1)) * 0x1p40 + (double)rest;
}

/* Integers to doubles, each vector with its own unit. */
static void Convert(CkExactSum sum, size_t at, PetscMPIInt count, double out[])
{
  const int64_t *high = (const int64_t *)sum->work, *low = high + count;

  for (PetscMPIInt first = 0, last; first < count; first = last) {
    const size_t j = (at + (size_t)first) / (size_t)sum->n;
    const double unit = CkExactSumUnit(sum->bounds[j], sum->limbs - 1);

    last = (PetscMPIInt)PetscMin((size_t)count, (j + 1) * (size_t)sum->n - at);
    for (PetscMPIInt i = first; i < last; ++i) {
      out[i] = (sum->low ? RoundedPair(high[i], low[i]) : (double)high[i]) * unit;
    }
  }
}

PetscErrorCode CkExactSumReduce(CkExactSum sum, double out[])
{
  const size_t entries = (size_t)sum->n * (size_t)sum->m;

  PetscFunctionBeginUser;
  for (PetscInt j = 0; j < sum->m; ++j) Carry(sum, j); /* low limbs below 2^40: sums over 2^22 ranks fit */
  for (size_t at = 0; at < entries; at += CK_EXACTSUM_CHUNK) {
    const PetscMPIInt count = (PetscMPIInt)PetscMin(CK_EXACTSUM_CHUNK, entries - at);

    PetscCall(ReduceEntries(sum, at, count));
    Convert(sum, at, count, out + at);
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}
