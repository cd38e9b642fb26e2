/* Gram matrices with factored dense layers, (G.10): against the reference engine and against the same with every
   gradient formed; the same bits on any number of ranks and in any number of ranges; the passes of the plan. */
#include "matrices.h"

enum { N = 83, KINDS = 4, FORMS = 3 };

/* More inputs than a chunk of terms, more than one hidden layer, more weights than all other layers together. */
static void BuildLong(CkNet net)
{
  PetscInt l = Plain(net, CK_LAYER_TANH, "tanh1", Dense(net, "fc1", 0, 7, PETSC_TRUE));

  l = Plain(net, CK_LAYER_TANH, "tanh2", Norm(net, "bn2", Dense(net, "fc2", l, 6, PETSC_FALSE)));
  Dense(net, "fc3", l, 3, PETSC_TRUE);
}

static const TestLossKind kinds[KINDS] = {
  {"onednn tanh", PETSC_FALSE, "onednn", {5, 1, 1}, CK_HEAD_CROSS_ENTROPY, BuildTestTanh, NULL},
  {"onednn norm", PETSC_FALSE, "onednn", {2, 5, 5}, CK_HEAD_MSE, BuildNorm, NULL}, /* a mean larger than what varies */
  {"onednn lenet", PETSC_FALSE, "onednn", {1, 8, 8}, CK_HEAD_CROSS_ENTROPY, BuildLenet, NULL},
  {"onednn long", PETSC_FALSE, "onednn", {300, 1, 1}, CK_HEAD_CROSS_ENTROPY, BuildLong, NULL},
};

static const char *const forms[FORMS] = {"auto", "factored", "explicit"};
/* [kind][form] factored layers: auto where 2 (inputs + outputs) < inputs outputs */
static const PetscInt layers[KINDS][FORMS] = {{1, 2, 0}, {1, 2, 0}, {1, 2, 0}, {2, 3, 0}};

typedef struct {
  TestLoss    t;
  CkDiffusion D;
} Problem;

static Problem NewProblem(MPI_Comm comm, const TestLossKind *kind)
{
  Problem p = {.t = NewTestLoss(comm, kind, N)};

  OK(CkDiffusionCreate(p.t.loss, &p.D));
  OK(CkDiffusionSetFromOptions(p.D));
  return p;
}

static void FreeProblem(Problem *p)
{
  OK(CkDiffusionDestroy(&p->D));
  FreeTestLoss(&p->t);
}

static double *NewGramOf(MPI_Comm comm, const TestLossKind *kind, CkGramForm *form)
{
  Problem p = NewProblem(comm, kind);
  double *K;

  OK(CkDiffusionGetGramForm(p.D, form));
  K = NewGram(p.D);
  FreeProblem(&p);
  return K;
}

static double *NewReference(TestLossKind kind)
{
  CkGramForm form;
  double    *K;

  kind.engine = "reference";
  OK(PetscOptionsClearValue(NULL, "-engine_layer_form"));
  K = NewGramOf(PETSC_COMM_WORLD, &kind, &form);
  assert_on_all_ranks(form.layers == 0);
  return K;
}

static void CheckForms(int k)
{
  double *reference = NewReference(kinds[k]), *K[FORMS];

  for (int f = 0; f < FORMS; ++f) {
    CkGramForm form;

    SetTestOption("-engine_layer_form", forms[f]);
    K[f] = NewGramOf(PETSC_COMM_WORLD, &kinds[k], &form);
    if (form.layers != layers[k][f])
      fprintf(stderr, "%s, %s: %d factored layers\n", kinds[k].name, forms[f], (int)form.layers);
    assert_on_all_ranks(form.layers == layers[k][f]);
    assert_on_all_ranks(RelativeDifference(N * N, K[f], reference) <= 1e-5);
  }
  /* formed entries are rounded products of the factors: no more than that is between the two */
  assert_on_all_ranks(RelativeDifference(N * N, K[1], K[2]) <= 1e-6);
  for (int f = 0; f < FORMS; ++f) OK(PetscFree(K[f]));
  OK(PetscFree(reference));
  OK(PetscOptionsClearValue(NULL, "-engine_layer_form"));
}

