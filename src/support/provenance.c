/* provenance.c: program, libraries, machine and options of this run. */
#define _GNU_SOURCE /* dl_iterate_phdr, gethostname */
#include <clarkia/options.h>
#include <clarkia/progress.h>
#include <clarkia/provenance.h>
#include <clarkia/revision.h>
#include <dlfcn.h>
#include <elpa/elpa_version.h>
#include <file_private.h>
#include <link.h>
#include <oneapi/dnnl/dnnl.h>
#include <slepcsys.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { NAME = 256, LINE = 4096 };

static char started[32];

void CkTimeStamp(char text[32])
{
  const time_t now = time(NULL);
  struct tm    parts;

  gmtime_r(&now, &parts);
  strftime(text, 32, "%Y-%m-%dT%H:%M:%SZ", &parts);
}

void CkProvenanceStart(void)
{
  if (!started[0]) CkTimeStamp(started);
}

const char *CkRevision(void)
{
  return CK_REVISION;
}

/* Notes the first loaded library whose name says BLAS. */
static int NoteBLAS(struct dl_phdr_info *info, size_t size, void *context)
{
  const char *name = strrchr(info->dlpi_name, '/');

  (void)size;
  if (!name || !strstr(name, "blas") || strstr(name, "pblas")) return 0;
  snprintf(context, NAME, "%s", info->dlpi_name);
  return 1;
}

const char *CkBLASName(void)
{
  static char name[NAME + 64];
  char        file[NAME] = "unknown";
  char *(*config)(void);
  int (*threads)(void);

  if (name[0]) return name;
  *(void **)&config = dlsym(RTLD_DEFAULT, "openblas_get_config");
  *(void **)&threads = dlsym(RTLD_DEFAULT, "openblas_get_num_threads");
  (void)dl_iterate_phdr(NoteBLAS, file);
  if (config)
    snprintf(name, sizeof(name), "%.200s, %d thread%s", config(), threads ? threads() : 1,
             CkPlural(threads ? threads() : 1));
  else snprintf(name, sizeof(name), "%s (not OpenBLAS: expect it to be slow)", file);
  return name;
}

/* OpenBLAS takes the kernels of a processor of 2004 where it does not know the one it runs on. */
const char *CkBLASAdvice(void)
{
  char *(*core)(void);

  *(void **)&core = dlsym(RTLD_DEFAULT, "openblas_get_corename");
  if (!core || (strcmp(core(), "Prescott") != 0 && strcmp(core(), "Barcelona") != 0)) return NULL;
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx512bw"))
    return "OpenBLAS does not know this processor and takes kernels that are several times slower than it can be: set "
           "OPENBLAS_CORETYPE=SkylakeX (. jobs/env.sh does)";
  if (__builtin_cpu_supports("avx2"))
    return "OpenBLAS does not know this processor and takes kernels that are several times slower than it can be: set "
           "OPENBLAS_CORETYPE=Haswell (. jobs/env.sh does)";
#endif
  return NULL;
}

const char *CkDNNInstructionSet(void)
{
  switch ((int)dnnl_get_effective_cpu_isa()) {
  case dnnl_cpu_isa_sse41:
    return "SSE4.1";
  case dnnl_cpu_isa_avx:
    return "AVX";
  case dnnl_cpu_isa_avx2:
    return "AVX2";
  case dnnl_cpu_isa_avx2_vnni:
    return "AVX2 with VNNI";
  case dnnl_cpu_isa_avx512_core:
    return "AVX-512";
  case dnnl_cpu_isa_avx512_core_vnni:
    return "AVX-512 with VNNI";
  case dnnl_cpu_isa_avx512_core_bf16:
    return "AVX-512 with bfloat16";
  case dnnl_cpu_isa_avx512_core_amx:
    return "AVX-512 with AMX";
  default:
    return "another than known to this program";
  }
}

const char *CkLibraryVersions(void)
{
  static char           text[LINE];
  char                  mpi[MPI_MAX_LIBRARY_VERSION_STRING] = "";
  const dnnl_version_t *dnn = dnnl_version();
  unsigned              major, minor, release;
  int                   length;

  if (text[0]) return text;
  (void)MPI_Get_library_version(mpi, &length);
  mpi[strcspn(mpi, ",\n")] = '\0';
  if (H5get_libversion(&major, &minor, &release) < 0) major = minor = release = 0;
  snprintf(text, sizeof(text),
           "%.200s, PETSc %d.%d.%d (%d-bit indices), SLEPc %d.%d.%d, HDF5 %u.%u.%u, oneDNN %d.%d.%d, ELPA interface %d",
           mpi, PETSC_VERSION_MAJOR, PETSC_VERSION_MINOR, PETSC_VERSION_SUBMINOR, (int)(8 * sizeof(PetscInt)),
           SLEPC_VERSION_MAJOR, SLEPC_VERSION_MINOR, SLEPC_VERSION_SUBMINOR, major, minor, release, dnn->major,
           dnn->minor, dnn->patch, ELPA_API_VERSION);
  return text;
}

