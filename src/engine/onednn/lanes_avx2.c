#if defined(__x86_64__)
#define LANES 8
#define LANES_WIDTH 3 /* 12 accumulators of 16 registers */
#define LANES_TARGET __attribute__((target("avx2,fma")))
#define LANES_NAME "avx2"
#define LANES_TABLE CkLanesAVX2
#include "lanes_kernels.h"
#endif
