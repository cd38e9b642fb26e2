#pragma once
#include <petscsys.h>
#include <stddef.h>
#include <stdint.h>

/* base.h: what every header of Clarkia may use. PETSc 3.18 lacks PETSC_SUCCESS; newer ones have it as an enum value. */
#if PETSC_VERSION_LT(3, 19, 0)
#define PETSC_SUCCESS ((PetscErrorCode)0)
#endif

#define CK_VERSION "0.1.0"

/* Precision of an array in memory: gradients may be handed over in either. */
typedef enum { CK_FLOAT32, CK_FLOAT64 } CkPrecision;

/* Shape of one sample or of one layer's output: channels, height, width; a flat vector of n numbers is {n, 1, 1}. */
typedef struct {
  PetscInt c, h, w;
} CkShape;

/* For messages: a NaN without the sign that a processor may give it ("nan", not "-nan"). */
static inline double CkPlainNan(double x)
{
  return x != x ? __builtin_fabs(x) : x;
}

/* For messages: "%d block%s". */
static inline const char *CkPlural(PetscInt64 count)
{
  return count == 1 ? "" : "s";
}

static inline PetscInt CkShapeSize(CkShape s)
{
  return s.c * s.h * s.w;
}
