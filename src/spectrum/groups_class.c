#include "spectrumimpl.h"
#include <clarkia/error.h>
#include <math.h>
#include <petscblaslapack.h>

/* groups_class.c: within and between classes, from the Gram matrix K alone; docs/theory.md, (H.2) to (H.7). */

enum { WITHIN, BETWEEN, FIRST_CLASS };                    /* parts */
enum { WHOLE, WITHIN_SPACE, BETWEEN_SPACE, FIRST_SPACE }; /* subspaces */

typedef struct {
  CkSpectrum s;
  PetscInt   m;         /* vectors so far */
  double    *W;         /* [room x N] unit vectors w of sample space, each to Gc'w / sqrt(N value) of weight space */
  double    *value;     /* [room] w'K w */
  double    *tolerance; /* [room] */
  double     rounding;  /* of a product w'K w */
} Classes;

/* Adds the leading eigenvectors of A [n x n] as subspace number `space`; index [n]: which samples its rows are, NULL:
   all. */
static PetscErrorCode AddLeading(Classes *c, PetscInt space, CkBlockMatrix A, const PetscInt index[], PetscInt rank)
{
  const PetscInt most = PetscMin(c->s->groups.vectors, rank), N = c->s->N;
  PetscInt       n;
  double         floor, trace, *lambda, *U;

  PetscFunctionBeginUser;
  PetscCall(CkBlockMatrixGetSize(A, &n));
  PetscCall(CkBlockMatrixTrace(A, &trace));
  if (most < 1 || trace <= 0) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(PetscMalloc1(most, &lambda));
  PetscCall(CkSpectrumLeading(A, c->s->comm, most, lambda, &U));
  if (space == WHOLE) c->rounding = CkSpectrumRounding(N, lambda[0]);
  floor = CkSpectrumVectorFloor(c->s, n, lambda[0]);
  for (PetscInt j = 0; j < most && lambda[j] > floor; ++j) {
    double *w = c->W + (size_t)c->m * (size_t)N;

    for (PetscInt i = 0; i < n; ++i) w[index ? index[i] : i] = U[(size_t)j * (size_t)n + (size_t)i];
    c->value[c->m] = lambda[j];
    c->tolerance[c->m++] = c->rounding / lambda[j];
    ++c->s->groups.subspaces.dimension[space];
  }
  PetscCall(PetscFree(lambda));
  PetscCall(PetscFree(U));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Unit vectors 1_c / sqrt(N_c) of the classes that have samples, [present x N] (zero before). */
static PetscInt Indicators(CkSpectrum s, double E[])
{
  PetscInt present = 0;

  for (PetscInt a = 0; a < s->groups.classes; ++a) {
    if (s->groups.members[a] == 0) continue;
    for (PetscInt k = 0; k < s->N; ++k) {
      if (s->groups.labels[k] == a)
        E[(size_t)present * (size_t)s->N + (size_t)k] = 1 / sqrt((double)s->groups.members[a]);
    }
    ++present;
  }
  return present;
}

/* A B' for A [m x N], B [n x N]. */
static PetscErrorCode Products(PetscInt m, const double A[], PetscInt n, const double B[], PetscInt N, double out[])
{
  const double one = 1, zero = 0;
  PetscBLASInt rows, columns, terms;

  PetscFunctionBeginUser;
  PetscCall(PetscBLASIntCast(m, &rows));
  PetscCall(PetscBLASIntCast(n, &columns));
  PetscCall(PetscBLASIntCast(N, &terms));
  if (m > 0 && n > 0)
    PetscCallBLAS("dgemm",
                  BLASgemm_("T", "N", &columns, &rows, &terms, &one, B, &terms, A, &terms, &zero, out, &columns));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Eigenpairs of a small symmetric matrix [n x n], descending; row j of M becomes eigenvector j. */
static PetscErrorCode SmallEigen(PetscInt n, double M[], double values[])
{
  const PetscBLASInt order = (PetscBLASInt)n, lwork = 3 * order + 1;
  PetscBLASInt       info;
  double            *work, *copy, *ascending;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc3(lwork, &work, (size_t)n * (size_t)n, &copy, n, &ascending));
  PetscCall(PetscArraycpy(copy, M, (size_t)n * (size_t)n));
  PetscCallBLAS("dsyev", LAPACKsyev_("V", "L", &order, copy, &order, ascending, work, &lwork, &info));
  PetscCheck(info == 0, PETSC_COMM_SELF, PETSC_ERR_LIB, "dsyev: info %d", (int)info);
  for (PetscInt j = 0; j < n; ++j) {
    values[j] = ascending[n - 1 - j];
    PetscCall(PetscArraycpy(M + j * n, copy + (n - 1 - j) * n, n));
  }
  PetscCall(PetscFree3(work, copy, ascending));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The between-class eigenvectors as subspace: all that are not zero, w = sum over classes of coefficients times E. */
static void AddBetween(Classes *c, PetscInt present, PetscInt rank, const double coefficients[], const double values[],
                       const double E[])
{
  const size_t N = (size_t)c->s->N;
  const double floor = CkSpectrumVectorFloor(c->s, c->s->N, values[0]);

  for (PetscInt j = 0; j < rank && values[j] > floor && c->s->groups.vectors > 0; ++j) {
    double *w = c->W + (size_t)c->m * N;

    for (PetscInt a = 0; a < present; ++a) {
      for (size_t k = 0; k < N; ++k) w[k] += coefficients[j * present + a] * E[(size_t)a * N + k];
    }
    c->value[c->m] = values[j];
    c->tolerance[c->m++] = c->rounding / values[j];
    ++c->s->groups.subspaces.dimension[BETWEEN_SPACE];
  }
}

/* D_between has the non-zero eigenvalues of E K E', one row and column a class. */
static PetscErrorCode SolveBetween(Classes *c, CkBlockMatrix K)
{
  CkSpectrum   s = c->s;
  const size_t N = (size_t)s->N, C = (size_t)s->groups.classes;
  CkGroupSizes sizes = {.dimension = s->d};
  PetscBool    centred;
  double      *E, *KE, *M, *values, trace = 0;

  PetscFunctionBeginUser;
  PetscCall(CkDiffusionGetCentred(s->D, &centred));
  PetscCall(PetscCalloc4(C * N, &E, C * N, &KE, C * C, &M, C, &values));
  sizes.samples = Indicators(s, E);
  sizes.rank = PetscMin(s->d, sizes.samples - (centred ? 1 : 0));
  PetscCall(CkBlockMatrixMultiply(K, sizes.samples, E, KE));
  PetscCall(Products(sizes.samples, E, sizes.samples, KE, s->N, M));
  for (PetscInt a = 0; a < sizes.samples; ++a) trace += M[a * sizes.samples + a];
  PetscCall(SmallEigen(sizes.samples, M, values));
  PetscCall(PetscStrncpy(s->groups.list[BETWEEN].name, "between classes", sizeof(s->groups.list[BETWEEN].name)));
  PetscCall(CkGroupsSetValues(s, BETWEEN, values, trace, &sizes));
  AddBetween(c, sizes.samples, sizes.rank, M, values, E);
  PetscCall(PetscFree4(E, KE, M, values));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode NameClass(CkSpectrum s, PetscInt a, char name[], size_t room)
{
  const char *own = s->groups.class_name[a];

  PetscFunctionBeginUser;
  if (own[0]) PetscCall(PetscSNPrintf(name, room, "class %" PetscInt_FMT " (%s)", a, own));
  else PetscCall(PetscSNPrintf(name, room, "class %" PetscInt_FMT, a));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* One class: its diagonal block of the class-centred matrix is (N_c/N) times the Gram matrix of its D_c. */
static PetscErrorCode SolveClass(Classes *c, PetscInt a, CkBlockMatrix centred)
{
  CkSpectrum       s = c->s;
  CkSpectrumGroup *group = &s->groups.list[FIRST_CLASS + a];
  const PetscInt   members = s->groups.members[a];
  CkGroupSizes     sizes = {.samples = members, .dimension = s->d, .rank = PetscMin(s->d, members - 1)};
  PetscInt        *index, count = 0;
  CkBlockMatrix    A;

  PetscFunctionBeginUser;
  PetscCall(NameClass(s, a, group->name, sizeof(group->name)));
  PetscCall(PetscStrncpy(s->groups.subspaces.name[FIRST_SPACE + a], group->name, sizeof(group->name)));
  if (members == 0) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(PetscMalloc1(members, &index));
  for (PetscInt k = 0; k < s->N; ++k) {
    if (s->groups.labels[k] == a) index[count++] = k;
  }
  PetscCall(CkBlockMatrixPart(centred, members, index, &A));
  PetscCall(AddLeading(c, FIRST_SPACE + a, A, index, sizes.rank));
  sizes.scale = (double)s->N / (double)members;
  sizes.noise = CkSpectrumAssemblyNoise(s, s->N) + CkSpectrumProductNoise(s);
  PetscCall(CkGroupsSetMatrix(s, FIRST_CLASS + a, &A, &sizes));
  group->weight = (double)members / (double)s->N;
  group->share *= group->weight;
  PetscCall(PetscFree(index));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The within part and the classes, from Q K Q (destroyed); (H.3), (H.5). */
static PetscErrorCode SolveWithin(Classes *c, CkBlockMatrix *centred, PetscInt present)
{
  CkSpectrum   s = c->s;
  CkGroupSizes sizes = {.samples = s->N, .dimension = s->d, .rank = PetscMin(s->d, s->N - present), .scale = 1};
  CkProgress   progress;

  PetscFunctionBeginUser;
  sizes.noise = CkSpectrumAssemblyNoise(s, s->N) + CkSpectrumProductNoise(s);
  PetscCall(CkProgressCreate(s->comm, "spectra of the classes", "classes", (double)s->groups.classes, &progress));
  for (PetscInt a = 0; a < s->groups.classes; ++a) {
    PetscCall(SolveClass(c, a, *centred));
    PetscCall(CkProgressUpdate(progress, (double)a + 1));
  }
  PetscCall(CkProgressDestroy(&progress));
  PetscCall(PetscStrncpy(s->groups.list[WITHIN].name, "within classes", sizeof(s->groups.list[WITHIN].name)));
  PetscCall(CkGroupsSetMatrix(s, WITHIN, centred, &sizes));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Products of all vectors of weight space, v_i'v_j = w_i'K w_j / sqrt(value_i value_j). */
static PetscErrorCode Compare(Classes *c, CkBlockMatrix K)
{
  const size_t m = (size_t)c->m;
  double      *KW, *products;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc2(m * (size_t)c->s->N, &KW, m * m, &products));
  PetscCall(CkBlockMatrixMultiply(K, c->m, c->W, KW));
  PetscCall(Products(c->m, c->W, c->m, KW, c->s->N, products));
  for (size_t i = 0; i < m; ++i) {
    for (size_t j = 0; j < m; ++j) products[i * m + j] /= sqrt(c->value[i] * c->value[j]);
  }
  PetscCall(CkSubspacesCompute(&c->s->groups.subspaces, products, c->tolerance));
  PetscCall(PetscFree2(KW, products));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The parts make up D; their vectors are orthonormal. */
static void Check(CkSpectrum s, double trace)
{
  const double within = s->groups.list[WITHIN].statistics.trace, between = s->groups.list[BETWEEN].statistics.trace;
  double       classes = 0;

  if (!s->check) return;
  for (PetscInt a = 0; a < s->groups.classes; ++a)
    classes += s->groups.list[FIRST_CLASS + a].weight * s->groups.list[FIRST_CLASS + a].statistics.trace;
  CkSpectrumCheckAdd(&s->checks, "parts: tr within + tr between = tr of the Gram matrix",
                     trace > 0 ? (within + between - trace) / trace : within + between, CkSpectrumRounding(s->N, 1));
  CkSpectrumCheckAdd(&s->checks, "parts: sum of p_c tr D_c = tr within",
                     within > 0 ? (classes - within) / within : classes, CkSpectrumRounding(s->N, 1));
  if (s->groups.vectors > 0)
    CkSpectrumCheckAdd(&s->checks, "parts: vectors orthonormal, over what rounding explains",
                       s->groups.subspaces.orthogonality, 1);
}

static PetscErrorCode Begin(CkSpectrum s, Classes *c, PetscInt *present)
{
  const CkGroups *g = &s->groups;
  const size_t    room = (size_t)(g->vectors * (g->classes + 2) + g->classes);

  PetscFunctionBeginUser;
  *c = (Classes){.s = s};
  *present = 0;
  for (PetscInt a = 0; a < g->classes; ++a) *present += g->members[a] > 0;
  PetscCall(CkGroupsAllocate(s, FIRST_CLASS + g->classes));
  PetscCall(CkSubspacesCreate(FIRST_SPACE + g->classes, &s->groups.subspaces));
  PetscCall(PetscStrncpy(g->subspaces.name[WHOLE], "D", sizeof(g->subspaces.name[WHOLE])));
  PetscCall(PetscStrncpy(g->subspaces.name[WITHIN_SPACE], "within classes", sizeof(g->subspaces.name[WITHIN_SPACE])));
  PetscCall(
    PetscStrncpy(g->subspaces.name[BETWEEN_SPACE], "between classes", sizeof(g->subspaces.name[BETWEEN_SPACE])));
  PetscCall(PetscCalloc3(room * (size_t)s->N, &c->W, room, &c->value, room, &c->tolerance));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkGroupsSolveClasses(CkSpectrum s, CkBlockMatrix K)
{
  PetscInt      present;
  double        trace;
  Classes       c;
  CkBlockMatrix centred;

  PetscFunctionBeginUser;
  PetscCall(CkSpectrumPhaseBegin(s, CK_PHASE_GROUPS));
  PetscCall(CkLog(s->comm, "parts of D: %" PetscInt_FMT " classes", s->groups.classes));
  PetscCall(Begin(s, &c, &present));
  PetscCall(CkBlockMatrixTrace(K, &trace));
  PetscCall(CkBlockMatrixDuplicate(K, &centred));
  PetscCall(CkBlockMatrixCentreGroups(centred, s->groups.classes, s->groups.labels));
  PetscCall(AddLeading(&c, WHOLE, K, NULL, CkSpectrumMaximalRank(s)));
  PetscCall(AddLeading(&c, WITHIN_SPACE, centred, NULL, PetscMin(s->d, s->N - present)));
  PetscCall(SolveBetween(&c, K));
  PetscCall(SolveWithin(&c, &centred, present));
  if (s->groups.vectors > 0) PetscCall(Compare(&c, K));
  else PetscCall(CkSubspacesDestroy(&s->groups.subspaces));
  Check(s, trace);
  PetscCall(PetscFree3(c.W, c.value, c.tolerance));
  PetscFunctionReturn(PETSC_SUCCESS);
}
