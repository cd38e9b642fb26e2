/* evaluate.c: `clarkia evaluate`, loss and error of given weights, without training. */
#include "problem.h"
#include <clarkia/batch.h>
#include <clarkia/command.h>
#include <clarkia/error.h>
#include <clarkia/file.h>
#include <clarkia/options.h>
#include <clarkia/progress.h>

typedef struct {
  CkProblem problem;
  PetscInt  N, correct;
  double   *values; /* [N] f_k */
  double    loss;
  char      output[PETSC_MAX_PATH_LEN];
} Evaluation;

static PetscErrorCode Print(const Evaluation *e, double seconds)
{
  char    text[32];
  CkTable rows;

  PetscFunctionBeginUser;
  CkFormatSeconds(seconds, text);
  PetscCall(CkTableCreate(e->problem.comm, "Evaluation", &rows));
  PetscCall(CkProblemDescribe(&e->problem, rows));
  PetscCall(CkTableRow(rows, "loss", "mean over the samples, -loss_l2 included", "%.6g", e->loss));
  PetscCall(CkTableRow(rows, "error", "", "%.3f%%", 100 * (1 - (double)e->correct / (double)e->N)));
  PetscCall(CkTableRow(rows, "correct", "", "%" PetscInt_FMT " of %" PetscInt_FMT, e->correct, e->N));
  PetscCall(CkTableRow(rows, "time", "", "%s", text));
  if (e->output[0]) PetscCall(CkTableRow(rows, "written to", "", "%s", e->output));
  PetscCall(CkTableDestroy(&rows));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode WriteResult(const Evaluation *e, CkFile file)
{
  const PetscInt64 shape[] = {e->N};

  PetscFunctionBeginUser;
  PetscCall(CkFileWriteProvenance(file));
  PetscCall(CkFileWriteInt(file, "/", "samples", e->N));
  PetscCall(CkFileWriteInt(file, "/", "correct", e->correct));
  PetscCall(CkFileWriteReal(file, "/", "loss", e->loss));
  PetscCall(CkFileWriteReal(file, "/", "error", 1 - (double)e->correct / (double)e->N));
  PetscCall(
    CkFileWriteAll(file, "/values", CK_F64, 1, shape, e->values, "1", "loss f_k of each sample, -loss_l2 included"));
  PetscCall(CkFileCommit(file));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The sum runs over the samples in their order on every rank, so its bits do not depend on the number of ranks. */
static PetscErrorCode Evaluate(Evaluation *e, CkFile file)
{
  const CkBatch all = CkBatchAll(e->N);
  const double  start = MPI_Wtime();
  double        sum = 0;

  PetscFunctionBeginUser;
  PetscCall(CkLossValues(e->problem.loss, &all, e->values, &e->correct));
  for (PetscInt k = 0; k < e->N; ++k) sum += e->values[k];
  e->loss = sum / (double)e->N;
  if (file) PetscCall(WriteResult(e, file));
  PetscCall(Print(e, MPI_Wtime() - start));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Work(Evaluation *e)
{
  CkFile         file = NULL;
  PetscErrorCode ierr;

  PetscFunctionBeginUser;
  if (e->output[0]) PetscCall(CkFileCreate(e->problem.comm, e->output, &file));
  PetscCall(PetscMalloc1(e->N, &e->values));
  ierr = Evaluate(e, file);
  PetscCall(PetscFree(e->values));
  if (!ierr || CkErrorWasCollective()) PetscCall(CkFileDestroy(&file)); /* removes what was not committed */
  PetscCall(ierr);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode PrintPlan(const Evaluation *e)
{
  CkTable rows;

  PetscFunctionBeginUser;
  PetscCall(CkTableCreate(e->problem.comm, "Evaluation", &rows));
  PetscCall(CkProblemDescribe(&e->problem, rows));
  PetscCall(CkTableRow(rows, "passes", "", "a forward pass over the samples"));
  PetscCall(CkTableDestroy(&rows));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Run(MPI_Comm comm)
{
  Evaluation e = {.N = 0};
  PetscBool  dry_run;

  PetscFunctionBeginUser;
  PetscCall(CkOptionsGetBool("dry_run", &dry_run, NULL));
  PetscCall(CkOptionsGetString("output", e.output, sizeof(e.output), NULL));
  PetscCall(CkProblemCreate(comm, (PetscBool)!dry_run, &e.problem));
  PetscCall(CkDataGetSize(e.problem.data, &e.N));
  if (dry_run) PetscCall(PrintPlan(&e));
  else PetscCall(Work(&e));
  PetscCall(CkProblemDestroy(&e.problem));
  PetscFunctionReturn(PETSC_SUCCESS);
}

const CkCommand ck_command_evaluate = {.name = "evaluate",
                                       .summary = "loss and error of given weights on a data set, without training",
                                       .example = "clarkia evaluate -data mnist/ -data_split test -net model.onnx",
                                       .register_options = CkProblemRegisterOptions,
                                       .run = Run};
