#include "spectrumimpl.h"
#include <clarkia/blockproduct.h>
#include <clarkia/error.h>
#include <clarkia/interrupt.h>
#include <clarkia/options.h>
#include <float.h>
#include <math.h>
#include <string.h>

/* plan.c: what each route would cost, which one to take, and whether it fits. */

PetscErrorCode CkSpectrumGradientCost(CkSpectrum s, double *load, double *row, double *column)
{
  CkEngine engine;
  double   dot, accumulate;

  PetscFunctionBeginUser;
  *load = *row = 0;
  *column = 2. * (double)s->d; /* a landscape: one entry of a product is a multiplication and an addition */
  PetscCall(CkLossGetEngine(s->loss, &engine));
  if (engine) {
    PetscCall(CkEngineGetCost(engine, NULL, load, row, &dot, &accumulate));
    *column = (dot + accumulate) / 2;
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscInt CkSpectrumVectorCount(CkSpectrum s, PetscInt values)
{
  return s->wanted == CK_SPECTRUM_ALL ? values : s->wanted;
}

PetscErrorCode CkSpectrumSetDataMemory(CkSpectrum s, double bytes_per_rank)
{
  PetscFunctionBeginUser;
  s->data_bytes = bytes_per_rank;
  PetscFunctionReturn(PETSC_SUCCESS);
}

double CkSpectrumTotalMemory(CkSpectrum s, const CkSpectrumEstimate *e)
{
  return s->fixed + PetscMax(e->norm, e->matrix + e->work + e->vectors + e->stream - e->apart);
}

static const double SAMPLE_BYTES = 2 * sizeof(double); /* of each sample on every rank: its squared norms */

/* Bytes per rank that every route needs: samples, the engine's buffers, the point and what is cached with it. */
static PetscErrorCode SetFixed(CkSpectrum s)
{
  CkEngine engine;
  double   bytes = 0;

  PetscFunctionBeginUser;
  PetscCall(CkLossGetEngine(s->loss, &engine));
  if (engine) PetscCall(CkEngineGetCost(engine, &bytes, NULL, NULL, NULL, NULL));
  s->fixed = s->data_bytes + bytes + 2. * sizeof(double) * (double)s->d + SAMPLE_BYTES * (double)s->N;
  PetscFunctionReturn(PETSC_SUCCESS);
}

double CkProductNoise(CkPrecision products, double trace)
{
  return products == CK_FLOAT64 ? 0 : sqrt(CK_PRODUCT_CHUNK) * (FLT_EPSILON / 2.) * trace;
}

double CkSpectrumProductNoise(CkSpectrum s)
{
  return s->method == CK_SPECTRUM_GRAM ? CkProductNoise(s->form.precision, s->trace) : 0;
}

double CkSpectrumSquareBound(CkSpectrum s, double accuracy)
{
  const double largest = s->values[0] > 0 ? s->values[0] : 1;

  return 2 * accuracy * s->trace / largest +
         2 * sqrt(s->square) / largest * CkProductNoise(s->form.precision, s->trace) / largest;
}

/* ELPA gives values only. */
static PetscErrorCode ChooseSolver(CkSpectrum s)
{
  PetscFunctionBeginUser;
  if (!s->solver_asked) s->solver = s->wanted == 0 ? CK_SOLVER_ELPA : CK_SOLVER_SCALAPACK;
  CkCheckAll(s->comm, s->solver == CK_SOLVER_SCALAPACK || s->wanted == 0, PETSC_ERR_SUP,
             "-spectrum_solver elpa computes eigenvalues only, but eigenvectors are asked for: take -spectrum_solver "
             "scalapack, or -spectrum_vectors 0");
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Adds |D|_F, where it is asked for; gbar is known by then. */
static PetscErrorCode EstimateFrobenius(CkSpectrum s, CkSpectrumMethod method, CkSpectrumEstimate *e)
{
  CkAssemblyCost cost;

  PetscFunctionBeginUser;
  if (!s->frobenius || !CkSpectrumRouteFind(method)->solver) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(CkDiffusionFrobeniusCost(s->D, &cost, &e->panels));
  e->norm = cost.bytes;
  e->passes += cost.passes;
  e->gradient += cost.gradients;
  e->assembly += cost.products;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Estimate of a route; ELPA, where nobody asked for it, makes way for ScaLAPACK, which needs far less room. */
static PetscErrorCode Estimate(CkSpectrum s, CkSpectrumMethod method, CkSpectrumEstimate *e, PetscBool *fits)
{
  double      limit;
  PetscMPIInt size;

  PetscFunctionBeginUser;
  PetscCallMPI(MPI_Comm_size(s->comm, &size));
  PetscCall(CkMemoryLimit(s->comm, &limit));
  PetscCall(ChooseSolver(s));
  while (PETSC_TRUE) {
    *e = (CkSpectrumEstimate){0};
    PetscCall(CkSpectrumRouteFind(method)->estimate(s, e));
    PetscCall(CkGroupsEstimate(s, e));
    PetscCall(EstimateFrobenius(s, method, e));
    if (s->series > 1)
      e->vectors +=
        sizeof(double) * (double)s->series * CkSpectrumVectorCount(s, e->values) * ceil((double)s->d / size);
    *fits = (PetscBool)(CkSpectrumTotalMemory(s, e) <= limit);
    if (*fits || s->solver_asked || s->solver == CK_SOLVER_SCALAPACK) break;
    s->solver = CK_SOLVER_SCALAPACK;
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode ChooseMethod(CkSpectrum s)
{
  const CkSpectrumMethod complete = s->d <= s->N ? CK_SPECTRUM_DENSE : CK_SPECTRUM_GRAM;
  CkSpectrumEstimate     e;
  PetscBool              fits;
  double                 limit;
  char                   need[32], have[32];

  PetscFunctionBeginUser;
  s->method = s->asked;
  PetscCall(PetscSNPrintf(s->reason, sizeof(s->reason), "as asked"));
  if (s->groups.kind == CK_GROUP_CLASS && s->asked == CK_SPECTRUM_AUTO) {
    s->method = CK_SPECTRUM_GRAM;
    PetscCall(PetscSNPrintf(s->reason, sizeof(s->reason), "classes are blocks of the Gram matrix"));
  }
  if (s->method != CK_SPECTRUM_AUTO) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(Estimate(s, complete, &e, &fits));
  if (fits) {
    s->method = complete;
    PetscCall(PetscSNPrintf(s->reason, sizeof(s->reason), "complete, and the smaller matrix: %s",
                            complete == CK_SPECTRUM_DENSE ? "d <= N" : "N < d"));
  } else {
    s->method = CK_SPECTRUM_KRYLOV;
    PetscCall(CkMemoryLimit(s->comm, &limit));
    CkFormatBytes(CkSpectrumTotalMemory(s, &e), need);
    CkFormatBytes(limit, have);
    PetscCall(PetscSNPrintf(s->reason, sizeof(s->reason),
                            "leading part only: %s would need %s on each rank, the limit is %s",
                            CkSpectrumMethodName(complete), need, have));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Keys that only the krylov route heeds. */
static PetscErrorCode CheckKrylovKeys(CkSpectrum s)
{
  const char *key = NULL;

  PetscFunctionBeginUser;
  if (s->start[0]) key = "spectrum_start";
  if (s->checkpoint[0]) key = "spectrum_checkpoint";
  CkCheckAll(s->comm, !key || s->method == CK_SPECTRUM_KRYLOV, PETSC_ERR_ARG_INCOMP,
             "-%s is for the krylov route, and the method is %s (%s): take -spectrum_method krylov, or leave it out",
             key, CkSpectrumMethodName(s->method), s->reason);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* A checkpoint that nobody would write is not passed over in silence. */
static PetscErrorCode CheckCheckpoint(CkSpectrum s)
{
  const char *file;
  char        stop[PETSC_MAX_PATH_LEN + 32];

  PetscFunctionBeginUser;
  PetscCall(CkDiffusionGetCheckpoint(s->D, &file));
  PetscCall(CkInterruptGetOption(stop));
  CkCheckAll(s->comm, file[0] || s->checkpoint[0] || !stop[0], PETSC_ERR_ARG_INCOMP,
             "%s needs a file to go on from later: give -spectrum_checkpoint FILE (krylov) or "
             "-noise_checkpoint FILE (gram)",
             stop);
  CkCheckAll(
    s->comm, !file[0] || s->method == CK_SPECTRUM_GRAM, PETSC_ERR_SUP,
    "-noise_checkpoint %s: only the gram route has this checkpoint, but the method is %s; leave the key out, or "
    "take -spectrum_method gram",
    file, CkSpectrumMethodName(s->method));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode BytesRow(CkTable table, const char name[], double bytes, const char note[])
{
  char text[32];

  PetscFunctionBeginUser;
  CkFormatBytes(bytes, text);
  PetscCall(CkTableRow(table, name, note, "%s", text));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode PrintCosts(CkSpectrum s, CkTable table, const CkSpectrumEstimate *e)
{
  const char *least = e->at_least ? ">= " : "";
  double      limit;
  char        have[32], note[64];

  PetscFunctionBeginUser;
  PetscCall(CkMemoryLimit(s->comm, &limit));
  CkFormatBytes(limit, have);
  PetscCall(PetscSNPrintf(note, sizeof(note), "limit %s", have));
  PetscCall(BytesRow(table, "memory per rank", CkSpectrumTotalMemory(s, e), note));
  PetscCall(BytesRow(table, "  samples, engine", s->fixed, ""));
  PetscCall(BytesRow(table, "  passes", e->stream, "gradients kept, sums, columns"));
  PetscCall(BytesRow(table, CkSpectrumMatrixFree(s) ? "  Krylov basis" : "  matrix", e->matrix, ""));
  PetscCall(BytesRow(table, "  eigensolver", e->work, e->apart > 0 ? "before or after the passes" : ""));
  PetscCall(BytesRow(table, "  vectors", e->vectors, "kept, or for the residuals"));
  if (e->norm > 0) {
    PetscCall(PetscSNPrintf(note, sizeof(note), "before the others; Gram matrix in %" PetscInt_FMT " pieces",
                            PetscMax(1, e->panels * (e->panels - 1) / 2)));
    PetscCall(BytesRow(table, "  norm |D|_F", e->norm, note));
  }
  PetscCall(CkTableRow(table, "eigenvalues", CkSpectrumValuesNote(s, e->values), "%" PetscInt_FMT, e->values));
  PetscCall(CkTableRow(table, "passes over the data", "", "%s%.4g", least, e->passes));
  PetscCall(CkTableRow(table, "operations", "all ranks", "%s%.3g", least, e->gradient + e->assembly + e->solve));
  PetscCall(CkTableRow(table, "  gradients, products", "", "%s%.3g", least, e->gradient));
  if (e->assembly > 0) PetscCall(CkTableRow(table, "  assembly", "", "%.3g", e->assembly));
  PetscCall(CkTableRow(table, "  eigensolver", "", "%s%.3g", least, e->solve));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode PrintPlan(CkSpectrum s)
{
  CkTable     table;
  CkNet       net;
  const char *name;
  PetscMPIInt size;

  PetscFunctionBeginUser;
  PetscCallMPI(MPI_Comm_size(s->comm, &size));
  PetscCall(CkLossGetNet(s->loss, &net));
  PetscCall(CkTableCreate(s->comm, "Plan of the spectrum", &table));
  if (net) {
    PetscCall(CkNetGetName(net, &name));
    PetscCall(CkTableRow(table, "network", "", "%s", name));
  }
  PetscCall(CkTableRow(table, "weights d", "", "%" PetscInt_FMT, s->d));
  PetscCall(CkTableRow(table, "samples N", s->samples, "%" PetscInt_FMT, s->N));
  PetscCall(CkTableRow(table, "ranks", "", "%d", (int)size));
  PetscCall(CkTableRow(table, "method", s->reason, "%s", CkSpectrumMethodName(s->method)));
  PetscCall(
    CkTableRow(table, "solver", CkSpectrumMatrixFree(s) ? s->krylov.reason : "", "%s", CkSpectrumSolverName(s)));
  if (s->method == CK_SPECTRUM_GRAM) PetscCall(CkSpectrumProductRow(s, table));
  if (s->series > 1)
    PetscCall(
      CkTableRow(table, "spectra", "passes and operations below are those of each", "%" PetscInt_FMT, s->series));
  PetscCall(PrintCosts(s, table, &s->estimate));
  PetscCall(CkTableDestroy(&table));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* What to change where the memory does not suffice: the largest part of it. */
static const char *MemoryRemedy(CkSpectrum s)
{
  const double samples = s->data_bytes + SAMPLE_BYTES * (double)s->N;
  const double half = CkSpectrumTotalMemory(s, &s->estimate) / 2;

  if (samples > half)
    return "the samples themselves take most of it: use fewer (-data_count), more nodes, or raise -memory_limit";
  if (s->fixed - samples > half)
    return "the network's tile of samples takes most of it: lower -engine_tile, use fewer ranks on a node, or raise "
           "-memory_limit";
  if (s->estimate.norm > half)
    return "the norm of D takes most of it: lower -noise_memory, which makes the pieces of its Gram matrix smaller, "
           "leave -spectrum_frobenius out, or raise -memory_limit";
  if (s->method == CK_SPECTRUM_KRYLOV)
    return "use more ranks on more nodes, lower -spectrum_nev, or raise -memory_limit";
  if (s->method == CK_SPECTRUM_DENSITY)
    return "lower -spectrum_steps or -spectrum_probes, take the other -spectrum_krylov, or raise -memory_limit";
  return "use more ranks on more nodes, fewer samples (-data_count), -spectrum_method krylov, or raise -memory_limit";
}

/* Keys that only some routes heed; -spectrum_start and the checkpoints are looked at above. */
static const struct {
  const char *key;
  const char *methods; /* that heed it, in words */
} ck_route_keys[] = {{"-spectrum_nev", "krylov"},
                     {"-spectrum_partial", "krylov"},
                     {"-spectrum_krylov", "krylov or density"},
                     {"-spectrum_keep", "krylov or density"},
                     {"-spectrum_frobenius", "krylov or density"},
                     {"-spectrum_solver", "dense or gram"},
                     {"-spectrum_residuals", "dense or gram"},
                     {"-noise_gram_precision", "gram"},
                     {"-spectrum_probes", "density"},
                     {"-spectrum_steps", "density"},
                     {"-spectrum_width", "density"}};

PetscErrorCode CkSpectrumCheckKeys(MPI_Comm comm, CkSpectrumMethod method, PetscBool asked)
{
  const char *name = CkSpectrumMethodName(method);
  char        kind[16], norm[16];
  PetscBool   blocks;

  PetscFunctionBeginUser;
  PetscCall(CkOptionsGetString("noise_group", kind, sizeof(kind), NULL));
  PetscCall(CkOptionsGetString("spectrum_frobenius", norm, sizeof(norm), NULL));
  blocks = (PetscBool)(strcmp(kind, "layer") == 0 || strcmp(kind, "tensor") == 0); /* which may be Gram matrices */
  blocks = (PetscBool)(blocks || (strcmp(norm, "exact") == 0 && strstr("krylov density", name)));
  for (size_t i = 0; i < PETSC_STATIC_ARRAY_LENGTH(ck_route_keys); ++i) {
    const char     *key = ck_route_keys[i].key, *methods = ck_route_keys[i].methods;
    const PetscBool never = (PetscBool)(strcmp(methods, "density") == 0); /* auto does not take it */
    PetscBool       given;

    PetscCall(PetscOptionsHasName(NULL, NULL, key, &given));
    if (!given || strstr(methods, name)) continue;
    if (strstr(methods, "gram") && strstr(key, "noise") && blocks) continue;
    CkCheckAll(comm, !asked && !never, PETSC_ERR_ARG_INCOMP,
               "%s has no effect with -spectrum_method %s: leave it out, or give -spectrum_method %s", key,
               asked ? name : "auto", methods);
    PetscCall(
      CkLog(comm, "warning: %s has no effect, as the method is %s; -spectrum_method %s heeds it", key, name, methods));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkSpectrumPlan(CkSpectrum s, PetscBool print)
{
  char      what[128];
  PetscBool fits;

  PetscFunctionBeginUser;
  CkCheckAll(
    s->comm, CkSpectrumMaximalRank(s) >= 1, PETSC_ERR_ARG_SIZ,
    "D needs at least 2 samples: it is the covariance of their gradients, 0 for one sample; raise -data_count, "
    "or take the second moment (-noise_centred false)");
  PetscCall(CkGroupsCheck(s));
  PetscCall(SetFixed(s));
  PetscCall(CkDiffusionGetGramForm(s->D, &s->form));
  PetscCall(ChooseMethod(s));
  if (s->asked == CK_SPECTRUM_AUTO) PetscCall(CkSpectrumCheckKeys(s->comm, s->method, PETSC_FALSE));
  PetscCall(CheckKrylovKeys(s));
  PetscCall(CheckCheckpoint(s));
  PetscCall(Estimate(s, s->method, &s->estimate, &fits));
  if (!CkSpectrumMatrixFree(s)) PetscCall(CkBlockMatrixCheckSize(s->comm, s->estimate.order));
  if (print) PetscCall(PrintPlan(s));
  PetscCall(PetscSNPrintf(what, sizeof(what), "-spectrum_method %s with d = %" PetscInt_FMT ", N = %" PetscInt_FMT,
                          CkSpectrumMethodName(s->method), s->d, s->N));
  PetscCall(CkMemoryCheck(s->comm, CkSpectrumTotalMemory(s, &s->estimate), what, MemoryRemedy(s)));
  PetscFunctionReturn(PETSC_SUCCESS);
}
