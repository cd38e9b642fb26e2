#pragma once
#include "dynamicsimpl.h"
#include "momentum.h"

/*
  localentropy.h: the two nested loops of Entropy-SGD and Parle, docs/theory.md, eqs. (Y.1) to (Y.6). An update is an
  inner one, at w; after each L of them x takes an outer step towards the average z of the w's.
*/
typedef struct {
  CkMomentum momentum; /* of the inner updates */
  PetscInt   inner;    /* L */
  double     average, scope, scoping, noise, outer_rate, outer_momentum;
  double     elasticity; /* 0: the replicas do not meet */
  Vec        w, z, g, v, outer;
} CkLocalEntropy;

PetscErrorCode CkLocalEntropySetFromOptions(CkDynamics dynamics);
PetscErrorCode CkLocalEntropySetUp(CkDynamics dynamics);
PetscErrorCode CkLocalEntropyStep(CkDynamics dynamics, const CkBatch *batch, CkUpdate *update);
PetscErrorCode CkLocalEntropyKeep(CkDynamics dynamics, CkKeeper keeper);
PetscErrorCode CkLocalEntropyView(CkDynamics dynamics, char text[], size_t length);
PetscErrorCode CkLocalEntropyDestroy(CkDynamics dynamics);
/* first (1 + scoping/updates of an epoch)^round, but no more than the larger of `most` and first. */
double CkLocalEntropyGrow(CkDynamics dynamics, double first, PetscInt round, double most);
#define CK_LOCAL_ENTROPY_KEYS                                                                                          \
  "batch replacement shuffle momentum nesterov l2 mode inner average scope scoping inner_noise outer_rate "            \
  "outer_momentum"
#define CK_MOST_ELASTICITY 10.
