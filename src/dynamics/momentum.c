/* momentum.c: one update with momentum and weight decay. */
#include "momentum.h"
#include <clarkia/error.h>
#include <clarkia/options.h>
#include <stdio.h>

PetscErrorCode CkMomentumSetFromOptions(MPI_Comm comm, CkMomentum *m)
{
  PetscFunctionBeginUser;
  PetscCall(CkOptionsGetReal("dynamics_momentum", &m->momentum, NULL));
  PetscCall(CkOptionsGetReal("dynamics_l2", &m->l2, NULL));
  PetscCall(CkOptionsGetBool("dynamics_nesterov", &m->nesterov, NULL));
  CkCheckAll(comm, !m->nesterov || m->momentum > 0, PETSC_ERR_ARG_INCOMP,
             "-dynamics_nesterov needs a momentum: give -dynamics_momentum, 0.9 say");
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The same operations entry by entry wherever the entry lives: the same bits on any number of ranks. */
static void Move(const CkMomentum *m, double rate, PetscInt n, const PetscScalar g[], PetscScalar v[], PetscScalar x[])
{
  for (PetscInt i = 0; i < n; ++i) {
    const double gradient = g[i] + m->l2 * x[i];

    v[i] = m->momentum * v[i] + gradient;
    x[i] -= rate * (m->nesterov ? gradient + m->momentum * v[i] : v[i]);
  }
}

PetscErrorCode CkMomentumMove(const CkMomentum *m, double rate, Vec g, Vec v, Vec x)
{
  const PetscScalar *gradient;
  PetscScalar       *velocity, *point;
  PetscInt           n;

  PetscFunctionBeginUser;
  PetscCall(VecGetLocalSize(x, &n));
  PetscCall(VecGetArrayRead(g, &gradient));
  PetscCall(VecGetArray(v, &velocity));
  PetscCall(VecGetArray(x, &point));
  Move(m, rate, n, gradient, velocity, point);
  PetscCall(VecRestoreArray(x, &point));
  PetscCall(VecRestoreArray(v, &velocity));
  PetscCall(VecRestoreArrayRead(g, &gradient));
  PetscFunctionReturn(PETSC_SUCCESS);
}

void CkMomentumFormat(const CkMomentum *m, char text[], size_t length)
{
  snprintf(text, length, "%s momentum %g, l2 %g", m->nesterov ? "Nesterov" : "heavy-ball", (double)m->momentum,
           (double)m->l2);
}
