#pragma once
#include "linear.h"
#include "onednn.h"

/* part.h: a loaded tile and one of its layers with parameters, as contractions and rows see them. */
typedef struct {
  CkOnednn          *engine;
  CkPlan            *plan;
  const CkLanes     *lanes;
  const CkFoldLayer *layer;
  const CkWeighted  *weighted;
  const CkStep      *step;
  const CkLinear    *linear; /* NULL: a batch norm by itself */
  size_t             n;      /* columns in use: chunks times lanes */
} CkPart;

CkPart CkPartOf(CkEngine engine, PetscInt i);
/* rows.c: the gradients of a chunk entry by entry: G, or formed now, in work space that has room for a unit's weights
   behind them. */
PetscErrorCode CkPartGradients(const CkPart *p, PetscInt chunk, const float **g);
/* Work space of at least so many numbers, 64-byte aligned; sums likewise, float64. Lost at the next call. */
PetscErrorCode CkPartWork(CkOnednn *o, size_t n, float **work);
PetscErrorCode CkPartSums(CkOnednn *o, size_t n, double **sums);

static inline size_t CkPartWeights(const CkPart *p)
{
  return (size_t)p->layer->units * (size_t)p->layer->fan_in;
}

static inline const float *CkPartExplicit(const CkPart *p, PetscInt chunk)
{
  return CkPlanGradients(p->plan, (PetscInt)(p->weighted - p->plan->weighted), chunk);
}

static inline const float *CkPartDerivative(const CkPart *p, PetscInt chunk)
{
  return CkTensorD(p->plan, p->step->output, chunk);
}

/* Numbers of a chunk of the output. */
static inline size_t CkPartOutput(const CkPart *p)
{
  return p->plan->tensors[p->step->output].size * (size_t)p->lanes->lanes;
}

/* Operations of a contraction with one column, per sample. */
static inline double CkPartFlops(const CkPart *p)
{
  if (p->weighted->form == CK_FORM_EXPLICIT) return 2 * (double)p->weighted->entries;
  return 2 * (double)CkPartWeights(p) * (p->linear->dense ? 1 : (double)p->linear->map.positions);
}
