/* test_blockproduct.c: products of distributed rows against plain loops, in both precisions; the same bits however the
 * rows and the columns are dealt out; centring; matrices in files. */
#include "testing.h"
#include <clarkia/blockproduct.h>
#include <clarkia/random.h>
#include <float.h>
#include <stdlib.h>
#include <unistd.h>

static const PetscInt sizes[] = {1, 3, 64, 150, 333};
enum { SIZES = 5, TERMS = 600 }; /* two chunks and a short one */

/* X [terms x n], the mean of every column's numbers about 3: the shift matters. */
static double *new_rows(PetscInt terms, PetscInt n)
{
  const CkRandom stream = {.seed = 17, .purpose = CK_RANDOM_PROBE, .replica = 0, .step = 0};
  double        *X = calloc((size_t)terms * (size_t)n, sizeof(*X));

  CkRandomNormals(&stream, 0, (size_t)terms * (size_t)n, X);
  for (PetscInt i = 0; i < terms * n; ++i) X[i] = (double)(float)(X[i] + 3);
  return X;
}

typedef enum { BLOCKS, SINGLES, LAST } Deal; /* of rows to ranks: five at a time, one at a time, all to the last rank */

static PetscMPIInt owner(Deal deal, PetscInt row, PetscMPIInt size)
{
  if (deal == BLOCKS) return (PetscMPIInt)(row / 5 % size);
  return deal == SINGLES ? (PetscMPIInt)((row * 7 + 3) % size) : size - 1;
}

/* X X' by CkBlockProduct, `step` columns at a time. */
static CkBlockMatrix product(MPI_Comm comm, PetscInt n, const double *X, const double *shift, CkPrecision given,
                             CkPrecision precision, Deal deal, PetscInt step)
{
  PetscMPIInt          rank, size;
  CkBlockMatrix        A;
  CkBlockProduct       p;
  CkBlockProductLayout layout = {.terms = step, .given = given, .precision = precision};
  PetscInt            *mine = calloc((size_t)n + 1, sizeof(*mine)), k = 0;
  double              *wide = calloc((size_t)TERMS * (size_t)n + 1, sizeof(*wide));
  float               *narrow = calloc((size_t)TERMS * (size_t)n + 1, sizeof(*narrow));

  MPI_Comm_rank(comm, &rank);
  MPI_Comm_size(comm, &size);
  for (PetscInt i = 0; i < n; ++i)
    if (owner(deal, i, size) == rank) mine[k++] = i;
  layout.nmine = k;
  layout.mine = mine;
  for (PetscInt w = 0; w < TERMS; ++w)
    for (PetscInt i = 0; i < k; ++i) {
      wide[w * k + i] = X[w * n + mine[i]];
      narrow[w * k + i] = (float)wide[w * k + i];
    }
  OK(CkBlockMatrixCreate(comm, n, &A));
  OK(CkBlockProductCreate(A, &layout, &p));
  for (PetscInt w = 0; w < TERMS; w += step)
    OK(CkBlockProductAdd(p, PetscMin(step, TERMS - w),
                         given == CK_FLOAT64 ? (const void *)(wide + w * k) : (const void *)(narrow + w * k),
                         shift ? shift + w : NULL));
  OK(CkBlockProductDestroy(&p));
  free(mine);
  free(wide);
  free(narrow);
  return A;
}

static double *new_full(CkBlockMatrix A, PetscInt n)
{
  double *full = calloc((size_t)n * (size_t)n, sizeof(*full));

  OK(CkBlockMatrixGetRows(A, 0, n, full));
  return full;
}

/* |error_ij| <= sqrt(chunk) u |x_i||x_j| with room for the sum over chunks (eq. (G.7)); double: the like with eps. */
static void products_are_those_of_loops(void **state)
{
  (void)state;
  for (int s = 0; s < SIZES; ++s) {
    for (int given = CK_FLOAT32; given <= CK_FLOAT64; ++given) {
      for (int precision = CK_FLOAT32; precision <= CK_FLOAT64; ++precision) {
        const PetscInt n = sizes[s];
        const double   unit = precision == CK_FLOAT32 ? FLT_EPSILON : DBL_EPSILON;
        double        *X = new_rows(TERMS, n), shift[TERMS], *full, worst = 0;
        CkBlockMatrix  A;

        for (int w = 0; w < TERMS; ++w) shift[w] = 3;
        A = product(PETSC_COMM_WORLD, n, X, shift, (CkPrecision)given, (CkPrecision)precision, BLOCKS, 256);
        full = new_full(A, n);
        for (PetscInt i = 0; i < n; ++i) {
          for (PetscInt j = 0; j < n; ++j) {
            long double sum = 0, a = 0, b = 0;

            for (PetscInt w = 0; w < TERMS; ++w) {
              const long double x = X[w * n + i] - 3, y = X[w * n + j] - 3;

              sum += x * y;
              a += x * x;
              b += y * y;
            }
            worst = PetscMax(worst, (double)(fabsl(full[i * n + j] - sum) / sqrtl(a * b)));
          }
        }
        assert_close(worst, 0, 1, sqrt(CK_PRODUCT_CHUNK) * unit);
        assert_on_all_ranks(n < 64 || precision == CK_FLOAT64 || worst > FLT_EPSILON / 1000); /* it is single */
        OK(CkBlockMatrixDestroy(&A));
        free(full);
        free(X);
      }
    }
  }
}

