#pragma once
#include "../netimpl.h"
#include "onnx.pb-c.h"

/*
  onnx.h: import of ONNX files (docs/user-guide.md, "Networks from ONNX files"). In this order:
    onnx_read.c       file to bytes, the same on every rank, to messages, to a table of values and an order of nodes
    onnx_wire.c       the check of the bytes before anything is made of them
    onnx_constants.c  tensors of the file, and nodes whose result does not depend on the samples
    onnx_operators.c  the table of operators: one function each, which adds layers to the net
    onnx_shapes.c, onnx_windows.c, onnx_weights.c   those functions
    onnx_import.c     the whole; weights and running statistics in the order of the net

  Every rank does the same with the same bytes, so a failure is found on all of them at once: only then do they talk.
  All memory of an import is freed together, whether it fails or not.
*/
enum { ONNX_MAX_RANK = 8, ONNX_MAX_DEPTH = 32, ONNX_MAX_MESSAGES = 2000000, ONNX_MAX_COMPUTED = 1 << 24 };

/* Numbers that do not depend on the samples: real or integer, in row-major order. */
typedef struct {
  PetscBool   real;
  int         rank;
  PetscInt64  dims[ONNX_MAX_RANK];
  size_t      n;
  double     *x;      /* real */
  PetscInt64 *i;      /* integer */
  const char *source; /* the initialiser these are the numbers of, perhaps rearranged; NULL: computed, or from a node */
} OnnxConstant;

typedef enum { ONNX_UNKNOWN, ONNX_CONSTANT, ONNX_LAYER } OnnxValueKind;

/* What a name in the file stands for. */
typedef struct OnnxValue {
  const char              *name;
  PetscInt                 node;   /* that computes it; -1: none */
  const Onnx__TensorProto *tensor; /* initialiser */
  PetscBool                input;
  PetscInt                 readers, reader; /* inputs of nodes that are this value; the last such node */
  PetscInt                 tensors;         /* of the net that have an initialiser's numbers */
  OnnxValueKind            kind;
  OnnxConstant            *constant;
  PetscInt                 layer; /* whose outputs these are, in the order of the layer */
  int                      rank;
  PetscInt64               dims[ONNX_MAX_RANK]; /* dims[0]: the batch size in the file */
  PetscInt                 pad[4];  /* zeros around it that are not in the layer: top, left, bottom, right */
  PetscBool                softmax; /* stands for the softmax of the layer's outputs */
} OnnxValue;

typedef struct {
  const Onnx__NodeProto *proto;
  const char            *op, *name; /* "" where it has no name */
  PetscInt               nin, nout;
  OnnxValue            **in, **out;  /* NULL: left out */
  PetscBool              done;       /* part of a node before it */
  int                    mark;       /* 0: not reached from the output; else see onnx_read.c */
  PetscInt               next_input; /* onnx_read.c */
} OnnxNode;

/* Where the numbers of a layer's tensors come from: weight, bias, mean, variance (or scale, shift, ..). */
typedef struct {
  double    *x[4];
  OnnxValue *value; /* that are the layer's own outputs: NULL when something else was made of them */
} OnnxSource;

typedef struct OnnxMemory OnnxMemory;

typedef struct {
  CkNet             net;
  const char       *file; /* for messages */
  CkShape           data; /* of a sample */
  PetscInt          opset;
  size_t            size, computed; /* bytes of the file; numbers of all constants so far */
  PetscInt64        batch;
  Onnx__ModelProto *model;
  Onnx__GraphProto *graph;
  PetscInt          nvalues, nnodes, norder, dropouts;
  OnnxValue        *values; /* sorted by name */
  OnnxNode         *nodes;
  PetscInt         *order; /* nodes that the output needs, each after what it reads */
  OnnxValue        *output;
  PetscInt          nsources;
  OnnxSource       *sources; /* [layers] */
  OnnxMemory       *memory;
} Onnx;