static void factored_and_formed_are_the_same_matrix(void **state)
{
  (void)state;
  for (int k = 0; k < KINDS; ++k) CheckForms(k);
  SetTestOption("-noise_gram_precision", "single");
  for (int k = 0; k < KINDS; ++k) CheckForms(k);
  OK(PetscOptionsClearValue(NULL, "-noise_gram_precision"));
}

static void the_second_moment_is_factored_without_weight_decay_only(void **state)
{
  CkGramForm form;
  double    *K;

  (void)state;
  SetTestOption("-noise_centred", "false");
  for (int k = 0; k < KINDS; ++k) CheckForms(k);
  SetTestOption("-loss_l2", "0.3");
  SetTestOption("-engine_layer_form", "factored");
  K = NewGramOf(PETSC_COMM_WORLD, &kinds[3], &form);
  assert_on_all_ranks(form.layers == 0);
  OK(PetscOptionsClearValue(NULL, "-engine_layer_form"));
  OK(PetscFree(K));
  OK(PetscOptionsClearValue(NULL, "-loss_l2"));
  OK(PetscOptionsClearValue(NULL, "-noise_centred"));
}

/* All ranks with little memory, many ranges, against one with all it wants. */
static void any_ranks_and_ranges_have_the_same_bits(void **state)
{
  static const char *const memory[] = {"2", "1e-6"};

  (void)state;
  for (int f = 0; f < FORMS; ++f) {
    SetTestOption("-engine_layer_form", forms[f]);
    for (int k = 0; k < KINDS; ++k) {
      CkGramForm form;
      double    *expected, *got;

      SetTestOption("-noise_memory", "2");
      expected = NewGramOf(PETSC_COMM_SELF, &kinds[k], &form);
      for (int m = 0; m < 2; ++m) {
        SetTestOption("-noise_memory", memory[m]);
        got = NewGramOf(PETSC_COMM_WORLD, &kinds[k], &form);
        assert_on_all_ranks(!memcmp(got, expected, sizeof(double) * N * N));
        OK(PetscFree(got));
      }
      OK(PetscFree(expected));
    }
  }
  OK(PetscOptionsClearValue(NULL, "-noise_memory"));
  OK(PetscOptionsClearValue(NULL, "-engine_layer_form"));
}

/* With all memory one pass; with the least one for the formed weights, one for the long layer, one for the others. */
static void passes_are_those_of_the_plan(void **state)
{
  static const char *const memory[] = {"2", "1e-6"};
  static const double      expected[] = {1, 3};

  (void)state;
  SetTestOption("-engine_layer_form", "factored");
  for (int m = 0; m < 2; ++m) {
    Problem        p;
    CkAssemblyCost cost;
    double         before, after, *K;

    SetTestOption("-noise_memory", memory[m]);
    p = NewProblem(PETSC_COMM_WORLD, &kinds[3]);
    OK(CkDiffusionAssemblyCost(p.D, PETSC_TRUE, &cost));
    assert_close(cost.passes, expected[m], 1e-12, 1);
    /* biases, gains and shifts of 7, 6 and 3 units; 300 -> 7 -> 6 -> 3 */
    assert_close(cost.products, N * (double)N * (7 + 12 + 3 + 307 + 13 + 9), 1e-12, cost.products);
    OK(CkDiffusionTrace(p.D, &before)); /* the mean is known then */
    OK(CkLossGetPasses(p.t.loss, &before));
    K = NewGram(p.D);
    OK(CkLossGetPasses(p.t.loss, &after));
    assert_close(after - before, cost.passes, 1e-12, after);
    OK(PetscFree(K));
    FreeProblem(&p);
  }
  OK(PetscOptionsClearValue(NULL, "-noise_memory"));
  OK(PetscOptionsClearValue(NULL, "-engine_layer_form"));
}

static const struct CMUnitTest tests[] = {
  cmocka_unit_test(factored_and_formed_are_the_same_matrix),
  cmocka_unit_test(the_second_moment_is_factored_without_weight_decay_only),
  cmocka_unit_test(any_ranks_and_ranges_have_the_same_bits),
  cmocka_unit_test(passes_are_those_of_the_plan),
};
CK_TEST_MAIN(tests, PetscInitialize, PetscFinalize)
