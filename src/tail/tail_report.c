#include "tailimpl.h"
#include <clarkia/error.h>
#include <math.h>

/* tail_report.c: the summary table. */

static const char *const directions[] = {"single weights, at random", "eigenvectors of -tail_spectrum",
                                         "random directions"};

static PetscErrorCode Median(CkTail t, double (*value)(CkTail, PetscInt), double *median)
{
  double *all;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc1(t->m, &all));
  for (PetscInt j = 0; j < t->m; ++j) all[j] = value(t, j);
  PetscCall(PetscSortReal(t->m, all));
  *median = (all[(t->m - 1) / 2] + all[t->m / 2]) / 2;
  PetscCall(PetscFree(all));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static double Kurtosis(CkTail t, PetscInt j)
{
  return t->series[j].normality.kurtosis;
}

/* That of a mean of B independent samples. */
static double ExpectedKurtosis(CkTail t, PetscInt j)
{
  return t->series[j].kurtosis / (double)t->B;
}

static double Alpha(CkTail t, PetscInt j)
{
  return t->series[j].index.alpha;
}

static PetscErrorCode BatchRows(CkTail t, CkTable rows)
{
  double median = 0, expected = 0;
  char   note[128];

  PetscFunctionBeginUser;
  PetscCall(PetscSNPrintf(
    note, sizeof(note),
    "Anderson and Darling, %s, level %g; %" PetscInt_FMT " minibatches of %" PetscInt_FMT " %s replacement",
    t->hochberg ? "Benjamini and Hochberg" : "Holm", t->level, t->batches, t->B, t->replacement ? "with" : "without"));
  PetscCall(CkTableRow(rows, "across minibatches", note, "not normal: %" PetscInt_FMT " of %" PetscInt_FMT " series",
                       t->rejected, t->m));
  PetscCall(CkTableRow(rows, "  series", "", "%s", directions[t->directions]));
  PetscCall(Median(t, Kurtosis, &median));
  PetscCall(Median(t, ExpectedKurtosis, &expected));
  PetscCall(PetscSNPrintf(note, sizeof(note), "median; that of single samples / B is %.3g", expected));
  PetscCall(CkTableRow(rows, "  excess kurtosis", note, "%.3g", median));
  PetscCall(Median(t, Alpha, &median));
  PetscCall(PetscSNPrintf(note, sizeof(note),
                          "median; below 2 at 95%%: %" PetscInt_FMT " of %" PetscInt_FMT ", 2.5%% by chance", t->heavy,
                          t->m));
  PetscCall(CkTableRow(rows, "  stable index", note, "%.3g", median));
  PetscCall(PetscSNPrintf(note, sizeof(note), "(N - B)/(N - 1) = %.6g", (double)(t->N - t->B) / (double)(t->N - 1)));
  PetscCall(CkTableRow(rows, "  variance without / with", note, "%.5g +- %.2g", t->ratio, t->ratio_error));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The trap has a name: what theory.md, (W.3), says of unequal variances. */
static const char *Verdict(double alpha, double error, double normal, double normal_error)
{
  const double margin = 3 * hypot(error, normal_error);

  if (alpha < normal - margin) return "HEAVIER than normal noise of the same covariance, flattened the same way";
  if (alpha > normal + margin) return "lighter than normal noise of the same covariance, flattened the same way";
  if (normal + margin < 2) return "FLATTENING: unequal variances look like a heavy tail; normal noise does the same";
  return "as normal noise of the same covariance";
}

static PetscErrorCode WeightRows(CkTail t, CkTable rows)
{
  double alpha, error, normal, normal_error, own, own_error;
  char   note[128];

  PetscFunctionBeginUser;
  CkTailMean(t->flats, t->flat, PETSC_FALSE, &alpha, &error);
  CkTailMean(t->flats, t->gaussian, PETSC_FALSE, &normal, &normal_error);
  CkTailMean(t->flats, t->flat, PETSC_TRUE, &own, &own_error);
  PetscCall(CkTableRow(rows, "across weights", "", "%s", Verdict(alpha, error, normal, normal_error)));
  PetscCall(PetscSNPrintf(note, sizeof(note),
                          "%" PetscInt_FMT " minibatches across the %" PetscInt_FMT " weights that move", t->flats,
                          t->moving));
  PetscCall(CkTableRow(rows, "  stable index", note, "%.4g +- %.2g", alpha, error));
  PetscCall(CkTableRow(rows, "  of normal noise", "covariance D/B, flattened the same way", "%.4g +- %.2g", normal,
                       normal_error));
  PetscCall(CkTableRow(rows, "  of independent noise", "normal numbers of the variances D_ii, on average", "%.4g",
                       t->alpha_expected));
  PetscCall(CkTableRow(rows, "  each over its deviation", "stable index of the standardised weights", "%.4g +- %.2g",
                       own, own_error));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkTailView(CkTail t)
{
  CkTable rows;
  char    text[32];

  PetscFunctionBeginUser;
  PetscCheck(t->done, t->comm, PETSC_ERR_ORDER, "Call CkTailRun() first");
  PetscCall(CkTableCreate(t->comm, "Gradient noise: normal or heavy-tailed?", &rows));
  PetscCall(BatchRows(t, rows));
  PetscCall(WeightRows(t, rows));
  PetscCall(CkTableRow(rows, "passes over the data", "", "%.4g", t->passes));
  CkFormatSeconds(t->seconds, text);
  PetscCall(CkTableRow(rows, "time", "", "%s", text));
  PetscCall(CkTableDestroy(&rows));
  PetscFunctionReturn(PETSC_SUCCESS);
}
