#pragma once
#include <clarkia/base.h>

/*
  CkNodeArray: an array of bytes that every rank of a node sees: one copy in an MPI-3 shared window, or, where shared
  memory is short or not wanted, a private copy on each rank. `parts` ranks fill it together, this one part `part`:
  with private copies everybody fills everything (parts = 1).
*/
typedef struct {
  char       *bytes; /* 64-byte aligned */
  size_t      size;
  PetscBool   shared;
  MPI_Comm    node; /* ranks that share */
  PetscMPIInt part, parts;
  MPI_Win     window;
  void       *memory; /* of a private copy */
} CkNodeArray;

/* Whether an array of that size can be shared on every node: wanted, more than one rank on some node, and room in the
   file system behind shared memory. free_bytes (may be NULL): the least free room of all nodes. Collective. */
PetscErrorCode CkNodeArrayPlan(MPI_Comm comm, PetscBool wanted, double size, PetscBool *shared, double *free_bytes);
/* Contents undefined. shared: as planned. If the window cannot be made after all, the copies are private, and a log
   line says so. Collective. */
PetscErrorCode CkNodeArrayCreate(MPI_Comm comm, size_t size, PetscBool shared, CkNodeArray *array);
/* After filling, before anybody reads; after reading, before anybody fills again. Collective on the node. */
PetscErrorCode CkNodeArraySync(CkNodeArray *array);
/* Collective on the node; harmless on a zeroed array. */
PetscErrorCode CkNodeArrayDestroy(CkNodeArray *array);
/* For arrays whose `what` all ranks need whole: shared unless -memory_share false, or, with a log line, where shared
   memory is short. An array with room already stays; else its contents are lost. Collective. */
PetscErrorCode CkNodeArrayReserve(MPI_Comm comm, size_t size, const char what[], CkNodeArray *array);
/* The ranks of comm that are on this rank's node; the caller frees it. Collective. */
PetscErrorCode CkNodeSplit(MPI_Comm comm, MPI_Comm *node);
/* For tests: from now on ranks of the same number are taken to be on one node; NULL: as they are. */
void CkNodePretend(int (*node_of)(int rank));
/* Number of ranks on the fullest node. Collective. */
PetscErrorCode CkNodeRanks(MPI_Comm comm, PetscMPIInt *ranks);
/* Bytes of the arrays that this rank holds: windows count for the one rank of the node that owns them. */
double CkNodeArrayBytes(void);
