#include "datatest.h"
#include "formats.h"
#include <reader.h>

/* The IDX reader: files as they should be, and each way in which they are not. */

enum { N = 23, H = 4, W = 3, CLASSES = 5 };

static void write_pair(const char images[], const char labels[], PetscBool gzip)
{
  Bytes i = idx_images(N, H, W), l = idx_labels(N, CLASSES), zi = gzip_of(i), zl = gzip_of(l);

  write_file(images, gzip ? zi.bytes : i.bytes, gzip ? zi.n : i.n);
  write_file(labels, gzip ? zl.bytes : l.bytes, gzip ? zl.n : l.n);
  free(i.bytes);
  free(l.bytes);
  free(zi.bytes);
  free(zl.bytes);
}

static void assert_content(CkData data)
{
  int right = size_of(data) == N && classes_of(data) == CLASSES && has_shape(data, 1, H, W);

  for (int k = 0; k < N && right; ++k) {
    float x[H * W];

    right = fetch_one(data, k, x) == k % CLASSES;
    for (int j = 0; j < H * W; ++j) right = right && x[j] == (float)pixel(k, j);
  }
  assert_on_all_ranks(right);
}

static void reads_files_and_folders_plain_and_gzip(void **state)
{
  CkData data, test;

  (void)state;
  for (int gzip = 0; gzip < 2; ++gzip) {
    write_pair("images", "labels", (PetscBool)gzip);
    data = make_data("-data %s -data_labels %s -data_transform none", path_of("images"), path_of("labels"));
    assert_content(data);
    OK(CkDataCreateTest(data, &test));
    assert_on_all_ranks(test == NULL);
    OK(CkDataDestroy(&data));
  }
  write_pair("train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte", PETSC_TRUE);
  data = make_data("-data %s -data_transform none", folder);
  assert_content(data);
  OK(CkDataCreateTest(data, &test));
  assert_on_all_ranks(test == NULL);
  OK(CkDataDestroy(&data));
  write_pair("t10k-images.idx3-ubyte", "t10k-labels.idx1-ubyte.gz", PETSC_FALSE);
  data = make_data("-data %s/ -data_split test -data_transform none", folder);
  assert_content(data);
  OK(CkDataDestroy(&data));
  remove_file("t10k-labels.idx1-ubyte.gz");
  assert_refused(create_data(PETSC_COMM_WORLD, "-data %s -data_split test", folder), "t10k-labels-idx1-ubyte");
}

/* [N, n] and [N, C, H, W], uint8 and float32 */
static void reads_other_axes_and_float32(void **state)
{
  const float   values[] = {-1.5f, 0.25f, 3e8f, 1e-20f, 7, -0.0f};
  unsigned char bytes[64] = {0, 0, 0x0D, 4, 0, 0, 0, 1, 0, 0, 0, 3, 0, 0, 0, 1, 0, 0, 0, 2};
  unsigned char flat[] = {0, 0, 8, 2, 0, 0, 0, 2, 0, 0, 0, 3, 1, 2, 3, 4, 5, 6}, label[] = {0, 0, 8, 1, 0, 0, 0, 1, 0};
  unsigned char labels[] = {0, 0, 8, 1, 0, 0, 0, 2, 1, 0};
  float         x[6];
  CkData        data;

  (void)state;
  for (int i = 0; i < 6; ++i) {
    uint32_t word;

    memcpy(&word, &values[i], 4);
    put_big_endian(bytes + 20 + 4 * i, word);
  }
  write_file("float", bytes, 44);
  write_file("label", label, sizeof(label));
  data = make_data("-data %s -data_labels %s", path_of("float"), path_of("label"));
  assert_on_all_ranks(has_shape(data, 3, 1, 2) && fetch_one(data, 0, x) == 0 && same_bits(x, values, sizeof(x)));
  OK(CkDataDestroy(&data));
  write_file("flat", flat, sizeof(flat));
  write_file("labels", labels, sizeof(labels));
  data = make_data("-data %s -data_labels %s -data_transform none", path_of("flat"), path_of("labels"));
  assert_on_all_ranks(has_shape(data, 3, 1, 1) && fetch_one(data, 1, x) == 0 && x[0] == 4 && x[2] == 6);
  OK(CkDataDestroy(&data));
}

static CkData images_and_labels(Bytes images, Bytes labels)
{
  write_file("images", images.bytes, images.n);
  write_file("labels", labels.bytes, labels.n);
  return create_data(PETSC_COMM_WORLD, "-data %s -data_labels %s -data_format idx", path_of("images"),
                     path_of("labels"));
}

