#include "zoo.h"
#include <clarkia/options.h>
#include <stdio.h>

static const CkZooEntry *const entries[] = {&CkZooMlp,         &CkZooLogistic, &CkZooLenet,  &CkZooSmallLenet,
                                            &CkZooTinyLenet,   &CkZooSmallFc,  &CkZooTinyFc, &CkZooAllcnn,
                                            &CkZooSmallAllcnn, &CkZooResnet,   &CkZooWrn,    &CkZooDensenet};

#define NENTRIES (sizeof(entries) / sizeof(entries[0]))

static const CkOption options[] = {
  {"net", CK_OPTION_FILE, NULL, 0, 0, NULL,
   "a file NAME.onnx, or the name of a built-in net; an unknown name gets the list of them"},
  {"net_classes", CK_OPTION_INT, NULL, 1, 65536, NULL,
   "outputs of the net, where more are wanted than the data has classes (unset: one a class)"},
  {"net_widths", CK_OPTION_INTS, "64,32", 1, 1e6, NULL, "mlp: widths of the hidden layers"},
  {"net_activation", CK_OPTION_STRING, "relu", 0, 0, "relu|tanh|sigmoid|softplus", "mlp: activation"},
  {"net_batchnorm", CK_OPTION_BOOL, "false", 0, 0, NULL, "mlp: batch norm before each activation"},
  {"net_bias", CK_OPTION_BOOL, "true", 0, 0, NULL, "mlp, logistic: dense layers have a bias"},
  {"net_dropout", CK_OPTION_REAL, "0", 0, 0.999, NULL,
   "probability of zero in the dropout layers; 0: no such layers (training only)"},
  {"net_depth", CK_OPTION_INT, NULL, 1, 10000, NULL,
   "layers with weights. resnet: 6n+2, with bottlenecks 9n+2 (unset: 20); wrn: 6n+4 (16); densenet: 3n+4, with "
   "bottlenecks 6n+4 (40)"},
  {"net_shortcut", CK_OPTION_STRING, "A", 0, 0, "A|B",
   "resnet: shortcuts between its stages, A: every second pixel and zero channels, B: a 1x1 convolution"},
  {"net_preactivation", CK_OPTION_BOOL, "false", 0, 0, NULL,
   "resnet: batch norm and ReLU before each convolution instead of after it"},
  {"net_bottleneck", CK_OPTION_BOOL, "false", 0, 0, NULL,
   "resnet: blocks of 1x1, 3x3, 1x1 convolutions; densenet: a 1x1 convolution before each 3x3 one"},
  {"net_widen", CK_OPTION_INT, NULL, 1, 10000, NULL, "wrn: factor of the widths 16, 32, 64 (unset: 8)"},
  {"net_growth", CK_OPTION_INT, NULL, 1, 10000, NULL, "densenet: channels that each layer adds (unset: 12)"},
  {"net_compression", CK_OPTION_REAL, "1", 0.01, 1, NULL,
   "densenet: part of the channels that a transition keeps; DenseNet-BC is this at 0.5 with -net_bottleneck"},
  {"net_loss", CK_OPTION_STRING, "cross-entropy", 0, 0, "cross-entropy|mse",
   "loss: softmax cross-entropy, or (1/2) sum of squares against the one-hot label"},
  {NULL, CK_OPTION_BOOL, NULL, 0, 0, NULL, NULL}};

static const struct {
  const char *text;
  CkLayerType type;
} activations[] = {
  {"relu", CK_LAYER_RELU}, {"tanh", CK_LAYER_TANH}, {"sigmoid", CK_LAYER_SIGMOID}, {"softplus", CK_LAYER_SOFTPLUS}};

