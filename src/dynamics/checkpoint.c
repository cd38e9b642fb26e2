/* checkpoint.c: a run in a file, written now and then and when the run is told to stop (docs/formats.md). */
#include "dynamicsimpl.h"
#include "fusedpath.h"
#include <clarkia/checkpoint.h>
#include <clarkia/error.h>
#include <clarkia/interrupt.h>
#include <clarkia/options.h>
#include <clarkia/progress.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const CkOption table[] = {
  {"train_checkpoint", CK_OPTION_STRING, NULL, 0, 0, NULL,
   "file to keep the run in; if it is there, the run goes on from it"},
  {"train_checkpoint_interval", CK_OPTION_REAL, "600", 0, 1e9, NULL,
   "seconds between checkpoints; 0: one at every update"},
  {"train_checkpoint_keep", CK_OPTION_INT, "2", 1, 1000, NULL,
   "checkpoints to keep: FILE and the former ones FILE.1, FILE.2, .."},
  {"train_checkpoint_force", CK_OPTION_BOOL, "false", 0, 0, NULL,
   "go on from the checkpoint of another schedule, data set or network of the same size"},
  {0}};

enum { MAX_KEYS = 32, MAX_NUMBERS = 16 };

typedef struct {
  PetscBool   always;
  const char *name;
  char        value[512];
} Key;

typedef struct {
  const char *name;
  PetscInt    n;
  double     *values;
} Numbers;

struct _p_CkCheckpoint {
  MPI_Comm    comm;
  PetscMPIInt rank;
  CkDynamics  dynamics;
  char        file[PETSC_MAX_PATH_LEN];
  double      interval, last; /* clock at the last writing */
  PetscInt    keep;
  PetscBool   force;
  PetscInt    nkeys, nnumbers;
  Key         keys[MAX_KEYS];
  Numbers     numbers[MAX_NUMBERS];
  PetscErrorCode (*flush)(void *);
  void    *flush_context;
  PetscInt step;                          /* of the last one; -1: none */
  char     last_file[PETSC_MAX_PATH_LEN]; /* its name */
};

