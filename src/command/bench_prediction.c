/* bench_prediction.c: what a pass would take on other numbers of ranks, by the model of bench_model.h. */
#include "bench.h"
#include <clarkia/exactsum.h>
#include <clarkia/options.h>

enum { MOST_RANKS = 64, MOST_NUMBER = 10000000 };
/* Numbers of ranks up to which a prediction is an extrapolation by less than this factor. */
enum { FAR = 10 };

static const CkOption table[] = {
  {"bench_predict_ranks", CK_OPTION_INTS, "1,2,4,8,16,32,64,128,256,512,1024,2048,4096", 1, MOST_NUMBER, NULL,
   "numbers of ranks for which the time of a pass is predicted"},
  {"bench_predict_samples", CK_OPTION_INT, "0", 0, 2147483647, NULL,
   "samples of the predicted pass; 0: as many as are measured"},
  {"bench_latency", CK_OPTION_REAL, NULL, 0, 1e9, NULL,
   "microseconds: latency of a message of the network that is predicted; unset: fitted to what is measured"},
  {"bench_bandwidth", CK_OPTION_REAL, NULL, 1e-6, 1e9, NULL,
   "GB/s of the network that is predicted, a rank; unset: fitted to what is measured"},
  {0}};

typedef struct {
  CkBenchScaling   scaling;
  CkBenchAllreduce times;
  double           deviation;              /* median relative one of the fit */
  PetscBool        network;                /* measured between nodes */
  PetscBool        latency, per_byte;      /* given by the user */
  PetscInt         samples, n;             /* of the prediction */
  PetscInt         ranks[MOST_RANKS];      /* [n] */
  double           seconds[MOST_RANKS];    /* [n] */
  double           efficiency[MOST_RANKS]; /* [n] */
} Prediction;

