/* Damaged ONNX files, the same ones in every run: each is refused with a message that names it, or it is a net whose
   numbers are sound. Nothing else may happen; run it with sanitizers. Usage: test_onnx_fuzz [files of each kind] */
#include "onnx_models.h"
#include <clarkia/random.h>

enum { MOST_PLACES = 1 << 16, MOST_CHANGES = 4, MOST_MODELS = 16 };

/* A model and the places of its structure: tags, lengths and short fields, not the bulk of weights. */
typedef struct {
  const char *name;
  CkShape     data;
  size_t      n, nplaces;
  uint8_t    *bytes;
  uint32_t   *places;
} Target;

static Target targets[MOST_MODELS];
static int    ntargets, rounds = 1000;

static const CkRandom stream = {.seed = 77, .purpose = CK_RANDOM_PROBE, .replica = 0, .step = 1};

static size_t ReadVarint(const Target *t, size_t at, uint64_t *value)
{
  *value = 0;
  for (int shift = 0; at < t->n; shift += 7) {
    *value |= (uint64_t)(t->bytes[at] & 0x7f) << shift;
    if (!(t->bytes[at++] & 0x80)) break;
  }
  return at;
}

static void AddPlaces(Target *t, size_t from, size_t to)
{
  for (size_t i = from; i < to && t->nplaces < MOST_PLACES; ++i) t->places[t->nplaces++] = (uint32_t)i;
}

/* The file is whole, so nothing needs to be checked. */
static void ListPlaces(Target *t, const ProtobufCMessageDescriptor *m, size_t at, size_t end)
{
  while (at < end) {
    const size_t start = at;
    uint64_t     tag, length = 0;

    at = ReadVarint(t, at, &tag);
    if ((tag & 7) == 0) at = ReadVarint(t, at, &length);
    else if ((tag & 7) == 5) at += 4;
    else if ((tag & 7) == 1) at += 8;
    else {
      const ProtobufCFieldDescriptor *f = protobuf_c_message_descriptor_get_field(m, (unsigned)(tag >> 3));

      at = ReadVarint(t, at, &length);
      AddPlaces(t, start, at);
      if (f && f->type == PROTOBUF_C_TYPE_MESSAGE)
        ListPlaces(t, (const ProtobufCMessageDescriptor *)f->descriptor, at, at + length);
      else AddPlaces(t, at, at + PetscMin(length, 24));
      at += length;
      continue;
    }
    AddPlaces(t, start, at);
  }
}

static void AddTarget(const char name[], CkShape data, uint8_t *bytes, size_t n)
{
  Target *t = &targets[ntargets++];

  *t = (Target){.name = name, .data = data, .n = n, .bytes = bytes};
  t->places = malloc(MOST_PLACES * sizeof(*t->places));
  ListPlaces(t, &onnx__model_proto__descriptor, 0, n);
}

static void AddFile(const char name[], CkShape data)
{
  char   path[PETSC_MAX_PATH_LEN];
  FILE  *file;
  size_t n;

  snprintf(path, sizeof(path), "%s/onnx/%s", CLARKIA_TEST_DATA, name);
  file = fopen(path, "rb");
  if (!file) return;
  fseek(file, 0, SEEK_END);
  n = (size_t)ftell(file);
  rewind(file);
  {
    uint8_t *bytes = malloc(n);

    assert_int_equal(fread(bytes, 1, n, file), n);
    AddTarget(name, data, bytes, n);
  }
  fclose(file);
}

/* ---- damage ---- */

typedef struct {
  size_t   n, room;
  uint8_t *bytes;
} Bytes;

static void Insert(Bytes *b, size_t at, const uint8_t *from, size_t n)
{
  n = PetscMin(n, b->room - b->n);
  memmove(b->bytes + at + n, b->bytes + at, b->n - at);
  memcpy(b->bytes + at, from, n);
  b->n += n;
}

static void Remove(Bytes *b, size_t at, size_t n)
{
  n = PetscMin(n, b->n - at);
  memmove(b->bytes + at, b->bytes + at + n, b->n - at - n);
  b->n -= n;
}

/* A piece of another model, over or between what is there. */
static void Splice(Bytes *b, size_t at, const uint32_t bits[4])
{
  const Target *other = &targets[bits[1] % (uint32_t)ntargets];
  const size_t  from = other->places[bits[2] % other->nplaces], n = PetscMin(1 + bits[3] % 200, other->n - from);

  if (bits[0] & 1) Remove(b, at, n);
  Insert(b, at, other->bytes + from, n);
}

