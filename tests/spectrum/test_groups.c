/* Parts of D by class and by layer against matrices made by plain loops, and against closed forms. */
#include "messages.h"
#include "problem.h"
#include <clarkia/random.h>
#include <petscblaslapack.h>

enum { d = 9, N = 41, CLASSES = 5 };

/* n standard normal numbers, the same on every rank; to be freed. */
static double *NewNumbers(uint64_t seed, size_t n)
{
  const CkRandom stream = {.seed = seed, .purpose = CK_RANDOM_PROBE};
  double        *values;

  OK(PetscMalloc1(n, &values));
  CkRandomNormals(&stream, 0, n, values);
  return values;
}

/* Eigenpairs of a symmetric matrix [n x n], descending; row j of A becomes eigenvector j. */
static void Eigen(PetscInt n, double A[], double values[])
{
  const PetscBLASInt order = (PetscBLASInt)n, lwork = 3 * order;
  PetscBLASInt       info;
  double            *ascending, *work, *copy;

  OK(PetscMalloc3(n, &ascending, lwork, &work, n * n, &copy));
  OK(PetscArraycpy(copy, A, n * n));
  LAPACKsyev_("V", "L", &order, copy, &order, ascending, work, &lwork, &info);
  assert_int_equal(info, 0);
  for (PetscInt j = 0; j < n; ++j) {
    values[j] = ascending[n - 1 - j];
    OK(PetscArraycpy(A + j * n, copy + (n - 1 - j) * n, n));
  }
  OK(PetscFree3(ascending, work, copy));
}

/* The uneven classes of the tests: one has a single sample, one has none. */
static void Label(PetscInt labels[N])
{
  for (PetscInt k = 0; k < N; ++k) labels[k] = k == 7 ? 3 : (k % 5 == 0 ? 0 : 1 + k % 2);
}

/* Gradients of the landscape f_k = xi_k.x + |x|^2/2 at 0 are the xi_k: whatever a test wants. */
static Problem NewGradients(MPI_Comm comm, const char options[], PetscInt n, PetscInt m, const double xi[])
{
  Problem p = NewLandscape(comm, options);
  double *H;

  OK(PetscCalloc1(m * m, &H));
  for (PetscInt i = 0; i < m; ++i) H[i * m + i] = 1;
  OK(CkLossSetQuadratic(p.loss, m, n, H, xi));
  FinishProblem(&p);
  OK(PetscFree(H));
  return p;
}

/* A += weight (g - c)(g - c)' */
static void AddOuter(double A[d * d], double weight, const double g[d], const double c[d])
{
  for (int i = 0; i < d; ++i) {
    for (int j = 0; j < d; ++j) A[i * d + j] += weight * (g[i] - c[i]) * (g[j] - c[j]);
  }
}

/* By the definitions, (H.2): D, within, between, and D_c of each class, [d x d] each; centre: what stands for gbar. */
typedef struct {
  double all[d * d], within[d * d], between[d * d], of[CLASSES][d * d];
  int    members[CLASSES];
} Dense;

static void MakeDense(const double xi[], const PetscInt labels[], PetscBool centred, Dense *D)
{
  double mean[d] = {0}, zero[d] = {0}, of[CLASSES][d] = {{0}};

  *D = (Dense){.members = {0}};
  for (int k = 0; k < N; ++k) ++D->members[labels[k]];
  for (int k = 0; k < N; ++k) {
    for (int i = 0; i < d; ++i) {
      mean[i] += xi[k * d + i] / N;
      of[labels[k]][i] += xi[k * d + i] / D->members[labels[k]];
    }
  }
  for (int k = 0; k < N; ++k) {
    AddOuter(D->all, 1. / N, xi + k * d, centred ? mean : zero);
    AddOuter(D->of[labels[k]], 1. / D->members[labels[k]], xi + k * d, of[labels[k]]);
    AddOuter(D->within, 1. / N, xi + k * d, of[labels[k]]);
  }
  for (int c = 0; c < CLASSES; ++c) {
    if (D->members[c] > 0) AddOuter(D->between, (double)D->members[c] / N, of[c], centred ? mean : zero);
  }
}