PetscErrorCode CkProvenancePrintVersions(MPI_Comm comm)
{
  PetscFunctionBeginUser;
  PetscCall(PetscPrintf(comm, "Clarkia %s, revision %s\n%s\nBLAS: %s\noneDNN instruction set: %s\n", CK_VERSION,
                        CkRevision(), CkLibraryVersions(), CkBLASName(), CkDNNInstructionSet()));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode WriteProgram(CkFile file)
{
  int    argc;
  char **argv, line[LINE] = "";
  size_t used = 0;

  PetscFunctionBeginUser;
  PetscCall(PetscGetArgs(&argc, &argv));
  for (int i = 0; i < argc && used < sizeof(line); ++i)
    used += (size_t)snprintf(line + used, sizeof(line) - used, "%s%s", i ? " " : "", argv[i]);
  PetscCall(CkFileWriteString(file, "/", "program", "Clarkia"));
  PetscCall(CkFileWriteString(file, "/", "version", CK_VERSION));
  PetscCall(CkFileWriteString(file, "/", "revision", CkRevision()));
  PetscCall(CkFileWriteString(file, "/", "libraries", CkLibraryVersions()));
  PetscCall(CkFileWriteString(file, "/", "blas", CkBLASName()));
  PetscCall(CkFileWriteString(file, "/", "instruction_set", CkDNNInstructionSet()));
  PetscCall(CkFileWriteString(file, "/", "random_numbers", "philox4x32-10"));
  PetscCall(CkFileWriteString(file, "/", "command_line", line));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Attributes hold at most 64 kB; what is longer is cut and says so. */
static PetscErrorCode WriteOptions(CkFile file)
{
  char    *ours, *all;
  PetscInt seed;

  PetscFunctionBeginUser;
  PetscCall(CkOptionsInForce(&ours));
  PetscCall(PetscOptionsGetAll(NULL, &all));
  if (strlen(ours) > 60000) snprintf(ours + 59980, 20, "... (cut)");
  if (strlen(all) > 60000) snprintf(all + 59980, 20, "... (cut)");
  PetscCall(CkFileWriteString(file, "/", "options", ours));
  PetscCall(CkFileWriteString(file, "/", "options_given", all));
  PetscCall(PetscFree(ours));
  PetscCall(PetscFree(all));
  PetscCall(CkOptionsRegisterCommon()); /* the seed's default; once more does no harm */
  PetscCall(CkOptionsGetInt("seed", &seed, NULL));
  PetscCall(CkFileWriteInt(file, "/", "seed", seed));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode WriteMachine(CkFile file)
{
  char        host[NAME] = "", now[32];
  const char *job = getenv("SLURM_JOB_ID"), *threads = getenv("OMP_NUM_THREADS");
  PetscMPIInt ranks;
  double      memory;

  PetscFunctionBeginUser;
  PetscCallMPI(MPI_Comm_size(PETSC_COMM_WORLD, &ranks));
  PetscCall(CkMemoryPeakAll(file->comm, &memory)); /* the others may not be here */
  (void)gethostname(host, sizeof(host) - 1);
  CkTimeStamp(now);
  PetscCall(CkFileWriteInt(file, "/", "ranks", ranks));
  PetscCall(CkFileWriteReal(file, "/", "peak_memory", memory));
  PetscCall(CkFileWriteString(file, "/", "threads", threads ? threads : "not set"));
  PetscCall(CkFileWriteString(file, "/", "first_host", host));
  PetscCall(CkFileWriteString(file, "/", "slurm_job", job ? job : ""));
  PetscCall(CkFileWriteString(file, "/", "started", started[0] ? started : now));
  PetscCall(CkFileWriteString(file, "/", "ended", now));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkFileWriteProvenance(CkFile file)
{
  PetscFunctionBeginUser;
  PetscCall(WriteProgram(file));
  PetscCall(WriteOptions(file));
  PetscCall(WriteMachine(file));
  PetscFunctionReturn(PETSC_SUCCESS);
}
