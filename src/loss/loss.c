/* loss.c: the loss object, its point and its vectors. */
#include "lossimpl.h"
#include <clarkia/options.h>
#include <clarkia/progress.h>
#include <math.h>
#include <stdio.h>

static const CkOption table[] = {
  {.key = "loss_sum_block",
   .kind = CK_OPTION_INT,
   .fallback = "64",
   .minimum = 1,
   .maximum = 1048576,
   .help = "samples of a sum block, the unit of work of a rank; part of what fixes the bits of a result"},
  {.key = "loss_l2",
   .kind = CK_OPTION_REAL,
   .fallback = "0",
   .minimum = 0,
   .maximum = 1e300,
   .help = "weight decay: (l2/2)|x|^2 over all weights is part of the loss"},
  {.key = "loss_reproducible",
   .kind = CK_OPTION_BOOL,
   .fallback = "true",
   .help = "exact sums: the same bits on any number of ranks"},
  {.key = NULL},
};

PetscErrorCode CkLossRegisterOptions(void)
{
  PetscFunctionBeginUser;
  PetscCall(CkOptionsRegister("Loss", table));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkLossCreate(MPI_Comm comm, CkLoss *loss)
{
  CkLoss l;

  PetscFunctionBeginUser;
  PetscCall(CkEventsRegister());
  PetscCall(PetscNew(&l));
  PetscCall(PetscCommDuplicate(comm, &l->comm, NULL));
  PetscCallMPI(MPI_Comm_rank(l->comm, &l->rank));
  PetscCallMPI(MPI_Comm_size(l->comm, &l->size));
  l->sum_block = 64;
  l->reproducible = PETSC_TRUE;
  *loss = l;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkLossSetType(CkLoss loss, const char type[])
{
  const CkLossType *found;

  PetscFunctionBeginUser;
  PetscCall(CkLossFindType(type, &found));
  CkCheckAll(loss->comm, found, PETSC_ERR_ARG_UNKNOWN_TYPE,
             "there is no loss type \"%s\"; take network, quadratic, linear-regression or two-weight", type);
  PetscCheck(!loss->type || loss->type == found, loss->comm, PETSC_ERR_ORDER, "The loss is of type %s already",
             loss->type->name);
  loss->type = found;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* For CkLossSet...(): data of a type give a loss without one its type; they are given once. */
PetscErrorCode CkLossUseType(CkLoss loss, const char name[])
{
  PetscFunctionBeginUser;
  PetscCall(CkLossSetType(loss, name));
  PetscCheck(!loss->data && !loss->setup, loss->comm, PETSC_ERR_ORDER, "The loss has its data already");
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkLossSetFromOptions(CkLoss loss)
{
  PetscInt  seed;
  PetscReal l2;

  PetscFunctionBeginUser;
  PetscCheck(!loss->setup, loss->comm, PETSC_ERR_ORDER, "Options come before CkLossSetUp()");
  PetscCall(CkLossRegisterOptions());
  PetscCall(CkOptionsGetInt("loss_sum_block", &loss->sum_block, NULL));
  PetscCall(CkOptionsGetReal("loss_l2", &l2, NULL));
  PetscCall(CkOptionsGetBool("loss_reproducible", &loss->reproducible, NULL));
  PetscCall(CkOptionsGetInt("seed", &seed, NULL));
  loss->l2 = (double)l2;
  loss->seed = (uint64_t)seed;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkLossSetBatchNormGroup(CkLoss loss, PetscInt group)
{
  PetscFunctionBeginUser;
  CkCheckAll(loss->comm, group == 0 || group > 1, PETSC_ERR_ARG_OUTOFRANGE,
             "batch norm cannot normalise groups of %" PetscInt_FMT " samples: take 0 (the whole batch) or at least 2",
             group);
  loss->group = group;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* PETSc's own layout of a vector of length d, and everybody's part of it. */
static PetscErrorCode SetLayout(CkLoss loss)
{
  PetscLayout     layout;
  const PetscInt *ranges;

  PetscFunctionBeginUser;
  PetscCall(PetscLayoutCreate(loss->comm, &layout));
  PetscCall(PetscLayoutSetBlockSize(layout, 1));
  PetscCall(PetscLayoutSetSize(layout, loss->d));
  PetscCall(PetscLayoutSetUp(layout));
  PetscCall(PetscLayoutGetRanges(layout, &ranges));
  PetscCall(PetscMalloc2(loss->size, &loss->counts, loss->size, &loss->starts));
  for (PetscMPIInt r = 0; r < loss->size; ++r) {
    PetscCall(PetscMPIIntCast(ranges[r], &loss->starts[r]));
    PetscCall(PetscMPIIntCast(ranges[r + 1] - ranges[r], &loss->counts[r]));
  }
  loss->first = ranges[loss->rank];
  loss->local = ranges[loss->rank + 1] - ranges[loss->rank];
  PetscCall(PetscLayoutDestroy(&layout));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The new point stands in loss->x. */
static PetscErrorCode UsePoint(CkLoss loss)
{
  const PetscInt bad = CkFirstNonFinite((size_t)loss->d, loss->x);
  char           text[256];

  PetscFunctionBeginUser;
  loss->cached = PETSC_FALSE;
  if (bad >= 0) { /* every rank holds the same point and comes here, or none does */
    if (loss->type->nameentry) PetscCall(loss->type->nameentry(loss, bad, text, sizeof(text)));
    else PetscCall(PetscSNPrintf(text, sizeof(text), "weight %" PetscInt_FMT, bad));
    CkCheckAll(loss->comm, PETSC_FALSE, PETSC_ERR_FP,
               "%s is %g: the weights must be finite; if training made them so, lower the learning rate", text,
               CkPlainNan(loss->x[bad]));
  }
  PetscCall(loss->type->setpoint(loss));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode StartPoint(CkLoss loss, double x[])
{
  PetscFunctionBeginUser;
  PetscCall(PetscArrayzero(x, loss->d));
  if (loss->type->startpoint) PetscCall(loss->type->startpoint(loss, x));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkLossSetUp(CkLoss loss)
{
  PetscFunctionBeginUser;
  if (loss->setup) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCheck(loss->type && loss->data, loss->comm, PETSC_ERR_ORDER,
             "A loss needs its data: CkLossSetNetwork(), SetQuadratic(), SetLinearRegression() or SetTwoWeight()");
  PetscCall(loss->type->setup(loss));
  PetscCall(SetLayout(loss));
  PetscCall(CkWholeCreate(loss));
  PetscCall(CkNodeArrayReserve(loss->comm, (size_t)loss->d * sizeof(double), "weights", &loss->point));
  loss->x = (double *)loss->point.bytes;
  if (loss->point.part == 0) PetscCall(StartPoint(loss, (double *)loss->point.bytes));
  PetscCall(CkNodeArraySync(&loss->point));
  loss->setup = PETSC_TRUE;
  PetscCall(UsePoint(loss));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkLossView(CkLoss loss)
{
  char line[160], decay[64] = "";

  PetscFunctionBeginUser;
  PetscCheck(loss->setup, loss->comm, PETSC_ERR_ORDER, "Call CkLossSetUp() first");
  if (loss->l2 != 0) snprintf(decay, sizeof(decay), ", weight decay %g", loss->l2);
  PetscCall(PetscSNPrintf(line, sizeof(line),
                          "Loss %s: %" PetscInt_FMT " weights, %" PetscInt_FMT " samples, sum blocks of %" PetscInt_FMT
                          ", tiles of %" PetscInt_FMT,
                          loss->type->name, loss->d, loss->N, loss->sum_block, loss->tile));
  PetscCall(PetscPrintf(loss->comm, "%s%s%s\n", line, decay, loss->reproducible ? "" : ", sums not reproducible"));
  if (loss->type->view) PetscCall(loss->type->view(loss));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkLossDestroy(CkLoss *loss)
{
  CkLoss l = *loss;

  PetscFunctionBeginUser;
  if (!l) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(CkPassDestroy(&l->pass));
  if (l->type) PetscCall(l->type->destroy(l));
  PetscCall(CkExactSumDestroy(&l->gradient));
  PetscCall(CkNodeArrayDestroy(&l->point));
  PetscCall(CkWholeDestroy(l));
  PetscCall(PetscFree2(l->counts, l->starts));
  PetscCall(PetscFree3(l->norms, l->folded, l->mean));
  PetscCall(PetscFree(l->G));
  for (size_t i = 0; i < sizeof(l->work) / sizeof(l->work[0]); ++i) PetscCall(PetscFree(l->work[i]));
  PetscCall(PetscCommDestroy(&l->comm));
  PetscCall(PetscFree(*loss));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkLossGetComm(CkLoss loss, MPI_Comm *comm)
{
  PetscFunctionBeginUser;
  *comm = loss->comm;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkLossGetDimension(CkLoss loss, PetscInt *d)
{
  PetscFunctionBeginUser;
  PetscCheck(loss->setup, loss->comm, PETSC_ERR_ORDER, "Call CkLossSetUp() first");
  *d = loss->d;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkLossGetSamples(CkLoss loss, PetscInt *N)
{
  PetscFunctionBeginUser;
  PetscCheck(loss->setup, loss->comm, PETSC_ERR_ORDER, "Call CkLossSetUp() first");
  *N = loss->N;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkLossGetNet(CkLoss loss, CkNet *net)
{
  PetscFunctionBeginUser;
  *net = loss->net;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkLossGetEngine(CkLoss loss, CkEngine *engine)
{
  PetscFunctionBeginUser;
  *engine = loss->engine;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkLossGetData(CkLoss loss, CkData *data)
{
  PetscFunctionBeginUser;
  *data = loss->samples;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkLossGetBatchNormGroup(CkLoss loss, PetscInt *group)
{
  PetscFunctionBeginUser;
  *group = loss->group;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkLossGetSumBlock(CkLoss loss, PetscInt *block)
{
  PetscFunctionBeginUser;
  *block = loss->sum_block;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkLossGetL2(CkLoss loss, double *l2)
{
  PetscFunctionBeginUser;
  *l2 = loss->l2;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkLossGetPrecision(CkLoss loss, CkPrecision *precision)
{
  PetscFunctionBeginUser;
  PetscCheck(loss->setup, loss->comm, PETSC_ERR_ORDER, "Call CkLossSetUp() first");
  *precision = loss->precision;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkLossGetPasses(CkLoss loss, double *passes)
{
  PetscFunctionBeginUser;
  *passes = loss->passes;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkLossGetBatchStatistics(CkLoss loss, const double **statistics)
{
  PetscFunctionBeginUser;
  *statistics = loss->statistics;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkLossCreateVec(CkLoss loss, Vec *x)
{
  PetscFunctionBeginUser;
  PetscCheck(loss->setup, loss->comm, PETSC_ERR_ORDER, "Call CkLossSetUp() first");
  PetscCall(VecCreate(loss->comm, x));
  PetscCall(VecSetSizes(*x, loss->local, loss->d));
  PetscCall(VecSetType(*x, VECSTANDARD));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkLossGetPoint(CkLoss loss, Vec x)
{
  PetscFunctionBeginUser;
  PetscCheck(loss->setup, loss->comm, PETSC_ERR_ORDER, "Call CkLossSetUp() first");
  PetscCall(CkLossToVec(loss, loss->x, x));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkLossGetPointArray(CkLoss loss, const double **x)
{
  PetscFunctionBeginUser;
  PetscCheck(loss->setup, loss->comm, PETSC_ERR_ORDER, "Call CkLossSetUp() first");
  *x = loss->x;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkLossSetPoint(CkLoss loss, Vec x)
{
  PetscFunctionBeginUser;
  PetscCheck(loss->setup, loss->comm, PETSC_ERR_ORDER, "Call CkLossSetUp() first");
  PetscCheck(!loss->pass || !loss->pass->active, loss->comm, PETSC_ERR_ORDER, "A pass over this point is under way");
  PetscCall(CkWholeGather(loss, 1, &x, &loss->point));
  PetscCall(UsePoint(loss));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkLossCheckLocal(CkLoss loss, Vec v)
{
  PetscInt n;

  PetscFunctionBeginUser;
  PetscCall(VecGetLocalSize(v, &n));
  PetscCheck(n == loss->local, PETSC_COMM_SELF, PETSC_ERR_ARG_SIZ,
             "%" PetscInt_FMT " entries of the vector are here, %" PetscInt_FMT " of one made by CkLossCreateVec()", n,
             loss->local);
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkLossGather(CkLoss loss, Vec v, double all[])
{
  const PetscScalar *mine;

  PetscFunctionBeginUser;
  PetscCall(CkLossCheckLocal(loss, v));
  PetscCall(VecGetArrayRead(v, &mine));
  if (loss->size == 1) PetscCall(PetscArraycpy(all, mine, loss->d));
  else
    PetscCallMPI(MPI_Allgatherv(mine, loss->counts[loss->rank], MPI_DOUBLE, all, loss->counts, loss->starts, MPI_DOUBLE,
                                loss->comm));
  PetscCall(VecRestoreArrayRead(v, &mine));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkLossToVec(CkLoss loss, const double all[], Vec v)
{
  PetscScalar *mine;

  PetscFunctionBeginUser;
  PetscCall(CkLossCheckLocal(loss, v));
  PetscCall(VecGetArrayWrite(v, &mine));
  PetscCall(PetscArraycpy(mine, all + loss->first, loss->local));
  PetscCall(VecRestoreArrayWrite(v, &mine));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkLossDot(CkLoss loss, Vec a, Vec b, double *dot)
{
  double     *u, *v;
  long double sum = 0;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc2(loss->d, &u, loss->d, &v));
  PetscCall(CkLossGather(loss, a, u));
  PetscCall(CkLossGather(loss, b, v));
  for (PetscInt i = 0; i < loss->d; ++i) sum += (long double)u[i] * v[i];
  *dot = (double)sum;
  PetscCall(PetscFree2(u, v));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkLossCheckBatch(CkLoss loss, const CkBatch *batch)
{
  PetscFunctionBeginUser;
  PetscCheck(loss->setup, loss->comm, PETSC_ERR_ORDER, "Call CkLossSetUp() first");
  PetscCheck(batch->n > 0, loss->comm, PETSC_ERR_ARG_OUTOFRANGE, "A batch of %" PetscInt_FMT " samples", batch->n);
  PetscCheck(batch->index || batch->n <= loss->N, loss->comm, PETSC_ERR_ARG_OUTOFRANGE,
             "A batch of the first %" PetscInt_FMT " samples of %" PetscInt_FMT, batch->n, loss->N);
  for (PetscInt i = 0; batch->index && i < batch->n; ++i)
    PetscCheck(batch->index[i] >= 0 && batch->index[i] < loss->N, loss->comm, PETSC_ERR_ARG_OUTOFRANGE,
               "Position %" PetscInt_FMT " of the batch is sample %" PetscInt_FMT " of %" PetscInt_FMT, i,
               batch->index[i], loss->N);
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkLossCheckEvaluation(CkLoss loss, const CkBatch *batch)
{
  PetscFunctionBeginUser;
  if (batch->mode != CK_EVALUATION)
    CkCheckAll(loss->comm, PETSC_FALSE, PETSC_ERR_SUP,
               "D is of the network in evaluation mode: per-sample losses do not exist when batch norm couples the "
               "samples; only values and the gradient of a batch can be had in training mode");
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscInt CkFirstNonFinite(size_t n, const double x[])
{
  int bad = 0;

  for (size_t i = 0; i < n; ++i) bad |= !isfinite(x[i]); /* no branch: vectorised */
  if (!bad) return -1;
  for (size_t i = 0; i < n; ++i) {
    if (!isfinite(x[i])) return (PetscInt)i;
  }
  return -1;
}

PetscErrorCode CkGrow(size_t n, size_t *room, double **array)
{
  PetscFunctionBeginUser;
  if (n <= *room) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(PetscFree(*array));
  *room = 0;
  PetscCall(PetscMalloc1(n, array));
  *room = n;
  PetscFunctionReturn(PETSC_SUCCESS);
}
