#define LANES 4 /* 16 bytes: SSE2, NEON */
#define LANES_WIDTH 3
#define LANES_TARGET
#define LANES_NAME "portable"
#define LANES_TABLE CkLanesPortable
#include "lanes_kernels.h"
