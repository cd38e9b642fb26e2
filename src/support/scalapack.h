#pragma once
#include <clarkia/base.h>

/* scalapack.h: the BLACS and ScaLAPACK routines in use; no C header comes with them. All integers are 32 bits. */
void Cblacs_gridinit(int *context, const char *order, int nprow, int npcol);
void Cblacs_gridinfo(int context, int *nprow, int *npcol, int *myrow, int *mycol);
void Cblacs_gridexit(int context);
int  Csys2blacs_handle(MPI_Comm comm);
void Cfree_blacs_system_handle(int handle);

int  numroc_(const int *n, const int *nb, const int *iproc, const int *isrcproc, const int *nprocs);
void descinit_(int *desc, const int *m, const int *n, const int *mb, const int *nb, const int *irsrc, const int *icsrc,
               const int *context, const int *lld, int *info);
void pdtradd_(const char *uplo, const char *trans, const int *m, const int *n, const double *alpha, const double *a,
              const int *ia, const int *ja, const int *desca, const double *beta, double *c, const int *ic,
              const int *jc, const int *descc);
void pdsyev_(const char *jobz, const char *uplo, const int *n, double *a, const int *ia, const int *ja,
             const int *desca, double *w, double *z, const int *iz, const int *jz, const int *descz, double *work,
             const int *lwork, int *info);
void pdsyevd_(const char *jobz, const char *uplo, const int *n, double *a, const int *ia, const int *ja,
              const int *desca, double *w, double *z, const int *iz, const int *jz, const int *descz, double *work,
              const int *lwork, int *iwork, const int *liwork, int *info);

/* Turns a ScaLAPACK or LAPACK return code into a PETSc error: info < 0 is an illegal argument, > 0 a failed iteration.
 */
#define CkCallScaLAPACK(routine, info)                                                                                 \
  do {                                                                                                                 \
    const int ck_info_ = (int)(info);                                                                                  \
    PetscCheck(ck_info_ >= 0, PETSC_COMM_SELF, PETSC_ERR_LIB, "%s: argument %d is illegal (info = %d)", routine,       \
               -ck_info_ >= 100 ? -ck_info_ / 100 : -ck_info_, ck_info_);                                              \
    PetscCheck(ck_info_ == 0, PETSC_COMM_SELF, PETSC_ERR_CONV_FAILED,                                                  \
               "%s: %d eigenvalues did not converge, or the ranks do not agree on them (info = %d)", routine,          \
               ck_info_, ck_info_);                                                                                    \
  } while (0)
