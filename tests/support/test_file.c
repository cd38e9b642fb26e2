#include "testing.h"
#include <clarkia/file.h>
#include <clarkia/progress.h>
#include <dirent.h>
#include <fcntl.h>
#include <file_private.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

/* A folder of its own for every test, made and removed by rank 0. */
static char        folder[64];
static PetscMPIInt me, ranks_all;

static const char *Path(const char name[])
{
  static char path[2][512];
  static int  turn = 0;

  turn = 1 - turn;
  snprintf(path[turn], sizeof(path[turn]), "%s/%s", folder, name);
  return path[turn];
}

static void Barrier(void)
{
  MPI_Barrier(PETSC_COMM_WORLD);
}

static int set_up(void **state)
{
  (void)state;
  MPI_Comm_rank(PETSC_COMM_WORLD, &me);
  MPI_Comm_size(PETSC_COMM_WORLD, &ranks_all);
  if (me == 0) {
    strcpy(folder, "test_file.XXXXXX");
    if (!mkdtemp(folder)) return 1;
  }
  MPI_Bcast(folder, sizeof(folder), MPI_CHAR, 0, PETSC_COMM_WORLD);
  return 0;
}

/* Number of entries of the folder on rank 0, the same on all ranks; removes them if asked. */
static int Entries(int remove_them)
{
  int n = 0;

  Barrier();
  if (me == 0) {
    DIR *stream = opendir(folder);

    for (struct dirent *entry = readdir(stream); entry; entry = readdir(stream)) {
      if (entry->d_name[0] == '.') continue;
      ++n;
      if (remove_them) (void)remove(Path(entry->d_name));
    }
    closedir(stream);
  }
  MPI_Bcast(&n, 1, MPI_INT, 0, PETSC_COMM_WORLD);
  return n;
}

static int tear_down(void **state)
{
  (void)state;
  if (me == 0) (void)umount2(folder, MNT_DETACH); /* fails where nothing is mounted */
  Entries(1);
  if (me == 0) (void)rmdir(folder);
  return 0;
}

/* Rows of this rank: uneven, none on some ranks. */
static void MyRows(PetscInt64 rows, PetscInt64 *first, PetscInt64 *count)
{
  *first = rows * me * me / ((PetscInt64)ranks_all * ranks_all);
  *count = rows * (me + 1) * (me + 1) / ((PetscInt64)ranks_all * ranks_all) - *first;
}

/* Number k of a dataset, different for every k and exact in every type. */
static double Entry(CkType type, PetscInt64 k)
{
  switch (type) {
  case CK_U8:
    return (double)((k * 37 + 11) % 256);
  case CK_I32:
    return (double)(k * 1000003 % 2000000000 - 1000000000);
  case CK_I64:
    return (double)((k + 1) * (PetscInt64)1000000007 - ((PetscInt64)1 << 40));
  case CK_F32:
    return (double)((float)k / 3 - 5);
  default:
    return (double)k / 3 - 1e10;
  }
}

static void Put(CkType type, void *data, PetscInt64 i, double value)
{
  switch (type) {
  case CK_U8:
    ((unsigned char *)data)[i] = (unsigned char)value;
    break;
  case CK_I32:
    ((int *)data)[i] = (int)value;
    break;
  case CK_I64:
    ((PetscInt64 *)data)[i] = (PetscInt64)value;
    break;
  case CK_F32:
    ((float *)data)[i] = (float)value;
    break;
  case CK_F64:
    ((double *)data)[i] = value;
    break;
  }
}

static void *Fill(CkType type, PetscInt64 first, PetscInt64 count)
{
  char *data = malloc((size_t)count * CkTypeSize(type) + 1);

  for (PetscInt64 i = 0; i < count; ++i) Put(type, data, i, Entry(type, first + i));
  return data;
}

static int Same(CkType type, const void *data, PetscInt64 first, PetscInt64 count)
{
  void     *expected = Fill(type, first, count);
  const int same = !memcmp(data, expected, (size_t)count * CkTypeSize(type));

  free(expected);
  return same;
}

static void WriteMyRows(CkFile file, const char path[], CkType type, PetscInt64 rows, PetscInt64 width)
{
  PetscInt64 first, count;
  void      *data;

  MyRows(rows, &first, &count);
  data = Fill(type, first * width, count * width);
  OK(CkFileWriteRows(file, path, type, first, count, data));
  free(data);
}

