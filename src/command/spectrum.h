#pragma once
#include "problem.h"
#include <clarkia/spectrum.h>

/* spectrum.h: pieces of the command `spectrum`, private to it. All collective. */

/* What a user should know of the net, from an ONNX file say. */
PetscErrorCode CkSpectrumLogNotes(const CkProblem *problem);
PetscErrorCode CkSpectrumFromProblem(CkProblem *problem, CkDiffusion *D, CkSpectrum *spectrum);
/* Checksums of data and weights ("" without a state). */
PetscErrorCode CkSpectrumChecksums(CkProblem *problem, char data[32], char weights[32]);
/* User error where one of the keys ("-spectrum_start") is given; why: "this is a series". */
PetscErrorCode CkSpectrumRefuseKeys(MPI_Comm comm, PetscInt n, const char *const keys[], const char why[]);

/* spectrum_series.c: -state A,B,..: the spectrum at each of n weights, and how they differ. */
PetscErrorCode CkSpectrumRunSeries(MPI_Comm comm, PetscBool dry, PetscInt n, char **states);
/* spectrum_nets.c: -net_list A,B,..: score of each of n nets; as many states, or none. */
PetscErrorCode CkSpectrumNetsRegisterOptions(void);
PetscErrorCode CkSpectrumRunNets(MPI_Comm comm, PetscBool dry, PetscInt n, char **nets, PetscInt nstates,
                                 char **states);
