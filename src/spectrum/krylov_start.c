#include "krylov.h"
#include <clarkia/error.h>

/* krylov_start.c: -spectrum_start, the eigenvectors of an earlier spectrum as initial space. */

static PetscErrorCode ReadVectors(CkSpectrum s, PetscInt *count, Vec **V)
{
  CkFile     file;
  PetscInt64 stored;
  double    *row;

  PetscFunctionBeginUser;
  PetscCall(CkFileCountEigenvectors(s->comm, "spectrum_start", s->start, s->d, &stored));
  *count = (PetscInt)PetscMin(stored, (PetscInt64)PetscMax(s->krylov.nev, s->krylov.block));
  PetscCall(CkFileOpen(s->comm, s->start, &file));
  PetscCall(CkSpectrumCreateVectors(s, *count, V));
  PetscCall(PetscMalloc1(s->d, &row));
  for (PetscInt j = 0; j < *count; ++j) {
    PetscScalar *mine;
    PetscInt     first, last;

    PetscCall(CkFileReadRows(file, "/eigenvectors", CK_F64, j, 1, row));
    PetscCall(VecGetOwnershipRange((*V)[j], &first, &last));
    PetscCall(VecGetArrayWrite((*V)[j], &mine));
    PetscCall(PetscArraycpy(mine, row + first, last - first));
    PetscCall(VecRestoreArrayWrite((*V)[j], &mine));
  }
  PetscCall(PetscFree(row));
  PetscCall(CkFileDestroy(&file));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* u ~ Gc v belongs to v: one pass for all. */
static PetscErrorCode ToSamples(CkSpectrum s, PetscInt count, const Vec V[], Vec U[])
{
  const CkBatch all = CkBatchAll(s->N);
  double       *S;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc1((size_t)s->N * (size_t)count, &S));
  PetscCall(CkLossSlopes(s->loss, &all, count, V, S));
  for (PetscInt j = 0; j < count; ++j) {
    PetscScalar *mine;
    double       mean = 0;

    for (size_t k = 0; k < (size_t)s->N; ++k) mean += S[k * (size_t)count + (size_t)j] / (double)s->N;
    PetscCall(VecCreateSeq(PETSC_COMM_SELF, s->N, &U[j]));
    PetscCall(VecGetArrayWrite(U[j], &mine));
    for (size_t k = 0; k < (size_t)s->N; ++k) mine[k] = S[k * (size_t)count + (size_t)j] - mean;
    PetscCall(VecRestoreArrayWrite(U[j], &mine));
  }
  PetscCall(PetscFree(S));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode SetSpace(CkSpectrum s, EPS eps, PetscInt count, const Vec V[])
{
  Vec *U;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc1(count, &U));
  if (s->krylov.form == CK_KRYLOV_WEIGHT) { /* copies: the solver may write to them */
    for (PetscInt j = 0; j < count; ++j) PetscCall(VecDuplicate(V[j], &U[j]));
    for (PetscInt j = 0; j < count; ++j) PetscCall(VecCopy(V[j], U[j]));
  } else PetscCall(ToSamples(s, count, V, U));
  PetscCall(EPSSetInitialSpace(eps, count, U));
  PetscCall(CkSpectrumDestroyVectors(count, &U));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkKrylovSetStart(CkSpectrum s, EPS eps)
{
  PetscInt count = 0;
  Vec     *V;

  PetscFunctionBeginUser;
  if (s->nstart > 0) {
    count = PetscMin(s->nstart, s->krylov.nev);
    PetscCall(SetSpace(s, eps, count, s->start_vectors));
    PetscCall(
      CkLog(s->comm, "starting from %" PetscInt_FMT " eigenvector%s of the spectrum before", count, CkPlural(count)));
  } else if (s->start[0]) {
    PetscCall(ReadVectors(s, &count, &V));
    PetscCall(SetSpace(s, eps, count, V));
    PetscCall(CkSpectrumDestroyVectors(count, &V));
    PetscCall(CkLog(s->comm, "starting from %" PetscInt_FMT " eigenvector%s of %s", count, CkPlural(count), s->start));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}
