/*
  Writes what compare_torch.py checks, for every net of the zoo: torch_dump FOLDER ENGINE...
    FOLDER/<case>.state.h5           weights and running statistics, as any state file
    FOLDER/<case>.data.h5            features, labels, weights of the samples in a training batch, a vector v
    FOLDER/<case>.<engine>.h5        values, per-sample gradients and D v (evaluation mode); gradient, values and batch
                                     statistics of one training step (dropout 0)
*/
#include "nets.h"
#include <clarkia/engine.h>
#include <clarkia/file.h>
#include <clarkia/state.h>

#define SAMPLES 8

typedef struct {
  const char *name, *net, *options;
  CkShape     input;
  PetscInt    classes;
} Case;

static const Case cases[] = {
  {"small-lenet", "small-lenet", "", {1, 28, 28}, 10},
  {"small-fc", "small-fc", "", {1, 7, 7}, 10},
  {"small-fc-mse", "small-fc", "-net_loss mse", {1, 7, 7}, 10},
  {"tiny-fc", "tiny-fc", "", {1, 7, 7}, 5},
  {"small-allcnn", "small-allcnn", "", {3, 32, 32}, 10},
  {"logistic", "logistic", "", {1, 28, 28}, 10},
  {"mlp", "mlp", "", {1, 7, 7}, 10},
  {"mlp-tanh", "mlp", "-net_widths 12,9,8 -net_activation tanh -net_batchnorm -net_bias false", {6, 1, 1}, 3},
  {"mlp-sigmoid", "mlp", "-net_widths 10 -net_activation sigmoid", {6, 1, 1}, 3},
  {"mlp-softplus", "mlp", "-net_widths 10,7 -net_activation softplus -net_loss mse", {6, 1, 1}, 3},
  {"lenet", "lenet", "", {1, 28, 28}, 10},
  {"tiny-lenet", "tiny-lenet", "", {1, 28, 28}, 10},
  {"allcnn", "allcnn", "", {3, 32, 32}, 10},
  {"resnet-A", "resnet", "-net_depth 14", {3, 8, 8}, 10},
  {"resnet-B", "resnet", "-net_depth 8 -net_shortcut B", {3, 8, 12}, 10},
  {"resnet-bottleneck", "resnet", "-net_depth 11 -net_bottleneck", {3, 8, 8}, 10},
  {"preresnet-A", "resnet", "-net_depth 8 -net_preactivation", {3, 8, 8}, 10},
  {"preresnet-bottleneck-B",
   "resnet",
   "-net_depth 20 -net_shortcut B -net_preactivation -net_bottleneck",
   {3, 8, 8},
   10},
  {"wrn", "wrn", "-net_depth 16 -net_widen 2", {3, 8, 8}, 10},
  {"densenet", "densenet", "-net_depth 13 -net_growth 4", {3, 8, 8}, 10},
  {"densenet-BC", "densenet", "-net_depth 16 -net_growth 5 -net_bottleneck -net_compression 0.5", {3, 8, 8}, 10},
};

static CkNet NewNet(const Case *c)
{
  CkNet net;

  OK(PetscOptionsClear(NULL));
  OK(PetscOptionsInsertString(NULL, c->options));
  OK(PetscOptionsSetValue(NULL, "-net", c->net));
  OK(CkNetCreate(PETSC_COMM_WORLD, &net));
  OK(CkNetSetFromOptions(net, c->input, c->classes));
  OK(CkNetSetUp(net));
  OK(PetscOptionsClear(NULL));
  return net;
}

/* PyTorch's default weights, so that activations keep their size through the net, and batch norms away from the
 * identity. */
static void FillState(CkNet net, CkState state)
{
  double            *weights, *buffers, *random_weights, *random_buffers;
  const CkParameter *p;
  PetscInt           n;

  OK(CkStateInitialize(state, 3));
  OK(CkStateGetArrays(state, &weights, &buffers));
  OK(CkNetGetParameters(net, &n, &p));
  NewPoint(net, 4, &random_weights, &random_buffers);
  for (PetscInt t = 0; t < n; ++t) {
    if (p[t].role == CK_ROLE_WEIGHT || p[t].role == CK_ROLE_BIAS) continue;
    if (p[t].trainable) OK(PetscArraycpy(weights + p[t].offset, random_weights + p[t].offset, p[t].size));
    else OK(PetscArraycpy(buffers + p[t].offset, random_buffers + p[t].offset, p[t].size));
  }
  OK(PetscFree(random_weights));
  OK(PetscFree(random_buffers));
}

