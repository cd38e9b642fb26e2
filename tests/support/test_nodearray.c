/* Arrays of a node: filled together, counted once, private where shared memory is short or not wanted. */
#include "testing.h"
#include <clarkia/nodearray.h>
#include <stdint.h>

static double total(void)
{
  double bytes = CkNodeArrayBytes();

  OK(MPI_Allreduce(MPI_IN_PLACE, &bytes, 1, MPI_DOUBLE, MPI_SUM, PETSC_COMM_WORLD));
  return bytes;
}

/* The parts of all ranks make up the array, and everybody sees it; again after it was read. */
static int filled(CkNodeArray *array)
{
  int right = 1;

  for (int round = 0; round < 3; ++round) {
    for (size_t i = 0; i < array->size; ++i)
      if ((int)(i % (size_t)array->parts) == array->part) array->bytes[i] = (char)((i + (size_t)round) % 101);
    OK(CkNodeArraySync(array));
    for (size_t i = 0; i < array->size; ++i) right = right && array->bytes[i] == (char)((i + (size_t)round) % 101);
    OK(CkNodeArraySync(array));
  }
  return right;
}

static void arrays_are_filled_together(void **state)
{
  const size_t n = 1001;
  PetscBool    shared;
  PetscMPIInt  ranks, size;
  double       room;
  CkNodeArray  array;

  (void)state;
  OK(MPI_Comm_size(PETSC_COMM_WORLD, &size));
  OK(CkNodeRanks(PETSC_COMM_WORLD, &ranks));
  for (int wanted = 0; wanted < 2; ++wanted) {
    OK(CkNodeArrayPlan(PETSC_COMM_WORLD, (PetscBool)wanted, (double)n, &shared, &room));
    assert_on_all_ranks(room > 0 && (shared || !wanted || ranks == 1));
    OK(CkNodeArrayCreate(PETSC_COMM_WORLD, n, shared, &array));
    assert_on_all_ranks(array.shared == shared && array.parts == (shared ? ranks : 1));
    assert_on_all_ranks((uintptr_t)array.bytes % 64 == 0);
    assert_on_all_ranks(total() == (double)n * (shared ? 1 : size)); /* all ranks of the test are on one node */
    assert_on_all_ranks(filled(&array));
    OK(CkNodeArrayDestroy(&array));
    OK(CkNodeArrayDestroy(&array)); /* harmless */
    assert_on_all_ranks(total() == 0);
  }
  /* more than there is: private copies are planned, not a crash */
  OK(CkNodeArrayPlan(PETSC_COMM_WORLD, PETSC_TRUE, room, &shared, NULL));
  assert_on_all_ranks(!shared);
}

static int third(int rank)
{
  return rank % 3;
}

/* Each node has its own array, wherever its ranks are among all. */
static void every_node_has_an_array(void **state)
{
  PetscMPIInt size, most;
  CkNodeArray array = {0};

  (void)state;
  OK(MPI_Comm_size(PETSC_COMM_WORLD, &size));
  CkNodePretend(third);
  OK(CkNodeRanks(PETSC_COMM_WORLD, &most));
  assert_on_all_ranks(most == (size + 2) / 3);
  OK(CkNodeArrayReserve(PETSC_COMM_WORLD, 333, "numbers", &array));
  assert_on_all_ranks(array.shared == (size > 3));
  assert_on_all_ranks(total() == 333. * PetscMin(size, 3));
  assert_on_all_ranks(filled(&array));
  OK(CkNodeArrayDestroy(&array));
  CkNodePretend(NULL);
}

/* Room is kept; a larger array takes its place; -memory_share false makes private copies. */
static void reserves_what_is_asked_for(void **state)
{
  const char *bytes;
  PetscMPIInt size;
  CkNodeArray array = {0};

  (void)state;
  OK(MPI_Comm_size(PETSC_COMM_WORLD, &size));
  OK(CkNodeArrayReserve(PETSC_COMM_WORLD, 100, "numbers", &array));
  bytes = array.bytes;
  OK(CkNodeArrayReserve(PETSC_COMM_WORLD, 60, "numbers", &array));
  assert_on_all_ranks(array.bytes == bytes && total() == 100 && array.shared == (size > 1));
  OK(CkNodeArrayReserve(PETSC_COMM_WORLD, 200, "numbers", &array));
  assert_on_all_ranks(total() == 200 && filled(&array));
  OK(CkNodeArrayDestroy(&array));
  OK(PetscOptionsSetValue(NULL, "-memory_share", "false"));
  OK(CkNodeArrayReserve(PETSC_COMM_WORLD, 100, "numbers", &array));
  OK(PetscOptionsClearValue(NULL, "-memory_share"));
  assert_on_all_ranks(!array.shared && array.parts == 1 && total() == 100. * size && filled(&array));
  OK(CkNodeArrayDestroy(&array));
}

static const struct CMUnitTest tests[] = {
  cmocka_unit_test(arrays_are_filled_together),
  cmocka_unit_test(every_node_has_an_array),
  cmocka_unit_test(reserves_what_is_asked_for),
};

CK_TEST_MAIN(tests, PetscInitialize, PetscFinalize)
