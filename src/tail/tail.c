#include "tailimpl.h"
#include <clarkia/error.h>
#include <clarkia/options.h>
#include <math.h>
#include <string.h>

/* tail.c: options, plan and the order of the work. */

static const CkOption table[] = {
  {.key = "tail_batch",
   .kind = CK_OPTION_INT,
   .fallback = "128",
   .minimum = 1,
   .maximum = 2147483647,
   .help = "samples of a minibatch"},
  {.key = "tail_batches",
   .kind = CK_OPTION_INT,
   .fallback = "1000",
   .minimum = 64,
   .maximum = 10000000,
   .help = "minibatches at fixed weights; they cost no pass over the data"},
  {.key = "tail_replacement",
   .kind = CK_OPTION_BOOL,
   .fallback = "true",
   .help = "draw the samples of a minibatch with replacement"},
  {.key = "tail_directions",
   .kind = CK_OPTION_STRING,
   .fallback = "coordinates",
   .choices = "coordinates|spectrum|random",
   .help =
     "what is looked at across minibatches: single weights at random, leading eigenvectors of -tail_spectrum, random "
     "directions"},
  {.key = "tail_series",
   .kind = CK_OPTION_INT,
   .fallback = "64",
   .minimum = 1,
   .maximum = 100000,
   .help = "how many of them"},
  {.key = "tail_spectrum",
   .kind = CK_OPTION_FILE,
   .help = "spectrum file with eigenvectors, for -tail_directions spectrum"},
  {.key = "tail_flats",
   .kind = CK_OPTION_INT,
   .fallback = "8",
   .minimum = 2,
   .maximum = 10000,
   .help = "minibatches whose noise is looked at across the weights, and normal vectors to compare with"},
  {.key = "tail_correction",
   .kind = CK_OPTION_STRING,
   .fallback = "holm",
   .choices = "holm|hochberg",
   .help =
     "for the number of tests: holm (no wrong rejection), hochberg (Benjamini and Hochberg: few among the rejected)"},
  {.key = "tail_level",
   .kind = CK_OPTION_REAL,
   .fallback = "0.01",
   .minimum = 1e-6,
   .maximum = 0.5,
   .help = "level of the tests"},
  {.key = NULL},
};

