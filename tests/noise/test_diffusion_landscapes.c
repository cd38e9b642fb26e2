/* D of the analytic losses in closed form: theory, T11-T14, T27, T28 and the definitions of D. */
#include "gaussian.h"
#include "matrices.h"
#include <petscblaslapack.h>

static CkDiffusion NewDiffusion(CkLoss loss)
{
  CkDiffusion D;

  OK(CkLossSetUp(loss));
  OK(CkDiffusionCreate(loss, &D));
  OK(CkDiffusionSetFromOptions(D));
  return D;
}

static void Free(CkDiffusion *D, CkLoss *loss)
{
  OK(CkDiffusionDestroy(D));
  OK(CkLossDestroy(loss));
}

static void assert_matrix(PetscInt n, const double got[], const double expected[], double tolerance)
{
  for (PetscInt i = 0; i < n * n; ++i) assert_close(got[i], expected[i], tolerance, 1);
}

/* T12 at w = (1, 1): D = [[1,1],[1,1]], grad f = (1,1). */
static void two_weight_numbers(void **state)
{
  const double x[] = {1, 2}, y[] = {1, 1}, w[] = {1, 1}, ones[] = {1, 1, 1, 1};
  CkLoss       loss;
  CkDiffusion  D;
  double      *dense, *gram, *mean, trace, traces[1];
  PetscInt     n;
  Vec          gbar;

  (void)state;
  OK(CkLossCreate(PETSC_COMM_WORLD, &loss));
  OK(CkLossSetTwoWeight(loss, 2, x, y));
  D = NewDiffusion(loss);
  MoveTo(loss, w);
  dense = NewDense(D);
  assert_matrix(2, dense, ones, 0);
  gram = NewGram(D); /* rows (0,0), (2,2) centred: -(1,1), (1,1); K = [[1,-1],[-1,1]] */
  for (int i = 0; i < 4; ++i) assert_on_all_ranks(gram[i] == (i == 0 || i == 3 ? 1 : -1));
  OK(CkDiffusionTrace(D, &trace));
  OK(CkDiffusionLayerTraces(D, &n, traces));
  assert_on_all_ranks(trace == 2 && n == 1 && traces[0] == 2);
  OK(CkLossCreateVec(loss, &gbar));
  OK(CkDiffusionMean(D, gbar));
  mean = GetTestEntries(gbar);
  assert_on_all_ranks(mean[0] == 1 && mean[1] == 1);
  OK(PetscFree(mean));
  OK(PetscFree(dense));
  OK(PetscFree(gram));
  OK(VecDestroy(&gbar));
  Free(&D, &loss);
}

/* T12 for any data: D = s2(p) v v', s2 = p^2 Var(x^2) - 2p Cov(x^2, xy) + Var(xy), v = (w2, w1): rank 1. */
static void two_weight_formula(void **state)
{
  enum { N = 130 };
  const double w[] = {0.7, -1.3}, p = w[0] * w[1];
  double      *x = NewNormals(1, N), *y = NewNormals(2, N), *dense, a = 0, b = 0, aa = 0, ab = 0, bb = 0, s2;
  CkLoss       loss;
  CkDiffusion  D;

  (void)state;
  for (int k = 0; k < N; ++k) {
    const double u = x[k] * x[k], v = x[k] * y[k];

    a += u / N;
    b += v / N;
    aa += u * u / N;
    ab += u * v / N;
    bb += v * v / N;
  }
  s2 = p * p * (aa - a * a) - 2 * p * (ab - a * b) + bb - b * b;
  OK(CkLossCreate(PETSC_COMM_WORLD, &loss));
  OK(CkLossSetTwoWeight(loss, N, x, y));
  D = NewDiffusion(loss);
  MoveTo(loss, w);
  dense = NewDense(D);
  assert_close(dense[0], s2 * w[1] * w[1], 1e-13, s2);
  assert_close(dense[1], s2 * w[0] * w[1], 1e-13, s2);
  assert_close(dense[3], s2 * w[0] * w[0], 1e-13, s2);
  assert_close(dense[0] * dense[3] - dense[1] * dense[2], 0, 1e-13, s2 * s2);
  OK(PetscFree(dense));
  OK(PetscFree(x));
  OK(PetscFree(y));
  Free(&D, &loss);
}

