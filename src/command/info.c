/* info.c: what a net consists of. No data is read: an image's shape and the classes are all it takes of a data set. */
#include <clarkia/command.h>
#include <clarkia/data.h>
#include <clarkia/error.h>
#include <clarkia/net.h>
#include <clarkia/options.h>
#include <clarkia/progress.h>

static PetscErrorCode RegisterOptions(void)
{
  PetscFunctionBeginUser;
  PetscCall(CkDataRegisterOptions());
  PetscCall(CkNetRegisterOptions());
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Shape and classes of the data set; of synthetic images (-data_shape, -data_classes) where no -data is given. */
static PetscErrorCode GetInput(MPI_Comm comm, CkShape *shape, PetscInt *classes)
{
  CkData    data;
  PetscBool given;

  PetscFunctionBeginUser;
  PetscCall(PetscOptionsHasName(NULL, NULL, "-data", &given));
  if (!given) PetscCall(PetscOptionsSetValue(NULL, "-data", "synthetic"));
  PetscCall(CkDataCreate(comm, &data));
  PetscCall(CkDataSetFromOptions(data));
  PetscCall(CkDataOpen(data));
  PetscCall(CkDataGetShape(data, shape));
  PetscCall(CkDataGetClasses(data, classes));
  PetscCall(CkDataDestroy(&data));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Layers, weights and operations of one kind, where it has any of the latter two. */
static PetscErrorCode AddKind(CkNet net, CkLayerType type, const char title[], CkTable table)
{
  const CkLayer     *layers;
  const CkParameter *parameters;
  PetscInt           n, nparameters, count = 0, weights = 0;
  double             operations = 0;

  PetscFunctionBeginUser;
  PetscCall(CkNetGetLayers(net, &n, &layers));
  PetscCall(CkNetGetParameters(net, &nparameters, &parameters));
  for (PetscInt i = 0; i < n; ++i) {
    double one = 0;

    if (layers[i].type != type) continue;
    PetscCall(CkNetGetLayerFlops(net, i, &one));
    ++count;
    operations += one;
    for (PetscInt j = 0; j < layers[i].nparameters; ++j) weights += parameters[layers[i].first_parameter + j].size;
  }
  if (weights > 0 || operations > 0)
    PetscCall(CkTableRow(table, title, CkLayerTypeName(type),
                         "%" PetscInt_FMT " layer%s, %" PetscInt_FMT " weight%s, %.4g operations", count,
                         CkPlural(count), weights, CkPlural(weights), operations));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Report(MPI_Comm comm, CkNet net, PetscInt classes)
{
  const char *name;
  CkTable     table;
  CkShape     shape;
  PetscInt    d, buffers, outputs;
  double      forward;

  PetscFunctionBeginUser;
  PetscCall(CkNetGetName(net, &name));
  PetscCall(CkNetGetInput(net, &shape));
  PetscCall(CkNetGetDimension(net, &d));
  PetscCall(CkNetGetBuffers(net, &buffers));
  PetscCall(CkNetGetClasses(net, &outputs));
  PetscCall(CkNetGetFlops(net, &forward));
  PetscCall(CkNetView(net));
  PetscCall(CkTableCreate(comm, "Net", &table));
  PetscCall(
    CkTableRow(table, "net", name, "%" PetscInt_FMT " weights, %" PetscInt_FMT " running statistics", d, buffers));
  PetscCall(CkTableRow(table, "input", "channels x height x width",
                       "%" PetscInt_FMT " x %" PetscInt_FMT " x %" PetscInt_FMT, shape.c, shape.h, shape.w));
  PetscCall(CkTableRow(table, "outputs", "", "%" PetscInt_FMT " (%" PetscInt_FMT " class%s)", outputs, classes,
                       classes == 1 ? "" : "es"));
  PetscCall(CkTableRow(table, "forward pass", "floating-point operations of one sample", "%.4g", forward));
  for (int type = 0; type < CK_LAYER_COUNT; ++type) PetscCall(AddKind(net, (CkLayerType)type, "of which", table));
  PetscCall(CkTableDestroy(&table));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Run(MPI_Comm comm)
{
  char     output[PETSC_MAX_PATH_LEN];
  CkShape  shape;
  PetscInt classes;
  CkNet    net;

  PetscFunctionBeginUser;
  PetscCall(CkOptionsGetString("output", output, sizeof(output), NULL));
  CkCheckAll(comm, !output[0], PETSC_ERR_USER_INPUT, "info writes no file: leave out -output %s", output);
  PetscCall(GetInput(comm, &shape, &classes));
  PetscCall(CkNetCreate(comm, &net));
  PetscCall(CkNetSetFromOptions(net, shape, classes));
  PetscCall(CkNetSetUp(net));
  PetscCall(Report(comm, net, classes));
  PetscCall(CkNetDestroy(&net));
  PetscFunctionReturn(PETSC_SUCCESS);
}

const CkCommand ck_command_info = {.name = "info",
                                   .summary = "a network's layers, shapes, weights and operations, as a table",
                                   .example = "clarkia info -net resnet -net_depth 110 -data_shape 3,32,32",
                                   .register_options = RegisterOptions,
                                   .run = Run};
