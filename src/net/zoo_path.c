#include "zoo.h"
#include <stdarg.h>
#include <stdio.h>

static PetscErrorCode Append(CkPath *path, CkLayerType type, const char name[], const CkLayerAttributes *a)
{
  char full[128];

  PetscFunctionBeginUser;
  PetscCall(PetscSNPrintf(full, sizeof(full), "%s%s", path->prefix, name));
  PetscCall(CkNetAddLayer(path->net, type, full, 1, &path->at, a, &path->at));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkPathBegin(CkPath *path, CkNet net, CkShape input)
{
  PetscFunctionBeginUser;
  *path = (CkPath){.net = net};
  CkCheckAll(net->comm, input.h > 0 && input.w > 0 && input.h % 4 == 0 && input.w % 4 == 0, PETSC_ERR_ARG_SIZ,
             "%s needs images whose height and width are multiples of 4, for it halves them twice (32 x 32 in the "
             "publications), got %" PetscInt_FMT " x %" PetscInt_FMT " x %" PetscInt_FMT " (channels x height x width)",
             net->name, input.c, input.h, input.w);
  PetscCall(CkNetAddInput(net, input));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkPathPrefix(CkPath *path, const char format[], ...)
{
  va_list arguments;

  PetscFunctionBeginUser;
  va_start(arguments, format);
  vsnprintf(path->prefix, sizeof(path->prefix), format, arguments);
  va_end(arguments);
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkPathConv(CkPath *path, const char name[], PetscInt units, PetscInt kernel, PetscInt stride)
{
  const CkLayerAttributes a = {.units = units,
                               .kernel = {kernel, kernel},
                               .stride = {stride, stride},
                               .padding = {kernel / 2, kernel / 2},
                               .bias = PETSC_FALSE};

  PetscFunctionBeginUser;
  PetscCall(Append(path, CK_LAYER_CONV, name, &a));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkPathNorm(CkPath *path, const char name[])
{
  const CkLayerAttributes a = {.epsilon = CK_BATCHNORM_EPSILON};

  PetscFunctionBeginUser;
  PetscCall(Append(path, CK_LAYER_BATCHNORM, name, &a));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkPathLayer(CkPath *path, CkLayerType type, const char name[])
{
  PetscFunctionBeginUser;
  PetscCall(Append(path, type, name, NULL));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkPathDropout(CkPath *path, const char name[], double rate)
{
  const CkLayerAttributes a = {.rate = rate};

  PetscFunctionBeginUser;
  if (rate > 0) PetscCall(Append(path, CK_LAYER_DROPOUT, name, &a));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkPathJoin(CkPath *path, CkLayerType type, const char name[], PetscInt other)
{
  const PetscInt inputs[2] = {other, path->at};
  char           full[128];

  PetscFunctionBeginUser;
  PetscCall(PetscSNPrintf(full, sizeof(full), "%s%s", path->prefix, name));
  PetscCall(CkNetAddLayer(path->net, type, full, 2, inputs, NULL, &path->at));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkPathClassify(CkPath *path, const char name[], PetscInt classes)
{
  const CkLayerAttributes a = {.units = classes, .bias = PETSC_TRUE};

  PetscFunctionBeginUser;
  path->prefix[0] = '\0';
  PetscCall(Append(path, CK_LAYER_GLOBALAVGPOOL, "avgpool", NULL));
  PetscCall(Append(path, CK_LAYER_DENSE, name, &a));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscInt CkPathChannels(const CkPath *path)
{
  return path->net->layers[path->at].out.c;
}

PetscErrorCode CkPathBlocks(CkNet net, PetscInt depth, PetscInt each, PetscInt rest, PetscInt *blocks)
{
  const PetscInt least = PetscMax(1, (depth - rest) / each);

  PetscFunctionBeginUser;
  CkCheckAll(net->comm, depth == least * each + rest, PETSC_ERR_ARG_OUTOFRANGE,
             "-net_depth %" PetscInt_FMT " is not %" PetscInt_FMT "n+%" PetscInt_FMT
             ", as %s needs it here: take %" PetscInt_FMT " or %" PetscInt_FMT,
             depth, each, rest, net->name, least * each + rest, (least + 1) * each + rest);
  *blocks = least;
  PetscFunctionReturn(PETSC_SUCCESS);
}
