#pragma once
#include "kernels.h"
#include <clarkia/batch.h>
#include <clarkia/fused.h>

/*
  fusedimpl.h: a net as a chain of stages, and the layout of its state. The state (weights, momentum, gradient in
  float64, weights in float32) is one array of `length` numbers, stage after stage, each matrix and each vector filled
  up with zeros to whole packs: updates then run over it from end to end. A matrix stands in that state in the
  orientation that makes its gradient cheaper; the other one, where needed, is a transposed copy in float32.
*/
typedef struct {
  size_t    in, out;   /* units */
  size_t    ldi, ldo;  /* filled up to packs */
  PetscBool by_inputs; /* rows of the matrix in the state: true [out x ldi], false [in x ldo] */
  PetscBool bias, norm, relu;
  double    epsilon;

  /* Offsets in the net's weights and buffers, and in the state. */
  PetscInt net_weight, net_bias, net_scale, net_shift, net_mean, net_variance;
  size_t   weight, bias_at, scale, shift;

  float  *forward, *backward;        /* [in x ldo], [out x ldi] (NULL: first stage); one of them is the state's own */
  float  *copy;                      /* the other; NULL: none */
  float  *before, *after;            /* [rows x ldo] of the dense layer, and of the stage; the same without norm */
  float  *delta;                     /* [rows x ldo] derivatives of after, then of before */
  double *mean, *variance, *inverse; /* [ldo] of the batch; 1/sqrt(variance + epsilon) */
  double *first, *second;            /* [ldo] sums */
  float  *factor, *add, *slope;      /* [ldo] coefficients */
} CkFusedStage;

struct _p_CkFused {
  const CkFusedKernels *kernels;
  CkHead                head;
  PetscInt              nstages;
  CkFusedStage         *stages;
  size_t                N, rows, classes; /* rows: room of a batch */
  size_t                length;           /* of the state */
  double                flops;            /* of a forward pass of one sample */

  float   *features; /* [N x ldi of the first stage] */
  int32_t *labels;   /* [N] */

  double  *x, *v, *g; /* [length] */
  double  *total;     /* [length] sum of gradients */
  float   *w;         /* [length] x in float32 */
  float   *samples;   /* [rows x ldi] */
  int32_t *chosen;    /* [rows] their labels */
  double  *values;    /* [rows] its losses */
  double  *head_work;
  void    *memory; /* all of the above but the stages */

  /* The batch that is computed: [n x ldi], [n]. */
  CkMode         mode; /* evaluation: mean and variance of the stages are given */
  const float   *input;
  const int32_t *targets;
};

/* CkFusedCreate() with these kernels. */
PetscErrorCode CkFusedCreateWith(const CkFusedKernels *kernels, CkNet net, PetscInt batch, PetscInt N, CkFused *fused);

/* stages.c: the chain, with offsets but without memory; *stages is to be freed, *n = 0 and the reason in why[] where
   the net is none. */
PetscErrorCode CkFusedFindStages(CkNet net, size_t lanes, PetscInt *n, CkFusedStage **stages, char why[],
                                 size_t length);

/* memory.c: bytes of all arrays; the arrays, all zero, in f->memory, which is to be given to free(). */
double         CkFusedPlan(CkFused fused);
PetscErrorCode CkFusedAllocate(CkFused fused);

/* step.c: fused->g = scale times the sum of the gradients of the n samples of the batch; loss: sum of their losses;
   false: one is not finite, and fused->g is not to be used. In training mode batch statistics go to the stages. */
PetscBool CkFusedGradient(CkFused fused, size_t n, double scale, double *loss, PetscInt *correct);
/* The transposed copies follow fused->w. */
void CkFusedTranspose(CkFused fused);
