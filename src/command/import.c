/* import.c: any data set into Clarkia's HDF5. */
#include <clarkia/command.h>
#include <clarkia/data.h>
#include <clarkia/error.h>
#include <clarkia/options.h>
#include <clarkia/progress.h>
#include <string.h>
#include <sys/stat.h>

static PetscErrorCode ImportDryRun(MPI_Comm comm, CkData data)
{
  double  per_node, per_rank;
  char    node[32], rank[32];
  CkTable rows;

  PetscFunctionBeginUser;
  PetscCall(CkDataView(data));
  PetscCall(CkDataMemory(data, &per_node, &per_rank));
  CkFormatBytes(per_node, node);
  CkFormatBytes(per_rank, rank);
  PetscCall(CkTableCreate(comm, "Dry run: nothing is written", &rows));
  PetscCall(CkTableRow(rows, "memory", "shared, per node", "%s", node));
  PetscCall(CkTableRow(rows, "", "per rank", "%s", rank));
  PetscCall(CkTableDestroy(&rows));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode ImportReport(MPI_Comm comm, CkData data, CkData test, const char file[])
{
  struct stat status = {0};
  char        bytes[32];
  CkTable     rows;

  PetscFunctionBeginUser;
  PetscCall(CkDataView(data));
  if (test) PetscCall(CkDataView(test));
  if (stat(file, &status) == 0) CkFormatBytes((double)status.st_size, bytes);
  else PetscCall(PetscStrncpy(bytes, "unknown", sizeof(bytes)));
  PetscCall(CkTableCreate(comm, "Written", &rows));
  PetscCall(CkTableRow(rows, "file", "", "%s", file));
  PetscCall(CkTableRow(rows, "size", "", "%s", bytes));
  PetscCall(CkTableRow(rows, "splits", "", test ? "training and test" : "training"));
  PetscCall(CkTableDestroy(&rows));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode ImportWrite(MPI_Comm comm, CkData data, const char file[])
{
  CkData test = NULL;

  PetscFunctionBeginUser;
  PetscCall(CkDataSetUp(data));
  PetscCall(CkDataCreateTest(data, &test));
  PetscCall(CkDataWrite(data, test, file));
  PetscCall(ImportReport(comm, data, test, file));
  PetscCall(CkDataDestroy(&test));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode ImportRun(MPI_Comm comm)
{
  char      file[PETSC_MAX_PATH_LEN], split[16];
  PetscBool dry_run;
  CkData    data;

  PetscFunctionBeginUser;
  PetscCall(CkOptionsGetString("output", file, sizeof(file), NULL));
  PetscCall(CkOptionsGetString("data_split", split, sizeof(split), NULL));
  PetscCall(CkOptionsGetBool("dry_run", &dry_run, NULL));
  CkCheckAll(comm, file[0] || dry_run, PETSC_ERR_USER_INPUT, "import needs the file to write: -output FILE.h5");
  CkCheckAll(comm, strcmp(split, "train") == 0, PETSC_ERR_USER_INPUT,
             "import writes both splits into one file; leave out -data_split %s", split);
  PetscCall(CkDataCreate(comm, &data));
  PetscCall(CkDataSetFromOptions(data));
  PetscCall(CkDataOpen(data));
  if (dry_run) PetscCall(ImportDryRun(comm, data));
  else PetscCall(ImportWrite(comm, data, file));
  PetscCall(CkDataDestroy(&data));
  PetscFunctionReturn(PETSC_SUCCESS);
}

const CkCommand ck_command_import = {.name = "import",
                                     .summary = "write a data set, of any format that is read, as one HDF5 file",
                                     .example = "clarkia import -data fashion-mnist -output fashion-mnist.h5",
                                     .register_options = CkDataRegisterOptions,
                                     .run = ImportRun};
