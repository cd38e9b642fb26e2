/* lanczos.c: Lanczos recurrences of many probes, and their quadrature rules. */
#include "lanczos.h"
#include <clarkia/progress.h>
#include <clarkia/random.h>
#include <float.h>
#include <math.h>
#include <petscblaslapack.h>

typedef struct {
  double   *basis;   /* [probes x steps x n] */
  double   *Z, *Y;   /* [probes x n] of a product */
  PetscInt *running; /* [count] probes whose recurrence goes on */
  PetscInt  count;
  double   *alpha, *beta; /* [probes x steps] diagonal of T, and what leads to the next vector */
  double   *scale;        /* [probes] largest coefficient so far */
} Recurrence;

double CkLanczosMemory(PetscInt n, PetscInt probes, PetscInt steps)
{
  return sizeof(double) * (double)probes *
         ((double)n * ((double)steps + 2) + 4. * (double)steps + (double)steps * (double)steps / (double)probes);
}

PetscErrorCode CkLanczosRuleCreate(PetscInt n, PetscInt probes, PetscInt steps, CkLanczosRule *rule)
{
  const size_t size = (size_t)probes * (size_t)steps;

  PetscFunctionBeginUser;
  *rule = (CkLanczosRule){.n = n, .probes = probes, .steps = steps};
  PetscCall(PetscCalloc6(probes, &rule->taken, probes, &rule->exact, size, &rule->nodes, size, &rule->weights, probes,
                         &rule->residual, probes, &rule->square));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkLanczosRuleDestroy(CkLanczosRule *rule)
{
  PetscFunctionBeginUser;
  PetscCall(PetscFree6(rule->taken, rule->exact, rule->nodes, rule->weights, rule->residual, rule->square));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static double *BasisVector(const CkLanczosRule *rule, const Recurrence *r, PetscInt probe, PetscInt step)
{
  return r->basis + ((size_t)probe * (size_t)rule->steps + (size_t)step) * (size_t)rule->n;
}

static double SquareOf(PetscInt n, const double v[])
{
  double sum = 0;

  for (PetscInt i = 0; i < n; ++i) sum += v[i] * v[i];
  return sum;
}

/* Unit vectors, uniform on the sphere. */
static void Start(const CkLanczosRule *rule, uint64_t seed, Recurrence *r)
{
  for (PetscInt p = 0; p < rule->probes; ++p) {
    const CkRandom stream = {.seed = seed, .purpose = CK_RANDOM_PROBE, .replica = 2, .step = (uint64_t)p};
    double        *z = BasisVector(rule, r, p, 0), norm;

    CkRandomNormals(&stream, 0, (size_t)rule->n, z);
    norm = sqrt(SquareOf(rule->n, z));
    for (PetscInt i = 0; i < rule->n; ++i) z[i] /= norm;
    r->running[p] = p;
  }
  r->count = rule->probes;
}

/* w -= Q Q'w twice, Q [k vectors]; the last entry of Q'w, which is alpha. */
static PetscErrorCode Orthogonalise(PetscInt n, PetscInt k, const double Q[], double w[], double *alpha)
{
  const PetscBLASInt one = 1;
  const double       plus = 1, minus = -1, zero = 0;
  PetscBLASInt       rows, columns;
  double            *h;

  PetscFunctionBeginUser;
  PetscCall(PetscBLASIntCast(n, &rows));
  PetscCall(PetscBLASIntCast(k, &columns));
  PetscCall(PetscMalloc1(k, &h));
  *alpha = 0;
  for (int round = 0; round < 2; ++round) {
    PetscCallBLAS("BLASgemv", BLASgemv_("T", &rows, &columns, &plus, Q, &rows, w, &one, &zero, h, &one));
    PetscCallBLAS("BLASgemv", BLASgemv_("N", &rows, &columns, &minus, Q, &rows, h, &one, &plus, w, &one));
    *alpha += h[k - 1];
  }
  PetscCall(PetscFree(h));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The products of the running probes' last vectors. */
static PetscErrorCode Product(const CkLanczosRule *rule, PetscInt step, CkLanczosApply apply, void *context,
                              Recurrence *r)
{
  const size_t n = (size_t)rule->n;

  PetscFunctionBeginUser;
  for (PetscInt i = 0; i < r->count; ++i)
    PetscCall(PetscArraycpy(r->Z + (size_t)i * n, BasisVector(rule, r, r->running[i], step), n));
  PetscCall((*apply)(context, r->count, r->Z, r->Y));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Coefficients number `step` of the running probes, Y becoming what is orthogonal to the basis; then rank 0's, so that
   processors that differ go the same way. */
static PetscErrorCode Coefficients(MPI_Comm comm, CkLanczosRule *rule, PetscInt step, Recurrence *r)
{
  double *both;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc1(3 * r->count, &both));
  for (PetscInt i = 0; i < r->count; ++i) {
    double *w = r->Y + (size_t)i * (size_t)rule->n;

    both[3 * i + 2] = SquareOf(rule->n, w);
    PetscCall(Orthogonalise(rule->n, step + 1, BasisVector(rule, r, r->running[i], 0), w, &both[3 * i]));
    both[3 * i + 1] = sqrt(SquareOf(rule->n, w));
  }
  PetscCallMPI(MPI_Bcast(both, (PetscMPIInt)(3 * r->count), MPI_DOUBLE, 0, comm));
  for (PetscInt i = 0; i < r->count; ++i) {
    const PetscInt p = r->running[i];
    const size_t   at = (size_t)p * (size_t)rule->steps + (size_t)step;

    r->alpha[at] = both[3 * i];
    r->beta[at] = both[3 * i + 1];
    if (step == 0) rule->square[p] = both[3 * i + 2];
    r->scale[p] = PetscMax(r->scale[p], sqrt(both[3 * i + 2]));
  }
  PetscCall(PetscFree(both));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The next vectors; a probe whose vector has no new direction, or enough of them, runs no more. */
static void Advance(CkLanczosRule *rule, PetscInt step, Recurrence *r)
{
  PetscInt left = 0;

  for (PetscInt i = 0; i < r->count; ++i) {
    const PetscInt p = r->running[i];
    const double   beta = r->beta[(size_t)p * (size_t)rule->steps + (size_t)step];
    const double  *w = r->Y + (size_t)i * (size_t)rule->n;

    rule->taken[p] = step + 1;
    rule->exact[p] = (PetscBool)(step + 1 == rule->n || beta <= 100 * DBL_EPSILON * r->scale[p]);
    if (rule->exact[p] || step + 1 == rule->steps) continue;
    for (PetscInt k = 0; k < rule->n; ++k) BasisVector(rule, r, p, step + 1)[k] = w[k] / beta;
    r->running[left++] = p;
  }
  r->count = left;
}

/* Nodes and weights: eigenvalues of T, squares of the first entries of its eigenvectors. */
static PetscErrorCode Quadrature(CkLanczosRule *rule, PetscInt p, const Recurrence *r, double work[], double vectors[])
{
  const size_t at = (size_t)p * (size_t)rule->steps, k = (size_t)rule->taken[p];
  double      *diagonal = r->alpha + at, *off = r->beta + at;
  const double last = off[k - 1];
  PetscBLASInt size, info;

  PetscFunctionBeginUser;
  PetscCall(PetscBLASIntCast(rule->taken[p], &size));
  PetscCallBLAS("LAPACKsteqr", LAPACKsteqr_("I", &size, diagonal, off, vectors, &size, work, &info));
  PetscCheck(info == 0, PETSC_COMM_SELF, PETSC_ERR_LIB, "LAPACK dsteqr failed with info %d", (int)info);
  for (size_t i = 0; i < k; ++i) {
    const size_t from = k - 1 - i; /* ascending there */

    rule->nodes[at + i] = diagonal[from];
    rule->weights[at + i] = vectors[from * k] * vectors[from * k];
  }
  rule->residual[p] = rule->exact[p] ? 0 : last * fabs(vectors[k * k - 1]);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Rules(MPI_Comm comm, CkLanczosRule *rule, const Recurrence *r)
{
  const size_t steps = (size_t)rule->steps;
  double      *work, *vectors;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc2(2 * steps, &work, steps * steps, &vectors));
  for (PetscInt p = 0; p < rule->probes; ++p) {
    PetscCall(Quadrature(rule, p, r, work, vectors));
    PetscCallMPI(MPI_Bcast(rule->nodes + (size_t)p * steps, (PetscMPIInt)steps, MPI_DOUBLE, 0, comm));
    PetscCallMPI(MPI_Bcast(rule->weights + (size_t)p * steps, (PetscMPIInt)steps, MPI_DOUBLE, 0, comm));
  }
  PetscCallMPI(MPI_Bcast(rule->residual, (PetscMPIInt)rule->probes, MPI_DOUBLE, 0, comm));
  PetscCall(PetscFree2(work, vectors));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkLanczosRun(MPI_Comm comm, uint64_t seed, CkLanczosApply apply, void *context, CkLanczosRule *rule)
{
  const size_t block = (size_t)rule->probes * (size_t)rule->n, size = (size_t)rule->probes * (size_t)rule->steps;
  Recurrence   r;
  CkProgress   progress;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc4(block * (size_t)rule->steps, &r.basis, block, &r.Z, block, &r.Y, rule->probes, &r.running));
  PetscCall(PetscCalloc3(size, &r.alpha, size, &r.beta, rule->probes, &r.scale));
  Start(rule, seed, &r);
  PetscCall(CkProgressCreate(comm, "density", "steps", (double)rule->steps, &progress));
  for (PetscInt step = 0; r.count > 0; ++step) {
    PetscCall(Product(rule, step, apply, context, &r));
    PetscCall(Coefficients(comm, rule, step, &r));
    Advance(rule, step, &r);
    PetscCall(CkProgressUpdate(progress, (double)(step + 1)));
  }
  PetscCall(CkProgressDestroy(&progress));
  PetscCall(Rules(comm, rule, &r));
  PetscCall(PetscFree3(r.alpha, r.beta, r.scale));
  PetscCall(PetscFree4(r.basis, r.Z, r.Y, r.running));
  PetscFunctionReturn(PETSC_SUCCESS);
}