/* A committed file with one dataset /x [rows x 3] of float64. */
static void WriteSimple(const char name[], PetscInt64 rows)
{
  const PetscInt64 shape[2] = {rows, 3};
  CkFile           file;

  OK(CkFileCreate(PETSC_COMM_WORLD, Path(name), &file));
  OK(CkFileCreateDataset(file, "/x", CK_F64, 2, shape, "1", "test numbers"));
  WriteMyRows(file, "/x", CK_F64, rows, 3);
  OK(CkFileCommit(file));
  OK(CkFileDestroy(&file));
}

/* Reads by another distribution than rows were written by, then whole. */
static void ReadBack(CkFile file, const char path[], CkType type, const PetscInt64 shape[], int axes)
{
  PetscInt64 stored[CK_MAX_RANK], first, count, width = 1;
  CkType     stored_type;
  int        stored_axes;
  char      *data;

  OK(CkFileGetDataset(file, path, &stored_type, &stored_axes, stored));
  assert_on_all_ranks(stored_type == type && stored_axes == axes);
  for (int i = 0; i < axes; ++i) assert_on_all_ranks(stored[i] == shape[i]);
  for (int i = 1; i < axes; ++i) width *= shape[i];
  me = ranks_all - 1 - me;
  MyRows(shape[0], &first, &count);
  me = ranks_all - 1 - me;
  data = malloc((size_t)(shape[0] * width) * CkTypeSize(type) + 1);
  OK(CkFileReadRows(file, path + 1, type, first, count, data));
  assert_on_all_ranks(Same(type, data, first * width, count * width));
  OK(CkFileReadAll(file, path, type, data));
  assert_on_all_ranks(Same(type, data, 0, shape[0] * width));
  free(data);
}

static void rows_come_back_as_written(void **state)
{
  const PetscInt64  shapes[][5] = {{7, 3, 2, 5, 2}, {1, 40}, {0, 4}, {1000}, {5, 0, 3}, {2, 1, 9}};
  const int         axes[] = {5, 2, 2, 1, 3, 3};
  const char *const names[] = {"/a/b/u8", "/a/b/i32", "/a/b/i64", "/f32", "/c/f64"};

  (void)state;
  for (size_t s = 0; s < sizeof(axes) / sizeof(axes[0]); ++s) {
    PetscInt64 width = 1;
    CkFile     file;

    for (int i = 1; i < axes[s]; ++i) width *= shapes[s][i];
    OK(CkFileCreate(PETSC_COMM_WORLD, Path("rows.h5"), &file));
    file->piece = s % 2 ? 64 : file->piece; /* many pieces, across axes */
    for (CkType type = CK_U8; type <= CK_F64; ++type) {
      OK(CkFileCreateDataset(file, names[type], type, axes[s], shapes[s], "m", "some rows"));
      WriteMyRows(file, names[type], type, shapes[s][0], width);
    }
    OK(CkFileCommit(file));
    OK(CkFileDestroy(&file));
    OK(CkFileOpen(PETSC_COMM_WORLD, Path("rows.h5"), &file));
    file->piece = 100;
    for (CkType type = CK_U8; type <= CK_F64; ++type) ReadBack(file, names[type], type, shapes[s], axes[s]);
    OK(CkFileDestroy(&file));
  }
}

