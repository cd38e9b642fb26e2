#pragma once
#include <clarkia/error.h>
#include <clarkia/options.h>
#include <math.h>
#include <mpi.h>
#include <petscsys.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

/* A call that must succeed: abort the whole job if not. Never with the error's own code: PETSC_ERR_PLIB is 77, which
   CTest takes for "skipped". */
#define OK(...)                                                                                                        \
  do {                                                                                                                 \
    PetscErrorCode ck_ok_ = (__VA_ARGS__);                                                                             \
    if (PetscUnlikely(ck_ok_)) {                                                                                       \
      (void)PetscError(PETSC_COMM_SELF, __LINE__, PETSC_FUNCTION_NAME, __FILE__, ck_ok_, PETSC_ERROR_REPEAT, " ");     \
      CkErrorReport(ck_ok_); /* if the handler has held it back */                                                     \
      MPI_Abort(PETSC_COMM_WORLD, 1);                                                                                  \
    }                                                                                                                  \
  } while (0)

/* A failed cmocka assertion longjmps out; if one rank leaves, the others hang in their next collective call. So the
   verdict is reduced first, and every rank fails together. */
#define assert_on_all_ranks(mine)                                                                                      \
  do {                                                                                                                 \
    int ck_mine_ = (mine) ? 1 : 0, ck_all_ = 0;                                                                        \
    if (!ck_mine_) fprintf(stderr, "%s:%d: false on this rank: %s\n", __FILE__, __LINE__, #mine);                      \
    assert_int_equal(MPI_Allreduce(&ck_mine_, &ck_all_, 1, MPI_INT, MPI_LAND, PETSC_COMM_WORLD), MPI_SUCCESS);         \
    assert_true(ck_all_);                                                                                              \
  } while (0)

/* |a - b| <= tolerance * scale on every rank, with both numbers printed where it fails. */
#define assert_close(a, b, tolerance, scale)                                                                           \
  do {                                                                                                                 \
    double ck_a_ = (a), ck_b_ = (b), ck_t_ = (tolerance) * (scale);                                                    \
    int    ck_ok_ = fabs(ck_a_ - ck_b_) <= ck_t_;                                                                      \
    if (!ck_ok_)                                                                                                       \
      fprintf(stderr, "%s:%d: %s = %.17g, %s = %.17g, difference %.3g > %.3g\n", __FILE__, __LINE__, #a, ck_a_, #b,    \
              ck_b_, ck_a_ - ck_b_, ck_t_);                                                                            \
    assert_on_all_ranks(ck_ok_);                                                                                       \
  } while (0)

/* A collective call that must fail with a user error on every rank, leaving the program able to go on. */
#define assert_user_error(...)                                                                                         \
  do {                                                                                                                 \
    PetscErrorCode ck_e_;                                                                                              \
    OK(PetscPushErrorHandler(PetscReturnErrorHandler, NULL));                                                          \
    ck_e_ = (__VA_ARGS__);                                                                                             \
    OK(PetscPopErrorHandler());                                                                                        \
    assert_on_all_ranks(ck_e_ != 0);                                                                                   \
  } while (0)

/* main() of a test program: same verdict on all ranks, silent cmocka on ranks > 0. */
#define CK_TEST_MAIN(tests, initialize, finalize)                                                                      \
  int main(int argc, char **argv)                                                                                      \
  {                                                                                                                    \
    int rank, failed, worst;                                                                                           \
    OK(initialize(&argc, &argv, NULL, NULL));                                                                          \
    MPI_Comm_rank(PETSC_COMM_WORLD, &rank);                                                                            \
    if (rank > 0 && !freopen("/dev/null", "w", stdout)) return 1;                                                      \
    failed = cmocka_run_group_tests(tests, NULL, NULL);                                                                \
    MPI_Allreduce(&failed, &worst, 1, MPI_INT, MPI_MAX, PETSC_COMM_WORLD);                                             \
    OK(finalize());                                                                                                    \
    return worst ? 1 : 0;                                                                                              \
  }
