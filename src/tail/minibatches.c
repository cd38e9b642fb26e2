#include "minibatches.h"
#include <clarkia/random.h>

PetscErrorCode CkMinibatchesCreate(PetscInt N, PetscInt B, uint64_t seed, PetscBool replacement, CkMinibatches *m)
{
  PetscFunctionBeginUser;
  PetscCheck(B >= 1 && (replacement || B <= N), PETSC_COMM_SELF, PETSC_ERR_ARG_OUTOFRANGE,
             "Minibatches of %" PetscInt_FMT " out of %" PetscInt_FMT, B, N);
  *m = (CkMinibatches){.N = N, .B = B, .seed = seed, .replacement = replacement};
  if (replacement) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(PetscMalloc2(N, &m->order, B, &m->swap));
  for (PetscInt k = 0; k < N; ++k) m->order[k] = k;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkMinibatchesDestroy(CkMinibatches *m)
{
  PetscFunctionBeginUser;
  PetscCall(PetscFree2(m->order, m->swap));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static void Exchange(PetscInt *a, PetscInt *b)
{
  const PetscInt t = *a;

  *a = *b;
  *b = t;
}

/* Without replacement: the first B exchanges of a shuffle, which are taken back. */
PetscErrorCode CkMinibatchesDraw(CkMinibatches *m, PetscInt b, PetscInt samples[])
{
  const CkRandom stream = {
    .seed = m->seed, .purpose = CK_RANDOM_PROBE, .replica = m->replacement ? 8 : 9, .step = (uint64_t)b};

  PetscFunctionBeginUser;
  for (PetscInt i = 0; i < m->B; ++i) {
    const PetscInt left = m->replacement ? m->N : m->N - i;
    double         u;
    PetscInt       chosen;

    CkRandomUniforms(&stream, (uint64_t)i, 1, &u);
    chosen = PetscMin((PetscInt)(u * (double)left), left - 1);
    samples[i] = chosen;
    if (m->replacement) continue;
    m->swap[i] = i + chosen;
    Exchange(m->order + i, m->order + m->swap[i]);
    samples[i] = m->order[i];
  }
  for (PetscInt i = m->B - 1; i >= 0 && !m->replacement; --i) Exchange(m->order + i, m->order + m->swap[i]);
  PetscFunctionReturn(PETSC_SUCCESS);
}
