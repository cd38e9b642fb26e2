#pragma once
#include <clarkia/loss.h>
#include <clarkia/progress.h>

/*
  problem.h: what most commands start from, made from the options: a data set, a net, its weights, the loss.
*/
typedef struct {
  MPI_Comm comm;
  MPI_Comm loss_comm; /* of the loss: comm, or a part of it */
  CkData   data;
  CkNet    net;
  CkState  state;
  CkLoss   loss;
  char     weights[PETSC_MAX_PATH_LEN]; /* where they come from: the file of -state or -net, or "random, seed 1" */
} CkProblem;

/* -data*, -net*, -engine*, -loss* and -state. */
PetscErrorCode CkProblemRegisterOptions(void);
/* Collective on comm. Opens the data (headers only) and builds net, state and loss, which is not set up yet. Data, net
   and state are of comm, the loss is of the communicator `loss`, comm itself or a part of it. */
PetscErrorCode CkProblemOpen(MPI_Comm comm, MPI_Comm loss, CkProblem *problem);
/* Collective. Sets the loss up. With load, first checks memory, reads the data, and reads or draws the weights; without
   (-dry_run), sizes and costs are known, no number is. */
PetscErrorCode CkProblemSetUp(CkProblem *problem, PetscBool load);
/* Both, for commands with nothing to check in between. */
PetscErrorCode CkProblemCreate(MPI_Comm comm, PetscBool load, CkProblem *problem);
/* Bytes of the data set per rank, a rank's part of what is stored once per node included. Collective. */
PetscErrorCode CkProblemDataMemory(const CkProblem *problem, double *bytes);
/* Rows "data", "net", "forward pass", "weights from", and the net's notes, of a summary table. */
PetscErrorCode CkProblemDescribe(const CkProblem *problem, CkTable table);
PetscErrorCode CkProblemDestroy(CkProblem *problem);
