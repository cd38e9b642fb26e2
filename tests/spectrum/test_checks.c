#include "spectrumimpl.h"
#include "testing.h"
#include <float.h>

/* Self-checks pass on numbers that agree and fail on numbers that do not, on every rank. */

enum { n = 12 };
static const double precision = 1e-10;

static void Spectrum(double values[], double *trace, double *frobenius)
{
  double squares = 0;

  *trace = 0;
  for (int i = 0; i < n; ++i) {
    values[i] = i < n - 2 ? 5 * exp(-0.5 * i) : 0;
    *trace += values[i];
    squares += values[i] * values[i];
  }
  *frobenius = sqrt(squares);
}

static PetscErrorCode Verify(const CkSpectrumChecks *checks)
{
  return CkSpectrumChecksVerify(PETSC_COMM_WORLD, checks);
}

static void consistent_numbers_pass(void **state)
{
  const double     residual[] = {1e-12, 9.9e-11, 0};
  double           values[n], trace, frobenius;
  PetscInt         index[3];
  CkSpectrumChecks checks = {0};

  (void)state;
  Spectrum(values, &trace, &frobenius);
  CkSpectrumCheckAssembly(&checks, trace, trace * (1 + 1e-14), trace, precision);
  CkSpectrumCheckValues(&checks, n, values, trace, frobenius, 1e-14);
  CkSpectrumCheckTrace(&checks, n, values, PETSC_TRUE, trace, trace, precision);
  CkSpectrumCheckTrace(&checks, 3, values, PETSC_FALSE, trace, trace, precision);
  CkSpectrumCheckLeading(&checks, 3, values, n, values, index);
  CkSpectrumCheckResiduals(&checks, 3, residual, precision);
  assert_int_equal(checks.n, 8);
  OK(Verify(&checks));
}

/* What a wrong matrix or a wrong trace would do: relative errors of 1e-8. */
static void wrong_trace_fails(void **state)
{
  double values[n], trace, frobenius;

  (void)state;
  Spectrum(values, &trace, &frobenius);
  for (int wrong = 0; wrong < 4; ++wrong) {
    CkSpectrumChecks checks = {0};
    const double     off = trace * (1 + 1e-8);

    if (wrong == 0) CkSpectrumCheckAssembly(&checks, off, trace, trace, precision);
    if (wrong == 1) CkSpectrumCheckValues(&checks, n, values, off, frobenius, 1e-14);
    if (wrong == 2) CkSpectrumCheckTrace(&checks, n, values, PETSC_TRUE, off, trace, precision);
    if (wrong == 3) CkSpectrumCheckTrace(&checks, 3, values, PETSC_FALSE, values[0], trace, precision);
    assert_user_error(Verify(&checks));
  }
}

/* A pair of eigenvalues moved in opposite directions keeps the sum; the sum of squares notices. */
static void wrong_eigenvalues_fail(void **state)
{
  double           values[n], trace, frobenius;
  CkSpectrumChecks checks = {0};

  (void)state;
  Spectrum(values, &trace, &frobenius);
  values[0] += 1e-9;
  values[1] -= 1e-9;
  CkSpectrumCheckValues(&checks, n, values, trace, frobenius, 1e-14);
  assert_true(checks.list[0].measured <= checks.list[0].bound);
  assert_user_error(Verify(&checks));
}

static void negative_eigenvalue_fails(void **state)
{
  double           values[n], trace, frobenius;
  CkSpectrumChecks checks = {0};

  (void)state;
  Spectrum(values, &trace, &frobenius);
  values[n - 1] = -1e-9;
  CkSpectrumCheckValues(&checks, n, values, trace - 1e-9, frobenius, 1e-14);
  assert_user_error(Verify(&checks));
  values[n - 1] = -1e-16; /* rounding */
  checks.n = 0;
  CkSpectrumCheckValues(&checks, n, values, trace, frobenius, 1e-14);
  OK(Verify(&checks));
}

