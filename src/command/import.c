/* import.c: clarkia import: any data set to one HDF5 file, with its transforms and, where the source has one, its test
 * split. */
#include <clarkia/command.h>
#include <clarkia/data.h>
#include <clarkia/error.h>
#include <clarkia/options.h>
#include <clarkia/progress.h>

static PetscErrorCode RegisterOptions(void)
{
  PetscFunctionBeginUser;
  PetscCall(CkDataRegisterOptions());
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Plan(CkData data, MPI_Comm comm)
{
  double  per_node, per_rank;
  char    node[32], rank[32];
  CkTable table;

  PetscFunctionBeginUser;
  PetscCall(CkDataView(data));
  PetscCall(CkDataMemory(data, &per_node, &per_rank));
  CkFormatBytes(per_node, node);
  CkFormatBytes(per_rank, rank);
  PetscCall(
    CkTableCreate(comm, "Plan (dry run: nothing is read beyond headers and labels, nothing is written)", &table));
  PetscCall(CkTableRow(table, "memory per node", "", "%s", node));
  PetscCall(CkTableRow(table, "memory per rank", "", "%s", rank));
  PetscCall(CkTableDestroy(&table));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Import(CkData data, MPI_Comm comm, const char output[])
{
  CkData test = NULL;
  char   split[8];

  PetscFunctionBeginUser;
  PetscCall(CkOptionsGetString("data_split", split, sizeof(split), NULL));
  PetscCall(CkDataSetUp(data));
  if (split[1] == 'r') PetscCall(CkDataCreateTest(data, &test));
  PetscCall(CkDataView(data));
  if (test) PetscCall(CkDataView(test));
  PetscCall(CkDataWrite(data, test, output));
  PetscCall(CkLog(comm, "wrote %s%s", output, test ? ", training and test split" : ""));
  PetscCall(CkDataDestroy(&test));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Run(MPI_Comm comm)
{
  char      output[PETSC_MAX_PATH_LEN];
  PetscBool dry_run;
  CkData    data;

  PetscFunctionBeginUser;
  PetscCall(CkOptionsGetString("output", output, sizeof(output), NULL));
  PetscCall(CkOptionsGetBool("dry_run", &dry_run, NULL));
  CkCheckAll(comm, output[0] || dry_run, PETSC_ERR_USER_INPUT, "import needs -output FILE.h5, the file to write");
  PetscCall(CkDataCreate(comm, &data));
  PetscCall(CkDataSetFromOptions(data));
  PetscCall(CkDataOpen(data));
  if (dry_run) PetscCall(Plan(data, comm));
  else PetscCall(Import(data, comm, output));
  PetscCall(CkDataDestroy(&data));
  PetscFunctionReturn(PETSC_SUCCESS);
}

const CkCommand ck_command_import = {
  .name = "import",
  .summary = "read a data set in its original format and write it as one HDF5 file",
  .example = "clarkia import -data fashion-mnist -output fashion-mnist.h5",
  .register_options = RegisterOptions,
  .run = Run,
};
