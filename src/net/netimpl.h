#pragma once
#include <clarkia/error.h>
#include <clarkia/net.h>

/*
  netimpl.h: the net's insides and the contract of a layer kind, shared by the files of this floor.
*/
struct _p_CkNet {
  MPI_Comm         comm;
  PetscInt         references;
  char            *name;
  CkShape          made_for; /* set by the zoo's builders: the input they are made for, for messages; {0, 0, 0}: any */
  PetscBool        setup;
  CkHead           head;
  CkInitialization initial;
  PetscInt         nlayers, room_layers;
  CkLayer         *layers;
  PetscInt         ntrainable, nbuffers, room_trainable, room_buffers; /* tensors */
  CkParameter     *trainable, *buffers;                                /* until set-up */
  CkParameter     *parameters;                                         /* after: trainable, then buffers */
  PetscInt64       size_trainable, size_buffers;                       /* numbers */
  double          *initial_weights, *initial_buffers;                  /* of a file; NULL: none */
  PetscBool        softmax_dropped;                                    /* at the end of a file's net */
  PetscInt         nnotes, room_notes;
  char           **notes;
};

/* A layer kind: shape rule, parameters, cost. */
typedef struct {
  CkLayerType type;
  const char *name;
  PetscInt    min_inputs, max_inputs;
  /* Sets layer->out from layer->a and the inputs' shapes, or records a failure with CkLayerFail(). */
  void (*shape)(CkNet net, CkLayer *layer, const CkShape inputs[], CkVerdict *verdict);
  /* Declares tensors with CkNetAddParameter(); NULL: none. layer->in and layer->out are known. */
  PetscErrorCode (*parameters)(CkNet net, PetscInt layer);
  /* Floating-point operations of one sample, forward. */
  double (*flops)(const CkLayer *layer);
} CkLayerKind;

/* layer_kinds.c; NULL for a number that is no layer type. */
const CkLayerKind *CkLayerKindGet(CkLayerType type);

extern const CkLayerKind CkLayerKindInput, CkLayerKindDense, CkLayerKindConv, CkLayerKindBatchNorm, CkLayerKindRelu,
  CkLayerKindTanh, CkLayerKindSigmoid, CkLayerKindSoftplus, CkLayerKindMaxPool, CkLayerKindAvgPool,
  CkLayerKindGlobalAvgPool, CkLayerKindDropout, CkLayerKindFlatten, CkLayerKindAdd, CkLayerKindConcat,
  CkLayerKindSubsample;

/* "; small-allcnn is made for ...", or "" where the net takes any shape or has the one it is made for. */
void CkNetShapeHint(CkNet net, char text[], size_t length);
/* Adds a line to CkNetGetNotes(). */
PetscErrorCode CkNetAddNote(CkNet net, const char format[], ...) PETSC_ATTRIBUTE_FORMAT(2, 3);
/* Records "net: layer name (kind) needs ..." ; the format says what is needed and what is there. */
void CkLayerFail(CkNet net, const CkLayer *layer, CkVerdict *verdict, const char format[], ...)
  PETSC_ATTRIBUTE_FORMAT(4, 5);
/* Output height and width of a sliding window (convolution, pooling) over layer->in, floor rule; channels are left. */
void CkLayerWindow(CkNet net, CkLayer *layer, CkVerdict *verdict);
/* Appends tensor "<layer>.<suffix of role>". */
PetscErrorCode CkNetAddParameter(CkNet net, PetscInt layer, CkRole role, int rank, const PetscInt shape[]);
