/*
  lanes_kernels.h: the body of the kernels of lanes.h, compiled once for each instruction set by a file that defines
    LANES         packs are this many numbers wide: one register
    LANES_WIDTH   positions (or taps) in a register block; CK_LANES_UNITS * LANES_WIDTH accumulators must fit
    LANES_TARGET  attribute that selects the instruction set
    LANES_TABLE   name of the table
  and then includes this file and those below. No intrinsics: vector types of the compiler.
*/
#include "lanes.h"
#include <math.h>

typedef float   Pack __attribute__((vector_size(4 * LANES)));
typedef int32_t Mask __attribute__((vector_size(4 * LANES)));    /* all ones or all zeros a lane */
typedef double  Doubles __attribute__((vector_size(4 * LANES))); /* of half a pack */

#define KERNEL static LANES_TARGET
#define INLINE static inline __attribute__((always_inline)) LANES_TARGET
#define UNITS CK_LANES_UNITS

/* x stays in its register: gcc would rather load it again for each of its uses, and loads are the scarcer. */
#if defined(__x86_64__)
#define KEEP(x) __asm__("" : "+v"(x))
#else
#define KEEP(x) ((void)(x))
#endif

/* where mask is set x, else 0 */
#define WHERE(mask, x) ((Pack)((Mask)(x) & (mask)))
#define SELECT(mask, x, y) ((Pack)(((Mask)(x) & (mask)) | ((Mask)(y) & ~(mask))))

#include "lanes_linear.h"
#include "lanes_pointwise.h"
#include "lanes_pool.h"
#include "lanes_winograd.h"
#include "lanes_winograd_gradient.h"
#include "lanes_winograd_rows.h"

const CkLanes LANES_TABLE = {.name = LANES_NAME,
                             .lanes = LANES,
                             .product = Product,
                             .scatter = Scatter,
                             .outer = Outer,
                             .winograd_product = WinogradProduct,
                             .winograd_gradient = WinogradGradient,
                             .outer_pooled = OuterPooled,
                             .dot = Dot,
                             .dot_squares = DotSquares,
                             .unit_sums = UnitSums,
                             .scale = Scale,
                             .lane_sums = LaneSums,
                             .weighted_sums = WeightedSums,
                             .from_rows = FromRows,
                             .to_rows = ToRows,
                             .relu = Relu,
                             .relu_back = ReluBack,
                             .tanh = Tanh,
                             .sigmoid = Sigmoid,
                             .softplus = Softplus,
                             .multiply = Multiply,
                             .copy = Copy,
                             .max_pool = MaxPool,
                             .max_pool_affine = MaxPoolAffine,
                             .max_pool_back = MaxPoolBack,
                             .average_pool = AveragePool,
                             .average_pool_back = AveragePoolBack,
                             .frame = Frame,
                             .unframe = Unframe,
                             .affine = Affine,
                             .affine2 = Affine2,
                             .affine_pooled = AffinePooled,
                             .moments = Moments};
