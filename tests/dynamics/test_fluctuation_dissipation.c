/* Stochastic gradient descent on batches drawn with replacement: what one step does to the mean of |x|^2, and what
   holds in the stationary state. Theory T10, T11, T13; equations (D.5), (M.3), (M.4), (C.2). */
#include "../noise/matrices.h"
#include "gaussian.h"
#include "network.h"
#include <petscblaslapack.h>

enum { MOST = 3 }; /* most weights of a stationary state */

/* Least squares and how it is descended. */
typedef struct {
  PetscInt d, N, B;
  double   eta, *a, *y, best[MOST];
} Regression;

/* T13: one weight, f = h x^2/2 + const and D = A x^2 + b with h = 2.5, A = 2.25, b = 2.5. */
static Regression new_multiplicative(PetscInt B)
{
  Regression r = {.d = 1, .N = 4, .B = B, .eta = 0.1};

  OK(PetscMalloc1(4, &r.a));
  OK(PetscMalloc1(4, &r.y));
  for (int k = 0; k < 4; ++k) {
    r.a[k] = k < 2 ? 1 : 2;
    r.y[k] = k % 2 ? -1 : 1;
  }
  return r;
}

/* T11: three weights, inputs of covariance A = 1, noise of standard deviation 0.7. */
static Regression new_gaussian(double eta)
{
  const double L[MOST * MOST] = {1, 0, 0, 0, 1, 0, 0, 0, 1};
  Regression   r = {.d = 3, .B = 2, .eta = eta, .best = {1, -2, 0.5}};

  NewGaussianData(3, L, r.best, 0.7, &r.N, &r.a, &r.y);
  return r;
}

static void free_regression(Regression *r)
{
  OK(PetscFree(r->a));
  OK(PetscFree(r->y));
}

static double dot(PetscInt d, const double a[], const double b[])
{
  double sum = 0;

  for (PetscInt i = 0; i < d; ++i) sum += a[i] * b[i];
  return sum;
}

static PetscInt count_batches(PetscInt N, PetscInt B)
{
  PetscInt count = 1;

  for (PetscInt i = 0; i < B; ++i) count *= N;
  return count;
}

/* The samples of batch number `code` of the N^B ordered ones. */
static void choose_batch(PetscInt code, PetscInt N, PetscInt B, PetscInt index[])
{
  for (PetscInt i = 0; i < B; ++i, code /= N) index[i] = code % N;
}

/* Mean gradient of a batch, on every rank; to be freed. */
static double *new_gradient(CkLoss loss, const CkBatch *batch)
{
  Vec     g;
  double *values;

  OK(CkLossCreateVec(loss, &g));
  OK(CkLossGradient(loss, batch, NULL, g, NULL, NULL));
  values = GetTestEntries(g);
  OK(VecDestroy(&g));
  return values;
}

/* A loss without data yet; to be given them and set up. */
static CkLoss new_loss(MPI_Comm comm, const char options[])
{
  CkLoss loss;

  set_options(options, "");
  OK(CkLossCreate(comm, &loss));
  OK(CkLossSetFromOptions(loss));
  return loss;
}

static CkLoss new_regression_loss(MPI_Comm comm, const Regression *r, const char options[])
{
  CkLoss loss = new_loss(comm, options);

  OK(CkLossSetLinearRegression(loss, r->d, r->N, r->a, r->y));
  OK(CkLossSetUp(loss));
  return loss;
}

/* Mean over all batches of |x - eta g_B - o|^2 - |x - o|^2, o being points all of whose coordinates are the same. */
static void mean_growth(CkLoss loss, PetscInt B, CkMode mode, double eta, const double origins[2], double growth[2])
{
  PetscInt      index[3], N, d, count;
  const double *x;
  CkBatch       batch = CkBatchAll(B);

  batch.index = index;
  batch.mode = mode;
  OK(CkLossGetSamples(loss, &N));
  OK(CkLossGetDimension(loss, &d));
  OK(CkLossGetPointArray(loss, &x));
  count = count_batches(N, B);
  growth[0] = growth[1] = 0;
  for (PetscInt code = 0; code < count; ++code) {
    double *g;

    choose_batch(code, N, B, index);
    g = new_gradient(loss, &batch);
    for (int o = 0; o < 2; ++o)
      for (PetscInt i = 0; i < d; ++i) growth[o] += eta * g[i] * (eta * g[i] - 2 * (x[i] - origins[o])) / (double)count;
    OK(PetscFree(g));
  }
}

