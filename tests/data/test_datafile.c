#include "datatest.h"
#include "formats.h"
#include <clarkia/file.h>

/* Clarkia's own data files: what is written is read, and files that are something else are refused. */

enum { N = 25, NTEST = 6, H = 4, W = 4, SIZE = H * W };

static void write_idx(const char images[], const char labels[], int n)
{
  Bytes i = idx_images(n, H, W), l = idx_labels(n, 3);

  write_file(images, i.bytes, i.n);
  write_file(labels, l.bytes, l.n);
  free(i.bytes);
  free(l.bytes);
}

static const char *write_folder(void)
{
  write_idx("train-images-idx3-ubyte", "train-labels-idx1-ubyte", N);
  write_idx("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte", NTEST);
  return folder;
}

/* a and b hold the same samples, bit by bit. */
static void assert_same(CkData a, CkData b)
{
  PetscInt *la, *lb;
  float    *xa, *xb;
  size_t    n = (size_t)size_of(a);

  assert_on_all_ranks(size_of(a) == size_of(b) && CkShapeSize(shape_of(a)) == CkShapeSize(shape_of(b)) &&
                      classes_of(a) == classes_of(b));
  xa = fetch_all(a, &la);
  xb = fetch_all(b, &lb);
  assert_on_all_ranks(same_bits(xa, xb, n * (size_t)CkShapeSize(shape_of(a)) * sizeof(float)) &&
                      same_bits(la, lb, n * sizeof(PetscInt)));
  assert_on_all_ranks(checksum_of(a) == checksum_of(b));
  free(xa);
  free(xb);
  free(la);
  free(lb);
}

/* Import with these options and back: training and test split are the same, and so are their checksums. */
static void round_trip(const char options[])
{
  const char *file = path_of("data.h5");
  CkData      data, test, read, read_test;

  data = make_data("-data %s %s", write_folder(), options);
  OK(CkDataCreateTest(data, &test));
  OK(CkDataWrite(data, test, file));
  read = make_data("-data %s", file);
  OK(CkDataCreateTest(read, &read_test));
  assert_same(data, read);
  assert_same(test, read_test);
  OK(CkDataDestroy(&read_test));
  read_test = make_data("-data %s -data_split test", file);
  assert_same(test, read_test);
  OK(CkDataDestroy(&read_test));
  OK(CkDataDestroy(&read));
  OK(CkDataDestroy(&test));
  OK(CkDataDestroy(&data));
}

static void reads_what_it_writes(void **state)
{
  const char *options[] = {"",
                           "-data_transform none",
                           "-data_transform standardise",
                           "-data_transform scale,standardise -data_pool 2",
                           "-data_transform scale,gcn,zca",
                           "-data_classes_keep 2,0 -data_count 7",
                           "-data_transform scale,standardise,pool,gcn,zca -data_pool 2,4"};

  (void)state;
  for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); ++i) round_trip(options[i]);
}

/* Bytes stay bytes where only scale and shift are applied. */
static void keeps_bytes_as_bytes(void **state)
{
  const char *file = path_of("data.h5");
  const char *options[] = {"-data_transform scale,standardise", "-data_transform scale,gcn"};
  PetscInt64  shape[CK_MAX_RANK];
  CkType      type;
  int         rank;
  CkData      data;
  CkFile      read;

  (void)state;
  for (int i = 0; i < 2; ++i) {
    data = make_data("-data %s %s", write_folder(), options[i]);
    OK(CkDataWrite(data, NULL, file));
    OK(CkDataDestroy(&data));
    OK(CkFileOpen(PETSC_COMM_WORLD, file, &read));
    OK(CkFileGetDataset(read, "/features", &type, &rank, shape));
    assert_on_all_ranks(type == (i == 0 ? CK_U8 : CK_F32) && rank == 4 && shape[0] == N && shape[1] == 1 &&
                        shape[2] == H);
    OK(CkFileGetDataset(read, "/labels", &type, &rank, shape));
    assert_on_all_ranks(type == CK_I32 && rank == 1 && shape[0] == N);
    OK(CkFileDestroy(&read));
  }
}

/* A part of an imported file, and further transforms on top of those behind its numbers. */
static void goes_on_from_an_imported_file(void **state)
{
  const char *file = path_of("data.h5");
  CkData      data, read, direct;

  (void)state;
  data = make_data("-data %s -data_transform none -data_classes_keep 0,2", write_folder());
  OK(CkDataWrite(data, NULL, file));
  read =
    make_data("-data %s -data_classes_keep 1 -data_offset 1 -data_count 4 -data_transform scale,standardise", file);
  direct =
    make_data("-data %s -data_classes_keep 2 -data_offset 1 -data_count 4 -data_transform scale,standardise", folder);
  assert_same(read, direct);
  assert_on_all_ranks(strstr(description_of(read), "classes 0,2, images 0-16 of 17") != NULL);
  OK(CkDataDestroy(&direct));
  OK(CkDataDestroy(&read));
  OK(CkDataDestroy(&data));
  data = make_data("-data %s", folder); /* scaled */
  OK(CkDataWrite(data, NULL, file));
  OK(CkDataDestroy(&data));
  read = make_data("-data %s -data_transform standardise", file);
  direct = make_data("-data %s -data_transform scale,standardise", folder);
  assert_same(read, direct);
  OK(CkDataDestroy(&direct));
  OK(CkDataDestroy(&read));
  assert_refused(create_data(PETSC_COMM_WORLD, "-data %s -data_transform scale", file), "scale", "already", file);
  assert_refused(create_data(PETSC_COMM_WORLD, "-data %s -data_split test", file), "no test split");
}

