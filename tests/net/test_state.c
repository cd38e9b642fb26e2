/* State files and initial weights. */
#include "messages.h"
#include "testing.h"
#include <clarkia/file.h>
#include <clarkia/random.h>
#include <clarkia/state.h>
#include <unistd.h>

static char names[2][64]; /* of this number of ranks: the test runs on several at once */

static void NameFiles(void)
{
  int ranks;

  MPI_Comm_size(PETSC_COMM_WORLD, &ranks);
  for (int i = 0; i < 2; ++i) snprintf(names[i], sizeof(names[i]), "state_%c_np%d.h5", "ab"[i], ranks);
}

static CkNet ZooNet(const char name[], CkShape input, PetscInt classes)
{
  CkNet net;

  OK(CkNetCreate(PETSC_COMM_WORLD, &net));
  OK(CkNetSetZoo(net, name, input, classes));
  OK(CkNetSetUp(net));
  return net;
}

static CkState NewState(CkNet net, uint64_t seed)
{
  CkState state;

  OK(CkStateCreate(PETSC_COMM_WORLD, net, &state));
  OK(CkStateInitialize(state, seed));
  return state;
}

static void RemoveFiles(void)
{
  int rank;

  MPI_Barrier(PETSC_COMM_WORLD);
  MPI_Comm_rank(PETSC_COMM_WORLD, &rank);
  for (int i = 0; rank == 0 && i < 2; ++i) unlink(names[i]);
  MPI_Barrier(PETSC_COMM_WORLD);
}

/* Uniform within 1/sqrt(fan in), so of variance 1/(3 fan in); scales and variances 1, shifts and means 0. */
static void initial_weights_are_pytorchs(void **unused)
{
  CkNet              net = ZooNet("mlp", (CkShape){1, 28, 28}, 10);
  CkState            state = NewState(net, 4), other = NewState(net, 5);
  const CkParameter *p;
  double            *x, *y;
  PetscInt           n, d;

  (void)unused;
  OK(CkNetGetParameters(net, &n, &p));
  OK(CkNetGetDimension(net, &d));
  OK(CkStateGetArrays(state, &x, NULL));
  OK(CkStateGetArrays(other, &y, NULL));
  for (PetscInt t = 0; t < n; ++t) {
    const PetscInt fan = p[t - p[t].role].shape[1]; /* a bias follows its weight */
    const double   bound = 1 / sqrt((double)fan);
    double         sum = 0, squares = 0, largest = 0;
    const double   size = (double)p[t].size;

    for (PetscInt i = p[t].offset; i < p[t].offset + p[t].size; ++i) {
      sum += x[i];
      squares += x[i] * x[i];
      largest = fmax(largest, fabs(x[i]));
    }
    assert_on_all_ranks(largest <= bound && largest > bound * (1 - 20 / size));
    assert_close(sum / size, 0, 5, bound / sqrt(3 * size));
    /* standard deviation of u^2 for u uniform in (-1, 1): sqrt(4/45) */
    assert_close(squares / size, bound * bound / 3, 5, bound * bound * sqrt(4 / (45 * size)));
  }
  assert_on_all_ranks(memcmp(x, y, (size_t)d * sizeof(double)) != 0);
  OK(CkStateInitialize(other, 4));
  assert_on_all_ranks(!memcmp(x, y, (size_t)d * sizeof(double)));
  OK(CkStateDestroy(&state));
  OK(CkStateDestroy(&other));
  OK(CkNetDestroy(&net));
}

