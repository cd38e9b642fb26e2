/* derivatives.c: second and third derivatives, which no type provides yet. */
#include "lossimpl.h"

static PetscErrorCode Refuse(CkLoss loss, const CkBatch *batch, const char what[])
{
  PetscFunctionBeginUser;
  PetscCall(CkLossCheckBatch(loss, batch));
  PetscCall(CkLossCheckEvaluation(loss, batch));
  CkCheckAll(loss->comm, PETSC_FALSE, PETSC_ERR_SUP, "a loss of type %s has no %s derivatives", loss->type->name, what);
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkLossBends(CkLoss loss, const CkBatch *batch, Vec u, Vec v, double q[])
{
  PetscFunctionBeginUser;
  (void)u;
  (void)v;
  (void)q;
  PetscCall(Refuse(loss, batch, "second"));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkLossHessian(CkLoss loss, const CkBatch *batch, const double w[], Vec v, Vec out)
{
  PetscFunctionBeginUser;
  (void)w;
  (void)v;
  (void)out;
  PetscCall(Refuse(loss, batch, "second"));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkLossOwnHessian(CkLoss loss, const CkBatch *batch, const double w[], Vec out)
{
  PetscFunctionBeginUser;
  (void)w;
  (void)out;
  PetscCall(Refuse(loss, batch, "second"));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkLossThird(CkLoss loss, const CkBatch *batch, const double w[], Vec u, Vec v, Vec out)
{
  PetscFunctionBeginUser;
  (void)w;
  (void)u;
  (void)v;
  (void)out;
  PetscCall(Refuse(loss, batch, "third"));
  PetscFunctionReturn(PETSC_SUCCESS);
}
