#pragma once
#include "datasettings.h"

/*
  transform.h: the contract of a transform of features. A transform is one file transform_<name>.c and one line in
  transforms.c. There are two kinds:
  - affine: y = scale[c] x + shift[c] per channel (per feature of a table, whose features are channels); folded into
    the map that each fetch applies, so that uint8 samples stay uint8;
  - rewriting: one sample in, one sample out; run once at set-up, the result is kept as float32.
  Numbers that are fitted come from the training split alone; the test split borrows the training split's transforms.
*/
typedef struct _p_CkTransform *CkTransform;

typedef struct {
  const char *name; /* in -data_transform, and of its group in a file */
  const char *summary;
  PetscBool   affine;
  PetscBool   fitted;     /* has numbers of its own, see fit */
  PetscBool   keeps_maps; /* rewriting, and commutes with every affine map per channel: works on the stored numbers */
  /* From in, bytes_in and the settings: out, bytes_out, or a user error recorded. Not collective, same on all ranks.
     Not called for a transform that comes from a file. */
  PetscErrorCode (*setup)(CkTransform t, const CkDataSettings *settings, CkVerdict *verdict);
  /* Fitted ones: from this set-up training split, as transformed so far. Collective. */
  PetscErrorCode (*fit)(CkTransform t, CkData data);
  /* Affine ones: [t->in.c] each. */
  PetscErrorCode (*map)(CkTransform t, double scale[], double shift[]);
  /* Rewriting ones: n samples [n x in] to [n x out]; in and out do not overlap. */
  PetscErrorCode (*apply)(CkTransform t, PetscInt n, const float *in, float *out);
  /* Numbers to and from a group of a file; collective; NULL: none. */
  PetscErrorCode (*write)(CkTransform t, CkFile file, const char group[]);
  PetscErrorCode (*read)(CkTransform t, CkFile file, const char group[]);
  /* Bytes of its numbers per node if shared, and more while fitting, on one rank. NULL: negligible. */
  void (*memory)(CkTransform t, double *shared, double *fitting);
  PetscErrorCode (*destroy)(CkTransform t); /* frees t->context; collective */
} CkTransformOps;

struct _p_CkTransform {
  const CkTransformOps *ops;
  MPI_Comm              comm;
  PetscInt              references;
  CkShape               in, out;
  PetscBool             bytes_in, bytes_out; /* numbers are in units of 0 .. 255 */
  PetscBool             ready;               /* fitted, or nothing to fit */
  PetscBool             shared;              /* large numbers may go to shared memory */
  void                 *context;
};

/* transforms.c */
PetscErrorCode CkTransformCreate(MPI_Comm comm, const char name[], CkTransform *t); /* *t = NULL: no such name */
PetscErrorCode CkTransformReference(CkTransform t);
PetscErrorCode CkTransformDestroy(CkTransform *t);
PetscErrorCode CkTransformNames(char text[], size_t length);

/* An array [n] of doubles as dataset "<group>/<name>". Reading: a user error if it has another shape. */
PetscErrorCode CkTransformWriteArray(CkFile file, const char group[], const char name[], int rank,
                                     const PetscInt64 shape[], const double values[], const char description[]);
PetscErrorCode CkTransformReadArray(CkFile file, MPI_Comm comm, const char group[], const char name[], int rank,
                                    const PetscInt64 shape[], double values[]);

extern const CkTransformOps CkTransformScale, CkTransformStandardise, CkTransformPool, CkTransformGcn, CkTransformZca;
