#include "onednn.h"
#include "part.h"
#include <clarkia/onednn.h>
#include <clarkia/options.h>
#include <clarkia/progress.h>
#include <dlfcn.h>
#include <stdlib.h>

static const struct {
  const char   *text;
  CkConvolution choice;
} convolutions[] = {{"auto", CK_CONVOLUTION_AUTO},
                    {"lanes", CK_CONVOLUTION_LANES},
                    {"winograd", CK_CONVOLUTION_WINOGRAD},
                    {"onednn", CK_CONVOLUTION_ONEDNN}};

/* A rank is one thread. Debian's oneDNN takes its threads from OpenMP, by default one a core for every rank, which spin
   and starve each other (measured: 30 times slower); who sets OMP_NUM_THREADS means it. */
void CkOnednnUseOneThread(void)
{
  void (*set)(int);

  *(void **)&set = dlsym(RTLD_DEFAULT, "omp_set_num_threads");
  if (set && !getenv("OMP_NUM_THREADS")) set(1);
}

static PetscErrorCode MakeTables(CkOnednn *o, int chunks)
{
  const int lanes = CkLanesGet()->lanes, n = PetscMax(CK_PART_ENTRIES, chunks);

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc2(n, &o->taps, (size_t)chunks * (size_t)lanes, &o->rows));
  for (int i = 0; i < n; ++i) o->taps[i] = i;
  for (int k = 0; k < chunks * lanes; ++k) o->rows[k] = k * (CK_PART_ENTRIES / lanes);
  PetscCall(PetscCalloc1(o->evaluation->fold->nlayers, &o->starts));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode SetUp(CkEngine engine)
{
  const PetscInt lanes = CkLanesGet()->lanes;
  CkPlanChoices  choices = {.net = engine->net, .form = engine->form};
  char           text[32];
  CkOnednn      *o;

  PetscFunctionBeginUser;
  CkOnednnUseOneThread();
  PetscCall(PetscNew(&o));
  engine->data = o;
  PetscCall(CkEngineRegisterOptions());
  PetscCall(CkOptionsGetString("engine_convolution", text, sizeof(text), NULL));
  for (size_t i = 0; i < sizeof(convolutions) / sizeof(convolutions[0]); ++i)
    if (!strcmp(convolutions[i].text, text)) o->convolution = convolutions[i].choice;
  PetscCall(CkNetGetBuffers(engine->net, &o->nbuffers));
  PetscCall(PetscMalloc1(o->nbuffers, &o->buffers));
  choices.convolution = o->convolution;
  choices.chunks = (engine->capacity + lanes - 1) / lanes;
  PetscCall(CkPlanCreate(&choices, &o->evaluation));
  PetscCall(MakeTables(o, (int)choices.chunks));
  PetscCall(CkOnednnFindFactors(engine));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Destroy(CkEngine engine)
{
  CkOnednn *o = (CkOnednn *)engine->data;

  PetscFunctionBeginUser;
  if (!o) PetscFunctionReturn(PETSC_SUCCESS);
  for (PetscInt i = 0; o->starts && i < o->evaluation->fold->nlayers; ++i) PetscCall(PetscFree(o->starts[i]));
  PetscCall(PetscFree(o->starts));
  PetscCall(CkPlanDestroy(&o->evaluation));
  PetscCall(CkPlanDestroy(&o->training));
  PetscCall(CkArenaFree(&o->coefficient_arena));
  PetscCall(CkArenaFree(&o->work_arena));
  PetscCall(PetscFree(o->sums));
  PetscCall(PetscFree2(o->taps, o->rows));
  PetscCall(PetscFree2(o->factors, o->factored));
  PetscCall(PetscFree(o->buffers));
  PetscCall(PetscFree(engine->data));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode SetPoint(CkEngine engine, const double weights[], const double buffers[])
{
  CkOnednn *o = (CkOnednn *)engine->data;

  PetscFunctionBeginUser;
  o->weights = weights;
  PetscCall(PetscArraycpy(o->buffers, buffers, o->nbuffers));
  o->evaluation_stale = o->training_stale = PETSC_TRUE;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkOnednnPoint(CkEngine engine)
{
  CkOnednn *o = (CkOnednn *)engine->data;

  PetscFunctionBeginUser;
  if (o->evaluation_stale) PetscCall(CkPlanSetPoint(o->evaluation, o->weights, o->buffers));
  o->evaluation_stale = PETSC_FALSE;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode GetSize(CkEngine engine, PetscInt *de)
{
  PetscFunctionBeginUser;
  *de = ((CkOnednn *)engine->data)->evaluation->fold->de;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Forward operations of the layer's weights, per sample. */
static double LinearFlops(const CkPart *p)
{
  if (!p->linear) return 0;
  return 2 * (double)CkPartWeights(p) * (p->linear->dense ? 1 : (double)p->linear->map.positions);
}

/* Beyond the forward pass: derivatives of inputs and once more what is not a linear layer; explicit gradients. */
static PetscErrorCode BackwardFlops(CkEngine engine, double *flops, double *gradients)
{
  const CkOnednn *o = (const CkOnednn *)engine->data;

  PetscFunctionBeginUser;
  *gradients = 0;
  PetscCall(CkNetGetFlops(engine->net, flops));
  for (PetscInt i = 0; i < o->evaluation->fold->nlayers; ++i) {
    const CkPart p = CkPartOf(engine, i);
    const double linear = LinearFlops(&p);

    if (!o->evaluation->tensors[p.step->inputs[0]].wanted) *flops -= linear;
    if (p.weighted->form == CK_FORM_EXPLICIT && !p.weighted->idle) *gradients += linear;
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Run(CkEngine engine, PetscBool backward, PetscInt n, const float features[],
                          const PetscInt labels[], double values[], int correct[])
{
  CkOnednn *o = (CkOnednn *)engine->data;
  CkPlan   *plan = o->evaluation;
  double    flops, gradients;

  PetscFunctionBeginUser;
  PetscCall(CkOnednnPoint(engine));
  o->gathered = PETSC_FALSE;
  PetscCall(CkNetGetFlops(engine->net, &flops));
  PetscCall(PetscLogEventBegin(CK_Forward, 0, 0, 0, 0));
  PetscCall(CkPlanSetSamples(plan, 1, &n, features));
  PetscCall(CkPlanForward(plan));
  PetscCall(CkPlanHead(plan, labels, NULL, values, correct, backward));
  PetscCall(PetscLogFlops(flops * (double)n));
  PetscCall(PetscLogEventEnd(CK_Forward, 0, 0, 0, 0));
  if (!backward) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(BackwardFlops(engine, &flops, &gradients)); /* those of explicit gradients are logged where they are made */
  PetscCall(PetscLogEventBegin(CK_Backward, 0, 0, 0, 0));
  PetscCall(CkOnednnTakeSlopes(engine));
  PetscCall(CkPlanBackward(plan));
  PetscCall(PetscLogFlops(flops * (double)n));
  PetscCall(PetscLogEventEnd(CK_Backward, 0, 0, 0, 0));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode GetCost(CkEngine engine, double *bytes, double *load, double *rows, double *dot,
                              double *accumulate)
{
  const CkOnednn *o = (const CkOnednn *)engine->data;
  const CkFold   *fold = o->evaluation->fold;
  double          backward, gradients;

  PetscFunctionBeginUser;
  PetscCall(CkNetGetFlops(engine->net, load));
  PetscCall(BackwardFlops(engine, &backward, &gradients));
  *load += backward + gradients;
  *rows = CkOnednnRowFlops(engine);
  *dot = 0;
  for (PetscInt i = 0; i < fold->nlayers; ++i) {
    const CkPart p = CkPartOf(engine, i);

    *dot += CkPartFlops(&p);
  }
  *accumulate = *dot;
  *bytes = o->evaluation->arena.bytes + o->evaluation->primitive_bytes + (double)engine->own_room +
           o->coefficient_arena.bytes + o->work_arena.bytes + 8 * (double)o->sums_room;
  *bytes += 8 * (double)o->nbuffers + 12 * (double)fold->de + 24 * (double)fold->units;
  if (o->training) *bytes += o->training->arena.bytes + o->training->primitive_bytes + 12 * (double)fold->d;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode DescribeMeans(const CkPart *p, CkPrimitiveKind kind, char text[], size_t length)
{
  const CkLinearMeans means = p->linear ? p->linear->means[kind] : CK_BY_LANES;
  const char         *name = p->lanes->name;

  PetscFunctionBeginUser;
  if (means == CK_BY_PRIMITIVE) PetscCall(CkPrimitivesName(p->linear->primitives, kind, &name));
  PetscCall(PetscSNPrintf(text, length, "%s%s%s", means == CK_BY_PRIMITIVE ? "oneDNN " : "lanes:", name,
                          means == CK_BY_WINOGRAD ? " Winograd" : ""));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* What runs the layer forward, backward and for its gradients. */
static PetscErrorCode Describe(const CkPart *p, char text[], size_t length)
{
  char forward[96], gradients[96];

  PetscFunctionBeginUser;
  PetscCall(DescribeMeans(p, CK_PRIMITIVE_FORWARD, forward, sizeof(forward)));
  PetscCall(DescribeMeans(p, CK_PRIMITIVE_WEIGHTS, gradients, sizeof(gradients)));
  if (!strcmp(forward, gradients)) PetscCall(PetscSNPrintf(text, length, "%s", forward));
  else PetscCall(PetscSNPrintf(text, length, "%s, gradients %s", forward, gradients));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode View(CkEngine engine, MPI_Comm comm)
{
  const CkOnednn *o = (const CkOnednn *)engine->data;
  const CkPlan   *plan = o->evaluation;
  char            text[256];

  PetscFunctionBeginUser;
  PetscCall(CkDNNDescribe(text, sizeof(text)));
  PetscCall(PetscPrintf(comm, "  %s\n", text));
  for (PetscInt i = 0; i < plan->fold->nlayers; ++i) {
    const CkPart   p = CkPartOf(engine, i);
    const CkLayer *layer = &plan->layers[p.layer->layer];
    const double   flops = p.linear ? LinearFlops(&p) : 2 * (double)CkShapeSize(layer->out);

    PetscCall(Describe(&p, text, sizeof(text)));
    PetscCall(PetscPrintf(comm, "  %-12s %-10s %-10s %-9s %10.0f operations forward, %s\n", layer->name,
                          p.step->kind->name, p.layer->norm >= 0 ? plan->layers[p.layer->norm].name : "",
                          p.weighted->form == CK_FORM_EXPLICIT ? "explicit" : "factored", flops, text));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CkDNNDescribe(char text[], size_t length)
{
  const dnnl_version_t *version = dnnl_version();
  const char           *isa = "below AVX2";

  PetscFunctionBeginUser;
  switch ((unsigned)dnnl_get_effective_cpu_isa()) {
  case dnnl_cpu_isa_avx2:
    isa = "AVX2";
    break;
  case dnnl_cpu_isa_avx2_vnni:
    isa = "AVX2 VNNI";
    break;
  case dnnl_cpu_isa_avx512_core:
    isa = "AVX-512";
    break;
  case dnnl_cpu_isa_avx512_core_vnni:
    isa = "AVX-512 VNNI";
    break;
  case dnnl_cpu_isa_avx512_core_bf16:
    isa = "AVX-512 BF16";
    break;
  case dnnl_cpu_isa_avx512_core_amx:
    isa = "AVX-512 AMX";
    break;
  default:
    break;
  }
  PetscCall(PetscSNPrintf(text, length, "oneDNN %d.%d.%d (%s), own kernels %s with %d lanes", version->major,
                          version->minor, version->patch, isa, CkLanesGet()->name, CkLanesGet()->lanes));
  PetscFunctionReturn(PETSC_SUCCESS);
}

const CkEngineType CkEngineOnednn = {.name = "onednn",
                                     .forms = PETSC_TRUE,
                                     .setup = SetUp,
                                     .destroy = Destroy,
                                     .view = View,
                                     .getsize = GetSize,
                                     .getcost = GetCost,
                                     .setpoint = SetPoint,
                                     .run = Run,
                                     .setrange = CkOnednnSetRange,
                                     .rows = CkOnednnRows,
                                     .entries = CkOnednnEntries,
                                     .getfactors = CkOnednnGetFactors,
                                     .factors = CkOnednnFactors,
                                     .squarednorms = CkOnednnSquaredNorms,
                                     .columnbytes = CkOnednnColumnBytes,
                                     .packcolumn = CkOnednnPackColumn,
                                     .dot = CkOnednnDot,
                                     .accumulate = CkOnednnAccumulate,
                                     .accumulate_exact = CkOnednnAccumulateExact,
                                     .unfold = CkOnednnUnfold,
                                     .train = CkOnednnTrain};
