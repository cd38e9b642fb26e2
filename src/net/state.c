#include <clarkia/error.h>
#include <clarkia/file.h>
#include <clarkia/random.h>
#include <clarkia/state.h>
#include <float.h>
#include <inttypes.h>
#include <math.h>

struct _p_CkState {
  MPI_Comm comm;
  CkNet    net;
  PetscInt d, nbuffers;
  double  *weights, *buffers;
};

PetscErrorCode CkStateCreate(MPI_Comm comm, CkNet net, CkState *state)
{
  CkState s;

  PetscFunctionBeginUser;
  PetscCall(PetscNew(&s));
  s->comm = comm;
  s->net = net;
  PetscCall(CkNetReference(net));
  PetscCall(CkNetGetDimension(net, &s->d));
  PetscCall(CkNetGetBuffers(net, &s->nbuffers));
  PetscCall(PetscCalloc2(s->d, &s->weights, s->nbuffers, &s->buffers));
  *state = s;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkStateDestroy(CkState *state)
{
  CkState s = *state;

  PetscFunctionBeginUser;
  *state = NULL;
  if (!s) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(PetscFree2(s->weights, s->buffers));
  PetscCall(CkNetDestroy(&s->net));
  PetscCall(PetscFree(s));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkStateGetArrays(CkState state, double **weights, double **buffers)
{
  PetscFunctionBeginUser;
  if (weights) *weights = state->weights;
  if (buffers) *buffers = state->buffers;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkStateGetNet(CkState state, CkNet *net)
{
  PetscFunctionBeginUser;
  *net = state->net;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The tensor's numbers in weights [d] or buffers. */
static double *Tensor(const CkParameter *p, double weights[], double buffers[])
{
  return (p->trainable ? weights : buffers) + p->offset;
}

/* The first tensor of a layer is its weight; all axes but the outputs are inputs. */
static void DrawWeights(const CkParameter *p, const CkParameter *weight, CkInitialization initial,
                        const CkRandom *stream, double x[])
{
  const double inputs = (double)weight->size / (double)weight->shape[0];
  const double kernel = weight->rank == 4 ? (double)(weight->shape[2] * weight->shape[3]) : 1;

  if (initial == CK_INITIALIZATION_HE && p->rank == 4) {
    CkRandomNormals(stream, 0, (size_t)p->size, x);
    for (PetscInt i = 0; i < p->size; ++i) x[i] *= sqrt(2 / (kernel * (double)weight->shape[0]));
  } else {
    CkRandomUniforms(stream, 0, (size_t)p->size, x);
    for (PetscInt i = 0; i < p->size; ++i) x[i] = (2 * x[i] - 1) * (1 / sqrt(inputs));
  }
}

PetscErrorCode CkStateInitialize(CkState state, uint64_t seed)
{
  const CkParameter *parameters;
  const CkLayer     *layers;
  PetscInt           n, nlayers;
  CkInitialization   initial;

  PetscFunctionBeginUser;
  PetscCall(CkNetGetParameters(state->net, &n, &parameters));
  PetscCall(CkNetGetLayers(state->net, &nlayers, &layers));
  PetscCall(CkNetGetInitialization(state->net, &initial));
  for (PetscInt t = 0; t < n; ++t) {
    const CkParameter *p = &parameters[t];
    const CkRandom     stream = {.seed = seed, .purpose = CK_RANDOM_INIT, .step = (uint64_t)t};
    double            *x = Tensor(p, state->weights, state->buffers);

    if (p->role == CK_ROLE_WEIGHT || p->role == CK_ROLE_BIAS) {
      DrawWeights(p, &parameters[layers[p->layer].first_parameter], initial, &stream, x);
    } else {
      const double value = p->role == CK_ROLE_SCALE || p->role == CK_ROLE_VARIANCE ? 1 : 0;

      for (PetscInt i = 0; i < p->size; ++i) x[i] = value;
    }
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkStateTakeInitial(CkState state, PetscBool *has)
{
  const double *weights, *buffers;

  PetscFunctionBeginUser;
  PetscCall(CkNetGetInitial(state->net, &weights, &buffers));
  *has = (PetscBool)(weights != NULL);
  if (!*has) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(PetscArraycpy(state->weights, weights, state->d));
  PetscCall(PetscArraycpy(state->buffers, buffers, state->nbuffers));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static uint64_t Checksum(CkState state, const double weights[], const double buffers[])
{
  return CkChecksum(CkChecksum(0, weights, (size_t)state->d * sizeof(double)), buffers,
                    (size_t)state->nbuffers * sizeof(double));
}

PetscErrorCode CkStateChecksum(CkState state, uint64_t *checksum)
{
  PetscFunctionBeginUser;
  *checksum = Checksum(state, state->weights, state->buffers);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* "[3,0,2,1]": where number i of the tensor stands */
static void IndexText(const CkParameter *p, PetscInt i, char text[], size_t length)
{
  PetscInt index[4] = {0, 0, 0, 0};
  size_t   used = 0;

  for (int axis = p->rank - 1; axis >= 0; --axis) {
    index[axis] = i % p->shape[axis];
    i /= p->shape[axis];
  }
  for (int axis = 0; axis < p->rank && used < length; ++axis)
    used += (size_t)snprintf(text + used, length - used, "%s%" PetscInt_FMT, axis == 0 ? "[" : ",", index[axis]);
  if (used < length) snprintf(text + used, length - used, "]");
}

/* Number i of a tensor is what it may be. */
static void CheckNumber(const CkParameter *p, PetscInt i, double x, const char source[], double limit,
                        CkVerdict *verdict)
{
  const PetscBool negative = (PetscBool)(p->role == CK_ROLE_VARIANCE && x < 0);
  char            where[128];

  if (fabs(x) <= limit && !negative) return; /* false for NaN */
  IndexText(p, i, where, sizeof(where));
  if (!isfinite(x))
    CkVerdictFail(verdict, PETSC_ERR_FP, "%stensor %s%s is %g, not a finite number", source, p->name, where,
                  CkPlainNan(x));
  else if (negative)
    CkVerdictFail(verdict, PETSC_ERR_FP, "%stensor %s%s is %g: a variance is at least 0", source, p->name, where, x);
  else
    CkVerdictFail(verdict, PETSC_ERR_FP,
                  "%stensor %s%s is %g, beyond the range of this engine's single precision (%.3g): take -engine "
                  "reference, or other weights",
                  source, p->name, where, x, limit);
}

PetscErrorCode CkNetCheckNumbers(CkNet net, const char source[], double limit, const double weights[],
                                 const double buffers[])
{
  const CkParameter *parameters;
  MPI_Comm           comm;
  PetscInt           n;
  CkVerdict          verdict = {0};

  PetscFunctionBeginUser;
  PetscCall(CkNetGetComm(net, &comm));
  PetscCall(CkNetGetParameters(net, &n, &parameters));
  for (PetscInt t = 0; t < n && !verdict.code; ++t) {
    const CkParameter *p = &parameters[t];
    const double      *x = (p->trainable ? weights : buffers) + p->offset;

    for (PetscInt i = 0; i < p->size && !verdict.code; ++i) CheckNumber(p, i, x[i], source, limit, &verdict);
  }
  PetscCall(CkCheckVerdict(comm, &verdict));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkStateCheckFinite(CkState state)
{
  PetscFunctionBeginUser;
  PetscCall(CkNetCheckNumbers(state->net, "", DBL_MAX, state->weights, state->buffers));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode TensorPath(const char name[], char path[], size_t length)
{
  PetscFunctionBeginUser;
  PetscCall(PetscSNPrintf(path, length, "/state/%s", name));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static const char *RoleDescription(CkRole role)
{
  switch (role) {
  case CK_ROLE_WEIGHT:
    return "weight of a dense layer [out, in] or a convolution [out, in, height, width]";
  case CK_ROLE_BIAS:
    return "bias, one an output";
  case CK_ROLE_SCALE:
    return "batch norm: scale gamma, one a channel";
  case CK_ROLE_SHIFT:
    return "batch norm: shift beta, one a channel";
  case CK_ROLE_MEAN:
    return "batch norm: running mean, one a channel";
  case CK_ROLE_VARIANCE:
    return "batch norm: running variance (unbiased), one a channel";
  }
  return "";
}

static PetscErrorCode WriteTensors(CkState state, CkFile file)
{
  const CkParameter *parameters;
  PetscInt           n;

  PetscFunctionBeginUser;
  PetscCall(CkNetGetParameters(state->net, &n, &parameters));
  for (PetscInt t = 0; t < n; ++t) {
    const CkParameter *p = &parameters[t];
    PetscInt64         shape[4] = {p->shape[0], p->shape[1], p->shape[2], p->shape[3]};
    char               path[512];

    PetscCall(TensorPath(p->name, path, sizeof(path)));
    PetscCall(CkFileWriteAll(file, path, CK_F64, p->rank, shape, Tensor(p, state->weights, state->buffers), "1",
                             RoleDescription(p->role)));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode WriteAttributes(CkState state, CkFile file, PetscInt epoch, PetscInt step)
{
  const char *name;
  char        text[32];

  PetscFunctionBeginUser;
  PetscCall(CkNetGetName(state->net, &name));
  PetscCall(CkFileWriteString(file, "/state", "net", name));
  PetscCall(CkFileWriteInt(file, "/state", "dimension", state->d));
  PetscCall(CkFileWriteInt(file, "/state", "epoch", epoch));
  PetscCall(CkFileWriteInt(file, "/state", "step", step));
  PetscCall(PetscSNPrintf(text, sizeof(text), "%016" PRIx64, Checksum(state, state->weights, state->buffers)));
  PetscCall(CkFileWriteString(file, "/state", "checksum", text));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode WriteFile(CkState state, CkFile file, PetscInt epoch, PetscInt step,
                                PetscErrorCode (*more)(CkFile, void *), void *context)
{
  PetscFunctionBeginUser;
  PetscCall(CkFileWriteProvenance(file));
  PetscCall(CkFileCreateGroup(file, "/state"));
  PetscCall(WriteTensors(state, file));
  PetscCall(WriteAttributes(state, file, epoch, step));
  if (more) PetscCall(more(file, context));
  PetscCall(CkFileCommit(file));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkStateWrite(CkState state, const char name[], PetscInt epoch, PetscInt step)
{
  PetscFunctionBeginUser;
  PetscCall(CkStateWriteWith(state, name, epoch, step, NULL, NULL));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkStateWriteWith(CkState state, const char name[], PetscInt epoch, PetscInt step,
                                PetscErrorCode (*more)(CkFile, void *), void *context)
{
  CkFile         file;
  PetscErrorCode ierr;

  PetscFunctionBeginUser;
  PetscCall(CkStateCheckFinite(state));
  PetscCall(CkFileCreate(state->comm, name, &file));
  ierr = WriteFile(state, file, epoch, step, more, context);
  PetscCall(CkFileDestroy(&file));
  PetscCall(ierr);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static void ShapeText(int rank, const PetscInt64 shape[], char text[], size_t length)
{
  size_t used = 0;

  snprintf(text, length, "a single number");
  for (int i = 0; i < rank && used < length; ++i)
    used += (size_t)snprintf(text + used, length - used, "%s%" PetscInt64_FMT, i ? " x " : "", shape[i]);
}

/* The tensor is there, floating-point, and of the net's shape. */
static PetscErrorCode CheckTensor(CkState state, CkFile file, const char name[], const CkParameter *p)
{
  const char *net;
  char        path[512], have[128], want[128];
  PetscBool   exists, same;
  CkType      type;
  int         rank;
  PetscInt64  shape[CK_MAX_RANK], expected[4];

  PetscFunctionBeginUser;
  PetscCall(CkNetGetName(state->net, &net));
  PetscCall(TensorPath(p->name, path, sizeof(path)));
  PetscCall(CkFileExists(file, path, &exists));
  CkCheckAll(state->comm, exists, PETSC_ERR_FILE_UNEXPECTED,
             "%s: no state of net %s: tensor %s is missing (give the net this file was written for)", name, net,
             p->name);
  PetscCall(CkFileGetDataset(file, path, &type, &rank, shape));
  CkCheckAll(state->comm, type == CK_F32 || type == CK_F64, PETSC_ERR_FILE_UNEXPECTED,
             "%s: tensor %s holds integers, not floating-point numbers", name, p->name);
  same = (PetscBool)(rank == p->rank);
  for (int i = 0; i < p->rank; ++i) {
    expected[i] = p->shape[i];
    if (same && shape[i] != expected[i]) same = PETSC_FALSE;
  }
  ShapeText(rank, shape, have, sizeof(have));
  ShapeText(p->rank, expected, want, sizeof(want));
  CkCheckAll(state->comm, same, PETSC_ERR_FILE_UNEXPECTED,
             "%s: no state of net %s: tensor %s is %s there and %s in the net", name, net, p->name, have, want);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* PyTorch counts the batches of each batch norm; nothing here depends on that. */
static PetscBool IsPassedOver(const char name[])
{
  const char  *suffix = ".num_batches_tracked";
  const size_t length = strlen(name), tail = strlen(suffix);

  return (PetscBool)(length > tail && !strcmp(name + length - tail, suffix));
}

static PetscErrorCode CheckNoOthers(CkState state, CkFile file, const char name[])
{
  const CkParameter *parameters;
  const char        *net;
  char             **found, extra[256] = "";
  PetscInt           n, nfound;

  PetscFunctionBeginUser;
  PetscCall(CkNetGetName(state->net, &net));
  PetscCall(CkNetGetParameters(state->net, &n, &parameters));
  PetscCall(CkFileList(file, "/state", &nfound, &found));
  for (PetscInt i = 0; i < nfound; ++i) {
    PetscBool known = IsPassedOver(found[i]);

    for (PetscInt t = 0; t < n && !known; ++t) known = (PetscBool)!strcmp(parameters[t].name, found[i]);
    if (!known && !extra[0]) PetscCall(PetscStrncpy(extra, found[i], sizeof(extra)));
    PetscCall(PetscFree(found[i]));
  }
  PetscCall(PetscFree(found));
  CkCheckAll(state->comm, !extra[0], PETSC_ERR_FILE_UNEXPECTED,
             "%s: no state of net %s: tensor %s is not in the net (give the net this file was written for)", name, net,
             extra);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode CheckStoredSum(CkState state, CkFile file, const char name[], const double weights[],
                                     const double buffers[])
{
  char      stored[64], now[32];
  PetscBool found;

  PetscFunctionBeginUser;
  PetscCall(CkFileReadString(file, "/state", "checksum", stored, sizeof(stored), &found));
  PetscCall(PetscSNPrintf(now, sizeof(now), "%016" PRIx64, Checksum(state, weights, buffers)));
  CkCheckAll(state->comm, !found || !strcmp(stored, now), PETSC_ERR_FILE_UNEXPECTED,
             "%s: the tensors do not give the checksum stored with them (%s, not %s): the file is damaged; if it was "
             "edited on purpose, delete the attribute 'checksum' of /state",
             name, now, stored);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode ReadFile(CkState state, CkFile file, const char name[], double weights[], double buffers[])
{
  const CkParameter *parameters;
  PetscInt           n;
  PetscBool          exists;
  char               path[512], source[PETSC_MAX_PATH_LEN];

  PetscFunctionBeginUser;
  PetscCall(CkNetGetParameters(state->net, &n, &parameters));
  PetscCall(CkFileExists(file, "/state", &exists));
  CkCheckAll(state->comm, exists, PETSC_ERR_FILE_UNEXPECTED, "%s: not a state file: it has no group /state", name);
  for (PetscInt t = 0; t < n; ++t) PetscCall(CheckTensor(state, file, name, &parameters[t]));
  PetscCall(CheckNoOthers(state, file, name));
  for (PetscInt t = 0; t < n; ++t) {
    PetscCall(TensorPath(parameters[t].name, path, sizeof(path)));
    PetscCall(CkFileReadAll(file, path, CK_F64, Tensor(&parameters[t], weights, buffers)));
  }
  PetscCall(CheckStoredSum(state, file, name, weights, buffers));
  PetscCall(PetscSNPrintf(source, sizeof(source), "%s: ", name));
  PetscCall(CkNetCheckNumbers(state->net, source, DBL_MAX, weights, buffers));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Row `replica` of a dataset of /replicas, n numbers long. */
static PetscErrorCode ReadRow(CkState state, CkFile file, const char name[], const char path[], PetscInt n,
                              PetscInt replica, double row[])
{
  PetscBool  exists;
  CkType     type;
  int        rank;
  PetscInt64 shape[CK_MAX_RANK];

  PetscFunctionBeginUser;
  if (n == 0) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(CkFileExists(file, path, &exists));
  CkCheckAll(state->comm, exists, PETSC_ERR_FILE_UNEXPECTED, "%s: there are no replicas in it: it has no %s", name,
             path);
  PetscCall(CkFileGetDataset(file, path, &type, &rank, shape));
  CkCheckAll(state->comm, rank == 2 && shape[1] == n, PETSC_ERR_FILE_UNEXPECTED,
             "%s: %s does not hold %" PetscInt_FMT " numbers a replica", name, path, n);
  CkCheckAll(state->comm, replica < shape[0], PETSC_ERR_ARG_OUTOFRANGE,
             "%s: there is no replica %" PetscInt_FMT ", they are 0 to %" PetscInt64_FMT, name, replica, shape[0] - 1);
  PetscCall(CkFileReadRows(file, path, CK_F64, replica, 1, row));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode ReadReplica(CkState state, CkFile file, const char name[], PetscInt replica, double weights[],
                                  double buffers[])
{
  char source[PETSC_MAX_PATH_LEN];

  PetscFunctionBeginUser;
  PetscCall(ReadFile(state, file, name, weights, buffers)); /* that it is of this net */
  PetscCall(ReadRow(state, file, name, "/replicas/weights", state->d, replica, weights));
  PetscCall(ReadRow(state, file, name, "/replicas/statistics", state->nbuffers, replica, buffers));
  PetscCall(PetscSNPrintf(source, sizeof(source), "%s, replica %" PetscInt_FMT ": ", name, replica));
  PetscCall(CkNetCheckNumbers(state->net, source, DBL_MAX, weights, buffers));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkStateRead(CkState state, const char name[])
{
  PetscFunctionBeginUser;
  PetscCall(CkStateReadReplica(state, name, -1));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkStateReadReplica(CkState state, const char name[], PetscInt replica)
{
  CkFile         file;
  double        *weights, *buffers;
  PetscErrorCode ierr;

  PetscFunctionBeginUser;
  PetscCall(CkFileOpen(state->comm, name, &file));
  PetscCall(PetscMalloc2(state->d, &weights, state->nbuffers, &buffers));
  ierr = replica < 0 ? ReadFile(state, file, name, weights, buffers)
                     : ReadReplica(state, file, name, replica, weights, buffers);
  if (!ierr) {
    PetscCall(PetscArraycpy(state->weights, weights, state->d));
    PetscCall(PetscArraycpy(state->buffers, buffers, state->nbuffers));
  }
  PetscCall(PetscFree2(weights, buffers));
  PetscCall(CkFileDestroy(&file));
  PetscCall(ierr);
  PetscFunctionReturn(PETSC_SUCCESS);
}
