/* blockproduct.c: exchange of rows, panels, and products block by block. */
#include "blockmatriximpl.h"
#include "blockproduct_kernel.h"
#include <clarkia/blockproduct.h>
#include <clarkia/progress.h>
#include <math.h>
#include <string.h>

/* A block is SIDE x SIDE panels: its sums and the panels of one chunk stay in the cache. */
enum { PANEL = CK_PRODUCT_PANEL, SIDE = 8, CHUNK = CK_PRODUCT_CHUNK, ALIGNMENT = 64 };

#define CK_CLONES __attribute__((target_clones("default", "avx2", "avx512f")))

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
  CkBlockMatrix   A;
  PetscMPIInt     rank, size;
  PetscInt        terms, nmine;
  CkPrecision     given, precision;
  size_t          given_bytes, bytes; /* of one number */
  CkProductKernel kernel;

  PetscInt    *sent, *received; /* [size] samples in a message to and from each rank; of this rank: its own values */
  PetscMPIInt *counts[2], *starts[2]; /* [size] numbers of the messages of one call: sent, received */
  PetscBool    send_all;              /* every message is all own values as they stand */
  Runs         send;                  /* own values -> messages */
  Runs         unpack;                /* messages -> panels; `to` is panel * PANEL + row */
  char        *outgoing, *incoming;

  int       panels[2];   /* of rows, columns of the matrix */
  PetscInt *panel_at[2]; /* [panels] where each is kept; one that is both is kept once */
  PetscInt  kept;
  char     *packed;   /* [chunk][kept][CHUNK x PANEL], aligned */
  double   *sum[2];   /* [SIDE columns][SIDE rows][PANEL x PANEL] of a block, aligned; the second for factored terms */
  char     *rooms[3]; /* what the aligned arrays lie in */
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
      to % PANEL != 0)
    ++last->length;
  else runs->list[runs->n++] = (Run){.peer = peer, .from = from, .to = to, .length = 1};
}

