#pragma once
#include "messages.h"
#include <clarkia/dynamics.h>
#include <clarkia/random.h>

/* landscape.h: dynamics on an ensemble of quadratics, where paths are known in closed form. */

enum { D = 3, N = 10 };

static const double H[D * D] = {1, 0.5, 0, 0.5, 2, -0.25, 0, -0.25, 4};
static const double x0[D] = {1, -2, 0.5};

/* xi [n x D] with a mean that is not zero. */
static inline void draw_xi(PetscInt n, double xi[])
{
  const CkRandom stream = {.seed = 9, .purpose = CK_RANDOM_PROBE, .replica = 0, .step = 0};

  CkRandomNormals(&stream, 0, (size_t)(n * D), xi);
  for (PetscInt i = 0; i < n * D; ++i) xi[i] += 0.2;
}

static inline void set_point(CkLoss loss, const double point[])
{
  Vec      x;
  PetscInt first, last;

  OK(CkLossCreateVec(loss, &x));
  OK(VecGetOwnershipRange(x, &first, &last));
  for (PetscInt i = first; i < last; ++i) OK(VecSetValue(x, i, point[i], INSERT_VALUES));
  OK(VecAssemblyBegin(x));
  OK(VecAssemblyEnd(x));
  OK(CkLossSetPoint(loss, x));
  OK(VecDestroy(&x));
}

/* The quadratic ensemble of n samples at x0, with these options. */
static inline void create_loss(MPI_Comm comm, PetscInt n, const char options[], CkLoss *loss)
{
  double *xi;

  OK(CkLossRegisterOptions());
  OK(CkDynamicsRegisterOptions());
  OK(PetscOptionsClear(NULL));
  OK(PetscOptionsInsertString(NULL, options));
  OK(CkOptionsCheck());
  OK(PetscMalloc1(n * D, &xi));
  draw_xi(n, xi);
  OK(CkLossCreate(comm, loss));
  OK(CkLossSetFromOptions(*loss));
  OK(CkLossSetQuadratic(*loss, D, n, H, xi));
  OK(CkLossSetUp(*loss));
  OK(PetscFree(xi));
  set_point(*loss, x0);
}

/* The same, and dynamics on it. */
static inline void create(MPI_Comm comm, PetscInt n, const char options[], CkLoss *loss, CkDynamics *dynamics)
{
  create_loss(comm, n, options, loss);
  OK(CkDynamicsCreate(*loss, NULL, dynamics));
  OK(CkDynamicsSetFromOptions(*dynamics));
}

static inline void destroy(CkLoss *loss, CkDynamics *dynamics)
{
  OK(CkDynamicsDestroy(dynamics));
  OK(CkLossDestroy(loss));
}

/* Mean gradient at x of the samples of a batch (NULL: of all). */
static inline void gradient(PetscInt n, const PetscInt *index, const double xi[], const double x[], double g[])
{
  for (int i = 0; i < D; ++i) {
    g[i] = 0;
    for (int j = 0; j < D; ++j) g[i] += H[D * i + j] * x[j];
    for (PetscInt k = 0; k < n; ++k) g[i] += xi[D * (index ? index[k] : k) + i] / (double)n;
  }
}

/* y that minimises f(y) + weight |y - x|^2/2: (H + weight) y = weight x - mean xi. */
static inline void proximal_point(double weight, const double x[], double y[])
{
  double A[D][D + 1], xi[N * D], zero[D] = {0}, c[D];

  draw_xi(N, xi);
  gradient(N, NULL, xi, zero, c);
  for (int i = 0; i < D; ++i) {
    for (int j = 0; j < D; ++j) A[i][j] = H[i * D + j] + (i == j) * weight;
    A[i][D] = weight * x[i] - c[i];
  }
  for (int p = 0; p < D; ++p)
    for (int i = 0; i < D; ++i)
      for (int j = D; i != p && j >= p; --j) A[i][j] -= A[i][p] / A[p][p] * A[p][j];
  for (int i = 0; i < D; ++i) y[i] = A[i][D] / A[i][i];
}

