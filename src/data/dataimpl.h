#pragma once
#include "reader.h"
#include "transform.h"
#include <clarkia/nodearray.h>

/* dataimpl.h: the insides of a data set, shared by the files of this floor. */
#define CK_MAX_TRANSFORMS 8
/* Buffers of reading and writing. */
#define CK_PIECE_BYTES ((size_t)1 << 24)

/* Which rows of the file are the samples: class subset, then offset, then count (selection.c). */
typedef struct {
  PetscInt  n;
  PetscInt  available; /* after the class subset, before offset and count */
  PetscInt  first;     /* rows NULL: sample i is row first + i */
  PetscInt *rows;      /* [n] increasing, else */
} CkSelection;

struct _p_CkData {
  MPI_Comm       comm;
  PetscMPIInt    rank, ranks;
  CkDataSettings settings;
  PetscBool      test;      /* which split this is */
  PetscBool      companion; /* made by CkDataCreateTest(): whole split, transforms borrowed */
  PetscBool      opened, setup;
  /* after Open */
  CkReader    reader;
  CkSelection selection;
  int32_t    *labels; /* [n], renumbered */
  PetscInt    classes;
  char      **names;  /* [classes] or NULL */
  PetscInt   *counts; /* [classes] samples of each */
  char       *description, title[256], noun[16];
  PetscInt    ntransforms, ndone, napplied; /* the first ndone stand behind the numbers of the file, napplied: so far */
  CkTransform transforms[CK_MAX_TRANSFORMS];
  CkShape     shape;                   /* after all transforms */
  CkType      type;                    /* of the store in the end */
  double      per_node, per_rank;      /* bytes that set-up needs */
  PetscBool   shared, short_of_shared; /* plan of the store; private copies although sharing was wanted */
  /* Set-up. During it stored_* describe the store between two transforms. */
  CkShape     source_shape, stored_shape;
  CkType      source_type, stored_type;
  CkNodeArray store;
  double     *scale, *shift; /* [stored_shape.c] the map of each fetch, y = scale x + shift */
  float      *fscale, *fshift;
  PetscBool   identity, uniform; /* nothing to do; the same for all channels */
  uint64_t    checksum;
  PetscBool   flip; /* augmentation of training batches */
  PetscInt    pad;  /* 0: no crop */
};

/* datasettings.c */
PetscErrorCode CkDataSettingsRead(CkDataSettings *settings);
/* load.c: makes the store and reads the selected samples into it; every rank of a node reads its part. Collective. */
PetscErrorCode CkDataLoad(CkData data);

/* open.c. As CkDataOpen(), but a split that the source does not have is no failure. Collective. */
PetscErrorCode CkDataOpenSplit(CkData data, PetscBool *exists);
/* The other split of the same source, whole and opened; NULL: there is none. Where it fails, *companion is to be
   destroyed all the same. Collective. */
PetscErrorCode CkDataCompanion(CkData data, PetscBool test, CkData *companion);
/* Memory and where the samples are kept, from selection and transforms. Collective. */
PetscErrorCode CkDataPlan(CkData data);

/* selection.c: from the labels [rows] of the whole split; keeps the chosen labels, renumbered. User errors for classes,
   offset and count out of range. Not collective, same on all ranks. */
PetscErrorCode CkDataSelect(CkData data, PetscInt rows, const int32_t labels[], CkVerdict *verdict);

/* chain.c: the transforms of a data set. All collective. */
/* From the file or the options; shape and type in the end. */
PetscErrorCode CkDataChooseTransforms(CkData data);
/* Those of the training split instead. */
PetscErrorCode CkDataBorrowTransforms(CkData data, CkData training);
/* Runs those that are not applied yet on the store. */
PetscErrorCode CkDataTransform(CkData data);
/* Bytes at the peak: of the stores, of fitted numbers that are shared, of one rank while fitting. Not collective. */
void CkDataTransformMemory(CkData data, double *stores, double *numbers, double *fitting);
/* transformfile.c: the group /transform of a file. All collective. */
PetscErrorCode CkDataWriteTransforms(CkData data, CkFile file);
PetscErrorCode CkDataReadTransforms(CkData data, CkFile file);
/* The map of each fetch, for reader->shape.c channels, from the file if it has one, else the identity. */
PetscErrorCode CkDataInitializeMap(CkData data);
/* Sets the map; scale and shift have stored_shape.c numbers. Not collective. */
PetscErrorCode CkDataSetMap(CkData data, const double scale[], const double shift[]);

/* fetch.c: samples first..first+n, through the map, or as stored. Not collective. */
void   CkDataFetchRange(CkData data, PetscInt first, PetscInt n, PetscBool mapped, float *features);
size_t CkDataRowBytes(CkData data);

/* moments.c: statistics of the fetched numbers over all samples, per channel (or, if per_feature, per number of a
   sample): mean, standard deviation (1/N), least and greatest; NULL: not wanted. The bits do not depend on the number
   of ranks. Collective. */
PetscErrorCode CkDataMoments(CkData data, PetscBool per_feature, double mean[], double deviation[], double least[],
                             double greatest[]);
/* Checksum of stored numbers, map and labels; the same on any number of ranks. Collective. */
PetscErrorCode CkDataComputeChecksum(CkData data);

/* Start of part `part` of n items cut into `parts` nearly equal runs. */
static inline PetscInt64 CkPartStart(PetscInt64 n, PetscInt64 parts, PetscInt64 part)
{
  return n / parts * part + PetscMin(part, n % parts);
}