static void foreign_leading_eigenvalue_fails(void **state)
{
  double           values[n], trace, frobenius, leading[2];
  PetscInt         index[2];
  CkSpectrumChecks checks = {0};

  (void)state;
  Spectrum(values, &trace, &frobenius);
  leading[0] = values[0];
  leading[1] = values[1] + 1e-10;
  CkSpectrumCheckLeading(&checks, 2, leading, n, values, index);
  assert_user_error(Verify(&checks));
}

/* A Krylov solver that misses a copy of a multiple eigenvalue: the others are matched, each at most once. */
static void multiple_eigenvalues_are_matched_once(void **state)
{
  const double     values[] = {4, 2, 2, 2, 1}, one[] = {4, 2, 1}, many[] = {4, 2, 2, 2, 2};
  PetscInt         index[5];
  CkSpectrumChecks checks = {0};

  (void)state;
  CkSpectrumCheckLeading(&checks, 3, one, 5, values, index);
  assert_int_equal(index[0], 0);
  assert_int_equal(index[1], 1);
  assert_int_equal(index[2], 4);
  OK(Verify(&checks));
  CkSpectrumCheckLeading(&checks, 5, many, 5, values, index);
  assert_user_error(Verify(&checks));
}

static void large_or_undefined_residual_fails(void **state)
{
  const double     large[] = {1e-12, 1.1e-10, 1e-12}, undefined[] = {1e-12, NAN, 1e-12};
  CkSpectrumChecks checks = {0};

  (void)state;
  CkSpectrumCheckResiduals(&checks, 3, large, precision);
  assert_user_error(Verify(&checks));
  checks.n = 0;
  CkSpectrumCheckResiduals(&checks, 3, undefined, precision);
  assert_true(isnan(checks.list[0].measured));
  assert_user_error(Verify(&checks));
}

/* D = 0: nothing to divide by, and nothing wrong. */
static void zero_matrix_passes(void **state)
{
  const double     values[] = {0, 0, 0};
  CkSpectrumChecks checks = {0};

  (void)state;
  CkSpectrumCheckAssembly(&checks, 0, 0, 0, precision);
  CkSpectrumCheckValues(&checks, 3, values, 0, 0, 0);
  CkSpectrumCheckTrace(&checks, 3, values, PETSC_TRUE, 0, 0, precision);
  OK(Verify(&checks));
}

/* The stock basis overflows at d (ncv + 1) > 2^31 whatever the rank count, an array at the local product. */
static void basis_type_avoids_overflow(void **state)
{
  (void)state;
  assert_string_equal(CkKrylovBasisType(13338, 13338, 40), BVSVEC);
  assert_string_equal(CkKrylovBasisType(27000000, 13500000, 80), BVMAT);
  assert_string_equal(CkKrylovBasisType(27000000, 27000000, 80), BVVECS);
  assert_string_equal(CkKrylovBasisType(2147483647, 2147483647, 0), BVSVEC);
  assert_int_equal(CkKrylovBasisSize(1000, 20), 40);
  assert_int_equal(CkKrylovBasisSize(1000, 3), 18);
  assert_int_equal(CkKrylovBasisSize(7, 3), 7);
}

static const struct CMUnitTest tests[] = {
  cmocka_unit_test(consistent_numbers_pass),
  cmocka_unit_test(wrong_trace_fails),
  cmocka_unit_test(wrong_eigenvalues_fail),
  cmocka_unit_test(negative_eigenvalue_fails),
  cmocka_unit_test(foreign_leading_eigenvalue_fails),
  cmocka_unit_test(multiple_eigenvalues_are_matched_once),
  cmocka_unit_test(large_or_undefined_residual_fails),
  cmocka_unit_test(zero_matrix_passes),
  cmocka_unit_test(basis_type_avoids_overflow),
};

CK_TEST_MAIN(tests, SlepcInitialize, SlepcFinalize)
