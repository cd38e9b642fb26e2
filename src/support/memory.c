#include <clarkia/error.h>
#include <clarkia/options.h>
#include <clarkia/progress.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

/* The number in a control group's limit file; INFINITY where there is none ("max", or no such file). */
static double ReadLimitFile(const char path[])
{
  FILE  *file = fopen(path, "r");
  double limit = INFINITY;

  if (!file) return INFINITY;
  if (fscanf(file, "%lf", &limit) != 1) limit = INFINITY;
  fclose(file);
  return limit > 0 ? limit : INFINITY;
}

/* Smallest limit of the control groups (version 1 and 2) of this process. Inside a container the group's own folder
 * may be mounted as the root of the hierarchy, so both are looked at. */
static double ControlGroupLimit(void)
{
  FILE  *file = fopen("/proc/self/cgroup", "r");
  double limit =
    fmin(ReadLimitFile("/sys/fs/cgroup/memory/memory.limit_in_bytes"), ReadLimitFile("/sys/fs/cgroup/memory.max"));
  char line[1024], path[1200];

  if (!file) return limit;
  while (fgets(line, sizeof(line), file)) {
    char *group = strstr(line, ":/");

    line[strcspn(line, "\n")] = '\0';
    if (!group) continue;
    if (strncmp(line, "0::", 3) == 0) snprintf(path, sizeof(path), "/sys/fs/cgroup%s/memory.max", group + 1);
    else if (strstr(line, ":memory:"))
      snprintf(path, sizeof(path), "/sys/fs/cgroup/memory%s/memory.limit_in_bytes", group + 1);
    else continue;
    limit = fmin(limit, ReadLimitFile(path));
  }
  fclose(file);
  return limit;
}

/* What the node has, divided by its ranks; the smallest of all nodes. */
static PetscErrorCode MachineLimit(MPI_Comm comm, double *bytes_per_rank)
{
  const double physical = (double)sysconf(_SC_PHYS_PAGES) * (double)sysconf(_SC_PAGE_SIZE);
  MPI_Comm     node;
  PetscMPIInt  ranks;

  PetscFunctionBeginUser;
  PetscCallMPI(MPI_Comm_split_type(comm, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &node));
  PetscCallMPI(MPI_Comm_size(node, &ranks));
  PetscCallMPI(MPI_Comm_free(&node));
  *bytes_per_rank = fmin(physical, ControlGroupLimit()) / ranks;
  PetscCallMPI(MPI_Allreduce(MPI_IN_PLACE, bytes_per_rank, 1, MPI_DOUBLE, MPI_MIN, comm));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkMemoryLimit(MPI_Comm comm, double *bytes_per_rank)
{
  PetscReal gigabytes;
  PetscBool given;

  PetscFunctionBeginUser;
  PetscCall(CkOptionsGetReal("memory_limit", &gigabytes, &given));
  if (given) *bytes_per_rank = 1e9 * gigabytes;
  else PetscCall(MachineLimit(comm, bytes_per_rank));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkMemoryCheck(MPI_Comm comm, double bytes_per_rank, const char what[], const char remedy[])
{
  double    limit;
  PetscBool given;
  char      need[32], have[32];

  PetscFunctionBeginUser;
  PetscCall(CkMemoryLimit(comm, &limit));
  PetscCall(CkOptionsGetReal("memory_limit", NULL, &given));
  CkFormatBytes(bytes_per_rank, need);
  CkFormatBytes(limit, have);
  CkCheckAll(comm, bytes_per_rank <= limit, PETSC_ERR_MEM, "%s needs %s on each rank, but %s %s; %s", what, need,
             given ? "-memory_limit allows" : "a rank's share of the machine's memory is", have, remedy);
  PetscFunctionReturn(PETSC_SUCCESS);
}

double CkMemoryPeak(void)
{
  struct rusage usage;

  if (getrusage(RUSAGE_SELF, &usage)) return 0;
  return 1024. * (double)usage.ru_maxrss;
}

PetscErrorCode CkMemoryPeakAll(MPI_Comm comm, double *bytes)
{
  PetscFunctionBeginUser;
  *bytes = CkMemoryPeak();
  PetscCallMPI(MPI_Allreduce(MPI_IN_PLACE, bytes, 1, MPI_DOUBLE, MPI_SUM, comm));
  PetscFunctionReturn(PETSC_SUCCESS);
}
