#include "reference.h"
#include <math.h>

/*
  Batch norm, channel by channel: xhat = (a - mean)/sqrt(variance + epsilon), y = gamma xhat + beta. Evaluation mode
  uses the running statistics; training mode those of the sample's normalisation group.
*/
typedef struct {
  const CkLayer *l;
  PetscInt       channels, pixels;
  const double  *gamma, *beta;
} Norm;

static Norm NormOf(const Reference *r, PetscInt layer)
{
  const CkLayer *l = &r->layers[layer];

  return (Norm){.l = l,
                .channels = l->in.c,
                .pixels = l->in.h * l->in.w,
                .gamma = r->weights + ReferenceOffset(r, layer, 0),
                .beta = r->weights + ReferenceOffset(r, layer, 1)};
}

static PetscInt GroupOf(const Reference *r, PetscInt k)
{
  return r->groups ? r->groups->sample_group[k] : 0;
}

static double InverseDeviation(const Reference *r, PetscInt layer, PetscInt group, PetscInt c)
{
  const CkLayer *l = &r->layers[layer];

  return 1 / sqrt(r->variance[layer][(size_t)group * (size_t)l->in.c + (size_t)c] + l->a.epsilon);
}

/* (a - mean)/sqrt(variance + epsilon) of pixel i of channel c of sample k */
static double Normalised(const Reference *r, PetscInt layer, PetscInt k, PetscInt c, PetscInt i)
{
  const CkLayer *l = &r->layers[layer];
  const PetscInt pixels = l->in.h * l->in.w, group = GroupOf(r, k);
  const double   mean = r->mean[layer][(size_t)group * (size_t)l->in.c + (size_t)c];

  return (ReferenceSample(r, r->out, l->inputs[0], k)[(size_t)c * (size_t)pixels + (size_t)i] - mean) *
         InverseDeviation(r, layer, group, c);
}