/* T14: at x = 0 D = (2/9)[[1,1],[1,1]]; at a generic x rank 2 = N - 1 and D grad f not parallel to grad f. */
static void linear_regression_numbers(void **state)
{
  const double a[] = {1, 0, 0, 1, 1, 1}, y[] = {0, 0, 1}, generic[] = {0.3, -0.8};
  CkLoss       loss;
  CkDiffusion  D;
  double      *dense, *g, Dg[2], trace;
  Vec          gbar;

  (void)state;
  OK(CkLossCreate(PETSC_COMM_WORLD, &loss));
  OK(CkLossSetLinearRegression(loss, 2, 3, a, y));
  D = NewDiffusion(loss);
  dense = NewDense(D);
  for (int i = 0; i < 4; ++i) assert_close(dense[i], 2. / 9, 1e-15, 1);
  OK(CkDiffusionTrace(D, &trace));
  assert_close(trace, 4. / 9, 1e-15, 1);
  OK(PetscFree(dense));
  MoveTo(loss, generic);
  dense = NewDense(D);
  assert_on_all_ranks(dense[0] * dense[3] - dense[1] * dense[1] > 1e-3);
  OK(CkLossCreateVec(loss, &gbar));
  OK(CkDiffusionMean(D, gbar));
  g = GetTestEntries(gbar);
  MultiplyFull(2, dense, g, Dg);
  assert_on_all_ranks(fabs(Dg[0] * g[1] - Dg[1] * g[0]) > 1e-3);
  OK(PetscFree(g));
  OK(PetscFree(dense));
  OK(VecDestroy(&gbar));
  Free(&D, &loss);
}

/* T13: data (a,y) in {(1,1), (1,-1), (2,1), (2,-1)}: D = 2.25 x^2 + 2.5. */
static void multiplicative_noise(void **state)
{
  const double a[] = {1, 1, 2, 2}, y[] = {1, -1, 1, -1};
  CkLoss       loss;
  CkDiffusion  D;

  (void)state;
  OK(CkLossCreate(PETSC_COMM_WORLD, &loss));
  OK(CkLossSetLinearRegression(loss, 1, 4, a, y));
  D = NewDiffusion(loss);
  for (double x = -2; x <= 2; x += 0.5) {
    double trace;

    MoveTo(loss, &x);
    OK(CkDiffusionTrace(D, &trace));
    assert_close(trace, 2.25 * x * x + 2.5, 1e-14, trace);
  }
  Free(&D, &loss);
}

/* T11 at the optimum: residuals sigma and -sigma for each a_k in turn make gbar = 0 and D(x*) = sigma^2 H exactly. */
static void noise_at_the_optimum_is_the_hessian(void **state)
{
  enum { d = 4, pairs = 40, N = 2 * pairs };
  const double sigma = 0.7, best[d] = {1, -2, 0.5, 3};
  double      *u = NewNormals(5, pairs * d), a[N * d], y[N], H[d * d] = {0}, *dense;
  CkLoss       loss;
  CkDiffusion  D;

  (void)state;
  for (int k = 0; k < N; ++k) {
    y[k] = k % 2 ? sigma : -sigma;
    for (int i = 0; i < d; ++i) {
      a[k * d + i] = u[k / 2 * d + i];
      y[k] += a[k * d + i] * best[i];
    }
    for (int i = 0; i < d * d; ++i) H[i] += a[k * d + i / d] * a[k * d + i % d] / N;
  }
  OK(CkLossCreate(PETSC_COMM_WORLD, &loss));
  OK(CkLossSetLinearRegression(loss, d, N, a, y));
  D = NewDiffusion(loss);
  MoveTo(loss, best);
  dense = NewDense(D);
  for (int i = 0; i < d * d; ++i) H[i] *= sigma * sigma;
  assert_matrix(d, dense, H, 1e-14);
  OK(PetscFree(dense));
  OK(PetscFree(u));
  Free(&D, &loss);
}

