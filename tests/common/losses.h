#pragma once
#include "../engine/nets.h"
#include <clarkia/loss.h>

/*
  Losses of every type for tests of what stands on CkLoss. The same on any communicator: a loss on PETSC_COMM_SELF is
  the serial twin of one on PETSC_COMM_WORLD. Sum blocks of 8 in tiles of 4, so that few samples make many of both.
*/
typedef struct {
  CkLoss  loss;
  CkNet   net; /* NULL: a landscape; so the next two */
  CkData  data;
  CkState state;
} TestLoss;

typedef struct {
  const char *name;
  PetscBool   exact;  /* float64 gradients */
  const char *engine; /* NULL: a landscape */
  CkShape     input;
  CkHead      head;
  void (*build)(CkNet net);
  void (*landscape)(CkLoss loss, PetscInt N);
} TestLossKind;

static inline void BuildTestQuadratic(CkLoss loss, PetscInt N)
{
  enum { d = 7 };
  double *M = NewNormals(11, d * d), *xi = NewNormals(12, (size_t)N * d), H[d * d];

  for (int i = 0; i < d * d; ++i) H[i] = (M[i] + M[i % d * d + i / d]) / 2;
  OK(CkLossSetQuadratic(loss, d, N, H, xi));
  OK(PetscFree(M));
  OK(PetscFree(xi));
}

static inline void BuildTestRegression(CkLoss loss, PetscInt N)
{
  enum { d = 5 };
  double *a = NewNormals(21, (size_t)N * d), *y = NewNormals(22, (size_t)N);

  OK(CkLossSetLinearRegression(loss, d, N, a, y));
  OK(PetscFree(a));
  OK(PetscFree(y));
}

static inline void BuildTestTwoWeight(CkLoss loss, PetscInt N)
{
  double *x = NewNormals(31, (size_t)N), *y = NewNormals(32, (size_t)N);

  OK(CkLossSetTwoWeight(loss, N, x, y));
  OK(PetscFree(x));
  OK(PetscFree(y));
}

/* A small tanh net without symmetries but those of its hidden units' signs. */
static inline void BuildTestTanh(CkNet net)
{
  PetscInt l = Dense(net, "fc1", 0, 4, PETSC_TRUE);

  Dense(net, "fc2", Plain(net, CK_LAYER_TANH, "tanh", l), 3, PETSC_TRUE);
}

static const TestLossKind test_losses[] = {
  {"quadratic", PETSC_TRUE, NULL, {0, 0, 0}, CK_HEAD_MSE, NULL, BuildTestQuadratic},
  {"linear-regression", PETSC_TRUE, NULL, {0, 0, 0}, CK_HEAD_MSE, NULL, BuildTestRegression},
  {"two-weight", PETSC_TRUE, NULL, {0, 0, 0}, CK_HEAD_MSE, NULL, BuildTestTwoWeight},
  {"reference tanh", PETSC_TRUE, "reference", {5, 1, 1}, CK_HEAD_MSE, BuildTestTanh, NULL},
  {"reference norm", PETSC_TRUE, "reference", {2, 5, 5}, CK_HEAD_CROSS_ENTROPY, BuildNorm, NULL},
  {"onednn tanh", PETSC_FALSE, "onednn", {5, 1, 1}, CK_HEAD_CROSS_ENTROPY, BuildTestTanh, NULL},
  {"onednn lenet", PETSC_FALSE, "onednn", {1, 8, 8}, CK_HEAD_CROSS_ENTROPY, BuildLenet, NULL},
};

#define TEST_LOSSES (sizeof(test_losses) / sizeof(test_losses[0]))

/* Blocks of residual and densely connected nets: norms that cannot be folded, shortcuts, concatenations. */
static const TestLossKind test_deep_losses[] = {
  {"onednn shortcut", PETSC_FALSE, "onednn", {2, 5, 4}, CK_HEAD_CROSS_ENTROPY, BuildShortcut, NULL},
  {"onednn preactivated", PETSC_FALSE, "onednn", {2, 4, 4}, CK_HEAD_CROSS_ENTROPY, BuildPreactivated, NULL},
  {"onednn dense blocks", PETSC_FALSE, "onednn", {2, 8, 8}, CK_HEAD_CROSS_ENTROPY, BuildDenseBlocks, NULL},
};

