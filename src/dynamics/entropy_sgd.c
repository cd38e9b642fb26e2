/* entropy_sgd.c: descent on the local entropy (Chaudhari et al., arXiv:1611.01838); docs/theory.md, eqs. (Y.1), (Y.4).
 */
#include "localentropy.h"

const CkDynamicsType CkDynamicsEntropySGD = {.name = "entropy_sgd",
                                             .keys = CK_LOCAL_ENTROPY_KEYS,
                                             .sampling = CK_SAMPLING_DRAWN,
                                             .vectors = 5,
                                             .setfromoptions = CkLocalEntropySetFromOptions,
                                             .setup = CkLocalEntropySetUp,
                                             .step = CkLocalEntropyStep,
                                             .view = CkLocalEntropyView,
                                             .destroy = CkLocalEntropyDestroy,
                                             .keep = CkLocalEntropyKeep};
