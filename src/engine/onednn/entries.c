#include "part.h"

/* entries.c: a range of the entries of the loaded tile's gradients, weight by weight and in original coordinates. */
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && !defined(__SANITIZE_ADDRESS__)
#define CK_CLONES __attribute__((target_clones("default", "arch=x86-64-v3", "arch=x86-64-v4")))
#else
#define CK_CLONES
#endif

/* Where entries go, and which are wanted. */
typedef struct {
  PetscInt first, end;
  float   *G;
  size_t   ld;
} Range;

/* A chunk's samples of a unit: their gradients g_W' [fan_in] and g_b', in packs. */
typedef struct {
  PetscInt     n, column; /* samples, and where the first of them goes */
  const float *g, *shift; /* shift NULL: no b' */
  const float *factor;    /* [n] of g_W'; NULL: 1 */
} Samples;

CK_CLONES static void Scale(size_t entries, size_t n, float s, const float *x, size_t from, float *y, size_t to)
{
  for (size_t t = 0; t < entries; ++t)
    for (size_t k = 0; k < n; ++k) y[t * to + k] = s * x[t * from + k];
}

CK_CLONES static void ScaleEach(size_t entries, size_t n, const float *s, const float *x, size_t from, float *y,
                                size_t to)
{
  for (size_t t = 0; t < entries; ++t)
    for (size_t k = 0; k < n; ++k) y[t * to + k] = s[k] * x[t * from + k];
}

/* The part of the unit's weights that is in the range. */
static void Weights(const CkPart *p, PetscInt unit, const Samples *x, const Range *range)
{
  const PetscInt at = p->layer->weight + unit * p->layer->fan_in;
  const PetscInt from = PetscMax(at, range->first), to = PetscMin(at + p->layer->fan_in, range->end);
  const double   s = p->plan->fold->scale[p->layer->unit + unit];
  const size_t   lanes = (size_t)p->lanes->lanes;
  const float   *g = x->g + (size_t)(from - at) * lanes;
  float         *y = range->G + (size_t)(from - range->first) * range->ld + (size_t)x->column;

  if (from >= to) return;
  if (!x->factor) {
    Scale((size_t)(to - from), (size_t)x->n, (float)s, g, lanes, y, range->ld);
  } else {
    float each[CK_LANES_MAX] = {0};

    for (PetscInt k = 0; k < x->n; ++k) each[k] = (float)(s * (double)x->factor[k]);
    ScaleEach((size_t)(to - from), (size_t)x->n, each, g, lanes, y, range->ld);
  }
}

static float *EntryAt(PetscInt at, const Samples *x, const Range *range)
{
  if (at < range->first || at >= range->end) return NULL;
  return range->G + (size_t)(at - range->first) * range->ld + (size_t)x->column;
}

/* <W, g_W'> */
static void Products(const CkPart *p, PetscInt unit, const Samples *x, double products[])
{
  const size_t fan_in = (size_t)p->layer->fan_in;
  double       squares[CK_LANES_MAX];

  p->lanes->unit_sums(fan_in, x->g, p->plan->fold->original + p->layer->first + (size_t)unit * fan_in, squares,
                      products);
  for (PetscInt k = 0; k < x->n && x->factor; ++k) products[k] *= (double)x->factor[k];
}

static void Gamma(const CkPart *p, PetscInt unit, const Samples *x, float *to)
{
  const CkFold *fold = p->plan->fold;
  const double  inverse = fold->inverse[p->layer->unit + unit], centre = fold->centre[p->layer->unit + unit];
  double        products[CK_LANES_MAX];

  Products(p, unit, x, products);
  for (PetscInt k = 0; k < x->n; ++k) to[k] = (float)(inverse * (products[k] + centre * (double)x->shift[k]));
}

