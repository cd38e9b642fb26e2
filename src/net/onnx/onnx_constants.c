#include "onnx.h"
#include <string.h>

/* ---- tensors of the file ---- */

static const char *TypeName(int type)
{
  const ProtobufCEnumValue *v = protobuf_c_enum_descriptor_get_value(&onnx__tensor_proto__data_type__descriptor, type);

  return v ? v->name : "of unknown number";
}

/* Numbers in the dims; user error where they are more than can be counted. */
static PetscErrorCode Count(Onnx *o, const OnnxNode *node, const char name[], size_t rank, const PetscInt64 dims[],
                            size_t *n)
{
  size_t bound = 1; /* without the axes of length 0, so that no partial product overflows either */

  *n = 1;
  OnnxCheck(o, node, rank <= ONNX_MAX_RANK, "has tensor '%.100s' with %zu axes, more than %d", name, rank,
            (int)ONNX_MAX_RANK);
  for (size_t i = 0; i < rank; ++i) {
    OnnxCheck(o, node, dims[i] >= 0, "has tensor '%.100s' with an axis of length %" PetscInt64_FMT, name, dims[i]);
    *n *= (size_t)dims[i]; /* at most `bound` */
    OnnxCheck(o, node,
              !__builtin_mul_overflow(bound, PetscMax((size_t)dims[i], 1), &bound) && bound <= (size_t)PETSC_MAX_INT,
              "has tensor '%.100s' with more than %" PetscInt_FMT " numbers, the most that can be counted", name,
              PETSC_MAX_INT);
  }
  return PETSC_SUCCESS;
}

