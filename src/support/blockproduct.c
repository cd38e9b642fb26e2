/* blockproduct.c: exchange of rows, panels, and products tile by tile. */
#include "blockmatriximpl.h"
#include <clarkia/blockproduct.h>
#include <clarkia/progress.h>
#include <math.h>
#include <petscblaslapack.h>
#include <string.h>

/* A product has the same shape wherever in the matrix it stands: TILE rows times TILE columns, filled up with zeros,
   and CHUNK terms, LEAST in the last chunk. OpenBLAS gives an entry other bits in the ragged edge of a product than
   inside. */
enum { TILE = 256, CHUNK = CK_PRODUCT_CHUNK, LEAST = 16 };

#define CK_CLONES __attribute__((target_clones("default", "avx2", "avx512f")))

/* BLAS in single precision, which PETSc does not declare. */
void sgemm_(const char *transa, const char *transb, const PetscBLASInt *m, const PetscBLASInt *n, const PetscBLASInt *k,
            const float *alpha, const float *a, const PetscBLASInt *lda, const float *b, const PetscBLASInt *ldb,
            const float *beta, float *c, const PetscBLASInt *ldc);

/* Samples that stand side by side where they come from and where they go. */
typedef struct {
  PetscMPIInt peer;
  PetscInt    from, to, length;
} Run;

typedef struct {
  PetscInt n;
  Run     *list;
} Runs;

struct _p_CkBlockProduct {
  CkBlockMatrix A;
  PetscMPIInt   rank, size;
  PetscInt      terms, nmine;
  CkPrecision   given, precision;
  size_t        given_bytes, bytes; /* of one number */

  PetscInt    *sent, *received; /* [size] samples in a message to and from each rank; of this rank: its own values */
  PetscMPIInt *counts[2], *starts[2]; /* [size] numbers of the messages of one call: sent, received */
  Runs         send;                  /* own values -> messages */
  Runs         panel[2];              /* messages -> rows and columns of the matrix */
  char        *outgoing, *incoming;

  int    panels[2]; /* of TILE rows, columns */
  char  *packed[2]; /* [chunk][panel][CHUNK x TILE]; one array where rows and columns are the same */
  char  *tile;      /* [TILE x TILE] of the products' precision */
  double sum[TILE * TILE];
};

static size_t Bytes(CkPrecision precision)
{
  return precision == CK_FLOAT64 ? sizeof(double) : sizeof(float);
}

/* Place of row g of X among the rows (axis 0) or columns (axis 1) of the rank at `place` of the grid, or -1. */
static PetscInt Place(CkBlockMatrix A, int axis, int place, PetscInt g)
{
  const PetscInt block = g / A->nb;

  if (block % A->grid[axis] != place) return -1;
  return block / A->grid[axis] * A->nb + g % A->nb;
}

static void Append(Runs *runs, PetscMPIInt peer, PetscInt from, PetscInt to)
{
  Run *last = runs->list + runs->n - 1;

  if (runs->n > 0 && last->peer == peer && last->from + last->length == from && last->to + last->length == to &&
      to % TILE != 0)
    ++last->length;
  else runs->list[runs->n++] = (Run){.peer = peer, .from = from, .to = to, .length = 1};
}

/* What rank `peer` holds [n] and this rank needs: its messages, and their places here. */
static PetscInt PlanReceive(CkBlockProduct p, PetscMPIInt peer, PetscInt n, const PetscInt rows[])
{
  PetscInt message = 0;

  for (PetscInt k = 0; k < n; ++k) {
    PetscInt to[2];

    for (int axis = 0; axis < 2; ++axis) to[axis] = Place(p->A, axis, p->A->me[axis], rows[k]);
    if (peer == p->rank) message = k;
    for (int axis = 0; axis < 2; ++axis)
      if (to[axis] >= 0) Append(&p->panel[axis], peer, message, to[axis]);
    if (to[0] >= 0 || to[1] >= 0) ++message;
  }
  return peer == p->rank ? n : message;
}

