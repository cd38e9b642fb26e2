/* spectrum_series.c: spectra at several weights of one net, one after the other, and how they differ. */
#include "spectrum.h"
#include <clarkia/error.h>
#include <clarkia/options.h>
#include <string.h>

enum { LEADING = 10 }; /* eigenvectors of each, unless asked otherwise */

typedef struct {
  CkProblem        problem;
  CkDiffusion      D;
  CkSpectrum       spectrum;
  CkSpectrumSeries series;
  CkFile           file; /* NULL: none */
} Study;

/* Without -spectrum_vectors: all pairs of krylov, which the next solve starts from, else a few. */
static PetscErrorCode ChooseVectors(Study *study)
{
  PetscBool        given;
  PetscInt         pairs, d, N;
  CkSpectrumMethod method;

  PetscFunctionBeginUser;
  PetscCall(PetscOptionsHasName(NULL, NULL, "-spectrum_vectors", &given));
  if (given) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(CkSpectrumPlan(study->spectrum, PETSC_FALSE));
  PetscCall(CkSpectrumGetMethod(study->spectrum, &method));
  if (method == CK_SPECTRUM_DENSITY) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(CkOptionsGetInt("spectrum_nev", &pairs, NULL));
  PetscCall(CkLossGetDimension(study->problem.loss, &d));
  PetscCall(CkLossGetSamples(study->problem.loss, &N));
  if (method != CK_SPECTRUM_KRYLOV) pairs = LEADING;
  PetscCall(CkSpectrumSetVectors(study->spectrum, PetscMin(pairs, PetscMin(d, N - 1))));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The name of the file without folders and ending; "w, replica 3". */
static PetscErrorCode Label(const char state[], char label[], size_t room)
{
  const char *slash = strrchr(state, '/');
  char       *dot, text[32];
  PetscInt    replica;
  PetscBool   given;

  PetscFunctionBeginUser;
  PetscCall(CkOptionsGetInt("state_replica", &replica, &given));
  PetscCall(PetscStrncpy(label, slash ? slash + 1 : state, room));
  dot = strrchr(label, '.');
  if (dot && strcmp(dot, ".h5") == 0 && dot > label) *dot = '\0';
  if (!given) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(PetscSNPrintf(text, sizeof(text), ", replica %" PetscInt_FMT, replica));
  PetscCall(PetscStrlcat(label, text, room));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Prepare(Study *study)
{
  char data[32], weights[32];

  PetscFunctionBeginUser;
  PetscCall(CkSpectrumChecksums(&study->problem, data, weights));
  PetscCall(CkSpectrumSetChecksums(study->spectrum, weights, data));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode WriteOne(Study *study, PetscInt number, const char label[])
{
  char path[64], data[32], weights[32];

  PetscFunctionBeginUser;
  PetscCall(PetscSNPrintf(path, sizeof(path), "/spectra/%" PetscInt_FMT, number));
  PetscCall(CkSpectrumWriteIn(study->spectrum, study->file, path));
  PetscCall(CkSpectrumChecksums(&study->problem, data, weights));
  PetscCall(CkFileWriteString(study->file, path, "name", label));
  PetscCall(CkFileWriteString(study->file, path, "weights_checksum", weights));
  if (number == 0) PetscCall(CkFileWriteString(study->file, "/", "data_checksum", data));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Number `number`, begun from the eigenvectors of the one before. */
static PetscErrorCode SolveOne(Study *study, PetscInt number, const char state[])
{
  const char *samples;
  const Vec  *before;
  PetscInt    k;
  char        label[128];

  PetscFunctionBeginUser;
  PetscCall(Label(state, label, sizeof(label)));
  if (number > 0) PetscCall(CkProblemSetState(&study->problem, state));
  PetscCall(CkLog(study->problem.comm, "spectrum %" PetscInt_FMT ": %s", number + 1, study->problem.weights));
  PetscCall(CkDataGetDescription(study->problem.data, &samples));
  PetscCall(CkSpectrumSetDescription(study->spectrum, study->problem.weights, samples));
  PetscCall(Prepare(study));
  PetscCall(CkSpectrumSeriesGetLast(study->series, &k, &before));
  PetscCall(CkSpectrumSetStart(study->spectrum, k, before));
  PetscCall(CkSpectrumSolve(study->spectrum));
  PetscCall(CkSpectrumSeriesAdd(study->series, label));
  if (study->file) PetscCall(WriteOne(study, number, label));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* What is wrong with any of the weights shows before the first spectrum; the first ones are those that stay. */
static PetscErrorCode TryAll(Study *study, PetscInt n, char **states)
{
  PetscFunctionBeginUser;
  for (PetscInt i = n - 1; i >= 0; --i) PetscCall(CkProblemSetState(&study->problem, states[i]));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode SolveAll(Study *study, PetscInt n, char **states)
{
  PetscFunctionBeginUser;
  for (PetscInt i = 0; i < n; ++i) PetscCall(SolveOne(study, i, states[i]));
  PetscCall(CkSpectrumSeriesCompare(study->series));
  PetscCall(CkSpectrumSeriesView(study->series));
  if (!study->file) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(CkSpectrumSeriesWrite(study->series, study->file));
  PetscCall(CkFileWriteProvenance(study->file));
  PetscCall(CkFileCommit(study->file));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Solve(Study *study, PetscInt n, char **states)
{
  char           output[PETSC_MAX_PATH_LEN];
  PetscErrorCode ierr;

  PetscFunctionBeginUser;
  PetscCall(CkOptionsGetString("output", output, sizeof(output), NULL));
  if (output[0]) PetscCall(CkFileCreate(study->problem.comm, output, &study->file));
  PetscCall(CkSpectrumSeriesCreate(study->spectrum, &study->series));
  ierr = SolveAll(study, n, states);
  if (!ierr && output[0])
    ierr = CkLog(study->problem.comm, "series of %" PetscInt_FMT " spectra written to %s", n, output);
  if (!ierr || CkErrorWasCollective()) PetscCall(CkFileDestroy(&study->file)); /* removes what was not committed */
  PetscCall(ierr);
  PetscCall(CkSpectrumSeriesDestroy(&study->series));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkSpectrumRunSeries(MPI_Comm comm, PetscBool dry, PetscInt n, char **states)
{
  static const char *const keys[] = {"-noise_group", "-noise_checkpoint", "-spectrum_checkpoint", "-max_seconds"};
  Study                    study = {.file = NULL};

  PetscFunctionBeginUser;
  PetscCall(CkSpectrumRefuseKeys(comm, PETSC_STATIC_ARRAY_LENGTH(keys), keys, "-state names a series"));
  PetscCall(CkProblemCreateWith(comm, (PetscBool)!dry, states[0], &study.problem));
  PetscCall(CkSpectrumLogNotes(&study.problem));
  PetscCall(CkSpectrumFromProblem(&study.problem, &study.D, &study.spectrum));
  PetscCall(CkSpectrumSetSeries(study.spectrum, n));
  PetscCall(ChooseVectors(&study));
  if (dry) PetscCall(CkSpectrumPlan(study.spectrum, PETSC_TRUE));
  else {
    PetscCall(TryAll(&study, n, states));
    PetscCall(Solve(&study, n, states));
  }
  PetscCall(CkSpectrumDestroy(&study.spectrum));
  PetscCall(CkDiffusionDestroy(&study.D));
  PetscCall(CkProblemDestroy(&study.problem));
  PetscFunctionReturn(PETSC_SUCCESS);
}
