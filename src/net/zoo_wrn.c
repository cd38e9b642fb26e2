#include "zoo.h"

/*
  Wide residual nets (Zagoruyko and Komodakis, arXiv:1605.07146): a 3x3 convolution to 16 channels, three stages of
  pre-activated blocks of two 3x3 convolutions with 16, 32, 64 times the widening factor, the second and third begun
  with stride 2. A block that changes the shape has a 1x1 convolution as its shortcut, which reads the block's first
  ReLU. Dropout, where chosen, comes before the second convolution. Names are those of the PyTorch port most used
  (xternalizing/WideResNet-pytorch): block1.layer.0.conv1, ..., convShortcut, bn1, fc.
*/
static PetscErrorCode AddBlock(CkPath *path, PetscInt units, PetscInt stride, double dropout)
{
  const PetscBool changes = (PetscBool)(stride != 1 || CkPathChannels(path) != units);
  CkPath          skip = *path;

  PetscFunctionBeginUser;
  PetscCall(CkPathNorm(path, "bn1"));
  PetscCall(CkPathLayer(path, CK_LAYER_RELU, "relu1"));
  if (changes) skip.at = path->at;
  PetscCall(CkPathConv(path, "conv1", units, 3, stride));
  PetscCall(CkPathNorm(path, "bn2"));
  PetscCall(CkPathLayer(path, CK_LAYER_RELU, "relu2"));
  PetscCall(CkPathDropout(path, "dropout", dropout));
  PetscCall(CkPathConv(path, "conv2", units, 3, 1));
  if (changes) PetscCall(CkPathConv(&skip, "convShortcut", units, 1, stride));
  PetscCall(CkPathJoin(path, CK_LAYER_ADD, "add", skip.at));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Build(CkNet net, CkShape input, PetscInt classes, const CkZooChoices *c)
{
  const PetscInt depth = c->depth ? c->depth : 16, widen = c->widen ? c->widen : 8;
  PetscInt       blocks;
  CkPath         path;

  PetscFunctionBeginUser;
  PetscCall(CkPathBlocks(net, depth, 6, 4, &blocks));
  PetscCall(CkNetSetInitialization(net, CK_INITIALIZATION_HE));
  PetscCall(CkPathBegin(&path, net, input));
  PetscCall(CkPathConv(&path, "conv1", 16, 3, 1));
  for (PetscInt stage = 0; stage < 3; ++stage)
    for (PetscInt i = 0; i < blocks; ++i) {
      PetscCall(CkPathPrefix(&path, "block%" PetscInt_FMT ".layer.%" PetscInt_FMT ".", stage + 1, i));
      PetscCall(AddBlock(&path, (16 << stage) * widen, stage > 0 && i == 0 ? 2 : 1, c->dropout));
    }
  PetscCall(CkPathPrefix(&path, "%s", ""));
  PetscCall(CkPathNorm(&path, "bn1"));
  PetscCall(CkPathLayer(&path, CK_LAYER_RELU, "relu"));
  PetscCall(CkPathClassify(&path, "fc", classes));
  PetscFunctionReturn(PETSC_SUCCESS);
}

const CkZooEntry CkZooWrn = {"wrn", CK_ZOO_DEPTH | CK_ZOO_WIDEN | CK_ZOO_DROPOUT, Build};
