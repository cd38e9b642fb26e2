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
/* The same with another state than that of -state ("": none, "random"). */
PetscErrorCode CkProblemCreateWith(MPI_Comm comm, PetscBool load, const char state[], CkProblem *problem);
/* Other weights for the same net and data (loaded), at which the loss stands then. Collective. */
PetscErrorCode CkProblemSetState(CkProblem *problem, const char state[]);
/* Another net (-net and its keys) for the same data, with its weights; the old one, its state and loss are destroyed.
   load: as that of the problem. Collective. */
PetscErrorCode CkProblemSetNet(CkProblem *problem, PetscBool load, const char state[]);
/* Names that stand between commas in the value of a key (user error for an empty one), 0 of them where it is unset. */
PetscErrorCode CkProblemGetList(MPI_Comm comm, const char key[], PetscInt *n, char ***names);
PetscErrorCode CkProblemFreeList(PetscInt n, char ***names);
/* Bytes of the data set per rank, a rank's part of what is stored once per node included. Collective. */
PetscErrorCode CkProblemDataMemory(const CkProblem *problem, double *bytes);
/* Rows "data", "net", "forward pass", "weights from", and the net's notes, of a summary table. */
PetscErrorCode CkProblemDescribe(const CkProblem *problem, CkTable table);
PetscErrorCode CkProblemDestroy(CkProblem *problem);
