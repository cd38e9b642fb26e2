#include "datatest.h"
#include <math.h>

/* The real files: counts, first labels and known numbers of each data set. Skipped where they are not. */

static PetscInt class_total(CkData data)
{
  PetscInt sum = 0;

  for (PetscInt c = 0; c < classes_of(data); ++c) sum += class_size(data, c);
  return sum;
}

static void mnist(void **state)
{
  const PetscInt first[] = {5, 0, 4, 1, 9, 2, 1, 3, 1, 4},
                 counts[] = {5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949};
  const PetscInt test_first[] = {7, 2, 1, 0, 4};
  float          x[784];
  CkData         data, test;
  int            right = 1;

  (void)state;
  need_real_data("mnist/train-images-idx3-ubyte.gz");
  data = make_data("-data %s", CLARKIA_TEST_DATA "/mnist");
  for (int k = 0; k < 10; ++k) right = right && fetch_one(data, k, x) == first[k] && class_size(data, k) == counts[k];
  assert_on_all_ranks(right && size_of(data) == 60000 && has_shape(data, 1, 28, 28) && class_total(data) == 60000);
  assert_on_all_ranks(!strcmp(description_of(data), "mnist train, images 0-59999 of 60000"));
  OK(CkDataCreateTest(data, &test));
  for (int k = 0; k < 5; ++k) right = right && fetch_one(test, k, x) == test_first[k];
  assert_on_all_ranks(right && size_of(test) == 10000 && class_size(test, 1) == 1135);
  OK(CkDataDestroy(&test));
  OK(CkDataDestroy(&data));
}

/* The data of the small networks: five digits at 7 x 7, and two digits. */
static void mnist_subsets_and_moments(void **state)
{
  double    mean = 0;
  PetscInt *labels;
  float    *x, first[784];
  CkData    data;

  (void)state;
  need_real_data("mnist/train-images-idx3-ubyte.gz");
  data = make_data("-data %s -data_classes_keep 0,1,2,3,4 -data_pool 7", CLARKIA_TEST_DATA "/mnist");
  assert_on_all_ranks(size_of(data) == 30596 && has_shape(data, 1, 7, 7) && classes_of(data) == 5);
  OK(CkDataDestroy(&data));
  data = make_data("-data %s -data_classes_keep 0,1", CLARKIA_TEST_DATA "/mnist");
  assert_on_all_ranks(size_of(data) == 12665 && class_size(data, 0) == 5923 && class_size(data, 1) == 6742);
  OK(CkDataDestroy(&data));
  /* mean 0.1307 and standard deviation 0.3081 of all pixels: the numbers everybody normalises MNIST with */
  data = make_data("-data %s -data_transform scale,standardise", CLARKIA_TEST_DATA "/mnist");
  fetch_one(data, 0, first);
  assert_close(first[0], -0.1307 / 0.3081, 2e-4, 1); /* a black pixel; the numbers have four digits */
  x = fetch_all(data, &labels);
  for (PetscInt i = 0; i < 60000 * 784; ++i) mean += x[i] / (60000.0 * 784);
  assert_close(mean, 0, 1e-6, 1);
  free(x);
  free(labels);
  OK(CkDataDestroy(&data));
}

static void cifar10(void **state)
{
  const PetscInt first[] = {6, 9, 9, 4, 1, 1, 2, 7, 8, 3}, test_first[] = {3, 8, 8, 0, 6};
  float          x[3072];
  CkData         data, test;
  int            right = 1;

  (void)state;
  need_real_data("cifar10/data_batch_1.rec0000-2999.bin");
  data = make_data("-data %s -data_transform none", CLARKIA_TEST_DATA "/cifar10");
  for (int k = 0; k < 10; ++k) right = right && fetch_one(data, k, x) == first[k];
  fetch_one(data, 0, x);
  /* the first pixel of the frog is (59, 62, 63) */
  assert_on_all_ranks(right && size_of(data) == 3000 && x[0] == 59 && x[1024] == 62 && x[2048] == 63);
  OK(CkDataCreateTest(data, &test));
  for (int k = 0; k < 5; ++k) right = right && fetch_one(test, k, x) == test_first[k];
  assert_on_all_ranks(right && size_of(test) == 500);
  OK(CkDataDestroy(&test));
  OK(CkDataDestroy(&data));
  data = make_data("-data %s", CLARKIA_TEST_DATA "/cifar10_jpeg");
  OK(CkDataCreateTest(data, &test));
  assert_on_all_ranks(size_of(data) == 10000 && class_total(data) == 10000 && size_of(test) == 2000);
  for (PetscInt c = 0; c < 10; ++c) assert_on_all_ranks(class_size(test, c) == 200);
  OK(CkDataDestroy(&test));
  OK(CkDataDestroy(&data));
}

