#include "trainingsum.h"
#include <clarkia/random.h>
#include <math.h>

/* One run for each stretch of a block inside one group; counts only where runs is NULL. */
static PetscInt ListRuns(const CkTrainingBlocks *blocks, PetscInt group, CkTrainingRun runs[])
{
  PetscInt n = 0, sample = 0;

  for (PetscInt b = 0; b < blocks->nblocks; ++b) {
    const PetscInt end = blocks->first[b] + blocks->size[b];

    for (PetscInt p = blocks->first[b]; p < end;) {
      const PetscInt base = p - p % group;
      const PetscInt stop = base + PetscMin(group, end - base);

      if (runs) runs[n] = (CkTrainingRun){.group = p / group, .first = sample, .size = stop - p};
      sample += stop - p;
      p = stop;
      ++n;
    }
  }
  return n;
}

PetscErrorCode CkTrainingGroupsCreate(const CkTrainingBlocks *blocks, CkTrainingGroups *t)
{
  const PetscInt total = blocks->batch->n, group = blocks->group;
  double         mine;
  PetscInt       sample = 0;

  PetscFunctionBeginUser;
  PetscCheck(group >= 1, PETSC_COMM_SELF, PETSC_ERR_ARG_OUTOFRANGE, "Normalisation group of %" PetscInt_FMT " samples",
             group);
  PetscCall(PetscMemzero(t, sizeof(*t)));
  t->comm = blocks->comm;
  for (PetscInt b = 0; b < blocks->nblocks; ++b) t->nsamples += blocks->size[b];
  t->nruns = ListRuns(blocks, group, NULL);
  t->ngroups = total / group + (total % group > 0);
  PetscCall(PetscMalloc1(t->nruns, &t->runs));
  PetscCall(PetscMalloc2(t->nsamples, &t->sample_group, t->nsamples, &t->position));
  PetscCall(PetscMalloc1(t->ngroups, &t->group_size));
  PetscCheck(ListRuns(blocks, group, t->runs) == t->nruns, PETSC_COMM_SELF, PETSC_ERR_PLIB, "Runs miscounted");
  for (PetscInt b = 0; b < blocks->nblocks; ++b)
    for (PetscInt i = 0; i < blocks->size[b]; ++i, ++sample) {
      t->position[sample] = blocks->first[b] + i;
      t->sample_group[sample] = t->position[sample] / group;
    }
  for (PetscInt g = 0; g < t->ngroups; ++g) t->group_size[g] = PetscMin(group, total - g * group);
  mine = (double)t->nruns;
  PetscCallMPI(MPI_Allreduce(&mine, &t->total_runs, 1, MPI_DOUBLE, MPI_SUM, t->comm));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkTrainingGroupsDestroy(CkTrainingGroups *t)
{
  PetscFunctionBeginUser;
  PetscCall(PetscFree(t->runs));
  PetscCall(PetscFree2(t->sample_group, t->position));
  PetscCall(PetscFree(t->group_size));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Largest |term| of all ranks, the same on all of them; INFINITY where a term is not finite. */
static PetscErrorCode LargestTerm(MPI_Comm comm, size_t n, const double terms[], double *largest)
{
  double mine = 0;

  PetscFunctionBeginUser;
  for (size_t i = 0; i < n; ++i) mine = isfinite(terms[i]) ? fmax(mine, fabs(terms[i])) : INFINITY;
  PetscCallMPI(MPI_Allreduce(&mine, largest, 1, MPI_DOUBLE, MPI_MAX, comm));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkTrainingGroupsSum(const CkTrainingGroups *t, PetscInt n, const double partial[], double out[])
{
  const size_t length = (size_t)t->ngroups * (size_t)n;
  double       largest, bound;
  CkExactSum   sum;

  PetscFunctionBeginUser;
  PetscCall(LargestTerm(t->comm, (size_t)t->nruns * (size_t)n, partial, &largest));
  bound = 2 * largest * t->total_runs; /* with room for the rounding of the product */
  if (!isfinite(bound) || bound == 0) {
    for (size_t i = 0; i < length; ++i) out[i] = bound == 0 ? 0 : NAN;
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  /* two limbs: channels much smaller than the largest keep their digits */
  PetscCall(CkExactSumCreate(t->comm, (PetscInt64)length, 1, &bound, 2, &sum));
  for (PetscInt r = 0; r < t->nruns; ++r)
    PetscCall(CkExactSumAdd(sum, 0, (PetscInt64)t->runs[r].group * n, n, partial + (size_t)r * (size_t)n));
  PetscCall(CkExactSumReduce(sum, out));
  PetscCall(CkExactSumDestroy(&sum));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkTrainingFinite(MPI_Comm comm, PetscInt n, const double values[], PetscBool *finite)
{
  double largest;

  PetscFunctionBeginUser;
  PetscCall(LargestTerm(comm, (size_t)n, values, &largest));
  *finite = (PetscBool)isfinite(largest);
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkTrainingDropout(CkNet net, PetscInt layer, const CkTrainingBlocks *blocks, PetscInt position,
                                 double factors[])
{
  const CkRandom stream = {.seed = blocks->seed,
                           .purpose = CK_RANDOM_DROPOUT,
                           .replica = (uint32_t)blocks->batch->replica,
                           .step = (uint64_t)blocks->batch->step};
  const CkLayer *layers;
  PetscInt       nlayers, size;
  uint64_t       before = 0, all = 0;
  double         rate;

  PetscFunctionBeginUser;
  PetscCall(CkNetGetLayers(net, &nlayers, &layers));
  for (PetscInt l = 0; l < nlayers; ++l) {
    if (layers[l].type != CK_LAYER_DROPOUT) continue;
    if (l < layer) before += (uint64_t)CkShapeSize(layers[l].out);
    all += (uint64_t)CkShapeSize(layers[l].out);
  }
  size = CkShapeSize(layers[layer].out);
  rate = layers[layer].a.rate;
  /* the numbers of one sample's dropout layers follow one another in the stream, then those of the next sample */
  CkRandomUniforms(&stream, (uint64_t)position * all + before, (size_t)size, factors);
  for (PetscInt i = 0; i < size; ++i) factors[i] = factors[i] < rate ? 0 : 1 / (1 - rate);
  PetscFunctionReturn(PETSC_SUCCESS);
}
