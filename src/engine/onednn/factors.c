/*
  factors.c: dense layers whose gradients of weights are handed over as inputs and derivatives: g_W = s d a' (B.2), so
  that a Gram matrix is the product, entry by entry, of two small ones, (G.10).
*/
#include "part.h"

/* Of two Gram matrices in double precision against one that may be in single. */
static const double DOUBLE_COST = 2;

/* The layer is held factored; nobody having asked for that, it must be cheaper, counted in products for each pair of
   samples. */
static PetscBool IsFactored(CkEngine engine, const CkPart *p)
{
  const double units = (double)p->layer->units, fan_in = (double)p->layer->fan_in;

  if (p->weighted->form != CK_FORM_FACTORED || !p->linear || !p->linear->dense) return PETSC_FALSE;
  return (PetscBool)(engine->form == CK_FORM_FACTORED || DOUBLE_COST * (units + fan_in) < units * fan_in);
}

PetscErrorCode CkOnednnFindFactors(CkEngine engine)
{
  CkOnednn      *o = (CkOnednn *)engine->data;
  const PetscInt n = o->evaluation->fold->nlayers;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc2(n, &o->factors, n, &o->factored));
  for (PetscInt i = 0; i < n; ++i) {
    const CkPart p = CkPartOf(engine, i);

    if (!IsFactored(engine, &p)) continue;
    o->factored[o->nfactors] = i;
    o->factors[o->nfactors++] =
      (CkFactors){.first = p.layer->weight, .outputs = p.layer->units, .inputs = p.layer->fan_in};
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkOnednnGetFactors(CkEngine engine, PetscInt *n, const CkFactors **factors)
{
  const CkOnednn *o = (const CkOnednn *)engine->data;

  PetscFunctionBeginUser;
  *n = o->nfactors;
  *factors = o->factors;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkOnednnFactors(CkEngine engine, PetscInt number, void *inputs, void *derivatives, size_t ld)
{
  const CkOnednn *o = (const CkOnednn *)engine->data;
  const CkPart    p = CkPartOf(engine, o->factored[number]);
  const double   *scale = p.plan->fold->scale + p.layer->unit;
  const size_t    lanes = (size_t)p.lanes->lanes;

  PetscFunctionBeginUser;
  for (PetscInt c = 0; c < p.plan->chunks; ++c) {
    const float *x = CkTensorX(p.plan, p.step->inputs[0], c), *d = CkPartDerivative(&p, c);
    float       *a = (float *)inputs + p.plan->first[c], *b = (float *)derivatives + p.plan->first[c];

    for (size_t i = 0; i < (size_t)p.layer->fan_in; ++i)
      for (size_t k = 0; k < (size_t)p.plan->count[c]; ++k) a[i * ld + k] = x[i * lanes + k];
    for (size_t u = 0; u < (size_t)p.layer->units; ++u)
      for (size_t k = 0; k < (size_t)p.plan->count[c]; ++k)
        b[u * ld + k] = (float)(scale[u] * (double)d[u * lanes + k]);
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}
