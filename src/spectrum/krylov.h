#pragma once
#include "blockeps.h"
#include "spectrumimpl.h"

/* krylov.h: pieces of the route `krylov`, private to it. */

/* krylov_plan.c: form, sizes and costs from the options and the sizes of the problem, into s->krylov. The basis and the
   block are made smaller where the memory limit is short. Collective. */
PetscErrorCode CkKrylovPlanMake(CkSpectrum s);

/* krylov_solver.c */
/* Convergence by residual over the largest value seen; sample: the residual of the eigenvector of D that belongs to the
   one in sample space, which is sqrt(lambda_max / lambda) times as large at most. */
typedef struct {
  double    largest;
  PetscBool sample;
  MPI_Comm  comm; /* of the spectrum, whose first rank says how far the solver is */
  double    told; /* when it last did: CkElapsed() */
} CkKrylovScale;
/* A solver as s->krylov says, for A (D, or K on PETSC_COMM_SELF), with SLEPc's options taken; checked. scale lives as
   long as the solver. */
PetscErrorCode CkKrylovSolverCreate(CkSpectrum s, Mat A, CkKrylovScale *scale, EPS *eps);

/* krylov_start.c: the initial space from the eigenvectors of -spectrum_start; user error where the file lacks them or
   is of another dimension. */
PetscErrorCode CkKrylovSetStart(CkSpectrum s, EPS eps);

/* krylov_checkpoint.c: -spectrum_checkpoint. Begin: goes on from the file where there is one (user error if it is of
   another problem), and lets the solver write it. End: user error CK_ERR_REQUEUE if the solver was stopped. */
typedef struct _p_CkKrylovCheckpoint *CkKrylovCheckpoint;
PetscErrorCode                        CkKrylovCheckpointBegin(CkSpectrum s, EPS eps, CkKrylovCheckpoint *checkpoint);
PetscErrorCode                        CkKrylovCheckpointEnd(CkKrylovCheckpoint *checkpoint);
