/*
  diffusion_gram.c: K = (1/N) P G G' P, N x N. The mean gradient is subtracted before the products (gram_sweep.c), so
  that they do not cancel, and P applied to K afterwards takes away what that mean lacks of the mean of the rows:
  docs/theory.md, section 3.
*/
#include "noiseimpl.h"
#include <clarkia/interrupt.h>
#include <clarkia/progress.h>

enum { SHIFT_SAMPLES = 256 }; /* their mean is that of all up to 1/16 of a gradient's deviation: (G.6) takes any */

/* Below this many operations, about a minute of one core, products in double precision cost little. Not a matter of the
   number of ranks: the bits depend on it. */
static const double CHEAP = 2e12;

CkPrecision CkDiffusionGramChoice(CkDiffusion D, const CkDiffusionSizes *sizes, PetscInt weights)
{
  const double operations = (double)sizes->N * (double)sizes->N * (double)weights;

  if (D->gram_precision != CK_GRAM_AUTO) return D->gram_precision == CK_GRAM_SINGLE ? CK_FLOAT32 : CK_FLOAT64;
  return sizes->precision == CK_FLOAT64 || operations <= CHEAP ? CK_FLOAT64 : CK_FLOAT32;
}

/* What the second moment adds to gradients is not in the factors (decision 6): all gradients are formed then. */
PetscErrorCode CkGramSweepOfAll(CkDiffusion D, CkGramSweep *sweep)
{
  CkEngine engine;
  double   l2;

  PetscFunctionBeginUser;
  *sweep = (CkGramSweep){.D = D, .memory = D->memory};
  PetscCall(CkDiffusionGetSizes(D, &sweep->sizes));
  sweep->batch = CkBatchAll(sweep->sizes.N);
  PetscCall(CkLossGetEngine(D->loss, &engine));
  PetscCall(CkLossGetL2(D->loss, &l2));
  if (engine && (D->centred || l2 == 0)) PetscCall(CkEngineGetFactors(engine, &sweep->nlayers, &sweep->layers));
  sweep->precision = CkDiffusionGramChoice(D, &sweep->sizes, CkGramSweepFormed(sweep));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkDiffusionGetGramForm(CkDiffusion D, CkGramForm *form)
{
  CkGramSweep sweep;

  PetscFunctionBeginUser;
  PetscCall(CkGramSweepOfAll(D, &sweep));
  *form = (CkGramForm){.precision = sweep.precision, .formed = CkGramSweepFormed(&sweep), .layers = sweep.nlayers};
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkDiffusionGramTakesMean(CkDiffusion D, PetscBool *mean)
{
  CkDiffusionSizes sizes;

  PetscFunctionBeginUser;
  PetscCall(CkDiffusionGetSizes(D, &sizes));
  *mean = (PetscBool)(D->centred && sizes.N <= SHIFT_SAMPLES);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* What is subtracted from each gradient (from PetscMalloc): a mean, or the opposite of what the second moment adds. */
static PetscErrorCode MakeShift(CkDiffusion D, const CkDiffusionSizes *sizes, double **shift)
{
  PetscBool known = PETSC_FALSE;

  PetscFunctionBeginUser;
  PetscCall(CkDiffusionGramTakesMean(D, &known));
  if (known || !D->centred) {
    PetscCall(CkDiffusionGramShift(D, shift));
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  PetscCall(PetscMalloc1(sizes->d, shift));
  PetscCall(CkLossSampleMean(D->loss, SHIFT_SAMPLES, *shift));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkDiffusionGramShift(CkDiffusion D, double **shift)
{
  const double *mean;
  PetscInt      d;

  PetscFunctionBeginUser;
  PetscCall(CkLossGetDimension(D->loss, &d));
  PetscCall(CkDiffusionGetShift(D, shift));
  for (PetscInt i = 0; *shift && i < d; ++i) (*shift)[i] = -(*shift)[i];
  if (!D->centred) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(CkLossMeanGradient(D->loss, &mean));
  PetscCall(PetscMalloc1(d, shift));
  PetscCall(PetscArraycpy(*shift, mean, d));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* S, as far as it comes. */
static PetscErrorCode Assemble(CkDiffusion D, CkGramSweep *sweep, CkBlockMatrix S, const char **stopped)
{
  CkGramCheckpoint checkpoint;
  double          *shift;

  PetscFunctionBeginUser;
  PetscCall(MakeShift(D, &sweep->sizes, &shift));
  sweep->shift = shift;
  PetscCall(CkGramCheckpointCreate(sweep, &checkpoint));
  PetscCall(CkProgressCreate(sweep->sizes.comm, "assembling the Gram matrix", "weights", (double)sweep->sizes.d,
                             &sweep->progress));
  if (checkpoint) PetscCall(CkInterruptBegin());
  PetscCall(CkGramSweepRun(sweep, S, checkpoint, stopped));
  PetscCall(CkInterruptEnd());
  PetscCall(CkProgressDestroy(&sweep->progress));
  PetscCall(CkGramCheckpointDestroy(&checkpoint));
  PetscCall(PetscFree(shift));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* 1/N, and what is left of the mean of the rows. */
static PetscErrorCode Finish(CkDiffusion D, const CkDiffusionSizes *sizes, CkBlockMatrix S)
{
  PetscFunctionBeginUser;
  PetscCall(CkBlockMatrixScale(S, 1. / (double)sizes->N));
  if (D->centred) PetscCall(CkBlockMatrixCentre(S));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkDiffusionGram(CkDiffusion D, CkBlockMatrix *K)
{
  CkGramSweep    sweep;
  MPI_Comm       comm;
  const char    *stopped;
  CkAssemblyCost cost;
  double         matrix, work;

  PetscFunctionBeginUser;
  PetscCall(CkGramSweepOfAll(D, &sweep));
  PetscCall(CkGramSweepCost(&sweep, &cost));
  comm = sweep.sizes.comm;
  PetscCall(CkBlockMatrixMemory(comm, sweep.sizes.N, PETSC_FALSE, CK_SOLVER_SCALAPACK, &matrix, &work));
  PetscCall(CkMemoryCheck(comm, matrix + cost.bytes, "the Gram matrix",
                          "use more ranks, fewer samples (-data_count), -spectrum_method krylov, a smaller "
                          "-noise_memory, or raise -memory_limit"));
  PetscCall(CkBlockMatrixCreate(comm, sweep.sizes.N, K));
  PetscCall(Assemble(D, &sweep, *K, &stopped));
  if (stopped) PetscCall(CkBlockMatrixDestroy(K));
  CkCheckAll(comm, !stopped, CK_ERR_REQUEUE,
             "stopped (%s) before the Gram matrix was complete: the same command goes on from %s", stopped,
             D->checkpoint);
  PetscCall(Finish(D, &sweep.sizes, *K));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkDiffusionGramCost(CkDiffusion D, CkAssemblyCost *cost)
{
  CkGramSweep sweep;
  PetscBool   mean = PETSC_FALSE;

  PetscFunctionBeginUser;
  PetscCall(CkGramSweepOfAll(D, &sweep));
  PetscCall(CkDiffusionGramTakesMean(D, &mean));
  PetscCall(CkGramSweepCost(&sweep, cost));
  if (D->centred && !mean) cost->passes += SHIFT_SAMPLES / (double)sweep.sizes.N;
  PetscFunctionReturn(PETSC_SUCCESS);
}
