/* problem.c: data set, net, weights and loss of a command, from the options. */
#include "problem.h"
#include <clarkia/error.h>
#include <clarkia/options.h>
#include <string.h>

enum { CK_LIST_ROOM = 65536 }; /* bytes of a list of files */

static const CkOption table[] = {
  {"state", CK_OPTION_FILE, NULL, 0, 0, NULL,
   "file of the weights (HDF5, written by train); random: random weights from -seed; unset: those in -net FILE.onnx, "
   "else random ones; spectrum: A,B,.. is a series"},
  {"state_replica", CK_OPTION_INT, NULL, 0, 65534, NULL,
   "of a -state FILE of several replicas this one, from 0; unset: their mean where they are coupled, else the first"},
  {0}};

PetscErrorCode CkProblemRegisterOptions(void)
{
  PetscFunctionBeginUser;
  PetscCall(CkDataRegisterOptions());
  PetscCall(CkNetRegisterOptions());
  PetscCall(CkOptionsRegister("Weights", table));
  PetscCall(CkEngineRegisterOptions());
  PetscCall(CkLossRegisterOptions());
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode OpenData(CkProblem *problem)
{
  PetscFunctionBeginUser;
  PetscCall(CkDataCreate(problem->comm, &problem->data));
  PetscCall(CkDataSetFromOptions(problem->data));
  PetscCall(CkDataOpen(problem->data));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode OpenNet(CkProblem *problem)
{
  CkShape  shape;
  PetscInt classes;

  PetscFunctionBeginUser;
  PetscCall(CkDataGetShape(problem->data, &shape));
  PetscCall(CkDataGetClasses(problem->data, &classes));
  PetscCall(CkNetCreate(problem->comm, &problem->net));
  PetscCall(CkNetSetFromOptions(problem->net, shape, classes));
  PetscCall(CkNetSetUp(problem->net));
  PetscCall(CkStateCreate(problem->comm, problem->net, &problem->state));
  PetscCall(CkLossCreate(problem->loss_comm, &problem->loss));
  PetscCall(CkLossSetFromOptions(problem->loss));
  PetscCall(CkLossSetNetwork(problem->loss, problem->net, problem->data, problem->state));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkProblemDataMemory(const CkProblem *problem, double *bytes)
{
  double      per_node, per_rank;
  PetscMPIInt ranks;
  MPI_Comm    node;

  PetscFunctionBeginUser;
  PetscCall(CkDataMemory(problem->data, &per_node, &per_rank));
  PetscCallMPI(MPI_Comm_split_type(problem->comm, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &node));
  PetscCallMPI(MPI_Comm_size(node, &ranks));
  PetscCallMPI(MPI_Comm_free(&node));
  *bytes = per_rank + per_node / ranks;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode LoadState(CkProblem *problem, const char file[])
{
  PetscInt  seed, replica = -1;
  PetscBool has;

  PetscFunctionBeginUser;
  PetscCall(CkOptionsGetInt("seed", &seed, NULL));
  PetscCall(CkOptionsGetInt("state_replica", &replica, NULL));
  PetscCall(CkStateInitialize(problem->state, (uint64_t)seed));
  if (!file[0]) PetscCall(CkStateTakeInitial(problem->state, &has));
  else if (strcmp(file, "random") != 0) PetscCall(CkStateReadReplica(problem->state, file, replica));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The small things that may be wrong come before the long reading of data. */
static PetscErrorCode Load(CkProblem *problem, const char file[])
{
  double bytes;

  PetscFunctionBeginUser;
  PetscCall(CkProblemDataMemory(problem, &bytes));
  PetscCall(CkMemoryCheck(problem->comm, bytes, "the data set",
                          "take fewer samples (-data_count), more nodes, or raise -memory_limit"));
  PetscCall(LoadState(problem, file));
  PetscCall(CkDataSetUp(problem->data));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* For tables: where the weights come from. */
static PetscErrorCode DescribeWeights(CkProblem *problem, const char file[])
{
  PetscInt      seed;
  const char   *net;
  const double *weights, *buffers;
  const size_t  room = sizeof(problem->weights);
  const int     from_file = file[0] && strcmp(file, "random") != 0;
  PetscInt      replica;
  PetscBool     given;

  PetscFunctionBeginUser;
  PetscCall(CkOptionsGetInt("seed", &seed, NULL));
  PetscCall(CkOptionsGetInt("state_replica", &replica, &given));
  CkCheckAll(problem->comm, !given || from_file, PETSC_ERR_ARG_INCOMP,
             "-state_replica has no effect without -state FILE: leave it out, or give the file");
  PetscCall(CkNetGetInitial(problem->net, &weights, &buffers));
  PetscCall(CkNetGetName(problem->net, &net));
  if (given) PetscCall(PetscSNPrintf(problem->weights, room, "%s, replica %" PetscInt_FMT, file, replica));
  else if (from_file) PetscCall(PetscStrncpy(problem->weights, file, room));
  else if (weights && !file[0]) PetscCall(PetscStrncpy(problem->weights, net, room));
  else PetscCall(PetscSNPrintf(problem->weights, room, "random, seed %" PetscInt_FMT, seed));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Data, net, state and loss, the weights being those of `state`. */
static PetscErrorCode OpenWith(MPI_Comm comm, MPI_Comm loss, const char state[], CkProblem *problem)
{
  PetscFunctionBeginUser;
  *problem = (CkProblem){.comm = comm, .loss_comm = loss};
  PetscCall(OpenData(problem));
  PetscCall(OpenNet(problem));
  PetscCall(DescribeWeights(problem, state));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode SetUpWith(CkProblem *problem, PetscBool load, const char state[])
{
  PetscFunctionBeginUser;
  if (load) PetscCall(Load(problem, state));
  PetscCall(CkLossSetUp(problem->loss));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkProblemOpen(MPI_Comm comm, MPI_Comm loss, CkProblem *problem)
{
  char file[PETSC_MAX_PATH_LEN];

  PetscFunctionBeginUser;
  PetscCall(CkOptionsGetString("state", file, sizeof(file), NULL));
  PetscCall(OpenWith(comm, loss, file, problem));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkProblemSetUp(CkProblem *problem, PetscBool load)
{
  char file[PETSC_MAX_PATH_LEN];

  PetscFunctionBeginUser;
  PetscCall(CkOptionsGetString("state", file, sizeof(file), NULL));
  PetscCall(SetUpWith(problem, load, file));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkProblemCreate(MPI_Comm comm, PetscBool load, CkProblem *problem)
{
  PetscFunctionBeginUser;
  PetscCall(CkProblemOpen(comm, comm, problem));
  PetscCall(CkProblemSetUp(problem, load));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkProblemCreateWith(MPI_Comm comm, PetscBool load, const char state[], CkProblem *problem)
{
  PetscFunctionBeginUser;
  PetscCall(OpenWith(comm, comm, state, problem));
  PetscCall(SetUpWith(problem, load, state));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkProblemSetState(CkProblem *problem, const char state[])
{
  PetscInt     first, last;
  double      *weights, *buffers;
  PetscScalar *mine;
  Vec          x;

  PetscFunctionBeginUser;
  PetscCall(DescribeWeights(problem, state));
  PetscCall(LoadState(problem, state));
  PetscCall(CkStateGetArrays(problem->state, &weights, &buffers));
  PetscCall(CkLossCreateVec(problem->loss, &x));
  PetscCall(VecGetOwnershipRange(x, &first, &last));
  PetscCall(VecGetArrayWrite(x, &mine));
  PetscCall(PetscArraycpy(mine, weights + first, last - first));
  PetscCall(VecRestoreArrayWrite(x, &mine));
  PetscCall(CkLossSetPoint(problem->loss, x));
  PetscCall(VecDestroy(&x));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkProblemSetNet(CkProblem *problem, PetscBool load, const char state[])
{
  PetscFunctionBeginUser;
  PetscCall(CkLossDestroy(&problem->loss));
  PetscCall(CkStateDestroy(&problem->state));
  PetscCall(CkNetDestroy(&problem->net));
  PetscCall(OpenNet(problem));
  PetscCall(DescribeWeights(problem, state));
  if (load) PetscCall(LoadState(problem, state));
  PetscCall(CkLossSetUp(problem->loss));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkProblemGetList(MPI_Comm comm, const char key[], PetscInt *n, char ***names)
{
  char     *text, **list;
  int       count;
  PetscBool full = PETSC_TRUE;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc1(CK_LIST_ROOM, &text));
  PetscCall(CkOptionsGetString(key, text, CK_LIST_ROOM, NULL));
  PetscCall(PetscStrToArray(text, ',', &count, &list));
  *n = count;
  PetscCall(PetscMalloc1(PetscMax(1, count), names));
  for (int i = 0; i < count; ++i) PetscCall(PetscStrallocpy(list[i], &(*names)[i]));
  for (size_t i = 0; text[i]; ++i) /* PetscStrToArray() passes over empty names */
    if (text[i] == ',' && (i == 0 || text[i + 1] == ',' || !text[i + 1])) full = PETSC_FALSE;
  PetscCall(PetscStrToArrayDestroy(count, list));
  CkCheckAll(comm, full, PETSC_ERR_ARG_WRONG, "-%s %s: a name between two commas is empty", key, text);
  PetscCall(PetscFree(text));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkProblemFreeList(PetscInt n, char ***names)
{
  PetscFunctionBeginUser;
  for (PetscInt i = 0; i < n; ++i) PetscCall(PetscFree((*names)[i]));
  PetscCall(PetscFree(*names));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkProblemDescribe(const CkProblem *problem, CkTable rows)
{
  const char *text;
  PetscInt    N, d, buffers, n;
  CkShape     shape;
  double      forward;

  const char *const *notes;

  PetscFunctionBeginUser;
  PetscCall(CkDataGetSize(problem->data, &N));
  PetscCall(CkDataGetShape(problem->data, &shape));
  PetscCall(CkDataGetDescription(problem->data, &text));
  PetscCall(CkTableRow(rows, "data", text,
                       "%" PetscInt_FMT " samples of %" PetscInt_FMT " x %" PetscInt_FMT " x %" PetscInt_FMT, N,
                       shape.c, shape.h, shape.w));
  PetscCall(CkNetGetName(problem->net, &text));
  PetscCall(CkNetGetDimension(problem->net, &d));
  PetscCall(CkNetGetBuffers(problem->net, &buffers));
  PetscCall(CkNetGetFlops(problem->net, &forward));
  PetscCall(
    CkTableRow(rows, "net", text, "%" PetscInt_FMT " weights, %" PetscInt_FMT " running statistics", d, buffers));
  PetscCall(CkTableRow(rows, "forward pass", "floating-point operations of one sample", "%.4g", forward));
  PetscCall(CkTableRow(rows, "weights from", "", "%s", problem->weights));
  PetscCall(CkNetGetNotes(problem->net, &n, &notes));
  for (PetscInt i = 0; i < n; ++i) PetscCall(CkTableRow(rows, "note", "", "%s", notes[i]));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkProblemDestroy(CkProblem *problem)
{
  PetscFunctionBeginUser;
  PetscCall(CkLossDestroy(&problem->loss));
  PetscCall(CkStateDestroy(&problem->state));
  PetscCall(CkNetDestroy(&problem->net));
  PetscCall(CkDataDestroy(&problem->data));
  PetscFunctionReturn(PETSC_SUCCESS);
}
