#pragma once
#include "messages.h"
#include <clarkia/data.h>
#include <dirent.h>
#include <limits.h>
#include <stdlib.h>
#include <unistd.h>

/* datatest.h: helpers of the tests of data sets. Files are written by rank 0 into one folder, removed at the end. */

static char folder[64];

static inline void remove_tree(const char path[])
{
  DIR           *dir = opendir(path);
  struct dirent *entry;
  char           below[PATH_MAX];

  while (dir && (entry = readdir(dir))) {
    if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, "..")) continue;
    if ((size_t)snprintf(below, sizeof(below), "%s/%s", path, entry->d_name) < sizeof(below)) remove_tree(below);
  }
  if (dir) closedir(dir);
  (void)remove(path);
}

static inline PetscErrorCode remove_folder(void)
{
  int rank;

  MPI_Comm_rank(PETSC_COMM_WORLD, &rank);
  if (rank == 0) remove_tree(folder);
  return PETSC_SUCCESS;
}

static inline int world_rank(void)
{
  int rank;

  MPI_Comm_rank(PETSC_COMM_WORLD, &rank);
  return rank;
}

/* "<folder>/name": the last 64 results stay valid */
static inline const char *path_of(const char name[])
{
  static char paths[64][160];
  static int  next;

  if (!folder[0]) {
    snprintf(folder, sizeof(folder), "/tmp/clarkia-test-XXXXXX");
    if (world_rank() == 0 && !mkdtemp(folder)) abort();
    MPI_Bcast(folder, sizeof(folder), MPI_CHAR, 0, PETSC_COMM_WORLD);
    OK(PetscRegisterFinalize(remove_folder));
  }
  next = (next + 1) % 64;
  snprintf(paths[next], sizeof(paths[next]), "%s/%s", folder, name);
  return paths[next];
}

/* Rank 0 writes the file; collective. */
static inline const char *write_file(const char name[], const void *bytes, size_t n)
{
  const char *path = path_of(name);

  MPI_Barrier(PETSC_COMM_WORLD);
  if (world_rank() == 0) {
    FILE *file = fopen(path, "wb");

    if (!file || (n > 0 && fwrite(bytes, 1, n, file) != n) || fclose(file)) abort();
  }
  MPI_Barrier(PETSC_COMM_WORLD);
  return path;
}

static inline const char *write_text(const char name[], const char text[])
{
  return write_file(name, text, strlen(text));
}

static inline void remove_file(const char name[])
{
  const char *path = path_of(name);

  MPI_Barrier(PETSC_COMM_WORLD);
  if (world_rank() == 0 && unlink(path)) abort();
  MPI_Barrier(PETSC_COMM_WORLD);
}

/* A data set with these options, not opened. */
static inline CkData create_data(MPI_Comm comm, const char format[], ...)
{
  char    options[2048];
  va_list arguments;
  CkData  data;

  va_start(arguments, format);
  vsnprintf(options, sizeof(options), format, arguments);
  va_end(arguments);
  OK(CkDataRegisterOptions());
  OK(PetscOptionsClear(NULL));
  OK(PetscOptionsInsertString(NULL, options));
  OK(CkDataCreate(comm, &data));
  OK(CkDataSetFromOptions(data));
  return data;
}

#define make_data(...) make_data_on(PETSC_COMM_WORLD, __VA_ARGS__)

/* Set up, ready to fetch from. */
#define make_data_on(comm, ...) set_up_data(create_data((comm), __VA_ARGS__))

static inline CkData set_up_data(CkData data)
{
  OK(CkDataSetUp(data));
  return data;
}

/* Set-up with the options of `create` fails on all ranks with a message that holds all the words. */
#define assert_refused(create, ...)                                                                                    \
  do {                                                                                                                 \
    CkData refused_ = (create);                                                                                        \
    assert_message(CkDataSetUp(refused_), __VA_ARGS__);                                                                \
    OK(CkDataDestroy(&refused_));                                                                                      \
  } while (0)

static inline PetscInt size_of(CkData data)
{
  PetscInt n;

  OK(CkDataGetSize(data, &n));
  return n;
}

static inline PetscInt classes_of(CkData data)
{
  PetscInt n;

  OK(CkDataGetClasses(data, &n));
  return n;
}

static inline CkShape shape_of(CkData data)
{
  CkShape shape;

  OK(CkDataGetShape(data, &shape));
  return shape;
}

static inline int has_shape(CkData data, PetscInt c, PetscInt h, PetscInt w)
{
  const CkShape shape = shape_of(data);

  return shape.c == c && shape.h == h && shape.w == w;
}

static inline PetscInt class_size(CkData data, PetscInt class)
{
  PetscInt n;

  OK(CkDataGetClass(data, class, NULL, &n));
  return n;
}

static inline const char *class_name(CkData data, PetscInt class)
{
  const char *name;

  OK(CkDataGetClass(data, class, &name, NULL));
  return name ? name : "";
}

static inline uint64_t checksum_of(CkData data)
{
  uint64_t checksum;

  OK(CkDataGetChecksum(data, &checksum));
  return checksum;
}

static inline const char *description_of(CkData data)
{
  const char *text;

  OK(CkDataGetDescription(data, &text));
  return text;
}

/* Equal to the last bit. */
static inline int same_bits(const void *a, const void *b, size_t bytes)
{
  return memcmp(a, b, bytes) == 0;
}

/* One sample; its label is returned. */
static inline PetscInt fetch_one(CkData data, PetscInt index, float features[])
{
  PetscInt label;

  OK(CkDataFetch(data, 1, &index, features, &label));
  return label;
}

/* All samples and labels; free both with free(). */
static inline float *fetch_all(CkData data, PetscInt **labels)
{
  const PetscInt n = size_of(data), size = CkShapeSize(shape_of(data));
  PetscInt      *index = malloc((size_t)n * sizeof(PetscInt));
  float         *features = malloc((size_t)n * (size_t)size * sizeof(float));

  *labels = malloc((size_t)n * sizeof(PetscInt));
  if (!index || !features || !*labels) abort();
  for (PetscInt i = 0; i < n; ++i) index[i] = i;
  OK(CkDataFetch(data, n, index, features, *labels));
  free(index);
  return features;
}

/* Skips the test where the real data set "<CLARKIA_TEST_DATA>/name" is not there. */
#define need_real_data(name)                                                                                           \
  do {                                                                                                                 \
    if (access(CLARKIA_TEST_DATA "/" name, R_OK)) {                                                                    \
      if (world_rank() == 0) fprintf(stderr, "skipped: no %s\n", CLARKIA_TEST_DATA "/" name);                          \
      skip();                                                                                                          \
    }                                                                                                                  \
  } while (0)
