#include "zoo.h"
#include <stdio.h>

/*
  Residual nets for CIFAR (He et al., arXiv:1512.03385, section 4.2, and arXiv:1603.05027): a 3x3 convolution, three
  stages of n blocks with 16, 32, 64 channels (bottlenecks: 4 times as many at their ends), the second and third begun
  with stride 2, average pool, dense layer. No convolution has a bias. Names are torchvision's: layer1.0.conv1, ...,
  layer2.0.downsample.0, fc; the last norm of a pre-activated net is "bn".
  In a pre-activated net a block that changes the shape has its first norm and ReLU before the branch, as the authors'
  program has it; a bottleneck's stride is that of its 3x3 convolution.
*/
typedef struct {
  const CkZooChoices *choices;
  PetscInt            width, units, stride; /* of inner convolutions; of the block's output */
} Block;

static PetscErrorCode NormRelu(CkPath *path, int number, PetscBool relu)
{
  char norm[16], activation[16];

  PetscFunctionBeginUser;
  snprintf(norm, sizeof(norm), "bn%d", number);
  snprintf(activation, sizeof(activation), "relu%d", number);
  PetscCall(CkPathNorm(path, norm));
  if (relu) PetscCall(CkPathLayer(path, CK_LAYER_RELU, activation));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The block's convolutions with their norms; activated: the output of the first norm and ReLU of a pre-activated one.
 */
static PetscErrorCode Branch(CkPath *path, const Block *b, PetscInt *activated)
{
  const PetscBool pre = b->choices->preactivation, bottleneck = b->choices->bottleneck;
  const int       last = bottleneck ? 3 : 2, strided = bottleneck ? 2 : 1;

  PetscFunctionBeginUser;
  for (int i = 1; i <= last; ++i) {
    char name[16];

    if (pre) PetscCall(NormRelu(path, i, PETSC_TRUE));
    if (i == 1) *activated = path->at;
    snprintf(name, sizeof(name), "conv%d", i);
    PetscCall(CkPathConv(path, name, i == last ? b->units : b->width, bottleneck && i != 2 ? 1 : 3,
                         i == strided ? b->stride : 1));
    if (!pre) PetscCall(NormRelu(path, i, (PetscBool)(i < last)));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* From layer *at to the block's shape. */
static PetscErrorCode Shortcut(const CkPath *block, const Block *b, PetscInt *at)
{
  const CkLayerAttributes a = {.units = b->units, .stride = {b->stride, b->stride}};
  CkPath                  path = *block;
  char                    name[128];

  PetscFunctionBeginUser;
  path.at = *at;
  if (b->choices->projection) {
    PetscCall(CkPathConv(&path, "downsample.0", b->units, 1, b->stride));
    if (!b->choices->preactivation) PetscCall(CkPathNorm(&path, "downsample.1"));
    *at = path.at;
  } else {
    PetscCall(PetscSNPrintf(name, sizeof(name), "%sdownsample", path.prefix));
    PetscCall(CkNetAddLayer(path.net, CK_LAYER_SUBSAMPLE, name, 1, at, &a, at));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode AddBlock(CkPath *path, const Block *b)
{
  const PetscBool changes = (PetscBool)(b->stride != 1 || CkPathChannels(path) != b->units);
  PetscInt        skip = path->at, activated = skip;

  PetscFunctionBeginUser;
  PetscCall(Branch(path, b, &activated));
  if (changes && b->choices->preactivation) skip = activated;
  if (changes) PetscCall(Shortcut(path, b, &skip));
  PetscCall(CkPathJoin(path, CK_LAYER_ADD, "add", skip));
  if (!b->choices->preactivation) PetscCall(CkPathLayer(path, CK_LAYER_RELU, "relu"));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Build(CkNet net, CkShape input, PetscInt classes, const CkZooChoices *c)
{
  const PetscInt depth = c->depth ? c->depth : 20;
  PetscInt       blocks;
  CkPath         path;

  PetscFunctionBeginUser;
  PetscCall(CkPathBlocks(net, depth, c->bottleneck ? 9 : 6, 2, &blocks));
  PetscCall(CkNetSetInitialization(net, CK_INITIALIZATION_HE));
  PetscCall(CkPathBegin(&path, net, input));
  PetscCall(CkPathConv(&path, "conv1", 16, 3, 1));
  if (!c->preactivation) PetscCall(NormRelu(&path, 1, PETSC_TRUE));
  for (PetscInt stage = 0; stage < 3; ++stage)
    for (PetscInt i = 0; i < blocks; ++i) {
      const PetscInt width = 16 << stage;
      const Block    block = {c, width, c->bottleneck ? 4 * width : width, stage > 0 && i == 0 ? 2 : 1};

      PetscCall(CkPathPrefix(&path, "layer%" PetscInt_FMT ".%" PetscInt_FMT ".", stage + 1, i));
      PetscCall(AddBlock(&path, &block));
    }
  PetscCall(CkPathPrefix(&path, "%s", ""));
  if (c->preactivation) {
    PetscCall(CkPathNorm(&path, "bn"));
    PetscCall(CkPathLayer(&path, CK_LAYER_RELU, "relu"));
  }
  PetscCall(CkPathClassify(&path, "fc", classes));
  PetscFunctionReturn(PETSC_SUCCESS);
}

const CkZooEntry CkZooResnet = {"resnet", CK_ZOO_DEPTH | CK_ZOO_SHORTCUT | CK_ZOO_PREACTIVATION | CK_ZOO_BOTTLENECK,
                                Build};
