#pragma once
#include <clarkia/file.h>
#include <clarkia/net.h>

/*
  CkState: the weights x [d] and buffers (running means and variances) of one net, float64, replicated on every rank.
  File: /state/<name>, one dataset a tensor, named and shaped as in a PyTorch state_dict (docs/formats.md).
  Arrays that are changed through CkStateGetArrays() must stay the same on every rank.
*/
typedef struct _p_CkState *CkState;

PetscErrorCode CkStateCreate(MPI_Comm comm, CkNet net, CkState *state);
PetscErrorCode CkStateDestroy(CkState *state);
/* Random initial weights as PyTorch's defaults (kaiming-uniform: weight and bias uniform within 1/sqrt(fan_in); batch
 * norm 1, 0, mean 0, variance 1), convolutions as the net says (CkNetSetInitialization()); a function of seed and
 * tensor. */
PetscErrorCode CkStateInitialize(CkState state, uint64_t seed);
/* The weights and buffers that came with the net (CkNetGetInitial()); *has: whether there are any. */
PetscErrorCode CkStateTakeInitial(CkState state, PetscBool *has);
/* Writable views, length d and number of buffers; owned by the state. */
PetscErrorCode CkStateGetArrays(CkState state, double **weights, double **buffers);
PetscErrorCode CkStateGetNet(CkState state, CkNet *net);
/* Collective. Another net's file is a user error that names the first tensor that is missing, of another shape, or too
   many; so are a NaN, an infinity or a negative variance (naming tensor and index), a tensor that is not floating-point
   and a wrong checksum. A failed read leaves the state as it was. float32 tensors are widened; "num_batches_tracked"
   ones are passed over. */
PetscErrorCode CkStateRead(CkState state, const char file[]);
/* The weights and buffers of one replica of a file that holds several (docs/formats.md, "Replicas"); user error where
 * there is none of this number. -1: the file's state, as above. */
PetscErrorCode CkStateReadReplica(CkState state, const char file[], PetscInt replica);
/* Collective, atomic, with provenance, net name, checksum, and epoch and step of the training run as attributes. */
PetscErrorCode CkStateWrite(CkState state, const char file[], PetscInt epoch, PetscInt step);
/* The same, and what more(file, context), collective as well, puts into the file beside it; NULL: nothing. */
PetscErrorCode CkStateWriteWith(CkState state, const char file[], PetscInt epoch, PetscInt step,
                                PetscErrorCode (*more)(CkFile, void *), void *context);
/* Of all weights, then all buffers (CkChecksum()). Not collective. */
PetscErrorCode CkStateChecksum(CkState state, uint64_t *checksum);
/* Checks that all weights and buffers are finite and variances at least 0; user error naming tensor and index.
   Collective. */
PetscErrorCode CkStateCheckFinite(CkState state);
/* The same for arrays of a net, with a limit of absolute values (FLT_MAX where single precision is to hold them).
   source: "" or "FILE: ", begins the message. Collective on the net's communicator. */
PetscErrorCode CkNetCheckNumbers(CkNet net, const char source[], double limit, const double weights[],
                                 const double buffers[]);