/* D at x by both routes, the assembled matrix and products with the unit vectors. */
static void CheckMatrix(CkDiffusion D, CkLoss loss, PetscInt d, const double x[], const double expected[])
{
  const double tolerance = 1e-12;
  double       unit[8] = {0}, *dense;
  Vec         *units, *columns, layout;

  MoveTo(loss, x);
  dense = NewDense(D);
  assert_matrix(d, dense, expected, tolerance);
  OK(PetscFree(dense));
  OK(CkLossCreateVec(loss, &layout));
  OK(VecDuplicateVecs(layout, d, &units));
  OK(VecDuplicateVecs(layout, d, &columns));
  for (PetscInt j = 0; j < d; ++j) {
    unit[j] = 1;
    SetTestVec(units[j], unit);
    unit[j] = 0;
  }
  OK(CkDiffusionApply(D, d, units, columns));
  for (PetscInt j = 0; j < d; ++j) {
    double *column = GetTestEntries(columns[j]);

    for (PetscInt i = 0; i < d; ++i) assert_close(column[i], expected[i * d + j], tolerance, 1);
    OK(PetscFree(column));
  }
  OK(VecDestroyVecs(d, &units));
  OK(VecDestroyVecs(d, &columns));
  OK(VecDestroy(&layout));
}

/* T11 at any point, eq. (C.1): D = A u u' A + (u'A u + sigma^2) A, u = x - x*. */
static void noise_of_gaussian_least_squares(void **state)
{
  enum { d = 3 };
  const double L[d * d] = {1.2, 0, 0, -0.5, 0.9, 0, 0.3, 0.4, 0.7}, best[d] = {1, -2, 0.5}, sigma = 0.7;
  const double points[][d] = {{1, -2, 0.5}, {0, 0, 0}, {1.3, -2.8, 1.1}, {-2, 1, -1.5}};
  double      *a, *y;
  PetscInt     N;
  CkLoss       loss;
  CkDiffusion  D;

  (void)state;
  NewGaussianData(d, L, best, sigma, &N, &a, &y);
  OK(CkLossCreate(PETSC_COMM_WORLD, &loss));
  OK(CkLossSetLinearRegression(loss, d, N, a, y));
  D = NewDiffusion(loss);
  for (size_t p = 0; p < PETSC_STATIC_ARRAY_LENGTH(points); ++p) {
    double A[d * d] = {0}, u[d], Au[d], square = sigma * sigma, expected[d * d];

    for (int i = 0; i < d * d; ++i)
      for (int j = 0; j < d; ++j) A[i] += L[i / d * d + j] * L[i % d * d + j];
    for (int i = 0; i < d; ++i) u[i] = points[p][i] - best[i];
    MultiplyFull(d, A, u, Au);
    for (int i = 0; i < d; ++i) square += u[i] * Au[i];
    for (int i = 0; i < d * d; ++i) expected[i] = Au[i / d] * Au[i % d] + square * A[i];
    CheckMatrix(D, loss, d, points[p], expected);
  }
  OK(PetscFree(a));
  OK(PetscFree(y));
  Free(&D, &loss);
}