static void refuses_wrong_lengths(void **state)
{
  Bytes i = idx_images(N, H, W), l = idx_labels(N, CLASSES), z = gzip_of(i);

  (void)state;
  i.n -= 1;
  assert_refused(images_and_labels(i, l), "images", "truncated", "292", "291");
  i.n += 2;
  assert_refused(images_and_labels(i, l), "images", "over-long", "292", "293");
  i.n = 3;
  assert_refused(images_and_labels(i, l), "images", "truncated");
  i.n = 0;
  assert_refused(images_and_labels(i, l), "images", "empty");
  i.n = 16 + N * H * W;
  l.n -= 1;
  assert_refused(images_and_labels(i, l), "labels", "truncated");
  l.n += 2;
  assert_refused(images_and_labels(i, l), "labels", "over-long");
  l.n = 8 + N;
  put_big_endian(l.bytes + 4, N - 1);
  l.n = 8 + N - 1;
  assert_refused(images_and_labels(i, l), "23 images", "22 labels", "belong together");
  z.n -= 5; /* inside gzip's own checksum */
  l.n = 8 + N;
  put_big_endian(l.bytes + 4, N);
  assert_refused(images_and_labels(z, l), "images", "gzip");
  z.n /= 2;
  assert_refused(images_and_labels(z, l), "images", "truncated gzip");
  free(i.bytes);
  free(l.bytes);
  free(z.bytes);
}

/* A gzip file does not show its length: it is found while reading, also where only the first sample is asked for. */
static void refuses_gzip_files_of_wrong_length_or_content(void **state)
{
  Bytes i = idx_images(N, H, W), l = idx_labels(N, CLASSES), z;

  (void)state;
  put_big_endian(i.bytes + 4, N - 1);
  put_big_endian(l.bytes + 4, N - 1);
  l.n -= 1;
  z = gzip_of(i);
  write_file("images", z.bytes, z.n);
  write_file("labels", l.bytes, l.n);
  assert_refused(create_data(PETSC_COMM_WORLD, "-data %s -data_labels %s", path_of("images"), path_of("labels")),
                 "images", "over-long");
  assert_refused(
    create_data(PETSC_COMM_WORLD, "-data %s -data_labels %s -data_count 1", path_of("images"), path_of("labels")),
    "images", "over-long");
  free(z.bytes);
  put_big_endian(i.bytes + 4, N + 1);
  put_big_endian(l.bytes + 4, N + 1);
  l.n += 2; /* the byte behind is 0 */
  z = gzip_of(i);
  assert_refused(images_and_labels(z, l), "images", "truncated", "304", "292");
  free(z.bytes);
  put_big_endian(i.bytes + 4, N);
  put_big_endian(l.bytes + 4, N);
  l.n -= 1;
  z = gzip_of(i);
  z.bytes[z.n - 6] ^= 1; /* checksum */
  assert_refused(images_and_labels(z, l), "images", "corrupt gzip");
  z.bytes[10] = 0xff; /* the first block: no byte can be read, and the format is not asked for */
  write_file("images", z.bytes, z.n);
  write_file("labels", l.bytes, l.n);
  assert_refused(create_data(PETSC_COMM_WORLD, "-data %s -data_labels %s", path_of("images"), path_of("labels")),
                 "images", "corrupt gzip");
  assert_refused(create_data(PETSC_COMM_WORLD, "-data %s", path_of("images")), "images", "corrupt gzip");
  free(z.bytes);
  free(i.bytes);
  free(l.bytes);
}

/* Two gzip files one after the other, `gap` zeros between and behind them. */
static Bytes joined(Bytes a, Bytes b, size_t gap)
{
  Bytes all = new_bytes(a.n + b.n + 2 * gap);

  memcpy(all.bytes, a.bytes, a.n);
  if (b.n > 0) memcpy(all.bytes + a.n + gap, b.bytes, b.n);
  return all;
}

/* Several members and padding with zeros are gzip; anything else behind the end is not. */
static void gzip_files_end_where_they_should(void **state)
{
  Bytes  i = idx_images(N, H, W), l = idx_labels(N, CLASSES), z = gzip_of(i), front = i, back = i, junk = {0}, all;
  Bytes  parts[2];
  CkData data;

  (void)state;
  front.n = 100;
  back.bytes += 100;
  back.n -= 100;
  parts[0] = gzip_of(front);
  parts[1] = gzip_of(back);
  for (int gap = 0; gap < 2; ++gap) {
    all = gap ? joined(z, junk, 64) : joined(parts[0], parts[1], 0);
    data = set_up_data(images_and_labels(all, l));
    assert_on_all_ranks(size_of(data) == N);
    OK(CkDataDestroy(&data));
    free(all.bytes);
  }
  junk = new_bytes(3);
  memcpy(junk.bytes, "xyz", 3);
  all = joined(z, junk, 0);
  assert_refused(images_and_labels(all, l), "images", "over-long", "gzip");
  free(all.bytes);
  all = joined(parts[0], parts[1], 0);
  free(z.bytes);
  z = joined(all, junk, 0);
  assert_refused(images_and_labels(z, l), "images", "over-long", "gzip");
  free(all.bytes);
  free(junk.bytes);
  for (int p = 0; p < 2; ++p) free(parts[p].bytes);
  free(z.bytes);
  free(i.bytes);
  free(l.bytes);
}