/* (M.3) at the loss's point, with the gradients of evaluation and of training mode. */
static void check_one_step(CkLoss loss)
{
  const double  eta = 0.7, origins[] = {0, 0.4};
  const double *x;
  double       *g, trace, growth[2][2];
  PetscInt      N, d;
  CkBatch       all;
  CkDiffusion   D;

  OK(CkLossGetSamples(loss, &N));
  OK(CkLossGetDimension(loss, &d));
  OK(CkLossGetPointArray(loss, &x));
  OK(CkDiffusionCreate(loss, &D));
  OK(CkDiffusionTrace(D, &trace));
  all = CkBatchAll(N);
  g = new_gradient(loss, &all);
  for (PetscInt B = 1; B <= 3; ++B) {
    mean_growth(loss, B, CK_EVALUATION, eta, origins, growth[0]);
    mean_growth(loss, B, CK_TRAINING, eta, origins, growth[1]);
    for (int o = 0; o < 2; ++o) {
      const double noise = eta * eta * trace / (double)B, slope = eta * eta * dot(d, g, g);
      double       drift = 0, scale = noise + slope;

      for (PetscInt i = 0; i < d; ++i) drift -= 2 * eta * (x[i] - origins[o]) * g[i];
      scale += fabs(drift);
      assert_on_all_ranks(noise > 1e-3 * scale && slope > 1e-3 * scale && fabs(drift) > 1e-3 * scale);
      assert_close(growth[0][o], drift + slope + noise, 1e-12, scale);
      assert_close(growth[1][o], drift + slope + noise, 1e-12, scale);
    }
  }
  OK(PetscFree(g));
  OK(CkDiffusionDestroy(&D));
}

static void one_step_on_landscapes(void **state)
{
  void (*const build[])(CkLoss, PetscInt) = {BuildTestQuadratic, BuildTestRegression, BuildTestTwoWeight};
  const char *const options[] = {"-loss_sum_block 1", "-loss_sum_block 1 -loss_l2 0.3"};

  (void)state;
  for (size_t i = 0; i < PETSC_STATIC_ARRAY_LENGTH(build); ++i) {
    for (int decay = 0; decay < 2; ++decay) {
      CkLoss loss = new_loss(PETSC_COMM_WORLD, options[decay]);

      build[i](loss, 4);
      OK(CkLossSetUp(loss));
      SetTestPoint(loss, 41, 1);
      check_one_step(loss);
      OK(CkLossDestroy(&loss));
    }
  }
}

static void one_step_of_a_network(void **state)
{
  const char *const options[] = {"", "-loss_l2 0.3"};
  Network           n;

  (void)state;
  for (int decay = 0; decay < 2; ++decay) {
    set_options("-data synthetic -data_shape 3 -data_classes 2 -data_count 4 -data_separation 1 -net mlp -net_widths 3 "
                "-net_activation tanh -net_loss mse -engine reference -engine_tile 1 -loss_sum_block 1 ",
                options[decay]);
    create_network(PETSC_COMM_WORLD, &n);
    check_one_step(n.loss);
    destroy_network(&n);
  }
}

/* Mean and covariance [d x d] of x. */
typedef struct {
  PetscInt d;
  double   mean[MOST], covariance[MOST * MOST];
} Law;

/* Expectations under a law of what is at most quadratic in x, as these are for linear gradients. */
typedef struct {
  double gradient[MOST]; /* E grad f */
  double work[2];        /* E x.grad f, E (x - E x).grad f */
  double squares;        /* E |g_B|^2 = E (|grad f|^2 + tr D/B) */
  Law    next;           /* of x - eta g_B, by (D.5) */
} Expectations;

/* 2d points with the mean and the covariance of the law: mean +- sqrt(d) c_j, C = sum c_j c_j'. */
static void spread(const Law *law, double points[])
{
  const PetscInt d = law->d;
  double         root[MOST * MOST];
  PetscBLASInt   n = (PetscBLASInt)d, info;

  OK(PetscArraycpy(root, law->covariance, d * d));
  LAPACKpotrf_("L", &n, root, &n, &info); /* column j from its diagonal on */
  assert_on_all_ranks(info == 0);
  for (PetscInt j = 0; j < d; ++j) {
    for (PetscInt i = 0; i < d; ++i) {
      const double shift = i < j ? 0 : sqrt((double)d) * root[j * d + i];

      points[2 * j * d + i] = law->mean[i] + shift;
      points[(2 * j + 1) * d + i] = law->mean[i] - shift;
    }
  }
}