/* Against one rank; rows dealt out in other ways; one chunk or all at a time. */
static void the_same_bits_however_dealt(void **state)
{
  static const struct {
    Deal     deal;
    PetscInt step;
  } ways[] = {{BLOCKS, 256}, {SINGLES, 512}, {LAST, 768}};

  (void)state;
  for (int s = 0; s < SIZES; ++s) {
    for (int precision = CK_FLOAT32; precision <= CK_FLOAT64; ++precision) {
      const PetscInt n = sizes[s];
      double        *X = new_rows(TERMS, n), *expected;
      CkBlockMatrix  A = product(PETSC_COMM_SELF, n, X, NULL, CK_FLOAT32, (CkPrecision)precision, BLOCKS, 768);

      OK(CkBlockMatrixCentre(A));
      expected = new_full(A, n);
      OK(CkBlockMatrixDestroy(&A));
      for (size_t w = 0; w < sizeof(ways) / sizeof(ways[0]); ++w) {
        double *full;

        A = product(PETSC_COMM_WORLD, n, X, NULL, CK_FLOAT32, (CkPrecision)precision, ways[w].deal, ways[w].step);
        OK(CkBlockMatrixCentre(A));
        full = new_full(A, n);
        assert_on_all_ranks(!memcmp(full, expected, sizeof(double) * (size_t)n * (size_t)n));
        OK(CkBlockMatrixDestroy(&A));
        free(full);
      }
      free(expected);
      free(X);
    }
  }
}

enum { INPUTS = 300, OUTPUTS = TERMS - INPUTS }; /* two chunks each, one of them short */

/* (F F') o (H H') on top of 1: F is rows 0 .. INPUTS-1 of X, H the others. */
static CkBlockMatrix factored(MPI_Comm comm, PetscInt n, const double *X, Deal deal)
{
  PetscMPIInt          rank, size;
  CkBlockMatrix        A;
  CkBlockProduct       p;
  CkBlockProductLayout layout = {
    .terms = CkBlockProductFactoredTerms(INPUTS, OUTPUTS), .given = CK_FLOAT32, .precision = CK_FLOAT64};
  PetscInt *mine = calloc((size_t)n + 1, sizeof(*mine)), k = 0;
  float    *values = calloc((size_t)TERMS * (size_t)n + 1, sizeof(*values));
  double   *ones = calloc((size_t)n * (size_t)n, sizeof(*ones));

  MPI_Comm_rank(comm, &rank);
  MPI_Comm_size(comm, &size);
  for (PetscInt i = 0; i < n; ++i)
    if (owner(deal, i, size) == rank) mine[k++] = i;
  layout.nmine = k;
  layout.mine = mine;
  for (PetscInt w = 0; w < TERMS; ++w)
    for (PetscInt i = 0; i < k; ++i) values[w * k + i] = (float)X[w * n + mine[i]];
  for (PetscInt i = 0; i < n * n; ++i) ones[i] = 1;
  OK(CkBlockMatrixCreate(comm, n, &A));
  OK(CkBlockMatrixSetAll(A, ones));
  OK(CkBlockProductCreate(A, &layout, &p));
  OK(CkBlockProductAddFactored(p, INPUTS, values, OUTPUTS, values + INPUTS * k));
  OK(CkBlockProductDestroy(&p));
  free(mine);
  free(values);
  free(ones);
  return A;
}

