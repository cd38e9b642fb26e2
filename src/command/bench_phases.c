/* bench_phases.c: where the time of a pass goes. */
#include "bench.h"
#include <clarkia/error.h>

typedef struct {
  const char    *key, *title;
  PetscLogEvent *event;   /* NULL: what no event accounts for */
  PetscBool      divided; /* among the ranks, in proportion to their samples */
  const char    *rate;    /* task whose rate its operations are compared with, where the net has convolutions */
} Phase;

static const Phase phases[CK_BENCH_PHASES] = {
  [CK_BENCH_COLUMNS] = {"columns", "vectors, to the engine and back", &CK_Columns, PETSC_FALSE, NULL},
  [CK_BENCH_SAMPLES] = {"samples", "reading samples", &CK_Samples, PETSC_TRUE, NULL},
  [CK_BENCH_FORWARD] = {"forward", "forward", &CK_Forward, PETSC_TRUE, "convolution_forward"},
  [CK_BENCH_BACKWARD] = {"backward", "backward: inputs", &CK_Backward, PETSC_TRUE, "convolution_input"},
  [CK_BENCH_GRADIENT] = {"gradient", "backward: per-sample weights", &CK_Gradient, PETSC_TRUE, "convolution_weights"},
  [CK_BENCH_DOT] = {"dot", "products with the columns", &CK_Dot, PETSC_TRUE, "sgemm"},
  [CK_BENCH_ACCUMULATE] = {"accumulate", "accumulation", &CK_Accumulate, PETSC_TRUE, "sgemm"},
  [CK_BENCH_FLUSH] = {"flush", "exact sums, a flush a sum block", &CK_Flush, PETSC_TRUE, NULL},
  [CK_BENCH_WAIT] = {"wait", "waiting for the slowest rank", &CK_Wait, PETSC_FALSE, NULL},
  [CK_BENCH_REDUCE] = {"reduce", "reduction, communication", &CK_Reduce, PETSC_FALSE, NULL},
  [CK_BENCH_OTHER] = {"other", "unaccounted", NULL, PETSC_FALSE, NULL}};

