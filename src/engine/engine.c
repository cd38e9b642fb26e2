#include "engineimpl.h"
#include <clarkia/error.h>
#include <clarkia/options.h>
#include <clarkia/progress.h>
#include <clarkia/rowops.h>
#include <clarkia/state.h>
#include <float.h>
#include <math.h>
#include <stdint.h>

#define ENGINE_TYPES "reference|onednn" /* those of engine_types.c */

static const CkOption options[] = {
  {"engine", CK_OPTION_STRING, "onednn", 0, 0, ENGINE_TYPES,
   "what runs the net: onednn (float32) or reference (double, slow, the oracle)"},
  {"engine_tile", CK_OPTION_INT, "64", 1, 65536, NULL, "samples processed together, sized for the cache"},
  {"engine_layer_form", CK_OPTION_STRING, "auto", 0, 0, "auto|factored|explicit",
   "how a layer's per-sample gradients are held: input and delta, or the gradient itself"},
  {"engine_convolution", CK_OPTION_STRING, "auto", 0, 0, "auto|lanes|winograd|onednn",
   "onednn engine: convolutions by its own kernels, by Winograd's where they apply, or by oneDNN's; auto: the fastest"},
  {NULL, CK_OPTION_BOOL, NULL, 0, 0, NULL, NULL}};

static const struct {
  const char *text;
  CkLayerForm form;
} forms[] = {{"auto", CK_FORM_AUTO}, {"factored", CK_FORM_FACTORED}, {"explicit", CK_FORM_EXPLICIT}};

