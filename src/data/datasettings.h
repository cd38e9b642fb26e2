#pragma once
#include <clarkia/data.h>
#include <clarkia/error.h>
#include <clarkia/file.h>

/* datasettings.h: what the -data_* keys say, read once and then constant. */
#define CK_PATHS_LENGTH 8192
#define CK_MAX_CLASSES_KEPT 1024
#define CK_CLASSES_LIMIT 65536
/* Root attribute of our files, and room for the names of all classes, one a line. */
#define CK_DATA_FORMAT "clarkia-data"
#define CK_DATA_VERSION 1
#define CK_CLASS_NAMES_LENGTH ((size_t)60000)
/* Most numbers that -data_mean and -data_deviation take. */
#define CK_MAX_GIVEN 1024
/* -data_count not given */
#define CK_COUNT_ALL (-1)

typedef struct {
  char      path[CK_PATHS_LENGTH];      /* -data: keyword, FILE, FILE,FILE,... or DIR */
  char      labels[PETSC_MAX_PATH_LEN]; /* companions of FILE, "" where not given */
  char      test[CK_PATHS_LENGTH], test_labels[PETSC_MAX_PATH_LEN];
  char      format[32], split[8], cifar_labels[8];
  char      class_column[128], columns_drop[512];
  char      transform[256], transform_from[PETSC_MAX_PATH_LEN];
  PetscInt  count, offset; /* count: CK_COUNT_ALL or a number */
  PetscInt  classes;       /* 0: not given */
  PetscInt  nkeep, keep[CK_MAX_CLASSES_KEPT];
  PetscInt  nshape, shape[3];
  PetscInt  npool, pool[2];
  PetscInt  nmean, ndeviation; /* 0: not given */
  PetscReal mean[CK_MAX_GIVEN], deviation[CK_MAX_GIVEN];
  PetscReal separation, zca_epsilon;
  PetscInt  seed;
  PetscBool shared;
  char      given[256]; /* keys of single formats that the user gave, " labels test ": see CkReaderOps.keys */
} CkDataSettings;