static void attributes_come_back_as_written(void **state)
{
  const double three[3] = {1.0 / 3, -1e-300, 7};
  const size_t length = 200000; /* more than an object header holds */
  char        *text = malloc(length + 1), *back = malloc(length + 1);
  CkFile       file;
  double       reals[5];
  PetscInt64   whole;
  PetscInt     n = 5;
  PetscBool    found;

  (void)state;
  memset(text, 'x', length);
  text[length] = '\0';
  OK(CkFileCreate(PETSC_COMM_WORLD, Path("attributes.h5"), &file));
  OK(CkFileCreateGroup(file, "/a/b"));
  OK(CkFileCreateGroup(file, "/a/b"));
  OK(CkFileWriteString(file, "/", "long", text));
  OK(CkFileWriteString(file, "/a/b", "empty", ""));
  OK(CkFileWriteString(file, "/a", "replaced", "first"));
  OK(CkFileWriteString(file, "/a", "replaced", "\xc3\xa9t\xc3\xa9 of rank 0"));
  OK(CkFileWriteReal(file, "/a", "third", me == 0 ? 1.0 / 3 : 99));
  OK(CkFileWriteInt(file, "/a", "big", -((PetscInt64)1 << 53) - 1));
  OK(CkFileWriteReals(file, "/a", "three", 3, three));
  OK(CkFileWriteReals(file, "/a", "none", 0, NULL));
  OK(CkFileCommit(file));
  OK(CkFileDestroy(&file));

  OK(CkFileOpen(PETSC_COMM_WORLD, Path("attributes.h5"), &file));
  OK(CkFileReadString(file, "/", "long", back, length + 1, NULL));
  assert_on_all_ranks(!strcmp(text, back));
  assert_user_error(CkFileReadString(file, "/", "long", back, length, NULL));
  OK(CkFileReadString(file, "/a/b", "empty", back, length, &found));
  assert_on_all_ranks(found && back[0] == '\0');
  OK(CkFileReadString(file, "/a", "replaced", back, length, NULL));
  assert_on_all_ranks(!strcmp(back, "\xc3\xa9t\xc3\xa9 of rank 0"));
  OK(CkFileReadReal(file, "/a", "third", reals, NULL));
  assert_on_all_ranks(reals[0] == 1.0 / 3);
  OK(CkFileReadInt(file, "/a", "big", &whole, NULL));
  assert_on_all_ranks(whole == -((PetscInt64)1 << 53) - 1);
  OK(CkFileReadReals(file, "/a", "three", &n, reals, &found));
  assert_on_all_ranks(found && n == 3 && !memcmp(reals, three, sizeof(three)));
  OK(CkFileReadReals(file, "/a", "none", &n, reals, NULL));
  assert_on_all_ranks(n == 0);
  n = 2;
  assert_user_error(CkFileReadReals(file, "/a", "three", &n, reals, NULL));
  n = 5;
  OK(CkFileReadReals(file, "/a", "missing", &n, reals, &found));
  assert_on_all_ranks(!found && n == 5);
  assert_user_error(CkFileReadReal(file, "/a", "missing", reals, NULL));
  assert_user_error(CkFileReadReal(file, "/nowhere", "third", reals, &found));
  assert_user_error(CkFileReadReal(file, "/a", "three", reals, NULL));
  assert_user_error(CkFileReadReal(file, "/a", "replaced", reals, NULL));
  assert_user_error(CkFileReadInt(file, "/a", "third", &whole, NULL));
  assert_user_error(CkFileReadString(file, "/a", "third", back, length, NULL));
  OK(CkFileDestroy(&file));
  free(text);
  free(back);
}

static void links_are_listed_in_order(void **state)
{
  const char *const names[] = {"beta", "alpha", "gamma"};
  const char *const order[] = {"alpha", "beta", "gamma"};
  const PetscInt64  one = 1;
  const double      value = 3;
  CkFile            file;
  PetscInt          n;
  char            **list;
  PetscBool         exists;

  (void)state;
  OK(CkFileCreate(PETSC_COMM_WORLD, Path("list.h5"), &file));
  for (int i = 0; i < 3; ++i) {
    char path[32];

    snprintf(path, sizeof(path), "/state/%s", names[i]);
    OK(CkFileWriteAll(file, path, CK_F64, 1, &one, me ? NULL : &value, "1", "x"));
  }
  OK(CkFileCommit(file));
  OK(CkFileDestroy(&file));
  OK(CkFileOpen(PETSC_COMM_WORLD, Path("list.h5"), &file));
  OK(CkFileList(file, "/state", &n, &list));
  assert_on_all_ranks(n == 3);
  for (int i = 0; i < n; ++i) {
    assert_on_all_ranks(!strcmp(list[i], order[i]));
    OK(PetscFree(list[i]));
  }
  OK(PetscFree(list));
  OK(CkFileExists(file, "/state/beta", &exists));
  assert_on_all_ranks(exists);
  OK(CkFileExists(file, "/state/delta", &exists));
  assert_on_all_ranks(!exists);
  OK(CkFileExists(file, "/no/such/path", &exists));
  assert_on_all_ranks(!exists);
  OK(CkFileExists(file, "/", &exists));
  assert_on_all_ranks(exists);
  assert_user_error(CkFileList(file, "/nowhere", &n, &list));
  assert_user_error(CkFileList(file, "/state/beta", &n, &list));
  OK(CkFileDestroy(&file));
}

