/* gram_checkpoint.c: the sums of the Gram matrix as far as they have come, in a file (docs/formats.md). */
#include "noiseimpl.h"
#include <clarkia/blockproduct.h>
#include <clarkia/file.h>
#include <clarkia/progress.h>
#include <petsctime.h>
#include <unistd.h>

struct _p_CkGramCheckpoint {
  MPI_Comm       comm;
  const char    *file; /* borrowed */
  double         interval;
  PetscLogDouble last; /* when the file was written, or the assembly began */
  /* The problem. */
  const CkGramSweep *sweep; /* borrowed */
  PetscInt           samples, dimension, formed, layers;
  CkPrecision        precision;
  PetscBool          centred;
  double             l2;
  char               weights[32], gradients[32]; /* checksums */
};

static const char *PrecisionName(CkPrecision precision)
{
  return precision == CK_FLOAT32 ? "single" : "double";
}

/* The losses of all samples and the gradients of some, which make the shift, stand for data, engine and whatever else
   the gradients depend on. */
static PetscErrorCode Identify(CkDiffusion D, const CkDiffusionSizes *sizes, const double shift[], CkGramCheckpoint c)
{
  const CkBatch all = CkBatchAll(sizes->N);
  const double *x;
  double       *values;
  uint64_t      sum;

  PetscFunctionBeginUser;
  PetscCall(CkLossGetPointArray(D->loss, &x));
  PetscCall(CkLossGetL2(D->loss, &c->l2));
  sum = CkChecksum(0, x, sizeof(double) * (size_t)sizes->d);
  PetscCall(PetscSNPrintf(c->weights, sizeof(c->weights), "%016llx", (unsigned long long)sum));
  PetscCall(PetscMalloc1(sizes->N, &values));
  PetscCall(CkLossValues(D->loss, &all, values, NULL));
  sum = CkChecksum(0, values, sizeof(double) * (size_t)sizes->N);
  if (shift) sum = CkChecksum(sum, shift, sizeof(double) * (size_t)sizes->d);
  PetscCall(PetscFree(values));
  PetscCall(PetscSNPrintf(c->gradients, sizeof(c->gradients), "%016llx", (unsigned long long)sum));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkGramCheckpointCreate(const CkGramSweep *sweep, CkGramCheckpoint *checkpoint)
{
  const CkDiffusion       D = sweep->D;
  const CkDiffusionSizes *sizes = &sweep->sizes;
  CkGramCheckpoint        c;

  PetscFunctionBeginUser;
  *checkpoint = NULL;
  if (!D->checkpoint[0]) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(PetscNew(&c));
  c->comm = sizes->comm;
  c->file = D->checkpoint;
  c->interval = D->interval;
  c->samples = sizes->N;
  c->dimension = sizes->d;
  c->sweep = sweep;
  c->formed = CkGramSweepFormed(sweep);
  c->layers = sweep->nlayers;
  c->precision = sweep->precision;
  c->centred = D->centred;
  PetscCall(Identify(D, sizes, sweep->shift, c));
  PetscCall(PetscTime(&c->last));
  *checkpoint = c;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkGramCheckpointDestroy(CkGramCheckpoint *checkpoint)
{
  PetscFunctionBeginUser;
  PetscCall(PetscFree(*checkpoint));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkGramCheckpointWrite(CkGramCheckpoint c, CkBlockMatrix K, const CkGramDone *done)
{
  CkFile file;

  PetscFunctionBeginUser;
  if (!c) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(CkFileCreate(c->comm, c->file, &file));
  PetscCall(CkFileWriteString(file, "/", "kind", "gram checkpoint"));
  PetscCall(CkFileWriteInt(file, "/", "samples", c->samples));
  PetscCall(CkFileWriteInt(file, "/", "dimension", c->dimension));
  PetscCall(CkFileWriteInt(file, "/", "formed", c->formed));
  PetscCall(CkFileWriteInt(file, "/", "layers", c->layers));
  PetscCall(CkFileWriteInt(file, "/", "chunk", CK_PRODUCT_CHUNK));
  PetscCall(CkFileWriteString(file, "/", "precision", PrecisionName(c->precision)));
  PetscCall(CkFileWriteInt(file, "/", "centred", c->centred));
  PetscCall(CkFileWriteReal(file, "/", "l2", c->l2));
  PetscCall(CkFileWriteString(file, "/", "weights_checksum", c->weights));
  PetscCall(CkFileWriteString(file, "/", "gradients_checksum", c->gradients));
  PetscCall(CkFileWriteInt(file, "/", "formed_done", done->weights));
  PetscCall(CkFileWriteInt(file, "/", "layers_done", done->layers));
  PetscCall(CkBlockMatrixWrite(K, file, "/matrix"));
  PetscCall(CkFileWriteProvenance(file));
  PetscCall(CkFileCommit(file));
  PetscCall(CkFileDestroy(&file));
  PetscCall(PetscTime(&c->last));
  PetscCall(CkLog(c->comm, "checkpoint of %.0f of %" PetscInt_FMT " weights in %s", CkGramSweepWeights(c->sweep, done),
                  c->dimension, c->file));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkGramCheckpointUpdate(CkGramCheckpoint c, CkBlockMatrix K, const CkGramDone *done)
{
  PetscLogDouble now;
  int            due;

  PetscFunctionBeginUser;
  if (!c) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(PetscTime(&now));
  due = now - c->last >= c->interval;
  PetscCallMPI(MPI_Bcast(&due, 1, MPI_INT, 0, c->comm));
  if (due) PetscCall(CkGramCheckpointWrite(c, K, done));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode CheckInt(CkGramCheckpoint c, CkFile file, const char name[], PetscInt64 ours)
{
  PetscInt64 theirs;

  PetscFunctionBeginUser;
  PetscCall(CkFileReadInt(file, "/", name, &theirs, NULL));
  CkCheckAll(c->comm, theirs == ours, PETSC_ERR_FILE_UNEXPECTED,
             "-noise_checkpoint %s is of another problem: its %s is %" PetscInt64_FMT ", here it is %" PetscInt64_FMT
             "; give another file, or remove this one",
             c->file, name, theirs, ours);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode CheckString(CkGramCheckpoint c, CkFile file, const char name[], const char what[],
                                  const char ours[])
{
  char      theirs[64];
  PetscBool same;

  PetscFunctionBeginUser;
  PetscCall(CkFileReadString(file, "/", name, theirs, sizeof(theirs), NULL));
  PetscCall(PetscStrcmp(theirs, ours, &same));
  CkCheckAll(c->comm, same, PETSC_ERR_FILE_UNEXPECTED,
             "-noise_checkpoint %s is of another problem: %s differ (%s is %s, here %s); give another file, or remove "
             "this one",
             c->file, what, name, theirs, ours);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode CheckProblem(CkGramCheckpoint c, CkFile file)
{
  double l2;

  PetscFunctionBeginUser;
  PetscCall(CheckString(c, file, "kind", "the kinds of file", "gram checkpoint"));
  PetscCall(CheckInt(c, file, "samples", c->samples));
  PetscCall(CheckInt(c, file, "dimension", c->dimension));
  PetscCall(CheckInt(c, file, "formed", c->formed));
  PetscCall(CheckInt(c, file, "layers", c->layers));
  PetscCall(CheckInt(c, file, "chunk", CK_PRODUCT_CHUNK));
  PetscCall(CheckString(c, file, "precision", "the precisions of the products (-noise_gram_precision)",
                        PrecisionName(c->precision)));
  PetscCall(CheckInt(c, file, "centred", c->centred));
  PetscCall(CkFileReadReal(file, "/", "l2", &l2, NULL));
  CkCheckAll(c->comm, c->centred || l2 == c->l2, PETSC_ERR_FILE_UNEXPECTED,
             "-noise_checkpoint %s is of another problem: its weight decay is %g, here it is %g", c->file, l2, c->l2);
  PetscCall(CheckString(c, file, "weights_checksum", "the weights (-state, -seed)", c->weights));
  PetscCall(CheckString(c, file, "gradients_checksum", "the data, the engine or its sum blocks", c->gradients));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Formed weights come in whole chunks, layers after all of them. */
static PetscErrorCode ReadDone(CkGramCheckpoint c, CkFile file, CkGramDone *done)
{
  PetscInt64 weights, layers;

  PetscFunctionBeginUser;
  PetscCall(CkFileReadInt(file, "/", "formed_done", &weights, NULL));
  PetscCall(CkFileReadInt(file, "/", "layers_done", &layers, NULL));
  CkCheckAll(c->comm,
             weights >= 0 && layers >= 0 && layers <= c->layers && weights + layers > 0 &&
               (weights == c->formed || (weights < c->formed && weights % CK_PRODUCT_CHUNK == 0 && layers == 0)),
             PETSC_ERR_FILE_UNEXPECTED,
             "-noise_checkpoint %s says %" PetscInt64_FMT " of %" PetscInt_FMT " formed weights, %" PetscInt64_FMT
             " of %" PetscInt_FMT " factored layers",
             c->file, weights, c->formed, layers, c->layers);
  *done = (CkGramDone){.weights = (PetscInt)weights, .layers = (PetscInt)layers};
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkGramCheckpointResume(CkGramCheckpoint c, CkBlockMatrix K, CkGramDone *done)
{
  PetscMPIInt rank;
  int         there;
  CkFile      file;

  PetscFunctionBeginUser;
  *done = (CkGramDone){0, 0};
  if (!c) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCallMPI(MPI_Comm_rank(c->comm, &rank));
  there = rank == 0 && access(c->file, F_OK) == 0;
  PetscCallMPI(MPI_Bcast(&there, 1, MPI_INT, 0, c->comm));
  if (!there) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(CkFileOpen(c->comm, c->file, &file));
  PetscCall(CheckProblem(c, file));
  PetscCall(ReadDone(c, file, done));
  PetscCall(CkBlockMatrixRead(K, file, "/matrix"));
  PetscCall(CkFileDestroy(&file));
  PetscCall(CkLog(c->comm, "Gram matrix: goes on after %.0f of %" PetscInt_FMT " weights, from %s",
                  CkGramSweepWeights(c->sweep, done), c->dimension, c->file));
  PetscFunctionReturn(PETSC_SUCCESS);
}
