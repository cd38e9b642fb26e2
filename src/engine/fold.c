#include "fold.h"
#include <math.h>

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && !defined(__SANITIZE_ADDRESS__)
#define CK_CLONES __attribute__((target_clones("default", "arch=x86-64-v3", "arch=x86-64-v4")))
#else
#define CK_CLONES
#endif

/* How often each layer's output is read. */
static PetscErrorCode CountReaders(PetscInt n, const CkLayer layers[], PetscInt readers[])
{
  PetscFunctionBeginUser;
  PetscCall(PetscArrayzero(readers, n));
  for (PetscInt l = 0; l < n; ++l)
    for (PetscInt i = 0; i < layers[l].ninputs; ++i) ++readers[layers[l].inputs[i]];
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscInt OffsetOf(const CkLayer *l, const CkParameter p[], CkRole role)
{
  for (PetscInt i = l->first_parameter; i < l->first_parameter + l->nparameters; ++i)
    if (p[i].role == role) return p[i].offset;
  for (PetscInt i = l->first_buffer; i < l->first_buffer + l->nbuffers; ++i)
    if (p[i].role == role) return p[i].offset;
  return -1;
}

/* A layer with parameters of its own coordinates. */
static CkFoldLayer Own(PetscInt number, const CkLayer *l, const CkParameter p[])
{
  const PetscBool norm = (PetscBool)(l->type == CK_LAYER_BATCHNORM);
  const CkShape   in = l->in;

  return (CkFoldLayer){.layer = number,
                       .norm = -1,
                       .units = norm ? in.c : l->out.c,
                       .fan_in = norm ? 1 : (l->type == CK_LAYER_CONV ? in.c * l->a.kernel[0] * l->a.kernel[1] : in.c),
                       .weight = OffsetOf(l, p, norm ? CK_ROLE_SCALE : CK_ROLE_WEIGHT),
                       .bias = OffsetOf(l, p, norm ? CK_ROLE_SHIFT : CK_ROLE_BIAS),
                       .gamma = -1,
                       .beta = -1,
                       .mean = OffsetOf(l, p, CK_ROLE_MEAN),
                       .variance = OffsetOf(l, p, CK_ROLE_VARIANCE),
                       .epsilon = l->a.epsilon,
                       .shift = OffsetOf(l, p, norm ? CK_ROLE_SHIFT : CK_ROLE_BIAS) >= 0};
}

static void AddNorm(CkFoldLayer *f, PetscInt number, const CkLayer *norm, const CkParameter p[])
{
  f->norm = number;
  f->gamma = OffsetOf(norm, p, CK_ROLE_SCALE);
  f->beta = OffsetOf(norm, p, CK_ROLE_SHIFT);
  f->mean = OffsetOf(norm, p, CK_ROLE_MEAN);
  f->variance = OffsetOf(norm, p, CK_ROLE_VARIANCE);
  f->epsilon = norm->a.epsilon;
  f->shift = 1;
}

static PetscErrorCode ListLayers(CkFold *f, PetscBool fold, PetscInt n, const CkLayer layers[], const CkParameter p[])
{
  PetscInt  *readers;
  PetscInt64 size = 0; /* b' of layers without a bias can bring it beyond d */

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc1(n, &readers));
  PetscCall(CountReaders(n, layers, readers));
  for (PetscInt l = 0; l < n; ++l) {
    const CkLayer  *layer = &layers[l];
    const PetscInt  input = layer->ninputs > 0 ? layer->inputs[0] : -1;
    const PetscBool follows =
      (PetscBool)(input >= 0 && readers[input] == 1 &&
                  (layers[input].type == CK_LAYER_CONV || layers[input].type == CK_LAYER_DENSE));

    f->of_layer[l] = -1;
    if (fold && layer->type == CK_LAYER_BATCHNORM && follows) {
      AddNorm(&f->layers[f->of_layer[input]], l, layer, p);
    } else if (layer->nparameters > 0) {
      f->of_layer[l] = f->nlayers;
      f->layers[f->nlayers++] = Own(l, layer, p);
    }
  }
  PetscCall(PetscFree(readers));
  for (PetscInt i = 0; i < f->nlayers; ++i) {
    CkFoldLayer *l = &f->layers[i];

    l->first = (PetscInt)size;
    l->unit = f->units;
    f->units += l->units;
    size += (PetscInt64)l->units * (l->fan_in + l->shift);
    PetscCheck(size <= PETSC_MAX_INT, PETSC_COMM_SELF, PETSC_ERR_ARG_OUTOFRANGE,
               "Folded weights beyond the index type (%" PetscInt_FMT
               "): build Clarkia on PETSc with 64-bit indices (-DCLARKIA_64BIT=ON)",
               PETSC_MAX_INT);
  }
  f->de = (PetscInt)size;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkFoldCreate(CkNet net, PetscBool fold, CkFold **f)
{
  const CkLayer     *layers;
  const CkParameter *parameters;
  CkFold            *made;
  PetscInt           n, nparameters;

  PetscFunctionBeginUser;
  PetscCall(CkNetGetLayers(net, &n, &layers));
  PetscCall(CkNetGetParameters(net, &nparameters, &parameters));
  PetscCall(PetscNew(&made));
  *f = made;
  PetscCall(CkNetGetDimension(net, &made->d));
  PetscCall(PetscMalloc2(n, &made->layers, n, &made->of_layer));
  PetscCall(ListLayers(made, fold, n, layers, parameters));
  PetscCall(PetscMalloc1(made->de, &made->point));
  PetscCall(PetscMalloc1(made->de, &made->original));
  PetscCall(PetscMalloc3(made->units, &made->scale, made->units, &made->inverse, made->units, &made->centre));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkFoldDestroy(CkFold **f)
{
  CkFold *old = *f;

  PetscFunctionBeginUser;
  *f = NULL;
  if (!old) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(PetscFree3(old->scale, old->inverse, old->centre));
  PetscCall(PetscFree(old->original));
  PetscCall(PetscFree(old->point));
  PetscCall(PetscFree2(old->layers, old->of_layer));
  PetscCall(PetscFree(old));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkFoldSetPoint(CkFold *f, const double weights[], const double buffers[])
{
  PetscFunctionBeginUser;
  for (PetscInt i = 0; i < f->nlayers; ++i) {
    const CkFoldLayer *l = &f->layers[i];
    const size_t       fan_in = (size_t)l->fan_in;

    for (PetscInt o = 0; o < l->units; ++o) {
      const double *w = weights + l->weight + (size_t)o * fan_in;
      double       *folded = f->point + l->first + (size_t)o * fan_in;
      float        *original = f->original + l->first + (size_t)o * fan_in;
      const double  b = l->bias >= 0 ? weights[l->bias + o] : 0;
      double        s = 1, inverse = 0, centre = 0;

      if (l->norm >= 0) {
        inverse = 1 / sqrt(buffers[l->variance + o] + l->epsilon);
        centre = b - buffers[l->mean + o];
        s = weights[l->gamma + o] * inverse;
      }
      f->scale[l->unit + o] = s;
      f->inverse[l->unit + o] = inverse;
      f->centre[l->unit + o] = centre;
      for (size_t t = 0; t < fan_in; ++t) {
        folded[t] = s * w[t];
        original[t] = (float)w[t];
      }
      if (l->shift)
        f->point[l->first + l->units * l->fan_in + o] = l->norm >= 0 ? s * centre + weights[l->beta + o] : b;
    }
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* <w, x> in eight partial sums */
CK_CLONES static double WithOriginal(PetscInt n, const float w[restrict], const double x[restrict])
{
  double   part[8] = {0}, sum = 0;
  PetscInt t = 0;

  for (; t + 8 <= n; t += 8)
    for (PetscInt k = 0; k < 8; ++k) part[k] += (double)w[t + k] * x[t + k];
  for (; t < n; ++t) sum += (double)w[t] * x[t];
  for (PetscInt k = 0; k < 8; ++k) sum += part[k];
  return sum;
}

CK_CLONES static void Scale(PetscInt n, double s, const double x[restrict], double y[restrict])
{
  for (PetscInt t = 0; t < n; ++t) y[t] = s * x[t];
}

PetscErrorCode CkFoldApply(const CkFold *f, const double a[], double out[])
{
  PetscFunctionBeginUser;
  for (PetscInt i = 0; i < f->nlayers; ++i) {
    const CkFoldLayer *l = &f->layers[i];

    for (PetscInt o = 0; o < l->units; ++o) {
      const size_t  first = (size_t)l->first + (size_t)o * (size_t)l->fan_in;
      const double *g = a + first, s = f->scale[l->unit + o];
      const double  shift = l->shift ? a[l->first + l->units * l->fan_in + o] : 0;

      Scale(l->fan_in, s, g, out + l->weight + o * l->fan_in);
      if (l->bias >= 0) out[l->bias + o] = s * shift;
      if (l->norm < 0) continue;
      out[l->beta + o] = shift;
      out[l->gamma + o] =
        f->inverse[l->unit + o] * (WithOriginal(l->fan_in, f->original + first, g) + f->centre[l->unit + o] * shift);
    }
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* y = s x + r w */
CK_CLONES static void Combine(PetscInt n, double s, const double x[restrict], double r, const float w[restrict],
                              double y[restrict])
{
  for (PetscInt t = 0; t < n; ++t) y[t] = s * x[t] + r * (double)w[t];
}

PetscErrorCode CkFoldTranspose(const CkFold *f, const double v[], double out[])
{
  PetscFunctionBeginUser;
  for (PetscInt i = 0; i < f->nlayers; ++i) {
    const CkFoldLayer *l = &f->layers[i];

    for (PetscInt o = 0; o < l->units; ++o) {
      const float *w = f->original + l->first + (size_t)o * (size_t)l->fan_in;
      const double s = f->scale[l->unit + o];
      const double stretch = l->norm >= 0 ? v[l->gamma + o] * f->inverse[l->unit + o] : 0;

      Combine(l->fan_in, s, v + l->weight + o * l->fan_in, stretch, w, out + l->first + o * l->fan_in);
      if (l->shift)
        out[l->first + l->units * l->fan_in + o] = (l->bias >= 0 ? s * v[l->bias + o] : 0) +
                                                   (l->norm >= 0 ? v[l->beta + o] : 0) +
                                                   stretch * f->centre[l->unit + o];
    }
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* y = s x in the precision of the row; x is float32, so the float64 row holds the float32 numbers */
CK_CLONES static void ScaledFloats(PetscInt n, float s, const float x[restrict], float y[restrict])
{
  for (PetscInt t = 0; t < n; ++t) y[t] = s * x[t];
}

CK_CLONES static void ScaledDoubles(PetscInt n, float s, const float x[restrict], double y[restrict])
{
  for (PetscInt t = 0; t < n; ++t) y[t] = (double)(s * x[t]);
}

CK_CLONES static float Inner(PetscInt n, const float x[restrict], const float y[restrict])
{
  float    sum[16] = {0}, total = 0;
  PetscInt t = 0;

  for (; t + 16 <= n; t += 16)
    for (PetscInt j = 0; j < 16; ++j) sum[j] += x[t + j] * y[t + j];
  for (; t < n; ++t) total += x[t] * y[t];
  for (PetscInt j = 0; j < 16; ++j) total += sum[j];
  return total;
}

static void Put(CkPrecision precision, void *row, PetscInt at, double value)
{
  if (precision == CK_FLOAT64) ((double *)row)[at] = (double)(float)value;
  else ((float *)row)[at] = (float)value;
}

void CkFoldUnitRow(const CkFoldUnit *u, CkPrecision precision, void *row)
{
  const CkFoldLayer *l = u->layer;
  const double       s = u->fold->scale[l->unit + u->unit], shift = (double)u->shift;
  const PetscInt     at = l->weight + u->unit * l->fan_in;
  const float        factor = (float)(s * (double)u->factor);

  if (precision == CK_FLOAT64) ScaledDoubles(l->fan_in, factor, u->g, (double *)row + at);
  else ScaledFloats(l->fan_in, factor, u->g, (float *)row + at);
  if (l->bias >= 0) Put(precision, row, l->bias + u->unit, s * shift);
  if (l->norm >= 0) {
    const float *w = u->fold->original + l->first + (size_t)u->unit * (size_t)l->fan_in;
    const double product = (double)u->factor * (double)Inner(l->fan_in, w, u->g);

    Put(precision, row, l->beta + u->unit, shift);
    Put(precision, row, l->gamma + u->unit,
        u->fold->inverse[l->unit + u->unit] * (product + u->fold->centre[l->unit + u->unit] * shift));
  }
}

double CkFoldUnitNorm(const CkFold *f, const CkFoldLayer *l, PetscInt unit, double squares, double product,
                      double shift)
{
  const double s = f->scale[l->unit + unit];
  double       sum = s * s * squares;

  if (l->bias >= 0) sum += s * s * shift * shift;
  if (l->norm >= 0) {
    const double gamma = f->inverse[l->unit + unit] * (product + f->centre[l->unit + unit] * shift);

    sum += shift * shift + gamma * gamma;
  }
  return sum;
}