typedef struct {
  const char *options;
  PetscInt    samples, features, classes, counts[3];
  double      first; /* feature 0 of sample 0 */
} TableCase;

/* Counts as the data sets' own descriptions give them. */
static void uci_tables(void **state)
{
  const TableCase cases[] = {
    {"-data " CLARKIA_TEST_DATA "/uci/iris.csv", 150, 4, 3, {50, 50, 50}, 5.1},
    {"-data " CLARKIA_TEST_DATA "/uci/data_banknote_authentication.txt", 1372, 4, 2, {762, 610}, 3.6216},
    {"-data " CLARKIA_TEST_DATA "/uci/optdigits.tra", 3823, 64, 10, {376, 389, 380}, 0},
    {"-data " CLARKIA_TEST_DATA "/uci/avila-tr.txt", 10430, 10, 12, {4286, 5, 103}, 0.266074},
    {"-data " CLARKIA_TEST_DATA "/uci/CTG.csv -data_class_column NSP -data_columns_drop CLASS",
     2126,
     21,
     3,
     {1655, 295, 176},
     120},
    {"-data " CLARKIA_TEST_DATA "/uci/CTG.csv -data_class_column CLASS -data_columns_drop NSP",
     2126,
     21,
     10,
     {384, 579, 53},
     120},
    {"-data " CLARKIA_TEST_DATA "/uci/Sensorless_drive_diagnosis.first5748.txt.gz",
     5748,
     48,
     2,
     {5319, 429},
     -3.0146e-07},
  };

  (void)state;
  need_real_data("uci/iris.csv");
  for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); ++i) {
    const TableCase *c = &cases[i];
    CkData           data = make_data("%s", c->options);
    float            x[64];

    fetch_one(data, 0, x);
    assert_on_all_ranks(size_of(data) == c->samples && has_shape(data, c->features, 1, 1) &&
                        classes_of(data) == c->classes && x[0] == (float)c->first);
    for (PetscInt k = 0; k < PetscMin(c->classes, 3); ++k) assert_on_all_ranks(class_size(data, k) == c->counts[k]);
    OK(CkDataDestroy(&data));
  }
}

static void uci_test_files_and_letters(void **state)
{
  CkData data, test;
  float  x[10];

  (void)state;
  need_real_data("uci/avila-tr.txt");
  data =
    make_data("-data %s -data_test %s", CLARKIA_TEST_DATA "/uci/avila-tr.txt", CLARKIA_TEST_DATA "/uci/avila-ts.txt");
  OK(CkDataCreateTest(data, &test));
  /* twelve letters A B C D E F G H I W X Y */
  assert_on_all_ranks(size_of(test) == 10437 && !strcmp(class_name(data, 8), "I") &&
                      !strcmp(class_name(data, 9), "W") && fetch_one(data, 0, x) == 0 && fetch_one(test, 0, x) == 9);
  OK(CkDataDestroy(&test));
  OK(CkDataDestroy(&data));
}

static void fashion_mnist(void **state)
{
  CkData data, test;
  float  x[784];

  (void)state;
  if (access("/usr/share/datasets/fashion-mnist/train-images-idx3-ubyte.gz", R_OK)) {
    if (world_rank() == 0) fprintf(stderr, "skipped: Debian package dataset-fashion-mnist is not installed\n");
    skip();
  }
  data = make_data("-data fashion-mnist -data_count 4000");
  OK(CkDataCreateTest(data, &test));
  assert_on_all_ranks(size_of(data) == 4000 && size_of(test) == 10000 && fetch_one(data, 0, x) == 9 &&
                      fetch_one(data, 1, x) == 0 && !strcmp(class_name(data, 9), "Ankle boot"));
  assert_on_all_ranks(!strcmp(description_of(data), "Fashion-MNIST train, images 0-3999 of 60000"));
  OK(CkDataDestroy(&test));
  OK(CkDataDestroy(&data));
}

static const struct CMUnitTest tests[] = {
  cmocka_unit_test(mnist),      cmocka_unit_test(mnist_subsets_and_moments),  cmocka_unit_test(cifar10),
  cmocka_unit_test(uci_tables), cmocka_unit_test(uci_test_files_and_letters), cmocka_unit_test(fashion_mnist),
};

CK_TEST_MAIN(tests, PetscInitialize, PetscFinalize)