static void the_name_appears_when_committed(void **state)
{
  const PetscInt64 shape[1] = {4};
  CkFile           file;
  const char      *name;

  (void)state;
  OK(CkFileCreate(PETSC_COMM_WORLD, Path("late.h5"), &file));
  OK(CkFileGetName(file, &name));
  assert_on_all_ranks(!strcmp(name, Path("late.h5")));
  OK(CkFileCreateDataset(file, "/x", CK_F64, 1, shape, "1", "x"));
  Barrier();
  assert_on_all_ranks(access(Path("late.h5"), F_OK) != 0);
  assert_on_all_ranks(Entries(0) == 1);
  OK(CkFileDestroy(&file)); /* not committed */
  assert_on_all_ranks(Entries(0) == 0);

  WriteSimple("late.h5", 4);
  assert_on_all_ranks(Entries(0) == 1 && access(Path("late.h5"), F_OK) == 0);
  /* the old file stays until the new one is committed */
  OK(CkFileCreate(PETSC_COMM_WORLD, Path("late.h5"), &file));
  OK(CkFileDestroy(&file));
  OK(CkFileOpen(PETSC_COMM_WORLD, Path("late.h5"), &file));
  OK(CkFileDestroy(&file));
  WriteSimple("late.h5", 5);
  assert_on_all_ranks(Entries(0) == 1);
}

static void rows_are_written_once(void **state)
{
  const PetscInt64 shape[1] = {6};
  const double     data[6] = {0};
  CkFile           file;

  (void)state;
  for (int incomplete = 0; incomplete < 2; ++incomplete) {
    OK(CkFileCreate(PETSC_COMM_WORLD, Path("once.h5"), &file));
    OK(CkFileCreateDataset(file, "/x", CK_F64, 1, shape, "1", "x"));
    OK(CkFileWriteRows(file, "/x", CK_F64, 0, me == 0 ? 4 : 0, data));
    if (incomplete) assert_user_error(CkFileCommit(file));
    else assert_user_error(CkFileWriteRows(file, "/x", CK_F64, 3, me == 0 ? 3 : 0, data));
    OK(CkFileDestroy(&file));
    assert_on_all_ranks(Entries(0) == 0);
  }
}

static void numbers_are_converted_exactly_or_not_at_all(void **state)
{
  const PetscInt64 shape[1] = {3}, wide[3] = {1, 2, (PetscInt64)1 << 40}, odd[3] = {0, 1, ((PetscInt64)1 << 53) + 1};
  const double     whole[3] = {0, 255, 3}, fraction[3] = {1, 2.5, 3}, missing[3] = {1, NAN, 2}, huge[3] = {1, 1e300, 2};
  CkFile           file;
  unsigned char    bytes[3];
  int              integers[3];
  PetscInt64       longs[3];
  float            floats[3];
  double           doubles[3];

  (void)state;
  OK(CkFileCreate(PETSC_COMM_WORLD, Path("convert.h5"), &file));
  OK(CkFileWriteAll(file, "/wide", CK_I64, 1, shape, wide, "1", "x"));
  OK(CkFileWriteAll(file, "/odd", CK_I64, 1, shape, odd, "1", "x"));
  OK(CkFileWriteAll(file, "/whole", CK_F64, 1, shape, whole, "1", "x"));
  OK(CkFileWriteAll(file, "/fraction", CK_F64, 1, shape, fraction, "1", "x"));
  OK(CkFileWriteAll(file, "/missing", CK_F64, 1, shape, missing, "1", "x"));
  OK(CkFileWriteAll(file, "/huge", CK_F64, 1, shape, huge, "1", "x"));
  OK(CkFileCommit(file));
  OK(CkFileDestroy(&file));
  OK(CkFileOpen(PETSC_COMM_WORLD, Path("convert.h5"), &file));
  OK(CkFileReadAll(file, "/whole", CK_U8, bytes));
  assert_on_all_ranks(bytes[0] == 0 && bytes[1] == 255 && bytes[2] == 3);
  OK(CkFileReadAll(file, "/wide", CK_F64, doubles));
  assert_on_all_ranks(doubles[2] == (double)wide[2]);
  OK(CkFileReadAll(file, "/fraction", CK_F32, floats));
  assert_on_all_ranks(floats[1] == 2.5f);
  assert_user_error(CkFileReadAll(file, "/wide", CK_I32, integers));
  assert_user_error(CkFileReadAll(file, "/wide", CK_U8, bytes));
  assert_user_error(CkFileReadAll(file, "/odd", CK_F64, doubles));
  assert_user_error(CkFileReadAll(file, "/fraction", CK_I32, integers));
  assert_user_error(CkFileReadAll(file, "/missing", CK_I64, longs));
  assert_user_error(CkFileReadAll(file, "/huge", CK_F32, floats));
  OK(CkFileDestroy(&file));
}

/* Rank 0 makes a file of these bytes. */
static void WriteBytes(const char name[], const void *bytes, size_t n)
{
  if (me == 0) {
    FILE *stream = fopen(Path(name), "wb");

    if (!stream || fwrite(bytes, 1, n, stream) != n || fclose(stream)) abort();
  }
  Barrier();
}

