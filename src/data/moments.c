#include "dataimpl.h"
#include <math.h>
#include <string.h>

/*
  moments.c: statistics over all samples, and the checksum. The samples are cut into blocks that do not depend on the
  number of ranks; block b is done by rank b mod P, and the blocks' results are added up in order on every rank.
*/
#define BLOCKS 64
#define ROWS_AT_ONCE 64
#define HASH_ROWS 1024

typedef struct {
  PetscInt groups; /* consecutive numbers of a sample, `plane` each */
  PetscInt plane;
  double  *sums; /* [blocks x groups] */
  double  *least, *greatest;
  double  *centre; /* [groups] NULL: sums of x, else of (x - centre)^2 */
} Moments;

static void MomentsAddRow(const Moments *m, const float x[], double sums[])
{
  for (PetscInt g = 0; g < m->groups; ++g, x += m->plane) {
    const double centre = m->centre ? m->centre[g] : 0;
    double       sum = 0;

    for (PetscInt j = 0; j < m->plane; ++j) sum += m->centre ? (x[j] - centre) * (x[j] - centre) : (double)x[j];
    sums[g] += sum;
  }
}

static void MomentsBounds(const Moments *m, const float x[])
{
  for (PetscInt g = 0; g < m->groups; ++g)
    for (PetscInt j = 0; j < m->plane; ++j, ++x) {
      m->least[g] = fmin(m->least[g], (double)*x);
      m->greatest[g] = fmax(m->greatest[g], (double)*x);
    }
}

/* One pass over the samples: out[groups] = sum over all blocks, in their order. */
static PetscErrorCode MomentsPass(CkData data, Moments *m, double out[])
{
  const PetscInt n = data->selection.n, size = CkShapeSize(data->stored_shape), blocks = PetscMin(n, BLOCKS);
  PetscMPIInt    length;
  float         *rows;

  PetscFunctionBeginUser;
  PetscCall(PetscMPIIntCast(blocks * m->groups, &length));
  PetscCall(PetscMalloc1((size_t)size * ROWS_AT_ONCE, &rows));
  PetscCall(PetscArrayzero(m->sums, (size_t)length));
  for (PetscInt b = data->rank; b < blocks; b += data->ranks) {
    const PetscInt end = (PetscInt)CkPartStart(n, blocks, b + 1);

    for (PetscInt i = (PetscInt)CkPartStart(n, blocks, b); i < end; i += ROWS_AT_ONCE) {
      const PetscInt count = PetscMin(ROWS_AT_ONCE, end - i);

      CkDataFetchRange(data, i, count, PETSC_TRUE, rows);
      for (PetscInt k = 0; k < count; ++k) {
        MomentsAddRow(m, rows + (size_t)k * (size_t)size, m->sums + (size_t)b * (size_t)m->groups);
        if (!m->centre) MomentsBounds(m, rows + (size_t)k * (size_t)size);
      }
    }
  }
  PetscCall(PetscFree(rows));
  /* one rank has each number and the others 0: the sum is exact */
  PetscCallMPI(MPI_Allreduce(MPI_IN_PLACE, m->sums, length, MPI_DOUBLE, MPI_SUM, data->comm));
  PetscCall(PetscArrayzero(out, (size_t)m->groups));
  for (PetscInt b = 0; b < blocks; ++b)
    for (PetscInt g = 0; g < m->groups; ++g) out[g] += m->sums[(size_t)b * (size_t)m->groups + (size_t)g];
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkDataMoments(CkData data, PetscBool per_feature, double mean[], double deviation[], double least[],
                             double greatest[])
{
  const CkShape s = data->stored_shape;
  const size_t  groups = (size_t)(per_feature ? CkShapeSize(s) : s.c);
  Moments       m = {.groups = (PetscInt)groups, .plane = per_feature ? 1 : s.h * s.w};
  double        terms = (double)data->selection.n * (double)m.plane, *average, *spread;
  PetscMPIInt   length;

  PetscFunctionBeginUser;
  PetscCall(PetscMPIIntCast(m.groups, &length));
  PetscCall(
    PetscMalloc5(groups, &average, groups, &spread, groups, &m.least, groups, &m.greatest, groups * BLOCKS, &m.sums));
  for (size_t g = 0; g < groups; ++g) {
    m.least[g] = INFINITY;
    m.greatest[g] = -INFINITY;
  }
  PetscCall(MomentsPass(data, &m, average));
  for (size_t g = 0; g < groups; ++g) average[g] /= terms;
  PetscCallMPI(MPI_Allreduce(MPI_IN_PLACE, m.least, length, MPI_DOUBLE, MPI_MIN, data->comm));
  PetscCallMPI(MPI_Allreduce(MPI_IN_PLACE, m.greatest, length, MPI_DOUBLE, MPI_MAX, data->comm));
  if (mean) PetscCall(PetscArraycpy(mean, average, groups));
  if (least) PetscCall(PetscArraycpy(least, m.least, groups));
  if (greatest) PetscCall(PetscArraycpy(greatest, m.greatest, groups));
  if (deviation) {
    m.centre = average;
    PetscCall(MomentsPass(data, &m, spread));
    for (size_t g = 0; g < groups; ++g) deviation[g] = sqrt(spread[g] / terms);
  }
  PetscCall(PetscFree5(average, spread, m.least, m.greatest, m.sums));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkDataComputeChecksum(CkData data)
{
  const PetscInt   n = data->selection.n, blocks = (n + HASH_ROWS - 1) / HASH_ROWS, channels = data->stored_shape.c;
  const PetscInt64 header[] = {n, channels, data->stored_shape.h, data->stored_shape.w, (PetscInt64)data->stored_type};
  const size_t     row = CkDataRowBytes(data);
  PetscMPIInt      length;
  uint64_t        *parts, hash;

  PetscFunctionBeginUser;
  PetscCall(PetscMPIIntCast(blocks, &length));
  PetscCall(PetscCalloc1((size_t)blocks, &parts));
  for (PetscInt b = data->rank; b < blocks; b += data->ranks) {
    const PetscInt count = PetscMin(HASH_ROWS, n - b * HASH_ROWS);

    parts[b] = CkChecksum(0, data->store.bytes + (size_t)b * HASH_ROWS * row, (size_t)count * row);
  }
  PetscCallMPI(MPI_Allreduce(MPI_IN_PLACE, parts, length, MPI_UINT64_T, MPI_BOR, data->comm));
  hash = CkChecksum(0, header, sizeof(header));
  hash = CkChecksum(hash, parts, (size_t)blocks * sizeof(uint64_t));
  hash = CkChecksum(hash, data->scale, (size_t)channels * sizeof(double));
  hash = CkChecksum(hash, data->shift, (size_t)channels * sizeof(double));
  data->checksum = CkChecksum(hash, data->labels, (size_t)n * sizeof(int32_t));
  PetscCall(PetscFree(parts));
  PetscFunctionReturn(PETSC_SUCCESS);
}
