#pragma once
#include <clarkia/diffusion.h>

/*
  CkTail: is the noise of minibatch gradients, g_B - gbar at fixed weights, normal or stable? docs/theory.md,
  section 20. across minibatches: for some coordinates or directions, over many minibatches: moments, Anderson-Darling
  tests with a correction for their number, stable index, quantiles; and the ratio of the variances without and with
  replacement; across weights: all coordinates of one minibatch's noise as if they were a sample (as is often done),
  beside what normal noise of the same covariance gives when it is flattened the same way. Gradients are those of
  evaluation mode, without weight decay. Collective; the same bits on any number of ranks.
*/
typedef struct _p_CkTail *CkTail;

PetscErrorCode CkTailRegisterOptions(void);
PetscErrorCode CkTailCreate(CkDiffusion D, CkTail *tail); /* D is borrowed */
/* User errors: batch larger than the data; a key without effect; a spectrum of another network. */
PetscErrorCode CkTailSetFromOptions(CkTail tail);
PetscErrorCode CkTailPlan(CkTail tail, PetscBool print);
/* Passes over the data: one for each group of directions and of minibatches that fits -noise_columns and -noise_memory,
   two for D_ii and the norms. User errors: not enough memory; weights that no minibatch moves. */
PetscErrorCode CkTailRun(CkTail tail);
PetscErrorCode CkTailView(CkTail tail);
PetscErrorCode CkTailWrite(CkTail tail, CkFile file);
PetscErrorCode CkTailDestroy(CkTail *tail);
