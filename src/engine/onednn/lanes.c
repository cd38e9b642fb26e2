#include "lanes.h"
#include <oneapi/dnnl/dnnl.h>

#if defined(__x86_64__)
static PetscBool Allows(dnnl_cpu_isa_t limit, dnnl_cpu_isa_t isa)
{
  return (PetscBool)(((unsigned)limit & (unsigned)isa) == (unsigned)isa);
}
#endif

const CkLanes *CkLanesGet(void)
{
#if defined(__x86_64__)
  const dnnl_cpu_isa_t isa = dnnl_get_effective_cpu_isa();

  if (Allows(isa, dnnl_cpu_isa_avx512_core)) return &CkLanesAVX512;
  if (Allows(isa, dnnl_cpu_isa_avx2) && __builtin_cpu_supports("fma")) return &CkLanesAVX2;
#endif
  return &CkLanesPortable;
}
