/* diffusion_root.c: N^-1/2 Gc' z, a square root of D without any factorisation: samples and Gram eigenvectors. */
#include "noiseimpl.h"
#include <clarkia/random.h>
#include <math.h>

PetscInt CkDiffusionGroup(CkDiffusion D, const CkDiffusionSizes *sizes, PetscInt m)
{
  const double bytes = CkDiffusionColumnBytes(sizes) * (double)sizes->d;
  const double fit = PetscMin(D->memory / bytes, 1e6);

  return PetscMax(1, PetscMin(PetscMin(D->columns, m), (PetscInt)fit));
}

void CkDiffusionRootWeights(CkDiffusion D, const CkDiffusionSizes *sizes, PetscInt m, PetscInt stride, const double Z[],
                            double W[], double sums[])
{
  const double scale = 1 / sqrt((double)sizes->N);

  for (size_t j = 0; j < (size_t)m; ++j) {
    long double sum = 0;
    double      mean;

    for (size_t k = 0; k < (size_t)sizes->N; ++k) sum += Z[k * (size_t)stride + j];
    mean = D->centred ? (double)(sum / sizes->N) : 0;
    sums[j] = scale * (double)sum;
    for (size_t k = 0; k < (size_t)sizes->N; ++k) W[k * (size_t)m + j] = scale * (Z[k * (size_t)stride + j] - mean);
  }
}

/* out += sum c on this rank's part. */
static PetscErrorCode AddShift(double sum, const double c[], Vec out)
{
  PetscScalar *mine;
  PetscInt     first, last;

  PetscFunctionBeginUser;
  PetscCall(VecGetOwnershipRange(out, &first, &last));
  PetscCall(VecGetArray(out, &mine));
  for (PetscInt i = 0; i < last - first; ++i) mine[i] += sum * c[first + i];
  PetscCall(VecRestoreArray(out, &mine));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkDiffusionRootBlock(CkDiffusion D, PetscInt m, const double Z[], Vec out[])
{
  CkDiffusionSizes sizes;
  CkBatch          all;
  PetscInt         group;
  double          *W, *sums, *c;

  PetscFunctionBeginUser;
  PetscCall(CkDiffusionGetSizes(D, &sizes));
  PetscCall(CkDiffusionGetShift(D, &c));
  all = CkBatchAll(sizes.N);
  group = CkDiffusionGroup(D, &sizes, m);
  PetscCall(PetscMalloc2((size_t)group * (size_t)sizes.N, &W, group, &sums));
  for (PetscInt first = 0; first < m; first += group) {
    const PetscInt count = PetscMin(group, m - first);

    CkDiffusionRootWeights(D, &sizes, count, m, Z + first, W, sums);
    PetscCall(CkLossGradientBlock(D->loss, &all, count, W, out + first));
    for (PetscInt j = 0; c && j < count; ++j) PetscCall(AddShift(sums[j], c, out[first + j]));
  }
  PetscCall(PetscFree2(W, sums));
  PetscCall(PetscFree(c));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkDiffusionApplyRoot(CkDiffusion D, const double z[], Vec out)
{
  PetscFunctionBeginUser;
  PetscCall(CkDiffusionRootBlock(D, 1, z, &out));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkDiffusionSample(CkDiffusion D, uint64_t seed, PetscInt replica, PetscInt step, Vec out)
{
  const CkRandom stream = {
    .seed = seed, .purpose = CK_RANDOM_NOISE, .replica = (uint32_t)replica, .step = (uint64_t)step};
  PetscInt N;
  double  *z;

  PetscFunctionBeginUser;
  PetscCall(CkLossGetSamples(D->loss, &N));
  PetscCall(PetscMalloc1(N, &z));
  CkRandomNormals(&stream, 0, (size_t)N, z);
  PetscCall(CkDiffusionApplyRoot(D, z, out));
  PetscCall(PetscFree(z));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkDiffusionGramVectors(CkDiffusion D, PetscInt m, const double U[], const double lambda[], Vec V[])
{
  MPI_Comm comm;
  PetscInt N;
  double  *Z;

  PetscFunctionBeginUser;
  PetscCall(CkLossGetComm(D->loss, &comm));
  PetscCall(CkLossGetSamples(D->loss, &N));
  for (PetscInt j = 0; j < m; ++j)
    if (!(lambda[j] > 0))
      CkCheckAll(comm, PETSC_FALSE, PETSC_ERR_ARG_OUTOFRANGE,
                 "eigenvalue %" PetscInt_FMT
                 " is %g: only positive ones of the Gram matrix belong to eigenvectors of D",
                 j, lambda[j]);
  PetscCall(PetscMalloc1((size_t)m * (size_t)N, &Z));
  for (size_t j = 0; j < (size_t)m; ++j) {
    const double scale = 1 / sqrt(lambda[j]);

    for (size_t k = 0; k < (size_t)N; ++k) Z[k * (size_t)m + j] = scale * U[j * (size_t)N + k];
  }
  PetscCall(CkDiffusionRootBlock(D, m, Z, V));
  PetscCall(PetscFree(Z));
  PetscFunctionReturn(PETSC_SUCCESS);
}
