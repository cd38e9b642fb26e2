#include <clarkia/error.h>
#include <clarkia/file.h>
#include <clarkia/interrupt.h>
#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

/* The user error being reported or passed up the call stack; one per process, as PETSc's own error state is. */
static struct {
  PetscBool raising;    /* inside the PetscError() call of a user error */
  int       part;       /* a user error of a part of the ranks: how many; else 0 */
  PetscBool travelling; /* the error now returned from function to function is a user error */
  PetscBool prints;     /* this rank tells about it */
  PetscBool collective; /* and one that all ranks of PETSC_COMM_WORLD have seen */
  PetscBool traceback;  /* CkErrorSetTraceback() */
  PetscBool held;       /* a message of PETSc's or of a part of the ranks waits for CkErrorReport() */
  char      text[4096]; /* that message, then the functions it passed through */
  MPI_Comm  comm;       /* of all ranks, for CkErrorReport() */
} ck_error = {.comm = MPI_COMM_NULL};

static PetscErrorCode HandleUserError(int line, const char *function, const char *file, PetscErrorCode code,
                                      PetscErrorType type, const char *message)
{
  if (type == PETSC_ERROR_INITIAL && ck_error.prints) fprintf(stderr, "clarkia: error: %s\n", message);
  if (ck_error.prints && ck_error.traceback) fprintf(stderr, "  %s() at %s:%d\n", function, file, line);
  fflush(stderr);
  return code;
}

/* Errors of PETSc that come from a bug, here or there, or whose cause only the trace can tell. */
static PetscBool IsBug(PetscErrorCode code)
{
  static const PetscErrorCode codes[] = {PETSC_ERR_PLIB,
                                         PETSC_ERR_SIG,
                                         PETSC_ERR_MEMC,
                                         PETSC_ERR_COR,
                                         PETSC_ERR_POINTER,
                                         PETSC_ERR_ORDER,
                                         PETSC_ERR_ARG_NULL,
                                         PETSC_ERR_ARG_CORRUPT,
                                         PETSC_ERR_ARG_IDN,
                                         PETSC_ERR_ARG_WRONGSTATE,
                                         PETSC_ERR_ARG_NOTSAMETYPE,
                                         PETSC_ERR_ARG_NOTSAMECOMM,
                                         PETSC_ERR_LIB,
                                         PETSC_ERR_MPI,
                                         PETSC_ERR_GPU};

  for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); ++i)
    if (codes[i] == code) return PETSC_TRUE;
  return PETSC_FALSE;
}

static void Append(const char format[], ...) PETSC_ATTRIBUTE_FORMAT(1, 2);
static void Append(const char format[], ...)
{
  const size_t used = strlen(ck_error.text);
  va_list      args;

  va_start(args, format);
  vsnprintf(ck_error.text + used, sizeof(ck_error.text) - used, format, args);
  va_end(args);
}

/* Appends the first key whose value is a word of the message: PETSc names the value only. A number may stand in a
   message for other reasons, but not in one about "Input string". */
static void NameKey(const char message[])
{
  const char *const between = " \n,;:'\"()";
  const PetscBool   numbers = (PetscBool)(strncmp(message, "Input string ", 13) == 0);
  char             *all = NULL, *rest, *key = NULL;

  if (!PetscInitializeCalled || message[0] == '-' || PetscOptionsGetAll(NULL, &all)) return;
  for (char *word = strtok_r(all, " ", &rest); word; word = strtok_r(NULL, " ", &rest)) {
    const size_t length = strlen(word);
    const char  *at = key && (numbers || isalpha((unsigned char)word[0])) ? strstr(message, word) : NULL;

    if (at && (at == message || strchr(between, at[-1])) && strchr(between, at[length])) { /* the end as well */
      Append(" (%s %s)", key, word);
      break;
    }
    key = word[0] == '-' && !isdigit((unsigned char)word[1]) ? word : NULL;
  }
  (void)PetscFree(all);
}

static void KeepMessage(const char message[])
{
  ck_error.text[0] = '\0';
  Append("%s%s", PetscInitializeCalled ? "" : "while reading the options: ", message);
  for (char *at = ck_error.text; (at = strchr(at, '\n'));) *at = ' ';
  NameKey(message);
}

/* Keeps an error of PETSc's, or of a part of the ranks, for CkErrorReport(). */
static PetscErrorCode HoldError(int line, const char *function, const char *file, PetscErrorCode code,
                                PetscErrorType type, const char *message)
{
  if (type == PETSC_ERROR_INITIAL) {
    ck_error.held = PETSC_TRUE;
    if (!ck_error.part) KeepMessage(message ? message : "");
    Append("\n");
  }
  if (ck_error.traceback) Append("  %s() at %s:%d\n", function, file, line);
  return code;
}

