#include "smallmatrix.h"
#include <petscblaslapack.h>

PetscErrorCode CkSmallEigen(PetscInt k, const double S[], double values[], double V[])
{
  PetscBLASInt n, lwork, info = 0;
  double      *work;

  PetscFunctionBeginUser;
  PetscCall(PetscBLASIntCast(k, &n));
  lwork = 34 * n;
  PetscCall(PetscMalloc1(lwork, &work));
  PetscCall(PetscArraycpy(V, S, k * k));
  PetscCallBLAS("LAPACKsyev", LAPACKsyev_("V", "L", &n, V, &n, values, work, &lwork, &info));
  PetscCheck(info == 0, PETSC_COMM_SELF, PETSC_ERR_LIB, "LAPACK's dsyev ended with info %" PetscBLASInt_FMT, info);
  PetscCall(PetscFree(work));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Row-major A B is column-major B A. */
PetscErrorCode CkSmallProduct(PetscInt k, const double A[], const double B[], PetscBool transposed, double C[])
{
  const double one = 1, zero = 0;
  PetscBLASInt n;

  PetscFunctionBeginUser;
  PetscCall(PetscBLASIntCast(k, &n));
  PetscCallBLAS("BLASgemm", BLASgemm_(transposed ? "T" : "N", "N", &n, &n, &n, &one, B, &n, A, &n, &zero, C, &n));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* They are the singular values, each of which comes twice. */
PetscErrorCode CkSmallPlanes(PetscInt k, const double A[], double values[])
{
  PetscBLASInt n, lwork, info = 0;
  double      *copy, *singular, *work;

  PetscFunctionBeginUser;
  PetscCall(PetscBLASIntCast(k, &n));
  lwork = 10 * n;
  PetscCall(PetscMalloc3(k * k, &copy, k, &singular, lwork, &work));
  PetscCall(PetscArraycpy(copy, A, k * k));
  PetscCallBLAS("LAPACKgesvd",
                LAPACKgesvd_("N", "N", &n, &n, copy, &n, singular, NULL, &n, NULL, &n, work, &lwork, &info));
  PetscCheck(info == 0, PETSC_COMM_SELF, PETSC_ERR_LIB, "LAPACK's dgesvd ended with info %" PetscBLASInt_FMT, info);
  for (PetscInt i = 0; i < k / 2; ++i) values[i] = singular[2 * i];
  PetscCall(PetscFree3(copy, singular, work));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkSmallPower(PetscInt k, const double A[], PetscInt64 power, double out[])
{
  double *square, *product;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc2(k * k, &square, k * k, &product));
  PetscCall(PetscArraycpy(square, A, k * k));
  PetscCall(PetscArrayzero(out, k * k));
  for (PetscInt i = 0; i < k; ++i) out[i * k + i] = 1;
  for (; power > 0; power /= 2) {
    if (power % 2) {
      PetscCall(CkSmallProduct(k, out, square, PETSC_FALSE, product));
      PetscCall(PetscArraycpy(out, product, k * k));
    }
    PetscCall(CkSmallProduct(k, square, square, PETSC_FALSE, product));
    PetscCall(PetscArraycpy(square, product, k * k));
  }
  PetscCall(PetscFree2(square, product));
  PetscFunctionReturn(PETSC_SUCCESS);
}
