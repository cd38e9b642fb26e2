#include "problem.h"
#include <clarkia/command.h>
#include <clarkia/error.h>
#include <clarkia/options.h>
#include <clarkia/progress.h>
#include <clarkia/spectrum.h>
#include <string.h>

/* clarkia spectrum: the eigenvalues of D(x), to a table and a file. */

static PetscErrorCode RegisterOptions(void)
{
  PetscFunctionBeginUser;
  PetscCall(CkProblemRegisterOptions());
  PetscCall(CkDiffusionRegisterOptions());
  PetscCall(CkSpectrumRegisterOptions());
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* What a user should know of the net, from an ONNX file say. */
static PetscErrorCode LogNotes(const CkProblem *problem)
{
  const char *const *notes;
  const char        *name;
  PetscInt           n;

  PetscFunctionBeginUser;
  PetscCall(CkNetGetName(problem->net, &name));
  PetscCall(CkNetGetNotes(problem->net, &n, &notes));
  for (PetscInt i = 0; i < n; ++i) PetscCall(CkLog(problem->comm, "%s: %s", name, notes[i]));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode CreateSpectrum(CkProblem *problem, CkDiffusion *D, CkSpectrum *spectrum)
{
  const char *samples;
  double      bytes;

  PetscFunctionBeginUser;
  PetscCall(CkDiffusionCreate(problem->loss, D));
  PetscCall(CkDiffusionSetFromOptions(*D));
  PetscCall(CkSpectrumCreate(*D, spectrum));
  PetscCall(CkSpectrumSetFromOptions(*spectrum));
  PetscCall(CkDataGetDescription(problem->data, &samples));
  PetscCall(CkSpectrumSetDescription(*spectrum, problem->weights, samples));
  PetscCall(CkProblemDataMemory(problem, &bytes));
  PetscCall(CkSpectrumSetDataMemory(*spectrum, bytes));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Checksums of data and weights ("" without a state). */
static PetscErrorCode Checksums(CkProblem *problem, char data[32], char weights[32])
{
  uint64_t checksum;

  PetscFunctionBeginUser;
  weights[0] = '\0';
  PetscCall(CkDataGetChecksum(problem->data, &checksum));
  PetscCall(PetscSNPrintf(data, 32, "%016llx", (unsigned long long)checksum));
  if (!problem->state) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(CkStateChecksum(problem->state, &checksum));
  PetscCall(PetscSNPrintf(weights, 32, "%016llx", (unsigned long long)checksum));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode WriteNotes(CkFile file, const CkProblem *problem)
{
  const char *const *notes;
  char              *text;
  size_t             room = 1;
  PetscInt           n;

  PetscFunctionBeginUser;
  PetscCall(CkNetGetNotes(problem->net, &n, &notes));
  if (n == 0) PetscFunctionReturn(PETSC_SUCCESS);
  for (PetscInt i = 0; i < n; ++i) room += strlen(notes[i]) + 1;
  room = PetscMin(room, 60000); /* what an attribute takes */
  PetscCall(PetscCalloc1(room, &text));
  for (PetscInt i = 0; i < n; ++i) {
    PetscCall(PetscStrlcat(text, i ? "\n" : "", room));
    PetscCall(PetscStrlcat(text, notes[i], room));
  }
  PetscCall(CkFileWriteString(file, "/", "network_notes", text));
  PetscCall(PetscFree(text));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode WriteResult(CkFile file, CkProblem *problem, CkSpectrum spectrum)
{
  char data[32], weights[32];

  PetscFunctionBeginUser;
  PetscCall(CkFileWriteProvenance(file));
  PetscCall(Checksums(problem, data, weights));
  PetscCall(CkFileWriteString(file, "/", "data_checksum", data));
  if (weights[0]) PetscCall(CkFileWriteString(file, "/", "weights_checksum", weights));
  PetscCall(WriteNotes(file, problem));
  PetscCall(CkSpectrumWrite(spectrum, file));
  PetscCall(CkFileCommit(file));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The output file is opened before the work starts: a folder that cannot be written is found at once. */
static PetscErrorCode Solve(MPI_Comm comm, CkProblem *problem, CkSpectrum spectrum)
{
  char           output[PETSC_MAX_PATH_LEN], data[32], weights[32];
  CkFile         file = NULL;
  PetscErrorCode ierr;

  PetscFunctionBeginUser;
  PetscCall(CkOptionsGetString("output", output, sizeof(output), NULL));
  PetscCall(Checksums(problem, data, weights));
  PetscCall(CkSpectrumSetChecksums(spectrum, weights, data));
  if (output[0]) PetscCall(CkFileCreate(comm, output, &file));
  ierr = CkSpectrumSolve(spectrum);
  if (!ierr) ierr = CkSpectrumView(spectrum);
  if (!ierr && file) ierr = WriteResult(file, problem, spectrum);
  if (!ierr && file) ierr = CkLog(comm, "spectrum written to %s", output);
  if (!ierr || CkErrorWasCollective()) PetscCall(CkFileDestroy(&file)); /* removes what was not committed */
  PetscCall(ierr);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Keys that the route asked for does not heed. */
static PetscErrorCode CheckEffect(MPI_Comm comm)
{
  static const struct {
    const char *key;
    const char *methods; /* that heed it, in words */
  } keys[] = {{"-spectrum_nev", "krylov"},     {"-spectrum_partial", "krylov"}, {"-spectrum_solver", "dense or gram"},
              {"-spectrum_probes", "density"}, {"-spectrum_steps", "density"},  {"-spectrum_width", "density"}};
  char      method[32];
  PetscBool given;

  PetscFunctionBeginUser;
  PetscCall(CkOptionsGetString("spectrum_method", method, sizeof(method), NULL));
  for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); ++i) {
    const PetscBool never = (PetscBool)(strcmp(keys[i].methods, "density") == 0); /* auto does not take it */

    PetscCall(PetscOptionsHasName(NULL, NULL, keys[i].key, &given));
    CkCheckAll(comm, !given || strstr(keys[i].methods, method) != NULL || (!never && strcmp(method, "auto") == 0),
               PETSC_ERR_ARG_INCOMP,
               "%s has no effect with -spectrum_method %s: leave it out, or give -spectrum_method %s", keys[i].key,
               method, keys[i].methods);
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Run(MPI_Comm comm)
{
  PetscBool   dry;
  CkProblem   problem;
  CkDiffusion D;
  CkSpectrum  spectrum;

  PetscFunctionBeginUser;
  PetscCall(CheckEffect(comm));
  PetscCall(CkOptionsGetBool("dry_run", &dry, NULL));
  PetscCall(CkProblemCreate(comm, (PetscBool)!dry, &problem));
  PetscCall(LogNotes(&problem));
  PetscCall(CreateSpectrum(&problem, &D, &spectrum));
  if (dry) PetscCall(CkSpectrumPlan(spectrum, PETSC_TRUE));
  else PetscCall(Solve(comm, &problem, spectrum));
  PetscCall(CkSpectrumDestroy(&spectrum));
  PetscCall(CkDiffusionDestroy(&D));
  PetscCall(CkProblemDestroy(&problem));
  PetscFunctionReturn(PETSC_SUCCESS);
}

const CkCommand ck_command_spectrum = {
  .name = "spectrum",
  .summary =
    "eigenvalues of the diffusion matrix D(x): dense, by the Gram matrix, by a Krylov solver; or their density",
  .example = "clarkia spectrum -data fashion-mnist -data_count 4000 -net small-lenet -output spectrum.h5",
  .register_options = RegisterOptions,
  .run = Run,
};
