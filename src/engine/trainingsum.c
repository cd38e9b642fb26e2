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

/* The runs of all ranks: how many, and their order by position. */
static PetscErrorCode ShareRuns(CkTrainingGroups *t, PetscInt group)
{
  PetscMPIInt ranks, mine;
  PetscInt   *first, *all;

  PetscFunctionBeginUser;
  PetscCallMPI(MPI_Comm_size(t->comm, &ranks));
  PetscCall(PetscMPIIntCast(t->nruns, &mine));
  PetscCall(PetscMalloc2(ranks, &t->rank_runs, ranks, &t->before));
  PetscCallMPI(MPI_Allgather(&mine, 1, MPI_INT, t->rank_runs, 1, MPI_INT, t->comm));
  for (PetscMPIInt r = 0; r < ranks; ++r) {
    t->before[r] = (PetscMPIInt)t->total_runs;
    t->total_runs += t->rank_runs[r];
  }
  PetscCall(PetscMalloc2(t->nruns, &first, t->total_runs, &all));
  PetscCall(PetscMalloc2(t->total_runs, &t->order, t->total_runs, &t->order_group));
  for (PetscInt r = 0; r < t->nruns; ++r) first[r] = t->position[t->runs[r].first];
  PetscCallMPI(MPI_Allgatherv(first, mine, MPIU_INT, all, t->rank_runs, t->before, MPIU_INT, t->comm));
  for (PetscInt r = 0; r < t->total_runs; ++r) t->order[r] = r;
  PetscCall(PetscSortIntWithPermutation(t->total_runs, all, t->order));
  for (PetscInt r = 0; r < t->total_runs; ++r) t->order_group[r] = all[t->order[r]] / group;
  PetscCall(PetscFree2(first, all));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkTrainingGroupsCreate(const CkTrainingBlocks *blocks, CkTrainingGroups *t)
{
  const PetscInt total = blocks->batch->n, group = blocks->group;
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
  PetscCall(ShareRuns(t, group));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkTrainingGroupsDestroy(CkTrainingGroups *t)
{
  PetscFunctionBeginUser;
  PetscCall(PetscFree(t->runs));
  PetscCall(PetscFree2(t->sample_group, t->position));
  PetscCall(PetscFree(t->group_size));
  PetscCall(PetscFree2(t->rank_runs, t->before));
  PetscCall(PetscFree2(t->order, t->order_group));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Each rank gets all terms and adds them in the order of their positions: the order is that of one rank. */
PetscErrorCode CkTrainingGroupsSum(const CkTrainingGroups *t, PetscInt n, const double partial[], double out[])
{
  PetscMPIInt  width, one;
  MPI_Datatype row;
  double      *all;

  PetscFunctionBeginUser;
  PetscCall(PetscMPIIntCast(n, &width));
  PetscCall(PetscMPIIntCast(t->nruns, &one));
  PetscCall(PetscMalloc1((size_t)t->total_runs * (size_t)n, &all));
  PetscCallMPI(MPI_Type_contiguous(width, MPI_DOUBLE, &row));
  PetscCallMPI(MPI_Type_commit(&row));
  PetscCallMPI(MPI_Allgatherv(partial, one, row, all, t->rank_runs, t->before, row, t->comm));
  PetscCallMPI(MPI_Type_free(&row));
  PetscCall(PetscArrayzero(out, (size_t)t->ngroups * (size_t)n));
  for (PetscInt r = 0; r < t->total_runs; ++r) {
    const double *term = all + (size_t)t->order[r] * (size_t)n;
    double       *sum = out + (size_t)t->order_group[r] * (size_t)n;

    for (PetscInt i = 0; i < n; ++i) sum[i] += term[i];
  }
  PetscCall(PetscFree(all));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkTrainingFinite(MPI_Comm comm, PetscInt n, const double values[], PetscBool *finite)
{
  int all = 1;

  PetscFunctionBeginUser;
  for (PetscInt k = 0; k < n; ++k) all = all && isfinite(values[k]);
  PetscCallMPI(MPI_Allreduce(MPI_IN_PLACE, &all, 1, MPI_INT, MPI_LAND, comm));
  *finite = (PetscBool)all;
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
