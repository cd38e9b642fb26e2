/* train.c: `clarkia train`, from options to state files. */
#include "train.h"
#include <clarkia/command.h>
#include <clarkia/dynamics.h>
#include <clarkia/error.h>
#include <clarkia/file.h>
#include <clarkia/interrupt.h>
#include <clarkia/options.h>
#include <clarkia/progress.h>
#include <clarkia/recorder.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

static const CkOption table[] = {
  {"train_save", CK_OPTION_REALS, NULL, 0, 1, NULL,
   "also save at these fractions of the run: 0.2,0.4 writes NAME-020.h5 and NAME-040.h5 beside -output NAME.h5"},
  {"train_bn_group", CK_OPTION_INT, "0", 0, 2147483647, NULL,
   "samples that batch norm normalises together; 0: the whole batch"},
  {"train_journal", CK_OPTION_STRING, NULL, 0, 0, NULL,
   "text file to which each epoch adds a line, for analysis/watch.py; at most one a second"},
  {"train_test", CK_OPTION_BOOL, "true", 0, 0, NULL, "evaluate on the test split, if there is one, after each epoch"},
  {0}};

static PetscErrorCode RegisterOptions(void)
{
  PetscFunctionBeginUser;
  PetscCall(CkProblemRegisterOptions());
  PetscCall(CkDataRegisterAugmentOptions());
  PetscCall(CkDynamicsRegisterOptions());
  PetscCall(CkRecorderRegisterOptions());
  PetscCall(CkCheckpointRegisterOptions());
  PetscCall(CkOptionsRegister("Train", table));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Reads -output; the names of the files must differ. */
static PetscErrorCode ReadOutput(CkTraining *t)
{
  char a[PETSC_MAX_PATH_LEN + 8], b[PETSC_MAX_PATH_LEN + 8];

  PetscFunctionBeginUser;
  PetscCall(CkOptionsGetString("output", t->output, sizeof(t->output), NULL));
  for (PetscInt i = 0; i < t->nsaves; ++i) {
    for (PetscInt j = 0; j < i; ++j) {
      CkTrainSaveName(t->output, t->saves[i], a);
      CkTrainSaveName(t->output, t->saves[j], b);
      CkCheckAll(t->comm, strcmp(a, b), PETSC_ERR_ARG_INCOMP,
                 "-train_save %g and %g would write the same file, %s: fractions must differ by whole percents",
                 t->saves[j], t->saves[i], a);
    }
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Files of -output, -record and -train_checkpoint are three. */
static PetscErrorCode CheckNames(const CkTraining *t)
{
  static const char *const keys[] = {"record", "train_checkpoint"};
  char                     names[2][PETSC_MAX_PATH_LEN];

  PetscFunctionBeginUser;
  for (int i = 0; i < 2; ++i) {
    PetscCall(CkOptionsGetString(keys[i], names[i], sizeof(names[i]), NULL));
    CkCheckAll(t->comm, !names[i][0] || strcmp(names[i], t->output) != 0, PETSC_ERR_ARG_INCOMP,
               "-%s and -output are both %s: give them different names", keys[i], t->output);
    PetscCall(CkFileCheckOutput(t->comm, names[i]));
  }
  CkCheckAll(t->comm, !names[0][0] || strcmp(names[0], names[1]) != 0, PETSC_ERR_ARG_INCOMP,
             "-record and -train_checkpoint are both %s: give them different names", names[0]);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* No file that is written, at the end or on the way, may be one that was read. */
static PetscErrorCode CheckInputs(const CkTraining *t)
{
  char name[PETSC_MAX_PATH_LEN + 8];

  PetscFunctionBeginUser;
  PetscCall(CheckNames(t));
  PetscCall(CkFileCheckOutput(t->comm, t->output));
  for (PetscInt i = 0; i < t->nsaves; ++i) {
    CkTrainSaveName(t->output, t->saves[i], name);
    PetscCall(CkFileCheckOutput(t->comm, name));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The folder must take a file now rather than after hours. */
static PetscErrorCode CheckOutput(CkTraining *t)
{
  CkFile file;

  PetscFunctionBeginUser;
  CkCheckAll(t->comm, t->output[0], PETSC_ERR_ARG_INCOMP,
             "train needs -output FILE.h5, the file to write the trained weights to");
  PetscCall(CheckInputs(t));
  PetscCall(CkFileCreate(t->comm, t->output, &file));
  PetscCall(CkFileDestroy(&file));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* CkTraining must not stop at the end of an epoch over a group of one sample (decision 11). */
static PetscErrorCode CheckGroups(const CkTraining *t)
{
  PetscInt N, batch, updates, buffers, ragged;

  PetscFunctionBeginUser;
  PetscCall(CkNetGetBuffers(t->problem.net, &buffers));
  PetscCall(CkDataGetSize(t->problem.data, &N));
  PetscCall(CkDynamicsGetBatches(t->dynamics, &batch, &updates));
  ragged = N % batch;
  for (int i = 0; i < 2; ++i) {
    const PetscInt n = i ? ragged : batch, rest = t->group ? n % t->group : n;

    CkCheckAll(t->comm, buffers == 0 || rest != 1, PETSC_ERR_ARG_INCOMP,
               "%s batch of %" PetscInt_FMT " samples leaves batch norm a group of one, which has no variance: change "
               "-dynamics_batch (%" PetscInt_FMT "), -train_bn_group (%" PetscInt_FMT ") or -data_count (%" PetscInt_FMT
               ")",
               i ? "the last" : "each", n, batch, t->group, N);
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode SaveState(CkDynamics dynamics, double fraction, void *context)
{
  CkTraining *t = (CkTraining *)context;
  PetscInt    step;
  char        name[PETSC_MAX_PATH_LEN + 8];

  PetscFunctionBeginUser;
  PetscCall(CkDynamicsGetProgress(dynamics, NULL, NULL, &step));
  CkTrainSaveName(t->output, fraction, name);
  PetscCall(CkDynamicsWrite(dynamics, name));
  PetscCall(CkLog(t->comm, "%3.0f%% of the run: weights after %" PetscInt_FMT " update%s written to %s", 100 * fraction,
                  step, CkPlural(step), name));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode CreateTest(CkTraining *t)
{
  PetscBool wanted;

  PetscFunctionBeginUser;
  PetscCall(CkOptionsGetBool("train_test", &wanted, NULL));
  if (!wanted) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(CkDataCreateTest(t->problem.data, &t->test_data));
  if (!t->test_data) {
    PetscCall(CkLog(t->comm, "the data have no test split: no test error"));
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  PetscCall(CkLossCreate(t->problem.loss_comm, &t->test));
  PetscCall(CkLossSetFromOptions(t->test));
  PetscCall(CkLossSetNetwork(t->test, t->problem.net, t->test_data, t->problem.state));
  PetscCall(CkLossSetUp(t->test));
  PetscCall(CkDynamicsSetTestLoss(t->dynamics, t->test));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode OpenJournal(CkTraining *t)
{
  char        name[PETSC_MAX_PATH_LEN];
  const char *net;
  PetscInt    epochs;

  PetscFunctionBeginUser;
  PetscCall(CkOptionsGetString("train_journal", name, sizeof(name), NULL));
  PetscCall(CkNetGetName(t->problem.net, &net));
  PetscCall(CkDynamicsGetProgress(t->dynamics, NULL, &epochs, NULL));
  if (name[0]) PetscCall(CkFileCheckOutput(t->comm, name));
  PetscCall(CkJournalOpen(t->comm, name, net, epochs, t->output, &t->journal));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* What a checkpoint must be of to be gone on from, beside what the dynamics know. */
static PetscErrorCode AddKeys(CkTraining *t)
{
  const char *net;
  uint64_t    data;
  PetscBool   flip;
  PetscInt    pad;

  PetscFunctionBeginUser;
  PetscCall(CkNetGetName(t->problem.net, &net));
  PetscCall(CkDataGetAugmentation(t->problem.data, &flip, &pad));
  PetscCall(CkCheckpointAddKey(t->checkpoint, PETSC_FALSE, "augmentation", "%s, moved by %" PetscInt_FMT,
                               flip ? "flipped" : "not flipped", pad));
  PetscCall(CkDataGetChecksum(t->problem.data, &data));
  PetscCall(CkCheckpointAddKey(t->checkpoint, PETSC_FALSE, "network", "%s", net));
  PetscCall(CkCheckpointAddKey(t->checkpoint, PETSC_FALSE, "data_checksum", "%016llx", (unsigned long long)data));
  PetscCall(CkCheckpointAddKey(t->checkpoint, PETSC_FALSE, "batch_norm_group", "%" PetscInt_FMT, t->group));
  PetscCall(CkCheckpointAddNumbers(t->checkpoint, "report", CK_TRAIN_NUMBERS, t->report));
  if (t->recorder) PetscCall(CkRecorderSetCheckpoint(t->recorder, t->checkpoint));
  else PetscCall(CkCheckpointAddKey(t->checkpoint, PETSC_TRUE, "trajectory", "none"));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* From the checkpoint if there is one, and the trajectory with it. */
static PetscErrorCode Begin(CkTraining *t)
{
  PetscBool resumed = PETSC_FALSE;

  PetscFunctionBeginUser;
  if (t->checkpoint) {
    PetscCall(AddKeys(t));
    PetscCall(CkCheckpointBegin(t->checkpoint, &resumed));
    if (resumed) CkTrainUnpackReport(t);
  }
  if (t->recorder) PetscCall(CkRecorderBegin(t->recorder, resumed));
  PetscCall(CkDynamicsGetProgress(t->dynamics, &t->first_epoch, NULL, NULL));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* A run that fails has told why; here is where, and what is left of it. */
static PetscErrorCode TellFailure(const CkTraining *t)
{
  PetscInt    step, batch, updates, replica, R, kept = -1;
  const char *file = "";
  char        of[64] = "";

  PetscFunctionBeginUser;
  PetscCall(CkDynamicsGetFailure(t->dynamics, &replica, &step));
  PetscCall(CkDynamicsGetBatches(t->dynamics, &batch, &updates));
  PetscCall(CkReplicasGetCounts(t->replicas, &R, NULL, NULL, NULL));
  if (R > 1 && replica >= 0) PetscCall(PetscSNPrintf(of, sizeof(of), ", of replica %" PetscInt_FMT, replica));
  PetscCall(CkLog(t->comm,
                  "the run ended in update %" PetscInt_FMT ", batch %" PetscInt_FMT " of epoch %" PetscInt_FMT "%s",
                  step + 1, step % updates + 1, step / updates + 1, of));
  if (t->checkpoint) PetscCall(CkCheckpointGetLast(t->checkpoint, &file, &kept));
  if (kept >= 0) PetscCall(CkLog(t->comm, "the last good checkpoint is %s, after update %" PetscInt_FMT, file, kept));
  else if (t->checkpoint) PetscCall(CkLog(t->comm, "there is no checkpoint yet"));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* To the end, or until it is stopped; then all that has to be kept is on the disk. */
static PetscErrorCode RunToEnd(CkTraining *t)
{
  PetscErrorCode ierr;
  const char    *file;
  PetscInt       step, kept;

  PetscFunctionBeginUser;
  ierr = CkDynamicsRun(t->dynamics);
  if (ierr && ierr != CK_ERR_REQUEUE && CkErrorWasCollective()) PetscCall(TellFailure(t));
  PetscCall(ierr);
  if (t->checkpoint) {
    PetscCall(CkDynamicsGetProgress(t->dynamics, NULL, NULL, &step));
    PetscCall(CkCheckpointGetLast(t->checkpoint, &file, &kept));
    if (kept != step) PetscCall(CkCheckpointWrite(t->checkpoint));
  }
  if (t->recorder) PetscCall(CkRecorderFinish(t->recorder));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Train(CkTraining *t)
{
  double data, training;

  PetscFunctionBeginUser;
  PetscCall(CkProblemDataMemory(&t->problem, &data));
  PetscCall(CkTrainMemory(t, &training));
  PetscCall(CkMemoryCheck(t->comm, data + training, "training",
                          "use more ranks, a smaller -dynamics_batch or -data_count, or raise -memory_limit"));
  PetscCall(CreateTest(t));
  PetscCall(CkDynamicsSetMonitor(t->dynamics, CkTrainReportEpoch, t));
  PetscCall(CkDynamicsSetMarks(t->dynamics, t->nsaves, t->saves, SaveState, t));
  PetscCall(Begin(t));
  t->start = MPI_Wtime();
  PetscCall(OpenJournal(t));
  PetscCall(RunToEnd(t));
  PetscCall(CkJournalClose(&t->journal));
  PetscCall(CkDynamicsWrite(t->dynamics, t->output));
  PetscCall(CkTrainPrintSummary(t));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Augmentation needs gradients of training mode. */
static PetscErrorCode CheckAugmentation(const CkTraining *t)
{
  PetscBool flip;
  PetscInt  pad;
  CkMode    mode;

  PetscFunctionBeginUser;
  PetscCall(CkDataGetAugmentation(t->problem.data, &flip, &pad));
  PetscCall(CkDynamicsGetMode(t->dynamics, &mode));
  CkCheckAll(t->comm, mode == CK_TRAINING || (!flip && pad == 0), PETSC_ERR_ARG_INCOMP,
             "-data_augment has no effect on gradients of evaluation mode: leave it out, or take -dynamics_type sgd");
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Run(MPI_Comm comm)
{
  CkTraining t = {.comm = comm, .nsaves = CK_TRAIN_SAVES};
  PetscBool  dry_run;
  PetscInt   replicas;
  MPI_Comm   group;

  PetscFunctionBeginUser;
  PetscCall(CkOptionsGetBool("dry_run", &dry_run, NULL));
  PetscCall(CkOptionsGetInt("dynamics_replicas", &replicas, NULL));
  PetscCall(CkOptionsGetReals("train_save", t.saves, &t.nsaves, NULL));
  PetscCall(CkOptionsGetInt("train_bn_group", &t.group, NULL));
  PetscCall(ReadOutput(&t));
  if (!dry_run) PetscCall(CheckOutput(&t));
  PetscCall(CkReplicasCreate(comm, replicas, &t.replicas));
  PetscCall(CkReplicasGetComms(t.replicas, NULL, &group));
  PetscCall(CkProblemOpen(comm, group, &t.problem));
  PetscCall(CkDataSetAugmentFromOptions(t.problem.data));
  PetscCall(CkLossSetBatchNormGroup(t.problem.loss, t.group));
  PetscCall(CkDynamicsCreate(t.problem.loss, t.problem.state, &t.dynamics));
  PetscCall(CkDynamicsSetReplicas(t.dynamics, t.replicas));
  PetscCall(CkDynamicsSetFromOptions(t.dynamics)); /* what is wrong there needs no data to be found */
  PetscCall(CheckAugmentation(&t));
  PetscCall(CkRecorderCreate(t.dynamics, &t.recorder));
  PetscCall(CkCheckpointCreate(t.dynamics, &t.checkpoint));
  PetscCall(CkProblemSetUp(&t.problem, (PetscBool)!dry_run));
  PetscCall(CkDynamicsSetUp(t.dynamics));
  if (t.recorder) PetscCall(CkRecorderSetUp(t.recorder));
  PetscCall(CheckGroups(&t));
  PetscCall(CheckInputs(&t)); /* by now all files of the data set are known */
  PetscCall(CkTrainPrintPlan(&t));
  if (!dry_run) PetscCall(Train(&t));
  PetscCall(CkRecorderDestroy(&t.recorder));
  PetscCall(CkCheckpointDestroy(&t.checkpoint));
  PetscCall(CkDynamicsDestroy(&t.dynamics));
  PetscCall(CkLossDestroy(&t.test));
  PetscCall(CkDataDestroy(&t.test_data));
  PetscCall(CkProblemDestroy(&t.problem));
  PetscCall(CkReplicasDestroy(&t.replicas));
  PetscFunctionReturn(PETSC_SUCCESS);
}

const CkCommand ck_command_train = {
  .name = "train",
  .summary = "train a network by stochastic gradient descent and save its weights",
  .example = "clarkia train -data fashion-mnist -net small-lenet -dynamics_epochs 4 -output lenet.h5",
  .register_options = RegisterOptions,
  .run = Run};
