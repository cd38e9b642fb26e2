#include "reference.h"

/* statistics[buffers]: means over the groups, weighted by their sizes, of mean and unbiased variance */
static void CollectStatistics(const Reference *r, double statistics[])
{
  const CkTrainingGroups *groups = r->groups;

  for (PetscInt l = 0; l < r->nlayers; ++l) {
    const CkLayer     *layer = &r->layers[l];
    const CkParameter *buffer = &r->parameters[layer->first_buffer];
    const PetscInt     C = layer->in.c;

    if (layer->type != CK_LAYER_BATCHNORM) continue;
    for (PetscInt c = 0; c < C; ++c) {
      double mean = 0, variance = 0;

      for (PetscInt g = 0; g < groups->ngroups; ++g) {
        const double weight = (double)groups->group_size[g] / (double)r->blocks->batch->n;
        const double count = (double)groups->group_size[g] * (double)(layer->in.h * layer->in.w);
        const size_t at = (size_t)g * (size_t)C + (size_t)c;

        mean += weight * r->mean[l][at];
        variance += weight * r->variance[l][at] * count / (count - 1);
      }
      statistics[buffer[0].offset + c] = mean;
      statistics[buffer[1].offset + c] = variance;
    }
  }
}

/* One flush a sum block: the sum of its samples' gradients (their weights are in the deltas). */
static PetscErrorCode FlushGradient(const Reference *r, CkExactSum gradient)
{
  PetscInt sample = 0;
  double  *g;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc1(r->d, &g));
  for (PetscInt b = 0; b < r->blocks->nblocks; ++b) {
    PetscCall(PetscArrayzero(g, r->d));
    for (PetscInt i = 0; i < r->blocks->size[b]; ++i, ++sample) PetscCall(ReferenceRow(r, sample, g));
    PetscCall(CkExactSumAdd(gradient, 0, 0, r->d, g));
  }
  PetscCall(PetscFree(g));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode ReferenceTrain(CkEngine engine, const CkTrainingBlocks *blocks, double values[], int correct[],
                              double statistics[], CkExactSum gradient)
{
  Reference       *r = (Reference *)engine->data;
  CkTrainingGroups groups;
  PetscBool        finite;

  PetscFunctionBeginUser;
  PetscCall(CkTrainingGroupsCreate(blocks, &groups));
  PetscCall(ReferenceReserve(r, groups.nsamples, groups.ngroups));
  r->blocks = blocks;
  r->groups = &groups;
  PetscCall(
    ReferenceForward(engine, groups.nsamples, blocks->features, blocks->labels, blocks->weights, values, correct));
  if (statistics) CollectStatistics(r, statistics);
  PetscCall(CkTrainingFinite(blocks->comm, groups.nsamples, values, &finite));
  if (finite) {
    PetscCall(ReferenceBackward(engine, groups.nsamples));
    PetscCall(FlushGradient(r, gradient));
  }
  r->blocks = NULL;
  r->groups = NULL;
  PetscCall(CkTrainingGroupsDestroy(&groups));
  PetscFunctionReturn(PETSC_SUCCESS);
}