/* Adds the loss at its point x to the means over n points; `next` is about the law's mean so far. */
static void add_point(CkLoss loss, CkDiffusion D, const Law *law, const double x[], double eta, PetscInt B, double n,
                      Expectations *e)
{
  const PetscInt d = law->d;
  double         trace, *g, *dense, moved[MOST];
  CkBatch        all;
  PetscInt       N;

  OK(CkLossGetSamples(loss, &N));
  all = CkBatchAll(N);
  g = new_gradient(loss, &all);
  OK(CkDiffusionTrace(D, &trace));
  dense = NewDense(D);
  for (PetscInt i = 0; i < d; ++i) {
    moved[i] = x[i] - eta * g[i] - law->mean[i];
    e->next.mean[i] += moved[i] / n;
    e->gradient[i] += g[i] / n;
  }
  e->work[0] += dot(d, x, g) / n;
  e->work[1] += (dot(d, x, g) - dot(d, law->mean, g)) / n;
  e->squares += (dot(d, g, g) + trace / (double)B) / n;
  for (PetscInt i = 0; i < d * d; ++i)
    e->next.covariance[i] += (moved[i / d] * moved[i % d] + eta * eta / (double)B * dense[i]) / n;
  OK(PetscFree(g));
  OK(PetscFree(dense));
}

static Expectations expect(CkLoss loss, CkDiffusion D, const Law *law, double eta, PetscInt B)
{
  const PetscInt d = law->d;
  double         points[2 * MOST * MOST];
  Expectations   e = {.next.d = d};

  spread(law, points);
  for (PetscInt p = 0; p < 2 * d; ++p) {
    MoveTo(loss, points + p * d);
    add_point(loss, D, law, points + p * d, eta, B, 2 * (double)d, &e);
  }
  for (PetscInt i = 0; i < d * d; ++i) e.next.covariance[i] -= e.next.mean[i / d] * e.next.mean[i % d];
  for (PetscInt i = 0; i < d; ++i) e.next.mean[i] += law->mean[i];
  return e;
}

/* (M.4) about two origins, as E grad f = 0; and a step changes neither the mean nor the covariance. */
static void assert_stationary(CkLoss loss, CkDiffusion D, const Law *law, double eta, PetscInt B, double tolerance)
{
  const PetscInt     d = law->d;
  const Expectations e = expect(loss, D, law, eta, B);
  double             square = dot(d, law->mean, law->mean);

  for (PetscInt i = 0; i < d; ++i) square += law->covariance[i * d + i];
  for (PetscInt i = 0; i < d; ++i) {
    assert_close(e.gradient[i], 0, tolerance, sqrt(e.squares));
    assert_close(e.next.mean[i], law->mean[i], tolerance, sqrt(square));
  }
  for (PetscInt i = 0; i < d * d; ++i) assert_close(e.next.covariance[i], law->covariance[i], tolerance, square);
  assert_close(e.work[0], eta / 2 * e.squares, tolerance, e.work[0]);
  assert_close(e.work[1], eta / 2 * e.squares, tolerance, e.work[1]);
}

/* The affine maps x -> x - eta g_B(x) of all batches, each as a matrix [(d+1) x (d+1)] that acts on (1, x); to be
   freed. */
static double *new_maps(CkLoss loss, PetscInt d, PetscInt B, double eta, PetscInt *count)
{
  const PetscInt e = d + 1;
  PetscInt       index[3], N;
  CkBatch        batch = CkBatchAll(B);
  double        *maps;

  batch.index = index;
  OK(CkLossGetSamples(loss, &N));
  *count = count_batches(N, B);
  OK(PetscCalloc1(*count * e * e, &maps));
  for (PetscInt j = 0; j < e; ++j) { /* at the origin, then at the ends of the unit vectors */
    double x[MOST] = {0};

    if (j > 0) x[j - 1] = 1;
    MoveTo(loss, x);
    for (PetscInt code = 0; code < *count; ++code) {
      double *map = maps + code * e * e, *g;

      choose_batch(code, N, B, index);
      g = new_gradient(loss, &batch);
      map[0] = 1;
      for (PetscInt i = 0; i < d; ++i) map[(i + 1) * e + j] = x[i] - eta * g[i] - (j > 0 ? map[(i + 1) * e] : 0);
      OK(PetscFree(g));
    }
  }
  return maps;
}

