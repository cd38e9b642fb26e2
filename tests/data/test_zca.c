#include "datatest.h"

/* ZCA whitening, y = W (x - mean) with W = (C + eps)^(-1/2): matrix identities over the training split, which hold for
   this W and no other: cov(y) = C (C + eps)^-1, that is lambda / (lambda + eps) along each eigenvector of C, and
   cov(x, y) = C W symmetric with (C W)^2 = C cov(y) (a rotation of W would leave cov(y) whitened all the same). */

enum { SAMPLES = 700, SIZE = 300 }; /* more than one tile of the covariance and more than one piece of the samples */

static const char source[] = "-data synthetic -data_shape 3,10,10 -data_classes 4 -data_count 700";

/* out [size x size] = (1/n) sum (a - mean a)(b - mean b)' */
static void covariance(int n, int size, const float *a, const float *b, double *out)
{
  double *means = calloc((size_t)size * 2, sizeof(double)), *centred = malloc((size_t)size * 2 * sizeof(double));

  if (!means || !centred) abort();
  for (int k = 0; k < n; ++k)
    for (int j = 0; j < size; ++j) {
      means[j] += a[k * size + j] / (double)n;
      means[size + j] += b[k * size + j] / (double)n;
    }
  memset(out, 0, (size_t)size * (size_t)size * sizeof(double));
  for (int k = 0; k < n; ++k) {
    for (int j = 0; j < size; ++j) {
      centred[j] = a[k * size + j] - means[j];
      centred[size + j] = b[k * size + j] - means[size + j];
    }
    for (int i = 0; i < size; ++i)
      for (int j = 0; j < size; ++j) out[i * size + j] += centred[i] * centred[size + j] / n;
  }
  free(means);
  free(centred);
}

/* largest |A B - C D| over the largest |C D|; add: added to the diagonal of B */
static double product_difference(int size, const double *A, const double *B, double add, const double *C,
                                 const double *D)
{
  double worst = 0, scale = 0;

  for (int i = 0; i < size; ++i)
    for (int j = 0; j < size; ++j) {
      double left = add * A[i * size + j], right = 0;

      for (int k = 0; k < size; ++k) {
        left += A[i * size + k] * B[k * size + j];
        if (D) right += C[i * size + k] * D[k * size + j];
      }
      if (!D) right = C[i * size + j];
      worst = fmax(worst, fabs(left - right));
      scale = fmax(scale, fabs(right));
    }
  return worst / scale;
}

static void whitens_as_defined(void **state)
{
  const double eps = 0.3;
  double      *cov = malloc(3 * sizeof(double) * SIZE * SIZE), *white, *cross, asymmetry = 0;
  float       *x, *y;
  PetscInt    *labels;
  CkData       raw, data;

  (void)state;
  if (!cov) abort();
  white = cov + SIZE * SIZE;
  cross = white + SIZE * SIZE;
  raw = make_data("%s", source);
  data = make_data("%s -data_transform zca -data_zca_epsilon 0.3", source);
  x = fetch_all(raw, &labels);
  free(labels);
  y = fetch_all(data, &labels);
  free(labels);
  covariance(SAMPLES, SIZE, x, x, cov);
  covariance(SAMPLES, SIZE, y, y, white);
  covariance(SAMPLES, SIZE, x, y, cross);
  for (int i = 0; i < SIZE; ++i)
    for (int j = 0; j < i; ++j) asymmetry = fmax(asymmetry, fabs(cross[i * SIZE + j] - cross[j * SIZE + i]));
  /* float32 samples: 6e-8 a number, averaged */
  assert_close(product_difference(SIZE, white, cov, eps, cov, NULL), 0, 1e-6, 1);
  assert_close(product_difference(SIZE, cross, cross, 0, cov, white), 0, 1e-6, 1);
  assert_close(asymmetry, 0, 1e-6, 1);
  free(x);
  free(y);
  free(cov);
  OK(CkDataDestroy(&data));
  OK(CkDataDestroy(&raw));
}

/* The test split is moved and whitened by the training split's mean and W: W x is linear, so W (x - y) of two samples
   of the training split tells W, and the test split must follow it. Here: the same rows as test and training split. */
static void whitens_the_test_split_with_the_training_numbers(void **state)
{
  char   text[4000] = "";
  float  x[2], y[2];
  CkData data, test;

  (void)state;
  for (int k = 0; k < 50; ++k) snprintf(text + strlen(text), 64, "%d,%g,a\n%d,%g,b\n", k, sin(k), -k, 2 + cos(k));
  write_text("rows", text);
  write_text("two", "3,1,a\n-3,4,b\n");
  data =
    make_data("-data %s -data_test %s -data_transform zca -data_zca_epsilon 0.01", path_of("rows"), path_of("two"));
  OK(CkDataCreateTest(data, &test));
  fetch_one(test, 0, x);
  fetch_one(data, 6, y); /* row "3,sin 3,a" differs in the second feature alone */
  {
    float  a[2], b[2]; /* rows "0,sin 0" and "0, 2 + cos 0": W's second column, from the training split */
    double w[2];

    fetch_one(data, 0, a);
    fetch_one(data, 1, b);
    for (int j = 0; j < 2; ++j) w[j] = (b[j] - a[j]) / 3.0;
    for (int j = 0; j < 2; ++j) assert_close(x[j], y[j] + w[j] * (1 - sin(3)), 1e-5, 1);
  }
  OK(CkDataDestroy(&test));
  OK(CkDataDestroy(&data));
}

/* The same bits on one rank and on all. */
static void bits_do_not_depend_on_the_number_of_ranks(void **state)
{
  CkData all = make_data("%s -data_transform gcn,zca,standardise", source);
  CkData one = make_data_on(PETSC_COMM_SELF, "%s -data_transform gcn,zca,standardise", source);

  (void)state;
  assert_on_all_ranks(checksum_of(all) == checksum_of(one));
  OK(CkDataDestroy(&one));
  OK(CkDataDestroy(&all));
}

static void refuses_samples_that_are_too_large(void **state)
{
  (void)state;
  assert_refused(
    create_data(PETSC_COMM_WORLD, "-data synthetic -data_shape 3,128,128 -data_count 20 -data_transform zca"), "zca",
    "49152", "32766", "-data_pool");
}

static const struct CMUnitTest tests[] = {
  cmocka_unit_test(whitens_as_defined),
  cmocka_unit_test(whitens_the_test_split_with_the_training_numbers),
  cmocka_unit_test(bits_do_not_depend_on_the_number_of_ranks),
  cmocka_unit_test(refuses_samples_that_are_too_large),
};

CK_TEST_MAIN(tests, PetscInitialize, PetscFinalize)
