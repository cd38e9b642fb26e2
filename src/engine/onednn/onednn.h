#pragma once
#include "plan.h"
#include "train.h"

enum { CK_PART_ENTRIES = 384 }; /* of explicit gradients at a time (contract.c); a multiple of 6 packs */

/* onednn.h: the engine's data. A plan takes over the point when it is first used there. */
typedef struct {
  CkConvolution convolution;
  CkPlan       *evaluation, *training; /* training: made, and remade larger, when a batch needs it */
  PetscBool     evaluation_stale, training_stale;
  const double *weights; /* the point: borrowed */
  double       *buffers;
  PetscInt      nbuffers;
  PetscBool     gathered; /* dense layers' matrices are those of the loaded tile */
  PetscInt64 slopes; /* the plan's slopes of the loaded tile are of these columns (CkEngine.columns_number); 0: none */
  PetscInt   nfactors; /* factors.c */
  CkFactors *factors;  /* [nfactors] */
  PetscInt  *factored; /* [nfactors] their numbers among the layers with parameters */

  int  *taps, *rows; /* [max(CK_PART_ENTRIES, chunks)]: 0, 1, ..; [samples]: packs before each row of a part */
  int **starts;      /* [layers]: [chunks] packs before the explicit gradients of each chunk; NULL: not needed so far */

  /* arrays that grow with the number of columns, never in between */
  float  *coefficients;
  float  *work;
  double *sums;
  size_t  coefficient_room, work_room, sums_room;
  CkArena coefficient_arena, work_arena;
} CkOnednn;

/* onednn.c: the evaluation plan at the engine's point; this process's oneDNN on one thread */
PetscErrorCode CkOnednnPoint(CkEngine engine);
void           CkOnednnUseOneThread(void);

/* rows.c */
PetscErrorCode CkOnednnRows(CkEngine engine, CkPrecision precision, void *G, size_t ld);
PetscErrorCode CkOnednnSquaredNorms(CkEngine engine, double original[], double folded[]);
double         CkOnednnRowFlops(CkEngine engine); /* of one row */

/* entries.c */
PetscErrorCode CkOnednnSetRange(CkEngine engine, PetscInt first, PetscInt count);
PetscErrorCode CkOnednnEntries(CkEngine engine, PetscInt first, PetscInt count, void *G, size_t ld);

/* factors.c: Find once, at set-up */
PetscErrorCode CkOnednnFindFactors(CkEngine engine);
PetscErrorCode CkOnednnGetFactors(CkEngine engine, PetscInt *n, const CkFactors **factors);
PetscErrorCode CkOnednnFactors(CkEngine engine, PetscInt number, void *inputs, void *derivatives, size_t ld);

/* contract.c */
PetscErrorCode CkOnednnColumnBytes(CkEngine engine, PetscInt m, size_t *bytes);
PetscErrorCode CkOnednnPackColumn(CkEngine engine, PetscInt j, const double v[]);
/* Before the backward pass: where there is one column, layers take its products with the gradients they make. */
PetscErrorCode CkOnednnTakeSlopes(CkEngine engine);
PetscErrorCode CkOnednnDot(CkEngine engine, double S[]);
PetscErrorCode CkOnednnAccumulate(CkEngine engine, PetscInt m, const double S[], double A[]);
PetscErrorCode CkOnednnAccumulateExact(CkEngine engine, PetscInt m, const double S[], CkExactSum sum);
PetscErrorCode CkOnednnUnfold(CkEngine engine, PetscInt m, const double A[], double out[]);
