/* test_blockmatrix.c: updates, norms and products against plain loops, eigenvalues against closed forms, solvers
 * against each other. */
#include "testing.h"
#include <clarkia/blockmatrix.h>
#include <clarkia/random.h>
#include <stdlib.h>

static const PetscInt sizes[] = {1, 2, 5, 64, 65, 150};
enum { SIZES = 6, LARGEST = 150 };

static void random_rows(uint64_t seed, PetscInt k, PetscInt n, double *R)
{
  const CkRandom stream = {.seed = seed, .purpose = CK_RANDOM_PROBE, .replica = 0, .step = 0};

  CkRandomNormals(&stream, 0, (size_t)k * (size_t)n, R);
}

/* S = R'R by loops, full matrix. */
static void outer(PetscInt k, PetscInt n, const double *R, double alpha, double *S)
{
  for (PetscInt i = 0; i < n; ++i) {
    for (PetscInt j = 0; j < n; ++j) {
      double sum = 0;

      for (PetscInt s = 0; s < k; ++s) sum += R[s * n + i] * R[s * n + j];
      S[i * n + j] += alpha * sum;
    }
  }
}

static double largest_difference(size_t n, const double *a, const double *b)
{
  double worst = 0;

  for (size_t i = 0; i < n; ++i) worst = PetscMax(worst, fabs(a[i] - b[i]));
  return worst;
}

static void updates_are_sums_of_outer_products(void **state)
{
  enum { K = 37 };

  (void)state;
  for (int s = 0; s < SIZES; ++s) {
    const PetscInt n = sizes[s];
    double        *R = calloc((size_t)K * (size_t)n, sizeof(*R)), *S = calloc((size_t)n * (size_t)n, sizeof(*S)),
           *rows = calloc((size_t)n * (size_t)n, sizeof(*rows));
    CkBlockMatrix A;

    OK(CkBlockMatrixCreate(PETSC_COMM_WORLD, n, &A));
    for (uint64_t seed = 1; seed <= 3; ++seed) {
      random_rows(seed, K, n, R);
      outer(K, n, R, (double)seed, S);
      OK(CkBlockMatrixAddOuter(A, K, R, n, (double)seed));
    }
    OK(CkBlockMatrixScale(A, 0.5));
    OK(CkBlockMatrixGetRows(A, 0, n, rows));
    for (PetscInt i = 0; i < n * n; ++i) S[i] *= 0.5;
    assert_close(largest_difference((size_t)n * (size_t)n, rows, S), 0, 1e-12, K * 6);
    OK(CkBlockMatrixDestroy(&A));
    free(R);
    free(S);
    free(rows);
  }
}

static void norms_and_products_match_loops(void **state)
{
  enum { M = 3 };

  (void)state;
  for (int s = 0; s < SIZES; ++s) {
    const PetscInt n = sizes[s];
    double        *R = calloc((size_t)n * 4, sizeof(*R)), *S = calloc((size_t)n * (size_t)n, sizeof(*S));
    double         X[M * LARGEST], Y[M * LARGEST], expected[M * LARGEST], diagonal[LARGEST];
    double         trace, norm, t = 0, f = 0;
    CkBlockMatrix  A, B;

    random_rows(5, 4, n, R);
    random_rows(6, M, n, X);
    outer(4, n, R, 1, S);
    OK(CkBlockMatrixCreate(PETSC_COMM_WORLD, n, &A));
    OK(CkBlockMatrixAddOuter(A, 4, R, n, 1));
    OK(CkBlockMatrixDuplicate(A, &B));
    OK(CkBlockMatrixTrace(B, &trace));
    OK(CkBlockMatrixFrobenius(B, &norm));
    OK(CkBlockMatrixDiagonal(B, diagonal));
    OK(CkBlockMatrixMultiply(B, M, X, Y));
    for (PetscInt v = 0; v < M; ++v) {
      for (PetscInt i = 0; i < n; ++i) {
        expected[v * n + i] = 0;
        for (PetscInt j = 0; j < n; ++j) expected[v * n + i] += S[i * n + j] * X[v * n + j];
      }
    }
    for (PetscInt i = 0; i < n; ++i) t += S[i * n + i];
    for (PetscInt i = 0; i < n * n; ++i) f += S[i] * S[i];
    for (PetscInt i = 0; i < n; ++i) assert_close(diagonal[i], S[i * n + i], 1e-13, t);
    assert_close(trace, t, 1e-13, t);
    assert_close(norm, sqrt(f), 1e-13, sqrt(f));
    assert_close(largest_difference((size_t)(M * n), Y, expected), 0, 1e-12, t);
    OK(CkBlockMatrixDestroy(&A));
    OK(CkBlockMatrixDestroy(&B));
    free(R);
    free(S);
  }
}

