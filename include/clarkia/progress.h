#pragma once
#include <clarkia/base.h>

/* progress.h: what a person sees while and after the program runs; rank 0 of the communicator prints. */

/* A line of text, "clarkia: ..." with the time since the start; for a log file. Collective by convention, rank 0
 * prints. */
PetscErrorCode CkLog(MPI_Comm comm, const char format[], ...) PETSC_ATTRIBUTE_FORMAT(2, 3);
/* Seconds since the first call, that of the line with which every run begins: the run's clock. */
double CkElapsed(void);

/* Progress of long work: on a terminal one line with rate and time left, rewritten; in a file one line a minute. Work
   within other work prints only where that one has been silent for as long. */
typedef struct _p_CkProgress *CkProgress;
PetscErrorCode                CkProgressCreate(MPI_Comm comm, const char what[], const char unit[], double total,
                                               CkProgress *progress);
PetscErrorCode                CkProgressUpdate(CkProgress progress, double done); /* cheap: looks at the clock only */
PetscErrorCode CkProgressDestroy(CkProgress *progress); /* prints the closing line if any line was printed */

/* A summary table: title, then rows "name   value   note", aligned; printed when destroyed. Values are formatted text.
 */
typedef struct _p_CkTable *CkTable;
PetscErrorCode             CkTableCreate(MPI_Comm comm, const char title[], CkTable *table);
PetscErrorCode             CkTableRow(CkTable table, const char name[], const char note[], const char format[], ...)
  PETSC_ATTRIBUTE_FORMAT(4, 5);
PetscErrorCode CkTableDestroy(CkTable *table);

/* Human forms: "1.42 GB", "3 min 12 s"; text has room of 32 bytes. */
void CkFormatBytes(double bytes, char text[32]);
void CkFormatSeconds(double seconds, char text[32]);

/*
  Log events for -log_view and the bench, with flop counts. Of a pass: columns (vectors to the engine's coordinates and
  the sums back), samples (read from where they are stored), forward, backward (input derivatives) and within it
  gradient (explicit per-sample weight gradients; nested: its time and operations are part of backward's), dot,
  accumulate, flush (of sum blocks into exact sums), wait (for the slowest rank), reduce (sums over ranks and other
  communication). tile: rows and norms of per-sample gradients. gram, eig, io: wherever that is done.
*/
extern PetscLogEvent CK_Columns, CK_Samples, CK_Forward, CK_Backward, CK_Gradient, CK_Dot, CK_Accumulate, CK_Flush,
  CK_Wait, CK_Reduce, CK_Tile, CK_Gram, CK_Eig, CK_IO;
PetscErrorCode CkEventsRegister(void);

/* Memory: CkMemoryCheck() is collective and refuses (user error) more than -memory_limit (GB a rank; or, without the
   option, than the machine has, divided by the ranks on the node); `what` names the array, `remedy` what to do. */
PetscErrorCode CkMemoryCheck(MPI_Comm comm, double bytes_per_rank, const char what[], const char remedy[]);
PetscErrorCode CkMemoryLimit(MPI_Comm comm, double *bytes_per_rank);
/* Peak resident memory of this process so far, bytes. */
double CkMemoryPeak(void);
/* Collective: the sum of all ranks' peaks; what ranks of a node share counts once for each that touched it. */
PetscErrorCode CkMemoryPeakAll(MPI_Comm comm, double *bytes);
