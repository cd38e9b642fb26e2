#include "part.h"
#include <clarkia/onednn.h>
#include <clarkia/progress.h>

/*
  contract.c: contractions of the loaded tile, layer by layer.
    explicit  G [entries x samples] is there: products of matrices.
    factored  <g'_k, v> = <d_k, V x_k + v_b>: the layer applied with v in the place of its weights; sums over samples
              are gradients of the batch with weighted derivatives. Nothing of the size of G is ever formed.
  Cost of an explicit convolution: once 2 e p operations a sample (e entries, p positions), then 2 e a column; factored:
  2 e p for every column. So convolutions are explicit unless they have very few positions, or G would be huge; dense
  layers (p = 1) are factored.
*/
enum { FACTORED_POSITIONS = 4, FEW_COLUMNS = 4 };
static const double EXPLICIT_BYTES = 268435456; /* of one layer */
static const size_t WORK_NUMBERS = 1 << 16;     /* numbers of a product formed at a time: they stay in the cache */

/*
  Explicit gradients are contracted CK_PART_ENTRIES entries at a time, which stay in the second-level cache while all
  columns pass over them, by the kernel of linear layers: a column is a unit. Dot: entries are taps, chunks positions.
  Accumulate: transposed to rows of samples first; samples are taps, packs of entries positions. Few columns: as sums
  over the lanes.
*/
static size_t PartEntries(const CkPart *p, size_t first)
{
  return PetscMin((size_t)CK_PART_ENTRIES, p->weighted->entries - first);
}

CkLayerForm CkWeightedForm(const CkPlan *plan, PetscInt weighted)
{
  const CkWeighted *w = &plan->weighted[weighted];
  const CkLayer    *layer = &plan->layers[plan->fold->layers[weighted].layer];
  const double      bytes = (double)w->entries * (double)plan->capacity * (double)plan->lanes->lanes * sizeof(float);

  if (layer->type == CK_LAYER_BATCHNORM) return CK_FORM_EXPLICIT;
  if (plan->form != CK_FORM_AUTO) return plan->form;
  if (layer->type == CK_LAYER_DENSE || bytes > EXPLICIT_BYTES) return CK_FORM_FACTORED;
  return layer->out.h * layer->out.w > FACTORED_POSITIONS ? CK_FORM_EXPLICIT : CK_FORM_FACTORED;
}

/* Numbers of one column of a layer: explicit [entries]; factored packed weights, then shifts. Multiples of a cache
   line. */
static size_t ColumnSize(const CkPart *p)
{
  const size_t size =
    p->weighted->form == CK_FORM_EXPLICIT ? p->weighted->entries : p->linear->packed + (size_t)p->layer->units;

  return (size + 15) / 16 * 16;
}

