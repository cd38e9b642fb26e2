#if defined(__x86_64__)
#define LANES 16
#define OUTER_ROWS 24 /* accumulators of 32 registers */
#define LANES_TARGET __attribute__((target("avx512f,avx512dq,avx512bw,avx512vl")))
#define LANES_NAME "avx512"
#define LANES_TABLE CkFusedAVX512
#include "kernels_body.h"
#endif
