#pragma once
#include <clarkia/error.h>
#include <clarkia/loss.h>
#include <clarkia/nodearray.h>
#include <clarkia/progress.h>
#include <clarkia/rowops.h>

/*
  lossimpl.h: what a type of loss implements. loss.c, contractions.c and pass.c cut batches into sum blocks and tiles,
  sum exactly and communicate; a type sees one tile of samples on one rank at a time and never communicates (but for
  train()). The shared code checks arguments and order: a type may rely on a point set, on indices in range, on n <=
  loss->tile, on a loaded tile before contractions, on columns set before dot.
*/
typedef struct {
  const char *name;
  /* What CkLossSet...() gave is complete and consistent (user errors); sets d, N, de, tile, precision. Collective. */
  PetscErrorCode (*setup)(CkLoss loss);
  PetscErrorCode (*destroy)(CkLoss loss); /* frees loss->data, which may be NULL or half made */
  PetscErrorCode (*view)(CkLoss loss);
  PetscErrorCode (*startpoint)(CkLoss loss, double x[]);                                /* NULL: x = 0 */
  PetscErrorCode (*nameentry)(CkLoss loss, PetscInt entry, char text[], size_t length); /* NULL: "weight 17" */
  PetscErrorCode (*setpoint)(CkLoss loss);                                              /* loss->x is new and finite */

  /* f_k and right predictions (0 or 1) of n samples: forward only, and with what the contractions need. */
  PetscErrorCode (*values)(CkLoss loss, PetscInt n, const PetscInt index[], double values[], int correct[]);
  PetscErrorCode (*load)(CkLoss loss, PetscInt n, const PetscInt index[], double values[], int correct[]);

  /* Contractions of the loaded tile: as those of CkEngine; unfold NULL: de = d, T = identity. A type whose load()
     leaves explicit float64 rows in loss->rows takes CK_ROW_CONTRACTIONS (rowloss.c). */
  PetscErrorCode (*rows)(CkLoss loss, CkPrecision precision, void *G, size_t ld);
  /* A range of entries, as those of CkEngine; NULL, both: taken from rows. */
  PetscErrorCode (*setrange)(CkLoss loss, PetscInt first, PetscInt count);
  PetscErrorCode (*entries)(CkLoss loss, PetscInt first, PetscInt count, void *G, size_t ld);
  PetscErrorCode (*squarednorms)(CkLoss loss, double original[], double folded[]);
  /* As CkEngineColumnBytes(), CkEngineUseColumns() and CkEnginePackColumn(). */
  PetscErrorCode (*columnbytes)(CkLoss loss, PetscInt m, size_t *bytes);
  PetscErrorCode (*usecolumns)(CkLoss loss, PetscInt m, void *memory);
  PetscErrorCode (*packcolumn)(CkLoss loss, PetscInt j, const double v[]);
  PetscErrorCode (*dot)(CkLoss loss, double S[]);
  PetscErrorCode (*accumulate)(CkLoss loss, PetscInt m, const double S[], double A[]);
  PetscErrorCode (*accumulate_exact)(CkLoss loss, PetscInt m, const double S[], CkExactSum sum); /* loss->exact */
  PetscErrorCode (*unfold)(CkLoss loss, PetscInt m, const double A[], double out[]);

  /* Training mode; NULL: the samples do not notice each other, evaluation mode is the same. blocks lacks features and
     labels, index [samples of this rank] says which they are. Adds sum_k w_k g_k to gradient unless a value on any rank
     is not finite; bad terms spoil gradient, which holds them. Collective. */
  PetscErrorCode (*train)(CkLoss loss, CkTrainingBlocks *blocks, const PetscInt index[], double values[], int correct[],
                          CkExactSum gradient);
} CkLossType;

/*
  CkWhole: whole.c, parts of vectors on all ranks to whole vectors [d] in arrays of nodes, one copy a node: each rank
  writes its part, and one rank of each node gets those of the other nodes.
*/
typedef struct {
  MPI_Comm     node, leaders;   /* leaders: the first ranks of all nodes; NULL on other ranks */
  PetscMPIInt  nodes, me;       /* of leaders; this rank's node */
  PetscMPIInt *counts, *starts; /* [nodes] of what each node has, one after the other */
  PetscMPIInt *order;           /* [size] ranks, node by node */
  double      *mine, *all;      /* [d] what goes from leader to leader; all in that order */
} CkWhole;

