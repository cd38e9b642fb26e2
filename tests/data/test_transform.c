#include "datatest.h"
#include "formats.h"

/* Transforms, each against its definition, on small images of bytes and on tables. */

enum { N = 30, H = 4, W = 6, SIZE = H * W };

static const char *write_images(void)
{
  Bytes images = idx_images(N, H, W), labels = idx_labels(N, 3);

  write_file("labels", labels.bytes, labels.n);
  free(labels.bytes);
  write_file("images", images.bytes, images.n);
  free(images.bytes);
  return path_of("images");
}

static CkData images(const char options[])
{
  const char *path = write_images();

  return make_data("-data %s -data_labels %s %s", path, path_of("labels"), options);
}

static void scales_bytes_by_255(void **state)
{
  const char *options[] = {"", "-data_transform auto", "-data_transform scale"};

  (void)state;
  for (int i = 0; i < 3; ++i) {
    CkData data = images(options[i]);
    double worst = 0;
    float  x[SIZE];

    for (int k = 0; k < N; ++k) {
      fetch_one(data, k, x);
      for (int j = 0; j < SIZE; ++j) worst = fmax(worst, fabs(x[j] - pixel(k, j) / 255.0));
    }
    assert_close(worst, 0, 1e-7, 1); /* one rounding of 1/255 and one of the product */
    OK(CkDataDestroy(&data));
  }
}

/* Per channel of images: one mean over all pixels. */
static void standardises_images_per_channel(void **state)
{
  const char *options[] = {"-data_transform standardise", "-data_transform scale,standardise"};
  double      mean = 0, square = 0, deviation;

  (void)state;
  for (int k = 0; k < N; ++k)
    for (int j = 0; j < SIZE; ++j) mean += pixel(k, j) / (double)(N * SIZE);
  for (int k = 0; k < N; ++k)
    for (int j = 0; j < SIZE; ++j) square += pow(pixel(k, j) - mean, 2) / (N * SIZE);
  deviation = sqrt(square);
  for (int i = 0; i < 2; ++i) {
    CkData data = images(options[i]);
    double worst = 0;
    float  x[SIZE];

    for (int k = 0; k < N; ++k) {
      fetch_one(data, k, x);
      for (int j = 0; j < SIZE; ++j) worst = fmax(worst, fabs(x[j] - (pixel(k, j) - mean) / deviation));
    }
    assert_close(worst, 0, 1e-6, 1);
    OK(CkDataDestroy(&data));
  }
}

/* Per feature of tables, by the training rows, also for the test rows; constant features become 0. */
static void standardises_and_scales_tables_per_feature(void **state)
{
  const char  *training = write_text("training", "1,10,5,a\n2,20,5,b\n3,60,5,a\n"), *path;
  const double expected[2][3] = {{(5 - 2) / sqrt(2.0 / 3), (30 - 30) / sqrt(1400.0 / 3), 1}, {2, 0.4, 1}};
  const char  *options[] = {"standardise", "scale"};
  float        x[3];
  CkData       data, test;

  (void)state;
  path = write_text("test", "5,30,6,a\n");
  for (int i = 0; i < 2; ++i) {
    data = make_data("-data %s -data_test %s -data_transform %s", training, path, options[i]);
    OK(CkDataCreateTest(data, &test));
    fetch_one(test, 0, x);
    for (int j = 0; j < 3; ++j) assert_close(x[j], expected[i][j], 1e-6, 1);
    fetch_one(data, 1, x);
    assert_on_all_ranks(x[2] == 0);
    OK(CkDataDestroy(&data)); /* the test split keeps what it borrowed */
    fetch_one(test, 0, x);
    assert_close(x[0], expected[i][0], 1e-6, 1);
    OK(CkDataDestroy(&test));
    /* opened by itself, the test split is fitted on the training split all the same */
    test = make_data("-data %s -data_test %s -data_transform %s -data_split test", training, path, options[i]);
    fetch_one(test, 0, x);
    for (int j = 0; j < 3; ++j) assert_close(x[j], expected[i][j], 1e-6, 1);
    OK(CkDataDestroy(&test));
  }
}

