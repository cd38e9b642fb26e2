#include "spectrumimpl.h"
#include <clarkia/error.h>
#include <float.h>
#include <math.h>

/* score.c: rank/d + variance of the eigenvalues; docs/theory.md, (T.6) and (H.10). */

enum { FLOAT32 = 0, GRAM32 = 2 }; /* ranks of a density */

PetscErrorCode CkSpectrumCheckScore(CkSpectrum s)
{
  PetscFunctionBeginUser;
  CkCheckAll(
    s->comm, s->method == CK_SPECTRUM_DENSITY || s->estimate.values >= CkSpectrumMaximalRank(s), PETSC_ERR_ARG_INCOMP,
    "a score needs the rank, hence all non-zero eigenvalues or an estimate of their number, and the method for d "
    "= %" PetscInt_FMT ", N = %" PetscInt_FMT
    " is %s (%s): take fewer samples (-data_count), more memory, or -spectrum_method density",
    s->d, s->N, CkSpectrumMethodName(s->method), s->reason);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static void Estimate(CkSpectrum s, CkSpectrumScore *score)
{
  const double d = (double)s->d;
  const int    which = d * FLT_EPSILON > 0.01 ? GRAM32 : FLOAT32;

  score->rank = s->density.rank[which];
  score->variance = s->density.square / d - PetscSqr(s->trace / d);
  score->error = sqrt(PetscSqr(s->density.rank_error[which] / d) + PetscSqr(s->density.square_error / d));
}

PetscErrorCode CkSpectrumGetScore(CkSpectrum s, CkSpectrumScore *score)
{
  const CkSpectrumStatistics *t = &s->statistics;

  PetscFunctionBeginUser;
  PetscCheck(s->solved, s->comm, PETSC_ERR_ORDER, "Call CkSpectrumSolve() first");
  PetscCall(CkSpectrumCheckScore(s));
  *score = (CkSpectrumScore){.error = 0};
  if (s->method == CK_SPECTRUM_DENSITY) Estimate(s, score);
  else {
    score->rank = (double)((double)s->d * FLT_EPSILON > 0.01 ? t->rank_gram32 : t->rank_float32);
    score->variance = t->std * t->std;
  }
  score->score = score->rank / (double)s->d + score->variance;
  PetscFunctionReturn(PETSC_SUCCESS);
}
