#pragma once
#include <clarkia/base.h>
#include <clarkia/batch.h>

/*
  CkData: a labelled data set, N samples of one shape. The ranks of a node read one slab of the file each; the samples
  then live once per node in MPI-3 shared memory (uint8 kept as uint8), so any rank can fetch any sample. Where shared
  memory is short, every rank reads and keeps a private copy, and says so.

  -data: fashion-mnist | synthetic | FILE | DIR. A reader (IDX, CIFAR binary, table, SVHN .mat, HDF5) is one file
  and one registration line (src/data/reader.h); so is a transform (src/data/transform.h): pooling and GCN + ZCA run
  once at set-up, scale and standardise per fetch. Fitted numbers come from the training split and are stored with an
  imported file. Samples are chosen in the order class subset (-data_classes_keep), then -data_offset, then -data_count,
  and transforms are fitted on what is chosen.
*/
typedef struct _p_CkData *CkData;

PetscErrorCode CkDataCreate(MPI_Comm comm, CkData *data);
/* Reads the -data_* keys. */
PetscErrorCode CkDataSetFromOptions(CkData data);
/* Reads headers and labels (four bytes a sample), no features: size, shape and classes are known after this; for
 * -dry_run. Collective. */
PetscErrorCode CkDataOpen(CkData data);
/* Reads and transforms. All failures of the file are user errors that name file, value and bound. Collective. */
PetscErrorCode CkDataSetUp(CkData data);
/* The whole test split of the same source, with the classes kept and the transforms fitted on this (set-up) training
 * split; *test = NULL if the source has none, or if data is itself the test split. -data_offset and -data_count speak
 * of the split that -data_split names, not of this one. May outlive data. Collective. */
PetscErrorCode CkDataCreateTest(CkData data, CkData *test);
PetscErrorCode CkDataGetSize(CkData data, PetscInt *samples);
PetscErrorCode CkDataGetShape(CkData data, CkShape *shape);
PetscErrorCode CkDataGetClasses(CkData data, PetscInt *classes);
/* Class number 0..classes-1: its name (borrowed; NULL: it has none) and how many samples it has; either may be NULL. */
PetscErrorCode CkDataGetClass(CkData data, PetscInt number, const char **name, PetscInt *samples);
/* "Fashion-MNIST train, images 0-3999 of 60000": for tables; borrowed. */
PetscErrorCode CkDataGetDescription(CkData data, const char **text);
/* 64-bit checksum of the features and labels in use, after Setup; the same on any number of ranks, and for a data set
 * and its imported file. Not collective. */
PetscErrorCode CkDataGetChecksum(CkData data, uint64_t *checksum);
/* Copies n samples: features [n x CkShapeSize], float32 in C,H,W order after all transforms, and labels [n]. Not
 * collective, thread of its rank only. */
PetscErrorCode CkDataFetch(CkData data, PetscInt n, const PetscInt index[], float features[], PetscInt labels[]);
/* Labels of all N samples, after Open. Not collective. */
PetscErrorCode CkDataGetLabels(CkData data, PetscInt labels[]);
/*
  Augmentation: images of training batches are moved by up to `pad` pixels in each direction, what comes in being black
  (what a stored zero is after the transforms), and left and right are exchanged with probability 1/2; both are
  functions of (seed, replica, step, position in the batch). Values, slopes, D and test errors see the images as they
  are.
*/
PetscErrorCode CkDataRegisterAugmentOptions(void);
/* -data_augment, -data_augment_pad, after Open; none without this call. User errors: no images, a margin as large as
 * they are. Collective. */
PetscErrorCode CkDataSetAugmentFromOptions(CkData data);
PetscErrorCode CkDataGetAugmentation(CkData data, PetscBool *flip, PetscInt *pad); /* pad 0: no crop; not collective */
/* features [n x CkShapeSize], as fetched, of positions first .. first+n-1 of the batch, changed in place. Not
 * collective. */
PetscErrorCode CkDataAugment(CkData data, uint64_t seed, const CkBatch *batch, PetscInt first, PetscInt n,
                             float features[]);
/* Bytes that set-up needs (after Open): once per node in shared memory, and on each rank (all of them where nothing is
 * shared). */
PetscErrorCode CkDataMemory(CkData data, double *per_node, double *per_rank);
/* Writes the data set (and, if not NULL, its test split under /test) as Clarkia's HDF5 (docs/formats.md, "Data set").
 * Collective. */
PetscErrorCode CkDataWrite(CkData data, CkData test, const char file[]);
/* A table of all this on standard output of rank 0; after Open, or with more in it after set-up. Collective. */
PetscErrorCode CkDataView(CkData data);
PetscErrorCode CkDataDestroy(CkData *data);
/* Registers the -data_* table. */
PetscErrorCode CkDataRegisterOptions(void);
