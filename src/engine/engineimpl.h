#pragma once
#include <clarkia/engine.h>

/*
  engineimpl.h: what an engine variant implements. engine.c checks arguments and order of calls, so a variant may rely
  on them: set up once, a point set before Values/Load/Train, n <= capacity, labels in range, a loaded tile before the
  contractions, columns set before dot.

  A variant without columnbytes, packcolumn, dot, accumulate and squarednorms gets them from explicit float64 rows
  (rowops.h); its engine coordinates are then the net's own, and getsize and unfold must be NULL as well.
*/
typedef enum { CK_FORM_AUTO, CK_FORM_FACTORED, CK_FORM_EXPLICIT } CkLayerForm;

typedef struct {
  const char *name;
  CkPrecision precision; /* of per-sample gradients */
  PetscBool   forms;     /* knows factored and explicit layers: -engine_layer_form is refused where not */

  PetscErrorCode (*setup)(CkEngine engine);   /* net, capacity and form are known; sets engine->data */
  PetscErrorCode (*destroy)(CkEngine engine); /* also after a set-up that failed half-way; engine->data may be NULL */
  PetscErrorCode (*view)(CkEngine engine, MPI_Comm comm);
  PetscErrorCode (*getsize)(CkEngine engine, PetscInt *de); /* NULL: d */
  PetscErrorCode (*getcost)(CkEngine engine, double *bytes, double *load, double *rows, double *dot,
                            double *accumulate); /* no pointer is NULL */
  PetscErrorCode (*setpoint)(CkEngine engine, const double weights[], const double buffers[]);

  /* Values (backward false) and Load (backward true). correct may be NULL. */
  PetscErrorCode (*run)(CkEngine engine, PetscBool backward, PetscInt n, const float features[],
                        const PetscInt labels[], double values[], int correct[]);
  PetscErrorCode (*rows)(CkEngine engine, CkPrecision precision, void *G, size_t ld);
  /* A range of weights: the next runs need make no other gradients (NULL: they make all), and its entries as
     CkEngineEntries() (NULL: taken from rows). */
  PetscErrorCode (*setrange)(CkEngine engine, PetscInt first, PetscInt count);
  PetscErrorCode (*entries)(CkEngine engine, PetscInt first, PetscInt count, void *G, size_t ld);
  /* As CkEngineGetFactors() and CkEngineFactors(); NULL, both: there are none. */
  PetscErrorCode (*getfactors)(CkEngine engine, PetscInt *n, const CkFactors **factors);
  PetscErrorCode (*factors)(CkEngine engine, PetscInt number, void *inputs, void *derivatives, size_t ld);
  PetscErrorCode (*squarednorms)(CkEngine engine, double original[], double folded[]); /* folded may be NULL */
  /* m is engine->columns; columns of that layout stand at engine->V */
  PetscErrorCode (*columnbytes)(CkEngine engine, PetscInt m, size_t *bytes);
  PetscErrorCode (*packcolumn)(CkEngine engine, PetscInt j, const double v[]);
  PetscErrorCode (*dot)(CkEngine engine, double S[]);
  PetscErrorCode (*accumulate)(CkEngine engine, PetscInt m, const double S[], double A[]);
  PetscErrorCode (*accumulate_exact)(CkEngine engine, PetscInt m, const double S[], CkExactSum sum); /* NULL: not */
  PetscErrorCode (*unfold)(CkEngine engine, PetscInt m, const double A[], double out[]);             /* NULL: copy */

  PetscErrorCode (*train)(CkEngine engine, const CkTrainingBlocks *blocks, double values[], int correct[],
                          double statistics[], CkExactSum gradient);
} CkEngineType;

struct _p_CkEngine {
  CkNet               net;
  const CkEngineType *type;
  PetscInt            capacity; /* samples in a tile */
  CkLayerForm         form;
  PetscBool           setup, point;
  PetscInt            loaded;         /* samples of the last Load; 0 after SetPoint or Values: nothing to contract */
  PetscInt            first, count;   /* range of weights; (0, d): all */
  PetscInt            columns;        /* in use */
  PetscInt64          columns_number; /* grows with whatever changes them */
  void               *V;        /* their packed form, own or borrowed: [columns x d] doubles unless the variant packs */
  void               *own;      /* memory for columns */
  size_t              own_room; /* bytes */
  void               *data;     /* of the variant */

  PetscInt  d;    /* trainable weights */
  double   *G;    /* defaults only: rows of the loaded tile [capacity x d] */
  PetscBool rows; /* defaults only: G is that of the loaded tile */
};

/* engine_types.c */
PetscErrorCode            CkEngineFindType(const char name[], const CkEngineType **type);
extern const CkEngineType CkEngineReference, CkEngineOnednn;