/* Theory 1.1: covariance, pair form (1/N^2) sum_{i<j} (g_i - g_j)(g_i - g_j)' and second moment less mean square. */
static void three_definitions_agree(void **state)
{
  enum { d = 5, N = 60 };
  double        pair[d * d] = {0}, moment[d * d] = {0}, mean[d] = {0}, x[d] = {1, 2, -1, 0.5, 0.25}, *dense, *rows;
  double       *a = NewNormals(6, N * d), *y = NewNormals(7, N);
  const CkBatch all = CkBatchAll(N);
  CkLoss        loss;
  CkDiffusion   D;

  (void)state;
  OK(CkLossCreate(PETSC_COMM_WORLD, &loss));
  OK(CkLossSetLinearRegression(loss, d, N, a, y));
  D = NewDiffusion(loss);
  MoveTo(loss, x);
  dense = NewDense(D);
  rows = GetTestRows(loss, &all);
  for (int r = 0; r < d; ++r) {
    for (int k = 0; k < N; ++k) mean[r] += rows[k * d + r] / N;
  }
  for (int r = 0; r < d * d; ++r) {
    const int s = r / d, t = r % d;

    for (int i = 0; i < N; ++i) {
      moment[r] += rows[i * d + s] * rows[i * d + t] / N;
      for (int j = i + 1; j < N; ++j)
        pair[r] += (rows[i * d + s] - rows[j * d + s]) * (rows[i * d + t] - rows[j * d + t]) / (N * N);
    }
    moment[r] -= mean[s] * mean[t];
  }
  assert_matrix(d, dense, pair, 1e-12);
  assert_matrix(d, dense, moment, 1e-12);
  OK(PetscFree(rows));
  OK(PetscFree(dense));
  OK(PetscFree(a));
  OK(PetscFree(y));
  Free(&D, &loss);
}

/* Eigenvalues of an assembled matrix, descending. */
static double *NewEigenvalues(CkDiffusion D, PetscBool gram, PetscInt *n)
{
  CkBlockMatrix A;
  double       *values;

  OK(gram ? CkDiffusionGram(D, &A) : CkDiffusionDense(D, &A));
  OK(CkBlockMatrixGetSize(A, n));
  OK(PetscMalloc1(*n, &values));
  OK(CkBlockMatrixEigen(A, CK_SOLVER_SCALAPACK, values, NULL));
  OK(CkBlockMatrixDestroy(&A));
  return values;
}

/* A quadratic loss with D = scale^2 Cov(xi) for N normal xi of decreasing size. */
static CkDiffusion NewQuadratic(PetscInt d, PetscInt N, double scale, CkLoss *loss)
{
  double *xi = NewNormals(8, (size_t)N * (size_t)d), *H;

  OK(PetscCalloc1(d * d, &H));
  for (PetscInt i = 0; i < d; ++i) H[i * d + i] = 1 + (double)i;
  for (PetscInt i = 0; i < N * d; ++i) xi[i] *= scale / (1 + (double)(i % d));
  OK(CkLossCreate(PETSC_COMM_WORLD, loss));
  OK(CkLossSetQuadratic(*loss, d, N, H, xi));
  OK(PetscFree(H));
  OK(PetscFree(xi));
  return NewDiffusion(*loss);
}

static PetscInt CountAbove(PetscInt n, const double values[], double threshold)
{
  PetscInt count = 0;

  for (PetscInt i = 0; i < n; ++i) count += values[i] > threshold;
  return count;
}

/* T27: rank min(d, N-1); the Gram matrix has the same non-zero spectrum; mean and variance of the spectrum from traces;
   the float32 threshold counts the same for D and c D. */
static void CheckSpectra(PetscInt d, PetscInt N)
{
  const double eps32 = 0x1p-23, rounding = 1e-13;
  const double scales[] = {1, 1e-3, 3e4};
  PetscInt     expected = PetscMin(d, N - 1), rank32 = -1;

  for (int s = 0; s < 3; ++s) {
    CkLoss      loss;
    CkDiffusion D = NewQuadratic(d, N, scales[s], &loss);
    PetscInt    n, m;
    double     *dense = NewEigenvalues(D, PETSC_FALSE, &n), *gram = NewEigenvalues(D, PETSC_TRUE, &m);
    double      trace, sum = 0, squares = 0, frobenius = 0, *full = NewDense(D);

    assert_on_all_ranks(n == d && m == N);
    assert_on_all_ranks(CountAbove(n, dense, rounding * dense[0]) == expected);
    assert_on_all_ranks(CountAbove(m, gram, rounding * dense[0]) == expected);
    for (PetscInt i = 0; i < expected; ++i) assert_close(gram[i], dense[i], 1e-13, dense[0]);
    for (PetscInt i = 0; i < d; ++i) {
      sum += dense[i];
      squares += dense[i] * dense[i];
    }
    for (PetscInt i = 0; i < d * d; ++i) frobenius += full[i] * full[i];
    OK(CkDiffusionTrace(D, &trace));
    assert_close(sum, trace, 1e-13, trace);
    assert_close(squares / d - sum / d * sum / d, frobenius / d - trace / d * trace / d, 1e-12, squares);
    if (s == 0) rank32 = CountAbove(n, dense, dense[0] * d * eps32);
    assert_on_all_ranks(CountAbove(n, dense, dense[0] * d * eps32) == rank32);
    OK(PetscFree(dense));
    OK(PetscFree(gram));
    OK(PetscFree(full));
    Free(&D, &loss);
  }
}

