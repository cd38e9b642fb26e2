#pragma once
#include <clarkia/blockmatrix.h>

/*
  CkBlockProduct: A += X X' for a block-cyclic matrix A of order n. X [n x d] is spread over the ranks by rows (samples)
  and comes some columns (weights) at a time; every rank gets the rows that its blocks of A need and updates its own
  blocks (owner computes). Only the lower triangle is computed: each pair of rows once.

  Columns are taken in chunks of CK_PRODUCT_CHUNK. Within a chunk the products are those of the chosen precision, chunks
  are added one after the other in float64: an entry is the same bits on any number of ranks and for any `terms`, as
  long as every call but the last brings a multiple of CK_PRODUCT_CHUNK columns. docs/theory.md, eqs. (G.6), (G.7).
*/
typedef struct _p_CkBlockProduct *CkBlockProduct;

#define CK_PRODUCT_CHUNK 256 /* part of the bits contract */

typedef struct {
  PetscInt        terms;     /* most columns of one call, a multiple of CK_PRODUCT_CHUNK */
  CkPrecision     given;     /* of the values handed over */
  CkPrecision     precision; /* of the products */
  PetscInt        nmine;     /* rows of this rank */
  const PetscInt *mine;      /* [nmine] which rows of X (and A) they are; every row is on one rank */
} CkBlockProductLayout;

/* A is borrowed. Collective on A's communicator. */
PetscErrorCode CkBlockProductCreate(CkBlockMatrix A, const CkBlockProductLayout *layout, CkBlockProduct *product);
/* values [count x nmine]: entry (w, k) is X(mine[k], first + w) before shift[w] is subtracted (in float64; NULL:
   nothing). count and shift are the same on all ranks. Collective. */
PetscErrorCode CkBlockProductAdd(CkBlockProduct product, PetscInt count, const void *values, const double shift[]);
/* A += (F F') o (H H'), entry by entry, of F [n x inputs] and H [n x outputs]: X X' for rows of X that are the products
   of all entries of a row of F with all of one of H, docs/theory.md, eq. (G.10). values as above, a of F and b of H.
   Needs `terms` of CkBlockProductFactoredTerms() at least. Collective. */
PetscErrorCode CkBlockProductAddFactored(CkBlockProduct product, PetscInt inputs, const void *a, PetscInt outputs,
                                         const void *b);
PetscInt       CkBlockProductFactoredTerms(PetscInt inputs, PetscInt outputs);
PetscErrorCode CkBlockProductDestroy(CkBlockProduct *product);
/* Most bytes a rank holds for a matrix of order n. Not collective. */
double CkBlockProductMemory(MPI_Comm comm, PetscInt n, PetscInt terms, CkPrecision given, CkPrecision precision);