/* Fitted numbers of an imported training split, applied to samples that come later. */
static void applies_stored_transforms_to_other_samples(void **state)
{
  const char *file = path_of("data.h5");
  CkData      data, test, later;

  (void)state;
  data = make_data("-data %s -data_transform scale,standardise,gcn,zca -data_pool 2", write_folder());
  OK(CkDataCreateTest(data, &test));
  OK(CkDataWrite(data, NULL, file));
  later = make_data("-data %s -data_labels %s -data_transform_from %s -data_classes 3",
                    path_of("t10k-images-idx3-ubyte"), path_of("t10k-labels-idx1-ubyte"), file);
  assert_same(test, later);
  OK(CkDataDestroy(&later));
  OK(CkDataDestroy(&test));
  OK(CkDataDestroy(&data));
  assert_refused(create_data(PETSC_COMM_WORLD, "-data synthetic -data_shape 1,4,4 -data_transform_from %s", file), file,
                 "uint8", "float32");
  assert_refused(create_data(PETSC_COMM_WORLD, "-data %s -data_transform scale -data_transform_from %s", folder, file),
                 "-data_transform_from", "leave out");
}

/* ---- files that are something else ---- */

typedef struct {
  const char *format;
  CkType      features_type, labels_type;
  int         rank;
  PetscInt64  samples, labels;
  int         label; /* of sample 1 */
  float       value; /* of feature 5 of sample 2 */
  PetscInt64  version, classes;
  PetscBool   transform;
  double      shift;
} Layout;

static const Layout right = {"clarkia-data", CK_F32, CK_I32, 4, 5, 5, 1, 1, 1, 3, PETSC_TRUE, 0};

static void write_layout(const char name[], const Layout *l)
{
  const PetscInt64 shape[4] = {l->samples, 1, 2, 3}, nlabels = l->labels, one = 1;
  const double     scale = 1;
  float            features[64] = {0};
  uint8_t          bytes[64] = {0};
  int32_t          labels[64] = {0};
  double           reals[64] = {0};
  CkFile           file;

  features[2 * 6 + 5] = l->value;
  labels[1] = l->label;
  OK(CkFileCreate(PETSC_COMM_WORLD, name, &file));
  OK(CkFileWriteString(file, "/", "format", l->format));
  OK(CkFileWriteInt(file, "/", "format_version", l->version));
  OK(CkFileWriteInt(file, "/", "classes", l->classes));
  OK(CkFileWriteString(file, "/", "title", "a file"));
  OK(CkFileWriteString(file, "/", "noun", "things"));
  OK(CkFileWriteAll(file, "/features", l->features_type, l->rank, shape,
                    l->features_type == CK_F32  ? (void *)features
                    : l->features_type == CK_U8 ? (void *)bytes
                                                : (void *)reals,
                    "1", "samples"));
  OK(CkFileWriteAll(file, "/labels", l->labels_type, 1, &nlabels,
                    l->labels_type == CK_I32 ? (void *)labels : (void *)reals, "1", "labels"));
  if (l->transform) {
    OK(CkFileCreateGroup(file, "/transform"));
    OK(CkFileWriteString(file, "/transform", "names", ""));
    OK(CkFileWriteAll(file, "/transform/map_scale", CK_F64, 1, &one, &scale, "1", "scale"));
    OK(CkFileWriteAll(file, "/transform/map_shift", CK_F64, 1, &one, &l->shift, "1", "shift"));
  }
  OK(CkFileCommit(file));
  OK(CkFileDestroy(&file));
}

static CkData layout(Layout l)
{
  const char *name = path_of("layout.h5");

  OK(PetscOptionsClear(NULL));
  write_layout(name, &l);
  return create_data(PETSC_COMM_WORLD, "-data %s -data_transform none", name);
}

static Layout changed(const char what[])
{
  Layout l = right;

  if (!strcmp(what, "format")) l.format = "clarkia-spectrum";
  if (!strcmp(what, "version")) l.version = 7;
  if (!strcmp(what, "features")) l.features_type = CK_F64;
  if (!strcmp(what, "rank")) l.rank = 3;
  if (!strcmp(what, "labels")) l.labels_type = CK_F64;
  if (!strcmp(what, "count")) l.labels = 4;
  if (!strcmp(what, "label")) l.label = 3;
  if (!strcmp(what, "negative")) l.label = -1;
  if (!strcmp(what, "nan")) l.value = NAN;
  if (!strcmp(what, "infinite")) l.value = -INFINITY;
  if (!strcmp(what, "classes")) l.classes = 0;
  if (!strcmp(what, "transform")) l.transform = PETSC_FALSE;
  if (!strcmp(what, "map")) l.shift = NAN;
  return l;
}

