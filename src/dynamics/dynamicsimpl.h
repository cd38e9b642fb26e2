#pragma once
#include "keeper.h"
#include "momentum.h"
#include "schedule.h"
#include <clarkia/dynamics.h>
#include <math.h>

/*
  dynamicsimpl.h: what a type of dynamics implements. dynamics.c chooses batches, counts epochs, keeps the running
  statistics of batch norm, evaluates and reports; a type moves x. It sees one replica at a time: dynamics->x, ->data
  and ->replica are those of the replica that moves (members.c).
*/

/* Which samples an update is given. */
typedef enum {
  CK_SAMPLING_DRAWN, /* -dynamics_batch of them, drawn with or without replacement */
  CK_SAMPLING_COUNT, /* the type takes all of them; -dynamics_batch sets its noise and how many updates make an epoch */
  CK_SAMPLING_WHOLE  /* all of them in their order: an epoch is one update */
} CkSampling;

/* What types tell whose updates move a density by iteration; preset to NaN. */
typedef struct {
  double free_energy, iterations, residual; /* before the move; inner ones of the move, where they ended */
} CkProximal;

static inline CkProximal CkNoProximal(void)
{
  return (CkProximal){.free_energy = NAN, .iterations = NAN, .residual = NAN};
}

/* What an update has met. */
typedef struct {
  double     mean; /* of f_k over the samples, before the move */
  PetscInt   correct, n;
  double     time; /* by which t has grown; preset to the learning rate */
  CkProximal proximal;
} CkUpdate;

typedef struct {
  const char *name;
  const char *keys; /* those of dynamics.c that this type heeds, "momentum l2"; others are refused */
  CkSampling  sampling;
  PetscBool   evaluation;                                /* moves by what exists in evaluation mode only */
  PetscInt    vectors;                                   /* of length d that it holds beside x; NULL countvectors */
  PetscErrorCode (*setfromoptions)(CkDynamics dynamics); /* makes dynamics->data; user errors in the numbers */
  PetscErrorCode (*setup)(CkDynamics dynamics);          /* dynamics->x is there */
  /* One update of dynamics->x with this batch at rate dynamics->rate. */
  PetscErrorCode (*step)(CkDynamics dynamics, const CkBatch *batch, CkUpdate *update);
  PetscErrorCode (*view)(CkDynamics dynamics, char text[], size_t length); /* its numbers, in one line */
  PetscErrorCode (*destroy)(CkDynamics dynamics);
  PetscInt (*countvectors)(CkDynamics dynamics); /* NULL: vectors */
  /* Gradients over all samples that an update takes at the least. NULL: one. */
  PetscInt (*countgradients)(CkDynamics dynamics);
  /* Hands to the keeper all that the next updates depend on, beside x and the numbers below; called between two
     updates, once for each replica; dynamics->x is there. NULL: nothing. */
  PetscErrorCode (*keep)(CkDynamics dynamics, CkKeeper keeper);
  /* Where an update is that of momentum.h with the gradient of the batch, and nothing else: its numbers, and v; so that
     many can be made at once (fusedpath.h). NULL: it is not. */
  PetscErrorCode (*getmomentum)(CkDynamics dynamics, const CkMomentum **momentum, Vec *v);
  /* Whether dynamics->consensus becomes the mean of all replicas' x after update number dynamics->step - 1. NULL: the
     replicas know nothing of each other, and there is no consensus. */
  PetscBool (*meets)(CkDynamics dynamics);
  /* Where x is the mean of a density of independent weights: their deviations. NULL: it is not. */
  Vec (*getdeviations)(CkDynamics dynamics);
} CkDynamicsType;

/* One of this group's replicas. */
typedef struct {
  Vec       x;
  void     *data;    /* of the type */
  PetscInt *order;   /* [N] samples of this epoch; NULL: in their order */
  double   *running; /* [buffers] running statistics while another replica moves */

  /* Sums over this epoch. */
  long double loss_sum;
  PetscInt64  correct, seen; /* right predictions; samples */
  CkProximal  proximal;      /* of its last update */
} CkMember;

/* What is known of a replica after an epoch; NaN: there is no such number. */
enum { CK_LOSS, CK_ERROR, CK_FREE_ENERGY, CK_ITERATIONS, CK_RESIDUAL, CK_TEST_LOSS, CK_TEST_ERROR, CK_NUMBERS };

#define CK_MAX_MARKS 64
#define CK_MAX_WATCHES 8

typedef struct {
  PetscInt (*next)(void *context, PetscInt from);
  PetscErrorCode (*act)(CkDynamics dynamics, void *context);
  void *context;
} CkWatch;

typedef struct _p_CkFusedPath *CkFusedPath;

struct _p_CkDynamics {
  MPI_Comm              comm; /* of the loss: this group's */
  CkLoss                loss, test;
  CkState               state;
  const CkDynamicsType *type;
  PetscBool             setup;

