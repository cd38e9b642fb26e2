#pragma once
#include "scalapack.h"
#include <clarkia/blockmatrix.h>
#include <clarkia/error.h>

/* blockmatriximpl.h: what the eigensolvers see of a CkBlockMatrix. */

/* The process grid: matrices that meet in one ScaLAPACK call must share the BLACS context. */
typedef struct {
  MPI_Comm comm;
  int      handle, context;
  int      shape[2], me[2]; /* process rows and columns; this rank's place */
  int      owners;
} CkBlockGrid;

struct _p_CkBlockMatrix {
  MPI_Comm     comm; /* the grid's */
  CkBlockGrid *shared;
  PetscInt     n;
  int          nb;         /* block size, rows and columns */
  int          grid[2];    /* process rows and columns */
  int          me[2];      /* this rank's place */
  int          rows, cols; /* of the local array */
  int          desc[9];
  double      *a; /* local array, column-major, leading dimension max(1, rows) */
};

/* The most nearly square grid of all ranks, rows <= columns. */
void CkBlockGridShape(int size, int grid[2]);
/* All zero, the order, layout and grid of A. Collective. */
PetscErrorCode CkBlockMatrixCreateLike(CkBlockMatrix A, CkBlockMatrix *B);

/* A solver is one file and one line in blockmatrix_eigen.c. values ascending; Z NULL: values only. a holds both
 * triangles if full. */
typedef struct {
  const char *name;
  PetscBool   vectors; /* can it give eigenvectors? */
  PetscBool   full;    /* does it read both triangles? */
  PetscErrorCode (*solve)(CkBlockMatrix A, double values[], CkBlockMatrix Z);
  /* doubles of work space a rank for order n and a local array of `local` entries */
  double (*work)(double n, double local, PetscBool vectors);
} CkBlockSolver;

extern const CkBlockSolver ck_block_scalapack, ck_block_elpa;

static inline int CkBlockLeading(CkBlockMatrix A)
{
  return A->rows > 1 ? A->rows : 1;
}

/* Global index of local row (axis 0) or column (axis 1) i. */
static inline PetscInt CkBlockGlobal(CkBlockMatrix A, int axis, int i)
{
  return ((PetscInt)(i / A->nb) * A->grid[axis] + A->me[axis]) * A->nb + i % A->nb;
}

/* First local row (or column) whose global index is at least g. */
int CkBlockFirst(CkBlockMatrix A, int axis, PetscInt g);
