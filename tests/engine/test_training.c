/* Training mode: groups and exact sums, batch statistics against their definition, dropout as a function of position.
 */
#include "nets.h"
#include "testing.h"
#include "trainingsum.h"
#include <clarkia/engine.h>

#define SAMPLES 23

/* A batch cut into sum blocks of `block` positions, dealt to the ranks in turn. */
typedef struct {
  CkBatch          batch;
  CkTrainingBlocks blocks;
  PetscInt         first[SAMPLES], size[SAMPLES], labels[SAMPLES], dealt;
  double           weights[SAMPLES];
  float           *features;
} Dealt;

static void Deal(Dealt *d, MPI_Comm comm, PetscInt block, PetscInt group, const TestSamples *s, size_t sample_size)
{
  int rank, ranks;

  MPI_Comm_rank(comm, &rank);
  MPI_Comm_size(comm, &ranks);
  memset(d, 0, sizeof(*d));
  OK(PetscMalloc1(SAMPLES * sample_size, &d->features));
  d->batch = (CkBatch){.n = SAMPLES, .mode = CK_TRAINING, .step = 9};
  d->blocks = (CkTrainingBlocks){.comm = comm,
                                 .seed = 5,
                                 .batch = &d->batch,
                                 .group = group,
                                 .first = d->first,
                                 .size = d->size,
                                 .features = d->features,
                                 .labels = d->labels,
                                 .weights = d->weights};
  for (PetscInt t = rank; t * block < SAMPLES; t += ranks) {
    const PetscInt b = d->blocks.nblocks++;

    d->first[b] = t * block;
    d->size[b] = PetscMin(block, SAMPLES - t * block);
    for (PetscInt p = d->first[b]; p < d->first[b] + d->size[b]; ++p, ++d->dealt) {
      if (s) OK(PetscArraycpy(d->features + d->dealt * sample_size, s->features + p * sample_size, sample_size));
      d->labels[d->dealt] = s ? s->labels[p] : 0;
      d->weights[d->dealt] = 1. / SAMPLES;
    }
  }
}

/* Runs cover the rank's samples once, in order, and never cross a block or a group. */
static void runs_cut_blocks_at_groups(void **state)
{
  (void)state;
  for (PetscInt block = 1; block <= 25; block += 6)
    for (PetscInt group = 1; group <= SAMPLES + 3; group += 5) {
      Dealt            d;
      CkTrainingGroups t;
      PetscInt         sample = 0, in_groups = 0;
      int              fine = 1;

      Deal(&d, PETSC_COMM_WORLD, block, group, NULL, 1);
      OK(CkTrainingGroupsCreate(&d.blocks, &t));
      assert_on_all_ranks(t.nsamples == d.dealt);
      assert_on_all_ranks(t.ngroups == (SAMPLES + group - 1) / group);
      for (PetscInt r = 0; r < t.nruns; ++r) {
        fine = fine && t.runs[r].first == sample && t.runs[r].size >= 1;
        for (PetscInt k = sample; k < sample + t.runs[r].size; ++k)
          fine = fine && t.sample_group[k] == t.runs[r].group && t.position[k] / group == t.runs[r].group &&
                 t.position[k] / block == t.position[sample] / block;
        sample += t.runs[r].size;
      }
      assert_on_all_ranks(fine);
      assert_on_all_ranks(sample == d.dealt);
      for (PetscInt g = 0; g < t.ngroups; ++g) in_groups += t.group_size[g];
      assert_on_all_ranks(in_groups == SAMPLES);
      OK(CkTrainingGroupsDestroy(&t));
      OK(PetscFree(d.features));
    }
}