static char *ReadBytes(const char name[], size_t *n)
{
  FILE *stream = fopen(name, "rb");
  char *bytes;

  if (!stream) abort();
  fseek(stream, 0, SEEK_END);
  *n = (size_t)ftell(stream);
  rewind(stream);
  bytes = malloc(*n);
  if (fread(bytes, 1, *n, stream) != *n) abort();
  fclose(stream);
  Barrier();
  return bytes;
}

static void foreign_files_are_refused(void **state)
{
  CkFile file;

  (void)state;
  assert_user_error(CkFileOpen(PETSC_COMM_WORLD, Path("missing.h5"), &file));
  OK(CkFileDestroy(&file));
  assert_user_error(CkFileOpen(PETSC_COMM_WORLD, folder, &file));
  OK(CkFileDestroy(&file));
  assert_user_error(CkFileOpen(PETSC_COMM_WORLD, Path("nfs:x"), &file));
  OK(CkFileDestroy(&file));
  WriteBytes("text.h5", "hello, world", 12);
  assert_user_error(CkFileOpen(PETSC_COMM_WORLD, Path("text.h5"), &file));
  OK(CkFileDestroy(&file));
  WriteBytes("empty.h5", "", 0);
  assert_user_error(CkFileOpen(PETSC_COMM_WORLD, Path("empty.h5"), &file));
  OK(CkFileDestroy(&file));
}