static void refuses_bad_headers(void **state)
{
  Bytes i = idx_images(N, H, W), l = idx_labels(N, CLASSES);

  (void)state;
  i.bytes[2] = 9;
  assert_refused(images_and_labels(i, l), "images", "bad magic number 0x00000903", "0x00000803");
  put_big_endian(i.bytes, 0x12345678);
  assert_refused(images_and_labels(i, l), "images", "bad magic number 0x12345678");
  put_big_endian(i.bytes, 0x805);
  assert_refused(images_and_labels(i, l), "images", "bad magic");
  put_big_endian(i.bytes, 0x803);
  put_big_endian(l.bytes, 0x803);
  assert_refused(images_and_labels(i, l), "labels", "bad magic number 0x00000803", "0x00000801");
  put_big_endian(l.bytes, 0x801);
  put_big_endian(i.bytes + 8, 0x80000000u); /* products of lengths beyond every limit */
  put_big_endian(i.bytes + 12, 0x80000000u);
  if (sizeof(PetscInt) == 4) assert_refused(images_and_labels(i, l), "images", "2147483648");
  else assert_refused(images_and_labels(i, l), "images", "overflow");
  put_big_endian(i.bytes + 8, 65536);
  put_big_endian(i.bytes + 12, 65536);
  if (sizeof(PetscInt) == 4) assert_refused(images_and_labels(i, l), "images", "at most");
  else assert_refused(images_and_labels(i, l), "images");
  put_big_endian(i.bytes + 4, 0x7fffffff);
  put_big_endian(i.bytes + 8, 1024);
  put_big_endian(i.bytes + 12, 1024);
  assert_refused(images_and_labels(i, l), "images", "overflow");
  put_big_endian(i.bytes + 4, 0);
  assert_refused(images_and_labels(i, l), "images", "holds 0 samples");
  free(i.bytes);
  free(l.bytes);
}

static void refuses_bad_labels_and_names(void **state)
{
  Bytes  i = idx_images(N, H, W), l = idx_labels(N, CLASSES);
  CkData data;

  (void)state;
  l.bytes[8 + 7] = 200;
  assert_refused(images_and_labels(i, l), "labels", "200", "195", "-data_classes");
  write_file("labels", l.bytes, l.n);
  assert_refused(
    create_data(PETSC_COMM_WORLD, "-data %s -data_labels %s -data_classes 5", path_of("images"), path_of("labels")),
    "labels", "sample 7", "label 200", "0 .. 4");
  data = make_data("-data %s -data_labels %s -data_classes 201", path_of("images"), path_of("labels"));
  assert_on_all_ranks(classes_of(data) == 201 && class_size(data, 200) == 1);
  OK(CkDataDestroy(&data));
  assert_refused(create_data(PETSC_COMM_WORLD, "-data %s", path_of("images")), "-data_labels");
  assert_refused(create_data(PETSC_COMM_WORLD, "-data %s -data_labels %s", path_of("images"), path_of("missing")),
                 "missing", "No such file");
  assert_refused(create_data(PETSC_COMM_WORLD, "-data %s -data_labels %s", path_of("missing"), path_of("labels")),
                 "missing", "No such file");
  assert_refused(create_data(PETSC_COMM_WORLD, "-data /usr -data_format idx"), "/usr", "no training split",
                 "train-images-idx3-ubyte");
  assert_refused(create_data(PETSC_COMM_WORLD, "-data %s", path_of("labels")), "file of labels", "-data_labels");
  assert_refused(create_data(PETSC_COMM_WORLD, "-data %s -data_labels %s", path_of("labels"), path_of("labels")),
                 "file of labels", "-data_labels");
  free(i.bytes);
  free(l.bytes);
}

static void names_the_missing_package(void **state)
{
  static const CkDataSettings settings; /* all empty */
  struct _p_CkReader          reader = {.ops = &CkReaderFashionMnist, .comm = PETSC_COMM_WORLD, .settings = &settings};
  CkVerdict                   verdict = {0};

  (void)state;
  OK(CkFashionMnistOpenIn(&reader, path_of("nowhere"), &verdict));
  assert_on_all_ranks(verdict.code != 0 && strstr(verdict.message, "nowhere") != NULL &&
                      strstr(verdict.message, "apt-get install dataset-fashion-mnist") != NULL);
}

static const struct CMUnitTest tests[] = {
  cmocka_unit_test(reads_files_and_folders_plain_and_gzip),
  cmocka_unit_test(reads_other_axes_and_float32),
  cmocka_unit_test(refuses_wrong_lengths),
  cmocka_unit_test(refuses_gzip_files_of_wrong_length_or_content),
  cmocka_unit_test(gzip_files_end_where_they_should),
  cmocka_unit_test(refuses_bad_headers),
  cmocka_unit_test(refuses_bad_labels_and_names),
  cmocka_unit_test(names_the_missing_package),
};

CK_TEST_MAIN(tests, PetscInitialize, PetscFinalize)