struct _p_CkLoss {
  MPI_Comm          comm; /* a duplicate */
  PetscMPIInt       rank, size;
  const CkLossType *type;
  void             *data; /* of the type */
  PetscBool         setup;

  /* Options. */
  PetscInt  sum_block, group;
  double    l2;
  PetscBool reproducible;
  uint64_t  seed;

  /* Set by the type's setup(). */
  PetscInt      d, N;
  PetscInt      de;        /* length of engine coordinates */
  PetscInt      tile;      /* samples of a tile; divides sum_block */
  PetscBool     exact;     /* the type has accumulate_exact */
  CkPrecision   precision; /* of per-sample gradients */
  CkNet         net;       /* NULL: a landscape; so samples */
  CkData        samples;
  CkEngine      engine;
  const double *statistics; /* of the last training-mode gradient */

  const double *x;      /* [d] the point, on every rank: that of `point` */
  CkNodeArray   point;  /* once per node where it can be */
  CkWhole       whole;  /* whole.c: how vectors become whole */
  PetscInt      first;  /* this rank's part of a Vec */
  PetscInt      local;  /* its length */
  PetscMPIInt  *counts; /* [size] lengths and starts of all ranks' parts */
  PetscMPIInt  *starts;

  /* Per point: squared norms of all samples and their mean gradient. */
  PetscBool cached;
  double   *norms, *folded, *mean;

  double     passes;
  CkPass     pass;     /* work space of all sweeps; pass->active while one is under way */
  CkExactSum gradient; /* of training mode */
  CkRows     rows;     /* explicit rows of the loaded tile; types with CK_ROW_CONTRACTIONS */
  double    *G;        /* [tile x d], the rows' memory */
  PetscInt   columns;  /* their columns, V [columns x d], borrowed */
  double    *V;
  double    *work[4]; /* grow-only scratch of contractions.c */
  size_t     room[4];
};

struct _p_CkPass {
  CkLoss     loss;
  PetscBool  active, forward_only, over;
  CkBatch    batch;
  CkBlocks   blocks;
  CkTile     now;
  PetscInt   rounds;
  PetscInt  *index;    /* [tile] samples of the tile */
  double    *values;   /* [tile] */
  int       *correct;  /* [tile] */
  CkVerdict  verdict;  /* first non-finite number met on this rank */
  CkProgress progress; /* of a sweep of several rounds */

  PetscInt    first, count; /* range of entries */
  PetscInt    m;            /* columns of Dot */
  double     *norms;        /* [m] */
  PetscInt    vectors;      /* of Accumulate */
  int         limbs;
  PetscBool   dirty; /* A holds terms that are not in the sum yet, or it is not checked */
  CkExactSum  sum;   /* unused where not reproducible */
  PetscInt    sum_vectors;
  int         sum_limbs;
  double     *A;    /* [vectors x de] of the current sum block, or of all where not reproducible; in the end the sums */
  double     *wide; /* [d] one of the sums in original coordinates */
  void       *G;    /* [tile x d] rows, of types without entries() */
  size_t      A_room, norms_room;
  CkNodeArray gathered; /* columns.c: whole vectors on their way to columns */
  CkNodeArray columns;  /* packed, and behind them what columns.c notes of each; once per node where it can be */
};

/* Largest |g_k| that exact sums without known norms take, and the unit they resolve is 2^-102 of it. */
#define CK_LOSS_WIDE 0x1p40

