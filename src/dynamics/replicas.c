/* replicas.c: groups of ranks for independent runs, and means over the runs. */
#include <clarkia/error.h>
#include <clarkia/replicas.h>

struct _p_CkReplicas {
  MPI_Comm    comm;  /* a duplicate */
  MPI_Comm    group; /* comm itself where there is one group */
  MPI_Comm    cross; /* the ranks of this number in all groups; its rank is the group's number */
  PetscMPIInt groups, number;
  PetscInt    all, mine;
};

static PetscInt GreatestCommonDivisor(PetscInt a, PetscInt b)
{
  while (b > 0) {
    const PetscInt rest = a % b;

    a = b;
    b = rest;
  }
  return a;
}

PetscErrorCode CkReplicasCreate(MPI_Comm comm, PetscInt R, CkReplicas *replicas)
{
  CkReplicas  r;
  PetscMPIInt rank, size, ranks;

  PetscFunctionBeginUser;
  CkCheckAll(comm, R >= 1 && R <= 65535, PETSC_ERR_ARG_OUTOFRANGE, "%" PetscInt_FMT " replicas: take 1 to 65535", R);
  PetscCall(PetscNew(&r));
  PetscCall(PetscCommDuplicate(comm, &r->comm, NULL));
  PetscCallMPI(MPI_Comm_rank(r->comm, &rank));
  PetscCallMPI(MPI_Comm_size(r->comm, &size));
  r->groups = (PetscMPIInt)GreatestCommonDivisor(R, size);
  ranks = size / r->groups;
  r->number = rank / ranks;
  r->all = R;
  r->mine = R / r->groups;
  r->group = r->comm;
  r->cross = MPI_COMM_SELF;
  if (r->groups > 1) {
    PetscCallMPI(MPI_Comm_split(r->comm, r->number, rank, &r->group));
    PetscCallMPI(MPI_Comm_split(r->comm, rank % ranks, rank, &r->cross));
  }
  *replicas = r;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkReplicasDestroy(CkReplicas *replicas)
{
  CkReplicas r = *replicas;

  PetscFunctionBeginUser;
  if (!r) PetscFunctionReturn(PETSC_SUCCESS);
  if (r->groups > 1) {
    PetscCallMPI(MPI_Comm_free(&r->cross));
    PetscCallMPI(MPI_Comm_free(&r->group));
  }
  PetscCall(PetscCommDestroy(&r->comm));
  PetscCall(PetscFree(*replicas));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkReplicasGetComms(CkReplicas replicas, MPI_Comm *all, MPI_Comm *group)
{
  PetscFunctionBeginUser;
  if (all) *all = replicas->comm;
  if (group) *group = replicas->group;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkReplicasGetCounts(CkReplicas replicas, PetscInt *all, PetscInt *first, PetscInt *mine,
                                   PetscInt *groups)
{
  PetscFunctionBeginUser;
  if (all) *all = replicas->all;
  if (first) *first = replicas->number * replicas->mine;
  if (mine) *mine = replicas->mine;
  if (groups) *groups = replicas->groups;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkReplicasAgree(CkReplicas replicas, PetscErrorCode ierr)
{
  PetscFunctionBeginUser;
  if (replicas->groups == 1) PetscCall(ierr);
  else PetscCall(CkErrorShare(replicas->comm, replicas->group, ierr));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkReplicasGather(CkReplicas replicas, PetscInt width, const double mine[], double all[])
{
  PetscMPIInt n;

  PetscFunctionBeginUser;
  PetscCall(PetscMPIIntCast(replicas->mine * width, &n));
  PetscCallMPI(MPI_Allgather(mine, n, MPI_DOUBLE, all, n, MPI_DOUBLE, replicas->cross));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Start of part q of n entries cut into as many parts as there are groups. */
static PetscInt PartStart(CkReplicas r, PetscInt n, PetscMPIInt q)
{
  return (PetscInt)((PetscInt64)n * q / r->groups);
}

/* sum[i] = mean of x_0[i], x_1[i], .. in this order; x [replicas x n] */
static void MeanRows(PetscInt replicas, PetscInt n, const double x[], double mean[])
{
  for (PetscInt i = 0; i < n; ++i) mean[i] = x[i];
  for (PetscInt a = 1; a < replicas; ++a)
    for (PetscInt i = 0; i < n; ++i) mean[i] += x[(size_t)a * (size_t)n + (size_t)i];
  for (PetscInt i = 0; i < n; ++i) mean[i] /= (double)replicas;
}

/* Part q of each of my arrays goes to group q, whose rank adds those of all replicas. */
static PetscErrorCode Exchange(CkReplicas r, PetscInt n, const double *const mine[], double parts[])
{
  const PetscInt part = PartStart(r, n, r->number + 1) - PartStart(r, n, r->number);
  PetscMPIInt   *counts, *starts, *sizes, *places;
  double        *send;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc4(r->groups, &counts, r->groups, &starts, r->groups, &sizes, r->groups, &places));
  PetscCall(PetscMalloc1(r->mine * n, &send));
  for (PetscMPIInt q = 0; q < r->groups; ++q) {
    const PetscInt first = PartStart(r, n, q), size = PartStart(r, n, q + 1) - first;

    PetscCall(PetscMPIIntCast(r->mine * size, &counts[q]));
    PetscCall(PetscMPIIntCast(r->mine * first, &starts[q]));
    PetscCall(PetscMPIIntCast(r->mine * part, &sizes[q]));
    PetscCall(PetscMPIIntCast(q * r->mine * part, &places[q]));
    for (PetscInt a = 0; a < r->mine; ++a)
      PetscCall(PetscArraycpy(send + (size_t)starts[q] + (size_t)a * (size_t)size, mine[a] + first, size));
  }
  PetscCallMPI(MPI_Alltoallv(send, counts, starts, MPI_DOUBLE, parts, sizes, places, MPI_DOUBLE, r->cross));
  PetscCall(PetscFree(send));
  PetscCall(PetscFree4(counts, starts, sizes, places));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkReplicasMeanArrays(CkReplicas r, PetscInt n, const double *const mine[], double mean[])
{
  const PetscInt part = PartStart(r, n, r->number + 1) - PartStart(r, n, r->number);
  PetscMPIInt   *counts, *starts;
  double        *parts, *sum;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc4(r->all * part, &parts, part, &sum, r->groups, &counts, r->groups, &starts));
  PetscCall(Exchange(r, n, mine, parts));
  MeanRows(r->all, part, parts, sum);
  for (PetscMPIInt q = 0; q < r->groups; ++q) {
    PetscCall(PetscMPIIntCast(PartStart(r, n, q), &starts[q]));
    PetscCall(PetscMPIIntCast(PartStart(r, n, q + 1) - PartStart(r, n, q), &counts[q]));
  }
  PetscCallMPI(MPI_Allgatherv(sum, counts[r->number], MPI_DOUBLE, mean, counts, starts, MPI_DOUBLE, r->cross));
  PetscCall(PetscFree4(parts, sum, counts, starts));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkReplicasMean(CkReplicas replicas, const Vec mine[], Vec mean)
{
  const double **arrays;
  PetscScalar   *to;
  double        *sum;
  PetscInt       n;

  PetscFunctionBeginUser;
  PetscCall(VecGetLocalSize(mean, &n));
  PetscCall(PetscMalloc2(replicas->mine, &arrays, n, &sum));
  for (PetscInt a = 0; a < replicas->mine; ++a) PetscCall(VecGetArrayRead(mine[a], &arrays[a]));
  PetscCall(CkReplicasMeanArrays(replicas, n, arrays, sum));
  for (PetscInt a = 0; a < replicas->mine; ++a) PetscCall(VecRestoreArrayRead(mine[a], &arrays[a]));
  PetscCall(VecGetArrayWrite(mean, &to));
  PetscCall(PetscArraycpy(to, sum, n));
  PetscCall(VecRestoreArrayWrite(mean, &to));
  PetscCall(PetscFree2(arrays, sum));
  PetscFunctionReturn(PETSC_SUCCESS);
}