/* Eigenvalues and trace of one part; the matrix gets its eigenvectors. */
static void AssertPart(const CkSpectrumGroup *group, double matrix[d * d], double scale)
{
  double values[d], trace = 0;

  for (int i = 0; i < d; ++i) trace += matrix[i * d + i];
  Eigen(d, matrix, values);
  assert_close(group->statistics.trace, trace, 1e-12, scale);
  assert_on_all_ranks(group->statistics.complete && group->statistics.n <= d);
  for (int i = 0; i < d; ++i) assert_close(i < group->statistics.n ? group->values[i] : 0, values[i], 1e-12, scale);
}

/* |U_a'U_b|_F^2 / k of the leading p and q rows. */
static double Overlap(const double A[d * d], PetscInt p, const double B[d * d], PetscInt q)
{
  double sum = 0;

  for (PetscInt i = 0; i < p; ++i) {
    for (PetscInt j = 0; j < q; ++j) {
      double dot = 0;

      for (int k = 0; k < d; ++k) dot += A[i * d + k] * B[j * d + k];
      sum += dot * dot;
    }
  }
  return sum / (double)PetscMin(p, q);
}

/* D and its parts, as the program and as plain loops have them. */
static void classes_against_dense_matrices(void **state)
{
  PetscInt labels[N];

  (void)state;
  Label(labels);
  for (int centred = 0; centred < 2; ++centred) {
    double                *xi = NewNumbers(17, N * d), values[d], trace = 0;
    Dense                  D;
    Problem                p;
    const CkSpectrumGroup *groups;
    const CkSubspaces     *spaces;
    PetscInt               n;
    double                *matrices[3 + CLASSES];

    MakeDense(xi, labels, (PetscBool)centred, &D);
    for (int i = 0; i < d * d; ++i) assert_close(D.within[i] + D.between[i], D.all[i], 1e-13, 10);
    for (int i = 0; i < d; ++i) trace += D.all[i * d + i];
    p = NewGradients(PETSC_COMM_WORLD,
                     centred ? "-noise_group class -noise_group_vectors 3"
                             : "-noise_group class -noise_group_vectors 3 -noise_centred false",
                     N, d, xi);
    OK(CkSpectrumSetClasses(p.spectrum, CLASSES, labels, NULL));
    OK(CkSpectrumSolve(p.spectrum));
    OK(CkSpectrumGetGroups(p.spectrum, &n, &groups, &spaces));
    assert_int_equal(n, 2 + CLASSES);
    assert_close(groups[0].share + groups[1].share, 1, 1e-12, 1);
    AssertPart(&groups[0], D.within, trace);
    AssertPart(&groups[1], D.between, trace);
    for (int c = 0; c < CLASSES; ++c) {
      assert_close(groups[2 + c].weight, (double)D.members[c] / N, D.members[c] ? 1e-15 : 1, 1);
      if (D.members[c] > 0) AssertPart(&groups[2 + c], D.of[c], trace);
      else assert_on_all_ranks(!groups[2 + c].values);
      assert_int_equal(groups[2 + c].statistics.samples, D.members[c]);
    }
    Eigen(d, D.all, values); /* its eigenvectors, for the overlaps */
    matrices[0] = D.all;
    matrices[1] = D.within;
    matrices[2] = D.between;
    for (int c = 0; c < CLASSES; ++c) matrices[3 + c] = D.of[c];
    assert_int_equal(spaces->n, 3 + CLASSES);
    for (PetscInt a = 0; a < spaces->n; ++a) {
      const PetscInt own = a < 3 ? 3 : D.members[a - 3] - 1, i = a * spaces->n + a;

      if (a != 2) assert_int_equal(spaces->dimension[a], PetscMax(0, PetscMin(3, own)));
      else assert_int_equal(spaces->dimension[a], centred ? 3 : 4); /* four classes have samples */
      if (spaces->dimension[a] > 0) assert_close(spaces->overlap[i], 1, 1e-12, 1);
      for (PetscInt b = 0; b < a; ++b) {
        const PetscInt q = spaces->dimension[a], r = spaces->dimension[b];

        if (q > 0 && r > 0)
          assert_close(spaces->overlap[a * spaces->n + b], Overlap(matrices[a], q, matrices[b], r), 1e-10, 1);
      }
    }
    FreeProblem(&p);
    OK(PetscFree(xi));
  }
}

