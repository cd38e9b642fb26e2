/* memory.c: one block of memory for all arrays of fused training. */
#include "fusedimpl.h"
#include <stdlib.h>

enum { ALIGNMENT = 64 };

/* The next array of a block that begins at `base`; NULL counts only. */
static void *Take(char *base, size_t *used, size_t count, size_t size)
{
  const size_t at = *used;

  *used += (count * size + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
  return base ? base + at : NULL;
}

#define FLOATS(n) (float *)Take(base, &used, n, sizeof(float))
#define DOUBLES(n) (double *)Take(base, &used, n, sizeof(double))

static size_t PlaceStage(CkFused f, CkFusedStage *s, char *base, size_t used)
{
  float *state = base ? f->w + s->weight : NULL;

  s->copy = NULL;
  if (s->by_inputs) s->copy = FLOATS(s->in * s->ldo);
  else if (s != f->stages) s->copy = FLOATS(s->out * s->ldi);
  s->forward = s->by_inputs ? s->copy : state;
  s->backward = s->by_inputs ? state : s->copy;
  s->before = FLOATS(f->rows * s->ldo);
  s->after = s->norm ? FLOATS(f->rows * s->ldo) : s->before;
  s->delta = FLOATS(f->rows * s->ldo);
  s->mean = DOUBLES(s->ldo);
  s->variance = DOUBLES(s->ldo);
  s->inverse = DOUBLES(s->ldo);
  s->first = DOUBLES(s->ldo);
  s->second = DOUBLES(s->ldo);
  s->factor = FLOATS(s->ldo);
  s->add = FLOATS(s->ldo);
  s->slope = FLOATS(s->ldo);
  return used;
}

static size_t Place(CkFused f, char *base)
{
  const size_t lanes = f->kernels->lanes;
  size_t       used = 0;

  f->features = FLOATS((f->N + CK_FUSED_ROWS) * f->stages[0].ldi); /* the last group of rows may reach beyond */
  f->labels = (int32_t *)Take(base, &used, f->N + CK_FUSED_ROWS, sizeof(int32_t));
  f->x = DOUBLES(f->length);
  f->v = DOUBLES(f->length);
  f->g = DOUBLES(f->length);
  f->total = DOUBLES(f->length);
  f->w = FLOATS(f->length);
  f->samples = FLOATS(f->rows * f->stages[0].ldi);
  f->chosen = (int32_t *)Take(base, &used, f->rows, sizeof(int32_t));
  f->values = DOUBLES(f->rows);
  f->head_work = DOUBLES(f->classes * lanes);
  for (PetscInt i = 0; i < f->nstages; ++i) used = PlaceStage(f, &f->stages[i], base, used);
  return used;
}

double CkFusedPlan(CkFused f)
{
  return (double)Place(f, NULL);
}

PetscErrorCode CkFusedAllocate(CkFused f)
{
  const size_t bytes = Place(f, NULL);
  char        *start;

  PetscFunctionBeginUser;
  f->memory = calloc(1, bytes + ALIGNMENT); /* the places that fill up the packs stay zero */
  PetscCheck(f->memory, PETSC_COMM_SELF, PETSC_ERR_MEM, "No memory for %zu bytes of fused training", bytes);
  start = (char *)f->memory + (ALIGNMENT - (uintptr_t)f->memory % ALIGNMENT) % ALIGNMENT;
  (void)Place(f, start);
  PetscFunctionReturn(PETSC_SUCCESS);
}
