#pragma once
#include "keeper.h"
#include "momentum.h"
#include "schedule.h"
#include <clarkia/dynamics.h>

/*
  dynamicsimpl.h: what a type of dynamics implements. dynamics.c chooses batches, counts epochs, keeps the running
  statistics of batch norm, evaluates and reports; a type moves x.
*/

/* Which samples an update is given. */
typedef enum {
  CK_SAMPLING_DRAWN, /* -dynamics_batch of them, drawn with or without replacement */
  CK_SAMPLING_COUNT, /* the type takes all of them; -dynamics_batch sets its noise and how many updates make an epoch */
  CK_SAMPLING_WHOLE  /* all of them in their order: an epoch is one update */
} CkSampling;

/* What an update has met. */
typedef struct {
  double   mean; /* of f_k over the samples, before the move */
  PetscInt correct, n;
  double   time; /* by which t has grown; preset to the learning rate */
} CkUpdate;

typedef struct {
  const char *name;
  const char *keys; /* those of dynamics.c that this type heeds, "momentum l2"; others are refused */
  CkSampling  sampling;
  PetscBool   evaluation;                                /* moves by what exists in evaluation mode only */
  PetscInt    vectors;                                   /* of length d that it holds beside x; NULL countvectors */
  PetscErrorCode (*setfromoptions)(CkDynamics dynamics); /* allocates dynamics->data; user errors in the numbers */
  PetscErrorCode (*setup)(CkDynamics dynamics);          /* dynamics->x is there */
  /* One update of dynamics->x with this batch at rate dynamics->rate. */
  PetscErrorCode (*step)(CkDynamics dynamics, const CkBatch *batch, CkUpdate *update);
  PetscErrorCode (*view)(CkDynamics dynamics, char text[], size_t length); /* its numbers, in one line */
  PetscErrorCode (*destroy)(CkDynamics dynamics);
  PetscInt (*countvectors)(CkDynamics dynamics); /* NULL: vectors */
  /* Hands to the keeper all that the next updates depend on, beside x and the numbers below; called between two
     updates, once for each replica; dynamics->x is there. NULL: nothing. */
  PetscErrorCode (*keep)(CkDynamics dynamics, CkKeeper keeper);
  /* Where an update is that of momentum.h with the gradient of the batch, and nothing else: its numbers, and v; so that
     many can be made at once (fusedpath.h). NULL: it is not. */
  PetscErrorCode (*getmomentum)(CkDynamics dynamics, const CkMomentum **momentum, Vec *v);
} CkDynamicsType;

#define CK_MAX_MARKS 64
#define CK_MAX_WATCHES 8

typedef struct {
  PetscInt (*next)(void *context, PetscInt from);
  PetscErrorCode (*act)(CkDynamics dynamics, void *context);
  void *context;
} CkWatch;

typedef struct _p_CkFusedPath *CkFusedPath;

struct _p_CkDynamics {
  MPI_Comm              comm; /* of the loss */
  CkLoss                loss, test;
  CkState               state;
  const CkDynamicsType *type;
  void                 *data; /* of the type */
  PetscBool             setup;

  /* Options. */
  PetscInt   batch, epochs;
  PetscBool  replacement;
  CkMode     mode;
  double     bn_momentum;
  CkSchedule schedule;
  uint64_t   seed;
  PetscInt   replica; /* of the random streams */

  Vec       x;
  PetscInt  d, N, updates; /* updates of an epoch */
  PetscInt  epoch, step;   /* finished */
  double    time;          /* t, the sum of the learning rates or time steps so far */
  PetscInt  position;      /* samples of this epoch that have been used */
  PetscInt *order;         /* [N] samples of this epoch; NULL: in their order */
  double    rate;          /* of this update */

  CkFusedPath fused; /* NULL: the type has no getmomentum() */

  /* Sums over this epoch. */
  long double loss_sum;
  PetscInt64  correct, seen; /* right predictions; samples */
  double      seconds;

  PetscErrorCode (*monitor)(CkDynamics, const CkEpochReport *, void *);
  void    *monitor_context;
  PetscInt nmarks;
  double   marks[CK_MAX_MARKS];
  PetscErrorCode (*mark)(CkDynamics, double, void *);
  void    *mark_context;
  PetscInt nwatches;
  CkWatch  watches[CK_MAX_WATCHES];
  PetscErrorCode (*pause)(CkDynamics, void *);
  void *pause_context;
};

/* dynamics.c: loss and state at x; the samples of this epoch in their order. Collective. */
PetscErrorCode CkDynamicsPublish(CkDynamics dynamics, Vec x);
PetscErrorCode CkDynamicsDrawOrder(CkDynamics dynamics);
/* At least one update, as many as can be made at once, but none beyond number `stop`, which lies in this epoch; what is
   due at the end of the epoch. */
PetscErrorCode CkDynamicsAdvance(CkDynamics dynamics, PetscInt stop);
/* run.c: all that a run goes on with, the type's own share included, to or from a file. Collective. */
PetscErrorCode CkDynamicsKeep(CkDynamics dynamics, CkKeeper keeper);

/* dynamics_types.c */
const CkDynamicsType *CkDynamicsFindType(const char name[]); /* NULL: none of that name */
/* Names of the types that heed a key (without "dynamics_"; NULL: of all types), "sde, sgld". */
void                        CkDynamicsNameTypes(const char key[], const char between[], char text[], size_t length);
PetscBool                   CkDynamicsHeeds(const CkDynamicsType *type, const char key[]);
extern const CkDynamicsType CkDynamicsSGD, CkDynamicsGD, CkDynamicsSDE, CkDynamicsSGLD, CkDynamicsSGDGaussian;

/* samplenoise.c: g = (1/N) sum_k (g_k + l2 x) + scale D^(1/2) z, D^(1/2) z = N^-1/2 Gc' z with z_k = standard normal
   number k of (seed, CK_RANDOM_NOISE, replica, step): one pass, docs/theory.md, eq. (N.2). update: mean, correct, n.
   Collective. */
PetscErrorCode CkDynamicsNoisyGradient(CkDynamics dynamics, double scale, Vec g, CkUpdate *update);
/* noise_j = D^(1/2) z of update number first + j, for j < m; one pass. Collective. */
PetscErrorCode CkDynamicsNoiseBlock(CkDynamics dynamics, PetscInt first, PetscInt m, Vec noise[]);