static void wrong_objects_are_refused(void **state)
{
  const PetscInt64 shape[1] = {2};
  double           data[6];
  CkFile           file;
  hid_t            space, type, dataset;
  hsize_t          six[6] = {1, 1, 1, 1, 1, 1};

  (void)state;
  OK(CkFileCreate(PETSC_COMM_WORLD, Path("objects.h5"), &file));
  OK(CkFileWriteAll(file, "/x", CK_F64, 1, shape, data, "1", "x"));
  OK(CkFileCreateGroup(file, "/group"));
  space = H5Screate_simple(1, six, NULL);
  type = H5Tcopy(H5T_C_S1);
  dataset = H5Dcreate2(file->id, "/text", type, space, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
  assert_on_all_ranks(H5Dclose(dataset) >= 0 && H5Sclose(space) >= 0);
  space = H5Screate_simple(6, six, NULL);
  dataset = H5Dcreate2(file->id, "/six", H5T_IEEE_F64LE, space, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
  assert_on_all_ranks(H5Dclose(dataset) >= 0 && H5Sclose(space) >= 0 && H5Tclose(type) >= 0);
  OK(CkFileCommit(file));
  OK(CkFileDestroy(&file));
  OK(CkFileOpen(PETSC_COMM_WORLD, Path("objects.h5"), &file));
  assert_user_error(CkFileReadAll(file, "/y", CK_F64, data));
  assert_user_error(CkFileReadAll(file, "/group", CK_F64, data));
  assert_user_error(CkFileReadAll(file, "/text", CK_F64, data));
  assert_user_error(CkFileReadAll(file, "/six", CK_F64, data));
  assert_user_error(CkFileReadRows(file, "/x", CK_F64, 1, 2, data));
  assert_user_error(CkFileReadRows(file, "/x", CK_F64, me == ranks_all - 1 ? -1 : 0, 1, data)); /* one rank alone */
  OK(CkFileReadRows(file, "/x", CK_F64, 2, 0, data));
  OK(CkFileReadRows(file, "/x", CK_F64, 1, 1, data)); /* refusals leave the file usable */
  OK(CkFileDestroy(&file));
}

/* Any length below the whole, and any single byte of the metadata flipped: an error or the right numbers. */
static void damaged_files_are_refused_or_read_right(void **state)
{
  const PetscInt64 rows = 200;
  size_t           n, refused = 0, tried = 0, used = 0;
  char            *bytes, *copy;
  double          *data = malloc(sizeof(double) * (size_t)rows * 3);
  void            *payload;
  size_t           payload_start = 0;

  (void)state;
  WriteSimple("good.h5", rows);
  bytes = ReadBytes(Path("good.h5"), &n);
  payload = Fill(CK_F64, 0, rows * 3);
  while (payload_start < n && memcmp(bytes + payload_start, payload, 64)) ++payload_start;
  assert_on_all_ranks(payload_start + (size_t)rows * 24 <= n);
  for (size_t length = 0; length < n; length += n / 17 + 1) {
    CkFile file;

    WriteBytes("cut.h5", bytes, length);
    assert_user_error(CkFileOpen(PETSC_COMM_WORLD, Path("cut.h5"), &file));
    OK(CkFileDestroy(&file));
  }
  copy = malloc(n);
  for (size_t i = 0; i < n; ++i) {
    PetscErrorCode failed;
    CkFile         file;

    if (i >= payload_start && i < payload_start + (size_t)rows * 24) continue;
    if (!bytes[i] || ++used % 3) continue; /* much of the rest is empty */
    memcpy(copy, bytes, n);
    copy[i] = (char)(copy[i] ^ (1 << i % 8));
    WriteBytes("flipped.h5", copy, n);
    OK(PetscPushErrorHandler(PetscReturnErrorHandler, NULL));
    failed = CkFileOpen(PETSC_COMM_WORLD, Path("flipped.h5"), &file);
    if (!failed) failed = CkFileReadAll(file, "/x", CK_F64, data);
    OK(PetscPopErrorHandler());
    assert_on_all_ranks(failed || Same(CK_F64, data, 0, rows * 3));
    ++tried;
    refused += failed ? 1 : 0;
    OK(CkFileDestroy(&file));
    Barrier();
  }
  assert_on_all_ranks(tried > 50 && refused > tried / 2);
  free(bytes);
  free(copy);
  free(data);
  free(payload);
}

/* What an unreliable disk does between writing and reading back. */
static void Corrupt(const char name[], const void *pattern, size_t length)
{
  size_t n, found = 0;
  char  *bytes = ReadBytes(name, &n);

  while (found + length <= n && memcmp(bytes + found, pattern, length)) ++found;
  assert_on_all_ranks(found + length <= n);
  if (me == 0) {
    const int  descriptor = open(name, O_WRONLY);
    const char flipped = (char)(bytes[found] ^ 4);

    if (pwrite(descriptor, &flipped, 1, (off_t)found) != 1 || close(descriptor)) abort();
  }
  free(bytes);
  Barrier();
}

static void a_flipped_bit_is_found_before_the_name_appears(void **state)
{
  const PetscInt64 shape[2] = {50, 3};
  const char      *mark = "a text that is easy to find";

  (void)state;
  for (int attribute = 0; attribute < 2; ++attribute) {
    void  *payload = Fill(CK_F64, 0, 30);
    CkFile file;

    OK(CkFileCreate(PETSC_COMM_WORLD, Path("flip.h5"), &file));
    OK(CkFileCreateDataset(file, "/x", CK_F64, 2, shape, "1", "x"));
    OK(CkFileWriteString(file, "/x", "mark", mark));
    WriteMyRows(file, "/x", CK_F64, 50, 3);
    assert_on_all_ranks(H5Fflush(file->id, H5F_SCOPE_GLOBAL) >= 0);
    Barrier();
    if (attribute) Corrupt(file->temporary, mark, strlen(mark));
    else Corrupt(file->temporary, payload, 64);
    assert_user_error(CkFileCommit(file));
    assert_on_all_ranks(Entries(0) == 0);
    OK(CkFileDestroy(&file));
    free(payload);
  }
}

static void bad_targets_are_refused(void **state)
{
  const char *const names[] = {"nfs:x.h5", "no/such/folder/x.h5", "folder", "folder/", "plain/x.h5", "closed/x.h5"};
  CkFile            file;

  (void)state;
  WriteBytes("plain", "x", 1);
  if (me == 0 && (mkdir(Path("folder"), 0777) || mkdir(Path("closed"), 0555))) abort();
  Barrier();
  for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); ++i) {
    if (i == 5 && geteuid() == 0) continue; /* root may write anywhere */
    assert_user_error(CkFileCreate(PETSC_COMM_WORLD, Path(names[i]), &file));
    OK(CkFileDestroy(&file));
  }
  assert_user_error(CkFileCreate(PETSC_COMM_WORLD, "/proc/x.h5", &file)); /* no files can be made there */
  OK(CkFileDestroy(&file));
  assert_user_error(CkFileCreate(PETSC_COMM_WORLD, "", &file));
  OK(CkFileDestroy(&file));
}

static void odd_names_work(void **state)
{
  const char *const names[] = {"with space.h5", "\xc3\xa9t\xc3\xa9.h5"};

  (void)state;
  for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); ++i) {
    double data[12];
    CkFile file;

    WriteSimple(names[i], 4);
    OK(CkFileOpen(PETSC_COMM_WORLD, Path(names[i]), &file));
    OK(CkFileReadAll(file, "/x", CK_F64, data));
    assert_on_all_ranks(Same(CK_F64, data, 0, 12));
    OK(CkFileDestroy(&file));
  }
  assert_on_all_ranks(Entries(0) == (int)(sizeof(names) / sizeof(names[0])));
}

