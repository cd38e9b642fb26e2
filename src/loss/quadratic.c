/* quadratic.c: f_k = x'H x/2 + xi_k.x, so g_k = H x + xi_k, Hbar = H and D = Cov(xi) everywhere. */
#include "lossimpl.h"
#include <math.h>

typedef struct {
  PetscInt d, N;
  double  *H, *xi; /* [d x d], [N x d] */
  double  *Hx;     /* [d] at the point */
  double   energy; /* x'H x/2 */
} Quadratic;

PetscErrorCode CkLossSetQuadratic(CkLoss loss, PetscInt d, PetscInt N, const double H[], const double xi[])
{
  Quadratic *q;

  PetscFunctionBeginUser;
  PetscCall(CkLossUseType(loss, CkLossQuadratic.name));
  PetscCall(CkRowLossCheckSize(loss, d, N));
  PetscCall(PetscNew(&q));
  loss->data = q;
  q->d = d;
  q->N = N;
  PetscCall(CkRowLossCopy(loss, "the curvature H", (size_t)d * (size_t)d, H, &q->H));
  PetscCall(CkRowLossCopy(loss, "the slopes xi", (size_t)N * (size_t)d, xi, &q->xi));
  PetscCall(PetscCalloc1(d, &q->Hx));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode QuadraticSetUp(CkLoss loss)
{
  Quadratic *q = (Quadratic *)loss->data;

  PetscFunctionBeginUser;
  for (PetscInt i = 0; i < q->d; ++i) {
    for (PetscInt j = 0; j < i; ++j) {
      const double a = q->H[i * q->d + j], b = q->H[j * q->d + i];

      if (fabs(a - b) > 1e-12 * (fabs(a) + fabs(b)))
        CkCheckAll(loss->comm, PETSC_FALSE, PETSC_ERR_ARG_WRONG,
                   "H of a quadratic loss must be symmetric: entry (%" PetscInt_FMT ", %" PetscInt_FMT
                   ") is %g, its mirror %g",
                   i, j, a, b);
    }
  }
  loss->d = q->d;
  loss->N = q->N;
  PetscCall(CkRowLossSetUp(loss));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode QuadraticDestroy(CkLoss loss)
{
  Quadratic *q = (Quadratic *)loss->data;

  PetscFunctionBeginUser;
  if (!q) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(PetscFree(q->H));
  PetscCall(PetscFree(q->xi));
  PetscCall(PetscFree(q->Hx));
  PetscCall(PetscFree(loss->data));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode QuadraticSetPoint(CkLoss loss)
{
  Quadratic *q = (Quadratic *)loss->data;

  PetscFunctionBeginUser;
  q->energy = 0;
  for (PetscInt i = 0; i < q->d; ++i) {
    q->Hx[i] = 0;
    for (PetscInt j = 0; j < q->d; ++j) q->Hx[i] += q->H[(size_t)i * (size_t)q->d + (size_t)j] * loss->x[j];
    q->energy += loss->x[i] * q->Hx[i] / 2;
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode QuadraticValues(CkLoss loss, PetscInt n, const PetscInt index[], double values[], int correct[])
{
  const Quadratic *q = (const Quadratic *)loss->data;

  PetscFunctionBeginUser;
  for (PetscInt k = 0; k < n; ++k) {
    const double *xi = q->xi + (size_t)index[k] * (size_t)q->d;

    values[k] = q->energy;
    correct[k] = 0;
    for (PetscInt i = 0; i < q->d; ++i) values[k] += xi[i] * loss->x[i];
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode QuadraticLoad(CkLoss loss, PetscInt n, const PetscInt index[], double values[], int correct[])
{
  const Quadratic *q = (const Quadratic *)loss->data;

  PetscFunctionBeginUser;
  PetscCall(QuadraticValues(loss, n, index, values, correct));
  for (PetscInt k = 0; k < n; ++k) {
    const double *xi = q->xi + (size_t)index[k] * (size_t)q->d;
    double       *row = loss->G + (size_t)k * (size_t)q->d;

    for (PetscInt i = 0; i < q->d; ++i) row[i] = q->Hx[i] + xi[i];
  }
  loss->rows.n = n;
  PetscFunctionReturn(PETSC_SUCCESS);
}

const CkLossType CkLossQuadratic = {
  .name = "quadratic",
  .setup = QuadraticSetUp,
  .destroy = QuadraticDestroy,
  .setpoint = QuadraticSetPoint,
  .values = QuadraticValues,
  .load = QuadraticLoad,
  CK_ROW_CONTRACTIONS,
};
