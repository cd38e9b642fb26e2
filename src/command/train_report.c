/* train_report.c: what `clarkia train` prints: the plan, lines of epochs, the summary. */
#include "train.h"
#include <clarkia/error.h>
#include <clarkia/progress.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { ALL_LINES = 100 };

void CkTrainSaveName(const char output[], double fraction, char name[PETSC_MAX_PATH_LEN + 8])
{
  const char *slash = strrchr(output, '/'), *dot = strrchr(slash ? slash : output, '.');
  const int   stem = dot ? (int)(dot - output) : (int)strlen(output);

  snprintf(name, PETSC_MAX_PATH_LEN + 8, "%.*s-%03.0f%s", stem, output, 100 * fraction, dot ? dot : "");
}

static void PackReport(CkTraining *t)
{
  const CkEpochReport *r = &t->last;
  const double         numbers[CK_TRAIN_NUMBERS] = {(double)r->epoch, (double)r->step, r->loss,    r->error,
                                                    r->test_loss,     r->test_error,   r->rate,    r->seconds,
                                                    r->free_energy,   r->iterations,   r->residual};

  memcpy(t->report, numbers, sizeof(numbers));
}

void CkTrainUnpackReport(CkTraining *t)
{
  const double *n = t->report;

  t->last = (CkEpochReport){.epoch = (PetscInt)n[0],
                            .step = (PetscInt)n[1],
                            .loss = n[2],
                            .error = n[3],
                            .test_loss = n[4],
                            .test_error = n[5],
                            .rate = n[6],
                            .seconds = n[7],
                            .free_energy = n[8],
                            .iterations = n[9],
                            .residual = n[10]};
}

/* Each of the first epochs and the last one; of many short ones between them one a second. */
static PetscBool WorthALine(CkTraining *t, const CkEpochReport *report, PetscInt epochs)
{
  const double now = MPI_Wtime();

  if (report->epoch > ALL_LINES && report->epoch < epochs && now - t->last_line < 1) return PETSC_FALSE;
  t->last_line = now;
  return PETSC_TRUE;
}

PetscErrorCode CkTrainReportEpoch(CkDynamics dynamics, const CkEpochReport *report, void *context)
{
  CkTraining *t = (CkTraining *)context;
  PetscInt    epochs;
  double      remaining_seconds;
  char        density[96] = "", test[96] = "", seconds[32], left[32], remaining[48] = "";

  PetscFunctionBeginUser;
  PetscCall(CkDynamicsGetProgress(dynamics, NULL, &epochs, NULL));
  remaining_seconds =
    (MPI_Wtime() - t->start) * (double)(epochs - report->epoch) / (double)(report->epoch - t->first_epoch);
  t->last = *report;
  PackReport(t);
  if (!WorthALine(t, report, epochs)) PetscFunctionReturn(PETSC_SUCCESS);
  if (!isnan(report->free_energy))
    snprintf(density, sizeof(density), "  free energy %.8g (%g iterations, residual %.2g)", report->free_energy,
             report->iterations, report->residual);
  if (!isnan(report->test_loss))
    snprintf(test, sizeof(test), "  test loss %.5g error %.2f%%", report->test_loss, 100 * report->test_error);
  CkFormatSeconds(report->seconds, seconds);
  CkFormatSeconds(remaining_seconds, left);
  if (report->epoch < epochs) snprintf(remaining, sizeof(remaining), ", %s left", left);
  PetscCall(CkLog(t->comm, "epoch %" PetscInt_FMT "/%" PetscInt_FMT "  loss %.5g error %.2f%%%s%s  rate %g  %s%s",
                  report->epoch, epochs, report->loss, 100 * report->error, density, test, report->rate, seconds,
                  remaining));
  PetscCall(CkJournalEpoch(t->journal, report, remaining_seconds));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkTrainMemory(const CkTraining *t, double *bytes)
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

PetscErrorCode CkTrainPrintPlan(const CkTraining *t)
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
  PetscCall(CkTrainMemory(t, &training));
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
    CkTrainSaveName(t->output, t->saves[i], name);
    PetscCall(CkTableRow(rows, "writes", "", "%s after update %lld", name,
                         llround(t->saves[i] * (double)epochs * (double)updates)));
  }
  PetscCall(CkTableRow(rows, "writes", "", "%s at the end", t->output[0] ? t->output : "(no -output given)"));
  PetscCall(CkTableDestroy(&rows));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkTrainPrintSummary(const CkTraining *t)
{
  const double seconds = MPI_Wtime() - t->start;
  PetscInt     epoch, step;
  double       memory;
  char         text[32];
  CkTable      rows;

  PetscFunctionBeginUser;
  PetscCall(CkDynamicsGetProgress(t->dynamics, &epoch, NULL, &step));
  PetscCall(CkTableCreate(t->comm, "Trained", &rows));
  PetscCall(
    CkTableRow(rows, "updates", "", "%" PetscInt_FMT " in %" PetscInt_FMT " epoch%s", step, epoch, CkPlural(epoch)));
  if (epoch > 0) {
    PetscCall(CkTableRow(rows, "training loss", "mean over the last epoch", "%.6g", t->last.loss));
    PetscCall(CkTableRow(rows, "training error", "mean over the last epoch", "%.3f%%", 100 * t->last.error));
  }
  if (epoch > 0 && !isnan(t->last.free_energy))
    PetscCall(CkTableRow(rows, "free energy", "before the last step, as the loss", "%.8g", t->last.free_energy));
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
