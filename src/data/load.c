#include "dataimpl.h"
#include <clarkia/progress.h>
#include <math.h>
#include <string.h>

/* load.c: rows of the file into the store. */

/* What this rank reads: samples begin .. end of the selection, from rows first .. last of the file, `piece` at once. */
typedef struct {
  PetscInt   begin, end;
  PetscInt64 first, last, piece;
  char      *buffer; /* NULL: rows go straight into the store */
} Share;

static PetscInt64 RowOf(const CkSelection *selection, PetscInt sample)
{
  return selection->rows ? selection->rows[sample] : (PetscInt64)selection->first + sample;
}

static PetscErrorCode ShareCreate(CkData data, Share *share)
{
  const PetscInt n = data->selection.n;
  const size_t   row = CkDataRowBytes(data);

  PetscFunctionBeginUser;
  share->begin = (PetscInt)CkPartStart(n, data->store.parts, data->store.part);
  share->end = (PetscInt)CkPartStart(n, data->store.parts, data->store.part + 1);
  share->first = share->last = 0;
  if (share->begin < share->end) {
    share->first = RowOf(&data->selection, share->begin);
    share->last = RowOf(&data->selection, share->end - 1) + 1;
  }
  share->piece = PetscMax(1, (PetscInt64)(CK_PIECE_BYTES / row));
  if (data->reader->rows_per_read) share->piece = data->reader->rows_per_read;
  share->piece = PetscMin(share->piece, PetscMax(1, share->last - share->first));
  share->buffer = NULL;
  if (data->selection.rows) PetscCall(PetscMalloc1((size_t)share->piece * row, &share->buffer));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Takes the chosen ones of the rows [first, first + count) in the buffer; next: the first sample not taken yet. */
static void PickRows(CkData data, const Share *share, PetscInt64 first, PetscInt64 count, PetscInt *next)
{
  const size_t row = CkDataRowBytes(data);

  for (; *next < share->end && data->selection.rows[*next] < first + count; ++*next)
    memcpy(data->store.bytes + (size_t)*next * row, share->buffer + (size_t)(data->selection.rows[*next] - first) * row,
           row);
}

/* The pieces of all ranks, one after the other; every rank takes part in every round, since a reader may be collective.
 */
static PetscErrorCode ReadShare(CkData data, const Share *share, CkVerdict *verdict)
{
  const size_t row = CkDataRowBytes(data);
  PetscInt64   rounds = (share->last - share->first + share->piece - 1) / share->piece;
  PetscInt     next = share->begin;
  CkProgress   progress;

  PetscFunctionBeginUser;
  PetscCallMPI(MPI_Allreduce(MPI_IN_PLACE, &rounds, 1, MPIU_INT64, MPI_MAX, data->comm));
  PetscCall(CkProgressCreate(data->comm, "reading samples", "pieces", (double)rounds, &progress));
  for (PetscInt64 r = 0; r < rounds; ++r) {
    const PetscInt64 first = PetscMin(share->first + r * share->piece, share->last);
    const PetscInt64 count = PetscMin(share->piece, share->last - first);
    char *const to = share->buffer ? share->buffer : data->store.bytes + (size_t)(first - data->selection.first) * row;

    PetscCall((*data->reader->ops->features)(data->reader, first, count, count ? to : NULL, verdict));
    if (share->buffer && !verdict->code) PickRows(data, share, first, count, &next);
    PetscCall(CkProgressUpdate(progress, (double)(r + 1)));
  }
  if (data->reader->ops->verify) PetscCall((*data->reader->ops->verify)(data->reader, verdict));
  PetscCall(CkProgressDestroy(&progress));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* float32 samples must be finite. */
static void CheckFinite(CkData data, const Share *share, CkVerdict *verdict)
{
  const CkShape s = data->stored_shape;
  const size_t  size = (size_t)CkShapeSize(s);

  if (data->stored_type != CK_F32) return;
  for (PetscInt i = share->begin; i < share->end && !verdict->code; ++i) {
    const float *x = (const float *)(const void *)data->store.bytes + (size_t)i * size;

    for (size_t j = 0; j < size && !verdict->code; ++j)
      if (!isfinite(x[j]))
        CkVerdictFail(verdict, PETSC_ERR_FP,
                      "%.512s: sample %" PetscInt64_FMT ", feature %zu (channel %zu, row %zu, column %zu) is %g; all "
                      "must be finite",
                      data->settings.path, RowOf(&data->selection, i), j, j / (size_t)(s.h * s.w),
                      j / (size_t)s.w % (size_t)s.h, j % (size_t)s.w, CkPlainNan((double)x[j]));
  }
}

PetscErrorCode CkDataLoad(CkData data)
{
  const size_t bytes = (size_t)data->selection.n * CkDataRowBytes(data);
  CkVerdict    verdict = {0};
  Share        share;

  PetscFunctionBeginUser;
  PetscCall(PetscLogEventBegin(CK_IO, 0, 0, 0, 0));
  PetscCall(CkNodeArrayCreate(data->comm, bytes, data->shared, &data->store));
  PetscCall(ShareCreate(data, &share));
  PetscCall(ReadShare(data, &share, &verdict));
  if (!verdict.code) CheckFinite(data, &share, &verdict);
  PetscCall(PetscFree(share.buffer));
  PetscCall(CkCheckVerdict(data->comm, &verdict));
  PetscCall(CkNodeArraySync(&data->store));
  PetscCall(PetscLogEventEnd(CK_IO, 0, 0, 0, 0));
  PetscFunctionReturn(PETSC_SUCCESS);
}
