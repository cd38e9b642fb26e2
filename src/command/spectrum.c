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

static PetscErrorCode WriteChecksum(CkFile file, const char name[], uint64_t checksum)
{
  char text[32];

  PetscFunctionBeginUser;
  PetscCall(PetscSNPrintf(text, sizeof(text), "%016llx", (unsigned long long)checksum));
  PetscCall(CkFileWriteString(file, "/", name, text));
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
  uint64_t checksum;

  PetscFunctionBeginUser;
  PetscCall(CkFileWriteProvenance(file));
  PetscCall(CkDataGetChecksum(problem->data, &checksum));
  PetscCall(WriteChecksum(file, "data_checksum", checksum));
  if (problem->state) {
    PetscCall(CkStateChecksum(problem->state, &checksum));
    PetscCall(WriteChecksum(file, "weights_checksum", checksum));
  }
  PetscCall(WriteNotes(file, problem));
  PetscCall(CkSpectrumWrite(spectrum, file));
  PetscCall(CkFileCommit(file));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The output file is opened before the work starts: a folder that cannot be written is found at once. */
static PetscErrorCode Solve(MPI_Comm comm, CkProblem *problem, CkSpectrum spectrum)
{
  char           output[PETSC_MAX_PATH_LEN];
  CkFile         file = NULL;
  PetscErrorCode ierr;

  PetscFunctionBeginUser;
  PetscCall(CkOptionsGetString("output", output, sizeof(output), NULL));
  if (output[0]) PetscCall(CkFileCreate(comm, output, &file));
  ierr = CkSpectrumSolve(spectrum);
  if (!ierr) ierr = CkSpectrumView(spectrum);
  if (!ierr && file) ierr = WriteResult(file, problem, spectrum);
  if (!ierr && file) ierr = CkLog(comm, "spectrum written to %s", output);
  if (!ierr || CkErrorWasCollective()) PetscCall(CkFileDestroy(&file)); /* removes what was not committed */
  PetscCall(ierr);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Run(MPI_Comm comm)
{
  PetscBool   dry;
  CkProblem   problem;
  CkDiffusion D;
  CkSpectrum  spectrum;

  PetscFunctionBeginUser;
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
  .summary = "eigenvalues of the diffusion matrix D(x): dense, by the Gram matrix, or by a Krylov solver",
  .example = "clarkia spectrum -data fashion-mnist -data_count 4000 -net small-lenet -output spectrum.h5",
  .register_options = RegisterOptions,
  .run = Run,
};
