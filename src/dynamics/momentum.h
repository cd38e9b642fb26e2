#pragma once
#include <petscvec.h>

/* momentum.h: the update of SGD, docs/theory.md, eqs. (M.1), (M.2), which several types take. */
typedef struct {
  PetscReal momentum, l2;
  PetscBool nesterov;
} CkMomentum;

/* -dynamics_momentum, _nesterov, _l2; user error on comm: Nesterov without momentum. Collective. */
PetscErrorCode CkMomentumSetFromOptions(MPI_Comm comm, CkMomentum *m);
/* g <- g + l2 x ; v <- mu v + g ; x <- x - rate v, or with Nesterov x - rate (g + mu v); g itself is left alone. All of
   one layout; not collective. */
PetscErrorCode CkMomentumMove(const CkMomentum *m, double rate, Vec g, Vec v, Vec x);
/* "heavy-ball momentum 0.9, l2 0" */
void CkMomentumFormat(const CkMomentum *m, char text[], size_t length);