/* Zeros, freed with the import. */
PetscErrorCode OnnxAllocate(Onnx *o, size_t n, size_t size, void *array);
/* Reports "FILE: node NAME (OPERATOR) ..." (node NULL: "FILE: ...") and returns code; collective. */
PetscErrorCode OnnxFail(Onnx *o, const OnnxNode *node, PetscErrorCode code, const char format[], ...)
  PETSC_ATTRIBUTE_FORMAT(4, 5);
#define OnnxCheck(o, node, ok, ...)                                                                                    \
  do {                                                                                                                 \
    if (PetscUnlikely(!(ok))) {                                                                                        \
      (void)OnnxFail((o), (node), PETSC_ERR_FILE_UNEXPECTED, __VA_ARGS__);                                             \
      return PETSC_ERR_FILE_UNEXPECTED;                                                                                \
    }                                                                                                                  \
  } while (0)
/* "[1, 3, 32, 32]" */
const char               *OnnxDims(int rank, const PetscInt64 dims[], char text[], size_t length);
static inline const char *OnnxText(const char *text)
{
  return text ? text : "";
}

/* onnx_wire.c: lengths, nesting, number of messages, no field twice that is not repeated. message: what is wrong. */
PetscBool OnnxWireCheck(size_t n, const uint8_t bytes[], char message[], size_t length);

/* onnx_read.c */
PetscErrorCode OnnxReadFile(MPI_Comm comm, const char file[], size_t *n, uint8_t **bytes); /* PetscFree() */
PetscErrorCode OnnxUnpack(Onnx *o, size_t n, const uint8_t bytes[]);
PetscErrorCode OnnxFree(Onnx *o);
OnnxValue     *OnnxFind(const Onnx *o, const char name[]);

/* Attributes of a node. Unset ones leave `value` alone. OnnxInts: exactly n; -n: at most n, *found of them. */
PetscErrorCode OnnxInt(Onnx *o, const OnnxNode *node, const char name[], PetscInt64 *value);
PetscErrorCode OnnxFloat(Onnx *o, const OnnxNode *node, const char name[], double *value);
PetscErrorCode OnnxInts(Onnx *o, const OnnxNode *node, const char name[], int n, PetscInt64 values[], int *found);
PetscErrorCode OnnxString(Onnx *o, const OnnxNode *node, const char name[], char value[], size_t length);
const Onnx__AttributeProto *OnnxAttribute(const OnnxNode *node, const char name[]);
/* A list of integers that is an attribute in old operator sets and an input in new ones; *found -1: not given. */
PetscErrorCode OnnxIntsOf(Onnx *o, const OnnxNode *node, const char name[], PetscInt input, int most,
                          PetscInt64 values[], int *found);
/* axis in -rank .. rank-1 to 0 .. rank-1 */
PetscErrorCode OnnxAxis(Onnx *o, const OnnxNode *node, int rank, PetscInt64 axis, int *out);

/* onnx_constants.c */
PetscErrorCode OnnxTensor(Onnx *o, const OnnxNode *node, const Onnx__TensorProto *t, OnnxConstant **c);
PetscErrorCode OnnxNewConstant(Onnx *o, const OnnxNode *node, PetscBool real, int rank, const PetscInt64 dims[],
                               OnnxConstant **c);
/* All inputs are constants, or the node asks for a shape: its output becomes a constant. *folded: whether it did. */
PetscErrorCode OnnxFold(Onnx *o, const OnnxNode *node, PetscBool *folded);

/* Operators on layers (onnx_operators.c). */
typedef struct {
  const char *name;
  PetscInt    min_inputs, max_inputs;
  PetscErrorCode (*build)(Onnx *o, OnnxNode *node);
} OnnxOperator;

PetscErrorCode OnnxBuild(Onnx *o, OnnxNode *node);

