#include "datatest.h"
#include "formats.h"
#include <clarkia/nodearray.h>

/* Where samples are kept: once per node or on each rank, the same samples with the same checksum on any number of
   ranks, also on more ranks than samples. */

static const char *const sources[] = {
  "-data synthetic -data_shape 3,4,5 -data_classes 4 -data_count 37 -data_offset 2",
  "-data synthetic -data_shape 7 -data_classes 2 -data_count 2",
  "-data synthetic -data_shape 7 -data_classes 2 -data_count 1",
  "-data synthetic -data_shape 2,6,6 -data_pool 3 -data_transform scale,standardise",
  "-data synthetic -data_shape 1,5,5 -data_count 70 -data_transform gcn,zca"};

static void private_and_shared_samples_are_the_same(void **state)
{
  (void)state;
  for (size_t i = 0; i < sizeof(sources) / sizeof(sources[0]); ++i) {
    CkData    shared = make_data("%s", sources[i]), separate = make_data("%s -data_shared false", sources[i]);
    CkData    alone = make_data_on(PETSC_COMM_SELF, "%s", sources[i]);
    PetscInt *ls, *lp;
    float    *xs = fetch_all(shared, &ls), *xp = fetch_all(separate, &lp);
    size_t    n = (size_t)size_of(shared), size = (size_t)CkShapeSize(shape_of(shared));

    assert_on_all_ranks(checksum_of(shared) == checksum_of(separate) && checksum_of(shared) == checksum_of(alone));
    assert_on_all_ranks(same_bits(xs, xp, n * size * sizeof(float)) && same_bits(ls, lp, n * sizeof(PetscInt)));
    free(xs);
    free(xp);
    free(ls);
    free(lp);
    OK(CkDataDestroy(&alone));
    OK(CkDataDestroy(&separate));
    OK(CkDataDestroy(&shared));
  }
}

/* One number, one label, one position: each changes it. */
static void the_checksum_sees_every_change(void **state)
{
  const char *texts[] = {"1,2,a\n3,4,b\n5,6,a\n", "1,2,a\n3,4.0000005,b\n5,6,a\n", "1,2,a\n3,4,a\n5,6,b\n",
                         "3,4,b\n1,2,a\n5,6,a\n", "1,2,a\n3,4,b\n"};
  uint64_t    sums[6];
  CkData      data;

  (void)state;
  for (int i = 0; i < 6; ++i) {
    const char *path = write_text("table", texts[i % 5]);

    data = make_data("-data %s %s", path, i == 5 ? "-data_transform standardise" : "");
    sums[i] = checksum_of(data);
    OK(CkDataDestroy(&data));
    for (int j = 0; j < i; ++j) assert_on_all_ranks(sums[i] != sums[j]);
  }
}

/* Any order, with repeats. */
static void fetches_any_list_of_samples(void **state)
{
  const PetscInt list[] = {5, 6, 7, 36, 0, 0, 1, 35, 36, 3, 2};
  PetscInt       labels[11], *all_labels;
  float          x[11 * 60], *all;
  CkData         data = make_data("%s -data_transform scale,standardise", sources[0]);
  int            right = 1;

  (void)state;
  all = fetch_all(data, &all_labels);
  OK(CkDataFetch(data, 11, list, x, labels));
  for (int i = 0; i < 11; ++i)
    right = right && labels[i] == all_labels[list[i]] && same_bits(x + 60 * i, all + 60 * list[i], 60 * sizeof(float));
  assert_on_all_ranks(right);
  assert_user_error(CkDataFetch(data, 1, (PetscInt[]){37}, x, labels));
  assert_user_error(CkDataFetch(data, 2, (PetscInt[]){0, -1}, x, labels));
  free(all);
  free(all_labels);
  OK(CkDataDestroy(&data));
}

/* What Memory() announces is what the windows take: per node if shared, else per rank. */
static void memory_is_announced(void **state)
{
  const double bytes = 4.0 * 100 * 27;
  double       node, rank;
  PetscMPIInt  ranks;
  CkData       data;

  (void)state;
  OK(CkNodeRanks(PETSC_COMM_WORLD, &ranks));
  for (int shared = 0; shared < 2; ++shared) {
    data = create_data(PETSC_COMM_WORLD, "-data synthetic -data_shape 3,3,3 -data_count 100 -data_shared %s",
                       shared ? "true" : "false");
    OK(CkDataOpen(data));
    OK(CkDataMemory(data, &node, &rank));
    if (shared && ranks > 1) assert_on_all_ranks(node == bytes && rank < bytes);
    else assert_on_all_ranks(node == 0 && rank >= bytes && rank < 1.2 * bytes);
    OK(CkDataDestroy(&data));
  }
  /* pooling needs the old samples and the new ones at once */
  data =
    create_data(PETSC_COMM_WORLD, "-data synthetic -data_shape 3,4,4 -data_count 100 -data_pool 2 -data_shared false");
  OK(CkDataOpen(data));
  OK(CkDataMemory(data, &node, &rank));
  assert_on_all_ranks(rank >= 4.0 * 100 * (48 + 12) && rank < 4.4 * 100 * (48 + 12));
  OK(CkDataDestroy(&data));
  assert_refused(create_data(PETSC_COMM_WORLD, "-data synthetic -data_count 1000 -memory_limit 1e-4"), "memory",
                 "-data_count");
}

static const struct CMUnitTest tests[] = {
  cmocka_unit_test(private_and_shared_samples_are_the_same),
  cmocka_unit_test(the_checksum_sees_every_change),
  cmocka_unit_test(fetches_any_list_of_samples),
  cmocka_unit_test(memory_is_announced),
};

CK_TEST_MAIN(tests, PetscInitialize, PetscFinalize)
