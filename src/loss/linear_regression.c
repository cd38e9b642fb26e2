/* linear_regression.c: f_k = r_k^2/2, r_k = a_k.x - y_k, so g_k = r_k a_k. */
#include "lossimpl.h"

typedef struct {
  PetscInt d, N;
  double  *a, *y; /* [N x d], [N] */
} Regression;

PetscErrorCode CkLossSetLinearRegression(CkLoss loss, PetscInt d, PetscInt N, const double a[], const double y[])
{
  Regression *r;

  PetscFunctionBeginUser;
  PetscCall(CkLossUseType(loss, CkLossLinearRegression.name));
  PetscCall(CkRowLossCheckSize(loss, d, N));
  PetscCall(PetscNew(&r));
  loss->data = r;
  r->d = d;
  r->N = N;
  PetscCall(CkRowLossCopy(loss, "the features a", (size_t)N * (size_t)d, a, &r->a));
  PetscCall(CkRowLossCopy(loss, "the targets y", (size_t)N, y, &r->y));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode RegressionSetUp(CkLoss loss)
{
  const Regression *r = (const Regression *)loss->data;

  PetscFunctionBeginUser;
  loss->d = r->d;
  loss->N = r->N;
  PetscCall(CkRowLossSetUp(loss));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode RegressionDestroy(CkLoss loss)
{
  Regression *r = (Regression *)loss->data;

  PetscFunctionBeginUser;
  if (!r) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(PetscFree(r->a));
  PetscCall(PetscFree(r->y));
  PetscCall(PetscFree(loss->data));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode RegressionSetPoint(CkLoss loss)
{
  PetscFunctionBeginUser;
  (void)loss; /* nothing depends on the point alone */
  PetscFunctionReturn(PETSC_SUCCESS);
}

static double Residual(CkLoss loss, const Regression *r, PetscInt sample)
{
  const double *a = r->a + (size_t)sample * (size_t)r->d;
  double        sum = -r->y[sample];

  for (PetscInt i = 0; i < r->d; ++i) sum += a[i] * loss->x[i];
  return sum;
}

static PetscErrorCode RegressionValues(CkLoss loss, PetscInt n, const PetscInt index[], double values[], int correct[])
{
  const Regression *r = (const Regression *)loss->data;

  PetscFunctionBeginUser;
  for (PetscInt k = 0; k < n; ++k) {
    const double residual = Residual(loss, r, index[k]);

    values[k] = residual * residual / 2;
    correct[k] = 0;
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode RegressionLoad(CkLoss loss, PetscInt n, const PetscInt index[], double values[], int correct[])
{
  const Regression *r = (const Regression *)loss->data;

  PetscFunctionBeginUser;
  for (PetscInt k = 0; k < n; ++k) {
    const double  residual = Residual(loss, r, index[k]);
    const double *a = r->a + (size_t)index[k] * (size_t)r->d;
    double       *row = loss->G + (size_t)k * (size_t)r->d;

    values[k] = residual * residual / 2;
    correct[k] = 0;
    for (PetscInt i = 0; i < r->d; ++i) row[i] = residual * a[i];
  }
  loss->rows.n = n;
  PetscFunctionReturn(PETSC_SUCCESS);
}

const CkLossType CkLossLinearRegression = {
  .name = "linear-regression",
  .setup = RegressionSetUp,
  .destroy = RegressionDestroy,
  .setpoint = RegressionSetPoint,
  .values = RegressionValues,
  .load = RegressionLoad,
  CK_ROW_CONTRACTIONS,
};
