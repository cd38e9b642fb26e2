#pragma once
#include <clarkia/base.h>

/*
  CkData: a labelled data set, N samples of one shape. Each rank reads only its own slab of the file; the samples then
  live once per node in MPI-3 shared memory (uint8 kept as uint8), so any rank can fetch any sample. Where shared memory
  is short, every rank keeps a private copy, and says so.

  -data: fashion-mnist | synthetic | FILE | DIR. A reader (IDX, CIFAR binary, table, SVHN .mat, HDF5) is one file
  and one registration line; see src/data/reader.h. Transforms run once at set-up (pooling, subset, GCN + ZCA) or per
  fetch (scale, standardise). Their fitted numbers come from the training split and are stored with an imported file.
*/
typedef struct _p_CkData *CkData;

PetscErrorCode CkDataCreate(MPI_Comm comm, CkData *data);
/* Reads the -data_* keys. */
PetscErrorCode CkDataSetFromOptions(CkData data);
/* Overrides -data_split ("train" or "test"), before set-up. */
PetscErrorCode CkDataSetSplit(CkData data, const char split[]);
/* Reads headers only: size, shape and classes are known after this, nothing is loaded; for -dry_run. Collective. */
PetscErrorCode CkDataOpen(CkData data);
/* Reads and transforms. All failures of the file are user errors that name file, value and bound. Collective. */
PetscErrorCode CkDataSetUp(CkData data);
/* The test split of the same source with the transform fitted on this (set-up) training split; *test = NULL if the
 * source has none. Collective. */
PetscErrorCode CkDataCreateTest(CkData data, CkData *test);
PetscErrorCode CkDataGetSize(CkData data, PetscInt *samples);
PetscErrorCode CkDataGetShape(CkData data, CkShape *shape);
PetscErrorCode CkDataGetClasses(CkData data, PetscInt *classes);
/* "Fashion-MNIST train, images 0-3999 of 60000": for tables; borrowed. */
PetscErrorCode CkDataGetDescription(CkData data, const char **text);
/* 64-bit checksum of features and labels in use; collective at set-up, cached. */
PetscErrorCode CkDataGetChecksum(CkData data, uint64_t *checksum);
/* Copies n samples: features [n x CkShapeSize], float32 in C,H,W order after all transforms, and labels [n]. Not
 * collective, thread of its rank only. */
PetscErrorCode CkDataFetch(CkData data, PetscInt n, const PetscInt index[], float features[], PetscInt labels[]);
/* Bytes per node and per rank that set-up needs (after Open). */
PetscErrorCode CkDataMemory(CkData data, double *per_node, double *per_rank);
/* Writes the data set (and, if not NULL, its test split under /test) as Clarkia's HDF5. Collective. */
PetscErrorCode CkDataWrite(CkData data, CkData test, const char file[]);
PetscErrorCode CkDataView(CkData data);
PetscErrorCode CkDataDestroy(CkData *data);
/* Registers the -data_* table. */
PetscErrorCode CkDataRegisterOptions(void);
