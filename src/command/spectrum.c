#include "spectrum.h"
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
  PetscCall(CkSpectrumNetsRegisterOptions());
  PetscCall(CkDiffusionRegisterOptions());
  PetscCall(CkSpectrumRegisterOptions());
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* What a user should know of the net, from an ONNX file say. */
PetscErrorCode CkSpectrumLogNotes(const CkProblem *problem)
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

/* Labels and names of the classes, for -noise_group class. */
static PetscErrorCode SetClasses(CkProblem *problem, CkSpectrum spectrum)
{
  PetscInt     N, classes, *labels;
  const char **names;

  PetscFunctionBeginUser;
  PetscCall(CkDataGetSize(problem->data, &N));
  PetscCall(CkDataGetClasses(problem->data, &classes));
  PetscCall(PetscMalloc2(N, &labels, classes, &names));
  PetscCall(CkDataGetLabels(problem->data, labels));
  for (PetscInt c = 0; c < classes; ++c) PetscCall(CkDataGetClass(problem->data, c, &names[c], NULL));
  PetscCall(CkSpectrumSetClasses(spectrum, classes, labels, names));
  PetscCall(PetscFree2(labels, names));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkSpectrumFromProblem(CkProblem *problem, CkDiffusion *D, CkSpectrum *spectrum)
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
  PetscCall(SetClasses(problem, *spectrum));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkSpectrumChecksums(CkProblem *problem, char data[32], char weights[32])
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
  PetscCall(CkSpectrumChecksums(problem, data, weights));
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
  PetscCall(CkSpectrumChecksums(problem, data, weights));
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

/* Keys that the route asked for does not heed; for a route that the program chooses, the plan looks. */
static PetscErrorCode CheckEffect(MPI_Comm comm)
{
  CkSpectrumMethod method = CK_SPECTRUM_GRAM;
  char             name[32];

  PetscFunctionBeginUser;
  PetscCall(CkOptionsGetString("spectrum_method", name, sizeof(name), NULL));
  if (strcmp(name, "auto") == 0) PetscFunctionReturn(PETSC_SUCCESS);
  if (strcmp(name, "krylov") == 0) method = CK_SPECTRUM_KRYLOV;
  if (strcmp(name, "dense") == 0) method = CK_SPECTRUM_DENSE;
  if (strcmp(name, "density") == 0) method = CK_SPECTRUM_DENSITY;
  PetscCall(CkSpectrumCheckKeys(comm, method, PETSC_TRUE));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* A checkpoint under the name of the result would take its place in the middle of the run. */
static PetscErrorCode CheckFiles(MPI_Comm comm)
{
  static const char *const keys[] = {"spectrum_checkpoint", "noise_checkpoint"};
  char                     output[PETSC_MAX_PATH_LEN], file[PETSC_MAX_PATH_LEN];

  PetscFunctionBeginUser;
  PetscCall(CkOptionsGetString("output", output, sizeof(output), NULL));
  for (size_t i = 0; i < PETSC_STATIC_ARRAY_LENGTH(keys); ++i) {
    PetscCall(CkOptionsGetString(keys[i], file, sizeof(file), NULL));
    CkCheckAll(comm, !file[0] || strcmp(file, output) != 0, PETSC_ERR_ARG_INCOMP,
               "-%s and -output both name %s: give the checkpoint another name", keys[i], file);
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode RunOne(MPI_Comm comm, PetscBool dry)
{
  CkProblem   problem;
  CkDiffusion D;
  CkSpectrum  spectrum;

  PetscFunctionBeginUser;
  PetscCall(CkProblemCreate(comm, (PetscBool)!dry, &problem));
  PetscCall(CkSpectrumLogNotes(&problem));
  PetscCall(CkSpectrumFromProblem(&problem, &D, &spectrum));
  if (dry) PetscCall(CkSpectrumPlan(spectrum, PETSC_TRUE));
  else PetscCall(Solve(comm, &problem, spectrum));
  PetscCall(CkSpectrumDestroy(&spectrum));
  PetscCall(CkDiffusionDestroy(&D));
  PetscCall(CkProblemDestroy(&problem));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkSpectrumRefuseKeys(MPI_Comm comm, PetscInt n, const char *const keys[], const char why[])
{
  PetscFunctionBeginUser;
  for (PetscInt i = 0; i < n; ++i) {
    PetscBool given;

    PetscCall(PetscOptionsHasName(NULL, NULL, keys[i], &given));
    CkCheckAll(comm, !given, PETSC_ERR_ARG_INCOMP, "%s is for one spectrum, and %s: leave it out", keys[i], why);
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Run(MPI_Comm comm)
{
  PetscInt  nnets, nstates;
  char    **nets, **states;
  PetscBool dry;

  PetscFunctionBeginUser;
  PetscCall(CheckEffect(comm));
  PetscCall(CheckFiles(comm));
  PetscCall(CkOptionsGetBool("dry_run", &dry, NULL));
  PetscCall(CkProblemGetList(comm, "net_list", &nnets, &nets));
  PetscCall(CkProblemGetList(comm, "state", &nstates, &states));
  if (nnets > 0) PetscCall(CkSpectrumRunNets(comm, dry, nnets, nets, nstates, states));
  else if (nstates > 1) PetscCall(CkSpectrumRunSeries(comm, dry, nstates, states));
  else PetscCall(RunOne(comm, dry));
  PetscCall(CkProblemFreeList(nnets, &nets));
  PetscCall(CkProblemFreeList(nstates, &states));
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
