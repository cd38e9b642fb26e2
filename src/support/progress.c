#include <clarkia/progress.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

struct _p_CkProgress {
  MPI_Comm    comm;
  PetscBool   prints;   /* this is rank 0 */
  PetscBool   terminal; /* a person watches: rewrite one line */
  PetscBool   nested;   /* part of other work with a line of its own */
  const char *what, *unit;
  char        texts[2][64];
  double      total;
  double      start, last; /* seconds */
  PetscBool   printed;
};

static const double TERMINAL_INTERVAL = 0.2, NESTED_INTERVAL = 5, FILE_INTERVAL = 60; /* seconds between lines */

/* When a line was last printed, whatever its work: many short works, one after the other, are long work too. */
static double last_line = -1;
static int    works = 0; /* under way */

/* The terminal's cursor stands behind a line of progress, which the next line of text replaces. */
static PetscBool line_is_open = PETSC_FALSE;

static double Now(void)
{
  struct timespec t;

  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

double CkElapsed(void)
{
  static double start = -1;

  if (start < 0) start = Now();
  return Now() - start;
}

PetscErrorCode CkLog(MPI_Comm comm, const char format[], ...)
{
  const double elapsed = CkElapsed();
  PetscMPIInt  rank;
  va_list      args;

  PetscFunctionBeginUser;
  PetscCallMPI(MPI_Comm_rank(comm, &rank));
  if (rank == 0) {
    if (line_is_open) printf("\r\033[K");
    line_is_open = PETSC_FALSE;
    printf("clarkia: [%8.1f s] ", elapsed);
    va_start(args, format);
    vprintf(format, args);
    va_end(args);
    printf("\n");
    fflush(stdout);
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Open MPI gives each rank a pseudo-terminal even where its own output goes to a file, so under a launcher it is the
 * launcher's standard output that counts. A launcher on another node counts as a file. */
static PetscBool OutputIsTerminal(void)
{
  char    path[64], target[64] = "";
  ssize_t length;

  if (!isatty(STDOUT_FILENO)) return PETSC_FALSE;
  if (!getenv("OMPI_COMM_WORLD_SIZE") && !getenv("PMIX_RANK")) return PETSC_TRUE;
  snprintf(path, sizeof(path), "/proc/%ld/fd/1", (long)getppid());
  length = readlink(path, target, sizeof(target) - 1);
  if (length < 0) return PETSC_FALSE;
  return (PetscBool)(strncmp(target, "/dev/pts/", 9) == 0 || strncmp(target, "/dev/tty", 8) == 0);
}

PetscErrorCode CkProgressCreate(MPI_Comm comm, const char what[], const char unit[], double total, CkProgress *progress)
{
  CkProgress  p;
  PetscMPIInt rank;

  PetscFunctionBeginUser;
  PetscCallMPI(MPI_Comm_rank(comm, &rank));
  PetscCall(PetscNew(&p));
  p->comm = comm;
  p->prints = (PetscBool)(rank == 0);
  p->terminal = p->prints ? OutputIsTerminal() : PETSC_FALSE;
  p->what = p->texts[0];
  p->unit = p->texts[1];
  snprintf(p->texts[0], sizeof(p->texts[0]), "%s", what);
  snprintf(p->texts[1], sizeof(p->texts[1]), "%s", unit);
  p->total = total;
  p->start = p->last = Now();
  p->nested = (PetscBool)(works++ > 0);
  if (last_line < 0) last_line = p->start;
  *progress = p;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Whole numbers in full, "12760"; others, and rates, with four digits. */
static void FormatCount(double count, char text[32])
{
  if (count == floor(count) && fabs(count) < 1e15) snprintf(text, 32, "%.0f", count);
  else snprintf(text, 32, "%.4g", count);
}

/* "7.6 pieces/s", "12760 weights/s": never an exponent where a number is read at a glance. */
static void FormatRate(double rate, char text[32])
{
  if (rate >= 100) snprintf(text, 32, "%.0f", rate);
  else snprintf(text, 32, "%.2g", rate);
}

static void PrintProgress(CkProgress p, double done, double now)
{
  const double seconds = now - p->start, rate = seconds > 0 ? done / seconds : 0;
  char         left[32] = "?", counts[2][32], speed[32];

  FormatCount(done, counts[0]);
  FormatCount(p->total, counts[1]);
  FormatRate(rate, speed);
  if (rate > 0 && p->total >= done) CkFormatSeconds((p->total - done) / rate, left);
  if (p->terminal) printf("\r\033[K"); /* back to the start, clear the line */
  printf("clarkia: %s: %s of %s %s (%.0f%%), %s %s/s, %s left", p->what, counts[0], counts[1], p->unit,
         p->total > 0 ? 100 * done / p->total : 100., speed, p->unit, left);
  if (!p->terminal) printf("\n");
  fflush(stdout);
  line_is_open = p->terminal;
  p->printed = PETSC_TRUE;
  p->last = last_line = now;
}

PetscErrorCode CkProgressUpdate(CkProgress p, double done)
{
  double now;

  PetscFunctionBeginUser;
  if (!p->prints) PetscFunctionReturn(PETSC_SUCCESS);
  now = Now();
  if (p->terminal && !p->nested ? now - p->last >= TERMINAL_INTERVAL
                                : now - last_line >= (p->terminal ? NESTED_INTERVAL : FILE_INTERVAL))
    PrintProgress(p, done, now);
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkProgressDestroy(CkProgress *progress)
{
  CkProgress p = *progress;

  PetscFunctionBeginUser;
  if (!p) PetscFunctionReturn(PETSC_SUCCESS);
  if (p->printed) {
    char time[32];

    CkFormatSeconds(Now() - p->start, time);
    printf("%sclarkia: %s: done in %s\n", line_is_open ? "\r\033[K" : "", p->what, time);
    line_is_open = PETSC_FALSE;
    fflush(stdout);
  }
  --works;
  PetscCall(PetscFree(*progress));
  PetscFunctionReturn(PETSC_SUCCESS);
}

void CkFormatBytes(double bytes, char text[32])
{
  const char *const units[] = {"B", "kB", "MB", "GB", "TB", "PB"};
  size_t            u = 0;

  while (bytes >= 999.5 && u + 1 < sizeof(units) / sizeof(units[0])) {
    bytes /= 1000;
    ++u;
  }
  if (u == 0) snprintf(text, 32, "%.0f B", bytes);
  else snprintf(text, 32, "%.*f %s", bytes < 9.995 ? 2 : (bytes < 99.95 ? 1 : 0), bytes, units[u]);
}

void CkFormatSeconds(double seconds, char text[32])
{
  if (seconds < 0.9995) snprintf(text, 32, "%.3g ms", 1000 * seconds);
  else if (seconds < 59.95) snprintf(text, 32, "%.1f s", seconds);
  else {
    const long long whole = (long long)(seconds + 0.5);

    if (whole < 3600) snprintf(text, 32, "%lld min %02lld s", whole / 60, whole % 60);
    else snprintf(text, 32, "%lld h %02lld min", whole / 3600, whole % 3600 / 60);
  }
}
