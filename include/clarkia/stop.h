#pragma once
#include <clarkia/base.h>

/*
  stop.h: when long work should save what it has and end: at SIGTERM or SIGUSR1 (what a batch system sends before it
  kills), or -max_seconds after the program's start. The work asks at its own intervals:

    CkStopWatch(); ... while (..) { CkStopRequested(comm, &stop); if (stop) save, CkCheckAll(.., CK_ERR_STOPPED, ..) }
    CkStopIgnore();

  Outside of Watch .. Ignore the signals do what they do without us: end the program.
*/
#define CK_ERR_STOPPED ((PetscErrorCode)85) /* also the exit code of the program: run it again */

PetscErrorCode CkStopRegisterOptions(void); /* -max_seconds */
/* Pairs may be nested. Not collective. */
PetscErrorCode CkStopWatch(void);
PetscErrorCode CkStopIgnore(void);
/* Whether any rank has got a signal or has run out of time. Collective on comm. */
PetscErrorCode CkStopRequested(MPI_Comm comm, PetscBool *stop);
