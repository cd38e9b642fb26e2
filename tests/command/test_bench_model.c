/* The scaling model of `clarkia bench` against times made from known numbers. */
#include "bench_model.h"
#include "testing.h"
#include <clarkia/random.h>

enum { GROUPS = 4, SIZES = 7, TIMES = GROUPS * SIZES };

/* Times of a network of that latency and bandwidth, each changed by a factor 1 +- noise. */
static void make_times(double latency, double per_byte, double noise, CkBenchAllreduce *times)
{
  const CkRandom stream = {.seed = 7, .purpose = CK_RANDOM_PROBE};
  double         u[TIMES];

  CkRandomUniforms(&stream, 0, TIMES, u);
  times->n = TIMES;
  OK(PetscMalloc3(TIMES, &times->ranks, TIMES, &times->bytes, TIMES, &times->seconds));
  for (int i = 0; i < TIMES; ++i) {
    const double P = pow(2, 1 + i / SIZES), n = 8 * pow(8, i % SIZES);

    times->ranks[i] = P;
    times->bytes[i] = n;
    /* theory.md (A.3) written out: recursive halving and doubling, log2 P steps each way */
    times->seconds[i] = (2 * log2(P) * latency + 2 * n * per_byte * (P - 1) / P) * (1 + noise * (2 * u[i] - 1));
  }
}

static void fit_is_exact_without_noise(void **state)
{
  CkBenchAllreduce times;
  double           latency, per_byte, deviation;

  (void)state;
  make_times(3e-6, 1e-10, 0, &times);
  OK(CkBenchAllreduceFit(&times, &latency, &per_byte, &deviation));
  /* rounding errors, times the condition of two unknowns whose columns are far from parallel */
  assert_close(latency, 3e-6, 1e-9, 3e-6);
  assert_close(per_byte, 1e-10, 1e-9, 1e-10);
  assert_close(deviation, 0, 1e-9, 1);
  OK(CkBenchAllreduceFree(&times));
}

/* 10% of noise, and every seventh time far too long: least magnitudes stay within the noise. */
static void fit_ignores_outliers(void **state)
{
  CkBenchAllreduce times;
  double           latency, per_byte;

  (void)state;
  make_times(3e-6, 1e-10, 0.1, &times);
  for (int i = 3; i < TIMES; i += SIZES) times.seconds[i] *= 20;
  OK(CkBenchAllreduceFit(&times, &latency, &per_byte, NULL));
  assert_close(latency, 3e-6, 0.1, 3e-6);
  assert_close(per_byte, 1e-10, 0.1, 1e-10);
  OK(CkBenchAllreduceFree(&times));
}

/* A network without latency, or without limit of bandwidth, is found, never a negative number; 5% of noise. */
static void fit_stays_positive(void **state)
{
  CkBenchAllreduce times;
  double           latency, per_byte;

  (void)state;
  for (int which = 0; which < 2; ++which) {
    make_times(which ? 3e-6 : 0, which ? 0 : 1e-10, 0.05, &times);
    OK(CkBenchAllreduceFit(&times, &latency, &per_byte, NULL));
    assert_true(latency >= 0 && per_byte >= 0);
    if (which) assert_close(latency, 3e-6, 0.05, 3e-6);
    else assert_close(per_byte, 1e-10, 0.05, 1e-10);
    OK(CkBenchAllreduceFree(&times));
  }
  times = (CkBenchAllreduce){.n = 0};
  OK(CkBenchAllreduceFit(&times, &latency, &per_byte, NULL));
  assert_true(latency == 0 && per_byte == 0);
}

/* 1,000 samples in 16 blocks of 64, of which the last has 40, on 3 ranks: rank 0 has 6 blocks, 360 samples. */
static CkBenchScaling measured(void)
{
  return (CkBenchScaling){
    .blocks = {.n = 1000, .block = 64, .tile = 64, .nblocks = 16, .size = 3, .tiles_per_block = 1},
    .seconds = 4.5,
    .work = 10,
    .busiest = 3.6 * 1.05,
    .messages = 100,
    .bytes = 1e8,
    .latency = 1e-5,
    .per_byte = 1e-10};
}

static double communication(double P)
{
  return 2 * log2(P) * 100 * 1e-5 + 2 * (P - 1) / P * 1e8 * 1e-10;
}

static void prediction_reproduces_the_measurement(void **state)
{
  const CkBenchScaling s = measured();
  CkBenchPrediction    p;

  (void)state;
  CkBenchPredict(&s, 1000, 3, &p);
  assert_close(CkBenchImbalance(&s), 1.05, 1e-14, 10);
  assert_close(p.seconds, s.seconds, 1e-14, 10);
  assert_close(p.work, s.busiest, 1e-14, 10);
  assert_close(p.communication, communication(3), 1e-14, 10);
  assert_close(p.work + p.communication + p.fixed, p.seconds, 1e-14, 10);
}

/* T(P): 0.01 s a sample times the busiest rank's and the imbalance, and what does not shrink. */
static void prediction_follows_the_formula(void **state)
{
  const CkBenchScaling s = measured();
  const double         fixed = s.seconds - s.busiest - communication(3);
  CkBenchPrediction    one, p;

  (void)state;
  CkBenchPredict(&s, 1000, 1, &one);
  assert_close(one.seconds, 10 + fixed, 1e-14, 10);
  assert_close(one.efficiency, 1, 1e-14, 1);
  for (int P = 2; P <= 4096; P *= 2) {
    const double T = 1.05 * 0.01 * 64 * ceil(16. / P) + communication(P) + fixed;

    CkBenchPredict(&s, 1000, P, &p);
    assert_close(p.seconds, T, 1e-14, 10);
    assert_close(p.efficiency, one.seconds / (P * T), 1e-14, 10);
  }
  /* another number of samples: 65 blocks of 64 on 4 ranks, 17 for the busiest */
  CkBenchPredict(&s, 65 * 64, 4, &p);
  assert_close(p.work, 1.05 * 0.01 * 64 * 17, 1e-14, 100);
}

/* A model that takes longer than was left for communication is not made up for by negative time elsewhere. */
static void nothing_is_negative(void **state)
{
  CkBenchScaling    s = measured();
  CkBenchPrediction p;

  (void)state;
  s.latency = 1;
  CkBenchPredict(&s, 1000, 3, &p);
  assert_true(p.fixed == 0 && p.seconds > s.seconds);
}

static const struct CMUnitTest tests[] = {cmocka_unit_test(fit_is_exact_without_noise),
                                          cmocka_unit_test(fit_ignores_outliers),
                                          cmocka_unit_test(fit_stays_positive),
                                          cmocka_unit_test(prediction_reproduces_the_measurement),
                                          cmocka_unit_test(prediction_follows_the_formula),
                                          cmocka_unit_test(nothing_is_negative)};

CK_TEST_MAIN(tests, PetscInitialize, PetscFinalize)