static void WriteArray(CkFile file, const char path[], CkType type, PetscInt64 rows, PetscInt64 columns,
                       const void *data)
{
  const PetscInt64 shape[2] = {rows, columns};

  OK(CkFileWriteAll(file, path, type, 2, shape, data, "1", "for the comparison with PyTorch"));
}

static void WriteData(const char name[], CkNet net, const TestSamples *s, const double w[], const double v[])
{
  PetscInt64 labels[SAMPLES];
  CkShape    shape;
  PetscInt   d;
  CkFile     file;

  OK(CkNetGetInput(net, &shape));
  OK(CkNetGetDimension(net, &d));
  for (int k = 0; k < SAMPLES; ++k) labels[k] = s->labels[k];
  OK(CkFileCreate(PETSC_COMM_WORLD, name, &file));
  OK(CkFileCreateDataset(file, "/features", CK_F32, 4, (PetscInt64[]){SAMPLES, shape.c, shape.h, shape.w}, "1",
                         "random images"));
  OK(CkFileWriteRows(file, "/features", CK_F32, 0, SAMPLES, s->features));
  WriteArray(file, "/labels", CK_I64, SAMPLES, 1, labels);
  WriteArray(file, "/weights", CK_F64, SAMPLES, 1, w);
  WriteArray(file, "/vector", CK_F64, 1, d, v);
  OK(CkFileCommit(file));
  OK(CkFileDestroy(&file));
}

static CkEngine NewEngine(CkNet net, const char type[], CkState state)
{
  double  *weights, *buffers;
  CkEngine engine;

  OK(CkEngineCreate(net, &engine));
  OK(CkEngineSetType(engine, type));
  OK(CkEngineSetTile(engine, SAMPLES));
  OK(CkEngineSetUp(engine));
  OK(CkStateGetArrays(state, &weights, &buffers));
  OK(CkEngineSetPoint(engine, weights, buffers));
  return engine;
}

/* D v = (1/N) sum_k g_k (s_k - mean of s), s_k = g_k.v, of the loaded samples */
static void WriteProduct(CkFile file, CkEngine engine, PetscInt d, const double v[])
{
  double   S[SAMPLES], mean = 0, *A, *out;
  PetscInt de;

  OK(CkEngineGetSize(engine, &de));
  OK(PetscCalloc2(de, &A, d, &out));
  OK(CkEngineSetColumns(engine, 1, v));
  OK(CkEngineDot(engine, S));
  for (int k = 0; k < SAMPLES; ++k) mean += S[k] / SAMPLES;
  for (int k = 0; k < SAMPLES; ++k) S[k] = (S[k] - mean) / SAMPLES;
  OK(CkEngineAccumulate(engine, 1, S, A));
  OK(CkEngineUnfold(engine, 1, A, out));
  WriteArray(file, "/product", CK_F64, 1, d, out);
  OK(PetscFree2(A, out));
}

static void WriteEvaluation(CkFile file, CkNet net, CkEngine engine, const TestSamples *s, const double v[])
{
  double   f[SAMPLES], *G;
  PetscInt d;

  OK(CkNetGetDimension(net, &d));
  OK(PetscMalloc1(SAMPLES * d, &G));
  OK(CkEngineLoad(engine, SAMPLES, s->features, s->labels, f, NULL));
  OK(CkEngineRows(engine, CK_FLOAT64, G, (size_t)d));
  WriteArray(file, "/values", CK_F64, SAMPLES, 1, f);
  WriteArray(file, "/gradients", CK_F64, SAMPLES, d, G);
  WriteProduct(file, engine, d, v);
  OK(PetscFree(G));
}

