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
  {"dynamics_replicas", CK_OPTION_INT, "1", 1, 65535, NULL,
   "runs with random numbers of their own, spread over the ranks"},
  {"dynamics_bn_momentum", CK_OPTION_REAL, "0.1", 0, 1, NULL,
   "share of a batch in the running mean and variance of batch norm"},
  {0}};

/* Those that only some types heed: their .keys. */
static const CkOption type_table[] = {
  {"dynamics_batch", CK_OPTION_INT, "128", 0, 2147483647, NULL,
   "samples of a batch (sde, sgd_gaussian: of the batches whose noise is meant); 0: all samples"},
  {"dynamics_replacement", CK_OPTION_BOOL, "false", 0, 0, NULL,
   "draw each sample of a batch anew; false: a random order of all samples each epoch"},
  {"dynamics_shuffle", CK_OPTION_STRING, "each", 0, 0, "each|once|never",
   "without replacement: a new order each epoch, one random order for all epochs, or the order of the data"},
  {"dynamics_mode", CK_OPTION_STRING, "training", 0, 0, "training|evaluation",
   "gradients with batch statistics and dropout, or as D and the test loss see the net"},
  {"dynamics_momentum", CK_OPTION_REAL, "0", 0, 0.9999999, NULL, "share of the last move that is kept"},
  {"dynamics_nesterov", CK_OPTION_BOOL, "false", 0, 0, NULL, "Nesterov's form of momentum"},
  {"dynamics_l2", CK_OPTION_REAL, "0", 0, 1e300, NULL, "weight decay: l2 x is added to the gradient"},
  {"dynamics_fused", CK_OPTION_STRING, "auto", 0, 0, "auto|on|off",
   "updates of small dense nets in one kernel without communication; auto: by net and size, on: or an error"},
  {"dynamics_dt", CK_OPTION_REAL, NULL, 1e-300, 1e300, NULL,
   "sde, ode: time of an update; unset: the learning rate, as an update of SGD takes"},
  {"dynamics_refresh", CK_OPTION_INT, "1", 1, 1024, NULL,
   "sde: D is that of the point where every so many updates begin; more than one needs as many vectors"},
  {"dynamics_temperature", CK_OPTION_REAL, NULL, 0, 1e300, NULL,
   "sgld: T of the noise sqrt(2 T rate) in every weight and update; jko: weight of the entropy in the free energy"},
  {"dynamics_inner", CK_OPTION_INT, "25", 1, 2147483647, NULL,
   "entropy_sgd, parle: inner updates between two steps of the weights"},
  {"dynamics_average", CK_OPTION_REAL, "0.75", 0, 0.9999999, NULL,
   "entropy_sgd, parle: share of the past in the average of inner points"},
  {"dynamics_scope", CK_OPTION_REAL, "0.01", 0, 1e300, NULL,
   "entropy_sgd, parle: strength of the pull on inner points, 1/variance of the local entropy"},
  {"dynamics_scoping", CK_OPTION_REAL, "0", 0, 1e300, NULL,
   "entropy_sgd, parle: with U updates an epoch scope (up to 1) and elasticity (up to 10) grow by 1 + this/U each "
   "step of the weights"},
  {"dynamics_inner_noise", CK_OPTION_REAL, "0", 0, 1e300, NULL,
   "entropy_sgd, parle: eps of the noise sqrt(rate) eps in every weight and inner update"},
  {"dynamics_outer_rate", CK_OPTION_REAL, "1", 0, 2, NULL,
   "entropy_sgd, parle: rate of the steps of the weights; 1: to the average of the inner points"},
  {"dynamics_outer_momentum", CK_OPTION_REAL, "0", 0, 0.9999999, NULL,
   "entropy_sgd, parle: momentum of these steps, in Nesterov's form"},
  {"dynamics_elasticity", CK_OPTION_REAL, "0.1", 0, 1e300, NULL,
   "elastic_sgd, parle: strength of the pull of the replicas' mean, once a step of the weights"},
  {"dynamics_deviation", CK_OPTION_REAL, "0.01", 1e-150, 1e150, NULL,
   "jko: standard deviation of every weight at the start"},
  {"dynamics_points", CK_OPTION_STRING, "signs", 0, 0, "signs|normal",
   "jko: means over the density are those over points mean +- deviation z, z random signs or normal numbers"},
  {"dynamics_pairs", CK_OPTION_INT, "4", 1, 1024, NULL,
   "jko: such pairs of points, a power of two for signs; an inner iteration takes two gradients a pair"},
  {"dynamics_tolerance", CK_OPTION_REAL, NULL, 1e-300, 1, NULL,
   "jko: share of their norm to which means and deviations obey their equations when inner iterations end; unset: 1e-3 "
   "for networks, whose gradients may jump, 1e-10 for landscapes"},
  {"dynamics_iterations", CK_OPTION_INT, "200", 1, 2147483647, NULL,
   "jko: inner iterations of a step after which it is an error"},
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

PetscErrorCode CkDynamicsSetReplicas(CkDynamics dynamics, CkReplicas replicas)
{
  PetscFunctionBeginUser;
  PetscCheck(!dynamics->data, dynamics->comm, PETSC_ERR_ORDER, "Replicas come before CkDynamicsSetFromOptions()");
  dynamics->replicas = replicas;
  dynamics->borrowed = PETSC_TRUE;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* As many as the options say, or the caller has no place for them. */
static PetscErrorCode CheckReplicas(CkDynamics dynamics)
{
  PetscInt wanted, R;

  PetscFunctionBeginUser;
  if (!dynamics->replicas) PetscCall(CkReplicasCreate(dynamics->comm, 1, &dynamics->replicas));
  PetscCall(CkReplicasGetCounts(dynamics->replicas, &R, NULL, NULL, NULL));
  PetscCall(CkOptionsGetInt("dynamics_replicas", &wanted, NULL));
  CkCheckAll(dynamics->comm, wanted == R, PETSC_ERR_ARG_INCOMP,
             "-dynamics_replicas %" PetscInt_FMT " has no effect here, where there is %" PetscInt_FMT ": leave it out",
             wanted, R);
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
  char      type[64], mode[32], shuffle[32];
  PetscInt  seed;
  PetscBool shuffled;

  PetscFunctionBeginUser;
  PetscCheck(!dynamics->setup && !dynamics->data, dynamics->comm, PETSC_ERR_ORDER, "Options are read once");
  PetscCall(CkOptionsGetString("dynamics_type", type, sizeof(type), NULL));
  if (!dynamics->type) PetscCall(CkDynamicsSetType(dynamics, type));
  PetscCall(CheckKeys(dynamics));
  PetscCall(CheckReplicas(dynamics));
  PetscCall(CkOptionsGetInt("dynamics_batch", &dynamics->batch, NULL));
  PetscCall(CkOptionsGetInt("dynamics_epochs", &dynamics->epochs, NULL));
  PetscCall(CkOptionsGetBool("dynamics_replacement", &dynamics->replacement, NULL));
  PetscCall(CkOptionsGetString("dynamics_shuffle", shuffle, sizeof(shuffle), &shuffled));
  CkCheckAll(dynamics->comm, !shuffled || !dynamics->replacement, PETSC_ERR_ARG_INCOMP,
             "-dynamics_shuffle has no effect with -dynamics_replacement, which draws each sample anew: leave out one");
  dynamics->shuffle = shuffle[0]; /* of each, once, never */
  PetscCall(CkOptionsGetReal("dynamics_bn_momentum", &dynamics->bn_momentum, NULL));
  PetscCall(CkOptionsGetString("dynamics_mode", mode, sizeof(mode), NULL));
  dynamics->mode = dynamics->type->evaluation || strcmp(mode, "evaluation") == 0 ? CK_EVALUATION : CK_TRAINING;
  PetscCall(CkOptionsGetInt("seed", &seed, NULL));
  dynamics->seed = (uint64_t)seed;
  PetscCall(CkScheduleSetFromOptions(dynamics->comm, dynamics->epochs, &dynamics->schedule));
  PetscCall(CkDynamicsMakeMembers(dynamics));
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
  PetscCall(CkDynamicsSetUpMembers(dynamics));
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
                           .step = dynamics->shuffle == 'o' ? 0 : (uint64_t)dynamics->epoch};
  const PetscInt N = dynamics->N;
  PetscInt      *order = dynamics->now->order;

  PetscFunctionBeginUser;
  if (!order) PetscFunctionReturn(PETSC_SUCCESS);
  if (!dynamics->replacement && dynamics->shuffle == 'n') {
    for (PetscInt k = 0; k < N; ++k) order[k] = k;
  } else if (!dynamics->replacement) PetscCall(CkRandomPermutation(&stream, N, order));
  else {
    for (PetscInt k = 0; k < N; ++k) {
      double u;

      CkRandomUniforms(&stream, (uint64_t)k, 1, &u);
      order[k] = PetscMin((PetscInt)(u * N), N - 1);
    }
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* r <- (1 - m) r + m (statistic of the batch) */
static PetscErrorCode UpdateRunningStatistics(CkDynamics dynamics)
{
  const double m = dynamics->bn_momentum, *statistics;
  double      *weights, *running;

  PetscFunctionBeginUser;
  if (!dynamics->state || dynamics->mode != CK_TRAINING) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(CkStateGetArrays(dynamics->state, &weights, &running));
  PetscCall(CkLossGetBatchStatistics(dynamics->loss, &statistics));
  for (PetscInt i = 0; i < dynamics->buffers; ++i) running[i] = (1 - m) * running[i] + m * statistics[i];
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkDynamicsEvaluate(CkLoss loss, double *mean, double *error)
{
  long double sum = 0;
  PetscInt    n, correct;
  double     *values;
  CkBatch     all;
  CkNet       net;

  PetscFunctionBeginUser;
  PetscCall(CkLossGetSamples(loss, &n));
  PetscCall(CkLossGetNet(loss, &net));
  PetscCall(PetscMalloc1(n, &values));
  all = CkBatchAll(n);
  PetscCall(CkLossValues(loss, &all, values, &correct));
  for (PetscInt k = 0; k < n; ++k) sum += values[k];
  PetscCall(PetscFree(values));
  *mean = (double)(sum / n);
  *error = net ? 1 - (double)correct / (double)n : NAN;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Loss and share of wrong predictions on the test data at x, with the state's running statistics. */
static PetscErrorCode EvaluateTest(CkDynamics dynamics, Vec x, double *mean, double *error)
{
  PetscFunctionBeginUser;
  *mean = *error = NAN;
  if (!dynamics->test) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(CkLossSetPoint(dynamics->test, x));
  PetscCall(CkDynamicsEvaluate(dynamics->test, mean, error));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkDynamicsAgree(CkDynamics dynamics, PetscErrorCode ierr)
{
  PetscFunctionBeginUser;
  if (ierr) dynamics->failed = PETSC_TRUE;
  PetscCall(CkReplicasAgree(dynamics->replicas, ierr));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* mine [replicas of this group x CK_NUMBERS] */
static PetscErrorCode EvaluateMine(CkDynamics dynamics, double mine[])
{
  CkNet net;

  PetscFunctionBeginUser;
  PetscCall(CkLossGetNet(dynamics->loss, &net));
  for (PetscInt m = 0; m < dynamics->nmembers; ++m) {
    double         *numbers = mine + m * CK_NUMBERS;
    const CkMember *member = &dynamics->members[m];

    PetscCall(CkDynamicsSelect(dynamics, m));
    numbers[CK_LOSS] = (double)(member->loss_sum / member->seen);
    numbers[CK_ERROR] = net ? 1 - (double)member->correct / (double)member->seen : NAN;
    numbers[CK_FREE_ENERGY] = member->proximal.free_energy;
    numbers[CK_ITERATIONS] = member->proximal.iterations;
    numbers[CK_RESIDUAL] = member->proximal.residual;
    PetscCall(EvaluateTest(dynamics, dynamics->x, &numbers[CK_TEST_LOSS], &numbers[CK_TEST_ERROR]));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* dynamics->numbers, of all replicas. */
static PetscErrorCode EvaluateMembers(CkDynamics dynamics)
{
  double *mine;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc1(dynamics->nmembers * CK_NUMBERS, &mine));
  PetscCall(CkDynamicsAgree(dynamics, EvaluateMine(dynamics, mine)));
  PetscCall(CkReplicasGather(dynamics->replicas, CK_NUMBERS, mine, dynamics->numbers));
  PetscCall(PetscFree(mine));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Means over the replicas; the test numbers of types that meet are those of the consensus. */
static PetscErrorCode MakeReport(CkDynamics dynamics, CkEpochReport *report)
{
  double         mean[CK_NUMBERS] = {0};
  PetscErrorCode ierr;
  PetscInt       R;

  PetscFunctionBeginUser;
  PetscCall(CkReplicasGetCounts(dynamics->replicas, &R, NULL, NULL, NULL));
  PetscCall(EvaluateMembers(dynamics));
  for (PetscInt i = 0; i < R * CK_NUMBERS; ++i) mean[i % CK_NUMBERS] += dynamics->numbers[i] / (double)R;
  if (dynamics->consensus && dynamics->test) {
    PetscCall(CkDynamicsShowResult(dynamics));
    ierr = EvaluateTest(dynamics, dynamics->consensus, &mean[CK_TEST_LOSS], &mean[CK_TEST_ERROR]);
    PetscCall(CkReplicasAgree(dynamics->replicas, ierr)); /* each group has done the same */
    PetscCall(CkDynamicsSelect(dynamics, 0));
  }
  *report = (CkEpochReport){.epoch = dynamics->epoch,
                            .step = dynamics->step,
                            .loss = mean[CK_LOSS],
                            .error = mean[CK_ERROR],
                            .free_energy = mean[CK_FREE_ENERGY],
                            .iterations = mean[CK_ITERATIONS],
                            .residual = mean[CK_RESIDUAL],
                            .test_loss = mean[CK_TEST_LOSS],
                            .test_error = mean[CK_TEST_ERROR],
                            .rate = dynamics->rate,
                            .seconds = dynamics->seconds};
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode EndEpoch(CkDynamics dynamics)
{
  CkEpochReport report;

  PetscFunctionBeginUser;
  dynamics->position = 0;
  ++dynamics->epoch;
  PetscCall(MakeReport(dynamics, &report));
  dynamics->seconds = 0;
  if (dynamics->monitor) PetscCall(dynamics->monitor(dynamics, &report, dynamics->monitor_context));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The chosen member begins an epoch, if this is where one begins. */
static PetscErrorCode BeginEpoch(CkDynamics dynamics)
{
  PetscFunctionBeginUser;
  if (dynamics->position > 0) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(CkDynamicsDrawOrder(dynamics));
  dynamics->now->loss_sum = 0;
  dynamics->now->correct = dynamics->now->seen = 0;
  dynamics->now->proximal = CkNoProximal();
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* One update of the chosen member by the type. */
static PetscErrorCode UpdateOnce(CkDynamics dynamics, double *time)
{
  CkMember     *now = dynamics->now;
  const CkBatch batch = {.n = PetscMin(dynamics->batch, dynamics->N - dynamics->position),
                         .index = now->order ? now->order + dynamics->position : NULL,
                         .mode = dynamics->mode,
                         .epoch = dynamics->epoch,
                         .step = dynamics->step,
                         .replica = dynamics->replica};
  CkUpdate      update;

  PetscFunctionBeginUser;
  dynamics->rate = CkScheduleRate(&dynamics->schedule, dynamics->step, dynamics->updates);
  update = (CkUpdate){.n = batch.n, .time = dynamics->rate, .proximal = CkNoProximal()};
  PetscCall(dynamics->type->step(dynamics, &batch, &update));
  PetscCall(UpdateRunningStatistics(dynamics));
  now->loss_sum += (long double)update.mean * update.n;
  now->correct += update.correct;
  now->seen += update.n;
  now->proximal = update.proximal;
  *time = update.time;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Samples of the next updates, all in this epoch. */
static PetscInt CountSamples(CkDynamics dynamics, PetscInt updates)
{
  return (PetscInt)PetscMin((PetscInt64)updates * dynamics->batch, dynamics->N - dynamics->position);
}

/* So many updates are done. time: of each of them; 0: its learning rate. */
static void CountUpdates(CkDynamics dynamics, PetscInt updates, double time)
{
  dynamics->position += CountSamples(dynamics, updates);
  for (PetscInt u = 0; u < updates; ++u) { /* one after the other, as updates one by one add them */
    dynamics->rate = CkScheduleRate(&dynamics->schedule, dynamics->step++, dynamics->updates);
    dynamics->time += time > 0 ? time : dynamics->rate;
  }
}

/* Several of the chosen member in one go, all in this epoch. */
static PetscErrorCode UpdateFused(CkDynamics dynamics, PetscInt updates)
{
  CkMember  *now = dynamics->now;
  CkFusedRun run = {.index = now->order + dynamics->position, .loss = now->loss_sum, .correct = now->correct};

  PetscFunctionBeginUser;
  PetscCall(CkFusedPathRun(dynamics->fused, dynamics, updates, &run));
  now->loss_sum = run.loss;
  now->correct = run.correct;
  now->seen += CountSamples(dynamics, run.updates);
  if (run.bad >= 0) CountUpdates(dynamics, run.updates, 0); /* for the message */
  CkCheckAll(dynamics->comm, run.bad < 0, PETSC_ERR_FP,
             "the loss of sample %" PetscInt_FMT " is %g in training (epoch %" PetscInt_FMT ", update %" PetscInt_FMT
             "): if training diverges, lower the learning rate; else look at the data",
             run.bad, CkPlainNan(run.value), dynamics->epoch + 1, dynamics->step + 1);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* time: of an update; fused: its learning rate */
static PetscErrorCode UpdateMembers(CkDynamics dynamics, PetscBool fused, PetscInt updates, double *time)
{
  PetscErrorCode ierr;

  PetscFunctionBeginUser;
  for (PetscInt m = 0; m < dynamics->nmembers; ++m) {
    PetscCall(CkDynamicsSelect(dynamics, m));
    PetscCall(BeginEpoch(dynamics));
    if (fused) PetscCall(UpdateFused(dynamics, updates));
    else PetscCall(UpdateOnce(dynamics, time));
    ierr = CkDynamicsPublish(dynamics, dynamics->x);
    if (ierr)
      CountUpdates(dynamics, updates - 1, 0); /* for the message: after an earlier one no loss would be finite */
    PetscCall(ierr);
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkDynamicsAdvance(CkDynamics dynamics, PetscInt stop)
{
  const PetscBool fused = (PetscBool)(dynamics->fused && CkFusedPathTaken(dynamics->fused));
  const PetscInt  updates = fused ? stop - dynamics->step : 1;
  const double    start = MPI_Wtime();
  double          time = 0;

  PetscFunctionBeginUser;
  PetscCall(CkDynamicsAgree(dynamics, UpdateMembers(dynamics, fused, updates, &time)));
  CountUpdates(dynamics, updates, time);
  if (dynamics->type->meets && dynamics->type->meets(dynamics)) PetscCall(CkDynamicsMeet(dynamics));
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

PetscErrorCode CkDynamicsGetFailure(CkDynamics dynamics, PetscInt *replica, PetscInt *step)
{
  PetscInt    where[2] = {dynamics->failed ? dynamics->replica : -1, dynamics->step};
  PetscMPIInt rank, size, first;
  MPI_Comm    all;

  PetscFunctionBeginUser;
  PetscCall(CkReplicasGetComms(dynamics->replicas, &all, NULL));
  PetscCallMPI(MPI_Comm_rank(all, &rank));
  PetscCallMPI(MPI_Comm_size(all, &size));
  first = dynamics->failed ? rank : size;
  PetscCallMPI(MPI_Allreduce(MPI_IN_PLACE, &first, 1, MPI_INT, MPI_MIN, all));
  PetscCallMPI(MPI_Bcast(where, 2, MPIU_INT, first < size ? first : 0, all));
  *replica = where[0];
  *step = where[1];
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

PetscErrorCode CkDynamicsGetMode(CkDynamics dynamics, CkMode *mode)
{
  PetscFunctionBeginUser;
  *mode = dynamics->mode;
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
  PetscInt              R;

  PetscFunctionBeginUser;
  PetscCheck(dynamics->setup, dynamics->comm, PETSC_ERR_ORDER, "Call CkDynamicsSetUp() first");
  PetscCall(CkReplicasGetCounts(dynamics->replicas, &R, NULL, NULL, NULL));
  *vectors =
    (double)dynamics->nmembers * (1 + (double)(type->countvectors ? type->countvectors(dynamics) : type->vectors)) +
    (type->meets ? 1 : 0);
  *samples = (double)R * (double)dynamics->N * (type->sampling == CK_SAMPLING_COUNT ? (double)dynamics->updates : 1) *
             (type->countgradients ? (double)type->countgradients(dynamics) : 1);
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
  PetscInt          R, groups;

  PetscFunctionBeginUser;
  PetscCheck(dynamics->setup, dynamics->comm, PETSC_ERR_ORDER, "Call CkDynamicsSetUp() first");
  PetscCall(CkReplicasGetCounts(dynamics->replicas, &R, NULL, NULL, &groups));
  PetscCall(dynamics->type->view(dynamics, text, sizeof(text)));
  PetscCall(CkTableRow(rows, "dynamics", "", "%s in %s mode: %s", dynamics->type->name,
                       dynamics->mode == CK_TRAINING ? "training" : "evaluation", text));
  if (R > 1)
    PetscCall(CkTableRow(rows, "replicas", dynamics->consensus ? "coupled" : "independent",
                         "%" PetscInt_FMT " in %" PetscInt_FMT " group%s of ranks, %" PetscInt_FMT " in each", R,
                         groups, CkPlural(groups), dynamics->nmembers));
  CkScheduleFormat(&dynamics->schedule, text, sizeof(text));
  PetscCall(CkTableRow(rows, "learning rate", "", "%s", text));
  PetscCall(CkTableRow(rows, "epochs", "",
                       "%" PetscInt_FMT " of %" PetscInt_FMT " update%s each, batches of %" PetscInt_FMT " %s%s",
                       dynamics->epochs, dynamics->updates, CkPlural(dynamics->updates), dynamics->batch,
                       samples[dynamics->type->sampling],
                       !drawn                     ? ""
                       : dynamics->replacement    ? " with replacement"
                       : dynamics->shuffle == 'o' ? " without replacement, in one order for all epochs"
                       : dynamics->shuffle == 'n' ? " in the order of the data"
                                                  : " without replacement"));
  if (dynamics->fused && CkFusedPathTaken(dynamics->fused))
    PetscCall(CkTableRow(rows, "updates", "-dynamics_fused", "many at once, on one rank"));
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
  PetscCall(CkDynamicsDestroyMembers(p));
  if (!p->borrowed) PetscCall(CkReplicasDestroy(&p->replicas));
  PetscCall(PetscFree(*dynamics));
  PetscFunctionReturn(PETSC_SUCCESS);
}
