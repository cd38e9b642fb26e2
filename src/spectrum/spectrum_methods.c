#include "spectrumimpl.h"

/* The routes: one line each. */
static const CkSpectrumRoute *const routes[] = {&ck_spectrum_dense, &ck_spectrum_gram, &ck_spectrum_krylov,
                                                &ck_spectrum_density};

const CkSpectrumRoute *CkSpectrumRouteFind(CkSpectrumMethod method)
{
  for (size_t i = 0; i < PETSC_STATIC_ARRAY_LENGTH(routes); ++i) {
    if (routes[i]->method == method) return routes[i];
  }
  return NULL;
}

const char *CkSpectrumMethodName(CkSpectrumMethod method)
{
  const CkSpectrumRoute *route = CkSpectrumRouteFind(method);

  return route ? route->name : "auto";
}

PetscBool CkSpectrumMatrixFree(CkSpectrum s)
{
  return (PetscBool)(CkSpectrumRouteFind(s->method)->solver != NULL);
}

const char *CkSpectrumSolverName(CkSpectrum s)
{
  if (CkSpectrumMatrixFree(s)) return CkSpectrumRouteFind(s->method)->solver;
  return s->solver == CK_SOLVER_ELPA ? "elpa" : "scalapack";
}
