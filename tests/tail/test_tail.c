/* test_tail.c: noise whose kind is known, on quadratic losses f_k = x'x/2 + xi_k.x with g_k - gbar = xi_k - mean. */
#include "tailimpl.h"
#include "testing.h"
#include <clarkia/random.h>

enum { D = 900, N = 400 };

static void Set(const char key[], const char value[])
{
  OK(PetscOptionsSetValue(NULL, key, value));
}

static void Defaults(void)
{
  OK(CkOptionsRegisterCommon());
  OK(CkLossRegisterOptions());
  OK(CkDiffusionRegisterOptions());
  OK(CkTailRegisterOptions());
  Set("-tail_batch", "20");
  Set("-tail_batches", "1500");
  Set("-tail_series", "40");
  Set("-tail_flats", "6");
  Set("-tail_replacement", "true");
  Set("-tail_directions", "coordinates");
}

/* scale(k, i) times standard normal numbers; weight 5 is moved by no sample. */
static CkLoss NewLoss(MPI_Comm comm, double (*scale)(PetscInt, PetscInt))
{
  const CkRandom stream = {41, CK_RANDOM_NOISE, 0, 0};
  double        *H, *xi;
  CkLoss         loss;

  OK(PetscCalloc1(D * D, &H));
  OK(PetscMalloc1(N * D, &xi));
  CkRandomNormals(&stream, 0, (size_t)N * D, xi);
  for (PetscInt i = 0; i < D; ++i) H[i * D + i] = 1;
  for (PetscInt k = 0; k < N; ++k)
    for (PetscInt i = 0; i < D; ++i) xi[k * D + i] = i == 5 ? 0.5 : xi[k * D + i] * scale(k, i);
  OK(CkLossCreate(comm, &loss));
  OK(CkLossSetFromOptions(loss));
  OK(CkLossSetQuadratic(loss, D, N, H, xi));
  OK(CkLossSetUp(loss));
  OK(PetscFree(H));
  OK(PetscFree(xi));
  return loss;
}

typedef struct {
  CkLoss      loss;
  CkDiffusion D;
  CkTail      tail;
} Study;

static Study Run(MPI_Comm comm, double (*scale)(PetscInt, PetscInt))
{
  Study s = {.loss = NewLoss(comm, scale)};

  OK(CkDiffusionCreate(s.loss, &s.D));
  OK(CkDiffusionSetFromOptions(s.D));
  OK(CkTailCreate(s.D, &s.tail));
  OK(CkTailSetFromOptions(s.tail));
  OK(CkTailRun(s.tail));
  return s;
}

static void End(Study *s)
{
  OK(CkTailDestroy(&s->tail));
  OK(CkDiffusionDestroy(&s->D));
  OK(CkLossDestroy(&s->loss));
}

/* ln s normal of variance 2.25, a function of the weight. */
static double Unequal(PetscInt k, PetscInt i)
{
  const CkRandom stream = {43, CK_RANDOM_NOISE, 0, 0};
  double         z;

  (void)k;
  CkRandomNormals(&stream, (uint64_t)i, 1, &z);
  return exp(1.5 * z);
}

static double Equal(PetscInt k, PetscInt i)
{
  (void)k;
  (void)i;
  return 1;
}

/* One sample in 40 has a gradient 30 times as large. */
static double Outliers(PetscInt k, PetscInt i)
{
  (void)i;
  return k % 40 == 0 ? 30 : 1;
}

