#pragma once
#include <clarkia/base.h>

/*
  interrupt.h: stopping in order, for work that can go on later from a checkpoint. Between CkInterruptBegin() and
  CkInterruptEnd() the signals SIGTERM and SIGUSR1 only leave a note; the work asks for it where it can stop, writes its
  checkpoint and returns the user error CK_ERR_REQUEUE, with which the program exits with code CK_EXIT_REQUEUE on every
  rank: run me again.
*/
#define CK_EXIT_REQUEUE 85
#define CK_ERR_REQUEUE ((PetscErrorCode)1085)

PetscErrorCode CkInterruptRegisterOptions(void); /* -max_seconds, -stop_file */
/* "-max_seconds 60" or "-stop_file FILE" if one of them is in force, else "": for work that cannot heed it. Not
   collective. */
PetscErrorCode CkInterruptGetOption(char text[PETSC_MAX_PATH_LEN + 32]);
PetscErrorCode CkInterruptBegin(void);
PetscErrorCode CkInterruptEnd(void); /* the handlers of before; once more does no harm */
/* Collective: why to stop, the same on all ranks ("signal 15"), or NULL: a signal on any rank, or on rank 0 the run's
   clock beyond -max_seconds (0: never), or -stop_file that has appeared or been touched since CkInterruptBegin(); the
   file is looked for once a second. */
PetscErrorCode CkInterruptRequested(MPI_Comm comm, const char **why);