/* loss.c */
PetscErrorCode CkLossUseType(CkLoss loss, const char name[]);
PetscErrorCode CkLossCheckLocal(CkLoss loss, Vec v);                     /* laid out as by CkLossCreateVec() */
PetscErrorCode CkLossToVec(CkLoss loss, const double all[], Vec v);      /* this rank's part */
PetscErrorCode CkLossCheckBatch(CkLoss loss, const CkBatch *batch);      /* sizes and indices */
PetscErrorCode CkLossCheckEvaluation(CkLoss loss, const CkBatch *batch); /* refuses training mode */
PetscInt       CkFirstNonFinite(size_t n, const double x[]);             /* -1: all are finite */
PetscErrorCode CkGrow(size_t n, size_t *room, double **array);           /* contents are lost */

/* loss_types.c */
PetscErrorCode          CkLossFindType(const char name[], const CkLossType **type); /* NULL: none of that name */
extern const CkLossType CkLossNetwork, CkLossQuadratic, CkLossLinearRegression, CkLossTwoWeight;

/* whole.c. Gather: vectors [n x d] whole in the array, ready to be read; waits until those that were in it are not read
   any more. Scatter: v[r] for r < count <= ranks is cut from `mine` [d] of rank r (unused on other ranks). Collective.
 */
PetscErrorCode CkWholeCreate(CkLoss loss); /* after the layout */
PetscErrorCode CkWholeDestroy(CkLoss loss);
PetscErrorCode CkWholeGather(CkLoss loss, PetscInt n, const Vec v[], CkNodeArray *array);
PetscErrorCode CkWholeScatter(CkLoss loss, PetscInt count, const double mine[], Vec v[]);

/* rowloss.c: for types with explicit rows */
PetscErrorCode CkRowLossSetUp(CkLoss loss); /* after d and N: sets de, tile, precision and allocates loss->G */
PetscErrorCode CkRowLossCheckSize(CkLoss loss, PetscInt d, PetscInt N); /* user error where not positive; collective */
/* A copy of n numbers; a non-finite one is a user error that names `what` and its number. Collective. */
PetscErrorCode CkRowLossCopy(CkLoss loss, const char what[], size_t n, const double values[], double **copy);
PetscErrorCode CkRowLossRows(CkLoss loss, CkPrecision precision, void *G, size_t ld);
PetscErrorCode CkRowLossSquaredNorms(CkLoss loss, double original[], double folded[]);
PetscErrorCode CkRowLossColumnBytes(CkLoss loss, PetscInt m, size_t *bytes);
PetscErrorCode CkRowLossUseColumns(CkLoss loss, PetscInt m, void *memory);
PetscErrorCode CkRowLossPackColumn(CkLoss loss, PetscInt j, const double v[]);
PetscErrorCode CkRowLossDot(CkLoss loss, double S[]);
PetscErrorCode CkRowLossAccumulate(CkLoss loss, PetscInt m, const double S[], double A[]);
#define CK_ROW_CONTRACTIONS                                                                                            \
  .rows = CkRowLossRows, .squarednorms = CkRowLossSquaredNorms, .columnbytes = CkRowLossColumnBytes,                   \
  .usecolumns = CkRowLossUseColumns, .packcolumn = CkRowLossPackColumn, .dot = CkRowLossDot,                           \
  .accumulate = CkRowLossAccumulate

/* contractions.c: bounds of sums with weights W [n x m] where norms are not known: |g_k| < CK_LOSS_WIDE. */
void CkWideBounds(PetscInt n, PetscInt m, const double W[], double bounds[]);

/* statistics.c: norms and mean gradient of the point into the cache, in one sweep with out_j = sum_k W_kj g_k, W [N x
 * m].
 */
PetscErrorCode CkLossCacheWith(CkLoss loss, PetscInt m, const double W[], Vec out[]);

/* pass.c */
PetscErrorCode CkPassStart(CkLoss loss, const CkBatch *batch, PetscBool forward_only, CkPass *pass);
PetscErrorCode CkPassSetSum(CkPass pass, PetscInt m, const double bounds[], int limbs);
PetscErrorCode CkPassSumOverRanks(CkPass pass); /* collective, after the sweep */
/* Sum j after that, [d] on every rank; valid until the next call. Not collective. */
PetscErrorCode CkPassGetSum(CkPass pass, PetscInt j, const double **sum);
PetscErrorCode CkPassDestroy(CkPass *pass);