static void Damage(const Target *t, Bytes *b, const uint32_t bits[4], const uint32_t more[4])
{
  static const uint8_t numbers[] = {0, 1, 2, 3, 7, 8, 0x0f, 0x10, 0x7f, 0x80, 0xfe, 0xff};
  static const uint8_t huge[] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01};
  const size_t         at = bits[0] % 4 ? t->places[bits[1] % t->nplaces] % b->n : bits[1] % b->n;

  switch (bits[2] % 10) {
  case 0:
    b->n = at;
    break;
  case 1:
    Remove(b, at, 1 + bits[3] % 40);
    break;
  case 2: { /* doubled */
    uint8_t      piece[64];
    const size_t n = PetscMin(1 + bits[3] % 64, b->n - at);

    memcpy(piece, b->bytes + at, n);
    Insert(b, at, piece, n);
    break;
  }
  case 3:
    Splice(b, at, more);
    break;
  case 4: /* a longer number */
    Insert(b, at, huge + bits[3] % 10, 10 - bits[3] % 10);
    break;
  case 5:
    b->bytes[at] = (uint8_t)(b->bytes[at] + (bits[3] % 2 ? 1 : -1));
    break;
  case 6:
    b->bytes[at] = numbers[bits[3] % sizeof(numbers)];
    break;
  default:
    b->bytes[at] ^= (uint8_t)(1u << bits[3] % 8);
  }
}

/* ---- damage to what the messages say, in files that are whole ---- */

static int64_t Odd(uint32_t bits)
{
  static const int64_t numbers[] = {0,
                                    1,
                                    -1,
                                    2,
                                    -2,
                                    3,
                                    -3,
                                    4,
                                    5,
                                    6,
                                    7,
                                    8,
                                    12,
                                    42,
                                    1 << 20,
                                    INT32_MAX,
                                    INT64_C(1) << 31,
                                    INT64_C(1) << 40,
                                    INT64_MAX,
                                    INT64_MIN};

  return numbers[bits % (sizeof(numbers) / sizeof(numbers[0]))];
}

static void SwapText(char **a, char **b)
{
  char *text = *a;

  *a = *b;
  *b = text;
}

static void ChangeNumber(const Onnx__GraphProto *g, const Onnx__NodeProto *n, const uint32_t bits[4])
{
  Onnx__TensorProto    *t = g->n_initializer ? g->initializer[bits[1] % g->n_initializer] : NULL;
  Onnx__AttributeProto *a = n->n_attribute ? n->attribute[bits[2] % n->n_attribute] : NULL;

  if (bits[0] % 3 == 0 && t && t->n_int64_data) t->int64_data[bits[2] % t->n_int64_data] = Odd(bits[3]);
  else if (bits[0] % 3 == 0 && t && t->n_dims) t->dims[bits[2] % t->n_dims] = Odd(bits[3]);
  else if (a && a->n_ints) a->ints[bits[1] % a->n_ints] = Odd(bits[3]);
  else if (a && a->has_i) a->i = Odd(bits[3]);
  else if (a && a->t && a->t->n_dims) a->t->dims[0] = Odd(bits[3]);
  else {
    const Onnx__TensorShapeProto            *shape = g->input[0]->type->tensor_type->shape;
    Onnx__TensorShapeProto__Dimension *const d = shape->dim[bits[1] % shape->n_dim];

    if (d->value_case == ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_PARAM) free(d->dim_param);
    d->value_case = ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_VALUE;
    d->dim_value = Odd(bits[3]);
  }
}

static void ChangeGraph(Onnx__GraphProto *g, const uint32_t bits[4], const uint32_t more[4])
{
  Onnx__NodeProto *a = g->node[more[0] % g->n_node], *b = g->node[more[1] % g->n_node];

  switch (bits[0] / 7 % 9) {
  case 0:
    SwapText(&a->op_type, &b->op_type);
    break;
  case 1:
    if (a->n_input && b->n_input) SwapText(&a->input[bits[1] % a->n_input], &b->input[bits[2] % b->n_input]);
    break;
  case 2: { /* another value to read */
    const char *name = bits[3] % 2 && g->n_initializer ? g->initializer[bits[2] % g->n_initializer]->name
                                                       : b->output[bits[2] % b->n_output];

    if (!a->n_input) break;
    free(a->input[bits[1] % a->n_input]);
    a->input[bits[1] % a->n_input] = strdup(name);
    break;
  }
  case 3:
    if (a->n_input > 1) free(a->input[--a->n_input]);
    break;
  case 4: {
    const size_t           n = a->n_attribute;
    Onnx__AttributeProto **attributes = a->attribute;

    a->attribute = b->attribute;
    a->n_attribute = b->n_attribute;
    b->attribute = attributes;
    b->n_attribute = n;
    break;
  }
  case 5:
    if (g->n_initializer > 1)
      SwapText(&g->initializer[bits[1] % g->n_initializer]->name, &g->initializer[bits[2] % g->n_initializer]->name);
    break;
  default:
    ChangeNumber(g, a, bits);
  }
}

/* A whole file of the changed model. */
static uint8_t *Rewritten(const Target *t, uint64_t block, int changes, size_t *n)
{
  Model    m = {onnx__model_proto__unpack(NULL, t->n, t->bytes)};
  uint32_t bits[4], more[4];

  for (int c = 0; c < changes; ++c) {
    CkRandomBits(&stream, block + 2 * (uint64_t)c + 2, bits);
    CkRandomBits(&stream, block + 2 * (uint64_t)c + 3, more);
    ChangeGraph(m.m->graph, bits, more);
  }
  return PackModel(m, n);
}

