/* pass.c: one sweep over a batch in evaluation mode (decisions 1 and 2). */
#include "lossimpl.h"
#include <clarkia/progress.h>
#include <math.h>

/* The loss's work space; buffers stay from sweep to sweep. */
static PetscErrorCode MakeWorkSpace(CkLoss loss)
{
  PetscFunctionBeginUser;
  if (!loss->pass) {
    PetscCall(PetscNew(&loss->pass));
    loss->pass->loss = loss;
    PetscCall(
      PetscMalloc3(loss->tile, &loss->pass->index, loss->tile, &loss->pass->values, loss->tile, &loss->pass->correct));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkPassDestroy(CkPass *pass)
{
  CkPass p = *pass;

  PetscFunctionBeginUser;
  if (!p) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(PetscFree3(p->index, p->values, p->correct));
  PetscCall(CkExactSumDestroy(&p->sum));
  PetscCall(PetscFree(p->norms));
  PetscCall(PetscFree(p->A));
  PetscCall(PetscFree(p->wide));
  PetscCall(PetscFree(p->G));
  PetscCall(CkNodeArrayDestroy(&p->columns));
  PetscCall(CkNodeArrayDestroy(&p->gathered));
  PetscCall(PetscFree(*pass));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkPassStart(CkLoss loss, const CkBatch *batch, PetscBool forward_only, CkPass *pass)
{
  CkPass p;

  PetscFunctionBeginUser;
  PetscCall(CkLossCheckBatch(loss, batch));
  PetscCall(MakeWorkSpace(loss));
  p = loss->pass;
  PetscCheck(!p->active, loss->comm, PETSC_ERR_ORDER, "A pass over this loss is under way");
  p->batch = *batch;
  p->forward_only = forward_only;
  p->active = PETSC_TRUE;
  p->over = PETSC_FALSE;
  p->dirty = PETSC_FALSE;
  p->m = p->vectors = 0;
  p->first = 0;
  p->count = loss->d;
  p->verdict.code = PETSC_SUCCESS;
  p->now = (CkTile){.more = PETSC_TRUE, .round = -1, .first = 0, .n = 0, .values = p->values};
  PetscCall(loss->type->usecolumns(loss, 0, NULL));
  PetscCall(CkLossGetBlocks(loss, batch->n, &p->blocks));
  p->rounds = CkBlocksRounds(&p->blocks);
  if (p->rounds > 1)
    PetscCall(CkProgressCreate(loss->comm, forward_only ? "losses" : "a pass over the data", "samples", batch->n,
                               &p->progress));
  *pass = p;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkPassBegin(CkLoss loss, const CkBatch *batch, CkPass *pass)
{
  PetscFunctionBeginUser;
  PetscCall(CkLossCheckEvaluation(loss, batch));
  PetscCall(CkPassStart(loss, batch, PETSC_FALSE, pass));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkPassGetBlocks(CkPass pass, CkBlocks *blocks)
{
  PetscFunctionBeginUser;
  *blocks = pass->blocks;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkPassSetRange(CkPass pass, PetscInt first, PetscInt count)
{
  CkLoss loss = pass->loss;

  PetscFunctionBeginUser;
  PetscCheck(pass->active && pass->now.round < 0 && pass->m == 0 && pass->vectors == 0, loss->comm, PETSC_ERR_ORDER,
             "A range comes before the first tile, and without columns and sums");
  PetscCheck(first >= 0 && count >= 0 && count <= loss->d - first, loss->comm, PETSC_ERR_ARG_OUTOFRANGE,
             "Entries from %" PetscInt_FMT " on, %" PetscInt_FMT " of them, of %" PetscInt_FMT, first, count, loss->d);
  if (loss->type->setrange) PetscCall(loss->type->setrange(loss, first, count));
  pass->first = first;
  pass->count = count;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkPassGetColumnNorms(CkPass pass, double norms[])
{
  PetscFunctionBeginUser;
  PetscCall(PetscArraycpy(norms, pass->norms, pass->m));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscBool IsDirect(CkPass pass)
{
  return CkLossSumsDirectly(pass->loss, &pass->blocks);
}

PetscErrorCode CkPassSetSum(CkPass pass, PetscInt m, const double bounds[], int limbs)
{
  CkLoss       loss = pass->loss;
  const size_t n = (size_t)m * (size_t)loss->de;

  PetscFunctionBeginUser;
  PetscCheck(pass->active && pass->now.round < 0, loss->comm, PETSC_ERR_ORDER, "Sums come before the first tile");
  PetscCall(CkGrow(IsDirect(pass) ? (size_t)loss->de : n, &pass->A_room, &pass->A));
  if (!IsDirect(pass)) PetscCall(PetscArrayzero(pass->A, n));
  pass->vectors = m;
  pass->limbs = limbs;
  if (!loss->reproducible) PetscFunctionReturn(PETSC_SUCCESS);
  if (pass->sum && pass->sum_vectors == m && pass->sum_limbs == limbs) PetscCall(CkExactSumReset(pass->sum, bounds));
  else {
    PetscCall(CkExactSumDestroy(&pass->sum));
    PetscCall(CkExactSumCreate(loss->comm, loss->de, m, bounds, limbs, &pass->sum));
    PetscCall(CkExactSumSetHold(pass->sum, PETSC_TRUE)); /* a bad term is the user's: said later, on all ranks */
    pass->sum_vectors = m;
    pass->sum_limbs = limbs;
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkPassSetAccumulator(CkPass pass, PetscInt m, const double bounds[])
{
  double *twice; /* a slope in float32 may exceed |g_k||v| by rounding */

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc1(m, &twice));
  for (PetscInt j = 0; j < m; ++j) twice[j] = 2 * bounds[j];
  PetscCall(CkPassSetSum(pass, m, twice, pass->loss->precision == CK_FLOAT64 ? 2 : 1));
  PetscCall(PetscFree(twice));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscInt SampleAt(CkPass pass, PetscInt position)
{
  return pass->batch.index ? pass->batch.index[position] : position;
}

/* Forward, or forward and backward, of n positions. */
static PetscErrorCode LoadTile(CkPass pass, PetscInt first, PetscInt n)
{
  const CkLossType *type = pass->loss->type;

  PetscFunctionBeginUser;
  if (n == 0) PetscFunctionReturn(PETSC_SUCCESS);
  for (PetscInt i = 0; i < n; ++i) pass->index[i] = SampleAt(pass, first + i);
  PetscCall((pass->forward_only ? type->values : type->load)(pass->loss, n, pass->index, pass->values, pass->correct));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static void BlameSample(CkPass pass, PetscInt k, const char what[], double value)
{
  CkVerdictFail(&pass->verdict, PETSC_ERR_FP,
                "the %s of sample %" PetscInt_FMT " is %g: look at the sample (data) and at the weights; if training "
                "led here, lower the learning rate",
                what, pass->index[k], CkPlainNan(value));
}

/* The sum of the block that holds this round's tile left the range of exact sums: looks for the sample, tile by tile.
 */
static PetscErrorCode BlameBlock(CkPass pass)
{
  const PetscInt last = pass->blocks.tiles_per_block;
  const PetscInt start = pass->now.round / last * last;
  double        *norms;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc1(pass->blocks.tile, &norms));
  for (PetscInt round = start; round < start + last && !pass->verdict.code; ++round) {
    PetscInt first, n;

    CkBlocksTile(&pass->blocks, round, &first, &n);
    if (n == 0) continue;
    PetscCall(LoadTile(pass, first, n));
    PetscCall(pass->loss->type->squarednorms(pass->loss, norms, NULL));
    for (PetscInt k = 0; k < n; ++k) {
      if (!(norms[k] < CK_LOSS_WIDE * CK_LOSS_WIDE)) BlameSample(pass, k, "squared norm of the gradient", norms[k]);
    }
  }
  PetscCall(PetscFree(norms));
  if (!pass->verdict.code) {
    PetscInt first, n;

    CkBlocksTile(&pass->blocks, start, &first, &n);
    CkVerdictFail(&pass->verdict, PETSC_ERR_FP,
                  "the sum of gradients from position %" PetscInt_FMT " of the batch (sample %" PetscInt_FMT
                  ") on leaves its bound",
                  first, SampleAt(pass, first));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* End of a sum block: its sums, which the kernels have made in their own order, go to the exact sums (decision 2). */
static PetscErrorCode FlushBlock(CkPass pass)
{
  const size_t de = (size_t)pass->loss->de, n = (size_t)pass->vectors * de;
  PetscBool    bad;

  PetscFunctionBeginUser;
  PetscCall(PetscLogEventBegin(CK_Flush, 0, 0, 0, 0));
  pass->dirty = PETSC_FALSE;
  if (IsDirect(pass)) bad = CkExactSumIsSpoilt(pass->sum);
  else if (pass->loss->reproducible) {
    for (PetscInt j = 0; j < pass->vectors; ++j)
      PetscCall(CkExactSumAdd(pass->sum, j, 0, (PetscInt64)de, pass->A + (size_t)j * de));
    PetscCall(PetscArrayzero(pass->A, n));
    bad = CkExactSumIsSpoilt(pass->sum);
  } else bad = (PetscBool)(CkFirstNonFinite(n, pass->A) >= 0);
  PetscCall(PetscLogEventEnd(CK_Flush, 0, 0, 0, 0));
  if (bad && !pass->verdict.code) PetscCall(BlameBlock(pass));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* No range any more. */
static PetscErrorCode Widen(CkPass pass)
{
  PetscFunctionBeginUser;
  if (pass->count < pass->loss->d && pass->loss->type->setrange)
    PetscCall(pass->loss->type->setrange(pass->loss, 0, pass->loss->d));
  pass->first = 0;
  pass->count = pass->loss->d;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The sweep is over: the verdict of all ranks. */
static PetscErrorCode Finish(CkPass pass)
{
  CkLoss         loss = pass->loss;
  PetscErrorCode ierr;

  PetscFunctionBeginUser;
  PetscCall(Widen(pass));
  PetscCall(CkProgressDestroy(&pass->progress));
  pass->over = PETSC_TRUE;
  pass->now.more = PETSC_FALSE;
  pass->now.n = 0;
  loss->passes += (pass->forward_only ? 1. / 3 : 1.) * (double)pass->batch.n / (double)loss->N;
  PetscCall(PetscLogEventBegin(CK_Wait, 0, 0, 0, 0));
  ierr = CkCheckVerdict(loss->comm, &pass->verdict);
  PetscCall(PetscLogEventEnd(CK_Wait, 0, 0, 0, 0));
  if (ierr) pass->active = PETSC_FALSE; /* the loss can go on at another point */
  PetscCall(ierr);
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkPassNext(CkPass pass, CkTile *tile)
{
  PetscFunctionBeginUser;
  PetscCheck(pass->active && !pass->over, pass->loss->comm, PETSC_ERR_ORDER, "The sweep is over");
  if (pass->dirty && (pass->now.round + 1) % pass->blocks.tiles_per_block == 0) PetscCall(FlushBlock(pass));
  ++pass->now.round;
  if (pass->now.round == pass->rounds) PetscCall(Finish(pass));
  else {
    CkBlocksTile(&pass->blocks, pass->now.round, &pass->now.first, &pass->now.n);
    if (pass->verdict.code) pass->now.n = 0;
    if (pass->progress && pass->now.n > 0) PetscCall(CkProgressUpdate(pass->progress, pass->now.first));
    PetscCall(LoadTile(pass, pass->now.first, pass->now.n));
    for (PetscInt k = 0; k < pass->now.n; ++k) {
      if (!isfinite(pass->values[k])) BlameSample(pass, k, "loss", pass->values[k]);
    }
    if (pass->verdict.code) pass->now.n = 0;
  }
  *tile = pass->now;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkPassRows(CkPass pass, CkPrecision precision, void *G, size_t ld)
{
  const size_t d = (size_t)pass->loss->d;

  PetscFunctionBeginUser;
  if (pass->now.n == 0) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(pass->loss->type->rows(pass->loss, precision, G, ld));
  for (PetscInt k = 0; k < pass->now.n; ++k) {
    double *wide = (double *)G + (size_t)k * ld;
    float  *narrow = (float *)G + (size_t)k * ld;
    int     bad = 0;

    if (precision == CK_FLOAT64)
      for (size_t i = 0; i < d; ++i) bad |= !isfinite(wide[i]);
    else
      for (size_t i = 0; i < d; ++i) bad |= !isfinite(narrow[i]);
    if (!bad) continue;
    BlameSample(pass, k, "gradient", NAN);
    if (precision == CK_FLOAT64) PetscCall(PetscArrayzero(wide, d));
    else PetscCall(PetscArrayzero(narrow, d));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Entries from rows. */
static PetscErrorCode TransposeRows(CkPass pass, PetscInt first, PetscInt count, void *G, size_t ld)
{
  const PetscBool wide = (PetscBool)(pass->loss->precision == CK_FLOAT64);
  const size_t    d = (size_t)pass->loss->d, bytes = wide ? sizeof(double) : sizeof(float);

  PetscFunctionBeginUser;
  if (!pass->G) PetscCall(PetscMalloc((size_t)pass->loss->tile * d * bytes, &pass->G));
  PetscCall(pass->loss->type->rows(pass->loss, pass->loss->precision, pass->G, d));
  for (size_t k = 0; k < (size_t)pass->now.n; ++k) {
    for (size_t i = 0; i < (size_t)count; ++i) {
      const size_t from = k * d + (size_t)first + i;

      if (wide) ((double *)G)[i * ld + k] = ((const double *)pass->G)[from];
      else ((float *)G)[i * ld + k] = ((const float *)pass->G)[from];
    }
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* sums[k] = 0 times the sum of the sample's numbers in G [count x ld]: NaN where one is not finite. */
static void FindBad(CkPass pass, PetscInt count, const void *G, size_t ld, double sums[])
{
  const size_t n = (size_t)pass->now.n;

  for (size_t i = 0; i < (size_t)count; ++i) {
    if (pass->loss->precision == CK_FLOAT64)
      for (size_t k = 0; k < n; ++k) sums[k] += 0 * ((const double *)G)[i * ld + k];
    else
      for (size_t k = 0; k < n; ++k) sums[k] += (double)(0 * ((const float *)G)[i * ld + k]);
  }
}

/* Zeros in the place of what is not finite; its sample is blamed. */
static PetscErrorCode ReplaceBad(CkPass pass, PetscInt count, void *G, size_t ld)
{
  double *sums;

  PetscFunctionBeginUser;
  PetscCall(PetscCalloc1(pass->now.n, &sums));
  FindBad(pass, count, G, ld, sums);
  for (PetscInt k = 0; k < pass->now.n; ++k) {
    if (sums[k] == 0) continue;
    BlameSample(pass, k, "gradient", NAN);
    for (size_t i = 0; i < (size_t)count; ++i) {
      if (pass->loss->precision == CK_FLOAT64) ((double *)G)[i * ld + (size_t)k] = 0;
      else ((float *)G)[i * ld + (size_t)k] = 0;
    }
  }
  PetscCall(PetscFree(sums));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkPassEntries(CkPass pass, PetscInt first, PetscInt count, void *G, size_t ld)
{
  const CkLoss loss = pass->loss;

  PetscFunctionBeginUser;
  PetscCheck(count >= 0 && first >= pass->first && count <= pass->first + pass->count - first, PETSC_COMM_SELF,
             PETSC_ERR_ARG_OUTOFRANGE, "Entries from %" PetscInt_FMT " on, %" PetscInt_FMT " of them: not in the range",
             first, count);
  if (pass->now.n == 0) PetscFunctionReturn(PETSC_SUCCESS);
  if (loss->type->entries) PetscCall(loss->type->entries(loss, first, count, G, ld));
  else PetscCall(TransposeRows(pass, first, count, G, ld));
  PetscCall(ReplaceBad(pass, count, G, ld));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkPassFactors(CkPass pass, PetscInt number, void *inputs, void *derivatives, size_t ld)
{
  const CkLoss     loss = pass->loss;
  const CkFactors *factors;
  PetscInt         n;

  PetscFunctionBeginUser;
  PetscCheck(loss->engine, loss->comm, PETSC_ERR_SUP, "No engine, no factors");
  if (pass->now.n == 0) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(CkEngineGetFactors(loss->engine, &n, &factors));
  PetscCall(CkEngineFactors(loss->engine, number, inputs, derivatives, ld));
  PetscCall(ReplaceBad(pass, factors[number].inputs, inputs, ld));
  PetscCall(ReplaceBad(pass, factors[number].outputs, derivatives, ld));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkPassSquaredNorms(CkPass pass, double original[], double folded[])
{
  PetscFunctionBeginUser;
  if (pass->now.n == 0) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(pass->loss->type->squarednorms(pass->loss, original, folded));
  for (PetscInt k = 0; k < pass->now.n; ++k) {
    if (isfinite(original[k]) && (!folded || isfinite(folded[k]))) continue;
    BlameSample(pass, k, "squared norm of the gradient", original[k]);
    original[k] = 0;
    if (folded) folded[k] = 0;
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkPassDot(CkPass pass, double S[])
{
  const size_t n = (size_t)pass->now.n * (size_t)pass->m;
  PetscInt     bad;

  PetscFunctionBeginUser;
  if (n == 0) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(pass->loss->type->dot(pass->loss, S));
  bad = CkFirstNonFinite(n, S);
  if (bad >= 0) {
    BlameSample(pass, bad / pass->m, "slope (gradient times vector)", S[bad]);
    PetscCall(PetscArrayzero(S, n));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkPassAccumulate(CkPass pass, const double S[])
{
  PetscFunctionBeginUser;
  if (pass->now.n == 0 || pass->verdict.code) PetscFunctionReturn(PETSC_SUCCESS);
  if (IsDirect(pass)) PetscCall(pass->loss->type->accumulate_exact(pass->loss, pass->vectors, S, pass->sum));
  else PetscCall(pass->loss->type->accumulate(pass->loss, pass->vectors, S, pass->A));
  pass->dirty = PETSC_TRUE;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkPassSumOverRanks(CkPass pass)
{
  const CkLoss loss = pass->loss;
  const size_t n = (size_t)pass->vectors * (size_t)loss->de, chunk = (size_t)1 << 26;

  PetscFunctionBeginUser;
  PetscCheck(pass->active && pass->over, pass->loss->comm, PETSC_ERR_ORDER, "Sums are complete after the sweep");
  PetscCall(PetscLogEventBegin(CK_Reduce, 0, 0, 0, 0));
  if (IsDirect(pass)) PetscCall(CkGrow(n, &pass->A_room, &pass->A));
  if (loss->reproducible) PetscCall(CkExactSumReduce(pass->sum, pass->A));
  for (size_t at = 0; !loss->reproducible && at < n; at += chunk)
    PetscCallMPI(
      MPI_Allreduce(MPI_IN_PLACE, pass->A + at, (PetscMPIInt)PetscMin(chunk, n - at), MPI_DOUBLE, MPI_SUM, loss->comm));
  PetscCall(PetscLogEventEnd(CK_Reduce, 0, 0, 0, 0));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkPassGetSum(CkPass pass, PetscInt j, const double **sum)
{
  const CkLoss  loss = pass->loss;
  const double *mine = pass->A + (size_t)j * (size_t)loss->de;

  PetscFunctionBeginUser;
  *sum = mine;
  if (!loss->type->unfold) PetscFunctionReturn(PETSC_SUCCESS);
  if (!pass->wide) PetscCall(PetscMalloc1(loss->d, &pass->wide));
  PetscCall(loss->type->unfold(loss, 1, mine, pass->wide));
  *sum = pass->wide;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Vectors first .. first+count-1, one a rank: this rank's, summed over ranks, in engine coordinates. */
static PetscErrorCode SumShare(CkPass pass, PetscInt first, PetscInt count, double **mine)
{
  const CkLoss loss = pass->loss;
  const size_t de = (size_t)loss->de, chunk = (size_t)1 << 26;

  PetscFunctionBeginUser;
  *mine = loss->reproducible ? pass->A : pass->A + (size_t)PetscMin(first + loss->rank, pass->vectors - 1) * de;
  PetscCall(PetscLogEventBegin(CK_Reduce, 0, 0, 0, 0));
  if (loss->reproducible) PetscCall(CkExactSumReduceShare(pass->sum, first, count, pass->A));
  for (PetscMPIInt r = 0; r < count && !loss->reproducible; ++r)
    for (size_t at = 0; at < de; at += chunk) {
      double *part = pass->A + (size_t)(first + r) * de + at;

      PetscCallMPI(MPI_Reduce(r == loss->rank ? MPI_IN_PLACE : part, part, (PetscMPIInt)PetscMin(chunk, de - at),
                              MPI_DOUBLE, MPI_SUM, r, loss->comm));
    }
  PetscCall(PetscLogEventEnd(CK_Reduce, 0, 0, 0, 0));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Each rank sums and unfolds vectors of its own, which are then cut into the parts of all ranks. */
PetscErrorCode CkPassReduce(CkPass pass, Vec out[])
{
  const CkLoss loss = pass->loss;

  PetscFunctionBeginUser;
  PetscCheck(pass->active && pass->over, loss->comm, PETSC_ERR_ORDER, "Sums are complete after the sweep");
  for (PetscInt first = 0; first < pass->vectors; first += loss->size) {
    const PetscInt count = PetscMin(loss->size, pass->vectors - first);
    double        *mine;

    PetscCall(SumShare(pass, first, count, &mine));
    if (loss->rank < count && loss->type->unfold) {
      if (!pass->wide) PetscCall(PetscMalloc1(loss->d, &pass->wide));
      PetscCall(loss->type->unfold(loss, 1, mine, pass->wide));
      mine = pass->wide;
    }
    PetscCall(PetscLogEventBegin(CK_Reduce, 0, 0, 0, 0));
    PetscCall(CkWholeScatter(loss, count, mine, out + first));
    PetscCall(PetscLogEventEnd(CK_Reduce, 0, 0, 0, 0));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkPassEnd(CkPass *pass)
{
  CkPass p = *pass;

  PetscFunctionBeginUser;
  if (p && p->active) PetscCall(Widen(p));
  if (p) PetscCall(CkProgressDestroy(&p->progress));
  if (p) p->active = PETSC_FALSE;
  *pass = NULL;
  PetscFunctionReturn(PETSC_SUCCESS);
}