/* Convolutions of the residual and dense nets: normal of variance 2/(kernel x output channels), no bound at all. */
static void initial_convolutions_are_hes(void **unused)
{
  static const char *const nets[] = {"resnet", "wrn", "densenet"};

  (void)unused;
  for (size_t i = 0; i < sizeof(nets) / sizeof(nets[0]); ++i) {
    CkNet              net = ZooNet(nets[i], (CkShape){3, 32, 32}, 10);
    CkState            state = NewState(net, 4);
    const CkParameter *p;
    double            *x, beyond = 0, all = 0;
    PetscInt           n;

    OK(CkNetGetParameters(net, &n, &p));
    OK(CkStateGetArrays(state, &x, NULL));
    for (PetscInt t = 0; t < n; ++t) {
      const double variance = 2 / (double)(p[t].shape[0] * p[t].shape[2] * p[t].shape[3]), size = (double)p[t].size;
      double       sum = 0, squares = 0;

      if (p[t].rank != 4) continue;
      for (PetscInt k = p[t].offset; k < p[t].offset + p[t].size; ++k) {
        sum += x[k];
        squares += x[k] * x[k];
        beyond += x[k] * x[k] > 4 * variance;
      }
      all += size;
      assert_close(sum / size, 0, 5, sqrt(variance / size));
      assert_close(squares / size, variance, 5, variance * sqrt(2 / size));
    }
    assert_close(beyond / all, 0.0455, 5, sqrt(0.0455 / all)); /* two standard deviations of a normal number */
    OK(CkStateDestroy(&state));
    OK(CkNetDestroy(&net));
  }
}

static void batch_norm_starts_as_the_identity(void **unused)
{
  CkNet              net = ZooNet("small-lenet", (CkShape){1, 28, 28}, 10);
  CkState            state = NewState(net, 4);
  const CkParameter *p;
  double            *weights, *buffers;
  PetscInt           n, checked = 0;

  (void)unused;
  OK(CkNetGetParameters(net, &n, &p));
  OK(CkStateGetArrays(state, &weights, &buffers));
  for (PetscInt t = 0; t < n; ++t)
    for (PetscInt i = p[t].offset; i < p[t].offset + p[t].size; ++i) {
      const double x = (p[t].trainable ? weights : buffers)[i];

      if (p[t].role == CK_ROLE_WEIGHT || p[t].role == CK_ROLE_BIAS) continue;
      assert_true(x == (p[t].role == CK_ROLE_SCALE || p[t].role == CK_ROLE_VARIANCE));
      ++checked;
    }
  assert_int_equal(checked, 4 * (8 + 16 + 128));
  OK(CkStateDestroy(&state));
  OK(CkNetDestroy(&net));
}

/* Every bit comes back, buffers included, and the file says what it is. */
static void states_come_back(void **unused)
{
  CkNet      net = ZooNet("small-lenet", (CkShape){1, 28, 28}, 10);
  CkState    written = NewState(net, 1), read = NewState(net, 2);
  double    *x, *y, *b, *c;
  uint64_t   before, after;
  PetscInt   d, n;
  PetscInt64 number;
  CkFile     file;
  char       text[64];

  (void)unused;
  NameFiles();
  OK(CkNetGetDimension(net, &d));
  OK(CkNetGetBuffers(net, &n));
  OK(CkStateGetArrays(written, &x, &b));
  OK(CkStateGetArrays(read, &y, &c));
  b[3] = 0.1;
  x[7] = 1. / 3;
  OK(CkStateWrite(written, names[0], 12, 3456));
  OK(CkStateRead(read, names[0]));
  assert_on_all_ranks(!memcmp(x, y, (size_t)d * sizeof(double)));
  assert_on_all_ranks(!memcmp(b, c, (size_t)n * sizeof(double)));
  OK(CkStateChecksum(written, &before));
  OK(CkStateChecksum(read, &after));
  assert_on_all_ranks(before == after);
  c[0] += 1e-16;
  c[1] += 1e-15;
  OK(CkStateChecksum(read, &after));
  assert_on_all_ranks(before != after);
  OK(CkFileOpen(PETSC_COMM_WORLD, names[0], &file));
  OK(CkFileReadInt(file, "/state", "epoch", &number, NULL));
  assert_int_equal(number, 12);
  OK(CkFileReadInt(file, "/state", "step", &number, NULL));
  assert_int_equal(number, 3456);
  OK(CkFileReadString(file, "/state", "net", text, sizeof(text), NULL));
  assert_string_equal(text, "small-lenet");
  OK(CkFileDestroy(&file));
  RemoveFiles();
  OK(CkStateDestroy(&written));
  OK(CkStateDestroy(&read));
  OK(CkNetDestroy(&net));
}

