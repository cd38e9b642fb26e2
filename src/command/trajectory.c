/* trajectory.c: `clarkia trajectory`, what the snapshots of a run reveal. */
#include <clarkia/analysis.h>
#include <clarkia/command.h>
#include <clarkia/error.h>
#include <clarkia/options.h>
#include <clarkia/progress.h>

/* The output file is opened before the work starts: a folder that cannot be written is found at once. */
static PetscErrorCode Analyse(MPI_Comm comm, CkAnalysis analysis)
{
  char           output[PETSC_MAX_PATH_LEN];
  CkFile         file = NULL;
  PetscErrorCode ierr;

  PetscFunctionBeginUser;
  PetscCall(CkOptionsGetString("output", output, sizeof(output), NULL));
  if (output[0]) PetscCall(CkFileCreate(comm, output, &file));
  ierr = CkAnalysisRun(analysis);
  if (!ierr) ierr = CkAnalysisView(analysis);
  if (!ierr && file) ierr = CkFileWriteProvenance(file);
  if (!ierr && file) ierr = CkAnalysisWrite(analysis, file);
  if (!ierr && file) ierr = CkFileCommit(file);
  if (!ierr && file) ierr = CkLog(comm, "analysis written to %s", output);
  if (!ierr || CkErrorWasCollective()) PetscCall(CkFileDestroy(&file)); /* removes what was not committed */
  PetscCall(ierr);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Run(MPI_Comm comm)
{
  char         name[PETSC_MAX_PATH_LEN];
  PetscBool    dry;
  CkTrajectory trajectory;
  CkAnalysis   analysis;

  PetscFunctionBeginUser;
  PetscCall(CkOptionsGetString("trajectory", name, sizeof(name), NULL));
  CkCheckAll(comm, name[0], PETSC_ERR_ARG_INCOMP, "trajectory needs -trajectory FILE.h5, the file to analyse");
  PetscCall(CkOptionsGetBool("dry_run", &dry, NULL));
  PetscCall(CkTrajectoryOpen(comm, name, &trajectory));
  PetscCall(CkAnalysisCreate(comm, trajectory, &analysis));
  PetscCall(CkAnalysisSetFromOptions(analysis));
  if (dry) PetscCall(CkAnalysisPlan(analysis, PETSC_TRUE));
  else PetscCall(Analyse(comm, analysis));
  PetscCall(CkAnalysisDestroy(&analysis));
  PetscCall(CkTrajectoryDestroy(&trajectory));
  PetscFunctionReturn(PETSC_SUCCESS);
}

const CkCommand ck_command_trajectory = {
  .name = "trajectory",
  .summary = "what the snapshots of a run reveal: spectra, correlations, stationarity, and whether it circulates",
  .example = "clarkia trajectory -trajectory run.h5 -trajectory_burn_in 1000 -output analysis.h5",
  .register_options = CkAnalysisRegisterOptions,
  .run = Run};
