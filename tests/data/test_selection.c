#include "datatest.h"
#include "formats.h"

/* Class subset, then offset, then count; descriptions; the synthetic data set. */

enum { N = 40, CLASSES = 5 };

/* Sample k is the number k, of class k mod 5. */
static const char *write_numbers(void)
{
  char text[N * 16] = "";

  for (int k = 0; k < N; ++k) snprintf(text + strlen(text), 16, "%d,c%d\n", k, k % CLASSES);
  return write_text("numbers.csv", text);
}

/* The samples are these numbers with these labels. */
static void assert_samples(CkData data, int n, const int numbers[], const int labels[])
{
  int right = size_of(data) == n;

  for (int i = 0; i < n && right; ++i) {
    float x;

    right = fetch_one(data, i, &x) == labels[i] && x == (float)numbers[i];
  }
  assert_on_all_ranks(right);
}

static void selects_in_the_documented_order(void **state)
{
  const char *path = write_numbers();
  const int   range[] = {7, 8, 9}, range_labels[] = {2, 3, 4};
  const int   kept[] = {6, 8, 11}, kept_labels[] = {1, 0, 1};
  CkData      data;

  (void)state;
  data = make_data("-data %s -data_offset 7 -data_count 3", path);
  assert_samples(data, 3, range, range_labels);
  assert_on_all_ranks(classes_of(data) == 5 && class_size(data, 4) == 1 && class_size(data, 0) == 0);
  assert_on_all_ranks(!strcmp(description_of(data), "numbers.csv train, rows 7-9 of 40"));
  OK(CkDataDestroy(&data));
  /* of classes 3 and 1: 1 3 6 8 11 13 .. 38; class 3 comes first in the list, so it is number 0 */
  data = make_data("-data %s -data_classes_keep 3,1 -data_offset 2 -data_count 3", path);
  assert_samples(data, 3, kept, kept_labels);
  assert_on_all_ranks(classes_of(data) == 2 && class_size(data, 0) == 1 && class_size(data, 1) == 2);
  assert_on_all_ranks(!strcmp(class_name(data, 0), "c3") && !strcmp(class_name(data, 1), "c1"));
  assert_on_all_ranks(!strcmp(description_of(data), "numbers.csv train, classes 3,1, rows 2-4 of 16"));
  OK(CkDataDestroy(&data));
}

/* Offset and count speak of the split that -data_split names; the other one is whole. */
static void leaves_the_other_split_whole(void **state)
{
  const char *path = write_numbers();
  CkData      data, test;

  (void)state;
  data = make_data("-data %s -data_test %s -data_classes_keep 2 -data_offset 1 -data_count 2", path, path);
  OK(CkDataCreateTest(data, &test));
  assert_on_all_ranks(size_of(data) == 2 && size_of(test) == 8 && classes_of(test) == 1);
  OK(CkDataDestroy(&test));
  OK(CkDataDestroy(&data));
  data = make_data("-data %s -data_test %s -data_split test -data_count 2", path, path);
  OK(CkDataCreateTest(data, &test));
  assert_on_all_ranks(size_of(data) == 2 && test == NULL && strstr(description_of(data), "test, rows 0-1"));
  OK(CkDataDestroy(&data));
}

static void refuses_what_lies_outside(void **state)
{
  const char *path = write_numbers();

  (void)state;
  assert_refused(create_data(PETSC_COMM_WORLD, "-data %s -data_offset 40", path), "-data_offset 40", "40 samples",
                 "39");
  assert_refused(create_data(PETSC_COMM_WORLD, "-data %s -data_count 41", path), "-data_count 41", "40");
  assert_refused(create_data(PETSC_COMM_WORLD, "-data %s -data_offset 39 -data_count 2", path), "-data_count 2",
                 "1 samples", "offset 39");
  assert_refused(create_data(PETSC_COMM_WORLD, "-data %s -data_classes_keep 0,1 -data_count 17", path),
                 "-data_count 17", "16");
  assert_refused(create_data(PETSC_COMM_WORLD, "-data %s -data_classes_keep 5", path), "class 5", "0 .. 4");
  assert_refused(create_data(PETSC_COMM_WORLD, "-data %s -data_classes_keep 1,1", path), "class 1 twice");
  assert_refused(create_data(PETSC_COMM_WORLD, "-data %s -data_split test", path), "no test split", "-data_test");
  assert_refused(create_data(PETSC_COMM_WORLD, "-data %s -data_labels %s", path, path), "-data_labels", "table");
  assert_refused(create_data(PETSC_COMM_WORLD, "-data %s -data_format mnist", path), "-data_format mnist",
                 "idx, table");
  assert_refused(create_data(PETSC_COMM_WORLD, "-data_count 3"), "-data");
}

/* What is not there, is empty, is of no known name or begins with no known bytes: each says so. */
static void says_why_no_format_fits(void **state)
{
  const unsigned char bytes[] = {0x7f, 'E', 'L', 'F', 2, 1};

  (void)state;
  assert_refused(create_data(PETSC_COMM_WORLD, "-data fashion-mnst"), "-data fashion-mnst", "No such file",
                 "fashion-mnist");
  assert_refused(create_data(PETSC_COMM_WORLD, "-data gone.bin,%s", write_file("other.bin", bytes, sizeof(bytes))),
                 "gone.bin", "No such file");
  assert_refused(create_data(PETSC_COMM_WORLD, "-data %s", path_of("other.bin")), "6 bytes", "3073");
  assert_refused(create_data(PETSC_COMM_WORLD, "-data /proc"), "no files of a known name", "train-images-idx3-ubyte",
                 "data_batch_*.bin", "train_32x32.mat");
  assert_refused(create_data(PETSC_COMM_WORLD, "-data %s", write_file("nothing", bytes, 0)), "nothing", "is empty");
  assert_refused(create_data(PETSC_COMM_WORLD, "-data /dev/null"), "/dev/null", "no regular file");
  assert_refused(create_data(PETSC_COMM_WORLD, "-data %s", write_file("program", bytes, sizeof(bytes))), "program",
                 "not recognised", "7f 45 4c 46 02 01", "-data_format");
}

