/* columns.c: the vectors of a pass, packed for contractions with every sample's gradient. */
#include "lossimpl.h"
#include <clarkia/progress.h>
#include <math.h>

/* Vectors that are made whole at a time: one for each rank of the node to pack, within reason. */
enum { MOST_AT_ONCE = 8 };

/* What every rank must know of a column; by the rank that packed it. */
typedef struct {
  double norm, value; /* value: of entry bad */
  double bad;         /* -1: all are finite */
} Note;

static size_t RoomForColumns(size_t bytes)
{
  return (bytes + 63) / 64 * 64;
}

/* |v|, in one order on every rank: as bounds want it, accurate to d eps. Not finite if an entry is not. */
static double ColumnNorm(size_t d, const double v[])
{
  double      part[8] = {0}, square = 0;
  long double wide = 0;
  size_t      i = 0;

  for (; i + 8 <= d; i += 8)
    for (size_t k = 0; k < 8; ++k) part[k] += v[i + k] * v[i + k];
  for (; i < d; ++i) square += v[i] * v[i];
  for (size_t k = 0; k < 8; ++k) square += part[k];
  if (isfinite(square)) return sqrt(square);
  for (i = 0; i < d; ++i) wide += (long double)v[i] * v[i]; /* whose squares alone leave the range */
  return (double)sqrtl(wide);
}

static Note Inspect(PetscInt d, const double v[])
{
  const double   norm = ColumnNorm((size_t)d, v);
  const PetscInt bad = isfinite(norm) ? -1 : CkFirstNonFinite((size_t)d, v);

  return (Note){.norm = norm, .bad = (double)bad, .value = bad >= 0 ? v[bad] : 0};
}

/* Whole vectors, some at a time, of which each rank of the node packs its own. */
static PetscErrorCode PackColumns(CkPass pass, PetscInt m, const Vec V[], Note notes[])
{
  CkLoss         loss = pass->loss;
  CkNodeArray   *to = &pass->columns;
  const PetscInt some = PetscMin(PetscMin(m, (PetscInt)to->parts), MOST_AT_ONCE);
  const size_t   d = (size_t)loss->d;

  PetscFunctionBeginUser;
  PetscCall(CkNodeArrayReserve(loss->comm, (size_t)some * d * sizeof(double), "vectors of a product", &pass->gathered));
  /* nobody reads the columns of an earlier sweep any more: gathering waits for everybody on the node */
  if (!pass->gathered.shared) PetscCall(CkNodeArraySync(to));
  for (PetscInt first = 0; first < m; first += some) {
    const PetscInt n = PetscMin(some, m - first);

    PetscCall(PetscLogEventBegin(CK_Reduce, 0, 0, 0, 0));
    PetscCall(CkWholeGather(loss, n, V + first, &pass->gathered));
    PetscCall(PetscLogEventEnd(CK_Reduce, 0, 0, 0, 0));
    for (PetscInt j = first; j < first + n; ++j) {
      const double *v = (const double *)pass->gathered.bytes + (size_t)(j - first) * d;

      if (j % to->parts != to->part) continue;
      PetscCall(PetscLogEventBegin(CK_Columns, 0, 0, 0, 0));
      notes[j] = Inspect(loss->d, v);
      PetscCall(PetscLogEventEnd(CK_Columns, 0, 0, 0, 0));
      if (notes[j].bad < 0) PetscCall(loss->type->packcolumn(loss, j, v));
    }
  }
  PetscCall(CkNodeArraySync(to));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkPassSetColumns(CkPass pass, PetscInt m, const Vec V[])
{
  CkLoss loss = pass->loss;
  Note  *notes;
  size_t bytes;

  PetscFunctionBeginUser;
  PetscCheck(pass->active && pass->now.round < 0, loss->comm, PETSC_ERR_ORDER, "Columns come before the first tile");
  PetscCall(loss->type->columnbytes(loss, m, &bytes));
  bytes = RoomForColumns(bytes);
  PetscCall(
    CkNodeArrayReserve(loss->comm, bytes + (size_t)m * sizeof(Note), "packed vectors of a product", &pass->columns));
  notes = (Note *)(pass->columns.bytes + bytes);
  PetscCall(loss->type->usecolumns(loss, m, pass->columns.bytes));
  PetscCall(PackColumns(pass, m, V, notes));
  PetscCall(CkGrow((size_t)m, &pass->norms_room, &pass->norms));
  for (PetscInt j = 0; j < m; ++j) {
    PetscCheck(notes[j].bad < 0, loss->comm, PETSC_ERR_FP, "Entry %" PetscInt_FMT " of column %" PetscInt_FMT " is %g",
               (PetscInt)notes[j].bad, j, CkPlainNan(notes[j].value));
    pass->norms[j] = notes[j].norm;
  }
  pass->m = m;
  PetscFunctionReturn(PETSC_SUCCESS);
}
