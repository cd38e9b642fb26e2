/* Folding: T' is the derivative of the folded weights, T is its transpose, and a row's units are T of the folded row.
 */
#include "fold.h"
#include "nets.h"
#include "testing.h"

typedef struct {
  CkNet    net;
  CkFold  *fold;
  PetscInt d;
  double  *weights, *buffers;
} Folded;

static Folded NewFolded(const TestNet *t, PetscBool fold)
{
  Folded f;

  f.net = NewTestNet(t, CK_HEAD_CROSS_ENTROPY);
  OK(CkNetGetDimension(f.net, &f.d));
  NewPoint(f.net, 3, &f.weights, &f.buffers);
  OK(CkFoldCreate(f.net, fold, &f.fold));
  OK(CkFoldSetPoint(f.fold, f.weights, f.buffers));
  return f;
}

static void FreeFolded(Folded *f)
{
  OK(CkFoldDestroy(&f->fold));
  OK(PetscFree(f->weights));
  OK(PetscFree(f->buffers));
  OK(CkNetDestroy(&f->net));
}

static void ForEachNet(void (*body)(Folded *f))
{
  for (size_t t = 0; t < TEST_NETS; ++t) {
    Folded f = NewFolded(&test_nets[t], PETSC_TRUE);

    body(&f);
    FreeFolded(&f);
  }
}

static double Inner(PetscInt n, const double a[], const double b[])
{
  double sum = 0;

  for (PetscInt i = 0; i < n; ++i) sum += a[i] * b[i];
  return sum;
}

/* d/dh (W', b')(x + h v) at h = 0 by central differences: the folded weights are quadratic in x at most (W scaled by
   gamma), so the difference is exact but for rounding of 1e-16/h; T' holds W in float32. */
static void CheckDerivative(Folded *f)
{
  const double h = 1e-3;
  double      *v = NewNormals(5, (size_t)f->d), *moved, *plus, *expected;

  OK(PetscMalloc3(f->d, &moved, f->fold->de, &plus, f->fold->de, &expected));
  OK(CkFoldTranspose(f->fold, v, expected));
  for (PetscInt i = 0; i < f->d; ++i) moved[i] = f->weights[i] + h * v[i];
  OK(CkFoldSetPoint(f->fold, moved, f->buffers));
  OK(PetscArraycpy(plus, f->fold->point, f->fold->de));
  for (PetscInt i = 0; i < f->d; ++i) moved[i] = f->weights[i] - h * v[i];
  OK(CkFoldSetPoint(f->fold, moved, f->buffers));
  for (PetscInt i = 0; i < f->fold->de; ++i)
    assert_close((plus[i] - f->fold->point[i]) / (2 * h), expected[i], 1e-6, 1 + fabs(expected[i]));
  OK(PetscFree3(moved, plus, expected));
  OK(PetscFree(v));
}

static void transpose_is_the_derivative_of_the_folded_weights(void **state)
{
  (void)state;
  ForEachNet(CheckDerivative);
}

static void CheckAdjoint(Folded *f)
{
  double *v = NewNormals(7, (size_t)f->d), *a = NewNormals(8, (size_t)f->fold->de), *Ta, *Tv;

  OK(PetscMalloc2(f->d, &Ta, f->fold->de, &Tv));
  for (PetscInt i = 0; i < f->d; ++i) Ta[i] = NAN; /* every entry is written */
  for (PetscInt i = 0; i < f->fold->de; ++i) Tv[i] = NAN;
  OK(CkFoldApply(f->fold, a, Ta));
  OK(CkFoldTranspose(f->fold, v, Tv));
  assert_close(Inner(f->d, Ta, v), Inner(f->fold->de, a, Tv), 1e-13, sqrt(Inner(f->d, Ta, Ta) * Inner(f->d, v, v)));
  OK(PetscFree2(Ta, Tv));
  OK(PetscFree(v));
  OK(PetscFree(a));
}

static void apply_and_transpose_are_adjoint(void **state)
{
  (void)state;
  ForEachNet(CheckAdjoint);
}

