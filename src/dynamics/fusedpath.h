#pragma once
#include "dynamicsimpl.h"
#include <clarkia/fused.h>

/*
  fusedpath.h: the updates of small dense nets many at a time (include/clarkia/fused.h). The process is the same,
  computed with other roundings in float32. Rank 0 of the loss computes and hands the result to the others: a run has
  the same bits on any number of ranks, and more ranks make it no faster.

  It is taken by -dynamics_fused on, and by auto where
  - the type is sgd in training mode (or the net has no batch norm), the engine is onednn and -loss_l2 is 0;
  - the net is a chain of dense layers with batch norm and ReLU, normalised over whole batches;
  - it has at most CK_FUSED_WEIGHTS weights and the samples take at most CK_FUSED_BYTES.
*/
enum { CK_FUSED_WEIGHTS = 100000, CK_FUSED_BYTES = 1 << 30 };

/* Decides; the samples are not read yet. User error: `on` where it cannot be. Collective. */
PetscErrorCode CkFusedPathCreate(CkDynamics dynamics, CkFusedPath *path);
PetscErrorCode CkFusedPathDestroy(CkFusedPath *path);
PetscBool      CkFusedPathTaken(CkFusedPath path);
/* Bytes that rank 0 needs for it; 0 where it is not taken. */
double CkFusedPathMemory(CkFusedPath path);
/* Why not; "" where it is taken. */
const char *CkFusedPathReason(CkFusedPath path);
/* `updates` updates within this epoch on samples run->index[0], [1], .. : moves dynamics->x, the type's momentum and
   the state's running statistics, adds to run->loss and correct; sets run->n, updates, bad and value as
   CkFusedUpdate(), the same on all ranks. How updates are dealt out over calls changes no bit. Collective. */
PetscErrorCode CkFusedPathRun(CkFusedPath path, CkDynamics dynamics, PetscInt updates, CkFusedRun *run);
/* As CkLossGradient() of all samples in evaluation mode: g = grad f at dynamics->x, mean of f_k, right predictions. */
PetscErrorCode CkFusedPathGradient(CkFusedPath path, CkDynamics dynamics, Vec g, double *mean, PetscInt *correct);
