/* Augmentation of training images: what may come out, how often, and that it depends on (seed, replica, step, position)
   alone. */
#include "datatest.h"
#include <clarkia/batch.h>

enum {
  C = 2,
  H = 5,
  W = 6,
  PAD = 2,
  PLANE = H * W,
  SIZE = C * PLANE,
  SHIFTS = 2 * PAD + 1,
  KINDS = 2 * SHIFTS * SHIFTS
};

static const float black[C] = {-0.25F, -1}; /* (0 - mean)/deviation */

static CkData new_data(const char options[])
{
  CkData data =
    make_data("-data synthetic -data_shape 2,5,6 -data_classes 2 -data_count 50 -data_transform standardise "
              "-data_mean 0.5,2 -data_deviation 2,2");

  OK(CkDataRegisterAugmentOptions());
  OK(PetscOptionsInsertString(NULL, options));
  OK(CkDataSetAugmentFromOptions(data));
  return data;
}

static CkBatch batch_of(PetscInt step, PetscInt replica)
{
  return (CkBatch){.n = 50, .mode = CK_TRAINING, .step = step, .replica = replica};
}

static void fetch(CkData data, float x[])
{
  PetscInt index[50], labels[50];

  for (PetscInt k = 0; k < 50; ++k) index[k] = k;
  OK(CkDataFetch(data, 50, index, x, labels));
}

/* Which of the flips and shifts makes `to` of `from`; -1: none. */
static int kind_of(const float from[], const float to[])
{
  for (int kind = 0; kind < KINDS; ++kind) {
    const int flip = kind % 2, dy = kind / 2 / SHIFTS - PAD, dx = kind / 2 % SHIFTS - PAD;
    int       same = 1;

    for (int i = 0; i < SIZE && same; ++i) { /* pixel (y, x) of the plane comes from there */
      const int y = i % PLANE / W + dy, at = flip ? W - 1 - i % W : i % W, x = at + dx;
      const int inside = y >= 0 && y < H && x >= 0 && x < W;

      same = to[i] == (inside ? from[i / PLANE * PLANE + y * W + x] : black[i / PLANE]);
    }
    if (same) return kind;
  }
  return -1;
}

/* Every flip and shift, in all channels alike, each as often: chi square with KINDS - 1 = 49 degrees of freedom is
 * below 101 but for 2e-5. */
static void all_moves_are_alike(void **state)
{
  enum { STEPS = 60 };
  CkData data = new_data("-data_augment flip,crop -data_augment_pad 2");
  float  x[50 * SIZE], y[50 * SIZE];
  double hits[KINDS] = {0}, chi = 0, expected = 50. * STEPS / KINDS;

  (void)state;
  fetch(data, x);
  for (int step = 0; step < STEPS; ++step) {
    const CkBatch batch = batch_of(step, 0);

    memcpy(y, x, sizeof(x));
    OK(CkDataAugment(data, 5, &batch, 0, 50, y));
    for (int k = 0; k < 50; ++k) {
      const int kind = kind_of(x + k * SIZE, y + k * SIZE);

      assert_on_all_ranks(kind >= 0);
      ++hits[kind];
    }
  }
  for (int i = 0; i < KINDS; ++i) chi += pow(hits[i] - expected, 2) / expected;
  assert_on_all_ranks(chi < 101);
  OK(CkDataDestroy(&data));
}

/* A batch in pieces, as ranks have it, is the batch; other seeds, replicas, steps and positions give other images. */
static void functions_of_seed_replica_step_position(void **state)
{
  CkData  data = new_data("-data_augment flip,crop -data_augment_pad 2");
  float   x[50 * SIZE], whole[50 * SIZE], pieces[50 * SIZE], other[50 * SIZE];
  CkBatch batch = batch_of(3, 1), others[] = {batch_of(3, 1), batch_of(3, 2), batch_of(4, 1), batch_of(3, 1)};

  (void)state;
  fetch(data, x);
  memcpy(whole, x, sizeof(x));
  memcpy(pieces, x, sizeof(x));
  OK(CkDataAugment(data, 5, &batch, 0, 50, whole));
  for (PetscInt first = 42; first >= 0; first -= 7)
    OK(CkDataAugment(data, 5, &batch, first, PetscMin(7, 50 - first), pieces + first * SIZE));
  OK(CkDataAugment(data, 5, &batch, 49, 1, pieces + 49 * SIZE));
  assert_on_all_ranks(memcmp(whole, pieces, sizeof(whole)) == 0);
  for (int i = 0; i < 4; ++i) {
    memcpy(other, x, sizeof(x));
    OK(CkDataAugment(data, i == 0 ? 6 : 5, &others[i], i == 3 ? 1 : 0, 50, other));
    assert_on_all_ranks(memcmp(whole, other, sizeof(whole)) != 0);
  }
  OK(CkDataDestroy(&data));
}

static void one_of_them_or_none(void **state)
{
  const char *const options[] = {"-data_augment none", "-data_augment flip", "-data_augment crop -data_augment_pad 2"};
  const CkBatch     batch = batch_of(0, 0);

  (void)state;
  for (int o = 0; o < 3; ++o) {
    CkData data = new_data(options[o]);
    float  x[50 * SIZE], y[50 * SIZE];
    int    flipped = 0, moved = 0;

    fetch(data, x);
    memcpy(y, x, sizeof(x));
    OK(CkDataAugment(data, 5, &batch, 0, 50, y));
    for (int k = 0; k < 50; ++k) {
      const int kind = kind_of(x + k * SIZE, y + k * SIZE);

      flipped += kind % 2;
      moved += kind / 2 != KINDS / 4; /* the middle: no shift */
    }
    assert_on_all_ranks((flipped > 0) == (o == 1) && (moved > 0) == (o == 2));
    OK(CkDataDestroy(&data));
  }
}

static void refusals(void **state)
{
  CkData data = new_data("-data_augment none");

  (void)state;
  OK(PetscOptionsInsertString(NULL, "-data_augment flip -data_augment_pad 2"));
  assert_user_error(CkDataSetAugmentFromOptions(data));
  OK(PetscOptionsInsertString(NULL, "-data_augment crop -data_augment_pad 5"));
  assert_message(CkDataSetAugmentFromOptions(data), "-data_augment_pad 5", "take 4 or less");
  OK(CkDataDestroy(&data));
  data = make_data("-data synthetic -data_shape 6 -data_classes 2 -data_count 50");
  OK(PetscOptionsInsertString(NULL, "-data_augment flip"));
  assert_user_error(CkDataSetAugmentFromOptions(data));
  OK(CkDataDestroy(&data));
}

static const struct CMUnitTest tests[] = {
  cmocka_unit_test(all_moves_are_alike),
  cmocka_unit_test(functions_of_seed_replica_step_position),
  cmocka_unit_test(one_of_them_or_none),
  cmocka_unit_test(refusals),
};

CK_TEST_MAIN(tests, PetscInitialize, PetscFinalize)