/* Another program fills the small file system, then `left` bytes become free. */
static void LeaveFree(PetscInt64 left)
{
  if (me == 0) {
    static const char page[4096];
    const int         descriptor = open(Path("filler"), O_WRONLY | O_CREAT, 0666);
    off_t             bytes = 0;

    while (write(descriptor, page, sizeof(page)) == (ssize_t)sizeof(page)) bytes += (off_t)sizeof(page);
    if (ftruncate(descriptor, bytes - (off_t)left) || close(descriptor)) abort();
  }
  Barrier();
}

/* Tries to write rows x 3 float64; returns the first error. left >= 0: after the creation the room shrinks to `left`
   bytes and the check of free space does not see it, as when a quota holds. */
static PetscErrorCode TryWrite(const char name[], PetscInt64 rows, PetscInt64 left, CkFile *file)
{
  const PetscInt64 shape[2] = {rows, 3};
  PetscInt64       first, count;
  PetscErrorCode   ierr;
  void            *data;

  ierr = CkFileCreate(PETSC_COMM_WORLD, Path(name), file);
  if (ierr) return ierr;
  if (left >= 0) {
    LeaveFree(left);
    (*file)->reserved = -1e12;
  }
  ierr = CkFileCreateDataset(*file, "/x", CK_F64, 2, shape, "1", "x");
  if (ierr) return ierr;
  MyRows(rows, &first, &count);
  data = Fill(CK_F64, first * 3, count * 3);
  ierr = CkFileWriteRows(*file, "/x", CK_F64, first, count, data);
  free(data);
  if (!ierr) ierr = CkFileCommit(*file);
  return ierr;
}

/* A small file system under the folder; false where it cannot be had. */
static int MountSmall(void)
{
  int mounted = 0;

  if (me == 0) mounted = !mount("tmpfs", folder, "tmpfs", 0, "size=8m");
  MPI_Bcast(&mounted, 1, MPI_INT, 0, PETSC_COMM_WORLD);
  if (!mounted) print_message("skipped: a small tmpfs cannot be mounted here\n");
  return mounted;
}

static void a_full_disk_is_foreseen(void **state)
{
  CkFile file;

  (void)state;
  if (!MountSmall()) skip();
  OK(PetscPushErrorHandler(PetscReturnErrorHandler, NULL));
  assert_on_all_ranks(TryWrite("fits.h5", 100000, -1, &file) == 0);
  OK(CkFileDestroy(&file));
  assert_on_all_ranks(TryWrite("large.h5", 300000, -1, &file) == PETSC_ERR_FILE_WRITE);
  OK(CkFileDestroy(&file));
  OK(PetscPopErrorHandler());
  assert_on_all_ranks(Entries(0) == 1);
}

/* Metadata have their room from the creation on; data that find none are an error, whether none or some of them fit. */
static void a_disk_that_fills_up_while_writing_is_noticed(void **state)
{
  const PetscInt64 left[] = {0, 0, 0, 65536, 5000000}, rows[] = {0, 100, 250000, 100, 250000};
  const int        fits[] = {1, 1, 0, 1, 0};

  (void)state;
  if (!MountSmall()) skip();
  for (size_t i = 0; i < sizeof(left) / sizeof(left[0]); ++i) {
    PetscErrorCode failed;
    CkFile         file;

    OK(PetscPushErrorHandler(PetscReturnErrorHandler, NULL));
    failed = TryWrite("late.h5", rows[i], left[i], &file);
    OK(CkFileDestroy(&file));
    OK(PetscPopErrorHandler());
    assert_on_all_ranks(fits[i] ? !failed : failed == PETSC_ERR_FILE_WRITE);
    assert_on_all_ranks(Entries(1) == (fits[i] ? 2 : 1));
  }
}

