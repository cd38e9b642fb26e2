#pragma once
#include <clarkia/base.h>

/*
  CkNet: an immutable graph of layers with a parameter table. It knows shapes, names, offsets and operation counts; it
  runs nothing (CkEngine) and holds no weights (CkState) but those that a file brought it to start from. Every rank has
  the whole net. Built layer by layer (the zoo, ONNX import), then frozen by CkNetSetUp(). A layer kind is one file in
  src/net/ (kinds of the same shape rule share one) and one line in layer_kinds.c; a net of the zoo is one file zoo_*.c
  and one line in zoo.c. Images are C,H,W; windows of convolutions and pools that do not fill the image are cut as
  PyTorch cuts them (floor). Building is collective and errors in shapes are user errors that name net, layer and sizes.
*/
typedef struct _p_CkNet *CkNet;

typedef enum {
  CK_LAYER_INPUT,
  CK_LAYER_DENSE,
  CK_LAYER_CONV,
  CK_LAYER_BATCHNORM,
  CK_LAYER_RELU,
  CK_LAYER_TANH,
  CK_LAYER_SIGMOID,
  CK_LAYER_SOFTPLUS,
  CK_LAYER_MAXPOOL,
  CK_LAYER_AVGPOOL,
  CK_LAYER_GLOBALAVGPOOL,
  CK_LAYER_DROPOUT,
  CK_LAYER_FLATTEN,
  CK_LAYER_ADD,
  CK_LAYER_CONCAT,
  CK_LAYER_SUBSAMPLE,
  CK_LAYER_COUNT
} CkLayerType;

/* Where CkStateInitialize() draws the weights of convolutions from: as PyTorch's defaults, uniform within
   1/sqrt(fan_in); or normal of variance 2/fan_out, fan_out = output channels x kernel (He et al., arXiv:1502.01852;
   what the authors of ResNet, WRN and DenseNet used). */
typedef enum { CK_INITIALIZATION_UNIFORM, CK_INITIALIZATION_HE } CkInitialization;

typedef enum { CK_HEAD_CROSS_ENTROPY, CK_HEAD_MSE } CkHead; /* mse: f_k = (1/2) sum_c (z_c - t_c)^2, t one-hot */

typedef enum { CK_ROLE_WEIGHT, CK_ROLE_BIAS, CK_ROLE_SCALE, CK_ROLE_SHIFT, CK_ROLE_MEAN, CK_ROLE_VARIANCE } CkRole;

#define CK_MAX_INPUTS 64

/* Attributes of a layer; unused ones are zero. */
typedef struct {
  PetscInt  units;                            /* dense: outputs; conv, subsample: output channels */
  PetscInt  kernel[2], stride[2], padding[2]; /* conv and pooling: height, width; subsample: stride alone */
  PetscInt  trailing[2];                      /* padding at the bottom and right: padding + trailing, at least 0 */
  PetscBool bias;                             /* dense, conv */
  double    epsilon;                          /* batch norm */
  double    rate;                             /* dropout: probability of zero */
} CkLayerAttributes;

typedef struct {
  CkLayerType       type;
  const char       *name; /* as in a PyTorch state_dict: "conv1", "bn1" */
  CkLayerAttributes a;
  PetscInt          ninputs;
  PetscInt          inputs[CK_MAX_INPUTS];        /* layer numbers, all smaller than the layer's own */
  CkShape           in, out;                      /* in: shape of the first input */
  PetscInt          first_parameter, nparameters; /* trainable, in the parameter table: weight, bias | scale, shift */
  PetscInt          first_buffer, nbuffers;       /* in the parameter table as well: mean, variance */
} CkLayer;

/* A tensor: trainable ones have their offset in x (length d), buffers theirs in the buffer vector. */
typedef struct {
  const char *name; /* "conv1.weight", "bn1.running_mean" */
  PetscInt    layer;
  CkRole      role;
  PetscBool   trainable; /* else a buffer */
  int         rank;
  PetscInt    shape[4]; /* conv weight OIHW; dense weight [out, in] */
  PetscInt    offset, size;
} CkParameter;

PetscErrorCode CkNetCreate(MPI_Comm comm, CkNet *net);
PetscErrorCode CkNetDestroy(CkNet *net);
PetscErrorCode CkNetReference(CkNet net); /* one more owner */

/* SetZoo builds the net of that name from the other -net_* keys; SetFromOptions takes the name from -net and the head
   from -net_loss as well. input and classes: those of the data. CkNetSetUp() is left to the caller. User errors: an
   unknown name, a key the net does not heed, a shape that does not fit (naming layer and sizes). */
PetscErrorCode CkNetSetFromOptions(CkNet net, CkShape input, PetscInt classes);
PetscErrorCode CkNetSetZoo(CkNet net, const char name[], CkShape input, PetscInt classes);
PetscErrorCode CkNetRegisterOptions(void);
/* -net FILE.onnx: graph, weights and running statistics of an ONNX file (docs/user-guide.md says what can be read), for
   samples of this shape. What is not as in the file stands in the notes. User errors name file, node and operator. */
PetscErrorCode CkNetReadOnnx(CkNet net, const char file[], CkShape input);

/* Building: layer 0 is the input. Errors in shapes are user errors. */
PetscErrorCode CkNetAddInput(CkNet net, CkShape shape);
PetscErrorCode CkNetAddLayer(CkNet net, CkLayerType type, const char name[], PetscInt ninputs, const PetscInt inputs[],
                             const CkLayerAttributes *a, PetscInt *layer);
PetscErrorCode CkNetSetHead(CkNet net, CkHead head);
PetscErrorCode CkNetSetInitialization(CkNet net, CkInitialization initial); /* CK_INITIALIZATION_UNIFORM unless set */
PetscErrorCode CkNetSetUp(CkNet net);

PetscErrorCode CkNetGetComm(CkNet net, MPI_Comm *comm);
PetscErrorCode CkNetSetName(CkNet net, const char name[]); /* for messages and tables; the zoo sets its own */
PetscErrorCode CkNetGetName(CkNet net, const char **name);
PetscErrorCode CkNetGetDimension(CkNet net, PetscInt *d); /* trainable weights */
PetscErrorCode CkNetGetBuffers(CkNet net, PetscInt *n);   /* running statistics */
PetscErrorCode CkNetGetLayers(CkNet net, PetscInt *n, const CkLayer **layers);
PetscErrorCode CkNetGetParameters(
  CkNet net, PetscInt *n, const CkParameter **parameters); /* trainable first, in order of offset; then buffers */
PetscErrorCode CkNetGetHead(CkNet net, CkHead *head);
PetscErrorCode CkNetGetInitialization(CkNet net, CkInitialization *initial);
PetscErrorCode CkNetGetInput(CkNet net, CkShape *shape);
PetscErrorCode CkNetGetClasses(CkNet net, PetscInt *classes);
/* The numbers to start from that came with the net, length d and number of buffers; borrowed; NULL: it has none. After
   set-up. */
PetscErrorCode CkNetGetInitial(CkNet net, const double **weights, const double **buffers);
/* What a user should know of how the net was made: lines of text, borrowed. */
PetscErrorCode CkNetGetNotes(CkNet net, PetscInt *n, const char *const **notes);
/* Floating-point operations of one forward pass of one sample (multiply and add count 2). */
PetscErrorCode CkNetGetFlops(CkNet net, double *forward);
PetscErrorCode CkNetGetLayerFlops(CkNet net, PetscInt layer, double *forward); /* of one layer */
PetscErrorCode CkNetView(CkNet net);
const char    *CkLayerTypeName(CkLayerType type);