/* Mean over each group of a - centre, or of its square: centre NULL is 0. out [groups x channels]. */
static PetscErrorCode Moments(const Reference *r, PetscInt layer, const double centre[], double out[])
{
  const CkTrainingGroups *groups = r->groups;
  const CkLayer          *l = &r->layers[layer];
  const PetscInt          C = l->in.c, pixels = l->in.h * l->in.w;
  double                 *partial;

  PetscFunctionBeginUser;
  PetscCall(PetscCalloc1((size_t)groups->nruns * (size_t)C, &partial));
  for (PetscInt run = 0; run < groups->nruns; ++run) {
    const CkTrainingRun *t = &groups->runs[run];

    for (PetscInt k = t->first; k < t->first + t->size; ++k) {
      const double *a = ReferenceSample(r, r->out, l->inputs[0], k);

      for (PetscInt c = 0; c < C; ++c) {
        const double m = centre ? centre[(size_t)t->group * (size_t)C + (size_t)c] : 0;

        for (PetscInt i = 0; i < pixels; ++i) {
          const double value = a[(size_t)c * (size_t)pixels + (size_t)i] - m;

          partial[(size_t)run * (size_t)C + (size_t)c] += centre ? value * value : value;
        }
      }
    }
  }
  PetscCall(CkTrainingGroupsSum(groups, C, partial, out));
  for (PetscInt g = 0; g < groups->ngroups; ++g)
    for (PetscInt c = 0; c < C; ++c)
      out[(size_t)g * (size_t)C + (size_t)c] /= (double)groups->group_size[g] * (double)pixels;
  PetscCall(PetscFree(partial));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Statistics(const Reference *r, PetscInt layer)
{
  const CkParameter *buffers = &r->parameters[r->layers[layer].first_buffer];

  PetscFunctionBeginUser;
  if (r->groups) {
    PetscCall(Moments(r, layer, NULL, r->mean[layer]));
    PetscCall(Moments(r, layer, r->mean[layer], r->variance[layer]));
  } else {
    PetscCall(PetscArraycpy(r->mean[layer], r->buffers + buffers[0].offset, buffers[0].size));
    PetscCall(PetscArraycpy(r->variance[layer], r->buffers + buffers[1].offset, buffers[1].size));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Forward(CkEngine engine, PetscInt layer, PetscInt n)
{
  const Reference *r = (const Reference *)engine->data;
  const Norm       b = NormOf(r, layer);

  PetscFunctionBeginUser;
  PetscCall(Statistics(r, layer));
  for (PetscInt k = 0; k < n; ++k) {
    double *y = ReferenceSample(r, r->out, layer, k);

    for (PetscInt c = 0; c < b.channels; ++c)
      for (PetscInt i = 0; i < b.pixels; ++i)
        y[(size_t)c * (size_t)b.pixels + (size_t)i] = b.gamma[c] * Normalised(r, layer, k, c, i) + b.beta[c];
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* sums [groups x 2 channels]: over each group, of dy (first half) and of dy xhat (second half) */
static PetscErrorCode DeltaSums(const Reference *r, PetscInt layer, double sums[])
{
  const CkTrainingGroups *groups = r->groups;
  const Norm              b = NormOf(r, layer);
  double                 *partial;

  PetscFunctionBeginUser;
  PetscCall(PetscCalloc1((size_t)groups->nruns * 2 * (size_t)b.channels, &partial));
  for (PetscInt run = 0; run < groups->nruns; ++run) {
    const CkTrainingRun *t = &groups->runs[run];
    double              *mine = partial + (size_t)run * 2 * (size_t)b.channels;

    for (PetscInt k = t->first; k < t->first + t->size; ++k) {
      const double *dy = ReferenceSample(r, r->delta, layer, k);

      for (PetscInt c = 0; c < b.channels; ++c)
        for (PetscInt i = 0; i < b.pixels; ++i) {
          const double delta = dy[(size_t)c * (size_t)b.pixels + (size_t)i];

          mine[c] += delta;
          mine[b.channels + c] += delta * Normalised(r, layer, k, c, i);
        }
    }
  }
  PetscCall(CkTrainingGroupsSum(groups, 2 * b.channels, partial, sums));
  PetscCall(PetscFree(partial));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* da = gamma/sigma dy; in training mode mean and variance depend on a: minus the means of dy and of dy xhat, times xhat
 */
static PetscErrorCode Backward(CkEngine engine, PetscInt layer, PetscInt n)
{
  const Reference *r = (const Reference *)engine->data;
  const Norm       b = NormOf(r, layer);
  double          *sums = NULL;

  PetscFunctionBeginUser;
  if (r->groups) {
    PetscCall(PetscMalloc1((size_t)r->groups->ngroups * 2 * (size_t)b.channels, &sums));
    PetscCall(DeltaSums(r, layer, sums));
  }
  for (PetscInt k = 0; k < n; ++k) {
    const PetscInt group = GroupOf(r, k);
    const double  *dy = ReferenceSample(r, r->delta, layer, k);
    double        *da = ReferenceSample(r, r->delta, b.l->inputs[0], k);

    for (PetscInt c = 0; c < b.channels; ++c) {
      const double  scale = b.gamma[c] * InverseDeviation(r, layer, group, c);
      const double *s = sums ? sums + (size_t)group * 2 * (size_t)b.channels : NULL;
      const double  count = s ? (double)r->groups->group_size[group] * (double)b.pixels : 1;

      for (PetscInt i = 0; i < b.pixels; ++i) {
        const size_t at = (size_t)c * (size_t)b.pixels + (size_t)i;
        double       delta = dy[at];

        if (s) delta -= (s[c] + Normalised(r, layer, k, c, i) * s[b.channels + c]) / count;
        da[at] += scale * delta;
      }
    }
  }
  PetscCall(PetscFree(sums));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static void Row(const Reference *r, PetscInt layer, PetscInt k, double g[])
{
  const Norm    b = NormOf(r, layer);
  const double *dy = ReferenceSample(r, r->delta, layer, k);
  double       *gamma = g + ReferenceOffset(r, layer, 0);
  double       *beta = g + ReferenceOffset(r, layer, 1);

  for (PetscInt c = 0; c < b.channels; ++c)
    for (PetscInt i = 0; i < b.pixels; ++i) {
      const double delta = dy[(size_t)c * (size_t)b.pixels + (size_t)i];

      gamma[c] += delta * Normalised(r, layer, k, c, i);
      beta[c] += delta;
    }
}

const ReferenceKind ReferenceBatchNorm = {CK_LAYER_BATCHNORM, Forward, Backward, Row};
