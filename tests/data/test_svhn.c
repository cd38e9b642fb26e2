#include "datatest.h"
#include "formats.h"
#include <matio.h>
#include <sys/stat.h>

/* The SVHN reader on files that libmatio writes: X [H, W, C, N] in MATLAB's order, y [N, 1] with 10 for the digit 0. */

enum { H = 32, W = 32, C = 3 };

static unsigned char value(int k, int c, int h, int w)
{
  return pixel(k, (c * H + h) * W + w);
}

typedef struct {
  int                    n, labels;   /* images, labels */
  int                    odd_label;   /* label of sample 2, 0: as the others */
  enum matio_classes     label_class; /* MAT_C_UINT8 or MAT_C_DOUBLE */
  enum matio_compression compression;
  enum mat_ft            version;
  const char            *x, *y; /* names of the variables */
  int                    labels_first;
} Svhn;

static const Svhn plain = {.n = 14,
                           .labels = 14,
                           .label_class = MAT_C_UINT8,
                           .compression = MAT_COMPRESSION_ZLIB,
                           .version = MAT_FT_MAT5,
                           .x = "X",
                           .y = "y"};

static void write_variable(mat_t *file, const char name[], enum matio_classes class, int rank, size_t dims[],
                           void *data, enum matio_compression compression)
{
  matvar_t *v = Mat_VarCreate(name, class, class == MAT_C_UINT8 ? MAT_T_UINT8 : MAT_T_DOUBLE, rank, dims, data,
                              MAT_F_DONT_COPY_DATA);

  if (!v || Mat_VarWrite(file, v, compression)) abort();
  Mat_VarFree(v);
}

static void write_mat(const char path[], const Svhn *s)
{
  unsigned char *X = malloc((size_t)(s->n * C * W * H)), *bytes = malloc((size_t)s->labels), *at = X;
  double        *reals = malloc((size_t)s->labels * sizeof(double));
  size_t         xdims[4] = {H, W, C, (size_t)s->n}, ydims[2] = {(size_t)s->labels, 1};
  mat_t         *file = Mat_CreateVer(path, NULL, s->version);

  if (!X || !bytes || !reals || !file) abort();
  for (int k = 0; k < s->n; ++k)
    for (int c = 0; c < C; ++c)
      for (int w = 0; w < W; ++w)
        for (int h = 0; h < H; ++h) *at++ = value(k, c, h, w);
  for (int k = 0; k < s->labels; ++k) {
    const int label = k == 2 && s->odd_label ? s->odd_label : k % 10 ? k % 10 : 10;

    bytes[k] = (unsigned char)label;
    reals[k] = label;
  }
  for (int i = 0; i < 2; ++i) {
    if (i == s->labels_first) write_variable(file, s->x, MAT_C_UINT8, 4, xdims, X, s->compression);
    else if (s->label_class == MAT_C_UINT8) write_variable(file, s->y, MAT_C_UINT8, 2, ydims, bytes, s->compression);
    else write_variable(file, s->y, MAT_C_DOUBLE, 2, ydims, reals, s->compression);
  }
  Mat_Close(file);
  free(X);
  free(bytes);
  free(reals);
}

static CkData svhn(Svhn s)
{
  const char *path = path_of("digits.mat");

  MPI_Barrier(PETSC_COMM_WORLD);
  if (world_rank() == 0) write_mat(path, &s);
  MPI_Barrier(PETSC_COMM_WORLD);
  return create_data(PETSC_COMM_WORLD, "-data %s -data_transform none", path);
}

static int is_digit(CkData data, int sample, int k)
{
  float x[C * H * W];
  int   right = fetch_one(data, sample, x) == k % 10;

  for (int c = 0; c < C; ++c)
    for (int h = 0; h < H; ++h)
      for (int w = 0; w < W; ++w) right = right && x[(c * H + h) * W + w] == (float)value(k, c, h, w);
  return right;
}

static void assert_digits(CkData data)
{
  int right;

  OK(CkDataSetUp(data));
  right = size_of(data) == 14 && classes_of(data) == 10 && has_shape(data, C, H, W);
  for (int k = 0; k < 14; ++k) right = right && is_digit(data, k, k);
  assert_on_all_ranks(right);
  OK(CkDataDestroy(&data));
}

