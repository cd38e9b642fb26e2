#include "netimpl.h"
#include <stdarg.h>
#include <stdio.h>

PetscErrorCode CkNetCreate(MPI_Comm comm, CkNet *net)
{
  PetscFunctionBeginUser;
  PetscCall(PetscNew(net));
  (*net)->comm = comm;
  (*net)->references = 1;
  (*net)->head = CK_HEAD_CROSS_ENTROPY;
  PetscCall(PetscStrallocpy("net", &(*net)->name));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkNetReference(CkNet net)
{
  PetscFunctionBeginUser;
  ++net->references;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkNetDestroy(CkNet *net)
{
  CkNet n = *net;

  PetscFunctionBeginUser;
  *net = NULL;
  if (!n || --n->references > 0) PetscFunctionReturn(PETSC_SUCCESS);
  for (PetscInt i = 0; i < n->nlayers; ++i) PetscCall(PetscFree(n->layers[i].name));
  for (PetscInt i = 0; i < n->ntrainable; ++i) PetscCall(PetscFree(n->trainable[i].name));
  for (PetscInt i = 0; i < n->nbuffers; ++i) PetscCall(PetscFree(n->buffers[i].name));
  PetscCall(PetscFree(n->layers));
  PetscCall(PetscFree(n->trainable));
  PetscCall(PetscFree(n->buffers));
  PetscCall(PetscFree(n->parameters));
  PetscCall(PetscFree(n->initial_weights));
  PetscCall(PetscFree(n->initial_buffers));
  for (PetscInt i = 0; i < n->nnotes; ++i) PetscCall(PetscFree(n->notes[i]));
  PetscCall(PetscFree(n->notes));
  PetscCall(PetscFree(n->name));
  PetscCall(PetscFree(n));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkNetSetName(CkNet net, const char name[])
{
  PetscFunctionBeginUser;
  PetscCheck(!net->setup, PETSC_COMM_SELF, PETSC_ERR_ORDER, "The net is frozen");
  PetscCall(PetscFree(net->name));
  PetscCall(PetscStrallocpy(name, &net->name));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkNetAddNote(CkNet net, const char format[], ...)
{
  char    text[256];
  va_list arguments;

  PetscFunctionBeginUser;
  va_start(arguments, format);
  vsnprintf(text, sizeof(text), format, arguments);
  va_end(arguments);
  for (char *c = text; *c; ++c) /* names in a file must not steer the terminal */
    if ((unsigned char)*c < ' ' || *c == 127) *c = '?';
  if (net->nnotes == net->room_notes) {
    net->room_notes = 2 * net->room_notes + 8;
    PetscCall(PetscRealloc((size_t)net->room_notes * sizeof(*net->notes), &net->notes));
  }
  PetscCall(PetscStrallocpy(text, &net->notes[net->nnotes]));
  ++net->nnotes;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkNetSetHead(CkNet net, CkHead head)
{
  PetscFunctionBeginUser;
  PetscCheck(!net->setup, PETSC_COMM_SELF, PETSC_ERR_ORDER, "The net is frozen");
  PetscCheck(head == CK_HEAD_CROSS_ENTROPY || head == CK_HEAD_MSE, PETSC_COMM_SELF, PETSC_ERR_ARG_OUTOFRANGE,
             "No such head: %d", (int)head);
  net->head = head;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkNetSetInitialization(CkNet net, CkInitialization initial)
{
  PetscFunctionBeginUser;
  PetscCheck(!net->setup, PETSC_COMM_SELF, PETSC_ERR_ORDER, "The net is frozen");
  net->initial = initial;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* An empty layer of this name at the end of the list; it counts only once its shape is known. */
static PetscErrorCode NewLayer(CkNet net, CkLayerType type, const char name[], CkLayer **layer)
{
  PetscBool taken = PETSC_FALSE;

  PetscFunctionBeginUser;
  PetscCheck(!net->setup, PETSC_COMM_SELF, PETSC_ERR_ORDER, "The net is frozen: no layer can be added");
  PetscCheck(name && name[0] && !strchr(name, '/'), PETSC_COMM_SELF, PETSC_ERR_ARG_WRONG,
             "A layer needs a name without '/', got '%s'", name ? name : "");
  CkCheckAll(net->comm, strlen(name) <= 200, PETSC_ERR_ARG_OUTOFRANGE, "%s: layer name '%s' is longer than 200 letters",
             net->name, name);
  for (PetscInt i = 0; i < net->nlayers; ++i)
    if (!strcmp(net->layers[i].name, name)) taken = PETSC_TRUE;
  CkCheckAll(net->comm, !taken, PETSC_ERR_ARG_WRONG, "%s: two layers are named '%s'", net->name, name);
  if (net->nlayers == net->room_layers) {
    net->room_layers = 2 * net->room_layers + 16;
    PetscCall(PetscRealloc((size_t)net->room_layers * sizeof(*net->layers), &net->layers));
  }
  *layer = &net->layers[net->nlayers];
  PetscCall(PetscMemzero(*layer, sizeof(**layer)));
  PetscCall(PetscStrallocpy(name, (char **)&(*layer)->name));
  (*layer)->type = type;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Shape, parameters, and the check that the output can be indexed. A layer that fails leaves no trace. */
static PetscErrorCode FinishLayer(CkNet net, CkLayer *layer, const CkShape inputs[])
{
  const CkLayerKind *kind = CkLayerKindGet(layer->type);
  CkVerdict          verdict = {0};
  PetscErrorCode     ierr;

  PetscFunctionBeginUser;
  kind->shape(net, layer, inputs, &verdict);
  if (!verdict.code && (double)layer->out.c * (double)layer->out.h * (double)layer->out.w > (double)PETSC_MAX_INT)
    CkLayerFail(net, layer, &verdict,
                "has an output of %" PetscInt_FMT " x %" PetscInt_FMT " x %" PetscInt_FMT
                " numbers, more than this PETSc can index",
                layer->out.c, layer->out.h, layer->out.w);
  ierr = CkCheckVerdict(net->comm, &verdict);
  if (!ierr && kind->parameters) ierr = kind->parameters(net, net->nlayers);
  if (ierr) PetscCall(PetscFree(layer->name));
  PetscCall(ierr);
  ++net->nlayers;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkNetAddInput(CkNet net, CkShape shape)
{
  CkLayer *layer;

  PetscFunctionBeginUser;
  PetscCheck(net->nlayers == 0, PETSC_COMM_SELF, PETSC_ERR_ORDER, "The input is the first layer");
  PetscCall(NewLayer(net, CK_LAYER_INPUT, "input", &layer));
  layer->in = shape;
  PetscCall(FinishLayer(net, layer, NULL));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkNetAddLayer(CkNet net, CkLayerType type, const char name[], PetscInt ninputs, const PetscInt inputs[],
                             const CkLayerAttributes *a, PetscInt *number)
{
  const CkLayerKind *kind = CkLayerKindGet(type);
  CkShape            shapes[CK_MAX_INPUTS];
  CkLayer           *layer;

  PetscFunctionBeginUser;
  PetscCheck(kind && type != CK_LAYER_INPUT, PETSC_COMM_SELF, PETSC_ERR_ARG_OUTOFRANGE, "No such layer type: %d",
             (int)type);
  PetscCheck(net->nlayers > 0, PETSC_COMM_SELF, PETSC_ERR_ORDER, "CkNetAddInput() comes first");
  PetscCheck(ninputs >= kind->min_inputs && ninputs <= kind->max_inputs, PETSC_COMM_SELF, PETSC_ERR_ARG_OUTOFRANGE,
             "A %s layer takes %" PetscInt_FMT " to %" PetscInt_FMT " inputs, got %" PetscInt_FMT, kind->name,
             kind->min_inputs, kind->max_inputs, ninputs);
  for (PetscInt i = 0; i < ninputs; ++i)
    PetscCheck(inputs[i] >= 0 && inputs[i] < net->nlayers, PETSC_COMM_SELF, PETSC_ERR_ARG_OUTOFRANGE,
               "Input %" PetscInt_FMT " of layer %s is no layer before it", inputs[i], name);
  PetscCall(NewLayer(net, type, name, &layer));
  layer->ninputs = ninputs;
  for (PetscInt i = 0; i < ninputs; ++i) {
    layer->inputs[i] = inputs[i];
    shapes[i] = net->layers[inputs[i]].out;
  }
  layer->in = shapes[0];
  if (a) layer->a = *a;
  PetscCall(FinishLayer(net, layer, shapes));
  if (number) *number = net->nlayers - 1;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Every layer but the last feeds another, and the last one gives a flat vector, one number a class. */
static PetscErrorCode CheckGraph(CkNet net)
{
  const CkLayer *last = &net->layers[net->nlayers - 1];
  const PetscInt least = net->head == CK_HEAD_CROSS_ENTROPY ? 2 : 1;
  PetscBool     *used;
  PetscInt       idle = -1;
  char           hint[192];

  PetscFunctionBeginUser;
  PetscCall(PetscCalloc1(net->nlayers, &used));
  for (PetscInt i = 0; i < net->nlayers; ++i)
    for (PetscInt j = 0; j < net->layers[i].ninputs; ++j) used[net->layers[i].inputs[j]] = PETSC_TRUE;
  for (PetscInt i = 0; i + 1 < net->nlayers && idle < 0; ++i)
    if (!used[i]) idle = i;
  PetscCall(PetscFree(used));
  CkNetShapeHint(net, hint, sizeof(hint));
  CkCheckAll(net->comm, idle < 0, PETSC_ERR_ARG_WRONG, "%s: the output of layer %s is not used", net->name,
             net->layers[idle < 0 ? 0 : idle].name);
  CkCheckAll(net->comm, last->out.h == 1 && last->out.w == 1 && last->out.c >= least, PETSC_ERR_ARG_SIZ,
             "%s: the last layer, %s, must give at least %" PetscInt_FMT
             " class scores, a vector; it gives %" PetscInt_FMT " x %" PetscInt_FMT " x %" PetscInt_FMT "%s",
             net->name, last->name, least, last->out.c, last->out.h, last->out.w, hint);
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkNetSetUp(CkNet net)
{
  const PetscInt n = net->ntrainable + net->nbuffers;

  PetscFunctionBeginUser;
  if (net->setup) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCheck(net->nlayers > 1, PETSC_COMM_SELF, PETSC_ERR_ORDER, "A net needs an input and a layer");
  PetscCall(CheckGraph(net));
  CkCheckAll(net->comm, net->size_trainable > 0, PETSC_ERR_ARG_WRONG, "%s: no layer has weights", net->name);
  PetscCall(PetscMalloc1(n, &net->parameters));
  PetscCall(PetscArraycpy(net->parameters, net->trainable, net->ntrainable));
  PetscCall(PetscArraycpy(net->parameters + net->ntrainable, net->buffers, net->nbuffers));
  for (PetscInt i = 0; i < net->nlayers; ++i)
    if (net->layers[i].nbuffers) net->layers[i].first_buffer += net->ntrainable;
  net->setup = PETSC_TRUE;
  PetscFunctionReturn(PETSC_SUCCESS);
}

#define CHECK_SETUP(net) PetscCheck((net)->setup, PETSC_COMM_SELF, PETSC_ERR_ORDER, "CkNetSetUp() has not been called")

PetscErrorCode CkNetGetComm(CkNet net, MPI_Comm *comm)
{
  PetscFunctionBeginUser;
  *comm = net->comm;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkNetGetName(CkNet net, const char **name)
{
  PetscFunctionBeginUser;
  *name = net->name;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkNetGetDimension(CkNet net, PetscInt *d)
{
  PetscFunctionBeginUser;
  CHECK_SETUP(net);
  *d = (PetscInt)net->size_trainable;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkNetGetBuffers(CkNet net, PetscInt *n)
{
  PetscFunctionBeginUser;
  CHECK_SETUP(net);
  *n = (PetscInt)net->size_buffers;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkNetGetLayers(CkNet net, PetscInt *n, const CkLayer **layers)
{
  PetscFunctionBeginUser;
  CHECK_SETUP(net);
  *n = net->nlayers;
  *layers = net->layers;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkNetGetParameters(CkNet net, PetscInt *n, const CkParameter **parameters)
{
  PetscFunctionBeginUser;
  CHECK_SETUP(net);
  *n = net->ntrainable + net->nbuffers;
  *parameters = net->parameters;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkNetGetHead(CkNet net, CkHead *head)
{
  PetscFunctionBeginUser;
  *head = net->head;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkNetGetInitialization(CkNet net, CkInitialization *initial)
{
  PetscFunctionBeginUser;
  *initial = net->initial;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkNetGetInput(CkNet net, CkShape *shape)
{
  PetscFunctionBeginUser;
  PetscCheck(net->nlayers > 0, PETSC_COMM_SELF, PETSC_ERR_ORDER, "The net has no input yet");
  *shape = net->layers[0].out;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkNetGetClasses(CkNet net, PetscInt *classes)
{
  PetscFunctionBeginUser;
  CHECK_SETUP(net);
  *classes = net->layers[net->nlayers - 1].out.c;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkNetGetInitial(CkNet net, const double **weights, const double **buffers)
{
  PetscFunctionBeginUser;
  CHECK_SETUP(net);
  *weights = net->initial_weights;
  *buffers = net->initial_buffers;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkNetGetNotes(CkNet net, PetscInt *n, const char *const **notes)
{
  PetscFunctionBeginUser;
  *n = net->nnotes;
  *notes = (const char *const *)net->notes;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkNetGetLayerFlops(CkNet net, PetscInt layer, double *forward)
{
  PetscFunctionBeginUser;
  CHECK_SETUP(net);
  *forward = CkLayerKindGet(net->layers[layer].type)->flops(&net->layers[layer]);
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkNetGetFlops(CkNet net, double *forward)
{
  PetscFunctionBeginUser;
  *forward = 0;
  for (PetscInt i = 0; i < net->nlayers; ++i) {
    double layer = 0;

    PetscCall(CkNetGetLayerFlops(net, i, &layer));
    *forward += layer;
  }
  for (PetscInt i = 0; i < net->nnotes; ++i) PetscCall(PetscPrintf(net->comm, "  note: %s\n", net->notes[i]));
  PetscFunctionReturn(PETSC_SUCCESS);
}
