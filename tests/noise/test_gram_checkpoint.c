/* A Gram assembly that was stopped goes on with the same bits; its file is refused for any other problem. */
#include "matrices.h"
#include "messages.h"
#include <clarkia/interrupt.h>
#include <clarkia/progress.h>
#include <unistd.h>

enum { N = 70, d = 1100 }; /* five ranges of 256 weights with the least memory */

static char file[64];

static void BuildWide(CkLoss loss, PetscInt samples)
{
  BuildWideLandscape(loss, samples, d);
}

static const TestLossKind wide = {"wide", PETSC_TRUE, NULL, {0, 0, 0}, CK_HEAD_MSE, NULL, BuildWide};

/* Two ranges of formed weights, and two factored layers, each with a pass of its own. */
static void BuildNet(CkNet net)
{
  PetscInt l = Plain(net, CK_LAYER_TANH, "tanh1", Conv(net, "conv", 0, 40, 3, 1, 1));

  l = Plain(net, CK_LAYER_FLATTEN, "flatten", l);
  l = Plain(net, CK_LAYER_TANH, "tanh2", Dense(net, "fc1", l, 9, PETSC_TRUE));
  Dense(net, "fc2", l, 5, PETSC_TRUE);
}

static const TestLossKind net = {"net", PETSC_FALSE, "onednn", {1, 4, 4}, CK_HEAD_CROSS_ENTROPY, BuildNet, NULL};

typedef struct {
  TestLoss    t;
  CkDiffusion D;
} Problem;

static Problem NewProblemOf(const TestLossKind *kind, MPI_Comm comm, PetscInt samples, const char precision[])
{
  Problem p;

  SetTestOption("-noise_memory", "1e-6");
  SetTestOption("-noise_gram_precision", precision);
  p.t = NewTestLoss(comm, kind, samples);
  OK(CkDiffusionCreate(p.t.loss, &p.D));
  OK(CkDiffusionSetFromOptions(p.D));
  return p;
}

static Problem NewProblem(MPI_Comm comm, PetscInt samples, const char precision[])
{
  return NewProblemOf(&wide, comm, samples, precision);
}

static void FreeProblem(Problem *p)
{
  OK(CkDiffusionDestroy(&p->D));
  FreeTestLoss(&p->t);
}

static void Remove(void)
{
  int rank;

  MPI_Barrier(PETSC_COMM_WORLD);
  MPI_Comm_rank(PETSC_COMM_WORLD, &rank);
  if (rank == 0) remove(file);
  MPI_Barrier(PETSC_COMM_WORLD);
}

/* No time at all: it stops within the first pass, with nothing to save. */
static void StopAtOnce(const Problem *p)
{
  CkBlockMatrix K;

  SetTestOption("-max_seconds", "1e-9");
  assert_message(CkDiffusionGram(p->D, &K), "stopped", file);
  OK(PetscOptionsClearValue(NULL, "-max_seconds"));
}

/* Rounds with more and more time: they stop in a pass, between slices, and come to the end. */
static void stopped_again_and_again_it_has_the_same_bits(void **state)
{
  static const char *const  precisions[] = {"single", "double", "double"};
  const TestLossKind *const kinds[] = {&wide, &wide, &net};

  (void)state;
  for (int i = 0; i < 3; ++i) {
    Problem        p;
    double        *expected, *got;
    CkBlockMatrix  K;
    PetscErrorCode ierr = CK_ERR_REQUEUE;
    double         seconds = 1e-3;

    OK(PetscOptionsClearValue(NULL, "-noise_checkpoint"));
    p = NewProblemOf(kinds[i], PETSC_COMM_WORLD, N, precisions[i]);
    expected = NewGram(p.D);
    FreeProblem(&p);
    SetTestOption("-noise_checkpoint", file);
    SetTestOption("-noise_checkpoint_interval", "0");
    p = NewProblemOf(kinds[i], PETSC_COMM_WORLD, N, precisions[i]);
    StopAtOnce(&p);
    assert_on_all_ranks(access(file, F_OK) != 0);
    OK(PetscPushErrorHandler(PetscReturnErrorHandler, NULL));
    for (; ierr == CK_ERR_REQUEUE && seconds < 100; seconds *= 1.5) {
      char limit[64];

      snprintf(limit, sizeof(limit), "%.9g", CkElapsed() + seconds);
      SetTestOption("-max_seconds", limit);
      ierr = CkDiffusionGram(p.D, &K);
    }
    OK(PetscPopErrorHandler());
    OK(PetscOptionsClearValue(NULL, "-max_seconds"));
    assert_on_all_ranks(ierr == 0);
    got = NewFullMatrix(K);
    assert_on_all_ranks(!memcmp(got, expected, sizeof(double) * N * N));
    OK(CkBlockMatrixDestroy(&K));
    OK(PetscFree(got));
    got = NewGram(p.D); /* from the file of the complete assembly: no pass over the data */
    assert_on_all_ranks(!memcmp(got, expected, sizeof(double) * N * N));
    OK(PetscFree(got));
    OK(PetscFree(expected));
    FreeProblem(&p);
    Remove();
  }
}

