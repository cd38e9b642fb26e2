/* two_weight.c: f_k = (w1 w2 x_k - y_k)^2/2, so g_k = x_k (w1 w2 x_k - y_k) (w2, w1); rank D = 1 for any N. */
#include "lossimpl.h"

typedef struct {
  PetscInt N;
  double  *x, *y; /* [N] */
} TwoWeight;

PetscErrorCode CkLossSetTwoWeight(CkLoss loss, PetscInt N, const double x[], const double y[])
{
  TwoWeight *t;

  PetscFunctionBeginUser;
  PetscCall(CkLossUseType(loss, CkLossTwoWeight.name));
  PetscCall(CkRowLossCheckSize(loss, 2, N));
  PetscCall(PetscNew(&t));
  loss->data = t;
  t->N = N;
  PetscCall(CkRowLossCopy(loss, "the inputs x", (size_t)N, x, &t->x));
  PetscCall(CkRowLossCopy(loss, "the targets y", (size_t)N, y, &t->y));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode TwoWeightSetUp(CkLoss loss)
{
  const TwoWeight *t = (const TwoWeight *)loss->data;

  PetscFunctionBeginUser;
  loss->d = 2;
  loss->N = t->N;
  PetscCall(CkRowLossSetUp(loss));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode TwoWeightDestroy(CkLoss loss)
{
  TwoWeight *t = (TwoWeight *)loss->data;

  PetscFunctionBeginUser;
  if (!t) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(PetscFree(t->x));
  PetscCall(PetscFree(t->y));
  PetscCall(PetscFree(loss->data));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode TwoWeightSetPoint(CkLoss loss)
{
  PetscFunctionBeginUser;
  (void)loss; /* nothing depends on the point alone */
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode TwoWeightValues(CkLoss loss, PetscInt n, const PetscInt index[], double values[], int correct[])
{
  const TwoWeight *t = (const TwoWeight *)loss->data;
  const double     p = loss->x[0] * loss->x[1];

  PetscFunctionBeginUser;
  for (PetscInt k = 0; k < n; ++k) {
    const double residual = p * t->x[index[k]] - t->y[index[k]];

    values[k] = residual * residual / 2;
    correct[k] = 0;
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode TwoWeightLoad(CkLoss loss, PetscInt n, const PetscInt index[], double values[], int correct[])
{
  const TwoWeight *t = (const TwoWeight *)loss->data;
  const double     p = loss->x[0] * loss->x[1];

  PetscFunctionBeginUser;
  PetscCall(TwoWeightValues(loss, n, index, values, correct));
  for (PetscInt k = 0; k < n; ++k) {
    const double slope = t->x[index[k]] * (p * t->x[index[k]] - t->y[index[k]]); /* df_k/dp */

    loss->G[2 * k] = slope * loss->x[1];
    loss->G[2 * k + 1] = slope * loss->x[0];
  }
  loss->rows.n = n;
  PetscFunctionReturn(PETSC_SUCCESS);
}

const CkLossType CkLossTwoWeight = {
  .name = "two-weight",
  .setup = TwoWeightSetUp,
  .destroy = TwoWeightDestroy,
  .setpoint = TwoWeightSetPoint,
  .values = TwoWeightValues,
  .load = TwoWeightLoad,
  CK_ROW_CONTRACTIONS,
};
