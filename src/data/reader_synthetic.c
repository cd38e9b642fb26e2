#include "reader.h"
#include <clarkia/random.h>
#include <math.h>
#include <string.h>

/*
  reader_synthetic.c: the keyword synthetic: sample k of class c = k mod classes is mean_c + standard normal noise, with
  mean_c normal and so scaled that two class means lie -data_separation apart (root of the expected square). A function
  of -seed and k alone: philox streams 0 (training noise), 1 (test noise) and 2 (means) of purpose "synthetic".
*/
#define DEFAULT_COUNT 1000
#define TEST_FRACTION 6 /* the test split has a sixth of the training count, as MNIST */

static PetscBool Probe(const CkDataSettings *settings)
{
  return (PetscBool)(strcmp(settings->path, "synthetic") == 0);
}

/* The source is as long as asked for; -data_count and -data_offset speak of the split that -data_split names. */
static PetscInt64 SyntheticSamples(const CkDataSettings *s, PetscBool test, PetscInt classes)
{
  const PetscBool  named = (PetscBool)(test == (PetscBool)(strcmp(s->split, "test") == 0));
  const PetscBool  counted = (PetscBool)(s->count != CK_COUNT_ALL);
  const PetscInt64 training = counted && (named != test) ? s->count : DEFAULT_COUNT;
  PetscInt64       samples = test ? PetscMax(training / TEST_FRACTION, (PetscInt64)classes) : training;

  if (named && counted) samples = s->count;
  return named ? samples + s->offset : samples;
}

static PetscErrorCode Open(CkReader reader, CkVerdict *verdict)
{
  const CkDataSettings *s = reader->settings;
  const PetscInt64      shape[3] = {s->shape[0], s->nshape == 3 ? s->shape[1] : 1, s->nshape == 3 ? s->shape[2] : 1};

  PetscFunctionBeginUser;
  if (s->nshape != 1 && s->nshape != 3)
    CkVerdictFail(verdict, PETSC_ERR_USER_INPUT, "-data_shape has %" PetscInt_FMT " numbers; give C,H,W or one number",
                  s->nshape);
  if (s->nkeep > 0)
    CkVerdictFail(verdict, PETSC_ERR_USER_INPUT,
                  "-data_classes_keep chooses from a given data set; for synthetic give -data_classes %" PetscInt_FMT,
                  s->nkeep);
  reader->classes = s->classes ? s->classes : 10;
  reader->samples = SyntheticSamples(s, reader->test, reader->classes);
  if (!verdict->code) CkReaderCheckSizes("synthetic", reader->samples, 3, shape, verdict);
  reader->exists = PETSC_TRUE;
  reader->shape = (CkShape){(PetscInt)shape[0], (PetscInt)shape[1], (PetscInt)shape[2]};
  reader->type = CK_F32;
  PetscCall(PetscStrncpy(reader->title, "synthetic", sizeof(reader->title)));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Labels(CkReader reader, PetscInt64 first, PetscInt64 count, int32_t labels[], CkVerdict *verdict)
{
  PetscFunctionBeginUser;
  (void)verdict;
  for (PetscInt64 i = 0; i < count; ++i) labels[i] = (int32_t)((first + i) % reader->classes);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Features(CkReader reader, PetscInt64 first, PetscInt64 count, void *features, CkVerdict *verdict)
{
  const uint64_t seed = (uint64_t)reader->settings->seed;
  const CkRandom noise = {.seed = seed, .purpose = CK_RANDOM_SYNTHETIC, .replica = 0, .step = reader->test ? 1 : 0};
  const CkRandom means = {.seed = seed, .purpose = CK_RANDOM_SYNTHETIC, .replica = 0, .step = 2};
  const PetscInt size = CkShapeSize(reader->shape);
  /* the expected square distance of two means of variance a^2 per number is 2 a^2 size */
  const double scale = (double)reader->settings->separation / sqrt(2.0 * (double)size);
  float       *out = features;
  double      *x, *mean;

  PetscFunctionBeginUser;
  (void)verdict;
  PetscCall(PetscMalloc2((size_t)size, &x, (size_t)size, &mean));
  for (PetscInt64 k = first; k < first + count; ++k) {
    CkRandomNormals(&noise, (uint64_t)k * (uint64_t)size, (size_t)size, x);
    CkRandomNormals(&means, (uint64_t)(k % reader->classes) * (uint64_t)size, (size_t)size, mean);
    for (PetscInt j = 0; j < size; ++j) *out++ = (float)(scale * mean[j] + x[j]);
  }
  PetscCall(PetscFree2(x, mean));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Close(CkReader reader)
{
  PetscFunctionBeginUser;
  (void)reader;
  PetscFunctionReturn(PETSC_SUCCESS);
}

const CkReaderOps CkReaderSynthetic = {.name = "synthetic",
                                       .summary = "normal noise around class means",
                                       .keys = " shape separation classes ",
                                       .probe = Probe,
                                       .open = Open,
                                       .labels = Labels,
                                       .features = Features,
                                       .close = Close};
