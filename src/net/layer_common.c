#include "netimpl.h"
#include <stdarg.h>
#include <stdio.h>

void CkNetShapeHint(CkNet net, char text[], size_t length)
{
  const CkShape need = net->made_for, have = net->nlayers ? net->layers[0].out : (CkShape){0, 0, 0};

  text[0] = '\0';
  if (need.c == 0 || (need.c == have.c && need.h == have.h && need.w == have.w)) return;
  snprintf(text, length,
           "; %s is made for samples of %" PetscInt_FMT " x %" PetscInt_FMT " x %" PetscInt_FMT
           ": take such data (synthetic: -data_shape %" PetscInt_FMT ",%" PetscInt_FMT ",%" PetscInt_FMT
           "), or another -net",
           net->name, need.c, need.h, need.w, need.c, need.h, need.w);
}

void CkLayerFail(CkNet net, const CkLayer *layer, CkVerdict *verdict, const char format[], ...)
{
  char    text[512], hint[192];
  va_list arguments;

  va_start(arguments, format);
  vsnprintf(text, sizeof(text), format, arguments);
  va_end(arguments);
  CkNetShapeHint(net, hint, sizeof(hint));
  CkVerdictFail(verdict, PETSC_ERR_ARG_SIZ, "%s: layer %s (%s) %s%s", net->name, layer->name,
                CkLayerTypeName(layer->type), text, hint);
}

void CkLayerWindow(CkNet net, CkLayer *layer, CkVerdict *verdict)
{
  const CkLayerAttributes *a = &layer->a;
  const PetscInt           size[2] = {layer->in.h, layer->in.w};
  PetscInt                 out[2] = {0, 0};

  for (int i = 0; i < 2; ++i) {
    const PetscInt64 padding = 2 * (PetscInt64)a->padding[i] + a->trailing[i];

    if (a->kernel[i] < 1 || a->stride[i] < 1 || a->padding[i] < 0 || padding < a->padding[i]) {
      CkLayerFail(net, layer, verdict,
                  "needs kernel and stride of at least 1 and padding of at least 0, got %" PetscInt_FMT
                  ", %" PetscInt_FMT " and %" PetscInt_FMT " before, %" PetscInt64_FMT " behind",
                  a->kernel[i], a->stride[i], a->padding[i], padding - a->padding[i]);
      return;
    }
    if (size[i] > PETSC_MAX_INT - padding || size[i] + padding < a->kernel[i]) {
      CkLayerFail(net, layer, verdict,
                  "needs an image of at least %" PetscInt_FMT " x %" PetscInt_FMT
                  " (its kernel) with its padding of %" PetscInt_FMT " x %" PetscInt_FMT
                  " on each side (and %" PetscInt_FMT " x %" PetscInt_FMT
                  " more at the bottom and right), got %" PetscInt_FMT " x %" PetscInt_FMT " x %" PetscInt_FMT
                  " (channels x height x width)",
                  a->kernel[0], a->kernel[1], a->padding[0], a->padding[1], a->trailing[0], a->trailing[1], layer->in.c,
                  layer->in.h, layer->in.w);
      return;
    }
    out[i] = (PetscInt)((size[i] + padding - a->kernel[i]) / a->stride[i] + 1);
  }
  layer->out.h = out[0];
  layer->out.w = out[1];
}

static const char *RoleSuffix(CkRole role)
{
  switch (role) {
  case CK_ROLE_WEIGHT:
  case CK_ROLE_SCALE:
    return "weight";
  case CK_ROLE_BIAS:
  case CK_ROLE_SHIFT:
    return "bias";
  case CK_ROLE_MEAN:
    return "running_mean";
  case CK_ROLE_VARIANCE:
    return "running_var";
  }
  return "unknown";
}

PetscErrorCode CkNetAddParameter(CkNet net, PetscInt layer, CkRole role, int rank, const PetscInt shape[])
{
  const PetscBool trainable = (PetscBool)(role != CK_ROLE_MEAN && role != CK_ROLE_VARIANCE);
  PetscInt       *n = trainable ? &net->ntrainable : &net->nbuffers;
  PetscInt       *room = trainable ? &net->room_trainable : &net->room_buffers;
  CkParameter   **table = trainable ? &net->trainable : &net->buffers;
  PetscInt64     *total = trainable ? &net->size_trainable : &net->size_buffers;
  CkLayer        *owner = &net->layers[layer];
  CkParameter    *p;
  char            name[256];
  double          size = 1;

  PetscFunctionBeginUser;
  for (int i = 0; i < rank; ++i) size *= (double)shape[i];
  CkCheckAll(net->comm, (double)*total + size <= (double)PETSC_MAX_INT, PETSC_ERR_ARG_OUTOFRANGE,
             "%s: layer %s (%s) brings the weights to %.0f, more than this PETSc can index (%" PetscInt_FMT
             "); build Clarkia on PETSc with 64-bit indices (-DCLARKIA_64BIT=ON)",
             net->name, owner->name, CkLayerTypeName(owner->type), (double)*total + size, PETSC_MAX_INT);
  if (*n == *room) {
    *room = 2 * *room + 16;
    PetscCall(PetscRealloc((size_t)*room * sizeof(**table), table));
  }
  p = &(*table)[*n];
  PetscCall(PetscMemzero(p, sizeof(*p)));
  PetscCall(PetscSNPrintf(name, sizeof(name), "%s.%s", owner->name, RoleSuffix(role)));
  PetscCall(PetscStrallocpy(name, (char **)&p->name));
  p->layer = layer;
  p->role = role;
  p->trainable = trainable;
  p->rank = rank;
  for (int i = 0; i < rank; ++i) p->shape[i] = shape[i];
  p->offset = (PetscInt)*total;
  p->size = (PetscInt)size;
  *total += p->size;
  if (trainable) {
    if (owner->nparameters++ == 0) owner->first_parameter = *n;
  } else {
    if (owner->nbuffers++ == 0) owner->first_buffer = *n;
  }
  ++*n;
  PetscFunctionReturn(PETSC_SUCCESS);
}
