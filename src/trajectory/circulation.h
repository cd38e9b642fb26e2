#pragma once
#include <clarkia/base.h>

/*
  circulation.h: does a stationary process y_t, t = 0 .. n-1, in k directions circulate? Irreversibility matrix, its
  errors, its significance, rotation frequencies and a bound on entropy production. docs/theory.md, section 16,
  "Trajectories". Local to the rank, the same bits on every rank.
*/
typedef struct {
  PetscInt      n, replicas, k; /* snapshots n >= 3, independent runs of the same process, directions k >= 2 */
  const double *y;              /* [n x replicas x k] */
  double        dt;             /* time between snapshots */
} CkPaths;

typedef struct {
  PetscInt k, pairs; /* pairs i < j in the order (0,1), (0,2), .., (1,2), .. */
  PetscInt n, replicas;
  PetscInt length;     /* transitions of a block, about */
  PetscInt per, count; /* blocks of a replica, and of all: block b of replica r is r * per + b */
  double  *area;       /* [count x pairs] sum over a block of y_i dy_j - y_j dy_i, eq. (V.4) */
  double  *duration;   /* [count] time */
  double  *mean;       /* [count x k] of y - centre over a block's points */
  double  *centre;     /* [replicas x k] means of y */
  double  *covariance; /* [k x k] Sigma of y about the centres, 1/(n replicas) */
  double   tau;        /* largest integrated autocorrelation time of a direction, in snapshots */
  double   dt;         /* as in CkPaths */
} CkBlockAreas;

enum { CK_CIRCULATION_MIN_BLOCKS = 12, CK_CIRCULATION_MAX_BLOCKS = 200 };

/* Blocks of `length` transitions; 0: five times tau, and so many more that there are at most CK_CIRCULATION_MAX_BLOCKS
   of them. At least one block of a replica, whatever the length. */
PetscErrorCode CkBlockAreasCreate(const CkPaths *paths, PetscInt length, CkBlockAreas *blocks);
PetscErrorCode CkBlockAreasDestroy(CkBlockAreas *blocks);

typedef struct {
  PetscInt k, planes;      /* planes = k / 2; 0, 0 where Sigma is singular */
  PetscInt singular;       /* 0, or the number from 1 of a direction that does not move or is a combination of others */
  double   least, largest; /* eigenvalues of Sigma */
  double  *A, *A_error;    /* [k x k] eq. (V.3), and its standard error by the block bootstrap */
  double  *pair_p;         /* [k x k] significance of A_ij, adjusted for all pairs */
  double  *area_value;     /* [planes] descending: A has the eigenvalues +- i times these */
  double  *rotation;       /* [planes] descending: rotation frequencies (V.5), radians per unit time */
  double  *rotation_error; /* [planes] bootstrap */
  double  *rotation_null;  /* [planes] what a reversible process exceeds with probability `level` */
  double   p;              /* significance of the whole: probability of so large a current in a reversible process */
  double   rotation_p;     /* the same of the largest rotation frequency */
  double   drift_p;        /* smallest significance of a drift of a mean, adjusted for the k directions */
  double   entropy, entropy_lower; /* bound (V.8) on entropy production per unit time, and its lower 95% limit */
} CkCirculation;

typedef struct {
  uint64_t seed;
  PetscInt draws; /* of the bootstrap and of the signs */
  double   level; /* of rotation_null */
} CkCirculationPlan;

/* Where Sigma is singular, the least eigenvalue no more than 1e-12 of the largest, `singular` is set and nothing is
   computed: there are no coordinates of covariance 1. */
PetscErrorCode CkCirculationCompute(const CkBlockAreas *blocks, const CkCirculationPlan *plan, CkCirculation *result);
PetscErrorCode CkCirculationDestroy(CkCirculation *result);
/* Rotation frequencies (V.5) [k / 2], descending, of another antisymmetric A [k x k] in the same coordinates; Sigma of
   the blocks is not singular. */
PetscErrorCode CkCirculationRotation(const CkBlockAreas *blocks, const double A[], double frequencies[]);
