#include "datatest.h"
#include "formats.h"
#include <sys/stat.h>

/* The CIFAR readers: one file, several, folders, both labels of CIFAR-100, and broken files. */

static void write_records(const char name[], int n, int label_bytes)
{
  Bytes b = cifar_records(n, label_bytes);

  write_file(name, b.bytes, b.n);
  free(b.bytes);
}

static void make_folder(const char name[])
{
  const char *path = path_of(name);

  if (world_rank() == 0 && mkdir(path, 0700)) abort();
  MPI_Barrier(PETSC_COMM_WORLD);
}

/* Sample k of the data set is record k - shift of its file. */
static int is_record(CkData data, int k, int shift, int classes)
{
  float x[3072];
  int   right = fetch_one(data, k, x) == (k - shift) % classes;

  for (int j = 0; j < 3072; ++j) right = right && x[j] == (float)pixel(k - shift, j);
  return right;
}

static void reads_one_file_and_several(void **state)
{
  CkData data, test;
  int    right = 1;

  (void)state;
  write_records("a.bin", 7, 1);
  write_records("b.bin", 12, 1);
  data = make_data("-data %s -data_transform none", path_of("a.bin"));
  for (int k = 0; k < 7; ++k) right = right && is_record(data, k, 0, 10);
  assert_on_all_ranks(right && size_of(data) == 7 && classes_of(data) == 10 && has_shape(data, 3, 32, 32));
  assert_on_all_ranks(!strcmp(class_name(data, 9), "truck") &&
                      strstr(description_of(data), "CIFAR-10 train, images 0-6"));
  OK(CkDataDestroy(&data));
  data =
    make_data("-data %s,%s -data_test %s -data_transform none", path_of("a.bin"), path_of("b.bin"), path_of("b.bin"));
  for (int k = 0; k < 19; ++k) right = right && is_record(data, k, k < 7 ? 0 : 7, 10);
  OK(CkDataCreateTest(data, &test));
  for (int k = 0; k < 12; ++k) right = right && is_record(test, k, 0, 10);
  assert_on_all_ranks(right && size_of(data) == 19 && size_of(test) == 12);
  OK(CkDataDestroy(&test));
  OK(CkDataDestroy(&data));
}

static void reads_folders_in_the_order_of_names(void **state)
{
  CkData data, test;
  int    right = 1;

  (void)state;
  make_folder("ten");
  write_records("ten/data_batch_2.bin", 5, 1);
  write_records("ten/data_batch_1.bin", 3, 1);
  write_records("ten/test_batch.bin", 4, 1);
  data = make_data("-data %s -data_transform none", path_of("ten"));
  for (int k = 0; k < 8; ++k) right = right && is_record(data, k, k < 3 ? 0 : 3, 10);
  OK(CkDataCreateTest(data, &test));
  assert_on_all_ranks(right && size_of(data) == 8 && size_of(test) == 4);
  OK(CkDataDestroy(&test));
  OK(CkDataDestroy(&data));
}

static void reads_both_labels_of_cifar100(void **state)
{
  char   names[100 * 8] = "";
  CkData data, test;
  int    right = 1;

  (void)state;
  make_folder("hundred");
  write_records("hundred/train.bin", 130, 2);
  write_records("hundred/test.bin", 101, 2);
  for (int i = 0; i < 100; ++i) snprintf(names + strlen(names), 8, "f%d\n", i);
  write_text("hundred/fine_label_names.txt", names);
  data = make_data("-data %s -data_transform none", path_of("hundred"));
  for (int k = 0; k < 130; ++k) right = right && is_record(data, k, 0, 100);
  OK(CkDataCreateTest(data, &test));
  assert_on_all_ranks(right && classes_of(data) == 100 && size_of(test) == 101 && !strcmp(class_name(data, 42), "f42"));
  OK(CkDataDestroy(&test));
  OK(CkDataDestroy(&data));
  data = make_data("-data %s -data_transform none -data_cifar_labels coarse", path_of("hundred"));
  for (int k = 0; k < 130; ++k) right = right && is_record(data, k, 0, 20);
  assert_on_all_ranks(right && classes_of(data) == 20 && class_size(data, 0) == 7 && class_name(data, 0)[0] == '\0');
  OK(CkDataDestroy(&data));
}

static void refuses_broken_files(void **state)
{
  Bytes b = cifar_records(4, 1);

  (void)state;
  write_file("cut.bin", b.bytes, b.n - 10);
  assert_refused(create_data(PETSC_COMM_WORLD, "-data %s", path_of("cut.bin")), "cut.bin", "12282", "3073");
  write_file("long.bin", b.bytes, b.n - 3072);
  assert_refused(create_data(PETSC_COMM_WORLD, "-data %s", path_of("long.bin")), "long.bin", "over-long", "1 too many");
  write_file("empty.bin", b.bytes, 0);
  assert_refused(create_data(PETSC_COMM_WORLD, "-data %s -data_format cifar10", path_of("empty.bin")), "empty.bin",
                 "empty");
  assert_refused(create_data(PETSC_COMM_WORLD, "-data %s,%s", path_of("a.bin"), path_of("gone.bin")), "gone.bin",
                 "No such file");
  b.bytes[3073 * 2] = 10;
  write_file("label.bin", b.bytes, b.n);
  assert_refused(create_data(PETSC_COMM_WORLD, "-data %s,%s", path_of("a.bin"), path_of("label.bin")), "label.bin",
                 "sample 2", "label 10", "0 .. 9");
  write_records("c.bin", 5, 2);
  assert_refused(create_data(PETSC_COMM_WORLD, "-data %s -data_format cifar10", path_of("c.bin")), "c.bin", "3073");
  assert_refused(create_data(PETSC_COMM_WORLD, "-data %s -data_class_column 3", path_of("a.bin")), "-data_class_column",
                 "cifar10");
  free(b.bytes);
}

/* A test split of another kind than the training split. */
static void refuses_a_test_split_of_another_kind(void **state)
{
  CkData data, test;

  (void)state;
  data = make_data("-data %s -data_test %s -data_format cifar10", path_of("a.bin"), path_of("c.bin"));
  assert_message(CkDataCreateTest(data, &test), "c.bin", "3073");
  OK(CkDataDestroy(&data));
}

static const struct CMUnitTest tests[] = {
  cmocka_unit_test(reads_one_file_and_several),           cmocka_unit_test(reads_folders_in_the_order_of_names),
  cmocka_unit_test(reads_both_labels_of_cifar100),        cmocka_unit_test(refuses_broken_files),
  cmocka_unit_test(refuses_a_test_split_of_another_kind),
};

CK_TEST_MAIN(tests, PetscInitialize, PetscFinalize)
