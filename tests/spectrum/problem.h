#pragma once
#include "testing.h"
#include <clarkia/spectrum.h>
#include <slepcsys.h>

/* A net of the zoo on synthetic data with random weights, or a landscape, with D and the object under test. */
typedef struct {
  MPI_Comm    comm;
  CkData      data; /* NULL for a landscape, as net and state */
  CkNet       net;
  CkState     state;
  CkLoss      loss;
  CkDiffusion D;
  CkSpectrum  spectrum;
} Problem;

/* Everything from options alone: those of earlier tests are dropped. */
static inline void SetOptions(const char options[])
{
  OK(CkDataRegisterOptions());
  OK(CkNetRegisterOptions());
  OK(CkEngineRegisterOptions());
  OK(CkLossRegisterOptions());
  OK(CkDiffusionRegisterOptions());
  OK(CkSpectrumRegisterOptions());
  OK(PetscOptionsClear(NULL));
  OK(PetscOptionsInsertString(NULL, options));
}

static inline void FinishProblem(Problem *p)
{
  OK(CkLossSetUp(p->loss));
  OK(CkDiffusionCreate(p->loss, &p->D));
  OK(CkDiffusionSetFromOptions(p->D));
  OK(CkSpectrumCreate(p->D, &p->spectrum));
  OK(CkSpectrumSetFromOptions(p->spectrum));
}

static inline Problem NewProblem(MPI_Comm comm, const char options[])
{
  Problem  p = {.comm = comm};
  CkShape  shape;
  PetscInt classes;

  SetOptions(options);
  OK(CkDataCreate(comm, &p.data));
  OK(CkDataSetFromOptions(p.data));
  OK(CkDataSetUp(p.data));
  OK(CkDataGetShape(p.data, &shape));
  OK(CkDataGetClasses(p.data, &classes));
  OK(CkNetCreate(comm, &p.net));
  OK(CkNetSetFromOptions(p.net, shape, classes));
  OK(CkNetSetUp(p.net));
  OK(CkStateCreate(comm, p.net, &p.state));
  OK(CkStateInitialize(p.state, 7));
  OK(CkLossCreate(comm, &p.loss));
  OK(CkLossSetFromOptions(p.loss));
  OK(CkLossSetNetwork(p.loss, p.net, p.data, p.state));
  FinishProblem(&p);
  return p;
}

/* A loss without data yet: CkLossSet...() it, then FinishProblem(). */
static inline Problem NewLandscape(MPI_Comm comm, const char options[])
{
  Problem p = {.comm = comm};

  SetOptions(options);
  OK(CkLossCreate(comm, &p.loss));
  OK(CkLossSetFromOptions(p.loss));
  return p;
}

/* Sets the point of a landscape. */
static inline void SetPoint(Problem *p, const double x[])
{
  Vec      v;
  PetscInt first, last;

  OK(CkLossCreateVec(p->loss, &v));
  OK(VecGetOwnershipRange(v, &first, &last));
  for (PetscInt i = first; i < last; ++i) OK(VecSetValue(v, i, x[i], INSERT_VALUES));
  OK(VecAssemblyBegin(v));
  OK(VecAssemblyEnd(v));
  OK(CkLossSetPoint(p->loss, v));
  OK(VecDestroy(&v));
}

static inline void FreeProblem(Problem *p)
{
  OK(CkSpectrumDestroy(&p->spectrum));
  OK(CkDiffusionDestroy(&p->D));
  OK(CkLossDestroy(&p->loss));
  if (p->state) OK(CkStateDestroy(&p->state));
  if (p->net) OK(CkNetDestroy(&p->net));
  if (p->data) OK(CkDataDestroy(&p->data));
}