/* Sums over groups equal sums in long double, channels of very different sizes included; NaN reaches all ranks. */
static void group_sums_are_right(void **state)
{
  const PetscInt   n = 2, group = 9, block = 4;
  Dealt            d;
  CkTrainingGroups t;
  double          *partial, out[6], *x = NewNormals(3, 2 * SAMPLES);
  long double      expected[6] = {0};

  (void)state;
  for (PetscInt p = 0; p < SAMPLES; ++p) {
    x[2 * p + 1] *= 1e-9;
    for (int i = 0; i < 2; ++i) expected[p / group * 2 + i] += (long double)x[2 * p + i];
  }
  Deal(&d, PETSC_COMM_WORLD, block, group, NULL, 1);
  OK(CkTrainingGroupsCreate(&d.blocks, &t));
  OK(PetscCalloc1(t.nruns * n, &partial));
  for (PetscInt r = 0; r < t.nruns; ++r)
    for (PetscInt k = t.runs[r].first; k < t.runs[r].first + t.runs[r].size; ++k)
      for (PetscInt i = 0; i < n; ++i) partial[r * n + i] += x[2 * t.position[k] + i];
  OK(CkTrainingGroupsSum(&t, n, partial, out));
  for (int i = 0; i < 6; ++i) assert_close(out[i], (double)expected[i], 1e-15, i % 2 ? 1e-8 : 10);
  for (PetscInt r = 0; r < t.nruns; ++r)
    if (t.runs[r].group == 1) partial[r * n] = NAN;
  OK(CkTrainingGroupsSum(&t, n, partial, out));
  for (int i = 0; i < 6; ++i) assert_on_all_ranks(i == 2 ? isnan(out[i]) : isfinite(out[i]));
  for (PetscInt i = 0; i < t.nruns * n; ++i) partial[i] = 0;
  OK(CkTrainingGroupsSum(&t, n, partial, out));
  for (int i = 0; i < 6; ++i) assert_on_all_ranks(out[i] == 0);
  OK(PetscFree(partial));
  OK(PetscFree(x));
  OK(CkTrainingGroupsDestroy(&t));
  OK(PetscFree(d.features));
}

typedef struct {
  double *gradient, *statistics;
} Result;

static Result Train(CkNet net, const char type[], MPI_Comm comm, PetscInt block, PetscInt group, const TestSamples *s)
{
  const double bound = 1e6;
  PetscInt     d, nbuffers;
  double      *weights, *buffers, f[SAMPLES];
  CkShape      shape;
  CkEngine     engine;
  CkExactSum   sum;
  Dealt        dealt;
  Result       r;

  OK(CkNetGetDimension(net, &d));
  OK(CkNetGetBuffers(net, &nbuffers));
  OK(CkNetGetInput(net, &shape));
  NewPoint(net, 61, &weights, &buffers);
  OK(PetscMalloc2(d, &r.gradient, nbuffers, &r.statistics));
  OK(CkEngineCreate(net, &engine));
  OK(CkEngineSetType(engine, type));
  OK(CkEngineSetTile(engine, 4));
  OK(CkEngineSetUp(engine));
  OK(CkEngineSetPoint(engine, weights, buffers));
  OK(CkExactSumCreate(comm, d, 1, &bound, 2, &sum));
  Deal(&dealt, comm, block, group, s, (size_t)CkShapeSize(shape));
  OK(CkEngineTrain(engine, &dealt.blocks, f, NULL, r.statistics, sum));
  OK(CkExactSumReduce(sum, r.gradient));
  OK(PetscFree(dealt.features));
  OK(CkExactSumDestroy(&sum));
  OK(CkEngineDestroy(&engine));
  OK(PetscFree(weights));
  OK(PetscFree(buffers));
  return r;
}

static void FreeResult(Result *r)
{
  OK(PetscFree2(r->gradient, r->statistics));
}

