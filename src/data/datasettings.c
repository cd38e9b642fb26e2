#include "dataimpl.h"
#include <clarkia/options.h>
#include <stdio.h>
#include <string.h>

/* datasettings.c: the -data_* keys. */
static const CkOption options[] = {
  {"data", CK_OPTION_FILE, NULL, 0, 0, NULL,
   "fashion-mnist, synthetic, a file, files FILE,FILE,... (CIFAR), or a folder"},
  {"data_format", CK_OPTION_STRING, "auto", 0, 0, NULL,
   "idx, cifar10, cifar100, table, svhn, hdf5, synthetic, fashion-mnist; auto: by names and first bytes"},
  {"data_split", CK_OPTION_STRING, "train", 0, 0, "train|test", "which split of the source"},
  {"data_classes_keep", CK_OPTION_INTS, NULL, 0, CK_CLASSES_LIMIT - 1, NULL,
   "keep these classes only, numbered from 0 in the order given; comes before offset and count"},
  {"data_offset", CK_OPTION_INT, "0", 0, 2147483647, NULL, "samples to leave out at the front, after the class subset"},
  {"data_count", CK_OPTION_INT, NULL, 1, 2147483647, NULL,
   "samples to use, after class subset and offset (unset: all; synthetic: 1000)"},
  {"data_classes", CK_OPTION_INT, NULL, 1, CK_CLASSES_LIMIT, NULL,
   "number of classes (unset: synthetic 10, IDX greatest label + 1)"},
  {"data_labels", CK_OPTION_FILE, NULL, 0, 0, NULL, "IDX: file of the labels of -data FILE"},
  {"data_test", CK_OPTION_FILE, NULL, 0, 0, NULL, "file of the test split, for formats that name files one by one"},
  {"data_test_labels", CK_OPTION_FILE, NULL, 0, 0, NULL, "IDX: file of the labels of -data_test FILE"},
  {"data_cifar_labels", CK_OPTION_STRING, "fine", 0, 0, "fine|coarse", "CIFAR-100: which of its two labels"},
  {"data_class_column", CK_OPTION_STRING, NULL, 0, 0, NULL,
   "tables: name or number (from 1) of the class column (unset: the last)"},
  {"data_columns_drop", CK_OPTION_STRING, NULL, 0, 0, NULL, "tables: columns NAME,NAME,... that are no features"},
  {"data_shape", CK_OPTION_INTS, "1,28,28", 1, 2147483647, NULL, "synthetic: C,H,W, or one number for flat samples"},
  {"data_separation", CK_OPTION_REAL, "8", 0, 1e6, NULL,
   "synthetic: distance of two class means, in standard deviations of the noise"},
  {"data_transform", CK_OPTION_STRING, "auto", 0, 0, NULL,
   "list of pool, scale, standardise, gcn, zca, run in this order; none; auto: scale for uint8 that was not imported, "
   "and standardise if -data_mean is given"},
  {"data_transform_from", CK_OPTION_FILE, NULL, 0, 0, NULL,
   "apply the transforms, with their fitted numbers, of a file written by import"},
  {"data_pool", CK_OPTION_INTS, NULL, 1, 2147483647, NULL,
   "pool images to SIDE or HEIGHT,WIDTH, before all other transforms: 7 makes 7 x 7 of 28 x 28"},
  {"data_mean", CK_OPTION_REALS, NULL, -1e30, 1e30, NULL,
   "standardise: means to subtract instead of the training split's, one or one a channel (auto: scale,standardise)"},
  {"data_deviation", CK_OPTION_REALS, NULL, 1e-30, 1e30, NULL,
   "standardise: standard deviations to divide by, likewise; given together with -data_mean"},
  {"data_zca_epsilon", CK_OPTION_REAL, "0.1", 1e-12, 1e12, NULL,
   "zca: added to the eigenvalues of the covariance, in its units"},
  {"data_shared", CK_OPTION_BOOL, "true", 0, 0, NULL,
   "keep samples once per node in shared memory (else, or where that is short, a copy on each rank)"},
  {NULL, CK_OPTION_BOOL, NULL, 0, 0, NULL, NULL},
};