static void spectra_of_both_matrices(void **state)
{
  (void)state;
  CheckSpectra(6, 40);
  CheckSpectra(30, 12);
}

/* Largest |eigenvalue| of a symmetric matrix, by LAPACK; M is destroyed. */
static double SpectralNorm(PetscBLASInt n, double M[])
{
  double       values[16], work[256];
  PetscBLASInt size = 256, info;

  PetscCallBLAS("LAPACKsyev", LAPACKsyev_("N", "U", &n, M, &n, values, work, &size, &info));
  assert_int_equal(info, 0);
  return fmax(fabs(values[0]), fabs(values[n - 1]));
}

/* Theory 1.4: |(I + E D)^-1 - (I - E D)|_2 = (E lmax)^2 / (1 + E lmax). */
static void weak_field_inverse(void **state)
{
  enum { d = 6 };
  PetscBLASInt n = d, info, pivots[d];
  PetscInt     size;
  CkLoss       loss;
  CkDiffusion  D = NewQuadratic(d, 40, 1, &loss);
  double      *values = NewEigenvalues(D, PETSC_FALSE, &size), *full = NewDense(D);

  (void)state;
  for (double E = 1e-3; E < 20; E *= 10) {
    double metric[d * d], inverse[d * d], expected = E * E * values[0] * values[0] / (1 + E * values[0]);

    for (int i = 0; i < d * d; ++i) {
      metric[i] = (i % (d + 1) == 0) + E * full[i];
      inverse[i] = i % (d + 1) == 0;
    }
    LAPACKgesv_(&n, &n, metric, &n, pivots, inverse, &n, &info);
    assert_int_equal(info, 0);
    for (int i = 0; i < d * d; ++i) inverse[i] -= (i % (d + 1) == 0) - E * full[i];
    assert_close(SpectralNorm(d, inverse), expected, 1e-12, 1 + expected);
  }
  OK(PetscFree(values));
  OK(PetscFree(full));
  Free(&D, &loss);
}

/* All N^B ordered batches (with replacement), or the N!/(N-B)! without repeats: mean of (g_B - gbar)(g_B - gbar)'. */
static void AverageOverBatches(CkLoss loss, PetscInt N, PetscInt B, PetscBool replacement, const double gbar[2],
                               double covariance[4])
{
  PetscInt index[6] = {0}, count = 0, total = 1;
  CkBatch  batch = CkBatchAll(B);
  Vec      g;

  for (PetscInt i = 0; i < B; ++i) total *= N;
  OK(CkLossCreateVec(loss, &g));
  batch.index = index;
  for (int i = 0; i < 4; ++i) covariance[i] = 0;
  for (PetscInt code = 0; code < total; ++code) {
    PetscBool repeats = PETSC_FALSE;
    double   *values;

    for (PetscInt i = 0, rest = code; i < B; ++i, rest /= N) {
      index[i] = rest % N;
      for (PetscInt j = 0; j < i; ++j)
        if (index[i] == index[j]) repeats = PETSC_TRUE;
    }
    if (repeats && !replacement) continue;
    OK(CkLossGradient(loss, &batch, NULL, g, NULL, NULL));
    values = GetTestEntries(g);
    for (int i = 0; i < 4; ++i) covariance[i] += (values[i / 2] - gbar[i / 2]) * (values[i % 2] - gbar[i % 2]);
    OK(PetscFree(values));
    ++count;
  }
  for (int i = 0; i < 4; ++i) covariance[i] /= (double)count;
  OK(VecDestroy(&g));
}

