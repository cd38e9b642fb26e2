/*
  jko.c: Wasserstein proximal steps (Jordan, Kinderlehrer, Otto, SIAM J. Math. Anal. 29, 1998) of a density of
  independent normal weights, means x and deviations s; docs/theory.md, eqs. (J.1) to (J.8). A step is the fixed point
  of a map, found by relaxed iteration over points z that stand still in the step.
*/
#include "dynamicsimpl.h"
#include <clarkia/error.h>
#include <clarkia/options.h>
#include <clarkia/random.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

/* Means and deviations of this rank's weights. */
typedef struct {
  double *m, *s;
} Density;

typedef struct {
  PetscReal temperature, deviation, tolerance;
  PetscInt  pairs, most; /* K; inner iterations */
  PetscBool signs;
  double    curvature;       /* largest stretch of the map met in a step, over its length; 0: none was met yet */
  Vec       s;               /* deviations; the means are x */
  Vec       point, g;        /* scratch */
  PetscInt  n;               /* weights of this rank */
  Density   start;           /* of the step */
  Density   at, map, former; /* iterate, the map there, the map at the iterate before */
  double   *z;               /* [pairs x n] */
} JKO;

static PetscErrorCode JKOSetFromOptions(CkDynamics dynamics)
{
  JKO      *p;
  char      points[16];
  PetscBool given;
  CkNet     net;

  PetscFunctionBeginUser;
  PetscCall(PetscNew(&p));
  dynamics->data = p;
  PetscCall(CkOptionsGetReal("dynamics_temperature", &p->temperature, &given));
  CkCheckAll(dynamics->comm, given, PETSC_ERR_ARG_INCOMP,
             "-dynamics_type jko needs -dynamics_temperature, the weight of the entropy in the free energy: 1/samples "
             "makes exp(-f/T) the likelihood of all samples");
  CkCheckAll(dynamics->comm, p->temperature > 0, PETSC_ERR_ARG_OUTOFRANGE,
             "-dynamics_temperature %g must be above 0 for -dynamics_type jko: without entropy the density shrinks to "
             "a point; take -dynamics_type gd for that",
             (double)p->temperature);
  PetscCall(CkOptionsGetReal("dynamics_deviation", &p->deviation, NULL));
  PetscCall(CkOptionsGetReal("dynamics_tolerance", &p->tolerance, &given));
  PetscCall(CkLossGetNet(dynamics->loss, &net));
  if (!given) p->tolerance = net ? 1e-3 : 1e-10;
  PetscCall(CkOptionsGetInt("dynamics_iterations", &p->most, NULL));
  PetscCall(CkOptionsGetInt("dynamics_pairs", &p->pairs, NULL));
  PetscCall(CkOptionsGetString("dynamics_points", points, sizeof(points), NULL));
  p->signs = (PetscBool)(strcmp(points, "signs") == 0);
  CkCheckAll(dynamics->comm, !p->signs || (p->pairs & (p->pairs - 1)) == 0, PETSC_ERR_ARG_OUTOFRANGE,
             "-dynamics_pairs %" PetscInt_FMT " is no power of two, as -dynamics_points signs needs it: take 1, 2, 4, "
             "8, .., or -dynamics_points normal",
             p->pairs);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode JKOSetUp(CkDynamics dynamics)
{
  JKO     *p = (JKO *)dynamics->data;
  Density *all[] = {&p->start, &p->at, &p->map, &p->former};

  PetscFunctionBeginUser;
  PetscCall(VecDuplicate(dynamics->x, &p->s));
  PetscCall(VecDuplicate(dynamics->x, &p->point));
  PetscCall(VecDuplicate(dynamics->x, &p->g));
  PetscCall(VecSet(p->s, p->deviation));
  PetscCall(VecGetLocalSize(dynamics->x, &p->n));
  for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); ++i) {
    PetscCall(PetscMalloc1(p->n, &all[i]->m));
    PetscCall(PetscMalloc1(p->n, &all[i]->s));
  }
  PetscCall(PetscMalloc1(p->pairs * p->n, &p->z));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* ---- the points of a step ---- */

/* (J.7): weight i has Walsh's function number i mod K, exchanged at random with another one for all of its K
   neighbours, and a random sign. Neighbours are orthogonal; others agree by chance, and in each step others do. */