static double block_mean(int k, int i, int j, int height, int width)
{
  double sum = 0;

  for (int a = 0; a < height; ++a)
    for (int b = 0; b < width; ++b) sum += pixel(k, (i * height + a) * W + j * width + b);
  return sum / (height * width);
}

/* Means of whole numbers over 4 or 6 pixels, rounded once: exact to the last bit without scaling. */
static void pools_by_exact_means(void **state)
{
  CkData data = images("-data_pool 2,3 -data_transform none");
  float  x[SIZE];
  int    right = has_shape(data, 1, 2, 3);

  (void)state;
  for (int k = 0; k < N; ++k) {
    fetch_one(data, k, x);
    for (int i = 0; i < 2; ++i)
      for (int j = 0; j < 3; ++j) right = right && x[i * 3 + j] == (float)block_mean(k, i, j, 2, 2);
  }
  assert_on_all_ranks(right);
  OK(CkDataDestroy(&data));
  data = images("-data_pool 2"); /* then scaled by 255, since the pixels were bytes */
  for (int k = 0; k < N; ++k) {
    fetch_one(data, k, x);
    for (int i = 0; i < 4; ++i) right = right && fabs(x[i] - block_mean(k, i / 2, i % 2, 2, 3) / 255) < 1e-7;
  }
  assert_on_all_ranks(right && has_shape(data, 1, 2, 2));
  OK(CkDataDestroy(&data));
  /* before or after the scaling: the same */
  for (int order = 0; order < 2; ++order) {
    data = images(order ? "-data_pool 2 -data_transform scale,pool" : "-data_pool 2 -data_transform pool,scale");
    fetch_one(data, 3, x);
    assert_close(x[2], block_mean(3, 1, 0, 2, 3) / 255, 1e-7, 1);
    OK(CkDataDestroy(&data));
  }
}

static void normalises_contrast_of_each_sample(void **state)
{
  CkData data = images("-data_transform scale,gcn");
  float  x[SIZE];

  (void)state;
  for (int k = 0; k < N; ++k) {
    double mean = 0, square = 0, first = 0, own = 0;

    fetch_one(data, k, x);
    for (int j = 0; j < SIZE; ++j) {
      mean += x[j] / SIZE;
      own += pixel(k, j) / (double)SIZE;
    }
    for (int j = 0; j < SIZE; ++j) {
      square += (x[j] - mean) * (x[j] - mean) / SIZE;
      first += pow(pixel(k, j) - own, 2) / SIZE;
    }
    assert_close(mean, 0, 1e-6, 1);
    assert_close(square, 1, 1e-5, 1);
    assert_close(x[0], (pixel(k, 0) - own) / sqrt(first), 1e-5, 1);
  }
  OK(CkDataDestroy(&data));
}

static void refuses_transforms_that_do_not_fit(void **state)
{
  const char *path = write_images(), *labels = path_of("labels");

  (void)state;
#define WITH(options) create_data(PETSC_COMM_WORLD, "-data %s -data_labels %s " options, path, labels)
  assert_refused(WITH("-data_pool 3"), "-data_pool 3,3", "4 x 6");
  assert_refused(WITH("-data_pool 8,12"), "-data_pool 8,12", "4 x 6");
  assert_refused(WITH("-data_transform pool"), "-data_pool");
  assert_refused(WITH("-data_transform blur"), "blur", "pool, scale, standardise, gcn, zca");
  assert_refused(WITH("-data_transform gcn,gcn"), "gcn", "twice");
  assert_refused(WITH("-data_transform scale,"), "-data_transform");
}

static const struct CMUnitTest tests[] = {
  cmocka_unit_test(scales_bytes_by_255),
  cmocka_unit_test(standardises_images_per_channel),
  cmocka_unit_test(standardises_and_scales_tables_per_feature),
  cmocka_unit_test(pools_by_exact_means),
  cmocka_unit_test(normalises_contrast_of_each_sample),
  cmocka_unit_test(refuses_transforms_that_do_not_fit),
};

CK_TEST_MAIN(tests, PetscInitialize, PetscFinalize)