/* What is wrong with the file that WriteOther() writes for a tiny-fc of 7 inputs and 3 classes. */
typedef enum { FLOAT32, COUNTED, MISSING, SHAPE, RANK, EXTRA, INTEGER, NAN_INSIDE, NEGATIVE, NO_STATE, CHECKSUM } Fault;

static void WriteTensor(CkFile file, const CkParameter *p, Fault fault)
{
  const PetscBool affected = (PetscBool)!strcmp(p->name, "bn1.running_mean");
  PetscInt64      shape[4] = {p->shape[0], p->shape[1], p->shape[2], p->shape[3]};
  int             rank = p->rank;
  CkType          type = fault == FLOAT32 ? CK_F32 : CK_F64;
  char            path[256];
  double         *x;
  float          *single;
  int            *whole;

  if (affected && fault == MISSING) return;
  if (affected && fault == SHAPE) ++shape[0];
  if (affected && fault == RANK) shape[rank++] = 1;
  if (affected && fault == INTEGER) type = CK_I32;
  OK(PetscCalloc3(2 * p->size, &x, 2 * p->size, &single, 2 * p->size, &whole));
  for (PetscInt i = 0; i < p->size; ++i) single[i] = (float)(x[i] = 1.5 + (double)i);
  if (affected && fault == NAN_INSIDE) x[2] = -NAN;
  if (!strcmp(p->name, "bn1.running_var") && fault == NEGATIVE) x[5] = -0.25;
  OK(PetscSNPrintf(path, sizeof(path), "/state/%s", p->name));
  OK(CkFileWriteAll(file, path, type, rank, shape,
                    type == CK_F64 ? (void *)x : (type == CK_F32 ? (void *)single : (void *)whole), "1", "a tensor"));
  OK(PetscFree3(x, single, whole));
}

static void WriteOther(CkNet net, Fault fault)
{
  const PetscInt64   one[1] = {1}, count = 7;
  const double       x = 1;
  const CkParameter *p;
  PetscInt           n;
  CkFile             file;

  OK(CkNetGetParameters(net, &n, &p));
  OK(CkFileCreate(PETSC_COMM_WORLD, names[1], &file));
  if (fault != NO_STATE) OK(CkFileCreateGroup(file, "/state"));
  for (PetscInt t = 0; t < n && fault != NO_STATE; ++t) WriteTensor(file, &p[t], fault);
  if (fault == EXTRA) OK(CkFileWriteAll(file, "/state/bn2.weight", CK_F64, 1, one, &x, "1", "one too many"));
  if (fault == COUNTED)
    OK(CkFileWriteAll(file, "/state/bn1.num_batches_tracked", CK_I64, 1, one, &count, "1", "of PyTorch"));
  if (fault == CHECKSUM) OK(CkFileWriteString(file, "/state", "checksum", "0123456789abcdef"));
  OK(CkFileCommit(file));
  OK(CkFileDestroy(&file));
}

/* Files made elsewhere are read: float32, PyTorch's counters; what is wrong with others is named, and nothing changes.
 */
