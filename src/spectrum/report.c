#include "spectrumimpl.h"
#include <clarkia/blockproduct.h>
#include <float.h>
#include <math.h>

/* What a person reads: the summary table and the largest eigenvalues. */

#define SHOWN 10

PetscErrorCode CkSpectrumProductRow(CkSpectrum s, CkTable table)
{
  const double operations = (double)s->N * (double)s->N * (double)s->form.formed;
  const char  *of = s->form.layers > 0 ? "N^2 weights formed" : "N^2 d";
  char         note[96];

  PetscFunctionBeginUser;
  if (s->form.precision == CK_FLOAT32)
    PetscCall(PetscSNPrintf(note, sizeof(note), "%s = %.2g; chunks of %d weights added in double", of, operations,
                            CK_PRODUCT_CHUNK));
  else PetscCall(PetscSNPrintf(note, sizeof(note), "%s = %.2g", of, operations));
  PetscCall(CkTableRow(table, "products", note, "%s precision", s->form.precision == CK_FLOAT32 ? "single" : "double"));
  if (s->form.layers > 0) {
    PetscCall(PetscSNPrintf(note, sizeof(note),
                            "%" PetscInt_FMT " of %" PetscInt_FMT " weights, by inputs and derivatives",
                            s->d - s->form.formed, s->d));
    PetscCall(CkTableRow(table, "factored layers", note, "%" PetscInt_FMT, s->form.layers));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode ProblemRows(CkSpectrum s, CkTable table)
{
  CkNet       net;
  CkEngine    engine;
  const char *text;
  PetscBool   centred;
  char        note[128];

  PetscFunctionBeginUser;
  PetscCall(CkLossGetNet(s->loss, &net));
  PetscCall(CkLossGetEngine(s->loss, &engine));
  if (net) {
    PetscCall(CkNetGetName(net, &text));
    PetscCall(CkTableRow(table, "network", s->weights, "%s", text));
  }
  PetscCall(CkTableRow(table, "weights d", net ? "" : s->weights, "%" PetscInt_FMT, s->d));
  PetscCall(CkTableRow(table, "samples N", s->samples, "%" PetscInt_FMT, s->N));
  PetscCall(CkDiffusionGetCentred(s->D, &centred));
  PetscCall(CkTableRow(table, "matrix", "", "%s",
                       centred ? "D = (1/N) sum g g' - gbar gbar'" : "second moment (1/N) sum g g'"));
  if (engine) {
    PetscCall(CkEngineGetType(engine, &text));
    PetscCall(CkTableRow(table, "engine", "", "%s", text));
  }
  PetscCall(CkTableRow(table, "method", s->reason, "%s", CkSpectrumMethodName(s->method)));
  PetscCall(PetscSNPrintf(note, sizeof(note), "matrix of order %" PetscInt_FMT, s->estimate.order));
  PetscCall(
    CkTableRow(table, "solver", CkSpectrumMatrixFree(s) ? s->krylov.reason : note, "%s", CkSpectrumSolverName(s)));
  if (s->method == CK_SPECTRUM_GRAM) PetscCall(CkSpectrumProductRow(s, table));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode CostRows(CkSpectrum s, CkTable table)
{
  static const char *const names[] = {"trace", "norm", "assembly", "eigenvalues", "checks", "vectors", "parts"};
  char                     total[32], one[32], note[192] = "", passes[192] = "";
  size_t                   used = 0, length = 0;
  double                   memory;

  PetscFunctionBeginUser;
  for (int i = 0; i < CK_PHASE_COUNT; ++i) {
    if (s->passes[i] > 0) {
      PetscCall(PetscSNPrintf(passes + length, sizeof(passes) - length, "%s%s %.4g", length ? ", " : "", names[i],
                              s->passes[i]));
      PetscCall(PetscStrlen(passes, &length));
    }
    if (s->seconds[i] <= 0) continue;
    CkFormatSeconds(s->seconds[i], one);
    PetscCall(PetscSNPrintf(note + used, sizeof(note) - used, "%s%s %s", used ? ", " : "", names[i], one));
    PetscCall(PetscStrlen(note, &used));
  }
  CkFormatSeconds(s->statistics.seconds, total);
  PetscCall(CkTableRow(table, "passes over the data", passes, "%.4g", s->statistics.passes));
  if (s->statistics.sweeps > 0)
    PetscCall(CkTableRow(table, "sweeps", "over gradients kept in memory", "%.4g", s->statistics.sweeps));
  PetscCall(CkTableRow(table, "time", note, "%s", total));
  PetscCall(CkMemoryPeakAll(s->comm, &memory));
  CkFormatBytes(memory, total);
  PetscCall(CkTableRow(table, "memory", "sum of all ranks' peaks", "%s", total));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode RankRow(CkSpectrum s, CkTable table, const char name[], PetscInt rank, double threshold,
                              const char formula[])
{
  const CkSpectrumStatistics *t = &s->statistics;
  const double                noise = CkSpectrumProductNoise(s);
  char                        note[192];

  PetscFunctionBeginUser;
  if (threshold < noise)
    PetscCall(PetscSNPrintf(note, sizeof(note),
                            "above %.4g = %s: BELOW THE NOISE of single products, up to %.2g, not to be relied on",
                            threshold, formula, noise));
  else PetscCall(PetscSNPrintf(note, sizeof(note), "above %.4g = %s", threshold, formula));
  if (rank == CK_RANK_UNKNOWN) PetscCall(CkTableRow(table, name, note, "> %" PetscInt_FMT, t->n));
  else
    PetscCall(CkTableRow(table, name, note, "%" PetscInt_FMT "  (%.3g%% of d)", rank,
                         100. * (double)rank / (double)t->dimension));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode CountedRankRows(CkSpectrum s, CkTable table)
{
  const CkSpectrumStatistics *t = &s->statistics;

  PetscFunctionBeginUser;
  PetscCall(RankRow(s, table, "rank_float32", t->rank_float32, t->threshold_float32, "lambda_max d eps32"));
  PetscCall(RankRow(s, table, "rank_float64", t->rank_float64, t->threshold_float64, "lambda_max d eps64"));
  PetscCall(RankRow(s, table, "rank_gram32", t->rank_gram32, t->threshold_gram32, "lambda_max min(d,N) eps32"));
  PetscCall(RankRow(s, table, "rank_1e-3", t->rank_1e3, t->threshold_1e3, "lambda_max / 1000"));
  PetscFunctionReturn(PETSC_SUCCESS);
}

const char *CkSpectrumValuesNote(CkSpectrum s, PetscInt n)
{
  if (s->method == CK_SPECTRUM_DENSITY) return "the largest; all in outline";
  if (n < CkSpectrumMaximalRank(s)) return "the leading ones only";
  if (s->method == CK_SPECTRUM_DENSE) return "all";
  if (s->method == CK_SPECTRUM_KRYLOV && s->nev > n) return "all that can be non-zero: fewer than -spectrum_nev";
  if (n == s->d) return "all";
  return n < s->N ? "all that can be non-zero, N - 1" : "all that can be non-zero, N";
}

/* What the eigenvalues tell together; without all of them as much as the trace and the norm do. */
static PetscErrorCode MomentRows(const CkSpectrumStatistics *t, CkTable table)
{
  PetscFunctionBeginUser;
  if (t->complete)
    PetscCall(CkTableRow(table, "clipped mean +- std", "eigenvalues raised to the float32 threshold", "%.4g +- %.4g",
                         t->clipped_mean, t->clipped_std));
  if (isnan(t->std)) {
    PetscCall(CkTableRow(table, "mean", "trace / d", "%.4g", t->mean));
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  PetscCall(CkTableRow(table, "mean +- std", "over all d, zeros included", "%.4g +- %.4g", t->mean, t->std));
  PetscCall(CkTableRow(table, "participation ratio", "(sum lambda)^2 / sum lambda^2", "%.6g", t->participation_ratio));
  if (t->complete)
    PetscCall(
      CkTableRow(table, "score",
                 (double)t->dimension * FLT_EPSILON > 0.01 ? "rank_gram32/d + variance" : "rank_float32/d + variance",
                 "%.6g", t->score));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode StatisticsRows(CkSpectrum s, CkTable table)
{
  const CkSpectrumStatistics *t = &s->statistics;

  PetscFunctionBeginUser;
  PetscCall(CkTableRow(table, "eigenvalues", CkSpectrumValuesNote(s, t->n), "%" PetscInt_FMT, t->n));
  PetscCall(CkTableRow(table, "trace",
                       s->method == CK_SPECTRUM_GRAM ? "from squared norms, in a pass after the matrix"
                                                     : "from squared norms, in a pass of its own",
                       "%.8g", t->trace));
  if (!isnan(t->frobenius))
    PetscCall(CkTableRow(table, "norm |D|_F",
                         t->complete ? "from the eigenvalues" : "from the Gram matrix (-spectrum_frobenius exact)",
                         "%.8g", t->frobenius));
  PetscCall(CkTableRow(table, "lambda_max", "", "%.8g", t->lambda_max));
  if (CkSpectrumRouteFind(s->method)->ranks) PetscCall(CkSpectrumRouteFind(s->method)->ranks(s, table));
  else PetscCall(CountedRankRows(s, table));
  PetscCall(CkTableRow(table, "stable rank", "trace / lambda_max", "%.6g", t->stable_rank));
  PetscCall(MomentRows(t, table));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode CheckRows(CkSpectrum s, CkTable table)
{
  PetscFunctionBeginUser;
  if (!s->check) PetscCall(CkTableRow(table, "self-checks", "", "none (-spectrum_check false)"));
  for (PetscInt i = 0; i < s->checks.n; ++i) {
    const CkSpectrumCheck *c = &s->checks.list[i];
    char                   note[64];

    PetscCall(PetscSNPrintf(note, sizeof(note), "bound %.2g", c->bound));
    PetscCall(CkTableRow(table, c->name, note, "%.2g", c->measured));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode ValueTable(CkSpectrum s)
{
  CkTable table;

  PetscFunctionBeginUser;
  PetscCall(CkTableCreate(s->comm, "Largest eigenvalues", &table));
  for (PetscInt i = 0; i < PetscMin(SHOWN, s->n); ++i) {
    char name[32], note[64] = "";

    PetscCall(PetscSNPrintf(name, sizeof(name), "%" PetscInt_FMT, i + 1));
    if (!isnan(s->residual[i])) PetscCall(PetscSNPrintf(note, sizeof(note), "residual %.2g", s->residual[i]));
    PetscCall(CkTableRow(table, name, note, "%.10g", s->values[i]));
  }
  PetscCall(CkTableDestroy(&table));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkSpectrumView(CkSpectrum s)
{
  CkTable table;

  PetscFunctionBeginUser;
  PetscCheck(s->solved, s->comm, PETSC_ERR_ORDER, "Call CkSpectrumSolve() first");
  PetscCall(CkTableCreate(s->comm, "Spectrum of the diffusion matrix", &table));
  PetscCall(ProblemRows(s, table));
  PetscCall(CostRows(s, table));
  PetscCall(StatisticsRows(s, table));
  PetscCall(CkTableDestroy(&table));
  PetscCall(CkTableCreate(s->comm, "Self-checks: discrepancy, relative", &table));
  PetscCall(CheckRows(s, table));
  PetscCall(CkTableDestroy(&table));
  PetscCall(ValueTable(s));
  if (s->groups.kind != CK_GROUP_NONE) PetscCall(CkGroupsView(s));
  PetscFunctionReturn(PETSC_SUCCESS);
}
