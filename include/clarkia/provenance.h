#pragma once
#include <clarkia/base.h>

/*
  provenance.h: what made a result: program and libraries. Texts are owned by the module and the same for the whole run;
  no function here but the printing one communicates. CkFileWriteProvenance() of file.h writes all of it into a file.
*/

/* The BLAS that is loaded, with its kernels where it tells: "OpenBLAS 0.3.21 Zen, 1 thread" or the library's file name.
 */
const char *CkBLASName(void);
/* What to set where OpenBLAS has chosen far slower kernels than the processor can run; NULL where it has not. */
const char *CkBLASAdvice(void);
/* The widest instruction set that oneDNN uses: "AVX2", "AVX-512 (VNNI)". */
const char *CkDNNInstructionSet(void);
/* Revision of the source: "1a2b3c4d5e6f", with "-dirty" after uncommitted changes, or "unknown" outside a checkout. */
const char *CkRevision(void);
/* Versions of MPI, PETSc, SLEPc, HDF5, oneDNN and ELPA in one line, separated by ", ". */
const char *CkLibraryVersions(void);
/* Coordinated universal time, ISO 8601: "2026-11-21T04:40:00Z"; text has room of 32 bytes. */
void CkTimeStamp(char text[32]);
/* Remembers the start of the run; once, before the first result. */
void CkProvenanceStart(void);
/* What `clarkia -version` prints, on rank 0. */
PetscErrorCode CkProvenancePrintVersions(MPI_Comm comm);
