#include "groupsum.h"
#include <clarkia/error.h>

struct _p_CkGroupSum {
  MPI_Comm    comm;
  PetscMPIInt rank, size;
  PetscInt64  length, first, mine; /* this rank's part of the sum */
  double     *part;                /* [mine] */
};

/* MPI counts a message's numbers in an int. */
#define PIECE ((PetscInt64)1 << 27)

static PetscInt64 First(CkGroupSum s, PetscMPIInt rank)
{
  return s->length * rank / s->size;
}

PetscErrorCode CkGroupSumCreate(MPI_Comm comm, PetscInt64 length, CkGroupSum *sum)
{
  CkGroupSum s;

  PetscFunctionBeginUser;
  PetscCall(PetscNew(&s));
  s->comm = comm;
  PetscCallMPI(MPI_Comm_rank(comm, &s->rank));
  PetscCallMPI(MPI_Comm_size(comm, &s->size));
  s->length = length;
  s->first = First(s, s->rank);
  s->mine = First(s, s->rank + 1) - s->first;
  PetscCall(PetscCalloc1((size_t)s->mine, &s->part));
  *sum = s;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkGroupSumDestroy(CkGroupSum *sum)
{
  PetscFunctionBeginUser;
  if (!*sum) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(PetscFree((*sum)->part));
  PetscCall(PetscFree(*sum));
  PetscFunctionReturn(PETSC_SUCCESS);
}

double CkGroupSumMemory(MPI_Comm comm, PetscInt64 length, PetscInt count)
{
  PetscMPIInt size = 1;

  (void)MPI_Comm_size(comm, &size);
  return 8. * (double)length * ((size > 1 ? 1. : 0) + 1. / size) * (size > 1 ? (double)count : 1.);
}

/* Entries of a piece, those of rank r's groups for this rank: term by term, each from..to of the receiver's part. */
static PetscErrorCode AddPiece(CkGroupSum s, const PetscMPIInt counts[], const double terms[], PetscInt64 offset,
                               PetscInt64 width)
{
  PetscMPIInt *send, *receive, *send_at, *receive_at;
  PetscInt64   sent = 0, received = 0;
  double      *out, *in;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc4(s->size, &send, s->size, &receive, s->size, &send_at, s->size, &receive_at));
  for (PetscMPIInt r = 0; r < s->size; ++r) {
    const PetscInt64 theirs = First(s, r + 1) - First(s, r);
    const PetscInt64 n = PetscMax(0, PetscMin(width, theirs - offset)),
                     m = PetscMax(0, PetscMin(width, s->mine - offset));

    send_at[r] = (PetscMPIInt)sent;
    receive_at[r] = (PetscMPIInt)received;
    send[r] = (PetscMPIInt)(n * counts[s->rank]);
    receive[r] = (PetscMPIInt)(m * counts[r]);
    sent += send[r];
    received += receive[r];
  }
  PetscCall(PetscMalloc2((size_t)sent, &out, (size_t)received, &in));
  for (PetscMPIInt r = 0; r < s->size; ++r) {
    const PetscInt64 n = counts[s->rank] ? send[r] / counts[s->rank] : 0;

    for (PetscMPIInt g = 0; g < counts[s->rank]; ++g)
      PetscCall(PetscArraycpy(out + send_at[r] + g * n, terms + g * s->length + First(s, r) + offset, (size_t)n));
  }
  PetscCallMPI(MPI_Alltoallv(out, send, send_at, MPI_DOUBLE, in, receive, receive_at, MPI_DOUBLE, s->comm));
  for (PetscMPIInt r = 0; r < s->size; ++r) {
    const PetscInt64 n = counts[r] ? receive[r] / counts[r] : 0;

    for (PetscMPIInt g = 0; g < counts[r]; ++g)
      for (PetscInt64 i = 0; i < n; ++i) s->part[offset + i] += in[receive_at[r] + g * n + i];
  }
  PetscCall(PetscFree2(out, in));
  PetscCall(PetscFree4(send, receive, send_at, receive_at));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkGroupSumAdd(CkGroupSum s, PetscInt count, const double terms[])
{
  const PetscMPIInt mine = (PetscMPIInt)count;
  PetscMPIInt      *counts;
  PetscInt64        all = 0, width, largest;

  PetscFunctionBeginUser;
  if (s->size == 1) {
    for (PetscInt g = 0; g < count; ++g)
      for (PetscInt64 i = 0; i < s->length; ++i) s->part[i] += terms[g * s->length + i];
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  PetscCall(PetscMalloc1(s->size, &counts));
  PetscCallMPI(MPI_Allgather(&mine, 1, MPI_INT, counts, 1, MPI_INT, s->comm));
  for (PetscMPIInt r = 0; r < s->size; ++r) all += counts[r];
  width = PIECE / PetscMax(1, all); /* what a rank receives, and what it sends, stays below 2^31 numbers */
  width = PetscMax(1, PetscMin(width, PIECE / s->size));
  largest = s->length / s->size + 1;
  for (PetscInt64 offset = 0; all > 0 && offset < largest; offset += width)
    PetscCall(AddPiece(s, counts, terms, offset, width));
  PetscCall(PetscFree(counts));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkGroupSumGet(CkGroupSum s, double values[])
{
  PetscFunctionBeginUser;
  for (PetscMPIInt r = 0; r < s->size; ++r) {
    const PetscInt64 first = First(s, r), n = First(s, r + 1) - first;

    if (r == s->rank) PetscCall(PetscArraycpy(values + first, s->part, (size_t)n));
    for (PetscInt64 at = 0; at < n; at += PIECE)
      PetscCallMPI(MPI_Bcast(values + first + at, (PetscMPIInt)PetscMin(PIECE, n - at), MPI_DOUBLE, r, s->comm));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}