/* ---- verdict ---- */

static int IsSound(CkNet net)
{
  const double *w, *b;
  PetscInt      d, nb, n, end = 0;

  const CkParameter *p;

  OK(CkNetGetDimension(net, &d));
  OK(CkNetGetBuffers(net, &nb));
  OK(CkNetGetInitial(net, &w, &b));
  OK(CkNetGetParameters(net, &n, &p));
  for (PetscInt t = 0; t < n; ++t) {
    if (t > 0 && !p[t].trainable && p[t - 1].trainable) end = 0;
    if (p[t].offset != end || p[t].size < 1) return 0;
    end += p[t].size;
  }
  for (PetscInt i = 0; i < d; ++i)
    if (!isfinite(w[i])) return 0;
  for (PetscInt i = 0; i < nb; ++i)
    if (!isfinite(b[i])) return 0;
  return d > 0;
}

static int ReadOrRefuse(const Target *t, const Bytes *b, long round)
{
  PetscErrorCode failed;
  CkNet          net;
  int            right;

  last_message[0] = '\0';
  OK(CkNetCreate(PETSC_COMM_SELF, &net));
  OK(CkNetSetName(net, "damaged.onnx"));
  OK(PetscPushErrorHandler(KeepMessage, NULL));
  failed = OnnxImport(net, "damaged.onnx", b->n, b->bytes, t->data);
  if (!failed) failed = CkNetSetUp(net);
  OK(PetscPopErrorHandler());
  right = failed ? strstr(last_message, "damaged.onnx") != NULL : IsSound(net);
  if (!right) fprintf(stderr, "%s, round %ld: %s\n", t->name, round, failed ? last_message : "unsound numbers");
  assert_true(right);
  OK(CkNetDestroy(&net));
  return !failed;
}

/* Damaged bytes, in a block of their own so that a sanitizer sees what is read beyond the end. */
static uint8_t *Damaged(const Target *t, uint64_t block, int changes, size_t *n)
{
  Bytes    b = {.n = t->n, .room = t->n + 4096};
  uint32_t bits[4], more[4];
  uint8_t *exact;

  b.bytes = malloc(b.room);
  memcpy(b.bytes, t->bytes, t->n);
  for (int c = 0; c < changes && b.n > 0; ++c) {
    CkRandomBits(&stream, block + 2 * (uint64_t)c + 2, bits);
    CkRandomBits(&stream, block + 2 * (uint64_t)c + 3, more);
    Damage(t, &b, bits, more);
  }
  exact = malloc(b.n + !b.n);
  memcpy(exact, b.bytes, *n = b.n);
  free(b.bytes);
  return exact;
}

static void Survives(const Target *t, int number)
{
  long accepted[2] = {0, 0};

  assert_true(ReadOrRefuse(t, &(Bytes){.n = t->n, .bytes = t->bytes}, -1));
  for (long round = 0; round < rounds; ++round) {
    const uint64_t block = ((uint64_t)number << 32 | (uint64_t)round) * 2 * (MOST_CHANGES + 1);
    const int      rewritten = round % 2;
    uint32_t       bits[4];
    uint8_t       *bytes;
    size_t         n;

    CkRandomBits(&stream, block, bits);
    if (rewritten) bytes = Rewritten(t, block, 1 + (int)(bits[0] % MOST_CHANGES), &n);
    else bytes = Damaged(t, block, 1 + (int)(bits[0] % MOST_CHANGES), &n);
    accepted[rewritten] += ReadOrRefuse(t, &(Bytes){.n = n, .bytes = bytes}, round);
    free(bytes);
  }
  fprintf(stderr, "%s: accepted %ld of %d with damaged bytes, %ld of %d with other contents\n", t->name, accepted[0],
          (rounds + 1) / 2, accepted[1], rounds / 2);
}

static void damaged_files_are_refused_or_sound(void **state)
{
  size_t   n;
  uint8_t *bytes;

  (void)state;
  for (int i = 0; i < 3; ++i) {
    static const char *const names[] = {"lenet", "residual", "shapes"};
    const CkShape            data = {2, 6, 7};

    bytes = PackModel(i == 0 ? LenetModel() : i == 1 ? ResidualModel() : ShapesModel(), &n);
    AddTarget(names[i], data, bytes, n);
  }
  AddFile("opt-mnist.onnx", (CkShape){1, 28, 28});
  AddFile("Convnet_maxpool.onnx", (CkShape){1, 28, 28});
  for (int i = 0; i < ntargets; ++i) Survives(&targets[i], i);
  for (int i = 0; i < ntargets; ++i) {
    free(targets[i].bytes);
    free(targets[i].places);
  }
}

static const struct CMUnitTest tests[] = {
  cmocka_unit_test(damaged_files_are_refused_or_sound),
};

static PetscErrorCode Start(int *argc, char ***argv, const char file[], const char help[])
{
  if (*argc > 1) rounds = atoi((*argv)[1]);
  return PetscInitialize(argc, argv, file, help);
}

CK_TEST_MAIN(tests, Start, PetscFinalize)
