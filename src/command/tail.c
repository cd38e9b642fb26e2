/* tail.c: `clarkia tail`, is gradient noise normal or heavy-tailed? */
#include "problem.h"
#include <clarkia/command.h>
#include <clarkia/error.h>
#include <clarkia/options.h>
#include <clarkia/progress.h>
#include <clarkia/tail.h>

static PetscErrorCode RegisterOptions(void)
{
  PetscFunctionBeginUser;
  PetscCall(CkProblemRegisterOptions());
  PetscCall(CkDiffusionRegisterOptions());
  PetscCall(CkTailRegisterOptions());
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode WriteResult(const CkProblem *problem, CkTail tail, CkFile file)
{
  const char *samples;

  PetscFunctionBeginUser;
  PetscCall(CkFileWriteProvenance(file));
  PetscCall(CkDataGetDescription(problem->data, &samples));
  PetscCall(CkFileWriteString(file, "/", "samples_from", samples));
  PetscCall(CkFileWriteString(file, "/", "weights_from", problem->weights));
  PetscCall(CkTailWrite(tail, file));
  PetscCall(CkFileCommit(file));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Describe(const CkProblem *problem)
{
  CkTable rows;

  PetscFunctionBeginUser;
  PetscCall(CkTableCreate(problem->comm, "Noise of", &rows));
  PetscCall(CkProblemDescribe(problem, rows));
  PetscCall(CkTableDestroy(&rows));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* D is seen through its samples here: what shapes or assembles it elsewhere has no effect. */
static PetscErrorCode CheckEffect(MPI_Comm comm)
{
  static const char *const keys[] = {"-noise_centred", "-noise_gram_precision", "-noise_checkpoint",
                                     "-noise_checkpoint_interval"};

  PetscFunctionBeginUser;
  for (size_t i = 0; i < PETSC_STATIC_ARRAY_LENGTH(keys); ++i) {
    PetscBool set;

    PetscCall(PetscOptionsHasName(NULL, NULL, keys[i], &set));
    CkCheckAll(comm, !set, PETSC_ERR_ARG_INCOMP, "%s has no effect on tail: leave it out", keys[i]);
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The output file is opened before the work starts: a folder that cannot be written is found at once. */
static PetscErrorCode Study(CkProblem *problem, CkTail tail)
{
  char           output[PETSC_MAX_PATH_LEN];
  CkFile         file = NULL;
  PetscErrorCode ierr;

  PetscFunctionBeginUser;
  PetscCall(CkOptionsGetString("output", output, sizeof(output), NULL));
  if (output[0]) PetscCall(CkFileCreate(problem->comm, output, &file));
  ierr = CkTailRun(tail);
  if (!ierr) ierr = Describe(problem);
  if (!ierr) ierr = CkTailView(tail);
  if (!ierr && file) ierr = WriteResult(problem, tail, file);
  if (!ierr && file) ierr = CkLog(problem->comm, "tails written to %s", output);
  if (!ierr || CkErrorWasCollective()) PetscCall(CkFileDestroy(&file)); /* removes what was not committed */
  PetscCall(ierr);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Run(MPI_Comm comm)
{
  PetscBool   dry;
  CkProblem   problem;
  CkDiffusion D;
  CkTail      tail;

  PetscFunctionBeginUser;
  PetscCall(CheckEffect(comm));
  PetscCall(CkOptionsGetBool("dry_run", &dry, NULL));
  PetscCall(CkProblemCreate(comm, (PetscBool)!dry, &problem));
  PetscCall(CkDiffusionCreate(problem.loss, &D));
  PetscCall(CkDiffusionSetFromOptions(D));
  PetscCall(CkTailCreate(D, &tail));
  PetscCall(CkTailSetFromOptions(tail));
  if (dry) PetscCall(CkTailPlan(tail, PETSC_TRUE));
  else PetscCall(Study(&problem, tail));
  PetscCall(CkTailDestroy(&tail));
  PetscCall(CkDiffusionDestroy(&D));
  PetscCall(CkProblemDestroy(&problem));
  PetscFunctionReturn(PETSC_SUCCESS);
}

const CkCommand ck_command_tail = {
  .name = "tail",
  .summary = "is gradient noise normal or heavy-tailed: across minibatches at fixed weights, and across weights",
  .example = "clarkia tail -data fashion-mnist -net small-lenet -state lenet.h5 -tail_batch 128 -output tail.h5",
  .register_options = RegisterOptions,
  .run = Run};