#define TEST_DEEP_LOSSES (sizeof(test_deep_losses) / sizeof(test_deep_losses[0]))

static inline void SetTestOption(const char key[], const char value[])
{
  OK(PetscOptionsSetValue(NULL, key, value));
}

/* Synthetic images of three classes. */
static inline CkData NewTestData(MPI_Comm comm, CkShape shape, PetscInt N)
{
  CkData data;
  char   text[64];

  SetTestOption("-data", "synthetic");
  SetTestOption("-data_classes", "3");
  SetTestOption("-data_separation", "1"); /* overlapping classes: no unit of a net is dead */
  OK(
    PetscSNPrintf(text, sizeof(text), "%" PetscInt_FMT ",%" PetscInt_FMT ",%" PetscInt_FMT, shape.c, shape.h, shape.w));
  SetTestOption("-data_shape", text);
  OK(PetscSNPrintf(text, sizeof(text), "%" PetscInt_FMT, N));
  SetTestOption("-data_count", text);
  OK(CkDataRegisterOptions());
  OK(CkDataCreate(comm, &data));
  OK(CkDataSetFromOptions(data));
  OK(CkDataSetUp(data));
  return data;
}

static inline CkNet NewTestNetOn(MPI_Comm comm, CkShape input, CkHead head, void (*build)(CkNet net))
{
  CkNet net;

  OK(CkNetCreate(comm, &net));
  OK(CkNetAddInput(net, input));
  build(net);
  OK(CkNetSetHead(net, head));
  OK(CkNetSetUp(net));
  return net;
}

/* A state in which every parameter matters. */
static inline CkState NewTestState(MPI_Comm comm, CkNet net, uint64_t seed)
{
  CkState  state;
  PetscInt d, n;
  double  *weights, *buffers, *w, *b;

  OK(CkStateCreate(comm, net, &state));
  OK(CkStateGetArrays(state, &weights, &buffers));
  NewPoint(net, seed, &w, &b);
  OK(CkNetGetDimension(net, &d));
  OK(CkNetGetBuffers(net, &n));
  OK(PetscArraycpy(weights, w, d));
  OK(PetscArraycpy(buffers, b, n));
  OK(PetscFree(w));
  OK(PetscFree(b));
  return state;
}

/* Sets the point to `scale` times normally distributed numbers, the same on any communicator. */
static inline void SetTestPoint(CkLoss loss, uint64_t seed, double scale)
{
  PetscInt d, first, last;
  double  *all;
  Vec      x;

  OK(CkLossGetDimension(loss, &d));
  OK(CkLossCreateVec(loss, &x));
  all = NewNormals(seed, (size_t)d);
  OK(VecGetOwnershipRange(x, &first, &last));
  for (PetscInt i = first; i < last; ++i) OK(VecSetValue(x, i, scale * all[i], INSERT_VALUES));
  OK(VecAssemblyBegin(x));
  OK(VecAssemblyEnd(x));
  OK(CkLossSetPoint(loss, x));
  OK(VecDestroy(&x));
  OK(PetscFree(all));
}

/* Options that are set stay set: sum block, tile and engine are always given here, -loss_l2 by the caller. */
static inline TestLoss NewTestLoss(MPI_Comm comm, const TestLossKind *kind, PetscInt N)
{
  TestLoss t = {NULL, NULL, NULL, NULL};

  SetTestOption("-loss_sum_block", "8");
  SetTestOption("-engine_tile", "4");
  if (kind->engine) SetTestOption("-engine", kind->engine);
  OK(CkLossCreate(comm, &t.loss));
  OK(CkLossSetFromOptions(t.loss));
  if (kind->landscape) kind->landscape(t.loss, N);
  else {
    t.net = NewTestNetOn(comm, kind->input, kind->head, kind->build);
    t.data = NewTestData(comm, kind->input, N);
    t.state = NewTestState(comm, t.net, 5);
    OK(CkLossSetNetwork(t.loss, t.net, t.data, t.state));
  }
  OK(CkLossSetUp(t.loss));
  if (kind->landscape) SetTestPoint(t.loss, 41, 1);
  return t;
}

static inline void FreeTestLoss(TestLoss *t)
{
  OK(CkLossDestroy(&t->loss));
  if (t->state) OK(CkStateDestroy(&t->state));
  if (t->data) OK(CkDataDestroy(&t->data));
  if (t->net) OK(CkNetDestroy(&t->net));
}