static void WriteTraining(CkFile file, CkNet net, CkEngine engine, const TestSamples *s, const double w[])
{
  const CkBatch          batch = {.n = SAMPLES, .mode = CK_TRAINING};
  const PetscInt         first[2] = {0, 5}, size[2] = {5, SAMPLES - 5};
  const double           bound = 1e6;
  const CkTrainingBlocks blocks = {.comm = PETSC_COMM_WORLD,
                                   .batch = &batch,
                                   .group = SAMPLES,
                                   .nblocks = 2,
                                   .first = first,
                                   .size = size,
                                   .features = s->features,
                                   .labels = s->labels,
                                   .weights = w};
  double                 f[SAMPLES], *gradient, *statistics;
  PetscInt               d, nbuffers;
  CkExactSum             sum;

  OK(CkNetGetDimension(net, &d));
  OK(CkNetGetBuffers(net, &nbuffers));
  OK(PetscCalloc2(d, &gradient, nbuffers + 1, &statistics));
  OK(CkExactSumCreate(PETSC_COMM_WORLD, d, 1, &bound, 2, &sum));
  OK(CkEngineTrain(engine, &blocks, f, NULL, statistics, sum));
  OK(CkExactSumReduce(sum, gradient));
  OK(CkExactSumDestroy(&sum));
  WriteArray(file, "/training_values", CK_F64, SAMPLES, 1, f);
  WriteArray(file, "/training_gradient", CK_F64, 1, d, gradient);
  if (nbuffers) WriteArray(file, "/training_statistics", CK_F64, 1, nbuffers, statistics);
  OK(PetscFree2(gradient, statistics));
}

static void WriteCase(const char folder[], const Case *c, int nengines, char *engines[])
{
  CkNet net = NewNet(c);
  /* allcnn has 2.8 million ReLUs in a training batch: with these images none is within 5e-7 of its kink, where float32
     may take the other side */
  TestSamples s = NewSamples(net, strcmp(c->name, "allcnn") ? 5 : 13, SAMPLES);
  double     *w = NewNormals(6, SAMPLES), *v;
  char        name[PETSC_MAX_PATH_LEN];
  CkState     state;
  PetscInt    d;

  OK(CkNetGetDimension(net, &d));
  v = NewNormals(7, (size_t)d);
  OK(CkStateCreate(PETSC_COMM_WORLD, net, &state));
  FillState(net, state);
  OK(PetscSNPrintf(name, sizeof(name), "%s/%s.state.h5", folder, c->name));
  OK(CkStateWrite(state, name, 0, 0));
  OK(PetscSNPrintf(name, sizeof(name), "%s/%s.data.h5", folder, c->name));
  WriteData(name, net, &s, w, v);
  for (int e = 0; e < nengines; ++e) {
    CkEngine engine;
    CkFile   file;

    /* too many operations for it */
    if (!strcmp(c->name, "allcnn") && !strcmp(engines[e], "reference")) continue;
    engine = NewEngine(net, engines[e], state);
    OK(PetscSNPrintf(name, sizeof(name), "%s/%s.%s.h5", folder, c->name, engines[e]));
    OK(CkFileCreate(PETSC_COMM_WORLD, name, &file));
    WriteEvaluation(file, net, engine, &s, v);
    WriteTraining(file, net, engine, &s, w);
    OK(CkFileCommit(file));
    OK(CkFileDestroy(&file));
    OK(CkEngineDestroy(&engine));
  }
  OK(CkStateDestroy(&state));
  OK(PetscFree(w));
  OK(PetscFree(v));
  FreeSamples(&s);
  OK(CkNetDestroy(&net));
}

int main(int argc, char **argv)
{
  int size;

  OK(PetscInitialize(&argc, &argv, NULL, NULL));
  MPI_Comm_size(PETSC_COMM_WORLD, &size);
  if (argc < 3 || size != 1) {
    fprintf(stderr, "usage, on one rank: torch_dump FOLDER ENGINE...\n");
    MPI_Abort(PETSC_COMM_WORLD, 2);
  }
  for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); ++i) WriteCase(argv[1], &cases[i], argc - 2, argv + 2);
  OK(PetscFinalize());
  return 0;
}