static PetscErrorCode HandleError(MPI_Comm comm, int line, const char *function, const char *file, PetscErrorCode code,
                                  PetscErrorType type, const char *message, void *context)
{
  if (type == PETSC_ERROR_INITIAL) {
    ck_error.held = PETSC_FALSE;
    if (!ck_error.raising) {
      ck_error.travelling = ck_error.collective = PETSC_FALSE;
      ck_error.part = 0;
    }
  }
  if (ck_error.travelling) return HandleUserError(line, function, file, code, type, message);
  if (code == PETSC_ERR_SIG) CkFileRemoveTemporaries(); /* PETSc ends the run at once */
  if (ck_error.held || (type == PETSC_ERROR_INITIAL && (ck_error.part || !IsBug(code))))
    return HoldError(line, function, file, code, type, message);
  return PetscTraceBackErrorHandler(comm, line, function, file, code, type, message, context);
}

PetscErrorCode CkErrorInitialize(void)
{
  PetscFunctionBeginUser;
  if (ck_error.comm == MPI_COMM_NULL) PetscCallMPI(MPI_Comm_dup(MPI_COMM_WORLD, &ck_error.comm));
  PetscCall(PetscPushErrorHandler(HandleError, NULL));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Whether all ranks come here with this code and message within two seconds. */
static PetscBool AllRanksHave(PetscErrorCode ierr)
{
  const struct timespec pause = {.tv_nsec = 1000000};
  const int             hash = (int)(CkChecksum(0, ck_error.text, strcspn(ck_error.text, "\n")) & 0x3fffffff);
  static int            mine[4], greatest[4]; /* a request that is given up may still use them */
  const int             values[4] = {(int)ierr, -(int)ierr, hash, -hash};
  const double          start = MPI_Wtime();
  int                   done = 0;
  MPI_Request           request;

  memcpy(mine, values, sizeof(mine));
  if (ck_error.comm == MPI_COMM_NULL || MPI_Iallreduce(mine, greatest, 4, MPI_INT, MPI_MAX, ck_error.comm, &request))
    return PETSC_FALSE;
  while (!done && MPI_Wtime() - start < 2) {
    if (MPI_Test(&request, &done, MPI_STATUS_IGNORE)) return PETSC_FALSE;
    if (!done) (void)nanosleep(&pause, NULL);
  }
  return (PetscBool)(done && greatest[0] == -greatest[1] && greatest[2] == -greatest[3]);
}

void CkErrorReport(PetscErrorCode ierr)
{
  int rank;

  if (!ierr || !ck_error.held) return;
  ck_error.held = PETSC_FALSE;
  ck_error.collective = AllRanksHave(ierr);
  if (MPI_Comm_rank(MPI_COMM_WORLD, &rank)) rank = 0;
  if (!ck_error.collective && ck_error.part) {
    if (ck_error.prints) fprintf(stderr, "clarkia: error: %s", ck_error.text);
    else (void)nanosleep(&(struct timespec){.tv_sec = 1}, NULL); /* who goes on from here may end the one that tells */
  } else if (!ck_error.collective) fprintf(stderr, "clarkia: error: on rank %d: %s", rank, ck_error.text);
  else if (rank == 0) fprintf(stderr, "clarkia: error: %s", ck_error.text);
  fflush(stderr);
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
  if (ierr == CK_ERR_REQUEUE) return CK_EXIT_REQUEUE;
  if (ierr == CK_EXIT_REQUEUE) return 1; /* PETSC_ERR_ARG_NULL, which asks for no second run */
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
  ck_error.raising = PETSC_TRUE;
  ck_error.travelling = ck_error.collective = (PetscBool)(size == world);
  ck_error.prints = (PetscBool)(rank == 0);
  ck_error.part = size == world ? 0 : size;
  if (ck_error.part) snprintf(ck_error.text, sizeof(ck_error.text), "%s", shared.message); /* waits there */
  if (PetscInitializeCalled)
    ierr = PetscError(comm, line, function, file, (PetscErrorCode)code, PETSC_ERROR_INITIAL, "%s", shared.message);
  else /* PETSc calls no handler yet */
    ierr = HandleUserError(line, function, file, (PetscErrorCode)code, PETSC_ERROR_INITIAL, shared.message);
  ck_error.raising = PETSC_FALSE;
  return ierr;
}

PetscErrorCode CkCheckVerdict(MPI_Comm comm, const CkVerdict *verdict)
{
  return RaiseOnAll(comm, verdict, PETSC_FUNCTION_NAME, __FILE__, __LINE__);
}

PetscErrorCode CkErrorShare(MPI_Comm comm, MPI_Comm part, PetscErrorCode ierr)
{
  CkVerdict   verdict = {.code = PETSC_SUCCESS, .message = ""};
  PetscMPIInt size;

  PetscCallMPI(MPI_Comm_size(part, &size));
  if (ierr && ck_error.part != size) return ierr;
  if (ierr) CkVerdictFail(&verdict, ierr, "%.*s", (int)strcspn(ck_error.text, "\n"), ck_error.text);
  if (ierr) ck_error.held = PETSC_FALSE;
  return CkCheckVerdict(comm, &verdict);
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
