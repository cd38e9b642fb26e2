#include "density.h"
#include "krylov.h"
#include <clarkia/error.h>
#include <float.h>
#include <math.h>

/* Route `density`: the whole spectrum in outline, by stochastic Lanczos quadrature (docs/theory.md, section "Spectral
   density"); in weight space or in sample space, with s->krylov as the plan. */

typedef struct {
  CkSpectrum s;
  Vec       *V, *Y; /* weight space: one block of vectors and their products */
  VecScatter gather;
  Vec        whole;
} Operator;

static const char *const rank_names[CK_DENSITY_RANKS] = {"rank_float32", "rank_float64", "rank_gram32", "rank_1e-3"};

/* Sample space where its vectors are shorter: all of them are kept, on every rank. */
static PetscErrorCode MakePlan(CkSpectrum s)
{
  CkKrylovPlan *plan = &s->krylov;

  PetscFunctionBeginUser;
  *plan = (CkKrylovPlan){.form = s->form_asked};
  if (plan->form == CK_KRYLOV_AUTO) plan->form = s->N < s->d ? CK_KRYLOV_SAMPLE : CK_KRYLOV_WEIGHT;
  plan->n = plan->form == CK_KRYLOV_WEIGHT ? s->d : s->N;
  plan->ncv = PetscMin(s->steps, plan->n);
  PetscCall(CkDiffusionGetColumns(s->D, s->probes, &plan->block));
  PetscCall(CkKrylovPlanBuffers(s, plan));
  plan->basis = CkLanczosMemory(plan->n, s->probes, plan->ncv);
  PetscCall(
    PetscSNPrintf(plan->reason, sizeof(plan->reason),
                  "%s space%s, %" PetscInt_FMT " probes, %" PetscInt_FMT " steps of each", CkKrylovFormName(plan->form),
                  plan->form == CK_KRYLOV_WEIGHT ? "" : (plan->keep ? ", gradients kept" : ", two passes a product"),
                  s->probes, plan->ncv));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Estimate(CkSpectrum s, CkSpectrumEstimate *e)
{
  const CkKrylovPlan *plan = &s->krylov;
  PetscMPIInt         size;
  double              unused, passes, vectors;

  PetscFunctionBeginUser;
  CkCheckAll(s->comm, s->wanted == 0, PETSC_ERR_ARG_INCOMP,
             "-spectrum_vectors %" PetscInt_FMT ": the density has no eigenvectors; leave it out, or take "
             "-spectrum_method krylov",
             s->wanted);
  PetscCallMPI(MPI_Comm_size(s->comm, &size));
  PetscCall(MakePlan(s));
  PetscCall(CkDiffusionProductCost(s->D, s->probes, &unused, &passes));
  vectors = (double)plan->ncv * (double)s->probes;
  e->order = plan->n;
  e->values = 1;
  e->matrix = plan->basis;
  e->stream = plan->stream + plan->kept;
  if (plan->form == CK_KRYLOV_WEIGHT)
    e->stream += sizeof(double) * (double)s->d * (1 + 2. * (double)s->probes / (double)size);
  e->passes = 1 + (double)plan->ncv * passes; /* norms first */
  if (plan->form == CK_KRYLOV_SAMPLE) e->passes = 1 + plan->keep + (plan->keep ? 0 : 2 * (double)plan->ncv * passes);
  e->gradient = (double)s->N * (e->passes * plan->load + 2 * vectors * plan->column);
  e->solve = (double)size * 4. * (double)plan->n * vectors * (double)plan->ncv;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode ApplySample(void *context, PetscInt m, const double Z[], double Y[])
{
  PetscFunctionBeginUser;
  PetscCall(CkDiffusionApplyGram(((Operator *)context)->s->D, m, Z, Y));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode ApplyWeight(void *context, PetscInt m, const double Z[], double Y[])
{
  Operator    *op = context;
  const size_t d = (size_t)op->s->d;

  PetscFunctionBeginUser;
  for (PetscInt j = 0; j < m; ++j) {
    PetscInt     first, last;
    PetscScalar *mine;

    PetscCall(VecGetOwnershipRange(op->V[j], &first, &last));
    PetscCall(VecGetArrayWrite(op->V[j], &mine));
    PetscCall(PetscArraycpy(mine, Z + (size_t)j * d + (size_t)first, last - first));
    PetscCall(VecRestoreArrayWrite(op->V[j], &mine));
  }
  PetscCall(CkDiffusionApply(op->s->D, m, op->V, op->Y));
  for (PetscInt j = 0; j < m; ++j) {
    const PetscScalar *all;

    PetscCall(VecScatterBegin(op->gather, op->Y[j], op->whole, INSERT_VALUES, SCATTER_FORWARD));
    PetscCall(VecScatterEnd(op->gather, op->Y[j], op->whole, INSERT_VALUES, SCATTER_FORWARD));
    PetscCall(VecGetArrayRead(op->whole, &all));
    PetscCall(PetscArraycpy(Y + (size_t)j * d, all, op->s->d));
    PetscCall(VecRestoreArrayRead(op->whole, &all));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode RunWeight(CkSpectrum s, CkLanczosRule *rule)
{
  Operator op = {.s = s};

  PetscFunctionBeginUser;
  PetscCall(CkSpectrumCreateVectors(s, s->probes, &op.V));
  PetscCall(CkSpectrumCreateVectors(s, s->probes, &op.Y));
  PetscCall(VecScatterCreateToAll(op.V[0], &op.gather, &op.whole));
  PetscCall(CkLanczosRun(s->comm, (uint64_t)s->seed, ApplyWeight, &op, rule));
  PetscCall(VecScatterDestroy(&op.gather));
  PetscCall(VecDestroy(&op.whole));
  PetscCall(CkSpectrumDestroyVectors(s->probes, &op.Y));
  PetscCall(CkSpectrumDestroyVectors(s->probes, &op.V));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode RunSample(CkSpectrum s, CkLanczosRule *rule)
{
  Operator op = {.s = s};

  PetscFunctionBeginUser;
  if (s->krylov.keep) PetscCall(CkDiffusionKeepGradients(s->D, PETSC_TRUE));
  PetscCall(CkLanczosRun(s->comm, (uint64_t)s->seed, ApplySample, &op, rule));
  if (s->krylov.keep) PetscCall(CkDiffusionKeepGradients(s->D, PETSC_FALSE));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The largest node of all, and the residual of its Ritz vector. */
static PetscErrorCode KeepLargest(CkSpectrum s, const CkLanczosRule *rule)
{
  PetscInt best = 0;

  PetscFunctionBeginUser;
  for (PetscInt p = 1; p < rule->probes; ++p) {
    if (rule->nodes[(size_t)p * (size_t)rule->steps] > rule->nodes[(size_t)best * (size_t)rule->steps]) best = p;
  }
  s->n = 1;
  PetscCall(PetscMalloc2(1, &s->values, 1, &s->residual));
  s->values[0] = rule->nodes[(size_t)best * (size_t)rule->steps];
  s->residual[0] = s->values[0] > 0 ? rule->residual[best] / s->values[0] : 0;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Least node, and the largest difference of the second moment from |A z|^2, which needs no recurrence; both relative to
   the largest node. */
static void Worst(const CkLanczosRule *rule, double lambda_max, double *least, double *moment)
{
  const double unit = lambda_max > 0 ? lambda_max : 1;

  *least = *moment = 0;
  for (PetscInt p = 0; p < rule->probes; ++p) {
    const size_t at = (size_t)p * (size_t)rule->steps;
    double       sum = 0;

    for (size_t i = 0; i < (size_t)rule->taken[p]; ++i) {
      sum += rule->weights[at + i] * PetscSqr(rule->nodes[at + i]);
      *least = PetscMin(*least, rule->nodes[at + i] / unit);
    }
    *moment = PetscMax(*moment, fabs(sum - rule->square[p]) / (unit * unit));
  }
}

static void Check(CkSpectrum s, const CkLanczosRule *rule)
{
  const double largest = s->values[0], most = largest * (1 + s->residual[0]);
  const double unit = s->scale > 0 ? s->scale : 1, noise = CkSpectrumResidualBound(s);
  double       least, moment;

  if (!s->check) return;
  Worst(rule, largest, &least, &moment);
  CkSpectrumCheckAdd(&s->checks, "trace by the probes = trace of D, 6 standard errors",
                     (s->density.trace - s->trace) / unit,
                     CkDensityTraceBound(rule->n, rule->probes, s->trace, most) / unit + s->precision);
  if (!isnan(s->square))
    CkSpectrumCheckAdd(&s->checks, "trace of D^2 by the probes = |D|_F^2, 6 standard errors",
                       PetscAbsReal(s->density.square - s->square) / (unit * unit),
                       CkDensityTraceBound(rule->n, rule->probes, s->square, most * most) / (unit * unit) +
                         CkSpectrumSquareBound(s, noise) * PetscSqr(largest / unit));
  CkSpectrumCheckAdd(&s->checks, "second moments by quadrature = |D z|^2", moment, noise);
  CkSpectrumCheckAdd(&s->checks, "no node below zero", least, noise);
  CkSpectrumCheckTrace(&s->checks, 1, s->values, (PetscBool)(CkSpectrumMaximalRank(s) <= 1), s->trace, s->scale,
                       s->precision);
}

static PetscErrorCode Solve(CkSpectrum s)
{
  CkLanczosRule        rule;
  CkSpectrumStatistics t;

  PetscFunctionBeginUser;
  PetscCall(CkSpectrumPhaseBegin(s, CK_PHASE_SOLVE));
  PetscCall(CkLanczosRuleCreate(s->krylov.n, s->probes, s->krylov.ncv, &rule));
  if (s->krylov.form == CK_KRYLOV_SAMPLE) PetscCall(RunSample(s, &rule));
  else PetscCall(RunWeight(s, &rule));
  PetscCall(CkSpectrumPhaseBegin(s, CK_PHASE_CHECK));
  PetscCall(KeepLargest(s, &rule));
  PetscCall(CkSpectrumComputeStatistics(1, s->values, s->d, s->N, CkSpectrumMaximalRank(s), s->trace, &t));
  PetscCall(CkDensityCreate(
    &rule, s->width, (const double[]){t.threshold_float32, t.threshold_float64, t.threshold_gram32, t.threshold_1e3},
    &s->density));
  Check(s, &rule);
  PetscCall(CkLanczosRuleDestroy(&rule));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* What rounding in the products does to eigenvalues, about: thresholds below it count noise. */
static double ProductRounding(CkSpectrum s)
{
  CkPrecision precision = CK_FLOAT64;

  (void)CkLossGetPrecision(s->loss, &precision);
  return (precision == CK_FLOAT32 ? FLT_EPSILON : DBL_EPSILON) * (s->values[0] + (s->scale - s->trace));
}

static PetscErrorCode RankRows(CkSpectrum s, CkTable table)
{
  static const char *const formulas[] = {"lambda_max d eps32", "lambda_max d eps64", "lambda_max min(d,N) eps32",
                                         "lambda_max / 1000"};
  const CkSpectrumDensity *f = &s->density;
  char                     against[96];

  PetscFunctionBeginUser;
  for (int i = 0; i < CK_DENSITY_RANKS; ++i) {
    char note[224];

    PetscCall(PetscSNPrintf(
      note, sizeof(note), "above %.4g = %s; with these moments %.4g to %.4g%s", f->threshold[i], formulas[i],
      f->rank_lower[i], f->rank_upper[i],
      f->threshold[i] < ProductRounding(s) ? "; BELOW THE ROUNDING of products, not to be relied on" : ""));
    PetscCall(CkTableRow(table, rank_names[i], note, "%.4g +- %.2g", f->rank[i], f->rank_error[i]));
  }
  PetscCall(CkTableRow(table, "trace by the probes", "", "%.6g +- %.2g", f->trace, f->trace_error));
  if (isnan(s->square)) PetscCall(PetscSNPrintf(against, sizeof(against), "by the probes"));
  else
    PetscCall(PetscSNPrintf(against, sizeof(against), "by the probes, %.2g standard errors from |D|_F^2 = %.8g",
                            (f->square - s->square) / (f->square_error > 0 ? f->square_error : 1), s->square));
  PetscCall(CkTableRow(table, "trace of D^2", against, "%.6g +- %.2g", f->square, f->square_error));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode WriteRules(const CkSpectrumDensity *f, CkFile file)
{
  const PetscInt64 shape[] = {f->probes, f->steps};
  PetscInt64      *taken;

  PetscFunctionBeginUser;
  PetscCall(CkFileWriteAll(file, "/density/nodes", CK_F64, 2, shape, f->nodes, "1",
                           "nodes of the quadrature of each probe, descending; 0 behind the last"));
  PetscCall(CkFileWriteAll(file, "/density/weights", CK_F64, 2, shape, f->weights, "1",
                           "weights of the nodes; those of a probe sum to 1"));
  PetscCall(PetscMalloc1(f->probes, &taken));
  for (PetscInt p = 0; p < f->probes; ++p) taken[p] = f->taken[p];
  PetscCall(
    CkFileWriteAll(file, "/density/node_count", CK_I64, 1, shape, taken, "1", "nodes of each probe that are taken"));
  PetscCall(PetscFree(taken));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode WriteCurve(const CkSpectrumDensity *f, CkFile file)
{
  const PetscInt64 shape[] = {f->points};

  PetscFunctionBeginUser;
  PetscCall(CkFileWriteAll(file, "/density/grid", CK_F64, 1, shape, f->grid, "1", "eigenvalue, ascending"));
  PetscCall(
    CkFileWriteAll(file, "/density/density", CK_F64, 1, shape, f->density, "1", "eigenvalues of D per decade there"));
  PetscCall(CkFileWriteAll(file, "/density/density_error", CK_F64, 1, shape, f->density_error, "1",
                           "standard error of the density over the probes"));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Write(CkSpectrum s, CkFile file)
{
  const CkSpectrumDensity *f = &s->density;

  PetscFunctionBeginUser;
  PetscCall(WriteRules(f, file));
  PetscCall(WriteCurve(f, file));
  PetscCall(CkFileWriteInt(file, "/density", "order", f->order));
  PetscCall(CkFileWriteReal(file, "/density", "width", s->width));
  PetscCall(CkFileWriteReals(file, "/density", "trace", 2, (const double[]){f->trace, f->trace_error}));
  PetscCall(CkFileWriteReals(file, "/density", "trace_of_square", 2, (const double[]){f->square, f->square_error}));
  for (int i = 0; i < CK_DENSITY_RANKS; ++i)
    PetscCall(CkFileWriteReals(file, "/density", rank_names[i], 4,
                               (const double[]){f->rank[i], f->rank_error[i], f->rank_lower[i], f->rank_upper[i]}));
  PetscFunctionReturn(PETSC_SUCCESS);
}

const CkSpectrumRoute ck_spectrum_density = {"density",           CK_SPECTRUM_DENSITY, Estimate,      Solve,
                                             .solver = "lanczos", .ranks = RankRows,   .write = Write};