/* Input i as a layer's outputs or as a constant (real numbers); errors where it is not. */
PetscErrorCode OnnxLayerInput(Onnx *o, const OnnxNode *node, PetscInt i, OnnxValue **value);
/* zeros: may have zeros around it (OnnxValue.pad). */
PetscErrorCode OnnxImageInput(Onnx *o, const OnnxNode *node, PetscInt i, PetscBool zeros, OnnxValue **value);
PetscErrorCode OnnxFlatInput(Onnx *o, const OnnxNode *node, PetscInt i, OnnxValue **value);
/* In the form the numbers have in the file: [B, n] or [B, c, h, w]. */
PetscErrorCode OnnxNaturalInput(Onnx *o, const OnnxNode *node, PetscInt i, OnnxValue **value);
PetscErrorCode OnnxRealInput(Onnx *o, const OnnxNode *node, PetscInt i, OnnxConstant **constant);
/* Adds a layer that reads the values; named after the initialiser's stem (NULL: the node). Its output: node->out[0]. */
PetscErrorCode OnnxAddLayer(Onnx *o, OnnxNode *node, CkLayerType type, const char initialiser[], PetscInt n,
                            OnnxValue *const in[], const CkLayerAttributes *a);
/* The output stands for the same numbers as the value, in this form. */
PetscErrorCode OnnxAlias(Onnx *o, const OnnxNode *node, const OnnxValue *value, int rank, const PetscInt64 dims[]);

/* The shape that a Reshape, Flatten, Squeeze or Unsqueeze makes of `dims` (onnx_shapes.c). */
PetscErrorCode OnnxNewDims(Onnx *o, const OnnxNode *node, int rank, const PetscInt64 dims[], int *newrank,
                           PetscInt64 newdims[]);

/* One function each (onnx_shapes.c, onnx_windows.c, onnx_weights.c) */
PetscErrorCode OnnxIdentity(Onnx *o, OnnxNode *node);
PetscErrorCode OnnxDropout(Onnx *o, OnnxNode *node);
PetscErrorCode OnnxReshape(Onnx *o, OnnxNode *node);
PetscErrorCode OnnxTranspose(Onnx *o, OnnxNode *node);
PetscErrorCode OnnxSoftmax(Onnx *o, OnnxNode *node);
PetscErrorCode OnnxConcat(Onnx *o, OnnxNode *node);
PetscErrorCode OnnxActivation(Onnx *o, OnnxNode *node);
PetscErrorCode OnnxClip(Onnx *o, OnnxNode *node);
PetscErrorCode OnnxPad(Onnx *o, OnnxNode *node);
PetscErrorCode OnnxMaxPool(Onnx *o, OnnxNode *node);
PetscErrorCode OnnxAveragePool(Onnx *o, OnnxNode *node);
PetscErrorCode OnnxGlobalAveragePool(Onnx *o, OnnxNode *node);
PetscErrorCode OnnxReduceMean(Onnx *o, OnnxNode *node);
PetscErrorCode OnnxConv(Onnx *o, OnnxNode *node);
PetscErrorCode OnnxGemm(Onnx *o, OnnxNode *node);
PetscErrorCode OnnxMatMul(Onnx *o, OnnxNode *node);
PetscErrorCode OnnxBatchNormalization(Onnx *o, OnnxNode *node);
PetscErrorCode OnnxAdd(Onnx *o, OnnxNode *node);
PetscErrorCode OnnxScale(Onnx *o, OnnxNode *node);

/* Where the windows of a convolution or pool lie on the image (and its zeros). grown: ceil_mode made it larger. */
PetscErrorCode OnnxWindow(Onnx *o, const OnnxNode *node, const OnnxValue *image, CkLayerAttributes *a,
                          PetscBool *grown);

/* onnx_import.c: from bytes; the net is left to the caller whether it succeeds or not. file: for messages. */
PetscErrorCode OnnxImport(CkNet net, const char file[], size_t n, const uint8_t bytes[], CkShape data);