static void reads_compressed_and_plain_files_of_both_versions(void **state)
{
  Svhn s = plain;

  (void)state;
  assert_digits(svhn(s));
  s.compression = MAT_COMPRESSION_NONE;
  s.label_class = MAT_C_DOUBLE;
  assert_digits(svhn(s));
  s.version = MAT_FT_MAT73;
  assert_digits(svhn(s));
}

static void reads_a_folder_with_both_splits_and_a_class_subset(void **state)
{
  Svhn   s = plain;
  CkData data, test;

  (void)state;
  if (world_rank() == 0) {
    if (mkdir(path_of("svhn"), 0700)) abort();
    write_mat(path_of("svhn/train_32x32.mat"), &s);
    s.n = s.labels = 11;
    write_mat(path_of("svhn/test_32x32.mat"), &s);
  }
  MPI_Barrier(PETSC_COMM_WORLD);
  data = make_data("-data %s -data_transform none -data_classes_keep 3,0", path_of("svhn"));
  OK(CkDataCreateTest(data, &test));
  assert_on_all_ranks(size_of(data) == 4 && class_size(data, 0) == 2 && size_of(test) == 3 && class_size(test, 0) == 1);
  OK(CkDataDestroy(&test));
  OK(CkDataDestroy(&data));
}

static void refuses_broken_files(void **state)
{
  Svhn s = plain;

  (void)state;
  s.odd_label = 11;
  assert_refused(svhn(s), "digits.mat", "label 2", "11", "1 .. 10");
  s = plain;
  s.labels = 13;
  assert_refused(svhn(s), "14 images", "13 labels");
  s = plain;
  s.x = "images";
  assert_refused(svhn(s), "no variable X");
  s = plain;
  s.y = "labels";
  assert_refused(svhn(s), "no readable variable y");
  OK(PetscOptionsClear(NULL));
  write_text("text.mat", "MATLAB is not what this is");
  assert_refused(create_data(PETSC_COMM_WORLD, "-data %s", path_of("text.mat")), "text.mat");
}

/* With the labels before the images, so that the labels are whole. */
static void refuses_truncated_files(void **state)
{
  const char *path = path_of("digits.mat");
  Svhn        s = plain;

  (void)state;
  s.labels_first = 1;
  for (int compressed = 0; compressed < 2; ++compressed) {
    s.compression = compressed ? MAT_COMPRESSION_ZLIB : MAT_COMPRESSION_NONE;
    MPI_Barrier(PETSC_COMM_WORLD);
    if (world_rank() == 0) {
      struct stat status;

      write_mat(path, &s);
      if (stat(path, &status) || truncate(path, status.st_size - status.st_size / 4)) abort();
    }
    MPI_Barrier(PETSC_COMM_WORLD);
    assert_refused(create_data(PETSC_COMM_WORLD, "-data %s", path), "digits.mat", "truncated");
  }
}

/* One bit of the compressed images. */
static void refuses_corrupt_compression(void **state)
{
  const char *path = path_of("digits.mat");
  Svhn        s = plain;

  (void)state;
  for (int at = 2; at < 6; ++at) {
    MPI_Barrier(PETSC_COMM_WORLD);
    if (world_rank() == 0) {
      struct stat status;
      FILE       *file;
      int         byte;

      write_mat(path, &s);
      file = fopen(path, "r+b");
      if (!file || stat(path, &status) || fseek(file, status.st_size * at / 8, SEEK_SET)) abort();
      byte = fgetc(file) ^ 4;
      if (fseek(file, -1, SEEK_CUR) || fputc(byte, file) != byte || fclose(file)) abort();
    }
    MPI_Barrier(PETSC_COMM_WORLD);
    assert_refused(create_data(PETSC_COMM_WORLD, "-data %s", path), "digits.mat", "corrupt");
  }
}

static const struct CMUnitTest tests[] = {
  cmocka_unit_test(reads_compressed_and_plain_files_of_both_versions),
  cmocka_unit_test(reads_a_folder_with_both_splits_and_a_class_subset),
  cmocka_unit_test(refuses_broken_files),
  cmocka_unit_test(refuses_truncated_files),
  cmocka_unit_test(refuses_corrupt_compression),
};

CK_TEST_MAIN(tests, PetscInitialize, PetscFinalize)
