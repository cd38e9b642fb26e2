#define _GNU_SOURCE /* gethostname */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <file_private.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/*
  file_temporary.c: files that are being written. Their names are kept where a signal handler can reach them; what runs
  that were killed have left is removed by the next run that writes the same file. "<name>.tmp-<machine>-<pid>": a
  number of another machine, or of another container with its own numbers, says nothing here, so those are left alone.
*/

#define MAX_TEMPORARIES 16 /* of one process at a time; one beyond is written all the same, and left by a signal */

static struct {
  char                  name[PETSC_MAX_PATH_LEN];
  volatile sig_atomic_t used;
} temporaries[MAX_TEMPORARIES];

static volatile sig_atomic_t tells = 1; /* this rank says that a signal has come */

static const int signals[] = {SIGINT, SIGTERM, SIGHUP};
enum { NSIGNALS = sizeof(signals) / sizeof(signals[0]) };

/* Only what is safe in a signal handler. */
void CkFileRemoveTemporaries(void)
{
  for (int i = 0; i < MAX_TEMPORARIES; ++i)
    if (temporaries[i].used) (void)unlink(temporaries[i].name);
}

static void Stop(int number)
{
  static const char text[] = "clarkia: stopped by a signal; files that were not complete are removed\n";

  CkFileRemoveTemporaries();
  if (tells && write(STDERR_FILENO, text, sizeof(text) - 1) < 0) _exit(128 + number);
  _exit(128 + number);
}

PetscErrorCode CkFileHandleSignals(void)
{
  static PetscBool asked = PETSC_FALSE, ignored[NSIGNALS]; /* nohup, or a job in the background */
  struct sigaction action;
  int              rank;

  PetscFunctionBeginUser;
  PetscCallMPI(MPI_Comm_rank(MPI_COMM_WORLD, &rank));
  tells = rank == 0;
  for (int i = 0; i < NSIGNALS; ++i) {
    if (!asked) ignored[i] = (PetscBool)(sigaction(signals[i], NULL, &action) == 0 && action.sa_handler == SIG_IGN);
    memset(&action, 0, sizeof(action));
    (void)sigfillset(&action.sa_mask);
    action.sa_handler = ignored[i] ? SIG_IGN : Stop;
    PetscCheck(sigaction(signals[i], &action, NULL) == 0, PETSC_COMM_SELF, PETSC_ERR_SYS, "sigaction: %s",
               strerror(errno));
  }
  asked = PETSC_TRUE;
  PetscFunctionReturn(PETSC_SUCCESS);
}

void CkFileNoteTemporary(const char name[])
{
  for (int i = 0; i < MAX_TEMPORARIES; ++i) {
    if (temporaries[i].used) continue;
    snprintf(temporaries[i].name, sizeof(temporaries[i].name), "%s", name);
    temporaries[i].used = 1;
    return;
  }
}

void CkFileForgetTemporary(const char name[])
{
  for (int i = 0; i < MAX_TEMPORARIES; ++i)
    if (temporaries[i].used && strcmp(temporaries[i].name, name) == 0) temporaries[i].used = 0;
}

/* Tells apart the sets of process numbers: host and, in containers, name space. */
static uint32_t Machine(void)
{
  char    text[512] = "";
  ssize_t length;
  size_t  used;

  (void)gethostname(text, 255);
  used = strlen(text);
  length = readlink("/proc/self/ns/pid", text + used, sizeof(text) - used - 1);
  if (length > 0) used += (size_t)length;
  return (uint32_t)CkChecksum(0, text, used);
}

PetscErrorCode CkFileNameTemporary(CkFile file, char name[PETSC_MAX_PATH_LEN])
{
  PetscFunctionBeginUser;
  PetscCall(
    PetscSNPrintf(name, PETSC_MAX_PATH_LEN, "%s.tmp-%08x-%ld", file->name, (unsigned)Machine(), (long)getpid()));
  PetscFunctionReturn(PETSC_SUCCESS);
}

void CkFileRemoveStale(CkFile file)
{
  char           folder[PETSC_MAX_PATH_LEN], path[2 * PETSC_MAX_PATH_LEN], prefix[PETSC_MAX_PATH_LEN + 32];
  const char    *slash = strrchr(file->name, '/');
  DIR           *stream;
  struct dirent *entry;

  CkFileFolder(file, folder);
  snprintf(prefix, sizeof(prefix), "%s.tmp-%08x-", slash ? slash + 1 : file->name, (unsigned)Machine());
  stream = opendir(folder);
  if (!stream) return; /* a folder that takes files and cannot be listed */
  while ((entry = readdir(stream))) {
    const char *number = entry->d_name + strlen(prefix);
    char       *end;
    long        pid;

    if (strncmp(entry->d_name, prefix, strlen(prefix)) != 0 || !isdigit((unsigned char)*number)) continue;
    errno = 0;
    pid = strtol(number, &end, 10);
    if (errno || *end || pid <= 0 || kill((pid_t)pid, 0) == 0 || errno != ESRCH) continue;
    snprintf(path, sizeof(path), "%s/%s", folder, entry->d_name);
    (void)unlink(path);
  }
  (void)closedir(stream);
}