static void Unit(const CkPart *p, PetscInt unit, const Samples *x, const Range *range)
{
  const CkFoldLayer *l = p->layer;
  const double       s = p->plan->fold->scale[l->unit + unit];
  float             *to;

  Weights(p, unit, x, range);
  to = l->bias >= 0 ? EntryAt(l->bias + unit, x, range) : NULL;
  for (PetscInt k = 0; k < x->n && to; ++k) to[k] = (float)(s * (double)x->shift[k]);
  if (l->norm < 0) return;
  to = EntryAt(l->beta + unit, x, range);
  for (PetscInt k = 0; k < x->n && to; ++k) to[k] = x->shift[k];
  to = EntryAt(l->gamma + unit, x, range);
  if (to) Gamma(p, unit, x, to);
}

/* Gradients that are there entry by entry. */
static void Entries(const CkPart *p, Samples x, const float *g, const Range *range)
{
  const size_t lanes = (size_t)p->lanes->lanes;

  for (PetscInt o = 0; o < p->layer->units; ++o) {
    x.g = g + (size_t)o * (size_t)p->layer->fan_in * lanes;
    x.shift = p->layer->shift ? g + (CkPartWeights(p) + (size_t)o) * lanes : NULL;
    Unit(p, o, &x, range);
  }
}

/* Dense, factored: inputs times the derivative of each unit. */
static void EntriesOfDense(const CkPart *p, PetscInt chunk, const Range *range)
{
  const size_t lanes = (size_t)p->lanes->lanes;
  const float *d = CkPartDerivative(p, chunk);
  Samples      x = {.n = p->plan->count[chunk], .column = p->plan->first[chunk]};

  x.g = CkTensorX(p->plan, p->step->inputs[0], chunk);
  for (PetscInt o = 0; o < p->layer->units; ++o) {
    x.factor = x.shift = d + (size_t)o * lanes;
    Unit(p, o, &x, range);
  }
}

/* Operations of the entries of the range that are the layer's, of one sample: all are scaled. */
static double Flops(const CkPart *p, const Range *range)
{
  const PetscInt at[4] = {p->layer->weight, p->layer->bias, p->layer->gamma, p->layer->beta};
  const PetscInt units = p->layer->units, length[4] = {units * p->layer->fan_in, units, units, units};
  const double   each[4] = {1, 1, 2 * (double)p->layer->fan_in, 1};
  double         flops = 0;

  for (int i = 0; i < 4; ++i) {
    const PetscInt from = PetscMax(at[i], range->first), to = PetscMin(at[i] + length[i], range->end);

    if (at[i] >= 0 && from < to) flops += each[i] * (double)(to - from);
  }
  return flops;
}

PetscErrorCode CkOnednnEntries(CkEngine engine, PetscInt first, PetscInt count, void *G, size_t ld)
{
  const CkPlan *plan = ((const CkOnednn *)engine->data)->evaluation;
  const Range   range = {.first = first, .end = first + count, .G = (float *)G, .ld = ld};
  double        flops = 0;

  PetscFunctionBeginUser;
  for (PetscInt i = 0; i < plan->fold->nlayers; ++i) {
    const CkPart p = CkPartOf(engine, i);
    const double one = Flops(&p, &range);

    flops += one;
    for (PetscInt c = 0; c < plan->chunks && one > 0; ++c) {
      const Samples x = {.n = plan->count[c], .column = plan->first[c]};
      const float  *g;

      if (p.weighted->form == CK_FORM_FACTORED && p.linear->dense) {
        EntriesOfDense(&p, c, &range);
      } else {
        PetscCall(CkPartGradients(&p, c, &g));
        Entries(&p, x, g, &range);
      }
    }
  }
  PetscCall(PetscLogFlops(flops * (double)engine->loaded));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkOnednnSetRange(CkEngine engine, PetscInt first, PetscInt count)
{
  PetscFunctionBeginUser;
  PetscCall(CkPlanSetRange(((CkOnednn *)engine->data)->evaluation, first, count));
  PetscFunctionReturn(PETSC_SUCCESS);
}
