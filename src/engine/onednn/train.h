#pragma once
#include "plan.h"

/* train.c: what training mode adds to the backward pass of dense layers and convolutions: gradients of whole sum
   blocks, flushed as soon as the block's last chunk has passed. */
PetscInt       CkTrainRows(PetscInt fan_in); /* rows of a dense layer's gradient formed at a time */
PetscErrorCode CkTrainLinear(CkPlan *plan, CkStep *step, PetscInt chunk, PetscInt count);
PetscErrorCode CkOnednnTrain(CkEngine engine, const CkTrainingBlocks *blocks, double values[], int correct[],
                             double statistics[], CkExactSum gradient);