PetscErrorCode CkNetRegisterOptions(void)
{
  PetscFunctionBeginUser;
  PetscCall(CkOptionsRegister("Net", options));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode FindEntry(CkNet net, const char name[], const CkZooEntry **entry)
{
  char known[256] = "";

  PetscFunctionBeginUser;
  *entry = NULL;
  for (size_t i = 0; i < NENTRIES; ++i) {
    PetscCall(PetscStrlcat(known, i ? ", " : "", sizeof(known)));
    PetscCall(PetscStrlcat(known, entries[i]->name, sizeof(known)));
    if (!strcmp(entries[i]->name, name)) *entry = entries[i];
  }
  CkCheckAll(net->comm, name[0], PETSC_ERR_ARG_UNKNOWN_TYPE,
             "no net is chosen: give -net with one of %s, or a file NAME.onnx", known);
  CkCheckAll(net->comm, *entry, PETSC_ERR_ARG_UNKNOWN_TYPE, "-net %s: no such net; known are %s, and files NAME.onnx",
             name, known);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode ReadInt(const char key[], int flag, PetscInt *value, int *given)
{
  PetscBool set;

  PetscFunctionBeginUser;
  PetscCall(CkOptionsGetInt(key, value, &set));
  if (set) *given |= flag;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode ReadBool(const char key[], int flag, PetscBool *value, int *given)
{
  PetscBool set;

  PetscFunctionBeginUser;
  PetscCall(CkOptionsGetBool(key, value, &set));
  if (set) *given |= flag;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode ReadReal(const char key[], int flag, double *value, int *given)
{
  PetscReal real;
  PetscBool set;

  PetscFunctionBeginUser;
  PetscCall(CkOptionsGetReal(key, &real, &set));
  if (set) *given |= flag;
  *value = real;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Reads the keys a builder may heed; given[] are flags of those the user gave. */
static PetscErrorCode ReadChoices(CkZooChoices *c, int *given)
{
  PetscBool set;
  char      activation[32], shortcut[8];

  PetscFunctionBeginUser;
  *given = 0;
  c->nwidths = CK_MAX_WIDTHS;
  PetscCall(CkOptionsGetInts("net_widths", c->widths, &c->nwidths, &set));
  if (set) *given |= CK_ZOO_WIDTHS;
  PetscCall(CkOptionsGetString("net_activation", activation, sizeof(activation), &set));
  if (set) *given |= CK_ZOO_ACTIVATION;
  for (size_t i = 0; i < sizeof(activations) / sizeof(activations[0]); ++i)
    if (!strcmp(activations[i].text, activation)) c->activation = activations[i].type;
  PetscCall(ReadBool("net_batchnorm", CK_ZOO_BATCHNORM, &c->batchnorm, given));
  PetscCall(ReadBool("net_bias", CK_ZOO_BIAS, &c->bias, given));
  PetscCall(ReadReal("net_dropout", CK_ZOO_DROPOUT, &c->dropout, given));
  PetscCall(ReadInt("net_depth", CK_ZOO_DEPTH, &c->depth, given));
  PetscCall(ReadInt("net_widen", CK_ZOO_WIDEN, &c->widen, given));
  PetscCall(ReadInt("net_growth", CK_ZOO_GROWTH, &c->growth, given));
  PetscCall(CkOptionsGetString("net_shortcut", shortcut, sizeof(shortcut), &set));
  if (set) *given |= CK_ZOO_SHORTCUT;
  c->projection = (PetscBool)(shortcut[0] == 'B');
  PetscCall(ReadBool("net_preactivation", CK_ZOO_PREACTIVATION, &c->preactivation, given));
  PetscCall(ReadBool("net_bottleneck", CK_ZOO_BOTTLENECK, &c->bottleneck, given));
  PetscCall(ReadReal("net_compression", CK_ZOO_COMPRESSION, &c->compression, given));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The nets that heed a key. */
static const char *Heeding(int flag, char text[], size_t length)
{
  size_t used = 0;

  text[0] = '\0';
  for (size_t i = 0; i < NENTRIES; ++i)
    if (entries[i]->keys & flag && used < length)
      used += (size_t)snprintf(text + used, length - used, "%s%s", used ? ", " : "", entries[i]->name);
  return text;
}

/* User error for the first key given that the net does not heed. */
static PetscErrorCode RefuseOthers(CkNet net, const char name[], int given, int heeded)
{
  static const struct {
    const char *key;
    int         flag;
  } keys[] = {{"net_widths", CK_ZOO_WIDTHS},         {"net_activation", CK_ZOO_ACTIVATION},
              {"net_batchnorm", CK_ZOO_BATCHNORM},   {"net_bias", CK_ZOO_BIAS},
              {"net_dropout", CK_ZOO_DROPOUT},       {"net_depth", CK_ZOO_DEPTH},
              {"net_widen", CK_ZOO_WIDEN},           {"net_growth", CK_ZOO_GROWTH},
              {"net_shortcut", CK_ZOO_SHORTCUT},     {"net_preactivation", CK_ZOO_PREACTIVATION},
              {"net_bottleneck", CK_ZOO_BOTTLENECK}, {"net_compression", CK_ZOO_COMPRESSION}};
  char known[256];

  PetscFunctionBeginUser;
  for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); ++i)
    CkCheckAll(net->comm, !(given & keys[i].flag & ~heeded), PETSC_ERR_ARG_WRONG,
               "-%s has no meaning for -net %s: leave it out, or use a net that heeds it (%s)", keys[i].key, name,
               Heeding(keys[i].flag, known, sizeof(known)));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkNetSetZoo(CkNet net, const char name[], CkShape input, PetscInt classes)
{
  const CkZooEntry *entry;
  CkZooChoices      choices = {0};
  int               given;

  PetscFunctionBeginUser;
  PetscCheck(net->nlayers == 0, PETSC_COMM_SELF, PETSC_ERR_ORDER, "The net has layers already");
  PetscCall(CkNetRegisterOptions());
  PetscCall(FindEntry(net, name, &entry));
  PetscCall(ReadChoices(&choices, &given));
  PetscCall(RefuseOthers(net, entry->name, given, entry->keys));
  PetscCall(CkNetSetName(net, entry->name));
  PetscCall(entry->build(net, input, classes, &choices));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscBool IsOnnx(const char name[])
{
  const size_t n = strlen(name);

  return (PetscBool)(n > 5 && !strcmp(name + n - 5, ".onnx"));
}

/* A file says by itself what the keys of the zoo say. */
static PetscErrorCode SetFile(CkNet net, const char file[], CkShape input, PetscBool more, PetscBool mse)
{
  CkZooChoices choices = {0};
  int          given;

  PetscFunctionBeginUser;
  PetscCall(ReadChoices(&choices, &given));
  PetscCall(RefuseOthers(net, file, given, 0));
  CkCheckAll(net->comm, !more, PETSC_ERR_ARG_WRONG, "-net_classes has no meaning for -net %s: leave it out", file);
  PetscCall(CkNetReadOnnx(net, file, input));
  CkCheckAll(net->comm, !mse || !net->softmax_dropped, PETSC_ERR_ARG_INCOMP,
             "-net_loss mse: the net of %s ends in a softmax, which belongs to -net_loss cross-entropy: use that, or "
             "export the net without it",
             file);
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkNetSetFromOptions(CkNet net, CkShape input, PetscInt classes)
{
  char      name[PETSC_MAX_PATH_LEN], loss[32];
  PetscInt  outputs;
  PetscBool more;

  PetscFunctionBeginUser;
  PetscCall(CkNetRegisterOptions());
  PetscCall(CkOptionsGetInt("net_classes", &outputs, &more));
  CkCheckAll(net->comm, !more || outputs >= classes, PETSC_ERR_ARG_SIZ,
             "-net_classes %" PetscInt_FMT " is below the %" PetscInt_FMT " classes of the data: leave it out, or keep "
             "fewer classes (-data_classes_keep)",
             outputs, classes);
  PetscCall(CkOptionsGetString("net", name, sizeof(name), NULL));
  PetscCall(CkOptionsGetString("net_loss", loss, sizeof(loss), NULL));
  CkCheckAll(
    net->comm, IsOnnx(name) || (more ? outputs : classes) > 1 || !strcmp(loss, "mse"), PETSC_ERR_ARG_SIZ,
    "the data have only one class, and the cross-entropy of one class is 0 whatever the weights: keep at least 2 "
    "classes (-data_classes_keep, -data_classes), give more outputs with -net_classes, or take -net_loss mse");
  if (IsOnnx(name)) PetscCall(SetFile(net, name, input, more, (PetscBool)!strcmp(loss, "mse")));
  else PetscCall(CkNetSetZoo(net, name, input, more ? outputs : classes));
  PetscCall(CkNetSetHead(net, strcmp(loss, "mse") ? CK_HEAD_CROSS_ENTROPY : CK_HEAD_MSE));
  PetscFunctionReturn(PETSC_SUCCESS);
}