/* Seconds and operations that the events have counted on this rank so far. */
static PetscErrorCode ReadEvents(double seconds[CK_BENCH_PHASES], double operations[CK_BENCH_PHASES])
{
  PetscFunctionBeginUser;
  for (int p = 0; p < CK_BENCH_OTHER; ++p) {
    PetscEventPerfInfo info;

    PetscCall(PetscLogEventGetPerfInfo(PETSC_DETERMINE, *phases[p].event, &info));
    seconds[p] = info.time;
    operations[p] = info.flops;
  }
  seconds[CK_BENCH_OTHER] = operations[CK_BENCH_OTHER] = 0;
  /* gradients are part of the backward pass */
  seconds[CK_BENCH_BACKWARD] -= seconds[CK_BENCH_GRADIENT];
  operations[CK_BENCH_BACKWARD] -= operations[CK_BENCH_GRADIENT];
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* One call: seconds of this rank's phases and, returned, of the slowest rank. */
static PetscErrorCode Call(CkBench *bench, const CkBenchTask *task, double mine[], double operations[], double *slowest)
{
  double before[CK_BENCH_PHASES], operations_before[CK_BENCH_PHASES], start, all;

  PetscFunctionBeginUser;
  PetscCall(ReadEvents(before, operations_before));
  PetscCallMPI(MPI_Barrier(bench->comm));
  start = MPI_Wtime();
  PetscCall(task->work(bench));
  all = MPI_Wtime() - start;
  PetscCallMPI(MPI_Allreduce(&all, slowest, 1, MPI_DOUBLE, MPI_MAX, bench->comm));
  PetscCall(ReadEvents(mine, operations));
  mine[CK_BENCH_OTHER] = all;
  for (int p = 0; p < CK_BENCH_OTHER; ++p) {
    mine[p] -= before[p];
    operations[p] -= operations_before[p];
    mine[CK_BENCH_OTHER] -= mine[p];
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* All repeats; kept is the one whose time is the median (of an even number the smaller of two). */
static PetscErrorCode Repeat(CkBench *bench, CkBenchPass *pass)
{
  double(*times)[CK_BENCH_PHASES], operations[CK_BENCH_PHASES];
  PetscReal *slowest;
  PetscInt  *order, median;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc3(bench->repeats, &times, bench->repeats, &slowest, bench->repeats, &order));
  PetscCall(pass->task->work(bench));
  for (PetscInt r = 0; r < bench->repeats; ++r) {
    order[r] = r;
    PetscCall(Call(bench, pass->task, times[r], operations, &slowest[r]));
  }
  PetscCall(PetscSortRealWithPermutation(bench->repeats, slowest, order));
  median = order[(bench->repeats - 1) / 2];
  pass->seconds = slowest[median];
  PetscCallMPI(
    MPI_Allgather(times[median], CK_BENCH_PHASES, MPI_DOUBLE, pass->phase, CK_BENCH_PHASES, MPI_DOUBLE, bench->comm));
  PetscCallMPI(MPI_Allreduce(operations, pass->operations, CK_BENCH_PHASES, MPI_DOUBLE, MPI_SUM, bench->comm));
  PetscCall(PetscFree3(times, slowest, order));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* PETSc's events count from here on; those of -log_view do already. */
static PetscErrorCode StartEvents(PetscBool *started)
{
  PetscFunctionBeginUser;
  *started = (PetscBool)!PetscLogPLB;
  if (*started) PetscCall(PetscLogDefaultBegin());
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkBenchPassMeasure(CkBench *bench, const char task[], CkBenchPass *pass)
{
  PetscBool started;
  double    bytes;

  PetscFunctionBeginUser;
  *pass = (CkBenchPass){.task = CkBenchFindTask(task), .amount = {.products = 1}};
  PetscCall(PetscMalloc1((size_t)bench->ranks * CK_BENCH_PHASES, &pass->phase));
  PetscCall(pass->task->prepare(bench, &pass->amount));
  PetscCall(CkDiffusionProductCost(bench->D, (PetscInt)pass->amount.products, &bytes, &pass->passes));
  PetscCall(StartEvents(&started));
  PetscCall(Repeat(bench, pass));
  if (started) PetscCall(PetscLogSet(NULL, NULL));
  PetscCall(pass->task->finish(bench));
  CkCheckAll(bench->comm, pass->operations[CK_BENCH_FORWARD] > 0, PETSC_ERR_ARG_INCOMP,
             "the phases of a pass cannot be told apart while PETSc logs in another form than -log_view's: leave out "
             "-log_trace, or the xml, flamegraph or nested form of -log_view");
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkBenchPassDestroy(CkBenchPass *pass)
{
  PetscFunctionBeginUser;
  PetscCall(PetscFree(pass->phase));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Mean over ranks. */
static double Mean(const CkBench *bench, const CkBenchPass *pass, int phase)
{
  double sum = 0;

  for (PetscMPIInt r = 0; r < bench->ranks; ++r) sum += pass->phase[r * CK_BENCH_PHASES + phase];
  return sum / bench->ranks;
}

void CkBenchPassWork(const CkBench *bench, const CkBenchPass *pass, double *all, double *busiest)
{
  *all = *busiest = 0;
  for (PetscMPIInt r = 0; r < bench->ranks; ++r) {
    double mine = 0;

    for (int p = 0; p < CK_BENCH_PHASES; ++p) mine += phases[p].divided ? pass->phase[r * CK_BENCH_PHASES + p] : 0;
    *all += mine;
    *busiest = PetscMax(*busiest, mine);
  }
}

/* What the machine does at best in operations of this phase, per second and rank; 0: nothing to compare with. Weights
   of all samples at once or sample by sample, whichever is faster here; nets without convolutions: products of
   matrices. */
static double MachineRate(const CkBench *bench, int phase)
{
  double rate;

  if (!phases[phase].rate) return 0;
  rate = CkBenchRate(bench, phases[phase].rate);
  if (phase == CK_BENCH_GRADIENT) rate = PetscMax(rate, CkBenchRate(bench, "convolution_sample_weights"));
  return rate > 0 ? rate : CkBenchRate(bench, "sgemm");
}

/* The share of a call's time that forward, backward and weight gradients, or all operations, take at the machine's own
   rates. */
static double Reached(const CkBench *bench, const CkBenchPass *pass, PetscBool all)
{
  double ideal = 0;

  for (int p = 0; p < CK_BENCH_PHASES; ++p) {
    const double    rate = MachineRate(bench, p);
    const PetscBool counts = (PetscBool)(all || (p != CK_BENCH_DOT && p != CK_BENCH_ACCUMULATE));

    if (rate > 0 && counts) ideal += pass->operations[p] / (rate * bench->ranks);
  }
  return ideal / pass->seconds;
}

static PetscErrorCode PrintPhase(const CkBench *bench, const CkBenchPass *pass, int p, double all, CkTable rows)
{
  const double seconds = Mean(bench, pass, p), machine = MachineRate(bench, p);
  char         note[160] = "";
  double       rate;

  PetscFunctionBeginUser;
  if (pass->operations[p] > 0 && seconds > 0) {
    rate = pass->operations[p] / bench->ranks / seconds;
    PetscCall(PetscSNPrintf(note, sizeof(note), "%.4g GFLOP/s a rank", 1e-9 * rate));
    if (machine > 0)
      PetscCall(PetscSNPrintf(note, sizeof(note), "%.4g GFLOP/s a rank, %.3g%% of %.4g", 1e-9 * rate,
                              100 * rate / machine, 1e-9 * machine));
  }
  PetscCall(
    CkTableRow(rows, phases[p].title, note, "%10.4g ms  %5.1f%%", 1e3 * seconds / pass->passes, 100 * seconds / all));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkBenchPassPrint(const CkBench *bench, const CkBenchPass *pass)
{
  const PetscInt columns = (PetscInt)pass->amount.products;
  char           title[128];
  double         all = 0, work, busiest;
  CkTable        rows;

  PetscFunctionBeginUser;
  PetscCall(
    PetscSNPrintf(title, sizeof(title), "Phases of a pass, %" PetscInt_FMT " column%s", columns, CkPlural(columns)));
  PetscCall(CkTableCreate(bench->comm, title, &rows));
  if (pass->passes > 1) PetscCall(CkTableRow(rows, "passes", "for all columns", "%g", pass->passes));
  PetscCall(CkTableRow(rows, "time of a pass", "slowest rank", "%10.4g ms", 1e3 * pass->seconds / pass->passes));
  for (int p = 0; p < CK_BENCH_PHASES; ++p) all += Mean(bench, pass, p);
  for (int p = 0; p < CK_BENCH_PHASES; ++p) PetscCall(PrintPhase(bench, pass, p, all, rows));
  CkBenchPassWork(bench, pass, &work, &busiest);
  PetscCall(CkTableRow(rows, "work divided among ranks", "the busiest rank / the mean of ranks", "%.4g",
                       busiest * bench->ranks / work));
  PetscCall(CkTableRow(rows, "parallel efficiency", "divided work in the ranks' time", "%.3g%%",
                       100 * work / (bench->ranks * pass->seconds)));
  PetscCall(CkTableRow(rows, bench->nshapes > 0 ? "of the convolution rate" : "of the rate of sgemm",
                       "forward, both backward parts at the machine's rates / time of the pass", "%.3g%%",
                       100 * Reached(bench, pass, PETSC_FALSE)));
  PetscCall(CkTableRow(rows, "of the machine's rates", "the same with the products of the columns", "%.3g%%",
                       100 * Reached(bench, pass, PETSC_TRUE)));
  PetscCall(CkTableDestroy(&rows));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkBenchPassWrite(const CkBench *bench, const CkBenchPass *pass, CkFile file)
{
  const PetscInt64 shape[] = {bench->ranks};
  double          *seconds;
  char             group[64], path[128];

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc1(bench->ranks, &seconds));
  PetscCall(PetscSNPrintf(group, sizeof(group), "/phases/%s", pass->task->key));
  PetscCall(CkFileCreateGroup(file, group));
  for (int p = 0; p < CK_BENCH_PHASES; ++p) {
    for (PetscMPIInt r = 0; r < bench->ranks; ++r) seconds[r] = pass->phase[r * CK_BENCH_PHASES + p];
    PetscCall(PetscSNPrintf(path, sizeof(path), "%s/%s", group, phases[p].key));
    PetscCall(CkFileWriteAll(file, path, CK_F64, 1, shape, seconds, "s", phases[p].title));
    PetscCall(CkFileWriteReal(file, path, "operations", pass->operations[p]));
    PetscCall(CkFileWriteReal(file, path, "machine_rate", MachineRate(bench, p)));
  }
  PetscCall(CkFileWriteReal(file, group, "seconds", pass->seconds));
  PetscCall(CkFileWriteReal(file, group, "passes", pass->passes));
  PetscCall(CkFileWriteReal(file, group, "columns", pass->amount.products));
  PetscCall(CkFileWriteReal(file, group, "convolution_share", Reached(bench, pass, PETSC_FALSE)));
  PetscCall(CkFileWriteReal(file, group, "machine_share", Reached(bench, pass, PETSC_TRUE)));
  PetscCall(PetscFree(seconds));
  PetscFunctionReturn(PETSC_SUCCESS);
}
