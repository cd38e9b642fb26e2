/* diffusion.c: the object, its mean, trace and diagonal. */
#include "noiseimpl.h"
#include <clarkia/exactsum.h>
#include <clarkia/options.h>
#include <string.h>

static const CkOption table[] = {
  {.key = "noise_centred",
   .kind = CK_OPTION_BOOL,
   .fallback = "true",
   .help = "D as covariance of the per-sample gradients; false: their second moment, weight decay included"},
  {.key = "noise_memory",
   .kind = CK_OPTION_REAL,
   .fallback = "2",
   .minimum = 1e-6,
   .maximum = 1e6,
   .help =
     "GB per rank for vectors of a block product and for gradients kept by the Gram route and sample-space Krylov"},
  {.key = "noise_columns",
   .kind = CK_OPTION_INT,
   .fallback = "32",
   .minimum = 1,
   .maximum = 4096,
   .help = "most vectors that one pass over the data multiplies"},
  {.key = "noise_gram_precision",
   .kind = CK_OPTION_STRING,
   .fallback = "auto",
   .choices = "auto|single|double",
   .help = "products of the Gram matrix: single (chunks of 256 weights, added in double), double, auto: double where "
           "N^2 d <= 2e12 or the gradients are double"},
  {.key = "noise_checkpoint",
   .kind = CK_OPTION_STRING,
   .help = "file in which the Gram assembly saves how far it has come, and from which it goes on"},
  {.key = "noise_checkpoint_interval",
   .kind = CK_OPTION_REAL,
   .fallback = "600",
   .minimum = 0,
   .maximum = 1e9,
   .help = "seconds from checkpoint to checkpoint"},
  {.key = NULL},
};

