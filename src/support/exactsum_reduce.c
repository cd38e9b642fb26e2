/* exactsum_reduce.c: sums over ranks, to every rank or each vector to a rank of its own. */
#include "exactsum_private.h"
#include <clarkia/error.h>
#include <stdlib.h>

/* Above so many ranks an exchange of every rank with every other one wants as many vectors as ranks. */
static const PetscMPIInt PAIRS_WITHIN = 64;

static PetscErrorCode Reserve(CkExactSum sum, size_t n)
{
  PetscFunctionBeginUser;
  if (n > sum->room) {
    PetscCall(PetscFree(sum->work));
    PetscCall(PetscMalloc1(n, &sum->work));
    sum->room = n;
  }
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
  PetscMPIInt n = sum->limbs * count;
  int64_t     largest = 0;
  PetscBool   fit = PETSC_TRUE;
  uint64_t   *work;

  PetscFunctionBeginUser;
  PetscCall(Reserve(sum, (size_t)n + 1));
  work = sum->work;
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

/* Integers of vector j to doubles. */
static void Convert(CkExactSum sum, PetscInt j, size_t count, const uint64_t high[], const uint64_t low[], double out[])
{
  const double unit = CkExactSumUnit(sum->bounds[j], sum->limbs - 1);

  for (size_t i = 0; i < count; ++i)
    out[i] = (sum->low ? RoundedPair((int64_t)high[i], (int64_t)low[i]) : (double)(int64_t)high[i]) * unit;
}

/* Low limbs below 2^40: sums over 2^22 ranks fit. */
static void CarryAll(CkExactSum sum, PetscInt first, PetscInt count)
{
  for (PetscInt j = first; j < first + count; ++j) CkExactSumCarry(sum, j);
}

PetscErrorCode CkExactSumReduce(CkExactSum sum, double out[])
{
  const size_t n = (size_t)sum->n, entries = n * (size_t)sum->m;

  PetscFunctionBeginUser;
  CarryAll(sum, 0, sum->m);
  for (size_t at = 0; at < entries; at += CK_EXACTSUM_CHUNK) {
    const size_t count = PetscMin(CK_EXACTSUM_CHUNK, entries - at);

    PetscCall(ReduceEntries(sum, at, (PetscMPIInt)count));
    for (size_t first = 0, last; first < count; first = last) { /* each vector with its own unit */
      const size_t j = (at + first) / n;

      last = PetscMin(count, (j + 1) * n - at);
      Convert(sum, (PetscInt)j, last - first, sum->work + first, sum->work + count + first, out + at + first);
    }
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* By sums of all on every rank. */
static PetscErrorCode ShareByAllreduce(CkExactSum sum, PetscInt first, PetscInt count, double out[])
{
  const size_t n = (size_t)sum->n;
  PetscMPIInt  rank;

  PetscFunctionBeginUser;
  PetscCallMPI(MPI_Comm_rank(sum->comm, &rank));
  for (PetscInt r = 0; r < count; ++r)
    for (size_t at = 0; at < n; at += CK_EXACTSUM_CHUNK) {
      const size_t some = PetscMin(CK_EXACTSUM_CHUNK, n - at);

      PetscCall(ReduceEntries(sum, (size_t)(first + r) * n + at, (PetscMPIInt)some));
      if (r == rank) Convert(sum, first + r, some, sum->work, sum->work + some, out + at);
    }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* to += from; the sign bit of the result is set if a sum is not below 2^62. */
CK_CLONES static uint64_t AddIntegers(size_t n, const uint64_t from[restrict], uint64_t to[restrict])
{
  uint64_t bad = 0;

  for (size_t i = 0; i < n; ++i) {
    to[i] += from[i];
    bad |= to[i] ^ to[i] << 1;
  }
  return bad >> 63;
}

/* An exchange in which vector first + r goes to rank r, piece by piece. */
typedef struct {
  CkExactSum   sum;
  PetscInt     first, count;
  PetscMPIInt  rank, size;
  size_t       piece;
  MPI_Request *requests; /* [2 x limbs x size] */
  PetscBool    fit;
} Exchange;

/* Entries at .. at+n of the vectors; what others send stands in work, one after the other, high limbs, then low ones.
 */
static PetscErrorCode ExchangePiece(const Exchange *x, size_t at, PetscMPIInt n)
{
  const CkExactSum sum = x->sum;
  uint64_t        *to = sum->work;
  int              requests = 0;

  PetscFunctionBeginUser;
  for (PetscMPIInt r = 0; r < x->size; ++r) {
    const size_t theirs = (size_t)(x->first + r) * (size_t)sum->n + at;

    if (r == x->rank) continue;
    for (int limb = 0; limb < sum->limbs; ++limb) {
      const uint64_t *limbs = limb == 0 ? sum->high : sum->low;

      if (x->rank < x->count) {
        PetscCallMPI(MPI_Irecv(to, n, MPI_UINT64_T, r, limb, sum->comm, &x->requests[requests++]));
        to += n;
      }
      if (r < x->count)
        PetscCallMPI(MPI_Isend(limbs + theirs, n, MPI_UINT64_T, r, limb, sum->comm, &x->requests[requests++]));
    }
  }
  PetscCallMPI(MPI_Waitall(requests, x->requests, MPI_STATUSES_IGNORE));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Whether the sums of high limbs in `own` and in work, `step` apart for each of the other ranks, are below 2^62: as
   SumsFit(). */
static PetscBool PieceFits(const Exchange *x, size_t n, size_t step, const uint64_t own[])
{
  const int64_t range = INT64_C(1) << (HIGH_BITS - SHIFT);

  for (size_t i = 0; i < n; ++i) {
    int64_t upper = (int64_t)own[i] >> SHIFT;

    for (size_t r = 0; r + 1 < (size_t)x->size; ++r) upper += (int64_t)x->sum->work[r * step + i] >> SHIFT;
    if (upper >= range || upper < -range) return PETSC_FALSE;
  }
  return PETSC_TRUE;
}

/* This rank's vector of the exchange: the sum of a piece, as doubles. */
static void SumPiece(Exchange *x, size_t at, size_t n, double out[])
{
  const CkExactSum sum = x->sum;
  const PetscInt   j = x->first + x->rank;
  const size_t     mine = (size_t)j * (size_t)sum->n + at, step = (size_t)sum->limbs * n;
  uint64_t        *total = sum->work + (size_t)(x->size - 1) * step, bad = 0;

  for (size_t i = 0; i < n; ++i) total[i] = sum->high[mine + i];
  for (size_t i = 0; i < n && sum->low; ++i) total[n + i] = sum->low[mine + i];
  for (size_t r = 0; r + 1 < (size_t)x->size; ++r) {
    const uint64_t *from = sum->work + r * step;

    bad |= AddIntegers(n, from, total);
    if (sum->low) (void)AddIntegers(n, from + n, total + n);
  }
  if (bad && !PieceFits(x, n, step, sum->high + mine)) x->fit = PETSC_FALSE;
  Convert(sum, j, n, total, total + n, out);
}

static PetscErrorCode ShareByPairs(Exchange *x, double out[])
{
  const CkExactSum sum = x->sum;
  const size_t     n = (size_t)sum->n;
  PetscInt         mine;

  PetscFunctionBeginUser;
  x->piece = PetscMin(n, PetscMax(CK_EXACTSUM_CHUNK / (size_t)(8 * x->size), 1024));
  PetscCall(Reserve(sum, (size_t)(x->size * sum->limbs) * x->piece));
  PetscCall(PetscMalloc1(2 * sum->limbs * x->size, &x->requests));
  for (size_t at = 0; at < n; at += x->piece) {
    const size_t some = PetscMin(x->piece, n - at);

    PetscCall(ExchangePiece(x, at, (PetscMPIInt)some));
    if (x->rank < x->count) SumPiece(x, at, some, out + at);
  }
  PetscCall(PetscFree(x->requests));
  mine = PetscMin(x->first + x->rank, sum->m - 1);
  CkCheckAll(sum->comm, x->fit, PETSC_ERR_ARG_OUTOFRANGE,
             "the sum over all ranks leaves the bound %g of exact sum %" PetscInt_FMT, sum->bounds[mine], mine);
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkExactSumReduceShare(CkExactSum sum, PetscInt first, PetscInt count, double out[])
{
  Exchange x = {.sum = sum, .first = first, .count = count, .fit = PETSC_TRUE};

  PetscFunctionBeginUser;
  PetscCallMPI(MPI_Comm_rank(sum->comm, &x.rank));
  PetscCallMPI(MPI_Comm_size(sum->comm, &x.size));
  PetscCheck(
    first >= 0 && count >= 0 && count <= x.size && first + count <= sum->m, sum->comm, PETSC_ERR_ARG_OUTOFRANGE,
    "Vectors from %" PetscInt_FMT " on, %" PetscInt_FMT " of them, of %" PetscInt_FMT ", to as many ranks of %d", first,
    count, sum->m, x.size);
  CarryAll(sum, first, count);
  if (x.size <= PetscMax(PAIRS_WITHIN, (PetscMPIInt)count)) PetscCall(ShareByPairs(&x, out));
  else PetscCall(ShareByAllreduce(sum, first, count, out));
  PetscFunctionReturn(PETSC_SUCCESS);
}