static void other_files_are_judged(void **unused)
{
  const struct {
    Fault       fault;
    const char *words[3];
  } faults[] = {
    {MISSING, {"bn1.running_mean", "missing", "tiny-fc"}},
    {SHAPE, {"bn1.running_mean", "17", "16"}},
    {RANK, {"bn1.running_mean", "16 x 1", "16"}},
    {EXTRA, {"bn2.weight", "not in the net", "tiny-fc"}},
    {INTEGER, {"bn1.running_mean", "integers", ""}},
    {NAN_INSIDE, {"bn1.running_mean[2]", "is nan,", "state_b_np"}},
    {NEGATIVE, {"bn1.running_var[5]", "is -0.25", "at least 0"}},
    {NO_STATE, {"/state", "state_b_np", ""}},
    {CHECKSUM, {"checksum", "0123456789abcdef", "state_b_np"}},
  };
  CkNet    net = ZooNet("tiny-fc", (CkShape){7, 1, 1}, 3);
  CkState  state = NewState(net, 8);
  double  *x;
  uint64_t before, after;

  (void)unused;
  NameFiles();
  OK(CkStateChecksum(state, &before));
  for (size_t i = 0; i < sizeof(faults) / sizeof(faults[0]); ++i) {
    WriteOther(net, faults[i].fault);
    assert_message(CkStateRead(state, names[1]), faults[i].words[0], faults[i].words[1], faults[i].words[2]);
    OK(CkStateChecksum(state, &after));
    assert_on_all_ranks(before == after);
  }
  for (int fault = FLOAT32; fault <= COUNTED; ++fault) {
    WriteOther(net, (Fault)fault);
    OK(CkStateInitialize(state, 8));
    OK(CkStateRead(state, names[1]));
    OK(CkStateGetArrays(state, &x, NULL));
    for (int i = 0; i < 7 * 16; ++i) assert_true(x[i] == 1.5 + i);
  }
  RemoveFiles();
  assert_message(CkStateRead(state, names[1]), "state_b_np");
  OK(CkStateDestroy(&state));
  OK(CkNetDestroy(&net));
}

/* Another net's file: the message names the first tensor that differs. */
static void another_nets_file_is_refused(void **unused)
{
  CkNet   small = ZooNet("small-fc", (CkShape){1, 7, 7}, 10), tiny = ZooNet("tiny-fc", (CkShape){1, 7, 7}, 5);
  CkState from = NewState(small, 1), to = NewState(tiny, 1);

  (void)unused;
  NameFiles();
  OK(CkStateWrite(from, names[0], 0, 0));
  assert_message(CkStateRead(to, names[0]), "fc1.weight", "64 x 49", "16 x 49", "tiny-fc");
  RemoveFiles();
  OK(CkStateDestroy(&from));
  OK(CkStateDestroy(&to));
  OK(CkNetDestroy(&small));
  OK(CkNetDestroy(&tiny));
}

/* A NaN found on one rank only is everybody's error, and is never written. */
static void numbers_that_are_not_finite_are_named(void **unused)
{
  CkNet   net = ZooNet("small-lenet", (CkShape){1, 28, 28}, 10);
  CkState state = NewState(net, 8);
  double *x, *b;
  int     rank;

  (void)unused;
  NameFiles();
  MPI_Comm_rank(PETSC_COMM_WORLD, &rank);
  OK(CkStateGetArrays(state, &x, &b));
  OK(CkStateCheckFinite(state));
  if (rank == 0) x[208 + 16 + 25 * 8 + 7] = NAN; /* conv2.weight[1,0,1,2] */
  assert_message(CkStateCheckFinite(state), "conv2.weight[1,0,1,2]", "nan");
  assert_message(CkStateWrite(state, names[0], 0, 0), "conv2.weight");
  assert_on_all_ranks(access(names[0], F_OK) != 0);
  OK(CkStateInitialize(state, 8));
  b[9] = -INFINITY;
  assert_message(CkStateCheckFinite(state), "bn1.running_var[1]", "inf");
  OK(CkStateInitialize(state, 8));
  x[208 + 16 + 25 * 8 + 7] = -4e38;
  OK(CkStateCheckFinite(state));
  assert_message(CkNetCheckNumbers(net, "FILE: ", 3.4e38, x, b), "FILE: tensor conv2.weight[1,0,1,2]", "-4e+38",
                 "-engine reference");
  OK(CkStateDestroy(&state));
  OK(CkNetDestroy(&net));
}

static const struct CMUnitTest tests[] = {
  cmocka_unit_test(initial_weights_are_pytorchs),
  cmocka_unit_test(initial_convolutions_are_hes),
  cmocka_unit_test(batch_norm_starts_as_the_identity),
  cmocka_unit_test(states_come_back),
  cmocka_unit_test(other_files_are_judged),
  cmocka_unit_test(another_nets_file_is_refused),
  cmocka_unit_test(numbers_that_are_not_finite_are_named),
};

CK_TEST_MAIN(tests, PetscInitialize, PetscFinalize)
