#include "part.h"

CkPart CkPartOf(CkEngine engine, PetscInt i)
{
  CkOnednn *o = (CkOnednn *)engine->data;
  CkPlan   *plan = o->evaluation;
  CkPart    p = {.engine = o, .plan = plan, .lanes = plan->lanes};

  p.layer = &plan->fold->layers[i];
  p.weighted = &plan->weighted[i];
  p.step = &plan->steps[p.weighted->step];
  p.linear = p.step->kind == &CkStepAffine ? NULL : (const CkLinear *)p.step->data;
  p.n = (size_t)plan->chunks * (size_t)plan->lanes->lanes;
  return p;
}

PetscErrorCode CkPartWork(CkOnednn *o, size_t n, float **work)
{
  PetscFunctionBeginUser;
  if (n > o->work_room) {
    PetscCall(CkArenaFree(&o->work_arena));
    PetscCall(CkArenaFloats(&o->work_arena, n, &o->work));
    o->work_room = n;
  }
  *work = o->work;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkPartSums(CkOnednn *o, size_t n, double **sums)
{
  PetscFunctionBeginUser;
  if (n > o->sums_room) {
    PetscCall(PetscFree(o->sums));
    PetscCall(PetscMalloc1(n, &o->sums));
    o->sums_room = n;
  }
  *sums = o->sums;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkPartGradients(const CkPart *p, PetscInt chunk, const float **g)
{
  const size_t lanes = (size_t)p->lanes->lanes;
  float       *work = NULL;

  PetscFunctionBeginUser;
  if (p->weighted->form == CK_FORM_EXPLICIT) {
    *g = CkPartExplicit(p, chunk);
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  /* with room for a unit's rows behind it */
  PetscCall(CkPartWork(p->engine, (p->weighted->entries + (size_t)p->layer->fan_in) * lanes, &work));
  PetscCall(CkLinearGradients(p->plan, p->step, chunk, PETSC_FALSE, CkPartDerivative(p, chunk), work, lanes, NULL));
  *g = work;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Where rows go. */
typedef struct {
  CkPrecision precision;
  void       *G;
  size_t      ld;
} Target;

static void *RowOf(const Target *t, PetscInt sample)
{
  const size_t size = t->precision == CK_FLOAT64 ? sizeof(double) : sizeof(float);

  return (char *)t->G + (size_t)sample * t->ld * size;
}

static PetscErrorCode RowsByUnit(const CkPart *p, PetscInt chunk, const Target *target)
{
  const CkPlan *plan = p->plan;
  const size_t  fan_in = (size_t)p->layer->fan_in, lanes = (size_t)p->lanes->lanes;
  const float  *g;
  float        *rows = NULL;

  PetscFunctionBeginUser;
  if (p->weighted->form == CK_FORM_EXPLICIT) PetscCall(CkPartWork(p->engine, fan_in * lanes, &rows));
  PetscCall(CkPartGradients(p, chunk, &g));
  if (!rows) rows = p->engine->work + p->weighted->entries * lanes;
  for (PetscInt o = 0; o < p->layer->units; ++o) {
    const float *shifts = g + (CkPartWeights(p) + (size_t)o) * lanes;

    p->lanes->to_rows((int)plan->count[chunk], fan_in, fan_in, g + (size_t)o * fan_in * lanes, rows);
    for (PetscInt k = 0; k < plan->count[chunk]; ++k) {
      const CkFoldUnit unit = {.fold = plan->fold,
                               .layer = p->layer,
                               .unit = o,
                               .factor = 1,
                               .shift = p->layer->shift ? shifts[k] : 0,
                               .g = rows + (size_t)k * fan_in};

      CkFoldUnitRow(&unit, target->precision, RowOf(target, plan->first[chunk] + k));
    }
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Dense, factored: every unit's part of a row is the input times a number. */
static PetscErrorCode RowsOfDense(const CkPart *p, PetscInt chunk, const Target *target)
{
  const CkPlan *plan = p->plan;
  const size_t  in = (size_t)p->layer->fan_in, lanes = (size_t)p->lanes->lanes;
  const float  *d = CkPartDerivative(p, chunk);
  float        *rows = NULL;

  PetscFunctionBeginUser;
  PetscCall(CkPartWork(p->engine, in * lanes, &rows));
  p->lanes->to_rows((int)plan->count[chunk], in, in, CkTensorX(plan, p->step->inputs[0], chunk), rows);
  for (PetscInt k = 0; k < plan->count[chunk]; ++k)
    for (PetscInt o = 0; o < p->layer->units; ++o) {
      const float      delta = d[(size_t)o * lanes + (size_t)k];
      const CkFoldUnit unit = {
        .fold = plan->fold, .layer = p->layer, .unit = o, .factor = delta, .shift = delta, .g = rows + (size_t)k * in};

      CkFoldUnitRow(&unit, target->precision, RowOf(target, plan->first[chunk] + k));
    }
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkOnednnRows(CkEngine engine, CkPrecision precision, void *G, size_t ld)
{
  const CkOnednn *o = (const CkOnednn *)engine->data;
  const Target    target = {precision, G, ld};

  PetscFunctionBeginUser;
  for (PetscInt c = 0; c < o->evaluation->chunks; ++c)
    for (PetscInt i = 0; i < o->evaluation->fold->nlayers; ++i) {
      const CkPart p = CkPartOf(engine, i);

      if (p.weighted->form == CK_FORM_FACTORED && p.linear->dense) PetscCall(RowsOfDense(&p, c, &target));
      else PetscCall(RowsByUnit(&p, c, &target));
    }
  PetscCall(PetscLogFlops(CkOnednnRowFlops(engine) * (double)engine->loaded));
  PetscFunctionReturn(PETSC_SUCCESS);
}

double CkOnednnRowFlops(CkEngine engine)
{
  const CkOnednn *o = (const CkOnednn *)engine->data;
  double          flops = 0;

  for (PetscInt i = 0; i < o->evaluation->fold->nlayers; ++i) {
    const CkPart p = CkPartOf(engine, i);
    const double weights = (double)CkPartWeights(&p);

    if (p.weighted->idle) continue;
    flops += weights * (p.layer->norm >= 0 ? 3 : 1); /* scaled, and <W, g_W'> */
    if (p.weighted->form == CK_FORM_FACTORED && !p.linear->dense)
      flops += 2 * weights * (double)p.linear->map.positions;
  }
  return flops;
}

/* Adds the layer's part to the norms [count] of a chunk's samples. */
static PetscErrorCode NormsByUnit(const CkPart *p, PetscInt chunk, double original[], double folded[])
{
  const size_t fan_in = (size_t)p->layer->fan_in, lanes = (size_t)p->lanes->lanes;
  const float *g;
  double       squares[CK_LANES_MAX], products[CK_LANES_MAX];

  PetscFunctionBeginUser;
  PetscCall(CkPartGradients(p, chunk, &g));
  for (PetscInt o = 0; o < p->layer->units; ++o) {
    const float *shifts = g + (CkPartWeights(p) + (size_t)o) * lanes;

    p->lanes->unit_sums(fan_in, g + (size_t)o * fan_in * lanes,
                        p->plan->fold->original + p->layer->first + (size_t)o * fan_in, squares, products);
    for (PetscInt k = 0; k < p->plan->count[chunk]; ++k) {
      const double shift = p->layer->shift ? (double)shifts[k] : 0;

      folded[k] += squares[k] + shift * shift;
      original[k] += CkFoldUnitNorm(p->plan->fold, p->layer, o, squares[k], products[k], shift);
    }
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode NormsOfDense(const CkPart *p, PetscInt chunk, double original[], double folded[])
{
  const size_t in = (size_t)p->layer->fan_in, lanes = (size_t)p->lanes->lanes;
  const float *x = CkTensorX(p->plan, p->step->inputs[0], chunk), *d = CkPartDerivative(p, chunk);
  double       squares[CK_LANES_MAX], products[CK_LANES_MAX];

  PetscFunctionBeginUser;
  for (PetscInt o = 0; o < p->layer->units; ++o) {
    if (o == 0 || p->layer->norm >= 0)
      p->lanes->unit_sums(in, x, p->plan->fold->original + p->layer->first + (size_t)o * in, squares, products);
    for (PetscInt k = 0; k < p->plan->count[chunk]; ++k) {
      const double delta = (double)d[(size_t)o * lanes + (size_t)k], shift = p->layer->shift ? delta : 0;

      folded[k] += delta * delta * squares[k] + shift * shift;
      original[k] += CkFoldUnitNorm(p->plan->fold, p->layer, o, delta * delta * squares[k], delta * products[k], shift);
    }
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkOnednnSquaredNorms(CkEngine engine, double original[], double folded[])
{
  const CkOnednn *o = (const CkOnednn *)engine->data;
  const CkPlan   *plan = o->evaluation;
  double          mine[CK_LANES_MAX];

  PetscFunctionBeginUser;
  for (PetscInt c = 0; c < plan->chunks; ++c) {
    double *to = original + plan->first[c];

    PetscCall(PetscArrayzero(to, plan->count[c]));
    PetscCall(PetscArrayzero(mine, CK_LANES_MAX));
    for (PetscInt i = 0; i < plan->fold->nlayers; ++i) {
      const CkPart p = CkPartOf(engine, i);

      if (p.weighted->form == CK_FORM_FACTORED && p.linear->dense) PetscCall(NormsOfDense(&p, c, to, mine));
      else PetscCall(NormsByUnit(&p, c, to, mine));
    }
    if (folded) PetscCall(PetscArraycpy(folded + plan->first[c], mine, plan->count[c]));
  }
  PetscCall(PetscLogFlops(CkOnednnRowFlops(engine) * (double)engine->loaded));
  PetscFunctionReturn(PETSC_SUCCESS);
}