/* A file of all ranks is gone on from by each alone: only the losses of all samples, which with the mean gradient tell
   whose file it is, are computed. */
static void another_number_of_ranks_goes_on(void **state)
{
  Problem p;
  double *expected, *got, before, after;

  (void)state;
  SetTestOption("-noise_checkpoint", file);
  p = NewProblem(PETSC_COMM_WORLD, N, "single");
  expected = NewGram(p.D);
  FreeProblem(&p);
  p = NewProblem(PETSC_COMM_SELF, N, "single");
  OK(CkDiffusionTrace(p.D, &before));
  OK(CkLossGetPasses(p.t.loss, &before));
  got = NewGram(p.D);
  OK(CkLossGetPasses(p.t.loss, &after));
  assert_close(after - before, 1. / 3, 1e-12, 1);
  assert_on_all_ranks(!memcmp(got, expected, sizeof(double) * N * N));
  FreeProblem(&p);
  OK(PetscFree(got));
  OK(PetscFree(expected));
  Remove();
}

static void another_problem_is_refused(void **state)
{
  CkBlockMatrix K;
  Problem       p;
  FILE         *text;
  int           rank;

  (void)state;
  SetTestOption("-noise_checkpoint", file);
  p = NewProblem(PETSC_COMM_WORLD, N, "single");
  OK(CkDiffusionGram(p.D, &K));
  OK(CkBlockMatrixDestroy(&K));
  SetTestPoint(p.t.loss, 42, 1);
  assert_message(CkDiffusionGram(p.D, &K), file, "another problem", "the weights");
  FreeProblem(&p);
  p = NewProblem(PETSC_COMM_WORLD, N + 1, "single");
  assert_message(CkDiffusionGram(p.D, &K), file, "another problem", "samples is 70, here it is 71");
  FreeProblem(&p);
  p = NewProblem(PETSC_COMM_WORLD, N, "double");
  assert_message(CkDiffusionGram(p.D, &K), file, "another problem", "precision is single, here double");
  FreeProblem(&p);
  p = NewProblem(PETSC_COMM_WORLD, N, "single");
  OK(CkDiffusionSetCentred(p.D, PETSC_FALSE));
  assert_message(CkDiffusionGram(p.D, &K), file, "another problem", "centred is 1, here it is 0");
  Remove();
  MPI_Comm_rank(PETSC_COMM_WORLD, &rank);
  if (rank == 0) {
    text = fopen(file, "w");
    fputs("not HDF5\n", text);
    fclose(text);
  }
  MPI_Barrier(PETSC_COMM_WORLD);
  assert_message(CkDiffusionGram(p.D, &K), file);
  FreeProblem(&p);
  Remove();
}

/* Factored layers are no chunks of weights: their file is not one of formed gradients. */
static void another_form_is_refused(void **state)
{
  CkBlockMatrix K;
  Problem       p;

  (void)state;
  SetTestOption("-noise_checkpoint", file);
  p = NewProblemOf(&net, PETSC_COMM_WORLD, N, "double");
  OK(CkDiffusionGram(p.D, &K));
  OK(CkBlockMatrixDestroy(&K));
  FreeProblem(&p);
  SetTestOption("-engine_layer_form", "explicit");
  p = NewProblemOf(&net, PETSC_COMM_WORLD, N, "double");
  assert_message(CkDiffusionGram(p.D, &K), file, "another problem", "its formed is 414, here it is 6219");
  FreeProblem(&p);
  OK(PetscOptionsClearValue(NULL, "-engine_layer_form"));
  Remove();
}

static int SetFileName(void **state)
{
  (void)state;
  snprintf(file, sizeof(file), "gram-%ld.h5", (long)getppid());
  return 0;
}

static const struct CMUnitTest tests[] = {
  cmocka_unit_test_setup(stopped_again_and_again_it_has_the_same_bits, SetFileName),
  cmocka_unit_test_setup(another_number_of_ranks_goes_on, SetFileName),
  cmocka_unit_test_setup(another_problem_is_refused, SetFileName),
  cmocka_unit_test_setup(another_form_is_refused, SetFileName),
};
CK_TEST_MAIN(tests, PetscInitialize, PetscFinalize)
