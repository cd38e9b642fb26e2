#include <clarkia/error.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* The user error being reported or passed up the call stack; one per process, as PETSc's own error state is. */
static struct {
  PetscBool raising;    /* inside the PetscError() call of a user error */
  PetscBool travelling; /* the error now returned from function to function is a user error */
  PetscBool prints;     /* this rank tells about it */
  PetscBool collective; /* and one that all ranks of PETSC_COMM_WORLD have seen */
  PetscBool traceback;  /* CkErrorSetTraceback() */
} ck_error;

static PetscErrorCode HandleUserError(MPI_Comm comm, int line, const char *function, const char *file,
                                      PetscErrorCode code, PetscErrorType type, const char *message)
{
  if (type == PETSC_ERROR_INITIAL) { /* later calls come from PetscCall(), which knows no communicator */
    int rank;

    ck_error.prints = (PetscBool)(MPI_Comm_rank(comm, &rank) == MPI_SUCCESS && rank == 0);
    if (ck_error.prints) fprintf(stderr, "clarkia: error: %s\n", message);
  }
  if (ck_error.prints && ck_error.traceback) fprintf(stderr, "  %s() at %s:%d\n", function, file, line);
  fflush(stderr);
  return code;
}

static PetscErrorCode HandleError(MPI_Comm comm, int line, const char *function, const char *file, PetscErrorCode code,
                                  PetscErrorType type, const char *message, void *context)
{
  if (!PetscInitializeCalled) { /* an options file that cannot be read, and the like */
    if (type == PETSC_ERROR_INITIAL && PetscGlobalRank <= 0)
      fprintf(stderr, "clarkia: error: while reading the options: %s\n", message);
    return code;
  }
  if (type == PETSC_ERROR_INITIAL && !ck_error.raising) ck_error.travelling = ck_error.collective = PETSC_FALSE;
  if (ck_error.travelling) return HandleUserError(comm, line, function, file, code, type, message);
  return PetscTraceBackErrorHandler(comm, line, function, file, code, type, message, context);
}

PetscErrorCode CkErrorInitialize(void)
{
  PetscFunctionBeginUser;
  PetscCall(PetscPushErrorHandler(HandleError, NULL));
  PetscFunctionReturn(PETSC_SUCCESS);
}

void CkErrorSetTraceback(PetscBool traceback)
{
  ck_error.traceback = traceback;
}

PetscBool CkErrorWasCollective(void)
{
  return ck_error.collective;
}

int CkErrorExitCode(PetscErrorCode ierr)
{
  if (!ierr) return 0;
  return ierr > 0 && ierr <= 125 ? (int)ierr : 1;
}

void CkVerdictFail(CkVerdict *verdict, PetscErrorCode code, const char format[], ...)
{
  va_list args;

  if (verdict->code) return;
  verdict->code = code ? code : PETSC_ERR_USER;
  va_start(args, format);
  vsnprintf(verdict->message, sizeof(verdict->message), format, args);
  va_end(args);
}

/* Raises the error of the lowest failing rank on all ranks of comm; returns 0 where no rank has failed. */
static PetscErrorCode RaiseOnAll(MPI_Comm comm, const CkVerdict *mine, const char function[], const char file[],
                                 int line)
{
  CkVerdict      shared;
  PetscErrorCode ierr;
  PetscMPIInt    rank, size, world, first;
  int            code = (int)mine->code;

  PetscCallMPI(MPI_Comm_rank(comm, &rank));
  PetscCallMPI(MPI_Comm_size(comm, &size));
  first = code ? rank : size;
  PetscCallMPI(MPI_Allreduce(MPI_IN_PLACE, &first, 1, MPI_INT, MPI_MIN, comm));
  if (first == size) return PETSC_SUCCESS;
  shared = *mine;
  PetscCallMPI(MPI_Bcast(&code, 1, MPI_INT, first, comm));
  PetscCallMPI(MPI_Bcast(shared.message, (int)sizeof(shared.message), MPI_CHAR, first, comm));
  PetscCallMPI(MPI_Comm_size(PETSC_COMM_WORLD, &world));
  ck_error.raising = ck_error.travelling = PETSC_TRUE;
  ck_error.collective = (PetscBool)(size == world);
  ierr = PetscError(comm, line, function, file, (PetscErrorCode)code, PETSC_ERROR_INITIAL, "%s", shared.message);
  ck_error.raising = PETSC_FALSE;
  return ierr;
}

PetscErrorCode CkCheckVerdict(MPI_Comm comm, const CkVerdict *verdict)
{
  return RaiseOnAll(comm, verdict, PETSC_FUNCTION_NAME, __FILE__, __LINE__);
}

PetscErrorCode CkCheckAllPrivate(MPI_Comm comm, PetscBool ok, PetscErrorCode code, const char function[],
                                 const char file[], int line, const char format[], ...)
{
  CkVerdict verdict = {.code = PETSC_SUCCESS, .message = ""};

  if (!ok) {
    va_list args;

    verdict.code = code ? code : PETSC_ERR_USER;
    va_start(args, format);
    vsnprintf(verdict.message, sizeof(verdict.message), format, args);
    va_end(args);
  }
  return RaiseOnAll(comm, &verdict, function, file, line);
}
