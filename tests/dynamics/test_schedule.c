/* Learning rates: warm-up, steps, cosine; what has no effect is refused. */
#include "landscape.h"
#include "schedule.h"

enum { UPDATES = 5, EPOCHS = 12 };

static CkSchedule read_schedule(const char options[])
{
  CkSchedule schedule;

  OK(CkScheduleRegisterOptions());
  OK(PetscOptionsClear(NULL));
  OK(PetscOptionsInsertString(NULL, options));
  OK(CkOptionsCheck());
  OK(CkScheduleSetFromOptions(PETSC_COMM_WORLD, EPOCHS, &schedule));
  return schedule;
}

static void constant_and_steps(void **state)
{
  const CkSchedule constant = read_schedule("-dynamics_rate 0.3");
  const CkSchedule steps =
    read_schedule("-dynamics_rate 0.3 -dynamics_schedule step -dynamics_steps 2,7 -dynamics_factor 0.2");

  (void)state;
  for (PetscInt k = 0; k < UPDATES * EPOCHS; ++k) {
    const int epoch = (int)k / UPDATES;

    assert_on_all_ranks(CkScheduleRate(&constant, k, UPDATES) == 0.3);
    assert_close(CkScheduleRate(&steps, k, UPDATES), 0.3 * (epoch < 2 ? 1 : epoch < 7 ? 0.2 : 0.04), 1e-15, 1);
  }
}

/* The cosine falls by its own differential equation: with c = (rate - middle)/half, c^2 + (c'/w)^2 = 1. Its values at
 * the start, half-way and at the end are known. */
static void cosine(void **state)
{
  const CkSchedule s = read_schedule("-dynamics_rate 0.5 -dynamics_schedule cosine -dynamics_final 0.1");
  const PetscInt   all = UPDATES * EPOCHS;

  (void)state;
  assert_on_all_ranks(CkScheduleRate(&s, 0, UPDATES) == 0.5);
  assert_close(CkScheduleRate(&s, all / 2, UPDATES), 0.3, 1e-15, 1);
  assert_close(CkScheduleRate(&s, all / 3, UPDATES), 0.4, 1e-15, 1); /* cos 60 degrees = 1/2 */
  assert_close(CkScheduleRate(&s, all, UPDATES), 0.1, 1e-15, 1);
  assert_close(CkScheduleRate(&s, all + 7, UPDATES), 0.1, 1e-15, 1); /* it stays there */
  for (PetscInt k = 1; k <= all; ++k)
    assert_on_all_ranks(CkScheduleRate(&s, k, UPDATES) < CkScheduleRate(&s, k - 1, UPDATES));
}

/* 1.5 epochs of 5 updates: the rate of update k is (k + 1)/7.5 of the first; then the schedule, whose cosine begins
 * there and whose steps count epochs of the run. */
static void warm_up(void **state)
{
  const CkSchedule s[] = {
    read_schedule("-dynamics_rate 0.5 -dynamics_warmup 1.5"),
    read_schedule("-dynamics_rate 0.5 -dynamics_warmup 1.5 -dynamics_schedule step -dynamics_steps 2"),
    read_schedule("-dynamics_rate 0.5 -dynamics_warmup 1.5 -dynamics_schedule cosine")};

  (void)state;
  for (int i = 0; i < 3; ++i) {
    for (PetscInt k = 0; k < 7; ++k)
      assert_close(CkScheduleRate(&s[i], k, UPDATES), 0.5 * (double)(k + 1) / 7.5, 1e-15, 1);
  }
  for (PetscInt k = 7; k < UPDATES * EPOCHS; ++k) {
    assert_on_all_ranks(CkScheduleRate(&s[0], k, UPDATES) == 0.5);
    assert_close(CkScheduleRate(&s[1], k, UPDATES), k < 2 * UPDATES ? 0.5 : 0.05, 1e-15, 1);
  }
  assert_close(CkScheduleRate(&s[2], 7, UPDATES), 0.5, 1e-15, 1);
  assert_close(CkScheduleRate(&s[2], UPDATES * EPOCHS, UPDATES), 0, 1e-15, 1);
}

/* The path takes these rates, and t is their sum. */
static void rates_of_a_path(void **state)
{
  const char *const options = "-dynamics_batch 4 -dynamics_rate 0.06 -dynamics_schedule cosine -dynamics_warmup 0.7 "
                              "-dynamics_epochs 3";
  double            xi[N * D], x[D], g[D], time = 0, reached;
  CkLoss            loss;
  CkDynamics        dynamics;
  CkSchedule        s;

  (void)state;
  create(PETSC_COMM_WORLD, N, options, &loss, &dynamics);
  OK(CkScheduleSetFromOptions(PETSC_COMM_WORLD, 3, &s));
  draw_xi(N, xi);
  memcpy(x, x0, sizeof(x));
  for (PetscInt k = 0; k < 9; ++k) {
    const CkRandom stream = {.seed = 1, .purpose = CK_RANDOM_SHUFFLE, .replica = 0, .step = (uint64_t)(k / 3)};
    const PetscInt at = k % 3 * 4;
    const double   rate = CkScheduleRate(&s, k, 3);
    PetscInt       order[N];

    OK(CkRandomPermutation(&stream, N, order));
    gradient(PetscMin(4, N - at), order + at, xi, x, g);
    for (int i = 0; i < D; ++i) x[i] -= rate * g[i];
    time += rate;
    OK(CkDynamicsStep(dynamics));
    OK(CkDynamicsGetTime(dynamics, &reached));
    assert_close(reached, time, 1e-14, 1);
    compare(loss, x, 1e-13);
  }
  destroy(&loss, &dynamics);
}

static void refusals(void **state)
{
  (void)state;
  assert_refused("-dynamics_schedule step", "-dynamics_steps", "epochs");
  assert_refused("-dynamics_steps 2", "-dynamics_steps has no effect", "-dynamics_schedule step");
  assert_refused("-dynamics_factor 0.5 -dynamics_schedule cosine", "-dynamics_factor", "-dynamics_schedule cosine");
  assert_refused("-dynamics_final 0.01", "-dynamics_final", "-dynamics_schedule cosine");
  assert_refused("-dynamics_schedule step -dynamics_steps 3,10 -dynamics_epochs 10", "-dynamics_steps 10",
                 "-dynamics_epochs 10");
  assert_refused("-dynamics_schedule step -dynamics_steps 3,3", "must increase", "3 follows 3");
  assert_refused("-dynamics_schedule cosine -dynamics_final 0.2", "-dynamics_final 0.2", "-dynamics_rate 0.1");
  assert_refused("-dynamics_warmup 2 -dynamics_epochs 2", "-dynamics_warmup 2", "-dynamics_epochs 2");
}

static const struct CMUnitTest tests[] = {
  cmocka_unit_test(constant_and_steps), cmocka_unit_test(cosine),   cmocka_unit_test(warm_up),
  cmocka_unit_test(rates_of_a_path),    cmocka_unit_test(refusals),
};

CK_TEST_MAIN(tests, PetscInitialize, PetscFinalize)
