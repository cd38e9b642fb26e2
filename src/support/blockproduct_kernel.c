/*
  blockproduct_kernel.c: register blocks of a pair of panels, two vectors of rows times `WIDE` columns, compiled for
  each instruction set: a vector is a register there. Panels are packed already and the sums are in double precision: a
  BLAS would pack once more and need another pass to add (14% slower; docs/performance.md).
*/
#include "blockproduct_kernel.h"

enum { PANEL = CK_PRODUCT_PANEL };

#define DEFINE_KERNEL(name, attribute, type, bytes, WIDE)                                                              \
  attribute static void name(PetscInt terms, const void *rows, const void *cols, double *sum)                          \
  {                                                                                                                    \
    typedef type Vector __attribute__((vector_size(bytes)));                                                           \
    enum { LANES = (bytes) / sizeof(type), HIGH = 2 * LANES };                                                         \
                                                                                                                       \
    for (int col = 0; col < PANEL; col += (WIDE)) {                                                                    \
      for (int row = 0; row < PANEL; row += HIGH) {                                                                    \
        const type *a = (const type *)rows + row, *b = (const type *)cols + col;                                       \
        double     *to = sum + (size_t)col * PANEL + (size_t)row;                                                      \
        type        out[WIDE][HIGH] __attribute__((aligned(bytes)));                                                   \
        Vector      block[WIDE][2];                                                                                    \
                                                                                                                       \
        _Pragma("GCC unroll 8") for (int j = 0; j < (WIDE); ++j) block[j][0] = block[j][1] = (Vector){0};              \
        for (PetscInt w = 0; w < terms; ++w, a += PANEL, b += PANEL) {                                                 \
          const Vector low = *(const Vector *)a, high = *(const Vector *)(a + LANES);                                  \
                                                                                                                       \
          _Pragma("GCC unroll 8") for (int j = 0; j < (WIDE); ++j)                                                     \
          {                                                                                                            \
            block[j][0] += low * b[j];                                                                                 \
            block[j][1] += high * b[j];                                                                                \
          }                                                                                                            \
        }                                                                                                              \
        _Pragma("GCC unroll 8") for (int j = 0; j < (WIDE); ++j)                                                       \
        {                                                                                                              \
          *(Vector *)out[j] = block[j][0];                                                                             \
          *(Vector *)(out[j] + LANES) = block[j][1];                                                                   \
        }                                                                                                              \
        for (int j = 0; j < (WIDE); ++j)                                                                               \
          for (int i = 0; i < HIGH; ++i) to[j * PANEL + i] += (double)out[j][i];                                       \
      }                                                                                                                \
    }                                                                                                                  \
  }

DEFINE_KERNEL(FloatPortable, , float, 16, 4)
DEFINE_KERNEL(DoublePortable, , double, 16, 4)
#if defined(__x86_64__)
#define AVX2 __attribute__((target("avx2,fma")))
#define AVX512 __attribute__((target("avx512f")))
DEFINE_KERNEL(FloatAVX2, AVX2, float, 32, 4)
DEFINE_KERNEL(DoubleAVX2, AVX2, double, 32, 4)
DEFINE_KERNEL(FloatAVX512, AVX512, float, 64, 8)
DEFINE_KERNEL(DoubleAVX512, AVX512, double, 64, 8)
#endif

CkProductKernel CkProductKernelFind(CkPrecision precision)
{
  const PetscBool single = (PetscBool)(precision == CK_FLOAT32);

#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx512f")) return single ? FloatAVX512 : DoubleAVX512;
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return single ? FloatAVX2 : DoubleAVX2;
#endif
  return single ? FloatPortable : DoublePortable;
}
