#pragma once
#include "plan.h"
#include <clarkia/onednn.h>

/*
  primitives.h: a convolution by oneDNN's primitives, made once for a layer: of a whole chunk forward and with respect
  to its input, and of one sample with respect to its weights. Each works in the layout that oneDNN chooses (format tag
  `any`: explicit ones give wrong weight gradients in 2.6.3), packs are reordered on the way in and out, weights when
  the point is set. The only file that knows oneDNN's operation descriptors is primitives.c.
*/
typedef struct CkPrimitives CkPrimitives;

/* Sizes of a convolution in oneDNN's types (which are read in full length). */
typedef struct {
  dnnl_dims_t x, w, b, y, stride, padding, behind;
} CkConvolutionSizes;

CkConvolutionSizes CkConvolutionSizesOf(const CkLayer *layer, PetscInt samples);
/* Of the operation with layouts that oneDNN chooses; the caller destroys it. */
PetscErrorCode CkPrimitivesDescribe(dnnl_engine_t engine, dnnl_primitive_attr_t attributes,
                                    const CkConvolutionSizes *sizes, CkPrimitiveKind kind,
                                    dnnl_primitive_desc_t *description);

/* Those of `wanted` kinds only. */
PetscErrorCode CkPrimitivesCreate(CkPlan *plan, const CkStep *step, const PetscBool wanted[CK_PRIMITIVES],
                                  CkPrimitives **p);
PetscErrorCode CkPrimitivesDestroy(CkPrimitives **p);
PetscErrorCode CkPrimitivesName(const CkPrimitives *p, CkPrimitiveKind kind, const char **name);

/* Weights w [units x taps] as the forward primitive, or the one of the input's derivative, reads them: `size` numbers
 */
size_t         CkPrimitivesPackedSize(const CkPrimitives *p, CkPrimitiveKind kind);
PetscErrorCode CkPrimitivesPack(const CkPrimitives *p, CkPrimitiveKind kind, const double w[], float packed[]);

/* x, y, e, d: packs of a chunk as in the plan's tensors */
PetscErrorCode CkPrimitivesForward(CkPrimitives *p, const float *x, const float weights[], const float shifts[],
                                   float *y);
PetscErrorCode CkPrimitivesInput(CkPrimitives *p, const float *e, const float weights[], PetscBool add, float *d);
/* as CkLanes.outer() */
PetscErrorCode CkPrimitivesWeights(CkPrimitives *p, const float *x, const float *e, PetscBool add, PetscBool shift,
                                   float *g, size_t stride);
