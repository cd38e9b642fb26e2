/* diffusion_mat.c: D as a PETSc shell matrix, with single and block products. */
#include "noiseimpl.h"

static PetscErrorCode ShellMult(Mat A, Vec x, Vec y)
{
  CkDiffusion D;

  PetscFunctionBeginUser;
  PetscCall(MatShellGetContext(A, &D));
  PetscCall(CkDiffusionApply(D, 1, &x, &y));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode ShellGetDiagonal(Mat A, Vec diagonal)
{
  CkDiffusion D;

  PetscFunctionBeginUser;
  PetscCall(MatShellGetContext(A, &D));
  PetscCall(CkDiffusionDiagonal(D, diagonal));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Vectors on the columns of a dense matrix whose array is `values`; no copies. */
static PetscErrorCode ColumnVecs(Mat B, PetscScalar *values, PetscInt m, Vec V[])
{
  MPI_Comm comm;
  PetscInt rows, local, stride;

  PetscFunctionBeginUser;
  PetscCall(PetscObjectGetComm((PetscObject)B, &comm));
  PetscCall(MatGetSize(B, &rows, NULL));
  PetscCall(MatGetLocalSize(B, &local, NULL));
  PetscCall(MatDenseGetLDA(B, &stride));
  for (PetscInt j = 0; j < m; ++j)
    PetscCall(VecCreateMPIWithArray(comm, 1, local, rows, values + (size_t)j * (size_t)stride, &V[j]));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* C = D B for dense B and C; as D is symmetric also C = D'B. */
static PetscErrorCode ShellMatMult(Mat A, Mat B, Mat C, void *unused)
{
  CkDiffusion        D;
  const PetscScalar *in;
  PetscScalar       *out;
  PetscInt           m;
  Vec               *V, *Y;

  PetscFunctionBeginUser;
  (void)unused;
  PetscCall(MatShellGetContext(A, &D));
  PetscCall(MatGetSize(B, NULL, &m));
  PetscCall(PetscMalloc2(m, &V, m, &Y));
  PetscCall(MatDenseGetArrayRead(B, &in));
  PetscCall(MatDenseGetArrayWrite(C, &out));
  PetscCall(ColumnVecs(B, (PetscScalar *)in, m, V)); /* only read */
  PetscCall(ColumnVecs(C, out, m, Y));
  PetscCall(CkDiffusionApply(D, m, V, Y));
  for (PetscInt j = 0; j < m; ++j) {
    PetscCall(VecDestroy(&Y[j]));
    PetscCall(VecDestroy(&V[j]));
  }
  PetscCall(MatDenseRestoreArrayWrite(C, &out));
  PetscCall(MatDenseRestoreArrayRead(B, &in));
  PetscCall(PetscFree2(V, Y));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkDiffusionGetMat(CkDiffusion D, Mat *A)
{
  CkDiffusionSizes sizes;
  Vec              x;
  PetscInt         local;

  PetscFunctionBeginUser;
  PetscCall(CkDiffusionGetSizes(D, &sizes));
  PetscCall(CkLossCreateVec(D->loss, &x));
  PetscCall(VecGetLocalSize(x, &local));
  PetscCall(VecDestroy(&x));
  PetscCall(MatCreateShell(sizes.comm, local, local, sizes.d, sizes.d, D, A));
  PetscCall(MatShellSetOperation(*A, MATOP_MULT, (void (*)(void))ShellMult));
  PetscCall(MatShellSetOperation(*A, MATOP_MULT_TRANSPOSE, (void (*)(void))ShellMult));
  PetscCall(MatShellSetOperation(*A, MATOP_GET_DIAGONAL, (void (*)(void))ShellGetDiagonal));
  PetscCall(MatShellSetMatProductOperation(*A, MATPRODUCT_AB, NULL, ShellMatMult, NULL, MATDENSE, MATDENSE));
  PetscCall(MatShellSetMatProductOperation(*A, MATPRODUCT_AtB, NULL, ShellMatMult, NULL, MATDENSE, MATDENSE));
  PetscCall(MatSetOption(*A, MAT_SYMMETRIC, PETSC_TRUE));
  PetscCall(MatSetOption(*A, MAT_SYMMETRY_ETERNAL, PETSC_TRUE));
  PetscFunctionReturn(PETSC_SUCCESS);
}
