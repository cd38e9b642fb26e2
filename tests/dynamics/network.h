#pragma once
#include "testing.h"
#include <clarkia/dynamics.h>

/* network.h: a small net on synthetic data, with dynamics, from options. */
typedef struct {
  CkData     data;
  CkNet      net;
  CkState    state;
  CkLoss     loss;
  CkDynamics dynamics;
} Network;

static inline void set_options(const char a[], const char b[])
{
  OK(CkDataRegisterOptions());
  OK(CkDataRegisterAugmentOptions());
  OK(CkNetRegisterOptions());
  OK(CkEngineRegisterOptions());
  OK(CkLossRegisterOptions());
  OK(CkDynamicsRegisterOptions());
  OK(PetscOptionsClear(NULL));
  OK(PetscOptionsInsertString(NULL, a));
  OK(PetscOptionsInsertString(NULL, b));
  OK(CkOptionsCheck());
}

/* replicas NULL: one, on comm */
static inline void create_replicas(MPI_Comm comm, CkReplicas replicas, Network *n)
{
  CkShape  shape;
  PetscInt classes;
  MPI_Comm group = comm;

  OK(CkDataCreate(comm, &n->data));
  OK(CkDataSetFromOptions(n->data));
  OK(CkDataSetUp(n->data));
  OK(CkDataSetAugmentFromOptions(n->data));
  OK(CkDataGetShape(n->data, &shape));
  OK(CkDataGetClasses(n->data, &classes));
  OK(CkNetCreate(comm, &n->net));
  OK(CkNetSetFromOptions(n->net, shape, classes));
  OK(CkNetSetUp(n->net));
  OK(CkStateCreate(comm, n->net, &n->state));
  OK(CkStateInitialize(n->state, 3));
  if (replicas) OK(CkReplicasGetComms(replicas, NULL, &group));
  OK(CkLossCreate(group, &n->loss));
  OK(CkLossSetFromOptions(n->loss));
  OK(CkLossSetNetwork(n->loss, n->net, n->data, n->state));
  OK(CkLossSetUp(n->loss));
  OK(CkDynamicsCreate(n->loss, n->state, &n->dynamics));
  if (replicas) OK(CkDynamicsSetReplicas(n->dynamics, replicas));
  OK(CkDynamicsSetFromOptions(n->dynamics));
}

static inline void create_network(MPI_Comm comm, Network *n)
{
  create_replicas(comm, NULL, n);
}

static inline void destroy_network(Network *n)
{
  OK(CkDynamicsDestroy(&n->dynamics));
  OK(CkLossDestroy(&n->loss));
  OK(CkStateDestroy(&n->state));
  OK(CkNetDestroy(&n->net));
  OK(CkDataDestroy(&n->data));
}