  CkReplicas replicas;
  PetscBool  borrowed; /* they are the caller's */
  PetscInt   nmembers; /* replicas of this group */
  CkMember  *members;
  Vec        consensus; /* mean of all replicas when they met last; types that meet */
  double    *numbers;   /* [R x CK_NUMBERS] after the last epoch, on every rank */

  PetscBool failed; /* the work of this group's has met an error */

  /* The replica that moves; member -1: the loss and the state stand elsewhere. */
  PetscInt  member, replica; /* number in this group; of all, for the random streams */
  CkMember *now;
  Vec       x;
  void     *data;

  /* Options. */
  PetscInt  batch, epochs;
  PetscBool replacement;
  char      shuffle; /* without it: a new order 'e'ach epoch, one drawn 'o'nce, 'n'ever another than that of the data */
  CkMode    mode;
  double    bn_momentum;
  CkSchedule schedule;
  uint64_t   seed;

  PetscInt d, N, buffers; /* buffers: running statistics of the state */
  PetscInt updates;       /* of an epoch */
  PetscInt epoch, step;   /* finished */
  double   time;          /* t, the sum of the learning rates or time steps so far */
  PetscInt position;      /* samples of this epoch that have been used */
  double   rate;          /* of this update */
  double   seconds;       /* of this epoch */

  CkFusedPath fused; /* NULL: the type has no getmomentum(); serves all members */

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

/* dynamics.c: the samples of this epoch in their order, for the member chosen. */
PetscErrorCode CkDynamicsDrawOrder(CkDynamics dynamics);
/* At least one update, as many as can be made at once, but none beyond number `stop`, which lies in this epoch; what is
   due at the end of the epoch. */
PetscErrorCode CkDynamicsAdvance(CkDynamics dynamics, PetscInt stop);
/* What has come of the work of this group's replicas: 0 or a user error; all groups stop with that of the first.
   Collective on all groups. */
PetscErrorCode CkDynamicsAgree(CkDynamics dynamics, PetscErrorCode ierr);
/* Mean of f_k at the loss's point and share of wrong predictions (NaN where nothing is predicted); evaluation mode. */
PetscErrorCode CkDynamicsEvaluate(CkLoss loss, double *mean, double *error);
/* run.c: all that a run goes on with, the type's own share included, to or from a file. Collective on all groups. */
PetscErrorCode CkDynamicsKeep(CkDynamics dynamics, CkKeeper keeper);

/* members.c. Collective on the group unless said otherwise. */
PetscErrorCode CkDynamicsMakeMembers(CkDynamics dynamics);    /* with options read; before set-up */
PetscErrorCode CkDynamicsSetUpMembers(CkDynamics dynamics);   /* at the loss's point; the first is chosen */
PetscErrorCode CkDynamicsDestroyMembers(CkDynamics dynamics); /* what there is of them */
/* Member m is the one that moves: loss and state stand at its point. */
PetscErrorCode CkDynamicsSelect(CkDynamics dynamics, PetscInt m);
/* The loss and the state follow x. */
PetscErrorCode CkDynamicsPublish(CkDynamics dynamics, Vec x);
/* The replicas meet: consensus <- mean of all x. Collective on all groups. */
PetscErrorCode CkDynamicsMeet(CkDynamics dynamics);
/* Loss and state stand at the consensus, with the means of the running statistics, or without one at the first replica
   of all; no member is chosen afterwards. Collective on all groups. */
PetscErrorCode CkDynamicsShowResult(CkDynamics dynamics);

/* dynamics_types.c */
const CkDynamicsType *CkDynamicsFindType(const char name[]); /* NULL: none of that name */
/* Names of the types that heed a key (without "dynamics_"; NULL: of all types), "sde, sgld". */
void                        CkDynamicsNameTypes(const char key[], const char between[], char text[], size_t length);
PetscBool                   CkDynamicsHeeds(const CkDynamicsType *type, const char key[]);
extern const CkDynamicsType CkDynamicsSGD, CkDynamicsGD, CkDynamicsSDE, CkDynamicsSGLD, CkDynamicsSGDGaussian,
  CkDynamicsEntropySGD, CkDynamicsElasticSGD, CkDynamicsParle, CkDynamicsODE, CkDynamicsJKO;

/* samplenoise.c: g = (1/N) sum_k (g_k + l2 x) + scale D^(1/2) z, D^(1/2) z = N^-1/2 Gc' z with z_k = standard normal
   number k of (seed, CK_RANDOM_NOISE, replica, step): one pass, docs/theory.md, eq. (N.2). update: mean, correct, n.
   Collective. */
PetscErrorCode CkDynamicsNoisyGradient(CkDynamics dynamics, double scale, Vec g, CkUpdate *update);
/* noise_j = D^(1/2) z of update number first + j, for j < m; one pass. Collective. */
PetscErrorCode CkDynamicsNoiseBlock(CkDynamics dynamics, PetscInt first, PetscInt m, Vec noise[]);