static void DrawSigns(const CkRandom *stream, uint64_t first, PetscInt n, PetscInt pairs, double z[])
{
  const uint64_t K = (uint64_t)pairs;

  for (PetscInt i = 0; i < n; ++i) {
    const uint64_t weight = first + (uint64_t)i;
    uint32_t       own[4], group[4];
    uint64_t       walsh;

    CkRandomBits(stream, weight, own);
    CkRandomBits(stream, weight / K * K, group);
    walsh = (weight ^ group[1]) & (K - 1);
    for (PetscInt k = 0; k < pairs; ++k) {
      unsigned odd = own[0] & 1;

      for (uint64_t common = walsh & (uint64_t)k; common; common &= common - 1) odd ^= 1;
      z[k * n + i] = odd ? -1 : 1;
    }
  }
}

/* Normal numbers, scaled to a mean square of 1 for each weight. */
static PetscErrorCode DrawNormals(const CkRandom *stream, uint64_t first, PetscInt n, PetscInt pairs, double z[])
{
  double *row;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc1(pairs, &row));
  for (PetscInt i = 0; i < n; ++i) {
    double square = 0;

    CkRandomNormals(stream, (first + (uint64_t)i) * (uint64_t)pairs, (size_t)pairs, row);
    for (PetscInt k = 0; k < pairs; ++k) square += row[k] * row[k];
    for (PetscInt k = 0; k < pairs; ++k) z[k * n + i] = row[k] / sqrt(square / (double)pairs);
  }
  PetscCall(PetscFree(row));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode DrawPoints(CkDynamics dynamics, const JKO *p)
{
  const CkRandom stream = {.seed = dynamics->seed,
                           .purpose = CK_RANDOM_NOISE,
                           .replica = (uint32_t)dynamics->replica,
                           .step = (uint64_t)dynamics->step};
  PetscInt       first;

  PetscFunctionBeginUser;
  PetscCall(VecGetOwnershipRange(dynamics->x, &first, NULL));
  if (p->signs) DrawSigns(&stream, (uint64_t)first, p->n, p->pairs, p->z);
  else PetscCall(DrawNormals(&stream, (uint64_t)first, p->n, p->pairs, p->z));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* ---- means over the points ---- */

/* g, mean and correct at m + s z of the iterate. */
static PetscErrorCode Evaluate(CkDynamics dynamics, const JKO *p, double side, const double z[], double *mean,
                               PetscInt *correct)
{
  const CkBatch all = CkBatchAll(dynamics->N);
  PetscScalar  *point;

  PetscFunctionBeginUser;
  PetscCall(VecGetArrayWrite(p->point, &point));
  for (PetscInt i = 0; i < p->n; ++i) point[i] = p->at.m[i] + side * (p->at.s[i] * z[i]);
  PetscCall(VecRestoreArrayWrite(p->point, &point));
  PetscCall(CkLossSetPoint(dynamics->loss, p->point));
  PetscCall(CkLossGradient(dynamics->loss, &all, NULL, p->g, mean, correct));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* p->map <- E grad f, E z grad f of the iterate; its E f, and right predictions to the nearest one. (J.6) */
static PetscErrorCode Expect(CkDynamics dynamics, const JKO *p, CkUpdate *update)
{
  const double weight = 0.5 / (double)p->pairs;
  PetscInt64   right = 0;

  PetscFunctionBeginUser;
  PetscCall(PetscArrayzero(p->map.m, p->n));
  PetscCall(PetscArrayzero(p->map.s, p->n));
  update->mean = 0;
  for (PetscInt k = 0; k < 2 * p->pairs; ++k) {
    const double       side = k % 2 ? -1 : 1, *z = p->z + k / 2 * p->n;
    const PetscScalar *g;
    double             mean;
    PetscInt           correct;

    PetscCall(Evaluate(dynamics, p, side, z, &mean, &correct));
    PetscCall(VecGetArrayRead(p->g, &g));
    for (PetscInt i = 0; i < p->n; ++i) {
      p->map.m[i] += weight * g[i];
      p->map.s[i] += weight * (side * z[i] * g[i]);
    }
    PetscCall(VecRestoreArrayRead(p->g, &g));
    update->mean += weight * mean;
    right += correct;
  }
  update->correct = (PetscInt)((right + p->pairs) / (2 * p->pairs));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* ---- sums over the weights, in their order: the same bits on any number of ranks ---- */

static PetscErrorCode Sum(CkDynamics dynamics, const JKO *p, double (*term)(const JKO *, PetscInt), double *sum)
{
  PetscScalar *terms;
  double      *all;
  long double  total = 0;

  PetscFunctionBeginUser;
  PetscCall(VecGetArrayWrite(p->g, &terms));
  for (PetscInt i = 0; i < p->n; ++i) terms[i] = term(p, i);
  PetscCall(VecRestoreArrayWrite(p->g, &terms));
  PetscCall(PetscMalloc1(dynamics->d, &all));
  PetscCall(CkLossGather(dynamics->loss, p->g, all));
  for (PetscInt i = 0; i < dynamics->d; ++i) total += all[i];
  PetscCall(PetscFree(all));
  *sum = (double)total;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static double Entropy(const JKO *p, PetscInt i)
{
  return (1 + log(2 * PETSC_PI)) / 2 + log(p->at.s[i]);
}

static double Square(double m, double s)
{
  return m * m + s * s;
}

static double Size(const JKO *p, PetscInt i)
{
  return Square(p->at.m[i], p->at.s[i]);
}

static double Defect(const JKO *p, PetscInt i)
{
  return Square(p->map.m[i] - p->at.m[i], p->map.s[i] - p->at.s[i]);
}

static double Stretch(const JKO *p, PetscInt i)
{
  return Square(p->map.m[i] - p->former.m[i], p->map.s[i] - p->former.s[i]);
}

/* ---- a step ---- */

/* p->map, of slopes, becomes the map (J.4). */
static void Map(const JKO *p, double tau)
{
  const double fourth = 4 * tau * p->temperature;

  for (PetscInt i = 0; i < p->n; ++i) {
    const double a = p->start.s[i] - tau * p->map.s[i], root = sqrt(a * a + fourth);

    p->map.m[i] = p->start.m[i] - tau * p->map.m[i];
    p->map.s[i] = a >= 0 ? (a + root) / 2 : fourth / 2 / (root - a); /* without cancellation */
  }
}

/* The iterate moves by theta of the way to the map, which becomes the former one. (J.5) */
static void Relax(JKO *p, double theta)
{
  const Density map = p->map;

  for (PetscInt i = 0; i < p->n; ++i) {
    p->at.m[i] += theta * (map.m[i] - p->at.m[i]);
    p->at.s[i] += theta * (map.s[i] - p->at.s[i]);
  }
  p->map = p->former;
  p->former = map;
}

/* x, s -> start and iterate, or iterate -> x, s */
static PetscErrorCode Load(CkDynamics dynamics, const JKO *p)
{
  const PetscScalar *x, *s;

  PetscFunctionBeginUser;
  PetscCall(VecGetArrayRead(dynamics->x, &x));
  PetscCall(VecGetArrayRead(p->s, &s));
  PetscCall(PetscArraycpy(p->start.m, x, p->n));
  PetscCall(PetscArraycpy(p->start.s, s, p->n));
  PetscCall(PetscArraycpy(p->at.m, x, p->n));
  PetscCall(PetscArraycpy(p->at.s, s, p->n));
  PetscCall(VecRestoreArrayRead(p->s, &s));
  PetscCall(VecRestoreArrayRead(dynamics->x, &x));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Store(CkDynamics dynamics, const JKO *p)
{
  PetscScalar *x, *s;

  PetscFunctionBeginUser;
  PetscCall(VecGetArrayWrite(dynamics->x, &x));
  PetscCall(VecGetArrayWrite(p->s, &s));
  PetscCall(PetscArraycpy(x, p->at.m, p->n));
  PetscCall(PetscArraycpy(s, p->at.s, p->n));
  PetscCall(VecRestoreArrayWrite(p->s, &s));
  PetscCall(VecRestoreArrayWrite(dynamics->x, &x));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Inner iteration number j. moved: how far the iteration before went, then this one; the residual told is that of the
   iterate it began with. The first one uses the curvature of the step before. Moves shorter than the tolerance tell
   nothing of curvature: there jumps of the gradient would pass for it. */
static PetscErrorCode Iterate(CkDynamics dynamics, JKO *p, PetscInt j, double *moved, CkUpdate *update)
{
  const double tau = dynamics->rate;
  double       size = 0, defect = 0, stretch = 0, theta;

  PetscFunctionBeginUser;
  PetscCall(Expect(dynamics, p, update));
  Map(p, tau);
  PetscCall(Sum(dynamics, p, Size, &size));
  PetscCall(Sum(dynamics, p, Defect, &defect));
  if (j > 0 && (*moved > p->tolerance * sqrt(size) || p->curvature == 0)) {
    PetscCall(Sum(dynamics, p, Stretch, &stretch));
    stretch = sqrt(stretch) / *moved / tau;
    p->curvature = j == 1 ? stretch : PetscMax(stretch, p->curvature);
  }
  theta = 2 / (2 + tau * p->curvature);
  Relax(p, theta);
  *moved = theta * sqrt(defect);
  update->proximal.iterations = (double)(j + 1);
  update->proximal.residual = sqrt(defect / size);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode JKOStep(CkDynamics dynamics, const CkBatch *batch, CkUpdate *update)
{
  JKO     *p = (JKO *)dynamics->data;
  CkUpdate met = *update;
  double   entropy = 0, moved = 0;

  PetscFunctionBeginUser;
  (void)batch;
  PetscCall(DrawPoints(dynamics, p));
  PetscCall(Load(dynamics, p));
  PetscCall(Sum(dynamics, p, Entropy, &entropy));
  for (PetscInt j = 0; j < p->most; ++j) {
    PetscCall(Iterate(dynamics, p, j, &moved, &met));
    if (j == 0) *update = met;
    if (met.proximal.residual <= p->tolerance) break;
  }
  CkCheckAll(dynamics->comm, met.proximal.residual <= p->tolerance, PETSC_ERR_NOT_CONVERGED,
             "the residual of update %" PetscInt_FMT " is %.3g after -dynamics_iterations %" PetscInt_FMT
             ", above -dynamics_tolerance %g: lower the rate %g, whose product with the largest curvature (%.3g here) "
             "should be a few at most, allow more iterations, or raise the tolerance where gradients jump (ReLU units "
             "and few samples)",
             dynamics->step + 1, met.proximal.residual, p->most, (double)p->tolerance, dynamics->rate, p->curvature);
  update->proximal = met.proximal;
  update->proximal.free_energy = update->mean - p->temperature * entropy;
  PetscCall(Store(dynamics, p));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode JKOKeep(CkDynamics dynamics, CkKeeper keeper)
{
  JKO *p = (JKO *)dynamics->data;

  PetscFunctionBeginUser;
  PetscCall(CkKeepVec(keeper, "deviations", p->s));
  PetscCall(CkKeepReal(keeper, "curvature", &p->curvature));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode JKOView(CkDynamics dynamics, char text[], size_t length)
{
  const JKO *p = (const JKO *)dynamics->data;

  PetscFunctionBeginUser;
  snprintf(text, length,
           "temperature %g, deviations at first %g, gradients at %" PetscInt_FMT " pairs of %s, to %g in %" PetscInt_FMT
           " iterations at most",
           (double)p->temperature, (double)p->deviation, p->pairs, p->signs ? "signs" : "normal points",
           (double)p->tolerance, p->most);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode JKODestroy(CkDynamics dynamics)
{
  JKO     *p = (JKO *)dynamics->data;
  Density *all[] = {&p->start, &p->at, &p->map, &p->former};

  PetscFunctionBeginUser;
  if (!p) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(VecDestroy(&p->s));
  PetscCall(VecDestroy(&p->point));
  PetscCall(VecDestroy(&p->g));
  for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); ++i) {
    PetscCall(PetscFree(all[i]->m));
    PetscCall(PetscFree(all[i]->s));
  }
  PetscCall(PetscFree(p->z));
  PetscCall(PetscFree(dynamics->data));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscInt JKOVectors(CkDynamics dynamics)
{
  return 11 + ((const JKO *)dynamics->data)->pairs;
}

static PetscInt JKOGradients(CkDynamics dynamics)
{
  return 2 * ((const JKO *)dynamics->data)->pairs;
}

static Vec JKODeviations(CkDynamics dynamics)
{
  return ((const JKO *)dynamics->data)->s;
}

const CkDynamicsType CkDynamicsJKO = {.name = "jko",
                                      .keys = "temperature deviation points pairs tolerance iterations",
                                      .sampling = CK_SAMPLING_WHOLE,
                                      .evaluation = PETSC_TRUE,
                                      .setfromoptions = JKOSetFromOptions,
                                      .setup = JKOSetUp,
                                      .step = JKOStep,
                                      .view = JKOView,
                                      .destroy = JKODestroy,
                                      .countvectors = JKOVectors,
                                      .countgradients = JKOGradients,
                                      .keep = JKOKeep,
                                      .getdeviations = JKODeviations};