/* Classes in turn, noise of variance 1 around means that lie `separation` apart, the same for the test split. */
static void synthetic_data_have_the_promised_statistics(void **state)
{
  enum { SAMPLES = 3000, SIZE = 24, KINDS = 3 };
  double    mean[2][KINDS][SIZE] = {0}, variance = 0, distance = 0;
  PetscInt *labels;
  float    *x;
  CkData    data, split[2];

  (void)state;
  data = make_data("-data synthetic -data_shape 2,3,4 -data_classes 3 -data_count 3000 -data_separation 4 -seed 5");
  split[0] = data;
  OK(CkDataCreateTest(data, &split[1]));
  assert_on_all_ranks(size_of(data) == SAMPLES && has_shape(data, 2, 3, 4) && size_of(split[1]) == SAMPLES / 6);
  for (int s = 0; s < 2; ++s) {
    const PetscInt n = size_of(split[s]);
    int            right = 1;

    x = fetch_all(split[s], &labels);
    for (PetscInt k = 0; k < n; ++k) right = right && labels[k] == k % KINDS;
    assert_on_all_ranks(right);
    for (PetscInt k = 0; k < n; ++k)
      for (int j = 0; j < SIZE; ++j) mean[s][labels[k]][j] += x[k * SIZE + j] / ((double)n / KINDS);
    for (PetscInt k = 0; s == 0 && k < n; ++k)
      for (int j = 0; j < SIZE; ++j) variance += pow(x[k * SIZE + j] - mean[0][labels[k]][j], 2) / (double)n / SIZE;
    free(x);
    free(labels);
  }
  /* sampling errors: a mean over 1000 (167) has deviation 0.032 (0.077); 144 of them stay within 5 of theirs */
  for (int c = 0; c < KINDS; ++c)
    for (int j = 0; j < SIZE; ++j) assert_close(mean[0][c][j], mean[1][c][j], 5 * sqrt(0.001 + 0.006), 1);
  assert_close(variance, 1, 5 * sqrt(2.0 / (SAMPLES * SIZE)), 1);
  /* 24 numbers a mean: the mean square distance of the 3 pairs is chi-squared with 48 degrees of freedom, about +- 20%
   */
  for (int c = 0; c < KINDS; ++c)
    for (int j = 0; j < SIZE; ++j) distance += pow(mean[0][c][j] - mean[0][(c + 1) % KINDS][j], 2) / KINDS;
  assert_close(sqrt(distance), 4, 0.4, 4);
  OK(CkDataDestroy(&split[1]));
  OK(CkDataDestroy(&data));
}

/* A sample depends on the seed and its number alone. */
static void synthetic_samples_are_functions_of_seed_and_number(void **state)
{
  float  x[6], y[6];
  CkData a, b;

  (void)state;
  a = make_data("-data synthetic -data_shape 6 -data_classes 2 -data_count 10 -seed 3");
  b = make_data("-data synthetic -data_shape 6 -data_classes 2 -data_count 5 -data_offset 4 -seed 3");
  assert_on_all_ranks(has_shape(a, 6, 1, 1) && fetch_one(a, 7, x) == fetch_one(b, 3, y) && same_bits(x, y, sizeof(x)));
  OK(CkDataDestroy(&b));
  b = make_data("-data synthetic -data_shape 6 -data_classes 2 -data_count 10 -seed 4");
  fetch_one(b, 7, y);
  assert_on_all_ranks(!same_bits(x, y, sizeof(x)) && checksum_of(a) != checksum_of(b));
  OK(CkDataDestroy(&b));
  OK(CkDataDestroy(&a));
  assert_refused(create_data(PETSC_COMM_WORLD, "-data synthetic -data_shape 2,3"), "-data_shape");
  if (sizeof(PetscInt) == 4)
    assert_refused(create_data(PETSC_COMM_WORLD, "-data synthetic -data_shape 65536,65536,1"), "65536");
  assert_refused(create_data(PETSC_COMM_WORLD, "-data synthetic -data_classes_keep 1"), "-data_classes_keep");
}

/* Everything that a dry run shows is known before any sample is read, however many there would be. */
static void opening_reads_no_samples(void **state)
{
  double per_node, per_rank;
  CkData data;

  (void)state;
  data = create_data(PETSC_COMM_WORLD, "-data synthetic -data_shape 3,512,512 -data_classes 1000 -data_count 1000000");
  OK(CkDataOpen(data));
  OK(CkDataMemory(data, &per_node, &per_rank));
  assert_on_all_ranks(size_of(data) == 1000000 && classes_of(data) == 1000 && has_shape(data, 3, 512, 512));
  assert_on_all_ranks(per_node + per_rank >= 4e6 * 3 * 512 * 512);
  assert_message(CkDataSetUp(data), "memory", "-data_count");
  OK(CkDataDestroy(&data));
}

static const struct CMUnitTest tests[] = {
  cmocka_unit_test(selects_in_the_documented_order),
  cmocka_unit_test(leaves_the_other_split_whole),
  cmocka_unit_test(refuses_what_lies_outside),
  cmocka_unit_test(says_why_no_format_fits),
  cmocka_unit_test(synthetic_data_have_the_promised_statistics),
  cmocka_unit_test(synthetic_samples_are_functions_of_seed_and_number),
  cmocka_unit_test(opening_reads_no_samples),
};

CK_TEST_MAIN(tests, PetscInitialize, PetscFinalize)
