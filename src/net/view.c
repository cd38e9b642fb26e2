#include "netimpl.h"
#include <stdio.h>

/* "conv 3x3/2": kind, window, and stride where it is not one */
static void Describe(const CkLayer *l, char text[], size_t length)
{
  const CkLayerAttributes *a = &l->a;
  size_t                   used = (size_t)snprintf(text, length, "%s", CkLayerTypeName(l->type));

  if (a->kernel[0] && used < length)
    used +=
      (size_t)snprintf(text + used, length - used, " %" PetscInt_FMT "x%" PetscInt_FMT, a->kernel[0], a->kernel[1]);
  if ((a->stride[0] > 1 || a->stride[1] > 1) && used < length)
    used += (size_t)snprintf(text + used, length - used, "/%" PetscInt_FMT, a->stride[0]);
  if (a->stride[0] != a->stride[1] && used < length)
    used += (size_t)snprintf(text + used, length - used, "x%" PetscInt_FMT, a->stride[1]);
  if (a->rate > 0 && used < length) snprintf(text + used, length - used, " %g", a->rate);
}

/* The layers it reads, by number, where that is not the one above. */
static void Sources(PetscInt number, const CkLayer *l, char text[], size_t length)
{
  size_t used = 0;

  text[0] = '\0';
  if (l->ninputs == 0 || (l->ninputs == 1 && l->inputs[0] == number - 1)) return;
  for (PetscInt i = 0; i < l->ninputs && used < length; ++i)
    used += (size_t)snprintf(text + used, length - used, "%s%" PetscInt_FMT, i ? "," : "", l->inputs[i]);
}

static PetscErrorCode ViewLayer(CkNet net, PetscInt number, int width)
{
  const CkLayer *l = &net->layers[number];
  PetscInt       weights = 0;
  double         flops;
  char           kind[64], sources[48], shape[64];

  PetscFunctionBeginUser;
  for (PetscInt j = 0; j < l->nparameters; ++j) weights += net->parameters[l->first_parameter + j].size;
  PetscCall(CkNetGetLayerFlops(net, number, &flops));
  Describe(l, kind, sizeof(kind));
  Sources(number, l, sources, sizeof(sources));
  snprintf(shape, sizeof(shape), "%" PetscInt_FMT " x %" PetscInt_FMT " x %" PetscInt_FMT, l->out.c, l->out.h,
           l->out.w);
  PetscCall(PetscPrintf(net->comm, "  %4" PetscInt_FMT "  %-*s  %-16s %-9s %-18s %10" PetscInt_FMT " %11.4g\n", number,
                        width, l->name, kind, sources, shape, weights, flops));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkNetView(CkNet net)
{
  double flops;
  size_t width = 5;

  PetscFunctionBeginUser;
  PetscCall(CkNetGetFlops(net, &flops));
  for (PetscInt i = 0; i < net->nlayers; ++i) width = PetscMax(width, strlen(net->layers[i].name));
  PetscCall(PetscPrintf(net->comm,
                        "Net %s: %" PetscInt64_FMT " weights, %" PetscInt64_FMT
                        " running statistics, %.4g operations a forward pass of one sample, loss %s\n",
                        net->name, net->size_trainable, net->size_buffers, flops,
                        net->head == CK_HEAD_MSE ? "mse" : "cross-entropy"));
  PetscCall(PetscPrintf(net->comm, "  %4s  %-*s  %-16s %-9s %-18s %10s %11s\n", "no.", (int)width, "layer", "kind",
                        "reads", "output C x H x W", "weights", "operations"));
  for (PetscInt i = 0; i < net->nlayers; ++i) PetscCall(ViewLayer(net, i, (int)width));
  PetscFunctionReturn(PETSC_SUCCESS);
}
