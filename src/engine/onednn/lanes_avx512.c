#if defined(__x86_64__)
#define LANES 16
#define LANES_WIDTH 6 /* 24 accumulators of 32 registers */
#define LANES_TARGET __attribute__((target("avx512f,avx512dq,avx512bw,avx512vl")))
#define LANES_NAME "avx512"
#define LANES_TABLE CkLanesAVX512
#include "lanes_kernels.h"
#endif
