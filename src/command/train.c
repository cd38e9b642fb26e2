/* train.c: `clarkia train`, from options to state files. */
#include "journal.h"
#include "problem.h"
#include <clarkia/checkpoint.h>
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

enum { MAX_SAVES = 32, REPORT_NUMBERS = 8, ALL_LINES = 100 };

static const CkOption table[] = {
  {"train_save", CK_OPTION_REALS, NULL, 0, 1, NULL,
   "also save at these fractions of the run: 0.2,0.4 writes NAME-020.h5 and NAME-040.h5 beside -output NAME.h5"},
  {"train_bn_group", CK_OPTION_INT, "0", 0, 2147483647, NULL,
   "samples that batch norm normalises together; 0: the whole batch"},
  {"train_journal", CK_OPTION_STRING, NULL, 0, 0, NULL,
   "text file to which each epoch adds a line, for analysis/watch.py; at most one a second"},
  {"train_test", CK_OPTION_BOOL, "true", 0, 0, NULL, "evaluate on the test split, if there is one, after each epoch"},
  {0}};

typedef struct {
  MPI_Comm      comm;
  CkReplicas    replicas;
  CkProblem     problem;
  CkData        test_data;
  CkLoss        test;
  CkDynamics    dynamics;
  CkJournal     journal;    /* NULL: none */
  CkCheckpoint  checkpoint; /* NULL: none; so recorder */
  CkRecorder    recorder;
  char          output[PETSC_MAX_PATH_LEN];
  PetscInt      nsaves, group;
  PetscReal     saves[MAX_SAVES];
  CkEpochReport last;
  double        report[REPORT_NUMBERS]; /* the same, for the checkpoint */
  double        start;                  /* MPI_Wtime() when this run's first epoch began */
  PetscInt      first_epoch;            /* finished then */
  double        last_line;              /* MPI_Wtime() when an epoch was last reported on */
} Training;

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

/* "run.h5" and 0.2 -> "run-020.h5" */
static void SaveName(const char output[], double fraction, char name[PETSC_MAX_PATH_LEN + 8])
{
  const char *slash = strrchr(output, '/'), *dot = strrchr(slash ? slash : output, '.');
  const int   stem = dot ? (int)(dot - output) : (int)strlen(output);

  snprintf(name, PETSC_MAX_PATH_LEN + 8, "%.*s-%03.0f%s", stem, output, 100 * fraction, dot ? dot : "");
}

