#pragma once
#include "testing.h"

/* assert_message(call, "word", ...): the collective call fails on every rank with a message that holds all the words.
 */
static char last_message[1024];

static inline PetscErrorCode KeepMessage(MPI_Comm comm, int line, const char *function, const char *file,
                                         PetscErrorCode code, PetscErrorType type, const char *message, void *context)
{
  (void)comm;
  (void)line;
  (void)function;
  (void)file;
  (void)context;
  if (type == PETSC_ERROR_INITIAL) snprintf(last_message, sizeof(last_message), "%s", message);
  return code;
}

#define assert_message(call, ...)                                                                                      \
  do {                                                                                                                 \
    const char    *words_[] = {__VA_ARGS__};                                                                           \
    PetscErrorCode e_;                                                                                                 \
    OK(PetscPushErrorHandler(KeepMessage, NULL));                                                                      \
    e_ = (call);                                                                                                       \
    OK(PetscPopErrorHandler());                                                                                        \
    assert_on_all_ranks(e_ != 0);                                                                                      \
    for (size_t i_ = 0; i_ < sizeof(words_) / sizeof(words_[0]); ++i_) {                                               \
      if (!strstr(last_message, words_[i_])) fprintf(stderr, "'%s' is not in: %s\n", words_[i_], last_message);        \
      assert_on_all_ranks(strstr(last_message, words_[i_]) != NULL);                                                   \
    }                                                                                                                  \
  } while (0)
