#include "journal.h"
#include <clarkia/error.h>
#include <clarkia/progress.h>
#include <clarkia/provenance.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

struct _p_CkJournal {
  MPI_Comm    comm;
  PetscMPIInt rank;
  PetscInt    epochs;
  FILE       *file; /* on rank 0 */
  char        name[PETSC_MAX_PATH_LEN];
  double      last; /* when a line was written, MPI_Wtime() */
};

enum { LINE = 3 * PETSC_MAX_PATH_LEN };

/* The text between quotes of JSON; what does not fit is left out. */
static void Quote(const char text[], size_t room, char quoted[])
{
  size_t n = 0;

  for (const unsigned char *c = (const unsigned char *)text; *c && n + 8 < room; ++c) {
    if (*c == '"' || *c == '\\') quoted[n++] = '\\';
    if (*c < 0x20) n += (size_t)snprintf(quoted + n, room - n, "\\u%04x", *c);
    else quoted[n++] = (char)*c;
  }
  quoted[n] = '\0';
}

/* A number, or null where it is none. */
static void Number(double x, char text[32])
{
  if (isfinite(x)) snprintf(text, 32, "%.9g", x);
  else snprintf(text, 32, "null");
}

static PetscErrorCode WriteLine(CkJournal j, const char line[])
{
  PetscBool good = PETSC_TRUE;

  PetscFunctionBeginUser;
  errno = 0;
  if (j->rank == 0) good = (PetscBool)(j->file && fprintf(j->file, "%s\n", line) > 0 && fflush(j->file) == 0);
  CkCheckAll(j->comm, good, PETSC_ERR_FILE_WRITE, "-train_journal %s cannot be written: %s", j->name,
             errno ? strerror(errno) : "disk full?");
  j->last = MPI_Wtime();
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkJournalOpen(MPI_Comm comm, const char name[], const char net[], PetscInt epochs, const char output[],
                             CkJournal *journal)
{
  CkJournal j;
  char      line[LINE], quoted[2][PETSC_MAX_PATH_LEN], stamp[32];

  PetscFunctionBeginUser;
  *journal = NULL;
  if (!name[0]) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(PetscNew(&j));
  j->comm = comm;
  j->epochs = epochs;
  PetscCallMPI(MPI_Comm_rank(comm, &j->rank));
  PetscCall(PetscStrncpy(j->name, name, sizeof(j->name)));
  if (j->rank == 0) j->file = fopen(name, "a");
  Quote(net, sizeof(quoted[0]), quoted[0]);
  Quote(output, sizeof(quoted[1]), quoted[1]);
  CkTimeStamp(stamp);
  snprintf(line, sizeof(line),
           "{\"program\": \"clarkia " CK_VERSION "\", \"started\": \"%s\", \"net\": \"%s\", \"epochs\": %" PetscInt_FMT
           ", \"output\": \"%s\"}",
           stamp, quoted[0], epochs, quoted[1]);
  PetscCall(WriteLine(j, line));
  j->last = -1; /* MPI_Wtime() may have begun with the program */
  *journal = j;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkJournalEpoch(CkJournal j, const CkEpochReport *r, double left)
{
  const double numbers[] = {r->loss,    r->error, r->test_loss,   r->test_error, r->rate,
                            r->seconds, left,     r->free_energy, r->iterations, r->residual};
  enum { NUMBERS = sizeof(numbers) / sizeof(numbers[0]) };
  char        line[LINE], text[NUMBERS][32], stamp[32];
  PetscMPIInt due;

  PetscFunctionBeginUser;
  if (!j) PetscFunctionReturn(PETSC_SUCCESS);
  due = r->epoch == j->epochs || MPI_Wtime() - j->last >= 1;
  PetscCallMPI(MPI_Bcast(&due, 1, MPI_INT, 0, j->comm));
  if (!due) PetscFunctionReturn(PETSC_SUCCESS);
  for (int i = 0; i < NUMBERS; ++i) Number(numbers[i], text[i]);
  CkTimeStamp(stamp);
  snprintf(line, sizeof(line),
           "{\"epoch\": %" PetscInt_FMT ", \"step\": %" PetscInt_FMT
           ", \"loss\": %s, \"error\": %s, \"test_loss\": %s, \"test_error\": %s, \"rate\": %s, \"seconds\": %s, "
           "\"left\": %s, \"free_energy\": %s, \"iterations\": %s, \"residual\": %s, \"at\": \"%s\"}",
           r->epoch, r->step, text[0], text[1], text[2], text[3], text[4], text[5], text[6], text[7], text[8], text[9],
           stamp);
  PetscCall(WriteLine(j, line));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkJournalClose(CkJournal *journal)
{
  PetscFunctionBeginUser;
  if (!*journal) PetscFunctionReturn(PETSC_SUCCESS);
  if ((*journal)->file) fclose((*journal)->file);
  PetscCall(PetscFree(*journal));
  PetscFunctionReturn(PETSC_SUCCESS);
}
