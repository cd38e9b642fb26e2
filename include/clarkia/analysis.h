#pragma once
#include <clarkia/trajectory.h>

/*
  CkAnalysis: what the snapshots of a trajectory reveal: spectra of increments, autocorrelations, the gradient norm,
  whether the run is stationary, and whether it circulates. docs/theory.md, section 16; docs/formats.md, "Analysis".

  Works out of core: slabs of columns over all snapshots, dealt out to the ranks; what is in memory is one slab, the
  sums over columns, and the snapshots in the chosen directions. The same bits on any number of ranks and for any slab.
  All calls are collective on the communicator given to Create; results are the same on every rank.
*/
typedef struct _p_CkAnalysis *CkAnalysis;

PetscErrorCode CkAnalysisRegisterOptions(void); /* the -trajectory_ keys */
/* The trajectory is borrowed. */
PetscErrorCode CkAnalysisCreate(MPI_Comm comm, CkTrajectory trajectory, CkAnalysis *analysis);
/* Reads the keys and looks at steps and times. User errors: a key without effect, a file that a direction needs, too
   few snapshots after the burn-in, snapshots that are not equally spaced (naming the first that is not). */
PetscErrorCode CkAnalysisSetFromOptions(CkAnalysis analysis);
/* Memory of a rank, bytes to be read, operations: what -dry_run prints and what the memory check uses. */
PetscErrorCode CkAnalysisPlan(CkAnalysis analysis, PetscBool print);
/* One sweep over the file; errors besides those of reading: not enough memory. */
PetscErrorCode CkAnalysisRun(CkAnalysis analysis);
PetscErrorCode CkAnalysisView(CkAnalysis analysis); /* the summary table, verdict first */
PetscErrorCode CkAnalysisWrite(CkAnalysis analysis, CkFile file);
PetscErrorCode CkAnalysisDestroy(CkAnalysis *analysis);
