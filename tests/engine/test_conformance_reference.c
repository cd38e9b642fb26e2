/* The conformance suite on the reference engine: its contractions are those of its rows to rounding. */
#define CONFORMANCE_ENGINE "reference"
#define CONFORMANCE_TOLERANCE 1e-12
#include "conformance.h"

static const struct CMUnitTest tests[] = {CONFORMANCE_TESTS};

CK_TEST_MAIN(tests, PetscInitialize, PetscFinalize)