/* Any bit of a sealed file, HDF5's own bytes included; on every rank. */
static void a_flipped_bit_breaks_the_seal(void **state)
{
  const char *const text = "what a run goes on with";
  PetscInt64        shape = 500;
  double            numbers[500];
  struct stat       status;
  int               descriptor = -1;
  CkFile            file;

  (void)state;
  for (int i = 0; i < 500; ++i) numbers[i] = 1. / (i + 1);
  OK(CkFileCreate(PETSC_COMM_WORLD, Path("sealed.h5"), &file));
  OK(CkFileSeal(file));
  OK(CkFileWriteString(file, "/", "text", text));
  OK(CkFileWriteAll(file, "/numbers", CK_F64, 1, &shape, numbers, "1", "test numbers"));
  OK(CkFileCommit(file));
  OK(CkFileDestroy(&file));
  OK(CkFileCheckSeal(PETSC_COMM_WORLD, Path("sealed.h5")));
  OK(CkFileCheckSeal(PETSC_COMM_SELF, Path("sealed.h5")));
  OK(CkFileOpen(PETSC_COMM_WORLD, Path("sealed.h5"), &file)); /* HDF5 does not mind */
  OK(CkFileReadAll(file, "/numbers", CK_F64, numbers));
  OK(CkFileDestroy(&file));
  assert_on_all_ranks(stat(Path("sealed.h5"), &status) == 0 && status.st_size > 4000);
  if (me == 0) descriptor = open(Path("sealed.h5"), O_RDWR);
  for (off_t place = 0; place < status.st_size; place += 1 + status.st_size / 200) {
    for (int broken = 1; broken >= 0; --broken) {
      unsigned char byte;

      if (me == 0) assert_true(pread(descriptor, &byte, 1, place) == 1);
      byte ^= (unsigned char)(1 << (place % 8));
      if (me == 0) assert_true(pwrite(descriptor, &byte, 1, place) == 1);
      Barrier();
      if (broken) assert_user_error(CkFileCheckSeal(PETSC_COMM_WORLD, Path("sealed.h5")));
      else OK(CkFileCheckSeal(PETSC_COMM_WORLD, Path("sealed.h5")));
      Barrier();
    }
  }
  if (me == 0) assert_true(ftruncate(descriptor, status.st_size - 1) == 0 && close(descriptor) == 0);
  Barrier();
  assert_user_error(CkFileCheckSeal(PETSC_COMM_WORLD, Path("sealed.h5")));
  assert_user_error(CkFileCheckSeal(PETSC_COMM_WORLD, Path("missing.h5")));
}

/* The others know nothing of the file. */
static void one_rank_alone_writes_the_provenance(void **state)
{
  CkFile     file;
  PetscInt64 ranks;
  double     memory;

  (void)state;
  if (me == ranks_all - 1) {
    OK(CkFileCreate(PETSC_COMM_SELF, Path("alone.h5"), &file));
    OK(CkFileWriteProvenance(file));
    OK(CkFileCommit(file));
    OK(CkFileDestroy(&file));
  }
  Barrier();
  OK(CkFileOpen(PETSC_COMM_WORLD, Path("alone.h5"), &file));
  OK(CkFileReadInt(file, "/", "ranks", &ranks, NULL));
  OK(CkFileReadReal(file, "/", "peak_memory", &memory, NULL));
  OK(CkFileDestroy(&file));
  assert_on_all_ranks(ranks == ranks_all && (me != ranks_all - 1 || (memory > 0 && memory <= CkMemoryPeak())));
}

static void checksums_chain(void **state)
{
  const char text[] = "foobar";

  (void)state;
  /* published FNV-1a 64 test vectors */
  assert_true(CkChecksum(0, "", 0) == UINT64_C(0xcbf29ce484222325));
  assert_true(CkChecksum(0, "a", 1) == UINT64_C(0xaf63dc4c8601ec8c));
  assert_true(CkChecksum(0, text, 6) == UINT64_C(0x85944171f73967e8));
  assert_true(CkChecksum(CkChecksum(0, text, 2), text + 2, 4) == CkChecksum(0, text, 6));
}

#define test(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
static const struct CMUnitTest tests[] = {
  test(rows_come_back_as_written),
  test(attributes_come_back_as_written),
  test(links_are_listed_in_order),
  test(the_name_appears_when_committed),
  test(rows_are_written_once),
  test(numbers_are_converted_exactly_or_not_at_all),
  test(foreign_files_are_refused),
  test(wrong_objects_are_refused),
  test(damaged_files_are_refused_or_read_right),
  test(a_flipped_bit_is_found_before_the_name_appears),
  test(a_flipped_bit_breaks_the_seal),
  test(bad_targets_are_refused),
  test(odd_names_work),
  test(a_full_disk_is_foreseen),
  test(a_disk_that_fills_up_while_writing_is_noticed),
  test(one_rank_alone_writes_the_provenance),
  test(checksums_chain),
};

CK_TEST_MAIN(tests, PetscInitialize, PetscFinalize)
