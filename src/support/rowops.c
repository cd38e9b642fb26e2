#include <clarkia/rowops.h>
#include <petscblaslapack.h>

/*
  Row-major G [n x ld] is BLAS's column-major [ld x n]: every product below is written for those transposes.
*/
typedef struct {
  PetscBLASInt n, d, ld, m;
} BlasSizes;

static PetscErrorCode Sizes(const CkRows *rows, PetscInt m, BlasSizes *s)
{
  PetscFunctionBeginUser;
  PetscCheck(rows->d >= 1 && rows->ld >= (size_t)rows->d, PETSC_COMM_SELF, PETSC_ERR_ARG_SIZ,
             "Rows of %" PetscInt_FMT " numbers in a stride of %zu", rows->d, rows->ld);
  PetscCheck(rows->ld <= (size_t)PETSC_BLAS_INT_MAX, PETSC_COMM_SELF, PETSC_ERR_ARG_OUTOFRANGE,
             "Row stride %zu is beyond the BLAS index type (%d)", rows->ld, (int)PETSC_BLAS_INT_MAX);
  PetscCall(PetscBLASIntCast(rows->n, &s->n));
  PetscCall(PetscBLASIntCast(rows->d, &s->d));
  PetscCall(PetscBLASIntCast(m, &s->m));
  s->ld = (PetscBLASInt)rows->ld;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkRowsSquaredNorms(const CkRows *rows, double norms[])
{
  const PetscBLASInt one = 1;
  BlasSizes          s;

  PetscFunctionBeginUser;
  PetscCall(Sizes(rows, 1, &s));
  for (PetscInt k = 0; k < rows->n; ++k) {
    const double *g = rows->G + (size_t)k * rows->ld;

    norms[k] = BLASdot_(&s.d, g, &one, g, &one);
  }
  PetscCall(PetscLogFlops(2.0 * (double)rows->n * (double)rows->d));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkRowsDot(const CkRows *rows, PetscInt m, const double V[], double S[])
{
  const double one = 1, zero = 0;
  BlasSizes    s;

  PetscFunctionBeginUser;
  PetscCall(Sizes(rows, m, &s));
  if (rows->n < 1 || m < 1) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCallBLAS("BLASgemm", BLASgemm_("T", "N", &s.m, &s.n, &s.d, &one, V, &s.d, rows->G, &s.ld, &zero, S, &s.m));
  PetscCall(PetscLogFlops(2.0 * (double)rows->n * (double)rows->d * (double)m));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkRowsAccumulate(const CkRows *rows, PetscInt m, const double S[], double A[])
{
  const double one = 1;
  BlasSizes    s;

  PetscFunctionBeginUser;
  PetscCall(Sizes(rows, m, &s));
  if (rows->n < 1 || m < 1) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCallBLAS("BLASgemm", BLASgemm_("N", "T", &s.d, &s.m, &s.n, &one, rows->G, &s.ld, S, &s.m, &one, A, &s.d));
  PetscCall(PetscLogFlops(2.0 * (double)rows->n * (double)rows->d * (double)m));
  PetscFunctionReturn(PETSC_SUCCESS);
}
