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
} CkZooChoices;

typedef enum {
  CK_ZOO_WIDTHS = 1,
  CK_ZOO_ACTIVATION = 2,
  CK_ZOO_BATCHNORM = 4,
  CK_ZOO_BIAS = 8,
  CK_ZOO_DROPOUT = 16
} CkZooKey;

typedef struct {
  const char *name;
  int         keys; /* CkZooKey flags this net heeds; giving another one is a user error */
  PetscErrorCode (*build)(CkNet net, CkShape input, PetscInt classes, const CkZooChoices *choices);
} CkZooEntry;

extern const CkZooEntry CkZooMlp, CkZooLogistic, CkZooSmallLenet, CkZooSmallFc, CkZooTinyFc, CkZooSmallAllcnn;

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