PetscErrorCode CkDataRegisterOptions(void)
{
  PetscFunctionBeginUser;
  PetscCall(CkOptionsRegister("Data set", options));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Keys of single formats that were given: each reader says which it heeds. */
static PetscErrorCode NoteGiven(CkDataSettings *s)
{
  static const char *const keys[] = {"labels",       "test",  "test_labels", "cifar_labels", "class_column",
                                     "columns_drop", "shape", "separation",  "classes"};
  PetscBool                given;
  char                     name[64];
  size_t                   used = 0;

  PetscFunctionBeginUser;
  for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); ++i) {
    snprintf(name, sizeof(name), "-data_%s", keys[i]);
    PetscCall(PetscOptionsHasName(NULL, NULL, name, &given));
    if (given) used += (size_t)snprintf(s->given + used, sizeof(s->given) - used, "%s%s ", used ? "" : " ", keys[i]);
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode ReadNumbers(CkDataSettings *s)
{
  PetscBool given;

  PetscFunctionBeginUser;
  PetscCall(CkOptionsGetInt("data_count", &s->count, &given));
  if (!given) s->count = CK_COUNT_ALL;
  PetscCall(CkOptionsGetInt("data_offset", &s->offset, NULL));
  PetscCall(CkOptionsGetInt("data_classes", &s->classes, &given));
  if (!given) s->classes = 0;
  s->nkeep = CK_MAX_CLASSES_KEPT;
  PetscCall(CkOptionsGetInts("data_classes_keep", s->keep, &s->nkeep, &given));
  if (!given) s->nkeep = 0;
  s->nshape = 3;
  PetscCall(CkOptionsGetInts("data_shape", s->shape, &s->nshape, NULL));
  s->npool = 2;
  PetscCall(CkOptionsGetInts("data_pool", s->pool, &s->npool, &given));
  if (!given) s->npool = 0;
  s->nmean = s->ndeviation = CK_MAX_GIVEN;
  PetscCall(CkOptionsGetReals("data_mean", s->mean, &s->nmean, NULL));
  PetscCall(CkOptionsGetReals("data_deviation", s->deviation, &s->ndeviation, NULL));
  PetscCall(CkOptionsGetReal("data_separation", &s->separation, NULL));
  PetscCall(CkOptionsGetReal("data_zca_epsilon", &s->zca_epsilon, NULL));
  PetscCall(CkOptionsGetInt("seed", &s->seed, NULL));
  PetscCall(CkOptionsGetBool("data_shared", &s->shared, NULL));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkDataSettingsRead(CkDataSettings *s)
{
  PetscFunctionBeginUser;
  PetscCall(CkDataRegisterOptions());
  PetscCall(PetscArrayzero(s, 1));
  PetscCall(CkOptionsGetString("data", s->path, sizeof(s->path), NULL));
  PetscCall(CkOptionsGetString("data_format", s->format, sizeof(s->format), NULL));
  PetscCall(CkOptionsGetString("data_split", s->split, sizeof(s->split), NULL));
  PetscCall(CkOptionsGetString("data_labels", s->labels, sizeof(s->labels), NULL));
  PetscCall(CkOptionsGetString("data_test", s->test, sizeof(s->test), NULL));
  PetscCall(CkOptionsGetString("data_test_labels", s->test_labels, sizeof(s->test_labels), NULL));
  PetscCall(CkOptionsGetString("data_cifar_labels", s->cifar_labels, sizeof(s->cifar_labels), NULL));
  PetscCall(CkOptionsGetString("data_class_column", s->class_column, sizeof(s->class_column), NULL));
  PetscCall(CkOptionsGetString("data_columns_drop", s->columns_drop, sizeof(s->columns_drop), NULL));
  PetscCall(CkOptionsGetString("data_transform", s->transform, sizeof(s->transform), NULL));
  PetscCall(CkOptionsGetString("data_transform_from", s->transform_from, sizeof(s->transform_from), NULL));
  PetscCall(ReadNumbers(s));
  PetscCall(NoteGiven(s));
  PetscFunctionReturn(PETSC_SUCCESS);
}
