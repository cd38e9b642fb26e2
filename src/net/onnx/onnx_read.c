#include "onnx.h"
#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- memory and messages ---- */

struct OnnxMemory {
  OnnxMemory *next;
  double      block[]; /* aligned for numbers and pointers */
};

PetscErrorCode OnnxAllocate(Onnx *o, size_t n, size_t size, void *array)
{
  OnnxMemory *memory;
  void       *block;

  PetscFunctionBeginUser;
  PetscCheck(n <= (SIZE_MAX - sizeof(*memory)) / size, PETSC_COMM_SELF, PETSC_ERR_MEM, "%zu items of %zu bytes", n,
             size);
  PetscCall(PetscCalloc(sizeof(*memory) + n * size, &memory));
  memory->next = o->memory;
  o->memory = memory;
  block = memory->block;
  memcpy(array, &block, sizeof(block)); /* a pointer of whatever type */
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode OnnxFree(Onnx *o)
{
  PetscFunctionBeginUser;
  for (OnnxMemory *m = o->memory, *next; m; m = next) {
    next = m->next;
    PetscCall(PetscFree(m));
  }
  o->memory = NULL;
  if (o->model) onnx__model_proto__free_unpacked(o->model, NULL);
  o->model = NULL;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* What the file holds must not steer the terminal. */
static void MakePrintable(char text[])
{
  for (; *text; ++text)
    if ((unsigned char)*text < ' ' || *text == 127) *text = '?';
}

PetscErrorCode OnnxFail(Onnx *o, const OnnxNode *node, PetscErrorCode code, const char format[], ...)
{
  char    text[800], where[256] = "";
  va_list arguments;

  PetscFunctionBeginUser;
  va_start(arguments, format);
  vsnprintf(text, sizeof(text), format, arguments);
  va_end(arguments);
  if (node && node->name[0]) snprintf(where, sizeof(where), "node %.100s (%.60s) ", node->name, node->op);
  else if (node)
    snprintf(where, sizeof(where), "the node of output %.100s (%.60s) ",
             node->nout > 0 && node->out[0] ? node->out[0]->name : "?", node->op);
  MakePrintable(where);
  MakePrintable(text);
  CkCheckAll(o->net->comm, PETSC_FALSE, code, "%s: %s%s", o->file, where, text);
  PetscFunctionReturn(code);
}

const char *OnnxDims(int rank, const PetscInt64 dims[], char text[], size_t length)
{
  size_t used = (size_t)snprintf(text, length, "[");

  for (int i = 0; i < rank && used < length; ++i)
    used += (size_t)snprintf(text + used, length - used, "%s%" PetscInt64_FMT, i ? ", " : "", dims[i]);
  if (used < length) snprintf(text + used, length - used, "]");
  return text;
}

/* ---- the file ---- */

/* On rank 0: *bytes stays NULL where it fails. */
static PetscErrorCode ReadHere(const char file[], CkVerdict *verdict, long long *size, uint8_t **bytes)
{
  FILE *stream = fopen(file, "rb");

  PetscFunctionBeginUser;
  *bytes = NULL;
  if (!stream || fseek(stream, 0, SEEK_END) || (*size = ftell(stream)) < 0 || fseek(stream, 0, SEEK_SET))
    CkVerdictFail(verdict, PETSC_ERR_FILE_OPEN, "-net %s: the file cannot be read: %s", file, strerror(errno));
  else if (*size == 0 || *size > INT_MAX)
    CkVerdictFail(verdict, PETSC_ERR_FILE_UNEXPECTED,
                  "-net %s: the file has %lld bytes; an ONNX file has at least one and, as all protocol buffers, less "
                  "than 2 GB",
                  file, *size);
  else {
    PetscCall(PetscMalloc1((size_t)*size, bytes));
    if (fread(*bytes, 1, (size_t)*size, stream) != (size_t)*size) {
      CkVerdictFail(verdict, PETSC_ERR_FILE_READ, "-net %s: the file cannot be read: %s", file,
                    errno ? strerror(errno) : "it ended early");
      PetscCall(PetscFree(*bytes));
    }
  }
  if (stream) (void)fclose(stream);
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode OnnxReadFile(MPI_Comm comm, const char file[], size_t *n, uint8_t **bytes)
{
  CkVerdict   verdict = {0};
  long long   size = 0;
  PetscMPIInt rank;

  PetscFunctionBeginUser;
  errno = 0;
  PetscCallMPI(MPI_Comm_rank(comm, &rank));
  *bytes = NULL;
  if (rank == 0) PetscCall(ReadHere(file, &verdict, &size, bytes));
  PetscCall(CkCheckVerdict(comm, &verdict));
  PetscCallMPI(MPI_Bcast(&size, 1, MPI_LONG_LONG, 0, comm));
  if (rank > 0) PetscCall(PetscMalloc1((size_t)size, bytes));
  PetscCallMPI(MPI_Bcast(*bytes, (int)size, MPI_BYTE, 0, comm));
  *n = (size_t)size;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* ---- values ---- */

static int ByName(const void *a, const void *b)
{
  return strcmp(((const OnnxValue *)a)->name, ((const OnnxValue *)b)->name);
}

OnnxValue *OnnxFind(const Onnx *o, const char name[])
{
  const OnnxValue key = {.name = name};

  return bsearch(&key, o->values, (size_t)o->nvalues, sizeof(key), ByName);
}

static void AddValue(Onnx *o, const char name[], PetscInt node, const Onnx__TensorProto *tensor, PetscBool input)
{
  if (name[0]) o->values[o->nvalues++] = (OnnxValue){.name = name, .node = node, .tensor = tensor, .input = input};
}

/* All names that something stands behind; an initialiser may be listed among the inputs as well. */
static PetscErrorCode ListValues(Onnx *o)
{
  const Onnx__GraphProto *g = o->graph;
  size_t                  most = g->n_initializer + g->n_input;
  PetscInt                kept = 0;

  PetscFunctionBeginUser;
  for (size_t i = 0; i < g->n_node; ++i) most += g->node[i]->n_output;
  OnnxCheck(o, NULL, most < PETSC_MAX_INT / 2, "has %zu names, too many", most);
  PetscCall(OnnxAllocate(o, most, sizeof(*o->values), &o->values));
  for (size_t i = 0; i < g->n_initializer; ++i)
    AddValue(o, OnnxText(g->initializer[i]->name), -1, g->initializer[i], PETSC_FALSE);
  for (size_t i = 0; i < g->n_input; ++i) AddValue(o, OnnxText(g->input[i]->name), -1, NULL, PETSC_TRUE);
  for (size_t i = 0; i < g->n_node; ++i)
    for (size_t j = 0; j < g->node[i]->n_output; ++j)
      AddValue(o, OnnxText(g->node[i]->output[j]), (PetscInt)i, NULL, PETSC_FALSE);
  if (o->nvalues > 1) qsort(o->values, (size_t)o->nvalues, sizeof(*o->values), ByName);
  for (PetscInt i = 0; i < o->nvalues; ++i) {
    OnnxValue *last = kept ? &o->values[kept - 1] : NULL;

    if (!last || strcmp(last->name, o->values[i].name) != 0) {
      o->values[kept++] = o->values[i];
      continue;
    }
    OnnxCheck(o, NULL, (last->tensor && o->values[i].input) || (last->input && o->values[i].tensor),
              "two things are named '%.100s'", last->name);
    if (o->values[i].tensor) *last = o->values[i];
  }
  o->nvalues = kept;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode ListNode(Onnx *o, PetscInt number)
{
  const Onnx__NodeProto *p = o->graph->node[number];
  OnnxNode              *node = &o->nodes[number];

  PetscFunctionBeginUser;
  node->proto = p;
  node->op = OnnxText(p->op_type);
  node->name = OnnxText(p->name);
  PetscCall(OnnxAllocate(o, p->n_input + 1, sizeof(OnnxValue *), &node->in));
  PetscCall(OnnxAllocate(o, p->n_output + 1, sizeof(OnnxValue *), &node->out));
  node->nin = (PetscInt)p->n_input;
  node->nout = (PetscInt)p->n_output;
  for (PetscInt i = 0; i < node->nout; ++i) node->out[i] = OnnxFind(o, OnnxText(p->output[i]));
  for (PetscInt i = 0; i < node->nin; ++i) {
    const char *name = OnnxText(p->input[i]);

    if (name[0]) node->in[i] = OnnxFind(o, name);
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* ---- order ---- */

enum { UNSEEN, OPEN, CLOSED }; /* OnnxNode.mark */

/* Depth first from the output, without recursion: a node comes after all it reads. */
static PetscErrorCode OrderNodes(Onnx *o)
{
  PetscInt *stack = NULL, depth = 0;

  PetscFunctionBeginUser;
  PetscCall(OnnxAllocate(o, (size_t)o->nnodes + 1, sizeof(*stack), &stack));
  PetscCall(OnnxAllocate(o, (size_t)o->nnodes + 1, sizeof(*o->order), &o->order));
  if (o->output->node >= 0) stack[depth++] = o->output->node;
  while (depth > 0) {
    OnnxNode  *node = &o->nodes[stack[depth - 1]];
    OnnxValue *value;

    node->mark = OPEN;
    if (node->next_input == node->nin) {
      node->mark = CLOSED;
      o->order[o->norder++] = stack[--depth];
      continue;
    }
    value = node->in[node->next_input];
    OnnxCheck(o, node, value || !OnnxText(node->proto->input[node->next_input])[0],
              "reads '%.100s', which is no input, no initialiser and no output of a node",
              node->proto->input[node->next_input]);
    ++node->next_input;
    if (!value) continue;
    ++value->readers;
    value->reader = stack[depth - 1];
    if (value->node < 0 || o->nodes[value->node].mark == CLOSED) continue;
    OnnxCheck(o, node, o->nodes[value->node].mark == UNSEEN,
              "is part of a cycle: it reads '%.100s', which depends on it", value->name);
    stack[depth++] = value->node;
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* ---- the model ---- */

static PetscErrorCode CheckModel(Onnx *o)
{
  PetscInt64 version = -1;

  PetscFunctionBeginUser;
  OnnxCheck(o, NULL, o->model->graph && o->model->graph->n_node > 0, "no net is in this file: its graph is empty");
  o->graph = o->model->graph;
  for (size_t i = 0; i < o->model->n_opset_import; ++i) {
    const char *domain = OnnxText(o->model->opset_import[i]->domain);

    if (!domain[0] || !strcmp(domain, "ai.onnx")) version = o->model->opset_import[i]->version;
  }
  OnnxCheck(o, NULL, version >= 8 && version <= 17,
            "operator set %" PetscInt64_FMT
            " is none of those that can be read, 8 to 17: export the net again with one "
            "of these (torch.onnx.export(..., opset_version=13))",
            version);
  o->opset = (PetscInt)version;
  if (version == 8) PetscCall(CkNetAddNote(o->net, "operator set 8 was read as 9"));
  OnnxCheck(o, NULL, o->graph->n_sparse_initializer == 0, "sparse initialisers are not supported");
  OnnxCheck(o, NULL, o->graph->n_output > 0, "the graph has no output");
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode OnnxUnpack(Onnx *o, size_t n, const uint8_t bytes[])
{
  char message[256] = "";

  PetscFunctionBeginUser;
  OnnxCheck(o, NULL, OnnxWireCheck(n, bytes, message, sizeof(message)), "%s", message);
  o->model = onnx__model_proto__unpack(NULL, n, bytes);
  OnnxCheck(o, NULL, o->model, "the file is damaged, or no ONNX file");
  PetscCall(CheckModel(o));
  PetscCall(ListValues(o));
  o->nnodes = (PetscInt)o->graph->n_node;
  PetscCall(OnnxAllocate(o, o->graph->n_node, sizeof(*o->nodes), &o->nodes));
  for (PetscInt i = 0; i < o->nnodes; ++i) PetscCall(ListNode(o, i));
  o->output = OnnxFind(o, OnnxText(o->graph->output[0]->name));
  OnnxCheck(o, NULL, o->output, "nothing gives the output '%.100s'", OnnxText(o->graph->output[0]->name));
  ++o->output->readers; /* the caller */
  o->output->reader = -1;
  PetscCall(OrderNodes(o));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* ---- attributes ---- */

const Onnx__AttributeProto *OnnxAttribute(const OnnxNode *node, const char name[])
{
  for (size_t i = 0; i < node->proto->n_attribute; ++i)
    if (!strcmp(OnnxText(node->proto->attribute[i]->name), name)) return node->proto->attribute[i];
  return NULL;
}

PetscErrorCode OnnxInt(Onnx *o, const OnnxNode *node, const char name[], PetscInt64 *value)
{
  const Onnx__AttributeProto *a = OnnxAttribute(node, name);

  PetscFunctionBeginUser;
  OnnxCheck(o, node, !a || a->has_i, "has attribute %s, which is no integer", name);
  if (a) *value = a->i;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode OnnxFloat(Onnx *o, const OnnxNode *node, const char name[], double *value)
{
  const Onnx__AttributeProto *a = OnnxAttribute(node, name);

  PetscFunctionBeginUser;
  OnnxCheck(o, node, !a || a->has_f, "has attribute %s, which is no real number", name);
  if (a) *value = (double)a->f;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode OnnxInts(Onnx *o, const OnnxNode *node, const char name[], int n, PetscInt64 values[], int *found)
{
  const Onnx__AttributeProto *a = OnnxAttribute(node, name);

  PetscFunctionBeginUser;
  if (found) *found = -1;
  if (!a) PetscFunctionReturn(PETSC_SUCCESS);
  OnnxCheck(o, node, n < 0 ? a->n_ints <= (size_t)-n : a->n_ints == (size_t)n,
            "has attribute %s of %zu integers; %s %d are supported", name, a->n_ints, n < 0 ? "at most" : "exactly",
            abs(n));
  for (size_t i = 0; i < a->n_ints; ++i) values[i] = a->ints[i];
  if (found) *found = (int)a->n_ints;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode OnnxString(Onnx *o, const OnnxNode *node, const char name[], char value[], size_t length)
{
  const Onnx__AttributeProto *a = OnnxAttribute(node, name);

  PetscFunctionBeginUser;
  if (!a) PetscFunctionReturn(PETSC_SUCCESS);
  OnnxCheck(o, node, a->has_s && a->s.len < length, "has attribute %s, which is no short text", name);
  if (a->s.len) memcpy(value, a->s.data, a->s.len);
  value[a->s.len] = '\0';
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode OnnxIntsOf(Onnx *o, const OnnxNode *node, const char name[], PetscInt input, int most,
                          PetscInt64 values[], int *found)
{
  const OnnxConstant *c;

  PetscFunctionBeginUser;
  PetscCall(OnnxInts(o, node, name, -most, values, found));
  if (*found >= 0 || input >= node->nin || !node->in[input]) PetscFunctionReturn(PETSC_SUCCESS);
  c = node->in[input]->constant;
  OnnxCheck(o, node, node->in[input]->kind == ONNX_CONSTANT && !c->real && c->n <= (size_t)most,
            "takes %s from '%.100s', which must be at most %d integers that do not depend on the samples", name,
            node->in[input]->name, most);
  for (size_t i = 0; i < c->n; ++i) values[i] = c->i[i];
  *found = (int)c->n;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode OnnxAxis(Onnx *o, const OnnxNode *node, int rank, PetscInt64 axis, int *out)
{
  PetscFunctionBeginUser;
  OnnxCheck(o, node, axis >= -rank && axis < rank, "has axis %" PetscInt64_FMT ", which is none of %d axes", axis,
            rank);
  *out = (int)(axis < 0 ? axis + rank : axis);
  PetscFunctionReturn(PETSC_SUCCESS);
}
