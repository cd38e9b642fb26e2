#include "zoo.h"

/*
  Densely connected nets for CIFAR (Huang et al., arXiv:1608.06993): a 3x3 convolution, three blocks whose layers (batch
  norm, ReLU, 3x3 convolution to `growth` channels) each read the channels of all before, between the blocks batch norm,
  ReLU, 1x1 convolution, average pool. Plain: 16 channels at first. Bottlenecks: a 1x1 convolution to 4 times the growth
  comes before each 3x3 one; with compression as well (DenseNet-BC) twice the growth at first. Dropout, where chosen,
  follows every convolution but the first. Names are those of torchvision's DenseNet in its form for CIFAR
  (gpleiss/efficient_densenet_pytorch): features.denseblock1.denselayer1.conv1, ..., features.norm_final, classifier.
*/
static PetscErrorCode NormReluConv(CkPath *path, int number, PetscInt units, PetscInt kernel, double dropout)
{
  static const char *const names[][4] = {{"norm", "relu", "conv", "dropout"},
                                         {"norm1", "relu1", "conv1", "dropout1"},
                                         {"norm2", "relu2", "conv2", "dropout2"}};
  const char *const       *name = names[number];

  PetscFunctionBeginUser;
  PetscCall(CkPathNorm(path, name[0]));
  PetscCall(CkPathLayer(path, CK_LAYER_RELU, name[1]));
  PetscCall(CkPathConv(path, name[2], units, kernel, 1));
  PetscCall(CkPathDropout(path, name[3], dropout));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode AddLayer(CkPath *path, PetscInt growth, const CkZooChoices *c)
{
  const PetscInt before = path->at;

  PetscFunctionBeginUser;
  if (c->bottleneck) PetscCall(NormReluConv(path, 1, 4 * growth, 1, c->dropout));
  PetscCall(NormReluConv(path, c->bottleneck ? 2 : 1, growth, 3, c->dropout));
  PetscCall(CkPathJoin(path, CK_LAYER_CONCAT, "concat", before));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode AddTransition(CkPath *path, const CkZooChoices *c)
{
  const CkLayerAttributes pool = {.kernel = {2, 2}, .stride = {2, 2}};
  const PetscInt          units = PetscMax(1, (PetscInt)((double)CkPathChannels(path) * c->compression));
  char                    name[128];

  PetscFunctionBeginUser;
  PetscCall(NormReluConv(path, 0, units, 1, c->dropout));
  PetscCall(PetscSNPrintf(name, sizeof(name), "%spool", path->prefix));
  PetscCall(CkNetAddLayer(path->net, CK_LAYER_AVGPOOL, name, 1, &path->at, &pool, &path->at));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Build(CkNet net, CkShape input, PetscInt classes, const CkZooChoices *c)
{
  const PetscInt  depth = c->depth ? c->depth : 40, growth = c->growth ? c->growth : 12;
  const PetscBool both = (PetscBool)(c->bottleneck && c->compression < 1);
  PetscInt        layers;
  CkPath          path;

  PetscFunctionBeginUser;
  PetscCall(CkPathBlocks(net, depth, c->bottleneck ? 6 : 3, 4, &layers));
  PetscCall(CkNetSetInitialization(net, CK_INITIALIZATION_HE));
  PetscCall(CkPathBegin(&path, net, input));
  PetscCall(CkPathConv(&path, "features.conv0", both ? 2 * growth : 16, 3, 1));
  for (PetscInt block = 1; block <= 3; ++block) {
    for (PetscInt i = 1; i <= layers; ++i) {
      PetscCall(CkPathPrefix(&path, "features.denseblock%" PetscInt_FMT ".denselayer%" PetscInt_FMT ".", block, i));
      PetscCall(AddLayer(&path, growth, c));
    }
    PetscCall(CkPathPrefix(&path, "features.transition%" PetscInt_FMT ".", block));
    if (block < 3) PetscCall(AddTransition(&path, c));
  }
  PetscCall(CkPathPrefix(&path, "features."));
  PetscCall(CkPathNorm(&path, "norm_final"));
  PetscCall(CkPathLayer(&path, CK_LAYER_RELU, "relu_final"));
  PetscCall(CkPathClassify(&path, "classifier", classes));
  PetscFunctionReturn(PETSC_SUCCESS);
}

const CkZooEntry CkZooDensenet = {
  "densenet", CK_ZOO_DEPTH | CK_ZOO_GROWTH | CK_ZOO_BOTTLENECK | CK_ZOO_COMPRESSION | CK_ZOO_DROPOUT, Build};