/* Samples of two classes in planes at known angles: the same plane, one turned by 30 degrees about e_0, and the one
   across. acos near 1 gives half of the digits: angles of 0 come out below 1e-5 degrees. */
static void known_angles(void **state)
{
  enum { n = 16, m = 6 };
  const double           c = cos(PETSC_PI / 6), s = sin(PETSC_PI / 6);
  const double           second[4][m] = {{0, 1}, {0, 1}, {0, c, s}, {0, 0, 0, 1}};
  double                 xi[n * m] = {0};
  PetscInt               labels[n], count;
  Problem                p;
  const CkSpectrumGroup *groups;
  const CkSubspaces     *spaces;

  (void)state;
  for (int k = 0; k < n; ++k) {
    const int class = k % 4, sample = k / 4;

    labels[k] = class;
    for (int i = 0; i < m; ++i) /* +- 2 e_0 and +- the second vector: class means are 0 */
      xi[k * m + i] = sample < 2 ? (i == 0 ? 2 * (sample ? 1 : -1) : 0) : (sample == 3 ? 1 : -1) * second[class][i];
    if (class == 3 && sample < 2) xi[k * m] = 0, xi[k * m + 4] = sample ? 2 : -2;
  }
  p = NewGradients(PETSC_COMM_WORLD, "-noise_group class -noise_group_vectors 2", n, m, xi);
  OK(CkSpectrumSetClasses(p.spectrum, 4, labels, (const char *const[]){"a", "b", NULL, "d"}));
  OK(CkSpectrumSolve(p.spectrum));
  OK(CkSpectrumGetGroups(p.spectrum, &count, &groups, &spaces));
  assert_string_equal(groups[3].name, "class 1 (b)");
  assert_string_equal(groups[4].name, "class 2");
  assert_close(groups[1].statistics.trace, 0, 1e-14, 1); /* all class means are equal */
  assert_close(groups[0].share, 1, 1e-14, 1);
  for (int a = 3; a < 7; ++a) {
    for (int b = 3; b < 7; ++b) {
      const PetscInt at = a * spaces->n + b;
      const int      turned = (a == 5) != (b == 5), across = (a == 6) != (b == 6);
      const double   angles[2] = {across ? 90 : 0, across ? 90 : (turned ? 30 : 0)};

      for (int i = 0; i < 2; ++i) assert_close(spaces->angle[at * spaces->most + i], angles[i], 1e-5, 1);
      assert_close(spaces->overlap[at], across ? 0 : (turned ? (1 + c * c) / 2 : 1), 1e-12, 1);
    }
  }
  FreeProblem(&p);
}

