#define LANES 4 /* 16 bytes: SSE2, NEON */
#define OUTER_ROWS 12
#define LANES_TARGET
#define LANES_NAME "portable"
#define LANES_TABLE CkFusedPortable
#include "kernels_body.h"
