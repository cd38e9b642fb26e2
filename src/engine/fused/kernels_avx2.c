#if defined(__x86_64__)
#define LANES 8
#define OUTER_ROWS 12 /* accumulators of 16 registers */
#define LANES_TARGET __attribute__((target("avx2,fma")))
#define LANES_NAME "avx2"
#define LANES_TABLE CkFusedAVX2
#include "kernels_body.h"
#endif