/* Q A Q with Q = 1 minus the means over four uneven groups, one of them empty; and the rows and columns of every second
   index, backwards. */
static void centred_by_groups_and_cut(void **state)
{
  enum { M = 4 };

  (void)state;
  for (int s = 0; s < SIZES; ++s) {
    const PetscInt n = sizes[s], half = (n + 1) / 2;
    double        *R = calloc((size_t)n * 4, sizeof(*R)), *S = calloc((size_t)n * (size_t)n, sizeof(*S));
    double        *Q = calloc((size_t)n * (size_t)n, sizeof(*Q)), *rows = calloc((size_t)n * (size_t)n, sizeof(*rows));
    double         members[M] = {0}, largest = 0;
    PetscInt       group[LARGEST], index[LARGEST], size;
    CkBlockMatrix  A, B;

    random_rows(7, 4, n, R);
    for (PetscInt i = 0; i < n; ++i) {
      group[i] = i % 5 == 1 ? 3 : i % 2;
      members[group[i]] += 1;
    }
    for (PetscInt i = 0; i < half; ++i) index[i] = 2 * (half - 1 - i);
    outer(4, n, R, 1, S);
    for (PetscInt i = 0; i < n; ++i) largest = fmax(largest, S[i * n + i]);
    OK(CkBlockMatrixCreate(PETSC_COMM_WORLD, n, &A));
    OK(CkBlockMatrixAddOuter(A, 4, R, n, 1));
    OK(CkBlockMatrixCentreGroups(A, M, group));
    /* the rows of R, centred */
    for (int t = 0; t < 4; ++t) {
      double mean[M] = {0};

      for (PetscInt i = 0; i < n; ++i) mean[group[i]] += R[t * n + i] / members[group[i]];
      for (PetscInt i = 0; i < n; ++i) R[t * n + i] -= mean[group[i]];
    }
    outer(4, n, R, 1, Q);
    OK(CkBlockMatrixGetRows(A, 0, n, rows));
    assert_close(largest_difference((size_t)(n * n), rows, Q), 0, 1e-13, n * largest);
    OK(CkBlockMatrixPart(A, half, index, &B));
    OK(CkBlockMatrixGetSize(B, &size));
    assert_int_equal(size, half);
    OK(CkBlockMatrixSymmetrize(B));
    for (PetscInt i = 0; i < half; ++i) {
      double   row[LARGEST];
      PetscInt wrong = 0;

      OK(CkBlockMatrixGetRows(B, i, 1, row));
      for (PetscInt j = 0; j < half; ++j) wrong += row[j] != rows[index[i] * n + index[j]];
      assert_on_all_ranks(wrong == 0); /* copies, to the last bit */
    }
    OK(CkBlockMatrixDestroy(&A));
    OK(CkBlockMatrixDestroy(&B));
    free(R);
    free(S);
    free(Q);
    free(rows);
  }
}

/* (-1, 2, -1): lambda_k = 2 - 2 cos(k pi/(n+1)). */
static CkBlockMatrix second_difference(PetscInt n)
{
  double       *S = calloc((size_t)n * (size_t)n, sizeof(*S));
  CkBlockMatrix A;

  for (PetscInt i = 0; i < n; ++i) {
    S[i * n + i] = 2;
    if (i > 0) S[i * n + i - 1] = S[(i - 1) * n + i] = -1;
  }
  OK(CkBlockMatrixCreate(PETSC_COMM_WORLD, n, &A));
  OK(CkBlockMatrixSetAll(A, S));
  free(S);
  return A;
}

static void eigenvalues_of_the_second_difference(void **state)
{
  (void)state;
  for (int s = 0; s < SIZES; ++s) {
    for (int solver = CK_SOLVER_SCALAPACK; solver <= CK_SOLVER_ELPA; ++solver) {
      const PetscInt n = sizes[s];
      double         values[LARGEST];
      CkBlockMatrix  A = second_difference(n);

      OK(CkBlockMatrixEigen(A, (CkEigenSolver)solver, values, NULL));
      for (PetscInt k = 0; k < n; ++k)
        assert_close(values[k], 2 - 2 * cos((double)(n - k) * PETSC_PI / (double)(n + 1)), 1e-15 * (double)n, 10);
      OK(CkBlockMatrixDestroy(&A));
    }
  }
}