static void refuses_files_of_another_layout(void **state)
{
  CkData data = layout(right);
  float  x[6];

  (void)state;
  OK(CkDataSetUp(data));
  assert_on_all_ranks(size_of(data) == 5 && fetch_one(data, 2, x) == 0 && x[5] == 1);
  OK(CkDataDestroy(&data));
  assert_refused(layout(changed("format")), "layout.h5", "clarkia-spectrum", "import");
  assert_refused(layout(changed("version")), "layout.h5", "format_version is 7");
  assert_refused(layout(changed("features")), "layout.h5", "features", "uint8 or float32");
  assert_refused(layout(changed("rank")), "layout.h5", "features", "3 axes");
  assert_refused(layout(changed("labels")), "layout.h5", "labels", "int32 [5]");
  assert_refused(layout(changed("count")), "layout.h5", "labels", "int32 [5]", "first of 4");
  assert_refused(layout(changed("label")), "layout.h5", "sample 1", "label 3", "0 .. 2");
  assert_refused(layout(changed("negative")), "layout.h5", "sample 1", "label -1");
  assert_refused(layout(changed("nan")), "layout.h5", "sample 2", "feature 5", "row 1", "column 2", "nan");
  assert_refused(layout(changed("infinite")), "layout.h5", "sample 2", "feature 5", "-inf");
  assert_refused(layout(changed("classes")), "layout.h5", "classes is 0");
  assert_refused(layout(changed("transform")), "layout.h5", "/transform");
  assert_refused(layout(changed("map")), "layout.h5", "map_shift", "not finite");
}

static void refuses_truncated_files(void **state)
{
  const char *file = path_of("data.h5");
  CkData      data;

  (void)state;
  data = make_data("-data %s", write_folder());
  OK(CkDataWrite(data, NULL, file));
  OK(CkDataDestroy(&data));
  MPI_Barrier(PETSC_COMM_WORLD);
  if (world_rank() == 0 && truncate(file, 1500)) abort();
  MPI_Barrier(PETSC_COMM_WORLD);
  assert_refused(create_data(PETSC_COMM_WORLD, "-data %s", file), "data.h5");
  if (world_rank() == 0 && truncate(file, 8)) abort();
  MPI_Barrier(PETSC_COMM_WORLD);
  assert_refused(create_data(PETSC_COMM_WORLD, "-data %s", file), "data.h5");
  data = make_data("-data %s", folder);
  assert_message(CkDataWrite(data, NULL, "/proc/no-such-folder/data.h5"), "/proc/no-such-folder");
  OK(CkDataDestroy(&data));
}

/* One byte of the features of one split changes behind the library's back. */
static void flip_a_byte(const char file[], const unsigned char row[], size_t n)
{
  MPI_Barrier(PETSC_COMM_WORLD);
  if (world_rank() == 0) {
    FILE         *stream = fopen(file, "r+b");
    unsigned char bytes[1 << 16];
    size_t        length, at = 0;

    if (!stream) abort();
    length = fread(bytes, 1, sizeof(bytes), stream);
    while (at + n <= length && memcmp(bytes + at, row, n) != 0) ++at;
    if (at + n > length || fseek(stream, (long)at, SEEK_SET) || fputc(row[0] ^ 1, stream) == EOF || fclose(stream))
      abort();
  }
  MPI_Barrier(PETSC_COMM_WORLD);
}

/* A whole split that is not what its checksum says is refused, also where more transforms follow; a part cannot be
   checked, and the other split is not concerned. */
static void refuses_changed_samples(void **state)
{
  const char   *file = path_of("data.h5");
  unsigned char row[H * W];
  CkData        data, test;

  (void)state;
  data = make_data("-data %s -data_transform none", write_folder());
  OK(CkDataCreateTest(data, &test));
  OK(CkDataWrite(data, test, file));
  OK(CkDataDestroy(&test));
  OK(CkDataDestroy(&data));
  for (int j = 0; j < H * W; ++j) row[j] = pixel(3, j);
  flip_a_byte(file, row, sizeof(row));
  assert_refused(create_data(PETSC_COMM_WORLD, "-data %s", file), "data.h5", "training samples", "checksum");
  assert_refused(create_data(PETSC_COMM_WORLD, "-data %s -data_transform scale,standardise", file), "data.h5",
                 "checksum");
  data = make_data("-data %s -data_count 5", file);
  OK(CkDataDestroy(&data));
  data = make_data("-data %s -data_split test", file);
  OK(CkDataDestroy(&data));
}

static const struct CMUnitTest tests[] = {
  cmocka_unit_test(reads_what_it_writes),
  cmocka_unit_test(keeps_bytes_as_bytes),
  cmocka_unit_test(goes_on_from_an_imported_file),
  cmocka_unit_test(applies_stored_transforms_to_other_samples),
  cmocka_unit_test(refuses_files_of_another_layout),
  cmocka_unit_test(refuses_truncated_files),
  cmocka_unit_test(refuses_changed_samples),
};

CK_TEST_MAIN(tests, PetscInitialize, PetscFinalize)
