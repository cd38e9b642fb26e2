#pragma once
#include <clarkia/file.h>

/*
  CkTrajectory: snapshots of weights along a run, with what was measured there, in one HDF5 file (docs/formats.md,
  "Trajectory"). T snapshots of R replicas of m columns: a column is a weight, or a projection on a direction.

  While it is written the file is called "<name>.part" and only takes numbers: its names, shapes and places are made
  before the first snapshot, for all that are planned. What has been flushed is counted in the file after it has been
  written, so that a run that is killed leaves a file that is right up to the last flush, and one that went on beyond a
  checkpoint is cut back by setting the count. CkTrajectoryFinish() gives the file its name.

  Calls are collective unless said otherwise. User errors name the file and the object.
*/
typedef struct _p_CkTrajectory *CkTrajectory;

typedef enum { CK_CONTENT_ALL, CK_CONTENT_SUBSET, CK_CONTENT_PROJECTIONS } CkTrajectoryContent;

/* Numbers of a snapshot beside the weights; float64, NaN where not measured. error: share of wrong predictions 0 .. 1;
   loss, error: over all training samples; gradient norm |grad f|; noise trace: tr D; weights norm |x|, over all weights
   whatever is recorded of them; weights dot gradient: x.grad f. f has -loss_l2 in it, but not the l2 of the dynamics.
 */
typedef enum {
  CK_SCALAR_LOSS,
  CK_SCALAR_ERROR,
  CK_SCALAR_TEST_LOSS,
  CK_SCALAR_TEST_ERROR,
  CK_SCALAR_GRADIENT_NORM,
  CK_SCALAR_NOISE_TRACE,
  CK_SCALAR_WEIGHTS_NORM,
  CK_SCALAR_WEIGHTS_DOT_GRADIENT,
  CK_SCALARS
} CkTrajectoryScalar;
const char *CkTrajectoryScalarName(CkTrajectoryScalar scalar); /* name of the dataset: "loss" */

/* What a trajectory is of. */
typedef struct {
  CkTrajectoryContent content;
  CkType              type;               /* of the weights: CK_F32 or CK_F64 */
  PetscInt64          snapshots;          /* T; to CkTrajectoryCreate(): those planned */
  PetscInt64          columns;            /* m */
  PetscInt            replicas;           /* R >= 1 */
  PetscInt64          dimension, samples; /* d, N */
  PetscInt64          batch;              /* B; 0: the process has none */
  PetscInt64          seed;
  double              rate, momentum, l2; /* learning rate at the start */
  PetscBool           replacement;
  char                dynamics_type[32];
  char                mode[16];     /* of the gradients: "training" or "evaluation"; "": an old file, which is silent */
  PetscBool           mode_matters; /* in training mode they are others: batch norm, dropout, augmentation */
} CkTrajectoryInfo;

PetscErrorCode CkTrajectoryDestroy(CkTrajectory *trajectory);                        /* what was not flushed is lost */
PetscErrorCode CkTrajectoryGetInfo(CkTrajectory trajectory, CkTrajectoryInfo *info); /* not collective */

/* ---- Reading ---- */

/* A finished file, or the ".part" file of a run that was stopped; then T is what had been flushed. User errors: no
   trajectory; a dataset that is missing or of a wrong shape; more snapshots counted than there is room for. Files
   without /weights_norm and /weights_dot_gradient are read as not having measured them. */
PetscErrorCode CkTrajectoryOpen(MPI_Comm comm, const char name[], CkTrajectory *trajectory);
PetscErrorCode CkTrajectoryReadSteps(CkTrajectory trajectory, PetscInt64 steps[]); /* [T] updates done, all ranks */
PetscErrorCode CkTrajectoryReadTimes(CkTrajectory trajectory,
                                     double       times[]); /* [T] sum of learning rates, all ranks */
PetscErrorCode CkTrajectoryReadScalar(CkTrajectory trajectory, CkTrajectoryScalar scalar, PetscInt replica,
                                      double values[]); /* [T], all ranks */
/* Which weight each column is, [m], all ranks; not for projections. */
PetscErrorCode CkTrajectoryReadColumns(CkTrajectory trajectory, PetscInt64 columns[]);
/* Rows first .. first + count of the directions [m x d]; ranks may ask for different rows, or none. */
PetscErrorCode CkTrajectoryReadDirections(CkTrajectory trajectory, PetscInt64 first, PetscInt64 count,
                                          double directions[]);
/* values [rows x columns], row-major: snapshots row .. row + rows of columns column .. column + columns of one replica;
   each rank asks for what it wants, or for nothing (rows or columns 0). A slab of columns over all T is contiguous in
   pieces of about a megabyte (docs/formats.md), so that a trajectory larger than memory is read slab by slab. */
PetscErrorCode CkTrajectoryRead(CkTrajectory trajectory, PetscInt replica, PetscInt64 row, PetscInt64 rows,
                                PetscInt64 column, PetscInt64 columns, double values[]);

/* ---- Writing ---- */

/* What this rank hands over of each snapshot: a box of replicas and columns; the boxes of all ranks cover each number
   once. A rank without a share has replicas 0 or columns 0. scalars: it also hands over those of its replicas. */
typedef struct {
  PetscInt   replica, replicas;
  PetscInt64 column, columns;
  PetscBool  scalars;
} CkTrajectoryPart;

/* Makes "<name>.part" with room for all snapshots planned; one that stands there is replaced. columns: [part.columns]
   numbers of the weights; directions [part.columns x dimension] (projections, elsewhere NULL): of the columns of this
   rank, used where its part begins at replica 0. User errors: folder, disk too small. */
PetscErrorCode CkTrajectoryCreate(MPI_Comm comm, const char name[], const CkTrajectoryInfo *info,
                                  const CkTrajectoryPart *part, const PetscInt64 columns[], const double directions[],
                                  CkTrajectory *trajectory);
/* Goes on with "<name>.part", or with the finished file, after its first `snapshots` ones; the others are forgotten.
   info and part as before; info->snapshots may have changed: then the file is made anew from the old one. User error:
   the file is of another run (naming the attribute), or has fewer snapshots. */
PetscErrorCode CkTrajectoryResume(MPI_Comm comm, const char name[], const CkTrajectoryInfo *info,
                                  const CkTrajectoryPart *part, PetscInt64 snapshots, CkTrajectory *trajectory);
/* Room in memory of this rank in bytes, and seconds between two flushes (0: each snapshot); before the first append. */
PetscErrorCode CkTrajectorySetBuffer(CkTrajectory trajectory, double bytes, double seconds);
/* The next snapshot: values [part.replicas x part.columns], scalars [CK_SCALARS x part.replicas] (NULL without scalars)
   are copied. Flushes where the buffer is full or its time is over. */
PetscErrorCode CkTrajectoryAppend(CkTrajectory trajectory, PetscInt64 step, double time, const double values[],
                                  const double scalars[]);
PetscErrorCode CkTrajectoryFlush(CkTrajectory trajectory);
PetscErrorCode CkTrajectoryGetCount(CkTrajectory trajectory,
                                    PetscInt64  *count); /* snapshots appended; not collective */
/* All planned snapshots are there, else PETSC_ERR_ORDER: the file gets its name. Then only CkTrajectoryDestroy(). */
PetscErrorCode CkTrajectoryFinish(CkTrajectory trajectory);
/* Bytes of the file on disk, for plans. Not collective. */
double CkTrajectoryBytes(const CkTrajectoryInfo *info);
