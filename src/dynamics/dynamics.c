/* dynamics.c: batches, epochs, running statistics, evaluation and reports of any type of dynamics. */
#include "fusedpath.h"
#include <clarkia/error.h>
#include <clarkia/options.h>
#include <clarkia/progress.h>
#include <clarkia/random.h>
#include <math.h>
#include <string.h>

static char type_choices[256]; /* names of all types */

static const CkOption table[] = {
  {"dynamics_type", CK_OPTION_STRING, "sgd", 0, 0, type_choices, "how the weights move"},
  {"dynamics_epochs", CK_OPTION_INT, "10", 0, 2147483647, NULL, "sweeps over the samples"},
  {"dynamics_bn_momentum", CK_OPTION_REAL, "0.1", 0, 1, NULL,
   "share of a batch in the running mean and variance of batch norm"},
  {0}};

/* Those that only some types heed: their .keys. */
static const CkOption type_table[] = {
  {"dynamics_batch", CK_OPTION_INT, "128", 0, 2147483647, NULL,
   "samples of a batch (sde, sgd_gaussian: of the batches whose noise is meant); 0: all samples"},
  {"dynamics_replacement", CK_OPTION_BOOL, "false", 0, 0, NULL,
   "draw each sample of a batch anew; false: a random order of all samples each epoch"},
  {"dynamics_mode", CK_OPTION_STRING, "training", 0, 0, "training|evaluation",
   "gradients with batch statistics and dropout, or as D and the test loss see the net"},
  {"dynamics_momentum", CK_OPTION_REAL, "0", 0, 0.9999999, NULL, "share of the last move that is kept"},
  {"dynamics_nesterov", CK_OPTION_BOOL, "false", 0, 0, NULL, "Nesterov's form of momentum"},
  {"dynamics_l2", CK_OPTION_REAL, "0", 0, 1e300, NULL, "weight decay: l2 x is added to the gradient"},
  {"dynamics_fused", CK_OPTION_STRING, "auto", 0, 0, "auto|on|off",
   "updates of small dense nets in one kernel without communication; auto: by net and size, on: or an error"},
  {"dynamics_dt", CK_OPTION_REAL, NULL, 1e-300, 1e300, NULL,
   "sde: time of an update; unset: the learning rate, as an update of SGD takes"},
  {"dynamics_refresh", CK_OPTION_INT, "1", 1, 1024, NULL,
   "sde: D is that of the point where every so many updates begin; more than one needs as many vectors"},
  {"dynamics_temperature", CK_OPTION_REAL, NULL, 0, 1e300, NULL,
   "sgld: T of the noise sqrt(2 T rate) in every weight and update"},
  {0}};