/* What rank `peer` holds [n] and this rank needs: its messages, and their places here. */
static PetscInt PlanReceive(CkBlockProduct p, PetscMPIInt peer, PetscInt n, const PetscInt rows[])
{
  PetscInt message = 0;

  for (PetscInt k = 0; k < n; ++k) {
    PetscInt to[2], at[2];

    for (int axis = 0; axis < 2; ++axis) {
      to[axis] = Place(p->A, axis, p->A->me[axis], rows[k]);
      at[axis] = to[axis] >= 0 ? p->panel_at[axis][to[axis] / PANEL] : -1;
    }
    if (peer == p->rank) message = k;
    if (at[0] >= 0) Append(&p->unpack, peer, message, at[0] * PANEL + to[0] % PANEL);
    if (at[1] >= 0 && at[1] != at[0]) Append(&p->unpack, peer, message, at[1] * PANEL + to[1] % PANEL);
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

/* Where panels are kept: those of the rows, then those of the columns that are not among them. Panels of rows and of
   columns hold the same samples where blocks are whole panels, or all of the matrix is here. */
static PetscErrorCode PlacePanels(CkBlockProduct p)
{
  const CkBlockMatrix A = p->A;
  const PetscBool     alike = (PetscBool)(A->nb % PANEL == 0 || p->size == 1);

  PetscFunctionBeginUser;
  for (int axis = 0; axis < 2; ++axis) p->panels[axis] = ((axis ? A->cols : A->rows) + PANEL - 1) / PANEL;
  PetscCall(PetscMalloc2(p->panels[0], &p->panel_at[0], p->panels[1], &p->panel_at[1]));
  for (int axis = 0; axis < 2; ++axis) {
    for (int i = 0; i < p->panels[axis]; ++i) {
      const PetscInt row = axis && alike ? Place(A, 0, A->me[0], CkBlockGlobal(A, 1, i * PANEL)) : -1;

      p->panel_at[axis][i] = row >= 0 ? p->panel_at[0][row / PANEL] : p->kept++;
    }
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Every rank learns which rows the others hold. */
static PetscErrorCode Plan(CkBlockProduct p, const PetscInt mine[])
{
  const MPI_Comm comm = p->A->comm;
  PetscMPIInt   *count, *start, n;
  PetscInt      *rows, all = 0;

  PetscFunctionBeginUser;
  PetscCall(PlacePanels(p));
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
  PetscCall(PetscMalloc2((size_t)p->A->rows + (size_t)p->A->cols, &p->unpack.list, (size_t)p->nmine * (size_t)p->size,
                         &p->send.list));
  p->send_all = PETSC_TRUE;
  for (PetscMPIInt r = 0; r < p->size; ++r) {
    p->received[r] = PlanReceive(p, r, count[r], rows + start[r]);
    p->sent[r] = PlanSend(p, r, mine);
    if (r != p->rank && p->sent[r] < p->nmine) p->send_all = PETSC_FALSE;
  }
  PetscCall(PetscFree3(count, start, rows));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Zero, as the edges of panels stay. */
static PetscErrorCode MallocAligned(size_t bytes, char **room, void *array)
{
  PetscFunctionBeginUser;
  PetscCall(PetscCalloc1(bytes + ALIGNMENT, room));
  *(char **)array = *room + (ALIGNMENT - (uintptr_t)*room % ALIGNMENT);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode MakeRoom(CkBlockProduct p)
{
  const size_t chunks = (size_t)(p->terms / CHUNK), terms = (size_t)p->terms;
  size_t       sent = 0, received = 0;

  PetscFunctionBeginUser;
  for (PetscMPIInt r = 0; r < p->size; ++r) {
    if (r == p->rank) continue;
    sent += p->send_all ? 0 : (size_t)p->sent[r];
    received += (size_t)p->received[r];
  }
  PetscCall(PetscMalloc2(terms * sent * p->given_bytes, &p->outgoing, terms * received * p->given_bytes, &p->incoming));
  PetscCall(MallocAligned(chunks * (size_t)p->kept * CHUNK * PANEL * p->bytes, &p->rooms[0], &p->packed));
  for (int i = 0; i < 2; ++i)
    PetscCall(MallocAligned((size_t)SIDE * SIDE * PANEL * PANEL * sizeof(double), &p->rooms[1 + i], &p->sum[i]));
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
  p->kernel = CkProductKernelFind(p->precision);
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
  for (int i = 0; i < 3; ++i) PetscCall(PetscFree(p->rooms[i]));
  PetscCall(PetscFree2(p->outgoing, p->incoming));
  PetscCall(PetscFree2(p->unpack.list, p->send.list));
  PetscCall(PetscFree2(p->panel_at[0], p->panel_at[1]));
  PetscCall(PetscFree6(p->sent, p->received, p->counts[0], p->counts[1], p->starts[0], p->starts[1]));
  PetscCall(PetscFree(*product));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Panels kept: rows, and of the columns those whose blocks are not among the rows; messages: those of the rows and
   columns that come from others, and own rows to the ranks of a row and of a column of the grid, or as they stand. */
double CkBlockProductMemory(MPI_Comm comm, PetscInt n, PetscInt terms, CkPrecision given, CkPrecision precision)
{
  PetscMPIInt size;
  int         shape[2];
  double      rows, cols, messages = 0;

  MPI_Comm_size(comm, &size);
  CkBlockGridShape(size, shape);
  rows = ceil((double)n / shape[0] / PANEL) * PANEL;
  cols = shape[0] == 1 && n >= (PetscInt)2 * PANEL * shape[1] ? 0 : ceil((double)n / shape[1] / PANEL) * PANEL;
  if (size > 1 && shape[0] == 1) messages = (double)n;
  else if (size > 1) messages = (double)n / shape[0] + (double)n / shape[1] + (double)n / size * (shape[0] + shape[1]);
  return (double)terms *
           (messages * (double)Bytes(given) + (size == 1 ? rows : rows + cols) * (double)Bytes(precision)) +
         2. * SIDE * SIDE * PANEL * PANEL * sizeof(double);
}

static PetscInt Chunks(PetscInt terms)
{
  return (terms + CHUNK - 1) / CHUNK;
}

PetscInt CkBlockProductFactoredTerms(PetscInt inputs, PetscInt outputs)
{
  return (Chunks(inputs) + Chunks(outputs)) * CHUNK;
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
      if (way == 1 || !p->send_all) start += numbers;
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
  for (PetscInt i = 0; i < p->send.n && !p->send_all; ++i) {
    const Run   *run = &p->send.list[i];
    const size_t width = (size_t)p->sent[run->peer];
    char        *message = p->outgoing + ((size_t)p->starts[0][run->peer] + (size_t)run->to) * bytes;

    for (size_t w = 0; w < (size_t)count; ++w)
      memcpy(message + w * width * bytes, values + (w * (size_t)p->nmine + (size_t)run->from) * bytes,
             (size_t)run->length * bytes);
  }
  PetscCall(PetscLogEventBegin(CK_Reduce, 0, 0, 0, 0));
  PetscCallMPI(MPI_Alltoallv(p->send_all ? values : p->outgoing, p->counts[0], p->starts[0], type, p->incoming,
                             p->counts[1], p->starts[1], type, p->A->comm));
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
      target       *y = to + w * PANEL;                                                                                \
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

static char *Panel(CkBlockProduct p, PetscInt chunk, PetscInt kept)
{
  return p->packed + ((size_t)chunk * (size_t)p->kept + (size_t)kept) * (size_t)CHUNK * PANEL * p->bytes;
}

/* Messages and own values to panels, chunk after chunk from number `chunk` on. */
static void Unpack(CkBlockProduct p, PetscInt chunk, PetscInt count, const char *values, const double *shift)
{
  const size_t bytes = p->given_bytes;

  for (PetscInt first = 0; first < count; first += CHUNK) {
    const PetscInt terms = PetscMin(CHUNK, count - first);

    for (PetscInt i = 0; i < p->unpack.n; ++i) {
      const Run   *run = &p->unpack.list[i];
      const size_t stride = (size_t)p->received[run->peer];
      const char  *message = run->peer == p->rank ? values : p->incoming + (size_t)p->starts[1][run->peer] * bytes;

      UnpackRun(p, terms, run->length, message + ((size_t)first * stride + (size_t)run->from) * bytes, stride,
                shift ? shift + first : NULL,
                Panel(p, chunk + first / CHUNK, run->to / PANEL) + (size_t)(run->to % PANEL) * p->bytes);
    }
  }
}

/* Panels rows[0] .. rows[1]-1 times cols[0] .. cols[1]-1 of the local matrix. */
typedef struct {
  int rows[2], cols[2];
} Block;

/* First panel of rows that reaches the diagonal of the panel of columns. */
static int Diagonal(CkBlockProduct p, int col)
{
  return CkBlockFirst(p->A, 0, CkBlockGlobal(p->A, 1, col * PANEL)) / PANEL;
}

static double *SumOf(double *sums, const Block *block, int row, int col)
{
  return sums + ((size_t)(col - block->cols[0]) * SIDE + (size_t)(row - block->rows[0])) * PANEL * PANEL;
}

/* The block's entries from the matrix to the sums, or back; above the diagonal none. */
static void MoveBlock(CkBlockProduct p, const Block *block, PetscBool back)
{
  CkBlockMatrix A = p->A;
  const size_t  lead = (size_t)CkBlockLeading(A);

  for (int col = block->cols[0]; col < block->cols[1]; ++col) {
    const int width = PetscMin(PANEL, A->cols - col * PANEL);

    for (int row = PetscMax(block->rows[0], Diagonal(p, col)); row < block->rows[1]; ++row) {
      const size_t bytes = sizeof(double) * (size_t)PetscMin(PANEL, A->rows - row * PANEL);
      double *a = A->a + (size_t)col * PANEL * lead + (size_t)row * PANEL, *sum = SumOf(p->sum[0], block, row, col);

      for (int j = 0; j < width; ++j) {
        if (back) memcpy(a + (size_t)j * lead, sum + (size_t)j * PANEL, bytes);
        else memcpy(sum + (size_t)j * PANEL, a + (size_t)j * lead, bytes);
      }
    }
  }
}

/* `count` terms of one block from number `chunk` on, added to the sums in their order. Returns the operations. */
static double AddChunks(CkBlockProduct p, PetscInt chunk, PetscInt count, const Block *block, double *sums)
{
  double operations = 0;

  for (PetscInt first = 0; first < count; first += CHUNK, ++chunk) {
    for (int col = block->cols[0]; col < block->cols[1]; ++col) {
      for (int row = PetscMax(block->rows[0], Diagonal(p, col)); row < block->rows[1]; ++row) {
        p->kernel(PetscMin(CHUNK, count - first), Panel(p, chunk, p->panel_at[0][row]),
                  Panel(p, chunk, p->panel_at[1][col]), SumOf(sums, block, row, col));
        operations += 2. * PANEL * PANEL * (double)PetscMin(CHUNK, count - first);
      }
    }
  }
  return operations;
}

/* The block's entries += the products, entry by entry, of its two sums; on and below the diagonal, with its panel. */
static void AddProducts(CkBlockProduct p, const Block *block)
{
  CkBlockMatrix A = p->A;
  const size_t  lead = (size_t)CkBlockLeading(A);

  for (int col = block->cols[0]; col < block->cols[1]; ++col) {
    const int width = PetscMin(PANEL, A->cols - col * PANEL);

    for (int row = PetscMax(block->rows[0], Diagonal(p, col)); row < block->rows[1]; ++row) {
      const int     height = PetscMin(PANEL, A->rows - row * PANEL);
      const double *x = SumOf(p->sum[0], block, row, col), *y = SumOf(p->sum[1], block, row, col);
      double       *a = A->a + (size_t)col * PANEL * lead + (size_t)row * PANEL;

      for (int j = 0; j < width; ++j)
        for (int i = 0; i < height; ++i) a[(size_t)j * lead + (size_t)i] += x[j * PANEL + i] * y[j * PANEL + i];
    }
  }
}

/* What panels hold: terms of X, or (outputs > 0) those of A and of B behind them. */
typedef struct {
  PetscInt terms, outputs;
} Content;

/* Returns the operations. */
static double UpdateBlock(CkBlockProduct p, const Content *content, const Block *block)
{
  const size_t bytes = sizeof(double) * SIDE * SIDE * PANEL * PANEL;
  double       operations;

  if (content->outputs == 0) {
    MoveBlock(p, block, PETSC_FALSE);
    operations = AddChunks(p, 0, content->terms, block, p->sum[0]);
    MoveBlock(p, block, PETSC_TRUE);
  } else {
    for (int i = 0; i < 2; ++i) memset(p->sum[i], 0, bytes);
    operations = AddChunks(p, 0, content->terms, block, p->sum[0]);
    operations += AddChunks(p, Chunks(content->terms), content->outputs, block, p->sum[1]);
    AddProducts(p, block);
  }
  return operations;
}

/* All blocks of the lower triangle. */
static PetscErrorCode Update(CkBlockProduct p, const Content *content)
{
  double operations = 0;

  PetscFunctionBeginUser;
  for (int col = 0; col < p->panels[1] && p->panels[0] > 0; col += SIDE) {
    for (int row = Diagonal(p, col) / SIDE * SIDE; row < p->panels[0]; row += SIDE) {
      const Block block = {{row, PetscMin(row + SIDE, p->panels[0])}, {col, PetscMin(col + SIDE, p->panels[1])}};

      operations += UpdateBlock(p, content, &block);
    }
  }
  PetscCall(PetscLogFlops(operations));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkBlockProductAdd(CkBlockProduct p, PetscInt count, const void *values, const double shift[])
{
  const Content content = {.terms = count};

  PetscFunctionBeginUser;
  PetscCheck(count >= 0 && count <= p->terms, p->A->comm, PETSC_ERR_ARG_OUTOFRANGE,
             "%" PetscInt_FMT " terms, room for %" PetscInt_FMT, count, p->terms);
  PetscCall(Exchange(p, count, (const char *)values));
  PetscCall(PetscLogEventBegin(CK_Gram, 0, 0, 0, 0));
  Unpack(p, 0, count, (const char *)values, shift);
  PetscCall(Update(p, &content));
  PetscCall(PetscLogEventEnd(CK_Gram, 0, 0, 0, 0));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkBlockProductAddFactored(CkBlockProduct p, PetscInt inputs, const void *a, PetscInt outputs,
                                         const void *b)
{
  const Content content = {.terms = inputs, .outputs = outputs};

  PetscFunctionBeginUser;
  PetscCheck(inputs > 0 && outputs > 0 && CkBlockProductFactoredTerms(inputs, outputs) <= p->terms, p->A->comm,
             PETSC_ERR_ARG_OUTOFRANGE,
             "Factors of %" PetscInt_FMT " and %" PetscInt_FMT " terms, room for %" PetscInt_FMT, inputs, outputs,
             p->terms);
  PetscCall(Exchange(p, inputs, (const char *)a));
  Unpack(p, 0, inputs, (const char *)a, NULL);
  PetscCall(Exchange(p, outputs, (const char *)b));
  PetscCall(PetscLogEventBegin(CK_Gram, 0, 0, 0, 0));
  Unpack(p, Chunks(inputs), outputs, (const char *)b, NULL);
  PetscCall(Update(p, &content));
  PetscCall(PetscLogEventEnd(CK_Gram, 0, 0, 0, 0));
  PetscFunctionReturn(PETSC_SUCCESS);
}
