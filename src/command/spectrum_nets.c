/* spectrum_nets.c: the score rank(D)/d + var(lambda) of several nets on one data set. */
#include "spectrum.h"
#include <clarkia/error.h>
#include <clarkia/options.h>
#include <stdlib.h>
#include <string.h>

static const CkOption table[] = {
  {.key = "net_list",
   .kind = CK_OPTION_FILE,
   .help = "nets A,B,.. whose scores rank(D)/d + var(lambda) are compared, each as -net, with keys of its own behind "
           "colons: lenet,resnet:depth=20,resnet:depth=32"},
  {.key = NULL},
};

enum { MOST_KEYS = 16 };

/* A net's keys while they stand in the options database, and what stood there before. */
typedef struct {
  int  n;
  char key[MOST_KEYS][64];
  char before[MOST_KEYS][256];
  int  had[MOST_KEYS];
} Settings;

typedef struct {
  char            name[128];
  PetscInt        d;
  CkSpectrumScore score;
  double          trace, lambda_max, passes;
} Result;

typedef struct {
  MPI_Comm     comm;
  PetscInt     n;
  char       **nets;   /* [n] */
  const char **states; /* [n] */
  CkProblem    problem;
  Result      *results; /* [n] */
  CkFile       file;    /* NULL: none */
} Study;

