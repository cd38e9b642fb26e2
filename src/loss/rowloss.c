/* rowloss.c: the contractions of types whose load() leaves explicit rows in loss->rows; see rowops.h. */
#include "lossimpl.h"

PetscErrorCode CkRowLossSetUp(CkLoss loss)
{
  PetscFunctionBeginUser;
  loss->de = loss->d;
  loss->tile = loss->sum_block;
  loss->precision = CK_FLOAT64;
  PetscCall(PetscMalloc1((size_t)loss->tile * (size_t)loss->d, &loss->G));
  loss->rows = (CkRows){.n = 0, .d = loss->d, .ld = (size_t)loss->d, .G = loss->G};
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkRowLossRows(CkLoss loss, CkPrecision precision, void *G, size_t ld)
{
  PetscFunctionBeginUser;
  for (PetscInt k = 0; k < loss->rows.n; ++k) {
    const double *row = loss->rows.G + (size_t)k * loss->rows.ld;

    if (precision == CK_FLOAT64) PetscCall(PetscArraycpy((double *)G + (size_t)k * ld, row, loss->d));
    else
      for (PetscInt i = 0; i < loss->d; ++i) ((float *)G)[(size_t)k * ld + (size_t)i] = (float)row[i];
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkRowLossSquaredNorms(CkLoss loss, double original[], double folded[])
{
  PetscFunctionBeginUser;
  PetscCall(CkRowsSquaredNorms(&loss->rows, original));
  if (folded) PetscCall(PetscArraycpy(folded, original, loss->rows.n));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkRowLossColumnBytes(CkLoss loss, PetscInt m, size_t *bytes)
{
  PetscFunctionBeginUser;
  *bytes = (size_t)m * (size_t)loss->d * sizeof(double);
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkRowLossUseColumns(CkLoss loss, PetscInt m, void *memory)
{
  PetscFunctionBeginUser;
  loss->columns = m;
  loss->V = (double *)memory;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkRowLossPackColumn(CkLoss loss, PetscInt j, const double v[])
{
  PetscFunctionBeginUser;
  PetscCall(PetscArraycpy(loss->V + (size_t)j * (size_t)loss->d, v, loss->d));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkRowLossDot(CkLoss loss, double S[])
{
  PetscFunctionBeginUser;
  PetscCall(CkRowsDot(&loss->rows, loss->columns, loss->V, S));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkRowLossAccumulate(CkLoss loss, PetscInt m, const double S[], double A[])
{
  PetscFunctionBeginUser;
  PetscCall(CkRowsAccumulate(&loss->rows, m, S, A));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkRowLossCheckSize(CkLoss loss, PetscInt d, PetscInt N)
{
  PetscFunctionBeginUser;
  CkCheckAll(loss->comm, d > 0 && N > 0, PETSC_ERR_ARG_OUTOFRANGE,
             "a %s loss of %" PetscInt_FMT " weights and %" PetscInt_FMT " samples: both must be positive",
             loss->type->name, d, N);
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkRowLossCopy(CkLoss loss, const char what[], size_t n, const double values[], double **copy)
{
  const PetscInt bad = CkFirstNonFinite(n, values);

  PetscFunctionBeginUser;
  CkCheckAll(loss->comm, bad < 0, PETSC_ERR_FP, "%s of the %s loss: number %" PetscInt_FMT " is %g", what,
             loss->type->name, bad, CkPlainNan(values[PetscMax(bad, 0)]));
  PetscCall(PetscMalloc1(n, copy));
  PetscCall(PetscArraycpy(*copy, values, n));
  PetscFunctionReturn(PETSC_SUCCESS);
}