static PetscInt PlanSend(CkBlockProduct p, PetscMPIInt peer, const PetscInt mine[])
{
  const int place[2] = {peer / p->A->grid[1], peer % p->A->grid[1]};
  PetscInt  message = 0;

  for (PetscInt k = 0; k < p->nmine && peer != p->rank; ++k) {
    if (Place(p->A, 0, place[0], mine[k]) < 0 && Place(p->A, 1, place[1], mine[k]) < 0) continue;
    Append(&p->send, peer, k, message++);
  }
  return message;
}

/* Every rank learns which rows the others hold. */
static PetscErrorCode Plan(CkBlockProduct p, const PetscInt mine[])
{
  const MPI_Comm comm = p->A->comm;
  PetscMPIInt   *count, *start, n;
  PetscInt      *rows, all = 0;

  PetscFunctionBeginUser;
  PetscCall(PetscMPIIntCast(p->nmine, &n));
  PetscCall(PetscMalloc3(p->size, &count, p->size, &start, p->A->n, &rows));
  PetscCallMPI(MPI_Allgather(&n, 1, MPI_INT, count, 1, MPI_INT, comm));
  for (PetscMPIInt r = 0; r < p->size; ++r) {
    start[r] = (PetscMPIInt)all;
    all += count[r];
  }
  PetscCheck(all == p->A->n, comm, PETSC_ERR_ARG_SIZ,
             "The ranks hold %" PetscInt_FMT " rows for a matrix of order %" PetscInt_FMT, all, p->A->n);
  PetscCallMPI(MPI_Allgatherv(mine, n, MPIU_INT, rows, count, start, MPIU_INT, comm));
  PetscCall(PetscMalloc3(p->A->rows, &p->panel[0].list, p->A->cols, &p->panel[1].list,
                         (size_t)p->nmine * (size_t)p->size, &p->send.list));
  for (PetscMPIInt r = 0; r < p->size; ++r) {
    p->received[r] = PlanReceive(p, r, count[r], rows + start[r]);
    p->sent[r] = PlanSend(p, r, mine);
  }
  PetscCall(PetscFree3(count, start, rows));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscBool IsSquareOnOneRank(CkBlockMatrix A)
{
  return (PetscBool)(A->grid[0] == 1 && A->grid[1] == 1);
}

static PetscErrorCode MakeRoom(CkBlockProduct p)
{
  const size_t chunks = (size_t)(p->terms / CHUNK), terms = (size_t)p->terms;
  size_t       sent = 0, received = 0;

  PetscFunctionBeginUser;
  for (PetscMPIInt r = 0; r < p->size; ++r) {
    if (r == p->rank) continue;
    sent += (size_t)p->sent[r];
    received += (size_t)p->received[r];
  }
  PetscCall(PetscMalloc3(terms * sent * p->given_bytes, &p->outgoing, terms * received * p->given_bytes, &p->incoming,
                         TILE * TILE * p->bytes, &p->tile));
  for (int axis = 0; axis < 2; ++axis) {
    p->panels[axis] = ((axis ? p->A->cols : p->A->rows) + TILE - 1) / TILE;
    if (axis && IsSquareOnOneRank(p->A)) p->packed[1] = p->packed[0];
    else
      PetscCall(PetscCalloc1(chunks * (size_t)p->panels[axis] * CHUNK * TILE * p->bytes, &p->packed[axis])); /* edges */
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkBlockProductCreate(CkBlockMatrix A, const CkBlockProductLayout *layout, CkBlockProduct *product)
{
  CkBlockProduct p;

  PetscFunctionBeginUser;
  PetscCheck(layout->terms > 0 && layout->terms % CHUNK == 0, A->comm, PETSC_ERR_ARG_SIZ,
             "%" PetscInt_FMT " terms: give a multiple of %d", layout->terms, CHUNK);
  PetscCall(PetscNew(&p));
  p->A = A;
  PetscCallMPI(MPI_Comm_rank(A->comm, &p->rank));
  PetscCallMPI(MPI_Comm_size(A->comm, &p->size));
  p->terms = layout->terms;
  p->nmine = layout->nmine;
  p->given = layout->given;
  p->precision = layout->precision;
  p->given_bytes = Bytes(p->given);
  p->bytes = Bytes(p->precision);
  PetscCall(PetscMalloc6(p->size, &p->sent, p->size, &p->received, p->size, &p->counts[0], p->size, &p->counts[1],
                         p->size, &p->starts[0], p->size, &p->starts[1]));
  PetscCall(Plan(p, layout->mine));
  PetscCall(MakeRoom(p));
  *product = p;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkBlockProductDestroy(CkBlockProduct *product)
{
  CkBlockProduct p = *product;

  PetscFunctionBeginUser;
  if (!p) PetscFunctionReturn(PETSC_SUCCESS);
  if (p->packed[1] != p->packed[0]) PetscCall(PetscFree(p->packed[1]));
  PetscCall(PetscFree(p->packed[0]));
  PetscCall(PetscFree3(p->outgoing, p->incoming, p->tile));
  PetscCall(PetscFree3(p->panel[0].list, p->panel[1].list, p->send.list));
  PetscCall(PetscFree6(p->sent, p->received, p->counts[0], p->counts[1], p->starts[0], p->starts[1]));
  PetscCall(PetscFree(*product));
  PetscFunctionReturn(PETSC_SUCCESS);
}

double CkBlockProductMemory(MPI_Comm comm, PetscInt n, PetscInt terms, CkPrecision given, CkPrecision precision)
{
  PetscMPIInt size;
  int         shape[2];
  double      rows, cols, messages;

  MPI_Comm_size(comm, &size);
  CkBlockGridShape(size, shape);
  rows = ceil((double)n / shape[0] / TILE) * TILE;
  cols = ceil((double)n / shape[1] / TILE) * TILE;
  messages = size == 1 ? 0 : (double)n / shape[0] + (double)n / shape[1] + (double)n / size * (shape[0] + shape[1]);
  return (double)terms * (PetscMin(messages, 2. * (double)n) * (double)Bytes(given) +
                          (size == 1 ? rows : rows + cols) * (double)Bytes(precision)) +
         TILE * TILE * (sizeof(double) + (double)Bytes(precision));
}

/* Counts and starts of the messages of `count` terms; 0: sent, 1: received. */
static PetscErrorCode SizeMessages(CkBlockProduct p, PetscInt count)
{
  PetscFunctionBeginUser;
  for (int way = 0; way < 2; ++way) {
    PetscInt64 start = 0;

    for (PetscMPIInt r = 0; r < p->size; ++r) {
      const PetscInt64 numbers = r == p->rank ? 0 : (PetscInt64)(way ? p->received : p->sent)[r] * count;

      PetscCheck(start + numbers <= PETSC_MPI_INT_MAX, PETSC_COMM_SELF, PETSC_ERR_ARG_OUTOFRANGE,
                 "Messages of %" PetscInt64_FMT " numbers: take fewer terms at a time", start + numbers);
      p->counts[way][r] = (PetscMPIInt)numbers;
      p->starts[way][r] = (PetscMPIInt)start;
      start += numbers;
    }
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Exchange(CkBlockProduct p, PetscInt count, const char *values)
{
  const MPI_Datatype type = p->given == CK_FLOAT64 ? MPI_DOUBLE : MPI_FLOAT;
  const size_t       bytes = p->given_bytes;

  PetscFunctionBeginUser;
  if (p->size == 1) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(SizeMessages(p, count));
  for (PetscInt i = 0; i < p->send.n; ++i) {
    const Run   *run = &p->send.list[i];
    const size_t width = (size_t)p->sent[run->peer];
    char        *message = p->outgoing + ((size_t)p->starts[0][run->peer] + (size_t)run->to) * bytes;

    for (size_t w = 0; w < (size_t)count; ++w)
      memcpy(message + w * width * bytes, values + (w * (size_t)p->nmine + (size_t)run->from) * bytes,
             (size_t)run->length * bytes);
  }
  PetscCall(PetscLogEventBegin(CK_Reduce, 0, 0, 0, 0));
  PetscCallMPI(MPI_Alltoallv(p->outgoing, p->counts[0], p->starts[0], type, p->incoming, p->counts[1], p->starts[1],
                             type, p->A->comm));
  PetscCall(PetscLogEventEnd(CK_Reduce, 0, 0, 0, 0));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* One run: `count` weights of `length` samples to a panel, less the shift; the difference is taken in float64. */
#define DEFINE_UNPACK(name, source, target)                                                                            \
  CK_CLONES static void name(PetscInt count, PetscInt length, const source *from, size_t stride, const double *shift,  \
                             target *to)                                                                               \
  {                                                                                                                    \
    for (size_t w = 0; w < (size_t)count; ++w) {                                                                       \
      const double  less = shift ? shift[w] : 0;                                                                       \
      const source *x = from + w * stride;                                                                             \
      target       *y = to + w * TILE;                                                                                 \
                                                                                                                       \
      for (PetscInt k = 0; k < length; ++k) y[k] = (target)((double)x[k] - less);                                      \
    }                                                                                                                  \
  }
DEFINE_UNPACK(UnpackFloatFloat, float, float)
DEFINE_UNPACK(UnpackFloatDouble, float, double)
DEFINE_UNPACK(UnpackDoubleFloat, double, float)
DEFINE_UNPACK(UnpackDoubleDouble, double, double)

static void UnpackRun(CkBlockProduct p, PetscInt count, PetscInt length, const void *from, size_t stride,
                      const double *shift, void *to)
{
  if (p->given == CK_FLOAT32 && p->precision == CK_FLOAT32) UnpackFloatFloat(count, length, from, stride, shift, to);
  else if (p->given == CK_FLOAT32) UnpackFloatDouble(count, length, from, stride, shift, to);
  else if (p->precision == CK_FLOAT32) UnpackDoubleFloat(count, length, from, stride, shift, to);
  else UnpackDoubleDouble(count, length, from, stride, shift, to);
}

static char *Panel(CkBlockProduct p, int axis, PetscInt chunk, PetscInt panel)
{
  return p->packed[axis] + ((size_t)chunk * (size_t)p->panels[axis] + (size_t)panel) * (size_t)CHUNK * TILE * p->bytes;
}

/* Terms of a product of a chunk with `terms` weights. */
static PetscInt Padded(PetscInt terms)
{
  return PetscMax(terms, LEAST);
}

/* The rows (axis 0) or columns (axis 1) of this rank, chunk after chunk, panel after panel. */
static void Unpack(CkBlockProduct p, int axis, PetscInt count, const char *values, const double *shift)
{
  const size_t bytes = p->given_bytes;

  for (PetscInt first = 0; first < count; first += CHUNK) {
    const PetscInt chunk = first / CHUNK, terms = PetscMin(CHUNK, count - first);

    for (PetscInt i = 0; i < p->panel[axis].n; ++i) {
      const Run   *run = &p->panel[axis].list[i];
      const size_t stride = (size_t)p->received[run->peer];
      const char  *message = run->peer == p->rank ? values : p->incoming + (size_t)p->starts[1][run->peer] * bytes;

      UnpackRun(p, terms, run->length, message + ((size_t)first * stride + (size_t)run->from) * bytes, stride,
                shift ? shift + first : NULL,
                Panel(p, axis, chunk, run->to / TILE) + (size_t)(run->to % TILE) * p->bytes);
    }
    for (PetscInt panel = 0; panel < p->panels[axis] && terms < LEAST; ++panel)
      memset(Panel(p, axis, chunk, panel) + (size_t)terms * TILE * p->bytes, 0,
             (size_t)(LEAST - terms) * TILE * p->bytes);
  }
}

CK_CLONES static void AddTile(const float *tile, double *sum)
{
  for (size_t i = 0; i < (size_t)TILE * TILE; ++i) sum[i] += (double)tile[i];
}

/* sum += the product of one chunk. */
static PetscErrorCode MultiplyChunk(CkBlockProduct p, PetscInt terms, const char *rows, const char *cols)
{
  const PetscBLASInt tile = TILE, k = (PetscBLASInt)Padded(terms);

  PetscFunctionBeginUser;
  if (p->precision == CK_FLOAT64) {
    const double one = 1;

    PetscCallBLAS("dgemm", BLASgemm_("N", "T", &tile, &tile, &k, &one, (const double *)(const void *)rows, &tile,
                                     (const double *)(const void *)cols, &tile, &one, p->sum, &tile));
  } else {
    const float one = 1, zero = 0;

    PetscCallBLAS("sgemm", sgemm_("N", "T", &tile, &tile, &k, &one, (const float *)(const void *)rows, &tile,
                                  (const float *)(const void *)cols, &tile, &zero, (float *)(void *)p->tile, &tile));
    AddTile((const float *)(const void *)p->tile, p->sum);
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* All chunks of one tile of the matrix, added to what is there in their order. */
static PetscErrorCode UpdateTile(CkBlockProduct p, PetscInt count, int row, int col)
{
  CkBlockMatrix A = p->A;
  const size_t  lead = (size_t)CkBlockLeading(A);
  const int     height = PetscMin(TILE, A->rows - row * TILE), width = PetscMin(TILE, A->cols - col * TILE);
  double       *a = A->a + (size_t)col * TILE * lead + (size_t)row * TILE;

  PetscFunctionBeginUser;
  for (int j = 0; j < width; ++j)
    memcpy(p->sum + (size_t)j * TILE, a + (size_t)j * lead, sizeof(double) * (size_t)height);
  for (PetscInt first = 0; first < count; first += CHUNK)
    PetscCall(MultiplyChunk(p, PetscMin(CHUNK, count - first), Panel(p, 0, first / CHUNK, row),
                            Panel(p, 1, first / CHUNK, col)));
  for (int j = 0; j < width; ++j)
    memcpy(a + (size_t)j * lead, p->sum + (size_t)j * TILE, sizeof(double) * (size_t)height);
  PetscCall(PetscLogFlops(2. * TILE * TILE * (double)count));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkBlockProductAdd(CkBlockProduct p, PetscInt count, const void *values, const double shift[])
{
  CkBlockMatrix A = p->A;

  PetscFunctionBeginUser;
  PetscCheck(count >= 0 && count <= p->terms, A->comm, PETSC_ERR_ARG_OUTOFRANGE,
             "%" PetscInt_FMT " terms, room for %" PetscInt_FMT, count, p->terms);
  PetscCall(Exchange(p, count, (const char *)values));
  PetscCall(PetscLogEventBegin(CK_Gram, 0, 0, 0, 0));
  for (int axis = 0; axis < 2; ++axis)
    if (axis == 0 || p->packed[1] != p->packed[0]) Unpack(p, axis, count, (const char *)values, shift);
  for (int col = 0; col < p->panels[1] && A->rows > 0; ++col) {
    const int first = CkBlockFirst(A, 0, CkBlockGlobal(A, 1, col * TILE)); /* the diagonal of the panel's start */

    for (int row = first / TILE; row < p->panels[0] && first < A->rows; ++row)
      PetscCall(UpdateTile(p, count, row, col));
  }
  PetscCall(PetscLogEventEnd(CK_Gram, 0, 0, 0, 0));
  PetscFunctionReturn(PETSC_SUCCESS);
}
