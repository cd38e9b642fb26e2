#pragma once
#include <petscvec.h>

/*
  CkReplicas: how R independent runs share the ranks of a communicator. With P ranks there are G = gcd(R, P) groups of
  P/G neighbouring ranks; group g has replicas g R/G .. (g + 1) R/G - 1 and works on them in turn, each with all of its
  ranks. So all groups have as much to do. What follows calls a group's replicas `mine`, in order.
*/
typedef struct _p_CkReplicas *CkReplicas;

/* Collective on comm, which is kept until Destroy; 1 <= R <= 65535. */
PetscErrorCode CkReplicasCreate(MPI_Comm comm, PetscInt R, CkReplicas *replicas);
PetscErrorCode CkReplicasDestroy(CkReplicas *replicas);
/* Not collective. The whole communicator and this group's; borrowed. */
PetscErrorCode CkReplicasGetComms(CkReplicas replicas, MPI_Comm *all, MPI_Comm *group);
/* Not collective. All replicas; first of mine; how many of them; groups. Each may be NULL. */
PetscErrorCode CkReplicasGetCounts(CkReplicas replicas, PetscInt *all, PetscInt *first, PetscInt *mine,
                                   PetscInt *groups);
/* Collective. What has come of the work of each group, 0 or a code that all of its ranks have: where a group has met a
   user error, all groups return that of the first (CkErrorShare()). */
PetscErrorCode CkReplicasAgree(CkReplicas replicas, PetscErrorCode ierr);
/* Collective. mine [replicas of the group x width], the same on all ranks of the group -> all [R x width] everywhere.
 */
PetscErrorCode CkReplicasGather(CkReplicas replicas, PetscInt width, const double mine[], double all[]);
/* Collective. mean = (1/R) sum over all replicas of vectors mine[] of the group's communicator; may be one of them.
   Terms are added in the order of the replicas: the same bits on any number of ranks. Each rank sends its part of the
   vectors once and receives as much. */
PetscErrorCode CkReplicasMean(CkReplicas replicas, const Vec mine[], Vec mean);
/* The same for arrays [n] that all ranks of the group hold. */
PetscErrorCode CkReplicasMeanArrays(CkReplicas replicas, PetscInt n, const double *const mine[], double mean[]);