/* How the batch is cut into blocks changes rounding only; normalisation groups change what is computed. */
static void statistics_do_not_depend_on_the_cut(void **state)
{
  CkNet       net = NewTestNet(&test_nets[4], CK_HEAD_CROSS_ENTROPY);
  TestSamples s = NewSamples(net, 71, SAMPLES);
  Result      whole = Train(net, "reference", PETSC_COMM_WORLD, SAMPLES, SAMPLES, &s);
  PetscInt    d, nbuffers;

  (void)state;
  OK(CkNetGetDimension(net, &d));
  OK(CkNetGetBuffers(net, &nbuffers));
  for (PetscInt block = 1; block < SAMPLES; block += 4) {
    Result cut = Train(net, "reference", PETSC_COMM_WORLD, block, SAMPLES, &s);

    for (PetscInt i = 0; i < nbuffers; ++i) assert_close(cut.statistics[i], whole.statistics[i], 1e-14, 1);
    for (PetscInt i = 0; i < d; ++i) assert_close(cut.gradient[i], whole.gradient[i], 1e-13, 1);
    FreeResult(&cut);
  }
  FreeResult(&whole);
  FreeSamples(&s);
  OK(CkNetDestroy(&net));
}

/* A batch norm on the input itself: mean and unbiased variance over samples and pixels, group by group, by definition.
 */
static void statistics_follow_their_definition(void **state)
{
  const PetscInt group = 10, zero = 0;
  TestSamples    s;
  CkNet          net;
  PetscInt       l;
  Result         r;

  (void)state;
  OK(CkNetCreate(PETSC_COMM_WORLD, &net));
  OK(CkNetAddInput(net, (CkShape){2, 3, 2}));
  OK(CkNetAddLayer(net, CK_LAYER_BATCHNORM, "bn", 1, &zero, &(CkLayerAttributes){.epsilon = 1e-5}, &l));
  OK(CkNetAddLayer(net, CK_LAYER_FLATTEN, "flatten", 1, &l, NULL, &l));
  OK(CkNetAddLayer(net, CK_LAYER_DENSE, "fc", 1, &l, &(CkLayerAttributes){.units = 3}, &l));
  OK(CkNetSetUp(net));
  s = NewSamples(net, 81, SAMPLES);
  r = Train(net, "reference", PETSC_COMM_WORLD, 4, group, &s);
  for (int c = 0; c < 2; ++c) {
    double mean = 0, variance = 0;

    for (PetscInt first = 0; first < SAMPLES; first += group) {
      const PetscInt n = PetscMin(group, SAMPLES - first);
      long double    sum = 0, squares = 0;

      for (PetscInt k = first; k < first + n; ++k)
        for (int i = 0; i < 6; ++i) sum += s.features[k * 12 + c * 6 + i];
      sum /= 6 * n;
      for (PetscInt k = first; k < first + n; ++k)
        for (int i = 0; i < 6; ++i) squares += powl(s.features[k * 12 + c * 6 + i] - sum, 2);
      mean += (double)sum * (double)n / SAMPLES;
      variance += (double)(squares / (6 * n - 1)) * (double)n / SAMPLES;
    }
    assert_close(r.statistics[c], mean, 1e-14, 1);
    assert_close(r.statistics[2 + c], variance, 1e-14, 1);
  }
  FreeResult(&r);
  FreeSamples(&s);
  OK(CkNetDestroy(&net));
}

