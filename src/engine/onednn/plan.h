#pragma once
#include "../engineimpl.h"
#include "../fold.h"
#include "../trainingsum.h"
#include "lanes.h"

/*
  plan.h: a net made ready to run on chunks of samples (lanes.h): tensors, and steps that read and write them. The
  engine has two plans: of the folded net in evaluation mode, and of the net as it is in training mode.

  What a chunk's steps hand to each other stays in the cache: the run goes chunk by chunk through all steps of a
  *segment*. A segment ends at a step that takes all chunks at once (dense layers, to pass over their weights once) and
  at one that needs sums over the batch (batch norm in training mode). Arrays that outlive their segment or are needed
  again by the backward pass are kept for every chunk; the others have room for one.
*/

/* Memory of a plan: 64-byte aligned, zero, freed together. */
typedef struct {
  void  *block;
  double bytes;
} CkArena;

PetscErrorCode CkArenaFloats(CkArena *arena, size_t n, float **array);
PetscErrorCode CkArenaInts(CkArena *arena, size_t n, int **array);
PetscErrorCode CkArenaFree(CkArena *arena);

typedef struct {
  CkShape   shape;
  size_t    plane, size;  /* packs: from channel to channel (CkLanesPlane()), and of a chunk */
  PetscBool dense_planes; /* planes without gaps: it is read flat as well */
  PetscInt  readers;      /* steps that take it as input */
  PetscBool wanted;       /* its derivative is needed: it depends on parameters (of the range), and the loss on it */
  PetscBool wanted_ever;  /* with every parameter in the range */
  PetscBool sparse;       /* its derivative is not formed: the max pool that reads it has its few numbers */
  PetscBool fused; /* sparse, and not formed either: a batch norm's, which the max pool takes from the norm's input */
  PetscBool keep_x, keep_d;
  PetscBool recomputed; /* its steps run again before the backward pass reads x, which is not kept */
  float    *x, *d;      /* [chunks x size] packs where kept, else [size], shared with others (plan_memory.c) */
} CkTensor;

typedef struct CkPlan CkPlan;
typedef struct CkStep CkStep;

/* What a kind of step does; functions that are NULL do nothing. Forward and backward are called for `count` chunks from
   `chunk` on: one, or for a `whole` kind all. */
typedef struct {
  const char *name;
  PetscBool   whole;
  PetscBool   in_place;     /* output may be the input's array, and their derivatives likewise */
  PetscBool   same_planes;  /* inputs and output have planes of one size */
  PetscBool   needs_input;  /* the backward pass reads the input's x */
  PetscBool   needs_output; /* the backward pass reads the output's x */

  PetscErrorCode (*create)(CkPlan *plan, CkStep *step); /* tensors are known; sets step->data */
  PetscErrorCode (*destroy)(CkStep *step);
  PetscErrorCode (*point)(CkPlan *plan, CkStep *step); /* the weights have changed */
  PetscErrorCode (*forward)(CkPlan *plan, CkStep *step, PetscInt chunk, PetscInt count);
  PetscErrorCode (*backward)(CkPlan *plan, CkStep *step, PetscInt chunk, PetscInt count);

  /* Sums over the batch: `prepare` sees each chunk when it is ready, `enter` (collective) comes before the first
     forward or backward. */
  PetscErrorCode (*prepare_forward)(CkPlan *plan, CkStep *step, PetscInt chunk);
  PetscErrorCode (*enter_forward)(CkPlan *plan, CkStep *step);
  PetscErrorCode (*prepare_backward)(CkPlan *plan, CkStep *step, PetscInt chunk);
  PetscErrorCode (*enter_backward)(CkPlan *plan, CkStep *step);
} CkStepKind;

struct CkStep {
  const CkStepKind *kind;
  PetscInt          layer;
  PetscInt          ninputs;
  PetscInt         *inputs; /* tensors */
  PetscBool        *add;    /* [ninputs] this step adds to the input's derivative; else it is the first to write it */
  PetscInt          output;
  PetscBool         live; /* the loss depends on its output */
  PetscInt          forward_segment, backward_segment;
  PetscInt again; /* before its backward, the steps from this one on that write its input run again; -1: none */
  void    *data;
};

/* A layer with parameters, as the contractions see it (contract.c). */
typedef struct {
  PetscInt     step;    /* -1: does nothing to the loss */
  CkLayerForm  form;    /* factored or explicit */
  size_t       entries; /* weights and shifts in folded coordinates */
  float       *G;       /* explicit: [chunks x entries] packs: CkPlanGradients() */
  const float *column;  /* explicit: a vector [entries] whose products with the gradients are taken as they are made */
  PetscBool    idle;    /* its gradients are not wanted: none of its weights is in the range */
} CkWeighted;

/* The training run in progress (train.c). */
typedef struct {
  const CkTrainingBlocks *blocks;
  CkTrainingGroups        groups;
  PetscInt               *block_chunk; /* [blocks + 1] first chunk of each block */
  PetscInt               *chunk_block; /* [chunks] */
  PetscInt               *slot;        /* [samples] chunk*lanes + lane */
  double                 *statistics;  /* [buffers]; NULL: not wanted */
  CkExactSum              gradient;
} CkTraining;

/* What does the convolutions; auto: what is fastest for each shape, else one wherever it can. */
typedef enum {
  CK_CONVOLUTION_AUTO,
  CK_CONVOLUTION_LANES,
  CK_CONVOLUTION_WINOGRAD,
  CK_CONVOLUTION_ONEDNN
} CkConvolution;

typedef struct {
  CkNet         net;
  PetscBool     training;
  CkLayerForm   form;
  CkConvolution convolution;
  PetscInt      chunks; /* capacity */
} CkPlanChoices;

