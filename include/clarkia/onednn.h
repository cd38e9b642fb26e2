#pragma once
#include <clarkia/net.h>
#include <oneapi/dnnl/dnnl.h>
#include <oneapi/dnnl/dnnl_debug.h>

/* onednn.h: calls of oneDNN's C API (2.6). A status other than success becomes PETSC_ERR_LIB with the call and the
   status in the message. */
#define CkCallDNN(...)                                                                                                 \
  do {                                                                                                                 \
    dnnl_status_t ck_dnn_ = (__VA_ARGS__);                                                                             \
    PetscCheck(ck_dnn_ == dnnl_success, PETSC_COMM_SELF,                                                               \
               ck_dnn_ == dnnl_out_of_memory ? PETSC_ERR_MEM : PETSC_ERR_LIB, "oneDNN: %s: %s", #__VA_ARGS__,          \
               dnnl_status2str(ck_dnn_));                                                                              \
  } while (0)

typedef enum { CK_PRIMITIVE_FORWARD, CK_PRIMITIVE_INPUT, CK_PRIMITIVE_WEIGHTS, CK_PRIMITIVES } CkPrimitiveKind;

/*
  CkMachineConvolution: a layer's convolution of so many samples by oneDNN alone, on numbers of its own in the layouts
  that oneDNN likes best, on one thread: forward, with respect to the input, or with respect to the weights and biases.
  What the machine can do, for comparison with what the engine does. Not collective.
*/
typedef struct _p_CkMachineConvolution *CkMachineConvolution;
PetscErrorCode CkMachineConvolutionCreate(const CkLayer *layer, PetscInt samples, CkPrimitiveKind kind,
                                          CkMachineConvolution *convolution); /* layer: of type CK_LAYER_CONV */
PetscErrorCode CkMachineConvolutionRun(CkMachineConvolution convolution);
PetscErrorCode CkMachineConvolutionDestroy(CkMachineConvolution *convolution);

/* Version, instruction set that oneDNN is allowed to use here, and the engine's own kernels: one line of text. */
PetscErrorCode CkDNNDescribe(char text[], size_t length);