/* The right share is dropped, the mean is kept, and every coordinate of the stream changes the mask. */
static void dropout_is_a_function_of_position(void **state)
{
  CkNet          net = NewTestNet(&test_nets[5], CK_HEAD_CROSS_ENTROPY);
  const CkLayer *layers;
  PetscInt       n, checked = 0;

  (void)state;
  OK(CkNetGetLayers(net, &n, &layers));
  for (PetscInt l = 0; l < n; ++l) {
    const PetscInt   size = CkShapeSize(layers[l].out), positions = 4000;
    const double     rate = layers[l].a.rate;
    CkBatch          batch = {.n = positions, .mode = CK_TRAINING, .step = 3, .replica = 1};
    CkTrainingBlocks blocks = {.comm = PETSC_COMM_SELF, .seed = 2, .batch = &batch};
    double          *a, *b, dropped = 0;
    int              fine = 1;

    if (layers[l].type != CK_LAYER_DROPOUT) continue;
    ++checked;
    OK(PetscMalloc2(size, &a, size, &b));
    for (PetscInt p = 0; p < positions; ++p) {
      OK(CkTrainingDropout(net, l, &blocks, p, a));
      for (PetscInt i = 0; i < size; ++i) {
        fine = fine && (a[i] == 0 || a[i] == 1 / (1 - rate));
        dropped += a[i] == 0;
      }
    }
    assert_on_all_ranks(fine);
    /* five standard deviations of a binomial share */
    assert_close(dropped / ((double)size * (double)positions), rate, 5,
                 sqrt(rate * (1 - rate) / ((double)size * (double)positions)));
    for (int changed = 0; changed < 4; ++changed) {
      int differ = 0;

      for (PetscInt p = 0; p < 20; ++p) {
        OK(CkTrainingDropout(net, l, &blocks, p, a));
        if (changed == 0) ++batch.step;
        if (changed == 1) ++batch.replica;
        if (changed == 2) ++blocks.seed;
        OK(CkTrainingDropout(net, l, &blocks, changed == 3 ? p + 1 : p, b));
        if (changed == 0) --batch.step;
        if (changed == 1) --batch.replica;
        if (changed == 2) --blocks.seed;
        differ += memcmp(a, b, (size_t)size * sizeof(double)) != 0;
      }
      assert_on_all_ranks(differ >= 15);
    }
    OK(PetscFree2(a, b));
  }
  assert_on_all_ranks(checked == 2);
  OK(CkNetDestroy(&net));
}

/* The two dropout layers of one sample draw different numbers: what the first drops, the second may keep. */
static void dropout_layers_are_independent(void **state)
{
  CkNet            net = NewTestNet(&test_nets[5], CK_HEAD_CROSS_ENTROPY);
  CkBatch          batch = {.n = 200, .mode = CK_TRAINING};
  CkTrainingBlocks blocks = {.comm = PETSC_COMM_SELF, .seed = 2, .batch = &batch};
  const CkLayer   *layers;
  PetscInt         n, found = 0, which[2] = {0, 0}, kept = 0, dropped = 0;
  double          *masks[2];

  (void)state;
  OK(CkNetGetLayers(net, &n, &layers));
  for (PetscInt l = 0; l < n; ++l)
    if (layers[l].type == CK_LAYER_DROPOUT) which[found++] = l;
  assert_on_all_ranks(found == 2);
  for (int i = 0; i < 2; ++i) OK(PetscMalloc1(CkShapeSize(layers[which[i]].out), &masks[i]));
  for (PetscInt p = 0; p < batch.n; ++p) {
    for (int i = 0; i < 2; ++i) OK(CkTrainingDropout(net, which[i], &blocks, p, masks[i]));
    for (PetscInt i = 0; i < CkShapeSize(layers[which[1]].out); ++i) {
      if (masks[0][i] != 0) continue;
      if (masks[1][i] != 0) ++kept;
      else ++dropped;
    }
  }
  assert_close((double)kept / (double)(kept + dropped), 0.5, 5, 0.5 / sqrt((double)(kept + dropped)));
  for (int i = 0; i < 2; ++i) OK(PetscFree(masks[i]));
  OK(CkNetDestroy(&net));
}

static const struct CMUnitTest tests[] = {
  cmocka_unit_test(runs_cut_blocks_at_groups),           cmocka_unit_test(group_sums_are_right),
  cmocka_unit_test(statistics_do_not_depend_on_the_cut), cmocka_unit_test(statistics_follow_their_definition),
  cmocka_unit_test(dropout_is_a_function_of_position),   cmocka_unit_test(dropout_layers_are_independent),
};

CK_TEST_MAIN(tests, PetscInitialize, PetscFinalize)