PetscErrorCode CkBenchPredictionRegisterOptions(void)
{
  PetscFunctionBeginUser;
  PetscCall(CkOptionsRegister("Bench: prediction", table));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode ReadOptions(Prediction *p)
{
  PetscFunctionBeginUser;
  p->n = MOST_RANKS;
  PetscCall(CkOptionsGetInts("bench_predict_ranks", p->ranks, &p->n, NULL));
  PetscCall(CkOptionsGetInt("bench_predict_samples", &p->samples, NULL));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkBenchPredictionCheck(void)
{
  Prediction p;

  PetscFunctionBeginUser;
  PetscCall(ReadOptions(&p));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* What a call sends, in Allreduce: vectors are gathered and sums go to one rank each, half an Allreduce, in messages of
   CK_EXACTSUM_CHUNK entries; sums of slopes and the verdict are one more each. */
static PetscErrorCode Traffic(const CkBench *bench, const CkBenchPass *pass, CkBenchScaling *scaling)
{
  const double m = pass->amount.products, columns = m / pass->passes + 1;
  CkEngine     engine;
  CkPrecision  precision;
  PetscInt     de;
  double       entries, limbs;

  PetscFunctionBeginUser;
  PetscCall(CkLossGetEngine(bench->problem.loss, &engine));
  PetscCall(CkEngineGetSize(engine, &de));
  PetscCall(CkLossGetPrecision(bench->problem.loss, &precision));
  limbs = precision == CK_FLOAT64 ? 2 : 1;
  entries = columns * (double)de;
  scaling->messages = m / 2 + pass->passes * (2 + PetscCeilReal(entries / (double)CK_EXACTSUM_CHUNK) / 2);
  scaling->bytes = 8 * (m * (double)bench->d + pass->passes * limbs * entries) / 2;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The network: fitted, unless the user knows it. */
static PetscErrorCode Network(const CkBench *bench, Prediction *p)
{
  PetscReal latency, bandwidth;

  PetscFunctionBeginUser;
  PetscCall(CkBenchAllreduceMeasure(bench->comm, bench->repeats, &p->times, &p->network));
  PetscCall(CkBenchAllreduceFit(&p->times, &p->scaling.latency, &p->scaling.per_byte, &p->deviation));
  PetscCall(CkOptionsGetReal("bench_latency", &latency, &p->latency));
  PetscCall(CkOptionsGetReal("bench_bandwidth", &bandwidth, &p->per_byte));
  if (p->latency) p->scaling.latency = 1e-6 * (double)latency;
  if (p->per_byte) p->scaling.per_byte = 1e-9 / (double)bandwidth;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static const char *Origin(const Prediction *p, PetscBool given)
{
  if (given) return "given";
  if (p->times.n == 0) return "not measured on one rank: run on more, or give -bench_latency and -bench_bandwidth";
  return p->network ? "fitted to Allreduce between nodes" : "fitted to Allreduce within one node, which is no network";
}

static PetscErrorCode PrintInputs(const CkBench *bench, const Prediction *p, CkTable rows)
{
  const CkBenchScaling *s = &p->scaling;
  CkBenchPrediction     here;

  PetscFunctionBeginUser;
  CkBenchPredict(s, s->blocks.n, bench->ranks, &here);
  PetscCall(CkTableRow(rows, "measured: D V", "", "%.4g s on %d rank%s, %" PetscInt_FMT " samples", s->seconds,
                       bench->ranks, CkPlural(bench->ranks), s->blocks.n));
  PetscCall(CkTableRow(rows, "measured: a sample", "divided among ranks in sum blocks", "%.4g ms of a rank",
                       1e3 * s->work / (double)s->blocks.n));
  PetscCall(CkTableRow(rows, "measured: imbalance", "the busiest rank / its share of the sum blocks", "%.4g",
                       CkBenchImbalance(s)));
  PetscCall(CkTableRow(rows, "measured: fixed", "the same on any number of ranks", "%.4g s", here.fixed));
  PetscCall(CkTableRow(rows, "network: latency", Origin(p, p->latency), "%.4g us", 1e6 * s->latency));
  PetscCall(CkTableRow(rows, "network: bandwidth", Origin(p, p->per_byte), s->per_byte > 0 ? "%.4g GB/s" : "unlimited",
                       s->per_byte > 0 ? 1e-9 / s->per_byte : 0));
  if (p->times.n > 0)
    PetscCall(CkTableRow(rows, "fit to Allreduce", "half of the times are closer", "%.3g%%", 100 * p->deviation));
  PetscCall(CkTableRow(rows, "D V sends", "as if all of it were sums over ranks", "%.4g MB in %.4g messages",
                       1e-6 * s->bytes, s->messages));
  PetscCall(CkTableRow(rows, "the model here", "against what was measured", "%.4g s, %.4g times", here.seconds,
                       here.seconds / s->seconds));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Print(const CkBench *bench, const CkBenchPass *pass, Prediction *p)
{
  const double nblocks = PetscCeilReal((double)p->samples / (double)p->scaling.blocks.block);
  char         title[160], name[64];
  CkTable      rows;

  PetscFunctionBeginUser;
  PetscCall(PetscSNPrintf(title, sizeof(title),
                          "Prediction by a model, not measured: D V of %" PetscInt_FMT " column%s, %" PetscInt_FMT
                          " samples",
                          (PetscInt)pass->amount.products, CkPlural((PetscInt64)pass->amount.products), p->samples));
  PetscCall(CkTableCreate(bench->comm, title, &rows));
  PetscCall(PrintInputs(bench, p, rows));
  for (PetscInt i = 0; i < p->n; ++i) {
    const char *note = "";

    if (p->ranks[i] > FAR * bench->ranks) note = "far from what was measured";
    if ((double)p->ranks[i] > nblocks) note = "more ranks than sum blocks: some have nothing to do";
    PetscCall(
      PetscSNPrintf(name, sizeof(name), "predicted: %" PetscInt_FMT " rank%s", p->ranks[i], CkPlural(p->ranks[i])));
    PetscCall(CkTableRow(rows, name, note, "%.4g s, efficiency %.3g%%", p->seconds[i], 100 * p->efficiency[i]));
  }
  PetscCall(CkTableDestroy(&rows));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode WriteAllreduce(const Prediction *p, CkFile file)
{
  const PetscInt64 shape[] = {p->times.n};

  PetscFunctionBeginUser;
  if (p->times.n == 0) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(CkFileWriteAll(file, "/allreduce/ranks", CK_F64, 1, shape, p->times.ranks, "1", "number of ranks"));
  PetscCall(CkFileWriteAll(file, "/allreduce/bytes", CK_F64, 1, shape, p->times.bytes, "B", "size of the message"));
  PetscCall(CkFileWriteAll(file, "/allreduce/seconds", CK_F64, 1, shape, p->times.seconds, "s",
                           "median time of a call of MPI_Allreduce, slowest rank"));
  PetscCall(CkFileWriteReal(file, "/allreduce", "deviation", p->deviation));
  PetscCall(CkFileWriteInt(file, "/allreduce", "network", p->network));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Write(const CkBench *bench, const CkBenchPass *pass, const Prediction *p, CkFile file)
{
  const PetscInt64      shape[] = {p->n};
  const CkBenchScaling *s = &p->scaling;
  PetscInt64            ranks[MOST_RANKS];
  CkBenchPrediction     here;

  PetscFunctionBeginUser;
  CkBenchPredict(s, s->blocks.n, bench->ranks, &here);
  for (PetscInt i = 0; i < p->n; ++i) ranks[i] = p->ranks[i];
  PetscCall(WriteAllreduce(p, file));
  PetscCall(CkFileWriteAll(file, "/prediction/ranks", CK_I64, 1, shape, ranks, "1", "number of ranks"));
  PetscCall(CkFileWriteAll(file, "/prediction/seconds", CK_F64, 1, shape, p->seconds, "s",
                           "predicted by a model, not measured: time of a call"));
  PetscCall(CkFileWriteAll(file, "/prediction/efficiency", CK_F64, 1, shape, p->efficiency, "1",
                           "predicted by a model, not measured: T(1) / (P T(P))"));
  PetscCall(CkFileWriteString(file, "/prediction", "task", pass->task->key));
  PetscCall(CkFileWriteInt(file, "/prediction", "samples", p->samples));
  PetscCall(CkFileWriteInt(file, "/prediction", "sum_block", s->blocks.block));
  PetscCall(CkFileWriteReal(file, "/prediction", "products", pass->amount.products));
  PetscCall(CkFileWriteReal(file, "/prediction", "sample_seconds", s->work / (double)s->blocks.n));
  PetscCall(CkFileWriteReal(file, "/prediction", "imbalance", CkBenchImbalance(s)));
  PetscCall(CkFileWriteReal(file, "/prediction", "fixed_seconds", here.fixed));
  PetscCall(CkFileWriteReal(file, "/prediction", "messages", s->messages));
  PetscCall(CkFileWriteReal(file, "/prediction", "bytes", s->bytes));
  PetscCall(CkFileWriteReal(file, "/prediction", "latency", s->latency));
  PetscCall(CkFileWriteReal(file, "/prediction", "seconds_per_byte", s->per_byte));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkBenchPredictionRun(CkBench *bench, const CkBenchPass *pass, CkFile file)
{
  Prediction p = {.scaling = {.seconds = pass->seconds}};

  PetscFunctionBeginUser;
  PetscCall(ReadOptions(&p));
  if (p.samples == 0) p.samples = bench->N;
  PetscCall(CkLossGetBlocks(bench->problem.loss, bench->N, &p.scaling.blocks));
  CkBenchPassWork(bench, pass, &p.scaling.work, &p.scaling.busiest);
  PetscCall(Traffic(bench, pass, &p.scaling));
  PetscCall(Network(bench, &p));
  for (PetscInt i = 0; i < p.n; ++i) {
    CkBenchPrediction there;

    CkBenchPredict(&p.scaling, p.samples, (PetscMPIInt)p.ranks[i], &there);
    p.seconds[i] = there.seconds;
    p.efficiency[i] = there.efficiency;
  }
  PetscCall(Print(bench, pass, &p));
  if (file) PetscCall(Write(bench, pass, &p, file));
  PetscCall(CkBenchAllreduceFree(&p.times));
  PetscFunctionReturn(PETSC_SUCCESS);
}
