#pragma once
#include "netimpl.h"

/*
  zoo.h: built-in nets. One file zoo_<family>.c with a builder and its entries, one line an entry in zoo.c.
*/
#define CK_MAX_WIDTHS 32

/* What the -net_* keys choose. */
typedef struct {
  PetscInt    nwidths, widths[CK_MAX_WIDTHS];
  CkLayerType activation;
  PetscBool   batchnorm, bias;
  double      dropout;
  PetscInt    depth, widen, growth; /* 0: the net's own */
  PetscBool   projection, preactivation, bottleneck;
  double      compression;
} CkZooChoices;

typedef enum {
  CK_ZOO_WIDTHS = 1,
  CK_ZOO_ACTIVATION = 2,
  CK_ZOO_BATCHNORM = 4,
  CK_ZOO_BIAS = 8,
  CK_ZOO_DROPOUT = 16,
  CK_ZOO_DEPTH = 32,
  CK_ZOO_WIDEN = 64,
  CK_ZOO_GROWTH = 128,
  CK_ZOO_SHORTCUT = 256,
  CK_ZOO_PREACTIVATION = 512,
  CK_ZOO_BOTTLENECK = 1024,
  CK_ZOO_COMPRESSION = 2048
} CkZooKey;

typedef struct {
  const char *name;
  int         keys; /* CkZooKey flags this net heeds; giving another one is a user error */
  PetscErrorCode (*build)(CkNet net, CkShape input, PetscInt classes, const CkZooChoices *choices);
} CkZooEntry;

extern const CkZooEntry CkZooMlp, CkZooLogistic, CkZooLenet, CkZooSmallLenet, CkZooTinyLenet, CkZooSmallFc, CkZooTinyFc,
  CkZooAllcnn, CkZooSmallAllcnn, CkZooResnet, CkZooWrn, CkZooDensenet;

#define CK_BATCHNORM_EPSILON 1e-5 /* PyTorch's default */

/* zoo_chain.c: a net whose layers form a chain; layers are numbered by kind as they come: conv1, bn1, fc1, ... */
typedef struct {
  CkNet    net;
  PetscInt last; /* layer number */
  PetscInt counts[CK_LAYER_COUNT];
} CkChain;

PetscErrorCode CkChainBegin(CkChain *chain, CkNet net, CkShape input);
PetscErrorCode CkChainDense(CkChain *chain, PetscInt units, PetscBool bias); /* flattens first where needed */
PetscErrorCode CkChainConv(CkChain *chain, PetscInt units, PetscInt kernel, PetscInt stride, PetscInt padding);
PetscErrorCode CkChainPool(CkChain *chain, CkLayerType type, PetscInt kernel);
PetscErrorCode CkChainBatchNorm(CkChain *chain);
PetscErrorCode CkChainActivation(CkChain *chain, CkLayerType type);
PetscErrorCode CkChainDropout(CkChain *chain, double rate); /* nothing at rate 0 */

/* zoo_path.c: a net with branches. A path is the layer whose output comes next; layers are named prefix + name. */
typedef struct {
  CkNet    net;
  PetscInt at;
  char     prefix[96];
} CkPath;

/* User error unless height and width can be halved twice. */
PetscErrorCode CkPathBegin(CkPath *path, CkNet net, CkShape input);
PetscErrorCode CkPathPrefix(CkPath *path, const char format[], ...) PETSC_ATTRIBUTE_FORMAT(2, 3);
PetscErrorCode CkPathConv(CkPath *path, const char name[], PetscInt units, PetscInt kernel,
                          PetscInt stride); /* no bias; padding kernel/2 */
PetscErrorCode CkPathNorm(CkPath *path, const char name[]);
PetscErrorCode CkPathLayer(CkPath *path, CkLayerType type, const char name[]); /* one without attributes */
PetscErrorCode CkPathDropout(CkPath *path, const char name[], double rate);    /* nothing at rate 0 */
/* add, or concat with the channels of `other` in front */
PetscErrorCode CkPathJoin(CkPath *path, CkLayerType type, const char name[], PetscInt other);
PetscErrorCode CkPathClassify(CkPath *path, const char name[], PetscInt classes); /* average of the image, dense */
PetscInt       CkPathChannels(const CkPath *path);
/* Blocks of a net whose depth is blocks*each + rest; user error for another depth. */
PetscErrorCode CkPathBlocks(CkNet net, PetscInt depth, PetscInt each, PetscInt rest, PetscInt *blocks);