/* Z <- mean over the maps of T Z T', Z [e x e] being E (1, x)(1, x)'. Returns the largest change. */
static double advance(PetscInt e, PetscInt count, const double maps[], double Z[])
{
  enum { SIDE = MOST + 1 };
  double next[SIDE * SIDE] = {0}, change = 0;

  for (PetscInt code = 0; code < count; ++code) {
    const double *T = maps + code * e * e;
    double        half[SIDE * SIDE] = {0};

    for (PetscInt i = 0; i < e * e; ++i)
      for (PetscInt k = 0; k < e; ++k) half[i] += T[i / e * e + k] * Z[k * e + i % e];
    for (PetscInt i = 0; i < e * e; ++i)
      for (PetscInt k = 0; k < e; ++k) next[i] += half[i / e * e + k] * T[i % e * e + k] / (double)count;
  }
  for (PetscInt i = 0; i < e * e; ++i) change = fmax(change, fabs(next[i] - Z[i]));
  OK(PetscArraycpy(Z, next, e * e));
  return change;
}

/* The stationary law from the maps of all batches, one by one: it knows nothing of D. */
static Law find_stationary(CkLoss loss, PetscInt d, PetscInt B, double eta)
{
  const PetscInt e = d + 1;
  PetscInt       count;
  double        *maps = new_maps(loss, d, B, eta, &count), Z[(MOST + 1) * (MOST + 1)] = {1}, change = INFINITY;
  Law            law = {.d = d};

  for (int step = 0; step < 5000; ++step) change = advance(e, count, maps, Z);
  assert_on_all_ranks(change < 1e-14);
  for (PetscInt i = 0; i < d; ++i) law.mean[i] = Z[i + 1];
  for (PetscInt i = 0; i < d * d; ++i)
    law.covariance[i] = Z[(i / d + 1) * e + i % d + 1] - law.mean[i / d] * law.mean[i % d];
  OK(PetscFree(maps));
  return law;
}

/* T10 in three dimensions, with noise that does not depend on x and with noise that does. */
static void stationary_law_of_all_batches(void **state)
{
  enum { d = 3, N = 5 };
  const double H[d * d] = {1, 0.5, 0, 0.5, 2, -0.25, 0, -0.25, 3};
  const double eta = 0.2;
  double      *numbers = NewNormals(3, N * d), *targets = NewNormals(4, N);

  (void)state;
  for (int regression = 0; regression < 2; ++regression) {
    for (PetscInt B = 1; B <= 2; ++B) {
      CkLoss      loss = new_loss(PETSC_COMM_WORLD, "-loss_sum_block 1 -loss_l2 0.1");
      CkDiffusion D;
      Law         law;

      if (regression) OK(CkLossSetLinearRegression(loss, d, N, numbers, targets));
      else OK(CkLossSetQuadratic(loss, d, N, H, numbers));
      OK(CkLossSetUp(loss));
      OK(CkDiffusionCreate(loss, &D));
      law = find_stationary(loss, d, B, eta);
      assert_stationary(loss, D, &law, eta, B, 1e-12);
      OK(CkDiffusionDestroy(&D));
      OK(CkLossDestroy(&loss));
    }
  }
  OK(PetscFree(numbers));
  OK(PetscFree(targets));
}

/* T13: E x^2 = (eta b/B)/(2h - eta h^2 - eta A/B) for D = A x^2 + b. */
static void stationary_law_of_multiplicative_noise(void **state)
{
  const double h = 2.5, A = 2.25, b = 2.5;

  (void)state;
  for (PetscInt B = 1; B <= 3; ++B) {
    Regression   r = new_multiplicative(B);
    const double exact = r.eta * b / (double)B / (2 * h - r.eta * h * h - r.eta * A / (double)B);
    CkLoss       loss = new_regression_loss(PETSC_COMM_WORLD, &r, "-loss_sum_block 1");
    const Law    law = find_stationary(loss, 1, B, r.eta);
    CkDiffusion  D;

    OK(CkDiffusionCreate(loss, &D));
    if (B == 1) assert_close(exact, 0.0602410, 5e-8, 1);
    assert_close(law.covariance[0], exact, 1e-12, exact);
    assert_stationary(loss, D, &law, r.eta, B, 1e-12);
    OK(CkDiffusionDestroy(&D));
    OK(CkLossDestroy(&loss));
    free_regression(&r);
  }
}