PetscErrorCode CkDiffusionRegisterOptions(void)
{
  PetscFunctionBeginUser;
  PetscCall(CkOptionsRegister("Noise", table));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkDiffusionCreate(CkLoss loss, CkDiffusion *D)
{
  PetscFunctionBeginUser;
  PetscCall(PetscNew(D));
  (*D)->loss = loss;
  (*D)->centred = PETSC_TRUE;
  (*D)->memory = 2e9;
  (*D)->columns = 32;
  (*D)->interval = 600;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkDiffusionSetFromOptions(CkDiffusion D)
{
  PetscReal gigabytes, interval;
  char      precision[16];

  PetscFunctionBeginUser;
  PetscCall(CkDiffusionRegisterOptions());
  PetscCall(CkOptionsGetBool("noise_centred", &D->centred, NULL));
  PetscCall(CkOptionsGetReal("noise_memory", &gigabytes, NULL));
  PetscCall(CkOptionsGetInt("noise_columns", &D->columns, NULL));
  PetscCall(CkOptionsGetString("noise_gram_precision", precision, sizeof(precision), NULL));
  PetscCall(CkOptionsGetString("noise_checkpoint", D->checkpoint, sizeof(D->checkpoint), NULL));
  PetscCall(CkOptionsGetReal("noise_checkpoint_interval", &interval, NULL));
  D->memory = 1e9 * (double)gigabytes;
  D->interval = (double)interval;
  D->gram_precision = strcmp(precision, "single") == 0   ? CK_GRAM_SINGLE
                      : strcmp(precision, "double") == 0 ? CK_GRAM_DOUBLE
                                                         : CK_GRAM_AUTO;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkDiffusionSetCentred(CkDiffusion D, PetscBool centred)
{
  PetscFunctionBeginUser;
  D->centred = centred;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkDiffusionDestroy(CkDiffusion *D)
{
  PetscFunctionBeginUser;
  if (*D) PetscCall(PetscFree((*D)->kept));
  PetscCall(PetscFree(*D));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkDiffusionGetLoss(CkDiffusion D, CkLoss *loss)
{
  PetscFunctionBeginUser;
  *loss = D->loss;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkDiffusionGetCentred(CkDiffusion D, PetscBool *centred)
{
  PetscFunctionBeginUser;
  *centred = D->centred;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkDiffusionGetSizes(CkDiffusion D, CkDiffusionSizes *sizes)
{
  PetscFunctionBeginUser;
  PetscCall(CkLossGetComm(D->loss, &sizes->comm));
  PetscCall(CkLossGetDimension(D->loss, &sizes->d));
  PetscCall(CkLossGetSamples(D->loss, &sizes->N));
  PetscCall(CkLossGetPrecision(D->loss, &sizes->precision));
  PetscCall(CkLossGetBlocks(D->loss, sizes->N, &sizes->blocks));
  sizes->direct = CkLossSumsDirectly(D->loss, &sizes->blocks);
  sizes->bytes = sizes->precision == CK_FLOAT64 ? sizeof(double) : sizeof(float);
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkDiffusionGetShift(CkDiffusion D, double **c)
{
  const double *x;
  double        l2;
  PetscInt      d;

  PetscFunctionBeginUser;
  *c = NULL;
  PetscCall(CkLossGetL2(D->loss, &l2));
  if (D->centred || l2 == 0) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(CkLossGetDimension(D->loss, &d));
  PetscCall(CkLossGetPointArray(D->loss, &x));
  PetscCall(PetscMalloc1(d, c));
  for (PetscInt i = 0; i < d; ++i) (*c)[i] = l2 * x[i];
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkDiffusionGetCheckpoint(CkDiffusion D, const char **file)
{
  PetscFunctionBeginUser;
  *file = D->checkpoint;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkDiffusionMean(CkDiffusion D, Vec gbar)
{
  const double *mean;
  PetscScalar  *mine;
  PetscInt      first, last;

  PetscFunctionBeginUser;
  PetscCall(CkLossMeanGradient(D->loss, &mean));
  PetscCall(VecGetOwnershipRange(gbar, &first, &last));
  PetscCall(VecGetArrayWrite(gbar, &mine));
  PetscCall(PetscArraycpy(mine, mean + first, last - first));
  PetscCall(VecRestoreArrayWrite(gbar, &mine));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Relative error that norms and mean gradient of a precision may have (decision 5). */
static double RelativeError(CkPrecision precision)
{
  return precision == CK_FLOAT64 ? 1e-10 : 1e-5;
}

PetscErrorCode CkDiffusionTrace(CkDiffusion D, double *trace)
{
  CkDiffusionSizes sizes;
  const double    *norms, *mean;
  double          *c;
  long double      sum = 0, moment;

  PetscFunctionBeginUser;
  PetscCall(CkDiffusionGetSizes(D, &sizes));
  PetscCall(CkLossSquaredNorms(D->loss, &norms));
  PetscCall(CkLossMeanGradient(D->loss, &mean));
  PetscCall(CkDiffusionGetShift(D, &c));
  for (PetscInt k = 0; k < sizes.N; ++k) sum += norms[k];
  sum /= sizes.N;
  moment = sum;
  for (PetscInt i = 0; i < sizes.d; ++i) {
    if (D->centred) sum -= (long double)mean[i] * mean[i];
    else if (c) sum += (2 * (long double)mean[i] + c[i]) * c[i];
  }
  PetscCall(PetscFree(c));
  /* where all gradients are the same, what the difference leaves is rounding errors of its terms */
  if (sum < 0 && sum >= -RelativeError(sizes.precision) * moment) sum = 0;
  *trace = (double)sum;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Exact sums over all samples of g_ki and g_ki^2, both [d] on every rank. */
static PetscErrorCode SumSquares(CkDiffusion D, const CkDiffusionSizes *sizes, double sums[])
{
  const CkBatch all = CkBatchAll(sizes->N);
  const size_t  d = (size_t)sizes->d;
  const double *norms;
  double        bounds[2] = {0, 0}, *rows, *partial;
  CkExactSum    exact;
  CkPass        pass;
  CkTile        tile;

  PetscFunctionBeginUser;
  PetscCall(CkLossSquaredNorms(D->loss, &norms));
  for (PetscInt k = 0; k < sizes->N; ++k) {
    bounds[0] += 2 * PetscSqrtReal(norms[k]);
    bounds[1] += 2 * norms[k];
  }
  PetscCall(CkExactSumCreate(sizes->comm, sizes->d, 2, bounds, 2, &exact));
  PetscCall(PetscMalloc2((size_t)sizes->blocks.tile * d, &rows, 2 * d, &partial));
  PetscCall(CkPassBegin(D->loss, &all, &pass));
  while (PETSC_TRUE) {
    PetscCall(CkPassNext(pass, &tile));
    if (!tile.more) break;
    PetscCall(CkPassRows(pass, CK_FLOAT64, rows, d));
    PetscCall(PetscArrayzero(partial, 2 * d));
    for (size_t k = 0; k < (size_t)tile.n; ++k) {
      for (size_t i = 0; i < d; ++i) {
        partial[i] += rows[k * d + i];
        partial[d + i] += rows[k * d + i] * rows[k * d + i];
      }
    }
    PetscCall(CkExactSumAdd(exact, 0, 0, sizes->d, partial));
    PetscCall(CkExactSumAdd(exact, 1, 0, sizes->d, partial + d));
  }
  PetscCall(CkPassEnd(&pass));
  PetscCall(CkExactSumReduce(exact, sums));
  PetscCall(CkExactSumDestroy(&exact));
  PetscCall(PetscFree2(rows, partial));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* [d] on every rank; the caller frees it. */
static PetscErrorCode Diagonal(CkDiffusion D, const CkDiffusionSizes *sizes, double **diagonal)
{
  double *sums, *c;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc1(2 * (size_t)sizes->d, &sums));
  PetscCall(SumSquares(D, sizes, sums));
  PetscCall(CkDiffusionGetShift(D, &c));
  PetscCall(PetscMalloc1(sizes->d, diagonal));
  for (size_t i = 0; i < (size_t)sizes->d; ++i) {
    const double mean = sums[i] / sizes->N, square = sums[(size_t)sizes->d + i] / sizes->N;

    (*diagonal)[i] = square;
    if (D->centred) (*diagonal)[i] -= mean * mean;
    else if (c) (*diagonal)[i] += (2 * mean + c[i]) * c[i];
  }
  PetscCall(PetscFree(c));
  PetscCall(PetscFree(sums));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkDiffusionDiagonal(CkDiffusion D, Vec diagonal)
{
  CkDiffusionSizes sizes;
  double          *all;
  PetscScalar     *mine;
  PetscInt         first, last;

  PetscFunctionBeginUser;
  PetscCall(CkDiffusionGetSizes(D, &sizes));
  PetscCall(Diagonal(D, &sizes, &all));
  PetscCall(VecGetOwnershipRange(diagonal, &first, &last));
  PetscCall(VecGetArrayWrite(diagonal, &mine));
  PetscCall(PetscArraycpy(mine, all + first, last - first));
  PetscCall(VecRestoreArrayWrite(diagonal, &mine));
  PetscCall(PetscFree(all));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static double SumRange(PetscInt n, const double values[])
{
  long double sum = 0;

  for (PetscInt i = 0; i < n; ++i) sum += values[i];
  return (double)sum;
}

PetscErrorCode CkDiffusionLayerTraces(CkDiffusion D, PetscInt *n, double traces[])
{
  CkDiffusionSizes   sizes;
  const CkParameter *parameters = NULL;
  CkNet              net;
  PetscInt           all = 0;
  double            *diagonal = NULL;

  PetscFunctionBeginUser;
  PetscCall(CkDiffusionGetSizes(D, &sizes));
  PetscCall(CkLossGetNet(D->loss, &net));
  if (net) PetscCall(CkNetGetParameters(net, &all, &parameters));
  if (traces) PetscCall(Diagonal(D, &sizes, &diagonal));
  *n = net ? 0 : 1;
  if (!net && traces) traces[0] = SumRange(sizes.d, diagonal);
  for (PetscInt p = 0; p < all; ++p) {
    if (!parameters[p].trainable) continue;
    if (traces) traces[*n] = SumRange(parameters[p].size, diagonal + parameters[p].offset);
    ++*n;
  }
  PetscCall(PetscFree(diagonal));
  PetscFunctionReturn(PETSC_SUCCESS);
}
