#include "onnx.h"
#include <string.h>

/* Convolutions' and pools' windows, and the zeros around images. */
enum { LONGEST = 1 << 20 }; /* a side of an image, a kernel, a stride */

/* Two attributes of windows as sizes, at least `least`. */
static PetscErrorCode Sizes(Onnx *o, const OnnxNode *node, const char name[], PetscInt least, PetscInt sizes[2])
{
  PetscInt64 values[2] = {sizes[0], sizes[1]};

  PetscFunctionBeginUser;
  PetscCall(OnnxInts(o, node, name, 2, values, NULL));
  for (int i = 0; i < 2; ++i) {
    OnnxCheck(o, node, values[i] >= least && values[i] <= LONGEST,
              "has %s of %" PetscInt64_FMT "; %" PetscInt_FMT " to %d are supported", name, values[i], least,
              (int)LONGEST);
    sizes[i] = (PetscInt)values[i];
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Zeros before and behind on each axis, by the attributes pads or auto_pad. size: of the image that is padded. */
static PetscErrorCode Padding(Onnx *o, const OnnxNode *node, const PetscInt64 size[2], const CkLayerAttributes *a,
                              PetscInt64 before[2], PetscInt64 behind[2])
{
  PetscInt64 pads[4] = {0, 0, 0, 0};
  char       automatic[16] = "NOTSET";

  PetscFunctionBeginUser;
  PetscCall(OnnxString(o, node, "auto_pad", automatic, sizeof(automatic)));
  if (!strcmp(automatic, "NOTSET")) PetscCall(OnnxInts(o, node, "pads", 4, pads, NULL));
  else
    OnnxCheck(o, node,
              !strcmp(automatic, "VALID") || !strcmp(automatic, "SAME_UPPER") || !strcmp(automatic, "SAME_LOWER"),
              "has auto_pad %.15s, which does not exist", automatic);
  for (int i = 0; i < 2; ++i) {
    OnnxCheck(o, node, pads[i] >= 0 && pads[i] <= LONGEST && pads[i + 2] >= 0 && pads[i + 2] <= LONGEST,
              "has pads of %" PetscInt64_FMT " and %" PetscInt64_FMT "; 0 to %d are supported", pads[i], pads[i + 2],
              (int)LONGEST);
    before[i] = pads[i];
    behind[i] = pads[i + 2];
    if (automatic[0] == 'S') {
      const PetscInt64 out = (size[i] + a->stride[i] - 1) / a->stride[i];
      const PetscInt64 all = PetscMax((out - 1) * a->stride[i] + a->kernel[i] - size[i], 0);

      before[i] = (all + (automatic[5] == 'L')) / 2;
      behind[i] = all - before[i];
    }
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode OnnxWindow(Onnx *o, const OnnxNode *node, const OnnxValue *image, CkLayerAttributes *a, PetscBool *grown)
{
  PetscInt64 before[2], behind[2], ceiling = 0;
  PetscInt   dilations[2] = {1, 1};

  PetscFunctionBeginUser;
  a->stride[0] = a->stride[1] = 1;
  PetscCall(Sizes(o, node, "kernel_shape", 1, a->kernel));
  PetscCall(Sizes(o, node, "strides", 1, a->stride));
  PetscCall(Sizes(o, node, "dilations", 1, dilations));
  OnnxCheck(o, node, dilations[0] == 1 && dilations[1] == 1,
            "has dilations of %" PetscInt_FMT " and %" PetscInt_FMT ", which are not supported (1 is)", dilations[0],
            dilations[1]);
  PetscCall(Padding(o, node, image->dims + 2, a, before, behind));
  PetscCall(OnnxInt(o, node, "ceil_mode", &ceiling));
  *grown = PETSC_FALSE;
  for (int i = 0; i < 2; ++i) {
    const PetscInt64 all = image->dims[2 + i] + before[i] + behind[i] - a->kernel[i];
    const PetscInt64 rest = all % a->stride[i];

    /* a further window, if it begins on the image or on the zeros before it */
    if (ceiling && all > 0 && rest > 0 && all - rest + a->stride[i] < image->dims[2 + i] + before[i]) {
      behind[i] += a->stride[i] - rest;
      *grown = PETSC_TRUE;
    }
    before[i] += image->pad[i];
    behind[i] += image->pad[2 + i];
    a->padding[i] = (PetscInt)before[i];
    a->trailing[i] = (PetscInt)(behind[i] - before[i]);
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode OnnxMaxPool(Onnx *o, OnnxNode *node)
{
  CkLayerAttributes a = {0};
  OnnxValue        *image;
  PetscBool         grown;

  PetscFunctionBeginUser;
  PetscCall(OnnxImageInput(o, node, 0, PETSC_FALSE, &image));
  PetscCall(OnnxWindow(o, node, image, &a, &grown));
  PetscCall(OnnxAddLayer(o, node, CK_LAYER_MAXPOOL, NULL, 1, &image, &a));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Our average counts the zeros of the padding: so must the file's. Zeros of a Pad node are counted by all. */
PetscErrorCode OnnxAveragePool(Onnx *o, OnnxNode *node)
{
  CkLayerAttributes a = {0};
  OnnxValue        *image;
  PetscBool         grown;
  PetscInt64        counted = 0;

  PetscFunctionBeginUser;
  PetscCall(OnnxImageInput(o, node, 0, PETSC_TRUE, &image));
  PetscCall(OnnxWindow(o, node, image, &a, &grown));
  PetscCall(OnnxInt(o, node, "count_include_pad", &counted));
  for (int i = 0; i < 2; ++i)
    OnnxCheck(o, node, counted || (a.padding[i] == image->pad[i] && a.padding[i] + a.trailing[i] == image->pad[2 + i]),
              "averages over the image without its padding (count_include_pad 0), which is not supported where there "
              "is padding");
  OnnxCheck(o, node, !grown, "averages over windows that go beyond the image (ceil_mode 1), which is not supported");
  PetscCall(OnnxAddLayer(o, node, CK_LAYER_AVGPOOL, NULL, 1, &image, &a));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode OnnxGlobalAveragePool(Onnx *o, OnnxNode *node)
{
  OnnxValue *image;

  PetscFunctionBeginUser;
  PetscCall(OnnxImageInput(o, node, 0, PETSC_FALSE, &image));
  PetscCall(OnnxAddLayer(o, node, CK_LAYER_GLOBALAVGPOOL, NULL, 1, &image, NULL));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Over height and width: the same. */
PetscErrorCode OnnxReduceMean(Onnx *o, OnnxNode *node)
{
  PetscInt64 axes[ONNX_MAX_RANK], keep = 1;
  int        n, which[2] = {0, 0};

  PetscFunctionBeginUser;
  PetscCall(OnnxInts(o, node, "axes", -ONNX_MAX_RANK, axes, &n));
  PetscCall(OnnxInt(o, node, "keepdims", &keep));
  for (int i = 0; i < 2 && n == 2; ++i) PetscCall(OnnxAxis(o, node, 4, axes[i], &which[i]));
  OnnxCheck(o, node, which[0] + which[1] == 5 && which[0] * which[1] == 6,
            "takes means along other axes than height and width (2, 3), which is not supported");
  PetscCall(OnnxGlobalAveragePool(o, node));
  if (!keep) node->out[0]->rank = 2;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode PadValue(Onnx *o, const OnnxNode *node, double *value)
{
  OnnxConstant *c;
  char          mode[16] = "constant";

  PetscFunctionBeginUser;
  PetscCall(OnnxString(o, node, "mode", mode, sizeof(mode)));
  OnnxCheck(o, node, !strcmp(mode, "constant"), "pads in mode '%.15s'; only constant zeros are supported", mode);
  PetscCall(OnnxFloat(o, node, "value", value));
  if (node->nin > 2 && node->in[2]) {
    PetscCall(OnnxRealInput(o, node, 2, &c));
    OnnxCheck(o, node, c->n == 1, "pads with %zu numbers", c->n);
    *value = c->x[0];
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The zeros go into the windows of what reads the image; without any the node is an identity. */
PetscErrorCode OnnxPad(Onnx *o, OnnxNode *node)
{
  OnnxValue *image, *out = node->out[0];
  PetscInt64 pads[2 * ONNX_MAX_RANK];
  double     value = 0;
  int        n, some = 0;

  PetscFunctionBeginUser;
  PetscCall(OnnxLayerInput(o, node, 0, &image));
  PetscCall(OnnxIntsOf(o, node, "pads", 1, 2 * ONNX_MAX_RANK, pads, &n));
  OnnxCheck(o, node, n == 2 * image->rank, "has %d pads for %d axes", PetscMax(n, 0), image->rank);
  for (int i = 0; i < n; ++i) some += pads[i] != 0;
  if (!some) {
    PetscCall(OnnxAlias(o, node, image, image->rank, image->dims));
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  PetscCall(PadValue(o, node, &value));
  OnnxCheck(o, node, value == 0, "pads with %g; only zeros are supported", value);
  PetscCall(OnnxImageInput(o, node, 0, PETSC_FALSE, &image));
  for (int i = 0; i < 8; ++i)
    OnnxCheck(o, node, pads[i] >= 0 && pads[i] <= (i % 4 < 2 ? 0 : LONGEST),
              "has a pad of %" PetscInt64_FMT " along axis %d; height and width (2, 3) can be padded, by up to %d",
              pads[i], i % 4, (int)LONGEST);
  PetscCall(OnnxAlias(o, node, image, image->rank, image->dims));
  for (int i = 0; i < 2; ++i) {
    out->pad[i] = (PetscInt)pads[2 + i];
    out->pad[2 + i] = (PetscInt)pads[6 + i];
    out->dims[2 + i] += pads[2 + i] + pads[6 + i];
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}
