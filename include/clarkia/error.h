#pragma once
#include <clarkia/base.h>

/*
  error.h: one clear message, the same non-zero exit code on every rank.

  A *user error* (bad input, a limit exceeded, a full disk) is found collectively: CkCheckAll() reduces the verdict, the
  lowest failing rank's message is printed once, and every rank returns the same code, so that main() can finalise and
  exit with CkErrorExitCode(). Messages name the value, the bound and the remedy. User errors of a part of the ranks are
  held back until CkErrorShare() makes them those of all, or CkErrorReport() tells them; so are errors of PETSc and
  SLEPc that bad input may cause (-eps_tol abc). CkErrorReport() tells once what all ranks have met. Any other error (a
  bug, memory access out of bounds) keeps PETSc's trace-back, and main() calls MPI_Abort().
*/

/* CkCheckAll - Collective on comm. If ok is false on any rank, reports the lowest failing rank's message and returns
   code on all. The format is evaluated only where ok is false. */
#define CkCheckAll(comm, ok, code, ...)                                                                                \
  do {                                                                                                                 \
    PetscErrorCode ck_ierr_ =                                                                                          \
      CkCheckAllPrivate((comm), (PetscBool) !!(ok), (code), PETSC_FUNCTION_NAME, __FILE__, __LINE__, __VA_ARGS__);     \
    if (PetscUnlikely(ck_ierr_)) return ck_ierr_;                                                                      \
  } while (0)

/* CkVerdict: collects the first failure inside rank-local code (a reader, say) without returning from it; hand it to
 * CkCheckVerdict(). */
typedef struct {
  PetscErrorCode code; /* 0: fine */
  char           message[1024];
} CkVerdict;

/* Records the first failure only; not collective. */
void CkVerdictFail(CkVerdict *verdict, PetscErrorCode code, const char format[], ...) PETSC_ATTRIBUTE_FORMAT(3, 4);
/* Collective: as CkCheckAll() with the verdict of each rank. */
PetscErrorCode CkCheckVerdict(MPI_Comm comm, const CkVerdict *verdict);

/* Collective on comm: every rank brings what the group it works in, with the ranks of `part`, has met: 0 or a code, the
   same on all ranks of the group. A user error of such a group, that of the lowest rank, becomes one of comm, returned
   everywhere; any other error comes back at once, for the others may never come here. */
PetscErrorCode CkErrorShare(MPI_Comm comm, MPI_Comm part, PetscErrorCode ierr);

/* Installs the error handler that prints user errors as one line "clarkia: error: ...", on rank 0. To be called after
   MPI_Init() on all ranks and before PetscInitialize(), so that errors in options are covered and -on_error_abort and
   its like still replace it. */
PetscErrorCode CkErrorInitialize(void);
/* Tells the error that has come up to main() unless it has been told. Where all ranks come here with the same error
   within two seconds it is told once and counts as collective, else each rank that comes tells its own (a user error:
   the first of the part that has met it). ierr = 0: nothing to be told. Not collective. */
void CkErrorReport(PetscErrorCode ierr);
/* Whether a user error also shows the functions it passed through (-error_traceback). */
void CkErrorSetTraceback(PetscBool traceback);
/* True after a collectively reported user error: the program may finalise in order. */
PetscBool CkErrorWasCollective(void);
/* Process exit code for ierr: 0 for success, else between 1 and 125 and the same on all ranks. */
int CkErrorExitCode(PetscErrorCode ierr);

PetscErrorCode CkCheckAllPrivate(MPI_Comm, PetscBool ok, PetscErrorCode code, const char function[], const char file[],
                                 int line, const char format[], ...) PETSC_ATTRIBUTE_FORMAT(7, 8);