PetscErrorCode OnnxNewConstant(Onnx *o, const OnnxNode *node, PetscBool real, int rank, const PetscInt64 dims[],
                               OnnxConstant **made)
{
  OnnxConstant *c;
  size_t        n;

  PetscFunctionBeginUser;
  PetscCall(Count(o, node, "(computed)", (size_t)rank, dims, &n));
  o->computed += n;
  OnnxCheck(o, node, o->computed <= 4 * o->size + ONNX_MAX_COMPUTED,
            "brings the constants to %zu numbers, far more than the file has", o->computed);
  PetscCall(OnnxAllocate(o, 1, sizeof(*c), &c));
  c->real = real;
  c->rank = rank;
  c->n = n;
  for (int i = 0; i < rank; ++i) c->dims[i] = dims[i];
  if (real) PetscCall(OnnxAllocate(o, n, sizeof(*c->x), &c->x));
  else PetscCall(OnnxAllocate(o, n, sizeof(*c->i), &c->i));
  *made = c;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static uint64_t LittleEndian(const uint8_t *bytes, int n)
{
  uint64_t value = 0;

  for (int i = n - 1; i >= 0; --i) value = value << 8 | bytes[i];
  return value;
}

static double RealAt(const Onnx__TensorProto *t, size_t i)
{
  uint32_t bits;
  float    value;

  if (!t->has_raw_data) return (double)t->float_data[i];
  bits = (uint32_t)LittleEndian(t->raw_data.data + 4 * i, 4);
  memcpy(&value, &bits, sizeof(value));
  return (double)value;
}

static PetscInt64 IntegerAt(const Onnx__TensorProto *t, size_t i)
{
  if (t->data_type == ONNX__TENSOR_PROTO__DATA_TYPE__INT64)
    return t->has_raw_data ? (PetscInt64)LittleEndian(t->raw_data.data + 8 * i, 8) : t->int64_data[i];
  if (!t->has_raw_data) return t->int32_data[i];
  if (t->data_type == ONNX__TENSOR_PROTO__DATA_TYPE__INT32)
    return (int32_t)(uint32_t)LittleEndian(t->raw_data.data + 4 * i, 4);
  return t->raw_data.data[i] != 0;
}

/* The numbers are in the file, of a known type, and as many as the shape says. */
static PetscErrorCode CheckTensor(Onnx *o, const OnnxNode *node, const Onnx__TensorProto *t, const char name[],
                                  size_t *n)
{
  const PetscBool real = (PetscBool)(t->data_type == ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT);
  size_t          bytes, others;
  char            text[200];

  PetscFunctionBeginUser;
  PetscCall(Count(o, node, name, t->n_dims, t->dims, n));
  OnnxCheck(o, node, t->data_location != ONNX__TENSOR_PROTO__DATA_LOCATION__EXTERNAL && t->n_external_data == 0,
            "has tensor '%.100s', whose numbers are in another file (external data): save the model in one file", name);
  OnnxCheck(o, node,
            real || t->data_type == ONNX__TENSOR_PROTO__DATA_TYPE__INT64 ||
              t->data_type == ONNX__TENSOR_PROTO__DATA_TYPE__INT32 ||
              t->data_type == ONNX__TENSOR_PROTO__DATA_TYPE__BOOL,
            "has tensor '%.100s' of type %s: only FLOAT (and INT64, INT32, BOOL for shapes) can be read", name,
            TypeName(t->data_type));
  OnnxCheck(o, node, !t->segment, "has tensor '%.100s' in segments, which are not supported", name);
  if (t->data_type == ONNX__TENSOR_PROTO__DATA_TYPE__INT64) {
    bytes = 8;
    others = t->n_int64_data;
  } else {
    bytes = t->data_type == ONNX__TENSOR_PROTO__DATA_TYPE__BOOL ? 1 : 4;
    others = real ? t->n_float_data : t->n_int32_data;
  }
  if (t->has_raw_data)
    OnnxCheck(o, node, others == 0 && t->raw_data.len / bytes == *n && t->raw_data.len % bytes == 0,
              "has tensor '%.100s' of shape %s, %zu numbers of %zu bytes, but %zu bytes and %zu numbers of data", name,
              OnnxDims((int)t->n_dims, t->dims, text, sizeof(text)), *n, bytes, t->raw_data.len, others);
  else
    OnnxCheck(o, node, others == *n, "has tensor '%.100s' of shape %s, %zu numbers, but data for %zu", name,
              OnnxDims((int)t->n_dims, t->dims, text, sizeof(text)), *n, others);
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode OnnxTensor(Onnx *o, const OnnxNode *node, const Onnx__TensorProto *t, OnnxConstant **made)
{
  const char   *name = OnnxText(t->name);
  OnnxConstant *c;
  size_t        n;

  PetscFunctionBeginUser;
  PetscCall(CheckTensor(o, node, t, name, &n));
  PetscCall(OnnxNewConstant(o, node, (PetscBool)(t->data_type == ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT), (int)t->n_dims,
                            t->dims, &c));
  for (size_t i = 0; i < n; ++i) {
    if (c->real) c->x[i] = RealAt(t, i);
    else c->i[i] = IntegerAt(t, i);
  }
  c->source = name;
  *made = c;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* ---- rearrangements ---- */

/* Number j of `to` is number map[j] of `from`; NULL: number j. */
static void Take(const OnnxConstant *from, const size_t map[], OnnxConstant *to)
{
  for (size_t j = 0; j < to->n; ++j) {
    const size_t k = map ? map[j] : j;

    if (to->real) to->x[j] = from->x[k];
    else to->i[j] = from->i[k];
  }
}

/* map[] of a walk over dims with a stride for each axis. */
static void Strided(int rank, const PetscInt64 dims[], const PetscInt64 strides[], PetscInt64 offset, size_t n,
                    size_t map[])
{
  PetscInt64 index[ONNX_MAX_RANK] = {0}, at = offset;

  for (size_t j = 0; j < n; ++j) {
    map[j] = (size_t)at;
    for (int a = rank - 1; a >= 0; --a) {
      at += strides[a];
      if (++index[a] < dims[a]) break;
      at -= strides[a] * dims[a];
      index[a] = 0;
    }
  }
}

static void Strides(int rank, const PetscInt64 dims[], PetscInt64 strides[])
{
  PetscInt64 step = 1;

  for (int a = rank - 1; a >= 0; --a) {
    strides[a] = step;
    step *= dims[a];
  }
}

static PetscErrorCode TakeStrided(Onnx *o, const OnnxNode *node, const OnnxConstant *from, int rank,
                                  const PetscInt64 dims[], const PetscInt64 strides[], PetscInt64 offset,
                                  OnnxConstant **made)
{
  size_t *map;

  PetscFunctionBeginUser;
  PetscCall(OnnxNewConstant(o, node, from->real, rank, dims, made));
  PetscCall(OnnxAllocate(o, (*made)->n, sizeof(*map), &map));
  Strided(rank, dims, strides, offset, (*made)->n, map);
  Take(from, map, *made);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* ---- one function an operator; in: constants ---- */

typedef PetscErrorCode (*Fold)(Onnx *o, const OnnxNode *node, OnnxConstant **out);

static OnnxConstant *In(const OnnxNode *node, PetscInt i)
{
  return i < node->nin && node->in[i] ? node->in[i]->constant : NULL;
}

/* The same numbers in another shape; a view. */
static PetscErrorCode View(Onnx *o, const OnnxNode *node, const OnnxConstant *c, int rank, const PetscInt64 dims[],
                           OnnxConstant **out)
{
  size_t n;

  PetscFunctionBeginUser;
  PetscCall(Count(o, node, node->out[0]->name, (size_t)rank, dims, &n));
  OnnxCheck(o, node, n == c->n, "makes %zu numbers of %zu", n, c->n);
  PetscCall(OnnxAllocate(o, 1, sizeof(**out), out));
  **out = *c;
  (*out)->rank = rank;
  for (int i = 0; i < rank; ++i) (*out)->dims[i] = dims[i];
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode FoldIdentity(Onnx *o, const OnnxNode *node, OnnxConstant **out)
{
  PetscFunctionBeginUser;
  PetscCall(View(o, node, In(node, 0), In(node, 0)->rank, In(node, 0)->dims, out));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode ConstantList(Onnx *o, const OnnxNode *node, const Onnx__AttributeProto *a, OnnxConstant **out)
{
  const PetscBool  real = (PetscBool)(a->n_floats > 0 || a->has_f);
  const PetscBool  list = (PetscBool)(a->n_floats > 0 || a->n_ints > 0 || !(a->has_f || a->has_i));
  const PetscInt64 n = (PetscInt64)(real ? a->n_floats : a->n_ints);

  PetscFunctionBeginUser;
  PetscCall(OnnxNewConstant(o, node, real, list, &n, out));
  if (!list && real) (*out)->x[0] = (double)a->f;
  else if (!list) (*out)->i[0] = a->i;
  for (PetscInt64 j = 0; list && j < n; ++j) {
    if (real) (*out)->x[j] = (double)a->floats[j];
    else (*out)->i[j] = a->ints[j];
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode FoldConstant(Onnx *o, const OnnxNode *node, OnnxConstant **out)
{
  static const char *const    names[] = {"value_int", "value_ints", "value_float", "value_floats"};
  const Onnx__AttributeProto *a = OnnxAttribute(node, "value");

  PetscFunctionBeginUser;
  if (a && a->t) {
    PetscCall(OnnxTensor(o, node, a->t, out));
    (*out)->source = node->out[0]->name;
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); ++i) {
    a = OnnxAttribute(node, names[i]);
    if (!a) continue;
    PetscCall(ConstantList(o, node, a, out));
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  PetscFunctionReturn(OnnxFail(o, node, PETSC_ERR_FILE_UNEXPECTED, "holds no tensor, number or list of numbers"));
}

static PetscErrorCode FoldConstantOfShape(Onnx *o, const OnnxNode *node, OnnxConstant **out)
{
  const Onnx__AttributeProto *a = OnnxAttribute(node, "value");
  const OnnxConstant         *shape = In(node, 0);
  OnnxConstant               *value = NULL;
  size_t                      n;

  PetscFunctionBeginUser;
  OnnxCheck(o, node, !shape->real, "needs a shape of integers");
  if (a && a->t) PetscCall(OnnxTensor(o, node, a->t, &value));
  OnnxCheck(o, node, !value || value->n == 1, "needs a value of one number");
  PetscCall(Count(o, node, node->out[0]->name, shape->n, shape->i, &n));
  OnnxCheck(o, node, n <= ONNX_MAX_COMPUTED, "makes a tensor of %zu numbers, more than %d", n, (int)ONNX_MAX_COMPUTED);
  PetscCall(OnnxNewConstant(o, node, (PetscBool)(!value || value->real), (int)shape->n, shape->i, out));
  for (size_t j = 0; value && j < n; ++j) {
    if (value->real) (*out)->x[j] = value->x[0];
    else (*out)->i[j] = value->i[0];
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode FoldCast(Onnx *o, const OnnxNode *node, OnnxConstant **out)
{
  const OnnxConstant *c = In(node, 0);
  PetscInt64          to = 0;
  PetscBool           real;

  PetscFunctionBeginUser;
  PetscCall(OnnxInt(o, node, "to", &to));
  real = (PetscBool)(to == ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT);
  OnnxCheck(o, node, real || to == ONNX__TENSOR_PROTO__DATA_TYPE__INT64 || to == ONNX__TENSOR_PROTO__DATA_TYPE__INT32,
            "makes numbers of type %s; FLOAT, INT64 and INT32 are supported",
            to >= 0 && to < 100 ? TypeName((int)to) : "of unknown number");
  if (real == c->real) {
    PetscCall(View(o, node, c, c->rank, c->dims, out));
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  PetscCall(OnnxNewConstant(o, node, real, c->rank, c->dims, out));
  for (size_t j = 0; j < c->n; ++j) {
    if (real) (*out)->x[j] = (double)c->i[j];
    else {
      OnnxCheck(o, node, c->x[j] > -0x1p62 && c->x[j] < 0x1p62, "casts %g to an integer", c->x[j]);
      (*out)->i[j] = (PetscInt64)c->x[j];
    }
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The shape of a layer's outputs or a constant, or a part of it (operator set 15). */
static PetscErrorCode FoldShape(Onnx *o, const OnnxNode *node, OnnxConstant **out)
{
  const OnnxValue  *v = node->in[0];
  const PetscInt64 *dims = v->kind == ONNX_CONSTANT ? v->constant->dims : v->dims;
  const PetscInt64  rank = v->kind == ONNX_CONSTANT ? v->constant->rank : v->rank;
  PetscInt64        start = 0, end = rank, n;

  PetscFunctionBeginUser;
  PetscCall(OnnxInt(o, node, "start", &start));
  PetscCall(OnnxInt(o, node, "end", &end));
  start = PetscMin(PetscMax(start < 0 ? PetscMax(start, -rank) + rank : start, 0), rank);
  end = PetscMin(PetscMax(end < 0 ? PetscMax(end, -rank) + rank : end, 0), rank);
  n = PetscMax(end - start, 0);
  PetscCall(OnnxNewConstant(o, node, PETSC_FALSE, 1, &n, out));
  for (PetscInt64 j = 0; j < n; ++j) (*out)->i[j] = dims[start + j];
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode FoldGather(Onnx *o, const OnnxNode *node, OnnxConstant **out)
{
  const OnnxConstant *c = In(node, 0), *index = In(node, 1);
  PetscInt64          which = 0, dims[2 * ONNX_MAX_RANK], before = 1, behind = 1;
  size_t             *map, total = 1, j = 0;
  int                 axis, rank = 0;

  PetscFunctionBeginUser;
  OnnxCheck(o, node, index && !index->real, "needs integers as indices");
  PetscCall(OnnxInt(o, node, "axis", &which));
  PetscCall(OnnxAxis(o, node, c->rank, which, &axis));
  for (int a = 0; a < axis; ++a) before *= dims[rank++] = c->dims[a];
  for (int a = 0; a < index->rank; ++a) dims[rank++] = index->dims[a];
  for (int a = axis + 1; a < c->rank; ++a) behind *= dims[rank++] = c->dims[a];
  PetscCall(Count(o, node, node->out[0]->name, (size_t)rank, dims, &total));
  OnnxCheck(o, node, total <= ONNX_MAX_COMPUTED, "makes a tensor of %zu numbers, more than %d", total,
            (int)ONNX_MAX_COMPUTED);
  for (size_t i = 0; i < index->n; ++i)
    OnnxCheck(o, node, index->i[i] >= -c->dims[axis] && index->i[i] < c->dims[axis],
              "takes entry %" PetscInt64_FMT " of %" PetscInt64_FMT, index->i[i], c->dims[axis]);
  PetscCall(OnnxNewConstant(o, node, c->real, rank, dims, out));
  PetscCall(OnnxAllocate(o, total, sizeof(*map), &map));
  for (PetscInt64 b = 0; total && b < before; ++b)
    for (size_t i = 0; i < index->n; ++i) {
      const PetscInt64 at = index->i[i] < 0 ? index->i[i] + c->dims[axis] : index->i[i];

      for (PetscInt64 k = 0; k < behind; ++k) map[j++] = (size_t)((b * c->dims[axis] + at) * behind + k);
    }
  Take(c, map, *out);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode FoldConcat(Onnx *o, const OnnxNode *node, OnnxConstant **out)
{
  const OnnxConstant *c = In(node, 0);
  PetscInt64          which = 0, dims[ONNX_MAX_RANK] = {0}, before = 1;
  size_t              filled = 0;
  int                 axis;

  PetscFunctionBeginUser;
  PetscCall(OnnxInt(o, node, "axis", &which));
  PetscCall(OnnxAxis(o, node, c->rank, which, &axis));
  for (int a = 0; a < c->rank; ++a) dims[a] = c->dims[a];
  for (PetscInt i = 1; i < node->nin; ++i) {
    const OnnxConstant *next = In(node, i);

    OnnxCheck(o, node, next && next->real == c->real && next->rank == c->rank, "joins tensors of different kinds");
    for (int a = 0; a < c->rank; ++a)
      OnnxCheck(o, node, a == axis || next->dims[a] == dims[a], "joins tensors whose shapes do not fit");
    dims[axis] += next->dims[axis];
    OnnxCheck(o, node, dims[axis] <= ONNX_MAX_COMPUTED, "makes an axis longer than %d", (int)ONNX_MAX_COMPUTED);
  }
  PetscCall(OnnxNewConstant(o, node, c->real, c->rank, dims, out));
  for (int a = 0; a < axis; ++a) before *= dims[a];
  for (PetscInt64 b = 0; (*out)->n && b < before; ++b)
    for (PetscInt i = 0; i < node->nin; ++i) {
      const OnnxConstant *part = In(node, i);
      const size_t        n = part->n / (size_t)before;

      for (size_t j = 0; j < n; ++j, ++filled) {
        if (c->real) (*out)->x[filled] = part->x[(size_t)b * n + j];
        else (*out)->i[filled] = part->i[(size_t)b * n + j];
      }
    }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode FoldTranspose(Onnx *o, const OnnxNode *node, OnnxConstant **out)
{
  const OnnxConstant *c = In(node, 0);
  PetscInt64          order[ONNX_MAX_RANK], dims[ONNX_MAX_RANK], all[ONNX_MAX_RANK], strides[ONNX_MAX_RANK];
  int                 n, seen = 0;

  PetscFunctionBeginUser;
  PetscCall(OnnxInts(o, node, "perm", -ONNX_MAX_RANK, order, &n));
  for (int a = 0; n < 0 && a < c->rank; ++a) order[a] = c->rank - 1 - a;
  OnnxCheck(o, node, n < 0 || n == c->rank, "reorders %d axes of %d", n, c->rank);
  Strides(c->rank, c->dims, all);
  for (int a = 0; a < c->rank; ++a) {
    OnnxCheck(o, node, order[a] >= 0 && order[a] < c->rank && !(seen & 1 << order[a]), "has a perm that is no order");
    seen |= 1 << order[a];
    dims[a] = c->dims[order[a]];
    strides[a] = all[order[a]];
  }
  PetscCall(TakeStrided(o, node, c, c->rank, dims, strides, 0, out));
  (*out)->source = c->source;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Clamped as the standard says: 0..n (step > 0) or -1..n-1. */
static PetscInt64 Clamp(PetscInt64 at, PetscInt64 n, PetscInt64 step)
{
  if (at < 0) at = at < -n ? -1 - (step > 0) : at + n;
  return PetscMin(PetscMax(at, step > 0 ? 0 : -1), step > 0 ? n : n - 1);
}

static PetscErrorCode FoldSlice(Onnx *o, const OnnxNode *node, OnnxConstant **out)
{
  const OnnxConstant *c = In(node, 0);
  PetscInt64          starts[ONNX_MAX_RANK], ends[ONNX_MAX_RANK], axes[ONNX_MAX_RANK], steps[ONNX_MAX_RANK];
  PetscInt64          dims[ONNX_MAX_RANK], strides[ONNX_MAX_RANK], offset = 0;
  int                 n, nends, naxes, nsteps = -1;

  PetscFunctionBeginUser;
  PetscCall(OnnxIntsOf(o, node, "starts", 1, ONNX_MAX_RANK, starts, &n));
  PetscCall(OnnxIntsOf(o, node, "ends", 2, ONNX_MAX_RANK, ends, &nends));
  PetscCall(OnnxIntsOf(o, node, "axes", 3, ONNX_MAX_RANK, axes, &naxes));
  PetscCall(OnnxIntsOf(o, node, "steps", 4, ONNX_MAX_RANK, steps, &nsteps));
  OnnxCheck(o, node, n >= 0 && n <= c->rank && nends == n && (naxes < 0 || naxes == n) && (nsteps < 0 || nsteps == n),
            "has starts, ends, axes and steps that do not fit");
  Strides(c->rank, c->dims, strides);
  for (int a = 0; a < c->rank; ++a) dims[a] = c->dims[a];
  for (int k = 0; k < n; ++k) {
    const PetscInt64 step = nsteps < 0 ? 1 : steps[k];
    PetscInt64       first, last;
    int              axis;

    PetscCall(OnnxAxis(o, node, c->rank, naxes < 0 ? k : axes[k], &axis));
    OnnxCheck(o, node,
              step != 0 && step > -ONNX_MAX_COMPUTED && step < ONNX_MAX_COMPUTED && dims[axis] == c->dims[axis],
              "has a step or axes that cannot be used");
    first = Clamp(starts[k], c->dims[axis], step);
    last = Clamp(ends[k], c->dims[axis], step);
    if (step > 0) dims[axis] = last > first ? (last - first + step - 1) / step : 0;
    else dims[axis] = first > last ? (first - last - step - 1) / -step : 0;
    if (dims[axis] > 0) offset += first * strides[axis];
    strides[axis] *= step;
  }
  PetscCall(TakeStrided(o, node, c, c->rank, dims, strides, offset, out));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* ---- arithmetic ---- */

/* False where the result is no number. */
static PetscBool Combine(char op, PetscInt64 a, PetscInt64 b, PetscInt64 *y)
{
  switch (op) {
  case 'A':
    return (PetscBool)!__builtin_add_overflow(a, b, y);
  case 'S':
    return (PetscBool)!__builtin_sub_overflow(a, b, y);
  case 'M':
    return (PetscBool)!__builtin_mul_overflow(a, b, y);
  default:
    if (b == 0 || (b == -1 && a == INT64_MIN)) return PETSC_FALSE;
    *y = a / b;
    return PETSC_TRUE;
  }
}

static double CombineReal(char op, double a, double b)
{
  return op == 'A' ? a + b : op == 'S' ? a - b : op == 'M' ? a * b : a / b;
}

/* Strides of c as one of the operands of a result with these dims: 0 along axes it is repeated on. */
static PetscErrorCode Broadcast(Onnx *o, const OnnxNode *node, const OnnxConstant *c, int rank, PetscInt64 dims[],
                                PetscInt64 strides[])
{
  PetscInt64 own[ONNX_MAX_RANK];

  PetscFunctionBeginUser;
  Strides(c->rank, c->dims, own);
  for (int a = 0; a < rank; ++a) {
    const int k = a - (rank - c->rank);

    strides[a] = k >= 0 && c->dims[k] != 1 ? own[k] : 0;
    if (k < 0 || c->dims[k] == 1) continue;
    OnnxCheck(o, node, dims[a] == 1 || dims[a] == c->dims[k], "combines tensors whose shapes do not fit");
    dims[a] = c->dims[k];
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode FoldArithmetic(Onnx *o, const OnnxNode *node, OnnxConstant **out)
{
  const OnnxConstant *a = In(node, 0), *b = In(node, 1);
  const int           rank = PetscMax(a->rank, b ? b->rank : 0);
  PetscInt64          dims[ONNX_MAX_RANK], sa[ONNX_MAX_RANK], sb[ONNX_MAX_RANK];
  size_t             *pa, *pb, n;

  PetscFunctionBeginUser;
  OnnxCheck(o, node, b && a->real == b->real, "combines real numbers and integers");
  for (int i = 0; i < rank; ++i) dims[i] = 1;
  PetscCall(Broadcast(o, node, a, rank, dims, sa));
  PetscCall(Broadcast(o, node, b, rank, dims, sb));
  PetscCall(Count(o, node, node->out[0]->name, (size_t)rank, dims, &n));
  OnnxCheck(o, node, n <= PetscMax(PetscMax(a->n, b->n), ONNX_MAX_COMPUTED), "makes a tensor of %zu numbers", n);
  PetscCall(OnnxNewConstant(o, node, a->real, rank, dims, out));
  PetscCall(OnnxAllocate(o, n, sizeof(*pa), &pa));
  PetscCall(OnnxAllocate(o, n, sizeof(*pb), &pb));
  Strided(rank, dims, sa, 0, n, pa);
  Strided(rank, dims, sb, 0, n, pb);
  for (size_t j = 0; j < n; ++j) {
    if (a->real) (*out)->x[j] = CombineReal(node->op[0], a->x[pa[j]], b->x[pb[j]]);
    else
      OnnxCheck(o, node, Combine(node->op[0], a->i[pa[j]], b->i[pb[j]], &(*out)->i[j]),
                "has an integer result out of range");
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* ---- shapes: onnx_shapes.c says which ---- */

static PetscErrorCode FoldReshape(Onnx *o, const OnnxNode *node, OnnxConstant **out)
{
  const OnnxConstant *c = In(node, 0);
  PetscInt64          dims[ONNX_MAX_RANK];
  int                 rank;

  PetscFunctionBeginUser;
  PetscCall(OnnxNewDims(o, node, c->rank, c->dims, &rank, dims));
  PetscCall(View(o, node, c, rank, dims, out));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static const struct {
  const char *op;
  Fold        fold;
  PetscInt    min_inputs;
} folds[] = {{"Constant", FoldConstant, 0},   {"ConstantOfShape", FoldConstantOfShape, 1},
             {"Shape", FoldShape, 1},         {"Identity", FoldIdentity, 1},
             {"Cast", FoldCast, 1},           {"Gather", FoldGather, 2},
             {"Unsqueeze", FoldReshape, 1},   {"Squeeze", FoldReshape, 1},
             {"Reshape", FoldReshape, 1},     {"Flatten", FoldReshape, 1},
             {"Concat", FoldConcat, 1},       {"Slice", FoldSlice, 1},
             {"Transpose", FoldTranspose, 1}, {"Add", FoldArithmetic, 2},
             {"Sub", FoldArithmetic, 2},      {"Mul", FoldArithmetic, 2},
             {"Div", FoldArithmetic, 2}};

PetscErrorCode OnnxFold(Onnx *o, const OnnxNode *node, PetscBool *folded)
{
  const PetscBool shape = (PetscBool)!strcmp(node->op, "Shape");
  Fold            fold = NULL;
  PetscInt        least = 0;

  PetscFunctionBeginUser;
  *folded = PETSC_FALSE;
  for (PetscInt i = 0; i < node->nin; ++i)
    if (node->in[i] && node->in[i]->kind != ONNX_CONSTANT && !(shape && node->in[i]->kind == ONNX_LAYER))
      PetscFunctionReturn(PETSC_SUCCESS);
  for (size_t i = 0; i < sizeof(folds) / sizeof(folds[0]); ++i)
    if (!strcmp(folds[i].op, node->op)) {
      fold = folds[i].fold;
      least = folds[i].min_inputs;
    }
  if (!fold) PetscFunctionReturn(PETSC_SUCCESS);
  OnnxCheck(o, node, node->nout >= 1 && node->out[0], "has no output");
  OnnxCheck(o, node, node->nin >= least, "needs %" PetscInt_FMT " inputs, has %" PetscInt_FMT, least, node->nin);
  for (PetscInt i = 0; i < PetscMax(least, !strcmp(node->op, "Concat") ? node->nin : 0); ++i)
    OnnxCheck(o, node, node->in[i], "lacks input %" PetscInt_FMT, i + 1);
  PetscCall(fold(o, node, &node->out[0]->constant));
  node->out[0]->kind = ONNX_CONSTANT;
  *folded = PETSC_TRUE;
  PetscFunctionReturn(PETSC_SUCCESS);
}