/* A vector of normally distributed numbers. */
static inline Vec NewTestVec(CkLoss loss, uint64_t seed)
{
  PetscInt     d, first, last;
  double      *all;
  PetscScalar *mine;
  Vec          v;

  OK(CkLossGetDimension(loss, &d));
  OK(CkLossCreateVec(loss, &v));
  all = NewNormals(seed, (size_t)d);
  OK(VecGetOwnershipRange(v, &first, &last));
  OK(VecGetArrayWrite(v, &mine));
  OK(PetscArraycpy(mine, all + first, last - first));
  OK(VecRestoreArrayWrite(v, &mine));
  OK(PetscFree(all));
  return v;
}

/* All entries of a vector, on every rank of its communicator; by PETSc's own scatter. To be freed. */
static inline double *GetTestEntries(Vec v)
{
  VecScatter         scatter;
  Vec                all;
  const PetscScalar *values;
  double            *copy;
  PetscInt           n;

  OK(VecGetSize(v, &n));
  OK(VecScatterCreateToAll(v, &scatter, &all));
  OK(VecScatterBegin(scatter, v, all, INSERT_VALUES, SCATTER_FORWARD));
  OK(VecScatterEnd(scatter, v, all, INSERT_VALUES, SCATTER_FORWARD));
  OK(PetscMalloc1(n, &copy));
  OK(VecGetArrayRead(all, &values));
  OK(PetscArraycpy(copy, values, n));
  OK(VecRestoreArrayRead(all, &values));
  OK(VecDestroy(&all));
  OK(VecScatterDestroy(&scatter));
  return copy;
}

/* Per-sample gradients [n x d] of a batch on every rank, row by row from CkPassRows(); to be freed. */
static inline double *GetTestRows(CkLoss loss, const CkBatch *batch)
{
  CkPass   pass;
  CkTile   tile;
  PetscInt d;
  double  *all;
  MPI_Comm comm;

  OK(CkLossGetComm(loss, &comm));
  OK(CkLossGetDimension(loss, &d));
  OK(PetscCalloc1((size_t)batch->n * (size_t)d, &all));
  OK(CkPassBegin(loss, batch, &pass));
  while (1) {
    OK(CkPassNext(pass, &tile));
    if (!tile.more) break;
    OK(CkPassRows(pass, CK_FLOAT64, all + (size_t)tile.first * (size_t)d, (size_t)d));
  }
  OK(CkPassEnd(&pass));
  if (MPI_Allreduce(MPI_IN_PLACE, all, (int)(batch->n * d), MPI_DOUBLE, MPI_SUM, comm)) abort();
  return all;
}

/* Largest |a_i - b_i| over largest |b_i|. */
static inline double RelativeDifference(size_t n, const double a[], const double b[])
{
  double difference = 0, size = 0;

  for (size_t i = 0; i < n; ++i) {
    difference = fmax(difference, fabs(a[i] - b[i]));
    size = fmax(size, fabs(b[i]));
  }
  return size > 0 ? difference / size : difference;
}

/* The message of the error that a call raised on rank 0. */
static char test_message[2048];

static inline PetscErrorCode KeepTestMessage(MPI_Comm comm, int line, const char *function, const char *file,
                                             PetscErrorCode code, PetscErrorType type, const char *message,
                                             void *context)
{
  (void)comm;
  (void)line;
  (void)function;
  (void)file;
  (void)context;
  if (type == PETSC_ERROR_INITIAL && message) snprintf(test_message, sizeof(test_message), "%s", message);
  return code;
}

/* A collective call that must fail on every rank with a message that contains `words`. */
#define assert_error_says(words, ...)                                                                                  \
  do {                                                                                                                 \
    PetscErrorCode ck_error_;                                                                                          \
    test_message[0] = '\0';                                                                                            \
    OK(PetscPushErrorHandler(KeepTestMessage, NULL));                                                                  \
    ck_error_ = (__VA_ARGS__);                                                                                         \
    OK(PetscPopErrorHandler());                                                                                        \
    if (!strstr(test_message, words)) fprintf(stderr, "message: \"%s\", expected \"%s\"\n", test_message, words);      \
    assert_on_all_ranks(ck_error_ != 0);                                                                               \
    assert_on_all_ranks(strstr(test_message, words) != NULL);                                                          \
  } while (0)
