/* bench.c: `clarkia bench`: how fast the pieces of a run are on this machine, beside another program's figures. */
#include "bench.h"
#include <clarkia/command.h>
#include <clarkia/error.h>
#include <clarkia/options.h>
#include <petscviewer.h>
#include <string.h>

static const CkOption table[] = {
  {"bench_repeats", CK_OPTION_INT, "5", 1, 1000, NULL,
   "timed calls of each piece, after one that is not; the median is shown"},
  {"bench_columns", CK_OPTION_INT, "32", 1, 4096, NULL, "columns of the block product with D"},
  {"bench_order", CK_OPTION_INT, "1024", 1, 30000, NULL, "order of the dense matrices; R'R has twice that"},
  {"bench_peer", CK_OPTION_FILE, NULL, 0, 0, NULL,
   "JSON file with another program's seconds per sample (tests/bench/torch_reference.py), to be set beside ours"},
  {0}};

/* What is measured when nothing else is asked for. */
static const char *const defaults[][2] = {{"data", "synthetic"},
                                          {"data_shape", "1,28,28"},
                                          {"data_classes", "10"},
                                          {"data_count", "2048"},
                                          {"net", "small-lenet"}};

static PetscErrorCode RegisterOptions(void)
{
  PetscFunctionBeginUser;
  PetscCall(CkProblemRegisterOptions());
  PetscCall(CkDiffusionRegisterOptions());
  PetscCall(CkDynamicsRegisterOptions());
  PetscCall(CkOptionsRegister("Bench", table));
  PetscCall(CkBenchPredictionRegisterOptions());
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Without -data, synthetic images of MNIST's shape; without -net as well, small-lenet. */
static PetscErrorCode SetDefaults(void)
{
  char      text[32];
  PetscBool data, net;

  PetscFunctionBeginUser;
  PetscCall(PetscOptionsHasName(NULL, NULL, "-data", &data));
  PetscCall(PetscOptionsHasName(NULL, NULL, "-net", &net));
  for (size_t i = 0; i < PETSC_STATIC_ARRAY_LENGTH(defaults); ++i) {
    const PetscBool is_net = (PetscBool)(defaults[i][0][0] == 'n');
    PetscBool       set;

    PetscCall(PetscSNPrintf(text, sizeof(text), "-%s", defaults[i][0]));
    PetscCall(PetscOptionsHasName(NULL, NULL, text, &set));
    if (!set && !(is_net ? net : data)) PetscCall(PetscOptionsSetValue(NULL, text, defaults[i][1]));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The batches of training, where the user has not chosen: those of a training run, but not more samples than there are,
   and none of one sample, which batch norm cannot normalise. */
static PetscErrorCode SetBatch(PetscInt N)
{
  char      text[32];
  PetscInt  batch;
  PetscBool given;

  PetscFunctionBeginUser;
  PetscCall(CkOptionsGetInt("dynamics_batch", &batch, &given));
  if (given) PetscFunctionReturn(PETSC_SUCCESS);
  batch = PetscMin(batch, N);
  while (batch > 2 && N % batch == 1) --batch;
  PetscCall(PetscSNPrintf(text, sizeof(text), "%" PetscInt_FMT, batch));
  PetscCall(PetscOptionsSetValue(NULL, "-dynamics_batch", text));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The peer's file as an options database of its own: JSON is YAML, nested keys are joined by '_'. */
static PetscErrorCode ReadPeer(MPI_Comm comm, PetscOptions *peer)
{
  char           file[PETSC_MAX_PATH_LEN];
  PetscErrorCode ierr;
  PetscBool      exists, known = PETSC_FALSE;

  PetscFunctionBeginUser;
  *peer = NULL;
  PetscCall(CkOptionsGetString("bench_peer", file, sizeof(file), NULL));
  if (!file[0]) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(PetscTestFile(file, 'r', &exists));
  CkCheckAll(comm, exists, PETSC_ERR_FILE_OPEN, "-bench_peer %s: there is no such file, or it cannot be read", file);
  PetscCall(PetscOptionsCreate(peer));
  PetscCall(PetscPushErrorHandler(PetscReturnErrorHandler, NULL));
  ierr = PetscOptionsInsertFileYAML(comm, *peer, file, PETSC_TRUE);
  PetscCall(PetscPopErrorHandler());
  CkCheckAll(comm, !ierr, PETSC_ERR_FILE_UNEXPECTED, "-bench_peer %s: not a JSON file", file);
  for (const CkBenchTask *task = ck_bench_tasks; task->key; ++task) {
    char      name[128];
    PetscBool set = PETSC_FALSE;

    if (!task->peer) continue;
    PetscCall(PetscSNPrintf(name, sizeof(name), "-%s_seconds_per_sample", task->peer));
    PetscCall(PetscOptionsHasName(*peer, NULL, name, &set));
    if (set) known = PETSC_TRUE;
  }
  CkCheckAll(
    comm, known, PETSC_ERR_FILE_UNEXPECTED,
    "-bench_peer %s: no figure in it is one of ours; expected {\"diffusion_product\": {\"seconds_per_sample\": "
    "..}, ..} as tests/bench/torch_reference.py prints",
    file);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Seconds of the slowest rank for each timed call. */
static PetscErrorCode Measure(CkBench *bench, const CkBenchTask *task, CkBenchAmount *amount, double seconds[])
{
  PetscFunctionBeginUser;
  *amount = (CkBenchAmount){.products = 1};
  PetscCall(task->prepare(bench, amount));
  PetscCall(task->work(bench));
  for (PetscInt i = 0; i < bench->repeats; ++i) {
    double start;

    PetscCallMPI(MPI_Barrier(bench->comm));
    start = MPI_Wtime();
    PetscCall(task->work(bench));
    seconds[i] = MPI_Wtime() - start;
    PetscCallMPI(MPI_Allreduce(MPI_IN_PLACE, &seconds[i], 1, MPI_DOUBLE, MPI_MAX, bench->comm));
  }
  PetscCall(task->finish(bench));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkBenchMedian(PetscInt n, const double seconds[], double *median)
{
  PetscReal *sorted;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc1(n, &sorted));
  PetscCall(PetscArraycpy(sorted, seconds, n));
  PetscCall(PetscSortReal(n, sorted));
  *median = (sorted[(n - 1) / 2] + sorted[n / 2]) / 2;
  PetscCall(PetscFree(sorted));
  PetscFunctionReturn(PETSC_SUCCESS);
}

const CkBenchTask *CkBenchFindTask(const char key[])
{
  const CkBenchTask *task = ck_bench_tasks;

  while (task->key && strcmp(task->key, key) != 0) ++task;
  return task;
}

double CkBenchRate(const CkBench *bench, const char key[])
{
  const CkBenchResult *result = &bench->results[CkBenchFindTask(key) - ck_bench_tasks];

  return result->median > 0 ? result->amount.operations / result->median / bench->ranks : 0;
}

/* One row: a rate, the time behind it, and the peer's where it has one. */
static PetscErrorCode Report(const CkBench *bench, CkTable rows, PetscOptions peer, const CkBenchTask *task)
{
  const CkBenchResult *result = &bench->results[task - ck_bench_tasks];
  const CkBenchAmount *amount = &result->amount;
  const double         median = result->median;

  char      note[160] = "", name[128];
  double    each, other;
  PetscBool set = PETSC_FALSE;

  PetscFunctionBeginUser;
  if (amount->operations > 0) {
    if (task->convolution)
      PetscCall(PetscSNPrintf(note, sizeof(note), "%" PetscInt_FMT " shapes, %.3g%% of the net's convolutions",
                              bench->nshapes, 100 * bench->covered));
    PetscCall(CkTableRow(rows, task->title, note, "%.4g GFLOP/s", 1e-9 * amount->operations / median));
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  each = median / (amount->samples * amount->products);
  if (peer && task->peer) {
    PetscCall(PetscSNPrintf(name, sizeof(name), "-%s_seconds_per_sample", task->peer));
    PetscCall(PetscOptionsGetReal(peer, NULL, name, &other, &set));
  }
  if (set) PetscCall(PetscSNPrintf(note, sizeof(note), "peer %.4g us: %.3g times its rate", 1e6 * other, other / each));
  PetscCall(CkTableRow(rows, task->title, note, "%.4g samples/s, %.4g us each", 1 / each, 1e6 * each));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode WriteTask(CkFile file, const CkBench *bench, const CkBenchTask *task, const double seconds[])
{
  const CkBenchAmount *amount = &bench->results[task - ck_bench_tasks].amount;
  const PetscInt64     shape[] = {bench->repeats};
  char                 path[64];

  PetscFunctionBeginUser;
  PetscCall(PetscSNPrintf(path, sizeof(path), "/bench/%s", task->key));
  PetscCall(CkFileWriteAll(file, path, CK_F64, 1, shape, seconds, "s", task->title));
  PetscCall(CkFileWriteReal(file, path, "samples", amount->samples));
  PetscCall(CkFileWriteReal(file, path, "products", amount->products));
  PetscCall(CkFileWriteReal(file, path, "operations", amount->operations));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode RunTasks(CkBench *bench, CkTable rows, PetscOptions peer, CkFile file)
{
  double *seconds;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc1(bench->repeats, &seconds));
  for (const CkBenchTask *task = ck_bench_tasks; task->key; ++task) {
    CkBenchResult *result = &bench->results[task - ck_bench_tasks];

    if (task->convolution && bench->nshapes == 0) continue;
    PetscCall(Measure(bench, task, &result->amount, seconds));
    PetscCall(CkBenchMedian(bench->repeats, seconds, &result->median));
    PetscCall(Report(bench, rows, peer, task));
    if (file) PetscCall(WriteTask(file, bench, task, seconds));
  }
  PetscCall(PetscFree(seconds));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Phases of a pass with one column and with a block of them, and what the latter would take on other numbers of ranks.
 */
static PetscErrorCode RunPasses(CkBench *bench, CkFile file)
{
  static const char *const keys[] = {"product", "block"};

  PetscFunctionBeginUser;
  for (size_t i = 0; i < PETSC_STATIC_ARRAY_LENGTH(keys); ++i) {
    CkBenchPass pass;

    PetscCall(CkBenchPassMeasure(bench, keys[i], &pass));
    PetscCall(CkBenchPassPrint(bench, &pass));
    if (file) PetscCall(CkBenchPassWrite(bench, &pass, file));
    if (i + 1 == PETSC_STATIC_ARRAY_LENGTH(keys)) PetscCall(CkBenchPredictionRun(bench, &pass, file));
    PetscCall(CkBenchPassDestroy(&pass));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Peak memory so far, of all ranks and of the largest. */
static PetscErrorCode ReportMemory(CkBench *bench, CkTable rows, CkFile file)
{
  double all, most = CkMemoryPeak();
  char   text[2][32];

  PetscFunctionBeginUser;
  PetscCall(CkMemoryPeakAll(bench->comm, &all));
  PetscCallMPI(MPI_Allreduce(MPI_IN_PLACE, &most, 1, MPI_DOUBLE, MPI_MAX, bench->comm));
  CkFormatBytes(all, text[0]);
  CkFormatBytes(most, text[1]);
  PetscCall(CkTableRow(rows, "peak memory", "all ranks; what they share counts for each", "%s, the largest rank %s",
                       text[0], text[1]));
  if (!file) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(CkFileWriteReal(file, "/", "memory_peak", all));
  PetscCall(CkFileWriteReal(file, "/", "memory_peak_rank", most));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Owns rows. */
static PetscErrorCode RunToFile(CkBench *bench, CkTable rows, PetscOptions peer)
{
  char   output[PETSC_MAX_PATH_LEN];
  CkFile file = NULL;

  PetscFunctionBeginUser;
  PetscCall(CkOptionsGetString("output", output, sizeof(output), NULL));
  if (output[0]) {
    PetscCall(CkFileCreate(bench->comm, output, &file));
    PetscCall(CkFileWriteString(file, "/", "kind", "bench"));
    PetscCall(CkFileCreateGroup(file, "/bench"));
  }
  PetscCall(RunTasks(bench, rows, peer, file));
  PetscCall(ReportMemory(bench, rows, file));
  PetscCall(CkTableDestroy(&rows)); /* before those of the passes */
  PetscCall(CkLossView(bench->problem.loss));
  PetscCall(RunPasses(bench, file));
  if (file) {
    PetscCall(CkFileWriteProvenance(file));
    PetscCall(CkFileCommit(file));
  }
  PetscCall(CkFileDestroy(&file));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Bytes per rank: the samples and the engine throughout, and of the pieces the greatest: three dense matrices, or a
   block product's vectors and a tile of gradients. */
static PetscErrorCode Memory(const CkBench *bench, double *data, double *pieces)
{
  const double order = (double)bench->order, d = (double)bench->d;
  CkBlocks     blocks;
  CkEngine     engine;
  double       bytes;

  PetscFunctionBeginUser;
  PetscCall(CkLossGetBlocks(bench->problem.loss, bench->N, &blocks));
  PetscCall(CkLossGetEngine(bench->problem.loss, &engine));
  PetscCall(CkEngineGetCost(engine, &bytes, NULL, NULL, NULL, NULL));
  PetscCall(CkProblemDataMemory(&bench->problem, data));
  *pieces = bytes + PetscMax(24 * order * order, 16 * (double)bench->columns * d + 4 * (double)blocks.tile * d);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode CheckMemory(const CkBench *bench)
{
  double data, pieces;

  PetscFunctionBeginUser;
  PetscCall(Memory(bench, &data, &pieces));
  PetscCall(CkMemoryCheck(bench->comm, data + pieces, "the bench",
                          data > pieces ? "the samples take most of it: use fewer (-data_count), or raise -memory_limit"
                                        : "give a smaller -bench_order or -bench_columns, or raise -memory_limit"));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* What a run would do: memory, and floating-point operations of one call of each piece on all ranks, of which a run
   makes one more than -bench_repeats; D v and D V as often again for their phases. */
static PetscErrorCode PrintPlan(const CkBench *bench, CkTable rows)
{
  const double N = (double)bench->N, order = (double)bench->order;
  CkEngine     engine;
  double       data, pieces, forward, load, row, dot, accumulate;
  char         bytes[3][32];

  PetscFunctionBeginUser;
  PetscCall(Memory(bench, &data, &pieces));
  CkFormatBytes(data + pieces, bytes[0]);
  CkFormatBytes(data, bytes[1]);
  CkFormatBytes(pieces, bytes[2]);
  PetscCall(
    CkTableRow(rows, "memory", "", "about %s a rank: data %s, engine and pieces %s", bytes[0], bytes[1], bytes[2]));
  PetscCall(CkNetGetFlops(bench->problem.net, &forward));
  PetscCall(CkLossGetEngine(bench->problem.loss, &engine));
  PetscCall(CkEngineGetCost(engine, NULL, &load, &row, &dot, &accumulate));
  PetscCall(
    CkTableRow(rows, "calls of each piece", "twice as many of D v and D V", "%" PetscInt_FMT, bench->repeats + 1));
  PetscCall(
    CkTableRow(rows, "operations of a call", "dgemm, sgemm, each", "%.4g", 2 * order * order * order * bench->ranks));
  if (bench->nshapes > 0)
    PetscCall(CkTableRow(rows, "", "oneDNN's convolutions, each", "%.4g", CkBenchConvolutionOperations(bench)));
  PetscCall(CkTableRow(rows, "", "losses", "%.4g", N * forward));
  PetscCall(CkTableRow(rows, "", "per-sample gradients", "%.4g", N * (load + row)));
  PetscCall(CkTableRow(rows, "", "D v", "%.4g", N * (load + dot + accumulate)));
  PetscCall(CkTableRow(rows, "", "D V, block", "%.4g", N * (load + (double)bench->columns * (dot + accumulate))));
  PetscCall(CkTableRow(rows, "", "training, one epoch", "%.4g", 3 * N * forward));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Of the keys of D those of its Gram matrix, which is not assembled here. */
static PetscErrorCode CheckEffect(MPI_Comm comm)
{
  static const char *const keys[] = {"-noise_checkpoint", "-noise_checkpoint_interval", "-noise_gram_precision"};

  PetscFunctionBeginUser;
  for (size_t i = 0; i < PETSC_STATIC_ARRAY_LENGTH(keys); ++i) {
    PetscBool given;

    PetscCall(PetscOptionsHasName(NULL, NULL, keys[i], &given));
    CkCheckAll(comm, !given, PETSC_ERR_ARG_INCOMP,
               "%s has no effect in bench, which assembles no Gram matrix: leave it out", keys[i]);
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Run(MPI_Comm comm)
{
  CkBench      bench = {.comm = comm};
  PetscOptions peer;
  PetscBool    dry_run;
  size_t       ntasks = 0;
  CkTable      rows;

  PetscFunctionBeginUser;
  PetscCall(CheckEffect(comm));
  PetscCall(SetDefaults());
  PetscCall(CkOptionsGetBool("dry_run", &dry_run, NULL));
  PetscCall(CkOptionsGetInt("bench_repeats", &bench.repeats, NULL));
  PetscCall(CkOptionsGetInt("bench_columns", &bench.columns, NULL));
  PetscCall(CkOptionsGetInt("bench_order", &bench.order, NULL));
  PetscCallMPI(MPI_Comm_size(comm, &bench.ranks));
  PetscCall(ReadPeer(comm, &peer));
  PetscCall(CkBenchPredictionCheck());
  PetscCall(CkProblemCreate(comm, (PetscBool)!dry_run, &bench.problem));
  PetscCall(CkLossGetSamples(bench.problem.loss, &bench.N));
  PetscCall(CkLossGetDimension(bench.problem.loss, &bench.d));
  PetscCall(CheckMemory(&bench));
  PetscCall(SetBatch(bench.N));
  PetscCall(CkBenchFindShapes(&bench));
  while (ck_bench_tasks[ntasks].key) ++ntasks;
  PetscCall(PetscCalloc1(ntasks, &bench.results));
  PetscCall(CkDiffusionCreate(bench.problem.loss, &bench.D));
  PetscCall(CkDiffusionSetFromOptions(bench.D));
  PetscCall(CkTableCreate(comm, "Bench", &rows));
  PetscCall(CkProblemDescribe(&bench.problem, rows));
  if (dry_run) {
    PetscCall(PrintPlan(&bench, rows));
    PetscCall(CkTableDestroy(&rows));
  } else PetscCall(RunToFile(&bench, rows, peer));
  PetscCall(PetscFree(bench.results));
  PetscCall(CkDiffusionDestroy(&bench.D));
  PetscCall(CkProblemDestroy(&bench.problem));
  PetscCall(PetscOptionsDestroy(&peer));
  PetscFunctionReturn(PETSC_SUCCESS);
}

const CkCommand ck_command_bench = {
  .name = "bench",
  .summary = "time the pieces of a run and the phases of a pass beside the machine's own rates; predict more ranks",
  .example = "clarkia bench -net small-lenet -bench_repeats 5",
  .register_options = RegisterOptions,
  .run = Run};
