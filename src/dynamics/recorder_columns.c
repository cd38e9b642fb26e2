/* recorder_columns.c: which weights, or which projections, a snapshot holds. */
#include "recorder.h"
#include <clarkia/error.h>
#include <clarkia/random.h>
#include <math.h>

/* Numbers of random directions, apart from those of other test vectors. */
#define FIRST_DIRECTION ((uint64_t)1 << 32)

static PetscErrorCode CheckList(CkRecorder r)
{
  PetscFunctionBeginUser;
  for (PetscInt i = 0; i < r->nlist; ++i)
    CkCheckAll(r->comm, r->list[i] < r->dynamics->d, PETSC_ERR_ARG_OUTOFRANGE,
               "-record_list has weight %" PetscInt_FMT ", but the weights of this net are numbered 0 to %" PetscInt_FMT
               ": leave it out",
               r->list[i], r->dynamics->d - 1);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* As many as asked for, or all of the file. */
static PetscErrorCode CountEigenvectors(CkRecorder r)
{
  PetscInt64 count;

  PetscFunctionBeginUser;
  PetscCall(CkFileCountEigenvectors(r->comm, "record_spectrum", r->spectrum, r->dynamics->d, &count));
  CkCheckAll(r->comm, r->count <= count, PETSC_ERR_ARG_OUTOFRANGE,
             "-record_count %" PetscInt_FMT ": %s holds %" PetscInt64_FMT " eigenvectors", r->count, r->spectrum,
             count);
  r->info.columns = r->count > 0 ? r->count : count;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkRecorderCountColumns(CkRecorder r)
{
  const PetscInt d = r->dynamics->d;

  PetscFunctionBeginUser;
  r->info.content = r->what == CK_RECORD_ALL     ? CK_CONTENT_ALL
                    : r->what < CK_RECORD_RANDOM ? CK_CONTENT_SUBSET
                                                 : CK_CONTENT_PROJECTIONS;
  switch (r->what) {
  case CK_RECORD_ALL:
    r->info.columns = d;
    break;
  case CK_RECORD_STRIDE:
    r->info.columns = (d + r->stride - 1) / r->stride;
    break;
  case CK_RECORD_LIST:
    PetscCall(CheckList(r));
    r->info.columns = r->nlist;
    break;
  case CK_RECORD_RANDOM:
    r->info.columns = r->count;
    break;
  case CK_RECORD_EIGENVECTORS:
    PetscCall(CountEigenvectors(r));
    break;
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Uniform on the sphere: normal numbers over their norm. */
static void DrawDirection(CkRecorder r, PetscInt64 number, double v[])
{
  const CkRandom stream = {
    .seed = r->dynamics->seed, .purpose = CK_RANDOM_PROBE, .replica = 0, .step = FIRST_DIRECTION + (uint64_t)number};
  const size_t d = (size_t)r->dynamics->d;
  long double  sum = 0;

  CkRandomNormals(&stream, 0, d, v);
  for (size_t i = 0; i < d; ++i) sum += (long double)v[i] * v[i];
  for (size_t i = 0; i < d; ++i) v[i] /= (double)sqrtl(sum);
}

static PetscErrorCode ReadEigenvectors(CkRecorder r)
{
  CkFile file;

  PetscFunctionBeginUser;
  PetscCall(CkFileOpen(r->comm, r->spectrum, &file));
  PetscCall(CkFileReadRows(file, "/eigenvectors", CK_F64, r->mine.columns > 0 ? r->mine.column : 0, r->mine.columns,
                           r->directions));
  PetscCall(CkFileDestroy(&file));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkRecorderMakeColumns(CkRecorder r)
{
  const PetscInt64 n = r->mine.columns, first = r->mine.column;
  const size_t     d = (size_t)r->dynamics->d;

  PetscFunctionBeginUser;
  if (r->info.content == CK_CONTENT_PROJECTIONS) {
    PetscCall(PetscMalloc1((size_t)n * d, &r->directions));
    if (r->what == CK_RECORD_EIGENVECTORS) PetscCall(ReadEigenvectors(r));
    for (PetscInt64 j = 0; r->what == CK_RECORD_RANDOM && j < n; ++j)
      DrawDirection(r, first + j, r->directions + (size_t)j * d);
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  PetscCall(PetscMalloc1(n, &r->columns));
  for (PetscInt64 j = 0; j < n; ++j) {
    if (r->what == CK_RECORD_LIST) r->columns[j] = r->list[first + j];
    else r->columns[j] = (first + j) * (r->what == CK_RECORD_STRIDE ? r->stride : 1);
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}
