/* Series of spectra and scores against matrices made by plain loops. */
#include "messages.h"
#include "problem.h"
#include <clarkia/random.h>
#include <float.h>
#include <petscblaslapack.h>

enum { d = 6, N = 40, POINTS = 3, K = 2 };

static void Numbers(uint64_t seed, size_t n, double values[])
{
  const CkRandom stream = {.seed = seed, .purpose = CK_RANDOM_PROBE};

  CkRandomNormals(&stream, 0, n, values);
}

typedef struct {
  double a[N * d], y[N], x[POINTS][d];
} Data;

/* Least squares; the last point is the first one again. */
static void MakeData(Data *data)
{
  Numbers(1, N * d, data->a);
  Numbers(2, N, data->y);
  Numbers(3, POINTS * d, &data->x[0][0]);
  OK(PetscArraycpy(data->x[POINTS - 1], data->x[0], d));
}

/* Eigenpairs of D at a point, by (D.1): values descending, eigenvector j in row j; tr D. */
static void Dense(const Data *data, const double x[d], double values[d], double V[d * d], double *trace)
{
  const PetscBLASInt order = d, lwork = 10 * d;
  PetscBLASInt       info;
  double             g[N][d], mean[d] = {0}, D[d * d] = {0}, work[10 * d], ascending[d];

  for (int k = 0; k < N; ++k) {
    double residual = -data->y[k];

    for (int i = 0; i < d; ++i) residual += data->a[k * d + i] * x[i];
    for (int i = 0; i < d; ++i) g[k][i] = residual * data->a[k * d + i];
    for (int i = 0; i < d; ++i) mean[i] += g[k][i] / N;
  }
  for (int k = 0; k < N; ++k)
    for (int i = 0; i < d; ++i)
      for (int j = 0; j < d; ++j) D[i * d + j] += (g[k][i] - mean[i]) * (g[k][j] - mean[j]) / N;
  *trace = 0;
  for (int i = 0; i < d; ++i) *trace += D[i * d + i];
  LAPACKsyev_("V", "L", &order, D, &order, ascending, work, &lwork, &info);
  assert_int_equal(info, 0);
  for (int j = 0; j < d; ++j) {
    values[j] = ascending[d - 1 - j];
    OK(PetscArraycpy(V + j * d, D + (d - 1 - j) * d, d));
  }
}

static double Distance(const double a[d], double unit_a, const double b[d], double unit_b)
{
  double difference = 0, norm_a = 0, norm_b = 0;

  for (int i = 0; i < d; ++i) {
    difference += pow(a[i] / unit_a - b[i] / unit_b, 2);
    norm_a += pow(a[i] / unit_a, 2);
    norm_b += pow(b[i] / unit_b, 2);
  }
  return sqrt(difference / fmax(norm_a, norm_b));
}

/* |U_a'U_b|_F^2 / K of the K leading rows. */
static double Overlap(const double A[d * d], const double B[d * d])
{
  double sum = 0;

  for (int i = 0; i < K; ++i) {
    for (int j = 0; j < K; ++j) {
      double dot = 0;

      for (int k = 0; k < d; ++k) dot += A[i * d + k] * B[j * d + k];
      sum += dot * dot;
    }
  }
  return sum / K;
}