PetscErrorCode CkSpectrumNetsRegisterOptions(void)
{
  PetscFunctionBeginUser;
  PetscCall(CkOptionsRegister("Scores of nets", table));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Set(Settings *settings, const char key[], const char value[])
{
  PetscBool had;
  int       i;

  PetscFunctionBeginUser;
  PetscCheck(settings->n < MOST_KEYS, PETSC_COMM_SELF, PETSC_ERR_ARG_SIZ, "More than %d keys of a net", MOST_KEYS);
  i = settings->n++;
  PetscCall(PetscSNPrintf(settings->key[i], sizeof(settings->key[i]), "-net%s%s", key[0] ? "_" : "", key));
  PetscCall(
    PetscOptionsGetString(NULL, NULL, settings->key[i], settings->before[i], sizeof(settings->before[i]), &had));
  settings->had[i] = had;
  PetscCall(PetscOptionsSetValue(NULL, settings->key[i], value));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* "resnet:depth=20" -> -net resnet -net_depth 20, checked as any other keys. */
static PetscErrorCode Apply(MPI_Comm comm, const char net[], Settings *settings)
{
  char    **words;
  int       n;
  PetscBool pairs = PETSC_TRUE;

  PetscFunctionBeginUser;
  settings->n = 0;
  PetscCall(PetscStrToArray(net, ':', &n, &words));
  for (int i = 1; i < n; ++i) pairs = (PetscBool)(pairs && strchr(words[i], '=') && words[i][0] != '=');
  CkCheckAll(comm, n >= 1 && pairs && n < MOST_KEYS, PETSC_ERR_ARG_WRONG,
             "-net_list %s: behind the name of a net stand its keys as in resnet:depth=20:shortcut=B", net);
  for (int i = 1; i < n; ++i) {
    char *value = strchr(words[i], '=');

    *value = '\0';
    PetscCall(Set(settings, words[i], value + 1));
  }
  PetscCall(Set(settings, "", words[0]));
  PetscCall(PetscStrToArrayDestroy(n, words));
  PetscCall(CkOptionsCheck());
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Restore(Settings *settings)
{
  PetscFunctionBeginUser;
  while (settings->n > 0) {
    const int i = --settings->n;

    if (settings->had[i]) PetscCall(PetscOptionsSetValue(NULL, settings->key[i], settings->before[i]));
    else PetscCall(PetscOptionsClearValue(NULL, settings->key[i]));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Net number i, in the place of the one before. */
static PetscErrorCode Build(Study *study, PetscInt i, PetscBool load)
{
  Settings settings;

  PetscFunctionBeginUser;
  PetscCall(Apply(study->comm, study->nets[i], &settings));
  if (i == 0) PetscCall(CkProblemCreateWith(study->comm, load, study->states[i], &study->problem));
  else PetscCall(CkProblemSetNet(&study->problem, load, study->states[i]));
  PetscCall(Restore(&settings));
  PetscCall(CkSpectrumLogNotes(&study->problem));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Every net can be built, fits, and gives a score, before any is worked on. */
static PetscErrorCode PlanAll(Study *study, PetscBool print)
{
  PetscFunctionBeginUser;
  for (PetscInt i = 0; i < study->n; ++i) {
    CkDiffusion D;
    CkSpectrum  spectrum;

    PetscCall(Build(study, i, PETSC_FALSE));
    PetscCall(CkSpectrumFromProblem(&study->problem, &D, &spectrum));
    PetscCall(CkSpectrumPlan(spectrum, print));
    PetscCall(CkSpectrumCheckScore(spectrum));
    PetscCall(CkSpectrumDestroy(&spectrum));
    PetscCall(CkDiffusionDestroy(&D));
  }
  PetscCall(CkProblemDestroy(&study->problem));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode WriteOne(Study *study, PetscInt i, CkSpectrum spectrum)
{
  const Result *r = &study->results[i];
  char          path[64], data[32], weights[32];

  PetscFunctionBeginUser;
  PetscCall(PetscSNPrintf(path, sizeof(path), "/spectra/%" PetscInt_FMT, i));
  PetscCall(CkSpectrumWriteIn(spectrum, study->file, path));
  PetscCall(CkSpectrumChecksums(&study->problem, data, weights));
  PetscCall(CkFileWriteString(study->file, path, "name", r->name));
  PetscCall(CkFileWriteString(study->file, path, "weights_checksum", weights));
  PetscCall(CkFileWriteReal(study->file, path, "score", r->score.score));
  PetscCall(CkFileWriteReal(study->file, path, "score_error", r->score.error));
  if (i == 0) PetscCall(CkFileWriteString(study->file, "/", "data_checksum", data));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode SolveOne(Study *study, PetscInt i)
{
  Result              *r = &study->results[i];
  CkDiffusion          D;
  CkSpectrum           spectrum;
  CkSpectrumStatistics statistics;

  PetscFunctionBeginUser;
  PetscCall(Build(study, i, PETSC_TRUE));
  PetscCall(
    CkLog(study->comm, "net %" PetscInt_FMT ": %s, weights: %s", i + 1, study->nets[i], study->problem.weights));
  PetscCall(CkSpectrumFromProblem(&study->problem, &D, &spectrum));
  PetscCall(CkSpectrumSolve(spectrum));
  PetscCall(CkSpectrumGetStatistics(spectrum, &statistics));
  PetscCall(PetscStrncpy(r->name, study->nets[i], sizeof(r->name)));
  PetscCall(CkSpectrumGetScore(spectrum, &r->score));
  r->d = statistics.dimension;
  r->trace = statistics.trace;
  r->lambda_max = statistics.lambda_max;
  r->passes = statistics.passes;
  if (study->file) PetscCall(WriteOne(study, i, spectrum));
  PetscCall(CkSpectrumDestroy(&spectrum));
  PetscCall(CkDiffusionDestroy(&D));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static int ByScore(const void *a, const void *b)
{
  const double x = ((const Result *)a)->score.score, y = ((const Result *)b)->score.score;

  return (x < y) - (x > y);
}

/* Numbers in the order of the list: they are not sorted yet. */
static PetscErrorCode WriteNumbers(Study *study)
{
  static const char *const names[] = {"/score", "/score_error", "/rank", "/variance", "/dimension", "/trace"};
  const PetscInt64         shape[] = {study->n};
  double                  *numbers;

  PetscFunctionBeginUser;
  PetscCall(CkFileWriteString(study->file, "/", "kind", "network scores"));
  PetscCall(CkFileWriteInt(study->file, "/", "spectra", study->n));
  PetscCall(PetscMalloc1(study->n, &numbers));
  for (size_t i = 0; i < PETSC_STATIC_ARRAY_LENGTH(names); ++i) {
    for (PetscInt k = 0; k < study->n; ++k) {
      const Result *r = &study->results[k];
      const double  all[] = {r->score.score, r->score.error, r->score.rank, r->score.variance, (double)r->d, r->trace};

      numbers[k] = all[i];
    }
    PetscCall(CkFileWriteAll(study->file, names[i], CK_F64, 1, shape, numbers, "1", "of each net, in the order given"));
  }
  PetscCall(PetscFree(numbers));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode View(Study *study)
{
  CkTable rows;

  PetscFunctionBeginUser;
  qsort(study->results, (size_t)study->n, sizeof(*study->results), ByScore);
  PetscCall(CkTableCreate(study->comm, "Nets by score = rank/d + variance of the eigenvalues", &rows));
  PetscCall(CkTableRow(rows, "net", "", "%11s %10s %9s %9s %11s %11s %11s %7s", "score", "+-", "weights", "rank",
                       "rank/d", "variance", "trace", "passes"));
  for (PetscInt i = 0; i < study->n; ++i) {
    const Result *r = &study->results[i];

    PetscCall(CkTableRow(rows, r->name, "", "%11.5g %10.2g %9" PetscInt_FMT " %9.6g %11.4g %11.4g %11.4g %7.4g",
                         r->score.score, r->score.error, r->d, r->score.rank, r->score.rank / (double)r->d,
                         r->score.variance, r->trace, r->passes));
  }
  PetscCall(CkTableDestroy(&rows));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode SolveAll(Study *study)
{
  PetscFunctionBeginUser;
  for (PetscInt i = 0; i < study->n; ++i) PetscCall(SolveOne(study, i));
  if (study->file) PetscCall(WriteNumbers(study));
  PetscCall(View(study));
  if (!study->file) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(CkFileWriteProvenance(study->file));
  PetscCall(CkFileCommit(study->file));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Solve(Study *study)
{
  char           output[PETSC_MAX_PATH_LEN];
  PetscErrorCode ierr;

  PetscFunctionBeginUser;
  PetscCall(CkOptionsGetString("output", output, sizeof(output), NULL));
  if (output[0]) PetscCall(CkFileCreate(study->comm, output, &study->file));
  PetscCall(PetscCalloc1(study->n, &study->results));
  ierr = SolveAll(study);
  if (!ierr && output[0]) ierr = CkLog(study->comm, "scores of %" PetscInt_FMT " nets written to %s", study->n, output);
  if (!ierr || CkErrorWasCollective()) PetscCall(CkFileDestroy(&study->file)); /* removes what was not committed */
  PetscCall(ierr);
  PetscCall(PetscFree(study->results));
  PetscCall(CkProblemDestroy(&study->problem));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkSpectrumRunNets(MPI_Comm comm, PetscBool dry, PetscInt n, char **nets, PetscInt nstates, char **states)
{
  static const char *const keys[] = {"-net",          "-noise_group",    "-noise_checkpoint",    "-max_seconds",
                                     "-spectrum_nev", "-spectrum_start", "-spectrum_checkpoint", "-spectrum_vectors"};
  Study                    study = {.comm = comm, .n = n, .nets = nets};

  PetscFunctionBeginUser;
  PetscCall(CkSpectrumRefuseKeys(comm, PETSC_STATIC_ARRAY_LENGTH(keys), keys, "-net_list names several nets"));
  CkCheckAll(comm, nstates == 0 || nstates == n, PETSC_ERR_ARG_SIZ,
             "-state names %" PetscInt_FMT " file%s and -net_list %" PetscInt_FMT
             " net%s: give one for each, in the same order (random: random weights), or none",
             nstates, CkPlural(nstates), n, CkPlural(n));
  PetscCall(PetscMalloc1(n, &study.states));
  for (PetscInt i = 0; i < n; ++i) study.states[i] = nstates == 0 ? "" : states[i];
  PetscCall(PlanAll(&study, dry));
  if (!dry) PetscCall(Solve(&study));
  PetscCall(PetscFree(study.states));
  PetscFunctionReturn(PETSC_SUCCESS);
}
