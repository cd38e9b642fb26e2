#include "folder.h"
#include "messages.h"
#include <clarkia/command.h>
#include <clarkia/file.h>
#include <clarkia/net.h>
#include <clarkia/state.h>
#include <float.h>
#include <slepcsys.h>
#include <stdlib.h>
#include <unistd.h>

/* From raw data to a spectrum with the commands themselves: import, train, spectrum by three routes. */

#define DATA "-data synthetic -data_shape 8 -data_classes 3 -data_count 60 -data_separation 2 "
#define NET "-net mlp -net_widths 6 -net_activation tanh -engine reference "

/* Runs a command with these options and nothing else. */
static PetscErrorCode Run(const CkCommand *command, const char format[], ...) PETSC_ATTRIBUTE_FORMAT(2, 3);
static PetscErrorCode Run(const CkCommand *command, const char format[], ...)
{
  char    options[1024];
  va_list args;

  va_start(args, format);
  vsnprintf(options, sizeof(options), format, args);
  va_end(args);
  PetscFunctionBeginUser;
  PetscCall(PetscOptionsClear(NULL));
  PetscCall(PetscOptionsInsertString(NULL, options));
  PetscCall(CkCommandRun(command, PETSC_COMM_WORLD));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static int RemoveFolder(void **state)
{
  static const char *const names[] = {"data.h5",   "state.h5", "dense.h5",  "gram.h5",
                                      "krylov.h5", "nan.h5",   "vectors.h5"};

  (void)state;
  return RemoveFolderOf(PETSC_STATIC_ARRAY_LENGTH(names), names);
}

/* All eigenvalues of a result file, on every rank; to be freed. */
static double *ReadValues(const char name[], PetscInt64 *n)
{
  CkFile     file;
  CkType     type;
  int        rank;
  PetscInt64 shape[CK_MAX_RANK];
  double    *values;

  OK(CkFileOpen(PETSC_COMM_WORLD, Path(name), &file));
  OK(CkFileGetDataset(file, "/eigenvalues", &type, &rank, shape));
  assert_int_equal(type, CK_F64);
  assert_int_equal(rank, 1);
  *n = shape[0];
  OK(PetscMalloc1(*n, &values));
  OK(CkFileReadAll(file, "/eigenvalues", CK_F64, values));
  OK(CkFileDestroy(&file));
  return values;
}

static void AssertAttributes(const char name[], const double values[], PetscInt64 n, const char method[])
{
  CkFile     file;
  char       text[64];
  double     real, sum = 0;
  PetscInt64 integer;

  for (PetscInt64 i = 0; i < n; ++i) sum += values[i];
  OK(CkFileOpen(PETSC_COMM_WORLD, Path(name), &file));
  OK(CkFileReadString(file, "/", "method", text, sizeof(text), NULL));
  assert_string_equal(text, method);
  OK(CkFileReadString(file, "/", "network", text, sizeof(text), NULL));
  assert_string_equal(text, "mlp");
  OK(CkFileReadString(file, "/", "operator", text, sizeof(text), NULL));
  assert_string_equal(text, "diffusion");
  OK(CkFileReadInt(file, "/", "dimension", &integer, NULL));
  assert_int_equal(integer, 75); /* 8*6 + 6 + 6*3 + 3 */
  OK(CkFileReadInt(file, "/", "samples", &integer, NULL));
  assert_int_equal(integer, 60);
  OK(CkFileReadReal(file, "/", "lambda_max", &real, NULL));
  assert_close(real, values[0], 0, 1);
  OK(CkFileReadInt(file, "/", "complete", &integer, NULL));
  OK(CkFileReadReal(file, "/", "trace", &real, NULL));
  if (integer) {
    assert_close(real, sum, 1e-12, sum);
    OK(CkFileReadInt(file, "/", "rank_float64", &integer, NULL));
    assert_in_range(integer, 30, 59);
    OK(CkFileReadReal(file, "/", "clipped_std", &real, NULL));
    assert_true(real > 0);
  } else {
    assert_true(sum < real);
  }
  OK(CkFileDestroy(&file));
}

static void import_train_and_three_routes(void **state)
{
  static const char *const routes[] = {"dense", "gram", "krylov"};
  double                  *values[3];
  PetscInt64               n[3];
  char                     input[256], weights[256];

  (void)state;
  snprintf(input, sizeof(input), "%s", Path("data.h5"));
  snprintf(weights, sizeof(weights), "%s", Path("state.h5"));
  OK(Run(&ck_command_import, DATA "-output %s", input));
  OK(Run(&ck_command_train, "-data %s " NET "-dynamics_epochs 2 -dynamics_batch 20 -output %s", input, weights));
  for (int r = 0; r < 3; ++r) {
    char name[16];

    snprintf(name, sizeof(name), "%s.h5", routes[r]);
    OK(Run(&ck_command_spectrum, "-data %s " NET "-state %s -spectrum_method %s -output %s", input, weights, routes[r],
           Path(name)));
    values[r] = ReadValues(name, &n[r]);
    AssertAttributes(name, values[r], n[r], routes[r]);
  }
  assert_int_equal(n[0], 75);
  assert_int_equal(n[1], 59); /* N - 1 can be non-zero */
  assert_int_equal(n[2], 20);
  for (int i = 0; i < 20; ++i) {
    assert_close(values[0][i], values[1][i], 1e-10, values[1][i]);
    assert_close(values[2][i], values[1][i], 1e-10, values[1][i]);
  }
  for (int r = 0; r < 3; ++r) OK(PetscFree(values[r]));
}

/* Stored rows are eigenvectors: of unit length, with residuals beside them. */
static void eigenvectors_in_the_file(void **state)
{
  CkFile     file;
  CkType     type;
  int        rank;
  PetscInt64 shape[CK_MAX_RANK], n;
  double    *vectors, *residuals, *values;

  (void)state;
  OK(Run(&ck_command_spectrum, DATA NET "-spectrum_method gram -spectrum_vectors 5 -output %s", Path("vectors.h5")));
  values = ReadValues("vectors.h5", &n);
  OK(CkFileOpen(PETSC_COMM_WORLD, Path("vectors.h5"), &file));
  OK(CkFileGetDataset(file, "/eigenvectors", &type, &rank, shape));
  assert_int_equal(rank, 2);
  assert_int_equal(shape[0], 5);
  assert_int_equal(shape[1], 75);
  OK(PetscMalloc2(5 * 75, &vectors, n, &residuals));
  OK(CkFileReadAll(file, "/eigenvectors", CK_F64, vectors));
  OK(CkFileReadAll(file, "/residuals", CK_F64, residuals));
  OK(CkFileDestroy(&file));
  for (int i = 0; i < 5; ++i) {
    for (int j = 0; j <= i; ++j) {
      double dot = 0;

      for (int k = 0; k < 75; ++k) dot += vectors[i * 75 + k] * vectors[j * 75 + k];
      assert_close(dot, i == j, 1e-10, 1);
    }
    assert_on_all_ranks(residuals[i] < 1e-12);
  }
  for (PetscInt64 i = 5; i < n; ++i) assert_on_all_ranks(isnan(residuals[i]));
  OK(PetscFree(values));
  OK(PetscFree2(vectors, residuals));
}

/* A state file of the right net with one NaN; CkStateWrite() would refuse to write it. */
static void WriteNanState(const char name[])
{
  const CkShape      shape = {8, 1, 1};
  const CkParameter *parameters;
  CkNet              net;
  CkFile             file;
  PetscInt           n;

  OK(PetscOptionsClear(NULL));
  OK(PetscOptionsInsertString(NULL, NET));
  OK(CkNetCreate(PETSC_COMM_WORLD, &net));
  OK(CkNetSetFromOptions(net, shape, 3));
  OK(CkNetSetUp(net));
  OK(CkNetGetParameters(net, &n, &parameters));
  OK(CkFileCreate(PETSC_COMM_WORLD, name, &file));
  for (PetscInt i = 0; i < n; ++i) {
    PetscInt64 sizes[4];
    double    *values;
    char       path[128];

    for (int k = 0; k < 4; ++k) sizes[k] = parameters[i].shape[k];
    OK(PetscCalloc1(parameters[i].size, &values));
    if (strcmp(parameters[i].name, "fc2.bias") == 0) values[2] = NAN;
    snprintf(path, sizeof(path), "/state/%s", parameters[i].name);
    OK(CkFileWriteAll(file, path, CK_F64, parameters[i].rank, sizes, values, "1", "test"));
    OK(PetscFree(values));
  }
  OK(CkFileCommit(file));
  OK(CkFileDestroy(&file));
  OK(CkNetDestroy(&net));
}

static void nan_in_the_weights_names_the_tensor(void **state)
{
  char bad[256], output[256];

  (void)state;
  snprintf(bad, sizeof(bad), "%s", Path("nan.h5"));
  snprintf(output, sizeof(output), "%s", Path("never.h5"));
  WriteNanState(bad);
  assert_message(Run(&ck_command_spectrum, DATA NET "-state %s -output %s", bad, output), "fc2.bias", "nan");
  assert_on_all_ranks(access(output, F_OK) != 0);
}

static const struct CMUnitTest tests[] = {
  cmocka_unit_test(import_train_and_three_routes),
  cmocka_unit_test(eigenvectors_in_the_file),
  cmocka_unit_test(nan_in_the_weights_names_the_tensor),
};

int main(int argc, char **argv)
{
  int rank, failed, worst;

  OK(SlepcInitialize(&argc, &argv, NULL, NULL));
  MPI_Comm_rank(PETSC_COMM_WORLD, &rank);
  if (rank > 0 && !freopen("/dev/null", "w", stdout)) return 1;
  failed = cmocka_run_group_tests(tests, MakeFolder, RemoveFolder);
  MPI_Allreduce(&failed, &worst, 1, MPI_INT, MPI_MAX, PETSC_COMM_WORLD);
  OK(SlepcFinalize());
  return worst ? 1 : 0;
}