PetscErrorCode CkCheckpointRegisterOptions(void)
{
  PetscFunctionBeginUser;
  PetscCall(CkOptionsRegister("Checkpoint of a run", table));
  PetscCall(CkInterruptRegisterOptions());
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Keys that say how, without the one that says that. */
static PetscErrorCode CheckUnused(MPI_Comm comm)
{
  char      stop[PETSC_MAX_PATH_LEN + 32], key[64];
  PetscBool given;

  PetscFunctionBeginUser;
  for (const CkOption *option = table + 1; option->key; ++option) {
    PetscCall(PetscSNPrintf(key, sizeof(key), "-%s", option->key));
    PetscCall(PetscOptionsHasName(NULL, NULL, key, &given));
    CkCheckAll(comm, !given, PETSC_ERR_ARG_INCOMP, "%s has no effect without -train_checkpoint FILE", key);
  }
  PetscCall(CkInterruptGetOption(stop));
  CkCheckAll(comm, !stop[0], PETSC_ERR_ARG_INCOMP, "%s needs a file to go on from later: give -train_checkpoint FILE",
             stop);
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkCheckpointCreate(CkDynamics dynamics, CkCheckpoint *checkpoint)
{
  char         file[PETSC_MAX_PATH_LEN];
  CkCheckpoint c;

  PetscFunctionBeginUser;
  PetscCheck(dynamics->replicas, dynamics->comm, PETSC_ERR_ORDER, "Call CkDynamicsSetFromOptions() first");
  *checkpoint = NULL;
  PetscCall(CkOptionsGetString("train_checkpoint", file, sizeof(file), NULL));
  if (!file[0]) {
    PetscCall(CheckUnused(dynamics->comm));
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  PetscCall(PetscNew(&c));
  *checkpoint = c;
  PetscCall(CkReplicasGetComms(dynamics->replicas, &c->comm, NULL));
  c->dynamics = dynamics;
  c->step = -1;
  PetscCallMPI(MPI_Comm_rank(c->comm, &c->rank));
  PetscCall(PetscStrncpy(c->file, file, sizeof(c->file)));
  PetscCall(CkOptionsGetReal("train_checkpoint_interval", &c->interval, NULL));
  PetscCall(CkOptionsGetInt("train_checkpoint_keep", &c->keep, NULL));
  PetscCall(CkOptionsGetBool("train_checkpoint_force", &c->force, NULL));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkCheckpointDestroy(CkCheckpoint *checkpoint)
{
  PetscFunctionBeginUser;
  if (*checkpoint) PetscCall(CkInterruptEnd());
  PetscCall(PetscFree(*checkpoint));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkCheckpointGetLast(CkCheckpoint c, const char **file, PetscInt *step)
{
  PetscFunctionBeginUser;
  *file = c->last_file;
  *step = c->step;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkCheckpointGetFile(CkCheckpoint c, const char **file)
{
  PetscFunctionBeginUser;
  *file = c->file;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* ---- what it is of ---- */

PetscErrorCode CkCheckpointAddKey(CkCheckpoint c, PetscBool always, const char name[], const char format[], ...)
{
  va_list args;

  PetscFunctionBeginUser;
  PetscCheck(c->nkeys < MAX_KEYS, PETSC_COMM_SELF, PETSC_ERR_PLIB, "More than %d keys", MAX_KEYS);
  c->keys[c->nkeys].always = always;
  c->keys[c->nkeys].name = name;
  va_start(args, format);
  PetscCall(PetscVSNPrintf(c->keys[c->nkeys].value, sizeof(c->keys[0].value), format, NULL, args));
  va_end(args);
  ++c->nkeys;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkCheckpointAddNumbers(CkCheckpoint c, const char name[], PetscInt n, double values[])
{
  PetscFunctionBeginUser;
  PetscCheck(c->nnumbers < MAX_NUMBERS, PETSC_COMM_SELF, PETSC_ERR_PLIB, "More than %d numbers", MAX_NUMBERS);
  c->numbers[c->nnumbers++] = (Numbers){name, n, values};
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkCheckpointSetFlush(CkCheckpoint c, PetscErrorCode (*flush)(void *), void *context)
{
  PetscFunctionBeginUser;
  c->flush = flush;
  c->flush_context = context;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Keys of the loss and of the dynamics. */
static PetscErrorCode AddOwnKeys(CkCheckpoint c)
{
  const CkDynamics p = c->dynamics;
  const char      *engine_type = "none";
  char             text[256];
  CkEngine         engine;
  PetscInt         block, R;
  double           l2;

  PetscFunctionBeginUser;
  PetscCall(CkLossGetEngine(p->loss, &engine));
  if (engine) PetscCall(CkEngineGetType(engine, &engine_type));
  PetscCall(CkLossGetSumBlock(p->loss, &block));
  PetscCall(CkLossGetL2(p->loss, &l2));
  PetscCall(CkCheckpointAddKey(c, PETSC_TRUE, "dimension", "%" PetscInt_FMT, p->d));
  PetscCall(CkCheckpointAddKey(c, PETSC_TRUE, "dynamics_type", "%s", p->type->name));
  PetscCall(CkReplicasGetCounts(p->replicas, &R, NULL, NULL, NULL));
  PetscCall(CkCheckpointAddKey(c, PETSC_TRUE, "replicas", "%" PetscInt_FMT, R));
  PetscCall(CkCheckpointAddKey(c, PETSC_FALSE, "samples", "%" PetscInt_FMT, p->N));
  PetscCall(CkCheckpointAddKey(c, PETSC_FALSE, "batch", "%" PetscInt_FMT, p->batch));
  PetscCall(CkCheckpointAddKey(c, PETSC_FALSE, "seed", "%llu", (unsigned long long)p->seed));
  PetscCall(p->type->view(p, text, sizeof(text)));
  PetscCall(CkCheckpointAddKey(c, PETSC_FALSE, "dynamics", "%s, %s, %s mode, running statistics by %.17g", text,
                               p->replacement      ? "samples with replacement"
                               : p->shuffle == 'n' ? "samples in their order"
                               : p->shuffle == 'o' ? "one order of samples"
                                                   : "an order of samples each epoch",
                               p->mode == CK_TRAINING ? "training" : "evaluation", p->bn_momentum));
  CkScheduleFormat(&p->schedule, text, sizeof(text));
  PetscCall(CkCheckpointAddKey(c, PETSC_FALSE, "schedule", "%s", text));
  PetscCall(CkCheckpointAddKey(c, PETSC_FALSE, "engine", "%s", engine_type));
  PetscCall(CkCheckpointAddKey(c, PETSC_FALSE, "updates", "%s",
                               p->fused && CkFusedPathTaken(p->fused) ? "many at a time" : "one by one"));
  PetscCall(CkCheckpointAddKey(c, PETSC_FALSE, "sum_block", "%" PetscInt_FMT, block));
  PetscCall(CkCheckpointAddKey(c, PETSC_FALSE, "loss_l2", "%.17g", l2));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode CheckKeys(CkCheckpoint c, CkFile file, const char name[])
{
  char      kind[64] = "", value[sizeof(c->keys[0].value)];
  PetscBool found;

  PetscFunctionBeginUser;
  PetscCall(CkFileReadString(file, "/", "kind", kind, sizeof(kind), &found));
  CkCheckAll(c->comm, found && strcmp(kind, "training checkpoint") == 0, PETSC_ERR_FILE_UNEXPECTED,
             "-train_checkpoint %s: the file stands there, but is no checkpoint of a training run; give another name",
             name);
  for (PetscInt i = 0; i < c->nkeys; ++i) {
    const Key *key = &c->keys[i];

    value[0] = '\0';
    PetscCall(CkFileReadString(file, "/kept", key->name, value, sizeof(value), &found));
    if (strcmp(value, key->value) == 0) continue;
    CkCheckAll(c->comm, c->force && !key->always, PETSC_ERR_ARG_INCOMP,
               "-train_checkpoint %s is of another run: %s is '%s' there and '%s' here; give another name, remove the "
               "file, or run with the options it was made with%s",
               name, key->name, found ? value : "missing", key->value,
               key->always ? "" : "; or go on all the same with -train_checkpoint_force");
    PetscCall(CkLog(c->comm, "-train_checkpoint_force: %s was '%s' and is '%s' from here on", key->name,
                    found ? value : "missing", key->value));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* ---- writing ---- */

/* Of each replica what it goes on with; then what all ranks know. */
static PetscErrorCode KeepAll(CkCheckpoint c, CkFile file, PetscBool reads)
{
  CkKeeper keeper;
  MPI_Comm group;
  PetscInt R;

  PetscFunctionBeginUser;
  PetscCall(CkReplicasGetComms(c->dynamics->replicas, NULL, &group));
  PetscCall(CkReplicasGetCounts(c->dynamics->replicas, &R, NULL, NULL, NULL));
  PetscCall(CkKeeperCreate(file, reads, group, R, &keeper));
  PetscCall(CkDynamicsKeep(c->dynamics, keeper));
  PetscCall(CkKeeperDestroy(&keeper));
  PetscCall(CkKeeperCreate(file, reads, c->comm, 1, &keeper));
  PetscCall(CkKeepArray(keeper, "last_epoch", R * CK_NUMBERS, c->dynamics->numbers));
  for (PetscInt i = 0; i < c->nnumbers; ++i)
    PetscCall(CkKeepArray(keeper, c->numbers[i].name, c->numbers[i].n, c->numbers[i].values));
  PetscCall(CkKeeperDestroy(&keeper));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode WriteFile(CkCheckpoint c, CkFile file)
{
  PetscFunctionBeginUser;
  PetscCall(CkFileSeal(file));
  PetscCall(CkFileWriteString(file, "/", "kind", "training checkpoint"));
  PetscCall(CkFileCreateGroup(file, "/kept"));
  for (PetscInt i = 0; i < c->nkeys; ++i)
    PetscCall(CkFileWriteString(file, "/kept", c->keys[i].name, c->keys[i].value));
  PetscCall(KeepAll(c, file, PETSC_FALSE));
  PetscCall(CkFileWriteProvenance(file));
  PetscCall(CkFileCommit(file));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* "run.ck", 0 -> "run.ck"; 2 -> "run.ck.2" */
static PetscErrorCode FormerName(CkCheckpoint c, PetscInt i, char name[PETSC_MAX_PATH_LEN])
{
  PetscFunctionBeginUser;
  if (i == 0) PetscCall(PetscStrncpy(name, c->file, PETSC_MAX_PATH_LEN));
  else PetscCall(PetscSNPrintf(name, PETSC_MAX_PATH_LEN, "%s.%" PetscInt_FMT, c->file, i));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* FILE becomes FILE.1, that FILE.2, ..; the last one goes. */
static PetscErrorCode MoveFormer(CkCheckpoint c)
{
  char        from[PETSC_MAX_PATH_LEN], to[PETSC_MAX_PATH_LEN];
  PetscMPIInt there;

  PetscFunctionBeginUser;
  for (PetscInt i = c->keep - 1; i > 0; --i) {
    PetscCall(FormerName(c, i - 1, from));
    PetscCall(FormerName(c, i, to));
    there = c->rank == 0 && access(from, F_OK) == 0;
    PetscCallMPI(MPI_Bcast(&there, 1, MPI_INT, 0, c->comm));
    if (there) PetscCall(CkFileRename(c->comm, from, to));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkCheckpointWrite(CkCheckpoint c)
{
  char           name[PETSC_MAX_PATH_LEN];
  CkFile         file;
  PetscErrorCode ierr;

  PetscFunctionBeginUser;
  if (c->flush) PetscCall(c->flush(c->flush_context));
  PetscCall(PetscSNPrintf(name, sizeof(name), "%s.new", c->file));
  PetscCall(CkFileCreate(c->comm, name, &file));
  ierr = WriteFile(c, file);
  if (!ierr || CkErrorWasCollective()) PetscCall(CkFileDestroy(&file));
  PetscCall(ierr);
  PetscCall(MoveFormer(c));
  PetscCall(CkFileRename(c->comm, name, c->file));
  PetscCall(CkDynamicsGetProgress(c->dynamics, NULL, NULL, &c->step));
  PetscCall(PetscStrncpy(c->last_file, c->file, sizeof(c->last_file)));
  c->last = MPI_Wtime();
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Between updates: write if it is time, stop if that is asked for. */
static PetscErrorCode Pause(CkDynamics dynamics, void *context)
{
  CkCheckpoint c = (CkCheckpoint)context;
  const char  *why;
  PetscMPIInt  due = MPI_Wtime() - c->last >= c->interval;

  PetscFunctionBeginUser;
  (void)dynamics;
  PetscCallMPI(MPI_Bcast(&due, 1, MPI_INT, 0, c->comm));
  PetscCall(CkInterruptRequested(c->comm, &why));
  if (due || why) PetscCall(CkCheckpointWrite(c));
  CkCheckAll(c->comm, !why, CK_ERR_REQUEUE,
             "stopped (%s) after update %" PetscInt_FMT " with the checkpoint %s written: the same command goes on "
             "from it",
             why, c->step, c->file);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* ---- going on ---- */

/* The last one that is there: FILE, or FILE.1 of a run that was killed between two renamings; NULL: none. */
static PetscErrorCode FindFile(CkCheckpoint c, char name[PETSC_MAX_PATH_LEN], PetscBool *found)
{
  PetscMPIInt there = 0;

  PetscFunctionBeginUser;
  for (PetscInt i = 0; i < 2 && !there; ++i) {
    PetscCall(FormerName(c, i, name));
    there = c->rank == 0 && access(name, F_OK) == 0;
    PetscCallMPI(MPI_Bcast(&there, 1, MPI_INT, 0, c->comm));
  }
  *found = (PetscBool)there;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Resume(CkCheckpoint c, const char name[])
{
  CkFile   file;
  PetscInt epoch;

  PetscFunctionBeginUser;
  PetscCall(CkFileCheckSeal(c->comm, name));
  PetscCall(CkFileOpen(c->comm, name, &file));
  PetscCall(CheckKeys(c, file, name));
  PetscCall(KeepAll(c, file, PETSC_TRUE));
  PetscCall(CkFileDestroy(&file));
  PetscCall(CkDynamicsGetProgress(c->dynamics, &epoch, NULL, &c->step));
  PetscCall(PetscStrncpy(c->last_file, name, sizeof(c->last_file)));
  PetscCall(CkLog(c->comm, "going on from %s, after update %" PetscInt_FMT "; %" PetscInt_FMT " epoch%s finished", name,
                  c->step, epoch, epoch == 1 ? " is" : "s are"));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkCheckpointBegin(CkCheckpoint c, PetscBool *resumed)
{
  char name[PETSC_MAX_PATH_LEN];

  PetscFunctionBeginUser;
  PetscCall(CkDynamicsSetUp(c->dynamics));
  PetscCall(AddOwnKeys(c));
  PetscCall(FindFile(c, name, resumed));
  if (*resumed) PetscCall(Resume(c, name));
  else PetscCall(CkFileCheckOutput(c->comm, c->file));
  PetscCall(CkDynamicsSetPause(c->dynamics, Pause, c));
  c->last = MPI_Wtime();
  PetscCall(CkInterruptBegin());
  PetscFunctionReturn(PETSC_SUCCESS);
}
