/* whole.c: vectors whole on every node (CkWhole). */
#include "lossimpl.h"

/* Which ranks are on which node: nodes in the order of their first ranks. */
static PetscErrorCode ListRanks(CkLoss loss, CkWhole *w)
{
  PetscMPIInt first = loss->rank, *firsts, n = 0;

  PetscFunctionBeginUser;
  PetscCallMPI(MPI_Bcast(&first, 1, MPI_INT, 0, w->node));
  PetscCall(PetscMalloc1(loss->size, &firsts));
  PetscCallMPI(MPI_Allgather(&first, 1, MPI_INT, firsts, 1, MPI_INT, loss->comm));
  w->nodes = 0;
  for (PetscMPIInt r = 0; r < loss->size; ++r) w->nodes += firsts[r] == r;
  PetscCall(PetscMalloc3(w->nodes, &w->counts, w->nodes, &w->starts, loss->size, &w->order));
  for (PetscMPIInt r = 0, node = 0; r < loss->size; ++r) {
    if (firsts[r] != r) continue;
    if (first == r) w->me = node;
    w->counts[node] = 0;
    w->starts[node] = node > 0 ? w->starts[node - 1] + w->counts[node - 1] : 0;
    for (PetscMPIInt other = r; other < loss->size; ++other) {
      if (firsts[other] != r) continue;
      w->order[n++] = other;
      w->counts[node] += loss->counts[other];
    }
    ++node;
  }
  PetscCall(PetscFree(firsts));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkWholeCreate(CkLoss loss)
{
  CkWhole    *w = &loss->whole;
  PetscMPIInt rank;

  PetscFunctionBeginUser;
  PetscCall(CkNodeSplit(loss->comm, &w->node));
  PetscCallMPI(MPI_Comm_rank(w->node, &rank));
  PetscCallMPI(MPI_Comm_split(loss->comm, rank == 0 ? 0 : MPI_UNDEFINED, loss->rank, &w->leaders));
  PetscCall(ListRanks(loss, w));
  if (rank == 0 && w->nodes > 1) PetscCall(PetscMalloc2(w->counts[w->me], &w->mine, loss->d, &w->all));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkWholeDestroy(CkLoss loss)
{
  CkWhole *w = &loss->whole;

  PetscFunctionBeginUser;
  if (!w->order) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(PetscFree2(w->mine, w->all));
  PetscCall(PetscFree3(w->counts, w->starts, w->order));
  if (w->leaders != MPI_COMM_NULL) PetscCallMPI(MPI_Comm_free(&w->leaders));
  PetscCallMPI(MPI_Comm_free(&w->node));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Leaders: what the ranks of all other nodes have written. */
static PetscErrorCode Exchange(CkLoss loss, double all[])
{
  const CkWhole *w = &loss->whole;
  PetscInt       at = 0;

  PetscFunctionBeginUser;
  for (PetscMPIInt i = 0, sent = 0; i < loss->size; ++i) {
    const PetscMPIInt r = w->order[i];

    if (at >= w->starts[w->me] && at < w->starts[w->me] + w->counts[w->me]) {
      PetscCall(PetscArraycpy(w->mine + sent, all + loss->starts[r], loss->counts[r]));
      sent += loss->counts[r];
    }
    at += loss->counts[r];
  }
  PetscCallMPI(
    MPI_Allgatherv(w->mine, w->counts[w->me], MPI_DOUBLE, w->all, w->counts, w->starts, MPI_DOUBLE, w->leaders));
  at = 0;
  for (PetscMPIInt i = 0; i < loss->size; ++i) {
    const PetscMPIInt r = w->order[i];

    if (at < w->starts[w->me] || at >= w->starts[w->me] + w->counts[w->me])
      PetscCall(PetscArraycpy(all + loss->starts[r], w->all + at, loss->counts[r]));
    at += loss->counts[r];
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkWholeGather(CkLoss loss, PetscInt n, const Vec v[], CkNodeArray *array)
{
  double *all = (double *)array->bytes;

  PetscFunctionBeginUser;
  if (!array->shared) {
    for (PetscInt j = 0; j < n; ++j) PetscCall(CkLossGather(loss, v[j], all + (size_t)j * (size_t)loss->d));
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  PetscCall(CkNodeArraySync(array));
  for (PetscInt j = 0; j < n; ++j) {
    const PetscScalar *mine;

    PetscCall(CkLossCheckLocal(loss, v[j]));
    PetscCall(VecGetArrayRead(v[j], &mine));
    PetscCall(PetscArraycpy(all + (size_t)j * (size_t)loss->d + loss->first, mine, loss->local));
    PetscCall(VecRestoreArrayRead(v[j], &mine));
  }
  PetscCall(CkNodeArraySync(array));
  if (loss->whole.nodes == 1) PetscFunctionReturn(PETSC_SUCCESS);
  for (PetscInt j = 0; j < n && loss->whole.leaders != MPI_COMM_NULL; ++j)
    PetscCall(Exchange(loss, all + (size_t)j * (size_t)loss->d));
  PetscCall(CkNodeArraySync(array));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkWholeScatter(CkLoss loss, PetscInt count, const double mine[], Vec v[])
{
  MPI_Request  *requests;
  PetscScalar **parts;
  PetscMPIInt   n = 0;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc2(loss->size + count, &requests, count, &parts));
  for (PetscMPIInt r = 0; r < count; ++r) {
    PetscCall(CkLossCheckLocal(loss, v[r]));
    PetscCall(VecGetArrayWrite(v[r], &parts[r]));
    if (r == loss->rank) PetscCall(PetscArraycpy(parts[r], mine + loss->first, loss->local));
    else PetscCallMPI(MPI_Irecv(parts[r], loss->counts[loss->rank], MPI_DOUBLE, r, 0, loss->comm, &requests[n++]));
  }
  for (PetscMPIInt r = 0; r < loss->size && loss->rank < count; ++r)
    if (r != loss->rank)
      PetscCallMPI(MPI_Isend(mine + loss->starts[r], loss->counts[r], MPI_DOUBLE, r, 0, loss->comm, &requests[n++]));
  PetscCallMPI(MPI_Waitall(n, requests, MPI_STATUSES_IGNORE));
  for (PetscMPIInt r = 0; r < count; ++r) PetscCall(VecRestoreArrayWrite(v[r], &parts[r]));
  PetscCall(PetscFree2(requests, parts));
  PetscFunctionReturn(PETSC_SUCCESS);
}