struct CkPlan {
  const CkLanes     *lanes;
  CkNet              net;
  const CkLayer     *layers; /* of the net */
  const CkParameter *parameters;
  PetscInt           nlayers;
  CkFold            *fold;
  PetscBool          training_mode;
  CkLayerForm        form; /* asked for */
  CkConvolution      convolution;
  PetscInt           capacity; /* chunks */
  PetscInt           ntensors, nsteps, logits;
  CkTensor          *tensors;
  CkStep            *steps;
  CkWeighted        *weighted; /* [fold->nlayers] */
  CkArena            arena;
  double             primitive_bytes; /* held by oneDNN convolutions */
  size_t             scratch_packs;   /* what the kernels want at most */
  float             *scratch;
  const double      *buffers; /* of the point, while steps take it over */

  /* of the samples in it */
  PetscInt     n, chunks;
  const float *features;                /* [n x size of tensor 0]: the caller's, until the backward pass is done */
  PetscInt    *first, *count;           /* [chunks] samples of a chunk: first.. first+count-1 */
  float       *logit_rows, *delta_rows; /* [capacity*lanes x classes] */
  double      *slopes;                  /* [capacity*lanes] products of all layers with their columns */
  CkTraining  *training;                /* NULL: evaluation mode */
};

PetscErrorCode CkPlanCreate(const CkPlanChoices *choices, CkPlan **plan);
PetscErrorCode CkPlanDestroy(CkPlan **plan);
PetscErrorCode CkPlanAllocateTensors(CkPlan *plan); /* plan_memory.c: which are kept is known */
/* plan_range.c: the gradients wanted of the next backward passes; (0, d): all. */
PetscErrorCode CkPlanSetRange(CkPlan *plan, PetscInt first, PetscInt count);
PetscErrorCode CkPlanSetPoint(CkPlan *plan, const double weights[], const double buffers[]);
CkLayerForm    CkWeightedForm(const CkPlan *plan, PetscInt weighted); /* contract.c: the form it is best held in */

/*
  plan_run.c. SetSamples: n samples, `block` consecutive ones begin with a chunk of their own. Head: values and correct
  (NULL: not wanted) of the n samples; the derivatives of the logits, times scale [n] (NULL: 1), where wanted.
*/
PetscErrorCode CkPlanSetSamples(CkPlan *plan, PetscInt nblocks, const PetscInt size[], const float features[]);
PetscErrorCode CkPlanForward(CkPlan *plan);
PetscErrorCode CkPlanHead(CkPlan *plan, const PetscInt labels[], const double scale[], double values[], int correct[],
                          PetscBool derivatives);
PetscErrorCode CkPlanBackward(CkPlan *plan);

/* Chunk `chunk` of a tensor's numbers or derivatives. */
static inline float *CkTensorX(const CkPlan *plan, PetscInt tensor, PetscInt chunk)
{
  const CkTensor *t = &plan->tensors[tensor];

  return t->x + (t->keep_x ? (size_t)chunk * t->size * (size_t)plan->lanes->lanes : 0);
}

static inline float *CkTensorD(const CkPlan *plan, PetscInt tensor, PetscInt chunk)
{
  const CkTensor *t = &plan->tensors[tensor];

  return t->d + (t->keep_d ? (size_t)chunk * t->size * (size_t)plan->lanes->lanes : 0);
}

/* Explicit gradients of a chunk: entry e in pack e. */
static inline float *CkPlanGradients(const CkPlan *plan, PetscInt weighted, PetscInt chunk)
{
  const CkWeighted *w = &plan->weighted[weighted];

  return w->G + (size_t)chunk * w->entries * (size_t)plan->lanes->lanes;
}

/* Packs from channel to channel where a step sees the tensor in this shape. */
static inline size_t CkTensorPlane(const CkPlan *plan, PetscInt tensor, CkShape shape)
{
  const CkTensor *t = &plan->tensors[tensor];
  const size_t    pixels = (size_t)shape.h * (size_t)shape.w;

  return (size_t)t->shape.h * (size_t)t->shape.w == pixels ? t->plane : pixels;
}

/* The step whose output the tensor is; NULL for the samples. The first of its steps where some work in place. */
const CkStep *CkStepWriting(const CkPlan *plan, PetscInt tensor);
/* The first step that takes this one's output as its first input; NULL: none. */
const CkStep *CkStepReading(const CkPlan *plan, const CkStep *step);
/* step_pool.c: the place of each window's largest number, packs; of a fused tensor also the norm's input there */
const int           *CkPoolPlaces(const CkPlan *plan, const CkStep *step, PetscInt chunk);
const float         *CkPoolBefore(const CkPlan *plan, const CkStep *step, PetscInt chunk);
const CkLanesWindow *CkPoolWindow(const CkStep *step);
/* step_norm.c: y = f x + s for the chunk that went through last, a pack of each a channel; and whether a max pool that
   reads it can take them instead of y. */
void      CkNormCoefficients(const CkStep *step, const float **f, const float **s);
PetscBool CkNormFused(const CkPlan *plan, const CkStep *step, const CkStep *reader);
/* step_linear.c: whether the step's derivative can stay with its reader, a max pool. */
PetscBool CkLinearSparse(const CkPlan *plan, const CkStep *step, const CkStep *reader);

/* Kinds of steps */
extern const CkStepKind CkStepDense, CkStepConv, CkStepRelu, CkStepTanh, CkStepSigmoid, CkStepSoftplus, CkStepMaxPool,
  CkStepAveragePool, CkStepDropout, CkStepSubsample, CkStepAdd, CkStepConcat, CkStepAffine, CkStepNorm;