PetscErrorCode CkEngineRegisterOptions(void)
{
  PetscFunctionBeginUser;
  PetscCall(CkOptionsRegister("Engine", options));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkEngineCreate(CkNet net, CkEngine *engine)
{
  PetscInt d;

  PetscFunctionBeginUser;
  PetscCall(CkEventsRegister());
  PetscCall(CkNetGetDimension(net, &d));
  PetscCall(PetscNew(engine));
  (*engine)->net = net;
  (*engine)->d = d;
  PetscCall(CkNetReference(net));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkEngineDestroy(CkEngine *engine)
{
  CkEngine e = *engine;

  PetscFunctionBeginUser;
  *engine = NULL;
  if (!e) PetscFunctionReturn(PETSC_SUCCESS);
  if (e->type) PetscCall(e->type->destroy(e));
  PetscCall(PetscFree(e->own));
  PetscCall(PetscFree(e->G));
  PetscCall(CkNetDestroy(&e->net));
  PetscCall(PetscFree(e));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkEngineSetType(CkEngine engine, const char type[])
{
  const CkEngineType *found;
  MPI_Comm            comm;

  PetscFunctionBeginUser;
  PetscCheck(!engine->setup, PETSC_COMM_SELF, PETSC_ERR_ORDER, "The engine is set up already");
  PetscCall(CkNetGetComm(engine->net, &comm));
  PetscCall(CkEngineFindType(type, &found));
  CkCheckAll(comm, found, PETSC_ERR_ARG_UNKNOWN_TYPE, "-engine %s: no such engine; known are " ENGINE_TYPES, type);
  engine->type = found;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkEngineSetTile(CkEngine engine, PetscInt capacity)
{
  PetscFunctionBeginUser;
  PetscCheck(!engine->setup, PETSC_COMM_SELF, PETSC_ERR_ORDER, "The engine is set up already");
  PetscCheck(capacity >= 1, PETSC_COMM_SELF, PETSC_ERR_ARG_OUTOFRANGE, "Tile of %" PetscInt_FMT " samples", capacity);
  engine->capacity = capacity;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkEngineSetFromOptions(CkEngine engine)
{
  char     type[64], form[32];
  PetscInt tile;

  PetscFunctionBeginUser;
  PetscCall(CkEngineRegisterOptions());
  PetscCall(CkOptionsGetString("engine", type, sizeof(type), NULL));
  PetscCall(CkEngineSetType(engine, type));
  PetscCall(CkOptionsGetInt("engine_tile", &tile, NULL));
  PetscCall(CkEngineSetTile(engine, tile));
  PetscCall(CkOptionsGetString("engine_layer_form", form, sizeof(form), NULL));
  for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); ++i)
    if (!strcmp(forms[i].text, form)) engine->form = forms[i].form;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkEngineSetUp(CkEngine engine)
{
  MPI_Comm comm;
  PetscInt tile;

  PetscFunctionBeginUser;
  if (engine->setup) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCheck(engine->type, PETSC_COMM_SELF, PETSC_ERR_ORDER, "CkEngineSetType() has not been called");
  PetscCall(CkNetGetComm(engine->net, &comm));
  CkCheckAll(comm, engine->form == CK_FORM_AUTO || engine->type->forms, PETSC_ERR_ARG_WRONG,
             "-engine %s holds explicit gradients of every layer and heeds no -engine_layer_form: leave it out",
             engine->type->name);
  if (!engine->capacity) {
    PetscCall(CkEngineRegisterOptions());
    PetscCall(CkOptionsGetInt("engine_tile", &tile, NULL));
    engine->capacity = tile;
  }
  PetscCall(engine->type->setup(engine));
  engine->count = engine->d;
  engine->setup = PETSC_TRUE;
  PetscFunctionReturn(PETSC_SUCCESS);
}

#define CHECK_SETUP(engine)                                                                                            \
  PetscCheck((engine)->setup, PETSC_COMM_SELF, PETSC_ERR_ORDER, "CkEngineSetUp() has not been called")
#define CHECK_POINT(engine)                                                                                            \
  PetscCheck((engine)->point, PETSC_COMM_SELF, PETSC_ERR_ORDER, "CkEngineSetPoint() has not been called")
#define CHECK_LOADED(engine)                                                                                           \
  PetscCheck((engine)->loaded > 0, PETSC_COMM_SELF, PETSC_ERR_ORDER, "CkEngineLoad() has not been called")
#define CHECK_WHOLE(engine)                                                                                            \
  PetscCheck((engine)->count == (engine)->d, PETSC_COMM_SELF, PETSC_ERR_ORDER,                                         \
             "Only entries %" PetscInt_FMT " .. %" PetscInt_FMT " of the gradients are there", (engine)->first,        \
             (engine)->first + (engine)->count - 1)

PetscErrorCode CkEngineGetType(CkEngine engine, const char **type)
{
  PetscFunctionBeginUser;
  PetscCheck(engine->type, PETSC_COMM_SELF, PETSC_ERR_ORDER, "CkEngineSetType() has not been called");
  *type = engine->type->name;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkEngineGetPrecision(CkEngine engine, CkPrecision *precision)
{
  PetscFunctionBeginUser;
  PetscCheck(engine->type, PETSC_COMM_SELF, PETSC_ERR_ORDER, "CkEngineSetType() has not been called");
  *precision = engine->type->precision;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkEngineGetSize(CkEngine engine, PetscInt *de)
{
  PetscFunctionBeginUser;
  CHECK_SETUP(engine);
  *de = engine->d;
  if (engine->type->getsize) PetscCall(engine->type->getsize(engine, de));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkEngineGetCost(CkEngine engine, double *bytes, double *load, double *rows, double *dot,
                               double *accumulate)
{
  double cost[5] = {0, 0, 0, 0, 0};

  PetscFunctionBeginUser;
  CHECK_SETUP(engine);
  PetscCall(engine->type->getcost(engine, &cost[0], &cost[1], &cost[2], &cost[3], &cost[4]));
  if (bytes) *bytes = cost[0];
  if (load) *load = cost[1];
  if (rows) *rows = cost[2];
  if (dot) *dot = cost[3];
  if (accumulate) *accumulate = cost[4];
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkEngineView(CkEngine engine, MPI_Comm comm)
{
  const char *name;

  PetscFunctionBeginUser;
  CHECK_SETUP(engine);
  PetscCall(CkNetGetName(engine->net, &name));
  PetscCall(PetscPrintf(comm, "Engine %s: net %s, tiles of %" PetscInt_FMT " samples\n", engine->type->name, name,
                        engine->capacity));
  PetscCall(engine->type->view(engine, comm));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* A number that float32 cannot hold. */
static PetscBool HasBeyondFloat(PetscInt n, const double x[])
{
  int beyond = 0;

  for (PetscInt i = 0; i < n; ++i) beyond |= !(fabs(x[i]) <= (double)FLT_MAX); /* no branch: vectorised */
  return (PetscBool)(beyond != 0);
}

PetscErrorCode CkEngineSetPoint(CkEngine engine, const double weights[], const double buffers[])
{
  PetscInt nbuffers;

  PetscFunctionBeginUser;
  CHECK_SETUP(engine);
  PetscCall(CkNetGetBuffers(engine->net, &nbuffers));
  /* every rank holds the same point and comes to the check, or none does */
  if (engine->type->precision == CK_FLOAT32 &&
      (HasBeyondFloat(engine->d, weights) || HasBeyondFloat(nbuffers, buffers)))
    PetscCall(CkNetCheckNumbers(engine->net, "", (double)FLT_MAX, weights, buffers));
  engine->loaded = 0;
  engine->columns = 0; /* a variant's columns depend on the point */
  engine->rows = PETSC_FALSE;
  PetscCall(engine->type->setpoint(engine, weights, buffers));
  engine->point = PETSC_TRUE;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode CheckLabels(CkEngine engine, PetscInt n, const PetscInt labels[])
{
  PetscInt classes;

  PetscFunctionBeginUser;
  PetscCall(CkNetGetClasses(engine->net, &classes));
  for (PetscInt k = 0; k < n; ++k)
    PetscCheck(labels[k] >= 0 && labels[k] < classes, PETSC_COMM_SELF, PETSC_ERR_ARG_OUTOFRANGE,
               "Label %" PetscInt_FMT " of sample %" PetscInt_FMT " of the tile is not in 0..%" PetscInt_FMT, labels[k],
               k, classes - 1);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Run(CkEngine engine, PetscBool backward, PetscInt n, const float features[],
                          const PetscInt labels[], double values[], int correct[])
{
  PetscFunctionBeginUser;
  CHECK_POINT(engine);
  PetscCheck(n >= 0 && n <= engine->capacity, PETSC_COMM_SELF, PETSC_ERR_ARG_SIZ,
             "%" PetscInt_FMT " samples do not fit a tile of %" PetscInt_FMT, n, engine->capacity);
  PetscCall(CheckLabels(engine, n, labels));
  engine->loaded = 0;
  engine->rows = PETSC_FALSE;
  if (n == 0) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(engine->type->run(engine, backward, n, features, labels, values, correct));
  if (backward) engine->loaded = n;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkEngineValues(CkEngine engine, PetscInt n, const float features[], const PetscInt labels[],
                              double values[], int correct[])
{
  PetscFunctionBeginUser;
  PetscCall(Run(engine, PETSC_FALSE, n, features, labels, values, correct));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkEngineLoad(CkEngine engine, PetscInt n, const float features[], const PetscInt labels[],
                            double values[], int correct[])
{
  PetscFunctionBeginUser;
  PetscCall(Run(engine, PETSC_TRUE, n, features, labels, values, correct));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkEngineRows(CkEngine engine, CkPrecision precision, void *G, size_t ld)
{
  PetscFunctionBeginUser;
  CHECK_LOADED(engine);
  CHECK_WHOLE(engine);
  PetscCheck(ld >= (size_t)engine->d, PETSC_COMM_SELF, PETSC_ERR_ARG_SIZ,
             "Row stride %zu is less than the dimension %" PetscInt_FMT, ld, engine->d);
  PetscCall(PetscLogEventBegin(CK_Tile, 0, 0, 0, 0));
  PetscCall(engine->type->rows(engine, precision, G, ld));
  PetscCall(PetscLogEventEnd(CK_Tile, 0, 0, 0, 0));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Explicit float64 rows of the loaded tile, made once: what the default contractions work on. */
static PetscErrorCode DefaultRows(CkEngine engine, CkRows *rows)
{
  PetscFunctionBeginUser;
  if (!engine->G) PetscCall(PetscMalloc1((size_t)engine->capacity * (size_t)engine->d, &engine->G));
  if (!engine->rows) {
    PetscCall(PetscLogEventBegin(CK_Backward, 0, 0, 0, 0));
    PetscCall(PetscLogEventBegin(CK_Gradient, 0, 0, 0, 0));
    PetscCall(engine->type->rows(engine, CK_FLOAT64, engine->G, (size_t)engine->d));
    PetscCall(PetscLogEventEnd(CK_Gradient, 0, 0, 0, 0));
    PetscCall(PetscLogEventEnd(CK_Backward, 0, 0, 0, 0));
  }
  engine->rows = PETSC_TRUE;
  *rows = (CkRows){.n = engine->loaded, .d = engine->d, .ld = (size_t)engine->d, .G = engine->G};
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkEngineSetRange(CkEngine engine, PetscInt first, PetscInt count)
{
  PetscFunctionBeginUser;
  CHECK_SETUP(engine);
  PetscCheck(first >= 0 && count >= 0 && count <= engine->d - first, PETSC_COMM_SELF, PETSC_ERR_ARG_OUTOFRANGE,
             "Entries from %" PetscInt_FMT " on, %" PetscInt_FMT " of them, of %" PetscInt_FMT, first, count,
             engine->d);
  if (engine->type->setrange) PetscCall(engine->type->setrange(engine, first, count));
  engine->first = first;
  engine->count = count;
  engine->loaded = 0;
  engine->rows = PETSC_FALSE;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode DefaultEntries(CkEngine engine, PetscInt first, PetscInt count, void *G, size_t ld)
{
  CkRows rows;

  PetscFunctionBeginUser;
  PetscCall(DefaultRows(engine, &rows));
  for (size_t k = 0; k < (size_t)rows.n; ++k) {
    const double *row = rows.G + k * rows.ld + (size_t)first;

    for (size_t i = 0; i < (size_t)count; ++i) {
      if (engine->type->precision == CK_FLOAT64) ((double *)G)[i * ld + k] = row[i];
      else ((float *)G)[i * ld + k] = (float)row[i];
    }
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

#define CHECK_STRIDE(engine, ld)                                                                                       \
  PetscCheck((ld) >= (size_t)(engine)->loaded, PETSC_COMM_SELF, PETSC_ERR_ARG_SIZ,                                     \
             "Stride %zu of an entry is less than the %" PetscInt_FMT " samples", ld, (engine)->loaded)

PetscErrorCode CkEngineEntries(CkEngine engine, PetscInt first, PetscInt count, void *G, size_t ld)
{
  PetscFunctionBeginUser;
  CHECK_LOADED(engine);
  CHECK_STRIDE(engine, ld);
  PetscCheck(count >= 0 && first >= engine->first && count <= engine->first + engine->count - first, PETSC_COMM_SELF,
             PETSC_ERR_ARG_OUTOFRANGE, "Entries from %" PetscInt_FMT " on, %" PetscInt_FMT " of them: not in the range",
             first, count);
  PetscCall(PetscLogEventBegin(CK_Tile, 0, 0, 0, 0));
  if (engine->type->entries) PetscCall(engine->type->entries(engine, first, count, G, ld));
  else PetscCall(DefaultEntries(engine, first, count, G, ld));
  PetscCall(PetscLogEventEnd(CK_Tile, 0, 0, 0, 0));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkEngineGetFactors(CkEngine engine, PetscInt *n, const CkFactors **factors)
{
  PetscFunctionBeginUser;
  CHECK_SETUP(engine);
  *n = 0;
  *factors = NULL;
  if (engine->type->getfactors) PetscCall(engine->type->getfactors(engine, n, factors));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkEngineFactors(CkEngine engine, PetscInt number, void *inputs, void *derivatives, size_t ld)
{
  const CkFactors *factors;
  PetscInt         n;

  PetscFunctionBeginUser;
  CHECK_LOADED(engine);
  CHECK_STRIDE(engine, ld);
  PetscCall(CkEngineGetFactors(engine, &n, &factors));
  PetscCheck(number >= 0 && number < n, PETSC_COMM_SELF, PETSC_ERR_ARG_OUTOFRANGE,
             "Factored layer %" PetscInt_FMT " of %" PetscInt_FMT, number, n);
  factors += number;
  PetscCheck(factors->first < engine->first + engine->count &&
               engine->first < factors->first + factors->outputs * factors->inputs,
             PETSC_COMM_SELF, PETSC_ERR_ORDER, "Factored layer %" PetscInt_FMT " is not in the range", number);
  PetscCall(PetscLogEventBegin(CK_Tile, 0, 0, 0, 0));
  PetscCall(engine->type->factors(engine, number, inputs, derivatives, ld));
  PetscCall(PetscLogEventEnd(CK_Tile, 0, 0, 0, 0));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode DefaultSquaredNorms(CkEngine engine, double original[], double folded[])
{
  CkRows rows;

  PetscFunctionBeginUser;
  PetscCall(DefaultRows(engine, &rows));
  PetscCall(CkRowsSquaredNorms(&rows, original));
  if (folded) PetscCall(PetscArraycpy(folded, original, engine->loaded));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkEngineSquaredNorms(CkEngine engine, double original[], double folded[])
{
  PetscFunctionBeginUser;
  CHECK_LOADED(engine);
  CHECK_WHOLE(engine);
  PetscCall(PetscLogEventBegin(CK_Tile, 0, 0, 0, 0));
  if (engine->type->squarednorms) PetscCall(engine->type->squarednorms(engine, original, folded));
  else PetscCall(DefaultSquaredNorms(engine, original, folded));
  PetscCall(PetscLogEventEnd(CK_Tile, 0, 0, 0, 0));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkEngineColumnBytes(CkEngine engine, PetscInt m, size_t *bytes)
{
  PetscFunctionBeginUser;
  CHECK_SETUP(engine);
  PetscCheck(m >= 0, PETSC_COMM_SELF, PETSC_ERR_ARG_OUTOFRANGE, "%" PetscInt_FMT " columns", m);
  *bytes = (size_t)m * (size_t)engine->d * sizeof(double);
  if (engine->type->columnbytes) PetscCall(engine->type->columnbytes(engine, m, bytes));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkEngineUseColumns(CkEngine engine, PetscInt m, void *memory)
{
  PetscFunctionBeginUser;
  CHECK_POINT(engine);
  ++engine->columns_number;
  engine->columns = m;
  engine->V = memory;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkEnginePackColumn(CkEngine engine, PetscInt j, const double v[])
{
  const size_t d = (size_t)engine->d;

  PetscFunctionBeginUser;
  CHECK_POINT(engine);
  PetscCheck(j >= 0 && j < engine->columns, PETSC_COMM_SELF, PETSC_ERR_ARG_OUTOFRANGE,
             "Column %" PetscInt_FMT " of %" PetscInt_FMT, j, engine->columns);
  ++engine->columns_number;
  PetscCall(PetscLogEventBegin(CK_Columns, 0, 0, 0, 0));
  if (engine->type->packcolumn) PetscCall(engine->type->packcolumn(engine, j, v));
  else PetscCall(PetscArraycpy((double *)engine->V + (size_t)j * d, v, d));
  PetscCall(PetscLogEventEnd(CK_Columns, 0, 0, 0, 0));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* At least so many bytes of the engine's own, from a cache line on. */
static PetscErrorCode OwnColumns(CkEngine engine, size_t bytes, void **memory)
{
  const size_t line = 64;

  PetscFunctionBeginUser;
  if (!engine->own || bytes > engine->own_room) {
    PetscCall(PetscFree(engine->own));
    engine->own_room = 0;
    PetscCall(PetscMalloc(bytes + line, &engine->own));
    engine->own_room = bytes;
  }
  *memory = (char *)engine->own + (line - (uintptr_t)engine->own % line) % line;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkEngineSetColumns(CkEngine engine, PetscInt m, const double V[])
{
  size_t bytes;
  void  *memory = NULL;

  PetscFunctionBeginUser;
  CHECK_POINT(engine);
  PetscCall(CkEngineColumnBytes(engine, m, &bytes));
  PetscCall(OwnColumns(engine, bytes, &memory));
  PetscCall(CkEngineUseColumns(engine, m, memory));
  for (PetscInt j = 0; j < m; ++j) PetscCall(CkEnginePackColumn(engine, j, V + (size_t)j * (size_t)engine->d));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkEngineDot(CkEngine engine, double S[])
{
  CkRows rows = {0};

  PetscFunctionBeginUser;
  CHECK_LOADED(engine);
  CHECK_WHOLE(engine);
  PetscCheck(engine->columns > 0, PETSC_COMM_SELF, PETSC_ERR_ORDER, "CkEngineSetColumns() has not been called");
  if (!engine->type->dot) PetscCall(DefaultRows(engine, &rows));
  PetscCall(PetscLogEventBegin(CK_Dot, 0, 0, 0, 0));
  if (engine->type->dot) PetscCall(engine->type->dot(engine, S));
  else PetscCall(CkRowsDot(&rows, engine->columns, (const double *)engine->V, S));
  PetscCall(PetscLogEventEnd(CK_Dot, 0, 0, 0, 0));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkEngineAccumulate(CkEngine engine, PetscInt m, const double S[], double A[])
{
  CkRows rows = {0};

  PetscFunctionBeginUser;
  CHECK_LOADED(engine);
  CHECK_WHOLE(engine);
  if (!engine->type->accumulate) PetscCall(DefaultRows(engine, &rows));
  PetscCall(PetscLogEventBegin(CK_Accumulate, 0, 0, 0, 0));
  if (engine->type->accumulate) PetscCall(engine->type->accumulate(engine, m, S, A));
  else PetscCall(CkRowsAccumulate(&rows, m, S, A));
  PetscCall(PetscLogEventEnd(CK_Accumulate, 0, 0, 0, 0));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscBool CkEngineHasExact(CkEngine engine)
{
  return (PetscBool)(engine->type->accumulate_exact != NULL);
}

PetscErrorCode CkEngineAccumulateExact(CkEngine engine, PetscInt m, const double S[], CkExactSum sum)
{
  PetscFunctionBeginUser;
  CHECK_LOADED(engine);
  CHECK_WHOLE(engine);
  PetscCheck(engine->type->accumulate_exact, PETSC_COMM_SELF, PETSC_ERR_SUP, "Engine %s adds to arrays only",
             engine->type->name);
  PetscCall(PetscLogEventBegin(CK_Accumulate, 0, 0, 0, 0));
  PetscCall(engine->type->accumulate_exact(engine, m, S, sum));
  PetscCall(PetscLogEventEnd(CK_Accumulate, 0, 0, 0, 0));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkEngineUnfold(CkEngine engine, PetscInt m, const double A[], double out[])
{
  PetscFunctionBeginUser;
  CHECK_POINT(engine);
  PetscCall(PetscLogEventBegin(CK_Columns, 0, 0, 0, 0));
  if (engine->type->unfold) PetscCall(engine->type->unfold(engine, m, A, out));
  else PetscCall(PetscArraycpy(out, A, (size_t)m * (size_t)engine->d));
  PetscCall(PetscLogEventEnd(CK_Columns, 0, 0, 0, 0));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkEngineTrain(CkEngine engine, const CkTrainingBlocks *blocks, double values[], int correct[],
                             double statistics[], CkExactSum gradient)
{
  PetscInt n = 0;

  PetscFunctionBeginUser;
  CHECK_POINT(engine);
  for (PetscInt b = 0; b < blocks->nblocks; ++b) n += blocks->size[b];
  PetscCall(CheckLabels(engine, n, blocks->labels));
  engine->loaded = 0;
  engine->rows = PETSC_FALSE;
  PetscCall(engine->type->train(engine, blocks, values, correct, statistics, gradient));
  PetscFunctionReturn(PETSC_SUCCESS);
}