static inline void compare(CkLoss loss, const double expected[], double tolerance)
{
  const double *x;

  OK(CkLossGetPointArray(loss, &x));
  for (int i = 0; i < D; ++i) assert_close(x[i], expected[i], tolerance, 1);
}

/* Replicas of dynamics on a quadratic or on least squares. */
typedef struct {
  CkReplicas replicas;
  CkLoss     loss;
  CkDynamics dynamics;
  PetscInt   d, mine;
} Ensemble;

/* Reads the options and makes a loss for the group; to be given its data, then to finish_ensemble(). */
static inline Ensemble begin_ensemble(MPI_Comm comm, const char options[])
{
  Ensemble e = {.d = 0};
  PetscInt R;
  MPI_Comm group;

  OK(CkLossRegisterOptions());
  OK(CkDynamicsRegisterOptions());
  OK(PetscOptionsClear(NULL));
  OK(PetscOptionsInsertString(NULL, options));
  OK(CkOptionsCheck());
  OK(CkOptionsGetInt("dynamics_replicas", &R, NULL));
  OK(CkReplicasCreate(comm, R, &e.replicas));
  OK(CkReplicasGetComms(e.replicas, NULL, &group));
  OK(CkReplicasGetCounts(e.replicas, NULL, NULL, &e.mine, NULL));
  OK(CkLossCreate(group, &e.loss));
  OK(CkLossSetFromOptions(e.loss));
  return e;
}

static inline void finish_ensemble(Ensemble *e, const double start[])
{
  OK(CkLossSetUp(e->loss));
  OK(CkLossGetDimension(e->loss, &e->d));
  set_point(e->loss, start);
  OK(CkDynamicsCreate(e->loss, NULL, &e->dynamics));
  OK(CkDynamicsSetReplicas(e->dynamics, e->replicas));
  OK(CkDynamicsSetFromOptions(e->dynamics));
  OK(CkDynamicsSetUp(e->dynamics));
}

/* On the quadratic ensemble above, from x0. */
static inline Ensemble new_ensemble(MPI_Comm comm, const char options[])
{
  double   xi[N * D];
  Ensemble e = begin_ensemble(comm, options);

  draw_xi(N, xi);
  OK(CkLossSetQuadratic(e.loss, D, N, H, xi));
  finish_ensemble(&e, x0);
  return e;
}

static inline void free_ensemble(Ensemble *e)
{
  destroy(&e->loss, &e->dynamics);
  OK(CkReplicasDestroy(&e->replicas));
}

/* x [replicas x d] of all replicas, on every rank. */
static inline void get_points(Ensemble *e, double x[])
{
  double *mine;

  OK(PetscMalloc1(e->mine * e->d, &mine));
  for (PetscInt m = 0; m < e->mine; ++m) {
    const double *point;

    OK(CkDynamicsSelectReplica(e->dynamics, m, NULL));
    OK(CkLossGetPointArray(e->loss, &point));
    OK(PetscArraycpy(mine + m * e->d, point, e->d));
  }
  OK(CkReplicasGather(e->replicas, e->d, mine, x));
  OK(PetscFree(mine));
}

/* Dynamics that cannot be made of these options: the message holds both words. */
#define assert_refused(options, word, other)                                                                           \
  do {                                                                                                                 \
    CkLoss     refused_loss_;                                                                                          \
    CkDynamics refused_;                                                                                               \
    create_loss(PETSC_COMM_WORLD, N, options, &refused_loss_);                                                         \
    OK(CkDynamicsCreate(refused_loss_, NULL, &refused_));                                                              \
    assert_message(CkDynamicsSetFromOptions(refused_), word, other);                                                   \
    destroy(&refused_loss_, &refused_);                                                                                \
  } while (0)