/* Unit by unit, in both precisions, with a factor; the norms of the units add up to that of the row. */
static void CheckUnits(Folded *f)
{
  const CkFold *fold = f->fold;
  double       *a = NewNormals(9, (size_t)fold->de), *row, *expected, norm = 0;
  float        *g, *single;

  OK(PetscMalloc4(f->d, &row, f->d, &expected, fold->de, &g, f->d, &single));
  for (PetscInt i = 0; i < fold->de; ++i) a[i] = g[i] = (float)a[i];
  OK(CkFoldApply(fold, a, expected));
  for (PetscInt i = 0; i < fold->nlayers; ++i) {
    const CkFoldLayer *l = &fold->layers[i];

    for (PetscInt o = 0; o < l->units; ++o) {
      const PetscInt   at = l->first + o * l->fan_in;
      const double     shift = l->shift ? a[l->first + l->units * l->fan_in + o] : 0;
      const CkFoldUnit u = {.fold = fold, .layer = l, .unit = o, .factor = 0.5F, .shift = (float)shift, .g = g + at};
      double           square = 0, product = 0;

      for (PetscInt t = 0; t < l->fan_in; ++t) {
        g[at + t] *= 2; /* times the factor: a again */
        square += a[at + t] * a[at + t];
        product += a[at + t] * (double)fold->original[at + t];
      }
      CkFoldUnitRow(&u, CK_FLOAT64, row);
      CkFoldUnitRow(&u, CK_FLOAT32, single);
      norm += CkFoldUnitNorm(fold, l, o, square, product, shift);
    }
  }
  for (PetscInt i = 0; i < f->d; ++i) {
    assert_close(row[i], expected[i], 1e-6, 1 + fabs(expected[i]));
    assert_on_all_ranks((double)single[i] == row[i]);
  }
  assert_close(norm, Inner(f->d, expected, expected), 1e-12, norm);
  OK(PetscFree4(row, expected, g, single));
  OK(PetscFree(a));
}

static void rows_by_unit_are_T_of_the_folded_row(void **state)
{
  (void)state;
  ForEachNet(CheckUnits);
}

/* Which norms are folded: those right behind a convolution or dense layer that nobody else reads. */
static void only_norms_behind_linear_layers_are_folded(void **state)
{
  static const struct {
    const char *net;
    PetscInt    folded, own;
  } expected[] = {{"norm", 3, 0}, {"lenet", 2, 0}, {"allconv", 1, 0}, {"residual", 2, 1}, {"concat", 0, 2}};

  (void)state;
  for (size_t e = 0; e < sizeof(expected) / sizeof(expected[0]); ++e)
    for (size_t t = 0; t < TEST_NETS; ++t) {
      Folded         f;
      const CkLayer *layers;
      PetscInt       n, folded = 0, own = 0;

      if (strcmp(test_nets[t].name, expected[e].net)) continue;
      f = NewFolded(&test_nets[t], PETSC_TRUE);
      OK(CkNetGetLayers(f.net, &n, &layers));
      for (PetscInt i = 0; i < f.fold->nlayers; ++i) {
        folded += f.fold->layers[i].norm >= 0;
        own += layers[f.fold->layers[i].layer].type == CK_LAYER_BATCHNORM;
      }
      assert_int_equal(folded, expected[e].folded);
      assert_int_equal(own, expected[e].own);
      FreeFolded(&f);
    }
}

/* Without folding T is the identity, and the folded point is the point. */
static void without_folding_nothing_changes(void **state)
{
  (void)state;
  for (size_t t = 0; t < TEST_NETS; ++t) {
    Folded  f = NewFolded(&test_nets[t], PETSC_FALSE);
    double *out;

    OK(PetscMalloc1(f.d, &out));
    assert_int_equal(f.fold->de, f.d);
    OK(CkFoldApply(f.fold, f.fold->point, out));
    for (PetscInt i = 0; i < f.d; ++i) assert_on_all_ranks(out[i] == f.weights[i]);
    OK(PetscFree(out));
    FreeFolded(&f);
  }
}

static const struct CMUnitTest tests[] = {
  cmocka_unit_test(transpose_is_the_derivative_of_the_folded_weights),
  cmocka_unit_test(apply_and_transpose_are_adjoint), cmocka_unit_test(rows_by_unit_are_T_of_the_folded_row),
  cmocka_unit_test(only_norms_behind_linear_layers_are_folded), cmocka_unit_test(without_folding_nothing_changes)};

CK_TEST_MAIN(tests, PetscInitialize, PetscFinalize)
