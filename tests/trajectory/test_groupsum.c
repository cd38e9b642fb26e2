#include "groupsum.h"
#include "testing.h"
#include <clarkia/random.h>

/* The bits of the sum in order of the groups, however they are dealt out to the ranks. */

static double Term(PetscInt group, PetscInt64 i)
{
  const CkRandom stream = {1, CK_RANDOM_NOISE, 0, (uint64_t)group};
  double         x;

  CkRandomNormals(&stream, (uint64_t)i, 1, &x);
  return x * exp(3 * x);
}

static void in_order(void **state)
{
  enum { groups = 23, length = 31 };
  double      expected[length] = {0}, values[length], terms[groups * length];
  PetscMPIInt rank, size;

  (void)state;
  MPI_Comm_rank(PETSC_COMM_WORLD, &rank);
  MPI_Comm_size(PETSC_COMM_WORLD, &size);
  for (PetscInt g = 0; g < groups; ++g)
    for (PetscInt i = 0; i < length; ++i) expected[i] += Term(g, i);
  for (PetscInt slab = 1; slab <= groups; slab += 3) {
    CkGroupSum sum;

    OK(CkGroupSumCreate(PETSC_COMM_WORLD, length, &sum));
    for (PetscInt round = 0; round < groups; round += slab * size) {
      const PetscInt first = PetscMin(groups, round + slab * rank), count = PetscMin(slab, groups - first);

      for (PetscInt g = 0; g < count; ++g)
        for (PetscInt i = 0; i < length; ++i) terms[g * length + i] = Term(first + g, i);
      OK(CkGroupSumAdd(sum, count, terms));
    }
    OK(CkGroupSumGet(sum, values));
    OK(CkGroupSumDestroy(&sum));
    assert_on_all_ranks(memcmp(values, expected, sizeof(values)) == 0);
  }
}

static const struct CMUnitTest tests[] = {cmocka_unit_test(in_order)};

CK_TEST_MAIN(tests, PetscInitialize, PetscFinalize)
