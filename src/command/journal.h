#pragma once
#include <clarkia/dynamics.h>

/*
  journal.h: a small text file beside a running training, one JSON object a line, for analysis/watch.py and scripts
  (docs/formats.md, "Journal"). Rank 0 writes; a line is whole once it can be seen. Epochs that end within a second of
  the line before are left out, but for the last.
*/
typedef struct _p_CkJournal *CkJournal;

/* Adds to the file a line that says what runs; name "": no journal, and the calls below do nothing. Collective; user
   error: the file cannot be written. */
PetscErrorCode CkJournalOpen(MPI_Comm comm, const char name[], const char net[], PetscInt epochs, const char output[],
                             CkJournal *journal);
/* left: seconds to the end of the run, an estimate. Collective; user error: the disk is full. */
PetscErrorCode CkJournalEpoch(CkJournal journal, const CkEpochReport *report, double left);
PetscErrorCode CkJournalClose(CkJournal *journal);