/* By every route that gives eigenvectors. Krylov starts each solve from the one before, and comes to the same. */
static void a_series_against_dense_matrices(void **state)
{
  static const char *const methods[] = {"gram", "krylov -spectrum_krylov weight", "krylov -spectrum_krylov sample"};
  Data                     data;
  double                   values[POINTS][d], V[POINTS][d * d], traces[POINTS];

  (void)state;
  MakeData(&data);
  for (int p = 0; p < POINTS; ++p) Dense(&data, data.x[p], values[p], V[p], &traces[p]);
  for (size_t m = 0; m < PETSC_STATIC_ARRAY_LENGTH(methods); ++m) {
    const PetscBool    complete = (PetscBool)(m < 1);
    const double      *distance, *shape;
    const CkSubspaces *spaces;
    CkSpectrumSeries   series;
    PetscInt           n;
    char               options[128];
    Problem            p;

    OK(PetscSNPrintf(options, sizeof(options), "-spectrum_method %s -spectrum_vectors 2", methods[m]));
    if (!complete) OK(PetscStrlcat(options, " -spectrum_nev 2 -eps_tol 1e-12", sizeof(options)));
    p = NewLandscape(PETSC_COMM_WORLD, options);
    OK(CkLossSetLinearRegression(p.loss, d, N, data.a, data.y));
    FinishProblem(&p);
    OK(CkSpectrumSeriesCreate(p.spectrum, &series));
    for (int i = 0; i < POINTS; ++i) {
      const Vec *before;
      PetscInt   k;

      SetPoint(&p, data.x[i]);
      OK(CkSpectrumSeriesGetLast(series, &k, &before));
      assert_int_equal(k, i ? K : 0);
      OK(CkSpectrumSetStart(p.spectrum, k, before));
      OK(CkSpectrumSolve(p.spectrum));
      OK(CkSpectrumSeriesAdd(series, "point"));
    }
    OK(CkSpectrumSeriesCompare(series));
    OK(CkSpectrumSeriesGet(series, &n, &distance, &shape, &spaces));
    assert_int_equal(n, POINTS);
    for (int a = 0; a < POINTS; ++a) {
      for (int b = 0; b < POINTS; ++b) {
        if (complete) {
          assert_close(distance[a * n + b], Distance(values[a], 1, values[b], 1), 1e-12, 1);
          assert_close(shape[a * n + b], Distance(values[a], traces[a], values[b], traces[b]), 1e-12, 1);
        }
        assert_close(spaces->overlap[a * n + b], Overlap(V[a], V[b]), 1e-9, 1);
      }
    }
    assert_close(distance[POINTS - 1], 0, 1e-12, 1); /* the same point, first and last */
    for (int i = 0; i < K; ++i)                      /* acos near 1: sqrt(2e-12) radian are 8e-5 degrees */
      assert_close(spaces->angle[(POINTS - 1) * spaces->most + i], 0, 1e-4, 1);
    OK(CkSpectrumSeriesDestroy(&series));
    FreeProblem(&p);
  }
}

/* rank/d + tr D^2/d - (tr D/d)^2 from the dense matrix; the estimate within six of its standard errors. */
static void scores(void **state)
{
  Data            data;
  double          values[d], V[d * d], trace, variance = 0;
  PetscInt        rank = 0;
  CkSpectrumScore score;
  Problem         p;

  (void)state;
  MakeData(&data);
  Dense(&data, data.x[0], values, V, &trace);
  for (int i = 0; i < d; ++i) {
    variance += values[i] * values[i] / d;
    rank += values[i] > values[0] * d * FLT_EPSILON;
  }
  variance -= trace / d * trace / d;
  for (int estimate = 0; estimate < 2; ++estimate) {
    p =
      NewLandscape(PETSC_COMM_WORLD, estimate ? "-spectrum_method density -spectrum_steps 6 -spectrum_probes 50" : "");
    OK(CkLossSetLinearRegression(p.loss, d, N, data.a, data.y));
    FinishProblem(&p);
    SetPoint(&p, data.x[0]);
    OK(CkSpectrumSolve(p.spectrum));
    OK(CkSpectrumGetScore(p.spectrum, &score));
    assert_on_all_ranks(estimate ? score.error > 0 : score.error == 0);
    assert_close(score.rank, rank, estimate ? 1e-6 : 0, 1); /* six steps find all six eigenvalues */
    assert_close(score.score, (double)rank / d + variance, 1, estimate ? 6 * score.error : 1e-12 * variance);
    FreeProblem(&p);
  }
  p = NewLandscape(PETSC_COMM_WORLD, "-spectrum_method krylov -spectrum_nev 2");
  OK(CkLossSetLinearRegression(p.loss, d, N, data.a, data.y));
  FinishProblem(&p);
  SetPoint(&p, data.x[0]);
  OK(CkSpectrumSolve(p.spectrum));
  assert_message(CkSpectrumGetScore(p.spectrum, &score), "krylov", "-spectrum_method density");
  FreeProblem(&p);
}

/* The plan counts the eigenvectors of all spectra of a series. */
static void memory_of_a_series(void **state)
{
  Data    data;
  Problem p;

  (void)state;
  MakeData(&data);
  p = NewLandscape(PETSC_COMM_SELF, "-spectrum_method dense -spectrum_vectors 6 -memory_limit 0.01");
  OK(CkLossSetLinearRegression(p.loss, d, N, data.a, data.y));
  FinishProblem(&p);
  OK(CkSpectrumPlan(p.spectrum, PETSC_FALSE));
  OK(CkSpectrumSetSeries(p.spectrum, 100000)); /* 8 d 6 bytes each */
  assert_message(CkSpectrumPlan(p.spectrum, PETSC_FALSE), "-memory_limit");
  FreeProblem(&p);
}

static const struct CMUnitTest tests[] = {
  cmocka_unit_test(a_series_against_dense_matrices),
  cmocka_unit_test(scores),
  cmocka_unit_test(memory_of_a_series),
};

CK_TEST_MAIN(tests, SlepcInitialize, SlepcFinalize)
