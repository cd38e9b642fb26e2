#include "analysisimpl.h"
#include <clarkia/error.h>
#include <math.h>
#include <stdlib.h>

/* analysis_report.c: the summary tables, verdict first. */

enum { SHOWN = 6 };

static PetscErrorCode VerdictRow(CkAnalysis a, CkTable rows)
{
  static const char *const verdicts[] = {[CK_VERDICT_YES] = "YES",
                                         [CK_VERDICT_NO] = "no: none is seen, which is not to say there is none",
                                         [CK_VERDICT_SHORT] = "cannot be told: the run is too short",
                                         [CK_VERDICT_DRIFT] = "cannot be told: the run is not stationary",
                                         [CK_VERDICT_SINGULAR] = "cannot be told: the directions are not independent",
                                         [CK_VERDICT_NONE] = "not asked"};
  char                     note[256];

  PetscFunctionBeginUser;
  if (a->why[0]) PetscCall(PetscStrncpy(note, a->why, sizeof(note)));
  else
    PetscCall(PetscSNPrintf(note, sizeof(note),
                            "a process without circulation shows as much with probability %.2g; level %g for %s"
                            "%" PetscInt_FMT " pair%s of directions",
                            a->circulation.p, a->level, a->blocks.pairs == 1 ? "the " : "all ", a->blocks.pairs,
                            CkPlural(a->blocks.pairs)));
  PetscCall(CkTableRow(rows, "circulates", note, "%s", verdicts[a->verdict]));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode CurrentRows(CkAnalysis a, CkTable rows)
{
  const CkCirculation *c = &a->circulation;
  const char          *why;

  PetscFunctionBeginUser;
  PetscCall(CkTableRow(rows, "blocks", "for errors and significance",
                       "%" PetscInt_FMT " of about %" PetscInt_FMT " snapshots; correlation time %.3g", a->blocks.count,
                       a->blocks.length, a->blocks.tau));
  if (c->planes == 0) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(CkTableRow(rows, "largest rotation",
                       "radians per unit time eta x updates; what chance leaves at that level", "%.4g +- %.2g; %.4g",
                       c->rotation[0], c->rotation_error[0], c->rotation_null[0]));
  if (c->rotation[0] > c->rotation_null[0])
    PetscCall(CkTableRow(rows, "its period", "", "%.4g in time, %.4g updates", 2 * PETSC_PI / c->rotation[0],
                         2 * PETSC_PI / c->rotation[0] / a->dt * (double)a->spacing));
  if (CkAnalysisIsMarkov(a, &why))
    PetscCall(CkTableRow(rows, "entropy production", "lower bound per unit time, and its lower 95% limit",
                         ">= %.4g; %.4g", c->entropy, c->entropy_lower));
  else PetscCall(CkTableRow(rows, "entropy production", why, "no bound"));
  if (a->expected)
    PetscCall(CkTableRow(rows, "theory", a->from, "measured = %.3g x expected, correlation %.3g; largest rotation %.4g",
                         a->slope, a->correlation, a->rotation_expected[0]));
  else PetscCall(CkTableRow(rows, "theory", a->from, "no expectation"));
  if (a->D)
    PetscCall(CkTableRow(rows, "share of tr D", "in the eigenvectors of -trajectory_spectrum", "%.3g", a->retained));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode ColumnRows(CkAnalysis a, CkTable rows)
{
  const CkColumnStatistics *c = &a->columns;
  const double              moving = (double)PetscMax(1, c->series - c->constant);

  PetscFunctionBeginUser;
  PetscCall(CkTableRow(rows, "series", "columns times replicas", "%lld, %lld of which never move", (long long)c->series,
                       (long long)c->constant));
  PetscCall(CkTableRow(rows, "drifting", "halves differ at 1%: 1% by chance", "%.3g%%; by %.3g deviations on average",
                       100. * (double)c->drifting / moving, c->drift));
  PetscCall(CkTableRow(rows, "spectrum of increments", "lowest and highest tenth of the frequencies, over white level",
                       "%.3g, %.3g", c->low, c->high));
  PetscCall(CkTableRow(rows, "lags outside 95%, 99%", "white positions: 5%, 1%", "%.3g%%, %.3g%%", 100 * c->share95,
                       100 * c->share99));
  PetscCall(CkTableRow(rows, "series that are not white", "more lags outside than the binomial bound: 1% by chance",
                       "%.3g%%, %.3g%%", 100 * c->beyond95, 100 * c->beyond99));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode ScalarRows(CkAnalysis a, CkTable rows)
{
  const CkScalarStatistics *s = &a->scalars;

  PetscFunctionBeginUser;
  if (!s->measured[CK_SCALAR_GRADIENT_NORM])
    PetscCall(CkTableRow(rows, "|grad f|/sqrt(d)", "", "not measured in this run"));
  else
    PetscCall(
      CkTableRow(rows, "|grad f|/sqrt(d)", "mean of the first and last tenth", "%.4g, %.4g", s->first, s->last));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* T10 */
static PetscErrorCode StationarityRow(CkAnalysis a, CkTable rows)
{
  static const char *const verdicts[] = {[CK_STATIONARITY_YES] = "|x|^2 is stationary as far as can be seen",
                                         [CK_STATIONARITY_NO] = "NOT stationary",
                                         [CK_STATIONARITY_SHORT] = "the run is too short for a verdict"};
  const CkStationarity    *s = &a->stationarity;
  char                     note[192];

  PetscFunctionBeginUser;
  if (s->kind == CK_STATIONARITY_REFUSED) {
    PetscCall(CkTableRow(rows, "T10: x.grad f / (eta/2)|g_B|^2", s->why, "not tested"));
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  if (s->kind == CK_STATIONARITY_SHORT)
    PetscCall(PetscSNPrintf(note, sizeof(note), "%" PetscInt_FMT " block%s; %d are needed", s->blocks,
                            CkPlural(s->blocks), CK_CIRCULATION_MIN_BLOCKS));
  else
    PetscCall(PetscSNPrintf(note, sizeof(note),
                            "1 where stationary: so large a difference has probability %.2g; level %g, %" PetscInt_FMT
                            " blocks",
                            s->p, a->level, s->blocks));
  PetscCall(CkTableRow(rows, "T10: x.grad f / (eta/2)|g_B|^2", note, "%.4g +- %.2g: %s", s->ratio, s->error,
                       verdicts[s->kind]));
  PetscFunctionReturn(PETSC_SUCCESS);
}

typedef struct {
  PetscInt i, j;
  double   p, size;
} Pair;

static int MostSignificant(const void *x, const void *y)
{
  const Pair *a = (const Pair *)x, *b = (const Pair *)y;

  if (a->p != b->p) return a->p < b->p ? -1 : 1;
  return (a->size < b->size) - (a->size > b->size);
}

static PetscErrorCode PairTable(CkAnalysis a)
{
  const CkCirculation *c = &a->circulation;
  CkTable              rows;
  Pair                *pairs;
  PetscInt             n = 0;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc1(a->blocks.pairs, &pairs));
  for (PetscInt i = 0; i < a->k; ++i)
    for (PetscInt j = i + 1; j < a->k; ++j, ++n) {
      const PetscInt at = i * a->k + j;

      pairs[n] = (Pair){i, j, c->pair_p[at], fabs(c->A[at]) / fmax(c->A_error[at], PETSC_SMALL)};
    }
  qsort(pairs, (size_t)n, sizeof(Pair), MostSignificant);
  PetscCall(CkTableCreate(a->comm, "Currents <y_i dy_j - dy_i y_j>/dt, most significant first", &rows));
  for (PetscInt q = 0; q < PetscMin(n, SHOWN); ++q) {
    const PetscInt at = pairs[q].i * a->k + pairs[q].j;
    char           name[64], note[96];

    PetscCall(PetscSNPrintf(name, sizeof(name), "%" PetscInt_FMT ", %" PetscInt_FMT, pairs[q].i + 1, pairs[q].j + 1));
    if (a->expected)
      PetscCall(PetscSNPrintf(note, sizeof(note), "p = %.2g; expected %.3g", c->pair_p[at], a->A_expected[at]));
    else PetscCall(PetscSNPrintf(note, sizeof(note), "p = %.2g", c->pair_p[at]));
    PetscCall(CkTableRow(rows, name, note, "%.4g +- %.2g", c->A[at], c->A_error[at]));
  }
  PetscCall(CkTableDestroy(&rows));
  PetscCall(PetscFree(pairs));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkAnalysisView(CkAnalysis a)
{
  const PetscInt64 T = a->info.snapshots;
  CkTable          rows;
  char             text[32];

  PetscFunctionBeginUser;
  PetscCheck(a->done, a->comm, PETSC_ERR_ORDER, "Call CkAnalysisRun() first");
  PetscCall(CkTableCreate(a->comm, "Trajectory", &rows));
  PetscCall(VerdictRow(a, rows));
  PetscCall(CkTableRow(rows, "snapshots", "after the burn-in",
                       "%" PetscInt_FMT " of %lld, %lld update%s and %.4g in time "
                       "apart",
                       a->n, (long long)T, (long long)a->spacing, CkPlural(a->spacing), a->dt));
  PetscCall(CkTableRow(rows, "directions", CkDirectionsName(a->kind), "%" PetscInt_FMT, a->k));
  if (a->circulation.k) PetscCall(CurrentRows(a, rows));
  PetscCall(ColumnRows(a, rows));
  PetscCall(ScalarRows(a, rows));
  PetscCall(StationarityRow(a, rows));
  CkFormatSeconds(a->seconds, text);
  PetscCall(CkTableRow(rows, "time", "", "%s", text));
  PetscCall(CkTableDestroy(&rows));
  if (a->circulation.k) PetscCall(PairTable(a));
  PetscFunctionReturn(PETSC_SUCCESS);
}