/* Column j of m. Explicit: packed as weights of `product`, part by part, all columns of a part together. */
static PetscErrorCode PackColumn(const CkPart *p, size_t m, size_t j, const double folded[], float columns[])
{
  const double *v = folded + p->layer->first;
  float        *column = columns + j * ColumnSize(p);

  PetscFunctionBeginUser;
  if (p->weighted->form == CK_FORM_EXPLICIT) {
    for (size_t first = 0; first < p->weighted->entries; first += CK_PART_ENTRIES) {
      const size_t n = PartEntries(p, first);

      for (size_t e = 0; e < n; ++e) columns[first * m + CkLanesPackedIndex(m, n, j, e)] = (float)v[first + e];
    }
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  PetscCall(CkLinearPack(p->linear, v, column));
  for (PetscInt o = 0; o < p->layer->units; ++o)
    column[p->linear->packed + (size_t)o] = p->layer->shift ? (float)v[CkPartWeights(p) + (size_t)o] : 0;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkOnednnColumnBytes(CkEngine engine, PetscInt m, size_t *bytes)
{
  const CkOnednn *o = (const CkOnednn *)engine->data;

  PetscFunctionBeginUser;
  *bytes = 0;
  for (PetscInt i = 0; i < o->evaluation->fold->nlayers; ++i) {
    const CkPart p = CkPartOf(engine, i);

    *bytes += ColumnSize(&p) * (size_t)m * sizeof(float);
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Layer by layer, all columns each. */
PetscErrorCode CkOnednnPackColumn(CkEngine engine, PetscInt j, const double v[])
{
  CkOnednn *o = (CkOnednn *)engine->data;
  CkFold   *fold = o->evaluation->fold;
  float    *to = (float *)engine->V;
  double   *folded;

  PetscFunctionBeginUser;
  PetscCall(CkOnednnPoint(engine));
  PetscCall(CkPartSums(o, (size_t)fold->de, &folded));
  PetscCall(CkFoldTranspose(fold, v, folded));
  for (PetscInt i = 0; i < fold->nlayers; ++i) {
    const CkPart p = CkPartOf(engine, i);

    PetscCall(PackColumn(&p, (size_t)engine->columns, (size_t)j, folded, to));
    to += (size_t)engine->columns * ColumnSize(&p);
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Made once for a layer. */
static PetscErrorCode ChunkStarts(const CkPart *p, const int **starts)
{
  const size_t entries = p->weighted->entries, chunks = (size_t)p->plan->capacity;
  int        **table = &p->engine->starts[p->weighted - p->plan->weighted];

  PetscFunctionBeginUser;
  if (!*table) {
    PetscCheck(entries * chunks <= INT32_MAX, PETSC_COMM_SELF, PETSC_ERR_ARG_OUTOFRANGE,
               "%zu gradient entries are beyond the kernels' index type: use a smaller -engine_tile", entries * chunks);
    PetscCall(PetscMalloc1(chunks, table));
    for (size_t c = 0; c < chunks; ++c) (*table)[c] = (int)(c * entries);
  }
  *starts = *table;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode DotExplicit(const CkPart *p, PetscInt m, const float columns[], double sums[])
{
  const size_t lanes = (size_t)p->lanes->lanes;
  CkLanesMap   map = {.units = (int)m,
                      .positions = (int)p->plan->chunks,
                      .tap = p->engine->taps,
                      .to = p->engine->taps,
                      .unit_stride = (int)p->plan->chunks};
  float       *product;

  PetscFunctionBeginUser;
  PetscCall(ChunkStarts(p, &map.from));
  PetscCall(CkPartWork(p->engine, (size_t)m * p->n, &product));
  for (size_t first = 0; first < p->weighted->entries; first += CK_PART_ENTRIES) {
    map.taps = (int)PartEntries(p, first);
    p->lanes->product(&map, PETSC_FALSE, columns + first * (size_t)m, NULL, CkPartExplicit(p, 0) + first * lanes,
                      product);
    for (size_t i = 0; i < (size_t)m * p->n; ++i) sums[i] += (double)product[i];
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode DotFactored(const CkPart *p, PetscInt m, const float columns[], double sums[])
{
  const PetscInt step = p->linear->dense ? p->plan->chunks : 1; /* chunks at a time */
  const size_t   size = CkPartOutput(p), lanes = (size_t)p->lanes->lanes;
  double         product[CK_LANES_MAX];
  float         *y;

  PetscFunctionBeginUser;
  PetscCall(CkPartWork(p->engine, size * (size_t)step, &y));
  PetscCall(PetscArrayzero(y, size * (size_t)step)); /* gaps between planes: read, not written */
  for (PetscInt first = 0; first < p->plan->chunks; first += step)
    for (PetscInt j = 0; j < m; ++j) {
      const float *column = columns + (size_t)j * ColumnSize(p);

      PetscCall(CkLinearApply(p->plan, p->step, first, step, column, column + p->linear->packed, y));
      for (PetscInt c = 0; c < step; ++c) {
        p->lanes->dot(size / lanes, CkPartDerivative(p, first + c), y + (size_t)c * size, product);
        for (size_t k = 0; k < lanes; ++k) sums[(size_t)j * p->n + (size_t)(first + c) * lanes + k] += product[k];
      }
    }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Of one column; several are cheaper all at once. */
PetscErrorCode CkOnednnTakeSlopes(CkEngine engine)
{
  CkOnednn    *o = (CkOnednn *)engine->data;
  CkPlan      *plan = o->evaluation;
  const float *column = engine->columns == 1 ? (const float *)engine->V : NULL;
  const size_t n = (size_t)plan->chunks * (size_t)plan->lanes->lanes;

  PetscFunctionBeginUser;
  o->slopes = column ? engine->columns_number : 0;
  PetscCall(PetscArrayzero(plan->slopes, n));
  for (PetscInt i = 0; i < plan->fold->nlayers; ++i) {
    const CkPart p = CkPartOf(engine, i);
    CkWeighted  *w = &plan->weighted[i];

    w->column = column && w->form == CK_FORM_EXPLICIT && p.linear && CkLinearHasSlopes(p.linear) ? column : NULL;
    if (column) column += ColumnSize(&p);
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkOnednnDot(CkEngine engine, double S[])
{
  CkOnednn       *o = (CkOnednn *)engine->data;
  const PetscInt  m = engine->columns, lanes = o->evaluation->lanes->lanes;
  const float    *columns = (const float *)engine->V;
  const size_t    n = (size_t)(o->evaluation->chunks * lanes);
  const PetscBool taken = (PetscBool)(o->slopes == engine->columns_number);
  size_t          before = 0;
  double         *sums, flops = 0;

  PetscFunctionBeginUser;
  PetscCall(CkPartSums(o, (size_t)m * n, &sums));
  PetscCall(PetscArrayzero(sums, (size_t)m * n));
  if (taken) PetscCall(PetscArraycpy(sums, o->evaluation->slopes, n));
  for (PetscInt i = 0; i < o->evaluation->fold->nlayers; ++i) {
    const CkPart p = CkPartOf(engine, i);

    if (!taken || !p.weighted->column) {
      if (p.weighted->form == CK_FORM_EXPLICIT) PetscCall(DotExplicit(&p, m, columns + before, sums));
      else PetscCall(DotFactored(&p, m, columns + before, sums));
      flops += CkPartFlops(&p);
    }
    before += (size_t)m * ColumnSize(&p);
  }
  for (PetscInt k = 0; k < engine->loaded; ++k) /* one block: sample k stands in column k */
    for (PetscInt j = 0; j < m; ++j) S[k * m + j] = sums[(size_t)j * n + (size_t)k];
  PetscCall(PetscLogFlops(flops * (double)m * (double)engine->loaded));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Where sums go: A [columns x de], or an exact sum. */
typedef struct {
  double    *A; /* NULL: sum */
  size_t     de;
  CkExactSum sum;
} Target;

/* values [count] belong to entries first.. of the column. */
static PetscErrorCode Add(const Target *to, size_t column, size_t first, size_t count, const float values[])
{
  PetscFunctionBeginUser;
  if (!to->A) {
    PetscCall(CkExactSumAddFloat(to->sum, (PetscInt)column, (PetscInt64)first, (PetscInt64)count, values));
  } else {
    double *entry = to->A + column * to->de + first;

    for (size_t i = 0; i < count; ++i) entry[i] += (double)values[i];
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode AddDoubles(const Target *to, size_t column, size_t first, size_t count, const double values[])
{
  PetscFunctionBeginUser;
  if (!to->A) {
    PetscCall(CkExactSumAdd(to->sum, (PetscInt)column, (PetscInt64)first, (PetscInt64)count, values));
  } else {
    double *entry = to->A + column * to->de + first;

    for (size_t i = 0; i < count; ++i) entry[i] += values[i];
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* S G' of few columns, S [m x n]: gradients are read once, and not transposed. */
static PetscErrorCode AccumulateFew(const CkPart *p, PetscInt m, const float S[], const Target *to)
{
  const size_t lanes = (size_t)p->lanes->lanes, ld = CK_PART_ENTRIES;
  float       *sums;

  PetscFunctionBeginUser;
  PetscCall(CkPartWork(p->engine, ld * (size_t)m, &sums));
  for (size_t first = 0; first < p->weighted->entries; first += CK_PART_ENTRIES) {
    const size_t count = PartEntries(p, first);

    p->lanes->weighted_sums((int)m, (int)p->plan->chunks, count, p->weighted->entries * lanes,
                            CkPartExplicit(p, 0) + first * lanes, S, ld, sums);
    for (size_t j = 0; j < (size_t)m; ++j) PetscCall(Add(to, j, (size_t)p->layer->first + first, count, sums + j * ld));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* S G' of all columns; S: packed [m x n]. */
static PetscErrorCode AccumulateExplicit(const CkPart *p, PetscInt m, const float S[], const Target *to)
{
  const size_t lanes = (size_t)p->lanes->lanes, ld = CK_PART_ENTRIES;
  CkLanesMap   map = {.units = (int)m,
                      .taps = (int)p->n,
                      .tap = p->engine->rows,
                      .from = p->engine->taps,
                      .to = p->engine->taps,
                      .unit_stride = (int)(ld / lanes)};
  float       *rows, *product;

  PetscFunctionBeginUser;
  PetscCall(CkPartWork(p->engine, ld * (p->n + (size_t)m), &rows));
  product = rows + ld * p->n;
  for (size_t first = 0; first < p->weighted->entries; first += CK_PART_ENTRIES) {
    const size_t count = PartEntries(p, first);

    for (PetscInt c = 0; c < p->plan->chunks; ++c)
      p->lanes->to_rows(p->lanes->lanes, count, ld, CkPartExplicit(p, c) + first * lanes,
                        rows + (size_t)c * lanes * ld);
    map.positions = (int)((count + lanes - 1) / lanes); /* what stands behind the entries is finite, and not used */
    p->lanes->product(&map, PETSC_FALSE, S, NULL, rows, product);
    for (size_t j = 0; j < (size_t)m; ++j)
      PetscCall(Add(to, j, (size_t)p->layer->first + first, count, product + j * ld));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Rows first .. first+count-1 of the derivatives of all columns, one under the other, weighted; their sums are b's
 * part.
 */
static PetscErrorCode WeightedRows(const CkPart *p, size_t first, size_t count, const float S[], float rows[],
                                   const Target *target)
{
  const size_t units = (size_t)p->layer->units;

  PetscFunctionBeginUser;
  for (size_t r = 0; r < count; ++r) {
    const size_t column = (first + r) / units, unit = (first + r) % units;
    const float *d = p->linear->matrix_d + unit * p->n, *s = S + column * p->n;
    float       *to = rows + r * p->n;
    double       sum = 0;

    for (size_t k = 0; k < p->n; ++k) to[k] = s[k] * d[k];
    for (size_t k = 0; k < p->n && p->layer->shift; ++k) sum += (double)to[k];
    if (p->layer->shift)
      PetscCall(AddDoubles(target, column, (size_t)p->layer->first + CkPartWeights(p) + unit, 1, &sum));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Dense: the weighted derivatives of all columns, one under the other, times the inputs. */
static PetscErrorCode AccumulateDense(const CkPart *p, PetscInt m, const float S[], const Target *to)
{
  const size_t     units = (size_t)p->layer->units, in = (size_t)p->layer->fan_in, all = units * (size_t)m;
  const size_t     part = PetscMin(all, PetscMax(WORK_NUMBERS / (in + p->n), 1));
  float           *rows, *product;
  const dnnl_dim_t n = (dnnl_dim_t)p->n;

  PetscFunctionBeginUser;
  PetscCall(CkPartWork(p->engine, part * (in + p->n), &rows));
  product = rows + part * p->n;
  for (size_t first = 0; first < all; first += part) {
    const size_t count = PetscMin(part, all - first);

    PetscCall(WeightedRows(p, first, count, S, rows, to));
    CkCallDNN(dnnl_sgemm('N', 'T', (dnnl_dim_t)count, (dnnl_dim_t)in, n, 1, rows, n, p->linear->matrix_x, n, 0, product,
                         (dnnl_dim_t)in));
    for (size_t r = 0; r < count; ++r)
      PetscCall(Add(to, (first + r) / units, (size_t)p->layer->first + (first + r) % units * in, in, product + r * in));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Convolution: for each column the gradient of the tile with weighted derivatives, lane by lane, then across lanes. */
static PetscErrorCode AccumulateConv(const CkPart *p, PetscInt m, const float S[], const Target *to)
{
  const size_t size = CkPartOutput(p), lanes = (size_t)p->lanes->lanes;
  float       *d, *g;
  double      *sums;

  PetscFunctionBeginUser;
  PetscCall(CkPartWork(p->engine, size + p->weighted->entries * lanes, &d));
  PetscCall(CkPartSums(p->engine, p->weighted->entries, &sums));
  g = d + size;
  for (PetscInt j = 0; j < m; ++j) {
    for (PetscInt c = 0; c < p->plan->chunks; ++c) {
      p->lanes->scale(size / lanes, CkPartDerivative(p, c), S + (size_t)j * p->n + (size_t)c * lanes, 1, d);
      PetscCall(CkLinearGradients(p->plan, p->step, c, (PetscBool)(c > 0), d, g, lanes, NULL));
    }
    PetscCall(PetscArrayzero(sums, p->weighted->entries));
    p->lanes->lane_sums(p->weighted->entries, g, sums);
    PetscCall(AddDoubles(to, (size_t)j, (size_t)p->layer->first, p->weighted->entries, sums));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* S [loaded x m] as float32 [m x n], zero where there is no sample; and the same packed as weights of `product`. */
static PetscErrorCode Coefficients(CkEngine engine, PetscInt m, const double S[], float **coefficients, float **packed)
{
  CkOnednn    *o = (CkOnednn *)engine->data;
  const size_t n = (size_t)o->evaluation->chunks * (size_t)o->evaluation->lanes->lanes;

  PetscFunctionBeginUser;
  if ((size_t)m * n > o->coefficient_room) {
    PetscCall(CkArenaFree(&o->coefficient_arena));
    PetscCall(CkArenaFloats(&o->coefficient_arena, 2 * (size_t)m * n, &o->coefficients));
    o->coefficient_room = (size_t)m * n;
  }
  *coefficients = o->coefficients;
  *packed = o->coefficients + o->coefficient_room;
  for (PetscInt j = 0; j < m; ++j)
    for (size_t k = 0; k < n; ++k) {
      const float s = k < (size_t)engine->loaded ? (float)S[k * (size_t)m + (size_t)j] : 0;

      (*coefficients)[(size_t)j * n + k] = s;
      (*packed)[CkLanesPackedIndex((size_t)m, n, (size_t)j, k)] = s;
    }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Accumulate(CkEngine engine, PetscInt m, const double S[], const Target *to)
{
  CkOnednn *o = (CkOnednn *)engine->data;
  float    *coefficients = NULL, *packed = NULL;
  double    flops = 0;

  PetscFunctionBeginUser;
  if (m < 1) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(Coefficients(engine, m, S, &coefficients, &packed));
  for (PetscInt i = 0; i < o->evaluation->fold->nlayers; ++i) {
    const CkPart p = CkPartOf(engine, i);

    if (p.weighted->form == CK_FORM_EXPLICIT) {
      if (m <= FEW_COLUMNS) PetscCall(AccumulateFew(&p, m, coefficients, to));
      else PetscCall(AccumulateExplicit(&p, m, packed, to));
    } else if (p.linear->dense) {
      if (!o->gathered) PetscCall(CkDenseGather(p.plan, p.step, 0, p.plan->chunks));
      PetscCall(AccumulateDense(&p, m, coefficients, to));
    } else {
      PetscCall(AccumulateConv(&p, m, coefficients, to));
    }
    flops += CkPartFlops(&p);
  }
  o->gathered = PETSC_TRUE;
  PetscCall(PetscLogFlops(flops * (double)m * (double)engine->loaded));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkOnednnAccumulate(CkEngine engine, PetscInt m, const double S[], double A[])
{
  const Target to = {.A = A, .de = (size_t)((const CkOnednn *)engine->data)->evaluation->fold->de};

  PetscFunctionBeginUser;
  PetscCall(Accumulate(engine, m, S, &to));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkOnednnAccumulateExact(CkEngine engine, PetscInt m, const double S[], CkExactSum sum)
{
  const Target to = {.sum = sum};

  PetscFunctionBeginUser;
  PetscCall(Accumulate(engine, m, S, &to));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkOnednnUnfold(CkEngine engine, PetscInt m, const double A[], double out[])
{
  const CkOnednn *o = (const CkOnednn *)engine->data;
  const CkFold   *fold = o->evaluation->fold;

  PetscFunctionBeginUser;
  PetscCall(CkOnednnPoint(engine));
  for (PetscInt j = 0; j < m; ++j)
    PetscCall(CkFoldApply(fold, A + (size_t)j * (size_t)fold->de, out + (size_t)j * (size_t)fold->d));
  PetscFunctionReturn(PETSC_SUCCESS);
}
