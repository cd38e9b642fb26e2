#include "krylov.h"
#include <clarkia/error.h>
#include <clarkia/interrupt.h>
#include <petsctime.h>
#include <unistd.h>

/* krylov_checkpoint.c: the state of the block solver in a file (docs/formats.md, "Krylov checkpoint"). */

/* What must be the same for a checkpoint to be gone on from: name and value as text. */
typedef struct {
  const char *name;
  char        value[64];
} Key;
#define KEYS 14

struct _p_CkKrylovCheckpoint {
  CkSpectrum   s;
  Key          keys[KEYS];
  PetscInt     nkeys;
  CkRowRange   mine; /* rows that this rank writes */
  CkBlockState found;
  double       passes, sweeps; /* of before, and where those of this run began */
  double       last;           /* clock at the last writing */
  const char  *stopped;        /* why the solver was stopped, or NULL */
};

/* Bytes of rows that a rank hands over at a time. */
#define CHUNK 33554432.

static PetscErrorCode AddKey(CkKrylovCheckpoint c, const char name[], const char format[], ...)
  PETSC_ATTRIBUTE_FORMAT(3, 4);
static PetscErrorCode AddKey(CkKrylovCheckpoint c, const char name[], const char format[], ...)
{
  va_list args;

  PetscFunctionBeginUser;
  PetscCheck(c->nkeys < KEYS, PETSC_COMM_SELF, PETSC_ERR_PLIB, "More than %d keys", KEYS);
  c->keys[c->nkeys].name = name;
  va_start(args, format);
  PetscCall(PetscVSNPrintf(c->keys[c->nkeys].value, sizeof(c->keys[0].value), format, NULL, args));
  va_end(args);
  ++c->nkeys;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode MakeKeys(CkKrylovCheckpoint c)
{
  CkSpectrum    s = c->s;
  const double *x;
  const char   *engine_type = "none";
  CkEngine      engine;
  PetscBool     centred;
  PetscInt      block;

  PetscFunctionBeginUser;
  PetscCall(CkLossGetPointArray(s->loss, &x));
  PetscCall(CkLossGetEngine(s->loss, &engine));
  PetscCall(CkLossGetSumBlock(s->loss, &block));
  if (engine) PetscCall(CkEngineGetType(engine, &engine_type));
  PetscCall(CkDiffusionGetCentred(s->D, &centred));
  PetscCall(AddKey(c, "dimension", "%" PetscInt_FMT, s->d));
  PetscCall(AddKey(c, "samples", "%" PetscInt_FMT, s->N));
  PetscCall(AddKey(c, "operator", "%s", centred ? "diffusion" : "second moment"));
  PetscCall(AddKey(c, "weights", "%016llx", (unsigned long long)CkChecksum(0, x, (size_t)s->d * sizeof(double))));
  PetscCall(AddKey(c, "weights_checksum", "%s", s->weights_checksum));
  PetscCall(AddKey(c, "data_checksum", "%s", s->data_checksum));
  PetscCall(AddKey(c, "engine", "%s", engine_type));
  PetscCall(AddKey(c, "sum_block", "%" PetscInt_FMT, block));
  PetscCall(AddKey(c, "space", "%s", CkKrylovFormName(s->krylov.form)));
  PetscCall(AddKey(c, "gradients_kept", "%d", (int)s->krylov.keep));
  PetscCall(AddKey(c, "columns", "%" PetscInt_FMT, s->krylov.block));
  PetscCall(AddKey(c, "basis", "%" PetscInt_FMT, s->krylov.ncv));
  PetscCall(AddKey(c, "pairs", "%" PetscInt_FMT, s->krylov.nev));
  PetscCall(AddKey(c, "trace", "%.17g", s->trace));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode CheckKeys(CkKrylovCheckpoint c, CkFile file)
{
  PetscFunctionBeginUser;
  for (PetscInt i = 0; i < c->nkeys; ++i) {
    char      value[64] = "";
    PetscBool found;

    PetscCall(CkFileReadString(file, "/", c->keys[i].name, value, sizeof(value), &found));
    CkCheckAll(c->s->comm, found, PETSC_ERR_FILE_UNEXPECTED,
               "-spectrum_checkpoint %s: the file stands there, but is no checkpoint of a spectrum ('%s' is missing); "
               "give another name",
               c->s->checkpoint, c->keys[i].name);
    CkCheckAll(c->s->comm, strcmp(value, c->keys[i].value) == 0, PETSC_ERR_ARG_INCOMP,
               "-spectrum_checkpoint %s is of another problem: %s is %s there and %s here; give another name, remove "
               "the file, or run with the options it was made with",
               c->s->checkpoint, c->keys[i].name, value, c->keys[i].value);
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Rounds of chunks, and rows of one, the same on all ranks. */
static PetscErrorCode Chunks(MPI_Comm comm, PetscInt rows, PetscInt columns, PetscInt *chunk, PetscInt *rounds)
{
  PetscFunctionBeginUser;
  *chunk = (PetscInt)PetscMax(1., CHUNK / (sizeof(double) * (double)PetscMax(1, columns)));
  *rounds = rows / *chunk + (rows % *chunk > 0);
  PetscCallMPI(MPI_Allreduce(MPI_IN_PLACE, rounds, 1, MPIU_INT, MPI_MAX, comm));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The vectors as rows of [order x vectors]: each rank's part is contiguous in the file. */
static PetscErrorCode WriteBasis(CkKrylovCheckpoint c, CkFile file, const CkBlockState *state)
{
  const PetscInt   m = state->projected + state->pending;
  const PetscInt64 shape[] = {c->s->krylov.n, m};
  PetscInt         chunk, rounds;
  double          *rows;

  PetscFunctionBeginUser;
  PetscCall(CkFileCreateDataset(file, "/basis", CK_F64, 2, shape, "1",
                                "column j: vector j of the orthonormal basis; the last `pending` ones come next"));
  PetscCall(Chunks(c->s->comm, c->mine.rows, m, &chunk, &rounds));
  PetscCall(PetscMalloc1((size_t)chunk * (size_t)m, &rows));
  for (PetscInt round = 0; round < rounds; ++round) {
    const PetscInt first = PetscMin(round * chunk, c->mine.rows), count = PetscMin(chunk, c->mine.rows - first);

    for (PetscInt j = 0; j < m; ++j) {
      for (PetscInt i = 0; i < count; ++i) rows[(size_t)i * (size_t)m + (size_t)j] = state->basis[j][first + i];
    }
    PetscCall(CkFileWriteRows(file, "/basis", CK_F64, count > 0 ? c->mine.first + first : 0, count, rows));
  }
  PetscCall(PetscFree(rows));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode PassesSoFar(CkKrylovCheckpoint c, double *passes, double *sweeps)
{
  PetscFunctionBeginUser;
  PetscCall(CkLossGetPasses(c->s->loss, passes));
  PetscCall(CkDiffusionGetSweeps(c->s->D, sweeps));
  *passes += c->passes;
  *sweeps += c->sweeps;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode WriteFile(CkKrylovCheckpoint c, CkFile file, const CkBlockState *state)
{
  const PetscInt   n = state->projected + state->pending;
  const PetscInt64 shape[] = {n, n};
  double           passes, sweeps;

  PetscFunctionBeginUser;
  PetscCall(PassesSoFar(c, &passes, &sweeps));
  PetscCall(CkFileWriteString(file, "/", "kind", "krylov checkpoint"));
  for (PetscInt i = 0; i < c->nkeys; ++i) PetscCall(CkFileWriteString(file, "/", c->keys[i].name, c->keys[i].value));
  PetscCall(CkFileWriteInt(file, "/", "iterations", state->iterations));
  PetscCall(CkFileWriteInt(file, "/", "projected", state->projected));
  PetscCall(CkFileWriteInt(file, "/", "pending", state->pending));
  PetscCall(CkFileWriteInt(file, "/", "random_vectors", state->randoms));
  PetscCall(CkFileWriteReal(file, "/", "scale", state->scale));
  PetscCall(CkFileWriteReal(file, "/", "solver_passes", passes));
  PetscCall(CkFileWriteReal(file, "/", "solver_sweeps", sweeps));
  PetscCall(CkFileWriteAll(file, "/projection", CK_F64, 2, shape, state->T, "1",
                           "the matrix in the basis; zero where not known yet"));
  PetscCall(CkFileWriteAll(file, "/measured", CK_F64, 2, shape, state->M, "1",
                           "the same with the rounding errors of the products, symmetric part"));
  PetscCall(WriteBasis(c, file, state));
  PetscCall(CkFileWriteProvenance(file));
  PetscCall(CkFileCommit(file));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Write(CkKrylovCheckpoint c, const CkBlockState *state)
{
  CkFile         file;
  PetscErrorCode ierr;

  PetscFunctionBeginUser;
  PetscCall(CkFileCreate(c->s->comm, c->s->checkpoint, &file));
  ierr = WriteFile(c, file, state);
  if (!ierr || CkErrorWasCollective()) PetscCall(CkFileDestroy(&file));
  PetscCall(ierr);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Between two products: write if it is time, stop if that is asked for. */
static PetscErrorCode BetweenProducts(EPS eps, const CkBlockState *state, void *context, PetscBool *stop)
{
  CkKrylovCheckpoint c = context;
  PetscLogDouble     now;
  PetscMPIInt        due;

  PetscFunctionBeginUser;
  (void)eps;
  PetscCall(PetscTime(&now));
  due = now - c->last >= c->s->checkpoint_interval;
  PetscCallMPI(MPI_Bcast(&due, 1, MPI_INT, 0, c->s->comm));
  PetscCall(CkInterruptRequested(c->s->comm, &c->stopped));
  *stop = (PetscBool)(c->stopped != NULL);
  if (due || *stop) {
    PetscCall(Write(c, state));
    PetscCall(PetscTime(&c->last));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The solver's vectors and matrix from the file. */
static PetscErrorCode Fill(EPS eps, const CkBlockState *state, void *context)
{
  CkKrylovCheckpoint c = context;
  const PetscInt     m = state->projected + state->pending;
  PetscInt           chunk, rounds;
  double            *rows;
  CkFile             file;

  PetscFunctionBeginUser;
  (void)eps;
  PetscCall(CkFileOpen(c->s->comm, c->s->checkpoint, &file));
  PetscCall(CkFileReadAll(file, "/projection", CK_F64, state->T));
  PetscCall(CkFileReadAll(file, "/measured", CK_F64, state->M));
  PetscCall(Chunks(c->s->comm, state->range.rows, m, &chunk, &rounds));
  PetscCall(PetscMalloc1((size_t)chunk * (size_t)m, &rows));
  for (PetscInt round = 0; round < rounds; ++round) {
    const PetscInt first = PetscMin(round * chunk, state->range.rows);
    const PetscInt count = PetscMin(chunk, state->range.rows - first);

    PetscCall(CkFileReadRows(file, "/basis", CK_F64, count > 0 ? state->range.first + first : 0, count, rows));
    for (PetscInt j = 0; j < m; ++j) {
      for (PetscInt i = 0; i < count; ++i) state->basis[j][first + i] = rows[(size_t)i * (size_t)m + (size_t)j];
    }
  }
  PetscCall(PetscFree(rows));
  PetscCall(CkFileDestroy(&file));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode ReadNumbers(CkKrylovCheckpoint c, CkFile file)
{
  PetscInt64 iterations, projected, pending;
  double     passes, sweeps;

  PetscFunctionBeginUser;
  PetscCall(CkFileReadInt(file, "/", "iterations", &iterations, NULL));
  PetscCall(CkFileReadInt(file, "/", "projected", &projected, NULL));
  PetscCall(CkFileReadInt(file, "/", "pending", &pending, NULL));
  PetscCall(CkFileReadInt(file, "/", "random_vectors", &c->found.randoms, NULL));
  PetscCall(CkFileReadReal(file, "/", "scale", &c->found.scale, NULL));
  PetscCall(CkFileReadReal(file, "/", "solver_passes", &passes, NULL));
  PetscCall(CkFileReadReal(file, "/", "solver_sweeps", &sweeps, NULL));
  c->found.iterations = (PetscInt)iterations;
  c->found.projected = (PetscInt)projected;
  c->found.pending = (PetscInt)pending;
  c->passes += passes;
  c->sweeps += sweeps;
  c->s->earlier_passes = passes;
  c->s->earlier_sweeps = sweeps;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Goes on from the file, if it is there. */
static PetscErrorCode LookForFile(CkKrylovCheckpoint c, EPS eps)
{
  PetscMPIInt rank, there;
  CkFile      file;

  PetscFunctionBeginUser;
  PetscCallMPI(MPI_Comm_rank(c->s->comm, &rank));
  there = rank == 0 && access(c->s->checkpoint, F_OK) == 0;
  PetscCallMPI(MPI_Bcast(&there, 1, MPI_INT, 0, c->s->comm));
  if (!there) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(CkFileOpen(c->s->comm, c->s->checkpoint, &file));
  PetscCall(CheckKeys(c, file));
  PetscCall(ReadNumbers(c, file));
  PetscCall(CkFileDestroy(&file));
  PetscCall(CkBlockEPSSetResume(eps, &c->found, Fill, c));
  PetscCall(CkLog(c->s->comm, "going on from %s, after product %" PetscInt_FMT, c->s->checkpoint, c->found.iterations));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Rows of D's vectors as they are distributed; in sample space rank 0 has all. */
static PetscErrorCode SetRows(CkKrylovCheckpoint c)
{
  PetscMPIInt rank;
  PetscInt    first, last;
  Vec         x;

  PetscFunctionBeginUser;
  c->mine.comm = c->s->comm;
  if (c->s->krylov.form == CK_KRYLOV_SAMPLE) {
    PetscCallMPI(MPI_Comm_rank(c->s->comm, &rank));
    c->mine.rows = rank == 0 ? c->s->N : 0;
    c->mine.first = 0;
  } else {
    PetscCall(CkLossCreateVec(c->s->loss, &x));
    PetscCall(VecGetOwnershipRange(x, &first, &last));
    PetscCall(VecDestroy(&x));
    c->mine.rows = last - first;
    c->mine.first = first;
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkKrylovCheckpointBegin(CkSpectrum s, EPS eps, CkKrylovCheckpoint *checkpoint)
{
  CkKrylovCheckpoint c;
  PetscBool          block;
  double             passes, sweeps;

  PetscFunctionBeginUser;
  *checkpoint = NULL;
  s->earlier_passes = s->earlier_sweeps = 0;
  if (!s->checkpoint[0]) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(PetscObjectTypeCompare((PetscObject)eps, CK_EPS_BLOCK, &block));
  CkCheckAll(s->comm, block, PETSC_ERR_ARG_INCOMP,
             "-spectrum_checkpoint: only the solver ckblock can be gone on with; leave out -eps_type");
  PetscCall(PetscNew(&c));
  c->s = s;
  PetscCall(PetscTime(&c->last));
  PetscCall(MakeKeys(c));
  PetscCall(SetRows(c));
  PetscCall(PassesSoFar(c, &passes, &sweeps)); /* what is before does not belong to the solver */
  c->passes = -passes;
  c->sweeps = -sweeps;
  *checkpoint = c;
  PetscCall(LookForFile(c, eps));
  PetscCall(CkBlockEPSSetHook(eps, BetweenProducts, c));
  PetscCall(CkInterruptBegin());
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkKrylovCheckpointEnd(CkKrylovCheckpoint *checkpoint)
{
  CkKrylovCheckpoint c = *checkpoint;
  const char        *stopped;
  CkSpectrum         s;

  PetscFunctionBeginUser;
  if (!c) PetscFunctionReturn(PETSC_SUCCESS);
  s = c->s;
  stopped = c->stopped;
  PetscCall(CkInterruptEnd());
  PetscCall(PetscFree(*checkpoint));
  CkCheckAll(s->comm, !stopped, CK_ERR_REQUEUE,
             "stopped (%s) with the checkpoint %s written: the same command goes on from it", stopped, s->checkpoint);
  PetscFunctionReturn(PETSC_SUCCESS);
}