PetscErrorCode CkTailRegisterOptions(void)
{
  PetscFunctionBeginUser;
  PetscCall(CkOptionsRegister("Tail", table));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkTailCreate(CkDiffusion D, CkTail *tail)
{
  CkTail t;

  PetscFunctionBeginUser;
  PetscCall(PetscNew(&t));
  t->D = D;
  PetscCall(CkDiffusionGetLoss(D, &t->loss));
  PetscCall(CkLossGetComm(t->loss, &t->comm));
  PetscCall(CkLossGetDimension(t->loss, &t->d));
  PetscCall(CkLossGetSamples(t->loss, &t->N));
  *tail = t;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode CheckSpectrum(CkTail t)
{
  PetscInt64 count;

  PetscFunctionBeginUser;
  CkCheckAll(t->comm, (t->directions == CK_TAIL_SPECTRUM) == (t->spectrum[0] != '\0'), PETSC_ERR_ARG_INCOMP, "%s",
             t->spectrum[0] ? "-tail_spectrum has no effect without -tail_directions spectrum"
                            : "-tail_directions spectrum needs -tail_spectrum FILE, with eigenvectors");
  if (!t->spectrum[0]) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(CkFileCountEigenvectors(t->comm, "tail_spectrum", t->spectrum, t->d, &count));
  t->wanted = (PetscInt)PetscMin((PetscInt64)t->wanted, count);
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkTailSetFromOptions(CkTail t)
{
  PetscReal level;
  PetscInt  seed;
  char      text[32];

  PetscFunctionBeginUser;
  PetscCall(CkOptionsGetInt("tail_batch", &t->B, NULL));
  PetscCall(CkOptionsGetInt("tail_batches", &t->batches, NULL));
  PetscCall(CkOptionsGetBool("tail_replacement", &t->replacement, NULL));
  PetscCall(CkOptionsGetString("tail_directions", text, sizeof(text), NULL));
  t->directions = strcmp(text, "spectrum") == 0 ? CK_TAIL_SPECTRUM
                  : strcmp(text, "random") == 0 ? CK_TAIL_RANDOM
                                                : CK_TAIL_COORDINATES;
  PetscCall(CkOptionsGetInt("tail_series", &t->wanted, NULL));
  PetscCall(CkOptionsGetString("tail_spectrum", t->spectrum, sizeof(t->spectrum), NULL));
  PetscCall(CkOptionsGetInt("tail_flats", &t->flats, NULL));
  PetscCall(CkOptionsGetString("tail_correction", text, sizeof(text), NULL));
  t->hochberg = (PetscBool)(strcmp(text, "hochberg") == 0);
  PetscCall(CkOptionsGetReal("tail_level", &level, NULL));
  PetscCall(CkOptionsGetInt("seed", &seed, NULL));
  t->level = level;
  t->seed = (uint64_t)seed;
  CkCheckAll(t->comm, t->B < t->N, PETSC_ERR_ARG_OUTOFRANGE,
             "-tail_batch %" PetscInt_FMT ": a minibatch has to be smaller than the data, %" PetscInt_FMT " samples",
             t->B, t->N);
  CkCheckAll(t->comm, t->d >= 16, PETSC_ERR_ARG_OUTOFRANGE,
             "%" PetscInt_FMT " weights are no sample to look at across weights: at least 16 are needed", t->d);
  PetscCall(CheckSpectrum(t));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkTailPlan(CkTail t, PetscBool print)
{
  const double bytes = PetscMax(CkTailBatchesMemory(t), CkTailWeightsMemory(t)) + 8. * (double)t->d;
  PetscInt     series, flats;
  char         text[32];
  CkTable      rows;

  PetscFunctionBeginUser;
  if (!print) {
    PetscCall(CkMemoryCheck(t->comm, bytes, "the study of the tails",
                            "take fewer -tail_series or -tail_batches, more ranks, or raise -memory_limit"));
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  PetscCall(CkDiffusionGetColumns(t->D, t->wanted, &series));
  PetscCall(CkDiffusionGetColumns(t->D, 2 * t->flats, &flats));
  CkFormatBytes(bytes, text);
  PetscCall(CkTableCreate(t->comm, "Tails of the gradient noise", &rows));
  PetscCall(CkTableRow(rows, "weights d", "", "%" PetscInt_FMT, t->d));
  PetscCall(CkTableRow(rows, "samples N", "", "%" PetscInt_FMT, t->N));
  PetscCall(
    CkTableRow(rows, "minibatches", "at fixed weights", "%" PetscInt_FMT " of %" PetscInt_FMT, t->batches, t->B));
  PetscCall(CkTableRow(rows, "series", "directions across them", "%" PetscInt_FMT, t->wanted));
  PetscCall(CkTableRow(rows, "passes", "directions, minibatches and normal vectors, D_ii and norms",
                       "%" PetscInt_FMT " + %" PetscInt_FMT " + 2", (t->wanted + series - 1) / series,
                       (2 * t->flats + flats - 1) / flats));
  PetscCall(CkTableRow(rows, "memory", "", "about %s a rank", text));
  PetscCall(CkTableDestroy(&rows));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkTailRun(CkTail t)
{
  const double start = MPI_Wtime();
  double       before, after;

  PetscFunctionBeginUser;
  PetscCheck(!t->done && t->B > 0, t->comm, PETSC_ERR_ORDER, "Call CkTailSetFromOptions() first, and this once");
  PetscCall(CkTailPlan(t, PETSC_FALSE));
  PetscCall(CkLossGetPasses(t->loss, &before));
  PetscCall(CkTailAcrossWeights(t));
  PetscCall(CkTailAcrossBatches(t));
  PetscCall(CkLossGetPasses(t->loss, &after));
  t->passes = after - before;
  t->seconds = MPI_Wtime() - start;
  t->done = PETSC_TRUE;
  PetscFunctionReturn(PETSC_SUCCESS);
}

void CkTailMean(PetscInt n, const CkTailFlat flats[], PetscBool standardised, double *mean, double *error)
{
  double square = 0;

  *mean = 0;
  for (PetscInt i = 0; i < n; ++i)
    *mean += (standardised ? flats[i].standardised.alpha : flats[i].index.alpha) / (double)n;
  for (PetscInt i = 0; i < n; ++i) {
    const double change = (standardised ? flats[i].standardised.alpha : flats[i].index.alpha) - *mean;

    square += change * change / (double)(n - 1);
  }
  *error = sqrt(square / (double)n);
}

PetscErrorCode CkTailDestroy(CkTail *tail)
{
  CkTail t = *tail;

  PetscFunctionBeginUser;
  if (!t) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(PetscFree2(t->series, t->quantiles));
  PetscCall(PetscFree2(t->flat, t->gaussian));
  PetscCall(PetscFree(t->variance));
  PetscCall(PetscFree(*tail));
  PetscFunctionReturn(PETSC_SUCCESS);
}