/* T28: Cov(g_B) = D/B with replacement, (1/B)(N-B)/(N-1) D without. */
static void CheckBatches(PetscInt N, PetscInt B)
{
  const double x[2] = {0.4, -1.1};
  double      *a = NewNormals(9, (size_t)N * 2), *y = NewNormals(10, (size_t)N), *dense, *gbar, got[4];
  CkLoss       loss;
  CkDiffusion  D;
  Vec          mean;

  OK(CkLossCreate(PETSC_COMM_WORLD, &loss));
  OK(CkLossSetLinearRegression(loss, 2, N, a, y));
  D = NewDiffusion(loss);
  MoveTo(loss, x);
  dense = NewDense(D);
  OK(CkLossCreateVec(loss, &mean));
  OK(CkDiffusionMean(D, mean));
  gbar = GetTestEntries(mean);
  AverageOverBatches(loss, N, B, PETSC_TRUE, gbar, got);
  for (int i = 0; i < 4; ++i) assert_close(got[i], dense[i] / (double)B, 1e-13, dense[0] + dense[3]);
  AverageOverBatches(loss, N, B, PETSC_FALSE, gbar, got);
  for (int i = 0; i < 4; ++i)
    assert_close(got[i], dense[i] * (double)(N - B) / (double)(B * (N - 1)), 1e-13, dense[0] + dense[3]);
  OK(PetscFree(gbar));
  OK(PetscFree(dense));
  OK(PetscFree(a));
  OK(PetscFree(y));
  OK(VecDestroy(&mean));
  Free(&D, &loss);
}

static void covariance_of_all_batches(void **state)
{
  (void)state;
  CheckBatches(4, 1);
  CheckBatches(4, 3);
  CheckBatches(6, 2);
  CheckBatches(3, 3);
}

/* D = 0 if and only if all g_k are equal: to rounding, whose size is set by |g|^2. */
static void equal_gradients_have_no_noise(void **state)
{
  enum { d = 3, N = 21 };
  const double H[d * d] = {1, 0, 0, 0, 2, 0, 0, 0, 3}, x[d] = {0.3, 0.7, -0.9};
  double       xi[N * d], trace, *dense;
  CkLoss       loss;
  CkDiffusion  D;

  (void)state;
  for (int k = 0; k < N * d; ++k) xi[k] = 0.1 * (k % d);
  OK(CkLossCreate(PETSC_COMM_WORLD, &loss));
  OK(CkLossSetQuadratic(loss, d, N, H, xi));
  D = NewDiffusion(loss);
  MoveTo(loss, x);
  OK(CkDiffusionTrace(D, &trace));
  assert_close(trace, 0, 1e-15, 10);
  dense = NewDense(D);
  for (int i = 0; i < d * d; ++i) assert_close(dense[i], 0, 1e-15, 10);
  OK(PetscFree(dense));
  Free(&D, &loss);
}

static const struct CMUnitTest tests[] = {
  cmocka_unit_test(two_weight_numbers),
  cmocka_unit_test(two_weight_formula),
  cmocka_unit_test(linear_regression_numbers),
  cmocka_unit_test(multiplicative_noise),
  cmocka_unit_test(noise_at_the_optimum_is_the_hessian),
  cmocka_unit_test(noise_of_gaussian_least_squares),
  cmocka_unit_test(three_definitions_agree),
  cmocka_unit_test(spectra_of_both_matrices),
  cmocka_unit_test(weak_field_inverse),
  cmocka_unit_test(covariance_of_all_batches),
  cmocka_unit_test(equal_gradients_have_no_noise),
};
CK_TEST_MAIN(tests, PetscInitialize, PetscFinalize)
