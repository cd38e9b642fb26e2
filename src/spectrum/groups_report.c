#include "spectrumimpl.h"
#include <float.h>
#include <stdlib.h>
#include <string.h>

/* groups_report.c: the table of parts of D, and what the result file has of them. */

enum { SHOWN = 60 }; /* parts of a table: of more, those with the largest shares */

/* The rank that means something at this dimension (decision 12). */
static PetscInt Rank(const CkSpectrumStatistics *t)
{
  return (double)t->dimension * FLT_EPSILON > 0.01 ? t->rank_gram32 : t->rank_float32;
}

static PetscErrorCode PartRow(CkTable table, const CkSpectrumGroup *group)
{
  const CkSpectrumStatistics *t = &group->statistics;

  PetscFunctionBeginUser;
  if (!group->values) PetscCall(CkTableRow(table, group->name, "", "%10d", 0));
  else
    PetscCall(CkTableRow(
      table, group->name, "",
      "%10" PetscInt_FMT " %9" PetscInt_FMT " %8.3f%% %11.4g %11.4g %7" PetscInt_FMT " %7" PetscInt_FMT " %9.4g",
      t->samples, t->dimension, 100 * group->share, t->trace, t->lambda_max, Rank(t), t->rank_1e3, t->stable_rank));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static int Descending(const void *a, const void *b)
{
  const double x = *(const double *)a, y = *(const double *)b;

  return (x < y) - (x > y);
}

/* The share from which on a part is shown. */
static PetscErrorCode Least(const CkGroups *g, double *share)
{
  double *shares;

  PetscFunctionBeginUser;
  *share = -1;
  if (g->n <= SHOWN) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(PetscMalloc1(g->n, &shares));
  for (PetscInt i = 0; i < g->n; ++i) shares[i] = g->list[i].share;
  qsort(shares, (size_t)g->n, sizeof(*shares), Descending);
  *share = shares[SHOWN - 1];
  PetscCall(PetscFree(shares));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkGroupsView(CkSpectrum s)
{
  const CkGroups *g = &s->groups;
  double          least;
  char            title[128];
  CkTable         table;

  PetscFunctionBeginUser;
  PetscCall(Least(g, &least));
  PetscCall(PetscSNPrintf(title, sizeof(title), "Parts of D by %s%s", CkGroupKindName(g->kind),
                          least >= 0 ? ", those with the largest shares" : ""));
  PetscCall(CkTableCreate(s->comm, title, &table));
  PetscCall(CkTableRow(table, "part", "", "%10s %9s %9s %11s %11s %7s %7s %9s", "samples", "weights",
                       g->kind == CK_GROUP_CLASS ? "p tr/tr D" : "of tr D", "trace", "lambda_max", "rank", ">1e-3",
                       "tr/l_max"));
  for (PetscInt i = 0; i < g->n; ++i) {
    if (g->list[i].share >= least) PetscCall(PartRow(table, &g->list[i]));
  }
  PetscCall(CkTableDestroy(&table));
  if (g->subspaces.n > 0) PetscCall(CkSubspacesView(s->comm, &g->subspaces, "Leading eigenspaces of the parts"));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* "/groups/" and a name without what HDF5 takes for a folder; a number is added where two would be the same. */
static PetscErrorCode Path(CkFile file, const char name[], PetscInt number, char path[], size_t room)
{
  PetscBool exists;
  size_t    length;

  PetscFunctionBeginUser;
  PetscCall(PetscSNPrintf(path, room, "/groups/%s", name));
  for (char *slash = strchr(path + strlen("/groups/"), '/'); slash; slash = strchr(slash, '/')) *slash = '_';
  if (strcmp(path, "/groups/.") == 0 || strcmp(path, "/groups/") == 0) PetscCall(PetscStrlcat(path, "_", room));
  PetscCall(CkFileExists(file, path, &exists));
  PetscCall(PetscStrlen(path, &length));
  if (exists) PetscCall(PetscSNPrintf(path + length, room - length, "_%" PetscInt_FMT, number));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode WritePart(CkFile file, const CkSpectrumGroup *group, PetscInt number)
{
  const PetscInt64 shape[] = {group->statistics.n};
  char             path[200], values[216];

  PetscFunctionBeginUser;
  PetscCall(Path(file, group->name, number, path, sizeof(path)));
  PetscCall(CkFileCreateGroup(file, path));
  PetscCall(CkFileWriteString(file, path, "name", group->name));
  PetscCall(CkFileWriteInt(file, path, "number", number));
  PetscCall(CkFileWriteReal(file, path, "share", group->share));
  PetscCall(CkFileWriteReal(file, path, "weight", group->weight));
  PetscCall(CkFileWriteInt(file, path, "dimension", group->statistics.dimension));
  PetscCall(CkFileWriteInt(file, path, "samples", group->statistics.samples));
  if (!group->values) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(CkSpectrumWriteStatistics(file, path, &group->statistics));
  PetscCall(PetscSNPrintf(values, sizeof(values), "%s/eigenvalues", path));
  PetscCall(CkFileWriteAll(file, values, CK_F64, 1, shape, group->values, "1",
                           "eigenvalues of this part, descending: all that can be non-zero"));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkGroupsWrite(CkSpectrum s, CkFile file)
{
  PetscFunctionBeginUser;
  PetscCall(CkFileCreateGroup(file, "/groups"));
  PetscCall(CkFileWriteString(file, "/groups", "kind", CkGroupKindName(s->groups.kind)));
  PetscCall(CkFileWriteInt(file, "/groups", "count", s->groups.n));
  for (PetscInt i = 0; i < s->groups.n; ++i) PetscCall(WritePart(file, &s->groups.list[i], i));
  if (s->groups.subspaces.n > 0) PetscCall(CkSubspacesWrite(&s->groups.subspaces, file));
  PetscFunctionReturn(PETSC_SUCCESS);
}
