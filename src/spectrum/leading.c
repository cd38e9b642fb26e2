#include "spectrumimpl.h"
#include <clarkia/error.h>
#include <clarkia/random.h>
#include <float.h>
#include <limits.h>

/* Leading eigenpairs by SLEPc's own solvers: what the krylov route shares with the check of the dense eigensolvers. */

PetscInt CkKrylovBasisSize(PetscInt n, PetscInt nev)
{
  return PetscMin(n, PetscMax(2 * nev, nev + 15));
}

const char *CkKrylovBasisType(PetscInt64 n, PetscInt64 nlocal, PetscInt64 ncv)
{
  if (n * (ncv + 1) <= INT_MAX) return BVSVEC;
  return nlocal * (ncv + 1) <= INT_MAX ? BVMAT : BVVECS;
}

/* Standard normal numbers by global index: the same vector on any number of ranks. */
static PetscErrorCode StartVector(Vec v, PetscInt step)
{
  const CkRandom stream = {.seed = 0, .purpose = CK_RANDOM_PROBE, .replica = 0, .step = (uint64_t)step};
  PetscInt       first, last;
  PetscScalar   *values;

  PetscFunctionBeginUser;
  PetscCall(VecGetOwnershipRange(v, &first, &last));
  PetscCall(VecGetArrayWrite(v, &values));
  CkRandomNormals(&stream, (uint64_t)first, (size_t)(last - first), values);
  PetscCall(VecRestoreArrayWrite(v, &values));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkKrylovSetBasis(EPS eps, Mat A, PetscInt ncv, PetscInt step)
{
  PetscInt n, nlocal, most;
  Vec      start;
  BV       basis;

  PetscFunctionBeginUser;
  PetscCall(MatGetSize(A, &n, NULL));
  PetscCall(MatGetLocalSize(A, &nlocal, NULL));
  PetscCallMPI(MPI_Allreduce(&nlocal, &most, 1, MPIU_INT, MPI_MAX, PetscObjectComm((PetscObject)A)));
  PetscCall(EPSGetBV(eps, &basis));
  PetscCall(BVSetType(basis, CkKrylovBasisType(n, most, ncv)));
  PetscCall(MatCreateVecs(A, &start, NULL));
  PetscCall(StartVector(start, step));
  PetscCall(EPSSetInitialSpace(eps, 1, &start));
  PetscCall(VecDestroy(&start));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkKrylovCreate(Mat A, PetscInt nev, PetscInt step, EPS *eps)
{
  PetscInt n, ncv;

  PetscFunctionBeginUser;
  PetscCall(MatGetSize(A, &n, NULL));
  ncv = CkKrylovBasisSize(n, nev);
  PetscCall(EPSCreate(PetscObjectComm((PetscObject)A), eps));
  PetscCall(EPSSetOperators(*eps, A, NULL));
  PetscCall(EPSSetProblemType(*eps, EPS_HEP));
  PetscCall(EPSSetType(*eps, EPSKRYLOVSCHUR));
  PetscCall(EPSSetWhichEigenpairs(*eps, EPS_LARGEST_REAL));
  PetscCall(EPSSetDimensions(*eps, nev, ncv, PETSC_DEFAULT));
  PetscCall(CkKrylovSetBasis(*eps, A, ncv, step));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* A block-cyclic matrix as a PETSc shell: its product wants and gives whole vectors. */
typedef struct {
  CkBlockMatrix A;
  VecScatter    gather;
  Vec           whole;
  double       *product; /* [n] */
} Shell;

static PetscErrorCode ShellMultiply(Mat M, Vec x, Vec y)
{
  Shell             *shell;
  const PetscScalar *whole;
  PetscScalar       *mine;
  PetscInt           first, last;

  PetscFunctionBeginUser;
  PetscCall(MatShellGetContext(M, &shell));
  PetscCall(VecScatterBegin(shell->gather, x, shell->whole, INSERT_VALUES, SCATTER_FORWARD));
  PetscCall(VecScatterEnd(shell->gather, x, shell->whole, INSERT_VALUES, SCATTER_FORWARD));
  PetscCall(VecGetArrayRead(shell->whole, &whole));
  PetscCall(CkBlockMatrixMultiply(shell->A, 1, whole, shell->product));
  PetscCall(VecRestoreArrayRead(shell->whole, &whole));
  PetscCall(VecGetOwnershipRange(y, &first, &last));
  PetscCall(VecGetArrayWrite(y, &mine));
  PetscCall(PetscArraycpy(mine, shell->product + first, last - first));
  PetscCall(VecRestoreArrayWrite(y, &mine));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode ShellCreate(Shell *shell, MPI_Comm comm, CkBlockMatrix A, Mat *M)
{
  PetscInt n;
  Vec      x;

  PetscFunctionBeginUser;
  PetscCall(CkBlockMatrixGetSize(A, &n));
  shell->A = A;
  PetscCall(MatCreateShell(comm, PETSC_DECIDE, PETSC_DECIDE, n, n, shell, M));
  PetscCall(MatShellSetOperation(*M, MATOP_MULT, (void (*)(void))ShellMultiply));
  PetscCall(MatSetOption(*M, MAT_SYMMETRIC, PETSC_TRUE));
  PetscCall(MatCreateVecs(*M, &x, NULL));
  PetscCall(VecScatterCreateToAll(x, &shell->gather, &shell->whole));
  PetscCall(VecDestroy(&x));
  PetscCall(PetscMalloc1(n, &shell->product));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode ShellDestroy(Shell *shell, Mat *M)
{
  PetscFunctionBeginUser;
  PetscCall(PetscFree(shell->product));
  PetscCall(VecScatterDestroy(&shell->gather));
  PetscCall(VecDestroy(&shell->whole));
  PetscCall(MatDestroy(M));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Residual estimates relative to the largest Ritz value seen: small eigenvalues need not be found better than the
   eigensolver under check could. */
static PetscErrorCode RelativeToLargest(EPS eps, PetscScalar value, PetscScalar imaginary, PetscReal residual,
                                        PetscReal *error, void *context)
{
  double *largest = context;

  PetscFunctionBeginUser;
  (void)eps, (void)imaginary;
  *largest = PetscMax(*largest, PetscAbsReal(PetscRealPart(value)));
  *error = *largest > 0 ? residual / *largest : residual;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode GetPairs(EPS eps, Shell *shell, PetscInt m, PetscInt n, double lambda[], double U[])
{
  Vec                u;
  const PetscScalar *whole;
  Mat                M;

  PetscFunctionBeginUser;
  PetscCall(EPSGetOperators(eps, &M, NULL));
  PetscCall(MatCreateVecs(M, &u, NULL));
  for (PetscInt j = 0; j < m; ++j) {
    PetscCall(EPSGetEigenpair(eps, j, &lambda[j], NULL, u, NULL));
    PetscCall(VecScatterBegin(shell->gather, u, shell->whole, INSERT_VALUES, SCATTER_FORWARD));
    PetscCall(VecScatterEnd(shell->gather, u, shell->whole, INSERT_VALUES, SCATTER_FORWARD));
    PetscCall(VecGetArrayRead(shell->whole, &whole));
    PetscCall(PetscArraycpy(U + (size_t)j * (size_t)n, whole, n));
    PetscCall(VecRestoreArrayRead(shell->whole, &whole));
  }
  PetscCall(VecDestroy(&u));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkSpectrumLeading(CkBlockMatrix A, MPI_Comm comm, PetscInt m, double lambda[], double **U)
{
  Shell              shell;
  Mat                M;
  EPS                eps;
  EPSConvergedReason reason;
  PetscInt           n, found, iterations;
  double             largest = 0;

  PetscFunctionBeginUser;
  PetscCall(CkBlockMatrixGetSize(A, &n));
  PetscCall(PetscMalloc1((size_t)m * (size_t)n, U));
  PetscCall(ShellCreate(&shell, comm, A, &M));
  PetscCall(CkKrylovCreate(M, m, 1, &eps));
  PetscCall(EPSSetConvergenceTestFunction(eps, RelativeToLargest, &largest, NULL));
  PetscCall(EPSSetTolerances(eps, CkSpectrumRounding(n, 1) / 10, 1000));
  PetscCall(EPSSolve(eps));
  PetscCall(EPSGetConvergedReason(eps, &reason));
  PetscCall(EPSGetConverged(eps, &found));
  PetscCall(EPSGetIterationNumber(eps, &iterations));
  CkCheckAll(comm, reason > 0 && found >= m, PETSC_ERR_CONV_FAILED,
             "self-check of the spectrum: %" PetscInt_FMT " of the %" PetscInt_FMT
             " leading eigenpairs of the assembled matrix after %" PetscInt_FMT
             " restarts; ask for fewer with -spectrum_residuals or -noise_group_vectors",
             found, m, iterations);
  PetscCall(GetPairs(eps, &shell, m, n, lambda, *U));
  PetscCall(EPSDestroy(&eps));
  PetscCall(ShellDestroy(&shell, &M));
  PetscFunctionReturn(PETSC_SUCCESS);
}