PetscErrorCode CkDynamicsRegisterOptions(void)
{
  PetscFunctionBeginUser;
  CkDynamicsNameTypes(NULL, "|", type_choices, sizeof(type_choices));
  PetscCall(CkOptionsRegister("Dynamics", table));
  PetscCall(CkScheduleRegisterOptions());
  PetscCall(CkOptionsRegister("Kinds of dynamics", type_table));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkDynamicsCreate(CkLoss loss, CkState state, CkDynamics *dynamics)
{
  CkDynamics p;

  PetscFunctionBeginUser;
  PetscCall(PetscNew(&p));
  PetscCall(CkLossGetComm(loss, &p->comm));
  p->loss = loss;
  p->state = state;
  *dynamics = p;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkDynamicsSetType(CkDynamics dynamics, const char type[])
{
  const CkDynamicsType *found = CkDynamicsFindType(type);
  char                  names[256];

  PetscFunctionBeginUser;
  CkDynamicsNameTypes(NULL, ", ", names, sizeof(names));
  CkCheckAll(dynamics->comm, found, PETSC_ERR_ARG_UNKNOWN_TYPE, "there are no dynamics \"%s\"; take one of %s", type,
             names);
  PetscCheck(!dynamics->data, dynamics->comm, PETSC_ERR_ORDER, "The type comes before CkDynamicsSetFromOptions()");
  dynamics->type = found;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Keys that this type does not heed. */
static PetscErrorCode CheckKeys(CkDynamics dynamics)
{
  PetscFunctionBeginUser;
  for (const CkOption *option = type_table; option->key; ++option) {
    const char *name = option->key + strlen("dynamics_");
    char        key[64], names[256];
    PetscBool   given;

    PetscCall(PetscSNPrintf(key, sizeof(key), "-%s", option->key));
    PetscCall(PetscOptionsHasName(NULL, NULL, key, &given));
    CkDynamicsNameTypes(name, ", ", names, sizeof(names));
    CkCheckAll(dynamics->comm, !given || CkDynamicsHeeds(dynamics->type, name), PETSC_ERR_ARG_INCOMP,
               "%s has no effect with -dynamics_type %s: leave it out, or take one of %s", key, dynamics->type->name,
               names);
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkDynamicsSetFromOptions(CkDynamics dynamics)
{
  char     type[64], mode[32];
  PetscInt seed;

  PetscFunctionBeginUser;
  PetscCheck(!dynamics->setup && !dynamics->data, dynamics->comm, PETSC_ERR_ORDER, "Options are read once");
  PetscCall(CkOptionsGetString("dynamics_type", type, sizeof(type), NULL));
  if (!dynamics->type) PetscCall(CkDynamicsSetType(dynamics, type));
  PetscCall(CheckKeys(dynamics));
  PetscCall(CkOptionsGetInt("dynamics_batch", &dynamics->batch, NULL));
  PetscCall(CkOptionsGetInt("dynamics_epochs", &dynamics->epochs, NULL));
  PetscCall(CkOptionsGetBool("dynamics_replacement", &dynamics->replacement, NULL));
  PetscCall(CkOptionsGetReal("dynamics_bn_momentum", &dynamics->bn_momentum, NULL));
  PetscCall(CkOptionsGetString("dynamics_mode", mode, sizeof(mode), NULL));
  dynamics->mode = dynamics->type->evaluation || strcmp(mode, "evaluation") == 0 ? CK_EVALUATION : CK_TRAINING;
  PetscCall(CkOptionsGetInt("seed", &seed, NULL));
  dynamics->seed = (uint64_t)seed;
  PetscCall(CkScheduleSetFromOptions(dynamics->comm, dynamics->epochs, &dynamics->schedule));
  PetscCall(dynamics->type->setfromoptions(dynamics));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkDynamicsSetTestLoss(CkDynamics dynamics, CkLoss test)
{
  PetscFunctionBeginUser;
  dynamics->test = test;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkDynamicsSetMonitor(CkDynamics dynamics,
                                    PetscErrorCode (*monitor)(CkDynamics, const CkEpochReport *, void *), void *context)
{
  PetscFunctionBeginUser;
  dynamics->monitor = monitor;
  dynamics->monitor_context = context;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkDynamicsSetUp(CkDynamics dynamics)
{
  PetscInt64 total;

  PetscFunctionBeginUser;
  if (dynamics->setup) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCheck(dynamics->data, dynamics->comm, PETSC_ERR_ORDER, "Call CkDynamicsSetFromOptions() first");
  PetscCall(CkLossGetDimension(dynamics->loss, &dynamics->d));
  PetscCall(CkLossGetSamples(dynamics->loss, &dynamics->N));
  if (dynamics->batch == 0 || dynamics->type->sampling == CK_SAMPLING_WHOLE) dynamics->batch = dynamics->N;
  CkCheckAll(dynamics->comm, dynamics->batch <= dynamics->N, PETSC_ERR_ARG_OUTOFRANGE,
             "-dynamics_batch %" PetscInt_FMT " is larger than the number of samples, %" PetscInt_FMT
             "; 0 takes them all",
             dynamics->batch, dynamics->N);
  dynamics->updates = (dynamics->N + dynamics->batch - 1) / dynamics->batch;
  total = (PetscInt64)dynamics->updates * dynamics->epochs;
  CkCheckAll(dynamics->comm, total <= PETSC_MAX_INT, PETSC_ERR_ARG_OUTOFRANGE,
             "%" PetscInt64_FMT " updates are more than this build can count (%" PetscInt_FMT
             "): take fewer -dynamics_epochs",
             total, PETSC_MAX_INT);
  PetscCall(CkLossCreateVec(dynamics->loss, &dynamics->x));
  PetscCall(CkLossGetPoint(dynamics->loss, dynamics->x));
  if (dynamics->type->sampling == CK_SAMPLING_DRAWN) PetscCall(PetscMalloc1(dynamics->N, &dynamics->order));
  PetscCall(dynamics->type->setup(dynamics));
  if (dynamics->type->getmomentum) PetscCall(CkFusedPathCreate(dynamics, &dynamics->fused));
  dynamics->setup = PETSC_TRUE;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Functions of seed and epoch alone. */
PetscErrorCode CkDynamicsDrawOrder(CkDynamics dynamics)
{
  const CkRandom stream = {.seed = dynamics->seed,
                           .purpose = CK_RANDOM_SHUFFLE,
                           .replica = (uint32_t)dynamics->replica,
                           .step = (uint64_t)dynamics->epoch};
  const PetscInt N = dynamics->N;

  PetscFunctionBeginUser;
  if (!dynamics->order) PetscFunctionReturn(PETSC_SUCCESS);
  if (!dynamics->replacement) PetscCall(CkRandomPermutation(&stream, N, dynamics->order));
  else {
    for (PetscInt k = 0; k < N; ++k) {
      double u;

      CkRandomUniforms(&stream, (uint64_t)k, 1, &u);
      dynamics->order[k] = PetscMin((PetscInt)(u * N), N - 1);
    }
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode BeginEpoch(CkDynamics dynamics)
{
  PetscFunctionBeginUser;
  PetscCall(CkDynamicsDrawOrder(dynamics));
  dynamics->loss_sum = 0;
  dynamics->correct = dynamics->seen = 0;
  dynamics->seconds = 0;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* r <- (1 - m) r + m (statistic of the batch) */
static PetscErrorCode UpdateRunningStatistics(CkDynamics dynamics)
{
  const double m = dynamics->bn_momentum, *statistics;
  double      *weights, *running;
  CkNet        net;
  PetscInt     n;

  PetscFunctionBeginUser;
  if (!dynamics->state || dynamics->mode != CK_TRAINING) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(CkStateGetNet(dynamics->state, &net));
  PetscCall(CkNetGetBuffers(net, &n));
  PetscCall(CkStateGetArrays(dynamics->state, &weights, &running));
  PetscCall(CkLossGetBatchStatistics(dynamics->loss, &statistics));
  for (PetscInt i = 0; i < n; ++i) running[i] = (1 - m) * running[i] + m * statistics[i];
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkDynamicsPublish(CkDynamics dynamics, Vec at)
{
  const double *x;
  double       *weights, *running;

  PetscFunctionBeginUser;
  PetscCall(CkLossSetPoint(dynamics->loss, at));
  if (!dynamics->state) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(CkLossGetPointArray(dynamics->loss, &x));
  PetscCall(CkStateGetArrays(dynamics->state, &weights, &running));
  PetscCall(PetscArraycpy(weights, x, dynamics->d));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode EvaluateTest(CkDynamics dynamics, double *mean, double *error)
{
  long double sum = 0;
  PetscInt    n, correct;
  double     *values;
  CkBatch     all;

  PetscFunctionBeginUser;
  *mean = *error = NAN;
  if (!dynamics->test) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(CkLossGetSamples(dynamics->test, &n));
  PetscCall(CkLossSetPoint(dynamics->test, dynamics->x));
  PetscCall(PetscMalloc1(n, &values));
  all = CkBatchAll(n);
  PetscCall(CkLossValues(dynamics->test, &all, values, &correct));
  for (PetscInt k = 0; k < n; ++k) sum += values[k];
  PetscCall(PetscFree(values));
  *mean = (double)(sum / n);
  *error = 1 - (double)correct / (double)n;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode EndEpoch(CkDynamics dynamics)
{
  CkEpochReport report;
  CkNet         net;

  PetscFunctionBeginUser;
  PetscCall(CkLossGetNet(dynamics->loss, &net));
  dynamics->position = 0;
  ++dynamics->epoch;
  report.epoch = dynamics->epoch;
  report.step = dynamics->step;
  report.loss = (double)(dynamics->loss_sum / dynamics->seen);
  report.error = net ? 1 - (double)dynamics->correct / (double)dynamics->seen : NAN;
  report.rate = dynamics->rate;
  report.seconds = dynamics->seconds;
  PetscCall(EvaluateTest(dynamics, &report.test_loss, &report.test_error));
  if (dynamics->monitor) PetscCall(dynamics->monitor(dynamics, &report, dynamics->monitor_context));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* One update by the type. */
static PetscErrorCode UpdateOnce(CkDynamics dynamics)
{
  CkBatch  batch;
  CkUpdate update;

  PetscFunctionBeginUser;
  batch = (CkBatch){.n = PetscMin(dynamics->batch, dynamics->N - dynamics->position),
                    .index = dynamics->order ? dynamics->order + dynamics->position : NULL,
                    .mode = dynamics->mode,
                    .epoch = dynamics->epoch,
                    .step = dynamics->step,
                    .replica = dynamics->replica};
  dynamics->rate = CkScheduleRate(&dynamics->schedule, dynamics->step, dynamics->updates);
  update = (CkUpdate){.n = batch.n, .time = dynamics->rate};
  PetscCall(dynamics->type->step(dynamics, &batch, &update));
  PetscCall(UpdateRunningStatistics(dynamics));
  dynamics->loss_sum += (long double)update.mean * update.n;
  dynamics->correct += update.correct;
  dynamics->seen += update.n;
  dynamics->time += update.time;
  dynamics->position += batch.n;
  ++dynamics->step;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Several in one go, all in this epoch. */
static PetscErrorCode UpdateFused(CkDynamics dynamics, PetscInt updates)
{
  PetscInt done, n;

  PetscFunctionBeginUser;
  PetscCall(CkFusedPathRun(dynamics->fused, dynamics, updates, dynamics->order + dynamics->position,
                           &dynamics->loss_sum, &dynamics->correct, &done));
  for (PetscInt u = 0; u < done; ++u) { /* one after the other, as updates one by one add them */
    dynamics->rate = CkScheduleRate(&dynamics->schedule, dynamics->step++, dynamics->updates);
    dynamics->time += dynamics->rate;
  }
  n = (PetscInt)PetscMin((PetscInt64)done * dynamics->batch, dynamics->N - dynamics->position);
  dynamics->seen += n;
  dynamics->position += n;
  PetscCall(CkFusedPathCheck(dynamics->fused, dynamics));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkDynamicsAdvance(CkDynamics dynamics, PetscInt stop)
{
  const double start = MPI_Wtime();

  PetscFunctionBeginUser;
  if (dynamics->position == 0) PetscCall(BeginEpoch(dynamics));
  if (dynamics->fused && CkFusedPathTaken(dynamics->fused)) PetscCall(UpdateFused(dynamics, stop - dynamics->step));
  else PetscCall(UpdateOnce(dynamics));
  PetscCall(CkDynamicsPublish(dynamics, dynamics->x));
  dynamics->seconds += MPI_Wtime() - start;
  if (dynamics->position == dynamics->N) PetscCall(EndEpoch(dynamics));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkDynamicsStep(CkDynamics dynamics)
{
  PetscFunctionBeginUser;
  PetscCall(CkDynamicsSetUp(dynamics));
  PetscCall(CkDynamicsAdvance(dynamics, dynamics->step + 1));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkDynamicsGetProgress(CkDynamics dynamics, PetscInt *epoch, PetscInt *epochs, PetscInt *step)
{
  PetscFunctionBeginUser;
  if (epoch) *epoch = dynamics->epoch;
  if (epochs) *epochs = dynamics->epochs;
  if (step) *step = dynamics->step;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkDynamicsGetBatches(CkDynamics dynamics, PetscInt *batch, PetscInt *updates)
{
  PetscFunctionBeginUser;
  PetscCheck(dynamics->setup, dynamics->comm, PETSC_ERR_ORDER, "Call CkDynamicsSetUp() first");
  *batch = dynamics->batch;
  *updates = dynamics->updates;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkDynamicsGetTime(CkDynamics dynamics, double *time)
{
  PetscFunctionBeginUser;
  *time = dynamics->time;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkDynamicsGetCost(CkDynamics dynamics, double *vectors, double *samples)
{
  const CkDynamicsType *type = dynamics->type;

  PetscFunctionBeginUser;
  PetscCheck(dynamics->setup, dynamics->comm, PETSC_ERR_ORDER, "Call CkDynamicsSetUp() first");
  *vectors = 1 + (double)(type->countvectors ? type->countvectors(dynamics) : type->vectors);
  *samples = (double)dynamics->N * (type->sampling == CK_SAMPLING_COUNT ? (double)dynamics->updates : 1);
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkDynamicsGetFusedMemory(CkDynamics dynamics, double *bytes)
{
  PetscFunctionBeginUser;
  PetscCheck(dynamics->setup, dynamics->comm, PETSC_ERR_ORDER, "Call CkDynamicsSetUp() first");
  *bytes = dynamics->fused ? CkFusedPathMemory(dynamics->fused) : 0;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkDynamicsDescribe(CkDynamics dynamics, CkTable rows)
{
  const char *const samples[] = {"drawn", "whose noise is taken", "in full"};
  const PetscBool   drawn = (PetscBool)(dynamics->type->sampling == CK_SAMPLING_DRAWN);
  char              text[256];

  PetscFunctionBeginUser;
  PetscCheck(dynamics->setup, dynamics->comm, PETSC_ERR_ORDER, "Call CkDynamicsSetUp() first");
  PetscCall(dynamics->type->view(dynamics, text, sizeof(text)));
  PetscCall(CkTableRow(rows, "dynamics",
                       dynamics->mode == CK_TRAINING ? "gradients of training mode" : "gradients of evaluation mode",
                       "%s: %s", dynamics->type->name, text));
  CkScheduleFormat(&dynamics->schedule, text, sizeof(text));
  PetscCall(CkTableRow(rows, "learning rate", "", "%s", text));
  PetscCall(CkTableRow(rows, "epochs", "",
                       "%" PetscInt_FMT " of %" PetscInt_FMT " update%s each, batches of %" PetscInt_FMT " %s%s",
                       dynamics->epochs, dynamics->updates, dynamics->updates == 1 ? "" : "s", dynamics->batch,
                       samples[dynamics->type->sampling],
                       !drawn                  ? ""
                       : dynamics->replacement ? " with replacement"
                                               : " without replacement"));
  if (dynamics->fused && CkFusedPathTaken(dynamics->fused))
    PetscCall(CkTableRow(rows, "updates", "-dynamics_fused", "many at once, by one kernel on rank 0"));
  else if (dynamics->fused)
    PetscCall(CkTableRow(rows, "updates", "-dynamics_fused", "one by one: %s", CkFusedPathReason(dynamics->fused)));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkDynamicsDestroy(CkDynamics *dynamics)
{
  CkDynamics p = *dynamics;

  PetscFunctionBeginUser;
  if (!p) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(CkFusedPathDestroy(&p->fused));
  if (p->type) PetscCall(p->type->destroy(p));
  PetscCall(VecDestroy(&p->x));
  PetscCall(PetscFree(p->order));
  PetscCall(PetscFree(*dynamics));
  PetscFunctionReturn(PETSC_SUCCESS);
}
