#include "dataimpl.h"
#include <clarkia/progress.h>
#include <math.h>
#include <string.h>

/* load.c: rows of the file into the store; each rank reads its own run of samples and no other. */
#define ROWS_PER_READ 4096

typedef struct {
  PetscInt   begin, end; /* samples of this rank */
  PetscInt64 row, last;  /* next row of the file and the one after the last */
  PetscInt64 step;       /* rows a read */
  PetscInt   sample;     /* next sample */
  char      *rows;
} Load;

static PetscInt64 RowOf(CkData data, PetscInt sample)
{
  return data->selection.rows ? data->selection.rows[sample] : data->selection.first + sample;
}

/* Moves the samples among rows row .. row+count to their place; true if one of them is not finite. */
static void Keep(CkData data, Load *load, PetscInt64 count, size_t bytes, CkVerdict *verdict)
{
  const PetscInt size = CkShapeSize(data->reader->shape);

  for (; load->sample < load->end && RowOf(data, load->sample) < load->row + count; ++load->sample) {
    const char  *row = load->rows + (size_t)(RowOf(data, load->sample) - load->row) * bytes;
    const float *value = (const float *)(const void *)row;

    memcpy(data->store.bytes + (size_t)load->sample * bytes, row, bytes);
    if (data->reader->type != CK_F32) continue;
    for (PetscInt j = 0; j < size; ++j)
      if (!isfinite(value[j]))
        CkVerdictFail(verdict, PETSC_ERR_FP,
                      "%.256s: feature %" PetscInt_FMT " of sample %" PetscInt64_FMT
                      " is %g; every feature must be a finite number: mend or remove the sample",
                      data->settings.path, j, RowOf(data, load->sample), (double)value[j]);
  }
}

static PetscErrorCode CountReads(CkData data, Load *load, PetscInt64 *reads)
{
  const PetscInt n = data->selection.n;

  PetscFunctionBeginUser;
  load->begin = load->sample = (PetscInt)CkPartStart(n, data->store.parts, data->store.part);
  load->end = (PetscInt)CkPartStart(n, data->store.parts, data->store.part + 1);
  load->step =
    data->reader->rows_per_read ? PetscMin(data->reader->rows_per_read, data->reader->samples) : ROWS_PER_READ;
  load->row = load->last = 0;
  if (load->end > load->begin) {
    load->row = RowOf(data, load->begin);
    load->last = RowOf(data, load->end - 1) + 1;
  }
  load->step = PetscMin(load->step, PetscMax(1, load->last - load->row));
  *reads = (load->last - load->row + load->step - 1) / load->step;
  PetscCallMPI(MPI_Allreduce(MPI_IN_PLACE, reads, 1, MPI_INT64_T, MPI_MAX, data->comm));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkDataLoad(CkData data)
{
  const size_t bytes = CkDataRowBytes(data);
  CkVerdict    verdict = {0};
  Load         load;
  PetscInt64   reads;

  PetscFunctionBeginUser;
  PetscCall(PetscLogEventBegin(CK_IO, 0, 0, 0, 0));
  PetscCall(CountReads(data, &load, &reads));
  PetscCall(PetscMalloc1((size_t)load.step * bytes, &load.rows));
  for (PetscInt64 i = 0; i < reads; ++i) {
    const PetscInt64 count = PetscMin(load.step, load.last - load.row);

    PetscCall((*data->reader->ops->features)(data->reader, load.row, count, load.rows, &verdict));
    if (!verdict.code) Keep(data, &load, count, bytes, &verdict);
    load.row += count;
  }
  PetscCall(PetscFree(load.rows));
  PetscCall(CkCheckVerdict(data->comm, &verdict));
  if (data->reader->ops->verify) PetscCall((*data->reader->ops->verify)(data->reader, &verdict));
  PetscCall(CkCheckVerdict(data->comm, &verdict));
  PetscCall(CkStoreSync(&data->store));
  PetscCall(PetscLogEventEnd(CK_IO, 0, 0, 0, 0));
  PetscFunctionReturn(PETSC_SUCCESS);
}