/* Each layer's eigenvalues are those of its block of D, and the traces make up tr D; dense blocks and Gram matrices. */
static void layers_against_blocks_of_the_whole_matrix(void **state)
{
  static const char *const options[] = {
    "-data synthetic -data_shape 6 -data_classes 3 -net mlp -net_widths 5 -engine reference -data_count 70 ",
    "-data synthetic -data_shape 6 -data_classes 3 -net mlp -net_widths 5 -engine reference -data_count 13 ",
    "-data synthetic -data_shape 6 -data_classes 3 -net mlp -net_widths 5 -engine reference -data_count 13 "
    "-noise_memory 1e-6 ",
  };

  (void)state;
  for (size_t o = 0; o < PETSC_STATIC_ARRAY_LENGTH(options); ++o) {
    for (int tensors = 0; tensors < 2; ++tensors) {
      char                   all[512];
      const CkParameter     *parameters;
      const CkSpectrumGroup *groups;
      CkSpectrumStatistics   statistics;
      CkBlockMatrix          A;
      PetscInt               n, dimension, count, first = 0;
      double                *whole, sum = 0;
      Problem                p;

      OK(PetscSNPrintf(all, sizeof(all), "%s -noise_group %s", options[o], tensors ? "tensor" : "layer"));
      p = NewProblem(PETSC_COMM_WORLD, all);
      OK(CkSpectrumSolve(p.spectrum));
      OK(CkSpectrumGetStatistics(p.spectrum, &statistics));
      OK(CkSpectrumGetGroups(p.spectrum, &n, &groups, NULL));
      OK(CkNetGetParameters(p.net, &count, &parameters));
      assert_int_equal(n, tensors ? 4 : 2);
      assert_string_equal(groups[1].name, tensors ? parameters[1].name : "fc2");
      OK(CkDiffusionDense(p.D, &A));
      OK(CkBlockMatrixSymmetrize(A));
      OK(CkBlockMatrixGetSize(A, &dimension));
      OK(PetscMalloc1(dimension * dimension, &whole));
      OK(CkBlockMatrixGetRows(A, 0, dimension, whole));
      for (PetscInt l = 0; l < n; ++l) {
        const PetscInt size = groups[l].statistics.dimension;
        double        *block, *values;

        OK(PetscMalloc2(size * size, &block, size, &values));
        for (PetscInt i = 0; i < size; ++i)
          OK(PetscArraycpy(block + i * size, whole + (first + i) * dimension + first, size));
        Eigen(size, block, values);
        for (PetscInt i = 0; i < size; ++i)
          assert_close(i < groups[l].statistics.n ? groups[l].values[i] : 0, values[i], 1e-12, statistics.lambda_max);
        assert_on_all_ranks(groups[l].statistics.complete);
        sum += groups[l].statistics.trace;
        first += size;
        OK(PetscFree2(block, values));
      }
      assert_int_equal(first, dimension);
      assert_close(sum, statistics.trace, 1e-12, statistics.trace);
      OK(PetscFree(whole));
      OK(CkBlockMatrixDestroy(&A));
      FreeProblem(&p);
    }
  }
}

/* What the groups cannot be had from is said, with the remedy. */
static void refusals(void **state)
{
  double  *xi = NewNumbers(3, N * d);
  PetscInt labels[N] = {0};
  Problem  p = NewGradients(PETSC_COMM_WORLD, "-noise_group class", N, d, xi);

  (void)state;
  assert_message(CkSpectrumSolve(p.spectrum), "no classes", "-noise_group layer");
  OK(CkSpectrumSetClasses(p.spectrum, 2, labels, NULL));
  assert_message(CkSpectrumSolve(p.spectrum), "all samples are of one class", "-data_count");
  OK(CkSpectrumSetMethod(p.spectrum, CK_SPECTRUM_KRYLOV));
  assert_message(CkSpectrumSolve(p.spectrum), "Gram matrix", "-spectrum_method gram");
  OK(PetscOptionsInsertString(NULL, "-noise_group layer -noise_group_vectors 3"));
  assert_message(CkSpectrumSetFromOptions(p.spectrum), "-noise_group_vectors has no effect", "-noise_group class");
  FreeProblem(&p);
  OK(PetscFree(xi));
}

/* A memory limit holds for two Gram matrices where one would fit. */
static void memory_is_planned(void **state)
{
  enum { n = 600 };
  double  *xi = NewNumbers(5, n * d);
  PetscInt labels[n];
  Problem  p;

  (void)state;
  for (int k = 0; k < n; ++k) labels[k] = k % 3;
  p = NewGradients(PETSC_COMM_SELF, "-spectrum_solver scalapack -memory_limit 0.009", n, d, xi);
  OK(CkSpectrumSetMethod(p.spectrum, CK_SPECTRUM_GRAM));
  OK(CkSpectrumPlan(p.spectrum, PETSC_FALSE));
  OK(PetscOptionsInsertString(NULL, "-noise_group class"));
  OK(CkSpectrumSetFromOptions(p.spectrum));
  OK(CkSpectrumSetClasses(p.spectrum, 3, labels, NULL));
  assert_message(CkSpectrumPlan(p.spectrum, PETSC_FALSE), "memory", "-data_count");
  FreeProblem(&p);
  OK(PetscFree(xi));
}

static const struct CMUnitTest tests[] = {
  cmocka_unit_test(classes_against_dense_matrices),
  cmocka_unit_test(known_angles),
  cmocka_unit_test(layers_against_blocks_of_the_whole_matrix),
  cmocka_unit_test(refusals),
  cmocka_unit_test(memory_is_planned),
};

CK_TEST_MAIN(tests, SlepcInitialize, SlepcFinalize)
