#pragma once
#include <clarkia/dynamics.h>

/*
  dynamicsimpl.h: what a type of dynamics implements. dynamics.c chooses batches, counts epochs, keeps the running
  statistics of batch norm, evaluates and reports; a type moves x.
*/
typedef struct {
  const char *name;
  PetscErrorCode (*setfromoptions)(CkDynamics dynamics); /* allocates dynamics->data */
  PetscErrorCode (*setup)(CkDynamics dynamics);          /* dynamics->x is there; user errors in the numbers */
  /* One update of dynamics->x with this batch at rate dynamics->rate; mean and correct: of the batch, before it. */
  PetscErrorCode (*step)(CkDynamics dynamics, const CkBatch *batch, double *mean, PetscInt *correct);
  PetscErrorCode (*view)(CkDynamics dynamics, char text[], size_t length); /* its numbers, in one line */
  PetscErrorCode (*destroy)(CkDynamics dynamics);
} CkDynamicsType;

#define CK_MAX_MILESTONES 64
#define CK_MAX_MARKS 64

struct _p_CkDynamics {
  MPI_Comm              comm; /* of the loss */
  CkLoss                loss, test;
  CkState               state;
  const CkDynamicsType *type;
  void                 *data; /* of the type */
  PetscBool             setup;

  /* Options. */
  PetscInt  batch, epochs;
  PetscBool replacement;
  double    first_rate, factor, bn_momentum;
  PetscInt  nmilestones, milestones[CK_MAX_MILESTONES]; /* epochs at whose start the rate is multiplied by factor */
  uint64_t  seed;

  Vec       x;
  PetscInt  d, N, updates; /* updates of an epoch */
  PetscInt  epoch, step;   /* finished */
  PetscInt  position;      /* samples of this epoch that have been used */
  PetscInt *order;         /* [N] samples of this epoch */
  double    rate;          /* in this epoch */

  /* Sums over this epoch. */
  long double loss_sum;
  PetscInt    correct;
  double      seconds;

  PetscErrorCode (*monitor)(CkDynamics, const CkEpochReport *, void *);
  void    *monitor_context;
  PetscInt nmarks;
  double   marks[CK_MAX_MARKS];
  PetscErrorCode (*mark)(CkDynamics, double, void *);
  void *mark_context;
};

/* dynamics_types.c */
const CkDynamicsType       *CkDynamicsFindType(const char name[]); /* NULL: none of that name */
extern const CkDynamicsType CkDynamicsSGD;