/* Normal across minibatches, alpha far below 2 across weights, and normal noise of that covariance is just so. */
static void the_flattening_trap(void **state)
{
  double alpha, error, normal, normal_error, own, own_error;
  Study  s;

  (void)state;
  Defaults();
  s = Run(PETSC_COMM_WORLD, Unequal);
  assert_int_equal(s.tail->moving, D - 1);
  assert_true(s.tail->rejected <= 1);
  assert_close(s.tail->ratio, (N - 20.) / (N - 1.), 4, s.tail->ratio_error);
  CkTailMean(6, s.tail->flat, PETSC_FALSE, &alpha, &error);
  CkTailMean(6, s.tail->gaussian, PETSC_FALSE, &normal, &normal_error);
  CkTailMean(6, s.tail->flat, PETSC_TRUE, &own, &own_error);
  assert_true(alpha < 1.6);
  assert_close(alpha, normal, 4 * hypot(error, normal_error), 1);
  /* one vector leaves ln|Y| of 30 sums: pi/sqrt 8 alpha^2 / (ln 30 sqrt(30 x 6)) */
  assert_close(normal, s.tail->alpha_expected, 4 * 1.11 * normal * normal / log(30) / sqrt(180), 1);
  assert_close(own, 2, 4 * 1.11 * 4 / log(30) / sqrt(180), 1);
  End(&s);
}

static void normal_noise_is_normal(void **state)
{
  double alpha, error;
  Study  s;

  (void)state;
  Defaults();
  Set("-tail_directions", "random");
  Set("-tail_replacement", "false");
  s = Run(PETSC_COMM_WORLD, Equal);
  assert_int_equal(s.tail->m, 40);
  assert_true(s.tail->rejected <= 1);
  CkTailMean(6, s.tail->flat, PETSC_FALSE, &alpha, &error);
  assert_close(alpha, 2, 4 * 1.11 * 4 / log(30) / sqrt(180), 1);
  assert_close(s.tail->alpha_expected, 2, 0.05, 1);
  End(&s);
}

/* Seen across minibatches; kurtosis is that of single samples over B. */
static void heavy_tails_are_found(void **state)
{
  double seen = 0, expected = 0;
  Study  s;

  (void)state;
  Defaults();
  s = Run(PETSC_COMM_WORLD, Outliers);
  assert_int_equal(s.tail->rejected, 40);
  for (int j = 0; j < 40; ++j) {
    seen += s.tail->series[j].normality.kurtosis / 40;
    expected += s.tail->series[j].kurtosis / 20 / 40;
    assert_true(s.tail->series[j].coordinate != 5);
  }
  assert_true(expected > 1);
  assert_close(seen, expected, 0.15, expected); /* 40 correlated series of 1500: a few per cent each */
  End(&s);
}

/* A rank alone and all ranks together. */
static void same_bits_on_any_number_of_ranks(void **state)
{
  Study alone, all;

  (void)state;
  Defaults();
  Set("-tail_directions", "random");
  alone = Run(PETSC_COMM_SELF, Unequal);
  all = Run(PETSC_COMM_WORLD, Unequal);
  assert_on_all_ranks(memcmp(alone.tail->flat, all.tail->flat, 6 * sizeof(CkTailFlat)) == 0);
  assert_on_all_ranks(memcmp(alone.tail->gaussian, all.tail->gaussian, 6 * sizeof(CkTailFlat)) == 0);
  assert_on_all_ranks(memcmp(alone.tail->series, all.tail->series, 40 * sizeof(CkTailSeries)) == 0);
  assert_on_all_ranks(alone.tail->ratio == all.tail->ratio);
  End(&alone);
  End(&all);
}

static void refusals(void **state)
{
  static const char *const bad[][2] = {{"-tail_batch", "400"}, {"-tail_directions", "spectrum"}};

  (void)state;
  for (size_t i = 0; i < PETSC_STATIC_ARRAY_LENGTH(bad); ++i) {
    Study s = {.loss = NewLoss(PETSC_COMM_WORLD, Equal)};

    Defaults();
    Set(bad[i][0], bad[i][1]);
    OK(CkDiffusionCreate(s.loss, &s.D));
    OK(CkTailCreate(s.D, &s.tail));
    assert_user_error(CkTailSetFromOptions(s.tail));
    End(&s);
  }
}

static const struct CMUnitTest tests[] = {
  cmocka_unit_test(the_flattening_trap), cmocka_unit_test(normal_noise_is_normal),
  cmocka_unit_test(heavy_tails_are_found), cmocka_unit_test(same_bits_on_any_number_of_ranks),
  cmocka_unit_test(refusals)};

CK_TEST_MAIN(tests, PetscInitialize, PetscFinalize)
