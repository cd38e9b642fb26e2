/* network.c: the loss of a net on a data set; an engine does the work. */
#include "lossimpl.h"
#include <clarkia/options.h>

typedef struct {
  CkData   data; /* borrowed, as the net and the state */
  CkState  state;
  CkEngine engine;
  PetscInt size;    /* numbers in a sample */
  PetscInt buffers; /* running statistics */

  /* Samples of a tile, or of this rank's part of a training batch. */
  PetscInt  room;
  float    *features;
  PetscInt *labels;
  double   *statistics; /* [buffers] */
} Network;

PetscErrorCode CkLossSetNetwork(CkLoss loss, CkNet net, CkData data, CkState state)
{
  Network *network;

  PetscFunctionBeginUser;
  PetscCall(CkLossUseType(loss, CkLossNetwork.name));
  PetscCall(PetscNew(&network));
  network->data = data;
  network->state = state;
  loss->data = network;
  loss->net = net;
  loss->samples = data;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode CheckFit(CkLoss loss, const Network *network)
{
  CkShape  have, want;
  PetscInt classes, outputs;

  PetscFunctionBeginUser;
  PetscCall(CkDataGetShape(network->data, &have));
  PetscCall(CkNetGetInput(loss->net, &want));
  CkCheckAll(loss->comm, have.c == want.c && have.h == want.h && have.w == want.w, PETSC_ERR_ARG_SIZ,
             "samples of %" PetscInt_FMT "x%" PetscInt_FMT "x%" PetscInt_FMT " do not fit the net, whose input is "
             "%" PetscInt_FMT "x%" PetscInt_FMT "x%" PetscInt_FMT " (channels, height, width)",
             have.c, have.h, have.w, want.c, want.h, want.w);
  PetscCall(CkDataGetClasses(network->data, &classes));
  PetscCall(CkNetGetClasses(loss->net, &outputs));
  CkCheckAll(loss->comm, classes <= outputs, PETSC_ERR_ARG_SIZ,
             "the data have %" PetscInt_FMT " classes, but the net has %" PetscInt_FMT " outputs", classes, outputs);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* A tile divides the sum block, so that blocks are cut alike wherever they are computed. */
static PetscErrorCode MakeEngine(CkLoss loss, Network *network)
{
  PetscInt tile;

  PetscFunctionBeginUser;
  PetscCall(CkEngineCreate(loss->net, &network->engine));
  PetscCall(CkEngineSetFromOptions(network->engine));
  PetscCall(CkOptionsGetInt("engine_tile", &tile, NULL));
  tile = PetscMin(tile, loss->sum_block);
  while (loss->sum_block % tile) --tile;
  PetscCall(CkEngineSetTile(network->engine, tile));
  PetscCall(CkEngineSetUp(network->engine));
  PetscCall(CkEngineGetSize(network->engine, &loss->de));
  PetscCall(CkEngineGetPrecision(network->engine, &loss->precision));
  loss->tile = tile;
  loss->engine = network->engine;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode MakeRoom(Network *network, PetscInt samples)
{
  PetscFunctionBeginUser;
  if (samples <= network->room) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(PetscFree2(network->features, network->labels));
  network->room = 0;
  PetscCall(PetscMalloc2((size_t)samples * (size_t)network->size, &network->features, samples, &network->labels));
  network->room = samples;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode NetworkSetUp(CkLoss loss)
{
  Network *network = (Network *)loss->data;
  CkShape  shape;

  PetscFunctionBeginUser;
  PetscCall(CheckFit(loss, network));
  PetscCall(CkNetGetDimension(loss->net, &loss->d));
  PetscCall(CkNetGetBuffers(loss->net, &network->buffers));
  PetscCall(CkNetGetInput(loss->net, &shape));
  PetscCall(CkDataGetSize(network->data, &loss->N));
  network->size = CkShapeSize(shape);
  PetscCall(MakeEngine(loss, network));
  loss->exact = CkEngineHasExact(network->engine);
  PetscCall(MakeRoom(network, loss->tile));
  PetscCall(PetscCalloc1(network->buffers, &network->statistics));
  loss->statistics = network->statistics;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode NetworkDestroy(CkLoss loss)
{
  Network *network = (Network *)loss->data;

  PetscFunctionBeginUser;
  if (!network) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(CkEngineDestroy(&network->engine));
  PetscCall(PetscFree2(network->features, network->labels));
  PetscCall(PetscFree(network->statistics));
  PetscCall(PetscFree(loss->data));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode NetworkView(CkLoss loss)
{
  PetscFunctionBeginUser;
  PetscCall(CkEngineView(((Network *)loss->data)->engine, loss->comm));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode NetworkStartPoint(CkLoss loss, double x[])
{
  double *weights, *buffers;

  PetscFunctionBeginUser;
  PetscCall(CkStateGetArrays(((Network *)loss->data)->state, &weights, &buffers));
  PetscCall(PetscArraycpy(x, weights, loss->d));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode NetworkNameEntry(CkLoss loss, PetscInt entry, char text[], size_t length)
{
  const CkParameter *parameters;
  PetscInt           n;

  PetscFunctionBeginUser;
  PetscCall(CkNetGetParameters(loss->net, &n, &parameters));
  for (PetscInt p = 0; p < n; ++p) {
    const PetscInt at = entry - parameters[p].offset;

    if (parameters[p].trainable && at >= 0 && at < parameters[p].size)
      PetscCall(PetscSNPrintf(text, length, "entry %" PetscInt_FMT " of %s", at, parameters[p].name));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode NetworkSetPoint(CkLoss loss)
{
  Network *network = (Network *)loss->data;
  double  *weights, *buffers;

  PetscFunctionBeginUser;
  PetscCall(CkStateGetArrays(network->state, &weights, &buffers));
  PetscCall(CkEngineSetPoint(network->engine, loss->x, buffers));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode NetworkValues(CkLoss loss, PetscInt n, const PetscInt index[], double values[], int correct[])
{
  Network *network = (Network *)loss->data;

  PetscFunctionBeginUser;
  PetscCall(CkDataFetch(network->data, n, index, network->features, network->labels));
  PetscCall(CkEngineValues(network->engine, n, network->features, network->labels, values, correct));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode NetworkLoad(CkLoss loss, PetscInt n, const PetscInt index[], double values[], int correct[])
{
  Network *network = (Network *)loss->data;

  PetscFunctionBeginUser;
  PetscCall(CkDataFetch(network->data, n, index, network->features, network->labels));
  PetscCall(CkEngineLoad(network->engine, n, network->features, network->labels, values, correct));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode NetworkRows(CkLoss loss, CkPrecision precision, void *G, size_t ld)
{
  PetscFunctionBeginUser;
  PetscCall(CkEngineRows(loss->engine, precision, G, ld));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode NetworkSetRange(CkLoss loss, PetscInt first, PetscInt count)
{
  PetscFunctionBeginUser;
  PetscCall(CkEngineSetRange(loss->engine, first, count));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode NetworkEntries(CkLoss loss, PetscInt first, PetscInt count, void *G, size_t ld)
{
  PetscFunctionBeginUser;
  PetscCall(CkEngineEntries(loss->engine, first, count, G, ld));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode NetworkSquaredNorms(CkLoss loss, double original[], double folded[])
{
  PetscFunctionBeginUser;
  PetscCall(CkEngineSquaredNorms(loss->engine, original, folded));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode NetworkColumnBytes(CkLoss loss, PetscInt m, size_t *bytes)
{
  PetscFunctionBeginUser;
  PetscCall(CkEngineColumnBytes(loss->engine, m, bytes));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode NetworkUseColumns(CkLoss loss, PetscInt m, void *memory)
{
  PetscFunctionBeginUser;
  PetscCall(CkEngineUseColumns(loss->engine, m, memory));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode NetworkPackColumn(CkLoss loss, PetscInt j, const double v[])
{
  PetscFunctionBeginUser;
  PetscCall(CkEnginePackColumn(loss->engine, j, v));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode NetworkDot(CkLoss loss, double S[])
{
  PetscFunctionBeginUser;
  PetscCall(CkEngineDot(loss->engine, S));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode NetworkAccumulate(CkLoss loss, PetscInt m, const double S[], double A[])
{
  PetscFunctionBeginUser;
  PetscCall(CkEngineAccumulate(loss->engine, m, S, A));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode NetworkAccumulateExact(CkLoss loss, PetscInt m, const double S[], CkExactSum sum)
{
  PetscFunctionBeginUser;
  PetscCall(CkEngineAccumulateExact(loss->engine, m, S, sum));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode NetworkUnfold(CkLoss loss, PetscInt m, const double A[], double out[])
{
  PetscFunctionBeginUser;
  PetscCall(CkEngineUnfold(loss->engine, m, A, out));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode NetworkTrain(CkLoss loss, CkTrainingBlocks *blocks, const PetscInt index[], double values[],
                                   int correct[], CkExactSum gradient)
{
  Network *network = (Network *)loss->data;
  PetscInt n = 0;

  PetscFunctionBeginUser;
  for (PetscInt b = 0; b < blocks->nblocks; ++b) n += blocks->size[b];
  PetscCall(MakeRoom(network, n));
  PetscCall(CkDataFetch(network->data, n, index, network->features, network->labels));
  n = 0;
  for (PetscInt b = 0; b < blocks->nblocks; n += blocks->size[b++])
    PetscCall(CkDataAugment(network->data, blocks->seed, blocks->batch, blocks->first[b], blocks->size[b],
                            network->features + (size_t)n * (size_t)network->size));
  blocks->features = network->features;
  blocks->labels = network->labels;
  PetscCall(CkEngineTrain(network->engine, blocks, values, correct, network->statistics, gradient));
  PetscFunctionReturn(PETSC_SUCCESS);
}

const CkLossType CkLossNetwork = {
  .name = "network",
  .setup = NetworkSetUp,
  .destroy = NetworkDestroy,
  .view = NetworkView,
  .startpoint = NetworkStartPoint,
  .nameentry = NetworkNameEntry,
  .setpoint = NetworkSetPoint,
  .values = NetworkValues,
  .load = NetworkLoad,
  .rows = NetworkRows,
  .setrange = NetworkSetRange,
  .entries = NetworkEntries,
  .squarednorms = NetworkSquaredNorms,
  .columnbytes = NetworkColumnBytes,
  .usecolumns = NetworkUseColumns,
  .packcolumn = NetworkPackColumn,
  .dot = NetworkDot,
  .accumulate = NetworkAccumulate,
  .accumulate_exact = NetworkAccumulateExact,
  .unfold = NetworkUnfold,
  .train = NetworkTrain,
};