/* Against loops, and the bits of one rank. */
static void factored_products_are_those_of_loops(void **state)
{
  (void)state;
  for (int s = 0; s < SIZES; ++s) {
    const PetscInt n = sizes[s];
    double        *X = new_rows(TERMS, n), *alone, worst = 0;
    CkBlockMatrix  A = factored(PETSC_COMM_SELF, n, X, BLOCKS);

    alone = new_full(A, n);
    OK(CkBlockMatrixDestroy(&A));
    for (PetscInt i = 0; i < n; ++i) {
      for (PetscInt j = 0; j <= i; ++j) {
        long double both[2] = {0, 0};

        for (PetscInt w = 0; w < TERMS; ++w) both[w >= INPUTS] += (long double)X[w * n + i] * X[w * n + j];
        worst = PetscMax(worst, (double)fabsl(alone[i * n + j] / (1 + both[0] * both[1]) - 1));
      }
    }
    assert_close(worst, 0, 1, TERMS * DBL_EPSILON);
    for (int deal = BLOCKS; deal <= LAST; ++deal) {
      double *full;

      A = factored(PETSC_COMM_WORLD, n, X, (Deal)deal);
      full = new_full(A, n);
      for (PetscInt i = 0; i < n; ++i)
        assert_on_all_ranks(!memcmp(full + i * n, alone + i * n, sizeof(double) * (size_t)(i + 1)));
      OK(CkBlockMatrixDestroy(&A));
      free(full);
    }
    free(alone);
    free(X);
  }
}

/* P A P by loops; its rows sum to nothing. */
static void centring_takes_the_means_away(void **state)
{
  (void)state;
  for (int s = 0; s < SIZES; ++s) {
    const PetscInt n = sizes[s];
    double        *X = new_rows(TERMS, n), *before, *after, *means = calloc((size_t)n, sizeof(*means)), mean = 0;
    CkBlockMatrix  A = product(PETSC_COMM_WORLD, n, X, NULL, CK_FLOAT64, CK_FLOAT64, BLOCKS, 256);

    before = new_full(A, n);
    OK(CkBlockMatrixCentre(A));
    after = new_full(A, n);
    for (PetscInt i = 0; i < n * n; ++i) means[i / n] += before[i] / (double)n;
    for (PetscInt i = 0; i < n; ++i) mean += means[i] / (double)n;
    for (PetscInt i = 0; i < n; ++i) {
      double sum = 0;

      for (PetscInt j = 0; j < n; ++j) {
        assert_int_equal(fabs(after[i * n + j] - (before[i * n + j] - means[i] - means[j] + mean)) <= 1e-13 * mean, 1);
        sum += after[i * n + j];
      }
      assert_int_equal(fabs(sum) <= 1e-13 * (double)n * mean, 1);
    }
    OK(CkBlockMatrixDestroy(&A));
    free(X);
    free(before);
    free(after);
    free(means);
  }
}

/* Written by all ranks, read by all and by each alone, and the other way round. */
static void a_file_serves_any_grid(void **state)
{
  PetscMPIInt rank;
  char        name[64];

  (void)state;
  MPI_Comm_rank(PETSC_COMM_WORLD, &rank);
  for (int s = 0; s < SIZES; ++s) {
    const PetscInt n = sizes[s];
    double        *X = new_rows(TERMS, n), *expected, *full;
    CkBlockMatrix  A = product(PETSC_COMM_WORLD, n, X, NULL, CK_FLOAT32, CK_FLOAT64, BLOCKS, 256), B;
    CkFile         file;

    expected = new_full(A, n);
    snprintf(name, sizeof(name), "blockmatrix-%ld.h5", (long)getppid());
    OK(CkFileCreate(PETSC_COMM_WORLD, name, &file));
    OK(CkBlockMatrixWrite(A, file, "/matrix"));
    OK(CkFileCommit(file));
    OK(CkFileDestroy(&file));
    for (int alone = 0; alone < 2; ++alone) {
      const MPI_Comm comm = alone ? PETSC_COMM_SELF : PETSC_COMM_WORLD;

      OK(CkBlockMatrixCreate(comm, n, &B));
      OK(CkFileOpen(comm, name, &file));
      OK(CkBlockMatrixRead(B, file, "/matrix"));
      OK(CkFileDestroy(&file));
      full = new_full(B, n);
      assert_on_all_ranks(!memcmp(full, expected, sizeof(double) * (size_t)n * (size_t)n));
      OK(CkBlockMatrixDestroy(&B));
      free(full);
    }
    OK(CkBlockMatrixCreate(PETSC_COMM_WORLD, n + 1, &B));
    OK(CkFileOpen(PETSC_COMM_WORLD, name, &file));
    assert_user_error(CkBlockMatrixRead(B, file, "/matrix"));
    OK(CkFileDestroy(&file));
    OK(CkBlockMatrixDestroy(&B));
    OK(CkBlockMatrixDestroy(&A));
    MPI_Barrier(PETSC_COMM_WORLD);
    if (rank == 0) remove(name);
    free(X);
    free(expected);
  }
}

static const struct CMUnitTest tests[] = {
  cmocka_unit_test(products_are_those_of_loops),
  cmocka_unit_test(the_same_bits_however_dealt),
  cmocka_unit_test(factored_products_are_those_of_loops),
  cmocka_unit_test(centring_takes_the_means_away),
  cmocka_unit_test(a_file_serves_any_grid),
};

CK_TEST_MAIN(tests, PetscInitialize, PetscFinalize)
