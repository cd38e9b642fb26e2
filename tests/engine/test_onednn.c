/* The conformance suite on the onednn engine. Float32 rounding of a forward and backward pass is some 1e-6. */
#define CONFORMANCE_ENGINE "onednn"
#define CONFORMANCE_TOLERANCE 1e-5
#include "conformance.h"

static const struct CMUnitTest tests[] = {CONFORMANCE_TESTS};

CK_TEST_MAIN(tests, PetscInitialize, PetscFinalize)