/* A z = lambda z and Z'Z = 1 for a matrix of rank n/2, eigenvalues equal to ELPA's. */
static void eigenvectors_of_a_deficient_matrix(void **state)
{
  (void)state;
  for (int s = 2; s < SIZES; ++s) {
    const PetscInt n = sizes[s], k = n / 2;
    const size_t   nn = (size_t)n * (size_t)n;
    double        *R = calloc(nn, sizeof(*R)), *Z = calloc(nn, sizeof(*Z)), *AZ = calloc(nn, sizeof(*AZ));
    double         values[LARGEST], again[LARGEST], worst = 0, residual = 0;
    CkBlockMatrix  A, B, C, V;

    random_rows(9, k, n, R);
    OK(CkBlockMatrixCreate(PETSC_COMM_WORLD, n, &A));
    OK(CkBlockMatrixAddOuter(A, k, R, n, 1. / (double)k));
    OK(CkBlockMatrixDuplicate(A, &B));
    OK(CkBlockMatrixDuplicate(A, &C));
    OK(CkBlockMatrixEigen(A, CK_SOLVER_SCALAPACK, values, &V));
    OK(CkBlockMatrixEigen(B, CK_SOLVER_ELPA, again, NULL));
    OK(CkBlockMatrixGetColumns(V, 0, n, Z));
    OK(CkBlockMatrixMultiply(C, n, Z, AZ));
    for (PetscInt i = 0; i < n; ++i) {
      for (PetscInt j = 0; j < n; ++j) {
        double product = i == j ? -1 : 0;

        residual = PetscMax(residual, fabs(AZ[i * n + j] - values[i] * Z[i * n + j]));
        for (PetscInt e = 0; e < n; ++e) product += Z[i * n + e] * Z[j * n + e];
        worst = PetscMax(worst, fabs(product));
      }
      assert_close(again[i], values[i], 10 * (double)n * PETSC_MACHINE_EPSILON, values[0]);
      if (i >= k) assert_close(values[i], 0, 10 * (double)n * PETSC_MACHINE_EPSILON, values[0]);
      else assert_on_all_ranks(values[i] > 1e-6 * values[0]);
    }
    assert_close(residual, 0, 10 * (double)n * PETSC_MACHINE_EPSILON, values[0]);
    assert_close(worst, 0, 10 * (double)n * PETSC_MACHINE_EPSILON, 1);
    OK(CkBlockMatrixDestroy(&A));
    OK(CkBlockMatrixDestroy(&B));
    OK(CkBlockMatrixDestroy(&C));
    OK(CkBlockMatrixDestroy(&V));
    free(R);
    free(Z);
    free(AZ);
  }
}

static void not_a_number_is_refused_before_the_solver(void **state)
{
  const PetscInt n = 70;
  double        *S = calloc((size_t)n * (size_t)n, sizeof(*S)), values[70];
  CkBlockMatrix  A;

  (void)state;
  S[69 * 70 + 3] = NAN;
  OK(CkBlockMatrixCreate(PETSC_COMM_WORLD, n, &A));
  OK(CkBlockMatrixSetAll(A, S));
  assert_user_error(CkBlockMatrixEigen(A, CK_SOLVER_SCALAPACK, values, NULL));
  OK(CkBlockMatrixDestroy(&A));
  free(S);
}

static void orders_beyond_the_index_range_are_refused(void **state)
{
  CkBlockMatrix A;

  (void)state;
  assert_user_error(CkBlockMatrixCreate(PETSC_COMM_WORLD, 2000000000, &A));
}

static const struct CMUnitTest tests[] = {
  cmocka_unit_test(updates_are_sums_of_outer_products),
  cmocka_unit_test(norms_and_products_match_loops),
  cmocka_unit_test(centred_by_groups_and_cut),
  cmocka_unit_test(eigenvalues_of_the_second_difference),
  cmocka_unit_test(eigenvectors_of_a_deficient_matrix),
  cmocka_unit_test(not_a_number_is_refused_before_the_solver),
  cmocka_unit_test(orders_beyond_the_index_range_are_refused),
};

CK_TEST_MAIN(tests, PetscInitialize, PetscFinalize)