/* T11 with A = 1: S = E (x - x*)(x - x*)' of any law approaches v 1 of (C.2), its trace by the factor p and the rest by
   the factor q a step; beyond eta = 2/3, where v changes its sign, p > 1 and S leaves v 1. Returns v. */
static double check_gaussian_least_squares(double eta)
{
  enum { d = 3, STEPS = 4 };
  const double B = 2, v = eta * 0.7 * 0.7 / B / (2 - eta * ((d + 1) / B + 1));
  const double q = (1 - eta) * (1 - eta) + eta * eta / B, p = q + eta * eta * d / B;
  double       start = 0, S[2][d * d];
  Law          law = {d, {1.2, -1.9, 0.4}, {0.03, 0.01, 0, 0.01, 0.01, -0.005, 0, -0.005, 0.04}};
  Regression   r = new_gaussian(eta);
  CkLoss       loss = new_regression_loss(PETSC_COMM_WORLD, &r, "-loss_sum_block 64");
  CkDiffusion  D;

  assert_on_all_ranks((p < 1) == (v > 0));
  OK(CkDiffusionCreate(loss, &D));
  for (int step = 0; step <= STEPS; ++step) {
    double *now = S[step > 0];

    for (int i = 0; i < d * d; ++i)
      now[i] = law.covariance[i] + (law.mean[i / d] - r.best[i / d]) * (law.mean[i % d] - r.best[i % d]);
    if (step < STEPS) law = expect(loss, D, &law, eta, r.B).next;
  }
  for (int i = 0; i < d; ++i) start += S[0][i * (d + 1)] / d;
  for (int i = 0; i < d * d; ++i) {
    const double one = i % (d + 1) ? 0 : 1;

    assert_close(S[1][i], v * one + pow(p, STEPS) * (start - v) * one + pow(q, STEPS) * (S[0][i] - start * one), 1e-12,
                 1 + fabs(v));
  }
  if (v > 0) {
    const Law stationary = {d, {r.best[0], r.best[1], r.best[2]}, {v, 0, 0, 0, v, 0, 0, 0, v}};

    assert_stationary(loss, D, &stationary, eta, r.B, 1e-12);
  }
  OK(CkDiffusionDestroy(&D));
  OK(CkLossDestroy(&loss));
  free_regression(&r);
  return v;
}

static void stationary_law_of_gaussian_least_squares(void **state)
{
  (void)state;
  assert_close(check_gaussian_least_squares(0.1), 0.01441176, 1e-8, 1);
  assert_on_all_ranks(check_gaussian_least_squares(0.66) > 0);
  assert_on_all_ranks(check_gaussian_least_squares(0.67) < 0);
}

/* What a run adds up, in pieces whose means give the standard errors. */
enum { WORK, NOISE, MOVES, SPREAD, COUNT, SUMS, PIECES = 100 };

typedef double Sums[PIECES][SUMS];

typedef struct {
  double value, error;
} Estimate;

static Estimate ratio_of(Sums sums, int above, int below)
{
  double   a = 0, b = 0, square = 0;
  Estimate e;

  for (int p = 0; p < PIECES; ++p) {
    a += sums[p][above];
    b += sums[p][below];
  }
  e.value = a / b;
  for (int p = 0; p < PIECES; ++p) square += pow(sums[p][above] - e.value * sums[p][below], 2);
  e.error = sqrt(square * PIECES / (PIECES - 1.)) / b;
  return e;
}

/* (x - x*).grad f, (eta/2)(|grad f|^2 + tr D/B) and |x - x*|^2/d at the loss's point; then one update, which moves by
   eta g_B: (eta/2)|g_B|^2. */
