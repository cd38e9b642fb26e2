#pragma once
#include <clarkia/trajectory.h>

/* trajectoryimpl.h: what trajectory*.c share. */

struct _p_CkTrajectory {
  MPI_Comm         comm;
  PetscMPIInt      rank;
  char             name[PETSC_MAX_PATH_LEN]; /* as given; of the finished file when writing */
  char             part[PETSC_MAX_PATH_LEN]; /* writing: "<name>.part" */
  CkFile           file;                     /* NULL: finished */
  CkTrajectoryInfo info;                     /* snapshots: writing, those planned */
  PetscBool        there[CK_SCALARS];        /* reading: the dataset is in the file */

  /* Writing. */
  CkTrajectoryPart mine;
  PetscInt64       flushed, buffered;          /* snapshots in the file; in memory */
  PetscInt64       room;                       /* of the buffer, in snapshots; the same on all ranks; 0: none yet */
  double           bytes, interval, last;      /* of the buffer; between flushes; MPI_Wtime() of the last one */
  void            *values;                     /* [room x replicas x columns] in the type of the file */
  double          *scalars[CK_SCALARS], *time; /* [room x replicas], [room] */
  PetscInt64      *step;                       /* [room] */
};

/* /weights and the scalars have an axis of replicas where there are several. */
static inline int CkTrajectoryAxes(const CkTrajectoryInfo *info)
{
  return info->replicas > 1 ? 1 : 0;
}

const char *CkTrajectoryContentName(CkTrajectoryContent content); /* "all" */

PetscErrorCode CkTrajectoryNew(MPI_Comm comm, const char name[], CkTrajectory *trajectory);
/* Attributes of the root into info; user error if the file is no trajectory. */
PetscErrorCode CkTrajectoryReadInfo(CkTrajectory trajectory, CkFile file, CkTrajectoryInfo *info);
