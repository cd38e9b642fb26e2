/* blockmatrix_scalapack.c: pdsyevd with vectors (it knows no values-only mode), pdsyev without. */
#include "blockmatriximpl.h"
#include <limits.h>

static PetscErrorCode WorkLength(double asked, int *length)
{
  PetscFunctionBeginUser;
  PetscCheck(asked < INT_MAX - 1, PETSC_COMM_SELF, PETSC_ERR_ARG_OUTOFRANGE,
             "ScaLAPACK wants a work space of %.3g numbers on this rank, above 2^31 - 1: use more ranks", asked);
  *length = (int)asked + 1;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode SolveValues(CkBlockMatrix A, double values[])
{
  const int one = 1, n = (int)A->n, query = -1;
  int       lwork, info;
  double    asked[2], z = 0, *work;

  PetscFunctionBeginUser;
  pdsyev_("N", "L", &n, A->a, &one, &one, A->desc, values, &z, &one, &one, A->desc, asked, &query, &info);
  CkCallScaLAPACK("pdsyev", info);
  PetscCall(WorkLength(asked[0], &lwork));
  PetscCall(PetscMalloc1(lwork, &work));
  pdsyev_("N", "L", &n, A->a, &one, &one, A->desc, values, &z, &one, &one, A->desc, work, &lwork, &info);
  CkCallScaLAPACK("pdsyev", info);
  PetscCall(PetscFree(work));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Solve(CkBlockMatrix A, double values[], CkBlockMatrix Z)
{
  const int one = 1, n = (int)A->n, query = -1;
  int       lwork, liwork, info, iasked[2], *iwork;
  double    asked[2], *work;

  PetscFunctionBeginUser;
  if (!Z) {
    PetscCall(SolveValues(A, values));
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  pdsyevd_("V", "L", &n, A->a, &one, &one, A->desc, values, Z->a, &one, &one, Z->desc, asked, &query, iasked, &query,
           &info);
  CkCallScaLAPACK("pdsyevd", info);
  /* The query forgets the back-transformation (pdormtr), which then silently leaves the vectors those of the
   * tridiagonal matrix. */
  PetscCall(WorkLength(asked[0] + (double)A->nb * (A->rows + A->cols + A->nb) + 6. * n, &lwork));
  liwork = iasked[0];
  PetscCall(PetscMalloc2(lwork, &work, liwork, &iwork));
  pdsyevd_("V", "L", &n, A->a, &one, &one, A->desc, values, Z->a, &one, &one, Z->desc, work, &lwork, iwork, &liwork,
           &info);
  CkCallScaLAPACK("pdsyevd", info);
  PetscCall(PetscFree2(work, iwork));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* pdsyevd: LWORK = 1 + 6n + 2 local + panels, and the vectors; pdsyev: panels of 64 columns. */
static double Work(double n, double local, PetscBool vectors)
{
  return vectors ? 3 * local + 200 * n : 200 * n;
}

const CkBlockSolver ck_block_scalapack = {"scalapack", PETSC_TRUE, PETSC_FALSE, Solve, Work};