static void add_update(CkDynamics dynamics, CkLoss loss, CkDiffusion D, const Regression *r, double sums[SUMS])
{
  const double *x, *g;
  double        trace, distance[MOST], last[MOST];

  OK(CkLossGetPointArray(loss, &x));
  OK(CkLossMeanGradient(loss, &g));
  OK(CkDiffusionTrace(D, &trace));
  for (PetscInt i = 0; i < r->d; ++i) {
    last[i] = x[i];
    distance[i] = x[i] - r->best[i];
  }
  sums[WORK] += dot(r->d, distance, g);
  sums[NOISE] += r->eta / 2 * (dot(r->d, g, g) + trace / (double)r->B);
  sums[SPREAD] += dot(r->d, distance, distance) / (double)r->d;
  sums[COUNT] += 1;
  OK(CkDynamicsStep(dynamics));
  OK(CkLossGetPointArray(loss, &x));
  for (PetscInt i = 0; i < r->d; ++i) sums[MOVES] += (x[i] - last[i]) * (x[i] - last[i]) / (2 * r->eta);
}

/* PIECES pieces of `updates` updates each, after one piece that is not counted. */
static void simulate(const Regression *r, const char options[], int updates, Sums sums)
{
  char        text[256];
  double      transient[SUMS] = {0};
  CkLoss      loss;
  CkDiffusion D;
  CkDynamics  dynamics;

  snprintf(text, sizeof(text), "-dynamics_batch %d -dynamics_rate %.17g -loss_sum_block 64 -seed 1 %s", (int)r->B,
           r->eta, options);
  loss = new_regression_loss(PETSC_COMM_SELF, r, text);
  OK(CkDiffusionCreate(loss, &D));
  OK(CkDynamicsCreate(loss, NULL, &dynamics));
  OK(CkDynamicsSetFromOptions(dynamics));
  memset(sums, 0, sizeof(Sums));
  for (int p = -1; p < PIECES; ++p)
    for (int t = 0; t < updates; ++t) add_update(dynamics, loss, D, r, p < 0 ? transient : sums[p]);
  OK(CkDynamicsDestroy(&dynamics));
  OK(CkDiffusionDestroy(&D));
  OK(CkLossDestroy(&loss));
}

/* Within four standard errors, which are small. */
static void assert_estimate(Estimate e, double expected)
{
  assert_true(e.error < 0.01 * expected);
  assert_close(e.value, expected, 4, e.error);
}

/* Statistics of long runs say nothing about ranks. */
static void only_on_one_rank(void)
{
  int size;

  MPI_Comm_size(PETSC_COMM_WORLD, &size);
  if (size > 1) skip();
}

/* T10: a run of the driver with replacement fulfils (M.4) and has the variance of T13 and of T11. */
static void long_runs(void **state)
{
  Regression multiplicative = new_multiplicative(1), gaussian = new_gaussian(0.1);
  Sums       sums;

  (void)state;
  only_on_one_rank();
  simulate(&multiplicative, "-dynamics_replacement", 2000, sums);
  assert_estimate(ratio_of(sums, WORK, NOISE), 1);
  assert_estimate(ratio_of(sums, MOVES, NOISE), 1);
  assert_estimate(ratio_of(sums, SPREAD, COUNT), 0.0602410);
  simulate(&gaussian, "-dynamics_replacement", 1000, sums);
  assert_estimate(ratio_of(sums, WORK, NOISE), 1);
  assert_estimate(ratio_of(sums, MOVES, NOISE), 1);
  assert_estimate(ratio_of(sums, SPREAD, COUNT), 0.01441176);
  free_regression(&multiplicative);
  free_regression(&gaussian);
}

/* (M.4) does not hold without replacement or with momentum. The exact ratios follow from the moments of x under the 24
   orders of the four samples, and from those of (x, v) under the four samples. */
static void runs_without_the_relation(void **state)
{
  Regression r = new_multiplicative(1);
  Sums       sums;

  (void)state;
  only_on_one_rank();
  simulate(&r, "", 500, sums);
  assert_estimate(ratio_of(sums, WORK, NOISE), 0.444064);
  simulate(&r, "-dynamics_replacement -dynamics_momentum 0.9", 500, sums);
  assert_estimate(ratio_of(sums, WORK, NOISE), 4.578313);
  free_regression(&r);
}

static const struct CMUnitTest tests[] = {
  cmocka_unit_test(one_step_on_landscapes),
  cmocka_unit_test(one_step_of_a_network),
  cmocka_unit_test(stationary_law_of_all_batches),
  cmocka_unit_test(stationary_law_of_multiplicative_noise),
  cmocka_unit_test(stationary_law_of_gaussian_least_squares),
  cmocka_unit_test(long_runs),
  cmocka_unit_test(runs_without_the_relation),
};

CK_TEST_MAIN(tests, PetscInitialize, PetscFinalize)
