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

CkPrecision CkDiffusionGramChoice(CkDiffusion D, const CkDiffusionSizes *sizes)
{
  const double operations = (double)sizes->N * (double)sizes->N * (double)sizes->d;

  if (D->gram_precision != CK_GRAM_AUTO) return D->gram_precision == CK_GRAM_SINGLE ? CK_FLOAT32 : CK_FLOAT64;
  return sizes->precision == CK_FLOAT64 || operations <= CHEAP ? CK_FLOAT64 : CK_FLOAT32;
}

/* Of all samples. */
static CkGramSweep MakeSweep(CkDiffusion D, const CkDiffusionSizes *sizes)
{
  return (CkGramSweep){.D = D,
                       .sizes = *sizes,
                       .batch = CkBatchAll(sizes->N),
                       .precision = CkDiffusionGramChoice(D, sizes),
                       .memory = D->memory};
}

double CkDiffusionGramMemory(CkDiffusion D, const CkDiffusionSizes *sizes)
{
  const CkGramSweep sweep = MakeSweep(D, sizes);

  return CkGramSweepMemory(&sweep);
}

double CkDiffusionGramPasses(CkDiffusion D, const CkDiffusionSizes *sizes)
{
  const CkGramSweep sweep = MakeSweep(D, sizes);

  return (double)CkGramSweepRanges(&sweep) +
         (D->centred && sizes->N > SHIFT_SAMPLES ? SHIFT_SAMPLES / (double)sizes->N : 0);
}

PetscErrorCode CkDiffusionGramGradients(CkDiffusion D, const CkDiffusionSizes *sizes, double *operations)
{
  const CkGramSweep sweep = MakeSweep(D, sizes);

  PetscFunctionBeginUser;
  PetscCall(CkGramSweepGradients(&sweep, operations));
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
  PetscCall(CkGramCheckpointCreate(D, &sweep->sizes, sweep->precision, shift, &checkpoint));
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
  CkDiffusionSizes sizes;
  CkGramSweep      sweep;
  const char      *stopped;
  double           matrix, work;

  PetscFunctionBeginUser;
  PetscCall(CkDiffusionGetSizes(D, &sizes));
  sweep = MakeSweep(D, &sizes);
  PetscCall(CkBlockMatrixMemory(sizes.comm, sizes.N, PETSC_FALSE, CK_SOLVER_SCALAPACK, &matrix, &work));
  PetscCall(CkMemoryCheck(sizes.comm, matrix + CkGramSweepMemory(&sweep), "the Gram matrix",
                          "use more ranks, fewer samples (-data_count), -spectrum_method krylov, a smaller "
                          "-noise_memory, or raise -memory_limit"));
  PetscCall(CkBlockMatrixCreate(sizes.comm, sizes.N, K));
  PetscCall(Assemble(D, &sweep, *K, &stopped));
  if (stopped) PetscCall(CkBlockMatrixDestroy(K));
  CkCheckAll(sizes.comm, !stopped, CK_ERR_REQUEUE,
             "stopped (%s) before the Gram matrix was complete: the same command goes on from %s", stopped,
             D->checkpoint);
  PetscCall(Finish(D, &sizes, *K));
  PetscFunctionReturn(PETSC_SUCCESS);
}
