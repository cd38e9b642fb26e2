#include "krylov.h"
#include <clarkia/error.h>

/* krylov_plan.c: weight space or sample space, how many vectors, what it costs (docs/theory.md, section 14). */

/* What a form costs; operations of all ranks, those in double precision counted twice. */
typedef struct {
  double memory; /* bytes per rank besides s->fixed */
  double step;   /* operations per vector and product */
} FormCost;

static double LocalRows(CkSpectrum s, PetscInt n, CkKrylovForm form)
{
  PetscMPIInt size = 1;

  if (form == CK_KRYLOV_WEIGHT) (void)MPI_Comm_size(s->comm, &size);
  return ceil((double)n / size);
}

/* Pairs, type and block as SLEPc will take them from the options. */
static PetscErrorCode ReadSizes(CkSpectrum s, CkKrylovPlan *plan)
{
  char      type[64] = CK_EPS_BLOCK;
  PetscBool set;

  PetscFunctionBeginUser;
  PetscCall(PetscOptionsGetString(NULL, NULL, "-eps_type", type, sizeof(type), NULL));
  plan->blocks = (PetscBool)(strcmp(type, CK_EPS_BLOCK) == 0);
  plan->n = plan->form == CK_KRYLOV_WEIGHT ? s->d : s->N;
  plan->nev = s->nev;
  PetscCall(PetscOptionsGetInt(NULL, NULL, "-eps_nev", &plan->nev, NULL));
  plan->nev = PetscMin(plan->nev, CkSpectrumMaximalRank(s));
  PetscCall(CkDiffusionGetColumns(s->D, plan->n, &plan->block));
  PetscCall(PetscOptionsGetInt(NULL, NULL, "-eps_ckblock_size", &plan->block, &set));
  if (!plan->blocks) plan->block = 1;
  plan->block = PetscMax(1, PetscMin(plan->block, plan->n));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Bytes of what grows with the basis: its vectors, and one block in and out of a product. */
static double BasisBytes(CkSpectrum s, const CkKrylovPlan *plan, PetscInt ncv)
{
  const double rows = LocalRows(s, plan->n, plan->form) * sizeof(double);

  return rows * ((double)ncv + (plan->blocks ? 3. * plan->block : 1.));
}

/* Operations of a sweep over kept gradients, and of a pass that makes them anew, per vector (B.5), (B.6). A sweep is a
   multiplication and an addition an entry, in double precision at about half the rate of the engine's, and 64 more for
   all vectors together: widening, and what narrow blocks lose. */
static double SweepCost(CkSpectrum s, const CkKrylovPlan *plan)
{
  return (double)s->N * (double)s->d * (8. + 64. / plan->block);
}

static double PassCost(CkSpectrum s, const CkKrylovPlan *plan)
{
  return (double)s->N * (plan->load / plan->block + plan->column);
}

/* The rest: buffers of a product, kept gradients, eigenvectors of D and products with them. */
PetscErrorCode CkKrylovPlanBuffers(CkSpectrum s, CkKrylovPlan *plan)
{
  const double rows = LocalRows(s, s->d, CK_KRYLOV_WEIGHT) * sizeof(double);
  PetscBool    fits;
  double       passes, row;

  PetscFunctionBeginUser;
  PetscCall(CkSpectrumGradientCost(s, &plan->load, &row, &plan->column));
  PetscCall(CkDiffusionProductCost(s->D, PetscMax(plan->block, plan->nev), &plan->stream, &passes));
  if (plan->form == CK_KRYLOV_SAMPLE) {
    plan->stream += plan->block * (rows + 4. * sizeof(double) * (double)s->N);
    PetscCall(CkDiffusionKeepMemory(s->D, &plan->kept, &fits));
    plan->keep = (PetscBool)(s->keep_asked == CK_KEEP_YES);
    if (s->keep_asked == CK_KEEP_AUTO) plan->keep = (PetscBool)(fits && SweepCost(s, plan) < PassCost(s, plan));
    if (!plan->keep) plan->kept = 0;
  }
  plan->vectors = ((double)plan->nev + PetscMin(plan->nev, CK_RESIDUAL_GROUP)) * rows;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Basis before a restart: six blocks more than pairs are enough for 1e-8 without one on the networks measured; no
   Krylov space is larger than the samples' span and the block. Less where memory is short. */
static PetscErrorCode ChooseBasis(CkSpectrum s, CkKrylovPlan *plan)
{
  const double   rows = LocalRows(s, plan->n, plan->form) * sizeof(double);
  const PetscInt least = plan->nev + plan->block;
  double         limit, room;
  PetscInt       span = plan->n, most;

  PetscFunctionBeginUser;
  if (!plan->blocks) plan->ncv = CkKrylovBasisSize(plan->n, plan->nev);
  else {
    if (s->N < plan->n - 2 * plan->block) span = PetscMax(s->N, plan->nev) + 2 * plan->block;
    most = PetscMin(span, PetscMax(2 * plan->nev, plan->nev + 6 * plan->block));
    PetscCall(CkMemoryLimit(s->comm, &limit));
    room = (limit - s->fixed - plan->stream - plan->kept - plan->vectors) / PetscMax(rows, 1) - 3. * plan->block;
    plan->ncv = (PetscInt)PetscMax((double)PetscMin(least, most), PetscMin((double)most, room));
  }
  PetscCall(PetscOptionsGetInt(NULL, NULL, "-eps_ncv", &plan->ncv, NULL));
  plan->ncv = PetscMax(1, PetscMin(plan->ncv, plan->n));
  if (plan->blocks && plan->ncv < plan->n) plan->block = PetscMax(1, PetscMin(plan->block, plan->ncv - plan->nev));
  plan->basis = BasisBytes(s, plan, plan->ncv);
  plan->work = (double)plan->ncv * (double)plan->ncv * 4 * sizeof(double);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Operations of a product, per vector: one pass with both halves, or two of one half each; orthogonalisation reads the
   basis three times and counts double. */
static void StepCost(CkSpectrum s, CkKrylovPlan *plan)
{
  if (plan->form == CK_KRYLOV_WEIGHT) plan->step = PassCost(s, plan) + (double)s->N * plan->column;
  else plan->step = 2 * (plan->keep ? SweepCost(s, plan) : PassCost(s, plan));
  plan->step += 12. * (double)plan->n * (double)plan->ncv;
}

static PetscErrorCode PlanForm(CkSpectrum s, CkKrylovForm form, CkKrylovPlan *plan, FormCost *cost)
{
  PetscFunctionBeginUser;
  *plan = (CkKrylovPlan){.form = form};
  PetscCall(ReadSizes(s, plan));
  PetscCall(CkKrylovPlanBuffers(s, plan));
  PetscCall(ChooseBasis(s, plan));
  StepCost(s, plan);
  cost->memory = plan->basis + plan->stream + plan->kept + plan->vectors + plan->work;
  cost->step = plan->step;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Describe(CkKrylovPlan *plan, const char why[])
{
  PetscFunctionBeginUser;
  PetscCall(PetscSNPrintf(
    plan->reason, sizeof(plan->reason), "%s space (%s)%s, %" PetscInt_FMT " vector%s a product, basis %" PetscInt_FMT,
    CkKrylovFormName(plan->form), why,
    plan->form == CK_KRYLOV_WEIGHT ? "" : (plan->keep ? ", gradients kept" : ", two passes a product"), plan->block,
    CkPlural(plan->block), plan->ncv));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkKrylovPlanMake(CkSpectrum s)
{
  CkKrylovPlan weight, sample;
  FormCost     costs[2];
  double       limit;
  char         why[96] = "as asked";

  PetscFunctionBeginUser;
  PetscCall(PlanForm(s, CK_KRYLOV_WEIGHT, &weight, &costs[0]));
  PetscCall(PlanForm(s, CK_KRYLOV_SAMPLE, &sample, &costs[1]));
  PetscCall(CkMemoryLimit(s->comm, &limit));
  limit -= s->fixed;
  s->krylov = s->form_asked == CK_KRYLOV_SAMPLE ? sample : weight;
  if (s->form_asked == CK_KRYLOV_AUTO) {
    PetscBool second = (PetscBool)(costs[1].step < costs[0].step);

    PetscCall(PetscSNPrintf(why, sizeof(why), "%.3g operations a vector, %s %.3g",
                            second ? costs[1].step : costs[0].step, second ? "weight" : "sample",
                            second ? costs[0].step : costs[1].step));
    if (PetscMax(costs[0].memory, costs[1].memory) > limit) {
      second = (PetscBool)(costs[1].memory < costs[0].memory);
      PetscCall(PetscSNPrintf(why, sizeof(why), "the other does not fit the memory"));
    }
    s->krylov = second ? sample : weight;
  }
  PetscCall(Describe(&s->krylov, why));
  PetscFunctionReturn(PETSC_SUCCESS);
}

const char *CkKrylovFormName(CkKrylovForm form)
{
  static const char *const names[] = {"auto", "weight", "sample"};

  return names[form];
}
