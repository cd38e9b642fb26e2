#pragma once
#include <clarkia/base.h>

/*
  store.h: an array of bytes that every rank of a node sees: one copy in an MPI-3 shared window, or, where shared
  memory is short or not wanted, a private copy on each rank. `parts` ranks fill it together, this one part `part`:
  with private copies everybody fills everything (parts = 1).
*/
typedef struct {
  char       *bytes;
  size_t      size;
  PetscBool   shared;
  MPI_Comm    node; /* ranks that share */
  PetscMPIInt part, parts;
  MPI_Win     window;
} CkStore;

/* Whether an array of that size can be shared on every node: wanted, more than one rank on some node, and room in the
   file system behind shared memory. free_bytes (may be NULL): the least free room of all nodes. Collective. */
PetscErrorCode CkStorePlan(MPI_Comm comm, PetscBool wanted, double size, PetscBool *shared, double *free_bytes);
/* Contents undefined. shared: as planned. If the window cannot be made after all, the copies are private, and a log
   line says so. Collective. */
PetscErrorCode CkStoreCreate(MPI_Comm comm, size_t size, PetscBool shared, CkStore *store);
/* After filling, before anybody reads. Collective on the node. */
PetscErrorCode CkStoreSync(CkStore *store);
/* Collective on the node; harmless on a zeroed store. */
PetscErrorCode CkStoreDestroy(CkStore *store);
/* Number of ranks on the fullest node. Collective. */
PetscErrorCode CkStoreRanksOnNode(MPI_Comm comm, PetscMPIInt *ranks);