/* Reads -output; the names of the files must differ. */
static PetscErrorCode ReadOutput(Training *t)
{
  char a[PETSC_MAX_PATH_LEN + 8], b[PETSC_MAX_PATH_LEN + 8];

  PetscFunctionBeginUser;
  PetscCall(CkOptionsGetString("output", t->output, sizeof(t->output), NULL));
  for (PetscInt i = 0; i < t->nsaves; ++i) {
    for (PetscInt j = 0; j < i; ++j) {
      SaveName(t->output, t->saves[i], a);
      SaveName(t->output, t->saves[j], b);
      CkCheckAll(t->comm, strcmp(a, b), PETSC_ERR_ARG_INCOMP,
                 "-train_save %g and %g would write the same file, %s: fractions must differ by whole percents",
                 t->saves[j], t->saves[i], a);
    }
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Files of -output, -record and -train_checkpoint are three. */
static PetscErrorCode CheckNames(const Training *t)
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
static PetscErrorCode CheckInputs(const Training *t)
{
  char name[PETSC_MAX_PATH_LEN + 8];

  PetscFunctionBeginUser;
  PetscCall(CheckNames(t));
  PetscCall(CkFileCheckOutput(t->comm, t->output));
  for (PetscInt i = 0; i < t->nsaves; ++i) {
    SaveName(t->output, t->saves[i], name);
    PetscCall(CkFileCheckOutput(t->comm, name));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The folder must take a file now rather than after hours. */
static PetscErrorCode CheckOutput(Training *t)
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

/* Training must not stop at the end of an epoch over a group of one sample (decision 11). */
static PetscErrorCode CheckGroups(const Training *t)
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
  Training *t = (Training *)context;
  PetscInt  step;
  char      name[PETSC_MAX_PATH_LEN + 8];

  PetscFunctionBeginUser;
  PetscCall(CkDynamicsGetProgress(dynamics, NULL, NULL, &step));
  SaveName(t->output, fraction, name);
  PetscCall(CkDynamicsWrite(dynamics, name));
  PetscCall(CkLog(t->comm, "%3.0f%% of the run: weights after %" PetscInt_FMT " updates written to %s", 100 * fraction,
                  step, name));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static void PackReport(Training *t)
{
  const CkEpochReport *r = &t->last;
  const double         numbers[REPORT_NUMBERS] = {(double)r->epoch, (double)r->step, r->loss, r->error,
                                                  r->test_loss,     r->test_error,   r->rate, r->seconds};

  memcpy(t->report, numbers, sizeof(numbers));
}

static void UnpackReport(Training *t)
{
  const double *n = t->report;

  t->last = (CkEpochReport){.epoch = (PetscInt)n[0],
                            .step = (PetscInt)n[1],
                            .loss = n[2],
                            .error = n[3],
                            .test_loss = n[4],
                            .test_error = n[5],
                            .rate = n[6],
                            .seconds = n[7]};
}

/* Each of the first epochs and the last one; of many short ones between them one a second. */
static PetscBool WorthALine(Training *t, const CkEpochReport *report, PetscInt epochs)
{
  const double now = MPI_Wtime();

  if (report->epoch > ALL_LINES && report->epoch < epochs && now - t->last_line < 1) return PETSC_FALSE;
  t->last_line = now;
  return PETSC_TRUE;
}

static PetscErrorCode ReportEpoch(CkDynamics dynamics, const CkEpochReport *report, void *context)
{
  Training    *t = (Training *)context;
  const double elapsed = MPI_Wtime() - t->start;
  PetscInt     epochs;
  char         test[96] = "", seconds[32], left[32], remaining[48] = "";

  PetscFunctionBeginUser;
  PetscCall(CkDynamicsGetProgress(dynamics, NULL, &epochs, NULL));
  t->last = *report;
  PackReport(t);
  if (!WorthALine(t, report, epochs)) PetscFunctionReturn(PETSC_SUCCESS);
  if (!isnan(report->test_loss))
    snprintf(test, sizeof(test), "  test loss %.5g error %.2f%%", report->test_loss, 100 * report->test_error);
  CkFormatSeconds(report->seconds, seconds);
  CkFormatSeconds(elapsed * (double)(epochs - report->epoch) / (double)(report->epoch - t->first_epoch), left);
  if (report->epoch < epochs) snprintf(remaining, sizeof(remaining), ", %s left", left);
  PetscCall(CkLog(t->comm, "epoch %" PetscInt_FMT "/%" PetscInt_FMT "  loss %.5g error %.2f%%%s  rate %g  %s%s",
                  report->epoch, epochs, report->loss, 100 * report->error, test, report->rate, seconds, remaining));
  PetscCall(CkJournalEpoch(t->journal, report, elapsed * (double)(epochs - report->epoch) / (double)report->epoch));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode CreateTest(Training *t)
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

/* Bytes per rank: inputs and deltas of every layer for this rank's samples of a batch, in double; weights of
 * state and loss, two limbs of the exact sum, this rank's part of the vectors of the dynamics. An estimate from above.
 */
static PetscErrorCode TrainingMemory(const Training *t, double *bytes)
{
  PetscInt       nlayers, batch, updates, block, d, share;
  PetscMPIInt    ranks;
  const CkLayer *layers;
  double         outputs = 0, vectors, samples, fused, recorder = 0;

  PetscFunctionBeginUser;
  PetscCallMPI(MPI_Comm_size(t->problem.loss_comm, &ranks));
  PetscCall(CkNetGetLayers(t->problem.net, &nlayers, &layers));
  PetscCall(CkNetGetDimension(t->problem.net, &d));
  PetscCall(CkDynamicsGetBatches(t->dynamics, &batch, &updates));
  PetscCall(CkLossGetSumBlock(t->problem.loss, &block));
  for (PetscInt l = 0; l < nlayers; ++l) outputs += (double)CkShapeSize(layers[l].out);
  share = PetscMin(batch, ((batch + block - 1) / block + ranks - 1) / ranks * block);
  PetscCall(CkDynamicsGetCost(t->dynamics, &vectors, &samples));
  PetscCall(CkDynamicsGetFusedMemory(t->dynamics, &fused));
  if (t->recorder) PetscCall(CkRecorderMemory(t->recorder, &recorder));
  *bytes = 8. * (2 * outputs * (double)share + 5. * (double)d + vectors * ceil((double)d / ranks)) + fused + recorder;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Sizes, operations and memory, known before any data is read. */
static PetscErrorCode PrintPlan(const Training *t)
{
  PetscInt  epochs, batch, updates, pad;
  PetscBool flip;
  double    forward, data, training, vectors, samples;
  char      bytes[3][32], name[PETSC_MAX_PATH_LEN + 8];
  CkTable   rows;

  const char *checkpoint;

  PetscFunctionBeginUser;
  PetscCall(CkDynamicsGetProgress(t->dynamics, NULL, &epochs, NULL));
  PetscCall(CkDynamicsGetBatches(t->dynamics, &batch, &updates));
  PetscCall(CkDynamicsGetCost(t->dynamics, &vectors, &samples));
  PetscCall(CkNetGetFlops(t->problem.net, &forward));
  PetscCall(CkProblemDataMemory(&t->problem, &data));
  PetscCall(TrainingMemory(t, &training));
  CkFormatBytes(data + training, bytes[0]);
  CkFormatBytes(data, bytes[1]);
  CkFormatBytes(training, bytes[2]);
  PetscCall(CkTableCreate(t->comm, "Training", &rows));
  PetscCall(CkProblemDescribe(&t->problem, rows));
  PetscCall(CkDataGetAugmentation(t->problem.data, &flip, &pad));
  if (flip) PetscCall(CkTableRow(rows, "augmentation", "", "left and right exchanged with probability 1/2"));
  if (pad > 0) PetscCall(CkTableRow(rows, "augmentation", "", "moved by up to %" PetscInt_FMT " pixels", pad));
  PetscCall(CkDynamicsDescribe(t->dynamics, rows));
  PetscCall(CkTableRow(rows, "operations", "three forward passes a sample and epoch", "%.4g",
                       3 * forward * samples * (double)epochs));
  PetscCall(CkTableRow(rows, "memory", "", "about %s a rank: data %s, training %s", bytes[0], bytes[1], bytes[2]));
  if (t->recorder) PetscCall(CkRecorderDescribe(t->recorder, rows));
  if (t->checkpoint) {
    PetscCall(CkCheckpointGetFile(t->checkpoint, &checkpoint));
    PetscCall(CkTableRow(rows, "checkpoint", "goes on from it if it is there", "%s", checkpoint));
  }
  for (PetscInt i = 0; i < t->nsaves; ++i) {
    SaveName(t->output, t->saves[i], name);
    PetscCall(CkTableRow(rows, "writes", "", "%s after update %lld", name,
                         llround(t->saves[i] * (double)epochs * (double)updates)));
  }
  PetscCall(CkTableRow(rows, "writes", "", "%s at the end", t->output[0] ? t->output : "(no -output given)"));
  PetscCall(CkTableDestroy(&rows));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode PrintSummary(const Training *t)
{
  const double seconds = MPI_Wtime() - t->start;
  PetscInt     epoch, step;
  double       memory;
  char         text[32];
  CkTable      rows;

  PetscFunctionBeginUser;
  PetscCall(CkDynamicsGetProgress(t->dynamics, &epoch, NULL, &step));
  PetscCall(CkTableCreate(t->comm, "Trained", &rows));
  PetscCall(CkTableRow(rows, "updates", "", "%" PetscInt_FMT " in %" PetscInt_FMT " epoch%s", step, epoch,
                       epoch == 1 ? "" : "s"));
  if (epoch > 0) {
    PetscCall(CkTableRow(rows, "training loss", "mean over the last epoch", "%.6g", t->last.loss));
    PetscCall(CkTableRow(rows, "training error", "mean over the last epoch", "%.3f%%", 100 * t->last.error));
  }
  if (epoch > 0 && !isnan(t->last.test_loss)) {
    PetscCall(CkTableRow(rows, "test loss", "", "%.6g", t->last.test_loss));
    PetscCall(CkTableRow(rows, "test error", "", "%.3f%%", 100 * t->last.test_error));
  }
  CkFormatSeconds(seconds, text);
  PetscCall(CkTableRow(rows, "time", "evaluation and writing included", "%s", text));
  PetscCall(CkMemoryPeakAll(t->comm, &memory));
  CkFormatBytes(memory, text);
  PetscCall(CkTableRow(rows, "memory", "sum of all ranks' peaks", "%s", text));
  PetscCall(CkTableRow(rows, "weights in", "", "%s", t->output));
  if (t->recorder) PetscCall(CkRecorderDescribe(t->recorder, rows));
  PetscCall(CkTableDestroy(&rows));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode OpenJournal(Training *t)
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
static PetscErrorCode AddKeys(Training *t)
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
  PetscCall(CkCheckpointAddNumbers(t->checkpoint, "report", REPORT_NUMBERS, t->report));
  if (t->recorder) PetscCall(CkRecorderSetCheckpoint(t->recorder, t->checkpoint));
  else PetscCall(CkCheckpointAddKey(t->checkpoint, PETSC_TRUE, "trajectory", "none"));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* From the checkpoint if there is one, and the trajectory with it. */
static PetscErrorCode Begin(Training *t)
{
  PetscBool resumed = PETSC_FALSE;

  PetscFunctionBeginUser;
  if (t->checkpoint) {
    PetscCall(AddKeys(t));
    PetscCall(CkCheckpointBegin(t->checkpoint, &resumed));
    if (resumed) UnpackReport(t);
  }
  if (t->recorder) PetscCall(CkRecorderBegin(t->recorder, resumed));
  PetscCall(CkDynamicsGetProgress(t->dynamics, &t->first_epoch, NULL, NULL));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* A run that fails has told why; here is where, and what is left of it. */
static PetscErrorCode TellFailure(const Training *t)
{
  PetscInt    step, batch, updates, kept = -1;
  const char *file = "";

  PetscFunctionBeginUser;
  PetscCall(CkDynamicsGetProgress(t->dynamics, NULL, NULL, &step));
  PetscCall(CkDynamicsGetBatches(t->dynamics, &batch, &updates));
  PetscCall(CkLog(t->comm, "the run ended in update %" PetscInt_FMT ", batch %" PetscInt_FMT " of epoch %" PetscInt_FMT,
                  step + 1, step % updates + 1, step / updates + 1));
  if (t->checkpoint) PetscCall(CkCheckpointGetLast(t->checkpoint, &file, &kept));
  if (kept >= 0) PetscCall(CkLog(t->comm, "the last good checkpoint is %s, after update %" PetscInt_FMT, file, kept));
  else if (t->checkpoint) PetscCall(CkLog(t->comm, "there is no checkpoint yet"));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* To the end, or until it is stopped; then all that has to be kept is on the disk. */
static PetscErrorCode RunToEnd(Training *t)
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

static PetscErrorCode Train(Training *t)
{
  double data, training;

  PetscFunctionBeginUser;
  PetscCall(CkProblemDataMemory(&t->problem, &data));
  PetscCall(TrainingMemory(t, &training));
  PetscCall(CkMemoryCheck(t->comm, data + training, "training",
                          "use more ranks, a smaller -dynamics_batch or -data_count, or raise -memory_limit"));
  PetscCall(CreateTest(t));
  PetscCall(CkDynamicsSetMonitor(t->dynamics, ReportEpoch, t));
  PetscCall(CkDynamicsSetMarks(t->dynamics, t->nsaves, t->saves, SaveState, t));
  PetscCall(Begin(t));
  t->start = MPI_Wtime();
  PetscCall(OpenJournal(t));
  PetscCall(RunToEnd(t));
  PetscCall(CkJournalClose(&t->journal));
  PetscCall(CkDynamicsWrite(t->dynamics, t->output));
  PetscCall(PrintSummary(t));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Augmentation needs gradients of training mode. */
static PetscErrorCode CheckAugmentation(const Training *t)
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
  Training  t = {.comm = comm, .nsaves = MAX_SAVES};
  PetscBool dry_run;
  PetscInt  replicas;
  MPI_Comm  group;

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
  PetscCall(PrintPlan(&t));
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
