#pragma once
#include <clarkia/blockmatrix.h>

/*
  blockproduct_kernel.h: the products of CkBlockProduct. A panel holds CK_PRODUCT_PANEL rows of X for one chunk of
  terms, [term][row] without gaps, 64-byte aligned.
*/
#define CK_PRODUCT_PANEL 32

/* sum [column][row] of a pair of panels (float64, 64-byte aligned) += the products of `terms` terms, which are added in
   their order in the panels' precision, from zero. The bits do not depend on where the panels stand. */
typedef void (*CkProductKernel)(PetscInt terms, const void *rows, const void *cols, double *sum);

/* The one for this processor. */
CkProductKernel CkProductKernelFind(CkPrecision precision);
