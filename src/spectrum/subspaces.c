#include "spectrumimpl.h"
#include <math.h>
#include <petscblaslapack.h>

/* subspaces.c: overlaps and principal angles of subspaces from the products of their orthonormal bases; theory.md,
   (H.6) and (H.7). */

enum { SHOWN = 20 }; /* columns of a table */

PetscErrorCode CkSubspacesCreate(PetscInt n, CkSubspaces *spaces)
{
  PetscFunctionBeginUser;
  *spaces = (CkSubspaces){.n = n};
  PetscCall(PetscCalloc1(n, &spaces->name));
  PetscCall(PetscCalloc1(n, &spaces->dimension));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkSubspacesDestroy(CkSubspaces *spaces)
{
  PetscFunctionBeginUser;
  PetscCall(PetscFree(spaces->name));
  PetscCall(PetscFree(spaces->dimension));
  PetscCall(PetscFree(spaces->overlap));
  PetscCall(PetscFree(spaces->angle));
  *spaces = (CkSubspaces){.n = 0};
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Singular values of the block of `products` [m x m] at (row, column), descending: [min(p, q)]. */
static PetscErrorCode Cosines(PetscInt m, const double products[], PetscInt row, PetscInt p, PetscInt column,
                              PetscInt q, double cosines[])
{
  const PetscBLASInt rows = (PetscBLASInt)p, columns = (PetscBLASInt)q, one = 1;
  const PetscBLASInt lwork = 5 * PetscMax(rows, columns) + 3 * PetscMin(rows, columns);
  PetscBLASInt       info;
  double            *block, *work;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc2((size_t)p * (size_t)q, &block, lwork, &work));
  for (PetscInt i = 0; i < p; ++i) {
    for (PetscInt j = 0; j < q; ++j) block[j * p + i] = products[(row + i) * m + column + j];
  }
  PetscCallBLAS("dgesvd", LAPACKgesvd_("N", "N", &rows, &columns, block, &rows, cosines, NULL, &one, NULL, &one, work,
                                       &lwork, &info));
  PetscCheck(info == 0, PETSC_COMM_SELF, PETSC_ERR_LIB, "dgesvd: info %d", (int)info);
  PetscCall(PetscFree2(block, work));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* One pair of subspaces. */
static PetscErrorCode Compare(CkSubspaces *spaces, PetscInt m, const double products[], const PetscInt start[],
                              PetscInt a, PetscInt b)
{
  const PetscInt k = PetscMin(spaces->dimension[a], spaces->dimension[b]);
  double        *cosines, sum = 0;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc1(PetscMax(1, k), &cosines));
  if (k > 0) PetscCall(Cosines(m, products, start[a], spaces->dimension[a], start[b], spaces->dimension[b], cosines));
  for (PetscInt i = 0; i < k; ++i) {
    const double angle = acos(PetscMin(1., cosines[i])) * 180 / PETSC_PI; /* of vectors orthonormal but for rounding */

    sum += cosines[i] * cosines[i];
    spaces->angle[(a * spaces->n + b) * spaces->most + i] = angle;
    spaces->angle[(b * spaces->n + a) * spaces->most + i] = angle;
  }
  spaces->overlap[a * spaces->n + b] = spaces->overlap[b * spaces->n + a] = k > 0 ? sum / (double)k : 0;
  PetscCall(PetscFree(cosines));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static double Orthogonality(const CkSubspaces *spaces, PetscInt m, const double products[], const double tolerance[],
                            const PetscInt start[])
{
  double worst = 0;

  for (PetscInt a = 0; a < spaces->n; ++a) {
    for (PetscInt i = start[a]; i < start[a] + spaces->dimension[a]; ++i) {
      for (PetscInt j = start[a]; j <= i; ++j) {
        const double error = fabs(products[i * m + j] - (i == j)) / sqrt(tolerance[i] * tolerance[j]);

        if (isnan(error) || error > worst) worst = error;
      }
    }
  }
  return worst;
}

PetscErrorCode CkSubspacesCompute(CkSubspaces *spaces, const double products[], const double tolerance[])
{
  const size_t pairs = (size_t)spaces->n * (size_t)spaces->n;
  PetscInt    *start, m = 0;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc1(spaces->n, &start));
  spaces->most = 1;
  for (PetscInt a = 0; a < spaces->n; ++a) {
    start[a] = m;
    m += spaces->dimension[a];
    spaces->most = PetscMax(spaces->most, spaces->dimension[a]);
  }
  PetscCall(PetscCalloc1(pairs, &spaces->overlap));
  PetscCall(PetscMalloc1(pairs * (size_t)spaces->most, &spaces->angle));
  for (size_t i = 0; i < pairs * (size_t)spaces->most; ++i) spaces->angle[i] = NAN;
  for (PetscInt a = 0; a < spaces->n; ++a) {
    for (PetscInt b = 0; b <= a; ++b) PetscCall(Compare(spaces, m, products, start, a, b));
  }
  spaces->orthogonality = Orthogonality(spaces, m, products, tolerance, start);
  PetscCall(PetscFree(start));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* A table of all pairs, or of the first ones; entries of width 7. */
static PetscErrorCode PairTable(MPI_Comm comm, const CkSubspaces *spaces, const char title[], const char format[],
                                const double entries[], PetscInt stride)
{
  const PetscInt columns = PetscMin(spaces->n, SHOWN);
  CkTable        table;

  PetscFunctionBeginUser;
  PetscCall(CkTableCreate(comm, title, &table));
  for (PetscInt a = 0; a < spaces->n; ++a) {
    char   text[192] = "";
    size_t used = 0;

    for (PetscInt b = 0; b < columns; ++b) {
      const double x = entries[(a * spaces->n + b) * stride];

      if (isnan(x)) PetscCall(PetscSNPrintf(text + used, sizeof(text) - used, "%7s", "-"));
      else PetscCall(PetscSNPrintf(text + used, sizeof(text) - used, format, x));
      PetscCall(PetscStrlen(text, &used));
    }
    PetscCall(CkTableRow(table, spaces->name[a], "", "%s", text));
  }
  PetscCall(CkTableDestroy(&table));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkSubspacesView(MPI_Comm comm, const CkSubspaces *spaces, const char what[])
{
  char title[128];

  PetscFunctionBeginUser;
  PetscCall(PetscSNPrintf(title, sizeof(title), "%s: overlap |U_a'U_b|_F^2 / k%s", what,
                          spaces->n > SHOWN ? ", first columns" : ""));
  PetscCall(PairTable(comm, spaces, title, "%7.3f", spaces->overlap, 1));
  PetscCall(PetscSNPrintf(title, sizeof(title), "%s: smallest principal angle, degrees", what));
  PetscCall(PairTable(comm, spaces, title, "%7.2f", spaces->angle, spaces->most));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkSubspacesWrite(const CkSubspaces *spaces, CkFile file)
{
  const PetscInt64 pairs[] = {spaces->n, spaces->n}, triples[] = {spaces->n, spaces->n, spaces->most};
  PetscInt64      *dimension;
  char            *names;
  size_t           room = 1;

  PetscFunctionBeginUser;
  for (PetscInt a = 0; a < spaces->n; ++a) room += sizeof(spaces->name[a]) + 1;
  PetscCall(PetscCalloc1(room, &names));
  PetscCall(PetscMalloc1(spaces->n, &dimension));
  for (PetscInt a = 0; a < spaces->n; ++a) {
    dimension[a] = spaces->dimension[a];
    if (a > 0) PetscCall(PetscStrlcat(names, "\n", room));
    PetscCall(PetscStrlcat(names, spaces->name[a], room));
  }
  PetscCall(CkFileCreateGroup(file, "/subspaces"));
  PetscCall(CkFileWriteString(file, "/subspaces", "names", names));
  PetscCall(CkFileWriteAll(file, "/subspaces/dimension", CK_I64, 1, pairs, dimension, "1", "vectors of each subspace"));
  PetscCall(CkFileWriteAll(file, "/subspaces/overlap", CK_F64, 2, pairs, spaces->overlap, "1",
                           "sum of squared cosines of the principal angles over the smaller dimension"));
  PetscCall(CkFileWriteAll(file, "/subspaces/angle", CK_F64, 3, triples, spaces->angle, "degree",
                           "principal angles of each pair, ascending; NaN behind the last"));
  PetscCall(PetscFree(dimension));
  PetscCall(PetscFree(names));
  PetscFunctionReturn(PETSC_SUCCESS);
}
